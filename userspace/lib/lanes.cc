// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "lanes.h"

#include <errno.h>
#include <sched.h>

#include <boost/context/protected_fixedsize_stack.hpp>
#include <memory>
#include <new>
#include <utility>

#include "try.h"

namespace sockrepair::internal {

using boost::context::fiber;

Result<std::unique_ptr<Lanes>> Lanes::create(unsigned width) {
  SOCKREPAIR_TRY_ASSIGN(std::unique_ptr<Uring> uring, Uring::create(width));
  std::unique_ptr<Lanes> lanes(new Lanes(std::move(uring)));
  lanes->lanes_.resize(width);
  lanes->free_.reserve(width);
  for (unsigned i = 0; i < width; ++i) {
    try {
      lanes->lanes_[i].inside =
          fiber(std::allocator_arg, boost::context::protected_fixedsize_stack(kStack),
                [me = lanes.get(), i](fiber outside) { return me->work(i, std::move(outside)); });
    } catch (const std::bad_alloc&) {
      return Error{ENOMEM, "mmap(), the stack of a lane"};
    }
    lanes->free_.push_back(width - 1 - i);
  }
  return lanes;
}

// By the end of work(), not by an exception of Boost.Context's in it.
Lanes::~Lanes() {
  for (Lane& lane : lanes_)
    if (lane.inside) lane.inside = std::move(lane.inside).resume();
}

// What a lane does on its stack: its jobs, until it is entered without one.
fiber Lanes::work(std::size_t index, fiber outside) {
  Lane& lane = lanes_[index];
  lane.outside = std::move(outside);
  while (lane.job) {
    lane.job();
    lane.job = nullptr;
    lane.outside = std::move(lane.outside).resume();
  }
  return std::move(lane.outside);
}

void Lanes::start(std::function<void()> job) {
  const std::size_t lane = free_.back();
  free_.pop_back();
  lanes_[lane].job = std::move(job);
  run(lane);
}

void Lanes::run(std::size_t index) {
  current_ = index;
  CarriedBy me(this);
  Lane& lane = lanes_[index];
  lane.inside = std::move(lane.inside).resume();
  if (!lane.job) free_.push_back(index);
}

// Runs in a job.
long Lanes::make(const Call& call) {
  const std::size_t me = current_;
  Lane& lane = lanes_[me];
  lane.call = call;
  uring_->put(call, me);
  put_.push_back(me);
  lane.outside = std::move(lane.outside).resume();
  // What the ring does not know how to do, the call itself may: it has done nothing.
  const bool option = call.kind == CallKind::kGetsockopt || call.kind == CallKind::kSetsockopt;
  return lane.result == -EOPNOTSUPP && option ? make_here(call) : lane.result;
}

void Lanes::submit(std::vector<std::size_t>& ready) {
  Result<unsigned> taken = uring_->submit();
  if (taken) {
    put_.erase(put_.begin(), put_.begin() + static_cast<std::ptrdiff_t>(*taken));
    given_ += *taken;
    carried_ += *taken;
    return;
  }
  if (taken.error().code == EAGAIN || taken.error().code == EBUSY) return;
  // It goes no further this way. What the kernel has been given before comes to its end.
  broken_ = true;
  for (std::size_t lane : put_) {
    lanes_[lane].result = make_here(lanes_[lane].call);
    ready.push_back(lane);
  }
  put_.clear();
}

void Lanes::turn() {
  std::vector<std::size_t> ready;
  if (!broken_)
    submit(ready);
  else if (given_ != 0)
    ::sched_yield();
  uring_->collect([&](std::uint64_t lane, long result) {
    lanes_[lane].result = result;
    ready.push_back(static_cast<std::size_t>(lane));
    --given_;
  });
  for (std::size_t lane : ready) run(lane);
}

}  // namespace sockrepair::internal

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "lanes.h"

#include <errno.h>
#include <sched.h>

#include <utility>

#include "try.h"

namespace sockrepair::internal {

Result<std::unique_ptr<Lanes>> Lanes::create(unsigned width) {
  SOCKREPAIR_TRY_ASSIGN(std::unique_ptr<Uring> uring, Uring::create(width));
  std::unique_ptr<Lanes> lanes(new Lanes(std::move(uring)));
  for (unsigned i = 0; i < width; ++i) {
    Lane lane;
    SOCKREPAIR_TRY_ASSIGN(lane.fiber, Fiber::create());
    lanes->lanes_.push_back(std::move(lane));
    lanes->free_.push_back(width - 1 - i);
  }
  return lanes;
}

void Lanes::start(std::function<void()> job) {
  const std::size_t lane = free_.back();
  free_.pop_back();
  lanes_[lane].fiber->begin(std::move(job));
  run(lane);
}

void Lanes::run(std::size_t lane) {
  current_ = lane;
  CarriedBy me(this);
  if (lanes_[lane].fiber->resume()) free_.push_back(lane);
}

// Runs in a job.
long Lanes::make(const Call& call) {
  const std::size_t me = current_;
  Lane& lane = lanes_[me];
  lane.call = call;
  uring_->put(call, me);
  put_.push_back(me);
  lane.fiber->pause();
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

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_LANES_H_
#define SOCKREPAIR_LIB_LANES_H_

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "call.h"
#include "sockrepair/result.h"
#include "uring.h"

namespace sockrepair::internal {

// Does the same for many sockets side by side, in one thread: what each job asks of the kernel with
// call.h goes into one submission with what the others ask, and the job waits for its answer. A job
// is the code that would run without this, line by line, so what comes of it is the same.
//
//   lane 1   job A  setsockopt ....... bind ..... |
//   lane 2   job B  setsockopt ....... setsockopt | ...
//   lane 3          job C  getsockopt ........... |
//   kernel                io_uring_enter    io_uring_enter
//
// Everything is called from the thread that made it, and none of it by a job.
class Lanes final : private Carrier {
 public:
  // Errors as of Uring::create(), or there is no memory for the stacks.
  static Result<std::unique_ptr<Lanes>> create(unsigned width);
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;
  // Precondition: idle().
  ~Lanes();

  bool has_room() const { return !free_.empty(); }
  bool idle() const { return free_.size() == lanes_.size(); }

  // Begins a job, which runs to its first call. It must not throw. Precondition: has_room().
  void start(std::function<void()> job);
  // Has the kernel make the calls that wait, and lets their jobs go on. Precondition: !idle().
  void turn();

  // Calls that a ring has made, and system calls that it took.
  std::uint64_t carried() const { return carried_; }
  std::uint64_t submissions() const { return uring_->submissions(); }

 private:
  // Stacks of jobs: bytes, of which only the pages that were used are in memory. A page below each
  // is not accessible.
  static constexpr std::size_t kStack = 256 << 10;

  // Of both sides the one that runs is empty. To change sides takes no system call.
  struct Lane {
    boost::context::fiber inside;   // does the lane's jobs
    boost::context::fiber outside;  // has entered it
    std::function<void()> job;      // empty: there is none, or it has ended
    Call call{};
    long result = 0;
  };

  explicit Lanes(std::unique_ptr<Uring> uring) : uring_(std::move(uring)) {}

  bool takes(const Call& call) const override { return !broken_ && uring_->takes(call); }
  long make(const Call& call) override;
  boost::context::fiber work(std::size_t lane, boost::context::fiber outside);
  void run(std::size_t lane);
  void submit(std::vector<std::size_t>& ready);

  std::unique_ptr<Uring> uring_;
  std::vector<Lane> lanes_;
  std::vector<std::size_t> free_;
  // Lanes whose calls the kernel has not been given yet, in their order.
  std::deque<std::size_t> put_;
  std::size_t given_ = 0;  // how many calls the kernel has and has not answered
  std::size_t current_ = 0;
  std::uint64_t carried_ = 0;
  bool broken_ = false;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_LANES_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_URING_H_
#define SOCKREPAIR_LIB_URING_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "call.h"
#include "sockrepair/result.h"

namespace sockrepair::internal {

// An io_uring for the calls of call.h, as far as the running kernel has requests for them. By
// liburing, which is loaded when the first one is made: who has no use for it need not have it.
class Uring {
 public:
  // For so many calls at a time. ELIBACC: there is no liburing; ENOSYS, EPERM and others of
  // io_uring_setup(2): the kernel has no io_uring, or a filter or net.core does not allow it.
  static Result<std::unique_ptr<Uring>> create(unsigned entries);
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;
  ~Uring();

  // Whether there is a request that does the same. Calls that wait are not among them.
  bool takes(const Call& call) const;

  // Puts the call into the next submission. `token` comes back with its result. Precondition:
  // takes(call), and there is room.
  void put(const Call& call, std::uint64_t token);

  // Hands the calls that were put over to the kernel, and waits until one call is done, or more.
  // How many of those that were put the kernel has taken, in their order.
  Result<unsigned> submit();

  // Calls `done` for each call that is done: token, and the result as of make().
  void collect(const std::function<void(std::uint64_t, long)>& done);

  // How many times submit() went to the kernel.
  std::uint64_t submissions() const { return submissions_; }

 private:
  struct Ring;

  explicit Uring(std::unique_ptr<Ring> ring);
  Result<void> probe();
  Result<long> try_out(const Call& call);

  std::unique_ptr<Ring> ring_;
  std::array<bool, kCallKinds> takes_{};
  bool takes_every_level_ = false;  // of kGetsockopt; otherwise SOL_SOCKET only
  std::uint64_t submissions_ = 0;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_URING_H_

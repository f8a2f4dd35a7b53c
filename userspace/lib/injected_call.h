// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_INJECTED_CALL_H_
#define SOCKREPAIR_LIB_INJECTED_CALL_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// System calls in a stopped process: its main thread is made to make them (ptrace(2)).
//
//   SOCKREPAIR_TRY_ASSIGN(InjectedCalls calls, InjectedCalls::begin(pid, pidfd));
//   Result<std::uint64_t> closed = calls.call(InjectedCall::kClose, {5});
//   SOCKREPAIR_TRY(calls.end());
namespace sockrepair::internal {

// Rows of the table in injected_call.cc.
enum class InjectedCall : std::uint8_t {
  kClose,
  kDup3,
  kEpollCtl,
  kFcntl,
  kMmap,
  kMunmap,
  kRecvmsg,
  kSocketpair,
};

// While there is one, the thread is traced, signals to it wait, and signals to the calling thread
// wait, too: one that ends this program in between would leave the process with the registers of a
// call, that is, lost. Move-only; for one thread, since a tracer is one.
class InjectedCalls {
 public:
  // ENOTSUP: not x86-64, or a 32-bit process; nothing was touched then. ESRCH: it has ended. EPERM:
  // a seccomp filter of the process cannot be suspended, or it may not be traced.
  // Errors of ptrace(2).
  static Result<InjectedCalls> begin(pid_t pid, const Fd& pidfd);

  InjectedCalls(InjectedCalls&&) noexcept;
  InjectedCalls& operator=(InjectedCalls&&) = delete;
  ~InjectedCalls();

  // What the call returns; its errno as an error that names call and process. A call that would
  // block is not to be made.
  Result<std::uint64_t> call(InjectedCall which, const std::array<std::uint64_t, 6>& arguments);

  // Copies to and from memory of the process that a call has mapped.
  Result<void> write_memory(std::uint64_t address, std::span<const std::uint8_t> bytes) const;
  Result<void> read_memory(std::uint64_t address, std::span<std::uint8_t> bytes) const;

  // Puts the thread back to what it was. The end of the object does so, too, and cannot tell of an
  // error.
  Result<void> end();

 private:
  class Session;

  explicit InjectedCalls(std::unique_ptr<Session> session);

  std::unique_ptr<Session> session_;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_INJECTED_CALL_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Closing descriptors of another process: its main thread is made to call close(2).

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <sstream>
#include <string_view>

#include "no_throw.h"
#include "proc_fs.h"
#include "sockrepair/process.h"
#include "try.h"

namespace sockrepair {

namespace {

#ifdef __x86_64__

constexpr std::uint64_t kUserCode64 = 0x33;  // the code segment of 64-bit programs
constexpr std::array<std::uint8_t, 2> kSyscallInstruction = {0x0f, 0x05};

// A thread in a ptrace stop. The end of the object detaches, and the thread is again what it was:
// also in a stop by SIGSTOP.
class Tracee {
 public:
  explicit Tracee(pid_t pid) : pid_(pid) {}
  Tracee(const Tracee&) = delete;
  Tracee& operator=(const Tracee&) = delete;
  ~Tracee() {
    if (attached_) ::ptrace(PTRACE_DETACH, pid_, nullptr, nullptr);
  }

  Result<void> attach() {
    // A seccomp filter need not allow close(2); to suspend it is a privilege.
    constexpr long kOptions = PTRACE_O_TRACESYSGOOD;
    if (::ptrace(PTRACE_SEIZE, pid_, nullptr, kOptions | PTRACE_O_SUSPEND_SECCOMP) != 0)
      SOCKREPAIR_TRY(request(PTRACE_SEIZE, "PTRACE_SEIZE", 0, kOptions));
    attached_ = true;
    SOCKREPAIR_TRY(request(PTRACE_INTERRUPT, "PTRACE_INTERRUPT", 0, 0));
    SOCKREPAIR_TRY(wait());
    return {};
  }

  Result<user_regs_struct> registers() const {
    user_regs_struct values{};
    iovec area{&values, sizeof(values)};
    SOCKREPAIR_TRY(
        request(PTRACE_GETREGSET, "PTRACE_GETREGSET", NT_PRSTATUS, reinterpret_cast<long>(&area)));
    // A 32-bit thread gives fewer bytes.
    if (area.iov_len != sizeof(values) || values.cs != kUserCode64)
      return Error{ENOTSUP, "process " + std::to_string(pid_) + " is not a 64-bit one"};
    return values;
  }

  Result<void> set_registers(user_regs_struct values) const {
    iovec area{&values, sizeof(values)};
    return request(PTRACE_SETREGSET, "PTRACE_SETREGSET", NT_PRSTATUS,
                   reinterpret_cast<long>(&area));
  }

  Result<std::uint64_t> signal_mask() const {
    std::uint64_t mask = 0;
    SOCKREPAIR_TRY(request(PTRACE_GETSIGMASK, "PTRACE_GETSIGMASK", sizeof(mask),
                           reinterpret_cast<long>(&mask)));
    return mask;
  }
  Result<void> set_signal_mask(std::uint64_t mask) const {
    return request(PTRACE_SETSIGMASK, "PTRACE_SETSIGMASK", sizeof(mask),
                   reinterpret_cast<long>(&mask));
  }

  // Lets it go on until it enters or leaves a system call.
  Result<void> to_syscall_stop() {
    // Stops by job control can come first; no other, all signals are blocked.
    constexpr int kEnough = 8;
    for (int i = 0; i < kEnough; ++i) {
      SOCKREPAIR_TRY(request(PTRACE_SYSCALL, "PTRACE_SYSCALL", 0, 0));
      SOCKREPAIR_TRY_ASSIGN(int status, wait());
      if (WSTOPSIG(status) == (SIGTRAP | 0x80)) return {};
    }
    return Error{EPROTO, "process " + std::to_string(pid_) + " does not come to a system call"};
  }

 private:
  Result<void> request(__ptrace_request what, const char* name, long address, long data) const {
    if (::ptrace(what, pid_, address, data) != 0)
      return Error{errno, "ptrace(" + std::string(name) + ", " + std::to_string(pid_) + ")"};
    return {};
  }

  // The status of the next stop.
  Result<int> wait() {
    int status = 0;
    while (::waitpid(pid_, &status, __WALL) < 0)
      if (errno != EINTR) return Error{errno, "waitpid(" + std::to_string(pid_) + ")"};
    if (WIFSTOPPED(status)) return status;
    attached_ = false;
    return Error{ESRCH, "process " + std::to_string(pid_) + " has ended"};
  }

  pid_t pid_;
  bool attached_ = false;
};

// Where in executable memory of the process there is a system call instruction: in the vdso, which
// is searched first, there always is one.
Result<std::uint64_t> find_syscall_instruction(pid_t pid) {
  std::string directory = "/proc/" + std::to_string(pid);
  SOCKREPAIR_TRY_ASSIGN(std::string maps, internal::read_small_file(directory + "/maps"));
  std::string path = directory + "/mem";
  Fd memory(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!memory) return Error{errno, "open(" + path + ")"};

  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
  };
  std::vector<Range> ranges;
  std::istringstream lines(maps);
  for (std::string line; std::getline(lines, line);) {
    Range range{};
    const char* text = line.data();
    const char* limit = text + line.size();
    auto first = std::from_chars(text, limit, range.begin, 16);
    if (first.ptr == limit || *first.ptr != '-') continue;
    auto second = std::from_chars(first.ptr + 1, limit, range.end, 16);
    if (!std::string_view(second.ptr, static_cast<std::size_t>(limit - second.ptr))
             .starts_with(" r-x"))
      continue;
    ranges.insert(line.ends_with("[vdso]") ? ranges.begin() : ranges.end(), range);
  }
  for (const Range& range : ranges) {
    std::vector<std::uint8_t> code(range.end - range.begin);
    ssize_t size = ::pread(memory.get(), code.data(), code.size(), static_cast<off_t>(range.begin));
    if (size <= 0) continue;
    auto end = code.begin() + size;
    auto at =
        std::search(code.begin(), end, kSyscallInstruction.begin(), kSyscallInstruction.end());
    if (at != end) return range.begin + static_cast<std::uint64_t>(at - code.begin());
  }
  return Error{ENOTSUP,
               "no system call instruction in the memory of process " + std::to_string(pid)};
}

// What close(number) returns in the tracee, whose registers are `before`.
Result<long> call_close(Tracee& tracee, const user_regs_struct& before, std::uint64_t instruction,
                        int number) {
  user_regs_struct call = before;
  call.rip = instruction;
  call.rax = 3;  // close, whatever the architecture of this header's numbers
  call.rdi = static_cast<std::uint64_t>(number);
  call.orig_rax = ~0ULL;  // no system call of its own that the kernel would restart first
  SOCKREPAIR_TRY(tracee.set_registers(call));
  SOCKREPAIR_TRY(tracee.to_syscall_stop());  // enters
  SOCKREPAIR_TRY(tracee.to_syscall_stop());  // leaves
  SOCKREPAIR_TRY_ASSIGN(user_regs_struct after, tracee.registers());
  return static_cast<long>(after.rax);
}

// Signals to the calling thread, which could end the program in the middle, wait for the end of the
// object.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

Result<void> close_in(pid_t pid, const Fd& pidfd, const std::vector<int>& numbers) {
  SOCKREPAIR_TRY_ASSIGN(std::uint64_t instruction, find_syscall_instruction(pid));
  SignalsBlocked blocked;
  Tracee tracee(pid);
  SOCKREPAIR_TRY(tracee.attach());
  // What is attached cannot end unnoticed: it is the process that was meant if that one is alive.
  pollfd exited{pidfd.get(), POLLIN, 0};
  if (::poll(&exited, 1, 0) != 0)
    return Error{ESRCH, "process " + std::to_string(pid) + " has ended"};
  SOCKREPAIR_TRY_ASSIGN(user_regs_struct registers, tracee.registers());
  SOCKREPAIR_TRY_ASSIGN(std::uint64_t mask, tracee.signal_mask());
  SOCKREPAIR_TRY(tracee.set_signal_mask(~0ULL));

  Result<void> result;
  for (int number : numbers) {
    Result<long> closed = call_close(tracee, registers, instruction, number);
    std::string call = "close(" + std::to_string(number) + ") in process " + std::to_string(pid);
    if (!closed)
      result = Error{closed.error().code, call + ": " + closed.error().what};
    else if (*closed < 0)
      result = Error{static_cast<int>(-*closed), call};
    if (!result) break;
  }
  Result<void> put_back = tracee.set_registers(registers);
  Result<void> unblocked = tracee.set_signal_mask(mask);
  if (!result) return result;
  if (!put_back) return put_back;
  return unblocked;
}

#else

Result<void> close_in(pid_t, const Fd&, const std::vector<int>&) {
  return Error{ENOTSUP, "closing descriptors of another process is done on x86-64 only"};
}

#endif

}  // namespace

Result<void> StoppedProcess::close(const std::vector<int>& numbers) {
  return internal::no_throw([&]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(std::string states, internal::thread_states(pid_));
    // A frozen thread, which looks like one that sleeps, would never make the call.
    if (method_ == StopMethod::kFreezer || states.find_first_not_of("Tt") != std::string::npos) {
      return Error{ENOTSUP, "process " + std::to_string(pid_) +
                                " is frozen and cannot be made to close descriptors"};
    }
    return close_in(pid_, pidfd_, numbers);
  });
}

}  // namespace sockrepair

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "injected_call.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rseq.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "proc_fs.h"
#include "try.h"

namespace sockrepair::internal {

#ifdef __x86_64__

namespace {

constexpr std::uint64_t kUserCode64 = 0x33;  // the code segment of 64-bit programs
constexpr std::array<std::uint8_t, 2> kSyscallInstruction = {0x0f, 0x05};

struct CallRow {
  InjectedCall which;
  std::uint64_t number;  // on x86-64, whatever this program is built for
  const char* name;
};
// <linux/ptrace.h> of Linux 5.13, which cannot be included with <sys/ptrace.h>.
constexpr auto kGetRseqConfiguration = static_cast<__ptrace_request>(0x420f);
struct RseqConfiguration {
  std::uint64_t area;  // struct rseq, as rseq(2) was told; 0: it was not
  std::uint32_t area_size;
  std::uint32_t signature;
  std::uint32_t flags;
  std::uint32_t pad;
};

// struct rseq_cs, without its alignment.
struct RestartableSequence {
  std::uint32_t version;
  std::uint32_t flags;
  std::uint64_t start;
  std::uint64_t size;
  std::uint64_t abort;
};
static_assert(sizeof(RestartableSequence) == sizeof(struct rseq_cs));

constexpr CallRow kCalls[] = {
    {InjectedCall::kClose, 3, "close"},
    {InjectedCall::kDup3, 292, "dup3"},
    {InjectedCall::kEpollCtl, 233, "epoll_ctl"},
    {InjectedCall::kFcntl, 72, "fcntl"},
    {InjectedCall::kMmap, 9, "mmap"},
    {InjectedCall::kMunmap, 11, "munmap"},
    {InjectedCall::kRecvmsg, 47, "recvmsg"},
    {InjectedCall::kSocketpair, 53, "socketpair"},
};

const CallRow& row_of(InjectedCall which) {
  return *std::find_if(std::begin(kCalls), std::end(kCalls),
                       [which](const CallRow& row) { return row.which == which; });
}

// A thread in a ptrace stop. The end of the object detaches, and the thread is again what it was:
// also in a stop by SIGSTOP.
class Tracee {
 public:
  explicit Tracee(pid_t pid) : pid_(pid) {}
  Tracee(const Tracee&) = delete;
  Tracee& operator=(const Tracee&) = delete;
  ~Tracee() { detach(); }

  Result<void> attach() {
    // To suspend a seccomp filter is a privilege.
    constexpr long kOptions = PTRACE_O_TRACESYSGOOD;
    if (::ptrace(PTRACE_SEIZE, pid_, nullptr, kOptions | PTRACE_O_SUSPEND_SECCOMP) != 0) {
      SOCKREPAIR_TRY(refuse_filtered());
      SOCKREPAIR_TRY(request(PTRACE_SEIZE, "PTRACE_SEIZE", 0, kOptions));
    }
    attached_ = true;
    SOCKREPAIR_TRY(request(PTRACE_INTERRUPT, "PTRACE_INTERRUPT", 0, 0));
    SOCKREPAIR_TRY(wait());
    return {};
  }

  void detach() {
    if (std::exchange(attached_, false)) ::ptrace(PTRACE_DETACH, pid_, nullptr, nullptr);
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

  // Where its restartable sequences (rseq(2)) are described; 0: it has none, or cannot have any.
  std::uint64_t rseq_area() const {
    RseqConfiguration configuration{};
    const bool told = ::ptrace(kGetRseqConfiguration, pid_, sizeof(configuration),
                               &configuration) == sizeof(configuration);
    return told ? configuration.area : 0;
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
  // A filter need not allow the calls, and can end the process for them.
  Result<void> refuse_filtered() const {
    SOCKREPAIR_TRY_ASSIGN(std::string status,
                          read_small_file("/proc/" + std::to_string(pid_) + "/status"));
    const std::string mode = field_of(status, "Seccomp", ':').value_or("0");
    if (mode == "0") return {};
    return Error{EPERM, "process " + std::to_string(pid_) + " is under seccomp(2), mode " + mode +
                            "; to suspend that takes CAP_SYS_ADMIN, and no seccomp(2) here"};
  }

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
  SOCKREPAIR_TRY_ASSIGN(std::string maps, read_small_file(directory + "/maps"));
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

}  // namespace

class InjectedCalls::Session {
 public:
  explicit Session(pid_t pid) : pid_(pid), tracee_(pid) {}
  ~Session() { static_cast<void>(end()); }

  Result<void> begin(const Fd& pidfd) {
    SOCKREPAIR_TRY_ASSIGN(instruction_, find_syscall_instruction(pid_));
    SOCKREPAIR_TRY(tracee_.attach());
    const std::string path = "/proc/" + std::to_string(pid_) + "/mem";
    memory_ = Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!memory_) return Error{errno, "open(" + path + ")"};
    // What is attached cannot end unnoticed: it is the process that was meant if that one is alive.
    pollfd exited{pidfd.get(), POLLIN, 0};
    if (::poll(&exited, 1, 0) != 0)
      return Error{ESRCH, "process " + std::to_string(pid_) + " has ended"};
    SOCKREPAIR_TRY_ASSIGN(registers_, tracee_.registers());
    SOCKREPAIR_TRY(restart_sequence());
    SOCKREPAIR_TRY_ASSIGN(mask_, tracee_.signal_mask());
    changed_ = true;
    return tracee_.set_signal_mask(~0ULL);
  }

  Result<std::uint64_t> call(const CallRow& row, const std::array<std::uint64_t, 6>& arguments) {
    if (!changed_) return Error{EBADF, "injected calls have ended"};
    user_regs_struct call = registers_;
    call.rip = instruction_;
    call.rax = row.number;
    call.rdi = arguments[0];
    call.rsi = arguments[1];
    call.rdx = arguments[2];
    call.r10 = arguments[3];
    call.r8 = arguments[4];
    call.r9 = arguments[5];
    call.orig_rax = ~0ULL;  // no system call of its own that the kernel would restart first
    SOCKREPAIR_TRY(tracee_.set_registers(call));
    SOCKREPAIR_TRY(tracee_.to_syscall_stop());  // enters
    SOCKREPAIR_TRY(tracee_.to_syscall_stop());  // leaves
    SOCKREPAIR_TRY_ASSIGN(user_regs_struct after, tracee_.registers());
    // What the kernel takes for an error, IS_ERR_VALUE().
    constexpr std::uint64_t kErrors = 4095;
    if (after.rax > ~kErrors)
      return Error{static_cast<int>(0 - after.rax), name_of(row, arguments)};
    return std::uint64_t{after.rax};
  }

  Result<void> end() {
    if (!std::exchange(changed_, false)) return {};
    Result<void> put_back = tracee_.set_registers(registers_);
    Result<void> unblocked = tracee_.set_signal_mask(mask_);
    tracee_.detach();
    wait_stopped();
    return put_back ? unblocked : put_back;
  }

  // /proc/PID/mem; process_vm_readv(2) is not in every kernel.
  int memory() const { return memory_.get(); }

  // What pread(2) or pwrite(2) on it said.
  Result<void> moved(const char* call, ssize_t size, std::size_t wanted) const {
    if (size == static_cast<ssize_t>(wanted)) return {};
    return Error{size < 0 ? errno : EFAULT,
                 std::string(call) + "(/proc/" + std::to_string(pid_) + "/mem)"};
  }

 private:
  // A thread that was stopped in the middle of a restartable sequence begins it anew when it runs
  // again: the kernel sees to that, by the registers, and would find those of a call.
  Result<void> restart_sequence() {
    const std::uint64_t area = tracee_.rseq_area();
    if (area == 0) return {};
    SOCKREPAIR_TRY_ASSIGN(auto at, read<std::uint64_t>(area + offsetof(struct rseq, rseq_cs)));
    if (at == 0) return {};
    SOCKREPAIR_TRY_ASSIGN(auto sequence, read<RestartableSequence>(at));
    if (registers_.rip - sequence.start < sequence.size) registers_.rip = sequence.abort;
    return {};
  }

  template <typename T>
  Result<T> read(std::uint64_t address) const {
    T value{};
    SOCKREPAIR_TRY(moved("pread",
                         ::pread(memory(), &value, sizeof(value), static_cast<off_t>(address)),
                         sizeof(value)));
    return value;
  }

  // On its way from one stop to the other the thread looks as if it ran. Should somebody have
  // continued it, it does.
  void wait_stopped() const {
    constexpr int kLooks = 1000;
    for (int i = 0; i < kLooks; ++i) {
      Result<std::string> states = thread_states(pid_);
      if (!states || states->find_first_not_of('T') == std::string::npos) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(i == 0 ? 0 : 1));
    }
  }

  // "close(5) in process 4711"
  std::string name_of(const CallRow& row, const std::array<std::uint64_t, 6>& arguments) const {
    return std::string(row.name) + "(" + std::to_string(static_cast<std::int64_t>(arguments[0])) +
           ") in process " + std::to_string(pid_);
  }

  pid_t pid_;
  SignalsBlocked blocked_;
  Tracee tracee_;  // detached while signals are still blocked
  Fd memory_;
  std::uint64_t instruction_ = 0;
  user_regs_struct registers_{};
  std::uint64_t mask_ = 0;
  bool changed_ = false;
};

Result<InjectedCalls> InjectedCalls::begin(pid_t pid, const Fd& pidfd) {
  auto session = std::make_unique<Session>(pid);
  SOCKREPAIR_TRY(session->begin(pidfd));
  return InjectedCalls(std::move(session));
}

Result<std::uint64_t> InjectedCalls::call(InjectedCall which,
                                          const std::array<std::uint64_t, 6>& arguments) {
  return session_->call(row_of(which), arguments);
}

Result<void> InjectedCalls::write_memory(std::uint64_t address,
                                         std::span<const std::uint8_t> bytes) const {
  return session_->moved(
      "pwrite",
      ::pwrite(session_->memory(), bytes.data(), bytes.size(), static_cast<off_t>(address)),
      bytes.size());
}

Result<void> InjectedCalls::read_memory(std::uint64_t address,
                                        std::span<std::uint8_t> bytes) const {
  return session_->moved(
      "pread", ::pread(session_->memory(), bytes.data(), bytes.size(), static_cast<off_t>(address)),
      bytes.size());
}

Result<void> InjectedCalls::end() {
  return session_->end();
}

#else

class InjectedCalls::Session {};

namespace {

const Error kElsewhere{ENOTSUP, "calls in another process are made on x86-64 only"};

}  // namespace

Result<InjectedCalls> InjectedCalls::begin(pid_t, const Fd&) {
  return kElsewhere;
}
Result<std::uint64_t> InjectedCalls::call(InjectedCall, const std::array<std::uint64_t, 6>&) {
  return kElsewhere;
}
Result<void> InjectedCalls::write_memory(std::uint64_t, std::span<const std::uint8_t>) const {
  return kElsewhere;
}
Result<void> InjectedCalls::read_memory(std::uint64_t, std::span<std::uint8_t>) const {
  return kElsewhere;
}
Result<void> InjectedCalls::end() {
  return kElsewhere;
}

#endif

InjectedCalls::InjectedCalls(std::unique_ptr<Session> session) : session_(std::move(session)) {}
InjectedCalls::InjectedCalls(InjectedCalls&&) noexcept = default;
InjectedCalls::~InjectedCalls() = default;

}  // namespace sockrepair::internal

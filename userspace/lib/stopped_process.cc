// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Stopping a process, and the guardian that lets it go on when we cannot.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

#include "no_throw.h"
#include "proc_fs.h"
#include "sockrepair/process.h"
#include "try.h"

namespace sockrepair {

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// What the guardian says when no signal to its caller's process group reaches it any more, and what
// it is told.
constexpr char kReady = 'r';
constexpr char kArm = 'a';     // the process is being stopped: undo that at the end of file
constexpr char kDisarm = 'd';  // nothing is left to be undone: end

// Async-signal-safe: the guardian runs it in the child of a process that may have threads.
bool undo_stop(StopMethod method, int undo) {
  switch (method) {
    case StopMethod::kAlreadyStopped:
      return true;
    case StopMethod::kFreezer:
      return ::pwrite(undo, "0", 1, 0) == 1;
    case StopMethod::kSignal:
      return ::syscall(SYS_pidfd_send_signal, undo, SIGCONT, nullptr, 0) == 0;
  }
  return false;
}

// Closes all descriptors but two.
void keep_only(int a, int b) {
  unsigned low = static_cast<unsigned>(std::min(a, b));
  unsigned high = static_cast<unsigned>(std::max(a, b));
  if (low > 0) ::close_range(0, low - 1, 0);
  if (high > low + 1) ::close_range(low + 1, high - 1, 0);
  ::close_range(high + 1, ~0U, 0);
}

[[noreturn]] void be_guardian(int orders, StopMethod method, int undo) {
  // Out of the way of what ends a terminal's or a shell's jobs; all signals are blocked.
  ::setsid();
  ::prctl(PR_SET_NAME, "sockrepair-wait");
  keep_only(orders, undo);
  if (::write(orders, &kReady, 1) != 1) ::_exit(1);
  bool armed = false;
  for (char order = 0;;) {
    ssize_t got = ::read(orders, &order, 1);
    if (got == 1 && order == kArm) {
      armed = true;
    } else if (got == 1) {
      ::_exit(0);
    } else if (got == 0 || errno != EINTR) {
      ::_exit(armed && !undo_stop(method, undo) ? 1 : 0);
    }
  }
}

bool frozen(const std::string& events) {
  return internal::field_of(events, "frozen", ' ') == "1";
}

// Whether the process is in a frozen cgroup.
Result<bool> is_frozen(pid_t pid) {
  SOCKREPAIR_TRY_ASSIGN(std::optional<std::string> cgroup, internal::cgroup_directory(pid));
  if (!cgroup) return false;
  Result<std::string> events = internal::read_small_file(*cgroup + "/cgroup.events");
  return events.ok() && frozen(*events);  // the root cgroup has no such file, and does not freeze
}

// cgroup.freeze to be written, when the process is alone in its cgroup; else nothing.
Result<std::optional<std::string>> own_freezer(pid_t pid) {
  SOCKREPAIR_TRY_ASSIGN(std::optional<std::string> cgroup, internal::cgroup_directory(pid));
  if (!cgroup) return {std::nullopt};
  Result<std::string> members = internal::read_small_file(*cgroup + "/cgroup.procs");
  Result<std::string> stat = internal::read_small_file(*cgroup + "/cgroup.stat");
  if (!members || !stat || *members != std::to_string(pid) + "\n" ||
      internal::field_of(*stat, "nr_descendants", ' ') != "0" ||
      ::access((*cgroup + "/cgroup.freeze").c_str(), W_OK) != 0) {
    return {std::nullopt};
  }
  return {*cgroup};
}

bool all_stopped(const std::string& states) {
  return states.find_first_not_of('T') == std::string::npos;
}

Result<void> wait_frozen(const std::string& cgroup, Clock::time_point deadline) {
  std::string path = cgroup + "/cgroup.events";
  Fd events(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!events) return Error{errno, "open(" + path + ")"};
  for (;;) {
    char text[256];
    ssize_t size = ::pread(events.get(), text, sizeof(text), 0);
    if (size < 0) return Error{errno, "read(" + path + ")"};
    if (frozen(std::string(text, static_cast<std::size_t>(size)))) return {};
    auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return Error{ETIMEDOUT, "waiting until " + path + " says frozen 1"};
    pollfd changed{events.get(), POLLPRI, 0};
    if (::poll(&changed, 1, static_cast<int>(left)) < 0 && errno != EINTR)
      return Error{errno, "poll(" + path + ")"};
  }
}

Result<void> wait_stopped(pid_t pid, Clock::time_point deadline) {
  // A thread that begins during one look at all of them is seen by the next.
  constexpr int kLooks = 2;
  milliseconds pause(0);
  for (int good = 0;;) {
    SOCKREPAIR_TRY_ASSIGN(std::string states, internal::thread_states(pid));
    good = all_stopped(states) ? good + 1 : 0;
    if (good == kLooks) return {};
    if (Clock::now() >= deadline) {
      return Error{ETIMEDOUT, "waiting until process " + std::to_string(pid) +
                                  " stops; states of its threads: " + states};
    }
    if (good != 0) continue;
    // Only the parent of a process is told when it stops: ask again in a while.
    std::this_thread::sleep_for(pause);
    pause = std::min(pause + milliseconds(1), milliseconds(20));
  }
}

Result<Fd> open_freezer(const std::string& cgroup) {
  std::string path = cgroup + "/cgroup.freeze";
  Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return Error{errno, "open(" + path + ")"};
  return fd;
}

Result<void> refuse_traced(pid_t pid) {
  SOCKREPAIR_TRY_ASSIGN(std::string status,
                        internal::read_small_file("/proc/" + std::to_string(pid) + "/status"));
  std::string tracer = internal::field_of(status, "TracerPid", ':').value_or("0");
  if (tracer == "0") return {};
  return Error{EBUSY, "process " + std::to_string(pid) + " is traced by process " + tracer +
                          ", which would get its SIGSTOP"};
}

// Its process ID; the end of its orders that is ours goes to `pipe`.
Result<pid_t> start_guardian(StopMethod method, int undo, Fd& pipe) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return Error{errno, "socketpair()"};
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  // A child that tells its end to nobody but who waits for it, so that a program which uses this
  // library sees no SIGCHLD; and one that none of the program's signal handlers ever run in.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  pid_t guardian = static_cast<pid_t>(::syscall(SYS_clone, 0, nullptr, nullptr, nullptr, 0));
  int code = errno;
  if (guardian == 0) be_guardian(theirs.get(), method, undo);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (guardian < 0) return Error{code, "clone()"};
  char word = 0;
  theirs.reset();
  ssize_t got;
  while ((got = ::read(ours.get(), &word, 1)) < 0 && errno == EINTR) continue;
  pipe = std::move(ours);
  if (got == 1 && word == kReady) return guardian;
  while (::waitpid(guardian, nullptr, __WALL) < 0 && errno == EINTR) continue;
  return Error{ECHILD, "the process that would continue the stopped one did not start"};
}

}  // namespace

const char* stop_method_name(StopMethod method) {
  switch (method) {
    case StopMethod::kAlreadyStopped:
      return "already stopped";
    case StopMethod::kFreezer:
      return "cgroup freezer";
    case StopMethod::kSignal:
      return "SIGSTOP";
  }
  return "unknown";
}

StoppedProcess::StoppedProcess(StoppedProcess&& other) noexcept
    : pid_(other.pid_),
      pidfd_(std::move(other.pidfd_)),
      method_(std::exchange(other.method_, StopMethod::kAlreadyStopped)),
      freezer_(std::move(other.freezer_)),
      guardian_{std::exchange(other.guardian_.pid, -1), std::move(other.guardian_.pipe)} {}

StoppedProcess::~StoppedProcess() {
  // Nobody is left to tell about a failure; the guardian, whose pipe closes, tries again.
  Result<void> resumed = resume();
  (void)resumed;
}

int StoppedProcess::undo_fd() const {
  return method_ == StopMethod::kFreezer ? freezer_.get() : pidfd_.get();
}

Result<StoppedProcess> StoppedProcess::stop(const Process& process, const StopOptions& options) {
  return internal::no_throw([&]() -> Result<StoppedProcess> {
    Fd pidfd(::fcntl(process.pidfd().get(), F_DUPFD_CLOEXEC, 0));
    if (!pidfd) return Error{errno, "fcntl(pidfd, F_DUPFD_CLOEXEC)"};
    // The end of this object undoes what a failed stop_now() did.
    StoppedProcess stopped(process.pid(), std::move(pidfd));
    SOCKREPAIR_TRY(stopped.stop_now(options));
    return stopped;
  });
}

Result<void> StoppedProcess::stop_now(const StopOptions& options) {
  Clock::time_point deadline = Clock::now() + options.patience;
  SOCKREPAIR_TRY_ASSIGN(bool in_frozen_cgroup, is_frozen(pid_));
  if (in_frozen_cgroup) return {};
  SOCKREPAIR_TRY_ASSIGN(std::string states, internal::thread_states(pid_));
  if (all_stopped(states)) return {};

  std::optional<std::string> cgroup;
  if (!options.signal_only) {
    SOCKREPAIR_TRY_ASSIGN(cgroup, own_freezer(pid_));
  }
  if (cgroup) {
    SOCKREPAIR_TRY_ASSIGN(freezer_, open_freezer(*cgroup));
  } else {
    SOCKREPAIR_TRY(refuse_traced(pid_));
  }
  StopMethod method = cgroup ? StopMethod::kFreezer : StopMethod::kSignal;
  int undo = cgroup ? freezer_.get() : pidfd_.get();
  SOCKREPAIR_TRY_ASSIGN(guardian_.pid, start_guardian(method, undo, guardian_.pipe));
  if (::send(guardian_.pipe.get(), &kArm, 1, MSG_NOSIGNAL) != 1)
    return Error{errno, "send(guardian)"};
  method_ = method;
  if (cgroup) {
    if (::pwrite(undo, "1", 1, 0) != 1)
      return Error{errno, "write(" + *cgroup + "/cgroup.freeze, 1)"};
    return wait_frozen(*cgroup, deadline);
  }
  if (::syscall(SYS_pidfd_send_signal, undo, SIGSTOP, nullptr, 0) != 0)
    return Error{errno, "pidfd_send_signal(process " + std::to_string(pid_) + ", SIGSTOP)"};
  return wait_stopped(pid_, deadline);
}

Result<void> StoppedProcess::resume() {
  return internal::no_throw([&]() -> Result<void> {
    if (guardian_.pid < 0) return {};
    Result<void> result;
    if (!undo_stop(method_, undo_fd()) && errno != ESRCH && errno != ENODEV) {
      result = Error{errno, "continuing process " + std::to_string(pid_) + " (" +
                                stop_method_name(method_) + ")"};
    }
    // Without this word the guardian tries what has failed here.
    if (result.ok()) ::send(guardian_.pipe.get(), &kDisarm, 1, MSG_NOSIGNAL);
    guardian_.pipe.reset();
    while (::waitpid(guardian_.pid, nullptr, __WALL) < 0 && errno == EINTR) continue;
    guardian_.pid = -1;
    return result;
  });
}

}  // namespace sockrepair

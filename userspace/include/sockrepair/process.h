// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_PROCESS_H_
#define SOCKREPAIR_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/export.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// The sockets of another process: find them, take them, hold the process still meanwhile, give it
// others.
//
//   Result<Process> process = Process::open(4711);
//   if (!process) return process.error();
//   Result<StoppedProcess> stopped = StoppedProcess::stop(*process);
//   if (!stopped) return stopped.error();
//   Result<std::vector<HeldSocket>> sockets = process->sockets();
//   ...
//   Result<Fd> socket = process->take(sockets->front().numbers.front());
//   ...
//   Result<void> resumed = stopped->resume();
//
// Needs Linux 5.6 and the right to trace the process (CAP_SYS_PTRACE, or the same user without
// obstacles: see PTRACE_MODE_ATTACH_REALCREDS in ptrace(2)).
namespace SOCKREPAIR_EXPORT sockrepair {

// One socket of a process. The same socket can be there under several numbers (dup(2)).
struct HeldSocket {
  std::uint64_t inode = 0;   // what the link in /proc/PID/fd says, socket:[INODE]
  std::vector<int> numbers;  // ascending, never empty

  bool operator==(const HeldSocket&) const = default;
};

// That an epoll instance of a process watches a descriptor of it, as epoll_ctl(2) was told.
struct EpollWatch {
  int epoll = -1;            // the instance, by its number in the process
  std::uint32_t events = 0;  // EPOLLIN, ..., EPOLLONESHOT, ...
  std::uint64_t data = 0;    // what epoll_wait(2) gives back

  bool operator==(const EpollWatch&) const = default;
};

// The watches on one descriptor.
struct WatchedDescriptor {
  int number = -1;          // by which epoll_ctl(2) was told of it
  std::uint64_t inode = 0;  // of what it was then: the number may mean something else by now
  EpollWatch watch;

  bool operator==(const WatchedDescriptor&) const = default;
};

// A process, held by a pidfd: should it end, its number does not come to mean another one here.
class Process {
 public:
  // ESRCH: there is none, or it has ended. EINVAL: not a process but one of its threads, or the
  // calling process itself.
  static Result<Process> open(pid_t pid);

  pid_t pid() const { return pid_; }
  const Fd& pidfd() const { return pidfd_; }

  // What the kernel calls it, 15 bytes at most (/proc/PID/comm).
  Result<std::string> name() const;

  // All sockets in the descriptor table of the main thread, in the order of their lowest number.
  // Threads that left that table (CLONE_FILES, unshare(2)) have others, which are not looked at.
  // What is found is exact while the process is stopped.
  Result<std::vector<HeldSocket>> sockets() const;

  // What the epoll instances in the same table watch, those of the instance with the lowest number
  // first. An instance that is there under several numbers is there under each.
  Result<std::vector<WatchedDescriptor>> epoll_watches() const;

  // A descriptor of our own for descriptor `number` of the process: the same open socket, not a
  // copy. EBADF if the process has no such descriptor, EPERM if it may not be traced.
  Result<Fd> take(int number) const;

  // Whether descriptor `number` of the process is closed by execve(2), FD_CLOEXEC. EBADF if there
  // is none.
  Result<bool> close_on_exec(int number) const;

  // Ends the process, SIGKILL, and waits until it is gone. ETIMEDOUT: it still was not after
  // `patience`; that happens to one in an uninterruptible sleep.
  Result<void> kill(std::chrono::milliseconds patience) const;

 private:
  Process(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  // ESRCH once it has ended: what was read from /proc/PID before may be of another process.
  Result<void> still_there() const;

  pid_t pid_;
  Fd pidfd_;
};

// That a process has a socket open.
struct SocketHolder {
  pid_t pid = 0;
  std::uint64_t inode = 0;

  bool operator==(const SocketHolder&) const = default;
};

// The processes, by number, that have sockets of `inodes`, without the calling one. As far as /proc
// shows: processes of others that may not be traced, of other pid namespaces, and descriptors on
// their way in a SCM_RIGHTS message are not seen.
Result<std::vector<SocketHolder>> socket_holders(std::span<const std::uint64_t> inodes);

// A descriptor that a process is to get.
struct PlacedDescriptor {
  int fd = -1;                 // of the calling process, whose it stays
  int number = -1;             // in the other one
  bool close_on_exec = false;  // FD_CLOEXEC there
  std::vector<EpollWatch> watches;
};

enum class StopMethod : std::uint8_t {
  kAlreadyStopped,  // it was before; nothing was done, and nothing is undone
  kFreezer,         // cgroup.freeze of its cgroup, in which it is alone; it cannot notice
  kSignal,          // SIGSTOP, later SIGCONT; its parent can notice, and a handler of SIGCONT
};

// "already stopped", "cgroup freezer", "SIGSTOP"
const char* stop_method_name(StopMethod method);

struct StopOptions {
  // How long all threads may take to come to a stop. One in an uninterruptible sleep does not.
  std::chrono::milliseconds patience{5000};
  // Do not use the freezer: a frozen process cannot be made to close or take descriptors.
  bool signal_only = false;
};

// A process of which no thread runs. resume(), or the end of the object, puts it back to what it
// was: running, or stopped by somebody else. A guardian process does so, too, should the calling
// process die in whatever way.
class StoppedProcess {
 public:
  // Returns when all threads have stopped, or with an error and the process as it was. EBUSY: it is
  // being traced, and the tracer would see the signal instead. ETIMEDOUT: not all threads stopped.
  static Result<StoppedProcess> stop(const Process& process, const StopOptions& options = {});

  StoppedProcess(StoppedProcess&& other) noexcept;
  StoppedProcess& operator=(StoppedProcess&&) = delete;
  ~StoppedProcess();

  StopMethod method() const { return method_; }

  // Puts the process back to what it was. Does nothing the second time. A process that has ended
  // meanwhile is no error.
  Result<void> resume();

  // Closes descriptors in the process, by making its main thread call close(2) (ptrace(2)): other
  // processes that have the same sockets keep them. On return each number is closed or, with an
  // error, none of those after the one that the error names. ENOTSUP: stopped by the freezer, or a
  // 32-bit process, or not x86-64; EPERM: it may not be traced, or is under seccomp(2), which takes
  // CAP_SYS_ADMIN to suspend; then nothing was closed. Without numbers it only finds that out.
  //
  // Should the caller be killed during the call, the process may be left with the registers of the
  // injected call, that is, it is lost.
  Result<void> close(const std::vector<int>& numbers);

  // Gives the process descriptors, by making its main thread receive them (SCM_RIGHTS): what it
  // refers to by `number` is then the same open socket as `fd` here. A call that it was stopped in,
  // and that goes on after the stop, finds the new ones. All of them with all their watches or,
  // with an error, none. For the time it has a page of memory and up to three descriptors more.
  //
  // EEXIST: a number is in use. EINVAL: one is negative, or there twice. EBADF, EMFILE: its
  // RLIMIT_NOFILE does not allow it, or an epoll instance of a watch is not there. ENOTSUP, EPERM,
  // and when the caller is killed: as for close().
  Result<void> place(std::span<const PlacedDescriptor> descriptors);

 private:
  struct Guardian {
    pid_t pid = -1;
    Fd pipe;  // its read end is the guardian's: end of file is what it waits for
  };
  StoppedProcess(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Result<void> stop_now(const StopOptions& options);
  // Whether calls can be made in it.
  Result<void> can_call() const;
  // The descriptor that the stop is undone by; -1: nothing is to be undone.
  int undo_fd() const;

  pid_t pid_;
  Fd pidfd_;
  StopMethod method_ = StopMethod::kAlreadyStopped;
  Fd freezer_;  // cgroup.freeze, with kFreezer
  Guardian guardian_;
};

}  // namespace sockrepair

#endif  // SOCKREPAIR_PROCESS_H_

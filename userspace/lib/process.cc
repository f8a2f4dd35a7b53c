// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>

#include "no_throw.h"
#include "proc_fs.h"
#include "try.h"

namespace sockrepair {

namespace {

std::string proc_path(pid_t pid, const char* file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

// The inode of a link that says socket:[INODE]; nothing if it says something else, or is gone.
std::optional<std::uint64_t> socket_inode(const std::string& link) {
  char target[64];
  ssize_t size = ::readlink(link.c_str(), target, sizeof(target));
  if (size < 0) return std::nullopt;
  std::string_view text(target, static_cast<std::size_t>(size));
  constexpr std::string_view kPrefix = "socket:[";
  if (!text.starts_with(kPrefix) || !text.ends_with("]")) return std::nullopt;
  std::uint64_t inode = 0;
  auto [end, error] =
      std::from_chars(text.data() + kPrefix.size(), text.data() + text.size() - 1, inode);
  if (error != std::errc() || end != text.data() + text.size() - 1) return std::nullopt;
  return inode;
}

// "tfd:        7 events:       19 data: 55d0c3a0  pos:0 ino:1f2 sdev:8", but for `epoll`.
Result<WatchedDescriptor> watch_of(const std::string& line) {
  WatchedDescriptor result;
  unsigned long long data = 0;
  unsigned long long inode = 0;
  if (::sscanf(line.c_str(), "tfd: %d events: %x data: %llx pos:%*d ino:%llx", &result.number,
               &result.watch.events, &data, &inode) != 4)
    return Error{EPROTO, "in the fdinfo of an epoll instance: " + line};
  result.watch.data = data;
  result.inode = inode;
  return result;
}

}  // namespace

Result<Process> Process::open(pid_t pid) {
  return internal::no_throw([&]() -> Result<Process> {
    if (pid == ::getpid())
      return Error{EINVAL, "process " + std::to_string(pid) + ": that is the calling process"};
    Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!pidfd) {
      // A thread's number: EINVAL before Linux 6.9, ENOENT since.
      int code = errno == ENOENT ? EINVAL : errno;
      return Error{code, "pidfd_open(" + std::to_string(pid) + ")"};
    }
    Process process(pid, std::move(pidfd));
    SOCKREPAIR_TRY(process.still_there());
    return process;
  });
}

Result<void> Process::still_there() const {
  pollfd exited{pidfd_.get(), POLLIN, 0};
  if (::poll(&exited, 1, 0) < 0) return Error{errno, "poll(pidfd)"};
  if (exited.revents == 0) return {};
  return Error{ESRCH, "process " + std::to_string(pid_) + " has ended"};
}

Result<std::string> Process::name() const {
  return internal::no_throw([&]() -> Result<std::string> {
    SOCKREPAIR_TRY_ASSIGN(std::string text, internal::read_small_file(proc_path(pid_, "comm")));
    SOCKREPAIR_TRY(still_there());
    if (text.ends_with('\n')) text.pop_back();
    return text;
  });
}

Result<std::vector<HeldSocket>> Process::sockets() const {
  return internal::no_throw([&]() -> Result<std::vector<HeldSocket>> {
    std::string directory = proc_path(pid_, "fd");
    SOCKREPAIR_TRY_ASSIGN(std::vector<int> numbers, internal::numbers_in(directory));
    std::vector<HeldSocket> sockets;
    std::map<std::uint64_t, std::size_t> index;
    for (int number : numbers) {
      std::optional<std::uint64_t> inode = socket_inode(directory + "/" + std::to_string(number));
      if (!inode) continue;
      auto [at, fresh] = index.try_emplace(*inode, sockets.size());
      if (fresh) sockets.push_back({*inode, {}});
      sockets[at->second].numbers.push_back(number);
    }
    SOCKREPAIR_TRY(still_there());
    return sockets;
  });
}

Result<std::vector<WatchedDescriptor>> Process::epoll_watches() const {
  return internal::no_throw([&]() -> Result<std::vector<WatchedDescriptor>> {
    SOCKREPAIR_TRY_ASSIGN(std::vector<int> numbers, internal::numbers_in(proc_path(pid_, "fd")));
    std::vector<WatchedDescriptor> watched;
    for (int number : numbers) {
      const std::string name = std::to_string(number);
      char target[32];
      ssize_t size =
          ::readlink(proc_path(pid_, ("fd/" + name).c_str()).c_str(), target, sizeof(target));
      constexpr std::string_view kEpoll = "anon_inode:[eventpoll]";
      if (size < 0 || std::string_view(target, static_cast<std::size_t>(size)) != kEpoll) continue;
      SOCKREPAIR_TRY_ASSIGN(std::string info,
                            internal::read_small_file(proc_path(pid_, ("fdinfo/" + name).c_str())));
      std::istringstream lines(info);
      for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("tfd:")) continue;
        SOCKREPAIR_TRY_ASSIGN(WatchedDescriptor one, watch_of(line));
        one.watch.epoll = number;
        watched.push_back(one);
      }
    }
    SOCKREPAIR_TRY(still_there());
    return watched;
  });
}

Result<Fd> Process::take(int number) const {
  return internal::no_throw([&]() -> Result<Fd> {
    Fd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd_.get(), number, 0)));
    if (!fd) {
      return Error{errno, "pidfd_getfd(process " + std::to_string(pid_) + ", descriptor " +
                              std::to_string(number) + ")"};
    }
    return fd;
  });
}

Result<bool> Process::close_on_exec(int number) const {
  return internal::no_throw([&]() -> Result<bool> {
    std::string path = proc_path(pid_, "fdinfo/") + std::to_string(number);
    Result<std::string> info = internal::read_small_file(path);
    SOCKREPAIR_TRY(still_there());
    if (!info) {
      int code = info.error().code == ENOENT ? EBADF : info.error().code;
      return Error{code, info.error().what};
    }
    std::string flags = internal::field_of(*info, "flags", ':').value_or("");
    unsigned value = 0;
    auto [end, error] = std::from_chars(flags.data(), flags.data() + flags.size(), value, 8);
    if (flags.empty() || error != std::errc() || end != flags.data() + flags.size())
      return Error{EPROTO, "flags in " + path};
    return (value & O_CLOEXEC) != 0;
  });
}

Result<void> Process::kill(std::chrono::milliseconds patience) const {
  return internal::no_throw([&]() -> Result<void> {
    std::string call = "pidfd_send_signal(process " + std::to_string(pid_) + ", SIGKILL)";
    if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0) != 0 && errno != ESRCH)
      return Error{errno, call};
    // A signal to the caller does not end the wait: it will be dead, and the caller has to know.
    using Clock = std::chrono::steady_clock;
    const Clock::time_point deadline = Clock::now() + patience;
    for (;;) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      pollfd exited{pidfd_.get(), POLLIN, 0};
      const int ready =
          ::poll(&exited, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX)));
      if (ready > 0) return {};
      if (ready < 0 && errno != EINTR) return Error{errno, "poll(pidfd)"};
      if (left <= 0) {
        return Error{ETIMEDOUT,
                     call + ": still there after " + std::to_string(patience.count()) + " ms"};
      }
    }
  });
}

Result<std::vector<SocketHolder>> socket_holders(std::span<const std::uint64_t> inodes) {
  return internal::no_throw([&]() -> Result<std::vector<SocketHolder>> {
    std::set<std::uint64_t> wanted(inodes.begin(), inodes.end());
    SOCKREPAIR_TRY_ASSIGN(std::vector<int> pids, internal::numbers_in("/proc"));
    std::vector<SocketHolder> holders;
    for (pid_t pid : pids) {
      if (pid == ::getpid()) continue;
      std::string directory = proc_path(pid, "fd");
      Result<std::vector<int>> numbers = internal::numbers_in(directory);
      if (!numbers) continue;
      std::set<std::uint64_t> found;
      for (int number : *numbers) {
        std::optional<std::uint64_t> inode = socket_inode(directory + "/" + std::to_string(number));
        if (inode && wanted.contains(*inode) && found.insert(*inode).second)
          holders.push_back({pid, *inode});
      }
    }
    return holders;
  });
}

}  // namespace sockrepair

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <sstream>

#include "other_netns.h"
#include "sockrepair/syscall.h"
#include "try.h"

#ifndef TCP_REPAIR_OFF_NO_WP
#define TCP_REPAIR_OFF_NO_WP (-1)
#endif

namespace sockrepair::tool {

namespace {

using Clock = std::chrono::steady_clock;
using internal::run_in_netns_of;

constexpr char kRelease[] = "release";
constexpr char kKeep[] = "keep ";             // and the seconds
constexpr char kExpectEnd[] = "expect end ";  // and the pidfd, and the seconds
constexpr std::chrono::seconds kPatience{5};
// How long a process that was sent SIGKILL may take to end.
constexpr std::chrono::milliseconds kDying{200};

// --- between the two processes: one packet each way, an error as "CODE WHAT", success as nothing

Result<void> send_packet(const Fd& to, const std::string& text) {
  if (::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL) < 0)
    return Error{errno, "send() to the keeper of connections"};
  return {};
}

// Nothing when the other side has gone.
std::optional<std::string> receive_packet(const Fd& from) {
  std::array<char, 4096> text;
  ssize_t size;
  do {
    size = ::recv(from.get(), text.data(), text.size(), 0);
  } while (size < 0 && errno == EINTR);
  if (size <= 0) return std::nullopt;
  return std::string(text.data(), static_cast<std::size_t>(size));
}

// A packet of no bytes would look like the end.
std::string packet_of(const Result<void>& result) {
  return result ? "0" : std::to_string(result.error().code) + " " + result.error().what;
}

Result<void> result_of(const std::optional<std::string>& packet) {
  if (!packet) return Error{ECHILD, "the keeper of connections has died"};
  int code = atoi(packet->c_str());
  if (code == 0) return {};
  return Error{code, packet->substr(packet->find(' ') + 1)};
}

// --- abstract sockets by which a lock is taken over

struct AbstractAddress {
  sockaddr_un address{};
  socklen_t size = 0;
};

AbstractAddress abstract_address(const std::string& name) {
  AbstractAddress result;
  result.address.sun_family = AF_UNIX;
  name.copy(result.address.sun_path + 1, sizeof(result.address.sun_path) - 1);
  result.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return result;
}

Result<Fd> listen_at(const std::string& name) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_UNIX, SOCK_STREAM, 0));
  AbstractAddress at = abstract_address(name);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at.address), at.size) != 0)
    return Error{errno, "bind(@" + name + ")"};
  if (::listen(fd.get(), 8) != 0) return Error{errno, "listen(@" + name + ")"};
  return fd;
}

// --- the other process

class Kept {
 public:
  Kept(const std::vector<KeptConnection>& connections, std::string name)
      : connections_(connections), name_(std::move(name)) {}

  // Both before the caller is told to go on: from then on it changes modes.
  void note_modes();
  Result<void> lock();

  void run(const Fd& control);

 private:
  // The part of one network namespace.
  struct Part {
    ConnectionLock lock;
    Fd listener;
  };

  // What the end of repair mode would leave different.
  struct Mode {
    bool in_repair = false;
    int reuse_address = 0;  // SO_REUSEADDR, which kernels without TCP_REPAIR_CB forget
  };

  // What is not put back, with the time of keep().
  struct End {
    int pidfd = -1;
    std::chrono::seconds time{};
  };

  void put_back();
  void keep(std::chrono::seconds time);
  void expect_end(const std::string& arguments);
  bool has_ended() const;
  bool is_taken_over(Part& part) const;

  const std::vector<KeptConnection>& connections_;
  std::string name_;
  std::vector<Mode> before_;
  std::vector<Part> parts_;
  std::optional<End> end_;
};

Result<void> Kept::lock() {
  std::map<std::uint64_t, std::vector<const KeptConnection*>> by_netns;
  for (const KeptConnection& connection : connections_)
    by_netns[connection.netns_cookie].push_back(&connection);
  for (const auto& [cookie, connections] : by_netns) {
    const int socket = connections.front()->fd;
    std::vector<FourTuple> tuples;
    for (const KeptConnection* connection : connections) tuples.push_back(connection->tuple);
    SOCKREPAIR_TRY_ASSIGN(ConnectionLock lock, ConnectionLock::create({.socket = socket}));
    SOCKREPAIR_TRY(lock.add(tuples));
    Fd listener;
    SOCKREPAIR_TRY(run_in_netns_of(socket, [&]() -> Result<void> {
      SOCKREPAIR_TRY_ASSIGN(listener, listen_at(name_));
      return {};
    }));
    parts_.push_back({std::move(lock), std::move(listener)});
  }
  return {};
}

void Kept::note_modes() {
  for (const KeptConnection& connection : connections_) {
    Result<int> repair = sys::getsockopt<int>(connection.fd, IPPROTO_TCP, TCP_REPAIR);
    Result<int> reuse = sys::getsockopt<int>(connection.fd, SOL_SOCKET, SO_REUSEADDR);
    before_.push_back({repair && *repair != 0, reuse ? *reuse : 0});
  }
}

// Nobody is left to be told of an error. Segments pass last: a socket in repair mode takes bytes
// that it is to send next for sent when one arrives.
void Kept::put_back() {
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    const int fd = connections_[i].fd;
    Result<int> repair = sys::getsockopt<int>(fd, IPPROTO_TCP, TCP_REPAIR);
    if (before_[i].in_repair || !repair || *repair == 0) continue;
    static_cast<void>(sys::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, int{TCP_REPAIR_OFF_NO_WP}));
    Result<int> reuse = sys::getsockopt<int>(fd, SOL_SOCKET, SO_REUSEADDR);
    if (reuse && *reuse != before_[i].reuse_address)
      static_cast<void>(sys::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, before_[i].reuse_address));
  }
  parts_.clear();
}

// Closes everything but what listens, so that nobody waits for the end of something that is open
// here: the guardian of a stopped process, the reader of a pipe.
void close_others(std::vector<int> stay) {
  Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), number);
  std::sort(stay.begin(), stay.end());
  unsigned first = STDERR_FILENO + 1;
  for (int number : stay) {
    auto kept = static_cast<unsigned>(number);
    if (kept > first) ::close_range(first, kept - 1, 0);
    first = kept + 1;
  }
  static_cast<void>(null.release());
  ::close_range(first, UINT_MAX, 0);
}

bool Kept::is_taken_over(Part& part) const {
  Fd caller(::accept4(part.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!caller) return false;
  ucred who{};
  socklen_t size = sizeof(who);
  if (::getsockopt(caller.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
  if (who.uid != 0 && who.uid != ::geteuid()) return false;
  part.lock.release();
  return true;  // and the caller sees that by the end of what it reads
}

void Kept::keep(std::chrono::seconds time) {
  const Clock::time_point end = Clock::now() + time;
  std::vector<int> listeners;
  for (const Part& part : parts_) listeners.push_back(part.listener.get());
  close_others(listeners);
  static_cast<void>(::chdir("/"));
  ::prctl(PR_SET_NAME, "sockrepair-lock");
  while (!parts_.empty()) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) return;
    std::vector<pollfd> waiting;
    for (const Part& part : parts_) waiting.push_back({part.listener.get(), POLLIN, 0});
    if (::poll(waiting.data(), waiting.size(),
               static_cast<int>(std::min<std::int64_t>(left.count() + 1, INT_MAX))) <= 0)
      continue;
    for (std::size_t i = parts_.size(); i > 0; --i) {
      if (waiting[i - 1].revents != 0 && is_taken_over(parts_[i - 1]))
        parts_.erase(parts_.begin() + static_cast<std::ptrdiff_t>(i - 1));
    }
  }
}

void Kept::expect_end(const std::string& arguments) {
  std::istringstream words(arguments);
  End end;
  std::int64_t seconds = 0;
  words >> end.pidfd >> seconds;
  end.time = std::chrono::seconds(seconds);
  end_ = end;
}

bool Kept::has_ended() const {
  pollfd process{end_->pidfd, POLLIN, 0};
  return ::poll(&process, 1, static_cast<int>(kDying.count())) == 1 &&
         (process.revents & POLLIN) != 0;
}

void Kept::run(const Fd& control) {
  for (;;) {
    std::optional<std::string> command = receive_packet(control);
    if (command && command->starts_with(kExpectEnd)) {
      expect_end(command->substr(strlen(kExpectEnd)));
      static_cast<void>(send_packet(control, packet_of({})));
      continue;
    }
    if (!command && end_ && has_ended()) return keep(end_->time);
    if (command && command->starts_with(kKeep)) {
      if (!send_packet(control, packet_of({}))) continue;
      return keep(std::chrono::seconds(atoll(command->c_str() + strlen(kKeep))));
    }
    put_back();
    if (command) static_cast<void>(send_packet(control, packet_of({})));
    return;
  }
}

// Never comes back.
[[noreturn]] void be_keeper(const std::vector<KeptConnection>& connections, bool lock,
                            const std::string& name, const Fd& control) {
  // Signals of the terminal are for the program only, others end this as they do any.
  ::setsid();
  for (int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_DFL);
  {
    Kept kept(connections, name);
    kept.note_modes();
    Result<void> locked = lock ? kept.lock() : Result<void>();
    if (send_packet(control, packet_of(locked)) && locked) kept.run(control);
  }
  ::_exit(0);
}

}  // namespace

Result<Keeper> Keeper::start(const std::vector<KeptConnection>& connections, bool lock,
                             const std::string& name) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return Error{errno, "socketpair(AF_UNIX)"};
  Fd ours(ends[0]), theirs(ends[1]);
  pid_t pid = ::fork();
  if (pid < 0) return Error{errno, "fork()"};
  if (pid == 0) {
    ours.reset();
    be_keeper(connections, lock, name, theirs);
  }
  theirs.reset();
  Keeper keeper(pid, std::move(ours));
  SOCKREPAIR_TRY(result_of(receive_packet(keeper.control_)));
  return keeper;
}

Keeper::~Keeper() {
  if (pid_ < 0) return;
  static_cast<void>(send_packet(control_, kRelease));
  control_.reset();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

Result<void> Keeper::command(const std::string& text) {
  SOCKREPAIR_TRY(send_packet(control_, text));
  return result_of(receive_packet(control_));
}

Result<void> Keeper::release() {
  return command(kRelease);
}

Result<void> Keeper::expect_end(int pidfd, std::chrono::seconds time) {
  return command(kExpectEnd + std::to_string(pidfd) + " " + std::to_string(time.count()));
}

Result<pid_t> Keeper::keep_locked(std::chrono::seconds time) {
  SOCKREPAIR_TRY(command(kKeep + std::to_string(time.count())));
  control_.reset();
  return std::exchange(pid_, -1);
}

std::string lock_name(const ImageProcess& process) {
  return "sockrepair-lock-" + std::to_string(process.pid) + "-" + std::to_string(process.dumped_at);
}

Result<void> take_over_lock(const std::string& name) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_UNIX, SOCK_STREAM, 0));
  AbstractAddress at = abstract_address(name);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&at.address), at.size) != 0) {
    if (errno == ECONNREFUSED) return {};
    return Error{errno, "connect(@" + name + ")"};
  }
  // A signal is for later: the lock has been told to go.
  int ready;
  do {
    pollfd end{fd.get(), POLLIN, 0};
    ready = ::poll(&end, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count()));
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return Error{ETIMEDOUT, "the lock of the dump (@" + name + ") does not answer"};
  return {};
}

}  // namespace sockrepair::tool

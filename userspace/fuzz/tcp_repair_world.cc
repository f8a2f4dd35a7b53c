// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_repair_world.h"

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace sockrepair::fuzz {

namespace {

// Not in the headers of liburing 2.3.
constexpr std::uint32_t kUringCmdSetsockopt = 3;

// States of TCP, as TCP_INFO has them.
constexpr std::uint8_t kClose = 7;
constexpr std::uint8_t kListen = 10;

constexpr std::uint32_t kMaxWindow = 65535U << 14;

constexpr std::uint32_t kFirstPort = 2000;
constexpr std::uint32_t kPortSets = 5000;

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address loopback(bool v6, std::uint16_t port) {
  Address address;
  if (v6) {
    sockaddr_in6 sin6{};
    sin6.sin6_family = AF_INET6;
    sin6.sin6_port = htons(port);
    sin6.sin6_addr = in6addr_loopback;
    std::memcpy(&address.storage, &sin6, sizeof(sin6));
    address.length = sizeof(sin6);
  } else {
    sockaddr_in sin{};
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::memcpy(&address.storage, &sin, sizeof(sin));
    address.length = sizeof(sin);
  }
  return address;
}

int new_socket(bool v6) {
  return ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

// Whether it fills its slot, whatever is there.
bool makes_socket(Op op) {
  return op == Op::kSocket || op == Op::kPair || op == Op::kTwins || op == Op::kLonely;
}

// A listener counts connections there, and a reset purges the queues but not the counters.
bool counters_are_wrong(const tcp_info& info) {
  if (info.tcpi_state == kClose || info.tcpi_state == kListen) return false;
  return info.tcpi_snd_cwnd > 1U << 30 || info.tcpi_unacked > 1U << 30 ||
         info.tcpi_sacked + info.tcpi_lost > info.tcpi_unacked;
}

}  // namespace

Sockets::Sockets(std::uint64_t case_number)
    : first_port_(static_cast<std::uint16_t>(kFirstPort + case_number % kPortSets * kPorts)) {
  for (auto& slot : slots_) slot = -1;
}

Sockets::~Sockets() {
  const linger reset{1, 0};
  for (auto& slot : slots_) {
    const int fd = slot.exchange(-1);
    if (fd < 0) continue;
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    ::close(fd);
  }
}

void Sockets::put(std::uint32_t slot, int fd) {
  const int old = slots_[slot].exchange(fd);
  if (old >= 0) ::close(old);
}

Hand::~Hand() {
  if (ring_ready_) io_uring_queue_exit(&ring_);
}

int Hand::count(long result) {
  const int error = errno;
  // No other thread adds to it.
  calls_.store(calls_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return result < 0 ? -error : static_cast<int>(result);
}

void Hand::complain(const char* format, ...) {
  if (!complaint_.empty()) return;
  char text[240];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  complaint_ = text;
}

int Hand::set(int fd, int level, int name, const void* value, std::uint32_t length, bool ring) {
  // A ring belongs to the process that made it.
  const int result = ring && !in_child_ ? set_by_ring(fd, level, name, value, length)
                                        : count(::setsockopt(fd, level, name, value, length));
  if (!error_is_documented(level, name, -result))
    complain("setsockopt(level %d, name %d) failed with errno %d", level, name, -result);
  return result;
}

// The setsockopt command of io_uring takes every level.
int Hand::set_by_ring(int fd, int level, int name, const void* value, std::uint32_t length) {
  if (!ring_ready_) {
    if (io_uring_queue_init(4, &ring_, 0)) return -ENOMEM;
    ring_ready_ = true;
  }
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (!sqe) return -ENOMEM;
  std::memset(sqe, 0, sizeof(*sqe));
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = fd;
  sqe->off = kUringCmdSetsockopt;
  const std::uint32_t level_and_name[2] = {static_cast<std::uint32_t>(level),
                                           static_cast<std::uint32_t>(name)};
  std::memcpy(&sqe->addr, level_and_name, sizeof(level_and_name));
  sqe->file_index = length;
  sqe->addr3 = reinterpret_cast<std::uintptr_t>(value);
  io_uring_cqe* cqe = nullptr;
  do {
    const int submitted = io_uring_submit_and_wait(&ring_, 1);
    count(0);
    if (submitted < 0 && submitted != -EINTR) {
      // With it goes what was prepared: the value is on the caller's stack.
      io_uring_queue_exit(&ring_);
      ring_ready_ = false;
      return -ENOMEM;
    }
  } while (io_uring_peek_cqe(&ring_, &cqe) != 0);
  const int result = cqe->res;
  io_uring_cqe_seen(&ring_, cqe);
  // What setsockopt(2) calls ENOTSOCK: another thread closed the socket, and the number is that of
  // another file by now, such as a ring.
  return result == -EOPNOTSUPP ? -ENOTSOCK : result;
}

int Hand::set_options(int fd, const Call& call) {
  const int result =
      set(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, call.options.data(), call.length, call.ring);
  if (result == 0 && !options_may_be_right(call.options, call.length))
    complain("options accepted: %s", to_string(call).c_str());
  return result;
}

int Hand::set_window(int fd, const Call& call) {
  tcp_repair_window window{};
  socklen_t length = sizeof(window);
  if (count(::getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &length)) == 0 &&
      (window.rcv_wnd > kMaxWindow || window.max_window > kMaxWindow))
    complain("window read: max_window %u rcv_wnd %u", window.max_window, window.rcv_wnd);
  call.window.apply(window);
  const int result = set(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof(window), call.ring);
  if (result == 0 && !window_may_be_right(window))
    complain("window accepted: snd_wnd %u max_window %u rcv_wnd %u", window.snd_wnd,
             window.max_window, window.rcv_wnd);
  return result;
}

int Hand::send(int fd, const Call& call, const Sockets& sockets) {
  static const std::array<char, 1 << 16> kZeros{};
  const Address peer = loopback(call.v6, sockets.port(call.peer_port));
  const bool to = (call.flags & MSG_FASTOPEN) != 0;
  return count(::sendto(fd, kZeros.data(), call.length, call.flags | MSG_DONTWAIT | MSG_NOSIGNAL,
                        to ? peer.get() : nullptr, to ? peer.length : 0));
}

int Hand::receive(int fd, const Call& call) {
  char buffer[8192];
  return count(::recv(fd, buffer, call.length, call.flags | MSG_DONTWAIT));
}

int Hand::look(int fd) {
  tcp_info info{};
  socklen_t length = sizeof(info);
  const int result = count(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
  if (result != 0) return result;
  if (counters_are_wrong(info)) {
    // The state is read before the socket is locked: a reset can have come in between.
    length = sizeof(info);
    if (count(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length)) != 0) return 0;
  }
  if (counters_are_wrong(info))
    complain("state %u cwnd %u unacked %u sacked %u lost %u retrans %u", info.tcpi_state,
             info.tcpi_snd_cwnd, info.tcpi_unacked, info.tcpi_sacked, info.tcpi_lost,
             info.tcpi_retrans);
  if (info.tcpi_snd_mss > 65535 || info.tcpi_snd_wnd > kMaxWindow)
    complain("mss %u snd_wnd %u", info.tcpi_snd_mss, info.tcpi_snd_wnd);
  return result;
}

int Hand::get(int fd, const Call& call) {
  char buffer[64];
  socklen_t length = call.length;
  return count(::getsockopt(fd, call.level, call.name, buffer, &length));
}

int Hand::pair(const Call& call, Sockets& sockets) {
  const Address address = loopback(call.v6, sockets.port(call.port));
  const int on = 1;
  const int listener = count(new_socket(call.v6));
  const int client = count(new_socket(call.v6));
  int server = -1;
  count(::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
  if (count(::bind(listener, address.get(), address.length)) == 0 &&
      count(::listen(listener, 1)) == 0) {
    count(::connect(client, address.get(), address.length));
    server = count(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  }
  count(::close(listener));
  sockets.put(call.slot, client);
  sockets.put(call.other, server);
  return server;
}

int Hand::restored(const Call& call, std::uint16_t port, std::uint32_t snd_seq,
                   std::uint32_t rcv_seq) {
  const Address own = loopback(call.v6, port);
  const int fd = count(new_socket(call.v6));
  set_int(fd, TCP_REPAIR, TCP_REPAIR_ON);
  count(::bind(fd, own.get(), own.length));
  set_int(fd, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
  set_int(fd, TCP_QUEUE_SEQ, static_cast<int>(snd_seq));
  set_int(fd, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
  set_int(fd, TCP_QUEUE_SEQ, static_cast<int>(rcv_seq));
  return fd;
}

int Hand::connect_restored(int fd, const Call& call, std::uint16_t peer_port) {
  const Address peer = loopback(call.v6, peer_port);
  const int connected = count(::connect(fd, peer.get(), peer.length));
  set_options(fd, call);
  set_int(fd, TCP_TIMESTAMP, static_cast<int>(call.timestamp));
  return connected;
}

int Hand::twins(const Call& call, Sockets& sockets) {
  const std::uint16_t ports[2] = {sockets.port(call.port), sockets.port(call.peer_port)};
  const int one = restored(call, ports[0], call.snd_seq, call.rcv_seq);
  const int two = restored(call, ports[1], call.rcv_seq, call.snd_seq);
  connect_restored(one, call, ports[1]);
  const int connected = connect_restored(two, call, ports[0]);
  if (call.leave != TCP_REPAIR_ON) {
    set_int(one, TCP_REPAIR, call.leave);
    set_int(two, TCP_REPAIR, call.leave);
  }
  sockets.put(call.slot, one);
  sockets.put(call.other, two);
  return connected;
}

int Hand::lonely(const Call& call, Sockets& sockets) {
  const int fd = restored(call, sockets.port(call.port), call.snd_seq, call.rcv_seq);
  const int connected = connect_restored(fd, call, sockets.port(call.peer_port));
  Call data;
  data.length = call.length;
  for (int queue : {TCP_RECV_QUEUE, TCP_SEND_QUEUE}) {
    set_int(fd, TCP_REPAIR_QUEUE, queue);
    send(fd, data, sockets);
  }
  set_window(fd, call);
  if (call.leave != TCP_REPAIR_ON) set_int(fd, TCP_REPAIR, call.leave);
  sockets.put(call.slot, fd);
  return connected;
}

// The same sockets from another process, which then goes away.
int Hand::fork_child(const Call& call, Sockets& sockets) {
  const pid_t child = static_cast<pid_t>(count(::fork()));
  if (child == 0) {
    in_child_ = true;
    Sequence sequence(call.seed);
    complaint_.clear();
    for (std::uint32_t i = 0; i < call.length; ++i) make(sequence.next(), sockets);
    const std::string line = "# in a child: " + complaint_ + "\n";
    if (!complaint_.empty() && ::write(STDOUT_FILENO, line.data(), line.size()) < 0) ::_exit(2);
    ::_exit(complaint_.empty() ? 0 : 1);
  }
  if (child < 0) return child;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) complain("a child ended with status %#x", static_cast<unsigned>(status));
  return status;
}

int Hand::make(const Call& call, Sockets& sockets) {
  const int fd = sockets.get(call.slot);
  if (fd < 0 && !makes_socket(call.op) && call.op != Op::kFork) return -EBADF;
  switch (call.op) {
    case Op::kSocket: {
      const int made = count(new_socket(call.v6));
      sockets.put(call.slot, made);
      return made;
    }
    case Op::kPair:
      return pair(call, sockets);
    case Op::kTwins:
      return twins(call, sockets);
    case Op::kLonely:
      return lonely(call, sockets);
    case Op::kSet:
      return set(fd, call.level, call.name, &call.value, sizeof(call.value), call.ring);
    case Op::kSetOptions:
      return set_options(fd, call);
    case Op::kSetWindow:
      return set_window(fd, call);
    case Op::kSend:
      return send(fd, call, sockets);
    case Op::kReceive:
      return receive(fd, call);
    case Op::kConnect: {
      const Address peer = loopback(call.v6, sockets.port(call.peer_port));
      return count(::connect(fd, peer.get(), peer.length));
    }
    case Op::kDisconnect: {
      sockaddr unspecified{};
      unspecified.sa_family = AF_UNSPEC;
      return count(::connect(fd, &unspecified, sizeof(unspecified)));
    }
    case Op::kBind: {
      const Address own = loopback(call.v6, sockets.port(call.port));
      return count(::bind(fd, own.get(), own.length));
    }
    case Op::kShutdown:
      return count(::shutdown(fd, static_cast<int>(call.value)));
    case Op::kListen:
      return count(::listen(fd, static_cast<int>(call.value)));
    case Op::kAccept: {
      const int accepted = count(::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (accepted >= 0) sockets.put(call.other, accepted);
      return accepted;
    }
    case Op::kInfo:
      return look(fd);
    case Op::kGet:
      return get(fd, call);
    case Op::kIoctl: {
      int bytes = 0;
      return count(::ioctl(fd, call.value, &bytes));
    }
    case Op::kClose:
      count(0);
      sockets.put(call.slot, -1);
      return 0;
    case Op::kFork:
      return fork_child(call, sockets);
    case Op::kCount:
      break;
  }
  return 0;
}

int Hand::make_timed(const Call& call, Sockets& sockets) {
  const std::uint64_t calls_before = calls();
  const auto start = std::chrono::steady_clock::now();
  const int result = make(call, sockets);
  Times::Row& row = times_.rows[static_cast<std::size_t>(call.op)];
  row.time += std::chrono::steady_clock::now() - start;
  row.calls += calls() - calls_before;
  ++row.steps;
  return result;
}

}  // namespace sockrepair::fuzz

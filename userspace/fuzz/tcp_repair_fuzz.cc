// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// tcp_repair_fuzz: random sequences of every call that has to do with TCP_REPAIR, valid and
// invalid, on sockets that share a loopback with live peers.
//
//   usage: tcp_repair_fuzz [--seed N] [--calls N] [--lanes N] [--case N]
//
//   --seed N   what all choices follow from; a new one by default, printed at the start
//   --calls N  stop after so many system calls (1000000)
//   --lanes N  cases that run side by side, each in a network namespace of its own (2)
//   --case N   run this case alone: the same calls with the same arguments as in the whole run
//
// A case has two threads on the same sockets, and children now and then. Its choices depend on the
// seed and its number, never on what a call returned.
//
// A case fails when the kernel log shows a splat, when a counter that TCP_INFO shows is one that
// cannot be, or when a lane makes no call for a minute. Output is KTAP; a failure names the seed
// and the cases that ran, in the form of a command line. Needs root.

#include <arpa/inet.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr int kSlots = 6;
constexpr int kStepsPerThread = 400;
constexpr int kPorts = 12;
constexpr int kFirstPort = 10000;
constexpr std::chrono::seconds kStuckAfter{60};

// Not in the headers of liburing 2.3.
constexpr std::uint32_t kUringCmdSetsockopt = 3;

std::atomic<std::uint64_t> g_calls{0};
std::atomic<bool> g_failed{false};

// SplitMix64: a few instructions, and any two seeds give unrelated streams.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // 0 to n - 1.
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(next() >> 32) % n; }
  // True once in n.
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  template <typename T>
  T pick(std::initializer_list<T> list) {
    return *(list.begin() + below(static_cast<std::uint32_t>(list.size())));
  }
  // Numbers near the bounds that matter, and any others.
  std::uint32_t number() {
    switch (below(4)) {
      case 0:
        return pick<std::uint32_t>({0, 1, 87, 88, 535, 536, 1460, 32767, 65535, 65536, 0x7fffffff,
                                    0x80000000, 0xffffffff});
      case 1: {
        std::uint32_t window = 65535U << below(15);
        return window + below(3) - 1;
      }
      case 2:
        return below(70000);
      default:
        return static_cast<std::uint32_t>(next() >> 32) >> below(32);
    }
  }

 private:
  std::uint64_t state_;
};

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

// The sockets of a case. Both threads use and replace them without a lock: that they meet in the
// kernel is the point. A number that was closed under a thread's hands gives EBADF, or another
// socket of the same case.
class Sockets {
 public:
  Sockets() {
    for (auto& slot : slots_) slot = -1;
  }
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;
  ~Sockets() {
    for (auto& slot : slots_) put_slot(slot, -1);
  }

  int get(std::uint32_t slot) const { return slots_[slot]; }
  void put(std::uint32_t slot, int fd) { put_slot(slots_[slot], fd); }

 private:
  static void put_slot(std::atomic<int>& slot, int fd) {
    int old = slot.exchange(fd);
    if (old >= 0) ::close(old);
  }

  std::array<std::atomic<int>, kSlots> slots_;
};

// One thread of a case.
class Walker {
 public:
  Walker(Sockets& sockets, std::uint64_t seed) : sockets_(sockets), random_(seed) {}
  Walker(const Walker&) = delete;
  Walker& operator=(const Walker&) = delete;
  ~Walker() {
    if (ring_ready_) io_uring_queue_exit(&ring_);
  }

  void walk(int steps) {
    for (int i = 0; i < steps && !g_failed; ++i) step();
  }

  // What no call could bring about, if the kernel is right; empty otherwise.
  const std::string& complaint() const { return complaint_; }

 private:
  int fd() { return sockets_.get(random_.below(kSlots)); }
  std::uint16_t port() { return static_cast<std::uint16_t>(kFirstPort + random_.below(kPorts)); }

  static int count(long result) {
    g_calls.fetch_add(1, std::memory_order_relaxed);
    return static_cast<int>(result);
  }

  int set(int fd, int level, int name, const void* value, socklen_t length) {
    if (random_.one_in(16)) return set_by_ring(fd, level, name, value, length);
    return count(::setsockopt(fd, level, name, value, length));
  }

  int set(int fd, int name, int value) { return set(fd, IPPROTO_TCP, name, &value, sizeof(value)); }

  // The same call through io_uring, whose setsockopt command takes every level.
  int set_by_ring(int fd, int level, int name, const void* value, socklen_t length) {
    if (!ring_ready_) {
      if (io_uring_queue_init(4, &ring_, 0)) return -1;
      ring_ready_ = true;
    }
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (!sqe) return -1;
    std::memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = fd;
    sqe->off = kUringCmdSetsockopt;
    const std::uint32_t level_and_name[2] = {static_cast<std::uint32_t>(level),
                                             static_cast<std::uint32_t>(name)};
    std::memcpy(&sqe->addr, level_and_name, sizeof(level_and_name));
    sqe->file_index = length;
    const auto pointer = reinterpret_cast<std::uint64_t>(value);
    std::memcpy(reinterpret_cast<char*>(sqe) + 48, &pointer, sizeof(pointer));
    io_uring_cqe* cqe = nullptr;
    if (count(io_uring_submit_and_wait(&ring_, 1)) < 0 || io_uring_peek_cqe(&ring_, &cqe))
      return -1;
    const int result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    return result;
  }

  void put_new_socket() {
    const bool v6 = random_.one_in(3);
    const int fd = count(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    sockets_.put(random_.below(kSlots), fd);
  }

  // A listener, a connection to it, both ends kept.
  void put_pair() {
    const bool v6 = random_.one_in(3);
    const Address address = loopback(v6, port());
    const std::uint32_t a = random_.below(kSlots);
    const std::uint32_t b = (a + 1 + random_.below(kSlots - 1)) % kSlots;
    const int family = v6 ? AF_INET6 : AF_INET;
    const int on = 1;
    const int listener = count(::socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    const int client = count(::socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    int server = -1;
    count(::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
    if (!count(::bind(listener, address.get(), address.length)) && !count(::listen(listener, 1))) {
      count(::connect(client, address.get(), address.length));
      server = count(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK));
    }
    ::close(listener);
    sockets_.put(a, client);
    sockets_.put(b, server);
  }

  // A socket restored in a legitimate order, with values that are right or wrong.
  void put_restored() {
    const bool v6 = random_.one_in(3);
    const std::uint32_t slot = random_.below(kSlots);
    const Address own = loopback(v6, port());
    const Address peer = loopback(v6, port());
    const int fd = count(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    set(fd, TCP_REPAIR, TCP_REPAIR_ON);
    count(::bind(fd, own.get(), own.length));
    set(fd, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
    set(fd, TCP_QUEUE_SEQ, static_cast<int>(random_.next()));
    set(fd, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
    set(fd, TCP_QUEUE_SEQ, static_cast<int>(random_.next()));
    count(::connect(fd, peer.get(), peer.length));
    set_options(fd);
    set(fd, TCP_TIMESTAMP, static_cast<int>(random_.next()));
    for (int queue : {TCP_RECV_QUEUE, TCP_SEND_QUEUE}) {
      set(fd, TCP_REPAIR_QUEUE, queue);
      send(fd);
    }
    set_window(fd);
    if (random_.one_in(2))
      set(fd, TCP_REPAIR, random_.pick({TCP_REPAIR_OFF, TCP_REPAIR_OFF_NO_WP}));
    sockets_.put(slot, fd);
  }

  void set_options(int fd) {
    tcp_repair_opt options[6];
    const std::uint32_t n = random_.one_in(4) ? random_.below(7) : 1 + random_.below(4);
    const std::uint32_t first = random_.below(4);
    for (std::uint32_t i = 0; i < n; ++i) {
      tcp_repair_opt& option = options[i];
      // Each of the four once, in any rotation.
      static constexpr std::uint32_t kCodes[] = {2, 3, 4, 8};
      option.opt_code = kCodes[(first + i) % 4];
      switch (option.opt_code) {
        case 2:
          option.opt_val = 88 + random_.below(9000);
          break;
        case 3:
          option.opt_val = random_.below(15) | random_.below(15) << 16;
          break;
        default:
          option.opt_val = 0;
      }
      if (random_.one_in(16)) option.opt_val = random_.number();
      if (random_.one_in(32)) option.opt_code = random_.number();
    }
    socklen_t length = n * static_cast<socklen_t>(sizeof(options[0]));
    if (random_.one_in(16)) length = random_.below(sizeof(options) + 1);
    set(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options, length);
  }

  // A step away from what the socket has, so that a good part is accepted.
  void set_window(int fd) {
    tcp_repair_window window{};
    socklen_t length = sizeof(window);
    count(::getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &length));
    std::uint32_t* const fields[] = {&window.snd_wl1, &window.snd_wnd, &window.max_window,
                                     &window.rcv_wnd, &window.rcv_wup};
    const std::uint32_t changes = random_.below(4);
    if (random_.one_in(2)) {
      window.max_window = 65535;
      window.snd_wnd = random_.below(65536);
      window.rcv_wnd = random_.below(65536);
    }
    for (std::uint32_t i = 0; i < changes; ++i) {
      std::uint32_t* const field = fields[random_.below(5)];
      const std::uint32_t number = random_.number();
      *field = random_.one_in(2) ? number : *field + number;
    }
    set(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof(window));
  }

  void send(int fd) {
    static const std::array<char, 1 << 16> kZeros{};
    const int flags =
        random_.pick<int>({0, 0, 0, MSG_MORE, MSG_OOB, MSG_EOR, MSG_ZEROCOPY, MSG_FASTOPEN});
    const std::uint32_t length =
        random_.one_in(8) ? random_.below(kZeros.size()) : random_.below(3000);
    const bool to = flags == MSG_FASTOPEN;
    const Address peer = loopback(random_.one_in(3), port());
    count(::sendto(fd, kZeros.data(), length, flags | MSG_DONTWAIT | MSG_NOSIGNAL,
                   to ? peer.get() : nullptr, to ? peer.length : 0));
  }

  void receive(int fd) {
    char buffer[4096];
    const int flags =
        random_.pick<int>({0, 0, 0, MSG_PEEK, MSG_OOB, MSG_TRUNC, MSG_PEEK | MSG_TRUNC});
    count(::recv(fd, buffer, random_.below(sizeof(buffer) + 1), flags | MSG_DONTWAIT));
  }

  // Calls that have nothing to do with TCP_REPAIR, but with what it sets.
  void set_something(int fd) {
    struct Option {
      int level;
      int name;
      int max;
    };
    static constexpr Option kOptions[] = {
        {SOL_SOCKET, SO_REUSEADDR, 2},
        {SOL_SOCKET, SO_RCVBUF, 1 << 20},
        {SOL_SOCKET, SO_SNDBUF, 1 << 20},
        {SOL_SOCKET, SO_KEEPALIVE, 2},
        {SOL_SOCKET, SO_ZEROCOPY, 2},
        {SOL_SOCKET, SO_RCVLOWAT, 1 << 18},
        {SOL_SOCKET, SO_OOBINLINE, 2},
        {SOL_SOCKET, SO_REUSEPORT, 2},
        {IPPROTO_TCP, TCP_NODELAY, 2},
        {IPPROTO_TCP, TCP_CORK, 2},
        {IPPROTO_TCP, TCP_MAXSEG, 9000},
        {IPPROTO_TCP, TCP_WINDOW_CLAMP, 1 << 20},
        {IPPROTO_TCP, TCP_QUICKACK, 2},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 5000},
        {IPPROTO_TCP, TCP_FASTOPEN, 8},
        {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 2},
        {IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 2},
        {IPPROTO_TCP, TCP_DEFER_ACCEPT, 3},
        {IPPROTO_TCP, TCP_LINGER2, 10},
        {IPPROTO_TCP, TCP_KEEPIDLE, 3},
        {IPPROTO_TCP, TCP_SAVE_SYN, 3},
        {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1 << 18},
    };
    const Option& option = kOptions[random_.below(std::size(kOptions))];
    const int value = static_cast<int>(random_.below(static_cast<std::uint32_t>(option.max)));
    set(fd, option.level, option.name, &value, sizeof(value));
  }

  void look(int fd) {
    tcp_info info{};
    socklen_t length = sizeof(info);
    if (count(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length))) return;
    // A listener counts connections there, and a reset purges the queues but not the counters.
    constexpr std::uint8_t kClose = 7;
    constexpr std::uint8_t kListen = 10;
    if (info.tcpi_state == kClose || info.tcpi_state == kListen) return;
    char text[160] = "";
    if (info.tcpi_snd_cwnd > 1U << 30 || info.tcpi_sacked + info.tcpi_lost > info.tcpi_unacked ||
        info.tcpi_unacked > 1U << 30) {
      std::snprintf(text, sizeof(text), "state %u cwnd %u unacked %u sacked %u lost %u retrans %u",
                    info.tcpi_state, info.tcpi_snd_cwnd, info.tcpi_unacked, info.tcpi_sacked,
                    info.tcpi_lost, info.tcpi_retrans);
    } else if (info.tcpi_snd_mss > 65535 || info.tcpi_snd_wnd > 65535U << 14) {
      std::snprintf(text, sizeof(text), "mss %u snd_wnd %u", info.tcpi_snd_mss, info.tcpi_snd_wnd);
    }
    if (*text && complaint_.empty()) complaint_ = text;
  }

  void read_options(int fd) {
    char buffer[64];
    socklen_t length = random_.one_in(8) ? random_.below(sizeof(buffer)) : sizeof(int);
    const int name = random_.pick({TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_MAXSEG,
                                   TCP_TIMESTAMP, TCP_REPAIR_WINDOW});
    if (name == TCP_REPAIR_WINDOW) length = sizeof(tcp_repair_window);
    count(::getsockopt(fd, IPPROTO_TCP, name, buffer, &length));
    int bytes = 0;
    count(::ioctl(fd, random_.pick<unsigned long>({SIOCINQ, SIOCOUTQ, SIOCOUTQNSD}), &bytes));
  }

  // The same sockets from another process, which then goes away.
  void fork_and_walk() {
    const std::uint64_t seed = random_.next();
    const std::uint32_t steps = random_.below(8);
    const pid_t child = static_cast<pid_t>(count(::fork()));
    if (child == 0) {
      // No lock is held and nothing is allocated on this way.
      Walker walker(sockets_, seed);
      walker.in_child_ = true;
      for (std::uint32_t i = 0; i < steps; ++i) walker.step();
      ::_exit(0);
    }
    if (child > 0) ::waitpid(child, nullptr, 0);
  }

  void step() {
    const int target = fd();
    const std::uint32_t what = random_.below(100);
    if (what < 4) {
      put_new_socket();
    } else if (what < 9) {
      put_pair();
    } else if (what < 16) {
      put_restored();
    } else if (what < 26) {
      set(target, TCP_REPAIR,
          random_.pick({TCP_REPAIR_ON, TCP_REPAIR_ON, TCP_REPAIR_ON, TCP_REPAIR_OFF,
                        TCP_REPAIR_OFF_NO_WP, 2}));
    } else if (what < 32) {
      set(target, TCP_REPAIR_QUEUE,
          random_.one_in(8) ? static_cast<int>(random_.number())
                            : random_.pick({TCP_NO_QUEUE, TCP_RECV_QUEUE, TCP_SEND_QUEUE}));
    } else if (what < 36) {
      set(target, TCP_QUEUE_SEQ, static_cast<int>(random_.number()));
    } else if (what < 44) {
      set_options(target);
    } else if (what < 52) {
      set_window(target);
    } else if (what < 56) {
      set(target, TCP_TIMESTAMP, static_cast<int>(random_.number()));
    } else if (what < 68) {
      send(target);
    } else if (what < 74) {
      receive(target);
    } else if (what < 78) {
      const Address peer = loopback(random_.one_in(3), port());
      count(::connect(target, peer.get(), peer.length));
    } else if (what < 80) {
      sockaddr unspecified{};
      unspecified.sa_family = AF_UNSPEC;
      count(::connect(target, &unspecified, sizeof(unspecified)));
    } else if (what < 82) {
      const Address own = loopback(random_.one_in(3), port());
      count(::bind(target, own.get(), own.length));
    } else if (what < 84) {
      count(::shutdown(target, random_.pick({SHUT_RD, SHUT_WR, SHUT_RDWR})));
    } else if (what < 86) {
      count(::listen(target, static_cast<int>(random_.below(3))));
    } else if (what < 88) {
      const std::uint32_t slot = random_.below(kSlots);
      const int accepted = count(::accept4(target, nullptr, nullptr, SOCK_NONBLOCK));
      if (accepted >= 0) sockets_.put(slot, accepted);
    } else if (what < 93) {
      set_something(target);
    } else if (what < 97) {
      look(target);
    } else if (what < 99) {
      read_options(target);
    } else if (!in_child_ && random_.one_in(8)) {
      fork_and_walk();
    }
  }

  Sockets& sockets_;
  Random random_;
  std::string complaint_;
  io_uring ring_{};
  bool ring_ready_ = false;
  bool in_child_ = false;
};

// The kernel's log, from the start of the program on.
class KernelLog {
 public:
  KernelLog() : fd_(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
    if (fd_ >= 0) ::lseek(fd_, 0, SEEK_END);
  }
  KernelLog(const KernelLog&) = delete;
  KernelLog& operator=(const KernelLog&) = delete;
  ~KernelLog() {
    if (fd_ >= 0) ::close(fd_);
  }

  bool readable() const { return fd_ >= 0; }

  // The first line since the last call that a healthy kernel does not write; empty if there is
  // none.
  std::string splat() {
    std::lock_guard lock(mutex_);
    std::string found;
    char record[8192];
    for (;;) {
      const ssize_t length = ::read(fd_, record, sizeof(record));
      if (length < 0 && errno == EPIPE) continue;  // overwritten before it was read
      if (length <= 0) return found;
      const std::string_view line(record, static_cast<std::size_t>(length));
      for (std::string_view sign : {"WARNING:", "BUG:", "KASAN:", "UBSAN:", "INFO: task", "Oops",
                                    "general protection", "refcount_t:", "possible circular",
                                    "suspicious RCU", "inconsistent lock", "memory leak"}) {
        if (found.empty() && line.find(sign) != line.npos) {
          found = line.substr(0, line.find('\n'));
        }
      }
    }
  }

 private:
  std::mutex mutex_;
  int fd_;
};

bool enter_net_ns() {
  if (::unshare(CLONE_NEWNET)) return false;
  const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  const bool up = !::ioctl(fd, SIOCSIFFLAGS, &request);
  ::close(fd);
  return up;
}

struct Plan {
  std::uint64_t seed = 0;
  std::uint64_t calls = 1000000;
  unsigned lanes = 2;
  std::int64_t only_case = -1;
};

std::string run_case(std::uint64_t seed, std::uint64_t number) {
  Random random(seed ^ (number + 1) * 0xd1342543de82ef95ULL);
  Sockets sockets;
  Walker one(sockets, random.next());
  Walker two(sockets, random.next());
  std::thread other([&two] { two.walk(kStepsPerThread); });
  one.walk(kStepsPerThread);
  other.join();
  return one.complaint().empty() ? two.complaint() : one.complaint();
}

class Run {
 public:
  explicit Run(const Plan& plan) : plan_(plan), running_(plan.lanes) {
    for (auto& number : running_) number = -1;
  }

  int go() {
    std::printf("TAP version 13\n1..1\n# seed %llu\n", static_cast<unsigned long long>(plan_.seed));
    std::fflush(stdout);
    if (!log_.readable()) {
      fail("cannot read /dev/kmsg: splats would go unseen");
    } else {
      std::vector<std::thread> lanes;
      for (unsigned i = 0; i < plan_.lanes; ++i) lanes.emplace_back([this, i] { lane(i); });
      std::thread watch([this] { watchdog(); });
      for (auto& lane : lanes) lane.join();
      done_ = true;
      watch.join();
    }
    std::printf("# %llu calls, %llu cases\n%s 1 tcp_repair_fuzz\n",
                static_cast<unsigned long long>(g_calls.load()),
                static_cast<unsigned long long>(cases_.load()), g_failed ? "not ok" : "ok");
    return g_failed ? 1 : 0;
  }

 private:
  void lane(unsigned index) {
    if (!enter_net_ns()) {
      fail("cannot make a network namespace: " + std::string(std::strerror(errno)));
      return;
    }
    while (!g_failed) {
      std::uint64_t number = next_case_++;
      if (plan_.only_case >= 0) {
        if (number > 0) return;
        number = static_cast<std::uint64_t>(plan_.only_case);
      } else if (g_calls >= plan_.calls) {
        return;
      }
      running_[index] = static_cast<std::int64_t>(number);
      const std::string complaint = run_case(plan_.seed, number);
      const std::string splat = log_.splat();
      if (!complaint.empty()) fail("impossible: " + complaint);
      if (!splat.empty()) fail("kernel log: " + splat);
      running_[index] = -1;
      ++cases_;
    }
  }

  // Says what happened and how to see it again.
  void fail(const std::string& why) {
    std::lock_guard lock(fail_mutex_);
    std::printf("# %s\n", why.c_str());
    for (const auto& number : running_) {
      if (number < 0) continue;
      std::printf("# again: tcp_repair_fuzz --seed %llu --case %lld\n",
                  static_cast<unsigned long long>(plan_.seed),
                  static_cast<long long>(number.load()));
    }
    std::fflush(stdout);
    g_failed = true;
  }

  // No call ever waits for a peer, so a lane that stands still is stuck in the kernel, and nothing
  // can end it but the end of the program.
  void watchdog() {
    std::uint64_t last = g_calls;
    auto since = std::chrono::steady_clock::now();
    while (!done_) {
      // Nothing notifies about calls that are not made.
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      const auto now = std::chrono::steady_clock::now();
      if (g_calls != last) {
        last = g_calls;
        since = now;
      } else if (now - since > kStuckAfter) {
        fail("no call for a minute");
        std::printf("not ok 1 tcp_repair_fuzz\n");
        std::fflush(stdout);
        ::_exit(1);
      }
    }
  }

  const Plan plan_;
  KernelLog log_;
  std::atomic<std::uint64_t> next_case_{0};
  std::atomic<std::uint64_t> cases_{0};
  std::atomic<bool> done_{false};
  std::mutex fail_mutex_;
  std::vector<std::atomic<std::int64_t>> running_;
};

bool parse(int argc, char** argv, Plan& plan) {
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return false;
    const std::string_view name = argv[i];
    char* end = nullptr;
    errno = 0;
    const unsigned long long value = std::strtoull(argv[i + 1], &end, 0);
    if (errno || *end || end == argv[i + 1]) return false;
    if (name == "--seed") {
      plan.seed = value;
    } else if (name == "--calls") {
      plan.calls = value;
    } else if (name == "--lanes" && value >= 1 && value <= 64) {
      plan.lanes = static_cast<unsigned>(value);
    } else if (name == "--case") {
      plan.only_case = static_cast<std::int64_t>(value);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Plan plan;
  plan.seed = std::random_device{}();
  if (!parse(argc, argv, plan)) {
    std::fprintf(stderr, "usage: tcp_repair_fuzz [--seed N] [--calls N] [--lanes N] [--case N]\n");
    return 2;
  }
  return Run(plan).go();
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "batch/scene.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>

#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"
#include "uring.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

constexpr std::uint16_t kListenPort = 7000;
constexpr std::uint16_t kGroupPort = 7001;
constexpr std::uint16_t kPeerPort = 7002;
constexpr std::uint16_t kUdpPort = 7003;
constexpr std::uint16_t kDeafPort = 7010;
constexpr int kConnections = 4;

IpAddress loopback(int domain) {
  return *IpAddress::parse(domain == AF_INET ? "127.0.0.1" : "::1");
}

SocketAddress at(int domain, std::uint16_t port) {
  return SocketAddress({loopback(domain), port, 0}, domain);
}

Result<Fd> bound(int domain, int type, std::uint16_t port, int share) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(domain, type, 0));
  if (share != 0) SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, share, 1));
  SOCKREPAIR_TRY(sys::bind(fd.get(), at(domain, port)));
  return fd;
}

Result<Fd> listener(int domain, std::uint16_t port, int share) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, bound(domain, SOCK_STREAM, port, share));
  SOCKREPAIR_TRY(sys::listen(fd.get(), 16));
  return fd;
}

Result<void> wait_for(const Fd& fd, short events) {
  pollfd waiting{fd.get(), events, 0};
  const int ready = ::poll(&waiting, 1, Deadline::after(kPatience).poll_timeout_ms());
  if (ready == 1 && (waiting.revents & events) != 0) return {};
  return Error{ETIMEDOUT, "poll(" + std::to_string(fd.get()) + ")"};
}

Result<Fd> accept(const Fd& from) {
  SOCKREPAIR_TRY(wait_for(from, POLLIN));
  Fd fd(::accept4(from.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) return Error{errno, "accept4()"};
  return fd;
}

Result<void> say(const Fd& fd, std::string_view text) {
  if (::send(fd.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL) !=
      static_cast<ssize_t>(text.size()))
    return Error{errno, "send()"};
  return {};
}

Result<void> hear(const Fd& fd, std::string_view text) {
  std::string got;
  while (got.size() < text.size()) {
    SOCKREPAIR_TRY(wait_for(fd, POLLIN));
    std::string more(text.size() - got.size(), '\0');
    const ssize_t size = ::recv(fd.get(), more.data(), more.size(), MSG_DONTWAIT);
    if (size <= 0) return Error{size == 0 ? EPIPE : errno, "recv() after '" + got + "'"};
    got.append(more, 0, static_cast<std::size_t>(size));
  }
  if (got != text) return Error{EBADMSG, "'" + got + "' instead of '" + std::string(text) + "'"};
  return {};
}

bool is_listener(const Fd& fd) {
  Result<int> listening = sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_ACCEPTCONN);
  return listening && *listening != 0;
}

bool is_udp(const Fd& fd) {
  Result<int> protocol = sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_PROTOCOL);
  return protocol && *protocol == IPPROTO_UDP;
}

// Equal for two dumps of the same socket, and for a dump of what was restored from it: without what
// names one socket, or is of one moment.
AnySocket comparable(AnySocket socket) {
  std::visit(
      [](auto& one) {
        one.cookie = one.inode = 0;
        // Where segments are received changes by itself.
        std::erase_if(one.options, [](const OptionValue& option) {
          return (option.level == SOL_SOCKET && option.name == SO_INCOMING_CPU) ||
                 (option.level == IPPROTO_TCP && option.name == TCP_QUICKACK);
        });
      },
      socket);
  if (auto* tcp = std::get_if<TcpSocket>(&socket); tcp != nullptr && tcp->connection) {
    tcp->connection->timestamp = 0;
    tcp->connection->dumped_at = 0;
    if (tcp->connection->control_block) tcp->connection->control_block->clear();
  }
  return socket;
}

}  // namespace

bool has_io_uring() {
  Result<std::unique_ptr<internal::Uring>> ring = internal::Uring::create(8);
  const internal::Call call{internal::CallKind::kSetsockopt, -1};
  return ring && (*ring)->takes(call);
}

void Scene::add(const std::string& name, Fd fd) {
  ours_.push_back(std::move(fd));
  names_.push_back(name);
  peers_.emplace_back();
  waiting_.emplace_back();
  made_.push_back(made_.size());
}

// Several that have bytes, and one whose peer takes no more of them.
Result<void> Scene::connect_opened(int domain, const std::string& prefix) {
  SOCKREPAIR_TRY_ASSIGN(Fd theirs, listener(domain, kPeerPort, SO_REUSEADDR));
  SOCKREPAIR_TRY(sys::setsockopt(theirs.get(), SOL_SOCKET, SO_RCVBUF, 4096));
  for (int i = 0; i < kConnections; ++i) {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(domain, SOCK_STREAM, 0));
    SOCKREPAIR_TRY(sys::connect(fd.get(), at(domain, kPeerPort)));
    add(prefix + "opened " + std::to_string(i), std::move(fd));
    SOCKREPAIR_TRY_ASSIGN(peers_.back(), accept(theirs));
  }
  return {};
}

Result<void> Scene::add_family(int domain) {
  const std::string prefix = domain == AF_INET ? "v4 " : "v6 ";
  // Shares its port with the listener, which it could not if it came later.
  SOCKREPAIR_TRY_ASSIGN(Fd beside, bound(domain, SOCK_STREAM, kListenPort, SO_REUSEADDR));
  add(prefix + "bound", std::move(beside));
  SOCKREPAIR_TRY_ASSIGN(Fd accepting, listener(domain, kListenPort, SO_REUSEADDR));
  add(prefix + "listener", std::move(accepting));
  const std::size_t listening = ours_.size() - 1;
  for (int i = 0; i < 3; ++i) {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, listener(domain, kGroupPort, SO_REUSEPORT));
    // By which it is told from the others.
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_PRIORITY, i + 1));
    add(prefix + "group " + std::to_string(i), std::move(fd));
  }
  for (int i = 0; i < kConnections; ++i) {
    SOCKREPAIR_TRY_ASSIGN(Fd peer, sys::socket(domain, SOCK_STREAM, 0));
    SOCKREPAIR_TRY(sys::connect(peer.get(), at(domain, kListenPort)));
    SOCKREPAIR_TRY_ASSIGN(Fd fd, accept(ours_[listening]));
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, i % 2));
    add(prefix + "accepted " + std::to_string(i), std::move(fd));
    peers_.back() = std::move(peer);
    if (i == 0) continue;
    waiting_.back() = "said before, " + std::to_string(i);
    SOCKREPAIR_TRY(say(peers_.back(), waiting_.back()));
    SOCKREPAIR_TRY(wait_for(ours_.back(), POLLIN));
  }
  SOCKREPAIR_TRY(connect_opened(domain, prefix));

  for (int i = 0; i < 3; ++i) {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, bound(domain, SOCK_DGRAM, kUdpPort, SO_REUSEPORT));
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_PRIORITY, i + 1));
    add(prefix + "udp group " + std::to_string(i), std::move(fd));
  }
  SOCKREPAIR_TRY_ASSIGN(Fd peer, bound(domain, SOCK_DGRAM, kUdpPort + 1, 0));
  SOCKREPAIR_TRY_ASSIGN(Fd fd, bound(domain, SOCK_DGRAM, kUdpPort + 2, 0));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, 40000));
  SOCKREPAIR_TRY(sys::connect(peer.get(), at(domain, kUdpPort + 2)));
  SOCKREPAIR_TRY(sys::connect(fd.get(), at(domain, kUdpPort + 1)));
  add(prefix + "udp connected", std::move(fd));
  peers_.back() = std::move(peer);
  waiting_.back() = "a datagram";
  SOCKREPAIR_TRY(say(peers_.back(), waiting_.back()));
  return wait_for(ours_.back(), POLLIN);
}

Result<Scene> Scene::create() {
  SOCKREPAIR_TRY_ASSIGN(NetNs ns, NetNs::create());
  Scene scene(std::move(ns));
  Result<void> added = scene.ns_.run([&]() -> Result<void> {
    SOCKREPAIR_TRY(scene.add_family(AF_INET));
    SOCKREPAIR_TRY(scene.add_family(AF_INET6));
    // Who hears of nothing does not answer.
    SOCKREPAIR_TRY_ASSIGN(Fd deaf, listener(AF_INET, kDeafPort, 0));
    sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    const sock_fprog program{1, &drop};
    SOCKREPAIR_TRY(
        sys::setsockopt_bytes(deaf.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    Result<void> begun = sys::connect(fd.get(), at(AF_INET, kDeafPort));
    if (begun || begun.error().code != EINPROGRESS) return Error{EPROTO, "connect()"};
    scene.deaf_ = std::move(deaf);
    scene.add("syn sent", std::move(fd));
    return {};
  });
  if (!added) return added.error();
  // As a program has them: not in an order that would do.
  std::reverse(scene.ours_.begin(), scene.ours_.end());
  std::reverse(scene.names_.begin(), scene.names_.end());
  std::reverse(scene.peers_.begin(), scene.peers_.end());
  std::reverse(scene.waiting_.begin(), scene.waiting_.end());
  std::reverse(scene.made_.begin(), scene.made_.end());
  return scene;
}

std::vector<int> Scene::fds() const {
  std::vector<int> numbers;
  for (const Fd& fd : ours_) numbers.push_back(fd.get());
  return numbers;
}

std::size_t Scene::find(const std::string& name) const {
  return static_cast<std::size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
}

Result<std::vector<AnySocket>> Scene::dump(const Way& way, bool leave_in_repair) const {
  std::vector<AnySocket> values;
  DumpBatchOptions options;
  options.tcp.leave_in_repair = leave_in_repair;
  options.io_uring_from = way.io_uring ? 0 : SIZE_MAX;
  if (!way.batch) {
    for (const Fd& fd : ours_) {
      if (is_udp(fd)) {
        SOCKREPAIR_TRY_ASSIGN(values.emplace_back(), dump_udp_socket(fd));
      } else {
        SOCKREPAIR_TRY_ASSIGN(values.emplace_back(), dump_tcp_socket(fd, options.tcp));
      }
    }
    return values;
  }
  SOCKREPAIR_TRY_ASSIGN(
      BatchReport report,
      dump_sockets(fds(), options,
                   [&](std::size_t index, Result<AnySocket> socket) -> Result<void> {
                     if (index != values.size()) return Error{EPROTO, "not in order"};
                     if (!socket) return socket.error();
                     values.push_back(*std::move(socket));
                     return {};
                   }));
  if (report.sockets != size() || report.failed != 0) return Error{EPROTO, "wrong counts"};
  if (way.io_uring != (report.carried != 0))
    return report.no_io_uring.value_or(Error{EPROTO, "io_uring, asked for or not"});
  return values;
}

void Scene::close() {
  for (Fd& fd : ours_) close_silently(std::move(fd));
}

Result<void> Scene::restore(const Way& way, const std::vector<AnySocket>& values) {
  RestoreBatchOptions options;
  options.io_uring_from = way.io_uring ? 0 : SIZE_MAX;
  options.tcp.congestion = TcpCongestion::kWhole;
  // What it brings may be there at the next dump, or not.
  options.tcp.window_probe = false;
  return ns_.run([&]() -> Result<void> {
    if (!way.batch) {
      std::vector<std::size_t> order(values.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[made_[i]] = i;
      for (std::size_t i : order) {
        if (const auto* udp = std::get_if<UdpSocket>(&values[i])) {
          SOCKREPAIR_TRY_ASSIGN(RestoredSocket made, restore_udp_socket(*udp, options.udp));
          ours_[i] = std::move(made.fd);
        } else {
          SOCKREPAIR_TRY_ASSIGN(RestoredTcpSocket made,
                                restore_tcp_socket(std::get<TcpSocket>(values[i]), options.tcp));
          ours_[i] = std::move(made.fd);
        }
      }
      return {};
    }
    SOCKREPAIR_TRY_ASSIGN(
        BatchReport report,
        restore_sockets(values, options, [&](std::size_t index, auto made) -> Result<void> {
          if (!made) return Error{made.error().code, names_[index] + ": " + made.error().what};
          ours_[index] = std::move(made->fd);
          return {};
        }));
    if (report.sockets != size() || report.failed != 0) return Error{EPROTO, "wrong counts"};
    if (way.io_uring != (report.carried != 0))
      return report.no_io_uring.value_or(Error{EPROTO, "io_uring, asked for or not"});
    return {};
  });
}

Result<void> Scene::check_alive() {
  for (std::size_t i = 0; i < size(); ++i) {
    const auto check = [&]() -> Result<void> {
      if (!ours_[i]) return Error{EBADF, "gone"};
      if (is_listener(ours_[i])) {
        SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(ours_[i].get()));
        SOCKREPAIR_TRY_ASSIGN(Endpoint local, name.endpoint());
        // A group shares what comes.
        if (local.port == kGroupPort) return {};
        const int domain = name.get()->sa_family;
        SOCKREPAIR_TRY_ASSIGN(Fd client,
                              ns_.run([&] { return sys::socket(domain, SOCK_STREAM, 0); }));
        SOCKREPAIR_TRY(sys::connect(client.get(), name));
        return accept(ours_[i]) ? Result<void>() : Error{EPROTO, "accept4()"};
      }
      if (!peers_[i]) return {};
      SOCKREPAIR_TRY(hear(ours_[i], waiting_[i]));
      waiting_[i].clear();
      SOCKREPAIR_TRY(say(ours_[i], "question"));
      SOCKREPAIR_TRY(hear(peers_[i], "question"));
      SOCKREPAIR_TRY(say(peers_[i], "answer"));
      return hear(ours_[i], "answer");
    };
    Result<void> alive = check();
    if (!alive) return Error{alive.error().code, names_[i] + ": " + alive.error().what};
  }
  return {};
}

Result<std::uint64_t> Scene::segments_sent() const {
  return ns_.run([]() -> Result<std::uint64_t> {
    // The directory of the calling thread, which is in the namespace.
    std::ifstream file("/proc/thread-self/net/snmp");
    std::string line;
    while (std::getline(file, line)) {
      if (line.rfind("Tcp: ", 0) != 0 || line.find("RtoAlgorithm") != std::string::npos) continue;
      std::istringstream fields(line.substr(5));
      std::int64_t number = 0;
      std::uint64_t sent = 0;
      for (int i = 0; fields >> number; ++i) {
        constexpr int kOutSegs = 10;
        constexpr int kOutRsts = 13;
        if (i == kOutSegs || i == kOutRsts) sent += static_cast<std::uint64_t>(number);
      }
      return sent;
    }
    return Error{EPROTO, "/proc/net/snmp has no Tcp line"};
  });
}

std::string difference(const AnySocket& got, const AnySocket& want) {
  const AnySocket a = comparable(got);
  const AnySocket b = comparable(want);
  if (a == b) return "";
  const auto text = [](const AnySocket& socket) {
    return std::visit([](const auto& one) { return one.describe(); }, socket);
  };
  std::istringstream first(text(a)), second(text(b));
  std::string lines, one, other;
  while (std::getline(first, one) && std::getline(second, other))
    if (one != other) lines += one + "  instead of  " + other + "\n";
  return lines.empty() ? "in what describe() does not tell" : lines;
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sock_diag.h"

#include <linux/inet_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <vector>

#include "inet_diag.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

// Bits of INET_DIAG_SHUTDOWN, the kernel's RCV_SHUTDOWN and SEND_SHUTDOWN.
constexpr std::uint8_t kReceive = 1;
constexpr std::uint8_t kSend = 2;

DiagSocket describe(const DiagEntry& entry) {
  DiagSocket found;
  found.connected = entry.body().idiag_state == TCP_ESTABLISHED;
  found.peer = entry.peer();
  const std::uint8_t bits = entry.value<std::uint8_t>(INET_DIAG_SHUTDOWN).value_or(0);
  found.receive_shutdown = (bits & kReceive) != 0;
  found.send_shutdown = (bits & kSend) != 0;
  return found;
}

// Whether there are TCP-MD5 keys comes along with TCP_INFO, and not without it.
constexpr std::uint8_t kWithKeys = 1 << (INET_DIAG_INFO - 1);

TcpDiag::Socket describe_tcp(int domain, const DiagEntry& entry) {
  TcpDiag::Socket socket;
  socket.domain = domain;
  socket.state = entry.body().idiag_state;
  socket.local = entry.local();
  socket.peer = entry.peer();
  socket.md5 = entry.find(INET_DIAG_MD5SIG).has_value();
  return socket;
}

}  // namespace

Result<std::optional<DiagSocket>> find_udp_socket(int domain, std::uint16_t port,
                                                  std::uint64_t cookie, bool reuseport) {
  std::optional<DiagSocket> found;
  // From the one bound last to the one bound first; IPv6 sockets that share their port with
  // SO_REUSEPORT are put behind the others.
  const bool in_order = domain == AF_INET6 && reuseport;
  std::uint32_t before = 0;
  SOCKREPAIR_TRY_ASSIGN(Fd netlink, open_inet_diag());
  const DiagFilter filter{.domain = domain, .protocol = IPPROTO_UDP, .port = port};
  SOCKREPAIR_TRY(list_inet_sockets(netlink, filter, [&](const DiagEntry& entry) -> Result<void> {
    if (entry.cookie() == cookie)
      found = describe(entry);
    else if (in_order != found.has_value())
      ++before;
    return {};
  }));
  if (found) found->bound_before = before;
  return found;
}

Result<TcpDiag> TcpDiag::read(int domain, std::uint16_t port) {
  TcpDiag diag;
  // In the order in which the kernel lists them.
  std::vector<Socket*> listeners;
  SOCKREPAIR_TRY_ASSIGN(Fd netlink, open_inet_diag());
  DiagFilter filter{
      .domain = domain, .protocol = IPPROTO_TCP, .port = port, .extensions = kWithKeys};
  SOCKREPAIR_TRY(list_inet_sockets(netlink, filter, [&](const DiagEntry& entry) -> Result<void> {
    if (entry.body().idiag_state == TCP_SYN_RECV) {
      diag.beginning_.push_back(entry.local());
      return {};
    }
    auto [at, added] = diag.sockets_.try_emplace(entry.cookie());
    if (!added) return {};
    Socket& socket = at->second;
    socket = describe_tcp(domain, entry);
    if (socket.state == TCP_LISTEN) listeners.push_back(&socket);
    return {};
  }));
  // An IPv6 listener that shares its port is put behind the others, any other one in front.
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    for (std::size_t j = 0; j < listeners.size(); ++j) {
      if (listeners[i]->local != listeners[j]->local) continue;
      if (domain == AF_INET6 ? j < i : j > i) ++listeners[i]->listening_before;
    }
  }

  filter.auto_port = true;
  filter.extensions = 0;
  SOCKREPAIR_TRY(list_inet_sockets(netlink, filter, [&](const DiagEntry& entry) -> Result<void> {
    auto at = diag.sockets_.find(entry.cookie());
    if (at != diag.sockets_.end()) at->second.auto_port = true;
    return {};
  }));
  return diag;
}

std::optional<TcpDiag::Socket> TcpDiag::find_connection(int domain, const Endpoint& local,
                                                        const Endpoint& peer,
                                                        std::uint64_t cookie) {
  std::optional<Socket> found;
  Result<Fd> netlink = open_inet_diag();
  if (!netlink) return found;
  const DiagConnection wanted{domain, IPPROTO_TCP, local, peer, cookie, kWithKeys};
  static_cast<void>(find_inet_connection(*netlink, wanted, [&](const DiagEntry& entry) {
    if (entry.cookie() == cookie) found = describe_tcp(domain, entry);
    return Result<void>();
  }));
  return found;
}

const TcpDiag::Socket* TcpDiag::find(std::uint64_t cookie) const {
  auto at = sockets_.find(cookie);
  return at == sockets_.end() ? nullptr : &at->second;
}

std::size_t TcpDiag::beginning(const Endpoint& local) const {
  std::size_t count = 0;
  for (const Endpoint& one : beginning_)
    if (one.port == local.port && (local.address.is_any() || one.address == local.address)) ++count;
  return count;
}

void TcpDiag::merge(TcpDiag other) {
  sockets_.merge(other.sockets_);
  beginning_.insert(beginning_.end(), other.beginning_.begin(), other.beginning_.end());
}

}  // namespace sockrepair::internal

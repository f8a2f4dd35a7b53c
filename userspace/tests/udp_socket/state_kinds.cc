// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Which states, and how a program gets there.

#include "udp_socket/state_kinds.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "sockrepair/address.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"
#include "udp_socket/option_cases.h"

namespace sockrepair::test {

namespace {

// Outside of the range from which the kernel chooses, and inside.
constexpr std::uint16_t kServerPort = 5353;
constexpr std::uint16_t kHighPort = 40000;

Endpoint at(const char* address, std::uint16_t port, std::uint32_t scope = 0) {
  return {IpAddress::parse(address).value(), port, scope};
}

template <int Domain>
Result<void> bind_to(const Fd& fd, const Endpoint& endpoint) {
  return sys::bind(fd.get(), SocketAddress(endpoint, Domain));
}

template <int Domain>
Result<void> connect_to(const Fd& fd, const Endpoint& endpoint) {
  return sys::connect(fd.get(), SocketAddress(endpoint, Domain));
}

Result<void> disconnect(const Fd& fd) {
  SocketAddress nobody;
  nobody.mutable_get()->sa_family = AF_UNSPEC;
  return sys::connect(fd.get(), nobody);
}

// shutdown(2) of a socket that is not connected does its work and then fails.
Result<void> shut_down(const Fd& fd, int how) {
  Result<void> done = sys::shutdown(fd.get(), how);
  if (!done && done.error().code == ENOTCONN) return {};
  return done;
}

Result<void> join(const Fd& fd, int level, const Endpoint& group, int domain,
                  const std::vector<Endpoint>& blocked) {
  auto storage = [domain](const Endpoint& endpoint) {
    sockaddr_storage bytes{};
    SocketAddress address(endpoint, domain);
    memcpy(&bytes, address.get(), address.size());
    return bytes;
  };
  group_req request{kDeviceIndex, storage(group)};
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), level, MCAST_JOIN_GROUP, request));
  for (const Endpoint& source : blocked) {
    group_source_req block{kDeviceIndex, storage(group), storage(source)};
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), level, MCAST_BLOCK_SOURCE, block));
  }
  return {};
}

Result<void> nothing(const Fd&) {
  return {};
}

std::vector<StateKind> inet_kinds() {
  constexpr int d = AF_INET;
  return {
      {"unbound", d, nothing, false, false},
      {"wildcard", d, [](const Fd& fd) { return bind_to<d>(fd, at("0.0.0.0", kServerPort)); },
       false, true},
      {"wildcard_port_of_the_range", d,
       [](const Fd& fd) { return bind_to<d>(fd, at("0.0.0.0", kHighPort)); }, false},
      {"address", d, [](const Fd& fd) { return bind_to<d>(fd, at("192.0.2.1", kServerPort)); },
       true, true},
      {"address_any_port", d, [](const Fd& fd) { return bind_to<d>(fd, at("192.0.2.1", 0)); },
       true},
      {"address_without_port", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1));
         return bind_to<d>(fd, at("192.0.2.1", 0));
       },
       true, false},
      {"multicast_address", d, [](const Fd& fd) { return bind_to<d>(fd, at("239.1.1.1", 5353)); },
       true, true},
      {"foreign_address", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_IP, IP_FREEBIND, 1));
         return bind_to<d>(fd, at("203.0.113.5", kServerPort));
       },
       true, true},
      {"connected", d, [](const Fd& fd) { return connect_to<d>(fd, at("192.0.2.2", 53)); }},
      {"connected_from_port", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind_to<d>(fd, at("0.0.0.0", kServerPort)));
         return connect_to<d>(fd, at("192.0.2.2", 53));
       },
       std::nullopt, true},
      {"connected_from_address", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind_to<d>(fd, at("192.0.2.1", kServerPort)));
         return connect_to<d>(fd, at("192.0.2.2", 53));
       },
       std::nullopt, true},
      {"connected_to_port_0", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind_to<d>(fd, at("192.0.2.1", kServerPort)));
         return connect_to<d>(fd, at("192.0.2.2", 0));
       },
       std::nullopt, true},
      {"connected_to_broadcast", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_BROADCAST, 1));
         return connect_to<d>(fd, at("192.0.2.255", 53));
       }},
      {"disconnected_port_kept", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind_to<d>(fd, at("0.0.0.0", kServerPort)));
         SOCKREPAIR_TRY(connect_to<d>(fd, at("192.0.2.2", 53)));
         return disconnect(fd);
       },
       false, true},
      {"disconnected_port_gone", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(connect_to<d>(fd, at("192.0.2.2", 53)));
         return disconnect(fd);
       },
       false, false},
      {"disconnected_address_kept", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind_to<d>(fd, at("192.0.2.1", 0)));
         SOCKREPAIR_TRY(connect_to<d>(fd, at("192.0.2.2", 53)));
         return disconnect(fd);
       },
       true, false},
      {"shut_both", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(connect_to<d>(fd, at("192.0.2.2", 53)));
         return shut_down(fd, SHUT_RDWR);
       }},
      {"shut_receiving", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(connect_to<d>(fd, at("192.0.2.2", 53)));
         return shut_down(fd, SHUT_RD);
       }},
      {"shut_sending", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(connect_to<d>(fd, at("192.0.2.2", 53)));
         return shut_down(fd, SHUT_WR);
       }},
      {"shut_sending_unconnected", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind_to<d>(fd, at("0.0.0.0", kServerPort)));
         return shut_down(fd, SHUT_WR);
       },
       false, true},
      {"shut_both_unbound", d, [](const Fd& fd) { return shut_down(fd, SHUT_RDWR); }, false, false},
      {"shut_receiving_unbound", d, [](const Fd& fd) { return shut_down(fd, SHUT_RD); }, false,
       false},
      {"nonblocking", d,
       [](const Fd& fd) -> Result<void> {
         if (::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) return Error{errno, "fcntl(F_SETFL)"};
         return {};
       },
       false, false},
      {"on_device", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTOIFINDEX, kDeviceIndex));
         return bind_to<d>(fd, at("0.0.0.0", kServerPort));
       },
       false, true},
      {"member", d, [](const Fd& fd) { return join(fd, IPPROTO_IP, at("239.1.1.1", 0), d, {}); },
       false, false},
      {"member_but_not_of_all", d,
       [](const Fd& fd) {
         return join(fd, IPPROTO_IP, at("239.1.1.1", 0), d,
                     {at("198.51.100.1", 0), at("198.51.100.2", 0)});
       },
       false, false},
      {"member_of_a_source", d,
       [](const Fd& fd) -> Result<void> {
         ip_mreq_source request{};
         request.imr_multiaddr = at("232.1.1.1", 0).address.v4();
         request.imr_interface = at("192.0.2.1", 0).address.v4();
         request.imr_sourceaddr = at("198.51.100.1", 0).address.v4();
         return sys::setsockopt(fd.get(), IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, request);
       },
       false, false},
      {"member_of_all_hosts", d,
       [](const Fd& fd) { return join(fd, IPPROTO_IP, at("224.0.0.1", 0), d, {}); }, false, false},
      {"corked", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_UDP, UDP_CORK, 1));
         return bind_to<d>(fd, at("0.0.0.0", kServerPort));
       },
       false, true},
      {"txtime_realtime", d,
       [](const Fd& fd) -> Result<void> {
         sock_txtime txtime{CLOCK_REALTIME, 0};
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_TXTIME, txtime));
         return bind_to<d>(fd, at("0.0.0.0", kServerPort));
       },
       false, true},
      {"filtered_and_locked", d,
       [](const Fd& fd) -> Result<void> {
         sock_filter nothing_passes{BPF_RET | BPF_K, 0, 0, 0};
         sock_fprog program{1, &nothing_passes};
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, program));
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_LOCK_FILTER, 1));
         return bind_to<d>(fd, at("0.0.0.0", kServerPort));
       },
       false, true},
  };
}

std::vector<StateKind> inet6_kinds() {
  constexpr int d = AF_INET6;
  return {
      {"v6_unbound", d, nothing, false, false},
      {"v6_wildcard", d, [](const Fd& fd) { return bind_to<d>(fd, at("::", kServerPort)); }, false,
       true},
      {"v6_only", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1));
         return bind_to<d>(fd, at("::", kServerPort));
       },
       false, true},
      {"v6_address", d, [](const Fd& fd) { return bind_to<d>(fd, at("2001:db8::1", kServerPort)); },
       true, true},
      {"v6_address_without_port", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1));
         return bind_to<d>(fd, at("2001:db8::1", 0));
       },
       true, false},
      {"v6_link_local", d,
       [](const Fd& fd) { return bind_to<d>(fd, at("fe80::1", kServerPort, kDeviceIndex)); }, true,
       true},
      {"v6_connected", d, [](const Fd& fd) { return connect_to<d>(fd, at("2001:db8::2", 53)); },
       false},
      {"v6_connected_from_address", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind_to<d>(fd, at("2001:db8::1", kServerPort)));
         return connect_to<d>(fd, at("2001:db8::2", 53));
       },
       std::nullopt, true},
      {"v6_connected_link_local", d,
       [](const Fd& fd) { return connect_to<d>(fd, at("fe80::2", 53, kDeviceIndex)); }, false},
      {"v6_connected_flow_label", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 1));
         sockaddr_in6 peer{};
         peer.sin6_family = AF_INET6;
         peer.sin6_port = htons(53);
         peer.sin6_addr = at("2001:db8::2", 0).address.v6();
         peer.sin6_flowinfo = htonl(0x12abcde);
         if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&peer), sizeof(peer)) != 0)
           return Error{errno, "connect() with a flow label"};
         return {};
       },
       false},
      {"v6_disconnected_port_kept", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind_to<d>(fd, at("::", kServerPort)));
         SOCKREPAIR_TRY(connect_to<d>(fd, at("2001:db8::2", 53)));
         return disconnect(fd);
       },
       false, true},
      {"v6_disconnected_port_gone", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(connect_to<d>(fd, at("2001:db8::2", 53)));
         return disconnect(fd);
       },
       false, false},
      {"v6_shut_sending", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(connect_to<d>(fd, at("2001:db8::2", 53)));
         return shut_down(fd, SHUT_WR);
       },
       false},
      {"mapped_address", d,
       [](const Fd& fd) { return bind_to<d>(fd, at("192.0.2.1", kServerPort)); }, true, true},
      {"mapped_wildcard", d,
       [](const Fd& fd) { return bind_to<d>(fd, at("0.0.0.0", kServerPort)); }, true, true},
      {"mapped_connected", d, [](const Fd& fd) { return connect_to<d>(fd, at("192.0.2.2", 53)); }},
      {"mapped_connected_from_address", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind_to<d>(fd, at("192.0.2.1", kServerPort)));
         return connect_to<d>(fd, at("192.0.2.2", 53));
       },
       std::nullopt, true},
      {"v6_member", d,
       [](const Fd& fd) { return join(fd, IPPROTO_IPV6, at("ff05::1:3", 0), d, {}); }, false,
       false},
      {"v6_member_but_not_of_all", d,
       [](const Fd& fd) {
         return join(fd, IPPROTO_IPV6, at("ff05::1:3", 0), d, {at("2001:db8:1::1", 0)});
       },
       false, false},
      {"v6_member_of_all_nodes", d,
       [](const Fd& fd) { return join(fd, IPPROTO_IPV6, at("ff02::1", 0), d, {}); }, false, false},
      {"member_of_both_kinds", d,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(join(fd, IPPROTO_IP, at("239.1.1.1", 0), AF_INET, {}));
         return join(fd, IPPROTO_IPV6, at("ff05::1:3", 0), d, {});
       },
       false, false},
  };
}

}  // namespace

std::vector<StateKind> state_kinds() {
  std::vector<StateKind> kinds = inet_kinds();
  for (StateKind& kind : inet6_kinds()) kinds.push_back(std::move(kind));
  return kinds;
}

}  // namespace sockrepair::test

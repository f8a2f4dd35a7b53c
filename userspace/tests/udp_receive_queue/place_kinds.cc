// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Where a datagram can come from and go to, and how a socket can be bound.

#include <netinet/in.h>

#include "sockrepair/syscall.h"
#include "udp_receive_queue/place_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

constexpr Speaks kV4 = Speaks::kIpv4;
constexpr Speaks kV6 = Speaks::kIpv6;
constexpr Speaks kMapped = Speaks::kMapped;

Result<void> strict_rp_filter(const NetNs& ns, const Fd&) {
  return ns.sysctl("ipv4.conf.all.rp_filter", "1");
}

Result<void> bind_to_wire(const NetNs&, const Fd& fd) {
  return sys::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTOIFINDEX, static_cast<int>(kWireIndex));
}

Result<void> connect_elsewhere(const NetNs&, const Fd& fd) {
  Endpoint elsewhere{IpAddress::parse("10.0.0.77").value(), 9, 0};
  return sys::connect(fd.get(), SocketAddress(elsewhere, AF_INET));
}

Result<void> connect_elsewhere6(const NetNs&, const Fd& fd) {
  Endpoint elsewhere{IpAddress::parse("fd00::77").value(), 9, 0};
  return sys::connect(fd.get(), SocketAddress(elsewhere, AF_INET6));
}

Result<void> small_buffer(const NetNs&, const Fd& fd) {
  return sys::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, 2048);
}

Result<void> join(const NetNs&, const Fd& fd) {
  ip_mreqn request{};
  request.imr_multiaddr = IpAddress::parse("239.1.2.3").value().v4();
  request.imr_ifindex = kWireIndex;
  return sys::setsockopt(fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, request);
}

Result<void> join6(const NetNs&, const Fd& fd) {
  ipv6_mreq request{};
  request.ipv6mr_multiaddr = IpAddress::parse("ff02::1234").value().v6();
  request.ipv6mr_interface = kWireIndex;
  return sys::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, request);
}

// Every value a member can have without more ado.
void change_all(ReceivedDatagram& d) {
  d.hop_limit = 1;
  d.traffic_class = 0xb9;
  d.mark = 0x1234;
  d.priority = 6;
  if (d.family == Family::kIpv6) d.flow_label = 0x54321;
}

void router_alert(ReceivedDatagram& d) {
  d.headers = {0x94, 4, 0, 0};
}

void extension_headers(ReceivedDatagram& d) {
  d.next_header = IPPROTO_HOPOPTS;
  d.headers = {IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0,  //
               IPPROTO_UDP,     0, 1, 4, 0, 0, 0, 0};
}

void times(ReceivedDatagram& d) {
  d.timestamp = 1'600'000'000'123'456'789;
}

void longest(ReceivedDatagram& d) {
  d.payload.assign(d.family == Family::kIpv4 ? 65507 : 65527, 'x');
}

const PlaceKind kPlaces[] = {
    {.name = "v4_neighbour",
     .speaks = kV4,
     .bound = "10.0.0.2",
     .source = "10.0.0.1",
     .destination = "10.0.0.2",
     .change = change_all},
    {.name = "v4_bound_to_any",
     .speaks = kV4,
     .bound = "0.0.0.0",
     .source = "10.0.0.1",
     .destination = "10.0.0.2"},
    {.name = "v4_far_away",
     .speaks = kV4,
     .bound = "10.0.0.2",
     .source = "198.51.100.7",
     .destination = "10.0.0.2"},
    {.name = "v4_strict_rp_filter",
     .speaks = kV4,
     .bound = "10.0.0.2",
     .source = "127.0.0.9",
     .destination = "10.0.0.2",
     .prepare = strict_rp_filter},
    {.name = "v4_from_itself",
     .speaks = kV4,
     .bound = "10.0.0.2",
     .source = "10.0.0.2",
     .destination = "10.0.0.2"},
    {.name = "v4_loopback",
     .speaks = kV4,
     .bound = "127.0.0.1",
     .source = "127.0.0.1",
     .destination = "127.0.0.1",
     .on_wire = false},
    {.name = "v4_reserved_source",
     .speaks = kV4,
     .bound = "10.0.0.2",
     .source = "240.0.0.1",
     .destination = "10.0.0.2"},
    {.name = "v4_bound_to_device",
     .speaks = kV4,
     .bound = "0.0.0.0",
     .source = "10.0.0.1",
     .destination = "10.0.0.2",
     .prepare = bind_to_wire},
    {.name = "v4_connected_elsewhere",
     .speaks = kV4,
     .bound = "10.0.0.2",
     .source = "10.0.0.1",
     .destination = "10.0.0.2",
     .prepare = connect_elsewhere},
    {.name = "v4_small_buffer",
     .speaks = kV4,
     .bound = "10.0.0.2",
     .source = "10.0.0.1",
     .destination = "10.0.0.2",
     .prepare = small_buffer,
     .change = longest},
    {.name = "v4_options",
     .speaks = kV4,
     .bound = "10.0.0.2",
     .source = "10.0.0.1",
     .destination = "10.0.0.2",
     .change = router_alert},
    {.name = "v4_times",
     .speaks = kV4,
     .bound = "10.0.0.2",
     .source = "10.0.0.1",
     .destination = "10.0.0.2",
     .change = times,
     .lost = {"timestamp"}},
    {.name = "v4_to_nobody",
     .speaks = kV4,
     .bound = "0.0.0.0",
     .source = "10.0.0.1",
     .destination = "10.0.0.99",
     .lost = {"payload"}},
    {.name = "v4_bound_to_another",
     .speaks = kV4,
     .bound = "127.0.0.1",
     .source = "10.0.0.1",
     .destination = "10.0.0.2",
     .lost = {"payload"}},
    {.name = "mapped_neighbour",
     .speaks = kMapped,
     .bound = "10.0.0.2",
     .source = "10.0.0.1",
     .destination = "10.0.0.2",
     .change = change_all},
    {.name = "mapped_bound_to_any",
     .speaks = kMapped,
     .bound = "::",
     .source = "10.0.0.1",
     .destination = "10.0.0.2"},
    {.name = "v6_neighbour",
     .speaks = kV6,
     .bound = "fd00::2",
     .source = "fd00::1",
     .destination = "fd00::2",
     .change = change_all},
    {.name = "v6_far_away",
     .speaks = kV6,
     .bound = "::",
     .source = "2001:db8::1",
     .destination = "fd00::2"},
    {.name = "v6_link_local",
     .speaks = kV6,
     .bound = "::",
     .source = "fe80::1",
     .destination = "fe80::2"},
    {.name = "v6_link_local_to_global",
     .speaks = kV6,
     .bound = "::",
     .source = "fe80::1",
     .destination = "fd00::2"},
    {.name = "v6_loopback",
     .speaks = kV6,
     .bound = "::1",
     .source = "::1",
     .destination = "::1",
     .on_wire = false},
    {.name = "v6_bound_to_device",
     .speaks = kV6,
     .bound = "::",
     .source = "fd00::1",
     .destination = "fd00::2",
     .prepare = bind_to_wire},
    {.name = "v6_connected_elsewhere",
     .speaks = kV6,
     .bound = "fd00::2",
     .source = "fd00::1",
     .destination = "fd00::2",
     .prepare = connect_elsewhere6},
    {.name = "v6_extension_headers",
     .speaks = kV6,
     .bound = "fd00::2",
     .source = "fd00::1",
     .destination = "fd00::2",
     .change = extension_headers},
    {.name = "v6_longest",
     .speaks = kV6,
     .bound = "fd00::2",
     .source = "fd00::1",
     .destination = "fd00::2",
     .change = longest},
    {.name = "v4_multicast",
     .speaks = kV4,
     .bound = "0.0.0.0",
     .source = "10.0.0.1",
     .destination = "239.1.2.3",
     .prepare = join,
     .lost = {"hop_limit"}},
    {.name = "v4_bound_to_group",
     .speaks = kV4,
     .bound = "239.1.2.3",
     .source = "198.51.100.7",
     .destination = "239.1.2.3",
     .prepare = join,
     .lost = {"hop_limit"}},
    {.name = "v4_multicast_not_joined",
     .speaks = kV4,
     .bound = "0.0.0.0",
     .source = "10.0.0.1",
     .destination = "239.9.9.9",
     .lost = {"payload"}},
    {.name = "v4_broadcast",
     .speaks = kV4,
     .bound = "0.0.0.0",
     .source = "10.0.0.1",
     .destination = "10.0.0.255",
     .lost = {"ifindex"}},
    {.name = "v4_limited_broadcast",
     .speaks = kV4,
     .bound = "0.0.0.0",
     .source = "10.0.0.1",
     .destination = "255.255.255.255",
     .lost = {"ifindex"}},
    {.name = "v6_multicast",
     .speaks = kV6,
     .bound = "::",
     .source = "fe80::1",
     .destination = "ff02::1234",
     .prepare = join6,
     .lost = {"hop_limit"}},
    {.name = "v6_multicast_not_joined",
     .speaks = kV6,
     .bound = "::",
     .source = "fe80::1",
     .destination = "ff02::9999",
     .lost = {"payload"}},
    {.name = "v4_multicast_in_company",
     .speaks = kV4,
     .bound = "0.0.0.0",
     .source = "10.0.0.1",
     .destination = "239.1.2.3",
     .prepare = join,
     .company = true,
     .lost = {"payload"}},
    {.name = "v4_broadcast_in_company",
     .speaks = kV4,
     .bound = "0.0.0.0",
     .source = "10.0.0.1",
     .destination = "10.0.0.255",
     .company = true,
     .lost = {"payload"}},
};

std::vector<PlaceKind> all_kinds() {
  std::vector<PlaceKind> kinds;
  for (Method method : {Method::kKernel, Method::kStock}) {
    for (PlaceKind kind : kPlaces) {
      kind.method = method;
      kind.name = std::string(method_name(method)) + "_" + kind.name;
      kinds.push_back(std::move(kind));
    }
  }
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(All, ReceiveQueuePlaceTest, ::testing::ValuesIn(all_kinds()), ParamName());

}  // namespace
}  // namespace sockrepair::test

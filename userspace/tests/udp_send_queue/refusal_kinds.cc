// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Which restores cannot be done, and what is said then.

#include <errno.h>
#include <linux/net_tstamp.h>

#include "uapi.h"
#include "udp_send_queue/headers.h"
#include "udp_send_queue/refusal_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

constexpr Protocol kIpv4 = Protocol::kIpv4;
constexpr Protocol kIpv6 = Protocol::kIpv6;
constexpr Protocol kMapped = Protocol::kMapped;

// Interface 1 is lo; there is no interface 99.
const SocketOption kBoundToLoopback{SOL_SOCKET, SO_BINDTOIFINDEX, 1};

const std::vector<RefusalKind> kKinds = {
    {.name = "v4_not_bound",
     .datagram = kIpv4,
     .port = 0,
     .code = EADDRNOTAVAIL,
     .says = "source_port: the socket is not bound, must be bound to 4000"},
    {.name = "v6_not_bound",
     .datagram = kIpv6,
     .port = 0,
     .code = EADDRNOTAVAIL,
     .says = "source_port: the socket is not bound, must be bound to 4000"},
    {.name = "v4_bound_to_another_port",
     .datagram = kIpv4,
     .port = 4001,
     .code = EADDRNOTAVAIL,
     .says = "source_port: the socket is bound to port 4001, must be bound to 4000"},
    {.name = "mapped_bound_to_another_port",
     .datagram = kMapped,
     .port = 4001,
     .code = EADDRNOTAVAIL,
     .says = "source_port: the socket is bound to port 4001, must be bound to 4000"},
    {.name = "v6_on_an_ipv4_socket",
     .datagram = kIpv6,
     .domain = AF_INET,
     .code = EAFNOSUPPORT,
     .says = "family: IPv6, must be IPv4 on an AF_INET socket"},
    {.name = "mapped_on_an_ipv6_only_socket",
     .datagram = kMapped,
     .options = {{IPPROTO_IPV6, IPV6_V6ONLY, 1}},
     .code = EAFNOSUPPORT,
     .says = "family: IPv4, must be IPv6 on a socket with IPV6_V6ONLY"},
    {.name = "v4_on_tcp",
     .datagram = kIpv4,
     .type = SOCK_STREAM,
     .code = EPROTONOSUPPORT,
     .says = "protocol 6 of descriptor"},
    {.name = "v4_interface_missing",
     .datagram = kIpv4,
     .spoil = [](SendQueue& q) { q.oif = 99; },
     .code = ENODEV,
     .says = "oif: no interface 99 in the network namespace of the socket"},
    {.name = "v6_interface_missing",
     .datagram = kIpv6,
     .spoil = [](SendQueue& q) { q.oif = 99; },
     .code = ENODEV,
     .says = "oif: no interface 99 in the network namespace of the socket"},
    {.name = "v6_bound_to_another_interface",
     .datagram = kIpv6,
     .options = {kBoundToLoopback},
     .code = EINVAL,
     .says = "oif: not given, and the socket is bound to interface 1, must be bound to 2"},
    {.name = "v6_bound_to_another_interface_than_given",
     .datagram = kIpv6,
     .options = {kBoundToLoopback},
     .spoil = [](SendQueue& q) { q.oif = kWireIndex; },
     .code = EINVAL,
     .says = "source, destination, oif ([fd00::1]:4000 to [fd00::2]:5000 by interface 2): "},
    {.name = "v4_source_of_another_host",
     .datagram = kIpv4,
     .spoil = [](SendQueue& q) { q.source = IpAddress::parse("10.0.0.77").value(); },
     .code = ENETUNREACH,
     .says = "source, destination, oif (10.0.0.77:4000 to 10.0.0.2:5000 by interface 2): source "
             "must be an address of this host"},
    {.name = "v6_source_of_another_host",
     .datagram = kIpv6,
     .spoil = [](SendQueue& q) { q.source = IpAddress::parse("fd00::77").value(); },
     .code = EINVAL,
     .says = "source, destination, oif ([fd00::77]:4000 to [fd00::2]:5000): source must be an "
             "address of this host"},
    {.name = "v4_broadcast_not_allowed",
     .datagram = kIpv4,
     .spoil = [](SendQueue& q) { q.destination = IpAddress::parse("10.0.0.255").value(); },
     .code = EACCES,
     .says = "source, destination, oif (10.0.0.1:4000 to 10.0.0.255:5000 by interface 2): "},
    {.name = "v6_link_local_without_interface",
     .datagram = kIpv6,
     .spoil =
         [](SendQueue& q) {
           q.source = sender_link_local();
           q.destination = receiver_link_local();
         },
     .code = EINVAL,
     .says = "source, destination, oif ([fe80::1]:4000 to [fe80::2]:5000): "},
    {.name = "v4_txtime_not_set_up",
     .datagram = kIpv4,
     .spoil = [](SendQueue& q) { q.txtime = 1; },
     .code = EINVAL,
     .says = "txtime: needs SO_TXTIME on the socket"},
    {.name = "v6_txtime_not_set_up",
     .datagram = kIpv6,
     .spoil = [](SendQueue& q) { q.txtime = 1; },
     .code = EINVAL,
     .says = "txtime: needs SO_TXTIME on the socket"},
    {.name = "v4_timestamp_key_not_set_up",
     .datagram = kIpv4,
     .spoil =
         [](SendQueue& q) {
           q.tsflags = SOF_TIMESTAMPING_TX_SOFTWARE;
           q.tskey = 7;
         },
     .code = EINVAL,
     .says = "tskey: 7 is given, needs SOF_TIMESTAMPING_OPT_ID on the socket"},
    {.name = "v4_options_malformed",
     .datagram = kIpv4,
     .spoil =
         [](SendQueue& q) {
           q.ip_options = {7, 2, 4, 0};
         },
     .code = EINVAL,
     .says = "ip_options: must be at most 40 bytes of well-formed options"},
    {.name = "v6_routing_header_of_unknown_type",
     .datagram = kIpv6,
     .spoil =
         [](SendQueue& q) {
           q.routing = routing_type2("fd00::9");
           q.routing[2] = 0;
         },
     .code = EINVAL,
     .says = "routing: must be a whole extension header"},
    {.name = "v4_mark_unprivileged",
     .datagram = kIpv4,
     .privileges = Privileges::kNone,
     .spoil = [](SendQueue& q) { q.mark = 7; },
     .code = EPERM,
     .says = "mark: needs CAP_NET_RAW or CAP_NET_ADMIN"},
    {.name = "v6_priority_unprivileged",
     .datagram = kIpv6,
     .privileges = Privileges::kNone,
     .spoil = [](SendQueue& q) { q.priority = 7; },
     .code = EPERM,
     .says = "priority: must be 0 to 6 without CAP_NET_RAW or CAP_NET_ADMIN"},
    {.name = "v4_source_route_unprivileged",
     .datagram = kIpv4,
     .privileges = Privileges::kNone,
     .spoil = [](SendQueue& q) { q.ip_options = kSourceRoute; },
     .code = EPERM,
     .says = "ip_options: must be at most 40 bytes of well-formed options; some need CAP_NET_RAW"},
    {.name = "v6_hop_by_hop_unprivileged",
     .datagram = kIpv6,
     .privileges = Privileges::kNone,
     .spoil = [](SendQueue& q) { q.hop_by_hop = kHopByHop; },
     .code = EPERM,
     .says = "hop_by_hop: must be a whole extension header; needs CAP_NET_RAW"},
    {.name = "v6_payload_over_mtu_not_to_be_fragmented",
     .datagram = kIpv6,
     .spoil =
         [](SendQueue& q) {
           q.dontfrag = true;
           q.payload = pattern(2000);
         },
     .code = EMSGSIZE,
     .says = "payload: 2000 bytes, must fit the send buffer (SO_SNDBUF) and with dontfrag the path "
             "MTU"},
    {.name = "v4_payload_over_send_buffer",
     .datagram = kIpv4,
     .options = {{SOL_SOCKET, SO_SNDBUF, 0}},
     .spoil = [](SendQueue& q) { q.payload = pattern(60000); },
     .code = ENOBUFS,
     .says = "payload: 60000 bytes, must fit the send buffer (SO_SNDBUF)"},
    {.name = "v4_payload_over_limit",
     .datagram = kIpv4,
     .spoil = [](SendQueue& q) { q.payload = pattern(65508); },
     .code = EMSGSIZE,
     .says = "payload: 65508 bytes, at most 65507"},
};

INSTANTIATE_TEST_SUITE_P(All, SendQueueRefusalTest, ::testing::ValuesIn(kKinds), ParamName());

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Which properties, given how.

#include <arpa/inet.h>
#include <linux/net_tstamp.h>
#include <string.h>

#include "uapi.h"
#include "udp_send_queue/headers.h"
#include "udp_send_queue/member_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

constexpr std::uint64_t kSoon = 1000000000;  // ns of CLOCK_MONOTONIC: before the guest is up

Endpoint at(const char* address, std::uint16_t port, std::uint32_t scope = 0) {
  return {IpAddress::parse(address).value(), port, scope};
}

Endpoint any_of(Protocol protocol) {
  return {IpAddress::any(protocol == Protocol::kIpv4 ? Family::kIpv4 : Family::kIpv6),
          World::kSenderPort, 0};
}

in_pktinfo pktinfo4(const char* source, int ifindex) {
  in_pktinfo info{};
  info.ipi_ifindex = ifindex;
  info.ipi_spec_dst = IpAddress::parse(source).value().v4();
  return info;
}

in6_pktinfo pktinfo6(const char* source, unsigned ifindex) {
  in6_pktinfo info{};
  info.ipi6_ifindex = ifindex;
  info.ipi6_addr = IpAddress::parse(source).value().v6();
  return info;
}

ip_mreqn multicast_interface(int ifindex) {
  ip_mreqn request{};
  request.imr_ifindex = ifindex;
  return request;
}

// The first fields of struct sock_txtime.
struct TxTime {
  std::int32_t clock;
  std::uint32_t flags;
};

const SocketOption kTxTime{SOL_SOCKET, SO_TXTIME, TxTime{CLOCK_MONOTONIC, 0}};
constexpr std::uint32_t kTimestampReports =
    SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
constexpr std::uint32_t kTimestamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED;

// The sender writes the time of day into its own timestamp option when it sends.
void forget_time(Frame& frame) {
  std::size_t options = view_frame(frame).value().ip + 20;
  memset(&frame[options + 4], 0, 4);
}

const char kHexRouting2[] =
    "routing: 24 bytes 00020201 00000000 fd000000 00000000 00000000 00000002";

// --- kinds ---

// What IPv4 datagrams of either kind of socket can have.
std::vector<MemberKind> ipv4_kinds(Protocol p) {
  return {
      {.name = "nothing",
       .protocol = p,
       .given = {"traffic_class: 0", "priority: 0", "mark: 0", "oif: 2", "onlink: yes",
                 "fragsize: 1500"},
       .not_given = {"hop_limit", "gso_size", "txtime", "ip_options", "confirm"}},
      {.name = "ttl_by_message",
       .protocol = p,
       .control = message(IPPROTO_IP, IP_TTL, 3),
       .given = {"hop_limit: 3"}},
      // Not the datagram's: the socket's is taken when it is sent.
      {.name = "ttl_by_option",
       .protocol = p,
       .both = {{IPPROTO_IP, IP_TTL, 5}},
       .not_given = {"hop_limit"}},
      {.name = "tos_by_message",
       .protocol = p,
       .control = message(IPPROTO_IP, IP_TOS, 0x2e),
       .given = {"traffic_class: 46"}},
      {.name = "tos_by_option",
       .protocol = p,
       .original = {{IPPROTO_IP, IP_TOS, 0x10}},
       .given = {"traffic_class: 16", "priority: 6"}},
      {.name = "ecn_by_message",
       .protocol = p,
       .control = message(IPPROTO_IP, IP_TOS, 0x02),
       .given = {"traffic_class: 2"}},
      // The priority that goes with the TOS is not the one asked for.
      {.name = "tos_and_priority",
       .protocol = p,
       .control = messages(IPPROTO_IP, IP_TOS, 0x10, SOL_SOCKET, SO_PRIORITY, 2),
       .given = {"traffic_class: 16", "priority: 2"}},
      {.name = "source_route_by_message",
       .protocol = p,
       .control = bytes_message(IPPROTO_IP, IP_RETOPTS, kSourceRoute),
       .destination = at("192.0.2.9", World::kReceiverPort),
       .datagrams = 0,
       .frames = 1,
       .given = {"ip_options: 8 bytes 01830704 0a000002"}},
      {.name = "source_route_by_option",
       .protocol = p,
       .original = {{IPPROTO_IP, IP_OPTIONS, kSourceRoute}},
       .destination = at("192.0.2.9", World::kReceiverPort),
       .datagrams = 0,
       .frames = 1,
       .given = {"ip_options: 8 bytes 01830704 0a000002"}},
      {.name = "router_alert_by_message",
       .protocol = p,
       .control = bytes_message(IPPROTO_IP, IP_RETOPTS, kRouterAlert),
       .given = {"ip_options: 4 bytes 94040000"}},
      {.name = "router_alert_by_option",
       .protocol = p,
       .original = {{IPPROTO_IP, IP_OPTIONS, kRouterAlert}},
       .given = {"ip_options: 4 bytes 94040000"}},
      {.name = "record_route_by_message",
       .protocol = p,
       .control = bytes_message(IPPROTO_IP, IP_RETOPTS, kRecordRoute),
       .given = {"ip_options: 12 bytes 070b0400 00000000 00000000"}},
      {.name = "record_route_by_option_in_fragments",
       .protocol = p,
       .original = {{IPPROTO_IP, IP_OPTIONS, kRecordRoute}},
       .bytes = 4000,
       .given = {"ip_options: 12 bytes 070b0400 00000000 00000000"}},
      {.name = "timestamp_option_by_message",
       .protocol = p,
       .control = bytes_message(IPPROTO_IP, IP_RETOPTS, kTimestampOption),
       .normalise = forget_time,
       .given = {"ip_options: 12 bytes 440c0500 00000000 00000000"}},
      {.name = "source_by_message",
       .protocol = p,
       .control = message(IPPROTO_IP, IP_PKTINFO, pktinfo4("10.0.0.11", 0)),
       .bind = any_of(p),
       .source = at("10.0.0.11", World::kSenderPort),
       .given = {"source: 10.0.0.11"}},
      {.name = "interface_by_message",
       .protocol = p,
       .control = message(IPPROTO_IP, IP_PKTINFO, pktinfo4("0.0.0.0", kWireIndex)),
       .bind = any_of(p),
       .given = {"oif: 2", "ifindex: 2"}},
      {.name = "interface_by_unicast_if",
       .protocol = p,
       .original = {{IPPROTO_IP, IP_UNICAST_IF, htonl(kWireIndex)}},
       .given = {"oif: 2", "ifindex: 2"}},
      {.name = "multicast_by_option",
       .protocol = p,
       .original = {{IPPROTO_IP, IP_MULTICAST_IF, multicast_interface(kWireIndex)}},
       .destination = at("239.1.2.3", World::kReceiverPort),
       .given = {"oif: 2", "destination: 239.1.2.3"}},
      // Interface 1 is lo, where no route leads: only who asks for it gets there.
      {.name = "multicast_by_option_on_loopback",
       .protocol = p,
       .original = {{IPPROTO_IP, IP_MULTICAST_IF, multicast_interface(1)}},
       .destination = at("239.1.2.3", World::kReceiverPort),
       .datagrams = 0,
       .frames = 0,
       .given = {"oif: 1", "ifindex: 1"}},
      {.name = "broadcast_of_subnet",
       .protocol = p,
       .both = {{SOL_SOCKET, SO_BROADCAST, 1}},
       .destination = at("10.0.0.255", World::kReceiverPort)},
      {.name = "broadcast_of_link",
       .protocol = p,
       .both = {{SOL_SOCKET, SO_BROADCAST, 1}},
       .control = message(IPPROTO_IP, IP_PKTINFO, pktinfo4("10.0.0.1", kWireIndex)),
       .destination = at("255.255.255.255", World::kReceiverPort)},
      {.name = "dontroute", .protocol = p, .flags = MSG_DONTROUTE, .given = {"onlink: yes"}},
      {.name = "by_way_of_a_gateway",
       .protocol = p,
       .destination = at("192.0.2.9", World::kReceiverPort),
       .datagrams = 0,
       .frames = 1,
       .not_given = {"onlink"}},
      {.name = "path_mtu_discovery",
       .protocol = p,
       .both = {{IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO}}},
  };
}

std::vector<MemberKind> ipv6_kinds() {
  Protocol p = Protocol::kIpv6;
  return {
      {.name = "nothing",
       .protocol = p,
       .given = {"hop_limit: 64", "traffic_class: 0", "priority: 0", "mark: 0", "ifindex: 2",
                 "fragsize: 1500"},
       .not_given = {"oif", "flow_label", "gso_size", "txtime", "dontfrag", "hop_by_hop",
                     "routing_dst", "routing", "dst", "confirm", "onlink"}},
      {.name = "hop_limit_by_message",
       .protocol = p,
       .control = message(IPPROTO_IPV6, IPV6_HOPLIMIT, 3),
       .given = {"hop_limit: 3"}},
      {.name = "hop_limit_by_option",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_UNICAST_HOPS, 7}},
       .given = {"hop_limit: 7"}},
      {.name = "hop_limit_0",
       .protocol = p,
       .control = message(IPPROTO_IPV6, IPV6_HOPLIMIT, 0),
       .given = {"hop_limit: 0"}},
      {.name = "tclass_by_message",
       .protocol = p,
       .control = message(IPPROTO_IPV6, IPV6_TCLASS, 0x2e),
       .given = {"traffic_class: 46"}},
      {.name = "tclass_by_option",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_TCLASS, 0xff}},
       .given = {"traffic_class: 255"}},
      {.name = "flow_label_by_message",
       .protocol = p,
       .control = message(IPPROTO_IPV6, IPV6_FLOWINFO, htonl(0xabcde)),
       .given = {"flow_label: 703710"}},
      {.name = "flow_label_and_tclass",
       .protocol = p,
       .control =
           messages(IPPROTO_IPV6, IPV6_FLOWINFO, htonl(0x12345), IPPROTO_IPV6, IPV6_TCLASS, 0xb8),
       .given = {"flow_label: 74565", "traffic_class: 184"}},
      {.name = "dontfrag_by_message",
       .protocol = p,
       .control = message(IPPROTO_IPV6, IPV6_DONTFRAG, 1),
       .given = {"dontfrag: yes"}},
      {.name = "dontfrag_by_option",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_DONTFRAG, 1}},
       .given = {"dontfrag: yes"}},
      {.name = "hop_by_hop_by_message",
       .protocol = p,
       .control = bytes_message(IPPROTO_IPV6, IPV6_HOPOPTS, kHopByHop),
       .given = {"hop_by_hop: 8 bytes 00001e04 a1a1a1a1"}},
      {.name = "hop_by_hop_by_option_in_fragments",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_HOPOPTS, kHopByHop}},
       .bytes = 4000,
       .given = {"hop_by_hop: 8 bytes 00001e04 a1a1a1a1"}},
      {.name = "dst_by_message",
       .protocol = p,
       .control = bytes_message(IPPROTO_IPV6, IPV6_DSTOPTS, kDst),
       .given = {"dst: 24 bytes 00021e14 c3c3c3c3 c3c3c3c3 c3c3c3c3 c3c3c3c3 c3c3c3c3"}},
      {.name = "dst_by_option_in_fragments",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_DSTOPTS, kDst}},
       .bytes = 4000,
       .given = {"dst: 24 bytes 00021e14 c3c3c3c3 c3c3c3c3 c3c3c3c3 c3c3c3c3 c3c3c3c3"}},
      {.name = "routing_type2_by_message",
       .protocol = p,
       .control = bytes_message(IPPROTO_IPV6, IPV6_RTHDR, routing_type2("fd00::2")),
       .destination = at("2001:db8::9", World::kReceiverPort),
       .datagrams = 0,
       .frames = 1,
       .given = {kHexRouting2}},
      {.name = "routing_type2_by_option",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_RTHDR, routing_type2("fd00::2")}},
       .destination = at("2001:db8::9", World::kReceiverPort),
       .datagrams = 0,
       .frames = 1,
       .given = {kHexRouting2}},
      {.name = "segment_routing_by_option",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_RTHDR, routing_segment("fd00::2")}},
       .destination = at("2001:db8::9", World::kReceiverPort),
       .datagrams = 0,
       .frames = 1},
      {.name = "all_headers_by_option",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_HOPOPTS, kHopByHop},
                    {IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, kRoutingDst},
                    {IPPROTO_IPV6, IPV6_RTHDR, routing_type2("fd00::2")},
                    {IPPROTO_IPV6, IPV6_DSTOPTS, kDst}},
       .destination = at("2001:db8::9", World::kReceiverPort),
       .bytes = 4000,
       .datagrams = 0,
       .frames = 3,
       .given = {"hop_by_hop: 8 bytes 00001e04 a1a1a1a1",
                 "routing_dst: 16 bytes 00011e0c b2b2b2b2 b2b2b2b2 b2b2b2b2", kHexRouting2,
                 "dst: 24 bytes 00021e14 c3c3c3c3 c3c3c3c3 c3c3c3c3 c3c3c3c3 c3c3c3c3"}},
      {.name = "segment_routing_with_other_headers",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_HOPOPTS, kHopByHop},
                    {IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, kRoutingDst},
                    {IPPROTO_IPV6, IPV6_RTHDR, routing_segment("fd00::2")},
                    {IPPROTO_IPV6, IPV6_DSTOPTS, kDst}},
       .destination = at("2001:db8::9", World::kReceiverPort),
       .datagrams = 0,
       .frames = 1},
      {.name = "source_by_message",
       .protocol = p,
       .control = message(IPPROTO_IPV6, IPV6_PKTINFO, pktinfo6("fd00::11", 0)),
       .bind = any_of(p),
       .source = at("fd00::11", World::kSenderPort),
       .given = {"source: fd00::11"},
       .not_given = {"oif"}},
      {.name = "interface_by_message",
       .protocol = p,
       .control = message(IPPROTO_IPV6, IPV6_PKTINFO, pktinfo6("::", kWireIndex)),
       .given = {"oif: 2"}},
      {.name = "source_and_interface_by_option",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_PKTINFO, pktinfo6("fd00::11", kWireIndex)}},
       .bind = any_of(p),
       .source = at("fd00::11", World::kSenderPort),
       .given = {"oif: 2", "source: fd00::11"}},
      {.name = "interface_by_unicast_if",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_UNICAST_IF, htonl(kWireIndex)}},
       .given = {"oif: 2"}},
      {.name = "multicast_by_option",
       .protocol = p,
       .original = {{IPPROTO_IPV6, IPV6_MULTICAST_IF, kWireIndex},
                    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 9}},
       .destination = at("ff05::1234", World::kReceiverPort),
       .given = {"oif: 2", "hop_limit: 9", "destination: ff05::1234"}},
      {.name = "link_local",
       .protocol = p,
       .bind = any_of(p),
       .source = at("fe80::1", World::kSenderPort),
       .destination = at("fe80::2", World::kReceiverPort, kWireIndex),
       .given = {"oif: 2", "source: fe80::1", "destination: fe80::2"}},
      {.name = "link_local_multicast",
       .protocol = p,
       .bind = any_of(p),
       .source = at("fe80::1", World::kSenderPort),
       .destination = at("ff02::1234", World::kReceiverPort, kWireIndex),
       .given = {"oif: 2", "source: fe80::1", "destination: ff02::1234"}},
      {.name = "mtu_by_option",
       .protocol = p,
       .both = {{IPPROTO_IPV6, IPV6_MTU, 1280}},
       .bytes = 3000,
       .given = {"fragsize: 1280"}},
  };
}

// What datagrams of both families can have.
std::vector<MemberKind> common_kinds(Protocol p) {
  return {
      {.name = "priority_by_message",
       .protocol = p,
       .control = message(SOL_SOCKET, SO_PRIORITY, 3),
       .given = {"priority: 3"}},
      {.name = "priority_by_option",
       .protocol = p,
       .original = {{SOL_SOCKET, SO_PRIORITY, 0x10005}},
       .given = {"priority: 65541"}},
      {.name = "mark_by_message",
       .protocol = p,
       .control = message(SOL_SOCKET, SO_MARK, 0x1234),
       .given = {"mark: 4660"}},
      {.name = "mark_by_option",
       .protocol = p,
       .original = {{SOL_SOCKET, SO_MARK, 0xfedcba98}},
       .given = {"mark: 4275878552"}},
      {.name = "gso_by_message",
       .protocol = p,
       .control = message<std::uint16_t>(SOL_UDP, UDP_SEGMENT, 100),
       .datagrams = 3,
       .given = {"gso_size: 100"}},
      {.name = "gso_by_option",
       .protocol = p,
       .original = {{SOL_UDP, UDP_SEGMENT, 120}},
       .datagrams = 3,
       .given = {"gso_size: 120"}},
      {.name = "txtime",
       .protocol = p,
       .both = {kTxTime},
       .control = message(SOL_SOCKET, SCM_TXTIME, kSoon),
       .given = {"txtime: 1000000000"}},
      {.name = "timestamps_by_message",
       .protocol = p,
       .both = {{SOL_SOCKET, SO_TIMESTAMPING, kTimestampReports}},
       .control = message(SOL_SOCKET, SO_TIMESTAMPING, kTimestamps),
       .given = {"tsflags: " + std::to_string(kTimestamps)}},
      {.name = "timestamps_by_option",
       .protocol = p,
       .both = {{SOL_SOCKET, SO_TIMESTAMPING, kTimestampReports}},
       .original = {{SOL_SOCKET, SO_TIMESTAMPING, kTimestampReports | kTimestamps}},
       .given = {"tsflags: " + std::to_string(kTimestamps)}},
      {.name = "timestamps_without_key",
       .protocol = p,
       .original = {{SOL_SOCKET, SO_TIMESTAMPING, kTimestamps}},
       .given = {"tsflags: " + std::to_string(kTimestamps), "tskey: 0"}},
      {.name = "confirm", .protocol = p, .flags = MSG_CONFIRM, .given = {"confirm: yes"}},
      {.name = "interface_by_bindtodevice",
       .protocol = p,
       .original = {{SOL_SOCKET, SO_BINDTOIFINDEX, kWireIndex}},
       .given = {"oif: 2"}},
      {.name = "no_checksum_on_ipv4",
       .protocol = p,
       .both = {{SOL_SOCKET, SO_NO_CHECK, p == Protocol::kIpv6 ? 0 : 1}}},
  };
}

std::vector<MemberKind> all_kinds() {
  std::vector<MemberKind> kinds;
  for (Protocol protocol : {Protocol::kIpv4, Protocol::kMapped, Protocol::kIpv6}) {
    for (auto list : {protocol == Protocol::kIpv6 ? ipv6_kinds() : ipv4_kinds(protocol),
                      common_kinds(protocol)}) {
      for (MemberKind& kind : list) {
        kind.name = std::string(protocol_name(protocol)) + "_" + kind.name;
        kinds.push_back(std::move(kind));
      }
    }
  }
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(All, SendQueueMemberTest, ::testing::ValuesIn(all_kinds()), ParamName());

}  // namespace
}  // namespace sockrepair::test

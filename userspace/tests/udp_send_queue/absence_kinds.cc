// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Which options.

#include <arpa/inet.h>
#include <linux/net_tstamp.h>

#include "uapi.h"
#include "udp_send_queue/absence_test.h"
#include "udp_send_queue/headers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

std::vector<AbsenceKind> ipv4_kinds(Protocol p) {
  return {
      {"tos", p, {{IPPROTO_IP, IP_TOS, 0x10}}},
      {"ip_options", p, {{IPPROTO_IP, IP_OPTIONS, kRouterAlert}}},
  };
}

std::vector<AbsenceKind> ipv6_kinds() {
  Protocol p = Protocol::kIpv6;
  return {
      {"hop_limit", p, {{IPPROTO_IPV6, IPV6_UNICAST_HOPS, 5}}},
      {"tclass", p, {{IPPROTO_IPV6, IPV6_TCLASS, 0x10}}},
      {"dontfrag", p, {{IPPROTO_IPV6, IPV6_DONTFRAG, 1}}},
      {"hop_by_hop", p, {{IPPROTO_IPV6, IPV6_HOPOPTS, kHopByHop}}},
      {"dst", p, {{IPPROTO_IPV6, IPV6_DSTOPTS, kDst}}},
      {"routing_type2", p, {{IPPROTO_IPV6, IPV6_RTHDR, routing_type2("fd00::9")}}},
      {"segment_routing", p, {{IPPROTO_IPV6, IPV6_RTHDR, routing_segment("fd00::9")}}},
      {"all_headers",
       p,
       {{IPPROTO_IPV6, IPV6_HOPOPTS, kHopByHop},
        {IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, kRoutingDst},
        {IPPROTO_IPV6, IPV6_RTHDR, routing_segment("fd00::9")},
        {IPPROTO_IPV6, IPV6_DSTOPTS, kDst}}},
      {"unicast_if", p, {{IPPROTO_IPV6, IPV6_UNICAST_IF, htonl(kWireIndex)}}},
  };
}

std::vector<AbsenceKind> common_kinds(Protocol p) {
  constexpr std::uint32_t kTimestamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED;
  return {
      {"priority", p, {{SOL_SOCKET, SO_PRIORITY, 3}}},
      {"mark", p, {{SOL_SOCKET, SO_MARK, 7}}},
      {"gso_size", p, {{SOL_UDP, UDP_SEGMENT, 100}}},
      {"timestamps", p, {{SOL_SOCKET, SO_TIMESTAMPING, kTimestamps}}},
      {"timestamps_with_ids",
       p,
       {{SOL_SOCKET, SO_TIMESTAMPING, kTimestamps | SOF_TIMESTAMPING_OPT_ID}}},
  };
}

std::vector<AbsenceKind> all_kinds() {
  std::vector<AbsenceKind> kinds;
  for (Protocol protocol : {Protocol::kIpv4, Protocol::kMapped, Protocol::kIpv6}) {
    for (auto list : {protocol == Protocol::kIpv6 ? ipv6_kinds() : ipv4_kinds(protocol),
                      common_kinds(protocol)}) {
      for (AbsenceKind& kind : list) {
        kind.name = std::string(protocol_name(protocol)) + "_" + kind.name;
        kinds.push_back(std::move(kind));
      }
    }
  }
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(All, SendQueueAbsenceTest, ::testing::ValuesIn(all_kinds()), ParamName());

}  // namespace
}  // namespace sockrepair::test

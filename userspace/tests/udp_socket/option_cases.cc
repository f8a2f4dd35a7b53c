// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Which options, set to what.

#include "udp_socket/option_cases.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <linux/time_types.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <cstdint>
#include <utility>

#include "uapi.h"
#include "udp_send_queue/headers.h"

namespace sockrepair::test {

namespace {

// One option with one value that no socket has by default.
struct Simple {
  const char* name;
  SocketOption option;
};

template <typename T>
Simple value(const char* name, int level, int option, const T& bytes) {
  return {name, SocketOption(level, option, bytes)};
}

constexpr std::uint32_t kTimestamping = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;

// "The first 100 bytes of everything", and a filter that SO_GET_FILTER has more to tell of.
sock_filter kShortFilter[] = {{BPF_RET | BPF_K, 0, 0, 100}};
sock_filter kLongFilter[] = {
    {BPF_LD | BPF_W | BPF_LEN, 0, 0, 0},
    {BPF_JMP | BPF_JGE | BPF_K, 0, 1, 20},
    {BPF_RET | BPF_K, 0, 0, 0xffff},
    {BPF_RET | BPF_K, 0, 0, 0},
};

template <std::size_t N>
SocketOption filter(sock_filter (&program)[N]) {
  return {SOL_SOCKET, SO_ATTACH_FILTER, sock_fprog{N, program}};
}

std::vector<Simple> both_domains() {
  const linger kLinger{1, 7};
  return {
      value("reuseaddr", SOL_SOCKET, SO_REUSEADDR, 1),
      value("reuseport", SOL_SOCKET, SO_REUSEPORT, 1),
      value("incoming_cpu", SOL_SOCKET, SO_INCOMING_CPU, 1),
      value("freebind", IPPROTO_IP, IP_FREEBIND, 1),
      value("transparent", IPPROTO_IP, IP_TRANSPARENT, 1),
      value("bind_address_no_port", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1),
      value("local_port_range", IPPROTO_IP, IP_LOCAL_PORT_RANGE, 40000u | 40100u << 16),
      value("unicast_if", IPPROTO_IP, IP_UNICAST_IF, htonl(kDeviceIndex)),
      value("multicast_if", IPPROTO_IP, IP_MULTICAST_IF, in_addr{htonl(0xc0000201)}),
      value("bindtoifindex", SOL_SOCKET, SO_BINDTOIFINDEX, kDeviceIndex),
      value("rcvlowat", SOL_SOCKET, SO_RCVLOWAT, 17),
      value("rxq_ovfl", SOL_SOCKET, SO_RXQ_OVFL, 1),
      value("tos", IPPROTO_IP, IP_TOS, 0xb8),
      value("priority", SOL_SOCKET, SO_PRIORITY, 5),
      value("mark", SOL_SOCKET, SO_MARK, 0xcafe),
      value("ttl", IPPROTO_IP, IP_TTL, 7),
      value("multicast_ttl", IPPROTO_IP, IP_MULTICAST_TTL, 9),
      value("multicast_loop", IPPROTO_IP, IP_MULTICAST_LOOP, 0),
      value("mtu_discover", IPPROTO_IP, IP_MTU_DISCOVER, int{IP_PMTUDISC_PROBE}),
      value("ip_options", IPPROTO_IP, IP_OPTIONS, kRouterAlert),
      value("broadcast", SOL_SOCKET, SO_BROADCAST, 1),
      value("dontroute", SOL_SOCKET, SO_DONTROUTE, 1),
      value("no_check", SOL_SOCKET, SO_NO_CHECK, 1),
      value("no_check6_tx", SOL_UDP, UDP_NO_CHECK6_TX, 1),
      value("no_check6_rx", SOL_UDP, UDP_NO_CHECK6_RX, 1),
      value("segment", SOL_UDP, UDP_SEGMENT, 1200),
      value("cork", SOL_UDP, UDP_CORK, 1),
      value("max_pacing_rate", SOL_SOCKET, SO_MAX_PACING_RATE, std::uint64_t{1} << 40),
      value("txtime", SOL_SOCKET, SO_TXTIME,
            sock_txtime{CLOCK_TAI, SOF_TXTIME_DEADLINE_MODE | SOF_TXTIME_REPORT_ERRORS}),
      value("zerocopy", SOL_SOCKET, SO_ZEROCOPY, 1),
      value("wifi_status", SOL_SOCKET, SO_WIFI_STATUS, 1),
      value("nofcs", SOL_SOCKET, SO_NOFCS, 1),
      value("pktinfo", IPPROTO_IP, IP_PKTINFO, 1),
      value("recvttl", IPPROTO_IP, IP_RECVTTL, 1),
      value("recvtos", IPPROTO_IP, IP_RECVTOS, 1),
      value("recvopts", IPPROTO_IP, IP_RECVOPTS, 1),
      value("retopts", IPPROTO_IP, IP_RETOPTS, 1),
      value("passsec", IPPROTO_IP, IP_PASSSEC, 1),
      value("recvorigdstaddr", IPPROTO_IP, IP_RECVORIGDSTADDR, 1),
      value("checksum", IPPROTO_IP, IP_CHECKSUM, 1),
      value("recvfragsize", IPPROTO_IP, IP_RECVFRAGSIZE, 1),
      value("recverr", IPPROTO_IP, IP_RECVERR, 1),
      value("recverr_rfc4884", IPPROTO_IP, IP_RECVERR_RFC4884, 1),
      value("minttl", IPPROTO_IP, IP_MINTTL, 3),
      value("gro", SOL_UDP, UDP_GRO, 1),
      value("rcvmark", SOL_SOCKET, SO_RCVMARK, 1),
      value("rcvpriority", SOL_SOCKET, SO_RCVPRIORITY, 1),
      value("select_err_queue", SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1),
      value("timestamping_old", SOL_SOCKET, SO_TIMESTAMPING_OLD, kTimestamping),
      value("timestamping_new", SOL_SOCKET, SO_TIMESTAMPING_NEW, kTimestamping),
      value("timestamp_old", SOL_SOCKET, SO_TIMESTAMP_OLD, 1),
      value("timestampns_old", SOL_SOCKET, SO_TIMESTAMPNS_OLD, 1),
      value("timestamp_new", SOL_SOCKET, SO_TIMESTAMP_NEW, 1),
      value("timestampns_new", SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1),
      value("rcvtimeo", SOL_SOCKET, SO_RCVTIMEO_NEW, __kernel_sock_timeval{2, 500000}),
      value("sndtimeo", SOL_SOCKET, SO_SNDTIMEO_NEW, __kernel_sock_timeval{3, 250000}),
      value("busy_poll", SOL_SOCKET, SO_BUSY_POLL, 50),
      value("prefer_busy_poll", SOL_SOCKET, SO_PREFER_BUSY_POLL, 1),
      value("linger", SOL_SOCKET, SO_LINGER, kLinger),
      value("keepalive", SOL_SOCKET, SO_KEEPALIVE, 1),
      value("oobinline", SOL_SOCKET, SO_OOBINLINE, 1),
      value("debug", SOL_SOCKET, SO_DEBUG, 1),
      value("encap_espinudp", SOL_UDP, UDP_ENCAP, int{UDP_ENCAP_ESPINUDP}),
      value("encap_l2tpinudp", SOL_UDP, UDP_ENCAP, int{UDP_ENCAP_L2TPINUDP}),
      {"filter", filter(kLongFilter)},
      value("peek_off", SOL_SOCKET, SO_PEEK_OFF, 0),
  };
}

std::vector<Simple> ipv6_only() {
  constexpr int kPreferences = 0x0001 | 0x0004;  // IPV6_PREFER_SRC_TMP, IPV6_PREFER_SRC_COA
  return {
      value("v6only", IPPROTO_IPV6, IPV6_V6ONLY, 1),
      value("v6_freebind", IPPROTO_IPV6, IPV6_FREEBIND, 1),
      value("v6_transparent", IPPROTO_IPV6, IPV6_TRANSPARENT, 1),
      value("v6_unicast_if", IPPROTO_IPV6, IPV6_UNICAST_IF, htonl(kDeviceIndex)),
      value("v6_multicast_if", IPPROTO_IPV6, IPV6_MULTICAST_IF, kDeviceIndex),
      value("tclass", IPPROTO_IPV6, IPV6_TCLASS, 0x2e),
      value("unicast_hops", IPPROTO_IPV6, IPV6_UNICAST_HOPS, 5),
      value("multicast_hops", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 6),
      value("v6_multicast_loop", IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0),
      value("v6_mtu_discover", IPPROTO_IPV6, IPV6_MTU_DISCOVER, int{IPV6_PMTUDISC_DO}),
      value("dontfrag", IPPROTO_IPV6, IPV6_DONTFRAG, 1),
      value("autoflowlabel", IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0),
      value("flowinfo_send", IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 1),
      value("addr_preferences", IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, kPreferences),
      value("hopopts", IPPROTO_IPV6, IPV6_HOPOPTS, kHopByHop),
      value("rthdr_type2", IPPROTO_IPV6, IPV6_RTHDR, routing_type2("2001:db8::9")),
      value("rthdr_segment", IPPROTO_IPV6, IPV6_RTHDR, routing_segment("2001:db8::9")),
      value("dstopts", IPPROTO_IPV6, IPV6_DSTOPTS, kDst),
      value("rthdrdstopts", IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, kRoutingDst),
      value("recvpktinfo", IPPROTO_IPV6, IPV6_RECVPKTINFO, 1),
      value("rfc2292_pktinfo", IPPROTO_IPV6, IPV6_2292PKTINFO, 1),
      value("recvhoplimit", IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1),
      value("rfc2292_hoplimit", IPPROTO_IPV6, IPV6_2292HOPLIMIT, 1),
      value("recvrthdr", IPPROTO_IPV6, IPV6_RECVRTHDR, 1),
      value("rfc2292_rthdr", IPPROTO_IPV6, IPV6_2292RTHDR, 1),
      value("recvhopopts", IPPROTO_IPV6, IPV6_RECVHOPOPTS, 1),
      value("rfc2292_hopopts", IPPROTO_IPV6, IPV6_2292HOPOPTS, 1),
      value("recvdstopts", IPPROTO_IPV6, IPV6_RECVDSTOPTS, 1),
      value("rfc2292_dstopts", IPPROTO_IPV6, IPV6_2292DSTOPTS, 1),
      value("recvtclass", IPPROTO_IPV6, IPV6_RECVTCLASS, 1),
      value("flowinfo", IPPROTO_IPV6, IPV6_FLOWINFO, 1),
      value("recvpathmtu", IPPROTO_IPV6, IPV6_RECVPATHMTU, 1),
      value("v6_recvorigdstaddr", IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1),
      value("v6_recvfragsize", IPPROTO_IPV6, IPV6_RECVFRAGSIZE, 1),
      value("v6_recverr", IPPROTO_IPV6, IPV6_RECVERR, 1),
      value("v6_recverr_rfc4884", IPPROTO_IPV6, IPV6_RECVERR_RFC4884, 1),
      value("minhopcount", IPPROTO_IPV6, IPV6_MINHOPCOUNT, 4),
      value("v6_multicast_all", IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0),
      value("router_alert_isolate", IPPROTO_IPV6, IPV6_ROUTER_ALERT_ISOLATE, 1),
  };
}

// Orders that have to be found again: what one option does to another.
std::vector<OptionCase> combinations(int domain) {
  SocketOption device{SOL_SOCKET, SO_BINDTOIFINDEX, kDeviceIndex};
  std::vector<OptionCase> cases = {
      {"rcvbuf", domain, {{SOL_SOCKET, SO_RCVBUF, 30000}}, SOL_SOCKET, SO_RCVBUF},
      {"rcvbuf_force", domain, {{SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26}}, SOL_SOCKET, SO_RCVBUF},
      {"sndbuf", domain, {{SOL_SOCKET, SO_SNDBUF, 40000}}, SOL_SOCKET, SO_SNDBUF},
      {"sndbuf_force", domain, {{SOL_SOCKET, SO_SNDBUFFORCE, 1 << 25}}, SOL_SOCKET, SO_SNDBUF},
      {"buf_lock", domain, {{SOL_SOCKET, SO_RCVBUF, 30000}}, SOL_SOCKET, SO_BUF_LOCK},
      {"buf_size_unlocked",
       domain,
       {{SOL_SOCKET, SO_RCVBUF, 30000}, {SOL_SOCKET, SO_BUF_LOCK, 0}},
       SOL_SOCKET,
       SO_RCVBUF},
      {"priority_after_tos",
       domain,
       {{SOL_SOCKET, SO_PRIORITY, 3}, {IPPROTO_IP, IP_TOS, 0x10}},
       SOL_SOCKET,
       SO_PRIORITY},
      {"priority_not_of_tos",
       domain,
       {{IPPROTO_IP, IP_TOS, 0x10}, {SOL_SOCKET, SO_PRIORITY, 0}},
       IPPROTO_IP,
       IP_TOS},
      {"txtime_monotonic",
       domain,
       {{SOL_SOCKET, SO_TXTIME, sock_txtime{CLOCK_MONOTONIC, 0}}},
       SOL_SOCKET,
       SO_TXTIME},
      {"short_filter_locked",
       domain,
       {filter(kShortFilter), {SOL_SOCKET, SO_LOCK_FILTER, 1}},
       SOL_SOCKET,
       SO_LOCK_FILTER},
      {"lock_without_filter",
       domain,
       {{SOL_SOCKET, SO_LOCK_FILTER, 1}},
       SOL_SOCKET,
       SO_LOCK_FILTER},
      {"unicast_if_under_device",
       domain,
       {{IPPROTO_IP, IP_UNICAST_IF, htonl(kDeviceIndex)}, device},
       IPPROTO_IP,
       IP_UNICAST_IF},
      {"timestamp_new_with_timestamping",
       domain,
       {{SOL_SOCKET, SO_TIMESTAMP_OLD, 1}, {SOL_SOCKET, SO_TIMESTAMPING_NEW, kTimestamping}},
       SOL_SOCKET,
       SO_TIMESTAMP_NEW},
      {"timestampns_old_with_timestamping",
       domain,
       {{SOL_SOCKET, SO_TIMESTAMPING_NEW, kTimestamping}, {SOL_SOCKET, SO_TIMESTAMPNS_OLD, 1}},
       SOL_SOCKET,
       SO_TIMESTAMPNS_OLD},
      {"linger_time_left",
       domain,
       {{SOL_SOCKET, SO_LINGER, linger{1, 9}}, {SOL_SOCKET, SO_LINGER, linger{0, 0}}},
       SOL_SOCKET,
       SO_LINGER},
      {"ttl_of_the_host", domain, {{IPPROTO_IP, IP_TTL, 255}}, IPPROTO_IP, IP_TTL},
  };
  // Off by default on AF_INET6, on by default on AF_INET.
  cases.push_back({"multicast_all",
                   domain,
                   {{IPPROTO_IP, IP_MULTICAST_ALL, domain == AF_INET6 ? 1 : 0}},
                   IPPROTO_IP,
                   IP_MULTICAST_ALL});
  if (domain == AF_INET6) {
    cases.push_back({"v6_unicast_if_under_device",
                     domain,
                     {{IPPROTO_IPV6, IPV6_UNICAST_IF, htonl(kDeviceIndex)}, device},
                     IPPROTO_IPV6,
                     IPV6_UNICAST_IF});
  }
  return cases;
}

}  // namespace

std::vector<OptionCase> option_cases() {
  std::vector<OptionCase> cases;
  for (auto [domain, prefix] : {std::pair(AF_INET, "inet_"), std::pair(AF_INET6, "inet6_")}) {
    std::vector<Simple> simple = both_domains();
    if (domain == AF_INET6)
      for (Simple& more : ipv6_only()) simple.push_back(std::move(more));
    for (const Simple& one : simple)
      cases.push_back({prefix + std::string(one.name),
                       domain,
                       {one.option},
                       one.option.level,
                       one.option.name});
    for (OptionCase& one : combinations(domain)) {
      one.name = prefix + one.name;
      cases.push_back(std::move(one));
    }
  }
  return cases;
}

std::vector<Uncovered> uncovered_rows() {
  return {
      {SOL_SOCKET, SO_RESERVE_MEM, "needs a memory cgroup; Linux 7.3 reserves for TCP only"},
  };
}

}  // namespace sockrepair::test

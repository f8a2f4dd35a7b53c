// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "udp_witness/recipes.h"

#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <time.h>

#include <deque>
#include <span>
#include <utility>

#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair::test {

namespace {

using Options = std::vector<SocketOption>;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint16_t kPeerPort = 5000;
constexpr int kSndbuf = 1 << 20;
constexpr std::uint32_t kFirstInterface = 10;
constexpr std::uint32_t kVrf = 12;

// Two interfaces with different MTUs that lead nowhere, so that the datagrams stay here, and a
// third one in a VRF.
constexpr char kNetwork[] = R"(
link add d0 index 10 type dummy
link add d1 index 11 mtu 1400 type dummy
link add vrf0 index 12 type vrf table 100
link add d2 index 13 type dummy
link set d2 master vrf0
link set vrf0 up
link set d0 addrgenmode none up
link set d1 addrgenmode none up
link set d2 addrgenmode none up
addr add 192.0.2.1/24 dev d0
addr add 192.0.2.9/24 dev d0
addr add 198.51.100.1/24 dev d1
addr add 203.0.113.1/24 dev d2
route add default via 192.0.2.254 dev d0
addr add 2001:db8:1::1/64 dev d0 nodad
addr add 2001:db8:1::9/64 dev d0 nodad
addr add 2001:db8:2::1/64 dev d1 nodad
addr add 2001:db8:4::1/64 dev d2 nodad
addr add fe80::1/64 dev d0 nodad
route add default via 2001:db8:1::fe dev d0
)";

// IPv4: record route with room for two, router alert. The kernel compiles both.
const Bytes kIpOptions = {7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 148, 4, 0, 0, 1};
// IPv4: loose source route by 192.0.2.254; the final destination is the datagram's.
const Bytes kSourceRoute = {131, 7, 4, 192, 0, 2, 254, 0};
// IPv6: hop-by-hop with router alert, destination options with padding, type 2 routing header to
// 2001:db8:1::77.
const Bytes kHopOptions = {0, 0, 5, 2, 0, 0, 1, 0};
const Bytes kDstOptions = {0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
const Bytes kRoutingHeader = {0, 2, 2, 1, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8,
                              0, 1, 0, 0, 0, 0, 0, 0, 0,    0,    0,    0x77};

// Of SO_TXTIME.
struct TxtimeConfig {
  clockid_t clock;
  std::uint32_t flags;
};

Options txtime(Family) {
  return {{SOL_SOCKET, SO_TXTIME, TxtimeConfig{CLOCK_MONOTONIC, 0}}};
}

Options timestamping(Family) {
  return {{SOL_SOCKET, SO_TIMESTAMPING,
           int{SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED |
               SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID}}};
}

Options txtime_and_timestamping(Family family) {
  return {txtime(family)[0], timestamping(family)[0]};
}

Options segments(Family) {
  return {{SOL_UDP, UDP_SEGMENT, 1200}};
}

Options every_member(Family family) {
  Options options = {
      {SOL_SOCKET, SO_MARK, 0x5eed}, {SOL_SOCKET, SO_PRIORITY, 5}, {SOL_UDP, UDP_SEGMENT, 1000}};
  Options of_family = {{IPPROTO_IP, IP_TTL, 33}, {IPPROTO_IP, IP_TOS, 0x29}};
  if (family == Family::kIpv6)
    of_family = {{IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33},
                 {IPPROTO_IPV6, IPV6_TCLASS, 0x29},
                 {IPPROTO_IPV6, IPV6_DONTFRAG, 1}};
  // SO_PRIORITY last: IP_TOS changes it.
  options.insert(options.begin(), of_family.begin(), of_family.end());
  return options;
}

Options every_member_and_txtime(Family family) {
  Options options = every_member(family);
  options.push_back(txtime(family)[0]);
  return options;
}

Options every_member_by_message(Family family) {
  Options messages;
  if (family == Family::kIpv4) {
    in_pktinfo info{kFirstInterface, IpAddress::parse("192.0.2.9")->v4(), {}};
    messages = {
        {IPPROTO_IP, IP_PKTINFO, info}, {IPPROTO_IP, IP_TTL, 44}, {IPPROTO_IP, IP_TOS, 0x2a}};
  } else {
    in6_pktinfo info{IpAddress::parse("2001:db8:1::9")->v6(), kFirstInterface};
    messages = {{IPPROTO_IPV6, IPV6_PKTINFO, info},
                {IPPROTO_IPV6, IPV6_HOPLIMIT, 44},
                {IPPROTO_IPV6, IPV6_TCLASS, 0x2a},
                {IPPROTO_IPV6, IPV6_DONTFRAG, 1},
                {IPPROTO_IPV6, IPV6_FLOWINFO, htonl(0x54321)}};
  }
  messages.push_back({SOL_SOCKET, SO_MARK, 0xabcdU});
  messages.push_back({SOL_SOCKET, SO_PRIORITY, 6U});
  messages.push_back({SOL_UDP, UDP_SEGMENT, std::uint16_t{900}});
  messages.push_back({SOL_SOCKET, SCM_TXTIME, std::uint64_t{1'000'000'000'000'000'000}});
  return messages;
}

Options headers_by_message(Family) {
  return {{IPPROTO_IPV6, IPV6_HOPOPTS, kHopOptions},
          {IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, kDstOptions},
          {IPPROTO_IPV6, IPV6_RTHDR, kRoutingHeader},
          {IPPROTO_IPV6, IPV6_DSTOPTS, kDstOptions}};
}

Options everything_by_message(Family family) {
  Options messages = every_member_by_message(family);
  Options more = {{SOL_SOCKET, SO_TIMESTAMPING, unsigned{SOF_TIMESTAMPING_TX_SOFTWARE}},
                  {SOL_SOCKET, SCM_TS_OPT_ID, 77U},
                  {IPPROTO_IP, IP_RETOPTS, kIpOptions}};
  if (family == Family::kIpv6) {
    more.pop_back();
    Options headers = headers_by_message(family);
    more.insert(more.end(), headers.begin(), headers.end());
  }
  messages.insert(messages.end(), more.begin(), more.end());
  return messages;
}

const std::vector<std::string> kBasicsV4 = {
    "pending",   "udp_len",   "inet_sport", "cork_fragsize", "cork_length", "fl4_saddr",
    "fl4_daddr", "fl4_sport", "fl4_dport",  "skb_count",     "skb_len",     "cork_dst_ifindex"};
const std::vector<std::string> kBasicsV6 = {
    "pending",   "udp_len",          "inet_sport", "cork_fragsize",  "cork_length",
    "fl6_saddr", "fl6_daddr",        "fl6_sport",  "fl6_dport",      "skb_count",
    "skb_len",   "cork_dst_ifindex", "fl6_proto",  "cork6_hop_limit"};

const std::vector<Recipe> kRecipes = {
    {.name = "plain", .sets_v4 = kBasicsV4, .sets_v6 = kBasicsV6},
    {.name = "cork_option",
     .sets_v4 = {"udp_flags"},
     .sets_v6 = {"udp_flags"},
     .cork_option = true},
    {.name = "connected", .sets_v4 = kBasicsV4, .sets_v6 = kBasicsV6, .connected = true},
    {.name = "empty", .sets_v4 = {"skb_len"}, .sets_v6 = {"skb_len"}, .appends = {0}},
    {.name = "socket_options",
     .sets_v4 = {"cork_tos", "cork_mark", "cork_priority", "cork_gso_size", "skb_ip_summed"},
     .sets_v6 = {"cork6_hop_limit", "cork6_tclass", "cork6_dontfrag", "fl6_flowlabel", "cork_mark",
                 "fl6_mark", "cork_priority", "cork_gso_size", "skb_ip_summed"},
     .options = every_member},
    {.name = "control_messages",
     .sets_v4 = {"cork_ttl", "cork_tos", "cork_mark", "cork_priority", "cork_gso_size",
                 "cork_transmit_time"},
     .sets_v6 = {"cork6_hop_limit", "cork6_tclass", "cork6_dontfrag", "fl6_flowlabel", "fl6_oif",
                 "cork_mark", "fl6_mark", "cork_priority", "cork_gso_size", "cork_transmit_time"},
     .options = txtime,
     .control = every_member_by_message},
    {.name = "socket_options_overridden",
     .sets_v4 = {"cork_ttl", "cork_transmit_time"},
     .sets_v6 = {"cork6_hop_limit", "cork_transmit_time"},
     .options = every_member_and_txtime,
     .control = every_member_by_message},
    {.name = "timestamps_from_socket",
     .sets_v4 = {"skb_tx_flags", "skb_tskey"},
     .sets_v6 = {"skb_tx_flags", "skb_tskey"},
     .options = timestamping,
     .sent_before = 3},
    {.name = "timestamps_by_message",
     .sets_v4 = {"skb_tx_flags", "skb_tskey", "cork_flags", "cork_ts_opt_id"},
     .sets_v6 = {"skb_tx_flags", "skb_tskey", "cork_flags", "cork_ts_opt_id"},
     .options = timestamping,
     .control =
         [](Family) {
           return Options{{SOL_SOCKET, SO_TIMESTAMPING, unsigned{SOF_TIMESTAMPING_TX_HARDWARE}},
                          {SOL_SOCKET, SCM_TS_OPT_ID, 0x1234567U}};
         }},
    {.name = "timestamps_without_numbers",
     .sets_v4 = {"skb_tx_flags"},
     .sets_v6 = {"skb_tx_flags"},
     .control =
         [](Family) {
           return Options{{SOL_SOCKET, SO_TIMESTAMPING, unsigned{SOF_TIMESTAMPING_TX_SOFTWARE}}};
         }},
    {.name = "confirm",
     .sets_v4 = {"skb_dst_pending_confirm"},
     .sets_v6 = {"skb_dst_pending_confirm"},
     .flags = MSG_CONFIRM},
    {.name = "ip_options_by_message",
     .sets_v4 = {"cork_opt", "cork_flags", "cork_addr"},
     .control =
         [](Family) {
           return Options{{IPPROTO_IP, IP_RETOPTS, kIpOptions}};
         },
     .only = Family::kIpv4},
    {.name = "ip_options_of_socket",
     .sets_v4 = {"cork_opt", "cork_flags", "cork_addr"},
     .options =
         [](Family) {
           return Options{{IPPROTO_IP, IP_OPTIONS, kIpOptions}};
         },
     .only = Family::kIpv4},
    {.name = "ip_options_of_new_socket_only",
     .sets_v4 = kBasicsV4,
     .options =
         [](Family) {
           return Options{{IPPROTO_IP, IP_OPTIONS, kIpOptions}};
         },
     .own_options =
         [](Family) {
           return Options{{IPPROTO_IP, IP_OPTIONS, Bytes{}}};
         },
     .only = Family::kIpv4},
    {.name = "source_route",
     .sets_v4 = {"cork_opt", "cork_flags", "cork_addr"},
     .control =
         [](Family) {
           return Options{{IPPROTO_IP, IP_RETOPTS, kSourceRoute}};
         },
     .only = Family::kIpv4},
    {.name = "headers_by_message",
     .sets_v6 = {"cork6_hopopt", "cork6_dst0opt", "cork6_srcrt", "cork6_dst1opt",
                 "cork6_opt_lengths"},
     .control = headers_by_message,
     .only = Family::kIpv6},
    {.name = "headers_of_socket",
     .sets_v6 = {"cork6_hopopt", "cork6_dst1opt", "cork6_opt_lengths"},
     .options =
         [](Family) {
           return Options{{IPPROTO_IPV6, IPV6_HOPOPTS, kHopOptions},
                          {IPPROTO_IPV6, IPV6_DSTOPTS, kDstOptions}};
         },
     .only = Family::kIpv6},
    {.name = "headers_of_new_socket_only",
     .sets_v6 = kBasicsV6,
     .options =
         [](Family) {
           return Options{{IPPROTO_IPV6, IPV6_HOPOPTS, kHopOptions}};
         },
     .own_options =
         [](Family) {
           return Options{{IPPROTO_IPV6, IPV6_HOPOPTS, Bytes{}}};
         },
     .only = Family::kIpv6},
    {.name = "multicast",
     .sets_v4 = {"cork_dst_ifindex"},
     .sets_v6 = {"cork_dst_ifindex", "fl6_oif"},
     .options =
         [](Family family) {
           if (family == Family::kIpv6)
             return Options{{IPPROTO_IPV6, IPV6_MULTICAST_IF, kSecondInterface}};
           return Options{{IPPROTO_IP, IP_MULTICAST_IF, ip_mreqn{{}, {}, kSecondInterface}}};
         },
     .to_v4 = "233.252.0.1",
     .to_v6 = "ff0e::db8:1"},
    {.name = "link_local",
     .sets_v6 = {"fl6_oif", "cork_dst_ifindex"},
     .to_v6 = "fe80::2",
     .scope = kFirstInterface,
     .only = Family::kIpv6},
    {.name = "broadcast",
     .sets_v4 = kBasicsV4,
     .options =
         [](Family) {
           return Options{{SOL_SOCKET, SO_BROADCAST, 1}};
         },
     .to_v4 = "192.0.2.255",
     .only = Family::kIpv4},
    {.name = "vrf",
     .sets_v4 = {"cork_dst_ifindex"},
     .sets_v6 = {"cork_dst_ifindex", "fl6_l3mdev"},
     .options =
         [](Family) {
           return Options{{SOL_SOCKET, SO_BINDTOIFINDEX, kVrf}};
         },
     .to_v4 = "203.0.113.2",
     .to_v6 = "2001:db8:4::2"},
    {.name = "own_fragment_size",
     .sets_v6 = {"cork_fragsize"},
     .options =
         [](Family) {
           return Options{{IPPROTO_IPV6, IPV6_MTU, 1300}};
         },
     .appends = {3000},
     .only = Family::kIpv6},
    {.name = "several_appends",
     .sets_v4 = {"skb_nr_frags"},
     .sets_v6 = {"skb_nr_frags"},
     .appends = {10, 0, 700, 1}},
    {.name = "several_mtus",
     .sets_v4 = {"skb_count"},
     .sets_v6 = {"skb_count"},
     .appends = {1473, 2000, 7, 4000}},
    {.name = "longest", .sets_v4 = {"skb_count"}, .sets_v6 = {"skb_count"}, .appends = {65507}},
    {.name = "gso",
     .sets_v4 = {"cork_gso_size", "skb_ip_summed"},
     .sets_v6 = {"cork_gso_size", "skb_ip_summed"},
     .options = segments,
     .appends = {20000, 12345}},
    {.name = "zerocopy",
     .sets_v4 = {"skb_count"},
     .sets_v6 = {"skb_count"},
     .appends = {5000, 5000},
     .transfer = Transfer::kZerocopy},
    {.name = "zerocopy_gso",
     .sets_v4 = {"skb_nr_frags"},
     .sets_v6 = {"skb_nr_frags"},
     .options = segments,
     .appends = {9000},
     .transfer = Transfer::kZerocopy},
    // The first send of a recipe is never spliced.
    {.name = "spliced",
     .sets_v4 = {"skb_nr_frags"},
     .sets_v6 = {"skb_nr_frags"},
     .appends = {100, 900},
     .transfer = Transfer::kSpliced},
    {.name = "spliced_several_mtus",
     .sets_v4 = {"skb_count"},
     .sets_v6 = {"skb_count"},
     .appends = {1, 4096, 3000},
     .transfer = Transfer::kSpliced},
};

const Recipe kRich = {
    .name = "rich", .options = txtime_and_timestamping, .control = everything_by_message};

Endpoint destination(const Peer& peer, const Recipe& recipe) {
  const char* own = peer.family == Family::kIpv4 ? recipe.to_v4 : recipe.to_v6;
  return {*IpAddress::parse(own != nullptr ? own : peer.address), kPeerPort, recipe.scope};
}

// The first send, which decides about all but the payload. In between come no others.
Result<void> send_first(const Fd& fd, const Peer& peer, const Recipe& recipe,
                        std::span<const std::uint8_t> part) {
  Send first{.payload = part, .more = !recipe.cork_option, .flags = recipe.flags};
  if (!recipe.connected) first.to = destination(peer, recipe);
  if (recipe.transfer == Transfer::kZerocopy) first.transfer = Transfer::kZerocopy;
  if (recipe.control != nullptr) {
    for (const SocketOption& message : recipe.control(peer.family))
      first.control.add_bytes(message.level, message.name, message.value);
  }
  return send(fd, first);
}

}  // namespace

const Result<NetNs>& witness_network() {
  static const Result<NetNs> made = []() -> Result<NetNs> {
    SOCKREPAIR_TRY_ASSIGN(NetNs ns, NetNs::create());
    SOCKREPAIR_TRY(ns.ip(kNetwork));
    return ns;
  }();
  return made;
}

Result<Fd> new_socket(int domain) {
  if (!witness_network()) return witness_network().error();
  return witness_network()->run([&] { return sys::socket(domain, SOCK_DGRAM, 0); });
}

const std::vector<Recipe>& recipes() {
  return kRecipes;
}

const Recipe& plain_recipe() {
  return kRecipes.front();
}

const Recipe& rich_recipe() {
  return kRich;
}

std::vector<WitnessCase> witness_cases() {
  std::vector<WitnessCase> cases;
  for (const Peer& peer : kPeers)
    for (const Recipe& recipe : recipes())
      if (recipe.only.value_or(peer.family) == peer.family)
        cases.push_back({std::string(peer.name) + "_" + recipe.name, &peer, &recipe});
  return cases;
}

Result<const Fd*> make_socket(const Peer& peer, const Recipe& recipe, std::uint16_t port) {
  static std::deque<Fd> kept;
  SOCKREPAIR_TRY_ASSIGN(Fd made, new_socket(peer.domain));
  const Fd& fd = kept.emplace_back(std::move(made));

  Options options = {{SOL_SOCKET, SO_REUSEPORT, 1}, {SOL_SOCKET, SO_SNDBUF, kSndbuf}};
  if (recipe.transfer == Transfer::kZerocopy) options.push_back({SOL_SOCKET, SO_ZEROCOPY, 1});
  SOCKREPAIR_TRY(set_all(fd, options));
  if (recipe.options != nullptr) SOCKREPAIR_TRY(set_all(fd, recipe.options(peer.family)));

  IpAddress any = IpAddress::any(peer.domain == AF_INET ? Family::kIpv4 : Family::kIpv6);
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(Endpoint{any, port, 0}, peer.domain)));
  return &fd;
}

Result<UnderConstruction> begin(const Peer& peer, const Recipe& recipe) {
  SOCKREPAIR_TRY_ASSIGN(const Fd* fd, make_socket(peer, recipe));
  if (recipe.own_options != nullptr) SOCKREPAIR_TRY(set_all(*fd, recipe.own_options(peer.family)));
  SocketAddress to(destination(peer, recipe), peer.domain);
  const std::uint8_t whole[] = {'x'};
  for (int i = 0; i < recipe.sent_before; ++i)
    SOCKREPAIR_TRY(send(*fd, {.payload = whole, .to = destination(peer, recipe)}));
  if (recipe.connected) SOCKREPAIR_TRY(sys::connect(fd->get(), to));
  if (recipe.cork_option) SOCKREPAIR_TRY(sys::setsockopt<int>(fd->get(), SOL_UDP, UDP_CORK, 1));

  std::size_t total = 0;
  for (std::size_t size : recipe.appends) total += size;
  UnderConstruction result{fd, pattern(total)};
  std::span<const std::uint8_t> rest = result.payload;
  for (std::size_t i = 0; i < recipe.appends.size(); ++i) {
    std::span<const std::uint8_t> part = rest.first(recipe.appends[i]);
    rest = rest.subspan(part.size());
    if (i == 0) {
      SOCKREPAIR_TRY(send_first(*fd, peer, recipe, part));
    } else {
      SOCKREPAIR_TRY(
          send(*fd, {.payload = part, .more = !recipe.cork_option, .transfer = recipe.transfer}));
    }
  }
  return result;
}

}  // namespace sockrepair::test

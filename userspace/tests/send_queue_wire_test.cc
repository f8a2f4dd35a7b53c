// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The kernel's two forms of SendQueue, without a kernel: the dump that comes in and the control
// messages that go out.

#include "send_queue_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/net_tstamp.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "uapi.h"
#include "util/param_name.h"

namespace sockrepair::internal {
namespace {

using Bytes = SendQueue::Bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kSegmentRouting = 4;

// The header of an IPv4 dump with every member different from what an empty one has.
udp_repair_send_queue ipv4_header() {
  udp_repair_send_queue header{};
  header.size = sizeof(header);
  header.state = UDP_REPAIR_SQ_CONFIRM | UDP_REPAIR_SQ_ONLINK;
  header.family = AF_INET;
  header.gso_size = 1200;
  header.sport = htons(4000);
  header.dport = htons(5000);
  header.saddr[0] = inet_addr("10.0.0.1");
  header.daddr[0] = inet_addr("10.0.0.2");
  header.oif = 3;
  header.ifindex = 4;
  header.hop_limit = 17;
  header.tclass = 0x2e;
  header.priority = 5;
  header.mark = 0x1234;
  header.fragsize = 1500;
  header.tsflags = SOF_TIMESTAMPING_TX_SOFTWARE;
  header.tskey = 77;
  header.txtime = 123456789012345;
  header.total_len = sizeof(header);
  return header;
}

Bytes dump_of(udp_repair_send_queue header, const std::vector<Bytes>& parts) {
  Bytes dump(sizeof(header));
  for (const Bytes& part : parts) dump.insert(dump.end(), part.begin(), part.end());
  header.total_len = static_cast<std::uint32_t>(dump.size());
  memcpy(dump.data(), &header, sizeof(header));
  return dump;
}

SendQueue ipv4_queue() {
  SendQueue queue;
  queue.family = Family::kIpv4;
  queue.source = IpAddress::parse("10.0.0.1").value();
  queue.destination = IpAddress::parse("10.0.0.2").value();
  queue.source_port = 4000;
  queue.destination_port = 5000;
  queue.payload = {1, 2, 3};
  return queue;
}

SendQueue ipv6_queue() {
  SendQueue queue = ipv4_queue();
  queue.family = Family::kIpv6;
  queue.source = IpAddress::parse("fd00::1").value();
  queue.destination = IpAddress::parse("fd00::2").value();
  return queue;
}

// The options header that is all padding, of `units` times 8 bytes.
Bytes padding_header(std::uint8_t units) {
  Bytes header(units * 8U);
  header[1] = static_cast<std::uint8_t>(units - 1);
  header[2] = 1;  // PadN
  header[3] = static_cast<std::uint8_t>(header.size() - 4);
  return header;
}

// (level, type) of the messages, in order, and the data by (level, type).
struct Messages {
  std::vector<std::tuple<int, int>> order;
  std::map<std::tuple<int, int>, Bytes> data;
};

Messages messages_of(const SendQueue& queue, const ControlContext& context = {}) {
  ControlMessages control = encode_rows(given_rows(queue, context), queue);
  msghdr message{};
  control.attach(message);
  Messages result;
  for_each_control_message(message, [&](const cmsghdr& header, std::span<const uint8_t> data) {
    std::tuple key{header.cmsg_level, header.cmsg_type};
    result.order.push_back(key);
    result.data[key].assign(data.begin(), data.end());
  });
  return result;
}

template <typename T>
Bytes bytes(const T& value) {
  Bytes result(sizeof(value));
  memcpy(result.data(), &value, sizeof(value));
  return result;
}

TEST(ParseSendQueueTest, NothingUnderConstruction) {
  udp_repair_send_queue header{};
  header.size = header.total_len = sizeof(header);
  Result<std::optional<SendQueue>> queue = parse_send_queue(dump_of(header, {}));
  ASSERT_TRUE(queue.ok());
  EXPECT_FALSE(queue->has_value());
}

TEST(ParseSendQueueTest, EveryMemberOfIpv4) {
  udp_repair_send_queue header = ipv4_header();
  header.ipopt_len = 4;
  header.payload_len = 3;
  Result<std::optional<SendQueue>> result =
      parse_send_queue(dump_of(header, {{0x94, 4, 0, 0}, {7, 8, 9}}));
  ASSERT_TRUE(result.ok()) << result.error().describe();
  SendQueue want = ipv4_queue();
  want.oif = 3;
  want.ifindex = 4;
  want.hop_limit = 17;
  want.traffic_class = 0x2e;
  want.priority = 5;
  want.mark = 0x1234;
  want.txtime = 123456789012345;
  want.tsflags = SOF_TIMESTAMPING_TX_SOFTWARE;
  want.tskey = 77;
  want.gso_size = 1200;
  want.fragsize = 1500;
  want.confirm = true;
  want.onlink = true;
  want.ip_options = {0x94, 4, 0, 0};
  want.payload = {7, 8, 9};
  EXPECT_THAT(differences(**result, want), IsEmpty());
}

TEST(ParseSendQueueTest, EveryMemberOfIpv6) {
  udp_repair_send_queue header = ipv4_header();
  header.family = AF_INET6;
  header.state = UDP_REPAIR_SQ_DONTFRAG | UDP_REPAIR_SQ_ZEROCOPY;
  inet_pton(AF_INET6, "fd00::1", header.saddr);
  inet_pton(AF_INET6, "fd00::2", header.daddr);
  header.flowlabel = htonl(0xabcde);
  header.hop_limit = 0;
  header.hopopt_len = 8;
  header.dst0opt_len = 16;
  header.srcrt_len = 24;
  header.dst1opt_len = 32;
  header.payload_len = 1;
  Result<std::optional<SendQueue>> result = parse_send_queue(dump_of(
      header, {padding_header(1), padding_header(2), Bytes(24, 3), padding_header(4), {9}}));
  ASSERT_TRUE(result.ok()) << result.error().describe();
  const SendQueue& queue = **result;
  EXPECT_EQ(queue.family, Family::kIpv6);
  EXPECT_EQ(queue.source.to_string(), "fd00::1");
  EXPECT_EQ(queue.destination.to_string(), "fd00::2");
  EXPECT_EQ(queue.flow_label, 0xabcdeU);
  EXPECT_EQ(queue.hop_limit, 0);
  EXPECT_TRUE(queue.dontfrag);
  EXPECT_TRUE(queue.zerocopy);
  EXPECT_FALSE(queue.onlink);
  EXPECT_EQ(queue.hop_by_hop, padding_header(1));
  EXPECT_EQ(queue.routing_dst, padding_header(2));
  EXPECT_EQ(queue.routing, Bytes(24, 3));
  EXPECT_EQ(queue.dst, padding_header(4));
  EXPECT_EQ(queue.payload, Bytes{9});
}

TEST(ParseSendQueueTest, NotGivenIsNotZero) {
  udp_repair_send_queue header = ipv4_header();
  header.gso_size = 0;
  header.oif = 0;
  header.hop_limit = header.tclass = -1;
  header.txtime = 0;
  Result<std::optional<SendQueue>> result = parse_send_queue(dump_of(header, {}));
  ASSERT_TRUE(result.ok());
  const SendQueue& queue = **result;
  EXPECT_EQ(queue.gso_size, std::nullopt);
  EXPECT_EQ(queue.oif, std::nullopt);
  EXPECT_EQ(queue.hop_limit, std::nullopt);
  EXPECT_EQ(queue.traffic_class, std::nullopt);
  EXPECT_EQ(queue.flow_label, std::nullopt);
  EXPECT_EQ(queue.txtime, std::nullopt);
}

TEST(ParseSendQueueTest, LaterKernelsHeaderIsSkipped) {
  udp_repair_send_queue header = ipv4_header();
  header.size = sizeof(header) + 16;
  header.payload_len = 2;
  Result<std::optional<SendQueue>> result =
      parse_send_queue(dump_of(header, {Bytes(16, 0xee), {5, 6}}));
  ASSERT_TRUE(result.ok()) << result.error().describe();
  EXPECT_EQ((*result)->payload, (Bytes{5, 6}));
}

struct BadDump {
  const char* name;
  void (*spoil)(udp_repair_send_queue& header);
  std::size_t length;
  const char* says;
};

void PrintTo(const BadDump& bad, std::ostream* out) {
  *out << bad.name;
}

class ParseBadDumpTest : public ::testing::TestWithParam<BadDump> {};

TEST_P(ParseBadDumpTest, IsRefused) {
  udp_repair_send_queue header = ipv4_header();
  header.payload_len = 10;
  header.total_len = sizeof(header) + 10;
  GetParam().spoil(header);
  Bytes dump(std::max(GetParam().length, sizeof(header)));
  memcpy(dump.data(), &header, sizeof(header));
  dump.resize(GetParam().length);
  Result<std::optional<SendQueue>> result = parse_send_queue(dump);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, EPROTO);
  EXPECT_THAT(result.error().what, HasSubstr(GetParam().says));
}

constexpr std::size_t kHeader = sizeof(udp_repair_send_queue);

INSTANTIATE_TEST_SUITE_P(
    All, ParseBadDumpTest,
    ::testing::Values(
        BadDump{"empty", [](udp_repair_send_queue&) {}, 0, "less than a header"},
        BadDump{"half_header", [](udp_repair_send_queue&) {}, 64, "less than a header"},
        BadDump{"cut", [](udp_repair_send_queue& h) { h.state |= UDP_REPAIR_SQ_TRUNC; },
                kHeader + 10, "cut"},
        BadDump{"header_too_short", [](udp_repair_send_queue& h) { h.size = 64; }, kHeader + 10,
                "header of 64"},
        BadDump{"header_too_long", [](udp_repair_send_queue& h) { h.size = 4096; }, kHeader + 10,
                "header of 4096"},
        BadDump{"unknown_family", [](udp_repair_send_queue& h) { h.family = AF_UNIX; },
                kHeader + 10, "family 1"},
        BadDump{"payload_too_long", [](udp_repair_send_queue& h) { h.payload_len = 11; },
                kHeader + 10, "longer than"},
        BadDump{"option_too_long", [](udp_repair_send_queue& h) { h.ipopt_len = 11; }, kHeader + 10,
                "longer than"},
        BadDump{"payload_missing", [](udp_repair_send_queue&) {}, kHeader, "longer than"},
        BadDump{"rest_unclaimed", [](udp_repair_send_queue& h) { h.payload_len = 9; }, kHeader + 10,
                "parts of"},
        BadDump{"total_wrong", [](udp_repair_send_queue& h) { h.total_len += 1; }, kHeader + 10,
                "total_len"}),
    test::ParamName());

TEST(ControlRowsTest, LeastIpv4) {
  Messages messages = messages_of(ipv4_queue());
  EXPECT_THAT(
      messages.order,
      ElementsAre(std::tuple(IPPROTO_IP, IP_PKTINFO), std::tuple(IPPROTO_IP, IP_RETOPTS),
                  std::tuple(SOL_SOCKET, SO_PRIORITY), std::tuple(SOL_SOCKET, SO_TIMESTAMPING),
                  std::tuple(SOL_UDP, UDP_SEGMENT)));
  in_pktinfo info{};
  info.ipi_spec_dst.s_addr = inet_addr("10.0.0.1");
  EXPECT_EQ((messages.data[{IPPROTO_IP, IP_PKTINFO}]), bytes(info));
  EXPECT_EQ((messages.data[{IPPROTO_IP, IP_RETOPTS}]), Bytes());
  EXPECT_EQ((messages.data[{SOL_SOCKET, SO_TIMESTAMPING}]), bytes(0U));
  EXPECT_EQ((messages.data[{SOL_UDP, UDP_SEGMENT}]), bytes(std::uint16_t{0}));
}

TEST(ControlRowsTest, FullIpv4) {
  SendQueue queue = ipv4_queue();
  queue.oif = 3;
  queue.hop_limit = 17;
  queue.traffic_class = 0x2e;
  queue.ip_options = {0x94, 4, 0, 0};
  queue.mark = 0x1234;
  queue.priority = 5;
  queue.tsflags = SOF_TIMESTAMPING_TX_SOFTWARE;
  queue.tskey = 77;
  queue.txtime = 123456789012345;
  queue.gso_size = 1200;
  Messages messages = messages_of(queue, {.timestamp_ids = true});
  in_pktinfo info{};
  info.ipi_ifindex = 3;
  info.ipi_spec_dst.s_addr = inet_addr("10.0.0.1");
  std::map<std::tuple<int, int>, Bytes> want = {
      {{IPPROTO_IP, IP_PKTINFO}, bytes(info)},
      {{IPPROTO_IP, IP_TTL}, bytes(17)},
      {{IPPROTO_IP, IP_TOS}, bytes(0x2e)},
      {{IPPROTO_IP, IP_RETOPTS}, {0x94, 4, 0, 0}},
      {{SOL_SOCKET, SO_MARK}, bytes(0x1234U)},
      {{SOL_SOCKET, SO_PRIORITY}, bytes(5U)},
      {{SOL_SOCKET, SO_TIMESTAMPING}, bytes(0U + SOF_TIMESTAMPING_TX_SOFTWARE)},
      {{SOL_SOCKET, SCM_TS_OPT_ID}, bytes(77U)},
      {{SOL_SOCKET, SCM_TXTIME}, bytes(std::uint64_t{123456789012345})},
      {{SOL_UDP, UDP_SEGMENT}, bytes(std::uint16_t{1200})},
  };
  EXPECT_EQ(messages.data, want);
}

TEST(ControlRowsTest, TosComesBeforePriority) {
  SendQueue queue = ipv4_queue();
  queue.traffic_class = 0x2e;
  auto order = messages_of(queue).order;
  auto tos = std::find(order.begin(), order.end(), std::tuple(IPPROTO_IP, IP_TOS));
  auto priority = std::find(order.begin(), order.end(), std::tuple(SOL_SOCKET, SO_PRIORITY));
  ASSERT_NE(priority, order.end());
  EXPECT_LT(tos, priority);
}

TEST(ControlRowsTest, FullIpv6) {
  SendQueue queue = ipv6_queue();
  queue.oif = 3;
  queue.hop_limit = 0;
  queue.traffic_class = 0x2e;
  queue.flow_label = 0xabcde;
  queue.dontfrag = true;
  queue.hop_by_hop = padding_header(1);
  queue.routing_dst = padding_header(2);
  queue.routing = Bytes{0, 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  queue.dst = padding_header(3);
  Messages messages = messages_of(queue);
  in6_pktinfo info{};
  info.ipi6_ifindex = 3;
  info.ipi6_addr = queue.source.v6();
  std::map<std::tuple<int, int>, Bytes> want = {
      {{IPPROTO_IPV6, IPV6_PKTINFO}, bytes(info)},
      {{IPPROTO_IPV6, IPV6_HOPLIMIT}, bytes(0)},
      {{IPPROTO_IPV6, IPV6_TCLASS}, bytes(0x2e)},
      {{IPPROTO_IPV6, IPV6_DONTFRAG}, bytes(1)},
      {{IPPROTO_IPV6, IPV6_FLOWINFO}, {0, 0xa, 0xbc, 0xde}},
      {{IPPROTO_IPV6, IPV6_HOPOPTS}, queue.hop_by_hop},
      {{IPPROTO_IPV6, IPV6_RTHDRDSTOPTS}, queue.routing_dst},
      {{IPPROTO_IPV6, IPV6_RTHDR}, queue.routing},
      {{IPPROTO_IPV6, IPV6_DSTOPTS}, queue.dst},
      {{SOL_SOCKET, SO_PRIORITY}, bytes(0U)},
      {{SOL_SOCKET, SO_TIMESTAMPING}, bytes(0U)},
      {{SOL_UDP, UDP_SEGMENT}, bytes(std::uint16_t{0})},
  };
  EXPECT_EQ(messages.data, want);
}

TEST(ControlRowsTest, HeadersByOptionAreNotMessages) {
  SendQueue queue = ipv6_queue();
  queue.hop_by_hop = padding_header(1);
  queue.routing = Bytes{0, 2, kSegmentRouting, 0};
  Messages messages = messages_of(queue, {.headers_by_option = true});
  EXPECT_EQ((messages.data.count({IPPROTO_IPV6, IPV6_HOPOPTS})), 0U);
  EXPECT_EQ((messages.data.count({IPPROTO_IPV6, IPV6_RTHDR})), 0U);
}

// A mark takes privileges: no message when the socket's own does.
TEST(ControlRowsTest, MarkOfTheSocketIsNotAMessage) {
  SendQueue queue = ipv4_queue();
  queue.mark = 7;
  std::tuple mark{SOL_SOCKET, SO_MARK};
  EXPECT_EQ(messages_of(queue, {.socket_mark = 7}).data.count(mark), 0U);
  EXPECT_EQ(messages_of(queue, {.socket_mark = 8}).data.count(mark), 1U);
  queue.mark = 0;
  EXPECT_EQ(messages_of(queue, {.socket_mark = 8}).data[mark], bytes(0U));
}

// Without flags the key means nothing, and without SOF_TIMESTAMPING_OPT_ID the kernel refuses it.
TEST(ControlRowsTest, TimestampKeyNeedsFlagsAndOption) {
  SendQueue queue = ipv4_queue();
  queue.tskey = 7;
  std::tuple key{SOL_SOCKET, SCM_TS_OPT_ID};
  EXPECT_EQ(messages_of(queue, {.timestamp_ids = true}).data.count(key), 0U);
  queue.tsflags = SOF_TIMESTAMPING_TX_SCHED;
  EXPECT_EQ(messages_of(queue, {.timestamp_ids = false}).data.count(key), 0U);
  EXPECT_EQ(messages_of(queue, {.timestamp_ids = true}).data.count(key), 1U);
}

struct BadMember {
  const char* name;
  Family family;
  void (*spoil)(SendQueue& queue);
  int code;
  const char* says;
};

void PrintTo(const BadMember& bad, std::ostream* out) {
  *out << bad.name;
}

class CheckMembersTest : public ::testing::TestWithParam<BadMember> {};

TEST_P(CheckMembersTest, NamesTheMember) {
  SendQueue queue = GetParam().family == Family::kIpv4 ? ipv4_queue() : ipv6_queue();
  ASSERT_TRUE(check_members(queue).ok());
  GetParam().spoil(queue);
  Result<void> checked = check_members(queue);
  ASSERT_FALSE(checked.ok());
  EXPECT_EQ(checked.error().code, GetParam().code);
  EXPECT_THAT(checked.error().what, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    All, CheckMembersTest,
    ::testing::Values(
        BadMember{"source_of_other_family", Family::kIpv4,
                  [](SendQueue& q) { q.source = IpAddress(in6addr_loopback); }, EINVAL,
                  "source: ::1 in an IPv4"},
        BadMember{"destination_of_other_family", Family::kIpv6,
                  [](SendQueue& q) { q.destination = IpAddress(in_addr{}); }, EINVAL,
                  "destination: 0.0.0.0 in an IPv6"},
        BadMember{"no_source_port", Family::kIpv4, [](SendQueue& q) { q.source_port = 0; }, EINVAL,
                  "source_port: 0"},
        BadMember{"no_destination_port", Family::kIpv4,
                  [](SendQueue& q) { q.destination_port = 0; }, EINVAL, "destination_port: 0"},
        BadMember{"ipv4_ttl_0", Family::kIpv4, [](SendQueue& q) { q.hop_limit = 0; }, EINVAL,
                  "hop_limit: must be 1 to 255"},
        BadMember{"ipv4_options_long", Family::kIpv4,
                  [](SendQueue& q) { q.ip_options = Bytes(41, 1); }, EINVAL,
                  "ip_options: must be at most 40"},
        BadMember{"ipv4_flow_label", Family::kIpv4, [](SendQueue& q) { q.flow_label = 1; }, EINVAL,
                  "flow_label: an IPv4 datagram cannot"},
        BadMember{"ipv4_dontfrag", Family::kIpv4, [](SendQueue& q) { q.dontfrag = true; }, EINVAL,
                  "dontfrag: an IPv4 datagram cannot"},
        BadMember{"ipv4_hop_by_hop", Family::kIpv4,
                  [](SendQueue& q) { q.hop_by_hop = padding_header(1); }, EINVAL,
                  "hop_by_hop: an IPv4 datagram cannot"},
        BadMember{"ipv6_ip_options", Family::kIpv6, [](SendQueue& q) { q.ip_options = {1}; },
                  EINVAL, "ip_options: an IPv6 datagram cannot"},
        BadMember{"ipv6_flow_label_0", Family::kIpv6, [](SendQueue& q) { q.flow_label = 0; },
                  EINVAL, "flow_label: must be 1 to 0xfffff"},
        BadMember{"ipv6_flow_label_21_bits", Family::kIpv6,
                  [](SendQueue& q) { q.flow_label = 0x100000; }, EINVAL,
                  "flow_label: must be 1 to 0xfffff"},
        BadMember{"ipv6_hop_by_hop_short", Family::kIpv6,
                  [](SendQueue& q) { q.hop_by_hop = Bytes(7, 0); }, EINVAL,
                  "hop_by_hop: must be a whole"},
        BadMember{"ipv6_routing_dst_cut", Family::kIpv6,
                  [](SendQueue& q) {
                    q.routing_dst = padding_header(2);
                    q.routing_dst.pop_back();
                  },
                  EINVAL, "routing_dst: must be a whole"},
        BadMember{"ipv6_routing_long", Family::kIpv6,
                  [](SendQueue& q) { q.routing = Bytes(24, 0); }, EINVAL,
                  "routing: must be a whole"},
        BadMember{"ipv6_dst_long", Family::kIpv6,
                  [](SendQueue& q) {
                    q.dst = padding_header(1);
                    q.dst.push_back(0);
                  },
                  EINVAL, "dst: must be a whole"},
        BadMember{"tsflags_not_tx", Family::kIpv4,
                  [](SendQueue& q) { q.tsflags = SOF_TIMESTAMPING_RX_SOFTWARE; }, EINVAL,
                  "tsflags: must be"},
        BadMember{"ipv4_payload_long", Family::kIpv4, [](SendQueue& q) { q.payload.resize(65508); },
                  EMSGSIZE, "payload: 65508 bytes, at most 65507"},
        BadMember{"ipv4_payload_long_with_options", Family::kIpv4,
                  [](SendQueue& q) {
                    q.ip_options = {1, 1, 1, 1, 1};
                    q.payload.resize(65500);
                  },
                  EMSGSIZE, "payload: 65500 bytes, at most 65499"},
        BadMember{"ipv6_payload_long", Family::kIpv6, [](SendQueue& q) { q.payload.resize(65528); },
                  EMSGSIZE, "payload: 65528 bytes, at most 65527"},
        BadMember{"ipv6_payload_long_with_header", Family::kIpv6,
                  [](SendQueue& q) {
                    q.dst = padding_header(1);
                    q.payload.resize(65520);
                  },
                  EMSGSIZE, "payload: 65520 bytes, at most 65519"}),
    test::ParamName());

TEST(LongestPayloadTest, IsGood) {
  SendQueue v4 = ipv4_queue();
  v4.payload.resize(65507);
  EXPECT_TRUE(check_members(v4).ok());
  SendQueue v6 = ipv6_queue();
  v6.payload.resize(65527);
  EXPECT_TRUE(check_members(v6).ok());
}

TEST(SendQueueTextTest, DescribeLeavesOutWhatIsNotGiven) {
  SendQueue queue = ipv4_queue();
  queue.mark = 7;
  EXPECT_EQ(queue.describe(),
            "family: IPv4\n"
            "source: 10.0.0.1\n"
            "source_port: 4000\n"
            "destination: 10.0.0.2\n"
            "destination_port: 5000\n"
            "ifindex: 0\n"
            "priority: 0\n"
            "mark: 7\n"
            "tsflags: 0\n"
            "tskey: 0\n"
            "fragsize: 0\n"
            "payload: 3 bytes 010203\n");
}

TEST(SendQueueTextTest, DifferencesNameMemberAndValues) {
  SendQueue a = ipv4_queue();
  SendQueue b = a;
  EXPECT_THAT(differences(a, b), IsEmpty());
  b.hop_limit = 4;
  b.payload[1] = 9;
  EXPECT_THAT(differences(a, b),
              ElementsAre("hop_limit: not given instead of 4",
                          "payload: 3 bytes 010203 instead of 3 bytes 010903, from byte 1 on"));
}

TEST(SendQueueTextTest, LongPayloadIsShortened) {
  SendQueue queue = ipv4_queue();
  queue.payload.assign(65507, 0xab);
  EXPECT_THAT(queue.describe(), HasSubstr("payload: 65507 bytes abababab"));
  EXPECT_LT(queue.describe().size(), 400U);
}

}  // namespace
}  // namespace sockrepair::internal

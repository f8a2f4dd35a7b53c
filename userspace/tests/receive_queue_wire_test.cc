// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The receive queue as the kernel sees it: entries of a dump and of a restore, what no kernel would
// take, and the packets that stand in for entries on a stock kernel.
#include "receive_queue_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <string.h>

#include <functional>
#include <numeric>

#include "packet.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using internal::build_packets;
using internal::check_datagram;
using internal::encode_datagram;
using internal::parse_receive_queue;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

using Bytes = std::vector<std::uint8_t>;

IpAddress address(const char* text) {
  return IpAddress::parse(text).value();
}

// "payload" in words of 16 bits, added up: 0x6170 0x6c79 0x616f 0x0064 on a little-endian machine.
const std::uint32_t kPayloadSum = htons(0x7061) + htons(0x796c) + htons(0x6f61) + htons(0x6400);

ReceivedDatagram ipv4_datagram() {
  ReceivedDatagram d;
  d.family = Family::kIpv4;
  d.source = {address("192.0.2.1"), 4000, 0};
  d.destination = {address("192.0.2.2"), 53, 0};
  d.ifindex = 7;
  d.device = 8;
  d.local = address("192.0.2.3");
  d.hop_limit = 9;
  d.traffic_class = 10;
  d.mark = 11;
  d.priority = 12;
  d.timestamp = 13;
  d.hardware_timestamp = 14;
  d.gro_size = 3;
  d.fragment_size = 1500;
  d.checksum = kPayloadSum;
  d.headers = {0x94, 4, 0, 0};  // router alert
  d.payload = {'p', 'a', 'y', 'l', 'o', 'a', 'd'};
  return d;
}

ReceivedDatagram ipv6_datagram() {
  ReceivedDatagram d = ipv4_datagram();
  d.family = Family::kIpv6;
  d.source = {address("fe80::1"), 4000, 8};
  d.destination = {address("2001:db8::2"), 53, 0};
  d.local.reset();
  d.flow_label = 0x12345;
  d.l3slave = true;
  d.next_header = IPPROTO_HOPOPTS;
  d.headers = {IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0,  //
               IPPROTO_UDP,     0, 1, 4, 0, 0, 0, 0};
  return d;
}

ReceivedDatagram datagram_of(Family family) {
  return family == Family::kIpv4 ? ipv4_datagram() : ipv6_datagram();
}

// What the kernel writes for these datagrams.
Bytes dump_of(const std::vector<ReceivedDatagram>& datagrams) {
  udp_repair_recv_queue header{};
  header.size = sizeof(header);
  header.entry_size = sizeof(udp_repair_datagram);
  header.count = static_cast<__u32>(datagrams.size());
  header.next = header.count;
  header.queued = header.count;
  Bytes dump(sizeof(header));
  memcpy(dump.data(), &header, sizeof(header));
  for (const ReceivedDatagram& datagram : datagrams) {
    dump.resize((dump.size() + 7) / 8 * 8);
    Bytes entry;
    encode_datagram(datagram, entry);
    dump.insert(dump.end(), entry.begin(), entry.end());
  }
  return dump;
}

TEST(ReceiveQueueWireTest, EntriesComeBackInOrder) {
  ReceivedDatagram bare;
  bare.source = {address("192.0.2.1"), 0, 0};
  bare.destination = {address("192.0.2.2"), 1, 0};
  bare.hop_limit = 0;
  bare.traffic_class = 0;
  bare.mark = 0;
  bare.priority = 0;
  ReceivedDatagram seen = bare;
  seen.peeked = true;
  const std::vector<ReceivedDatagram> all{ipv4_datagram(), bare, ipv6_datagram(), seen,
                                          ipv4_datagram()};
  std::vector<ReceivedDatagram> parsed;
  ASSERT_OK_AND_ASSIGN(internal::DumpProgress progress, parse_receive_queue(dump_of(all), parsed));
  EXPECT_EQ(progress.next, all.size());
  EXPECT_EQ(progress.next_len, 0u);
  EXPECT_EQ(parsed, all);
}

TEST(ReceiveQueueWireTest, WhatIsNotKnownBecomesWhatAnOrdinaryDatagramHas) {
  ReceivedDatagram unknown;
  unknown.source = {address("192.0.2.1"), 4000, 0};
  unknown.destination = {address("192.0.2.2"), 53, 0};
  std::vector<ReceivedDatagram> parsed;
  ASSERT_THAT(parse_receive_queue(dump_of({unknown}), parsed), IsOk());
  EXPECT_EQ(parsed[0].hop_limit, 64);
  EXPECT_EQ(parsed[0].traffic_class, 0);
  EXPECT_EQ(parsed[0].mark, 0u);
  EXPECT_EQ(parsed[0].priority, 0u);
  EXPECT_EQ(parsed[0].timestamp, std::nullopt);
  EXPECT_EQ(parsed[0].ifindex, std::nullopt);
}

TEST(ReceiveQueueWireTest, LayoutIsThatOfTheKernel) {
  Bytes entry;
  encode_datagram(ipv6_datagram(), entry);
  udp_repair_datagram wire{};
  ASSERT_EQ(entry.size(), sizeof(wire) + 16 + 7);
  memcpy(&wire, entry.data(), sizeof(wire));
  EXPECT_EQ(wire.size, sizeof(wire));
  EXPECT_EQ(wire.total_len, entry.size());
  EXPECT_EQ(wire.flags, UDP_REPAIR_RQ_CSUM | UDP_REPAIR_RQ_L3SLAVE);
  EXPECT_EQ(wire.payload_len, 7u);
  EXPECT_EQ(wire.family, AF_INET6);
  EXPECT_EQ(wire.gso_size, 3);
  EXPECT_EQ(wire.sport, htons(4000));
  EXPECT_EQ(wire.dport, htons(53));
  EXPECT_EQ(wire.saddr[0], htonl(0xfe800000));
  EXPECT_EQ(wire.daddr[3], htonl(2));
  EXPECT_EQ(wire.iif, 8u);
  EXPECT_EQ(wire.ifindex, 7u);
  EXPECT_EQ(wire.spec_dst, 0u);
  EXPECT_EQ(wire.flowlabel, htonl(0x12345));
  EXPECT_EQ(wire.hop_limit, 9);
  EXPECT_EQ(wire.tclass, 10);
  EXPECT_EQ(wire.nexthdr, IPPROTO_HOPOPTS);
  EXPECT_EQ(wire.opt_len, 16);
  EXPECT_EQ(wire.frag_max_size, 1500);
  EXPECT_EQ(wire.priority, 12u);
  EXPECT_EQ(wire.mark, 11u);
  EXPECT_EQ(wire.tstamp, 13u);
  EXPECT_EQ(wire.hwtstamp, 14u);
  EXPECT_EQ(wire.csum, kPayloadSum);
}

// A dump that contradicts itself.
struct BadDump {
  const char* name;
  std::function<void(Bytes&)> damage;
  const char* why;
};

template <typename T>
void poke(Bytes& dump, std::size_t offset, T value) {
  memcpy(dump.data() + offset, &value, sizeof(value));
}

constexpr std::size_t kEntry = sizeof(udp_repair_recv_queue);

const BadDump kBadDumps[] = {
    {"no_header", [](Bytes& d) { d.resize(63); }, "less than a header"},
    {"header_size", [](Bytes& d) { poke<__u32>(d, 0, 60); }, "header of 60 bytes"},
    {"header_beyond", [](Bytes& d) { poke<__u32>(d, 0, 1 << 20); }, "header of"},
    {"no_entry", [](Bytes& d) { d.resize(kEntry + 100); }, "an entry is cut"},
    {"payload_cut", [](Bytes& d) { d.pop_back(); }, "entry of"},
    {"too_many", [](Bytes& d) { poke<__u32>(d, offsetof(udp_repair_recv_queue, count), 2); },
     "cut"},
    {"struct_size", [](Bytes& d) { poke<__u32>(d, kEntry, 120); }, "struct of 120"},
    {"total_len",
     [](Bytes& d) { poke<__u32>(d, kEntry + offsetof(udp_repair_datagram, total_len), 1); },
     "entry of 1 bytes"},
    {"payload_len",
     [](Bytes& d) { poke<__u32>(d, kEntry + offsetof(udp_repair_datagram, payload_len), ~0U); },
     "payload of 4294967295"},
    {"family", [](Bytes& d) { poke<__u16>(d, kEntry + offsetof(udp_repair_datagram, family), 1); },
     "family 1"},
};

void PrintTo(const BadDump& bad, std::ostream* out) {
  *out << bad.name;
}

class ReceiveQueueBadDumpTest : public ::testing::TestWithParam<BadDump> {};

TEST_P(ReceiveQueueBadDumpTest, IsAProtocolError) {
  Bytes dump = dump_of({ipv4_datagram()});
  GetParam().damage(dump);
  std::vector<ReceivedDatagram> parsed;
  EXPECT_THAT(parse_receive_queue(dump, parsed), FailsWith(EPROTO, HasSubstr(GetParam().why)));
}

INSTANTIATE_TEST_SUITE_P(All, ReceiveQueueBadDumpTest, ::testing::ValuesIn(kBadDumps), ParamName());

// A datagram that no kernel would take.
struct BadDatagram {
  const char* name;
  Family family;
  void (*change)(ReceivedDatagram&);
  int code;
  const char* member;
};

constexpr Family kIpv4 = Family::kIpv4;
constexpr Family kIpv6 = Family::kIpv6;
using D = ReceivedDatagram;

const BadDatagram kBadDatagrams[] = {
    {"family", kIpv4, [](D& d) { d.family = static_cast<Family>(2); }, EINVAL, "family"},
    {"ifindex_0", kIpv4, [](D& d) { d.ifindex = 0; }, EINVAL, "ifindex"},
    {"device_0", kIpv4, [](D& d) { d.device = 0; }, EINVAL, "device"},
    {"source_family", kIpv4, [](D& d) { d.source.address = address("::1"); }, EINVAL, "source"},
    {"source_multicast", kIpv4, [](D& d) { d.source.address = address("224.0.0.1"); }, EINVAL,
     "source"},
    {"source_multicast6", kIpv6,
     [](D& d) {
       d.source = {address("ff02::1"), 1, 0};
     },
     EINVAL, "source"},
    {"source_broadcast", kIpv4, [](D& d) { d.source.address = address("255.255.255.255"); }, EINVAL,
     "source"},
    {"source_scope", kIpv4, [](D& d) { d.source.scope = 7; }, EINVAL, "source"},
    {"source_without_scope", kIpv6, [](D& d) { d.source.scope = 0; }, EINVAL, "source"},
    {"source_scope_not_device", kIpv6, [](D& d) { d.device = 9; }, EINVAL, "source"},
    {"destination_family", kIpv6, [](D& d) { d.destination.address = address("127.0.0.1"); },
     EINVAL, "destination"},
    {"destination_port", kIpv4, [](D& d) { d.destination.port = 0; }, EINVAL, "destination"},
    {"destination_scope", kIpv6, [](D& d) { d.destination.scope = 7; }, EINVAL, "destination"},
    {"source_link_local_without_interface", kIpv6,
     [](D& d) {
       d.ifindex.reset();
       d.device.reset();
       d.source.scope = 0;
     },
     EINVAL, "source"},
    {"source_mapped", kIpv6,
     [](D& d) {
       d.source = {address("::ffff:1.2.3.4"), 1, 0};
     },
     EINVAL, "source"},
    {"destination_mapped", kIpv6, [](D& d) { d.destination.address = address("::ffff:1.2.3.4"); },
     EINVAL, "destination"},
    {"destination_link_local_without_interface", kIpv6,
     [](D& d) {
       d.source = {address("2001:db8::1"), 1, 0};
       d.destination.address = address("fe80::2");
       d.device.reset();
     },
     EINVAL, "destination"},
    {"local_multicast", kIpv4, [](D& d) { d.local = address("224.0.0.1"); }, EINVAL, "local"},
    {"checksum", kIpv4, [](D& d) { *d.checksum += 1; }, EINVAL, "checksum"},
    {"record_route_pointer", kIpv4,
     [](D& d) {
       d.headers = {7, 3, 3, 0};
     },
     EINVAL, "headers"},
    {"record_route_twice", kIpv4, [](D& d) { d.headers = {7, 3, 4, 1, 7, 3, 4, 0}; }, EINVAL,
     "headers"},
    {"routes_loose_and_strict", kIpv4, [](D& d) { d.headers = {0x83, 3, 4, 1, 0x89, 3, 4, 0}; },
     EINVAL, "headers"},
    {"time_stamp_short", kIpv4,
     [](D& d) {
       d.headers = {0x44, 3, 5, 0};
     },
     EINVAL, "headers"},
    {"router_alert_short", kIpv4,
     [](D& d) {
       d.headers = {0x94, 3, 0, 0};
     },
     EINVAL, "headers"},
    {"header_of_ipsec", kIpv6, [](D& d) { d.next_header = IPPROTO_AH; }, EINVAL, "headers"},
    {"header_option_beyond", kIpv6, [](D& d) { d.headers[3] = 5; }, EINVAL, "headers"},
    {"destination_any", kIpv4, [](D& d) { d.destination.address = address("0.0.0.0"); }, EINVAL,
     "destination"},
    {"local_in_ipv6", kIpv6, [](D& d) { d.local = address("192.0.2.3"); }, EINVAL, "local"},
    {"local_family", kIpv4, [](D& d) { d.local = address("::1"); }, EINVAL, "local"},
    {"flow_label_in_ipv4", kIpv4, [](D& d) { d.flow_label = 0; }, EINVAL, "flow_label"},
    {"flow_label", kIpv6, [](D& d) { d.flow_label = 0x100000; }, EINVAL, "flow_label"},
    {"timestamp_0", kIpv4, [](D& d) { d.timestamp = 0; }, EINVAL, "timestamp"},
    {"timestamp_negative", kIpv4, [](D& d) { d.timestamp = 1ULL << 63; }, EINVAL, "timestamp"},
    {"hardware_timestamp", kIpv4, [](D& d) { d.hardware_timestamp = 1ULL << 63; }, EINVAL,
     "hardware_timestamp"},
    {"gro_size_0", kIpv4, [](D& d) { d.gro_size = 0; }, EINVAL, "gro_size"},
    {"gro_size_of_one", kIpv4, [](D& d) { d.gro_size = 7; }, EINVAL, "gro_size"},
    {"gro_size_of_129", kIpv4,
     [](D& d) {
       d.gro_size = 1;
       d.payload.resize(129);
     },
     EINVAL, "gro_size"},
    {"fragment_size", kIpv4, [](D& d) { d.fragment_size = 65536; }, EINVAL, "fragment_size"},
    {"fragment_size_0", kIpv4, [](D& d) { d.fragment_size = 0; }, EINVAL, "fragment_size"},
    {"next_header_in_ipv4", kIpv4, [](D& d) { d.next_header = 0; }, EINVAL, "next_header"},
    {"options_of_44", kIpv4, [](D& d) { d.headers.assign(44, 1); }, EINVAL, "headers"},
    {"options_of_3", kIpv4, [](D& d) { d.headers.assign(3, 1); }, EINVAL, "headers"},
    {"option_beyond", kIpv4,
     [](D& d) {
       d.headers = {7, 5, 4, 0};
     },
     EINVAL, "headers"},
    {"option_of_1", kIpv4,
     [](D& d) {
       d.headers = {7, 1, 1, 1};
     },
     EINVAL, "headers"},
    {"option_without_length", kIpv4,
     [](D& d) {
       d.headers = {1, 1, 1, 7};
     },
     EINVAL, "headers"},
    {"chain_that_goes_on", kIpv6, [](D& d) { d.headers.resize(8); }, EINVAL, "headers"},
    {"chain_that_has_ended", kIpv6, [](D& d) { d.headers[0] = IPPROTO_UDP; }, EINVAL, "headers"},
    {"chain_without_headers", kIpv6, [](D& d) { d.headers.clear(); }, EINVAL, "headers"},
    {"header_beyond", kIpv6, [](D& d) { d.headers[9] = 1; }, EINVAL, "headers"},
    {"hop_by_hop_second", kIpv6, [](D& d) { d.headers[0] = IPPROTO_HOPOPTS; }, EINVAL, "headers"},
    {"l3slave_in_ipv4", kIpv4, [](D& d) { d.l3slave = true; }, EINVAL, "l3slave"},
    {"peeked_with_payload", kIpv4, [](D& d) { d.peeked = true; }, EINVAL, "peeked"},
    {"payload", kIpv4,
     [](D& d) {
       d.gro_size = 60000;
       d.payload.resize(65504);
     },
     EMSGSIZE, "payload"},
    {"payload6", kIpv6,
     [](D& d) {
       d.gro_size = 60000;
       d.payload.resize(65512);
     },
     EMSGSIZE, "payload"},
};

void PrintTo(const BadDatagram& bad, std::ostream* out) {
  *out << bad.name;
}

class ReceiveQueueBadDatagramTest : public ::testing::TestWithParam<BadDatagram> {};

TEST_P(ReceiveQueueBadDatagramTest, IsRefusedByName) {
  const BadDatagram& bad = GetParam();
  ReceivedDatagram datagram = datagram_of(bad.family);
  EXPECT_THAT(check_datagram(datagram, 3), IsOk());
  bad.change(datagram);
  EXPECT_THAT(check_datagram(datagram, 3),
              FailsWith(bad.code, StartsWith("datagram 3: " + std::string(bad.member) + ": ")));
}

INSTANTIATE_TEST_SUITE_P(All, ReceiveQueueBadDatagramTest, ::testing::ValuesIn(kBadDatagrams),
                         ParamName());

TEST(ReceiveQueueCheckTest, LongestPayloadsAreTaken) {
  ReceivedDatagram v4 = ipv4_datagram();
  v4.gro_size.reset();
  v4.payload.resize(65503);
  EXPECT_THAT(check_datagram(v4, 0), IsOk());
  ReceivedDatagram v6 = ipv6_datagram();
  v6.gro_size.reset();
  v6.payload.resize(65511);
  EXPECT_THAT(check_datagram(v6, 0), IsOk());
}

TEST(ReceiveQueueTextTest, DifferencesNameTheMembers) {
  ReceivedDatagram a = ipv4_datagram();
  ReceivedDatagram b = a;
  EXPECT_THAT(differences(a, b), IsEmpty());
  b.hop_limit = 1;
  b.timestamp.reset();
  b.payload[2] = 'Y';
  EXPECT_THAT(differences(a, b),
              ElementsAre("hop_limit: 9 instead of 1", "timestamp: 13 instead of not given",
                          AllOf(StartsWith("payload: "), HasSubstr("from byte 2 on"))));
}

TEST(ReceiveQueueTextTest, LossNamesItsPlace) {
  EXPECT_EQ((Loss{"receive queue, datagram", 3, "hop_limit: 255 instead of 1"}.describe()),
            "receive queue, datagram 3: hop_limit: 255 instead of 1");
  EXPECT_EQ((Loss{"receive queue", std::nullopt, "unreadable"}.describe()),
            "receive queue: unreadable");
}

// The Internet checksum over `bytes`, as a receiver computes it: 0 when all is well.
std::uint16_t internet_checksum(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2)
    sum += static_cast<std::uint32_t>(bytes[i] << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0));
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<std::uint16_t>(~sum);
}

// UDP header and payload of `packet` with the pseudo header of its addresses in front.
Bytes with_pseudo_header(const Bytes& packet, std::size_t addresses, std::size_t address_bytes,
                         const Bytes& udp) {
  Bytes bytes(packet.begin() + static_cast<std::ptrdiff_t>(addresses),
              packet.begin() + static_cast<std::ptrdiff_t>(addresses + address_bytes));
  std::uint32_t length = static_cast<std::uint32_t>(udp.size());
  Bytes rest{0,
             0,
             static_cast<std::uint8_t>(length >> 8),
             static_cast<std::uint8_t>(length),
             0,
             0,
             0,
             IPPROTO_UDP};
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  bytes.insert(bytes.end(), udp.begin(), udp.end());
  return bytes;
}

TEST(PacketTest, Ipv4HasEveryMemberOfTheHeader) {
  ReceivedDatagram datagram = ipv4_datagram();
  std::vector<Bytes> packets = build_packets(datagram, 65536);
  ASSERT_EQ(packets.size(), 1u);
  const Bytes& packet = packets[0];
  ASSERT_EQ(packet.size(), 20u + 4 + 8 + 7);
  EXPECT_EQ(packet[0], 0x46);
  EXPECT_EQ(packet[1], 10);  // TOS
  EXPECT_EQ(packet[2] << 8 | packet[3], 20 + 4 + 8 + 7);
  EXPECT_EQ(packet[8], 9);  // TTL
  EXPECT_EQ(packet[9], IPPROTO_UDP);
  EXPECT_EQ(Bytes(packet.begin() + 12, packet.begin() + 24),
            (Bytes{192, 0, 2, 1, 192, 0, 2, 2, 0x94, 4, 0, 0}));
  EXPECT_EQ(Bytes(packet.begin() + 24, packet.begin() + 30), (Bytes{0x0f, 0xa0, 0, 53, 0, 15}));
  EXPECT_EQ(Bytes(packet.begin() + 32, packet.end()), datagram.payload);
  Bytes udp(packet.begin() + 24, packet.end());
  EXPECT_EQ(internet_checksum(with_pseudo_header(packet, 12, 8, udp)), 0);
}

TEST(PacketTest, Ipv6HasEveryMemberOfTheHeader) {
  ReceivedDatagram datagram = ipv6_datagram();
  std::vector<Bytes> packets = build_packets(datagram, 65536);
  ASSERT_EQ(packets.size(), 1u);
  const Bytes& packet = packets[0];
  ASSERT_EQ(packet.size(), 40u + 16 + 8 + 7);
  EXPECT_EQ(Bytes(packet.begin(), packet.begin() + 8),
            (Bytes{0x60, 0xa1, 0x23, 0x45, 0, 31, IPPROTO_HOPOPTS, 9}));
  EXPECT_EQ(Bytes(packet.begin() + 40, packet.begin() + 56), datagram.headers);
  Bytes udp(packet.begin() + 56, packet.end());
  EXPECT_EQ(internet_checksum(with_pseudo_header(packet, 8, 32, udp)), 0);
}

TEST(PacketTest, LongIpv6ComesInFragmentsThatMakeTheWhole) {
  ReceivedDatagram datagram = ipv6_datagram();
  datagram.payload.resize(3001);
  std::iota(datagram.payload.begin(), datagram.payload.end(), std::uint8_t{0});
  const Bytes whole = build_packets(datagram, 65536).at(0);
  const std::vector<Bytes> packets = build_packets(datagram, 1280);
  ASSERT_EQ(packets.size(), 3u);
  constexpr std::size_t kBefore = 40 + 16;
  Bytes body;
  for (const Bytes& packet : packets) {
    EXPECT_LE(packet.size(), 1280u);
    EXPECT_EQ(packet[4] << 8 | packet[5], static_cast<int>(packet.size() - 40));
    // The last extension header is followed by the fragment header, and that by UDP.
    EXPECT_EQ(packet[48], IPPROTO_FRAGMENT);
    EXPECT_EQ(packet[kBefore], IPPROTO_UDP);
    int offset = packet[kBefore + 2] << 8 | packet[kBefore + 3];
    EXPECT_EQ(offset & ~7, static_cast<int>(body.size()));
    EXPECT_EQ(offset & 1, &packet != &packets.back());
    body.insert(body.end(), packet.begin() + kBefore + 8, packet.end());
  }
  EXPECT_EQ(body, Bytes(whole.begin() + kBefore, whole.end()));
}

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The witness is not blind: a datagram that is not the original is told apart, by the name of what
// differs, and so is a change of memory.

#include <linux/net_tstamp.h>
#include <unistd.h>

#include <set>
#include <string>
#include <vector>

#include "sockrepair/udp_send_queue.h"
#include "udp_witness/witness_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAreArray;
using ::testing::ValuesIn;

// A change to the rich datagram before it is restored, and where it must show: there and nowhere
// else.
struct Mutation {
  std::string name;
  void (*change)(SendQueue& queue);
  std::vector<std::string> shows_v4;
  std::vector<std::string> shows_v6;
  std::uint16_t port = kWitnessPort;  // of the socket that it is restored on
};

const std::vector<Mutation> kMutations = {
    {"nothing", [](SendQueue&) {}, {}, {}},
    {"source",
     [](SendQueue& q) {
       q.source = *IpAddress::parse(q.family == Family::kIpv4 ? "192.0.2.1" : "2001:db8:1::1");
     },
     {"fl4_saddr"},
     {"fl6_saddr"}},
    {"source_port",
     [](SendQueue& q) { q.source_port = kWitnessPort + 1; },
     {"inet_sport", "fl4_sport"},
     {"inet_sport", "fl6_sport"},
     kWitnessPort + 1},
    {"destination",
     [](SendQueue& q) {
       q.destination = *IpAddress::parse(q.family == Family::kIpv4 ? "192.0.2.3" : "2001:db8:1::3");
     },
     {"fl4_daddr", "cork_addr"},
     {"fl6_daddr"}},
    {"destination_port", [](SendQueue& q) { ++q.destination_port; }, {"fl4_dport"}, {"fl6_dport"}},
    {"oif",
     [](SendQueue& q) { q.oif = kSecondInterface; },
     {"cork_dst_ifindex", "cork_fragsize"},
     // With a source address, IPv6 takes the interface for a wish.
     {"fl6_oif"}},
    {"hop_limit", [](SendQueue& q) { ++*q.hop_limit; }, {"cork_ttl"}, {"cork6_hop_limit"}},
    {"hop_limit_not_given",
     [](SendQueue& q) { q.hop_limit.reset(); },
     {"cork_ttl"},
     {"cork6_hop_limit"}},
    {"traffic_class",
     [](SendQueue& q) { *q.traffic_class ^= 0x80; },
     {"cork_tos"},
     {"cork6_tclass", "fl6_flowlabel"}},
    {"priority", [](SendQueue& q) { ++q.priority; }, {"cork_priority"}, {"cork_priority"}},
    {"mark", [](SendQueue& q) { ++q.mark; }, {"cork_mark"}, {"cork_mark", "fl6_mark"}},
    {"txtime", [](SendQueue& q) { ++*q.txtime; }, {"cork_transmit_time"}, {"cork_transmit_time"}},
    {"tsflags",
     [](SendQueue& q) { q.tsflags |= SOF_TIMESTAMPING_TX_SCHED; },
     {"skb_tx_flags"},
     {"skb_tx_flags"}},
    {"tskey",
     [](SendQueue& q) { ++q.tskey; },
     {"cork_ts_opt_id", "skb_tskey"},
     {"cork_ts_opt_id", "skb_tskey"}},
    {"gso_size", [](SendQueue& q) { ++*q.gso_size; }, {"cork_gso_size"}, {"cork_gso_size"}},
    {"confirm",
     [](SendQueue& q) { q.confirm = true; },
     {"skb_dst_pending_confirm"},
     {"skb_dst_pending_confirm"}},
    {"payload_length",
     [](SendQueue& q) { q.payload.push_back(0); },
     {"udp_len", "cork_length", "skb_len", "payload"},
     {"udp_len", "cork_length", "skb_len", "payload"}},
    {"payload_byte", [](SendQueue& q) { q.payload.back() ^= 1; }, {"payload"}, {"payload"}},
    {"options",
     [](SendQueue& q) {
       if (q.family == Family::kIpv4) q.ip_options[1] = 7;  // room for one address, not for two
       if (q.family == Family::kIpv6) q.hop_by_hop[5] = 1;  // another kind of router alert
     },
     {"cork_opt"},
     {"cork6_hopopt"}},
    {"no_options",
     [](SendQueue& q) {
       q.ip_options.clear();
       q.hop_by_hop.clear();
     },
     {"cork_opt", "skb_len"},
     {"cork6_hopopt", "cork6_opt_lengths", "skb_len"}},
    {"headers",
     [](SendQueue& q) {
       if (q.family != Family::kIpv6) return;
       q.routing_dst[4] = 1;
       q.routing.back() = 0x78;
       q.dst[4] = 1;
     },
     {},
     {"cork6_dst0opt", "cork6_srcrt", "cork6_dst1opt"}},
    {"flow_label",
     [](SendQueue& q) {
       if (q.family == Family::kIpv6) *q.flow_label ^= 1;
     },
     {},
     {"fl6_flowlabel"}},
    {"dontfrag", [](SendQueue& q) { q.dontfrag = false; }, {}, {"cork6_dontfrag"}},
};

struct MutationCase {
  std::string name;
  const Peer* peer;
  const Mutation* mutation;

  friend void PrintTo(const MutationCase& param, std::ostream* out) { *out << param.name; }
};

std::vector<MutationCase> mutation_cases() {
  std::vector<MutationCase> cases;
  for (const Peer& peer : kPeers)
    for (const Mutation& mutation : kMutations)
      cases.push_back({std::string(peer.name) + "_" + mutation.name, &peer, &mutation});
  return cases;
}

class WitnessMutationTest : public WitnessTest,
                            public ::testing::WithParamInterface<MutationCase> {};

TEST_P(WitnessMutationTest, ShowsWhereItWasMade) {
  const Peer& peer = *GetParam().peer;
  const Mutation& mutation = *GetParam().mutation;
  ASSERT_OK_AND_ASSIGN(UnderConstruction original, begin(peer, rich_recipe()));
  Sighting before = look(*original.fd);

  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(*original.fd));
  ASSERT_TRUE(queue.has_value());
  ASSERT_EQ(queue->payload, original.payload);
  mutation.change(*queue);
  ASSERT_OK_AND_ASSIGN(const Fd* fresh, make_socket(peer, rich_recipe(), mutation.port));
  ASSERT_THAT(restore_send_queue(*fresh, *queue), IsOk());

  std::vector<std::string> differences =
      datagram_differences(before.snapshot, look(*fresh).snapshot, true);
  std::vector<std::string> names;
  for (const std::string& line : differences) names.push_back(line.substr(0, line.find(':')));
  EXPECT_THAT(names, UnorderedElementsAreArray(peer.family == Family::kIpv4 ? mutation.shows_v4
                                                                            : mutation.shows_v6))
      << ::testing::PrintToString(differences);
}

INSTANTIATE_TEST_SUITE_P(All, WitnessMutationTest, ValuesIn(mutation_cases()), ParamName());

// Also those that no datagram of ours differs in: no row of the table is dead.
TEST_P(WitnessPeerTest, EveryFieldOfTheFamilyIsCompared) {
  ASSERT_OK_AND_ASSIGN(UnderConstruction original, begin(GetParam(), rich_recipe()));
  witness_snapshot snapshot = look(*original.fd).snapshot;
  for (const WitnessField& field : witness_fields()) {
    witness_snapshot changed = snapshot;
    // The first byte of a blob says whether it is there, that of the payload how long it is.
    reinterpret_cast<unsigned char*>(&changed)[field.offset] ^= 0x40;
    std::vector<std::string> differences = datagram_differences(snapshot, changed, true);
    if (field.applies_to(GetParam().family)) {
      EXPECT_THAT(differences, ElementsAre(StartsWith(std::string(field.name) + ":")));
    } else {
      EXPECT_THAT(differences, IsEmpty()) << field.name;
    }
  }
}

TEST_P(WitnessPeerTest, MemoryChangesAreSeen) {
  ASSERT_OK_AND_ASSIGN(UnderConstruction original, begin(GetParam(), plain_recipe()));
  witness_raw before = look(*original.fd).raw;
  EXPECT_THAT(memory_changes(before, look(*original.fd).raw), IsEmpty());

  // One byte more: sums in the socket, the skb, and a page that is referred to.
  const std::uint8_t byte[] = {'x'};
  ASSERT_THAT(send(*original.fd, {.payload = byte, .more = true}), IsOk());
  EXPECT_THAT(
      memory_changes(before, look(*original.fd).raw),
      AllOf(Contains(StartsWith("struct udp_sock at byte")), Contains(StartsWith("skb 0 at byte")),
            Contains(StartsWith("skb 0 shared info at byte")),
            Contains(StartsWith("skb 0 page references at byte"))));
}

TEST_F(WitnessTest, SeesNothingButUdpSockets) {
  Fd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_THAT(witness_->look(tcp.get()), FailsWith(ENOTSOCK));
  EXPECT_THAT(witness_->look(STDERR_FILENO), FailsWith(ENOTSOCK));
  EXPECT_THAT(witness_->look(999'999), FailsWith(ENOTSOCK));
}

TEST_F(WitnessTest, SeesThatNothingIsUnderConstruction) {
  ASSERT_OK_AND_ASSIGN(Fd fd, new_socket(AF_INET));
  witness_snapshot snapshot = look(fd).snapshot;
  EXPECT_EQ(snapshot.pending, 0);
  EXPECT_EQ(snapshot.skb_count, 0U);
}

}  // namespace
}  // namespace sockrepair::test

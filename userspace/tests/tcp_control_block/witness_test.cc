// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// A connection is moved to another host, and the kernel's own memory of the new socket is compared
// with that of the old one: every member of struct tcp_sock, by the table in members.cc. Then the
// connection goes on.

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "tcp_control_block/members.h"
#include "tcp_control_block/mover.h"
#include "tcp_control_block/situations.h"
#include "try.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::StartsWith;
using ::testing::ValuesIn;

constexpr std::uint8_t kEstablished = 1;
constexpr std::uint64_t kTwentyFourDaysUs = 24ULL * 86400 * 1'000'000;

// While a control block is read the socket may not change: a timer that runs out in between spoils
// the comparison, and it is begun again.
constexpr int kAttempts = 20;

// Members that reading a connection changes, and that say nothing about it.
bool of_the_reading(const std::string& path) {
  const MemberRule* const row = rule_of(path);
  return path == "repair_queue" || (row && row->rule == Rule::kSocket);
}

bool still(const KernelLayout& layout, const tcp_witness_snapshot& before,
           const tcp_witness_snapshot& after) {
  for (const KernelMember& member : layout.members()) {
    if (!of_the_reading(member.path) && member.value(before.sock) != member.value(after.sock))
      return false;
  }
  return true;
}

class TcpControlBlockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    static Result<TcpWitness> loaded = TcpWitness::load();
    ASSERT_TRUE(loaded.ok()) << loaded.error().describe();
    witness_ = &*loaded;
    static const Result<KernelLayout> v4 = KernelLayout::load("tcp_sock", socket_bases());
    static const Result<KernelLayout> v6 = KernelLayout::load("tcp6_sock", socket_bases());
    ASSERT_TRUE(v4.ok() && v6.ok()) << (v4.ok() ? v6 : v4).error().describe();
    v4_ = &*v4;
    v6_ = &*v6;
  }

  static const KernelLayout& layout(int domain) { return domain == AF_INET ? *v4_ : *v6_; }

  // Moves the server of `world` to a new host; it stays in repair mode.
  static Result<Connection> move(World& world, Witnessed& seen) {
    SOCKREPAIR_TRY(enter_repair(world.server));
    Connection image;
    int attempt = 0;
    do {
      if (++attempt > kAttempts) return Error{EAGAIN, "the socket never was at rest"};
      SOCKREPAIR_TRY_ASSIGN(seen.was, witness_->look(world.server.get()));
      SOCKREPAIR_TRY_ASSIGN(image.block, control_block(world.server));
      const tcp_repair_cb block = image.block;
      SOCKREPAIR_TRY_ASSIGN(seen.was_still, witness_->look(world.server.get()));
      SOCKREPAIR_TRY_ASSIGN(image, read_connection(world.server));
      SOCKREPAIR_TRY_ASSIGN(const tcp_witness_snapshot after, witness_->look(world.server.get()));
      image.block = block;
      if (still(seen.layout, seen.was, after)) break;
    } while (true);
    // No client sends anything new here, and an acknowledgment that is owed does not wait for long.
    SOCKREPAIR_TRY(world.silence_client(true));
    world.server.reset();
    SOCKREPAIR_TRY(world.hosts.replace_receiver());
    SOCKREPAIR_TRY_ASSIGN(world.server,
                          world.hosts.receiver.run([&] { return make_socket(image); }));
    image.block.flags = seen.flags;
    image.block.pause = seen.pause_us;
    SOCKREPAIR_TRY_ASSIGN(seen.fresh, witness_->look(world.server.get()));
    SOCKREPAIR_TRY(set_control_block(world.server, image.block));
    SOCKREPAIR_TRY_ASSIGN(seen.now, witness_->look(world.server.get()));
    SOCKREPAIR_TRY(world.silence_client(false));
    return image;
  }

  static inline TcpWitness* witness_ = nullptr;
  static inline const KernelLayout* v4_ = nullptr;
  static inline const KernelLayout* v6_ = nullptr;
};

class TcpMovedTest : public TcpControlBlockTest, public ::testing::WithParamInterface<Situation> {};

TEST_P(TcpMovedTest, EveryMemberIsWhatItHasToBe) {
  const Situation& situation = GetParam();
  ASSERT_OK_AND_ASSIGN(World world, make_world(situation));
  Witnessed seen{layout(situation.domain)};
  seen.flags = situation.flags;
  seen.pause_us = situation.pause_us;
  ASSERT_OK_AND_ASSIGN(const Connection image, move(world, seen));

  for (const auto& [path, holds] : situation.evidence) {
    ASSERT_NE(seen.layout.find(path), nullptr) << path;
    EXPECT_TRUE(holds(seen.old_value(path))) << path << " was " << seen.old_value(path);
  }
  for (const std::string& line : wrong_members(seen)) ADD_FAILURE() << line;

  // The connection goes on.
  ASSERT_THAT(world.deafen_client(false), IsOk());
  ASSERT_THAT(resume(world.server, image), IsOk());
  if (image.block.state != kEstablished) return;
  // The clock of a peer that was really left alone for a month would have gone on as well.
  if (situation.flags & TCP_REPAIR_CB_COUNT_PAUSE && situation.pause_us > kTwentyFourDaysUs) return;
  EXPECT_THAT(world.down.transfer(world.server, world.client, 50'000), IsOk());
  EXPECT_THAT(world.up.transfer(world.client, world.server, 50'000), IsOk());
}

INSTANTIATE_TEST_SUITE_P(All, TcpMovedTest, ValuesIn(situations()), ParamName());

// --- the table and the comparison themselves ---

// What the control block has to carry, or to report: by the names that it had in 2009, and what has
// come since. Those that are gone are in Documentation/networking/tcp_repair_cb.rst.
constexpr const char* kHasARow[] = {
    "rcv_nxt",
    "copied_seq",
    "rcv_wup",
    "snd_nxt",
    "snd_una",
    "snd_sml",
    "rcv_tstamp",
    "lsndtime",
    "snd_wl1",
    "snd_wnd",
    "max_window",
    "mss_cache",
    "window_clamp",
    "rcv_ssthresh",
    "advmss",
    "nonagle",
    "srtt_us",
    "mdev_us",
    "mdev_max_us",
    "rttvar_us",
    "rtt_seq",
    "packets_out",
    "retrans_out",
    "urg_data",
    "ecn_flags",
    "reordering",
    "snd_up",
    "keepalive_time",
    "keepalive_intvl",
    "keepalive_probes",
    "rcv_wnd",
    "write_seq",
    "pushed_seq",
    "lost_out",
    "sacked_out",
    "bytes_acked",
    "prior_ssthresh",
    "high_seq",
    "retrans_stamp",
    "undo_marker",
    "undo_retrans",
    "total_retrans",
    "urg_seq",
    "icsk_ack.pending",
    "icsk_ack.quick",
    "icsk_ack.pingpong",
    "icsk_ack.ato",
    "icsk_delack_timer.expires",
    "icsk_ack.lrcvtime",
    "icsk_ack.last_seg_size",
    "icsk_ack.rcv_mss",
    "rx_opt.ts_recent",
    "rx_opt.ts_recent_stamp",
    "rcv_mwnd_seq",
    "snd_cwnd",
    "snd_ssthresh",
    "icsk_rto",
    "icsk_backoff",
    "rtt_min.s[0].v",
    "rcv_rtt_est.rtt_us",
    "rcvq_space.space",
    "scaling_ratio",
    "icsk_user_timeout",
    "icsk_ca_ops",
    "received_ce",
    "received_ecn_bytes[0]",
    "delivered_ecn_bytes[2]",
    "tsoffset",
    "sk_timer.expires",
    "icsk_keepalive_timer.expires",
};

TEST_F(TcpControlBlockTest, WhatHasToBeCarriedOrReportedHasARow) {
  for (const char* path : kHasARow) {
    EXPECT_NE(v6_->find(path), nullptr) << path << " is no member";
    const MemberRule* const row = rule_of(path);
    ASSERT_NE(row, nullptr) << path;
    EXPECT_NE(row->rule, Rule::kSocket) << path;
  }
}

TEST_F(TcpControlBlockTest, EveryRowIsOfAMemberAndNoneIsThereTwice) {
  std::set<std::string> names;
  for (const MemberRule& row : member_rules()) {
    EXPECT_TRUE(names.insert(row.path).second) << row.path << " is there twice";
    bool found = false;
    for (const KernelMember& member : v6_->members()) found = found || rule_of(member.path) == &row;
    EXPECT_TRUE(found) << row.path << " is no member";
    EXPECT_EQ(row.rule == Rule::kDerived, row.check != nullptr) << row.path;
  }
}

TEST_F(TcpControlBlockTest, MembersAreWhereTheWitnessFindsThem) {
  ASSERT_OK_AND_ASSIGN(World world, make_world(situations().front()));
  ASSERT_OK_AND_ASSIGN(const tcp_witness_snapshot seen, witness_->look(world.server.get()));
  EXPECT_EQ(seen.size, v4_->size());
  const auto value = [&](const char* path) { return v4_->find(path)->value(seen.sock); };
  EXPECT_EQ(value("snd_wl1"), seen.snd_wl1);
  EXPECT_EQ(value("rcv_nxt"), seen.rcv_nxt);
  EXPECT_EQ(value("rcv_mwnd_seq"), seen.rcv_mwnd_seq);
  EXPECT_EQ(value("pred_flags"), seen.pred_flags);
  EXPECT_EQ(value("rx_opt.mss_clamp"), seen.mss_clamp);
  EXPECT_EQ(value("rx_opt.snd_wscale"), seen.snd_wscale);
  EXPECT_EQ(value("rx_opt.tstamp_ok"), seen.tstamp_ok);
  EXPECT_EQ(value("repair_queue"), seen.repair_queue);
}

// A member of the new socket that is another one is found, by its name, whatever its rule is.
TEST_F(TcpControlBlockTest, AnotherValueOfAnyMemberIsFound) {
  const auto is_here = [](const Situation& one) { return one.name == "retransmitted"; };
  const auto situation = std::find_if(situations().begin(), situations().end(), is_here);
  ASSERT_NE(situation, situations().end());
  ASSERT_OK_AND_ASSIGN(World world, make_world(*situation));
  Witnessed seen{layout(situation->domain)};
  seen.flags = situation->flags;
  ASSERT_THAT(move(world, seen), IsOk());

  int compared = 0;
  for (const KernelMember& member : seen.layout.members()) {
    const MemberRule* const row = rule_of(member.path);
    if (row && (row->rule == Rule::kNew || row->rule == Rule::kSocket)) continue;
    Witnessed changed = seen;
    // More than any tolerance: a quarter of a minute in the finest unit, 19 hours in jiffies. Of a
    // byte, a bit that is not the ECN field of an IP header.
    const std::uint64_t by = member.bits >= 32 ? 0x01000001 : member.bits == 8 ? 4 : 1;
    member.set_value(changed.now.sock, member.value(seen.now.sock) ^ by);
    // Timers that do not run.
    if (member.path == "icsk_delack_timer.expires" && !(seen.old_value("icsk_ack.pending") & 2))
      continue;
    EXPECT_THAT(judge(changed, member), StartsWith(member.path + ": "));
    ++compared;
  }
  EXPECT_GT(compared, 300);
}

// A time that is off by two seconds, or four where whole seconds are counted, is not within any
// tolerance, nor is a timer that runs, or does
// not, and should not, or should.
TEST_F(TcpControlBlockTest, TwoSecondsAreFound) {
  const auto is_here = [](const Situation& one) { return one.name == "retransmitted"; };
  const auto situation = std::find_if(situations().begin(), situations().end(), is_here);
  ASSERT_OK_AND_ASSIGN(World world, make_world(*situation));
  Witnessed seen{layout(situation->domain)};
  seen.flags = situation->flags;
  ASSERT_THAT(move(world, seen), IsOk());
  ASSERT_LT(seen.now.monotonic_ns - seen.fresh.monotonic_ns, 500'000'000U);
  ASSERT_LT(seen.was_still.monotonic_ns - seen.was.monotonic_ns, 500'000'000U);

  struct Unit {
    Rule rule;
    std::uint64_t in_a_second;
  };
  const Unit units[] = {{Rule::kJiffies, 250},          {Rule::kJiffiesOrNone, 250},
                        {Rule::kTimestampOrNone, 1000}, {Rule::kMillisecondsOrNone, 1000},
                        {Rule::kSecondsOrNone, 2},      {Rule::kTimer, 250}};
  for (const Unit& unit : units) {
    int found = 0;
    for (const KernelMember& member : seen.layout.members()) {
      const MemberRule* const row = rule_of(member.path);
      if (!row || row->rule != unit.rule || member.value(seen.now.sock) == 0) continue;
      if (unit.rule == Rule::kTimer &&
          seen.old_value(member.path.substr(0, member.path.rfind('.')) + ".entry.pprev") == 0)
        continue;
      for (const std::uint64_t by : {2 * unit.in_a_second, -2 * unit.in_a_second}) {
        Witnessed changed = seen;
        member.set_value(changed.now.sock, member.value(seen.now.sock) + by);
        EXPECT_THAT(judge(changed, member), StartsWith(member.path + ": "));
        ++found;
      }
    }
    // No probe is without an answer here.
    EXPECT_TRUE(found > 0 || unit.rule == Rule::kJiffiesOrNone) << static_cast<int>(unit.rule);
  }

  Witnessed stopped = seen;
  const KernelMember& entry = *seen.layout.find("icsk_keepalive_timer.entry.pprev");
  entry.set_value(stopped.now.sock, 0);
  EXPECT_THAT(judge(stopped, *seen.layout.find("icsk_keepalive_timer.expires")),
              StartsWith("icsk_keepalive_timer.expires: "));
}

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// A connection that is over for one side, and not yet for the other, goes to another host: what the
// peer still sends is answered there as it would have been here.
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <ostream>
#include <string>

#include "sockrepair/syscall.h"
#include "tcp_time_wait/world.h"
#include "try.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::uint64_t kSecond = 1000000;  // in microseconds

// Steps of the kernel's timers are longer than a microsecond, the longest 10 ms.
constexpr std::uint64_t kTick = 10000;

struct Row {
  std::string name;
  FamilyKind family;
  End end;
};

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.name;
}

std::vector<Row> rows() {
  std::vector<Row> all;
  for (const FamilyKind& family : kFamilies) {
    all.push_back({std::string("last_ack_") + family.name, family, End::kPending});
  }
  all.push_back({"fin_wait2_v6", kFamilies[1], End::kOpen});
  return all;
}

#define SKIP_UNLESS_RESTORABLE() \
  if (!can_restore_time_wait()) GTEST_SKIP() << "this kernel's TCP_REPAIR_CB has no TIME_WAIT"

class TimeWaitMovingTest : public ::testing::TestWithParam<Row> {};

// The same but for what time and place change.
void expect_same(TcpTimeWait after, const TcpTimeWait& before) {
  after.cookie = before.cookie;
  after.netns_cookie = before.netns_cookie;
  after.remaining = before.remaining;
  after.dumped_at = before.dumped_at;
  after.challenge_age = before.challenge_age;
  // connect(2) had chosen it.
  after.port_chosen = before.port_chosen;
  ASSERT_EQ(after.timestamps.has_value(), before.timestamps.has_value());
  if (after.timestamps) {
    // The clock of the connection stood still while nobody had it, and went on otherwise.
    EXPECT_GE(static_cast<std::int32_t>(after.timestamps->value - before.timestamps->value), 0);
    after.timestamps->value = before.timestamps->value;
    EXPECT_GE(after.timestamps->recent_age + kSecond, before.timestamps->recent_age);
    after.timestamps->recent_age = before.timestamps->recent_age;
  }
  EXPECT_TRUE(after == before) << after.describe() << "\n" << before.describe();
  EXPECT_EQ(after.snd_nxt, before.snd_nxt);
  EXPECT_EQ(after.rcv_nxt, before.rcv_nxt);
  EXPECT_EQ(after.rcv_wnd, before.rcv_wnd);
  EXPECT_EQ(after.rcv_scale, before.rcv_scale);
  EXPECT_EQ(after.mark, before.mark);
  EXPECT_EQ(after.priority, before.priority);
  EXPECT_EQ(after.traffic_class, before.traffic_class);
  EXPECT_EQ(after.reuse_address, before.reuse_address);
}

// What the peer has still to say arrives, is answered, and is the end of it.
void expect_peace(World& world, Pair& pair, End end) {
  if (end == End::kOpen) {
    ASSERT_THAT(sys::shutdown(pair.peer.get(), SHUT_WR), IsOk());
  }
  EXPECT_THAT(wait_for_state(pair.peer, TcpState::kClose), IsOk());
  EXPECT_THAT(sys::getsockopt<int>(pair.peer.get(), SOL_SOCKET, SO_ERROR), IsOkAndHolds(0));
  EXPECT_THAT(world.resets(), IsOkAndHolds(0u));
}

TEST_P(TimeWaitMovingTest, AnswersElsewhere) {
  SKIP_UNLESS_RESTORABLE();
  const Row& row = GetParam();
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(row.family, Opener::kPeer));
  const int fd = pair.ours.get();
  ASSERT_THAT(sys::setsockopt(fd, SOL_SOCKET, SO_PRIORITY, 3), IsOk());
  ASSERT_THAT(sys::setsockopt(fd, SOL_SOCKET, SO_MARK, 77), IsOk());
  ASSERT_THAT(sys::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1), IsOk());
  ASSERT_THAT(say(pair.ours, "some bytes"), IsOk());
  ASSERT_THAT(hear(pair.peer, "some bytes"), IsOk());
  ASSERT_THAT(close_ours(world, pair, row.end), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpTimeWait before, the_only_one(world));

  ASSERT_THAT(world.move(), IsOk());
  ASSERT_OK_AND_ASSIGN(std::uint64_t sent, world.segments_sent());
  EXPECT_THAT(world.ours().run([&] { return restore_tcp_time_wait(before); }), IsOk());
  EXPECT_THAT(world.segments_sent(), IsOkAndHolds(sent)) << "nothing is said unasked";
  ASSERT_OK_AND_ASSIGN(TcpTimeWait after, the_only_one(world));
  expect_same(after, before);
  // FIN_WAIT2 comes back in whole seconds.
  const std::uint64_t longer = row.end == End::kOpen ? kSecond : 0;
  EXPECT_LE(after.remaining, before.remaining + longer + kTick);
  EXPECT_GT(after.remaining, before.remaining - 10 * kSecond);

  ASSERT_THAT(world.let_pass(), IsOk());
  expect_peace(world, pair, row.end);
}

INSTANTIATE_TEST_SUITE_P(Ends, TimeWaitMovingTest, ::testing::ValuesIn(rows()), ParamName());

// What the rows above would be like if nothing came along.
TEST(TimeWaitLeftBehindTest, IsAnsweredWithAReset) {
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(kFamilies[0], Opener::kPeer));
  ASSERT_THAT(close_ours(world, pair, End::kPending), IsOk());
  ASSERT_THAT(world.move(), IsOk());
  ASSERT_THAT(world.let_pass(), IsOk());
  EXPECT_THAT(wait_for_state(pair.peer, TcpState::kClose), IsOk());
  EXPECT_THAT(world.resets(), IsOkAndHolds(1u));
}

struct PauseRow {
  std::string name;
  bool count;
  std::uint64_t pause;  // microseconds
  std::uint64_t less;   // that is left, microseconds
};

void PrintTo(const PauseRow& row, std::ostream* out) {
  *out << row.name;
}

class TimeWaitPauseTest : public ::testing::TestWithParam<PauseRow> {};

TEST_P(TimeWaitPauseTest, CountsOrDoesNot) {
  SKIP_UNLESS_RESTORABLE();
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(kFamilies[0], Opener::kPeer));
  ASSERT_THAT(close_ours(world, pair, End::kKnown), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpTimeWait before, the_only_one(world));
  ASSERT_THAT(world.move(), IsOk());
  TimeWaitRestoreOptions options;
  options.count_pause = GetParam().count;
  options.pause = GetParam().pause;
  ASSERT_THAT(world.ours().run([&] { return restore_tcp_time_wait(before, options); }), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpTimeWait after, the_only_one(world));
  const std::uint64_t wanted = before.remaining - GetParam().less;
  EXPECT_LE(after.remaining, wanted + kTick);
  EXPECT_GT(after.remaining, wanted - 10 * kSecond);
  // Their clock is that of the connection, in milliseconds.
  const auto later = static_cast<std::int32_t>(after.timestamps->value - before.timestamps->value);
  EXPECT_GE(later, static_cast<std::int32_t>(GetParam().less / 1000));
  EXPECT_LT(later, static_cast<std::int32_t>(GetParam().less / 1000 + 10000));
}

INSTANTIATE_TEST_SUITE_P(Pauses, TimeWaitPauseTest,
                         ::testing::Values(PauseRow{"not_counted", false, 20 * kSecond, 0},
                                           PauseRow{"counted", true, 20 * kSecond, 20 * kSecond}),
                         ParamName());

TEST(TimeWaitPreparedTest, LeavesNothingIfItDoesNotBegin) {
  SKIP_UNLESS_RESTORABLE();
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  for (End end : {End::kKnown, End::kOpen}) {
    ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(kFamilies[0], Opener::kPeer));
    ASSERT_THAT(close_ours(world, pair, end), IsOk());
    ASSERT_OK_AND_ASSIGN(std::vector<TcpTimeWait> all, remembered(world));
    ASSERT_THAT(all, SizeIs(1));
    ASSERT_THAT(world.ours().run([&] { return end_tcp_time_wait(all); }), IsOkAndHolds(1u));
    ASSERT_OK_AND_ASSIGN(std::uint64_t sent, world.segments_sent());
    {
      Result<PreparedTimeWait> prepared =
          world.ours().run([&] { return prepare_tcp_time_wait(all[0]); });
      ASSERT_THAT(prepared, IsOk());
      EXPECT_THAT(remembered(world), IsOkAndHolds(IsEmpty()));
    }
    EXPECT_THAT(remembered(world), IsOkAndHolds(IsEmpty()));
    EXPECT_THAT(world.segments_sent(), IsOkAndHolds(sent));
  }
}

// The kernel keeps a socket for what is more than the minute of an entry.
TEST(TimeWaitPreparedTest, MoreThanAMinuteOfFinWait2IsAnswered) {
  SKIP_UNLESS_RESTORABLE();
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(kFamilies[0], Opener::kPeer));
  ASSERT_THAT(close_ours(world, pair, End::kOpen), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpTimeWait found, the_only_one(world));
  found.remaining = 90 * kSecond;
  ASSERT_THAT(world.move(), IsOk());
  EXPECT_THAT(world.ours().run([&] { return restore_tcp_time_wait(found); }), IsOk());
  EXPECT_THAT(remembered(world), IsOkAndHolds(IsEmpty()));
  ASSERT_THAT(world.let_pass(), IsOk());
  expect_peace(world, pair, End::kOpen);
}

TEST(TimeWaitPreparedTest, LeavesNothingIfThereAreTooMany) {
  SKIP_UNLESS_RESTORABLE();
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(kFamilies[0], Opener::kPeer));
  ASSERT_THAT(close_ours(world, pair, End::kKnown), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpTimeWait found, the_only_one(world));
  ASSERT_THAT(world.move(), IsOk());
  ASSERT_THAT(world.ours().sysctl("ipv4.tcp_max_tw_buckets", "0"), IsOk());
  ASSERT_OK_AND_ASSIGN(std::uint64_t sent, world.segments_sent());
  EXPECT_THAT(world.ours().run([&] { return restore_tcp_time_wait(found); }), FailsWith(ENOBUFS));
  EXPECT_THAT(remembered(world), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(world.segments_sent(), IsOkAndHolds(sent));
}

TEST(TimeWaitPreparedTest, TakesThePlaceOfItselfButOfNothingElse) {
  SKIP_UNLESS_RESTORABLE();
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(kFamilies[0], Opener::kPeer));
  ASSERT_THAT(close_ours(world, pair, End::kKnown), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpTimeWait found, the_only_one(world));
  EXPECT_THAT(world.ours().run([&] { return restore_tcp_time_wait(found); }), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpTimeWait again, the_only_one(world));
  expect_same(again, found);

  ASSERT_OK_AND_ASSIGN(Pair living, world.connect(kFamilies[0], Opener::kPeer));
  ASSERT_OK_AND_ASSIGN(SocketAddress local, sys::getsockname(living.ours.get()));
  ASSERT_OK_AND_ASSIGN(SocketAddress peer, sys::getpeername(living.ours.get()));
  found.local = local.endpoint().value();
  found.peer = peer.endpoint().value();
  EXPECT_THAT(world.ours().run([&] { return restore_tcp_time_wait(found); }),
              FailsWith(EADDRNOTAVAIL, HasSubstr("is here")));
  EXPECT_THAT(state_of(living.ours), IsOkAndHolds(TcpState::kEstablished));
}

TEST(TimeWaitPreparedTest, WhatCannotBeMadeLeavesNothing) {
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(kFamilies[0], Opener::kPeer));
  ASSERT_THAT(close_ours(world, pair, End::kKnown), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpTimeWait found, the_only_one(world));
  ASSERT_THAT(world.move(), IsOk());
  found.device = InterfaceName{9, "nowhere0"};
  Result<void> restored = world.ours().run([&] { return restore_tcp_time_wait(found); });
  if (has_control_block())
    EXPECT_THAT(restored, FailsWith(ENODEV, HasSubstr("nowhere0")));
  else
    EXPECT_THAT(restored, FailsWith(EOPNOTSUPP, HasSubstr("state: TIME_WAIT")));
  EXPECT_THAT(remembered(world), IsOkAndHolds(IsEmpty()));
}

}  // namespace
}  // namespace sockrepair::test

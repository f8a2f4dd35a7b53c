// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What is found of connections that are over, against what their sockets said and what sock_diag
// says; and that they end when they are told to. On any kernel with type information.
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <ostream>
#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "sockrepair/tcp_detached.h"
#include "tcp_repair_calls.h"
#include "tcp_time_wait/world.h"
#include "try.h"
#include "util/matchers.h"
#include "util/param_name.h"
#include "util/privileges.h"

namespace sockrepair::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::uint64_t kSecond = 1000000;  // in microseconds

// What a socket says of its connection before it is closed.
struct Before {
  std::uint32_t snd_seq = 0;
  std::uint32_t rcv_seq = 0;
  std::uint32_t timestamp = 0;
  std::uint64_t cookie = 0;
};

Result<Before> look_at(const Fd& fd) {
  Before before;
  SOCKREPAIR_TRY(internal::enter_repair(fd.get()));
  SOCKREPAIR_TRY(internal::select_queue(fd.get(), TCP_SEND_QUEUE));
  SOCKREPAIR_TRY_ASSIGN(before.snd_seq, internal::read_sequence(fd.get()));
  SOCKREPAIR_TRY(internal::select_queue(fd.get(), TCP_RECV_QUEUE));
  SOCKREPAIR_TRY_ASSIGN(before.rcv_seq, internal::read_sequence(fd.get()));
  SOCKREPAIR_TRY_ASSIGN(before.timestamp,
                        sys::getsockopt<std::uint32_t>(fd.get(), IPPROTO_TCP, TCP_TIMESTAMP));
  SOCKREPAIR_TRY_ASSIGN(before.cookie,
                        sys::getsockopt<std::uint64_t>(fd.get(), SOL_SOCKET, SO_COOKIE));
  SOCKREPAIR_TRY(internal::leave_repair(fd.get(), false));
  return before;
}

struct Row {
  std::string name;
  FamilyKind family;
  Opener opener;
  End end;
  TimeWaitState state;
  std::uint64_t longest;  // that can be left, microseconds
};

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.name;
}

constexpr int kLinger = 9;  // seconds that FIN_WAIT2 lasts here

std::vector<Row> rows() {
  std::vector<Row> all;
  for (const FamilyKind& family : kFamilies) {
    all.push_back({std::string("over_") + family.name, family, Opener::kOurs, End::kKnown,
                   TimeWaitState::kTimeWait, 60 * kSecond});
  }
  all.push_back({"half_v4", kFamilies[0], Opener::kPeer, End::kOpen, TimeWaitState::kFinWait2,
                 kLinger * kSecond});
  return all;
}

class TimeWaitReadingTest : public ::testing::TestWithParam<Row> {};

TEST_P(TimeWaitReadingTest, IsFoundAsItWas) {
  const Row& row = GetParam();
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(row.family, row.opener));
  const int fd = pair.ours.get();
  const bool v6 = row.family.domain == AF_INET6;
  ASSERT_THAT(sys::setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, 0x48),
              IsOk());
  ASSERT_THAT(sys::setsockopt(fd, SOL_SOCKET, SO_PRIORITY, 5), IsOk());
  ASSERT_THAT(sys::setsockopt(fd, SOL_SOCKET, SO_MARK, 0x1234567), IsOk());
  ASSERT_THAT(sys::setsockopt(fd, IPPROTO_TCP, TCP_LINGER2, kLinger), IsOk());
  ASSERT_THAT(say(pair.ours, "seven.."), IsOk());
  ASSERT_THAT(hear(pair.peer, "seven.."), IsOk());
  ASSERT_THAT(say(pair.peer, "three"), IsOk());
  ASSERT_THAT(hear(pair.ours, "three"), IsOk());
  ASSERT_OK_AND_ASSIGN(Before before, look_at(pair.ours));
  // After repair mode, which some kernels leave with another value of it.
  ASSERT_THAT(sys::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1), IsOk());
  ASSERT_OK_AND_ASSIGN(SocketAddress local, sys::getsockname(fd));
  ASSERT_OK_AND_ASSIGN(SocketAddress peer, sys::getpeername(fd));

  ASSERT_THAT(close_ours(world, pair, row.end), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpTimeWait found, the_only_one(world));

  EXPECT_EQ(found.domain, row.family.domain);
  EXPECT_EQ(found.state, row.state);
  EXPECT_THAT(local.endpoint(), IsOkAndHolds(found.local));
  EXPECT_THAT(peer.endpoint(), IsOkAndHolds(found.peer));
  EXPECT_EQ(found.cookie, before.cookie);
  // FINs are counted.
  EXPECT_EQ(found.snd_nxt, before.snd_seq + 1);
  EXPECT_EQ(found.rcv_nxt, before.rcv_seq + (row.state == TimeWaitState::kTimeWait ? 1 : 0));
  EXPECT_NE(found.rcv_wnd, 0u);
  EXPECT_EQ(found.traffic_class, 0x48);
  EXPECT_EQ(found.priority, 5u);
  EXPECT_EQ(found.mark, 0x1234567u);
  EXPECT_TRUE(found.reuse_address);
  EXPECT_FALSE(found.reuse_port);
  EXPECT_FALSE(found.transparent);
  EXPECT_FALSE(found.device.has_value());
  EXPECT_EQ(found.keys, "");
  EXPECT_LE(found.remaining, row.longest);
  EXPECT_GT(found.remaining, row.longest / 2);
  ASSERT_TRUE(found.timestamps.has_value());
  EXPECT_FALSE(found.timestamps->microseconds);
  // Milliseconds later, and bit 0 of the other says something else.
  const auto later = static_cast<std::int32_t>(found.timestamps->value - before.timestamp);
  EXPECT_GE(later, -1);
  EXPECT_LT(later, 20000);
  EXPECT_NE(found.timestamps->recent, 0u);
  EXPECT_LT(found.timestamps->recent_age, 20 * kSecond);

  // sock_diag rounds to milliseconds, and was asked later.
  ASSERT_OK_AND_ASSIGN(std::vector<DetachedConnection> listed,
                       world.ours().run([] { return find_detached_connections(); }));
  ASSERT_THAT(listed, SizeIs(1));
  ASSERT_TRUE(listed[0].timer.has_value());
  const std::int64_t left = listed[0].timer->count() * 1000;
  EXPECT_LE(left, static_cast<std::int64_t>(found.remaining) + 1000);
  EXPECT_GT(left, static_cast<std::int64_t>(found.remaining - 5 * kSecond));
}

INSTANTIATE_TEST_SUITE_P(Ends, TimeWaitReadingTest, ::testing::ValuesIn(rows()), ParamName());

TEST(TimeWaitNamespaceTest, IsFoundInItsNamespaceOnly) {
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(kFamilies[0], Opener::kPeer));
  ASSERT_OK_AND_ASSIGN(Fd ours, world.socket(AF_INET));
  ASSERT_THAT(close_ours(world, pair, End::kKnown), IsOk());
  ASSERT_OK_AND_ASSIGN(std::vector<TcpTimeWait> here,
                       world.peer().run([] { return find_tcp_time_wait(); }));
  EXPECT_THAT(here, IsEmpty());
  // The thread stays where it is.
  ASSERT_OK_AND_ASSIGN(std::vector<TcpTimeWait> there,
                       world.peer().run([&] { return find_tcp_time_wait(ours.get()); }));
  ASSERT_THAT(there, SizeIs(1));
  ASSERT_OK_AND_ASSIGN(auto cookie,
                       sys::getsockopt<std::uint64_t>(ours.get(), SOL_SOCKET, SO_NETNS_COOKIE));
  EXPECT_EQ(there[0].netns_cookie, cookie);
  ASSERT_OK_AND_ASSIGN(here, world.peer().run([] { return find_tcp_time_wait(); }));
  EXPECT_THAT(here, IsEmpty());
}

class TimeWaitEndTest : public ::testing::TestWithParam<Row> {};

TEST_P(TimeWaitEndTest, EndsAndNothingElse) {
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(GetParam().family, Opener::kPeer));
  ASSERT_OK_AND_ASSIGN(Pair other, world.connect(GetParam().family, Opener::kPeer));
  ASSERT_OK_AND_ASSIGN(Pair bystander, world.connect(GetParam().family, Opener::kPeer));
  ASSERT_THAT(sys::setsockopt(pair.ours.get(), SOL_SOCKET, SO_REUSEADDR, 1), IsOk());
  ASSERT_THAT(close_ours(world, pair, GetParam().end), IsOk());
  ASSERT_OK_AND_ASSIGN(std::vector<TcpTimeWait> found, remembered(world));
  ASSERT_THAT(found, SizeIs(1));
  ASSERT_THAT(close_ours(world, bystander, GetParam().end), IsOk());

  // A listener that would get what was for the connection.
  ASSERT_OK_AND_ASSIGN(Fd listener, world.socket(GetParam().family.domain));
  ASSERT_THAT(sys::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, 1), IsOk());
  ASSERT_THAT(sys::bind(listener.get(), SocketAddress(found[0].local, GetParam().family.domain)),
              IsOk());
  ASSERT_EQ(::listen(listener.get(), 1), 0);

  ASSERT_OK_AND_ASSIGN(std::uint64_t sent, world.segments_sent());
  EXPECT_THAT(world.peer().run([&] { return end_tcp_time_wait(found, listener.get()); }),
              IsOkAndHolds(1u));
  ASSERT_OK_AND_ASSIGN(TcpTimeWait stays, the_only_one(world));
  EXPECT_FALSE(stays.local == found[0].local);
  EXPECT_THAT(world.peer().run([&] { return end_tcp_time_wait(found, listener.get()); }),
              IsOkAndHolds(0u));
  EXPECT_THAT(world.segments_sent(), IsOkAndHolds(sent));
  EXPECT_THAT(state_of(listener), IsOkAndHolds(TcpState::kListen));
  EXPECT_THAT(state_of(other.ours), IsOkAndHolds(TcpState::kEstablished));
}

INSTANTIATE_TEST_SUITE_P(Ends, TimeWaitEndTest, ::testing::Values(rows()[1], rows()[3]),
                         ParamName());

TEST(TimeWaitRightsTest, SaysWhichIsMissing) {
  auto find = []() -> Result<void> {
    Result<std::vector<TcpTimeWait>> found = find_tcp_time_wait();
    return found ? Result<void>() : found.error();
  };
  EXPECT_THAT(without_capabilities(find), FailsWith(EPERM, HasSubstr("CAP_BPF")));
  EXPECT_THAT(in_user_namespace(find), FailsWith(EPERM, HasSubstr("in the first user namespace")));
  TcpTimeWait nobody;
  EXPECT_THAT(without_capabilities([&]() -> Result<void> {
                Result<std::size_t> ended = end_tcp_time_wait(std::span(&nobody, 1));
                return ended ? Result<void>() : ended.error();
              }),
              IsOk())
      << "nothing to be ended takes no right";
}

}  // namespace
}  // namespace sockrepair::test

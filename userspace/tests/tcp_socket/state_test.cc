// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Connections in every state are moved to another host, with the control block and without, and
// live on there as they would have; the peer notices nothing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/syscall.h"
#include "sockrepair/tcp_socket.h"
#include "tcp_socket/state_kinds.h"
#include "tcp_socket/world.h"
#include "try.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair {

// How GoogleTest prints it.
void PrintTo(const OptionValue& option, std::ostream* out) {
  *out << option.describe();
}

}  // namespace sockrepair

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct Way {
  const char* name;
  bool control_block;
};
constexpr Way kWays[] = {{"control_block", true}, {"plain", false}};

struct Case {
  std::string name;
  StateKind kind;
  FamilyKind family;
  Opener opener;
  Way way;

  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

bool is_refused(const StateKind& kind, const Way& way) {
  return is_closing(kind.state) && !way.control_block;
}

// Who has opened the connection takes turns: it makes no difference to a state. Nor does the family
// to the plain way, which has calls for no address.
std::vector<Case> cases(bool refused) {
  std::vector<Case> all;
  Opener opener = Opener::kOurs;
  for (const Way& way : kWays) {
    for (const FamilyKind& family : kFamilies) {
      for (const StateKind& kind : state_kinds()) {
        if (is_refused(kind, way) != refused) continue;
        if (!way.control_block && &family != std::begin(kFamilies)) continue;
        opener = opener == Opener::kOurs ? Opener::kPeer : Opener::kOurs;
        all.push_back({kind.name + "_" + family.name + "_" + way.name, kind, family, opener, way});
      }
    }
  }
  return all;
}

// What changes by itself or follows from the host: sizes of buffers that were not set, where
// segments are received, and whether acknowledgments are delayed, which ends with the first one
// that comes too late.
bool is_comparable(const OptionValue& option) {
  if (option.level == SOL_SOCKET)
    return option.name != SO_RCVBUF && option.name != SO_SNDBUF && option.name != SO_INCOMING_CPU;
  return option.level != IPPROTO_TCP || option.name != TCP_QUICKACK;
}

std::vector<OptionValue> comparable(const TcpSocket& socket) {
  std::vector<OptionValue> options;
  std::copy_if(socket.options.begin(), socket.options.end(), std::back_inserter(options),
               is_comparable);
  return options;
}

void expect_same(const TcpSocket& got, const TcpSocket& want) {
  EXPECT_EQ(got.domain, want.domain);
  EXPECT_EQ(got.state, want.state) << tcp_state_name(got.state);
  EXPECT_EQ(got.local, want.local);
  EXPECT_EQ(got.peer, want.peer);
  EXPECT_EQ(got.nonblocking, want.nonblocking);
  EXPECT_EQ(got.receive_shutdown, want.receive_shutdown);
  EXPECT_THAT(comparable(got), ::testing::ElementsAreArray(comparable(want)));
  ASSERT_TRUE(got.connection && want.connection);
  const TcpConnection& a = *got.connection;
  const TcpConnection& b = *want.connection;
  EXPECT_EQ(a.mss_clamp, b.mss_clamp);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.sack, b.sack);
  EXPECT_EQ(a.timestamps, b.timestamps);
  EXPECT_EQ(a.snd_seq, b.snd_seq);
  EXPECT_EQ(a.rcv_seq, b.rcv_seq);
  EXPECT_EQ(a.receive_queue, b.receive_queue);
  if (a.unsent == b.unsent) {
    EXPECT_EQ(a.send_queue, b.send_queue);
    EXPECT_EQ(a.window.snd_wnd, b.window.snd_wnd);
  } else {
    // A cork holds for 200 ms, which a slow machine can take until here: then all of it is sent,
    // and what is left of the queue is what was not acknowledged.
    EXPECT_EQ(a.unsent, 0u);
    ASSERT_LE(a.send_queue.size(), b.send_queue.size());
    EXPECT_TRUE(std::equal(a.send_queue.rbegin(), a.send_queue.rend(), b.send_queue.rbegin()));
  }
  EXPECT_EQ(a.window.max_window, b.window.max_window);
  // What was announced to the peer holds; an acknowledgment since then can have announced more.
  const std::uint32_t more =
      a.window.rcv_wup + a.window.rcv_wnd - b.window.rcv_wup - b.window.rcv_wnd;
  EXPECT_GE(static_cast<std::int32_t>(more), 0);
}

class TcpStateTest : public ::testing::TestWithParam<Case> {
 protected:
  // Puts a connection into the state.
  Result<Pair> reach() {
    SOCKREPAIR_TRY_ASSIGN(Pair pair, world_->connect(GetParam().family, GetParam().opener));
    SOCKREPAIR_TRY(GetParam().kind.reach(pair));
    SOCKREPAIR_TRY_ASSIGN(resets_, world_->resets());
    return pair;
  }

  void SetUp() override {
    if (GetParam().way.control_block && !has_control_block())
      GTEST_SKIP() << "this kernel has no TCP_REPAIR_CB";
    Result<World> world = World::create();
    ASSERT_THAT(world, IsOk());
    world_.emplace(*std::move(world));
  }

  bool with_block() const { return GetParam().way.control_block; }

  TcpDumpOptions dump_options(bool leave_in_repair) const {
    TcpDumpOptions options;
    options.control_block = with_block();
    options.leave_in_repair = leave_in_repair;
    return options;
  }

  std::optional<World> world_;
  std::uint64_t resets_ = 0;
};

TEST_P(TcpStateTest, GoesOnElsewhere) {
  ASSERT_OK_AND_ASSIGN(Pair pair, reach());
  ASSERT_THAT(world_->cut(), IsOk());
  ASSERT_OK_AND_ASSIGN(const TcpSocket dump, dump_tcp_socket(pair.ours, dump_options(true)));
  EXPECT_EQ(dump.state, GetParam().kind.state) << dump.describe();
  EXPECT_EQ(dump.connection->control_block.has_value(), with_block());
  pair.ours.reset();
  EXPECT_THAT(world_->resets(), IsOkAndHolds(resets_));

  ASSERT_THAT(world_->move(), IsOk());
  ASSERT_OK_AND_ASSIGN(resets_, world_->resets());
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, world_->ours().run([&] {
    TcpRestoreOptions options;
    options.control_block = with_block();
    return restore_tcp_socket(dump, options);
  }));
  EXPECT_EQ(restored.method, with_block() ? TcpMethod::kControlBlock : TcpMethod::kPlain);
  pair.ours = std::move(restored.fd);
  ASSERT_OK_AND_ASSIGN(const TcpSocket again, dump_tcp_socket(pair.ours, dump_options(false)));
  expect_same(again, dump);

  ASSERT_THAT(world_->let_pass(), IsOk());
  EXPECT_THAT(GetParam().kind.finish(pair), IsOk()) << dump.describe();
  EXPECT_THAT(world_->resets(), IsOkAndHolds(resets_));
}

TEST_P(TcpStateTest, StaysWhereItIs) {
  ASSERT_OK_AND_ASSIGN(Pair pair, reach());
  ASSERT_OK_AND_ASSIGN(const TcpSocket dump, dump_tcp_socket(pair.ours, dump_options(false)));
  ASSERT_OK_AND_ASSIGN(const TcpSocket again, dump_tcp_socket(pair.ours, dump_options(true)));
  expect_same(again, dump);
  // The mode has an end.
  ASSERT_THAT(resume_tcp_source(pair.ours, again), IsOk());
  EXPECT_THAT(sys::getsockopt<int>(pair.ours.get(), IPPROTO_TCP, TCP_REPAIR), IsOkAndHolds(0));
  EXPECT_THAT(GetParam().kind.finish(pair), IsOk());
  EXPECT_THAT(world_->resets(), IsOkAndHolds(resets_));
}

using TcpRefusedStateTest = TcpStateTest;

TEST_P(TcpRefusedStateTest, GoesOnWhereItIs) {
  ASSERT_OK_AND_ASSIGN(Pair pair, reach());
  EXPECT_THAT(dump_tcp_socket(pair.ours, dump_options(true)),
              FailsWith(EOPNOTSUPP, AllOf(HasSubstr(tcp_state_name(GetParam().kind.state)),
                                          HasSubstr("TCP_REPAIR_CB"))));
  EXPECT_THAT(sys::getsockopt<int>(pair.ours.get(), IPPROTO_TCP, TCP_REPAIR), IsOkAndHolds(0));
  EXPECT_THAT(GetParam().kind.finish(pair), IsOk());
  EXPECT_THAT(world_->resets(), IsOkAndHolds(resets_));
}

INSTANTIATE_TEST_SUITE_P(All, TcpStateTest, ::testing::ValuesIn(cases(false)), ParamName());
INSTANTIATE_TEST_SUITE_P(All, TcpRefusedStateTest, ::testing::ValuesIn(cases(true)), ParamName());

}  // namespace
}  // namespace sockrepair::test

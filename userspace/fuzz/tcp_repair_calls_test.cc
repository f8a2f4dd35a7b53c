// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The fuzzer without its kernel: that a seed and a number are all a case depends on, that sequences
// hold every kind of call, what counts as impossible, and the command line.

#include "tcp_repair_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernel_log.h"
#include "tcp_repair_plan.h"
#include "util/param_name.h"

namespace sockrepair::fuzz {
namespace {

using test::ParamName;
using ::testing::ValuesIn;

std::vector<std::string> texts(Sequence sequence, int count) {
  std::vector<std::string> all;
  for (int i = 0; i < count; ++i) all.push_back(to_string(sequence.next()));
  return all;
}

TEST(FuzzSequenceTest, FollowsFromSeedCaseAndThread) {
  const std::uint64_t seed = case_seed(7, 3);
  EXPECT_EQ(texts(Sequence(seed, 0), kStepsPerThread), texts(Sequence(seed, 0), kStepsPerThread));
  EXPECT_NE(texts(Sequence(seed, 0), 20), texts(Sequence(seed, 1), 20));
  EXPECT_NE(texts(Sequence(seed, 0), 20), texts(Sequence(case_seed(7, 4), 0), 20));
  EXPECT_NE(texts(Sequence(seed, 0), 20), texts(Sequence(case_seed(8, 3), 0), 20));
}

// What a seed stands for must not depend on the compiler or its library. It does depend on what
// sequences are made of: whoever changes that changes these two values.
TEST(FuzzSequenceTest, IsTheSameOnEveryMachine) {
  const std::vector<std::string> calls = texts(Sequence(case_seed(1, 0), 0), 1000);
  std::uint64_t sum = 0;
  for (const std::string& call : calls)
    for (unsigned char c : call) sum = sum * 1099511628211ULL + c;
  EXPECT_EQ(calls.front(), "pair 5 0 v6 port 8");
  EXPECT_EQ(sum, 2684368829703476903U);
}

TEST(FuzzSequenceTest, HasEveryKindOfCall) {
  std::map<Op, int> seen;
  std::set<std::pair<int, int>> set;
  bool by_ring = false;
  for (std::uint64_t number = 0; number < 20; ++number) {
    Sequence sequence(case_seed(1, number), 0);
    for (int i = 0; i < kStepsPerThread; ++i) {
      const Call call = sequence.next();
      ++seen[call.op];
      by_ring |= call.ring;
      if (call.op == Op::kSet) set.insert({call.level, call.name});
    }
  }
  for (int op = 0; op < static_cast<int>(Op::kCount); ++op)
    EXPECT_GT(seen[static_cast<Op>(op)], 0) << op_name(static_cast<Op>(op));
  for (int name : {TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_TIMESTAMP})
    EXPECT_TRUE(set.contains({IPPROTO_TCP, name})) << name;
  EXPECT_TRUE(by_ring);
}

TEST(FuzzSequenceTest, ChildrenHaveNoChildren) {
  Sequence sequence(99);
  for (int i = 0; i < 100'000; ++i) ASSERT_NE(sequence.next().op, Op::kFork);
}

TEST(FuzzSequenceTest, StaysWithinTheSockets) {
  Sequence sequence(case_seed(1, 1), 1);
  for (int i = 0; i < 100'000; ++i) {
    const Call call = sequence.next();
    ASSERT_LT(call.slot, kSlots);
    ASSERT_LT(call.other, kSlots);
    ASSERT_LT(call.port, kPorts);
    ASSERT_LT(call.peer_port, kPorts);
    ASSERT_LE(call.option_count, call.options.size());
    if (call.op == Op::kSetOptions) {
      ASSERT_LE(call.length, sizeof(call.options));
    }
    if (call.op == Op::kReceive) {
      ASSERT_LE(call.length, 8192U);
    }
    if (call.op == Op::kGet) {
      ASSERT_LE(call.length, 64U);
    }
    if (call.op == Op::kSend) {
      ASSERT_LE(call.length, 1U << 16);
    }
  }
}

// Both kinds must be common, or half of the kernel's code is not reached.
TEST(FuzzSequenceTest, HasRightAndWrongOptions) {
  int right = 0;
  int wrong = 0;
  for (std::uint64_t number = 0; number < 10; ++number) {
    Sequence sequence(case_seed(1, number), 0);
    for (int i = 0; i < kStepsPerThread; ++i) {
      const Call call = sequence.next();
      if (call.op == Op::kSetOptions)
        ++(options_may_be_right(call.options, call.length) ? right : wrong);
    }
  }
  EXPECT_GT(right, (right + wrong) / 4);
  EXPECT_GT(wrong, (right + wrong) / 8);
}

TEST(FuzzSequenceTest, EverySecondCaseHasOneThread) {
  EXPECT_EQ(threads_of_case(0), 1U);
  EXPECT_EQ(threads_of_case(1), 2U);
  EXPECT_EQ(threads_of_case(2), 1U);
}

// --- what is impossible ---------------------------------------------------------------------

struct OptionCase {
  std::string name;
  std::vector<tcp_repair_opt> options;
  bool may;
  std::uint32_t more = 0;  // bytes

  friend void PrintTo(const OptionCase& param, std::ostream* out) { *out << param.name; }
};

const std::vector<OptionCase> kOptionCases = {
    {"none", {}, false},
    {"all", {{2, 1460}, {3, 7 | 14 << 16}, {4, 0}, {8, 0}}, true},
    {"mss_88", {{2, 88}}, true},
    {"mss_87", {{2, 87}}, false},
    {"mss_65535", {{2, 65535}}, true},
    {"mss_65536", {{2, 65536}}, false},
    {"snd_scale_15", {{3, 15}}, false},
    {"rcv_scale_15", {{3, 15 << 16}}, false},
    {"sack_1", {{4, 1}}, false},
    {"timestamp_1", {{8, 1}}, false},
    {"code_0", {{0, 0}}, false},
    {"code_5", {{2, 1460}, {5, 0}}, false},
    {"code_all_ones", {{~0U, 0}}, false},
    {"twice", {{4, 0}, {4, 0}}, false},
    {"trailing_byte", {{4, 0}}, false, 1},
};

class FuzzOptionsTest : public ::testing::TestWithParam<OptionCase> {};

TEST_P(FuzzOptionsTest, MayBeRight) {
  std::vector<tcp_repair_opt> memory = GetParam().options;
  const auto length =
      static_cast<std::uint32_t>(memory.size() * sizeof(tcp_repair_opt)) + GetParam().more;
  memory.resize(memory.size() + 1);
  EXPECT_EQ(options_may_be_right(memory, length), GetParam().may);
}

INSTANTIATE_TEST_SUITE_P(All, FuzzOptionsTest, ValuesIn(kOptionCases), ParamName());

TEST(FuzzWindowTest, MayBeRight) {
  constexpr std::uint32_t kMax = 65535U << 14;
  // snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup
  EXPECT_TRUE(window_may_be_right({0, 0, 0, 0, 0}));
  EXPECT_TRUE(window_may_be_right({0, kMax, kMax, kMax, 0}));
  EXPECT_FALSE(window_may_be_right({0, 1, 0, 0, 0}));
  EXPECT_FALSE(window_may_be_right({0, 0, kMax + 1, 0, 0}));
  EXPECT_FALSE(window_may_be_right({0, 0, 0, kMax + 1, 0}));
  EXPECT_FALSE(window_may_be_right({0, 0, 0xffffffff, 0, 0}));
}

TEST(FuzzWindowTest, ChangesAreAppliedInOrder) {
  WindowChange change;
  change.plain = true;
  change.plain_snd_wnd = 5;
  change.plain_rcv_wnd = 6;
  change.steps = {{{WindowChange::kRcvWup, true, 0xffffffff},
                   {WindowChange::kSndWl1, false, 9},
                   {WindowChange::kSndWl1, true, 2}}};
  change.count = 3;
  tcp_repair_window window{1, 2, 3, 4, 5};
  change.apply(window);
  EXPECT_EQ(window.snd_wl1, 11U);
  EXPECT_EQ(window.snd_wnd, 5U);
  EXPECT_EQ(window.max_window, 65535U);
  EXPECT_EQ(window.rcv_wnd, 6U);
  EXPECT_EQ(window.rcv_wup, 4U);
}

TEST(FuzzErrorTest, AreThoseOfTheDocumentation) {
  EXPECT_TRUE(error_is_documented(IPPROTO_TCP, TCP_REPAIR_OPTIONS, EFBIG));
  EXPECT_FALSE(error_is_documented(IPPROTO_TCP, TCP_REPAIR_WINDOW, EFBIG));
  EXPECT_FALSE(error_is_documented(IPPROTO_TCP, TCP_QUEUE_SEQ, EOPNOTSUPP));
  EXPECT_TRUE(error_is_documented(IPPROTO_TCP, TCP_TIMESTAMP, EPERM));
  EXPECT_TRUE(error_is_documented(IPPROTO_TCP, TCP_TIMESTAMP, 0));
  EXPECT_TRUE(error_is_documented(IPPROTO_TCP, TCP_MAXSEG, EOPNOTSUPP));
  // The same number, another option.
  EXPECT_TRUE(error_is_documented(SOL_SOCKET, TCP_REPAIR_WINDOW, EFBIG));
}

TEST(FuzzLogTest, KnowsSplats) {
  EXPECT_TRUE(is_splat("4,900,1,-;WARNING: net/ipv4/tcp_input.c:3000 at tcp_ack+0x1/0x2"));
  EXPECT_TRUE(is_splat("1,900,1,-;BUG: KASAN: slab-use-after-free in tcp_ack"));
  EXPECT_TRUE(
      is_splat("3,900,1,-;INFO: task tcp_repair_fuzz:99 blocked for more than 20 seconds."));
  EXPECT_FALSE(is_splat("6,900,1,-;TCP: request_sock_TCP: Possible SYN flooding on port 10000."));
}

// --- command line ---------------------------------------------------------------------------

std::optional<Plan> parse(std::vector<const char*> arguments) {
  return parse_plan(arguments);
}

TEST(FuzzPlanTest, Defaults) {
  const std::optional<Plan> plan = parse({});
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->seed);
  EXPECT_FALSE(plan->only_case);
  EXPECT_EQ(plan->calls, 1'000'000U);
  EXPECT_EQ(plan->lanes, 2U);
}

TEST(FuzzPlanTest, TakesAllArguments) {
  const std::optional<Plan> plan =
      parse({"--seed", "18446744073709551615", "--case", "0", "--steps", "9", "--trace", "--lanes",
             "64", "--calls", "10000000", "--times"});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->seed, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(plan->only_case, 0U);
  EXPECT_EQ(plan->steps, 9U);
  EXPECT_EQ(plan->lanes, 64U);
  EXPECT_EQ(plan->calls, 10'000'000U);
  EXPECT_TRUE(plan->trace && plan->times && !plan->list);
}

// What init appends for one case comes after the row's own arguments.
TEST(FuzzPlanTest, TheLastOneCounts) {
  const std::optional<Plan> plan = parse({"--calls", "5", "--calls", "6"});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->calls, 6U);
}

struct WrongPlan {
  std::string name;
  std::vector<const char*> arguments;

  friend void PrintTo(const WrongPlan& param, std::ostream* out) { *out << param.name; }
};

const std::vector<WrongPlan> kWrongPlans = {
    {"no_value", {"--seed"}},
    {"not_a_number", {"--seed", "x"}},
    {"empty", {"--seed", ""}},
    {"trailing", {"--seed", "1x"}},
    {"negative", {"--seed", "-1"}},
    {"too_large", {"--seed", "18446744073709551616"}},
    {"no_lanes", {"--lanes", "0"}},
    {"many_lanes", {"--lanes", "65"}},
    {"no_calls", {"--calls", "0"}},
    {"no_steps", {"--seed", "1", "--case", "1", "--steps", "0"}},
    {"unknown", {"--sed", "1"}},
    {"case_without_seed", {"--case", "1"}},
    {"list_without_case", {"--seed", "1", "--list"}},
    {"trace_without_case", {"--seed", "1", "--trace"}},
};

class FuzzWrongPlanTest : public ::testing::TestWithParam<WrongPlan> {};

TEST_P(FuzzWrongPlanTest, IsRefused) {
  EXPECT_FALSE(parse(GetParam().arguments));
}

INSTANTIATE_TEST_SUITE_P(All, FuzzWrongPlanTest, ValuesIn(kWrongPlans), ParamName());

TEST(FuzzPlanTest, NamesOfACaseLeadBackToIt) {
  EXPECT_EQ(case_name(7, 12), "tcp_repair_fuzz:seed=7.case=12");
  EXPECT_EQ(program_arguments(7, 12), "--seed 7 --case 12");
}

}  // namespace
}  // namespace sockrepair::fuzz

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Every rule of the table at its bounds, alone and against each other rule of the same call: the
// verdict is exact, a refused call changes no byte of the socket, and an accepted one stores what
// was given.

#include <cerrno>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tcp_witness/rules.h"
#include "tcp_witness/witness_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::IsEmpty;
using ::testing::IsSubsetOf;
using ::testing::ValuesIn;

// Scales of a connection; without scaling the option is not given.
struct Scale {
  const char* name;
  std::optional<std::uint32_t> snd;
  std::uint32_t rcv = 0;
};
const Scale kScales[] = {
    {"unscaled", std::nullopt}, {"scale_0", 0, 0}, {"scale_7_2", 7, 2}, {"scale_14", 14, 14}};

struct BoundsCase {
  std::string name;
  const Rule* rule;
  const Rule* partner;  // nullptr: alone
  const Scale* scale;   // nullptr: options are given, so there is none yet

  friend void PrintTo(const BoundsCase& param, std::ostream* out) { *out << param.name; }
};

std::vector<BoundsCase> bounds_cases() {
  std::vector<BoundsCase> cases;
  const auto add = [&cases](const Rule* rule, const Rule* partner) {
    std::string name(rule->name);
    if (partner) name += "_with_" + std::string(partner->name);
    if (rule->given == Given::kOptions) {
      cases.push_back({name, rule, partner, nullptr});
      return;
    }
    for (const Scale& scale : kScales)
      cases.push_back({name + "_" + scale.name, rule, partner, &scale});
  };
  for (Given given : {Given::kOptions, Given::kWindow}) {
    const std::vector<const Rule*> of = rules_of(given);
    for (std::size_t i = 0; i < of.size(); ++i) {
      add(of[i], nullptr);
      for (std::size_t j = 0; j < i; ++j) add(of[i], of[j]);
    }
  }
  return cases;
}

class TcpBoundsTest : public TcpWitnessTest, public ::testing::WithParamInterface<BoundsCase> {
 protected:
  static bool involves(std::string_view name) {
    const BoundsCase& param = GetParam();
    return param.rule->name == name || (param.partner && param.partner->name == name);
  }

  static Result<void> give(const Fd& fd, const Values& values) {
    const BoundsCase& param = GetParam();
    if (param.rule->given == Given::kWindow) return set_window(fd, values.window);
    // Only what is under test, in the order of the table.
    std::vector<tcp_repair_opt> options;
    if (involves("MSS")) options.push_back({kOptionMss, values.mss});
    // Two halves of a word: what does not fit into one would be another's.
    if (involves("snd_wscale") || involves("rcv_wscale"))
      options.push_back({kOptionWindow, (values.snd_wscale & 0xffff) | values.rcv_wscale << 16});
    if (involves("SACK_PERM")) options.push_back({kOptionSackPerm, values.sack_perm});
    if (involves("TIMESTAMP")) options.push_back({kOptionTimestamp, values.timestamp});
    return set_options(fd, options);
  }

  static void expect_stored(const Values& values, const tcp_witness_snapshot& memory) {
    if (GetParam().rule->given == Given::kWindow) {
      EXPECT_EQ(memory.snd_wl1, values.window.snd_wl1);
      EXPECT_EQ(memory.snd_wnd, values.window.snd_wnd);
      EXPECT_EQ(memory.max_window, values.window.max_window);
      EXPECT_EQ(memory.rcv_wnd, values.window.rcv_wnd);
      EXPECT_EQ(memory.rcv_wup, values.window.rcv_wup);
      EXPECT_EQ(memory.rcv_mwnd_seq, values.window.rcv_wup + values.window.rcv_wnd);
      return;
    }
    struct Stored {
      std::string_view name;
      bool as_given;
    };
    const Stored stored[] = {
        {"MSS", memory.mss_clamp == values.mss},
        {"snd_wscale", memory.wscale_ok && memory.snd_wscale == values.snd_wscale},
        {"rcv_wscale", memory.wscale_ok && memory.rcv_wscale == values.rcv_wscale},
        {"SACK_PERM", memory.sack_ok != 0},
        {"TIMESTAMP", memory.tstamp_ok != 0},
    };
    for (const Stored& one : stored) {
      EXPECT_TRUE(one.as_given || !involves(one.name)) << one.name;
    }
  }

  // What an accepted call may change at all, of the members that are known by name.
  static std::vector<std::string> may_change() {
    if (GetParam().rule->given == Given::kWindow)
      return {"snd_wl1", "snd_wnd",      "max_window", "rcv_wnd",
              "rcv_wup", "rcv_mwnd_seq", "mss_cache",  "pred_flags"};
    return {"mss_clamp",    "mss_cache",    "wscale_ok",     "snd_wscale",   "rcv_wscale",
            "window_clamp", "rcv_ssthresh", "rcv_wnd",       "rcv_mwnd_seq", "sack_ok",
            "tstamp_ok",    "pred_flags",   "tcp_header_len"};
  }
};

TEST_P(TcpBoundsTest, VerdictIsExactAndRefusalChangesNothing) {
  const BoundsCase& param = GetParam();
  const bool options = param.rule->given == Given::kOptions;
  // A failure shows the values.
  std::mt19937 random(std::random_device{}());

  Limits limits{kRcvSeq, 0, 0};
  if (param.scale) limits = {kRcvSeq, param.scale->snd.value_or(0), param.scale->rcv};
  const auto fresh = [&param]() -> Result<Fd> {
    Result<Fd> fd = lonely(AF_INET);
    if (fd && param.scale && param.scale->snd) {
      Result<void> set = set_scale(*fd, *param.scale->snd, param.scale->rcv);
      if (!set) return set.error();
    }
    return fd;
  };
  ASSERT_OK_AND_ASSIGN(Fd fd, fresh());

  Values values = good_values(limits);
  std::vector<std::uint32_t> partners = {0};
  if (param.partner) partners = boundary_values(*param.partner, limits, values, random);
  int refused = 0;
  int accepted = 0;
  for (std::uint32_t partner : partners) {
    if (param.partner) param.partner->value(values) = partner;
    for (std::uint32_t number : boundary_values(*param.rule, limits, values, random)) {
      param.rule->value(values) = number;
      if (options) {
        // A scale has 16 bits of its option.
        values.snd_wscale &= 0xffff;
        values.rcv_wscale &= 0xffff;
      }
      SCOPED_TRACE(std::string(param.rule->name) + " " + std::to_string(number) + ", partner " +
                   std::to_string(partner));
      const int expected = verdict(param.rule->given, limits, values);
      const TcpState before = look(fd);
      const Result<void> given = give(fd, values);
      const TcpState after = look_again(fd);
      ASSERT_EQ(given ? 0 : given.error().code, expected);
      if (expected != 0) {
        ++refused;
        expect_unchanged(before, after);
      } else {
        ++accepted;
        expect_stored(values, after.memory);
        EXPECT_THAT(tcp_field_changes(before.memory, after.memory), IsSubsetOf(may_change()));
        // Options that are in use bound what comes next.
        if (options) {
          ASSERT_OK_AND_ASSIGN(fd, fresh());
        }
      }
      if (HasFailure()) return;
    }
    values = good_values(limits);
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(accepted, 0);
}

INSTANTIATE_TEST_SUITE_P(All, TcpBoundsTest, ValuesIn(bounds_cases()), ParamName());

TEST(TcpRulesTest, EveryRuleIsTestedAloneAndWithEachOther) {
  std::size_t alone = 0;
  std::size_t pairs = 0;
  for (const BoundsCase& one : bounds_cases()) {
    if (one.scale && one.scale != kScales) continue;
    ++(one.partner ? pairs : alone);
  }
  EXPECT_EQ(alone, rules().size());
  EXPECT_EQ(pairs, 20U);  // of five options and of five windows
}

// A scale that is given after the windows is bounded by them.
struct LateScale {
  std::string name;
  std::uint32_t snd;
  std::uint32_t rcv;

  friend void PrintTo(const LateScale& param, std::ostream* out) { *out << param.name; }
};
const std::vector<LateScale> kLateScales = {
    {"scale_0", 0, 0},    {"scale_7_2", 7, 2},     {"scale_13", 13, 13},
    {"scale_14", 14, 14}, {"snd_scale_15", 15, 0}, {"rcv_scale_15", 0, 15},
};

class TcpLateScaleTest : public TcpWitnessTest, public ::testing::WithParamInterface<LateScale> {};

TEST_P(TcpLateScaleTest, MustHoldTheWindows) {
  const LateScale& param = GetParam();
  const std::uint32_t snd_max = max_window(std::min(param.snd, 14U));
  const std::uint32_t rcv_max = max_window(std::min(param.rcv, 14U));
  for (std::uint32_t max_wnd : {0U, 1U, snd_max - 1, snd_max, snd_max + 1, max_window(14)}) {
    for (std::uint32_t rcv_wnd : {0U, rcv_max, rcv_max + 1, max_window(14)}) {
      if (max_wnd > max_window(14) || rcv_wnd > max_window(14)) continue;
      SCOPED_TRACE("max_window " + std::to_string(max_wnd) + ", rcv_wnd " +
                   std::to_string(rcv_wnd));
      ASSERT_OK_AND_ASSIGN(Fd fd, lonely(AF_INET));
      ASSERT_THAT(set_scale(fd, 14, 14), IsOk());
      ASSERT_THAT(set_window(fd, {kRcvSeq, 0, max_wnd, rcv_wnd, kRcvSeq}), IsOk());
      const int expected = scale_verdict(param.snd, param.rcv, max_wnd, rcv_wnd);
      const TcpState before = look(fd);
      const Result<void> given = set_scale(fd, param.snd, param.rcv);
      const TcpState after = look_again(fd);
      ASSERT_EQ(given ? 0 : given.error().code, expected);
      if (expected != 0) {
        expect_unchanged(before, after);
      } else {
        EXPECT_EQ(after.memory.snd_wscale, param.snd);
        EXPECT_EQ(after.memory.rcv_wscale, param.rcv);
        EXPECT_LE(after.memory.rcv_wnd, max_window(param.rcv));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, TcpLateScaleTest, ValuesIn(kLateScales), ParamName());

}  // namespace
}  // namespace sockrepair::test

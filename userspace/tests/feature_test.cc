// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// feature.h: that each row of the table tells the truth. Needs root, but no kernel feature of ours:
// what the guest has to have is asked by the tool's own suite.

#include "sockrepair/feature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <set>
#include <string>

#include "sockrepair/syscall.h"
#include "sockrepair/udp_send_queue.h"
#include "util/matchers.h"
#include "util/net_ns.h"
#include "util/privileges.h"

namespace sockrepair::test {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

const Feature& feature(const std::string& name) {
  for (const Feature& row : features())
    if (row.name == name) return row;
  ADD_FAILURE() << "no feature " << name;
  return features().front();
}

TEST(FeatureTest, RowsAreWhole) {
  std::set<std::string> names;
  for (const Feature& row : features()) {
    SCOPED_TRACE(row.name);
    EXPECT_THAT(row.name, MatchesRegex("[a-z][a-z-]*"));
    EXPECT_TRUE(names.insert(row.name).second);
    EXPECT_GT(strlen(row.what), 0U);
    EXPECT_GT(strlen(row.cost), 0U);
  }
}

TEST(FeatureTest, SendQueueIsWhatTheLibraryFinds) {
  ASSERT_OK_AND_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_DGRAM, 0));
  Result<bool> has_mode = get_udp_repair(fd);
  Result<void> there = feature("udp-send-queue").probe();
  EXPECT_EQ(there.ok(), has_mode.ok());
  if (!there) {
    EXPECT_THAT(there, FailsWith(ENOPROTOOPT, HasSubstr("getsockopt")));
  }
}

TEST(FeatureTest, ProbingLeavesNoDescriptorOpen) {
  ASSERT_OK_AND_ASSIGN(Fd before, sys::socket(AF_INET, SOCK_DGRAM, 0));
  for (const Feature& row : features()) {
    Result<void> there = row.probe();
    (void)there;
  }
  ASSERT_OK_AND_ASSIGN(Fd after, sys::socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_EQ(after.get(), before.get() + 1);
}

// The rights of whoever asks are part of the answer.
class RightTest : public ::testing::TestWithParam<const char*> {};

TEST_P(RightTest, IsMissedWithoutCapabilities) {
  const Feature& row = feature(GetParam());
  Result<void> as_root = row.probe();
  if (!as_root && as_root.error().code != EPERM) {
    // Without the option itself, that is what is said to everybody.
    EXPECT_THAT(without_capabilities(row.probe), FailsWith(as_root.error().code));
    return;
  }
  ASSERT_THAT(as_root, IsOk());
  EXPECT_THAT(without_capabilities(row.probe), FailsWith(EPERM));
  EXPECT_THAT(in_user_namespace(row.probe), IsOk());
}

INSTANTIATE_TEST_SUITE_P(All, RightTest,
                         ::testing::Values("udp-send-queue", "udp-receive-queue", "transparent",
                                           "ptrace", "socket-netns", "tcp-repair",
                                           "tcp-control-block", "tcp-ao", "connection-lock"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace sockrepair::test

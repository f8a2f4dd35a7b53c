// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What nft(8) is told, and that a program which locks nothing has not loaded libnftables.
#include "lock_rules.h"

#include <fstream>
#include <string>
#include <vector>

#include "util/matchers.h"

namespace sockrepair::internal {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

FourTuple tuple(const char* local, const char* peer) {
  return {{*IpAddress::parse(local), 80, 0}, {*IpAddress::parse(peer), 4000, 0}};
}

TEST(LockRules, AddOneElementPerConnectionToTheSetOfItsFamily) {
  const std::vector<FourTuple> connections = {tuple("192.0.2.1", "192.0.2.2"),
                                              tuple("2001:db8::1", "2001:db8::2"),
                                              tuple("::ffff:192.0.2.3", "::ffff:192.0.2.4")};
  EXPECT_THAT(
      lock_element_commands("t", connections),
      test::IsOkAndHolds("add element inet t v4 { 192.0.2.1 . 80 . 192.0.2.2 . 4000, "
                         "192.0.2.3 . 80 . 192.0.2.4 . 4000 }\n"
                         "add element inet t v6 { 2001:db8::1 . 80 . 2001:db8::2 . 4000 }\n"));
}

TEST(LockRules, AreNothingForNoConnection) {
  EXPECT_THAT(lock_element_commands("t", {}), test::IsOkAndHolds(""));
}

TEST(LockRules, MatchWhatIsLocalByItsDirection) {
  const std::string commands = lock_table_commands("t");
  EXPECT_THAT(commands, HasSubstr("add rule inet t input ip daddr . tcp dport . ip saddr . tcp "
                                  "sport @v4 drop\n"));
  EXPECT_THAT(commands, HasSubstr("add rule inet t output ip6 saddr . tcp sport . ip6 daddr . tcp "
                                  "dport @v6 drop\n"));
}

TEST(LockRules, LoadNoLibraryUntilSomebodyLocks) {
  std::ifstream maps("/proc/self/maps");
  std::string all((std::istreambuf_iterator<char>(maps)), std::istreambuf_iterator<char>());
  EXPECT_THAT(all, HasSubstr("libc.so"));
  EXPECT_THAT(all, Not(HasSubstr("libnftables")));
}

}  // namespace
}  // namespace sockrepair::internal

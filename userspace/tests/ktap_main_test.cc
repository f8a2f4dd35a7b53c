// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The main() of all suites, on a program whose tests pass, fail and skip in every way. The program
// is this one: started by itself with SOCKREPAIR_KTAP_SAMPLE=1 it has these tests as well.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <utility>

#include "util/command.h"
#include "util/matchers.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// --- the sample ---

class SampleTest : public ::testing::Test {
 public:
  explicit SampleTest(std::function<void()> body) : body_(std::move(body)) {}
  void TestBody() override { body_(); }

 private:
  std::function<void()> body_;
};

class BrokenSuiteTest : public ::testing::Test {
 public:
  static void SetUpTestSuite() { FAIL() << "nothing to test on"; }
  void TestBody() override {}
};

void add_sample(const char* suite, const char* name, std::function<void()> body) {
  ::testing::RegisterTest(
      suite, name, nullptr, nullptr, __FILE__, __LINE__,
      [body = std::move(body)]() -> SampleTest* { return new SampleTest(body); });
}

[[maybe_unused]] const bool added = [] {
  if (getenv("SOCKREPAIR_KTAP_SAMPLE") == nullptr) return false;
  add_sample("Good", "passes", [] {});
  add_sample("Good", "skips", [] { GTEST_SKIP() << "no such\nhardware"; });
  add_sample("Bad", "fails", [] { FAIL() << "two\nlines"; });
  add_sample("Bad", "skips", [] { GTEST_SKIP(); });
  ::testing::RegisterTest("Broken", "never_runs", nullptr, nullptr, __FILE__, __LINE__,
                          []() -> BrokenSuiteTest* { return new BrokenSuiteTest; });
  return true;
}();

// --- the tests ---

// Runs the sample's tests that match `filter`.
Result<std::string> run_sample(const std::string& filter, bool ktap) {
  char self[PATH_MAX] = {};
  if (::readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
    return Error{errno, "readlink(/proc/self/exe)"};
  return run_command({"env", "SOCKREPAIR_KTAP_SAMPLE=1",
                      std::string("SOCKREPAIR_KTAP=") + (ktap ? "1" : "0"), self,
                      "--gtest_filter=" + filter});
}

TEST(KtapMainTest, GoodRun) {
  EXPECT_THAT(run_sample("Good.*", true),
              IsOkAndHolds("KTAP version 1\n"
                           "1..2\n"
                           "ok 1 Good.passes\n"
                           "ok 2 Good.skips # SKIP no such hardware\n"));
}

TEST(KtapMainTest, FailureHasItsText) {
  EXPECT_THAT(run_sample("Bad.fails:Good.passes", true),
              FailsWith(EIO, AllOf(HasSubstr("1..2\nok 1 Good.passes\n# ktap_main_test.cc:"),
                                   HasSubstr("\n# Failed\n# two\n# lines\nnot ok 2 Bad.fails\n"))));
}

TEST(KtapMainTest, SkipWithoutReasonIsAFailure) {
  EXPECT_THAT(run_sample("Bad.skips", true),
              FailsWith(EIO, HasSubstr("1..1\n# skipped without a reason\nnot ok 1 Bad.skips\n")));
  EXPECT_THAT(run_sample("Bad.skips", false), FailsWith(EIO));
}

TEST(KtapMainTest, BrokenSuiteIsAFailure) {
  EXPECT_THAT(run_sample("Broken.*", true),
              FailsWith(EIO, AllOf(HasSubstr("# nothing to test on\n"),
                                   HasSubstr("# the set-up of the suite failed\n"
                                             "not ok 1 Broken.never_runs\n"))));
}

TEST(KtapMainTest, NothingThatRanIsAFailure) {
  EXPECT_THAT(run_sample("NoSuch.*", true),
              FailsWith(EIO, AllOf(HasSubstr("KTAP version 1\n1..0\n"), HasSubstr("no test ran"))));
  EXPECT_THAT(run_sample("NoSuch.*", false), FailsWith(EIO, HasSubstr("no test ran")));
}

TEST(KtapMainTest, PeopleGetTheUsualOutput) {
  EXPECT_THAT(run_sample("Good.*", false),
              IsOkAndHolds(AllOf(HasSubstr("[  PASSED  ] 1 test."), Not(HasSubstr("KTAP")))));
}

}  // namespace
}  // namespace sockrepair::test

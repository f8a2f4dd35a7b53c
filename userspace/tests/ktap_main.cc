// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// main() of every GoogleTest suite.
//
// With SOCKREPAIR_KTAP=1 in the environment the results go to stdout as KTAP, else GoogleTest's
// own output does. In both cases the exit status is 0 only if at least one test ran, none failed
// and every skip gave its reason.

#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <string_view>

namespace {

using ::testing::TestEventListener;
using ::testing::TestInfo;
using ::testing::TestPartResult;
using ::testing::TestSuite;
using ::testing::UnitTest;

// Every line of `text` as a KTAP diagnostic.
void print_diagnostic(std::string_view text) {
  while (!text.empty()) {
    std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    printf("# %.*s\n", static_cast<int>(line.size()), line.data());
    text = end == std::string_view::npos ? "" : text.substr(end + 1);
  }
}

// The reason a test gave for its skip; empty if it gave none.
std::string skip_reason(const TestInfo& test) {
  std::string reason;
  for (int i = 0; i < test.result()->total_part_count(); ++i) {
    const TestPartResult& part = test.result()->GetTestPartResult(i);
    if (!part.skipped()) continue;
    for (const char* c = part.message(); *c != '\0'; ++c) reason += *c == '\n' ? ' ' : *c;
  }
  std::size_t first = reason.find_first_not_of(' ');
  std::size_t last = reason.find_last_not_of(' ');
  return first == std::string::npos ? "" : reason.substr(first, last - first + 1);
}

// True when the set-up or tear-down of the whole suite failed: GoogleTest then skips its tests.
bool suite_failed(const TestInfo& test) {
  const UnitTest& unit = *UnitTest::GetInstance();
  for (int i = 0; i < unit.total_test_suite_count(); ++i) {
    const TestSuite& suite = *unit.GetTestSuite(i);
    if (strcmp(suite.name(), test.test_suite_name()) == 0)
      return suite.ad_hoc_test_result().Failed();
  }
  return false;
}

// Decides what counts, whichever output was asked for.
class Verdict : public ::testing::EmptyTestEventListener {
 public:
  void OnTestEnd(const TestInfo& test) override {
    ++ran_;
    if (test.result()->Skipped() && skip_reason(test).empty()) bad_skip_ = true;
  }

  bool good() const { return ran_ > 0 && !bad_skip_ && UnitTest::GetInstance()->Passed(); }
  int ran() const { return ran_; }

 private:
  int ran_ = 0;
  bool bad_skip_ = false;
};

class KtapPrinter : public ::testing::EmptyTestEventListener {
 public:
  void OnTestProgramStart(const UnitTest& unit) override {
    printf("KTAP version 1\n1..%d\n", unit.test_to_run_count());
    fflush(stdout);
  }

  void OnTestPartResult(const TestPartResult& part) override {
    if (!part.failed()) return;
    if (part.file_name() != nullptr) {
      std::string_view file = part.file_name();
      std::size_t slash = file.rfind('/');
      if (slash != std::string_view::npos) file.remove_prefix(slash + 1);
      printf("# %.*s:%d:\n", static_cast<int>(file.size()), file.data(), part.line_number());
    }
    print_diagnostic(part.message());
    fflush(stdout);
  }

  void OnTestEnd(const TestInfo& test) override {
    ++number_;
    std::string name = std::string(test.test_suite_name()) + "." + test.name();
    std::string reason = test.result()->Skipped() ? skip_reason(test) : "";
    if (test.result()->Skipped() && suite_failed(test)) {
      printf("# the set-up of the suite failed\nnot ok %d %s\n", number_, name.c_str());
    } else if (test.result()->Skipped() && reason.empty()) {
      printf("# skipped without a reason\nnot ok %d %s\n", number_, name.c_str());
    } else if (test.result()->Skipped()) {
      printf("ok %d %s # SKIP %s\n", number_, name.c_str(), reason.c_str());
    } else {
      printf("%sok %d %s\n", test.result()->Failed() ? "not " : "", number_, name.c_str());
    }
    fflush(stdout);
  }

 private:
  int number_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc > 1) {
    fprintf(stderr, "%s: unknown argument '%s'\n", argv[0], argv[1]);
    return 2;
  }

  ::testing::TestEventListeners& listeners = UnitTest::GetInstance()->listeners();
  const char* ktap = getenv("SOCKREPAIR_KTAP");
  if (ktap != nullptr && strcmp(ktap, "1") == 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new KtapPrinter);
  }
  Verdict* verdict = new Verdict;
  listeners.Append(verdict);

  bool passed = RUN_ALL_TESTS() == 0;
  if (::testing::GTEST_FLAG(list_tests)) return 0;
  if (verdict->ran() == 0) {
    fprintf(stderr, "%s: no test ran\n", argv[0]);
    return 1;
  }
  return passed && verdict->good() ? 0 : 1;
}

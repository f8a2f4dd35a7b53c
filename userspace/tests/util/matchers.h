// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_MATCHERS_H_
#define SOCKREPAIR_TESTS_UTIL_MATCHERS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <utility>

#include "sockrepair/error.h"
#include "sockrepair/loss.h"
#include "sockrepair/result.h"
#include "sockrepair/udp_receive_queue.h"
#include "sockrepair/udp_send_queue.h"

// Matchers that take the Result of a call, never the ambient errno.
//
//   EXPECT_THAT(sys::bind(fd.get(), address), IsOk());
//   EXPECT_THAT(get_udp_repair(fd), IsOkAndHolds(true));
//   EXPECT_THAT(set_udp_repair(fd, true), FailsWith(EPERM));
//   EXPECT_THAT(restore_send_queue(fd, queue), FailsWith(EADDRNOTAVAIL, HasSubstr("source_port")));
//   ASSERT_OK_AND_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_DGRAM, 0));
//   EXPECT_THAT(restored, SameQueueAs(original));
//
// When one fails, the error of the Result is in the output:
//
//   Expected: succeeds
//     Actual: bind(3, 10.0.0.1:53): EADDRINUSE (Address already in use)

namespace sockrepair {

// How GoogleTest prints these types; found by argument-dependent lookup.
template <typename T>
void PrintTo(const Result<T>& result, std::ostream* out) {
  if (!result.ok()) {
    *out << result.error().describe();
  } else if constexpr (std::is_void_v<T>) {
    *out << "success";
  } else {
    ::testing::internal::UniversalPrint(*result, out);
  }
}
inline void PrintTo(const Error& error, std::ostream* out) {
  *out << error.describe();
}
inline void PrintTo(const SendQueue& queue, std::ostream* out) {
  *out << "\n" + queue.describe();
}
inline void PrintTo(const ReceivedDatagram& datagram, std::ostream* out) {
  *out << "\n" + datagram.describe();
}
inline void PrintTo(const Loss& loss, std::ostream* out) {
  *out << loss.describe();
}
inline void PrintTo(const IpAddress& address, std::ostream* out) {
  *out << address.to_string();
}
inline void PrintTo(const Endpoint& endpoint, std::ostream* out) {
  *out << endpoint.to_string();
}

}  // namespace sockrepair

namespace sockrepair::test {

MATCHER(IsOk, negation ? "fails" : "succeeds") {
  return arg.ok();
}

MATCHER_P(IsOkAndHolds, value,
          std::string(negation ? "does not succeed with " : "succeeds with ") +
              ::testing::PrintToString(value)) {
  return arg.ok() && ::testing::ExplainMatchResult(value, *arg, result_listener);
}

namespace matchers_internal {
MATCHER_P2(FailsWithMatcher, code, what,
           std::string(negation ? "does not fail with " : "fails with ") + errno_text(code)) {
  return !arg.ok() && arg.error().code == code &&
         ::testing::ExplainMatchResult(what, arg.error().what, result_listener);
}
}  // namespace matchers_internal

// An errno number.
inline auto FailsWith(int code) {
  return matchers_internal::FailsWithMatcher(code, ::testing::_);
}
// An errno number, and a matcher of Error::what.
template <typename What>
auto FailsWith(int code, What what) {
  return matchers_internal::FailsWithMatcher(code, what);
}

// Equal in every member; lists those that are not.
MATCHER_P(SameQueueAs, want, negation ? "is another send queue" : "is the same send queue") {
  for (const std::string& line : differences(arg, want)) *result_listener << "\n  " << line;
  return arg == want;
}

}  // namespace sockrepair::test

// Declares or sets `declaration` from the value of the Result `...`, or fails the test and returns.
#define ASSERT_OK_AND_ASSIGN(declaration, ...) \
  SOCKREPAIR_ASSERT_OK_AT(SOCKREPAIR_ASSERT_OK_JOIN(assert_ok_, __LINE__), declaration, __VA_ARGS__)
#define SOCKREPAIR_ASSERT_OK_AT(result, declaration, ...) \
  auto result = (__VA_ARGS__);                            \
  ASSERT_TRUE(result.ok()) << result.error().describe();  \
  declaration = *std::move(result)
#define SOCKREPAIR_ASSERT_OK_JOIN(a, b) SOCKREPAIR_ASSERT_OK_JOIN_NOW(a, b)
#define SOCKREPAIR_ASSERT_OK_JOIN_NOW(a, b) a##b

#endif  // SOCKREPAIR_TESTS_UTIL_MATCHERS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_ERROR_QUEUE_H_
#define SOCKREPAIR_TESTS_UTIL_ERROR_QUEUE_H_

#include <cstdint>
#include <ostream>
#include <vector>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/deadline.h"

namespace sockrepair::test {

// One message of a socket's error queue (struct sock_extended_err).
//
//   ASSERT_OK_AND_ASSIGN(ErrorMessage message, next_error(fd));
//   EXPECT_EQ(message.origin, SO_EE_ORIGIN_TIMESTAMPING);
//   EXPECT_EQ(message.data, 77u);  // the key
struct ErrorMessage {
  int code = 0;            // ENOMSG for time stamps, 0 for zerocopy completions
  int origin = 0;          // SO_EE_ORIGIN_*
  std::uint32_t info = 0;  // time stamp: SCM_TSTAMP_*; zerocopy: first number
  std::uint32_t data = 0;  // time stamp: key; zerocopy: last number
  bool has_timestamp = false;
};

void PrintTo(const ErrorMessage& message, std::ostream* out);

// The next message. ETIMEDOUT when none comes before the deadline.
Result<ErrorMessage> next_error(const Fd& fd, Deadline deadline = Deadline::after(kPatience));

// What is there, without waiting.
Result<std::vector<ErrorMessage>> drain_errors(const Fd& fd);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_ERROR_QUEUE_H_

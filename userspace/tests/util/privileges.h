// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_PRIVILEGES_H_
#define SOCKREPAIR_TESTS_UTIL_PRIVILEGES_H_

#include <functional>
#include <string>

#include "sockrepair/result.h"

// Running a function as somebody else. It runs in a child process: what it changes is gone
// afterwards, descriptors of this process are there, and assertions in it are lost: it returns its
// verdict. Call with no other threads running.
//
//   EXPECT_THAT(without_capabilities([&] { return set_udp_repair(fd, true); }), FailsWith(EPERM));
namespace sockrepair::test {

// Root without a single capability.
Result<void> without_capabilities(const std::function<Result<void>()>& function);

// An ordinary user's root: uid 65534 makes a user namespace, is root in there, and owns the network
// namespace that the function runs in (lo up).
Result<void> in_user_namespace(const std::function<Result<void>()>& function);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_PRIVILEGES_H_

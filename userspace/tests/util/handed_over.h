// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_HANDED_OVER_H_
#define SOCKREPAIR_TESTS_UTIL_HANDED_OVER_H_

#include <string>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// The other side of `sockrepair restore --send-to PATH`.
namespace sockrepair::test {

// A unix stream socket that listens at `path`.
Result<Fd> listen_at(const std::string& path);

// One line, with the descriptor that came with it, if one did.
struct Message {
  std::string line;
  Fd descriptor;
};
Result<Message> receive_message(const Fd& connection);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_HANDED_OVER_H_

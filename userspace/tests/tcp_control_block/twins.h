// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_TWINS_H_
#define SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_TWINS_H_

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "sockrepair/result.h"
#include "tcp_control_block/situations.h"

// Connections that are brought to the same point twice. The server's end of one of them is moved to
// another host there, and then the programs at both ends cannot tell it from the other one.
namespace sockrepair::test {

struct Twins {
  std::string name;
  std::function<Result<void>(World& world)> prepare;
  // What both programs see from there on, a line each.
  std::function<Result<std::vector<std::string>>(World& world)> observe;

  friend void PrintTo(const Twins& param, std::ostream* out) { *out << param.name; }
};
const std::vector<Twins>& twins();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_TWINS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_SOCKET_STATE_KINDS_H_
#define SOCKREPAIR_TESTS_UDP_SOCKET_STATE_KINDS_H_

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

namespace sockrepair::test {

// A state that a program gets a socket into. The host is the one of state_test.cc: lo, and device0
// with 192.0.2.1/24, 2001:db8::1/64 and fe80::1.
struct StateKind {
  std::string name;  // [A-Za-z0-9_]
  int domain;
  // The calls of the program, on a new socket.
  Result<void> (*reach)(const Fd&);
  // What the dump has to conclude; nothing: that it cannot know.
  std::optional<bool> address_chosen = std::nullopt;
  std::optional<bool> port_chosen = std::nullopt;
};

inline void PrintTo(const StateKind& kind, std::ostream* out) {
  *out << kind.name;
}

std::vector<StateKind> state_kinds();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_SOCKET_STATE_KINDS_H_

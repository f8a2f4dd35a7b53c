// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_SOCKET_STATE_KINDS_H_
#define SOCKREPAIR_TESTS_TCP_SOCKET_STATE_KINDS_H_

#include <ostream>
#include <string>
#include <vector>

#include "sockrepair/result.h"
#include "tcp_socket/world.h"

namespace sockrepair::test {

// A moment in the life of a connection.
struct StateKind {
  std::string name;  // [A-Za-z0-9_]
  TcpState state;
  // What both programs do until then, from a new connection on.
  Result<void> (*reach)(Pair&);
  // The rest of its life; an error if it is not the one that it would have had.
  Result<void> (*finish)(Pair&);
};

inline void PrintTo(const StateKind& kind, std::ostream* out) {
  *out << kind.name;
}

std::vector<StateKind> state_kinds();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_SOCKET_STATE_KINDS_H_

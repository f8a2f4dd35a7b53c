// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_KINDS_H_
#define SOCKREPAIR_TESTS_MIGRATION_KINDS_H_

#include <chrono>
#include <ostream>
#include <string>
#include <vector>

#include "sockrepair/address.h"

namespace sockrepair::test {

// How a connection is moved, and in which network.
struct MigrationKind {
  std::string name;
  Family family;
  const char* netem;               // parameters of tc-netem(8), the same for both directions
  std::chrono::milliseconds hold;  // how long the connection is nowhere, at least
  bool count_pause;                // TcpRestoreOptions::count_pause
  unsigned divisor;  // of the number of migrations: a long hold is repeated less often
};
inline void PrintTo(const MigrationKind& kind, std::ostream* out) {
  *out << kind.name;
}

std::vector<MigrationKind> migration_kinds();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_KINDS_H_

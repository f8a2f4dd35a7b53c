// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_KINDS_H_
#define SOCKREPAIR_TESTS_MIGRATION_KINDS_H_

#include <ostream>
#include <string>
#include <vector>

#include "sockrepair/address.h"

namespace sockrepair::test {

// A network that a connection is moved in.
struct MigrationKind {
  std::string name;
  Family family;
  const char* netem;  // parameters of tc-netem(8), the same for both directions
};
inline void PrintTo(const MigrationKind& kind, std::ostream* out) {
  *out << kind.name;
}

std::vector<MigrationKind> migration_kinds();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_KINDS_H_

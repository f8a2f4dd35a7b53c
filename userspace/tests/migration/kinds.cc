// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/kinds.h"

#include <utility>

namespace sockrepair::test {

namespace {

// A round trip takes 50 ms. What is reordered is not delayed: it overtakes all that is on its way.
constexpr char kEverything[] = "delay 25ms loss 0.5% duplicate 2% reorder 2%";
// Several round trips, and less than the retransmission timeout that a new connection begins with.
constexpr std::chrono::milliseconds kHold{250};

struct Row {
  const char* name;
  const char* netem;
  std::chrono::milliseconds hold{0};
  bool count_pause = false;
  unsigned divisor = 1;
};
constexpr Row kRows[] = {
    {"delay", "delay 25ms"},
    {"loss", "delay 25ms loss 1%"},
    {"reordering", "delay 25ms reorder 5%"},
    {"duplication", "delay 25ms duplicate 5%"},
    {"everything", kEverything},
    {"everything_held", kEverything, kHold, false, 25},
    {"everything_held_counted", kEverything, kHold, true, 25},
};

}  // namespace

std::vector<MigrationKind> migration_kinds() {
  std::vector<MigrationKind> all;
  for (const Row& row : kRows) {
    for (const auto& [prefix, family] :
         {std::pair{"v4_", Family::kIpv4}, std::pair{"v6_", Family::kIpv6}}) {
      all.push_back({std::string(prefix) + row.name, family, row.netem, row.hold, row.count_pause,
                     row.divisor});
    }
  }
  return all;
}

}  // namespace sockrepair::test

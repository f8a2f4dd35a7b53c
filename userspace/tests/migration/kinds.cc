// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/kinds.h"

namespace sockrepair::test {

namespace {

struct Network {
  const char* name;
  const char* netem;
};

// A round trip takes 50 ms. What is reordered is not delayed: it overtakes all that is on its way.
constexpr Network kNetworks[] = {
    {"delay", "delay 25ms"},
    {"loss", "delay 25ms loss 1%"},
    {"reordering", "delay 25ms reorder 5%"},
    {"duplication", "delay 25ms duplicate 5%"},
    {"everything", "delay 25ms loss 0.5% duplicate 2% reorder 2%"},
};

}  // namespace

std::vector<MigrationKind> migration_kinds() {
  std::vector<MigrationKind> all;
  for (const Network& network : kNetworks) {
    all.push_back({std::string("v4_") + network.name, Family::kIpv4, network.netem});
    all.push_back({std::string("v6_") + network.name, Family::kIpv6, network.netem});
  }
  return all;
}

}  // namespace sockrepair::test

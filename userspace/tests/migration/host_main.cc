// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// migration_host source|destination: a host of the connection in scripts/migrate. KTAP with one
// case, which passes when the peer has said that the test is over.

#include <array>
#include <cstdio>
#include <string_view>

#include "migration/host.h"

int main(int argc, char** argv) {
  using sockrepair::test::Station;
  constexpr std::array<Station, 2> kRoles = {Station::kSource, Station::kDestination};
  for (Station role : kRoles) {
    const char* name = sockrepair::test::station_name(role);
    if (argc != 2 || std::string_view(argv[1]) != name) continue;
    printf("KTAP version 1\n1..1\n");
    fflush(stdout);
    const auto served = sockrepair::test::Host(role).serve();
    if (!served) printf("# %s\n", served.error().describe().c_str());
    printf("%s 1 migration.%s\n", served ? "ok" : "not ok", name);
    return served ? 0 : 1;
  }
  fprintf(stderr, "usage: migration_host source|destination\n");
  return 2;
}

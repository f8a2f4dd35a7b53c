// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_SOCKET_OPTION_CASES_H_
#define SOCKREPAIR_TESTS_UDP_SOCKET_OPTION_CASES_H_

#include <ostream>
#include <string>
#include <vector>

#include "util/send.h"

namespace sockrepair::test {

// The interface in the namespaces of these tests besides lo, one end of a veth pair, with
// 192.0.2.1/24 and 2001:db8::1/64.
inline constexpr char kDevice[] = "device0";
inline constexpr unsigned kDeviceIndex = 2;

// A socket option that a program sets to something else than its default.
struct OptionCase {
  std::string name;  // [A-Za-z0-9_]
  int domain;
  // What the program sets, the option itself last.
  std::vector<SocketOption> set;
  // The row of the table that has to show it.
  int level;
  int option;
};

inline void PrintTo(const OptionCase& option, std::ostream* out) {
  *out << option.name;
}

// For every row of the table at least one case in every domain that has it.
std::vector<OptionCase> option_cases();

// Rows without a case, with the reason.
struct Uncovered {
  int level;
  int option;
  const char* reason;
};
std::vector<Uncovered> uncovered_rows();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_SOCKET_OPTION_CASES_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_COMMAND_H_
#define SOCKREPAIR_TESTS_UTIL_COMMAND_H_

#include <string>
#include <vector>

#include "sockrepair/result.h"

namespace sockrepair::test {

// Runs a program found by PATH, in the calling thread's namespaces, with `input` as its standard
// input, and gives what it wrote to stdout and stderr. An exit status other than 0 is an error
// (EIO) that holds the command and its output.
//
//   Result<std::string> out = run_command({"ip", "-batch", "-"}, "link set lo up\n");
Result<std::string> run_command(const std::vector<std::string>& argv,
                                const std::string& input = "");

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_COMMAND_H_

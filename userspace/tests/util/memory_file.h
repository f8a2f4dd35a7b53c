// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_MEMORY_FILE_H_
#define SOCKREPAIR_TESTS_UTIL_MEMORY_FILE_H_

#include <string>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

namespace sockrepair::test {

// A file in memory with `content`, at its beginning; for what a program reads, or what it says.
Result<Fd> memory_file(const char* name, const std::string& content = "");

// All of it, wherever the file position is.
std::string content_of(const Fd& file);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_MEMORY_FILE_H_

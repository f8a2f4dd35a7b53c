// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_PROC_FS_H_
#define SOCKREPAIR_LIB_PROC_FS_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sockrepair/result.h"

// What /proc and the cgroup file system say, as text.
namespace sockrepair::internal {

// The whole of a small file.
Result<std::string> read_small_file(const std::string& path);

// The names in a directory that are numbers, ascending: /proc/PID/fd, /proc/PID/task.
Result<std::vector<int>> numbers_in(const std::string& directory);

// The value of a line "KEY<separator>VALUE" without blanks around it; nothing if there is no such
// line.
std::optional<std::string> field_of(std::string_view text, std::string_view key, char separator);

// The letter of proc(5) for each thread that has not ended: R, S, D, T, t, ... ESRCH when none is.
Result<std::string> thread_states(pid_t pid);

// The directory of the process's cgroup in the version 2 hierarchy; nothing if that is not mounted
// or the cgroup is outside of what is.
Result<std::optional<std::string>> cgroup_directory(pid_t pid);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_PROC_FS_H_

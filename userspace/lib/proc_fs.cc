// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "proc_fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <sstream>

#include "sockrepair/fd.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n";
  std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// \040 and the like, as mountinfo writes blanks.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(&text[i + 1], &text[i + 1] + 3, code, 8).ptr == &text[i + 1] + 3) {
      plain += static_cast<char>(code);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

struct Mount {
  std::string root;
  std::string point;
};

std::optional<Mount> find_cgroup2(const std::string& mountinfo) {
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string skipped, root, point, word;
    words >> skipped >> skipped >> skipped >> root >> point;
    while (words >> word && word != "-") continue;
    if (words >> word && word == "cgroup2") return Mount{unescape(root), unescape(point)};
  }
  return std::nullopt;
}

}  // namespace

Result<std::string> read_small_file(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error{errno, "open(" + path + ")"};
  std::string text;
  char buffer[4096];
  for (;;) {
    ssize_t got = ::read(fd.get(), buffer, sizeof(buffer));
    if (got < 0) return Error{errno, "read(" + path + ")"};
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

Result<std::vector<int>> numbers_in(const std::string& directory) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
  if (!dir) return Error{errno, "opendir(" + directory + ")"};
  std::vector<int> numbers;
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get())) {
    std::string_view name = entry->d_name;
    int number = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error == std::errc() && end == name.data() + name.size()) numbers.push_back(number);
    errno = 0;
  }
  if (errno != 0) return Error{errno, "readdir(" + directory + ")"};
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

std::optional<std::string> field_of(std::string_view text, std::string_view key, char separator) {
  while (!text.empty()) {
    std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    std::size_t at = line.find(separator);
    if (at != std::string_view::npos && trim(line.substr(0, at)) == key)
      return std::string(trim(line.substr(at + 1)));
    text = end == std::string_view::npos ? "" : text.substr(end + 1);
  }
  return std::nullopt;
}

Result<std::string> thread_states(pid_t pid) {
  std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  Result<std::vector<int>> threads = numbers_in(tasks);
  if (!threads) return Error{ESRCH, threads.error().what};
  std::string states;
  for (int thread : *threads) {
    Result<std::string> stat = read_small_file(tasks + "/" + std::to_string(thread) + "/stat");
    // The name, which can hold anything, ends at the last parenthesis; the state follows. A thread
    // that has ended meanwhile has no file.
    std::size_t at = stat ? stat->rfind(") ") : std::string::npos;
    if (at == std::string::npos || at + 2 >= stat->size()) continue;
    char state = (*stat)[at + 2];
    if (state != 'Z' && state != 'X') states += state;
  }
  if (states.empty()) return Error{ESRCH, "no thread in " + tasks + " is alive"};
  return states;
}

Result<std::optional<std::string>> cgroup_directory(pid_t pid) {
  std::string file = "/proc/" + std::to_string(pid) + "/cgroup";
  SOCKREPAIR_TRY_ASSIGN(std::string groups, read_small_file(file));
  std::optional<std::string> line = field_of(groups, "0", ':');  // 0::PATH
  if (!line || !line->starts_with(":/") || line->starts_with(":/..")) return {std::nullopt};
  std::string path = line->substr(1);
  SOCKREPAIR_TRY_ASSIGN(std::string mounts, read_small_file("/proc/self/mountinfo"));
  std::optional<Mount> mount = find_cgroup2(mounts);
  if (!mount || mount->root.starts_with("/..")) return {std::nullopt};
  if (mount->root != "/") {
    if (path != mount->root && !path.starts_with(mount->root + "/")) return {std::nullopt};
    path = path.substr(mount->root.size());
  }
  return {mount->point + path};
}

}  // namespace sockrepair::internal

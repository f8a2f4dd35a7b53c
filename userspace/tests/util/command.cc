// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/command.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sockrepair/fd.h"

extern char** environ;

namespace sockrepair::test {

namespace {

std::string join(const std::vector<std::string>& argv) {
  std::string text;
  for (const std::string& word : argv) text += (text.empty() ? "" : " ") + word;
  return text;
}

// A file in memory with `content`, to be read from its beginning.
Result<Fd> memory_file(const std::string& content) {
  Fd fd(::memfd_create("input", MFD_CLOEXEC));
  if (!fd) return Error{errno, "memfd_create()"};
  if (::pwrite(fd.get(), content.data(), content.size(), 0) != static_cast<ssize_t>(content.size()))
    return Error{errno, "pwrite(memfd)"};
  return fd;
}

std::string content_of(const Fd& fd) {
  std::string content;
  char buffer[4096];
  off_t offset = 0;
  for (ssize_t n; (n = ::pread(fd.get(), buffer, sizeof(buffer), offset)) > 0; offset += n)
    content.append(buffer, static_cast<std::size_t>(n));
  return content;
}

}  // namespace

Result<std::string> run_command(const std::vector<std::string>& argv, const std::string& input) {
  Result<Fd> in = memory_file(input);
  if (!in) return in.error();
  Result<Fd> out = memory_file("");
  if (!out) return out.error();

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in->get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out->get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out->get(), STDERR_FILENO);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t pid = 0;
  int error = ::posix_spawnp(&pid, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Error{error, "running '" + join(argv) + "'"};

  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return Error{errno, "waitpid(" + join(argv) + ")"};
  std::string output = content_of(*out);
  if (status != 0) {
    return Error{
        EIO, "'" + join(argv) + "' ended with status " + std::to_string(status) + ": " + output};
  }
  return output;
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/command.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sockrepair/fd.h"
#include "util/memory_file.h"

extern char** environ;

namespace sockrepair::test {

namespace {

std::string join(const std::vector<std::string>& argv) {
  std::string text;
  for (const std::string& word : argv) text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

Result<std::string> run_command(const std::vector<std::string>& argv, const std::string& input) {
  Result<Fd> in = memory_file("input", input);
  if (!in) return in.error();
  Result<Fd> out = memory_file("output");
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

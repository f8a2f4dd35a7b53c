// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "proc_fs.h"
#include "try.h"
#include "util/memory_file.h"

extern char** environ;

namespace sockrepair::test {

std::string tool_path() {
  if (const char* path = getenv("SOCKREPAIR_TOOL")) return path;
  std::error_code failed;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", failed);
  std::filesystem::path built = self.parent_path().parent_path() / "tools/sockrepair";
  return std::filesystem::exists(built, failed) ? built.string() : "sockrepair";
}

void PrintTo(const Ran& ran, std::ostream* out) {
  *out << "exit status " << ran.status << "\nstdout:\n" << ran.out << "\nstderr:\n" << ran.err;
}

Result<Running> Running::start(const std::vector<std::string>& argv, const Fd& out) {
  SOCKREPAIR_TRY_ASSIGN(Fd kept, memory_file("stdout"));
  SOCKREPAIR_TRY_ASSIGN(Fd err, memory_file("stderr"));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out ? out.get() : kept.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.get(), STDERR_FILENO);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t pid = 0;
  int error = ::posix_spawnp(&pid, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Error{error, "posix_spawnp(" + argv.front() + ")"};
  return Running(pid, std::move(kept), std::move(err));
}

Running::~Running() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

std::string Running::out() const {
  return content_of(out_);
}

std::string Running::err() const {
  return content_of(err_);
}

void Running::signal(int number) const {
  ::kill(pid_, number);
}

Result<Ran> Running::wait(Deadline deadline) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!pidfd) return Error{errno, "pidfd_open()"};
  Result<void> ended =
      wait_for_events("process " + std::to_string(pid_) + " ends", pidfd.get(), POLLIN, deadline);
  if (!ended) {
    return Error{ended.error().code, ended.error().what + "; so far: " + out() + err()};
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0)
    if (errno != EINTR) return Error{errno, "waitpid()"};
  pid_ = -1;
  return Ran{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), out(), err()};
}

Result<void> Running::wait_for_name(const std::string& comm, Deadline deadline) const {
  Result<void> named = wait_until("process " + std::to_string(pid_) + " is " + comm, deadline, [&] {
    Result<std::string> name =
        sockrepair::internal::read_small_file("/proc/" + std::to_string(pid_) + "/comm");
    return name.ok() && *name == comm + "\n";
  });
  if (!named) return Error{named.error().code, named.error().what + "; it says: " + err()};
  return {};
}

Result<Running> start_tool(const std::vector<std::string>& arguments, const Fd& out) {
  std::vector<std::string> argv = {tool_path()};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return Running::start(argv, out);
}

Result<Ran> run_tool(const std::vector<std::string>& arguments) {
  SOCKREPAIR_TRY_ASSIGN(Running running, start_tool(arguments));
  return running.wait();
}

Result<TemporaryDirectory> TemporaryDirectory::create() {
  std::string name = std::filesystem::temp_directory_path().string() + "/sockrepair.XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) return Error{errno, "mkdtemp(" + name + ")"};
  return TemporaryDirectory(name);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> TemporaryDirectory::entries() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace sockrepair::test

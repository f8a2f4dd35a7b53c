// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "try.h"
#include "util/memory_file.h"

namespace sockrepair::bench {

namespace {

constexpr int kNoProgram = 127;  // as of a shell

struct Pipe {
  Fd read;
  Fd write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error{errno, "pipe2()"};
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

// Until `pid`, a child of this process, ends.
Result<Ended> reap(pid_t pid, test::Deadline deadline) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return Error{errno, "pidfd_open(" + std::to_string(pid) + ")"};
  SOCKREPAIR_TRY(test::wait_for_events("the end of process " + std::to_string(pid), pidfd.get(),
                                       POLLIN, deadline));
  int status = 0;
  rusage use{};
  while (::wait4(pid, &status, 0, &use) < 0)
    if (errno != EINTR) return Error{errno, "wait4(" + std::to_string(pid) + ")"};
  return Ended{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
               static_cast<std::size_t>(use.ru_maxrss)};
}

}  // namespace

Result<Child> Child::start(const std::vector<std::string>& argv, const Options& options) {
  Child child;
  child.name_ = argv.front();
  Pipe in, out;
  if (options.pipes) {
    SOCKREPAIR_TRY_ASSIGN(in, make_pipe());
    SOCKREPAIR_TRY_ASSIGN(out, make_pipe());
  } else {
    SOCKREPAIR_TRY_ASSIGN(out.read, test::memory_file("stdout"));
  }
  SOCKREPAIR_TRY_ASSIGN(child.err_, test::memory_file("stderr"));

  Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null) return Error{errno, "open(/dev/null)"};
  const int descriptors[] = {options.pipes ? in.read.get() : null.get(),
                             options.pipes ? out.write.get() : out.read.get(), child.err_.get()};
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);

  child.begin_ = std::chrono::steady_clock::now();
  // Not vfork(2) or posix_spawn(3): the peak of a process that shares this one's memory before
  // execve(2) begins with all of that.
  child.pid_ = ::fork();
  if (child.pid_ < 0) return Error{errno, "fork()"};
  if (child.pid_ == 0) {
    ::setsid();
    for (int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
      if (::dup2(descriptors[number], number) != number) ::_exit(kNoProgram);
    if (!options.preload.empty()) ::setenv("LD_PRELOAD", options.preload.c_str(), 1);
    ::execvp(words[0], words.data());
    ::_exit(kNoProgram);
  }
  child.in_ = std::move(in.write);
  child.out_ = std::move(out.read);
  return child;
}

Child Child::adopt(pid_t pid) {
  Child child;
  child.pid_ = pid;
  child.name_ = "process " + std::to_string(pid);
  return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      name_(std::move(other.name_)),
      begin_(other.begin_),
      in_(std::move(other.in_)),
      out_(std::move(other.out_)),
      err_(std::move(other.err_)) {}

Child::~Child() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

double Child::milliseconds() const {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin_)
      .count();
}

std::string Child::out() const {
  return test::content_of(out_);
}

std::string Child::err() const {
  return test::content_of(err_);
}

Result<void> Child::tell(char word) const {
  if (::write(in_.get(), &word, 1) != 1) return Error{errno, "write() to " + name_};
  return {};
}

Result<void> Child::hear(char word, test::Deadline deadline) const {
  SOCKREPAIR_TRY(test::wait_for_events("a word from " + name_, out_.get(), POLLIN, deadline));
  char heard = '\0';
  if (::read(out_.get(), &heard, 1) < 0) return Error{errno, "read() from " + name_};
  if (heard != word) return Error{EPROTO, name_ + " did not say what it should: " + err()};
  return {};
}

Result<Ended> Child::succeed(test::Deadline deadline) {
  return end_with(0, deadline);
}

Result<Ended> Child::be_killed(test::Deadline deadline) {
  return end_with(128 + SIGKILL, deadline);
}

Result<Ended> Child::end_with(int status, test::Deadline deadline) {
  SOCKREPAIR_TRY_ASSIGN(Ended ended, reap(pid_, deadline));
  pid_ = -1;
  if (ended.status == status) return ended;
  return Error{EIO, name_ + " ended with status " + std::to_string(ended.status) + ": " + err()};
}

}  // namespace sockrepair::bench

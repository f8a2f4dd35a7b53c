// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/live_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

#include "proc_fs.h"
#include "try.h"

namespace sockrepair::test {

namespace {

// One word and its newline; nothing at the end of the line.
std::optional<std::string> read_word(int fd) {
  std::string word;
  for (char c; ::read(fd, &c, 1) == 1;) {
    if (c == '\n') return word;
    word += c;
  }
  return std::nullopt;
}

bool write_word(int fd, const std::string& word) {
  std::string line = word + "\n";
  return ::send(fd, line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size());
}

}  // namespace

void LiveProcess::Line::say(const std::string& word) const {
  if (!write_word(fd_, word)) ::_exit(1);
}

std::string LiveProcess::Line::hear() const {
  std::optional<std::string> word = read_word(fd_);
  if (!word) ::_exit(0);
  return *word;
}

void LiveProcess::Line::wait_for_end() const {
  for (;;) hear();
}

Result<LiveProcess> LiveProcess::start(const std::function<void(const Line&)>& body) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return Error{errno, "socketpair()"};
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  pid_t pid = ::fork();
  if (pid < 0) return Error{errno, "fork()"};
  if (pid == 0) {
    ::setpgid(0, 0);
    ours.reset();
    body(Line(theirs.get()));
    ::_exit(0);
  }
  return LiveProcess(pid, std::move(ours));
}

Result<std::string> LiveProcess::heard(Deadline deadline) {
  SOCKREPAIR_TRY(wait_for_events("process " + std::to_string(pid_) + " says something", line_.get(),
                                 POLLIN, deadline));
  std::optional<std::string> word = read_word(line_.get());
  if (!word) return Error{ECONNRESET, "process " + std::to_string(pid_) + " has ended"};
  return *word;
}

Result<void> LiveProcess::tell(const std::string& word) {
  if (!write_word(line_.get(), word))
    return Error{EPIPE, "telling process " + std::to_string(pid_)};
  return {};
}

void LiveProcess::end() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
  pid_ = -1;
}

Result<std::string> LiveProcess::states() const {
  return sockrepair::internal::thread_states(pid_);
}

Result<void> LiveProcess::wait_for_state(char state, Deadline deadline) const {
  return wait_until("process " + std::to_string(pid_) + " is in state " + state, deadline, [&] {
    Result<std::string> all = states();
    return all.ok() && all->find_first_not_of(state) == std::string::npos;
  });
}

Result<Cgroup> Cgroup::create(const std::string& name) {
  SOCKREPAIR_TRY_ASSIGN(std::optional<std::string> own,
                        sockrepair::internal::cgroup_directory(::getpid()));
  if (!own) return Error{ENOENT, "a version 2 cgroup of this process"};
  std::string path = *own + "/" + name + "-" + std::to_string(::getpid());
  if (::mkdir(path.c_str(), 0755) != 0) return Error{errno, "mkdir(" + path + ")"};
  return Cgroup(path);
}

Cgroup::~Cgroup() {
  if (path_.empty()) return;
  // A process that was reaped can still be on its way out of the group.
  Result<void> removed = wait_until("rmdir(" + path_ + ") succeeds", Deadline::after(kPatience),
                                    [&] { return ::rmdir(path_.c_str()) == 0 || errno != EBUSY; });
  (void)removed;
}

Result<void> Cgroup::add(pid_t pid) const {
  return write("cgroup.procs", std::to_string(pid));
}

Result<void> Cgroup::write(const std::string& file, const std::string& text) const {
  std::string path = path_ + "/" + file;
  Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return Error{errno, "open(" + path + ")"};
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return Error{errno, "write(" + path + ", " + text + ")"};
  return {};
}

Result<std::string> Cgroup::read(const std::string& file) const {
  return sockrepair::internal::read_small_file(path_ + "/" + file);
}

Result<void> Cgroup::wait_frozen(bool frozen, Deadline deadline) const {
  std::string want = frozen ? "1" : "0";
  return wait_until(path_ + " says frozen " + want, deadline, [&] {
    Result<std::string> events = read("cgroup.events");
    return events.ok() && sockrepair::internal::field_of(*events, "frozen", ' ') == want;
  });
}

}  // namespace sockrepair::test

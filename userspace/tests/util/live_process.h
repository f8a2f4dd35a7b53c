// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_LIVE_PROCESS_H_
#define SOCKREPAIR_TESTS_UTIL_LIVE_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/deadline.h"

// A process to be looked at from outside, and a cgroup to put one in.
namespace sockrepair::test {

// A child process that runs a function. Killed at the end of the object.
//
//   ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start([&](const Line& line) {
//     Fd socket = ...;
//     line.say("ready");
//     line.wait_for_end();
//   }));
//   ASSERT_THAT(target.heard(), IsOkAndHolds("ready"));
class LiveProcess {
 public:
  // The child's end of a line to the test.
  class Line {
   public:
    explicit Line(int fd) : fd_(fd) {}
    void say(const std::string& word) const;
    // One word from the test, without its newline; ends the process when the test has gone.
    std::string hear() const;
    void wait_for_end() const;

   private:
    int fd_;
  };

  // `body` runs in the child, in a process group of its own; what it returns does not matter. Call
  // with no other threads running.
  static Result<LiveProcess> start(const std::function<void(const Line&)>& body);

  LiveProcess(LiveProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), line_(std::move(other.line_)) {}
  LiveProcess& operator=(LiveProcess&&) = delete;
  ~LiveProcess() { end(); }

  pid_t pid() const { return pid_; }
  // The next word that the child says. ETIMEDOUT, or ECONNRESET when it has ended.
  Result<std::string> heard(Deadline deadline = Deadline::after(kPatience));
  Result<void> tell(const std::string& word);
  // Kills and reaps it.
  void end();

  // The letters of proc(5) for all threads: "SSS", "TTT".
  Result<std::string> states() const;
  // Until every thread has that letter.
  Result<void> wait_for_state(char state, Deadline deadline = Deadline::after(kPatience)) const;

 private:
  LiveProcess(pid_t pid, Fd line) : pid_(pid), line_(std::move(line)) {}

  pid_t pid_;
  Fd line_;
};

// A new cgroup beside the test's own in the version 2 hierarchy; removed at the end, when its
// processes must be gone.
class Cgroup {
 public:
  // ENOENT: no version 2 hierarchy.
  static Result<Cgroup> create(const std::string& name);
  Cgroup(Cgroup&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  Cgroup& operator=(Cgroup&&) = delete;
  ~Cgroup();

  Result<void> add(pid_t pid) const;
  Result<void> write(const std::string& file, const std::string& text) const;
  Result<std::string> read(const std::string& file) const;
  // Until cgroup.events says so.
  Result<void> wait_frozen(bool frozen, Deadline deadline = Deadline::after(kPatience)) const;

  const std::string& path() const { return path_; }

 private:
  explicit Cgroup(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_LIVE_PROCESS_H_

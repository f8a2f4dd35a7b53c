// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_TOOL_H_
#define SOCKREPAIR_TESTS_UTIL_TOOL_H_

#include <sys/types.h>

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/deadline.h"

// Running programs, `sockrepair` above all, in the calling thread's namespaces.
namespace sockrepair::test {

// The `sockrepair` that was built with this suite: $SOCKREPAIR_TOOL, else ../tools/sockrepair seen
// from the suite, else the one in PATH.
std::string tool_path();

// How a program ended, and what it said.
struct Ran {
  int status = -1;  // as of a shell: 128 + N when it was ended by signal N
  std::string out;
  std::string err;
};
void PrintTo(const Ran& ran, std::ostream* out);

// A program that is running. Killed at the end of the object.
class Running {
 public:
  // Found by PATH. `out` is its stdout, when valid; otherwise that is kept for wait().
  static Result<Running> start(const std::vector<std::string>& argv, const Fd& out = Fd());

  Running(Running&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        out_(std::move(other.out_)),
        err_(std::move(other.err_)) {}
  Running& operator=(Running&&) = delete;
  ~Running();

  pid_t pid() const { return pid_; }
  // What it has said so far.
  std::string out() const;
  std::string err() const;

  void signal(int number) const;
  // Until it ends.
  Result<Ran> wait(Deadline deadline = Deadline::after(kPatience));
  // Until it is the program called `comm`, after execve(2).
  Result<void> wait_for_name(const std::string& comm,
                             Deadline deadline = Deadline::after(kPatience)) const;

 private:
  Running(pid_t pid, Fd out, Fd err) : pid_(pid), out_(std::move(out)), err_(std::move(err)) {}

  pid_t pid_;
  Fd out_;
  Fd err_;
};

// Runs `sockrepair` with `arguments` until it ends.
Result<Ran> run_tool(const std::vector<std::string>& arguments);
// The same, while it runs.
Result<Running> start_tool(const std::vector<std::string>& arguments, const Fd& out = Fd());

// A directory that goes with what is in it.
class TemporaryDirectory {
 public:
  static Result<TemporaryDirectory> create();
  TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  ~TemporaryDirectory();

  std::string file(const std::string& name) const { return path_ + "/" + name; }
  // The names in it.
  std::vector<std::string> entries() const;

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_TOOL_H_

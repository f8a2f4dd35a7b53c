// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_BENCH_CHILD_H_
#define SOCKREPAIR_BENCH_CHILD_H_

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/deadline.h"

// Programs that are run to be measured, and processes that others have started.
namespace sockrepair::bench {

// How a process ended.
struct Ended {
  int status = -1;           // as of a shell: 128 + N when it was ended by signal N
  std::size_t peak_kib = 0;  // most memory that it, or a process it waited for, had at once
                             // (ru_maxrss); not less than this process had of its own
};

// A program that was started. Killed and reaped at the end of the object. Used by one thread.
class Child {
 public:
  struct Options {
    bool pipes = false;   // to its standard input and from its standard output; else /dev/null
                          // and a file, see out()
    std::string preload;  // LD_PRELOAD; empty: as it is here
  };
  // Found by PATH, status 127 if not; leads a session of its own, without a terminal. Call with no
  // other threads running.
  static Result<Child> start(const std::vector<std::string>& argv, const Options& options);
  // A child of this process that somebody else has started; nothing is heard of it but its end.
  static Child adopt(pid_t pid);

  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }
  double milliseconds() const;  // since it was started
  // What it has written so far; out() without pipes only.
  std::string out() const;
  std::string err() const;

  // With pipes: one byte, and the next it says ('\0' at the end of file). EPROTO: it said another.
  Result<void> tell(char word) const;
  Result<void> hear(char word, test::Deadline deadline) const;

  // Until it ends; a status other than 0 is an error (EIO) with what it wrote to standard error.
  Result<Ended> succeed(test::Deadline deadline);
  // The same for one that was killed by SIGKILL: any other end is an error.
  Result<Ended> be_killed(test::Deadline deadline);

 private:
  Child() = default;
  Result<Ended> end_with(int status, test::Deadline deadline);

  pid_t pid_ = -1;
  std::string name_;
  std::chrono::steady_clock::time_point begin_;
  Fd in_;
  Fd out_;
  Fd err_;
};

}  // namespace sockrepair::bench

#endif  // SOCKREPAIR_BENCH_CHILD_H_

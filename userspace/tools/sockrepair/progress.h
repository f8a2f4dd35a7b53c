// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TOOLS_PROGRESS_H_
#define SOCKREPAIR_TOOLS_PROGRESS_H_

#include <stdio.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>

namespace sockrepair::tool {

// "1200 of 5000 sockets" on stderr, rewritten as it goes: when it is a terminal and there are many.
// Gone at the end of the object.
class Progress {
 public:
  Progress(const char* what, std::size_t total)
      : what_(what), total_(total), shown_(total >= kMany && ::isatty(STDERR_FILENO) == 1) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (printed_) fputs("\r\033[K", stderr);
  }

  void advance() {
    ++done_;
    if (!shown_ || Clock::now() < next_) return;
    fprintf(stderr, "\r\033[K%zu of %zu %s", done_, total_, what_);
    printed_ = true;
    next_ = Clock::now() + std::chrono::milliseconds(100);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kMany = 100;

  const char* what_;
  std::size_t total_;
  bool shown_;
  bool printed_ = false;
  std::size_t done_ = 0;
  Clock::time_point next_{};
};

}  // namespace sockrepair::tool

#endif  // SOCKREPAIR_TOOLS_PROGRESS_H_

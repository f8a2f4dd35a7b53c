// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_DEADLINE_H_
#define SOCKREPAIR_TESTS_UTIL_DEADLINE_H_

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "sockrepair/result.h"

// Waiting for something to happen, never for time to pass, and never for ever.
//
//   Deadline deadline = Deadline::after(std::chrono::seconds(2));
//   SOCKREPAIR_TRY(wait_until("wire0 is up", deadline, [&] { return is_up("wire0"); }));
//
//   Worker sender("sender", [&](const std::atomic<bool>& stop) {
//     while (!stop) send_one();
//   });
//   ...
//   sender.stop_and_join(deadline);
namespace sockrepair::test {

// What a step of a test may take at most: generous, since a debug kernel under emulation is slow
// and passing tests never wait for it.
inline constexpr std::chrono::seconds kPatience{20};

// A point in time.
class Deadline {
 public:
  static Deadline after(std::chrono::milliseconds time) { return Deadline(Clock::now() + time); }

  bool passed() const { return Clock::now() >= at_; }
  // For poll(2): what is left, rounded up, 0 when it has passed.
  int poll_timeout_ms() const;
  std::chrono::steady_clock::time_point time_point() const { return at_; }

 private:
  using Clock = std::chrono::steady_clock;
  explicit Deadline(Clock::time_point at) : at_(at) {}

  Clock::time_point at_;
};

// Asks until `condition()` is true; ETIMEDOUT with `what` at the deadline. For conditions that
// nothing notifies about; with a descriptor at hand use wait_readable().
Result<void> wait_until(const std::string& what, Deadline deadline,
                        const std::function<bool()>& condition);

// ETIMEDOUT with `what` when `events` (POLLIN, ...) does not come true on `fd` before the deadline.
Result<void> wait_for_events(const std::string& what, int fd, short events, Deadline deadline);

// A thread that is told to stop and has to obey before a deadline. One that does not (a hang in the
// kernel, a lost wakeup) cannot be got rid of: the whole program aborts, with its name.
class Worker {
 public:
  // `body` runs in the new thread until it returns; it should when the flag becomes true.
  Worker(std::string name, std::function<void(const std::atomic<bool>& stop)> body);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  // Stops and joins within kPatience.
  ~Worker();

  // Sets the flag and waits.
  void stop_and_join(Deadline deadline);
  // Waits for the body to return by itself.
  void join(Deadline deadline);

 private:
  std::string name_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> finished_{false};
  std::thread thread_;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_DEADLINE_H_

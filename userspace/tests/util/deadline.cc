// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/deadline.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <utility>

namespace sockrepair::test {

using std::chrono::milliseconds;

int Deadline::poll_timeout_ms() const {
  auto left = std::chrono::ceil<milliseconds>(at_ - Clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, 1 << 30));
}

Result<void> wait_until(const std::string& what, Deadline deadline,
                        const std::function<bool()>& condition) {
  for (;;) {
    bool last_try = deadline.passed();
    if (condition()) return {};
    if (last_try) return Error{ETIMEDOUT, "waiting until " + what};
    // Nothing notifies about the condition: ask again in a while.
    std::this_thread::sleep_for(milliseconds(1));
  }
}

Result<void> wait_for_events(const std::string& what, int fd, short events, Deadline deadline) {
  for (;;) {
    pollfd entry{fd, events, 0};
    int ready = ::poll(&entry, 1, deadline.poll_timeout_ms());
    if (ready < 0 && errno != EINTR) return Error{errno, "poll(" + std::to_string(fd) + ")"};
    if (ready > 0) return {};
    if (ready == 0) return Error{ETIMEDOUT, "waiting until " + what};
  }
}

Worker::Worker(std::string name, std::function<void(const std::atomic<bool>& stop)> body)
    : name_(std::move(name)), thread_([this, body = std::move(body)] {
        body(stop_);
        finished_ = true;
      }) {}

Worker::~Worker() {
  stop_and_join(Deadline::after(kPatience));
}

void Worker::stop_and_join(Deadline deadline) {
  stop_ = true;
  join(deadline);
}

void Worker::join(Deadline deadline) {
  if (!thread_.joinable()) return;
  Result<void> done =
      wait_until("thread '" + name_ + "' ends", deadline, [this] { return finished_.load(); });
  if (!done) {
    fprintf(stderr, "%s\n", done.error().describe().c_str());
    abort();
  }
  thread_.join();
}

}  // namespace sockrepair::test

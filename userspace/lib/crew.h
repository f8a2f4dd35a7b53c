// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_CREW_H_
#define SOCKREPAIR_LIB_CREW_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "lanes.h"
#include "sockrepair/batch.h"

namespace sockrepair::internal {

// Does jobs, side by side where there is an io_uring for them, and one after the other elsewhere.
//
//   Crew crew(options, count);
//   for (...) crew.add([&] { work }, [&] { what comes after it });
//   crew.finish();
//
// What comes after a job is done by the caller of add() or finish(), in the order of the jobs. No
// job is begun while more than BatchOptions::in_flight have not come to that.
class Crew {
 public:
  // For so many jobs altogether, more or less.
  Crew(const BatchOptions& options, std::size_t jobs) : width_(options.in_flight) {
    if (jobs < options.io_uring_from) return;
    Result<std::unique_ptr<Lanes>> lanes = Lanes::create(options.in_flight);
    if (lanes)
      lanes_ = *std::move(lanes);
    else
      no_lanes_ = lanes.error();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  // Jobs come to their end; what would come after them does not happen.
  ~Crew() {
    while (lanes_ && !lanes_->idle()) lanes_->turn();
  }

  // Neither of both may throw.
  void add(std::function<void()> job, std::function<void()> after) {
    if (!lanes_) {
      job();
      after();
      return;
    }
    while (entries_.size() >= width_) step();
    entries_.push_back(std::make_unique<Entry>(Entry{false, std::move(after)}));
    lanes_->start([entry = entries_.back().get(), job = std::move(job)] {
      job();
      entry->done = true;
    });
  }

  // Until all jobs are done, and what comes after them.
  void finish() {
    while (!entries_.empty()) step();
  }

  void report(BatchReport& report) const {
    report.no_io_uring = no_lanes_;
    if (!lanes_) return;
    report.carried = lanes_->carried();
    report.submissions = lanes_->submissions();
  }

 private:
  struct Entry {
    bool done;
    std::function<void()> after;
  };

  void step() {
    if (!entries_.front()->done) lanes_->turn();
    while (!entries_.empty() && entries_.front()->done) {
      std::unique_ptr<Entry> entry = std::move(entries_.front());
      entries_.pop_front();
      entry->after();
    }
  }

  const std::size_t width_;
  std::unique_ptr<Lanes> lanes_;
  std::optional<Error> no_lanes_;
  std::deque<std::unique_ptr<Entry>> entries_;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_CREW_H_

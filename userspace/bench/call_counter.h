// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_BENCH_CALL_COUNTER_H_
#define SOCKREPAIR_BENCH_CALL_COUNTER_H_

#include <cstddef>
#include <memory>

#include "sockrepair/result.h"

struct call_count_bpf;

namespace sockrepair::bench {

// Counts the system calls of all processes but the calling one, by BPF: nothing is traced, and
// those are seen that one process has another make. Other processes should have nothing to do.
//
//   SOCKREPAIR_TRY_ASSIGN(CallCounter counter, CallCounter::start());
//   const CallCounter::Calls before = counter.calls();
//   ...
//   const CallCounter::Calls calls = counter.calls() - before;
class CallCounter {
 public:
  struct Calls {
    std::size_t all = 0;
    std::size_t of_time = 0;  // of these: clock_gettime(2), gettimeofday(2), time(2), which are
                              // none where there is a vDSO
    Calls operator-(const Calls& before) const {
      return {all - before.all, of_time - before.of_time};
    }
  };

  // Needs root. Counts until the end of the object.
  static Result<CallCounter> start();
  // Since the start.
  Calls calls() const;

 private:
  struct Destroy {
    void operator()(call_count_bpf* skeleton) const;
  };
  explicit CallCounter(call_count_bpf* skeleton) : skeleton_(skeleton) {}

  std::unique_ptr<call_count_bpf, Destroy> skeleton_;
};

}  // namespace sockrepair::bench

#endif  // SOCKREPAIR_BENCH_CALL_COUNTER_H_

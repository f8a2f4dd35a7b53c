// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "call_counter.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <iterator>
#include <numeric>

#include "call_count.skel.h"

namespace sockrepair::bench {

void CallCounter::Destroy::operator()(call_count_bpf* skeleton) const {
  call_count_bpf__destroy(skeleton);
}

Result<CallCounter> CallCounter::start() {
  call_count_bpf* skeleton = call_count_bpf__open_and_load();
  if (skeleton == nullptr) return Error{errno, "load of the BPF program that counts calls"};
  CallCounter counter(skeleton);
  skeleton->bss->own_tgid = static_cast<__u32>(::getpid());
  if (call_count_bpf__attach(skeleton) != 0)
    return Error{errno, "attaching the BPF program that counts calls"};
  return counter;
}

CallCounter::Calls CallCounter::calls() const {
  const auto& calls = skeleton_->bss->calls;
  Calls sum;
  sum.all = std::accumulate(std::begin(calls), std::end(calls), std::size_t{0});
  for (long number : {SYS_clock_gettime, SYS_gettimeofday, SYS_time}) sum.of_time += calls[number];
  return sum;
}

}  // namespace sockrepair::bench

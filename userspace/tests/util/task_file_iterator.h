// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_TASK_FILE_ITERATOR_H_
#define SOCKREPAIR_TESTS_UTIL_TASK_FILE_ITERATOR_H_

#include <sys/types.h>

#include "sockrepair/result.h"

struct bpf_link;
struct bpf_program;

namespace sockrepair::test {

// Runs a BPF program of type iter/task_file over the descriptors of the thread that asks.
//
//   TaskFileIterator iterator(skeleton.progs.witness_read);
//   skeleton.bss->target_fd = fd;
//   SOCKREPAIR_TRY(iterator.run());
//
// One object is for one thread at a time; the program must outlive it.
class TaskFileIterator {
 public:
  explicit TaskFileIterator(bpf_program* program) : program_(program) {}
  TaskFileIterator(const TaskFileIterator&) = delete;
  TaskFileIterator& operator=(const TaskFileIterator&) = delete;
  ~TaskFileIterator();

  // Calls the program once for each descriptor.
  Result<void> run();

 private:
  bpf_program* program_;
  bpf_link* link_ = nullptr;
  pid_t tid_ = 0;  // that `link_` was made for
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_TASK_FILE_ITERATOR_H_

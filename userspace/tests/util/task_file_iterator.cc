// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/task_file_iterator.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <unistd.h>

#include "sockrepair/fd.h"

namespace sockrepair::test {

TaskFileIterator::~TaskFileIterator() {
  bpf_link__destroy(link_);
}

Result<void> TaskFileIterator::run() {
  if (tid_ != gettid()) {
    bpf_link__destroy(link_);
    tid_ = gettid();
    bpf_iter_link_info info{};
    info.task.tid = static_cast<__u32>(tid_);
    LIBBPF_OPTS(bpf_iter_attach_opts, options);
    options.link_info = &info;
    options.link_info_len = sizeof(info);
    link_ = bpf_program__attach_iter(program_, &options);
    if (link_ == nullptr) {
      tid_ = 0;
      return Error{errno, "bpf_program__attach_iter(task_file)"};
    }
  }
  Fd iterator(bpf_iter_create(bpf_link__fd(link_)));
  if (!iterator) return Error{errno, "bpf_iter_create(task_file)"};
  char unused[64];
  ssize_t n;
  do {
    n = ::read(iterator.get(), unused, sizeof(unused));
  } while (n > 0 || (n < 0 && errno == EAGAIN));
  if (n < 0) return Error{errno, "read(task_file iterator)"};
  return {};
}

}  // namespace sockrepair::test

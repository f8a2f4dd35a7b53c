// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "kernel_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace sockrepair::fuzz {

KernelLog::KernelLog() : fd_(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
  if (fd_ >= 0) ::lseek(fd_, 0, SEEK_END);
}

KernelLog::~KernelLog() {
  if (fd_ >= 0) ::close(fd_);
}

std::string KernelLog::splat() {
  std::lock_guard lock(mutex_);
  std::string found;
  char record[8192];
  for (;;) {
    const ssize_t length = ::read(fd_, record, sizeof(record));
    if (length < 0 && errno == EPIPE) continue;  // overwritten before it was read
    if (length <= 0) return found;
    const std::string_view line(record, static_cast<std::size_t>(length));
    if (found.empty() && is_splat(line)) found = line.substr(0, line.find('\n'));
  }
}

bool is_splat(std::string_view line) {
  for (std::string_view sign :
       {"WARNING:", "BUG:", "KASAN:", "UBSAN:", "INFO: task", "INFO: rcu", "Oops",
        "general protection", "refcount_t:", "possible circular", "possible recursive",
        "suspicious RCU", "inconsistent lock", "bad unlock balance", "lockup",
        "ODEBUG:", "unreferenced object", "list_add corruption", "list_del corruption"}) {
    if (line.find(sign) != line.npos) return true;
  }
  return false;
}

}  // namespace sockrepair::fuzz

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/fd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>
#include <utility>

namespace sockrepair {

namespace internal {

void die_of_error(const Error& error) {
  fprintf(stderr, "sockrepair: Result misused: %s\n", error.describe().c_str());
  abort();
}

}  // namespace internal

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

int Fd::release() {
  return std::exchange(fd_, -1);
}

void Fd::reset() {
  if (fd_ < 0) return;
  int saved = errno;
  ::close(release());
  errno = saved;
}

Result<void> Fd::close() {
  if (fd_ < 0) return Error{EBADF, "close(-1)"};
  int fd = release();
  if (::close(fd) != 0) return Error{errno, "close(" + std::to_string(fd) + ")"};
  return {};
}

}  // namespace sockrepair

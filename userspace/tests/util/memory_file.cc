// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/memory_file.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

namespace sockrepair::test {

Result<Fd> memory_file(const char* name, const std::string& content) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd) return Error{errno, std::string("memfd_create(") + name + ")"};
  if (::pwrite(fd.get(), content.data(), content.size(), 0) != static_cast<ssize_t>(content.size()))
    return Error{errno, std::string("pwrite(") + name + ")"};
  return fd;
}

std::string content_of(const Fd& file) {
  std::string content;
  char buffer[4096];
  off_t offset = 0;
  for (ssize_t n; (n = ::pread(file.get(), buffer, sizeof(buffer), offset)) > 0; offset += n)
    content.append(buffer, static_cast<std::size_t>(n));
  return content;
}

}  // namespace sockrepair::test

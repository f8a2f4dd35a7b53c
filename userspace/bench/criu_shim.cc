// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Two answers of the kernel that CRIU 3.17.1, of 2022, takes for errors, given as it expects them.
// Loaded into `criu` by LD_PRELOAD in `make bench-criu`; CRIU does not run without in the guest.
//
//  * memfd_create(MFD_HUGETLB), asked once per boot to see what the kernel can do. A kernel without
//    CONFIG_HUGETLBFS, as the guest's, says ENOSYS; CRIU knows only EINVAL for an answer. The
//    kernels of distributions have it.
//  * getsockopt() of SO_PASSCRED and SO_PASSSEC, asked of every socket. Since Linux 6.16 a socket
//    that cannot have them, as those of TCP, says EOPNOTSUPP; before, it said 0, the default, for
//    which CRIU sets nothing at a restore.
//
// Every call is made, once, as CRIU would make it, and the image is what it would be on Linux 6.1,
// for which Debian 12 has this CRIU. So neither its system calls nor its times are flattered or
// harmed: in addition there is a comparison in user space for each getsockopt(), and one more
// library of 16 KiB to load.

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHIM_EXPORT extern "C" __attribute__((visibility("default")))

SHIM_EXPORT int memfd_create(const char* name, unsigned flags) noexcept {
  const int fd = static_cast<int>(::syscall(SYS_memfd_create, name, flags));
  if (fd < 0 && errno == ENOSYS) errno = EINVAL;
  return fd;
}

SHIM_EXPORT int getsockopt(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  const int result = static_cast<int>(::syscall(SYS_getsockopt, fd, level, name, value, size));
  const bool about_passing = level == SOL_SOCKET && (name == SO_PASSCRED || name == SO_PASSSEC);
  if (result == 0 || errno != EOPNOTSUPP || !about_passing) return result;
  memset(value, 0, *size);
  return 0;
}

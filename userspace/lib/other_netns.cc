// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "other_netns.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdint>
#include <system_error>
#include <thread>

#include "no_throw.h"
#include "sockrepair/fd.h"
#include "sockrepair/syscall.h"
#include "try.h"

#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif

namespace sockrepair::internal {

namespace {

// ENOPROTOOPT: namespaces have no cookies, as before Linux 5.14.
Result<bool> is_here(int fd) {
  SOCKREPAIR_TRY_ASSIGN(Fd probe, sys::socket(AF_INET, SOCK_DGRAM, 0));
  SOCKREPAIR_TRY_ASSIGN(auto here,
                        sys::getsockopt<std::uint64_t>(probe.get(), SOL_SOCKET, SO_NETNS_COOKIE));
  SOCKREPAIR_TRY_ASSIGN(auto there,
                        sys::getsockopt<std::uint64_t>(fd, SOL_SOCKET, SO_NETNS_COOKIE));
  return here == there;
}

bool is_own(const Fd& netns) {
  struct stat given {};
  struct stat own {};
  return ::fstat(netns.get(), &given) == 0 && ::stat("/proc/thread-self/ns/net", &own) == 0 &&
         given.st_dev == own.st_dev && given.st_ino == own.st_ino;
}

Result<void> enter_and_run(int netns, const std::function<Result<void>()>& function) {
  if (::setns(netns, CLONE_NEWNET) != 0)
    return Error{errno, "setns(" + std::to_string(netns) + ", CLONE_NEWNET)"};
  return function();
}

}  // namespace

Result<Fd> other_netns_of(int fd) {
  Result<bool> here = is_here(fd);
  if (!here && here.error().code != ENOPROTOOPT) return here.error();
  if (here && *here) return Fd();
  Fd netns(::ioctl(fd, SIOCGSKNS));
  if (!netns) return Error{errno, "ioctl(" + std::to_string(fd) + ", SIOCGSKNS)"};
  if (!here && is_own(netns)) return Fd();
  return netns;
}

Result<void> run_in_netns_of(int fd, const std::function<Result<void>()>& function) {
  SOCKREPAIR_TRY_ASSIGN(Fd netns, other_netns_of(fd));
  if (!netns) return function();

  Result<void> result;
  try {
    std::thread([&] {
      result = no_throw([&] { return enter_and_run(netns.get(), function); });
    }).join();
  } catch (const std::system_error&) {
    return Error{EAGAIN, "a thread for another network namespace"};
  }
  return result;
}

}  // namespace sockrepair::internal

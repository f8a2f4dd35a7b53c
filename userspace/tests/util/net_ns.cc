// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/net_ns.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/command.h"

namespace sockrepair::test {

namespace {

constexpr char kOwnNetNs[] = "/proc/thread-self/ns/net";

Result<Fd> open_own() {
  Fd fd(::open(kOwnNetNs, O_RDONLY | O_CLOEXEC));
  if (!fd) return Error{errno, std::string("open(") + kOwnNetNs + ")"};
  return fd;
}

Result<void> loopback_up() {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_LOOPBACK;
  return sys::ioctl(fd.get(), SIOCSIFFLAGS, &request);
}

void enter_or_abort(const Fd& fd) {
  if (::setns(fd.get(), CLONE_NEWNET) == 0) return;
  fprintf(stderr, "%s\n", (Error{errno, "setns(CLONE_NEWNET)"}).describe().c_str());
  abort();
}

}  // namespace

Result<NetNs> NetNs::create() {
  // In a thread of its own, so that the caller stays where it is.
  std::optional<Result<Fd>> made;
  std::thread([&made] {
    if (::unshare(CLONE_NEWNET) != 0)
      made = Error{errno, "unshare(CLONE_NEWNET)"};
    else
      made = open_own();
  }).join();
  SOCKREPAIR_TRY_ASSIGN(Fd fd, *std::move(made));
  NetNs ns(std::move(fd));
  SOCKREPAIR_TRY(ns.run(loopback_up));
  return ns;
}

Result<NetNs> NetNs::current() {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, open_own());
  return NetNs(std::move(fd));
}

Result<void> NetNs::ip(const std::string& lines) const {
  Result<std::string> output = run([&] { return run_command({"ip", "-batch", "-"}, lines); });
  if (!output) return output.error();
  return {};
}

Result<void> NetNs::sysctl(const std::string& name, const std::string& value) const {
  std::string path = "/proc/sys/net/" + name;
  std::replace(path.begin(), path.end(), '.', '/');
  return run([&]() -> Result<void> {
    Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return Error{errno, "open(" + path + ")"};
    if (::write(fd.get(), value.data(), value.size()) < 0)
      return Error{errno, "write(" + path + ", " + value + ")"};
    return {};
  });
}

unsigned NetNs::ifindex(const std::string& interface) const {
  return run([&] { return ::if_nametoindex(interface.c_str()); });
}

std::string NetNs::path() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_.get());
}

NetNs::Visit::Visit(const NetNs& ns) : home_(open_own().value()) {
  enter_or_abort(ns.fd());
}

NetNs::Visit::~Visit() {
  enter_or_abort(home_);
}

}  // namespace sockrepair::test

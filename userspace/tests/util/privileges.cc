// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sockrepair/fd.h"
#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::test {

namespace {

constexpr unsigned kNobody = 65534;

// Runs `function` in a child and gives its result, which comes as "ok" or "NUMBER TEXT". A child
// that says nothing is an error too.
Result<void> in_child(const std::function<Result<void>()>& function) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error{errno, "pipe2()"};
  Fd reader(ends[0]);
  Fd writer(ends[1]);
  pid_t pid = ::fork();
  if (pid < 0) return Error{errno, "fork()"};
  if (pid == 0) {
    Result<void> result = function();
    std::string report = "ok";
    if (!result) report = std::to_string(result.error().code) + " " + result.error().what;
    bool written =
        ::write(writer.get(), report.data(), report.size()) == static_cast<ssize_t>(report.size());
    ::_exit(written ? 0 : 1);
  }

  writer.reset();
  std::string report;
  char buffer[512];
  for (ssize_t n; (n = ::read(reader.get(), buffer, sizeof(buffer))) > 0;)
    report.append(buffer, static_cast<std::size_t>(n));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return Error{errno, "waitpid()"};
  if (status != 0 || report.empty())
    return Error{ECHILD, "the child ended with status " + std::to_string(status)};
  if (report == "ok") return {};
  std::size_t space = report.find(' ');
  return Error{std::stoi(report.substr(0, space)), report.substr(space + 1)};
}

Result<void> drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capset, &header, none) != 0) return Error{errno, "capset(none)"};
  return {};
}

Result<void> write_file(const char* path, const std::string& text) {
  Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
  if (!fd) return Error{errno, std::string("open(") + path + ")"};
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return Error{errno, std::string("write(") + path + ", " + text + ")"};
  return {};
}

Result<void> loopback_up() {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  return sys::ioctl(fd.get(), SIOCSIFFLAGS, &request);
}

Result<void> enter_user_namespace() {
  if (::setresgid(kNobody, kNobody, kNobody) != 0) return Error{errno, "setresgid(65534)"};
  if (::setresuid(kNobody, kNobody, kNobody) != 0) return Error{errno, "setresuid(65534)"};
  // A change of uid makes the files in /proc/self root's.
  if (::prctl(PR_SET_DUMPABLE, 1) != 0) return Error{errno, "prctl(PR_SET_DUMPABLE)"};
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
    return Error{errno, "unshare(CLONE_NEWUSER | CLONE_NEWNET)"};
  SOCKREPAIR_TRY(write_file("/proc/self/setgroups", "deny"));
  SOCKREPAIR_TRY(write_file("/proc/self/uid_map", "0 65534 1"));
  SOCKREPAIR_TRY(write_file("/proc/self/gid_map", "0 65534 1"));
  return loopback_up();
}

}  // namespace

Result<void> without_capabilities(const std::function<Result<void>()>& function) {
  return in_child([&]() -> Result<void> {
    SOCKREPAIR_TRY(drop_capabilities());
    return function();
  });
}

Result<void> in_user_namespace(const std::function<Result<void>()>& function) {
  return in_child([&]() -> Result<void> {
    SOCKREPAIR_TRY(enter_user_namespace());
    return function();
  });
}

}  // namespace sockrepair::test

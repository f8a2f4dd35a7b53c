// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "trace.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string>

#include "sockrepair/error.h"

namespace sockrepair::bench {

namespace {

// The tracer looks at what is between two of these, which the library never makes.
constexpr long kMarker = SYS_getppid;

}  // namespace

std::vector<SystemCall> trace(const std::function<void()>& function) {
  fflush(stdout);
  pid_t child = ::fork();
  if (child < 0) fail("fork(): " + errno_text(errno));
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    ::syscall(kMarker);
    function();
    ::syscall(kMarker);
    ::_exit(0);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) fail("the child did not stop");
  if (::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0)
    fail("PTRACE_SETOPTIONS: " + errno_text(errno));
  int markers = 0;
  std::vector<SystemCall> calls;
  for (;;) {
    if (::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) != 0)
      fail("PTRACE_SYSCALL: " + errno_text(errno));
    if (::waitpid(child, &status, 0) != child) fail("waitpid(): " + errno_text(errno));
    if (WIFEXITED(status) || WIFSIGNALED(status)) break;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) <= 0)
      fail("PTRACE_GET_SYSCALL_INFO: " + errno_text(errno));
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    if (static_cast<long>(info.entry.nr) == kMarker) {
      ++markers;
    } else if (markers == 1) {
      SystemCall call{static_cast<long>(info.entry.nr), {}};
      std::copy(std::begin(info.entry.args), std::end(info.entry.args), call.arguments.begin());
      calls.push_back(call);
    }
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || markers != 2)
    fail("what was to be counted did not end well");
  return calls;
}

double microseconds(const std::function<void()>& function) {
  auto begin = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

double median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

void fail(const std::string& why) {
  printf("%s failed: %s\n", program_invocation_short_name, why.c_str());
  fflush(stdout);
  _exit(1);
}

}  // namespace sockrepair::bench

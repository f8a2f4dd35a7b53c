// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// process.h on processes that the test starts. Needs root and, for the freezer, a version 2 cgroup
// hierarchy; no kernel feature of ours.

#include "sockrepair/process.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "proc_fs.h"
#include "sockrepair/address.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "util/live_process.h"
#include "util/matchers.h"

namespace sockrepair {

void PrintTo(const SocketHolder& holder, std::ostream* out) {
  *out << "process " << holder.pid << " has " << holder.inode;
}

}  // namespace sockrepair

namespace sockrepair::test {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using Line = LiveProcess::Line;

constexpr int kLow = 200;  // descriptor numbers that nobody else uses
constexpr int kHigh = 300;

std::uint64_t inode_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? status.st_ino : 0;
}

void idle(const Line& line) {
  line.say("ready");
  line.wait_for_end();
}

// A UDP socket under two numbers, another one, and a pipe.
void hold_sockets(const Line& line) {
  Result<Fd> first = sys::socket(AF_INET, SOCK_DGRAM, 0);
  Result<Fd> second = sys::socket(AF_INET6, SOCK_DGRAM, 0);
  if (!first || !second) return;
  ::dup2(first->get(), kHigh);
  ::dup2(first->get(), kLow);
  ::dup2(second->get(), kLow + 1);
  std::uint64_t inode = inode_of(kLow);
  first->reset();
  second->reset();
  line.say(std::to_string(inode));
  line.wait_for_end();
}

// Three threads, two of which never sleep.
void run_threads(const Line& line) {
  std::thread([] {
    for (;;) asm volatile("");
  }).detach();
  std::thread([] { ::poll(nullptr, 0, -1); }).detach();
  line.say("ready");
  line.wait_for_end();
}

TEST(ProcessTest, FindsSocketsAndTheirNumbers) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(hold_sockets));
  ASSERT_OK_AND_ASSIGN(std::string inode, target.heard());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  ASSERT_OK_AND_ASSIGN(std::vector<HeldSocket> sockets, process.sockets());
  // Below kLow there is the line to the test.
  std::erase_if(sockets, [](const HeldSocket& s) { return s.numbers.front() < kLow; });
  ASSERT_THAT(sockets, SizeIs(2));
  EXPECT_EQ(std::to_string(sockets[0].inode), inode);
  EXPECT_THAT(sockets[0].numbers, ElementsAre(kLow, kHigh));
  EXPECT_THAT(sockets[1].numbers, ElementsAre(kLow + 1));
}

TEST(ProcessTest, TakesTheSocketItself) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(hold_sockets));
  ASSERT_OK_AND_ASSIGN(std::string inode, target.heard());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  ASSERT_OK_AND_ASSIGN(Fd taken, process.take(kHigh));
  EXPECT_EQ(std::to_string(inode_of(taken.get())), inode);
  EXPECT_EQ(::fcntl(taken.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_THAT(process.take(kHigh + 1),
              FailsWith(EBADF, HasSubstr("descriptor " + std::to_string(kHigh + 1))));
}

TEST(ProcessTest, TellsWhichNumbersSurviveExec) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start([](const Line& line) {
                         Result<Fd> socket = sys::socket(AF_INET, SOCK_DGRAM, 0);
                         ::dup3(socket->get(), kLow, O_CLOEXEC);
                         ::dup2(kLow, kHigh);
                         idle(line);
                       }));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  EXPECT_THAT(process.close_on_exec(kLow), IsOkAndHolds(true));
  EXPECT_THAT(process.close_on_exec(kHigh), IsOkAndHolds(false));
  EXPECT_THAT(process.close_on_exec(kHigh + 1), FailsWith(EBADF, HasSubstr("fdinfo/301")));
}

TEST(ProcessTest, TellsWhoHoldsASocket) {
  ASSERT_OK_AND_ASSIGN(Fd shared, sys::socket(AF_INET, SOCK_DGRAM, 0));
  ASSERT_OK_AND_ASSIGN(Fd own, sys::socket(AF_INET, SOCK_DGRAM, 0));
  std::vector<std::uint64_t> inodes = {inode_of(shared.get()), inode_of(own.get())};
  ASSERT_OK_AND_ASSIGN(LiveProcess first, LiveProcess::start([&](const Line& line) {
                         own.reset();
                         ::dup2(shared.get(), kLow);  // twice there, once told
                         idle(line);
                       }));
  ASSERT_OK_AND_ASSIGN(LiveProcess second, LiveProcess::start([&](const Line& line) {
                         own.reset();
                         idle(line);
                       }));
  ASSERT_THAT(first.heard(), IsOk());
  ASSERT_THAT(second.heard(), IsOk());
  EXPECT_THAT(socket_holders(inodes),
              IsOkAndHolds(UnorderedElementsAre(SocketHolder{first.pid(), inodes[0]},
                                                SocketHolder{second.pid(), inodes[0]})));
  EXPECT_THAT(socket_holders({}), IsOkAndHolds(IsEmpty()));
}

TEST(ProcessTest, TellsItsName) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start([](const Line& line) {
                         ::prctl(PR_SET_NAME, "a) R (b");
                         idle(line);
                       }));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  EXPECT_THAT(process.name(), IsOkAndHolds("a) R (b"));
  // The name must not be taken for the state.
  EXPECT_THAT(target.wait_for_state('S'), IsOk());
}

TEST(ProcessTest, RefusesWhatIsNoOtherProcess) {
  EXPECT_THAT(Process::open(::getpid()), FailsWith(EINVAL, HasSubstr("calling process")));
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(idle));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  pid_t pid = target.pid();
  target.end();
  EXPECT_THAT(process.name(), Not(IsOk()));
  EXPECT_THAT(process.sockets(), Not(IsOk()));
  EXPECT_THAT(process.take(0), FailsWith(ESRCH));
  EXPECT_THAT(Process::open(pid), FailsWith(ESRCH, "pidfd_open(" + std::to_string(pid) + ")"));
}

TEST(ProcessTest, RefusesAZombie) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start([](const Line&) {}));
  EXPECT_THAT(target.heard(), FailsWith(ECONNRESET));
  // It is not reaped before the end of the test.
  EXPECT_THAT(wait_until("it has ended", Deadline::after(kPatience),
                         [&] { return !Process::open(target.pid()).ok(); }),
              IsOk());
  EXPECT_THAT(Process::open(target.pid()), FailsWith(ESRCH, HasSubstr("has ended")));
}

TEST(ProcessTest, Kills) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(idle));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  ASSERT_THAT(process.kill(kPatience), IsOk());
  EXPECT_THAT(target.heard(), FailsWith(ECONNRESET));
  EXPECT_THAT(process.kill(kPatience), IsOk());
}

// Who is told that it failed takes the process for alive.
TEST(ProcessTest, KillsUnderSignals) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start([](const Line& line) {
                         // To be given back, which takes a while.
                         std::vector<char> much(32 << 20, 'x');
                         idle(line);
                       }));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  const itimerval often{{0, 200}, {0, 200}};
  const itimerval never{};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &often, nullptr), 0);
  Result<void> killed = process.kill(kPatience);
  EXPECT_EQ(::setitimer(ITIMER_REAL, &never, nullptr), 0);
  EXPECT_EQ(::sigaction(SIGALRM, &before, nullptr), 0);
  EXPECT_THAT(killed, IsOk());
  EXPECT_THAT(target.heard(), FailsWith(ECONNRESET));
}

TEST(StoppedProcessTest, StopsAllThreadsAndLetsThemGoOn) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(run_threads));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(process));
    EXPECT_EQ(stopped.method(), StopMethod::kSignal);
    EXPECT_THAT(target.states(), IsOkAndHolds("TTT"));
    ASSERT_THAT(stopped.resume(), IsOk());
    EXPECT_THAT(stopped.resume(), IsOk());
  }
  EXPECT_THAT(wait_until("it runs", Deadline::after(kPatience),
                         [&] { return target.states().value().find('T') == std::string::npos; }),
              IsOk());
}

TEST(StoppedProcessTest, EndOfTheObjectLetsItGoOn) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(idle));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(process));
    StoppedProcess moved = std::move(stopped);
    EXPECT_THAT(target.states(), IsOkAndHolds("T"));
  }
  EXPECT_THAT(target.wait_for_state('S'), IsOk());
  // The guardian has been reaped; the target is the only child.
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG | __WALL), 0);
}

TEST(StoppedProcessTest, StoppedBeforeStaysStopped) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(run_threads));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_EQ(::kill(target.pid(), SIGSTOP), 0);
  ASSERT_THAT(target.wait_for_state('T'), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(process));
    EXPECT_EQ(stopped.method(), StopMethod::kAlreadyStopped);
  }
  EXPECT_THAT(target.states(), IsOkAndHolds("TTT"));
}

TEST(StoppedProcessTest, FreezesAProcessThatIsAloneInItsCgroup) {
  ASSERT_OK_AND_ASSIGN(Cgroup cgroup, Cgroup::create("alone"));
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(run_threads));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_THAT(cgroup.add(target.pid()), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(process));
    EXPECT_EQ(stopped.method(), StopMethod::kFreezer);
    EXPECT_THAT(cgroup.read("cgroup.events"), IsOkAndHolds(HasSubstr("frozen 1")));
    // Not a stop that its parent is told about.
    EXPECT_EQ(::waitpid(target.pid(), nullptr, WUNTRACED | WNOHANG), 0);
    EXPECT_THAT(stopped.close({0}), FailsWith(ENOTSUP, HasSubstr("frozen")));
  }
  EXPECT_THAT(cgroup.read("cgroup.freeze"), IsOkAndHolds("0\n"));
  EXPECT_THAT(cgroup.wait_frozen(false), IsOk());
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped,
                         StoppedProcess::stop(process, {.signal_only = true}));
    EXPECT_EQ(stopped.method(), StopMethod::kSignal);
    EXPECT_THAT(cgroup.read("cgroup.events"), IsOkAndHolds(HasSubstr("frozen 0")));
  }
  target.end();
}

TEST(StoppedProcessTest, DoesNotFreezeOthers) {
  ASSERT_OK_AND_ASSIGN(Cgroup cgroup, Cgroup::create("two"));
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(idle));
  ASSERT_OK_AND_ASSIGN(LiveProcess neighbour, LiveProcess::start(idle));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_THAT(neighbour.heard(), IsOk());
  ASSERT_THAT(cgroup.add(target.pid()), IsOk());
  ASSERT_THAT(cgroup.add(neighbour.pid()), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(process));
    EXPECT_EQ(stopped.method(), StopMethod::kSignal);
    EXPECT_THAT(neighbour.wait_for_state('S'), IsOk());
    EXPECT_THAT(cgroup.read("cgroup.freeze"), IsOkAndHolds("0\n"));
  }
  target.end();
  neighbour.end();
}

TEST(StoppedProcessTest, DoesNotFreezeGroupsBelow) {
  ASSERT_OK_AND_ASSIGN(Cgroup cgroup, Cgroup::create("parent"));
  std::string below = cgroup.path() + "/below";
  ASSERT_EQ(::mkdir(below.c_str(), 0755), 0);
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(idle));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_THAT(cgroup.add(target.pid()), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(process));
    EXPECT_EQ(stopped.method(), StopMethod::kSignal);
  }
  target.end();
  EXPECT_EQ(::rmdir(below.c_str()), 0);
}

TEST(StoppedProcessTest, FrozenBeforeStaysFrozen) {
  ASSERT_OK_AND_ASSIGN(Cgroup cgroup, Cgroup::create("frozen"));
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(idle));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_THAT(cgroup.add(target.pid()), IsOk());
  ASSERT_THAT(cgroup.write("cgroup.freeze", "1"), IsOk());
  ASSERT_THAT(cgroup.wait_frozen(true), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(process));
    EXPECT_EQ(stopped.method(), StopMethod::kAlreadyStopped);
    EXPECT_THAT(stopped.close({0}), FailsWith(ENOTSUP, HasSubstr("frozen")));
  }
  EXPECT_THAT(cgroup.read("cgroup.events"), IsOkAndHolds(HasSubstr("frozen 1")));
  target.end();
}

TEST(StoppedProcessTest, RefusesATracedProcess) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(idle));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, target.pid(), nullptr, nullptr), 0);
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  EXPECT_THAT(StoppedProcess::stop(process),
              FailsWith(EBUSY, HasSubstr("traced by process " + std::to_string(::getpid()))));
  EXPECT_THAT(target.wait_for_state('S'), IsOk());
}

// Runs in a state that no signal interrupts until its child has called execve().
void sleep_uninterruptibly(const Line& line) {
  line.say("ready");
  pid_t child = static_cast<pid_t>(::syscall(SYS_vfork));
  if (child == 0) {
    // Not the target: it has a line of its own, and shares only memory.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) ::pause();
  }
}

TEST(StoppedProcessTest, GivesUpAndPutsBack) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(sleep_uninterruptibly));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_THAT(target.wait_for_state('D'), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  EXPECT_THAT(StoppedProcess::stop(process, {.patience = milliseconds(20)}),
              FailsWith(ETIMEDOUT, HasSubstr("states of its threads: D")));
  // No stop is left for when it wakes up.
  ASSERT_OK_AND_ASSIGN(
      std::string status,
      sockrepair::internal::read_small_file("/proc/" + std::to_string(target.pid()) + "/status"));
  EXPECT_EQ(sockrepair::internal::field_of(status, "ShdPnd", ':').value_or("none").find('4'),
            std::string::npos)
      << status;
}

// Stops `target` and says so; then waits.
LiveProcess stopper(pid_t target) {
  return LiveProcess::start([target](const Line& line) {
           Result<Process> process = Process::open(target);
           if (!process) return;
           Result<StoppedProcess> stopped = StoppedProcess::stop(*process);
           line.say(stopped.ok() ? stop_method_name(stopped->method())
                                 : stopped.error().describe());
           line.wait_for_end();
         })
      .value();
}

TEST(GuardianTest, ContinuesTheProcessWhenWeAreKilled) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(run_threads));
  ASSERT_THAT(target.heard(), IsOk());
  LiveProcess killed = stopper(target.pid());
  ASSERT_THAT(killed.heard(), IsOkAndHolds("SIGSTOP"));
  ASSERT_THAT(target.states(), IsOkAndHolds("TTT"));
  // With everything that is in its process group.
  ASSERT_EQ(::kill(-killed.pid(), SIGKILL), 0);
  EXPECT_THAT(wait_until("it runs", Deadline::after(kPatience),
                         [&] { return target.states().value().find('T') == std::string::npos; }),
              IsOk());
}

TEST(GuardianTest, ThawsTheProcessWhenWeAreKilled) {
  ASSERT_OK_AND_ASSIGN(Cgroup cgroup, Cgroup::create("thaw"));
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(idle));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_THAT(cgroup.add(target.pid()), IsOk());
  LiveProcess killed = stopper(target.pid());
  ASSERT_THAT(killed.heard(), IsOkAndHolds("cgroup freezer"));
  ASSERT_EQ(::kill(-killed.pid(), SIGKILL), 0);
  EXPECT_THAT(cgroup.wait_frozen(false), IsOk());
  EXPECT_THAT(cgroup.read("cgroup.freeze"), IsOkAndHolds("0\n"));
  target.end();
}

TEST(GuardianTest, LeavesAStoppedProcessAlone) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(idle));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_EQ(::kill(target.pid(), SIGSTOP), 0);
  ASSERT_THAT(target.wait_for_state('T'), IsOk());
  LiveProcess killed = stopper(target.pid());
  ASSERT_THAT(killed.heard(), IsOkAndHolds("already stopped"));
  killed.end();
  EXPECT_THAT(target.states(), IsOkAndHolds("T"));
}

#ifdef __x86_64__

bool has_descriptor(pid_t pid, int number) {
  return ::access(("/proc/" + std::to_string(pid) + "/fd/" + std::to_string(number)).c_str(),
                  F_OK) == 0;
}

// How the process is when descriptors are closed in it.
struct CloseKind {
  std::string name;
  void (*body)(const Line&);
  bool sleeps;
};
void PrintTo(const CloseKind& kind, std::ostream* out) {
  *out << kind.name;
}

void hold_and_spin(const Line& line) {
  ::dup2(sys::socket(AF_INET, SOCK_DGRAM, 0)->get(), kLow);
  ::dup2(kLow, kHigh);
  // Words of the test are answered by a thread, with what the main thread did between.
  static volatile std::uint64_t rounds = 0;
  std::thread([&line] {
    line.say("ready");
    for (;;) {
      line.hear();
      std::uint64_t before = rounds;
      while (rounds == before) continue;
      line.say("alive");
    }
  }).detach();
  // Registers that the call could clobber are checked in each round.
  for (;;) {
    std::uint64_t a = 0x1111111111111111, b = 0x2222222222222222, c = 0x3333333333333333;
    asm volatile("" : "+a"(a), "+D"(b), "+r"(c));
    if (a != 0x1111111111111111 || b != 0x2222222222222222 || c != 0x3333333333333333) ::_exit(3);
    rounds = rounds + 1;
  }
}

// In a restartable sequence (rseq(2)) that nothing ends but the kernel, by going to where it begins
// anew: after each interruption. Were the thread to go on in its middle, it would stay there.
void hold_and_restart(const Line& line) {
  ::dup2(sys::socket(AF_INET, SOCK_DGRAM, 0)->get(), kLow);
  ::dup2(kLow, kHigh);
  if (__rseq_size == 0) return line.say("the C library has registered no rseq");
  static volatile std::uint64_t restarts = 0;
  std::thread([&line] {
    line.say("ready");
    for (;;) {
      line.hear();
      std::uint64_t before = restarts;
      while (restarts == before) continue;
      line.say("alive");
    }
  }).detach();
  auto* area = reinterpret_cast<struct rseq*>(static_cast<char*>(__builtin_thread_pointer()) +
                                              __rseq_offset);
restarted:
  restarts = restarts + 1;
  // The table is struct rseq_cs; in front of where it restarts is what rseq(2) was told, RSEQ_SIG.
  asm goto(R"(
      .pushsection .data.rel.ro, "aw"
      .balign 32
   1: .long 0, 0
      .quad 2f, 3f - 2f, 4f
      .popsection
      .pushsection .text.restart, "ax"
      .long 0x53053053
   4: jmp %l[restarted]
      .popsection
      leaq 1b(%%rip), %%rax
      movq %%rax, %0
   2: pause
      jmp 2b
   3:)"
           :
           : "m"(area->rseq_cs)
           : "rax", "memory"
           : restarted);
}

void hold_and_sleep(const Line& line) {
  ::dup2(sys::socket(AF_INET, SOCK_DGRAM, 0)->get(), kLow);
  ::dup2(kLow, kHigh);
  line.say("ready");
  for (;;) {
    line.hear();
    line.say("alive");
  }
}

// In a receive call on the socket, which has to end, and with all signals blocked or ignored.
void hold_and_receive(const Line& line) {
  ::dup2(sys::socket(AF_INET, SOCK_DGRAM, 0)->get(), kLow);
  ::dup2(kLow, kHigh);
  ::signal(SIGTRAP, SIG_IGN);
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  line.say("ready");
  char byte;
  if (::recv(kLow, &byte, 1, 0) >= 0 || errno != EBADF) ::_exit(3);
  sigset_t now;
  ::sigprocmask(SIG_BLOCK, nullptr, &now);
  struct sigaction trap {};
  ::sigaction(SIGTRAP, nullptr, &trap);
  if (sigismember(&now, SIGUSR1) != 1 || trap.sa_handler != SIG_IGN) ::_exit(4);
  for (;;) {
    line.hear();
    line.say("alive");
  }
}

class CloseTest : public ::testing::TestWithParam<CloseKind> {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(GetParam().body));
    ASSERT_THAT(target.heard(), IsOkAndHolds("ready"));
    if (GetParam().sleeps) {
      ASSERT_THAT(target.wait_for_state('S'), IsOk());
    }
    ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
    target_.emplace(std::move(target));
    process_.emplace(std::move(process));
  }

  void expect_alive() {
    ASSERT_THAT(target_->tell("alive?"), IsOk());
    EXPECT_THAT(target_->heard(), IsOkAndHolds("alive"));
  }

  std::optional<LiveProcess> target_;
  std::optional<Process> process_;
};

TEST_P(CloseTest, ClosesAndTheProcessGoesOn) {
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped,
                         StoppedProcess::stop(*process_, {.signal_only = true}));
    ASSERT_THAT(stopped.close({kLow, kHigh}), IsOk());
    EXPECT_FALSE(has_descriptor(target_->pid(), kLow));
    EXPECT_FALSE(has_descriptor(target_->pid(), kHigh));
    EXPECT_THAT(target_->states().value(), Not(HasSubstr("t")));
  }
  expect_alive();
}

TEST_P(CloseTest, SaysWhichCouldNotBeClosed) {
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped,
                         StoppedProcess::stop(*process_, {.signal_only = true}));
    EXPECT_THAT(stopped.close({kLow, kHigh + 1, kHigh}),
                FailsWith(EBADF, HasSubstr("close(" + std::to_string(kHigh + 1) + ") in process")));
    EXPECT_FALSE(has_descriptor(target_->pid(), kLow));
    EXPECT_TRUE(has_descriptor(target_->pid(), kHigh));
  }
  expect_alive();
}

TEST_P(CloseTest, KeepsAStoppedProcessStopped) {
  ASSERT_EQ(::kill(target_->pid(), SIGSTOP), 0);
  ASSERT_THAT(target_->wait_for_state('T'), IsOk());
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(*process_));
    ASSERT_THAT(stopped.close({kLow, kHigh}), IsOk());
  }
  EXPECT_THAT(target_->wait_for_state('T'), IsOk());
  ASSERT_EQ(::kill(target_->pid(), SIGCONT), 0);
  expect_alive();
}

// A filter that ends the process for every call but one.
bool allow_only(std::uint32_t call) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(filter), filter};
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// Who is under a filter itself may not suspend one.
TEST(CloseUnderSeccompTest, IsSuspendedOrRefused) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start([](const Line& line) {
                         ::dup2(sys::socket(AF_INET, SOCK_DGRAM, 0)->get(), kLow);
                         line.say("ready");
                         if (allow_only(SYS_getppid))
                           for (;;) ::syscall(SYS_getppid);
                       }));
  ASSERT_THAT(target.heard(), IsOk());
  const std::string status = "/proc/" + std::to_string(target.pid()) + "/status";
  ASSERT_THAT(wait_until("it is under the filter", Deadline::after(kPatience),
                         [&] {
                           return sockrepair::internal::field_of(
                                      sockrepair::internal::read_small_file(status).value(),
                                      "Seccomp", ':') == "2";
                         }),
              IsOk());
  const pid_t pid = target.pid();
  auto close_low = [pid]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(Process process, Process::open(pid));
    SOCKREPAIR_TRY_ASSIGN(StoppedProcess stopped,
                          StoppedProcess::stop(process, {.signal_only = true}));
    return stopped.close({kLow});
  };
  ASSERT_OK_AND_ASSIGN(LiveProcess filtered, LiveProcess::start([&](const Line& line) {
                         sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
                         const sock_fprog program{1, all};
                         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
                         Result<void> closed = close_low();
                         line.say(closed ? "closed" : closed.error().describe());
                         line.wait_for_end();
                       }));
  EXPECT_THAT(filtered.heard(),
              IsOkAndHolds(AllOf(HasSubstr("is under seccomp(2), mode 2"), HasSubstr("EPERM"))));
  EXPECT_TRUE(has_descriptor(pid, kLow));
  EXPECT_THAT(close_low(), IsOk());
  EXPECT_FALSE(has_descriptor(pid, kLow));
  EXPECT_THAT(target.states(), IsOkAndHolds("R"));
}

INSTANTIATE_TEST_SUITE_P(All, CloseTest,
                         ::testing::Values(CloseKind{"spinning", hold_and_spin, false},
                                           CloseKind{"in_a_restartable_sequence", hold_and_restart,
                                                     false},
                                           CloseKind{"sleeping", hold_and_sleep, true},
                                           CloseKind{"receiving", hold_and_receive, true}),
                         [](const auto& test) { return test.param.name; });

// --- descriptors that a process gets

// Ways to wait until the socket kLow can be read, as programs do.
struct WaitKind {
  std::string name;
  bool (*wait)();
  bool watched;  // by an epoll instance
};
void PrintTo(const WaitKind& kind, std::ostream* out) {
  *out << kind.name;
}

bool wait_with_recv() {
  char byte;
  return ::recv(kLow, &byte, 1, MSG_PEEK) >= 0;
}
bool wait_with_poll() {
  pollfd entry{kLow, POLLIN, 0};
  return ::poll(&entry, 1, 60'000) == 1 && entry.revents == POLLIN;
}
bool wait_with_select() {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(kLow, &set);
  return ::select(kLow + 1, &set, nullptr, nullptr, nullptr) == 1 && FD_ISSET(kLow, &set);
}
// Programs of which the one says how often a socket is to be told, the other how it begins.
template <std::uint32_t events>
bool wait_with_epoll() {
  int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{.events = events, .data = {.u64 = 0x1122334455667788}};
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, kLow, &event) != 0) return false;
  epoll_event got{};
  int count;
  // A stop ends epoll_wait(2) with EINTR, and programs expect that.
  while ((count = ::epoll_wait(epoll, &got, 1, 60'000)) < 0 && errno == EINTR) continue;
  return count == 1 && got.events == EPOLLIN && got.data.u64 == event.data.u64 &&
         // It can be changed and removed by its number.
         ::epoll_ctl(epoll, EPOLL_CTL_MOD, kLow, &event) == 0 &&
         ::epoll_ctl(epoll, EPOLL_CTL_DEL, kLow, nullptr) == 0;
}

Result<Fd> bound_socket() {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_DGRAM, 0));
  const Endpoint loopback{IpAddress::parse("127.0.0.1").value(), 0, 0};
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(loopback, AF_INET)));
  return fd;
}

class WaitTest : public ::testing::TestWithParam<WaitKind> {};

// The socket is closed while the process waits for it, and another one takes its place.
TEST_P(WaitTest, GoesOnWithTheNewSocket) {
  ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start([](const Line& line) {
                         ::dup2(bound_socket()->get(), kLow);
                         line.say("ready");
                         if (!GetParam().wait()) return;
                         char text[16];
                         ssize_t size = ::recv(kLow, text, sizeof(text), MSG_DONTWAIT);
                         line.say(std::string(text, size < 0 ? 0 : size));
                         line.wait_for_end();
                       }));
  ASSERT_THAT(target.heard(), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target.pid()));
  std::vector<WatchedDescriptor> watched;
  ASSERT_THAT(wait_until("it waits", Deadline::after(kPatience),
                         [&] {
                           watched = process.epoll_watches().value();
                           return target.states().value() == "S" &&
                                  watched.empty() != GetParam().watched;
                         }),
              IsOk());
  ASSERT_OK_AND_ASSIGN(Fd old, process.take(kLow));
  std::vector<EpollWatch> watches;
  for (const WatchedDescriptor& one : watched) {
    EXPECT_EQ(one.number, kLow);
    EXPECT_EQ(one.inode, inode_of(old.get()));
    watches.push_back(one.watch);
  }
  old.reset();

  ASSERT_OK_AND_ASSIGN(Fd fresh, bound_socket());
  {
    ASSERT_OK_AND_ASSIGN(StoppedProcess stopped,
                         StoppedProcess::stop(process, {.signal_only = true}));
    ASSERT_THAT(stopped.close({kLow}), IsOk());
    std::vector<PlacedDescriptor> placed = {{fresh.get(), kLow, true, watches}};
    ASSERT_THAT(stopped.place(placed), IsOk());
    EXPECT_THAT(process.epoll_watches().value(), SizeIs(watched.size()));
  }
  ASSERT_OK_AND_ASSIGN(SocketAddress name, sys::getsockname(fresh.get()));
  ASSERT_OK_AND_ASSIGN(Fd peer, sys::socket(AF_INET, SOCK_DGRAM, 0));
  ASSERT_EQ(::sendto(peer.get(), "there", 5, 0, name.get(), name.size()), 5);
  EXPECT_THAT(target.heard(), IsOkAndHolds("there"));
}

INSTANTIATE_TEST_SUITE_P(
    All, WaitTest,
    ::testing::Values(WaitKind{"recv", wait_with_recv, false},
                      WaitKind{"poll", wait_with_poll, false},
                      WaitKind{"select", wait_with_select, false},
                      WaitKind{"epoll", wait_with_epoll<EPOLLIN>, true},
                      WaitKind{"epoll_edges", wait_with_epoll<EPOLLIN | EPOLLET>, true},
                      WaitKind{"epoll_once", wait_with_epoll<EPOLLIN | EPOLLONESHOT>, true}),
    [](const auto& test) { return test.param.name; });

// What a process has, as /proc shows it.
struct Belongings {
  std::map<int, std::uint64_t> descriptors;  // inodes by number
  std::string memory;

  static Belongings of(pid_t pid) {
    Belongings all;
    const std::string directory = "/proc/" + std::to_string(pid);
    const std::vector<int> numbers = sockrepair::internal::numbers_in(directory + "/fd").value();
    for (int number : numbers) {
      struct stat status {};
      ::stat((directory + "/fd/" + std::to_string(number)).c_str(), &status);
      all.descriptors[number] = status.st_ino;
    }
    all.memory = sockrepair::internal::read_small_file(directory + "/maps").value();
    return all;
  }
  bool operator==(const Belongings&) const = default;
};

class PlaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(LiveProcess target, LiveProcess::start(hold_and_spin));
    ASSERT_THAT(target.heard(), IsOk());
    target_.emplace(std::move(target));
    ASSERT_OK_AND_ASSIGN(Process process, Process::open(target_->pid()));
    process_.emplace(std::move(process));
    before_ = Belongings::of(target_->pid());
    ASSERT_OK_AND_ASSIGN(socket_, bound_socket());
  }
  void TearDown() override {
    // Nothing but what was placed.
    EXPECT_EQ(Belongings::of(target_->pid()), before_);
    EXPECT_THAT(target_->tell("alive?"), IsOk());
    EXPECT_THAT(target_->heard(), IsOkAndHolds("alive"));
  }

  Result<void> place(const std::vector<PlacedDescriptor>& descriptors) {
    SOCKREPAIR_TRY_ASSIGN(StoppedProcess stopped,
                          StoppedProcess::stop(*process_, {.signal_only = true}));
    SOCKREPAIR_TRY(stopped.place(descriptors));
    for (const PlacedDescriptor& one : descriptors)
      before_.descriptors[one.number] = inode_of(one.fd);
    return stopped.resume();
  }
  // A number that the process does not use, from `from` on.
  int free_number(int from) const {
    while (before_.descriptors.contains(from)) ++from;
    return from;
  }

  std::optional<LiveProcess> target_;
  std::optional<Process> process_;
  Belongings before_;
  Fd socket_;
};

// The way into the process has the lowest free numbers, too.
TEST_F(PlaceTest, TakesTheLowestNumbers) {
  std::vector<PlacedDescriptor> all;
  std::vector<Fd> sockets;
  for (int number = 0; all.size() < 4; ++number) {
    number = free_number(number);
    ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket());
    all.push_back({fd.get(), number, all.size() % 2 == 0, {}});
    sockets.push_back(std::move(fd));
  }
  // And not in the order in which they are free.
  std::reverse(all.begin(), all.end());
  all.push_back({socket_.get(), free_number(500), false, {}});
  // One socket under two numbers.
  all.push_back({socket_.get(), free_number(600), true, {}});
  ASSERT_THAT(place(all), IsOk());
  for (const PlacedDescriptor& one : all)
    EXPECT_THAT(process_->close_on_exec(one.number), IsOkAndHolds(one.close_on_exec));
}

TEST_F(PlaceTest, RefusesNumbersInUse) {
  EXPECT_THAT(
      place({{socket_.get(), free_number(0), false, {}}, {socket_.get(), kHigh, false, {}}}),
      FailsWith(EEXIST, HasSubstr("descriptor 300 of process")));
  EXPECT_THAT(place({{socket_.get(), 400, false, {}}, {socket_.get(), 400, true, {}}}),
              FailsWith(EINVAL, HasSubstr("400 is given twice")));
  EXPECT_THAT(place({{socket_.get(), -1, false, {}}}), FailsWith(EINVAL));
}

TEST_F(PlaceTest, AllOrNone) {
  rlimit before{};
  const pid_t pid = target_->pid();
  rlimit limit{1000, 1000};
  ASSERT_EQ(::prlimit(pid, RLIMIT_NOFILE, &limit, &before), 0);
  const PlacedDescriptor first{socket_.get(), 400, false, {}};
  EXPECT_THAT(place({first, {socket_.get(), 1000, false, {}}}),
              FailsWith(EBADF, HasSubstr("1000 is beyond RLIMIT_NOFILE")));
  EXPECT_THAT(place({first, {-1, 401, false, {}}}), FailsWith(EBADF));
  // Not an epoll instance.
  EXPECT_THAT(place({first, {socket_.get(), 401, false, {{kLow, EPOLLIN, 1}}}}),
              FailsWith(EINVAL, HasSubstr("epoll_ctl(200) in process")));
  // No number for the way into it.
  limit.rlim_cur = 0;
  ASSERT_EQ(::prlimit(pid, RLIMIT_NOFILE, &limit, nullptr), 0);
  EXPECT_THAT(place({first}), FailsWith(EMFILE, HasSubstr("socketpair(1) in process")));
}

#endif

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// However a process ends, or whatever it starts: its lock ends with it, and not before.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "connection_lock/world.h"
#include "sockrepair/connection_lock.h"
#include "try.h"
#include "util/command.h"
#include "util/deadline.h"
#include "util/live_process.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<FourTuple> tuples(std::uint16_t count) {
  std::vector<FourTuple> all;
  IpAddress address = *IpAddress::parse("10.0.0.2");
  IpAddress peer = *IpAddress::parse("10.0.0.1");
  for (std::uint16_t i = 0; i < count; ++i)
    all.push_back({{address, 80, 0}, {peer, static_cast<std::uint16_t>(1024 + i), 0}});
  return all;
}

// Until the process is gone to its last thread, with all that was its own.
Result<void> wait_for_end(pid_t pid) {
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0)
    if (errno != EINTR) return Error{errno, "waitid()"};
  return {};
}

// What a program does with a lock; says the name of each step when it is done.
void use_lock(const LiveProcess::Line& line) {
  for (int number : {SIGINT, SIGTERM}) ::signal(number, SIG_DFL);
  auto step = [&](const char* name, const Result<void>& result) {
    line.say(result ? name : "failed: " + result.error().describe());
    static_cast<void>(line.hear());
  };
  step("started", {});
  Result<ConnectionLock> lock = ConnectionLock::create();
  step("created", lock ? Result<void>() : lock.error());
  step("added", lock->add(tuples(1)));
  step("added_many", lock->add(tuples(1000)));
  Result<void> refused = lock->add({{FourTuple{}}});
  step("refused", refused ? Error{EEXIST, "a connection without ports was taken"} : Result<void>());
  ConnectionLock other = *std::move(lock);
  step("moved", {});
  other.release();
  step("released", {});
}

struct Step {
  std::string name;
  bool has_table;
};
constexpr int kSignals[] = {SIGKILL, SIGINT, SIGTERM};
const std::vector<Step>& steps() {
  static const std::vector<Step> all = {{"started", false},   {"created", true}, {"added", true},
                                        {"added_many", true}, {"refused", true}, {"moved", true},
                                        {"released", false}};
  return all;
}

struct Death {
  std::string name;
  int signal;
  Step step;
};
std::ostream& operator<<(std::ostream& out, const Death& death) {
  return out << death.name;
}

std::vector<Death> deaths() {
  std::vector<Death> all;
  for (int signal : kSignals) {
    for (const Step& step : steps())
      all.push_back({std::string(::sigabbrev_np(signal)) + "_" + step.name, signal, step});
  }
  return all;
}

class ConnectionLockKillTest : public ::testing::TestWithParam<Death> {};

TEST_P(ConnectionLockKillTest, LeavesNoTable) {
  ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
  ASSERT_OK_AND_ASSIGN(LiveProcess process, ns.run([] { return LiveProcess::start(use_lock); }));
  for (const Step& step : steps()) {
    ASSERT_THAT(process.heard(), IsOkAndHolds(step.name));
    if (step.name == GetParam().step.name) break;
    ASSERT_THAT(process.tell("on"), IsOk());
  }
  ASSERT_OK_AND_ASSIGN(std::string before, tables_in(ns));
  ASSERT_EQ(!before.empty(), GetParam().step.has_table) << before;

  ASSERT_EQ(::kill(process.pid(), GetParam().signal), 0);
  ASSERT_THAT(wait_for_end(process.pid()), IsOk());
  EXPECT_THAT(tables_in(ns), IsOkAndHolds(""));
}

INSTANTIATE_TEST_SUITE_P(All, ConnectionLockKillTest, ::testing::ValuesIn(deaths()), ParamName());

// Not between two calls but in one: the word comes just before it.
TEST(ConnectionLockEnd, ATransactionThatIsCutOffLeavesNoTable) {
  constexpr int kRounds = 5;
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
    auto adds = [&](const LiveProcess::Line& line) {
      const std::vector<FourTuple> many = tuples(5000);
      Result<ConnectionLock> lock = ConnectionLock::create();
      for (int i = 0; lock && i <= round; ++i) {
        if (i == round) line.say("now");
        static_cast<void>(lock->add(many));
      }
      line.wait_for_end();
    };
    ASSERT_OK_AND_ASSIGN(LiveProcess process, ns.run([&] { return LiveProcess::start(adds); }));
    ASSERT_THAT(process.heard(), IsOkAndHolds("now"));
    ASSERT_EQ(::kill(process.pid(), SIGKILL), 0);
    ASSERT_THAT(wait_for_end(process.pid()), IsOk());
    EXPECT_THAT(tables_in(ns), IsOkAndHolds(""));
  }
}

// A process of the other's that has inherited what there was to inherit.
TEST(ConnectionLockEnd, ProgramsThatTheProcessStartedDoNotKeepTheLock) {
  ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
  auto starts_a_program = [](const LiveProcess::Line& line) {
    Result<ConnectionLock> lock = ConnectionLock::create();
    pid_t child = ::fork();
    if (child == 0) {
      ::execlp("sleep", "sleep", "1000", nullptr);
      ::_exit(127);
    }
    line.say(lock ? std::to_string(child) : lock.error().describe());
    line.wait_for_end();
  };
  ASSERT_OK_AND_ASSIGN(LiveProcess process,
                       ns.run([&] { return LiveProcess::start(starts_a_program); }));
  ASSERT_OK_AND_ASSIGN(std::string said, process.heard());
  pid_t child = std::stoi(said);
  auto name_of = [](pid_t pid) {
    std::string name;
    std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/comm"), name);
    return name;
  };
  ASSERT_THAT(wait_until("another program", Deadline::after(kPatience),
                         [&] { return name_of(child) == "sleep"; }),
              IsOk());
  EXPECT_THAT(tables_in(ns), IsOkAndHolds(StartsWith("sockrepair-")));

  ASSERT_EQ(::kill(process.pid(), SIGKILL), 0);
  ASSERT_THAT(wait_for_end(process.pid()), IsOk());
  EXPECT_EQ(name_of(child), "sleep");
  EXPECT_THAT(tables_in(ns), IsOkAndHolds(""));
  ::kill(child, SIGKILL);
}

TEST(ConnectionLockEnd, AnotherProgramInTheProcessIsAnEnd) {
  ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
  auto becomes_another = [](const LiveProcess::Line& line) {
    Result<ConnectionLock> lock = ConnectionLock::create();
    line.say(lock ? "locked" : lock.error().describe());
    static_cast<void>(line.hear());
    ::execlp("sleep", "sleep", "1000", nullptr);
  };
  ASSERT_OK_AND_ASSIGN(LiveProcess process,
                       ns.run([&] { return LiveProcess::start(becomes_another); }));
  ASSERT_THAT(process.heard(), IsOkAndHolds("locked"));
  EXPECT_THAT(tables_in(ns), IsOkAndHolds(StartsWith("sockrepair-")));
  ASSERT_THAT(process.tell("on"), IsOk());
  // The line closes at execve(2), when the threads are gone.
  EXPECT_THAT(process.heard(), FailsWith(ECONNRESET));
  EXPECT_THAT(tables_in(ns), IsOkAndHolds(""));
}

TEST(ConnectionLockEnd, TheChildOfAForkHasNoPartInIt) {
  ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(ns));
  ASSERT_THAT(lock.add(tuples(1)), IsOk());
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // An alarm, for the call that would wait for a thread that is not there.
    ::alarm(20);
    bool refused = !lock.add(tuples(2)).ok();
    lock.release();
    ::_exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(tables_in(ns), IsOkAndHolds(lock.table() + "\n"));
  EXPECT_THAT(lock.add(tuples(2)), IsOk());
  lock.release();
  EXPECT_THAT(tables_in(ns), IsOkAndHolds(""));
}

// What the process closes is closed: the thread of the lock has no copy.
TEST(ConnectionLockEnd, TheLockKeepsNoDescriptorOpen) {
  ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  Fd reader(ends[0]);
  Fd writer(ends[1]);
  const int next_before = Fd(::dup(0)).get();
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(ns));
  EXPECT_EQ(Fd(::dup(0)).get(), next_before) << "a descriptor of the lock's in this process";
  writer.reset();
  char byte;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0) << "somebody still has the other end";
}

// select(2), which the library uses, takes no descriptor above 1023.
TEST(ConnectionLockEnd, WorksAmongThousandsOfDescriptors) {
  ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit more = before;
  more.rlim_cur = more.rlim_max = std::max<rlim_t>(before.rlim_max, 4096);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &more), 0);
  std::vector<Fd> crowd;
  for (int i = 0; i < 2000; ++i) crowd.emplace_back(::fcntl(0, F_DUPFD_CLOEXEC, 0));
  ASSERT_GT(crowd.back().get(), 1024);
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(ns));
  EXPECT_THAT(lock.add(tuples(100)), IsOk());
}

}  // namespace
}  // namespace sockrepair::test

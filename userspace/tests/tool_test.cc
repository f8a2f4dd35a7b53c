// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// `sockrepair` on live processes. Needs root; what the kernel has to have for nothing to be lost is
// asked of `sockrepair check`.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "proc_fs.h"
#include "sockrepair/process.h"
#include "sockrepair/syscall.h"
#include "tool_fixture.h"
#include "try.h"
#include "util/handed_over.h"
#include "util/live_process.h"
#include "util/matchers.h"
#include "util/net_ns.h"
#include "util/param_name.h"
#include "util/tool.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Not;
using ::testing::StartsWith;

Fd bound_socket(const Endpoint& endpoint) {
  Result<Fd> fd = sys::socket(AF_INET, SOCK_DGRAM, 0);
  if (!fd || !sys::bind(fd->get(), SocketAddress(endpoint, AF_INET))) return Fd();
  return *std::move(fd);
}

Result<void> send_text(const std::string& text, const Endpoint& to) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_DGRAM, 0));
  SocketAddress address(to, AF_INET);
  if (::sendto(fd.get(), text.data(), text.size(), 0, address.get(), address.size()) < 0)
    return Error{errno, "sendto()"};
  return {};
}

// The datagrams that wait on `fd`.
std::vector<std::string> waiting(const Fd& fd) {
  std::vector<std::string> all;
  char buffer[2048];
  for (ssize_t n; (n = ::recv(fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT)) >= 0;)
    all.emplace_back(buffer, static_cast<std::size_t>(n));
  return all;
}

// A process with
//
//   kFirst, kFirst + 9   UDP, bound to kPort, "one" and "two" wait
//   kFirst + 1           UDP, bound to kPort + 1
//   kFirst + 2           TCP, listens
//   kFirst + 3           a raw socket for the protocol number of UDP, which is no UDP socket
class ToolTest : public ToolFixture {
 protected:
  void SetUp() override {
    ToolFixture::SetUp();
    if (HasFatalFailure()) return;
    start([](const Line& line) {
      hold_as(bound_socket(local(kPort)), kFirst);
      ::dup2(kFirst, kFirst + 9);
      hold_as(bound_socket(local(kPort + 1)), kFirst + 1);
      Result<Fd> listener = sys::socket(AF_INET, SOCK_STREAM, 0);
      ::listen(listener->get(), 5);
      hold_as(*std::move(listener), kFirst + 2);
      hold_as(*sys::socket(AF_INET, SOCK_RAW, IPPROTO_UDP), kFirst + 3);
      std::thread([] { ::poll(nullptr, 0, -1); }).detach();
      line.say("ready");
      line.wait_for_end();
    });
    ns_->run([&] {
      ASSERT_THAT(send_text("one", local(kPort)), IsOk());
      ASSERT_THAT(send_text("two", local(kPort)), IsOk());
    });
  }
};

class DumpTest : public ToolTest {};
class RestoreTest : public ToolTest {};

TEST_F(DumpTest, TakesEverySocketOnce) {
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--json"}));
  ASSERT_EQ(ran.status, 0) << ::testing::PrintToString(ran);
  Json report = Json::parse(ran.out);
  EXPECT_EQ(report["sockets"], 3);
  EXPECT_EQ(report["tcp"], 1);
  EXPECT_EQ(report["listeners"], 1);
  EXPECT_EQ(report["connections"], 0);
  EXPECT_EQ(report["waiting"], 2);
  EXPECT_EQ(report["under_construction"], 0);
  EXPECT_EQ(report["stopped_by"], "SIGSTOP");
  EXPECT_EQ(report["pid"], target_->pid());
  EXPECT_EQ(sockets().size(), 3U);
  struct stat status {};
  ASSERT_EQ(::stat(image().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  // The process has all it had, and runs.
  EXPECT_THAT(target_->wait_for_state('S'), IsOk());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target_->pid()));
  ASSERT_OK_AND_ASSIGN(Fd taken, process.take(kFirst));
  EXPECT_THAT(waiting(taken), ElementsAre("one", "two"));
}

TEST_F(DumpTest, ReportsForPeople) {
  ASSERT_OK_AND_ASSIGN(Ran ran, dump());
  EXPECT_THAT(ran.out, AllOf(StartsWith(image() +
                                        ": 2 UDP sockets (2 datagrams waiting, 0 under "
                                        "construction), 1 TCP socket (1 listening, 0 "
                                        "connected, 0 bytes to be read, 0 to be "
                                        "acknowledged) of process " +
                                        pid()),
                             HasSubstr("left as it was (SIGSTOP, ")));
}

// A process says itself what it is called, and not to the terminal.
TEST_F(DumpTest, ReportsNamesAsTheyAre) {
  start([](const Line& line) {
    ::prctl(PR_SET_NAME, "\x1b[2J");
    hold_as(bound_socket(local(kPort)), kFirst);
    line.say("ready");
    line.wait_for_end();
  });
  ASSERT_OK_AND_ASSIGN(Ran ran, dump());
  EXPECT_THAT(ran.out, HasSubstr(R"((\x1b[2J))"));
  EXPECT_THAT(ran.out, Not(HasSubstr("\x1b")));
}

TEST_F(DumpTest, WritesToStdout) {
  ASSERT_OK_AND_ASSIGN(Ran ran, run({"dump", "--pid", pid(), "-o", "-"}));
  ASSERT_EQ(ran.status, 0) << ran.err;
  std::ofstream(image(), std::ios::binary) << ran.out;
  EXPECT_EQ(sockets().size(), 3U);
  EXPECT_THAT(ran.err, HasSubstr("2 UDP sockets"));
}

TEST_F(DumpTest, TakesWhatIsAskedFor) {
  EXPECT_THAT(dump({"--fd", std::to_string(kFirst + 9), "--fd", std::to_string(kFirst)}),
              Exited(0));
  EXPECT_EQ(sockets().size(), 1U);
}

TEST_F(DumpTest, KillsWhenAsked) {
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--kill"}));
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("; killed ("));
  EXPECT_THAT(target_->heard(), FailsWith(ECONNRESET));
}

TEST_F(DumpTest, ClosesWhenAsked) {
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--close", "--fd", std::to_string(kFirst)}));
  EXPECT_EQ(ran.status, 0) << ran.err;
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target_->pid()));
  EXPECT_THAT(process.take(kFirst), FailsWith(EBADF));
  EXPECT_THAT(process.take(kFirst + 9), FailsWith(EBADF));
  EXPECT_THAT(process.take(kFirst + 1), IsOk());
  EXPECT_THAT(target_->wait_for_state('S'), IsOk());
  // Its address is free.
  EXPECT_TRUE(ns_->run([] { return bound_socket(local(kPort)); }).valid());
}

TEST_F(DumpTest, NamesWhoKeepsASocket) {
  start([](const Line& line) {
    hold_as(bound_socket(local(kPort + 2)), kFirst);
    line.say("ready");
    line.hear();
    pid_t child = ::fork();
    if (child == 0) ::pause();
    line.say(std::to_string(child));
    line.hear();
    ::kill(child, SIGKILL);
    line.say("killed");
    line.wait_for_end();
  });
  ASSERT_THAT(target_->tell("fork"), IsOk());
  ASSERT_OK_AND_ASSIGN(std::string child, target_->heard());
  std::string lost = "lost: descriptor 200: not closed everywhere, process " + child;
  std::vector<std::string> arguments = {"--close", "--fd", std::to_string(kFirst)};
  // With --strict nothing happens.
  arguments.push_back("--strict");
  EXPECT_THAT(dump(arguments), FailedWith(4, HasSubstr(lost)));
  EXPECT_THAT(directory_->entries(), IsEmpty());
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target_->pid()));
  EXPECT_THAT(process.take(kFirst), IsOk());
  arguments.pop_back();
  EXPECT_THAT(dump(arguments), FailedWith(0, HasSubstr(lost)));
  EXPECT_THAT(process.take(kFirst), FailsWith(EBADF));
  ASSERT_THAT(target_->tell("kill"), IsOk());
  EXPECT_THAT(target_->heard(), IsOkAndHolds("killed"));
}

// What is refused leaves no file, and the process as it was.
TEST_F(DumpTest, RefusesAndLeavesNothing) {
  EXPECT_THAT(dump({"--fd", "777"}),
              FailedWith(1, HasSubstr("--fd 777: the process has no such socket: EBADF")));
  EXPECT_THAT(
      dump({"--fd", std::to_string(kFirst + 3)}),
      FailedWith(1, HasSubstr("descriptor 203: neither a UDP nor a TCP socket: EPROTONOSUPPORT")));
  EXPECT_THAT(directory_->entries(), IsEmpty());
  EXPECT_THAT(run({"dump", "--pid", pid(), "-o", directory_->file("none/all.img")}),
              FailedWith(1, HasSubstr("ENOENT")));
  EXPECT_THAT(run({"dump", "--pid", pid(), "-o", "/dev/full"}), FailedWith(1, HasSubstr("ENOSPC")));
  EXPECT_THAT(target_->wait_for_state('S'), IsOk());
  EXPECT_THAT(run({"dump", "--pid", "2147483647", "-o", image()}),
              FailedWith(1, HasSubstr("pidfd_open(2147483647): ESRCH")));
  start([](const Line& line) {
    line.say("ready");
    line.wait_for_end();
  });
  EXPECT_THAT(dump(),
              FailedWith(1, HasSubstr("process " + pid() + " has no such UDP or TCP socket")));
  EXPECT_THAT(directory_->entries(), IsEmpty());
}

// A link that somebody else has put into a directory like /tmp, to have root replace another file.
TEST_F(DumpTest, FollowsNoLinkThatTheKernelForbids) {
  const std::string sysctl = "/proc/sys/fs/protected_symlinks";
  ASSERT_OK_AND_ASSIGN(std::string before, sockrepair::internal::read_small_file(sysctl));
  const std::string other = directory_->file("other");
  const std::string shared = directory_->file("shared");
  std::ofstream(other) << "precious";
  ASSERT_EQ(::mkdir(shared.c_str(), 0700), 0);
  ASSERT_EQ(::chmod(shared.c_str(), 01777), 0);
  ASSERT_EQ(::symlink(other.c_str(), (shared + "/x.img").c_str()), 0);
  constexpr uid_t kSomebody = 65534;
  ASSERT_EQ(::lchown((shared + "/x.img").c_str(), kSomebody, kSomebody), 0);

  std::ofstream(sysctl) << "1";
  Result<Ran> ran = run({"dump", "--pid", pid(), "-o", shared + "/x.img"});
  std::ofstream(sysctl) << before;
  EXPECT_THAT(ran, FailedWith(1, HasSubstr("stat(\"" + shared + "/x.img\"): EACCES")));
  EXPECT_THAT(sockrepair::internal::read_small_file(other), IsOkAndHolds("precious"));
}

// What is said to nobody goes to nobody: not into the image, nor to a peer.
TEST_F(DumpTest, WithoutStandardDescriptors) {
  auto shell = [&](const std::string& command) {
    return ns_->run([&]() -> Result<Ran> {
      SOCKREPAIR_TRY_ASSIGN(Running running,
                            Running::start({"sh", "-c", "exec " + tool_path() + " " + command}));
      return running.wait();
    });
  };
  const std::string all = "dump --pid " + pid() + " ";
  EXPECT_THAT(shell(all + "--kill -o - >&-"), FailedWith(1, HasSubstr("EBADF")));
  EXPECT_THAT(target_->wait_for_state('S'), IsOk());
  ASSERT_THAT(shell(all + "--kill -o " + image() + " >&- 2>&-"), Exited(0));
  EXPECT_EQ(sockets().size(), 3U);
  // PROGRAM has none either, but its sockets.
  const std::string look = "test ! -e /proc/self/fd/2 && test -e /proc/self/fd/201";
  EXPECT_THAT(shell("restore " + image() + " -- sh -c '" + look + "' <&- >&- 2>&-"), Exited(0));
}

TEST_F(DumpTest, KeepsAnOlderImageWhenItFails) {
  std::ofstream(image()) << "older";
  EXPECT_THAT(dump({"--fd", "777"}), Exited(1));
  EXPECT_THAT(sockrepair::internal::read_small_file(image()), IsOkAndHolds("older"));
  EXPECT_THAT(dump(), Exited(0));
  EXPECT_EQ(sockets().size(), 3U);
  EXPECT_THAT(directory_->entries(), ElementsAre("all.img"));
}

TEST_F(DumpTest, AStoppedProcessStaysStopped) {
  ASSERT_EQ(::kill(target_->pid(), SIGSTOP), 0);
  ASSERT_THAT(target_->wait_for_state('T'), IsOk());
  ASSERT_OK_AND_ASSIGN(Ran ran, dump());
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.out, HasSubstr("(already stopped, "));
  EXPECT_THAT(target_->states(), IsOkAndHolds("TT"));
  EXPECT_THAT(dump({"--fd", "777"}), Exited(1));
  EXPECT_THAT(target_->states(), IsOkAndHolds("TT"));
}

TEST_F(DumpTest, UsesTheFreezerAndThaws) {
  ASSERT_OK_AND_ASSIGN(Cgroup cgroup, Cgroup::create("tool"));
  ASSERT_THAT(cgroup.add(target_->pid()), IsOk());
  ASSERT_OK_AND_ASSIGN(Ran ran, dump());
  EXPECT_THAT(ran.out, HasSubstr("(cgroup freezer, "));
  EXPECT_THAT(cgroup.wait_frozen(false), IsOk());
  // Frozen by somebody else, it stays so; and what is frozen can still be killed.
  ASSERT_THAT(cgroup.write("cgroup.freeze", "1"), IsOk());
  ASSERT_THAT(cgroup.wait_frozen(true), IsOk());
  EXPECT_THAT(dump(), Exited(0));
  EXPECT_THAT(cgroup.read("cgroup.events"), IsOkAndHolds(HasSubstr("frozen 1")));
  // It cannot be made to close anything; that is found out before there is an image.
  ASSERT_EQ(::unlink(image().c_str()), 0);
  EXPECT_THAT(dump({"--close"}),
              FailedWith(1, AllOf(Not(HasSubstr("the image is written")), HasSubstr("is frozen"))));
  EXPECT_THAT(directory_->entries(), IsEmpty());
  EXPECT_THAT(dump({"--kill"}), Exited(0));
  target_.reset();
}

// The image goes to a pipe that nobody reads: the tool waits, and holds the process.
class InterruptTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    std::string large(1400, 'x');
    for (int i = 0; i < 20; ++i)
      ASSERT_THAT(ns_->run([&] { return send_text(large, local(kPort + 1)); }), IsOk());
    ASSERT_EQ(::mkfifo(pipe().c_str(), 0600), 0);
    reader_ = Fd(::open(pipe().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    ASSERT_GT(::fcntl(reader_.get(), F_SETPIPE_SZ, 4096), 0);
  }

  // With --close, so that all of the image has to be out before the process may go on.
  void start_dump(const std::string& file) {
    Fd writer(::open(pipe().c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_OK_AND_ASSIGN(Running tool,
                         begin({"dump", "--close", "--pid", pid(), "-o", file}, writer));
    tool_.emplace(std::move(tool));
    ASSERT_THAT(
        wait_for_events("the image begins", reader_.get(), POLLIN, Deadline::after(kPatience)),
        IsOk());
    ASSERT_THAT(target_->states(), IsOkAndHolds("TT"));
  }

  void expect_all_sockets() {
    ASSERT_OK_AND_ASSIGN(Process process, Process::open(target_->pid()));
    for (int number : {kFirst, kFirst + 1, kFirst + 9}) EXPECT_THAT(process.take(number), IsOk());
  }

  // Until the tool has nothing more to write.
  void read_all() {
    char buffer[4096];
    ASSERT_EQ(::fcntl(reader_.get(), F_SETFL, 0), 0);
    while (::read(reader_.get(), buffer, sizeof(buffer)) > 0) continue;
  }

  std::string pipe() const { return directory_->file("pipe"); }

  Fd reader_;
  std::optional<Running> tool_;
};

TEST_F(InterruptTest, KilledToolLetsTheProcessGoOn) {
  start_dump(pipe());
  tool_->signal(SIGKILL);
  EXPECT_THAT(tool_->wait(), Exited(128 + SIGKILL));
  EXPECT_THAT(target_->wait_for_state('S'), IsOk());
  expect_all_sockets();
}

TEST_F(InterruptTest, TerminatedToolEndsInOrder) {
  start_dump(pipe());
  tool_->signal(SIGTERM);
  read_all();
  EXPECT_THAT(tool_->wait(),
              FailedWith(128 + SIGTERM, HasSubstr("the image is written, but: signal 15: EINTR")));
  EXPECT_THAT(target_->states().value(), Not(HasSubstr("T")));
  expect_all_sockets();
}

// Where the second of two signals is needed when it is not stdout that blocks.
TEST_F(InterruptTest, SecondSignalEndsTheTool) {
  start_dump(pipe());
  tool_->signal(SIGTERM);
  ASSERT_THAT(wait_until("the first signal has been taken", Deadline::after(kPatience),
                         [&] {
                           Result<std::string> status = sockrepair::internal::read_small_file(
                               "/proc/" + std::to_string(tool_->pid()) + "/status");
                           return status.ok() &&
                                  sockrepair::internal::field_of(*status, "SigCgt", ':') !=
                                      std::nullopt &&
                                  sockrepair::internal::field_of(*status, "ShdPnd", ':') ==
                                      "0000000000000000";
                         }),
              IsOk());
  tool_->signal(SIGTERM);
  EXPECT_THAT(tool_->wait(), Exited(128 + SIGTERM));
  EXPECT_THAT(target_->wait_for_state('S'), IsOk());
  expect_all_sockets();
}

TEST_F(InterruptTest, OneSignalEndsADumpToStdout) {
  start_dump("-");
  tool_->signal(SIGINT);
  EXPECT_THAT(tool_->wait(), Exited(128 + SIGINT));
  EXPECT_THAT(target_->wait_for_state('S'), IsOk());
  expect_all_sockets();
}

TEST_F(InterruptTest, LostReaderLetsTheProcessGoOn) {
  start_dump("-");
  reader_.reset();
  ASSERT_OK_AND_ASSIGN(Ran ran, tool_->wait());
  EXPECT_NE(ran.status, 0);
  EXPECT_THAT(target_->wait_for_state('S'), IsOk());
  expect_all_sockets();
}

TEST_F(RestoreTest, GivesTheSameNumbers) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(std::vector<HeldSocket> held, program.sockets());
  ASSERT_EQ(held.size(), 3U);
  EXPECT_THAT(held[0].numbers, ElementsAre(kFirst, kFirst + 9));
  EXPECT_THAT(held[1].numbers, ElementsAre(kFirst + 1));
  EXPECT_THAT(held[2].numbers, ElementsAre(kFirst + 2));
  ASSERT_OK_AND_ASSIGN(Fd first, program.take(kFirst + 9));
  EXPECT_THAT(waiting(first), ElementsAre("one", "two"));
  // It is reached where it was.
  ASSERT_THAT(ns_->run([] { return send_text("three", local(kPort)); }), IsOk());
  EXPECT_THAT(waiting(first), ElementsAre("three"));
  EXPECT_EQ(program.variable("LISTEN_FDS"), "unset");
}

TEST_F(RestoreTest, GivesListenFds) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  ASSERT_RESTORED(program, {"restore", "--listen-fds", image(), "--", "sleep", "1000"});
  EXPECT_EQ(program.variable("LISTEN_FDS"), "3");
  EXPECT_EQ(program.variable("LISTEN_PID"), std::to_string(program.pid()));
  EXPECT_EQ(program.variable("LISTEN_FDNAMES"), "udp-200:udp-201:tcp-202");
  ASSERT_OK_AND_ASSIGN(std::vector<HeldSocket> held, program.sockets());
  ASSERT_EQ(held.size(), 3U);
  EXPECT_THAT(held[0].numbers, ElementsAre(3));
  EXPECT_THAT(held[1].numbers, ElementsAre(4));
  EXPECT_THAT(held[2].numbers, ElementsAre(5));
  ASSERT_OK_AND_ASSIGN(Fd first, program.take(3));
  EXPECT_THAT(waiting(first), ElementsAre("one", "two"));
}

TEST_F(RestoreTest, SendsToAUnixSocket) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  ASSERT_OK_AND_ASSIGN(Fd listener, listen_at(directory_->file("to")));
  EXPECT_THAT(run({"restore", image(), "--send-to", directory_->file("to")}), Exited(0));
  Fd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(connection.valid());
  ASSERT_OK_AND_ASSIGN(Message first, receive_message(connection));
  ASSERT_OK_AND_ASSIGN(Message second, receive_message(connection));
  ASSERT_OK_AND_ASSIGN(Message third, receive_message(connection));
  ASSERT_OK_AND_ASSIGN(Message end, receive_message(connection));
  ASSERT_OK_AND_ASSIGN(Message nothing, receive_message(connection));
  EXPECT_EQ(first.line, "udp 200,209 127.0.0.1:5000 -\n");
  EXPECT_EQ(second.line, "udp 201 127.0.0.1:5001 -\n");
  EXPECT_THAT(third.line, StartsWith("tcp 202 0.0.0.0:"));
  EXPECT_EQ(end.line, "end 3\n");
  EXPECT_EQ(nothing.line, "");
  EXPECT_THAT(waiting(first.descriptor), ElementsAre("one", "two"));
  EXPECT_FALSE(end.descriptor.valid());
}

TEST_F(RestoreTest, NobodyToSendTo) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  EXPECT_THAT(run({"restore", image(), "--send-to", directory_->file("to")}),
              FailedWith(1, HasSubstr("connect(" + directory_->file("to") + "): ENOENT")));
  EXPECT_THAT(run({"restore", image(), "--send-to", std::string(200, 'x')}),
              FailedWith(1, HasSubstr("1 to 107 bytes")));
}

TEST_F(RestoreTest, FromStdinAndAnyNumberOfTimes) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK_AND_ASSIGN(Running shell, ns_->run([&] {
      return Running::start({"sh", "-c",
                             "cat '" + image() + "' | exec " + tool_path() +
                                 " restore - -- sh -c 'echo up; exec sleep 1000'"});
    }));
    ASSERT_THAT(wait_until("it is up", Deadline::after(kPatience),
                           [&] { return shell.out() == "up\n" || !shell.err().empty(); }),
                IsOk());
    EXPECT_EQ(shell.err(), "");
    EXPECT_FALSE(ns_->run([] { return bound_socket(local(kPort)); }).valid());
    ASSERT_THAT(run({"restore", image(), "--", "true"}), FailedWith(1, HasSubstr("EADDRINUSE")));
    // The end of the shell is not that of the program.
    ns_->run([] { return Running::start({"true"}); }).value();
    ASSERT_OK_AND_ASSIGN(Ran killed, ns_->run([&]() -> Result<Ran> {
      SOCKREPAIR_TRY_ASSIGN(std::vector<int> pids, sockrepair::internal::numbers_in("/proc"));
      for (int one : pids) {
        Result<std::string> name =
            sockrepair::internal::read_small_file("/proc/" + std::to_string(one) + "/stat");
        if (name && name->find("(sleep) ") != std::string::npos &&
            name->find(" " + std::to_string(shell.pid()) + " ") != std::string::npos)
          ::kill(one, SIGKILL);
      }
      return shell.wait();
    }));
    EXPECT_EQ(killed.status, 128 + SIGKILL);
  }
}

TEST_F(RestoreTest, FailsWhole) {
  ASSERT_THAT(dump(), Exited(0));
  // The second address is taken: the first must be free again afterwards.
  target_.reset();
  Fd in_the_way = ns_->run([] { return bound_socket(local(kPort + 1)); });
  ASSERT_TRUE(in_the_way.valid());
  EXPECT_THAT(
      run({"restore", image(), "--", "touch", directory_->file("ran")}),
      FailedWith(1, AllOf(HasSubstr("descriptor 201 (127.0.0.1:5001)"), HasSubstr("EADDRINUSE"))));
  EXPECT_THAT(directory_->entries(), ElementsAre("all.img"));
  EXPECT_TRUE(ns_->run([] { return bound_socket(local(kPort)); }).valid());
}

TEST_F(RestoreTest, TellsWhyAProgramDoesNotRun) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  EXPECT_THAT(run({"restore", image(), "--", "/none/such"}),
              FailedWith(127, HasSubstr("execvp(/none/such): ENOENT")));
  EXPECT_THAT(run({"restore", image(), "--", image()}),
              FailedWith(126, HasSubstr("execvp(" + image() + "): EACCES")));
  ASSERT_OK_AND_ASSIGN(Ran ran, run({"restore", image(), "--", "sh", "-c", "exit 33"}));
  EXPECT_EQ(ran.status, 33);
}

TEST_F(RestoreTest, RefusesDamagedImages) {
  ASSERT_THAT(dump(), Exited(0));
  ASSERT_OK_AND_ASSIGN(std::string good, sockrepair::internal::read_small_file(image()));
  std::string bad = directory_->file("bad.img");
  auto with = [&](const std::string& content) {
    std::ofstream(bad, std::ios::binary | std::ios::trunc) << content;
    return run({"restore", bad, "--", "touch", directory_->file("ran")});
  };
  EXPECT_THAT(with(""), FailedWith(3, HasSubstr("EBADMSG")));
  EXPECT_THAT(with("#!/bin/sh\n"), FailedWith(3, HasSubstr("EBADMSG")));
  EXPECT_THAT(with(good.substr(0, good.size() - 1)), FailedWith(3, HasSubstr("EBADMSG")));
  std::string flipped = good;
  flipped[good.size() / 2] = static_cast<char>(flipped[good.size() / 2] ^ 4);
  EXPECT_THAT(with(flipped), FailedWith(3, HasSubstr("EBADMSG")));
  EXPECT_THAT(run({"show", bad}), FailedWith(3, HasSubstr("EBADMSG")));
  EXPECT_THAT(directory_->entries(), ElementsAre("all.img", "bad.img"));
  EXPECT_THAT(run({"restore", directory_->file("none"), "--", "true"}),
              FailedWith(1, HasSubstr("ENOENT")));
}

TEST_F(RestoreTest, NamesTheLimitOfDescriptors) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  ASSERT_OK_AND_ASSIGN(Ran ran, ns_->run([&]() -> Result<Ran> {
    SOCKREPAIR_TRY_ASSIGN(Running shell,
                          Running::start({"sh", "-c",
                                          "ulimit -n 205; exec " + tool_path() + " restore '" +
                                              image() + "' -- true"}));
    return shell.wait();
  }));
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("need a RLIMIT_NOFILE of "), HasSubstr("limit is 205"),
                             HasSubstr("EMFILE")));
}

TEST_F(RestoreTest, InAnotherNamespace) {
  ASSERT_THAT(dump(), Exited(0));
  ASSERT_OK_AND_ASSIGN(NetNs other, NetNs::create());
  ASSERT_OK_AND_ASSIGN(LiveProcess inside, other.run([] {
    return LiveProcess::start([](const Line& line) { line.wait_for_end(); });
  }));
  std::string by_pid = std::to_string(inside.pid());
  for (const std::string& name : {by_pid, "/proc/" + by_pid + "/ns/net"}) {
    // The old one goes on; that the same address can be had shows that it is another namespace.
    ASSERT_RESTORED(program, {"restore", "--netns", name, image(), "--", "sleep", "1000"});
    ASSERT_OK_AND_ASSIGN(Fd first, program.take(kFirst));
    EXPECT_THAT(waiting(first), ElementsAre("one", "two"));
    ASSERT_THAT(other.run([] { return send_text("three", local(kPort)); }), IsOk());
    EXPECT_THAT(waiting(first), ElementsAre("three"));
    struct stat a {
    }, b{};
    ASSERT_EQ(::stat(("/proc/" + std::to_string(program.pid()) + "/ns/net").c_str(), &a), 0);
    ASSERT_EQ(::stat(("/proc/" + by_pid + "/ns/net").c_str(), &b), 0);
    EXPECT_EQ(a.st_ino, b.st_ino);
  }
}

TEST_F(RestoreTest, OfSeveralNamespaces) {
  ASSERT_OK_AND_ASSIGN(NetNs other, NetNs::create());
  int other_fd = other.fd().get();
  start([other_fd](const Line& line) {
    hold_as(bound_socket(local(kPort + 2)), kFirst);
    ::setns(other_fd, CLONE_NEWNET);
    // The process goes back; the socket stays where it was made.
    hold_as(bound_socket(local(kPort + 2)), kFirst + 1);
    line.say("ready");
    line.wait_for_end();
  });
  ASSERT_THAT(other.run([] { return send_text("other", local(kPort + 2)); }), IsOk());
  ASSERT_THAT(ns_->run([] { return send_text("first", local(kPort + 2)); }), IsOk());
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  std::vector<Json> all = sockets();
  ASSERT_EQ(all.size(), 2U);
  auto cookie = [&](int i) { return std::to_string(all[i]["netns_cookie"].get<std::uint64_t>()); };
  ASSERT_NE(cookie(0), cookie(1));
  EXPECT_THAT(run({"restore", image(), "--", "true"}),
              FailedWith(1, AllOf(HasSubstr("from 2 network namespaces"),
                                  HasSubstr("--netns " + cookie(0) + "=NS"),
                                  HasSubstr("--netns " + cookie(1) + "=NS"))));
  ASSERT_OK_AND_ASSIGN(LiveProcess inside, other.run([] {
    return LiveProcess::start([](const Line& line) { line.wait_for_end(); });
  }));
  std::string own =
      "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(ns_->fd().get());
  ASSERT_RESTORED(program,
                  {"restore", "--netns", cookie(0) + "=" + own, "--netns",
                   cookie(1) + "=" + std::to_string(inside.pid()), image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(Fd first, program.take(kFirst));
  ASSERT_OK_AND_ASSIGN(Fd second, program.take(kFirst + 1));
  EXPECT_THAT(waiting(first), ElementsAre("first"));
  EXPECT_THAT(waiting(second), ElementsAre("other"));
  ASSERT_THAT(other.run([] { return send_text("again", local(kPort + 2)); }), IsOk());
  EXPECT_THAT(waiting(second), ElementsAre("again"));
}

// Which socket of a SO_REUSEPORT group gets a flow depends on the order in which they were bound.
TEST_F(RestoreTest, GroupsKeepTheirOrder) {
  start([](const Line& line) {
    // Bound in the order of `number`, found in another one.
    for (int number : {kFirst + 2, kFirst, kFirst + 3, kFirst + 1}) {
      Result<Fd> fd = sys::socket(AF_INET, SOCK_DGRAM, 0);
      Result<void> shared = sys::setsockopt(fd->get(), SOL_SOCKET, SO_REUSEPORT, 1);
      Result<void> bound = sys::bind(fd->get(), SocketAddress(local(kPort + 3), AF_INET));
      if (shared.ok() && bound.ok()) hold_as(*std::move(fd), number);
    }
    line.say("ready");
    line.wait_for_end();
  });
  auto ranks = [&] {
    std::vector<int> found;
    for (const Json& socket : sockets()) found.push_back(socket.value("reuseport_rank", -1));
    return found;
  };
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  EXPECT_THAT(ranks(), ElementsAre(1, 3, 0, 2));
  ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
  ASSERT_THAT(run({"dump", "--pid", std::to_string(program.pid()), "-o", image()}), Exited(0));
  EXPECT_THAT(ranks(), ElementsAre(1, 3, 0, 2));
}

// The half of a datagram, and what came of it: the other half added by the new program.
TEST_F(RestoreTest, CompletesADatagramUnderConstruction) {
  ASSERT_OK_AND_ASSIGN(Ran check, run({"check"}));
  bool carried = check.out.find("yes  udp-send-queue") != std::string::npos;
  start([](const Line& line) {
    Fd fd = bound_socket(local(kPort + 2));
    SocketAddress to(local(kPort + 4), AF_INET);
    ::sendto(fd.get(), "half", 4, MSG_MORE, to.get(), to.size());
    hold_as(std::move(fd), kFirst);
    line.say("ready");
    line.wait_for_end();
  });
  Fd peer = ns_->run([] { return bound_socket(local(kPort + 4)); });
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--json", "--kill"}));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(Json::parse(ran.out)["under_construction"], carried ? 1 : 0);
  EXPECT_EQ(ran.err.find("lost: descriptor 200: send queue: ") == std::string::npos, carried)
      << ran.err;
  ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(Fd fd, program.take(kFirst));
  SocketAddress to(local(kPort + 4), AF_INET);
  ASSERT_EQ(::sendto(fd.get(), " and half", 9, 0, to.get(), to.size()), 9);
  ASSERT_THAT(wait_for_events("it arrives", peer.get(), POLLIN, Deadline::after(kPatience)),
              IsOk());
  EXPECT_THAT(waiting(peer), ElementsAre(carried ? "half and half" : " and half"));
}

TEST_F(RestoreTest, RefusesNamespacesThatAreNone) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  auto with = [&](const std::string& value) {
    return run({"restore", "--netns", value, image(), "--", "true"});
  };
  EXPECT_THAT(with("none"), FailedWith(1, HasSubstr("open(/run/netns/none): ENOENT")));
  EXPECT_THAT(with("/proc/self/ns/user"), FailedWith(1, HasSubstr("is no network namespace")));
  EXPECT_THAT(with("/dev/null"), FailedWith(1, HasSubstr("is no network namespace")));
  EXPECT_THAT(with("x=/proc/self/ns/net"), FailedWith(1, HasSubstr("in front of the =")));
  EXPECT_THAT(with("="), FailedWith(1, HasSubstr("in front of the =")));
  EXPECT_THAT(with("1="), FailedWith(1, HasSubstr("no namespace")));
  EXPECT_THAT(with("77=/proc/self/ns/net"),
              FailedWith(1, HasSubstr("no socket of the image is from that namespace")));
}

TEST_F(RestoreTest, ManySockets) {
  constexpr int kCount = 300;
  start([](const Line& line) {
    for (int i = 0; i < kCount; ++i)
      hold_as(bound_socket(local(static_cast<std::uint16_t>(10000 + i))), kFirst + i);
    line.say("ready");
    line.wait_for_end();
  });
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--kill"}));
  ASSERT_EQ(ran.status, 0) << ran.err;
  // No progress where nobody looks.
  EXPECT_THAT(ran.err, Not(HasSubstr(" of ")));
  ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(std::vector<HeldSocket> held, program.sockets());
  EXPECT_EQ(held.size(), static_cast<std::size_t>(kCount));
  EXPECT_THAT(held.back().numbers, ElementsAre(kFirst + kCount - 1));
}

struct UsageKind {
  std::string name;
  std::vector<std::string> arguments;
  std::string complaint;
};
void PrintTo(const UsageKind& kind, std::ostream* out) {
  *out << kind.name;
}

class UsageTest : public ::testing::TestWithParam<UsageKind> {};

TEST_P(UsageTest, IsExplained) {
  ASSERT_OK_AND_ASSIGN(Ran ran, run_tool(GetParam().arguments));
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, StartsWith("sockrepair: " + GetParam().complaint));
  EXPECT_THAT(ran.err, HasSubstr("--help"));
  EXPECT_EQ(ran.out, "");
}

INSTANTIATE_TEST_SUITE_P(
    All, UsageTest,
    ::testing::ValuesIn(std::vector<UsageKind>{
        {"nothing", {}, "A subcommand is required"},
        {"no_such_verb", {"bogus"}, "no verb 'bogus'"},
        {"no_such_option",
         {"check", "--bogus"},
         "The following argument was not expected: --bogus"},
        {"dump_without_pid", {"dump", "-o", "f"}, "--pid is required"},
        {"dump_without_file", {"dump", "--pid", "1"}, "--output is required"},
        {"dump_of_no_number", {"dump", "--pid", "x", "-o", "f"}, "--pid: Value x not in range"},
        {"dump_of_zero", {"dump", "--pid", "0", "-o", "f"}, "--pid: Value 0 not in range"},
        {"dump_closes_and_kills",
         {"dump", "--pid", "1", "-o", "f", "--close", "--kill"},
         "--close excludes --kill"},
        {"dump_with_a_stray_word",
         {"dump", "--pid", "1", "--fd", "3", "4", "-o", "f"},
         "The following argument was not expected: 4"},
        {"dump_with_a_program", {"dump", "--pid", "1", "-o", "f", "--", "x"}, "-- is for restore"},
        {"dump_of_both_and_neither",
         {"dump", "--pid", "1", "-o", "f", "--udp", "--tcp"},
         "--udp excludes --tcp"},
        {"dump_listens_and_connects",
         {"dump", "--pid", "1", "-o", "f", "--listen-only", "--connections-only"},
         "--listen-only excludes --connections-only"},
        {"dump_of_no_address",
         {"dump", "--pid", "1", "-o", "f", "--local", "1.2.3"},
         "--local: '1.2.3' is no ADDRESS"},
        {"dump_of_no_port",
         {"dump", "--pid", "1", "-o", "f", "--peer", ":65536"},
         "--peer: ':65536' is no ADDRESS"},
        {"dump_of_an_open_bracket",
         {"dump", "--pid", "1", "-o", "f", "--peer", "[::1"},
         "--peer: '[::1' is no ADDRESS"},
        {"dump_holds_what_is_not_locked",
         {"dump", "--pid", "1", "-o", "f", "--no-lock", "--hold", "1"},
         "--no-lock excludes --hold"},
        {"dump_holds_what_goes_on",
         {"dump", "--pid", "1", "-o", "f", "--hold", "1"},
         "--hold needs --kill or --close"},
        {"restore_with_no_way_of_congestion",
         {"restore", "f", "--congestion", "x", "--", "y"},
         "--congestion: x not in {capped,skip,whole}"},
        {"restore_rewrites_nothing",
         {"restore", "f", "--rewrite", "1.2.3.4", "--", "y"},
         "--rewrite: '1.2.3.4' is no OLD=NEW"},
        {"restore_rewrites_into_another_family",
         {"restore", "f", "--rewrite", "1.2.3.4=::1", "--", "y"},
         "--rewrite: '1.2.3.4=::1' is no OLD=NEW"},
        {"restore_without_file", {"restore", "--", "true"}, "FILE is required"},
        {"restore_for_nobody", {"restore", "f"}, "nobody to get the sockets"},
        {"restore_for_nobody_again", {"restore", "f", "--"}, "nobody to get the sockets"},
        {"restore_for_two",
         {"restore", "f", "--send-to", "x", "--", "y"},
         "either --send-to, --into or PROGRAM"},
        {"restore_both_ways",
         {"restore", "f", "--send-to", "x", "--listen-fds"},
         "--listen-fds excludes --send-to"},
        {"restore_into_a_program",
         {"restore", "f", "--into", "1", "--", "y"},
         "either --send-to, --into or PROGRAM"},
        {"restore_into_two",
         {"restore", "f", "--into", "1", "--send-to", "x"},
         "--send-to excludes --into"},
        {"restore_into_nobody", {"restore", "f", "--into", "0"}, "--into: "},
        {"show_without_file", {"show"}, "FILE is required"},
    }),
    ParamName());

TEST(HelpTest, IsThereForEachVerb) {
  for (const char* verb : {"dump", "restore", "show", "check", "detached"}) {
    ASSERT_OK_AND_ASSIGN(Ran ran, run_tool({verb, "--help"}));
    EXPECT_EQ(ran.status, 0);
    EXPECT_THAT(ran.out, HasSubstr(std::string("\n  sockrepair ") + verb + " ")) << "an example";
    EXPECT_THAT(ran.out, Each(AnyOf('\n', AllOf(Ge(' '), Le('~'))))) << "text";
    EXPECT_EQ(ran.err, "");
  }
  ASSERT_OK_AND_ASSIGN(Ran version, run_tool({"--version"}));
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out, StartsWith("sockrepair "));
}

TEST(PrintTest, FailsWhereNothingArrives) {
  Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full.valid());
  for (const char* verb : {"check", "detached"}) {
    ASSERT_OK_AND_ASSIGN(Running running, start_tool({verb, "--json"}, full));
    EXPECT_THAT(running.wait(), FailedWith(1, HasSubstr("write(stdout): ENOSPC"))) << verb;
  }
}

TEST(CheckTest, SaysWhatIsMissing) {
  ASSERT_OK_AND_ASSIGN(Ran ran, run_tool({"check", "--json"}));
  Json report = Json::parse(ran.out);
  bool all = true;
  for (const Json& feature : report["features"]) {
    bool there = feature["available"];
    EXPECT_EQ(there, !feature.contains("error")) << feature;
    EXPECT_NE(feature["cost_of_absence"], "");
    all = all && there;
  }
  EXPECT_EQ(ran.status, all ? 0 : 4);
  ASSERT_OK_AND_ASSIGN(Ran text, run_tool({"check"}));
  EXPECT_EQ(text.status, ran.status);
  EXPECT_EQ(std::count(text.out.begin(), text.out.end(), '\n'),
            static_cast<std::ptrdiff_t>(report["features"].size()));
}

TEST(CheckTest, OurKernelHasEverything) {
  utsname system{};
  ASSERT_EQ(::uname(&system), 0);
  if (strstr(system.release, "-sockrepair") == nullptr)
    GTEST_SKIP() << "not a kernel with the series: " << system.release;
  EXPECT_THAT(run_tool({"check"}), Exited(0));
}

}  // namespace
}  // namespace sockrepair::test

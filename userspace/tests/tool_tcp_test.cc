// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// `sockrepair` on processes with TCP sockets. Peers are in the same network namespace, over lo.

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "keeper.h"
#include "sockrepair/feature.h"
#include "sockrepair/process.h"
#include "sockrepair/syscall.h"
#include "tcp_ao.h"
#include "tool_fixture.h"
#include "try.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int kPeers = 2;
// What the target has besides, see TcpToolTest.
constexpr int kOwnClient = kFirst + 1 + kPeers;
constexpr int kOwnServer = kOwnClient + 1;
constexpr int kUdp = kOwnServer + 1;

Result<void> say(const Fd& fd, const std::string& text) {
  ssize_t sent = ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent == static_cast<ssize_t>(text.size())) return {};
  return Error{sent < 0 ? errno : EIO, "send()"};
}

// `size` bytes from `fd`, or fewer when it ends before.
Result<std::string> hear(const Fd& fd, std::size_t size) {
  std::string text;
  while (text.size() < size) {
    SOCKREPAIR_TRY(wait_for_events("bytes arrive", fd.get(), POLLIN, Deadline::after(kPatience)));
    std::array<char, 256> buffer;
    ssize_t got =
        ::recv(fd.get(), buffer.data(), std::min(buffer.size(), size - text.size()), MSG_DONTWAIT);
    if (got < 0) return Error{errno, "recv()"};
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

bool kernel_has(const std::string& name) {
  for (const Feature& feature : features())
    if (feature.name == name) return static_cast<bool>(feature.probe());
  return false;
}

// Both ways.
void expect_alive(const Fd& a, const Fd& b) {
  EXPECT_THAT(say(a, "there"), IsOk());
  EXPECT_THAT(hear(b, 5), IsOkAndHolds("there"));
  EXPECT_THAT(say(b, "back"), IsOk());
  EXPECT_THAT(hear(a, 4), IsOkAndHolds("back"));
}

// A process with
//
//   kFirst              TCP, listens on kPort
//   kFirst + 1, + 2     accepted from peers_, in this order; "unread" waits, "unsent" is on its way
//   kOwnClient          connected to its own listener
//   kOwnServer          accepted, the other end of it
//   kUdp                UDP, bound to kPort
class TcpToolTest : public ToolFixture {
 protected:
  void SetUp() override {
    ToolFixture::SetUp();
    if (HasFatalFailure()) return;
    start([](const Line& line) {
      Result<Fd> listener = listening(local(kPort));
      if (!listener) return;
      line.say("ready");
      for (int i = 0; i < kPeers; ++i)
        hold_as(Fd(::accept(listener->get(), nullptr, nullptr)), kFirst + 1 + i);
      hold_as(connected(local(kPort)).value(), kOwnClient);
      hold_as(Fd(::accept(listener->get(), nullptr, nullptr)), kOwnServer);
      Fd udp = sys::socket(AF_INET, SOCK_DGRAM, 0).value();
      ::bind(udp.get(), SocketAddress(local(kPort), AF_INET).get(), sizeof(sockaddr_in));
      hold_as(std::move(udp), kUdp);
      hold_as(*std::move(listener), kFirst);
      line.say("set up");
      line.wait_for_end();
    });
    for (int i = 0; i < kPeers; ++i) {
      ASSERT_OK_AND_ASSIGN(Fd peer, ns_->run([] { return connected(local(kPort)); }));
      peers_.push_back(std::move(peer));
    }
    ASSERT_THAT(target_->heard(), IsOkAndHolds("set up"));
    for (int i = 0; i < kPeers; ++i) {
      ASSERT_OK_AND_ASSIGN(Fd fd, take(kFirst + 1 + i));
      ASSERT_THAT(say(peers_[i], "unread"), IsOk());
      ASSERT_THAT(wait_for_events("it is there", fd.get(), POLLIN, Deadline::after(kPatience)),
                  IsOk());
    }
  }

  // A socket of the target. It has to be given back before the target's end is to end it.
  Result<Fd> take(int number) const {
    SOCKREPAIR_TRY_ASSIGN(Process process, Process::open(target_->pid()));
    return process.take(number);
  }

  // Numbers of all sockets of the image.
  std::set<int> numbers() {
    std::set<int> all;
    for (const Json& socket : sockets())
      for (const Json& descriptor : socket["descriptors"]) all.insert(int{descriptor["number"]});
    return all;
  }

  // What nft(8) says to commands.
  std::string nft(const std::string& commands) {
    Result<Running> nft = ns_->run([&] { return Running::start({"nft", commands}); });
    if (!nft) return nft.error().describe();
    Result<Ran> ran = nft->wait();
    return ran ? ran->out + ran->err : ran.error().describe();
  }
  // Names of nftables' tables.
  std::string tables() { return nft("list tables"); }

  void expect_all_as_it_was() {
    EXPECT_EQ(tables(), "");
    EXPECT_THAT(target_->wait_for_state('S'), IsOk());
    for (int i = 0; i < kPeers; ++i) {
      ASSERT_OK_AND_ASSIGN(Fd fd, take(kFirst + 1 + i));
      EXPECT_THAT(sys::getsockopt<int>(fd.get(), IPPROTO_TCP, TCP_REPAIR), IsOkAndHolds(0));
      EXPECT_THAT(hear(fd, 6), IsOkAndHolds("unread"));
      expect_alive(peers_[i], fd);
    }
  }

  std::vector<Fd> peers_;
};

TEST_F(TcpToolTest, DumpChangesNothing) {
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--json"}));
  ASSERT_EQ(ran.status, 0) << ran.err;
  Json report = Json::parse(ran.out);
  EXPECT_EQ(report["sockets"], 6);
  EXPECT_EQ(report["tcp"], 5);
  EXPECT_EQ(report["listeners"], 1);
  EXPECT_EQ(report["connections"], 4);
  EXPECT_EQ(report["to_be_read"], 6 * kPeers);
  EXPECT_EQ(report["lock_pid"], 0);
  expect_all_as_it_was();
}

// Both peers, and the connection of the process to itself. Nothing at all is lost by kernels that
// can carry everything.
TEST_F(TcpToolTest, ConnectionsGoOnElsewhere) {
  std::vector<std::string> how = {"--json", "--kill"};
  std::vector<std::string> restore = {"restore", image(), "--", "sleep", "1000"};
  if (kernel_has("tcp-control-block")) {
    how.push_back("--strict");
    restore.insert(restore.begin() + 1, "--strict");
  }
  ASSERT_OK_AND_ASSIGN(Ran ran, dump(how));
  ASSERT_EQ(ran.status, 0) << ran.err;
  int keeper = Json::parse(ran.out)["lock_pid"];
  EXPECT_GT(keeper, 0);
  EXPECT_THAT(tables(), HasSubstr("sockrepair-" + std::to_string(keeper)));
  // Nobody answers.
  for (const Fd& peer : peers_) ASSERT_THAT(say(peer, "meanwhile"), IsOk());

  ASSERT_RESTORED(program, restore);
  EXPECT_EQ(tables(), "");
  for (int i = 0; i < kPeers; ++i) {
    ASSERT_OK_AND_ASSIGN(Fd fd, program.take(kFirst + 1 + i));
    EXPECT_THAT(hear(fd, 15), IsOkAndHolds("unreadmeanwhile"));
    expect_alive(peers_[i], fd);
    EXPECT_THAT(sys::getsockopt<int>(peers_[i].get(), SOL_SOCKET, SO_ERROR), IsOkAndHolds(0));
  }
  ASSERT_OK_AND_ASSIGN(Fd client, program.take(kOwnClient));
  ASSERT_OK_AND_ASSIGN(Fd server, program.take(kOwnServer));
  expect_alive(client, server);
  // And the listener listens.
  ASSERT_OK_AND_ASSIGN(Fd listener, program.take(kFirst));
  ASSERT_OK_AND_ASSIGN(Fd another, ns_->run([] { return connected(local(kPort)); }));
  Fd accepted(::accept(listener.get(), nullptr, nullptr));
  expect_alive(another, accepted);
}

// The data of the one is not kept while the others are made.
TEST_F(ToolFixture, ManyBytesInLittleMemory) {
  constexpr int kConnections = 12;
  constexpr int kBytes = 2 << 20;
  constexpr int kLimit = 34'000;  // KiB of data; some 20,000 are the program's own
  start([](const Line& line) {
    Fd listener = listening(local(kPort)).value();
    (void)sys::setsockopt(listener.get(), SOL_SOCKET, SO_RCVBUFFORCE, 2 * kBytes);
    line.say("ready");
    for (int i = 0; i < kConnections; ++i)
      hold_as(Fd(::accept(listener.get(), nullptr, nullptr)), kFirst + i);
    line.wait_for_end();
  });
  const std::string bytes(kBytes, 'x');
  std::vector<Fd> peers;
  for (int i = 0; i < kConnections; ++i) {
    ASSERT_OK_AND_ASSIGN(Fd peer, ns_->run([] { return connected(local(kPort)); }));
    ASSERT_EQ(::send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), kBytes);
    peers.push_back(std::move(peer));
  }
  ASSERT_THAT(dump({"--kill", "--connections-only"}), Exited(0));
  ASSERT_OK_AND_ASSIGN(Running shell, ns_->run([&] {
    return Running::start({"sh", "-c",
                           "ulimit -d " + std::to_string(kLimit) + "; exec " + tool_path() +
                               " restore " + image() + " -- sleep 1000"});
  }));
  ASSERT_THAT(shell.wait_for_name("sleep"), IsOk());
}

TEST_F(TcpToolTest, ClosedSocketsTellNobody) {
  ASSERT_OK_AND_ASSIGN(Ran ran,
                       dump({"--close", "--connections-only", "--fd", std::to_string(kFirst + 1)}));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(take(kFirst + 1), FailsWith(EBADF));
  EXPECT_THAT(target_->wait_for_state('S'), IsOk());
  // The other connection is not meant.
  ASSERT_OK_AND_ASSIGN(Fd other, take(kFirst + 2));
  EXPECT_THAT(hear(other, 6), IsOkAndHolds("unread"));
  expect_alive(peers_[1], other);
  // The listener is still there, and its port has the connection again besides.
  ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(Fd fd, program.take(kFirst + 1));
  EXPECT_THAT(hear(fd, 6), IsOkAndHolds("unread"));
  expect_alive(peers_[0], fd);
}

// Their own process, which does not run in between.
TEST_F(TcpToolTest, PutBackIntoTheProcess) {
  ASSERT_EQ(::kill(target_->pid(), SIGSTOP), 0);
  ASSERT_THAT(target_->wait_for_state('T'), IsOk());
  ASSERT_THAT(dump({"--close", "--connections-only"}), Exited(0));
  const std::vector<std::string> into = {"restore", "--into", pid(), image()};
  for (const Fd& peer : peers_) ASSERT_THAT(say(peer, "meanwhile"), IsOk());
  ASSERT_THAT(run(into), Exited(0));
  EXPECT_EQ(tables(), "");
  EXPECT_THAT(target_->states(), IsOkAndHolds("T"));
  ASSERT_EQ(::kill(target_->pid(), SIGCONT), 0);
  for (int i = 0; i < kPeers; ++i) {
    ASSERT_OK_AND_ASSIGN(Fd fd, take(kFirst + 1 + i));
    EXPECT_THAT(hear(fd, 15), IsOkAndHolds("unreadmeanwhile"));
    expect_alive(peers_[i], fd);
  }
  ASSERT_OK_AND_ASSIGN(Fd client, take(kOwnClient));
  ASSERT_OK_AND_ASSIGN(Fd server, take(kOwnServer));
  expect_alive(client, server);
}

// What cannot be put into the process leaves peers and process alone, and can be tried again.
TEST_F(TcpToolTest, NumbersInUseRefuseThePutBack) {
  ASSERT_THAT(dump({"--close", "--connections-only"}), Exited(0));
  LiveProcess other = ns_->run([] {
                           return LiveProcess::start([](const Line& line) {
                             ::dup2(STDIN_FILENO, kOwnServer);
                             line.say("ready");
                             line.wait_for_end();
                           });
                         })
                          .value();
  ASSERT_THAT(other.heard(), IsOk());
  EXPECT_THAT(run({"restore", "--into", std::to_string(other.pid()), image()}),
              FailedWith(1, HasSubstr("descriptor " + std::to_string(kOwnServer))));
  EXPECT_EQ(
      ::access(
          ("/proc/" + std::to_string(other.pid()) + "/fd/" + std::to_string(kFirst + 1)).c_str(),
          F_OK),
      -1);
  EXPECT_THAT(other.wait_for_state('S'), IsOk());
  EXPECT_THAT(tables(), HasSubstr("sockrepair-"));
  ASSERT_THAT(run({"restore", "--into", pid(), image()}), Exited(0));
  EXPECT_EQ(tables(), "");
  ASSERT_OK_AND_ASSIGN(Fd fd, take(kFirst + 1));
  EXPECT_THAT(hear(fd, 6), IsOkAndHolds("unread"));
  expect_alive(peers_[0], fd);
}

TEST_F(TcpToolTest, SentWithScmRights) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  // Nobody to send to: nothing is lost by that, and the lock stays.
  EXPECT_THAT(run({"restore", image(), "--send-to", directory_->file("none")}),
              FailedWith(1, HasSubstr("ENOENT")));
  EXPECT_THAT(run({"restore", image(), "--", "/none/such"}), Exited(127));
  EXPECT_THAT(run({"restore", image(), "--", image()}), Exited(126));
  EXPECT_THAT(tables(), HasSubstr("sockrepair-"));
  ASSERT_RESTORED(program, {"restore", "--listen-fds", image(), "--", "sleep", "1000"});
  EXPECT_EQ(program.variable("LISTEN_FDNAMES"), "tcp-200:tcp-201:tcp-202:tcp-203:tcp-204:udp-205");
  ASSERT_OK_AND_ASSIGN(Fd fd, program.take(4));
  EXPECT_THAT(hear(fd, 6), IsOkAndHolds("unread"));
  expect_alive(peers_[0], fd);
}

// Who has got all sockets, and goes before the word that these are all. The connections are alive
// by then, and whoever tries again has them.
TEST_F(TcpToolTest, ReceiverThatGoesTooEarly) {
  ASSERT_THAT(dump({"--kill", "--hold", "0"}), Exited(0));
  const std::string path = directory_->file("to");
  ASSERT_OK_AND_ASSIGN(Fd listener, sys::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_OK_AND_ASSIGN(Running tool, begin({"restore", image(), "--send-to", path}));
  ASSERT_THAT(
      wait_for_events("the tool connects", listener.get(), POLLIN, Deadline::after(kPatience)),
      IsOk());
  Fd connection(::accept(listener.get(), nullptr, nullptr));
  // Nothing more is taken; what the tool has sent before that is lost.
  ASSERT_EQ(::shutdown(connection.get(), SHUT_RD), 0);
  ASSERT_OK_AND_ASSIGN(Ran ran, tool.wait());
  EXPECT_EQ(ran.status, 1);
  connection.reset();
  listener.reset();
  ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(Fd fd, program.take(kFirst + 1));
  EXPECT_THAT(hear(fd, 6), IsOkAndHolds("unread"));
  expect_alive(peers_[0], fd);
}

// Where they are put the tool has its own descriptors, of which it needs some to the last.
TEST_F(TcpToolTest, NumbersOfTheToolItself) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  const auto cookie = sockets().front()["netns_cookie"].get<std::uint64_t>();
  const std::string own =
      "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(ns_->fd().get());
  ASSERT_RESTORED(program, {"restore", "--listen-fds", "--netns",
                            std::to_string(cookie) + "=" + own, image(), "--", "sleep", "1000"});
  EXPECT_EQ(tables(), "");
  ASSERT_OK_AND_ASSIGN(Fd fd, program.take(4));
  EXPECT_THAT(hear(fd, 6), IsOkAndHolds("unread"));
  expect_alive(peers_[0], fd);
}

// The answer to its SYN is lost. It would end the socket's state between two calls of the dump, or
// be answered with a reset by the host.
TEST_F(TcpToolTest, ConnectionsThatBeginAreLocked) {
  Fd listener = ns_->run([] { return listening(local(kPort + 1)); }).value();
  ASSERT_EQ(nft("add table ip lose; add chain ip lose in { type filter hook input priority 0; }; "
                "add rule ip lose in tcp sport " +
                std::to_string(kPort + 1) + " drop"),
            "");
  start([](const Line& line) {
    Fd fd = sys::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0).value();
    if (sys::connect(fd.get(), SocketAddress(local(kPort + 1), AF_INET))) return;
    hold_as(std::move(fd), kFirst);
    line.say("ready");
    line.wait_for_end();
  });
  ASSERT_OK_AND_ASSIGN(Fd fd, take(kFirst));
  ASSERT_OK_AND_ASSIGN(SocketAddress name, sys::getsockname(fd.get()));
  const std::string port = std::to_string(name.endpoint()->port);
  fd.reset();
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--json", "--kill", "--fd", std::to_string(kFirst)}));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_GT(Json::parse(ran.out)["lock_pid"], 0);
  EXPECT_EQ(sockets()[0]["state"], "SYN_SENT");
  EXPECT_THAT(nft("list ruleset"),
              ContainsRegex("127.0.0.1 . " + port + " . 127.0.0.1 . " + std::to_string(kPort + 1)));
  ASSERT_EQ(nft("delete table ip lose"), "");

  ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
  EXPECT_EQ(tables(), "");
  ASSERT_THAT(wait_for_events("it is accepted", listener.get(), POLLIN, Deadline::after(kPatience)),
              IsOk());
  Fd accepted(::accept(listener.get(), nullptr, nullptr));
  ASSERT_OK_AND_ASSIGN(Fd restored, program.take(kFirst));
  EXPECT_THAT(sys::getsockname(restored.get())->to_string(), name.to_string());
  expect_alive(accepted, restored);
}

// --- when it does not come to an end

TEST_F(TcpToolTest, FailedDumpPutsAllBack) {
  EXPECT_THAT(run({"dump", "--pid", pid(), "--kill", "-o", "/dev/full"}),
              FailedWith(1, HasSubstr("ENOSPC")));
  expect_all_as_it_was();
}

TEST_F(TcpToolTest, KilledToolPutsAllBack) {
  // An image that does not fit into a pipe which nobody reads.
  std::string pipe = directory_->file("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  Fd reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_GT(::fcntl(reader.get(), F_SETPIPE_SZ, 4096), 0);
  Fd writer(::open(pipe.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_OK_AND_ASSIGN(Running tool, begin({"dump", "--kill", "--pid", pid(), "-o", pipe}, writer));
  ASSERT_THAT(wait_for_events("the image begins", reader.get(), POLLIN, Deadline::after(kPatience)),
              IsOk());
  // In repair mode, as somebody else sees it.
  ASSERT_OK_AND_ASSIGN(Fd fd, take(kFirst + 1));
  EXPECT_THAT(wait_until("it is in repair mode", Deadline::after(kPatience),
                         [&] {
                           Result<int> mode =
                               sys::getsockopt<int>(fd.get(), IPPROTO_TCP, TCP_REPAIR);
                           return mode && *mode != 0;
                         }),
              IsOk());
  EXPECT_THAT(tables(), HasSubstr("sockrepair-"));
  tool.signal(SIGKILL);
  EXPECT_THAT(tool.wait(), Exited(128 + SIGKILL));
  EXPECT_THAT(wait_until("the rules are gone", Deadline::after(kPatience),
                         [&] { return tables().empty(); }),
              IsOk());
  expect_all_as_it_was();
}

// As a dump that has ended the process and is killed before anything else. Only comes back with an
// error.
Result<void> die_after(const Process& process, int number) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, process.take(number));
  SOCKREPAIR_TRY_ASSIGN(SocketAddress ours, sys::getsockname(fd.get()));
  SOCKREPAIR_TRY_ASSIGN(SocketAddress theirs, sys::getpeername(fd.get()));
  tool::KeptConnection kept{fd.get(), 1, {}};
  SOCKREPAIR_TRY_ASSIGN(kept.tuple.local, ours.endpoint());
  SOCKREPAIR_TRY_ASSIGN(kept.tuple.peer, theirs.endpoint());
  SOCKREPAIR_TRY_ASSIGN(tool::Keeper keeper, tool::Keeper::start({kept}, true, "of-a-test"));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR, 1));
  SOCKREPAIR_TRY(keeper.expect_end(process.pidfd().get(), std::chrono::seconds(60)));
  SOCKREPAIR_TRY(process.kill(std::chrono::seconds(20)));
  ::raise(SIGKILL);
  return Error{EINTR, "SIGKILL"};
}

TEST_F(TcpToolTest, KilledToolLeavesTheDeadAlone) {
  ASSERT_OK_AND_ASSIGN(Process process, Process::open(target_->pid()));
  const pid_t dump = ::fork();
  if (dump == 0) {
    fputs(die_after(process, kFirst + 1).error().describe().c_str(), stderr);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(dump, &status, 0), dump);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

  pid_t keeper = 0;
  EXPECT_THAT(wait_until("the lock is kept", Deadline::after(kPatience),
                         [&] {
                           const std::string all = tables();
                           const std::size_t at = all.find("sockrepair-");
                           if (at == std::string::npos) return false;
                           keeper = atoi(all.c_str() + at + strlen("sockrepair-"));
                           std::ifstream file("/proc/" + std::to_string(keeper) + "/comm");
                           std::string name;
                           return std::getline(file, name) && name == "sockrepair-lock";
                         }),
              IsOk());
  char byte;
  EXPECT_EQ(::recv(peers_[0].get(), &byte, 1, MSG_DONTWAIT), -1) << "no FIN";
  EXPECT_EQ(errno, EAGAIN);
  if (keeper > 0) ::kill(keeper, SIGKILL);
}

TEST_F(TcpToolTest, LockEndsByItself) {
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--kill", "--hold", "1"}));
  EXPECT_THAT(ran.out, HasSubstr("\nsegments are dropped until they are restored here, 1 s at "));
  EXPECT_THAT(wait_until("the rules are gone", Deadline::after(kPatience),
                         [&] { return tables().empty(); }),
              IsOk());
  // Now the peer is told that there is nothing.
  EXPECT_THAT(say(peers_[0], "?"), IsOk());
  EXPECT_THAT(hear(peers_[0], 1), FailsWith(ECONNRESET));
}

// A signal while the tool waits for the end of the lock, which is somebody slow here.
TEST_F(TcpToolTest, SignalDoesNotOvertakeTheLock) {
  ASSERT_THAT(dump({"--kill", "--hold", "0"}), Exited(0));
  const Json process = show()["processes"][0];
  const std::string name =
      "sockrepair-lock-" + process["pid"].dump() + "-" + process["dumped_at"].dump();
  ASSERT_OK_AND_ASSIGN(Fd listener, ns_->run([] { return sys::socket(AF_UNIX, SOCK_STREAM, 0); }));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())),
            0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_OK_AND_ASSIGN(Running tool, begin({"restore", image(), "--", "sleep", "1000"}));
  const std::string proc = "/proc/" + std::to_string(tool.pid());
  ASSERT_THAT(wait_until("it waits", Deadline::after(kPatience),
                         [&] {
                           Result<std::string> call =
                               sockrepair::internal::read_small_file(proc + "/syscall");
                           return call && call->starts_with(std::to_string(SYS_poll) + " ");
                         }),
              IsOk());
  tool.signal(SIGINT);
  // It is not caught a second time.
  auto caught = [&] {
    Result<std::string> status = sockrepair::internal::read_small_file(proc + "/status");
    return status ? sockrepair::internal::field_of(*status, "SigCgt", ':').value_or("") : "";
  };
  ASSERT_THAT(wait_until("the signal is noted", Deadline::after(kPatience),
                         [&] { return !caught().ends_with("2") && !caught().ends_with("3"); }),
              IsOk());
  EXPECT_THAT(tool.wait_for_name("sleep", Deadline::after(std::chrono::milliseconds(200))),
              FailsWith(ETIMEDOUT));
  listener.reset();
  EXPECT_THAT(tool.wait_for_name("sleep"), IsOk());
}

// A kernel from 5.12 on, which has the lock, and before 5.14, whose namespaces have no cookies.
TEST_F(TcpToolTest, WithoutCookiesOfNamespaces) {
  ASSERT_OK_AND_ASSIGN(LiveProcess older, ns_->run([&] {
    return LiveProcess::start([&](const Line& line) {
      sock_filter filter[] = {
          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockopt, 0, 3),
          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SO_NETNS_COOKIE, 0, 1),
          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOPROTOOPT),
          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      };
      const sock_fprog program{std::size(filter), filter};
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
      Result<Ran> ran = run_tool({"dump", "--pid", pid(), "-o", image(), "--kill"});
      line.say(ran ? std::to_string(ran->status) + " " + ran->err : ran.error().describe());
      line.wait_for_end();
    });
  }));
  EXPECT_THAT(older.heard(), IsOkAndHolds(StartsWith("0 ")));
  EXPECT_EQ(sockets().size(), 6U);
  EXPECT_THAT(tables(), HasSubstr("sockrepair-"));
  ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(Fd fd, program.take(kFirst + 1));
  EXPECT_THAT(hear(fd, 6), IsOkAndHolds("unread"));
  expect_alive(peers_[0], fd);
}

TEST_F(TcpToolTest, WithoutLock) {
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--json", "--kill", "--no-lock"}));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(Json::parse(ran.out)["lock_pid"], 0);
  EXPECT_EQ(tables(), "");
  ASSERT_RESTORED(program, {"restore", "--no-lock", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(Fd fd, program.take(kFirst + 1));
  EXPECT_THAT(hear(fd, 6), IsOkAndHolds("unread"));
  expect_alive(peers_[0], fd);
}

TEST_F(TcpToolTest, FailedRestoreTellsNobody) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  // Its address is there twice now.
  Fd in_the_way = ns_->run([] { return listening(local(kPort)); }).value();
  EXPECT_THAT(run({"restore", image(), "--", "true"}), FailedWith(1, HasSubstr("EADDRINUSE")));
  in_the_way.reset();
  ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(Fd fd, program.take(kFirst + 1));
  EXPECT_THAT(hear(fd, 6), IsOkAndHolds("unread"));
  expect_alive(peers_[0], fd);
}

// --- what is lost

TEST_F(TcpToolTest, WhatManySocketsLoseIsOneLine) {
  for (int number : {kFirst + 1, kFirst + 2, kOwnClient}) {
    ASSERT_OK_AND_ASSIGN(Fd fd, take(number));
    ASSERT_THAT(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_SAVE_SYN, 1), IsOk());
  }
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--json"}));
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.err, HasSubstr("lost: 3 sockets, descriptors 201-203: option SOL_TCP, "
                                 "TCP_SAVED_SYN"));
  std::vector<std::string> subjects;
  const nlohmann::json report = nlohmann::json::parse(ran.out);
  for (const nlohmann::json& loss : report.at("losses")) {
    const std::string line = loss;
    if (line.find("TCP_SAVED_SYN") != std::string::npos)
      subjects.push_back(line.substr(0, line.find(':')));
  }
  EXPECT_THAT(subjects, ElementsAre("descriptor 201", "descriptor 202", "descriptor 203"));
}

// --- what is refused

TEST_F(TcpToolTest, ConnectionsThatWaitForAccept) {
  ASSERT_OK_AND_ASSIGN(Fd waiting, ns_->run([] { return connected(local(kPort)); }));
  EXPECT_THAT(dump({"--kill"}),
              FailedWith(1, AllOf(HasSubstr("descriptor 200: "), HasSubstr("EBUSY"),
                                  HasSubstr("--drop-waiting"))));
  expect_all_as_it_was();
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--kill", "--drop-waiting"}));
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("lost: descriptor 200: "),
                             HasSubstr("left behind: 1 connection in unaccepted: ")));
  EXPECT_THAT(hear(waiting, 1), FailsWith(ECONNRESET));
}

TEST_F(TcpToolTest, ConnectionsThatAnotherProcessHas) {
  ASSERT_OK_AND_ASSIGN(Fd shared, take(kFirst + 1));
  EXPECT_THAT(dump({"--kill"}),
              FailedWith(1, AllOf(HasSubstr("descriptor 201: a connection, and process " +
                                            std::to_string(::getpid()) + " has it, too"),
                                  HasSubstr("EBUSY"))));
  shared.reset();
  expect_all_as_it_was();
}

// --- parts of a process

struct PartKind {
  std::string name;
  std::vector<std::string> arguments;
  std::set<int> numbers;  // from kFirst on
};
void PrintTo(const PartKind& kind, std::ostream* out) {
  *out << kind.name;
}

class TcpPartTest : public TcpToolTest, public ::testing::WithParamInterface<PartKind> {};

TEST_P(TcpPartTest, IsTaken) {
  ASSERT_THAT(dump(GetParam().arguments), Exited(0));
  std::set<int> want;
  for (int number : GetParam().numbers) want.insert(kFirst + number);
  EXPECT_EQ(numbers(), want);
}

INSTANTIATE_TEST_SUITE_P(
    All, TcpPartTest,
    ::testing::ValuesIn(std::vector<PartKind>{
        {"all", {}, {0, 1, 2, 3, 4, 5}},
        {"udp", {"--udp"}, {5}},
        {"tcp", {"--tcp"}, {0, 1, 2, 3, 4}},
        {"listen_only_keeps_places", {"--listen-only"}, {0, 1, 2, 3, 4, 5}},
        {"connections_only", {"--connections-only"}, {1, 2, 3, 4}},
        {"local_port", {"--local", ":5000", "--tcp"}, {0, 1, 2, 4}},
        {"local_address", {"--local", "127.0.0.1"}, {0, 1, 2, 3, 4, 5}},
        {"peer_address_and_port", {"--peer", "127.0.0.1:5000"}, {3}},
        {"peer_address", {"--peer", "127.0.0.1"}, {1, 2, 3, 4}},
        {"one_local_or_another", {"--local", "[::1]:9", "--local", "127.0.0.1:5000", "--udp"}, {5}},
        {"local_and_peer", {"--local", ":5000", "--peer", "127.0.0.1"}, {1, 2, 4}},
        {"number_and_address", {"--fd", "200", "--fd", "203", "--local", ":5000"}, {0}}}),
    ParamName());

TEST_F(TcpToolTest, NothingLeftByTheFilters) {
  EXPECT_THAT(dump({"--local", "192.0.2.1"}),
              FailedWith(1, HasSubstr("has no such UDP or TCP socket")));
  EXPECT_THAT(directory_->entries(), IsEmpty());
}

// At the dump or at the restore, it is the same.
TEST_F(TcpToolTest, ListenOnlyLeavesConnectionsClosed) {
  auto expect_closed = [](const Fd& fd) {
    char byte;
    EXPECT_EQ(::recv(fd.get(), &byte, 1, MSG_DONTWAIT), 0);
    EXPECT_THAT(say(fd, "x"), FailsWith(EPIPE));
    EXPECT_THAT(sys::getpeername(fd.get()), FailsWith(ENOTCONN));
  };
  auto expect_listeners_only = [&](const Restored& program) {
    for (int number : {kFirst + 1, kFirst + 2, kOwnClient, kOwnServer}) {
      ASSERT_OK_AND_ASSIGN(Fd fd, program.take(number));
      expect_closed(fd);
    }
    ASSERT_OK_AND_ASSIGN(Fd listener, program.take(kFirst));
    ASSERT_OK_AND_ASSIGN(Fd another, ns_->run([] { return connected(local(kPort)); }));
    Fd accepted(::accept(listener.get(), nullptr, nullptr));
    expect_alive(another, accepted);
  };
  ASSERT_THAT(dump(), Exited(0));
  std::string whole = directory_->file("whole.img");
  ASSERT_EQ(::rename(image().c_str(), whole.c_str()), 0);
  ASSERT_OK_AND_ASSIGN(Ran ran, dump({"--kill", "--listen-only", "--json"}));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(Json::parse(ran.out)["connections"], 0);
  EXPECT_EQ(tables(), "") << "nothing is to be kept";
  for (const Json& socket : sockets()) EXPECT_FALSE(socket.contains("connection"));
  {
    ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
    expect_listeners_only(program);
  }
  ASSERT_RESTORED(program, {"restore", "--listen-only", whole, "--", "sleep", "1000"});
  expect_listeners_only(program);
}

// Whoever takes the listeners gives the connections up, and their peers need not wait to learn
// that.
TEST_F(TcpToolTest, ListenOnlyEndsTheLock) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  EXPECT_THAT(tables(), HasSubstr("sockrepair-"));
  ASSERT_RESTORED(program, {"restore", "--listen-only", image(), "--", "sleep", "1000"});
  EXPECT_EQ(tables(), "");
  ASSERT_THAT(say(peers_[0], "anybody?"), IsOk());
  EXPECT_THAT(hear(peers_[0], 1), FailsWith(ECONNRESET));
}

TEST_F(TcpToolTest, ConnectionsOnlyAtRestore) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  ASSERT_RESTORED(program, {"restore", "--connections-only", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(std::vector<HeldSocket> held, program.sockets());
  EXPECT_EQ(held.size(), 4U);
  ASSERT_OK_AND_ASSIGN(Fd fd, program.take(kFirst + 2));
  EXPECT_THAT(hear(fd, 6), IsOkAndHolds("unread"));
  expect_alive(peers_[1], fd);
  EXPECT_THAT(ns_->run([] { return connected(local(kPort)); }), FailsWith(ECONNREFUSED));
}

// Both ends of a connection get another address.
TEST_F(TcpToolTest, RewritesAddresses) {
  ASSERT_THAT(dump({"--kill", "--fd", std::to_string(kOwnClient), "--fd",
                    std::to_string(kOwnServer), "--fd", std::to_string(kUdp)}),
              Exited(0));
  ASSERT_RESTORED(program, {"restore", "--congestion", "skip", "--count-pause", "--rewrite",
                            "127.0.0.1=127.0.0.7", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(Fd client, program.take(kOwnClient));
  ASSERT_OK_AND_ASSIGN(Fd server, program.take(kOwnServer));
  expect_alive(client, server);
  for (int number : {kOwnServer, kUdp}) {
    ASSERT_OK_AND_ASSIGN(Fd fd, program.take(number));
    ASSERT_OK_AND_ASSIGN(SocketAddress address, sys::getsockname(fd.get()));
    EXPECT_EQ(address.to_string(), "127.0.0.7:5000");
  }
}

// Which listener of a SO_REUSEPORT group gets a connection depends on the order in which they
// began.
class TcpGroupTest : public ToolFixture {};

TEST_F(TcpGroupTest, KeepsItsOrder) {
  start([](const Line& line) {
    // In the order of `number`, found in another one.
    for (int number : {kFirst + 2, kFirst, kFirst + 3, kFirst + 1}) {
      Result<Fd> fd = sys::socket(AF_INET, SOCK_STREAM, 0);
      Result<void> shared = sys::setsockopt(fd->get(), SOL_SOCKET, SO_REUSEPORT, 1);
      Result<void> bound = sys::bind(fd->get(), SocketAddress(local(kPort), AF_INET));
      if (shared.ok() && bound.ok() && ::listen(fd->get(), 8) == 0) hold_as(*std::move(fd), number);
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

// A process with a connection to itself that is signed with a key of TCP-AO.
class TcpSignedTest : public ToolFixture {
 protected:
  static constexpr char kSecret[] = "between us";
  static constexpr char kSecretInHex[] = "6265747765656e207573";

  // With the key, for every peer.
  static Result<Fd> keyed() {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
    TcpAoKey key;
    key.sndid = key.rcvid = 9;
    key.maclen = 12;
    key.algorithm = "hmac(sha1)";
    key.key.assign(std::begin(kSecret), std::end(kSecret) - 1);
    const std::vector<TcpAoKey> keys = {key};
    SOCKREPAIR_TRY(internal::add_tcp_ao_keys(fd.get(), AF_INET, keys, {}));
    return fd;
  }

  void SetUp() override {
    ToolFixture::SetUp();
    if (HasFatalFailure()) return;
    if (Result<Fd> fd = keyed(); !fd) GTEST_SKIP() << fd.error().describe();
    start([](const Line& line) {
      Fd listener = keyed().value();
      Fd client = keyed().value();
      const SocketAddress name(local(kPort), AF_INET);
      if (sys::bind(listener.get(), name) && ::listen(listener.get(), 1) == 0 &&
          sys::connect(client.get(), name)) {
        hold_as(Fd(::accept(listener.get(), nullptr, nullptr)), kOwnServer);
        hold_as(std::move(client), kOwnClient);
        hold_as(std::move(listener), kFirst);
        line.say("ready");
      }
      line.wait_for_end();
    });
  }
};

TEST_F(TcpSignedTest, KeysAreCarriedAndNotShown) {
  ASSERT_THAT(dump({"--kill"}), Exited(0));
  struct stat status {};
  ASSERT_EQ(::stat(image().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  for (const std::vector<std::string>& how :
       {std::vector<std::string>{"show", image()}, {"show", "--json", image()}}) {
    ASSERT_OK_AND_ASSIGN(Ran shown, run(how));
    EXPECT_THAT(shown.out, AllOf(HasSubstr("hmac(sha1)"), Not(HasSubstr(kSecret)),
                                 Not(HasSubstr(kSecretInHex))));
  }
  for (const Json& socket : sockets())
    EXPECT_EQ(socket["ao"]["keys"][0]["key_bytes"], sizeof(kSecret) - 1);

  ASSERT_RESTORED(program, {"restore", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(Fd client, program.take(kOwnClient));
  ASSERT_OK_AND_ASSIGN(Fd server, program.take(kOwnServer));
  expect_alive(client, server);
  for (const Fd* fd : {&client, &server}) {
    ASSERT_OK_AND_ASSIGN(std::optional<TcpAo> ao, internal::read_tcp_ao(fd->get()));
    ASSERT_TRUE(ao);
    EXPECT_EQ(ao->counters.bad + ao->counters.key_not_found + ao->counters.required, 0u);
  }
}

TEST_F(TcpSignedTest, KeysGoToNobodyElse) {
  Fd file(::open(image().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  ASSERT_EQ(::fchmod(file.get(), 0644), 0);
  ASSERT_OK_AND_ASSIGN(Running running, begin({"dump", "--pid", pid(), "-o", "-"}, file));
  EXPECT_THAT(running.wait(), FailedWith(1, HasSubstr("mode 0644, must be 0600")));
  EXPECT_THAT(target_->wait_for_state('S'), IsOk());
}

TEST_F(TcpToolTest, DetachedOnesAreListed) {
  ASSERT_OK_AND_ASSIGN(Fd waiting, ns_->run([] { return connected(local(kPort)); }));
  ASSERT_OK_AND_ASSIGN(SocketAddress name, sys::getsockname(waiting.get()));
  ASSERT_OK_AND_ASSIGN(Ran json, run({"detached", "--json"}));
  ASSERT_EQ(json.status, 0) << json.err;
  Json connections = Json::parse(json.out)["connections"];
  ASSERT_EQ(connections.size(), 1U) << json.out;
  EXPECT_EQ(connections[0]["kind"], "unaccepted");
  EXPECT_EQ(connections[0]["peer"], name.to_string());
  ASSERT_OK_AND_ASSIGN(Ran text, run({"detached"}));
  EXPECT_THAT(text.out, HasSubstr(name.to_string()));
  ASSERT_OK_AND_ASSIGN(NetNs empty, NetNs::create());
  ASSERT_OK_AND_ASSIGN(Ran none, empty.run([] { return run_tool({"detached", "--json"}); }));
  EXPECT_THAT(Json::parse(none.out)["connections"], IsEmpty());
}

}  // namespace
}  // namespace sockrepair::test

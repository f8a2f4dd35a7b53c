// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// `sockrepair dump --time-wait` and what becomes of it. Both ends of a connection are in one
// network namespace, over lo; the process closes first.
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "sockrepair/syscall.h"
#include "sockrepair/tcp_detached.h"
#include "sockrepair/tcp_time_wait.h"
#include "tcp_time_wait/world.h"
#include "tool_fixture.h"
#include "try.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr std::uint16_t kOther = kPort + 1;

int port_of(const Fd& fd) {
  Result<SocketAddress> address = sys::getsockname(fd.get());
  Result<Endpoint> endpoint = address ? address->endpoint() : address.error();
  return endpoint ? endpoint->port : -1;
}

bool is_over(const DetachedConnection& connection) {
  return connection.state == TCP_TIME_WAIT;
}

// A process with listeners on kPort (kFirst) and kOther (kFirst + 1), each of which has had one
// connection, which is over. kFirst + 2 is a connection of kPort that goes on.
class TimeWaitToolTest : public ToolFixture {
 protected:
  void SetUp() override {
    ToolFixture::SetUp();
    if (HasFatalFailure()) return;
    start([](const Line& line) {
      Result<Fd> one = listening(local(kPort));
      Result<Fd> other = listening(local(kOther));
      if (!one || !other) return;
      line.say("ready");
      for (const Fd* listener : {&*one, &*other})
        Fd(::accept(listener->get(), nullptr, nullptr)).reset();
      hold_as(Fd(::accept(one->get(), nullptr, nullptr)), kFirst + 2);
      hold_as(*std::move(one), kFirst);
      hold_as(*std::move(other), kFirst + 1);
      line.say("set up");
      line.wait_for_end();
    });
    for (std::uint16_t port : {kPort, kOther}) {
      ASSERT_OK_AND_ASSIGN(Fd peer, ns_->run([&] { return connected(local(port)); }));
      ASSERT_THAT(hear_end(peer), IsOk());
    }
    ASSERT_OK_AND_ASSIGN(peer_, ns_->run([] { return connected(local(kPort)); }));
    ASSERT_THAT(target_->heard(), IsOkAndHolds("set up"));
    // Asked of sock_diag(7), as it takes no time.
    ASSERT_THAT(wait_until("both are over", Deadline::after(kPatience),
                           [&] {
                             Result<std::vector<DetachedConnection>> all =
                                 ns_->run([] { return find_detached_connections(); });
                             return all && std::count_if(all->begin(), all->end(), is_over) == 2;
                           }),
                IsOk());
  }

  Result<std::vector<TcpTimeWait>> here() {
    return ns_->run([] { return find_tcp_time_wait(); });
  }

  // The local ports of those in the image.
  std::vector<int> in_image() {
    std::vector<int> ports;
    const Json all = show();
    for (const Json& process : all["processes"])
      if (process.contains("time_wait"))
        for (const Json& one : process["time_wait"]) ports.push_back(one["local"]["port"]);
    return ports;
  }

  // All that nftables has.
  std::string rules() {
    Result<Running> nft = ns_->run([] { return Running::start({"nft", "list", "ruleset"}); });
    Result<Ran> ran = nft ? nft->wait() : nft.error();
    return ran ? ran->out + ran->err : ran.error().describe();
  }

  // A dump while `path`, a directory or a file, is hidden: an empty one is there instead.
  Result<Ran> dump_without(const std::string& path, bool directory) {
    Result<Ran> ran = Error{ECHILD, "a thread"};
    // It alone is in the other mount namespace.
    std::thread([&] {
      ran = [&]() -> Result<Ran> {
        if (::unshare(CLONE_NEWNS) != 0) return Error{errno, "unshare(CLONE_NEWNS)"};
        if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
          return Error{errno, "mount(/, MS_PRIVATE)"};
        const int hidden = directory
                               ? ::mount("tmpfs", path.c_str(), "tmpfs", 0, nullptr)
                               : ::mount("/dev/null", path.c_str(), nullptr, MS_BIND, nullptr);
        if (hidden != 0) return Error{errno, "mount(" + path + ")"};
        return dump({"--time-wait", "--kill"});
      }();
    }).join();
    return ran;
  }

  void expect_all_as_it_was() {
    EXPECT_NE(::access(image().c_str(), F_OK), 0) << "there is an image";
    EXPECT_THAT(target_->wait_for_state('S'), IsOk());
    EXPECT_THAT(here(), IsOkAndHolds(SizeIs(2)));
    EXPECT_THAT(ns_->run([] { return connected(local(kPort)); }), IsOk());
  }

  Fd peer_;
};

TEST_F(TimeWaitToolTest, GoesAndComesBack) {
  Result<Ran> dumped = dump({"--time-wait", "--kill"});
  ASSERT_THAT(dumped, Exited(0));
  EXPECT_THAT(dumped->out, HasSubstr(", 2 TIME_WAIT connections of process "));
  EXPECT_THAT(dumped->err, Not(HasSubstr("time-wait"))) << "nothing of it is left behind";
  EXPECT_THAT(in_image(), ::testing::UnorderedElementsAre(kPort, kOther));
  EXPECT_THAT(here(), IsOkAndHolds(IsEmpty()));
  // Nobody answers for them in between; that port has no other connection.
  EXPECT_THAT(rules(), HasSubstr("127.0.0.1 . " + std::to_string(kOther)));

  ASSERT_RESTORED(restored, {"restore", image(), "--", "sleep", "1000"});
  ASSERT_OK_AND_ASSIGN(std::vector<TcpTimeWait> back, here());
  if (can_restore_time_wait()) {
    EXPECT_THAT(back, SizeIs(2));
    EXPECT_THAT(restored.err(), Not(HasSubstr("TIME_WAIT")));
  } else {
    EXPECT_THAT(back, IsEmpty());
    EXPECT_THAT(restored.err(),
                HasSubstr("lost: 2 TIME_WAIT connections: state: TIME_WAIT, needs TCP_REPAIR_CB"));
  }
  // The sockets are there in any case.
  ASSERT_OK_AND_ASSIGN(Fd connection, restored.take(kFirst + 2));
  EXPECT_THAT(say(peer_, "goes on"), IsOk());
  EXPECT_THAT(hear(connection, "goes on"), IsOk());
}

TEST_F(TimeWaitToolTest, IsNotTakenUnasked) {
  Result<Ran> dumped = dump({"--kill"});
  ASSERT_THAT(dumped, Exited(0));
  EXPECT_THAT(dumped->err, AllOf(HasSubstr("left behind: 2 connections in time-wait"),
                                 HasSubstr("--time-wait")));
  EXPECT_THAT(in_image(), IsEmpty());
  EXPECT_THAT(here(), IsOkAndHolds(SizeIs(2)));
}

struct Filter {
  std::string name;
  std::vector<std::string> options;
  std::vector<int> ports;
};

TEST_F(TimeWaitToolTest, IsFilteredAsSocketsAre) {
  const Filter rows[] = {
      {"descriptor", {"--fd", std::to_string(kFirst + 1)}, {kOther}},
      {"local", {"--local", ":" + std::to_string(kPort)}, {kPort}},
      // The connection that goes on has that port, no other.
      {"peer", {"--peer", ":" + std::to_string(port_of(peer_))}, {}},
      {"peer_address", {"--peer", "127.0.0.1"}, {kPort}},
  };
  for (const Filter& row : rows) {
    SCOPED_TRACE(row.name);
    std::vector<std::string> options = row.options;
    options.push_back("--time-wait");
    ASSERT_THAT(dump(options), Exited(0));
    EXPECT_EQ(in_image(), row.ports);
  }
  EXPECT_THAT(here(), IsOkAndHolds(SizeIs(2))) << "the process goes on, and so do they";
}

TEST_F(TimeWaitToolTest, WithoutLibbpfNothingIsDone) {
  // Where it is for who loads it.
  void* handle = ::dlopen("libbpf.so.1", RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(handle, nullptr) << ::dlerror();
  link_map* map = nullptr;
  ASSERT_EQ(::dlinfo(handle, RTLD_DI_LINKMAP, &map), 0);
  EXPECT_THAT(
      dump_without(map->l_name, false),
      FailedWith(1, AllOf(HasSubstr("--time-wait: dlopen(libbpf.so.1): "), HasSubstr("ELIBACC"))));
  expect_all_as_it_was();
}

TEST_F(TimeWaitToolTest, WithoutTypesOfTheKernelOrWithOtherOptionsNothingIsDone) {
  for (const char* other : {"--udp", "--listen-only"})
    EXPECT_THAT(dump({"--time-wait", other}), FailedWith(2, HasSubstr(other)));
  EXPECT_THAT(dump_without("/sys/kernel/btf", true),
              FailedWith(1, AllOf(HasSubstr("--time-wait: no /sys/kernel/btf/vmlinux"),
                                  HasSubstr("EOPNOTSUPP"))));
  expect_all_as_it_was();
}

}  // namespace
}  // namespace sockrepair::test

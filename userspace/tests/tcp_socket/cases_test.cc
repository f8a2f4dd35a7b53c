// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What is not a matter of one state: sockets without a connection, names, refusals, and what
// happens around a restore.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sock_diag.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_socket.h"
#include "tcp_restore/image.h"
#include "tcp_socket/world.h"
#include "try.h"
#include "uapi.h"
#include "util/deadline.h"
#include "util/matchers.h"
#include "util/param_name.h"
#include "util/privileges.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

auto LossOf(const char* subject) {
  return Contains(Field(&Loss::subject, HasSubstr(subject)));
}

Result<void> listen(const Fd& fd, int backlog) {
  if (::listen(fd.get(), backlog) != 0) return Error{errno, "listen()"};
  return {};
}

// connect(2) to AF_UNSPEC.
Result<void> disconnect(const Fd& fd) {
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  if (::connect(fd.get(), &nobody, sizeof(nobody)) != 0) return Error{errno, "disconnect"};
  return {};
}

Result<Endpoint> name_of(const Fd& fd) {
  SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd.get()));
  return name.endpoint();
}

class TcpCaseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<World> world = World::create();
    ASSERT_THAT(world, IsOk());
    world_.emplace(*std::move(world));
  }

  Result<RestoredTcpSocket> restore(const TcpSocket& socket, const TcpRestoreOptions& options) {
    return world_->ours().run([&] { return restore_tcp_socket(socket, options); });
  }
  Result<RestoredTcpSocket> restore(const TcpSocket& socket) { return restore(socket, {}); }

  std::optional<World> world_;
};

// --- without a connection ---

struct Unconnected {
  std::string name;
  int domain;
  Result<void> (*reach)(const Fd&);
  TcpState state;
  std::optional<bool> address_chosen;
  std::optional<bool> port_chosen;

  friend void PrintTo(const Unconnected& one, std::ostream* out) { *out << one.name; }
};

Result<void> bind(const Fd& fd, const char* address, std::uint16_t port, int domain) {
  SOCKREPAIR_TRY_ASSIGN(IpAddress parsed, IpAddress::parse(address));
  return sys::bind(fd.get(), SocketAddress({parsed, port, 0}, domain));
}

std::vector<Unconnected> unconnected_kinds() {
  using enum TcpState;
  return {
      {"fresh", AF_INET, [](const Fd&) { return Result<void>(); }, kClose, false, false},
      {"fresh_v6", AF_INET6, [](const Fd&) { return Result<void>(); }, kClose, false, false},
      {"bound", AF_INET, [](const Fd& fd) { return bind(fd, "10.0.0.2", 4000, AF_INET); }, kClose,
       true, true},
      {"bound_v6", AF_INET6, [](const Fd& fd) { return bind(fd, "fd00::2", 4000, AF_INET6); },
       kClose, true, true},
      {"bound_mapped", AF_INET6, [](const Fd& fd) { return bind(fd, "10.0.0.2", 4000, AF_INET6); },
       kClose, true, true},
      {"bound_to_a_port", AF_INET, [](const Fd& fd) { return bind(fd, "0.0.0.0", 4000, AF_INET); },
       kClose, false, true},
      {"bound_to_an_address", AF_INET,
       [](const Fd& fd) { return bind(fd, "10.0.0.2", 0, AF_INET); }, kClose, true, false},
      {"bound_to_anything", AF_INET6, [](const Fd& fd) { return bind(fd, "::", 0, AF_INET6); },
       kClose, false, false},
      {"address_without_a_port", AF_INET,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1));
         return bind(fd, "10.0.0.2", 0, AF_INET);
       },
       kClose, true, false},
      {"listening", AF_INET,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind(fd, "0.0.0.0", 4000, AF_INET));
         return listen(fd, 7);
       },
       kListen, false, true},
      {"listening_v6", AF_INET6,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(bind(fd, "fd00::2", 4000, AF_INET6));
         return listen(fd, 0);
       },
       kListen, true, true},
      {"listening_on_any_port", AF_INET6, [](const Fd& fd) { return listen(fd, 5); }, kListen,
       false, false},
      {"listening_with_options", AF_INET,
       [](const Fd& fd) -> Result<void> {
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1));
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, 3));
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_FASTOPEN, 5));
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_MAXSEG, 1000));
         SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_WINDOW_CLAMP, 20000));
         SOCKREPAIR_TRY(bind(fd, "10.0.0.2", 4000, AF_INET));
         return listen(fd, 7);
       },
       kListen, true, true},
  };
}

class UnconnectedTcpTest : public TcpCaseTest, public ::testing::WithParamInterface<Unconnected> {};

TEST_P(UnconnectedTcpTest, ComesBackElsewhere) {
  ASSERT_OK_AND_ASSIGN(Fd fd, world_->socket(GetParam().domain));
  ASSERT_THAT(GetParam().reach(fd), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(fd));
  EXPECT_EQ(dump.state, GetParam().state);
  EXPECT_EQ(dump.address_chosen, GetParam().address_chosen) << dump.describe();
  EXPECT_EQ(dump.port_chosen, GetParam().port_chosen) << dump.describe();
  // Still there, and as it was.
  ASSERT_OK_AND_ASSIGN(TcpSocket unchanged, dump_tcp_socket(fd));
  EXPECT_EQ(unchanged, dump);
  fd.reset();

  ASSERT_THAT(world_->move(), IsOk());
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump));
  EXPECT_THAT(restored.losses, IsEmpty());
  EXPECT_EQ(restored.method, TcpMethod::kNone);
  ASSERT_OK_AND_ASSIGN(TcpSocket again, dump_tcp_socket(restored.fd));
  again.cookie = dump.cookie;
  again.inode = dump.inode;
  again.netns_cookie = dump.netns_cookie;
  EXPECT_EQ(again, dump) << again.describe() << dump.describe();
}

INSTANTIATE_TEST_SUITE_P(All, UnconnectedTcpTest, ::testing::ValuesIn(unconnected_kinds()),
                         ParamName());

TEST_F(TcpCaseTest, ARestoredListenerAccepts) {
  ASSERT_OK_AND_ASSIGN(Fd fd, world_->socket(AF_INET6));
  ASSERT_THAT(bind(fd, "::", 4000, AF_INET6), IsOk());
  ASSERT_THAT(listen(fd, 3), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(fd));
  EXPECT_EQ(dump.backlog, 3u);
  fd.reset();
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump));
  for (const FamilyKind& family : kFamilies) {
    SCOPED_TRACE(family.name);
    const int domain = family.family == Family::kIpv4 ? AF_INET : AF_INET6;
    ASSERT_OK_AND_ASSIGN(Fd client,
                         world_->peer().run([&] { return sys::socket(domain, SOCK_STREAM, 0); }));
    EXPECT_THAT(sys::connect(client.get(),
                             SocketAddress({receiver_address(family.family), 4000, 0}, domain)),
                IsOk());
  }
}

// Listeners of a group get the connections that they had, by the order of their listen(2).
TEST_F(TcpCaseTest, ListenersOfAGroupKnowTheirRank) {
  for (int domain : {AF_INET, AF_INET6}) {
    SCOPED_TRACE(domain == AF_INET ? "v4" : "v6");
    std::vector<Fd> group;
    for (int i = 0; i < 3; ++i) {
      ASSERT_OK_AND_ASSIGN(Fd fd, world_->socket(domain));
      ASSERT_THAT(sys::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1), IsOk());
      ASSERT_THAT(bind(fd, domain == AF_INET ? "10.0.0.2" : "fd00::2", 4000, domain), IsOk());
      group.push_back(std::move(fd));
    }
    for (int i : {2, 0, 1}) ASSERT_THAT(listen(group[static_cast<std::size_t>(i)], 5), IsOk());
    const std::uint32_t ranks[] = {1, 2, 0};
    for (std::size_t i = 0; i < group.size(); ++i) {
      ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(group[i]));
      EXPECT_EQ(dump.reuseport_rank, ranks[i]) << i;
    }
  }
}

// Reset by the peer, with an error that the program has not seen.
TEST_F(TcpCaseTest, AConnectionThatIsOverComesBackAsOver) {
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kOurs));
  ASSERT_THAT(sys::setsockopt(pair.peer.get(), SOL_SOCKET, SO_LINGER, linger{1, 0}), IsOk());
  ASSERT_THAT(say(pair.peer, "last words"), IsOk());
  pair.peer.reset();
  ASSERT_THAT(wait_for_state(pair.ours, TcpState::kClose), IsOk());

  ASSERT_OK_AND_ASSIGN(TcpSocket seen, dump_tcp_socket(pair.ours));
  EXPECT_THAT(seen.losses, LossOf("pending_error"));
  EXPECT_EQ(seen.pending_error, std::nullopt);
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours, {.take_errors = true}));
  EXPECT_EQ(dump.pending_error, ECONNRESET);
  EXPECT_THAT(dump.losses, LossOf("receive_queue"));
  EXPECT_TRUE(dump.receive_shutdown && dump.send_shutdown);
  EXPECT_EQ(dump.local, std::nullopt) << "its port is free again";

  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump));
  EXPECT_THAT(restored.losses, LossOf("pending_error"));
  EXPECT_THAT(hear_end(restored.fd), IsOk());
  EXPECT_THAT(say(restored.fd, "?"), FailsWith(EPIPE));
}

TEST_F(TcpCaseTest, WithoutItsConnectionASocketIsOver) {
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kOurs));
  ASSERT_THAT(say(pair.peer, "unread"), IsOk());
  ASSERT_THAT(wait_for_events("data", pair.ours.get(), POLLIN, Deadline::after(kPatience)), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours));
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(without_connection(dump)));
  EXPECT_EQ(restored.method, TcpMethod::kNone);
  EXPECT_THAT(hear_end(restored.fd), IsOk());
  EXPECT_THAT(say(restored.fd, "?"), FailsWith(EPIPE));
  // A listener is left alone.
  TcpSocket listener;
  listener.domain = AF_INET;
  listener.state = TcpState::kListen;
  EXPECT_EQ(without_connection(listener), listener);
}

// --- names ---

struct NameKind {
  std::string name;
  // Before connect(2).
  Result<void> (*bind)(const Fd&, const Endpoint&, int domain);
  bool address_chosen;
  bool port_chosen;

  friend void PrintTo(const NameKind& one, std::ostream* out) { *out << one.name; }
};

const NameKind kNameKinds[] = {
    {"implicit", [](const Fd&, const Endpoint&, int) { return Result<void>(); }, false, false},
    {"both",
     [](const Fd& fd, const Endpoint& local, int domain) {
       return sys::bind(fd.get(), SocketAddress(local, domain));
     },
     true, true},
    {"port",
     [](const Fd& fd, const Endpoint& local, int domain) {
       Endpoint any{IpAddress::any(local.address.family()), local.port, 0};
       return sys::bind(fd.get(), SocketAddress(any, domain));
     },
     false, true},
    {"address",
     [](const Fd& fd, const Endpoint& local, int domain) {
       return sys::bind(fd.get(), SocketAddress({local.address, 0, 0}, domain));
     },
     true, false},
};

// That `dump` says who chose the address, as far as the kernel tells.
void expect_address_choice(const TcpSocket& dump, bool chosen) {
  if (has_control_block()) {
    EXPECT_EQ(dump.address_chosen, chosen) << dump.describe();
    EXPECT_THAT(dump.losses, IsEmpty());
  } else if (!dump.address_chosen) {
    EXPECT_THAT(dump.losses, LossOf("local address"));
  }
}

class TcpNameTest : public TcpCaseTest, public ::testing::WithParamInterface<NameKind> {};

// What a socket keeps of its name when it disconnects is what it would have kept.
TEST_P(TcpNameTest, IsKeptOrGivenUpAsBefore) {
  for (const FamilyKind& family : kFamilies) {
    SCOPED_TRACE(family.name);
    const int peer_domain = family.family == Family::kIpv4 ? AF_INET : AF_INET6;
    ASSERT_OK_AND_ASSIGN(
        Fd listener, world_->peer().run([&] { return sys::socket(peer_domain, SOCK_STREAM, 0); }));
    const SocketAddress there({sender_address(family.family), 4100, 0}, family.domain);
    ASSERT_THAT(sys::bind(listener.get(),
                          SocketAddress({sender_address(family.family), 4100, 0}, peer_domain)),
                IsOk());
    ASSERT_THAT(listen(listener, 5), IsOk());

    const Endpoint ours = world_->our_endpoint(family);
    ASSERT_OK_AND_ASSIGN(Fd fd, world_->socket(family.domain));
    ASSERT_THAT(GetParam().bind(fd, ours, family.domain), IsOk());
    ASSERT_THAT(sys::connect(fd.get(), there), IsOk());
    ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(fd, {.leave_in_repair = true}));
    EXPECT_EQ(dump.port_chosen, GetParam().port_chosen) << dump.describe();
    // To the kernel ::ffff:0.0.0.0 is an address.
    const bool mapped_any =
        family.domain == AF_INET6 && family.family == Family::kIpv4 && GetParam().port_chosen;
    expect_address_choice(dump, GetParam().address_chosen || mapped_any);
    // In repair mode nobody is told.
    ASSERT_THAT(disconnect(fd), IsOk());
    ASSERT_OK_AND_ASSIGN(const Endpoint kept, name_of(fd));
    fd.reset();

    ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump, {.keep_repair = true}));
    EXPECT_THAT(name_of(restored.fd), IsOkAndHolds(*dump.local));
    ASSERT_THAT(disconnect(restored.fd), IsOk());
    ASSERT_OK_AND_ASSIGN(const Endpoint again, name_of(restored.fd));
    EXPECT_EQ(again.port, kept.port);
    if (dump.address_chosen) {
      EXPECT_EQ(again.address, kept.address);
    }
    EXPECT_THAT(restored.losses, IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(All, TcpNameTest, ::testing::ValuesIn(kNameKinds), ParamName());

// What accept(2) gives has not chosen its port, and connect(2) chooses no port of a server.
TEST_F(TcpCaseTest, AnAcceptedSocketGivesItsNameUp) {
  for (const char* address : {"10.0.0.2", "0.0.0.0"}) {
    SCOPED_TRACE(address);
    const bool chosen = address != std::string("0.0.0.0");
    ASSERT_OK_AND_ASSIGN(Fd listener, world_->socket(AF_INET));
    ASSERT_THAT(bind(listener, address, 80, AF_INET), IsOk());
    ASSERT_THAT(listen(listener, 5), IsOk());
    ASSERT_OK_AND_ASSIGN(Fd peer,
                         world_->peer().run([] { return sys::socket(AF_INET, SOCK_STREAM, 0); }));
    ASSERT_THAT(
        sys::connect(peer.get(), SocketAddress({receiver_address(Family::kIpv4), 80, 0}, AF_INET)),
        IsOk());
    Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(fd);
    listener.reset();
    ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(fd, {.leave_in_repair = true}));
    EXPECT_EQ(dump.port_chosen, false);
    expect_address_choice(dump, chosen);
    fd.reset();

    ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump, {.keep_repair = true}));
    ASSERT_THAT(disconnect(restored.fd), IsOk());
    ASSERT_OK_AND_ASSIGN(const Endpoint left, name_of(restored.fd));
    ASSERT_OK_AND_ASSIGN(Fd next, world_->socket(AF_INET));
    const Result<void> taken = bind(next, "10.0.0.2", 80, AF_INET);
    if (!has_control_block()) {
      EXPECT_THAT(restored.losses, LossOf("local port"));
      EXPECT_THAT(taken, FailsWith(EADDRINUSE));
      continue;
    }
    EXPECT_THAT(restored.losses, IsEmpty());
    EXPECT_THAT(taken, IsOk()) << "the port is free again";
    EXPECT_EQ(!left.address.is_any(), chosen);
  }
}

// The connections of a listener come back next to it, without SO_REUSEADDR.
TEST_F(TcpCaseTest, ConnectionsComeBackNextToTheirListener) {
  ASSERT_OK_AND_ASSIGN(Fd listener, world_->socket(AF_INET));
  ASSERT_THAT(bind(listener, "0.0.0.0", 4000, AF_INET), IsOk());
  ASSERT_THAT(listen(listener, 5), IsOk());
  std::vector<Pair> pairs;
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(Fd peer,
                         world_->peer().run([] { return sys::socket(AF_INET, SOCK_STREAM, 0); }));
    ASSERT_THAT(sys::connect(peer.get(),
                             SocketAddress({receiver_address(Family::kIpv4), 4000, 0}, AF_INET)),
                IsOk());
    Fd ours(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(ours);
    pairs.push_back({std::move(ours), std::move(peer)});
  }
  ASSERT_OK_AND_ASSIGN(TcpSurvey survey, TcpSurvey::take(listener.get()));
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(listener, {.survey = &survey}));
  std::vector<TcpSocket> connections;
  for (Pair& pair : pairs) {
    ASSERT_OK_AND_ASSIGN(TcpSocket one,
                         dump_tcp_socket(pair.ours, {.leave_in_repair = true, .survey = &survey}));
    EXPECT_EQ(one.port_chosen, false) << "accept(2) has chosen it";
    connections.push_back(std::move(one));
    pair.ours.reset();
  }
  listener.reset();

  ASSERT_THAT(world_->move(), IsOk());
  ASSERT_OK_AND_ASSIGN(const std::uint64_t resets, world_->resets());
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket again, restore(dump));
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(connections[i]));
    // Without a control block who asks for the port keeps it, and no connect(2) would get it.
    if (!has_control_block()) {
      EXPECT_THAT(restored.losses, LossOf("local port"));
    } else {
      EXPECT_THAT(restored.losses, IsEmpty());
    }
    EXPECT_THAT(sys::getsockopt<int>(restored.fd.get(), SOL_SOCKET, SO_REUSEADDR), IsOkAndHolds(0));
    pairs[i].ours = std::move(restored.fd);
  }
  ASSERT_THAT(world_->let_pass(), IsOk());
  for (const Pair& pair : pairs) {
    EXPECT_THAT(say(pair.ours, "here again"), IsOk());
    EXPECT_THAT(hear(pair.peer, "here again"), IsOk());
  }
  EXPECT_THAT(world_->resets(), IsOkAndHolds(resets));
}

// Both ends of a connection, on one host and then on another one, under other addresses.
TEST_F(TcpCaseTest, BothEndsMoveToOtherAddresses) {
  ASSERT_OK_AND_ASSIGN(NetNs here, NetNs::create());
  ASSERT_OK_AND_ASSIGN(NetNs there, NetNs::create());
  Pair pair;
  here.run([&] {
    Result<Fd> listener = sys::socket(AF_INET, SOCK_STREAM, 0);
    Result<Fd> client = sys::socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_THAT(listener, IsOk());
    ASSERT_THAT(client, IsOk());
    ASSERT_THAT(bind(*listener, "127.0.0.1", 4000, AF_INET), IsOk());
    ASSERT_THAT(listen(*listener, 1), IsOk());
    const IpAddress loopback = *IpAddress::parse("127.0.0.1");
    ASSERT_THAT(sys::connect(client->get(), SocketAddress({loopback, 4000, 0}, AF_INET)), IsOk());
    pair = {Fd(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC)), *std::move(client)};
  });
  ASSERT_TRUE(pair.ours);
  ASSERT_THAT(say(pair.ours, "on its way"), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpSocket ours, dump_tcp_socket(pair.ours, {.leave_in_repair = true}));
  ASSERT_OK_AND_ASSIGN(TcpSocket peer, dump_tcp_socket(pair.peer, {.leave_in_repair = true}));
  pair = Pair{};

  TcpRestoreOptions options;
  options.rewrites = {{*IpAddress::parse("127.0.0.1"), *IpAddress::parse("127.9.9.9")}};
  options.keep_repair = true;
  there.run([&] {
    Result<RestoredTcpSocket> a = restore_tcp_socket(ours, options);
    ASSERT_THAT(a, IsOk());
    Result<RestoredTcpSocket> b = restore_tcp_socket(peer, options);
    ASSERT_THAT(b, IsOk());
    pair = {std::move(a->fd), std::move(b->fd)};
    ASSERT_THAT(resume_tcp_socket(pair.ours, ours, options), IsOk());
    ASSERT_THAT(resume_tcp_socket(pair.peer, peer, options), IsOk());
  });
  EXPECT_THAT(name_of(pair.ours), IsOkAndHolds(Endpoint{*IpAddress::parse("127.9.9.9"), 4000, 0}));
  EXPECT_THAT(hear(pair.peer, "on its way"), IsOk());
  EXPECT_THAT(say(pair.peer, "answer"), IsOk());
  EXPECT_THAT(hear(pair.ours, "answer"), IsOk());
}

TEST_F(TcpCaseTest, AnAddressThatIsNotHereIsNamed) {
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kPeer));
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours));
  TcpRestoreOptions options;
  options.rewrites = {{receiver_address(Family::kIpv4), *IpAddress::parse("10.0.0.77")}};
  EXPECT_THAT(restore(dump, options), FailsWith(EADDRNOTAVAIL, HasSubstr("local: 10.0.0.77")));
  // And one that is here twice.
  EXPECT_THAT(restore(dump), FailsWith(EADDRNOTAVAIL, HasSubstr("peer: 10.0.0.1")));
  EXPECT_THAT(say(pair.ours, "unharmed"), IsOk());
  EXPECT_THAT(hear(pair.peer, "unharmed"), IsOk());
}

// --- SYN_SENT ---

// The answer to the first SYN was lost. The peer takes the SYN of the restored socket for the same.
TEST_F(TcpCaseTest, AConnectionThatBeginsGoesOnToBegin) {
  // The peer keeps the port of a connection that it has closed for a while.
  std::uint16_t port = 4200;
  for (const FamilyKind& family : kFamilies) {
    for (bool keep : {false, true}) {
      SCOPED_TRACE(std::string(family.name) + (keep ? ", keep_repair" : ""));
      ASSERT_THAT(world_->let_pass(), IsOk());
      const int peer_domain = family.family == Family::kIpv4 ? AF_INET : AF_INET6;
      ASSERT_OK_AND_ASSIGN(Fd listener, world_->peer().run([&] {
        return sys::socket(peer_domain, SOCK_STREAM, 0);
      }));
      const Endpoint there{sender_address(family.family), port++, 0};
      ASSERT_THAT(sys::bind(listener.get(), SocketAddress(there, peer_domain)), IsOk());
      ASSERT_THAT(listen(listener, 5), IsOk());
      ASSERT_THAT(world_->cut(), IsOk());

      ASSERT_OK_AND_ASSIGN(Fd fd, world_->ours().run([&] {
        return sys::socket(family.domain, SOCK_STREAM | SOCK_NONBLOCK, 0);
      }));
      EXPECT_THAT(sys::connect(fd.get(), SocketAddress(there, family.domain)),
                  FailsWith(EINPROGRESS));
      ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(fd, {.leave_in_repair = true}));
      EXPECT_EQ(dump.state, TcpState::kSynSent);
      EXPECT_EQ(dump.peer, there);
      ASSERT_TRUE(dump.syn_sequence.has_value());
      EXPECT_EQ(dump.port_chosen, false);
      fd.reset();

      ASSERT_THAT(world_->move(), IsOk());
      TcpRestoreOptions options;
      options.keep_repair = keep;
      ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump, options));
      ASSERT_THAT(world_->let_pass(), IsOk());
      if (keep) {
        EXPECT_THAT(state_of(restored.fd), IsOkAndHolds(TcpState::kClose));
        ASSERT_THAT(resume_tcp_socket(restored.fd, dump, options), IsOk());
      }
      ASSERT_THAT(wait_for_state(restored.fd, TcpState::kEstablished), IsOk());
      EXPECT_THAT(name_of(restored.fd), IsOkAndHolds(*dump.local));
      Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      ASSERT_TRUE(accepted);
      EXPECT_THAT(say(restored.fd, "hello"), IsOk());
      EXPECT_THAT(hear(accepted, "hello"), IsOk());
      ASSERT_OK_AND_ASSIGN(TcpSocket now, dump_tcp_socket(restored.fd));
      EXPECT_EQ(now.connection->snd_seq, *dump.syn_sequence + 1 + 5);
    }
  }
}

// --- refusals ---

struct Refused {
  std::string name;
  Result<Fd> (*make)();
  int code;
  const char* what;

  friend void PrintTo(const Refused& one, std::ostream* out) { *out << one.name; }
};

Result<Fd> with_md5() {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(bind(fd, "127.0.0.1", 4300, AF_INET));
  tcp_md5sig key{};
  SocketAddress whose({*IpAddress::parse("127.0.0.1"), 0, 0}, AF_INET);
  memcpy(&key.tcpm_addr, whose.get(), sizeof(sockaddr_in));
  key.tcpm_keylen = 3;
  memcpy(key.tcpm_key, "key", 3);
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_MD5SIG, key));
  SOCKREPAIR_TRY(listen(fd, 1));
  return fd;
}

Result<Fd> with_tls() {
  SOCKREPAIR_TRY_ASSIGN(Fd listener, sys::socket(AF_INET, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(bind(listener, "127.0.0.1", 4301, AF_INET));
  SOCKREPAIR_TRY(listen(listener, 1));
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
  const IpAddress loopback = *IpAddress::parse("127.0.0.1");
  SOCKREPAIR_TRY(sys::connect(fd.get(), SocketAddress({loopback, 4301, 0}, AF_INET)));
  SOCKREPAIR_TRY(sys::setsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_ULP, "tls", 4));
  return fd;
}

Result<Fd> with_accept_queue() {
  SOCKREPAIR_TRY_ASSIGN(Fd listener, sys::socket(AF_INET, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(bind(listener, "127.0.0.1", 4302, AF_INET));
  SOCKREPAIR_TRY(listen(listener, 5));
  // They stay in the queue when they are closed.
  for (int i = 0; i < 2; ++i) {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
    const IpAddress loopback = *IpAddress::parse("127.0.0.1");
    SOCKREPAIR_TRY(sys::connect(fd.get(), SocketAddress({loopback, 4302, 0}, AF_INET)));
  }
  return listener;
}

// Accepted with the data of its SYN, by TCP Fast Open; the answer does not get through.
Result<Fd> with_half_a_handshake() {
  std::ofstream("/proc/sys/net/ipv4/tcp_fastopen") << 0x607;  // both roles, without cookies
  SOCKREPAIR_TRY_ASSIGN(Fd listener, sys::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  SOCKREPAIR_TRY(bind(listener, "127.0.0.1", 4300, AF_INET));
  SOCKREPAIR_TRY(sys::setsockopt(listener.get(), IPPROTO_TCP, TCP_FASTOPEN, 1));
  SOCKREPAIR_TRY(listen(listener, 1));

  SOCKREPAIR_TRY_ASSIGN(Fd peer, sys::socket(AF_INET, SOCK_STREAM, 0));
  sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  sock_fprog program{1, &nothing};
  SOCKREPAIR_TRY(sys::setsockopt(peer.get(), SOL_SOCKET, SO_ATTACH_FILTER, program));
  SocketAddress to({*IpAddress::parse("127.0.0.1"), 4300, 0}, AF_INET);
  if (::sendto(peer.get(), "data", 4, MSG_FASTOPEN | MSG_DONTWAIT, to.get(), to.size()) != 4)
    return Error{errno, "sendto(MSG_FASTOPEN)"};
  Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!accepted) return Error{errno, "accept4()"};
  return accepted;
}

const Refused kRefused[] = {
    {"udp", [] { return sys::socket(AF_INET, SOCK_DGRAM, 0); }, EPROTONOSUPPORT, "must be TCP"},
    {"unix", [] { return sys::socket(AF_UNIX, SOCK_STREAM, 0); }, EPROTONOSUPPORT, "must be TCP"},
    {"mptcp", [] { return sys::socket(AF_INET, SOCK_STREAM, 262); }, EPROTONOSUPPORT, "MPTCP"},
    {"md5", with_md5, EOPNOTSUPP, "TCP_MD5SIG"},
    {"tls", with_tls, EOPNOTSUPP, "TCP_ULP: tls"},
    {"accept_queue", with_accept_queue, EBUSY, "accept_queue: 2 connections"},
    {"half_a_handshake", with_half_a_handshake, EAGAIN, "state: SYN_RECV"},
};

class RefusedTcpTest : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedTcpTest, IsNamed) {
  ASSERT_OK_AND_ASSIGN(NetNs host, NetNs::create());
  Result<Fd> fd = host.run(GetParam().make);
  // The host's kernel may be built without; the guest's is not.
  if (!fd && (fd.error().code == EPROTONOSUPPORT || fd.error().code == ENOPROTOOPT ||
              fd.error().code == ENOENT))
    GTEST_SKIP() << "this kernel has none: " << fd.error().describe();
  ASSERT_THAT(fd, IsOk());
  EXPECT_THAT(dump_tcp_socket(*fd), FailsWith(GetParam().code, HasSubstr(GetParam().what)));
}

INSTANTIATE_TEST_SUITE_P(All, RefusedTcpTest, ::testing::ValuesIn(kRefused), ParamName());

TEST(RefusedTcpTest, AnAcceptQueueIsALossOnRequest) {
  ASSERT_OK_AND_ASSIGN(NetNs host, NetNs::create());
  ASSERT_OK_AND_ASSIGN(Fd fd, host.run(with_accept_queue));
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(fd, {.accept_queue = Refusal::kReport}));
  EXPECT_EQ(dump.accept_queue, 2u);
  EXPECT_THAT(dump.losses, LossOf("accept_queue"));
  fd.reset();
  EXPECT_THAT(host.run([&] { return restore_tcp_socket(dump); }), IsOk());
}

TEST_F(TcpCaseTest, WithoutTheCapabilityOnlyConnectionsAreRefused) {
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kPeer));
  ASSERT_OK_AND_ASSIGN(Fd listener, world_->socket(AF_INET));
  ASSERT_THAT(bind(listener, "10.0.0.2", 4000, AF_INET), IsOk());
  ASSERT_THAT(listen(listener, 1), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours));
  world_->ours().run([&] {
    EXPECT_THAT(without_capabilities([&]() -> Result<void> {
                  Result<TcpSocket> refused = dump_tcp_socket(pair.ours);
                  return refused ? Result<void>() : refused.error();
                }),
                FailsWith(EPERM, HasSubstr("CAP_NET_ADMIN")));
    EXPECT_THAT(without_capabilities([&]() -> Result<void> {
                  Result<RestoredTcpSocket> refused = restore_tcp_socket(dump);
                  return refused ? Result<void>() : refused.error();
                }),
                FailsWith(EPERM, HasSubstr("CAP_NET_ADMIN")));
    EXPECT_THAT(without_capabilities([&]() -> Result<void> {
                  SOCKREPAIR_TRY_ASSIGN(TcpSocket all, dump_tcp_socket(listener));
                  return all.backlog == 1 ? Result<void>() : Error{EINVAL, all.describe()};
                }),
                IsOk());
  });
}

TEST_F(TcpCaseTest, ASocketInRepairModeIsSomebodyElses) {
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kPeer));
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours, {.leave_in_repair = true}));
  EXPECT_THAT(dump_tcp_socket(pair.ours), FailsWith(EBUSY, HasSubstr("TCP_REPAIR")));
  ASSERT_THAT(resume_tcp_source(pair.ours, dump), IsOk());
  EXPECT_THAT(dump_tcp_socket(pair.ours), IsOk());
}

// --- around a restore ---

TEST_F(TcpCaseTest, ARefusedRestoreSendsNothing) {
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kPeer));
  ASSERT_THAT(say(pair.peer, "unread"), IsOk());
  ASSERT_THAT(wait_for_events("data", pair.ours.get(), POLLIN, Deadline::after(kPatience)), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours, {.leave_in_repair = true}));
  pair.ours.reset();
  ASSERT_THAT(world_->move(), IsOk());
  ASSERT_OK_AND_ASSIGN(const std::uint64_t before, world_->segments_sent());

  // Refused by the kernel, after connect(2): a filter that is none.
  TcpSocket bad = dump;
  const sock_filter nonsense[] = {{0xffff, 0, 0, 0}};
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(nonsense);
  bad.options.push_back({SOL_SOCKET, SO_ATTACH_FILTER, {bytes, bytes + sizeof(nonsense)}});
  EXPECT_THAT(restore(bad), FailsWith(EINVAL, HasSubstr("SO_ATTACH_FILTER")));
  EXPECT_THAT(world_->segments_sent(), IsOkAndHolds(before));

  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump, {.keep_repair = true}));
  EXPECT_THAT(world_->segments_sent(), IsOkAndHolds(before));
  ASSERT_THAT(world_->let_pass(), IsOk());
  ASSERT_THAT(resume_tcp_socket(restored.fd, dump), IsOk());
  EXPECT_THAT(hear(restored.fd, "unread"), IsOk());
  EXPECT_THAT(say(restored.fd, "answer"), IsOk());
  EXPECT_THAT(hear(pair.peer, "answer"), IsOk());
}

TEST_F(TcpCaseTest, ClosingSilentlyTellsThePeerNothing) {
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kPeer));
  ASSERT_THAT(say(pair.peer, "unread"), IsOk());
  ASSERT_THAT(wait_for_events("data", pair.ours.get(), POLLIN, Deadline::after(kPatience)), IsOk());
  ASSERT_OK_AND_ASSIGN(const std::uint64_t before, world_->resets());
  close_silently(std::move(pair.ours));
  EXPECT_THAT(world_->resets(), IsOkAndHolds(before));
  EXPECT_THAT(state_of(pair.peer), IsOkAndHolds(TcpState::kEstablished));
}

// A socket with SO_PEEK_OFF goes on peeking where it was.
TEST_F(TcpCaseTest, PeekingGoesOnWhereItWas) {
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kPeer));
  Result<void> set = sys::setsockopt(pair.ours.get(), SOL_SOCKET, SO_PEEK_OFF, 0);
  if (!set && set.error().code == EOPNOTSUPP) GTEST_SKIP() << "SO_PEEK_OFF of TCP is new in 6.9";
  ASSERT_THAT(set, IsOk());
  ASSERT_THAT(say(pair.peer, "abcdef"), IsOk());
  std::array<char, 4> peeked{};
  ASSERT_EQ(::recv(pair.ours.get(), peeked.data(), 2, MSG_PEEK), 2);
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours));
  EXPECT_EQ(dump.connection->receive_queue.size(), 6u);
  ASSERT_EQ(::recv(pair.ours.get(), peeked.data(), 2, MSG_PEEK), 2);
  EXPECT_STREQ(peeked.data(), "cd");
}

// --- what sock_diag tells ---

TEST_F(TcpCaseTest, AConnectionIsFoundWithoutAList) {
  for (const FamilyKind& family : kFamilies) {
    SCOPED_TRACE(family.name);
    ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(family, Opener::kPeer));
    ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours));
    world_->ours().run([&] {
      Result<internal::TcpDiag> all = internal::TcpDiag::read(family.domain, dump.local->port);
      ASSERT_THAT(all, IsOk());
      const internal::TcpDiag::Socket* listed = all->find(dump.cookie);
      ASSERT_NE(listed, nullptr);
      std::optional<internal::TcpDiag::Socket> found =
          internal::TcpDiag::find_connection(family.domain, *dump.local, *dump.peer, dump.cookie);
      ASSERT_TRUE(found);
      EXPECT_EQ(found->state, listed->state);
      EXPECT_EQ(found->local, listed->local);
      EXPECT_EQ(found->peer, listed->peer);
      EXPECT_EQ(found->md5, listed->md5);
      EXPECT_FALSE(internal::TcpDiag::find_connection(family.domain, *dump.local, *dump.peer,
                                                      dump.cookie + 1));
      Endpoint other = *dump.peer;
      ++other.port;
      EXPECT_FALSE(
          internal::TcpDiag::find_connection(family.domain, *dump.local, other, dump.cookie));
    });
  }
}

TEST_F(TcpCaseTest, AConnectionWithKeysIsRefused) {
  const auto sign = [](const Fd& fd, bool ours) -> Result<void> {
    tcp_md5sig key{};
    const IpAddress other = ours ? sender_address(Family::kIpv4) : receiver_address(Family::kIpv4);
    const SocketAddress address({other, 0, 0}, AF_INET);
    memcpy(&key.tcpm_addr, address.get(), address.size());
    key.tcpm_keylen = 3;
    memcpy(key.tcpm_key, "key", 3);
    return sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_MD5SIG, key);
  };
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kPeer, sign));
  EXPECT_THAT(dump_tcp_socket(pair.ours), FailsWith(EOPNOTSUPP, HasSubstr("TCP_MD5SIG")));
  EXPECT_THAT(say(pair.ours, "it goes on"), IsOk());
  EXPECT_THAT(hear(pair.peer, "it goes on"), IsOk());
}

// --- a segment that is acknowledged in part ---

// The kernel keeps all of it, and tells all of it to who reads the queue. Such a peer is made of
// one that has received nothing.
TEST_F(TcpCaseTest, WhatIsAcknowledgedOfASegmentIsNotSentAgain) {
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kPeer));
  sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog deaf{1, &nothing};
  ASSERT_THAT(
      sys::setsockopt_bytes(pair.peer.get(), SOL_SOCKET, SO_ATTACH_FILTER, &deaf, sizeof(deaf)),
      IsOk());
  ASSERT_THAT(say(pair.ours, "abcdef"), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpSocket peer, dump_tcp_socket(pair.peer, {.leave_in_repair = true,
                                                                   .control_block = false}));
  pair.peer.reset();
  peer.connection->receive_queue = {'a', 'b', 'c'};
  peer.connection->rcv_seq += 3;
  Result<RestoredTcpSocket> half = world_->peer().run([&] { return restore_tcp_socket(peer, {}); });
  ASSERT_THAT(half, IsOk());
  pair.peer = std::move(half->fd);
  ASSERT_THAT(say(pair.peer, "half"), IsOk());
  ASSERT_THAT(wait_until("half is acknowledged", Deadline::after(kPatience),
                         [&] {
                           Result<int> left = unacknowledged(pair.ours);
                           return left && *left == 3;
                         }),
              IsOk());

  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours, {.leave_in_repair = true}));
  const TcpConnection::Bytes& queue = dump.connection->send_queue;
  EXPECT_EQ(std::string(queue.begin(), queue.end()), "def");
  pair.ours.reset();
  ASSERT_THAT(world_->move(), IsOk());
  ASSERT_THAT(sys::setsockopt(pair.peer.get(), SOL_SOCKET, SO_DETACH_FILTER, 0), IsOk());
  ASSERT_THAT(world_->let_pass(), IsOk());
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump));
  EXPECT_THAT(hear(restored.fd, "half"), IsOk());
  // The answer to it says what is missing, sooner than a timer does.
  EXPECT_THAT(say(restored.fd, "ghi"), IsOk());
  EXPECT_THAT(hear(pair.peer, "abcdefghi"), IsOk());
}

// --- urgent data ---

TEST_F(TcpCaseTest, UrgentDataStaysOutOfTheStream) {
  ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kPeer));
  ASSERT_THAT(say(pair.peer, "abc"), IsOk());
  ASSERT_EQ(::send(pair.peer.get(), "X", 1, MSG_OOB), 1);
  ASSERT_THAT(say(pair.peer, "def"), IsOk());
  ASSERT_THAT(wait_for_events("urgent data", pair.ours.get(), POLLPRI, Deadline::after(kPatience)),
              IsOk());
  // Counts all of it only in line.
  ASSERT_THAT(wait_until("all has arrived", Deadline::after(kPatience),
                         [&] {
                           Result<TcpSocket> dump = dump_tcp_socket(pair.ours);
                           return !dump || dump->connection->receive_queue.size() == 7;
                         }),
              IsOk());
  Result<TcpSocket> dump = dump_tcp_socket(pair.ours, {.leave_in_repair = true});
  if (!has_control_block()) {
    EXPECT_THAT(dump, FailsWith(EOPNOTSUPP, HasSubstr("urgent data")));
    EXPECT_THAT(hear(pair.ours, "abc"), IsOk()) << "it is as it was";
    return;
  }
  ASSERT_THAT(dump, IsOk());
  EXPECT_EQ(dump->connection->urgent_mark, 3u);
  EXPECT_EQ(
      std::string(dump->connection->receive_queue.begin(), dump->connection->receive_queue.end()),
      "abcXdef");
  pair.ours.reset();
  ASSERT_THAT(world_->move(), IsOk());
  TcpRestoreOptions plain;
  plain.control_block = false;
  EXPECT_THAT(restore(*dump, plain), FailsWith(EOPNOTSUPP, HasSubstr("urgent_mark")));
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(*dump));
  char urgent = 0;
  EXPECT_THAT(hear(restored.fd, "abc"), IsOk());
  EXPECT_EQ(::recv(restored.fd.get(), &urgent, 1, MSG_OOB), 1);
  EXPECT_EQ(urgent, 'X');
  EXPECT_THAT(hear(restored.fd, "def"), IsOk());
}

}  // namespace
}  // namespace sockrepair::test

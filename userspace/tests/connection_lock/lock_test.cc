// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What a lock does to the segments of connections, and what it leaves alone.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "connection_lock/world.h"
#include "sockrepair/connection_lock.h"
#include "sockrepair/syscall.h"
#include "tcp_restore/stream.h"
#include "try.h"
#include "util/command.h"
#include "util/deadline.h"
#include "util/matchers.h"
#include "util/param_name.h"
#include "util/privileges.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::size_t kSome = 1000;
// TCP_ESTABLISHED, which only the header of libc has, and that one has an older tcp_info.
constexpr int kEstablished = 1;

Result<tcp_info> info_of(const Fd& fd) {
  return sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO);
}

// Sends, and waits until the sender had to send again.
Result<void> send_into_the_void(Stream& stream, const Fd& from, const Fd& to) {
  SOCKREPAIR_TRY_ASSIGN(const tcp_info before, info_of(to));
  SOCKREPAIR_TRY(stream.send(from, kSome));
  Result<tcp_info> info = info_of(from);
  SOCKREPAIR_TRY(wait_until("a retransmission", Deadline::after(kPatience), [&] {
    info = info_of(from);
    return !info || info->tcpi_retransmits > 0;
  }));
  if (!info) return info.error();
  SOCKREPAIR_TRY_ASSIGN(const tcp_info after, info_of(to));
  if (after.tcpi_segs_in != before.tcpi_segs_in)
    return Error{EEXIST, "segments came: " + std::to_string(after.tcpi_segs_in) + ", were " +
                             std::to_string(before.tcpi_segs_in)};
  return {};
}

// Sends from a host that drops it before it is sent: there it stays.
Result<void> send_nothing(Stream& stream, const Fd& from, const Fd& to) {
  SOCKREPAIR_TRY_ASSIGN(const tcp_info before, info_of(to));
  SOCKREPAIR_TRY(stream.send(from, kSome));
  SOCKREPAIR_TRY_ASSIGN(const tcp_info sent, info_of(from));
  if (sent.tcpi_notsent_bytes != kSome)
    return Error{EEXIST, "bytes not sent: " + std::to_string(sent.tcpi_notsent_bytes)};
  SOCKREPAIR_TRY_ASSIGN(const tcp_info after, info_of(to));
  if (after.tcpi_segs_in != before.tcpi_segs_in) return Error{EEXIST, "a segment came"};
  return {};
}

Result<void> talk(const Connection& connection) {
  Stream up, down;
  SOCKREPAIR_TRY(up.transfer(connection.peers, connection.ours, kSome));
  SOCKREPAIR_TRY(down.transfer(connection.ours, connection.peers, kSome));
  return {};
}

class ConnectionLockTest : public ::testing::TestWithParam<ConnectionKind> {};

TEST_P(ConnectionLockTest, StopsBothDirectionsUntilReleased) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(GetParam()));
  ASSERT_OK_AND_ASSIGN(Connection connection, world.connect());
  Stream up, down;
  ASSERT_THAT(up.transfer(connection.peers, connection.ours, kSome), IsOk());
  ASSERT_THAT(down.transfer(connection.ours, connection.peers, kSome), IsOk());

  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  ASSERT_THAT(lock.add({{connection.tuple}}), IsOk());
  EXPECT_THAT(send_nothing(down, connection.ours, connection.peers), IsOk());
  EXPECT_THAT(send_into_the_void(up, connection.peers, connection.ours), IsOk());

  lock.release();
  EXPECT_THAT(up.transfer(connection.peers, connection.ours, kSome), IsOk());
  EXPECT_THAT(down.transfer(connection.ours, connection.peers, kSome), IsOk());
}

TEST_P(ConnectionLockTest, LeavesOtherConnectionsOfTheListenerAlone) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(GetParam()));
  ASSERT_OK_AND_ASSIGN(Connection locked, world.connect());
  ASSERT_OK_AND_ASSIGN(Connection older, world.connect());
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  ASSERT_THAT(lock.add({{locked.tuple}}), IsOk());

  EXPECT_THAT(talk(older), IsOk());
  ASSERT_OK_AND_ASSIGN(Connection newer, world.connect());
  EXPECT_THAT(talk(newer), IsOk());
}

INSTANTIATE_TEST_SUITE_P(All, ConnectionLockTest, ::testing::ValuesIn(connection_kinds()),
                         ParamName());

class ClosedConnectionLockTest : public ConnectionLockTest {};

// The state in which a checkpoint leaves the peer: the socket is gone, the connection is not.
TEST_P(ClosedConnectionLockTest, HidesThatTheSocketIsClosed) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(GetParam()));
  ASSERT_OK_AND_ASSIGN(Connection connection, world.connect());
  Stream up;
  ASSERT_THAT(up.send(connection.peers, kSome), IsOk());
  ASSERT_THAT(wait_for_events("data", connection.ours.get(), POLLIN, Deadline::after(kPatience)),
              IsOk());

  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  ASSERT_THAT(lock.add({{connection.tuple}}), IsOk());
  // With data that was not read: a reset.
  connection.ours.reset();
  ASSERT_THAT(up.send(connection.peers, kSome), IsOk());
  EXPECT_THAT(wait_until("a retransmission", Deadline::after(kPatience),
                         [&] { return info_of(connection.peers)->tcpi_retransmits > 0; }),
              IsOk());
  ASSERT_OK_AND_ASSIGN(tcp_info info, info_of(connection.peers));
  EXPECT_EQ(info.tcpi_state, kEstablished);

  // Without the lock, what the peer sends again is answered.
  lock.release();
  EXPECT_THAT(
      wait_for_events("a reset", connection.peers.get(), POLLERR, Deadline::after(kPatience)),
      IsOk());
}

// Resets of both families, on a wire and within the host.
INSTANTIATE_TEST_SUITE_P(All, ClosedConnectionLockTest,
                         ::testing::ValuesIn(connection_kinds({"v4", "v6", "loopback_v4"})),
                         ParamName());

class OwnConnectionLockTest : public ConnectionLockTest {};

TEST_P(OwnConnectionLockTest, StopsAConnectionWhoseBothEndsAreLocked) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(GetParam()));
  ASSERT_OK_AND_ASSIGN(Connection connection, world.connect());
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  ASSERT_THAT(lock.add({{connection.tuple, connection.peers_tuple}}), IsOk());
  Stream up, down;
  EXPECT_THAT(send_nothing(up, connection.peers, connection.ours), IsOk());
  EXPECT_THAT(send_nothing(down, connection.ours, connection.peers), IsOk());

  lock.release();
  EXPECT_THAT(up.transfer(connection.peers, connection.ours, kSome), IsOk());
  EXPECT_THAT(down.transfer(connection.ours, connection.peers, kSome), IsOk());
}

INSTANTIATE_TEST_SUITE_P(All, OwnConnectionLockTest,
                         ::testing::ValuesIn(connection_kinds({"loopback_v4", "loopback_v6",
                                                               "own_address"})),
                         ParamName());

TEST(ConnectionLock, LeavesTheConnectionWithThePortsSwappedAlone) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  ASSERT_OK_AND_ASSIGN(Connection locked, world.connect());
  // From our host's port of the first connection to its peer's.
  ASSERT_OK_AND_ASSIGN(Fd listener, world.peers().run([] {
    return sys::socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
  }));
  Endpoint peer = locked.tuple.peer;
  peer.port = locked.tuple.local.port;
  ASSERT_THAT(sys::bind(listener.get(), SocketAddress(peer, AF_INET)), IsOk());
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_OK_AND_ASSIGN(
      Fd client, world.ours().run([] { return sys::socket(AF_INET, SOCK_STREAM, IPPROTO_TCP); }));
  Endpoint from = locked.tuple.local;
  from.port = locked.tuple.peer.port;
  ASSERT_THAT(sys::bind(client.get(), SocketAddress(from, AF_INET)), IsOk());

  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  ASSERT_THAT(lock.add({{locked.tuple}}), IsOk());
  ASSERT_THAT(sys::connect(client.get(), SocketAddress(peer, AF_INET)), IsOk());
  Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(accepted);
  Stream stream;
  EXPECT_THAT(stream.transfer(client, accepted, kSome), IsOk());
}

TEST(ConnectionLock, LeavesDatagramsWithTheSameAddressesAlone) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  ASSERT_OK_AND_ASSIGN(Connection locked, world.connect());
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  ASSERT_THAT(lock.add({{locked.tuple}}), IsOk());

  auto udp = [] { return sys::socket(AF_INET, SOCK_DGRAM, 0); };
  ASSERT_OK_AND_ASSIGN(Fd ours, world.ours().run(udp));
  ASSERT_OK_AND_ASSIGN(Fd peers, world.peers().run(udp));
  ASSERT_THAT(sys::bind(ours.get(), SocketAddress(locked.tuple.local, AF_INET)), IsOk());
  ASSERT_THAT(sys::bind(peers.get(), SocketAddress(locked.tuple.peer, AF_INET)), IsOk());
  ASSERT_THAT(sys::connect(peers.get(), SocketAddress(locked.tuple.local, AF_INET)), IsOk());
  ASSERT_EQ(::send(peers.get(), "in", 2, 0), 2);
  EXPECT_THAT(wait_for_events("a datagram", ours.get(), POLLIN, Deadline::after(kPatience)),
              IsOk());
}

// Another host's connection that happens to have the same addresses passes through.
TEST(ConnectionLock, LeavesForwardedConnectionsAlone) {
  ASSERT_OK_AND_ASSIGN(TwoHosts hosts, TwoHosts::create());
  ASSERT_OK_AND_ASSIGN(NetNs behind, NetNs::create());
  const NetNs& router = hosts.receiver;
  ASSERT_THAT(router.ip("link add inner type veth peer name inner netns " + behind.path() +
                        "\n"
                        "addr add 10.1.0.1/24 dev inner\n"
                        "link set inner up\n"),
              IsOk());
  ASSERT_THAT(behind.ip("addr add 10.1.0.2/24 dev inner\n"
                        "link set inner up\n"
                        "route add default via 10.1.0.1\n"),
              IsOk());
  ASSERT_THAT(router.sysctl("ipv4.ip_forward", "1"), IsOk());

  ASSERT_OK_AND_ASSIGN(Fd listener,
                       behind.run([] { return sys::socket(AF_INET, SOCK_STREAM, IPPROTO_TCP); }));
  ASSERT_OK_AND_ASSIGN(IpAddress address, IpAddress::parse("10.1.0.2"));
  ASSERT_THAT(sys::bind(listener.get(), SocketAddress({address, 80, 0}, AF_INET)), IsOk());
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_OK_AND_ASSIGN(
      Fd client, hosts.sender.run([] { return sys::socket(AF_INET, SOCK_STREAM, IPPROTO_TCP); }));
  ASSERT_THAT(sys::connect(client.get(), SocketAddress({address, 80, 0}, AF_INET)), IsOk());
  Fd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(server);

  FourTuple tuple;
  ASSERT_OK_AND_ASSIGN(SocketAddress local, sys::getsockname(server.get()));
  ASSERT_OK_AND_ASSIGN(SocketAddress peer, sys::getpeername(server.get()));
  ASSERT_OK_AND_ASSIGN(tuple.local, local.endpoint());
  ASSERT_OK_AND_ASSIGN(tuple.peer, peer.endpoint());
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(router));
  ASSERT_THAT(lock.add({{tuple, {tuple.peer, tuple.local}}}), IsOk());
  Stream stream;
  EXPECT_THAT(stream.transfer(client, server, kSome), IsOk());

  // On the host that has the socket, the same lock does stop it.
  ASSERT_OK_AND_ASSIGN(ConnectionLock right, lock_in(behind));
  ASSERT_THAT(right.add({{tuple}}), IsOk());
  EXPECT_THAT(send_nothing(stream, server, client), IsOk());
}

// A socket knows its addresses as they are behind the translation.
TEST(ConnectionLock, StopsConnectionsWhoseAddressesAreTranslated) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  // Where conntrack would do it, in both directions, but packet by packet.
  ASSERT_THAT(world.ours().run([] {
    return run_command({"nft", "-f", "-"},
                       "table ip translation {\n"
                       "  chain pre { type filter hook prerouting priority -100;\n"
                       "    ip daddr 10.0.0.99 tcp dport 80 ip daddr set 10.0.0.2\n"
                       "  }\n"
                       "  chain in { type filter hook input priority 100;\n"
                       "    ip saddr 10.0.0.1 tcp dport 80 ip saddr set 10.0.0.77\n"
                       "  }\n"
                       "  chain out { type filter hook output priority -100;\n"
                       "    ip daddr 10.0.0.77 tcp sport 80 ip daddr set 10.0.0.1\n"
                       "  }\n"
                       "  chain post { type filter hook postrouting priority 100;\n"
                       "    ip saddr 10.0.0.2 tcp sport 80 ip saddr set 10.0.0.99\n"
                       "  }\n"
                       "}\n");
  }),
              IsOk());
  ASSERT_THAT(world.peers().ip("route add 10.0.0.99/32 via 10.0.0.2\n"), IsOk());
  ASSERT_OK_AND_ASSIGN(
      Fd listener, world.ours().run([] { return sys::socket(AF_INET, SOCK_STREAM, IPPROTO_TCP); }));
  ASSERT_OK_AND_ASSIGN(IpAddress any, IpAddress::parse("0.0.0.0"));
  ASSERT_THAT(sys::bind(listener.get(), SocketAddress({any, 80, 0}, AF_INET)), IsOk());
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_OK_AND_ASSIGN(
      Fd client, world.peers().run([] { return sys::socket(AF_INET, SOCK_STREAM, IPPROTO_TCP); }));
  ASSERT_OK_AND_ASSIGN(IpAddress outer, IpAddress::parse("10.0.0.99"));
  ASSERT_THAT(sys::connect(client.get(), SocketAddress({outer, 80, 0}, AF_INET)), IsOk());
  Fd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(server);
  FourTuple tuple;
  ASSERT_OK_AND_ASSIGN(SocketAddress local, sys::getsockname(server.get()));
  ASSERT_OK_AND_ASSIGN(SocketAddress peer, sys::getpeername(server.get()));
  ASSERT_OK_AND_ASSIGN(tuple.local, local.endpoint());
  ASSERT_OK_AND_ASSIGN(tuple.peer, peer.endpoint());
  ASSERT_EQ(tuple.local.address.to_string(), "10.0.0.2");
  ASSERT_EQ(tuple.peer.address.to_string(), "10.0.0.77");

  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  ASSERT_THAT(lock.add({{tuple}}), IsOk());
  Stream up, down;
  EXPECT_THAT(send_nothing(down, server, client), IsOk());
  EXPECT_THAT(send_into_the_void(up, client, server), IsOk());
  lock.release();
  EXPECT_THAT(up.transfer(client, server, kSome), IsOk());
  EXPECT_THAT(down.transfer(server, client, kSome), IsOk());
}

TEST(ConnectionLock, TakesMoreConnectionsAndThoseThatItHas) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  ASSERT_OK_AND_ASSIGN(Connection first, world.connect());
  ASSERT_OK_AND_ASSIGN(Connection second, world.connect());
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  ASSERT_THAT(lock.add({{first.tuple, first.tuple}}), IsOk());
  EXPECT_THAT(talk(second), IsOk());
  ASSERT_THAT(lock.add({{second.tuple, first.tuple}}), IsOk());
  ASSERT_THAT(lock.add({}), IsOk());

  Stream one, two;
  EXPECT_THAT(send_nothing(one, first.ours, first.peers), IsOk());
  EXPECT_THAT(send_nothing(two, second.ours, second.peers), IsOk());
}

TEST(ConnectionLock, IsOneTransactionForTenThousand) {
  ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(ns));
  std::vector<FourTuple> many;
  for (std::uint16_t i = 0; i < 10000; ++i) {
    const char* text[] = {"10.0.0.1", "fd00::1"};
    ASSERT_OK_AND_ASSIGN(IpAddress address, IpAddress::parse(text[i % 2]));
    many.push_back({{address, 80, 0}, {address, static_cast<std::uint16_t>(20000 + i), 0}});
  }
  ASSERT_OK_AND_ASSIGN(std::uint32_t before, transactions_in(ns));
  ASSERT_THAT(lock.add(many), IsOk());
  EXPECT_THAT(transactions_in(ns), IsOkAndHolds(before + 1));

  ASSERT_OK_AND_ASSIGN(std::string rules, ns.run([&] {
    return run_command({"nft", "list", "table", "inet", lock.table()});
  }));
  std::size_t found = 0;
  for (std::size_t at = 0; (at = rules.find(" . 80 . ", at)) != std::string::npos; ++at) ++found;
  EXPECT_EQ(found, many.size());
}

struct Unlockable {
  std::string name;
  std::string local;
  std::uint16_t local_port;
  std::string peer;
  std::uint16_t peer_port;
  std::string says;
};
std::ostream& operator<<(std::ostream& out, const Unlockable& value) {
  return out << value.name;
}

class ConnectionLockRefusalTest : public ::testing::TestWithParam<Unlockable> {};

TEST_P(ConnectionLockRefusalTest, LocksNothing) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  ASSERT_OK_AND_ASSIGN(Connection good, world.connect());
  FourTuple bad;
  ASSERT_OK_AND_ASSIGN(bad.local.address, IpAddress::parse(GetParam().local));
  ASSERT_OK_AND_ASSIGN(bad.peer.address, IpAddress::parse(GetParam().peer));
  bad.local.port = GetParam().local_port;
  bad.peer.port = GetParam().peer_port;

  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  EXPECT_THAT(lock.add({{good.tuple, bad}}),
              FailsWith(EINVAL, AllOf(StartsWith("connection 1 ("), HasSubstr(GetParam().says))));
  EXPECT_THAT(talk(good), IsOk());
}

INSTANTIATE_TEST_SUITE_P(
    All, ConnectionLockRefusalTest,
    ::testing::Values(
        Unlockable{"local_port", "10.0.0.1", 0, "10.0.0.2", 2, "the local port is 0"},
        Unlockable{"peer_port", "10.0.0.1", 1, "10.0.0.2", 0, "the port of the peer is 0"},
        Unlockable{"local_wildcard", "0.0.0.0", 1, "10.0.0.2", 2, "local address is a wildcard"},
        Unlockable{"peer_wildcard", "fd00::1", 1, "::", 2, "address of the peer is a wildcard"},
        Unlockable{"mapped_wildcard", "::ffff:0.0.0.0", 1, "10.0.0.2", 2, "is a wildcard"},
        Unlockable{"multicast", "10.0.0.1", 1, "224.0.0.1", 2, "is a multicast address"},
        Unlockable{"families", "10.0.0.1", 1, "fd00::2", 2, "IPv4 address with an IPv6 one"}),
    ParamName());

TEST(ConnectionLock, TakesAMappedAddressForTheIpv4One) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  ASSERT_OK_AND_ASSIGN(Connection connection, world.connect());
  FourTuple mapped = connection.tuple;
  mapped.local.address = IpAddress(mapped.local.address.v6_or_mapped());
  mapped.peer.address = IpAddress(mapped.peer.address.v6_or_mapped());
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  ASSERT_THAT(lock.add({{mapped}}), IsOk());
  Stream stream;
  EXPECT_THAT(send_nothing(stream, connection.ours, connection.peers), IsOk());
}

TEST(ConnectionLock, IsTwiceLockedUntilBothAreGone) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  ASSERT_OK_AND_ASSIGN(Connection connection, world.connect());
  ASSERT_OK_AND_ASSIGN(ConnectionLock one, lock_in(world.ours()));
  ASSERT_OK_AND_ASSIGN(ConnectionLock two, lock_in(world.ours()));
  ASSERT_NE(one.table(), two.table());
  ASSERT_THAT(one.add({{connection.tuple}}), IsOk());
  ASSERT_THAT(two.add({{connection.tuple}}), IsOk());
  one.release();
  Stream stream;
  EXPECT_THAT(send_nothing(stream, connection.ours, connection.peers), IsOk());
  two.release();
  EXPECT_THAT(stream.transfer(connection.ours, connection.peers, kSome), IsOk());
}

TEST(ConnectionLock, MovesWithItsObject) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  ASSERT_OK_AND_ASSIGN(Connection connection, world.connect());
  ASSERT_OK_AND_ASSIGN(ConnectionLock first, lock_in(world.ours()));
  ASSERT_THAT(first.add({{connection.tuple}}), IsOk());
  ConnectionLock second = std::move(first);
  first.release();
  EXPECT_THAT(first.table(), IsEmpty());
  EXPECT_THAT(first.add({{connection.tuple}}), FailsWith(EBADF));
  Stream stream;
  EXPECT_THAT(send_nothing(stream, connection.ours, connection.peers), IsOk());

  ASSERT_OK_AND_ASSIGN(ConnectionLock third, lock_in(world.ours()));
  second = std::move(third);
  EXPECT_THAT(stream.transfer(connection.ours, connection.peers, kSome), IsOk());
}

// As `systemctl reload nftables` does, while a connection is on its way.
TEST(ConnectionLock, StaysWhenTheRulesetIsFlushed) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  ASSERT_OK_AND_ASSIGN(Connection connection, world.connect());
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
  ASSERT_THAT(lock.add({{connection.tuple}}), IsOk());
  ASSERT_THAT(world.ours().run([] { return run_command({"nft", "flush", "ruleset"}); }), IsOk());
  EXPECT_THAT(world.ours().run([&] {
    return run_command({"nft", "delete", "table", "inet", lock.table()});
  }),
              Not(IsOk()));
  Stream stream;
  EXPECT_THAT(send_nothing(stream, connection.ours, connection.peers), IsOk());
}

TEST(ConnectionLock, IsInTheNamespaceOfTheSocketThatIsGiven) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  ASSERT_OK_AND_ASSIGN(Connection connection, world.connect());
  ASSERT_OK_AND_ASSIGN(NetNs elsewhere, NetNs::create());
  ASSERT_OK_AND_ASSIGN(ConnectionLock lock, elsewhere.run([&] {
    return ConnectionLock::create({.socket = connection.ours.get()});
  }));
  ASSERT_THAT(lock.add({{connection.tuple}}), IsOk());
  Stream stream;
  EXPECT_THAT(send_nothing(stream, connection.ours, connection.peers), IsOk());
  EXPECT_THAT(tables_in(world.ours()), IsOkAndHolds(lock.table() + "\n"));
  EXPECT_THAT(tables_in(elsewhere), IsOkAndHolds(""));
}

TEST(ConnectionLock, RefusesWhatIsNoSocket) {
  ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
  EXPECT_THAT(ConnectionLock::create({.socket = ns.fd().get()}), FailsWith(ENOTSOCK));
  EXPECT_THAT(ConnectionLock::create({.socket = -2}), FailsWith(EBADF));
}

// By several threads at the same time, none of which sees the others.
TEST(ConnectionLock, ManyAtOnceDoNotDisturbEachOther) {
  ASSERT_OK_AND_ASSIGN(LockWorld world, LockWorld::create(plain_kind()));
  constexpr int kThreads = 4;
  constexpr int kRounds = 5;
  std::vector<Connection> connections;
  for (int i = 0; i < kThreads; ++i) {
    ASSERT_OK_AND_ASSIGN(Connection connection, world.connect());
    connections.push_back(std::move(connection));
  }
  std::array<Result<void>, kThreads> results;
  {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        const Connection& own = connections[i];
        Stream stream;
        auto round = [&]() -> Result<void> {
          SOCKREPAIR_TRY_ASSIGN(ConnectionLock lock, lock_in(world.ours()));
          SOCKREPAIR_TRY(lock.add({{own.tuple}}));
          SOCKREPAIR_TRY(send_nothing(stream, own.ours, own.peers));
          lock.release();
          SOCKREPAIR_TRY(stream.transfer(own.ours, own.peers, kSome));
          return {};
        };
        for (int n = 0; n < kRounds && results[i]; ++n) results[i] = round();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (const Result<void>& result : results) EXPECT_THAT(result, IsOk());
  EXPECT_THAT(tables_in(world.ours()), IsOkAndHolds(""));
}

TEST(ConnectionLock, NeedsARight) {
  EXPECT_THAT(without_capabilities([]() -> Result<void> {
                SOCKREPAIR_TRY(ConnectionLock::create());
                return {};
              }),
              FailsWith(EPERM));
}

TEST(ConnectionLock, RootOfAUserNamespaceMay) {
  EXPECT_THAT(in_user_namespace([]() -> Result<void> {
                SOCKREPAIR_TRY_ASSIGN(ConnectionLock lock, ConnectionLock::create());
                SOCKREPAIR_TRY_ASSIGN(IpAddress address, IpAddress::parse("10.0.0.1"));
                return lock.add({{{{address, 1, 0}, {address, 2, 0}}}});
              }),
              IsOk());
}

// The kernel takes no message that is longer than the socket's buffer, which such a root cannot
// make as large as it likes: the transaction fails as a whole.
TEST(ConnectionLock, ATransactionThatFailsLocksNothing) {
  EXPECT_THAT(in_user_namespace([]() -> Result<void> {
                SOCKREPAIR_TRY_ASSIGN(ConnectionLock lock, ConnectionLock::create());
                SOCKREPAIR_TRY_ASSIGN(IpAddress address, IpAddress::parse("fd00::1"));
                std::vector<FourTuple> many;
                for (std::uint16_t port = 1; port < 60000; ++port)
                  many.push_back({{address, 65535, 0}, {address, port, 0}});
                Result<void> added = lock.add(many);
                if (added) return Error{EEXIST, "60000 connections were taken"};
                if (added.error().code != EMSGSIZE) return added.error();
                SOCKREPAIR_TRY_ASSIGN(std::string rules,
                                      run_command({"nft", "list", "table", "inet", lock.table()}));
                if (rules.find("elements") != std::string::npos) return Error{EEXIST, rules};
                return lock.add({{many[0]}});
              }),
              IsOk());
}

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// A UDP socket as a whole: dumped, closed, restored, and found to be the same by what the kernel
// says about it and by what it does. Queues have suites of their own; here is that they come along.

#include "sockrepair/udp_socket.h"

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <sstream>
#include <thread>

#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"
#include "udp_socket/option_cases.h"
#include "udp_socket/state_kinds.h"
#include "util/matchers.h"
#include "util/net_ns.h"
#include "util/param_name.h"
#include "util/privileges.h"
#include "util/send.h"

namespace sockrepair::test {

namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const IpAddress kLocal4 = IpAddress::parse("192.0.2.1").value();
const IpAddress kPeer4 = IpAddress::parse("192.0.2.2").value();

// A host with device0, index `index`, and a neighbour that nobody asks for.
Result<NetNs> make_host(unsigned index) {
  SOCKREPAIR_TRY_ASSIGN(NetNs ns, NetNs::create());
  // Other indices in between, so that nothing fits by accident.
  SOCKREPAIR_TRY(ns.ip("link add device0 index " + std::to_string(index) +
                       " type veth peer name device1 index " + std::to_string(index + 1) +
                       "\n"
                       "link set device0 addrgenmode none\n"
                       "link set device0 up\n"
                       "link set device1 up\n"
                       "addr add 192.0.2.1/24 dev device0\n"
                       "addr add 2001:db8::1/64 dev device0 nodad\n"
                       "addr add fe80::1/64 dev device0 nodad\n"
                       "neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev device0\n"
                       "neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev device0\n"));
  return ns;
}

const NetNs& host() {
  static const NetNs* ns = new NetNs(make_host(kDeviceIndex).value());
  return *ns;
}

// The same with other indices.
const NetNs& other_host() {
  static const NetNs* ns = new NetNs(make_host(40).value());
  return *ns;
}

Result<Fd> open_socket(const NetNs& ns, int domain) {
  return ns.run([&] { return sys::socket(domain, SOCK_DGRAM, 0); });
}

Result<RestoredSocket> restore_on(const NetNs& ns, const UdpSocket& socket,
                                  const UdpRestoreOptions& options = {}) {
  return ns.run([&] { return restore_udp_socket(socket, options); });
}

Result<Fd> bound_socket(const NetNs& ns, const Endpoint& local, bool shared = false) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, open_socket(ns, AF_INET));
  if (shared) SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(local, AF_INET)));
  return fd;
}

Result<Endpoint> name_of(const Fd& fd) {
  SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd.get()));
  return name.endpoint();
}

Result<void> disconnect(const Fd& fd) {
  SocketAddress nobody;
  nobody.mutable_get()->sa_family = AF_UNSPEC;
  return sys::connect(fd.get(), nobody);
}

// Without what is another in every socket, and without losses, which are said once.
UdpSocket comparable(UdpSocket socket) {
  socket.cookie = 0;
  socket.inode = 0;
  socket.netns_cookie = 0;
  socket.losses.clear();
  return socket;
}

std::vector<std::string> lines_of(const UdpSocket& socket) {
  std::vector<std::string> lines;
  std::istringstream text(socket.describe());
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  std::sort(lines.begin(), lines.end());
  return lines;
}

// Equal in every member but those above; lists the lines of describe() that are not in both.
MATCHER_P(SameSocketAs, want, negation ? "is another socket" : "is the same socket") {
  std::vector<std::string> a = lines_of(comparable(arg));
  std::vector<std::string> b = lines_of(comparable(want));
  std::vector<std::string> different;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(),
                                std::back_inserter(different));
  for (const std::string& line : different) *result_listener << "\n  " << line;
  return comparable(arg) == comparable(want);
}

auto LossOf(const char* subject) {
  return Contains(Field(&Loss::subject, HasSubstr(subject)));
}

int open_descriptors() {
  int count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (directory != nullptr && readdir(directory) != nullptr) ++count;
  if (directory != nullptr) closedir(directory);
  return count;
}

bool has_udp_repair() {
  Result<Fd> fd = sys::socket(AF_INET, SOCK_DGRAM, 0);
  return fd && get_udp_repair(*fd).ok();
}

std::string receive_text(const Fd& fd) {
  char buffer[64] = "";
  ssize_t length = ::recv(fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
  return length < 0 ? errno_text(errno) : std::string(buffer, static_cast<std::size_t>(length));
}

std::vector<std::uint8_t> bytes(const std::string& text) {
  return {text.begin(), text.end()};
}

}  // namespace

// --- every state ---

class UdpSocketStateTest : public ::testing::TestWithParam<StateKind> {};

TEST_P(UdpSocketStateTest, ComesBack) {
  const StateKind& kind = GetParam();
  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_socket(host(), kind.domain));
  ASSERT_THAT(kind.reach(old_socket), IsOk());
  ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(old_socket));
  EXPECT_EQ(dump.address_chosen, kind.address_chosen);
  EXPECT_EQ(dump.port_chosen, kind.port_chosen);

  // Dumping changes nothing.
  ASSERT_OK_AND_ASSIGN(UdpSocket unchanged, dump_udp_socket(old_socket));
  EXPECT_THAT(unchanged, SameSocketAs(dump));
  EXPECT_EQ(unchanged.losses, dump.losses);

  old_socket.reset();
  ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(host(), dump));
  EXPECT_THAT(restored.losses, IsEmpty());
  ASSERT_OK_AND_ASSIGN(UdpSocket again, dump_udp_socket(restored.fd));
  EXPECT_THAT(again, SameSocketAs(dump));

  // As often as you like.
  restored.fd.reset();
  EXPECT_THAT(restore_on(host(), dump).ok(), true);
}

// The first thing that a socket without memory of its own would lose: everything, somewhere else.
TEST_P(UdpSocketStateTest, ComesBackOnAnotherHost) {
  const StateKind& kind = GetParam();
  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_socket(host(), kind.domain));
  ASSERT_THAT(kind.reach(old_socket), IsOk());
  ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(old_socket));
  ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(other_host(), dump));
  ASSERT_OK_AND_ASSIGN(UdpSocket again, dump_udp_socket(restored.fd));
  EXPECT_NE(again.netns_cookie, dump.netns_cookie);

  // The same, under the other index.
  auto rename = [](std::uint32_t& index) { index = index == kDeviceIndex ? 40 : index; };
  UdpSocket want = dump;
  for (OptionValue& option : want.options) {
    const sockrepair::SocketOption* row = find_socket_option(option.level, option.name);
    if (row->type != OptionType::kInterface) continue;
    std::uint32_t index = 0;
    memcpy(&index, option.value.data(), sizeof(index));
    rename(index);
    memcpy(option.value.data(), &index, sizeof(index));
  }
  for (Membership& membership : want.memberships) rename(membership.ifindex);
  for (InterfaceName& row : want.interfaces) rename(row.index);
  if (want.local) rename(want.local->scope);
  if (want.peer) rename(want.peer->scope);
  EXPECT_THAT(again, SameSocketAs(want));
}

INSTANTIATE_TEST_SUITE_P(All, UdpSocketStateTest, ::testing::ValuesIn(state_kinds()), ParamName());

// --- what a program sees later ---

struct DisconnectCase {
  std::string name;
  bool address_chosen;
  bool port_chosen;
};

void PrintTo(const DisconnectCase& one, std::ostream* out) {
  *out << one.name;
}

class UdpSocketDisconnectTest : public ::testing::TestWithParam<DisconnectCase> {};

// What nobody chose goes when the socket disconnects; a dump that knows restores it so.
TEST_P(UdpSocketDisconnectTest, WhatWasNotChosenGoes) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_socket(host(), AF_INET));
  ASSERT_THAT(sys::connect(old_socket.get(), SocketAddress({kPeer4, 53, 0}, AF_INET)), IsOk());
  ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(old_socket));
  ASSERT_TRUE(dump.local.has_value());
  EXPECT_THAT(dump.losses, LossOf("local address"));
  EXPECT_THAT(dump.losses, LossOf("local port"));
  old_socket.reset();

  dump.address_chosen = GetParam().address_chosen;
  dump.port_chosen = GetParam().port_chosen;
  ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(host(), dump));
  EXPECT_THAT(restored.losses, IsEmpty());
  EXPECT_THAT(name_of(restored.fd), IsOkAndHolds(*dump.local));
  ASSERT_THAT(disconnect(restored.fd), IsOk());
  ASSERT_OK_AND_ASSIGN(Endpoint left, name_of(restored.fd));
  EXPECT_EQ(left.address, GetParam().address_chosen ? kLocal4 : IpAddress());
  EXPECT_EQ(left.port, GetParam().port_chosen ? dump.local->port : 0);
}

INSTANTIATE_TEST_SUITE_P(All, UdpSocketDisconnectTest,
                         ::testing::ValuesIn(std::vector<DisconnectCase>{{"neither", false, false},
                                                                         {"address", true, false},
                                                                         {"port", false, true},
                                                                         {"both", true, true}}),
                         ParamName());

// Where the route would now give another address, the old one is kept and the loss named.
TEST(UdpSocketDisconnectElsewhereTest, AnotherRouteIsALoss) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_socket(host(), AF_INET));
  ASSERT_THAT(sys::connect(old_socket.get(), SocketAddress({kPeer4, 53, 0}, AF_INET)), IsOk());
  ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(old_socket));
  dump.address_chosen = dump.port_chosen = false;
  ASSERT_OK_AND_ASSIGN(NetNs other, make_host(40));
  ASSERT_THAT(other.ip("addr add 192.0.2.77/24 dev device0\n"
                       "route add 192.0.2.2/32 dev device0 src 192.0.2.77\n"),
              IsOk());
  ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(other, dump));
  EXPECT_THAT(restored.losses, LossOf("local address"));
  EXPECT_THAT(name_of(restored.fd), IsOkAndHolds(*dump.local));
}

TEST(UdpSocketDisconnectElsewhereTest, AnotherPortRangeIsALoss) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_socket(host(), AF_INET));
  ASSERT_THAT(sys::connect(old_socket.get(), SocketAddress({kPeer4, 53, 0}, AF_INET)), IsOk());
  ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(old_socket));
  dump.address_chosen = dump.port_chosen = false;
  ASSERT_OK_AND_ASSIGN(NetNs other, make_host(40));
  ASSERT_THAT(other.sysctl("ipv4.ip_local_port_range", "1100 1200"), IsOk());
  ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(other, dump));
  EXPECT_THAT(restored.losses, LossOf("local port"));
  EXPECT_THAT(name_of(restored.fd), IsOkAndHolds(*dump.local));
}

TEST(UdpSocketShutdownTest, SendingFailsAndReceivingEnds) {
  for (int how : {SHUT_RD, SHUT_WR, SHUT_RDWR}) {
    SCOPED_TRACE(how);
    ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(host(), {kLocal4, 5353, 0}));
    ASSERT_THAT(sys::connect(old_socket.get(), SocketAddress({kPeer4, 53, 0}, AF_INET)), IsOk());
    ASSERT_THAT(sys::shutdown(old_socket.get(), how), IsOk());
    ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(old_socket));
    EXPECT_EQ(dump.receive_shutdown, how != SHUT_WR);
    EXPECT_EQ(dump.send_shutdown, how != SHUT_RD);
    old_socket.reset();
    ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(host(), dump));
    Result<void> sent = send(restored.fd, {.payload = bytes("x"), .flags = MSG_NOSIGNAL});
    EXPECT_EQ(sent.ok(), how == SHUT_RD);
    pollfd poll_fd{restored.fd.get(), POLLRDHUP, 0};
    ::poll(&poll_fd, 1, 0);
    EXPECT_EQ((poll_fd.revents & POLLRDHUP) != 0, how != SHUT_WR);
    EXPECT_EQ((poll_fd.revents & POLLHUP) != 0, how == SHUT_RDWR);
  }
}

// --- groups that share a port ---

namespace {

constexpr std::uint16_t kGroupPort = 5354;

Result<std::vector<Fd>> open_group(const NetNs& ns, std::size_t size) {
  std::vector<Fd> group;
  for (std::size_t i = 0; i < size; ++i) {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, bound_socket(ns, {kLocal4, kGroupPort, 0}, true));
    group.push_back(std::move(fd));
  }
  return group;
}

// Which socket of the group gets the datagrams from each of some addresses.
Result<std::vector<std::size_t>> flows(const NetNs& ns, const std::vector<Fd>& group) {
  std::vector<std::size_t> taken;
  for (std::uint16_t port = 6000; port < 6032; ++port) {
    SOCKREPAIR_TRY_ASSIGN(Fd sender, bound_socket(ns, {kLocal4, port, 0}));
    SOCKREPAIR_TRY(
        send(sender, {.payload = bytes("flow"), .to = Endpoint{kLocal4, kGroupPort, 0}}));
    // Delivered before sendto() returns: it is this host.
    for (std::size_t i = 0; i < group.size(); ++i)
      if (receive_text(group[i]) == "flow") taken.push_back(i);
  }
  return taken;
}

}  // namespace

TEST(UdpSocketGroupTest, EachSocketGetsItsFlowsAgain) {
  constexpr std::size_t kSize = 4;
  ASSERT_OK_AND_ASSIGN(std::vector<Fd> group, open_group(host(), kSize));
  ASSERT_OK_AND_ASSIGN(auto before, flows(host(), group));
  ASSERT_THAT(before, SizeIs(32));

  std::vector<UdpSocket> dumps;
  for (const Fd& fd : group) {
    ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(fd));
    EXPECT_EQ(dump.reuseport_rank, dumps.size());
    EXPECT_THAT(dump.losses, LossOf("SO_ATTACH_REUSEPORT_EBPF"));
    dumps.push_back(std::move(dump));
  }
  group.clear();
  for (const UdpSocket& dump : dumps) {
    ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(host(), dump));
    group.push_back(std::move(restored.fd));
  }
  EXPECT_THAT(flows(host(), group), IsOkAndHolds(before));

  // And in another order it would not have been so.
  group.clear();
  for (auto dump = dumps.rbegin(); dump != dumps.rend(); ++dump) {
    ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(host(), *dump));
    group.insert(group.begin(), std::move(restored.fd));
  }
  ASSERT_OK_AND_ASSIGN(auto reversed, flows(host(), group));
  EXPECT_NE(reversed, before);
}

// --- errors that wait ---

class UdpSocketErrorTest : public ::testing::Test {
 protected:
  // A socket that has sent to a port where nobody is.
  Result<Fd> refused_socket() {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, bound_socket(host(), {kLocal4, 5355, 0}));
    SOCKREPAIR_TRY(sys::connect(fd.get(), SocketAddress({kLocal4, 9, 0}, AF_INET)));
    SOCKREPAIR_TRY(send(fd, {.payload = bytes("anybody?")}));
    return fd;
  }
};

TEST_F(UdpSocketErrorTest, StaysAndIsALoss) {
  ASSERT_OK_AND_ASSIGN(Fd fd, refused_socket());
  ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(fd));
  EXPECT_THAT(dump.losses, LossOf("pending_error"));
  EXPECT_FALSE(dump.pending_error.has_value());
  EXPECT_THAT(sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_ERROR), IsOkAndHolds(ECONNREFUSED));
}

TEST_F(UdpSocketErrorTest, IsTakenIfAsked) {
  ASSERT_OK_AND_ASSIGN(Fd fd, refused_socket());
  UdpDumpOptions take;
  take.take_errors = true;
  ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(fd.get(), take));
  EXPECT_EQ(dump.pending_error, ECONNREFUSED);
  EXPECT_THAT(dump.losses, Not(LossOf("error queue")));
  EXPECT_THAT(sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_ERROR), IsOkAndHolds(0));
}

TEST_F(UdpSocketErrorTest, QueueIsCountedIfTaken) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(host(), {kLocal4, 5355, 0}));
  ASSERT_THAT(sys::setsockopt(fd.get(), IPPROTO_IP, IP_RECVERR, 1), IsOk());
  for (int i = 0; i < 2; ++i) {
    ASSERT_THAT(send(fd, {.payload = bytes("x"), .to = Endpoint{kLocal4, 9, 0}}), IsOk());
    // Else the next send would fail with it. The entry stays.
    EXPECT_THAT(sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_ERROR), IsOkAndHolds(ECONNREFUSED));
  }
  UdpDumpOptions take;
  take.take_errors = true;
  ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(fd.get(), take));
  EXPECT_THAT(dump.losses, Contains(Field(&Loss::what, "2 entries")));
  pollfd poll_fd{fd.get(), 0, 0};
  EXPECT_EQ(::poll(&poll_fd, 1, 0), 0);
}

// Peeking at the receive queue would take the error: the kernel's own dump does not.
TEST_F(UdpSocketErrorTest, DoesNotHideTheReceiveQueue) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(host(), {kLocal4, 5355, 0}));
  ASSERT_OK_AND_ASSIGN(Fd sender, bound_socket(host(), {kLocal4, 5356, 0}));
  ASSERT_THAT(send(sender, {.payload = bytes("kept"), .to = Endpoint{kLocal4, 5355, 0}}), IsOk());
  ASSERT_THAT(sys::connect(fd.get(), SocketAddress({kLocal4, 9, 0}, AF_INET)), IsOk());
  ASSERT_THAT(send(fd, {.payload = bytes("anybody?")}), IsOk());

  UdpDumpOptions stock;
  stock.receive.method = Method::kStock;
  EXPECT_THAT(dump_udp_socket(fd.get(), stock), FailsWith(EBUSY, HasSubstr("take_errors")));
  Result<UdpSocket> dump = dump_udp_socket(fd);
  if (has_udp_repair()) {
    ASSERT_THAT(dump, IsOk());
    EXPECT_THAT(dump->receive_queue.datagrams, SizeIs(1));
  } else {
    EXPECT_THAT(dump, FailsWith(EBUSY, HasSubstr("take_errors")));
  }
  EXPECT_THAT(sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_ERROR), IsOkAndHolds(ECONNREFUSED));
}

// --- queues ---

TEST(UdpSocketQueueTest, ReceivedDatagramsComeAlong) {
  for (bool connected : {false, true}) {
    SCOPED_TRACE(connected ? "connected" : "unconnected");
    ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(host(), {kLocal4, 5357, 0}));
    ASSERT_OK_AND_ASSIGN(Fd sender, bound_socket(host(), {kLocal4, 5358, 0}));
    for (const char* text : {"one", "", "three"})
      ASSERT_THAT(send(sender, {.payload = bytes(text), .to = Endpoint{kLocal4, 5357, 0}}), IsOk());
    // From now on it takes datagrams from somebody else only, and none of the filter's.
    if (connected) {
      ASSERT_THAT(sys::connect(fd.get(), SocketAddress({kPeer4, 53, 0}, AF_INET)), IsOk());
    }
    sock_filter nothing_passes{BPF_RET | BPF_K, 0, 0, 0};
    sock_fprog program{1, &nothing_passes};
    ASSERT_THAT(sys::setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, program), IsOk());

    ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(fd));
    EXPECT_THAT(dump.receive_queue.datagrams, SizeIs(3));
    fd.reset();
    ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(host(), dump));
    EXPECT_EQ(receive_text(restored.fd), "one");
    EXPECT_EQ(receive_text(restored.fd), "");
    EXPECT_EQ(receive_text(restored.fd), "three");
    EXPECT_EQ(receive_text(restored.fd), errno_text(EAGAIN));
  }
}

TEST(UdpSocketQueueTest, DatagramUnderConstructionComesAlong) {
  ASSERT_OK_AND_ASSIGN(Fd receiver, bound_socket(host(), {kLocal4, 5359, 0}));
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(host(), {kLocal4, 5360, 0}));
  ASSERT_THAT(send(fd, {.payload = bytes("half "), .to = Endpoint{kLocal4, 5359, 0}, .more = true}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(fd));
  if (!has_udp_repair()) {
    EXPECT_THAT(dump.losses, LossOf("send queue"));
    GTEST_SKIP() << "this kernel has no UDP_REPAIR";
  }
  EXPECT_THAT(dump.losses, Not(LossOf("send queue")));
  fd.reset();
  ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(host(), dump));
  ASSERT_THAT(send(restored.fd, {.payload = bytes("and half")}), IsOk());
  EXPECT_EQ(receive_text(receiver), "half and half");
}

// --- refusals ---

namespace {

struct RefusedSocket {
  std::string name;
  void (*change)(UdpSocket&);
  int code;
  const char* what;
};

const Membership kGroup = {IpAddress::parse("239.1.1.1").value(), kDeviceIndex, true, {}};

const RefusedSocket kRefused[] = {
    {"domain", [](UdpSocket& s) { s.domain = AF_UNIX; }, EAFNOSUPPORT, "domain: 1, must be"},
    {"local_family", [](UdpSocket& s) { s.local->address = IpAddress(in6addr_loopback); }, EINVAL,
     "local: IPv6"},
    {"peer_family",
     [](UdpSocket& s) {
       s.peer = Endpoint{IpAddress(in6addr_loopback), 9, 0};
     },
     EINVAL, "peer: IPv6"},
    {"peer_without_port",
     [](UdpSocket& s) {
       s.peer = Endpoint{kPeer4, 9, 0};
       s.local->port = 0;
     },
     EINVAL, "local: no port"},
    {"peer_without_local",
     [](UdpSocket& s) {
       s.peer = Endpoint{kPeer4, 9, 0};
       s.local.reset();
     },
     EINVAL, "local: no port"},
    {"flowinfo_without_peer", [](UdpSocket& s) { s.peer_flowinfo = 1; }, EINVAL, "peer_flowinfo"},
    {"flowinfo_on_inet",
     [](UdpSocket& s) {
       s.peer = Endpoint{kPeer4, 9, 0};
       s.peer_flowinfo = 1;
     },
     EINVAL, "peer_flowinfo"},
    {"address_from_nowhere", [](UdpSocket& s) { s.address_chosen = false; }, EINVAL,
     "address_chosen: false"},
    {"address_of_nobody", [](UdpSocket& s) { s.local->address = kPeer4; }, EADDRNOTAVAIL,
     "local: 192.0.2.2:5361, must be an address of this host"},
    {"no_route",
     [](UdpSocket& s) {
       s.peer = Endpoint{IpAddress::parse("203.0.113.9").value(), 9, 0};
     },
     ENETUNREACH, "peer: 203.0.113.9:9, needs a route"},
    {"interface_without_name",
     [](UdpSocket& s) {
       s.interfaces = {{3, ""}};
     },
     EINVAL, "interfaces: index 3"},
    {"interface_without_index",
     [](UdpSocket& s) {
       s.interfaces = {{0, "lo"}};
     },
     EINVAL, "interfaces: index 0"},
    {"interface_long_name",
     [](UdpSocket& s) {
       s.interfaces = {{3, "sixteen_bytes_00"}};
     },
     EINVAL, "interfaces: index 3"},
    {"interface_twice",
     [](UdpSocket& s) {
       s.interfaces = {{3, "a"}, {3, "b"}};
     },
     EINVAL, "twice"},
    {"option_unknown",
     [](UdpSocket& s) {
       s.options.push_back({1, 4711, {0, 0, 0, 0}});
     },
     EINVAL, "option level 1, option 4711"},
    {"option_short", [](UdpSocket& s) { s.options[0].value.pop_back(); }, EINVAL, "3 bytes"},
    {"group_not_multicast",
     [](UdpSocket& s) {
       s.memberships = {kGroup};
       s.memberships[0].group = kPeer4;
     },
     EINVAL, "memberships, 192.0.2.2: must be a multicast group"},
    {"group_family",
     [](UdpSocket& s) {
       s.memberships = {kGroup};
       s.memberships[0].group = IpAddress::parse("ff05::1").value();
     },
     EINVAL, "memberships, ff05::1"},
    {"group_without_interface",
     [](UdpSocket& s) {
       s.memberships = {kGroup};
       s.memberships[0].ifindex = 0;
     },
     EINVAL, "interface 0"},
    {"group_from_nobody",
     [](UdpSocket& s) {
       s.memberships = {kGroup};
       s.memberships[0].exclude = false;
     },
     EINVAL, "from nobody"},
    {"group_source_family",
     [](UdpSocket& s) {
       s.memberships = {kGroup};
       s.memberships[0].sources = {IpAddress(in6addr_loopback)};
     },
     EINVAL, "source ::1"},
    {"group_on_missing_interface",
     [](UdpSocket& s) {
       s.memberships = {kGroup};
       s.memberships[0].ifindex = 4711;
     },
     ENODEV, "memberships, 239.1.1.1 on interface 4711"},
    {"group_on_renamed_interface",
     [](UdpSocket& s) {
       s.memberships = {kGroup};
       s.interfaces = {{kDeviceIndex, "gone0"}};
     },
     ENODEV, "no interface 'gone0'"},
    {"option_refused",
     [](UdpSocket& s) {
       for (OptionValue& option : s.options)
         if (option.level == IPPROTO_IP && option.name == IP_TTL) option.value = {0, 1, 0, 0};
     },
     EINVAL, "option IPPROTO_IP, IP_TTL: 256"},
};

void PrintTo(const RefusedSocket& one, std::ostream* out) {
  *out << one.name;
}

}  // namespace

class UdpSocketRefusalTest : public ::testing::TestWithParam<RefusedSocket> {};

TEST_P(UdpSocketRefusalTest, NamesTheMemberAndLeavesNothing) {
  const Endpoint kName{kLocal4, 5361, 0};
  UdpSocket value;
  {
    ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(host(), kName));
    ASSERT_OK_AND_ASSIGN(value, dump_udp_socket(fd));
  }
  ASSERT_THAT(restore_on(host(), value), IsOk());
  GetParam().change(value);
  int before = open_descriptors();
  EXPECT_THAT(restore_on(host(), value), FailsWith(GetParam().code, HasSubstr(GetParam().what)));
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_THAT(bound_socket(host(), kName), IsOk());
}

INSTANTIATE_TEST_SUITE_P(All, UdpSocketRefusalTest, ::testing::ValuesIn(kRefused), ParamName());

TEST(UdpSocketRefusedTest, AddressInUse) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(host(), {kLocal4, 5362, 0}));
  ASSERT_OK_AND_ASSIGN(UdpSocket value, dump_udp_socket(fd));
  EXPECT_THAT(restore_on(host(), value),
              FailsWith(EADDRINUSE, HasSubstr("local: 192.0.2.1:5362, must be free")));
}

TEST(UdpSocketRefusedTest, PrivilegedPort) {
  UdpSocket value;
  value.domain = AF_INET;
  value.local = Endpoint{IpAddress(), 53, 0};
  EXPECT_THAT(without_capabilities([&]() -> Result<void> {
                Result<RestoredSocket> restored = restore_udp_socket(value);
                if (!restored) return restored.error();
                return {};
              }),
              FailsWith(EACCES, HasSubstr("needs CAP_NET_BIND_SERVICE")));
}

TEST(UdpSocketRefusedTest, LenientReportsAndGoesOn) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(host(), {kLocal4, 5363, 0}));
  ASSERT_OK_AND_ASSIGN(UdpSocket value, dump_udp_socket(fd));
  fd.reset();
  value.memberships = {kGroup, kGroup};
  value.memberships[0].ifindex = 4711;
  for (OptionValue& option : value.options)
    if (option.level == IPPROTO_IP && option.name == IP_TTL) option.value = {0, 1, 0, 0};
  UdpRestoreOptions lenient;
  lenient.refusal = Refusal::kReport;
  ASSERT_OK_AND_ASSIGN(RestoredSocket restored, restore_on(host(), value, lenient));
  EXPECT_THAT(restored.losses, SizeIs(2));
  EXPECT_THAT(restored.losses, LossOf("IP_TTL"));
  EXPECT_THAT(restored.losses, LossOf("membership"));
  ASSERT_OK_AND_ASSIGN(UdpSocket again, dump_udp_socket(restored.fd));
  EXPECT_EQ(again.memberships, std::vector<Membership>{kGroup});
}

TEST(UdpSocketRefusedTest, OtherSocketsAreNotDumped) {
  ASSERT_OK_AND_ASSIGN(Fd tcp, sys::socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_THAT(dump_udp_socket(tcp), FailsWith(EPROTONOSUPPORT, HasSubstr("protocol 6")));
  ASSERT_OK_AND_ASSIGN(Fd unix_socket, sys::socket(AF_UNIX, SOCK_DGRAM, 0));
  EXPECT_THAT(dump_udp_socket(unix_socket), FailsWith(EPROTONOSUPPORT));
  ASSERT_OK_AND_ASSIGN(Fd raw, sys::socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
  EXPECT_THAT(dump_udp_socket(raw), FailsWith(EPROTONOSUPPORT));
  EXPECT_THAT(dump_udp_socket(-1), FailsWith(EBADF));
}

// --- who may, from where ---

// Without the right to enter the socket's namespace the rest is dumped, and what is missing named.
TEST(UdpSocketNamespaceTest, WhatCannotBeSeenIsALoss) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(host(), {kLocal4, 5364, 0}));
  EXPECT_THAT(without_capabilities([&]() -> Result<void> {
                SOCKREPAIR_TRY_ASSIGN(UdpSocket dump, dump_udp_socket(fd));
                for (const char* subject : {"send_shutdown", "memberships"}) {
                  bool named =
                      std::any_of(dump.losses.begin(), dump.losses.end(),
                                  [&](const Loss& loss) { return loss.subject == subject; });
                  if (!named) return Error{ENOMSG, subject};
                }
                return {};
              }),
              IsOk());
}

TEST(UdpSocketThreadTest, ManyThreadsEachWithItsSockets) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 6;
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t, &failures] {
      // Half of them from outside, which takes threads of the library's own.
      auto work = [t]() -> Result<void> {
        for (int round = 0; round < kRounds; ++round) {
          SOCKREPAIR_TRY_ASSIGN(
              Fd fd, bound_socket(host(), {kLocal4, static_cast<std::uint16_t>(5400 + t), 0}));
          SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, t * 1000 + round));
          SOCKREPAIR_TRY_ASSIGN(UdpSocket dump, dump_udp_socket(fd));
          fd.reset();
          SOCKREPAIR_TRY_ASSIGN(RestoredSocket restored, restore_on(host(), dump));
          SOCKREPAIR_TRY_ASSIGN(UdpSocket again, dump_udp_socket(restored.fd));
          if (comparable(again) != comparable(dump)) return Error{EPROTO, "not the same"};
        }
        return {};
      };
      Result<void> done = t % 2 == 0 ? host().run(work) : work();
      if (!done) ++failures;
      EXPECT_THAT(done, IsOk());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

TEST(UdpSocketTextTest, SaysWhatThereIs) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(host(), {kLocal4, 5365, 0}));
  ASSERT_OK_AND_ASSIGN(UdpSocket dump, dump_udp_socket(fd));
  std::string text = dump.describe();
  EXPECT_THAT(text, HasSubstr("domain: AF_INET\n"));
  EXPECT_THAT(text, HasSubstr("local: 192.0.2.1:5365\n"));
  EXPECT_THAT(text, HasSubstr("option: IPPROTO_IP, IP_TTL: 64\n"));
  EXPECT_THAT(text, HasSubstr("not told by the kernel: IPPROTO_IP, IP_XFRM_POLICY\n"));
  EXPECT_EQ(kGroup.describe(), "239.1.1.1 on interface 2");
}

}  // namespace sockrepair::test

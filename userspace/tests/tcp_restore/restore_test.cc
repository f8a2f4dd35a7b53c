// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Connections across a network are moved to another host in the orders of calls of CRIU and of
// passt, with data in both queues, and go on as if nothing had happened: every byte arrives once,
// MSS, scales and windows are what they were, and as many bytes take as many segments. The same on
// loopback, where they come back to the host they were on.
//
//      client                      server                      elsewhere
//    +----------+               +----------+                 +----------+
//    |  wire0   |---------------|  wire0   |  ==> moved to   |  wire0   |
//    +----------+               +----------+                 +----------+
//
// All connections of a test are moved at once, as they are with a container. Wherever they go, all
// options of TCP are switched on.

#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/sockios.h>
#include <linux/tcp.h>

#include <cerrno>
#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/syscall.h"
#include "tcp_restore/image.h"
#include "tcp_restore/stream.h"
#include "try.h"
#include "util/deadline.h"
#include "util/matchers.h"
#include "util/param_name.h"
#include "util/two_hosts.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Le;
using ::testing::ValuesIn;

constexpr std::uint16_t kPort = 5000;
constexpr std::size_t kMegabyte = 1 << 20;
constexpr std::size_t kQueued = 3000;
constexpr std::size_t kUnsent = 100;
constexpr int kMtu = 1500;

// What the SYNs agree on.
struct Agreement {
  const char* name;
  bool scale;
  bool sack;
  bool timestamps;
  bool queues = true;  // data in both
};
const Agreement kAgreements[] = {
    {"scale_sack_timestamps", true, true, true}, {"scale_sack", true, true, false},
    {"scale_timestamps", true, false, true},     {"scale", true, false, false},
    {"sack_timestamps", false, true, true},      {"sack", false, true, false},
    {"timestamps", false, false, true},          {"nothing", false, false, false},
    {"empty_queues", true, true, true, false},
};

Result<void> set_sysctls(const NetNs& host, const Agreement& agreement) {
  SOCKREPAIR_TRY(host.sysctl("ipv4.tcp_window_scaling", agreement.scale ? "1" : "0"));
  SOCKREPAIR_TRY(host.sysctl("ipv4.tcp_sack", agreement.sack ? "1" : "0"));
  return host.sysctl("ipv4.tcp_timestamps", agreement.timestamps ? "1" : "0");
}

// Where a client and a server are, and where the server's connections go.
class World {
 public:
  // Two hosts; the server's connections go to a third one.
  static Result<World> network() {
    SOCKREPAIR_TRY_ASSIGN(TwoHosts hosts, TwoHosts::create({.mtu = kMtu}));
    World world;
    world.hosts_.emplace(std::move(hosts));
    return world;
  }
  // One host; they stay, and what was agreed on is not its default any more.
  static Result<World> loopback() {
    World world;
    SOCKREPAIR_TRY_ASSIGN(NetNs host, NetNs::create());
    SOCKREPAIR_TRY(host.ip("link set lo mtu " + std::to_string(kMtu) + "\n"));
    world.host_.emplace(std::move(host));
    return world;
  }

  const NetNs& client() const { return hosts_ ? hosts_->sender : *host_; }
  const NetNs& server() const { return hosts_ ? hosts_->receiver : *host_; }
  IpAddress server_address(Family family) const {
    if (hosts_) return receiver_address(family);
    return IpAddress::parse(family == Family::kIpv4 ? "127.0.0.1" : "::1").value();
  }

  Result<void> agree(const Agreement& agreement) {
    for (const NetNs* host : {&client(), &server()}) {
      SOCKREPAIR_TRY(set_sysctls(*host, agreement));
      // A tail loss probe sends what waits for more.
      SOCKREPAIR_TRY(host->sysctl("ipv4.tcp_early_retrans", "0"));
    }
    return {};
  }

  // From here on server() is where the connections are restored.
  Result<void> move() {
    if (hosts_) return hosts_->replace_receiver({.mtu = kMtu});
    SOCKREPAIR_TRY(host_->sysctl("ipv4.tcp_early_retrans", "3"));
    return set_sysctls(*host_, {"everything", true, true, true});
  }

 private:
  World() = default;

  std::optional<TwoHosts> hosts_;
  std::optional<NetNs> host_;
};

struct Case {
  std::string name;
  Result<World> (*world)();
  const Agreement* agreement;

  friend void PrintTo(const Case& param, std::ostream* out) { *out << param.name; }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Agreement& agreement : kAgreements) {
    all.push_back({std::string("network_") + agreement.name, World::network, &agreement});
    all.push_back({std::string("loopback_") + agreement.name, World::loopback, &agreement});
  }
  return all;
}

struct Connection {
  std::string name;
  Order order;
  int domain;
  Fd client;
  Fd server;
  Stream up;                // client to server
  Stream down;              // server to client
  Transfer undisturbed_up;  // a megabyte in pieces
  Transfer undisturbed_down;
  std::chrono::milliseconds undisturbed_time{0};  // of a megabyte in each direction, at full speed
  Image image;
};

Result<void> connect(const World& world, Connection& connection, std::uint16_t port) {
  const int domain = connection.domain;
  const Family family = domain == AF_INET ? Family::kIpv4 : Family::kIpv6;
  const SocketAddress address(Endpoint{world.server_address(family), port, 0}, domain);
  SOCKREPAIR_TRY_ASSIGN(
      Fd listener, world.server().run([domain] { return sys::socket(domain, SOCK_STREAM, 0); }));
  SOCKREPAIR_TRY(sys::bind(listener.get(), address));
  if (::listen(listener.get(), 1) != 0) return Error{errno, "listen()"};
  SOCKREPAIR_TRY_ASSIGN(connection.client, world.client().run([domain] {
    return sys::socket(domain, SOCK_STREAM, 0);
  }));
  SOCKREPAIR_TRY(sys::connect(connection.client.get(), address));
  connection.server = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.server) return Error{errno, "accept4()"};
  return {};
}

// What the client sends is not read; what the server sends is not heard, and a part of it not sent.
Result<void> fill_queues(Connection& connection) {
  SOCKREPAIR_TRY(connection.up.send(connection.client, kQueued));
  SOCKREPAIR_TRY(wait_until("data in the receive queue", Deadline::after(kPatience), [&] {
    int bytes = 0;
    return sys::ioctl(connection.server.get(), SIOCINQ, &bytes).ok() &&
           static_cast<std::size_t>(bytes) == kQueued;
  }));
  SOCKREPAIR_TRY(block(connection.client));
  SOCKREPAIR_TRY(connection.down.send(connection.server, kQueued));
  // Less than a segment, so that it waits for more.
  SOCKREPAIR_TRY(sys::setsockopt(connection.server.get(), IPPROTO_TCP, TCP_CORK, 1));
  return connection.down.send(connection.server, kUnsent);
}

// Segments that brought something new: a loaded machine takes a late acknowledgment for a loss.
std::uint32_t first_time(const Transfer& transfer) {
  return transfer.segments - transfer.retransmitted;
}

// Within 2 %.
auto AsManyAs(const Transfer& undisturbed) {
  const std::uint32_t segments = first_time(undisturbed);
  return AllOf(Ge(segments - segments / 50), Le(segments + segments / 50));
}

class TcpRestoreTest : public ::testing::TestWithParam<Case> {};

TEST_P(TcpRestoreTest, ConnectionsGoOnElsewhere) {
  const Agreement& agreement = *GetParam().agreement;
  ASSERT_OK_AND_ASSIGN(World world, GetParam().world());
  ASSERT_THAT(world.agree(agreement), IsOk());

  std::deque<Connection> connections;
  for (Order order : kOrders) {
    for (const auto& [family, domain] : {std::pair{"v4", AF_INET}, std::pair{"v6", AF_INET6}}) {
      Connection& connection = connections.emplace_back();
      connection.name = std::string(order_name(order)) + "_" + family;
      connection.order = order;
      connection.domain = domain;
    }
  }

  std::uint16_t port = kPort;
  for (Connection& one : connections) {
    SCOPED_TRACE(one.name);
    ASSERT_THAT(connect(world, one, port++), IsOk());
    // The first megabyte opens the windows.
    ASSERT_THAT(one.up.transfer(one.client, one.server, kMegabyte), IsOk());
    ASSERT_THAT(one.down.transfer(one.server, one.client, kMegabyte), IsOk());
    ASSERT_OK_AND_ASSIGN(const Transfer up, one.up.transfer(one.client, one.server, kMegabyte));
    ASSERT_OK_AND_ASSIGN(const Transfer down, one.down.transfer(one.server, one.client, kMegabyte));
    one.undisturbed_time = up.time + down.time;
    ASSERT_OK_AND_ASSIGN(one.undisturbed_up,
                         one.up.transfer_in_pieces(one.client, one.server, kMegabyte));
    ASSERT_OK_AND_ASSIGN(one.undisturbed_down,
                         one.down.transfer_in_pieces(one.server, one.client, kMegabyte));
    ASSERT_GE(one.undisturbed_down.segments, kMegabyte / kMtu);
  }
  for (Connection& one : connections) {
    SCOPED_TRACE(one.name);
    if (agreement.queues)
      ASSERT_THAT(fill_queues(one), IsOk());
    else
      ASSERT_THAT(block(one.client), IsOk());
    ASSERT_OK_AND_ASSIGN(one.image, save_and_close(std::move(one.server)));
    ASSERT_EQ(one.image.received.size(), agreement.queues ? kQueued : 0);
    ASSERT_EQ(one.image.sent.size(), agreement.queues ? kQueued : 0);
    ASSERT_EQ(one.image.unsent.size(), agreement.queues ? kUnsent : 0);
    ASSERT_EQ(one.image.numbers.scales().has_value(), agreement.scale);
    ASSERT_EQ(one.image.numbers.sack(), agreement.sack);
    ASSERT_EQ(one.image.numbers.timestamps(), agreement.timestamps);
  }

  ASSERT_THAT(world.move(), IsOk());
  for (Connection& one : connections) {
    SCOPED_TRACE(one.name);
    ASSERT_OK_AND_ASSIGN(one.server,
                         world.server().run([&] { return restore(one.order, one.image); }));

    ASSERT_THAT(sys::setsockopt(one.server.get(), IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON), IsOk());
    ASSERT_OK_AND_ASSIGN(const TcpNumbers is, read_numbers(one.server));
    ASSERT_THAT(sys::setsockopt(one.server.get(), IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP),
                IsOk());
    const TcpNumbers& was = one.image.numbers;
    EXPECT_EQ(is.info.tcpi_snd_mss, was.info.tcpi_snd_mss);
    EXPECT_EQ(is.mss, was.mss);
    EXPECT_EQ(is.sack(), was.sack());
    EXPECT_EQ(is.timestamps(), was.timestamps());
    EXPECT_EQ(is.scales().value_or(0), was.scales().value_or(0));
    EXPECT_EQ(is.window.snd_wnd, was.window.snd_wnd);
    EXPECT_EQ(is.window.max_window, was.window.max_window);
    EXPECT_EQ(is.snd_seq, was.snd_seq);
    EXPECT_EQ(is.rcv_seq, was.rcv_seq);
    // What was promised to the peer holds, as far as one announcement can say it.
    if (one.order != Order::kWindowFirst) {
      EXPECT_EQ(is.window.rcv_wup + is.window.rcv_wnd, was.window.rcv_wup + was.window.rcv_wnd);
    }
    ASSERT_THAT(unblock(one.server), IsOk());
    ASSERT_THAT(unblock(one.client), IsOk());
  }

  for (Connection& one : connections) {
    SCOPED_TRACE(one.name);
    // What was in the queues, and as much again as opened the windows at first.
    ASSERT_THAT(one.down.transfer(one.server, one.client, kMegabyte), IsOk());
    ASSERT_THAT(one.up.transfer(one.client, one.server, kMegabyte), IsOk());

    ASSERT_OK_AND_ASSIGN(const Transfer down, one.down.transfer(one.server, one.client, kMegabyte));
    ASSERT_OK_AND_ASSIGN(const Transfer up, one.up.transfer(one.client, one.server, kMegabyte));
    // More would be segments that the peer does not take.
    EXPECT_LE(down.retransmitted, down.segments / 20);
    EXPECT_LE(up.retransmitted, up.segments / 20);
    // A connection that stalls on its window waits for timers, of 200 ms and more for each window.
    // Nothing less is told from a loaded machine.
    EXPECT_LT(up.time + down.time, 4 * one.undisturbed_time + std::chrono::seconds(2));

    ASSERT_OK_AND_ASSIGN(const Transfer down_in_pieces,
                         one.down.transfer_in_pieces(one.server, one.client, kMegabyte));
    ASSERT_OK_AND_ASSIGN(const Transfer up_in_pieces,
                         one.up.transfer_in_pieces(one.client, one.server, kMegabyte));
    EXPECT_THAT(first_time(down_in_pieces), AsManyAs(one.undisturbed_down));
    EXPECT_THAT(first_time(up_in_pieces), AsManyAs(one.undisturbed_up));
  }
}

INSTANTIATE_TEST_SUITE_P(All, TcpRestoreTest, ValuesIn(cases()), ParamName());

}  // namespace
}  // namespace sockrepair::test

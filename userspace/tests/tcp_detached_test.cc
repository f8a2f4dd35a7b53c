// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Connections that no process has are found, with their state, queues and timer; those that a
// process has are not. Every kind is made with real sockets on loopback.
#include "sockrepair/tcp_detached.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <linux/filter.h>

#include <cerrno>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/deadline.h"
#include "util/matchers.h"
#include "util/net_ns.h"

namespace sockrepair::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Values;

constexpr std::uint16_t kPort = 5000;
constexpr std::string_view kWords = "seventeen bytes..";

// A listener, a client that connected to it, and the server's socket once it was accepted.
struct Sockets {
  Fd listener;
  std::optional<Fd> client;
  std::optional<Fd> server;
};

Result<void> accept(Sockets& sockets) {
  Fd fd(::accept4(sockets.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid()) return Error{errno, "accept"};
  sockets.server = std::move(fd);
  return {};
}

Result<void> write(const Fd& fd, std::string_view words) {
  if (::send(fd.get(), words.data(), words.size(), MSG_NOSIGNAL) < 0) return Error{errno, "send"};
  return {};
}

// From here on the socket sees nothing that comes in.
Result<void> deafen(const Fd& fd) {
  sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
  return sys::setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, sock_fprog{1, &drop});
}

// Waits until the peer has said that it writes no more.
Result<void> read_end(const Fd& fd) {
  char byte;
  if (::recv(fd.get(), &byte, 1, 0) != 0) return Error{EPROTO, "recv, not the end"};
  return {};
}

// How a connection of each kind comes to be.
struct Kind {
  const char* name;
  DetachedKind kind;
  int state;
  std::uint32_t send_queue;
  std::uint32_t receive_queue;
  bool timer;  // runs for sure
  const char* text;
  // Before the client connects, and after.
  Result<void> (*prepare)(Sockets& sockets);
  Result<void> (*make)(Sockets& sockets);
};

Result<void> nothing(Sockets&) {
  return {};
}

const Kind kKinds[] = {
    {"handshake", DetachedKind::kHandshake, TCP_SYN_RECV, 0, 0, true, "handshake in SYN_RECV, ",
     // The third segment of the handshake is not enough for it.
     [](Sockets& s) { return sys::setsockopt(s.listener.get(), SOL_TCP, TCP_DEFER_ACCEPT, 30); },
     nothing},
    {"unaccepted", DetachedKind::kUnaccepted, TCP_ESTABLISHED, 0, kWords.size(), false,
     "17 bytes not read", nothing, [](Sockets& s) { return write(*s.client, kWords); }},
    {"unaccepted_and_over", DetachedKind::kUnaccepted, TCP_CLOSE_WAIT, 0, 1, false,
     "unaccepted in CLOSE_WAIT, ", nothing,
     [](Sockets& s) { return sys::shutdown(s.client->get(), SHUT_WR); }},
    {"orphan", DetachedKind::kOrphan, TCP_FIN_WAIT1, kWords.size() + 1, 0, true, "18 bytes to send",
     nothing,
     [](Sockets& s) -> Result<void> {
       SOCKREPAIR_TRY(accept(s));
       SOCKREPAIR_TRY(deafen(*s.client));
       SOCKREPAIR_TRY(write(*s.server, kWords));
       s.server.reset();
       return {};
     }},
    {"orphan_of_the_second_to_close", DetachedKind::kOrphan, TCP_LAST_ACK, 1, 0, true,
     "orphan in LAST_ACK, ", nothing,
     [](Sockets& s) -> Result<void> {
       SOCKREPAIR_TRY(accept(s));
       SOCKREPAIR_TRY(sys::shutdown(s.client->get(), SHUT_WR));
       SOCKREPAIR_TRY(read_end(*s.server));
       SOCKREPAIR_TRY(deafen(*s.client));
       s.server.reset();
       return {};
     }},
    {"time_wait", DetachedKind::kTimeWait, TCP_TIME_WAIT, 0, 0, true, "time-wait in TIME_WAIT, ",
     nothing,
     [](Sockets& s) -> Result<void> {
       SOCKREPAIR_TRY(accept(s));
       s.server.reset();
       SOCKREPAIR_TRY(read_end(*s.client));
       s.client.reset();
       return {};
     }},
    {"time_wait_for_a_fin", DetachedKind::kTimeWait, TCP_FIN_WAIT2, 0, 0, true,
     "time-wait in FIN_WAIT2, ", nothing,
     [](Sockets& s) -> Result<void> {
       SOCKREPAIR_TRY(accept(s));
       s.server.reset();
       return read_end(*s.client);
     }},
};

struct Case {
  Kind kind;
  Family family;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Kind& kind : kKinds)
    for (Family family : {Family::kIpv4, Family::kIpv6}) cases.push_back({kind, family});
  return cases;
}

class TcpDetachedTest : public ::testing::TestWithParam<Case> {
 protected:
  static Endpoint server_address(Family family) {
    return {IpAddress::parse(family == Family::kIpv4 ? "127.0.0.1" : "::1").value(), kPort, 0};
  }

  // A connected client, in a namespace of its own.
  Result<Sockets> connect(const Kind& kind, Family family) {
    SOCKREPAIR_TRY_ASSIGN(NetNs host, NetNs::create());
    host_.emplace(std::move(host));
    return host_->run([&]() -> Result<Sockets> {
      const int domain = family == Family::kIpv4 ? AF_INET : AF_INET6;
      const SocketAddress address(server_address(family), domain);
      SOCKREPAIR_TRY_ASSIGN(Fd listener, sys::socket(domain, SOCK_STREAM, 0));
      SOCKREPAIR_TRY_ASSIGN(Fd client, sys::socket(domain, SOCK_STREAM, 0));
      Sockets sockets{std::move(listener), std::move(client), std::nullopt};
      SOCKREPAIR_TRY(kind.prepare(sockets));
      SOCKREPAIR_TRY(sys::bind(sockets.listener.get(), address));
      if (::listen(sockets.listener.get(), 1) != 0) return Error{errno, "listen"};
      SOCKREPAIR_TRY(sys::connect(sockets.client->get(), address));
      return sockets;
    });
  }

  Result<std::vector<DetachedConnection>> find() {
    return host_->run([] { return find_detached_connections(); });
  }

  std::optional<NetNs> host_;
};

TEST_P(TcpDetachedTest, IsFound) {
  const Kind& kind = GetParam().kind;
  ASSERT_OK_AND_ASSIGN(Sockets sockets, connect(kind, GetParam().family));
  ASSERT_THAT(kind.make(sockets), IsOk());

  // A FIN is acknowledged some time later.
  std::vector<DetachedConnection> all;
  ASSERT_THAT(wait_until(kind.text, Deadline::after(kPatience),
                         [&] {
                           if (auto found = find()) all = *std::move(found);
                           return all.size() == 1 && all[0].state == kind.state;
                         }),
              IsOk())
      << all.size() << " found" << (all.empty() ? "" : ": " + all[0].describe());
  const DetachedConnection& found = all[0];
  EXPECT_EQ(found.kind, kind.kind) << found.describe();
  EXPECT_EQ(found.state, kind.state);
  EXPECT_EQ(found.local, server_address(GetParam().family));
  EXPECT_EQ(found.peer.address, server_address(GetParam().family).address);
  EXPECT_NE(found.peer.port, 0);
  EXPECT_EQ(found.send_queue, kind.send_queue);
  EXPECT_EQ(found.receive_queue, kind.receive_queue);
  EXPECT_TRUE(found.timer.has_value() || !kind.timer);
  EXPECT_THAT(found.describe(), HasSubstr(kind.text));
  EXPECT_THAT(found.describe(), HasSubstr(found.consequence()));
}

void PrintTo(const Case& row, std::ostream* out) {
  *out << row.kind.name << ", " << family_name(row.family);
}

std::string case_name(const ::testing::TestParamInfo<Case>& row) {
  return std::string(row.param.kind.name) + (row.param.family == Family::kIpv4 ? "_v4" : "_v6");
}

INSTANTIATE_TEST_SUITE_P(Kinds, TcpDetachedTest, ::testing::ValuesIn(all_cases()), case_name);

using TcpDetachedNoneTest = TcpDetachedTest;

TEST_P(TcpDetachedNoneTest, WhatAProcessHasIsNotListed) {
  ASSERT_OK_AND_ASSIGN(Sockets sockets, connect(GetParam().kind, GetParam().family));
  ASSERT_THAT(accept(sockets), IsOk());
  ASSERT_OK_AND_ASSIGN(std::vector<DetachedConnection> all, find());
  EXPECT_EQ(all.size(), 0u);
  ASSERT_THAT(sys::shutdown(sockets.client->get(), SHUT_WR), IsOk());
  ASSERT_THAT(read_end(*sockets.server), IsOk());
  ASSERT_OK_AND_ASSIGN(all, find());
  EXPECT_EQ(all.size(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Families, TcpDetachedNoneTest,
                         Values(Case{kKinds[1], Family::kIpv4}, Case{kKinds[1], Family::kIpv6}),
                         case_name);

}  // namespace
}  // namespace sockrepair::test

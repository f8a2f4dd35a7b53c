// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "connection_lock/world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <utility>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/command.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

Result<FourTuple> tuple_of(const Fd& fd) {
  SOCKREPAIR_TRY_ASSIGN(SocketAddress local, sys::getsockname(fd.get()));
  SOCKREPAIR_TRY_ASSIGN(SocketAddress peer, sys::getpeername(fd.get()));
  FourTuple tuple;
  SOCKREPAIR_TRY_ASSIGN(tuple.local, local.endpoint());
  SOCKREPAIR_TRY_ASSIGN(tuple.peer, peer.endpoint());
  return tuple;
}

}  // namespace

std::vector<ConnectionKind> connection_kinds() {
  return {
      {.name = "v4", .domain = AF_INET, .peer_domain = AF_INET, .address = "10.0.0.2"},
      {.name = "v6", .domain = AF_INET6, .peer_domain = AF_INET6, .address = "fd00::2"},
      {.name = "mapped", .domain = AF_INET6, .peer_domain = AF_INET, .address = "10.0.0.2"},
      {.name = "mapped_peer", .domain = AF_INET, .peer_domain = AF_INET6, .address = "10.0.0.2"},
      {.name = "link_local",
       .domain = AF_INET6,
       .peer_domain = AF_INET6,
       .address = "fe80::2",
       .scope = kWireIndex},
      {.name = "loopback_v4",
       .domain = AF_INET,
       .peer_domain = AF_INET,
       .address = "127.0.0.1",
       .own_loopback = true},
      {.name = "loopback_v6",
       .domain = AF_INET6,
       .peer_domain = AF_INET6,
       .address = "::1",
       .own_loopback = true},
      {.name = "own_address",
       .domain = AF_INET,
       .peer_domain = AF_INET,
       .address = "10.0.0.2",
       .own_loopback = true},
  };
}

std::vector<ConnectionKind> own_connection_kinds() {
  std::vector<ConnectionKind> kinds = connection_kinds();
  std::erase_if(kinds, [](const ConnectionKind& kind) { return !kind.own_loopback; });
  return kinds;
}

ConnectionKind plain_kind() {
  return connection_kinds().front();
}

Result<LockWorld> LockWorld::create(const ConnectionKind& kind) {
  SOCKREPAIR_TRY_ASSIGN(TwoHosts hosts, TwoHosts::create());
  LockWorld world(std::move(hosts), kind);
  SOCKREPAIR_TRY_ASSIGN(world.listener_, world.ours().run([&] {
    return sys::socket(kind.domain, SOCK_STREAM, IPPROTO_TCP);
  }));
  Endpoint any{IpAddress::any(kind.domain == AF_INET ? Family::kIpv4 : Family::kIpv6), 0, 0};
  SOCKREPAIR_TRY(sys::bind(world.listener_.get(), SocketAddress(any, kind.domain)));
  if (::listen(world.listener_.get(), 64) != 0) return Error{errno, "listen()"};
  SOCKREPAIR_TRY_ASSIGN(SocketAddress bound, sys::getsockname(world.listener_.get()));
  SOCKREPAIR_TRY_ASSIGN(Endpoint endpoint, bound.endpoint());
  SOCKREPAIR_TRY_ASSIGN(IpAddress address, IpAddress::parse(kind.address));
  world.address_ = {address, endpoint.port, kind.scope};
  return world;
}

Result<Connection> LockWorld::connect() const {
  return connect_from(0);
}

Result<Connection> LockWorld::connect_from(std::uint16_t port) const {
  Connection made;
  SOCKREPAIR_TRY_ASSIGN(made.peers, peers().run([&] {
    return sys::socket(peer_domain_, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
  }));
  if (port != 0) {
    Endpoint from{IpAddress::any(peer_domain_ == AF_INET ? Family::kIpv4 : Family::kIpv6), port, 0};
    SOCKREPAIR_TRY(sys::bind(made.peers.get(), SocketAddress(from, peer_domain_)));
  }
  Result<void> connecting = sys::connect(made.peers.get(), SocketAddress(address_, peer_domain_));
  if (!connecting && connecting.error().code != EINPROGRESS) return connecting.error();
  SOCKREPAIR_TRY(
      wait_for_events("a connection", listener_.get(), POLLIN, Deadline::after(kPatience)));
  made.ours = Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!made.ours) return Error{errno, "accept4()"};
  SOCKREPAIR_TRY_ASSIGN(made.tuple, tuple_of(made.ours));
  SOCKREPAIR_TRY_ASSIGN(made.peers_tuple, tuple_of(made.peers));
  return made;
}

Result<ConnectionLock> lock_in(const NetNs& ns) {
  return ns.run([] { return ConnectionLock::create(); });
}

Result<std::string> tables_in(const NetNs& ns) {
  return ns.run([] { return run_command({"nft", "list", "tables"}); });
}

Result<std::uint32_t> transactions_in(const NetNs& ns) {
  SOCKREPAIR_TRY_ASSIGN(
      Fd fd, ns.run([] { return sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER); }));
  struct {
    nlmsghdr header;
    nfgenmsg body;
  } question{};
  question.header.nlmsg_len = sizeof(question);
  question.header.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  if (::send(fd.get(), &question, sizeof(question), 0) < 0) return Error{errno, "NFT_MSG_GETGEN"};
  struct {
    nlmsghdr header;
    nfgenmsg body;
    nlattr id;  // NFTA_GEN_ID, the first attribute
    std::uint32_t value;
    std::array<char, 256> rest;
  } answer{};
  if (::recv(fd.get(), &answer, sizeof(answer), MSG_DONTWAIT) < 0 ||
      answer.header.nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN) ||
      answer.id.nla_type != NFTA_GEN_ID)
    return Error{EPROTO, "answer to NFT_MSG_GETGEN"};
  return ntohl(answer.value);
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "connection_lock/world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <utility>

#include "sockrepair/syscall.h"
#include "try.h"
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

using Bytes = std::vector<std::uint8_t>;

// All that the kernel answers to a question without attributes.
Result<Bytes> ask_nf_tables(const NetNs& ns, int type, std::uint16_t flags) {
  SOCKREPAIR_TRY_ASSIGN(
      Fd fd, ns.run([] { return sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER); }));
  struct {
    nlmsghdr header;
    nfgenmsg body;
  } question{};
  question.header.nlmsg_len = sizeof(question);
  question.header.nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
  question.header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  if (::send(fd.get(), &question, sizeof(question), 0) < 0)
    return Error{errno, "a question to nf_tables"};
  Bytes answer(1 << 16);
  std::size_t size = 0;
  for (ssize_t more;
       (more = ::recv(fd.get(), answer.data() + size, answer.size() - size, MSG_DONTWAIT)) > 0;)
    size += static_cast<std::size_t>(more);
  answer.resize(size);
  return answer;
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

std::vector<ConnectionKind> connection_kinds(const std::set<std::string>& names) {
  std::vector<ConnectionKind> kinds = connection_kinds();
  std::erase_if(kinds, [&](const ConnectionKind& kind) { return !names.contains(kind.name); });
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
  SOCKREPAIR_TRY_ASSIGN(Bytes answer, ask_nf_tables(ns, NFT_MSG_GETTABLE, NLM_F_DUMP));
  std::string names;
  for (std::size_t at = 0; at + NLMSG_HDRLEN <= answer.size();) {
    nlmsghdr header;
    memcpy(&header, answer.data() + at, sizeof(header));
    if (header.nlmsg_type == NLMSG_DONE) return names;
    if (header.nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE)) break;
    // NFTA_TABLE_NAME comes first.
    nlattr name;
    const std::size_t first = at + NLMSG_LENGTH(sizeof(nfgenmsg));
    memcpy(&name, answer.data() + first, sizeof(name));
    if (name.nla_type != NFTA_TABLE_NAME) break;
    names += reinterpret_cast<const char*>(answer.data() + first + NLA_HDRLEN);
    names += "\n";
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
  return Error{EPROTO, "answer to NFT_MSG_GETTABLE"};
}

Result<std::uint32_t> transactions_in(const NetNs& ns) {
  SOCKREPAIR_TRY_ASSIGN(Bytes answer, ask_nf_tables(ns, NFT_MSG_GETGEN, 0));
  struct {
    nlmsghdr header;
    nfgenmsg body;
    nlattr id;  // NFTA_GEN_ID comes first
    std::uint32_t value;
  } generation;
  if (answer.size() < sizeof(generation)) return Error{EPROTO, "answer to NFT_MSG_GETGEN"};
  memcpy(&generation, answer.data(), sizeof(generation));
  if (generation.header.nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN) ||
      generation.id.nla_type != NFTA_GEN_ID)
    return Error{EPROTO, "answer to NFT_MSG_GETGEN"};
  return ntohl(generation.value);
}

}  // namespace sockrepair::test

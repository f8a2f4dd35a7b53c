// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/receiver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>

#include "control_messages.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

#ifndef SO_RCVPRIORITY
#define SO_RCVPRIORITY 82
#endif

namespace sockrepair::test {

namespace {

using Data = std::span<const std::uint8_t>;

struct Option {
  int level;
  int name;
};

// Asked of every receiver.
constexpr Option kCommonOptions[] = {
    {SOL_SOCKET, SO_RCVMARK},
    {SOL_SOCKET, SO_RCVPRIORITY},
};
constexpr Option kIpv4Options[] = {
    {IPPROTO_IP, IP_PKTINFO},  {IPPROTO_IP, IP_RECVTTL},      {IPPROTO_IP, IP_RECVTOS},
    {IPPROTO_IP, IP_RECVOPTS}, {IPPROTO_IP, IP_RECVFRAGSIZE},
};
constexpr Option kIpv6Options[] = {
    {IPPROTO_IPV6, IPV6_RECVPKTINFO}, {IPPROTO_IPV6, IPV6_RECVHOPLIMIT},
    {IPPROTO_IPV6, IPV6_RECVTCLASS},  {IPPROTO_IPV6, IPV6_FLOWINFO},
    {IPPROTO_IPV6, IPV6_RECVHOPOPTS}, {IPPROTO_IPV6, IPV6_RECVRTHDR},
    {IPPROTO_IPV6, IPV6_RECVDSTOPTS}, {IPPROTO_IPV6, IPV6_RECVFRAGSIZE},
};

template <typename T>
T value_of(Data data) {
  T value{};
  memcpy(&value, data.data(), std::min(sizeof(value), data.size()));
  return value;
}

Datagram::Bytes bytes_of(Data data) {
  return {data.begin(), data.end()};
}

// How one control message gets into a Datagram.
struct Decoder {
  int level;
  int type;
  void (*decode)(Data data, Datagram& datagram);
};

constexpr Decoder kDecoders[] = {
    {SOL_SOCKET, SO_MARK, [](Data d, Datagram& g) { g.mark = value_of<std::uint32_t>(d); }},
    {SOL_SOCKET, SO_PRIORITY, [](Data d, Datagram& g) { g.priority = value_of<std::uint32_t>(d); }},
    {IPPROTO_IP, IP_PKTINFO,
     [](Data d, Datagram& g) {
       auto info = value_of<in_pktinfo>(d);
       g.destination = IpAddress(info.ipi_addr);
       g.ifindex = static_cast<unsigned>(info.ipi_ifindex);
     }},
    {IPPROTO_IP, IP_TTL, [](Data d, Datagram& g) { g.hop_limit = value_of<int>(d); }},
    {IPPROTO_IP, IP_TOS, [](Data d, Datagram& g) { g.traffic_class = value_of<std::uint8_t>(d); }},
    {IPPROTO_IP, IP_RECVOPTS, [](Data d, Datagram& g) { g.ip_options = bytes_of(d); }},
    {IPPROTO_IP, IP_RECVFRAGSIZE, [](Data d, Datagram& g) { g.fragment_size = value_of<int>(d); }},
    {IPPROTO_IPV6, IPV6_PKTINFO,
     [](Data d, Datagram& g) {
       auto info = value_of<in6_pktinfo>(d);
       g.destination = IpAddress(info.ipi6_addr);
       g.ifindex = info.ipi6_ifindex;
     }},
    {IPPROTO_IPV6, IPV6_HOPLIMIT, [](Data d, Datagram& g) { g.hop_limit = value_of<int>(d); }},
    {IPPROTO_IPV6, IPV6_TCLASS, [](Data d, Datagram& g) { g.traffic_class = value_of<int>(d); }},
    {IPPROTO_IPV6, IPV6_FLOWINFO,
     [](Data d, Datagram& g) { g.flow_label = ntohl(value_of<std::uint32_t>(d)) & 0xfffff; }},
    {IPPROTO_IPV6, IPV6_HOPOPTS, [](Data d, Datagram& g) { g.hop_by_hop = bytes_of(d); }},
    {IPPROTO_IPV6, IPV6_RTHDR, [](Data d, Datagram& g) { g.routing = bytes_of(d); }},
    {IPPROTO_IPV6, IPV6_DSTOPTS,
     [](Data d, Datagram& g) { g.destination_options.push_back(bytes_of(d)); }},
    {IPPROTO_IPV6, IPV6_RECVFRAGSIZE,
     [](Data d, Datagram& g) { g.fragment_size = value_of<int>(d); }},
};

Result<void> decode(const cmsghdr& header, Data data, Datagram& datagram) {
  for (const Decoder& decoder : kDecoders) {
    if (decoder.level != header.cmsg_level || decoder.type != header.cmsg_type) continue;
    decoder.decode(data, datagram);
    return {};
  }
  return Error{EPROTO, "control message " + sys::option_name(header.cmsg_level, header.cmsg_type) +
                           " that nobody asked for"};
}

Result<Datagram> receive_now(const Fd& fd) {
  Datagram datagram;
  datagram.payload.resize(65536);
  SocketAddress from;
  alignas(cmsghdr) std::uint8_t control[8192];
  iovec part{datagram.payload.data(), datagram.payload.size()};
  msghdr message{};
  message.msg_name = from.mutable_get();
  message.msg_namelen = from.size();
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  SOCKREPAIR_TRY_ASSIGN(std::size_t length, sys::recvmsg(fd.get(), message, MSG_DONTWAIT));
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    return Error{EMSGSIZE, "recvmsg() cut the datagram or its control messages"};
  datagram.payload.resize(length);
  SOCKREPAIR_TRY_ASSIGN(datagram.source, from.endpoint());

  Result<void> decoded;
  internal::for_each_control_message(message, [&](const cmsghdr& header, Data data) {
    if (decoded) decoded = decode(header, data, datagram);
  });
  SOCKREPAIR_TRY(decoded);
  return datagram;
}

std::string hex(const Datagram::Bytes& bytes) {
  std::string text;
  for (std::uint8_t byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

}  // namespace

std::string describe(const Datagram& datagram) {
  std::string text = std::to_string(datagram.payload.size()) + " bytes from " +
                     datagram.source.to_string() + " to " + datagram.destination.to_string() +
                     " by interface " + std::to_string(datagram.ifindex);
  auto number = [&](const char* name, const auto& value) {
    if (value) text += std::string(", ") + name + " " + std::to_string(*value);
  };
  auto header = [&](const char* name, const Datagram::Bytes& value) {
    if (!value.empty()) text += std::string(", ") + name + " " + hex(value);
  };
  number("hop_limit", datagram.hop_limit);
  number("traffic_class", datagram.traffic_class);
  number("flow_label", datagram.flow_label);
  number("mark", datagram.mark);
  number("priority", datagram.priority);
  number("fragment_size", datagram.fragment_size);
  header("ip_options", datagram.ip_options);
  header("hop_by_hop", datagram.hop_by_hop);
  header("routing", datagram.routing);
  for (const auto& options : datagram.destination_options) header("destination_options", options);
  return text;
}

void PrintTo(const Datagram& datagram, std::ostream* out) {
  *out << describe(datagram);
}

Result<Receiver> Receiver::open(const NetNs& ns, const Endpoint& address) {
  bool v6 = address.address.family() == Family::kIpv6;
  int domain = v6 ? AF_INET6 : AF_INET;
  SOCKREPAIR_TRY_ASSIGN(Fd fd, ns.run([&] { return sys::socket(domain, SOCK_DGRAM, 0); }));
  for (const Option& option : kCommonOptions)
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), option.level, option.name, 1));
  for (const Option& option : v6 ? std::span<const Option>(kIpv6Options) : kIpv4Options)
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), option.level, option.name, 1));
  if (v6) SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1));
  // Without power over the whole machine the usual buffer has to do.
  Result<void> enlarged = sys::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22);
  if (!enlarged && enlarged.error().code != EPERM) return enlarged.error();
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(address, domain)));
  SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd.get()));
  SOCKREPAIR_TRY_ASSIGN(Endpoint bound, name.endpoint());
  return Receiver(std::move(fd), bound);
}

Result<Datagram> Receiver::receive(Deadline deadline) {
  SOCKREPAIR_TRY(wait_for_events("a datagram arrives at " + address_.to_string(), fd_.get(), POLLIN,
                                 deadline));
  return receive_now(fd_);
}

Result<std::vector<Datagram>> Receiver::drain() {
  std::vector<Datagram> datagrams;
  for (;;) {
    Result<Datagram> next = receive_now(fd_);
    if (!next && next.error().code == EAGAIN) return datagrams;
    if (!next) return next.error();
    datagrams.push_back(*std::move(next));
  }
}

Result<void> Receiver::join(const IpAddress& group, unsigned ifindex) {
  if (group.family() == Family::kIpv4) {
    ip_mreqn request{};
    request.imr_multiaddr = group.v4();
    request.imr_ifindex = static_cast<int>(ifindex);
    return sys::setsockopt(fd_.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, request);
  }
  ipv6_mreq request{};
  request.ipv6mr_multiaddr = group.v6();
  request.ipv6mr_interface = ifindex;
  return sys::setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, request);
}

}  // namespace sockrepair::test

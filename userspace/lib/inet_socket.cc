// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "inet_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <iterator>
#include <memory>
#include <utility>

#include "borrowed_options.h"
#include "option_codec.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair::internal {

namespace {

std::uint64_t number_or_zero(int fd, int name) {
  Result<std::uint64_t> value = sys::getsockopt<std::uint64_t>(fd, SOL_SOCKET, name);
  return value ? *value : 0;
}

const char* limit_of_bind(int code) {
  switch (code) {
    case EADDRINUSE:
      return ", must be free, or be shared with SO_REUSEADDR or SO_REUSEPORT by all its sockets";
    case EADDRNOTAVAIL:
      return ", must be an address of this host, or needs IP_FREEBIND or IP_TRANSPARENT";
    case EACCES:
      return ", needs CAP_NET_BIND_SERVICE";
    default:
      return ", refused by bind(2)";
  }
}

}  // namespace

Result<Identity> read_identity(int fd) {
  Identity identity;
  struct stat status {};
  if (::fstat(fd, &status) != 0) return Error{errno, "fstat(" + std::to_string(fd) + ")"};
  identity.inode = status.st_ino;
  identity.cookie = number_or_zero(fd, SO_COOKIE);
  identity.netns_cookie = number_or_zero(fd, SO_NETNS_COOKIE);

  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return Error{errno, "fcntl(" + std::to_string(fd) + ", F_GETFL)"};
  identity.nonblocking = (flags & O_NONBLOCK) != 0;
  identity.async = (flags & O_ASYNC) != 0;
  return identity;
}

Result<Names> read_names(int fd, int domain) {
  Names names;
  SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd));
  SOCKREPAIR_TRY_ASSIGN(Endpoint local, name.endpoint());
  // An IPv4-mapped wildcard on an AF_INET6 socket is a choice, the others are not.
  bool chosen_wildcard = domain == AF_INET6 && local.address.family() == Family::kIpv4;
  if (local.port != 0 || !local.address.is_any() || chosen_wildcard) names.local = local;

  Result<SocketAddress> peer = sys::getpeername(fd);
  if (!peer && peer.error().code == ENOTCONN) return names;
  if (!peer) return peer.error();
  SOCKREPAIR_TRY_ASSIGN(names.peer, peer->endpoint());
  if (domain == AF_INET6) {
    sockaddr_in6 sin6{};
    memcpy(&sin6, peer->get(), sizeof(sin6));
    names.peer_flowinfo = ntohl(sin6.sin6_flowinfo);
  }
  return names;
}

bool is_default_wildcard(const IpAddress& address, int domain) {
  return address == IpAddress::any(domain == AF_INET ? Family::kIpv4 : Family::kIpv6);
}

std::optional<bool> address_choice(int domain, const Endpoint& local, bool connected, bool v6only) {
  if (!connected) return !is_default_wildcard(local.address, domain);
  // Binding to an IPv6 address would have switched IPV6_V6ONLY on.
  if (local.address.family() == Family::kIpv6 && !v6only) return false;
  return std::nullopt;
}

std::optional<PortRange> read_port_range() {
  std::unique_ptr<FILE, int (*)(FILE*)> file(fopen("/proc/sys/net/ipv4/ip_local_port_range", "re"),
                                             &fclose);
  PortRange range;
  if (!file || fscanf(file.get(), "%u %u", &range.low, &range.high) != 2) return std::nullopt;
  return range;
}

short poll_now(int fd) {
  pollfd poll_fd{fd, POLLIN | POLLRDHUP, 0};
  return ::poll(&poll_fd, 1, 0) == 1 ? poll_fd.revents : static_cast<short>(0);
}

Result<std::size_t> drain_error_queue(int fd) {
  for (std::size_t entries = 0;; ++entries) {
    msghdr message{};
    Result<std::size_t> got = sys::recvmsg(fd, message, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (got) continue;
    if (got.error().code == EAGAIN) return entries;
    return got.error();
  }
}

void add_interface(int fd, std::uint32_t index, std::vector<InterfaceName>& names) {
  if (index == 0) return;
  for (const InterfaceName& known : names)
    if (known.index == index) return;
  Result<std::string> name = interface_name(fd, index);
  // One that has gone since: its index is all there is.
  if (name) names.push_back({index, *std::move(name)});
}

void add_interfaces_of(int fd, std::span<const OptionValue> options,
                       std::vector<InterfaceName>& names) {
  for (const OptionValue& option : options) {
    const SocketOption* row = find_socket_option(option.level, option.name);
    add_interface(fd, interface_of(row->type, option.value).value_or(0), names);
  }
}

int number_of(std::span<const OptionValue> values, int level, int name) {
  const OptionBytes* value = find_option_value(values, level, name);
  return value == nullptr ? 0 : from_bytes<std::int32_t>(*value);
}

Loss loss_of(const char* subject, std::string what) {
  return Loss{subject, std::nullopt, std::move(what)};
}

void append(std::vector<Loss>& to, std::vector<Loss> more) {
  to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Error refuse(int code, const std::string& member, const std::string& why) {
  return Error{code, member + ": " + why};
}

bool family_fits(const IpAddress& address, int domain) {
  return domain == AF_INET6 || address.family() == Family::kIpv4;
}

Result<void> check_names(const NamesCheck& names) {
  if (names.local && !family_fits(names.local->address, names.domain))
    return refuse(EINVAL, "local", "IPv6, must be IPv4 on an AF_INET socket");
  if (names.peer && !family_fits(names.peer->address, names.domain))
    return refuse(EINVAL, "peer", "IPv6, must be IPv4 on an AF_INET socket");
  if (names.peer && (!names.local || names.local->port == 0))
    return refuse(EINVAL, "local", "no port, a connected socket has one");
  if (!names.peer && names.peer_flowinfo != 0)
    return refuse(EINVAL, "peer_flowinfo",
                  std::to_string(names.peer_flowinfo) + ", must be 0 without a peer");
  if (names.domain == AF_INET && names.peer_flowinfo != 0)
    return refuse(EINVAL, "peer_flowinfo",
                  std::to_string(names.peer_flowinfo) + ", must be 0 on an AF_INET socket");
  if (names.local && !names.peer && names.address_chosen == false && !names.local->address.is_any())
    return refuse(EINVAL, "address_chosen",
                  "false, an address that is not the wildcard is chosen or comes with a peer");
  return {};
}

Result<void> check_interfaces(std::span<const InterfaceName> interfaces) {
  for (const InterfaceName& row : interfaces) {
    if (row.index == 0 || row.name.empty() || row.name.size() >= IFNAMSIZ)
      return refuse(EINVAL, "interfaces",
                    "index " + std::to_string(row.index) + ", name '" + row.name +
                        "', must have both, the name 15 bytes at "
                        "most");
    for (const InterfaceName& other : interfaces)
      if (&other != &row && other.index == row.index)
        return refuse(EINVAL, "interfaces", "index " + std::to_string(row.index) + " twice");
  }
  return {};
}

Result<void> bind_to(int fd, int domain, const Endpoint& local) {
  Result<void> bound = sys::bind(fd, SocketAddress(local, domain));
  if (bound) return bound;
  return refuse(bound.error().code, "local", local.to_string() + limit_of_bind(bound.error().code));
}

Result<void> bind_without_port(int fd, int domain, const Endpoint& local) {
  BorrowedOptions borrowed(fd);
  SOCKREPAIR_TRY(borrowed.set(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1));
  SOCKREPAIR_TRY(bind_to(fd, domain, local));
  return borrowed.put_back();
}

Result<std::optional<std::string>> bind_given_port(int fd, int domain, const Endpoint& local) {
  using Answer = std::optional<std::string>;
  std::optional<PortRange> ports = read_port_range();
  if (!ports || !ports->contains(local.port)) return Answer("not in net.ipv4.ip_local_port_range");

  BorrowedOptions borrowed(fd);
  std::uint32_t only = local.port | std::uint32_t{local.port} << 16;
  Result<void> set = borrowed.set(IPPROTO_IP, IP_LOCAL_PORT_RANGE, only);
  if (!set) return Answer(set.error().describe());
  SOCKREPAIR_TRY(borrowed.set(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0));
  Endpoint any_port = local;
  any_port.port = 0;
  if (!sys::bind(fd, SocketAddress(any_port, domain)))
    return Answer("the kernel would not choose it");
  SOCKREPAIR_TRY(borrowed.put_back());
  return Answer();
}

SocketAddress peer_address(const Endpoint& peer, int domain, std::uint32_t flowinfo) {
  SocketAddress to(peer, domain);
  if (domain == AF_INET6) {
    auto* sin6 = reinterpret_cast<sockaddr_in6*>(to.mutable_get());
    sin6->sin6_flowinfo = htonl(flowinfo);
  }
  return to;
}

}  // namespace sockrepair::internal

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/syscall.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>

#include <utility>

#include "call.h"
#include "sockrepair/socket_options.h"
#include "uapi.h"

namespace sockrepair::sys {

namespace {

using sockrepair::internal::CallKind;
using sockrepair::internal::make;

struct OptionName {
  int level;
  int name;
  const char* text;
};

constexpr OptionName kOptionNames[] = {
    {SOL_SOCKET, SO_BINDTODEVICE, "SOL_SOCKET, SO_BINDTODEVICE"},
    {SOL_SOCKET, SO_BINDTOIFINDEX, "SOL_SOCKET, SO_BINDTOIFINDEX"},
    {SOL_SOCKET, SO_BROADCAST, "SOL_SOCKET, SO_BROADCAST"},
    {SOL_SOCKET, SO_BUF_LOCK, "SOL_SOCKET, SO_BUF_LOCK"},
    {SOL_SOCKET, SO_COOKIE, "SOL_SOCKET, SO_COOKIE"},
    {SOL_SOCKET, SO_DOMAIN, "SOL_SOCKET, SO_DOMAIN"},
    {SOL_SOCKET, SO_MARK, "SOL_SOCKET, SO_MARK"},
    {SOL_SOCKET, SO_MEMINFO, "SOL_SOCKET, SO_MEMINFO"},
    {SOL_SOCKET, SO_PEEK_OFF, "SOL_SOCKET, SO_PEEK_OFF"},
    {SOL_SOCKET, SO_PRIORITY, "SOL_SOCKET, SO_PRIORITY"},
    {SOL_SOCKET, SO_PROTOCOL, "SOL_SOCKET, SO_PROTOCOL"},
    {SOL_SOCKET, SO_RCVBUF, "SOL_SOCKET, SO_RCVBUF"},
    {SOL_SOCKET, SO_RCVBUFFORCE, "SOL_SOCKET, SO_RCVBUFFORCE"},
    {SOL_SOCKET, SO_RCVMARK, "SOL_SOCKET, SO_RCVMARK"},
    {SOL_SOCKET, SO_RCVPRIORITY, "SOL_SOCKET, SO_RCVPRIORITY"},
    {SOL_SOCKET, SO_RCVTIMEO, "SOL_SOCKET, SO_RCVTIMEO"},
    {SOL_SOCKET, SO_REUSEADDR, "SOL_SOCKET, SO_REUSEADDR"},
    {SOL_SOCKET, SO_REUSEPORT, "SOL_SOCKET, SO_REUSEPORT"},
    {SOL_SOCKET, SO_SNDBUF, "SOL_SOCKET, SO_SNDBUF"},
    {SOL_SOCKET, SO_SNDBUFFORCE, "SOL_SOCKET, SO_SNDBUFFORCE"},
    {SOL_SOCKET, SO_TIMESTAMPING, "SOL_SOCKET, SO_TIMESTAMPING"},
    {SOL_SOCKET, SO_TXTIME, "SOL_SOCKET, SO_TXTIME"},
    {SOL_SOCKET, SO_TYPE, "SOL_SOCKET, SO_TYPE"},
    {SOL_SOCKET, SO_ZEROCOPY, "SOL_SOCKET, SO_ZEROCOPY"},
    {IPPROTO_IP, IP_MTU_DISCOVER, "IPPROTO_IP, IP_MTU_DISCOVER"},
    {IPPROTO_IP, IP_MULTICAST_IF, "IPPROTO_IP, IP_MULTICAST_IF"},
    {IPPROTO_IP, IP_OPTIONS, "IPPROTO_IP, IP_OPTIONS"},
    {IPPROTO_IP, IP_PKTINFO, "IPPROTO_IP, IP_PKTINFO"},
    {IPPROTO_IP, IP_RETOPTS, "IPPROTO_IP, IP_RETOPTS"},
    {IPPROTO_IP, IP_TOS, "IPPROTO_IP, IP_TOS"},
    {IPPROTO_IP, IP_TTL, "IPPROTO_IP, IP_TTL"},
    {IPPROTO_IPV6, IPV6_DONTFRAG, "IPPROTO_IPV6, IPV6_DONTFRAG"},
    {IPPROTO_IPV6, IPV6_DSTOPTS, "IPPROTO_IPV6, IPV6_DSTOPTS"},
    {IPPROTO_IPV6, IPV6_HOPLIMIT, "IPPROTO_IPV6, IPV6_HOPLIMIT"},
    {IPPROTO_IPV6, IPV6_HOPOPTS, "IPPROTO_IPV6, IPV6_HOPOPTS"},
    {IPPROTO_IPV6, IPV6_PKTINFO, "IPPROTO_IPV6, IPV6_PKTINFO"},
    {IPPROTO_IPV6, IPV6_RTHDR, "IPPROTO_IPV6, IPV6_RTHDR"},
    {IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, "IPPROTO_IPV6, IPV6_RTHDRDSTOPTS"},
    {IPPROTO_IPV6, IPV6_TCLASS, "IPPROTO_IPV6, IPV6_TCLASS"},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, "IPPROTO_IPV6, IPV6_UNICAST_HOPS"},
    {IPPROTO_IPV6, IPV6_V6ONLY, "IPPROTO_IPV6, IPV6_V6ONLY"},
    {SOL_UDP, UDP_CORK, "SOL_UDP, UDP_CORK"},
    {SOL_UDP, UDP_SEGMENT, "SOL_UDP, UDP_SEGMENT"},
    {SOL_UDP, UDP_REPAIR, "SOL_UDP, UDP_REPAIR"},
    {SOL_UDP, UDP_REPAIR_SEND_QUEUE, "SOL_UDP, UDP_REPAIR_SEND_QUEUE"},
    {SOL_UDP, UDP_GRO, "SOL_UDP, UDP_GRO"},
    {SOL_UDP, UDP_REPAIR_RECV_QUEUE, "SOL_UDP, UDP_REPAIR_RECV_QUEUE"},
};

// "name(fd" with the rest of the arguments to come.
std::string call(const char* name, int fd) {
  return std::string(name) + "(" + std::to_string(fd);
}

// Of what make() gave.
Error failure(long result, std::string what) {
  return Error{static_cast<int>(-result), std::move(what)};
}

void* memory_of(const SocketAddress& address) {
  return const_cast<sockaddr*>(address.get());
}

std::size_t message_bytes(const msghdr& message) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) bytes += message.msg_iov[i].iov_len;
  return bytes;
}

std::string message_text(const msghdr& message, int flags) {
  std::string text = std::to_string(message_bytes(message)) + " bytes";
  if (message.msg_controllen != 0)
    text += " with " + std::to_string(message.msg_controllen) + " of control messages";
  return text + ", flags " + std::to_string(flags);
}

}  // namespace

std::string option_name(int level, int name) {
  for (const OptionName& row : kOptionNames)
    if (row.level == level && row.name == name) return row.text;
  if (const SocketOption* row = find_socket_option(level, name)) return row->full_name();
  return "level " + std::to_string(level) + ", option " + std::to_string(name);
}

Result<Fd> socket(int domain, int type, int protocol) {
  const long made = make({CallKind::kSocket, domain, type | SOCK_CLOEXEC, protocol});
  if (made < 0) {
    return failure(made, "socket(" + std::to_string(domain) + ", " + std::to_string(type) + ", " +
                             std::to_string(protocol) + ")");
  }
  return Fd(static_cast<int>(made));
}

Result<void> bind(int fd, const SocketAddress& address) {
  const long done = make({CallKind::kBind, fd, 0, 0, memory_of(address), address.size()});
  if (done < 0) return failure(done, call("bind", fd) + ", " + address.to_string() + ")");
  return {};
}

Result<void> listen(int fd, int backlog) {
  const long done = make({CallKind::kListen, fd, backlog});
  if (done < 0) return failure(done, call("listen", fd) + ", " + std::to_string(backlog) + ")");
  return {};
}

Result<void> connect(int fd, const SocketAddress& address) {
  const long done = make({CallKind::kConnect, fd, 0, 0, memory_of(address), address.size()});
  if (done < 0) return failure(done, call("connect", fd) + ", " + address.to_string() + ")");
  return {};
}

Result<SocketAddress> getsockname(int fd) {
  SocketAddress address;
  const long done =
      make({CallKind::kGetsockname, fd, 0, 0, address.mutable_get(), 0, address.mutable_size()});
  if (done < 0) return failure(done, call("getsockname", fd) + ")");
  return address;
}

Result<SocketAddress> getpeername(int fd) {
  SocketAddress address;
  const long done =
      make({CallKind::kGetpeername, fd, 0, 0, address.mutable_get(), 0, address.mutable_size()});
  if (done < 0) return failure(done, call("getpeername", fd) + ")");
  return address;
}

Result<void> shutdown(int fd, int how) {
  const long done = make({CallKind::kShutdown, fd, how});
  if (done < 0) return failure(done, call("shutdown", fd) + ", " + std::to_string(how) + ")");
  return {};
}

Result<std::size_t> sendmsg(int fd, const msghdr& message, int flags) {
  const long sent = make({CallKind::kSendmsg, fd, flags, 0, const_cast<msghdr*>(&message)});
  if (sent < 0)
    return failure(sent, call("sendmsg", fd) + ", " + message_text(message, flags) + ")");
  return static_cast<std::size_t>(sent);
}

Result<std::size_t> recvmsg(int fd, msghdr& message, int flags) {
  const long received = make({CallKind::kRecvmsg, fd, flags, 0, &message});
  if (received < 0)
    return failure(received, call("recvmsg", fd) + ", " + message_text(message, flags) + ")");
  return static_cast<std::size_t>(received);
}

Result<void> setsockopt_bytes(int fd, int level, int name, const void* value, socklen_t length) {
  return internal::setsockopt_described(fd, level, name, value, length,
                                        std::to_string(length) + " bytes");
}

Result<socklen_t> getsockopt_bytes(int fd, int level, int name, void* value, socklen_t length) {
  const long written = make({CallKind::kGetsockopt, fd, level, name, value, length});
  if (written < 0) {
    return failure(written, call("getsockopt", fd) + ", " + option_name(level, name) + ", " +
                                std::to_string(length) + " bytes)");
  }
  return static_cast<socklen_t>(written);
}

Result<void> ioctl(int fd, unsigned long request, void* argument) {
  if (::ioctl(fd, request, argument) < 0)
    return Error{errno, call("ioctl", fd) + ", request " + std::to_string(request) + ")"};
  return {};
}

namespace internal {

Result<void> setsockopt_described(int fd, int level, int name, const void* value, socklen_t length,
                                  const std::string& value_text) {
  const long done =
      make({CallKind::kSetsockopt, fd, level, name, const_cast<void*>(value), length});
  if (done < 0) {
    return failure(
        done, call("setsockopt", fd) + ", " + option_name(level, name) + ", " + value_text + ")");
  }
  return {};
}

}  // namespace internal

}  // namespace sockrepair::sys

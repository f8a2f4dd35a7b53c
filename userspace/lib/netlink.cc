// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/in_route.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/uio.h>

#include <utility>
#include <vector>

#include "inet_diag.h"
#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kReplyMax = 8192;

void append(Bytes& message, const void* data, std::size_t size) {
  const auto* begin = static_cast<const std::uint8_t*>(data);
  message.insert(message.end(), begin, begin + size);
  message.resize(NLMSG_ALIGN(message.size()));
}

void append_attribute(Bytes& message, unsigned short type, const void* data, std::size_t size) {
  rtattr attribute{static_cast<unsigned short>(RTA_LENGTH(size)), type};
  append(message, &attribute, sizeof(attribute));
  append(message, data, size);
}

Result<void> ask(const Fd& fd, unsigned short type, unsigned short flags, const Bytes& body) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<__u32>(NLMSG_LENGTH(body.size()));
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<unsigned short>(NLM_F_REQUEST | flags);
  iovec parts[] = {{&header, NLMSG_HDRLEN}, {const_cast<std::uint8_t*>(body.data()), body.size()}};
  msghdr question{};
  question.msg_iov = parts;
  question.msg_iovlen = 2;
  SOCKREPAIR_TRY(sys::sendmsg(fd.get(), question, 0));
  return {};
}

struct Answer {
  unsigned short type;
  Bytes body;
};

// What came in answer to `what` so far. The kernel has answered when the question was sent.
Result<std::vector<Answer>> answers(const Fd& fd, const std::string& what) {
  alignas(nlmsghdr) std::uint8_t buffer[kReplyMax];
  iovec part{buffer, sizeof(buffer)};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  SOCKREPAIR_TRY_ASSIGN(std::size_t length, sys::recvmsg(fd.get(), message, MSG_DONTWAIT));
  if ((message.msg_flags & MSG_TRUNC) != 0) return Error{EPROTO, what + ": answer is cut"};
  std::vector<Answer> result;
  for (std::size_t at = 0; at + NLMSG_HDRLEN <= length;) {
    nlmsghdr header{};
    memcpy(&header, buffer + at, sizeof(header));
    if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > length - at)
      return Error{EPROTO, what + ": answer of " + std::to_string(header.nlmsg_len) + " bytes"};
    result.push_back(
        {header.nlmsg_type, Bytes(buffer + at + NLMSG_HDRLEN, buffer + at + header.nlmsg_len)});
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
  if (result.empty()) return Error{EPROTO, what + ": empty answer"};
  return result;
}

template <typename T>
Result<T> first_of(const Bytes& reply, const std::string& what) {
  T value{};
  if (reply.size() < sizeof(value)) return Error{EPROTO, what + ": answer is cut"};
  memcpy(&value, reply.data(), sizeof(value));
  return value;
}

// The body of the one message that answers; an error has the code that is in the answer.
Result<Bytes> ask_for_one(const Fd& fd, unsigned short type, const Bytes& body,
                          const std::string& what) {
  SOCKREPAIR_TRY(ask(fd, type, 0, body));
  SOCKREPAIR_TRY_ASSIGN(std::vector<Answer> all, answers(fd, what));
  if (all[0].type != NLMSG_ERROR) return all[0].body;
  SOCKREPAIR_TRY_ASSIGN(nlmsgerr error, first_of<nlmsgerr>(all[0].body, what));
  return Error{error.error == 0 ? EPROTO : -error.error, what};
}

// The value of an attribute behind a fixed part of `size` bytes.
template <typename T>
std::optional<T> attribute(const Bytes& message, std::size_t size, unsigned short type) {
  for (std::size_t at = NLMSG_ALIGN(size); at + sizeof(rtattr) <= message.size();) {
    rtattr header{};
    memcpy(&header, message.data() + at, sizeof(header));
    if (header.rta_len < sizeof(header) || header.rta_len > message.size() - at) break;
    if (header.rta_type == type && RTA_PAYLOAD(&header) == sizeof(T)) {
      T value{};
      memcpy(&value, message.data() + at + RTA_LENGTH(0), sizeof(value));
      return value;
    }
    at += RTA_ALIGN(header.rta_len);
  }
  return std::nullopt;
}

unsigned char family_number(const IpAddress& address) {
  return address.family() == Family::kIpv4 ? AF_INET : AF_INET6;
}

std::uint64_t cookie_of(const inet_diag_msg& found) {
  return static_cast<std::uint64_t>(found.id.idiag_cookie[1]) << 32 | found.id.idiag_cookie[0];
}

}  // namespace

Result<RouteLookup> RouteLookup::open() {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  return RouteLookup(std::move(fd));
}

Result<RouteLookup::Route> RouteLookup::find(const IpAddress& destination, std::uint32_t oif,
                                             std::uint32_t mark) {
  std::string what = "RTM_GETROUTE to " + destination.to_string();
  if (oif != 0) what += " by interface " + std::to_string(oif);
  rtmsg request{};
  request.rtm_family = family_number(destination);
  request.rtm_dst_len = static_cast<unsigned char>(destination.size() * 8);
  // The entry of the table: what the route made from it says is the loopback device.
  request.rtm_flags = RTM_F_FIB_MATCH;
  Bytes message;
  append(message, &request, sizeof(request));
  append_attribute(message, RTA_DST, destination.data(), destination.size());
  if (oif != 0) append_attribute(message, RTA_OIF, &oif, sizeof(oif));
  if (mark != 0) append_attribute(message, RTA_MARK, &mark, sizeof(mark));

  Result<Bytes> reply = ask_for_one(fd_, RTM_GETROUTE, message, what);
  // No route at all, or one that says so.
  if (!reply && reply.error().code != EPROTO) return Route{};
  if (!reply) return reply.error();
  SOCKREPAIR_TRY_ASSIGN(rtmsg route, first_of<rtmsg>(*reply, what));
  if (route.rtm_type == RTN_BROADCAST) return Route{Kind::kBroadcast, 0};
  if (route.rtm_type != RTN_LOCAL) return Route{};

  if (auto ifindex = attribute<std::uint32_t>(*reply, sizeof(rtmsg), RTA_OIF))
    return Route{Kind::kLocal, *ifindex};
  return Error{EPROTO, what + ": answer without an interface"};
}

Result<std::uint32_t> RouteLookup::joined_interface(const IpAddress& group, std::uint32_t oif) {
  const std::string what = "membership of " + group.to_string();
  Bytes message;
  if (group.family() == Family::kIpv4) {
    rtmsg request{};
    request.rtm_family = AF_INET;
    request.rtm_dst_len = 32;
    append(message, &request, sizeof(request));
    append_attribute(message, RTA_DST, group.data(), group.size());
    if (oif != 0) append_attribute(message, RTA_OIF, &oif, sizeof(oif));
    Result<Bytes> reply = ask_for_one(fd_, RTM_GETROUTE, message, what);
    if (!reply && reply.error().code != EPROTO) return std::uint32_t{0};
    if (!reply) return reply.error();
    SOCKREPAIR_TRY_ASSIGN(rtmsg route, first_of<rtmsg>(*reply, what));
    // A route to a group is a local one as well where the host has joined it.
    if ((route.rtm_flags & RTCF_LOCAL) == 0) return std::uint32_t{0};
    return attribute<std::uint32_t>(*reply, sizeof(rtmsg), RTA_OIF).value_or(0);
  }

  ifaddrmsg request{};
  request.ifa_family = AF_INET6;
  append(message, &request, sizeof(request));
  SOCKREPAIR_TRY(ask(fd_, RTM_GETMULTICAST, NLM_F_DUMP, message));
  std::uint32_t found = 0;
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::vector<Answer> all, answers(fd_, what));
    for (const Answer& answer : all) {
      if (answer.type == NLMSG_DONE || answer.type == NLMSG_ERROR) return found;
      SOCKREPAIR_TRY_ASSIGN(ifaddrmsg entry, first_of<ifaddrmsg>(answer.body, what));
      auto address = attribute<in6_addr>(answer.body, sizeof(entry), IFA_MULTICAST);
      if (entry.ifa_index == oif && address && IpAddress(*address) == group) found = oif;
    }
  }
}

Result<SocketLookup> SocketLookup::open() {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
  return SocketLookup(std::move(fd));
}

Result<std::optional<std::uint64_t>> SocketLookup::receiver(const Endpoint& source,
                                                            const Endpoint& destination,
                                                            std::uint32_t ifindex) {
  std::string what =
      "SOCK_DIAG_BY_FAMILY from " + source.to_string() + " to " + destination.to_string();
  inet_diag_req_v2 request{};
  request.sdiag_family = family_number(destination.address);
  request.sdiag_protocol = IPPROTO_UDP;
  request.idiag_states = ~0U;
  // For UDP these are the addresses of the packet, not of the socket.
  memcpy(request.id.idiag_src, source.address.data(), source.address.size());
  memcpy(request.id.idiag_dst, destination.address.data(), destination.address.size());
  request.id.idiag_sport = htons(source.port);
  request.id.idiag_dport = htons(destination.port);
  request.id.idiag_if = ifindex;
  request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  Bytes message;
  append(message, &request, sizeof(request));

  Result<Bytes> reply = ask_for_one(fd_, SOCK_DIAG_BY_FAMILY, message, what);
  if (!reply && reply.error().code == ENOENT) {
    // No such socket, or nobody to ask?
    if (!known_to_work_) SOCKREPAIR_TRY(probe());
    return std::optional<std::uint64_t>();
  }
  if (!reply) return reply.error();
  known_to_work_ = true;
  SOCKREPAIR_TRY_ASSIGN(inet_diag_msg found, first_of<inet_diag_msg>(*reply, what));
  return std::optional<std::uint64_t>(cookie_of(found));
}

Result<bool> SocketLookup::alone(std::uint16_t port, std::uint64_t cookie) {
  for (unsigned char family :
       {static_cast<unsigned char>(AF_INET), static_cast<unsigned char>(AF_INET6)}) {
    SOCKREPAIR_TRY_ASSIGN(std::vector<std::uint64_t> cookies, list(family, ~0U, port));
    for (std::uint64_t other : cookies)
      if (other != cookie) return false;
  }
  return true;
}

Result<void> SocketLookup::probe() {
  // Sockets in no state at all: the list ends at once.
  Result<std::vector<std::uint64_t>> none = list(AF_INET, 0, 0);
  if (!none) return none.error();
  return {};
}

Result<std::vector<std::uint64_t>> SocketLookup::list(unsigned char family, std::uint32_t states,
                                                      std::uint16_t port) {
  std::vector<std::uint64_t> cookies;
  const DiagFilter filter{
      .domain = family, .protocol = IPPROTO_UDP, .states = states, .port = port};
  Result<void> listed = list_inet_sockets(fd_, filter, [&](const DiagEntry& entry) -> Result<void> {
    cookies.push_back(entry.cookie());
    return {};
  });
  if (!listed) return Error{EOPNOTSUPP, listed.error().what + " (udp_diag)"};
  known_to_work_ = true;
  return cookies;
}

}  // namespace sockrepair::internal

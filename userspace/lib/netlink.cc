// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/uio.h>

#include <utility>
#include <vector>

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

// Sends a message of `type` with `body`, and gives the body of the first that answers. The code of
// the error is that of the answer; `what` names the question.
Result<Bytes> ask(const Fd& fd, unsigned short type, unsigned short flags, const Bytes& body,
                  const std::string& what) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<__u32>(NLMSG_LENGTH(body.size()));
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<unsigned short>(NLM_F_REQUEST | flags);
  iovec parts[] = {{&header, NLMSG_HDRLEN}, {const_cast<std::uint8_t*>(body.data()), body.size()}};
  msghdr question{};
  question.msg_iov = parts;
  question.msg_iovlen = 2;
  SOCKREPAIR_TRY(sys::sendmsg(fd.get(), question, 0));

  // The kernel has answered when the question was sent.
  alignas(nlmsghdr) std::uint8_t buffer[kReplyMax];
  iovec part{buffer, sizeof(buffer)};
  msghdr answer{};
  answer.msg_iov = &part;
  answer.msg_iovlen = 1;
  SOCKREPAIR_TRY_ASSIGN(std::size_t length, sys::recvmsg(fd.get(), answer, MSG_DONTWAIT));
  if (length < NLMSG_HDRLEN || (answer.msg_flags & MSG_TRUNC) != 0)
    return Error{EPROTO, what + ": answer of " + std::to_string(length) + " bytes"};
  memcpy(&header, buffer, sizeof(header));
  if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > length)
    return Error{EPROTO, what + ": answer of " + std::to_string(header.nlmsg_len) + " bytes"};
  Bytes reply(buffer + NLMSG_HDRLEN, buffer + header.nlmsg_len);
  if (header.nlmsg_type == NLMSG_ERROR) {
    nlmsgerr error{};
    if (reply.size() < sizeof(error)) return Error{EPROTO, what + ": error is cut"};
    memcpy(&error, reply.data(), sizeof(error));
    return Error{error.error == 0 ? EPROTO : -error.error, what};
  }
  return reply;
}

template <typename T>
Result<T> first_of(const Bytes& reply, const std::string& what) {
  T value{};
  if (reply.size() < sizeof(value)) return Error{EPROTO, what + ": answer is cut"};
  memcpy(&value, reply.data(), sizeof(value));
  return value;
}

unsigned char family_number(const IpAddress& address) {
  return address.family() == Family::kIpv4 ? AF_INET : AF_INET6;
}

}  // namespace

Result<RouteLookup> RouteLookup::open() {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  return RouteLookup(std::move(fd));
}

Result<std::optional<std::uint32_t>> RouteLookup::local_interface(const IpAddress& destination,
                                                                  std::uint32_t oif,
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

  Result<Bytes> reply = ask(fd_, RTM_GETROUTE, 0, message, what);
  // No route at all, or one that says so.
  if (!reply && reply.error().code != EPROTO) return std::optional<std::uint32_t>();
  if (!reply) return reply.error();
  SOCKREPAIR_TRY_ASSIGN(rtmsg route, first_of<rtmsg>(*reply, what));
  if (route.rtm_type != RTN_LOCAL) return std::optional<std::uint32_t>();

  std::size_t at = NLMSG_ALIGN(sizeof(rtmsg));
  while (at + sizeof(rtattr) <= reply->size()) {
    rtattr attribute{};
    memcpy(&attribute, reply->data() + at, sizeof(attribute));
    if (attribute.rta_len < sizeof(attribute) || attribute.rta_len > reply->size() - at) break;
    if (attribute.rta_type == RTA_OIF && RTA_PAYLOAD(&attribute) == sizeof(std::uint32_t)) {
      std::uint32_t ifindex = 0;
      memcpy(&ifindex, reply->data() + at + RTA_LENGTH(0), sizeof(ifindex));
      return std::optional<std::uint32_t>(ifindex);
    }
    at += RTA_ALIGN(attribute.rta_len);
  }
  return Error{EPROTO, what + ": answer without an interface"};
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

  Result<Bytes> reply = ask(fd_, SOCK_DIAG_BY_FAMILY, 0, message, what);
  if (!reply && reply.error().code == ENOENT) {
    // No such socket, or nobody to ask?
    if (!known_to_work_) SOCKREPAIR_TRY(probe());
    return std::optional<std::uint64_t>();
  }
  if (!reply) return reply.error();
  known_to_work_ = true;
  SOCKREPAIR_TRY_ASSIGN(inet_diag_msg found, first_of<inet_diag_msg>(*reply, what));
  return std::optional<std::uint64_t>(static_cast<std::uint64_t>(found.id.idiag_cookie[1]) << 32 |
                                      found.id.idiag_cookie[0]);
}

Result<void> SocketLookup::probe() {
  const std::string what = "SOCK_DIAG_BY_FAMILY of UDP sockets";
  // A list of the sockets in no state at all: it ends at once, with an errno number.
  inet_diag_req_v2 request{};
  request.sdiag_family = AF_INET;
  request.sdiag_protocol = IPPROTO_UDP;
  Bytes message;
  append(message, &request, sizeof(request));
  SOCKREPAIR_TRY_ASSIGN(Bytes reply, ask(fd_, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, message, what));
  SOCKREPAIR_TRY_ASSIGN(int status, first_of<int>(reply, what));
  if (status < 0) return Error{EOPNOTSUPP, what + " (udp_diag)"};
  known_to_work_ = true;
  return {};
}

}  // namespace sockrepair::internal

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sock_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <vector>

#include "sockrepair/fd.h"
#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

// Bits of INET_DIAG_SHUTDOWN, the kernel's RCV_SHUTDOWN and SEND_SHUTDOWN.
constexpr std::uint8_t kReceive = 1;
constexpr std::uint8_t kSend = 2;
// idiag_state of a connected socket, the kernel's TCP_ESTABLISHED.
constexpr std::uint8_t kEstablished = 1;
// What the kernel fills at most in one go.
constexpr std::size_t kBufferSize = 32768;

Result<void> request_dump(int netlink, int domain, std::uint16_t port) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 body;
  } request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = static_cast<std::uint8_t>(domain);
  request.body.sdiag_protocol = IPPROTO_UDP;
  request.body.idiag_states = UINT32_MAX;
  request.body.id.idiag_sport = htons(port);

  iovec part{&request, sizeof(request)};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Result<std::size_t> sent = sys::sendmsg(netlink, message, 0);
  if (!sent) return sent.error();
  return {};
}

IpAddress diag_address(int domain, const __be32 (&words)[4]) {
  if (domain == AF_INET) return IpAddress(in_addr{words[0]});
  in6_addr v6{};
  memcpy(&v6, words, sizeof(v6));
  if (!IN6_IS_ADDR_V4MAPPED(&v6)) return IpAddress(v6);
  return IpAddress(in_addr{words[3]});
}

std::uint64_t cookie_of(const inet_diag_msg& message) {
  return message.id.idiag_cookie[0] | std::uint64_t{message.id.idiag_cookie[1]} << 32;
}

// The attribute as it stands in a message; nullptr if there is none.
const rtattr* find_attribute(const nlmsghdr* header, std::uint16_t type) {
  const char* begin = reinterpret_cast<const char*>(header);
  std::size_t at = NLMSG_LENGTH(sizeof(inet_diag_msg));
  while (at + sizeof(rtattr) <= header->nlmsg_len) {
    const auto* attribute = reinterpret_cast<const rtattr*>(begin + at);
    if (attribute->rta_len < sizeof(rtattr) || at + attribute->rta_len > header->nlmsg_len) break;
    if (attribute->rta_type == type) return attribute;
    at += RTA_ALIGN(attribute->rta_len);
  }
  return nullptr;
}

DiagSocket parse(const nlmsghdr* header, int domain) {
  inet_diag_msg body{};
  memcpy(&body, NLMSG_DATA(header), sizeof(body));
  DiagSocket found;
  found.connected = body.idiag_state == kEstablished;
  found.peer = Endpoint{diag_address(domain, body.id.idiag_dst), ntohs(body.id.idiag_dport), 0};
  if (const rtattr* shutdown = find_attribute(header, INET_DIAG_SHUTDOWN)) {
    auto bits = *static_cast<const std::uint8_t*>(RTA_DATA(shutdown));
    found.receive_shutdown = (bits & kReceive) != 0;
    found.send_shutdown = (bits & kSend) != 0;
  }
  return found;
}

}  // namespace

Result<std::optional<DiagSocket>> find_udp_socket(int domain, std::uint16_t port,
                                                  std::uint64_t cookie) {
  SOCKREPAIR_TRY_ASSIGN(Fd netlink, sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
  SOCKREPAIR_TRY(request_dump(netlink.get(), domain, port));

  std::optional<DiagSocket> found;
  alignas(nlmsghdr) std::vector<char> buffer(kBufferSize);
  for (;;) {
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    SOCKREPAIR_TRY_ASSIGN(std::size_t length, sys::recvmsg(netlink.get(), message, 0));
    const auto* header = reinterpret_cast<const nlmsghdr*>(buffer.data());
    for (auto left = static_cast<int>(length); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) return found;
      if (header->nlmsg_type == NLMSG_ERROR) {
        nlmsgerr error{};
        if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(error)))
          memcpy(&error, NLMSG_DATA(header), sizeof(error));
        return Error{error.error < 0 ? -error.error : EPROTO, "sock_diag dump of UDP sockets"};
      }
      if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) continue;
      inet_diag_msg body{};
      memcpy(&body, NLMSG_DATA(header), sizeof(body));
      // The kernel lists the sockets of a port from the newest to the oldest.
      if (found) ++found->bound_before;
      if (cookie_of(body) == cookie) found = parse(header, domain);
    }
  }
}

}  // namespace sockrepair::internal

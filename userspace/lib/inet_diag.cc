// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "inet_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

// What the kernel fills at most in one go.
constexpr std::size_t kBufferSize = 32768;

// `request` is a nlmsghdr and what follows it.
template <typename Request>
Result<void> send_request(int netlink, const Request& request) {
  iovec part{const_cast<Request*>(&request), request.header.nlmsg_len};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  SOCKREPAIR_TRY(sys::sendmsg(netlink, message, 0));
  return {};
}

// A question about one socket.
struct OneRequest {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

OneRequest one_request(std::uint16_t type, std::uint16_t flags, int domain, int protocol) {
  OneRequest request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  request.body.sdiag_family = static_cast<std::uint8_t>(domain);
  request.body.sdiag_protocol = static_cast<std::uint8_t>(protocol);
  return request;
}

Result<void> request_list(int netlink, const DiagFilter& filter) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 body;
    rtattr attribute;
    inet_diag_bc_op program;
  } request{};
  request.header.nlmsg_len = offsetof(decltype(request), attribute);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = static_cast<std::uint8_t>(filter.domain);
  request.body.sdiag_protocol = static_cast<std::uint8_t>(filter.protocol);
  request.body.idiag_ext = filter.extensions;
  request.body.idiag_states = filter.states;
  request.body.id.idiag_sport = htons(filter.port);
  if (filter.auto_port) {
    request.header.nlmsg_len = sizeof(request);
    request.attribute.rta_type = INET_DIAG_REQ_BYTECODE;
    request.attribute.rta_len = RTA_LENGTH(sizeof(request.program));
    // Where to go on: at the end of the program for yes, beyond it for no.
    request.program = {INET_DIAG_BC_AUTO, sizeof(request.program), 2 * sizeof(request.program)};
  }

  return send_request(netlink, request);
}

IpAddress address_of(int domain, const __be32 (&words)[4]) {
  if (domain == AF_INET) return IpAddress(in_addr{words[0]});
  in6_addr v6{};
  memcpy(&v6, words, sizeof(v6));
  if (!IN6_IS_ADDR_V4MAPPED(&v6)) return IpAddress(v6);
  return IpAddress(in_addr{words[3]});
}

void write_address(const Endpoint& endpoint, int domain, __be32 (&words)[4]) {
  const SocketAddress address(endpoint, domain);
  if (domain == AF_INET) {
    words[0] = reinterpret_cast<const sockaddr_in*>(address.get())->sin_addr.s_addr;
    return;
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address.get());
  memcpy(words, &v6->sin6_addr, sizeof(words));
}

std::string name_of(const char* what, int protocol) {
  return std::string("sock_diag ") + what + (protocol == IPPROTO_TCP ? " TCP" : " UDP") +
         " sockets";
}

// Up to the end of a list, or for `one` socket, which no end follows.
Result<void> read_answer(const Fd& netlink, const std::string& what, bool one,
                         const std::function<Result<void>(const DiagEntry&)>& each) {
  std::vector<std::uint8_t> buffer(kBufferSize);
  for (;;) {
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    SOCKREPAIR_TRY_ASSIGN(std::size_t length, sys::recvmsg(netlink.get(), message, 0));
    if ((message.msg_flags & MSG_TRUNC) != 0) return Error{EPROTO, what + ": answer is cut"};
    const std::span<const std::uint8_t> all(buffer.data(), length);
    for (std::size_t at = 0; at + NLMSG_HDRLEN <= length;) {
      nlmsghdr header{};
      memcpy(&header, all.data() + at, sizeof(header));
      if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > length - at)
        return Error{EPROTO, what + ": answer of " + std::to_string(header.nlmsg_len) + " bytes"};
      const auto payload = all.subspan(at + NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
      at += NLMSG_ALIGN(header.nlmsg_len);
      // Both begin with an error number, negative or 0.
      if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
        int status = 0;
        if (payload.size() < sizeof(status)) return Error{EPROTO, what + ": answer is cut"};
        memcpy(&status, payload.data(), sizeof(status));
        if (status < 0) return Error{-status, what};
        return {};
      }
      inet_diag_msg body{};
      if (payload.size() < sizeof(body)) return Error{EPROTO, what + ": answer is cut"};
      memcpy(&body, payload.data(), sizeof(body));
      const std::size_t skip = std::min<std::size_t>(NLMSG_ALIGN(sizeof(body)), payload.size());
      SOCKREPAIR_TRY(each(DiagEntry(body, payload.subspan(skip))));
      if (one) return {};
    }
  }
}

}  // namespace

std::uint64_t DiagEntry::cookie() const {
  return body_.id.idiag_cookie[0] | std::uint64_t{body_.id.idiag_cookie[1]} << 32;
}

Endpoint DiagEntry::local() const {
  return {address_of(body_.idiag_family, body_.id.idiag_src), ntohs(body_.id.idiag_sport), 0};
}

Endpoint DiagEntry::peer() const {
  return {address_of(body_.idiag_family, body_.id.idiag_dst), ntohs(body_.id.idiag_dport), 0};
}

std::optional<std::span<const std::uint8_t>> DiagEntry::find(unsigned short type) const {
  for (std::size_t at = 0; at + sizeof(rtattr) <= attributes_.size();) {
    rtattr header{};
    memcpy(&header, attributes_.data() + at, sizeof(header));
    if (header.rta_len < sizeof(header) || header.rta_len > attributes_.size() - at) break;
    if (header.rta_type == type)
      return attributes_.subspan(at + RTA_LENGTH(0), RTA_PAYLOAD(&header));
    at += RTA_ALIGN(header.rta_len);
  }
  return std::nullopt;
}

Result<Fd> open_inet_diag() {
  return sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
}

Result<void> list_inet_sockets(const Fd& netlink, const DiagFilter& filter,
                               const std::function<Result<void>(const DiagEntry&)>& each) {
  SOCKREPAIR_TRY(request_list(netlink.get(), filter));
  return read_answer(netlink, name_of("list of", filter.protocol), false, each);
}

Result<void> find_inet_connection(const Fd& netlink, const DiagConnection& connection,
                                  const std::function<Result<void>(const DiagEntry&)>& each) {
  OneRequest request = one_request(SOCK_DIAG_BY_FAMILY, 0, connection.domain, connection.protocol);
  request.body.idiag_ext = connection.extensions;
  inet_diag_sockid& id = request.body.id;
  id.idiag_sport = htons(connection.local.port);
  id.idiag_dport = htons(connection.peer.port);
  write_address(connection.local, connection.domain, id.idiag_src);
  write_address(connection.peer, connection.domain, id.idiag_dst);
  id.idiag_if = connection.local.scope;
  id.idiag_cookie[0] = static_cast<std::uint32_t>(connection.cookie);
  id.idiag_cookie[1] = static_cast<std::uint32_t>(connection.cookie >> 32);
  SOCKREPAIR_TRY(send_request(netlink.get(), request));
  return read_answer(netlink, name_of("search for", connection.protocol), true, each);
}

Result<bool> destroy_inet_socket(const Fd& netlink, int protocol, const inet_diag_msg& body) {
  constexpr char kWhat[] = "sock_diag, SOCK_DESTROY";
  OneRequest request = one_request(SOCK_DESTROY, NLM_F_ACK, body.idiag_family, protocol);
  request.body.id = body.id;
  SOCKREPAIR_TRY(send_request(netlink.get(), request));

  struct {
    nlmsghdr header;
    nlmsgerr body;
    std::uint8_t rest[1024];
  } answer{};
  iovec room{&answer, sizeof(answer)};
  msghdr received{};
  received.msg_iov = &room;
  received.msg_iovlen = 1;
  SOCKREPAIR_TRY_ASSIGN(std::size_t size, sys::recvmsg(netlink.get(), received, 0));
  if (size < NLMSG_LENGTH(sizeof(answer.body)) || answer.header.nlmsg_type != NLMSG_ERROR)
    return Error{EPROTO, std::string(kWhat) + ": answer is cut"};
  const int code = -answer.body.error;
  // Gone, or gone and another one in its place.
  if (code == ENOENT || code == ESTALE) return false;
  if (code != 0) return Error{code, kWhat};
  return true;
}

}  // namespace sockrepair::internal

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_INET_DIAG_H_
#define SOCKREPAIR_LIB_INET_DIAG_H_

#include <linux/inet_diag.h>
#include <string.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// The sockets of a network namespace, as sock_diag(7) lists them.
namespace sockrepair::internal {

// A bit of DiagFilter::states, for a state as the kernel numbers them (TCP_ESTABLISHED, ...).
constexpr std::uint32_t diag_state(int state) {
  return std::uint32_t{1} << state;
}

// Which sockets to list.
struct DiagFilter {
  int domain = 0;                     // AF_INET or AF_INET6; mapped addresses are AF_INET6
  int protocol = 0;                   // IPPROTO_TCP, IPPROTO_UDP
  std::uint32_t states = UINT32_MAX;  // diag_state() bits
  std::uint16_t port = 0;             // local port, host byte order; 0: all
  bool auto_port = false;             // only those whose program did not choose the port
  std::uint8_t extensions = 0;        // 1 << (INET_DIAG_x - 1): attributes to add
};

// A socket of the list. Valid during the call that it is given to.
class DiagEntry {
 public:
  DiagEntry(const inet_diag_msg& body, std::span<const std::uint8_t> attributes)
      : body_(body), attributes_(attributes) {}

  const inet_diag_msg& body() const { return body_; }
  std::uint64_t cookie() const;
  // An IPv4-mapped address comes out as IPv4.
  Endpoint local() const;
  Endpoint peer() const;

  // The value of the attribute INET_DIAG_x; nothing if there is none.
  std::optional<std::span<const std::uint8_t>> find(unsigned short type) const;
  // The same as a number or a structure; nothing if it is shorter.
  template <typename T>
  std::optional<T> value(unsigned short type) const {
    std::optional<std::span<const std::uint8_t>> found = find(type);
    if (!found || found->size() < sizeof(T)) return std::nullopt;
    T result;
    memcpy(&result, found->data(), sizeof(result));
    return result;
  }

 private:
  inet_diag_msg body_;
  std::span<const std::uint8_t> attributes_;
};

// A netlink socket to ask by. It goes on asking the namespace that it was made in.
Result<Fd> open_inet_diag();

// Calls `each` for the sockets that `filter` lets through. UDP sockets of a port come from the one
// bound last to the one bound first. The first error of `each` ends the list and is returned; the
// rest waits in `netlink`, which is then of no more use.
//
// ENOENT, EPROTONOSUPPORT and the like when the kernel has no sock_diag for the protocol.
Result<void> list_inet_sockets(const Fd& netlink, const DiagFilter& filter,
                               const std::function<Result<void>(const DiagEntry&)>& each);

// Which connection to look for.
struct DiagConnection {
  int domain = 0;  // AF_INET or AF_INET6, of its socket
  int protocol = 0;
  Endpoint local;  // as getsockname(2) and getpeername(2) have them
  Endpoint peer;
  std::uint64_t cookie = 0;  // SO_COOKIE
  std::uint8_t extensions = 0;
};

// Calls `each` for the connection, whose place the kernel knows: a list would look at all sockets.
// ENOENT: there is none with these names; another interface than that of `local` can be why.
// ESTALE: it is another one. Not to be called while a list is read.
Result<void> find_inet_connection(const Fd& netlink, const DiagConnection& connection,
                                  const std::function<Result<void>(const DiagEntry&)>& each);

// SOCK_DESTROY of the socket that was listed with `body`, which is not mistaken for another one
// that has its names by now. Whether it was there.
//
// EOPNOTSUPP: the kernel cannot. EPERM: takes CAP_NET_ADMIN. Not to be called while a list is read.
Result<bool> destroy_inet_socket(const Fd& netlink, int protocol, const inet_diag_msg& body);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_INET_DIAG_H_

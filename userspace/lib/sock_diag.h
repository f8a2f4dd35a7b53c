// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_SOCK_DIAG_H_
#define SOCKREPAIR_LIB_SOCK_DIAG_H_

#include <cstdint>
#include <optional>

#include "sockrepair/address.h"
#include "sockrepair/result.h"

namespace sockrepair::internal {

// What sock_diag(7) tells of a bound UDP socket, besides what calls on the socket do.
struct DiagSocket {
  bool connected = false;
  Endpoint peer;  // also with port 0, which getpeername(2) does not tell
  bool receive_shutdown = false;
  bool send_shutdown = false;
  // How many sockets on the same port were bound before it and still are.
  std::uint32_t bound_before = 0;
};

// Looks among the UDP sockets of `domain` on `port` (host byte order) in the network namespace of
// the calling thread for the one with `cookie`. Nothing if there is none; ENOENT, EPROTONOSUPPORT
// and the like when the kernel has no sock_diag for UDP.
Result<std::optional<DiagSocket>> find_udp_socket(int domain, std::uint16_t port,
                                                  std::uint64_t cookie);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_SOCK_DIAG_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sock_diag.h"

#include <linux/inet_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "inet_diag.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

// Bits of INET_DIAG_SHUTDOWN, the kernel's RCV_SHUTDOWN and SEND_SHUTDOWN.
constexpr std::uint8_t kReceive = 1;
constexpr std::uint8_t kSend = 2;

DiagSocket describe(const DiagEntry& entry) {
  DiagSocket found;
  found.connected = entry.body().idiag_state == TCP_ESTABLISHED;
  found.peer = entry.peer();
  const std::uint8_t bits = entry.value<std::uint8_t>(INET_DIAG_SHUTDOWN).value_or(0);
  found.receive_shutdown = (bits & kReceive) != 0;
  found.send_shutdown = (bits & kSend) != 0;
  return found;
}

}  // namespace

Result<std::optional<DiagSocket>> find_udp_socket(int domain, std::uint16_t port,
                                                  std::uint64_t cookie) {
  std::optional<DiagSocket> found;
  SOCKREPAIR_TRY_ASSIGN(Fd netlink, open_inet_diag());
  const DiagFilter filter{.domain = domain, .protocol = IPPROTO_UDP, .port = port};
  SOCKREPAIR_TRY(list_inet_sockets(netlink, filter, [&](const DiagEntry& entry) -> Result<void> {
    // From the one bound last to the one bound first.
    if (found) ++found->bound_before;
    if (entry.cookie() == cookie) found = describe(entry);
    return {};
  }));
  return found;
}

}  // namespace sockrepair::internal

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_time_wait_check.h"

#include <errno.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cstddef>
#include <string>

#include "inet_socket.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

constexpr std::uint8_t kLargestScale = 14;
constexpr std::uint32_t kLargestFlowLabel = 0xfffff;
constexpr std::uint32_t kLongestTxDelay = 0x7fffffff;  // TCP_TX_DELAY is an int
constexpr std::size_t kLongestKeys = 15;

// A number with the least and the most that it can be.
struct Bound {
  const char* member;
  std::uint64_t value;
  std::uint64_t min;
  std::uint64_t max;
};

Result<void> check_bounds(const TcpTimeWait& c) {
  const std::uint64_t longest =
      c.state == TimeWaitState::kTimeWait ? kTimeWaitLongest : kFinWait2Longest;
  const Bound rows[] = {
      {"local, port", c.local.port, 1, UINT16_MAX},
      {"peer, port", c.peer.port, 1, UINT16_MAX},
      {"flow_label", c.flow_label, 0, c.domain == AF_INET6 ? kLargestFlowLabel : 0},
      {"tx_delay", c.tx_delay, 0, kLongestTxDelay},
      {"rcv_scale", c.rcv_scale, 0, kLargestScale},
      {"rcv_wnd", c.rcv_wnd, 0, std::uint64_t{UINT16_MAX} << c.rcv_scale % (kLargestScale + 1)},
      {"remaining", c.remaining, 1, longest},
      {"keys, bytes", c.keys.size(), 0, kLongestKeys},
  };
  for (const Bound& row : rows) {
    if (row.value >= row.min && row.value <= row.max) continue;
    return refuse(EINVAL, row.member,
                  std::to_string(row.value) + ", must be " + std::to_string(row.min) + " to " +
                      std::to_string(row.max));
  }
  return {};
}

Result<void> check_address(const TcpTimeWait& c, const char* member, const Endpoint& endpoint) {
  const IpAddress& address = endpoint.address;
  if (!family_fits(address, c.domain))
    return refuse(EINVAL, member, "IPv6, must be IPv4 with AF_INET");
  if (address.is_any() || address.is_multicast())
    return refuse(EINVAL, member, address.to_string() + ", must be the address of one host");
  if (address.family() != c.local.address.family())
    return refuse(EINVAL, member, "must be of the family of local");
  const bool scoped = address.family() == Family::kIpv6 && address.is_link_local();
  const std::uint32_t device = c.device ? c.device->index : 0;
  if (endpoint.scope != (scoped ? device : 0))
    return refuse(EINVAL, member,
                  "scope " + std::to_string(endpoint.scope) +
                      ", must be that of device for a link-local address, else 0");
  return {};
}

}  // namespace

Result<void> check_tcp_time_wait(const TcpTimeWait& c) {
  if (c.domain != AF_INET && c.domain != AF_INET6)
    return refuse(EINVAL, "domain", std::to_string(c.domain) + ", must be AF_INET or AF_INET6");
  if (c.state != TimeWaitState::kFinWait2 && c.state != TimeWaitState::kTimeWait)
    return refuse(EINVAL, "state",
                  std::to_string(static_cast<int>(c.state)) + ", must be FIN_WAIT2 or TIME_WAIT");
  SOCKREPAIR_TRY(check_bounds(c));
  SOCKREPAIR_TRY(check_address(c, "local", c.local));
  SOCKREPAIR_TRY(check_address(c, "peer", c.peer));
  if (c.v6_only && (c.domain != AF_INET6 || c.local.address.family() != Family::kIpv6))
    return refuse(EINVAL, "v6_only", "true, must be false with IPv4 addresses");
  if (c.device &&
      (c.device->index == 0 || c.device->name.empty() || c.device->name.size() >= IFNAMSIZ))
    return refuse(EINVAL, "device",
                  "index " + std::to_string(c.device->index) + ", name '" + c.device->name +
                      "', must have both, the name 15 bytes at most");
  return {};
}

}  // namespace sockrepair::internal

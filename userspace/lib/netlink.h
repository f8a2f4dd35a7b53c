// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_NETLINK_H_
#define SOCKREPAIR_LIB_NETLINK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// Questions to the kernel about a packet that is not sent yet, asked of the network namespace that
// the object was made in.
namespace sockrepair::internal {

// Where a packet would be delivered.
class RouteLookup {
 public:
  static Result<RouteLookup> open();

  // The interface that has `destination` as an address of its own, if a packet to it which asks for
  // interface `oif` (0: for none) and has `mark` stays on this host; else nothing.
  Result<std::optional<std::uint32_t>> local_interface(const IpAddress& destination,
                                                       std::uint32_t oif, std::uint32_t mark);

 private:
  explicit RouteLookup(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

// Which socket would get a UDP packet.
class SocketLookup {
 public:
  static Result<SocketLookup> open();

  // SO_COOKIE of the socket that gets what comes in by `ifindex`; nothing if none does.
  // EOPNOTSUPP: this kernel does not say (it has no udp_diag).
  Result<std::optional<std::uint64_t>> receiver(const Endpoint& source, const Endpoint& destination,
                                                std::uint32_t ifindex);

 private:
  explicit SocketLookup(Fd fd) : fd_(std::move(fd)) {}

  Result<void> probe();

  Fd fd_;
  bool known_to_work_ = false;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_NETLINK_H_

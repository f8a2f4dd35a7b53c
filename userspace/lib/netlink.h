// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_NETLINK_H_
#define SOCKREPAIR_LIB_NETLINK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// Questions to the kernel about a packet that is not sent yet, asked of the network namespace that
// the object was made in.
namespace sockrepair::internal {

// Where a packet would go.
class RouteLookup {
 public:
  enum class Kind {
    kLocal,      // to an address of this host
    kBroadcast,  // to all hosts of a network, this one among them
    kElsewhere,  // anywhere else, or nowhere
  };
  struct Route {
    Kind kind = Kind::kElsewhere;
    std::uint32_t ifindex = 0;  // kLocal: the interface that has the address
  };

  static Result<RouteLookup> open();

  // For a packet that asks for interface `oif` (0: for none) and has `mark`. Not for multicast.
  Result<Route> find(const IpAddress& destination, std::uint32_t oif, std::uint32_t mark);

  // The interface by which a packet to `group` leaves that asks for `oif`, if the host has joined
  // the group there; else 0. IPv6 has to ask for one.
  Result<std::uint32_t> joined_interface(const IpAddress& group, std::uint32_t oif);

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

  // Whether no socket but the one with `cookie` is bound to the UDP port. EOPNOTSUPP: as above.
  Result<bool> alone(std::uint16_t port, std::uint64_t cookie);

 private:
  explicit SocketLookup(Fd fd) : fd_(std::move(fd)) {}

  Result<void> probe();
  // The cookies of the sockets in `states` that are bound to `port`, 0: to any.
  Result<std::vector<std::uint64_t>> list(unsigned char family, std::uint32_t states,
                                          std::uint16_t port);

  Fd fd_;
  bool known_to_work_ = false;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_NETLINK_H_

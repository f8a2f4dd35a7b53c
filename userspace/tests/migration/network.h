// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_NETWORK_H_
#define SOCKREPAIR_TESTS_MIGRATION_NETWORK_H_

#include <string>

#include "migration/segment.h"
#include "sockrepair/address.h"
#include "sockrepair/result.h"
#include "util/net_ns.h"

// The network between the three guests:
//
//      source                        peer                        destination
//    +--------------+      +-------------------------+      +--------------+
//    | eth0         |======| eth0     br0       eth1 |======| eth0         |
//    | 10.1.0.2     |      |       10.1.0.1          |      |     10.1.0.3 |
//    +--------------+      |        port0            |      +--------------+
//        10.0.0.9          |          |  netem       |          10.0.0.9
//        fd00::9           |          |  both ways   |          fd00::9
//      now here ...        |    +-----|-------+      |        ... now there
//                          |    |   wire0     |      |
//                          |    | 10.0.0.1    |      |
//                          |    | fd00::1     |      |
//                          |    +-------------+      |
//                          +-------------------------+
//
// The connection is between the addresses of 10.0.0 and fd00, of which one moves. What the hosts
// say to each other about it has the addresses 10.1.0, and no netem. Frames pass eth0 and eth1 of
// the peer as the hosts send them and as they get them: that is where they are captured. No device
// there makes one frame of several, or several of one.
namespace sockrepair::test {

IpAddress moved_address(Family family);
IpAddress peer_address(Family family);
Endpoint control_endpoint(Station station);

// Sets up this guest as a host of the connection, with no address of it yet.
Result<void> set_up_host(Station station);

// The peer's side of the network, in this guest.
class PeerNetwork {
 public:
  static Result<PeerNetwork> create();

  // The network namespace of the application.
  const NetNs& application() const { return application_; }
  // The one with bridge and cables.
  const NetNs& cables() const { return cables_; }

  // What tc(8) calls the parameters of netem, for either direction: "delay 25ms loss 1%".
  Result<void> set_netem(const std::string& parameters) const;

 private:
  PeerNetwork(NetNs cables, NetNs application)
      : cables_(std::move(cables)), application_(std::move(application)) {}

  NetNs cables_;
  NetNs application_;
};

// Takes the moved address to this host, or from it. Nobody is told.
Result<void> add_moved_address(Family family);
Result<void> remove_moved_address(Family family);

// Tells all that the moved address is here: by a gratuitous ARP request, or by an unsolicited
// neighbour advertisement that overrides what was known.
Result<void> announce_moved_address(Family family);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_NETWORK_H_

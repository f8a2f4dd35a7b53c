// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_PACKET_H_
#define SOCKREPAIR_LIB_PACKET_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sockrepair/udp_receive_queue.h"

namespace sockrepair::internal {

// The IP packet that `datagram` came in, from the IP header on, as a raw socket with IP_HDRINCL or
// IPV6_HDRINCL takes it; with a UDP checksum, and with 64 for a hop limit that is not known. An
// IPv6 one that is longer than `mtu` comes in fragments; IPv4 packets do not get longer than the
// MTU of the loopback device can be. Precondition: check_datagram() finds nothing.
std::vector<std::vector<std::uint8_t>> build_packets(const ReceivedDatagram& datagram,
                                                     std::size_t mtu);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_PACKET_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_IMAGE_SAMPLE_H_
#define SOCKREPAIR_TESTS_IMAGE_SAMPLE_H_

#include <variant>
#include <vector>

#include "sockrepair/image.h"

// Entries to make images of.
namespace sockrepair::test {

// A process with an IPv4 and an IPv6 socket, with datagrams in both queues. In one or the other of
// them every member has a value that is not its default, and numbers of one struct differ from each
// other, so that none can stand in for another.
std::vector<ImageEntry> full_sample();

// A process with TCP sockets: a connection with a control block and queues, a listener, and
// one that is being connected. The same holds for their members.
std::vector<ImageEntry> tcp_sample();

// The UDP and the TCP socket of an entry.
inline UdpSocket& udp_of(ImageEntry& entry) {
  return std::get<UdpSocket>(std::get<ImageSocket>(entry).socket);
}
inline TcpSocket& tcp_of(ImageEntry& entry) {
  return std::get<TcpSocket>(std::get<ImageSocket>(entry).socket);
}

// A process with one unbound socket.
std::vector<ImageEntry> small_sample();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_IMAGE_SAMPLE_H_

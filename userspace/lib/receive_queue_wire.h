// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_RECEIVE_QUEUE_WIRE_H_
#define SOCKREPAIR_LIB_RECEIVE_QUEUE_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sockrepair/udp_receive_queue.h"
#include "uapi.h"

// What ReceivedDatagram looks like to the kernel, in both directions, and which values it can have.
// No system calls here.
namespace sockrepair::internal {

// The row of one member. Everything about how a member of ReceivedDatagram is given to the kernel
// and checked stands here and nowhere else. Options, headers and payload follow the struct.
struct DatagramRow {
  const char* member;
  std::optional<Family> family;  // only datagrams of this family can have it; none: both
  const char* limit;             // what a value has to be, for the error when it is not so
  // Whether a datagram has a value, other than the one that all of the other family have.
  bool (*present)(const ReceivedDatagram&);
  bool (*valid)(const ReceivedDatagram&);
  void (*encode)(const ReceivedDatagram&, udp_repair_datagram&);
  void (*decode)(const udp_repair_datagram&, ReceivedDatagram&);
};

std::span<const DatagramRow> datagram_rows();

// The error that names the datagram `index`, the first member of it which no kernel would take, and
// the limit. Does not look at a socket.
Result<void> check_datagram(const ReceivedDatagram& datagram, std::size_t index);

// Where the parts of a dump are that is to be continued.
struct DumpProgress {
  std::uint32_t next = 0;      // `first` of the next call
  std::uint32_t next_len = 0;  // bytes that its first entry takes; 0: the queue has ended
};

// Appends what getsockopt(UDP_REPAIR_RECV_QUEUE) wrote to `datagrams`. EPROTO when it contradicts
// itself or is cut.
Result<DumpProgress> parse_receive_queue(std::span<const std::uint8_t> dump,
                                         std::vector<ReceivedDatagram>& datagrams);

// The argument of setsockopt(UDP_REPAIR_RECV_QUEUE), into `entry`, whose memory is used again.
void encode_datagram(const ReceivedDatagram& datagram, std::vector<std::uint8_t>& entry);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_RECEIVE_QUEUE_WIRE_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_SEND_QUEUE_WIRE_H_
#define SOCKREPAIR_LIB_SEND_QUEUE_WIRE_H_

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "control_messages.h"
#include "sockrepair/udp_send_queue.h"

// What SendQueue looks like to the kernel, in both directions. No system calls here.
namespace sockrepair::internal {

// Reads what getsockopt(UDP_REPAIR_SEND_QUEUE) wrote. EPROTO when it contradicts itself or is cut.
Result<std::optional<SendQueue>> parse_send_queue(std::span<const std::uint8_t> dump);

// What the choice of control messages depends on, besides the datagram.
struct ControlContext {
  std::uint32_t socket_mark = 0;   // SO_MARK of the socket
  bool timestamp_ids = false;      // the socket has SOF_TIMESTAMPING_OPT_ID
  bool headers_by_option = false;  // IPv6 headers are given as sticky options, not as messages
};

// The row of one control message. Everything about how a member of SendQueue is given to the kernel
// stands here and nowhere else.
struct ControlRow {
  const char* members;           // of SendQueue
  std::optional<Family> family;  // only in datagrams of this family; none: in both
  int level;
  int type;
  // What a value has to be and what giving it needs, for the error when it is not so.
  const char* limit;
  // Whether the value can be given at all.
  bool (*valid)(const SendQueue&);
  // Whether this datagram has the message.
  bool (*given)(const SendQueue&, const ControlContext&);
  std::vector<std::uint8_t> (*encode)(const SendQueue&);
};

// All rows, in the order the messages have to have: the one that says where from and where to
// first, and IP_TOS ahead of SO_PRIORITY, which it overwrites.
std::span<const ControlRow> control_rows();

// The rows that `queue` has a message for.
std::vector<const ControlRow*> given_rows(const SendQueue& queue, const ControlContext& context);

// The messages of `rows`.
ControlMessages encode_rows(std::span<const ControlRow* const> rows, const SendQueue& queue);

// The error that names the first member which no kernel would take; does not look at a socket.
Result<void> check_members(const SendQueue& queue);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_SEND_QUEUE_WIRE_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_TCP_REPAIR_CALLS_H_
#define SOCKREPAIR_LIB_TCP_REPAIR_CALLS_H_

#include <linux/tcp.h>
#include <linux/tcp_repair.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sockrepair/result.h"
#include "sockrepair/tcp_socket.h"

// The calls that TCP_REPAIR is made of. All but the first two take a socket in repair mode.
namespace sockrepair::internal {

Result<void> enter_repair(int fd);
// Off as well where the kernel only knows to send a window probe with it.
Result<void> leave_repair(int fd, bool window_probe);

// Whether the running kernel has TCP_REPAIR_CB. Asked of a TCP socket in any state, once for the
// life of the process.
bool kernel_has_control_block(int fd);

Result<void> select_queue(int fd, int queue);
// TCP_QUEUE_SEQ, of the queue that was selected.
Result<std::uint32_t> read_sequence(int fd);
Result<void> write_sequence(int fd, std::uint32_t sequence);

// What tells where a connection is: sequence numbers as the kernel has them, FINs counted.
struct TcpExtent {
  TcpState state = TcpState::kClose;
  std::uint32_t copied_seq = 0;  // next byte to be read
  std::uint32_t rcv_nxt = 0;
  std::uint32_t snd_una = 0;
  std::uint32_t snd_nxt = 0;
  std::uint32_t write_seq = 0;

  bool operator==(const TcpExtent&) const = default;

  // Sequence numbers after the last byte of each queue, and bytes in it.
  std::uint32_t receive_end() const;
  std::uint32_t send_end() const;
  std::uint32_t received() const;
  std::uint32_t queued() const;
  std::uint32_t unsent() const;
  // The FIN was written and not sent.
  bool fin_unsent() const;
};

TcpExtent extent_of(const tcp_repair_cb& control_block);
// By plain TCP_REPAIR, of an established connection: TCP_QUEUE_SEQ and ioctls.
Result<TcpExtent> read_extent(int fd);

Result<tcp_repair_cb> read_control_block(int fd);

using Bytes = TcpConnection::Bytes;

// The last `length` bytes of the send queue. EAGAIN: there are not as many.
Result<Bytes> peek_send_queue(int fd, std::size_t length);
// The first `length` bytes of the receive queue. EAGAIN: there are not as many.
struct PeekedQueue {
  Bytes bytes;
  // There is an urgent mark among them, at which a program that reads stops, and the urgent byte is
  // not part of the stream for it. Not seen with SO_OOBINLINE if it is the next byte.
  bool has_mark = false;
};
// `peek_offset` is SO_PEEK_OFF of the socket, -1 if it is off.
Result<PeekedQueue> peek_receive_queue(int fd, std::size_t length, int peek_offset);

inline constexpr char kUrgentNeedsControlBlock[] =
    "urgent data; without TCP_REPAIR_CB the program would read it as a part of the stream";

// Puts bytes into the queue that was selected, or, out of repair mode, into the stream. The buffer
// of the socket becomes larger for the time of the call if it has to.
Result<void> fill_receive_queue(int fd, std::span<const std::uint8_t> bytes);
Result<void> fill_send_queue(int fd, std::span<const std::uint8_t> bytes);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_TCP_REPAIR_CALLS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_MOVER_H_
#define SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_MOVER_H_

#include <linux/tcp.h>
#include <linux/tcp_repair.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// A connection with its control block, moved step by step by bare system calls: what is looked at
// between two steps is the kernel's, and not the library's doing.
//
//   SOCKREPAIR_TRY(enter_repair(old));
//   SOCKREPAIR_TRY_ASSIGN(Connection image, read_connection(old));
//   old.reset();                                      // the peer notices nothing
//   SOCKREPAIR_TRY_ASSIGN(Fd fd, new_host.run([&] { return make_socket(image); }));
//   SOCKREPAIR_TRY(set_control_block(fd, image.block));
//   SOCKREPAIR_TRY(resume(fd, image));

// <linux/tcp.h> of a build host may lack it.
#ifndef TCP_REPAIR_CB
#define TCP_REPAIR_CB 47
#endif

namespace sockrepair::test {

struct StockState {
  std::uint32_t timestamp = 0;
  tcp_repair_window window{};
};

struct Connection {
  int domain = 0;
  SocketAddress own;
  SocketAddress peer;
  std::vector<tcp_repair_opt> agreed;               // what the SYNs agreed on
  std::vector<std::pair<int, int>> tcp_options;     // of IPPROTO_TCP: name, value
  std::vector<std::pair<int, int>> socket_options;  // of SOL_SOCKET
  int receive_buffer = 0;                           // bytes, as SO_RCVBUF and SO_SNDBUF tell
  int send_buffer = 0;
  int buffer_locks = 0;  // SO_BUF_LOCK: which of them are not adjusted by the kernel
  std::string congestion;
  tcp_repair_cb block{};
  std::vector<char> received;  // and not read, an urgent byte included
  std::vector<char> sent;      // and not acknowledged
  std::vector<char> unsent;
  std::optional<StockState> stock;  // to be restored without a control block
};

Result<void> enter_repair(const Fd& fd);
// Without a window probe.
Result<void> leave_repair(const Fd& fd);

// Precondition of all that follow: in repair mode.
Result<tcp_repair_cb> control_block(const Fd& fd);
Result<void> set_control_block(const Fd& fd, const tcp_repair_cb& block);

// Everything; the socket is as it was afterwards.
Result<Connection> read_connection(const Fd& fd);

// In the calling thread's network namespace: the connection with its options and queues, but not
// with its control block.
Result<Fd> make_socket(const Connection& image);

// Leaves repair mode and writes what was not sent yet. The second one asks the peer for an
// acknowledgment first, as TCP_REPAIR_OFF does.
Result<void> resume(const Fd& fd, const Connection& image);
Result<void> resume_with_probe(const Fd& fd, const Connection& image);

// What a kernel without TCP_REPAIR_CB has in its place. The timestamp is set by make_socket().
Result<StockState> read_stock_state(const Fd& fd);
Result<void> set_stock_window(const Fd& fd, const StockState& state);

// The control block of a socket that is in use.
Result<tcp_repair_cb> look_at(const Fd& fd);

// Has the socket lose the segments that begin at `seq`, whenever they come, until the filter is
// taken off.
Result<void> lose_segment(const Fd& fd, std::uint32_t seq);

// All of it but for looking in between: `fd` is closed, and the connection is one of the calling
// thread's network namespace.
Result<Fd> move_here(Fd fd, std::uint32_t flags = 0, std::uint64_t pause_us = 0);

// Sequence numbers that FINs take in the queues of a connection.
bool fin_received(const tcp_repair_cb& block);
bool fin_in_flight(const tcp_repair_cb& block);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_MOVER_H_

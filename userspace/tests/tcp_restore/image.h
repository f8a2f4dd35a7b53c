// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_RESTORE_IMAGE_H_
#define SOCKREPAIR_TESTS_TCP_RESTORE_IMAGE_H_

#include <linux/tcp.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// A TCP connection as the programs that move connections carry it: read with the options of
// TCP_REPAIR, and restored in the orders of calls that these programs make.
//
//   Result<Image> image = save_and_close(std::move(server));
//   Result<Fd> fd = new_host.run([&] { return restore(Order::kSoccr, *image); });
namespace sockrepair::test {

// What getsockopt() tells of a connection in repair mode.
struct TcpNumbers {
  tcp_info info{};
  tcp_repair_window window{};
  int mss = 0;  // TCP_MAXSEG: what the peer agreed to
  std::uint32_t timestamp = 0;
  std::uint32_t snd_seq = 0;  // of the end of each queue
  std::uint32_t rcv_seq = 0;

  // What the SYNs agreed on; nothing without window scaling.
  std::optional<std::uint32_t> scales() const;  // snd | rcv << 16
  bool sack() const { return (info.tcpi_options & TCPI_OPT_SACK) != 0; }
  bool timestamps() const { return (info.tcpi_options & TCPI_OPT_TIMESTAMPS) != 0; }
};

// Precondition: in repair mode.
Result<TcpNumbers> read_numbers(const Fd& fd);

struct Image {
  int domain = 0;
  SocketAddress own;
  SocketAddress peer;
  TcpNumbers numbers;
  std::vector<char> received;  // and not read
  std::vector<char> sent;      // and not acknowledged
  std::vector<char> unsent;
};

// Enters repair mode, so that the peer is told nothing.
Result<Image> save_and_close(Fd fd);

// The orders of calls that have to work, as Documentation/networking/tcp_repair.rst has them.
enum class Order {
  kSoccr,        // CRIU
  kPasst,        // all options after the queues; no window probe
  kWindowFirst,  // the window before the queues, without what is still to be queued; no probe
};
inline constexpr Order kOrders[] = {Order::kSoccr, Order::kPasst, Order::kWindowFirst};
const char* order_name(Order order);

// The connection on a new socket of the calling thread's network namespace. What comes in is
// dropped until unblock(): peers keep sending while connections are moved.
Result<Fd> restore(Order order, const Image& image);

// Drops all segments that come in, as a tool's firewall rule does, until the next one.
Result<void> block(const Fd& fd);
Result<void> unblock(const Fd& fd);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_RESTORE_IMAGE_H_

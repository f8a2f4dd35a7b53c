// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_BENCH_PLAIN_REPAIR_H_
#define SOCKREPAIR_BENCH_PLAIN_REPAIR_H_

#include <linux/tcp.h>
#include <sys/socket.h>

#include <cstdint>
#include <vector>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// What TCP_REPAIR asked of a checkpoint from its first version on, call by call, as a library made
// for it in 2012 has them: the state in one call each, no options of the socket, nothing that the
// connection has learned, established connections only. The measure for the library.
namespace sockrepair::bench {

struct PlainConnection {
  sockaddr_storage local{};
  sockaddr_storage peer{};
  socklen_t address_size = 0;
  std::uint8_t options = 0;  // tcpi_options
  std::uint8_t snd_wscale = 0;
  std::uint8_t rcv_wscale = 0;
  std::uint32_t mss_clamp = 0;
  std::uint32_t timestamp = 0;
  std::uint32_t rcv_seq = 0;
  std::uint32_t snd_seq = 0;
  tcp_repair_window window{};
  std::vector<char> receive_queue;
  std::vector<char> send_queue;
};

// The names are the caller's to find, as they were there. Leaves the socket in repair mode.
Result<void> plain_dump(int fd, PlainConnection& connection);

// In repair mode.
Result<Fd> plain_restore(const PlainConnection& connection);

// Ends repair mode.
Result<void> plain_resume(int fd);

}  // namespace sockrepair::bench

#endif  // SOCKREPAIR_BENCH_PLAIN_REPAIR_H_

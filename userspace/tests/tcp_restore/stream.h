// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_RESTORE_STREAM_H_
#define SOCKREPAIR_TESTS_TCP_RESTORE_STREAM_H_

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/deadline.h"

// One direction of a connection: bytes whose values follow from their position, so that one which
// is lost, doubled or another is seen. The two ends may change their sockets in between.
//
//   Stream down;
//   SOCKREPAIR_TRY(down.send(server, 3000));     // stays on its way
//   Result<Transfer> transfer = down.transfer(server, client, 1 << 20);
namespace sockrepair::test {

// What it took to bring bytes over.
struct Transfer {
  std::uint32_t segments = 0;       // with data, that the sender made
  std::uint32_t retransmitted = 0;  // of these
  std::chrono::milliseconds time{0};
};

class Stream {
 public:
  // Sends `length` bytes; they must fit into the socket.
  Result<void> send(const Fd& from, std::size_t length);

  // Sends `length` bytes and receives until everything that was ever sent has arrived. EBADMSG if
  // a byte is not the one that was sent, ETIMEDOUT if it takes longer than any machine needs.
  Result<Transfer> transfer(const Fd& from, const Fd& to, std::size_t length);

  // The same in pieces of 32 KiB, the next one when the one before has arrived: less than any
  // window, so that neither its edge nor the congestion window cuts a segment. How many there are
  // follows from the MSS alone.
  Result<Transfer> transfer_in_pieces(const Fd& from, const Fd& to, std::size_t length);

 private:
  Result<void> bring_over(const Fd& from, const Fd& to, std::uint64_t end, Deadline deadline);

  std::uint64_t sent_ = 0;
  std::uint64_t received_ = 0;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_RESTORE_STREAM_H_

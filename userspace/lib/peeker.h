// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_PEEKER_H_
#define SOCKREPAIR_LIB_PEEKER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "borrowed_options.h"
#include "sockrepair/udp_receive_queue.h"

namespace sockrepair::internal {

// A datagram that was peeked at.
struct Peeked {
  ReceivedDatagram datagram;
  // What it has and the kernel does not tell, "member: why". Empty: nothing is known to be missing.
  std::string missing;
};

// Reads the receive queue of a UDP socket by peeking, from the front to the back, every datagram
// once, those without a byte as well. Switches on what makes the kernel tell about a datagram.
//
//   SOCKREPAIR_TRY_ASSIGN(Peeker peeker, Peeker::open(fd));
//   SOCKREPAIR_TRY(peeker.read_on(datagrams));  // all that there are
//   ...                                         // more arrive
//   SOCKREPAIR_TRY(peeker.read_on(datagrams));  // these
//   SOCKREPAIR_TRY(peeker.close());             // the options are as they were
//
// Nobody else may receive from the socket, or set its peek offset, meanwhile.
class Peeker {
 public:
  static Result<Peeker> open(int fd);
  Peeker(Peeker&& other) noexcept;
  Peeker(const Peeker&) = delete;
  Peeker& operator=(const Peeker&) = delete;
  ~Peeker();

  // Appends what is behind the datagram read last.
  Result<void> read_on(std::vector<Peeked>& datagrams);

  // The datagram that begins `position` bytes after the front of the queue. With `skip_byte`
  // without its first byte, passing over those in front of it that have no byte, and without
  // marking them as seen; a datagram of one byte is passed over then, too. False: there is none
  // yet.
  Result<bool> look_at(std::size_t position, bool skip_byte, Peeked& datagram);

  // Puts all options back.
  Result<void> close();

  // SO_ERROR that was taken off the socket, 0: none.
  int pending_error() const { return pending_error_; }

 private:
  struct Buffers;

  Peeker(int fd, int domain, std::uint16_t local_port, int peek_offset);

  Result<void> switch_on(bool timestamps_new);
  // As recvmmsg() without waiting, into buffers_; 0 when the queue has no more.
  Result<std::size_t> receive(std::size_t count);
  Result<void> set_offset(int offset);

  int fd_;
  int domain_;
  std::uint16_t local_port_;
  int original_offset_;  // SO_PEEK_OFF of the program
  int offset_;           // SO_PEEK_OFF now
  bool open_ = true;
  bool begun_ = false;
  int pending_error_ = 0;
  BorrowedOptions borrowed_;
  std::unique_ptr<Buffers> buffers_;
};

// Memory that the receive queue takes, as counted against SO_RCVBUF.
Result<std::size_t> queue_memory(int fd);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_PEEKER_H_

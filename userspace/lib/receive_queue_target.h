// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_RECEIVE_QUEUE_TARGET_H_
#define SOCKREPAIR_LIB_RECEIVE_QUEUE_TARGET_H_

#include <string>

#include "sockrepair/udp_receive_queue.h"

// The socket that a receive queue is restored to.
namespace sockrepair::internal {

// "datagram 3: why"
Error refuse_datagram(int code, std::size_t index, const std::string& why);

// EPROTONOSUPPORT unless `fd` is a UDP socket; else its domain.
Result<int> udp_domain(int fd);

// Whether a socket of `domain` can hold the datagrams of `queue`, and each of them is one that
// exists. Looks at the queue first, then at the socket, and changes neither.
Result<void> check_receive_queue(int fd, int domain, const ReceiveQueue& queue);

// Room in the receive buffer for more than SO_RCVBUF allows, for a while.
class LargerBuffer {
 public:
  explicit LargerBuffer(int fd) : fd_(fd) {}
  LargerBuffer(const LargerBuffer&) = delete;
  LargerBuffer& operator=(const LargerBuffer&) = delete;
  ~LargerBuffer() { (void)put_back(); }

  // EPERM without CAP_NET_ADMIN over the whole machine.
  Result<void> enlarge();
  bool enlarged() const { return enlarged_; }
  Result<void> put_back();

 private:
  int fd_;
  bool enlarged_ = false;
  int size_ = 0;
  int lock_ = 0;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_RECEIVE_QUEUE_TARGET_H_

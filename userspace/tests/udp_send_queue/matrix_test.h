// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_SEND_QUEUE_MATRIX_TEST_H_
#define SOCKREPAIR_TESTS_UDP_SEND_QUEUE_MATRIX_TEST_H_

#include <ostream>
#include <string>

#include "udp_send_queue/twin_worlds.h"

namespace sockrepair::test {

// What keeps a datagram under construction.
enum class Keep {
  kCork,     // the socket option UDP_CORK
  kMsgMore,  // the flag MSG_MORE of every send but the last
};

// How much is in the datagram.
struct Size {
  const char* name;
  std::size_t v4_bytes;
  std::size_t v6_bytes;
  std::uint16_t gso_size;  // 0: no GSO
};

// One way to build a datagram.
struct SendKind {
  std::string name;
  Protocol protocol;
  bool connected;
  Keep keep;
  Size size;
  Transfer transfer;

  std::size_t bytes() const {
    return family_of(protocol) == Family::kIpv4 ? size.v4_bytes : size.v6_bytes;
  }
  // Datagrams that leave.
  std::size_t segments() const {
    return size.gso_size == 0 ? 1 : (bytes() + size.gso_size - 1) / size.gso_size;
  }
};

void PrintTo(const SendKind& kind, std::ostream* out);

class SendQueueMatrixTest : public TwinWorldsTest,
                            public ::testing::WithParamInterface<SendKind> {};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_SEND_QUEUE_MATRIX_TEST_H_

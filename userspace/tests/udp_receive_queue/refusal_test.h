// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_REFUSAL_TEST_H_
#define SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_REFUSAL_TEST_H_

#include <ostream>
#include <string>

#include "udp_receive_queue/program.h"

namespace sockrepair::test {

// A queue that a socket cannot have. Its first datagram is good, the second is changed.
struct RefusalKind {
  std::string name;
  Method method = Method::kStock;
  Speaks speaks = Speaks::kIpv4;    // the socket
  Speaks datagram = Speaks::kIpv4;  // what is to be restored
  void (*change)(ReceivedDatagram&) = nullptr;
  Result<void> (*prepare)(const Fd&) = nullptr;  // before it is bound
  int code = 0;
  const char* what = "";  // of the error
};

void PrintTo(const RefusalKind& kind, std::ostream* out);

class ReceiveQueueRefusalTest : public TwoPlacesTest,
                                public ::testing::WithParamInterface<RefusalKind> {};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_REFUSAL_TEST_H_

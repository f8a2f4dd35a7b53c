// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_SEND_QUEUE_REFUSAL_TEST_H_
#define SOCKREPAIR_TESTS_UDP_SEND_QUEUE_REFUSAL_TEST_H_

#include <ostream>
#include <string>
#include <vector>

#include "udp_send_queue/twin_worlds.h"

namespace sockrepair::test {

enum class Privileges { kAll, kNone };

// A restore that cannot be done.
struct RefusalKind {
  std::string name;
  // Of the datagram, and of the socket it is to get on.
  Protocol datagram;
  int domain = domain_of(datagram);
  int type = SOCK_DGRAM;
  std::uint16_t port = World::kSenderPort;  // 0: not bound
  std::vector<SocketOption> options = {};
  Privileges privileges = Privileges::kAll;
  // What is done to the dump of a plain datagram.
  void (*spoil)(SendQueue& queue) = nullptr;

  int code;
  std::string says;  // in the error, beginning with the member
};

void PrintTo(const RefusalKind& kind, std::ostream* out);

class SendQueueRefusalTest : public TwinWorldsTest,
                             public ::testing::WithParamInterface<RefusalKind> {};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_SEND_QUEUE_REFUSAL_TEST_H_

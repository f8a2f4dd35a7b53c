// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_SEND_QUEUE_MEMBER_TEST_H_
#define SOCKREPAIR_TESTS_UDP_SEND_QUEUE_MEMBER_TEST_H_

#include <ostream>
#include <string>
#include <vector>

#include "udp_send_queue/twin_worlds.h"

namespace sockrepair::test {

// One property of a datagram and the way the sender gives it.
struct MemberKind {
  std::string name;
  Protocol protocol;

  // Socket options that belong to the socket rather than to the datagram: a restorer sets them
  // before it restores, and so does the test.
  std::vector<SocketOption> both = {};
  // Socket options that the datagram takes over when it is begun. The restored-to socket does not
  // have them.
  std::vector<SocketOption> original = {};
  // With the send that begins the datagram.
  sockrepair::internal::ControlMessages control = {};
  int flags = 0;

  Endpoint bind = usual_source(protocol);
  Endpoint source = usual_source(protocol);  // that the packet has
  Endpoint destination = usual_destination(protocol);
  std::size_t bytes = 300;
  // Datagrams that a receiver gets, or if that is 0, frames that no receiver gets.
  std::size_t datagrams = 1;
  std::size_t frames = 0;
  // Makes comparable what is different each time a frame is made; nothing: all bytes are compared.
  void (*normalise)(Frame& frame) = nullptr;

  // Lines of SendQueue::describe() that must be there, and members that must not be given.
  std::vector<std::string> given = {};
  std::vector<std::string> not_given = {};
};

void PrintTo(const MemberKind& kind, std::ostream* out);

class SendQueueMemberTest : public TwinWorldsTest,
                            public ::testing::WithParamInterface<MemberKind> {};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_SEND_QUEUE_MEMBER_TEST_H_

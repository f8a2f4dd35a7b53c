// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_SEND_QUEUE_ABSENCE_TEST_H_
#define SOCKREPAIR_TESTS_UDP_SEND_QUEUE_ABSENCE_TEST_H_

#include <ostream>
#include <string>
#include <vector>

#include "udp_send_queue/twin_worlds.h"

namespace sockrepair::test {

// A socket option that datagrams take over when they are begun, set when one was already begun.
struct AbsenceKind {
  std::string name;
  Protocol protocol;
  std::vector<SocketOption> late;
};

void PrintTo(const AbsenceKind& kind, std::ostream* out);

class SendQueueAbsenceTest : public TwinWorldsTest,
                             public ::testing::WithParamInterface<AbsenceKind> {};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_SEND_QUEUE_ABSENCE_TEST_H_

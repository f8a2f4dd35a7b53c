// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_MATRIX_TEST_H_
#define SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_MATRIX_TEST_H_

#include <ostream>
#include <string>
#include <vector>

#include "udp_receive_queue/program.h"

namespace sockrepair::test {

// What waits, for each family.
struct Shape {
  std::string name;
  std::vector<Letter> v4;
  std::vector<Letter> v6;
};

struct QueueKind {
  std::string name;
  Method method;
  Speaks speaks;
  bool connected;
  Shape shape;

  const std::vector<Letter>& letters() const {
    return family_of(speaks) == Family::kIpv4 ? shape.v4 : shape.v6;
  }
};

void PrintTo(const QueueKind& kind, std::ostream* out);

class ReceiveQueueMatrixTest : public TwoPlacesTest,
                               public ::testing::WithParamInterface<QueueKind> {};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_MATRIX_TEST_H_

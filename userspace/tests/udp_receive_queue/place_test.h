// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_PLACE_TEST_H_
#define SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_PLACE_TEST_H_

#include <ostream>
#include <string>
#include <vector>

#include "udp_receive_queue/program.h"

namespace sockrepair::test {

// A datagram that came from somewhere to a socket, and what of it does not come back.
struct PlaceKind {
  std::string name;
  Method method = Method::kStock;
  Speaks speaks;
  const char* bound;  // address of the socket, with port kProgramPort
  const char* source;
  const char* destination;
  bool on_wire = true;  // came in by wire0; else by lo
  // Prepares the socket after it was bound.
  Result<void> (*prepare)(const NetNs&, const Fd&) = nullptr;
  void (*change)(ReceivedDatagram&) = nullptr;
  bool company = false;  // another socket is on the port
  // Members that the stock way loses.
  std::vector<std::string> lost = {};
};

void PrintTo(const PlaceKind& kind, std::ostream* out);

class ReceiveQueuePlaceTest : public TwoPlacesTest,
                              public ::testing::WithParamInterface<PlaceKind> {};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_PLACE_TEST_H_

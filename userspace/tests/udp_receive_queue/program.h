// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_PROGRAM_H_
#define SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_PROGRAM_H_

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sockrepair/udp_receive_queue.h"
#include "util/send.h"
#include "util/two_hosts.h"

namespace sockrepair::test {

// Which IP a socket speaks, and what arrives at it.
enum class Speaks { kIpv4, kIpv6, kMapped };

// "v4", "v6", "mapped"
const char* speaks_name(Speaks speaks);
int domain_of(Speaks speaks);
Family family_of(Speaks speaks);

// All that recvmsg() gives a program.
struct Message {
  struct Control {
    int level;
    int type;
    std::vector<std::uint8_t> data;
    bool operator==(const Control&) const = default;
  };

  Endpoint source;
  std::vector<std::uint8_t> payload;
  std::vector<Control> controls;
  int flags = 0;

  bool operator==(const Message&) const = default;
};

void PrintTo(const Message& message, std::ostream* out);

// A UDP socket of `ns` that asks for every control message there is, but for time stamps, and has
// room for megabytes. Not bound.
Result<Fd> open_program(const NetNs& ns, Speaks speaks);

// What waits on the socket, taken off it.
Result<std::vector<Message>> receive_all(const Fd& fd);

// A datagram to be sent to a program.
struct Letter {
  std::size_t bytes;
  std::uint8_t fill = 'a';  // every byte
  unsigned sender = 0;      // 0 to kSenders - 1
  int hop_limit = 64;
  int traffic_class = 0;
};

inline constexpr unsigned kSenders = 3;
inline constexpr std::uint16_t kProgramPort = 6000;

// Where the sender with this number sends from: two ports of one address, and another address.
Endpoint sender_endpoint(Speaks speaks, unsigned sender);
Endpoint program_endpoint(Speaks speaks);

// Sends `letters` to `to` from `host`, and waits after each until it is in the queue of `program`.
Result<void> deliver(const NetNs& host, Speaks speaks, const Fd& program, const Endpoint& to,
                     const std::vector<Letter>& letters);

// A suite with two pairs of hosts that are alike. In the first a program runs; in the second it is
// restored, where each source port is taken already, on every address.
class TwoPlacesTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();

  static const TwoHosts& first() { return places_[0]->hosts; }
  static const TwoHosts& second() { return places_[1]->hosts; }

 private:
  struct Place {
    TwoHosts hosts;
    std::vector<Fd> occupants;
  };
  static std::unique_ptr<Place> places_[2];
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_RECEIVE_QUEUE_PROGRAM_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_SEND_QUEUE_TWIN_WORLDS_H_
#define SOCKREPAIR_TESTS_UDP_SEND_QUEUE_TWIN_WORLDS_H_

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/udp_send_queue.h"
#include "util/receiver.h"
#include "util/send.h"
#include "util/two_hosts.h"
#include "util/wire_capture.h"

namespace sockrepair::test {

// Which IP a socket speaks, and which a datagram of it.
enum class Protocol {
  kIpv4,    // AF_INET
  kIpv6,    // AF_INET6
  kMapped,  // AF_INET6, with an IPv4-mapped peer
};

// "v4", "v6", "mapped"
const char* protocol_name(Protocol protocol);
inline void PrintTo(Protocol protocol, std::ostream* out) {
  *out << protocol_name(protocol);
}
int domain_of(Protocol protocol);
Family family_of(Protocol protocol);

// All that one receiver and its wire saw of a datagram (with GSO: of all of its segments).
struct Arrival {
  std::vector<Datagram> datagrams;
  std::vector<Frame> frames;
};

// Two hosts with a receiver for each family and a capture at the receiving end. The receivers are
// members of 239.1.2.3, ff05::1234 and ff02::1234; the sender also has 10.0.0.11 and fd00::11.
class World {
 public:
  static constexpr std::uint16_t kSenderPort = 4000;
  static constexpr std::uint16_t kReceiverPort = 5000;

  static Result<World> create(const TwoHosts::Options& options = {});

  // A UDP socket of the sending host, not bound.
  Result<Fd> socket(Protocol protocol) const;

  Receiver& receiver(Family family) { return family == Family::kIpv4 ? *v4_ : *v6_; }
  const TwoHosts& hosts() const { return hosts_; }

  // Waits for `count` datagrams, at least one, and takes the frames of their flow. EEXIST if there
  // were more, to either receiver.
  Result<Arrival> arrival(Family family, std::size_t count = 1);
  // Frames of a datagram that no receiver gets. Waits for `count`.
  Result<std::vector<Frame>> frames(const Endpoint& source, std::size_t count);
  // Throws away what is in the receivers and the capture.
  Result<void> clear();

 private:
  World(TwoHosts hosts, Receiver v4, Receiver v6, WireCapture wire);

  TwoHosts hosts_;
  std::optional<Receiver> v4_;
  std::optional<Receiver> v6_;
  std::optional<WireCapture> wire_;
};

// Where datagrams of the tests come from and go to unless they say otherwise.
Endpoint usual_source(Protocol protocol);
Endpoint usual_destination(Protocol protocol);

// A suite with two worlds that are alike: in the first the original sends, in the second what was
// restored from it, from the same address and port. Made once for the suite, empty for each test.
// Fails, rather than skips, on a kernel without UDP_REPAIR.
class TwinWorldsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  void SetUp() override;

  static World& original() { return *worlds_[0]; }
  static World& replica() { return *worlds_[1]; }

 private:
  static std::unique_ptr<World> worlds_[2];
};

// The differences between a dump and the dump of what was restored from it, but for the members
// that a restored datagram does not have: a zerocopy completion is due to the original only.
std::vector<std::string> unexpected_differences(SendQueue restored, const SendQueue& original);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_SEND_QUEUE_TWIN_WORLDS_H_

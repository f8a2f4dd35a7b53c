// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "udp_send_queue/twin_worlds.h"

#include <errno.h>

#include <algorithm>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/matchers.h"

namespace sockrepair::test {

const char* protocol_name(Protocol protocol) {
  switch (protocol) {
    case Protocol::kIpv4:
      return "v4";
    case Protocol::kIpv6:
      return "v6";
    case Protocol::kMapped:
      return "mapped";
  }
  return "?";
}

int domain_of(Protocol protocol) {
  return protocol == Protocol::kIpv4 ? AF_INET : AF_INET6;
}

Family family_of(Protocol protocol) {
  return protocol == Protocol::kIpv6 ? Family::kIpv6 : Family::kIpv4;
}

Endpoint usual_source(Protocol protocol) {
  return {sender_address(family_of(protocol)), World::kSenderPort, 0};
}

Endpoint usual_destination(Protocol protocol) {
  return {receiver_address(family_of(protocol)), World::kReceiverPort, 0};
}

World::World(TwoHosts hosts, Receiver v4, Receiver v6, WireCapture wire)
    : hosts_(std::move(hosts)), v4_(std::move(v4)), v6_(std::move(v6)), wire_(std::move(wire)) {}

Result<World> World::create(const TwoHosts::Options& options) {
  SOCKREPAIR_TRY_ASSIGN(TwoHosts hosts, TwoHosts::create(options));
  // Up to 7.3 at least, a corked datagram with a source route leaves with its last address as the
  // IP destination, not with its first, and the neighbour is looked for by that.
  SOCKREPAIR_TRY(
      hosts.sender.ip("address add 10.0.0.11/24 dev wire0\n"
                      "address add fd00::11/64 dev wire0 nodad\n"
                      "neighbour add 192.0.2.9 lladdr 02:00:00:00:00:02 dev wire0\n"));
  SOCKREPAIR_TRY_ASSIGN(Receiver v4, Receiver::open(hosts.receiver, {IpAddress::any(Family::kIpv4),
                                                                     kReceiverPort, 0}));
  SOCKREPAIR_TRY_ASSIGN(Receiver v6, Receiver::open(hosts.receiver, {IpAddress::any(Family::kIpv6),
                                                                     kReceiverPort, 0}));
  SOCKREPAIR_TRY_ASSIGN(WireCapture wire, WireCapture::open(hosts.receiver, kWire));
  SOCKREPAIR_TRY(v4.join(IpAddress::parse("239.1.2.3").value(), kWireIndex));
  SOCKREPAIR_TRY(v6.join(IpAddress::parse("ff05::1234").value(), kWireIndex));
  SOCKREPAIR_TRY(v6.join(IpAddress::parse("ff02::1234").value(), kWireIndex));
  return World(std::move(hosts), std::move(v4), std::move(v6), std::move(wire));
}

Result<Fd> World::socket(Protocol protocol) const {
  return hosts_.sender.run([&] { return sys::socket(domain_of(protocol), SOCK_DGRAM, 0); });
}

Result<Arrival> World::arrival(Family family, std::size_t count) {
  Receiver& from = receiver(family);
  Arrival result;
  for (std::size_t i = 0; i < count; ++i) {
    SOCKREPAIR_TRY_ASSIGN(Datagram datagram, from.receive());
    result.datagrams.push_back(std::move(datagram));
  }
  for (Receiver* any : {&*v4_, &*v6_}) {
    SOCKREPAIR_TRY_ASSIGN(std::vector<Datagram> rest, any->drain());
    if (!rest.empty()) return Error{EEXIST, "one more arrived: " + describe(rest[0])};
  }
  SOCKREPAIR_TRY_ASSIGN(result.frames, wire_->take({result.datagrams.at(0).source, kReceiverPort}));
  return result;
}

Result<std::vector<Frame>> World::frames(const Endpoint& source, std::size_t count) {
  return wire_->take({source, kReceiverPort}, count);
}

Result<void> World::clear() {
  SOCKREPAIR_TRY(v4_->drain());
  SOCKREPAIR_TRY(v6_->drain());
  SOCKREPAIR_TRY(wire_->take({{}, 0}));
  return {};
}

std::unique_ptr<World> TwinWorldsTest::worlds_[2];

void TwinWorldsTest::SetUpTestSuite() {
  for (auto& world : worlds_) {
    ASSERT_OK_AND_ASSIGN(World made, World::create());
    world = std::make_unique<World>(std::move(made));
  }
}

void TwinWorldsTest::TearDownTestSuite() {
  for (auto& world : worlds_) world.reset();
}

void TwinWorldsTest::SetUp() {
  ASSERT_NE(worlds_[0], nullptr);
  ASSERT_NE(worlds_[1], nullptr);
  ASSERT_OK_AND_ASSIGN(Fd fd, original().socket(Protocol::kIpv4));
  ASSERT_THAT(get_udp_repair(fd), IsOkAndHolds(false))
      << "a kernel with UDP_REPAIR (CONFIG_INET_REPAIR) is needed";
  ASSERT_THAT(original().clear(), IsOk());
  ASSERT_THAT(replica().clear(), IsOk());
}

std::vector<std::string> unexpected_differences(SendQueue restored, const SendQueue& original) {
  restored.zerocopy = original.zerocopy;
  return differences(restored, original);
}

}  // namespace sockrepair::test

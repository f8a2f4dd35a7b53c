// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_RECEIVER_H_
#define SOCKREPAIR_TESTS_UTIL_RECEIVER_H_

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/deadline.h"
#include "util/net_ns.h"

namespace sockrepair::test {

// A datagram with all that the receiving kernel tells about it. A value.
struct Datagram {
  using Bytes = std::vector<std::uint8_t>;

  Bytes payload;
  Endpoint source;
  IpAddress destination;                    // of the packet (PKTINFO)
  unsigned ifindex = 0;                     // where it came in
  std::optional<int> hop_limit;             // or TTL
  std::optional<int> traffic_class;         // or TOS
  std::optional<std::uint32_t> flow_label;  // host byte order, without the traffic class
  std::optional<std::uint32_t> mark;        // survives only on lo: veth takes it away
  std::optional<std::uint32_t> priority;    // likewise
  std::optional<int> fragment_size;         // of the largest fragment, if it came in fragments
  Bytes ip_options;
  Bytes hop_by_hop;
  Bytes routing;
  std::vector<Bytes> destination_options;  // in the order of the packet

  bool operator==(const Datagram&) const = default;
};

// "67 bytes from 10.0.0.1:4000 to 10.0.0.2, hop_limit 64, ..." on one line.
std::string describe(const Datagram& datagram);
void PrintTo(const Datagram& datagram, std::ostream* out);

// A UDP socket that asks for every control message there is about received datagrams.
//
//   ASSERT_OK_AND_ASSIGN(Receiver receiver,
//                        Receiver::open(hosts.receiver, {receiver_address(Family::kIpv6), 5000}));
//   ...
//   ASSERT_OK_AND_ASSIGN(Datagram got, receiver.receive());
//   EXPECT_EQ(got.hop_limit, 3);
//   EXPECT_THAT(receiver.drain(), IsOkAndHolds(IsEmpty()));
class Receiver {
 public:
  // `address` decides about AF_INET or AF_INET6; its port may be 0.
  static Result<Receiver> open(const NetNs& ns, const Endpoint& address);

  // The next datagram. ETIMEDOUT when none comes before the deadline.
  Result<Datagram> receive(Deadline deadline = Deadline::after(kPatience));

  // What has already arrived, without waiting. Sending over veth or lo is done when a datagram is
  // in the queue of the receiver, but it need not be there when the sending call returns: receive()
  // what must come, then drain() what must not.
  Result<std::vector<Datagram>> drain();

  // Joins `group` on `interface`.
  Result<void> join(const IpAddress& group, unsigned ifindex);

  const Endpoint& address() const { return address_; }
  const Fd& fd() const { return fd_; }

 private:
  Receiver(Fd fd, Endpoint address) : fd_(std::move(fd)), address_(std::move(address)) {}

  Fd fd_;
  Endpoint address_;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_RECEIVER_H_

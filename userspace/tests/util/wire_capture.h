// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_WIRE_CAPTURE_H_
#define SOCKREPAIR_TESTS_UTIL_WIRE_CAPTURE_H_

#include <gmock/gmock.h>

#include <cstdint>
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

// One frame as it came off the wire, from its Ethernet header on, normalised as below.
using Frame = std::vector<std::uint8_t>;

// All frames that an interface receives, of one UDP flow at a time.
//
//   ASSERT_OK_AND_ASSIGN(WireCapture wire, WireCapture::open(hosts.receiver, kWire));
//   ... one socket sends, the datagram arrives ...
//   ASSERT_OK_AND_ASSIGN(std::vector<Frame> first, wire.take(flow));
//   ... the other one sends, the datagram arrives ...
//   EXPECT_THAT(wire.take(flow), IsOkAndHolds(SameFrames(first)));
//
// Frames reach the capture before they reach a socket: when a datagram has been received, all of
// its frames are here.
//
// Two datagrams that were sent alike still differ in one number that the kernel draws for each:
// the identification field of IPv4, and of the IPv6 fragment header. take() replaces it by 1 for
// the first value in a take, 2 for the second, and so on: that fragments belong together remains
// visible. 0 can be drawn like any other. The IPv4 header checksum covers the field: it is checked,
// then set to 0; a wrong one is an error. The UDP checksum covers none of it and is compared as it
// is. Nothing else is touched.
class WireCapture {
 public:
  static Result<WireCapture> open(const NetNs& ns, const std::string& interface);

  // Frames that carry UDP from `source` to `destination_port`, with all of their fragments, in
  // order of arrival. Frames of other flows are thrown away.
  struct Flow {
    Endpoint source;
    std::uint16_t destination_port;
  };
  Result<std::vector<Frame>> take(const Flow& flow);

  // For what no socket receives: waits until there are `count`, then takes them.
  Result<std::vector<Frame>> take(const Flow& flow, std::size_t count,
                                  Deadline deadline = Deadline::after(kPatience));

 private:
  explicit WireCapture(Fd fd) : fd_(std::move(fd)) {}
  Result<void> read_all();

  Fd fd_;
  std::vector<Frame> raw_;
};

// Where IP and UDP are in a frame; for looking at single fields.
struct FrameView {
  std::size_t ip;       // offset of the IPv4 or IPv6 header
  std::size_t payload;  // offset of what follows the IP header and IPv6 extension headers
  bool fragment;
  bool first_fragment;  // also true if not a fragment: a UDP header is at `payload`
};
Result<FrameView> view_frame(const Frame& frame);

// "1500 bytes 020000000002... " for messages.
std::string describe_frame(const Frame& frame);

// Frame for frame, byte for byte the same; says which frame differs, and where.
MATCHER_P(SameFrames, want, negation ? "are other frames" : "are the same frames") {
  if (arg.size() != want.size())
    *result_listener << "\n  " << arg.size() << " frames, not " << want.size();
  for (std::size_t i = 0; i < std::min<std::size_t>(arg.size(), want.size()); ++i) {
    if (arg[i] == want[i]) continue;
    auto at = std::mismatch(arg[i].begin(), arg[i].end(), want[i].begin(), want[i].end());
    *result_listener << "\n  frame " << i << " from byte " << (at.first - arg[i].begin())
                     << " on:\n    " << describe_frame(arg[i]) << "\n  not\n    "
                     << describe_frame(want[i]);
    return false;
  }
  return arg.size() == want.size();
}

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_WIRE_CAPTURE_H_

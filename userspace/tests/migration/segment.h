// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_SEGMENT_H_
#define SOCKREPAIR_TESTS_MIGRATION_SEGMENT_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "sockrepair/address.h"

namespace sockrepair::test {

// Who stands at an end of a connection that moves. Hosts are known by the last byte of the MAC
// address of a frame.
enum class Station : std::uint8_t { kPeer, kSource, kDestination };
const char* station_name(Station station);

// What the judge of a capture looks at: a TCP segment, its numbers in host byte order. Small, as
// there are many of them.
struct Segment {
  std::int64_t time_ns = 0;  // of the capture's clock
  Station from = Station::kPeer;
  Station to = Station::kPeer;
  std::uint8_t flags = 0;               // TH_SYN, TH_ACK, ...
  std::optional<std::uint8_t> scale{};  // of a SYN
  std::uint32_t seq = 0;
  std::uint32_t ack = 0;  // if TH_ACK
  std::uint16_t window = 0;
  std::uint16_t length = 0;  // bytes of data
  bool has_timestamp = false;
  std::uint32_t tsval = 0;
  std::uint32_t tsecr = 0;

  // The sequence number behind this segment; SYN and FIN count.
  std::uint32_t end() const;
  // "source -> peer: seq 17 +1448, ack 4, window 500, TS 7 3, flags 0x10"
  std::string describe() const;
};

// Sequence numbers and timestamps, modulo 2^32.
constexpr bool before(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::int32_t>(a - b) < 0;
}

// Which frames belong to the connection.
struct Flow {
  Endpoint moved;  // the end that moves
  Endpoint peer;
};

// What `frame`, an Ethernet frame of which only the beginning may be there, says of the connection.
// Nothing: it belongs to another one, or is not TCP. The MAC addresses decide who sent it: `moved`
// sends from those of a source or destination, and is sent to there.
std::optional<Segment> parse_segment(std::span<const std::uint8_t> frame, const Flow& flow);

// The MAC address of a host as its last byte; the others are the same for all: 02:00:00:00:00:NN.
constexpr std::uint8_t mac_byte(Station station) {
  return static_cast<std::uint8_t>(static_cast<unsigned>(station) + 1);
}
std::string mac_address(Station station);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_SEGMENT_H_

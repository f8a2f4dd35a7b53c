// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/segment.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include <array>
#include <cstdio>
#include <iterator>

namespace sockrepair::test {

namespace {

constexpr std::size_t kIpv4Header = 20;
constexpr std::size_t kIpv6Header = 40;
constexpr std::size_t kTcpHeader = 20;
constexpr std::size_t kMacSize = 6;

constexpr const char* kStationNames[] = {"peer", "source", "destination"};

using Bytes = std::span<const std::uint8_t>;

std::uint16_t word(Bytes bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

std::uint32_t number(Bytes bytes, std::size_t at) {
  return static_cast<std::uint32_t>(word(bytes, at)) << 16 | word(bytes, at + 2);
}

std::optional<Station> station_of(Bytes mac) {
  for (std::size_t i = 0; i < std::size(kStationNames); ++i) {
    const auto station = static_cast<Station>(i);
    const std::array<std::uint8_t, kMacSize> its = {2, 0, 0, 0, 0, mac_byte(station)};
    if (memcmp(mac.data(), its.data(), kMacSize) == 0) return station;
  }
  return std::nullopt;
}

IpAddress address_at(Bytes packet, std::size_t at, Family family) {
  in_addr v4{};
  in6_addr v6{};
  if (family == Family::kIpv4) {
    memcpy(&v4, &packet[at], sizeof(v4));
    return IpAddress(v4);
  }
  memcpy(&v6, &packet[at], sizeof(v6));
  return IpAddress(v6);
}

// Where TCP is in a packet, and how long TCP header and data are together.
struct Transport {
  Family family;
  std::size_t at;
  std::size_t length;
  std::size_t source;  // where the addresses are
  std::size_t destination;
};

std::optional<Transport> find_tcp(Bytes packet, std::uint16_t protocol) {
  if (protocol == ETH_P_IP && packet.size() >= kIpv4Header) {
    const std::size_t header = (packet[0] & 15U) * 4U;
    const std::size_t total = word(packet, 2);
    if (packet[9] != IPPROTO_TCP || header < kIpv4Header || total < header) return std::nullopt;
    return Transport{Family::kIpv4, header, total - header, 12, 16};
  }
  if (protocol == ETH_P_IPV6 && packet.size() >= kIpv6Header && packet[6] == IPPROTO_TCP)
    return Transport{Family::kIpv6, kIpv6Header, word(packet, 4), 8, 24};
  return std::nullopt;
}

void parse_options(Bytes options, Segment& segment) {
  for (std::size_t at = 0; at < options.size();) {
    const std::uint8_t kind = options[at];
    if (kind == TCPOPT_EOL) return;
    if (kind == TCPOPT_NOP) {
      ++at;
      continue;
    }
    if (at + 1 >= options.size()) return;
    const std::size_t length = options[at + 1];
    if (length < 2 || at + length > options.size()) return;
    if (kind == TCPOPT_TIMESTAMP && length == TCPOLEN_TIMESTAMP) {
      segment.has_timestamp = true;
      segment.tsval = number(options, at + 2);
      segment.tsecr = number(options, at + 6);
    } else if (kind == TCPOPT_WINDOW && length == TCPOLEN_WINDOW) {
      segment.scale = options[at + 2];
    }
    at += length;
  }
}

}  // namespace

const char* station_name(Station station) {
  return kStationNames[static_cast<std::size_t>(station)];
}

std::string mac_address(Station station) {
  return "02:00:00:00:00:0" + std::to_string(mac_byte(station));
}

std::uint32_t Segment::end() const {
  return seq + length + ((flags & TH_SYN) != 0 ? 1 : 0) + ((flags & TH_FIN) != 0 ? 1 : 0);
}

std::string Segment::describe() const {
  std::array<char, 200> text{};
  snprintf(text.data(), text.size(),
           "%s -> %s at %.6f s: seq %u +%u, ack %u, window %u, TS %u %u, flags 0x%02x",
           station_name(from), station_name(to), static_cast<double>(time_ns) / 1e9, seq, length,
           ack, window, tsval, tsecr, flags);
  return text.data();
}

std::optional<Segment> parse_segment(std::span<const std::uint8_t> frame, const Flow& flow) {
  if (frame.size() < ETH_HLEN) return std::nullopt;
  const Bytes packet = frame.subspan(ETH_HLEN);
  const std::optional<Transport> tcp = find_tcp(packet, word(frame, 12));
  if (!tcp || packet.size() < tcp->at + kTcpHeader) return std::nullopt;
  const Bytes header = packet.subspan(tcp->at);
  const std::size_t header_length = (header[12] >> 4) * 4U;
  if (header_length < kTcpHeader || header.size() < header_length || tcp->length < header_length)
    return std::nullopt;

  const Endpoint source{address_at(packet, tcp->source, tcp->family), word(header, 0), 0};
  const Endpoint destination{address_at(packet, tcp->destination, tcp->family), word(header, 2), 0};
  const bool outbound = source == flow.moved && destination == flow.peer;
  if (!outbound && !(source == flow.peer && destination == flow.moved)) return std::nullopt;
  const std::optional<Station> from = station_of(frame.subspan(kMacSize));
  const std::optional<Station> to = station_of(frame);
  if (!from || !to || (*from == Station::kPeer) == outbound) return std::nullopt;

  Segment segment;
  segment.from = *from;
  segment.to = *to;
  segment.flags = header[13];
  segment.seq = number(header, 4);
  segment.ack = number(header, 8);
  segment.window = word(header, 14);
  segment.length = static_cast<std::uint16_t>(tcp->length - header_length);
  parse_options(header.subspan(kTcpHeader, header_length - kTcpHeader), segment);
  return segment;
}

}  // namespace sockrepair::test

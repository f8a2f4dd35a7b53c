// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "packet.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <string.h>

#include <algorithm>
#include <span>
#include <type_traits>

#include "internet_sum.h"

namespace sockrepair::internal {

namespace {

using Packet = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

constexpr std::uint8_t kDefaultHopLimit = 64;
constexpr std::size_t kFragmentUnit = 8;
constexpr std::size_t kIpv6MinimumMtu = 1280;

template <typename Header>
requires std::is_trivially_copyable_v<Header>
void append_struct(Packet& packet, const Header& header) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(&header);
  packet.insert(packet.end(), begin, begin + sizeof(header));
}

void append(Packet& packet, View bytes) {
  packet.insert(packet.end(), bytes.begin(), bytes.end());
}

// The UDP header, with the checksum over the pseudo header and all that follows.
udphdr udp_header(const ReceivedDatagram& datagram) {
  std::uint32_t length = static_cast<std::uint32_t>(sizeof(udphdr) + datagram.payload.size());
  udphdr udp{};
  udp.source = htons(datagram.source.port);
  udp.dest = htons(datagram.destination.port);
  udp.len = htons(static_cast<std::uint16_t>(length));

  std::uint64_t total = htonl(length);
  total += htons(IPPROTO_UDP);
  for (const IpAddress* address : {&datagram.source.address, &datagram.destination.address})
    total = internet_sum({address->data(), address->size()}, total);
  total = internet_sum({reinterpret_cast<const std::uint8_t*>(&udp), sizeof(udp)}, total);
  total = internet_sum(datagram.payload, total);
  // 0 says that there is no checksum.
  auto checksum = static_cast<std::uint16_t>(~fold_sum(total));
  udp.check = checksum == 0 ? 0xffff : checksum;
  return udp;
}

Packet build_ipv4(const ReceivedDatagram& datagram) {
  iphdr ip{};
  std::size_t header = sizeof(ip) + datagram.headers.size();
  std::size_t total = header + sizeof(udphdr) + datagram.payload.size();
  ip.version = 4;
  ip.ihl = static_cast<unsigned>(header / 4) & 0xf;
  ip.tos = datagram.traffic_class.value_or(0);
  ip.tot_len = htons(static_cast<std::uint16_t>(total));
  ip.ttl = datagram.hop_limit.value_or(kDefaultHopLimit);
  ip.protocol = IPPROTO_UDP;
  ip.saddr = datagram.source.address.v4().s_addr;
  ip.daddr = datagram.destination.address.v4().s_addr;

  Packet packet;
  packet.reserve(total);
  append_struct(packet, ip);
  append(packet, datagram.headers);
  append_struct(packet, udp_header(datagram));
  append(packet, datagram.payload);
  return packet;
}

ip6_hdr ipv6_header(const ReceivedDatagram& datagram, std::size_t length) {
  ip6_hdr ip{};
  ip.ip6_flow =
      htonl(6U << 28 | static_cast<std::uint32_t>(datagram.traffic_class.value_or(0)) << 20 |
            datagram.flow_label.value_or(0));
  ip.ip6_plen = htons(static_cast<std::uint16_t>(length));
  ip.ip6_nxt = datagram.next_header;
  ip.ip6_hlim = datagram.hop_limit.value_or(kDefaultHopLimit);
  ip.ip6_src = datagram.source.address.v6();
  ip.ip6_dst = datagram.destination.address.v6();
  return ip;
}

// The type of the last extension header's successor, which becomes a fragment header.
void end_chain_with_fragment(Packet& headers, std::uint8_t& next_header) {
  std::uint8_t* next = &next_header;
  for (std::size_t at = 0; at < headers.size();) {
    bool fragment = *next == IPPROTO_FRAGMENT;
    next = &headers[at];
    at += fragment ? sizeof(ip6_frag) : (headers[at + 1] + 1U) * 8U;
  }
  *next = IPPROTO_FRAGMENT;
}

std::vector<Packet> build_ipv6(const ReceivedDatagram& datagram, std::size_t mtu) {
  Packet body;
  body.reserve(sizeof(udphdr) + datagram.payload.size());
  append_struct(body, udp_header(datagram));
  append(body, datagram.payload);

  std::size_t before = sizeof(ip6_hdr) + datagram.headers.size();
  if (before + body.size() <= mtu) {
    Packet packet;
    packet.reserve(before + body.size());
    append_struct(packet, ipv6_header(datagram, datagram.headers.size() + body.size()));
    append(packet, datagram.headers);
    append(packet, body);
    return {packet};
  }

  // All extension headers go with each fragment.
  Packet headers = datagram.headers;
  ip6_hdr ip = ipv6_header(datagram, 0);
  end_chain_with_fragment(headers, ip.ip6_nxt);
  before += sizeof(ip6_frag);
  std::size_t room = std::max(mtu, kIpv6MinimumMtu) > before + kFragmentUnit
                         ? (std::max(mtu, kIpv6MinimumMtu) - before) / kFragmentUnit * kFragmentUnit
                         : kFragmentUnit;
  std::vector<Packet> packets;
  for (std::size_t at = 0; at < body.size(); at += room) {
    View part = View(body).subspan(at, std::min(room, body.size() - at));
    bool last = at + part.size() == body.size();
    ip6_frag fragment{};
    fragment.ip6f_nxt = IPPROTO_UDP;
    fragment.ip6f_offlg = htons(static_cast<std::uint16_t>(at)) |  //
                          (last ? 0 : static_cast<std::uint16_t>(IP6F_MORE_FRAG));
    // One datagram is sent at a time: all can have the same identification.
    fragment.ip6f_ident = htonl(1);
    ip.ip6_plen =
        htons(static_cast<std::uint16_t>(headers.size() + sizeof(fragment) + part.size()));
    Packet& packet = packets.emplace_back();
    append_struct(packet, ip);
    append(packet, headers);
    append_struct(packet, fragment);
    append(packet, part);
  }
  return packets;
}

}  // namespace

std::vector<Packet> build_packets(const ReceivedDatagram& datagram, std::size_t mtu) {
  if (datagram.family == Family::kIpv4) return {build_ipv4(datagram)};
  return build_ipv6(datagram, mtu);
}

}  // namespace sockrepair::internal

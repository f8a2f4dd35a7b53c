// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "receive_queue_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "internet_sum.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

using View = std::span<const std::uint8_t>;

constexpr std::size_t kIpOptionsMax = 40;
constexpr std::size_t kIpv4Header = 20;
constexpr std::size_t kUdpHeader = 8;
constexpr std::size_t kIpLengthMax = 65535;
constexpr std::uint32_t kFlowLabelMax = 0xfffff;
constexpr std::size_t kSegmentsMax = 128;  // UDP_MAX_SEGMENTS
constexpr std::size_t kEntryAlignment = 8;
constexpr std::uint8_t kDefaultHopLimit = 64;

// Header lists.

// Options that a datagram can have once, and what the kernel looks at when it makes an answer's
// options of them: `length` bytes at least, and a pointer that is not less than `pointer`.
struct PointedOption {
  std::uint8_t type;
  std::uint8_t length;
  std::uint8_t pointer;
};

constexpr PointedOption kPointedOptions[] = {
    {IPOPT_RR, 3, 4},
    {IPOPT_TS, 4, 5},
    {IPOPT_LSRR, 3, 4},
    {IPOPT_SSRR, 3, 4},
};
constexpr std::size_t kRouterAlertLength = 4;

bool good_ip_option(View option) {
  if (option[0] == IPOPT_RA) return option.size() >= kRouterAlertLength;
  for (const PointedOption& row : kPointedOptions)
    if (option[0] == row.type) return option.size() >= row.length && option[2] >= row.pointer;
  return true;
}

// The options that end the list and fill it have no length byte.
bool whole_ip_options(View options) {
  if (options.size() > kIpOptionsMax || options.size() % 4 != 0) return false;
  std::vector<std::uint8_t> seen;
  for (std::size_t at = 0; at < options.size();) {
    std::uint8_t type = options[at];
    if (type == IPOPT_EOL) return true;
    if (type == IPOPT_NOP) {
      ++at;
      continue;
    }
    if (at + 1 >= options.size() || options[at + 1] < 2 || options[at + 1] > options.size() - at)
      return false;
    View option = options.subspan(at, options[at + 1]);
    if (!good_ip_option(option)) return false;
    // A loose and a strict route are the same to the kernel.
    if (type == IPOPT_SSRR) type = IPOPT_LSRR;
    bool once = std::any_of(std::begin(kPointedOptions), std::end(kPointedOptions),
                            [type](const PointedOption& row) { return row.type == type; });
    if (once && std::count(seen.begin(), seen.end(), type) != 0) return false;
    seen.push_back(type);
    at += option.size();
  }
  return true;
}

// The options of a hop-by-hop or destination options header fill it.
bool whole_header_options(View header) {
  for (std::size_t at = 2; at < header.size();) {
    if (header[at] == IP6OPT_PAD1) {
      ++at;
      continue;
    }
    if (header.size() - at < 2 || header[at + 1] > header.size() - at - 2) return false;
    at += 2U + header[at + 1];
  }
  return true;
}

// A chain that leads from `next` to UDP and ends there, of headers that a datagram still has when
// it reaches a socket. Each says the type of the one after it and its own length.
bool whole_extension_headers(View headers, std::uint8_t next) {
  for (std::size_t at = 0; at < headers.size();) {
    if (headers.size() - at < 8) return false;
    // Only a fragment header of the whole datagram remains.
    std::size_t length = next == IPPROTO_FRAGMENT ? 8U : (headers[at + 1] + 1U) * 8U;
    if (length > headers.size() - at) return false;
    View header = headers.subspan(at, length);
    switch (next) {
      case IPPROTO_HOPOPTS:
        if (at != 0 || !whole_header_options(header)) return false;
        break;
      case IPPROTO_DSTOPTS:
        if (!whole_header_options(header)) return false;
        break;
      case IPPROTO_ROUTING:
      case IPPROTO_FRAGMENT:
        break;
      default:
        return false;
    }
    next = header[0];
    at += length;
  }
  return next == IPPROTO_UDP;
}

std::size_t payload_room(const ReceivedDatagram& d) {
  std::size_t headers =
      kUdpHeader + d.headers.size() + (d.family == Family::kIpv4 ? kIpv4Header : 0);
  return headers > kIpLengthMax ? 0 : kIpLengthMax - headers;
}

// Addresses.

void put_address(const IpAddress& address, __be32 (&words)[4]) {
  memset(words, 0, sizeof(words));
  memcpy(words, address.data(), address.size());
}

IpAddress get_address(const udp_repair_datagram& wire, const __be32 (&words)[4]) {
  if (wire.family == AF_INET) return IpAddress(in_addr{words[0]});
  in6_addr v6{};
  memcpy(&v6, words, sizeof(v6));
  return IpAddress(v6);
}

// Of one host; not an IPv6 address that stands for an IPv4 one.
bool is_host_address(const IpAddress& address) {
  if (address.is_multicast()) return false;
  if (address.family() == Family::kIpv4) return address.v4().s_addr != INADDR_BROADCAST;
  in6_addr v6 = address.v6();
  return !IN6_IS_ADDR_V4MAPPED(&v6);
}

bool is_mapped(const IpAddress& address) {
  if (address.family() == Family::kIpv4) return false;
  in6_addr v6 = address.v6();
  return IN6_IS_ADDR_V4MAPPED(&v6);
}

// What the scope of a link-local address is. In a VRF that is not the interface that a program is
// told.
std::uint32_t scope_of(const ReceivedDatagram& d) {
  return (d.l3slave ? d.device : d.ifindex).value_or(0);
}

// 0 in the kernel's struct: none.
template <typename T>
std::optional<T> unless_zero(T value) {
  return value == 0 ? std::nullopt : std::optional<T>(value);
}

constexpr auto kAlways = [](const ReceivedDatagram&) { return true; };
constexpr auto kFitsType = kAlways;

// A member that is 0 in the kernel's struct when the datagram does not have it.
template <auto Member, auto Field>
constexpr DatagramRow zero_is_none(const char* name, std::optional<Family> family,
                                   const char* limit, bool (*valid)(const ReceivedDatagram&)) {
  return {
      name,
      family,
      limit,
      [](const ReceivedDatagram& d) { return (d.*Member).has_value(); },
      valid,
      [](const ReceivedDatagram& d, udp_repair_datagram& w) { w.*Field = (d.*Member).value_or(0); },
      [](const udp_repair_datagram& w, ReceivedDatagram& d) { d.*Member = unless_zero(w.*Field); }};
}

template <auto Member>
bool not_zero(const ReceivedDatagram& d) {
  return d.*Member != 0;
}

// A time stamp is a signed number of nanoseconds in the kernel.
template <auto Member>
bool valid_time(const ReceivedDatagram& d) {
  return d.*Member > 0 && d.*Member <= std::numeric_limits<std::int64_t>::max();
}

// A member that the kernel's struct always has a value for.
template <auto Member, auto Field, std::uint8_t kOtherwise>
constexpr DatagramRow always_given(const char* name, const char* limit) {
  return {name,
          std::nullopt,
          limit,
          kAlways,
          kFitsType,
          [](const ReceivedDatagram& d, udp_repair_datagram& w) {
            w.*Field = (d.*Member).value_or(kOtherwise);
          },
          [](const udp_repair_datagram& w, ReceivedDatagram& d) { d.*Member = w.*Field; }};
}

using D = ReceivedDatagram;
using W = udp_repair_datagram;

constexpr DatagramRow kRows[] = {
    // First: the addresses are read by it.
    {"family", std::nullopt, "must be IPv4 or IPv6", kAlways,
     [](const D& d) { return d.family == Family::kIpv4 || d.family == Family::kIpv6; },
     [](const D& d, W& w) { w.family = d.family == Family::kIpv4 ? AF_INET : AF_INET6; },
     [](const W& w, D& d) { d.family = w.family == AF_INET ? Family::kIpv4 : Family::kIpv6; }},
    // Before the source, whose scope it is.
    zero_is_none<&D::ifindex, &W::ifindex>("ifindex", std::nullopt, "must not be 0",
                                           not_zero<&D::ifindex>),
    zero_is_none<&D::device, &W::iif>("device", std::nullopt, "must not be 0",
                                      not_zero<&D::device>),
    {"source", std::nullopt,
     "must be an address of one host, of the datagram's family; if it is link-local its scope must "
     "be ifindex (with l3slave device), else 0",
     kAlways,
     [](const D& d) {
       const IpAddress& address = d.source.address;
       bool scoped = address.is_link_local();
       return address.family() == d.family && is_host_address(address) &&
              d.source.scope == (scoped ? scope_of(d) : 0) && scoped == (d.source.scope != 0);
     },
     [](const D& d, W& w) {
       put_address(d.source.address, w.saddr);
       w.sport = htons(d.source.port);
     },
     [](const W& w, D& d) {
       d.source = {get_address(w, w.saddr), ntohs(w.sport), 0};
       bool l3slave = (w.flags & UDP_REPAIR_RQ_L3SLAVE) != 0;
       if (d.source.address.is_link_local()) d.source.scope = l3slave ? w.iif : w.ifindex;
     }},
    {"destination", std::nullopt,
     "must be an address of the datagram's family with a port, and without a scope; ifindex (with "
     "l3slave device) has to be given if it is link-local",
     kAlways,
     [](const D& d) {
       const IpAddress& address = d.destination.address;
       return address.family() == d.family && d.destination.port != 0 && d.destination.scope == 0 &&
              !address.is_any() && !is_mapped(address) &&
              (!address.is_link_local() || scope_of(d) != 0);
     },
     [](const D& d, W& w) {
       put_address(d.destination.address, w.daddr);
       w.dport = htons(d.destination.port);
     },
     [](const W& w, D& d) {
       d.destination = {get_address(w, w.daddr), ntohs(w.dport), 0};
     }},
    {"local", Family::kIpv4, "must be an IPv4 address of one host",
     [](const D& d) { return d.local.has_value(); },
     [](const D& d) { return d.local->family() == Family::kIpv4 && is_host_address(*d.local); },
     [](const D& d, W& w) { w.spec_dst = d.local ? d.local->v4().s_addr : 0; },
     [](const W& w, D& d) {
       d.local = w.spec_dst == 0 ? std::nullopt : std::optional(IpAddress(in_addr{w.spec_dst}));
     }},
    always_given<&D::hop_limit, &W::hop_limit, kDefaultHopLimit>("hop_limit", "must be 0 to 255"),
    always_given<&D::traffic_class, &W::tclass, 0>("traffic_class", "must be 0 to 255"),
    {"flow_label", Family::kIpv6, "must be 0 to 0xfffff",
     [](const D& d) { return d.flow_label.has_value(); },
     [](const D& d) { return *d.flow_label <= kFlowLabelMax; },
     [](const D& d, W& w) { w.flowlabel = htonl(d.flow_label.value_or(0)); },
     [](const W& w, D& d) {
       if (d.family == Family::kIpv6) d.flow_label = ntohl(w.flowlabel);
     }},
    always_given<&D::mark, &W::mark, 0>("mark", "must be 0 to 0xffffffff"),
    always_given<&D::priority, &W::priority, 0>("priority", "must be 0 to 0xffffffff"),
    zero_is_none<&D::timestamp, &W::tstamp>("timestamp", std::nullopt, "must be 1 to 2^63 - 1 ns",
                                            valid_time<&D::timestamp>),
    zero_is_none<&D::hardware_timestamp, &W::hwtstamp>("hardware_timestamp", std::nullopt,
                                                       "must be 1 to 2^63 - 1 ns",
                                                       valid_time<&D::hardware_timestamp>),
    zero_is_none<&D::gro_size, &W::gso_size>(
        "gro_size", std::nullopt, "must be 1 to less than the payload, for at most 128 segments",
        [](const D& d) {
          return d.gro_size != 0 && *d.gro_size < d.payload.size() &&
                 (d.payload.size() + *d.gro_size - 1) / *d.gro_size <= kSegmentsMax;
        }),
    {"fragment_size", std::nullopt, "must be 1 to 65535",
     [](const D& d) { return d.fragment_size.has_value(); },
     [](const D& d) { return d.fragment_size != 0 && *d.fragment_size <= kIpLengthMax; },
     [](const D& d, W& w) { w.frag_max_size = static_cast<__u16>(d.fragment_size.value_or(0)); },
     [](const W& w, D& d) { d.fragment_size = unless_zero<std::uint32_t>(w.frag_max_size); }},
    {"checksum", std::nullopt, "must be the sum of the payload",
     [](const D& d) { return d.checksum.has_value(); },
     [](const D& d) {
       // In this arithmetic there are two zeros.
       return (fold_sum(internet_sum(d.payload)) - fold_sum(*d.checksum)) % 0xffff == 0;
     },
     [](const D& d, W& w) {
       w.csum = d.checksum.value_or(0);
       if (d.checksum) w.flags |= UDP_REPAIR_RQ_CSUM;
     },
     [](const W& w, D& d) {
       d.checksum = (w.flags & UDP_REPAIR_RQ_CSUM) != 0 ? std::optional<std::uint32_t>(w.csum)
                                                        : std::nullopt;
     }},
    {"next_header", Family::kIpv6, "must be the type of the first of headers, 17 without any",
     [](const D& d) { return d.next_header != IPPROTO_UDP; }, kFitsType,
     [](const D& d, W& w) { w.nexthdr = d.family == Family::kIpv6 ? d.next_header : 0; },
     [](const W& w, D& d) {
       d.next_header = w.family == AF_INET6 ? w.nexthdr : static_cast<std::uint8_t>(IPPROTO_UDP);
     }},
    {"headers", std::nullopt,
     "must be at most 40 bytes of well-formed IPv4 options, or a chain of IPv6 extension headers "
     "from next_header to UDP",
     kAlways,
     [](const D& d) {
       return d.family == Family::kIpv4 ? whole_ip_options(d.headers)
                                        : whole_extension_headers(d.headers, d.next_header);
     },
     [](const D& d, W& w) { w.opt_len = static_cast<__u16>(d.headers.size()); },
     [](const W&, D&) {}},
    {"l3slave", Family::kIpv6, "must be true or false", [](const D& d) { return d.l3slave; },
     kFitsType,
     [](const D& d, W& w) {
       if (d.l3slave) w.flags |= UDP_REPAIR_RQ_L3SLAVE;
     },
     [](const W& w, D& d) { d.l3slave = (w.flags & UDP_REPAIR_RQ_L3SLAVE) != 0; }},
    {"peeked", std::nullopt, "must be false unless the payload is empty",
     [](const D& d) { return d.peeked; }, [](const D& d) { return d.payload.empty(); },
     [](const D& d, W& w) {
       if (d.peeked) w.flags |= UDP_REPAIR_RQ_PEEKED;
     },
     [](const W& w, D& d) { d.peeked = (w.flags & UDP_REPAIR_RQ_PEEKED) != 0; }},
};

Error bad_dump(const std::string& why) {
  return Error{EPROTO, "UDP_REPAIR_RECV_QUEUE: " + why};
}

// The entry at the beginning of `rest`, and how many bytes it takes there.
Result<std::size_t> parse_entry(std::span<const std::uint8_t> rest, D& datagram) {
  W wire{};
  if (rest.size() < sizeof(wire)) return bad_dump("an entry is cut");
  memcpy(&wire, rest.data(), sizeof(wire));
  std::size_t total = std::size_t{wire.size} + wire.opt_len + wire.payload_len;
  if (wire.size < sizeof(wire) || total != wire.total_len || total > rest.size())
    return bad_dump("entry of " + std::to_string(wire.total_len) + " bytes: struct of " +
                    std::to_string(wire.size) + ", options of " + std::to_string(wire.opt_len) +
                    ", payload of " + std::to_string(wire.payload_len) + ", " +
                    std::to_string(rest.size()) + " written");
  if (wire.family != AF_INET && wire.family != AF_INET6)
    return bad_dump("family " + std::to_string(wire.family));
  for (const DatagramRow& row : kRows) row.decode(wire, datagram);
  auto headers = rest.subspan(wire.size, wire.opt_len);
  auto payload = rest.subspan(wire.size + wire.opt_len, wire.payload_len);
  datagram.headers.assign(headers.begin(), headers.end());
  datagram.payload.assign(payload.begin(), payload.end());
  return total;
}

}  // namespace

std::span<const DatagramRow> datagram_rows() {
  return kRows;
}

Result<void> check_datagram(const ReceivedDatagram& datagram, std::size_t index) {
  auto refuse = [&](int code, const std::string& why) {
    return Error{code, "datagram " + std::to_string(index) + ": " + why};
  };
  for (const DatagramRow& row : kRows) {
    if (!row.present(datagram)) continue;
    if (row.family.value_or(datagram.family) != datagram.family)
      return refuse(EINVAL, std::string(row.member) + ": an " + family_name(datagram.family) +
                                " datagram cannot have it");
    if (!row.valid(datagram)) return refuse(EINVAL, std::string(row.member) + ": " + row.limit);
  }
  if (datagram.payload.size() > payload_room(datagram))
    return refuse(EMSGSIZE, "payload: " + std::to_string(datagram.payload.size()) +
                                " bytes, at most " + std::to_string(payload_room(datagram)));
  return {};
}

Result<DumpProgress> parse_receive_queue(std::span<const std::uint8_t> dump,
                                         std::vector<ReceivedDatagram>& datagrams) {
  udp_repair_recv_queue header{};
  if (dump.size() < sizeof(header))
    return bad_dump(std::to_string(dump.size()) + " bytes are less than a header");
  memcpy(&header, dump.data(), sizeof(header));
  if (header.size < sizeof(header) || header.size > dump.size())
    return bad_dump("header of " + std::to_string(header.size) + " bytes");

  std::size_t offset = header.size;
  for (std::uint32_t i = 0; i < header.count; ++i) {
    offset = (offset + kEntryAlignment - 1) / kEntryAlignment * kEntryAlignment;
    if (offset > dump.size()) return bad_dump("entries are cut");
    SOCKREPAIR_TRY_ASSIGN(std::size_t length,
                          parse_entry(dump.subspan(offset), datagrams.emplace_back()));
    offset += length;
  }
  return DumpProgress{header.next, header.next_len};
}

void encode_datagram(const ReceivedDatagram& datagram, std::vector<std::uint8_t>& entry) {
  W wire{};
  for (const DatagramRow& row : kRows) row.encode(datagram, wire);
  wire.size = sizeof(wire);
  wire.payload_len = static_cast<__u32>(datagram.payload.size());
  wire.total_len =
      static_cast<__u32>(sizeof(wire) + datagram.headers.size() + datagram.payload.size());
  entry.resize(wire.total_len);
  memcpy(entry.data(), &wire, sizeof(wire));
  std::copy(datagram.headers.begin(), datagram.headers.end(), entry.begin() + sizeof(wire));
  std::copy(datagram.payload.begin(), datagram.payload.end(),
            entry.end() - static_cast<std::ptrdiff_t>(datagram.payload.size()));
}

}  // namespace sockrepair::internal

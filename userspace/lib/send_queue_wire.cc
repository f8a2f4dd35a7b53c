// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "send_queue_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#include <string>
#include <type_traits>

#include "uapi.h"

namespace sockrepair::internal {

namespace {

using Bytes = SendQueue::Bytes;

constexpr std::size_t kIpOptionsMax = 40;
constexpr std::uint32_t kFlowLabelMax = 0xfffff;
constexpr std::size_t kIpHeader = 20;
constexpr std::size_t kUdpHeader = 8;
constexpr std::size_t kIpLengthMax = 65535;

constexpr std::uint32_t kTimestampingFlags =
    SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED |
    (1U << 18) /* SOF_TIMESTAMPING_TX_COMPLETION */;

template <typename T>
Bytes bytes_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  Bytes bytes(sizeof(value));
  memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

// An extension header says its own length in units of 8 bytes after the first 8.
bool whole_header(const Bytes& header) {
  return header.empty() || (header.size() >= 8 && header.size() == (header[1] + 1U) * 8U);
}

bool always(const SendQueue&, const ControlContext&) {
  return true;
}
bool any_value(const SendQueue&) {
  return true;
}

template <Bytes SendQueue::*Header>
constexpr ControlRow header_row(const char* member, int type) {
  return {member,
          Family::kIpv6,
          IPPROTO_IPV6,
          type,
          "must be a whole extension header; needs CAP_NET_RAW",
          [](const SendQueue& q) { return whole_header(q.*Header); },
          [](const SendQueue& q, const ControlContext& c) {
            return !c.headers_by_option && !(q.*Header).empty();
          },
          [](const SendQueue& q) { return q.*Header; }};
}

constexpr ControlRow kRows[] = {
    {"source, destination, oif", Family::kIpv4, IPPROTO_IP, IP_PKTINFO,
     "source must be an address of this host and destination reachable from it by oif", any_value,
     always,
     [](const SendQueue& q) {
       in_pktinfo info{};
       info.ipi_ifindex = static_cast<int>(q.oif.value_or(0));
       info.ipi_spec_dst = q.source.v4();
       return bytes_of(info);
     }},
    {"source, destination, oif", Family::kIpv6, IPPROTO_IPV6, IPV6_PKTINFO,
     "source must be an address of this host and destination reachable from it by oif; a socket "
     "that is bound to an interface can use no other",
     any_value, always,
     [](const SendQueue& q) {
       in6_pktinfo info{};
       info.ipi6_ifindex = q.oif.value_or(0);
       info.ipi6_addr = q.source.v6();
       return bytes_of(info);
     }},
    {"hop_limit", Family::kIpv4, IPPROTO_IP, IP_TTL, "must be 1 to 255",
     [](const SendQueue& q) { return q.hop_limit != 0; },
     [](const SendQueue& q, const ControlContext&) { return q.hop_limit.has_value(); },
     [](const SendQueue& q) { return bytes_of<int>(*q.hop_limit); }},
    {"traffic_class", Family::kIpv4, IPPROTO_IP, IP_TOS, "must be 0 to 255", any_value,
     [](const SendQueue& q, const ControlContext&) { return q.traffic_class.has_value(); },
     [](const SendQueue& q) { return bytes_of<int>(*q.traffic_class); }},
    // Also without options: the message keeps those of the socket out.
    {"ip_options", Family::kIpv4, IPPROTO_IP, IP_RETOPTS,
     "must be at most 40 bytes of well-formed options; some need CAP_NET_RAW",
     [](const SendQueue& q) { return q.ip_options.size() <= kIpOptionsMax; }, always,
     [](const SendQueue& q) { return q.ip_options; }},
    {"hop_limit", Family::kIpv6, IPPROTO_IPV6, IPV6_HOPLIMIT, "must be 0 to 255", any_value,
     [](const SendQueue& q, const ControlContext&) { return q.hop_limit.has_value(); },
     [](const SendQueue& q) { return bytes_of<int>(*q.hop_limit); }},
    {"traffic_class", Family::kIpv6, IPPROTO_IPV6, IPV6_TCLASS, "must be 0 to 255", any_value,
     [](const SendQueue& q, const ControlContext&) { return q.traffic_class.has_value(); },
     [](const SendQueue& q) { return bytes_of<int>(*q.traffic_class); }},
    {"dontfrag", Family::kIpv6, IPPROTO_IPV6, IPV6_DONTFRAG, "must be true or false", any_value,
     always, [](const SendQueue& q) { return bytes_of<int>(q.dontfrag); }},
    {"flow_label", Family::kIpv6, IPPROTO_IPV6, IPV6_FLOWINFO,
     "must be 1 to 0xfffff, and leased by the socket (IPV6_FLOWLABEL_MGR) where labels are "
     "exclusive",
     [](const SendQueue& q) { return *q.flow_label > 0 && *q.flow_label <= kFlowLabelMax; },
     [](const SendQueue& q, const ControlContext&) { return q.flow_label.has_value(); },
     [](const SendQueue& q) { return bytes_of<std::uint32_t>(htonl(*q.flow_label)); }},
    header_row<&SendQueue::hop_by_hop>("hop_by_hop", IPV6_HOPOPTS),
    header_row<&SendQueue::routing_dst>("routing_dst", IPV6_RTHDRDSTOPTS),
    header_row<&SendQueue::routing>("routing", IPV6_RTHDR),
    header_row<&SendQueue::dst>("dst", IPV6_DSTOPTS),
    {"mark", std::nullopt, SOL_SOCKET, SO_MARK,
     "needs CAP_NET_RAW or CAP_NET_ADMIN unless it is SO_MARK of the socket", any_value,
     [](const SendQueue& q, const ControlContext& c) { return q.mark != c.socket_mark; },
     [](const SendQueue& q) { return bytes_of(q.mark); }},
    {"priority", std::nullopt, SOL_SOCKET, SO_PRIORITY,
     "must be 0 to 6 without CAP_NET_RAW or CAP_NET_ADMIN", any_value, always,
     [](const SendQueue& q) { return bytes_of(q.priority); }},
    // Also without flags: the message keeps those of the socket out.
    {"tsflags", std::nullopt, SOL_SOCKET, SO_TIMESTAMPING, "must be SOF_TIMESTAMPING_TX_* bits",
     [](const SendQueue& q) { return (q.tsflags & ~kTimestampingFlags) == 0; }, always,
     [](const SendQueue& q) { return bytes_of(q.tsflags); }},
    {"tskey", std::nullopt, SOL_SOCKET, SCM_TS_OPT_ID,
     "needs SOF_TIMESTAMPING_OPT_ID on the socket", any_value,
     [](const SendQueue& q, const ControlContext& c) { return q.tsflags != 0 && c.timestamp_ids; },
     [](const SendQueue& q) { return bytes_of(q.tskey); }},
    {"txtime", std::nullopt, SOL_SOCKET, SCM_TXTIME, "needs SO_TXTIME on the socket", any_value,
     [](const SendQueue& q, const ControlContext&) { return q.txtime.has_value(); },
     [](const SendQueue& q) { return bytes_of(*q.txtime); }},
    // Also without a size: the message keeps that of the socket out.
    {"gso_size", std::nullopt, SOL_UDP, UDP_SEGMENT, "must be 0 to 65535 bytes", any_value, always,
     [](const SendQueue& q) { return bytes_of<std::uint16_t>(q.gso_size.value_or(0)); }},
};

// A member that only one family has, and whether the datagram has it.
struct FamilyMember {
  const char* name;
  Family family;
  bool (*present)(const SendQueue&);
};

constexpr FamilyMember kFamilyMembers[] = {
    {"ip_options", Family::kIpv4, [](const SendQueue& q) { return !q.ip_options.empty(); }},
    {"onlink", Family::kIpv4, [](const SendQueue& q) { return q.onlink; }},
    {"flow_label", Family::kIpv6, [](const SendQueue& q) { return q.flow_label.has_value(); }},
    {"dontfrag", Family::kIpv6, [](const SendQueue& q) { return q.dontfrag; }},
    {"hop_by_hop", Family::kIpv6, [](const SendQueue& q) { return !q.hop_by_hop.empty(); }},
    {"routing_dst", Family::kIpv6, [](const SendQueue& q) { return !q.routing_dst.empty(); }},
    {"routing", Family::kIpv6, [](const SendQueue& q) { return !q.routing.empty(); }},
    {"dst", Family::kIpv6, [](const SendQueue& q) { return !q.dst.empty(); }},
};

IpAddress address_from(Family family, const __be32 (&words)[4]) {
  if (family == Family::kIpv4) return IpAddress(in_addr{words[0]});
  in6_addr v6{};
  memcpy(&v6, words, sizeof(v6));
  return IpAddress(v6);
}

// 0 in the kernel's header: not given.
template <typename T>
std::optional<T> unless_zero(T value) {
  return value == 0 ? std::nullopt : std::optional<T>(value);
}

// Negative in the kernel's header: not given.
std::optional<std::uint8_t> unless_negative(std::int16_t value) {
  return value < 0 ? std::nullopt : std::optional<std::uint8_t>(static_cast<std::uint8_t>(value));
}

SendQueue from_header(const udp_repair_send_queue& header) {
  SendQueue queue;
  queue.family = header.family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
  queue.source = address_from(queue.family, header.saddr);
  queue.destination = address_from(queue.family, header.daddr);
  queue.source_port = ntohs(header.sport);
  queue.destination_port = ntohs(header.dport);
  queue.oif = unless_zero(header.oif);
  queue.ifindex = header.ifindex;
  queue.hop_limit = unless_negative(header.hop_limit);
  queue.traffic_class = unless_negative(header.tclass);
  queue.flow_label = unless_zero(ntohl(header.flowlabel));
  queue.priority = header.priority;
  queue.mark = header.mark;
  queue.txtime = unless_zero<std::uint64_t>(header.txtime);
  queue.tsflags = header.tsflags;
  queue.tskey = header.tskey;
  queue.gso_size = unless_zero(header.gso_size);
  queue.fragsize = header.fragsize;
  queue.dontfrag = (header.state & UDP_REPAIR_SQ_DONTFRAG) != 0;
  queue.confirm = (header.state & UDP_REPAIR_SQ_CONFIRM) != 0;
  queue.onlink = (header.state & UDP_REPAIR_SQ_ONLINK) != 0;
  queue.zerocopy = (header.state & UDP_REPAIR_SQ_ZEROCOPY) != 0;
  return queue;
}

Error bad_dump(const std::string& why) {
  return Error{EPROTO, "UDP_REPAIR_SEND_QUEUE: " + why};
}

}  // namespace

Result<std::optional<SendQueue>> parse_send_queue(std::span<const std::uint8_t> dump) {
  udp_repair_send_queue header{};
  if (dump.size() < sizeof(header))
    return bad_dump(std::to_string(dump.size()) + " bytes are less than a header");
  memcpy(&header, dump.data(), sizeof(header));

  if ((header.state & UDP_REPAIR_SQ_TRUNC) != 0) return bad_dump("the dump is cut");
  if (header.size < sizeof(header) || header.size > dump.size())
    return bad_dump("header of " + std::to_string(header.size) + " bytes");
  if (header.family == 0) return std::optional<SendQueue>();
  if (header.family != AF_INET && header.family != AF_INET6)
    return bad_dump("family " + std::to_string(header.family));

  SendQueue queue = from_header(header);
  struct {
    Bytes& bytes;
    std::size_t length;
  } parts[] = {
      {queue.ip_options, header.ipopt_len},    {queue.hop_by_hop, header.hopopt_len},
      {queue.routing_dst, header.dst0opt_len}, {queue.routing, header.srcrt_len},
      {queue.dst, header.dst1opt_len},         {queue.payload, header.payload_len},
  };
  std::size_t offset = header.size;
  for (auto& part : parts) {
    if (part.length > dump.size() - offset)
      return bad_dump("parts are longer than the " + std::to_string(dump.size()) + " bytes");
    auto begin = dump.begin() + static_cast<std::ptrdiff_t>(offset);
    part.bytes.assign(begin, begin + static_cast<std::ptrdiff_t>(part.length));
    offset += part.length;
  }
  if (offset != dump.size() || offset != header.total_len)
    return bad_dump("parts of " + std::to_string(offset) + " bytes, total_len " +
                    std::to_string(header.total_len) + ", " + std::to_string(dump.size()) +
                    " written");
  return std::optional<SendQueue>(std::move(queue));
}

std::span<const ControlRow> control_rows() {
  return kRows;
}

std::vector<const ControlRow*> given_rows(const SendQueue& queue, const ControlContext& context) {
  std::vector<const ControlRow*> rows;
  for (const ControlRow& row : kRows)
    if (row.family.value_or(queue.family) == queue.family && row.given(queue, context))
      rows.push_back(&row);
  return rows;
}

ControlMessages encode_rows(std::span<const ControlRow* const> rows, const SendQueue& queue) {
  ControlMessages control;
  for (const ControlRow* row : rows) control.add_bytes(row->level, row->type, row->encode(queue));
  return control;
}

Result<void> check_members(const SendQueue& queue) {
  for (const IpAddress* address : {&queue.source, &queue.destination}) {
    if (address->family() != queue.family) {
      return Error{EINVAL, std::string(address == &queue.source ? "source" : "destination") + ": " +
                               address->to_string() + " in an " + family_name(queue.family) +
                               " datagram"};
    }
  }
  if (queue.source_port == 0) return Error{EINVAL, "source_port: 0, must be 1 to 65535"};
  if (queue.destination_port == 0) return Error{EINVAL, "destination_port: 0, must be 1 to 65535"};

  for (const FamilyMember& member : kFamilyMembers) {
    if (member.family != queue.family && member.present(queue)) {
      return Error{EINVAL, std::string(member.name) + ": an " + family_name(queue.family) +
                               " datagram cannot have it"};
    }
  }
  ControlContext most{.timestamp_ids = true};
  for (const ControlRow* row : given_rows(queue, most))
    if (!row->valid(queue)) return Error{EINVAL, std::string(row->members) + ": " + row->limit};

  // What IP leaves for the payload of one datagram, with these headers. IPv6 does not count its
  // fixed header.
  std::size_t headers = kUdpHeader;
  if (queue.family == Family::kIpv4) {
    headers += kIpHeader + (queue.ip_options.size() + 3) / 4 * 4;
  } else {
    headers += queue.hop_by_hop.size() + queue.routing_dst.size() + queue.routing.size() +
               queue.dst.size();
  }
  std::size_t room = headers > kIpLengthMax ? 0 : kIpLengthMax - headers;
  if (queue.payload.size() > room) {
    return Error{EMSGSIZE, "payload: " + std::to_string(queue.payload.size()) + " bytes, at most " +
                               std::to_string(room)};
  }
  return {};
}

}  // namespace sockrepair::internal

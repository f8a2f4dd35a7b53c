// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "peeker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/net_tstamp.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <span>
#include <utility>

#include "control_messages.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair::internal {

namespace {

using Bytes = ReceivedDatagram::Bytes;
using Data = std::span<const std::uint8_t>;

// As many as one call reads.
constexpr std::size_t kBatch = 16;
constexpr std::size_t kPayloadMax = 65536;
// Four extension headers of 2 KiB and everything else.
constexpr std::size_t kControlMax = 12288;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

// SOF_TIMESTAMPING_OPT_RX_FILTER of newer headers: hides stamps that nobody has asked for.
constexpr std::uint32_t kReceiveFilter = 1U << 17;

// What a control message says, before it is known what belongs together.
struct Told {
  ReceivedDatagram datagram;
  bool headers_begun = false;
  // Protocol number that the last header says comes next.
  std::uint8_t next_header = IPPROTO_UDP;
  bool gap = false;  // headers that do not follow each other
};

template <typename T>
T value_of(Data data) {
  T value{};
  memcpy(&value, data.data(), std::min(sizeof(value), data.size()));
  return value;
}

std::optional<std::uint64_t> nanoseconds(std::int64_t seconds, std::int64_t rest) {
  if (seconds < 0 || (seconds == 0 && rest == 0)) return std::nullopt;
  return static_cast<std::uint64_t>(seconds) * kNsPerSecond + static_cast<std::uint64_t>(rest);
}

// The times that SCM_TIMESTAMPING carries: software, a gap, and the device's own.
void take_times(Data data, ReceivedDatagram& datagram) {
  struct Times {
    std::int64_t values[6];
  };
  Times times{};
  if (sizeof(long) == 8 || data.size() == sizeof(Times)) {
    times = value_of<Times>(data);
  } else {
    auto narrow = value_of<std::array<std::int32_t, 6>>(data);
    std::copy(narrow.begin(), narrow.end(), times.values);
  }
  datagram.timestamp = nanoseconds(times.values[0], times.values[1]);
  datagram.hardware_timestamp = nanoseconds(times.values[4], times.values[5]);
}

template <std::uint8_t kType>
void take_header(Data data, Told& told) {
  ReceivedDatagram& d = told.datagram;
  if (data.size() < 8) return;
  if (!told.headers_begun) d.next_header = kType;
  told.gap |= told.headers_begun && told.next_header != kType;
  told.headers_begun = true;
  told.next_header = data[0];
  d.headers.insert(d.headers.end(), data.begin(), data.end());
}

// How one control message gets into a ReceivedDatagram.
struct Decoder {
  int level;
  int type;
  void (*decode)(Data data, Told& told);
};

constexpr Decoder kDecoders[] = {
    {SOL_SOCKET, SO_MARK, [](Data d, Told& t) { t.datagram.mark = value_of<std::uint32_t>(d); }},
    {SOL_SOCKET, SO_PRIORITY,
     [](Data d, Told& t) { t.datagram.priority = value_of<std::uint32_t>(d); }},
    {SOL_SOCKET, SO_TIMESTAMPING_OLD, [](Data d, Told& t) { take_times(d, t.datagram); }},
    {SOL_SOCKET, SO_TIMESTAMPING_NEW, [](Data d, Told& t) { take_times(d, t.datagram); }},
    {SOL_UDP, UDP_GRO,
     [](Data d, Told& t) { t.datagram.gro_size = static_cast<std::uint16_t>(value_of<int>(d)); }},
    {IPPROTO_IP, IP_PKTINFO,
     [](Data d, Told& t) {
       auto info = value_of<in_pktinfo>(d);
       t.datagram.destination.address = IpAddress(info.ipi_addr);
       if (info.ipi_ifindex != 0) t.datagram.ifindex = static_cast<std::uint32_t>(info.ipi_ifindex);
       if (info.ipi_spec_dst.s_addr != 0) t.datagram.local = IpAddress(info.ipi_spec_dst);
     }},
    {IPPROTO_IP, IP_ORIGDSTADDR,
     [](Data d, Told& t) {
       t.datagram.destination.port = ntohs(value_of<sockaddr_in>(d).sin_port);
     }},
    {IPPROTO_IP, IP_TTL,
     [](Data d, Told& t) { t.datagram.hop_limit = static_cast<std::uint8_t>(value_of<int>(d)); }},
    {IPPROTO_IP, IP_TOS,
     [](Data d, Told& t) { t.datagram.traffic_class = value_of<std::uint8_t>(d); }},
    {IPPROTO_IP, IP_RECVOPTS,
     [](Data d, Told& t) { t.datagram.headers.assign(d.begin(), d.end()); }},
    {IPPROTO_IP, IP_RECVFRAGSIZE,
     [](Data d, Told& t) { t.datagram.fragment_size = value_of<std::uint32_t>(d); }},
    {IPPROTO_IP, IP_CHECKSUM,
     [](Data d, Told& t) { t.datagram.checksum = value_of<std::uint32_t>(d); }},
    // Of an IPv4-mapped datagram, IP_PKTINFO says the same and more.
    {IPPROTO_IPV6, IPV6_PKTINFO,
     [](Data d, Told& t) {
       auto info = value_of<in6_pktinfo>(d);
       if (IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr)) return;
       t.datagram.destination.address = IpAddress(info.ipi6_addr);
       if (info.ipi6_ifindex != 0) t.datagram.ifindex = info.ipi6_ifindex;
     }},
    {IPPROTO_IPV6, IPV6_ORIGDSTADDR,
     [](Data d, Told& t) {
       t.datagram.destination.port = ntohs(value_of<sockaddr_in6>(d).sin6_port);
     }},
    {IPPROTO_IPV6, IPV6_HOPLIMIT,
     [](Data d, Told& t) { t.datagram.hop_limit = static_cast<std::uint8_t>(value_of<int>(d)); }},
    {IPPROTO_IPV6, IPV6_TCLASS,
     [](Data d, Told& t) {
       t.datagram.traffic_class = static_cast<std::uint8_t>(value_of<int>(d));
     }},
    {IPPROTO_IPV6, IPV6_FLOWINFO,
     [](Data d, Told& t) { t.datagram.flow_label = ntohl(value_of<std::uint32_t>(d)) & 0xfffff; }},
    {IPPROTO_IPV6, IPV6_HOPOPTS, take_header<IPPROTO_HOPOPTS>},
    {IPPROTO_IPV6, IPV6_RTHDR, take_header<IPPROTO_ROUTING>},
    {IPPROTO_IPV6, IPV6_DSTOPTS, take_header<IPPROTO_DSTOPTS>},
    {IPPROTO_IPV6, IPV6_RECVFRAGSIZE,
     [](Data d, Told& t) { t.datagram.fragment_size = value_of<std::uint32_t>(d); }},
};

// The option that makes the kernel tell something. Kernels that lack one tell less.
struct Switch {
  bool ipv6_socket_only;
  int level;
  int name;
  int value;
};

constexpr Switch kSwitches[] = {
    {false, IPPROTO_IP, IP_PKTINFO, 1},
    {false, IPPROTO_IP, IP_RECVORIGDSTADDR, 1},
    {false, IPPROTO_IP, IP_RECVTTL, 1},
    {false, IPPROTO_IP, IP_RECVTOS, 1},
    {false, IPPROTO_IP, IP_RECVOPTS, 1},
    {false, IPPROTO_IP, IP_RECVFRAGSIZE, 1},
    {false, SOL_SOCKET, SO_RCVMARK, 1},
    {false, SOL_SOCKET, SO_RCVPRIORITY, 1},
    // While it is on, a note about the path's MTU comes instead of a datagram, and is gone then.
    {true, IPPROTO_IPV6, IPV6_RECVPATHMTU, 0},
    {true, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
    {true, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1},
    {true, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1},
    {true, IPPROTO_IPV6, IPV6_RECVTCLASS, 1},
    {true, IPPROTO_IPV6, IPV6_FLOWINFO, 1},
    {true, IPPROTO_IPV6, IPV6_RECVHOPOPTS, 1},
    {true, IPPROTO_IPV6, IPV6_RECVRTHDR, 1},
    {true, IPPROTO_IPV6, IPV6_RECVDSTOPTS, 1},
    {true, IPPROTO_IPV6, IPV6_RECVFRAGSIZE, 1},
};

// Whether the program gets its time stamps as 64-bit numbers: setting any of these options sets
// this for all of them.
bool timestamps_are_new(int fd) {
  for (int name : {SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW, SO_TIMESTAMPING_NEW}) {
    int value[2] = {};
    if (sys::getsockopt_bytes(fd, SOL_SOCKET, name, value, sizeof(value)) && value[0] != 0)
      return true;
  }
  return false;
}

// A peek that finds none of these is over, or fails for good.
bool is_pending_error(int code) {
  return code != EAGAIN && code != EBADF && code != ENOTSOCK && code != EFAULT && code != EINVAL &&
         code != ENOMEM && code != EINTR;
}

Result<Peeked> decode(const msghdr& message, const SocketAddress& from, Data payload,
                      std::uint16_t local_port) {
  Told told;
  ReceivedDatagram& d = told.datagram;
  SOCKREPAIR_TRY_ASSIGN(d.source, from.endpoint());
  d.family = d.source.address.family();
  d.destination = {IpAddress::any(d.family), local_port, 0};
  // Told only when there is one, or a traffic class.
  if (d.family == Family::kIpv6) d.flow_label = 0;
  for_each_control_message(message, [&](const cmsghdr& header, Data data) {
    for (const Decoder& decoder : kDecoders)
      if (decoder.level == header.cmsg_level && decoder.type == header.cmsg_type)
        decoder.decode(data, told);
  });
  // Only in a VRF are these two interfaces.
  if (d.source.scope != 0 && d.source.scope != d.ifindex) {
    d.l3slave = true;
    d.device = d.source.scope;
  }
  d.payload.assign(payload.begin(), payload.end());

  Peeked peeked;
  if ((message.msg_flags & MSG_CTRUNC) != 0)
    peeked.missing = "headers: longer than the control messages that a program can receive";
  if (told.headers_begun && (told.gap || told.next_header != IPPROTO_UDP)) {
    peeked.missing =
        "headers: there are others than hop-by-hop options, routing and destination "
        "options, which the kernel does not tell";
    d.headers.clear();
    d.next_header = IPPROTO_UDP;
  }
  peeked.datagram = std::move(d);
  return peeked;
}

}  // namespace

// Memory for one batch; of that of the payload only what datagrams fill is ever touched.
struct Peeker::Buffers {
  struct Slot {
    SocketAddress from;
    iovec part;
    alignas(cmsghdr) std::array<std::uint8_t, kControlMax> control;
  };

  std::unique_ptr<std::uint8_t[]> payload{new std::uint8_t[kBatch * kPayloadMax]};
  std::array<Slot, kBatch> slots;
  std::array<mmsghdr, kBatch> messages;
};

Peeker::Peeker(int fd, int domain, std::uint16_t local_port, int peek_offset)
    : fd_(fd),
      domain_(domain),
      local_port_(local_port),
      original_offset_(peek_offset),
      offset_(peek_offset),
      borrowed_(fd),
      buffers_(new Buffers) {}

Peeker::Peeker(Peeker&& other) noexcept
    : fd_(other.fd_),
      domain_(other.domain_),
      local_port_(other.local_port_),
      original_offset_(other.original_offset_),
      offset_(other.offset_),
      open_(std::exchange(other.open_, false)),
      begun_(other.begun_),
      pending_error_(other.pending_error_),
      borrowed_(std::move(other.borrowed_)),
      buffers_(std::move(other.buffers_)) {}

Peeker::~Peeker() {
  (void)close();
}

Result<Peeker> Peeker::open(int fd) {
  SOCKREPAIR_TRY_ASSIGN(int domain, sys::getsockopt<int>(fd, SOL_SOCKET, SO_DOMAIN));
  SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd));
  SOCKREPAIR_TRY_ASSIGN(Endpoint local, name.endpoint());
  SOCKREPAIR_TRY_ASSIGN(int offset, sys::getsockopt<int>(fd, SOL_SOCKET, SO_PEEK_OFF));
  Peeker peeker(fd, domain, local.port, offset);
  SOCKREPAIR_TRY(peeker.switch_on(timestamps_are_new(fd)));
  return peeker;
}

Result<void> Peeker::switch_on(bool timestamps_new) {
  for (const Switch& row : kSwitches) {
    if (row.ipv6_socket_only && domain_ != AF_INET6) continue;
    Result<void> on = borrowed_.set(row.level, row.name, row.value);
    if (!on && on.error().code != ENOPROTOOPT) return on;
  }
  // SO_TIMESTAMP would give the time of the dump to what has none; this only tells what there is.
  int name = timestamps_new ? SO_TIMESTAMPING_NEW : SO_TIMESTAMPING_OLD;
  std::array<std::uint32_t, 2> flags{};
  SOCKREPAIR_TRY_ASSIGN(socklen_t length,
                        sys::getsockopt_bytes(fd_, SOL_SOCKET, name, flags.data(), sizeof(flags)));
  flags[0] &= ~kReceiveFilter;
  flags[0] |= SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RAW_HARDWARE;
  BorrowedOptions::Bytes value(length);
  memcpy(value.data(), flags.data(), value.size());
  return borrowed_.set(SOL_SOCKET, name, value);
}

Result<void> Peeker::set_offset(int offset) {
  if (offset == offset_) return {};
  SOCKREPAIR_TRY(sys::setsockopt(fd_, SOL_SOCKET, SO_PEEK_OFF, offset));
  offset_ = offset;
  return {};
}

Result<std::size_t> Peeker::receive(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    Buffers::Slot& slot = buffers_->slots[i];
    slot.from = SocketAddress();
    slot.part = {buffers_->payload.get() + i * kPayloadMax, kPayloadMax};
    msghdr& message = buffers_->messages[i].msg_hdr;
    message = {};
    message.msg_name = slot.from.mutable_get();
    message.msg_namelen = slot.from.size();
    message.msg_iov = &slot.part;
    message.msg_iovlen = 1;
    message.msg_control = slot.control.data();
    message.msg_controllen = slot.control.size();
  }
  for (;;) {
    int received = ::recvmmsg(fd_, buffers_->messages.data(), static_cast<unsigned>(count),
                              MSG_PEEK | MSG_DONTWAIT, nullptr);
    if (received < 0) {
      int code = errno;
      if (code == EAGAIN) return std::size_t{0};
      // A pending error is told once; the next call is about the queue.
      if (pending_error_ != 0 || !is_pending_error(code)) {
        return Error{code, "recvmmsg(" + std::to_string(fd_) + ", MSG_PEEK | MSG_DONTWAIT)"};
      }
      pending_error_ = code;
      continue;
    }
    for (int i = 0; i < received; ++i)
      if (offset_ >= 0) offset_ += static_cast<int>(buffers_->messages[i].msg_len);
    return static_cast<std::size_t>(received);
  }
}

Result<void> Peeker::read_on(std::vector<Peeked>& datagrams) {
  // Without an offset the first datagram is told in any case, and one without a byte counts as seen
  // from then on; with an offset those that were not seen yet are told as well.
  bool first = !begun_;
  if (first) SOCKREPAIR_TRY(set_offset(-1));
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::size_t count, receive(first ? 1 : kBatch));
    if (count == 0) return {};
    for (std::size_t i = 0; i < count; ++i) {
      const mmsghdr& message = buffers_->messages[i];
      Data payload(buffers_->payload.get() + i * kPayloadMax, message.msg_len);
      SOCKREPAIR_TRY_ASSIGN(Peeked peeked,
                            decode(message.msg_hdr, buffers_->slots[i].from, payload, local_port_));
      datagrams.push_back(std::move(peeked));
    }
    if (first) SOCKREPAIR_TRY(set_offset(static_cast<int>(buffers_->messages[0].msg_len)));
    first = false;
    begun_ = true;
  }
}

Result<bool> Peeker::look_at(std::size_t position, bool skip_byte, Peeked& datagram) {
  SOCKREPAIR_TRY(set_offset(static_cast<int>(position + (skip_byte ? 1 : 0))));
  SOCKREPAIR_TRY_ASSIGN(std::size_t count, receive(1));
  if (count == 0) return false;
  Data payload(buffers_->payload.get(), buffers_->messages[0].msg_len);
  SOCKREPAIR_TRY_ASSIGN(datagram, decode(buffers_->messages[0].msg_hdr, buffers_->slots[0].from,
                                         payload, local_port_));
  return true;
}

Result<void> Peeker::close() {
  if (!std::exchange(open_, false)) return {};
  Result<void> offset = set_offset(original_offset_);
  Result<void> options = borrowed_.put_back();
  return offset ? options : offset;
}

Result<std::size_t> queue_memory(int fd) {
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  SOCKREPAIR_TRY(sys::getsockopt_bytes(fd, SOL_SOCKET, SO_MEMINFO, memory.data(), sizeof(memory)));
  return std::size_t{memory[SK_MEMINFO_RMEM_ALLOC]};
}

}  // namespace sockrepair::internal

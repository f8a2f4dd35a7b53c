// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_IMAGE_TABLES_H_
#define SOCKREPAIR_LIB_IMAGE_TABLES_H_

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "image/control_block.h"
#include "image/record.h"
#include "proto/image.pb.h"
#include "sockrepair/image.h"
#include "sockrepair/tcp_time_wait.h"
#include "tcp_time_wait_check.h"

// The table of what is in an image: for every value of the library that is carried, a row for each
// of its members, with the field of image.proto and the limits. Encoding, decoding, checking and
// showing are made of these rows; a member is mentioned here and nowhere else. A row has its name
// from image.proto.
namespace sockrepair::internal {

// What a number has to be; of bytes and text their length, of a list its length.
struct Limits {
  std::int64_t min = 0;
  std::uint64_t max = std::numeric_limits<std::uint64_t>::max();

  bool operator==(const Limits&) const = default;
};

// As far as the type of the member goes.
inline constexpr Limits kAny{std::numeric_limits<std::int64_t>::min(),
                             std::numeric_limits<std::uint64_t>::max()};

// One row: `member` of Struct is field `number` of its message.
template <typename Struct, typename Member>
struct Row {
  Member Struct::*member;
  int number;
  Limits limits;
};

template <typename Struct, typename Member>
constexpr Row<Struct, Member> row(Member Struct::*member, int number, Limits limits = kAny) {
  return {member, number, limits};
}

// What has to hold for a value besides the limits of its members. The number is the field that a
// message blames.
template <typename Struct>
struct Rule {
  int number;
  bool (*holds)(const Struct&);
  const char* must;
};

struct NoRules {};

// Specialised for each value: Message, rows, rules.
template <typename Struct>
struct Table;

// Of each kind of socket: the record it begins with, and the counts in that.
template <typename Socket>
struct SocketKind;

template <typename Struct>
constexpr std::size_t row_count() {
  return std::tuple_size_v<decltype(Table<Struct>::rows)>;
}

struct Anything {
  template <typename T>
  operator T() const;  // is never called
};

template <typename Struct, std::size_t... Index>
constexpr bool has_members(std::index_sequence<Index...>) {
  return requires {
    Struct{(static_cast<void>(Index), Anything())...};
  };
}

// The number of members of an aggregate.
template <typename Struct, std::size_t Count = 0>
constexpr std::size_t member_count() {
  if constexpr (has_members<Struct>(std::make_index_sequence<Count + 1>()))
    return member_count<Struct, Count + 1>();
  else
    return Count;
}

inline constexpr std::uint64_t kIfindexMax = 0x7fffffff;
inline constexpr std::uint64_t kFlowLabelMax = 0xfffff;
inline constexpr std::uint64_t kFlowInfoMax = 0xfffffff;
inline constexpr std::uint64_t kPayloadMax = 65535;
inline constexpr std::uint64_t kErrnoMax = 4095;
inline constexpr std::uint64_t kInterfaceNameMax = 15;
inline constexpr std::uint64_t kExtensionHeaderMax = 2048;
inline constexpr std::uint64_t kLossesMax = 1U << 24;
inline constexpr std::uint64_t kDatagramsMax = 1U << 22;
inline constexpr std::uint64_t kQueueBytesMax = 0x7fffffff;
inline constexpr std::uint64_t kScaleMax = 14;
inline constexpr std::uint64_t kWindowMax = std::uint64_t{65535} << kScaleMax;
inline constexpr std::int64_t kMssClampMin = 88;  // what TCP_REPAIR_OPTIONS takes

// ------------------------------------------------------------- values that are only in an image

// The members of UdpSocketEntry that are no members of UdpSocket.
struct UdpCounts {
  std::uint32_t losses = 0;
};

// The same of TcpSocketEntry.
struct TcpCounts {
  std::uint32_t losses = 0;
  std::uint32_t received = 0;  // bytes of the receive queue
  std::uint32_t sent = 0;      // bytes of the send queue
};

enum class Direction : std::uint8_t { kReceive, kSend };

struct QueueHead {
  Direction direction = Direction::kReceive;
  std::uint32_t packets = 0;
  std::uint64_t bytes = 0;

  bool operator==(const QueueHead&) const = default;
};

struct PacketHead {
  std::uint32_t length = 0;
};

struct ImageTotals {
  std::uint64_t records = 0;
  std::uint64_t processes = 0;
  std::uint64_t sockets = 0;
  std::uint64_t datagrams = 0;
  std::uint64_t bytes = 0;
  std::uint64_t time_waits = 0;

  bool operator==(const ImageTotals&) const = default;
};

// ------------------------------------------------------------------------------------ the tables

template <>
struct Table<Endpoint> {
  using Message = image::Endpoint;
  static constexpr auto rows =
      std::make_tuple(row(&Endpoint::address, Message::kAddressFieldNumber),
                      row(&Endpoint::port, Message::kPortFieldNumber),
                      row(&Endpoint::scope, Message::kScopeFieldNumber, {0, kIfindexMax}));
  static constexpr NoRules rules{};
};

template <>
struct Table<OptionValue> {
  using Message = image::SocketOption;
  static constexpr auto rows =
      std::make_tuple(row(&OptionValue::level, Message::kLevelFieldNumber),
                      row(&OptionValue::name, Message::kNameFieldNumber),
                      row(&OptionValue::value, Message::kValueFieldNumber, {0, 65536}));
  static constexpr NoRules rules{};
};

template <>
struct Table<Membership> {
  using Message = image::Membership;
  static constexpr auto rows =
      std::make_tuple(row(&Membership::group, Message::kGroupFieldNumber),
                      row(&Membership::ifindex, Message::kIfindexFieldNumber, {0, kIfindexMax}),
                      row(&Membership::exclude, Message::kExcludeFieldNumber),
                      row(&Membership::sources, Message::kSourcesFieldNumber, {0, 4096}));
  static constexpr Rule<Membership> rules[] = {
      {Message::kGroupFieldNumber, [](const Membership& m) { return m.group.is_multicast(); },
       "must be a multicast address"},
      {Message::kSourcesFieldNumber,
       [](const Membership& m) {
         for (const IpAddress& source : m.sources)
           if (source.family() != m.group.family()) return false;
         return true;
       },
       "must be of the family of group"},
  };
};

template <>
struct Table<InterfaceName> {
  using Message = image::InterfaceName;
  static constexpr auto rows =
      std::make_tuple(row(&InterfaceName::index, Message::kIndexFieldNumber, {1, kIfindexMax}),
                      row(&InterfaceName::name, Message::kNameFieldNumber, {1, kInterfaceNameMax}));
  static constexpr Rule<InterfaceName> rules[] = {
      {Message::kNameFieldNumber,
       [](const InterfaceName& i) {
         return i.name != "." && i.name != ".." &&
                i.name.find_first_of(std::string("\0/: \t\n\v\f\r", 9)) == std::string::npos;
       },
       "must be a name that an interface can have"},
  };
};

template <>
struct Table<EpollWatch> {
  using Message = image::EpollWatch;
  static constexpr auto rows =
      std::make_tuple(row(&EpollWatch::epoll, Message::kEpollFieldNumber, {0, (1U << 30) - 1}),
                      row(&EpollWatch::events, Message::kEventsFieldNumber),
                      row(&EpollWatch::data, Message::kDataFieldNumber));
  static constexpr NoRules rules{};
};

template <>
struct Table<ImageDescriptor> {
  using Message = image::Descriptor;
  static constexpr auto rows = std::make_tuple(
      row(&ImageDescriptor::number, Message::kNumberFieldNumber, {0, (1U << 30) - 1}),
      row(&ImageDescriptor::close_on_exec, Message::kCloseOnExecFieldNumber),
      row(&ImageDescriptor::watches, Message::kWatchesFieldNumber,
          {0, ImageDescriptor::kWatchesMax}));
  static constexpr NoRules rules{};
};

template <>
struct Table<ImageProcess> {
  using Message = image::ProcessEntry;
  static constexpr auto rows =
      std::make_tuple(row(&ImageProcess::pid, Message::kPidFieldNumber, {1, 0x7fffffff}),
                      row(&ImageProcess::comm, Message::kCommFieldNumber, {0, 15}),
                      row(&ImageProcess::dumped_at, Message::kDumpedAtFieldNumber));
  static constexpr Rule<ImageProcess> rules[] = {
      {Message::kCommFieldNumber,
       [](const ImageProcess& p) { return p.comm.find('\0') == std::string::npos; },
       "must not contain a NUL"},
  };
};

template <>
struct Table<ImageSocket> {
  using Message = image::UdpSocketEntry;
  static constexpr auto rows =
      std::make_tuple(row(&ImageSocket::descriptors, Message::kDescriptorsFieldNumber,
                          {0, ImageSocket::kDescriptorsMax}));
  static constexpr Rule<ImageSocket> rules[] = {
      {Message::kDescriptorsFieldNumber,
       [](const ImageSocket& s) {
         for (std::size_t i = 1; i < s.descriptors.size(); ++i)
           if (s.descriptors[i].number <= s.descriptors[i - 1].number) return false;
         return true;
       },
       "must be by ascending number, none twice"},
  };
};

// What holds for sockets of both kinds.
template <typename Socket>
bool has_domain(const Socket& s) {
  return s.domain == AF_INET || s.domain == AF_INET6;
}
template <typename Socket>
bool has_local_of_domain(const Socket& s) {
  return s.domain != AF_INET || !s.local || s.local->address.family() == Family::kIpv4;
}
template <typename Socket>
bool has_peer_of_domain(const Socket& s) {
  return s.domain != AF_INET || !s.peer || s.peer->address.family() == Family::kIpv4;
}
template <typename Socket>
bool has_options_once(const Socket& s) {
  for (std::size_t i = 0; i < s.options.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (s.options[i].level == s.options[j].level && s.options[i].name == s.options[j].name)
        return false;
  return true;
}
inline constexpr char kMustBeDomain[] = "must be 2 (AF_INET) or 10 (AF_INET6)";
inline constexpr char kMustBeOfDomain[] = "must be an IPv4 address for domain 2 (AF_INET)";
inline constexpr char kMustBeOnce[] = "must not have an option twice";

// Without queues and losses, which are records of their own.
template <>
struct Table<UdpSocket> {
  using Message = image::UdpSocketEntry;
  static constexpr auto rows = std::make_tuple(
      row(&UdpSocket::domain, Message::kDomainFieldNumber),
      row(&UdpSocket::cookie, Message::kCookieFieldNumber),
      row(&UdpSocket::inode, Message::kInodeFieldNumber),
      row(&UdpSocket::netns_cookie, Message::kNetnsCookieFieldNumber),
      row(&UdpSocket::nonblocking, Message::kNonblockingFieldNumber),
      row(&UdpSocket::local, Message::kLocalFieldNumber),
      row(&UdpSocket::peer, Message::kPeerFieldNumber),
      row(&UdpSocket::peer_flowinfo, Message::kPeerFlowinfoFieldNumber, {0, kFlowInfoMax}),
      row(&UdpSocket::address_chosen, Message::kAddressChosenFieldNumber),
      row(&UdpSocket::port_chosen, Message::kPortChosenFieldNumber),
      row(&UdpSocket::receive_shutdown, Message::kReceiveShutdownFieldNumber),
      row(&UdpSocket::send_shutdown, Message::kSendShutdownFieldNumber),
      row(&UdpSocket::pending_error, Message::kPendingErrorFieldNumber, {1, kErrnoMax}),
      row(&UdpSocket::reuseport_rank, Message::kReuseportRankFieldNumber),
      row(&UdpSocket::options, Message::kOptionsFieldNumber, {0, 1024}),
      row(&UdpSocket::memberships, Message::kMembershipsFieldNumber, {0, 4096}),
      row(&UdpSocket::interfaces, Message::kInterfacesFieldNumber, {0, 4096}));
  static constexpr Rule<UdpSocket> rules[] = {
      {Message::kDomainFieldNumber, has_domain<UdpSocket>, kMustBeDomain},
      {Message::kLocalFieldNumber, has_local_of_domain<UdpSocket>, kMustBeOfDomain},
      {Message::kPeerFieldNumber, has_peer_of_domain<UdpSocket>, kMustBeOfDomain},
      {Message::kOptionsFieldNumber, has_options_once<UdpSocket>, kMustBeOnce},
  };
};

template <>
struct Table<UdpCounts> {
  using Message = image::UdpSocketEntry;
  static constexpr auto rows =
      std::make_tuple(row(&UdpCounts::losses, Message::kLossesFieldNumber, {0, kLossesMax}));
  static constexpr NoRules rules{};
};

template <>
struct Table<TcpScales> {
  using Message = image::TcpScales;
  static constexpr auto rows =
      std::make_tuple(row(&TcpScales::snd, Message::kSndFieldNumber, {0, kScaleMax}),
                      row(&TcpScales::rcv, Message::kRcvFieldNumber, {0, kScaleMax}));
  static constexpr NoRules rules{};
};

template <>
struct Table<TcpWindow> {
  using Message = image::TcpWindow;
  static constexpr auto rows =
      std::make_tuple(row(&TcpWindow::snd_wl1, Message::kSndWl1FieldNumber),
                      row(&TcpWindow::snd_wnd, Message::kSndWndFieldNumber, {0, kWindowMax}),
                      row(&TcpWindow::max_window, Message::kMaxWindowFieldNumber, {0, kWindowMax}),
                      row(&TcpWindow::rcv_wnd, Message::kRcvWndFieldNumber, {0, kWindowMax}),
                      row(&TcpWindow::rcv_wup, Message::kRcvWupFieldNumber));
  static constexpr Rule<TcpWindow> rules[] = {
      {Message::kMaxWindowFieldNumber, [](const TcpWindow& w) { return w.max_window >= w.snd_wnd; },
       "must be at least snd_wnd"},
  };
};

// Without the queues, which are records of their own. What has to agree with them, and with each
// other, is the library's: see check_tcp_socket().
template <>
struct Table<TcpConnection> {
  using Message = image::TcpConnection;
  static constexpr auto rows = std::make_tuple(
      row(&TcpConnection::mss_clamp, Message::kMssClampFieldNumber, {kMssClampMin, 65535}),
      row(&TcpConnection::scales, Message::kScalesFieldNumber),
      row(&TcpConnection::sack, Message::kSackFieldNumber),
      row(&TcpConnection::timestamps, Message::kTimestampsFieldNumber),
      row(&TcpConnection::snd_seq, Message::kSndSeqFieldNumber),
      row(&TcpConnection::rcv_seq, Message::kRcvSeqFieldNumber),
      row(&TcpConnection::timestamp, Message::kTimestampFieldNumber),
      row(&TcpConnection::window, Message::kWindowFieldNumber),
      row(&TcpConnection::unsent, Message::kUnsentFieldNumber, {0, kQueueBytesMax}),
      row(&TcpConnection::urgent_mark, Message::kUrgentMarkFieldNumber),
      row(&TcpConnection::control_block, Message::kControlBlockFieldNumber,
          {kControlBlockMin, kControlBlockMax}),
      row(&TcpConnection::dumped_at, Message::kDumpedAtFieldNumber));
  static constexpr Rule<TcpConnection> rules[] = {
      {Message::kControlBlockFieldNumber,
       [](const TcpConnection& c) {
         return !c.control_block || is_control_block(*c.control_block);
       },
       "must have its length in size, and 0 in flags, pause and reserved"},
  };
};

template <>
struct Table<TcpAoKey> {
  using Message = image::TcpAoKey;
  static constexpr auto rows =
      std::make_tuple(row(&TcpAoKey::address, Message::kAddressFieldNumber),
                      row(&TcpAoKey::prefix, Message::kPrefixFieldNumber, {0, 128}),
                      row(&TcpAoKey::ifindex, Message::kIfindexFieldNumber, {0, kIfindexMax}),
                      row(&TcpAoKey::sndid, Message::kSndidFieldNumber),
                      row(&TcpAoKey::rcvid, Message::kRcvidFieldNumber),
                      row(&TcpAoKey::maclen, Message::kMaclenFieldNumber, {1, 16}),
                      row(&TcpAoKey::exclude_options, Message::kExcludeOptionsFieldNumber),
                      row(&TcpAoKey::algorithm, Message::kAlgorithmFieldNumber, {1, 63}),
                      row(&TcpAoKey::key, Message::kKeyFieldNumber, {0, 80}),
                      row(&TcpAoKey::current, Message::kCurrentFieldNumber),
                      row(&TcpAoKey::next, Message::kNextFieldNumber),
                      row(&TcpAoKey::good, Message::kGoodFieldNumber),
                      row(&TcpAoKey::bad, Message::kBadFieldNumber));
  static constexpr NoRules rules{};
};

template <>
struct Table<TcpAoCounters> {
  using Message = image::TcpAoCounters;
  static constexpr auto rows =
      std::make_tuple(row(&TcpAoCounters::good, Message::kGoodFieldNumber),
                      row(&TcpAoCounters::bad, Message::kBadFieldNumber),
                      row(&TcpAoCounters::key_not_found, Message::kKeyNotFoundFieldNumber),
                      row(&TcpAoCounters::required, Message::kRequiredFieldNumber),
                      row(&TcpAoCounters::dropped_icmp, Message::kDroppedIcmpFieldNumber));
  static constexpr NoRules rules{};
};

template <>
struct Table<TcpAoSequence> {
  using Message = image::TcpAoSequence;
  static constexpr auto rows =
      std::make_tuple(row(&TcpAoSequence::snt_isn, Message::kSntIsnFieldNumber),
                      row(&TcpAoSequence::rcv_isn, Message::kRcvIsnFieldNumber),
                      row(&TcpAoSequence::snd_sne, Message::kSndSneFieldNumber),
                      row(&TcpAoSequence::rcv_sne, Message::kRcvSneFieldNumber));
  static constexpr NoRules rules{};
};

// What keys have to be together is the library's: see check_tcp_ao().
template <>
struct Table<TcpAo> {
  using Message = image::TcpAo;
  static constexpr auto rows =
      std::make_tuple(row(&TcpAo::keys, Message::kKeysFieldNumber, {0, 4096}),
                      row(&TcpAo::required, Message::kRequiredFieldNumber),
                      row(&TcpAo::accept_icmps, Message::kAcceptIcmpsFieldNumber),
                      row(&TcpAo::counters, Message::kCountersFieldNumber),
                      row(&TcpAo::sequence, Message::kSequenceFieldNumber));
  static constexpr NoRules rules{};
};

// Without queues and losses.
template <>
struct Table<TcpSocket> {
  using Message = image::TcpSocketEntry;
  static constexpr auto rows = std::make_tuple(
      row(&TcpSocket::domain, Message::kDomainFieldNumber),
      row(&TcpSocket::cookie, Message::kCookieFieldNumber),
      row(&TcpSocket::inode, Message::kInodeFieldNumber),
      row(&TcpSocket::netns_cookie, Message::kNetnsCookieFieldNumber),
      row(&TcpSocket::nonblocking, Message::kNonblockingFieldNumber),
      row(&TcpSocket::state, Message::kStateFieldNumber),
      row(&TcpSocket::local, Message::kLocalFieldNumber),
      row(&TcpSocket::peer, Message::kPeerFieldNumber),
      row(&TcpSocket::peer_flowinfo, Message::kPeerFlowinfoFieldNumber, {0, kFlowInfoMax}),
      row(&TcpSocket::address_chosen, Message::kAddressChosenFieldNumber),
      row(&TcpSocket::port_chosen, Message::kPortChosenFieldNumber),
      row(&TcpSocket::backlog, Message::kBacklogFieldNumber, {0, 0x7fffffff}),
      row(&TcpSocket::accept_queue, Message::kAcceptQueueFieldNumber),
      row(&TcpSocket::receive_shutdown, Message::kReceiveShutdownFieldNumber),
      row(&TcpSocket::send_shutdown, Message::kSendShutdownFieldNumber),
      row(&TcpSocket::syn_sequence, Message::kSynSequenceFieldNumber),
      row(&TcpSocket::pending_error, Message::kPendingErrorFieldNumber, {1, kErrnoMax}),
      row(&TcpSocket::reuseport_rank, Message::kReuseportRankFieldNumber),
      row(&TcpSocket::options, Message::kOptionsFieldNumber, {0, 1024}),
      row(&TcpSocket::interfaces, Message::kInterfacesFieldNumber, {0, 4096}),
      row(&TcpSocket::connection, Message::kConnectionFieldNumber),
      row(&TcpSocket::ao, Message::kAoFieldNumber));
  static constexpr Rule<TcpSocket> rules[] = {
      {Message::kDomainFieldNumber, has_domain<TcpSocket>, kMustBeDomain},
      {Message::kLocalFieldNumber, has_local_of_domain<TcpSocket>, kMustBeOfDomain},
      {Message::kPeerFieldNumber, has_peer_of_domain<TcpSocket>, kMustBeOfDomain},
      {Message::kOptionsFieldNumber, has_options_once<TcpSocket>, kMustBeOnce},
      {Message::kLocalFieldNumber,
       [](const TcpSocket& s) { return s.local.has_value() || !is_connected(s.state); },
       "must be there with a connection"},
      {Message::kPeerFieldNumber,
       [](const TcpSocket& s) {
         return s.peer.has_value() == (is_connected(s.state) || s.state == TcpState::kSynSent);
       },
       "must be there with a connection and in state 2 (SYN_SENT), and only then"},
      {Message::kPeerFieldNumber,
       [](const TcpSocket& s) {
         return !s.peer || !s.local || s.peer->address.family() == s.local->address.family();
       },
       "must be of the family of local"},
      {Message::kBacklogFieldNumber,
       [](const TcpSocket& s) {
         return s.state == TcpState::kListen || (s.backlog == 0 && s.accept_queue == 0);
       },
       "must be 0, and accept_queue as well, but in state 10 (LISTEN)"},
      {Message::kSynSequenceFieldNumber,
       [](const TcpSocket& s) { return s.state == TcpState::kSynSent || !s.syn_sequence; },
       "must be there in state 2 (SYN_SENT) only"},
      {Message::kConnectionFieldNumber,
       [](const TcpSocket& s) { return s.connection.has_value() == is_connected(s.state); },
       "must be there in the states that have one, and only in these"},
      {Message::kConnectionFieldNumber,
       [](const TcpSocket& s) {
         return !s.connection || !s.connection->control_block ||
                control_block_state(*s.connection->control_block) ==
                    static_cast<std::uint8_t>(s.state);
       },
       "must have a control block of the state of the socket"},
  };
};

template <>
struct Table<TcpCounts> {
  using Message = image::TcpSocketEntry;
  static constexpr auto rows =
      std::make_tuple(row(&TcpCounts::losses, Message::kLossesFieldNumber, {0, kLossesMax}),
                      row(&TcpCounts::received, Message::kReceivedFieldNumber, {0, kQueueBytesMax}),
                      row(&TcpCounts::sent, Message::kSentFieldNumber, {0, kQueueBytesMax}));
  static constexpr NoRules rules{};
};

template <>
struct Table<Loss> {
  using Message = image::LossEntry;
  static constexpr auto rows =
      std::make_tuple(row(&Loss::subject, Message::kSubjectFieldNumber, {0, 1024}),
                      row(&Loss::index, Message::kIndexFieldNumber),
                      row(&Loss::what, Message::kWhatFieldNumber, {0, 16384}));
  static constexpr NoRules rules{};
};

template <>
struct Table<QueueHead> {
  using Message = image::UdpQueueEntry;
  static constexpr auto rows =
      std::make_tuple(row(&QueueHead::direction, Message::kDirectionFieldNumber),
                      row(&QueueHead::packets, Message::kPacketsFieldNumber, {0, kDatagramsMax}),
                      row(&QueueHead::bytes, Message::kBytesFieldNumber, {0, kQueueBytesMax}));
  static constexpr Rule<QueueHead> rules[] = {
      {Message::kPacketsFieldNumber,
       [](const QueueHead& q) { return q.direction == Direction::kReceive || q.packets <= 1; },
       "must be 0 or 1 in the send queue"},
  };
};

template <>
struct Table<PacketHead> {
  using Message = image::UdpPacketEntry;
  static constexpr auto rows =
      std::make_tuple(row(&PacketHead::length, Message::kLengthFieldNumber, {0, kPayloadMax}));
  static constexpr NoRules rules{};
};

// Without the payload, which is a record of its own. What members have to be together, and some
// limits, are the library's: see check_packet().
template <>
struct Table<ReceivedDatagram> {
  using Message = image::ReceivedPacket;
  static constexpr auto rows = std::make_tuple(
      row(&ReceivedDatagram::family, Message::kFamilyFieldNumber),
      row(&ReceivedDatagram::source, Message::kSourceFieldNumber),
      row(&ReceivedDatagram::destination, Message::kDestinationFieldNumber),
      row(&ReceivedDatagram::ifindex, Message::kIfindexFieldNumber, {1, kIfindexMax}),
      row(&ReceivedDatagram::device, Message::kDeviceFieldNumber, {1, kIfindexMax}),
      row(&ReceivedDatagram::local, Message::kLocalFieldNumber),
      row(&ReceivedDatagram::hop_limit, Message::kHopLimitFieldNumber),
      row(&ReceivedDatagram::traffic_class, Message::kTrafficClassFieldNumber),
      row(&ReceivedDatagram::flow_label, Message::kFlowLabelFieldNumber, {0, kFlowLabelMax}),
      row(&ReceivedDatagram::mark, Message::kMarkFieldNumber),
      row(&ReceivedDatagram::priority, Message::kPriorityFieldNumber),
      row(&ReceivedDatagram::timestamp, Message::kTimestampFieldNumber),
      row(&ReceivedDatagram::hardware_timestamp, Message::kHardwareTimestampFieldNumber),
      row(&ReceivedDatagram::gro_size, Message::kGroSizeFieldNumber, {1, 65535}),
      row(&ReceivedDatagram::fragment_size, Message::kFragmentSizeFieldNumber, {1, 65535}),
      row(&ReceivedDatagram::checksum, Message::kChecksumFieldNumber),
      row(&ReceivedDatagram::headers, Message::kHeadersFieldNumber, {0, 65535}),
      row(&ReceivedDatagram::next_header, Message::kNextHeaderFieldNumber),
      row(&ReceivedDatagram::l3slave, Message::kL3SlaveFieldNumber),
      row(&ReceivedDatagram::peeked, Message::kPeekedFieldNumber));
  static constexpr NoRules rules{};
};

// The same.
template <>
struct Table<SendQueue> {
  using Message = image::SentPacket;
  static constexpr auto rows = std::make_tuple(
      row(&SendQueue::family, Message::kFamilyFieldNumber),
      row(&SendQueue::source, Message::kSourceFieldNumber),
      row(&SendQueue::destination, Message::kDestinationFieldNumber),
      row(&SendQueue::source_port, Message::kSourcePortFieldNumber, {1, 65535}),
      row(&SendQueue::destination_port, Message::kDestinationPortFieldNumber, {1, 65535}),
      row(&SendQueue::oif, Message::kOifFieldNumber, {1, kIfindexMax}),
      row(&SendQueue::ifindex, Message::kIfindexFieldNumber, {0, kIfindexMax}),
      row(&SendQueue::hop_limit, Message::kHopLimitFieldNumber),
      row(&SendQueue::traffic_class, Message::kTrafficClassFieldNumber),
      row(&SendQueue::flow_label, Message::kFlowLabelFieldNumber, {1, kFlowLabelMax}),
      row(&SendQueue::priority, Message::kPriorityFieldNumber),
      row(&SendQueue::mark, Message::kMarkFieldNumber),
      row(&SendQueue::txtime, Message::kTxtimeFieldNumber),
      row(&SendQueue::tsflags, Message::kTsflagsFieldNumber),
      row(&SendQueue::tskey, Message::kTskeyFieldNumber),
      row(&SendQueue::gso_size, Message::kGsoSizeFieldNumber, {1, 65535}),
      row(&SendQueue::fragsize, Message::kFragsizeFieldNumber),
      row(&SendQueue::dontfrag, Message::kDontfragFieldNumber),
      row(&SendQueue::confirm, Message::kConfirmFieldNumber),
      row(&SendQueue::onlink, Message::kOnlinkFieldNumber),
      row(&SendQueue::zerocopy, Message::kZerocopyFieldNumber),
      row(&SendQueue::ip_options, Message::kIpOptionsFieldNumber, {0, 40}),
      row(&SendQueue::hop_by_hop, Message::kHopByHopFieldNumber, {0, kExtensionHeaderMax}),
      row(&SendQueue::routing_dst, Message::kRoutingDstFieldNumber, {0, kExtensionHeaderMax}),
      row(&SendQueue::routing, Message::kRoutingFieldNumber, {0, kExtensionHeaderMax}),
      row(&SendQueue::dst, Message::kDstFieldNumber, {0, kExtensionHeaderMax}));
  static constexpr NoRules rules{};
};

template <>
struct Table<ImageTotals> {
  using Message = image::EndEntry;
  static constexpr auto rows =
      std::make_tuple(row(&ImageTotals::records, Message::kRecordsFieldNumber),
                      row(&ImageTotals::processes, Message::kProcessesFieldNumber),
                      row(&ImageTotals::sockets, Message::kSocketsFieldNumber),
                      row(&ImageTotals::datagrams, Message::kDatagramsFieldNumber),
                      row(&ImageTotals::bytes, Message::kBytesFieldNumber),
                      row(&ImageTotals::time_waits, Message::kTimeWaitsFieldNumber));
  static constexpr NoRules rules{};
};

template <>
struct Table<TimeWaitTimestamps> {
  using Message = image::TcpTimeWaitTimestamps;
  static constexpr auto rows =
      std::make_tuple(row(&TimeWaitTimestamps::microseconds, Message::kMicrosecondsFieldNumber),
                      row(&TimeWaitTimestamps::value, Message::kValueFieldNumber),
                      row(&TimeWaitTimestamps::recent, Message::kRecentFieldNumber),
                      row(&TimeWaitTimestamps::recent_age, Message::kRecentAgeFieldNumber));
  static constexpr NoRules rules{};
};

// What has to agree is the library's: see check_tcp_time_wait().
template <>
struct Table<TcpTimeWait> {
  using Message = image::TcpTimeWaitEntry;
  static constexpr auto rows = std::make_tuple(
      row(&TcpTimeWait::domain, Message::kDomainFieldNumber),
      row(&TcpTimeWait::cookie, Message::kCookieFieldNumber),
      row(&TcpTimeWait::netns_cookie, Message::kNetnsCookieFieldNumber),
      row(&TcpTimeWait::state, Message::kStateFieldNumber),
      row(&TcpTimeWait::local, Message::kLocalFieldNumber),
      row(&TcpTimeWait::peer, Message::kPeerFieldNumber),
      row(&TcpTimeWait::port_chosen, Message::kPortChosenFieldNumber),
      row(&TcpTimeWait::device, Message::kDeviceFieldNumber),
      row(&TcpTimeWait::mark, Message::kMarkFieldNumber),
      row(&TcpTimeWait::priority, Message::kPriorityFieldNumber),
      row(&TcpTimeWait::traffic_class, Message::kTrafficClassFieldNumber),
      row(&TcpTimeWait::flow_label, Message::kFlowLabelFieldNumber, {0, kFlowLabelMax}),
      row(&TcpTimeWait::tx_delay, Message::kTxDelayFieldNumber, {0, 0x7fffffff}),
      row(&TcpTimeWait::v6_only, Message::kV6OnlyFieldNumber),
      row(&TcpTimeWait::reuse_address, Message::kReuseAddressFieldNumber),
      row(&TcpTimeWait::reuse_port, Message::kReusePortFieldNumber),
      row(&TcpTimeWait::transparent, Message::kTransparentFieldNumber),
      row(&TcpTimeWait::snd_nxt, Message::kSndNxtFieldNumber),
      row(&TcpTimeWait::rcv_nxt, Message::kRcvNxtFieldNumber),
      row(&TcpTimeWait::rcv_wnd, Message::kRcvWndFieldNumber, {0, kWindowMax}),
      row(&TcpTimeWait::rcv_scale, Message::kRcvScaleFieldNumber, {0, kScaleMax}),
      row(&TcpTimeWait::timestamps, Message::kTimestampsFieldNumber),
      row(&TcpTimeWait::challenge_age, Message::kChallengeAgeFieldNumber),
      row(&TcpTimeWait::remaining, Message::kRemainingFieldNumber, {1, kFinWait2Longest}),
      row(&TcpTimeWait::dumped_at, Message::kDumpedAtFieldNumber),
      row(&TcpTimeWait::keys, Message::kKeysFieldNumber, {0, 15}));
  static constexpr NoRules rules{};
};

template <>
struct SocketKind<UdpSocket> {
  static constexpr RecordType record = RecordType::kUdpSocket;
  using Counts = UdpCounts;
};
template <>
struct SocketKind<TcpSocket> {
  static constexpr RecordType record = RecordType::kTcpSocket;
  using Counts = TcpCounts;
};

// A new member breaks one of these until it is carried: in a row, or in a record of its own as
// those that are counted here are.
static_assert(member_count<Endpoint>() == row_count<Endpoint>());
static_assert(member_count<OptionValue>() == row_count<OptionValue>());
static_assert(member_count<Membership>() == row_count<Membership>());
static_assert(member_count<InterfaceName>() == row_count<InterfaceName>());
static_assert(member_count<EpollWatch>() == row_count<EpollWatch>());
static_assert(member_count<ImageDescriptor>() == row_count<ImageDescriptor>());
static_assert(member_count<ImageProcess>() == row_count<ImageProcess>());
static_assert(member_count<ImageSocket>() == row_count<ImageSocket>() + 1 /* socket */);
static_assert(member_count<UdpSocket>() ==
              row_count<UdpSocket>() + 3 /* send_queue, receive_queue, losses */);
static_assert(member_count<ReceiveQueue>() == 1 /* datagrams */);
static_assert(member_count<UdpCounts>() == row_count<UdpCounts>());
static_assert(member_count<TcpScales>() == row_count<TcpScales>());
static_assert(member_count<TcpWindow>() == row_count<TcpWindow>());
static_assert(member_count<TcpConnection>() ==
              row_count<TcpConnection>() + 2 /* receive_queue, send_queue */);
static_assert(member_count<TcpAoKey>() == row_count<TcpAoKey>());
static_assert(member_count<TcpAoCounters>() == row_count<TcpAoCounters>());
static_assert(member_count<TcpAoSequence>() == row_count<TcpAoSequence>());
static_assert(member_count<TcpAo>() == row_count<TcpAo>());
static_assert(member_count<TcpSocket>() == row_count<TcpSocket>() + 1 /* losses */);
static_assert(member_count<TcpCounts>() == row_count<TcpCounts>());
static_assert(member_count<Loss>() == row_count<Loss>());
static_assert(member_count<QueueHead>() == row_count<QueueHead>());
static_assert(member_count<PacketHead>() == row_count<PacketHead>());
static_assert(member_count<ReceivedDatagram>() == row_count<ReceivedDatagram>() + 1 /* payload */);
static_assert(member_count<SendQueue>() == row_count<SendQueue>() + 1 /* payload */);
static_assert(member_count<ImageTotals>() == row_count<ImageTotals>());
static_assert(member_count<TimeWaitTimestamps>() == row_count<TimeWaitTimestamps>());
static_assert(member_count<TcpTimeWait>() == row_count<TcpTimeWait>());

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_IMAGE_TABLES_H_

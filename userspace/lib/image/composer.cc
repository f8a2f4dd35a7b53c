// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/composer.h"

#include <errno.h>

#include <algorithm>
#include <optional>
#include <string>

#include "image/codec.h"
#include "image/parser.h"
#include "image/wire.h"
#include "proto/image.pb.h"
#include "tcp_check.h"
#include "tcp_time_wait_check.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

namespace pb = google::protobuf;

// What is in `message` of `Struct`, as ImageParser will see it.
template <typename Struct>
Result<void> check(const pb::Message& message, const std::string& prefix = {}) {
  Struct value;
  std::optional<FieldProblem> wrong = decode(message, &value);
  if (!wrong) return {};
  return Error{wrong->code, message.GetDescriptor()->name() + ": " + prefix +
                                path_text(*message.GetDescriptor(), wrong->path) + ": " +
                                wrong->what};
}

// Before a number is cut to the type that it is stored as.
Result<void> check_count(const std::string& what, std::size_t count, std::uint64_t max) {
  if (count <= max) return {};
  return Error{EMSGSIZE, what + ": " + std::to_string(count) + ", at most " + std::to_string(max)};
}

Result<UdpCounts> counts_of(const UdpSocket& socket) {
  return UdpCounts{static_cast<std::uint32_t>(socket.losses.size())};
}

Result<TcpCounts> counts_of(const TcpSocket& socket) {
  TcpCounts counts{static_cast<std::uint32_t>(socket.losses.size()), 0, 0};
  if (!socket.connection) return counts;
  const TcpConnection& connection = *socket.connection;
  SOCKREPAIR_TRY(
      check_count("TcpSocketEntry: received", connection.receive_queue.size(), kQueueBytesMax));
  SOCKREPAIR_TRY(check_count("TcpSocketEntry: sent", connection.send_queue.size(), kQueueBytesMax));
  counts.received = static_cast<std::uint32_t>(connection.receive_queue.size());
  counts.sent = static_cast<std::uint32_t>(connection.send_queue.size());
  return counts;
}

// What the library has to say of all members together; of UDP it is said packet by packet.
Result<void> check_whole(const UdpSocket&) {
  return {};
}
Result<void> check_whole(const TcpSocket& socket) {
  Result<void> checked = check_tcp_socket(socket);
  if (checked) return {};
  return Error{checked.error().code, "TcpSocketEntry: " + checked.error().what};
}

// The part of a UdpPacketEntry that is for a packet of this kind.
pb::Message* part(image::UdpPacketEntry* message, const ReceivedDatagram&) {
  return message->mutable_received();
}
pb::Message* part(image::UdpPacketEntry* message, const SendQueue&) {
  return message->mutable_sent();
}

}  // namespace

Result<void> ImageComposer::begin() {
  return records_.write_header();
}

Result<void> ImageComposer::add_message(RecordType type, const pb::Message& message) {
  std::string body;
  // Fails beyond 2 GiB only.
  if (!message.SerializeToString(&body))
    return Error{EMSGSIZE, message.GetDescriptor()->name() + ": too long for a message"};
  return records_.write(type,
                        std::span(reinterpret_cast<const std::uint8_t*>(body.data()), body.size()));
}

template <typename Struct>
Result<void> ImageComposer::add_record(RecordType type, const Struct& value) {
  typename Table<Struct>::Message message;
  encode(value, &message);
  SOCKREPAIR_TRY(check<Struct>(message));
  return add_message(type, message);
}

Result<void> ImageComposer::add(const ImageProcess& process) {
  SOCKREPAIR_TRY(add_record(RecordType::kProcess, process));
  ++totals_.processes;
  sockets_end_ = false;
  return {};
}

Result<void> ImageComposer::add(const TcpTimeWait& connection) {
  if (totals_.processes == 0)
    return Error{EINVAL, "TcpTimeWaitEntry: there must be a ProcessEntry before it"};
  Result<void> checked = check_tcp_time_wait(connection);
  if (!checked) return Error{checked.error().code, "TcpTimeWaitEntry: " + checked.error().what};
  SOCKREPAIR_TRY(add_record(RecordType::kTcpTimeWait, connection));
  ++totals_.time_waits;
  sockets_end_ = true;
  return {};
}

Result<void> ImageComposer::add(const ImageSocket& entry) {
  return std::visit([&](const auto& socket) { return add_socket(entry, socket); }, entry.socket);
}

template <typename Socket>
Result<void> ImageComposer::add_socket(const ImageSocket& entry, const Socket& socket) {
  typename Table<Socket>::Message message;
  const std::string& name = message.GetDescriptor()->name();
  if (totals_.processes == 0)
    return Error{EINVAL, name + ": there must be a ProcessEntry before it"};
  if (sockets_end_)
    return Error{EINVAL, name + ": there must be no TcpTimeWaitEntry of its process before it"};
  SOCKREPAIR_TRY(check_count(name + ": losses", socket.losses.size(), kLossesMax));
  SOCKREPAIR_TRY_ASSIGN(typename SocketKind<Socket>::Counts counts, counts_of(socket));
  encode(entry, &message);
  encode(socket, &message);
  encode(counts, &message);
  SOCKREPAIR_TRY(check<ImageSocket>(message));
  SOCKREPAIR_TRY(check<Socket>(message));
  SOCKREPAIR_TRY(check_whole(socket));
  SOCKREPAIR_TRY(add_message(SocketKind<Socket>::record, message));

  for (const Loss& loss : socket.losses) SOCKREPAIR_TRY(add_record(RecordType::kLoss, loss));
  SOCKREPAIR_TRY(add_rest(socket));
  ++totals_.sockets;
  return {};
}

Result<void> ImageComposer::add_rest(const UdpSocket& socket) {
  SOCKREPAIR_TRY(add_queue(Direction::kReceive,
                           std::span<const ReceivedDatagram>(socket.receive_queue.datagrams)));
  std::span<const SendQueue> sent;
  if (socket.send_queue) sent = std::span(&*socket.send_queue, 1);
  return add_queue(Direction::kSend, sent);
}

Result<void> ImageComposer::add_rest(const TcpSocket& socket) {
  if (!socket.connection) return {};
  SOCKREPAIR_TRY(add_stream(socket.connection->receive_queue));
  return add_stream(socket.connection->send_queue);
}

Result<void> ImageComposer::add_stream(std::span<const std::uint8_t> bytes) {
  totals_.bytes += bytes.size();
  while (!bytes.empty()) {
    std::span<const std::uint8_t> part = bytes.first(std::min<std::size_t>(bytes.size(), kDataMax));
    SOCKREPAIR_TRY(records_.write(RecordType::kData, part));
    bytes = bytes.subspan(part.size());
  }
  return {};
}

template <typename Packet>
Result<void> ImageComposer::add_queue(Direction direction, std::span<const Packet> packets) {
  SOCKREPAIR_TRY(check_count("UdpQueueEntry: packets", packets.size(), kDatagramsMax));
  QueueHead head{direction, static_cast<std::uint32_t>(packets.size()), 0};
  for (const Packet& packet : packets) head.bytes += packet.payload.size();
  SOCKREPAIR_TRY(add_record(RecordType::kQueue, head));
  for (std::size_t i = 0; i < packets.size(); ++i) SOCKREPAIR_TRY(add_packet(packets[i], i));
  return {};
}

template <typename Packet>
Result<void> ImageComposer::add_packet(const Packet& packet, std::size_t index) {
  if (packet.payload.size() > kPayloadMax) {
    return Error{EMSGSIZE, "UdpPacketEntry: payload: " + std::to_string(packet.payload.size()) +
                               " bytes, at most " + std::to_string(kPayloadMax)};
  }
  image::UdpPacketEntry message;
  encode(PacketHead{static_cast<std::uint32_t>(packet.payload.size())}, &message);
  pb::Message* fields = part(&message, packet);
  encode(packet, fields);
  SOCKREPAIR_TRY(check<Packet>(*fields));
  Result<void> checked = check_packet(packet, index);
  if (!checked) {
    return Error{checked.error().code,
                 fields->GetDescriptor()->name() + ": " + checked.error().what};
  }

  SOCKREPAIR_TRY(add_message(RecordType::kPacket, message));
  SOCKREPAIR_TRY(records_.write(RecordType::kData, packet.payload));
  ++totals_.datagrams;
  totals_.bytes += packet.payload.size();
  return {};
}

Result<void> ImageComposer::end() {
  totals_.records = records_.records() + 1;
  return add_record(RecordType::kEnd, totals_);
}

}  // namespace sockrepair::internal

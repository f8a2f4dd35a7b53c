// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/composer.h"

#include <errno.h>

#include <optional>
#include <string>

#include "image/codec.h"
#include "image/parser.h"
#include "image/wire.h"
#include "proto/image.pb.h"
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
  return {};
}

Result<void> ImageComposer::add(const ImageSocket& entry) {
  if (totals_.processes == 0)
    return Error{EINVAL, "UdpSocketEntry: there must be a ProcessEntry before it"};
  const UdpSocket& socket = entry.socket;
  if (socket.losses.size() > kLossesMax) {
    return Error{EMSGSIZE, "UdpSocketEntry: losses: " + std::to_string(socket.losses.size()) +
                               ", at most " + std::to_string(kLossesMax)};
  }
  image::UdpSocketEntry message;
  encode(entry, &message);
  encode(socket, &message);
  encode(SocketCounts{static_cast<std::uint32_t>(socket.losses.size())}, &message);
  SOCKREPAIR_TRY(check<ImageSocket>(message));
  SOCKREPAIR_TRY(check<UdpSocket>(message));
  SOCKREPAIR_TRY(add_message(RecordType::kSocket, message));

  for (const Loss& loss : socket.losses) SOCKREPAIR_TRY(add_record(RecordType::kLoss, loss));
  SOCKREPAIR_TRY(add_queue(Direction::kReceive,
                           std::span<const ReceivedDatagram>(socket.receive_queue.datagrams)));
  std::span<const SendQueue> sent;
  if (socket.send_queue) sent = std::span(&*socket.send_queue, 1);
  SOCKREPAIR_TRY(add_queue(Direction::kSend, sent));
  ++totals_.sockets;
  return {};
}

template <typename Packet>
Result<void> ImageComposer::add_queue(Direction direction, std::span<const Packet> packets) {
  if (packets.size() > kDatagramsMax) {
    return Error{EMSGSIZE, "UdpQueueEntry: packets: " + std::to_string(packets.size()) +
                               ", at most " + std::to_string(kDatagramsMax)};
  }
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

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/parser.h"

#include <errno.h>

#include <algorithm>
#include <utility>

#include "image/codec.h"
#include "image/wire.h"
#include "proto/image.pb.h"
#include "receive_queue_wire.h"
#include "send_queue_wire.h"
#include "tcp_check.h"
#include "tcp_time_wait_check.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

namespace pb = google::protobuf;

Error bad(const std::string& place, const std::string& why) {
  return Error{EBADMSG, place + ": " + why};
}

Error bad_field(const Record& record, const std::string& field, std::uint64_t offset,
                const std::string& why) {
  return bad(record.place(), "field " + field + " at offset " +
                                 std::to_string(record.body_offset() + offset) + ": " + why);
}

// `inside` is where in `message` the value was that has the problem.
Error bad_value(const Record& record, const pb::Descriptor& message, const FieldPath& inside,
                const FieldProblem& problem) {
  FieldPath path = inside;
  path.insert(path.end(), problem.path.begin(), problem.path.end());
  return bad_field(record, path_text(message, path), find_field(message, record.body, path),
                   problem.what);
}

}  // namespace

Result<void> check_packet(const SendQueue& queue, std::size_t) {
  return check_members(queue);
}

Result<void> check_packet(const ReceivedDatagram& datagram, std::size_t index) {
  return check_datagram(datagram, index);
}

Error ImageParser::misplaced(const std::string& must_be) const {
  return bad(record_.place(), "in the wrong place, must be " + must_be);
}

Result<void> ImageParser::expect(RecordType type) {
  SOCKREPAIR_TRY(records_.read(&record_));
  if (record_.kind->type == type) return {};
  return misplaced(record_kind(type).name);
}

template <typename Message>
Result<void> ImageParser::parse(Message* message) {
  if (auto wrong = check_wire(*Message::descriptor(), record_.body))
    return bad_field(record_, wrong->field, wrong->offset, wrong->what);
  if (!message->ParseFromArray(record_.body.data(), static_cast<int>(record_.body.size())))
    return bad(record_.place(), "not a protobuf message");
  return {};
}

template <typename Struct>
Result<void> ImageParser::decode_record(Struct* value) {
  typename Table<Struct>::Message message;
  SOCKREPAIR_TRY(parse(&message));
  if (auto wrong = decode(message, value))
    return bad_value(record_, *message.GetDescriptor(), {}, *wrong);
  return {};
}

Result<void> ImageParser::begin() {
  return records_.read_header();
}

Result<void> ImageParser::next(std::optional<ImageEntry>* entry) {
  entry->reset();
  if (ended_) return {};
  SOCKREPAIR_TRY(records_.read(&record_));
  switch (record_.kind->type) {
    case RecordType::kProcess:
      return read_process(&entry->emplace().emplace<ImageProcess>());
    case RecordType::kUdpSocket:
      return read_socket<UdpSocket>(&entry->emplace().emplace<ImageSocket>());
    case RecordType::kTcpSocket:
      return read_socket<TcpSocket>(&entry->emplace().emplace<ImageSocket>());
    case RecordType::kTcpTimeWait:
      return read_time_wait(&entry->emplace().emplace<TcpTimeWait>());
    case RecordType::kEnd:
      return read_end();
    default:
      return misplaced(
          "ProcessEntry, UdpSocketEntry, TcpSocketEntry, TcpTimeWaitEntry or EndEntry");
  }
}

Result<void> ImageParser::read_process(ImageProcess* process) {
  SOCKREPAIR_TRY(decode_record(process));
  ++totals_.processes;
  sockets_end_ = false;
  return {};
}

Result<void> ImageParser::read_time_wait(TcpTimeWait* connection) {
  if (totals_.processes == 0) return misplaced("ProcessEntry or EndEntry");
  SOCKREPAIR_TRY(decode_record(connection));
  Result<void> checked = check_tcp_time_wait(*connection);
  if (!checked) return bad(record_.place(), checked.error().what);
  ++totals_.time_waits;
  sockets_end_ = true;
  return {};
}

template <typename Socket>
Result<void> ImageParser::read_socket(ImageSocket* entry) {
  if (totals_.processes == 0) return misplaced("ProcessEntry or EndEntry");
  if (sockets_end_) return misplaced("TcpTimeWaitEntry, ProcessEntry or EndEntry");
  const std::string place = record_.place();
  auto& socket = entry->socket.emplace<Socket>();
  typename SocketKind<Socket>::Counts counts;
  {
    typename Table<Socket>::Message message;
    SOCKREPAIR_TRY(parse(&message));
    auto wrong = decode(message, entry);
    if (!wrong) wrong = decode(message, &socket);
    if (!wrong) wrong = decode(message, &counts);
    if (wrong) return bad_value(record_, *message.GetDescriptor(), {}, *wrong);
  }
  SOCKREPAIR_TRY(read_losses(counts.losses, &socket.losses));
  SOCKREPAIR_TRY(read_rest(place, counts, &socket));
  ++totals_.sockets;
  return {};
}

Result<void> ImageParser::read_losses(std::uint32_t count, std::vector<Loss>* losses) {
  for (std::uint32_t i = 0; i < count; ++i) {
    SOCKREPAIR_TRY(expect(RecordType::kLoss));
    SOCKREPAIR_TRY(decode_record(&losses->emplace_back()));
  }
  return {};
}

Result<void> ImageParser::read_rest(const std::string&, const UdpCounts&, UdpSocket* socket) {
  SOCKREPAIR_TRY(read_queue(Direction::kReceive, socket));
  return read_queue(Direction::kSend, socket);
}

Result<void> ImageParser::read_rest(const std::string& place, const TcpCounts& counts,
                                    TcpSocket* socket) {
  if (socket->connection) {
    SOCKREPAIR_TRY(read_stream(counts.received, &socket->connection->receive_queue));
    SOCKREPAIR_TRY(read_stream(counts.sent, &socket->connection->send_queue));
  } else if (counts.received != 0 || counts.sent != 0) {
    return bad(place, "field received or sent: must be 0 without a connection");
  }
  Result<void> checked = check_tcp_socket(*socket);
  if (!checked) return bad(place, checked.error().what);
  return {};
}

Result<void> ImageParser::read_stream(std::uint32_t length, Bytes* stream) {
  while (stream->size() < length) {
    auto left = static_cast<std::uint32_t>(length - stream->size());
    SOCKREPAIR_TRY(read_data(std::min(left, kDataMax), "that the TcpSocketEntry before it leaves"));
    stream->insert(stream->end(), record_.body.begin(), record_.body.end());
  }
  totals_.bytes += length;
  return {};
}

Result<void> ImageParser::read_queue(Direction direction, UdpSocket* socket) {
  SOCKREPAIR_TRY(expect(RecordType::kQueue));
  QueueHead head;
  SOCKREPAIR_TRY(decode_record(&head));
  Record place = {record_.kind, record_.number, record_.offset, {}};
  if (head.direction != direction) {
    return bad(place.place(),
               std::string("field direction: must be ") + (direction == Direction::kReceive
                                                               ? "1, the receive queue is first"
                                                               : "2, the send queue is second"));
  }

  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < head.packets; ++i) {
    SOCKREPAIR_TRY_ASSIGN(std::size_t length, read_packet(direction, i, socket));
    bytes += length;
    if (bytes > head.bytes) break;
  }
  if (bytes != head.bytes) {
    return bad(place.place(), "field bytes: " + std::to_string(head.bytes) +
                                  ", but the packets have " + std::to_string(bytes));
  }
  return {};
}

Result<std::size_t> ImageParser::read_packet(Direction direction, std::size_t index,
                                             UdpSocket* socket) {
  SOCKREPAIR_TRY(expect(RecordType::kPacket));
  PacketHead head;
  image::UdpPacketEntry message;
  SOCKREPAIR_TRY(parse(&message));
  const pb::Descriptor& descriptor = *message.GetDescriptor();
  if (auto wrong = decode(message, &head)) return bad_value(record_, descriptor, {}, *wrong);

  // Finishes a packet: its fields, then its payload, then what both have to be together.
  auto finish = [&](int number, const pb::Message& fields, auto* packet) -> Result<void> {
    FieldPath path{{number}};
    if (auto wrong = decode(fields, packet)) return bad_value(record_, descriptor, path, *wrong);
    std::string place = record_.place();
    SOCKREPAIR_TRY(read_payload(head.length, &packet->payload));
    Result<void> checked = check_packet(*packet, index);
    if (!checked) return bad(place, checked.error().what);
    return {};
  };
  if (direction == Direction::kReceive) {
    if (!message.has_received()) return bad(record_.place(), "field received: not there");
    SOCKREPAIR_TRY(finish(image::UdpPacketEntry::kReceivedFieldNumber, message.received(),
                          &socket->receive_queue.datagrams.emplace_back()));
  } else {
    if (!message.has_sent()) return bad(record_.place(), "field sent: not there");
    SOCKREPAIR_TRY(finish(image::UdpPacketEntry::kSentFieldNumber, message.sent(),
                          &socket->send_queue.emplace()));
  }
  ++totals_.datagrams;
  totals_.bytes += head.length;
  return std::size_t{head.length};
}

Result<void> ImageParser::read_data(std::uint32_t length, const char* must_be) {
  SOCKREPAIR_TRY(expect(RecordType::kData));
  if (record_.body.size() == length) return {};
  return bad(record_.place(), "field length: " + std::to_string(record_.body.size()) +
                                  ", must be the " + std::to_string(length) + " " + must_be);
}

Result<void> ImageParser::read_payload(std::uint32_t length, Bytes* payload) {
  SOCKREPAIR_TRY(read_data(length, "that the UdpPacketEntry before it says"));
  *payload = std::move(record_.body);
  return {};
}

Result<void> ImageParser::read_end() {
  ImageTotals said;
  SOCKREPAIR_TRY(decode_record(&said));
  totals_.records = records_.records();
  if (said != totals_) {
    std::string counted;
    for (std::uint64_t count : {totals_.records, totals_.processes, totals_.sockets,
                                totals_.datagrams, totals_.bytes, totals_.time_waits})
      counted += (counted.empty() ? "" : ", ") + std::to_string(count);
    return bad(record_.place(),
               "records, processes, sockets, datagrams, bytes and time_waits must be " + counted);
  }
  SOCKREPAIR_TRY(records_.expect_end());
  ended_ = true;
  return {};
}

ImageSummary ImageParser::summary() const {
  return {.major_version = kImageMajor,
          .minor_version = records_.minor(),
          .bytes = records_.bytes(),
          .records = records_.records(),
          .processes = totals_.processes,
          .sockets = totals_.sockets,
          .datagrams = totals_.datagrams,
          .time_waits = totals_.time_waits};
}

}  // namespace sockrepair::internal

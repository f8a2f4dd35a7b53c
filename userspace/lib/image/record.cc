// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/record.h"

#include <errno.h>
#include <zlib.h>

#include <algorithm>

#include "try.h"

namespace sockrepair::internal {

namespace {

constexpr char kHeaderPlace[] = "image header at offset 0";

// A row for every RecordType, in its order.
constexpr RecordKind kKinds[] = {
    {RecordType::kProcess, "ProcessEntry", 1U << 12},
    {RecordType::kUdpSocket, "UdpSocketEntry", 1U << 22},
    {RecordType::kLoss, "LossEntry", 1U << 15},
    {RecordType::kQueue, "UdpQueueEntry", 1U << 12},
    {RecordType::kPacket, "UdpPacketEntry", 1U << 17},
    {RecordType::kData, "data", kDataMax},
    {RecordType::kEnd, "EndEntry", 1U << 12},
    {RecordType::kTcpSocket, "TcpSocketEntry", 1U << 22},
    {RecordType::kTcpTimeWait, "TcpTimeWaitEntry", 1U << 12},
};

const RecordKind* find_kind(std::uint32_t type) {
  auto same = [type](const RecordKind& kind) {
    return static_cast<std::uint32_t>(kind.type) == type;
  };
  const RecordKind* row = std::find_if(std::begin(kKinds), std::end(kKinds), same);
  return row == std::end(kKinds) ? nullptr : row;
}

template <typename T>
void put(T value, std::uint8_t* to) {
  for (std::size_t i = 0; i < sizeof(T); ++i) to[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

template <typename T>
T get(const std::uint8_t* from) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value | static_cast<T>(static_cast<T>(from[i]) << (8 * i)));
  return value;
}

std::uint32_t add_to_checksum(std::uint32_t checksum, std::span<const std::uint8_t> bytes) {
  // zlib begins anew when it is given no memory, which is what an empty payload has.
  if (bytes.empty()) return checksum;
  return static_cast<std::uint32_t>(crc32_z(checksum, bytes.data(), bytes.size()));
}

std::string hex(std::uint32_t value) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) text += kDigits[(value >> shift) & 0xf];
  return text;
}

Error bad(const std::string& place, const std::string& why) {
  return Error{EBADMSG, place + ": " + why};
}

Error wrong_checksum(const std::string& place, const std::string& field, std::uint32_t found,
                     std::uint32_t expected) {
  return bad(place, field + ": " + hex(found) + ", must be " + hex(expected) +
                        "; something before it is damaged");
}

std::string record_place(std::uint64_t number, std::uint64_t offset, const RecordKind* kind) {
  std::string name = kind == nullptr ? "" : std::string(" (") + kind->name + ")";
  return "record " + std::to_string(number) + name + " at offset " + std::to_string(offset);
}

std::string at(std::uint64_t offset) {
  return " at offset " + std::to_string(offset);
}

}  // namespace

std::span<const RecordKind> record_kinds() {
  return kKinds;
}

const RecordKind& record_kind(RecordType type) {
  return kKinds[static_cast<std::uint32_t>(type) - 1];
}

std::string Record::place() const {
  return record_place(number, offset, kind);
}

Result<void> RecordWriter::write_header() {
  std::array<std::uint8_t, kImageHeaderSize> header{};
  std::copy(kImageMagic.begin(), kImageMagic.end(), header.begin());
  put(kImageMajor, &header[8]);
  put(kImageMinor, &header[10]);
  checksum_ = add_to_checksum(checksum_, std::span(header).first(12));
  put(checksum_, &header[12]);
  return sink_->write(header);
}

Result<void> RecordWriter::write(RecordType type, std::span<const std::uint8_t> body) {
  const RecordKind& kind = record_kind(type);
  if (body.size() > kind.max) {
    return Error{EMSGSIZE, std::string(kind.name) + ": " + std::to_string(body.size()) +
                               " bytes, at most " + std::to_string(kind.max)};
  }
  std::array<std::uint8_t, kRecordHeadSize> head{};
  put(static_cast<std::uint32_t>(type), &head[0]);
  put(static_cast<std::uint32_t>(body.size()), &head[4]);
  checksum_ = add_to_checksum(checksum_, std::span(head).first(8));
  put(checksum_, &head[8]);
  SOCKREPAIR_TRY(sink_->write(head));

  SOCKREPAIR_TRY(sink_->write(body));
  checksum_ = add_to_checksum(checksum_, body);
  std::array<std::uint8_t, kRecordTailSize> tail{};
  put(checksum_, &tail[0]);
  SOCKREPAIR_TRY(sink_->write(tail));
  ++records_;
  return {};
}

// `record` is null for the image header.
Result<void> RecordReader::fill(std::span<std::uint8_t> to, const Record* record,
                                const char* part) {
  SOCKREPAIR_TRY_ASSIGN(std::size_t count, source_->read(to));
  if (count == to.size()) {
    offset_ += count;
    return {};
  }
  return bad(record == nullptr ? kHeaderPlace : record->place(),
             std::string(part) + at(offset_) + ": " + std::to_string(to.size()) +
                 " bytes, but the image ends" + at(offset_ + count));
}

Result<void> RecordReader::read_header() {
  const std::string place = kHeaderPlace;
  std::array<std::uint8_t, kImageHeaderSize> header{};
  SOCKREPAIR_TRY(fill(header, nullptr, "header"));

  if (!std::equal(kImageMagic.begin(), kImageMagic.end(), header.begin()))
    return bad(place, "field magic at offset 0: not an image of sockets");
  auto major = get<std::uint16_t>(&header[8]);
  minor_ = get<std::uint16_t>(&header[10]);
  if (major != kImageMajor) {
    return Error{ENOTSUP, place + ": field version at offset 8: " + std::to_string(major) + "." +
                              std::to_string(minor_) + ", must be " + std::to_string(kImageMajor) +
                              ".x"};
  }
  checksum_ = add_to_checksum(checksum_, std::span(header).first(12));
  auto found = get<std::uint32_t>(&header[12]);
  if (found != checksum_) return wrong_checksum(place, "checksum at offset 12", found, checksum_);
  return {};
}

Result<void> RecordReader::read(Record* record) {
  record->kind = nullptr;
  record->number = records_;
  record->offset = offset_;

  std::array<std::uint8_t, kRecordHeadSize> head{};
  SOCKREPAIR_TRY(fill(head, record, "head"));
  checksum_ = add_to_checksum(checksum_, std::span(head).first(8));
  auto found = get<std::uint32_t>(&head[8]);
  if (found != checksum_)
    return wrong_checksum(record->place(), "checksum of the head" + at(record->offset + 8), found,
                          checksum_);

  auto type = get<std::uint32_t>(&head[0]);
  record->kind = find_kind(type);
  if (record->kind == nullptr) {
    return bad(record->place(),
               "field type" + at(record->offset) + ": " + std::to_string(type) + ", must be 1 to " +
                   std::to_string(std::size(kKinds)) + "; others are unknown to version " +
                   std::to_string(kImageMajor) + "." + std::to_string(kImageMinor));
  }
  auto length = get<std::uint32_t>(&head[4]);
  if (length > record->kind->max) {
    return bad(record->place(), "field length" + at(record->offset + 4) + ": " +
                                    std::to_string(length) + ", must be 0 to " +
                                    std::to_string(record->kind->max));
  }
  // Not the memory of the record before: it would be as large as the longest, and hide from the
  // sanitizers who reads behind the end of this one.
  record->body = Bytes(length);
  SOCKREPAIR_TRY(fill(record->body, record, "body"));
  checksum_ = add_to_checksum(checksum_, record->body);

  std::array<std::uint8_t, kRecordTailSize> tail{};
  std::uint64_t tail_offset = offset_;
  SOCKREPAIR_TRY(fill(tail, record, "checksum"));
  found = get<std::uint32_t>(&tail[0]);
  if (found != checksum_)
    return wrong_checksum(record->place(), "checksum" + at(tail_offset), found, checksum_);
  ++records_;
  return {};
}

Result<void> RecordReader::expect_end() {
  std::uint8_t more = 0;
  SOCKREPAIR_TRY_ASSIGN(std::size_t count, source_->read(std::span(&more, 1)));
  if (count == 0) return {};
  return bad("image of " + std::to_string(records_) + " records",
             "more bytes" + at(offset_) + ", behind the end record");
}

}  // namespace sockrepair::internal

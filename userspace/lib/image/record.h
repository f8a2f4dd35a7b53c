// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_IMAGE_RECORD_H_
#define SOCKREPAIR_LIB_IMAGE_RECORD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sockrepair/result.h"

// The outer layer of an image: a header, and records with a type, a length and checksums. What is
// in a record is not looked at here.
//
//   header   8 bytes magic, u16 major version, u16 minor version, u32 checksum
//   record   u32 type, u32 length, u32 checksum, `length` bytes of body, u32 checksum
//
// Numbers are little-endian. A checksum is the CRC-32 of zlib over all bytes of the image before it
// that are not checksums: a record that is missing, twice there or in another place is as visible
// as a wrong bit, and a length is known to be right before it is used.
namespace sockrepair::internal {

using Bytes = std::vector<std::uint8_t>;

inline constexpr std::array<std::uint8_t, 8> kImageMagic = {0x89, 'S', 'K', 'R',
                                                            'I',  'M', 'G', '\n'};
inline constexpr std::uint16_t kImageMajor = 1;
inline constexpr std::uint16_t kImageMinor = 2;

inline constexpr std::size_t kImageHeaderSize = 16;
inline constexpr std::size_t kRecordHeadSize = 12;
inline constexpr std::size_t kRecordTailSize = 4;

inline constexpr std::uint32_t kDataMax = 65535;  // bytes of body of a data record

enum class RecordType : std::uint32_t {
  kProcess = 1,
  kUdpSocket = 2,
  kLoss = 3,
  kQueue = 4,
  kPacket = 5,
  kData = 6,
  kEnd = 7,
  kTcpSocket = 8,
  kTcpTimeWait = 9,
};

// A row of the table of records.
struct RecordKind {
  RecordType type;
  const char* name;   // for messages; of the protobuf message where there is one
  std::uint32_t max;  // bytes of body
};

std::span<const RecordKind> record_kinds();
const RecordKind& record_kind(RecordType type);

// Where bytes come from, one after the other. They are not read twice.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills `to`, or as much of it as there is before the end; the number of bytes.
  virtual Result<std::size_t> read(std::span<std::uint8_t> to) = 0;
};

// Where bytes go to.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // All of them, or an error.
  virtual Result<void> write(std::span<const std::uint8_t> from) = 0;
};

// A record that was read, its checksums found right.
struct Record {
  const RecordKind* kind = nullptr;
  std::uint64_t number = 0;  // from 0 on
  std::uint64_t offset = 0;  // of its first byte in the image
  Bytes body;

  std::uint64_t body_offset() const { return offset + kRecordHeadSize; }
  // "record 4 (UdpPacketEntry) at offset 310"
  std::string place() const;
};

class RecordWriter {
 public:
  explicit RecordWriter(ByteSink& sink) : sink_(&sink) {}

  // Once, before the first record.
  Result<void> write_header();
  // EMSGSIZE: the body is longer than the kind allows.
  Result<void> write(RecordType type, std::span<const std::uint8_t> body);

  std::uint64_t records() const { return records_; }

 private:
  ByteSink* sink_;
  std::uint32_t checksum_ = 0;
  std::uint64_t records_ = 0;
};

class RecordReader {
 public:
  explicit RecordReader(ByteSource& source) : source_(&source) {}

  // Once, before the first record.
  Result<void> read_header();
  // The next record. The end of the bytes is an error: a reader asks only for what has to be there.
  Result<void> read(Record* record);
  // EBADMSG if there are more bytes.
  Result<void> expect_end();

  std::uint16_t minor() const { return minor_; }
  // Of what was read so far.
  std::uint64_t records() const { return records_; }
  std::uint64_t bytes() const { return offset_; }
  std::uint32_t checksum() const { return checksum_; }

 private:
  Result<void> fill(std::span<std::uint8_t> to, const Record* record, const char* part);

  ByteSource* source_;
  std::uint16_t minor_ = 0;
  std::uint32_t checksum_ = 0;
  std::uint64_t records_ = 0;
  std::uint64_t offset_ = 0;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_IMAGE_RECORD_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/raw_image.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <optional>
#include <variant>

#include "sockrepair/fd.h"
#include "try.h"

namespace sockrepair::test {

namespace {

using internal::kImageHeaderSize;
using internal::kRecordHeadSize;
using internal::kRecordTailSize;

Result<Fd> memory_file() {
  Fd fd(::memfd_create("image", MFD_CLOEXEC));
  if (!fd) return Error{errno, "memfd_create()"};
  return fd;
}

std::uint32_t get32(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<std::uint8_t>(bytes[at + i]);
  return value;
}

void put32(std::uint32_t value, std::string* bytes) {
  for (int i = 0; i < 4; ++i) bytes->push_back(static_cast<char>(value >> (8 * i)));
}

// Appends, and adds to the checksum.
class Builder {
 public:
  void add(const std::string& bytes) {
    checksum_ = static_cast<std::uint32_t>(
        ::crc32_z(checksum_, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
    image_ += bytes;
  }
  void add_checksum() { put32(checksum_, &image_); }
  const std::string& image() const { return image_; }

 private:
  std::string image_;
  std::uint32_t checksum_ = 0;
};

void add_record(const RawRecord& record, Builder* builder) {
  std::string head;
  put32(record.type, &head);
  put32(static_cast<std::uint32_t>(record.body.size()), &head);
  builder->add(head);
  builder->add_checksum();
  builder->add(record.body);
  builder->add_checksum();
}

void add_header(const std::string& header, Builder* builder) {
  builder->add(header);
  builder->add_checksum();
}

std::string right_header() {
  std::string header(internal::kImageMagic.begin(), internal::kImageMagic.end());
  put32(internal::kImageMajor | std::uint32_t{internal::kImageMinor} << 16, &header);
  return header;
}

}  // namespace

Result<std::string> make_image(const std::vector<ImageEntry>& entries) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, memory_file());
  SOCKREPAIR_TRY_ASSIGN(ImageWriter writer, ImageWriter::to_descriptor(fd.get()));
  for (const ImageEntry& entry : entries)
    SOCKREPAIR_TRY(std::visit([&](const auto& value) { return writer.add(value); }, entry));
  SOCKREPAIR_TRY(writer.finish());
  std::string image(static_cast<std::size_t>(::lseek(fd.get(), 0, SEEK_END)), '\0');
  if (::pread(fd.get(), image.data(), image.size(), 0) != static_cast<ssize_t>(image.size()))
    return Error{EIO, "pread() of an image in memory"};
  return image;
}

Result<std::vector<ImageEntry>> read_image(const std::string& image) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, memory_file());
  if (::write(fd.get(), image.data(), image.size()) != static_cast<ssize_t>(image.size()))
    return Error{EIO, "write() of an image in memory"};
  SOCKREPAIR_TRY_ASSIGN(ImageReader reader, ImageReader::from_descriptor(fd.get()));
  std::vector<ImageEntry> entries;
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageEntry> entry, reader.next());
    if (!entry) return entries;
    entries.push_back(*std::move(entry));
  }
}

std::vector<RawRecord> take_apart(const std::string& image) {
  std::vector<RawRecord> records;
  std::size_t at = kImageHeaderSize;
  while (image.size() >= at + kRecordHeadSize + kRecordTailSize) {
    std::size_t length = get32(image, at + 4);
    if (length > image.size() - at - kRecordHeadSize - kRecordTailSize) break;
    records.push_back({get32(image, at), image.substr(at + kRecordHeadSize, length)});
    at += kRecordHeadSize + length + kRecordTailSize;
  }
  return records;
}

std::string put_together(const std::vector<RawRecord>& records) {
  Builder builder;
  add_header(right_header(), &builder);
  for (const RawRecord& record : records) add_record(record, &builder);
  return builder.image();
}

std::string with_right_checksums(const std::string& image) {
  if (image.size() < kImageHeaderSize) return image;
  Builder builder;
  add_header(image.substr(0, kImageHeaderSize - 4), &builder);
  for (const RawRecord& record : take_apart(image)) add_record(record, &builder);
  return builder.image() + image.substr(std::min(builder.image().size(), image.size()));
}

}  // namespace sockrepair::test

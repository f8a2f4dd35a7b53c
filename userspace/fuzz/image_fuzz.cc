// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Images with anything in them, for libFuzzer: reading one ends with an error or with values, and
// values that were read can be shown, and written and read again as they are. scripts/fuzz-image
// builds and runs it.
//
// An input is an image. It is read as it is, and again with its checksums put right: without that
// nothing but checksums would ever be tried.

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "image/raw_image.h"
#include "sockrepair/image.h"
#include "sockrepair/image_show.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace sockrepair::test {
namespace {

// What must hold, whatever the input is.
void require(bool holds, const std::string& what) {
  if (holds) return;
  fprintf(stderr, "image_fuzz: %s\n", what.c_str());
  abort();
}

// Says where, and of what.
void check_error(const Error& error) {
  require(error.code == EBADMSG || error.code == ENOTSUP, "error " + error.describe());
  require(error.what.find(" at offset ") != std::string::npos, "no place in " + error.describe());
}

void check_shown(const std::string& image) {
  Fd fd(::memfd_create("image", MFD_CLOEXEC));
  require(::write(fd.get(), image.data(), image.size()) == static_cast<ssize_t>(image.size()),
          "write()");
  Result<ImageReader> reader = ImageReader::from_descriptor(fd.get());
  require(reader.ok(), "read once, but not twice");
  std::ostringstream text, json;
  require(show_text(*reader, text).ok() && show_json(*reader, json).ok(), "cannot be shown");
  auto printable = [](char c) { return c == '\n' || (c >= 0x20 && c < 0x7f); };
  std::string both = text.str() + json.str();
  require(std::all_of(both.begin(), both.end(), printable), "shown unprintable");
}

void check(const std::string& image) {
  Result<std::vector<ImageEntry>> entries = read_image(image);
  if (!entries) return check_error(entries.error());
  check_shown(image);
  Result<std::string> written = make_image(*entries);
  require(written.ok(), "read, but cannot be written");
  Result<std::vector<ImageEntry>> again = read_image(*written);
  require(again.ok() && *again == *entries, "is another image when written again");
}

// A place in `records`, which are not empty.
size_t pick(const std::vector<RawRecord>& records, std::minstd_rand& random) {
  return random() % records.size();
}

// Mutations of records as wholes, and of the bytes of one.
void mutate(std::vector<RawRecord>* records, size_t room, std::minstd_rand& random) {
  RawRecord& record = (*records)[pick(*records, random)];
  switch (random() % 8) {
    case 0:
      return std::swap(record, (*records)[pick(*records, random)]);
    case 1:
      records->erase(records->begin() + static_cast<ptrdiff_t>(pick(*records, random)));
      return;
    case 2:
      records->insert(records->begin() + static_cast<ptrdiff_t>(pick(*records, random)),
                      RawRecord(record));
      return;
    case 3:
      record.type = static_cast<uint32_t>(random() % 10);
      return;
    default: {
      std::string body = record.body;
      size_t size = body.size();
      body.resize(size + std::min<size_t>(room, 64));
      size = LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(body.data()), size, body.size());
      body.resize(size);
      record.body = body;
    }
  }
}

}  // namespace
}  // namespace sockrepair::test

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  using namespace sockrepair::test;  // NOLINT: this is a part of it
  std::minstd_rand random(seed);
  std::string image(reinterpret_cast<const char*>(data), size);
  std::vector<RawRecord> records = take_apart(image);
  if (records.empty() || random() % 8 == 0) return LLVMFuzzerMutate(data, size, max_size);
  mutate(&records, max_size - std::min(size, max_size), random);
  image = put_together(records);
  if (image.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(image.begin(), image.end(), data);
  return image.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sockrepair::test;  // NOLINT: this is a part of it
  std::string image(reinterpret_cast<const char*>(data), size);
  check(image);
  std::string right = with_right_checksums(image);
  if (right != image) check(right);
  return 0;
}

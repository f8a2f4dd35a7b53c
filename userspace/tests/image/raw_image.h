// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_IMAGE_RAW_IMAGE_H_
#define SOCKREPAIR_TESTS_IMAGE_RAW_IMAGE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "image/record.h"
#include "sockrepair/image.h"

// Images as strings of bytes, to be made, taken apart and damaged.
//
//   std::string image = make_image(full_sample()).value();
//   std::vector<RawRecord> records = take_apart(image);
//   records[1].body = ...;
//   EXPECT_THAT(read_image(put_together(records)), FailsWith(EBADMSG, HasSubstr("record 1")));
namespace sockrepair::test {

Result<std::string> make_image(const std::vector<ImageEntry>& entries);
// With ImageReader, from a file.
Result<std::vector<ImageEntry>> read_image(const std::string& image);

struct RawRecord {
  std::uint32_t type;  // internal::RecordType, or none of them
  std::string body;
};

// Without checking anything but that there are whole records: what follows them is left out.
std::vector<RawRecord> take_apart(const std::string& image);
// With the checksums that a right image has.
std::string put_together(const std::vector<RawRecord>& records);

// take_apart() and put_together(): an image in which nothing but checksums is put right.
std::string with_right_checksums(const std::string& image);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_IMAGE_RAW_IMAGE_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_IMAGE_WIRE_H_
#define SOCKREPAIR_LIB_IMAGE_WIRE_H_

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

// A look at the bytes of a protobuf message before protobuf parses them: it would pass over what
// it does not know, take the last of several values and cut numbers to their type in silence.
namespace sockrepair::internal {

// The way to a field: field numbers from the outermost message on, for a repeated field with the
// place in its list, or kWholeList.
inline constexpr std::size_t kWholeList = static_cast<std::size_t>(-1);
struct FieldStep {
  int number;
  std::size_t index = kWholeList;

  bool operator==(const FieldStep&) const = default;
};
using FieldPath = std::vector<FieldStep>;

// "received.source.port", "options[3].value". Unknown numbers as they are.
std::string path_text(const google::protobuf::Descriptor& message, const FieldPath& path);

struct WireProblem {
  std::string field;     // path_text() of the field, as far as it is known
  std::uint64_t offset;  // of its tag, in the bytes of the message
  std::string what;
};

// What is wrong with `bytes` as a `message`: fields that the message does not have or that are of
// another type, a field that is there twice and is not repeated, two members of a oneof, numbers
// beyond their type, lengths beyond the message, groups. Nothing: protobuf will find in it what the
// writer put in.
std::optional<WireProblem> check_wire(const google::protobuf::Descriptor& message,
                                      std::span<const std::uint8_t> bytes);

// Where the tag of the field is, in bytes that check_wire() found right. Of a path that is not
// there, where the innermost message around it begins; of a whole list its first element.
std::uint64_t find_field(const google::protobuf::Descriptor& message,
                         std::span<const std::uint8_t> bytes, const FieldPath& path);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_IMAGE_WIRE_H_

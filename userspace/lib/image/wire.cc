// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace sockrepair::internal {

namespace {

namespace pb = google::protobuf;
using pb::internal::WireFormat;
using pb::internal::WireFormatLite;

// One field as it stands in the bytes.
struct RawField {
  std::uint64_t offset = 0;  // of the tag
  std::uint32_t tag = 0;
  std::uint64_t number = 0;               // the value of a varint or a fixed number
  std::uint64_t content_offset = 0;       // where `content` begins
  std::span<const std::uint8_t> content;  // of a length-delimited field

  int field() const { return WireFormatLite::GetTagFieldNumber(tag); }
  WireFormatLite::WireType type() const { return WireFormatLite::GetTagWireType(tag); }
};

// Walks over the fields of a message, not into them.
class Fields {
 public:
  explicit Fields(std::span<const std::uint8_t> bytes)
      : bytes_(bytes), stream_(bytes.data(), static_cast<int>(bytes.size())) {}

  bool at_end() const { return position() == bytes_.size(); }

  // The next one, or what is wrong with it.
  const char* next(RawField* field) {
    field->offset = position();
    std::uint64_t tag = 0;
    if (!stream_.ReadVarint64(&tag) || tag > std::numeric_limits<std::uint32_t>::max() ||
        tag >> 3 == 0)
      return "not a tag";
    field->tag = static_cast<std::uint32_t>(tag);
    field->content = {};
    switch (field->type()) {
      case WireFormatLite::WIRETYPE_VARINT:
        return stream_.ReadVarint64(&field->number) ? nullptr : "not a number";
      case WireFormatLite::WIRETYPE_FIXED64:
        return stream_.ReadLittleEndian64(&field->number) ? nullptr : "ends too early";
      case WireFormatLite::WIRETYPE_FIXED32: {
        std::uint32_t number = 0;
        if (!stream_.ReadLittleEndian32(&number)) return "ends too early";
        field->number = number;
        return nullptr;
      }
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED: {
        std::uint64_t length = 0;
        if (!stream_.ReadVarint64(&length)) return "not a length";
        field->content_offset = position();
        if (length > bytes_.size() - position()) return "longer than the message around it";
        field->content = bytes_.subspan(position(), length);
        return stream_.Skip(static_cast<int>(length)) ? nullptr : "ends too early";
      }
      default:
        return "a group, which no field is";
    }
  }

 private:
  std::size_t position() const { return static_cast<std::size_t>(stream_.CurrentPosition()); }

  std::span<const std::uint8_t> bytes_;
  pb::io::CodedInputStream stream_;
};

// Empty: the number is one of the field's type.
std::string beyond_type(const pb::FieldDescriptor& field, std::uint64_t number) {
  auto must_be = [](const std::string& text, const std::string& range) {
    return text + ", must be " + range;
  };
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      if (number > 1) return must_be(std::to_string(number), "0 or 1");
      return {};
    case pb::FieldDescriptor::CPPTYPE_UINT32:
      if (number > std::numeric_limits<std::uint32_t>::max())
        return must_be(std::to_string(number), "0 to 4294967295");
      return {};
    case pb::FieldDescriptor::CPPTYPE_ENUM:
    case pb::FieldDescriptor::CPPTYPE_INT32: {
      auto value = static_cast<std::int64_t>(number);
      if (value != static_cast<std::int32_t>(value))
        return must_be(std::to_string(value), "-2147483648 to 2147483647");
      return {};
    }
    default:
      return {};
  }
}

std::string step_text(const pb::FieldDescriptor* field, const FieldStep& step) {
  if (field == nullptr) return std::to_string(step.number);
  bool element = field->is_repeated() && step.index != kWholeList;
  return field->name() + (element ? "[" + std::to_string(step.index) + "]" : "");
}

// How often each field was there; messages here have few.
class Seen {
 public:
  // How often before this time.
  std::size_t count(int number) {
    auto same = [number](const auto& entry) { return entry.first == number; };
    auto entry = std::find_if(counts_.begin(), counts_.end(), same);
    if (entry != counts_.end()) return entry->second++;
    counts_.emplace_back(number, 1);
    return 0;
  }

 private:
  std::vector<std::pair<int, std::size_t>> counts_;
};

// Empty: the field may stand here. `chosen` is the member of the message's oneof that was there.
std::string check_field(const pb::FieldDescriptor& field, const RawField& raw, std::size_t before,
                        const pb::FieldDescriptor*(&chosen)) {
  WireFormatLite::WireType wanted = WireFormat::WireTypeForField(&field);
  if (raw.type() != wanted)
    return "wire type " + std::to_string(raw.type()) + ", must be " + std::to_string(wanted);
  if (before != 0 && !field.is_repeated()) return "there twice";
  if (field.real_containing_oneof() != nullptr) {
    if (chosen != nullptr) return "there beside " + chosen->name();
    chosen = &field;
  }
  return beyond_type(field, raw.number);
}

}  // namespace

std::string path_text(const pb::Descriptor& message, const FieldPath& path) {
  const pb::Descriptor* descriptor = &message;
  std::string text;
  for (const FieldStep& step : path) {
    const pb::FieldDescriptor* field =
        descriptor == nullptr ? nullptr : descriptor->FindFieldByNumber(step.number);
    text += (text.empty() ? "" : ".") + step_text(field, step);
    descriptor = field == nullptr ? nullptr : field->message_type();
  }
  return text;
}

std::optional<WireProblem> check_wire(const pb::Descriptor& message,
                                      std::span<const std::uint8_t> bytes) {
  Fields fields(bytes);
  Seen seen;
  const pb::FieldDescriptor* chosen = nullptr;  // no message here has two oneofs
  while (!fields.at_end()) {
    RawField raw;
    if (const char* what = fields.next(&raw)) {
      const pb::FieldDescriptor* field =
          raw.tag == 0 ? nullptr : message.FindFieldByNumber(raw.field());
      std::string name = field != nullptr ? field->name()
                         : raw.tag != 0   ? std::to_string(raw.field())
                                          : "?";
      return WireProblem{name, raw.offset, what};
    }
    const pb::FieldDescriptor* field = message.FindFieldByNumber(raw.field());
    if (field == nullptr) {
      return WireProblem{std::to_string(raw.field()), raw.offset,
                         "unknown to this version of the library"};
    }
    std::size_t before = seen.count(raw.field());
    FieldStep step{raw.field(), before};
    std::string what = check_field(*field, raw, before, chosen);
    if (!what.empty()) return WireProblem{step_text(field, step), raw.offset, what};
    if (field->message_type() == nullptr) continue;

    // Nesting is as deep as the messages of image.proto are, which are not recursive.
    std::optional<WireProblem> inner = check_wire(*field->message_type(), raw.content);
    if (inner) {
      return WireProblem{step_text(field, step) + "." + inner->field,
                         raw.content_offset + inner->offset, inner->what};
    }
  }
  return std::nullopt;
}

std::uint64_t find_field(const pb::Descriptor& message, std::span<const std::uint8_t> bytes,
                         const FieldPath& path) {
  if (path.empty()) return 0;
  Fields fields(bytes);
  std::size_t before = path.front().index == kWholeList ? 0 : path.front().index;
  RawField raw;
  while (!fields.at_end() && fields.next(&raw) == nullptr) {
    if (raw.field() != path.front().number || before-- != 0) continue;
    const pb::FieldDescriptor* field = message.FindFieldByNumber(raw.field());
    if (path.size() == 1 || field == nullptr || field->message_type() == nullptr) return raw.offset;
    FieldPath rest(path.begin() + 1, path.end());
    return raw.content_offset + find_field(*field->message_type(), raw.content, rest);
  }
  return 0;
}

}  // namespace sockrepair::internal

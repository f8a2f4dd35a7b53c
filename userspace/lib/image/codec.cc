// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/codec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <google/protobuf/descriptor.h>
#include <string.h>

#include <algorithm>
#include <concepts>
#include <iterator>
#include <type_traits>
#include <utility>

namespace sockrepair::internal {

namespace {

namespace pb = google::protobuf;
using Problem = std::optional<FieldProblem>;

// A field of a message, or of a repeated field one element.
struct Place {
  pb::Message* message;
  const pb::FieldDescriptor* field;
};
struct ConstPlace {
  const pb::Message* message;
  const pb::FieldDescriptor* field;
  std::size_t index = 0;  // in a repeated field
};

template <typename T>
concept Tabled = requires {
  typename Table<T>::Message;
};

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <typename T>
concept ByteString = std::same_as<T, Bytes> || std::same_as<T, std::string>;

// A list of anything but bytes.
template <typename T>
struct IsList : std::false_type {};
template <typename T>
struct IsList<std::vector<T>> : std::bool_constant<!std::same_as<T, std::uint8_t>> {};

// Enumerations: the library's value and the number in image.proto.
template <typename T>
struct EnumRow {
  T value;
  int number;
};
constexpr EnumRow<Family> kFamilies[] = {{Family::kIpv4, image::FAMILY_IPV4},
                                         {Family::kIpv6, image::FAMILY_IPV6}};
constexpr EnumRow<Direction> kDirections[] = {
    {Direction::kReceive, image::UdpQueueEntry::DIRECTION_RECEIVE},
    {Direction::kSend, image::UdpQueueEntry::DIRECTION_SEND}};
constexpr EnumRow<TcpState> kTcpStates[] = {
    {TcpState::kEstablished, image::TcpSocketEntry::STATE_ESTABLISHED},
    {TcpState::kSynSent, image::TcpSocketEntry::STATE_SYN_SENT},
    {TcpState::kFinWait1, image::TcpSocketEntry::STATE_FIN_WAIT1},
    {TcpState::kFinWait2, image::TcpSocketEntry::STATE_FIN_WAIT2},
    {TcpState::kClose, image::TcpSocketEntry::STATE_CLOSE},
    {TcpState::kCloseWait, image::TcpSocketEntry::STATE_CLOSE_WAIT},
    {TcpState::kLastAck, image::TcpSocketEntry::STATE_LAST_ACK},
    {TcpState::kListen, image::TcpSocketEntry::STATE_LISTEN},
    {TcpState::kClosing, image::TcpSocketEntry::STATE_CLOSING}};

constexpr EnumRow<TimeWaitState> kTimeWaitStates[] = {
    {TimeWaitState::kFinWait2, image::TcpTimeWaitEntry::STATE_FIN_WAIT2},
    {TimeWaitState::kTimeWait, image::TcpTimeWaitEntry::STATE_TIME_WAIT}};

constexpr std::span<const EnumRow<Family>> enum_rows(Family) {
  return kFamilies;
}
constexpr std::span<const EnumRow<Direction>> enum_rows(Direction) {
  return kDirections;
}
constexpr std::span<const EnumRow<TcpState>> enum_rows(TcpState) {
  return kTcpStates;
}
constexpr std::span<const EnumRow<TimeWaitState>> enum_rows(TimeWaitState) {
  return kTimeWaitStates;
}

FieldProblem problem(int code, std::string what) {
  return {{}, code, std::move(what)};
}

FieldProblem out_of_range(const std::string& found, Limits limits) {
  return problem(EINVAL, found + ", must be " + std::to_string(limits.min) + " to " +
                             std::to_string(limits.max));
}

Problem check_size(std::size_t size, Limits limits, const char* unit) {
  std::string found = std::to_string(size) + " " + unit;
  if (limits.min > 0 && size < static_cast<std::uint64_t>(limits.min))
    return problem(EINVAL, found + ", at least " + std::to_string(limits.min));
  if (size > limits.max)
    return problem(EMSGSIZE, found + ", at most " + std::to_string(limits.max));
  return std::nullopt;
}

// --- encode

// Puts one value: sets the field, or adds to it when it is repeated.
template <std::unsigned_integral T>
void put(const Place& at, T value) {
  const pb::Reflection* reflection = at.message->GetReflection();
  if constexpr (std::same_as<T, bool>)
    reflection->SetBool(at.message, at.field, value);
  else if (at.field->cpp_type() == pb::FieldDescriptor::CPPTYPE_UINT64)
    reflection->SetUInt64(at.message, at.field, value);
  else
    reflection->SetUInt32(at.message, at.field, static_cast<std::uint32_t>(value));
}

template <std::signed_integral T>
void put(const Place& at, T value) {
  static_assert(sizeof(T) == sizeof(std::int32_t));
  // ImageDescriptor::number has no use for a sign on the wire; a negative one is out of its range.
  if (at.field->cpp_type() == pb::FieldDescriptor::CPPTYPE_UINT32)
    put(at, static_cast<std::uint32_t>(value));
  else
    at.message->GetReflection()->SetInt32(at.message, at.field, value);
}

template <typename T>
requires std::is_enum_v<T>
void put(const Place& at, T value) {
  for (const EnumRow<T>& row : enum_rows(value))
    if (row.value == value)
      at.message->GetReflection()->SetEnumValue(at.message, at.field, row.number);
}

template <ByteString T>
void put(const Place& at, const T& value) {
  at.message->GetReflection()->SetString(at.message, at.field,
                                         std::string(value.begin(), value.end()));
}

void put(const Place& at, const IpAddress& value) {
  std::string bytes(reinterpret_cast<const char*>(value.data()), value.size());
  if (at.field->is_repeated())
    at.message->GetReflection()->AddString(at.message, at.field, std::move(bytes));
  else
    at.message->GetReflection()->SetString(at.message, at.field, std::move(bytes));
}

template <Tabled T>
void put(const Place& at, const T& value) {
  const pb::Reflection* reflection = at.message->GetReflection();
  encode(value, at.field->is_repeated() ? reflection->AddMessage(at.message, at.field)
                                        : reflection->MutableMessage(at.message, at.field));
}

template <typename T>
void put(const Place& at, const std::optional<T>& value) {
  if (value) put(at, *value);
}

template <typename T>
requires IsList<std::vector<T>>::value void put(const Place& at, const std::vector<T>& values) {
  for (const T& value : values) put(at, value);
}

// --- decode

template <std::unsigned_integral T>
Problem get(const ConstPlace& at, Limits limits, T* value) {
  const pb::Reflection* reflection = at.message->GetReflection();
  if constexpr (std::same_as<T, bool>) {
    *value = reflection->GetBool(*at.message, at.field);
    return std::nullopt;
  } else {
    std::uint64_t number = at.field->cpp_type() == pb::FieldDescriptor::CPPTYPE_UINT64
                               ? reflection->GetUInt64(*at.message, at.field)
                               : reflection->GetUInt32(*at.message, at.field);
    limits.min = std::max<std::int64_t>(limits.min, 0);
    limits.max = std::min<std::uint64_t>(limits.max, std::numeric_limits<T>::max());
    if (number < static_cast<std::uint64_t>(limits.min) || number > limits.max)
      return out_of_range(std::to_string(number), limits);
    *value = static_cast<T>(number);
    return std::nullopt;
  }
}

template <std::signed_integral T>
Problem get(const ConstPlace& at, Limits limits, T* value) {
  const pb::Reflection* reflection = at.message->GetReflection();
  std::int64_t number = at.field->cpp_type() == pb::FieldDescriptor::CPPTYPE_UINT32
                            ? std::int64_t{reflection->GetUInt32(*at.message, at.field)}
                            : reflection->GetInt32(*at.message, at.field);
  limits.min = std::max<std::int64_t>(limits.min, std::numeric_limits<T>::min());
  limits.max = std::min<std::uint64_t>(limits.max, std::numeric_limits<T>::max());
  if (number < limits.min || (number > 0 && static_cast<std::uint64_t>(number) > limits.max))
    return out_of_range(std::to_string(number), limits);
  *value = static_cast<T>(number);
  return std::nullopt;
}

template <typename T>
requires std::is_enum_v<T> Problem get(const ConstPlace& at, Limits, T* value) {
  int number = at.message->GetReflection()->GetEnumValue(*at.message, at.field);
  for (const EnumRow<T>& row : enum_rows(T())) {
    if (row.number != number) continue;
    *value = row.value;
    return std::nullopt;
  }
  std::string known;
  for (const EnumRow<T>& row : enum_rows(T()))
    known += (known.empty() ? "" : " or ") + std::to_string(row.number);
  return problem(EINVAL, std::to_string(number) + ", must be " + known);
}

template <ByteString T>
Problem get(const ConstPlace& at, Limits limits, T* value) {
  std::string scratch;
  const std::string& bytes =
      at.message->GetReflection()->GetStringReference(*at.message, at.field, &scratch);
  if (Problem wrong = check_size(bytes.size(), limits, "bytes")) return wrong;
  value->assign(bytes.begin(), bytes.end());
  return std::nullopt;
}

Problem get(const ConstPlace& at, Limits, IpAddress* value) {
  const pb::Reflection* reflection = at.message->GetReflection();
  std::string scratch;
  const std::string& bytes = at.field->is_repeated()
                                 ? reflection->GetRepeatedStringReference(
                                       *at.message, at.field, static_cast<int>(at.index), &scratch)
                                 : reflection->GetStringReference(*at.message, at.field, &scratch);
  if (bytes.size() == sizeof(in_addr)) {
    in_addr v4{};
    memcpy(&v4, bytes.data(), sizeof(v4));
    *value = IpAddress(v4);
    return std::nullopt;
  }
  if (bytes.size() == sizeof(in6_addr)) {
    in6_addr v6{};
    memcpy(&v6, bytes.data(), sizeof(v6));
    *value = IpAddress(v6);
    return std::nullopt;
  }
  return problem(EINVAL, std::to_string(bytes.size()) + " bytes, must be 4 or 16");
}

template <Tabled T>
Problem get(const ConstPlace& at, Limits, T* value) {
  const pb::Reflection* reflection = at.message->GetReflection();
  if (at.field->is_repeated()) {
    return decode(reflection->GetRepeatedMessage(*at.message, at.field, static_cast<int>(at.index)),
                  value);
  }
  return decode(reflection->GetMessage(*at.message, at.field), value);
}

template <typename T>
Problem get(const ConstPlace& at, Limits limits, std::optional<T>* value) {
  value->reset();
  if (!at.message->GetReflection()->HasField(*at.message, at.field)) return std::nullopt;
  return get(at, limits, &value->emplace());
}

template <typename T>
requires IsList<std::vector<T>>::value Problem get(const ConstPlace& at, Limits limits,
                                                   std::vector<T>* values) {
  auto size =
      static_cast<std::size_t>(at.message->GetReflection()->FieldSize(*at.message, at.field));
  if (Problem wrong = check_size(size, limits, "elements")) return wrong;
  values->resize(size);
  for (std::size_t i = 0; i < size; ++i) {
    Problem wrong = get({at.message, at.field, i}, kAny, &(*values)[i]);
    if (!wrong) continue;
    // The caller would put the number in front, but does not know the index.
    wrong->path.insert(wrong->path.begin(), {at.field->number(), i});
    return wrong;
  }
  return std::nullopt;
}

template <typename Struct, typename Member>
Problem get_row(const pb::Message& message, const Row<Struct, Member>& row, Struct* value) {
  const pb::FieldDescriptor* field = message.GetDescriptor()->FindFieldByNumber(row.number);
  Problem wrong = get({&message, field}, row.limits, &(value->*row.member));
  bool has_index = IsList<Member>::value && wrong && !wrong->path.empty();
  if (wrong && !has_index) wrong->path.insert(wrong->path.begin(), {row.number});
  return wrong;
}

}  // namespace

template <typename Struct>
void encode(const Struct& value, pb::Message* message) {
  auto put_row = [&](const auto& row) {
    put({message, message->GetDescriptor()->FindFieldByNumber(row.number)}, value.*row.member);
  };
  std::apply([&](const auto&... rows) { (put_row(rows), ...); }, Table<Struct>::rows);
}

template <typename Struct>
std::optional<FieldProblem> decode(const pb::Message& message, Struct* value) {
  Problem wrong;
  auto ok = [&](const auto& row) { return !(wrong = get_row(message, row, value)); };
  std::apply([&](const auto&... rows) { (ok(rows) && ...); }, Table<Struct>::rows);
  if (wrong) return wrong;
  if constexpr (!std::same_as<decltype(Table<Struct>::rules), const NoRules>) {
    for (const Rule<Struct>& rule : Table<Struct>::rules)
      if (!rule.holds(*value)) return FieldProblem{{{rule.number}}, EINVAL, rule.must};
  }
  return std::nullopt;
}

#define SOCKREPAIR_CODEC(Struct)                                           \
  template void encode<Struct>(const Struct& value, pb::Message* message); \
  template std::optional<FieldProblem> decode<Struct>(const pb::Message& message, Struct* value)

SOCKREPAIR_CODEC(ImageProcess);
SOCKREPAIR_CODEC(ImageSocket);
SOCKREPAIR_CODEC(UdpSocket);
SOCKREPAIR_CODEC(UdpCounts);
SOCKREPAIR_CODEC(TcpSocket);
SOCKREPAIR_CODEC(TcpCounts);
SOCKREPAIR_CODEC(Loss);
SOCKREPAIR_CODEC(QueueHead);
SOCKREPAIR_CODEC(PacketHead);
SOCKREPAIR_CODEC(ReceivedDatagram);
SOCKREPAIR_CODEC(SendQueue);
SOCKREPAIR_CODEC(ImageTotals);
SOCKREPAIR_CODEC(TcpTimeWait);

}  // namespace sockrepair::internal

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_DESCRIBE_H_
#define SOCKREPAIR_LIB_DESCRIBE_H_

#include <stdio.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "sockrepair/address.h"

// A value made of members, for a person: one row a member, made from a pointer to it.
//
//   constexpr DescribedMember<SendQueue> kMembers[] = {
//       described<&SendQueue::family>("family"), ...
namespace sockrepair::internal {

using Bytes = std::vector<std::uint8_t>;

inline constexpr std::size_t kBytesShown = 32;

inline std::string text(bool value) {
  return value ? "yes" : "no";
}
inline std::string text(Family value) {
  return family_name(value);
}
inline std::string text(const IpAddress& value) {
  return value.to_string();
}
inline std::string text(const Endpoint& value) {
  return value.to_string();
}

template <typename T>
requires std::is_integral_v<T> std::string text(T value) {
  return std::to_string(value);
}

template <typename T>
std::string text(const std::optional<T>& value) {
  return value ? text(*value) : "not given";
}

inline std::string text(const Bytes& value) {
  std::string result = std::to_string(value.size()) + " bytes";
  for (std::size_t i = 0; i < std::min(value.size(), kBytesShown); ++i) {
    char byte[4];
    snprintf(byte, sizeof(byte), "%s%02x", i % 4 == 0 ? " " : "", value[i]);
    result += byte;
  }
  return result + (value.size() > kBytesShown ? " ..." : "");
}

// One line of hex is no help when two long byte strings differ far in.
inline std::string difference(const Bytes& a, const Bytes& b) {
  auto [at, unused] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return text(a) + " instead of " + text(b) + ", from byte " + std::to_string(at - a.begin()) +
         " on";
}

template <typename T>
std::string difference(const T& a, const T& b) {
  return text(a) + " instead of " + text(b);
}

inline bool shown(bool value) {
  return value;
}
inline bool shown(const Bytes& value) {
  return !value.empty();
}
template <typename T>
bool shown(const std::optional<T>& value) {
  return value.has_value();
}
template <typename T>
bool shown(const T&) {
  return true;
}

template <typename Value>
struct DescribedMember {
  const char* name;
  bool (*shown)(const Value&);
  std::string (*print)(const Value&);
  bool (*equal)(const Value&, const Value&);
  std::string (*difference)(const Value&, const Value&);
  // Whether the first has what the second has not, or has otherwise. What is not given in the first
  // cannot be missed.
  bool (*lost_in)(const Value&, const Value&);
};

template <typename T>
bool lost(const T& wanted, const T& got) {
  return wanted != got;
}
template <typename T>
bool lost(const std::optional<T>& wanted, const std::optional<T>& got) {
  return wanted.has_value() && wanted != got;
}

template <auto Pointer>
struct ClassOf;
template <typename Value, typename T, T Value::*Pointer>
struct ClassOf<Pointer> {
  using type = Value;
};

template <auto Pointer, typename Value = typename ClassOf<Pointer>::type>
constexpr DescribedMember<Value> described(const char* name) {
  return {
      name,
      [](const Value& v) { return shown(v.*Pointer); },
      [](const Value& v) { return text(v.*Pointer); },
      [](const Value& a, const Value& b) { return a.*Pointer == b.*Pointer; },
      [](const Value& a, const Value& b) { return difference(a.*Pointer, b.*Pointer); },
      [](const Value& wanted, const Value& got) { return lost(wanted.*Pointer, got.*Pointer); }};
}

// "name: value\n" for each member that is shown.
template <typename Value, std::size_t N>
std::string describe_members(const DescribedMember<Value> (&members)[N], const Value& value) {
  std::string lines;
  for (const auto& member : members)
    if (member.shown(value)) lines += std::string(member.name) + ": " + member.print(value) + "\n";
  return lines;
}

// "name: value of a instead of value of b" for each member that differs.
template <typename Value, std::size_t N>
std::vector<std::string> different_members(const DescribedMember<Value> (&members)[N],
                                           const Value& a, const Value& b) {
  std::vector<std::string> lines;
  for (const auto& member : members)
    if (!member.equal(a, b))
      lines.push_back(std::string(member.name) + ": " + member.difference(a, b));
  return lines;
}

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_DESCRIBE_H_

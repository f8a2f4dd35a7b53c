// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <stdio.h>

#include <algorithm>
#include <string>
#include <type_traits>

#include "sockrepair/udp_send_queue.h"

namespace sockrepair {

namespace {

using Bytes = SendQueue::Bytes;

constexpr std::size_t kBytesShown = 32;

std::string text(bool value) {
  return value ? "yes" : "no";
}
std::string text(Family value) {
  return family_name(value);
}
std::string text(const IpAddress& value) {
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

std::string text(const Bytes& value) {
  std::string result = std::to_string(value.size()) + " bytes";
  for (std::size_t i = 0; i < std::min(value.size(), kBytesShown); ++i) {
    char byte[4];
    snprintf(byte, sizeof(byte), "%s%02x", i % 4 == 0 ? " " : "", value[i]);
    result += byte;
  }
  return result + (value.size() > kBytesShown ? " ..." : "");
}

// One line of hex is no help when two long byte strings differ far in.
std::string difference(const Bytes& a, const Bytes& b) {
  auto [at, unused] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return text(a) + " instead of " + text(b) + ", from byte " + std::to_string(at - a.begin()) +
         " on";
}

template <typename T>
std::string difference(const T& a, const T& b) {
  return text(a) + " instead of " + text(b);
}

bool shown(bool value) {
  return value;
}
bool shown(const Bytes& value) {
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

struct Member {
  const char* name;
  bool (*shown)(const SendQueue&);
  std::string (*print)(const SendQueue&);
  bool (*equal)(const SendQueue&, const SendQueue&);
  std::string (*difference)(const SendQueue&, const SendQueue&);
};

template <auto Pointer>
constexpr Member member(const char* name) {
  return {
      name, [](const SendQueue& q) { return shown(q.*Pointer); },
      [](const SendQueue& q) { return text(q.*Pointer); },
      [](const SendQueue& a, const SendQueue& b) { return a.*Pointer == b.*Pointer; },
      [](const SendQueue& a, const SendQueue& b) { return difference(a.*Pointer, b.*Pointer); }};
}

constexpr Member kMembers[] = {
    member<&SendQueue::family>("family"),
    member<&SendQueue::source>("source"),
    member<&SendQueue::source_port>("source_port"),
    member<&SendQueue::destination>("destination"),
    member<&SendQueue::destination_port>("destination_port"),
    member<&SendQueue::oif>("oif"),
    member<&SendQueue::ifindex>("ifindex"),
    member<&SendQueue::hop_limit>("hop_limit"),
    member<&SendQueue::traffic_class>("traffic_class"),
    member<&SendQueue::flow_label>("flow_label"),
    member<&SendQueue::priority>("priority"),
    member<&SendQueue::mark>("mark"),
    member<&SendQueue::txtime>("txtime"),
    member<&SendQueue::tsflags>("tsflags"),
    member<&SendQueue::tskey>("tskey"),
    member<&SendQueue::gso_size>("gso_size"),
    member<&SendQueue::fragsize>("fragsize"),
    member<&SendQueue::dontfrag>("dontfrag"),
    member<&SendQueue::confirm>("confirm"),
    member<&SendQueue::onlink>("onlink"),
    member<&SendQueue::zerocopy>("zerocopy"),
    member<&SendQueue::ip_options>("ip_options"),
    member<&SendQueue::hop_by_hop>("hop_by_hop"),
    member<&SendQueue::routing_dst>("routing_dst"),
    member<&SendQueue::routing>("routing"),
    member<&SendQueue::dst>("dst"),
    member<&SendQueue::payload>("payload"),
};

// Every member of SendQueue has a row above: a new one breaks this line until it has.
template <typename Queue>
constexpr auto count_members(const Queue& queue) {
  [[maybe_unused]] const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15,
                                m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27] = queue;
  return std::size_t{27};
}
static_assert(std::is_same_v<decltype(count_members(SendQueue())), std::size_t> &&
              std::size(kMembers) == 27);

}  // namespace

std::string SendQueue::describe() const {
  std::string lines;
  for (const Member& member : kMembers)
    if (member.shown(*this)) lines += std::string(member.name) + ": " + member.print(*this) + "\n";
  return lines;
}

std::vector<std::string> differences(const SendQueue& a, const SendQueue& b) {
  std::vector<std::string> lines;
  for (const Member& member : kMembers)
    if (!member.equal(a, b))
      lines.push_back(std::string(member.name) + ": " + member.difference(a, b));
  return lines;
}

}  // namespace sockrepair

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_CONTROL_MESSAGES_H_
#define SOCKREPAIR_LIB_CONTROL_MESSAGES_H_

#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

namespace sockrepair::internal {

// The msg_control buffer of a sendmsg(), message by message.
//
//   ControlMessages control;
//   control.add<int>(IPPROTO_IP, IP_TTL, 3);
//   control.attach(message);  // `control` must outlive the call
class ControlMessages {
 public:
  void add_bytes(int level, int type, std::span<const std::uint8_t> data) {
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(data.size());
    header.cmsg_level = level;
    header.cmsg_type = type;
    std::size_t begin = bytes_.size();
    bytes_.resize(begin + CMSG_SPACE(data.size()));
    memcpy(bytes_.data() + begin, &header, sizeof(header));
    if (!data.empty()) memcpy(bytes_.data() + begin + CMSG_LEN(0), data.data(), data.size());
  }

  template <typename T>
  void add(int level, int type, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* begin = reinterpret_cast<const std::uint8_t*>(&value);
    add_bytes(level, type, {begin, sizeof(value)});
  }

  bool empty() const { return bytes_.empty(); }

  void attach(msghdr& message) {
    message.msg_control = bytes_.empty() ? nullptr : bytes_.data();
    message.msg_controllen = bytes_.size();
  }

 private:
  std::vector<std::uint8_t> bytes_;
};

// Calls `visit(const cmsghdr&, std::span<const std::uint8_t> data)` for each message received.
template <typename Visit>
void for_each_control_message(const msghdr& message, Visit&& visit) {
  msghdr copy = message;
  for (cmsghdr* c = CMSG_FIRSTHDR(&copy); c != nullptr; c = CMSG_NXTHDR(&copy, c))
    visit(*c, std::span<const std::uint8_t>(CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0)));
}

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_CONTROL_MESSAGES_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_IMAGE_CONTROL_BLOCK_H_
#define SOCKREPAIR_LIB_IMAGE_CONTROL_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "image/record.h"

// The control block of a TCP connection, which is bytes for everybody but the kernel: how long it
// may be, and its members by name, for people.
namespace sockrepair::internal {

inline constexpr std::size_t kControlBlockMin = 488;   // TCP_REPAIR_CB_SIZE_VER0
inline constexpr std::size_t kControlBlockMax = 4096;  // the kernel takes no longer one

// Whether `block`, of an allowed length, is what getsockopt(TCP_REPAIR_CB) gives: its own length in
// `size`, and 0 in what is for setsockopt(2) or for nothing.
bool is_control_block(std::span<const std::uint8_t> block);

// The state of the connection, TCP_ESTABLISHED and so on.
std::uint8_t control_block_state(std::span<const std::uint8_t> block);

// A member of struct tcp_repair_cb with its value, or the values of an array.
struct ControlBlockMember {
  const char* name;  // as in linux/tcp_repair.h
  std::vector<std::uint64_t> values;
};

// The members of `block` that say something, in their order: without an age or a timer that is
// TCP_REPAIR_CB_NONE.
std::vector<ControlBlockMember> control_block_members(std::span<const std::uint8_t> block);

// What a newer kernel has put behind the members that are known here.
std::span<const std::uint8_t> control_block_rest(std::span<const std::uint8_t> block);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_IMAGE_CONTROL_BLOCK_H_

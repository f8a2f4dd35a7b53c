// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_SEND_H_
#define SOCKREPAIR_TESTS_UTIL_SEND_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "control_messages.h"
#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "sockrepair/syscall.h"

// Sending in every way that ends up in a socket's send queue differently.
//
//   ASSERT_THAT(send(fd, {.payload = half, .to = peer, .more = true}), IsOk());
//   ASSERT_THAT(send(fd, {.payload = rest, .transfer = Transfer::kSpliced}), IsOk());
namespace sockrepair::test {

// How the payload gets from user space into the datagram.
enum class Transfer {
  kCopied,    // sendmsg()
  kZerocopy,  // sendmsg(MSG_ZEROCOPY), needs SO_ZEROCOPY; the payload must stay as it is until the
              // completion is in the error queue
  kSpliced,   // splice() from a pipe; for a socket that is connected or has a datagram begun
};

struct Send {
  std::span<const std::uint8_t> payload;
  std::optional<Endpoint> to = std::nullopt;
  bool more = false;  // MSG_MORE or SPLICE_F_MORE
  Transfer transfer = Transfer::kCopied;
  sockrepair::internal::ControlMessages control = {};
  int flags = 0;  // of sendmsg(), besides the above
};

// EPROTO if the kernel took less than the payload.
Result<void> send(const Fd& fd, const Send& what);

// A socket option as a value, for matrices.
struct SocketOption {
  template <typename T>
  requires std::is_trivially_copyable_v<T> SocketOption(int option_level, int option_name,
                                                        const T& option_value)
      : level(option_level),
        name(option_name),
        value(reinterpret_cast<const std::uint8_t*>(&option_value),
              reinterpret_cast<const std::uint8_t*>(&option_value) + sizeof(option_value)) {}
  SocketOption(int option_level, int option_name, std::vector<std::uint8_t> option_value)
      : level(option_level), name(option_name), value(std::move(option_value)) {}

  Result<void> set(const Fd& fd) const;
  // What the socket has; as long as the kernel says, up to 4 KiB.
  Result<std::vector<std::uint8_t>> get(const Fd& fd) const;

  int level;
  int name;
  std::vector<std::uint8_t> value;
};

Result<void> set_all(const Fd& fd, std::span<const SocketOption> options);

// `size` bytes that do not repeat with any period a fragment or segment could have.
std::vector<std::uint8_t> pattern(std::size_t size);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_SEND_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_WITNESS_SOCKETS_H_
#define SOCKREPAIR_TESTS_TCP_WITNESS_SOCKETS_H_

#include <linux/tcp.h>

#include <array>
#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// TCP sockets in every situation in which TCP_REPAIR can be asked for something, and the calls. All
// sockets live in a network namespace of the program's own.
namespace sockrepair::test {

// Sequence numbers near the wrap, so that every comparison has to be right.
inline constexpr std::uint32_t kSndSeq = 0x7ffffff8;
inline constexpr std::uint32_t kRcvSeq = 0xfffffff0;

enum OptionCode : std::uint32_t {
  kOptionMss = 2,
  kOptionWindow = 3,
  kOptionSackPerm = 4,
  kOptionTimestamp = 8,
};

Result<void> set_tcp(const Fd& fd, int name, int value);
// EFAULT and odd lengths included: what is given is passed on.
Result<void> set_tcp_bytes(const Fd& fd, int name, const void* value, std::size_t length);
Result<void> set_options(const Fd& fd, std::span<const tcp_repair_opt> options);
Result<void> set_window(const Fd& fd, const tcp_repair_window& window);
// Gives the connection both scales.
Result<void> set_scale(const Fd& fd, std::uint32_t snd, std::uint32_t rcv);

// In repair mode, bound, with sequence numbers, not connected.
Result<Fd> unconnected(int domain);
// As that, and connected, to nobody.
Result<Fd> lonely(int domain);
// As that, with options, and data in both queues.
Result<Fd> lonely_with_data(int domain);
// One end of a real connection over loopback, in repair mode; the other end stays open.
Result<Fd> live(int domain);
// As lonely(), and repair mode left.
Result<Fd> left(int domain);

// All that getsockopt() tells about repair, but for clocks, as bytes: one entry an option, that of
// an option that is refused is its error.
std::vector<std::string> visible_state(const Fd& fd);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_WITNESS_SOCKETS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_OPTION_CODEC_H_
#define SOCKREPAIR_LIB_OPTION_CODEC_H_

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "sockrepair/socket_options.h"

struct tcp_info;

// How the values of each OptionType are read, set, compared and shown.
namespace sockrepair::internal {

using OptionBytes = OptionValue::Bytes;

// A value, or nothing: the kernel does not have the option, or it is off and has no value.
using OptionReadResult = Result<std::optional<OptionBytes>>;

struct OptionCodec {
  // Whether bytes can be a value, by their length and what other values they refer to.
  bool (*valid)(const OptionBytes&);
  OptionReadResult (*read)(int fd, const SocketOption&);
  Result<void> (*write)(int fd, const SocketOption&, const OptionBytes&);
  // Whether a socket that was asked to have the first value and shows the second one has it.
  bool (*same)(const OptionBytes& asked, const OptionBytes& got);
  std::string (*text)(const OptionBytes&);
};

// The codec of every type, also of those that only hidden options have; these are never read.
const OptionCodec& option_codec(OptionType type);

// Whether TCP_MAXSEG of a socket in the state of `info` says what was set; otherwise it is taken as
// not set.
bool tells_segment_size(const tcp_info& info);

// What read() fails with when the kernel has an option and does not tell whether it is on.
inline constexpr int kNotTold = ENODATA;

// EINVAL for the first of `values` that is no value of an option that can be carried, or that is
// there twice.
Result<void> check_option_values(std::span<const OptionValue> values);

// The value among `values`, nullptr if there is none.
const OptionBytes* find_option_value(std::span<const OptionValue> values, int level, int name);

// Numbers in and out of values. Precondition of the first: the value has that size.
template <typename T>
T from_bytes(const OptionBytes& bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value{};
  memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

template <typename T>
OptionBytes to_bytes(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto* begin = reinterpret_cast<const std::uint8_t*>(&value);
  return OptionBytes(begin, begin + sizeof(value));
}

// The interface that a value of type kInterface or kInterfaceNet names; nothing for other types
// and for no interface.
std::optional<std::uint32_t> interface_of(OptionType type, const OptionBytes& value);
OptionBytes interface_value(OptionType type, std::uint32_t index);

// Interfaces in the network namespace of the socket `fd`. ENODEV: there is none.
Result<std::string> interface_name(int fd, std::uint32_t index);
Result<std::uint32_t> interface_index(int fd, const std::string& name);

// The index that interface `index` of `names` has in the namespace of the socket `fd`; `index`
// itself if it has no name there, or is 0. ENODEV: there is no such interface, which the kernel
// does not always mind.
Result<std::uint32_t> translated_interface(int fd, std::uint32_t index,
                                           std::span<const InterfaceName> names);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_OPTION_CODEC_H_

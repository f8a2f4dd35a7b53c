// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "option_codec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "control_messages.h"
#include "sockrepair/address.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair::internal {

namespace {

// The longest value: an IPv6 extension header has at most 256 units of 8 bytes.
constexpr std::size_t kValueMax = 2048;

struct Timeout {
  std::int64_t seconds;
  std::int64_t microseconds;
};

struct Linger {
  std::int32_t on;
  std::int32_t seconds;
};

struct Timestamping {
  std::uint32_t flags;
  std::int32_t clock;
};

struct TransmitTime {
  std::int32_t clock;
  std::uint32_t flags;
};

// Whether an error says that there is no such option, and so nothing to read.
bool says_absent(const Error& error) {
  return error.code == ENOPROTOOPT || error.code == EOPNOTSUPP;
}

std::string format(const char* pattern, auto... values) {
  std::array<char, 96> text{};
  snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

Result<void> write_bytes(int fd, const SocketOption& row, const OptionBytes& value) {
  return sys::setsockopt_bytes(fd, row.level, row.name, value.data(),
                               static_cast<socklen_t>(value.size()));
}

bool equal(const OptionBytes& asked, const OptionBytes& got) {
  return asked == got;
}

template <std::size_t Size>
bool has_size(const OptionBytes& value) {
  return value.size() == Size;
}

// A value of `Size` bytes; what the kernel has no more of is 0, as in older kernels.
template <std::size_t Size>
OptionReadResult read_bytes(int fd, const SocketOption& row) {
  OptionBytes value(Size);
  Result<socklen_t> length =
      sys::getsockopt_bytes(fd, row.level, row.name, value.data(), static_cast<socklen_t>(Size));
  if (!length) {
    if (says_absent(length.error())) return std::optional<OptionBytes>();
    return length.error();
  }
  return std::optional<OptionBytes>(std::move(value));
}

std::string number_text(const OptionBytes& value) {
  return format("%" PRId32, from_bytes<std::int32_t>(value));
}

std::string hex_text(const OptionBytes& value) {
  return format("0x%" PRIx32, from_bytes<std::uint32_t>(value));
}

bool is_flag(const OptionBytes& value) {
  if (value.size() != sizeof(std::int32_t)) return false;
  auto number = from_bytes<std::int32_t>(value);
  return number == 0 || number == 1;
}

// --- interfaces ---

std::string interface_text(const OptionBytes& value) {
  auto index = from_bytes<std::uint32_t>(value);
  return index == 0 ? "none" : format("interface %" PRIu32, index);
}

std::string net_interface_text(const OptionBytes& value) {
  return interface_text(to_bytes(ntohl(from_bytes<std::uint32_t>(value))));
}

// --- buffers ---

Result<void> write_buffer(int fd, const SocketOption& row, const OptionBytes& value) {
  int half = from_bytes<std::int32_t>(value) / 2;
  int force = row.name == SO_RCVBUF ? SO_RCVBUFFORCE : SO_SNDBUFFORCE;
  Result<void> forced = sys::setsockopt(fd, SOL_SOCKET, force, half);
  if (forced || forced.error().code != EPERM) return forced;
  return sys::setsockopt(fd, SOL_SOCKET, row.name, half);
}

// --- rates, timeouts, linger ---

OptionReadResult read_rate(int fd, const SocketOption& row) {
  std::uint64_t rate = 0;
  SOCKREPAIR_TRY_ASSIGN(socklen_t length,
                        sys::getsockopt_bytes(fd, row.level, row.name, &rate, sizeof(rate)));
  if (length == sizeof(std::uint32_t)) {
    auto low = static_cast<std::uint32_t>(rate);
    rate = low == UINT32_MAX ? UINT64_MAX : low;
  }
  return std::optional<OptionBytes>(to_bytes(rate));
}

std::string rate_text(const OptionBytes& value) {
  auto rate = from_bytes<std::uint64_t>(value);
  return rate == UINT64_MAX ? "no limit" : format("%" PRIu64 " bytes/s", rate);
}

// The kernel rounds up to its ticks, of which there are at least 100 a second.
constexpr std::int64_t kTickMicroseconds = 10000;

std::int64_t microseconds(const OptionBytes& value) {
  auto timeout = from_bytes<Timeout>(value);
  return timeout.seconds * 1000000 + timeout.microseconds;
}

bool same_timeout(const OptionBytes& asked, const OptionBytes& got) {
  std::int64_t difference = microseconds(got) - microseconds(asked);
  // 0 means no limit, which no rounding gives or takes.
  if (microseconds(asked) == 0 || microseconds(got) == 0) return difference == 0;
  return difference >= 0 && difference < kTickMicroseconds;
}

bool is_timeout(const OptionBytes& value) {
  if (value.size() != sizeof(Timeout)) return false;
  auto timeout = from_bytes<Timeout>(value);
  // A bound that no sum overflows at; the kernel takes what is longer than it can count for none.
  return timeout.seconds >= 0 && timeout.seconds <= INT64_MAX / 1000000 - 1 &&
         timeout.microseconds >= 0 && timeout.microseconds < 1000000;
}

std::string timeout_text(const OptionBytes& value) {
  auto timeout = from_bytes<Timeout>(value);
  if (timeout.seconds == 0 && timeout.microseconds == 0) return "none";
  return format("%" PRId64 ".%06" PRId64 " s", timeout.seconds, timeout.microseconds);
}

Result<void> write_linger(int fd, const SocketOption& row, const OptionBytes& value) {
  auto linger = from_bytes<Linger>(value);
  // The time is taken only together with the switch.
  SOCKREPAIR_TRY(write_bytes(fd, row, to_bytes(Linger{1, linger.seconds})));
  if (linger.on != 0) return {};
  return write_bytes(fd, row, to_bytes(Linger{0, 0}));
}

std::string linger_text(const OptionBytes& value) {
  auto linger = from_bytes<Linger>(value);
  return format("%s, %" PRId32 " s", linger.on != 0 ? "on" : "off", linger.seconds);
}

// --- time stamps, transmit time ---

std::string timestamping_text(const OptionBytes& value) {
  auto timestamping = from_bytes<Timestamping>(value);
  std::string text = format("flags 0x%" PRIx32, timestamping.flags);
  if (timestamping.clock != 0) text += format(", clock %" PRId32, timestamping.clock);
  return text;
}

// An interface index that no namespace gives out.
constexpr std::uint32_t kNoInterface = 0x7fffffff;

// What the kernel says, 0 or an errno number, to a send that it only goes through, and only as far
// as to the interface, after it has looked at the control messages. Nothing is sent or begun; to a
// datagram under construction nothing is added.
Result<int> rehearsed_send(int fd, int domain, bool with_txtime) {
  ControlMessages control;
  if (with_txtime) control.add<std::uint64_t>(SOL_SOCKET, SCM_TXTIME, 0);
  IpAddress loopback =
      domain == AF_INET ? IpAddress(in_addr{htonl(INADDR_LOOPBACK)}) : IpAddress(in6addr_loopback);
  if (domain == AF_INET) {
    in_pktinfo by{};
    by.ipi_ifindex = static_cast<int>(kNoInterface);
    control.add(IPPROTO_IP, IP_PKTINFO, by);
  } else {
    // Under a bound device any other one is EINVAL, which says nothing here.
    SOCKREPAIR_TRY_ASSIGN(auto device,
                          sys::getsockopt<std::uint32_t>(fd, SOL_SOCKET, SO_BINDTOIFINDEX));
    in6_pktinfo by{};
    by.ipi6_ifindex = device != 0 ? device : kNoInterface;
    control.add(IPPROTO_IPV6, IPV6_PKTINFO, by);
  }

  SocketAddress to(Endpoint{loopback, 9, 0}, domain);
  msghdr message{};
  message.msg_name = to.mutable_get();
  message.msg_namelen = to.size();
  control.attach(message);
  // MSG_CONFIRM, without which MSG_PROBE begins a datagram on a socket that has UDP_CORK; MSG_MORE,
  // so that one which is there already stays open.
  Result<std::size_t> sent =
      sys::sendmsg(fd, message, MSG_PROBE | MSG_CONFIRM | MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent ? 0 : sent.error().code;
}

// SO_TXTIME reads the same when it is off as when it is on with CLOCK_REALTIME and no flags. With
// it a send may carry SCM_TXTIME, without it that is EINVAL.
Result<bool> takes_transmit_times(int fd) {
  Error not_told{kNotTold,
                 "whether it is on with CLOCK_REALTIME cannot be asked of a socket that is unbound "
                 "or has a datagram under construction"};
  SOCKREPAIR_TRY_ASSIGN(int domain, sys::getsockopt<int>(fd, SOL_SOCKET, SO_DOMAIN));
  SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd));
  SOCKREPAIR_TRY_ASSIGN(Endpoint local, name.endpoint());
  if (local.port == 0) return not_told;  // a send would bind it

  SOCKREPAIR_TRY_ASSIGN(int without, rehearsed_send(fd, domain, false));
  SOCKREPAIR_TRY_ASSIGN(int with, rehearsed_send(fd, domain, true));
  int unsent = 0;
  SOCKREPAIR_TRY(sys::ioctl(fd, SIOCOUTQ, &unsent));
  // Control messages of a send that would add to a datagram are not looked at.
  if (without == EINVAL || (without == 0 && unsent != 0)) return not_told;
  if (with == EINVAL) return false;
  if (with == without) return true;
  return not_told;
}

OptionReadResult read_transmit_time(int fd, const SocketOption& row) {
  OptionReadResult value = read_bytes<sizeof(TransmitTime)>(fd, row);
  if (!value || !value->has_value()) return value;
  auto transmit_time = from_bytes<TransmitTime>(**value);
  if (transmit_time.clock != 0 || transmit_time.flags != 0) return value;
  SOCKREPAIR_TRY_ASSIGN(bool on, takes_transmit_times(fd));
  if (!on) return std::optional<OptionBytes>();
  return value;
}

std::string transmit_time_text(const OptionBytes& value) {
  auto transmit_time = from_bytes<TransmitTime>(value);
  return format("clock %" PRId32 ", flags 0x%" PRIx32, transmit_time.clock, transmit_time.flags);
}

// --- filters ---

// SO_GET_FILTER counts instructions, not bytes; asked for none it just counts.
OptionReadResult read_filter(int fd, const SocketOption&) {
  Result<socklen_t> count = sys::getsockopt_bytes(fd, SOL_SOCKET, SO_GET_FILTER, nullptr, 0);
  if (!count) {
    if (count.error().code != EACCES) return count.error();
    return Error{kNotTold, "an eBPF program, which the kernel does not give back"};
  }
  if (*count == 0) return std::optional<OptionBytes>();
  OptionBytes program(*count * sizeof(sock_filter));
  SOCKREPAIR_TRY(sys::getsockopt_bytes(fd, SOL_SOCKET, SO_GET_FILTER, program.data(), *count));
  return std::optional<OptionBytes>(std::move(program));
}

Result<void> write_filter(int fd, const SocketOption& row, const OptionBytes& value) {
  // The kernel copies the program.
  sock_fprog program{};
  program.len = static_cast<unsigned short>(value.size() / sizeof(sock_filter));
  program.filter = reinterpret_cast<sock_filter*>(const_cast<std::uint8_t*>(value.data()));
  return sys::setsockopt(fd, row.level, row.name, program);
}

bool is_filter(const OptionBytes& value) {
  return !value.empty() && value.size() % sizeof(sock_filter) == 0 &&
         value.size() / sizeof(sock_filter) <= BPF_MAXINSNS;
}

std::string filter_text(const OptionBytes& value) {
  return format("classic filter of %zu instructions", value.size() / sizeof(sock_filter));
}

// --- addresses, headers ---

std::string address_text(const OptionBytes& value) {
  return IpAddress(from_bytes<in_addr>(value)).to_string();
}

OptionReadResult read_header(int fd, const SocketOption& row) {
  OptionBytes value(kValueMax);
  Result<socklen_t> length = sys::getsockopt_bytes(fd, row.level, row.name, value.data(),
                                                   static_cast<socklen_t>(value.size()));
  if (!length) {
    if (says_absent(length.error())) return std::optional<OptionBytes>();
    return length.error();
  }
  value.resize(*length);
  return std::optional<OptionBytes>(std::move(value));
}

bool is_header(const OptionBytes& value) {
  return value.size() <= kValueMax;
}

std::string header_text(const OptionBytes& value) {
  if (value.empty()) return "none";
  std::string text;
  for (std::uint8_t byte : value) text += format("%02x", byte);
  return text;
}

// --- TCP ---

// TCP_CA_NAME_MAX with the 0 at the end.
constexpr std::size_t kNameSize = 16;

OptionReadResult read_name(int fd, const SocketOption& row) {
  OptionBytes value(kNameSize);
  SOCKREPAIR_TRY_ASSIGN(socklen_t length,
                        sys::getsockopt_bytes(fd, row.level, row.name, value.data(), kNameSize));
  value.resize(length);
  value.erase(std::find(value.begin(), value.end(), 0), value.end());
  return std::optional<OptionBytes>(std::move(value));
}

bool is_name(const OptionBytes& value) {
  return !value.empty() && value.size() < kNameSize &&
         std::all_of(value.begin(), value.end(), [](std::uint8_t c) { return c > 32 && c < 127; });
}

std::string name_text(const OptionBytes& value) {
  return std::string(value.begin(), value.end());
}

constexpr std::uint8_t kClose = 7;
constexpr std::uint8_t kListen = 10;

// TCP_MAXSEG reads as the size that was set, or as the one in use. The latter TCP_INFO tells as
// well, but not of a listener, which has that of a new socket unless it was something else before.
OptionReadResult read_segment_size(int fd, const SocketOption& row) {
  constexpr std::int32_t kOfNewSockets = 536;
  SOCKREPAIR_TRY_ASSIGN(auto size, sys::getsockopt<std::int32_t>(fd, row.level, row.name));
  tcp_info info{};
  SOCKREPAIR_TRY(sys::getsockopt_bytes(fd, SOL_TCP, TCP_INFO, &info, sizeof(info)));
  const bool told = tells_segment_size(info);
  const auto in_use =
      info.tcpi_state == kClose ? static_cast<std::int32_t>(info.tcpi_snd_mss) : kOfNewSockets;
  return std::optional<OptionBytes>(to_bytes(told && size != in_use ? size : 0));
}

std::string segment_size_text(const OptionBytes& value) {
  return from_bytes<std::int32_t>(value) == 0 ? "not set" : number_text(value);
}

// --- hidden ---

bool never_valid(const OptionBytes&) {
  return false;
}

OptionReadResult never_read(int, const SocketOption& row) {
  return Error{kNotTold, row.note};
}

Result<void> never_written(int, const SocketOption& row, const OptionBytes&) {
  return Error{EINVAL, row.full_name() + ": cannot be carried"};
}

template <typename T>
constexpr OptionCodec plain(bool (*valid)(const OptionBytes&),
                            std::string (*text)(const OptionBytes&)) {
  return {valid, read_bytes<sizeof(T)>, write_bytes, equal, text};
}

template <typename T>
constexpr OptionCodec plain(std::string (*text)(const OptionBytes&)) {
  return plain<T>(has_size<sizeof(T)>, text);
}

constexpr OptionCodec kHiddenCodec = {never_valid, never_read, never_written, equal, header_text};

struct CodecRow {
  OptionType type;
  OptionCodec codec;
};

// One row for every OptionType, in its order.
constexpr CodecRow kCodecs[] = {
    {OptionType::kNumber, plain<std::int32_t>(number_text)},
    {OptionType::kFlag, plain<std::int32_t>(is_flag, number_text)},
    {OptionType::kHex, plain<std::int32_t>(hex_text)},
    {OptionType::kInterface, plain<std::int32_t>(interface_text)},
    {OptionType::kInterfaceNet, plain<std::int32_t>(net_interface_text)},
    {OptionType::kBuffer, {has_size<4>, read_bytes<4>, write_buffer, equal, number_text}},
    {OptionType::kRate, {has_size<8>, read_rate, write_bytes, equal, rate_text}},
    {OptionType::kTimeout,
     {is_timeout, read_bytes<sizeof(Timeout)>, write_bytes, same_timeout, timeout_text}},
    {OptionType::kLinger,
     {has_size<sizeof(Linger)>, read_bytes<sizeof(Linger)>, write_linger, equal, linger_text}},
    {OptionType::kTimestamping, plain<Timestamping>(timestamping_text)},
    {OptionType::kTransmitTime,
     {has_size<sizeof(TransmitTime)>, read_transmit_time, write_bytes, equal, transmit_time_text}},
    {OptionType::kFilter, {is_filter, read_filter, write_filter, equal, filter_text}},
    {OptionType::kAddress, plain<in_addr>(address_text)},
    {OptionType::kHeader, {is_header, read_header, write_bytes, equal, header_text}},
    {OptionType::kPacketInfo, kHiddenCodec},
    {OptionType::kProgram, kHiddenCodec},
    {OptionType::kPolicy, kHiddenCodec},
    {OptionType::kTrafficClass, plain<std::int32_t>(number_text)},
    {OptionType::kName, {is_name, read_name, write_bytes, equal, name_text}},
    {OptionType::kSegmentSize,
     {has_size<4>, read_segment_size, write_bytes, equal, segment_size_text}},
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < std::size(kCodecs); ++i)
    if (static_cast<std::size_t>(kCodecs[i].type) != i) return false;
  return std::size(kCodecs) == static_cast<std::size_t>(OptionType::kSegmentSize) + 1;
}
static_assert(in_order());

}  // namespace

const OptionCodec& option_codec(OptionType type) {
  return kCodecs[static_cast<std::size_t>(type)].codec;
}

bool tells_segment_size(const tcp_info& info) {
  return info.tcpi_state == kClose || info.tcpi_state == kListen;
}

std::optional<std::uint32_t> interface_of(OptionType type, const OptionBytes& value) {
  std::uint32_t index = 0;
  if (type == OptionType::kInterface) index = from_bytes<std::uint32_t>(value);
  if (type == OptionType::kInterfaceNet) index = ntohl(from_bytes<std::uint32_t>(value));
  if (index == 0) return std::nullopt;
  return index;
}

OptionBytes interface_value(OptionType type, std::uint32_t index) {
  return to_bytes(type == OptionType::kInterfaceNet ? htonl(index) : index);
}

Result<std::string> interface_name(int fd, std::uint32_t index) {
  ifreq request{};
  request.ifr_ifindex = static_cast<int>(index);
  SOCKREPAIR_TRY(sys::ioctl(fd, SIOCGIFNAME, &request));
  return std::string(request.ifr_name, strnlen(request.ifr_name, sizeof(request.ifr_name)));
}

Result<std::uint32_t> interface_index(int fd, const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof(request.ifr_name))
    return Error{ENODEV, "interface name '" + name + "', must have 1 to 15 bytes"};
  memcpy(request.ifr_name, name.data(), name.size());
  Result<void> found = sys::ioctl(fd, SIOCGIFINDEX, &request);
  if (!found) {
    return Error{found.error().code,
                 "no interface '" + name + "' in the network namespace of the socket"};
  }
  return static_cast<std::uint32_t>(request.ifr_ifindex);
}

Result<std::uint32_t> translated_interface(int fd, std::uint32_t index,
                                           std::span<const InterfaceName> names) {
  if (index == 0) return index;
  for (const InterfaceName& row : names)
    if (row.index == index) return interface_index(fd, row.name);
  Result<std::string> name = interface_name(fd, index);
  if (!name) {
    return Error{name.error().code, "no interface " + std::to_string(index) +
                                        " in the network namespace of the socket"};
  }
  return index;
}

}  // namespace sockrepair::internal

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_SOCKET_OPTIONS_H_
#define SOCKREPAIR_SOCKET_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sockrepair/export.h"
#include "sockrepair/fd.h"
#include "sockrepair/loss.h"
#include "sockrepair/result.h"

// The options of UDP and TCP sockets, as one table: what can be read is read from one socket and
// set on another; what cannot is in the table as well, with the reason.
//
//   Result<OptionsRead> read = read_socket_options(old_socket);
//   if (!read) return read.error();
//   Result<std::vector<Loss>> losses = apply_socket_options(new_socket, read->values);
//   if (!losses) return losses.error();
//
// Dump and restore, of udp_socket.h and tcp_socket.h, do this at the right moments; use the
// functions here to look at options, or to bring a socket's options over to one that is bound.
//
// Functions take a descriptor that stays the caller's. They do not throw, and are thread-safe for
// different sockets.
namespace SOCKREPAIR_EXPORT sockrepair {

// What the value of an option is made of, and so how it is read, set, compared and shown. Numbers
// are in host byte order unless said otherwise.
enum class OptionType : std::uint8_t {
  kNumber,        // int
  kFlag,          // int, 0 or 1
  kHex,           // int that is a set of bits or a mark
  kInterface,     // int, index of an interface; 0: none
  kInterfaceNet,  // the same in network byte order
  kBuffer,        // int; set as half of it, by SO_*BUFFORCE where permitted
  kRate,          // uint64_t, bytes per second; ~0: no limit
  kTimeout,       // int64_t seconds, int64_t microseconds
  kLinger,        // struct linger
  kTimestamping,  // uint32_t flags SOF_TIMESTAMPING_*, int32_t index of the PTP clock
  kTransmitTime,  // int32_t clock, uint32_t flags SOF_TXTIME_*; no value: the option is off
  kFilter,        // struct sock_filter of a classic filter, one after the other; none: no filter
  kAddress,       // struct in_addr
  kHeader,        // IPv4 options or an IPv6 extension header; empty: none
  kPacketInfo,    // struct in6_pktinfo
  kProgram,       // a descriptor of a program
  kPolicy,        // struct xfrm_userpolicy_info
  kTrafficClass,  // int; on TCP sockets without the ECN bits, which belong to the connection
  kName,          // 1 to 15 bytes of a name
  kSegmentSize,   // int, bytes; 0: not set
};

// What getsockopt(2) tells about an option.
enum class OptionReading : std::uint8_t {
  kExact,      // what was set
  kEffective,  // what is in force: a default of the host looks as if it had been set
  kPartial,    // not everything that was set; `note` says what is missing
  kHidden,     // nothing; `note` says what a dump does about it
};

// When an option has to be set on a new socket.
enum class OptionMoment : std::uint8_t {
  kNever,        // sockets of this protocol do not have it, or it does nothing there
  kBeforeBind,   // so that what arrives first finds it, or bind(2) needs it
  kUnconnected,  // before bind(2), and not on a socket that has or begins a connection
  kConnected,    // once connected; on other sockets before they are bound
  kAfterQueues,  // would drop, take or hide data that is put into the queues
};

// One row of the table.
struct SocketOption {
  int level;
  int name;
  const char* text;  // "SO_MARK"
  OptionType type;
  OptionReading reading;
  OptionMoment moment;  // of a UDP socket
  // Whether only AF_INET6 sockets have it.
  bool ipv6_only;
  // What has to be there for it to be set to anything but its default, for an error: "CAP_NET_RAW
  // or CAP_NET_ADMIN", "the interface". Empty: nothing.
  const char* needs;
  // The kernel that brought it, "5.13". Empty: older than 4.19.
  const char* since;
  // What a person has to know about it: order within the moment, what reading leaves out. May be
  // empty.
  const char* note;
  OptionMoment tcp_moment = OptionMoment::kBeforeBind;  // of a TCP socket

  // When it is set on a socket of this protocol, IPPROTO_UDP or IPPROTO_TCP.
  OptionMoment moment_of(int protocol) const;
  // "SOL_SOCKET, SO_MARK"
  std::string full_name() const;
};

// All options of UDP and TCP sockets that setsockopt(2) takes, in the order in which they are to be
// set: by moment, and within a moment so that none undoes another.
std::span<const SocketOption> socket_options();

// The row, nullptr if there is none.
const SocketOption* find_socket_option(int level, int name);

// An option that setsockopt(2) takes or seems to take and that is not in the table, with the
// reason.
struct UncarriedOption {
  int level;
  int name;
  const char* text;
  const char* reason;
};
std::span<const UncarriedOption> uncarried_options();

// The value of one option. A value.
struct OptionValue {
  using Bytes = std::vector<std::uint8_t>;

  int level = 0;
  int name = 0;
  Bytes value;  // as OptionType says

  bool operator==(const OptionValue&) const = default;

  // "SOL_SOCKET, SO_MARK: 0x7". For options without a row the bytes in hexadecimal.
  std::string describe() const;
};

// An interface that a value refers to by its index. Another namespace may have the same interface
// under another index; names are what stays.
struct InterfaceName {
  std::uint32_t index = 0;
  std::string name;

  bool operator==(const InterfaceName&) const = default;
};

struct OptionsRead {
  // In the order of the table. Options that the kernel does not have are not there.
  std::vector<OptionValue> values;
  // What is known or likely to be set and could not be read.
  std::vector<Loss> losses;
};

// Reads every option that can be read of the socket `fd`, UDP or TCP, which stays as it is. A TCP
// socket in repair mode shows another SO_REUSEADDR and TCP_MAXSEG than its own.
//
// Whether SO_TXTIME is on is asked by a send that the kernel goes through only (MSG_PROBE). An
// unbound socket is not asked, since that would bind it.
Result<OptionsRead> read_socket_options(int fd);

// What to do with a value that the kernel refuses, or takes and then shows differently.
enum class Refusal : std::uint8_t {
  kFail,    // an Error
  kReport,  // a Loss; everything else is set
};

struct ApplyOptions {
  Refusal refusal = Refusal::kFail;
  // Only options of these moments, by the protocol of the socket.
  OptionMoment first = OptionMoment::kBeforeBind;
  OptionMoment last = OptionMoment::kAfterQueues;
  // The names of the interfaces whose indices are in the values. An index without a name here is
  // taken as it is.
  std::span<const InterfaceName> interfaces;
};

// Makes the options of the socket `fd` those of `values`, in the order of the table; their own
// order does not matter. An option that has the value already is left alone, one that is set is
// read back. All values are checked (length, twice the same, no row) before the first is set:
// EINVAL, whatever `refusal` says.
//
// Errors and losses name the option, the value and what it needs. After an error some options are
// set and others not.
Result<std::vector<Loss>> apply_socket_options(int fd, std::span<const OptionValue> values,
                                               const ApplyOptions& options = {});

inline Result<OptionsRead> read_socket_options(const Fd& fd) {
  return read_socket_options(fd.get());
}
inline Result<std::vector<Loss>> apply_socket_options(const Fd& fd,
                                                      std::span<const OptionValue> values,
                                                      const ApplyOptions& options = {}) {
  return apply_socket_options(fd.get(), values, options);
}

}  // namespace sockrepair

#endif  // SOCKREPAIR_SOCKET_OPTIONS_H_

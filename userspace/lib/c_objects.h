// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_C_OBJECTS_H_
#define SOCKREPAIR_LIB_C_OBJECTS_H_

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/batch.h"
#include "sockrepair/loss.h"
#include "sockrepair/result.h"
#include "sockrepair/sockrepair.h"
#include "sockrepair/tcp_socket.h"
#include "sockrepair/udp_socket.h"

// What objects and functions of the C API have in common.

struct sockrepair_error {
  explicit sockrepair_error(const sockrepair::Error& e);

  sockrepair::Error error;
  std::string text;
};

struct sockrepair_losses {
  struct Line {
    std::string subject;
    std::string text;
  };

  explicit sockrepair_losses(const std::vector<sockrepair::Loss>& losses) {
    for (const sockrepair::Loss& loss : losses) {
      std::string subject = loss.subject;
      if (loss.index) subject += " " + std::to_string(*loss.index);
      lines.push_back({std::move(subject), loss.describe()});
    }
  }

  std::vector<Line> lines;
};

// Each holds its value as a batch wants it, which does not copy it.
struct sockrepair_udp {
  explicit sockrepair_udp(sockrepair::UdpSocket s)
      : any(std::move(s)), socket(std::get<sockrepair::UdpSocket>(any)), losses(socket.losses) {}
  sockrepair_udp(const sockrepair_udp&) = delete;
  sockrepair_udp& operator=(const sockrepair_udp&) = delete;

  const sockrepair::AnySocket any;
  const sockrepair::UdpSocket& socket;
  const sockrepair_losses losses;
};

struct sockrepair_tcp {
  explicit sockrepair_tcp(sockrepair::TcpSocket s)
      : any(std::move(s)),
        socket(std::get<sockrepair::TcpSocket>(any)),
        losses(socket.losses),
        state_name(sockrepair::tcp_state_name(socket.state)) {}
  sockrepair_tcp(const sockrepair_tcp&) = delete;
  sockrepair_tcp& operator=(const sockrepair_tcp&) = delete;

  const sockrepair::AnySocket any;
  const sockrepair::TcpSocket& socket;
  const sockrepair_losses losses;
  const std::string state_name;
};

namespace sockrepair::internal {

inline Result<void> check_flags(const char* call, unsigned int flags, unsigned int known) {
  if ((flags & ~known) == 0) return {};
  return Error{EINVAL, std::string(call) + ": flags " + std::to_string(flags) +
                           ", must be some of " + std::to_string(known)};
}

// That an element of an array is one socket.
inline Result<void> check_socket(const char* call, const sockrepair_socket& socket,
                                 std::size_t index) {
  if ((socket.udp == nullptr) != (socket.tcp == nullptr)) return {};
  return Error{EINVAL, std::string(call) + ": socket " + std::to_string(index) + ": " +
                           (socket.udp == nullptr ? "neither" : "both") +
                           " of udp and tcp, must be one"};
}

// A struct of options as the program has it, whose first member is its size; NULL: all 0.
template <typename Options>
Result<Options> copy_options(const char* call, const Options* given) {
  Options options{};
  options.size = sizeof(options);
  if (given == nullptr) return options;
  const std::size_t size = given->size;
  if (size < sizeof(size))
    return Error{EINVAL, std::string(call) + ": options, size: " + std::to_string(size) +
                             ", must be " + std::to_string(sizeof(size)) + " at least"};
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  const std::size_t known = std::min(size, sizeof(options));
  if (std::any_of(bytes + known, bytes + size, [](unsigned char byte) { return byte != 0; }))
    return Error{E2BIG, std::string(call) + ": options, size: " + std::to_string(size) +
                            ", of which more than " + std::to_string(known) +
                            " bytes are not 0, and are not known here"};
  memcpy(&options, bytes, known);
  return options;
}

// Options of C as those of C++; `call` is in front of an error.
Result<UdpDumpOptions> udp_dump_options(const char* call, unsigned int flags);
Result<UdpRestoreOptions> udp_restore_options(const char* call, unsigned int flags);
Result<TcpDumpOptions> tcp_dump_options(const char* call, const sockrepair_tcp_dump_options* given);
Result<TcpRestoreOptions> tcp_restore_options(const char* call,
                                              const sockrepair_tcp_restore_options* given);
Result<std::vector<AddressRewrite>> address_rewrites(const char* call,
                                                     const sockrepair_rewrite* rewrites,
                                                     std::size_t count);

// The pause of options, which is given if the flag called `flag` is.
inline Result<std::optional<std::uint64_t>> pause_of(const char* call, bool given, const char* flag,
                                                     std::uint64_t pause_us) {
  if (given) return std::optional(pause_us);
  if (pause_us == 0) return std::optional<std::uint64_t>();
  return Error{EINVAL, std::string(call) + ": options, pause_us: " + std::to_string(pause_us) +
                           ", must be 0 without " + flag};
}

inline void store(const SocketAddress& from, sockaddr_storage* to) {
  memset(to, 0, sizeof(*to));
  memcpy(to, from.get(), std::min<std::size_t>(from.size(), sizeof(*to)));
}

// As getsockname(2) fills its arguments, of a socket of this domain.
inline int copy_name(int domain, const std::optional<Endpoint>& endpoint, sockaddr* address,
                     socklen_t* size) {
  if (address == nullptr || size == nullptr) return EINVAL;
  if (!endpoint) return ENOTCONN;
  const SocketAddress name(*endpoint, domain);
  memcpy(address, name.get(), std::min(*size, name.size()));
  *size = name.size();
  return 0;
}

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_C_OBJECTS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_TCP_AO_H_
#define SOCKREPAIR_LIB_TCP_AO_H_

#include <optional>
#include <span>

#include "sockrepair/result.h"
#include "sockrepair/socket_options.h"
#include "sockrepair/tcp_ao.h"

// The calls that carry TCP-AO, of a socket in any state unless said otherwise.
namespace sockrepair::internal {

// Keys, flags and counters; nothing: the socket has none, or the kernel does not know them.
// EOPNOTSUPP: a key has what is not known here.
Result<std::optional<TcpAo>> read_tcp_ao(int fd);

// Of a connection in repair mode.
Result<TcpAoSequence> read_tcp_ao_sequence(int fd);
Result<void> write_tcp_ao_sequence(int fd, const TcpAoSequence& sequence);

// Adds the keys to a new socket of `domain`. EOPNOTSUPP: the kernel has no TCP-AO. Other errors
// name the key and what it needs.
Result<void> add_tcp_ao_keys(int fd, int domain, std::span<const TcpAoKey> keys,
                             std::span<const InterfaceName> interfaces);

// Sets the flags and the counters.
Result<void> write_tcp_ao_info(int fd, const TcpAo& ao);

// What can be said about the keys of a socket without the kernel: EINVAL, by member and limit.
// `peer` is that of a connection, nullptr without one.
Result<void> check_tcp_ao(const TcpAo& ao, int domain, const IpAddress* peer);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_TCP_AO_H_

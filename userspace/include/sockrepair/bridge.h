// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_BRIDGE_H_
#define SOCKREPAIR_BRIDGE_H_

#include <vector>

#include "sockrepair/error.h"
#include "sockrepair/export.h"
#include "sockrepair/sockrepair.h"
#include "sockrepair/tcp_socket.h"
#include "sockrepair/tcp_time_wait.h"
#include "sockrepair/udp_socket.h"

// Between the values of C++ and the objects of the C API, for programs that use both.
//
//   sockrepair_udp* object = to_c(value);
//   const UdpSocket& same = from_c(*object);
//   sockrepair_udp_free(object);
namespace SOCKREPAIR_EXPORT sockrepair {

// New objects, the caller's to free; nullptr when there is no memory.
sockrepair_udp* to_c(UdpSocket socket) noexcept;
sockrepair_tcp* to_c(TcpSocket socket) noexcept;
sockrepair_time_wait* to_c(std::vector<TcpTimeWait> connections) noexcept;
sockrepair_error* to_c(Error error) noexcept;

// The value in an object, good until that is freed.
const UdpSocket& from_c(const sockrepair_udp& socket);
const TcpSocket& from_c(const sockrepair_tcp& socket);
const std::vector<TcpTimeWait>& from_c(const sockrepair_time_wait& list);
const Error& from_c(const sockrepair_error& error);

}  // namespace sockrepair

#endif  // SOCKREPAIR_BRIDGE_H_

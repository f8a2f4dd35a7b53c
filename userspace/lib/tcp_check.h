// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_TCP_CHECK_H_
#define SOCKREPAIR_LIB_TCP_CHECK_H_

#include "sockrepair/result.h"
#include "sockrepair/tcp_socket.h"

namespace sockrepair::internal {

// Everything that can be said about the arguments of a restore without the kernel: EINVAL or
// EAFNOSUPPORT, naming the member, its value and its limit.
Result<void> check_tcp_socket(const TcpSocket& socket);
Result<void> check_tcp_restore_options(const TcpRestoreOptions& options);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_TCP_CHECK_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_TCP_TIME_WAIT_CHECK_H_
#define SOCKREPAIR_LIB_TCP_TIME_WAIT_CHECK_H_

#include <cstdint>

#include "sockrepair/result.h"
#include "sockrepair/tcp_time_wait.h"

namespace sockrepair::internal {

// What a kernel can have left at most, microseconds: TCP_TIMEWAIT_LEN; of FIN_WAIT2 3.5 times the
// longest RTO, 120 s.
inline constexpr std::uint64_t kTimeWaitLongest = 60'000'000;
inline constexpr std::uint64_t kFinWait2Longest = 420'000'000;

// Everything about a value that can be said without the kernel; the error names the member.
Result<void> check_tcp_time_wait(const TcpTimeWait& connection);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_TCP_TIME_WAIT_CHECK_H_

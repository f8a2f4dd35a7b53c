// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_BENCH_TCP_INFO_MEMBERS_H_
#define SOCKREPAIR_BENCH_TCP_INFO_MEMBERS_H_

#include <linux/tcp.h>

#include <cstdint>
#include <span>

namespace sockrepair::bench {

// A member of struct tcp_info, without its prefix.
struct TcpInfoMember {
  const char* name;
  std::uint64_t (*value)(const tcp_info&);
};

// All that <linux/tcp.h> of the build host knows, in its order, but for those that are of the
// moment and not of the connection: the four that say how long ago something was (last_data_sent,
// last_ack_sent, last_data_recv, last_ack_recv).
std::span<const TcpInfoMember> tcp_info_members();

}  // namespace sockrepair::bench

#endif  // SOCKREPAIR_BENCH_TCP_INFO_MEMBERS_H_

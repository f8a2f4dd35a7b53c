// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_SITUATION_H_
#define SOCKREPAIR_TESTS_MIGRATION_SITUATION_H_

#include <string>

#include "sockrepair/fd.h"

// What a host sees at a moment, for whoever has waited for it in vain. Never an error: what cannot
// be told says why in its place.
//
//   a connection
//     state 1, retransmits 2, rto 1600000, unacked 10, ... not read 0, not acknowledged 14480
//   neighbours
//     fd00::1 dev eth0 lladdr 02:00:00:00:00:01 PERMANENT
//   ...
namespace sockrepair::test {

// Of a TCP socket: what TCP_INFO and its queues say. Times are in microseconds, those since
// something in milliseconds, as the kernel has them.
std::string connection_situation(const Fd& fd);

// Of the calling thread's network namespace: addresses, neighbours, locks (nftables), queues and
// devices with what they have counted, and the counters of TCP and IP that are not 0.
std::string network_situation();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_SITUATION_H_

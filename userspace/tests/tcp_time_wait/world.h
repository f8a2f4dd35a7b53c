// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_TIME_WAIT_WORLD_H_
#define SOCKREPAIR_TESTS_TCP_TIME_WAIT_WORLD_H_

#include <vector>

#include "sockrepair/result.h"
#include "sockrepair/tcp_time_wait.h"
#include "tcp_socket/world.h"

// Connections that our host has closed first, and remembers. See tcp_socket/world.h.
namespace sockrepair::test {

// What the peer knows of the end.
enum class End {
  kKnown,    // all of it: it is over for the peer
  kPending,  // its FIN was acknowledged, but that was lost: it sends it again
  kOpen,     // it has not closed: our host waits for its FIN (FIN_WAIT2)
};

// Closes `pair.ours`, until our host has a connection in TIME_WAIT or FIN_WAIT2 that nobody has.
// `pair.peer` stays; with kPending what our host sends goes nowhere from then on.
Result<void> close_ours(const World& world, Pair& pair, End end);

// What our host remembers.
Result<std::vector<TcpTimeWait>> remembered(const World& world);
// The same, of which there has to be one.
Result<TcpTimeWait> the_only_one(const World& world);

// Whether the running kernel can restore TIME_WAIT.
bool can_restore_time_wait();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_TIME_WAIT_WORLD_H_

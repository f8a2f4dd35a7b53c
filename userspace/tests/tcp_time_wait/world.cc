// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_time_wait/world.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>

#include "sockrepair/syscall.h"
#include "sockrepair/tcp_detached.h"
#include "try.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

// Nobody's.
constexpr char kNowhere[] = "02:00:00:00:00:0f";

Result<void> wait_until_remembered(const World& world, TimeWaitState state) {
  return wait_until(time_wait_state_name(state), Deadline::after(kPatience), [&] {
    Result<std::vector<DetachedConnection>> found =
        world.ours().run([] { return find_detached_connections(); });
    return found && std::any_of(found->begin(), found->end(), [&](const DetachedConnection& c) {
             return c.kind == DetachedKind::kTimeWait && c.state == static_cast<int>(state);
           });
  });
}

}  // namespace

Result<void> close_ours(const World& world, Pair& pair, End end) {
  SOCKREPAIR_TRY(sys::shutdown(pair.ours.get(), SHUT_WR));
  SOCKREPAIR_TRY(hear_end(pair.peer));
  SOCKREPAIR_TRY(wait_for_state(pair.ours, TcpState::kFinWait2));
  if (end == End::kPending) {
    SOCKREPAIR_TRY(world.ours().ip(std::string("neighbour replace 10.0.0.1 lladdr ") + kNowhere +
                                   " dev wire0\nneighbour replace fd00::1 lladdr " + kNowhere +
                                   " dev wire0\n"));
  }
  pair.ours.reset();
  SOCKREPAIR_TRY(wait_until_remembered(world, TimeWaitState::kFinWait2));
  if (end == End::kOpen) return {};
  SOCKREPAIR_TRY(sys::shutdown(pair.peer.get(), SHUT_WR));
  SOCKREPAIR_TRY(wait_until_remembered(world, TimeWaitState::kTimeWait));
  return end == End::kKnown ? wait_for_state(pair.peer, TcpState::kClose) : Result<void>();
}

Result<std::vector<TcpTimeWait>> remembered(const World& world) {
  return world.ours().run([] { return find_tcp_time_wait(); });
}

Result<TcpTimeWait> the_only_one(const World& world) {
  SOCKREPAIR_TRY_ASSIGN(std::vector<TcpTimeWait> all, remembered(world));
  if (all.size() == 1) return all.front();
  return Error{ERANGE, std::to_string(all.size()) + " TIME_WAIT connections, not 1"};
}

bool can_restore_time_wait() {
  TcpTimeWait any;
  any.domain = AF_INET;
  any.local = {IpAddress::parse("127.0.0.1").value(), 4001, 0};
  any.peer = {IpAddress::parse("127.0.0.1").value(), 4002, 0};
  any.remaining = 1000000;
  Result<NetNs> ns = NetNs::create();
  return ns && ns->run([&] { return prepare_tcp_time_wait(any).ok(); });
}

}  // namespace sockrepair::test

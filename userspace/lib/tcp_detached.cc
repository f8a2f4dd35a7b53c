// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/tcp_detached.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "inet_diag.h"
#include "try.h"

namespace sockrepair {

namespace {

using internal::diag_state;
using internal::DiagEntry;
using internal::DiagFilter;

// What `idiag_timer` is for a connection that is over, whatever its state says.
constexpr std::uint8_t kTimerOfTimeWait = 3;

struct KindRow {
  DetachedKind kind;
  const char* name;
  const char* consequence;
};
constexpr KindRow kKinds[] = {
    {DetachedKind::kHandshake, "handshake",
     "the peer sends its SYN again and begins anew; if it got the answer already it is told that "
     "there is no connection (RST), unless the handshake ends before the move"},
    {DetachedKind::kUnaccepted, "unaccepted",
     "lost, the peer is told so (RST) when the listener is closed; accept it before the move"},
    {DetachedKind::kOrphan, "orphan",
     "what it has still to send is lost; wait until it is gone, or have the program use SO_LINGER, "
     "or wait for SIOCOUTQ to be 0 before it closes"},
    {DetachedKind::kTimeWait, "time-wait",
     "nothing is lost that was sent; a FIN that comes again is answered by RST and not by ACK, and "
     "the port is free at once, unless it comes along (sockrepair dump --time-wait)"},
};

struct StateRow {
  int state;
  const char* name;
  // What a socket without a descriptor is in this state.
  DetachedKind kind;
};
constexpr StateRow kStates[] = {
    {TCP_ESTABLISHED, "ESTABLISHED", DetachedKind::kUnaccepted},
    {TCP_SYN_RECV, "SYN_RECV", DetachedKind::kHandshake},
    {TCP_FIN_WAIT1, "FIN_WAIT1", DetachedKind::kOrphan},
    {TCP_FIN_WAIT2, "FIN_WAIT2", DetachedKind::kOrphan},
    {TCP_TIME_WAIT, "TIME_WAIT", DetachedKind::kTimeWait},
    {TCP_CLOSE_WAIT, "CLOSE_WAIT", DetachedKind::kUnaccepted},
    {TCP_LAST_ACK, "LAST_ACK", DetachedKind::kOrphan},
    {TCP_CLOSING, "CLOSING", DetachedKind::kOrphan},
};

const KindRow& row_of(DetachedKind kind) {
  for (const KindRow& row : kKinds)
    if (row.kind == kind) return row;
  __builtin_unreachable();
}

const StateRow* row_of_state(int state) {
  for (const StateRow& row : kStates)
    if (row.state == state) return &row;
  return nullptr;
}

std::uint32_t all_states() {
  std::uint32_t states = 0;
  for (const StateRow& row : kStates) states |= diag_state(row.state);
  return states;
}

DetachedConnection describe_entry(const DiagEntry& entry, const StateRow& row) {
  const inet_diag_msg& body = entry.body();
  DetachedConnection found;
  found.kind = body.idiag_timer == kTimerOfTimeWait ? DetachedKind::kTimeWait : row.kind;
  found.state = row.state;
  found.local = entry.local();
  found.peer = entry.peer();
  if (found.kind == DetachedKind::kOrphan || found.kind == DetachedKind::kUnaccepted) {
    found.send_queue = body.idiag_wqueue;
    found.receive_queue = body.idiag_rqueue;
  }
  if (body.idiag_timer != 0) found.timer = std::chrono::milliseconds(body.idiag_expires);
  return found;
}

}  // namespace

const char* detached_kind_name(DetachedKind kind) {
  return row_of(kind).name;
}

const char* DetachedConnection::consequence() const {
  return row_of(kind).consequence;
}

std::string DetachedConnection::describe() const {
  const StateRow* row = row_of_state(state);
  std::string text = detached_kind_name(kind);
  text += std::string(" in ") + (row != nullptr ? row->name : "state " + std::to_string(state));
  text += ", " + local.to_string() + " to " + peer.to_string();
  if (send_queue != 0) text += ", " + std::to_string(send_queue) + " bytes to send";
  if (receive_queue != 0) text += ", " + std::to_string(receive_queue) + " bytes not read";
  if (timer) text += ", timer " + std::to_string(timer->count()) + " ms";
  return text + ": " + consequence();
}

Result<std::vector<DetachedConnection>> find_detached_connections() {
  std::vector<DetachedConnection> all;
  SOCKREPAIR_TRY_ASSIGN(Fd netlink, internal::open_inet_diag());
  for (int domain : {AF_INET, AF_INET6}) {
    const DiagFilter filter{.domain = domain, .protocol = IPPROTO_TCP, .states = all_states()};
    SOCKREPAIR_TRY(
        internal::list_inet_sockets(netlink, filter, [&](const DiagEntry& entry) -> Result<void> {
          const StateRow* row = row_of_state(entry.body().idiag_state);
          // A socket in a process has an inode.
          if (row != nullptr && entry.body().idiag_inode == 0)
            all.push_back(describe_entry(entry, *row));
          return {};
        }));
  }
  return all;
}

}  // namespace sockrepair

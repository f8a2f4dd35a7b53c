// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TCP_DETACHED_H_
#define SOCKREPAIR_TCP_DETACHED_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/export.h"
#include "sockrepair/result.h"

// TCP connections that no process has a descriptor of, so that a dump of processes does not carry
// them; here is which there are, and what becomes of them. Those of kTimeWait can be taken along,
// see tcp_time_wait.h; no call reads or restores the others.
//
//   Result<std::vector<DetachedConnection>> left = find_detached_connections();
//   if (!left) return left.error();
//   for (const DetachedConnection& c : *left) puts(c.describe().c_str());
namespace SOCKREPAIR_EXPORT sockrepair {

// Why a connection has no descriptor.
enum class DetachedKind : std::uint8_t {
  kHandshake,   // SYN_RECV: a peer is being answered, no socket is made yet
  kUnaccepted,  // waits in the queue of a listener for accept(2)
  kOrphan,      // closed by its process, and still sending data or its FIN
  kTimeWait,    // over; answers what comes late, or waits for the peer's FIN (FIN_WAIT2)
};

// "handshake", "unaccepted", "orphan", "time-wait"
const char* detached_kind_name(DetachedKind kind);

// One of them. A value.
struct DetachedConnection {
  DetachedKind kind = DetachedKind::kHandshake;
  int state = 0;  // as tcp(7) and the kernel number them, TCP_SYN_RECV, ...
  Endpoint local;
  Endpoint peer;

  // Bytes written and not acknowledged, a FIN counts as one; of what is not accepted, and of an
  // orphan. Received bytes that nobody will read, or that wait for accept(2).
  std::uint32_t send_queue = 0;
  std::uint32_t receive_queue = 0;
  // Until its timer runs out: what ends it (time-wait), or what sends again. Nothing: none runs.
  std::optional<std::chrono::milliseconds> timer;

  bool operator==(const DetachedConnection&) const = default;

  // What becomes of it when its address moves to another host, and what to do before, one line:
  // "restarts by itself: the peer sends its SYN again", ...
  const char* consequence() const;
  // One line: "orphan in LAST_ACK, 10.0.0.1:80 to 10.0.0.2:40000, 17 bytes to send, timer 204 ms: "
  // and the consequence.
  std::string describe() const;
};

// All of the network namespace of the calling thread, IPv4 before IPv6, in no order otherwise. They
// change while they are listed: what ends meanwhile may be in it, what begins may be missing.
//
// ENOENT, EPROTONOSUPPORT and the like when the kernel has no sock_diag for TCP. Does not throw;
// thread-safe.
Result<std::vector<DetachedConnection>> find_detached_connections();

}  // namespace sockrepair

#endif  // SOCKREPAIR_TCP_DETACHED_H_

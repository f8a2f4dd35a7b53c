// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TCP_TIME_WAIT_H_
#define SOCKREPAIR_TCP_TIME_WAIT_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/export.h"
#include "sockrepair/fd.h"
#include "sockrepair/loss.h"
#include "sockrepair/result.h"
#include "sockrepair/socket_options.h"
#include "sockrepair/tcp_socket.h"

// TCP connections that are over, and that the kernel remembers so that it can answer what comes
// late: a last FIN whose acknowledgment was lost, duplicates on their way. No process has a
// descriptor of one. When their addresses move to another place, who comes late is answered there
// with a reset, unless they come along:
//
//   Result<std::vector<TcpTimeWait>> all = find_tcp_time_wait();
//   if (!all) return all.error();
//   Result<std::size_t> ended = end_tcp_time_wait(*all);               // here ...
//   for (const TcpTimeWait& one : *all) restore_tcp_time_wait(one);    // ... and at the new place
//
// What needs which right and kernel:
//
//   find_tcp_time_wait()     CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, in the first user
//   namespace;
//                            Linux 5.9 with type information of its own (CONFIG_DEBUG_INFO_BTF);
//                            libbpf.so.1, which is loaded when it is needed
//   end_tcp_time_wait()      CAP_NET_ADMIN; CONFIG_INET_DIAG_DESTROY of a kernel whose
//                            SOCK_DESTROY takes these, as `ss -K` does
//   restore_tcp_time_wait()  CAP_NET_ADMIN; TCP_REPAIR_CB of the kernel series
//
// Functions do not throw, and are thread-safe.
namespace SOCKREPAIR_EXPORT sockrepair {

// As the kernel numbers them.
enum class TimeWaitState : std::uint8_t {
  kFinWait2 = 5,  // closed by us, acknowledged; the peer's FIN has not come
  kTimeWait = 6,  // closed by both
};

// "FIN_WAIT2", "TIME_WAIT"
const char* time_wait_state_name(TimeWaitState state);

// TCP timestamps of a connection that is over. A value.
struct TimeWaitTimestamps {
  bool microseconds = false;  // their unit; else it is a millisecond
  std::uint32_t value = 0;    // of the next answer, when found
  std::uint32_t recent = 0;   // newest one of the peer, which answers echo
  // Since `recent` came, when found; microseconds, of a whole second's precision.
  std::uint64_t recent_age = 0;

  bool operator==(const TimeWaitTimestamps&) const = default;
};

// A connection that is over. A value: keep it, store it, restore it any number of times.
struct TcpTimeWait {
  int domain = 0;  // AF_INET or AF_INET6, of the socket that it was

  // What identifies it, for a person; restore uses neither.
  std::uint64_t cookie = 0;        // SO_COOKIE that the socket had; 0: it was never asked for
  std::uint64_t netns_cookie = 0;  // SO_NETNS_COOKIE; 0: the kernel does not say

  TimeWaitState state = TimeWaitState::kTimeWait;

  // As getsockname(2) and getpeername(2) would tell them; never wildcards. An IPv4 address with
  // AF_INET6 stands for the IPv4-mapped one.
  Endpoint local;
  Endpoint peer;
  // Whether the program chose the port. A kernel that does not tell: true.
  bool port_chosen = true;

  // What answers are sent with, and who else may have the port, as by these options.
  std::optional<InterfaceName> device;  // SO_BINDTODEVICE
  std::uint32_t mark = 0;               // SO_MARK
  std::uint32_t priority = 0;           // SO_PRIORITY
  std::uint8_t traffic_class = 0;       // IP_TOS, or IPV6_TCLASS of AF_INET6; not its ECN bits
  std::uint32_t flow_label = 0;         // AF_INET6: of what is sent, 0 to 0xfffff; not restored
  std::uint32_t tx_delay = 0;           // TCP_TX_DELAY, microseconds
  bool v6_only = false;                 // IPV6_V6ONLY
  bool reuse_address = false;           // SO_REUSEADDR
  bool reuse_port = false;              // SO_REUSEPORT
  bool transparent = false;             // IP_TRANSPARENT

  // Sequence numbers, FINs counted.
  std::uint32_t snd_nxt = 0;  // of answers
  std::uint32_t rcv_nxt = 0;  // acknowledged by answers
  // Window that answers announce, bytes, 0 to 65535 << rcv_scale.
  std::uint32_t rcv_wnd = 0;
  std::uint8_t rcv_scale = 0;  // 0 to 14

  std::optional<TimeWaitTimestamps> timestamps;  // empty: the SYNs did not agree on them

  // Since a segment out of the window was last answered, microseconds, when found; answers to these
  // are at least tcp_invalid_ratelimit apart. Empty: none was. Not restored: the next is answered.
  std::optional<std::uint64_t> challenge_age;

  // Until the kernel forgets it, when found; microseconds, 1 to 60000000, of kFinWait2 420000000.
  // That is restored in whole seconds, rounded up, and no more than 120.
  std::uint64_t remaining = 0;
  // CLOCK_REALTIME when it was found, nanoseconds. With the clock of the restore it tells the
  // pause.
  std::uint64_t dumped_at = 0;

  // What its answers are signed or encrypted with, and what cannot be carried: "TCP-MD5", "TCP-AO"
  // or "PSP". Empty: neither.
  std::string keys;

  bool operator==(const TcpTimeWait&) const = default;

  // One line: "TIME_WAIT, 10.0.0.1:80 to 10.0.0.2:40000, 59.2 s left"
  std::string describe() const;
};

// All of a network namespace, in no order: of the socket `socket`, or of the calling thread with
// -1. The list is not one moment's: what ends meanwhile may be in it, what begins may be missing.
//
// Errors, with nothing done:
//   * ELIBACC: libbpf.so.1 is not there, or has not the functions that are needed.
//   * EPERM: a right is missing, which is named. User namespaces cannot give it.
//   * EOPNOTSUPP: the kernel has no type information, or no BPF iterator of TCP sockets; or the
//     library was built without this part (SOCKREPAIR_TIME_WAIT).
//   * EAGAIN: no thread for another namespace. Others: those of bpf(2), with what libbpf says.
//
// Takes tens of milliseconds: a program is loaded into the kernel. While that is done, messages of
// libbpf go nowhere (libbpf_set_print), those for other threads go where they went.
Result<std::vector<TcpTimeWait>> find_tcp_time_wait(int socket = -1);

// Has the kernel of the namespace of `socket`, as above, forget `connections`: nothing is sent for
// them, and their ports are free as if their time had come. How many of them were there.
//
//   * EOPNOTSUPP: the kernel has no SOCK_DESTROY, or not for these. Nothing is done.
//   * EPERM: takes CAP_NET_ADMIN. Nothing is done.
//   * ENOENT, EPROTONOSUPPORT and the like: it has no sock_diag(7) for TCP.
Result<std::size_t> end_tcp_time_wait(std::span<const TcpTimeWait> connections, int socket = -1);

struct TimeWaitRestoreOptions {
  // The time since it was found counts for what remains of it, and for its timestamps. What is
  // over by then is not made again.
  bool count_pause = false;
  // The pause in microseconds, for who knows it better than the clocks of two hosts do. Empty: from
  // TcpTimeWait::dumped_at until now, at least 0.
  std::optional<std::uint64_t> pause = std::nullopt;

  std::vector<AddressRewrite> rewrites = {};
};

// A connection that is about to be over again. Nothing answers for it yet: what comes is dropped.
// Its end without begin_tcp_time_wait() leaves nothing behind, and nothing is sent.
struct PreparedTimeWait {
  // CLOEXEC, in repair mode. Empty: it is over, see TimeWaitRestoreOptions::count_pause.
  Fd fd;
  TimeWaitState state = TimeWaitState::kTimeWait;
  // What is not as in the value.
  std::vector<Loss> losses;
};

// The first part of a restore, all that can fail because of the value: for who restores many
// things, or none. The second part makes it answer. In the network namespace of the calling
// thread.
//
// The value is checked before the first call. Errors name the member, its value and what it needs:
//   * EINVAL: a member is out of its range, or does not fit the others.
//   * EOPNOTSUPP: the kernel has no TCP_REPAIR_CB, or one that does not know TIME_WAIT; `keys`.
//   * EPERM: TCP_REPAIR takes CAP_NET_ADMIN.
//   * EADDRNOTAVAIL, EADDRINUSE: `local`, or a connection with these addresses is here. One that is
//     over is replaced, if it has timestamps.
//   * ENODEV: `device`, which is looked for by its name.
Result<PreparedTimeWait> prepare_tcp_time_wait(const TcpTimeWait& connection,
                                               const TimeWaitRestoreOptions& options = {});
// ENOBUFS: there are net.ipv4.tcp_max_tw_buckets already. After an error nothing is left.
Result<void> begin_tcp_time_wait(PreparedTimeWait prepared);

// Both parts at once.
Result<void> restore_tcp_time_wait(const TcpTimeWait& connection,
                                   const TimeWaitRestoreOptions& options = {});

}  // namespace sockrepair

#endif  // SOCKREPAIR_TCP_TIME_WAIT_H_

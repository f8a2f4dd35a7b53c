// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TCP_SOCKET_H_
#define SOCKREPAIR_TCP_SOCKET_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/export.h"
#include "sockrepair/fd.h"
#include "sockrepair/loss.h"
#include "sockrepair/restored_socket.h"
#include "sockrepair/result.h"
#include "sockrepair/socket_options.h"
#include "sockrepair/tcp_ao.h"

// A whole TCP socket, with the connection that it has: read out of one process, made again in the
// same or another one, without the peer noticing.
//
//   ... the segments of the connection are dropped from here on, see connection_lock.h ...
//   Result<TcpSocket> dump = dump_tcp_socket(fd, {.leave_in_repair = true});
//   if (!dump) return dump.error();
//   for (const Loss& loss : dump->losses) puts(loss.describe().c_str());
//   ::close(fd);                                   // nothing is sent
//   Result<RestoredTcpSocket> again = restore_tcp_socket(*dump);
//   if (!again) return again.error();
//   use(again->fd);
//   ... and pass again ...
//
// A dump leaves the socket as it was, so the connection goes on without leave_in_repair. The
// program that has the socket has to be stopped during a dump. Segments of the connection should be
// dropped from the dump to the restore, on every host that would answer them: a host that knows of
// no such connection answers with a reset.
//
// What needs which right and kernel:
//
//   no connection (closed, bound, listening, SYN_SENT to be connected anew)   nothing
//   TcpState::kEstablished                     CAP_NET_ADMIN (TCP_REPAIR)
//   the closing states                         CAP_NET_ADMIN, TCP_REPAIR_CB (the kernel series)
//
// SYN_RECV, but for TCP Fast Open, and TIME_WAIT have no descriptor; sock_diag(7) lists both, and of
// TIME_WAIT see tcp_time_wait.h. What a listener has in SYN_RECV is a loss of the listener's dump.
//
// Functions do not throw, and are thread-safe for different sockets.
namespace SOCKREPAIR_EXPORT sockrepair {

// As the kernel numbers them.
enum class TcpState : std::uint8_t {
  kEstablished = 1,
  kSynSent = 2,
  kFinWait1 = 4,   // closed by us; the FIN may be unsent, in flight, or not acknowledged
  kFinWait2 = 5,   // closed by us, which the peer has acknowledged
  kClose = 7,      // no connection: a new socket, a bound one, or one whose connection is over
  kCloseWait = 8,  // closed by the peer
  kLastAck = 9,    // closed by the peer, then by us
  kListen = 10,
  kClosing = 11,  // closed by us and by the peer at the same time
};

// "ESTABLISHED"; "state N" for other numbers.
std::string tcp_state_name(TcpState state);

// Whether there is a connection that has sequence numbers of both sides.
bool is_connected(TcpState state);
// Whether the connection is being closed: restored with a control block only.
bool is_closing(TcpState state);

// Windows, as struct tcp_repair_window has them. A value.
struct TcpWindow {
  std::uint32_t snd_wl1 = 0;     // sequence number of the segment that last updated snd_wnd
  std::uint32_t snd_wnd = 0;     // announced by the peer, bytes
  std::uint32_t max_window = 0;  // the largest one ever, bytes
  std::uint32_t rcv_wnd = 0;     // announced to the peer, bytes from rcv_wup on
  std::uint32_t rcv_wup = 0;     // sequence number expected when it was announced

  bool operator==(const TcpWindow&) const = default;
};

// Window scales, as both SYNs had them. A value.
struct TcpScales {
  std::uint8_t snd = 0;  // of windows that the peer announces, 0 to 14
  std::uint8_t rcv = 0;  // of windows that are announced to it, 0 to 14

  bool operator==(const TcpScales&) const = default;
};

// A connection: what a socket has beyond its addresses and options. A value.
struct TcpConnection {
  using Bytes = std::vector<std::uint8_t>;

  // What the SYNs agreed on.
  std::uint16_t mss_clamp = 536;    // largest segment that the peer takes, bytes, from 88 on
  std::optional<TcpScales> scales;  // empty: windows are not scaled
  bool sack = false;
  bool timestamps = false;

  // Sequence number after the last byte of each queue; a FIN is not counted.
  std::uint32_t snd_seq = 0;
  std::uint32_t rcv_seq = 0;
  // Next timestamp to be sent, as TCP_TIMESTAMP has it: bit 0 set says that the unit is a
  // microsecond, else it is a millisecond.
  std::uint32_t timestamp = 0;
  TcpWindow window;

  Bytes receive_queue;  // received in sequence, and not read by the program
  Bytes send_queue;     // written, and not acknowledged
  // How many bytes at the end of send_queue were never sent.
  std::uint32_t unsent = 0;

  // Urgent data, if any: offset of the mark in receive_queue; its size or more: the mark is not
  // received yet. Known with a control block only, which restores it.
  std::optional<std::uint32_t> urgent_mark;

  // struct tcp_repair_cb (<linux/tcp_repair.h>) as the kernel gave it; all else that the connection
  // has learned. Empty: dumped by a kernel that has none.
  std::optional<Bytes> control_block;

  // CLOCK_REALTIME of the dump, nanoseconds. With the clock of the restore it tells the pause.
  std::uint64_t dumped_at = 0;

  bool operator==(const TcpConnection&) const = default;
};

// A TCP socket. A value: keep it, store it, change it, restore it any number of times.
struct TcpSocket {
  int domain = 0;  // AF_INET or AF_INET6

  // What identifies the socket that was dumped, for a person or to find it again; restore uses none
  // of it. 0: the kernel does not say.
  std::uint64_t cookie = 0;        // SO_COOKIE
  std::uint64_t inode = 0;         // as in /proc/PID/fd and sock_diag
  std::uint64_t netns_cookie = 0;  // SO_NETNS_COOKIE

  bool nonblocking = false;  // O_NONBLOCK

  // The bound address and port; either may be a wildcard or 0. Empty: unbound. On an AF_INET6
  // socket an IPv4 address stands for the IPv4-mapped one.
  std::optional<Endpoint> local;
  // Connected states and SYN_SENT.
  std::optional<Endpoint> peer;
  std::uint32_t peer_flowinfo = 0;  // sin6_flowinfo given to connect(2), host byte order

  // Whether the program chose the address and the port, with bind(2), and so keeps them when it
  // disconnects. What accept(2) gave has no chosen port. Empty: the kernel does not tell, and the
  // dump could not conclude it. Restored as chosen.
  std::optional<bool> address_chosen;
  std::optional<bool> port_chosen;

  TcpState state = TcpState::kClose;

  // kListen: the argument of listen(2) as far as net.core.somaxconn let it be, and how many
  // connections waited for accept(2) when dumped. These are not in the value.
  std::uint32_t backlog = 0;
  std::uint32_t accept_queue = 0;

  // shutdown(2), as far as the state does not say it: SHUT_RD of a connection. In kClose both: read
  // gives end of file and write EPIPE, as after a connection.
  bool receive_shutdown = false;
  bool send_shutdown = false;

  // kSynSent: the sequence number of the SYN.
  std::optional<std::uint32_t> syn_sequence;

  // The error that the next call on the socket returns, an errno number. Only with
  // TcpDumpOptions::take_errors, since reading it takes it away.
  std::optional<int> pending_error;

  // kListen with SO_REUSEPORT: how many listeners of this group there were before it. Restore the
  // listeners of a group in this order, and each gets the connections it would have. Empty: not
  // shared, or sock_diag is missing.
  std::optional<std::uint32_t> reuseport_rank;

  std::vector<OptionValue> options;  // see socket_options.h
  // The names of all interfaces whose indices appear in this value.
  std::vector<InterfaceName> interfaces;

  // There if and only if is_connected(state).
  std::optional<TcpConnection> connection;

  // TCP-AO, with the bytes of its keys: SECRETS. Empty: it is not used.
  std::optional<TcpAo> ao;

  // What is not in this value although the socket has, or may have, it.
  std::vector<Loss> losses;

  bool operator==(const TcpSocket&) const = default;

  // Several lines for a person, "name: value\n" each; queues and keys with their number of bytes
  // only.
  std::string describe() const;
};

// The socket as its program finds it when the connection is over: bound as before, reading gives
// end of file, writing EPIPE. A listener, or a socket that has no connection, is as it was.
TcpSocket without_connection(const TcpSocket& socket);

namespace internal {
class TcpDiag;
}

// What sock_diag(7) tells of all TCP sockets of a network namespace at once: for who dumps many of
// them, so that it need not be asked for each. A value that may be used by several threads.
class TcpSurvey {
 public:
  // The namespace of the socket `fd`. EPERM and the like as for dump_tcp_socket(), which does not
  // mind, and then says what it could not see.
  static Result<TcpSurvey> take(int fd);

  // For the library itself.
  const internal::TcpDiag& diag() const { return *diag_; }

 private:
  explicit TcpSurvey(std::shared_ptr<const internal::TcpDiag> diag) : diag_(std::move(diag)) {}

  std::shared_ptr<const internal::TcpDiag> diag_;
};

struct TcpDumpOptions {
  // Leave a connection in repair mode, in which close(2) sends nothing: for a socket that will be
  // closed. Other sockets do not know the mode. It ends with resume_tcp_source(). After an error of
  // the dump the socket is not in repair mode.
  bool leave_in_repair = false;
  // A listener with connections that wait for accept(2) is EBUSY; with this a loss.
  Refusal accept_queue = Refusal::kFail;
  // Take the pending error off the socket, where poll(2) says that there may be one. For a socket
  // that will be closed after the dump. Without it the error stays, and a loss says so.
  bool take_errors = false;
  // Use TCP_REPAIR_CB where the kernel has it. Off: as on a kernel without it.
  bool control_block = true;
  // Of the namespace of the socket, taken after the socket was made. Not owned; nullptr: none.
  const TcpSurvey* survey = nullptr;
};

// Dumps the TCP socket `fd`, which stays the caller's and as it was.
//
// A socket that cannot be carried is refused by name before anything is changed, not even for a
// moment:
//   * EPROTONOSUPPORT: not a TCP socket of AF_INET or AF_INET6; MPTCP and SMC are not.
//   * EOPNOTSUPP: TCP-MD5 keys, an upper layer protocol (kTLS), a closing state on a kernel without
//     TCP_REPAIR_CB, TcpState that has no descriptor.
//   * EBUSY: connections wait for accept(2), see TcpDumpOptions::accept_queue.
//   * EPERM: TCP_REPAIR takes CAP_NET_ADMIN in the user namespace of the socket's network
//   namespace.
//   * EAGAIN: SYN_RECV, which has a descriptor after TCP Fast Open, or when two connect(2) met; it
//     ends with the peer's next segment.
// EAGAIN: the connection went on while it was read, each time it was tried. Drop its segments.
Result<TcpSocket> dump_tcp_socket(int fd, const TcpDumpOptions& options = {});

// Ends the repair mode that TcpDumpOptions::leave_in_repair left on the socket `fd`, which was
// dumped as `socket`: it goes on as it was. Nothing is sent for it.
Result<void> resume_tcp_source(int fd, const TcpSocket& socket);

// How much of what was known of the path is used on the new one. See TCP_REPAIR_CB_CWND_*.
enum class TcpCongestion : std::uint8_t {
  kCapped,  // half of the window, as far as it was in use: the path may be another one
  kWhole,   // as it was: the path is the same
  kSkip,    // as for a new connection
};

// An address to be replaced, in `local` and `peer`, and in keys of TCP-AO that are for it alone. It
// is signed, so a peer that uses TCP-AO has to be restored with the same rewrites.
struct AddressRewrite {
  IpAddress from;
  IpAddress to;  // of the same family

  bool operator==(const AddressRewrite&) const = default;
};

struct TcpRestoreOptions {
  // For values of options that the kernel refuses. Addresses that cannot be bound and connections
  // that cannot be restored are always an error.
  Refusal refusal = Refusal::kFail;

  TcpCongestion congestion = TcpCongestion::kCapped;
  // The time from the dump to the restore counts for timers and clocks, as if the connection had
  // been idle. Otherwise no more of it than a round trip does.
  bool count_pause = false;
  // The pause in microseconds, for who knows it better than the clocks of two hosts do. Empty: from
  // TcpConnection::dumped_at until now, at least 0.
  std::optional<std::uint64_t> pause = std::nullopt;
  // Use the control block of the value, and TCP_REPAIR_CB. Off, or without either: plain
  // TCP_REPAIR, and a loss says so.
  bool control_block = true;

  std::vector<AddressRewrite> rewrites = {};

  // The caller drops the segments of the connection until it is restored. Otherwise the new socket
  // does, which takes two more calls.
  bool segments_dropped = false;

  // A connection stays in repair mode, and SYN_SENT unconnected, until resume_tcp_socket(): nothing
  // is sent before. For who restores many sockets, and then lets segments pass.
  bool keep_repair = false;
  // The end of repair mode asks the peer for a segment, which brings its newest window and
  // acknowledgment. Off: nothing is sent for it.
  bool window_probe = true;
};

// How a connection was restored.
enum class TcpMethod : std::uint8_t {
  kNone,          // there is no connection
  kControlBlock,  // TCP_REPAIR_CB
  kPlain,         // TCP_REPAIR alone
};
const char* tcp_method_name(TcpMethod method);

struct RestoredTcpSocket : RestoredSocket {
  TcpMethod method = TcpMethod::kNone;
};

// Makes `socket` again, in the network namespace of the calling thread.
//
// The value is checked before the first call. After an error the new socket is closed, and nothing
// was sent from it: the connection is as it would be without the attempt. Errors name the member or
// option, its value and what it needs:
//   * EADDRINUSE, EADDRNOTAVAIL, EACCES of bind(2): `local`.
//   * EADDRNOTAVAIL of connect(2): `peer`, a socket with these addresses exists here.
//   * EOPNOTSUPP: `state` needs a control block and TCP_REPAIR_CB, `ao` a kernel with
//   CONFIG_TCP_AO.
//   * EPERM: TCP_REPAIR takes CAP_NET_ADMIN.
//   * interfaces are found by name; one that is missing makes what refers to it refused.
//
// Restore a listener before the connections that share its port. These do not need SO_REUSEADDR.
Result<RestoredTcpSocket> restore_tcp_socket(const TcpSocket& socket,
                                             const TcpRestoreOptions& options = {});

// The second part of a restore with keep_repair, with the same arguments: ends repair mode, sends
// what was written and not sent, and the FIN or the SYN that was to be sent. Call it when segments
// of the connection pass again. Does nothing for sockets without a connection.
//
// After an error the socket should be closed.
Result<void> resume_tcp_socket(int fd, const TcpSocket& socket,
                               const TcpRestoreOptions& options = {});

// Closes a socket in repair mode, so that its peer is told nothing. A socket that cannot enter the
// mode is closed as it is.
void close_silently(Fd fd);

inline Result<TcpSocket> dump_tcp_socket(const Fd& fd, const TcpDumpOptions& options = {}) {
  return dump_tcp_socket(fd.get(), options);
}
inline Result<void> resume_tcp_source(const Fd& fd, const TcpSocket& socket) {
  return resume_tcp_source(fd.get(), socket);
}
inline Result<void> resume_tcp_socket(const Fd& fd, const TcpSocket& socket,
                                      const TcpRestoreOptions& options = {}) {
  return resume_tcp_socket(fd.get(), socket, options);
}

}  // namespace sockrepair

#endif  // SOCKREPAIR_TCP_SOCKET_H_

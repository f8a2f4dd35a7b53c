// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_UDP_SOCKET_H_
#define SOCKREPAIR_UDP_SOCKET_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/export.h"
#include "sockrepair/fd.h"
#include "sockrepair/loss.h"
#include "sockrepair/restored_socket.h"
#include "sockrepair/result.h"
#include "sockrepair/socket_options.h"
#include "sockrepair/udp_receive_queue.h"
#include "sockrepair/udp_send_queue.h"

// A whole UDP socket: read out of one process, made again in the same or another one.
//
//   Result<UdpSocket> dump = dump_udp_socket(fd);
//   if (!dump) return dump.error();
//   for (const Loss& loss : dump->losses) puts(loss.describe().c_str());
//   ::close(fd);                                   // its address is free now
//   Result<RestoredSocket> again = restore_udp_socket(*dump);
//   if (!again) return again.error();
//   use(again->fd);
//
// Functions do not throw, and are thread-safe for different sockets. The program that has the
// socket should be stopped during a dump: what it does to the socket meanwhile is in the dump or
// not, part by part.
namespace SOCKREPAIR_EXPORT sockrepair {

// A multicast group that a socket is a member of, on one interface. A value.
struct Membership {
  IpAddress group;
  std::uint32_t ifindex = 0;
  // MCAST_EXCLUDE: from everybody but `sources`. Otherwise MCAST_INCLUDE: only from them.
  bool exclude = true;
  std::vector<IpAddress> sources;

  bool operator==(const Membership&) const = default;

  // "239.1.1.1 on interface 2, from all but 192.0.2.1"
  std::string describe() const;
};

// A UDP socket. A value: keep it, store it, change it, restore it any number of times.
struct UdpSocket {
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
  // Where it is connected to. Empty: not connected, or disconnected again.
  std::optional<Endpoint> peer;
  std::uint32_t peer_flowinfo = 0;  // sin6_flowinfo given to connect(2), host byte order

  // Whether the program chose the address and the port, with bind(2), and so keeps them when it
  // disconnects. Empty: the kernel does not tell, and the dump could not conclude it. Restored as
  // chosen.
  std::optional<bool> address_chosen;
  std::optional<bool> port_chosen;

  bool receive_shutdown = false;  // shutdown(2) of SHUT_RD
  bool send_shutdown = false;     // SHUT_WR

  // The error that the next call on the socket returns, an errno number. Only with
  // UdpDumpOptions::take_errors, since reading it takes it away.
  std::optional<int> pending_error;

  // With SO_REUSEPORT or SO_REUSEADDR: how many sockets of this namespace on the same port were
  // bound earlier. Restore the sockets of a group in this order, and each gets the flows it had.
  // Empty: not shared, or sock_diag is missing.
  std::optional<std::uint32_t> reuseport_rank;

  std::vector<OptionValue> options;  // see socket_options.h
  std::vector<Membership> memberships;
  // The names of all interfaces whose indices appear in this value.
  std::vector<InterfaceName> interfaces;

  std::optional<SendQueue> send_queue;
  ReceiveQueue receive_queue;

  // What is not in this value although the socket has, or may have, it.
  std::vector<Loss> losses;

  bool operator==(const UdpSocket&) const = default;

  // Several lines for a person, "name: value\n" each; queues with their number of datagrams and
  // bytes only.
  std::string describe() const;
};

struct UdpDumpOptions {
  bool send_queue = true;
  bool receive_queue = true;
  // How to read the receive queue, see udp_receive_queue.h.
  ReceiveQueueDumpOptions receive;
  // Take the pending error and the error queue off the socket, where poll(2) says that there is one
  // or the other. For a socket that will be closed after the dump: this is all that a dump changes.
  // Without it they stay, and a loss says so.
  bool take_errors = false;
};

// Dumps the UDP socket `fd`, which stays the caller's and as it was.
//
// The send queue needs UDP_REPAIR and CAP_NET_ADMIN, see udp_send_queue.h; without either, bytes
// that wait to be sent are a loss. The state of a socket of another network namespace needs
// CAP_SYS_ADMIN in the user namespaces of the caller and of that namespace; without it, or without
// sock_diag, the losses name what could not be seen.
//
// EPROTONOSUPPORT: not a UDP socket, or neither AF_INET nor AF_INET6.
Result<UdpSocket> dump_udp_socket(int fd, const UdpDumpOptions& options = {});

struct UdpRestoreOptions {
  // For values of options and memberships that the kernel refuses. Addresses that cannot be bound
  // and queues that cannot be restored at all are always an error.
  Refusal refusal = Refusal::kFail;
  ReceiveQueueRestoreOptions receive;
  RestoreOptions send;
};

// Makes `socket` again, in the network namespace of the calling thread.
//
// The value is checked before the first call, and an error leaves nothing behind: the new socket is
// closed, nothing was sent from it. Errors name the member or option, its value and what it needs:
//   * EADDRINUSE, EADDRNOTAVAIL, EACCES of bind(2): `local`, which has to be free, or shared as the
//     options say; the address has to exist unless IP_FREEBIND or IP_TRANSPARENT is among them.
//   * interfaces are found by name; one that is missing makes what refers to it refused.
//
// Options are set, the socket bound, the receive queue filled, the socket connected, the send queue
// begun, and the remaining options set, in that order. Datagrams that arrive from the network as
// soon as the socket is bound are kept as for any socket, and may be in front of restored ones.
Result<RestoredSocket> restore_udp_socket(const UdpSocket& socket,
                                          const UdpRestoreOptions& options = {});

inline Result<UdpSocket> dump_udp_socket(const Fd& fd, const UdpDumpOptions& options = {}) {
  return dump_udp_socket(fd.get(), options);
}

}  // namespace sockrepair

#endif  // SOCKREPAIR_UDP_SOCKET_H_

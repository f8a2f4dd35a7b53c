// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_UDP_SEND_QUEUE_H_
#define SOCKREPAIR_UDP_SEND_QUEUE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/export.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// The datagram under construction on a UDP socket (UDP_CORK, MSG_MORE): read it out of one socket,
// rebuild it on another.
//
//   Result<std::optional<SendQueue>> queue = dump_send_queue(old_socket);
//   if (!queue) return queue.error();
//   if (queue->has_value()) {
//     Result<void> restored = restore_send_queue(new_socket, **queue);
//     if (!restored) return restored.error();
//   }
//
// Socket options (UDP_CORK, IP_TOS, SO_TXTIME, ...) are not part of the datagram and not restored
// here: bind the new socket and set its options first. It then sends what the old one would have.
//
// Functions take a descriptor that stays the caller's. They do not throw, and are thread-safe for
// different sockets; what they say about a socket that others use at the same time is in their
// comments.
namespace SOCKREPAIR_EXPORT sockrepair {

// A datagram under construction. A value: keep it, store it, change it, use it any number of times.
//
// An empty optional means that the sender did not give this: it is taken from the socket, or does
// not exist, when the datagram leaves.
struct SendQueue {
  using Bytes = std::vector<std::uint8_t>;

  // The protocol the datagram leaves with. An AF_INET6 socket builds kIpv4 ones for IPv4-mapped
  // peers; the addresses below are then IPv4 addresses.
  Family family = Family::kIpv4;
  IpAddress source;
  IpAddress destination;               // the final one, also with a routing header or source route
  std::uint16_t source_port = 0;       // host byte order
  std::uint16_t destination_port = 0;  // host byte order

  // Interface to ask for (IP_PKTINFO, IPV6_PKTINFO). IPv6: as the sender asked, or as the source
  // address needs it. IPv4 does not keep what was asked: always given, unless the destination is an
  // address of this host.
  std::optional<std::uint32_t> oif;
  std::uint32_t ifindex = 0;  // where the route pointed when dumped; restore does not use it

  std::optional<std::uint8_t> hop_limit;      // IPv4: TTL, 1 to 255
  std::optional<std::uint8_t> traffic_class;  // IPv4: TOS; with the ECN bits
  std::optional<std::uint32_t> flow_label;    // IPv6, host byte order, 1 to 0xfffff
  std::uint32_t priority = 0;                 // SO_PRIORITY
  std::uint32_t mark = 0;                     // SO_MARK
  std::optional<std::uint64_t> txtime;        // SCM_TXTIME, ns of the socket's SO_TXTIME clock
  std::uint32_t tsflags = 0;                  // SOF_TIMESTAMPING_TX_*
  std::uint32_t tskey = 0;                    // what the time stamps carry, SOF_TIMESTAMPING_OPT_ID
  std::optional<std::uint16_t> gso_size;      // UDP_SEGMENT, bytes of payload

  // Path MTU that the datagram was being cut to, bytes with headers. The new socket uses that of
  // its own route and options (IPV6_MTU, IP_MTU_DISCOVER); restore does not use it.
  std::uint32_t fragsize = 0;

  bool dontfrag = false;  // IPV6_DONTFRAG was in force
  bool confirm = false;   // begun with MSG_CONFIRM
  bool onlink = false;    // the IPv4 route had no gateway, see RestoreOptions::dont_route
  // A MSG_ZEROCOPY completion was due, to the old socket. The restored datagram is a copy.
  bool zerocopy = false;

  Bytes ip_options;   // IPv4 options as IP_OPTIONS takes them, up to 40 bytes
  Bytes hop_by_hop;   // IPv6 hop-by-hop options header
  Bytes routing_dst;  // IPv6 destination options header before the routing header
  Bytes routing;      // IPv6 routing header, type 2 or 4
  Bytes dst;          // last IPv6 destination options header
  Bytes payload;

  bool operator==(const SendQueue&) const = default;

  // Several lines for a person, "name: value\n" each; what is not given is left out, and of the
  // payload there is the length and the first bytes.
  std::string describe() const;
};

// One line for every member that differs, "hop_limit: 3 instead of 4". Empty if and only if a == b.
std::vector<std::string> differences(const SendQueue& a, const SendQueue& b);

struct RestoreOptions {
  // Build with MSG_DONTROUTE when `onlink` says that the route had no gateway. Most such datagrams
  // just had a neighbour for a destination, so this is not the default.
  bool dont_route = false;
};

// Whether repair mode is on. ENOPROTOOPT: the kernel has no UDP_REPAIR, or not a UDP socket.
Result<bool> get_udp_repair(int fd);

// Switches repair mode on or off. EPERM without CAP_NET_ADMIN in the user namespace that owns the
// socket's network namespace.
Result<void> set_udp_repair(int fd, bool on);

// The datagram under construction, nothing when there is none. It stays on the socket. If repair
// mode was off it is on during the call, which takes CAP_NET_ADMIN, and off again afterwards; two
// threads that dump one socket should switch it on themselves beforehand.
//
// The datagram is one state the socket was in, also while other threads append to it.
Result<std::optional<SendQueue>> dump_send_queue(int fd);

// Rebuilds `queue` on the socket `fd`, as the beginning of a datagram that the next send without
// MSG_MORE, or taking UDP_CORK away, completes.
//
// Needs: a UDP socket bound to the source port, with no datagram under construction (where only a
// dump could tell it from one that is on its way to the device, it has to be permitted), in a
// network namespace where source and oif exist; AF_INET6 for an IPv6 datagram; SO_TXTIME for
// txtime; SOF_TIMESTAMPING_OPT_ID for tskey; CAP_NET_RAW or CAP_NET_ADMIN for a mark that is not
// the socket's, for a priority above 6 and for extension headers and some options. All of it is
// checked before anything is put on the socket; the error names the member and its limit, and the
// socket is as it was.
//
// Options of the socket that would get into a datagram which was begun without them (IPv6 sticky
// headers, IPV6_UNICAST_IF, IPV6_MULTICAST_IF, IP_UNICAST_IF) are taken away for the duration of
// the call: nobody else should be sending on the socket. The exception is the interface of a sticky
// IPV6_PKTINFO, which the kernel does not give back.
//
// A restored tskey outlives its datagram: Linux 7.3 does not forget a number that came with
// SCM_TS_OPT_ID when the datagram is gone, on any socket. Later corked datagrams of the socket
// carry it as well, unless they come with a number of their own.
Result<void> restore_send_queue(int fd, const SendQueue& queue, const RestoreOptions& options = {});

// Throws away the datagram under construction, if there is one, without sending it.
Result<void> discard_send_queue(int fd);

inline Result<bool> get_udp_repair(const Fd& fd) {
  return get_udp_repair(fd.get());
}
inline Result<void> set_udp_repair(const Fd& fd, bool on) {
  return set_udp_repair(fd.get(), on);
}
inline Result<std::optional<SendQueue>> dump_send_queue(const Fd& fd) {
  return dump_send_queue(fd.get());
}
inline Result<void> restore_send_queue(const Fd& fd, const SendQueue& queue,
                                       const RestoreOptions& options = {}) {
  return restore_send_queue(fd.get(), queue, options);
}
inline Result<void> discard_send_queue(const Fd& fd) {
  return discard_send_queue(fd.get());
}

}  // namespace sockrepair

#endif  // SOCKREPAIR_UDP_SEND_QUEUE_H_

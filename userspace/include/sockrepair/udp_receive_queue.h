// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_UDP_RECEIVE_QUEUE_H_
#define SOCKREPAIR_UDP_RECEIVE_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/export.h"
#include "sockrepair/fd.h"
#include "sockrepair/loss.h"
#include "sockrepair/result.h"

// The datagrams that wait on a UDP socket to be received: read them without receiving them, put
// them into the queue of another socket.
//
//   Result<ReceiveQueueDump> dump = dump_receive_queue(old_socket);
//   if (!dump) return dump.error();
//   Result<ReceiveQueueReport> report = restore_receive_queue(new_socket, dump->queue);
//   if (!report) return report.error();
//   for (const Loss& loss : report->losses) puts(loss.describe().c_str());
//
// There are two ways to do each. With UDP_REPAIR_RECV_QUEUE (Method::kKernel) nothing is lost. On a
// kernel without it (Method::kStock) the dump peeks, and the restore has packets delivered to the
// socket; both tell datagram by datagram what they could not carry. A dump made one way can be
// restored the other way.
//
// Functions take a descriptor that stays the caller's. They do not throw, and are thread-safe for
// different sockets. The program that the socket is from should be stopped: nobody else may receive
// from the socket or set options of it during a call.
namespace SOCKREPAIR_EXPORT sockrepair {

// How to get at the queue.
enum class Method : std::uint8_t {
  kKernel,  // UDP_REPAIR_RECV_QUEUE; needs CAP_NET_ADMIN
  kStock,   // what every kernel has; the restore needs CAP_NET_ADMIN and CAP_NET_RAW
};

// "kernel" or "stock".
const char* method_name(Method method);

// A datagram that has arrived and was not received yet. A value.
//
// An empty optional means "not known", or that the kernel did not keep it: nobody had asked for it
// when the datagram arrived. Restored without it, the datagram has what the kernel gives a datagram
// that arrives from this host.
struct ReceivedDatagram {
  using Bytes = std::vector<std::uint8_t>;

  // The protocol it came with. On an AF_INET6 socket kIpv4 ones are those from IPv4-mapped
  // addresses; the addresses below are then IPv4 addresses.
  Family family = Family::kIpv4;
  Endpoint source;       // with the scope that recvmsg() tells: of link-local addresses only
  Endpoint destination;  // of the packet: also a broadcast or multicast address; scope is 0

  // Interface it came in by, as IP_PKTINFO or IPV6_PKTINFO tell. IPv4 keeps it only when one of
  // these was on at arrival.
  std::optional<std::uint32_t> ifindex;
  // Interface it was received on. A program is told only of link-local sources in a VRF; else
  // kKernel only.
  std::optional<std::uint32_t> device;
  // Address of this host that an answer would come from, ipi_spec_dst of IP_PKTINFO. IPv4 only,
  // kept like `ifindex`.
  std::optional<IpAddress> local;

  std::optional<std::uint8_t> hop_limit;      // IPv4: TTL
  std::optional<std::uint8_t> traffic_class;  // IPv4: TOS; with the ECN bits
  std::optional<std::uint32_t> flow_label;    // IPv6, host byte order, 0 to 0xfffff
  std::optional<std::uint32_t> mark;          // SO_RCVMARK
  std::optional<std::uint32_t> priority;      // SO_RCVPRIORITY

  // When it arrived, ns of CLOCK_REALTIME (SO_TIMESTAMP*), and by the clock of the device
  // (SOF_TIMESTAMPING_RAW_HARDWARE).
  std::optional<std::uint64_t> timestamp;
  std::optional<std::uint64_t> hardware_timestamp;

  // Several datagrams of this many bytes that the kernel has put together (UDP_GRO); the last may
  // be shorter. Empty: one datagram.
  std::optional<std::uint16_t> gro_size;
  // The largest fragment it arrived in, bytes (IP_RECVFRAGSIZE). Empty: whole, or not known.
  std::optional<std::uint32_t> fragment_size;
  // Sum over the payload that the device made (IP_CHECKSUM), as it is in memory.
  std::optional<std::uint32_t> checksum;

  // What was between the IP and the UDP header, byte by byte: IPv4 options with their padding, or
  // IPv6 extension headers, the first of which has protocol number `next_header` (17: there are
  // none).
  Bytes headers;
  std::uint8_t next_header = 17;

  bool l3slave = false;  // IPv6: came through a VRF; kKernel only
  // Of no bytes, and regarded as seen by who peeks with SO_PEEK_OFF; kKernel only.
  bool peeked = false;

  Bytes payload;

  bool operator==(const ReceivedDatagram&) const = default;

  // Several lines for a person, "name: value\n" each; what is not known is left out, and of the
  // payload there is the length and the first bytes.
  std::string describe() const;
};

// One line for every member that differs, "hop_limit: 3 instead of 4". Empty if and only if a == b.
std::vector<std::string> differences(const ReceivedDatagram& a, const ReceivedDatagram& b);

// What waits on a socket. A value: keep it, store it, change it, use it any number of times.
struct ReceiveQueue {
  std::vector<ReceivedDatagram> datagrams;  // the next to be received first

  bool operator==(const ReceiveQueue&) const = default;
};

struct ReceiveQueueDumpOptions {
  // Empty: kKernel where the kernel has it, kStock where not (ENOPROTOOPT) or where it is not
  // permitted (EPERM).
  std::optional<Method> method;
};

struct ReceiveQueueDump {
  ReceiveQueue queue;
  Method method = Method::kKernel;
  // Whether every member is as the kernel has it. False after kStock, which cannot tell what the
  // kernel does not say from what the datagram did not have.
  bool complete = false;
  // kStock: the error that was pending on the socket (SO_ERROR), which peeking takes off it, an
  // errno number; 0: none.
  int pending_error = 0;
  // kStock: at most this many datagrams without a byte can be on the queue and not in the dump, see
  // below. 0: there is none.
  std::size_t hidden_at_most = 0;
  // What is known to be missing.
  std::vector<Loss> losses;
};

// The datagrams on the queue of the UDP socket `fd`, which stay there. Datagrams that arrive during
// the call are either not in the dump, or in it with all that arrived before them. Those with a bad
// checksum are passed over, as receiving does.
//
// kKernel changes nothing.
//
// kStock peeks: SO_PEEK_OFF and the options that make recvmsg() tell about a datagram (IP_PKTINFO,
// IP_RECVTTL, ...) are changed during the call and put back. Two things the kernel does not allow
// to put back: a pending error of the socket is taken, see `pending_error`, and a datagram without
// a byte counts as seen. Who peeks with SO_PEEK_OFF passes over such a datagram, and so does the
// next dump by kStock, unless it is the first in the queue. How many can be hidden in this way
// follows from the memory that the queue takes, `hidden_at_most`.
Result<ReceiveQueueDump> dump_receive_queue(int fd, const ReceiveQueueDumpOptions& options = {});

struct ReceiveQueueRestoreOptions {
  // Empty: kKernel where the kernel has it and it is permitted, else kStock.
  std::optional<Method> method;
};

struct ReceiveQueueReport {
  Method method = Method::kKernel;
  std::size_t restored = 0;  // datagrams put into the queue, with or without a loss
  // What is not as in the original, by index into ReceiveQueue::datagrams. Always empty for
  // kKernel.
  std::vector<Loss> losses;
};

// Puts the datagrams of `queue` into the queue of the UDP socket `fd`, behind those that are there.
//
// Needs: AF_INET6 for IPv6 datagrams, without IPV6_V6ONLY for IPv4 ones; the interfaces of
// `ifindex` and `device` in its network namespace; UDP_GRO for gro_size. These and every member of
// every datagram are checked before the first is put; the error names the datagram, the member and
// its limit, and the socket is as it was. If a later step fails all the same, the error says how
// many datagrams were put.
//
// The receive buffer (SO_RCVBUF) is enlarged during the call where it has no room for datagrams
// that take more memory here than where they were dumped; ENOBUFS if that is not permitted.
//
// kStock delivers packets of its own making over the loopback device, through all that a packet of
// this host goes through. No socket is bound for it, and no port has to be free. It needs a socket
// bound to the destination's port, best not connected yet, in a network namespace where the
// destination is an address of the host. Set options of the socket first, IP_PKTINFO and
// SO_TIMESTAMP among them: the kernel keeps some members only for a socket that has asked.
//   * Of several sockets that could get a packet (SO_REUSEADDR, SO_REUSEPORT, another peer) the
//     right one is made to, with SO_REUSEPORT, SO_BINDTOIFINDEX and connect(2), which are as before
//     afterwards. Where that does not work the packet is not sent: no other socket gets it. In a
//     SO_REUSEPORT group it works for the socket that was bound last to an IPv4 address; so restore
//     each queue before the next socket of the group is bound.
//   * To a multicast group that the host has joined, packets have hop limit 0, which keeps them on
//     the host; to a broadcast address they come in by the loopback device. As every socket on the
//     port could get a copy, they are sent only if there is no other one.
//   * Times, a checksum and the sizes of fragments are not in a packet, and lost.
// What arrived is compared with what was wanted, and every difference is in `losses`; a datagram
// that did not arrive is there as "payload: ...".
Result<ReceiveQueueReport> restore_receive_queue(int fd, const ReceiveQueue& queue,
                                                 const ReceiveQueueRestoreOptions& options = {});

inline Result<ReceiveQueueDump> dump_receive_queue(const Fd& fd,
                                                   const ReceiveQueueDumpOptions& options = {}) {
  return dump_receive_queue(fd.get(), options);
}
inline Result<ReceiveQueueReport> restore_receive_queue(
    const Fd& fd, const ReceiveQueue& queue, const ReceiveQueueRestoreOptions& options = {}) {
  return restore_receive_queue(fd.get(), queue, options);
}

}  // namespace sockrepair

#endif  // SOCKREPAIR_UDP_RECEIVE_QUEUE_H_

/* SPDX-License-Identifier: GPL-2.0+ WITH Linux-syscall-note */
/*
 * Repair mode of UDP sockets: read out what a socket holds in the kernel, so
 * that it can be put back into another one. See
 * Documentation/networking/udp_repair.rst
 */
#ifndef _UAPI_LINUX_UDP_REPAIR_H
#define _UAPI_LINUX_UDP_REPAIR_H

#include <linux/types.h>

/* UDP_REPAIR values, the same as for TCP_REPAIR */
#define UDP_REPAIR_OFF	0
#define UDP_REPAIR_ON	1

/* udp_repair_send_queue::state */
#define UDP_REPAIR_SQ_TRUNC	(1U << 0) /* buffer too small, data is cut */
#define UDP_REPAIR_SQ_DONTFRAG	(1U << 1) /* IPV6_DONTFRAG was in force */
#define UDP_REPAIR_SQ_CONFIRM	(1U << 2) /* begun with MSG_CONFIRM */
#define UDP_REPAIR_SQ_ONLINK	(1U << 3) /* IPv4 route has no gateway */
#define UDP_REPAIR_SQ_ZEROCOPY	(1U << 4) /* MSG_ZEROCOPY completion is due */

/* sizeof(struct udp_repair_send_queue) as first published */
#define UDP_REPAIR_SEND_QUEUE_SIZE_VER0	128

/**
 * struct udp_repair_send_queue - the datagram under construction on a socket
 *
 * @size: in: size of this structure as the caller knows it, at least
 *	%UDP_REPAIR_SEND_QUEUE_SIZE_VER0, and where the variable part begins.
 *	Bytes that this kernel does not know must be 0 and are returned as 0.
 * @flags: in: must be 0
 * @state: out: %UDP_REPAIR_SQ_* bits
 * @total_len: out: bytes that the complete dump takes: @size, the option
 *	parts and @payload_len
 * @payload_len: out: bytes of payload that wait, without any header
 * @family: out: %AF_INET or %AF_INET6, the protocol the datagram will leave
 *	with (%AF_INET on an %AF_INET6 socket: the peer is IPv4-mapped), or 0
 *	when no datagram is under construction. Then all that follows is 0.
 * @gso_size: out: UDP_SEGMENT in force for this datagram, bytes, 0 for none
 * @sport: out: source port, network byte order
 * @dport: out: destination port, network byte order
 * @saddr: out: source address; AF_INET uses the first word
 * @daddr: out: final destination address (with a routing header or a source
 *	route also the final one); AF_INET uses the first word
 * @oif: out: interface to ask for in IP_PKTINFO or IPV6_PKTINFO, 0 for none.
 *	AF_INET6: as the sender asked, or @ifindex if the source address needs
 *	one. AF_INET does not keep what was asked: @ifindex, or 0 when the
 *	destination is an address of this host.
 * @ifindex: out: device of the route the datagram will leave by
 * @flowlabel: out: AF_INET6: flow label, network byte order, 20 bits; 0: not
 *	given, derived when sent if the socket has IPV6_AUTOFLOWLABEL
 * @hop_limit: out: hop limit or TTL, 1 to 255; -1: not given, taken from the
 *	socket when sent. AF_INET6: 0 is a value.
 * @tclass: out: traffic class or TOS with the ECN bits, 0 to 255; -1: not
 *	given, taken from the socket when sent (this kernel always gives it)
 * @priority: out: skb priority, as SO_PRIORITY
 * @mark: out: firewall mark, as SO_MARK
 * @fragsize: out: path MTU the datagram is being cut to, bytes with headers
 * @tsflags: out: SOF_TIMESTAMPING_TX_* in force for this datagram
 * @tskey: out: number its transmit timestamps will carry, see
 *	SOF_TIMESTAMPING_OPT_ID
 * @txtime: out: SCM_TXTIME, nanoseconds of the SO_TXTIME clock, 0 for none
 * @ipopt_len: out: bytes of IPv4 options, 0 to 40, in the form that
 *	IP_RETOPTS takes
 * @hopopt_len: out: bytes of the IPv6 hop-by-hop options header
 * @dst0opt_len: out: bytes of the IPv6 destination options header that
 *	precedes the routing header (IPV6_RTHDRDSTOPTS)
 * @srcrt_len: out: bytes of the IPv6 routing header
 * @dst1opt_len: out: bytes of the last IPv6 destination options header
 * @reserved: 0
 *
 * Argument of getsockopt(SOL_UDP, UDP_REPAIR_SEND_QUEUE). The variable part
 * follows @size bytes after the start, without gaps: IPv4 options,
 * hop-by-hop, first destination options, routing header, last destination
 * options, payload. What does not fit is left out from the end and
 * %UDP_REPAIR_SQ_TRUNC is set. Lengths tell what there is, the returned optlen
 * what was written. The layout is the same for 32-bit and 64-bit callers.
 */
struct udp_repair_send_queue {
	__u32		size;
	__u32		flags;
	__u32		state;
	__u32		total_len;
	__u32		payload_len;
	__u16		family;
	__u16		gso_size;
	__be16		sport;
	__be16		dport;
	__be32		saddr[4];
	__be32		daddr[4];
	__u32		oif;
	__u32		ifindex;
	__be32		flowlabel;
	__s16		hop_limit;
	__s16		tclass;
	__u32		priority;
	__u32		mark;
	__u32		fragsize;
	__u32		tsflags;
	__u32		tskey;
	__aligned_u64	txtime;
	__u16		ipopt_len;
	__u16		hopopt_len;
	__u16		dst0opt_len;
	__u16		srcrt_len;
	__u16		dst1opt_len;
	__u16		reserved[7];
};

#endif /* _UAPI_LINUX_UDP_REPAIR_H */

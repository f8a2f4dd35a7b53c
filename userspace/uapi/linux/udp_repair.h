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

/* sizeof(struct udp_repair_recv_queue) as first published */
#define UDP_REPAIR_RECV_QUEUE_SIZE_VER0	64

/**
 * struct udp_repair_recv_queue - a part of the receive queue of a socket
 *
 * @size: in: size of this structure as the caller knows it, at least
 *	%UDP_REPAIR_RECV_QUEUE_SIZE_VER0, a multiple of 8, and where the first
 *	entry begins. Bytes that this kernel does not know must be 0 and are
 *	returned as 0.
 * @flags: in: must be 0
 * @entry_size: in: size of struct udp_repair_datagram as the caller knows it,
 *	at least %UDP_REPAIR_DATAGRAM_SIZE_VER0, a multiple of 8, at most a
 *	page. Bytes that this kernel does not know are returned as 0.
 * @first: in: how many datagrams to pass over, counted from the one that
 *	recvmsg() without an offset returns next
 * @count: out: entries that follow
 * @next: out: @first of the call that goes on after the last entry
 * @queued: out: datagrams in the queue, also those before @first
 * @next_len: out: bytes that the entry of the datagram at @next takes, 0 when
 *	the queue ends before @next. When it is not 0 and @next is @first, the
 *	buffer has to be at least @size + @next_len bytes long.
 * @reserved: 0
 *
 * Argument of getsockopt(SOL_UDP, UDP_REPAIR_RECV_QUEUE). Entries follow @size
 * bytes after the start, in the order in which recvmsg() would return the
 * datagrams; each is a struct udp_repair_datagram and what belongs to it, whole
 * or not at all, and begins at a multiple of 8 from the start. A call returns a
 * bounded number of entries, so go on at @next until @next_len is 0. The queue
 * is read and never changed: positions are the same in each call as long as
 * nobody receives. A datagram with a wrong checksum, which recvmsg() would
 * drop, has a position and no entry.
 */
struct udp_repair_recv_queue {
	__u32		size;
	__u32		flags;
	__u32		entry_size;
	__u32		first;
	__u32		count;
	__u32		next;
	__u32		queued;
	__u32		next_len;
	__u32		reserved[8];
};

/* udp_repair_datagram::flags */
#define UDP_REPAIR_RQ_CSUM	(1U << 0) /* csum is valid, see IP_CHECKSUM */
#define UDP_REPAIR_RQ_L3SLAVE	(1U << 1) /* AF_INET6: came through a VRF */
#define UDP_REPAIR_RQ_PEEKED	(1U << 2) /* empty, and was peeked at */

/* sizeof(struct udp_repair_datagram) as first published */
#define UDP_REPAIR_DATAGRAM_SIZE_VER0	128

/**
 * struct udp_repair_datagram - a datagram in a receive queue
 *
 * @size: size of this structure and where the options begin. Dump: as asked for
 *	in udp_repair_recv_queue::entry_size. Restore: as the caller knows it,
 *	at least %UDP_REPAIR_DATAGRAM_SIZE_VER0, a multiple of 8; bytes that
 *	this kernel does not know must be 0.
 * @total_len: @size + @opt_len + @payload_len. The next entry of a dump begins
 *	at the next multiple of 8. Restore: also the optlen of the call.
 * @flags: %UDP_REPAIR_RQ_* bits
 * @payload_len: bytes of payload. Restore: at most what fits with all headers
 *	in an IPv4 packet, or after the fixed header in an IPv6 packet, of
 *	65535 bytes.
 * @family: %AF_INET or %AF_INET6, the protocol the datagram came with. %AF_INET
 *	on an %AF_INET6 socket: recvmsg() shows IPv4-mapped addresses.
 * @gso_size: length of the segments, but the last, that were joined into this
 *	one, as UDP_GRO shows it; 0: not joined. Restore: the socket must have
 *	UDP_GRO, and there may be no more than UDP_MAX_SEGMENTS (128) segments.
 * @sport: source port, network byte order
 * @dport: destination port, network byte order
 * @saddr: source address; AF_INET uses the first word, the others are 0
 * @daddr: destination address in the header; AF_INET uses the first word, the
 *	others are 0
 * @iif: interface the datagram was received on, 0: not known
 * @ifindex: interface that IP_PKTINFO or IPV6_PKTINFO shows. AF_INET: 0 when
 *	no such option was set at arrival.
 * @spec_dst: AF_INET: ipi_spec_dst of IP_PKTINFO; AF_INET6: 0
 * @flowlabel: AF_INET6: flow label, network byte order, 20 bits; AF_INET: 0
 * @hop_limit: hop limit or TTL as received
 * @tclass: traffic class or TOS with the ECN bits as received
 * @nexthdr: AF_INET6: protocol number of the first extension header,
 *	IPPROTO_UDP when there is none; AF_INET: 0
 * @reserved8: 0
 * @opt_len: bytes of IPv4 options (at most 40) or of IPv6 extension headers,
 *	exactly as they are between the fixed header and the UDP header
 * @frag_max_size: length of the largest fragment, as IP_RECVFRAGSIZE or
 *	IPV6_RECVFRAGSIZE shows it, 0: not fragmented
 * @priority: skb priority, as SO_RCVPRIORITY shows it
 * @mark: firewall mark, as SO_RCVMARK shows it
 * @tstamp: software receive timestamp, nanoseconds of CLOCK_REALTIME, 0: none
 * @hwtstamp: hardware receive timestamp, nanoseconds of the device's clock, 0:
 *	none. Negative values are not valid for either.
 * @csum: with %UDP_REPAIR_RQ_CSUM: what IP_CHECKSUM shows, the sum of the
 *	payload; else 0. Restore: checked against the payload.
 * @reserved: 0
 *
 * The options and then the payload follow @size bytes after the start, without
 * gaps. As part of what getsockopt(SOL_UDP, UDP_REPAIR_RECV_QUEUE) returns, and
 * as argument of setsockopt(SOL_UDP, UDP_REPAIR_RECV_QUEUE), which appends the
 * datagram to the receive queue. The layout is the same for 32-bit and 64-bit
 * callers.
 */
struct udp_repair_datagram {
	__u32		size;
	__u32		total_len;
	__u32		flags;
	__u32		payload_len;
	__u16		family;
	__u16		gso_size;
	__be16		sport;
	__be16		dport;
	__be32		saddr[4];
	__be32		daddr[4];
	__u32		iif;
	__u32		ifindex;
	__be32		spec_dst;
	__be32		flowlabel;
	__u8		hop_limit;
	__u8		tclass;
	__u8		nexthdr;
	__u8		reserved8;
	__u16		opt_len;
	__u16		frag_max_size;
	__u32		priority;
	__u32		mark;
	__aligned_u64	tstamp;
	__aligned_u64	hwtstamp;
	__u32		csum;
	__u32		reserved[5];
};

#endif /* _UAPI_LINUX_UDP_REPAIR_H */

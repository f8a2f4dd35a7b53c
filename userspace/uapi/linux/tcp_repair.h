/* SPDX-License-Identifier: GPL-2.0+ WITH Linux-syscall-note */
/*
 * What a TCP connection has learned, read out and set in repair mode. See
 * Documentation/networking/tcp_repair_cb.rst
 */
#ifndef _UAPI_LINUX_TCP_REPAIR_H
#define _UAPI_LINUX_TCP_REPAIR_H

#include <linux/types.h>

/* tcp_repair_cb::flags */
#define TCP_REPAIR_CB_CWND_SKIP		(1U << 0) /* path state: as a new one */
#define TCP_REPAIR_CB_CWND_WHOLE	(1U << 1) /* path state: as it was */
#define TCP_REPAIR_CB_COUNT_PAUSE	(1U << 2) /* clocks ran on meanwhile */

/* tcp_repair_cb::auto_bound */
#define TCP_REPAIR_CB_AUTO_ADDR		(1U << 0)
#define TCP_REPAIR_CB_AUTO_PORT		(1U << 1)

/* An age of what never happened, the rest of a timer that does not run */
#define TCP_REPAIR_CB_NONE		(~0ULL)

/* sizeof(struct tcp_repair_cb) as first published */
#define TCP_REPAIR_CB_SIZE_VER0		488

/**
 * struct tcp_repair_cb - the control block of a TCP connection
 *
 * @size: size of this structure, the same as optlen
 * @flags: set: %TCP_REPAIR_CB_CWND_SKIP or %TCP_REPAIR_CB_CWND_WHOLE (neither:
 *	capped), %TCP_REPAIR_CB_COUNT_PAUSE. get: 0
 * @pause: set: microseconds from the dump to this call, as the caller knows
 *	them. get: 0
 *
 * @age_data_rcvd: since data came
 * @age_ack_rcvd: since an acknowledgment came
 * @age_data_sent: since data was sent
 * @age_ts_recent: since @ts_recent was taken; of a whole second's precision
 * @age_min_rtt: since @min_rtt was measured
 * @age_retrans: since the first retransmission of what is being retransmitted
 * @age_probes: since the first of the window probes without an answer
 * @age_rto_recovery: since the recovery from a timeout began
 * @rto_left: until the oldest segment in flight is sent again
 * @delack_left: until an acknowledgment that is owed is sent
 * @keepalive_left: until the keepalive timer runs
 * @keepalive_time: TCP_KEEPIDLE, 0: the sysctl's
 * @keepalive_intvl: TCP_KEEPINTVL, 0: the sysctl's
 *
 * @bytes_acked: as in struct tcp_info, like the next three
 * @bytes_received: bytes in sequence
 * @bytes_sent: bytes sent, also again
 * @bytes_retrans: bytes sent again
 * @busy_time: microseconds with data to send that neither of the next two
 *	counts; tcpi_busy_time is the sum of all three
 * @rwnd_limited: microseconds that the peer's window was the limit
 * @sndbuf_limited: microseconds that the send buffer was the limit
 *
 * @rcv_nxt: next byte expected; must be the socket's
 * @copied_seq: next byte to be read; must be the socket's, or one more if the
 *	peer's FIN was read
 * @rcv_wup: @rcv_nxt at the last window update sent
 * @rcv_mwnd_seq: largest right edge of the window ever announced
 * @snd_una: oldest byte in flight; must be the socket's
 * @snd_nxt: next byte to be sent; must be the socket's
 * @write_seq: end of what was written; what is beyond @snd_nxt is written once
 *	the mode is off
 * @snd_sml: end of the last small segment sent
 * @pushed_seq: end of what was sent with PSH
 * @snd_up: end of urgent data sent
 * @snd_wl1: segment that last updated the window
 * @rtt_seq: when passed, the variance of the RTT is updated
 * @urg_seq: urgent byte received, if @urg_data says that there is one
 * @high_seq: reported: end of the recovery episode
 * @undo_marker: reported: begin of the recovery episode
 *
 * @snd_wnd: window that the peer announced
 * @max_window: largest one ever
 * @rcv_wnd: window announced at @rcv_wup
 * @rcv_ssthresh: limit of the window announced
 * @window_clamp: upper limit of that
 * @rcvq_space: bytes that the application reads in a round trip
 * @rcv_rtt: receiver's RTT estimate, 1/8 microseconds, 0: none
 *
 * @srtt: smoothed RTT, 1/8 microseconds, 0: no RTT was measured, and then the
 *	next three are 0
 * @mdev: its mean deviation, 1/4 microseconds
 * @mdev_max: largest one of this round trip, microseconds
 * @rttvar: smoothed largest one, microseconds
 * @min_rtt: smallest RTT, microseconds, ~0: none
 * @rto: reported: retransmission timeout, microseconds
 *
 * @snd_cwnd: congestion window, segments
 * @snd_ssthresh: slow start threshold, segments, 0x7fffffff: none
 * @cwnd_used: most segments in flight during the last round trip
 * @prior_ssthresh: reported: @snd_ssthresh before recovery
 * @undo_retrans: reported: retransmissions that can be undone
 * @reordering: how far segments overtake each other
 *
 * @packets_out: reported: segments in flight
 * @sacked_out: reported: of these, acknowledged selectively
 * @lost_out: reported: of these, taken for lost
 * @retrans_out: reported: of these, sent again
 * @mss_cache: reported: bytes of data in a segment
 * @pmtu: reported: MTU of the path
 *
 * @tsval: timestamp that would have been sent next
 * @delta_time: reported: @tsval minus the clock of this host, modulo 2^32, in
 *	the unit of the timestamps
 * @ts_recent: timestamp to be echoed
 * @rcv_rtt_tsecr: last echo that the receiver's RTT was measured with
 *
 * @total_retrans: segments sent again
 * @delivered: segments that arrived
 * @delivered_ce: of these, with a congestion mark
 * @lost: segments taken for lost
 * @segs_in: segments received
 * @segs_out: segments sent
 * @data_segs_in: of these, with data
 * @data_segs_out: of these, with data
 * @dsack_dups: duplicates that the peer told of
 * @reord_seen: events of reordering
 * @rcv_ooopack: segments received out of order
 * @total_rto_time: milliseconds in recovery from timeouts that is over
 * @plb_rehash: changes of the path because of congestion
 *
 * @received_ce: segments received with a congestion mark
 * @received_ecn_bytes: bytes received with an ECN field of 1, 2 and 3
 * @delivered_ecn_bytes: bytes that arrived with it, as the peer counts
 *
 * @ato: delayed acknowledgment timeout, microseconds
 *
 * @total_rto: timeouts
 * @total_rto_recoveries: recoveries from timeouts
 * @timeout_rehash: changes of the path because of timeouts
 * @pkts_acked_ewma: AccECN: average of segments that are acknowledged at once
 * @urg_data: urgent byte and its state: 0x100 to be read, 0x200 not come yet,
 *	0x400 read
 * @advmss: MSS that was announced to the peer
 * @rcv_mss: size of the peer's segments
 * @last_seg_size: size of the last one, 0: none
 *
 * @state: TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_CLOSE_WAIT,
 *	TCP_CLOSING, TCP_LAST_ACK or TCP_TIME_WAIT
 * @ca_state: reported: enum tcp_ca_state
 * @timer: reported: 1 retransmission, 3 window probe, 5 loss probe, 6
 *	reordering, 0 none
 * @retransmits: timeouts without an answer
 * @backoff: times that the timeout has been doubled
 * @probes_out: probes without an answer
 * @keepalive_probes: TCP_KEEPCNT, 0: the sysctl's
 * @ack_pending: 1 owed, 4 data was pushed, 8 twice, 16 the next one at once
 * @ack_quick: acknowledgments that will not be delayed
 * @ack_pingpong: how interactive the connection is
 * @ack_retry: acknowledgments for which there was no memory
 * @nonagle: 1 TCP_NODELAY, 2 TCP_CORK, 4 send what there is, once
 * @scaling_ratio: part of the receive buffer that is payload, 1/256
 * @reo_wnd_steps: reordering window, in quarters of @min_rtt
 * @reo_wnd_persist: recoveries until it shrinks
 * @ts_usec: 1: timestamps count microseconds, 0: milliseconds
 * @ecn_flags: 1 ECN, 2 CWR to be sent, 4 ECE is sent, 8 seen, 16 AccECN
 * @syn_ect_snt: AccECN: ECN field of the SYN sent
 * @syn_ect_rcv: AccECN: ECN field of the SYN received
 * @accecn_fail_mode: AccECN: TCP_ACCECN_*_FAIL_*
 * @saw_accecn_opt: AccECN: TCP_ACCECN_OPT_*
 * @accecn_opt_demand: AccECN: options owed
 * @accecn_minlen: AccECN: least fields of the option
 * @est_ecnfield: AccECN: counter that grew last
 * @prev_ecnfield: AccECN: ECN field of the last segment received
 * @received_ce_pending: AccECN: marks not told yet
 * @auto_bound: %TCP_REPAIR_CB_AUTO_ADDR, %TCP_REPAIR_CB_AUTO_PORT: the kernel
 *	chose the local address, the port, which the socket gives up when it
 *	disconnects. set: so it is from here on, also if bind() was told them;
 *	a bit that is 0 changes nothing
 * @reserved: 0
 * @timewait_left: until TCP_TIME_WAIT ends, 1 to 60000000 microseconds; 0 in
 *	all other states
 *
 * Argument of getsockopt() and setsockopt(SOL_TCP, TCP_REPAIR_CB). Ages, times
 * left and intervals are microseconds, %TCP_REPAIR_CB_NONE where it says
 * nothing; no clock of the two hosts needs to agree. What is reported is not
 * looked at when it is set. A shorter structure leaves out the end, a longer
 * one must be 0 there. The layout is the same for 32-bit and 64-bit callers.
 */
struct tcp_repair_cb {
	__u32		size;
	__u32		flags;
	__aligned_u64	pause;

	__aligned_u64	age_data_rcvd;
	__aligned_u64	age_ack_rcvd;
	__aligned_u64	age_data_sent;
	__aligned_u64	age_ts_recent;
	__aligned_u64	age_min_rtt;
	__aligned_u64	age_retrans;
	__aligned_u64	age_probes;
	__aligned_u64	age_rto_recovery;
	__aligned_u64	rto_left;
	__aligned_u64	delack_left;
	__aligned_u64	keepalive_left;
	__aligned_u64	keepalive_time;
	__aligned_u64	keepalive_intvl;

	__aligned_u64	bytes_acked;
	__aligned_u64	bytes_received;
	__aligned_u64	bytes_sent;
	__aligned_u64	bytes_retrans;
	__aligned_u64	busy_time;
	__aligned_u64	rwnd_limited;
	__aligned_u64	sndbuf_limited;

	__u32		rcv_nxt;
	__u32		copied_seq;
	__u32		rcv_wup;
	__u32		rcv_mwnd_seq;
	__u32		snd_una;
	__u32		snd_nxt;
	__u32		write_seq;
	__u32		snd_sml;
	__u32		pushed_seq;
	__u32		snd_up;
	__u32		snd_wl1;
	__u32		rtt_seq;
	__u32		urg_seq;
	__u32		high_seq;
	__u32		undo_marker;

	__u32		snd_wnd;
	__u32		max_window;
	__u32		rcv_wnd;
	__u32		rcv_ssthresh;
	__u32		window_clamp;
	__u32		rcvq_space;
	__u32		rcv_rtt;

	__u32		srtt;
	__u32		mdev;
	__u32		mdev_max;
	__u32		rttvar;
	__u32		min_rtt;
	__u32		rto;

	__u32		snd_cwnd;
	__u32		snd_ssthresh;
	__u32		cwnd_used;
	__u32		prior_ssthresh;
	__u32		undo_retrans;
	__u32		reordering;

	__u32		packets_out;
	__u32		sacked_out;
	__u32		lost_out;
	__u32		retrans_out;
	__u32		mss_cache;
	__u32		pmtu;

	__u32		tsval;
	__u32		delta_time;
	__u32		ts_recent;
	__u32		rcv_rtt_tsecr;

	__u32		total_retrans;
	__u32		delivered;
	__u32		delivered_ce;
	__u32		lost;
	__u32		segs_in;
	__u32		segs_out;
	__u32		data_segs_in;
	__u32		data_segs_out;
	__u32		dsack_dups;
	__u32		reord_seen;
	__u32		rcv_ooopack;
	__u32		total_rto_time;
	__u32		plb_rehash;

	__u32		received_ce;
	__u32		received_ecn_bytes[3];
	__u32		delivered_ecn_bytes[3];

	__u32		ato;

	__u16		total_rto;
	__u16		total_rto_recoveries;
	__u16		timeout_rehash;
	__u16		pkts_acked_ewma;
	__u16		urg_data;
	__u16		advmss;
	__u16		rcv_mss;
	__u16		last_seg_size;

	__u8		state;
	__u8		ca_state;
	__u8		timer;
	__u8		retransmits;
	__u8		backoff;
	__u8		probes_out;
	__u8		keepalive_probes;
	__u8		ack_pending;
	__u8		ack_quick;
	__u8		ack_pingpong;
	__u8		ack_retry;
	__u8		nonagle;
	__u8		scaling_ratio;
	__u8		reo_wnd_steps;
	__u8		reo_wnd_persist;
	__u8		ts_usec;
	__u8		ecn_flags;
	__u8		syn_ect_snt;
	__u8		syn_ect_rcv;
	__u8		accecn_fail_mode;
	__u8		saw_accecn_opt;
	__u8		accecn_opt_demand;
	__u8		accecn_minlen;
	__u8		est_ecnfield;
	__u8		prev_ecnfield;
	__u8		received_ce_pending;
	__u8		auto_bound;
	__u8		reserved[5];

	__u32		timewait_left;
};

#endif /* _UAPI_LINUX_TCP_REPAIR_H */

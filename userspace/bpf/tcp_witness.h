/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef SOCKREPAIR_BPF_TCP_WITNESS_H_
#define SOCKREPAIR_BPF_TCP_WITNESS_H_

/* What the witness reads from the kernel's own memory about a TCP socket. Included by the BPF
 * program (C, vmlinux.h) and by the suites (C++); the tables are all that both know of a member.
 *
 *   TCP_WITNESS_FIELDS(F)     F(type, name, accessors...)        from struct tcp_sock
 *   TCP_WITNESS_BITFIELDS(F)  F(base, type, name, bitfield)      base: sock, rx_opt or common
 *
 * These are the members that TCP_REPAIR and its options set, or that others follow from. Whatever
 * else there is, is compared as the bytes of the whole structure.
 */

#define TCP_WITNESS_FIELDS(F)              \
  F(__u32, snd_wl1, snd_wl1)               \
  F(__u32, snd_wnd, snd_wnd)               \
  F(__u32, max_window, max_window)         \
  F(__u32, rcv_wnd, rcv_wnd)               \
  F(__u32, rcv_wup, rcv_wup)               \
  F(__u32, rcv_mwnd_seq, rcv_mwnd_seq)     \
  F(__u32, rcv_nxt, rcv_nxt)               \
  F(__u32, copied_seq, copied_seq)         \
  F(__u32, write_seq, write_seq)           \
  F(__u32, snd_una, snd_una)               \
  F(__u32, snd_nxt, snd_nxt)               \
  F(__u32, mss_cache, mss_cache)           \
  F(__u32, pred_flags, pred_flags)         \
  F(__u32, window_clamp, window_clamp)     \
  F(__u32, rcv_ssthresh, rcv_ssthresh)     \
  F(__u32, tsoffset, tsoffset)             \
  F(__u16, tcp_header_len, tcp_header_len) \
  F(__u16, mss_clamp, rx_opt.mss_clamp)    \
  F(__u8, repair_queue, repair_queue)

#define TCP_WITNESS_BITFIELDS(F)          \
  F(sock, __u8, repair, repair)           \
  F(sock, __u8, usec_ts, tcp_usec_ts)     \
  F(rx_opt, __u8, wscale_ok, wscale_ok)   \
  F(rx_opt, __u8, tstamp_ok, tstamp_ok)   \
  F(rx_opt, __u8, sack_ok, sack_ok)       \
  F(rx_opt, __u8, snd_wscale, snd_wscale) \
  F(rx_opt, __u8, rcv_wscale, rcv_wscale) \
  F(common, __u8, reuse, skc_reuse)

#define TCP_WITNESS_MAX_SOCK 3072 /* more than struct tcp6_sock */

struct tcp_witness_snapshot {
#define TCP_WITNESS_MEMBER(type, name, ...) type name;
  TCP_WITNESS_FIELDS(TCP_WITNESS_MEMBER)
#undef TCP_WITNESS_MEMBER
#define TCP_WITNESS_MEMBER(base, type, name, bitfield) type name;
  TCP_WITNESS_BITFIELDS(TCP_WITNESS_MEMBER)
#undef TCP_WITNESS_MEMBER
  /* The clocks when it was taken, just before all else was read: what stamps are compared with. */
  __u64 jiffies;
  __u64 monotonic_ns;
  /* struct tcp_sock or tcp6_sock: struct sock, inet_sock and inet_connection_sock are in it. */
  __u32 size;
  __u8 sock[TCP_WITNESS_MAX_SOCK];
};

#endif /* SOCKREPAIR_BPF_TCP_WITNESS_H_ */

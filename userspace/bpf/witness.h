/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef SOCKREPAIR_BPF_WITNESS_H_
#define SOCKREPAIR_BPF_WITNESS_H_

/* What the witness reads from the kernel's own memory about a UDP socket and the datagram under
 * construction on it. Included by the BPF programs (C, vmlinux.h) and by the suites (C++); the
 * tables below are all that both know of a field.
 *
 *   WITNESS_FIELDS(F)     F(base, type, name, family, rule, accessors...)
 *   WITNESS_BITFIELDS(F)  F(base, type, name, family, rule, bitfield)
 *   WITNESS_BLOBS(F)      F(name, family, rule)
 *
 * base:    where the accessors start: sock (struct udp_sock), cork6 (its struct inet6_cork), skb
 * (the first one of the write queue) or shinfo (its struct skb_shared_info) family:  the datagrams
 * that have the field: ANY, or those whose `pending` is V4 or V6. A union keeps IPv4 and IPv6
 * flows, and nobody clears the half that is not used. rule:    how the field of a restored datagram
 * must relate to that of the original, see witness.cc. SAME wherever nothing is said.
 *
 * Not here: cork.dst, which is a pointer to the same route or to a twin of it: its device is.
 * sk_wmem_alloc and the memory of an skb: a restored datagram was appended in one piece.
 */

#define WITNESS_FIELDS(F)                                                                    \
  /* struct udp_sock */                                                                      \
  F(sock, __s32, pending, ANY, SAME, pending)                                                \
  F(sock, __u16, udp_len, ANY, SAME, len)                                                    \
  F(sock, __u64, udp_flags, ANY, SAME, udp_flags)                                            \
  F(sock, __u16, inet_sport, ANY, SAME, inet.inet_sport)                                     \
  /* struct inet_cork */                                                                     \
  F(sock, __u32, cork_flags, ANY, CORK_FLAGS, inet.cork.base.flags)                          \
  F(sock, __u32, cork_addr, V4, WITH_OPTIONS, inet.cork.base.addr)                           \
  F(sock, __u32, cork_fragsize, ANY, SAME, inet.cork.base.fragsize)                          \
  F(sock, __s32, cork_length, ANY, SAME, inet.cork.base.length)                              \
  F(sock, __u8, cork_tx_flags, ANY, SAME, inet.cork.base.tx_flags)                           \
  F(sock, __u8, cork_ttl, V4, SAME, inet.cork.base.ttl)                                      \
  F(sock, __s16, cork_tos, V4, SAME, inet.cork.base.tos)                                     \
  F(sock, __u32, cork_priority, ANY, SAME, inet.cork.base.priority)                          \
  F(sock, __u16, cork_gso_size, ANY, SAME, inet.cork.base.gso_size)                          \
  F(sock, __u32, cork_ts_opt_id, ANY, TS_OPT_ID, inet.cork.base.ts_opt_id)                   \
  F(sock, __u64, cork_transmit_time, ANY, SAME, inet.cork.base.transmit_time)                \
  F(sock, __u32, cork_mark, ANY, SAME, inet.cork.base.mark)                                  \
  F(sock, __s32, cork_dst_ifindex, ANY, SAME, inet.cork.base.dst, dev, ifindex)              \
  /* struct flowi4: the kernel keeps no more of it than this */                              \
  F(sock, __u32, fl4_saddr, V4, SAME, inet.cork.fl.u.ip4.saddr)                              \
  F(sock, __u32, fl4_daddr, V4, SAME, inet.cork.fl.u.ip4.daddr)                              \
  F(sock, __u16, fl4_sport, V4, SAME, inet.cork.fl.u.ip4.uli.ports.sport)                    \
  F(sock, __u16, fl4_dport, V4, SAME, inet.cork.fl.u.ip4.uli.ports.dport)                    \
  /* struct flowi6 */                                                                        \
  F(sock, __s32, fl6_oif, V6, SAME, inet.cork.fl.u.ip6.__fl_common.flowic_oif)               \
  F(sock, __s32, fl6_iif, V6, LOOKUP_IIF, inet.cork.fl.u.ip6.__fl_common.flowic_iif)         \
  F(sock, __s32, fl6_l3mdev, V6, SAME, inet.cork.fl.u.ip6.__fl_common.flowic_l3mdev)         \
  F(sock, __u32, fl6_mark, V6, SAME, inet.cork.fl.u.ip6.__fl_common.flowic_mark)             \
  F(sock, __u8, fl6_scope, V6, SAME, inet.cork.fl.u.ip6.__fl_common.flowic_scope)            \
  F(sock, __u8, fl6_proto, V6, SAME, inet.cork.fl.u.ip6.__fl_common.flowic_proto)            \
  F(sock, __u8, fl6_flags, V6, SAME, inet.cork.fl.u.ip6.__fl_common.flowic_flags)            \
  F(sock, __u32, fl6_secid, V6, SAME, inet.cork.fl.u.ip6.__fl_common.flowic_secid)           \
  F(sock, __u32, fl6_uid, V6, SAME, inet.cork.fl.u.ip6.__fl_common.flowic_uid.val)           \
  F(sock, __u64, fl6_tun_id, V6, SAME, inet.cork.fl.u.ip6.__fl_common.flowic_tun_key.tun_id) \
  F(sock, struct witness_addr, fl6_daddr, V6, SAME, inet.cork.fl.u.ip6.daddr)                \
  F(sock, struct witness_addr, fl6_saddr, V6, SAME, inet.cork.fl.u.ip6.saddr)                \
  F(sock, __u32, fl6_flowlabel, V6, SAME, inet.cork.fl.u.ip6.flowlabel)                      \
  F(sock, __u16, fl6_sport, V6, SAME, inet.cork.fl.u.ip6.uli.ports.sport)                    \
  F(sock, __u16, fl6_dport, V6, SAME, inet.cork.fl.u.ip6.uli.ports.dport)                    \
  F(sock, __u32, fl6_mp_hash, V6, SAME, inet.cork.fl.u.ip6.mp_hash)                          \
  /* struct inet6_cork */                                                                    \
  F(sock, __u8, cork6_hop_limit, V6, SAME, inet.cork.base6.hop_limit)                        \
  F(sock, __u8, cork6_tclass, V6, SAME, inet.cork.base6.tclass)                              \
  /* the write queue */                                                                      \
  F(sock, __u32, skb_count, ANY, SAME, inet.sk.sk_write_queue.qlen)                          \
  F(shinfo, __u8, skb_tx_flags, ANY, SAME, tx_flags)                                         \
  F(shinfo, __u32, skb_tskey, ANY, SAME, tskey)                                              \
  F(shinfo, __u8, skb_nr_frags, ANY, ONE_COPY, nr_frags)

#define WITNESS_BITFIELDS(F)                                            \
  F(cork6, __u8, cork6_dontfrag, V6, SAME, dontfrag)                    \
  F(skb, __u8, skb_dst_pending_confirm, ANY, SAME, dst_pending_confirm) \
  F(skb, __u8, skb_ip_summed, ANY, SAME, ip_summed)

/* Memory behind a pointer, compared by content. */
#define WITNESS_BLOBS(F)                                                               \
  F(cork_opt, V4, IP_OPTIONS) /* struct ip_options, the compiled form, and its data */ \
  F(cork6_hopopt, V6, SAME)                                                            \
  F(cork6_dst0opt, V6, SAME)                                                           \
  F(cork6_srcrt, V6, SAME)                                                             \
  F(cork6_dst1opt, V6, SAME)                                                           \
  F(cork6_opt_lengths, V6, SAME) /* tot_len, opt_flen and opt_nflen of ipv6_txoptions */

/* Functions whose calls are counted: those that send, receive, or end a datagram under
 * construction. A dump must enter none of them.
 */
#define WITNESS_CALLS(F)     \
  F(udp_recvmsg)             \
  F(udpv6_recvmsg)           \
  F(udp_sendmsg)             \
  F(udpv6_sendmsg)           \
  F(__skb_recv_udp)          \
  F(udp_push_pending_frames) \
  F(udp_flush_pending_frames)

#define WITNESS_MAX_SKBS 64 /* a datagram of 65535 bytes at an MTU of 1280 takes 53 */
#define WITNESS_MAX_BLOB 256
#define WITNESS_MAX_PAYLOAD 0x20000 /* a datagram, and room for one more after it */
#define WITNESS_MAX_SOCK 2048       /* more than struct udp6_sock */
#define WITNESS_MAX_SKB 256         /* more than struct sk_buff */
#define WITNESS_MAX_SHINFO 384
#define WITNESS_MAX_FRAGS 17

struct witness_addr {
  __u8 byte[16];
};

struct witness_blob {
  __u32 present; /* the pointer is not NULL */
  __u32 len;
  __u8 data[WITNESS_MAX_BLOB];
};

struct witness_payload {
  __u32 len;
  __u8 data[WITNESS_MAX_PAYLOAD];
};

struct witness_snapshot {
#define WITNESS_MEMBER(base, type, name, ...) type name;
  WITNESS_FIELDS(WITNESS_MEMBER)
  WITNESS_BITFIELDS(WITNESS_MEMBER)
#undef WITNESS_MEMBER
#define WITNESS_MEMBER(name, ...) struct witness_blob name;
  WITNESS_BLOBS(WITNESS_MEMBER)
#undef WITNESS_MEMBER
  __u32 skb_len[WITNESS_MAX_SKBS]; /* 0 beyond skb_count */
  struct witness_payload payload;  /* of all skbs, without headers */
};

/* The bytes of everything that a dump could change, reference counts included. */
struct witness_raw_skb {
  __u8 skb[WITNESS_MAX_SKB];
  __u8 shinfo[WITNESS_MAX_SHINFO];
  __s32 page_refs[WITNESS_MAX_FRAGS]; /* of the page, or of the head of its compound page */
  __s32 ubuf_refs;                    /* of the completion that is due, 0 if none is */
};

struct witness_raw {
  __u32 sock_size; /* bytes of `sock` that are used */
  __u32 skb_size;
  __u32 shinfo_size;
  __u32 skbs;
  __s32 dst_refs;
  __u8 sock[WITNESS_MAX_SOCK];
  struct witness_raw_skb skb[WITNESS_MAX_SKBS];
};

/* Index into the array of call counters. */
enum witness_call {
#define WITNESS_MEMBER(function) WITNESS_CALL_##function,
  WITNESS_CALLS(WITNESS_MEMBER)
#undef WITNESS_MEMBER
      WITNESS_CALL_COUNT
};

#endif /* SOCKREPAIR_BPF_WITNESS_H_ */

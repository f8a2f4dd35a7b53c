// SPDX-License-Identifier: GPL-2.0 OR LGPL-2.1-or-later OR MIT
/*
 * TIME_WAIT connections of a network namespace, which no call tells about: an iterator over its TCP
 * sockets that writes a struct time_wait_record for each.
 *
 * The structures of the kernel are declared here as far as they are used, and found by CO-RE
 * relocation in the type information of the kernel that runs: building this takes no kernel.
 */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "time_wait.h"

/* Helpers for tracing are for programs under the GPL. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define AF_INET6_NUMBER 10
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_SEC 1000000000ULL

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
  union {
    __u8 u6_addr8[16];
  } in6_u;
};

typedef struct {
  __s64 counter;
} atomic64_t;

struct sock_common {
  __be32 skc_daddr;
  __be32 skc_rcv_saddr;
  __be16 skc_dport;
  __u16 skc_num;
  unsigned short skc_family;
  unsigned char skc_reuse : 4;
  unsigned char skc_reuseport : 1;
  unsigned char skc_ipv6only : 1;
  int skc_bound_dev_if;
  struct in6_addr skc_v6_daddr;
  struct in6_addr skc_v6_rcv_saddr;
  atomic64_t skc_cookie;
  __u32 skc_tw_rcv_nxt;
  __u32 skc_tw_snd_nxt;
};

struct timer_list {
  unsigned long expires;
};

struct psp_assoc;

struct inet_timewait_sock {
  __u32 tw_mark;
  unsigned char tw_substate;
  unsigned char tw_rcv_wscale;
  unsigned int tw_transparent : 1;
  unsigned int tw_flowlabel : 20;
  unsigned int tw_usec_ts : 1;
  unsigned int tw_connect_bind : 1;
  unsigned int tw_tos : 8;
  __u32 tw_priority;
  struct timer_list tw_timer;
  struct psp_assoc* psp_assoc;
};

struct tcp_md5sig_key;
struct tcp_ao_info;

struct tcp_timewait_sock {
  __u32 tw_rcv_wnd;
  __u32 tw_ts_offset;
  __u32 tw_ts_recent;
  __u32 tw_last_oow_ack_time;
  int tw_ts_recent_stamp;
  __u32 tw_tx_delay;
  struct tcp_md5sig_key* tw_md5_key;
  struct tcp_ao_info* ao_info;
};

struct seq_file;

struct bpf_iter_meta {
  struct seq_file* seq;
};

struct bpf_iter__tcp {
  struct bpf_iter_meta* meta;
  struct sock_common* sk_common;
};

#pragma clang attribute pop

/* A member that not every kernel has. */
#define READ_IF_THERE(base, member) \
  (bpf_core_field_exists((base)->member) ? BPF_CORE_READ(base, member) : 0)
#define READ_BITS_IF_THERE(base, member) \
  (bpf_core_field_exists((base)->member) ? BPF_CORE_READ_BITFIELD_PROBED(base, member) : 0)

static void read_addresses(struct time_wait_record* record, struct sock_common* common) {
  record->family = BPF_CORE_READ(common, skc_family);
  record->local_port = BPF_CORE_READ(common, skc_num);
  record->peer_port = bpf_ntohs(BPF_CORE_READ(common, skc_dport));
  record->ifindex = BPF_CORE_READ(common, skc_bound_dev_if);
  if (record->family != AF_INET6_NUMBER) {
    BPF_CORE_READ_INTO((__be32*)record->local, common, skc_rcv_saddr);
    BPF_CORE_READ_INTO((__be32*)record->peer, common, skc_daddr);
  } else if (bpf_core_field_exists(common->skc_v6_daddr)) {
    BPF_CORE_READ_INTO(&record->local, common, skc_v6_rcv_saddr);
    BPF_CORE_READ_INTO(&record->peer, common, skc_v6_daddr);
  }
}

static void read_flags(struct time_wait_record* record, struct sock_common* common,
                       struct inet_timewait_sock* tw, struct tcp_timewait_sock* tcp) {
  if (BPF_CORE_READ_BITFIELD_PROBED(common, skc_ipv6only)) record->flags |= TIME_WAIT_V6ONLY;
  if (BPF_CORE_READ_BITFIELD_PROBED(common, skc_reuse)) record->flags |= TIME_WAIT_REUSE;
  if (BPF_CORE_READ_BITFIELD_PROBED(common, skc_reuseport)) record->flags |= TIME_WAIT_REUSEPORT;
  if (BPF_CORE_READ_BITFIELD_PROBED(tw, tw_transparent)) record->flags |= TIME_WAIT_TRANSPARENT;
  if (READ_BITS_IF_THERE(tw, tw_usec_ts)) record->flags |= TIME_WAIT_USEC_TS;
  if (READ_BITS_IF_THERE(tw, tw_connect_bind)) record->flags |= TIME_WAIT_CONNECT_BIND;
  if (READ_IF_THERE(tw, psp_assoc)) record->flags |= TIME_WAIT_PSP;
  if (READ_IF_THERE(tcp, tw_md5_key)) record->flags |= TIME_WAIT_MD5;
  if (READ_IF_THERE(tcp, ao_info)) record->flags |= TIME_WAIT_AO;
}

static void read_times(struct time_wait_record* record, struct inet_timewait_sock* tw,
                       struct tcp_timewait_sock* tcp) {
  __u64 jiffies = bpf_jiffies64();
  __u64 now = bpf_ktime_get_ns();
  __u32 oow = BPF_CORE_READ(tcp, tw_last_oow_ack_time);
  __s32 stamp = BPF_CORE_READ(tcp, tw_ts_recent_stamp);
  __u64 unit = record->flags & TIME_WAIT_USEC_TS ? NSEC_PER_USEC : NSEC_PER_MSEC;

  record->timer_left = BPF_CORE_READ(tw, tw_timer.expires) - jiffies;
  if (oow) {
    record->flags |= TIME_WAIT_OOW;
    record->oow_age = (__u32)jiffies - oow;
  }
  /* It is taken when the kernel says that timestamps are in use, and only then. */
  if (!stamp) return;
  record->flags |= TIME_WAIT_TIMESTAMPS;
  record->timestamp = now / unit + BPF_CORE_READ(tcp, tw_ts_offset);
  record->ts_recent = BPF_CORE_READ(tcp, tw_ts_recent);
  record->ts_recent_age = now / NSEC_PER_SEC - stamp;
}

SEC("iter/tcp")
int find_time_wait(struct bpf_iter__tcp* ctx) {
  struct sock_common* common = ctx->sk_common;
  struct time_wait_record record = {};
  struct tcp_timewait_sock* tcp;
  struct inet_timewait_sock* tw;

  if (!common) return 0;
  tcp = bpf_skc_to_tcp_timewait_sock(common);
  if (!tcp) return 0;
  tw = (void*)tcp;

  read_addresses(&record, common);
  read_flags(&record, common, tw, tcp);
  read_times(&record, tw, tcp);
  record.cookie = BPF_CORE_READ(common, skc_cookie.counter);
  record.mark = BPF_CORE_READ(tw, tw_mark);
  record.priority = READ_IF_THERE(tw, tw_priority);
  /* Of IPv4 it is whatever was in that memory before. */
  if (record.family == AF_INET6_NUMBER)
    record.flow_label = BPF_CORE_READ_BITFIELD_PROBED(tw, tw_flowlabel);
  record.traffic_class = BPF_CORE_READ_BITFIELD_PROBED(tw, tw_tos);
  record.state = BPF_CORE_READ(tw, tw_substate);
  record.rcv_scale = BPF_CORE_READ(tw, tw_rcv_wscale);
  record.snd_nxt = BPF_CORE_READ(common, skc_tw_snd_nxt);
  record.rcv_nxt = BPF_CORE_READ(common, skc_tw_rcv_nxt);
  record.rcv_wnd = BPF_CORE_READ(tcp, tw_rcv_wnd);
  record.tx_delay = READ_IF_THERE(tcp, tw_tx_delay);
  bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
  return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef SOCKREPAIR_BPF_TIME_WAIT_H_
#define SOCKREPAIR_BPF_TIME_WAIT_H_

/* What the BPF program of time_wait.bpf.c writes for every TIME_WAIT connection. Included by the
 * program (C) and by the library (C++), each of which has the types of its own.
 *
 * Numbers are in host byte order, addresses as they are in a packet; an IPv4 address is in the
 * first 4 bytes. Ticks are those of the kernel's timers, as CLOCK_MONOTONIC_COARSE has them.
 */

#define TIME_WAIT_TIMESTAMPS (1U << 0)   /* the SYNs agreed on timestamps */
#define TIME_WAIT_USEC_TS (1U << 1)      /* they count microseconds, not milliseconds */
#define TIME_WAIT_V6ONLY (1U << 2)       /* IPV6_V6ONLY */
#define TIME_WAIT_REUSE (1U << 3)        /* SO_REUSEADDR */
#define TIME_WAIT_REUSEPORT (1U << 4)    /* SO_REUSEPORT */
#define TIME_WAIT_TRANSPARENT (1U << 5)  /* IP_TRANSPARENT */
#define TIME_WAIT_CONNECT_BIND (1U << 6) /* connect(2) chose the port */
#define TIME_WAIT_OOW (1U << 7)          /* a segment out of the window was answered */
#define TIME_WAIT_MD5 (1U << 8)          /* segments are signed, TCP-MD5 */
#define TIME_WAIT_AO (1U << 9)           /* the same, TCP-AO */
#define TIME_WAIT_PSP (1U << 10)         /* segments are encrypted, PSP */

struct time_wait_record {
  __u8 local[16];
  __u8 peer[16];
  __u64 cookie; /* SO_COOKIE that the socket had, 0: none */
  __u32 flags;
  __u32 ifindex; /* SO_BINDTODEVICE, 0: none */
  __u32 mark;
  __u32 priority;
  __u32 flow_label;
  __u32 snd_nxt;
  __u32 rcv_nxt;
  __u32 rcv_wnd;   /* bytes */
  __u32 tx_delay;  /* microseconds */
  __u32 timestamp; /* that an answer would carry now */
  __u32 ts_recent;
  __u32 ts_recent_age; /* seconds */
  __u32 oow_age;       /* ticks */
  __u32 timer_left;    /* ticks, signed: less than 1 when it is due */
  __u16 local_port;
  __u16 peer_port;
  __u16 family;
  __u8 state; /* TCP_FIN_WAIT2 or TCP_TIME_WAIT */
  __u8 rcv_scale;
  __u8 traffic_class;
  __u8 unused[7];
};

#endif /* SOCKREPAIR_BPF_TIME_WAIT_H_ */

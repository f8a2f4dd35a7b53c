// SPDX-License-Identifier: GPL-2.0 OR LGPL-2.1-or-later OR MIT
/*
 * The independent witness of TCP: reads a socket out of kernel memory, without any of the socket's
 * own options.
 *
 * Kernel structures are found by CO-RE relocation in the type information of the kernel that runs.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "tcp_witness.h"

/* Helpers for tracing are for programs under the GPL. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define IPPROTO_TCP_NUMBER 6
#define SOCK_STREAM_NUMBER 1
#define AF_INET6_NUMBER 10

/* In: the descriptor to look at, of the thread that the iterator was made for. */
__s32 target_fd;

/* Out: times that a TCP socket was found there. */
__u32 found;
struct tcp_witness_snapshot snapshot;

static void read_tcp_sock(struct tcp_sock* sock) {
  /* The offset of a bit-field counts from where the chain of accesses begins: it begins here. */
  struct tcp_options_received* rx_opt = (void*)sock + bpf_core_field_offset(struct tcp_sock, rx_opt);
  struct sock_common* common = (void*)sock;

#define TCP_WITNESS_READ(type, name, ...) BPF_CORE_READ_INTO(&snapshot.name, sock, __VA_ARGS__);
  TCP_WITNESS_FIELDS(TCP_WITNESS_READ)
#undef TCP_WITNESS_READ
#define TCP_WITNESS_READ(base, type, name, bitfield) \
  snapshot.name = BPF_CORE_READ_BITFIELD_PROBED(base, bitfield);
  TCP_WITNESS_BITFIELDS(TCP_WITNESS_READ)
#undef TCP_WITNESS_READ

  if (BPF_CORE_READ(common, skc_family) == AF_INET6_NUMBER) {
    snapshot.size = bpf_core_type_size(struct tcp6_sock);
    bpf_probe_read_kernel(snapshot.sock, bpf_core_type_size(struct tcp6_sock), sock);
  } else {
    snapshot.size = bpf_core_type_size(struct tcp_sock);
    bpf_probe_read_kernel(snapshot.sock, bpf_core_type_size(struct tcp_sock), sock);
  }
}

SEC("iter/task_file")
int tcp_witness_read(struct bpf_iter__task_file* ctx) {
  struct file* file = ctx->file;
  struct socket* socket;
  struct sock* sk;

  if (!file || ctx->fd != target_fd) return 0;
  socket = bpf_sock_from_file(file);
  if (!socket) return 0;
  sk = BPF_CORE_READ(socket, sk);
  if (!sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP_NUMBER ||
      BPF_CORE_READ(sk, sk_type) != SOCK_STREAM_NUMBER)
    return 0;

  ++found;
  snapshot.jiffies = bpf_jiffies64();
  snapshot.monotonic_ns = bpf_ktime_get_ns();
  read_tcp_sock((struct tcp_sock*)sk);
  return 0;
}

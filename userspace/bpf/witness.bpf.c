// SPDX-License-Identifier: GPL-2.0 OR LGPL-2.1-or-later OR MIT
/*
 * The independent witness: reads a UDP socket out of kernel memory, without any of the socket's
 * own options, and counts calls of functions that a dump must not enter.
 *
 * Kernel structures are found by CO-RE relocation in the type information of the kernel that runs.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "witness.h"

/* Helpers for tracing are for programs under the GPL. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define IPPROTO_UDP_NUMBER 17
#define AF_INET6_NUMBER 10

/* In: the descriptor to look at, of the thread that the iterator was made for. */
__s32 target_fd;
/* In: the process whose calls are counted. */
__u32 target_tgid;

/* Out: times that a UDP socket was found there. */
__u32 found;
/* Out: what did not fit into the structures below; they are of no use unless 0. */
__u32 too_large;
struct witness_snapshot snapshot;
struct witness_raw raw;
__u64 calls[WITNESS_CALL_COUNT];

static struct skb_shared_info* shinfo_of(struct sk_buff* skb) {
  return (struct skb_shared_info*)(BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end));
}

/* `len` bytes at `from` into `blob`, after what is in it. */
static void blob_add(struct witness_blob* blob, const void* from, __u32 len) {
  __u32 at = blob->len;

  if (at >= WITNESS_MAX_BLOB / 2 || len > WITNESS_MAX_BLOB / 2) {
    ++too_large;
    return;
  }
  bpf_probe_read_kernel(&blob->data[at], len, from);
  blob->len = at + len;
}

static void read_ip_options(struct witness_blob* blob, struct ip_options* opt) {
  blob->present = opt != NULL;
  if (opt) blob_add(blob, opt, bpf_core_type_size(struct ip_options) + BPF_CORE_READ(opt, optlen));
}

static void read_ipv6_option(struct witness_blob* blob, struct ipv6_opt_hdr* opt) {
  blob->present = opt != NULL;
  if (opt) blob_add(blob, opt, (BPF_CORE_READ(opt, hdrlen) + 1) * 8);
}

static void read_txoptions(struct ipv6_txoptions* opt) {
  struct {
    int tot_len;
    __u16 opt_flen;
    __u16 opt_nflen;
  } lengths;

  snapshot.cork6_opt_lengths.present = opt != NULL;
  if (!opt) return;
  read_ipv6_option(&snapshot.cork6_hopopt, BPF_CORE_READ(opt, hopopt));
  read_ipv6_option(&snapshot.cork6_dst0opt, BPF_CORE_READ(opt, dst0opt));
  read_ipv6_option(&snapshot.cork6_srcrt, (struct ipv6_opt_hdr*)BPF_CORE_READ(opt, srcrt));
  read_ipv6_option(&snapshot.cork6_dst1opt, BPF_CORE_READ(opt, dst1opt));
  lengths.tot_len = BPF_CORE_READ(opt, tot_len);
  lengths.opt_flen = BPF_CORE_READ(opt, opt_flen);
  lengths.opt_nflen = BPF_CORE_READ(opt, opt_nflen);
  blob_add(&snapshot.cork6_opt_lengths, &lengths, sizeof(lengths));
}

/* References to the page of a fragment; those of a compound page are counted in its head. */
static __s32 page_refs(skb_frag_t* frag) {
  struct page* page = (struct page*)(BPF_CORE_READ(frag, netmem) & ~3UL);
  unsigned long head = BPF_CORE_READ(page, compound_info);

  if (head & 1) page = (struct page*)(head - 1);
  return BPF_CORE_READ(page, _refcount.counter);
}

static void read_raw_skb(struct witness_raw_skb* out, struct sk_buff* skb) {
  struct skb_shared_info* shinfo = shinfo_of(skb);
  __u32 i, nr_frags = BPF_CORE_READ(shinfo, nr_frags);
  struct ubuf_info* ubuf;

  bpf_probe_read_kernel(out->skb, bpf_core_type_size(struct sk_buff), skb);
  bpf_probe_read_kernel(out->shinfo, bpf_core_type_size(struct skb_shared_info), shinfo);

  ubuf = BPF_CORE_READ(shinfo, destructor_arg);
  if (ubuf && (BPF_CORE_READ(shinfo, flags) & SKBFL_ZEROCOPY_ENABLE))
    out->ubuf_refs = BPF_CORE_READ(ubuf, refcnt.refs.counter);

  for (i = 0; i < WITNESS_MAX_FRAGS && i < nr_frags; ++i)
    out->page_refs[i] = page_refs(&shinfo->frags[i]);
}

/* Bytes at `from` into `out`, after what is in it. */
static void payload_add(struct witness_payload* out, const void* from, __u64 len) {
  __u64 at = out->len;

  /* Or the compiler checks one copy of it and uses another. */
  barrier_var(len);
  if (at >= WITNESS_MAX_PAYLOAD / 2 || len >= WITNESS_MAX_PAYLOAD / 2) {
    ++too_large;
    return;
  }
  bpf_probe_read_kernel(&out->data[at], len, from);
  out->len = at + len;
}

/* Where the kernel sees the memory of a page, for x86-64 with 4 or 5 levels of page tables and
 * without CONFIG_RANDOMIZE_MEMORY.
 */
static void* page_memory(unsigned long page) {
  bool five_levels = page < 0xffff000000000000UL;
  unsigned long vmemmap = five_levels ? 0xffd4000000000000UL : 0xffffea0000000000UL;
  unsigned long memory = five_levels ? 0xff11000000000000UL : 0xffff888000000000UL;

  return (void*)(memory + (page - vmemmap) / bpf_core_type_size(struct page) * 4096);
}

/* The payload of one skb. Only the first has the room for the UDP header. */
static void read_payload(struct witness_payload* out, struct sk_buff* skb, bool first) {
  struct skb_shared_info* shinfo = shinfo_of(skb);
  __u32 i, nr_frags = BPF_CORE_READ(shinfo, nr_frags);
  unsigned char* from = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header);
  unsigned char* end =
      BPF_CORE_READ(skb, data) + BPF_CORE_READ(skb, len) - BPF_CORE_READ(skb, data_len);

  if (first) from += sizeof(struct udphdr);
  payload_add(out, from, end - from);
  for (i = 0; i < WITNESS_MAX_FRAGS && i < nr_frags; ++i) {
    skb_frag_t* frag = &shinfo->frags[i];

    payload_add(out, page_memory(BPF_CORE_READ(frag, netmem)) + BPF_CORE_READ(frag, offset),
                BPF_CORE_READ(frag, len));
  }
}

/* One skb of the write queue; `next` is where it is and where the next one will be. */
static long read_skb(__u32 index, struct sk_buff** next) {
  if (index >= WITNESS_MAX_SKBS) return 1;
  snapshot.skb_len[index] = BPF_CORE_READ(*next, len);
  read_raw_skb(&raw.skb[index], *next);
  read_payload(&snapshot.payload, *next, index == 0);
  *next = BPF_CORE_READ(*next, next);
  return 0;
}

static void read_udp_sock(struct udp_sock* sock) {
  __u32 count = BPF_CORE_READ(sock, inet.sk.sk_write_queue.qlen);
  struct sk_buff* skb = count ? BPF_CORE_READ(sock, inet.sk.sk_write_queue.next) : NULL;
  struct skb_shared_info* shinfo = skb ? shinfo_of(skb) : NULL;
  struct dst_entry* dst = BPF_CORE_READ(sock, inet.cork.base.dst);
  /* The offset of a bit-field counts from where the chain of accesses begins: it begins here. */
  struct inet6_cork* cork6 = (void*)sock + bpf_core_field_offset(struct udp_sock, inet.cork.base6);

  /* A field whose base is NULL reads as 0. */
#define WITNESS_READ(base, type, name, family, rule, ...) \
  BPF_CORE_READ_INTO(&snapshot.name, base, __VA_ARGS__);
  WITNESS_FIELDS(WITNESS_READ)
#undef WITNESS_READ
#define WITNESS_READ(base, type, name, family, rule, bitfield) \
  if (base) snapshot.name = BPF_CORE_READ_BITFIELD_PROBED(base, bitfield);
  WITNESS_BITFIELDS(WITNESS_READ)
#undef WITNESS_READ
  read_ip_options(&snapshot.cork_opt, BPF_CORE_READ(sock, inet.cork.base.opt));
  read_txoptions(BPF_CORE_READ(sock, inet.cork.base6.opt));

  raw.skb_size = bpf_core_type_size(struct sk_buff);
  raw.shinfo_size = bpf_core_type_size(struct skb_shared_info);
  if (dst) raw.dst_refs = BPF_CORE_READ(dst, __rcuref.refcnt.counter);
  if (BPF_CORE_READ(sock, inet.sk.__sk_common.skc_family) == AF_INET6_NUMBER) {
    raw.sock_size = bpf_core_type_size(struct udp6_sock);
    bpf_probe_read_kernel(raw.sock, bpf_core_type_size(struct udp6_sock), sock);
  } else {
    raw.sock_size = bpf_core_type_size(struct udp_sock);
    bpf_probe_read_kernel(raw.sock, bpf_core_type_size(struct udp_sock), sock);
  }

  if (count > WITNESS_MAX_SKBS) {
    ++too_large;
    return;
  }
  raw.skbs = count;
  bpf_loop(count, read_skb, &skb, 0);
}

SEC("iter/task_file")
int witness_read(struct bpf_iter__task_file* ctx) {
  struct file* file = ctx->file;
  struct socket* socket;
  struct sock* sk;

  if (!file || ctx->fd != target_fd) return 0;
  socket = bpf_sock_from_file(file);
  if (!socket) return 0;
  sk = BPF_CORE_READ(socket, sk);
  if (!sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_UDP_NUMBER) return 0;

  ++found;
  read_udp_sock((struct udp_sock*)sk);
  return 0;
}

#define WITNESS_COUNT(function)                                 \
  SEC("fentry/" #function)                                      \
  int count_##function(void* ctx) {                             \
    if (bpf_get_current_pid_tgid() >> 32 == target_tgid)        \
      __sync_fetch_and_add(&calls[WITNESS_CALL_##function], 1); \
    return 0;                                                   \
  }
WITNESS_CALLS(WITNESS_COUNT)

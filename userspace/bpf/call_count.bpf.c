// SPDX-License-Identifier: GPL-2.0 OR LGPL-2.1-or-later OR MIT
/*
 * Counts the system calls of all processes but one, for `make bench-criu`. Nobody is traced: who
 * moves a process uses ptrace(2) itself, and has it make calls that no tracer of his would see.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "call_count.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* In: the process that counts. */
__u32 own_tgid;

/* Out, by number of the call. */
__u64 calls[CALL_COUNT_NUMBERS];

SEC("raw_tp/sys_enter")
int call_count(struct bpf_raw_tracepoint_args* ctx) {
  __u64 number = ctx->args[1];

  if (bpf_get_current_pid_tgid() >> 32 != own_tgid && number < CALL_COUNT_NUMBERS)
    __sync_fetch_and_add(&calls[number], 1);
  return 0;
}

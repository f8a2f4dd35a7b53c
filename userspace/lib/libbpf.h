// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_LIBBPF_H_
#define SOCKREPAIR_LIB_LIBBPF_H_

#include <cstdint>
#include <span>
#include <vector>

#include "sockrepair/result.h"

namespace sockrepair::internal {

// Loads the BPF object `object`, the bytes of an ELF file, whose iterator `program` then runs in
// the network namespace of the calling thread; what it writes. Nothing of it stays in the kernel.
//
// libbpf is loaded when this is first called, so that who does not call it needs none. One thread
// at a time is in it; the others wait.
//
// ELIBACC, EPERM, EOPNOTSUPP: as of find_tcp_time_wait(). Others with what libbpf says first.
Result<std::vector<std::uint8_t>> run_bpf_iterator(std::span<const std::uint8_t> object,
                                                   const char* program);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_LIBBPF_H_

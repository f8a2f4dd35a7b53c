// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_TCP_WITNESS_H_
#define SOCKREPAIR_TESTS_UTIL_TCP_WITNESS_H_

#include <linux/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../../bpf/tcp_witness.h"
#include "sockrepair/result.h"

// A witness that trusts no socket option: a BPF program reads what the kernel holds for a TCP
// socket out of its own structures. Needs root and a kernel with BTF.
//
//   Result<TcpWitness> witness = TcpWitness::load();
//   Result<tcp_witness_snapshot> before = witness->look(fd);
//   ...
//   EXPECT_THAT(tcp_memory_changes(*before, *after), IsEmpty());
//
// One object is for one thread, and a socket must be quiet while it is looked at: nothing is
// locked.
namespace sockrepair::test {

class TcpWitness {
 public:
  static Result<TcpWitness> load();
  TcpWitness(TcpWitness&&) noexcept;
  TcpWitness& operator=(TcpWitness&&) noexcept;
  ~TcpWitness();

  // The TCP socket that is descriptor `fd` of the calling thread. ENOTSOCK if there is none.
  Result<tcp_witness_snapshot> look(int fd);

 private:
  struct State;
  explicit TcpWitness(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One line for each run of bytes of struct tcp_sock that differs, whatever member it belongs to:
// "byte 1468: 0000000a, was 00000000". Nothing is left out.
std::vector<std::string> tcp_memory_changes(const tcp_witness_snapshot& before,
                                            const tcp_witness_snapshot& after);

// The names of the members of TCP_WITNESS_FIELDS and TCP_WITNESS_BITFIELDS that differ.
std::vector<std::string> tcp_field_changes(const tcp_witness_snapshot& before,
                                           const tcp_witness_snapshot& after);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_TCP_WITNESS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/tcp_witness.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <utility>

#include "tcp_witness.skel.h"
#include "try.h"
#include "util/task_file_iterator.h"

namespace sockrepair::test {

struct TcpWitness::State {
  // `iterator` goes first.
  std::unique_ptr<tcp_witness_bpf, void (*)(tcp_witness_bpf*)> skeleton;
  TaskFileIterator iterator;

  explicit State(tcp_witness_bpf* loaded)
      : skeleton(loaded, tcp_witness_bpf__destroy), iterator(loaded->progs.tcp_witness_read) {}
};

TcpWitness::TcpWitness(std::unique_ptr<State> state) : state_(std::move(state)) {}
TcpWitness::TcpWitness(TcpWitness&&) noexcept = default;
TcpWitness& TcpWitness::operator=(TcpWitness&&) noexcept = default;
TcpWitness::~TcpWitness() = default;

Result<TcpWitness> TcpWitness::load() {
  tcp_witness_bpf* skeleton = tcp_witness_bpf__open_and_load();
  if (skeleton == nullptr) return Error{errno, "load of the TCP witness program"};
  return TcpWitness(std::make_unique<State>(skeleton));
}

Result<tcp_witness_snapshot> TcpWitness::look(int fd) {
  auto& bss = *state_->skeleton->bss;
  bss.target_fd = fd;
  bss.found = 0;
  memset(&bss.snapshot, 0, sizeof(bss.snapshot));
  SOCKREPAIR_TRY(state_->iterator.run());
  if (bss.found != 1) return Error{ENOTSOCK, "look at descriptor " + std::to_string(fd)};
  return bss.snapshot;
}

std::vector<std::string> tcp_memory_changes(const tcp_witness_snapshot& before,
                                            const tcp_witness_snapshot& after) {
  std::vector<std::string> changes;
  const auto hex = [](const __u8* from, std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) {
      char digits[3];
      snprintf(digits, sizeof(digits), "%02x", from[i]);
      text += digits;
    }
    return text;
  };
  for (std::size_t at = 0; at < sizeof(before.sock);) {
    std::size_t end = at;
    while (end < sizeof(before.sock) && before.sock[end] != after.sock[end]) ++end;
    if (end > at) {
      changes.push_back("byte " + std::to_string(at) + ": " + hex(after.sock + at, end - at) +
                        ", was " + hex(before.sock + at, end - at));
    }
    at = end + 1;
  }
  return changes;
}

std::vector<std::string> tcp_field_changes(const tcp_witness_snapshot& before,
                                           const tcp_witness_snapshot& after) {
  std::vector<std::string> names;
#define TCP_WITNESS_COMPARE(type, name, ...) \
  if (before.name != after.name) names.push_back(#name);
  TCP_WITNESS_FIELDS(TCP_WITNESS_COMPARE)
#undef TCP_WITNESS_COMPARE
#define TCP_WITNESS_COMPARE(base, type, name, bitfield) \
  if (before.name != after.name) names.push_back(#name);
  TCP_WITNESS_BITFIELDS(TCP_WITNESS_COMPARE)
#undef TCP_WITNESS_COMPARE
  return names;
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_KERNEL_LAYOUT_H_
#define SOCKREPAIR_TESTS_UTIL_KERNEL_LAYOUT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sockrepair/result.h"

// The members of a structure of the running kernel, down to numbers and pointers, from the kernel's
// own type information: whatever a kernel adds is in the list, known to us or not.
//
//   const char* const bases[] = {"inet_conn", "icsk_inet", "sk", "__sk_common"};
//   Result<KernelLayout> layout = KernelLayout::load("tcp_sock", bases);
//   for (const KernelMember& member : layout->members())
//     printf("%s %llu\n", member.path.c_str(), member.value(bytes_of_a_socket));
//
//   skc_family
//   icsk_ack.pending
//   selective_acks[0].start_seq
//
// Of a union the largest alternative is listed, the first of several; padding is not a member.
// Needs a kernel with BTF.
namespace sockrepair::test {

struct KernelMember {
  std::string path;
  std::uint32_t bit_offset = 0;
  std::uint32_t bits = 0;  // at most 64
  bool pointer = false;

  // Out of the bytes of the structure, not extended by a sign.
  std::uint64_t value(std::span<const std::uint8_t> structure) const;
  // `value` is cut to what the member holds.
  void set_value(std::span<std::uint8_t> structure, std::uint64_t value) const;
};

class KernelLayout {
 public:
  // `bases` are members whose name is left out of paths, being what the structure is built on.
  // ENOENT if the kernel has no such type.
  static Result<KernelLayout> load(const std::string& structure,
                                   std::span<const char* const> bases);

  const std::vector<KernelMember>& members() const { return members_; }
  // nullptr if there is none.
  const KernelMember* find(std::string_view path) const;
  std::size_t size() const { return size_; }

 private:
  std::vector<KernelMember> members_;
  std::size_t size_ = 0;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_KERNEL_LAYOUT_H_

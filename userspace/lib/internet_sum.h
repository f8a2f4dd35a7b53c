// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_INTERNET_SUM_H_
#define SOCKREPAIR_LIB_INTERNET_SUM_H_

#include <arpa/inet.h>

#include <cstdint>
#include <cstring>
#include <span>

namespace sockrepair::internal {

// The sum that Internet checksums are made of, over 16-bit words as they are in memory; not folded.
// Parts can be added up if all but the last have an even length.
inline std::uint64_t internet_sum(std::span<const std::uint8_t> bytes, std::uint64_t so_far = 0) {
  std::size_t even = bytes.size() / 2 * 2;
  for (std::size_t i = 0; i < even; i += 2) {
    std::uint16_t word;
    memcpy(&word, bytes.data() + i, sizeof(word));
    so_far += word;
  }
  if (even != bytes.size()) so_far += htons(static_cast<std::uint16_t>(bytes[even] << 8));
  return so_far;
}

// The sum in 16 bits. 0 and 0xffff are the same number.
inline std::uint16_t fold_sum(std::uint64_t sum) {
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<std::uint16_t>(sum);
}

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_INTERNET_SUM_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_BENCH_BYTE_PATTERN_H_
#define SOCKREPAIR_BENCH_BYTE_PATTERN_H_

#include <cstddef>

// The bytes that connections carry in `make bench-criu`, known to both ends: none is like its
// neighbours in the stream, nor like that of another connection or direction at the same place.
namespace sockrepair::bench {

enum class Direction { kToProcess, kFromProcess };

inline char pattern_byte(std::size_t connection, Direction direction, std::size_t position) {
  const std::size_t seed = 2 * connection + (direction == Direction::kToProcess ? 0 : 1);
  return static_cast<char>(seed * 31 + position * 7 + position / 251);
}

}  // namespace sockrepair::bench

#endif  // SOCKREPAIR_BENCH_BYTE_PATTERN_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_RACES_BLOCKS_H_
#define SOCKREPAIR_TESTS_UDP_RACES_BLOCKS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sockrepair/result.h"

// Payload that shows when it is torn. It is written in whole blocks; each carries its number, who
// wrote it, the configuration it was written for, and bytes that follow from these.
//
//   Blocks blocks = read_blocks(payload, Cut::kNo);
//   EXPECT_EQ(blocks->front().configuration, ...);
namespace sockrepair::test {

inline constexpr std::size_t kBlockSize = 64;

struct Block {
  std::uint16_t writer;         // whoever appends, 0 and up
  std::uint16_t configuration;  // that its writer would begin a datagram with
  std::uint32_t number;         // of the blocks of this writer

  bool operator==(const Block&) const = default;
};

// `count` blocks with numbers from `first` on.
void write_blocks(const Block& first, std::size_t count, std::uint8_t* to);

// Whether the payload ends where it should or somewhere inside.
enum class Cut { kNo, kYes };

// The blocks in a payload; EPROTO with where and why if it is not a sequence of whole blocks
// (kYes: and the beginning of one more) in which those of each writer have consecutive numbers.
Result<std::vector<Block>> read_blocks(std::span<const std::uint8_t> payload, Cut cut);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_RACES_BLOCKS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "udp_races/blocks.h"

#include <errno.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <map>

namespace sockrepair::test {

namespace {

using Bytes = std::array<std::uint8_t, kBlockSize>;

Bytes bytes_of(const Block& block) {
  Bytes bytes;
  memcpy(bytes.data(), &block, sizeof(block));
  std::uint32_t state = block.number * 2654435761U ^ block.writer << 8U ^ block.configuration;
  for (std::size_t i = sizeof(block); i < kBlockSize; ++i) {
    state = state * 1664525U + 1013904223U;
    bytes[i] = static_cast<std::uint8_t>(state >> 24);
  }
  return bytes;
}

Error torn(std::size_t at, const std::string& why) {
  return Error{EPROTO, "payload byte " + std::to_string(at) + ": " + why};
}

std::string name(const Block& block) {
  return "block " + std::to_string(block.number) + " of writer " + std::to_string(block.writer);
}

}  // namespace

void write_blocks(const Block& first, std::size_t count, std::uint8_t* to) {
  Block block = first;
  for (std::size_t i = 0; i < count; ++i, ++block.number) {
    Bytes bytes = bytes_of(block);
    memcpy(to + i * kBlockSize, bytes.data(), kBlockSize);
  }
}

Result<std::vector<Block>> read_blocks(std::span<const std::uint8_t> payload, Cut cut) {
  std::vector<Block> blocks;
  std::map<std::uint16_t, std::uint32_t> next;  // number, by writer
  for (std::size_t at = 0; at < payload.size(); at += kBlockSize) {
    std::span<const std::uint8_t> bytes = payload.subspan(at);
    bytes = bytes.first(std::min(bytes.size(), kBlockSize));
    if (bytes.size() < kBlockSize && cut == Cut::kNo) {
      return torn(at, "a block of " + std::to_string(bytes.size()) + " bytes");
    }
    // Of less than this nothing is known.
    if (bytes.size() < sizeof(Block)) break;

    Block block;
    memcpy(&block, bytes.data(), sizeof(block));
    Bytes wanted = bytes_of(block);
    auto difference = std::mismatch(bytes.begin(), bytes.end(), wanted.begin()).first;
    if (difference != bytes.end()) {
      return torn(at + static_cast<std::size_t>(difference - bytes.begin()),
                  "not what " + name(block) + " has there");
    }
    auto [expected, first] = next.try_emplace(block.writer, block.number);
    if (!first && expected->second != block.number)
      return torn(at, name(block) + ", not " + std::to_string(expected->second));
    expected->second = block.number + 1;
    blocks.push_back(block);
  }
  return blocks;
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// A torn payload is told from a whole one.

#include "udp_races/blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::SizeIs;

using Bytes = std::vector<std::uint8_t>;

Bytes blocks(const Block& first, std::size_t count) {
  Bytes bytes(count * kBlockSize);
  write_blocks(first, count, bytes.data());
  return bytes;
}

Bytes joined(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(BlocksTest, WholePayloadsAreRead) {
  EXPECT_THAT(read_blocks({}, Cut::kNo), IsOkAndHolds(SizeIs(0)));
  EXPECT_THAT(read_blocks(blocks({0, 3, 100}, 5), Cut::kNo),
              IsOkAndHolds(AllOf(SizeIs(5), Each(Field(&Block::configuration, 3)))));
  // Two writers take turns.
  Bytes both = joined(joined(blocks({0, 1, 7}, 2), blocks({1, 2, 50}, 3)), blocks({0, 1, 9}, 1));
  EXPECT_THAT(read_blocks(both, Cut::kNo), IsOkAndHolds(SizeIs(6)));
}

TEST(BlocksTest, CutPayloadsAreReadIfSaid) {
  Bytes payload = blocks({0, 0, 1}, 3);
  for (std::size_t size = 0; size < payload.size(); ++size) {
    std::span<const std::uint8_t> part = std::span(payload).first(size);
    EXPECT_THAT(read_blocks(part, Cut::kYes), IsOk()) << size;
    if (size % kBlockSize != 0) {
      EXPECT_THAT(read_blocks(part, Cut::kNo), FailsWith(EPROTO)) << size;
    }
  }
}

struct Tear {
  const char* name;
  Bytes payload;
  const char* message;

  friend void PrintTo(const Tear& tear, std::ostream* out) { *out << tear.name; }
};

// One byte of a payload is another.
Bytes flipped(Bytes payload, std::size_t at) {
  payload[at] ^= 1;
  return payload;
}

class BlocksTearTest : public ::testing::TestWithParam<Tear> {};

TEST_P(BlocksTearTest, IsSeen) {
  for (Cut cut : {Cut::kNo, Cut::kYes})
    EXPECT_THAT(read_blocks(GetParam().payload, cut),
                FailsWith(EPROTO, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    All, BlocksTearTest,
    ::testing::Values(
        Tear{"first_block_missing_in_between", joined(blocks({0, 0, 1}, 1), blocks({0, 0, 3}, 1)),
             "byte 64: block 3 of writer 0, not 2"},
        Tear{"block_twice", joined(blocks({0, 0, 1}, 1), blocks({0, 0, 1}, 1)),
             "byte 64: block 1 of writer 0, not 2"},
        Tear{"old_end", flipped(blocks({0, 0, 1}, 2), 127), "byte 127: not what block 2"},
        Tear{"another_number", flipped(blocks({0, 0, 1}, 1), 4), "byte 8: not what block 0"},
        Tear{"shifted", joined({0}, blocks({0, 0, 1}, 2)), "not what block"}),
    ParamName());

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/result.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "sockrepair/error.h"

namespace sockrepair {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return Error{EDOM, "half(" + std::to_string(number) + ")"};
  return number / 2;
}

Result<void> nothing(bool fail) {
  if (fail) return Error{EIO, "nothing()"};
  return {};
}

TEST(ResultTest, HoldsValue) {
  Result<int> result = half(8);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(static_cast<bool>(result));
  EXPECT_EQ(*result, 4);
}

TEST(ResultTest, HoldsError) {
  Result<int> result = half(7);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error(), (Error{EDOM, "half(7)"}));
}

TEST(ResultTest, HoldsMoveOnlyValue) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(3);
  ASSERT_TRUE(result);
  std::unique_ptr<int> taken = *std::move(result);
  EXPECT_EQ(*taken, 3);
}

TEST(ResultTest, VoidTellsSuccessFromError) {
  EXPECT_TRUE(nothing(false).ok());
  ASSERT_FALSE(nothing(true).ok());
  EXPECT_EQ(nothing(true).error().code, EIO);
}

TEST(ResultTest, ErrorSaysCallAndErrno) {
  EXPECT_EQ((Error{EPERM, "open(\"x\")"}.describe()),
            "open(\"x\"): EPERM (Operation not permitted)");
  EXPECT_EQ((Error{4095, "f()"}.describe()), "f(): errno 4095");
}

TEST(ResultDeathTest, ValueOfErrorAbortsWithItsText) {
  EXPECT_DEATH(half(7).value(), "half\\(7\\): EDOM");
  EXPECT_DEATH(nothing(true).value(), "nothing\\(\\): EIO");
}

TEST(ResultDeathTest, ErrorOfValueAborts) {
  EXPECT_DEATH(half(8).error(), "holds a value");
}

}  // namespace
}  // namespace sockrepair

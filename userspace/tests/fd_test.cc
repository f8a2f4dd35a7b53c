// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <type_traits>
#include <utility>

namespace sockrepair {
namespace {

static_assert(!std::is_convertible_v<int, Fd>);
static_assert(!std::is_convertible_v<Fd, int>);
static_assert(!std::is_copy_constructible_v<Fd>);

Fd open_null() {
  return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool is_open(int number) {
  return ::fcntl(number, F_GETFD) >= 0;
}

TEST(FdTest, ClosesWhenItGoes) {
  int number;
  {
    Fd fd = open_null();
    number = fd.get();
    ASSERT_TRUE(is_open(number));
  }
  EXPECT_FALSE(is_open(number));
}

TEST(FdTest, MoveLeavesNothingBehind) {
  Fd first = open_null();
  int number = first.get();
  Fd second = std::move(first);
  EXPECT_FALSE(first.valid());
  EXPECT_EQ(second.get(), number);
}

TEST(FdTest, MoveAssignmentClosesTheOldOne) {
  Fd first = open_null();
  Fd second = open_null();
  int old = second.get();
  second = std::move(first);
  EXPECT_FALSE(is_open(old));
  EXPECT_TRUE(is_open(second.get()));
}

TEST(FdTest, SelfMoveKeepsTheDescriptor) {
  Fd fd = open_null();
  Fd& alias = fd;
  fd = std::move(alias);
  EXPECT_TRUE(is_open(fd.get()));
}

TEST(FdTest, ReleaseGivesOwnershipAway) {
  Fd fd = open_null();
  int number = fd.release();
  EXPECT_FALSE(fd.valid());
  ASSERT_TRUE(is_open(number));
  ::close(number);
}

TEST(FdTest, DestructorKeepsErrno) {
  Fd bad(1000000);
  errno = EDOM;
  bad.reset();
  EXPECT_EQ(errno, EDOM);
}

TEST(FdTest, CloseReportsWhatTheKernelSaid) {
  EXPECT_TRUE(open_null().close().ok());
  Fd bad(1000000);
  Result<void> closed = bad.close();
  ASSERT_FALSE(closed.ok());
  EXPECT_EQ(closed.error().describe(), "close(1000000): EBADF (Bad file descriptor)");
  EXPECT_FALSE(bad.valid());
}

TEST(FdTest, NegativeNumberIsEmpty) {
  EXPECT_FALSE(Fd(-1).valid());
  EXPECT_EQ(Fd(-5).get(), -1);
  EXPECT_FALSE(Fd().close().ok());
}

}  // namespace
}  // namespace sockrepair

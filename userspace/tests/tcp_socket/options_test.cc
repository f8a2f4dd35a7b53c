// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The rows of the option table that are TCP's: each is set by a program, and is the same on a
// socket that is restored in place of the old one, with a connection and without. No option that
// the running kernel knows is missing.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "option_codec.h"
#include "sockrepair/socket_options.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_socket.h"
#include "tcp_socket/world.h"
#include "uapi.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;

using Bytes = OptionValue::Bytes;
using Row = sockrepair::SocketOption;

// Where a program can have set an option.
enum class Place {
  kAnywhere,
  kUnconnected,  // refused on a connection, or not told of one
  kConnected,    // comes to nothing without a connection
};

struct Case {
  std::string name;
  int level;
  int option;
  Bytes value;
  Place place = Place::kAnywhere;

  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

Bytes number(int value) {
  return internal::to_bytes(std::int32_t{value});
}

Bytes name(const std::string& text) {
  return Bytes(text.begin(), text.end());
}

const Case kCases[] = {
    {"maxseg", SOL_TCP, TCP_MAXSEG, number(1000), Place::kUnconnected},
    {"syncnt", SOL_TCP, TCP_SYNCNT, number(3)},
    {"defer_accept", SOL_TCP, TCP_DEFER_ACCEPT, number(7)},
    {"save_syn", SOL_TCP, TCP_SAVE_SYN, number(1)},
    {"fastopen", SOL_TCP, TCP_FASTOPEN, number(9), Place::kUnconnected},
    {"fastopen_no_cookie", SOL_TCP, TCP_FASTOPEN_NO_COOKIE, number(1), Place::kUnconnected},
    {"fastopen_connect", SOL_TCP, TCP_FASTOPEN_CONNECT, number(1), Place::kUnconnected},
    {"congestion", SOL_TCP, TCP_CONGESTION, name("reno")},
    {"nodelay", SOL_TCP, TCP_NODELAY, number(1)},
    {"cork", SOL_TCP, TCP_CORK, number(1)},
    {"notsent_lowat", SOL_TCP, TCP_NOTSENT_LOWAT, number(12345)},
    {"tx_delay", SOL_TCP, TCP_TX_DELAY, number(1000)},
    {"thin_linear_timeouts", SOL_TCP, TCP_THIN_LINEAR_TIMEOUTS, number(1)},
    {"user_timeout", SOL_TCP, TCP_USER_TIMEOUT, number(54321)},
    {"rto_max", SOL_TCP, TCP_RTO_MAX_MS, number(5000)},
    {"rto_min", SOL_TCP, TCP_RTO_MIN_US, number(100000)},
    {"delack_max", SOL_TCP, TCP_DELACK_MAX_US, number(100000)},
    {"keepidle", SOL_TCP, TCP_KEEPIDLE, number(77)},
    {"keepintvl", SOL_TCP, TCP_KEEPINTVL, number(11)},
    {"keepcnt", SOL_TCP, TCP_KEEPCNT, number(4)},
    {"linger2", SOL_TCP, TCP_LINGER2, number(-1)},
    {"txrehash", SOL_SOCKET, SO_TXREHASH, number(0)},
    {"inq", SOL_TCP, TCP_INQ, number(1)},
    {"window_clamp", SOL_TCP, TCP_WINDOW_CLAMP, number(20000)},
    {"quickack", SOL_TCP, TCP_QUICKACK, number(0), Place::kConnected},
};

Result<Bytes> raw(const Fd& fd, const Case& one) {
  Bytes value(16);
  Result<socklen_t> length = sys::getsockopt_bytes(fd.get(), one.level, one.option, value.data(),
                                                   static_cast<socklen_t>(value.size()));
  if (!length) return length.error();
  value.resize(*length);
  return value;
}

class TcpOptionTest : public ::testing::TestWithParam<Case> {
 protected:
  // One for all cases: none changes it.
  static void SetUpTestSuite() {
    Result<World> world = World::create();
    ASSERT_THAT(world, IsOk());
    world_.emplace(*std::move(world));
    ASSERT_THAT(world_->ours().sysctl("ipv4.tcp_fastopen", "3"), IsOk());
  }
  static void TearDownTestSuite() { world_.reset(); }

  void SetUp() override { ASSERT_TRUE(world_.has_value()); }

  // False: this kernel is older than the option; the test is over.
  Result<bool> set(const Fd& fd) {
    const Case& one = GetParam();
    Result<void> done = sys::setsockopt_bytes(fd.get(), one.level, one.option, one.value.data(),
                                              static_cast<socklen_t>(one.value.size()));
    if (done) return true;
    const Row* row = find_socket_option(one.level, one.option);
    if (done.error().code == ENOPROTOOPT && row != nullptr && *row->since != '\0') return false;
    return done.error();
  }

  // Dumped as its row says, and on the new socket as on the old one.
  void replace(Fd fd, const TcpRestoreOptions& options) {
    ASSERT_OK_AND_ASSIGN(const Bytes before, raw(fd, GetParam()));
    ASSERT_OK_AND_ASSIGN(const TcpSocket dump, dump_tcp_socket(fd, {.leave_in_repair = true}));
    const Bytes* value =
        internal::find_option_value(dump.options, GetParam().level, GetParam().option);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(*value, GetParam().value) << dump.describe();
    fd.reset();
    ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored,
                         world_->ours().run([&] { return restore_tcp_socket(dump, options); }));
    EXPECT_THAT(raw(restored.fd, GetParam()), IsOkAndHolds(before));
  }

  static std::optional<World> world_;
};

std::optional<World> TcpOptionTest::world_;

class UnconnectedTcpOptionTest : public TcpOptionTest {};

TEST_P(UnconnectedTcpOptionTest, ComesBackOnAnotherSocket) {
  ASSERT_OK_AND_ASSIGN(Fd fd, world_->socket(AF_INET));
  ASSERT_OK_AND_ASSIGN(const Bytes by_default, raw(fd, GetParam()));
  ASSERT_OK_AND_ASSIGN(const bool there, set(fd));
  if (!there) GTEST_SKIP() << "this kernel does not have it";
  EXPECT_THAT(raw(fd, GetParam()), Not(IsOkAndHolds(by_default))) << "nothing was set";
  replace(std::move(fd), {});
}

class ConnectedTcpOptionTest : public TcpOptionTest {};

TEST_P(ConnectedTcpOptionTest, ComesBackOnAnotherSocket) {
  for (bool control_block : {true, false}) {
    if (control_block && !has_control_block()) continue;
    SCOPED_TRACE(control_block ? "control block" : "plain");
    ASSERT_OK_AND_ASSIGN(Pair pair, world_->connect(kFamilies[0], Opener::kOurs));
    ASSERT_OK_AND_ASSIGN(const bool there, set(pair.ours));
    if (!there) GTEST_SKIP() << "this kernel does not have it";
    TcpRestoreOptions options;
    options.control_block = control_block;
    replace(std::move(pair.ours), options);
  }
}

std::vector<Case> cases(Place without) {
  std::vector<Case> all;
  std::copy_if(std::begin(kCases), std::end(kCases), std::back_inserter(all),
               [&](const Case& one) { return one.place != without; });
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, UnconnectedTcpOptionTest,
                         ::testing::ValuesIn(cases(Place::kConnected)), ParamName());
INSTANTIATE_TEST_SUITE_P(All, ConnectedTcpOptionTest,
                         ::testing::ValuesIn(cases(Place::kUnconnected)), ParamName());

// --- the table ---

TEST(TcpOptionTableTest, EveryRowHasACase) {
  std::set<std::pair<int, int>> covered;
  for (const Case& one : kCases) covered.insert({one.level, one.option});
  int rows = 0;
  for (const Row& row : socket_options()) {
    // Rows that UDP has as well have their cases there.
    if (row.moment != OptionMoment::kNever || row.reading == OptionReading::kHidden) continue;
    ++rows;
    EXPECT_TRUE(covered.contains({row.level, row.name})) << row.full_name();
  }
  EXPECT_EQ(static_cast<std::size_t>(rows), std::size(kCases));
}

bool is_listed(int option) {
  auto is_it = [&](const auto& row) { return row.level == SOL_TCP && row.name == option; };
  return find_socket_option(SOL_TCP, option) != nullptr ||
         std::any_of(uncarried_options().begin(), uncarried_options().end(), is_it);
}

TEST(TcpOptionTableTest, EveryOptionOfTheKernelIsListed) {
  ASSERT_OK_AND_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
  int known = 0;
  for (int option = 0; option < 128; ++option) {
    std::uint64_t room[64] = {};
    auto length = static_cast<socklen_t>(sizeof(room));
    const bool read = ::getsockopt(fd.get(), SOL_TCP, option, room, &length) == 0;
    const int zero = 0;
    const bool missing =
        ::setsockopt(fd.get(), SOL_TCP, option, &zero, sizeof(zero)) != 0 && errno == ENOPROTOOPT;
    if (!read && missing) continue;
    ++known;
    EXPECT_TRUE(is_listed(option)) << "option " << option << " is known and not listed";
  }
  EXPECT_GT(known, 30);
}

// On a connection it counts for the next one only, and no call sets it.
TEST(TcpOptionLossTest, FastOpenOfTheNextConnectionIsSaid) {
  ASSERT_OK_AND_ASSIGN(World world, World::create());
  ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(kFamilies[0], Opener::kOurs));
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours, {.leave_in_repair = true}));
  for (OptionValue& option : dump.options)
    if (option.level == SOL_TCP && option.name == TCP_FASTOPEN_CONNECT) option.value = number(1);
  pair.ours.reset();
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored,
                       world.ours().run([&] { return restore_tcp_socket(dump); }));
  EXPECT_THAT(restored.losses, Contains(Field(&Loss::subject, HasSubstr("TCP_FASTOPEN_CONNECT"))));
}

}  // namespace
}  // namespace sockrepair::test

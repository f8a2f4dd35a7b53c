// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// How many system calls a dump and a restore of an established connection take, counted by a
// tracer. What is said here is what the library promises: a call more is a failure.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <optional>
#include <vector>

#include "../bench/trace.h"
#include "batch/scene.h"
#include "sockrepair/batch.h"
#include "sockrepair/syscall.h"
#include "tcp_repair_calls.h"
#include "try.h"
#include "uapi.h"
#include "util/matchers.h"
#include "util/net_ns.h"

namespace sockrepair::test {
namespace {

// Calls by what they are for.
struct Calls {
  int connection = 0;  // its state, its names, and the socket itself
  int queues = 0;      // where both queues begin and end, and what is in them
  int other = 0;       // options, and what else a socket has

  int all() const { return connection + queues + other; }
};

// Options of the state of a connection, as they are read and set. A restore reads none of them:
// TCP_INFO and TCP_MAXSEG are then part of the question how TCP_MAXSEG is set.
constexpr int kRead[] = {TCP_TIMESTAMP, TCP_MAXSEG, TCP_REPAIR_WINDOW, TCP_REPAIR_CB, TCP_INFO};
constexpr int kSet[] = {TCP_REPAIR, TCP_REPAIR_OPTIONS, TCP_TIMESTAMP, TCP_REPAIR_WINDOW,
                        TCP_REPAIR_CB};
constexpr int kQueueOptions[] = {TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ};
constexpr long kQueueCalls[] = {SYS_sendmsg, SYS_recvmsg, SYS_sendto, SYS_recvfrom};
constexpr long kConnectionCalls[] = {SYS_socket, SYS_bind, SYS_connect};
constexpr std::uint64_t kQueueRequests[] = {SIOCINQ, SIOCOUTQ, SIOCOUTQNSD};

template <typename Row, typename T>
bool is_one_of(const Row& row, T value) {
  return std::find(std::begin(row), std::end(row), value) != std::end(row);
}

enum class What { kDump, kRestore };

Calls count(What what, const std::function<void()>& function) {
  Calls calls;
  for (const bench::SystemCall& call : bench::trace(function)) {
    const bool tcp = call.arguments[1] == IPPROTO_TCP;
    const bool reads = call.number == SYS_getsockopt && tcp;
    const bool sets = call.number == SYS_setsockopt && tcp;
    const int name = static_cast<int>(call.arguments[2]);
    if (is_one_of(kConnectionCalls, call.number) || (sets && is_one_of(kSet, name)) ||
        (reads && what == What::kDump && is_one_of(kRead, name)))
      ++calls.connection;
    else if (is_one_of(kQueueCalls, call.number) ||
             ((reads || sets) && is_one_of(kQueueOptions, name)) ||
             (call.number == SYS_ioctl && is_one_of(kQueueRequests, call.arguments[1])))
      ++calls.queues;
    else
      ++calls.other;
  }
  return calls;
}

// Established connections that have no option set and nothing in their queues.
class CallsTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kConnections = 96;

  void SetUp() override {
    Result<NetNs> ns = NetNs::create();
    ASSERT_THAT(ns, IsOk());
    ns_.emplace(*std::move(ns));
    ASSERT_THAT(ns_->run([&] { return connect_all(); }), IsOk());
  }

  Result<void> connect_all() {
    SOCKREPAIR_TRY_ASSIGN(IpAddress loopback, IpAddress::parse("127.0.0.1"));
    const SocketAddress to({loopback, 7000, 0}, AF_INET);
    SOCKREPAIR_TRY_ASSIGN(Fd listener, sys::socket(AF_INET, SOCK_STREAM, 0));
    SOCKREPAIR_TRY(sys::bind(listener.get(), to));
    SOCKREPAIR_TRY(sys::listen(listener.get(), 8));
    for (std::size_t i = 0; i < kConnections; ++i) {
      SOCKREPAIR_TRY_ASSIGN(peers_.emplace_back(), sys::socket(AF_INET, SOCK_STREAM, 0));
      SOCKREPAIR_TRY(sys::connect(peers_.back().get(), to));
      ours_.emplace_back(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!ours_.back()) return Error{errno, "accept4()"};
    }
    return {};
  }

  std::vector<int> fds() const {
    std::vector<int> numbers;
    for (const Fd& fd : ours_) numbers.push_back(fd.get());
    return numbers;
  }

  void TearDown() override {
    for (Fd& fd : ours_) close_silently(std::move(fd));
    for (Fd& fd : peers_) close_silently(std::move(fd));
  }

  std::optional<NetNs> ns_;
  std::vector<Fd> ours_;
  std::vector<Fd> peers_;
};

TcpDumpOptions dump_options() {
  TcpDumpOptions options;
  options.leave_in_repair = true;
  return options;
}

TcpRestoreOptions restore_options() {
  TcpRestoreOptions options;
  options.segments_dropped = true;
  return options;
}

// At most 4 and 7 beside the queues, for the state of the connection.
TEST_F(CallsTest, OneConnection) {
  const int fd = ours_[0].get();
  // What is asked once in the life of a process is known then.
  ASSERT_OK_AND_ASSIGN(TcpSurvey survey, TcpSurvey::take(fd));
  TcpDumpOptions how = dump_options();
  how.survey = &survey;
  ASSERT_OK_AND_ASSIGN(const TcpSocket socket, dump_tcp_socket(fd, how));
  ASSERT_THAT(internal::leave_repair(fd, false), IsOk());
  const bool block = socket.connection->control_block.has_value();

  const Calls dump = count(What::kDump, [&] {
    if (!dump_tcp_socket(fd, how)) _exit(1);
  });
  if (block) {
    EXPECT_LE(dump.connection, 4);
    EXPECT_EQ(dump.queues, 0);
  }
  ours_[0].reset();
  const Calls restore = count(What::kRestore, [&] {
    ns_->run([&] {
      Result<RestoredTcpSocket> made = restore_tcp_socket(socket, restore_options());
      if (!made) _exit(1);
      (void)internal::enter_repair(made->fd.release());
    });
  });
  if (block) {
    EXPECT_LE(restore.connection - 1, 7);  // one of these ends the test
    EXPECT_EQ(restore.queues, 4);
  }
  // One for each row of the table, and what tells them apart.
  EXPECT_LE(dump.other, 104);
  EXPECT_LE(restore.other, 104);
}

// System calls a socket, of kConnections, all in all: everything that is asked once is in them.
struct Budget {
  const Way& way;
  double dump;
  double dump_without_block;  // on a kernel that has no TCP_REPAIR_CB
  double restore;
};
const Budget kBudgets[] = {{kPlain, 103, 116, 23}, {kIoUring, 60, 71, 7}};

TEST_F(CallsTest, ManyConnections) {
  const bool block = internal::kernel_has_control_block(ours_[0].get());
  for (const Budget& budget : kBudgets) {
    if (budget.way.io_uring && !has_io_uring()) continue;
    DumpBatchOptions how;
    how.io_uring_from = budget.way.io_uring ? 0 : SIZE_MAX;
    how.in_flight = 16;
    how.tcp = dump_options();
    std::vector<AnySocket> values;
    const DumpSink keep = [&](std::size_t, Result<AnySocket> socket) -> Result<void> {
      if (!socket) return socket.error();
      values.push_back(*std::move(socket));
      return {};
    };
    const Calls dump = count(What::kDump, [&] {
      if (!dump_sockets(fds(), how, keep)) _exit(1);
    });
    // That was another process, which has left them in repair mode.
    for (const Fd& fd : ours_) ASSERT_THAT(internal::leave_repair(fd.get(), false), IsOk());
    ASSERT_THAT(dump_sockets(fds(), how, keep), IsOk());
    for (Fd& fd : ours_) fd.reset();

    RestoreBatchOptions options;
    options.io_uring_from = budget.way.io_uring ? 0 : SIZE_MAX;
    options.in_flight = 16;
    options.tcp = restore_options();
    const auto restore_all = [&] {
      return ns_->run([&] {
        return restore_sockets(values, options, [&](std::size_t index, auto made) -> Result<void> {
          if (!made) return made.error();
          ours_[index] = std::move(made->fd);
          return {};
        });
      });
    };
    const Calls restore = count(What::kRestore, [&] {
      if (!restore_all()) _exit(1);
      for (const Fd& fd : ours_) (void)internal::enter_repair(fd.get());
    });
    ASSERT_THAT(restore_all(), IsOk());

    constexpr double kSockets = kConnections;
    EXPECT_LE(dump.all() / kSockets, block ? budget.dump : budget.dump_without_block)
        << budget.way.name;
    // Each is put into repair mode once more, as the process ends.
    EXPECT_LE(restore.all() / kSockets - 1, budget.restore) << budget.way.name;
    // Far from it is as wrong as over it.
    EXPECT_GE(restore.all() / kSockets - 1, budget.restore / 3) << budget.way.name;
  }
}

}  // namespace
}  // namespace sockrepair::test

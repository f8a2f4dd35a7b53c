// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Memory that runs out, at each allocation in turn: sources are as they were, and nothing is left
// of what was to be made.

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "batch/scene.h"
#include "sockrepair/batch.h"
#include "sockrepair/bridge.h"
#include "sockrepair/sockrepair.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_socket.h"
#include "try.h"
#include "util/matchers.h"
#include "util/net_ns.h"

namespace {

// Allocations of this thread until one fails; negative: none does.
thread_local long allocations_left = -1;

}  // namespace

// Not inlined: gcc would see a free() of what came from new.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (allocations_left >= 0 && allocations_left-- == 0) throw std::bad_alloc();
  if (void* memory = malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  free(memory);
}

namespace sockrepair::test {
namespace {

// Calls function() with its first allocation failing, then with the second, and so on, until none
// does. `check` looks at what is there after each.
template <typename Function, typename Check>
void with_each_allocation_failing(Function function, Check check) {
  for (long n = 0;; ++n) {
    SCOPED_TRACE("allocation " + std::to_string(n));
    allocations_left = n;
    function();
    const bool failed = allocations_left < 0;
    allocations_left = -1;
    check();
    if (!failed || ::testing::Test::HasFailure()) return;
  }
}

std::size_t open_descriptors() {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), ::closedir);
  std::size_t count = 0;
  while (::readdir(directory.get()) != nullptr) ++count;
  return count;
}

// Two ends of a connection, with bytes that were not read.
class MemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
    ns_.emplace(std::move(ns));
    ASSERT_THAT(ns_->run([this] { return connect(); }), IsOk());
    if (has_io_uring()) ways_.push_back(0);
  }

  Result<void> connect() {
    const SocketAddress any({IpAddress::parse("127.0.0.1").value(), 0, 0}, AF_INET);
    SOCKREPAIR_TRY_ASSIGN(Fd listener, sys::socket(AF_INET, SOCK_STREAM, 0));
    SOCKREPAIR_TRY(sys::bind(listener.get(), any));
    SOCKREPAIR_TRY(sys::listen(listener.get(), 1));
    SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(listener.get()));
    SOCKREPAIR_TRY_ASSIGN(ends_[0], sys::socket(AF_INET, SOCK_STREAM, 0));
    SOCKREPAIR_TRY(sys::connect(ends_[0].get(), name));
    ends_[1] = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    for (const Fd& end : ends_)
      if (::send(end.get(), "text", 4, 0) != 4) return Error{errno, "send()"};
    return {};
  }

  // Ends it again if the last call was one that left it on.
  void expect_no_repair(bool failed) {
    for (const Fd& end : ends_) {
      if (failed) {
        EXPECT_THAT(sys::getsockopt<int>(end.get(), IPPROTO_TCP, TCP_REPAIR), IsOkAndHolds(0));
        EXPECT_THAT(sys::getsockopt<int>(end.get(), SOL_SOCKET, SO_REUSEADDR), IsOkAndHolds(0));
      } else {
        ASSERT_THAT(sys::setsockopt(end.get(), IPPROTO_TCP, TCP_REPAIR, int{TCP_REPAIR_OFF_NO_WP}),
                    IsOk());
      }
    }
  }

  // A value of the first end, which is gone then.
  TcpSocket take() {
    TcpSocket socket = dump_tcp_socket(ends_[0], {.leave_in_repair = true}).value();
    ends_[0].reset();
    return socket;
  }

  // Neither of the end of the connection, nor of anything else.
  void expect_peer_knows_nothing() {
    pollfd peer{ends_[1].get(), POLLRDHUP, 0};
    EXPECT_EQ(::poll(&peer, 1, 0), 0) << "events " << peer.revents;
  }

  std::optional<NetNs> ns_;
  std::array<Fd, 2> ends_;
  std::vector<std::size_t> ways_ = {SIZE_MAX};  // BatchOptions::io_uring_from
};

TEST_F(MemoryTest, DumpLeavesTheSourceAsItWas) {
  const std::size_t before = open_descriptors();
  std::optional<Result<TcpSocket>> dumped;
  with_each_allocation_failing(
      [&] { dumped.emplace(dump_tcp_socket(ends_[0], {.leave_in_repair = true})); },
      [&] {
        expect_no_repair(!dumped->ok());
        EXPECT_EQ(open_descriptors(), before);
      });
}

TEST_F(MemoryTest, DumpOfManyLeavesThemAsTheyWere) {
  const int fds[] = {ends_[0].get(), ends_[1].get()};
  const DumpSink sink = [](std::size_t, const Result<AnySocket>&) { return Result<void>(); };
  for (std::size_t way : ways_) {
    DumpBatchOptions options;
    options.tcp.leave_in_repair = true;
    options.on_failure = OnFailure::kNone;
    options.in_flight = 2;
    options.io_uring_from = way;
    const std::size_t before = open_descriptors();
    std::optional<Result<BatchReport>> dumped;
    with_each_allocation_failing([&] { dumped.emplace(dump_sockets(fds, options, sink)); },
                                 [&] {
                                   expect_no_repair(!dumped->ok());
                                   EXPECT_EQ(open_descriptors(), before);
                                 });
  }
}

TEST_F(MemoryTest, DumpFromCLeavesTheSourceAsItWas) {
  sockrepair_tcp_dump_options options{};
  options.size = sizeof(options);
  options.flags = SOCKREPAIR_TCP_DUMP_LEAVE_IN_REPAIR;
  int code = 0;
  sockrepair_tcp* socket = nullptr;
  sockrepair_error* error = nullptr;
  with_each_allocation_failing(
      [&] { code = sockrepair_tcp_dump(ends_[0].get(), &options, &socket, &error); },
      [&] {
        EXPECT_EQ(socket != nullptr, code == 0);
        expect_no_repair(code != 0);
        sockrepair_tcp_free(socket);
        sockrepair_error_free(error);
      });
}

TEST_F(MemoryTest, RestoreTellsThePeerNothing) {
  const TcpSocket socket = take();
  const std::size_t before = open_descriptors();
  std::optional<Result<RestoredTcpSocket>> restored;
  with_each_allocation_failing(
      [&] { restored.emplace(ns_->run([&] { return restore_tcp_socket(socket); })); },
      [&] {
        if (restored->ok()) close_silently(std::move((*restored)->fd));
        EXPECT_EQ(open_descriptors(), before);
        expect_peer_knows_nothing();
      });
}

TEST_F(MemoryTest, RestoreOfManyTellsThePeerNothing) {
  const std::vector<AnySocket> sockets = {take()};
  for (std::size_t way : ways_) {
    RestoreBatchOptions options;
    options.on_failure = OnFailure::kNone;
    options.in_flight = 2;
    options.io_uring_from = way;
    Fd got;
    const RestoreSink sink = [&](std::size_t, Result<RestoredTcpSocket> made) {
      if (made) got = std::move(made->fd);
      return Result<void>();
    };
    const std::size_t before = open_descriptors();
    with_each_allocation_failing(
        [&] {
          (void)ns_->run(
              [&] { return restore_sockets(std::span<const AnySocket>(sockets), options, sink); });
        },
        [&] {
          close_silently(std::move(got));
          EXPECT_EQ(open_descriptors(), before);
          expect_peer_knows_nothing();
        });
  }
}

TEST_F(MemoryTest, RestoreFromCTellsThePeerNothing) {
  std::unique_ptr<sockrepair_tcp, decltype(&sockrepair_tcp_free)> socket(to_c(take()),
                                                                         &sockrepair_tcp_free);
  int fd = -1;
  sockrepair_losses* losses = nullptr;
  sockrepair_error* error = nullptr;
  with_each_allocation_failing(
      [&] {
        ns_->run([&] { sockrepair_tcp_restore(socket.get(), nullptr, &fd, &losses, &error); });
      },
      [&] {
        sockrepair_tcp_close_silently(fd);
        sockrepair_losses_free(losses);
        sockrepair_error_free(error);
        expect_peer_knows_nothing();
      });
}

}  // namespace
}  // namespace sockrepair::test

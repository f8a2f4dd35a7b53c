// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Many sockets in one call: what comes out is what comes out one by one, by io_uring and without;
// and who fails, fails alone or with all others, as was asked for.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "batch/scene.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class BatchTest : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (GetParam().io_uring && !has_io_uring())
      GTEST_SKIP() << "this kernel has no io_uring that sets options of sockets";
    Result<Scene> scene = Scene::create();
    ASSERT_THAT(scene, IsOk());
    scene_.emplace(*std::move(scene));
  }

  DumpBatchOptions dump_options() const {
    DumpBatchOptions options;
    options.io_uring_from = GetParam().io_uring ? 0 : SIZE_MAX;
    options.tcp.leave_in_repair = true;
    return options;
  }
  RestoreBatchOptions restore_options(OnFailure on_failure = OnFailure::kKeepRest) const {
    RestoreBatchOptions options;
    options.io_uring_from = GetParam().io_uring ? 0 : SIZE_MAX;
    options.on_failure = on_failure;
    return options;
  }

  // What the sink got.
  struct Got {
    std::vector<std::size_t> made;
    std::vector<std::pair<std::size_t, Error>> failed;
  };
  Result<BatchReport> restore(const std::vector<AnySocket>& values,
                              const RestoreBatchOptions& options, Got& got) {
    return scene_->ns().run([&] {
      return restore_sockets(values, options, [&](std::size_t index, auto made) -> Result<void> {
        if (made) {
          got.made.push_back(index);
          scene_->ours()[index] = std::move(made->fd);
        } else {
          got.failed.emplace_back(index, made.error());
        }
        return {};
      });
    });
  }

  std::optional<Scene> scene_;
};

// --- the same as one by one ---

TEST_P(BatchTest, DumpsTheSameValues) {
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> want, scene_->dump(kOneByOne, false));
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> got, scene_->dump(GetParam(), false));
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_EQ(difference(got[i], want[i]), "") << scene_->name(i);
  EXPECT_THAT(scene_->check_alive(), IsOk());
}

TEST_P(BatchTest, RestoresTheSameSockets) {
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> values, scene_->dump(kOneByOne));
  scene_->close();
  ASSERT_THAT(scene_->restore(kOneByOne, values), IsOk());
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> want, scene_->dump(kOneByOne));
  scene_->close();
  ASSERT_THAT(scene_->restore(GetParam(), values), IsOk());
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> got, scene_->dump(kOneByOne, false));
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_EQ(difference(got[i], want[i]), "") << scene_->name(i);
  EXPECT_THAT(scene_->check_alive(), IsOk());
}

// --- failures ---

// What makes a socket one that cannot be restored.
struct Obstacle {
  const char* socket;
  int code;
  const char* told;  // what the error names
  void (*put)(AnySocket& socket);
};

template <typename T>
void set_option(AnySocket& socket, int level, int name, const T& value) {
  auto set = [&](auto& one) {
    std::erase_if(one.options, [&](const OptionValue& option) {
      return option.level == level && option.name == name;
    });
    one.options.push_back({level, name, OptionValue::Bytes(value.begin(), value.end())});
  };
  std::visit(set, socket);
}

TcpSocket& tcp(AnySocket& socket) {
  return std::get<TcpSocket>(socket);
}

const Obstacle kObstacles[] = {
    {"v4 accepted 1", EADDRNOTAVAIL, "local: 192.0.2.77",
     [](AnySocket& socket) { tcp(socket).local->address = *IpAddress::parse("192.0.2.77"); }},
    {"v6 accepted 2", EADDRNOTAVAIL, "local: [2001:db8::77]",
     [](AnySocket& socket) { tcp(socket).local->address = *IpAddress::parse("2001:db8::77"); }},
    {"v4 opened 1", ENOENT, "TCP_CONGESTION: nosuch",
     [](AnySocket& socket) {
       set_option(socket, IPPROTO_TCP, TCP_CONGESTION, std::string("nosuch"));
     }},
    {"v6 opened 2", EINVAL, "TCP_NODELAY: 2 bytes",
     [](AnySocket& socket) { set_option(socket, IPPROTO_TCP, TCP_NODELAY, std::string("ab")); }},
    {"v4 opened 3", EINVAL, "control_block: missing, must be there in state CLOSING",
     [](AnySocket& socket) {
       tcp(socket).state = TcpState::kClosing;
       tcp(socket).connection->control_block.reset();
     }},
    {"v4 opened 0", EINVAL, "connection, mss_clamp: 1",
     [](AnySocket& socket) { tcp(socket).connection->mss_clamp = 1; }},
    {"v4 listener", ENODEV, "SO_BINDTOIFINDEX: interface 4711",
     [](AnySocket& socket) {
       set_option(socket, SOL_SOCKET, SO_BINDTOIFINDEX, std::string("\x67\x12\0\0", 4));
     }},
    {"v6 udp connected", EAFNOSUPPORT, "domain: 1",
     [](AnySocket& socket) { std::get<UdpSocket>(socket).domain = AF_UNIX; }},
};

Error error_alone(const AnySocket& socket) {
  const auto* udp = std::get_if<UdpSocket>(&socket);
  if (udp != nullptr) return restore_udp_socket(*udp).error();
  return restore_tcp_socket(std::get<TcpSocket>(socket)).error();
}

TEST_P(BatchTest, TellsEachFailureAsAloneAndKeepsTheRest) {
  ASSERT_OK_AND_ASSIGN(std::vector<AnySocket> values, scene_->dump(kOneByOne));
  const std::vector<AnySocket> good = values;
  scene_->close();
  for (const Obstacle& obstacle : kObstacles) obstacle.put(values[scene_->find(obstacle.socket)]);
  Got got;
  ASSERT_OK_AND_ASSIGN(BatchReport report, restore(values, restore_options(), got));
  EXPECT_EQ(report.failed, std::size(kObstacles));
  EXPECT_EQ(report.sockets, values.size() - std::size(kObstacles));
  EXPECT_EQ(got.failed.size(), std::size(kObstacles));
  EXPECT_EQ(got.made.size(), report.sockets);
  for (const Obstacle& obstacle : kObstacles) {
    const std::size_t index = scene_->find(obstacle.socket);
    const auto it = std::find_if(got.failed.begin(), got.failed.end(),
                                 [&](const auto& one) { return one.first == index; });
    ASSERT_NE(it, got.failed.end()) << obstacle.socket;
    EXPECT_EQ(it->second.code, obstacle.code) << it->second.describe();
    EXPECT_THAT(it->second.what, HasSubstr(obstacle.told));
    EXPECT_EQ(it->second, scene_->ns().run([&] { return error_alone(values[index]); }));
    EXPECT_FALSE(scene_->ours()[index]) << obstacle.socket;
  }
  // Those that were left out are not in the way of anything either.
  std::vector<AnySocket> rest;
  std::vector<std::size_t> indices;
  for (const Obstacle& obstacle : kObstacles) {
    indices.push_back(scene_->find(obstacle.socket));
    rest.push_back(good[indices.back()]);
  }
  ASSERT_THAT(scene_->ns().run([&] {
    return restore_sockets(rest, restore_options(), [&](std::size_t i, auto made) -> Result<void> {
      if (!made) return made.error();
      scene_->ours()[indices[i]] = std::move(made->fd);
      return {};
    });
  }),
              IsOk());
  EXPECT_THAT(scene_->check_alive(), IsOk());
}

// Whatever is there when the first one fails.
TEST_P(BatchTest, RestoresNoneIfOneFails) {
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> values, scene_->dump(kOneByOne));
  scene_->close();
  ASSERT_OK_AND_ASSIGN(const std::uint64_t sent, scene_->segments_sent());
  // Of the first ones that are made, the last ones, and in between.
  for (const char* name : {"v6 udp connected", "v4 listener", "v4 accepted 1"}) {
    const Obstacle& obstacle =
        *std::find_if(std::begin(kObstacles), std::end(kObstacles),
                      [&](const Obstacle& one) { return std::string(one.socket) == name; });
    std::vector<AnySocket> damaged = values;
    const std::size_t index = scene_->find(obstacle.socket);
    obstacle.put(damaged[index]);
    Got got;
    EXPECT_THAT(restore(damaged, restore_options(OnFailure::kNone), got),
                FailsWith(obstacle.code, AllOf(StartsWith("socket " + std::to_string(index) + ": "),
                                               HasSubstr(obstacle.told))));
    EXPECT_THAT(got.made, IsEmpty());
    ASSERT_EQ(got.failed.size(), 1u);
    EXPECT_EQ(got.failed[0].first, index);
    // Nobody was told.
    EXPECT_THAT(scene_->segments_sent(), IsOkAndHolds(sent)) << obstacle.socket;
  }
  Got got;
  ASSERT_THAT(restore(values, restore_options(OnFailure::kNone), got), IsOk());
  EXPECT_THAT(got.failed, IsEmpty());
  EXPECT_THAT(scene_->check_alive(), IsOk());
}

TEST_P(BatchTest, SaysWhenAllAreMadeAndStopsThere) {
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> values, scene_->dump(kOneByOne));
  scene_->close();
  ASSERT_OK_AND_ASSIGN(const std::uint64_t sent, scene_->segments_sent());
  Got got;
  RestoreBatchOptions options = restore_options();
  std::size_t done = 0;
  options.progress = [&](std::size_t so_far) -> Result<void> {
    EXPECT_EQ(so_far, ++done);
    return {};
  };
  options.all_made = [&]() -> Result<void> {
    EXPECT_EQ(done, values.size());
    return Error{ECANCELED, "all are there"};
  };
  EXPECT_THAT(restore(values, options, got), FailsWith(ECANCELED, "all are there"));
  EXPECT_THAT(got.made, IsEmpty());
  EXPECT_THAT(scene_->segments_sent(), IsOkAndHolds(sent));

  done = 0;
  options.all_made = [] { return Result<void>(); };
  ASSERT_THAT(restore(values, options, got), IsOk());
  EXPECT_EQ(got.made.size(), values.size());
  EXPECT_THAT(scene_->check_alive(), IsOk());
}

TEST_P(BatchTest, CallbacksEndIt) {
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> values, scene_->dump(kOneByOne));
  scene_->close();
  ASSERT_OK_AND_ASSIGN(const std::uint64_t sent, scene_->segments_sent());
  RestoreBatchOptions options = restore_options();
  options.in_flight = 2;
  std::size_t last = 0;
  options.progress = [&](std::size_t so_far) -> Result<void> {
    last = so_far;
    if (so_far == 3) return Error{EINTR, "enough"};
    return {};
  };
  Got got;
  EXPECT_THAT(restore(values, options, got), FailsWith(EINTR, "enough"));
  EXPECT_THAT(got.made, IsEmpty());
  EXPECT_LE(last, 3 + options.in_flight);
  EXPECT_THAT(scene_->segments_sent(), IsOkAndHolds(sent));
  EXPECT_THAT(scene_->restore(GetParam(), values), IsOk());

  std::size_t calls = 0;
  EXPECT_THAT(dump_sockets(scene_->fds(), dump_options(),
                           [&](std::size_t, const Result<AnySocket>&) -> Result<void> {
                             return ++calls == 3 ? Error{ENOSPC, "full"} : Result<void>();
                           }),
              FailsWith(ENOSPC, "full"));
  // None was left in repair mode.
  EXPECT_THAT(scene_->check_alive(), IsOk());
}

TEST_P(BatchTest, DumpsNoneOrTheRestIfOneFails) {
  ASSERT_OK_AND_ASSIGN(Fd other, sys::socket(AF_UNIX, SOCK_STREAM, 0));
  std::vector<int> fds = scene_->fds();
  fds.insert(fds.begin() + 20, other.get());
  DumpBatchOptions options = dump_options();
  std::vector<std::size_t> failed;
  std::size_t next = 0;
  const DumpSink sink = [&](std::size_t index, const Result<AnySocket>& socket) -> Result<void> {
    EXPECT_EQ(index, next++);
    if (!socket) {
      failed.push_back(index);
      EXPECT_EQ(socket.error(), dump_tcp_socket(other).error());
    }
    return {};
  };
  ASSERT_OK_AND_ASSIGN(BatchReport report, dump_sockets(fds, options, sink));
  EXPECT_EQ(report.failed, 1u);
  EXPECT_EQ(report.sockets, fds.size() - 1);
  EXPECT_THAT(failed, ElementsAre(20));
  const auto in_repair = [&] {
    std::size_t count = 0;
    for (int fd : fds) {
      Result<int> repair = sys::getsockopt<int>(fd, IPPROTO_TCP, TCP_REPAIR);
      count += repair && *repair != 0 ? 1 : 0;
    }
    return count;
  };
  EXPECT_EQ(in_repair(), 16u);  // all connections
  for (int fd : fds) (void)sys::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);

  options.on_failure = OnFailure::kNone;
  next = 0;
  EXPECT_THAT(dump_sockets(fds, options, sink),
              FailsWith(EPROTONOSUPPORT, StartsWith("socket 20: ")));
  EXPECT_THAT(failed, ElementsAre(20, 20));
  EXPECT_EQ(in_repair(), 0u);
  EXPECT_THAT(scene_->check_alive(), IsOk());
}

TEST_P(BatchTest, RefusesWhatIsOutOfBounds) {
  Got got;
  RestoreBatchOptions options = restore_options();
  for (unsigned in_flight : {0u, BatchOptions::kInFlightMax + 1}) {
    options.in_flight = in_flight;
    EXPECT_THAT(restore({}, options, got), FailsWith(EINVAL, HasSubstr("must be 1 to 1024")));
  }
  DumpBatchOptions dump = dump_options();
  dump.in_flight = 0;
  EXPECT_THAT(dump_sockets(scene_->fds(), dump, nullptr),
              FailsWith(EINVAL, HasSubstr("must be 1 to 1024")));
  options.in_flight = 1;
  ASSERT_OK_AND_ASSIGN(BatchReport report, restore({}, options, got));
  EXPECT_EQ(report.sockets, 0u);
}

// --- memory ---

// Gives values, and sees how many of them are not done with.
class CountingSource : public SocketSource {
 public:
  explicit CountingSource(std::vector<AnySocket> values) : values_(std::move(values)) {}

  Result<std::optional<AnySocket>> next() override {
    if (at_ == values_.size()) return std::optional<AnySocket>();
    ++at_;
    // The first time it is only looked through.
    if (passes_ > 1) most_ = std::max(most_, at_ - done_);
    return std::optional(values_[at_ - 1]);
  }
  Result<void> rewind() override {
    ++passes_;
    at_ = 0;
    return {};
  }
  void done() { ++done_; }
  std::size_t most() const { return most_; }

 private:
  std::vector<AnySocket> values_;
  std::size_t at_ = 0;
  std::size_t done_ = 0;
  std::size_t most_ = 0;
  int passes_ = 0;
};

TEST_P(BatchTest, HoldsAFewValuesAtATime) {
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> values, scene_->dump(kOneByOne));
  scene_->close();
  std::vector<AnySocket> connections;
  for (const AnySocket& value : values) {
    const auto* tcp_value = std::get_if<TcpSocket>(&value);
    if (tcp_value != nullptr && tcp_value->connection) connections.push_back(value);
  }
  RestoreBatchOptions options = restore_options();
  options.in_flight = 4;
  CountingSource source(connections);
  options.progress = [&](std::size_t) -> Result<void> {
    source.done();
    return {};
  };
  std::vector<Fd> made;
  ASSERT_OK_AND_ASSIGN(BatchReport report, scene_->ns().run([&] {
    return restore_sockets(source, options, [&](std::size_t, auto one) -> Result<void> {
      if (!one) return one.error();
      made.push_back(std::move(one->fd));
      return {};
    });
  }));
  EXPECT_EQ(report.sockets, connections.size());
  EXPECT_LE(source.most(), options.in_flight + 1);
  EXPECT_GE(source.most(), GetParam().io_uring ? options.in_flight : 1u);
  for (Fd& fd : made) close_silently(std::move(fd));
}

// --- without io_uring ---

// From here on, io_uring_setup(2) of the calling thread fails with EPERM.
Result<void> forbid_io_uring() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(filter), filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    return Error{errno, "PR_SET_SECCOMP"};
  return {};
}

TEST(BatchWithoutRingTest, DoesTheSameAndSaysWhy) {
  Result<Scene> made = Scene::create();
  ASSERT_THAT(made, IsOk());
  Scene& scene = *made;
  Result<BatchReport> report = Error{EPROTO, "not run"};
  std::size_t values = 0;
  std::thread([&] {
    Result<void> forbidden = forbid_io_uring();
    if (!forbidden) {
      report = forbidden.error();
      return;
    }
    DumpBatchOptions options;
    options.io_uring_from = 0;
    report = dump_sockets(scene.fds(), options, [&](std::size_t, const Result<AnySocket>& socket) {
      values += socket ? 1 : 0;
      return Result<void>();
    });
  }).join();
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(values, scene.size());
  EXPECT_EQ(report->carried, 0u);
  ASSERT_TRUE(report->no_io_uring.has_value());
  EXPECT_EQ(report->no_io_uring->code, EPERM) << report->no_io_uring->describe();
}

INSTANTIATE_TEST_SUITE_P(All, BatchTest, ::testing::Values(kPlain, kIoUring), ParamName());

}  // namespace
}  // namespace sockrepair::test

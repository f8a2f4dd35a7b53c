// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What it takes to move established TCP connections: by the library, with TCP_REPAIR_CB and
// without, and by the calls that TCP_REPAIR takes one value at a time (plain_repair.h). And what a
// lock on as many connections takes. For `make bench-tcp`.
//
//   bench_tcp begin
//   system calls of one connection, nothing in its queues ...
//   ...
//   bench_tcp json {"calls": [...], "batch_calls": [...], "memory": [...], "times": [...],
//                   "locks": [...]}
//   bench_tcp end
//
// The library moves a whole socket: its options, how it came to its name, what it would lose. The
// other way moves nothing of that. So calls are counted by what they are for, and the connection
// alone is measured as well: the library's calls for it, and no others. The library moves sockets
// one by one, and all in a batch, with io_uring and without.
//
// Times are medians over rounds in which each way moves the same sockets once; in the end all bytes
// have to be there at both ends. Needs root.

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/tcp_repair.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plain_repair.h"
#include "sockrepair/batch.h"
#include "sockrepair/connection_lock.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_socket.h"
#include "tcp_repair_calls.h"
#include "trace.h"
#include "uapi.h"
#include "util/net_ns.h"

namespace sockrepair {
namespace {

using bench::fail;
using bench::median;
using bench::microseconds;
using bench::PlainConnection;
using bench::SystemCall;
using bench::trace;
using nlohmann::json;

constexpr std::uint16_t kPort = 7000;
constexpr std::size_t kQueue = 64 << 10;
constexpr int kPatienceMs = 60000;
constexpr int kDumpGoal = 4;
constexpr int kRestoreGoal = 7;
constexpr double kTimeGoal = 1.0 / 3;

template <typename T>
T must(Result<T> result) {
  if (!result) fail(result.error().describe());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

struct Load {
  std::size_t sockets;
  std::size_t bytes;  // in each queue of each
  int rounds;
};

// 10,000 sockets with full queues are more memory than the guest has.
constexpr Load kLoads[] = {
    {1, 0, 41},      {10, 0, 21},     {100, 0, 9},      {1000, 0, 3},      {10000, 0, 1},
    {1, kQueue, 21}, {10, kQueue, 9}, {100, kQueue, 3}, {1000, kQueue, 1},
};
constexpr std::size_t kLocks[] = {1, 10, 100, 1000, 10000};
constexpr std::size_t kBatches[] = {1, 10, 100, 1000};
constexpr std::size_t kMemoryOf[] = {100, 1000, 10000};

// --- connections ---

char byte_at(std::size_t connection, std::size_t position) {
  return static_cast<char>(connection * 31 + position * 7 + position / 251);
}

std::vector<char> bytes_of(std::size_t connection, std::size_t size) {
  std::vector<char> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = byte_at(connection, i);
  return bytes;
}

struct Pair {
  Fd ours;
  Fd peers;
  FourTuple tuple;  // of ours
};

FourTuple swapped(const FourTuple& tuple) {
  return {tuple.peer, tuple.local};
}

std::vector<Pair> connect_all(std::size_t count) {
  IpAddress loopback = must(IpAddress::parse("127.0.0.1"));
  SocketAddress to({loopback, kPort, 0}, AF_INET);
  Fd listener = must(sys::socket(AF_INET, SOCK_STREAM, 0));
  must(sys::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, 1));
  must(sys::bind(listener.get(), to));
  if (::listen(listener.get(), 16) != 0) fail("listen(): " + errno_text(errno));
  std::vector<Pair> all;
  for (std::size_t i = 0; i < count; ++i) {
    Pair pair;
    pair.peers = must(sys::socket(AF_INET, SOCK_STREAM, 0));
    must(sys::connect(pair.peers.get(), to));
    pair.ours = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!pair.ours) fail("accept4(): " + errno_text(errno));
    pair.tuple = {must(must(sys::getsockname(pair.ours.get())).endpoint()),
                  must(must(sys::getpeername(pair.ours.get())).endpoint())};
    all.push_back(std::move(pair));
  }
  return all;
}

void send_all(const Fd& fd, const std::vector<char>& bytes) {
  if (::send(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) !=
      static_cast<ssize_t>(bytes.size()))
    fail("send(): " + errno_text(errno));
}

void receive_all(const Fd& fd, const std::vector<char>& expected) {
  std::vector<char> got(expected.size());
  for (std::size_t size = 0; size < got.size();) {
    pollfd waiting{fd.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kPatienceMs) != 1) fail("bytes of a connection did not arrive");
    ssize_t more = ::recv(fd.get(), got.data() + size, got.size() - size, MSG_DONTWAIT);
    if (more <= 0) fail("recv(): " + errno_text(errno));
    size += static_cast<std::size_t>(more);
  }
  if (got != expected) fail("a connection has other bytes than were sent");
}

// What is received stays in our sockets; what they send is lost at the peers' door, so that it
// stays in theirs, sent and not acknowledged. Gives the lock that does this.
ConnectionLock fill_queues(const std::vector<Pair>& pairs, std::size_t bytes) {
  for (std::size_t i = 0; i < pairs.size() && bytes != 0; ++i)
    send_all(pairs[i].peers, bytes_of(i, bytes));
  std::vector<FourTuple> tuples;
  for (const Pair& pair : pairs) tuples.push_back(swapped(pair.tuple));
  ConnectionLock lock = must(ConnectionLock::create());
  must(lock.add(tuples));
  for (std::size_t i = 0; i < pairs.size() && bytes != 0; ++i)
    send_all(pairs[i].ours, bytes_of(i + 1, bytes));
  return lock;
}

// --- ways to move them ---

// A way to move sockets, with what it has dumped.
class Way {
 public:
  virtual ~Way() = default;
  virtual const char* name() const = 0;
  // Before the first of many.
  virtual void begin(const std::vector<Pair>&) {}
  // In repair mode afterwards.
  virtual void dump(const Pair& pair) = 0;
  // The next of those that were dumped, in repair mode.
  virtual Fd restore(std::size_t index) = 0;
  virtual void resume(const Fd& fd, std::size_t index) = 0;
  virtual void forget() = 0;

  // All of them; repair mode ends with the restore.
  virtual void dump_all(const std::vector<Pair>& pairs) {
    begin(pairs);
    for (const Pair& pair : pairs) dump(pair);
  }
  virtual void restore_all(std::vector<Pair>& pairs) {
    for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i].ours = restore(i);
    for (std::size_t i = 0; i < pairs.size(); ++i) resume(pairs[i].ours, i);
  }
};

// The library, and its value.
class Library : public Way {
 public:
  explicit Library(bool control_block) : control_block_(control_block) {}
  const char* name() const override {
    return control_block_ ? "library, TCP_REPAIR_CB" : "library, plain";
  }
  void begin(const std::vector<Pair>& pairs) override {
    // Dearer than a look for one or two.
    if (pairs.size() > 2) survey_ = must(TcpSurvey::take(pairs[0].ours.get()));
  }
  void dump(const Pair& pair) override {
    TcpDumpOptions options;
    options.leave_in_repair = true;
    options.control_block = control_block_;
    options.survey = survey_ ? &*survey_ : nullptr;
    dumped_.push_back(must(dump_tcp_socket(pair.ours, options)));
  }
  Fd restore(std::size_t index) override {
    return must(restore_tcp_socket(dumped_[index], restore_options())).fd;
  }
  void resume(const Fd& fd, std::size_t index) override {
    must(resume_tcp_socket(fd, dumped_[index], restore_options()));
  }
  void forget() override {
    dumped_.clear();
    dumped_.shrink_to_fit();
    survey_.reset();
  }

 private:
  TcpRestoreOptions restore_options() const {
    TcpRestoreOptions options;
    options.control_block = control_block_;
    options.segments_dropped = true;
    options.keep_repair = true;
    options.congestion = TcpCongestion::kWhole;
    return options;
  }

  bool control_block_;
  std::optional<TcpSurvey> survey_;
  std::vector<TcpSocket> dumped_;
};

// The library again, all sockets in one call.
class LibraryBatch : public Way {
 public:
  explicit LibraryBatch(bool io_uring) : io_uring_(io_uring) {}
  const char* name() const override {
    return io_uring_ ? "library, batch, io_uring" : "library, batch";
  }
  void dump_all(const std::vector<Pair>& pairs) override {
    std::vector<int> fds;
    for (const Pair& pair : pairs) fds.push_back(pair.ours.get());
    DumpBatchOptions options;
    options.io_uring_from = io_uring_ ? 0 : SIZE_MAX;
    options.tcp.leave_in_repair = true;
    must(dump_sockets(fds, options, [&](std::size_t, Result<AnySocket> socket) {
      if (!socket) fail(socket.error().describe());
      dumped_.push_back(*std::move(socket));
      return Result<void>();
    }));
  }
  void restore_all(std::vector<Pair>& pairs) override {
    RestoreBatchOptions options;
    options.io_uring_from = io_uring_ ? 0 : SIZE_MAX;
    options.tcp.segments_dropped = true;
    options.tcp.congestion = TcpCongestion::kWhole;
    must(restore_sockets(dumped_, options, [&](std::size_t index, Result<RestoredTcpSocket> made) {
      if (!made) fail(made.error().describe());
      pairs[index].ours = std::move(made->fd);
      return Result<void>();
    }));
  }
  void dump(const Pair&) override { fail("not one by one"); }
  Fd restore(std::size_t) override { fail("not one by one"); }
  void resume(const Fd&, std::size_t) override { fail("not one by one"); }
  void forget() override {
    dumped_.clear();
    dumped_.shrink_to_fit();
  }

 private:
  bool io_uring_;
  std::vector<AnySocket> dumped_;
};

// The library's calls for the connection and no others: what TCP_REPAIR_CB makes of the way below.
class ConnectionAlone : public Way {
 public:
  const char* name() const override { return "connection alone, TCP_REPAIR_CB"; }
  void dump(const Pair& pair) override {
    Dumped dumped{pair.tuple, {}, {}, 0, {}, {}};
    const int fd = pair.ours.get();
    dumped.info = must(sys::getsockopt<tcp_info>(fd, IPPROTO_TCP, TCP_INFO));
    must(internal::enter_repair(fd));
    dumped.block = must(internal::read_control_block(fd));
    dumped.mss = must(sys::getsockopt<int>(fd, IPPROTO_TCP, TCP_MAXSEG));
    const internal::TcpExtent extent = internal::extent_of(dumped.block);
    if (extent.received() != 0)
      dumped.receive_queue = must(internal::peek_receive_queue(fd, extent.received(), -1)).bytes;
    if (extent.queued() != 0)
      dumped.send_queue = must(internal::peek_send_queue(fd, extent.queued()));
    // Reading can send an acknowledgment that was owed.
    if (extent.received() != 0) dumped.block = must(internal::read_control_block(fd));
    dumped_.push_back(std::move(dumped));
  }
  Fd restore(std::size_t index) override {
    const Dumped& dumped = dumped_[index];
    const internal::TcpExtent extent = internal::extent_of(dumped.block);
    Fd fd = must(sys::socket(AF_INET, SOCK_STREAM, 0));
    must(internal::enter_repair(fd.get()));
    must(sys::bind(fd.get(), SocketAddress(dumped.tuple.local, AF_INET)));
    must(internal::select_queue(fd.get(), TCP_RECV_QUEUE));
    must(internal::write_sequence(fd.get(), extent.copied_seq));
    must(internal::select_queue(fd.get(), TCP_SEND_QUEUE));
    must(internal::write_sequence(fd.get(), extent.snd_una));
    must(sys::connect(fd.get(), SocketAddress(dumped.tuple.peer, AF_INET)));
    // By the numbers that the options have in a SYN. The connection is one that Linux makes with
    // itself.
    const tcp_info& info = dumped.info;
    const tcp_repair_opt options[] = {
        {2, static_cast<__u32>(dumped.mss)},
        {3, info.tcpi_snd_wscale | std::uint32_t{info.tcpi_rcv_wscale} << 16},
        {4, 0},
        {8, 0}};
    must(
        sys::setsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_REPAIR_OPTIONS, options, sizeof(options)));
    must(internal::fill_send_queue(fd.get(), dumped.send_queue));
    if (!dumped.receive_queue.empty()) {
      must(internal::select_queue(fd.get(), TCP_RECV_QUEUE));
      must(internal::fill_receive_queue(fd.get(), dumped.receive_queue));
    }
    tcp_repair_cb block = dumped.block;
    block.flags = TCP_REPAIR_CB_CWND_WHOLE;
    block.pause = 0;
    must(sys::setsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_REPAIR_CB, &block, sizeof(block)));
    return fd;
  }
  void resume(const Fd& fd, std::size_t) override { must(internal::leave_repair(fd.get(), true)); }
  void forget() override {
    dumped_.clear();
    dumped_.shrink_to_fit();
  }

 private:
  struct Dumped {
    FourTuple tuple;
    tcp_info info;
    tcp_repair_cb block;
    int mss;
    internal::Bytes receive_queue;
    internal::Bytes send_queue;
  };
  std::vector<Dumped> dumped_;
};

// One value a call.
class Plain : public Way {
 public:
  const char* name() const override { return "connection alone, one value a call"; }
  void dump(const Pair& pair) override {
    PlainConnection& connection = dumped_.emplace_back();
    const SocketAddress local(pair.tuple.local, AF_INET);
    const SocketAddress peer(pair.tuple.peer, AF_INET);
    memcpy(&connection.local, local.get(), local.size());
    memcpy(&connection.peer, peer.get(), peer.size());
    connection.address_size = local.size();
    must(bench::plain_dump(pair.ours.get(), connection));
  }
  Fd restore(std::size_t index) override { return must(bench::plain_restore(dumped_[index])); }
  void resume(const Fd& fd, std::size_t) override { must(bench::plain_resume(fd.get())); }
  void forget() override {
    dumped_.clear();
    dumped_.shrink_to_fit();
  }

 private:
  std::vector<PlainConnection> dumped_;
};

bool has_control_block() {
  return internal::kernel_has_control_block(must(sys::socket(AF_INET, SOCK_STREAM, 0)).get());
}

// Those that the running kernel has; the first two are what the goals are about.
std::vector<std::unique_ptr<Way>> all_ways() {
  std::vector<std::unique_ptr<Way>> ways;
  ways.push_back(std::make_unique<Plain>());
  if (has_control_block()) {
    ways.push_back(std::make_unique<ConnectionAlone>());
    ways.push_back(std::make_unique<Library>(true));
  }
  ways.push_back(std::make_unique<Library>(false));
  return ways;
}

// The ways that take them all at once.
std::vector<std::unique_ptr<Way>> batch_ways() {
  std::vector<std::unique_ptr<Way>> ways;
  ways.push_back(std::make_unique<LibraryBatch>(false));
  ways.push_back(std::make_unique<LibraryBatch>(true));
  return ways;
}

// --- system calls ---

constexpr int kConnectionOptions[] = {
    TCP_REPAIR, TCP_REPAIR_QUEUE,  TCP_QUEUE_SEQ, TCP_REPAIR_OPTIONS, TCP_TIMESTAMP,
    TCP_MAXSEG, TCP_REPAIR_WINDOW, TCP_REPAIR_CB, TCP_INFO,
};

// Whether a call is about the state of the connection, and its names when it is made.
bool is_for_connection(const SystemCall& call) {
  switch (call.number) {
    case SYS_socket:
      return call.arguments[0] == AF_INET;
    case SYS_bind:
    case SYS_connect:
      return true;
    case SYS_ioctl:
      return call.arguments[1] == SIOCINQ || call.arguments[1] == SIOCOUTQ ||
             call.arguments[1] == SIOCOUTQNSD;
    case SYS_getsockopt:
    case SYS_setsockopt:
      return call.arguments[1] == IPPROTO_TCP &&
             std::find(std::begin(kConnectionOptions), std::end(kConnectionOptions),
                       static_cast<int>(call.arguments[2])) != std::end(kConnectionOptions);
    default:
      return false;
  }
}

constexpr int kQueueOptions[] = {TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ};

// Whether it is one of those that say where the queues begin and end, and so belong to them.
bool is_for_queues(const SystemCall& call) {
  return (call.number == SYS_getsockopt || call.number == SYS_setsockopt) &&
         call.arguments[1] == IPPROTO_TCP &&
         std::find(std::begin(kQueueOptions), std::end(kQueueOptions),
                   static_cast<int>(call.arguments[2])) != std::end(kQueueOptions);
}

struct Calls {
  int connection = 0;
  int queues = 0;  // of these
  int other = 0;
};

Calls count(const std::function<void()>& function) {
  Calls calls;
  for (const SystemCall& call : trace(function)) {
    ++(is_for_connection(call) ? calls.connection : calls.other);
    if (is_for_queues(call)) ++calls.queues;
  }
  return calls;
}

struct CallRow {
  std::string way;
  Calls dump;
  Calls restore;
};

// Restoring to the end of repair mode.
CallRow count_calls(Way& way, std::vector<Pair>& pairs) {
  Pair& pair = pairs[0];
  CallRow row;
  row.way = way.name();
  // Once before: what is asked of the kernel once in the life of a process is known then.
  auto move = [&] {
    way.dump(pair);
    pair.ours.reset();
    pair.ours = way.restore(0);
    way.resume(pair.ours, 0);
    way.forget();
  };
  move();
  row.dump = count([&] { way.dump(pair); });
  must(internal::leave_repair(pair.ours.get(), false));
  way.dump(pair);
  pair.ours.reset();
  row.restore = count([&] {
    Fd fd = way.restore(0);
    way.resume(fd, 0);
    // Ends in repair mode, as the process would otherwise close the connection.
    must(internal::enter_repair(fd.release()));
  });
  --row.restore.connection;  // the last one
  pair.ours = way.restore(0);
  way.resume(pair.ours, 0);
  way.forget();
  return row;
}

const char* verdict(bool met) {
  return met ? "met" : "MISSED";
}

json of_calls(const Calls& calls) {
  return {
      {"connection", calls.connection}, {"of_these_queues", calls.queues}, {"other", calls.other}};
}

// All calls, for whatever, of many sockets, by way of their number.
json compare_batch_calls() {
  printf("system calls a socket, of so many in one batch, all in all\n");
  printf("  %-36s %6s %10s %10s\n", "", "of", "dump", "restore");
  json rows = json::array();
  for (const auto& way : batch_ways()) {
    for (std::size_t sockets : kBatches) {
      std::vector<Pair> pairs = connect_all(sockets);
      const auto traced = [&](const std::function<void()>& function) {
        return static_cast<double>(trace(function).size()) / static_cast<double>(sockets);
      };
      const double dump = traced([&] { way->dump_all(pairs); });
      // That was another process, which has left them in repair mode.
      for (const Pair& pair : pairs) must(internal::leave_repair(pair.ours.get(), false));
      way->dump_all(pairs);
      for (Pair& pair : pairs) pair.ours.reset();
      const double restore = traced([&] {
                               way->restore_all(pairs);
                               for (Pair& pair : pairs)
                                 must(internal::enter_repair(pair.ours.get()));
                             }) -
                             1;
      way->restore_all(pairs);
      for (Pair& pair : pairs) {
        close_silently(std::move(pair.ours));
        close_silently(std::move(pair.peers));
      }
      way->forget();
      printf("  %-36s %6zu %10.1f %10.1f\n", way->name(), sockets, dump, restore);
      rows.push_back(
          {{"way", way->name()}, {"sockets", sockets}, {"dump", dump}, {"restore", restore}});
    }
  }
  return rows;
}

json compare_calls() {
  std::vector<Pair> pairs = connect_all(1);
  ConnectionLock peers = fill_queues(pairs, 0);
  ConnectionLock ours = must(ConnectionLock::create());
  must(ours.add({{pairs[0].tuple}}));
  printf("system calls of one connection, nothing in its queues (of these, for other things)\n");
  printf("  %-36s %12s %12s\n", "", "dump", "restore");
  json rows = json::array();
  for (const auto& way : all_ways()) {
    CallRow row = count_calls(*way, pairs);
    printf("  %-36s %6d (%3d) %6d (%3d)\n", row.way.c_str(), row.dump.connection + row.dump.other,
           row.dump.other, row.restore.connection + row.restore.other, row.restore.other);
    rows.push_back(
        {{"way", row.way}, {"dump", of_calls(row.dump)}, {"restore", of_calls(row.restore)}});
    if (row.way != ConnectionAlone().name()) continue;
    for (bool with_queues : {false, true}) {
      const int dump = row.dump.connection - (with_queues ? 0 : row.dump.queues);
      const int restore = row.restore.connection - (with_queues ? 0 : row.restore.queues);
      printf("  %-36s %6d %12d    goal of at most %d and %d: %s, %s\n",
             with_queues ? "  with its empty queues" : "  beside its queues", dump, restore,
             kDumpGoal, kRestoreGoal, verdict(dump <= kDumpGoal), verdict(restore <= kRestoreGoal));
    }
  }
  return rows;
}

// --- times ---

struct Times {
  std::vector<double> dump;     // microseconds a socket
  std::vector<double> restore;  // the same, to the end of repair mode
  std::size_t memory = 0;       // bytes of heap a socket, that the dumped value takes
};

std::size_t heap() {
  struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

void move_once(Way& way, std::vector<Pair>& pairs, Times& times) {
  const double count = static_cast<double>(pairs.size());
  const std::size_t before = heap();
  times.dump.push_back(microseconds([&] { way.dump_all(pairs); }) / count);
  times.memory = (heap() - before) / pairs.size();
  for (Pair& pair : pairs) pair.ours.reset();
  times.restore.push_back(microseconds([&] { way.restore_all(pairs); }) / count);
  way.forget();
}

json compare_times(const Load& load) {
  std::vector<Pair> pairs = connect_all(load.sockets);
  std::vector<std::unique_ptr<Way>> ways = all_ways();
  for (std::unique_ptr<Way>& way : batch_ways()) ways.push_back(std::move(way));
  std::vector<Times> times(ways.size());
  {
    ConnectionLock peers = fill_queues(pairs, load.bytes);
    std::vector<FourTuple> tuples;
    for (const Pair& pair : pairs) tuples.push_back(pair.tuple);
    ConnectionLock ours = must(ConnectionLock::create());
    must(ours.add(tuples));
    for (int round = 0; round < load.rounds; ++round)
      for (std::size_t i = 0; i < ways.size(); ++i) move_once(*ways[i], pairs, times[i]);
  }
  // All these ways later, the connections are what they were.
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (load.bytes == 0) send_all(pairs[i].peers, bytes_of(i, 1));
    receive_all(pairs[i].ours, bytes_of(i, std::max<std::size_t>(load.bytes, 1)));
    receive_all(pairs[i].peers, bytes_of(i + 1, load.bytes));
  }
  for (Pair& pair : pairs) {
    close_silently(std::move(pair.ours));
    close_silently(std::move(pair.peers));
  }

  printf(
      "%zu sockets with %zu KiB in each queue, microseconds a socket; bytes of memory a socket\n",
      load.sockets, load.bytes >> 10);
  printf("  %-36s %10s %10s %10s\n", "", "dump", "restore", "memory");
  json rows = json::array();
  for (std::size_t i = 0; i < ways.size(); ++i) {
    const double dump = median(times[i].dump);
    const double restore = median(times[i].restore);
    printf("  %-36s %10.1f %10.1f %10zu\n", ways[i]->name(), dump, restore, times[i].memory);
    rows.push_back({{"way", ways[i]->name()},
                    {"dump_us", dump},
                    {"restore_us", restore},
                    {"memory", times[i].memory}});
  }
  for (std::size_t i = 1; i < ways.size(); ++i) {
    const double of_dump = median(times[i].dump) / median(times[0].dump);
    const double of_restore = median(times[i].restore) / median(times[0].restore);
    printf("  %s, of the time of one value a call: %.2f, %.2f; goal of a third: %s, %s\n",
           ways[i]->name(), of_dump, of_restore, verdict(of_dump <= kTimeGoal),
           verdict(of_restore <= kTimeGoal));
  }
  return {
      {"sockets", load.sockets}, {"bytes", load.bytes}, {"rounds", load.rounds}, {"ways", rows}};
}

// --- memory ---

// A line of /proc/self/status, KiB.
std::size_t status_of(const std::string& name) {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line))
    if (line.rfind(name + ":", 0) == 0) return std::stoul(line.substr(name.size() + 1));
  fail("/proc/self/status has no " + name);
}

// What a batch takes beside the values, which nobody keeps here.
json measure_memory(std::size_t descriptors) {
  printf("memory of a dump in a batch whose values are not kept, KiB at most\n");
  printf("  %6s %10s %14s\n", "of", "memory", "bytes a socket");
  json rows = json::array();
  for (std::size_t sockets : kMemoryOf) {
    if (2 * sockets + 16 > descriptors) continue;
    std::vector<Pair> pairs = connect_all(sockets);
    std::vector<int> fds;
    for (const Pair& pair : pairs) fds.push_back(pair.ours.get());
    ::malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << "5\n";  // the peak begins anew
    const std::size_t before = status_of("VmRSS");
    must(dump_sockets(fds, {}, [](std::size_t, const Result<AnySocket>& socket) {
      if (!socket) fail(socket.error().describe());
      return Result<void>();
    }));
    const std::size_t peak = status_of("VmHWM");
    const std::size_t taken = peak > before ? peak - before : 0;
    printf("  %6zu %10zu %14zu\n", sockets, taken, (taken << 10) / sockets);
    rows.push_back({{"sockets", sockets}, {"peak_kib", taken}});
    for (Pair& pair : pairs) {
      close_silently(std::move(pair.ours));
      close_silently(std::move(pair.peers));
    }
  }
  return rows;
}

// --- locks ---

json measure_locks(Family family) {
  IpAddress address = must(IpAddress::parse(family == Family::kIpv4 ? "10.0.0.1" : "fd00::1"));
  constexpr int kRounds = 5;
  json rows = json::array();
  for (std::size_t count : kLocks) {
    std::vector<FourTuple> tuples;
    for (std::size_t i = 0; i < count; ++i)
      tuples.push_back({{address, 80, 0}, {address, static_cast<std::uint16_t>(1024 + i), 0}});
    std::vector<double> create, add, release;
    for (int round = 0; round < kRounds; ++round) {
      std::optional<ConnectionLock> lock;
      create.push_back(microseconds([&] { lock = must(ConnectionLock::create()); }));
      add.push_back(microseconds([&] { must(lock->add(tuples)); }));
      release.push_back(microseconds([&] { lock->release(); }));
    }
    const double all = median(create) + median(add) + median(release);
    const double each = all / static_cast<double>(count);
    printf("  %-4s %6zu %10.0f %10.0f %10.0f %12.2f\n", family_name(family), count, median(create),
           median(add), median(release), each);
    rows.push_back({{"family", family_name(family)},
                    {"connections", count},
                    {"create_us", median(create)},
                    {"add_us", median(add)},
                    {"release_us", median(release)}});
    if (count == 10000)
      printf("  goal of at most 100 microseconds a connection: %s\n", verdict(each <= 100));
  }
  return rows;
}

json measure_all_locks() {
  printf("locks, microseconds\n");
  printf("  %-4s %6s %10s %10s %10s %12s\n", "", "of", "create", "add", "release", "a connection");
  json rows = measure_locks(Family::kIpv4);
  for (json& row : measure_locks(Family::kIpv6)) rows.push_back(row);
  return rows;
}

// --- all ---

// Room for both ends of all connections, in descriptors and in the memory of TCP, which is one for
// all namespaces. Gives the number of descriptors.
std::size_t make_room() {
  rlimit limit{32768, 32768};
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) fail("getrlimit(): " + errno_text(errno));
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) fail("setrlimit(): " + errno_text(errno));
  }
  std::ofstream("/proc/sys/net/ipv4/tcp_mem") << "200000 300000 400000\n";
  return limit.rlim_cur;
}

int run(std::size_t descriptors) {
  printf("bench_tcp begin\n");
  if (!has_control_block()) printf("this kernel has no TCP_REPAIR_CB\n");
  json all;
  all["calls"] = compare_calls();
  all["batch_calls"] = compare_batch_calls();
  all["memory"] = measure_memory(descriptors);
  all["locks"] = measure_all_locks();
  for (const Load& load : kLoads) {
    if (2 * load.sockets + 16 > descriptors)
      printf("%zu sockets: not measured, RLIMIT_NOFILE is %zu\n", load.sockets, descriptors);
    else
      all["times"].push_back(compare_times(load));
  }
  printf("bench_tcp json %s\n", all.dump().c_str());
  printf("bench_tcp end\n");
  return 0;
}

}  // namespace
}  // namespace sockrepair

int main() {
  using namespace sockrepair;
  const std::size_t descriptors = make_room();
  test::NetNs ns = must(test::NetNs::create());
  return ns.run([&] { return run(descriptors); });
}

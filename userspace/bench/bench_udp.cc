// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What it takes to dump and restore the receive queue of a UDP socket, and the whole socket, by
// UDP_REPAIR_RECV_QUEUE and the way every kernel has, and how fast the kernel hands a long datagram
// out. For `make bench-udp`.
//
//   bench_udp begin
//   dump: 1 x 100 bytes, kernel: 4 system calls, 31.5 us
//   ...
//   bench_udp end
//
// Times are medians; the two things compared are measured in turn, so that what else the machine
// does hits both. System calls are counted by a tracer, memory management included. Needs root.

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "sockrepair/udp_receive_queue.h"
#include "sockrepair/udp_send_queue.h"
#include "sockrepair/udp_socket.h"
#include "trace.h"
#include "uapi.h"
#include "util/net_ns.h"

namespace sockrepair {
namespace {

using bench::fail;
using bench::median;
using bench::microseconds;
using bench::trace;

constexpr int kRepeats = 101;
constexpr int kReadRepeats = 501;
constexpr int kRoom = 16 << 20;
constexpr std::uint16_t kPort = 6000;
constexpr double kGoal = 0.9;

template <typename T>
T must(Result<T> result) {
  if (!result) fail(result.error().describe());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

struct Load {
  const char* name;
  std::size_t datagrams;
  std::size_t bytes;
};

constexpr Load kLoads[] = {
    {"1 x 100 bytes", 1, 100},
    {"16 x 1000 bytes", 16, 1000},
    {"256 x 200 bytes", 256, 200},
    {"1 x 65507 bytes", 1, 65507},
};

Endpoint here(std::uint16_t port) {
  return {IpAddress::parse("127.0.0.1").value(), port, 0};
}

Fd open_socket(std::uint16_t port) {
  Fd fd = must(sys::socket(AF_INET, SOCK_DGRAM, 0));
  must(sys::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, kRoom));
  must(sys::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, kRoom));
  must(sys::setsockopt(fd.get(), IPPROTO_IP, IP_PKTINFO, 1));
  must(sys::bind(fd.get(), SocketAddress(here(port), AF_INET)));
  return fd;
}

void fill(const Fd& fd, const Load& load) {
  Fd sender = open_socket(0);
  SocketAddress to(here(kPort), AF_INET);
  std::vector<std::uint8_t> payload(load.bytes, 'x');
  for (std::size_t i = 0; i < load.datagrams; ++i)
    if (::sendto(sender.get(), payload.data(), payload.size(), 0, to.get(), to.size()) < 0)
      fail("sendto(): " + errno_text(errno));
  ReceiveQueueDump dump = must(dump_receive_queue(fd, {.method = Method::kStock}));
  if (dump.queue.datagrams.size() != load.datagrams) fail("not all datagrams arrived");
}

// --- dump and restore ---

struct Cost {
  int calls;
  double time;
};

void print(const char* what, const Load& load, const Cost& kernel, const Cost& stock) {
  for (auto [name, cost] : {std::pair("kernel", kernel), std::pair("stock", stock)})
    printf("%s: %s, %s: %d system calls, %.1f us\n", what, load.name, name, cost.calls, cost.time);
  printf("%s: %s, stock to kernel: %.1f times the system calls, %.1f times the time\n", what,
         load.name, static_cast<double>(stock.calls) / kernel.calls, stock.time / kernel.time);
}

void compare_dumps(const Load& load) {
  Fd fd = open_socket(kPort);
  fill(fd, load);
  auto dump = [&](Method method) {
    ReceiveQueueDump result = must(dump_receive_queue(fd, {.method = method}));
    if (result.queue.datagrams.size() != load.datagrams) fail("the dump is not whole");
  };
  std::vector<double> times[2];
  for (int i = 0; i < kRepeats; ++i)
    for (Method method : {Method::kKernel, Method::kStock})
      times[static_cast<int>(method)].push_back(microseconds([&] { dump(method); }));
  Cost costs[2];
  for (Method method : {Method::kKernel, Method::kStock})
    costs[static_cast<int>(method)] = {static_cast<int>(trace([&] { dump(method); }).size()),
                                       median(times[static_cast<int>(method)])};
  print("dump", load, costs[0], costs[1]);
}

void compare_restores(const Load& load) {
  ReceiveQueue queue;
  {
    Fd fd = open_socket(kPort);
    fill(fd, load);
    queue = must(dump_receive_queue(fd, {.method = Method::kKernel})).queue;
  }
  auto restore = [&](const Fd& fd, Method method) {
    ReceiveQueueReport report = must(restore_receive_queue(fd, queue, {.method = method}));
    if (report.restored != load.datagrams) fail("not all was restored");
  };
  std::vector<double> times[2];
  for (int i = 0; i < kRepeats; ++i) {
    for (Method method : {Method::kKernel, Method::kStock}) {
      Fd fd = open_socket(kPort);
      times[static_cast<int>(method)].push_back(microseconds([&] { restore(fd, method); }));
    }
  }
  Cost costs[2];
  for (Method method : {Method::kKernel, Method::kStock}) {
    Fd fd = open_socket(kPort);
    costs[static_cast<int>(method)] = {static_cast<int>(trace([&] { restore(fd, method); }).size()),
                                       median(times[static_cast<int>(method)])};
  }
  print("restore", load, costs[0], costs[1]);
}

// --- whole sockets ---

// Options, addresses and both queues, as a checkpoint takes them.
void compare_sockets(const Load& load) {
  Fd fd = open_socket(kPort);
  fill(fd, load);
  auto dump = [&](Method method) {
    UdpDumpOptions options;
    options.receive.method = method;
    UdpSocket socket = must(dump_udp_socket(fd, options));
    if (socket.receive_queue.datagrams.size() != load.datagrams) fail("the dump is not whole");
    return socket;
  };
  std::vector<double> times[2];
  Cost costs[2];
  for (int i = 0; i < kRepeats; ++i)
    for (Method method : {Method::kKernel, Method::kStock})
      times[static_cast<int>(method)].push_back(microseconds([&] { dump(method); }));
  for (Method method : {Method::kKernel, Method::kStock})
    costs[static_cast<int>(method)] = {static_cast<int>(trace([&] { dump(method); }).size()),
                                       median(times[static_cast<int>(method)])};
  print("dump of a whole socket", load, costs[0], costs[1]);

  UdpSocket socket = dump(Method::kKernel);
  fd.reset();
  auto restore = [&](Method method) {
    UdpRestoreOptions options;
    options.receive.method = method;
    return must(restore_udp_socket(socket, options));
  };
  for (auto& samples : times) samples.clear();
  for (int i = 0; i < kRepeats; ++i) {
    for (Method method : {Method::kKernel, Method::kStock}) {
      // Its address is free again before the next one.
      std::optional<RestoredSocket> restored;
      times[static_cast<int>(method)].push_back(microseconds([&] { restored = restore(method); }));
    }
  }
  for (Method method : {Method::kKernel, Method::kStock})
    costs[static_cast<int>(method)] = {static_cast<int>(trace([&] { restore(method); }).size()),
                                       median(times[static_cast<int>(method)])};
  print("restore of a whole socket", load, costs[0], costs[1]);
}

// --- one long datagram ---

// True if the goal is met.
bool compare_reads() {
  constexpr Load kLong = {"1 x 65507 bytes", 1, 65507};
  constexpr std::size_t kBuffer = 80 * 1024;
  Fd fd = open_socket(kPort);
  fill(fd, kLong);
  must(set_udp_repair(fd, true));
  std::unique_ptr<std::uint8_t[]> buffer(new std::uint8_t[kBuffer]());

  auto peek = [&] {
    alignas(cmsghdr) std::uint8_t control[256];
    SocketAddress from;
    iovec part{buffer.get(), kBuffer};
    msghdr message{};
    message.msg_name = from.mutable_get();
    message.msg_namelen = from.size();
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    if (must(sys::recvmsg(fd.get(), message, MSG_PEEK | MSG_DONTWAIT)) != kLong.bytes)
      fail("recvmsg() read less than the datagram");
  };
  auto read = [&] {
    udp_repair_recv_queue header{};
    header.size = sizeof(header);
    header.entry_size = sizeof(udp_repair_datagram);
    memcpy(buffer.get(), &header, sizeof(header));
    socklen_t written = must(
        sys::getsockopt_bytes(fd.get(), SOL_UDP, UDP_REPAIR_RECV_QUEUE, buffer.get(), kBuffer));
    if (written < kLong.bytes) fail("the dump is shorter than the datagram");
  };
  auto dump = [&] { (void)must(dump_receive_queue(fd, {.method = Method::kKernel})); };

  std::vector<double> peeks, reads, dumps;
  for (int i = 0; i < kReadRepeats; ++i) {
    peeks.push_back(microseconds(peek));
    reads.push_back(microseconds(read));
    dumps.push_back(microseconds(dump));
  }
  double speed = median(peeks) / median(reads);
  printf("read: %s, recvmsg(MSG_PEEK): %.1f us\n", kLong.name, median(peeks));
  printf(
      "read: %s, getsockopt(UDP_REPAIR_RECV_QUEUE): %.1f us, %.2f of the speed of recvmsg(), "
      "goal %.1f %s\n",
      kLong.name, median(reads), speed, kGoal, speed >= kGoal ? "met" : "MISSED");
  printf(
      "read: %s, dump_receive_queue(), a value with a copy of its own: %.1f us, %.2f of the "
      "speed of recvmsg()\n",
      kLong.name, median(dumps), median(peeks) / median(dumps));
  return speed >= kGoal;
}

int run() {
  printf("bench_udp begin\n");
  for (const Load& load : kLoads) compare_dumps(load);
  for (const Load& load : kLoads) compare_restores(load);
  compare_sockets(kLoads[1]);
  bool met = compare_reads();
  printf("bench_udp end\n");
  return met ? 0 : 1;
}

}  // namespace
}  // namespace sockrepair

int main() {
  using namespace sockrepair;
  test::NetNs ns = must(test::NetNs::create());
  return ns.run(run);
}

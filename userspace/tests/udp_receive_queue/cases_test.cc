// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What the matrix does not say: the socket afterwards, arrivals meanwhile, other sockets on the
// port, what gets lost and is told.

#include <errno.h>
#include <gmock/gmock.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>

#include <algorithm>
#include <map>

#include "peeker.h"
#include "sockrepair/syscall.h"
#include "sockrepair/udp_send_queue.h"
#include "try.h"
#include "uapi.h"
#include "udp_receive_queue/program.h"
#include "util/deadline.h"
#include "util/matchers.h"
#include "util/param_name.h"
#include "util/privileges.h"

namespace sockrepair::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

struct Way {
  const char* name;
  Method method;
};

void PrintTo(const Way& way, std::ostream* out) {
  *out << way.name;
}

constexpr Way kWays[] = {{"kernel", Method::kKernel}, {"stock", Method::kStock}};

class ReceiveQueueCasesTest : public TwoPlacesTest, public ::testing::WithParamInterface<Way> {
 protected:
  Result<ReceiveQueueDump> dump(const Fd& fd) const {
    return dump_receive_queue(fd, {.method = GetParam().method});
  }
  Result<ReceiveQueueReport> restore(const Fd& fd, const ReceiveQueue& queue) const {
    return restore_receive_queue(fd, queue, {.method = GetParam().method});
  }
  bool stock() const { return GetParam().method == Method::kStock; }
};

INSTANTIATE_TEST_SUITE_P(All, ReceiveQueueCasesTest, ::testing::ValuesIn(kWays), ParamName());

// Only what the stock way has.
using ReceiveQueueStockTest = TwoPlacesTest;

Result<Fd> open_bound(const NetNs& ns, Speaks speaks) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, open_program(ns, speaks));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(program_endpoint(speaks), domain_of(speaks))));
  return fd;
}

Result<Fd> open_with(const NetNs& sender, const NetNs& ns, Speaks speaks,
                     const std::vector<Letter>& letters) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, open_bound(ns, speaks));
  SOCKREPAIR_TRY(deliver(sender, speaks, fd, program_endpoint(speaks), letters));
  return fd;
}

std::vector<std::size_t> sizes(const ReceiveQueue& queue) {
  std::vector<std::size_t> result;
  for (const ReceivedDatagram& d : queue.datagrams) result.push_back(d.payload.size());
  return result;
}

// A datagram with a number for a payload, as if from the neighbour.
ReceivedDatagram numbered(Speaks speaks, std::uint32_t number, std::size_t bytes = 4) {
  ReceivedDatagram d;
  d.family = family_of(speaks);
  d.source = sender_endpoint(speaks, 0);
  d.destination = program_endpoint(speaks);
  d.payload.assign(bytes, 0);
  memcpy(d.payload.data(), &number, sizeof(number));
  return d;
}

std::uint32_t number_of(const std::vector<std::uint8_t>& payload) {
  std::uint32_t number = 0;
  memcpy(&number, payload.data(), sizeof(number));
  return number;
}

// Every option that any socket level lets a program read, byte by byte; what fails is part of it.
std::map<std::string, std::vector<std::uint8_t>> all_options(const Fd& fd) {
  std::map<std::string, std::vector<std::uint8_t>> options;
  constexpr int kLevels[] = {SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, SOL_UDP};
  for (int level : kLevels) {
    for (int name = 1; name < 128; ++name) {
      // Reading these takes something off the socket, or tells about the moment.
      if (level == SOL_SOCKET && (name == SO_ERROR || name == SO_MEMINFO)) continue;
      std::vector<std::uint8_t> value(256);
      Result<socklen_t> length = sys::getsockopt_bytes(fd.get(), level, name, value.data(), 256);
      value.resize(length ? *length : 0);
      options[std::to_string(level) + "/" + std::to_string(name)] = value;
    }
  }
  return options;
}

TEST_P(ReceiveQueueCasesTest, DumpLeavesAllOptionsAsTheyWere) {
  for (Speaks speaks : {Speaks::kIpv4, Speaks::kIpv6}) {
    for (int peek_offset : {-1, 0, 7}) {
      for (bool asks : {true, false}) {
        SCOPED_TRACE(std::string(speaks_name(speaks)) + ", SO_PEEK_OFF " +
                     std::to_string(peek_offset) + (asks ? ", asks for everything" : ""));
        const NetNs& ns = first().receiver;
        int domain = domain_of(speaks);
        ASSERT_OK_AND_ASSIGN(Fd fd, asks ? open_program(ns, speaks) : ns.run([&] {
          return sys::socket(domain, SOCK_DGRAM, 0);
        }));
        if (asks) {
          ASSERT_THAT(sys::setsockopt(fd.get(), SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1), IsOk());
        }
        ASSERT_THAT(sys::bind(fd.get(), SocketAddress(program_endpoint(speaks), domain)), IsOk());
        ASSERT_THAT(sys::setsockopt(fd.get(), SOL_SOCKET, SO_PEEK_OFF, peek_offset), IsOk());
        ASSERT_THAT(deliver(first().sender, speaks, fd, program_endpoint(speaks), {{.bytes = 9}}),
                    IsOk());
        auto before = all_options(fd);
        ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dumped, dump(fd));
        EXPECT_THAT(dumped.queue.datagrams, SizeIs(1));
        EXPECT_EQ(all_options(fd), before);
      }
    }
  }
}

TEST_P(ReceiveQueueCasesTest, EveryDumpIsABeginningOfWhatArrived) {
  constexpr Speaks kSpeaks = Speaks::kIpv4;
  ASSERT_OK_AND_ASSIGN(Fd fd, open_bound(first().receiver, kSpeaks));
  Worker sender("sender", [&](const std::atomic<bool>& stop) {
    Result<Fd> from = first().sender.run([] { return sys::socket(AF_INET, SOCK_DGRAM, 0); });
    SocketAddress to(program_endpoint(kSpeaks), AF_INET);
    for (std::uint32_t i = 0; from && !stop && i < 3000; ++i)
      (void)::sendto(from->get(), &i, sizeof(i), 0, to.get(), to.size());
  });
  std::size_t last = 0;
  // Until something arrives, and then while it does.
  Deadline deadline = Deadline::after(kPatience);
  for (int rounds = 0; rounds < 20 && !deadline.passed();) {
    ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dumped, dump(fd));
    const auto& datagrams = dumped.queue.datagrams;
    ASSERT_GE(datagrams.size(), last);
    for (std::size_t i = 0; i < datagrams.size(); ++i)
      ASSERT_EQ(number_of(datagrams[i].payload), i);
    last = datagrams.size();
    if (last != 0) ++rounds;
  }
  EXPECT_GT(last, 0u);
}

TEST_P(ReceiveQueueCasesTest, LongQueueComesBackWhole) {
  constexpr std::uint32_t kCount = 2000;
  constexpr Speaks kSpeaks = Speaks::kIpv6;
  ReceiveQueue queue;
  for (std::uint32_t i = 0; i < kCount; ++i)
    queue.datagrams.push_back(numbered(kSpeaks, i, 4 + i % 1000));
  ASSERT_OK_AND_ASSIGN(Fd fd, open_bound(second().receiver, kSpeaks));
  ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report, restore(fd, queue));
  EXPECT_EQ(report.restored, kCount);
  EXPECT_THAT(report.losses, IsEmpty());
  ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dumped, dump(fd));
  EXPECT_EQ(sizes(dumped.queue), sizes(queue));
  ASSERT_OK_AND_ASSIGN(std::vector<Message> messages, receive_all(fd));
  ASSERT_EQ(messages.size(), kCount);
  for (std::uint32_t i = 0; i < kCount; ++i)
    ASSERT_EQ(messages[i].payload, queue.datagrams[i].payload);
}

TEST_P(ReceiveQueueCasesTest, GoesBehindWhatIsWaiting) {
  constexpr Speaks kSpeaks = Speaks::kIpv4;
  ASSERT_OK_AND_ASSIGN(Fd fd, open_with(second().sender, second().receiver, kSpeaks,
                                        {{.bytes = 0}, {.bytes = 10}, {.bytes = 0}}));
  ReceiveQueue queue{{numbered(kSpeaks, 1, 20), numbered(kSpeaks, 2, 30)}};
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report, restore(fd, queue));
    EXPECT_EQ(report.restored, 2u);
    EXPECT_THAT(report.losses, IsEmpty());
  }
  ASSERT_OK_AND_ASSIGN(std::vector<Message> messages, receive_all(fd));
  std::vector<std::size_t> got;
  for (const Message& message : messages) got.push_back(message.payload.size());
  EXPECT_THAT(got, ElementsAre(0, 10, 0, 20, 30, 20, 30));
}

TEST_P(ReceiveQueueCasesTest, WorksFromInsideTheNamespace) {
  constexpr Speaks kSpeaks = Speaks::kMapped;
  ASSERT_OK_AND_ASSIGN(Fd fd, open_bound(second().receiver, kSpeaks));
  ReceiveQueue queue{{numbered(kSpeaks, 1)}};
  ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report,
                       second().receiver.run([&] { return restore(fd, queue); }));
  EXPECT_EQ(report.restored, 1u);
  EXPECT_THAT(report.losses, IsEmpty());
}

// A queue for one of a group with SO_REUSEPORT, whose packets another one would get if it could.
ReceiveQueue queue_of(Speaks speaks, std::uint32_t number) {
  ReceiveQueue queue;
  for (std::uint16_t port = 4000; port < 4010; ++port) {
    ReceivedDatagram d = numbered(speaks, number);
    d.source.port = port;
    queue.datagrams.push_back(d);
  }
  return queue;
}

Result<Fd> open_member(const NetNs& ns, Speaks speaks) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, open_program(ns, speaks));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(program_endpoint(speaks), domain_of(speaks))));
  return fd;
}

// What each of the group has waiting is its own, and what is not there was told.
void expect_own(std::vector<Fd>& group, const std::vector<ReceiveQueueReport>& reports) {
  for (std::uint32_t i = 0; i < group.size(); ++i) {
    SCOPED_TRACE("socket " + std::to_string(i));
    EXPECT_EQ(reports[i].restored + reports[i].losses.size(), 10u);
    for (const Loss& loss : reports[i].losses)
      EXPECT_THAT(loss.what, StartsWith("payload: not delivered: another socket"));
    ASSERT_OK_AND_ASSIGN(std::vector<Message> messages, receive_all(group[i]));
    EXPECT_EQ(messages.size(), reports[i].restored);
    for (const Message& message : messages) EXPECT_EQ(number_of(message.payload), i);
    ASSERT_OK_AND_ASSIGN(int still, sys::getsockopt<int>(group[i].get(), SOL_SOCKET, SO_REUSEPORT));
    EXPECT_EQ(still, 1);
  }
}

TEST_P(ReceiveQueueCasesTest, NoneOfAGroupGetsWhatIsAnothers) {
  for (Speaks speaks : {Speaks::kIpv4, Speaks::kIpv6, Speaks::kMapped}) {
    SCOPED_TRACE(speaks_name(speaks));
    std::vector<Fd> group;
    for (int i = 0; i < 4; ++i) {
      ASSERT_OK_AND_ASSIGN(Fd fd, open_member(second().receiver, speaks));
      group.push_back(std::move(fd));
    }
    std::vector<ReceiveQueueReport> reports;
    for (std::uint32_t i = 0; i < group.size(); ++i) {
      ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report, restore(group[i], queue_of(speaks, i)));
      if (!stock()) {
        EXPECT_THAT(report.losses, IsEmpty());
      }
      reports.push_back(report);
    }
    expect_own(group, reports);
  }
}

// Sockets of a group that are restored one after the other, each before the next is bound.
TEST_P(ReceiveQueueCasesTest, EachOfAnIpv4GroupGetsAllItsOwn) {
  std::vector<Fd> group;
  std::vector<ReceiveQueueReport> reports;
  for (std::uint32_t i = 0; i < 4; ++i) {
    ASSERT_OK_AND_ASSIGN(Fd fd, open_member(second().receiver, Speaks::kIpv4));
    ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report, restore(fd, queue_of(Speaks::kIpv4, i)));
    EXPECT_THAT(report.losses, IsEmpty());
    reports.push_back(report);
    group.push_back(std::move(fd));
  }
  expect_own(group, reports);
}

TEST_P(ReceiveQueueCasesTest, WhatAFilterTakesIsTold) {
  constexpr Speaks kSpeaks = Speaks::kIpv4;
  ASSERT_OK_AND_ASSIGN(Fd fd, open_bound(second().receiver, kSpeaks));
  // Takes datagrams of 8 and more bytes with their UDP header, drops those of 20 and more.
  sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
                        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 20, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
                        BPF_STMT(BPF_RET | BPF_K, 0xffffffff)};
  sock_fprog program{std::size(code), code};
  ASSERT_THAT(
      sys::setsockopt_bytes(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)),
      IsOk());
  ReceiveQueue queue{{numbered(kSpeaks, 1), numbered(kSpeaks, 2, 100), numbered(kSpeaks, 3)}};
  ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report, restore(fd, queue));
  if (stock()) {
    EXPECT_EQ(report.restored, 2u);
    ASSERT_THAT(report.losses, SizeIs(1));
    EXPECT_EQ(report.losses[0].index, 1u);
    EXPECT_THAT(report.losses[0].what, StartsWith("payload: not delivered"));
  } else {
    EXPECT_EQ(report.restored, 3u);
    EXPECT_THAT(report.losses, IsEmpty());
  }
}

TEST_P(ReceiveQueueCasesTest, JoinedDatagramsComeBackOrComeApart) {
  constexpr Speaks kSpeaks = Speaks::kIpv4;
  ASSERT_OK_AND_ASSIGN(Fd fd, open_bound(second().receiver, kSpeaks));
  ASSERT_THAT(sys::setsockopt(fd.get(), SOL_UDP, UDP_GRO, 1), IsOk());
  ReceivedDatagram joined = numbered(kSpeaks, 1, 2500);
  joined.gro_size = 1000;
  ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report, restore(fd, {{joined}}));
  EXPECT_EQ(report.restored, 1u);
  ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dumped, dump(fd));
  if (stock()) {
    ASSERT_THAT(report.losses, SizeIs(1));
    EXPECT_THAT(report.losses[0].what, StartsWith("gro_size: 1000"));
    EXPECT_THAT(sizes(dumped.queue), ElementsAre(1000, 1000, 500));
  } else {
    EXPECT_THAT(report.losses, IsEmpty());
    ASSERT_THAT(sizes(dumped.queue), ElementsAre(2500));
    EXPECT_EQ(dumped.queue.datagrams[0].gro_size, 1000);
  }
}

// Root of a container: it may put datagrams, but not enlarge the buffer beyond the machine's limit.
TEST_P(ReceiveQueueCasesTest, FullBufferOfAContainer) {
  const bool by_packets = stock();
  Result<void> result = in_user_namespace([&]() -> Result<void> {
    const Endpoint here{IpAddress::parse("127.0.0.1").value(), kProgramPort, 0};
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_DGRAM, 0));
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, 1));
    SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(here, AF_INET)));
    ReceivedDatagram d = numbered(Speaks::kIpv4, 1, 4000);
    d.destination = here;
    Result<ReceiveQueueReport> report = restore(fd, {{d, d, d}});
    if (!by_packets) {
      if (report) return Error{EPROTO, "more was put than the buffer has room for"};
      if (report.error().code != ENOBUFS || report.error().what.find("datagram 1: ") != 0 ||
          report.error().what.find("; 1 datagrams were put") == std::string::npos)
        return report.error();
      return {};
    }
    if (!report) return report.error();
    if (report->restored == 1 && report->losses.size() == 2 && report->losses[1].index == 2)
      return {};
    std::string said = "restored " + std::to_string(report->restored);
    for (const Loss& loss : report->losses) said += "; " + loss.describe();
    return Error{EPROTO, said};
  });
  EXPECT_THAT(result, IsOk());
}

// What arrived before the program asked for time stamps has none, and is not given one by a dump.
TEST_P(ReceiveQueueCasesTest, TimesAreThoseOfTheArrival) {
  constexpr Speaks kSpeaks = Speaks::kIpv4;
  ASSERT_OK_AND_ASSIGN(Fd fd, open_bound(first().receiver, kSpeaks));
  ASSERT_THAT(sys::setsockopt(fd.get(), SOL_SOCKET, SO_TIMESTAMPNS, 1), IsOk());
  ASSERT_THAT(deliver(first().sender, kSpeaks, fd, program_endpoint(kSpeaks), {{.bytes = 5}}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dumped, dump(fd));
  ASSERT_OK_AND_ASSIGN(std::vector<Message> messages, receive_all(fd));
  ASSERT_THAT(messages, SizeIs(1));
  auto stamp = std::find_if(messages[0].controls.begin(), messages[0].controls.end(),
                            [](const auto& c) { return c.type == SO_TIMESTAMPNS; });
  ASSERT_NE(stamp, messages[0].controls.end());
  timespec time{};
  memcpy(&time, stamp->data.data(), sizeof(time));
  ASSERT_THAT(dumped.queue.datagrams, SizeIs(1));
  EXPECT_EQ(dumped.queue.datagrams[0].timestamp,
            static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
                static_cast<std::uint64_t>(time.tv_nsec));

  ASSERT_OK_AND_ASSIGN(Fd restored, open_bound(second().receiver, kSpeaks));
  ASSERT_THAT(sys::setsockopt(restored.get(), SOL_SOCKET, SO_TIMESTAMPNS, 1), IsOk());
  ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report, restore(restored, dumped.queue));
  ASSERT_OK_AND_ASSIGN(std::vector<Message> again, receive_all(restored));
  if (stock()) {
    ASSERT_THAT(report.losses, SizeIs(1));
    EXPECT_THAT(report.losses[0].what, StartsWith("timestamp: "));
  } else {
    EXPECT_THAT(report.losses, IsEmpty());
    EXPECT_EQ(again, messages);
  }
}

// A program that peeks with an offset sees each datagram without a byte once.
TEST_P(ReceiveQueueCasesTest, EmptyDatagramsThatWereSeen) {
  constexpr Speaks kSpeaks = Speaks::kIpv4;
  ASSERT_OK_AND_ASSIGN(Fd fd, open_with(first().sender, first().receiver, kSpeaks,
                                        {{.bytes = 0}, {.bytes = 3}, {.bytes = 0}, {.bytes = 4}}));
  ASSERT_OK_AND_ASSIGN(ReceiveQueueDump once, dump(fd));
  EXPECT_THAT(sizes(once.queue), ElementsAre(0, 3, 0, 4));
  ASSERT_OK_AND_ASSIGN(ReceiveQueueDump twice, dump(fd));
  if (stock()) {
    // The first is told in any case; the other is hidden, and there is room for it.
    EXPECT_THAT(sizes(twice.queue), ElementsAre(0, 3, 4));
    EXPECT_GE(twice.hidden_at_most, 1u);
  } else {
    EXPECT_EQ(twice.queue, once.queue);
    EXPECT_EQ(twice.hidden_at_most, 0u);
  }
  ASSERT_OK_AND_ASSIGN(std::vector<Message> messages, receive_all(fd));
  EXPECT_THAT(messages, SizeIs(4));
}

// A restore marks nothing as seen: the stock way can read what it restored.
TEST_P(ReceiveQueueCasesTest, RestoredEmptyDatagramsAreNotSeenYet) {
  constexpr Speaks kSpeaks = Speaks::kIpv6;
  ASSERT_OK_AND_ASSIGN(Fd fd, open_bound(second().receiver, kSpeaks));
  ReceiveQueue queue;
  for (std::size_t bytes : {0, 0, 5, 0, 1, 2, 0}) {
    ReceivedDatagram d = numbered(kSpeaks, 7);
    d.payload.resize(bytes);
    queue.datagrams.push_back(d);
  }
  ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report, restore(fd, queue));
  EXPECT_EQ(report.restored, 7u);
  ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dumped, dump_receive_queue(fd, {.method = Method::kStock}));
  EXPECT_THAT(sizes(dumped.queue), ElementsAre(0, 0, 5, 0, 1, 2, 0));
}

TEST_P(ReceiveQueueCasesTest, PendingErrorIsKeptOrTold) {
  constexpr Speaks kSpeaks = Speaks::kIpv4;
  ASSERT_OK_AND_ASSIGN(Fd fd, open_with(first().sender, first().receiver, kSpeaks, {{.bytes = 8}}));
  // Nobody is at that port of this host.
  Endpoint nobody{program_endpoint(kSpeaks).address, 9, 0};
  ASSERT_THAT(sys::connect(fd.get(), SocketAddress(nobody, AF_INET)), IsOk());
  ASSERT_EQ(::send(fd.get(), "x", 1, 0), 1);
  ASSERT_THAT(wait_for_events("an error is pending", fd.get(), POLLERR, Deadline::after(kPatience)),
              IsOk());
  ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dumped, dump(fd));
  EXPECT_THAT(sizes(dumped.queue), ElementsAre(8));
  ASSERT_OK_AND_ASSIGN(int left, sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_ERROR));
  EXPECT_EQ(stock() ? dumped.pending_error : left, ECONNREFUSED);
  EXPECT_EQ(stock() ? left : dumped.pending_error, 0);
}

TEST_F(ReceiveQueueStockTest, ChoosesAWayByItself) {
  constexpr Speaks kSpeaks = Speaks::kIpv4;
  ASSERT_OK_AND_ASSIGN(Fd fd, open_with(first().sender, first().receiver, kSpeaks, {{.bytes = 8}}));
  ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dumped, dump_receive_queue(fd));
  bool has_option = get_udp_repair(fd).ok();
  EXPECT_EQ(dumped.method, has_option ? Method::kKernel : Method::kStock);
  if (has_option) {
    EXPECT_THAT(get_udp_repair(fd), IsOkAndHolds(false));
  }
}

// --- side by side ---

// As in the report of 2021: a socket bound to the source, which must be free, sends each datagram.
Result<void> restore_as_in_2021(const NetNs& ns, const ReceiveQueue& queue) {
  for (const ReceivedDatagram& datagram : queue.datagrams) {
    bool v4 = datagram.family == Family::kIpv4;
    int domain = v4 ? AF_INET : AF_INET6;
    int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    SOCKREPAIR_TRY_ASSIGN(Fd fd, ns.run([&] { return sys::socket(domain, SOCK_DGRAM, 0); }));
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), level, v4 ? IP_FREEBIND : IPV6_FREEBIND, 1));
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), level, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, 1));
    if (!sys::bind(fd.get(), SocketAddress(datagram.source, domain))) continue;
    Send what{.payload = datagram.payload, .to = datagram.destination};
    SOCKREPAIR_TRY(send(fd, what));
  }
  return {};
}

std::size_t lost(const std::vector<Message>& original, const std::vector<Message>& restored) {
  std::size_t same = 0;
  for (std::size_t i = 0; i < std::min(original.size(), restored.size()); ++i)
    if (original[i] == restored[i]) ++same;
  return original.size() - same;
}

TEST_F(ReceiveQueueStockTest, SideBySideWithEverySourcePortTaken) {
  const std::vector<Letter> letters{{.bytes = 100, .hop_limit = 3, .traffic_class = 0x2e},
                                    {.bytes = 0, .sender = 1},
                                    {.bytes = 1400, .sender = 2, .hop_limit = 255},
                                    {.bytes = 20, .sender = 1},
                                    {.bytes = 20, .sender = 1},
                                    {.bytes = 1, .sender = 0}};
  for (Speaks speaks : {Speaks::kIpv4, Speaks::kIpv6, Speaks::kMapped}) {
    ASSERT_OK_AND_ASSIGN(Fd original, open_with(first().sender, first().receiver, speaks, letters));
    ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dumped, dump_receive_queue(original));
    ASSERT_OK_AND_ASSIGN(std::vector<Message> wanted, receive_all(original));
    ASSERT_EQ(wanted.size(), letters.size());

    auto loss_of = [&](auto&& restore) -> Result<std::size_t> {
      SOCKREPAIR_TRY_ASSIGN(Fd fd, open_bound(second().receiver, speaks));
      SOCKREPAIR_TRY(restore(fd));
      SOCKREPAIR_TRY_ASSIGN(std::vector<Message> messages, receive_all(fd));
      return lost(wanted, messages);
    };
    auto way = [&](Method method) {
      return loss_of([&](const Fd& fd) -> Result<void> {
        SOCKREPAIR_TRY(restore_receive_queue(fd, dumped.queue, {.method = method}));
        return {};
      });
    };
    ASSERT_OK_AND_ASSIGN(std::size_t kernel, way(Method::kKernel));
    ASSERT_OK_AND_ASSIGN(std::size_t stock, way(Method::kStock));
    ASSERT_OK_AND_ASSIGN(std::size_t report, loss_of([&](const Fd&) {
                           return restore_as_in_2021(second().receiver, dumped.queue);
                         }));
    printf(
        "# %s, %zu datagrams, all source ports taken: lost by the kernel's way %zu, by the stock "
        "way %zu, as in the report of 2021 %zu\n",
        speaks_name(speaks), letters.size(), kernel, stock, report);
    EXPECT_EQ(kernel, 0u);
    EXPECT_EQ(stock, 0u);
    EXPECT_GT(report, 0u);
  }
}

}  // namespace
}  // namespace sockrepair::test

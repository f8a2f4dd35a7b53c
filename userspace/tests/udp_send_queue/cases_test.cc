// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What is not a matter of one property or one way to build: what a datagram does after it has been
// restored, and who may dump.

#include "udp_send_queue/cases_test.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <linux/net_tstamp.h>
#include <netinet/tcp.h>
#include <time.h>
#include <unistd.h>
// After the system's: they need struct timespec.
#include <linux/errqueue.h>

#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"
#include "udp_send_queue/headers.h"
#include "util/error_queue.h"
#include "util/matchers.h"
#include "util/privileges.h"
#include "util/qdisc.h"

namespace sockrepair::test {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

namespace {

const std::vector<std::uint8_t> kFirst = pattern(200);
const std::vector<std::uint8_t> kSecond = {1, 2, 3};
const std::vector<std::uint8_t> kNothing;

std::vector<std::uint8_t> both_halves() {
  std::vector<std::uint8_t> all = kFirst;
  all.insert(all.end(), kSecond.begin(), kSecond.end());
  return all;
}

Result<Fd> bound_socket(const World& world, Protocol protocol,
                        const std::vector<SocketOption>& options = {}) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, world.socket(protocol));
  SOCKREPAIR_TRY(set_all(fd, options));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(usual_source(protocol), domain_of(protocol))));
  return fd;
}

Result<void> begin(const Fd& fd, Protocol protocol, std::span<const std::uint8_t> payload = kFirst,
                   sockrepair::internal::ControlMessages control = {}) {
  return send(fd, {.payload = payload,
                   .to = usual_destination(protocol),
                   .more = true,
                   .control = std::move(control)});
}

// The dump of a socket that must have a datagram under construction.
Result<SendQueue> dump_of(const Fd& fd) {
  SOCKREPAIR_TRY_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(fd));
  if (!queue) return Error{ENODATA, "no datagram is under construction"};
  return *std::move(queue);
}

// A datagram begun in `from`, restored on a new socket in `to`.
Result<Fd> moved_socket(const World& from, const World& to, Protocol protocol,
                        std::span<const std::uint8_t> payload = kFirst) {
  SOCKREPAIR_TRY_ASSIGN(Fd old_socket, bound_socket(from, protocol));
  SOCKREPAIR_TRY(begin(old_socket, protocol, payload));
  SOCKREPAIR_TRY_ASSIGN(SendQueue queue, dump_of(old_socket));
  SOCKREPAIR_TRY_ASSIGN(Fd new_socket, bound_socket(to, protocol));
  SOCKREPAIR_TRY(restore_send_queue(new_socket, queue));
  return new_socket;
}

std::uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000000000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

// --- dump ---

TEST_P(SendQueueTest, NothingUnderConstructionIsNothing) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(original(), GetParam()));
  EXPECT_THAT(dump_send_queue(fd), IsOkAndHolds(std::nullopt));
  ASSERT_THAT(sys::setsockopt(fd.get(), SOL_UDP, UDP_CORK, 1), IsOk());
  EXPECT_THAT(dump_send_queue(fd), IsOkAndHolds(std::nullopt));
}

TEST_P(SendQueueTest, DumpLeavesRepairModeAsItWas) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(fd, GetParam()), IsOk());
  ASSERT_THAT(dump_send_queue(fd), IsOk());
  EXPECT_THAT(get_udp_repair(fd), IsOkAndHolds(false));
  ASSERT_THAT(set_udp_repair(fd, true), IsOk());
  ASSERT_THAT(dump_send_queue(fd), IsOk());
  EXPECT_THAT(get_udp_repair(fd), IsOkAndHolds(true));
}

TEST_P(SendQueueTest, RepeatedDumpsAreTheSame) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(fd, GetParam()), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue first, dump_of(fd));
  for (int i = 0; i < 10; ++i) {
    ASSERT_OK_AND_ASSIGN(SendQueue again, dump_of(fd));
    EXPECT_THAT(again, SameQueueAs(first));
  }
}

TEST_P(SendQueueTest, DumpGrowsWithTheDatagram) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(fd, GetParam(), kNothing), IsOk());
  std::vector<std::uint8_t> all = pattern(6000);
  for (std::size_t at = 0; at < all.size(); at += 500) {
    ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(fd));
    EXPECT_EQ(queue.payload, SendQueue::Bytes(all.begin(), all.begin() + at));
    ASSERT_THAT(send(fd, {.payload = std::span(all).subspan(at, 500), .more = true}), IsOk());
  }
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(fd));
  EXPECT_EQ(queue.payload, all);
}

// --- what a restored datagram does ---

TEST_P(SendQueueTest, InTheSameNamespaceAfterClosing) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(old_socket, GetParam()), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  ASSERT_THAT(old_socket.close(), IsOk());
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(original(), GetParam()));
  ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = kSecond}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival got, original().arrival(family_of(GetParam())));
  EXPECT_EQ(got.datagrams[0].payload, both_halves());
  EXPECT_EQ(got.datagrams[0].source, usual_source(GetParam()));
}

// One dump, as many restores as wanted.
TEST_P(SendQueueTest, DumpCanBeRestoredAgain) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(old_socket, GetParam()), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), GetParam()));
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
    ASSERT_THAT(send(new_socket, {.payload = kSecond}), IsOk());
    ASSERT_OK_AND_ASSIGN(Arrival got, replica().arrival(family_of(GetParam())));
    EXPECT_EQ(got.datagrams[0].payload, both_halves());
  }
}

// A datagram that was begun for A and continued with a send to B still goes to A.
TEST_P(SendQueueTest, GoesWhereItWasBegunFor) {
  ASSERT_OK_AND_ASSIGN(Fd fd, moved_socket(original(), replica(), GetParam()));
  Endpoint elsewhere = usual_destination(GetParam());
  elsewhere.port = 5001;
  ASSERT_OK_AND_ASSIGN(Receiver other, Receiver::open(replica().hosts().receiver,
                                                      {elsewhere.address, elsewhere.port, 0}));
  ASSERT_THAT(send(fd, {.payload = kSecond, .to = elsewhere, .more = true}), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(fd));
  EXPECT_EQ(queue.destination_port, World::kReceiverPort);
  ASSERT_THAT(send(fd, {.payload = {}, .to = elsewhere}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival got, replica().arrival(family_of(GetParam())));
  EXPECT_EQ(got.datagrams[0].payload, both_halves());
  EXPECT_THAT(other.drain(), IsOkAndHolds(IsEmpty()));
}

// The same with the destination of connect(), which may have changed meanwhile.
TEST_P(SendQueueTest, GoesWhereItWasBegunForWhateverIsConnected) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(old_socket, GetParam()), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), GetParam()));
  Endpoint elsewhere = usual_destination(GetParam());
  elsewhere.port = 5001;
  ASSERT_THAT(sys::connect(new_socket.get(), SocketAddress(elsewhere, domain_of(GetParam()))),
              IsOk());
  ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = kSecond}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival got, replica().arrival(family_of(GetParam())));
  EXPECT_EQ(got.datagrams[0].payload, both_halves());
}

TEST_P(SendQueueTest, EmptyDatagramIsADatagram) {
  ASSERT_OK_AND_ASSIGN(Fd fd, moved_socket(original(), replica(), GetParam(), kNothing));
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(fd));
  EXPECT_THAT(queue.payload, IsEmpty());
  ASSERT_THAT(send(fd, {.payload = {}}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival got, replica().arrival(family_of(GetParam())));
  EXPECT_THAT(got.datagrams[0].payload, IsEmpty());
}

TEST_P(SendQueueTest, EmptyAppendsChangeNothing) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(old_socket, GetParam()), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue before, dump_of(old_socket));
  ASSERT_THAT(send(old_socket, {.payload = {}, .more = true}), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  EXPECT_THAT(queue, SameQueueAs(before));
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), GetParam()));
  ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = {}, .more = true}), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = kSecond, .more = true}), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = {}}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival got, replica().arrival(family_of(GetParam())));
  EXPECT_EQ(got.datagrams[0].payload, both_halves());
}

// A chain: what was restored can be dumped and restored like an original.
TEST_P(SendQueueTest, MovesAgainAndAgain) {
  std::vector<std::uint8_t> all = pattern(5000);
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(fd, GetParam(), std::span(all).first(1000)), IsOk());
  for (std::size_t at = 1000; at < 4000; at += 1000) {
    ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(fd));
    ASSERT_THAT(fd.close(), IsOk());
    ASSERT_OK_AND_ASSIGN(fd, bound_socket(original(), GetParam()));
    ASSERT_THAT(restore_send_queue(fd, queue), IsOk());
    ASSERT_THAT(send(fd, {.payload = std::span(all).subspan(at, 1000), .more = true}), IsOk());
  }
  ASSERT_THAT(send(fd, {.payload = std::span(all).subspan(4000)}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival got, original().arrival(family_of(GetParam())));
  EXPECT_EQ(got.datagrams[0].payload, all);
}

TEST_P(SendQueueTest, ClosingSendsNothing) {
  ASSERT_OK_AND_ASSIGN(Fd fd, moved_socket(original(), replica(), GetParam()));
  ASSERT_THAT(fd.close(), IsOk());
  // Whatever close() had sent would arrive before this.
  ASSERT_OK_AND_ASSIGN(Fd next, bound_socket(replica(), GetParam()));
  ASSERT_THAT(send(next, {.payload = kSecond, .to = usual_destination(GetParam())}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival got, replica().arrival(family_of(GetParam())));
  EXPECT_EQ(got.datagrams[0].payload, kSecond);
}

TEST_P(SendQueueTest, DiscardSendsNothing) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(original(), GetParam()));
  EXPECT_THAT(discard_send_queue(fd), IsOk());
  ASSERT_THAT(begin(fd, GetParam()), IsOk());
  EXPECT_THAT(discard_send_queue(fd), IsOk());
  EXPECT_THAT(dump_send_queue(fd), IsOkAndHolds(std::nullopt));
  ASSERT_THAT(send(fd, {.payload = kSecond, .to = usual_destination(GetParam())}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival got, original().arrival(family_of(GetParam())));
  EXPECT_EQ(got.datagrams[0].payload, kSecond);
}

// Refused, and what was there before is unharmed.
TEST_P(SendQueueTest, IsNotMixedWithAnotherDatagram) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(old_socket, GetParam()), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  ASSERT_OK_AND_ASSIGN(Fd busy, bound_socket(replica(), GetParam()));
  ASSERT_THAT(begin(busy, GetParam(), kSecond), IsOk());
  EXPECT_THAT(restore_send_queue(busy, queue),
              FailsWith(EBUSY,
                        "payload: a datagram of 3 bytes is already under construction on the "
                        "socket"));
  ASSERT_THAT(send(busy, {.payload = {}}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival got, replica().arrival(family_of(GetParam())));
  EXPECT_EQ(got.datagrams[0].payload, kSecond);
}

// --- what only the sending side sees ---

// mark and priority do not cross a veth, but lo shows them to the receiver.
TEST_P(SendQueueTest, MarkAndPriorityAreOnThePacket) {
  Family family = family_of(GetParam());
  IpAddress loopback =
      family == Family::kIpv4 ? IpAddress::parse("127.0.0.1").value() : IpAddress(in6addr_loopback);
  const NetNs& ns = original().hosts().sender;
  ASSERT_OK_AND_ASSIGN(Receiver receiver, Receiver::open(ns, {loopback, 5000, 0}));
  Endpoint from{loopback, World::kSenderPort, 0};
  SocketAddress bind_to(from, domain_of(GetParam()));

  ASSERT_OK_AND_ASSIGN(Fd old_socket, original().socket(GetParam()));
  ASSERT_THAT(sys::bind(old_socket.get(), bind_to), IsOk());
  ASSERT_THAT(send(old_socket,
                   {.payload = kFirst,
                    .to = receiver.address(),
                    .more = true,
                    .control = messages(SOL_SOCKET, SO_MARK, 0x77, SOL_SOCKET, SO_PRIORITY, 5)}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  EXPECT_EQ(queue.oif, std::nullopt);
  ASSERT_THAT(send(old_socket, {.payload = kSecond}), IsOk());
  ASSERT_OK_AND_ASSIGN(Datagram want, receiver.receive());
  EXPECT_EQ(want.mark, 0x77U);
  EXPECT_EQ(want.priority, 5U);
  ASSERT_THAT(old_socket.close(), IsOk());

  ASSERT_OK_AND_ASSIGN(Fd new_socket, original().socket(GetParam()));
  ASSERT_THAT(sys::bind(new_socket.get(), bind_to), IsOk());
  ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = kSecond}), IsOk());
  EXPECT_THAT(receiver.receive(), IsOkAndHolds(want));
}

constexpr std::uint32_t kSoftwareTimestamps = SOF_TIMESTAMPING_SOFTWARE |
                                              SOF_TIMESTAMPING_TX_SOFTWARE |
                                              SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;

// The time stamp of a restored datagram comes to the new socket, with the number it would have had.
TEST_P(SendQueueTest, TimestampHasItsKey) {
  const std::vector<SocketOption> options = {{SOL_SOCKET, SO_TIMESTAMPING, kSoftwareTimestamps}};
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), GetParam(), options));
  for (std::uint32_t key = 0; key < 3; ++key) {
    ASSERT_THAT(send(old_socket, {.payload = kSecond, .to = usual_destination(GetParam())}),
                IsOk());
    ASSERT_OK_AND_ASSIGN(ErrorMessage message, next_error(old_socket));
    ASSERT_EQ(message.data, key);
    ASSERT_THAT(original().arrival(family_of(GetParam())), IsOk());
  }
  ASSERT_THAT(begin(old_socket, GetParam()), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  EXPECT_EQ(queue.tskey, 3U);
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), GetParam(), options));
  ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
  for (const Fd* fd : {&old_socket, &new_socket}) {
    ASSERT_THAT(send(*fd, {.payload = kSecond}), IsOk());
    ASSERT_OK_AND_ASSIGN(ErrorMessage message, next_error(*fd));
    EXPECT_EQ(message.origin, SO_EE_ORIGIN_TIMESTAMPING);
    EXPECT_EQ(message.info, static_cast<std::uint32_t>(SCM_TSTAMP_SND));
    EXPECT_EQ(message.data, 3U);
    EXPECT_TRUE(message.has_timestamp);
    EXPECT_THAT(drain_errors(*fd), IsOkAndHolds(IsEmpty()));
  }
}

// A number that no socket would have come to by itself. That the next corked datagrams of the socket
// carry it too is the kernel's, see the note at restore_send_queue(), and not asserted.
TEST_P(SendQueueTest, TimestampKeyIsTheOneThatWasDumped) {
  const std::vector<SocketOption> options = {{SOL_SOCKET, SO_TIMESTAMPING, kSoftwareTimestamps}};
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(old_socket, GetParam()), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  queue.tsflags = SOF_TIMESTAMPING_TX_SOFTWARE;
  queue.tskey = 1000;
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), GetParam(), options));
  ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = kSecond}), IsOk());
  ASSERT_OK_AND_ASSIGN(ErrorMessage restored, next_error(new_socket));
  EXPECT_EQ(restored.data, 1000U);
}

// The completion is the old socket's; the restored datagram is a copy and owes none.
TEST_P(SendQueueTest, ZerocopyCompletionStaysWithTheOriginal) {
  const std::vector<SocketOption> options = {{SOL_SOCKET, SO_ZEROCOPY, 1}};
  const std::vector<std::uint8_t> payload = pattern(3000);
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), GetParam(), options));
  ASSERT_THAT(send(old_socket, {.payload = payload,
                                .to = usual_destination(GetParam()),
                                .more = true,
                                .transfer = Transfer::kZerocopy,
                                .control = message<std::uint16_t>(SOL_UDP, UDP_SEGMENT, 1000)}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  EXPECT_TRUE(queue.zerocopy);
  EXPECT_THAT(drain_errors(old_socket), IsOkAndHolds(IsEmpty()));
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), GetParam(), options));
  ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue restored, dump_of(new_socket));
  EXPECT_FALSE(restored.zerocopy);

  ASSERT_THAT(send(old_socket, {.payload = {}}), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = {}}), IsOk());
  ASSERT_THAT(original().arrival(family_of(GetParam()), 3), IsOk());
  ASSERT_THAT(replica().arrival(family_of(GetParam()), 3), IsOk());
  ASSERT_OK_AND_ASSIGN(ErrorMessage completion, next_error(old_socket));
  EXPECT_EQ(completion.origin, SO_EE_ORIGIN_ZEROCOPY);
  EXPECT_THAT(drain_errors(new_socket), IsOkAndHolds(IsEmpty()));
}

// A restored datagram waits for its transmit time, as the original does.
TEST_P(SendQueueTest, TransmitTimeIsKept) {
  constexpr std::uint64_t kDelay =
      1'000'000'000;  // ns; long beside a send, even with a slow kernel
  struct {
    std::int32_t clock;
    std::uint32_t flags;
  } txtime{CLOCK_MONOTONIC, 0};
  const std::vector<SocketOption> options = {{SOL_SOCKET, SO_TXTIME, txtime}};
  ASSERT_THAT(set_root_qdisc(original().hosts().sender, kWire, "fq"), IsOk());
  ASSERT_THAT(set_root_qdisc(replica().hosts().sender, kWire, "fq"), IsOk());

  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), GetParam(), options));
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), GetParam(), options));
  std::uint64_t when = monotonic_ns() + kDelay;
  ASSERT_THAT(begin(old_socket, GetParam(), kFirst, message(SOL_SOCKET, SCM_TXTIME, when)), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  EXPECT_EQ(queue.txtime, when);
  ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
  ASSERT_THAT(send(old_socket, {.payload = kSecond}), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = kSecond}), IsOk());
  ASSERT_LT(monotonic_ns(), when) << "the machine is too slow for this test";
  ASSERT_THAT(original().arrival(family_of(GetParam())), IsOk());
  EXPECT_GE(monotonic_ns(), when);
  ASSERT_THAT(replica().arrival(family_of(GetParam())), IsOk());
  EXPECT_GE(monotonic_ns(), when);
}

// --- who may ---

TEST_P(SendQueueTest, DumpNeedsCapability) {
  ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(fd, GetParam()), IsOk());
  auto dump = [&]() -> Result<void> {
    SOCKREPAIR_TRY(dump_send_queue(fd));
    return {};
  };
  EXPECT_THAT(without_capabilities(dump), FailsWith(EPERM, HasSubstr("UDP_REPAIR, 1")));
  // A user namespace that does not own the socket's network namespace gives no right to it.
  EXPECT_THAT(in_user_namespace(dump), FailsWith(EPERM, HasSubstr("UDP_REPAIR, 1")));
}

// The mode is the socket's. Whoever has a descriptor of a socket that is in repair mode may dump,
// but not leave the mode. TCP_REPAIR does the same.
TEST_P(SendQueueTest, ModeBelongsToTheSocketAsForTcp) {
  ASSERT_OK_AND_ASSIGN(Fd udp, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(udp, GetParam()), IsOk());
  ASSERT_THAT(set_udp_repair(udp, true), IsOk());
  EXPECT_THAT(without_capabilities([&]() -> Result<void> {
                SOCKREPAIR_TRY(dump_of(udp));
                return {};
              }),
              IsOk());
  EXPECT_THAT(without_capabilities([&] { return set_udp_repair(udp, false); }), FailsWith(EPERM));
  EXPECT_THAT(without_capabilities([&] { return set_udp_repair(udp, true); }), FailsWith(EPERM));
  EXPECT_THAT(get_udp_repair(udp), IsOkAndHolds(true));

  ASSERT_OK_AND_ASSIGN(Fd tcp, original().hosts().sender.run([&] {
    return sys::socket(domain_of(GetParam()), SOCK_STREAM, 0);
  }));
  ASSERT_THAT(sys::setsockopt(tcp.get(), IPPROTO_TCP, TCP_REPAIR, 1), IsOk());
  EXPECT_THAT(
      without_capabilities([&]() -> Result<void> {
        SOCKREPAIR_TRY(sys::setsockopt(tcp.get(), IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE));
        SOCKREPAIR_TRY(sys::getsockopt<std::uint32_t>(tcp.get(), IPPROTO_TCP, TCP_QUEUE_SEQ));
        return {};
      }),
      IsOk());
  EXPECT_THAT(
      without_capabilities([&] { return sys::setsockopt(tcp.get(), IPPROTO_TCP, TCP_REPAIR, 0); }),
      FailsWith(EPERM));
}

// A plain datagram can be restored by anybody who has the socket.
TEST_P(SendQueueTest, PlainRestoreNeedsNoCapability) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), GetParam()));
  ASSERT_THAT(begin(old_socket, GetParam()), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), GetParam()));
  ASSERT_THAT(without_capabilities([&] { return restore_send_queue(new_socket, queue); }), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = kSecond}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival got, replica().arrival(family_of(GetParam())));
  EXPECT_EQ(got.datagrams[0].payload, both_halves());
}

// The root of an unprivileged user namespace may do everything in a network namespace of its own.
TEST_P(SendQueueTest, WorksInAUserNamespace) {
  Protocol protocol = GetParam();
  auto everything = [protocol]() -> Result<void> {
    bool v4 = family_of(protocol) == Family::kIpv4;
    IpAddress loopback = v4 ? IpAddress::parse("127.0.0.1").value() : IpAddress(in6addr_loopback);
    SOCKREPAIR_TRY_ASSIGN(NetNs ns, NetNs::current());
    SOCKREPAIR_TRY_ASSIGN(Receiver receiver, Receiver::open(ns, {loopback, 5000, 0}));
    std::optional<SendQueue> queue;
    for (bool restored : {false, true}) {
      SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(domain_of(protocol), SOCK_DGRAM, 0));
      SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress({loopback, 4000, 0}, domain_of(protocol))));
      if (restored) {
        SOCKREPAIR_TRY(restore_send_queue(fd, *queue));
        SOCKREPAIR_TRY(send(fd, {.payload = kSecond}));
      } else {
        SOCKREPAIR_TRY(send(fd, {.payload = kFirst,
                                 .to = receiver.address(),
                                 .more = true,
                                 .control = message(SOL_SOCKET, SO_MARK, 3)}));
        SOCKREPAIR_TRY_ASSIGN(queue, dump_send_queue(fd));
      }
    }
    SOCKREPAIR_TRY_ASSIGN(Datagram got, receiver.receive());
    if (got.payload != both_halves()) return Error{EBADMSG, describe(got)};
    return {};
  };
  EXPECT_THAT(in_user_namespace(everything), IsOk());
}

// --- IPv4 only ---

class SendQueueIpv4Test : public TwinWorldsTest {};

// MSG_DONTROUTE made this datagram's route: none of the host's would lead there without a gateway.
TEST_F(SendQueueIpv4Test, DontRouteIsForWhoAsks) {
  in_pktinfo info{};
  info.ipi_ifindex = kWireIndex;
  info.ipi_spec_dst = sender_address(Family::kIpv4).v4();
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), Protocol::kIpv4));
  ASSERT_THAT(send(old_socket, {.payload = kFirst,
                                .to = Endpoint{IpAddress::parse("192.0.2.9").value(), 5000, 0},
                                .more = true,
                                .control = message(IPPROTO_IP, IP_PKTINFO, info),
                                .flags = MSG_DONTROUTE}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  EXPECT_TRUE(queue.onlink);

  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), Protocol::kIpv4));
  ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue by_gateway, dump_of(new_socket));
  EXPECT_FALSE(by_gateway.onlink);

  ASSERT_THAT(discard_send_queue(new_socket), IsOk());
  ASSERT_THAT(restore_send_queue(new_socket, queue, {.dont_route = true}), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue direct, dump_of(new_socket));
  EXPECT_THAT(direct, SameQueueAs(queue));
}

// --- IPv6 only ---

class SendQueueIpv6Test : public TwinWorldsTest {};

// IPV6_DONTFRAG is in force for what is appended later.
TEST_F(SendQueueIpv6Test, DontFragmentStaysInForce) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), Protocol::kIpv6));
  ASSERT_THAT(begin(old_socket, Protocol::kIpv6, kFirst, message(IPPROTO_IPV6, IPV6_DONTFRAG, 1)),
              IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), Protocol::kIpv6));
  ASSERT_THAT(restore_send_queue(new_socket, queue), IsOk());
  std::vector<std::uint8_t> too_much(2000);
  EXPECT_THAT(send(old_socket, {.payload = too_much}), FailsWith(EMSGSIZE));
  EXPECT_THAT(send(new_socket, {.payload = too_much}), FailsWith(EMSGSIZE));
}

// A link-local destination goes by its own interface, whatever interface the socket has got to ask
// for meanwhile.
TEST_F(SendQueueIpv6Test, LinkLocalGoesByItsOwnInterface) {
  Endpoint any{IpAddress::any(Family::kIpv6), World::kSenderPort, 0};
  Endpoint to{receiver_link_local(), World::kReceiverPort, kWireIndex};
  in6_pktinfo loopback{};
  loopback.ipi6_ifindex = 1;
  std::optional<SendQueue> queue;
  for (World* world : {&original(), &replica()}) {
    ASSERT_OK_AND_ASSIGN(Fd fd, world->socket(Protocol::kIpv6));
    ASSERT_THAT(sys::bind(fd.get(), SocketAddress(any, AF_INET6)), IsOk());
    if (!queue) {
      ASSERT_THAT(send(fd, {.payload = kFirst, .to = to, .more = true}), IsOk());
      ASSERT_OK_AND_ASSIGN(queue, dump_send_queue(fd));
      ASSERT_TRUE(queue.has_value());
      EXPECT_EQ(queue->oif, kWireIndex);
    } else {
      ASSERT_THAT(sys::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_PKTINFO, loopback), IsOk());
      ASSERT_THAT(restore_send_queue(fd, *queue), IsOk());
    }
    ASSERT_THAT(send(fd, {.payload = kSecond}), IsOk());
    ASSERT_OK_AND_ASSIGN(Arrival got, world->arrival(Family::kIpv6));
    EXPECT_EQ(got.datagrams[0].payload, both_halves());
  }
}

// Options of the socket that have to be out of the way during a restore are back also when it is
// refused.
TEST_F(SendQueueIpv6Test, RefusedRestorePutsOptionsBack) {
  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), Protocol::kIpv6));
  ASSERT_THAT(begin(old_socket, Protocol::kIpv6), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  queue.txtime = 1;
  SocketOption hop_by_hop{IPPROTO_IPV6, IPV6_HOPOPTS, kHopByHop};
  SocketOption unicast_if{IPPROTO_IPV6, IPV6_UNICAST_IF, htonl(kWireIndex)};
  ASSERT_OK_AND_ASSIGN(Fd new_socket,
                       bound_socket(replica(), Protocol::kIpv6, {hop_by_hop, unicast_if}));
  EXPECT_THAT(restore_send_queue(new_socket, queue), FailsWith(EINVAL, StartsWith("txtime: ")));
  EXPECT_THAT(hop_by_hop.get(new_socket), IsOkAndHolds(hop_by_hop.value));
  EXPECT_THAT(unicast_if.get(new_socket), IsOkAndHolds(unicast_if.value));
}

// Somebody who leases flow labels exclusively makes the label of a datagram a matter of leases.
TEST_F(SendQueueIpv6Test, FlowLabelThatIsNotLeasedIsRefused) {
  // struct in6_flowlabel_req of linux/in6.h.
  struct {
    in6_addr dst;
    std::uint32_t label;
    std::uint8_t action, share;
    std::uint16_t flags, expires, linger;
    std::uint32_t pad;
  } lease{};
  constexpr std::uint8_t kGet = 0, kExclusive = 1;
  constexpr std::uint16_t kCreate = 1;
  lease.dst = receiver_address(Family::kIpv6).v6();
  lease.label = htonl(0xabcde);
  lease.action = kGet;
  lease.share = kExclusive;
  lease.flags = kCreate;
  ASSERT_OK_AND_ASSIGN(Fd other, replica().socket(Protocol::kIpv6));
  ASSERT_THAT(sys::setsockopt(other.get(), IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, lease), IsOk());

  ASSERT_OK_AND_ASSIGN(Fd old_socket, bound_socket(original(), Protocol::kIpv6));
  ASSERT_THAT(begin(old_socket, Protocol::kIpv6), IsOk());
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of(old_socket));
  queue.flow_label = 0xabcde;
  ASSERT_OK_AND_ASSIGN(Fd new_socket, bound_socket(replica(), Protocol::kIpv6));
  EXPECT_THAT(restore_send_queue(new_socket, queue),
              FailsWith(EINVAL, StartsWith("flow_label: must be 1 to 0xfffff, and leased")));
  EXPECT_THAT(dump_send_queue(new_socket), IsOkAndHolds(std::nullopt));
}

// A label that the kernel makes up is not in the datagram until it is sent. It is made from
// addresses and ports, so a restored datagram of an unconnected socket gets the same. (A connected
// socket has a random number instead, a new one for each connect().)
TEST(SendQueueAutoFlowLabelTest, IsMadeUpWhenSent) {
  std::vector<Frame> frames[2];
  std::optional<SendQueue> queue;
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK_AND_ASSIGN(World world, World::create({.auto_flow_labels = true}));
    ASSERT_OK_AND_ASSIGN(Fd fd, bound_socket(world, Protocol::kIpv6));
    if (i == 0) {
      ASSERT_THAT(begin(fd, Protocol::kIpv6), IsOk());
      ASSERT_OK_AND_ASSIGN(queue, dump_send_queue(fd));
      EXPECT_EQ(queue->flow_label, std::nullopt);
    } else {
      ASSERT_THAT(restore_send_queue(fd, *queue), IsOk());
    }
    ASSERT_THAT(send(fd, {.payload = kSecond}), IsOk());
    ASSERT_OK_AND_ASSIGN(Arrival got, world.arrival(Family::kIpv6));
    EXPECT_GT(got.datagrams[0].flow_label.value_or(0), 0U);
    frames[i] = got.frames;
  }
  EXPECT_THAT(frames[1], SameFrames(frames[0]));
}

}  // namespace sockrepair::test

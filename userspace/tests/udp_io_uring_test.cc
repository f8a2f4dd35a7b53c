// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// io_uring and the send queue: datagrams that it begins can be dumped, and it can switch repair
// mode. It cannot dump: its getsockopt command knows no level but SOL_SOCKET.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/udp.h>

#include <algorithm>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "sockrepair/udp_send_queue.h"
#include "try.h"
#include "uapi.h"
#include "util/matchers.h"
#include "util/param_name.h"
#include "util/privileges.h"
#include "util/receiver.h"
#include "util/ring.h"
#include "util/send.h"
#include "util/two_hosts.h"

namespace sockrepair::test {
namespace {

using ::testing::Field;
using ::testing::Optional;
using ::testing::UnorderedElementsAre;
using ::testing::ValuesIn;

constexpr std::uint16_t kSenderPort = 4000;
constexpr std::uint16_t kReceiverPort = 5000;
constexpr std::size_t kSegment = 1000;
constexpr std::size_t kSize = 3 * kSegment;

using Bytes = std::vector<std::uint8_t>;

// A request that sends.
struct Operation {
  const char* name;
  bool zerocopy;
  bool fixed_buffer;
  void (*prepare)(io_uring_sqe* sqe, int fd, const msghdr& message, int flags);
};

constexpr Operation kOperations[] = {
    {"send", false, false,
     [](io_uring_sqe* sqe, int fd, const msghdr& message, int flags) {
       io_uring_prep_send(sqe, fd, message.msg_iov->iov_base, message.msg_iov->iov_len, flags);
     }},
    {"sendmsg", false, false,
     [](io_uring_sqe* sqe, int fd, const msghdr& message, int flags) {
       io_uring_prep_sendmsg(sqe, fd, &message, static_cast<unsigned>(flags));
     }},
    {"send_zc", true, false,
     [](io_uring_sqe* sqe, int fd, const msghdr& message, int flags) {
       io_uring_prep_send_zc(sqe, fd, message.msg_iov->iov_base, message.msg_iov->iov_len, flags,
                             kSendZcReportUsage);
     }},
    {"send_zc_fixed", true, true,
     [](io_uring_sqe* sqe, int fd, const msghdr& message, int flags) {
       io_uring_prep_send_zc_fixed(sqe, fd, message.msg_iov->iov_base, message.msg_iov->iov_len,
                                   flags, kSendZcReportUsage, 0);
     }},
    {"sendmsg_zc", true, false,
     [](io_uring_sqe* sqe, int fd, const msghdr& message, int flags) {
       io_uring_prep_sendmsg_zc(sqe, fd, &message, static_cast<unsigned>(flags));
       sqe->ioprio = kSendZcReportUsage;
     }},
};

struct Peer {
  const char* name;
  int domain;
  Family family;

  friend void PrintTo(const Peer& peer, std::ostream* out) { *out << peer.name; }
};

constexpr Peer kPeers[] = {
    {"v4", AF_INET, Family::kIpv4},
    {"v6", AF_INET6, Family::kIpv6},
    {"mapped", AF_INET6, Family::kIpv4},
};

struct Kind {
  std::string name;
  Peer peer;
  Operation operation;
  bool gso;

  // Whether the datagram refers to the sender's memory. While it is under construction, the kernel
  // lets a datagram do so only if it will be segmented: for any other it has to be able to compute
  // the checksum by itself, over a copy.
  bool refers_to_memory() const { return operation.zerocopy && gso; }

  friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds;
  for (const Peer& peer : kPeers)
    for (const Operation& operation : kOperations)
      for (bool gso : {false, true})
        kinds.push_back({std::string(peer.name) + "_" + operation.name + (gso ? "_gso" : ""), peer,
                         operation, gso});
  return kinds;
}

std::vector<Kind> kinds_that(bool (*predicate)(const Kind&)) {
  std::vector<Kind> kinds;
  for (const Kind& kind : all_kinds())
    if (predicate(kind)) kinds.push_back(kind);
  return kinds;
}

// A completion that says that the request sent all, and nothing of how.
MATCHER_P(Sent, zerocopy, zerocopy ? "has sent, a notification will follow" : "has sent") {
  return arg.ok() && arg->result == static_cast<int>(kSize) && arg->more == zerocopy &&
         !arg->notification;
}

MATCHER(IsNotification, "is a notification") {
  return arg.ok() && arg->notification;
}

class IoUringTest : public ::testing::Test {
 protected:
  void SetUp() override {
    static Result<TwoHosts> made = TwoHosts::create();
    ASSERT_TRUE(made.ok()) << made.error().describe();
    hosts_ = &*made;
    ASSERT_OK_AND_ASSIGN(Ring ring, Ring::create());
    ring_.emplace(std::move(ring));
  }

  // A socket on the sending host, connected to the receiving one.
  Result<Fd> open_socket(const Peer& peer, bool gso) const {
    SOCKREPAIR_TRY_ASSIGN(
        Fd fd, hosts_->sender.run([&] { return sys::socket(peer.domain, SOCK_DGRAM, 0); }));
    SOCKREPAIR_TRY(sys::setsockopt<int>(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1));
    if (gso) SOCKREPAIR_TRY(sys::setsockopt<int>(fd.get(), SOL_UDP, UDP_SEGMENT, kSegment));
    SOCKREPAIR_TRY(sys::bind(
        fd.get(), SocketAddress({sender_address(peer.family), kSenderPort, 0}, peer.domain)));
    SOCKREPAIR_TRY(sys::connect(
        fd.get(), SocketAddress({receiver_address(peer.family), kReceiverPort, 0}, peer.domain)));
    return fd;
  }

  TwoHosts* hosts_ = nullptr;
  std::optional<Ring> ring_;
};

// ------------------------------------------------------------------------------------------- data

class IoUringSendTest : public IoUringTest, public ::testing::WithParamInterface<Kind> {
 protected:
  void SetUp() override {
    IoUringTest::SetUp();
    if (HasFatalFailure()) return;
    ASSERT_OK_AND_ASSIGN(Receiver receiver,
                         Receiver::open(hosts_->receiver, {receiver_address(GetParam().peer.family),
                                                           kReceiverPort, 0}));
    receiver_.emplace(std::move(receiver));
    ASSERT_OK_AND_ASSIGN(fd_, open_socket(GetParam().peer, GetParam().gso));
    if (GetParam().operation.fixed_buffer) {
      ASSERT_THAT(ring_->register_buffer(payload_), IsOk());
    }
    message_.msg_iov = &part_;
    message_.msg_iovlen = 1;
  }

  // Begins the datagram by io_uring.
  Result<Completion> begin() {
    return ring_->run([&](io_uring_sqe* sqe) {
      GetParam().operation.prepare(sqe, fd_.get(), message_, MSG_MORE);
    });
  }

  // `bytes` as they arrive: in datagrams of a segment each, or in one.
  std::vector<Bytes> datagrams_of(const Bytes& bytes) const {
    std::size_t size = GetParam().gso ? kSegment : bytes.size();
    std::vector<Bytes> datagrams;
    for (std::size_t at = 0; at < bytes.size(); at += size) {
      std::span<const std::uint8_t> rest = std::span(bytes).subspan(at);
      rest = rest.first(std::min(size, rest.size()));
      datagrams.emplace_back(rest.begin(), rest.end());
    }
    return datagrams;
  }

  // The payloads of the next datagrams that arrive, up to the one with the last of `size` bytes.
  Result<std::vector<Bytes>> receive(std::size_t size) {
    std::vector<Bytes> datagrams;
    for (std::size_t got = 0; got < size; got += datagrams.back().size()) {
      SOCKREPAIR_TRY_ASSIGN(Datagram datagram, receiver_->receive());
      datagrams.push_back(std::move(datagram.payload));
    }
    return datagrams;
  }

  Bytes payload_ = pattern(kSize);
  iovec part_{payload_.data(), payload_.size()};
  msghdr message_{};
  Fd fd_;
  std::optional<Receiver> receiver_;
};

// The dump is that of the same datagram begun with sendmsg(), but for how its payload is held.
TEST_P(IoUringSendTest, DumpIsThatOfSendmsg) {
  ASSERT_THAT(begin(), Sent(GetParam().operation.zerocopy));
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(fd_));

  ASSERT_OK_AND_ASSIGN(Fd twin, open_socket(GetParam().peer, GetParam().gso));
  ASSERT_THAT(send(twin, {.payload = payload_, .more = true}), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> expected, dump_send_queue(twin));
  ASSERT_TRUE(expected.has_value());
  expected->zerocopy = GetParam().refers_to_memory();
  EXPECT_THAT(queue, Optional(SameQueueAs(*expected)));
}

// What is restored is a copy that owes io_uring nothing; the original leaves as if nothing had
// been.
TEST_P(IoUringSendTest, OriginalAndRestoredArrive) {
  ASSERT_THAT(begin(), Sent(GetParam().operation.zerocopy));
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(fd_));
  ASSERT_TRUE(queue.has_value());
  ASSERT_OK_AND_ASSIGN(Fd fresh, open_socket(GetParam().peer, GetParam().gso));
  ASSERT_THAT(restore_send_queue(fresh, *queue), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> again, dump_send_queue(fresh));
  queue->zerocopy = false;
  EXPECT_THAT(again, Optional(SameQueueAs(*queue)));

  const Bytes end = {'e', 'n', 'd'};
  Bytes whole = payload_;
  whole.insert(whole.end(), end.begin(), end.end());
  for (const Fd* fd : {&fresh, &fd_}) {
    ASSERT_THAT(send(*fd, {.payload = end}), IsOk());
    EXPECT_THAT(receive(whole.size()), IsOkAndHolds(datagrams_of(whole)));
  }
}

INSTANTIATE_TEST_SUITE_P(All, IoUringSendTest, ValuesIn(all_kinds()), ParamName());

// ---------------------------------------------------------------------------------- notifications

using IoUringNotificationTest = IoUringSendTest;

// The sender hears that its memory is free when the datagram that refers to it has gone, be it
// dumped or not; at once if it was copied.
TEST_P(IoUringNotificationTest, ComesWhenTheMemoryIsFree) {
  ASSERT_THAT(begin(), Sent(true));
  ASSERT_OK_AND_ASSIGN(std::optional<Completion> early, ring_->poll());
  EXPECT_EQ(early.has_value(), !GetParam().refers_to_memory());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(fd_));
  EXPECT_EQ(queue->payload, payload_);
  if (early.has_value()) {
    EXPECT_EQ(*early, (Completion{kNotifUsageCopied, false, true}));
    return;
  }
  EXPECT_THAT(ring_->poll(), IsOkAndHolds(std::nullopt));

  ASSERT_THAT(sys::setsockopt<int>(fd_.get(), SOL_UDP, UDP_CORK, 0), IsOk());
  EXPECT_THAT(receive(kSize), IsOkAndHolds(datagrams_of(payload_)));
  EXPECT_THAT(ring_->wait(), IsNotification());
}

INSTANTIATE_TEST_SUITE_P(All, IoUringNotificationTest,
                         ValuesIn(kinds_that([](const Kind& k) { return k.operation.zerocopy; })),
                         ParamName());

using IoUringMemoryTest = IoUringSendTest;

// The memory is the datagram: what is written there before it leaves is in the dump too.
TEST_P(IoUringMemoryTest, DumpReadsTheSendersMemory) {
  ASSERT_THAT(begin(), Sent(true));
  payload_[kSize / 2] ^= 0xff;
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(fd_));
  EXPECT_EQ(queue->payload, payload_);
}

// Throwing the datagram away frees the memory as sending it does.
TEST_P(IoUringMemoryTest, DiscardFreesTheMemory) {
  ASSERT_THAT(begin(), Sent(true));
  EXPECT_THAT(ring_->poll(), IsOkAndHolds(std::nullopt));
  ASSERT_THAT(discard_send_queue(fd_), IsOk());
  EXPECT_THAT(ring_->wait(), IsNotification());
  EXPECT_THAT(dump_send_queue(fd_), IsOkAndHolds(std::nullopt));
}

// Copied bytes can follow; the dump has them all, in pages of both kinds.
TEST_P(IoUringMemoryTest, CopiedBytesCanFollow) {
  ASSERT_THAT(begin(), Sent(true));
  Bytes more = pattern(500);
  ASSERT_THAT(send(fd_, {.payload = more, .more = true}), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(fd_));
  Bytes whole = payload_;
  whole.insert(whole.end(), more.begin(), more.end());
  EXPECT_EQ(queue->payload, whole);
  EXPECT_TRUE(queue->zerocopy);
}

// A second zerocopy request has a notification of its own, and an skb has room for one: the kernel
// refuses, and as after any append that fails, the datagram is gone.
TEST_P(IoUringMemoryTest, SecondRequestEndsTheDatagram) {
  ASSERT_THAT(begin(), Sent(true));
  std::vector<Completion> completions;
  ASSERT_OK_AND_ASSIGN(completions.emplace_back(), begin());
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK_AND_ASSIGN(completions.emplace_back(), ring_->wait());
  }
  EXPECT_THAT(completions, UnorderedElementsAre(Completion{-EINVAL, true, false},
                                                Field(&Completion::notification, true),
                                                Field(&Completion::notification, true)));
  EXPECT_THAT(dump_send_queue(fd_), IsOkAndHolds(std::nullopt));
}

INSTANTIATE_TEST_SUITE_P(All, IoUringMemoryTest,
                         ValuesIn(kinds_that([](const Kind& k) { return k.refers_to_memory(); })),
                         ParamName());

// ---------------------------------------------------------------------------------------- options

class IoUringOptionTest : public IoUringTest, public ::testing::WithParamInterface<Peer> {
 protected:
  void SetUp() override {
    IoUringTest::SetUp();
    if (HasFatalFailure()) return;
    ASSERT_OK_AND_ASSIGN(fd_, open_socket(GetParam(), false));
  }

  // setsockopt(UDP_REPAIR) by a request; 0 or minus an errno number.
  Result<int> set_repair(Ring& ring, int value, std::uint32_t length = sizeof(int),
                         std::uint16_t personality = 0) const {
    SOCKREPAIR_TRY_ASSIGN(Completion completion, ring.run([&](io_uring_sqe* sqe) {
      prepare_socket_option(sqe, kSocketOpSetsockopt, fd_, SOL_UDP, UDP_REPAIR, &value, length);
      sqe->personality = personality;
    }));
    return completion.result;
  }

  // getsockopt() by a request: what it writes, or minus an errno number.
  Result<int> get(int level, int name, void* value, std::uint32_t length) {
    SOCKREPAIR_TRY_ASSIGN(Completion completion, ring_->run([&](io_uring_sqe* sqe) {
      prepare_socket_option(sqe, kSocketOpGetsockopt, fd_, level, name, value, length);
    }));
    return completion.result;
  }

  Fd fd_;
};

TEST_P(IoUringOptionTest, SwitchesRepairMode) {
  EXPECT_THAT(get_udp_repair(fd_), IsOkAndHolds(false));
  EXPECT_THAT(set_repair(*ring_, UDP_REPAIR_ON), IsOkAndHolds(0));
  EXPECT_THAT(get_udp_repair(fd_), IsOkAndHolds(true));
  EXPECT_THAT(set_repair(*ring_, UDP_REPAIR_OFF), IsOkAndHolds(0));
  EXPECT_THAT(get_udp_repair(fd_), IsOkAndHolds(false));
}

TEST_P(IoUringOptionTest, RefusesWhatSetsockoptRefuses) {
  EXPECT_THAT(set_repair(*ring_, 2), IsOkAndHolds(-EINVAL));
  EXPECT_THAT(set_repair(*ring_, UDP_REPAIR_ON, sizeof(int) - 1), IsOkAndHolds(-EINVAL));
  EXPECT_THAT(get_udp_repair(fd_), IsOkAndHolds(false));
}

TEST_P(IoUringOptionTest, NeedsTheCapability) {
  for (int value : {UDP_REPAIR_ON, UDP_REPAIR_OFF, 2}) {
    EXPECT_THAT(without_capabilities([&]() -> Result<void> {
                  SOCKREPAIR_TRY_ASSIGN(Ring ring, Ring::create());
                  SOCKREPAIR_TRY_ASSIGN(int result, set_repair(ring, value));
                  if (result == 0) return {};
                  return Error{-result, "UDP_REPAIR"};
                }),
                FailsWith(EPERM, "UDP_REPAIR"))
        << value;
  }
  EXPECT_THAT(get_udp_repair(fd_), IsOkAndHolds(false));
}

// Whoever lends its credentials to a ring lends them for this, too.
TEST_P(IoUringOptionTest, LentCredentialsCount) {
  ASSERT_OK_AND_ASSIGN(std::uint16_t credentials, ring_->register_credentials());
  EXPECT_THAT(without_capabilities([&]() -> Result<void> {
                SOCKREPAIR_TRY_ASSIGN(int own, set_repair(*ring_, UDP_REPAIR_ON));
                if (own != -EPERM) return Error{EPROTO, "own credentials: " + std::to_string(own)};
                SOCKREPAIR_TRY_ASSIGN(int lent,
                                      set_repair(*ring_, UDP_REPAIR_ON, sizeof(int), credentials));
                if (lent != 0) return Error{-lent, "lent credentials"};
                return {};
              }),
              IsOk());
  EXPECT_THAT(get_udp_repair(fd_), IsOkAndHolds(true));
}

// io_uring's getsockopt command serves one level only: neither the mode nor a dump can be had.
TEST_P(IoUringOptionTest, CannotDump) {
  int type = 0;
  EXPECT_THAT(get(SOL_SOCKET, SO_TYPE, &type, sizeof(type)), IsOkAndHolds(sizeof(type)));
  EXPECT_EQ(type, SOCK_DGRAM);

  ASSERT_THAT(set_udp_repair(fd_, true), IsOk());
  ASSERT_THAT(send(fd_, {.payload = pattern(10), .more = true}), IsOk());
  int mode = 0x55555555;
  EXPECT_THAT(get(SOL_UDP, UDP_REPAIR, &mode, sizeof(mode)), IsOkAndHolds(-EOPNOTSUPP));
  EXPECT_EQ(mode, 0x55555555);

  udp_repair_send_queue header{};
  header.size = sizeof(header);
  EXPECT_THAT(get(SOL_UDP, UDP_REPAIR_SEND_QUEUE, &header, sizeof(header)),
              IsOkAndHolds(-EOPNOTSUPP));
  EXPECT_EQ(header.total_len, 0U);
  // The system call, with the same arguments, can.
  EXPECT_THAT(
      sys::getsockopt_bytes(fd_.get(), SOL_UDP, UDP_REPAIR_SEND_QUEUE, &header, sizeof(header)),
      IsOkAndHolds(sizeof(header)));
  EXPECT_EQ(header.payload_len, 10U);
}

INSTANTIATE_TEST_SUITE_P(All, IoUringOptionTest, ValuesIn(kPeers), ParamName());

}  // namespace
}  // namespace sockrepair::test

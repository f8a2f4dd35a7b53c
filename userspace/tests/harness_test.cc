// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The test utilities themselves: that they see what is there, and that they can fail. Needs root,
// but no kernel feature of ours.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/uio.h>

#include <chrono>
#include <string>
#include <vector>

#include "control_messages.h"
#include "sockrepair/syscall.h"
#include "uapi.h"
#include "util/deadline.h"
#include "util/matchers.h"
#include "util/privileges.h"
#include "util/receiver.h"
#include "util/two_hosts.h"
#include "util/wire_capture.h"

namespace sockrepair::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr std::uint16_t kSenderPort = 4000;
constexpr std::uint16_t kReceiverPort = 5000;

class HarnessTest : public ::testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TwoHosts hosts, TwoHosts::create());
    hosts_.emplace(std::move(hosts));
    ASSERT_OK_AND_ASSIGN(Receiver receiver, Receiver::open(hosts_->receiver, to()));
    receiver_.emplace(std::move(receiver));
    ASSERT_OK_AND_ASSIGN(WireCapture wire, WireCapture::open(hosts_->receiver, kWire));
    wire_.emplace(std::move(wire));
    ASSERT_OK_AND_ASSIGN(sender_,
                         hosts_->sender.run([&] { return sys::socket(domain(), SOCK_DGRAM, 0); }));
    ASSERT_THAT(sys::bind(sender_.get(), SocketAddress(from(), domain())), IsOk());
  }

  int domain() const { return GetParam() == Family::kIpv4 ? AF_INET : AF_INET6; }
  Endpoint from() const { return {sender_address(GetParam()), kSenderPort, 0}; }
  Endpoint to() const { return {receiver_address(GetParam()), kReceiverPort, 0}; }
  WireCapture::Flow flow() const { return {from(), kReceiverPort}; }

  Result<std::size_t> send(std::vector<std::uint8_t> payload,
                           sockrepair::internal::ControlMessages control = {}) {
    SocketAddress address(to(), domain());
    iovec part{payload.data(), payload.size()};
    msghdr message{};
    message.msg_name = const_cast<sockaddr*>(address.get());
    message.msg_namelen = address.size();
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    control.attach(message);
    return sys::sendmsg(sender_.get(), message, 0);
  }

  std::optional<TwoHosts> hosts_;
  std::optional<Receiver> receiver_;
  std::optional<WireCapture> wire_;
  Fd sender_;
};

TEST_P(HarnessTest, ReceiverTellsWhatItGot) {
  sockrepair::internal::ControlMessages control;
  bool v4 = GetParam() == Family::kIpv4;
  control.add<int>(v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT, 3);
  control.add<int>(v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, 0x2c);
  ASSERT_THAT(send({1, 2, 3}, control), IsOkAndHolds(3U));
  ASSERT_OK_AND_ASSIGN(Datagram got, receiver_->receive());
  EXPECT_EQ(got.payload, (Datagram::Bytes{1, 2, 3}));
  EXPECT_EQ(got.source, from());
  EXPECT_EQ(got.destination, to().address);
  EXPECT_EQ(got.ifindex, kWireIndex);
  EXPECT_EQ(got.hop_limit, 3);
  EXPECT_EQ(got.traffic_class, 0x2c);
  EXPECT_EQ(got.fragment_size.value_or(0), 0);
  EXPECT_THAT(receiver_->drain(), IsOkAndHolds(IsEmpty()));
}

TEST_P(HarnessTest, ReceiverGivesUpAtTheDeadline) {
  EXPECT_THAT(receiver_->receive(Deadline::after(std::chrono::milliseconds(1))),
              FailsWith(ETIMEDOUT, HasSubstr("waiting until a datagram arrives")));
}

TEST_P(HarnessTest, EqualDatagramsAreEqualOnTheWire) {
  std::vector<std::uint8_t> payload(4000, 7);
  std::vector<Frame> frames[2];
  for (auto& taken : frames) {
    ASSERT_THAT(send(payload), IsOk());
    ASSERT_THAT(receiver_->receive(), IsOk());
    ASSERT_OK_AND_ASSIGN(taken, wire_->take(flow()));
  }
  EXPECT_THAT(frames[0], SizeIs(3));
  EXPECT_THAT(frames[0], SameFrames(frames[1]));
}

TEST_P(HarnessTest, OneByteMakesAnotherFrame) {
  std::vector<std::uint8_t> payload(4000, 7);
  ASSERT_THAT(send(payload), IsOk());
  ASSERT_THAT(receiver_->receive(), IsOk());
  ASSERT_OK_AND_ASSIGN(std::vector<Frame> frames, wire_->take(flow()));
  payload[3999] = 8;
  ASSERT_THAT(send(payload), IsOk());
  ASSERT_THAT(receiver_->receive(), IsOk());
  ASSERT_OK_AND_ASSIGN(std::vector<Frame> others, wire_->take(flow()));
  EXPECT_THAT(others, Not(SameFrames(frames)));
  // Both the byte and the UDP checksum of the first fragment, which covers it.
  EXPECT_NE(others.front(), frames.front());
  EXPECT_EQ(others[1], frames[1]);
  EXPECT_NE(others.back(), frames.back());
}

TEST_P(HarnessTest, HopLimitMakesAnotherFrame) {
  ASSERT_THAT(send({1}), IsOk());
  sockrepair::internal::ControlMessages control;
  bool v4 = GetParam() == Family::kIpv4;
  control.add<int>(v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT, 3);
  ASSERT_THAT(send({1}, control), IsOk());
  ASSERT_OK_AND_ASSIGN(std::vector<Frame> frames, wire_->take(flow(), 2));
  EXPECT_NE(frames[0], frames[1]);
}

TEST_P(HarnessTest, CaptureLeavesOtherFlowsOut) {
  ASSERT_THAT(send({1}), IsOk());
  ASSERT_THAT(receiver_->receive(), IsOk());
  WireCapture::Flow other = flow();
  ++other.destination_port;
  EXPECT_THAT(wire_->take(other), IsOkAndHolds(IsEmpty()));
}

TEST_P(HarnessTest, CaptureSeesSegmentsNotSuperFrames) {
  sockrepair::internal::ControlMessages control;
  control.add<std::uint16_t>(SOL_UDP, UDP_SEGMENT, 1000);
  ASSERT_THAT(send(std::vector<std::uint8_t>(2500), control), IsOk());
  ASSERT_OK_AND_ASSIGN(std::vector<Frame> frames, wire_->take(flow(), 3));
  EXPECT_THAT(frames, SizeIs(3));
}

INSTANTIATE_TEST_SUITE_P(All, HarnessTest, ::testing::Values(Family::kIpv4, Family::kIpv6),
                         [](const auto& test) { return std::string(family_name(test.param)); });

TEST(TwinHostsTest, SendTheSameFrames) {
  std::vector<Frame> frames[2];
  for (auto& taken : frames) {
    ASSERT_OK_AND_ASSIGN(TwoHosts hosts, TwoHosts::create());
    ASSERT_OK_AND_ASSIGN(WireCapture wire, WireCapture::open(hosts.receiver, kWire));
    ASSERT_OK_AND_ASSIGN(Fd fd,
                         hosts.sender.run([] { return sys::socket(AF_INET6, SOCK_DGRAM, 0); }));
    Endpoint from{sender_address(Family::kIpv6), kSenderPort, 0};
    ASSERT_THAT(sys::bind(fd.get(), SocketAddress(from, AF_INET6)), IsOk());
    SocketAddress to({receiver_address(Family::kIpv6), kReceiverPort, 0}, AF_INET6);
    ASSERT_EQ(::sendto(fd.get(), "x", 1, 0, to.get(), to.size()), 1);
    ASSERT_OK_AND_ASSIGN(taken, wire.take({from, kReceiverPort}, 1));
  }
  EXPECT_THAT(frames[0], SameFrames(frames[1]));
}

TEST(MatchersTest, CanFail) {
  Result<int> good = 3;
  Result<int> bad = Error{EPERM, "call(1)"};
  EXPECT_THAT(good, IsOk());
  EXPECT_THAT(bad, Not(IsOk()));
  EXPECT_THAT(good, IsOkAndHolds(3));
  EXPECT_THAT(good, Not(IsOkAndHolds(4)));
  EXPECT_THAT(bad, Not(IsOkAndHolds(3)));
  EXPECT_THAT(bad, FailsWith(EPERM));
  EXPECT_THAT(bad, Not(FailsWith(EINVAL)));
  EXPECT_THAT(bad, FailsWith(EPERM, "call(1)"));
  EXPECT_THAT(bad, Not(FailsWith(EPERM, "call(2)")));
  EXPECT_THAT(good, Not(FailsWith(EPERM)));
}

TEST(MatchersTest, SendQueuesDifferInOneMember) {
  SendQueue queue;
  SendQueue other = queue;
  EXPECT_THAT(other, SameQueueAs(queue));
  other.hop_limit = 0;
  EXPECT_THAT(other, Not(SameQueueAs(queue)));
  ::testing::StringMatchResultListener listener;
  ::testing::ExplainMatchResult(SameQueueAs(queue), other, &listener);
  EXPECT_EQ(listener.str(), "\n  hop_limit: 0 instead of not given");
}

TEST(PrivilegesTest, CapabilitiesAreGone) {
  auto enter_network = [] {
    return sys::socket(AF_PACKET, SOCK_RAW, 0).ok() ? Result<void>() : Error{EPERM, "AF_PACKET"};
  };
  EXPECT_THAT(enter_network(), IsOk());
  EXPECT_THAT(without_capabilities(enter_network), FailsWith(EPERM, "AF_PACKET"));
  EXPECT_THAT(in_user_namespace(enter_network), IsOk());
}

TEST(PrivilegesTest, UserNamespaceHasNoPowerOutside) {
  ASSERT_OK_AND_ASSIGN(Fd ours, sys::socket(AF_INET, SOCK_DGRAM, 0));
  auto mark = [](const Fd& fd) { return sys::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, 1); };
  EXPECT_THAT(mark(ours), IsOk());
  EXPECT_THAT(in_user_namespace([&] { return mark(ours); }), FailsWith(EPERM));
}

TEST(PrivilegesTest, LostChildIsAnError) {
  EXPECT_THAT(without_capabilities([]() -> Result<void> { ::_exit(0); }), FailsWith(ECHILD));
}

TEST(WorkerDeathTest, ThreadThatDoesNotStopAborts) {
  EXPECT_DEATH(
      {
        Worker worker("stubborn", [](const std::atomic<bool>&) { ::poll(nullptr, 0, -1); });
        worker.stop_and_join(Deadline::after(std::chrono::milliseconds(1)));
      },
      "thread 'stubborn' ends: ETIMEDOUT");
}

}  // namespace
}  // namespace sockrepair::test

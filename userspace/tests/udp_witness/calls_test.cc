// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// A dump neither sends nor receives: the kernel functions that do are not entered. Each counter is
// shown to count.

#include <set>
#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "sockrepair/udp_send_queue.h"
#include "try.h"
#include "uapi.h"
#include "udp_witness/witness_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::ValuesIn;

TEST_P(WitnessPeerTest, DumpEntersNoSendOrReceive) {
  ASSERT_OK_AND_ASSIGN(UnderConstruction original, begin(GetParam(), rich_recipe()));
  CallCounts before = witness_->calls();
  // With repair mode switched on and off by the library.
  for (int i = 0; i < 10; ++i) {
    ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(*original.fd));
    ASSERT_TRUE(queue.has_value());
  }
  EXPECT_EQ(witness_->calls(), before);
}

INSTANTIATE_TEST_SUITE_P(All, WitnessPeerTest, ValuesIn(kPeers), ParamName());

// Two sockets on lo, one connected to the other.
struct Pair {
  Fd receiver;
  Fd sender;

  static Result<Pair> make(int domain) {
    SOCKREPAIR_TRY_ASSIGN(Fd receiver, new_socket(domain));
    SOCKREPAIR_TRY_ASSIGN(Fd sender, new_socket(domain));
    IpAddress loopback = *IpAddress::parse(domain == AF_INET ? "127.0.0.1" : "::1");
    SOCKREPAIR_TRY(sys::bind(receiver.get(), SocketAddress(Endpoint{loopback, 0, 0}, domain)));
    SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(receiver.get()));
    SOCKREPAIR_TRY(sys::connect(sender.get(), name));
    return Pair{std::move(receiver), std::move(sender)};
  }

  Result<void> send(bool more) const {
    const std::uint8_t byte[] = {'x'};
    return test::send(sender, {.payload = byte, .more = more});
  }

  Result<void> receive() const {
    char byte;
    iovec part{&byte, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    Result<std::size_t> received = sys::recvmsg(receiver.get(), message, 0);
    if (!received) return received.error();
    return {};
  }
};

Result<void> send_and_receive(int domain) {
  SOCKREPAIR_TRY_ASSIGN(Pair pair, Pair::make(domain));
  SOCKREPAIR_TRY(pair.send(false));
  return pair.receive();
}

Result<void> send_and_receive_v4() {
  return send_and_receive(AF_INET);
}

Result<void> send_and_receive_v6() {
  return send_and_receive(AF_INET6);
}

Result<void> uncork() {
  SOCKREPAIR_TRY_ASSIGN(Pair pair, Pair::make(AF_INET));
  SOCKREPAIR_TRY(pair.send(true));
  return sys::setsockopt<int>(pair.sender.get(), SOL_UDP, UDP_CORK, 0);
}

// The IPv6 socket calls it from another file, so that no compiler can have put it in line.
Result<void> close_mapped_with_datagram() {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, new_socket(AF_INET6));
  const std::uint8_t byte[] = {'x'};
  Endpoint to{*IpAddress::parse("127.0.0.1"), 9, 0};
  return send(fd, {.payload = byte, .to = to, .more = true});
}

// Something that enters a function whose calls are counted.
struct Entry {
  std::string name;  // of the function
  Result<void> (*enter)();

  friend void PrintTo(const Entry& entry, std::ostream* out) { *out << entry.name; }
};

const std::vector<Entry> kEntries = {
    {"udp_sendmsg", send_and_receive_v4},
    {"udp_recvmsg", send_and_receive_v4},
    {"udpv6_sendmsg", send_and_receive_v6},
    {"udpv6_recvmsg", send_and_receive_v6},
    {"__skb_recv_udp", send_and_receive_v4},
    {"udp_push_pending_frames", uncork},
    {"udp_flush_pending_frames", close_mapped_with_datagram},
};

class WitnessCallTest : public WitnessTest, public ::testing::WithParamInterface<Entry> {};

TEST_P(WitnessCallTest, IsCounted) {
  CallCounts before = witness_->calls();
  ASSERT_THAT(GetParam().enter(), IsOk());
  EXPECT_GT(witness_->calls()[GetParam().name], before[GetParam().name]);
}

INSTANTIATE_TEST_SUITE_P(All, WitnessCallTest, ValuesIn(kEntries), ParamName());

TEST_F(WitnessTest, EveryCounterIsShownToCount) {
  std::set<std::string> counted;
  std::set<std::string> entered;
  for (const auto& [function, calls] : witness_->calls()) counted.insert(function);
  for (const Entry& entry : kEntries) entered.insert(entry.name);
  EXPECT_EQ(entered, counted);
}

}  // namespace
}  // namespace sockrepair::test

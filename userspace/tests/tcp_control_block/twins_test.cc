// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What programs see of a connection that was moved, against one that was not: urgent data at every
// place, each state of closing, data in pages that are not the kernel's. And what only a moved one
// goes through: segments that have to be sent again, a month in which it was nowhere.

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <sstream>
#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "tcp_control_block/mover.h"
#include "tcp_control_block/situations.h"
#include "tcp_control_block/twins.h"
#include "tcp_restore/image.h"
#include "try.h"
#include "util/command.h"
#include "util/deadline.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::Le;
using ::testing::Lt;
using ::testing::ValuesIn;

constexpr std::uint64_t kMonthUs = 30ULL * 86400 * 1'000'000;

// The server's end, to a new host. `silent`: which does not send anything until it is told to.
Result<void> move_server(World& world, std::uint32_t flags = 0, std::uint64_t pause_us = 0,
                         bool silent = false) {
  SOCKREPAIR_TRY(world.silence_client(true));
  SOCKREPAIR_TRY(enter_repair(world.server));
  SOCKREPAIR_TRY_ASSIGN(Connection image, read_connection(world.server));
  world.server.reset();
  SOCKREPAIR_TRY(world.hosts.replace_receiver());
  if (silent) SOCKREPAIR_TRY(world.silence_server(true));
  SOCKREPAIR_TRY_ASSIGN(world.server, world.hosts.receiver.run([&] { return make_socket(image); }));
  image.block.flags = flags;
  image.block.pause = pause_us;
  SOCKREPAIR_TRY(set_control_block(world.server, image.block));
  SOCKREPAIR_TRY(world.silence_client(false));
  return resume(world.server, image);
}

class TcpTwinsTest : public ::testing::TestWithParam<Twins> {};

TEST_P(TcpTwinsTest, ProgramsSeeNoDifference) {
  std::vector<std::string> seen[2];
  for (const bool moved : {false, true}) {
    ASSERT_OK_AND_ASSIGN(World world, make_plain_world(AF_INET));
    ASSERT_THAT(GetParam().prepare(world), IsOk());
    if (moved) {
      ASSERT_THAT(move_server(world), IsOk());
    }
    ASSERT_OK_AND_ASSIGN(seen[moved], GetParam().observe(world));
  }
  EXPECT_FALSE(seen[0].empty());
  EXPECT_EQ(seen[1], seen[0]);
}

INSTANTIATE_TEST_SUITE_P(All, TcpTwinsTest, ValuesIn(twins()), ParamName());

// --- what has to be sent again ---

Result<tcp_info> info_of(const Fd& fd) {
  return sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO);
}

// Times that a sender of the host found that what was acknowledged selectively was not there.
Result<int> renegings(const NetNs& host) {
  SOCKREPAIR_TRY_ASSIGN(const std::string text, host.run([] {
    return run_command({"cat", "/proc/thread-self/net/netstat"});
  }));
  // A line of names, and one of numbers.
  std::istringstream lines(text);
  std::string names;
  std::string numbers;
  while (std::getline(lines, names) && std::getline(lines, numbers)) {
    std::istringstream name_stream(names);
    std::istringstream number_stream(numbers);
    std::string name;
    std::string number;
    while (name_stream >> name && number_stream >> number)
      if (name == "TCPSACKReneging") return std::stoi(number);
  }
  return Error{ENOENT, "TCPSACKReneging"};
}

// The receiver has all but the first segment, and has told so; then it is moved, and what it has
// out of order is gone. The sender believes it is there, and needs one timeout to send the first
// one. What it then finds out it acts upon after half a round trip, and counts as a timeout as
// well.
TEST(TcpOutOfOrderTest, WhatAMovedReceiverHasDroppedIsSentAgainAfterOneTimeout) {
  ASSERT_OK_AND_ASSIGN(World world, make_plain_world(AF_INET));
  ASSERT_OK_AND_ASSIGN(const tcp_repair_cb before, look_at(world.server));
  ASSERT_THAT(lose_segment(world.server, before.rcv_nxt), IsOk());
  ASSERT_THAT(world.up.send(world.client, 14'000), IsOk());
  ASSERT_THAT(wait_until("segments out of order", Deadline::after(kPatience),
                         [&] {
                           const Result<tcp_info> sender = info_of(world.client);
                           return sender.ok() && sender->tcpi_sacked >= 5;
                         }),
              IsOk());
  ASSERT_OK_AND_ASSIGN(const tcp_repair_cb receiver, look_at(world.server));
  ASSERT_EQ(receiver.rcv_nxt, before.rcv_nxt);
  ASSERT_GE(receiver.rcv_ooopack, 5U);

  ASSERT_THAT(move_server(world), IsOk());
  // Timeouts of the time when nobody was there do not count.
  ASSERT_OK_AND_ASSIGN(const tcp_repair_cb sender, look_at(world.client));
  // All that was sent, byte for byte.
  ASSERT_THAT(world.up.transfer(world.client, world.server, 0), IsOk());
  ASSERT_OK_AND_ASSIGN(const tcp_repair_cb after, look_at(world.client));
  ASSERT_OK_AND_ASSIGN(const int reneged, renegings(world.hosts.sender));
  EXPECT_THAT(reneged, Le(1));
  EXPECT_THAT(after.total_rto - sender.total_rto - reneged, Le(1));
  EXPECT_THAT(world.up.transfer(world.client, world.server, 100'000), IsOk());
  EXPECT_THAT(world.down.transfer(world.server, world.client, 100'000), IsOk());
}

// The sender is moved, and no longer knows what the receiver has out of order.
TEST(TcpOutOfOrderTest, AMovedSenderClosesTheGapAfterOneTimeout) {
  ASSERT_OK_AND_ASSIGN(World world, make_plain_world(AF_INET));
  ASSERT_OK_AND_ASSIGN(const tcp_repair_cb before, look_at(world.server));
  ASSERT_THAT(lose_segment(world.client, before.snd_nxt), IsOk());
  ASSERT_THAT(world.down.send(world.server, 14'000), IsOk());
  ASSERT_THAT(wait_until("segments out of order", Deadline::after(kPatience),
                         [&] {
                           const Result<tcp_info> sender = info_of(world.server);
                           return sender.ok() && sender->tcpi_sacked >= 5;
                         }),
              IsOk());
  ASSERT_OK_AND_ASSIGN(const tcp_repair_cb sender, look_at(world.server));
  ASSERT_EQ(sender.snd_una, before.snd_nxt);
  ASSERT_GE(sender.sacked_out, 5U);

  ASSERT_THAT(move_server(world), IsOk());
  ASSERT_THAT(unblock(world.client), IsOk());
  // Timeouts of the time when the segment was still lost do not count.
  ASSERT_OK_AND_ASSIGN(const tcp_repair_cb heard, look_at(world.server));
  ASSERT_THAT(world.down.transfer(world.server, world.client, 0), IsOk());
  ASSERT_OK_AND_ASSIGN(const tcp_repair_cb after, look_at(world.server));
  EXPECT_THAT(after.total_rto - heard.total_rto, Le(1));
  EXPECT_THAT(world.up.transfer(world.client, world.server, 100'000), IsOk());
  EXPECT_THAT(world.down.transfer(world.server, world.client, 100'000), IsOk());
}

// --- a month ---

// Both ends were nowhere for 30 days, more than timestamps of milliseconds can tell apart: each
// still hears the other, however the month is counted, and takes it for no round trip.
struct Month {
  std::string name;
  std::uint32_t flags;

  friend void PrintTo(const Month& param, std::ostream* out) { *out << param.name; }
};
const std::vector<Month> kMonths = {{"counted", TCP_REPAIR_CB_COUNT_PAUSE}, {"not_counted", 0}};

class TcpMonthTest : public ::testing::TestWithParam<Month> {};

TEST_P(TcpMonthTest, BothEndsHearEachOther) {
  ASSERT_OK_AND_ASSIGN(World world, make_plain_world(AF_INET));
  ASSERT_THAT(world.up.transfer(world.client, world.server, 10'000), IsOk());
  ASSERT_THAT(world.down.transfer(world.server, world.client, 10'000), IsOk());
  ASSERT_THAT(world.up.send(world.client, 1000), IsOk());
  ASSERT_THAT(world.down.send(world.server, 1000), IsOk());

  ASSERT_THAT(move_server(world, GetParam().flags, kMonthUs, true), IsOk());
  ASSERT_OK_AND_ASSIGN(world.client, world.hosts.sender.run([&] {
    return move_here(std::move(world.client), GetParam().flags, kMonthUs);
  }));
  ASSERT_THAT(world.silence_server(false), IsOk());
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(world.up.transfer(world.client, world.server, 10'000), IsOk());
    ASSERT_THAT(world.down.transfer(world.server, world.client, 10'000), IsOk());
  }
  for (const Fd* fd : {&world.client, &world.server}) {
    ASSERT_OK_AND_ASSIGN(const tcp_info info, info_of(*fd));
    EXPECT_THAT(info.tcpi_rtt, Lt(20'000'000U));
    EXPECT_THAT(info.tcpi_rto, Lt(60'000'000U));
  }
}

INSTANTIATE_TEST_SUITE_P(All, TcpMonthTest, ValuesIn(kMonths), ParamName());

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The witness of TCP is not blind: each member that it knows by name is seen to change when a call
// changes it, and so is every byte of the socket.

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "tcp_witness/witness_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAreArray;
using ::testing::ValuesIn;

// A call that is accepted, and the members that it changes.
struct Change {
  std::string name;
  Result<Fd> (*make)(int domain);
  Result<void> (*call)(const Fd& fd);
  std::vector<std::string> members;

  friend void PrintTo(const Change& param, std::ostream* out) { *out << param.name; }
};
const std::vector<Change> kChanges = {
    {"mss",
     lonely,
     [](const Fd& fd) {
       const tcp_repair_opt option{kOptionMss, 1000};
       return set_options(fd, {&option, 1});
     },
     {"mss_clamp", "mss_cache"}},
    {"scale",
     lonely,
     [](const Fd& fd) { return set_scale(fd, 3, 2); },
     {"wscale_ok", "snd_wscale", "rcv_wscale"}},
    {"sack",
     lonely,
     [](const Fd& fd) {
       const tcp_repair_opt option{kOptionSackPerm, 0};
       return set_options(fd, {&option, 1});
     },
     {"sack_ok"}},
    {"window",
     lonely,
     [](const Fd& fd) {
       return set_window(fd, {kRcvSeq - 1, 800, 900, 3000, kRcvSeq - 4});
     },
     {"snd_wl1", "snd_wnd", "max_window", "rcv_wnd", "rcv_wup", "rcv_mwnd_seq", "mss_cache"}},
    {"queue",
     lonely,
     [](const Fd& fd) { return set_tcp(fd, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE); },
     {"repair_queue"}},
    {"off",
     unconnected,
     [](const Fd& fd) { return set_tcp(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP); },
     {"repair", "reuse"}},
    {"rcv_seq",
     unconnected,
     [](const Fd& fd) { return set_tcp(fd, TCP_QUEUE_SEQ, 99); },
     {"rcv_nxt", "copied_seq"}},
};

class TcpChangeTest : public TcpWitnessTest, public ::testing::WithParamInterface<Change> {};

TEST_P(TcpChangeTest, IsSeen) {
  ASSERT_OK_AND_ASSIGN(Fd fd, GetParam().make(AF_INET));
  const TcpState before = look(fd);
  ASSERT_THAT(GetParam().call(fd), IsOk());
  const TcpState after = look_again(fd);
  EXPECT_THAT(tcp_memory_changes(before.memory, after.memory), Not(IsEmpty()));
  const std::vector<std::string> seen = tcp_field_changes(before.memory, after.memory);
  for (const std::string& member : GetParam().members) EXPECT_THAT(seen, Contains(member));
}

INSTANTIATE_TEST_SUITE_P(All, TcpChangeTest, ValuesIn(kChanges), ParamName());

TEST_F(TcpWitnessTest, EveryByteCounts) {
  ASSERT_OK_AND_ASSIGN(Fd fd, lonely(AF_INET6));
  const tcp_witness_snapshot memory = look(fd).memory;
  ASSERT_GT(memory.size, 2000U);
  for (std::size_t at = 0; at < memory.size; ++at) {
    tcp_witness_snapshot changed = memory;
    changed.sock[at] ^= 0x40;
    ASSERT_THAT(tcp_memory_changes(memory, changed),
                ElementsAre(StartsWith("byte " + std::to_string(at) + ":")));
  }
}

TEST_F(TcpWitnessTest, AQuietSocketDoesNotChange) {
  for (auto make : {unconnected, lonely, lonely_with_data, live, left}) {
    ASSERT_OK_AND_ASSIGN(Fd fd, make(AF_INET));
    const TcpState before = look(fd);
    expect_unchanged(before, look_again(fd));
  }
}

TEST_F(TcpWitnessTest, SeesNothingButTcpSockets) {
  ASSERT_OK_AND_ASSIGN(Fd udp, sys::socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_THAT(witness_->look(udp.get()).ok() ? 0 : witness_->look(udp.get()).error().code,
              ENOTSOCK);
  EXPECT_FALSE(witness_->look(2).ok());
  EXPECT_FALSE(witness_->look(999'999).ok());
}

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What a value has to be, which is checked before anything is done.
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fstream>
#include <iterator>
#include <ostream>
#include <string>

#include "sockrepair/tcp_time_wait.h"
#include "tcp_time_wait_check.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Endpoint endpoint(const char* address, std::uint16_t port, std::uint32_t scope = 0) {
  return {IpAddress::parse(address).value(), port, scope};
}

TcpTimeWait good_v4() {
  TcpTimeWait value;
  value.domain = AF_INET;
  value.local = endpoint("192.0.2.1", 80);
  value.peer = endpoint("192.0.2.2", 40000);
  value.rcv_wnd = 65535;
  value.remaining = 59'200'000;
  return value;
}

TcpTimeWait good_v6() {
  TcpTimeWait value = good_v4();
  value.domain = AF_INET6;
  value.local = endpoint("fe80::1", 80, 7);
  value.peer = endpoint("fe80::2", 40000, 7);
  value.device = InterfaceName{7, "eth0"};
  value.flow_label = 0xfffff;
  return value;
}

TEST(TimeWaitValueTest, GoodOnesAreGood) {
  EXPECT_THAT(internal::check_tcp_time_wait(good_v4()), IsOk());
  EXPECT_THAT(internal::check_tcp_time_wait(good_v6()), IsOk());
  TcpTimeWait mapped = good_v4();
  mapped.domain = AF_INET6;
  EXPECT_THAT(internal::check_tcp_time_wait(mapped), IsOk());
  TcpTimeWait half = good_v4();
  half.state = TimeWaitState::kFinWait2;
  half.remaining = 420'000'000;
  EXPECT_THAT(internal::check_tcp_time_wait(half), IsOk());
}

struct Bad {
  std::string name;
  TcpTimeWait (*good)();
  void (*spoil)(TcpTimeWait& value);
  const char* member;
};

void PrintTo(const Bad& row, std::ostream* out) {
  *out << row.name;
}

const Bad kBad[] = {
    {"domain", good_v4, [](TcpTimeWait& v) { v.domain = AF_UNIX; }, "domain: 1"},
    {"state", good_v4, [](TcpTimeWait& v) { v.state = TimeWaitState{1}; }, "state: 1"},
    {"local_port", good_v4, [](TcpTimeWait& v) { v.local.port = 0; }, "local, port: 0"},
    {"peer_port", good_v4, [](TcpTimeWait& v) { v.peer.port = 0; }, "peer, port: 0"},
    {"local_any", good_v4, [](TcpTimeWait& v) { v.local = endpoint("0.0.0.0", 1); }, "local: "},
    {"peer_multicast", good_v4, [](TcpTimeWait& v) { v.peer = endpoint("239.1.1.1", 1); },
     "peer: "},
    {"local_of_v6", good_v4, [](TcpTimeWait& v) { v.local = endpoint("2001:db8::1", 1); },
     "local: "},
    {"families", good_v6, [](TcpTimeWait& v) { v.peer = endpoint("192.0.2.2", 1); }, "peer: "},
    {"scope", good_v6, [](TcpTimeWait& v) { v.peer.scope = 8; }, "peer: scope 8"},
    {"device_name", good_v6, [](TcpTimeWait& v) { v.device->name.clear(); }, "device: "},
    {"device_long", good_v6, [](TcpTimeWait& v) { v.device->name = "sixteencharacter"; },
     "device: "},
    {"flow_label", good_v6, [](TcpTimeWait& v) { v.flow_label = 0x100000; }, "flow_label: "},
    {"flow_label_v4", good_v4, [](TcpTimeWait& v) { v.flow_label = 1; }, "flow_label: "},
    {"tx_delay", good_v4, [](TcpTimeWait& v) { v.tx_delay = 0x80000000; }, "tx_delay: "},
    {"v6_only", good_v4, [](TcpTimeWait& v) { v.v6_only = true; }, "v6_only: "},
    {"rcv_scale", good_v4, [](TcpTimeWait& v) { v.rcv_scale = 15; }, "rcv_scale: 15"},
    {"rcv_wnd", good_v4, [](TcpTimeWait& v) { v.rcv_wnd = 65536; }, "rcv_wnd: 65536"},
    {"over", good_v4, [](TcpTimeWait& v) { v.remaining = 0; }, "remaining: 0"},
    {"too_long", good_v4, [](TcpTimeWait& v) { v.remaining = 60'000'001; }, "remaining: 60000001"},
    {"keys", good_v4, [](TcpTimeWait& v) { v.keys = "sixteencharacter"; }, "keys, bytes: 16"},
};

class TimeWaitBadTest : public ::testing::TestWithParam<Bad> {};

TEST_P(TimeWaitBadTest, IsRefusedByName) {
  TcpTimeWait value = GetParam().good();
  GetParam().spoil(value);
  EXPECT_THAT(restore_tcp_time_wait(value), FailsWith(EINVAL, StartsWith(GetParam().member)));
}

INSTANTIATE_TEST_SUITE_P(Members, TimeWaitBadTest, ::testing::ValuesIn(kBad), ParamName());

TEST(TimeWaitValueTest, SaysWhatItIs) {
  EXPECT_EQ(good_v4().describe(), "TIME_WAIT, 192.0.2.1:80 to 192.0.2.2:40000, 59.2 s left");
  TcpTimeWait half = good_v6();
  half.state = TimeWaitState::kFinWait2;
  EXPECT_THAT(half.describe(), StartsWith("FIN_WAIT2, [fe80::1%7]:80 to [fe80::2%7]:40000, "));
}

TEST(TimeWaitValueTest, SignedOnesCannotBeCarried) {
  TcpTimeWait value = good_v4();
  value.keys = "TCP-AO";
  EXPECT_THAT(restore_tcp_time_wait(value), FailsWith(EOPNOTSUPP, HasSubstr("keys: TCP-AO")));
}

TEST(TimeWaitValueTest, PauseOverTheEndLeavesNothingToDo) {
  Result<PreparedTimeWait> prepared =
      prepare_tcp_time_wait(good_v4(), {.count_pause = true, .pause = 59'200'000});
  ASSERT_THAT(prepared, IsOk());
  EXPECT_FALSE(prepared->fd);
  EXPECT_THAT(begin_tcp_time_wait(*std::move(prepared)), IsOk());
}

// Who finds no connections needs no libbpf.
TEST(TimeWaitValueTest, LoadsNoLibraryBefore) {
  std::ifstream maps("/proc/self/maps");
  std::string all((std::istreambuf_iterator<char>(maps)), std::istreambuf_iterator<char>());
  EXPECT_THAT(all, HasSubstr("libc.so"));
  EXPECT_THAT(all, Not(HasSubstr("libbpf")));
}

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Values that are no TCP socket are refused before the first call, by member, value and limit.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <vector>

#include "sockrepair/tcp_socket.h"
#include "uapi.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint32_t kRcvSeq = 5;  // the queue begins before 0
constexpr std::uint32_t kSndSeq = 0x80000000;

tcp_repair_cb block_of(const TcpSocket& socket) {
  tcp_repair_cb block{};
  memcpy(&block, socket.connection->control_block->data(), sizeof(block));
  return block;
}

void set_block(TcpSocket& socket, const tcp_repair_cb& block) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&block);
  socket.connection->control_block.emplace(bytes, bytes + sizeof(block));
}

// With something in every queue. The addresses are nobody's: a value that passed the checks would
// be refused by bind(2), which no expectation here takes for a refusal of its own.
TcpSocket connection() {
  TcpSocket socket;
  socket.domain = AF_INET;
  socket.state = TcpState::kEstablished;
  socket.local = Endpoint{*IpAddress::parse("192.0.2.1"), 4000, 0};
  socket.peer = Endpoint{*IpAddress::parse("192.0.2.2"), 4001, 0};
  TcpConnection& connection = socket.connection.emplace();
  connection.mss_clamp = 1460;
  connection.scales = TcpScales{7, 6};
  connection.rcv_seq = kRcvSeq;
  connection.snd_seq = kSndSeq;
  connection.receive_queue.assign(10, 'r');
  connection.send_queue.assign(20, 's');
  connection.unsent = 3;
  connection.window = {
      .snd_wl1 = kRcvSeq, .snd_wnd = 1000, .max_window = 2000, .rcv_wnd = 3000, .rcv_wup = kRcvSeq};
  return socket;
}

TcpSocket with_block() {
  TcpSocket socket = connection();
  tcp_repair_cb block{};
  block.size = sizeof(block);
  block.state = static_cast<std::uint8_t>(socket.state);
  block.rcv_nxt = kRcvSeq;
  block.copied_seq = kRcvSeq - 10;
  block.snd_una = kSndSeq - 20;
  block.snd_nxt = kSndSeq - 3;
  block.write_seq = kSndSeq;
  set_block(socket, block);
  return socket;
}

TcpSocket listener() {
  TcpSocket socket;
  socket.domain = AF_INET;
  socket.state = TcpState::kListen;
  socket.local = Endpoint{*IpAddress::parse("192.0.2.1"), 4000, 0};
  return socket;
}

// With a key for the network of the peer.
TcpSocket with_key() {
  TcpSocket socket = connection();
  TcpAo& ao = socket.ao.emplace();
  ao.sequence.emplace();
  TcpAoKey& key = ao.keys.emplace_back();
  key.address = *IpAddress::parse("192.0.2.0");
  key.prefix = 25;
  key.maclen = 12;
  key.algorithm = "hmac(sha1)";
  key.key = {1, 2, 3};
  key.current = key.next = true;
  return socket;
}

TcpAoKey& key_of(TcpSocket& socket) {
  return socket.ao->keys[0];
}

struct Bad {
  std::string name;
  TcpSocket (*base)();
  void (*spoil)(TcpSocket&);
  int code;
  const char* what;

  friend void PrintTo(const Bad& one, std::ostream* out) { *out << one.name; }
};

template <typename Change>
void change_block(TcpSocket& socket, Change change) {
  tcp_repair_cb block = block_of(socket);
  change(block);
  set_block(socket, block);
}

const Bad kBad[] = {
    {"domain", connection, [](TcpSocket& s) { s.domain = AF_UNIX; }, EAFNOSUPPORT, "domain: 1"},
    {"state_without_descriptor", connection,
     [](TcpSocket& s) { s.state = static_cast<TcpState>(6); }, EINVAL, "state: state 6"},
    {"no_peer", connection, [](TcpSocket& s) { s.peer.reset(); }, EINVAL,
     "peer: missing, the state is ESTABLISHED"},
    {"peer_of_a_listener", listener,
     [](TcpSocket& s) {
       s.peer = Endpoint{*IpAddress::parse("192.0.2.2"), 1, 0};
     },
     EINVAL, "peer: there, the state is LISTEN"},
    {"peer_without_a_port", connection, [](TcpSocket& s) { s.peer->port = 0; }, EINVAL,
     "peer: no port"},
    {"no_local", connection, [](TcpSocket& s) { s.local.reset(); }, EINVAL, "local: no port"},
    {"family", connection,
     [](TcpSocket& s) { s.local->address = *IpAddress::parse("2001:db8::1"); }, EINVAL,
     "local: IPv6, must be IPv4 on an AF_INET socket"},
    {"flowinfo", connection, [](TcpSocket& s) { s.peer_flowinfo = 1; }, EINVAL,
     "peer_flowinfo: 1, must be 0 on an AF_INET socket"},
    {"no_connection", connection, [](TcpSocket& s) { s.connection.reset(); }, EINVAL,
     "connection: missing"},
    {"connection_of_a_listener", listener, [](TcpSocket& s) { s.connection.emplace(); }, EINVAL,
     "connection: there"},
    {"syn_sequence", connection, [](TcpSocket& s) { s.syn_sequence = 1; }, EINVAL,
     "syn_sequence: there, the state is ESTABLISHED"},
    {"listener_without_a_port", listener, [](TcpSocket& s) { s.local->port = 0; }, EINVAL,
     "local: no port, a listener has one"},
    {"backlog", listener, [](TcpSocket& s) { s.backlog = 0x80000000; }, EINVAL,
     "backlog: 2147483648, must be 2147483647 at most"},
    {"backlog_of_a_connection", connection, [](TcpSocket& s) { s.backlog = 1; }, EINVAL,
     "backlog, accept_queue: not 0"},
    {"send_shutdown", connection, [](TcpSocket& s) { s.send_shutdown = true; }, EINVAL,
     "send_shutdown: true"},
    {"receive_shutdown", listener, [](TcpSocket& s) { s.receive_shutdown = true; }, EINVAL,
     "receive_shutdown: true"},
    {"interface_twice", connection,
     [](TcpSocket& s) {
       s.interfaces = {{1, "lo"}, {1, "eth0"}};
     },
     EINVAL, "interfaces: index 1 twice"},
    {"option", connection,
     [](TcpSocket& s) {
       s.options = {{SOL_SOCKET, SO_MARK, {1}}};
     },
     EINVAL, "SO_MARK: 1 bytes that are not a value"},
    {"mss", connection, [](TcpSocket& s) { s.connection->mss_clamp = 87; }, EINVAL,
     "mss_clamp: 87, must be 88 at least"},
    {"snd_scale", connection, [](TcpSocket& s) { s.connection->scales->snd = 15; }, EINVAL,
     "scales, snd: 15, must be 14 at most"},
    {"rcv_scale", connection, [](TcpSocket& s) { s.connection->scales->rcv = 15; }, EINVAL,
     "scales, rcv: 15, must be 14 at most"},
    {"unsent", connection, [](TcpSocket& s) { s.connection->unsent = 21; }, EINVAL,
     "unsent: 21, must be 20 at most"},
    {"max_window", connection, [](TcpSocket& s) { s.connection->window.max_window = 8388481; },
     EINVAL, "max_window: 8388481, must be 8388480 at most"},
    {"max_window_without_scales", connection,
     [](TcpSocket& s) {
       s.connection->scales.reset();
       s.connection->window.max_window = 65536;
     },
     EINVAL, "max_window: 65536, must be 65535 at most"},
    {"snd_wnd", connection, [](TcpSocket& s) { s.connection->window.snd_wnd = 2001; }, EINVAL,
     "snd_wnd: 2001, must be 2000 at most"},
    {"rcv_wnd", connection, [](TcpSocket& s) { s.connection->window.rcv_wnd = 4194241; }, EINVAL,
     "rcv_wnd: 4194241, must be 4194240 at most"},
    {"rcv_wup_ahead", connection, [](TcpSocket& s) { s.connection->window.rcv_wup += 2; }, EINVAL,
     "rcv_wup"},
    {"rcv_wup_behind", connection, [](TcpSocket& s) { s.connection->window.rcv_wup -= 4194241; },
     EINVAL, "rcv_wup"},
    {"snd_wl1_ahead", connection, [](TcpSocket& s) { s.connection->window.snd_wl1 += 3003; },
     EINVAL, "snd_wl1"},
    {"snd_wl1_behind", connection,
     [](TcpSocket& s) { s.connection->window.snd_wl1 -= 65535U << 14; }, EINVAL, "snd_wl1"},
    {"mark_without_block", connection, [](TcpSocket& s) { s.connection->urgent_mark = 1; }, EINVAL,
     "urgent_mark: 1, must be empty"},
    {"closing_without_block", connection, [](TcpSocket& s) { s.state = TcpState::kFinWait1; },
     EINVAL, "control_block: missing, must be there in state FIN_WAIT1"},
    {"short_block", with_block, [](TcpSocket& s) { s.connection->control_block->pop_back(); },
     EINVAL, "control_block: 487 bytes, must be 488 at least"},
    {"size_of_block", with_block,
     [](TcpSocket& s) { change_block(s, [](auto& block) { block.size = 496; }); }, EINVAL,
     "size: 496, there are 488 bytes"},
    {"state_of_block", with_block, [](TcpSocket& s) { s.state = TcpState::kCloseWait; }, EINVAL,
     "state: ESTABLISHED, the socket is CLOSE_WAIT"},
    {"rcv_nxt_of_block", with_block,
     [](TcpSocket& s) { change_block(s, [](auto& block) { ++block.rcv_nxt; }); }, EINVAL,
     "rcv_seq: 5, the control block says 6"},
    {"write_seq_of_block", with_block,
     [](TcpSocket& s) { change_block(s, [](auto& block) { ++block.write_seq; }); }, EINVAL,
     "snd_seq: 2147483648, the control block says 2147483649"},
    {"copied_seq_of_block", with_block,
     [](TcpSocket& s) { change_block(s, [](auto& block) { ++block.copied_seq; }); }, EINVAL,
     "receive_queue, bytes: 10, the control block says 9"},
    {"snd_una_of_block", with_block,
     [](TcpSocket& s) { change_block(s, [](auto& block) { --block.snd_una; }); }, EINVAL,
     "send_queue, bytes: 20, the control block says 21"},
    {"snd_nxt_of_block", with_block,
     [](TcpSocket& s) { change_block(s, [](auto& block) { ++block.snd_nxt; }); }, EINVAL,
     "unsent: 3, the control block says 2"},
    {"key_of_another_family", with_key,
     [](TcpSocket& s) { key_of(s).address = *IpAddress::parse("2001:db8::"); }, EINVAL,
     "ao, keys 0, address: IPv6, must be IPv4 on an AF_INET socket"},
    {"key_prefix", with_key, [](TcpSocket& s) { key_of(s).prefix = 33; }, EINVAL,
     "ao, keys 0, prefix: 33, must be 0 to 32"},
    {"key_for_every_mapped_peer", with_key,
     [](TcpSocket& s) {
       s.domain = AF_INET6;
       key_of(s).prefix = 0;
     },
     EINVAL, "ao, keys 0, prefix: 0, must be 1 to 32"},
    {"key_address_after_prefix", with_key, [](TcpSocket& s) { key_of(s).prefix = 22; }, EINVAL,
     "ao, keys 0, address: 192.0.2.0/22, must be 0 after the prefix"},
    {"key_for_everybody_with_a_prefix", with_key,
     [](TcpSocket& s) {
       key_of(s).address = IpAddress();
       key_of(s).prefix = 1;
     },
     EINVAL, "ao, keys 0, prefix: 0.0.0.0/1, must be 0 with the wildcard"},
    {"key_for_another_peer", with_key,
     [](TcpSocket& s) { key_of(s).address = *IpAddress::parse("192.0.2.128"); }, EINVAL,
     "ao, keys 0, address: 192.0.2.128/25, must cover 192.0.2.2"},
    {"key_interface", with_key, [](TcpSocket& s) { key_of(s).ifindex = 0x80000000; }, EINVAL,
     "ao, keys 0, ifindex: 2147483648, must be 0 to 2147483647"},
    {"key_maclen_none", with_key, [](TcpSocket& s) { key_of(s).maclen = 0; }, EINVAL,
     "ao, keys 0, maclen: 0, must be 1 to 16"},
    {"key_maclen", with_key, [](TcpSocket& s) { key_of(s).maclen = 17; }, EINVAL,
     "ao, keys 0, maclen: 17, must be 1 to 16"},
    {"key_algorithm_none", with_key, [](TcpSocket& s) { key_of(s).algorithm.clear(); }, EINVAL,
     "ao, keys 0, algorithm, bytes: 0, must be 1 to 63"},
    {"key_algorithm", with_key, [](TcpSocket& s) { key_of(s).algorithm.assign(64, 'a'); }, EINVAL,
     "ao, keys 0, algorithm, bytes: 64, must be 1 to 63"},
    {"key_algorithm_with_nul", with_key, [](TcpSocket& s) { key_of(s).algorithm += '\0'; }, EINVAL,
     "ao, keys 0, algorithm: must not contain a NUL"},
    {"key_bytes", with_key, [](TcpSocket& s) { key_of(s).key.resize(81); }, EINVAL,
     "ao, keys 0, key, bytes: 81, must be 0 to 80"},
    {"no_current_key", with_key, [](TcpSocket& s) { key_of(s).current = false; }, EINVAL,
     "ao, keys, current: true of 0, must be of 1"},
    {"two_current_keys", with_key, [](TcpSocket& s) { s.ao->keys.push_back(key_of(s)); }, EINVAL,
     "ao, keys, current: true of 2, must be of 1"},
    {"no_keys", with_key, [](TcpSocket& s) { s.ao->keys.clear(); }, EINVAL,
     "ao, keys, current: true of 0, must be of 1"},
    {"no_sequence", with_key, [](TcpSocket& s) { s.ao->sequence.reset(); }, EINVAL,
     "ao, sequence: missing, a connection has one"},
    {"sequence_of_a_listener", listener, [](TcpSocket& s) { s.ao.emplace().sequence.emplace(); },
     EINVAL, "ao, sequence: there, without a connection"},
};

class BadTcpValueTest : public ::testing::TestWithParam<Bad> {};

TEST_P(BadTcpValueTest, IsRefusedByMemberAndLimit) {
  TcpSocket socket = GetParam().base();
  GetParam().spoil(socket);
  EXPECT_THAT(restore_tcp_socket(socket), FailsWith(GetParam().code, HasSubstr(GetParam().what)));
  // The second half of a restore looks as closely.
  EXPECT_THAT(resume_tcp_socket(-1, socket),
              FailsWith(GetParam().code, HasSubstr(GetParam().what)));
}

INSTANTIATE_TEST_SUITE_P(All, BadTcpValueTest, ::testing::ValuesIn(kBad), ParamName());

// What the bad ones are made of gets as far as to the first call: on a descriptor that is none.
TEST(TcpValueTest, GoodOnesPassTheChecks) {
  TcpSocket at_the_limit = connection();
  at_the_limit.connection->window.max_window = 65535U << 7;
  at_the_limit.connection->window.rcv_wnd = 65535U << 6;
  at_the_limit.connection->mss_clamp = 88;
  at_the_limit.connection->unsent = 20;
  for (const TcpSocket& socket : {connection(), with_block(), with_key(), at_the_limit})
    EXPECT_THAT(resume_tcp_socket(-1, socket), FailsWith(EBADF)) << socket.describe();
  EXPECT_THAT(resume_tcp_socket(-1, listener()), IsOk()) << "nothing is left to do";
}

TEST(TcpRestoreOptionsTest, AreCheckedAsWell) {
  const IpAddress v4 = *IpAddress::parse("192.0.2.1");
  const IpAddress v6 = *IpAddress::parse("2001:db8::1");
  TcpRestoreOptions options;
  options.rewrites = {{v4, v6}};
  EXPECT_THAT(restore_tcp_socket(connection(), options),
              FailsWith(EINVAL, HasSubstr("192.0.2.1 to 2001:db8::1, must be of the same family")));
  options.rewrites = {{v4, v4}, {v4, *IpAddress::parse("192.0.2.9")}};
  EXPECT_THAT(restore_tcp_socket(connection(), options),
              FailsWith(EINVAL, HasSubstr("192.0.2.1 twice")));
  options.rewrites.clear();
  options.pause = ~std::uint64_t{0};
  EXPECT_THAT(restore_tcp_socket(connection(), options),
              FailsWith(EINVAL, AllOf(HasSubstr("pause"), HasSubstr("at most"))));
}

TEST(TcpTextTest, KeysAreNotToldButTheirNames) {
  const std::string text = with_key().describe();
  EXPECT_THAT(text, HasSubstr("ao key 0:0 of 192.0.2.0/25, hmac(sha1): 3 bytes, signatures of 12 "
                              "bytes, current, next\n"));
}

TEST(TcpTextTest, ASocketIsDescribedLineByLine) {
  const std::string text = with_block().describe();
  for (const char* line :
       {"state: ESTABLISHED\n", "local: 192.0.2.1:4000\n", "peer: 192.0.2.2:4001\n",
        "agreed on: mss 1460, window scales 7 and 6\n", "receive_queue: 10 bytes up to 5\n",
        "send_queue: 20 bytes up to 2147483648, of which 3 were not sent\n",
        "control_block: 488 bytes\n"})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_EQ(tcp_state_name(static_cast<TcpState>(12)), "state 12");
}

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Sockets with keys of TCP-AO: connections are moved and stay signed, which both kernels judge with
// every segment; listeners and sockets that connect take their keys along.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sockrepair/syscall.h"
#include "sockrepair/tcp_socket.h"
#include "tcp_ao.h"
#include "tcp_socket/world.h"
#include "try.h"
#include "uapi.h"
#include "util/deadline.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair {

// How GoogleTest prints it.
void PrintTo(const TcpAoKey& key, std::ostream* out) {
  *out << key.name();
}

}  // namespace sockrepair

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAreArray;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSecret[] = "nobody prints this";

TcpAoKey key(std::uint8_t id, const char* algorithm, std::uint8_t maclen) {
  TcpAoKey key;
  key.sndid = id;
  key.rcvid = static_cast<std::uint8_t>(id + 100);
  key.maclen = maclen;
  key.algorithm = algorithm;
  key.key.assign(std::begin(kSecret), std::end(kSecret) - 1);
  return key;
}

// For a socket that talks to `peer`, or on the other host with the roles of the identifiers
// exchanged.
std::vector<TcpAoKey> keys_for(std::vector<TcpAoKey> keys, const IpAddress& peer, bool exchanged) {
  for (TcpAoKey& key : keys) {
    key.address = peer;
    key.prefix = static_cast<std::uint8_t>(8 * peer.size());
    if (exchanged) std::swap(key.sndid, key.rcvid);
    if (exchanged) std::swap(key.current, key.next);
  }
  return keys;
}

std::vector<TcpAoKey> one_key(const char* algorithm, std::uint8_t maclen) {
  return {key(7, algorithm, maclen)};
}

// We sign with the first and ask for the second, which is for the default VRF only.
std::vector<TcpAoKey> two_keys() {
  std::vector<TcpAoKey> keys = {key(1, "hmac(sha1)", 12), key(2, "cmac(aes128)", 16)};
  keys[0].current = keys[1].next = true;
  keys[1].ifindex = 0;
  return keys;
}

std::vector<TcpAoKey> key_without_options() {
  std::vector<TcpAoKey> keys = one_key("hmac(sha1)", 4);
  keys[0].exclude_options = true;
  return keys;
}

struct AoKind {
  std::string name;
  FamilyKind family;
  Opener opener;
  bool control_block;
  std::vector<TcpAoKey> keys;
  bool closed = false;  // by us, before the move

  friend void PrintTo(const AoKind& kind, std::ostream* out) { *out << kind.name; }
};

const AoKind kKinds[] = {
    {"v4_control_block", kFamilies[0], Opener::kOurs, true, one_key("hmac(sha1)", 12)},
    {"v4_plain_accepted", kFamilies[0], Opener::kPeer, false, one_key("hmac(sha256)", 16)},
    // The kernel makes 16 bytes of what is not as long as a key of AES.
    {"v6_accepted", kFamilies[1], Opener::kPeer, true, one_key("cmac(aes128)", 16)},
    {"mapped_plain", kFamilies[2], Opener::kOurs, false, key_without_options()},
    {"two_keys", kFamilies[0], Opener::kOurs, true, two_keys()},
    {"closed", kFamilies[1], Opener::kOurs, true, one_key("hmac(sha1)", 12), true},
};

bool has_tcp_ao() {
  Result<Fd> fd = sys::socket(AF_INET, SOCK_STREAM, 0);
  std::array<char, 48> info{};
  Result<socklen_t> got =
      sys::getsockopt_bytes(fd->get(), SOL_TCP, TCP_AO_INFO, info.data(), info.size());
  return got || got.error().code != ENOPROTOOPT;
}

class TcpAoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_tcp_ao()) GTEST_SKIP() << "this kernel has no CONFIG_TCP_AO";
    Result<World> world = World::create();
    ASSERT_THAT(world, IsOk());
    world_.emplace(*std::move(world));
  }

  // A connection that is signed with these keys, which have no addresses yet.
  Result<Pair> connect(const FamilyKind& family, Opener opener, const std::vector<TcpAoKey>& keys) {
    return world_->connect(family, opener, [&](const Fd& fd, bool ours) -> Result<void> {
      SOCKREPAIR_TRY_ASSIGN(int domain, sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_DOMAIN));
      const IpAddress peer = ours ? sender_address(family.family) : receiver_address(family.family);
      std::vector<TcpAoKey> there = keys_for(keys, peer, !ours);
      // A listener has no current key.
      return internal::add_tcp_ao_keys(fd.get(), domain, there, {});
    });
  }

  Result<RestoredTcpSocket> restore(const TcpSocket& socket, const TcpRestoreOptions& options) {
    return world_->ours().run([&] { return restore_tcp_socket(socket, options); });
  }

  // Dumps ours, and makes it again on another host.
  Result<TcpSocket> move(Pair& pair, bool control_block) {
    SOCKREPAIR_TRY(world_->cut());
    SOCKREPAIR_TRY_ASSIGN(
        TcpSocket dump,
        dump_tcp_socket(pair.ours, {.leave_in_repair = true, .control_block = control_block}));
    pair.ours.reset();
    SOCKREPAIR_TRY(world_->move());
    TcpRestoreOptions options;
    options.control_block = control_block;
    SOCKREPAIR_TRY_ASSIGN(RestoredTcpSocket restored, restore(dump, options));
    pair.ours = std::move(restored.fd);
    return dump;
  }

  std::optional<World> world_;
};

std::vector<TcpAoKey> without_counts(std::vector<TcpAoKey> keys) {
  for (TcpAoKey& key : keys) key.good = key.bad = 0;
  return keys;
}

class TcpAoKindTest : public TcpAoTest, public ::testing::WithParamInterface<AoKind> {};

TEST_P(TcpAoKindTest, GoesOnElsewhere) {
  const AoKind& kind = GetParam();
  if (kind.control_block && !has_control_block())
    GTEST_SKIP() << "this kernel has no TCP_REPAIR_CB";
  ASSERT_OK_AND_ASSIGN(Pair pair, connect(kind.family, kind.opener, kind.keys));
  ASSERT_THAT(say(pair.ours, "heard"), IsOk());
  ASSERT_THAT(hear(pair.peer, "heard"), IsOk());
  ASSERT_THAT(say(pair.peer, "unread"), IsOk());
  ASSERT_THAT(wait_for_events("data", pair.ours.get(), POLLIN, Deadline::after(kPatience)), IsOk());
  ASSERT_THAT(world_->cut(), IsOk());
  ASSERT_THAT(say(pair.ours, "not acknowledged"), IsOk());
  if (kind.closed) {
    ASSERT_THAT(sys::shutdown(pair.ours.get(), SHUT_WR), IsOk());
  }
  ASSERT_OK_AND_ASSIGN(const TcpSocket dump, move(pair, kind.control_block));
  ASSERT_TRUE(dump.ao && dump.ao->sequence) << dump.describe();
  EXPECT_EQ(dump.ao->keys.size(), kind.keys.size());
  EXPECT_GT(dump.ao->counters.good, 0u);
  EXPECT_EQ(dump.ao->counters.bad, 0u);
  EXPECT_THAT(dump.describe(), AllOf(HasSubstr(dump.ao->keys[0].name()), Not(HasSubstr(kSecret))));

  ASSERT_OK_AND_ASSIGN(const TcpSocket again,
                       dump_tcp_socket(pair.ours, {.control_block = kind.control_block}));
  ASSERT_TRUE(again.ao);
  EXPECT_THAT(again.ao->keys, ElementsAreArray(without_counts(dump.ao->keys)));
  EXPECT_EQ(again.ao->sequence, dump.ao->sequence) << again.describe() << dump.describe();
  EXPECT_EQ(again.ao->counters, dump.ao->counters);

  ASSERT_THAT(world_->let_pass(), IsOk());
  EXPECT_THAT(hear(pair.peer, "not acknowledged"), IsOk());
  EXPECT_THAT(hear(pair.ours, "unread"), IsOk());
  ASSERT_THAT(say(pair.peer, "and back"), IsOk());
  EXPECT_THAT(hear(pair.ours, "and back"), IsOk());
  EXPECT_THAT(world_->unverified(), IsOkAndHolds(0u));
  EXPECT_THAT(world_->resets(), IsOkAndHolds(0u));
  ASSERT_OK_AND_ASSIGN(std::optional<TcpAo> now, internal::read_tcp_ao(pair.ours.get()));
  EXPECT_GT(now->counters.good, dump.ao->counters.good);
}

INSTANTIATE_TEST_SUITE_P(All, TcpAoKindTest, ::testing::ValuesIn(kKinds), ParamName());

// The same connection with other sequence numbers, as if it had begun with them.
TcpSocket shifted(TcpSocket socket, std::uint32_t sent, std::uint32_t received) {
  TcpConnection& connection = *socket.connection;
  connection.snd_seq += sent;
  connection.rcv_seq += received;
  connection.window.snd_wl1 += received;
  connection.window.rcv_wup += received;
  socket.ao->sequence->snt_isn += sent;
  socket.ao->sequence->rcv_isn += received;
  return socket;
}

// A signature counts how often the sequence number has wrapped. It does so here in what waits to be
// read and in what is not acknowledged, and a move comes in between.
TEST_F(TcpAoTest, SequenceNumbersWrap) {
  const TcpDumpOptions plain{.leave_in_repair = true, .control_block = false};
  const TcpRestoreOptions with_plain{.control_block = false, .window_probe = false};
  ASSERT_OK_AND_ASSIGN(Pair pair, connect(kFamilies[0], Opener::kOurs, one_key("hmac(sha1)", 12)));
  ASSERT_OK_AND_ASSIGN(TcpSocket ours, dump_tcp_socket(pair.ours, plain));
  ASSERT_OK_AND_ASSIGN(TcpSocket theirs, dump_tcp_socket(pair.peer, plain));
  pair.ours.reset();
  pair.peer.reset();
  const std::uint32_t sent = 0xffffff00 - ours.connection->snd_seq;
  const std::uint32_t received = 0xffffff00 - ours.connection->rcv_seq;
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket here, restore(shifted(ours, sent, received), with_plain));
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket there, world_->peer().run([&] {
    return restore_tcp_socket(shifted(theirs, received, sent), with_plain);
  }));
  pair.ours = std::move(here.fd);
  pair.peer = std::move(there.fd);

  const std::string text(1000, 'w');
  ASSERT_THAT(say(pair.peer, text), IsOk());
  ASSERT_THAT(wait_until("all is received", Deadline::after(kPatience),
                         [&] {
                           Result<int> bytes = waiting(pair.ours);
                           return bytes && *bytes == static_cast<int>(text.size());
                         }),
              IsOk());
  ASSERT_THAT(world_->cut(), IsOk());
  ASSERT_THAT(say(pair.ours, text), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, move(pair, has_control_block()));
  EXPECT_EQ(dump.ao->sequence->rcv_sne, 1u);
  EXPECT_EQ(dump.ao->sequence->snd_sne, 0u);

  ASSERT_THAT(world_->let_pass(), IsOk());
  EXPECT_THAT(hear(pair.ours, text), IsOk());
  EXPECT_THAT(hear(pair.peer, text), IsOk());
  ASSERT_THAT(say(pair.peer, "after"), IsOk());
  EXPECT_THAT(hear(pair.ours, "after"), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpSocket after, dump_tcp_socket(pair.ours, {.control_block = false}));
  EXPECT_EQ(after.ao->sequence->snd_sne, 1u);
  EXPECT_THAT(world_->unverified(), IsOkAndHolds(0u));
}

TEST_F(TcpAoTest, AListenerTakesItsKeysAlong) {
  ASSERT_OK_AND_ASSIGN(Fd listener, world_->socket(AF_INET));
  const Endpoint name = world_->our_endpoint(kFamilies[0]);
  TcpAo ao;
  ao.required = ao.accept_icmps = true;
  ao.counters = {.good = 1, .bad = 2, .key_not_found = 3, .required = 4, .dropped_icmp = 5};
  // Of everybody, and of a network; the order counts.
  ao.keys = {key(3, "hmac(sha1)", 12), key(4, "hmac(sha256)", 12)};
  ao.keys[1].address = *IpAddress::parse("10.0.0.0");
  ao.keys[1].prefix = 24;
  ASSERT_THAT(internal::add_tcp_ao_keys(listener.get(), AF_INET, ao.keys, {}), IsOk());
  ASSERT_THAT(internal::write_tcp_ao_info(listener.get(), ao), IsOk());
  ASSERT_THAT(sys::bind(listener.get(), SocketAddress(name, AF_INET)), IsOk());
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_OK_AND_ASSIGN(const TcpSocket dump, dump_tcp_socket(listener));
  EXPECT_EQ(dump.ao, ao) << dump.describe();
  listener.reset();

  ASSERT_THAT(world_->move(), IsOk());
  ASSERT_THAT(world_->let_pass(), IsOk());
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump, {}));
  ASSERT_OK_AND_ASSIGN(const TcpSocket again, dump_tcp_socket(restored.fd));
  EXPECT_EQ(again.ao, ao);
  ASSERT_OK_AND_ASSIGN(Fd peer, world_->peer().run([&]() -> Result<Fd> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
    const std::vector<TcpAoKey> keys = keys_for({ao.keys[1]}, name.address, true);
    SOCKREPAIR_TRY(internal::add_tcp_ao_keys(fd.get(), AF_INET, keys, {}));
    SOCKREPAIR_TRY(sys::connect(fd.get(), SocketAddress(name, AF_INET)));
    return fd;
  }));
  ASSERT_THAT(say(peer, "signed"), IsOk());
  Fd accepted(::accept4(restored.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_THAT(hear(accepted, "signed"), IsOk());
  EXPECT_THAT(world_->unverified(), IsOkAndHolds(0u));
}

TEST_F(TcpAoTest, AConnectionIsBegunElsewhere) {
  const FamilyKind family = kFamilies[0];
  ASSERT_OK_AND_ASSIGN(Fd listener, world_->peer().run([&]() -> Result<Fd> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
    const auto keys = keys_for(one_key("hmac(sha1)", 12), receiver_address(family.family), true);
    SOCKREPAIR_TRY(internal::add_tcp_ao_keys(fd.get(), AF_INET, keys, {}));
    SOCKREPAIR_TRY(
        sys::bind(fd.get(), SocketAddress({sender_address(family.family), 700, 0}, AF_INET)));
    if (::listen(fd.get(), 1) != 0) return Error{errno, "listen()"};
    return fd;
  }));
  ASSERT_OK_AND_ASSIGN(Fd fd, world_->ours().run([&] {
    return sys::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  }));
  const auto keys = keys_for(one_key("hmac(sha1)", 12), sender_address(family.family), false);
  ASSERT_THAT(internal::add_tcp_ao_keys(fd.get(), AF_INET, keys, {}), IsOk());
  ASSERT_THAT(world_->cut(), IsOk());
  ASSERT_THAT(
      sys::connect(fd.get(), SocketAddress({sender_address(family.family), 700, 0}, AF_INET)),
      FailsWith(EINPROGRESS));
  ASSERT_OK_AND_ASSIGN(const TcpSocket dump, dump_tcp_socket(fd));
  ASSERT_EQ(dump.state, TcpState::kSynSent);
  ASSERT_TRUE(dump.ao && dump.ao->keys.size() == 1);

  ASSERT_THAT(world_->move(), IsOk());
  ASSERT_THAT(world_->let_pass(), IsOk());
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump, {}));
  ASSERT_THAT(wait_for_events("connection", restored.fd.get(), POLLOUT, Deadline::after(kPatience)),
              IsOk());
  Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_THAT(say(accepted, "signed"), IsOk());
  EXPECT_THAT(hear(restored.fd, "signed"), IsOk());
  EXPECT_THAT(world_->unverified(), IsOkAndHolds(0u));
}

// Keys follow the address of the peer that they are for alone.
TEST_F(TcpAoTest, KeysAreRewritten) {
  ASSERT_OK_AND_ASSIGN(Pair pair, connect(kFamilies[0], Opener::kOurs, one_key("hmac(sha1)", 12)));
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(pair.ours, {.leave_in_repair = true}));
  pair.ours.reset();
  const IpAddress other = *IpAddress::parse("10.0.0.77");
  TcpRestoreOptions options;
  options.window_probe = false;
  options.rewrites = {{dump.peer->address, other}};
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore(dump, options));
  ASSERT_OK_AND_ASSIGN(std::optional<TcpAo> got, internal::read_tcp_ao(restored.fd.get()));
  ASSERT_TRUE(got && got->keys.size() == 1);
  EXPECT_EQ(got->keys[0].address, other);
  restored.fd.reset();

  dump.ao->keys[0].address = *IpAddress::parse("10.0.0.0");
  dump.ao->keys[0].prefix = 28;
  EXPECT_THAT(restore(dump, options), FailsWith(EINVAL, HasSubstr("must cover 10.0.0.77")));
}

// What takes no second host.
TEST(TcpAoKeysTest, RefusedOnesAreNamed) {
  if (!has_tcp_ao()) GTEST_SKIP() << "this kernel has no CONFIG_TCP_AO";
  ASSERT_OK_AND_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(fd));
  dump.ao.emplace().keys = {key(3, "rot13", 12)};
  EXPECT_THAT(restore_tcp_socket(dump), FailsWith(ENOENT, AllOf(HasSubstr("ao, key 3:103"),
                                                                HasSubstr("needs the algorithm"))));
  dump.ao->keys = {key(3, "hmac(sha1)", 12), key(3, "hmac(sha256)", 12)};
  EXPECT_THAT(restore_tcp_socket(dump), FailsWith(EEXIST, HasSubstr("needs identifiers")));
  dump.ao->keys = {key(3, "hmac(sha1)", 12)};
  dump.ao->keys[0].ifindex = 4711;
  EXPECT_THAT(restore_tcp_socket(dump), FailsWith(ENODEV, HasSubstr("no interface 4711")));
}

// More than are asked for at first.
TEST(TcpAoKeysTest, ThereCanBeMany) {
  if (!has_tcp_ao()) GTEST_SKIP() << "this kernel has no CONFIG_TCP_AO";
  ASSERT_OK_AND_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
  std::vector<TcpAoKey> keys;
  for (std::uint8_t id = 0; id < 40; ++id) keys.push_back(key(id, "hmac(sha1)", 12));
  keys[17].current = keys[21].next = true;
  ASSERT_THAT(internal::add_tcp_ao_keys(fd.get(), AF_INET, keys, {}), IsOk());
  ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(fd));
  EXPECT_EQ(dump.ao->keys, keys);
  ASSERT_OK_AND_ASSIGN(RestoredTcpSocket restored, restore_tcp_socket(dump));
  ASSERT_OK_AND_ASSIGN(TcpSocket again, dump_tcp_socket(restored.fd));
  EXPECT_EQ(again.ao, dump.ao);
}

// Has the calling thread live on a kernel without CONFIG_TCP_AO.
bool forbid_tcp_ao() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_setsockopt, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getsockopt, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SOL_TCP, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, TCP_AO_REPAIR + 1, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, TCP_AO_ADD_KEY, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOPROTOOPT),
  };
  sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(TcpAoAbsenceTest, IsNamed) {
  std::thread([] {
    ASSERT_TRUE(forbid_tcp_ao());
    ASSERT_OK_AND_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
    ASSERT_OK_AND_ASSIGN(TcpSocket dump, dump_tcp_socket(fd));
    EXPECT_EQ(dump.ao, std::nullopt);
    EXPECT_THAT(restore_tcp_socket(dump), IsOk());
    dump.ao.emplace().required = true;
    EXPECT_THAT(restore_tcp_socket(dump), FailsWith(EOPNOTSUPP, HasSubstr("CONFIG_TCP_AO")));
    dump.ao->keys = {key(3, "hmac(sha1)", 12)};
    EXPECT_THAT(restore_tcp_socket(dump), FailsWith(EOPNOTSUPP, HasSubstr("CONFIG_TCP_AO")));
  }).join();
}

}  // namespace
}  // namespace sockrepair::test

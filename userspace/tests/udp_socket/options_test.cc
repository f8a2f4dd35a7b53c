// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The table of socket options: every row is set, read, set on another socket and read again, and no
// option that the running kernel knows is missing.

#include "sockrepair/socket_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"
#include "udp_socket/option_cases.h"
#include "util/matchers.h"
#include "util/net_ns.h"
#include "util/param_name.h"
#include "util/privileges.h"

namespace sockrepair {

// How GoogleTest prints it.
void PrintTo(const OptionValue& option, std::ostream* out) {
  *out << option.describe();
}

}  // namespace sockrepair

namespace sockrepair::test {

namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Eq;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::ResultOf;

using Row = sockrepair::SocketOption;
using Values = std::vector<OptionValue>;

// The namespace that all tests share: none of them changes it.
const NetNs& shared_ns() {
  static const NetNs* ns = [] {
    Result<NetNs> made = NetNs::create();
    if (made) {
      Result<void> built = made->ip(
          "link add device0 index 2 type veth peer name device1 index 3\n"
          "link set device0 up\n"
          "link set device1 up\n"
          "addr add 192.0.2.1/24 dev device0\n"
          "addr add 2001:db8::1/64 dev device0 nodad\n");
      if (!built) made = built.error();
    }
    return new NetNs(std::move(made).value());
  }();
  return *ns;
}

Result<Fd> open_socket(int domain) {
  return shared_ns().run([&] { return sys::socket(domain, SOCK_DGRAM, 0); });
}

// Every option of the table as the kernel itself shows it, not as the table has it read.
Result<std::vector<std::vector<std::uint8_t>>> raw_values(const Fd& fd) {
  std::vector<std::vector<std::uint8_t>> values;
  for (const Row& row : socket_options()) {
    // A filter is shown by its number of instructions.
    int name = row.type == OptionType::kFilter ? SO_GET_FILTER : row.name;
    Result<std::vector<std::uint8_t>> value = SocketOption(row.level, name, 0).get(fd);
    values.push_back(value ? *value : std::vector<std::uint8_t>());
  }
  return values;
}

const OptionValue* find(const Values& values, int level, int name) {
  auto at = std::find_if(values.begin(), values.end(), [&](const OptionValue& option) {
    return option.level == level && option.name == name;
  });
  return at == values.end() ? nullptr : &*at;
}

struct Timeout {
  std::int64_t seconds;
  std::int64_t microseconds;
};

template <typename T>
OptionValue option(int level, int name, const T& value) {
  return {level, name, SocketOption(level, name, value).value};
}

}  // namespace

class SocketOptionTest : public ::testing::TestWithParam<OptionCase> {};

TEST_P(SocketOptionTest, ComesBackOnAnotherSocket) {
  const OptionCase& one = GetParam();
  const Row* row = find_socket_option(one.level, one.option);
  ASSERT_NE(row, nullptr);
  ASSERT_OK_AND_ASSIGN(Fd fresh, open_socket(one.domain));
  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_socket(one.domain));
  Result<void> set = set_all(old_socket, one.set);
  if (!set && set.error().code == ENOPROTOOPT && *row->since != '\0')
    GTEST_SKIP() << "this kernel is older than " << row->since;
  if (!set && set.error().code == EINVAL && one.name == "inet6_rthdr_type2")
    GTEST_SKIP() << "this kernel has no CONFIG_IPV6_MIP6";
  ASSERT_THAT(set, IsOk());

  ASSERT_OK_AND_ASSIGN(OptionsRead before, read_socket_options(fresh));
  ASSERT_OK_AND_ASSIGN(OptionsRead read, read_socket_options(old_socket));
  const OptionValue* value = find(read.values, one.level, one.option);
  ASSERT_NE(value, nullptr);
  const OptionValue* by_default = find(before.values, one.level, one.option);
  EXPECT_TRUE(by_default == nullptr || *by_default != *value) << "nothing was set";

  ASSERT_OK_AND_ASSIGN(auto raw_before, raw_values(old_socket));
  ASSERT_OK_AND_ASSIGN(Fd new_socket, open_socket(one.domain));
  EXPECT_THAT(apply_socket_options(new_socket, read.values), IsOkAndHolds(IsEmpty()));
  ASSERT_OK_AND_ASSIGN(OptionsRead again, read_socket_options(new_socket));
  EXPECT_EQ(again.values, read.values);
  EXPECT_THAT(raw_values(new_socket), IsOkAndHolds(raw_before));

  // Reading has changed nothing.
  EXPECT_THAT(raw_values(old_socket), IsOkAndHolds(raw_before));
}

INSTANTIATE_TEST_SUITE_P(All, SocketOptionTest, ::testing::ValuesIn(option_cases()), ParamName());

// --- the table ---

TEST(SocketOptionTableTest, EveryRowHasACase) {
  std::set<std::tuple<int, int, int>> covered;
  for (const OptionCase& one : option_cases()) covered.insert({one.domain, one.level, one.option});
  for (const Uncovered& row : uncovered_rows()) {
    covered.insert({AF_INET, row.level, row.option});
    covered.insert({AF_INET6, row.level, row.option});
  }
  for (const Row& row : socket_options()) {
    if (row.reading == OptionReading::kHidden || row.moment == OptionMoment::kNever) continue;
    EXPECT_TRUE(covered.contains({AF_INET6, row.level, row.name})) << row.full_name();
    EXPECT_TRUE(row.ipv6_only || covered.contains({AF_INET, row.level, row.name}))
        << row.full_name();
  }
}

TEST(SocketOptionTableTest, NoOptionIsThereTwice) {
  std::set<std::pair<int, int>> seen;
  for (const Row& row : socket_options())
    EXPECT_TRUE(seen.insert({row.level, row.name}).second) << row.full_name();
  for (const UncarriedOption& other : uncarried_options())
    EXPECT_TRUE(seen.insert({other.level, other.name}).second) << other.text;
}

TEST(SocketOptionTableTest, IsInTheOrderOfItsMoments) {
  for (int protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
    std::vector<OptionMoment> moments;
    for (const Row& row : socket_options()) {
      const OptionMoment moment = row.moment_of(protocol);
      if (row.reading != OptionReading::kHidden && moment != OptionMoment::kNever)
        moments.push_back(moment);
    }
    EXPECT_TRUE(std::is_sorted(moments.begin(), moments.end())) << "protocol " << protocol;
    EXPECT_GT(moments.size(), 50u);
  }
}

TEST(SocketOptionTableTest, RowsSayWhatIsMissing) {
  for (const Row& row : socket_options()) {
    bool complete =
        row.reading == OptionReading::kExact || row.reading == OptionReading::kEffective;
    EXPECT_TRUE(complete || *row.note != '\0') << row.full_name();
  }
}

// --- completeness, against the running kernel ---

namespace {

struct Level {
  int level;
  int last;
  // Numbers of others: netfilter's, which are not options of a socket.
  std::set<int> foreign;
};

const Level kLevels[] = {
    {SOL_SOCKET, 127, {}},
    {IPPROTO_IP, 63, {}},
    {IPPROTO_IPV6, 79, {64, 65, 68, 69}},
    {SOL_UDP, 127, {}},
};

// What getsockopt(2) answers and no setsockopt(2) takes.
const std::set<std::pair<int, int>> kReadOnly = {
    {SOL_SOCKET, SO_TYPE},
    {SOL_SOCKET, SO_PROTOCOL},
    {SOL_SOCKET, SO_DOMAIN},
    {SOL_SOCKET, SO_ACCEPTCONN},
    {SOL_SOCKET, SO_PEERCRED},
    {SOL_SOCKET, SO_MEMINFO},
    {SOL_SOCKET, SO_INCOMING_NAPI_ID},
    {SOL_SOCKET, SO_COOKIE},
    {SOL_SOCKET, SO_NETNS_COOKIE},
    {SOL_SOCKET, SO_BPF_EXTENSIONS},
    {IPPROTO_IP, 52},  // IP_PROTOCOL
};

bool is_listed(int level, int name) {
  auto is_it = [&](const auto& row) { return row.level == level && row.name == name; };
  return find_socket_option(level, name) != nullptr ||
         std::any_of(uncarried_options().begin(), uncarried_options().end(), is_it);
}

}  // namespace

class KnownOptionsTest : public ::testing::TestWithParam<int> {};

TEST_P(KnownOptionsTest, EveryOptionThatCanBeReadIsListed) {
  ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(GetParam()));
  int answered = 0;
  for (const Level& level : kLevels) {
    if (level.level == IPPROTO_IPV6 && GetParam() == AF_INET) continue;
    for (int name = 0; name <= level.last; ++name) {
      if (level.foreign.contains(name) || !SocketOption(level.level, name, 0).get(fd)) continue;
      ++answered;
      EXPECT_TRUE(is_listed(level.level, name) || kReadOnly.contains({level.level, name}))
          << "level " << level.level << ", option " << name << " can be read and is not listed";
    }
  }
  EXPECT_GT(answered, 50);
}

TEST_P(KnownOptionsTest, EveryOptionThatCanBeSetIsListed) {
  int taken = 0;
  for (const Level& level : kLevels) {
    if (level.level == IPPROTO_IPV6 && GetParam() == AF_INET) continue;
    for (int name = 0; name <= level.last; ++name) {
      if (level.foreign.contains(name)) continue;
      ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(GetParam()));
      Result<void> set = SocketOption(level.level, name, 0).set(fd);
      if (!set && (set.error().code == ENOPROTOOPT || set.error().code == EOPNOTSUPP)) continue;
      ++taken;
      EXPECT_TRUE(is_listed(level.level, name))
          << "level " << level.level << ", option " << name << " can be set and is not listed";
    }
  }
  EXPECT_GT(taken, 50);
}

INSTANTIATE_TEST_SUITE_P(All, KnownOptionsTest, ::testing::Values(AF_INET, AF_INET6),
                         [](const auto& param) {
                           return param.param == AF_INET ? "inet" : "inet6";
                         });

// --- what cannot be read ---

namespace {

// A socket filter that takes everything, as eBPF.
Result<Fd> ebpf_filter() {
  bpf_insn program[] = {
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0xffff},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = reinterpret_cast<std::uint64_t>(program);
  attributes.insn_cnt = 2;
  static constexpr char kLicence[] = "Dual MIT/GPL";
  attributes.license = reinterpret_cast<std::uint64_t>(kLicence);
  Fd fd(static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes))));
  if (!fd) return Error{errno, "bpf(BPF_PROG_LOAD)"};
  return fd;
}

auto LossOf(const char* option) {
  return Field(&Loss::subject, HasSubstr(option));
}

}  // namespace

TEST(HiddenOptionTest, EbpfFilterIsALoss) {
  ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(AF_INET));
  ASSERT_OK_AND_ASSIGN(Fd program, ebpf_filter());
  ASSERT_THAT(SocketOption(SOL_SOCKET, SO_ATTACH_BPF, program.get()).set(fd), IsOk());
  ASSERT_OK_AND_ASSIGN(OptionsRead read, read_socket_options(fd));
  EXPECT_THAT(read.losses,
              Contains(AllOf(LossOf("SO_ATTACH_FILTER"), Field(&Loss::what, HasSubstr("eBPF")))));
  EXPECT_EQ(find(read.values, SOL_SOCKET, SO_ATTACH_FILTER), nullptr);
}

TEST(HiddenOptionTest, LossesAreNamedWhereTheyAreLikely) {
  const struct {
    SocketOption set;
    const char* loss;
  } kCases[] = {
      {{SOL_SOCKET, SO_REUSEPORT, 1}, "SO_ATTACH_REUSEPORT_EBPF"},
      {{SOL_SOCKET, SO_BUSY_POLL, 50}, "SO_BUSY_POLL_BUDGET"},
      {{SOL_SOCKET, SO_TIMESTAMPING, std::uint32_t{SOF_TIMESTAMPING_OPT_ID}}, "SO_TIMESTAMPING"},
      {{IPPROTO_IP, IP_MULTICAST_TTL, 5}, "IP_MULTICAST_IF"},
      {{IPPROTO_IP, IP_MULTICAST_LOOP, 0}, "IP_MULTICAST_IF"},
  };
  for (const auto& one : kCases) {
    SCOPED_TRACE(one.loss);
    ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(AF_INET));
    ASSERT_OK_AND_ASSIGN(OptionsRead before, read_socket_options(fd));
    EXPECT_THAT(before.losses, Not(Contains(LossOf(one.loss))));
    ASSERT_THAT(one.set.set(fd), IsOk());
    ASSERT_OK_AND_ASSIGN(OptionsRead read, read_socket_options(fd));
    EXPECT_THAT(read.losses, Contains(LossOf(one.loss)));
  }
}

// On with CLOCK_REALTIME and no flags, it reads as if it were off.
TEST(HiddenOptionTest, TransmitTimeIsSeenOnABoundSocket) {
  struct Kind {
    int domain;
    unsigned device;
    bool corked;
  };
  for (const Kind& kind :
       {Kind{AF_INET, 0, false}, Kind{AF_INET, kDeviceIndex, false}, Kind{AF_INET, 0, true},
        Kind{AF_INET6, 0, false}, Kind{AF_INET6, kDeviceIndex, false}, Kind{AF_INET6, 0, true}}) {
    SCOPED_TRACE(std::string(kind.domain == AF_INET ? "inet" : "inet6") + ", device " +
                 std::to_string(kind.device) + (kind.corked ? ", UDP_CORK" : ""));
    ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(kind.domain));
    ASSERT_THAT(SocketOption(SOL_SOCKET, SO_BINDTOIFINDEX, kind.device).set(fd), IsOk());
    ASSERT_THAT(SocketOption(SOL_UDP, UDP_CORK, int{kind.corked}).set(fd), IsOk());
    ASSERT_OK_AND_ASSIGN(OptionsRead unbound, read_socket_options(fd));
    EXPECT_THAT(unbound.losses, Contains(LossOf("SO_TXTIME")));

    IpAddress any = IpAddress::any(kind.domain == AF_INET ? Family::kIpv4 : Family::kIpv6);
    ASSERT_THAT(sys::bind(fd.get(), SocketAddress({any, 0, 0}, kind.domain)), IsOk());
    ASSERT_OK_AND_ASSIGN(OptionsRead off, read_socket_options(fd));
    EXPECT_EQ(find(off.values, SOL_SOCKET, SO_TXTIME), nullptr);
    EXPECT_THAT(off.losses, IsEmpty());

    ASSERT_THAT(SocketOption(SOL_SOCKET, SO_TXTIME, sock_txtime{CLOCK_REALTIME, 0}).set(fd),
                IsOk());
    ASSERT_OK_AND_ASSIGN(OptionsRead on, read_socket_options(fd));
    EXPECT_NE(find(on.values, SOL_SOCKET, SO_TXTIME), nullptr);
    EXPECT_THAT(on.losses, IsEmpty());

    // Asking has begun no datagram.
    int unsent = -1;
    ASSERT_THAT(sys::ioctl(fd.get(), SIOCOUTQ, &unsent), IsOk());
    EXPECT_EQ(unsent, 0);
    EXPECT_THAT(send(fd, {.payload = std::vector<std::uint8_t>{1}}), FailsWith(EDESTADDRREQ));
  }
}

// Asking of a socket with a datagram under construction adds nothing to it and does not complete
// it.
TEST(HiddenOptionTest, TransmitTimeIsNotAskedIntoADatagram) {
  for (int domain : {AF_INET, AF_INET6}) {
    SCOPED_TRACE(domain == AF_INET ? "inet" : "inet6");
    const IpAddress loopback = domain == AF_INET ? IpAddress(in_addr{htonl(INADDR_LOOPBACK)})
                                                 : IpAddress(in6addr_loopback);
    ASSERT_OK_AND_ASSIGN(Fd receiver, open_socket(domain));
    ASSERT_THAT(sys::bind(receiver.get(), SocketAddress({loopback, 0, 0}, domain)), IsOk());
    ASSERT_OK_AND_ASSIGN(SocketAddress name, sys::getsockname(receiver.get()));
    ASSERT_OK_AND_ASSIGN(Endpoint to, name.endpoint());
    ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(domain));
    ASSERT_THAT(send(fd, {.payload = std::vector<std::uint8_t>{'a'}, .to = to, .more = true}),
                IsOk());

    ASSERT_OK_AND_ASSIGN(OptionsRead read, read_socket_options(fd));
    EXPECT_THAT(read.losses, Contains(LossOf("SO_TXTIME")));
    char got[8] = "";
    EXPECT_LT(::recv(receiver.get(), got, sizeof(got), MSG_DONTWAIT), 0);
    ASSERT_THAT(send(fd, {.payload = std::vector<std::uint8_t>{'b'}}), IsOk());
    EXPECT_EQ(::recv(receiver.get(), got, sizeof(got), MSG_DONTWAIT), 2);
    EXPECT_STREQ(got, "ab");
  }
}

// --- refusals ---

namespace {

struct RefusedCase {
  std::string name;
  int domain;
  OptionValue value;
  int code;
  const char* what;
};

const RefusedCase kRefused[] = {
    {"no_such_interface", AF_INET, option(SOL_SOCKET, SO_BINDTOIFINDEX, 4711), ENODEV,
     "SO_BINDTOIFINDEX: interface 4711, no interface 4711 in the network namespace"},
    {"no_such_address", AF_INET, option(IPPROTO_IP, IP_MULTICAST_IF, in_addr{htonl(0x0a090807)}),
     EADDRNOTAVAIL, "IP_MULTICAST_IF: 10.9.8.7, needs the address"},
    {"out_of_range", AF_INET, option(IPPROTO_IP, IP_TTL, 256), EINVAL, "IP_TTL: 256, refused"},
    {"of_the_other_domain", AF_INET, option(IPPROTO_IPV6, IPV6_TCLASS, 3), EINVAL,
     "IPV6_TCLASS: 3, not on AF_INET"},
    {"odd_buffer", AF_INET, option(SOL_SOCKET, SO_RCVBUF, 30001), EPROTO,
     "SO_RCVBUF: 30001, reads as 30000 afterwards"},
    {"kernels_own_encapsulation", AF_INET, option(SOL_UDP, UDP_ENCAP, 6), ENOPROTOOPT,
     "UDP_ENCAP: 6, needs 0, UDP_ENCAP_ESPINUDP or UDP_ENCAP_L2TPINUDP"},
    {"routing_type_0", AF_INET6,
     option(IPPROTO_IPV6, IPV6_RTHDR, std::vector<std::uint8_t>{0, 0, 0, 0, 0, 0, 0, 0}), EINVAL,
     "IPV6_RTHDR: 0000000000000000, needs a routing header"},
};

void PrintTo(const RefusedCase& one, std::ostream* out) {
  *out << one.name;
}

}  // namespace

class RefusedOptionTest : public ::testing::TestWithParam<RefusedCase> {};

TEST_P(RefusedOptionTest, StrictFailsAndNamesIt) {
  ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(GetParam().domain));
  EXPECT_THAT(apply_socket_options(fd, std::vector{GetParam().value}),
              FailsWith(GetParam().code, HasSubstr(GetParam().what)));
}

TEST_P(RefusedOptionTest, LenientReportsItAndSetsTheRest) {
  ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(GetParam().domain));
  ApplyOptions lenient;
  lenient.refusal = Refusal::kReport;
  Values values = {GetParam().value, option(SOL_SOCKET, SO_BROADCAST, 1)};
  ASSERT_OK_AND_ASSIGN(std::vector<Loss> losses, apply_socket_options(fd, values, lenient));
  ASSERT_EQ(losses.size(), 1u);
  EXPECT_THAT(losses[0].describe(), HasSubstr(GetParam().what));
  EXPECT_THAT(losses[0].describe(), HasSubstr(errno_text(GetParam().code)));
  EXPECT_THAT(sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_BROADCAST), IsOkAndHolds(1));
}

INSTANTIATE_TEST_SUITE_P(All, RefusedOptionTest, ::testing::ValuesIn(kRefused), ParamName());

TEST(OptionCheckTest, BadValuesAreRefusedBeforeAnythingIsSet) {
  const OptionValue good = option(SOL_SOCKET, SO_BROADCAST, 1);
  const struct {
    OptionValue value;
    const char* what;
  } kCases[] = {
      {{SOL_SOCKET, SO_MARK, {1, 2, 3}}, "3 bytes that are not a value"},
      {{SOL_SOCKET, SO_MARK, {}}, "0 bytes"},
      {{SOL_SOCKET, SO_KEEPALIVE, {2, 0, 0, 0}}, "not a value"},
      {{SOL_SOCKET, SO_ATTACH_FILTER, {1, 2, 3, 4, 5, 6, 7}}, "not a value"},
      {{SOL_SOCKET, SO_ATTACH_FILTER, std::vector<std::uint8_t>(8 * 4097)}, "not a value"},
      {{IPPROTO_IPV6, IPV6_HOPOPTS, std::vector<std::uint8_t>(2049)}, "2049 bytes"},
      {option(SOL_SOCKET, SO_RCVTIMEO_NEW, Timeout{1, 1000000}), "not a value"},
      {option(SOL_SOCKET, SO_RCVTIMEO_NEW, Timeout{-1, 0}), "not a value"},
      {{SOL_SOCKET, SO_TYPE, {1, 0, 0, 0}}, "not one that can be carried"},
      {{IPPROTO_IPV6, IPV6_PKTINFO, std::vector<std::uint8_t>(20)}, "not one that can be carried"},
      {{12345, 1, {1, 0, 0, 0}}, "not one that can be carried"},
      {good, "given twice"},
  };
  for (const auto& one : kCases) {
    SCOPED_TRACE(one.value.describe());
    for (Refusal refusal : {Refusal::kFail, Refusal::kReport}) {
      ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(AF_INET6));
      ApplyOptions how;
      how.refusal = refusal;
      EXPECT_THAT(apply_socket_options(fd, Values{good, one.value}, how),
                  FailsWith(EINVAL, HasSubstr(one.what)));
      EXPECT_THAT(sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_BROADCAST), IsOkAndHolds(0));
    }
  }
}

TEST(OptionCheckTest, CapabilitiesAreNamed) {
  ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(AF_INET));
  EXPECT_THAT(without_capabilities([&]() -> Result<void> {
                auto applied = apply_socket_options(fd, Values{option(SOL_SOCKET, SO_MARK, 7)});
                if (!applied) return applied.error();
                return {};
              }),
              FailsWith(EPERM, HasSubstr("SO_MARK: 0x7, needs CAP_NET_ADMIN or CAP_NET_RAW")));
}

// A value that an interface has under another index in another namespace.
TEST(OptionInterfaceTest, IsFoundByName) {
  ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(AF_INET6));
  const InterfaceName kNames[] = {{77, kDevice}, {78, "gone0"}};
  ApplyOptions how;
  how.interfaces = kNames;
  Values values = {option(SOL_SOCKET, SO_BINDTOIFINDEX, 77),
                   option(IPPROTO_IP, IP_UNICAST_IF, htonl(77)),
                   option(IPPROTO_IPV6, IPV6_MULTICAST_IF, 77)};
  ASSERT_THAT(apply_socket_options(fd, values, how), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(sys::getsockopt<unsigned>(fd.get(), SOL_SOCKET, SO_BINDTOIFINDEX),
              IsOkAndHolds(kDeviceIndex));
  EXPECT_THAT(sys::getsockopt<unsigned>(fd.get(), IPPROTO_IP, IP_UNICAST_IF),
              IsOkAndHolds(htonl(kDeviceIndex)));
  EXPECT_THAT(sys::getsockopt<unsigned>(fd.get(), IPPROTO_IPV6, IPV6_MULTICAST_IF),
              IsOkAndHolds(kDeviceIndex));

  ASSERT_OK_AND_ASSIGN(Fd other, open_socket(AF_INET6));
  EXPECT_THAT(apply_socket_options(other, Values{option(SOL_SOCKET, SO_BINDTOIFINDEX, 78)}, how),
              FailsWith(ENODEV, HasSubstr("no interface 'gone0'")));
}

TEST(OptionTextTest, SaysWhatAValueIs) {
  EXPECT_EQ(option(SOL_SOCKET, SO_MARK, 7).describe(), "SOL_SOCKET, SO_MARK: 0x7");
  EXPECT_EQ(option(IPPROTO_IP, IP_TTL, 64).describe(), "IPPROTO_IP, IP_TTL: 64");
  EXPECT_EQ(option(SOL_SOCKET, SO_BINDTOIFINDEX, 3).describe(),
            "SOL_SOCKET, SO_BINDTOIFINDEX: interface 3");
  EXPECT_EQ(option(IPPROTO_IP, IP_UNICAST_IF, htonl(3)).describe(),
            "IPPROTO_IP, IP_UNICAST_IF: interface 3");
  EXPECT_EQ(option(SOL_SOCKET, SO_MAX_PACING_RATE, ~std::uint64_t{0}).describe(),
            "SOL_SOCKET, SO_MAX_PACING_RATE: no limit");
  EXPECT_EQ((OptionValue{12345, 6, {0xab, 0xcd}}.describe()), "level 12345, option 6: abcd");
  EXPECT_EQ((OptionValue{SOL_SOCKET, SO_MARK, {0xab}}.describe()), "SOL_SOCKET, SO_MARK: ab");
}

}  // namespace sockrepair::test

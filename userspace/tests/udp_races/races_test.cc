// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Dumps while other threads append, send, connect, close, change options or take the device away:
// each is one state that the socket was in. What the debug kernel has to say about locks and
// memory in the meantime is in its console.

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "sockrepair/syscall.h"
#include "sockrepair/udp_send_queue.h"
#include "try.h"
#include "uapi.h"
#include "udp_races/race.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Options = std::vector<SocketOption>;

// ------------------------------------------------------------------------------------ disturbance

Result<void> set_cork(const Fd& fd, bool on) {
  return sys::setsockopt<int>(fd.get(), SOL_UDP, UDP_CORK, on);
}

// Corks, and sends what is there.
Result<void> uncork(const Fd& fd, const RacePeer&, const NetNs&, Random& random) {
  SOCKREPAIR_TRY(set_cork(fd, true));
  // Appends go on in between.
  if (random() % 2 == 0) std::this_thread::yield();
  return set_cork(fd, false);
}

// Other peer, or none.
Result<void> reconnect(const Fd& fd, const RacePeer& peer, const NetNs&, Random& random) {
  if (random() % 4 == 0) {
    sockaddr none{};
    none.sa_family = AF_UNSPEC;
    if (::connect(fd.get(), &none, sizeof(none)) != 0) return Error{errno, "connect(AF_UNSPEC)"};
    return {};
  }
  Endpoint to = configuration(peer.family, random() % kConfigurations).to;
  to.port = configuration(peer.family, 0).to.port;
  return sys::connect(fd.get(), SocketAddress(to, peer.domain));
}

// Another socket in the place of this one, which is closed by that, with its datagram.
Result<void> replace(const Fd& fd, const RacePeer& peer, const NetNs& ns, Random&) {
  SOCKREPAIR_TRY_ASSIGN(Fd other, race_socket(Race{.name = ""}, peer, ns));
  // And a descriptor of it that goes while the socket stays.
  Fd copy(::fcntl(other.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return Error{errno, "fcntl(F_DUPFD_CLOEXEC)"};
  if (::dup3(other.get(), fd.get(), O_CLOEXEC) < 0) return Error{errno, "dup3()"};
  return {};
}

// On for a while, off for a while.
Result<void> switch_repair(const Fd& fd, const RacePeer&, const NetNs&, Random& random) {
  return set_udp_repair(fd, random() % 2 == 0);
}

// Takes the interface away, under the datagram that is on its way to it, or puts it back.
Result<void> unplug(const Fd&, const RacePeer&, const NetNs& ns, Random&) {
  bool there = ns.ifindex(kRaceInterface) != 0;
  return ns.ip(there ? interface_down_commands() : interface_up_commands());
}

// ---------------------------------------------------------------------------------------- options

// Values that options are switched between while datagrams are begun.
constexpr int kTrafficClasses[] = {0, 0x20, 0x88};
constexpr int kHopLimits[] = {33, 44};
constexpr int kMarks[] = {0, 0x111, 0x222};
constexpr int kSegments[] = {0, 1000, 1200};
// None, record route, and router alert.
const Bytes kIpOptions[] = {{}, {7, 7, 4, 0, 0, 0, 0, 0}, {148, 4, 0, 0}};
// None, router alert, and padding of two lengths.
const Bytes kHopOptions[] = {{}, {0, 0, 5, 2, 0, 0, 1, 0}};
const Bytes kDstOptions[] = {
    {}, {0, 0, 1, 4, 0, 0, 0, 0}, {0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}};

template <typename T, std::size_t N>
const T& any_of(const T (&values)[N], Random& random) {
  return values[random() % N];
}

template <typename T, std::size_t N>
bool is_one_of(const T& value, const T (&values)[N]) {
  return std::find(values, values + N, value) != values + N;
}

Result<void> change_options(const Fd& fd, const RacePeer& peer, const NetNs&, Random& random) {
  Options choices = {{SOL_SOCKET, SO_MARK, any_of(kMarks, random)},
                     {SOL_UDP, UDP_SEGMENT, any_of(kSegments, random)}};
  if (peer.family == Family::kIpv4) {
    choices.push_back({IPPROTO_IP, IP_TOS, any_of(kTrafficClasses, random)});
    choices.push_back({IPPROTO_IP, IP_TTL, any_of(kHopLimits, random)});
    choices.push_back({IPPROTO_IP, IP_OPTIONS, any_of(kIpOptions, random)});
  } else {
    choices.push_back({IPPROTO_IPV6, IPV6_TCLASS, any_of(kTrafficClasses, random)});
    choices.push_back({IPPROTO_IPV6, IPV6_UNICAST_HOPS, any_of(kHopLimits, random)});
    choices.push_back({IPPROTO_IPV6, IPV6_HOPOPTS, any_of(kHopOptions, random)});
    choices.push_back({IPPROTO_IPV6, IPV6_DSTOPTS, any_of(kDstOptions, random)});
  }
  return choices[random() % choices.size()].set(fd);
}

Options first_options(Family family) {
  if (family == Family::kIpv4) return {{IPPROTO_IP, IP_TTL, kHopLimits[0]}};
  return {{IPPROTO_IPV6, IPV6_UNICAST_HOPS, kHopLimits[0]}};
}

// Each option as it was at some time, whole.
std::string check_options(const Dump& dump, const RacePeer& peer) {
  const udp_repair_send_queue& header = dump.header;
  bool v4 = peer.family == Family::kIpv4;
  if (!is_one_of<int>(header.tclass, kTrafficClasses)) return "tclass";
  // IPv4 takes that of the socket when it sends.
  if (v4 ? header.hop_limit != -1 : !is_one_of<int>(header.hop_limit, kHopLimits))
    return "hop_limit";
  if (!is_one_of<int>(static_cast<int>(header.mark), kMarks)) return "mark";
  if (!is_one_of<int>(header.gso_size, kSegments)) return "gso_size";
  // What of the parts is there; the lengths tell of all.
  if (dump.options.size() <
      static_cast<std::size_t>(header.ipopt_len + header.hopopt_len + header.dst1opt_len))
    return "";
  auto part = [&](std::size_t at, std::size_t length) {
    auto bytes = dump.options.subspan(at, length);
    return Bytes(bytes.begin(), bytes.end());
  };
  if (v4) return is_one_of(part(0, header.ipopt_len), kIpOptions) ? "" : "IPv4 options";
  if (!is_one_of(part(0, header.hopopt_len), kHopOptions)) return "hop-by-hop options";
  if (!is_one_of(part(header.hopopt_len, header.dst1opt_len), kDstOptions))
    return "destination options";
  return "";
}

bool has_options(const Dump& dump) {
  return !dump.options.empty();
}

// ------------------------------------------------------------------------------------------ races

// Connected to any of the peers, all at the same port.
std::string check_peer(const Dump& dump, const RacePeer& peer) {
  for (std::size_t i = 0; i < kConfigurations; ++i) {
    IpAddress address = configuration(peer.family, i).to.address;
    if (memcmp(dump.header.daddr, address.data(), address.size()) == 0) return "";
  }
  return "daddr of no peer";
}

bool is_zerocopy(const Dump& dump) {
  return (dump.header.state & UDP_REPAIR_SQ_ZEROCOPY) != 0;
}

bool has_lost_its_device(const Dump& dump) {
  return dump.header.ifindex == 0;
}

Options segments(Family) {
  return {{SOL_UDP, UDP_SEGMENT, 1200}};
}

// Enough that no luck is needed, and far less than a slow machine does.
constexpr RaceResult kLeast = {.dumps = 100, .datagrams = 20, .cut = 15, .appends = 100};

RaceResult least(RaceResult more) {
  RaceResult all = kLeast;
  all.special = more.special;
  all.empty = more.empty;
  all.refused = more.refused;
  all.disturbances = more.disturbances;
  return all;
}

const std::vector<Race> kRaces = {
    {.name = "appends", .writers = 2, .least = least({})},
    {.name = "uncork", .disturb = uncork, .least = least({.empty = 5, .disturbances = 50})},
    {.name = "reconnect",
     .writer = {.to_address = false, .with_messages = false},
     .disturb = reconnect,
     .check = check_peer,
     .least = least({.disturbances = 50})},
    {.name = "close", .disturb = replace, .least = least({.empty = 5, .disturbances = 50})},
    {.name = "options",
     .writer = {.with_messages = false},
     .options = first_options,
     .disturb = change_options,
     .check = check_options,
     .special = has_options,
     .least = least({.special = 15, .disturbances = 50})},
    {.name = "repair_mode",
     .disturb = switch_repair,
     .may_fail_with = EPERM,
     .least = least({.refused = 15, .disturbances = 50})},
    {.name = "zerocopy",
     .writer = {.transfers = {Transfer::kZerocopy, Transfer::kCopied}},
     .options = segments,
     .disturb = uncork,
     .special = is_zerocopy,
     .least = least({.special = 15, .disturbances = 50})},
    {.name = "splice",
     .writer = {.transfers = {Transfer::kSpliced, Transfer::kCopied}},
     .disturb = uncork,
     .least = least({.disturbances = 50})},
    {.name = "device_gone",
     .writer = {.max_appends = 300, .max_blocks = 1},
     .disturb = unplug,
     .disturber_has_interface = true,
     .special = has_lost_its_device,
     .least = {.dumps = 100, .datagrams = 3, .special = 10, .disturbances = 2}},
};

constexpr RacePeer kPeers[] = {
    {"v4", AF_INET, Family::kIpv4},
    {"v6", AF_INET6, Family::kIpv6},
};

std::vector<RaceCase> all_cases() {
  std::vector<RaceCase> cases;
  for (const RacePeer& peer : kPeers)
    for (const Race& race : kRaces)
      cases.push_back({std::string(peer.name) + "_" + race.name, peer, race});
  // IPv4 code on an IPv6 socket, once.
  cases.push_back({"mapped_uncork", {"mapped", AF_INET6, Family::kIpv4}, kRaces[1]});
  return cases;
}

// SOCKREPAIR_SEED of the environment, or another one each time.
std::uint32_t seed() {
  const char* given = getenv("SOCKREPAIR_SEED");
  if (given != nullptr) return static_cast<std::uint32_t>(strtoul(given, nullptr, 0));
  return std::random_device{}();
}

class UdpRaceTest : public ::testing::TestWithParam<RaceCase> {};

TEST_P(UdpRaceTest, EveryDumpIsOneState) {
  std::uint32_t number = seed();
  printf("# %s: SOCKREPAIR_SEED=%u\n", GetParam().name.c_str(), number);
  fflush(stdout);
  Result<RaceResult> result = run_race(GetParam(), number);
  ASSERT_THAT(result, IsOk());
  printf("# %s: %s\n", GetParam().name.c_str(), describe(*result).c_str());
}

INSTANTIATE_TEST_SUITE_P(All, UdpRaceTest, ::testing::ValuesIn(all_cases()), ParamName());

}  // namespace
}  // namespace sockrepair::test

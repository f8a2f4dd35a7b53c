// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// A restore asks for no option that nothing can have changed. What it knows of that is true: each
// option of the table is set on a new socket, and on one that has many of them set, and no other
// one is different then, unless has_influence() says so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "option_codec.h"
#include "option_state.h"
#include "sockrepair/syscall.h"
#include "uapi.h"
#include "util/matchers.h"
#include "util/net_ns.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using internal::option_codec;
using internal::OptionBytes;
using internal::OptionReadResult;
using internal::SocketKind;
using internal::to_bytes;
using Row = sockrepair::SocketOption;

struct Kind {
  const char* name;
  SocketKind kind;

  friend void PrintTo(const Kind& one, std::ostream* out) { *out << one.name; }
};

// Which have the rows of IPv4 as well.
const Kind kKinds[] = {{"tcp", {AF_INET6, SOCK_STREAM, IPPROTO_TCP}},
                       {"udp", {AF_INET6, SOCK_DGRAM, IPPROTO_UDP}}};

OptionBytes numbers(std::initializer_list<std::int32_t> values) {
  OptionBytes bytes;
  for (std::int32_t value : values) {
    const OptionBytes one = to_bytes(value);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return bytes;
}

// Segment routing, by way of ::1.
OptionBytes routing_header() {
  OptionBytes header(24);
  header[0] = IPPROTO_NONE;
  header[1] = 2;  // units of 8 bytes after the first
  header[2] = 4;  // type
  header.back() = 1;
  return header;
}

// Values of which an option with values of this type takes at least one that is not its default.
std::vector<OptionBytes> candidates(OptionType type) {
  switch (type) {
    case OptionType::kFlag:
      return {numbers({1}), numbers({0})};
    case OptionType::kNumber:
    case OptionType::kHex:
    case OptionType::kSegmentSize:
      return {numbers({3}),
              numbers({1}),
              numbers({2}),
              numbers({0}),
              numbers({1000}),
              numbers({5000}),
              numbers({100 << 16 | 50}),
              numbers({50000}),
              numbers({100000}),
              numbers({60000 << 16 | 50000})};
    case OptionType::kBuffer:
      return {numbers({40000})};
    case OptionType::kInterface:
      return {numbers({1})};
    case OptionType::kInterfaceNet:
      return {to_bytes(htonl(1))};
    case OptionType::kTimeout:
      return {to_bytes(std::array<std::int64_t, 2>{5, 0})};
    case OptionType::kLinger:
      return {numbers({1, 7})};
    case OptionType::kTimestamping:
      return {numbers({SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE, 0})};
    case OptionType::kTransmitTime:
      return {numbers({CLOCK_MONOTONIC, 0})};
    case OptionType::kRate:
      return {to_bytes(std::uint64_t{1000000})};
    case OptionType::kAddress:
      return {to_bytes(htonl(INADDR_LOOPBACK))};
    case OptionType::kTrafficClass:
      return {numbers({0x40})};
    case OptionType::kName:
      return {{'r', 'e', 'n', 'o'}, {'c', 'u', 'b', 'i', 'c'}};
    case OptionType::kFilter: {
      const sock_filter pass = BPF_STMT(BPF_RET | BPF_K, 0xffff);
      return {to_bytes(pass)};
    }
    case OptionType::kHeader:
      // Of IPv6: a Pad-N option; of IPv4: no-operations.
      return {{59, 0, 1, 4, 0, 0, 0, 0}, {0, 0, 1, 4, 0, 0, 0, 0}, {1, 1, 1, 1}, routing_header()};
    default:
      return {};
  }
}

// Without a value that this kernel takes and shows, of any kind of socket.
struct Unchanged {
  int level;
  int name;
  const char* reason;
};
constexpr Unchanged kUnchanged[] = {
    {SOL_SOCKET, SO_RESERVE_MEM, "takes a memory cgroup"},
    {IPPROTO_IP, IP_RECVFRAGSIZE, "not of TCP, for which it can be set to 0"},
};

using Values = std::vector<std::optional<OptionBytes>>;  // as the rows of the table

Values read_all(const Fd& fd, const SocketKind& kind) {
  Values values;
  for (const Row& row : socket_options()) {
    values.emplace_back();
    if (row.reading == OptionReading::kHidden || !kind.has(row)) continue;
    OptionReadResult value = internal::read_option(fd.get(), kind, row);
    if (value) values.back() = *value;
  }
  return values;
}

// What makes it impossible to go on with a socket.
bool ends_it(const Row& row) {
  return row.level == SOL_SOCKET && row.name == SO_LOCK_FILTER;
}

class OptionInfluenceTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    Result<NetNs> ns = NetNs::create();
    ASSERT_THAT(ns, IsOk());
    ns_.emplace(*std::move(ns));
  }

  Result<Fd> socket() const {
    const SocketKind& kind = GetParam().kind;
    return ns_->run([&] { return sys::socket(kind.domain, kind.type, kind.protocol); });
  }

  static bool set(const Fd& fd, const Row& row, const OptionBytes& value) {
    return option_codec(row.type).valid(value) &&
           option_codec(row.type).write(fd.get(), row, value).ok();
  }

  bool has(const Row& row) const {
    return row.reading != OptionReading::kHidden && GetParam().kind.has(row);
  }

  // Sets row `i` until it changes, and sees what becomes of the others. Whether it has changed.
  bool try_out(const Fd& fd, std::size_t i) {
    const std::span<const Row> rows = socket_options();
    bool changed = false;
    for (const OptionBytes& value : candidates(rows[i].type)) {
      if (changed) break;
      const Values before = read_all(fd, GetParam().kind);
      if (!set(fd, rows[i], value)) continue;
      const Values after = read_all(fd, GetParam().kind);
      changed = changed || before[i] != after[i];
      for (std::size_t j = 0; j < rows.size(); ++j) {
        EXPECT_TRUE(j == i || before[j] == after[j] || internal::has_influence(rows[i], rows[j]))
            << rows[i].full_name() << " changes " << rows[j].full_name();
      }
    }
    return changed;
  }

  std::optional<NetNs> ns_;
};

TEST_P(OptionInfluenceTest, OnANewSocket) {
  const std::span<const Row> rows = socket_options();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!has(rows[i])) continue;
    ASSERT_OK_AND_ASSIGN(const Fd fd, socket());
    const bool changed = try_out(fd, i);
    const auto is_it = [&](const Unchanged& one) {
      return one.level == rows[i].level && one.name == rows[i].name;
    };
    EXPECT_TRUE(changed || std::any_of(std::begin(kUnchanged), std::end(kUnchanged), is_it))
        << rows[i].full_name() << ": no value tried that this kernel takes";
  }
}

TEST_P(OptionInfluenceTest, OnOneThatHasManyOptions) {
  const std::span<const Row> rows = socket_options();
  ASSERT_OK_AND_ASSIGN(const Fd fd, socket());
  for (const Row& row : rows) {
    if (!has(row) || ends_it(row)) continue;
    for (const OptionBytes& value : candidates(row.type))
      if (set(fd, row, value)) break;
  }
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (has(rows[i]) && !ends_it(rows[i])) try_out(fd, i);
}

INSTANTIATE_TEST_SUITE_P(All, OptionInfluenceTest, ::testing::ValuesIn(kKinds), ParamName());

}  // namespace
}  // namespace sockrepair::test

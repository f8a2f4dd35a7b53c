// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_WITNESS_RULES_H_
#define SOCKREPAIR_TESTS_TCP_WITNESS_RULES_H_

#include <linux/tcp.h>

#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

// The rules of TCP_REPAIR as values: the one table that the boundary tests are made from. Column by
// column it is the table of the kernel's documentation; scripts/tests/test_rules.py compares them.
namespace sockrepair::test {

// What the bounds of a socket depend on. A connection without window scaling has scales of 0.
struct Limits {
  std::uint32_t rcv_nxt = 0;
  std::uint32_t snd_wscale = 0;
  std::uint32_t rcv_wscale = 0;
};

// All that can be given to a connection: one value for each rule with a range.
struct Values {
  std::uint32_t mss = 1460;
  std::uint32_t snd_wscale = 0;
  std::uint32_t rcv_wscale = 0;
  std::uint32_t sack_perm = 0;
  std::uint32_t timestamp = 0;
  tcp_repair_window window{};
};

// Which call gives it, and so which rules have to hold at once.
enum class Given { kOptions, kWindow };

// A value and the range that it must be in. Ranges are taken modulo 2^32: from min() up to max().
struct Rule {
  std::string_view name;
  std::string_view text;  // as documented
  int error;              // of a call that breaks it
  Given given;
  std::uint32_t& (*value)(Values& values);
  std::uint32_t (*min)(const Limits& limits, const Values& values);
  std::uint32_t (*max)(const Limits& limits, const Values& values);
};
const std::vector<Rule>& rules();
// Those of one call.
std::vector<const Rule*> rules_of(Given given);

// 65535 << scale.
std::uint32_t max_window(std::uint32_t scale);

// 0, min - 1, min, max, max + 1, all ones, and two at random; min and max are those that the rule
// has when the rest is as in `values`.
std::vector<std::uint32_t> boundary_values(const Rule& rule, const Limits& limits,
                                           const Values& values, std::mt19937& random);

// Values that every rule of the call allows, and the rest of `limits` with them.
Values good_values(const Limits& limits);

// What a call with these values must return: 0, or the error of the first rule that is broken.
int verdict(Given given, const Limits& limits, Values values);

// What TCP_REPAIR_OPTIONS says of a scale alone, once a window of the peer (`max_window`, 0: none
// is known) and our own were given.
int scale_verdict(std::uint32_t snd_wscale, std::uint32_t rcv_wscale, std::uint32_t max_window,
                  std::uint32_t rcv_wnd);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_WITNESS_RULES_H_

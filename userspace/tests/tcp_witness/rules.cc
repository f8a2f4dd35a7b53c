// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_witness/rules.h"

#include <cerrno>

namespace sockrepair::test {

namespace {

constexpr std::uint32_t kMaxScale = 14;

template <std::uint32_t kNumber>
std::uint32_t number(const Limits&, const Values&) {
  return kNumber;
}

template <std::uint32_t Values::*kMember>
std::uint32_t& value(Values& values) {
  return values.*kMember;
}

template <__u32 tcp_repair_window::*kMember>
std::uint32_t& window_value(Values& values) {
  return values.window.*kMember;
}

// clang-format off
const std::vector<Rule> kRules = {
    // name, rule, error
    {"MSS", "88 to 65535", EINVAL,
     Given::kOptions, value<&Values::mss>, number<88>, number<65535>},
    {"snd_wscale", "0 to 14", EFBIG,
     Given::kOptions, value<&Values::snd_wscale>, number<0>, number<kMaxScale>},
    {"rcv_wscale", "0 to 14", EFBIG,
     Given::kOptions, value<&Values::rcv_wscale>, number<0>, number<kMaxScale>},
    {"SACK_PERM", "0", EINVAL,
     Given::kOptions, value<&Values::sack_perm>, number<0>, number<0>},
    {"TIMESTAMP", "0", EINVAL,
     Given::kOptions, value<&Values::timestamp>, number<0>, number<0>},
    {"max_window", "<= max(snd_wscale)", EINVAL,
     Given::kWindow, window_value<&tcp_repair_window::max_window>, number<0>,
     [](const Limits& limits, const Values&) { return max_window(limits.snd_wscale); }},
    {"snd_wnd", "<= max_window", EINVAL,
     Given::kWindow, window_value<&tcp_repair_window::snd_wnd>, number<0>,
     [](const Limits&, const Values& values) { return std::uint32_t{values.window.max_window}; }},
    {"rcv_wnd", "<= max(rcv_wscale)", EINVAL,
     Given::kWindow, window_value<&tcp_repair_window::rcv_wnd>, number<0>,
     [](const Limits& limits, const Values&) { return max_window(limits.rcv_wscale); }},
    {"rcv_wup", "rcv_nxt - rcv_wup <= max(rcv_wscale)", EINVAL,
     Given::kWindow, window_value<&tcp_repair_window::rcv_wup>,
     [](const Limits& limits, const Values&) {
       return limits.rcv_nxt - max_window(limits.rcv_wscale);
     },
     [](const Limits& limits, const Values&) { return limits.rcv_nxt; }},
    {"snd_wl1", "rcv_nxt - max(14) to rcv_nxt + rcv_wnd", EINVAL,
     Given::kWindow, window_value<&tcp_repair_window::snd_wl1>,
     [](const Limits& limits, const Values&) { return limits.rcv_nxt - max_window(kMaxScale); },
     [](const Limits& limits, const Values& values) {
       return limits.rcv_nxt + values.window.rcv_wnd;
     }},
};
// clang-format on

}  // namespace

const std::vector<Rule>& rules() {
  return kRules;
}

std::vector<const Rule*> rules_of(Given given) {
  std::vector<const Rule*> of;
  for (const Rule& rule : kRules)
    if (rule.given == given) of.push_back(&rule);
  return of;
}

std::uint32_t max_window(std::uint32_t scale) {
  return 65535U << scale;
}

std::vector<std::uint32_t> boundary_values(const Rule& rule, const Limits& limits,
                                           const Values& values, std::mt19937& random) {
  const std::uint32_t min = rule.min(limits, values);
  const std::uint32_t max = rule.max(limits, values);
  const auto any = [&random] { return static_cast<std::uint32_t>(random()); };
  const auto near = [&random] { return static_cast<std::uint32_t>(random()) >> random() % 32; };
  return {0, min - 1, min, max, max + 1, ~0U, any(), near()};
}

Values good_values(const Limits& limits) {
  Values values;
  values.window.snd_wl1 = limits.rcv_nxt;
  values.window.snd_wnd = 0;
  values.window.max_window = max_window(limits.snd_wscale);
  values.window.rcv_wnd = 3000;
  values.window.rcv_wup = limits.rcv_nxt;
  return values;
}

int verdict(Given given, const Limits& limits, Values values) {
  for (const Rule* rule : rules_of(given)) {
    const std::uint32_t min = rule->min(limits, values);
    const std::uint32_t max = rule->max(limits, values);
    if (rule->value(values) - min > max - min) return rule->error;
  }
  return 0;
}

int scale_verdict(std::uint32_t snd_wscale, std::uint32_t rcv_wscale, std::uint32_t max_wnd,
                  std::uint32_t rcv_wnd) {
  if (snd_wscale > kMaxScale || rcv_wscale > kMaxScale) return EFBIG;
  if (max_wnd == 0) return 0;
  return max_wnd > max_window(snd_wscale) || rcv_wnd > max_window(rcv_wscale) ? EINVAL : 0;
}

}  // namespace sockrepair::test

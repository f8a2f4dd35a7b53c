// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_repair_plan.h"

#include <charconv>
#include <limits>
#include <string_view>

namespace sockrepair::fuzz {

namespace {

// The whole text, in decimal.
std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

}  // namespace

std::optional<Plan> parse_plan(std::span<const char* const> arguments) {
  Plan plan;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view name = arguments[i];
    if (name == "--list" || name == "--trace" || name == "--times") {
      (name == "--list" ? plan.list : name == "--trace" ? plan.trace : plan.times) = true;
      continue;
    }
    if (++i == arguments.size()) return std::nullopt;
    const std::optional<std::uint64_t> value = parse_number(arguments[i]);
    const auto within = [&value](std::uint64_t min, std::uint64_t max) {
      return value && *value >= min && *value <= max;
    };
    if (name == "--seed" && within(0, kAny)) {
      plan.seed = *value;
    } else if (name == "--calls" && within(1, kAny)) {
      plan.calls = *value;
    } else if (name == "--lanes" && within(1, 64)) {
      plan.lanes = static_cast<std::uint32_t>(*value);
    } else if (name == "--steps" && within(1, kStepsPerThread)) {
      plan.steps = static_cast<std::uint32_t>(*value);
    } else if (name == "--case" && within(0, kAny)) {
      plan.only_case = *value;
    } else {
      return std::nullopt;
    }
  }
  // To say which calls a case has, or to say a case again, needs to know which.
  if ((plan.list || plan.trace) && !plan.only_case) return std::nullopt;
  if (plan.only_case && !plan.seed) return std::nullopt;
  return plan;
}

std::string program_arguments(std::uint64_t seed, std::uint64_t number) {
  return "--seed " + std::to_string(seed) + " --case " + std::to_string(number);
}

std::string case_name(std::uint64_t seed, std::uint64_t number) {
  return "tcp_repair_fuzz:seed=" + std::to_string(seed) + ".case=" + std::to_string(number);
}

}  // namespace sockrepair::fuzz

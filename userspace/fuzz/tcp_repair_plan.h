// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_FUZZ_TCP_REPAIR_PLAN_H_
#define SOCKREPAIR_FUZZ_TCP_REPAIR_PLAN_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "tcp_repair_calls.h"

namespace sockrepair::fuzz {

// What the command line asks for.
struct Plan {
  std::optional<std::uint64_t> seed;
  std::uint64_t calls = 1'000'000;
  std::uint32_t lanes = 2;
  std::uint32_t steps = kStepsPerThread;
  std::optional<std::uint64_t> only_case;
  bool list = false;
  bool trace = false;
  bool times = false;
};

// Empty if anything is not an argument, or is no number of the kind that is wanted.
std::optional<Plan> parse_plan(std::span<const char* const> arguments);

// The argument that names case `number` again: of the program, and of `make test T=`.
std::string program_arguments(std::uint64_t seed, std::uint64_t number);
std::string case_name(std::uint64_t seed, std::uint64_t number);

}  // namespace sockrepair::fuzz

#endif  // SOCKREPAIR_FUZZ_TCP_REPAIR_PLAN_H_

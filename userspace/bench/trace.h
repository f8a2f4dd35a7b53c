// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_BENCH_TRACE_H_
#define SOCKREPAIR_BENCH_TRACE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

// What benchmarks share: system calls seen by a tracer, and times.
namespace sockrepair::bench {

struct SystemCall {
  long number;
  std::array<std::uint64_t, 6> arguments;
};

// Runs `function` in a child process and gives the system calls that it made, memory management
// included, in their order. Ends the program when that does not go well.
std::vector<SystemCall> trace(const std::function<void()>& function);

double microseconds(const std::function<void()>& function);

double median(std::vector<double> samples);

// Prints "NAME failed: WHY" and ends the program.
[[noreturn]] void fail(const std::string& why);

}  // namespace sockrepair::bench

#endif  // SOCKREPAIR_BENCH_TRACE_H_

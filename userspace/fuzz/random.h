// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_FUZZ_RANDOM_H_
#define SOCKREPAIR_FUZZ_RANDOM_H_

#include <cstdint>
#include <initializer_list>

namespace sockrepair::fuzz {

// SplitMix64: a few instructions, the same on every machine, and any two seeds give unrelated
// streams.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint32_t next32() { return static_cast<std::uint32_t>(next() >> 32); }
  // 0 to n - 1.
  std::uint32_t below(std::uint32_t n) { return next32() % n; }
  // True once in n.
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  template <typename T>
  T pick(std::initializer_list<T> list) {
    return *(list.begin() + below(static_cast<std::uint32_t>(list.size())));
  }

 private:
  std::uint64_t state_;
};

}  // namespace sockrepair::fuzz

#endif  // SOCKREPAIR_FUZZ_RANDOM_H_

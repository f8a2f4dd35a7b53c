// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_FIBER_H_
#define SOCKREPAIR_LIB_FIBER_H_

#include <cstddef>
#include <functional>
#include <memory>

#include "sockrepair/result.h"

namespace sockrepair::internal {

// A function with a stack of its own, which can be left in its middle and entered again there, by
// the same thread.
//
//   SOCKREPAIR_TRY_ASSIGN(std::unique_ptr<Fiber> fiber, Fiber::create());
//   fiber->begin([&] { ...; fiber->pause(); ...; });
//   while (!fiber->resume()) ...;             // up to the next pause(), or to the end
//
// It can begin again when it has ended. To change sides takes no system call.
class Fiber {
 public:
  static constexpr std::size_t kStack = 256 << 10;  // bytes; a page below it is not accessible

  static Result<std::unique_ptr<Fiber>> create();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  // Precondition: it has ended, or never begun.
  ~Fiber();

  // `function` must not throw. It runs from the next resume() on.
  void begin(std::function<void()> function);
  // Runs it until it pauses or ends; true: it has ended.
  bool resume();
  // To be called by the function.
  void pause();

 private:
  struct Contexts;

  Fiber(void* stack, std::unique_ptr<Contexts> contexts);
  static void enter(unsigned high, unsigned low);
  [[noreturn]] void run();

  void* stack_;
  std::unique_ptr<Contexts> contexts_;
  std::function<void()> function_;
  bool entered_ = false;
  bool ended_ = true;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_FIBER_H_

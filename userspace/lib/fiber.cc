// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT

// Its longjmp(3) takes a jump to another stack for a mistake.
#undef _FORTIFY_SOURCE

#include "fiber.h"

#include <errno.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

namespace sockrepair::internal {

// A stack is entered for the first time by setcontext(3), which sets the mask of signals with a
// system call, and from then on by longjmp(3), which does not: nothing in between changes the mask.
// No frame is left by a jump that will not be entered again, so no destructor is passed over.
struct Fiber::Contexts {
  ucontext_t first;
  jmp_buf inside;
  jmp_buf outside;
};

Result<std::unique_ptr<Fiber>> Fiber::create() {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* stack = ::mmap(nullptr, page + kStack, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return Error{errno, "mmap(), the stack of a fiber"};
  std::unique_ptr<Fiber> fiber(new Fiber(stack, std::make_unique<Contexts>()));
  if (::mprotect(stack, page, PROT_NONE) != 0)
    return Error{errno, "mprotect(), the stack of a fiber"};

  ucontext_t& first = fiber->contexts_->first;
  if (::getcontext(&first) != 0) return Error{errno, "getcontext()"};
  first.uc_link = nullptr;
  first.uc_stack.ss_sp = static_cast<char*>(stack) + page;
  first.uc_stack.ss_size = kStack;
  const std::uint64_t self = reinterpret_cast<std::uintptr_t>(fiber.get());
  ::makecontext(&first, reinterpret_cast<void (*)()>(&Fiber::enter), 2,
                static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
  return fiber;
}

Fiber::Fiber(void* stack, std::unique_ptr<Contexts> contexts)
    : stack_(stack), contexts_(std::move(contexts)) {}

Fiber::~Fiber() {
  ::munmap(stack_, static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + kStack);
}

void Fiber::begin(std::function<void()> function) {
  function_ = std::move(function);
  ended_ = false;
}

bool Fiber::resume() {
  if (_setjmp(contexts_->outside) == 0) {
    if (entered_) _longjmp(contexts_->inside, 1);
    entered_ = true;
    ::setcontext(&contexts_->first);
  }
  return ended_;
}

void Fiber::pause() {
  if (_setjmp(contexts_->inside) == 0) _longjmp(contexts_->outside, 1);
}

// makecontext(3) hands over numbers of 32 bits.
void Fiber::enter(unsigned high, unsigned low) {
  const std::uint64_t self = std::uint64_t{high} << 32 | low;
  reinterpret_cast<Fiber*>(static_cast<std::uintptr_t>(self))->run();
}

void Fiber::run() {
  for (;;) {
    function_();
    function_ = nullptr;
    ended_ = true;
    pause();
  }
}

}  // namespace sockrepair::internal

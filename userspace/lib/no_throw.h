// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_NO_THROW_H_
#define SOCKREPAIR_LIB_NO_THROW_H_

#include <cerrno>
#include <new>
#include <utility>

#include "sockrepair/result.h"

namespace sockrepair::internal {

// Runs `function`, which returns a Result; out of memory becomes ENOMEM. The outermost layer of
// every public function that allocates.
template <typename Function>
auto no_throw(Function&& function) noexcept -> decltype(function()) {
  try {
    return std::forward<Function>(function)();
  } catch (const std::bad_alloc&) {
    return Error{ENOMEM, "allocation"};  // short enough to need no memory
  }
}

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_NO_THROW_H_

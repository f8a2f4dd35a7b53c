// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_C_CALL_H_
#define SOCKREPAIR_LIB_C_CALL_H_

#include <errno.h>

#include <new>
#include <string>

#include "sockrepair/bridge.h"
#include "sockrepair/result.h"

namespace sockrepair::internal {

// Runs `function`, which returns Result<void>, as the body of a function of the C API. Where memory
// runs out there may be no object, only the number.
template <typename Function>
int c_call(sockrepair_error** error, Function&& function) noexcept {
  if (error != nullptr) *error = nullptr;
  try {
    Result<void> result = function();
    if (result) return 0;
    if (error != nullptr) *error = to_c(result.error());
    return result.error().code;
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
}

inline Error null_pointer(const char* call, const char* argument) {
  return Error{EINVAL, std::string(call) + ": " + argument + " is NULL"};
}

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_C_CALL_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/error.h"

#include <string.h>

namespace sockrepair {

std::string errno_text(int code) {
  const char* name = strerrorname_np(code);
  const char* text = strerrordesc_np(code);
  if (name == nullptr || text == nullptr) return "errno " + std::to_string(code);
  return std::string(name) + " (" + text + ")";
}

std::string Error::describe() const {
  return what + ": " + errno_text(code);
}

}  // namespace sockrepair

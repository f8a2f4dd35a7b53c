// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_ERROR_H_
#define SOCKREPAIR_ERROR_H_

#include <string>

#include "sockrepair/export.h"

namespace SOCKREPAIR_EXPORT sockrepair {

// Why a call did not do its work.
//
//   Error e{EPERM, "setsockopt(5, SOL_UDP, UDP_REPAIR, 1)"};
//   e.describe();  // "setsockopt(5, SOL_UDP, UDP_REPAIR, 1): EPERM (Operation not permitted)"
//
// A value: copy, compare and print it as you like.
struct Error {
  // An errno number, never 0.
  int code;
  // The call that failed with its arguments, or for a refusal of our own the field and its limit.
  std::string what;

  // One line for a person, without a newline.
  std::string describe() const;

  bool operator==(const Error&) const = default;
};

// "EPERM (Operation not permitted)". Thread-safe, unlike strerror(3).
std::string errno_text(int code);

}  // namespace sockrepair

#endif  // SOCKREPAIR_ERROR_H_

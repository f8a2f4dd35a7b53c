// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_C_HANDLES_H_
#define SOCKREPAIR_LIB_C_HANDLES_H_

#include <errno.h>

#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/error.h"
#include "sockrepair/sockrepair.h"
#include "sockrepair/udp_socket.h"

// What is behind the pointers of sockrepair.h.

struct sockrepair_error {
  explicit sockrepair_error(sockrepair::Error e) : error(std::move(e)), text(error.describe()) {}

  sockrepair::Error error;
  std::string text;
};

struct sockrepair_losses {
  struct Line {
    std::string subject;
    std::string text;
  };

  explicit sockrepair_losses(const std::vector<sockrepair::Loss>& losses) {
    for (const sockrepair::Loss& loss : losses) {
      std::string subject = loss.subject;
      if (loss.index) subject += " " + std::to_string(*loss.index);
      lines.push_back({std::move(subject), loss.describe()});
    }
  }

  std::vector<Line> lines;
};

struct sockrepair_udp {
  explicit sockrepair_udp(sockrepair::UdpSocket s) : socket(std::move(s)), losses(socket.losses) {}

  sockrepair::UdpSocket socket;
  sockrepair_losses losses;
};

namespace sockrepair::internal {

// Runs `function`, which returns Result<void>, as the body of a function of the C API. Where memory
// runs out there may be no object, only the number.
template <typename Function>
int c_call(sockrepair_error** error, Function&& function) noexcept {
  if (error != nullptr) *error = nullptr;
  try {
    Result<void> result = function();
    if (result) return 0;
    if (error != nullptr) *error = new sockrepair_error(result.error());
    return result.error().code;
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
}

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_C_HANDLES_H_

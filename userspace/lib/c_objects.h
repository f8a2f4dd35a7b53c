// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_C_OBJECTS_H_
#define SOCKREPAIR_LIB_C_OBJECTS_H_

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/loss.h"
#include "sockrepair/result.h"
#include "sockrepair/sockrepair.h"

// What objects and functions of the C API have in common.

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

namespace sockrepair::internal {

inline Result<void> check_flags(const char* call, unsigned int flags, unsigned int known) {
  if ((flags & ~known) == 0) return {};
  return Error{EINVAL, std::string(call) + ": flags " + std::to_string(flags) +
                           ", must be some of " + std::to_string(known)};
}

// A struct of options as the program has it, whose first member is its size; NULL: all 0.
template <typename Options>
Result<Options> copy_options(const char* call, const Options* given) {
  Options options{};
  options.size = sizeof(options);
  if (given == nullptr) return options;
  const std::size_t size = given->size;
  if (size < sizeof(size))
    return Error{EINVAL, std::string(call) + ": options, size: " + std::to_string(size) +
                             ", must be " + std::to_string(sizeof(size)) + " at least"};
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  const std::size_t known = std::min(size, sizeof(options));
  if (std::any_of(bytes + known, bytes + size, [](unsigned char byte) { return byte != 0; }))
    return Error{E2BIG, std::string(call) + ": options, size: " + std::to_string(size) +
                            ", of which more than " + std::to_string(known) +
                            " bytes are not 0, and are not known here"};
  memcpy(&options, bytes, known);
  return options;
}

// As getsockname(2) fills its arguments, of a socket of this domain.
inline int copy_name(int domain, const std::optional<Endpoint>& endpoint, sockaddr* address,
                     socklen_t* size) {
  if (address == nullptr || size == nullptr) return EINVAL;
  if (!endpoint) return ENOTCONN;
  const SocketAddress name(*endpoint, domain);
  memcpy(address, name.get(), std::min(*size, name.size()));
  *size = name.size();
  return 0;
}

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_C_OBJECTS_H_

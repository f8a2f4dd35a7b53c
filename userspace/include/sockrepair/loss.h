// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LOSS_H_
#define SOCKREPAIR_LOSS_H_

#include <cstddef>
#include <optional>
#include <string>

#include "sockrepair/export.h"

namespace SOCKREPAIR_EXPORT sockrepair {

// One thing that a dump or a restore could not carry, named for a person. What succeeds with a list
// of these has done everything else; an empty list says that nothing is lost.
//
//   Loss loss{"receive queue, datagram", 3, "hop_limit: 255 instead of 1"};
//   loss.describe();  // "receive queue, datagram 3: hop_limit: 255 instead of 1"
//
// A value.
struct Loss {
  // What it belongs to: "receive queue", "option SOL_SOCKET, SO_ATTACH_FILTER"; with an index one
  // of several: "receive queue, datagram".
  std::string subject;
  // Which one of several, from 0 on; of a receive queue the datagram. None: the whole subject.
  std::optional<std::size_t> index;
  // What is lost of it and why; where a member is meant, "member: reason".
  std::string what;

  // One line, without a newline.
  std::string describe() const;

  bool operator==(const Loss&) const = default;
};

}  // namespace sockrepair

#endif  // SOCKREPAIR_LOSS_H_

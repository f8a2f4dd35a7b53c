// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_RESTORED_SOCKET_H_
#define SOCKREPAIR_RESTORED_SOCKET_H_

#include <vector>

#include "sockrepair/export.h"
#include "sockrepair/fd.h"
#include "sockrepair/loss.h"

namespace SOCKREPAIR_EXPORT sockrepair {

// What restoring a socket gives.
struct RestoredSocket {
  Fd fd;  // CLOEXEC
  // What is not as in the value, in addition to the losses that are in it.
  std::vector<Loss> losses;
};

}  // namespace sockrepair

#endif  // SOCKREPAIR_RESTORED_SOCKET_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_CARRY_H_
#define SOCKREPAIR_TESTS_MIGRATION_CARRY_H_

#include <cstdint>
#include <span>

#include "migration/control.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// What a program does that moves a connection with the library: locks, dumps, stores and restores
// it. The address of the connection goes with it. A loss that the library tells of is an error.
namespace sockrepair::test {

// A connection in an image.
struct Carried {
  Bytes image;
  std::size_t received = 0;  // bytes not read by the application
  std::size_t sent = 0;      // bytes not acknowledged by the peer
};

// Takes a connection away from this host, which has closed its socket and forgotten its address
// then. The peer is told nothing.
Result<Carried> leave(Fd fd);

// The time from dump to restore: no clock of the two hosts needs to agree.
struct Pause {
  std::uint64_t age_us = 0;  // of the dump, microseconds
  bool count = false;        // TcpRestoreOptions::count_pause
};

// The same connection at this host, which has its address then. Nobody is told where that is.
Result<Fd> arrive(std::span<const std::uint8_t> image, const Pause& pause);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_CARRY_H_

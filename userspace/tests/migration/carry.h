// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_CARRY_H_
#define SOCKREPAIR_TESTS_MIGRATION_CARRY_H_

#include <cstdint>
#include <span>

#include "migration/control.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

namespace sockrepair::test {

// A connection as bytes, for a host that runs the same program.
struct Carried {
  Bytes image;
  std::size_t received = 0;  // bytes not read by the application
  std::size_t sent = 0;      // bytes not acknowledged by the peer
};

// Closes the socket; the peer is told nothing.
Result<Carried> take_connection(Fd fd);

// The connection again, `pause_us` microseconds after it was taken.
Result<Fd> put_connection(std::span<const std::uint8_t> image, std::uint64_t pause_us);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_CARRY_H_

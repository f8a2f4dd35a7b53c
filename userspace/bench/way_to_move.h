// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_BENCH_WAY_TO_MOVE_H_
#define SOCKREPAIR_BENCH_WAY_TO_MOVE_H_

#include <memory>
#include <optional>
#include <string>

#include "child.h"
#include "moved_process.h"
#include "sockrepair/result.h"

// What `make bench-criu` compares: programs that dump a process and kill it, and that restore it.
namespace sockrepair::bench {

struct Dumped {
  double ms = 0;         // the whole command
  double frozen_ms = 0;  // of it, by its own account: from the beginning of stopping to the killing
  std::size_t peak_kib = 0;
  std::size_t image_bytes = 0;
  std::size_t memory_bytes = 0;  // of the image: the process's own memory
};

struct Restored {
  Child process;  // goes on where the dumped one stopped
  double ms = 0;  // from the start of the command to when it does
  // Nothing where the command has become the process: it is known when that ends.
  std::optional<std::size_t> peak_kib;
};

// One way, without state of its own. The calling process has to be a subreaper
// (PR_SET_CHILD_SUBREAPER): it inherits what is restored by a program that ends.
class WayToMove {
 public:
  virtual ~WayToMove() = default;
  virtual std::string name() const = 0;
  // Files go to `directory`, which is empty.
  virtual Result<Dumped> dump(const MovedProcess& process, const std::string& directory) const = 0;
  virtual Result<Restored> restore(const MovedProcess& process,
                                   const std::string& directory) const = 0;
};

// criu dump --tcp-established; criu restore -d
std::unique_ptr<WayToMove> move_by_criu();
// sockrepair dump --kill; sockrepair restore --congestion CONGESTION; empty: as it comes
std::unique_ptr<WayToMove> move_by_sockrepair(const std::string& congestion);

}  // namespace sockrepair::bench

#endif  // SOCKREPAIR_BENCH_WAY_TO_MOVE_H_

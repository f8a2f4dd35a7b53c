// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TOOLS_KEEPER_H_
#define SOCKREPAIR_TOOLS_KEEPER_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/connection_lock.h"
#include "sockrepair/fd.h"
#include "sockrepair/image.h"
#include "sockrepair/result.h"

namespace sockrepair::tool {

// A connection that is dumped. `fd` is the caller's; of a connection that is over a socket of its
// network namespace.
struct KeptConnection {
  int fd = -1;
  std::uint64_t netns_cookie = 0;
  FourTuple tuple;
};

// A process beside this one that holds what must not be left behind, however this one ends: the
// lock on the segments of connections (connection_lock.h), and the sockets that are put into repair
// mode while they are dumped.
//
//   start()                     segments of the connections are dropped, both ways
//   release(), ~Keeper(), or    segments pass, no socket is in repair mode that was not before:
//   this process is killed      the connections go on
//   keep_locked()               the sockets are left to close without a word, and segments are
//                               dropped until take_over_lock(), or for a time
class Keeper {
 public:
  // Without `lock` only the sockets are looked after. `name` is what take_over_lock() asks for.
  // Errors of ConnectionLock, with nothing left behind.
  static Result<Keeper> start(const std::vector<KeptConnection>& connections, bool lock,
                              const std::string& name);

  Keeper(Keeper&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), control_(std::move(other.control_)) {}
  Keeper& operator=(Keeper&&) = delete;
  ~Keeper();

  // Returns when everything is put back.
  Result<void> release();

  // The process `pidfd`, whose sockets they are, is about to be ended, and there is an image of it.
  // Should this process be killed after that, nothing is put back: there is nobody whose the
  // connections are, and they are left as by keep_locked(). `pidfd` was open at start().
  Result<void> expect_end(int pidfd, std::chrono::seconds time);

  // The process goes on without this one, and holds the lock for `time` at most. Its number, by
  // which it can be ended before. To be called when nobody but it and this process has the sockets.
  Result<pid_t> keep_locked(std::chrono::seconds time);

 private:
  Keeper(pid_t pid, Fd control) : pid_(pid), control_(std::move(control)) {}
  Result<void> command(const std::string& text);

  pid_t pid_;
  Fd control_;
};

// The name of the lock that the dump of `process` keeps; the image has what it is made of.
std::string lock_name(const ImageProcess& process);

// Ends the lock of that name in the network namespace of the calling thread; if there is none, as
// on another host, nothing happens. Returns when its segments pass.
Result<void> take_over_lock(const std::string& name);

}  // namespace sockrepair::tool

#endif  // SOCKREPAIR_TOOLS_KEEPER_H_

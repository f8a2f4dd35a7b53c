// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_BENCH_MOVED_PROCESS_H_
#define SOCKREPAIR_BENCH_MOVED_PROCESS_H_

#include <linux/tcp.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "child.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/net_ns.h"

// The process that is moved (criu_process.cc), and the peers of its connections, which are
// descriptors of this process and stay where they are.
namespace sockrepair::bench {

// What the process has.
struct Load {
  std::size_t connections = 1;
  std::size_t bytes = 0;    // in the receive queue of each, as many in its send queue
  std::size_t warm_up = 0;  // bytes that each has carried before, in both directions
  unsigned delay_ms = 0;    // of every packet, one way; not 0: the MTU is 1500, too
};

// One life of it, in a network namespace of its own, so that no life leaves anything to another:
//
//   SOCKREPAIR_TRY_ASSIGN(MovedProcess process, MovedProcess::start(load));
//   dump and kill process.pid(), in process.ns()
//   SOCKREPAIR_TRY(process.gone());
//   restore it, or start process.resume_command() with its sockets
//   SOCKREPAIR_TRY(process.verify(restored));
class MovedProcess {
 public:
  // Waits, with full queues, in sigwait(3) when this returns.
  static Result<MovedProcess> start(const Load& load);

  pid_t pid() const { return pid_; }
  const test::NetNs& ns() const { return ns_; }

  // TCP_INFO of the first connection, at its end in process `pid`.
  Result<tcp_info> info(pid_t pid) const;

  // Reaps it; an error if it was not ended by SIGKILL. From then on segments reach the peers.
  Result<void> gone();

  // A program with the same sockets, which says "r" on standard output when it has begun.
  std::vector<std::string> resume_command() const;

  // Wakes the restored process and shows that every byte is there, on every connection: those that
  // were in its queues, in their order, and new ones both ways. Then closes, and reaps it: its
  // status has to be 0.
  Result<Ended> verify(Child& process);

 private:
  MovedProcess(const Load& load, test::NetNs ns) : load_(load), ns_(std::move(ns)) {}
  // In ns_.
  Result<void> prepare();
  Result<void> connect();
  Result<void> warm_up() const;
  Result<void> fill();
  Result<void> check_queues() const;

  Load load_;
  test::NetNs ns_;
  std::optional<Child> child_;
  pid_t pid_ = -1;
  std::vector<Fd> peers_;  // by connection
};

}  // namespace sockrepair::bench

#endif  // SOCKREPAIR_BENCH_MOVED_PROCESS_H_

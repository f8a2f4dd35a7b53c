// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_FUZZ_TCP_REPAIR_WORLD_H_
#define SOCKREPAIR_FUZZ_TCP_REPAIR_WORLD_H_

#include <liburing.h>
#include <netinet/in.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "tcp_repair_calls.h"

// Carries out the calls of tcp_repair_calls.h on real sockets, all of them on loopback of the
// network namespace that the thread is in, and none of them waiting for a peer.
namespace sockrepair::fuzz {

// The sockets of a case. All threads of the case use and replace them without a lock: that they
// meet in the kernel is the point. A number that was closed under a thread's hands gives EBADF, or
// another socket of the same case.
class Sockets {
 public:
  // Ports of the case; those of cases near it are others, so that what one leaves behind in the
  // kernel does not meet the next.
  explicit Sockets(std::uint64_t case_number);
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;
  // Resets the connections.
  ~Sockets();

  int get(std::uint32_t slot) const { return slots_[slot]; }
  void put(std::uint32_t slot, int fd);
  std::uint16_t port(std::uint32_t index) const {
    return static_cast<std::uint16_t>(first_port_ + index);
  }

 private:
  std::uint16_t first_port_;
  std::array<std::atomic<int>, kSlots> slots_;
};

// Time and number of system calls by kind of call.
struct Times {
  struct Row {
    std::uint64_t steps = 0;
    std::uint64_t calls = 0;
    std::chrono::nanoseconds time{0};
  };
  std::array<Row, static_cast<std::size_t>(Op::kCount)> rows{};
};

// What one thread makes its calls with, for one case after another. Others may read the counters.
class Hand {
 public:
  Hand() = default;
  Hand(const Hand&) = delete;
  Hand& operator=(const Hand&) = delete;
  ~Hand();

  // The system calls that `call` stands for; none when its slot is empty. What the last of them
  // returned, or minus an errno number; for people, choices never depend on it.
  int make(const Call& call, Sockets& sockets);

  // As make(), and adds to times().
  int make_timed(const Call& call, Sockets& sockets);
  const Times& times() const { return times_; }

  // System calls so far.
  std::uint64_t calls() const { return calls_.load(std::memory_order_relaxed); }

  // While this is true the number of calls must keep growing.
  std::atomic<bool> busy{false};

  // What the kernel did first that it must never do; empty if nothing.
  const std::string& complaint() const { return complaint_; }
  void forget_complaint() { complaint_.clear(); }

 private:
  // Counts a system call; its result, or minus the errno number.
  int count(long result);
  int set(int fd, int level, int name, const void* value, std::uint32_t length, bool ring);
  int set_int(int fd, int name, int value) {
    return set(fd, IPPROTO_TCP, name, &value, sizeof(value), false);
  }
  int set_by_ring(int fd, int level, int name, const void* value, std::uint32_t length);
  int set_options(int fd, const Call& call);
  int set_window(int fd, const Call& call);
  int send(int fd, const Call& call, const Sockets& sockets);
  int receive(int fd, const Call& call);
  int look(int fd);
  int get(int fd, const Call& call);
  int pair(const Call& call, Sockets& sockets);
  int twins(const Call& call, Sockets& sockets);
  int lonely(const Call& call, Sockets& sockets);
  int fork_child(const Call& call, Sockets& sockets);
  // A socket bound in repair mode with its sequence numbers.
  int restored(const Call& call, std::uint16_t port, std::uint32_t snd_seq, std::uint32_t rcv_seq);
  // The rest, once both ends can be connected.
  int connect_restored(int fd, const Call& call, std::uint16_t peer_port);
  __attribute__((format(printf, 2, 3))) void complain(const char* format, ...);

  std::atomic<std::uint64_t> calls_{0};
  std::string complaint_;
  io_uring ring_{};
  bool ring_ready_ = false;
  bool in_child_ = false;
  Times times_;
};

}  // namespace sockrepair::fuzz

#endif  // SOCKREPAIR_FUZZ_TCP_REPAIR_WORLD_H_

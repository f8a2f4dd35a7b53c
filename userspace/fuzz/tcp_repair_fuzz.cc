// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// tcp_repair_fuzz: random sequences of every call that has to do with TCP_REPAIR, valid and
// invalid, on sockets that share a loopback with live peers.
//
//   usage: tcp_repair_fuzz [--seed N] [--calls N] [--lanes N] [--times]
//          tcp_repair_fuzz --seed N --case N [--steps N] [--trace | --list]
//
//   --seed N   what all choices follow from; a new one by default, printed at the start
//   --calls N  stop after so many system calls (1000000)
//   --lanes N  cases that run side by side, each in a network namespace of its own (2)
//   --times    how long each kind of call took
//   --case N   this case alone: the same calls with the same arguments as in the whole run
//   --steps N  of each thread of the case the first N calls only
//   --trace    print each call before it is made, and its result
//   --list     print the calls and make none; needs no privilege
//
// Case N has one thread if N is even, else two on the same sockets, and children now and then. Its
// choices depend on the seed and its number, never on what a call returned. A window is chosen as
// a distance from the socket's; where the sequence numbers are the kernel's own, so is the window.
//
// A case fails when the kernel log shows a splat, when the kernel accepts what is never right or
// refuses with an errno that is not documented, when TCP_INFO shows what cannot be, or when a
// thread is in one call for a minute. Output is KTAP; a failure names the seed and the cases that
// ran, in the form of command lines. Needs root.

#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernel_log.h"
#include "tcp_repair_calls.h"
#include "tcp_repair_plan.h"
#include "tcp_repair_world.h"

namespace sockrepair::fuzz {
namespace {

constexpr std::chrono::seconds kStuckAfter{60};
constexpr unsigned kMaxThreads = 2;

using Clock = std::chrono::steady_clock;

unsigned long long wide(std::uint64_t number) {
  return number;
}

// Of make: which guest this is, if that is not the usual one.
std::string flavour_argument() {
  const char* const flavour = std::getenv("SOCKREPAIR_FLAVOUR");
  return flavour && std::strcmp(flavour, "plain") != 0 ? std::string(" FLAVOUR=") + flavour : "";
}

bool enter_net_ns() {
  if (::unshare(CLONE_NEWNET)) return false;
  const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  const bool up = !::ioctl(fd, SIOCSIFFLAGS, &request);
  ::close(fd);
  return up;
}

// Cases one after another, and the threads that they have.
struct Lane {
  std::array<Hand, kMaxThreads> hands;
  std::atomic<bool> running{false};
  std::atomic<std::uint64_t> number{0};  // of the case
};

class Run {
 public:
  Run(const Plan& plan, std::uint64_t seed) : plan_(plan), seed_(seed), lanes_(plan.lanes) {}

  int go() {
    std::printf("TAP version 13\n1..1\n# seed %llu\n", wide(seed_));
    std::fflush(stdout);
    if (!log_.readable()) {
      fail("cannot read /dev/kmsg: splats would go unseen");
    } else {
      std::vector<std::thread> threads;
      for (Lane& lane : lanes_) threads.emplace_back([this, &lane] { walk(lane); });
      std::thread watch([this] { watchdog(); });
      for (std::thread& thread : threads) thread.join();
      done_ = true;
      watch.join();
    }
    report();
    return failed_ ? 1 : 0;
  }

 private:
  std::uint64_t calls() const {
    std::uint64_t sum = 0;
    for (const Lane& lane : lanes_)
      for (const Hand& hand : lane.hands) sum += hand.calls();
    return sum;
  }

  void walk(Lane& lane) {
    if (!enter_net_ns()) {
      fail("cannot make a network namespace: " + std::string(std::strerror(errno)));
      return;
    }
    while (!failed_) {
      std::uint64_t number = next_case_++;
      if (plan_.only_case ? number > 0 : calls() >= plan_.calls) return;
      if (plan_.only_case) number = *plan_.only_case;
      lane.number = number;
      lane.running = true;
      run_case(lane, number);
      const std::string splat = log_.splat();
      for (Hand& hand : lane.hands)
        if (!hand.complaint().empty()) fail("impossible: " + hand.complaint());
      if (!splat.empty()) fail("kernel log: " + splat);
      lane.running = false;
      ++cases_;
    }
  }

  void run_case(Lane& lane, std::uint64_t number) {
    Sockets sockets(number);
    const auto walk = [&](unsigned thread) {
      Hand& hand = lane.hands[thread];
      Sequence sequence(case_seed(seed_, number), thread);
      hand.busy = true;
      for (std::uint32_t i = 0; i < plan_.steps && !failed_; ++i) {
        const Call call = sequence.next();
        if (plan_.trace) {
          trace(thread, i, call, nullptr);
          const int result = hand.make(call, sockets);
          trace(thread, i, call, &result);
        } else if (plan_.times) {
          hand.make_timed(call, sockets);
        } else {
          hand.make(call, sockets);
        }
        // The rest of the case would be made by a kernel that is not right any more.
        if (!hand.complaint().empty()) break;
      }
      hand.busy = false;
    };
    std::vector<std::thread> others;
    for (unsigned i = 1; i < threads_of_case(number); ++i)
      others.emplace_back([&walk, i] { walk(i); });
    walk(0);
    for (std::thread& other : others) other.join();
  }

  // Before the call and after it: a call that the kernel does not survive is the last line.
  void trace(unsigned thread, std::uint32_t step, const Call& call, const int* result) {
    std::lock_guard lock(print_mutex_);
    if (result)
      std::printf("# %u.%u = %d\n", thread, step, *result);
    else
      std::printf("# %u.%u %s\n", thread, step, to_string(call).c_str());
    std::fflush(stdout);
  }

  // Says what happened and how to see it again.
  void fail(const std::string& why) {
    std::lock_guard lock(print_mutex_);
    std::printf("# %s\n", why.c_str());
    for (const Lane& lane : lanes_) {
      if (!lane.running) continue;
      std::printf("# again: make test T=%s%s\n#    in the guest: tcp_repair_fuzz %s\n",
                  case_name(seed_, lane.number).c_str(), flavour_argument().c_str(),
                  program_arguments(seed_, lane.number).c_str());
    }
    std::fflush(stdout);
    failed_ = true;
  }

  // No call ever waits for a peer, so a thread that is in one for long is stuck in the kernel, and
  // nothing can end it but the end of the program.
  void watchdog() {
    struct Seen {
      const Hand* hand;
      std::uint64_t calls;
      Clock::time_point since;
    };
    std::vector<Seen> all;
    for (const Lane& lane : lanes_)
      for (const Hand& hand : lane.hands) all.push_back({&hand, 0, Clock::now()});
    while (!done_) {
      // Nothing notifies about calls that do not return.
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      const auto now = Clock::now();
      for (Seen& seen : all) {
        if (!seen.hand->busy || seen.hand->calls() != seen.calls) {
          seen.calls = seen.hand->calls();
          seen.since = now;
        } else if (now - seen.since > kStuckAfter) {
          fail("a thread is in one call for a minute");
          std::printf("not ok 1 tcp_repair_fuzz\n");
          std::fflush(stdout);
          ::_exit(1);
        }
      }
    }
  }

  void report() {
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    const std::uint64_t made = calls();
    std::printf("# %llu calls in %llu cases, %.0f s, %.0f calls a second\n", wide(made),
                wide(cases_), seconds, static_cast<double>(made) / seconds);
    if (plan_.times) report_times();
    std::printf("%s 1 tcp_repair_fuzz\n", failed_ ? "not ok" : "ok");
  }

  void report_times() {
    std::printf("# %-11s %9s %9s %8s %9s\n", "kind", "steps", "calls", "ms", "us/call");
    for (std::size_t op = 0; op < static_cast<std::size_t>(Op::kCount); ++op) {
      Times::Row sum;
      for (const Lane& lane : lanes_) {
        for (const Hand& hand : lane.hands) {
          const Times::Row& row = hand.times().rows[op];
          sum.steps += row.steps;
          sum.calls += row.calls;
          sum.time += row.time;
        }
      }
      const double us = std::chrono::duration<double, std::micro>(sum.time).count();
      std::printf("# %-11s %9llu %9llu %8.0f %9.1f\n", op_name(static_cast<Op>(op)),
                  wide(sum.steps), wide(sum.calls), us / 1000,
                  us / static_cast<double>(std::max<std::uint64_t>(sum.calls, 1)));
    }
  }

  const Plan plan_;
  const std::uint64_t seed_;
  const Clock::time_point start_ = Clock::now();
  KernelLog log_;
  std::deque<Lane> lanes_;
  std::atomic<std::uint64_t> next_case_{0};
  std::atomic<std::uint64_t> cases_{0};
  std::atomic<bool> done_{false};
  std::atomic<bool> failed_{false};
  std::mutex print_mutex_;
};

void list_case(std::uint64_t seed, std::uint64_t number, std::uint32_t steps) {
  for (unsigned thread = 0; thread < threads_of_case(number); ++thread) {
    Sequence sequence(case_seed(seed, number), thread);
    for (std::uint32_t i = 0; i < steps; ++i)
      std::printf("# %u.%u %s\n", thread, i, to_string(sequence.next()).c_str());
  }
}

int main(int argc, char** argv) {
  const std::optional<Plan> plan =
      parse_plan({argv + 1, static_cast<std::size_t>(std::max(argc - 1, 0))});
  if (!plan) {
    std::fprintf(stderr,
                 "usage: tcp_repair_fuzz [--seed N] [--calls N] [--lanes N] [--times]\n"
                 "       tcp_repair_fuzz --seed N --case N [--steps N] [--trace | --list]\n");
    return 2;
  }
  if (plan->list) {
    list_case(*plan->seed, *plan->only_case, plan->steps);
    return 0;
  }
  return Run(*plan, plan->seed ? *plan->seed : std::random_device{}()).go();
}

}  // namespace
}  // namespace sockrepair::fuzz

int main(int argc, char** argv) {
  return sockrepair::fuzz::main(argc, argv);
}

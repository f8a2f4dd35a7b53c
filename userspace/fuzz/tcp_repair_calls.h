// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_FUZZ_TCP_REPAIR_CALLS_H_
#define SOCKREPAIR_FUZZ_TCP_REPAIR_CALLS_H_

#include <linux/tcp.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "random.h"

// What the fuzzer of TCP_REPAIR does, as values: random sequences of calls, which follow from a
// seed and nothing else, and what no kernel may answer to them.
//
//   Sequence sequence(case_seed(seed, 17), 0);
//   for (int i = 0; i < kStepsPerThread; ++i) puts(to_string(sequence.next()).c_str());
//
// No system call is made here: world.h carries the calls out.
namespace sockrepair::fuzz {

inline constexpr int kSlots = 6;   // sockets of a case
inline constexpr int kPorts = 12;  // that they are bound and connected to
inline constexpr int kStepsPerThread = 1200;

enum class Op : std::uint8_t {
  kSocket,      // a new one in `slot`
  kPair,        // listener, connection, both ends kept in `slot` and `other`
  kTwins,       // both ends of a connection restored, in `slot` and `other`: a live pair
  kLonely,      // a connection restored whose peer nobody is
  kSet,         // setsockopt(level, name, value), `length` bytes of it
  kSetOptions,  // TCP_REPAIR_OPTIONS
  kSetWindow,   // TCP_REPAIR_WINDOW
  kSend,
  kReceive,
  kConnect,
  kDisconnect,
  kBind,
  kShutdown,
  kListen,
  kAccept,
  kInfo,  // TCP_INFO, whose counters are checked
  kGet,   // getsockopt(level, name), at most `length` bytes
  kIoctl,
  kClose,
  kFork,  // a child that makes `length` calls of its own on the same sockets
  kCount,
};
const char* op_name(Op op);

// How a window differs from the one that the socket has.
struct WindowChange {
  enum Field : std::uint8_t { kSndWl1, kSndWnd, kMaxWindow, kRcvWnd, kRcvWup, kFields };
  struct Step {
    Field field;
    bool add;  // to what is there, instead of replacing it
    std::uint32_t number;
  };
  bool plain = false;  // starts with small windows that any scale can express
  std::uint32_t plain_snd_wnd = 0;
  std::uint32_t plain_rcv_wnd = 0;
  std::array<Step, 3> steps{};
  std::uint8_t count = 0;

  void apply(tcp_repair_window& window) const;
};

// One call, or the few that belong together.
struct Call {
  Op op = Op::kSocket;
  std::uint8_t slot = 0;
  std::uint8_t other = 0;
  bool v6 = false;
  bool ring = false;  // setsockopt() through io_uring
  std::uint8_t port = 0;
  std::uint8_t peer_port = 0;
  std::uint8_t option_count = 0;
  int level = 0;
  int name = 0;
  int flags = 0;
  std::uint32_t value = 0;
  std::uint32_t length = 0;
  std::uint64_t seed = 0;       // of a child
  std::uint32_t snd_seq = 0;    // of a restored connection
  std::uint32_t rcv_seq = 0;    //
  std::uint32_t timestamp = 0;  //
  int leave = 1;                // value of TCP_REPAIR that it ends with; 1: stays in the mode
  std::array<tcp_repair_opt, 6> options{};
  WindowChange window;
};

// Every choice in one line, the same for the same call.
std::string to_string(const Call& call);

// The calls of one thread of a case, without end.
class Sequence {
 public:
  Sequence(std::uint64_t case_seed, unsigned thread);
  // The calls of a child.
  explicit Sequence(std::uint64_t child_seed) : random_(child_seed), child_(true) {}

  Call next();

 private:
  Call next_of_burst();
  Call next_of_any();
  Call repair_call(std::uint8_t slot);
  Call set(std::uint8_t slot, int level, int name, std::uint32_t value);
  Call get(std::uint8_t slot);
  void add_options(Call& call);
  void add_window(Call& call);
  void add_connection(Call& call);
  Call send(std::uint8_t slot);
  Call set_something(std::uint8_t slot);
  // Numbers near the bounds that matter, and any others.
  std::uint32_t number();
  std::uint8_t slot() { return static_cast<std::uint8_t>(random_.below(kSlots)); }
  std::uint8_t port() { return static_cast<std::uint8_t>(random_.below(kPorts)); }

  Random random_;
  bool child_ = false;
  // The first thread begins with a socket in each slot.
  std::uint32_t missing_ = 0;
  // Many cheap calls on one socket follow each other.
  std::uint32_t burst_ = 0;
  std::uint8_t burst_slot_ = 0;
};

// The seed that all of case `number` follows from.
std::uint64_t case_seed(std::uint64_t seed, std::uint64_t number);

// Every second case has two threads on the same sockets. One with a single thread is replayed
// exactly.
unsigned threads_of_case(std::uint64_t number);

// Whether there is any socket at all for which the kernel may accept this; `length` is what it is
// told.
bool options_may_be_right(std::span<const tcp_repair_opt> options, std::uint32_t length);
bool window_may_be_right(const tcp_repair_window& window);

// Whether a set of TCP_REPAIR*, TCP_QUEUE_SEQ or TCP_TIMESTAMP may end with this errno number. True
// for any other option.
bool error_is_documented(int level, int name, int error);

}  // namespace sockrepair::fuzz

#endif  // SOCKREPAIR_FUZZ_TCP_REPAIR_CALLS_H_

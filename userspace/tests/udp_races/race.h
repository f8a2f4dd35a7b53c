// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_RACES_RACE_H_
#define SOCKREPAIR_TESTS_UDP_RACES_RACE_H_

#include <linux/udp_repair.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "udp_races/blocks.h"
#include "util/net_ns.h"
#include "util/send.h"

// Dumping a socket while others do things to it.
//
// A writer appends numbered blocks and ends datagrams, a disturber does what the race is about, and
// the calling thread dumps with buffers of any length. Each dump must be one state of the socket.
namespace sockrepair::test {

using Random = std::mt19937;

struct RacePeer {
  const char* name;
  int domain;
  Family family;
};

// What a writer begins a datagram with, all at once: members of a dump that belong together.
struct Configuration {
  Endpoint to;
  std::uint8_t traffic_class;
  std::uint8_t hop_limit;
  std::uint32_t mark;
  std::uint32_t priority;
};

inline constexpr std::size_t kConfigurations = 4;
// The one with number `i`: no two have any member in common.
Configuration configuration(Family family, std::size_t i);

// What one getsockopt() gave.
struct Dump {
  udp_repair_send_queue header;
  std::span<const std::uint8_t> options;  // the parts before the payload
  std::vector<Block> blocks;
};

// How the writer sends.
struct WriterOptions {
  bool to_address = true;     // each send says where to, else the socket is connected
  bool with_messages = true;  // and gives the rest of the configuration
  // How the payload gets there; one of them by chance.
  std::vector<Transfer> transfers = {Transfer::kCopied};
  // Appends per datagram, at most; and blocks per append.
  unsigned max_appends = 6;
  unsigned max_blocks = 40;
};

// What happened.
struct RaceResult {
  std::uint64_t dumps = 0;      // with something in them
  std::uint64_t datagrams = 0;  // that they were of
  std::uint64_t cut = 0;        // of the dumps, for a buffer that was too small
  std::uint64_t special = 0;    // of the dumps, as Race::special says
  std::uint64_t empty = 0;      // nothing was under construction
  std::uint64_t refused = 0;    // with Race::may_fail_with
  std::uint64_t appends = 0;
  std::uint64_t failed_appends = 0;
  std::uint64_t disturbances = 0;
};
std::string describe(const RaceResult& result);

// A race: what it needs, who disturbs, and what must have happened for it to count.
struct Race {
  const char* name;
  WriterOptions writer = {};
  unsigned writers = 1;
  // Options of the socket.
  std::vector<SocketOption> (*options)(Family family) = nullptr;
  // One disturbance, again and again, from a thread of its own. `fd` has the socket.
  Result<void> (*disturb)(const Fd& fd, const RacePeer& peer, const NetNs& ns,
                          Random& random) = nullptr;
  // Makes the interface and removes it again; else it is there all the time.
  bool disturber_has_interface = false;
  // What is wrong with the members of a dump, or nothing; without this they must be those of the
  // configuration of the first block.
  std::string (*check)(const Dump& dump, const RacePeer& peer) = nullptr;
  // A dump that the race is about.
  bool (*special)(const Dump& dump) = nullptr;
  // An error of the dump that is right.
  int may_fail_with = 0;
  // The least that must have happened.
  RaceResult least = {};
};

struct RaceCase {
  std::string name;
  RacePeer peer;
  Race race;

  friend void PrintTo(const RaceCase& param, std::ostream* out) { *out << param.name; }
};

// The interface of the race, 1500 bytes wide, through which everything leaves.
inline constexpr char kRaceInterface[] = "race0";
inline constexpr std::uint32_t kRaceIfindex = 20;
// ip(8) commands that make it, from two that are joined, and remove it.
std::string interface_up_commands();
std::string interface_down_commands();

inline constexpr std::uint16_t kRacePort = 4000;
// Of the socket.
IpAddress race_source(Family family);

// A socket as the race wants it, in repair mode, bound and, where the writers need it, connected.
Result<Fd> race_socket(const Race& race, const RacePeer& peer, const NetNs& ns);

// Runs it for some seconds, longer where locks and memory are checked at every step. The error is
// the first thing that was wrong.
Result<RaceResult> run_race(const RaceCase& race_case, std::uint32_t seed);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_RACES_RACE_H_

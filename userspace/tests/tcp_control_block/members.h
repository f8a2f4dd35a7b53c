// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_MEMBERS_H_
#define SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_MEMBERS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/kernel_layout.h"
#include "util/tcp_witness.h"

// What every member of struct tcp_sock has to be after a connection was moved. There is one row a
// member, or a group of members, that is not simply the same; a member without a row has to be the
// same, whether we know of it or not.
namespace sockrepair::test {

// A move as the witness saw it: the memory of both sockets around the calls that matter.
struct Witnessed {
  const KernelLayout& layout;
  tcp_witness_snapshot was{};        // the original, just before its control block was read
  tcp_witness_snapshot was_still{};  // and just after
  tcp_witness_snapshot fresh{};      // the new socket, just before its control block was set
  tcp_witness_snapshot now{};        // and just after
  std::uint32_t flags = 0;           // as given to TCP_REPAIR_CB
  std::uint64_t pause_us = 0;        // the same

  std::uint64_t old_value(std::string_view path) const;
  std::uint64_t new_value(std::string_view path) const;
  // By how much the clocks of the connection go on, in microseconds: as tcp_repair_cb.rst says.
  std::uint64_t elapsed_us() const;
};

// Times are compared with the clock they are of: the age of a stamp is the age it had when it was
// read, plus what counts of the pause, at the moment it was written. Neither moment is known better
// than by the looks around the call, and that is the tolerance, plus one unit of the clock for
// each of the two roundings.
enum class Rule {
  kSame,                // equal; for members that have to be in the table
  kJiffies,             // stamp in jiffies
  kJiffiesOrNone,       // the same, 0: none
  kTimestampOrNone,     // stamp of the host's clock in the unit of the timestamps, 0: none
  kMillisecondsOrNone,  // stamp of the host's clock in milliseconds, 0: none
  kSecondsOrNone,       // stamp in seconds, of the peer's clock: the whole pause counts; 0: none
  kTimer,               // when a timer runs out, in jiffies; has what it had left
  kCopy,     // a stamp that was given in the connection's clock: equal with `tsoffset` added
  kSeq,      // equal; what was passed long ago is the oldest that still matters: snd_una
  kZero,     // reported, never believed: the new socket begins with 0
  kDerived,  // follows from others: the row has a function
  kNew,      // begins anew, or is found out anew: not compared
  kSocket,   // of the socket, not of the connection: pointers, locks, memory, identity
};

struct MemberRule {
  const char* path;  // a member, or what a group of members is in
  Rule rule;
  const char* why;  // of what is not the same
  // kDerived: empty if the member is as it has to be, else what it should be.
  std::string (*check)(const Witnessed& seen, const KernelMember& member) = nullptr;
};
std::span<const MemberRule> member_rules();

// The rule with the longest path that is `path`, or that `path` is in; nullptr: there is none.
const MemberRule* rule_of(std::string_view path);

// Members that are not what they have to be: "snd_wnd: 64256, was 65535 (the same)".
std::vector<std::string> wrong_members(const Witnessed& seen);

// The same for one member; empty if it is right.
std::string judge(const Witnessed& seen, const KernelMember& member);

// What is left out of the paths of members.
std::span<const char* const> socket_bases();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_MEMBERS_H_

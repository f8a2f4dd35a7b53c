// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_RULES_H_
#define SOCKREPAIR_TESTS_MIGRATION_RULES_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "migration/segment.h"

// What must hold for the segments of a connection that moves, wherever it is.
//
//   Judge judge;
//   for (const Segment& segment : capture) judge.see(segment);
//   EXPECT_THAT(judge.end({.handovers = 50}), IsEmpty());
//
// A violation names its rule and shows the segment and those before it:
//
//   window_shrunk, 3 times; the moved end takes back no window that it gave:
//     destination -> peer at 1.750000 s: seq 17 +1448, ack 4, window 500, TS 7 3, flags 0x10
//     window up to 504, before it up to 1004
//     after:
//     ...
//
// The capture has to be made where the moved end's segments have not been delayed, lost, doubled or
// reordered yet, and the peer's have: it then shows what the moved end said, in the order in which
// it did, after all that it had heard. What is said of the peer holds there, too, whatever the
// network did to its segments. Segments that a lock keeps on their host are missing; that all data
// arrive is for the applications to see.
namespace sockrepair::test {

// What one end has said so far.
struct Said {
  std::optional<Segment> first;        // that had a timestamp
  std::int64_t last_time_ns = 0;       // of the last one that had
  std::optional<std::uint8_t> scale;   // of the windows in its segments, from its SYN
  std::optional<std::uint32_t> sent;   // end of all data
  std::optional<std::uint32_t> ack;    // the highest
  std::optional<std::uint32_t> edge;   // of the window that it gave: the farthest
  std::optional<std::uint32_t> tsval;  // the newest
  bool finished = false;               // with a FIN
};

// A rule says what is wrong with a segment, given what its own end and the other one said before
// it; or nothing.
struct Rule {
  const char* name;
  const char* meaning;
  bool moved_end_only;  // it needs the order in which the segments were sent
  std::optional<std::string> (*check)(const Segment& segment, const Said& own, const Said& other);
};
std::span<const Rule> rules();

// The right edge of the window that a segment gives, by its sender's scale. Nothing without ACK.
std::optional<std::uint32_t> edge_of(const Segment& segment, const Said& own);

struct Violation {
  std::string rule;
  std::string text;
};

// Not thread-safe.
class Judge {
 public:
  // Segments in the order of the capture.
  void see(const Segment& segment);

  // How often the moved end has spoken from another host than before.
  unsigned handovers() const { return handovers_; }
  // Segments seen so far.
  std::uint64_t segments() const { return segments_; }

  // The last of them, a line each, for the text of a failure.
  std::string recent() const;

  // Milliseconds that the timestamps of the moved end have counted, and that have passed meanwhile.
  struct Clock {
    std::int64_t counted = 0;
    std::int64_t passed = 0;
  };
  Clock clock() const;

  struct Expected {
    unsigned handovers = 0;
  };
  // Everything that was wrong, one entry per rule; among the rules are those of the whole capture:
  // `handshake`, it begins with the SYNs of both ends; `handovers`, as many as expected.
  std::vector<Violation> end(const Expected& expected) const;

 private:
  struct Found {
    std::uint64_t times = 0;
    std::string text;  // of the first time
  };

  Said said_[2];  // of the moved end, of the peer
  std::optional<Station> host_;
  unsigned handovers_ = 0;
  std::uint64_t segments_ = 0;
  std::deque<Segment> recent_;
  std::map<std::string, Found> found_;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_RULES_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/rules.h"

#include <netinet/tcp.h>

#include <string>

namespace sockrepair::test {

namespace {

constexpr std::size_t kShownBefore = 24;
// Timestamps are milliseconds; hosts and capture have clocks that agree on how long a second is,
// and a segment waits for the processor between its timestamp and the capture.
constexpr std::int64_t kClockSlackMs = 500;

using Verdict = std::optional<std::string>;

std::string compare(const char* what, std::uint32_t is, const char* bound, std::uint32_t limit) {
  return std::string(what) + " " + std::to_string(is) + ", " + bound + " " + std::to_string(limit);
}

bool has_ack(const Segment& segment) {
  return (segment.flags & TH_ACK) != 0;
}

Verdict reset(const Segment& segment, const Said&, const Said&) {
  if ((segment.flags & TH_RST) == 0) return std::nullopt;
  return "RST";
}

Verdict unsent_acknowledged(const Segment& segment, const Said&, const Said& other) {
  if (!has_ack(segment) || !other.sent || !before(*other.sent, segment.ack)) return std::nullopt;
  return compare("ack", segment.ack, "the other end has sent up to", *other.sent);
}

Verdict outside_window(const Segment& segment, const Said&, const Said& other) {
  // Without its scale no window is known.
  if (segment.length == 0 || !other.scale || !other.edge || !before(*other.edge, segment.end()))
    return std::nullopt;
  return compare("data up to", segment.end(), "window up to", *other.edge);
}

Verdict timestamp_missing(const Segment& segment, const Said& own, const Said&) {
  if (segment.has_timestamp || !own.tsval) return std::nullopt;
  return "no timestamp";
}

Verdict timestamp_backwards(const Segment& segment, const Said& own, const Said&) {
  if (!segment.has_timestamp || !own.tsval || !before(segment.tsval, *own.tsval))
    return std::nullopt;
  return compare("timestamp", segment.tsval, "before it", *own.tsval);
}

Verdict timestamp_too_fast(const Segment& segment, const Said& own, const Said&) {
  if (!segment.has_timestamp || !own.first) return std::nullopt;
  const std::uint32_t counted = segment.tsval - own.first->tsval;
  const std::int64_t passed_ms = (segment.time_ns - own.first->time_ns) / 1'000'000;
  if (counted <= passed_ms + kClockSlackMs) return std::nullopt;
  return compare("timestamps have counted", counted,
                 "milliseconds have passed:", static_cast<std::uint32_t>(passed_ms));
}

Verdict unsent_echoed(const Segment& segment, const Said&, const Said& other) {
  if (!segment.has_timestamp || !has_ack(segment) || !other.tsval ||
      !before(*other.tsval, segment.tsecr))
    return std::nullopt;
  return compare("echo", segment.tsecr, "the newest of the other end", *other.tsval);
}

Verdict acknowledgment_backwards(const Segment& segment, const Said& own, const Said&) {
  if (!has_ack(segment) || !own.ack || !before(segment.ack, *own.ack)) return std::nullopt;
  return compare("ack", segment.ack, "before it", *own.ack);
}

Verdict window_shrunk(const Segment& segment, const Said& own, const Said&) {
  const auto edge = edge_of(segment, own);
  if (!edge || !own.edge || !before(*edge, *own.edge)) return std::nullopt;
  return compare("window up to", *edge, "before it up to", *own.edge);
}

constexpr Rule kRules[] = {
    {"reset", "no segment has RST", false, reset},
    {"unsent_acknowledged", "no end acknowledges what the other has not sent", false,
     unsent_acknowledged},
    {"outside_window", "no end sends data outside of the other's window", false, outside_window},
    {"timestamp_missing", "an end that sends timestamps sends them always", false,
     timestamp_missing},
    {"timestamp_backwards", "the moved end's timestamps never go back", true, timestamp_backwards},
    {"timestamp_too_fast", "the moved end's timestamps do not run ahead of time", true,
     timestamp_too_fast},
    {"unsent_echoed", "the moved end echoes no timestamp that was not sent", true, unsent_echoed},
    {"acknowledgment_backwards", "the moved end's acknowledgments never go back", true,
     acknowledgment_backwards},
    {"window_shrunk", "the moved end takes back no window that it gave", true, window_shrunk},
};

void keep_newest(std::optional<std::uint32_t>& newest, std::uint32_t value) {
  if (!newest || before(*newest, value)) newest = value;
}

// What `own` has said with this segment too.
void add(const Segment& segment, Said& own) {
  if ((segment.flags & TH_SYN) != 0) own.scale = segment.scale.value_or(0);
  if (const auto edge = edge_of(segment, own)) keep_newest(own.edge, *edge);
  if (has_ack(segment)) keep_newest(own.ack, segment.ack);
  keep_newest(own.sent, segment.end());
  own.finished |= (segment.flags & TH_FIN) != 0;
  if (segment.has_timestamp) {
    keep_newest(own.tsval, segment.tsval);
    if (!own.first) own.first = segment;
    own.last_time_ns = segment.time_ns;
  }
}

// Whether one end knows that the other has got all that it said, its FIN too.
bool knows_its_end(const Said& own, const Said& other) {
  return own.finished && own.sent && other.ack == own.sent;
}

}  // namespace

std::span<const Rule> rules() {
  return kRules;
}

std::optional<std::uint32_t> edge_of(const Segment& segment, const Said& own) {
  if (!has_ack(segment)) return std::nullopt;
  // The window of a SYN is not scaled.
  const unsigned scale = (segment.flags & TH_SYN) != 0 ? 0 : own.scale.value_or(0);
  return segment.ack + (static_cast<std::uint32_t>(segment.window) << scale);
}

void Judge::see(const Segment& segment) {
  const bool moved = segment.from != Station::kPeer;
  Said& own = said_[moved ? 0 : 1];
  const Said& other = said_[moved ? 1 : 0];
  // What the network delivers after the end, late or twice, meets no socket and is answered so.
  if (knows_its_end(own, other) && knows_its_end(other, own)) return;
  for (const Rule& rule : kRules) {
    if (rule.moved_end_only && !moved) continue;
    const Verdict wrong = rule.check(segment, own, other);
    if (!wrong) continue;
    Found& found = found_[rule.name];
    if (++found.times > 1) continue;
    found.text = "  " + segment.describe() + "\n  " + *wrong + "\n  after:\n" + recent();
  }
  add(segment, own);
  if (moved) {
    if (host_ && *host_ != segment.from) ++handovers_;
    host_ = segment.from;
  }
  ++segments_;
  recent_.push_back(segment);
  if (recent_.size() > kShownBefore) recent_.pop_front();
}

std::string Judge::recent() const {
  std::string text;
  for (const Segment& one : recent_) text += "  " + one.describe() + "\n";
  return text;
}

Judge::Clock Judge::clock() const {
  const Said& moved = said_[0];
  if (!moved.first) return {};
  return {*moved.tsval - moved.first->tsval,
          (moved.last_time_ns - moved.first->time_ns) / 1'000'000};
}

std::vector<Violation> Judge::end(const Expected& expected) const {
  std::vector<Violation> all;
  if (!said_[0].scale || !said_[1].scale) {
    all.push_back({"handshake", "handshake: there is no SYN of both ends among " +
                                    std::to_string(segments_) + " segments\n"});
  }
  if (handovers_ != expected.handovers) {
    all.push_back({"handovers", "handovers: the moved end has changed its host " +
                                    std::to_string(handovers_) + " times, not " +
                                    std::to_string(expected.handovers) + "\n"});
  }
  for (const Rule& rule : kRules) {
    const auto found = found_.find(rule.name);
    if (found == found_.end()) continue;
    all.push_back({rule.name, std::string(rule.name) + ", " + std::to_string(found->second.times) +
                                  " times; " + rule.meaning + ":\n" + found->second.text});
  }
  return all;
}

}  // namespace sockrepair::test

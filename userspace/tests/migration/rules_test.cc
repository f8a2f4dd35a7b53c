// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The judge of captures: it finds nothing wrong with a connection that is moved as it should, and
// of each rule, and of no other, that it is broken where one segment was forged.

#include "migration/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ValuesIn;

using Capture = std::vector<Segment>;

// Both are near their end, and wrap.
constexpr std::uint32_t kMovedIsn = 0xffffff00;
constexpr std::uint32_t kPeerIsn = 0xfffffe00;
constexpr std::uint32_t kMovedTime = 0xffffffe0;
constexpr std::uint32_t kPeerTime = 77;
constexpr std::uint8_t kScale = 3;
constexpr std::uint16_t kWindow = 500;
constexpr std::uint16_t kSynWindow = 4000;  // not scaled
constexpr std::int64_t kStepNs = 10'000'000;

// Writes down a connection as a capture shows it, one segment every 10 ms.
class Scribe {
 public:
  void say(Station from, std::uint8_t flags, std::uint16_t length = 0) {
    const bool moved = from != Station::kPeer;
    if (moved) host_ = from;
    End& own = moved ? moved_ : peer_;
    const End& other = moved ? peer_ : moved_;
    Segment segment;
    segment.time_ns = now_ += kStepNs;
    segment.from = from;
    segment.to = moved ? Station::kPeer : host_;
    segment.flags = flags;
    if ((flags & TH_SYN) != 0) segment.scale = kScale;
    segment.seq = own.next;
    if ((flags & TH_ACK) != 0) segment.ack = other.next;
    segment.window = (flags & TH_SYN) != 0 ? kSynWindow : kWindow;
    segment.length = length;
    segment.has_timestamp = true;
    segment.tsval = own.first_time + static_cast<std::uint32_t>(now_ / 1'000'000);
    segment.tsecr = (flags & TH_ACK) != 0 ? other.last_time : 0;
    own.next = segment.end();
    own.last_time = segment.tsval;
    capture.push_back(segment);
  }

  Capture capture;

 private:
  struct End {
    std::uint32_t next;
    std::uint32_t first_time;
    std::uint32_t last_time = 0;
  };
  End moved_{kMovedIsn, kMovedTime};
  End peer_{kPeerIsn, kPeerTime};
  Station host_ = Station::kSource;
  std::int64_t now_ = 0;
};

constexpr unsigned kHandovers = 2;

// From the first SYN to the last ACK, by way of the destination and back.
Capture good_capture() {
  Scribe scribe;
  scribe.say(Station::kSource, TH_SYN);
  scribe.say(Station::kPeer, TH_SYN | TH_ACK);
  scribe.say(Station::kSource, TH_ACK);
  for (Station host : {Station::kSource, Station::kDestination, Station::kSource}) {
    for (int i = 0; i < 3; ++i) {
      scribe.say(host, TH_ACK, 1000);
      scribe.say(Station::kPeer, TH_ACK, 700);
    }
  }
  scribe.say(Station::kSource, TH_ACK | TH_FIN);
  scribe.say(Station::kPeer, TH_ACK | TH_FIN);
  scribe.say(Station::kSource, TH_ACK);
  return scribe.capture;
}

// The first segment with data that comes from there.
Segment& data_from(Capture& capture, Station from) {
  return *std::find_if(capture.begin(), capture.end(), [from](const Segment& segment) {
    return segment.from == from && segment.length > 0;
  });
}
Segment& moved_data(Capture& capture) {
  return data_from(capture, Station::kDestination);
}
Segment& peer_data(Capture& capture) {
  return data_from(capture, Station::kPeer);
}

std::vector<std::string> broken_rules(const Capture& capture) {
  Judge judge;
  for (const Segment& segment : capture) judge.see(segment);
  std::vector<std::string> names;
  for (const Violation& one : judge.end({.handovers = kHandovers})) names.push_back(one.rule);
  return names;
}

// What is done to a good capture, and which rule that breaks.
struct Forgery {
  const char* name;
  const char* rule;
  void (*forge)(Capture& capture);
};

const Forgery kForgeries[] = {
    {"rst_of_moved_end", "reset", [](Capture& c) { moved_data(c).flags |= TH_RST; }},
    {"rst_of_peer", "reset", [](Capture& c) { peer_data(c).flags |= TH_RST; }},
    {"moved_end_acknowledges_unsent", "unsent_acknowledged",
     [](Capture& c) {
       // The window stays where it was.
       moved_data(c).ack += 1 << kScale;
       moved_data(c).window -= 1;
     }},
    {"peer_acknowledges_unsent", "unsent_acknowledged", [](Capture& c) { peer_data(c).ack += 1; }},
    {"moved_end_sends_outside", "outside_window", [](Capture& c) { moved_data(c).length += 3001; }},
    {"peer_sends_outside", "outside_window", [](Capture& c) { peer_data(c).length += 3301; }},
    {"no_timestamp", "timestamp_missing", [](Capture& c) { moved_data(c).has_timestamp = false; }},
    {"no_timestamp_of_peer", "timestamp_missing",
     [](Capture& c) {
       Segment* without = &peer_data(c);
       without->has_timestamp = false;
       // There is nothing to echo.
       without[1].tsecr = without[-1].tsecr;
     }},
    {"timestamp_back", "timestamp_backwards", [](Capture& c) { moved_data(c).tsval -= 21; }},
    {"timestamp_of_another_clock", "timestamp_too_fast",
     [](Capture& c) {
       for (Segment& segment : c)
         if (segment.from == Station::kDestination) segment.tsval += 501;
       // It stays so.
       for (auto segment = c.rbegin(); segment->from != Station::kDestination; ++segment)
         if (segment->from == Station::kSource) segment->tsval += 501;
     }},
    {"echo_of_unsent", "unsent_echoed", [](Capture& c) { moved_data(c).tsecr += 1; }},
    {"acknowledgment_back", "acknowledgment_backwards",
     [](Capture& c) {
       moved_data(c).ack -= 701;
       moved_data(c).window += 88;
     }},
    {"window_back", "window_shrunk",
     [](Capture& c) { moved_data(c).window = kWindow - 700 / 8 - 1; }},
    {"window_closed", "window_shrunk", [](Capture& c) { moved_data(c).window = 0; }},
    {"no_syn", "handshake", [](Capture& c) { c.erase(c.begin()); }},
    {"no_syn_of_peer", "handshake", [](Capture& c) { c.erase(c.begin() + 1); }},
    {"no_second_host", "handovers",
     [](Capture& c) {
       for (Segment& segment : c)
         if (segment.from == Station::kDestination) segment.from = Station::kSource;
     }},
    {"old_host_speaks", "handovers",
     [](Capture& c) {
       // Between two of the destination's.
       Segment& second = *(&moved_data(c) + 2);
       second.from = Station::kSource;
     }},
};

void PrintTo(const Forgery& forgery, std::ostream* out) {
  *out << forgery.name;
}

class MigrationRulesTest : public ::testing::TestWithParam<Forgery> {};

TEST_P(MigrationRulesTest, IsBrokenAlone) {
  Capture capture = good_capture();
  GetParam().forge(capture);
  EXPECT_THAT(broken_rules(capture), ElementsAre(GetParam().rule));
}

INSTANTIATE_TEST_SUITE_P(All, MigrationRulesTest, ValuesIn(kForgeries), ParamName());

TEST(MigrationRules, NothingIsWrongWithAGoodCapture) {
  EXPECT_THAT(broken_rules(good_capture()), IsEmpty());
}

TEST(MigrationRules, EachHasAForgery) {
  std::set<std::string> forged;
  for (const Forgery& forgery : kForgeries) forged.insert(forgery.rule);
  for (const Rule& rule : rules()) EXPECT_EQ(forged.count(rule.name), 1) << rule.name;
}

TEST(MigrationRules, NothingAtAllIsWrong) {
  EXPECT_THAT(broken_rules({}), ElementsAre("handshake", "handovers"));
}

// Duplicates, losses and another order of the peer's segments are the network's doing.
TEST(MigrationRules, TheNetworkMayDoWhatItWantsToThePeer) {
  Capture capture = good_capture();
  const auto peer = std::find_if(capture.begin() + 4, capture.end(), [](const Segment& segment) {
    return segment.from == Station::kPeer && segment.length > 0;
  });
  const Segment twice = *peer;
  capture.insert(peer + 4, twice);
  EXPECT_THAT(broken_rules(capture), IsEmpty());
}

// A segment that the network delivers once more when both ends are done finds no socket.
TEST(MigrationRules, WhatComesAfterTheEndIsAnsweredByAReset) {
  Capture capture = good_capture();
  Segment answer;
  answer.time_ns = capture.back().time_ns + kStepNs;
  answer.from = Station::kPeer;
  answer.to = Station::kSource;
  answer.flags = TH_RST;
  answer.seq = moved_data(capture).ack;
  capture.push_back(answer);
  EXPECT_THAT(broken_rules(capture), IsEmpty());

  // Not before the last acknowledgment.
  capture.erase(capture.end() - 2);
  EXPECT_THAT(broken_rules(capture), ElementsAre("reset", "timestamp_missing"));
}

TEST(MigrationRules, TheClockIsThatOfTheMovedEnd) {
  Judge judge;
  EXPECT_EQ(judge.clock().passed, 0);
  for (const Segment& segment : good_capture()) judge.see(segment);
  EXPECT_EQ(judge.clock().counted, 230);
  EXPECT_EQ(judge.clock().passed, 230);
}

// The lock of a connection drops what is sent just before the dump. It is sent again later.
TEST(MigrationRules, WhatWasLockedMayBeMissing) {
  Capture capture = good_capture();
  moved_data(capture).seq += 100;
  moved_data(capture).length -= 100;
  EXPECT_THAT(broken_rules(capture), IsEmpty());
}

TEST(MigrationRules, AViolationShowsWhereItIs) {
  Capture capture = good_capture();
  moved_data(capture).window = 0;
  Judge judge;
  for (const Segment& segment : capture) judge.see(segment);
  const std::vector<Violation> all = judge.end({.handovers = kHandovers});
  ASSERT_EQ(all.size(), 1);
  EXPECT_THAT(all[0].text, HasSubstr("window_shrunk, 1 times"));
  EXPECT_THAT(all[0].text, HasSubstr("destination -> peer at 0.100000 s: seq "));
  EXPECT_THAT(all[0].text, HasSubstr("source -> peer at 0.080000 s"));
}

// A frame byte by byte.
class FrameWriter {
 public:
  FrameWriter& bytes(std::initializer_list<int> values) {
    for (int value : values) frame_.push_back(static_cast<std::uint8_t>(value));
    return *this;
  }
  FrameWriter& mac(Station station) { return bytes({2, 0, 0, 0, 0, mac_byte(station)}); }
  FrameWriter& address(const char* text) {
    const IpAddress address = IpAddress::parse(text).value();
    frame_.insert(frame_.end(), address.data(), address.data() + address.size());
    return *this;
  }
  const std::vector<std::uint8_t>& frame() const { return frame_; }

 private:
  std::vector<std::uint8_t> frame_;
};

FrameWriter& tcp(FrameWriter& writer, int flags) {
  return writer
      .bytes({0x12, 0x34, 0x00, 0x50})                     // ports
      .bytes({0, 0, 0, 9, 0, 0, 0, 7, 0xa0, flags, 1, 2})  // seq, ack, 40 bytes, window
      .bytes({0, 0, 0, 0})                                 // checksum, urgent
      .bytes({1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6})        // timestamps
      .bytes({1, 3, 3, 7, 0, 0, 0, 0});                    // scale
}

TEST(MigrationSegment, IsReadFromIpv4) {
  const Flow flow{{IpAddress::parse("10.0.0.9").value(), 0x1234, 0},
                  {IpAddress::parse("10.0.0.1").value(), 0x50, 0}};
  FrameWriter writer;
  writer.mac(Station::kPeer).mac(Station::kDestination).bytes({ETH_P_IP >> 8, ETH_P_IP & 255});
  writer.bytes({0x45, 0, 0, 20 + 40 + 11, 0, 1, 0, 0, 64, IPPROTO_TCP, 0, 0});
  writer.address("10.0.0.9").address("10.0.0.1");
  tcp(writer, TH_ACK | TH_PUSH);
  const auto segment = parse_segment(writer.frame(), flow);
  ASSERT_TRUE(segment.has_value());
  EXPECT_EQ(segment->from, Station::kDestination);
  EXPECT_EQ(segment->to, Station::kPeer);
  EXPECT_EQ(segment->seq, 9);
  EXPECT_EQ(segment->ack, 7);
  EXPECT_EQ(segment->window, 0x102);
  EXPECT_EQ(segment->length, 11);
  EXPECT_EQ(segment->end(), 20);
  EXPECT_TRUE(segment->has_timestamp);
  EXPECT_EQ(segment->tsval, 5);
  EXPECT_EQ(segment->tsecr, 6);

  // Whose it is not.
  EXPECT_FALSE(parse_segment(writer.frame(), {flow.peer, flow.moved}));
  Flow other = flow;
  other.peer.port = 81;
  EXPECT_FALSE(parse_segment(writer.frame(), other));
  for (std::size_t size = 0; size < writer.frame().size(); ++size)
    EXPECT_FALSE(parse_segment(std::span(writer.frame()).first(size), flow)) << size;
}

TEST(MigrationSegment, IsReadFromIpv6) {
  const Flow flow{{IpAddress::parse("fd00::9").value(), 0x50, 0},
                  {IpAddress::parse("fd00::1").value(), 0x1234, 0}};
  FrameWriter writer;
  writer.mac(Station::kSource).mac(Station::kPeer).bytes({ETH_P_IPV6 >> 8, ETH_P_IPV6 & 255});
  writer.bytes({0x60, 0, 0, 0, 0, 40, IPPROTO_TCP, 64});
  writer.address("fd00::1").address("fd00::9");
  tcp(writer, TH_SYN);
  const auto segment = parse_segment(writer.frame(), flow);
  ASSERT_TRUE(segment.has_value());
  EXPECT_EQ(segment->from, Station::kPeer);
  EXPECT_EQ(segment->to, Station::kSource);
  EXPECT_EQ(segment->scale, 7);
  EXPECT_EQ(segment->length, 0);
  EXPECT_EQ(segment->end(), 10);
}

}  // namespace
}  // namespace sockrepair::test

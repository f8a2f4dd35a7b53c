// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Every property that a datagram has from its beginning: the dump says it, the restored datagram
// has it, and nothing of it stays on the socket.

#include "udp_send_queue/member_test.h"

#include <gmock/gmock.h>

#include <sstream>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/matchers.h"

namespace sockrepair::test {

using ::testing::Contains;
using ::testing::Each;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

namespace {

Result<Fd> open_socket(const World& world, const MemberKind& kind) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, world.socket(kind.protocol));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(kind.bind, domain_of(kind.protocol))));
  SOCKREPAIR_TRY(set_all(fd, kind.both));
  return fd;
}

Result<Fd> open_original(const World& world, const MemberKind& kind) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, open_socket(world, kind));
  SOCKREPAIR_TRY(set_all(fd, kind.original));
  return fd;
}

// The payload in two.
struct Halves {
  explicit Halves(std::span<const std::uint8_t> all)
      : first(all.first(all.size() / 2)), second(all.subspan(first.size())) {}
  std::span<const std::uint8_t> first;
  std::span<const std::uint8_t> second;
};

Result<void> begin(const Fd& fd, const MemberKind& kind, const Halves& halves) {
  return send(fd, {.payload = halves.first,
                   .to = kind.destination,
                   .more = true,
                   .control = kind.control,
                   .flags = kind.flags});
}

Result<void> complete(const Fd& fd, const Halves& halves) {
  return send(fd, {.payload = halves.second});
}

// A datagram of the same payload that is given nothing of its own.
Result<void> send_plain(const Fd& fd, const MemberKind& kind, const Halves& halves) {
  SOCKREPAIR_TRY(
      send(fd, {.payload = halves.first, .to = usual_destination(kind.protocol), .more = true}));
  return complete(fd, halves);
}

// All that is seen of the kind's datagram at the other end.
Result<Arrival> seen(World& world, const MemberKind& kind) {
  Arrival arrival;
  if (kind.datagrams > 0) {
    SOCKREPAIR_TRY_ASSIGN(arrival, world.arrival(family_of(kind.protocol), kind.datagrams));
  } else {
    SOCKREPAIR_TRY_ASSIGN(arrival.frames, world.frames(kind.source, kind.frames));
  }
  if (kind.normalise != nullptr) {
    for (Frame& frame : arrival.frames) kind.normalise(frame);
    for (Datagram& datagram : arrival.datagrams) datagram.ip_options.clear();
  }
  return arrival;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

void PrintTo(const MemberKind& kind, std::ostream* out) {
  *out << kind.name;
}

TEST_P(SendQueueMemberTest, IsInTheDumpAndComesBack) {
  const MemberKind& kind = GetParam();
  const std::vector<std::uint8_t> payload = pattern(kind.bytes);
  const Halves halves(payload);

  // What a socket sends that nobody dumps.
  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_original(original(), kind));
  ASSERT_THAT(begin(old_socket, kind, halves), IsOk());
  ASSERT_THAT(complete(old_socket, halves), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival untouched, seen(original(), kind));
  for (const Datagram& datagram : untouched.datagrams) {
    EXPECT_EQ(datagram.source,
              (Endpoint{kind.source.address, kind.source.port, datagram.source.scope}));
    EXPECT_EQ(datagram.destination, kind.destination.address);
  }

  ASSERT_THAT(begin(old_socket, kind, halves), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(old_socket));
  ASSERT_TRUE(queue.has_value());
  std::vector<std::string> lines = lines_of(queue->describe());
  for (const std::string& line : kind.given) EXPECT_THAT(lines, Contains(line));
  for (const std::string& member : kind.not_given)
    EXPECT_THAT(lines, Each(Not(StartsWith(member + ":"))));
  EXPECT_EQ(queue->source, kind.source.address);
  EXPECT_EQ(queue->destination, kind.destination.address);

  ASSERT_OK_AND_ASSIGN(Fd new_socket, open_socket(replica(), kind));
  ASSERT_THAT(restore_send_queue(new_socket, *queue), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> restored, dump_send_queue(new_socket));
  ASSERT_TRUE(restored.has_value());
  EXPECT_THAT(unexpected_differences(*restored, *queue), IsEmpty());

  ASSERT_THAT(complete(old_socket, halves), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival dumped, seen(original(), kind));
  EXPECT_EQ(dumped.datagrams, untouched.datagrams);
  EXPECT_THAT(dumped.frames, SameFrames(untouched.frames));

  ASSERT_THAT(complete(new_socket, halves), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival moved, seen(replica(), kind));
  EXPECT_EQ(moved.datagrams, untouched.datagrams);
  EXPECT_THAT(moved.frames, SameFrames(untouched.frames));
}

TEST_P(SendQueueMemberTest, DoesNotStayOnTheSocket) {
  const MemberKind& kind = GetParam();
  const std::vector<std::uint8_t> payload = pattern(kind.bytes);
  const Halves halves(payload);

  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_original(original(), kind));
  ASSERT_THAT(begin(old_socket, kind, halves), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(old_socket));
  ASSERT_TRUE(queue.has_value());
  ASSERT_OK_AND_ASSIGN(Fd new_socket, open_socket(replica(), kind));
  ASSERT_THAT(restore_send_queue(new_socket, *queue), IsOk());
  ASSERT_THAT(complete(new_socket, halves), IsOk());
  ASSERT_THAT(seen(replica(), kind), IsOk());

  // The next datagram, beside one of a socket that has never seen the other.
  old_socket.reset();
  ASSERT_OK_AND_ASSIGN(Fd plain_socket, open_socket(original(), kind));
  ASSERT_THAT(send_plain(plain_socket, kind, halves), IsOk());
  ASSERT_THAT(send_plain(new_socket, kind, halves), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival plain, original().arrival(family_of(kind.protocol)));
  ASSERT_OK_AND_ASSIGN(Arrival next, replica().arrival(family_of(kind.protocol)));
  EXPECT_EQ(next.datagrams, plain.datagrams);
  EXPECT_THAT(next.frames, SameFrames(plain.frames));
}

}  // namespace sockrepair::test

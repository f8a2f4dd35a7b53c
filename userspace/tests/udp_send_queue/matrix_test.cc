// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Every way to build a datagram: dumped and restored, it leaves as it would have.

#include "udp_send_queue/matrix_test.h"

#include <gmock/gmock.h>

#include <span>

#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"
#include "util/matchers.h"

namespace sockrepair::test {

using ::testing::IsEmpty;

namespace {

using Payload = std::span<const std::uint8_t>;

// The payload in three: what begins the datagram, what is appended before the dump, what completes
// it after the dump.
struct Pieces {
  explicit Pieces(Payload all)
      : begin(all.subspan(0, all.size() / 2)),
        middle(all.subspan(begin.size(), all.size() / 4)),
        before_dump(all.subspan(0, begin.size() + middle.size())),
        end(all.subspan(before_dump.size())) {}

  Payload begin;
  Payload middle;
  Payload before_dump;
  Payload end;
};

// A socket as the kind has it, ready to send.
Result<Fd> open_socket(const World& world, const SendKind& kind) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, world.socket(kind.protocol));
  int domain = domain_of(kind.protocol);
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(usual_source(kind.protocol), domain)));
  if (kind.connected)
    SOCKREPAIR_TRY(sys::connect(fd.get(), SocketAddress(usual_destination(kind.protocol), domain)));
  if (kind.transfer == Transfer::kZerocopy)
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_ZEROCOPY, 1));
  if (kind.keep == Keep::kCork) SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_UDP, UDP_CORK, 1));
  return fd;
}

// Builds all but the last piece. The GSO size goes with the first send only.
Result<void> begin(const Fd& fd, const SendKind& kind, const Pieces& pieces) {
  Send first{
      .payload = pieces.begin, .more = kind.keep == Keep::kMsgMore, .transfer = kind.transfer};
  if (!kind.connected) first.to = usual_destination(kind.protocol);
  if (kind.size.gso_size != 0) first.control.add(SOL_UDP, UDP_SEGMENT, kind.size.gso_size);
  if (kind.transfer == Transfer::kSpliced) {
    // splice() takes neither address nor control message: an empty send has them.
    Send empty = first;
    empty.payload = {};
    SOCKREPAIR_TRY(send(fd, empty));
  }
  SOCKREPAIR_TRY(send(fd, first));
  return send(
      fd,
      {.payload = pieces.middle, .more = kind.keep == Keep::kMsgMore, .transfer = kind.transfer});
}

Result<void> complete(const Fd& fd, const SendKind& kind, const Pieces& pieces) {
  SOCKREPAIR_TRY(send(fd, {.payload = pieces.end, .transfer = kind.transfer}));
  if (kind.keep == Keep::kCork) return sys::setsockopt(fd.get(), SOL_UDP, UDP_CORK, 0);
  return {};
}

SendQueue::Bytes join(const std::vector<Datagram>& datagrams) {
  SendQueue::Bytes all;
  for (const Datagram& datagram : datagrams)
    all.insert(all.end(), datagram.payload.begin(), datagram.payload.end());
  return all;
}

}  // namespace

void PrintTo(const SendKind& kind, std::ostream* out) {
  *out << kind.name;
}

TEST_P(SendQueueMatrixTest, LeavesAsTheOriginalWouldHave) {
  const SendKind& kind = GetParam();
  const Endpoint source = usual_source(kind.protocol);
  const std::vector<std::uint8_t> payload = pattern(kind.bytes());
  const Pieces pieces(payload);

  // What a socket sends that nobody dumps.
  Arrival untouched;
  {
    ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(original(), kind));
    ASSERT_THAT(begin(fd, kind, pieces), IsOk());
    ASSERT_THAT(complete(fd, kind, pieces), IsOk());
    ASSERT_OK_AND_ASSIGN(untouched, original().arrival(family_of(kind.protocol), kind.segments()));
  }
  ASSERT_EQ(join(untouched.datagrams), payload);
  ASSERT_EQ(untouched.datagrams[0].source, source);

  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_socket(original(), kind));
  ASSERT_THAT(begin(old_socket, kind, pieces), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(old_socket));
  ASSERT_TRUE(queue.has_value());
  EXPECT_EQ(queue->family, family_of(kind.protocol));
  EXPECT_EQ(queue->source, source.address);
  EXPECT_EQ(queue->source_port, source.port);
  EXPECT_EQ(queue->destination, usual_destination(kind.protocol).address);
  EXPECT_EQ(queue->destination_port, usual_destination(kind.protocol).port);
  EXPECT_EQ(queue->gso_size.value_or(0), kind.size.gso_size);
  EXPECT_EQ(queue->zerocopy, kind.transfer == Transfer::kZerocopy);
  EXPECT_TRUE(std::equal(queue->payload.begin(), queue->payload.end(), pieces.before_dump.begin(),
                         pieces.before_dump.end()));

  ASSERT_OK_AND_ASSIGN(Fd new_socket, open_socket(replica(), kind));
  ASSERT_THAT(restore_send_queue(new_socket, *queue), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> restored, dump_send_queue(new_socket));
  ASSERT_TRUE(restored.has_value());
  EXPECT_THAT(unexpected_differences(*restored, *queue), IsEmpty());

  // The dump took nothing away and left the mode as it was.
  EXPECT_THAT(get_udp_repair(old_socket), IsOkAndHolds(false));
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> again, dump_send_queue(old_socket));
  ASSERT_TRUE(again.has_value());
  EXPECT_THAT(*again, SameQueueAs(*queue));

  ASSERT_THAT(complete(old_socket, kind, pieces), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival dumped,
                       original().arrival(family_of(kind.protocol), kind.segments()));
  EXPECT_EQ(dumped.datagrams, untouched.datagrams);
  EXPECT_THAT(dumped.frames, SameFrames(untouched.frames));
  EXPECT_THAT(dump_send_queue(old_socket), IsOkAndHolds(std::nullopt));

  ASSERT_THAT(complete(new_socket, kind, pieces), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival moved, replica().arrival(family_of(kind.protocol), kind.segments()));
  EXPECT_EQ(moved.datagrams, untouched.datagrams);
  EXPECT_THAT(moved.frames, SameFrames(untouched.frames));
}

}  // namespace sockrepair::test

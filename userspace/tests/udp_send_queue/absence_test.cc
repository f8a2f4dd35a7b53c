// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What a datagram does not have is restored too: options that its socket got after the datagram was
// begun stay out of it, and stay on the socket.

#include "udp_send_queue/absence_test.h"

#include <gmock/gmock.h>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/matchers.h"

namespace sockrepair::test {

using ::testing::IsEmpty;

namespace {

const std::vector<std::uint8_t> kFirst = pattern(200);
const std::vector<std::uint8_t> kSecond = {1, 2, 3};

Result<Fd> open_socket(const World& world, Protocol protocol) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, world.socket(protocol));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(usual_source(protocol), domain_of(protocol))));
  return fd;
}

Result<void> begin(const Fd& fd, Protocol protocol) {
  return send(fd, {.payload = kFirst, .to = usual_destination(protocol), .more = true});
}

Result<std::vector<std::vector<std::uint8_t>>> values_of(const Fd& fd,
                                                         const std::vector<SocketOption>& options) {
  std::vector<std::vector<std::uint8_t>> values;
  for (const SocketOption& option : options) {
    SOCKREPAIR_TRY_ASSIGN(auto value, option.get(fd));
    values.push_back(std::move(value));
  }
  return values;
}

}  // namespace

void PrintTo(const AbsenceKind& kind, std::ostream* out) {
  *out << kind.name;
}

TEST_P(SendQueueAbsenceTest, LateOptionsStayOut) {
  const AbsenceKind& kind = GetParam();
  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_socket(original(), kind.protocol));
  ASSERT_THAT(begin(old_socket, kind.protocol), IsOk());
  ASSERT_THAT(set_all(old_socket, kind.late), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(old_socket));
  ASSERT_TRUE(queue.has_value());

  // A restorer gives the new socket the options that the old one has by now.
  ASSERT_OK_AND_ASSIGN(Fd new_socket, open_socket(replica(), kind.protocol));
  ASSERT_THAT(set_all(new_socket, kind.late), IsOk());
  ASSERT_OK_AND_ASSIGN(auto before, values_of(new_socket, kind.late));
  ASSERT_THAT(restore_send_queue(new_socket, *queue), IsOk());
  EXPECT_THAT(values_of(new_socket, kind.late), IsOkAndHolds(before));

  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> restored, dump_send_queue(new_socket));
  ASSERT_TRUE(restored.has_value());
  EXPECT_THAT(unexpected_differences(*restored, *queue), IsEmpty());

  ASSERT_THAT(send(old_socket, {.payload = kSecond}), IsOk());
  ASSERT_THAT(send(new_socket, {.payload = kSecond}), IsOk());
  ASSERT_OK_AND_ASSIGN(Arrival want, original().arrival(family_of(kind.protocol)));
  ASSERT_OK_AND_ASSIGN(Arrival got, replica().arrival(family_of(kind.protocol)));
  EXPECT_EQ(got.datagrams, want.datagrams);
  EXPECT_THAT(got.frames, SameFrames(want.frames));
}

// The test above says nothing unless these options do get into datagrams that are begun later.
TEST_P(SendQueueAbsenceTest, OptionsMatterToTheNextDatagram) {
  const AbsenceKind& kind = GetParam();
  ASSERT_OK_AND_ASSIGN(Fd fd, open_socket(original(), kind.protocol));
  ASSERT_THAT(begin(fd, kind.protocol), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> without, dump_send_queue(fd));
  ASSERT_THAT(discard_send_queue(fd), IsOk());
  ASSERT_THAT(set_all(fd, kind.late), IsOk());
  ASSERT_THAT(begin(fd, kind.protocol), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> with, dump_send_queue(fd));
  ASSERT_TRUE(without.has_value() && with.has_value());
  EXPECT_NE(*with, *without);
}

}  // namespace sockrepair::test

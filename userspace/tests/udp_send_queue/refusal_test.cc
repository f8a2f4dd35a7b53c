// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// A restore that cannot be done says which member is at fault, and leaves the socket as it was.

#include "udp_send_queue/refusal_test.h"

#include <gmock/gmock.h>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/matchers.h"
#include "util/privileges.h"

namespace sockrepair::test {

using ::testing::IsEmpty;
using ::testing::StartsWith;

namespace {

Result<SendQueue> dump_of_plain_datagram(const World& world, Protocol protocol) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, world.socket(protocol));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(usual_source(protocol), domain_of(protocol))));
  SOCKREPAIR_TRY(
      send(fd, {.payload = pattern(200), .to = usual_destination(protocol), .more = true}));
  SOCKREPAIR_TRY_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(fd));
  if (!queue) return Error{ENODATA, "nothing in the dump"};
  return *std::move(queue);
}

Result<Fd> open_target(const World& world, const RefusalKind& kind) {
  SOCKREPAIR_TRY_ASSIGN(
      Fd fd, world.hosts().sender.run([&] { return sys::socket(kind.domain, kind.type, 0); }));
  SOCKREPAIR_TRY(set_all(fd, kind.options));
  if (kind.port != 0) {
    Family family = kind.domain == AF_INET ? Family::kIpv4 : Family::kIpv6;
    SOCKREPAIR_TRY(
        sys::bind(fd.get(), SocketAddress({IpAddress::any(family), kind.port, 0}, kind.domain)));
  }
  return fd;
}

Result<void> restore_as(Privileges privileges, const Fd& fd, const SendQueue& queue) {
  if (privileges == Privileges::kAll) return restore_send_queue(fd, queue);
  return without_capabilities([&] { return restore_send_queue(fd, queue); });
}

}  // namespace

void PrintTo(const RefusalKind& kind, std::ostream* out) {
  *out << kind.name;
}

TEST_P(SendQueueRefusalTest, NamesTheMemberAndLeavesNothing) {
  const RefusalKind& kind = GetParam();
  ASSERT_OK_AND_ASSIGN(SendQueue queue, dump_of_plain_datagram(original(), kind.datagram));
  if (kind.spoil != nullptr) kind.spoil(queue);
  ASSERT_OK_AND_ASSIGN(Fd fd, open_target(replica(), kind));

  EXPECT_THAT(restore_as(kind.privileges, fd, queue), FailsWith(kind.code, StartsWith(kind.says)));

  if (kind.type == SOCK_DGRAM) {
    EXPECT_THAT(dump_send_queue(fd), IsOkAndHolds(std::nullopt));
  }
  fd.reset();
  for (Family family : {Family::kIpv4, Family::kIpv6})
    EXPECT_THAT(replica().receiver(family).drain(), IsOkAndHolds(IsEmpty()));
}

}  // namespace sockrepair::test

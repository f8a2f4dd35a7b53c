// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "udp_receive_queue/refusal_test.h"

#include <errno.h>
#include <gmock/gmock.h>

#include "peeker.h"
#include "sockrepair/syscall.h"
#include "util/matchers.h"

namespace sockrepair::test {

using ::testing::StartsWith;

void PrintTo(const RefusalKind& kind, std::ostream* out) {
  *out << kind.name;
}

TEST_P(ReceiveQueueRefusalTest, LeavesTheQueueAlone) {
  const RefusalKind& kind = GetParam();
  ASSERT_OK_AND_ASSIGN(Fd fd, open_program(second().receiver, kind.speaks));
  if (kind.prepare != nullptr) {
    ASSERT_THAT(kind.prepare(fd), IsOk());
  }
  ASSERT_THAT(
      sys::bind(fd.get(), SocketAddress(program_endpoint(kind.speaks), domain_of(kind.speaks))),
      IsOk());
  ReceivedDatagram good;
  good.family = family_of(kind.datagram);
  good.source = sender_endpoint(kind.datagram, 0);
  good.destination = program_endpoint(kind.datagram);
  good.payload.assign(100, 'g');
  ReceivedDatagram bad = good;
  if (kind.change != nullptr) kind.change(bad);

  EXPECT_THAT(restore_receive_queue(fd, {{good, bad}}, {.method = kind.method}),
              FailsWith(kind.code, StartsWith(kind.what)));
  ASSERT_OK_AND_ASSIGN(std::size_t memory, internal::queue_memory(fd.get()));
  EXPECT_EQ(memory, 0u);
}

// Other descriptors.

TEST(ReceiveQueueDescriptorTest, MustBeAUdpSocket) {
  ASSERT_OK_AND_ASSIGN(Fd tcp, sys::socket(AF_INET, SOCK_STREAM, 0));
  for (Method method : {Method::kKernel, Method::kStock}) {
    EXPECT_THAT(dump_receive_queue(tcp, {.method = method}), FailsWith(EPROTONOSUPPORT));
    EXPECT_THAT(restore_receive_queue(tcp, {}, {.method = method}), FailsWith(EPROTONOSUPPORT));
  }
  EXPECT_THAT(dump_receive_queue(tcp), FailsWith(EPROTONOSUPPORT));
  EXPECT_THAT(dump_receive_queue(-1), FailsWith(EBADF));
  EXPECT_THAT(restore_receive_queue(-1, {}), FailsWith(EBADF));
}

}  // namespace sockrepair::test

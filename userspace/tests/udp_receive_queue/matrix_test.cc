// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Every shape of a queue, read and restored both ways: a program receives from the restored socket
// what it would have received from the first, where all source ports are taken.

#include "udp_receive_queue/matrix_test.h"

#include <gmock/gmock.h>
#include <netinet/in.h>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/matchers.h"

namespace sockrepair::test {

using ::testing::IsEmpty;

namespace {

// A program on the host, bound as both are.
Result<Fd> open_bound(const NetNs& ns, Speaks speaks) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, open_program(ns, speaks));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(program_endpoint(speaks), domain_of(speaks))));
  return fd;
}

// What a fragmented datagram has and one that came over lo has not.
std::vector<Message> without_fragment_size(std::vector<Message> messages) {
  for (Message& message : messages)
    std::erase_if(message.controls, [](const Message::Control& c) {
      return (c.level == IPPROTO_IP && c.type == IP_RECVFRAGSIZE) ||
             (c.level == IPPROTO_IPV6 && c.type == IPV6_RECVFRAGSIZE);
    });
  return messages;
}

}  // namespace

void PrintTo(const QueueKind& kind, std::ostream* out) {
  *out << kind.name;
}

TEST_P(ReceiveQueueMatrixTest, IsReceivedAsTheOriginal) {
  const QueueKind& kind = GetParam();
  const Endpoint peer = sender_endpoint(kind.speaks, 0);
  const SocketAddress peer_address(peer, domain_of(kind.speaks));

  ASSERT_OK_AND_ASSIGN(Fd old_socket, open_bound(first().receiver, kind.speaks));
  ASSERT_THAT(deliver(first().sender, kind.speaks, old_socket, program_endpoint(kind.speaks),
                      kind.letters()),
              IsOk());
  if (kind.connected) {
    ASSERT_THAT(sys::connect(old_socket.get(), peer_address), IsOk());
  }
  ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dump,
                       dump_receive_queue(old_socket, {.method = kind.method}));
  EXPECT_EQ(dump.method, kind.method);
  EXPECT_EQ(dump.complete, kind.method == Method::kKernel);
  EXPECT_THAT(dump.losses, IsEmpty());
  ASSERT_EQ(dump.queue.datagrams.size(), kind.letters().size());

  ASSERT_OK_AND_ASSIGN(Fd new_socket, open_bound(second().receiver, kind.speaks));
  if (kind.connected) {
    ASSERT_THAT(sys::connect(new_socket.get(), peer_address), IsOk());
  }
  ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report,
                       restore_receive_queue(new_socket, dump.queue, {.method = kind.method}));
  EXPECT_EQ(report.method, kind.method);
  EXPECT_EQ(report.restored, kind.letters().size());
  // Of a fragmented datagram its fragments. Times are there if anybody on this machine wants them.
  bool fragmented = kind.shape.name == "longest" && kind.method == Method::kStock;
  for (const Loss& loss : report.losses) {
    bool expected = (fragmented && loss.what.starts_with("fragment_size: ")) ||
                    (kind.method == Method::kStock && loss.what.starts_with("timestamp: "));
    EXPECT_TRUE(expected) << loss.describe();
  }

  // The dump took nothing away.
  ASSERT_OK_AND_ASSIGN(std::vector<Message> original, receive_all(old_socket));
  ASSERT_EQ(original.size(), kind.letters().size());
  ASSERT_OK_AND_ASSIGN(std::vector<Message> restored, receive_all(new_socket));
  if (fragmented) {
    original = without_fragment_size(original);
    restored = without_fragment_size(restored);
  }
  EXPECT_EQ(restored, original);
}

}  // namespace sockrepair::test

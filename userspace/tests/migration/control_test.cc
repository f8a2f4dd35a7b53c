// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What is said when hosts wait for each other in vain: who gives up first, and what is shown then.

#include "migration/control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <string>

#include "migration/situation.h"
#include "sockrepair/syscall.h"
#include "util/matchers.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

TEST(Patience, OfAnAskerOutlastsThatOfWhoIsAsked) {
  // The peer, or both ends.
  for (Verb verb : {Verb::kConnect, Verb::kAdopt, Verb::kFinish})
    EXPECT_GT(patience_for(verb), kStepPatience) << verb_name(verb);
  // The other host, something to be read, and what the other host waits for.
  EXPECT_GT(patience_for(Verb::kMove), 2 * kStepPatience + patience_for(Verb::kAdopt));
}

TEST(Situation, OfAConnectionHasItsStateAndItsQueues) {
  const Endpoint address{IpAddress::parse("127.0.0.1").value(), 0, 0};
  ASSERT_OK_AND_ASSIGN(const Fd listener, listen_at(address));
  ASSERT_OK_AND_ASSIGN(const SocketAddress bound, sys::getsockname(listener.get()));
  ASSERT_OK_AND_ASSIGN(const Endpoint there, bound.endpoint());
  ASSERT_OK_AND_ASSIGN(const Fd fd, connect_to(there, Deadline::after(kPatience)));
  ASSERT_OK_AND_ASSIGN(const Fd other, accept_from(listener, Deadline::after(kPatience)));
  ASSERT_EQ(::send(other.get(), "12345", 5, 0), 5);
  ASSERT_THAT(wait_for_events("it comes", fd.get(), POLLIN, Deadline::after(kPatience)), IsOk());
  EXPECT_THAT(connection_situation(fd),
              AllOf(HasSubstr("state 1, "), HasSubstr("not read 5, not acknowledged 0, ")));
}

TEST(Situation, OfNoConnectionSaysSo) {
  EXPECT_THAT(connection_situation(Fd()), HasSubstr("none"));
}

TEST(Situation, OfWhatIsNoConnectionSaysWhyNot) {
  ASSERT_OK_AND_ASSIGN(const Fd fd, sys::socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_THAT(connection_situation(fd), HasSubstr("EOPNOTSUPP"));
}

TEST(Situation, OfANetworkHasDevicesAndCounters) {
  EXPECT_THAT(network_situation(), AllOf(ContainsRegex("neighbours\n"), ContainsRegex("locks\n"),
                                         ContainsRegex("devices\n(.*\n)* +lo: "),
                                         ContainsRegex("counters\n(.*\n)* +Tcp: .*RtoMin [1-9]")));
}

}  // namespace
}  // namespace sockrepair::test

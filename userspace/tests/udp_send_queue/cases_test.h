// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_SEND_QUEUE_CASES_TEST_H_
#define SOCKREPAIR_TESTS_UDP_SEND_QUEUE_CASES_TEST_H_

#include "udp_send_queue/twin_worlds.h"

namespace sockrepair::test {

// What has to hold for each protocol, one case each.
class SendQueueTest : public TwinWorldsTest, public ::testing::WithParamInterface<Protocol> {};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_SEND_QUEUE_CASES_TEST_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "udp_send_queue/cases_test.h"

namespace sockrepair::test {
namespace {

INSTANTIATE_TEST_SUITE_P(All, SendQueueTest,
                         ::testing::Values(Protocol::kIpv4, Protocol::kIpv6, Protocol::kMapped),
                         [](const auto& test) { return std::string(protocol_name(test.param)); });

}  // namespace
}  // namespace sockrepair::test

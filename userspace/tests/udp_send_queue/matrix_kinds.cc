// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The matrix: {v4, v6, mapped} x {connected, unconnected} x {cork, more} x sizes x transfers.

#include "udp_send_queue/matrix_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

// With an MTU of 1500. An Ethernet frame holds 1472 bytes of payload over IPv4, 1452 over IPv6; a
// datagram at most 65507 and 65527.
constexpr Size kSizes[] = {
    {"small", 100, 100, 0},       {"one_mtu", 1472, 1452, 0}, {"several_mtus", 5000, 5000, 0},
    {"longest", 65507, 65527, 0}, {"gso", 5300, 5300, 1000},
};

constexpr struct {
  const char* name;
  Transfer transfer;
} kTransfers[] = {
    {"copied", Transfer::kCopied},
    {"zerocopy", Transfer::kZerocopy},
    {"spliced", Transfer::kSpliced},
};

std::vector<SendKind> all_kinds() {
  std::vector<SendKind> kinds;
  for (Protocol protocol : {Protocol::kIpv4, Protocol::kIpv6, Protocol::kMapped})
    for (bool connected : {true, false})
      for (Keep keep : {Keep::kCork, Keep::kMsgMore})
        for (const Size& size : kSizes)
          for (const auto& transfer : kTransfers)
            kinds.push_back({std::string(protocol_name(protocol)) +
                                 (connected ? "_connected" : "_unconnected") +
                                 (keep == Keep::kCork ? "_cork_" : "_more_") + size.name + "_" +
                                 transfer.name,
                             protocol, connected, keep, size, transfer.transfer});
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(All, SendQueueMatrixTest, ::testing::ValuesIn(all_kinds()), ParamName());

}  // namespace
}  // namespace sockrepair::test

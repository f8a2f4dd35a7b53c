// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What a socket refuses before anything is put into its queue.

#include <errno.h>
#include <netinet/in.h>

#include "sockrepair/syscall.h"
#include "udp_receive_queue/refusal_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

const RefusalKind kBoth[] = {
    {.name = "ipv6_on_ipv4",
     .datagram = Speaks::kIpv6,
     .code = EAFNOSUPPORT,
     .what = "datagram 0: family: IPv6, must be IPv4"},
    {.name = "ipv4_on_v6only",
     .speaks = Speaks::kIpv6,
     .datagram = Speaks::kMapped,
     .prepare =
         [](const Fd& fd) { return sys::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1); },
     .code = EAFNOSUPPORT,
     .what = "datagram 0: family: IPv4, must be IPv6"},
    {.name = "no_such_ifindex",
     .change = [](ReceivedDatagram& d) { d.ifindex = 4711; },
     .code = ENODEV,
     .what = "datagram 1: ifindex: no interface 4711"},
    {.name = "no_such_device",
     .change = [](ReceivedDatagram& d) { d.device = 4712; },
     .code = ENODEV,
     .what = "datagram 1: device: no interface 4712"},
    {.name = "gro_without_option",
     .change = [](ReceivedDatagram& d) { d.gro_size = 50; },
     .code = EINVAL,
     .what = "datagram 1: gro_size: 50, needs UDP_GRO"},
    {.name = "too_long",
     .change = [](ReceivedDatagram& d) { d.payload.resize(65508); },
     .code = EMSGSIZE,
     .what = "datagram 1: payload: 65508 bytes, at most 65507"},
    {.name = "bad_options",
     .change =
         [](ReceivedDatagram& d) {
           d.headers = {7, 9, 4, 0};
         },
     .code = EINVAL,
     .what = "datagram 1: headers: "},
    {.name = "multicast_source",
     .change =
         [](ReceivedDatagram& d) { d.source.address = IpAddress::parse("224.0.0.1").value(); },
     .code = EINVAL,
     .what = "datagram 1: source: "},
};

// The stock way needs a socket that the packets can be sent to.
const RefusalKind kStockOnly[] = {
    {.name = "another_port",
     .change = [](ReceivedDatagram& d) { d.destination.port = 53; },
     .code = EADDRNOTAVAIL,
     .what = "datagram 1: destination: port 53, the socket is bound to 6000"},
};

std::vector<RefusalKind> all_kinds() {
  std::vector<RefusalKind> kinds(std::begin(kStockOnly), std::end(kStockOnly));
  for (RefusalKind& kind : kinds) kind.name = "stock_" + kind.name;
  for (Method method : {Method::kKernel, Method::kStock}) {
    for (RefusalKind kind : kBoth) {
      kind.method = method;
      kind.name = std::string(method_name(method)) + "_" + kind.name;
      kinds.push_back(std::move(kind));
    }
  }
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(All, ReceiveQueueRefusalTest, ::testing::ValuesIn(all_kinds()),
                         ParamName());

}  // namespace
}  // namespace sockrepair::test

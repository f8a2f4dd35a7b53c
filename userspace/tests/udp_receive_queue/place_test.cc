// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Datagrams from anywhere: what is on the queue afterwards is what was wanted, but for what the
// report names, and the socket is as it was.

#include "udp_receive_queue/place_test.h"

#include <gmock/gmock.h>
#include <netinet/in.h>

#include "peeker.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"
#include "util/matchers.h"
#include "util/wire_capture.h"

namespace sockrepair::test {

using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

namespace {

IpAddress address(const char* text) {
  return IpAddress::parse(text).value();
}

ReceivedDatagram datagram_of(const PlaceKind& kind) {
  ReceivedDatagram d;
  d.family = family_of(kind.speaks);
  d.ifindex = kind.on_wire ? kWireIndex : 1;
  d.source = {address(kind.source), 4000, 0};
  if (d.source.address.is_link_local()) d.source.scope = *d.ifindex;
  d.destination = {address(kind.destination), kProgramPort, 0};
  if (d.family == Family::kIpv4 && kind.method == Method::kKernel)
    d.local = receiver_address(Family::kIpv4);
  d.hop_limit = 64;
  d.traffic_class = 0;
  d.mark = 0;
  d.priority = 0;
  if (d.family == Family::kIpv6) d.flow_label = 0;
  d.payload.assign(300, 'p');
  if (kind.change != nullptr) kind.change(d);
  return d;
}

// What a restore borrows, with what it reads as: everything has to be as before.
std::vector<std::string> settings(const Fd& fd) {
  std::vector<std::string> lines;
  for (int name : {SO_REUSEPORT, SO_BINDTOIFINDEX, SO_RCVBUF, SO_BUF_LOCK, SO_PEEK_OFF,
                   SO_TIMESTAMPING, SO_RCVMARK}) {
    Result<int> value = sys::getsockopt<int>(fd.get(), SOL_SOCKET, name);
    std::uint32_t many[2] = {};
    if (!value && sys::getsockopt_bytes(fd.get(), SOL_SOCKET, name, many, sizeof(many)))
      value = static_cast<int>(many[0]);
    lines.push_back(sys::option_name(SOL_SOCKET, name) + " " +
                    (value ? std::to_string(*value) : value.error().describe()));
  }
  SocketAddress peer;
  bool connected = ::getpeername(fd.get(), peer.mutable_get(), peer.mutable_size()) == 0;
  lines.push_back("peer " + (connected ? peer.to_string() : "none"));
  Result<SocketAddress> name = sys::getsockname(fd.get());
  lines.push_back("name " + (name ? name->to_string() : name.error().describe()));
  return lines;
}

// Sends a datagram to the other host and waits until it is on the wire.
Result<void> send_marker(const NetNs& ns, WireCapture& wire) {
  constexpr Speaks kSpeaks = Speaks::kIpv4;
  const Endpoint from{program_endpoint(kSpeaks).address, 7001, 0};
  SOCKREPAIR_TRY_ASSIGN(Fd fd, ns.run([] { return sys::socket(AF_INET, SOCK_DGRAM, 0); }));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(from, AF_INET)));
  const std::uint8_t payload[] = {'m'};
  SOCKREPAIR_TRY(
      send(fd, {.payload = payload, .to = Endpoint{sender_address(Family::kIpv4), 7000, 0}}));
  SOCKREPAIR_TRY(wire.take({from, 7000}, 1));
  return {};
}

std::vector<std::string> members_of(const std::vector<Loss>& losses) {
  std::vector<std::string> members;
  for (const Loss& loss : losses) members.push_back(loss.what.substr(0, loss.what.find(':')));
  return members;
}

}  // namespace

void PrintTo(const PlaceKind& kind, std::ostream* out) {
  *out << kind.name;
}

TEST_P(ReceiveQueuePlaceTest, ComesBack) {
  const PlaceKind& kind = GetParam();
  const NetNs& ns = second().receiver;
  const int domain = domain_of(kind.speaks);
  ASSERT_OK_AND_ASSIGN(Fd fd, open_program(ns, kind.speaks));
  ASSERT_THAT(sys::bind(fd.get(), SocketAddress({address(kind.bound), kProgramPort, 0}, domain)),
              IsOk());
  if (kind.prepare != nullptr) {
    ASSERT_THAT(kind.prepare(ns, fd), IsOk());
  }
  Fd other;
  if (kind.company) {
    ASSERT_THAT(sys::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1), IsOk());
    ASSERT_OK_AND_ASSIGN(other, open_program(ns, kind.speaks));
    ASSERT_THAT(sys::setsockopt(other.get(), SOL_SOCKET, SO_REUSEADDR, 1), IsOk());
    ASSERT_THAT(
        sys::bind(other.get(), SocketAddress({address(kind.bound), kProgramPort, 0}, domain)),
        IsOk());
  }
  const std::vector<std::string> before = settings(fd);
  const ReceivedDatagram wanted = datagram_of(kind);

  ASSERT_OK_AND_ASSIGN(WireCapture wire, WireCapture::open(second().sender, kWire));
  ASSERT_OK_AND_ASSIGN(WireCapture marked, WireCapture::open(second().sender, kWire));
  ASSERT_OK_AND_ASSIGN(ReceiveQueueReport report,
                       restore_receive_queue(fd, {{wanted, wanted}}, {.method = kind.method}));
  // Nothing has left the host when what is sent now arrives.
  ASSERT_THAT(send_marker(ns, marked), IsOk());
  EXPECT_THAT(wire.take({wanted.source, kProgramPort}), IsOkAndHolds(IsEmpty()));
  if (other) {
    EXPECT_THAT(receive_all(other), IsOkAndHolds(IsEmpty()));
  }
  EXPECT_EQ(settings(fd), before);
  std::vector<std::string> lost;
  if (kind.method == Method::kStock) {
    lost = kind.lost;
    lost.insert(lost.end(), kind.lost.begin(), kind.lost.end());
  }
  EXPECT_THAT(members_of(report.losses), ElementsAreArray(lost));
  bool arrives = std::count(lost.begin(), lost.end(), "payload") == 0;
  EXPECT_EQ(report.restored, arrives ? 2u : 0u);

  ASSERT_OK_AND_ASSIGN(ReceiveQueueDump dump, dump_receive_queue(fd, {.method = kind.method}));
  ASSERT_EQ(dump.queue.datagrams.size(), report.restored);
  for (ReceivedDatagram got : dump.queue.datagrams) {
    ReceivedDatagram expected = wanted;
    // Those that the report is about, and those that only a kernel with the option tells.
    if (std::count(lost.begin(), lost.end(), "hop_limit") != 0) expected.hop_limit = 0;
    if (std::count(lost.begin(), lost.end(), "ifindex") != 0) expected.ifindex = 1;
    if (kind.method == Method::kStock) {
      got.local.reset();
      // There if anybody on this machine wants times.
      got.timestamp.reset();
      expected.timestamp.reset();
      got.device.reset();
      got.fragment_size.reset();
    }
    EXPECT_THAT(differences(got, expected), IsEmpty());
  }
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "udp_receive_queue/program.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/uio.h>

#include <utility>

#include "control_messages.h"
#include "peeker.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

constexpr int kRoom = 16 << 20;

struct Option {
  bool ipv6_only;
  int level;
  int name;
};

constexpr Option kOptions[] = {
    {false, SOL_SOCKET, SO_RCVMARK},         {false, SOL_SOCKET, SO_RCVPRIORITY},
    {false, IPPROTO_IP, IP_PKTINFO},         {false, IPPROTO_IP, IP_RECVTTL},
    {false, IPPROTO_IP, IP_RECVTOS},         {false, IPPROTO_IP, IP_RECVOPTS},
    {false, IPPROTO_IP, IP_RETOPTS},         {false, IPPROTO_IP, IP_RECVORIGDSTADDR},
    {false, IPPROTO_IP, IP_RECVFRAGSIZE},    {true, IPPROTO_IPV6, IPV6_RECVPKTINFO},
    {true, IPPROTO_IPV6, IPV6_RECVHOPLIMIT}, {true, IPPROTO_IPV6, IPV6_RECVTCLASS},
    {true, IPPROTO_IPV6, IPV6_FLOWINFO},     {true, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR},
    {true, IPPROTO_IPV6, IPV6_RECVHOPOPTS},  {true, IPPROTO_IPV6, IPV6_RECVRTHDR},
    {true, IPPROTO_IPV6, IPV6_RECVDSTOPTS},  {true, IPPROTO_IPV6, IPV6_RECVFRAGSIZE},
};

IpAddress address(const char* text) {
  return IpAddress::parse(text).value();
}

Result<Message> receive(const Fd& fd) {
  Message result;
  result.payload.resize(65536);
  SocketAddress from;
  alignas(cmsghdr) std::uint8_t control[16384];
  iovec part{result.payload.data(), result.payload.size()};
  msghdr message{};
  message.msg_name = from.mutable_get();
  message.msg_namelen = from.size();
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  SOCKREPAIR_TRY_ASSIGN(std::size_t length, sys::recvmsg(fd.get(), message, MSG_DONTWAIT));
  result.payload.resize(length);
  result.flags = message.msg_flags;
  SOCKREPAIR_TRY_ASSIGN(result.source, from.endpoint());
  internal::for_each_control_message(message, [&](const cmsghdr& header, auto data) {
    result.controls.push_back({header.cmsg_level, header.cmsg_type, {data.begin(), data.end()}});
  });
  return result;
}

}  // namespace

const char* speaks_name(Speaks speaks) {
  switch (speaks) {
    case Speaks::kIpv4:
      return "v4";
    case Speaks::kIpv6:
      return "v6";
    case Speaks::kMapped:
      return "mapped";
  }
  return "unknown";
}

int domain_of(Speaks speaks) {
  return speaks == Speaks::kIpv4 ? AF_INET : AF_INET6;
}

Family family_of(Speaks speaks) {
  return speaks == Speaks::kIpv6 ? Family::kIpv6 : Family::kIpv4;
}

void PrintTo(const Message& message, std::ostream* out) {
  *out << message.payload.size() << " bytes from " << message.source.to_string();
  for (const Message::Control& control : message.controls) {
    *out << ", " << sys::option_name(control.level, control.type) << ":";
    constexpr char kDigits[] = "0123456789abcdef";
    for (std::uint8_t byte : control.data) *out << kDigits[byte >> 4] << kDigits[byte & 15];
  }
  if (message.flags != 0) *out << ", flags " << message.flags;
}

Result<Fd> open_program(const NetNs& ns, Speaks speaks) {
  int domain = domain_of(speaks);
  SOCKREPAIR_TRY_ASSIGN(Fd fd, ns.run([&] { return sys::socket(domain, SOCK_DGRAM, 0); }));
  for (const Option& option : kOptions) {
    if (option.ipv6_only && domain == AF_INET) continue;
    Result<void> set = sys::setsockopt(fd.get(), option.level, option.name, 1);
    // Kernels before 6.14 have no SO_RCVPRIORITY.
    if (!set && set.error().code != ENOPROTOOPT) return set.error();
  }
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, kRoom));
  return fd;
}

Result<std::vector<Message>> receive_all(const Fd& fd) {
  std::vector<Message> messages;
  for (;;) {
    Result<Message> message = receive(fd);
    if (!message && message.error().code == EAGAIN) return messages;
    if (!message) return message.error();
    messages.push_back(*std::move(message));
  }
}

Endpoint sender_endpoint(Speaks speaks, unsigned sender) {
  bool v6 = speaks == Speaks::kIpv6;
  constexpr std::uint16_t kPorts[kSenders] = {4000, 4001, 4000};
  const char* other = v6 ? "fd00::11" : "10.0.0.11";
  return {sender == 2 ? address(other) : sender_address(family_of(speaks)), kPorts[sender], 0};
}

Endpoint program_endpoint(Speaks speaks) {
  return {receiver_address(family_of(speaks)), kProgramPort, 0};
}

Result<void> deliver(const NetNs& host, Speaks speaks, const Fd& program, const Endpoint& to,
                     const std::vector<Letter>& letters) {
  int domain = family_of(speaks) == Family::kIpv4 ? AF_INET : AF_INET6;
  std::vector<Fd> senders;
  for (unsigned i = 0; i < kSenders; ++i) {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, host.run([&] { return sys::socket(domain, SOCK_DGRAM, 0); }));
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20));
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_BROADCAST, 1));
    SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(sender_endpoint(speaks, i), domain)));
    senders.push_back(std::move(fd));
  }
  for (const Letter& letter : letters) {
    SOCKREPAIR_TRY_ASSIGN(std::size_t before, internal::queue_memory(program.get()));
    std::vector<std::uint8_t> payload(letter.bytes, letter.fill);
    Send what{.payload = payload, .to = to};
    if (domain == AF_INET) {
      what.control.add(IPPROTO_IP, IP_TTL, letter.hop_limit);
      what.control.add(IPPROTO_IP, IP_TOS, letter.traffic_class);
    } else {
      what.control.add(IPPROTO_IPV6, IPV6_HOPLIMIT, letter.hop_limit);
      what.control.add(IPPROTO_IPV6, IPV6_TCLASS, letter.traffic_class);
    }
    SOCKREPAIR_TRY(send(senders[letter.sender], what));
    SOCKREPAIR_TRY(wait_until("a letter of " + std::to_string(letter.bytes) + " bytes arrives",
                              Deadline::after(kPatience), [&] {
                                Result<std::size_t> now = internal::queue_memory(program.get());
                                return now.ok() && *now > before;
                              }));
  }
  return {};
}

std::unique_ptr<TwoPlacesTest::Place> TwoPlacesTest::places_[2];

void TwoPlacesTest::SetUpTestSuite() {
  for (auto& place : places_) {
    Result<TwoHosts> hosts = TwoHosts::create();
    ASSERT_TRUE(hosts.ok()) << hosts.error().describe();
    place.reset(new Place{*std::move(hosts), {}});
    Result<void> more = place->hosts.sender.ip(
        "address add 10.0.0.11/24 dev wire0\n"
        "address add fd00::11/64 dev wire0 nodad\n");
    ASSERT_TRUE(more.ok()) << more.error().describe();
  }
  // A socket for both families on each source port.
  constexpr std::uint16_t kTaken[] = {4000, 4001};
  for (std::uint16_t port : kTaken) {
    const NetNs& ns = second().receiver;
    Result<Fd> fd = ns.run([] { return sys::socket(AF_INET6, SOCK_DGRAM, 0); });
    ASSERT_TRUE(fd.ok()) << fd.error().describe();
    Result<void> bound = sys::bind(
        fd->get(), SocketAddress(Endpoint{IpAddress::any(Family::kIpv6), port, 0}, AF_INET6));
    ASSERT_TRUE(bound.ok()) << bound.error().describe();
    places_[1]->occupants.push_back(*std::move(fd));
  }
}

void TwoPlacesTest::TearDownTestSuite() {
  for (auto& place : places_) place.reset();
}

}  // namespace sockrepair::test

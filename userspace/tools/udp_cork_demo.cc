// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// udp_cork_demo: shows what the send-queue dump is for.
//
// One socket writes half of a datagram. The half is read out of it, the socket is closed, another
// socket gets the half and writes the rest; the peer receives one whole datagram. Everything
// happens in network namespaces of its own. Needs root and a kernel with UDP_REPAIR.
//
// Exit status 0 only if the peer received the datagram byte for byte, and nothing else.

#include <stdio.h>
#include <sys/uio.h>

#include <optional>
#include <string>

#include "sockrepair/syscall.h"
#include "sockrepair/udp_send_queue.h"
#include "try.h"
#include "uapi.h"
#include "util/receiver.h"
#include "util/two_hosts.h"

namespace sockrepair {
namespace {

constexpr char kFirstHalf[] = "The first half was written before the move, ";
constexpr char kSecondHalf[] = "the second half after it.";
constexpr int kTtl = 42;

const Endpoint kFrom{test::sender_address(Family::kIpv4), 4000, 0};
const Endpoint kTo{test::receiver_address(Family::kIpv4), 5000, 0};

Result<Fd> corked_socket(const test::NetNs& ns) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, ns.run([] { return sys::socket(AF_INET, SOCK_DGRAM, 0); }));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(kFrom, AF_INET)));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_UDP, UDP_CORK, 1));
  return fd;
}

Result<void> write_text(const Fd& fd, const std::string& text) {
  SocketAddress to(kTo, AF_INET);
  iovec part{const_cast<char*>(text.data()), text.size()};
  msghdr message{};
  message.msg_name = to.mutable_get();
  message.msg_namelen = to.size();
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  SOCKREPAIR_TRY(sys::sendmsg(fd.get(), message, 0));
  return {};
}

void say(const char* who, const std::string& what) {
  printf("%-9s %s\n", who, what.c_str());
}

// What a datagram that is not the one we want looks like, nothing if it is.
std::string complaint(const test::Datagram& got) {
  std::string want = std::string(kFirstHalf) + kSecondHalf;
  if (std::string(got.payload.begin(), got.payload.end()) != want) return "other bytes";
  if (got.source != kFrom) return "another source, " + got.source.to_string();
  if (got.hop_limit != kTtl) return "another TTL";
  return "";
}

Result<bool> demo() {
  SOCKREPAIR_TRY_ASSIGN(test::TwoHosts hosts, test::TwoHosts::create());
  SOCKREPAIR_TRY_ASSIGN(test::Receiver peer, test::Receiver::open(hosts.receiver, kTo));

  SOCKREPAIR_TRY_ASSIGN(Fd first, corked_socket(hosts.sender));
  SOCKREPAIR_TRY(sys::setsockopt(first.get(), IPPROTO_IP, IP_TTL, kTtl));
  SOCKREPAIR_TRY(write_text(first, kFirstHalf));
  say("socket 1", std::string("holds a datagram under construction: \"") + kFirstHalf + "\"");

  SOCKREPAIR_TRY_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(first));
  if (!queue) return Error{ENODATA, "the dump of socket 1 has no datagram"};
  say("dump", "from socket 1, which keeps what it has:");
  std::string text = queue->describe();
  for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = text.find('\n', begin);
    say("", "  " + text.substr(begin, end - begin));
  }
  SOCKREPAIR_TRY(first.close());
  say("socket 1", "is closed; its half is gone, the peer has got nothing");

  SOCKREPAIR_TRY_ASSIGN(Fd second, corked_socket(hosts.sender));
  SOCKREPAIR_TRY(sys::setsockopt(second.get(), IPPROTO_IP, IP_TTL, kTtl));
  SOCKREPAIR_TRY(restore_send_queue(second, *queue));
  say("socket 2", "bound to the same address, has the datagram rebuilt on it");
  SOCKREPAIR_TRY(write_text(second, kSecondHalf));
  SOCKREPAIR_TRY(sys::setsockopt(second.get(), SOL_UDP, UDP_CORK, 0));
  say("socket 2", std::string("adds \"") + kSecondHalf + "\" and lets it go");

  SOCKREPAIR_TRY_ASSIGN(test::Datagram got, peer.receive());
  say("peer", "received " + test::describe(got) + ":");
  say("", "  \"" + std::string(got.payload.begin(), got.payload.end()) + "\"");
  SOCKREPAIR_TRY_ASSIGN(std::vector<test::Datagram> more, peer.drain());
  std::string wrong = more.empty() ? complaint(got) : "a second datagram";
  if (!wrong.empty()) say("peer", "that is WRONG: " + wrong);
  return wrong.empty();
}

}  // namespace
}  // namespace sockrepair

int main() {
  sockrepair::Result<bool> result = sockrepair::demo();
  if (!result) {
    printf("FAILED    %s\n", result.error().describe().c_str());
    if (result.error().code == ENOPROTOOPT)
      printf("          this kernel has no UDP_REPAIR (CONFIG_INET_REPAIR)\n");
    return 1;
  }
  printf("%s\n", *result ? "PASSED    byte for byte, source and TTL included" : "FAILED");
  return *result ? 0 : 1;
}

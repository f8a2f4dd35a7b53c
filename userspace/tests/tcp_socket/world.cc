// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_socket/world.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "sockrepair/syscall.h"
#include "tcp_repair_calls.h"
#include "try.h"
#include "util/deadline.h"
#include "util/rtnetlink.h"

namespace sockrepair::test {

namespace {

// Nobody's.
constexpr char kNowhere[] = "02:00:00:00:00:0f";
constexpr char kOurs[] = "02:00:00:00:00:02";

Result<void> send_our_segments_to(const NetNs& peer, const std::string& station) {
  SOCKREPAIR_TRY_ASSIGN(Rtnetlink net, Rtnetlink::open(peer));
  SOCKREPAIR_TRY(net.replace_neighbour(kWire, "10.0.0.2", station));
  return net.replace_neighbour(kWire, "fd00::2", station);
}

// The counter `name` of the line `protocol` in a file of /proc/net, of the thread's namespace.
Result<std::uint64_t> counter(const std::string& protocol, const std::string& name,
                              const std::string& base = "snmp") {
  std::ifstream file("/proc/thread-self/net/" + base);
  std::string names;
  while (std::getline(file, names)) {
    std::string values;
    if (!std::getline(file, values)) break;
    if (names.rfind(protocol + ": ", 0) != 0) continue;
    std::istringstream name_words(names);
    std::istringstream value_words(values);
    std::string word;
    std::string value;
    while (name_words >> word && value_words >> value)
      if (word == name) return std::stoull(value);
  }
  return Error{ENOENT, protocol + ", " + name + " of /proc/net/" + base};
}

Result<int> bytes(const Fd& fd, unsigned long request) {
  int number = 0;
  SOCKREPAIR_TRY(sys::ioctl(fd.get(), request, &number));
  return number;
}

}  // namespace

Result<World> World::create() {
  SOCKREPAIR_TRY_ASSIGN(TwoHosts hosts, TwoHosts::create());
  // A tail loss probe sends what is meant to wait.
  for (const NetNs* ns : {&hosts.sender, &hosts.receiver})
    SOCKREPAIR_TRY(ns->sysctl("ipv4.tcp_early_retrans", "0"));
  return World(std::move(hosts));
}

Result<Pair> World::connect(const FamilyKind& family, Opener opener, const Prepare& prepare) {
  const bool peer_opens = opener == Opener::kPeer;
  const int peer_domain = family.family == Family::kIpv4 ? AF_INET : AF_INET6;
  const int listener_domain = peer_opens ? family.domain : peer_domain;
  const int opener_domain = peer_opens ? peer_domain : family.domain;
  const NetNs& listener_host = peer_opens ? ours() : peer();
  const NetNs& opener_host = peer_opens ? peer() : ours();
  const Endpoint to{peer_opens ? receiver_address(family.family) : sender_address(family.family),
                    port_++, 0};

  SOCKREPAIR_TRY_ASSIGN(
      Fd listener, listener_host.run([&] { return sys::socket(listener_domain, SOCK_STREAM, 0); }));
  SOCKREPAIR_TRY(sys::bind(listener.get(), SocketAddress(to, listener_domain)));
  if (prepare) SOCKREPAIR_TRY(prepare(listener, peer_opens));
  if (::listen(listener.get(), 1) != 0) return Error{errno, "listen()"};
  SOCKREPAIR_TRY_ASSIGN(
      Fd opened, opener_host.run([&] { return sys::socket(opener_domain, SOCK_STREAM, 0); }));
  if (prepare) SOCKREPAIR_TRY(prepare(opened, !peer_opens));
  SOCKREPAIR_TRY(sys::connect(opened.get(), SocketAddress(to, opener_domain)));
  Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!accepted) return Error{errno, "accept4()"};
  if (peer_opens) return Pair{std::move(accepted), std::move(opened)};
  return Pair{std::move(opened), std::move(accepted)};
}

Result<Fd> World::socket(int domain) const {
  return ours().run([&] { return sys::socket(domain, SOCK_STREAM, 0); });
}

Endpoint World::our_endpoint(const FamilyKind& family) {
  return Endpoint{receiver_address(family.family), port_++, 0};
}

Result<void> World::cut() {
  return send_our_segments_to(peer(), kNowhere);
}

Result<void> World::move() {
  SOCKREPAIR_TRY(cut());
  SOCKREPAIR_TRY(hosts_.replace_receiver());
  return ours().sysctl("ipv4.tcp_early_retrans", "0");
}

Result<void> World::let_pass() {
  return send_our_segments_to(peer(), kOurs);
}

Result<std::uint64_t> World::resets() const {
  std::uint64_t sum = 0;
  for (const NetNs* ns : {&peer(), &ours()}) {
    SOCKREPAIR_TRY_ASSIGN(std::uint64_t count, ns->run([] { return counter("Tcp", "OutRsts"); }));
    sum += count;
  }
  return sum;
}

Result<std::uint64_t> World::unverified() const {
  std::uint64_t sum = 0;
  for (const NetNs* ns : {&peer(), &ours()}) {
    for (const char* name : {"TCPAOBad", "TCPAOKeyNotFound", "TCPAORequired"}) {
      SOCKREPAIR_TRY_ASSIGN(std::uint64_t count,
                            ns->run([&] { return counter("TcpExt", name, "netstat"); }));
      sum += count;
    }
  }
  return sum;
}

Result<std::uint64_t> World::segments_sent() const {
  return ours().run([] { return counter("Tcp", "OutSegs"); });
}

Result<void> say(const Fd& fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t sent = ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return Error{errno, "send()"};
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<void> hear(const Fd& fd, std::string_view text) {
  const Deadline deadline = Deadline::after(kPatience);
  std::vector<char> buffer(1 << 16);
  for (std::size_t heard = 0; heard < text.size();) {
    SOCKREPAIR_TRY(
        wait_for_events("byte " + std::to_string(heard) + " of " + std::to_string(text.size()),
                        fd.get(), POLLIN, deadline));
    const std::size_t most = std::min(buffer.size(), text.size() - heard);
    ssize_t got = ::recv(fd.get(), buffer.data(), most, MSG_DONTWAIT);
    if (got < 0) return Error{errno, "recv()"};
    if (got == 0) return Error{EPIPE, "end after byte " + std::to_string(heard)};
    const auto length = static_cast<std::size_t>(got);
    if (text.substr(heard, length) != std::string_view(buffer.data(), length))
      return Error{EBADMSG, "other bytes from byte " + std::to_string(heard) + " on"};
    heard += length;
  }
  return {};
}

Result<void> hear_end(const Fd& fd) {
  SOCKREPAIR_TRY(wait_for_events("end of file", fd.get(), POLLIN, Deadline::after(kPatience)));
  char byte = 0;
  ssize_t got = ::recv(fd.get(), &byte, 1, MSG_DONTWAIT);
  if (got < 0) return Error{errno, "recv()"};
  if (got > 0) return Error{EBADMSG, "a byte instead of the end"};
  return {};
}

Result<int> waiting(const Fd& fd) {
  return bytes(fd, SIOCINQ);
}

Result<int> unacknowledged(const Fd& fd) {
  return bytes(fd, SIOCOUTQ);
}

Result<TcpState> state_of(const Fd& fd) {
  tcp_info info{};
  SOCKREPAIR_TRY(sys::getsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_INFO, &info, sizeof(info)));
  return static_cast<TcpState>(info.tcpi_state);
}

Result<void> wait_for_state(const Fd& fd, TcpState state) {
  TcpState last = TcpState::kClose;
  Result<void> reached =
      wait_until("state " + tcp_state_name(state), Deadline::after(kPatience), [&] {
        Result<TcpState> now = state_of(fd);
        if (now) last = *now;
        return now && *now == state;
      });
  if (reached) return reached;
  return Error{reached.error().code, reached.error().what + ", it is " + tcp_state_name(last)};
}

bool has_control_block() {
  Result<Fd> fd = sys::socket(AF_INET, SOCK_STREAM, 0);
  return fd && internal::kernel_has_control_block(fd->get());
}

}  // namespace sockrepair::test

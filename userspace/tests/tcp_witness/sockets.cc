// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_witness/sockets.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sockrepair/address.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "util/net_ns.h"

namespace sockrepair::test {

namespace {

const Result<NetNs>& network() {
  static const Result<NetNs> ns = NetNs::create();
  return ns;
}

SocketAddress loopback(int domain, std::uint16_t port) {
  const IpAddress address = *IpAddress::parse(domain == AF_INET ? "127.0.0.1" : "::1");
  return SocketAddress(Endpoint{address, port, 0}, domain);
}

// No two sockets of the program have the same.
std::uint16_t next_port() {
  static std::uint16_t port = 2000;
  return port++;
}

Result<Fd> new_socket(int domain) {
  if (!network()) return network().error();
  return network()->run([domain] { return sys::socket(domain, SOCK_STREAM, 0); });
}

Result<void> set_seq(const Fd& fd, int queue, std::uint32_t seq) {
  SOCKREPAIR_TRY(set_tcp(fd, TCP_REPAIR_QUEUE, queue));
  return set_tcp(fd, TCP_QUEUE_SEQ, static_cast<int>(seq));
}

Result<void> queue_data(const Fd& fd, int queue, std::size_t length) {
  SOCKREPAIR_TRY(set_tcp(fd, TCP_REPAIR_QUEUE, queue));
  std::vector<char> data(length, 'x');
  iovec part{data.data(), data.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  SOCKREPAIR_TRY_ASSIGN(std::size_t sent, sys::sendmsg(fd.get(), message, 0));
  if (sent != length) return Error{EIO, "send to a queue"};
  return {};
}

}  // namespace

Result<void> set_tcp(const Fd& fd, int name, int value) {
  return sys::setsockopt(fd.get(), IPPROTO_TCP, name, value);
}

Result<void> set_tcp_bytes(const Fd& fd, int name, const void* value, std::size_t length) {
  return sys::setsockopt_bytes(fd.get(), IPPROTO_TCP, name, value, static_cast<socklen_t>(length));
}

Result<void> set_options(const Fd& fd, std::span<const tcp_repair_opt> options) {
  return set_tcp_bytes(fd, TCP_REPAIR_OPTIONS, options.data(), options.size_bytes());
}

Result<void> set_window(const Fd& fd, const tcp_repair_window& window) {
  return set_tcp_bytes(fd, TCP_REPAIR_WINDOW, &window, sizeof(window));
}

Result<void> set_scale(const Fd& fd, std::uint32_t snd, std::uint32_t rcv) {
  const tcp_repair_opt option{kOptionWindow, snd | rcv << 16};
  return set_options(fd, {&option, 1});
}

Result<Fd> unconnected(int domain) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, new_socket(domain));
  SOCKREPAIR_TRY(set_tcp(fd, TCP_REPAIR, TCP_REPAIR_ON));
  SOCKREPAIR_TRY(sys::bind(fd.get(), loopback(domain, next_port())));
  SOCKREPAIR_TRY(set_seq(fd, TCP_SEND_QUEUE, kSndSeq));
  SOCKREPAIR_TRY(set_seq(fd, TCP_RECV_QUEUE, kRcvSeq));
  return fd;
}

Result<Fd> lonely(int domain) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, unconnected(domain));
  SOCKREPAIR_TRY(sys::connect(fd.get(), loopback(domain, 1)));
  return fd;
}

Result<Fd> lonely_with_data(int domain) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, lonely(domain));
  const tcp_repair_opt options[] = {{kOptionMss, 1460},
                                    {kOptionWindow, 7 | 7 << 16},
                                    {kOptionSackPerm, 0},
                                    {kOptionTimestamp, 0}};
  SOCKREPAIR_TRY(set_options(fd, options));
  SOCKREPAIR_TRY(queue_data(fd, TCP_RECV_QUEUE, 3000));
  SOCKREPAIR_TRY(queue_data(fd, TCP_SEND_QUEUE, 3000));
  return fd;
}

Result<Fd> live(int domain) {
  // Peers stay open until the program ends.
  static std::vector<Fd> peers;
  SOCKREPAIR_TRY_ASSIGN(Fd listener, new_socket(domain));
  SOCKREPAIR_TRY_ASSIGN(Fd fd, new_socket(domain));
  const SocketAddress address = loopback(domain, next_port());
  SOCKREPAIR_TRY(sys::bind(listener.get(), address));
  if (::listen(listener.get(), 1) != 0) return Error{errno, "listen()"};
  SOCKREPAIR_TRY(sys::connect(fd.get(), address));
  Fd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!peer) return Error{errno, "accept4()"};
  peers.push_back(std::move(peer));
  SOCKREPAIR_TRY(set_tcp(fd, TCP_REPAIR, TCP_REPAIR_ON));
  return fd;
}

Result<Fd> left(int domain) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, lonely(domain));
  SOCKREPAIR_TRY(set_tcp(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
  return fd;
}

std::vector<std::string> visible_state(const Fd& fd) {
  std::vector<std::string> state;
  const auto add = [&](int level, int name, std::size_t size) {
    std::string bytes(size, '\0');
    const Result<socklen_t> length =
        sys::getsockopt_bytes(fd.get(), level, name, bytes.data(), static_cast<socklen_t>(size));
    if (length && name == TCP_INFO && level == IPPROTO_TCP) {
      // These run by themselves.
      tcp_info info{};
      std::memcpy(&info, bytes.data(), std::min(bytes.size(), sizeof(info)));
      info.tcpi_last_data_sent = info.tcpi_last_data_recv = 0;
      info.tcpi_last_ack_sent = info.tcpi_last_ack_recv = 0;
      info.tcpi_busy_time = info.tcpi_rwnd_limited = info.tcpi_sndbuf_limited = 0;
      bytes.assign(reinterpret_cast<const char*>(&info), sizeof(info));
    }
    state.push_back(sys::option_name(level, name) + " " +
                    (length ? bytes : length.error().describe()));
  };
  add(IPPROTO_TCP, TCP_REPAIR, sizeof(int));
  add(IPPROTO_TCP, TCP_REPAIR_QUEUE, sizeof(int));
  add(IPPROTO_TCP, TCP_QUEUE_SEQ, sizeof(int));
  add(IPPROTO_TCP, TCP_REPAIR_WINDOW, sizeof(tcp_repair_window));
  add(IPPROTO_TCP, TCP_MAXSEG, sizeof(int));
  add(IPPROTO_TCP, TCP_INFO, sizeof(tcp_info));
  add(SOL_SOCKET, SO_REUSEADDR, sizeof(int));
  return state;
}

}  // namespace sockrepair::test

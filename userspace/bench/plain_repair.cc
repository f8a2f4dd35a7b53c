// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "plain_repair.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <string>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::bench {

namespace {

Result<int> ask(int fd, unsigned long request) {
  int answer = 0;
  SOCKREPAIR_TRY(sys::ioctl(fd, request, &answer));
  return answer;
}

Result<std::uint32_t> read_queue(int fd, int queue, int length, std::vector<char>& bytes) {
  SOCKREPAIR_TRY(sys::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue));
  SOCKREPAIR_TRY_ASSIGN(auto sequence,
                        sys::getsockopt<std::uint32_t>(fd, IPPROTO_TCP, TCP_QUEUE_SEQ));
  bytes.resize(static_cast<std::size_t>(length));
  if (length == 0) return sequence;
  if (::recv(fd, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT) != length)
    return Error{errno, "recv(MSG_PEEK)"};
  return sequence;
}

Result<void> write_sequence(int fd, int queue, std::uint32_t sequence) {
  SOCKREPAIR_TRY(sys::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue));
  return sys::setsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, sequence);
}

Result<void> write_queue(int fd, int queue, const std::vector<char>& bytes) {
  if (bytes.empty()) return {};
  SOCKREPAIR_TRY(sys::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue));
  // A checkpoint restores the size of the buffer first; without that, send() waits for room.
  if (queue == TCP_SEND_QUEUE)
    SOCKREPAIR_TRY(sys::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, static_cast<int>(bytes.size())));
  for (std::size_t done = 0; done < bytes.size();) {
    ssize_t taken = ::send(fd, bytes.data() + done, bytes.size() - done, 0);
    if (taken < 0) return Error{errno, "send()"};
    done += static_cast<std::size_t>(taken);
  }
  return {};
}

}  // namespace

Result<void> plain_dump(int fd, PlainConnection& connection) {
  SOCKREPAIR_TRY(sys::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON));
  SOCKREPAIR_TRY_ASSIGN(auto info, sys::getsockopt<tcp_info>(fd, IPPROTO_TCP, TCP_INFO));
  connection.options = info.tcpi_options;
  connection.snd_wscale = info.tcpi_snd_wscale;
  connection.rcv_wscale = info.tcpi_rcv_wscale;
  SOCKREPAIR_TRY_ASSIGN(int queued, ask(fd, SIOCOUTQ));
  SOCKREPAIR_TRY(ask(fd, SIOCOUTQNSD));
  SOCKREPAIR_TRY_ASSIGN(int received, ask(fd, SIOCINQ));
  SOCKREPAIR_TRY_ASSIGN(connection.mss_clamp,
                        sys::getsockopt<std::uint32_t>(fd, IPPROTO_TCP, TCP_MAXSEG));
  if ((connection.options & TCPI_OPT_TIMESTAMPS) != 0) {
    SOCKREPAIR_TRY_ASSIGN(connection.timestamp,
                          sys::getsockopt<std::uint32_t>(fd, IPPROTO_TCP, TCP_TIMESTAMP));
  }
  SOCKREPAIR_TRY_ASSIGN(connection.window,
                        sys::getsockopt<tcp_repair_window>(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW));
  SOCKREPAIR_TRY_ASSIGN(connection.rcv_seq,
                        read_queue(fd, TCP_RECV_QUEUE, received, connection.receive_queue));
  SOCKREPAIR_TRY_ASSIGN(connection.snd_seq,
                        read_queue(fd, TCP_SEND_QUEUE, queued, connection.send_queue));
  return {};
}

Result<Fd> plain_restore(const PlainConnection& connection) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(connection.local.ss_family, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON));
  const auto* local = reinterpret_cast<const sockaddr*>(&connection.local);
  if (::bind(fd.get(), local, connection.address_size) != 0) return Error{errno, "bind()"};
  SOCKREPAIR_TRY(write_sequence(
      fd.get(), TCP_RECV_QUEUE,
      connection.rcv_seq - static_cast<std::uint32_t>(connection.receive_queue.size())));
  SOCKREPAIR_TRY(write_sequence(
      fd.get(), TCP_SEND_QUEUE,
      connection.snd_seq - static_cast<std::uint32_t>(connection.send_queue.size())));
  const auto* peer = reinterpret_cast<const sockaddr*>(&connection.peer);
  if (::connect(fd.get(), peer, connection.address_size) != 0) return Error{errno, "connect()"};

  // By the numbers that the options have in a SYN.
  std::vector<tcp_repair_opt> options;
  if ((connection.options & TCPI_OPT_SACK) != 0) options.push_back({4, 0});
  if ((connection.options & TCPI_OPT_WSCALE) != 0)
    options.push_back({3, connection.snd_wscale | std::uint32_t{connection.rcv_wscale} << 16});
  if ((connection.options & TCPI_OPT_TIMESTAMPS) != 0) options.push_back({8, 0});
  options.push_back({2, connection.mss_clamp});
  SOCKREPAIR_TRY(
      sys::setsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_REPAIR_OPTIONS, options.data(),
                            static_cast<socklen_t>(options.size() * sizeof(options[0]))));
  if ((connection.options & TCPI_OPT_TIMESTAMPS) != 0)
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_TIMESTAMP, connection.timestamp));
  SOCKREPAIR_TRY(write_queue(fd.get(), TCP_RECV_QUEUE, connection.receive_queue));
  SOCKREPAIR_TRY(write_queue(fd.get(), TCP_SEND_QUEUE, connection.send_queue));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR_WINDOW, connection.window));
  return fd;
}

Result<void> plain_resume(int fd) {
  return sys::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF);
}

}  // namespace sockrepair::bench

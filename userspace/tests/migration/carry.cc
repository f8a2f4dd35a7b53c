// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/carry.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "sockrepair/syscall.h"
#include "tcp_restore/image.h"
#include "try.h"

namespace sockrepair::test {

namespace {

// struct tcp_repair_cb of <linux/tcp_repair.h>, as first published, and what is set in it here.
constexpr int kControlBlock = 47;
constexpr std::size_t kControlBlockSize = 488;
constexpr std::size_t kPauseAt = 8;
constexpr int kAnyQueue = 1 << 24;
using ControlBlock = std::array<std::uint8_t, kControlBlockSize>;

struct Fixed {
  int domain;
  int send_buffer;
  SocketAddress own;
  SocketAddress peer;
  TcpNumbers numbers;
  ControlBlock control_block;
  std::size_t received;
  std::size_t sent;
  std::size_t unsent;
};

Result<void> set(const Fd& fd, int name, int value) {
  return sys::setsockopt(fd.get(), IPPROTO_TCP, name, value);
}

Result<void> write_queue(const Fd& fd, std::span<const char> data) {
  while (!data.empty()) {
    iovec part{const_cast<char*>(data.data()), data.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    SOCKREPAIR_TRY_ASSIGN(const std::size_t sent, sys::sendmsg(fd.get(), message, 0));
    data = data.subspan(sent);
  }
  return {};
}

Result<void> fill_queue(const Fd& fd, int queue, std::span<const char> data) {
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, queue));
  return write_queue(fd, data);
}

Result<void> set_sequence(const Fd& fd, int queue, std::uint32_t begin) {
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, queue));
  return set(fd, TCP_QUEUE_SEQ, static_cast<int>(begin));
}

Result<void> set_agreement(const Fd& fd, const TcpNumbers& numbers) {
  std::vector<tcp_repair_opt> options = {{2, static_cast<std::uint32_t>(numbers.mss)}};
  if (numbers.scales()) options.push_back({3, *numbers.scales()});
  if (numbers.sack()) options.push_back({4, 0});
  if (numbers.timestamps()) options.push_back({8, 0});
  return sys::setsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_REPAIR_OPTIONS, options.data(),
                               static_cast<socklen_t>(options.size() * sizeof(options[0])));
}

}  // namespace

Result<Carried> take_connection(Fd fd) {
  Fixed fixed{};
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR, TCP_REPAIR_ON));
  SOCKREPAIR_TRY_ASSIGN(fixed.control_block,
                        sys::getsockopt<ControlBlock>(fd.get(), IPPROTO_TCP, kControlBlock));
  SOCKREPAIR_TRY_ASSIGN(fixed.send_buffer, sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_SNDBUF));
  SOCKREPAIR_TRY_ASSIGN(const Image image, save_and_close(std::move(fd)));
  fixed.domain = image.domain;
  fixed.own = image.own;
  fixed.peer = image.peer;
  fixed.numbers = image.numbers;
  fixed.received = image.received.size();
  fixed.sent = image.sent.size();
  fixed.unsent = image.unsent.size();
  Bytes queues;
  for (const std::vector<char>* queue : {&image.received, &image.sent, &image.unsent})
    queues.insert(queues.end(), queue->begin(), queue->end());
  return Carried{pack(fixed, queues), fixed.received, fixed.sent + fixed.unsent};
}

Result<Fd> put_connection(std::span<const std::uint8_t> bytes, std::uint64_t pause_us) {
  SOCKREPAIR_TRY_ASSIGN(Fixed fixed, unpack<Fixed>(bytes));
  if (bytes.size() != sizeof(fixed) + fixed.received + fixed.sent + fixed.unsent)
    return Error{EPROTO, "an image of " + std::to_string(bytes.size()) + " bytes"};
  const std::span queues(reinterpret_cast<const char*>(bytes.data()) + sizeof(fixed),
                         bytes.size() - sizeof(fixed));
  memcpy(&fixed.control_block[kPauseAt], &pause_us, sizeof(pause_us));

  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(fixed.domain, SOCK_STREAM, 0));
  // A queue may take more memory here than it did there.
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, kAnyQueue));
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR, TCP_REPAIR_ON));
  SOCKREPAIR_TRY(sys::bind(fd.get(), fixed.own));
  SOCKREPAIR_TRY(set_sequence(fd, TCP_RECV_QUEUE,
                              fixed.numbers.rcv_seq - static_cast<std::uint32_t>(fixed.received)));
  SOCKREPAIR_TRY(
      set_sequence(fd, TCP_SEND_QUEUE,
                   fixed.numbers.snd_seq - static_cast<std::uint32_t>(fixed.sent + fixed.unsent)));
  SOCKREPAIR_TRY(sys::connect(fd.get(), fixed.peer));
  SOCKREPAIR_TRY(set_agreement(fd, fixed.numbers));
  SOCKREPAIR_TRY(fill_queue(fd, TCP_RECV_QUEUE, queues.first(fixed.received)));
  SOCKREPAIR_TRY(fill_queue(fd, TCP_SEND_QUEUE, queues.subspan(fixed.received, fixed.sent)));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_TCP, kControlBlock, fixed.control_block));
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR, TCP_REPAIR_OFF));
  SOCKREPAIR_TRY(write_queue(fd, queues.last(fixed.unsent)));
  // The kernel doubles it.
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, fixed.send_buffer / 2));
  return fd;
}

}  // namespace sockrepair::test

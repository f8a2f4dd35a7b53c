// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_restore/image.h"

#include <linux/filter.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <string>
#include <utility>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::test {

namespace {

// Codes of TCP options.
constexpr std::uint32_t kMss = 2;
constexpr std::uint32_t kWindowScale = 3;
constexpr std::uint32_t kSackPermitted = 4;
constexpr std::uint32_t kTimestamp = 8;

Result<void> set(const Fd& fd, int name, int value) {
  return sys::setsockopt(fd.get(), IPPROTO_TCP, name, value);
}

template <typename T>
Result<T> get(const Fd& fd, int name) {
  return sys::getsockopt<T>(fd.get(), IPPROTO_TCP, name);
}

Result<std::uint32_t> read_seq(const Fd& fd, int queue) {
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, queue));
  return get<std::uint32_t>(fd, TCP_QUEUE_SEQ);
}

Result<void> set_seq(const Fd& fd, int queue, std::uint32_t seq) {
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, queue));
  return set(fd, TCP_QUEUE_SEQ, static_cast<int>(seq));
}

Result<std::size_t> bytes(const Fd& fd, unsigned long request) {
  int number = 0;
  SOCKREPAIR_TRY(sys::ioctl(fd.get(), request, &number));
  return static_cast<std::size_t>(number);
}

// The content of a queue, which stays there.
Result<std::vector<char>> peek(const Fd& fd, int queue, std::size_t length) {
  std::vector<char> data(length);
  if (length == 0) return data;
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, queue));
  iovec part{data.data(), data.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  SOCKREPAIR_TRY_ASSIGN(std::size_t got, sys::recvmsg(fd.get(), message, MSG_PEEK | MSG_DONTWAIT));
  if (got != length) return Error{EIO, "a queue holds " + std::to_string(got) + " bytes"};
  return data;
}

Result<void> send_all(const Fd& fd, std::span<const char> data) {
  while (!data.empty()) {
    iovec part{const_cast<char*>(data.data()), data.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    SOCKREPAIR_TRY_ASSIGN(std::size_t sent, sys::sendmsg(fd.get(), message, 0));
    data = data.subspan(sent);
  }
  return {};
}

Result<void> fill(const Fd& fd, int queue, std::span<const char> data) {
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, queue));
  return send_all(fd, data);
}

Result<void> set_options(const Fd& fd, const TcpNumbers& numbers) {
  std::vector<tcp_repair_opt> options = {{kMss, static_cast<std::uint32_t>(numbers.mss)}};
  if (numbers.scales()) options.push_back({kWindowScale, *numbers.scales()});
  if (numbers.sack()) options.push_back({kSackPermitted, 0});
  if (numbers.timestamps()) options.push_back({kTimestamp, 0});
  return sys::setsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_REPAIR_OPTIONS, options.data(),
                               static_cast<socklen_t>(options.size() * sizeof(options[0])));
}

// passt gives a scale of 0 where there is none.
Result<void> set_options_and_scale(const Fd& fd, TcpNumbers numbers) {
  numbers.info.tcpi_options |= TCPI_OPT_WSCALE;
  return set_options(fd, numbers);
}

Result<void> set_timestamp(const Fd& fd, const TcpNumbers& numbers) {
  if (!numbers.timestamps()) return {};
  return set(fd, TCP_TIMESTAMP, static_cast<int>(numbers.timestamp));
}

Result<void> set_window(const Fd& fd, const tcp_repair_window& window) {
  return sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR_WINDOW, window);
}

// The window as it was before the receive queue was filled: the same right edge, as far as the
// scale can express it.
tcp_repair_window window_before_queue(const Image& image) {
  tcp_repair_window window = image.numbers.window;
  const auto queued = static_cast<std::uint32_t>(image.received.size());
  const std::uint32_t rcv_nxt = image.numbers.rcv_seq - queued;
  const std::uint32_t ahead = window.rcv_wup - rcv_nxt;
  if (static_cast<std::int32_t>(ahead) > 0) {
    window.rcv_wup = rcv_nxt;
    window.rcv_wnd += ahead;
  }
  const std::uint32_t scale = image.numbers.scales().value_or(0) >> 16;
  window.rcv_wnd = std::min<std::uint32_t>(window.rcv_wnd, 65535U << scale);
  return window;
}

Result<void> connect_to_peer(const Fd& fd, const Image& image) {
  return sys::connect(fd.get(), image.peer);
}

Result<void> restore_as_soccr(const Fd& fd, const Image& image) {
  SOCKREPAIR_TRY(connect_to_peer(fd, image));
  SOCKREPAIR_TRY(set_options(fd, image.numbers));
  SOCKREPAIR_TRY(set_timestamp(fd, image.numbers));
  SOCKREPAIR_TRY(fill(fd, TCP_RECV_QUEUE, image.received));
  SOCKREPAIR_TRY(fill(fd, TCP_SEND_QUEUE, image.sent));
  if (!image.unsent.empty()) {
    SOCKREPAIR_TRY(set(fd, TCP_REPAIR, TCP_REPAIR_OFF));
    SOCKREPAIR_TRY(send_all(fd, image.unsent));
    SOCKREPAIR_TRY(set(fd, TCP_REPAIR, TCP_REPAIR_ON));
  }
  SOCKREPAIR_TRY(set_window(fd, image.numbers.window));
  return set(fd, TCP_REPAIR, TCP_REPAIR_OFF);
}

Result<void> restore_as_passt(const Fd& fd, const Image& image) {
  SOCKREPAIR_TRY(set_timestamp(fd, image.numbers));
  SOCKREPAIR_TRY(connect_to_peer(fd, image));
  SOCKREPAIR_TRY(fill(fd, TCP_RECV_QUEUE, image.received));
  SOCKREPAIR_TRY(fill(fd, TCP_SEND_QUEUE, image.sent));
  SOCKREPAIR_TRY(set_options_and_scale(fd, image.numbers));
  SOCKREPAIR_TRY(set_window(fd, image.numbers.window));
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
  return send_all(fd, image.unsent);
}

Result<void> restore_window_first(const Fd& fd, const Image& image) {
  SOCKREPAIR_TRY(connect_to_peer(fd, image));
  SOCKREPAIR_TRY(set_options_and_scale(fd, image.numbers));
  SOCKREPAIR_TRY(set_timestamp(fd, image.numbers));
  SOCKREPAIR_TRY(set_window(fd, window_before_queue(image)));
  SOCKREPAIR_TRY(fill(fd, TCP_RECV_QUEUE, image.received));
  SOCKREPAIR_TRY(fill(fd, TCP_SEND_QUEUE, image.sent));
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
  return send_all(fd, image.unsent);
}

struct OrderRow {
  const char* name;
  Result<void> (*restore)(const Fd& fd, const Image& image);
};
constexpr OrderRow kOrderRows[] = {{"soccr", restore_as_soccr},
                                   {"passt", restore_as_passt},
                                   {"window_first", restore_window_first}};
static_assert(std::size(kOrderRows) == std::size(kOrders));

}  // namespace

std::optional<std::uint32_t> TcpNumbers::scales() const {
  if ((info.tcpi_options & TCPI_OPT_WSCALE) == 0) return std::nullopt;
  return info.tcpi_snd_wscale | std::uint32_t{info.tcpi_rcv_wscale} << 16;
}

Result<TcpNumbers> read_numbers(const Fd& fd) {
  TcpNumbers numbers;
  SOCKREPAIR_TRY_ASSIGN(numbers.snd_seq, read_seq(fd, TCP_SEND_QUEUE));
  SOCKREPAIR_TRY_ASSIGN(numbers.rcv_seq, read_seq(fd, TCP_RECV_QUEUE));
  SOCKREPAIR_TRY_ASSIGN(numbers.info, get<tcp_info>(fd, TCP_INFO));
  SOCKREPAIR_TRY_ASSIGN(numbers.window, get<tcp_repair_window>(fd, TCP_REPAIR_WINDOW));
  SOCKREPAIR_TRY_ASSIGN(numbers.mss, get<int>(fd, TCP_MAXSEG));
  SOCKREPAIR_TRY_ASSIGN(numbers.timestamp, get<std::uint32_t>(fd, TCP_TIMESTAMP));
  return numbers;
}

Result<Image> save_and_close(Fd fd) {
  Image image;
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR, TCP_REPAIR_ON));
  SOCKREPAIR_TRY_ASSIGN(image.domain, sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_DOMAIN));
  SOCKREPAIR_TRY_ASSIGN(image.own, sys::getsockname(fd.get()));
  if (::getpeername(fd.get(), image.peer.mutable_get(), image.peer.mutable_size()) != 0)
    return Error{errno, "getpeername()"};
  SOCKREPAIR_TRY_ASSIGN(image.numbers, read_numbers(fd));
  SOCKREPAIR_TRY_ASSIGN(const std::size_t received, bytes(fd, SIOCINQ));
  SOCKREPAIR_TRY_ASSIGN(const std::size_t queued, bytes(fd, SIOCOUTQ));
  SOCKREPAIR_TRY_ASSIGN(const std::size_t unsent, bytes(fd, SIOCOUTQNSD));
  SOCKREPAIR_TRY_ASSIGN(image.received, peek(fd, TCP_RECV_QUEUE, received));
  SOCKREPAIR_TRY_ASSIGN(image.sent, peek(fd, TCP_SEND_QUEUE, queued));
  image.unsent.assign(image.sent.end() - static_cast<std::ptrdiff_t>(unsent), image.sent.end());
  image.sent.resize(queued - unsent);
  return image;
}

const char* order_name(Order order) {
  return kOrderRows[static_cast<std::size_t>(order)].name;
}

Result<Fd> restore(Order order, const Image& image) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(image.domain, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(block(fd));
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR, TCP_REPAIR_ON));
  SOCKREPAIR_TRY(sys::bind(fd.get(), image.own));
  const auto received = static_cast<std::uint32_t>(image.received.size());
  const auto queued = static_cast<std::uint32_t>(image.sent.size() + image.unsent.size());
  SOCKREPAIR_TRY(set_seq(fd, TCP_RECV_QUEUE, image.numbers.rcv_seq - received));
  SOCKREPAIR_TRY(set_seq(fd, TCP_SEND_QUEUE, image.numbers.snd_seq - queued));
  SOCKREPAIR_TRY(kOrderRows[static_cast<std::size_t>(order)].restore(fd, image));
  return fd;
}

Result<void> block(const Fd& fd) {
  sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog program{1, &drop};
  return sys::setsockopt_bytes(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

Result<void> unblock(const Fd& fd) {
  return sys::setsockopt(fd.get(), SOL_SOCKET, SO_DETACH_FILTER, 0);
}

}  // namespace sockrepair::test

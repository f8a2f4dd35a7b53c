// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_control_block/mover.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <iterator>
#include <span>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

// Codes of TCP options.
constexpr std::uint32_t kMss = 2;
constexpr std::uint32_t kWindowScale = 3;
constexpr std::uint32_t kSackPermitted = 4;
constexpr std::uint32_t kTimestamp = 8;

// <netinet/tcp.h> has names for these, and does not go with <linux/tcp.h>.
enum State : std::uint8_t {
  kFinWait1 = 4,
  kFinWait2 = 5,
  kCloseWait = 8,
  kLastAck = 9,
  kClosing = 11,
};

// Options that the suites use. Those that the control block has as well come from there at last.
constexpr int kTcpOptions[] = {TCP_NODELAY,  TCP_CORK,    TCP_KEEPIDLE,     TCP_KEEPINTVL,
                               TCP_KEEPCNT,  TCP_LINGER2, TCP_USER_TIMEOUT, TCP_NOTSENT_LOWAT,
                               TCP_QUICKACK, TCP_INQ};
constexpr int kSocketOptions[] = {SO_KEEPALIVE, SO_OOBINLINE, SO_RCVLOWAT, SO_PRIORITY};

Result<void> set(const Fd& fd, int name, int value) {
  return sys::setsockopt(fd.get(), IPPROTO_TCP, name, value);
}

Result<void> send_all(const Fd& fd, std::span<const char> data) {
  while (!data.empty()) {
    iovec part{const_cast<char*>(data.data()), data.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const Result<std::size_t> sent = sys::sendmsg(fd.get(), message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (!sent && sent.error().code == EAGAIN) {
      SOCKREPAIR_TRY(
          wait_for_events("room in the send queue", fd.get(), POLLOUT, Deadline::after(kPatience)));
      continue;
    }
    if (!sent) return sent.error();
    data = data.subspan(*sent);
  }
  return {};
}

Result<void> fill(const Fd& fd, int queue, std::span<const char> data) {
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, queue));
  return send_all(fd, data);
}

// As they were, and whether the kernel adjusts them. The kernel doubles what it is given.
Result<void> set_buffers(const Fd& fd, const Connection& image) {
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, image.receive_buffer / 2));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, image.send_buffer / 2));
  return sys::setsockopt(fd.get(), SOL_SOCKET, SO_BUF_LOCK, image.buffer_locks);
}

// Room for all that is to be sent at once; segments made anew can take more memory.
Result<void> make_room(const Fd& fd, std::size_t bytes) {
  constexpr std::size_t kMore = 4;
  return sys::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE,
                         static_cast<int>(kMore * bytes + 65536));
}

Result<void> set_seq(const Fd& fd, int queue, std::uint32_t seq) {
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, queue));
  return set(fd, TCP_QUEUE_SEQ, static_cast<int>(seq));
}

Result<std::size_t> peek(const Fd& fd, std::span<char> into) {
  iovec part{into.data(), into.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return sys::recvmsg(fd.get(), message, MSG_PEEK | MSG_DONTWAIT);
}

Result<std::vector<char>> peek_sent(const Fd& fd, std::size_t length) {
  std::vector<char> data(length);
  if (length == 0) return data;
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE));
  SOCKREPAIR_TRY_ASSIGN(std::size_t got, peek(fd, data));
  if (got != length) return Error{EIO, "the send queue holds " + std::to_string(got) + " bytes"};
  return data;
}

// A read ends at an urgent mark, and leaves the byte there out: both are put off meanwhile.
Result<std::vector<char>> peek_received(const Fd& fd, std::size_t length) {
  std::vector<char> data(length);
  if (length == 0) return data;
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE));
  SOCKREPAIR_TRY_ASSIGN(const int in_line,
                        sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_OOBINLINE));
  SOCKREPAIR_TRY_ASSIGN(const int offset, sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_PEEK_OFF));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_OOBINLINE, 1));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_PEEK_OFF, 0));
  std::size_t done = 0;
  Result<std::size_t> got = std::size_t{0};
  while (done < length) {
    got = peek(fd, std::span(data).subspan(done));
    if (!got || *got == 0) break;
    done += *got;
  }
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_PEEK_OFF, offset));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_OOBINLINE, in_line));
  if (!got) return got.error();
  if (done != length)
    return Error{EIO, "the receive queue holds " + std::to_string(done) + " bytes"};
  return data;
}

template <std::size_t kCount>
Result<std::vector<std::pair<int, int>>> read_options(const Fd& fd, int level,
                                                      const int (&names)[kCount]) {
  std::vector<std::pair<int, int>> values;
  for (int name : names) {
    SOCKREPAIR_TRY_ASSIGN(const int value, sys::getsockopt<int>(fd.get(), level, name));
    values.emplace_back(name, value);
  }
  return values;
}

// Only what is not as it is on a new socket: some options pin what they are set to.
Result<void> set_options(const Fd& fd, int level, const std::vector<std::pair<int, int>>& values) {
  for (const auto& [name, value] : values) {
    SOCKREPAIR_TRY_ASSIGN(const int is, sys::getsockopt<int>(fd.get(), level, name));
    if (is != value) SOCKREPAIR_TRY(sys::setsockopt(fd.get(), level, name, value));
  }
  return {};
}

Result<void> send_rest(const Fd& fd, const Connection& image) {
  if (image.unsent.empty()) return {};
  SOCKREPAIR_TRY(make_room(fd, image.sent.size() + image.unsent.size()));
  SOCKREPAIR_TRY(send_all(fd, image.unsent));
  return set_buffers(fd, image);
}

Result<std::vector<tcp_repair_opt>> read_agreed(const Fd& fd) {
  SOCKREPAIR_TRY_ASSIGN(const tcp_info info,
                        sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO));
  SOCKREPAIR_TRY_ASSIGN(const std::uint32_t mss,
                        sys::getsockopt<std::uint32_t>(fd.get(), IPPROTO_TCP, TCP_MAXSEG));
  std::vector<tcp_repair_opt> agreed = {{kMss, mss}};
  if (info.tcpi_options & TCPI_OPT_WSCALE)
    agreed.push_back(
        {kWindowScale, info.tcpi_snd_wscale | std::uint32_t{info.tcpi_rcv_wscale} << 16});
  if (info.tcpi_options & TCPI_OPT_SACK) agreed.push_back({kSackPermitted, 0});
  if (info.tcpi_options & TCPI_OPT_TIMESTAMPS) agreed.push_back({kTimestamp, 0});
  return agreed;
}

}  // namespace

bool fin_received(const tcp_repair_cb& block) {
  return block.state == kCloseWait || block.state == kClosing || block.state == kLastAck;
}

bool fin_in_flight(const tcp_repair_cb& block) {
  return block.state == kFinWait1 || block.state == kClosing || block.state == kLastAck;
}

Result<void> enter_repair(const Fd& fd) {
  return set(fd, TCP_REPAIR, TCP_REPAIR_ON);
}

Result<void> leave_repair(const Fd& fd) {
  return set(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
}

Result<tcp_repair_cb> control_block(const Fd& fd) {
  return sys::getsockopt<tcp_repair_cb>(fd.get(), IPPROTO_TCP, TCP_REPAIR_CB);
}

Result<void> set_control_block(const Fd& fd, const tcp_repair_cb& block) {
  return sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR_CB, block);
}

Result<Connection> read_connection(const Fd& fd) {
  Connection image;
  SOCKREPAIR_TRY_ASSIGN(image.block, control_block(fd));
  SOCKREPAIR_TRY_ASSIGN(image.domain, sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_DOMAIN));
  SOCKREPAIR_TRY_ASSIGN(image.own, sys::getsockname(fd.get()));
  SOCKREPAIR_TRY_ASSIGN(image.peer, sys::getpeername(fd.get()));
  SOCKREPAIR_TRY_ASSIGN(image.agreed, read_agreed(fd));
  SOCKREPAIR_TRY_ASSIGN(image.tcp_options, read_options(fd, IPPROTO_TCP, kTcpOptions));
  SOCKREPAIR_TRY_ASSIGN(image.socket_options, read_options(fd, SOL_SOCKET, kSocketOptions));
  SOCKREPAIR_TRY_ASSIGN(image.receive_buffer,
                        sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_RCVBUF));
  SOCKREPAIR_TRY_ASSIGN(image.send_buffer, sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_SNDBUF));
  SOCKREPAIR_TRY_ASSIGN(image.buffer_locks,
                        sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_BUF_LOCK));
  char name[16] = {};
  SOCKREPAIR_TRY(sys::getsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_CONGESTION, name, sizeof(name)));
  image.congestion = name;

  const tcp_repair_cb& block = image.block;
  const std::uint32_t fin = fin_in_flight(block) ? 1 : 0;
  std::uint32_t unread = block.rcv_nxt - block.copied_seq;
  // The program can have read the end of the stream as well.
  if (unread > 0 && fin_received(block)) --unread;
  const std::uint32_t in_flight = block.snd_nxt - block.snd_una - fin;
  const std::uint32_t unsent = block.write_seq - block.snd_nxt;
  SOCKREPAIR_TRY_ASSIGN(image.received, peek_received(fd, unread));
  SOCKREPAIR_TRY_ASSIGN(image.sent, peek_sent(fd, in_flight + unsent));
  image.unsent.assign(image.sent.begin() + in_flight, image.sent.end());
  image.sent.resize(in_flight);
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, TCP_NO_QUEUE));
  return image;
}

Result<Fd> make_socket(const Connection& image) {
  const tcp_repair_cb& block = image.block;
  const auto unread = static_cast<std::uint32_t>(image.received.size());
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(image.domain, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(enter_repair(fd));
  SOCKREPAIR_TRY(sys::bind(fd.get(), image.own));
  SOCKREPAIR_TRY(set_seq(fd, TCP_RECV_QUEUE, block.rcv_nxt - fin_received(block) - unread));
  SOCKREPAIR_TRY(set_seq(fd, TCP_SEND_QUEUE, block.snd_una - (block.state == kFinWait2)));
  SOCKREPAIR_TRY(sys::connect(fd.get(), image.peer));
  SOCKREPAIR_TRY(
      sys::setsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_REPAIR_OPTIONS, image.agreed.data(),
                            static_cast<socklen_t>(image.agreed.size() * sizeof(image.agreed[0]))));
  if (image.stock) SOCKREPAIR_TRY(set(fd, TCP_TIMESTAMP, static_cast<int>(image.stock->timestamp)));
  SOCKREPAIR_TRY(sys::setsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_CONGESTION,
                                       image.congestion.data(),
                                       static_cast<socklen_t>(image.congestion.size())));
  SOCKREPAIR_TRY(set_options(fd, SOL_SOCKET, image.socket_options));
  SOCKREPAIR_TRY(set_options(fd, IPPROTO_TCP, image.tcp_options));
  SOCKREPAIR_TRY(fill(fd, TCP_RECV_QUEUE, image.received));
  SOCKREPAIR_TRY(make_room(fd, image.sent.size()));
  SOCKREPAIR_TRY(fill(fd, TCP_SEND_QUEUE, image.sent));
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR_QUEUE, TCP_NO_QUEUE));
  SOCKREPAIR_TRY(set_buffers(fd, image));
  return fd;
}

Result<void> resume(const Fd& fd, const Connection& image) {
  SOCKREPAIR_TRY(leave_repair(fd));
  return send_rest(fd, image);
}

Result<void> resume_with_probe(const Fd& fd, const Connection& image) {
  SOCKREPAIR_TRY(set(fd, TCP_REPAIR, TCP_REPAIR_OFF));
  return send_rest(fd, image);
}

Result<StockState> read_stock_state(const Fd& fd) {
  StockState state;
  SOCKREPAIR_TRY_ASSIGN(state.timestamp,
                        sys::getsockopt<std::uint32_t>(fd.get(), IPPROTO_TCP, TCP_TIMESTAMP));
  SOCKREPAIR_TRY_ASSIGN(
      state.window, sys::getsockopt<tcp_repair_window>(fd.get(), IPPROTO_TCP, TCP_REPAIR_WINDOW));
  return state;
}

Result<void> set_stock_window(const Fd& fd, const StockState& state) {
  return sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR_WINDOW, state.window);
}

Result<tcp_repair_cb> look_at(const Fd& fd) {
  SOCKREPAIR_TRY(enter_repair(fd));
  SOCKREPAIR_TRY_ASSIGN(const tcp_repair_cb block, control_block(fd));
  SOCKREPAIR_TRY(leave_repair(fd));
  return block;
}

Result<void> lose_segment(const Fd& fd, std::uint32_t seq) {
  constexpr std::uint32_t kSeqInHeader = 4;
  sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kSeqInHeader),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, seq, 0, 1),
                        BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0xffffffff)};
  const sock_fprog program{static_cast<unsigned short>(std::size(code)), code};
  return sys::setsockopt_bytes(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

Result<Fd> move_here(Fd fd, std::uint32_t flags, std::uint64_t pause_us) {
  SOCKREPAIR_TRY(enter_repair(fd));
  SOCKREPAIR_TRY_ASSIGN(Connection image, read_connection(fd));
  fd.reset();
  SOCKREPAIR_TRY_ASSIGN(fd, make_socket(image));
  image.block.flags = flags;
  image.block.pause = pause_us;
  SOCKREPAIR_TRY(set_control_block(fd, image.block));
  SOCKREPAIR_TRY(resume(fd, image));
  return fd;
}

}  // namespace sockrepair::test

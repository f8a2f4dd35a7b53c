// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_repair_calls.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "borrowed_options.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair::internal {

namespace {

// Room that is left beside the bytes of a queue: more than the largest segment.
constexpr std::size_t kSegmentMax = 512 * 1024;

Result<void> set_tcp(int fd, int name, int value) {
  return sys::setsockopt(fd, SOL_TCP, name, value);
}

Result<std::uint32_t> bytes_in(int fd, unsigned long request) {
  int number = 0;
  SOCKREPAIR_TRY(sys::ioctl(fd, request, &number));
  return static_cast<std::uint32_t>(number);
}

Result<std::size_t> peek(int fd, std::span<std::uint8_t> to) {
  iovec part{to.data(), to.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return sys::recvmsg(fd, message, MSG_PEEK | MSG_DONTWAIT);
}

Error moved(const char* queue, std::size_t wanted, std::size_t got) {
  return Error{EAGAIN, std::string(queue) + ": " + std::to_string(got) + " bytes, not " +
                           std::to_string(wanted) + ", the connection goes on"};
}

bool in(TcpState state, std::initializer_list<TcpState> states) {
  return std::find(states.begin(), states.end(), state) != states.end();
}

bool fin_received(TcpState state) {
  return in(state, {TcpState::kCloseWait, TcpState::kClosing, TcpState::kLastAck});
}

bool fin_written(TcpState state) {
  return in(state,
            {TcpState::kFinWait1, TcpState::kFinWait2, TcpState::kClosing, TcpState::kLastAck});
}

// Sends until everything is in the queue; `grow` is called when there is no room.
template <typename Function>
Result<void> send_all(int fd, std::span<const std::uint8_t> bytes, Function grow) {
  while (!bytes.empty()) {
    iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    Result<std::size_t> sent = sys::sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent) {
      bytes = bytes.subspan(*sent);
      continue;
    }
    SOCKREPAIR_TRY(grow(sent.error()));
  }
  return {};
}

// A buffer that is larger for a while.
class LargerBuffer {
 public:
  LargerBuffer(int fd, int name, int force) : fd_(fd), name_(name), force_(force) {}
  LargerBuffer(const LargerBuffer&) = delete;
  LargerBuffer& operator=(const LargerBuffer&) = delete;
  ~LargerBuffer() { (void)put_back(); }

  // Makes room for `bytes` in any number of segments. `error`, if that was done before.
  Result<void> grow(std::size_t bytes, const Error& error) {
    if (grown_ || (error.code != EAGAIN && error.code != ENOMEM)) return error;
    SOCKREPAIR_TRY_ASSIGN(old_, sys::getsockopt<int>(fd_, SOL_SOCKET, name_));
    Result<int> locked = sys::getsockopt<int>(fd_, SOL_SOCKET, SO_BUF_LOCK);
    lock_ = locked ? *locked : 0;
    const std::size_t room = std::min<std::size_t>(4 * bytes + kSegmentMax, INT32_MAX / 2);
    Result<void> forced = sys::setsockopt(fd_, SOL_SOCKET, force_, static_cast<int>(room));
    if (!forced) return Error{error.code, error.what + "; " + forced.error().describe()};
    grown_ = true;
    return {};
  }

  Result<void> put_back() {
    if (!std::exchange(grown_, false)) return {};
    SOCKREPAIR_TRY(sys::setsockopt(fd_, SOL_SOCKET, force_, old_ / 2));
    Result<void> unlocked = sys::setsockopt(fd_, SOL_SOCKET, SO_BUF_LOCK, lock_);
    // Older kernels have no way to take the lock back.
    if (!unlocked && unlocked.error().code != ENOPROTOOPT) return unlocked;
    return {};
  }

 private:
  int fd_;
  int name_;
  int force_;
  int old_ = 0;
  int lock_ = 0;
  bool grown_ = false;
};

}  // namespace

Result<void> enter_repair(int fd) {
  Result<void> on = set_tcp(fd, TCP_REPAIR, TCP_REPAIR_ON);
  if (!on && on.error().code == EPERM)
    return Error{EPERM, "TCP_REPAIR: needs CAP_NET_ADMIN in the network namespace of the socket"};
  return on;
}

Result<void> leave_repair(int fd, bool window_probe) {
  if (window_probe) return set_tcp(fd, TCP_REPAIR, TCP_REPAIR_OFF);
  Result<void> off = set_tcp(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
  if (!off && off.error().code == EINVAL) return set_tcp(fd, TCP_REPAIR, TCP_REPAIR_OFF);
  return off;
}

bool kernel_has_control_block(int fd) {
  enum : int { kUnknown, kYes, kNo };
  static std::atomic<int> answer{kUnknown};
  int known = answer.load(std::memory_order_relaxed);
  if (known == kUnknown) {
    tcp_repair_cb unused;
    Result<socklen_t> read =
        sys::getsockopt_bytes(fd, SOL_TCP, TCP_REPAIR_CB, &unused, sizeof(unused));
    known = read || read.error().code != ENOPROTOOPT ? kYes : kNo;
    answer.store(known, std::memory_order_relaxed);
  }
  return known == kYes;
}

Result<void> select_queue(int fd, int queue) {
  return set_tcp(fd, TCP_REPAIR_QUEUE, queue);
}

Result<std::uint32_t> read_sequence(int fd) {
  return sys::getsockopt<std::uint32_t>(fd, SOL_TCP, TCP_QUEUE_SEQ);
}

Result<void> write_sequence(int fd, std::uint32_t sequence) {
  return set_tcp(fd, TCP_QUEUE_SEQ, static_cast<int>(sequence));
}

std::uint32_t TcpExtent::receive_end() const {
  return rcv_nxt - (fin_received(state) ? 1 : 0);
}

std::uint32_t TcpExtent::send_end() const {
  return write_seq - (fin_written(state) ? 1 : 0);
}

std::uint32_t TcpExtent::received() const {
  // The FIN has been read, too.
  return copied_seq == rcv_nxt ? 0 : receive_end() - copied_seq;
}

std::uint32_t TcpExtent::queued() const {
  // The FIN has been acknowledged, too.
  return snd_una == write_seq ? 0 : send_end() - snd_una;
}

std::uint32_t TcpExtent::unsent() const {
  return snd_nxt == write_seq ? 0 : send_end() - snd_nxt;
}

bool TcpExtent::fin_unsent() const {
  return fin_written(state) && snd_nxt != write_seq;
}

TcpExtent extent_of(const tcp_repair_cb& control_block) {
  return {.state = static_cast<TcpState>(control_block.state),
          .copied_seq = control_block.copied_seq,
          .rcv_nxt = control_block.rcv_nxt,
          .snd_una = control_block.snd_una,
          .snd_nxt = control_block.snd_nxt,
          .write_seq = control_block.write_seq};
}

Result<TcpExtent> read_extent(int fd) {
  TcpExtent extent;
  extent.state = TcpState::kEstablished;
  SOCKREPAIR_TRY(select_queue(fd, TCP_RECV_QUEUE));
  SOCKREPAIR_TRY_ASSIGN(extent.rcv_nxt, read_sequence(fd));
  SOCKREPAIR_TRY(select_queue(fd, TCP_SEND_QUEUE));
  SOCKREPAIR_TRY_ASSIGN(extent.write_seq, read_sequence(fd));
  // Otherwise what is behind an urgent mark is not counted.
  BorrowedOptions borrowed(fd);
  SOCKREPAIR_TRY(borrowed.set(SOL_SOCKET, SO_OOBINLINE, 1));
  SOCKREPAIR_TRY_ASSIGN(std::uint32_t received, bytes_in(fd, SIOCINQ));
  SOCKREPAIR_TRY(borrowed.put_back());
  SOCKREPAIR_TRY_ASSIGN(std::uint32_t queued, bytes_in(fd, SIOCOUTQ));
  SOCKREPAIR_TRY_ASSIGN(std::uint32_t unsent, bytes_in(fd, SIOCOUTQNSD));
  extent.copied_seq = extent.rcv_nxt - received;
  extent.snd_una = extent.write_seq - queued;
  extent.snd_nxt = extent.write_seq - unsent;
  return extent;
}

Result<tcp_repair_cb> read_control_block(int fd) {
  return sys::getsockopt<tcp_repair_cb>(fd, SOL_TCP, TCP_REPAIR_CB);
}

Result<Bytes> peek_send_queue(int fd, std::size_t length) {
  SOCKREPAIR_TRY(select_queue(fd, TCP_SEND_QUEUE));
  Bytes bytes(length);
  SOCKREPAIR_TRY_ASSIGN(std::size_t got, peek(fd, bytes));
  // The first segment has been acknowledged in part, and is still there as a whole: the kernel
  // gives as many bytes as there is room for, and tells the number of all.
  if (got > bytes.size()) {
    bytes.resize(got);
    SOCKREPAIR_TRY_ASSIGN(got, peek(fd, bytes));
  }
  if (got < length || got != bytes.size()) return moved("send_queue", length, got);
  if (got == length) return bytes;
  return Bytes(bytes.end() - static_cast<std::ptrdiff_t>(length), bytes.end());
}

Result<PeekedQueue> peek_receive_queue(int fd, std::size_t length, int peek_offset) {
  SOCKREPAIR_TRY(select_queue(fd, TCP_RECV_QUEUE));
  BorrowedOptions borrowed(fd);
  if (peek_offset >= 0) SOCKREPAIR_TRY(borrowed.set(SOL_SOCKET, SO_PEEK_OFF, -1));
  PeekedQueue queue;
  queue.bytes.resize(length);
  Result<std::size_t> got = peek(fd, queue.bytes);
  if (!got && got.error().code != EAGAIN) return got.error();
  const std::size_t first = got ? *got : 0;
  if (first == length) {
    SOCKREPAIR_TRY(borrowed.put_back());
    return queue;
  }

  // Reading stops at the mark, or leaves the urgent byte out; in line it goes on.
  queue.has_mark = true;
  SOCKREPAIR_TRY(borrowed.set(SOL_SOCKET, SO_OOBINLINE, 1));
  Result<std::size_t> whole = peek(fd, queue.bytes);
  if (!whole && whole.error().code != EAGAIN) return whole.error();
  std::size_t so_far = whole ? *whole : 0;
  if (so_far < length) {
    Result<void> skipped = borrowed.set(SOL_SOCKET, SO_PEEK_OFF, static_cast<int>(so_far));
    if (!skipped) {
      return Error{EOPNOTSUPP, "receive_queue: reading stops at the urgent mark, byte " +
                                   std::to_string(so_far) + " of " + std::to_string(length) +
                                   ", to go on takes SO_PEEK_OFF of TCP (Linux 6.9)"};
    }
    Result<std::size_t> rest = peek(fd, std::span(queue.bytes).subspan(so_far));
    if (!rest && rest.error().code != EAGAIN) return rest.error();
    so_far += rest ? *rest : 0;
  }
  if (so_far != length) return moved("receive_queue", length, so_far);
  SOCKREPAIR_TRY(borrowed.put_back());
  return queue;
}

Result<void> fill_receive_queue(int fd, std::span<const std::uint8_t> bytes) {
  LargerBuffer buffer(fd, SO_RCVBUF, SO_RCVBUFFORCE);
  SOCKREPAIR_TRY(
      send_all(fd, bytes, [&](const Error& error) { return buffer.grow(bytes.size(), error); }));
  return buffer.put_back();
}

Result<void> fill_send_queue(int fd, std::span<const std::uint8_t> bytes) {
  LargerBuffer buffer(fd, SO_SNDBUF, SO_SNDBUFFORCE);
  SOCKREPAIR_TRY(
      send_all(fd, bytes, [&](const Error& error) { return buffer.grow(bytes.size(), error); }));
  return buffer.put_back();
}

}  // namespace sockrepair::internal

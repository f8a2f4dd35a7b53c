// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_restore/stream.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

constexpr std::size_t kChunk = 1 << 17;
constexpr std::size_t kPiece = 1 << 15;

// Knuth's multiplier: neighbours differ, and the pattern does not repeat within 2^32 bytes.
char byte_at(std::uint64_t position) {
  return static_cast<char>(position * 2654435761U >> 24);
}

Result<tcp_info> info_of(const Fd& fd) {
  return sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO);
}

// The number of bytes, or 0 if there is no room for any, or none has come.
Result<std::size_t> without_waiting(const char* call, ssize_t result) {
  if (result >= 0) return static_cast<std::size_t>(result);
  if (errno == EAGAIN) return std::size_t{0};
  return Error{errno, call};
}

// What a sender did since then.
Result<Transfer> since(const tcp_info& before, std::chrono::steady_clock::time_point start,
                       const Fd& from) {
  SOCKREPAIR_TRY_ASSIGN(const tcp_info after, info_of(from));
  return Transfer{after.tcpi_data_segs_out - before.tcpi_data_segs_out,
                  after.tcpi_total_retrans - before.tcpi_total_retrans,
                  std::chrono::duration_cast<std::chrono::milliseconds>(
                      std::chrono::steady_clock::now() - start)};
}

}  // namespace

Result<void> Stream::send(const Fd& from, std::size_t length) {
  std::vector<char> data(length);
  for (std::size_t i = 0; i < length; ++i) data[i] = byte_at(sent_ + i);
  SOCKREPAIR_TRY_ASSIGN(std::size_t taken, without_waiting("send()", ::send(from.get(), data.data(),
                                                                            length, MSG_DONTWAIT)));
  sent_ += taken;
  if (taken != length) return Error{ENOBUFS, "send() of " + std::to_string(length) + " bytes"};
  return {};
}

Result<void> Stream::bring_over(const Fd& from, const Fd& to, std::uint64_t end,
                                Deadline deadline) {
  std::vector<char> buffer(kChunk);
  while (received_ != end) {
    std::array<pollfd, 2> waiting = {{{to.get(), POLLIN, 0}, {from.get(), POLLOUT, 0}}};
    if (sent_ == end) waiting[1].events = 0;
    if (::poll(waiting.data(), waiting.size(), deadline.poll_timeout_ms()) < 0)
      return Error{errno, "poll()"};
    if (deadline.passed()) {
      return Error{ETIMEDOUT, "transfer: " + std::to_string(received_) + " bytes of " +
                                  std::to_string(end) + " have arrived"};
    }
    const std::size_t next = std::min<std::uint64_t>(end - sent_, kChunk);
    for (std::size_t i = 0; i < next; ++i) buffer[i] = byte_at(sent_ + i);
    if (next > 0) {
      SOCKREPAIR_TRY_ASSIGN(
          std::size_t taken,
          without_waiting("send()", ::send(from.get(), buffer.data(), next, MSG_DONTWAIT)));
      sent_ += taken;
    }
    const ssize_t result = ::recv(to.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (result == 0) return Error{EPIPE, "the sender has closed the connection"};
    SOCKREPAIR_TRY_ASSIGN(std::size_t got, without_waiting("recv()", result));
    for (std::size_t i = 0; i < got; ++i) {
      if (buffer[i] != byte_at(received_ + i))
        return Error{EBADMSG, "byte " + std::to_string(received_ + i) + " of the stream"};
    }
    received_ += got;
  }
  return {};
}

Result<Transfer> Stream::transfer(const Fd& from, const Fd& to, std::size_t length) {
  const auto start = std::chrono::steady_clock::now();
  SOCKREPAIR_TRY_ASSIGN(const tcp_info before, info_of(from));
  SOCKREPAIR_TRY(bring_over(from, to, sent_ + length, Deadline::after(kPatience)));
  return since(before, start, from);
}

Result<Transfer> Stream::transfer_in_pieces(const Fd& from, const Fd& to, std::size_t length) {
  const Deadline deadline = Deadline::after(kPatience);
  const auto start = std::chrono::steady_clock::now();
  SOCKREPAIR_TRY_ASSIGN(const tcp_info before, info_of(from));
  for (std::size_t left = length; left > 0;) {
    const std::size_t piece = std::min(left, kPiece);
    SOCKREPAIR_TRY(bring_over(from, to, sent_ + piece, deadline));
    left -= piece;
  }
  return since(before, start, from);
}

}  // namespace sockrepair::test

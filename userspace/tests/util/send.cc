// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/send.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "try.h"

namespace sockrepair::test {

namespace {

Result<std::size_t> send_message(const Fd& fd, const Send& what) {
  sockrepair::internal::ControlMessages control = what.control;
  iovec part{const_cast<std::uint8_t*>(what.payload.data()), what.payload.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  control.attach(message);
  SocketAddress to;
  if (what.to) {
    SOCKREPAIR_TRY_ASSIGN(int domain, sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_DOMAIN));
    to = SocketAddress(*what.to, domain);
    message.msg_name = to.mutable_get();
    message.msg_namelen = to.size();
  }
  int flags = what.flags | (what.more ? MSG_MORE : 0) |
              (what.transfer == Transfer::kZerocopy ? MSG_ZEROCOPY : 0);
  return sys::sendmsg(fd.get(), message, flags);
}

Result<std::size_t> splice_through_pipe(const Fd& fd, const Send& what) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Error{errno, "pipe2()"};
  Fd reader(ends[0]);
  Fd writer(ends[1]);
  if (::fcntl(writer.get(), F_SETPIPE_SZ, 1 << 18) < 0) return Error{errno, "F_SETPIPE_SZ"};
  ssize_t written = ::write(writer.get(), what.payload.data(), what.payload.size());
  if (written != static_cast<ssize_t>(what.payload.size()))
    return Error{written < 0 ? errno : EPROTO, "write(pipe)"};
  ssize_t spliced = ::splice(reader.get(), nullptr, fd.get(), nullptr, what.payload.size(),
                             what.more ? SPLICE_F_MORE : 0);
  if (spliced < 0) return Error{errno, "splice(" + std::to_string(what.payload.size()) + " bytes)"};
  return static_cast<std::size_t>(spliced);
}

}  // namespace

Result<void> send(const Fd& fd, const Send& what) {
  bool spliced = what.transfer == Transfer::kSpliced && !what.payload.empty();
  SOCKREPAIR_TRY_ASSIGN(std::size_t sent,
                        spliced ? splice_through_pipe(fd, what) : send_message(fd, what));
  if (sent != what.payload.size()) {
    return Error{EPROTO, "sent " + std::to_string(sent) + " of " +
                             std::to_string(what.payload.size()) + " bytes"};
  }
  return {};
}

Result<void> SocketOption::set(const Fd& fd) const {
  return sys::setsockopt_bytes(fd.get(), level, name, value.data(),
                               static_cast<socklen_t>(value.size()));
}

Result<std::vector<std::uint8_t>> SocketOption::get(const Fd& fd) const {
  std::vector<std::uint8_t> bytes(4096);
  SOCKREPAIR_TRY_ASSIGN(socklen_t length,
                        sys::getsockopt_bytes(fd.get(), level, name, bytes.data(),
                                              static_cast<socklen_t>(bytes.size())));
  bytes.resize(length);
  return bytes;
}

Result<void> set_all(const Fd& fd, std::span<const SocketOption> options) {
  for (const SocketOption& option : options) SOCKREPAIR_TRY(option.set(fd));
  return {};
}

std::vector<std::uint8_t> pattern(std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  std::uint32_t state = 1;
  for (std::uint8_t& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::uint8_t>(state >> 24);
  }
  return bytes;
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/error_queue.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
// After the system's: it needs struct timespec.
#include <linux/errqueue.h>

#include <span>

#include "control_messages.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair::test {

namespace {

Result<ErrorMessage> read_error(const Fd& fd) {
  alignas(cmsghdr) std::uint8_t control[4096];
  std::uint8_t payload[65536];
  iovec part{payload, sizeof(payload)};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  SOCKREPAIR_TRY(sys::recvmsg(fd.get(), header, MSG_ERRQUEUE | MSG_DONTWAIT));

  ErrorMessage message;
  bool found = false;
  sockrepair::internal::for_each_control_message(
      header, [&](const cmsghdr& c, std::span<const std::uint8_t> data) {
        bool is_error = (c.cmsg_level == IPPROTO_IP && c.cmsg_type == IP_RECVERR) ||
                        (c.cmsg_level == IPPROTO_IPV6 && c.cmsg_type == IPV6_RECVERR);
        if (is_error && data.size() >= sizeof(sock_extended_err)) {
          sock_extended_err error{};
          memcpy(&error, data.data(), sizeof(error));
          message.code = static_cast<int>(error.ee_errno);
          message.origin = error.ee_origin;
          message.info = error.ee_info;
          message.data = error.ee_data;
          found = true;
        }
        if (c.cmsg_level == SOL_SOCKET && c.cmsg_type == SCM_TIMESTAMPING)
          message.has_timestamp = true;
      });
  if (!found) return Error{EPROTO, "a message of the error queue without its error"};
  return message;
}

}  // namespace

void PrintTo(const ErrorMessage& message, std::ostream* out) {
  *out << "errno " << message.code << ", origin " << message.origin << ", info " << message.info
       << ", data " << message.data << (message.has_timestamp ? ", with a time stamp" : "");
}

Result<ErrorMessage> next_error(const Fd& fd, Deadline deadline) {
  // POLLERR needs no asking for, and may be there for something else: the queue decides.
  Result<ErrorMessage> message = Error{EAGAIN, "no message yet"};
  SOCKREPAIR_TRY(wait_until("the error queue has a message", deadline, [&] {
    message = read_error(fd);
    return message.ok() || message.error().code != EAGAIN;
  }));
  return message;
}

Result<std::vector<ErrorMessage>> drain_errors(const Fd& fd) {
  std::vector<ErrorMessage> messages;
  for (;;) {
    Result<ErrorMessage> next = read_error(fd);
    if (!next && next.error().code == EAGAIN) return messages;
    if (!next) return next.error();
    messages.push_back(*next);
  }
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/handed_over.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::test {

Result<Fd> listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_UNIX, SOCK_STREAM, 0));
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(fd.get(), 1) != 0)
    return Error{errno, "listening at " + path};
  return fd;
}

Result<Message> receive_message(const Fd& connection) {
  char text[256];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec part{text, sizeof(text)};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  SOCKREPAIR_TRY_ASSIGN(std::size_t size,
                        sys::recvmsg(connection.get(), message, MSG_CMSG_CLOEXEC));
  Message got{std::string(text, size), Fd()};
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message)) {
    int number = -1;
    memcpy(&number, CMSG_DATA(header), sizeof(number));
    got.descriptor = Fd(number);
  }
  return got;
}

}  // namespace sockrepair::test

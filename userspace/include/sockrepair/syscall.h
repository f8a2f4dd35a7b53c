// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_SYSCALL_H_
#define SOCKREPAIR_SYSCALL_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <string>
#include <type_traits>

#include "sockrepair/address.h"
#include "sockrepair/export.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// System calls that return Result instead of -1 and errno: the error holds the errno of exactly
// that call, and the call with its arguments in words. Descriptors come back as Fd with CLOEXEC.
// EINTR is returned like any other error. Thread-safe as the system calls are.
//
//   Result<Fd> fd = sys::socket(AF_INET, SOCK_DGRAM, 0);
//   Result<void> set = sys::setsockopt(fd->get(), SOL_SOCKET, SO_MARK, 7);
//   set.error().describe();  // "setsockopt(3, SOL_SOCKET, SO_MARK, 7): EPERM (Operation ...)"
namespace SOCKREPAIR_EXPORT sockrepair {
namespace sys {

// SOCK_CLOEXEC is added to `type`.
Result<Fd> socket(int domain, int type, int protocol);
Result<void> bind(int fd, const SocketAddress& address);
Result<void> listen(int fd, int backlog);
Result<void> connect(int fd, const SocketAddress& address);
Result<SocketAddress> getsockname(int fd);
Result<SocketAddress> getpeername(int fd);
// `how` is SHUT_RD, SHUT_WR or SHUT_RDWR.
Result<void> shutdown(int fd, int how);

// The bytes sent or received. `message` must be valid until the call returns.
Result<std::size_t> sendmsg(int fd, const msghdr& message, int flags);
Result<std::size_t> recvmsg(int fd, msghdr& message, int flags);

// `length` bytes at `value`.
Result<void> setsockopt_bytes(int fd, int level, int name, const void* value, socklen_t length);
// At most `length` bytes to `value`; the number that the kernel says it wrote.
Result<socklen_t> getsockopt_bytes(int fd, int level, int name, void* value, socklen_t length);

Result<void> ioctl(int fd, unsigned long request, void* argument);

// "SOL_UDP, UDP_CORK", for messages; numbers where no name is known.
std::string option_name(int level, int name);

// An option whose value is a T. Integers appear with their value in the error.
template <typename T>
Result<void> setsockopt(int fd, int level, int name, const T& value);
// EPROTO when the kernel's value is not as long as T.
template <typename T>
Result<T> getsockopt(int fd, int level, int name);

// Implementation of the templates.

namespace internal {
Result<void> setsockopt_described(int fd, int level, int name, const void* value, socklen_t length,
                                  const std::string& value_text);
}  // namespace internal

template <typename T>
Result<void> setsockopt(int fd, int level, int name, const T& value) {
  static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
  std::string text = std::to_string(sizeof(value)) + " bytes";
  if constexpr (std::is_integral_v<T>) text = std::to_string(value);
  return internal::setsockopt_described(fd, level, name, &value, sizeof(value), text);
}

template <typename T>
Result<T> getsockopt(int fd, int level, int name) {
  static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
  T value{};
  Result<socklen_t> length = getsockopt_bytes(fd, level, name, &value, sizeof(value));
  if (!length) return length.error();
  if (*length != sizeof(value)) {
    return Error{EPROTO, "getsockopt(" + std::to_string(fd) + ", " + option_name(level, name) +
                             ") gave " + std::to_string(*length) + " bytes, not " +
                             std::to_string(sizeof(value))};
  }
  return value;
}

}  // namespace sys
}  // namespace sockrepair

#endif  // SOCKREPAIR_SYSCALL_H_

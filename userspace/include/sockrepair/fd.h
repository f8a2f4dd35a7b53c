// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_FD_H_
#define SOCKREPAIR_FD_H_

#include "sockrepair/export.h"
#include "sockrepair/result.h"

namespace SOCKREPAIR_EXPORT sockrepair {

// Owner of one file descriptor. Move-only, never an int by itself.
//
//   Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
//   ::getsockname(fd.get(), ...);
//
// Whoever makes the descriptor gives it CLOEXEC; every call in syscall.h does. One object is for
// one thread at a time, as with any value.
class Fd {
 public:
  Fd() = default;
  // Takes ownership of `fd`; a negative number makes an empty Fd.
  explicit Fd(int fd) : fd_(fd < 0 ? -1 : fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  // Closes and ignores what close(2) says; errno is as before.
  ~Fd() { reset(); }

  bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }

  // The number, still owned by this object; -1 when empty.
  int get() const { return fd_; }

  // Gives the number and its ownership away; empty afterwards.
  [[nodiscard]] int release();

  // Closes now; errno is as before. Empty afterwards.
  void reset();

  // Closes now and reports what close(2) said. The descriptor is gone either way.
  Result<void> close();

 private:
  int fd_ = -1;
};

}  // namespace sockrepair

#endif  // SOCKREPAIR_FD_H_

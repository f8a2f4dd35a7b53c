// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_BORROWED_OPTIONS_H_
#define SOCKREPAIR_LIB_BORROWED_OPTIONS_H_

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::internal {

// Socket options that have another value for a while and get the old one back.
//
//   BorrowedOptions borrowed(fd);
//   SOCKREPAIR_TRY(borrowed.set(IPPROTO_IP, IP_RECVTTL, 1));
//   ...
//   SOCKREPAIR_TRY(borrowed.put_back());
class BorrowedOptions {
 public:
  using Bytes = std::vector<std::uint8_t>;

  explicit BorrowedOptions(int fd) : fd_(fd) {}
  BorrowedOptions(BorrowedOptions&& other) noexcept
      : fd_(other.fd_), changed_(std::exchange(other.changed_, {})) {}
  BorrowedOptions(const BorrowedOptions&) = delete;
  BorrowedOptions& operator=(const BorrowedOptions&) = delete;
  ~BorrowedOptions() { (void)put_back(); }

  // An error, of reading the old value or of writing the new one, leaves the option as it was.
  Result<void> set(int level, int name, const Bytes& value) {
    Bytes old(kValueMax);
    SOCKREPAIR_TRY_ASSIGN(
        socklen_t length,
        sys::getsockopt_bytes(fd_, level, name, old.data(), static_cast<socklen_t>(old.size())));
    old.resize(length);
    return set_known(level, name, std::move(old), value);
  }

  // The same of an option whose value, `old`, is known.
  Result<void> set_known(int level, int name, Bytes old, const Bytes& value) {
    if (old == value) return {};
    changed_.push_back({level, name, std::move(old)});
    Result<void> changed = write(level, name, value);
    if (!changed) changed_.pop_back();
    return changed;
  }

  template <typename T>
  requires std::is_integral_v<T> Result<void> set(int level, int name, T value) {
    Bytes bytes(sizeof(value));
    memcpy(bytes.data(), &value, sizeof(value));
    return set(level, name, bytes);
  }

  // All of them, whatever happens on the way; the first error. Nothing is left to do afterwards.
  Result<void> put_back() {
    Result<void> result;
    for (; !changed_.empty(); changed_.pop_back()) {
      const Option& option = changed_.back();
      Result<void> written = write(option.level, option.name, option.value);
      if (result && !written) result = written;
    }
    return result;
  }

 private:
  struct Option {
    int level;
    int name;
    Bytes value;
  };

  // The longest are IPv6 extension headers: at most 256 units of 8 bytes.
  static constexpr std::size_t kValueMax = 2048;

  Result<void> write(int level, int name, const Bytes& value) {
    return sys::setsockopt_bytes(fd_, level, name, value.data(),
                                 static_cast<socklen_t>(value.size()));
  }

  int fd_;
  std::vector<Option> changed_;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_BORROWED_OPTIONS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_RESULT_H_
#define SOCKREPAIR_RESULT_H_

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "sockrepair/error.h"
#include "sockrepair/export.h"

namespace SOCKREPAIR_EXPORT sockrepair {

namespace internal {
// Prints the error to stderr and aborts: somebody took the value of a failed call.
[[noreturn]] void die_of_error(const Error& error);
}  // namespace internal

// What a call returns that can fail: a value or an Error.
//
//   Result<Fd> fd = sys::socket(AF_INET, SOCK_DGRAM, 0);
//   if (!fd) return fd.error();
//   use(*fd);
//
// Taking the value of a failed Result is a bug of the caller and aborts with the error's text;
// taking the error of a successful one aborts too. As thread-safe as T.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  // Both implicit, so that `return value;` and `return Error{...};` do what they say.
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    check();
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    check();
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    check();
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    if (ok()) internal::die_of_error(Error{0, "error() of a Result that holds a value"});
    return *std::get_if<1>(&state_);
  }

 private:
  void check() const {
    if (!ok()) internal::die_of_error(error());
  }

  std::variant<T, Error> state_;
};

// A call that gives nothing but success: `return {};` or `return Error{...};`.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }

  // Aborts with the error's text unless ok().
  void value() const {
    if (!ok()) internal::die_of_error(*error_);
  }

  const Error& error() const {
    if (ok()) internal::die_of_error(Error{0, "error() of a Result that holds no error"});
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

}  // namespace sockrepair

#endif  // SOCKREPAIR_RESULT_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_TRY_H_
#define SOCKREPAIR_LIB_TRY_H_

#include <utility>

// Leave the calling function, which returns some Result, with the error of `expression`.
//
//   SOCKREPAIR_TRY(sys::bind(fd.get(), address));
//   SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd.get()));
#define SOCKREPAIR_TRY(...)                                         \
  do {                                                              \
    if (auto sockrepair_result = (__VA_ARGS__); !sockrepair_result) \
      return sockrepair_result.error();                             \
  } while (false)

#define SOCKREPAIR_TRY_ASSIGN(declaration, ...)                                            \
  SOCKREPAIR_TRY_ASSIGN_AT(SOCKREPAIR_TRY_JOIN(sockrepair_result_, __LINE__), declaration, \
                           __VA_ARGS__)

#define SOCKREPAIR_TRY_ASSIGN_AT(result, declaration, ...) \
  auto result = (__VA_ARGS__);                             \
  if (!result) return result.error();                      \
  declaration = *std::move(result)

#define SOCKREPAIR_TRY_JOIN(a, b) SOCKREPAIR_TRY_JOIN_NOW(a, b)
#define SOCKREPAIR_TRY_JOIN_NOW(a, b) a##b

#endif  // SOCKREPAIR_LIB_TRY_H_

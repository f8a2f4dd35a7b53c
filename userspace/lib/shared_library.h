// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_SHARED_LIBRARY_H_
#define SOCKREPAIR_LIB_SHARED_LIBRARY_H_

#include "sockrepair/result.h"

namespace sockrepair::internal {

// A library that is loaded when it is needed, so that who does not need it need not have it.
//
//   SOCKREPAIR_TRY_ASSIGN(SharedLibrary nft, SharedLibrary::open("libnftables.so.1"));
//   decltype(&::nft_ctx_new) ctx_new = nullptr;
//   SOCKREPAIR_TRY(nft.find("nft_ctx_new", ctx_new));
//
// It is never unloaded: others may have been told about what is in it. Errors are ELIBACC, with
// the name of the library or function that is not there. Thread-safe.
class SharedLibrary {
 public:
  // `name` has to outlive the object.
  static Result<SharedLibrary> open(const char* name);

  template <typename Function>
  Result<void> find(const char* function, Function*& found) const {
    Result<void*> symbol = address_of(function);
    if (!symbol) return symbol.error();
    found = reinterpret_cast<Function*>(*symbol);
    return {};
  }

 private:
  SharedLibrary(const char* name, void* handle) : name_(name), handle_(handle) {}

  Result<void*> address_of(const char* function) const;

  const char* name_;
  void* handle_;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_SHARED_LIBRARY_H_

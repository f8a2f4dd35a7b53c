// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "shared_library.h"

#include <dlfcn.h>
#include <errno.h>

#include <string>

namespace sockrepair::internal {

Result<SharedLibrary> SharedLibrary::open(const char* name) {
  void* handle = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (handle != nullptr) return SharedLibrary(name, handle);
  const char* why = ::dlerror();
  return Error{ELIBACC, std::string("dlopen(") + name + "): " + (why == nullptr ? "" : why)};
}

Result<void*> SharedLibrary::address_of(const char* function) const {
  void* symbol = ::dlsym(handle_, function);
  if (symbol == nullptr) return Error{ELIBACC, std::string(name_) + " has no " + function};
  return symbol;
}

}  // namespace sockrepair::internal

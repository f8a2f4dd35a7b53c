// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "call.h"

#include <errno.h>

#include <exception>
#include <utility>

namespace sockrepair::internal {

namespace {

thread_local Carrier* carrier_of_thread = nullptr;

long plain(const Call& call) {
  auto* address = static_cast<sockaddr*>(call.memory);
  auto* message = static_cast<msghdr*>(call.memory);
  switch (call.kind) {
    case CallKind::kSocket:
      return ::socket(call.fd, call.first, call.second);
    case CallKind::kBind:
      return ::bind(call.fd, address, call.length);
    case CallKind::kListen:
      return ::listen(call.fd, call.first);
    case CallKind::kConnect:
      return ::connect(call.fd, address, call.length);
    case CallKind::kShutdown:
      return ::shutdown(call.fd, call.first);
    case CallKind::kGetsockopt: {
      socklen_t length = call.length;
      const int done = ::getsockopt(call.fd, call.first, call.second, call.memory, &length);
      return done < 0 ? done : static_cast<long>(length);
    }
    case CallKind::kSetsockopt:
      return ::setsockopt(call.fd, call.first, call.second, call.memory, call.length);
    case CallKind::kGetsockname:
      return ::getsockname(call.fd, address, call.size);
    case CallKind::kGetpeername:
      return ::getpeername(call.fd, address, call.size);
    case CallKind::kSendmsg:
      return ::sendmsg(call.fd, message, call.first);
    case CallKind::kRecvmsg:
      return ::recvmsg(call.fd, message, call.first);
  }
  errno = ENOSYS;
  return -1;
}

}  // namespace

long make_here(const Call& call) {
  const long done = plain(call);
  return done < 0 ? -errno : done;
}

long make(const Call& call) {
  Carrier* carrier = carrier_of_thread;
  // What is thrown belongs to the thread: nobody else's turn while something is on its way.
  if (carrier == nullptr || !carrier->takes(call) || std::uncaught_exceptions() != 0)
    return make_here(call);
  return carrier->make(call);
}

CarriedBy::CarriedBy(Carrier* carrier) : before_(std::exchange(carrier_of_thread, carrier)) {}

CarriedBy::~CarriedBy() {
  carrier_of_thread = before_;
}

}  // namespace sockrepair::internal

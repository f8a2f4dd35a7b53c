// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "c_call.h"
#include "c_objects.h"
#include "sockrepair/bridge.h"
#include "sockrepair/feature.h"
#include "sockrepair/sockrepair.h"
#include "sockrepair/udp_socket.h"
#include "try.h"

using sockrepair::Error;
using sockrepair::Result;
using sockrepair::internal::c_call;
using sockrepair::internal::copy_name;
using sockrepair::internal::null_pointer;
using sockrepair::internal::udp_dump_options;
using sockrepair::internal::udp_restore_options;

sockrepair_error::sockrepair_error(const Error& e) : error(e), text(e.describe()) {}

namespace {

const sockrepair_losses::Line* line(const sockrepair_losses* losses, size_t index) {
  if (losses == nullptr || index >= losses->lines.size()) return nullptr;
  return &losses->lines[index];
}

}  // namespace

namespace sockrepair {

namespace internal {

Result<UdpDumpOptions> udp_dump_options(const char* call, unsigned int flags) {
  SOCKREPAIR_TRY(check_flags(call, flags,
                             SOCKREPAIR_DUMP_NO_SEND_QUEUE | SOCKREPAIR_DUMP_NO_RECEIVE_QUEUE |
                                 SOCKREPAIR_DUMP_TAKE_ERRORS));
  UdpDumpOptions options;
  options.send_queue = (flags & SOCKREPAIR_DUMP_NO_SEND_QUEUE) == 0;
  options.receive_queue = (flags & SOCKREPAIR_DUMP_NO_RECEIVE_QUEUE) == 0;
  options.take_errors = (flags & SOCKREPAIR_DUMP_TAKE_ERRORS) != 0;
  return options;
}

Result<UdpRestoreOptions> udp_restore_options(const char* call, unsigned int flags) {
  SOCKREPAIR_TRY(check_flags(call, flags, SOCKREPAIR_RESTORE_LENIENT));
  UdpRestoreOptions options;
  if ((flags & SOCKREPAIR_RESTORE_LENIENT) != 0) options.refusal = Refusal::kReport;
  return options;
}

}  // namespace internal

sockrepair_udp* to_c(UdpSocket socket) noexcept {
  try {
    return new sockrepair_udp(std::move(socket));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

sockrepair_error* to_c(Error error) noexcept {
  try {
    return new sockrepair_error(error);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

const UdpSocket& from_c(const sockrepair_udp& socket) {
  return socket.socket;
}

const Error& from_c(const sockrepair_error& error) {
  return error.error;
}

}  // namespace sockrepair

const char* sockrepair_version(void) {
  return SOCKREPAIR_VERSION;
}

int sockrepair_error_code(const sockrepair_error* error) {
  return error == nullptr ? 0 : error->error.code;
}

const char* sockrepair_error_what(const sockrepair_error* error) {
  return error == nullptr ? "" : error->error.what.c_str();
}

const char* sockrepair_error_text(const sockrepair_error* error) {
  return error == nullptr ? "" : error->text.c_str();
}

void sockrepair_error_free(sockrepair_error* error) {
  delete error;
}

size_t sockrepair_losses_count(const sockrepair_losses* losses) {
  return losses == nullptr ? 0 : losses->lines.size();
}

const char* sockrepair_loss_subject(const sockrepair_losses* losses, size_t index) {
  const sockrepair_losses::Line* found = line(losses, index);
  return found == nullptr ? nullptr : found->subject.c_str();
}

const char* sockrepair_loss_text(const sockrepair_losses* losses, size_t index) {
  const sockrepair_losses::Line* found = line(losses, index);
  return found == nullptr ? nullptr : found->text.c_str();
}

void sockrepair_losses_free(sockrepair_losses* losses) {
  delete losses;
}

size_t sockrepair_features_count(void) {
  return sockrepair::features().size();
}

const char* sockrepair_feature_name(size_t index) {
  return index < sockrepair_features_count() ? sockrepair::features()[index].name : nullptr;
}

const char* sockrepair_feature_cost(size_t index) {
  return index < sockrepair_features_count() ? sockrepair::features()[index].cost : nullptr;
}

int sockrepair_feature_check(const char* name, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (name == nullptr) return null_pointer("sockrepair_feature_check", "name");
    for (const sockrepair::Feature& feature : sockrepair::features())
      if (strcmp(feature.name, name) == 0) return feature.probe();
    return Error{EINVAL, std::string("sockrepair_feature_check: no feature '") + name + "'"};
  });
}

int sockrepair_udp_dump(int fd, unsigned int flags, sockrepair_udp** socket,
                        sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (socket == nullptr) return null_pointer("sockrepair_udp_dump", "socket");
    *socket = nullptr;
    SOCKREPAIR_TRY_ASSIGN(sockrepair::UdpDumpOptions options,
                          udp_dump_options("sockrepair_udp_dump", flags));
    SOCKREPAIR_TRY_ASSIGN(sockrepair::UdpSocket value, sockrepair::dump_udp_socket(fd, options));
    *socket = new sockrepair_udp(std::move(value));
    return {};
  });
}

int sockrepair_udp_restore(const sockrepair_udp* socket, unsigned int flags, int* fd,
                           sockrepair_losses** losses, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (losses != nullptr) *losses = nullptr;
    if (socket == nullptr) return null_pointer("sockrepair_udp_restore", "socket");
    if (fd == nullptr) return null_pointer("sockrepair_udp_restore", "fd");
    *fd = -1;
    SOCKREPAIR_TRY_ASSIGN(sockrepair::UdpRestoreOptions options,
                          udp_restore_options("sockrepair_udp_restore", flags));
    SOCKREPAIR_TRY_ASSIGN(sockrepair::RestoredSocket restored,
                          sockrepair::restore_udp_socket(socket->socket, options));
    if (losses != nullptr) *losses = new sockrepair_losses(restored.losses);
    *fd = restored.fd.release();
    return {};
  });
}

int sockrepair_udp_domain(const sockrepair_udp* socket) {
  return socket == nullptr ? 0 : socket->socket.domain;
}

int sockrepair_udp_local(const sockrepair_udp* socket, sockaddr* address, socklen_t* size) {
  if (socket == nullptr) return EINVAL;
  return copy_name(socket->socket.domain, socket->socket.local, address, size);
}

int sockrepair_udp_peer(const sockrepair_udp* socket, sockaddr* address, socklen_t* size) {
  if (socket == nullptr) return EINVAL;
  return copy_name(socket->socket.domain, socket->socket.peer, address, size);
}

size_t sockrepair_udp_received(const sockrepair_udp* socket) {
  return socket == nullptr ? 0 : socket->socket.receive_queue.datagrams.size();
}

int sockrepair_udp_unsent(const sockrepair_udp* socket, size_t* bytes) {
  bool there = socket != nullptr && socket->socket.send_queue.has_value();
  if (bytes != nullptr) *bytes = there ? socket->socket.send_queue->payload.size() : 0;
  return there ? 1 : 0;
}

const sockrepair_losses* sockrepair_udp_losses(const sockrepair_udp* socket) {
  return socket == nullptr ? nullptr : &socket->losses;
}

char* sockrepair_udp_describe(const sockrepair_udp* socket) {
  if (socket == nullptr) return nullptr;
  try {
    return strdup(socket->socket.describe().c_str());
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void sockrepair_udp_free(sockrepair_udp* socket) {
  delete socket;
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "c_call.h"
#include "c_objects.h"
#include "sockrepair/bridge.h"
#include "sockrepair/connection_lock.h"
#include "sockrepair/sockrepair.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_detached.h"
#include "sockrepair/tcp_socket.h"
#include "try.h"
#include "whole_socket.h"

using sockrepair::ConnectionLock;
using sockrepair::DetachedConnection;
using sockrepair::Endpoint;
using sockrepair::Error;
using sockrepair::Fd;
using sockrepair::FourTuple;
using sockrepair::Refusal;
using sockrepair::Result;
using sockrepair::SocketAddress;
using sockrepair::TcpCongestion;
using sockrepair::TcpSurvey;
using sockrepair::internal::c_call;
using sockrepair::internal::copy_name;
using sockrepair::internal::copy_options;
using sockrepair::internal::null_pointer;
using sockrepair::internal::store;
using sockrepair::internal::tcp_dump_options;
using sockrepair::internal::tcp_restore_options;
using sockrepair::internal::TcpSourceRest;

struct sockrepair_survey {
  TcpSurvey survey;
};

struct sockrepair_lock {
  ConnectionLock lock;
};

struct sockrepair_detached {
  struct Line {
    DetachedConnection connection;
    std::string text;
  };

  std::vector<Line> lines;
};

namespace {

// A flag of C and what it is in C++.
template <typename Options, typename Value>
struct Flag {
  unsigned int flag;
  Value Options::*member;
  Value value;
};

// `rows` are all that there are.
template <typename Options, typename Value, std::size_t Count>
unsigned int apply_flags(Options* options, unsigned int flags,
                         const Flag<Options, Value> (&rows)[Count]) {
  unsigned int known = 0;
  for (const Flag<Options, Value>& row : rows) {
    if ((flags & row.flag) != 0) options->*row.member = row.value;
    known |= row.flag;
  }
  return known;
}

using sockrepair::TcpDumpOptions;
constexpr Flag<TcpDumpOptions, bool> kDumpFlags[] = {
    {SOCKREPAIR_TCP_DUMP_LEAVE_IN_REPAIR, &TcpDumpOptions::leave_in_repair, true},
    {SOCKREPAIR_TCP_DUMP_TAKE_ERRORS, &TcpDumpOptions::take_errors, true},
    {SOCKREPAIR_TCP_DUMP_NO_CONTROL_BLOCK, &TcpDumpOptions::control_block, false},
};
constexpr Flag<TcpDumpOptions, Refusal> kDumpRefusals[] = {
    {SOCKREPAIR_TCP_DUMP_DROP_WAITING, &TcpDumpOptions::accept_queue, Refusal::kReport},
};

using sockrepair::TcpRestoreOptions;
constexpr Flag<TcpRestoreOptions, bool> kRestoreFlags[] = {
    {SOCKREPAIR_TCP_RESTORE_COUNT_PAUSE, &TcpRestoreOptions::count_pause, true},
    {SOCKREPAIR_TCP_RESTORE_NO_CONTROL_BLOCK, &TcpRestoreOptions::control_block, false},
    {SOCKREPAIR_TCP_RESTORE_SEGMENTS_DROPPED, &TcpRestoreOptions::segments_dropped, true},
    {SOCKREPAIR_TCP_RESTORE_KEEP_REPAIR, &TcpRestoreOptions::keep_repair, true},
    {SOCKREPAIR_TCP_RESTORE_NO_WINDOW_PROBE, &TcpRestoreOptions::window_probe, false},
};
constexpr Flag<TcpRestoreOptions, Refusal> kRestoreRefusals[] = {
    {SOCKREPAIR_TCP_RESTORE_LENIENT, &TcpRestoreOptions::refusal, Refusal::kReport},
};

constexpr TcpCongestion kCongestions[] = {TcpCongestion::kCapped, TcpCongestion::kWhole,
                                          TcpCongestion::kSkip};
static_assert(static_cast<unsigned>(TcpCongestion::kCapped) == SOCKREPAIR_TCP_CONGESTION_CAPPED);
static_assert(static_cast<unsigned>(TcpCongestion::kWhole) == SOCKREPAIR_TCP_CONGESTION_WHOLE);
static_assert(static_cast<unsigned>(TcpCongestion::kSkip) == SOCKREPAIR_TCP_CONGESTION_SKIP);

Error wrong(const char* call, const std::string& what) {
  return Error{EINVAL, std::string(call) + ": " + what};
}

// `what` names it in an error.
Result<Endpoint> endpoint_of(const char* call, const std::string& what,
                             const sockaddr_storage& storage) {
  SocketAddress address;
  memcpy(address.mutable_get(), &storage, sizeof(storage));
  Result<Endpoint> endpoint = address.endpoint();
  if (endpoint) return endpoint;
  return wrong(call, what + ", family: " + std::to_string(storage.ss_family) +
                         ", must be AF_INET or AF_INET6");
}

Result<sockrepair::IpAddress> address_of(const char* call, const std::string& what,
                                         const sockaddr_storage& storage) {
  SOCKREPAIR_TRY_ASSIGN(Endpoint endpoint, endpoint_of(call, what, storage));
  if (endpoint.port == 0) return endpoint.address;
  return wrong(call, what + ", port: " + std::to_string(endpoint.port) + ", must be 0");
}

int domain_of(const Endpoint& endpoint) {
  return endpoint.address.family() == sockrepair::Family::kIpv4 ? AF_INET : AF_INET6;
}

const sockrepair_detached::Line* line(const sockrepair_detached* list, size_t index) {
  return list == nullptr || index >= list->lines.size() ? nullptr : &list->lines[index];
}

}  // namespace

namespace sockrepair {

namespace internal {

Result<TcpDumpOptions> tcp_dump_options(const char* call,
                                        const sockrepair_tcp_dump_options* given) {
  SOCKREPAIR_TRY_ASSIGN(sockrepair_tcp_dump_options in, copy_options(call, given));
  TcpDumpOptions options;
  const unsigned int known =
      apply_flags(&options, in.flags, kDumpFlags) | apply_flags(&options, in.flags, kDumpRefusals);
  SOCKREPAIR_TRY(check_flags(call, in.flags, known));
  if (in.survey != nullptr) options.survey = &in.survey->survey;
  return options;
}

Result<TcpRestoreOptions> tcp_restore_options(const char* call,
                                              const sockrepair_tcp_restore_options* given) {
  SOCKREPAIR_TRY_ASSIGN(sockrepair_tcp_restore_options in, copy_options(call, given));
  TcpRestoreOptions options;
  const unsigned int known = apply_flags(&options, in.flags, kRestoreFlags) |
                             apply_flags(&options, in.flags, kRestoreRefusals) |
                             SOCKREPAIR_TCP_RESTORE_PAUSE;
  SOCKREPAIR_TRY(check_flags(call, in.flags, known));
  if (in.congestion >= std::size(kCongestions))
    return wrong(call, "options, congestion: " + std::to_string(in.congestion) + ", must be 0 to " +
                           std::to_string(std::size(kCongestions) - 1));
  options.congestion = kCongestions[in.congestion];
  SOCKREPAIR_TRY_ASSIGN(options.pause,
                        pause_of(call, (in.flags & SOCKREPAIR_TCP_RESTORE_PAUSE) != 0,
                                 "SOCKREPAIR_TCP_RESTORE_PAUSE", in.pause_us));
  SOCKREPAIR_TRY_ASSIGN(options.rewrites, address_rewrites(call, in.rewrites, in.rewrites_count));
  return options;
}

Result<std::vector<AddressRewrite>> address_rewrites(const char* call,
                                                     const sockrepair_rewrite* rewrites,
                                                     std::size_t count) {
  if (rewrites == nullptr && count != 0) return null_pointer(call, "options, rewrites");
  std::vector<AddressRewrite> all(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string what = "options, rewrites " + std::to_string(i);
    SOCKREPAIR_TRY_ASSIGN(all[i].from, address_of(call, what + ", from", rewrites[i].from));
    SOCKREPAIR_TRY_ASSIGN(all[i].to, address_of(call, what + ", to", rewrites[i].to));
  }
  return all;
}

}  // namespace internal

sockrepair_tcp* to_c(TcpSocket socket) noexcept {
  try {
    return new sockrepair_tcp(std::move(socket));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

const TcpSocket& from_c(const sockrepair_tcp& socket) {
  return socket.socket;
}

}  // namespace sockrepair

int sockrepair_tcp_dump(int fd, const struct sockrepair_tcp_dump_options* options,
                        sockrepair_tcp** socket, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (socket == nullptr) return null_pointer("sockrepair_tcp_dump", "socket");
    *socket = nullptr;
    SOCKREPAIR_TRY_ASSIGN(TcpDumpOptions how, tcp_dump_options("sockrepair_tcp_dump", options));
    SOCKREPAIR_TRY_ASSIGN(sockrepair::TcpSocket value, sockrepair::dump_tcp_socket(fd, how));
    const bool in_repair = how.leave_in_repair && sockrepair::is_connected(value.state);
    const TcpSourceRest source = sockrepair::internal::rest_of_source(fd, value);
    try {
      *socket = new sockrepair_tcp(std::move(value));
    } catch (const std::bad_alloc&) {
      if (in_repair) (void)sockrepair::internal::resume_source(source);
      throw;
    }
    return {};
  });
}

int sockrepair_tcp_resume_source(int fd, const sockrepair_tcp* socket, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (socket == nullptr) return null_pointer("sockrepair_tcp_resume_source", "socket");
    return sockrepair::resume_tcp_source(fd, socket->socket);
  });
}

int sockrepair_tcp_restore(const sockrepair_tcp* socket,
                           const struct sockrepair_tcp_restore_options* options, int* fd,
                           sockrepair_losses** losses, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (losses != nullptr) *losses = nullptr;
    if (fd != nullptr) *fd = -1;
    if (socket == nullptr) return null_pointer("sockrepair_tcp_restore", "socket");
    if (fd == nullptr) return null_pointer("sockrepair_tcp_restore", "fd");
    SOCKREPAIR_TRY_ASSIGN(TcpRestoreOptions how,
                          tcp_restore_options("sockrepair_tcp_restore", options));
    SOCKREPAIR_TRY_ASSIGN(sockrepair::RestoredTcpSocket restored,
                          sockrepair::restore_tcp_socket(socket->socket, how));
    try {
      if (losses != nullptr) *losses = new sockrepair_losses(restored.losses);
    } catch (const std::bad_alloc&) {
      sockrepair::close_silently(std::move(restored.fd));
      throw;
    }
    *fd = restored.fd.release();
    return {};
  });
}

int sockrepair_tcp_resume(int fd, const sockrepair_tcp* socket,
                          const struct sockrepair_tcp_restore_options* options,
                          sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (socket == nullptr) return null_pointer("sockrepair_tcp_resume", "socket");
    SOCKREPAIR_TRY_ASSIGN(TcpRestoreOptions how,
                          tcp_restore_options("sockrepair_tcp_resume", options));
    return sockrepair::resume_tcp_socket(fd, socket->socket, how);
  });
}

void sockrepair_tcp_close_silently(int fd) {
  if (fd >= 0) sockrepair::close_silently(Fd(fd));
}

int sockrepair_tcp_without_connection(const sockrepair_tcp* socket, sockrepair_tcp** closed,
                                      sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    const char* call = "sockrepair_tcp_without_connection";
    if (closed == nullptr) return null_pointer(call, "closed");
    *closed = nullptr;
    if (socket == nullptr) return null_pointer(call, "socket");
    *closed = new sockrepair_tcp(sockrepair::without_connection(socket->socket));
    return {};
  });
}

int sockrepair_tcp_domain(const sockrepair_tcp* socket) {
  return socket == nullptr ? 0 : socket->socket.domain;
}

int sockrepair_tcp_state(const sockrepair_tcp* socket) {
  return socket == nullptr ? 0 : static_cast<int>(socket->socket.state);
}

const char* sockrepair_tcp_state_name(const sockrepair_tcp* socket) {
  return socket == nullptr ? "" : socket->state_name.c_str();
}

int sockrepair_tcp_local(const sockrepair_tcp* socket, sockaddr* address, socklen_t* size) {
  if (socket == nullptr) return EINVAL;
  return copy_name(socket->socket.domain, socket->socket.local, address, size);
}

int sockrepair_tcp_peer(const sockrepair_tcp* socket, sockaddr* address, socklen_t* size) {
  if (socket == nullptr) return EINVAL;
  return copy_name(socket->socket.domain, socket->socket.peer, address, size);
}

size_t sockrepair_tcp_received(const sockrepair_tcp* socket) {
  if (socket == nullptr || !socket->socket.connection) return 0;
  return socket->socket.connection->receive_queue.size();
}

size_t sockrepair_tcp_written(const sockrepair_tcp* socket, size_t* unsent) {
  if (unsent != nullptr) *unsent = 0;
  if (socket == nullptr || !socket->socket.connection) return 0;
  if (unsent != nullptr) *unsent = socket->socket.connection->unsent;
  return socket->socket.connection->send_queue.size();
}

size_t sockrepair_tcp_keys(const sockrepair_tcp* socket) {
  return socket == nullptr || !socket->socket.ao ? 0 : socket->socket.ao->keys.size();
}

const sockrepair_losses* sockrepair_tcp_losses(const sockrepair_tcp* socket) {
  return socket == nullptr ? nullptr : &socket->losses;
}

char* sockrepair_tcp_describe(const sockrepair_tcp* socket) {
  if (socket == nullptr) return nullptr;
  try {
    return strdup(socket->socket.describe().c_str());
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void sockrepair_tcp_free(sockrepair_tcp* socket) {
  delete socket;
}

int sockrepair_survey_take(int fd, sockrepair_survey** survey, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (survey == nullptr) return null_pointer("sockrepair_survey_take", "survey");
    *survey = nullptr;
    SOCKREPAIR_TRY_ASSIGN(TcpSurvey taken, TcpSurvey::take(fd));
    *survey = new sockrepair_survey{std::move(taken)};
    return {};
  });
}

void sockrepair_survey_free(sockrepair_survey* survey) {
  delete survey;
}

int sockrepair_connection_of(int fd, struct sockrepair_connection* connection,
                             sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (connection == nullptr) return null_pointer("sockrepair_connection_of", "connection");
    SOCKREPAIR_TRY_ASSIGN(SocketAddress local, sockrepair::sys::getsockname(fd));
    SOCKREPAIR_TRY_ASSIGN(SocketAddress peer, sockrepair::sys::getpeername(fd));
    store(local, &connection->local);
    store(peer, &connection->peer);
    return {};
  });
}

int sockrepair_lock_create(int socket, sockrepair_lock** lock, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (lock == nullptr) return null_pointer("sockrepair_lock_create", "lock");
    *lock = nullptr;
    SOCKREPAIR_TRY_ASSIGN(ConnectionLock made, ConnectionLock::create({.socket = socket}));
    *lock = new sockrepair_lock{std::move(made)};
    return {};
  });
}

int sockrepair_lock_add(sockrepair_lock* lock, const struct sockrepair_connection* connections,
                        size_t count, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    const char* call = "sockrepair_lock_add";
    if (lock == nullptr) return null_pointer(call, "lock");
    if (connections == nullptr && count != 0) return null_pointer(call, "connections");
    std::vector<FourTuple> tuples(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string what = "connection " + std::to_string(i);
      SOCKREPAIR_TRY_ASSIGN(tuples[i].local,
                            endpoint_of(call, what + ", local", connections[i].local));
      SOCKREPAIR_TRY_ASSIGN(tuples[i].peer,
                            endpoint_of(call, what + ", peer", connections[i].peer));
    }
    return lock->lock.add(tuples);
  });
}

void sockrepair_lock_release(sockrepair_lock* lock) {
  if (lock != nullptr) lock->lock.release();
}

void sockrepair_lock_free(sockrepair_lock* lock) {
  delete lock;
}

int sockrepair_detached_find(sockrepair_detached** list, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (list == nullptr) return null_pointer("sockrepair_detached_find", "list");
    *list = nullptr;
    SOCKREPAIR_TRY_ASSIGN(std::vector<DetachedConnection> found,
                          sockrepair::find_detached_connections());
    std::vector<sockrepair_detached::Line> lines;
    for (DetachedConnection& one : found) {
      std::string text = one.describe();
      lines.push_back({std::move(one), std::move(text)});
    }
    *list = new sockrepair_detached{std::move(lines)};
    return {};
  });
}

size_t sockrepair_detached_count(const sockrepair_detached* list) {
  return list == nullptr ? 0 : list->lines.size();
}

const char* sockrepair_detached_kind(const sockrepair_detached* list, size_t index) {
  const sockrepair_detached::Line* found = line(list, index);
  return found == nullptr ? nullptr : sockrepair::detached_kind_name(found->connection.kind);
}

const char* sockrepair_detached_text(const sockrepair_detached* list, size_t index) {
  const sockrepair_detached::Line* found = line(list, index);
  return found == nullptr ? nullptr : found->text.c_str();
}

int sockrepair_detached_connection(const sockrepair_detached* list, size_t index,
                                   struct sockrepair_connection* connection) {
  const sockrepair_detached::Line* found = line(list, index);
  if (found == nullptr || connection == nullptr) return EINVAL;
  const Endpoint& local = found->connection.local;
  const Endpoint& peer = found->connection.peer;
  store(SocketAddress(local, domain_of(local)), &connection->local);
  store(SocketAddress(peer, domain_of(peer)), &connection->peer);
  return 0;
}

void sockrepair_detached_free(sockrepair_detached* list) {
  delete list;
}

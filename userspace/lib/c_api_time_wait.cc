// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>

#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "c_call.h"
#include "c_objects.h"
#include "sockrepair/bridge.h"
#include "sockrepair/sockrepair.h"
#include "sockrepair/tcp_time_wait.h"
#include "try.h"

using sockrepair::Error;
using sockrepair::PreparedTimeWait;
using sockrepair::Result;
using sockrepair::SocketAddress;
using sockrepair::TcpTimeWait;
using sockrepair::TimeWaitRestoreOptions;
using sockrepair::internal::address_rewrites;
using sockrepair::internal::c_call;
using sockrepair::internal::check_flags;
using sockrepair::internal::copy_options;
using sockrepair::internal::null_pointer;
using sockrepair::internal::pause_of;
using sockrepair::internal::store;

struct sockrepair_time_wait {
  explicit sockrepair_time_wait(std::vector<TcpTimeWait> c) : connections(std::move(c)) {
    for (const TcpTimeWait& one : connections) texts.push_back(one.describe());
  }

  std::vector<TcpTimeWait> connections;
  std::vector<std::string> texts;  // of the connections with the same index
};

namespace {

const TcpTimeWait* find(const sockrepair_time_wait* list, size_t index) {
  return list == nullptr || index >= list->connections.size() ? nullptr : &list->connections[index];
}

Result<TimeWaitRestoreOptions> restore_options(const char* call,
                                               const sockrepair_time_wait_restore_options* given) {
  SOCKREPAIR_TRY_ASSIGN(sockrepair_time_wait_restore_options in, copy_options(call, given));
  SOCKREPAIR_TRY(
      check_flags(call, in.flags, SOCKREPAIR_TIME_WAIT_COUNT_PAUSE | SOCKREPAIR_TIME_WAIT_PAUSE));
  TimeWaitRestoreOptions options;
  options.count_pause = (in.flags & SOCKREPAIR_TIME_WAIT_COUNT_PAUSE) != 0;
  SOCKREPAIR_TRY_ASSIGN(options.pause, pause_of(call, (in.flags & SOCKREPAIR_TIME_WAIT_PAUSE) != 0,
                                                "SOCKREPAIR_TIME_WAIT_PAUSE", in.pause_us));
  SOCKREPAIR_TRY_ASSIGN(options.rewrites, address_rewrites(call, in.rewrites, in.rewrites_count));
  return options;
}

}  // namespace

namespace sockrepair {

sockrepair_time_wait* to_c(std::vector<TcpTimeWait> connections) noexcept {
  try {
    return new sockrepair_time_wait(std::move(connections));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

const std::vector<TcpTimeWait>& from_c(const sockrepair_time_wait& list) {
  return list.connections;
}

}  // namespace sockrepair

int sockrepair_time_wait_find(int socket, sockrepair_time_wait** list, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (list == nullptr) return null_pointer("sockrepair_time_wait_find", "list");
    *list = nullptr;
    SOCKREPAIR_TRY_ASSIGN(std::vector<TcpTimeWait> found, sockrepair::find_tcp_time_wait(socket));
    *list = new sockrepair_time_wait(std::move(found));
    return {};
  });
}

size_t sockrepair_time_wait_count(const sockrepair_time_wait* list) {
  return list == nullptr ? 0 : list->connections.size();
}

const char* sockrepair_time_wait_text(const sockrepair_time_wait* list, size_t index) {
  return find(list, index) == nullptr ? nullptr : list->texts[index].c_str();
}

int sockrepair_time_wait_connection(const sockrepair_time_wait* list, size_t index,
                                    struct sockrepair_connection* connection) {
  const TcpTimeWait* one = find(list, index);
  if (one == nullptr || connection == nullptr) return EINVAL;
  store(SocketAddress(one->local, one->domain), &connection->local);
  store(SocketAddress(one->peer, one->domain), &connection->peer);
  return 0;
}

int sockrepair_time_wait_state(const sockrepair_time_wait* list, size_t index) {
  const TcpTimeWait* one = find(list, index);
  return one == nullptr ? 0 : static_cast<int>(one->state);
}

uint64_t sockrepair_time_wait_remaining(const sockrepair_time_wait* list, size_t index) {
  const TcpTimeWait* one = find(list, index);
  return one == nullptr ? 0 : one->remaining;
}

void sockrepair_time_wait_remove(sockrepair_time_wait* list, size_t index) {
  if (find(list, index) == nullptr) return;
  const auto at = static_cast<std::ptrdiff_t>(index);
  list->connections.erase(list->connections.begin() + at);
  list->texts.erase(list->texts.begin() + at);
}

int sockrepair_time_wait_end(const sockrepair_time_wait* list, int socket, size_t* ended,
                             sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (ended != nullptr) *ended = 0;
    if (list == nullptr) return null_pointer("sockrepair_time_wait_end", "list");
    SOCKREPAIR_TRY_ASSIGN(const std::size_t count,
                          sockrepair::end_tcp_time_wait(list->connections, socket));
    if (ended != nullptr) *ended = count;
    return {};
  });
}

int sockrepair_time_wait_restore(const sockrepair_time_wait* list, size_t index,
                                 const struct sockrepair_time_wait_restore_options* options,
                                 sockrepair_losses** losses, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    const char* call = "sockrepair_time_wait_restore";
    if (losses != nullptr) *losses = nullptr;
    if (list == nullptr) return null_pointer(call, "list");
    const TcpTimeWait* one = find(list, index);
    if (one == nullptr)
      return Error{EINVAL, std::string(call) + ": index: " + std::to_string(index) +
                               ", must be less than " + std::to_string(list->connections.size())};
    SOCKREPAIR_TRY_ASSIGN(TimeWaitRestoreOptions how, restore_options(call, options));
    SOCKREPAIR_TRY_ASSIGN(PreparedTimeWait prepared, sockrepair::prepare_tcp_time_wait(*one, how));
    auto lost = std::make_unique<sockrepair_losses>(prepared.losses);
    SOCKREPAIR_TRY(sockrepair::begin_tcp_time_wait(std::move(prepared)));
    if (losses != nullptr) *losses = lost.release();
    return {};
  });
}

void sockrepair_time_wait_free(sockrepair_time_wait* list) {
  delete list;
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "option_state.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <iterator>

#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair::internal {

namespace {

struct Name {
  int level;
  int name;

  bool is(const SocketOption& row) const { return row.level == level && row.name == name; }
};

struct Influence {
  Name of;
  Name on;
};
constexpr Influence kInfluences[] = {
    {{SOL_SOCKET, SO_RCVBUF}, {SOL_SOCKET, SO_BUF_LOCK}},
    {{SOL_SOCKET, SO_RCVBUF}, {SOL_TCP, TCP_WINDOW_CLAMP}},
    {{SOL_SOCKET, SO_SNDBUF}, {SOL_SOCKET, SO_BUF_LOCK}},
    {{SOL_SOCKET, SO_RCVLOWAT}, {SOL_SOCKET, SO_RCVBUF}},
    {{SOL_SOCKET, SO_RCVLOWAT}, {SOL_TCP, TCP_WINDOW_CLAMP}},
    {{IPPROTO_IP, IP_TOS}, {SOL_SOCKET, SO_PRIORITY}},
};

// Names of the same, or of what excludes each other: each has influence on all in its row.
constexpr Name kGroups[][6] = {
    {{IPPROTO_IP, IP_FREEBIND}, {IPPROTO_IPV6, IPV6_FREEBIND}},
    {{IPPROTO_IP, IP_TRANSPARENT}, {IPPROTO_IPV6, IPV6_TRANSPARENT}},
    {{SOL_SOCKET, SO_TIMESTAMPING_OLD},
     {SOL_SOCKET, SO_TIMESTAMPING_NEW},
     {SOL_SOCKET, SO_TIMESTAMP_OLD},
     {SOL_SOCKET, SO_TIMESTAMPNS_OLD},
     {SOL_SOCKET, SO_TIMESTAMP_NEW},
     {SOL_SOCKET, SO_TIMESTAMPNS_NEW}},
};

// Of each row, those that it has influence on, and itself.
std::vector<std::vector<std::size_t>> all_influences() {
  std::vector<std::vector<std::size_t>> all;
  for (const SocketOption& row : socket_options()) {
    all.emplace_back();
    for (const SocketOption& other : socket_options())
      if (&other == &row || has_influence(row, other)) all.back().push_back(index_of(other));
  }
  return all;
}

}  // namespace

std::size_t index_of(const SocketOption& row) {
  return static_cast<std::size_t>(&row - socket_options().data());
}

OptionIndex::OptionIndex(std::span<const OptionValue> values)
    : rows_(socket_options().size(), nullptr) {
  for (const OptionValue& option : values)
    if (const SocketOption* row = find_socket_option(option.level, option.name))
      rows_[index_of(*row)] = &option.value;
}

bool has_influence(const SocketOption& row, const SocketOption& other) {
  for (const Influence& one : kInfluences)
    if (one.of.is(row) && one.on.is(other)) return true;
  for (const auto& group : kGroups) {
    const auto has = [&](const SocketOption& one) {
      return std::any_of(std::begin(group), std::end(group),
                         [&](const Name& name) { return name.is(one); });
    };
    if (has(row) && has(other)) return true;
  }
  return false;
}

Result<SocketKind> SocketKind::of(int fd) {
  SocketKind kind;
  SOCKREPAIR_TRY_ASSIGN(kind.domain, sys::getsockopt<int>(fd, SOL_SOCKET, SO_DOMAIN));
  SOCKREPAIR_TRY_ASSIGN(kind.protocol, sys::getsockopt<int>(fd, SOL_SOCKET, SO_PROTOCOL));
  SOCKREPAIR_TRY_ASSIGN(kind.type, sys::getsockopt<int>(fd, SOL_SOCKET, SO_TYPE));
  return kind;
}

bool SocketKind::has(const SocketOption& row) const {
  return row.moment_of(protocol) != OptionMoment::kNever && (!row.ipv6_only || domain == AF_INET6);
}

Result<FreshOptions> FreshOptions::learn(const SocketKind& kind) {
  SOCKREPAIR_TRY_ASSIGN(Fd socket, sys::socket(kind.domain, kind.type, kind.protocol));
  FreshOptions fresh;
  fresh.kind_ = kind;
  for (const SocketOption& row : socket_options()) {
    if (row.reading == OptionReading::kHidden || !kind.has(row))
      fresh.rows_.emplace_back();
    else
      fresh.rows_.emplace_back(read_option(socket.get(), kind, row));
  }
  return fresh;
}

const OptionReadResult& FreshOptions::of(const SocketOption& row) const {
  return *rows_[index_of(row)];
}

OptionState::OptionState(int fd, const SocketKind& kind, const FreshOptions* fresh)
    : fd_(fd),
      kind_(kind),
      fresh_(fresh),
      changed_(socket_options().size(), fresh == nullptr),
      in_doubt_(socket_options().size(), false) {}

OptionReadResult OptionState::current(const SocketOption& row) const {
  if (changed_[index_of(row)]) return read_option(fd_, kind_, row);
  return fresh_->of(row);
}

bool OptionState::is_known_to_be(const SocketOption& row, const OptionBytes& value) const {
  if (changed_[index_of(row)] || !kind_.has(row)) return false;
  const OptionReadResult& fresh = fresh_->of(row);
  return fresh && fresh->has_value() && **fresh == value;
}

std::optional<OptionBytes> OptionState::known(int level, int name) const {
  const SocketOption* row = find_socket_option(level, name);
  if (row == nullptr || changed_[index_of(*row)] || !kind_.has(*row)) return std::nullopt;
  const OptionReadResult& value = fresh_->of(*row);
  return value ? *value : std::nullopt;
}

void OptionState::written(const SocketOption& row) {
  static const std::vector<std::vector<std::size_t>> influences = all_influences();
  for (std::size_t other : influences[index_of(row)]) changed_[other] = in_doubt_[other] = true;
}

void OptionState::connected() {
  for (const SocketOption& row : socket_options()) {
    if (row.moment_of(kind_.protocol) == OptionMoment::kConnected &&
        row.reading == OptionReading::kEffective)
      changed_[index_of(row)] = true;
  }
}

bool OptionState::is_in_doubt(const SocketOption& row) const {
  return in_doubt_[index_of(row)];
}

}  // namespace sockrepair::internal

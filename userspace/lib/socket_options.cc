// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/socket_options.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <array>
#include <utility>

#include "no_throw.h"
#include "option_codec.h"
#include "option_state.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair {

namespace {

using internal::find_option_value;
using internal::from_bytes;
using internal::option_codec;
using internal::OptionBytes;
using internal::OptionCodec;
using internal::OptionIndex;
using internal::OptionReadResult;
using internal::OptionState;
using internal::SocketKind;
using internal::to_bytes;

const char* level_text(int level) {
  switch (level) {
    case SOL_SOCKET:
      return "SOL_SOCKET";
    case IPPROTO_IP:
      return "IPPROTO_IP";
    case IPPROTO_IPV6:
      return "IPPROTO_IPV6";
    case SOL_UDP:
      return "SOL_UDP";
    case SOL_TCP:
      return "SOL_TCP";
    default:
      return "?";
  }
}

// The int that an option has; 0 for one that was not read.
int number(std::span<const OptionValue> values, int level, int name) {
  const OptionBytes* value = find_option_value(values, level, name);
  return value == nullptr ? 0 : from_bytes<std::int32_t>(*value);
}

Loss option_loss(const SocketOption& row, std::string what) {
  return Loss{"option " + row.full_name(), std::nullopt, std::move(what)};
}

// The rows by level and name, without memory that there might be none of.
struct RowsByName {
  std::array<const SocketOption*, 256> rows{};
  std::size_t count = 0;

  RowsByName() {
    for (const SocketOption& row : socket_options())
      if (count < rows.size()) rows[count++] = &row;
    std::sort(rows.begin(), rows.begin() + count, [](const auto* a, const auto* b) {
      return std::pair(a->level, a->name) < std::pair(b->level, b->name);
    });
  }
};

// The part of a traffic class that says whether there is congestion.
constexpr int kEcnBits = 3;

// --- reading ---

bool numbers_its_sends(std::span<const OptionValue> values) {
  return (number(values, SOL_SOCKET, SO_TIMESTAMPING_OLD) & SOF_TIMESTAMPING_OPT_ID) != 0;
}

bool sends_multicast(std::span<const OptionValue> values) {
  return number(values, IPPROTO_IP, IP_MULTICAST_IF) == 0 &&
         (number(values, IPPROTO_IP, IP_MULTICAST_TTL) != 1 ||
          number(values, IPPROTO_IP, IP_MULTICAST_LOOP) != 1);
}

bool shares_its_port(std::span<const OptionValue> values) {
  return number(values, SOL_SOCKET, SO_REUSEPORT) != 0;
}

bool polls_devices(std::span<const OptionValue> values) {
  return number(values, SOL_SOCKET, SO_PREFER_BUSY_POLL) != 0 ||
         number(values, SOL_SOCKET, SO_BUSY_POLL) != 0;
}

bool takes_fast_open(std::span<const OptionValue> values) {
  return number(values, SOL_TCP, TCP_FASTOPEN) != 0;
}

// What cannot be read, and which values make it likely that it matters.
struct Doubt {
  int level;
  int name;
  bool (*likely)(std::span<const OptionValue>);
  const char* what;
};

constexpr Doubt kDoubts[] = {
    {SOL_SOCKET, SO_TIMESTAMPING_OLD, numbers_its_sends,
     "the counter of SOF_TIMESTAMPING_OPT_ID cannot be read, a restored socket counts from 0"},
    {IPPROTO_IP, IP_MULTICAST_IF, sends_multicast,
     "if it was set as an interface index, it cannot be read; the socket has other multicast "
     "options"},
    {SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, shares_its_port,
     "if the group has a program (classic or eBPF), it cannot be read"},
    {SOL_SOCKET, SO_BUSY_POLL_BUDGET, polls_devices, "cannot be read"},
    {SOL_TCP, TCP_FASTOPEN_KEY, takes_fast_open,
     "if the listener has a key of its own, it stays with it, and peers get new cookies"},
};

// TCP chooses sizes of buffers that cannot be set, and marks the traffic class of what it sends.
void make_settable(int protocol, const SocketOption& row, OptionBytes& value) {
  if (protocol != IPPROTO_TCP) return;
  auto number = [&] { return from_bytes<std::int32_t>(value); };
  if (row.type == OptionType::kBuffer) value = to_bytes(number() + number() % 2);
  if (row.type == OptionType::kTrafficClass) value = to_bytes(number() & ~kEcnBits);
}

// What TCP_INFO tells of an option as well; nothing: the option has to be asked for.
std::optional<OptionBytes> told_by(const tcp_info* info, const SocketOption& row) {
  if (info == nullptr || row.type != OptionType::kSegmentSize) return std::nullopt;
  if (internal::tells_segment_size(*info)) return std::nullopt;
  return to_bytes(std::int32_t{0});
}

// --- setting ---

bool all_zero(const OptionBytes& value) {
  return std::all_of(value.begin(), value.end(), [](std::uint8_t byte) { return byte == 0; });
}

// Brings one socket's options to what they are to be, and collects what it refuses.
class Applier {
 public:
  Applier(OptionState& state, const OptionIndex& values, const ApplyOptions& options)
      : state_(state), values_(values), options_(options) {}

  Result<std::vector<Loss>> run() {
    SOCKREPAIR_TRY(for_each_wanted(&Applier::set));
    // Setting one may have changed another.
    SOCKREPAIR_TRY(for_each_wanted(&Applier::verify));
    return std::move(losses_);
  }

 private:
  using Step = Result<void> (Applier::*)(const SocketOption&, const OptionBytes&);

  Result<void> for_each_wanted(Step step) {
    for (const SocketOption& row : socket_options()) {
      OptionMoment moment = row.moment_of(state_.kind().protocol);
      if (moment == OptionMoment::kNever) moment = OptionMoment::kBeforeBind;  // to be refused
      if (moment < options_.first || moment > options_.last) continue;
      const OptionBytes* value = values_.of(row);
      if (value == nullptr || is_refused(row)) continue;
      SOCKREPAIR_TRY((this->*step)(row, *value));
    }
    return {};
  }

  Result<void> set(const SocketOption& row, const OptionBytes& value) {
    if (row.ipv6_only && state_.kind().domain != AF_INET6)
      return refuse(row, value, EINVAL, "not on AF_INET");
    if (!state_.kind().has(row))
      return refuse(row, value, EINVAL, "not on a socket of this protocol");

    const bool refers = internal::interface_of(row.type, value).has_value();
    if (!refers && state_.is_known_to_be(row, value)) return {};
    Result<OptionBytes> wanted = here(row, value);
    if (!wanted) return refuse(row, value, wanted.error().code, wanted.error().what);

    const OptionCodec& codec = option_codec(row.type);
    OptionReadResult current = state_.current(row);
    if (current && current->has_value() && **current == *wanted) return {};
    // What the kernel cannot do is as good as switched off.
    if (current && !current->has_value() && row.type != OptionType::kTransmitTime &&
        row.type != OptionType::kFilter) {
      if (all_zero(value)) return {};
      return refuse(row, value, ENOPROTOOPT,
                    std::string("this kernel does not have it") +
                        (*row.since != '\0' ? std::string(" (new in ") + row.since + ")" : ""));
    }

    Result<void> written = codec.write(state_.fd(), row, *wanted);
    state_.written(row);
    if (written) return {};
    std::string why = *row.needs != '\0' ? std::string("needs ") + row.needs : "refused";
    return refuse(row, value, written.error().code, why);
  }

  Result<void> verify(const SocketOption& row, const OptionBytes& value) {
    if (!state_.is_in_doubt(row)) return {};
    Result<OptionBytes> wanted = here(row, value);
    if (!wanted) return wanted.error();
    const OptionCodec& codec = option_codec(row.type);
    OptionReadResult current = state_.current(row);
    if (!current) {
      // An unbound socket does not tell; that it was set without an error has to do.
      if (current.error().code == internal::kNotTold) return {};
      return current.error();
    }
    if (!current->has_value()) {
      if (all_zero(value)) return {};
      // SO_TXTIME of an older kernel, where nothing can be asked.
      return refuse(row, value, EPROTO, "reads as off afterwards");
    }
    if (codec.same(*wanted, **current)) return {};
    std::string why = "reads as " + codec.text(**current) + " afterwards";
    if (*row.needs != '\0') why += std::string(", needs ") + row.needs;
    return refuse(row, value, EPROTO, why);
  }

  // The value in the namespace of this socket.
  Result<OptionBytes> here(const SocketOption& row, const OptionBytes& value) const {
    std::optional<std::uint32_t> index = internal::interface_of(row.type, value);
    if (!index) return value;
    SOCKREPAIR_TRY_ASSIGN(std::uint32_t translated,
                          internal::translated_interface(state_.fd(), *index, options_.interfaces));
    return internal::interface_value(row.type, translated);
  }

  bool is_refused(const SocketOption& row) const {
    return std::find(refused_.begin(), refused_.end(), &row) != refused_.end();
  }

  Result<void> refuse(const SocketOption& row, const OptionBytes& value, int code,
                      const std::string& why) {
    std::string text = option_codec(row.type).text(value);
    if (options_.refusal == Refusal::kFail)
      return Error{code, "option " + row.full_name() + ": " + text + ", " + why};
    refused_.push_back(&row);
    losses_.push_back(option_loss(row, text + ", " + why + ": " + errno_text(code)));
    return {};
  }

  OptionState& state_;
  const OptionIndex& values_;
  const ApplyOptions& options_;
  std::vector<Loss> losses_;
  std::vector<const SocketOption*> refused_;
};

}  // namespace

namespace internal {

OptionReadResult read_option(int fd, const SocketKind& kind, const SocketOption& row) {
  OptionReadResult value = option_codec(row.type).read(fd, row);
  if (value && value->has_value()) make_settable(kind.protocol, row, **value);
  return value;
}

Result<OptionsRead> read_options(int fd, const SocketKind& kind, const tcp_info* info) {
  OptionsRead read;
  for (const SocketOption& row : socket_options()) {
    if (row.reading == OptionReading::kHidden || !kind.has(row)) continue;
    std::optional<OptionBytes> told = told_by(info, row);
    OptionReadResult value = told ? OptionReadResult(std::move(told)) : read_option(fd, kind, row);
    if (value && value->has_value()) {
      read.values.push_back({row.level, row.name, **std::move(value)});
    } else if (!value) {
      if (value.error().code != kNotTold) return value.error();
      read.losses.push_back(option_loss(row, value.error().what));
    }
  }
  for (const Doubt& doubt : kDoubts)
    if (kind.has(*find_socket_option(doubt.level, doubt.name)) && doubt.likely(read.values))
      read.losses.push_back(option_loss(*find_socket_option(doubt.level, doubt.name), doubt.what));
  return read;
}

Result<std::vector<Loss>> apply_options(OptionState& state, const OptionIndex& values,
                                        const ApplyOptions& how) {
  return Applier(state, values, how).run();
}

const OptionBytes* find_option_value(std::span<const OptionValue> values, int level, int name) {
  for (const OptionValue& option : values)
    if (option.level == level && option.name == name) return &option.value;
  return nullptr;
}

Result<void> check_option_values(std::span<const OptionValue> values) {
  std::vector<bool> seen(socket_options().size(), false);
  for (const OptionValue& option : values) {
    const SocketOption* row = find_socket_option(option.level, option.name);
    if (row == nullptr || row->reading == OptionReading::kHidden) {
      return Error{EINVAL, "option " + sys::option_name(option.level, option.name) +
                               ": not one that can be carried"};
    }
    if (!option_codec(row->type).valid(option.value)) {
      return Error{EINVAL, "option " + row->full_name() + ": " +
                               std::to_string(option.value.size()) +
                               " bytes that are not a value of it"};
    }
    if (seen[index_of(*row)]) return Error{EINVAL, "option " + row->full_name() + ": given twice"};
    seen[index_of(*row)] = true;
  }
  return {};
}

}  // namespace internal

OptionMoment SocketOption::moment_of(int protocol) const {
  return protocol == IPPROTO_TCP ? tcp_moment : moment;
}

std::string SocketOption::full_name() const {
  return std::string(level_text(level)) + ", " + text;
}

const SocketOption* find_socket_option(int level, int name) {
  static const RowsByName sorted;
  const auto end = sorted.rows.begin() + sorted.count;
  const auto at = std::lower_bound(sorted.rows.begin(), end, std::pair(level, name),
                                   [](const SocketOption* row, const std::pair<int, int>& wanted) {
                                     return std::pair(row->level, row->name) < wanted;
                                   });
  const bool found = at != end && (*at)->level == level && (*at)->name == name;
  return found ? *at : nullptr;
}

std::string OptionValue::describe() const {
  const SocketOption* row = find_socket_option(level, name);
  if (row == nullptr || !option_codec(row->type).valid(value)) {
    return sys::option_name(level, name) + ": " +
           option_codec(OptionType::kHeader).text(value);  // as hexadecimal
  }
  return row->full_name() + ": " + option_codec(row->type).text(value);
}

Result<OptionsRead> read_socket_options(int fd) {
  return internal::no_throw([&]() -> Result<OptionsRead> {
    SOCKREPAIR_TRY_ASSIGN(SocketKind kind, SocketKind::of(fd));
    return internal::read_options(fd, kind, nullptr);
  });
}

Result<std::vector<Loss>> apply_socket_options(int fd, std::span<const OptionValue> values,
                                               const ApplyOptions& options) {
  return internal::no_throw([&]() -> Result<std::vector<Loss>> {
    SOCKREPAIR_TRY(internal::check_option_values(values));
    SOCKREPAIR_TRY_ASSIGN(SocketKind kind, SocketKind::of(fd));
    OptionState state(fd, kind, nullptr);
    return internal::apply_options(state, OptionIndex(values), options);
  });
}

}  // namespace sockrepair

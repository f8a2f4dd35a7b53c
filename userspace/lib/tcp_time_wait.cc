// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/tcp_time_wait.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <functional>
#include <set>
#include <tuple>
#include <utility>

#include "inet_diag.h"
#include "no_throw.h"
#include "option_codec.h"
#include "other_netns.h"
#include "sockrepair/syscall.h"
#include "tcp_time_wait_check.h"
#include "try.h"
#include "uapi.h"

#ifdef SOCKREPAIR_TIME_WAIT
#include "libbpf.h"
#include "time_wait.h"
#endif

namespace sockrepair {

namespace {

using internal::DiagEntry;
using internal::DiagFilter;

struct StateRow {
  TimeWaitState state;
  const char* name;
};
constexpr StateRow kStates[] = {
    {TimeWaitState::kFinWait2, "FIN_WAIT2"},
    {TimeWaitState::kTimeWait, "TIME_WAIT"},
};

// In the namespace of `socket`, or right here for -1.
Result<void> run_there(int socket, const std::function<Result<void>()>& function) {
  return socket < 0 ? function() : internal::run_in_netns_of(socket, function);
}

#ifdef SOCKREPAIR_TIME_WAIT

alignas(8) constexpr std::uint8_t kObject[] = {
#include "time_wait.bpf.o.inc"
};

constexpr std::uint64_t kNanosecondsInMicrosecond = 1000;
constexpr std::uint64_t kMicrosecondsInSecond = 1000000;

// What all of a list have in common.
struct Moment {
  std::uint64_t tick = 0;          // of the kernel's timers, nanoseconds
  std::uint64_t now = 0;           // CLOCK_REALTIME, nanoseconds
  std::uint64_t netns_cookie = 0;  // 0: not known
  Fd probe;                        // a socket of the namespace
};

Result<Moment> read_moment() {
  Moment moment;
  timespec tick{};
  timespec now{};
  // The coarse clocks go on with each tick.
  if (::clock_getres(CLOCK_MONOTONIC_COARSE, &tick) != 0)
    return Error{errno, "clock_getres(CLOCK_MONOTONIC_COARSE)"};
  ::clock_gettime(CLOCK_REALTIME, &now);
  moment.tick = static_cast<std::uint64_t>(tick.tv_nsec);
  moment.now =
      static_cast<std::uint64_t>(now.tv_sec) * 1000000000 + static_cast<std::uint64_t>(now.tv_nsec);
  SOCKREPAIR_TRY_ASSIGN(moment.probe, sys::socket(AF_INET, SOCK_DGRAM, 0));
  Result<std::uint64_t> cookie =
      sys::getsockopt<std::uint64_t>(moment.probe.get(), SOL_SOCKET, SO_NETNS_COOKIE);
  if (!cookie && cookie.error().code != ENOPROTOOPT) return cookie.error();
  if (cookie) moment.netns_cookie = *cookie;
  return moment;
}

IpAddress address_of(int domain, const __u8 (&bytes)[16]) {
  in6_addr v6{};
  in_addr v4{};
  memcpy(&v6, bytes, sizeof(v6));
  const bool mapped = domain == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6);
  memcpy(&v4, bytes + (mapped ? 12 : 0), sizeof(v4));
  return domain == AF_INET6 && !mapped ? IpAddress(v6) : IpAddress(v4);
}

// A link-local address is on the interface that the socket was bound to.
Endpoint endpoint_of(const time_wait_record& record, const __u8 (&bytes)[16], std::uint16_t port) {
  const IpAddress address = address_of(record.family, bytes);
  const bool scoped = address.family() == Family::kIpv6 && address.is_link_local();
  return {address, port, scoped ? record.ifindex : 0};
}

struct KeyRow {
  std::uint32_t flag;
  const char* name;
};
constexpr KeyRow kKeys[] = {
    {TIME_WAIT_MD5, "TCP-MD5"}, {TIME_WAIT_AO, "TCP-AO"}, {TIME_WAIT_PSP, "PSP"}};

TcpTimeWait value_of(const time_wait_record& record, const Moment& moment) {
  auto has = [&](std::uint32_t flag) { return (record.flags & flag) != 0; };
  auto microseconds = [&](std::uint32_t ticks) {
    return ticks * moment.tick / kNanosecondsInMicrosecond;
  };
  TcpTimeWait value;
  value.domain = record.family;
  value.cookie = record.cookie;
  value.netns_cookie = moment.netns_cookie;
  value.state = static_cast<TimeWaitState>(record.state);
  value.local = endpoint_of(record, record.local, record.local_port);
  value.peer = endpoint_of(record, record.peer, record.peer_port);
  value.port_chosen = !has(TIME_WAIT_CONNECT_BIND);
  value.mark = record.mark;
  value.priority = record.priority;
  value.traffic_class = record.traffic_class;
  value.flow_label = record.flow_label;
  value.tx_delay = record.tx_delay;
  value.v6_only = has(TIME_WAIT_V6ONLY);
  value.reuse_address = has(TIME_WAIT_REUSE);
  value.reuse_port = has(TIME_WAIT_REUSEPORT);
  value.transparent = has(TIME_WAIT_TRANSPARENT);
  value.snd_nxt = record.snd_nxt;
  value.rcv_nxt = record.rcv_nxt;
  value.rcv_scale = record.rcv_scale;
  // What 16 bits can announce of it.
  value.rcv_wnd = std::min(record.rcv_wnd, std::uint32_t{UINT16_MAX} << record.rcv_scale);
  if (has(TIME_WAIT_TIMESTAMPS)) {
    value.timestamps =
        TimeWaitTimestamps{has(TIME_WAIT_USEC_TS), record.timestamp, record.ts_recent,
                           record.ts_recent_age * kMicrosecondsInSecond};
  }
  if (has(TIME_WAIT_OOW)) value.challenge_age = microseconds(record.oow_age);
  // A tick is a rounded number of nanoseconds.
  value.remaining = std::min(microseconds(record.timer_left),
                             value.state == TimeWaitState::kTimeWait ? internal::kTimeWaitLongest
                                                                     : internal::kFinWait2Longest);
  value.dumped_at = moment.now;
  for (const KeyRow& row : kKeys)
    if (has(row.flag)) value.keys = row.name;
  return value;
}

// An interface may be gone since: the connection then goes nowhere, and is left out.
Result<bool> name_device(const Moment& moment, std::uint32_t index, TcpTimeWait* value) {
  if (index == 0) return true;
  Result<std::string> name = internal::interface_name(moment.probe.get(), index);
  if (!name && name.error().code == ENODEV) return false;
  if (!name) return name.error();
  value->device = InterfaceName{index, *std::move(name)};
  return true;
}

Result<std::vector<TcpTimeWait>> find_here() {
  SOCKREPAIR_TRY_ASSIGN(Moment moment, read_moment());
  SOCKREPAIR_TRY_ASSIGN(std::vector<std::uint8_t> bytes,
                        internal::run_bpf_iterator(kObject, "find_time_wait"));
  std::vector<TcpTimeWait> all;
  for (std::size_t at = 0; at + sizeof(time_wait_record) <= bytes.size();
       at += sizeof(time_wait_record)) {
    time_wait_record record;
    memcpy(&record, bytes.data() + at, sizeof(record));
    // Its time has come, and it is only not away yet.
    if (static_cast<std::int32_t>(record.timer_left) < 1) continue;
    TcpTimeWait value = value_of(record, moment);
    SOCKREPAIR_TRY_ASSIGN(bool there, name_device(moment, record.ifindex, &value));
    if (there) all.push_back(std::move(value));
  }
  return all;
}

#else

Result<std::vector<TcpTimeWait>> find_here() {
  return Error{EOPNOTSUPP,
               "TIME_WAIT connections: this library was built without SOCKREPAIR_TIME_WAIT"};
}

#endif

// What tells two connections of a namespace apart.
using Names =
    std::tuple<int, std::string, std::uint16_t, std::string, std::uint16_t, std::uint32_t>;

Names names_of(int domain, const Endpoint& local, const Endpoint& peer, std::uint32_t ifindex) {
  return {domain, local.address.to_string(), local.port, peer.address.to_string(), peer.port,
          ifindex};
}

}  // namespace

const char* time_wait_state_name(TimeWaitState state) {
  for (const StateRow& row : kStates)
    if (row.state == state) return row.name;
  return "?";
}

std::string TcpTimeWait::describe() const {
  char left[32];
  snprintf(left, sizeof(left), "%.1f s", static_cast<double>(remaining) / 1e6);
  return std::string(time_wait_state_name(state)) + ", " + local.to_string() + " to " +
         peer.to_string() + ", " + left + " left";
}

Result<std::vector<TcpTimeWait>> find_tcp_time_wait(int socket) {
  return internal::no_throw([&]() -> Result<std::vector<TcpTimeWait>> {
    std::vector<TcpTimeWait> all;
    SOCKREPAIR_TRY(run_there(socket, [&]() -> Result<void> {
      SOCKREPAIR_TRY_ASSIGN(all, find_here());
      return {};
    }));
    return all;
  });
}

namespace {

// What `idiag_timer` is for a connection that is over, whatever its state says.
constexpr std::uint8_t kTimerOfTimeWait = 3;

Result<std::size_t> end_here(std::span<const TcpTimeWait> connections) {
  std::set<Names> wanted;
  for (const TcpTimeWait& one : connections)
    wanted.insert(names_of(one.domain, one.local, one.peer, one.device ? one.device->index : 0));
  SOCKREPAIR_TRY_ASSIGN(Fd netlink, internal::open_inet_diag());
  std::vector<inet_diag_msg> found;
  constexpr std::uint32_t kStatesOfThese =
      internal::diag_state(static_cast<int>(TimeWaitState::kTimeWait)) |
      internal::diag_state(static_cast<int>(TimeWaitState::kFinWait2));
  for (int domain : {AF_INET, AF_INET6}) {
    const DiagFilter filter{.domain = domain, .protocol = IPPROTO_TCP, .states = kStatesOfThese};
    SOCKREPAIR_TRY(
        internal::list_inet_sockets(netlink, filter, [&](const DiagEntry& entry) -> Result<void> {
          const inet_diag_msg& body = entry.body();
          if (body.idiag_timer == kTimerOfTimeWait &&
              wanted.contains(
                  names_of(body.idiag_family, entry.local(), entry.peer(), body.id.idiag_if)))
            found.push_back(body);
          return {};
        }));
  }
  std::size_t ended = 0;
  for (const inet_diag_msg& body : found) {
    SOCKREPAIR_TRY_ASSIGN(bool was_there,
                          internal::destroy_inet_socket(netlink, IPPROTO_TCP, body));
    ended += was_there ? 1 : 0;
  }
  return ended;
}

}  // namespace

Result<std::size_t> end_tcp_time_wait(std::span<const TcpTimeWait> connections, int socket) {
  return internal::no_throw([&]() -> Result<std::size_t> {
    if (connections.empty()) return std::size_t{0};
    std::size_t ended = 0;
    SOCKREPAIR_TRY(run_there(socket, [&]() -> Result<void> {
      SOCKREPAIR_TRY_ASSIGN(ended, end_here(connections));
      return {};
    }));
    return ended;
  });
}

}  // namespace sockrepair

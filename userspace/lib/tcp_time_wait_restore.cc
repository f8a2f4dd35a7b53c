// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "inet_socket.h"
#include "no_throw.h"
#include "option_codec.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_time_wait.h"
#include "tcp_check.h"
#include "tcp_repair_calls.h"
#include "tcp_time_wait_check.h"
#include "try.h"
#include "uapi.h"

#ifndef TCP_TX_DELAY
#define TCP_TX_DELAY 37
#endif

namespace sockrepair {

namespace {

using internal::refuse;

constexpr std::uint64_t kMicrosecondsInSecond = 1000000;
constexpr std::uint8_t kEcnBits = 3;

// Codes of TCP options, as TCP_REPAIR_OPTIONS takes them.
constexpr std::uint32_t kWindowScale = 3;
constexpr std::uint32_t kTimestamp = 8;

// An option of the new socket, from which the kernel takes it over. Set where it is not 0.
struct OptionRow {
  int domain;  // 0: both
  int level;
  int name;
  int (*value)(const TcpTimeWait&);
};
// IP_TOS changes SO_PRIORITY: the order matters.
constexpr OptionRow kOptions[] = {
    {AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, [](const TcpTimeWait& c) -> int { return c.v6_only; }},
    {AF_INET, IPPROTO_IP, IP_TOS,
     [](const TcpTimeWait& c) -> int { return c.traffic_class & ~kEcnBits; }},
    {AF_INET6, IPPROTO_IPV6, IPV6_TCLASS,
     [](const TcpTimeWait& c) -> int { return c.traffic_class & ~kEcnBits; }},
    {0, SOL_SOCKET, SO_PRIORITY, [](const TcpTimeWait& c) { return static_cast<int>(c.priority); }},
    {0, SOL_SOCKET, SO_MARK, [](const TcpTimeWait& c) { return static_cast<int>(c.mark); }},
    {0, SOL_TCP, TCP_TX_DELAY, [](const TcpTimeWait& c) { return static_cast<int>(c.tx_delay); }},
    {0, SOL_SOCKET, SO_REUSEADDR, [](const TcpTimeWait& c) -> int { return c.reuse_address; }},
    {0, SOL_SOCKET, SO_REUSEPORT, [](const TcpTimeWait& c) -> int { return c.reuse_port; }},
    {AF_INET, IPPROTO_IP, IP_TRANSPARENT,
     [](const TcpTimeWait& c) -> int { return c.transparent; }},
    {AF_INET6, IPPROTO_IPV6, IPV6_TRANSPARENT,
     [](const TcpTimeWait& c) -> int { return c.transparent; }},
};

std::uint64_t pause_of(const TcpTimeWait& connection, const TimeWaitRestoreOptions& options) {
  if (options.pause) return *options.pause;
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  const std::uint64_t now = static_cast<std::uint64_t>(time.tv_sec) * 1000000000 +
                            static_cast<std::uint64_t>(time.tv_nsec);
  const std::uint64_t pause = now > connection.dumped_at ? (now - connection.dumped_at) / 1000 : 0;
  // What the kernel takes.
  return std::min<std::uint64_t>(pause, std::numeric_limits<std::int64_t>::max() / 1000);
}

class Preparer {
 public:
  Preparer(const TcpTimeWait& connection, const TimeWaitRestoreOptions& options)
      : connection_(connection), options_(options), pause_(pause_of(connection, options)) {}

  Result<PreparedTimeWait> run() {
    SOCKREPAIR_TRY(internal::check_tcp_time_wait(connection_));
    SOCKREPAIR_TRY(internal::check_tcp_restore_options(
        {.pause = options_.pause, .rewrites = options_.rewrites}));
    if (!connection_.keys.empty()) {
      return refuse(EOPNOTSUPP, "keys",
                    connection_.keys + ", which signs or encrypts its answers, cannot be carried");
    }
    PreparedTimeWait prepared;
    prepared.state = connection_.state;
    if (options_.count_pause && pause_ >= connection_.remaining) return prepared;
    SOCKREPAIR_TRY_ASSIGN(prepared.fd, sys::socket(connection_.domain, SOCK_STREAM, IPPROTO_TCP));
    fd_ = prepared.fd.get();
    if (!internal::kernel_has_control_block(fd_)) {
      return refuse(EOPNOTSUPP, "state",
                    std::string(time_wait_state_name(connection_.state)) +
                        ", needs TCP_REPAIR_CB, which this kernel does not have");
    }
    SOCKREPAIR_TRY(make());
    if (connection_.flow_label != 0) {
      prepared.losses.push_back(internal::loss_of(
          "flow_label", std::to_string(connection_.flow_label) +
                            ", answers have the one that this kernel makes for them"));
    }
    return prepared;
  }

 private:
  Result<void> make() {
    for (const OptionRow& row : kOptions) {
      if (row.domain != 0 && row.domain != connection_.domain) continue;
      if (const int value = row.value(connection_); value != 0)
        SOCKREPAIR_TRY(sys::setsockopt(fd_, row.level, row.name, value));
    }
    std::uint32_t device = 0;
    if (connection_.device) {
      const std::string& name = connection_.device->name;
      SOCKREPAIR_TRY_ASSIGN(device, internal::interface_index(fd_, name));
      SOCKREPAIR_TRY(sys::setsockopt_bytes(fd_, SOL_SOCKET, SO_BINDTODEVICE, name.c_str(),
                                           static_cast<socklen_t>(name.size() + 1)));
    }
    SOCKREPAIR_TRY(internal::enter_repair(fd_));
    SOCKREPAIR_TRY(internal::bind_to(fd_, connection_.domain, here(connection_.local, device)));
    // The control block brings both FINs, as far as they are there.
    SOCKREPAIR_TRY(internal::select_queue(fd_, TCP_RECV_QUEUE));
    SOCKREPAIR_TRY(internal::write_sequence(fd_, connection_.rcv_nxt - peer_fin()));
    SOCKREPAIR_TRY(internal::select_queue(fd_, TCP_SEND_QUEUE));
    SOCKREPAIR_TRY(internal::write_sequence(fd_, connection_.snd_nxt - 1));
    SOCKREPAIR_TRY(drop_segments());
    SOCKREPAIR_TRY(connect(here(connection_.peer, device)));
    SOCKREPAIR_TRY(agreement());
    SOCKREPAIR_TRY(control_block());
    return connection_.state == TimeWaitState::kFinWait2 ? time_to_wait() : Result<void>();
  }

  std::uint32_t peer_fin() const { return connection_.state == TimeWaitState::kTimeWait ? 1 : 0; }

  Endpoint here(Endpoint endpoint, std::uint32_t device) const {
    for (const AddressRewrite& row : options_.rewrites) {
      if (row.from != endpoint.address) continue;
      endpoint.address = row.to;
      break;
    }
    if (endpoint.scope != 0) endpoint.scope = device;
    return endpoint;
  }

  // Until it answers by itself.
  Result<void> drop_segments() {
    sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    const sock_fprog program{1, &drop};
    return sys::setsockopt_bytes(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
  }

  Result<void> connect(const Endpoint& peer) {
    Result<void> connected = sys::connect(fd_, SocketAddress(peer, connection_.domain));
    if (connected) return {};
    return refuse(connected.error().code, "peer",
                  peer.to_string() + (connected.error().code == EADDRNOTAVAIL
                                          ? ", a connection with these addresses is here"
                                          : ", needs a route"));
  }

  Result<void> agreement() {
    std::vector<tcp_repair_opt> options;
    if (connection_.rcv_scale != 0)
      options.push_back({kWindowScale, std::uint32_t{connection_.rcv_scale} << 16});
    if (connection_.timestamps) options.push_back({kTimestamp, 0});
    if (options.empty()) return {};
    return sys::setsockopt_bytes(fd_, SOL_TCP, TCP_REPAIR_OPTIONS, options.data(),
                                 static_cast<socklen_t>(options.size() * sizeof(options[0])));
  }

  // What is not known any more stays as it is of a new connection, which has learned nothing.
  Result<void> control_block() {
    SOCKREPAIR_TRY_ASSIGN(tcp_repair_cb block, internal::read_control_block(fd_));
    block.flags = options_.count_pause ? TCP_REPAIR_CB_COUNT_PAUSE : 0U;
    block.pause = pause_;
    block.state = static_cast<std::uint8_t>(connection_.state);
    block.rcv_nxt = connection_.rcv_nxt;
    block.copied_seq = connection_.rcv_nxt;
    block.rcv_wup = connection_.rcv_nxt;
    block.rcv_wnd = connection_.rcv_wnd;
    block.rcv_mwnd_seq = connection_.rcv_nxt + connection_.rcv_wnd;
    block.snd_wl1 = connection_.rcv_nxt;
    for (std::uint32_t* sequence :
         {&block.snd_una, &block.snd_nxt, &block.write_seq, &block.snd_sml, &block.pushed_seq,
          &block.snd_up, &block.rtt_seq})
      *sequence = connection_.snd_nxt;
    if (connection_.timestamps) {
      block.ts_usec = connection_.timestamps->microseconds ? 1 : 0;
      block.tsval = connection_.timestamps->value;
      block.ts_recent = connection_.timestamps->recent;
      block.age_ts_recent = connection_.timestamps->recent_age;
    }
    if (connection_.state == TimeWaitState::kTimeWait) {
      block.timewait_left = static_cast<std::uint32_t>(connection_.remaining);
    } else {
      // The shortest round trip that there is: the kernel waits at least 3.5 timeouts for a FIN.
      block.srtt = 8;
      block.rttvar = 1;
    }
    Result<void> set = sys::setsockopt_bytes(fd_, SOL_TCP, TCP_REPAIR_CB, &block, sizeof(block));
    if (set) return set;
    if (set.error().code != EINVAL) return set;
    return refuse(EOPNOTSUPP, "state",
                  std::string(time_wait_state_name(connection_.state)) +
                      ", which this kernel's TCP_REPAIR_CB does not take: " + set.error().what);
  }

  // What close(2) makes of FIN_WAIT2, in whole seconds.
  Result<void> time_to_wait() {
    const std::uint64_t left = connection_.remaining - (options_.count_pause ? pause_ : 0);
    const auto seconds =
        static_cast<int>((left + kMicrosecondsInSecond - 1) / kMicrosecondsInSecond);
    return sys::setsockopt(fd_, SOL_TCP, TCP_LINGER2, seconds);
  }

  const TcpTimeWait& connection_;
  const TimeWaitRestoreOptions& options_;
  const std::uint64_t pause_;
  int fd_ = -1;
};

}  // namespace

Result<PreparedTimeWait> prepare_tcp_time_wait(const TcpTimeWait& connection,
                                               const TimeWaitRestoreOptions& options) {
  return internal::no_throw([&] { return Preparer(connection, options).run(); });
}

Result<void> begin_tcp_time_wait(PreparedTimeWait prepared) {
  return internal::no_throw([&]() -> Result<void> {
    if (!prepared.fd) return {};
    // The kernel makes of it what no process has, here or when the descriptor is closed.
    const int fd = prepared.fd.get();
    SOCKREPAIR_TRY(internal::leave_repair(fd, false));
    // With more than a minute left it stays a socket for the time, and would keep its filter.
    if (prepared.state != TimeWaitState::kFinWait2) return {};
    return sys::setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
  });
}

Result<void> restore_tcp_time_wait(const TcpTimeWait& connection,
                                   const TimeWaitRestoreOptions& options) {
  Result<PreparedTimeWait> prepared = prepare_tcp_time_wait(connection, options);
  if (!prepared) return prepared.error();
  return begin_tcp_time_wait(*std::move(prepared));
}

}  // namespace sockrepair

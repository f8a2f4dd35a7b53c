// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <span>
#include <utility>

#include "borrowed_options.h"
#include "call.h"
#include "inet_socket.h"
#include "no_throw.h"
#include "option_codec.h"
#include "option_state.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_socket.h"
#include "tcp_ao.h"
#include "tcp_check.h"
#include "tcp_repair_calls.h"
#include "try.h"
#include "uapi.h"
#include "whole_socket.h"

namespace sockrepair {

namespace {

using internal::loss_of;
using internal::number_of;
using internal::refuse;
using internal::TcpExtent;

// Codes of TCP options, as TCP_REPAIR_OPTIONS takes them.
constexpr std::uint32_t kMss = 2;
constexpr std::uint32_t kWindowScale = 3;
constexpr std::uint32_t kSackPermitted = 4;
constexpr std::uint32_t kTimestamp = 8;

std::uint64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1000000000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}

// Whether there is a peer that is told of the socket's end unless care is taken.
bool has_peer(const TcpSocket& socket) {
  return is_connected(socket.state) || socket.state == TcpState::kSynSent;
}

// The control block of a connection, to be restored.
tcp_repair_cb control_block_of(const TcpSocket& socket) {
  tcp_repair_cb block{};
  memcpy(&block, socket.connection->control_block->data(), sizeof(block));
  block.size = sizeof(block);
  return block;
}

// The FIN that the program has sent with shutdown(2) or close(2) was still behind data.
bool fin_unsent(const TcpSocket& socket) {
  return socket.connection && socket.connection->control_block &&
         internal::extent_of(control_block_of(socket)).fin_unsent();
}

std::uint32_t congestion_flag(TcpCongestion congestion) {
  switch (congestion) {
    case TcpCongestion::kCapped:
      return 0;
    case TcpCongestion::kWhole:
      return TCP_REPAIR_CB_CWND_WHOLE;
    case TcpCongestion::kSkip:
      return TCP_REPAIR_CB_CWND_SKIP;
  }
  return 0;
}

std::uint64_t pause_of(const TcpConnection& connection, const TcpRestoreOptions& options) {
  if (options.pause) return *options.pause;
  const std::uint64_t time = now();
  return time > connection.dumped_at ? (time - connection.dumped_at) / 1000 : 0;
}

// A sequence number in front of `end` is as good as `end` where the kernel wants one up to it.
std::uint32_t up_to(std::uint32_t sequence, std::uint32_t end) {
  return static_cast<std::int32_t>(sequence - end) > 0 ? end : sequence;
}

// What bind(2) is told although the program did not choose it.
std::uint8_t auto_bound_of(const TcpSocket& socket) {
  unsigned names = 0;
  if (!socket.address_chosen.value_or(true)) names |= TCP_REPAIR_CB_AUTO_ADDR;
  if (!socket.port_chosen.value_or(true)) names |= TCP_REPAIR_CB_AUTO_PORT;
  return static_cast<std::uint8_t>(names);
}

// As it is to be set: without a FIN that was not sent, which comes after the data before it.
tcp_repair_cb prepared_block(const TcpSocket& socket, const TcpRestoreOptions& options) {
  tcp_repair_cb block = control_block_of(socket);
  block.auto_bound = auto_bound_of(socket);
  block.flags =
      congestion_flag(options.congestion) | (options.count_pause ? TCP_REPAIR_CB_COUNT_PAUSE : 0U);
  block.pause = pause_of(*socket.connection, options);
  if (!internal::extent_of(block).fin_unsent()) return block;

  const bool fin_received = socket.state != TcpState::kFinWait1;
  block.state =
      static_cast<std::uint8_t>(fin_received ? TcpState::kCloseWait : TcpState::kEstablished);
  --block.write_seq;
  block.pushed_seq = up_to(block.pushed_seq, block.write_seq);
  block.snd_up = up_to(block.snd_up, block.write_seq);
  return block;
}

Result<void> end_repair(int fd, int reuse, bool window_probe) {
  SOCKREPAIR_TRY(internal::leave_repair(fd, window_probe));
  // Some kernels forget it together with the mode.
  if (reuse == 0 || internal::kernel_has_control_block(fd)) return {};
  return sys::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, reuse);
}

int reuse_of(const TcpSocket& socket) {
  return number_of(socket.options, SOL_SOCKET, SO_REUSEADDR);
}

// connect(2) without waiting for the peer.
Result<void> begin_connecting(int fd, const TcpSocket& socket, const SocketAddress& to) {
  const auto set_nonblocking = [&](bool on) -> Result<void> {
    int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) != 0)
      return Error{errno, "fcntl(" + std::to_string(fd) + ", F_SETFL)"};
    return {};
  };
  // A ring would wait for the answer to the SYN.
  internal::CarriedBy nobody(nullptr);
  if (!socket.nonblocking) SOCKREPAIR_TRY(set_nonblocking(true));
  Result<void> begun = sys::connect(fd, to);
  if (!socket.nonblocking) SOCKREPAIR_TRY(set_nonblocking(false));
  if (!begun && begun.error().code != EINPROGRESS)
    return refuse(begun.error().code, "peer", socket.peer->to_string() + ", refused by connect(2)");
  return {};
}

// Leaves connect(2) no other port to choose. `range`: of the socket, if it is known.
Result<void> only_port(internal::BorrowedOptions& options, std::uint16_t port,
                       std::optional<internal::OptionBytes> range = std::nullopt) {
  const std::uint32_t only = port | std::uint32_t{port} << 16;
  if (!range) return options.set(IPPROTO_IP, IP_LOCAL_PORT_RANGE, only);
  return options.set_known(IPPROTO_IP, IP_LOCAL_PORT_RANGE, *std::move(range),
                           internal::to_bytes(only));
}

IpAddress rewritten(const IpAddress& address, const TcpRestoreOptions& options) {
  for (const AddressRewrite& row : options.rewrites)
    if (row.from == address) return row.to;
  return address;
}

// An endpoint of the value in this namespace.
Result<Endpoint> here(int fd, Endpoint endpoint, const TcpSocket& socket,
                      const TcpRestoreOptions& options) {
  endpoint.address = rewritten(endpoint.address, options);
  SOCKREPAIR_TRY_ASSIGN(endpoint.scope,
                        internal::translated_interface(fd, endpoint.scope, socket.interfaces));
  return endpoint;
}

constexpr char kNotInRange[] = "not in net.ipv4.ip_local_port_range";

// Whether address and port are given to bind(2), or left to the kernel in such a way that it comes
// to the same.
struct Choice {
  bool address = true;
  bool port = true;
};

class Restorer {
 public:
  Restorer(const TcpSocket& socket, const TcpRestoreOptions& options,
           const internal::Surroundings* here)
      : socket_(socket), options_(options), here_(here) {}
  Restorer(const Restorer&) = delete;
  Restorer& operator=(const Restorer&) = delete;
  ~Restorer() { give_up(); }

  Result<RestoredTcpSocket> run() {
    SOCKREPAIR_TRY(internal::check_tcp_socket(socket_));
    SOCKREPAIR_TRY(internal::check_tcp_restore_options(options_));
    choice_ = {socket_.address_chosen.value_or(true), socket_.port_chosen.value_or(true)};
    look_at_port();
    // At most one try for each part of the choice that turns out not to work here.
    for (;;) {
      SOCKREPAIR_TRY(attempt());
      if (!choose_more_) break;
    }
    return std::move(restored_);
  }

 private:
  Result<void> attempt() {
    give_up();
    choose_more_ = false;
    restored_ = RestoredTcpSocket{};
    int type = SOCK_STREAM | (socket_.nonblocking ? SOCK_NONBLOCK : 0);
    SOCKREPAIR_TRY_ASSIGN(restored_.fd, sys::socket(socket_.domain, type, IPPROTO_TCP));
    fd_ = restored_.fd.get();
    // The control block says what was not chosen.
    if (!uses_control_block()) restored_.losses = choice_losses_;
    wanted_.emplace(socket_.options);
    option_state_.emplace(fd_, internal::SocketKind{socket_.domain, SOCK_STREAM, IPPROTO_TCP},
                          here_ == nullptr ? nullptr : &here_->fresh);

    SOCKREPAIR_TRY(add_keys());
    SOCKREPAIR_TRY(apply(OptionMoment::kBeforeBind, OptionMoment::kBeforeBind));
    if (is_connected(socket_.state)) return connection();
    if (socket_.state == TcpState::kSynSent) return syn_sent();
    return unconnected();
  }

  // After an error: what was made so far goes without a word to the peer.
  void give_up() {
    if (restored_.fd && has_peer(socket_)) close_silently(std::move(restored_.fd));
    restored_.fd.reset();
  }

  Result<void> apply(OptionMoment first, OptionMoment last) {
    ApplyOptions how;
    how.refusal = options_.refusal;
    how.first = first;
    how.last = last;
    how.interfaces = socket_.interfaces;
    SOCKREPAIR_TRY_ASSIGN(std::vector<Loss> losses,
                          internal::apply_options(*option_state_, *wanted_, how));
    internal::append(restored_.losses, std::move(losses));
    return {};
  }

  // --- TCP-AO ---

  // connect(2) takes a socket that has its keys, and forgets those that are not for the peer.
  Result<void> add_keys() {
    if (!socket_.ao) return {};
    std::vector<TcpAoKey> keys = socket_.ao->keys;
    for (TcpAoKey& key : keys)
      if (key.prefix == 8 * key.address.size()) key.address = rewritten(key.address, options_);
    if (socket_.connection) {
      TcpAo here = *socket_.ao;
      here.keys = keys;
      const IpAddress peer = rewritten(socket_.peer->address, options_);
      SOCKREPAIR_TRY(internal::check_tcp_ao(here, socket_.domain, &peer));
    }
    SOCKREPAIR_TRY(internal::add_tcp_ao_keys(fd_, socket_.domain, keys, socket_.interfaces));
    if (std::any_of(keys.begin(), keys.end(),
                    [](const TcpAoKey& key) { return key.good != 0 || key.bad != 0; }))
      lose("ao, keys", "the segments that were counted for each of them: no call sets that");
    return socket_.connection ? Result<void>() : internal::write_tcp_ao_info(fd_, *socket_.ao);
  }

  // What connect(2) and the queues have changed, or have counted.
  Result<void> signatures() {
    if (!socket_.ao) return {};
    SOCKREPAIR_TRY_ASSIGN(std::optional<TcpAo> got, internal::read_tcp_ao(fd_));
    const std::size_t left = got ? got->keys.size() : 0;
    if (left != socket_.ao->keys.size())
      return refuse(EKEYREJECTED, "ao, keys",
                    std::to_string(socket_.ao->keys.size()) + ", of which " + std::to_string(left) +
                        " are for the peer and the interface here, must be all");
    SOCKREPAIR_TRY(internal::write_tcp_ao_sequence(fd_, *socket_.ao->sequence));
    return internal::write_tcp_ao_info(fd_, *socket_.ao);
  }

  // --- without a connection ---

  Result<void> unconnected() {
    SOCKREPAIR_TRY(apply(OptionMoment::kUnconnected, OptionMoment::kAfterQueues));
    SOCKREPAIR_TRY(bind());
    if (choose_more_) return {};
    if (socket_.state == TcpState::kListen) {
      Result<void> done = sys::listen(fd_, static_cast<int>(socket_.backlog));
      if (!done)
        return refuse(done.error().code, "local",
                      socket_.local->to_string() + ", refused by listen(2)");
    }
    lose_what_no_call_sets();
    if (!socket_.receive_shutdown && !socket_.send_shutdown) return {};
    return shut_down(socket_.receive_shutdown && socket_.send_shutdown ? SHUT_RDWR
                     : socket_.receive_shutdown                        ? SHUT_RD
                                                                       : SHUT_WR);
  }

  Result<void> bind() {
    if (!socket_.local) return {};
    SOCKREPAIR_TRY_ASSIGN(Endpoint local, here(fd_, *socket_.local, socket_, options_));
    if (local.port == 0) return internal::bind_without_port(fd_, socket_.domain, local);
    if (choice_.port) return internal::bind_to(fd_, socket_.domain, local);
    SOCKREPAIR_TRY_ASSIGN(std::optional<std::string> obstacle,
                          internal::bind_given_port(fd_, socket_.domain, local));
    return obstacle ? choose_port(*obstacle) : Result<void>();
  }

  // ENOTCONN comes after the work is done, on a socket that is not connected.
  Result<void> shut_down(int how) {
    Result<void> done = sys::shutdown(fd_, how);
    if (done || done.error().code == ENOTCONN) return {};
    return done;
  }

  // --- names of what has a peer ---

  // What comes before connect(2): the part of the name that the program chose.
  Result<void> bind_for_connect() {
    SOCKREPAIR_TRY_ASSIGN(local_, here(fd_, *socket_.local, socket_, options_));
    Endpoint given = local_;
    if (!choice_.address) {
      given.address = IpAddress::any(socket_.domain == AF_INET ? Family::kIpv4 : Family::kIpv6);
      given.scope = 0;
    }
    if (choice_.port) return internal::bind_to(fd_, socket_.domain, given);
    given.port = 0;
    if (!choice_.address) return {};
    return internal::bind_without_port(fd_, socket_.domain, given);
  }

  // connect(2), `begin`, with the name as it has to be: one that the kernel chooses comes out as it
  // was, or there is another attempt.
  template <typename Function>
  Result<void> connect(Function begin) {
    SOCKREPAIR_TRY_ASSIGN(Endpoint peer, here(fd_, *socket_.peer, socket_, options_));
    const SocketAddress to = internal::peer_address(peer, socket_.domain, socket_.peer_flowinfo);
    internal::BorrowedOptions borrowed(fd_);
    if (!choice_.port) {
      Result<void> set =
          only_port(borrowed, local_.port, option_state_->known(IPPROTO_IP, IP_LOCAL_PORT_RANGE));
      if (!set) return choose_port(set.error().describe());
    }
    Result<void> connected = begin(to);
    if (!connected) {
      if (!choice_.port && connected.error().code == EADDRNOTAVAIL)
        return choose_port("others have it as well");
      return refuse_peer(connected.error(), peer);
    }
    SOCKREPAIR_TRY(borrowed.put_back());
    if (choice_.address && choice_.port) return {};

    SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd_));
    SOCKREPAIR_TRY_ASSIGN(Endpoint got, name.endpoint());
    if (got.port != local_.port) return choose_port(kNotInRange);
    if (got.address != local_.address) return choose_address(got.address);
    return {};
  }

  Error refuse_peer(const Error& error, const Endpoint& peer) const {
    const std::string names = peer.to_string() + " from " + local_.to_string();
    if (error.code == EADDRNOTAVAIL)
      return refuse(error.code, "peer", names + ", a connection with these addresses is here");
    if (error.code == EKEYREJECTED)
      return refuse(error.code, "peer", names + ", none of the keys in ao is for it");
    return refuse(error.code, "peer", names + ", needs a route");
  }

  // The kernel gives no port to connect(2) that is not among those: there is no use in trying.
  void look_at_port() {
    if (choice_.port || !is_connected(socket_.state)) return;
    const std::optional<internal::PortRange> ports =
        here_ == nullptr ? internal::read_port_range() : here_->ports;
    if (ports && !ports->contains(socket_.local->port)) (void)choose_port(kNotInRange);
  }

  Result<void> choose_port(const std::string& why) {
    choice_.port = choose_more_ = true;
    choice_losses_.push_back(loss_of(
        "local port", "stays when the program disconnects, as if it had chosen it: " + why));
    return {};
  }

  Result<void> choose_address(const IpAddress& other) {
    choice_.address = choose_more_ = true;
    choice_losses_.push_back(
        loss_of("local address",
                "stays when the program disconnects, as if it had chosen it: the route to the peer "
                "would give it " +
                    other.to_string()));
    return {};
  }

  // --- SYN_SENT ---

  // A SYN from another name would begin another connection, so no name is left to chance here.
  Result<void> syn_sent() {
    SOCKREPAIR_TRY(settle_choice());
    SOCKREPAIR_TRY(bind_for_connect());
    if (socket_.syn_sequence) SOCKREPAIR_TRY(syn_sequence());
    SOCKREPAIR_TRY(apply(OptionMoment::kConnected, OptionMoment::kAfterQueues));
    lose_what_no_call_sets();
    lose_unconnected_options();
    if (options_.keep_repair) return {};
    return connect([&](const SocketAddress& to) { return begin_connecting(fd_, socket_, to); });
  }

  Result<void> settle_choice() {
    if (!std::exchange(choice_.address, true)) {
      lose("local address",
           "stays when the program disconnects, as if it had chosen it: the state is SYN_SENT");
    }
    std::optional<internal::PortRange> ports = internal::read_port_range();
    if (choice_.port || (ports && ports->contains(socket_.local->port))) return {};
    choice_.port = true;
    lose("local port",
         "stays when the program disconnects, as if it had chosen it: not in "
         "net.ipv4.ip_local_port_range");
    return {};
  }

  // So that the answer to the SYN that was sent before is one to the next SYN, too.
  Result<void> syn_sequence() {
    Result<void> entered = internal::enter_repair(fd_);
    if (!entered && entered.error().code == EPERM) {
      lose("syn_sequence", "another one: " + entered.error().describe());
      return {};
    }
    SOCKREPAIR_TRY(entered);
    SOCKREPAIR_TRY(internal::select_queue(fd_, TCP_SEND_QUEUE));
    SOCKREPAIR_TRY(internal::write_sequence(fd_, *socket_.syn_sequence));
    return end_repair(fd_, reuse_of(socket_), false);
  }

  // --- the connection ---

  bool uses_control_block() const {
    return socket_.connection && socket_.connection->control_block && options_.control_block &&
           internal::kernel_has_control_block(fd_);
  }

  Result<void> connection() {
    const TcpConnection& connection = *socket_.connection;
    const bool use_block = uses_control_block();
    if (is_closing(socket_.state) && !use_block)
      return refuse(EOPNOTSUPP, "state",
                    tcp_state_name(socket_.state) + ", needs TCP_REPAIR_CB, which " +
                        (options_.control_block ? "this kernel does not have"
                                                : "TcpRestoreOptions::control_block forbids"));
    const bool in_line = number_of(socket_.options, SOL_SOCKET, SO_OOBINLINE) != 0;
    if (connection.urgent_mark && !in_line && !use_block)
      return refuse(EOPNOTSUPP, "connection, urgent_mark", internal::kUrgentNeedsControlBlock);
    restored_.method = use_block ? TcpMethod::kControlBlock : TcpMethod::kPlain;

    SOCKREPAIR_TRY(internal::enter_repair(fd_));
    SOCKREPAIR_TRY(bind_for_connect());
    SOCKREPAIR_TRY(sequences());
    if (!options_.segments_dropped) SOCKREPAIR_TRY(drop_segments());
    SOCKREPAIR_TRY(connect([&](const SocketAddress& to) { return sys::connect(fd_, to); }));
    if (choose_more_) return {};
    SOCKREPAIR_TRY(agreement());
    option_state_->connected();
    SOCKREPAIR_TRY(apply(OptionMoment::kConnected, OptionMoment::kConnected));
    if (!use_block) SOCKREPAIR_TRY(clock());
    SOCKREPAIR_TRY(queues());
    SOCKREPAIR_TRY(use_block ? control_block() : window());
    SOCKREPAIR_TRY(signatures());
    if (!options_.segments_dropped)
      SOCKREPAIR_TRY(sys::setsockopt(fd_, SOL_SOCKET, SO_DETACH_FILTER, 0));
    SOCKREPAIR_TRY(apply(OptionMoment::kAfterQueues, OptionMoment::kAfterQueues));
    if (socket_.receive_shutdown) SOCKREPAIR_TRY(shut_down(SHUT_RD));
    if (!use_block) lose_control_block();
    if (fin_unsent(socket_) && socket_.state == TcpState::kClosing)
      lose("state", "LAST_ACK instead of CLOSING, as the FIN was not sent before the peer's came");
    lose_what_no_call_sets();
    lose_unconnected_options();
    if (options_.keep_repair) return {};
    return internal::resume_tcp(fd_, internal::rest_of(socket_), options_);
  }

  // What arrives before the socket is complete is dropped, and sent again by the peer.
  Result<void> drop_segments() {
    sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    const sock_fprog program{1, &drop};
    return sys::setsockopt_bytes(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
  }

  // The send queue comes second and first in queues(): it is selected once.
  Result<void> sequences() {
    const TcpConnection& connection = *socket_.connection;
    const auto received = static_cast<std::uint32_t>(connection.receive_queue.size());
    const auto queued = static_cast<std::uint32_t>(connection.send_queue.size());
    SOCKREPAIR_TRY(internal::select_queue(fd_, TCP_RECV_QUEUE));
    SOCKREPAIR_TRY(internal::write_sequence(fd_, connection.rcv_seq - received));
    SOCKREPAIR_TRY(internal::select_queue(fd_, TCP_SEND_QUEUE));
    return internal::write_sequence(fd_, connection.snd_seq - queued);
  }

  Result<void> agreement() {
    const TcpConnection& connection = *socket_.connection;
    std::vector<tcp_repair_opt> options = {{kMss, connection.mss_clamp}};
    if (connection.scales) {
      const TcpScales scales = *connection.scales;
      options.push_back({kWindowScale, scales.snd | std::uint32_t{scales.rcv} << 16});
    }
    if (connection.sack) options.push_back({kSackPermitted, 0});
    if (connection.timestamps) options.push_back({kTimestamp, 0});
    return sys::setsockopt_bytes(fd_, SOL_TCP, TCP_REPAIR_OPTIONS, options.data(),
                                 static_cast<socklen_t>(options.size() * sizeof(options[0])));
  }

  // Goes on from where it was; with count_pause by the pause as well.
  Result<void> clock() {
    const TcpConnection& connection = *socket_.connection;
    if (!connection.timestamps) return {};
    std::uint32_t timestamp = connection.timestamp;
    if (options_.count_pause) {
      const bool microseconds = (timestamp & 1) != 0;
      std::uint64_t pause = pause_of(connection, options_);
      if (!microseconds) pause /= 1000;
      timestamp = (timestamp + static_cast<std::uint32_t>(pause)) & ~1U;
      timestamp |= microseconds ? 1U : 0U;
    }
    return sys::setsockopt(fd_, SOL_TCP, TCP_TIMESTAMP, static_cast<int>(timestamp));
  }

  Result<void> queues() {
    const TcpConnection& connection = *socket_.connection;
    const std::span<const std::uint8_t> queue(connection.send_queue);
    SOCKREPAIR_TRY(internal::fill_send_queue(fd_, queue.first(queue.size() - connection.unsent)));
    if (connection.receive_queue.empty()) return {};
    SOCKREPAIR_TRY(internal::select_queue(fd_, TCP_RECV_QUEUE));
    return internal::fill_receive_queue(fd_, connection.receive_queue);
  }

  Result<void> control_block() {
    const tcp_repair_cb block = prepared_block(socket_, options_);
    Result<void> set = sys::setsockopt_bytes(fd_, SOL_TCP, TCP_REPAIR_CB, &block, sizeof(block));
    if (set) return set;
    return refuse(set.error().code, "connection, control_block",
                  "refused by the kernel, a value is out of its bounds: " + set.error().what);
  }

  Result<void> window() {
    const TcpWindow& from = socket_.connection->window;
    tcp_repair_window window{};
    window.snd_wl1 = from.snd_wl1;
    window.snd_wnd = from.snd_wnd;
    window.max_window = from.max_window;
    window.rcv_wnd = from.rcv_wnd;
    window.rcv_wup = from.rcv_wup;
    return sys::setsockopt(fd_, SOL_TCP, TCP_REPAIR_WINDOW, window);
  }

  // --- losses ---

  void lose_control_block() {
    if (!socket_.connection->control_block) return;  // the dump has said so
    lose("control block",
         "round-trip time, congestion window, timers, counters and urgent data: the kernel has no "
         "TCP_REPAIR_CB, or it was not to be used");
  }

  void lose_what_no_call_sets() {
    if (socket_.pending_error)
      lose("pending_error", errno_text(*socket_.pending_error) + ", no call sets one");
  }

  // Options for the next connect(2), which the kernel refuses on a connection.
  void lose_unconnected_options() {
    for (const OptionValue& option : socket_.options) {
      const SocketOption* row = find_socket_option(option.level, option.name);
      if (row->tcp_moment != OptionMoment::kUnconnected) continue;
      if (internal::from_bytes<std::int32_t>(option.value) == 0) continue;
      restored_.losses.push_back(Loss{"option " + row->full_name(), std::nullopt,
                                      "cannot be set on a connection; it counts for the next one"});
    }
  }

  void lose(const char* subject, std::string what) {
    restored_.losses.push_back(loss_of(subject, std::move(what)));
  }

  const TcpSocket& socket_;
  const TcpRestoreOptions& options_;
  const internal::Surroundings* here_;
  std::optional<internal::OptionIndex> wanted_;
  std::optional<internal::OptionState> option_state_;
  RestoredTcpSocket restored_;
  int fd_ = -1;
  Endpoint local_;  // as it is to be here
  Choice choice_;
  // The last attempt has found that the kernel would choose otherwise: once more, with choice_ as
  // it is now.
  bool choose_more_ = false;
  std::vector<Loss> choice_losses_;
};

Result<void> resume_syn_sent(int fd, const TcpSocket& socket, const TcpRestoreOptions& options) {
  SOCKREPAIR_TRY_ASSIGN(Endpoint peer, here(fd, *socket.peer, socket, options));
  internal::BorrowedOptions borrowed(fd);
  // Of no effect if restore had to choose the port.
  if (socket.port_chosen == false) (void)only_port(borrowed, socket.local->port);
  SOCKREPAIR_TRY(begin_connecting(
      fd, socket, internal::peer_address(peer, socket.domain, socket.peer_flowinfo)));
  return borrowed.put_back();
}

}  // namespace

Result<RestoredTcpSocket> restore_tcp_socket(const TcpSocket& socket,
                                             const TcpRestoreOptions& options) {
  return internal::no_throw([&]() -> Result<RestoredTcpSocket> {
    return internal::restore_tcp(socket, options, nullptr);
  });
}

namespace internal {

Result<RestoredTcpSocket> restore_tcp(const TcpSocket& socket, const TcpRestoreOptions& options,
                                      const Surroundings* here) {
  return Restorer(socket, options, here).run();
}

TcpRest rest_of(const TcpSocket& socket) {
  TcpRest rest;
  if (socket.state == TcpState::kSynSent) rest.syn_sent = socket;
  rest.connected = is_connected(socket.state);
  rest.reuse = reuse_of(socket);
  if (!rest.connected) return rest;
  const std::span<const std::uint8_t> queue(socket.connection->send_queue);
  const auto unsent = queue.last(socket.connection->unsent);
  rest.unsent.assign(unsent.begin(), unsent.end());
  rest.fin_unsent = fin_unsent(socket);
  return rest;
}

Result<void> resume_tcp(int fd, const TcpRest& rest, const TcpRestoreOptions& options) {
  if (rest.syn_sent) return resume_syn_sent(fd, *rest.syn_sent, options);
  if (!rest.connected) return {};
  SOCKREPAIR_TRY(end_repair(fd, rest.reuse, options.window_probe));
  if (!rest.unsent.empty()) SOCKREPAIR_TRY(fill_send_queue(fd, rest.unsent));
  return rest.fin_unsent ? sys::shutdown(fd, SHUT_WR) : Result<void>();
}

}  // namespace internal

Result<void> resume_tcp_socket(int fd, const TcpSocket& socket, const TcpRestoreOptions& options) {
  return internal::no_throw([&]() -> Result<void> {
    SOCKREPAIR_TRY(internal::check_tcp_socket(socket));
    SOCKREPAIR_TRY(internal::check_tcp_restore_options(options));
    return internal::resume_tcp(fd, internal::rest_of(socket), options);
  });
}

void close_silently(Fd fd) {
  (void)internal::no_throw([&] { return internal::enter_repair(fd.get()); });
}

}  // namespace sockrepair

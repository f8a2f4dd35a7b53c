// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "inet_socket.h"
#include "no_throw.h"
#include "option_codec.h"
#include "option_state.h"
#include "other_netns.h"
#include "sock_diag.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_socket.h"
#include "tcp_ao.h"
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

// Not in <linux/tcp.h> of the build host, nor of any: the kernel's include/net/inet_sock.h.
constexpr int kForceReuse = 2;
// How often a connection that goes on is read anew.
constexpr int kAttempts = 16;

// The protocols that look like TCP to a program and are not, with their numbers for socket(2).
struct OtherProtocol {
  int domain;  // AF_UNSPEC: any
  int protocol;
  const char* name;
};
constexpr OtherProtocol kOtherProtocols[] = {
    {AF_UNSPEC, 262, "MPTCP"},
    {AF_UNSPEC, 256, "SMC"},
    {43, -1, "SMC"},
};

std::string other_protocol(int domain, int protocol) {
  for (const OtherProtocol& row : kOtherProtocols) {
    if ((row.domain == AF_UNSPEC || row.domain == domain) &&
        (row.protocol == -1 || row.protocol == protocol))
      return std::string(", ") + row.name;
  }
  return "";
}

// All states that a descriptor can have.
constexpr TcpState kStates[] = {
    TcpState::kEstablished, TcpState::kSynSent, TcpState::kFinWait1,
    TcpState::kFinWait2,    TcpState::kClose,   TcpState::kCloseWait,
    TcpState::kLastAck,     TcpState::kListen,  TcpState::kClosing,
};

// As tcpi_state; netinet/tcp.h has its name, and cannot be included with linux/tcp.h.
constexpr std::uint8_t kSynRecv = 3;

std::uint64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1000000000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}

// Puts a socket into repair mode, and out of it unless it is told not to.
class RepairMode {
 public:
  explicit RepairMode(int fd) : fd_(fd) {}
  RepairMode(const RepairMode&) = delete;
  RepairMode& operator=(const RepairMode&) = delete;
  ~RepairMode() { (void)leave(); }

  // `reuse` is SO_REUSEADDR, which the mode overrides and some kernels forget.
  Result<void> enter(int reuse) {
    SOCKREPAIR_TRY(internal::enter_repair(fd_));
    on_ = true;
    reuse_ = reuse;
    return {};
  }

  Result<void> leave() {
    if (!std::exchange(on_, false)) return {};
    SOCKREPAIR_TRY(internal::leave_repair(fd_, false));
    if (reuse_ == 0 || internal::kernel_has_control_block(fd_)) return {};
    return sys::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, reuse_);
  }

  void stay() { on_ = false; }

 private:
  int fd_;
  int reuse_ = 0;
  bool on_ = false;
};

class Dumper {
 public:
  Dumper(int fd, const internal::SocketKind& kind, const TcpDumpOptions& options,
         const internal::SurveyOf& survey_of)
      : fd_(fd), kind_(kind), options_(options), survey_of_(survey_of), mode_(fd) {}

  Result<TcpSocket> run() {
    SOCKREPAIR_TRY(read_identity());
    SOCKREPAIR_TRY(read_info());
    SOCKREPAIR_TRY(read_names());
    look_around();
    SOCKREPAIR_TRY(refuse_extensions());
    SOCKREPAIR_TRY(refuse_state());
    SOCKREPAIR_TRY_ASSIGN(socket_.ao, internal::read_tcp_ao(fd_));

    SOCKREPAIR_TRY_ASSIGN(OptionsRead options, internal::read_options(fd_, kind_, &info_));
    socket_.options = std::move(options.values);
    internal::append(socket_.losses, std::move(options.losses));
    if (number_of(socket_.options, SOL_SOCKET, SO_REUSEADDR) == kForceReuse)
      return refuse(EBUSY, "TCP_REPAIR", "on, another dump or restore is going on");

    read_closed();
    read_listener();
    read_shutdown();
    SOCKREPAIR_TRY(read_errors());
    SOCKREPAIR_TRY(read_syn());
    SOCKREPAIR_TRY(read_connection());
    read_choices();
    read_interfaces();
    mode_.stay();
    return std::move(socket_);
  }

 private:
  Result<void> read_identity() {
    socket_.domain = kind_.domain;
    if (kind_.protocol != IPPROTO_TCP || kind_.type != SOCK_STREAM ||
        (kind_.domain != AF_INET && kind_.domain != AF_INET6)) {
      return Error{EPROTONOSUPPORT, "descriptor " + std::to_string(fd_) + ": domain " +
                                        std::to_string(kind_.domain) + ", type " +
                                        std::to_string(kind_.type) + ", protocol " +
                                        std::to_string(kind_.protocol) +
                                        other_protocol(kind_.domain, kind_.protocol) +
                                        ", must be TCP of AF_INET or AF_INET6"};
    }
    SOCKREPAIR_TRY_ASSIGN(internal::Identity identity, internal::read_identity(fd_));
    socket_.cookie = identity.cookie;
    socket_.inode = identity.inode;
    socket_.netns_cookie = identity.netns_cookie;
    socket_.nonblocking = identity.nonblocking;
    if (identity.async)
      lose("descriptor", "O_ASYNC, with its owner and signal: they belong to a process");
    return {};
  }

  // Also what the SYNs agreed on, all but the MSS.
  Result<void> read_info() {
    // Older kernels tell less; the rest is 0.
    SOCKREPAIR_TRY(sys::getsockopt_bytes(fd_, SOL_TCP, TCP_INFO, &info_, sizeof(info_)));
    socket_.state = static_cast<TcpState>(info_.tcpi_state);
    return {};
  }

  Result<void> read_names() {
    SOCKREPAIR_TRY_ASSIGN(internal::Names names, internal::read_names(fd_, socket_.domain));
    socket_.local = names.local;
    socket_.peer = names.peer;
    socket_.peer_flowinfo = names.peer_flowinfo;
    return {};
  }

  // Asks the namespace of the socket for what calls on the socket do not tell.
  void look_around() {
    if (!socket_.local || socket_.local->port == 0) return;
    const TcpSurvey* survey = options_.survey;
    if (survey == nullptr && survey_of_) survey = survey_of_(socket_.netns_cookie);
    if (survey != nullptr) seen_ = find(survey->diag());
    if (seen_) return;
    Result<void> entered = internal::run_in_netns_of(fd_, [this]() -> Result<void> {
      // The control block says the rest, and a list takes the longer the more sockets there are.
      if (is_connected(socket_.state) && socket_.peer && uses_control_block()) {
        seen_ = internal::TcpDiag::find_connection(socket_.domain, *socket_.local, *socket_.peer,
                                                   socket_.cookie);
        if (seen_) return {};
      }
      SOCKREPAIR_TRY_ASSIGN(internal::TcpDiag diag,
                            internal::TcpDiag::read(socket_.domain, socket_.local->port));
      seen_ = find(diag);
      return {};
    });
    if (!entered) unseen_ = entered.error();
  }

  std::optional<internal::TcpDiag::Socket> find(const internal::TcpDiag& diag) {
    const internal::TcpDiag::Socket* found = diag.find(socket_.cookie);
    if (found == nullptr) return std::nullopt;
    beginning_ = diag.beginning(*socket_.local);
    return *found;
  }

  Result<void> refuse_extensions() {
    std::array<char, 16> ulp{};
    Result<socklen_t> length =
        sys::getsockopt_bytes(fd_, SOL_TCP, TCP_ULP, ulp.data(), ulp.size() - 1);
    if (length && *length > 0 && ulp[0] != '\0')
      return refuse(EOPNOTSUPP, "TCP_ULP", std::string(ulp.data()) + ", cannot be carried");

    if (seen_ && seen_->md5)
      return refuse(EOPNOTSUPP, "TCP_MD5SIG", "the socket has keys, which cannot be read");
    if (!seen_ && is_connected(socket_.state))
      lose("option SOL_TCP, TCP_MD5SIG", "whether there are keys is not known: " + why_unseen());
    return {};
  }

  Result<void> refuse_state() {
    // What TCP Fast Open has accepted, or two connect(2) that met: no call of TCP_REPAIR makes it.
    if (info_.tcpi_state == kSynRecv)
      return refuse(EAGAIN, "state", "SYN_RECV, until the peer acknowledges: dump it then");
    if (std::find(std::begin(kStates), std::end(kStates), socket_.state) == std::end(kStates))
      return refuse(EOPNOTSUPP, "state", tcp_state_name(socket_.state) + ", cannot be carried");
    if (is_closing(socket_.state) && !uses_control_block()) return needs_control_block();

    if (socket_.state != TcpState::kListen) return {};
    socket_.backlog = info_.tcpi_sacked;
    socket_.accept_queue = info_.tcpi_unacked;
    if (socket_.accept_queue == 0) return {};
    const std::string waiting =
        std::to_string(socket_.accept_queue) + " connections wait for accept(2)";
    if (options_.accept_queue == Refusal::kFail) return refuse(EBUSY, "accept_queue", waiting);
    lose("accept_queue", waiting);
    return {};
  }

  bool uses_control_block() const {
    return options_.control_block && internal::kernel_has_control_block(fd_);
  }

  Error needs_control_block() const {
    return refuse(EOPNOTSUPP, "state",
                  tcp_state_name(socket_.state) + ", needs TCP_REPAIR_CB, which " +
                      (options_.control_block ? "this kernel does not have"
                                              : "TcpDumpOptions::control_block forbids"));
  }

  // What is left of a connection that is over, if there was one.
  void read_closed() {
    if (socket_.state != TcpState::kClose) return;
    if (info_.tcpi_segs_out == 0 && info_.tcpi_segs_in == 0) return;
    // Its port is free again unless it was chosen; getsockname(2) goes on telling it.
    if (socket_.local && !seen_) socket_.local.reset();
    int waiting = 0;
    if (sys::ioctl(fd_, SIOCINQ, &waiting) && waiting > 0)
      lose("receive_queue", std::to_string(waiting) + " bytes of a connection that is over");
  }

  void read_listener() {
    if (socket_.state != TcpState::kListen) return;
    if (beginning_ != 0)
      lose("connections that begin",
           std::to_string(beginning_) +
               " (SYN_RECV): what their peers send next is answered with a reset");
    if (number_of(socket_.options, SOL_SOCKET, SO_REUSEPORT) == 0) return;
    if (seen_)
      socket_.reuseport_rank = seen_->listening_before;
    else
      lose("reuseport_rank", "not known: " + why_unseen());
  }

  void read_shutdown() {
    const short events = internal::poll_now(fd_);
    has_error_ = (events & POLLERR) != 0;
    const bool no_more = (events & POLLRDHUP) != 0;
    // The end of a connection leaves both.
    if (socket_.state == TcpState::kClose)
      socket_.receive_shutdown = socket_.send_shutdown = no_more;
    if (is_connected(socket_.state)) socket_.receive_shutdown = no_more && !fin_received();
  }

  bool fin_received() const {
    return socket_.state == TcpState::kCloseWait || socket_.state == TcpState::kLastAck ||
           socket_.state == TcpState::kClosing;
  }

  Result<void> read_errors() {
    if (!has_error_) return {};
    if (!options_.take_errors) {
      lose("pending_error",
           "there is one, or an entry in the error queue; reading would take it from the program");
      return {};
    }
    SOCKREPAIR_TRY_ASSIGN(int pending, sys::getsockopt<int>(fd_, SOL_SOCKET, SO_ERROR));
    if (pending != 0) socket_.pending_error = pending;
    SOCKREPAIR_TRY_ASSIGN(std::size_t entries, internal::drain_error_queue(fd_));
    if (entries != 0)
      lose("error queue", std::to_string(entries) + (entries == 1 ? " entry" : " entries"));
    return {};
  }

  int reuse() const { return number_of(socket_.options, SOL_SOCKET, SO_REUSEADDR); }

  Result<void> read_syn() {
    if (socket_.state != TcpState::kSynSent) return {};
    // getpeername(2) has no answer yet.
    if (!seen_) return refuse(EOPNOTSUPP, "peer", "not known: " + why_unseen());
    socket_.peer = seen_->peer;
    RepairMode mode(fd_);
    Result<void> entered = mode.enter(reuse());
    if (!entered && entered.error().code == EPERM) {
      lose("syn_sequence", entered.error().describe());
      return {};
    }
    SOCKREPAIR_TRY(entered);
    SOCKREPAIR_TRY(internal::select_queue(fd_, TCP_SEND_QUEUE));
    SOCKREPAIR_TRY_ASSIGN(std::uint32_t after_syn, internal::read_sequence(fd_));
    socket_.syn_sequence = after_syn - 1;
    return mode.leave();
  }

  // --- the connection ---

  Result<void> read_connection() {
    if (!is_connected(socket_.state)) return {};
    SOCKREPAIR_TRY(mode_.enter(reuse()));
    socket_.connection.emplace();
    SOCKREPAIR_TRY(read_queues());
    SOCKREPAIR_TRY(read_agreement());
    if (!socket_.connection->control_block) SOCKREPAIR_TRY(read_numbers());
    if (number_of(socket_.options, SOL_TCP, TCP_SAVE_SYN) != 0)
      lose("option SOL_TCP, TCP_SAVED_SYN", "the SYN, if the program has not taken it yet");
    return options_.leave_in_repair ? Result<void>() : mode_.leave();
  }

  // Both queues and the sequence numbers that belong to them, also those of TCP-AO, of one moment.
  // The control block is read last: reading the receive queue can send an acknowledgment that was
  // owed.
  Result<void> read_queues() {
    SOCKREPAIR_TRY_ASSIGN(TcpExtent extent, read_state());
    Error last{EAGAIN, "the connection goes on"};
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      Result<void> read = read_bytes(extent);
      if (read && extent.received() == 0 && extent.queued() == 0 && !socket_.ao)
        return keep(extent);
      if (!read && read.error().code != EAGAIN) return read;
      if (!read) last = read.error();
      SOCKREPAIR_TRY_ASSIGN(TcpExtent after, read_state());
      if (read && after == extent) return keep(extent);
      extent = after;
    }
    return Error{EAGAIN, last.what + "; its segments have to be dropped"};
  }

  Result<TcpExtent> read_state() {
    if (control_block_ != kAbsent && options_.control_block) {
      Result<tcp_repair_cb> got = internal::read_control_block(fd_);
      if (got) {
        control_block_ = kPresent;
        block_ = *got;
        return internal::extent_of(block_);
      }
      // Reset meanwhile.
      if (got.error().code == ENOTCONN)
        return Error{EAGAIN, "state: the connection is over: " + got.error().describe()};
      if (got.error().code != ENOPROTOOPT) return got.error();
    }
    control_block_ = kAbsent;
    if (is_closing(socket_.state)) return needs_control_block();
    SOCKREPAIR_TRY_ASSIGN(TcpExtent extent, internal::read_extent(fd_));
    SOCKREPAIR_TRY(read_info());
    if (is_closing(socket_.state)) return needs_control_block();
    extent.state = socket_.state;
    return extent;
  }

  Result<void> read_bytes(const TcpExtent& extent) {
    TcpConnection& connection = *socket_.connection;
    connection.receive_queue.clear();
    connection.send_queue.clear();
    if (extent.received() != 0) {
      const OptionValue::Bytes* offset =
          internal::find_option_value(socket_.options, SOL_SOCKET, SO_PEEK_OFF);
      const int peek_offset = offset == nullptr ? -1 : internal::from_bytes<std::int32_t>(*offset);
      SOCKREPAIR_TRY_ASSIGN(internal::PeekedQueue queue,
                            internal::peek_receive_queue(fd_, extent.received(), peek_offset));
      const bool in_line = number_of(socket_.options, SOL_SOCKET, SO_OOBINLINE) != 0;
      if (queue.has_mark && !in_line && control_block_ == kAbsent)
        return refuse(EOPNOTSUPP, "receive_queue", internal::kUrgentNeedsControlBlock);
      connection.receive_queue = std::move(queue.bytes);
    }
    if (extent.queued() != 0) {
      SOCKREPAIR_TRY_ASSIGN(connection.send_queue, internal::peek_send_queue(fd_, extent.queued()));
    }
    if (socket_.ao) {
      SOCKREPAIR_TRY_ASSIGN(socket_.ao->sequence, internal::read_tcp_ao_sequence(fd_));
    }
    return {};
  }

  Result<void> keep(const TcpExtent& extent) {
    TcpConnection& connection = *socket_.connection;
    connection.dumped_at = now();
    connection.snd_seq = extent.send_end();
    connection.rcv_seq = extent.receive_end();
    connection.unsent = extent.unsent();
    socket_.state = extent.state;
    if (fin_received()) socket_.receive_shutdown = false;
    if (control_block_ != kPresent) return {};

    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&block_);
    connection.control_block.emplace(bytes, bytes + sizeof(block_));
    connection.timestamp = block_.ts_usec != 0 ? block_.tsval | 1 : block_.tsval & ~1U;
    connection.window = {.snd_wl1 = block_.snd_wl1,
                         .snd_wnd = block_.snd_wnd,
                         .max_window = block_.max_window,
                         .rcv_wnd = block_.rcv_wnd,
                         .rcv_wup = block_.rcv_wup};
    if (block_.urg_data != 0) connection.urgent_mark = block_.urg_seq - block_.copied_seq;
    return {};
  }

  Result<void> read_agreement() {
    TcpConnection& connection = *socket_.connection;
    SOCKREPAIR_TRY_ASSIGN(int mss, sys::getsockopt<int>(fd_, SOL_TCP, TCP_MAXSEG));
    connection.mss_clamp = static_cast<std::uint16_t>(std::clamp(mss, 0, UINT16_MAX));
    connection.sack = (info_.tcpi_options & TCPI_OPT_SACK) != 0;
    connection.timestamps = (info_.tcpi_options & TCPI_OPT_TIMESTAMPS) != 0;
    if ((info_.tcpi_options & TCPI_OPT_WSCALE) != 0)
      connection.scales = TcpScales{info_.tcpi_snd_wscale, info_.tcpi_rcv_wscale};
    return {};
  }

  // What a control block has as well.
  Result<void> read_numbers() {
    TcpConnection& connection = *socket_.connection;
    if (connection.timestamps) {
      SOCKREPAIR_TRY_ASSIGN(connection.timestamp,
                            sys::getsockopt<std::uint32_t>(fd_, SOL_TCP, TCP_TIMESTAMP));
    }
    SOCKREPAIR_TRY_ASSIGN(auto window,
                          sys::getsockopt<tcp_repair_window>(fd_, SOL_TCP, TCP_REPAIR_WINDOW));
    // What can be announced: the kernel keeps more before it is cut to 16 bits.
    const std::uint32_t most = std::uint32_t{UINT16_MAX}
                               << connection.scales.value_or(TcpScales{}).rcv;
    connection.window = {.snd_wl1 = window.snd_wl1,
                         .snd_wnd = window.snd_wnd,
                         .max_window = window.max_window,
                         .rcv_wnd = std::min(window.rcv_wnd, most),
                         .rcv_wup = window.rcv_wup};
    lose("control block",
         "round-trip time, congestion window, timers, counters and urgent data: the kernel has no "
         "TCP_REPAIR_CB, or it was not to be used");
    return {};
  }

  // --- the rest ---

  void read_choices() {
    if (!socket_.local) {
      socket_.address_chosen = socket_.port_chosen = false;
      return;
    }
    if (control_block_ == kPresent) {
      socket_.address_chosen = (block_.auto_bound & TCP_REPAIR_CB_AUTO_ADDR) == 0;
      socket_.port_chosen = (block_.auto_bound & TCP_REPAIR_CB_AUTO_PORT) == 0;
      return;
    }
    const Endpoint& local = *socket_.local;
    const bool v6only = number_of(socket_.options, IPPROTO_IPV6, IPV6_V6ONLY) != 0;
    socket_.address_chosen =
        internal::address_choice(socket_.domain, local, socket_.peer.has_value(), v6only);
    if (local.port == 0) socket_.port_chosen = false;
    if (seen_) socket_.port_chosen = !seen_->auto_port;
    if (!socket_.address_chosen)
      lose("local address", "whether the program chose it, and so keeps it when it disconnects");
    if (!socket_.port_chosen)
      lose("local port",
           "whether the program chose it, and so keeps it when it disconnects: " + why_unseen());
  }

  void read_interfaces() {
    internal::add_interfaces_of(fd_, socket_.options, socket_.interfaces);
    if (socket_.local) internal::add_interface(fd_, socket_.local->scope, socket_.interfaces);
    if (socket_.peer) internal::add_interface(fd_, socket_.peer->scope, socket_.interfaces);
    if (!socket_.ao) return;
    for (const TcpAoKey& key : socket_.ao->keys)
      internal::add_interface(fd_, key.ifindex.value_or(0), socket_.interfaces);
  }

  std::string why_unseen() const {
    return unseen_ ? unseen_->describe() : std::string("sock_diag does not list the socket");
  }

  void lose(const char* subject, std::string what) {
    socket_.losses.push_back(loss_of(subject, std::move(what)));
  }

  enum ControlBlock { kUnknown, kPresent, kAbsent };

  int fd_;
  internal::SocketKind kind_;
  const TcpDumpOptions& options_;
  const internal::SurveyOf& survey_of_;
  // Of a connection: on from when it is read until nothing can fail any more, or as it was.
  RepairMode mode_;
  TcpSocket socket_;
  tcp_info info_{};
  std::optional<internal::TcpDiag::Socket> seen_;
  std::optional<Error> unseen_;
  std::size_t beginning_ = 0;
  bool has_error_ = false;
  ControlBlock control_block_ = kUnknown;
  tcp_repair_cb block_{};
};

}  // namespace

Result<TcpSocket> dump_tcp_socket(int fd, const TcpDumpOptions& options) {
  return internal::no_throw([&]() -> Result<TcpSocket> {
    SOCKREPAIR_TRY_ASSIGN(internal::SocketKind kind, internal::SocketKind::of(fd));
    return internal::dump_tcp(fd, kind, options, nullptr);
  });
}

namespace internal {

Result<TcpSocket> dump_tcp(int fd, const SocketKind& kind, const TcpDumpOptions& options,
                           const SurveyOf& survey_of) {
  return Dumper(fd, kind, options, survey_of).run();
}

TcpSourceRest rest_of_source(int fd, const TcpSocket& socket) {
  return {fd, number_of(socket.options, SOL_SOCKET, SO_REUSEADDR)};
}

Result<void> resume_source(const TcpSourceRest& rest) {
  SOCKREPAIR_TRY(leave_repair(rest.fd, false));
  if (rest.reuse == 0 || kernel_has_control_block(rest.fd)) return {};
  return sys::setsockopt(rest.fd, SOL_SOCKET, SO_REUSEADDR, rest.reuse);
}

}  // namespace internal

Result<void> resume_tcp_source(int fd, const TcpSocket& socket) {
  return internal::no_throw([&]() -> Result<void> {
    if (!is_connected(socket.state)) return {};
    return internal::resume_source(internal::rest_of_source(fd, socket));
  });
}

Result<TcpSurvey> TcpSurvey::take(int fd) {
  return internal::no_throw([&]() -> Result<TcpSurvey> {
    auto diag = std::make_shared<internal::TcpDiag>();
    SOCKREPAIR_TRY(internal::run_in_netns_of(fd, [&]() -> Result<void> {
      SOCKREPAIR_TRY_ASSIGN(*diag, internal::TcpDiag::read(AF_INET, 0));
      SOCKREPAIR_TRY_ASSIGN(internal::TcpDiag v6, internal::TcpDiag::read(AF_INET6, 0));
      diag->merge(std::move(v6));
      return {};
    }));
    return TcpSurvey(std::move(diag));
  });
}

}  // namespace sockrepair

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/udp_socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <utility>

#include "call.h"
#include "inet_socket.h"
#include "multicast.h"
#include "no_throw.h"
#include "option_codec.h"
#include "option_state.h"
#include "other_netns.h"
#include "sock_diag.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "whole_socket.h"

namespace sockrepair {

namespace {

using internal::append;
using internal::family_fits;
using internal::loss_of;
using internal::number_of;
using internal::PortRange;
using internal::refuse;

// --- dump ---

// What only the network namespace of the socket can tell.
struct NamespaceView {
  std::optional<internal::DiagSocket> diag;
  std::optional<Error> diag_error;
  std::optional<internal::HostGroups> groups;
  std::optional<Error> groups_error;
  std::optional<PortRange> ports;
};

class Dumper {
 public:
  Dumper(int fd, const internal::SocketKind& kind, const UdpDumpOptions& options)
      : fd_(fd), kind_(kind), options_(options) {}

  Result<UdpSocket> run() {
    SOCKREPAIR_TRY(read_identity());
    SOCKREPAIR_TRY(read_names());
    SOCKREPAIR_TRY_ASSIGN(OptionsRead options, internal::read_options(fd_, kind_, nullptr));
    socket_.options = std::move(options.values);
    append(socket_.losses, std::move(options.losses));

    look_around();
    read_diag();
    SOCKREPAIR_TRY(read_groups());
    read_choices();
    SOCKREPAIR_TRY(read_errors());
    SOCKREPAIR_TRY(read_send_queue());
    SOCKREPAIR_TRY(read_receive_queue());
    read_interfaces();
    return std::move(socket_);
  }

 private:
  Result<void> read_identity() {
    socket_.domain = kind_.domain;
    if (kind_.protocol != IPPROTO_UDP || kind_.type != SOCK_DGRAM ||
        (kind_.domain != AF_INET && kind_.domain != AF_INET6)) {
      return Error{EPROTONOSUPPORT, "descriptor " + std::to_string(fd_) + ": domain " +
                                        std::to_string(kind_.domain) + ", type " +
                                        std::to_string(kind_.type) + ", protocol " +
                                        std::to_string(kind_.protocol) +
                                        ", must be UDP of AF_INET or AF_INET6"};
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

  Result<void> read_names() {
    SOCKREPAIR_TRY_ASSIGN(internal::Names names, internal::read_names(fd_, socket_.domain));
    socket_.local = names.local;
    socket_.peer = names.peer;
    socket_.peer_flowinfo = names.peer_flowinfo;
    if ((socket_.peer_flowinfo & kFlowLabelMask) != 0)
      lose("option IPPROTO_IPV6, IPV6_FLOWLABEL_MGR",
           "the lease of the flow label that the socket is connected with, if it has one");
    return {};
  }

  // Asks the namespace of the socket for what calls on the socket do not tell.
  void look_around() {
    Result<void> entered = internal::run_in_netns_of(fd_, [this]() -> Result<void> {
      view_.ports = internal::read_port_range();
      if (has_port()) {
        const bool reuseport = number_of(socket_.options, SOL_SOCKET, SO_REUSEPORT) != 0;
        auto diag = internal::find_udp_socket(socket_.domain, socket_.local->port, socket_.cookie,
                                              reuseport);
        if (!diag) view_.diag_error = diag.error();
        if (diag) view_.diag = *diag;
      }
      Result<internal::HostGroups> groups = internal::read_host_groups();
      if (!groups) view_.groups_error = groups.error();
      if (groups) view_.groups = *std::move(groups);
      return {};
    });
    if (!entered) view_.diag_error = view_.groups_error = entered.error();
  }

  void read_diag() {
    if (view_.diag) {
      const internal::DiagSocket& diag = *view_.diag;
      socket_.receive_shutdown = diag.receive_shutdown;
      socket_.send_shutdown = diag.send_shutdown;
      if (number_of(socket_.options, SOL_SOCKET, SO_REUSEPORT) != 0 ||
          number_of(socket_.options, SOL_SOCKET, SO_REUSEADDR) != 0)
        socket_.reuseport_rank = diag.bound_before;
      // getpeername(2) has no answer for a socket that is connected to port 0.
      if (diag.connected && !socket_.peer) socket_.peer = diag.peer;
      return;
    }
    // poll(2) tells of both directions, or of the one for receiving.
    short events = internal::poll_now(fd_);
    bool both = (events & POLLHUP) != 0;
    socket_.receive_shutdown = both || (events & POLLRDHUP) != 0;
    socket_.send_shutdown = both;
    if (!both) {
      lose("send_shutdown", has_port() ? "not known: " + why(view_.diag_error, "sock_diag")
                                       : "the kernel does not tell it of an unbound socket");
    }
    bool shared = number_of(socket_.options, SOL_SOCKET, SO_REUSEPORT) != 0;
    if (shared && has_port())
      lose("reuseport_rank", "not known: " + why(view_.diag_error, "sock_diag"));
  }

  Result<void> read_groups() {
    if (!view_.groups) {
      lose("memberships", "not known: " + why(view_.groups_error, "/proc/net"));
      return {};
    }
    SOCKREPAIR_TRY_ASSIGN(socket_.memberships,
                          internal::read_memberships(fd_, socket_.domain, view_.groups->groups));
    if (view_.groups->anycast && socket_.domain == AF_INET6)
      lose("option IPPROTO_IPV6, IPV6_JOIN_ANYCAST",
           "this host is a member of anycast groups, and the kernel does not tell by which socket");
    return {};
  }

  // See address_chosen and port_chosen: what can be concluded.
  void read_choices() {
    if (!socket_.local) {
      socket_.address_chosen = socket_.port_chosen = false;
      return;
    }
    const Endpoint& local = *socket_.local;
    bool v6only = number_of(socket_.options, IPPROTO_IPV6, IPV6_V6ONLY) != 0;
    socket_.address_chosen =
        internal::address_choice(socket_.domain, local, socket_.peer.has_value(), v6only);
    if (local.port == 0) socket_.port_chosen = false;
    if (local.port != 0 && view_.ports && !view_.ports->contains(local.port))
      socket_.port_chosen = true;
    if (socket_.peer && !socket_.address_chosen)
      lose("local address", "whether the program chose it, and so keeps it when it disconnects");
    if (socket_.peer && !socket_.port_chosen)
      lose("local port", "whether the program chose it, and so keeps it when it disconnects");
  }

  Result<void> read_errors() {
    has_error_ = (internal::poll_now(fd_) & POLLERR) != 0;
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
    has_error_ = false;
    return {};
  }

  Result<void> read_send_queue() {
    if (!options_.send_queue) return {};
    internal::CarriedBy nobody(nullptr);
    Result<std::optional<SendQueue>> queue = dump_send_queue(fd_);
    if (queue) {
      socket_.send_queue = *std::move(queue);
      return {};
    }
    int code = queue.error().code;
    if (code != ENOPROTOOPT && code != EPERM) return queue.error();
    int unsent = 0;
    SOCKREPAIR_TRY(sys::ioctl(fd_, SIOCOUTQ, &unsent));
    if (unsent != 0) {
      lose("send queue", std::to_string(unsent) +
                             " bytes of memory are on their way out or under construction, and "
                             "cannot be read: " +
                             queue.error().describe());
    }
    return {};
  }

  Result<void> read_receive_queue() {
    if (!options_.receive_queue) return {};
    internal::CarriedBy nobody(nullptr);
    ReceiveQueueDumpOptions how = options_.receive;
    if (has_error_ && (internal::poll_now(fd_) & POLLIN) == 0 && !socket_.receive_shutdown)
      return {};
    // Peeking would take the pending error.
    if (has_error_ && how.method == Method::kStock) return error_in_the_way("Method::kStock");
    if (has_error_) how.method = Method::kKernel;
    Result<ReceiveQueueDump> dump = dump_receive_queue(fd_, how);
    if (!dump) {
      bool asked_for = options_.receive.method == Method::kKernel;
      return has_error_ && !asked_for ? error_in_the_way(dump.error().describe()) : dump.error();
    }
    socket_.receive_queue = std::move(dump->queue);
    append(socket_.losses, std::move(dump->losses));
    if (dump->pending_error != 0) {
      // It came up during the dump.
      socket_.pending_error = dump->pending_error;
      lose("pending_error", "taken from the program with the receive queue");
    }
    if (dump->hidden_at_most != 0) {
      lose("receive queue", "up to " + std::to_string(dump->hidden_at_most) +
                                " datagrams without a byte that were peeked at before");
    }
    return {};
  }

  static Error error_in_the_way(const std::string& why) {
    return Error{EBUSY,
                 "receive queue: reading it takes the pending error, needs "
                 "UDP_REPAIR_RECV_QUEUE (" +
                     why + ") or UdpDumpOptions::take_errors"};
  }

  void read_interfaces() {
    internal::add_interfaces_of(fd_, socket_.options, socket_.interfaces);
    for (const Membership& membership : socket_.memberships) add_interface(membership.ifindex);
    if (socket_.local) add_interface(socket_.local->scope);
    if (socket_.peer) add_interface(socket_.peer->scope);
    if (socket_.send_queue) add_interface(socket_.send_queue->oif.value_or(0));
    for (const ReceivedDatagram& datagram : socket_.receive_queue.datagrams) {
      add_interface(datagram.ifindex.value_or(0));
      add_interface(datagram.device.value_or(0));
      add_interface(datagram.source.scope);
    }
  }

  void add_interface(std::uint32_t index) {
    internal::add_interface(fd_, index, socket_.interfaces);
  }

  bool has_port() const { return socket_.local && socket_.local->port != 0; }

  void lose(const char* subject, std::string what) {
    socket_.losses.push_back(loss_of(subject, std::move(what)));
  }

  static std::string why(const std::optional<Error>& error, const char* source) {
    return error ? error->describe() : std::string(source) + " does not know the socket";
  }

  // The label in a sin6_flowinfo; the rest of it is the traffic class.
  static constexpr std::uint32_t kFlowLabelMask = 0xfffff;

  int fd_;
  internal::SocketKind kind_;
  const UdpDumpOptions& options_;
  UdpSocket socket_;
  NamespaceView view_;
  bool has_error_ = false;
};

// --- checks ---

Result<void> check_membership(const Membership& membership, int domain) {
  std::string member = "memberships, " + membership.group.to_string();
  if (!membership.group.is_multicast() || !family_fits(membership.group, domain))
    return refuse(EINVAL, member, "must be a multicast group of the socket's domain");
  if (membership.ifindex == 0) return refuse(EINVAL, member, "interface 0, must be one");
  if (!membership.exclude && membership.sources.empty())
    return refuse(EINVAL, member, "from nobody, must have a source");
  for (const IpAddress& source : membership.sources) {
    if (source.family() != membership.group.family() || source.is_multicast())
      return refuse(EINVAL, member,
                    "source " + source.to_string() + ", must be a host's of the same family");
  }
  return {};
}

// Everything that can be said without the kernel.
Result<void> check_socket(const UdpSocket& socket) {
  if (socket.domain != AF_INET && socket.domain != AF_INET6)
    return refuse(EAFNOSUPPORT, "domain",
                  std::to_string(socket.domain) + ", must be AF_INET or AF_INET6");
  SOCKREPAIR_TRY(internal::check_names({.domain = socket.domain,
                                        .local = socket.local,
                                        .peer = socket.peer,
                                        .peer_flowinfo = socket.peer_flowinfo,
                                        .address_chosen = socket.address_chosen}));
  SOCKREPAIR_TRY(internal::check_interfaces(socket.interfaces));
  for (const Membership& membership : socket.memberships)
    SOCKREPAIR_TRY(check_membership(membership, socket.domain));
  SOCKREPAIR_TRY(internal::check_option_values(socket.options));
  return {};
}

// --- restore ---

// Whether address and port are given to bind(2), or left to the kernel in such a way that it comes
// to the same.
struct Choice {
  bool address = true;
  bool port = true;
};

class Restorer {
 public:
  Restorer(const UdpSocket& socket, const UdpRestoreOptions& options,
           const internal::Surroundings* here)
      : socket_(socket), options_(options), fresh_(here == nullptr ? nullptr : &here->fresh) {}

  Result<RestoredSocket> run() {
    SOCKREPAIR_TRY(check_socket(socket_));
    choice_ = {socket_.address_chosen.value_or(true), socket_.port_chosen.value_or(true)};
    // At most one try for each part of the choice that turns out not to work here.
    for (;;) {
      SOCKREPAIR_TRY(attempt());
      if (!choose_more_) break;
    }
    return std::move(restored_);
  }

 private:
  Result<void> attempt() {
    choose_more_ = false;
    restored_ = RestoredSocket{};
    restored_.losses = choice_losses_;
    int type = SOCK_DGRAM | (socket_.nonblocking ? SOCK_NONBLOCK : 0);
    SOCKREPAIR_TRY_ASSIGN(restored_.fd, sys::socket(socket_.domain, type, IPPROTO_UDP));
    fd_ = restored_.fd.get();
    wanted_.emplace(socket_.options);
    option_state_.emplace(fd_, internal::SocketKind{socket_.domain, SOCK_DGRAM, IPPROTO_UDP},
                          fresh_);

    SOCKREPAIR_TRY(apply(OptionMoment::kBeforeBind));
    SOCKREPAIR_TRY(join_groups());
    SOCKREPAIR_TRY_ASSIGN(bool received, receive_queue_by_kernel());
    SOCKREPAIR_TRY(bind());
    if (choose_more_) return {};
    if (!received) SOCKREPAIR_TRY(receive_queue_by_packets());
    if (choose_more_) return {};
    SOCKREPAIR_TRY(connect());
    if (choose_more_) return {};
    SOCKREPAIR_TRY(send_queue());
    SOCKREPAIR_TRY(apply(OptionMoment::kAfterQueues));
    SOCKREPAIR_TRY(shut_down());
    if (socket_.pending_error) {
      lose("pending_error", errno_text(*socket_.pending_error) + ", no call sets one");
    }
    return {};
  }

  Result<void> apply(OptionMoment moment) {
    ApplyOptions how;
    how.refusal = options_.refusal;
    how.first = how.last = moment;
    how.interfaces = socket_.interfaces;
    SOCKREPAIR_TRY_ASSIGN(std::vector<Loss> losses,
                          internal::apply_options(*option_state_, *wanted_, how));
    append(restored_.losses, std::move(losses));
    return {};
  }

  Result<void> join_groups() {
    for (const Membership& wanted : socket_.memberships) {
      Membership here = wanted;
      Result<std::uint32_t> index = translated(wanted.ifindex);
      Result<void> joined = index ? Result<void>() : index.error();
      if (index) {
        here.ifindex = *index;
        joined = internal::join(fd_, here);
      }
      if (joined) continue;
      Error error = refuse(joined.error().code, "memberships, " + wanted.describe(),
                           "refused by " + joined.error().what);
      if (options_.refusal == Refusal::kFail) return error;
      lose("membership", error.describe());
    }
    return {};
  }

  // --- names ---

  Result<void> bind() {
    if (!socket_.local) return {};
    SOCKREPAIR_TRY_ASSIGN(Endpoint local, here(*socket_.local));
    if (!choice_.address && socket_.peer) {
      local.address = IpAddress::any(socket_.domain == AF_INET ? Family::kIpv4 : Family::kIpv6);
      local.scope = 0;
    }
    if (local.port == 0) return internal::bind_without_port(fd_, socket_.domain, local);
    if (choice_.port) return internal::bind_to(fd_, socket_.domain, local);
    SOCKREPAIR_TRY_ASSIGN(std::optional<std::string> obstacle,
                          internal::bind_given_port(fd_, socket_.domain, local));
    return obstacle ? choose_port(*obstacle) : Result<void>();
  }

  Result<void> choose_port(const std::string& why) {
    choice_.port = choose_more_ = true;
    choice_losses_.push_back(loss_of(
        "local port", "stays when the program disconnects, as if it had chosen it: " + why));
    return {};
  }

  Result<void> connect() {
    if (!socket_.peer) return {};
    SOCKREPAIR_TRY_ASSIGN(Endpoint peer, here(*socket_.peer));
    Result<void> connected =
        sys::connect(fd_, internal::peer_address(peer, socket_.domain, socket_.peer_flowinfo));
    if (!connected) {
      return refuse(connected.error().code, "peer",
                    peer.to_string() + ", needs a route from " + socket_.local->to_string());
    }
    if (choice_.address) return {};

    SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd_));
    SOCKREPAIR_TRY_ASSIGN(Endpoint local, name.endpoint());
    if (local.address == socket_.local->address) return {};
    choice_.address = choose_more_ = true;
    choice_losses_.push_back(
        loss_of("local address",
                "stays when the program disconnects, as if it had chosen it: the route to the peer "
                "would give it " +
                    local.address.to_string()));
    return {};
  }

  // ENOTCONN comes after the work is done, on a socket that is not connected.
  Result<void> shut_down() {
    if (!socket_.receive_shutdown && !socket_.send_shutdown) return {};
    int how = socket_.receive_shutdown && socket_.send_shutdown ? SHUT_RDWR
              : socket_.receive_shutdown                        ? SHUT_RD
                                                                : SHUT_WR;
    Result<void> done = sys::shutdown(fd_, how);
    if (done || done.error().code == ENOTCONN) return {};
    return done;
  }

  // --- queues ---

  // Ahead of bind(2), so that nothing from the network gets in front. False: left to later.
  Result<bool> receive_queue_by_kernel() {
    if (options_.receive.method == Method::kStock) return false;
    Result<void> done = receive_queue({Method::kKernel});
    if (done) return true;
    bool missing = done.error().code == ENOPROTOOPT || done.error().code == EPERM;
    if (missing && !options_.receive.method) return false;
    return done.error();
  }

  // Takes connects, and a socket that disconnects loses a port that it did not choose.
  Result<void> receive_queue_by_packets() {
    // Borrows addresses and filters that another socket of a batch may want at the same time.
    internal::CarriedBy nobody(nullptr);
    SOCKREPAIR_TRY(receive_queue(options_.receive));
    if (choice_.port || !socket_.local) return {};
    SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd_));
    SOCKREPAIR_TRY_ASSIGN(Endpoint local, name.endpoint());
    if (local.port == socket_.local->port) return {};
    return choose_port("the receive queue could not be restored otherwise");
  }

  Result<void> receive_queue(const ReceiveQueueRestoreOptions& how) {
    const ReceiveQueue* queue = &socket_.receive_queue;
    if (queue->datagrams.empty()) return {};
    ReceiveQueue moved;
    SOCKREPAIR_TRY_ASSIGN(bool elsewhere, interfaces_differ());
    if (elsewhere) {
      moved = *queue;
      for (ReceivedDatagram& datagram : moved.datagrams) {
        for (auto* index : {&datagram.ifindex, &datagram.device}) {
          if (!*index) continue;
          SOCKREPAIR_TRY_ASSIGN(*index, translated(**index));
        }
        SOCKREPAIR_TRY_ASSIGN(datagram.source.scope, translated(datagram.source.scope));
      }
      queue = &moved;
    }
    SOCKREPAIR_TRY_ASSIGN(ReceiveQueueReport report, restore_receive_queue(fd_, *queue, how));
    append(restored_.losses, std::move(report.losses));
    return {};
  }

  Result<void> send_queue() {
    if (!socket_.send_queue) return {};
    if (!socket_.send_queue->oif)
      return restore_send_queue(fd_, *socket_.send_queue, options_.send);
    SOCKREPAIR_TRY_ASSIGN(std::uint32_t oif, translated(*socket_.send_queue->oif));
    if (oif == *socket_.send_queue->oif)
      return restore_send_queue(fd_, *socket_.send_queue, options_.send);
    SendQueue moved = *socket_.send_queue;
    moved.oif = oif;
    return restore_send_queue(fd_, moved, options_.send);
  }

  // --- interfaces ---

  Result<std::uint32_t> translated(std::uint32_t index) const {
    return internal::translated_interface(fd_, index, socket_.interfaces);
  }

  Result<Endpoint> here(Endpoint endpoint) const {
    SOCKREPAIR_TRY_ASSIGN(endpoint.scope, translated(endpoint.scope));
    return endpoint;
  }

  // Whether an interface of the value has another index here, or is missing.
  Result<bool> interfaces_differ() const {
    for (const InterfaceName& row : socket_.interfaces) {
      Result<std::uint32_t> index = internal::interface_index(fd_, row.name);
      if (!index || *index != row.index) return true;
    }
    return false;
  }

  void lose(const char* subject, std::string what) {
    restored_.losses.push_back(loss_of(subject, std::move(what)));
  }

  const UdpSocket& socket_;
  const UdpRestoreOptions& options_;
  const internal::FreshOptions* fresh_;
  std::optional<internal::OptionIndex> wanted_;
  std::optional<internal::OptionState> option_state_;
  RestoredSocket restored_;
  int fd_ = -1;
  Choice choice_;
  // The last attempt has found that the kernel would choose otherwise: once more, with choice_ as
  // it is now.
  bool choose_more_ = false;
  std::vector<Loss> choice_losses_;
};

}  // namespace

Result<UdpSocket> dump_udp_socket(int fd, const UdpDumpOptions& options) {
  return internal::no_throw([&]() -> Result<UdpSocket> {
    SOCKREPAIR_TRY_ASSIGN(internal::SocketKind kind, internal::SocketKind::of(fd));
    return internal::dump_udp(fd, kind, options);
  });
}

Result<RestoredSocket> restore_udp_socket(const UdpSocket& socket,
                                          const UdpRestoreOptions& options) {
  return internal::no_throw(
      [&]() -> Result<RestoredSocket> { return internal::restore_udp(socket, options, nullptr); });
}

namespace internal {

Result<UdpSocket> dump_udp(int fd, const SocketKind& kind, const UdpDumpOptions& options) {
  return Dumper(fd, kind, options).run();
}

Result<RestoredSocket> restore_udp(const UdpSocket& socket, const UdpRestoreOptions& options,
                                   const Surroundings* here) {
  return Restorer(socket, options, here).run();
}

}  // namespace internal

}  // namespace sockrepair

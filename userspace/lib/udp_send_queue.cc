// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/udp_send_queue.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <array>
#include <span>
#include <utility>

#include "borrowed_options.h"
#include "no_throw.h"
#include "send_queue_wire.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair {

namespace {

using Bytes = SendQueue::Bytes;

// Enough for the header, all options and a datagram of one MTU: most dumps take one call.
constexpr std::size_t kFirstDumpSize = 4096;
constexpr std::uint8_t kRoutingTypeSegment = 4;

// --- dump ---

Result<Bytes> read_send_queue(int fd) {
  Bytes buffer(kFirstDumpSize);
  for (;;) {
    udp_repair_send_queue header{};
    header.size = sizeof(header);
    memcpy(buffer.data(), &header, sizeof(header));
    SOCKREPAIR_TRY_ASSIGN(socklen_t written,
                          sys::getsockopt_bytes(fd, SOL_UDP, UDP_REPAIR_SEND_QUEUE, buffer.data(),
                                                static_cast<socklen_t>(buffer.size())));
    memcpy(&header, buffer.data(), sizeof(header));
    // Another thread may be appending: what was enough a moment ago need not be now, but no
    // datagram is longer than IP allows.
    if ((header.state & UDP_REPAIR_SQ_TRUNC) != 0 && header.total_len > buffer.size()) {
      buffer.assign(header.total_len, 0);
      continue;
    }
    buffer.resize(written);
    return buffer;
  }
}

Result<std::optional<SendQueue>> dump_in_repair_mode(int fd) {
  SOCKREPAIR_TRY_ASSIGN(Bytes bytes, read_send_queue(fd));
  return internal::parse_send_queue(bytes);
}

Result<std::optional<SendQueue>> dump(int fd) {
  SOCKREPAIR_TRY_ASSIGN(bool was_on, get_udp_repair(fd));
  if (was_on) return dump_in_repair_mode(fd);

  SOCKREPAIR_TRY(set_udp_repair(fd, true));
  Result<std::optional<SendQueue>> queue = dump_in_repair_mode(fd);
  Result<void> off = set_udp_repair(fd, false);
  if (queue && !off) return off.error();
  return queue;
}

// --- discard ---

// A page that every access to fails.
class Hole {
 public:
  Hole() : page_(::mmap(nullptr, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  Hole(const Hole&) = delete;
  Hole& operator=(const Hole&) = delete;
  ~Hole() {
    if (page_ != MAP_FAILED) ::munmap(page_, 1);
  }
  void* get() const { return page_; }

 private:
  void* page_;
};

Result<void> discard(int fd) {
  int unsent = 0;
  SOCKREPAIR_TRY(sys::ioctl(fd, SIOCOUTQ, &unsent));
  if (unsent == 0) return {};

  // An append that fails throws away what is there, and reading a hole always fails.
  Hole hole;
  if (hole.get() == MAP_FAILED) return Error{ENOMEM, "mmap(1 byte, PROT_NONE)"};
  iovec part{hole.get(), 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Result<std::size_t> sent = sys::sendmsg(fd, message, MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent) return Error{EPROTO, "sendmsg() of an unmapped page succeeded"};
  // EDESTADDRREQ: there was no datagram under construction, just one on its way.
  if (sent.error().code == EFAULT || sent.error().code == EDESTADDRREQ) return {};
  return sent.error();
}

// --- restore ---

// What restoring depends on, of the socket that is to get the datagram.
struct Target {
  int fd;
  int domain;
  Endpoint local;
  std::uint32_t bound_ifindex;
  std::uint32_t mark;
  bool timestamp_ids;
};

Error refuse(int code, const char* member, const std::string& why) {
  return Error{code, std::string(member) + ": " + why};
}

Result<Target> inspect(int fd) {
  Target target{};
  target.fd = fd;

  SOCKREPAIR_TRY_ASSIGN(int protocol, sys::getsockopt<int>(fd, SOL_SOCKET, SO_PROTOCOL));
  if (protocol != IPPROTO_UDP)
    return Error{EPROTONOSUPPORT, "protocol " + std::to_string(protocol) + " of descriptor " +
                                      std::to_string(fd) + ", must be UDP"};
  SOCKREPAIR_TRY_ASSIGN(target.domain, sys::getsockopt<int>(fd, SOL_SOCKET, SO_DOMAIN));
  SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd));
  SOCKREPAIR_TRY_ASSIGN(target.local, name.endpoint());
  SOCKREPAIR_TRY_ASSIGN(target.bound_ifindex,
                        sys::getsockopt<std::uint32_t>(fd, SOL_SOCKET, SO_BINDTOIFINDEX));
  SOCKREPAIR_TRY_ASSIGN(target.mark, sys::getsockopt<std::uint32_t>(fd, SOL_SOCKET, SO_MARK));

  // An int, followed by the clock's index in kernels since 5.14.
  std::array<std::uint32_t, 2> timestamping{};
  SOCKREPAIR_TRY(sys::getsockopt_bytes(fd, SOL_SOCKET, SO_TIMESTAMPING, timestamping.data(),
                                       sizeof(timestamping)));
  target.timestamp_ids = (timestamping[0] & SOF_TIMESTAMPING_OPT_ID) != 0;
  return target;
}

// Refuses when a datagram is already under construction: what we send would be appended to it.
Result<void> check_queue_is_empty(const Target& target) {
  int unsent = 0;
  SOCKREPAIR_TRY(sys::ioctl(target.fd, SIOCOUTQ, &unsent));
  if (unsent == 0) return {};

  // Memory of datagrams that are on their way to the device counts too; only a dump tells.
  Result<std::optional<SendQueue>> queue = dump(target.fd);
  if (queue && !queue->has_value()) return {};
  std::string why =
      queue ? "a datagram of " + std::to_string((*queue)->payload.size()) +
                  " bytes is already under construction on the socket"
            : "the socket holds unsent data and cannot be dumped, " + queue.error().describe();
  return refuse(EBUSY, "payload", why);
}

Result<void> check_family(const Target& target, const SendQueue& queue) {
  if (target.domain == AF_INET) {
    if (queue.family == Family::kIpv4) return {};
    return refuse(EAFNOSUPPORT, "family", "IPv6, must be IPv4 on an AF_INET socket");
  }
  if (target.domain != AF_INET6)
    return refuse(
        EAFNOSUPPORT, "family",
        "the socket has domain " + std::to_string(target.domain) + ", must be AF_INET or AF_INET6");
  if (queue.family == Family::kIpv6) return {};

  SOCKREPAIR_TRY_ASSIGN(int v6only, sys::getsockopt<int>(target.fd, IPPROTO_IPV6, IPV6_V6ONLY));
  if (v6only != 0)
    return refuse(EAFNOSUPPORT, "family", "IPv4, must be IPv6 on a socket with IPV6_V6ONLY");
  return {};
}

Result<void> check_interface(const Target& target, const SendQueue& queue) {
  if (queue.oif) {
    ifreq request{};
    request.ifr_ifindex = static_cast<int>(*queue.oif);
    Result<void> found = sys::ioctl(target.fd, SIOCGIFNAME, &request);
    if (!found)
      return refuse(
          found.error().code, "oif",
          "no interface " + std::to_string(*queue.oif) + " in the network namespace of the socket");
    return {};
  }
  if (queue.family == Family::kIpv6 && target.bound_ifindex != 0 &&
      target.bound_ifindex != queue.ifindex) {
    return refuse(EINVAL, "oif",
                  "not given, and the socket is bound to interface " +
                      std::to_string(target.bound_ifindex) + ", must be bound to " +
                      std::to_string(queue.ifindex) + " or to none");
  }
  return {};
}

Result<void> check_target(const Target& target, const SendQueue& queue) {
  SOCKREPAIR_TRY(check_family(target, queue));

  if (target.local.port != queue.source_port) {
    std::string bound = target.local.port == 0
                            ? "the socket is not bound"
                            : "the socket is bound to port " + std::to_string(target.local.port);
    return refuse(EADDRNOTAVAIL, "source_port",
                  bound + ", must be bound to " + std::to_string(queue.source_port));
  }
  SOCKREPAIR_TRY(check_interface(target, queue));

  if (queue.tsflags != 0 && queue.tskey != 0 && !target.timestamp_ids)
    return refuse(
        EINVAL, "tskey",
        std::to_string(queue.tskey) + " is given, needs SOF_TIMESTAMPING_OPT_ID on the socket");
  return check_queue_is_empty(target);
}

// A socket option that is taken when a datagram does not give its own, and that control messages
// have no way to deny.
struct Intruder {
  Family family;
  bool is_header;
  int level;
  int name;
  // What the option has to be while the datagram is begun.
  Bytes (*wanted)(const SendQueue&);
};

Bytes no_interface(const SendQueue&) {
  return Bytes(sizeof(int), 0);
}

template <Bytes SendQueue::*Header>
Bytes header(const SendQueue& queue) {
  return queue.*Header;
}

constexpr Intruder kIntruders[] = {
    {Family::kIpv4, false, IPPROTO_IP, IP_UNICAST_IF, no_interface},
    {Family::kIpv6, false, IPPROTO_IPV6, IPV6_UNICAST_IF, no_interface},
    {Family::kIpv6, false, IPPROTO_IPV6, IPV6_MULTICAST_IF, no_interface},
    {Family::kIpv6, true, IPPROTO_IPV6, IPV6_HOPOPTS, header<&SendQueue::hop_by_hop>},
    {Family::kIpv6, true, IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, header<&SendQueue::routing_dst>},
    {Family::kIpv6, true, IPPROTO_IPV6, IPV6_RTHDR, header<&SendQueue::routing>},
    {Family::kIpv6, true, IPPROTO_IPV6, IPV6_DSTOPTS, header<&SendQueue::dst>},
};

bool has_headers(const SendQueue& queue) {
  return !queue.hop_by_hop.empty() || !queue.routing_dst.empty() || !queue.routing.empty() ||
         !queue.dst.empty();
}

// Headers in control messages keep those of the socket out, but there is no message for none at
// all, and none for a segment routing header.
bool headers_need_options(const SendQueue& queue) {
  bool segment_routing = queue.routing.size() > 2 && queue.routing[2] == kRoutingTypeSegment;
  return queue.family == Family::kIpv6 && (!has_headers(queue) || segment_routing);
}

Result<void> borrow_options(internal::BorrowedOptions& borrowed, const SendQueue& queue,
                            bool headers) {
  for (const Intruder& option : kIntruders) {
    if (option.family != queue.family) continue;
    bool matters = option.is_header ? headers : !queue.oif.has_value();
    if (!matters) continue;
    SOCKREPAIR_TRY(borrowed.set(option.level, option.name, option.wanted(queue)));
  }
  return {};
}

// sendmsg() to the datagram's destination with the messages of `rows`.
Result<std::size_t> send_with(int fd, const SendQueue& queue, const SocketAddress& to,
                              std::span<const internal::ControlRow* const> rows,
                              std::span<const std::uint8_t> payload, int flags) {
  internal::ControlMessages control = internal::encode_rows(rows, queue);
  iovec part{const_cast<std::uint8_t*>(payload.data()), payload.size()};
  msghdr message{};
  message.msg_name = const_cast<sockaddr*>(to.get());
  message.msg_namelen = to.size();
  message.msg_iov = &part;
  message.msg_iovlen = payload.empty() ? 0 : 1;
  control.attach(message);
  return sys::sendmsg(fd, message, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
}

// All of a send but the send. MSG_PROBE alone would do for a socket without UDP_CORK; on one that
// has it the kernel begins a datagram, counts a UDP header into its length, and forgets to take it
// out.
constexpr int kRehearse = MSG_PROBE | MSG_CONFIRM;

// Asks the kernel, without touching the socket, whether it takes the control messages and finds a
// route.
Result<void> rehearse(int fd, const SendQueue& queue, const SocketAddress& to,
                      std::span<const internal::ControlRow* const> rows, int flags) {
  Result<std::size_t> all = send_with(fd, queue, to, rows, {}, flags | kRehearse);
  if (all) return {};

  // Which one is it? Taking one more at a time, the first that makes it fail.
  for (std::size_t count = 1; count <= rows.size(); ++count) {
    Result<std::size_t> some = send_with(fd, queue, to, rows.first(count), {}, flags | kRehearse);
    if (some) continue;
    const internal::ControlRow& row = *rows[count - 1];
    std::string members = row.members;
    if (count == 1) {
      members += " (" + Endpoint{queue.source, queue.source_port, 0}.to_string() + " to " +
                 Endpoint{queue.destination, queue.destination_port, 0}.to_string() +
                 (queue.oif ? " by interface " + std::to_string(*queue.oif) : "") + ")";
    }
    return refuse(some.error().code, members.c_str(), row.limit);
  }
  return all.error();
}

Result<void> restore(int fd, const SendQueue& queue, const RestoreOptions& options) {
  SOCKREPAIR_TRY(internal::check_members(queue));
  SOCKREPAIR_TRY_ASSIGN(Target target, inspect(fd));
  SOCKREPAIR_TRY(check_target(target, queue));

  bool by_option = headers_need_options(queue);
  internal::BorrowedOptions borrowed(fd);
  SOCKREPAIR_TRY(borrow_options(borrowed, queue, by_option));

  std::uint32_t scope = queue.destination.is_link_local() ? queue.oif.value_or(0) : 0;
  SocketAddress to(Endpoint{queue.destination, queue.destination_port, scope}, target.domain);
  std::vector<const internal::ControlRow*> rows =
      internal::given_rows(queue, {.socket_mark = target.mark,
                                   .timestamp_ids = target.timestamp_ids,
                                   .headers_by_option = by_option});
  int flags = options.dont_route && queue.onlink ? MSG_DONTROUTE : 0;
  SOCKREPAIR_TRY(rehearse(fd, queue, to, rows, flags));

  flags |= MSG_MORE | (queue.confirm ? MSG_CONFIRM : 0);
  Result<std::size_t> sent = send_with(fd, queue, to, rows, queue.payload, flags);
  if (!sent)
    return refuse(
        sent.error().code, "payload",
        std::to_string(queue.payload.size()) +
            " bytes, must fit the send buffer (SO_SNDBUF) and with dontfrag the path MTU");

  Result<void> put_back = borrowed.put_back();
  if (!put_back) {
    (void)discard(fd);
    return put_back;
  }
  return {};
}

}  // namespace

Result<bool> get_udp_repair(int fd) {
  return internal::no_throw([&]() -> Result<bool> {
    SOCKREPAIR_TRY_ASSIGN(int mode, sys::getsockopt<int>(fd, SOL_UDP, UDP_REPAIR));
    return mode != UDP_REPAIR_OFF;
  });
}

Result<void> set_udp_repair(int fd, bool on) {
  return internal::no_throw([&]() -> Result<void> {
    return sys::setsockopt<int>(fd, SOL_UDP, UDP_REPAIR, on ? UDP_REPAIR_ON : UDP_REPAIR_OFF);
  });
}

Result<std::optional<SendQueue>> dump_send_queue(int fd) {
  return internal::no_throw([&] { return dump(fd); });
}

Result<void> restore_send_queue(int fd, const SendQueue& queue, const RestoreOptions& options) {
  return internal::no_throw([&] { return restore(fd, queue, options); });
}

Result<void> discard_send_queue(int fd) {
  return internal::no_throw([&] { return discard(fd); });
}

}  // namespace sockrepair

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "receive_queue_stock.h"

#include <errno.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "borrowed_options.h"
#include "control_messages.h"
#include "netlink.h"
#include "no_throw.h"
#include "packet.h"
#include "peeker.h"
#include "receive_queue_target.h"
#include "receive_queue_text.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair::internal {

namespace {

constexpr char kSubject[] = "receive queue, datagram";

// The kernel counts at least this much for a datagram beside its bytes: a struct sk_buff and a
// struct skb_shared_info.
constexpr std::size_t kLeastOverhead = 512;

// A packet is in the queue when the call that sends it returns, unless its processing was handed to
// another processor (RPS, threaded NAPI, ksoftirqd). So much waiting for all packets together:
// where the first ones do not arrive, the others are not late.
constexpr std::chrono::milliseconds kDeliveryPatience{300};
constexpr std::chrono::microseconds kDeliveryPause{100};
// Often ksoftirqd of this processor has the packet, and only wants to run.
constexpr int kDeliveryYields = 50;

constexpr char kLoopback[] = "lo";
constexpr std::uint32_t kLoopbackIndex = 1;  // in every namespace

}  // namespace

// --- dump ---

Result<ReceiveQueueDump> dump_by_peeking(int fd) {
  SOCKREPAIR_TRY_ASSIGN(Peeker peeker, Peeker::open(fd));
  std::vector<Peeked> peeked;
  SOCKREPAIR_TRY(peeker.read_on(peeked));
  SOCKREPAIR_TRY_ASSIGN(std::size_t memory, queue_memory(fd));
  SOCKREPAIR_TRY(peeker.close());

  ReceiveQueueDump dump;
  dump.method = Method::kStock;
  dump.pending_error = peeker.pending_error();
  std::size_t accounted = 0;
  for (std::size_t i = 0; i < peeked.size(); ++i) {
    accounted += peeked[i].datagram.payload.size() + kLeastOverhead;
    if (!peeked[i].missing.empty()) dump.losses.push_back({kSubject, i, peeked[i].missing});
    dump.queue.datagrams.push_back(std::move(peeked[i].datagram));
  }
  if (memory > accounted) dump.hidden_at_most = (memory - accounted) / kLeastOverhead;
  // A queue that takes memory and shows nothing.
  if (peeked.empty() && dump.hidden_at_most != 0)
    dump.losses.push_back(
        {"receive queue", std::nullopt,
         "takes " + std::to_string(memory) + " bytes of memory, but no datagram can be peeked at"});
  return dump;
}

namespace {

// --- restore: what stock kernels are made to do ---

// What is sent and what arrives: a datagram, or one of several that GRO had put together.
struct Piece {
  std::size_t index;  // in the queue
  ReceivedDatagram datagram;
};

// The socket that gets the queue.
struct Receiver {
  int fd;
  int domain;
  Endpoint local;
  std::optional<Endpoint> peer;
  std::uint32_t bound_ifindex;
  bool shared;  // other sockets may be bound to the same address and port
  bool group;   // SO_REUSEPORT
  std::uint64_t cookie;
};

Result<Receiver> inspect(int fd, int domain) {
  Receiver receiver{};
  receiver.fd = fd;
  receiver.domain = domain;
  SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(fd));
  SOCKREPAIR_TRY_ASSIGN(receiver.local, name.endpoint());
  SocketAddress peer;
  if (::getpeername(fd, peer.mutable_get(), peer.mutable_size()) == 0) {
    SOCKREPAIR_TRY_ASSIGN(receiver.peer, peer.endpoint());
  }
  SOCKREPAIR_TRY_ASSIGN(receiver.bound_ifindex,
                        sys::getsockopt<std::uint32_t>(fd, SOL_SOCKET, SO_BINDTOIFINDEX));
  SOCKREPAIR_TRY_ASSIGN(int address_shared, sys::getsockopt<int>(fd, SOL_SOCKET, SO_REUSEADDR));
  SOCKREPAIR_TRY_ASSIGN(int port_shared, sys::getsockopt<int>(fd, SOL_SOCKET, SO_REUSEPORT));
  receiver.shared = address_shared != 0 || port_shared != 0;
  receiver.group = port_shared != 0;
  SOCKREPAIR_TRY_ASSIGN(receiver.cookie, sys::getsockopt<std::uint64_t>(fd, SOL_SOCKET, SO_COOKIE));
  return receiver;
}

// The sockets that packets are made with, in the network namespace of the receiver.
struct Workshop {
  Fd ipv4;
  Fd ipv6;  // none where the kernel has no IPv6
  std::optional<RouteLookup> routes;
  std::optional<SocketLookup> sockets;
  std::size_t mtu;
};

Result<Fd> open_raw(int domain) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(domain, SOCK_RAW, IPPROTO_RAW));
  // Room for the longest packet whatever the default is.
  (void)sys::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20);
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_BROADCAST, 1));
  return fd;
}

Result<Workshop> open_here() {
  Workshop shop{};
  SOCKREPAIR_TRY_ASSIGN(shop.ipv4, open_raw(AF_INET));
  Result<Fd> ipv6 = open_raw(AF_INET6);
  if (!ipv6 && ipv6.error().code != EAFNOSUPPORT) return ipv6.error();
  if (ipv6) shop.ipv6 = *std::move(ipv6);
  SOCKREPAIR_TRY_ASSIGN(shop.routes, RouteLookup::open());
  SOCKREPAIR_TRY_ASSIGN(shop.sockets, SocketLookup::open());
  ifreq request{};
  memcpy(request.ifr_name, kLoopback, sizeof(kLoopback));
  SOCKREPAIR_TRY(sys::ioctl(shop.ipv4.get(), SIOCGIFMTU, &request));
  shop.mtu = static_cast<std::size_t>(request.ifr_mtu);
  return shop;
}

// SO_NETNS_COOKIE; 0 on kernels before 5.14.
std::uint64_t namespace_cookie(int fd) {
  Result<std::uint64_t> cookie = sys::getsockopt<std::uint64_t>(fd, SOL_SOCKET, SO_NETNS_COOKIE);
  return cookie ? *cookie : 0;
}

// In the namespace of `fd`, which need not be that of the calling thread.
Result<Workshop> open_workshop(int fd) {
  std::uint64_t wanted = namespace_cookie(fd);
  if (wanted != 0) {
    SOCKREPAIR_TRY_ASSIGN(Fd here, sys::socket(AF_INET, SOCK_DGRAM, 0));
    if (namespace_cookie(here.get()) == wanted) return open_here();
  }
  int number = ::ioctl(fd, SIOCGSKNS);
  if (number < 0) return Error{errno, "ioctl(" + std::to_string(fd) + ", SIOCGSKNS)"};
  Fd name_space(number);
  std::optional<Result<Workshop>> shop;
  // The namespace of a thread of its own is changed, never that of the caller.
  std::thread([&] {
    if (::setns(name_space.get(), CLONE_NEWNET) != 0)
      shop = Error{errno, "setns(network namespace of the socket)"};
    else
      shop = no_throw([] { return open_here(); });
  }).join();
  return *std::move(shop);
}

// --- restore: the right socket ---

// Makes the kernel deliver a packet to the receiver and to no other socket.
//
//   SOCKREPAIR_TRY_ASSIGN(bool aimed, aim.at(datagram, ifindex));
//   ...
//   SOCKREPAIR_TRY(aim.put_back());
class Aim {
 public:
  Aim(const Receiver& receiver, SocketLookup& sockets)
      : receiver_(receiver), sockets_(sockets), borrowed_(receiver.fd) {}
  Aim(const Aim&) = delete;
  Aim& operator=(const Aim&) = delete;
  ~Aim() { (void)put_back(); }

  // Whether a packet that comes in by `ifindex` will get there. If not, `why` has the reason.
  Result<bool> at(const ReceivedDatagram& datagram, std::uint32_t ifindex, std::string& why) {
    auto flow = std::make_tuple(datagram.source, datagram.destination, ifindex);
    if (aimed_at_ == flow) return true;
    aimed_at_.reset();
    SOCKREPAIR_TRY_ASSIGN(bool there, find_way(datagram, ifindex, why));
    if (there) aimed_at_ = flow;
    return there;
  }
  // Whether nobody else is on the port, who would get a copy of what is for everybody. If not,
  // `why` has the reason.
  Result<bool> alone(std::string& why) {
    Result<bool> result = sockets_.alone(receiver_.local.port, receiver_.cookie);
    if (!result && result.error().code != EOPNOTSUPP) return result.error();
    if (result && *result) return true;
    why = result ? "another socket on the port could get a copy"
                 : "the kernel does not say who is on the port (no udp_diag)";
    return false;
  }

  Result<void> put_back() {
    aimed_at_.reset();
    Result<void> connected = disconnect();
    Result<void> options = borrowed_.put_back();
    return connected ? options : connected;
  }

 private:
  Result<bool> find_way(const ReceivedDatagram& datagram, std::uint32_t ifindex, std::string& why) {
    SOCKREPAIR_TRY_ASSIGN(bool there, gets(datagram, ifindex, why));
    if (there) return true;
    for (auto way : {&Aim::leave_group, &Aim::bind_to_interface, &Aim::connect_to_source}) {
      SOCKREPAIR_TRY(put_back());
      if (!(this->*way)(datagram, ifindex)) continue;
      std::string unused;
      SOCKREPAIR_TRY_ASSIGN(there, gets(datagram, ifindex, unused));
      if (there) return true;
    }
    SOCKREPAIR_TRY(put_back());
    return false;
  }

  Result<bool> gets(const ReceivedDatagram& datagram, std::uint32_t ifindex, std::string& why) {
    Result<std::optional<std::uint64_t>> found =
        sockets_.receiver(datagram.source, datagram.destination, ifindex);
    if (!found && found.error().code == EOPNOTSUPP) {
      // Nobody can tell. Of a port that nobody else can have there is no doubt.
      why = "the kernel does not say which of the sockets on the port would get it (no udp_diag)";
      return !receiver_.shared;
    }
    if (!found) return found.error();
    if (*found == receiver_.cookie) return true;
    why = *found ? "another socket on the port would get it" : "the socket would not get it";
    return false;
  }

  // The kernel takes the first that fits best; if it meets a group first, one of the group. A
  // socket that was bound last is met first on an IPv4 address.
  Result<void> leave_group(const ReceivedDatagram&, std::uint32_t) {
    return borrowed_.set(SOL_SOCKET, SO_REUSEPORT, 0);
  }

  Result<void> bind_to_interface(const ReceivedDatagram& datagram, std::uint32_t ifindex) {
    if (receiver_.bound_ifindex != 0) return Error{EBUSY, "SO_BINDTOIFINDEX is set"};
    SOCKREPAIR_TRY(leave_group(datagram, ifindex));
    return borrowed_.set(SOL_SOCKET, SO_BINDTOIFINDEX, static_cast<int>(ifindex));
  }

  // Takes a socket out of its group for good: only for one that is out of it, or has none.
  Result<void> connect_to_source(const ReceivedDatagram& datagram, std::uint32_t) {
    if (receiver_.group && !receiver_.peer) return Error{EBUSY, "SO_REUSEPORT is set"};
    connected_ = true;
    return sys::connect(receiver_.fd, SocketAddress(datagram.source, receiver_.domain));
  }

  // As it was: connected to its peer, or bound as before and not connected.
  Result<void> disconnect() {
    if (!std::exchange(connected_, false)) return {};
    if (receiver_.peer)
      return sys::connect(receiver_.fd, SocketAddress(*receiver_.peer, receiver_.domain));
    sockaddr nowhere{};
    nowhere.sa_family = AF_UNSPEC;
    if (::connect(receiver_.fd, &nowhere, sizeof(nowhere)) != 0)
      return Error{errno, "connect(" + std::to_string(receiver_.fd) + ", AF_UNSPEC)"};
    // That takes away what the program did not choose: a port that bind(2) found, an interface.
    if (receiver_.bound_ifindex != 0)
      SOCKREPAIR_TRY(sys::setsockopt(receiver_.fd, SOL_SOCKET, SO_BINDTOIFINDEX,
                                     static_cast<int>(receiver_.bound_ifindex)));
    SOCKREPAIR_TRY_ASSIGN(SocketAddress name, sys::getsockname(receiver_.fd));
    SOCKREPAIR_TRY_ASSIGN(Endpoint local, name.endpoint());
    if (local == receiver_.local) return {};
    return sys::bind(receiver_.fd, SocketAddress(receiver_.local, receiver_.domain));
  }

  const Receiver& receiver_;
  SocketLookup& sockets_;
  BorrowedOptions borrowed_;
  bool connected_ = false;
  // Source, destination and interface of the packet that was asked about last, and will get there.
  std::optional<std::tuple<Endpoint, Endpoint, std::uint32_t>> aimed_at_;
};

// --- restore: delivery ---

class Delivery {
 public:
  Delivery(const Receiver& receiver, Workshop& shop, Peeker& peeker)
      : receiver_(receiver), shop_(shop), peeker_(peeker), aim_(receiver, *shop.sockets) {}

  // Behind what is in the queue already.
  Result<void> begin() {
    SOCKREPAIR_TRY_ASSIGN(std::size_t memory, queue_memory(receiver_.fd));
    if (memory == 0) return {};
    std::vector<Peeked> before;
    SOCKREPAIR_TRY(peeker_.read_on(before));
    for (const Peeked& peeked : before) position_ += peeked.datagram.payload.size();
    return {};
  }

  // What is not as it should be, or why it did not arrive, as "payload: why".
  Result<std::vector<std::string>> deliver(const ReceivedDatagram& datagram, bool& arrived) {
    arrived = false;
    SOCKREPAIR_TRY_ASSIGN(Path path, path_of(datagram));
    if (path.to == To::kNobody)
      return not_delivered("destination " + datagram.destination.address.to_string() +
                           " is neither an address of this host nor a group that it has joined");
    std::string why;
    SOCKREPAIR_TRY_ASSIGN(bool aimed, path.to == To::kThisHost
                                          ? aim_.at(datagram, path.ifindex, why)
                                          : aim_.alone(why));
    if (!aimed) return not_delivered(why);

    // To look at a datagram without a byte would mark it as seen; so would looking at one of one
    // byte that is behind such a one. Of these there is only the memory that they take.
    bool visible = datagram.payload.size() > (unseen_ ? 1 : 0);
    std::size_t memory = 0;
    if (!visible) {
      SOCKREPAIR_TRY_ASSIGN(memory, queue_memory(receiver_.fd));
    }
    Result<void> sent;
    if (path.to == To::kGroup) {
      // Such a packet comes back to the host, and is not let out.
      ReceivedDatagram confined = datagram;
      confined.hop_limit = 0;
      sent = send(confined, path.ifindex);
    } else {
      sent = send(datagram, path.ifindex);
    }
    if (!sent) return not_delivered(sent.error().describe());
    return visible ? verify(datagram, arrived) : verify_unseen(datagram, memory, arrived);
  }

  Result<void> end() { return aim_.put_back(); }

 private:
  static std::vector<std::string> not_delivered(const std::string& why) {
    return {"payload: not delivered: " + why};
  }

  enum class To { kThisHost, kGroup, kNetwork, kNobody };
  struct Path {
    To to;
    std::uint32_t ifindex;  // to ask for, and to come in by
  };

  Result<Path> path_of(const ReceivedDatagram& datagram) {
    std::uint32_t wanted = datagram.ifindex.value_or(receiver_.bound_ifindex);
    std::uint32_t mark = datagram.mark.value_or(0);
    const IpAddress& destination = datagram.destination.address;
    auto key = std::make_tuple(destination.to_string(), wanted, mark);
    auto known = paths_.find(key);
    if (known != paths_.end()) return known->second;
    Path path{To::kNobody, 0};
    if (destination.is_multicast()) {
      // Where the host is no member it would leave, whatever its hop limit.
      SOCKREPAIR_TRY_ASSIGN(std::uint32_t joined,
                            shop_.routes->joined_interface(destination, wanted));
      if (joined != 0) path = {To::kGroup, joined};
      paths_.emplace(key, path);
      return path;
    }
    // The interface that it came in by has precedence, if the address is its own.
    for (std::uint32_t oif : {wanted, 0U}) {
      SOCKREPAIR_TRY_ASSIGN(RouteLookup::Route route, shop_.routes->find(destination, oif, mark));
      if (route.kind == RouteLookup::Kind::kLocal) {
        path = {To::kThisHost, oif != 0 ? oif : route.ifindex};
        break;
      }
      if (route.kind == RouteLookup::Kind::kBroadcast) {
        // By any other interface it would leave the host.
        path = {To::kNetwork, kLoopbackIndex};
        break;
      }
    }
    paths_.emplace(key, path);
    return path;
  }

  Result<void> send(const ReceivedDatagram& datagram, std::uint32_t ifindex) {
    bool v4 = datagram.family == Family::kIpv4;
    const Fd& fd = v4 ? shop_.ipv4 : shop_.ipv6;
    if (!fd) return Error{EAFNOSUPPORT, "socket(AF_INET6, SOCK_RAW, IPPROTO_RAW)"};
    Marks& marks = marks_[v4 ? 0 : 1];
    SOCKREPAIR_TRY(set_mark(fd, SO_MARK, datagram.mark.value_or(0), marks.mark));
    SOCKREPAIR_TRY(set_mark(fd, SO_PRIORITY, datagram.priority.value_or(0), marks.priority));

    ControlMessages control;
    if (v4) {
      in_pktinfo info{};
      info.ipi_ifindex = static_cast<int>(ifindex);
      control.add(IPPROTO_IP, IP_PKTINFO, info);
    } else {
      in6_pktinfo info{};
      info.ipi6_ifindex = ifindex;
      control.add(IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
    std::uint32_t scope = datagram.destination.address.is_link_local() ? ifindex : 0;
    SocketAddress to(Endpoint{datagram.destination.address, 0, scope}, v4 ? AF_INET : AF_INET6);
    for (std::vector<std::uint8_t>& packet : build_packets(datagram, shop_.mtu)) {
      iovec part{packet.data(), packet.size()};
      msghdr message{};
      message.msg_name = const_cast<sockaddr*>(to.get());
      message.msg_namelen = to.size();
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      control.attach(message);
      SOCKREPAIR_TRY(sys::sendmsg(fd.get(), message, MSG_DONTWAIT | MSG_NOSIGNAL));
    }
    return {};
  }

  static Result<void> set_mark(const Fd& fd, int name, std::uint32_t value, std::uint32_t& set) {
    if (set == value) return {};
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, name, value));
    set = value;
    return {};
  }

  // Asks until `condition` is true or patience ends.
  template <typename Condition>
  Result<bool> wait_for(Condition&& condition) {
    auto begin = std::chrono::steady_clock::now();
    for (int asked = 0;; ++asked) {
      SOCKREPAIR_TRY_ASSIGN(bool true_now, condition());
      auto waited = std::chrono::steady_clock::now() - begin;
      if (true_now || waited >= patience_) {
        if (!true_now) patience_ -= std::min(patience_, waited);
        return true_now;
      }
      // poll(2) tells that there is a datagram, not that there is one more.
      if (asked < kDeliveryYields)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(kDeliveryPause);
    }
  }

  Result<std::vector<std::string>> verify_unseen(const ReceivedDatagram& wanted,
                                                 std::size_t memory_before, bool& arrived) {
    SOCKREPAIR_TRY_ASSIGN(arrived, wait_for([&]() -> Result<bool> {
                            SOCKREPAIR_TRY_ASSIGN(std::size_t memory, queue_memory(receiver_.fd));
                            return memory > memory_before;
                          }));
    if (!arrived) return not_arrived();
    unseen_ |= wanted.payload.empty();
    position_ += wanted.payload.size();
    return lost_members(wanted, without_times(wanted));
  }

  Result<std::vector<std::string>> verify(const ReceivedDatagram& wanted, bool& arrived) {
    Peeked got;
    SOCKREPAIR_TRY_ASSIGN(arrived, wait_for([&]() -> Result<bool> {
                            for (;;) {
                              SOCKREPAIR_TRY_ASSIGN(bool any,
                                                    peeker_.look_at(position_, unseen_, got));
                              if (!any) return false;
                              position_ += got.datagram.payload.size() + (unseen_ ? 1 : 0);
                              if (same_packet(wanted, got.datagram, unseen_)) return true;
                              // Somebody else's, that arrived in between.
                            }
                          }));
    if (!arrived) return not_arrived();
    unseen_ = false;
    // Compared already, and perhaps without its first byte.
    got.datagram.payload = wanted.payload;
    return lost_members(wanted, got.datagram);
  }

  static std::vector<std::string> not_arrived() {
    return not_delivered(
        "the packet did not arrive: a filter, the socket's receive buffer or a firewall took it");
  }

  static bool same_packet(const ReceivedDatagram& wanted, const ReceivedDatagram& got,
                          bool without_first) {
    std::size_t from = without_first ? 1 : 0;
    return got.source.port == wanted.source.port &&
           got.payload.size() + from == wanted.payload.size() &&
           std::equal(got.payload.begin(), got.payload.end(),
                      wanted.payload.begin() + static_cast<std::ptrdiff_t>(from));
  }

  // As it arrives for sure: what a packet does not carry is gone.
  static ReceivedDatagram without_times(ReceivedDatagram datagram) {
    datagram.timestamp.reset();
    datagram.hardware_timestamp.reset();
    datagram.fragment_size.reset();
    datagram.checksum.reset();
    return datagram;
  }

  // Members that the original has and this one does not. What was not known cannot be missed, and
  // nothing tells a program about the device.
  static std::vector<std::string> lost_members(ReceivedDatagram wanted,
                                               const ReceivedDatagram& got) {
    wanted.device.reset();
    wanted.peeked = false;
    std::vector<std::string> lost;
    for (const auto& member : datagram_members())
      if (member.lost_in(wanted, got))
        lost.push_back(std::string(member.name) + ": " + member.difference(got, wanted));
    return lost;
  }

  const Receiver& receiver_;
  Workshop& shop_;
  Peeker& peeker_;
  Aim aim_;
  // What was looked up: destination, interface asked for, mark.
  std::map<std::tuple<std::string, std::uint32_t, std::uint32_t>, Path> paths_;
  // What the sockets that send have.
  struct Marks {
    std::uint32_t mark = 0;
    std::uint32_t priority = 0;
  };
  Marks marks_[2];
  std::size_t position_ = 0;  // bytes in front of what is delivered next
  std::chrono::steady_clock::duration patience_ = kDeliveryPatience;
  bool unseen_ = false;  // datagrams without a byte that were not peeked at are right there
};

// Datagrams that GRO put together arrive one by one, as they were sent.
std::vector<Piece> take_apart(const ReceiveQueue& queue, std::vector<Loss>& losses) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < queue.datagrams.size(); ++i) {
    const ReceivedDatagram& datagram = queue.datagrams[i];
    if (!datagram.gro_size) {
      pieces.push_back({i, datagram});
      continue;
    }
    std::size_t size = *datagram.gro_size;
    ReceivedDatagram part = datagram;
    part.gro_size.reset();
    part.checksum.reset();
    for (std::size_t at = 0; at < datagram.payload.size(); at += size) {
      auto begin = datagram.payload.begin() + static_cast<std::ptrdiff_t>(at);
      part.payload.assign(
          begin, begin + static_cast<std::ptrdiff_t>(std::min(size, datagram.payload.size() - at)));
      pieces.push_back({i, part});
    }
    losses.push_back({kSubject, i,
                      "gro_size: " + std::to_string(size) +
                          ", delivered as the single datagrams that were put together"});
  }
  return pieces;
}

}  // namespace

Result<ReceiveQueueReport> restore_by_packets(int fd, int domain, const ReceiveQueue& queue) {
  SOCKREPAIR_TRY_ASSIGN(Receiver receiver, inspect(fd, domain));
  for (std::size_t i = 0; i < queue.datagrams.size(); ++i) {
    if (queue.datagrams[i].destination.port == receiver.local.port) continue;
    return refuse_datagram(EADDRNOTAVAIL, i,
                           "destination: port " +
                               std::to_string(queue.datagrams[i].destination.port) +
                               ", the socket is bound to " + std::to_string(receiver.local.port) +
                               " and gets packets to no other");
  }
  SOCKREPAIR_TRY_ASSIGN(Workshop shop, open_workshop(fd));

  ReceiveQueueReport report;
  report.method = Method::kStock;
  std::vector<Piece> pieces = take_apart(queue, report.losses);
  LargerBuffer room(fd);
  // Without it the buffer is as large as it is; what it does not hold is among the losses.
  (void)room.enlarge();
  SOCKREPAIR_TRY_ASSIGN(Peeker peeker, Peeker::open(fd));
  Delivery delivery(receiver, shop, peeker);
  SOCKREPAIR_TRY(delivery.begin());

  auto stopped = [&](const Error& error) {
    return Error{error.code, error.what + "; " + std::to_string(report.restored) +
                                 " datagrams were delivered before"};
  };
  std::vector<bool> whole(queue.datagrams.size(), true);
  for (const Piece& piece : pieces) {
    bool arrived = false;
    Result<std::vector<std::string>> lost = delivery.deliver(piece.datagram, arrived);
    if (!lost) return stopped(refuse_datagram(lost.error().code, piece.index, lost.error().what));
    for (const std::string& what : *lost) {
      Loss loss{kSubject, piece.index, what};
      if (std::find(report.losses.begin(), report.losses.end(), loss) == report.losses.end())
        report.losses.push_back(loss);
    }
    if (!arrived) whole[piece.index] = false;
    bool last = &piece == &pieces.back() || (&piece)[1].index != piece.index;
    if (last && whole[piece.index]) ++report.restored;
  }
  for (Result<void> result : {delivery.end(), peeker.close(), room.put_back()})
    if (!result) return stopped(result.error());
  return report;
}

}  // namespace sockrepair::internal

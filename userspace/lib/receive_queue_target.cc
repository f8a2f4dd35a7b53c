// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "receive_queue_target.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "receive_queue_wire.h"
#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

// SO_RCVBUF to ask for, bytes; the kernel doubles it, and takes half of the range of an int.
constexpr int kLargestBuffer = 1 << 29;

// What the socket is, found out when the first datagram depends on it.
class Socket {
 public:
  Socket(int fd, int domain) : fd_(fd), domain_(domain) {}

  Result<void> check_family(const ReceivedDatagram& datagram, std::size_t index) {
    if (datagram.family == Family::kIpv6) {
      if (domain_ == AF_INET6) return {};
      return refuse_datagram(EAFNOSUPPORT, index,
                             "family: IPv6, must be IPv4 on an AF_INET socket");
    }
    if (domain_ == AF_INET) return {};
    if (!v6only_) {
      SOCKREPAIR_TRY_ASSIGN(v6only_, sys::getsockopt<int>(fd_, IPPROTO_IPV6, IPV6_V6ONLY));
    }
    if (*v6only_ == 0) return {};
    return refuse_datagram(EAFNOSUPPORT, index,
                           "family: IPv4, must be IPv6 on a socket with IPV6_V6ONLY");
  }

  Result<void> check_interface(const char* member, std::optional<std::uint32_t> interface,
                               std::size_t index) {
    if (!interface || std::count(found_.begin(), found_.end(), *interface) != 0) return {};
    ifreq request{};
    request.ifr_ifindex = static_cast<int>(*interface);
    Result<void> name = sys::ioctl(fd_, SIOCGIFNAME, &request);
    if (!name)
      return refuse_datagram(name.error().code, index,
                             std::string(member) + ": no interface " + std::to_string(*interface) +
                                 " in the network namespace of the socket");
    found_.push_back(*interface);
    return {};
  }

  Result<void> check_gro(const ReceivedDatagram& datagram, std::size_t index) {
    if (!datagram.gro_size) return {};
    if (!gro_) {
      SOCKREPAIR_TRY_ASSIGN(gro_, sys::getsockopt<int>(fd_, SOL_UDP, UDP_GRO));
    }
    if (*gro_ != 0) return {};
    return refuse_datagram(
        EINVAL, index,
        "gro_size: " + std::to_string(*datagram.gro_size) + ", needs UDP_GRO on the socket");
  }

 private:
  int fd_;
  int domain_;
  std::optional<int> v6only_;
  std::optional<int> gro_;
  std::vector<std::uint32_t> found_;  // interfaces
};

}  // namespace

Error refuse_datagram(int code, std::size_t index, const std::string& why) {
  return Error{code, "datagram " + std::to_string(index) + ": " + why};
}

Result<int> udp_domain(int fd) {
  SOCKREPAIR_TRY_ASSIGN(int protocol, sys::getsockopt<int>(fd, SOL_SOCKET, SO_PROTOCOL));
  SOCKREPAIR_TRY_ASSIGN(int domain, sys::getsockopt<int>(fd, SOL_SOCKET, SO_DOMAIN));
  if (protocol != IPPROTO_UDP || (domain != AF_INET && domain != AF_INET6))
    return Error{EPROTONOSUPPORT, "descriptor " + std::to_string(fd) + " of domain " +
                                      std::to_string(domain) + " and protocol " +
                                      std::to_string(protocol) + ", must be a UDP socket"};
  return domain;
}

Result<void> check_receive_queue(int fd, int domain, const ReceiveQueue& queue) {
  for (std::size_t i = 0; i < queue.datagrams.size(); ++i)
    SOCKREPAIR_TRY(check_datagram(queue.datagrams[i], i));
  Socket socket(fd, domain);
  for (std::size_t i = 0; i < queue.datagrams.size(); ++i) {
    const ReceivedDatagram& datagram = queue.datagrams[i];
    SOCKREPAIR_TRY(socket.check_family(datagram, i));
    SOCKREPAIR_TRY(socket.check_interface("ifindex", datagram.ifindex, i));
    SOCKREPAIR_TRY(socket.check_interface("device", datagram.device, i));
    SOCKREPAIR_TRY(socket.check_gro(datagram, i));
  }
  return {};
}

Result<void> LargerBuffer::enlarge() {
  if (enlarged_) return {};
  SOCKREPAIR_TRY_ASSIGN(size_, sys::getsockopt<int>(fd_, SOL_SOCKET, SO_RCVBUF));
  // Kernels before 5.15 do not tell; there is nothing to put back then.
  Result<int> lock = sys::getsockopt<int>(fd_, SOL_SOCKET, SO_BUF_LOCK);
  lock_ = lock ? *lock : -1;
  SOCKREPAIR_TRY(sys::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, kLargestBuffer));
  enlarged_ = true;
  return {};
}

Result<void> LargerBuffer::put_back() {
  if (!std::exchange(enlarged_, false)) return {};
  // The kernel tells twice of what it was asked for.
  SOCKREPAIR_TRY(sys::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, size_ / 2));
  if (lock_ >= 0) return sys::setsockopt(fd_, SOL_SOCKET, SO_BUF_LOCK, lock_);
  return {};
}

}  // namespace sockrepair::internal

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_ADDRESS_H_
#define SOCKREPAIR_ADDRESS_H_

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "sockrepair/export.h"
#include "sockrepair/result.h"

namespace SOCKREPAIR_EXPORT sockrepair {

enum class Family : std::uint8_t { kIpv4, kIpv6 };

// "IPv4" or "IPv6".
const char* family_name(Family family);

// An IPv4 or IPv6 address without port or scope. A value.
class IpAddress {
 public:
  // 0.0.0.0
  IpAddress() = default;
  explicit IpAddress(in_addr v4);
  explicit IpAddress(const in6_addr& v6);

  // "192.0.2.1", "2001:db8::1". Anything else is EINVAL.
  static Result<IpAddress> parse(std::string_view text);
  // The wildcard address of the family.
  static IpAddress any(Family family);

  Family family() const { return family_; }
  // IPv4: 4 bytes, IPv6: 16 bytes; network byte order.
  const std::uint8_t* data() const { return bytes_.data(); }
  std::size_t size() const { return family_ == Family::kIpv4 ? 4 : 16; }

  // Precondition: family() is the one asked for; other bytes are 0.
  in_addr v4() const;
  in6_addr v6() const;
  // ::ffff:a.b.c.d for an IPv4 address, the address itself for an IPv6 one.
  in6_addr v6_or_mapped() const;

  bool is_any() const;
  bool is_multicast() const;
  bool is_link_local() const;

  std::string to_string() const;

  bool operator==(const IpAddress&) const = default;

 private:
  Family family_ = Family::kIpv4;
  std::array<std::uint8_t, 16> bytes_{};
};

// An address with a port, and for IPv6 link-local addresses the interface it is on. A value.
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;   // host byte order
  std::uint32_t scope = 0;  // interface index; 0: none

  // "192.0.2.1:53", "[fe80::1%2]:53"
  std::string to_string() const;

  bool operator==(const Endpoint&) const = default;
};

// A socket address as the kernel takes and gives it.
//
//   SocketAddress to(Endpoint{address, 53}, AF_INET6);
//   ::sendto(fd, data, len, 0, to.get(), to.size());
class SocketAddress {
 public:
  // Room for any address, to be filled in through mutable_get() and mutable_size().
  SocketAddress();
  // For a socket of `domain` (AF_INET, AF_INET6); an IPv4 endpoint on an AF_INET6 socket becomes
  // an IPv4-mapped one. Precondition: not an IPv6 endpoint on an AF_INET socket.
  SocketAddress(const Endpoint& endpoint, int domain);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }
  sockaddr* mutable_get() { return reinterpret_cast<sockaddr*>(&storage_); }
  socklen_t* mutable_size() { return &size_; }

  // The endpoint; an IPv4-mapped address comes out as IPv4. EAFNOSUPPORT for other families.
  Result<Endpoint> endpoint() const;

  // As Endpoint::to_string(), or "family N".
  std::string to_string() const;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = sizeof(storage_);
};

}  // namespace sockrepair

#endif  // SOCKREPAIR_ADDRESS_H_

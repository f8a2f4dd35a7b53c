// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <algorithm>

namespace sockrepair {

const char* family_name(Family family) {
  return family == Family::kIpv4 ? "IPv4" : "IPv6";
}

IpAddress::IpAddress(in_addr v4) : family_(Family::kIpv4) {
  memcpy(bytes_.data(), &v4, sizeof(v4));
}

IpAddress::IpAddress(const in6_addr& v6) : family_(Family::kIpv6) {
  memcpy(bytes_.data(), &v6, sizeof(v6));
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  std::string copy(text);
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, copy.c_str(), &v4) == 1) return IpAddress(v4);
  if (inet_pton(AF_INET6, copy.c_str(), &v6) == 1) return IpAddress(v6);
  return Error{EINVAL, "'" + copy + "' is neither an IPv4 nor an IPv6 address"};
}

IpAddress IpAddress::any(Family family) {
  return family == Family::kIpv4 ? IpAddress(in_addr{}) : IpAddress(in6addr_any);
}

in_addr IpAddress::v4() const {
  in_addr v4{};
  memcpy(&v4, bytes_.data(), sizeof(v4));
  return v4;
}

in6_addr IpAddress::v6() const {
  in6_addr v6{};
  memcpy(&v6, bytes_.data(), sizeof(v6));
  return v6;
}

in6_addr IpAddress::v6_or_mapped() const {
  if (family_ == Family::kIpv6) return v6();
  in6_addr mapped{};
  mapped.s6_addr[10] = mapped.s6_addr[11] = 0xff;
  memcpy(&mapped.s6_addr[12], bytes_.data(), 4);
  return mapped;
}

bool IpAddress::is_any() const {
  return std::all_of(bytes_.begin(), bytes_.end(), [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_multicast() const {
  return family_ == Family::kIpv4 ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

bool IpAddress::is_link_local() const {
  return family_ == Family::kIpv6 && ((bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80) ||
                                      (bytes_[0] == 0xff && (bytes_[1] & 0x0f) <= 2));
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = "?";
  inet_ntop(family_ == Family::kIpv4 ? AF_INET : AF_INET6, bytes_.data(), text, sizeof(text));
  return text;
}

std::string Endpoint::to_string() const {
  std::string text = address.to_string();
  if (scope != 0) text += "%" + std::to_string(scope);
  if (address.family() == Family::kIpv6) text = "[" + text + "]";
  return text + ":" + std::to_string(port);
}

SocketAddress::SocketAddress() = default;

SocketAddress::SocketAddress(const Endpoint& endpoint, int domain) {
  if (domain == AF_INET) {
    sockaddr_in sin{};
    sin.sin_family = AF_INET;
    sin.sin_port = htons(endpoint.port);
    sin.sin_addr = endpoint.address.v4();
    memcpy(&storage_, &sin, sizeof(sin));
    size_ = sizeof(sin);
    return;
  }
  sockaddr_in6 sin6{};
  sin6.sin6_family = AF_INET6;
  sin6.sin6_port = htons(endpoint.port);
  sin6.sin6_addr = endpoint.address.v6_or_mapped();
  sin6.sin6_scope_id = endpoint.scope;
  memcpy(&storage_, &sin6, sizeof(sin6));
  size_ = sizeof(sin6);
}

Result<Endpoint> SocketAddress::endpoint() const {
  if (storage_.ss_family == AF_INET) {
    sockaddr_in sin{};
    memcpy(&sin, &storage_, sizeof(sin));
    return Endpoint{IpAddress(sin.sin_addr), ntohs(sin.sin_port), 0};
  }
  if (storage_.ss_family == AF_INET6) {
    sockaddr_in6 sin6{};
    memcpy(&sin6, &storage_, sizeof(sin6));
    Endpoint result{IpAddress(sin6.sin6_addr), ntohs(sin6.sin6_port), sin6.sin6_scope_id};
    if (IN6_IS_ADDR_V4MAPPED(&sin6.sin6_addr)) {
      in_addr v4{};
      memcpy(&v4, &sin6.sin6_addr.s6_addr[12], sizeof(v4));
      result.address = IpAddress(v4);
    }
    return result;
  }
  return Error{EAFNOSUPPORT, "socket address of family " + std::to_string(storage_.ss_family)};
}

std::string SocketAddress::to_string() const {
  Result<Endpoint> result = endpoint();
  return result ? result->to_string() : "family " + std::to_string(storage_.ss_family);
}

}  // namespace sockrepair

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "multicast.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

using File = std::unique_ptr<FILE, int (*)(FILE*)>;

// A file of /proc/net in the namespace of this thread.
File open_proc_net(const char* name) {
  return File(fopen((std::string("/proc/thread-self/net/") + name).c_str(), "re"), &fclose);
}

Error cannot_open(const char* name) {
  return Error{errno, std::string("open /proc/net/") + name};
}

// "ff02...01", 32 digits.
std::optional<in6_addr> parse_hex_v6(const char* text) {
  in6_addr address{};
  for (unsigned char& byte : address.s6_addr) {
    unsigned value = 0;
    if (sscanf(text, "%2x", &value) != 1) return std::nullopt;
    byte = static_cast<unsigned char>(value);
    text += 2;
  }
  return address;
}

// Groups that the kernel joins on every interface for itself.
bool is_kernels_own(const IpAddress& group) {
  static constexpr const char* kOwn[] = {"224.0.0.1", "ff01::1", "ff02::1"};
  std::string text = group.to_string();
  return std::any_of(std::begin(kOwn), std::end(kOwn),
                     [&](const char* own) { return text == own; });
}

void add_group(HostGroups& host, const IpAddress& group, std::uint32_t ifindex, int users) {
  if (users == 1 && is_kernels_own(group)) return;
  host.groups.push_back({group, ifindex});
}

// A line per interface, "1\tlo        :     1      V3", then an indented one per group, with the
// address as the kernel's number in hexadecimal.
Result<void> read_igmp(HostGroups& host) {
  File file = open_proc_net("igmp");
  if (!file) return cannot_open("igmp");
  std::array<char, 256> line{};
  std::uint32_t ifindex = 0;
  while (fgets(line.data(), line.size(), file.get()) != nullptr) {
    std::uint32_t group = 0;
    int users = 0;
    if (line[0] != '\t') {
      if (sscanf(line.data(), "%u", &ifindex) != 1) ifindex = 0;  // the headings
    } else if (ifindex != 0 && sscanf(line.data(), " %x %d", &group, &users) == 2) {
      add_group(host, IpAddress(in_addr{group}), ifindex, users);
    }
  }
  return {};
}

// "1    lo              ff02...01     1 0000000C 0". Nothing where there is no IPv6.
Result<void> read_igmp6(HostGroups& host) {
  File file = open_proc_net("igmp6");
  if (!file) return errno == ENOENT ? Result<void>() : cannot_open("igmp6");
  std::array<char, 256> line{};
  while (fgets(line.data(), line.size(), file.get()) != nullptr) {
    std::uint32_t ifindex = 0;
    std::array<char, 33> digits{};
    int users = 0;
    if (sscanf(line.data(), "%u %*s %32s %d", &ifindex, digits.data(), &users) != 3) continue;
    std::optional<in6_addr> group = parse_hex_v6(digits.data());
    if (group) add_group(host, IpAddress(*group), ifindex, users);
  }
  return {};
}

// As igmp6. The kernel itself joins the addresses of routers, which end in zeros.
void read_anycast6(HostGroups& host) {
  File file = open_proc_net("anycast6");
  std::array<char, 256> line{};
  while (file && fgets(line.data(), line.size(), file.get()) != nullptr) {
    std::array<char, 33> digits{};
    if (sscanf(line.data(), "%*u %*s %32s", digits.data()) != 1) continue;
    if (strspn(digits.data() + 16, "0") != 16) host.anycast = true;
  }
}

int level_of(Family family) {
  return family == Family::kIpv4 ? IPPROTO_IP : IPPROTO_IPV6;
}

sockaddr_storage storage_of(const IpAddress& address) {
  int domain = address.family() == Family::kIpv4 ? AF_INET : AF_INET6;
  SocketAddress name(Endpoint{address, 0, 0}, domain);
  sockaddr_storage storage{};
  memcpy(&storage, name.get(), name.size());
  return storage;
}

Result<IpAddress> address_of(const sockaddr_storage& storage) {
  SocketAddress name;
  memcpy(name.mutable_get(), &storage, sizeof(storage));
  SOCKREPAIR_TRY_ASSIGN(Endpoint endpoint, name.endpoint());
  return endpoint.address;
}

// struct group_filter with room for `sources`, as bytes.
constexpr std::size_t filter_size(std::size_t sources) {
  return offsetof(group_filter, gf_slist) + sources * sizeof(sockaddr_storage);
}

// The sources that most memberships have at most (net.ipv4.igmp_max_msf).
constexpr std::size_t kUsualSources = 10;

// Nothing if the socket is no member.
Result<std::optional<Membership>> read_membership(int fd, const HostGroup& group) {
  for (std::size_t room = kUsualSources;;) {
    std::vector<std::uint8_t> buffer(filter_size(room));
    std::uint32_t ifindex = group.ifindex;
    sockaddr_storage address = storage_of(group.group);
    auto sources = static_cast<std::uint32_t>(room);
    memcpy(buffer.data() + offsetof(group_filter, gf_interface), &ifindex, sizeof(ifindex));
    memcpy(buffer.data() + offsetof(group_filter, gf_group), &address, sizeof(address));
    memcpy(buffer.data() + offsetof(group_filter, gf_numsrc), &sources, sizeof(sources));

    Result<socklen_t> length =
        sys::getsockopt_bytes(fd, level_of(group.group.family()), MCAST_MSFILTER, buffer.data(),
                              static_cast<socklen_t>(buffer.size()));
    if (!length) {
      if (length.error().code == EADDRNOTAVAIL) return std::optional<Membership>();
      return length.error();
    }
    memcpy(&sources, buffer.data() + offsetof(group_filter, gf_numsrc), sizeof(sources));
    if (sources > room) {
      room = sources;
      continue;
    }

    Membership membership;
    membership.group = group.group;
    membership.ifindex = group.ifindex;
    std::uint32_t mode = 0;
    memcpy(&mode, buffer.data() + offsetof(group_filter, gf_fmode), sizeof(mode));
    membership.exclude = mode == MCAST_EXCLUDE;
    for (std::size_t i = 0; i < sources; ++i) {
      memcpy(&address, buffer.data() + filter_size(i), sizeof(address));
      SOCKREPAIR_TRY_ASSIGN(IpAddress source, address_of(address));
      membership.sources.push_back(source);
    }
    return std::optional<Membership>(std::move(membership));
  }
}

Result<void> join_whole(int fd, const Membership& membership) {
  group_req request{};
  request.gr_interface = membership.ifindex;
  request.gr_group = storage_of(membership.group);
  return sys::setsockopt(fd, level_of(membership.group.family()), MCAST_JOIN_GROUP, request);
}

Result<void> change_source(int fd, int name, const Membership& membership,
                           const IpAddress& source) {
  group_source_req request{};
  request.gsr_interface = membership.ifindex;
  request.gsr_group = storage_of(membership.group);
  request.gsr_source = storage_of(source);
  return sys::setsockopt(fd, level_of(membership.group.family()), name, request);
}

}  // namespace

Result<HostGroups> read_host_groups() {
  HostGroups host;
  SOCKREPAIR_TRY(read_igmp(host));
  SOCKREPAIR_TRY(read_igmp6(host));
  read_anycast6(host);
  return host;
}

Result<std::vector<Membership>> read_memberships(int fd, int domain,
                                                 std::span<const HostGroup> groups) {
  std::vector<Membership> memberships;
  for (const HostGroup& group : groups) {
    if (domain == AF_INET && group.group.family() == Family::kIpv6) continue;
    SOCKREPAIR_TRY_ASSIGN(std::optional<Membership> membership, read_membership(fd, group));
    if (membership) memberships.push_back(*std::move(membership));
  }
  return memberships;
}

Result<void> join(int fd, const Membership& membership) {
  if (membership.exclude) SOCKREPAIR_TRY(join_whole(fd, membership));
  int change = membership.exclude ? MCAST_BLOCK_SOURCE : MCAST_JOIN_SOURCE_GROUP;
  for (const IpAddress& source : membership.sources)
    SOCKREPAIR_TRY(change_source(fd, change, membership, source));
  return {};
}

}  // namespace sockrepair::internal

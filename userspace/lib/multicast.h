// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_MULTICAST_H_
#define SOCKREPAIR_LIB_MULTICAST_H_

#include <span>
#include <vector>

#include "sockrepair/udp_socket.h"

// The multicast groups of a socket. No call lists them, but the kernel answers for one group on one
// interface, and /proc/net lists the groups of all interfaces.
namespace sockrepair::internal {

// A group that somebody on this host is a member of.
struct HostGroup {
  IpAddress group;
  std::uint32_t ifindex = 0;
};

struct HostGroups {
  std::vector<HostGroup> groups;
  // Somebody on this host has joined an IPv6 anycast address, which no call tells of a socket.
  bool anycast = false;
};

// The groups of the network namespace of the calling thread, without those that only the kernel is
// a member of.
Result<HostGroups> read_host_groups();

// Which of `groups` the socket `fd` is a member of.
Result<std::vector<Membership>> read_memberships(int fd, int domain,
                                                 std::span<const HostGroup> groups);

// Makes the socket `fd` a member; EINVAL if the value contradicts itself.
Result<void> join(int fd, const Membership& membership);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_MULTICAST_H_

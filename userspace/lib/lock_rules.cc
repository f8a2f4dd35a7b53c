// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "lock_rules.h"

#include <errno.h>
#include <limits.h>

#include <array>
#include <cstddef>

namespace sockrepair::internal {

namespace {

// A set for each family, of connections as their sockets see them: local address and port, address
// and port of the peer.
struct FamilyRow {
  Family family;
  const char* set;
  const char* type;    // of an address, for a set
  const char* header;  // that a rule takes the addresses from
};

constexpr std::array<FamilyRow, 2> kFamilies{{
    {Family::kIpv4, "v4", "ipv4_addr", "ip"},
    {Family::kIpv6, "v6", "ipv6_addr", "ip6"},
}};

struct Direction {
  const char* hook;
  // Of the chain among those of the hook. Confirmation of tracked connections is at INT_MAX.
  int priority;
  // What is local of a segment, and what is the peer's.
  const char* local;
  const char* peer;
};

constexpr std::array<Direction, 2> kDirections{{
    {"input", INT_MAX - 1, "d", "s"},
    {"output", INT_MIN, "s", "d"},
}};

std::string set_definition(const FamilyRow& row) {
  std::string half = std::string(row.type) + " . inet_service";
  return "{ type " + half + " . " + half + "; }";
}

// "ip saddr . tcp sport": the end called "s".
std::string end_of_segment(const FamilyRow& row, const char* end) {
  return std::string(row.header) + " " + end + "addr . tcp " + end + "port";
}

IpAddress unmapped(const IpAddress& address) {
  if (address.family() == Family::kIpv4) return address;
  const in6_addr v6 = address.v6();
  if (!IN6_IS_ADDR_V4MAPPED(&v6)) return address;
  return IpAddress(in_addr{v6.s6_addr32[3]});
}

Error refused(std::size_t index, const FourTuple& connection, const std::string& why) {
  return Error{EINVAL,
               "connection " + std::to_string(index) + " (" + connection.to_string() + "): " + why};
}

const char* fault_of(const IpAddress& address) {
  if (address.is_any()) return " is a wildcard";
  if (address.is_multicast()) return " is a multicast address";
  return nullptr;
}

}  // namespace

std::string lock_table_commands(const std::string& table) {
  const std::string in_table = " inet " + table + " ";
  std::string commands = "create table" + in_table +
                         "{ flags owner; comment \"segments of connections that are being moved\"; "
                         "}\n";
  for (const FamilyRow& row : kFamilies)
    commands += "add set" + in_table + row.set + " " + set_definition(row) + "\n";
  for (const Direction& direction : kDirections) {
    commands += "add chain" + in_table + direction.hook + " { type filter hook " + direction.hook +
                " priority " + std::to_string(direction.priority) + "; policy accept; }\n";
    for (const FamilyRow& row : kFamilies) {
      commands += "add rule" + in_table + direction.hook + " " +
                  end_of_segment(row, direction.local) + " . " +
                  end_of_segment(row, direction.peer) + " @" + row.set + " drop\n";
    }
  }
  return commands;
}

Result<std::string> lock_element_commands(const std::string& table,
                                          std::span<const FourTuple> connections) {
  std::array<std::string, kFamilies.size()> elements;
  for (std::size_t i = 0; i < connections.size(); ++i) {
    const FourTuple& connection = connections[i];
    const IpAddress local = unmapped(connection.local.address);
    const IpAddress peer = unmapped(connection.peer.address);
    if (local.family() != peer.family())
      return refused(i, connection, "an IPv4 address with an IPv6 one");
    if (const char* fault = fault_of(local))
      return refused(i, connection, std::string("the local address") + fault);
    if (const char* fault = fault_of(peer))
      return refused(i, connection, std::string("the address of the peer") + fault);
    if (connection.local.port == 0) return refused(i, connection, "the local port is 0");
    if (connection.peer.port == 0) return refused(i, connection, "the port of the peer is 0");

    for (std::size_t row = 0; row < kFamilies.size(); ++row) {
      if (kFamilies[row].family != local.family()) continue;
      elements[row] += (elements[row].empty() ? "" : ", ") + local.to_string() + " . " +
                       std::to_string(connection.local.port) + " . " + peer.to_string() + " . " +
                       std::to_string(connection.peer.port);
    }
  }
  std::string commands;
  for (std::size_t row = 0; row < kFamilies.size(); ++row) {
    if (elements[row].empty()) continue;
    commands +=
        "add element inet " + table + " " + kFamilies[row].set + " { " + elements[row] + " }\n";
  }
  return commands;
}

}  // namespace sockrepair::internal

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_CONNECTION_LOCK_WORLD_H_
#define SOCKREPAIR_TESTS_CONNECTION_LOCK_WORLD_H_

#include <cstdint>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "sockrepair/connection_lock.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/two_hosts.h"

// A host whose connections are locked, a peer of theirs, and what the kernel says of its tables.
namespace sockrepair::test {

// Between whom a connection is, and by which addresses.
struct ConnectionKind {
  std::string name;
  int domain;                 // of the socket on our host
  int peer_domain;            // of the peer's
  std::string address;        // that the peer connects to
  bool own_loopback = false;  // the peer is on our host, too
  std::uint32_t scope = 0;    // of `address`
};
inline std::ostream& operator<<(std::ostream& out, const ConnectionKind& kind) {
  return out << kind.name;
}

std::vector<ConnectionKind> connection_kinds();
// Those with these names.
std::vector<ConnectionKind> connection_kinds(const std::set<std::string>& names);
// One that stands for all.
ConnectionKind plain_kind();

struct Connection {
  Fd ours;
  Fd peers;
  // As either socket has it.
  FourTuple tuple;
  FourTuple peers_tuple;
};

class LockWorld {
 public:
  static Result<LockWorld> create(const ConnectionKind& kind);

  // The host that is locked, and that of the peers.
  const NetNs& ours() const { return hosts_.receiver; }
  const NetNs& peers() const { return loopback_ ? hosts_.receiver : hosts_.sender; }

  // By the one listener of our host.
  Result<Connection> connect() const;
  // From a port of the peer's choice; 0: from any.
  Result<Connection> connect_from(std::uint16_t port) const;

 private:
  LockWorld(TwoHosts hosts, const ConnectionKind& kind)
      : hosts_(std::move(hosts)), loopback_(kind.own_loopback), peer_domain_(kind.peer_domain) {}

  TwoHosts hosts_;
  bool loopback_;
  int peer_domain_;
  Fd listener_;
  Endpoint address_;
};

// A lock in the namespace, by a caller who is in it.
Result<ConnectionLock> lock_in(const NetNs& ns);

// The names of all tables there, each with a newline; asked of the kernel without libnftables.
Result<std::string> tables_in(const NetNs& ns);

// How many transactions nf_tables has seen there.
Result<std::uint32_t> transactions_in(const NetNs& ns);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_CONNECTION_LOCK_WORLD_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_CONNECTION_LOCK_H_
#define SOCKREPAIR_CONNECTION_LOCK_H_

#include <memory>
#include <span>
#include <string>

#include "sockrepair/address.h"
#include "sockrepair/export.h"
#include "sockrepair/result.h"

// Keeps the segments of TCP connections from the sockets of this host, both ways, while the
// connections are between two places. The peer sees a network that loses what it sends, and sends
// it again when the lock is gone; nobody answers it with a reset in between.
//
//   Result<ConnectionLock> lock = ConnectionLock::create();
//   if (!lock) return lock.error();
//   if (Result<void> locked = lock->add(connections); !locked) return locked.error();
//   dump(), kill(), restore();
//   lock->release();
//
// The lock is a table of nf_tables that belongs to a netlink socket of this process: the kernel
// takes the table away when that socket is closed, which nothing prevents: release(), the end of
// the object, the end of the process by exit(3), by a signal, SIGKILL too, and execve(2) all close
// it. `nft list tables` shows it as "inet sockrepair-PID-NUMBER"; other programs, `nft flush
// ruleset` among them, cannot change it.
//
// What it takes: Linux 5.12 with CONFIG_NF_TABLES_INET, CAP_NET_ADMIN in the network namespace, and
// libnftables.so.1, which is loaded by the first create() and by nothing else.
namespace SOCKREPAIR_EXPORT sockrepair {

// A TCP connection as its socket on this host has it. A value.
struct FourTuple {
  // What getsockname(2) and getpeername(2) of the socket say. An IPv4-mapped IPv6 address stands
  // for the IPv4 one. The scope of an endpoint is not looked at: a link-local connection is locked
  // on all interfaces.
  Endpoint local;
  Endpoint peer;

  // "192.0.2.1:80 with 192.0.2.2:40000"
  std::string to_string() const;

  bool operator==(const FourTuple&) const = default;
};

struct ConnectionLockOptions {
  // A socket in the network namespace that the connections are in; -1: the namespace of the calling
  // thread. Only looked at during create(). Another namespace takes CAP_SYS_ADMIN, too.
  int socket = -1;
};

// Move-only; one object is for one thread at a time. Any number of them, of any number of threads
// and processes, do not disturb each other; a connection that is in several is locked until the
// last one goes.
//
// Has a thread of its own while it locks, with all signals blocked, with no descriptor of the
// process, and asleep but during a call. The child of a fork(2) has no part in the lock: its end
// releases nothing, and what it does with its copy of the object has no effect.
class ConnectionLock {
 public:
  // A lock of no connection yet. Errors, all with nothing left behind:
  //   EPERM            CAP_NET_ADMIN is missing, or a right to enter the namespace
  //   EPROTONOSUPPORT  the kernel has no nf_tables
  //   EOPNOTSUPP       it does not know tables with an owner, or those of family inet
  //   ELIBACC          libnftables.so.1 is not there
  //   EBADF            `socket` is not a descriptor
  static Result<ConnectionLock> create(const ConnectionLockOptions& options = {});

  ConnectionLock(ConnectionLock&& other) noexcept;
  ConnectionLock& operator=(ConnectionLock&& other) noexcept;
  ConnectionLock(const ConnectionLock&) = delete;
  ConnectionLock& operator=(const ConnectionLock&) = delete;
  // As release().
  ~ConnectionLock();

  // Locks these as well; in one transaction, so all of them or, with an error, none. Those that are
  // locked already may be among them. When this returns, no segment of theirs reaches a socket any
  // more, not even one that was on its way through this host (on machines with nohz_full
  // processors, where membarrier(2) does not wait for those, that one may), and none leaves.
  //
  // EINVAL, with the index of the first such connection: a port of 0, an address that is a
  // wildcard, multicast, or not of the family of the other. EBADF: the lock is released.
  // EMSGSIZE: so many at once take a larger net.core.wmem_max; only outside of the first user
  // namespace.
  Result<void> add(std::span<const FourTuple> connections);

  // Takes the lock off all connections, at once; afterwards they are as if there had been none.
  // Nothing happens when that is already so.
  void release() noexcept;

  // The name of the table, without its family; empty after release().
  std::string table() const;

 private:
  class Holder;

  explicit ConnectionLock(std::unique_ptr<Holder> holder);

  std::unique_ptr<Holder> holder_;
};

}  // namespace sockrepair

#endif  // SOCKREPAIR_CONNECTION_LOCK_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/connection_lock.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "lock_rules.h"
#include "nftables.h"
#include "no_throw.h"
#include "other_netns.h"
#include "try.h"

namespace sockrepair {

namespace {

using internal::Nftables;
using internal::no_throw;

// A name that no other lock has, in this namespace or, after a move, in another.
Result<std::string> new_table_name() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof(number), 0) != sizeof(number))
    return Error{errno, "getrandom(8)"};
  return "sockrepair-" + std::to_string(::getpid()) + "-" + std::to_string(number);
}

// Until the processing of segments that began before the call is over: it goes on under RCU.
void wait_for_segments_on_their_way() {
  // Where it is not there, nothing else does this; the declaration of add() says so.
  static_cast<void>(::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0U, 0));
}

}  // namespace

// Of a table, from create() to release().
class ConnectionLock::Holder {
 public:
  Holder(std::unique_ptr<Nftables> nft, std::string table)
      : nft_(std::move(nft)), table_(std::move(table)) {}

  ~Holder() {
    if (!is_mine()) Nftables::forget(std::move(nft_));
  }

  bool is_mine() const { return ::getpid() == process_; }
  Nftables& nft() { return *nft_; }
  const std::string& table() const { return table_; }

 private:
  std::unique_ptr<Nftables> nft_;
  std::string table_;
  pid_t process_ = ::getpid();
};

std::string FourTuple::to_string() const {
  return local.to_string() + " with " + peer.to_string();
}

ConnectionLock::ConnectionLock(std::unique_ptr<Holder> holder) : holder_(std::move(holder)) {}
ConnectionLock::ConnectionLock(ConnectionLock&& other) noexcept = default;
ConnectionLock& ConnectionLock::operator=(ConnectionLock&& other) noexcept = default;
ConnectionLock::~ConnectionLock() = default;

Result<ConnectionLock> ConnectionLock::create(const ConnectionLockOptions& options) {
  return no_throw([&]() -> Result<ConnectionLock> {
    Fd netns;
    if (options.socket != -1) {
      SOCKREPAIR_TRY_ASSIGN(netns, internal::other_netns_of(options.socket));
    }
    SOCKREPAIR_TRY_ASSIGN(std::string table, new_table_name());
    SOCKREPAIR_TRY_ASSIGN(std::unique_ptr<Nftables> nft, Nftables::start(netns));
    SOCKREPAIR_TRY(nft->run(internal::lock_table_commands(table)));
    return ConnectionLock(std::make_unique<Holder>(std::move(nft), std::move(table)));
  });
}

Result<void> ConnectionLock::add(std::span<const FourTuple> connections) {
  return no_throw([&]() -> Result<void> {
    if (!holder_) return Error{EBADF, "the lock is released"};
    if (!holder_->is_mine()) return Error{EBADF, "the lock is another process's"};
    SOCKREPAIR_TRY_ASSIGN(std::string commands,
                          internal::lock_element_commands(holder_->table(), connections));
    if (commands.empty()) return {};
    SOCKREPAIR_TRY(holder_->nft().run(commands));
    wait_for_segments_on_their_way();
    return {};
  });
}

void ConnectionLock::release() noexcept {
  holder_.reset();
}

std::string ConnectionLock::table() const {
  return holder_ ? holder_->table() : std::string();
}

}  // namespace sockrepair

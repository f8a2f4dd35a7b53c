// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_NFTABLES_H_
#define SOCKREPAIR_LIB_NFTABLES_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

namespace sockrepair::internal {

// libnftables, loaded when first needed, with one netlink socket for the life of the object.
//
//   SOCKREPAIR_TRY_ASSIGN(std::unique_ptr<Nftables> nft, Nftables::start(Fd()));
//   SOCKREPAIR_TRY(nft->run("create table inet t { flags owner; }\n"));
//
// Works in a thread of its own that shares no descriptors with the process, for the library
//   - makes its socket without CLOEXEC: a program that the process starts would inherit it, and
//     keep alive what belongs to it;
//   - waits for the socket by select(2), which cannot take the numbers that descriptors have in a
//     process with a thousand sockets;
//   - complains to descriptor 2 in some cases;
//   - would have to be in another network namespace when the socket is made.
// No other thread has a way to close that socket, or to keep it open.
class Nftables {
 public:
  // In the namespace `netns`, or that of the calling thread if it is empty. Errors as those of
  // ConnectionLock::create().
  static Result<std::unique_ptr<Nftables>> start(const Fd& netns);

  Nftables(const Nftables&) = delete;
  Nftables& operator=(const Nftables&) = delete;
  // Closes the netlink socket: when this returns, what belonged to it is gone.
  ~Nftables();

  // One transaction. The error's text is the first line of what the library says.
  Result<void> run(const std::string& commands);

  // To be called, instead of the end of the object, in a process that has a copy of the object
  // from fork(2), and not the thread.
  static void forget(std::unique_ptr<Nftables> copy);

 private:
  enum class Turn { kCaller, kThread, kEnd };

  Nftables() = default;

  // `netns`: a descriptor, good until the first answer; -1: none.
  void serve(int netns);
  // Gives the turn to the thread and waits to have it back.
  Result<void> wait_for_answer(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable turned_;
  // Below: guarded by mutex_.
  Turn turn_ = Turn::kThread;
  std::string commands_;
  Result<void> answer_;

  std::thread thread_;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_NFTABLES_H_

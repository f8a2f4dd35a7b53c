// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_CONVERSATION_H_
#define SOCKREPAIR_TESTS_MIGRATION_CONVERSATION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/deadline.h"

// The application at an end of a connection: it sends all that the socket takes and reads all that
// comes, and knows what has to come.
//
//   Conversation talk(Side::kClient, {});
//   talk.start(fd);
//   ...                                  // on and on
//   Result<void> paused = talk.pause();  // its process is stopped
//   Progress progress = talk.progress(); // moves with the connection
//
// The bytes of a direction follow from their position, and look like noise: one that is lost,
// doubled, out of place or another is seen where it is. Each end also hashes all that it sends, and
// all that it receives.
namespace sockrepair::test {

// Which end; each sends other bytes.
enum class Side : std::uint8_t { kClient, kServer };

// How far an application has come. Moves from host to host.
struct Progress {
  std::uint64_t sent = 0;  // bytes
  std::uint64_t received = 0;
  std::uint64_t sent_hash = 0;
  std::uint64_t received_hash = 0;
};

class Conversation {
 public:
  // Goes on at `progress`.
  Conversation(Side side, const Progress& progress);
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;
  ~Conversation();

  // Talks in a thread of its own until pause(), or until both ends have said all. `fd` has to stay
  // open until then.
  void start(const Fd& fd);

  // What it sends and reads ends, but not the connection. Error: what went wrong since start(),
  // EBADMSG if something came that was not sent.
  Result<void> pause();

  // Says no more, reads what still comes, and waits until the other end has done the same.
  Result<void> finish(Deadline deadline);

  // Whether something went wrong, or all is over; of a running conversation.
  bool ended() const { return ended_; }

  // Of a running one, these two alone.
  std::uint64_t sent() const { return sent_; }
  std::uint64_t received() const { return received_; }

  // Not while it runs.
  Progress progress() const;

 private:
  Result<void> run(int fd);
  Result<bool> send_more(int fd);
  Result<bool> receive_more(int fd);

  const Side side_;
  std::atomic<std::uint64_t> sent_;
  std::atomic<std::uint64_t> received_;
  std::uint64_t sent_hash_;
  std::uint64_t received_hash_;
  std::atomic<bool> ended_{false};
  std::atomic<bool> pausing_{false};
  std::atomic<bool> finishing_{false};
  bool sent_all_ = false;
  bool received_all_ = false;
  Fd wake_;  // readable when one of the flags was set
  Result<void> result_;
  std::vector<std::uint8_t> buffer_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_CONVERSATION_H_

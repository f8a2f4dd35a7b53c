// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_HOST_H_
#define SOCKREPAIR_TESTS_MIGRATION_HOST_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "migration/control.h"
#include "migration/conversation.h"
#include "migration/segment.h"
#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// A host of the connection: where it begins, and where it goes.
namespace sockrepair::test {

// The argument of Verb::kConnect. The moved end has the same port as the peer.
struct Connect {
  Family family = Family::kIpv4;
  std::uint16_t port = 0;
};

// The argument of Verb::kMove.
struct Move {
  Station to = Station::kDestination;
  std::chrono::milliseconds hold{0};  // before the image goes there
  bool count_pause = false;
};

// What comes with an image in Verb::kAdopt.
struct Luggage {
  Connect connection;
  Progress application;
  std::uint64_t age_us = 0;  // of the dump, when it was sent
  bool count_pause = false;
};

// The answer to Verb::kAdopt. Microseconds.
struct Adopted {
  std::uint64_t restore = 0;  // until the application went on
  std::uint64_t heard = 0;    // until the peer sent the first segment to this host
  std::uint64_t rtt = 0;      // smoothed, then
};

// The answer to Verb::kMove. Microseconds.
struct Moved {
  std::uint64_t dump = 0;
  std::uint64_t pause = 0;  // from before the dump until the other host had heard the peer
  Adopted adopted;
  std::uint64_t rtt = 0;       // smoothed, when dumped
  std::uint64_t image = 0;     // bytes
  std::uint64_t received = 0;  // of these, what the application had not read
  std::uint64_t sent = 0;      // and what the peer had not acknowledged
};

class Host {
 public:
  explicit Host(Station self) : self_(self) {}

  // Does what it is asked to until Verb::kQuit. Requests that fail are the asker's business; an
  // error says that nobody asks any more.
  Result<void> serve();

 private:
  // Does what is asked, and says what became of it: to the asker, and if it failed to stdout too,
  // as comments of KTAP with the situation.
  Result<void> answer(const Fd& asker, const Message& request);
  std::string tell() const;
  Result<Bytes> handle(const Message& request);
  Result<Bytes> connect(const Connect& request);
  Result<Bytes> move(const Move& request);
  Result<Bytes> adopt(std::span<const std::uint8_t> body);
  Result<Bytes> finish();
  Result<Bytes> forget();

  const Station self_;
  Connect connection_;
  Fd fd_;
  std::unique_ptr<Conversation> application_;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_HOST_H_

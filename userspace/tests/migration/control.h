// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_CONTROL_H_
#define SOCKREPAIR_TESTS_MIGRATION_CONTROL_H_

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/deadline.h"

// How the three hosts of a migration talk to each other: a request and an answer at a time, on a
// TCP connection beside the one that moves. All are the same program on the same machine: values
// travel as they are in memory.
//
//   Result<Bytes> answer = call(host, Verb::kMove, pack(Move{...}));      // the one
//   serve(connection, [](const Message& request) -> Result<Bytes> {...}); // the other
namespace sockrepair::test {

using Bytes = std::vector<std::uint8_t>;

// What a host of the connection is asked to do.
enum class Verb : std::uint32_t {
  kDone,     // an answer
  kFailed,   // an answer: the Error
  kConnect,  // Connect: open the connection, and begin to talk
  kMove,     // Move: give the connection to the other host; answers with Moved
  kAdopt,    // from one host to the other: Luggage, and the image; answers with Adopted
  kFinish,   // end the connection; answers with the Progress of the application
  kForget,   // there is no connection any more, whatever became of it
  kTell,     // answers with the host's situation, as text
  kQuit,     // the test is over
};

// "move"
const char* verb_name(Verb verb);

struct Message {
  Verb verb = Verb::kDone;
  Bytes body;
};

// What a single wait may take at most; passing tests never wait for it.
inline constexpr std::chrono::seconds kStepPatience{30};

// What a request may take at most. Longer than all waits of the host that is asked, one after the
// other: it is the host that says which of them was in vain.
std::chrono::seconds patience_for(Verb verb);

// Both, one after the other.
Bytes joined(std::span<const std::uint8_t> first, std::span<const std::uint8_t> second);

// The value, with `rest` behind it.
template <typename T>
Bytes pack(const T& value, std::span<const std::uint8_t> rest = {}) {
  static_assert(std::is_trivially_copyable_v<T>);
  return joined({reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)}, rest);
}

// The value at the beginning; EPROTO if there are too few bytes.
template <typename T>
Result<T> unpack(std::span<const std::uint8_t> bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value{};
  if (bytes.size() < sizeof(value))
    return Error{EPROTO, "a message of " + std::to_string(bytes.size()) + " bytes"};
  memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

Result<void> send_message(const Fd& fd, const Message& message, Deadline deadline);
// ECONNRESET: the other end has closed the connection.
Result<Message> receive_message(const Fd& fd, Deadline deadline);

// Sends a request and gives the body of the answer; an answer kFailed is its Error. ETIMEDOUT after
// patience_for(verb).
Result<Bytes> call(const Fd& fd, Verb verb, const Bytes& body);

// The answer to a request.
Message answer_with(const Result<Bytes>& result);

// A socket that listens at `address`.
Result<Fd> listen_at(const Endpoint& address);
// The next connection to it.
Result<Fd> accept_from(const Fd& listener, Deadline deadline);
// A connection to `address`, as soon as somebody listens there.
Result<Fd> connect_to(const Endpoint& address, Deadline deadline);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_CONTROL_H_

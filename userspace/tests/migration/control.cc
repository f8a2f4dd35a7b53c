// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/control.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <utility>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::test {

namespace {

struct Header {
  Verb verb;
  std::uint32_t length;
};

// More than any queue of a socket holds here.
constexpr std::uint32_t kMaxLength = 1 << 26;

// What each request is called, and how many waits of kStepPatience it may take: those of the host
// that is asked, and one for the way of question and answer.
struct VerbRow {
  Verb verb;
  const char* name;
  int waits;
};
constexpr int kWaitsOfAdopt = 2;  // for the peer
constexpr VerbRow kVerbs[] = {
    {Verb::kConnect, "connect", 2},            // for the peer
    {Verb::kMove, "move", 3 + kWaitsOfAdopt},  // for the other host, for data, for its answer
    {Verb::kAdopt, "adopt", kWaitsOfAdopt},
    {Verb::kFinish, "finish", 2},  // for both ends to have said all
    {Verb::kForget, "forget", 1},
    {Verb::kTell, "tell", 1},
    {Verb::kQuit, "quit", 1},
};
constexpr VerbRow kNoRequest{Verb::kDone, "answer", 1};

const VerbRow& row_of(Verb verb) {
  for (const VerbRow& row : kVerbs)
    if (row.verb == verb) return row;
  return kNoRequest;
}

int domain_of(const Endpoint& address) {
  return address.address.family() == Family::kIpv4 ? AF_INET : AF_INET6;
}

Result<void> write_all(const Fd& fd, std::span<const std::uint8_t> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    SOCKREPAIR_TRY(wait_for_events("there is room for a message", fd.get(), POLLOUT, deadline));
    const ssize_t sent = ::send(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return Error{errno, "send() of a message"};
    if (sent > 0) bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<void> read_all(const Fd& fd, std::span<std::uint8_t> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    SOCKREPAIR_TRY(wait_for_events("a message comes", fd.get(), POLLIN, deadline));
    const ssize_t got = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got == 0) return Error{ECONNRESET, "the other host has hung up"};
    if (got < 0 && errno != EAGAIN) return Error{errno, "recv() of a message"};
    if (got > 0) bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

}  // namespace

const char* verb_name(Verb verb) {
  return row_of(verb).name;
}

std::chrono::seconds patience_for(Verb verb) {
  return row_of(verb).waits * kStepPatience;
}

Bytes joined(std::span<const std::uint8_t> first, std::span<const std::uint8_t> second) {
  Bytes bytes;
  bytes.reserve(first.size() + second.size());
  bytes.insert(bytes.end(), first.begin(), first.end());
  bytes.insert(bytes.end(), second.begin(), second.end());
  return bytes;
}

Result<void> send_message(const Fd& fd, const Message& message, Deadline deadline) {
  const Header header{message.verb, static_cast<std::uint32_t>(message.body.size())};
  return write_all(fd, pack(header, message.body), deadline);
}

Result<Message> receive_message(const Fd& fd, Deadline deadline) {
  Header header{};
  Bytes bytes(sizeof(header));
  SOCKREPAIR_TRY(read_all(fd, bytes, deadline));
  SOCKREPAIR_TRY_ASSIGN(header, unpack<Header>(bytes));
  if (header.length > kMaxLength)
    return Error{EPROTO, "a message of " + std::to_string(header.length) + " bytes"};
  Message message{header.verb, Bytes(header.length)};
  SOCKREPAIR_TRY(read_all(fd, message.body, deadline));
  return message;
}

Result<Bytes> call(const Fd& fd, Verb verb, const Bytes& body) {
  const Deadline deadline = Deadline::after(patience_for(verb));
  SOCKREPAIR_TRY(send_message(fd, {verb, body}, deadline));
  Result<Message> answered = receive_message(fd, deadline);
  if (!answered) {
    return Error{answered.error().code,
                 std::string("the answer to ") + verb_name(verb) + ": " + answered.error().what};
  }
  Message answer = *std::move(answered);
  if (answer.verb == Verb::kDone) return std::move(answer.body);
  SOCKREPAIR_TRY_ASSIGN(const int code, unpack<int>(answer.body));
  return Error{code, std::string(answer.body.begin() + sizeof(code), answer.body.end())};
}

Message answer_with(const Result<Bytes>& result) {
  if (result) return {Verb::kDone, *result};
  const std::string& what = result.error().what;
  const auto* text = reinterpret_cast<const std::uint8_t*>(what.data());
  return {Verb::kFailed, pack(result.error().code, std::span(text, what.size()))};
}

Result<Fd> listen_at(const Endpoint& address) {
  const int domain = domain_of(address);
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(domain, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(address, domain)));
  if (::listen(fd.get(), 4) != 0) return Error{errno, "listen(" + address.to_string() + ")"};
  return fd;
}

Result<Fd> accept_from(const Fd& listener, Deadline deadline) {
  SOCKREPAIR_TRY(wait_for_events("a connection comes", listener.get(), POLLIN, deadline));
  Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) return Error{errno, "accept4()"};
  return fd;
}

Result<Fd> connect_to(const Endpoint& address, Deadline deadline) {
  const int domain = domain_of(address);
  Result<Fd> connected = Error{ETIMEDOUT, "connect(" + address.to_string() + ")"};
  SOCKREPAIR_TRY(wait_until("somebody listens at " + address.to_string(), deadline, [&] {
    Result<Fd> fd = sys::socket(domain, SOCK_STREAM, 0);
    // A SYN that nobody answers is not waited for longer than it takes to send another.
    const timeval patience{1, 0};
    if (fd) {
      (void)sys::setsockopt(fd->get(), SOL_SOCKET, SO_SNDTIMEO, patience);
      const Result<void> done = sys::connect(fd->get(), SocketAddress(address, domain));
      connected = done ? std::move(fd) : Result<Fd>(done.error());
    } else {
      connected = fd.error();
    }
    return connected.ok();
  }));
  return connected;
}

}  // namespace sockrepair::test

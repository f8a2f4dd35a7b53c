// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/conversation.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <span>
#include <string>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::test {

namespace {

constexpr std::size_t kChunk = 1 << 14;

// FNV-1a.
constexpr std::uint64_t kHashBegin = 0xcbf29ce484222325;
constexpr std::uint64_t kHashFactor = 0x100000001b3;

std::uint64_t hash(std::uint64_t begin, std::span<const std::uint8_t> bytes) {
  for (std::uint8_t byte : bytes) begin = (begin ^ byte) * kHashFactor;
  return begin;
}

// splitmix64 of the number of the word, with the side in its highest bit.
std::uint64_t word_at(Side side, std::uint64_t number) {
  std::uint64_t word = number | static_cast<std::uint64_t>(side) << 63;
  word = (word + 1) * 0x9e3779b97f4a7c15;
  word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
  word = (word ^ word >> 27) * 0x94d049bb133111eb;
  return word ^ word >> 31;
}

// What `side` sends from `position` on.
void fill(Side side, std::uint64_t position, std::span<std::uint8_t> bytes) {
  std::uint64_t word = word_at(side, position / 8);
  for (std::uint8_t& byte : bytes) {
    byte = static_cast<std::uint8_t>(word >> 8 * (position % 8));
    if (++position % 8 == 0) word = word_at(side, position / 8);
  }
}

Side other(Side side) {
  return side == Side::kClient ? Side::kServer : Side::kClient;
}

}  // namespace

Conversation::Conversation(Side side, const Progress& progress)
    : side_(side),
      sent_(progress.sent),
      received_(progress.received),
      sent_hash_(progress.sent == 0 ? kHashBegin : progress.sent_hash),
      received_hash_(progress.received == 0 ? kHashBegin : progress.received_hash),
      buffer_(2 * kChunk) {}

Conversation::~Conversation() {
  (void)pause();
}

void Conversation::start(const Fd& fd) {
  pausing_ = false;
  ended_ = false;
  result_ = {};
  wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  worker_ =
      std::make_unique<Worker>("conversation", [this, number = fd.get()](const std::atomic<bool>&) {
        result_ = run(number);
        ended_ = true;
      });
}

Result<void> Conversation::pause() {
  if (!worker_) return {};
  pausing_ = true;
  SOCKREPAIR_TRY(::eventfd_write(wake_.get(), 1) == 0
                     ? Result<void>()
                     : Result<void>(Error{errno, "eventfd_write()"}));
  worker_->join(Deadline::after(kPatience));
  worker_.reset();
  return result_;
}

Result<void> Conversation::finish(Deadline deadline) {
  if (!worker_) return Error{EINVAL, "finish() of a conversation that does not run"};
  finishing_ = true;
  if (::eventfd_write(wake_.get(), 1) != 0) return Error{errno, "eventfd_write()"};
  const Result<void> over =
      wait_until("both ends have said all", deadline, [this] { return ended(); });
  SOCKREPAIR_TRY(pause());
  if (!over) {
    return Error{over.error().code, over.error().what + ": sent " + std::to_string(sent_) +
                                        ", received " + std::to_string(received_) + " bytes"};
  }
  return {};
}

Progress Conversation::progress() const {
  return {sent_, received_, sent_hash_, received_hash_};
}

Result<void> Conversation::run(int fd) {
  while (!pausing_ && !(sent_all_ && received_all_)) {
    if (finishing_ && !sent_all_) {
      SOCKREPAIR_TRY(sys::shutdown(fd, SHUT_WR));
      sent_all_ = true;
      continue;
    }
    std::array<pollfd, 2> waiting = {{{fd, 0, 0}, {wake_.get(), POLLIN, 0}}};
    if (!received_all_) waiting[0].events |= POLLIN;
    if (!sent_all_) waiting[0].events |= POLLOUT;
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR)
      return Error{errno, "poll()"};
    if (waiting[1].revents != 0) {
      eventfd_t count = 0;
      (void)::eventfd_read(wake_.get(), &count);
    }
    if (!received_all_) SOCKREPAIR_TRY(receive_more(fd));
    if (!sent_all_ && !finishing_) SOCKREPAIR_TRY(send_more(fd));
  }
  return {};
}

// True if the socket took something.
Result<bool> Conversation::send_more(int fd) {
  const std::span<std::uint8_t> chunk = std::span(buffer_).first(kChunk);
  fill(side_, sent_, chunk);
  const ssize_t taken = ::send(fd, chunk.data(), chunk.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (taken < 0 && errno == EAGAIN) return false;
  if (taken < 0) return Error{errno, "send() after " + std::to_string(sent_) + " bytes"};
  sent_hash_ = hash(sent_hash_, chunk.first(static_cast<std::size_t>(taken)));
  sent_ += static_cast<std::uint64_t>(taken);
  return true;
}

// True if something was there, be it the end.
Result<bool> Conversation::receive_more(int fd) {
  const std::span<std::uint8_t> got = std::span(buffer_).first(kChunk);
  const std::span<std::uint8_t> want = std::span(buffer_).last(kChunk);
  const ssize_t length = ::recv(fd, got.data(), got.size(), MSG_DONTWAIT);
  if (length < 0 && errno == EAGAIN) return false;
  if (length < 0) return Error{errno, "recv() after " + std::to_string(received_) + " bytes"};
  if (length == 0) {
    received_all_ = true;
    finishing_ = true;
    return true;
  }
  fill(other(side_), received_, want.first(static_cast<std::size_t>(length)));
  for (std::size_t i = 0; i < static_cast<std::size_t>(length); ++i) {
    if (got[i] != want[i])
      return Error{EBADMSG, "byte " + std::to_string(received_ + i) + " is not what was sent"};
  }
  received_hash_ = hash(received_hash_, got.first(static_cast<std::size_t>(length)));
  received_ += static_cast<std::uint64_t>(length);
  return true;
}

}  // namespace sockrepair::test

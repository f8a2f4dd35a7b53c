// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/host.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdio>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

#include "migration/carry.h"
#include "migration/network.h"
#include "migration/situation.h"
#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::test {

namespace {

using Clock = std::chrono::steady_clock;

// Longer than the peer lets pass between two requests: it may ask the other host meanwhile, and
// wait for both ends to get something.
constexpr std::chrono::seconds kSilence = 10 * kStepPatience;
// What the application has under way at most, more or less.
constexpr int kSendBuffer = 1 << 15;
// An announcement may be lost.
constexpr std::chrono::milliseconds kAnnounceAgain{20};

std::uint64_t microseconds_since(Clock::time_point start) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
}

Result<tcp_info> info_of(const Fd& fd) {
  return sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO);
}

// Tells the peer where the address is, until it sends something here. Gives what is known then.
Result<tcp_info> announce_until_heard(const Fd& fd, Family family, std::uint32_t segments_before) {
  const Deadline deadline = Deadline::after(kStepPatience);
  while (!deadline.passed()) {
    SOCKREPAIR_TRY(announce_moved_address(family));
    Result<tcp_info> now = tcp_info{};
    const Result<void> heard =
        wait_until("a segment from the peer", Deadline::after(kAnnounceAgain), [&] {
          now = info_of(fd);
          return !now || now->tcpi_segs_in != segments_before;
        });
    if (heard) return now;
  }
  return Error{ETIMEDOUT, "waiting until the peer sends something"};
}

// connect(2), which by itself waits for more than two minutes.
Result<void> connect_patiently(const Fd& fd, const SocketAddress& to) {
  const timeval patience{kStepPatience.count(), 0};
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, patience));
  SOCKREPAIR_TRY(sys::connect(fd.get(), to));
  return sys::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, timeval{});
}

}  // namespace

Result<void> Host::serve() {
  SOCKREPAIR_TRY(set_up_host(self_));
  SOCKREPAIR_TRY_ASSIGN(const Fd listener, listen_at(control_endpoint(self_)));
  std::vector<Fd> askers;
  for (;;) {
    std::vector<pollfd> waiting = {{listener.get(), POLLIN, 0}};
    for (const Fd& asker : askers) waiting.push_back({asker.get(), POLLIN, 0});
    const int ready =
        ::poll(waiting.data(), waiting.size(), Deadline::after(kSilence).poll_timeout_ms());
    if (ready < 0) return Error{errno, "poll()"};
    if (ready == 0) return Error{ETIMEDOUT, "nobody has asked for anything"};
    for (std::size_t i = askers.size(); i > 0; --i) {
      if (waiting[i].revents == 0) continue;
      const Result<Message> request =
          receive_message(askers[i - 1], Deadline::after(kStepPatience));
      if (!request) {
        askers.erase(askers.begin() + static_cast<std::ptrdiff_t>(i - 1));
        continue;
      }
      SOCKREPAIR_TRY(answer(askers[i - 1], *request));
      if (request->verb == Verb::kQuit) return {};
    }
    if (waiting[0].revents != 0) {
      SOCKREPAIR_TRY_ASSIGN(Fd asker, accept_from(listener, Deadline::after(kStepPatience)));
      askers.push_back(std::move(asker));
    }
  }
}

Result<void> Host::answer(const Fd& asker, const Message& request) {
  Result<Bytes> done = handle(request);
  if (!done) {
    done = Error{done.error().code, std::string(station_name(self_)) + ", " +
                                        verb_name(request.verb) + ": " + done.error().what};
    // Here, too: nobody may be able to ask any more.
    printf("# | %s\n", done.error().describe().c_str());
    std::istringstream lines(tell());
    for (std::string line; std::getline(lines, line);) printf("# %s\n", line.c_str());
    fflush(stdout);
  }
  return send_message(asker, answer_with(done), Deadline::after(kStepPatience));
}

std::string Host::tell() const {
  return connection_situation(fd_) + network_situation();
}

Result<Bytes> Host::handle(const Message& request) {
  switch (request.verb) {
    case Verb::kConnect: {
      SOCKREPAIR_TRY_ASSIGN(const auto argument, unpack<Connect>(request.body));
      return connect(argument);
    }
    case Verb::kMove: {
      SOCKREPAIR_TRY_ASSIGN(const auto argument, unpack<Move>(request.body));
      return move(argument);
    }
    case Verb::kAdopt:
      return adopt(request.body);
    case Verb::kFinish:
      return finish();
    case Verb::kTell: {
      const std::string text = tell();
      return Bytes(text.begin(), text.end());
    }
    case Verb::kForget:
    case Verb::kQuit:
      return forget();
    case Verb::kDone:
    case Verb::kFailed:
      break;
  }
  return Error{EPROTO, "request " + std::to_string(static_cast<unsigned>(request.verb))};
}

Result<Bytes> Host::connect(const Connect& request) {
  connection_ = request;
  const int domain = request.family == Family::kIpv4 ? AF_INET : AF_INET6;
  SOCKREPAIR_TRY(add_moved_address(request.family));
  SOCKREPAIR_TRY(announce_moved_address(request.family));
  SOCKREPAIR_TRY_ASSIGN(fd_, sys::socket(domain, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(sys::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, kSendBuffer));
  SOCKREPAIR_TRY(sys::bind(
      fd_.get(), SocketAddress(Endpoint{moved_address(request.family), request.port, 0}, domain)));
  SOCKREPAIR_TRY(connect_patiently(
      fd_, SocketAddress(Endpoint{peer_address(request.family), request.port, 0}, domain)));
  application_ = std::make_unique<Conversation>(Side::kClient, Progress{});
  application_->start(fd_);
  return Bytes();
}

Result<Bytes> Host::move(const Move& request) {
  if (!application_) return Error{ENOTCONN, "a connection to move"};
  SOCKREPAIR_TRY_ASSIGN(const Fd other,
                        connect_to(control_endpoint(request.to), Deadline::after(kStepPatience)));
  SOCKREPAIR_TRY(application_->pause());
  // The peer goes on: there shall be something in the receive queue.
  SOCKREPAIR_TRY(wait_for_events("there is something to be read", fd_.get(), POLLIN,
                                 Deadline::after(kStepPatience)));
  Moved moved;
  SOCKREPAIR_TRY_ASSIGN(const tcp_info info, info_of(fd_));
  moved.rtt = info.tcpi_rtt;
  const Clock::time_point start = Clock::now();
  SOCKREPAIR_TRY_ASSIGN(const Carried carried, leave(std::move(fd_)));
  moved.dump = microseconds_since(start);
  moved.image = carried.image.size();
  moved.received = carried.received;
  moved.sent = carried.sent;

  // The time that a larger image or a farther host would take: nothing happens meanwhile.
  std::this_thread::sleep_for(request.hold);
  const Luggage luggage{connection_, application_->progress(), microseconds_since(start),
                        request.count_pause};
  application_.reset();
  SOCKREPAIR_TRY_ASSIGN(const Bytes answer,
                        call(other, Verb::kAdopt, pack(luggage, carried.image)));
  SOCKREPAIR_TRY_ASSIGN(moved.adopted, unpack<Adopted>(answer));
  moved.pause = microseconds_since(start);
  return pack(moved);
}

Result<Bytes> Host::adopt(std::span<const std::uint8_t> body) {
  const Clock::time_point start = Clock::now();
  SOCKREPAIR_TRY_ASSIGN(const auto luggage, unpack<Luggage>(body));
  connection_ = luggage.connection;
  Adopted adopted;
  SOCKREPAIR_TRY_ASSIGN(fd_, arrive(body.subspan(sizeof(Luggage)),
                                    {.age_us = luggage.age_us + microseconds_since(start),
                                     .count = luggage.count_pause}));
  SOCKREPAIR_TRY_ASSIGN(const tcp_info before, info_of(fd_));
  application_ = std::make_unique<Conversation>(Side::kClient, luggage.application);
  application_->start(fd_);
  adopted.restore = microseconds_since(start);
  SOCKREPAIR_TRY_ASSIGN(const tcp_info heard,
                        announce_until_heard(fd_, connection_.family, before.tcpi_segs_in));
  adopted.heard = microseconds_since(start);
  adopted.rtt = heard.tcpi_rtt;
  return pack(adopted);
}

Result<Bytes> Host::finish() {
  if (!application_) return Error{ENOTCONN, "a connection to end"};
  SOCKREPAIR_TRY(application_->finish(Deadline::after(kStepPatience)));
  const Progress progress = application_->progress();
  SOCKREPAIR_TRY(forget());
  return pack(progress);
}

Result<Bytes> Host::forget() {
  application_.reset();
  // First the address, so that the end of the socket is not heard. Not every host has it.
  for (Family family : {Family::kIpv4, Family::kIpv6}) (void)remove_moved_address(family);
  fd_.reset();
  return Bytes();
}

}  // namespace sockrepair::test

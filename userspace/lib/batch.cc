// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/batch.h"

#include <errno.h>
#include <netinet/in.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "borrowed_batch.h"
#include "call.h"
#include "crew.h"
#include "inet_socket.h"
#include "no_throw.h"
#include "option_state.h"
#include "try.h"
#include "whole_socket.h"

namespace sockrepair {

namespace {

using internal::Crew;
using internal::FreshOptions;
using internal::SocketKind;
using internal::Surroundings;

Result<void> check_options(const BatchOptions& options) {
  if (options.in_flight >= 1 && options.in_flight <= BatchOptions::kInFlightMax) return {};
  return internal::refuse(EINVAL, "in_flight",
                          std::to_string(options.in_flight) + ", must be 1 to " +
                              std::to_string(BatchOptions::kInFlightMax));
}

Error named(std::size_t index, const Error& error) {
  return Error{error.code, "socket " + std::to_string(index) + ": " + error.what};
}

// What all batches have in common: how far they are, and what ends them.
class Batch {
 public:
  explicit Batch(const BatchOptions& options) : options_(options) {}

  bool is_over() const { return end_.has_value(); }
  const std::optional<Error>& end() const { return end_; }
  BatchReport& report() { return report_; }

  // The first reason counts.
  void end_with(const Error& error) {
    if (!end_) end_ = error;
  }
  void end_unless(const Result<void>& done) {
    if (!done) end_with(done.error());
  }

  // Another socket was worked on.
  void count(std::size_t index, const Error* failure) {
    if (failure != nullptr) {
      ++report_.failed;
      if (options_.on_failure == OnFailure::kNone) end_with(named(index, *failure));
    }
    ++done_;
    if (options_.progress) end_unless(options_.progress(done_));
  }

 private:
  const BatchOptions& options_;
  BatchReport report_;
  std::size_t done_ = 0;
  std::optional<Error> end_;
};

// --- dump ---

class DumpBatch {
 public:
  DumpBatch(std::span<const int> fds, const DumpBatchOptions& options, const DumpSink& sink)
      : fds_(fds), options_(options), sink_(sink), batch_(options) {}
  DumpBatch(const DumpBatch&) = delete;
  DumpBatch& operator=(const DumpBatch&) = delete;
  // Sources that nobody has been told of go on as they were.
  ~DumpBatch() {
    for (const internal::TcpSourceRest& source : left_in_repair_)
      (void)internal::no_throw([&] { return internal::resume_source(source); });
  }

  Result<BatchReport> run() {
    SOCKREPAIR_TRY(check_options(options_));
    if (options_.tcp.leave_in_repair) left_in_repair_.reserve(fds_.size());
    {
      Crew crew(options_, fds_.size());
      for (std::size_t i = 0; i < fds_.size() && !batch_.is_over(); ++i) {
        auto result = std::make_shared<Result<AnySocket>>(Error{ECANCELED, "not begun"});
        crew.add([this, i, result] { *result = dump(fds_[i]); },
                 [this, i, result] { hand_over(i, std::move(*result)); });
      }
      crew.finish();
      crew.report(batch_.report());
    }
    if (batch_.is_over()) return *batch_.end();
    left_in_repair_.clear();
    return batch_.report();
  }

 private:
  Result<AnySocket> dump(int fd) {
    return internal::no_throw([&]() -> Result<AnySocket> {
      SOCKREPAIR_TRY_ASSIGN(SocketKind kind, SocketKind::of(fd));
      if (kind.protocol != IPPROTO_UDP) {
        SOCKREPAIR_TRY_ASSIGN(
            TcpSocket socket,
            internal::dump_tcp(fd, kind, options_.tcp, [&](std::uint64_t netns_cookie) {
              return survey_of(fd, netns_cookie);
            }));
        // There is room for it.
        if (options_.tcp.leave_in_repair && is_connected(socket.state))
          left_in_repair_.push_back(internal::rest_of_source(fd, socket));
        return AnySocket(std::move(socket));
      }
      SOCKREPAIR_TRY_ASSIGN(UdpSocket socket, internal::dump_udp(fd, kind, options_.udp));
      return AnySocket(std::move(socket));
    });
  }

  // nullptr: there is none, and the dump of the socket says why.
  const TcpSurvey* survey_of(int fd, std::uint64_t netns_cookie) {
    // Dearer than a look for one or two.
    if (fds_.size() <= 2 || netns_cookie == 0) return nullptr;
    auto at = surveys_.find(netns_cookie);
    if (at == surveys_.end()) {
      // The other jobs wait: they want the same.
      internal::CarriedBy nobody(nullptr);
      Result<TcpSurvey> survey = TcpSurvey::take(fd);
      at = surveys_.emplace(netns_cookie, survey ? std::optional(*std::move(survey)) : std::nullopt)
               .first;
    }
    return at->second ? &*at->second : nullptr;
  }

  void hand_over(std::size_t index, Result<AnySocket> socket) {
    if (socket) ++batch_.report().sockets;
    batch_.count(index, socket ? nullptr : &socket.error());
    batch_.end_unless(sink_(index, std::move(socket)));
  }

  const std::span<const int> fds_;
  const DumpBatchOptions& options_;
  const DumpSink& sink_;
  Batch batch_;
  std::map<std::uint64_t, std::optional<TcpSurvey>> surveys_;  // by the cookie of the namespace
  std::vector<internal::TcpSourceRest> left_in_repair_;
};

// --- restore ---

// When a socket is made. One that is bound goes before the listener that it shares its port with,
// which nothing may bind to afterwards but connections in repair mode; so does one that is about to
// connect. Those that share a port otherwise are made in the order in which they were, so that each
// gets what it got.
enum class Turn : std::uint8_t { kBound, kListening, kInGroup, kConnection };

Turn turn_of(const UdpSocket& socket) {
  return socket.reuseport_rank.value_or(0) != 0 ? Turn::kInGroup : Turn::kBound;
}

Turn turn_of(const TcpSocket& socket) {
  if (is_connected(socket.state)) return Turn::kConnection;
  if (socket.state != TcpState::kListen) return Turn::kBound;
  return socket.reuseport_rank.value_or(0) != 0 ? Turn::kInGroup : Turn::kListening;
}

SocketKind kind_of(const UdpSocket& socket) {
  return {socket.domain, SOCK_DGRAM, IPPROTO_UDP};
}
SocketKind kind_of(const TcpSocket& socket) {
  return {socket.domain, SOCK_STREAM, IPPROTO_TCP};
}

// What has to be known of a socket before the first one is made.
struct Place {
  Turn turn;
  std::uint32_t rank;  // kInGroup
};

using Shared = std::shared_ptr<const AnySocket>;

// A source whose sockets can be held by several.
class Reader {
 public:
  virtual ~Reader() = default;
  // nullptr: the end.
  virtual Result<Shared> next() = 0;
  virtual Result<void> rewind() = 0;
};

class SourceReader : public Reader {
 public:
  explicit SourceReader(SocketSource& source) : source_(source) {}
  Result<Shared> next() override {
    SOCKREPAIR_TRY_ASSIGN(std::optional<AnySocket> socket, source_.next());
    return socket ? std::make_shared<const AnySocket>(*std::move(socket)) : nullptr;
  }
  Result<void> rewind() override { return source_.rewind(); }

 private:
  SocketSource& source_;
};

class MemoryReader : public Reader {
 public:
  explicit MemoryReader(std::span<const AnySocket* const> sockets) : sockets_(sockets) {}
  Result<Shared> next() override {
    if (at_ == sockets_.size()) return Shared();
    return Shared(Shared(), sockets_[at_++]);  // owns nothing
  }
  Result<void> rewind() override {
    at_ = 0;
    return {};
  }

 private:
  std::span<const AnySocket* const> sockets_;
  std::size_t at_ = 0;
};

class RestoreBatch {
 public:
  RestoreBatch(Reader& reader, const RestoreBatchOptions& options, const RestoreSink& sink)
      : reader_(reader), options_(options), sink_(sink), batch_(options) {
    tcp_options_ = options.tcp;
    tcp_options_.keep_repair = true;
  }
  RestoreBatch(const RestoreBatch&) = delete;
  RestoreBatch& operator=(const RestoreBatch&) = delete;
  // What is made and not handed over goes without a word.
  ~RestoreBatch() {
    for (Made& one : made_)
      if (one.rest) close_silently(std::move(one.restored.fd));
  }

  Result<BatchReport> run() {
    SOCKREPAIR_TRY(check_options(options_));
    SOCKREPAIR_TRY(plan());
    Crew crew(options_, places_.size());
    for (Turn turn : {Turn::kBound, Turn::kListening}) make_all(crew, turn);
    make_groups(crew);
    make_all(crew, Turn::kConnection);
    if (!batch_.is_over() && options_.all_made) batch_.end_unless(options_.all_made());
    if (!batch_.is_over()) hand_over_all(crew);
    crew.report(batch_.report());
    if (batch_.is_over()) return *batch_.end();
    return batch_.report();
  }

 private:
  // A socket that is there and not handed over.
  struct Made {
    std::size_t index;
    RestoredTcpSocket restored;
    // What is left to do for it; nothing for UDP.
    std::optional<internal::TcpRest> rest;
  };

  // Calls function(index, socket) for all of the source until the batch is over, or it gives an
  // error, which ends the batch.
  template <typename Function>
  void for_each(Function function) {
    batch_.end_unless(reader_.rewind());
    for (std::size_t i = 0; !batch_.is_over(); ++i) {
      Result<Shared> socket = reader_.next();
      if (!socket) return batch_.end_with(socket.error());
      if (*socket == nullptr) return;
      function(i, *std::move(socket));
    }
  }

  Result<void> plan() {
    for_each([&](std::size_t, const Shared& socket) {
      std::visit(
          [&](const auto& one) {
            places_.push_back({turn_of(one), one.reuseport_rank.value_or(0)});
            const SocketKind kind = kind_of(one);
            ++kinds_[{kind.domain, kind.protocol}].sockets;
          },
          *socket);
    });
    return batch_.is_over() ? Result<void>(*batch_.end()) : Result<void>();
  }

  bool is_next(std::size_t index, Turn turn) {
    if (index < places_.size()) return places_[index].turn == turn;
    batch_.end_with(Error{EINVAL, "source: has more sockets than it had"});
    return false;
  }

  void make_all(Crew& crew, Turn turn) {
    const auto is_it = [turn](const Place& place) { return place.turn == turn; };
    if (std::none_of(places_.begin(), places_.end(), is_it)) return;
    for_each([&](std::size_t index, Shared socket) {
      if (is_next(index, turn)) make(crew, index, std::move(socket));
    });
    crew.finish();
  }

  // Members of a group are made one after the other.
  void make_groups(Crew& crew) {
    std::multimap<std::uint32_t, std::pair<std::size_t, Shared>> by_rank;
    const auto is_it = [](const Place& place) { return place.turn == Turn::kInGroup; };
    if (std::none_of(places_.begin(), places_.end(), is_it)) return;
    for_each([&](std::size_t index, Shared socket) {
      if (is_next(index, Turn::kInGroup))
        by_rank.emplace(places_[index].rank, std::pair(index, std::move(socket)));
    });
    while (!by_rank.empty() && !batch_.is_over()) {
      const std::uint32_t rank = by_rank.begin()->first;
      for (; !by_rank.empty() && by_rank.begin()->first == rank; by_rank.erase(by_rank.begin()))
        make(crew, by_rank.begin()->second.first, std::move(by_rank.begin()->second.second));
      crew.finish();
    }
  }

  void make(Crew& crew, std::size_t index, Shared socket) {
    auto result = std::make_shared<Result<Made>>(Error{ECANCELED, "not begun"});
    const Surroundings* here =
        std::visit([&](const auto& one) { return surroundings_of(kind_of(one)); }, *socket);
    crew.add(
        [this, index, socket, result, here] {
          *result = internal::no_throw([&] {
            return std::visit([&](const auto& one) { return make_one(index, one, here); }, *socket);
          });
        },
        [this, index, result] { keep(index, std::move(*result)); });
  }

  // Asked once for two sockets or more.
  const Surroundings* surroundings_of(const SocketKind& kind) {
    Kind& known = kinds_[{kind.domain, kind.protocol}];
    if (known.sockets < 2) return nullptr;
    if (!std::exchange(known.asked, true)) {
      Result<FreshOptions> fresh = FreshOptions::learn(kind);
      // The same error comes with the socket.
      if (fresh) known.here.emplace(Surroundings{*std::move(fresh), internal::read_port_range()});
    }
    return known.here ? &*known.here : nullptr;
  }

  Result<Made> make_one(std::size_t index, const UdpSocket& socket, const Surroundings* here) {
    SOCKREPAIR_TRY_ASSIGN(RestoredSocket restored,
                          internal::restore_udp(socket, options_.udp, here));
    Made made{index, {}, std::nullopt};
    static_cast<RestoredSocket&>(made.restored) = std::move(restored);
    return made;
  }

  Result<Made> make_one(std::size_t index, const TcpSocket& socket, const Surroundings* here) {
    SOCKREPAIR_TRY_ASSIGN(RestoredTcpSocket restored,
                          internal::restore_tcp(socket, tcp_options_, here));
    return Made{index, std::move(restored), internal::rest_of(socket)};
  }

  void keep(std::size_t index, Result<Made> made) {
    batch_.count(index, made ? nullptr : &made.error());
    if (made)
      made_.push_back(*std::move(made));
    else
      batch_.end_unless(sink_(index, made.error()));
  }

  // Ends repair mode, unless that is for the caller to do.
  void hand_over_all(Crew& crew) {
    for (Made& one : made_) {
      auto result = std::make_shared<Result<void>>();
      crew.add(
          [this, &one, result] {
            if (!one.rest || options_.tcp.keep_repair) return;
            *result = internal::no_throw([&] {
              return internal::resume_tcp(one.restored.fd.get(), *one.rest, tcp_options_);
            });
          },
          [this, &one, result] { hand_over(one, *result); });
    }
    crew.finish();
    made_.clear();
  }

  void hand_over(Made& one, const Result<void>& resumed) {
    const bool is_tcp = std::exchange(one.rest, std::nullopt).has_value();
    if (resumed) {
      ++batch_.report().sockets;
      batch_.end_unless(sink_(one.index, std::move(one.restored)));
      return;
    }
    ++batch_.report().failed;
    if (is_tcp) close_silently(std::move(one.restored.fd));
    batch_.end_unless(sink_(one.index, resumed.error()));
  }

  struct Kind {
    std::size_t sockets = 0;
    bool asked = false;
    std::optional<Surroundings> here;
  };

  Reader& reader_;
  const RestoreBatchOptions& options_;
  TcpRestoreOptions tcp_options_;
  const RestoreSink& sink_;
  Batch batch_;
  std::vector<Place> places_;
  std::map<std::pair<int, int>, Kind> kinds_;  // by domain and protocol
  std::vector<Made> made_;
};

}  // namespace

Result<BatchReport> dump_sockets(std::span<const int> fds, const DumpBatchOptions& options,
                                 const DumpSink& sink) {
  return internal::no_throw([&] { return DumpBatch(fds, options, sink).run(); });
}

Result<BatchReport> restore_sockets(SocketSource& source, const RestoreBatchOptions& options,
                                    const RestoreSink& sink) {
  return internal::no_throw([&] {
    SourceReader reader(source);
    return RestoreBatch(reader, options, sink).run();
  });
}

Result<BatchReport> restore_sockets(std::span<const AnySocket> sockets,
                                    const RestoreBatchOptions& options, const RestoreSink& sink) {
  return internal::no_throw([&] {
    std::vector<const AnySocket*> borrowed;
    borrowed.reserve(sockets.size());
    for (const AnySocket& socket : sockets) borrowed.push_back(&socket);
    return internal::restore_borrowed(borrowed, options, sink);
  });
}

Result<BatchReport> internal::restore_borrowed(std::span<const AnySocket* const> sockets,
                                               const RestoreBatchOptions& options,
                                               const RestoreSink& sink) {
  MemoryReader reader(sockets);
  return RestoreBatch(reader, options, sink).run();
}

}  // namespace sockrepair

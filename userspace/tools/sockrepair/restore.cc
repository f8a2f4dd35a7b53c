// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// sockrepair restore: the sockets of an image, made again and handed over.

#include <errno.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <variant>

#include "command.h"
#include "hand_over.h"
#include "keeper.h"
#include "losses.h"
#include "netns.h"
#include "open_image.h"
#include "progress.h"
#include "sockrepair/batch.h"
#include "sockrepair/connection_lock.h"
#include "sockrepair/tcp_socket.h"
#include "sockrepair/tcp_time_wait.h"
#include "sockrepair/udp_socket.h"
#include "try.h"

namespace sockrepair::tool {

namespace {

// What has to be known of all sockets before the first is made.
struct Plan {
  std::set<std::uint64_t> namespaces;  // cookies
  std::set<int> numbers;
  std::size_t sockets = 0;
  // By cookie: what is to be locked while it is made.
  std::map<std::uint64_t, std::vector<FourTuple>> connections;
  // Connections that are over, made after all sockets.
  std::vector<TcpTimeWait> time_waits;
  // The locks that dumps have left.
  std::vector<std::string> locks;
};

// Whether it has a peer: --listen-only leaves it without, --connections-only takes nothing else.
bool is_connection(const UdpSocket&) {
  return false;
}
bool is_connection(const TcpSocket& socket) {
  return socket.state != TcpState::kListen && socket.peer.has_value();
}
bool is_connection(const ImageSocket& entry) {
  return std::visit([](const auto& socket) { return is_connection(socket); }, entry.socket);
}

std::uint64_t netns_of(const ImageSocket& entry) {
  return std::visit([](const auto& socket) { return socket.netns_cookie; }, entry.socket);
}

// Each entry is wanted three times, and reading one takes longer than making the socket.
constexpr std::uint64_t kMostKept = 16 << 20;

class Restore {
 public:
  explicit Restore(const RestoreCommand& command) : command_(command) {}

  // Makes all sockets, or none. Leaves the calling thread in the namespace for a program. Nothing
  // is sent from them yet, and nothing reaches connections.
  Result<void> run();
  // Lets the segments of connections pass.
  Result<void> let_pass(const std::vector<HandedSocket>& sockets);

  std::vector<HandedSocket> take() { return std::move(made_); }
  const Losses& losses() const { return losses_; }
  int status() const { return status_; }

 private:
  // Reads the next entry of the image; nothing at the end.
  Result<std::optional<ImageEntry>> next_entry();
  // Whether it is to be made; makes it what it is to be.
  bool wants(ImageSocket* socket) const;
  // The next socket that is to be made.
  Result<std::optional<ImageSocket>> next_socket();
  Result<Plan> plan();
  void plan_time_wait(TcpTimeWait over, Plan* plan) const;
  Result<void> plan_socket(const ImageSocket& socket, Plan* plan) const;
  Result<void> check(const Plan& plan);
  Result<void> lock(const Plan& plan);
  Result<void> make_all(const Plan& plan);
  Result<void> prepare_time_waits(const Plan& plan, int highest);
  Result<void> begin_time_waits();
  void end_time_waits();
  Result<void> resume(const std::vector<HandedSocket>& sockets);
  TcpRestoreOptions tcp_options() const;

  class Source;

  const RestoreCommand& command_;
  std::optional<ImageReader> reader_;
  NetnsMap netns_;
  Losses losses_;
  std::vector<ConnectionLock> locks_;
  // Closed before segments pass: what reached one that is not handed over would be acknowledged.
  std::vector<HandedSocket> made_;
  struct TimeWait {
    TcpTimeWait connection;
    PreparedTimeWait prepared;
  };
  std::vector<TimeWait> time_waits_;
  // The locks of dumps, with the cookie of the sockets whose new namespace they are looked for in.
  std::vector<std::pair<std::uint64_t, std::string>> old_locks_;
  int status_ = kFailed;
};

std::string endpoint_text(const std::optional<Endpoint>& endpoint) {
  return endpoint ? endpoint->to_string() : "-";
}

// "descriptor 5 (0.0.0.0:53)"
template <typename Socket>
std::string subject_of(const ImageSocket& entry, const Socket& socket) {
  std::string number =
      entry.descriptors.empty() ? "?" : std::to_string(entry.descriptors.front().number);
  return "descriptor " + number + " (" + endpoint_text(socket.local) + ")";
}

std::vector<int> numbers_of(const HandedSocket& socket) {
  std::vector<int> numbers;
  for (const ImageDescriptor& descriptor : socket.descriptors) numbers.push_back(descriptor.number);
  return numbers;
}

void rewrite(Endpoint* endpoint, const std::vector<AddressRewrite>& rewrites) {
  for (const AddressRewrite& one : rewrites) {
    if (endpoint->address != one.from) continue;
    endpoint->address = one.to;
    return;
  }
}
void rewrite(std::optional<Endpoint>* endpoint, const std::vector<AddressRewrite>& rewrites) {
  if (*endpoint) rewrite(&**endpoint, rewrites);
}

const char* protocol_text(const UdpSocket&) {
  return "udp";
}
const char* protocol_text(const TcpSocket&) {
  return "tcp";
}

std::optional<internal::TcpRest> rest_of(const UdpSocket&) {
  return std::nullopt;
}
std::optional<internal::TcpRest> rest_of(const TcpSocket& socket) {
  if (!is_connection(socket)) return std::nullopt;
  return internal::rest_of(socket);
}

// -1: it has none.
int lowest_number(const HandedSocket& socket) {
  return socket.descriptors.empty() ? -1 : socket.descriptors.front().number;
}

template <typename Socket>
FourTuple tuple_of(const Socket& socket) {
  return {*socket.local, *socket.peer};
}

Result<std::optional<ImageEntry>> Restore::next_entry() {
  Result<std::optional<ImageEntry>> entry = reader_->next();
  if (!entry) status_ = image_status(entry.error());
  return entry;
}

bool Restore::wants(ImageSocket* socket) const {
  const bool connected = is_connection(*socket);
  if (command_.which == Which::kConnectionsOnly && !connected) return false;
  if (command_.which == Which::kListenOnly && connected)
    socket->socket = without_connection(std::get<TcpSocket>(socket->socket));
  // The library would do it for TCP; what is done here holds for the locks, too.
  std::visit(
      [&](auto& one) {
        rewrite(&one.local, command_.tcp.rewrites);
        rewrite(&one.peer, command_.tcp.rewrites);
      },
      socket->socket);
  return true;
}

Result<std::optional<ImageSocket>> Restore::next_socket() {
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageEntry> entry, next_entry());
    if (!entry) return std::optional<ImageSocket>();
    auto* socket = std::get_if<ImageSocket>(&*entry);
    if (socket != nullptr && wants(socket)) return std::optional<ImageSocket>(std::move(*socket));
  }
}

Result<Plan> Restore::plan() {
  Plan plan;
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageEntry> entry, next_entry());
    if (!entry) break;
    if (const auto* process = std::get_if<ImageProcess>(&*entry))
      plan.locks.push_back(lock_name(*process));
    if (auto* over = std::get_if<TcpTimeWait>(&*entry)) plan_time_wait(std::move(*over), &plan);
    if (auto* socket = std::get_if<ImageSocket>(&*entry); socket != nullptr && wants(socket))
      SOCKREPAIR_TRY(plan_socket(*socket, &plan));
  }
  reader_->rewind();
  return plan;
}

void Restore::plan_time_wait(TcpTimeWait over, Plan* plan) const {
  if (command_.which == Which::kListenOnly) return;
  rewrite(&over.local, command_.tcp.rewrites);
  rewrite(&over.peer, command_.tcp.rewrites);
  plan->namespaces.insert(over.netns_cookie);
  plan->connections[over.netns_cookie].push_back({over.local, over.peer});
  plan->time_waits.push_back(std::move(over));
}

Result<void> Restore::plan_socket(const ImageSocket& socket, Plan* plan) const {
  ++plan->sockets;
  plan->namespaces.insert(netns_of(socket));
  if (is_connection(socket)) {
    const auto& tcp = std::get<TcpSocket>(socket.socket);
    if (tcp.connection || tcp.state == TcpState::kSynSent)
      plan->connections[tcp.netns_cookie].push_back(tuple_of(tcp));
  }
  if (command_.hand_over != HandOver::kSameNumbers && command_.hand_over != HandOver::kInto)
    return {};
  if (socket.descriptors.empty()) {
    return Error{EBADF, "socket " + std::to_string(plan->sockets) +
                            " of the image has no descriptor number; use --listen-fds or "
                            "--send-to"};
  }
  for (const ImageDescriptor& descriptor : socket.descriptors) {
    if (!plan->numbers.insert(descriptor.number).second) {
      return Error{EEXIST, "descriptor " + std::to_string(descriptor.number) +
                               " is there twice, from two processes; use --listen-fds or "
                               "--send-to"};
    }
  }
  return {};
}

// The highest number that a descriptor of this process will have when it is the new program.
int highest_number(const Plan& plan, HandOver hand_over) {
  constexpr int kStandard = 2;  // stderr, and with it the others, keep their place
  return plan.numbers.empty() || hand_over == HandOver::kInto
             ? kStandard
             : std::max(kStandard, *plan.numbers.rbegin());
}

Result<void> Restore::check(const Plan& plan) {
  if (plan.sockets == 0) return Error{ENODATA, "the image has no such socket"};
  SOCKREPAIR_TRY(netns_.check(plan.namespaces));
  std::size_t more = plan.sockets + plan.time_waits.size() + netns_.descriptors();
  if (command_.hand_over == HandOver::kListenFds) more += plan.sockets;
  return make_room(highest_number(plan, command_.hand_over), more);
}

// What cannot be made again is lost: the sockets are of use without. All of one cause are one line.
Result<void> Restore::prepare_time_waits(const Plan& plan, int highest) {
  TimeWaitRestoreOptions options;
  options.count_pause = command_.tcp.count_pause;
  options.pause = command_.tcp.pause;
  std::map<std::string, std::size_t> lost;
  for (const TcpTimeWait& one : plan.time_waits) {
    SOCKREPAIR_TRY(check_signals());
    SOCKREPAIR_TRY(netns_.enter(one.netns_cookie));
    Result<PreparedTimeWait> prepared = prepare_tcp_time_wait(one, options);
    if (!prepared) {
      ++lost[prepared.error().describe()];
      continue;
    }
    for (const Loss& loss : prepared->losses) ++lost[loss.describe()];
    if (!prepared->fd) continue;
    SOCKREPAIR_TRY(move_above(highest, &prepared->fd));
    time_waits_.push_back({one, *std::move(prepared)});
  }
  for (const auto& [what, count] : lost) {
    losses_.add(std::to_string(count) + " TIME_WAIT " +
                (count == 1 ? "connection: " : "connections: ") + what);
  }
  return {};
}

// What arrives for a connection before it is whole would be answered with a reset.
Result<void> Restore::lock(const Plan& plan) {
  // Also of connections that are given up: their peers are to learn of it.
  for (std::uint64_t cookie : plan.namespaces)
    for (const std::string& name : plan.locks) old_locks_.emplace_back(cookie, name);
  if (!command_.lock) return {};
  for (const auto& [cookie, connections] : plan.connections) {
    SOCKREPAIR_TRY(netns_.enter(cookie));
    Result<ConnectionLock> lock = ConnectionLock::create();
    if (!lock) {
      return Error{lock.error().code,
                   lock.error().what + "; with --no-lock it is for you to drop their segments"};
    }
    SOCKREPAIR_TRY(lock->add(connections));
    locks_.push_back(*std::move(lock));
  }
  return {};
}

TcpRestoreOptions Restore::tcp_options() const {
  TcpRestoreOptions options = command_.tcp;
  options.refusal = Refusal::kReport;
  options.keep_repair = true;
  options.rewrites.clear();
  return options;
}

// The sockets of the image that belong into one namespace, with what is to be said of each.
class Restore::Source : public SocketSource {
 public:
  struct Description {
    std::string subject;
    HandedSocket handed;  // without a descriptor
  };

  Source(Restore& restore, std::uint64_t netns_cookie)
      : restore_(restore), netns_cookie_(netns_cookie) {}

  Result<std::optional<AnySocket>> next() override {
    for (;;) {
      SOCKREPAIR_TRY(check_signals());
      SOCKREPAIR_TRY_ASSIGN(std::optional<ImageSocket> entry, restore_.next_socket());
      if (!entry) return std::optional<AnySocket>();
      if (netns_of(*entry) != netns_cookie_) continue;
      if (at_++ == descriptions_.size()) descriptions_.push_back(describe(*entry));
      return std::optional<AnySocket>(std::move(entry->socket));
    }
  }
  Result<void> rewind() override {
    restore_.reader_->rewind();
    at_ = 0;
    return {};
  }

  Description& description(std::size_t index) { return descriptions_[index]; }

 private:
  static Description describe(const ImageSocket& entry) {
    return std::visit(
        [&](const auto& socket) {
          Description description{subject_of(entry, socket), {}};
          HandedSocket& handed = description.handed;
          handed.protocol = protocol_text(socket);
          handed.local = endpoint_text(socket.local);
          handed.peer = endpoint_text(socket.peer);
          handed.rest = rest_of(socket);
          handed.descriptors = entry.descriptors;
          return description;
        },
        entry.socket);
  }

  Restore& restore_;
  std::uint64_t netns_cookie_;
  std::size_t at_ = 0;
  std::vector<Description> descriptions_;
};

Result<void> Restore::make_all(const Plan& plan) {
  Progress progress("sockets", plan.sockets);
  RestoreBatchOptions options;
  options.on_failure = OnFailure::kNone;
  options.tcp = tcp_options();
  options.udp.refusal = Refusal::kReport;
  options.progress = [&](std::size_t) {
    progress.advance();
    return check_signals();
  };
  for (std::uint64_t cookie : plan.namespaces) {
    SOCKREPAIR_TRY(netns_.enter(cookie));
    Source source(*this, cookie);
    std::optional<Error> failure;
    auto sink = [&](std::size_t index, Result<RestoredTcpSocket> made) -> Result<void> {
      Source::Description& description = source.description(index);
      if (!made) {
        const Error& error = made.error();
        if (!failure) failure = Error{error.code, description.subject + ": " + error.what};
        return {};
      }
      for (const Loss& loss : made->losses)
        losses_.add(numbers_of(description.handed), description.handed.local, loss.describe());
      description.handed.fd = std::move(made->fd);
      made_.push_back(std::move(description.handed));
      return {};
    };
    Result<BatchReport> done = restore_sockets(source, options, sink);
    if (failure) return *failure;
    if (!done) return done.error();
  }
  reader_->rewind();
  return {};
}

Result<void> Restore::run() {
  Result<ImageReader> reader = open_image(command_.file, {.keep_bytes = kMostKept});
  if (!reader) {
    status_ = image_status(reader.error());
    return reader.error();
  }
  reader_.emplace(*std::move(reader));
  SOCKREPAIR_TRY_ASSIGN(netns_, NetnsMap::parse(command_.netns));
  SOCKREPAIR_TRY_ASSIGN(Plan what, plan());
  SOCKREPAIR_TRY(check(what));
  // Where sockets are put before the last of what is done here. Those of --listen-fds begin with 3.
  const int highest = highest_number(what, command_.hand_over) + static_cast<int>(what.sockets) + 1;
  SOCKREPAIR_TRY(netns_.move_above(highest));
  SOCKREPAIR_TRY(lock(what));
  SOCKREPAIR_TRY(make_all(what));
  SOCKREPAIR_TRY(prepare_time_waits(what, highest));
  std::stable_sort(made_.begin(), made_.end(), [](const HandedSocket& a, const HandedSocket& b) {
    return lowest_number(a) < lowest_number(b);
  });
  SOCKREPAIR_TRY(netns_.enter_default());
  if (command_.strict && !losses_.empty()) {
    status_ = kIncomplete;
    return losses_.strict_error();
  }
  return check_signals();
}

Result<void> Restore::begin_time_waits() {
  for (TimeWait& one : time_waits_) {
    Result<void> begun = begin_tcp_time_wait(std::move(one.prepared));
    if (begun) continue;
    const std::string what = one.connection.describe() + ": " + begun.error().what;
    if (command_.strict) return Error{begun.error().code, what};
    complain("lost: " + what);
  }
  return {};
}

void Restore::end_time_waits() {
  for (const TimeWait& one : time_waits_) {
    if (!netns_.enter(one.connection.netns_cookie)) continue;
    static_cast<void>(end_tcp_time_wait(std::span(&one.connection, 1)));
  }
  static_cast<void>(netns_.enter_default());
}

Result<void> Restore::let_pass(const std::vector<HandedSocket>& sockets) {
  // They have to be there when the first segment is.
  Result<void> done = begin_time_waits();
  if (done) done = resume(sockets);
  if (!done) end_time_waits();
  return done;
}

Result<void> Restore::resume(const std::vector<HandedSocket>& sockets) {
  for (const auto& [cookie, name] : old_locks_) {
    SOCKREPAIR_TRY(netns_.enter(cookie));
    SOCKREPAIR_TRY(take_over_lock(name));
  }
  SOCKREPAIR_TRY(netns_.enter_default());
  locks_.clear();
  for (const HandedSocket& socket : sockets) {
    if (!socket.rest) continue;
    Result<void> resumed = internal::resume_tcp(socket.fd.get(), *socket.rest, tcp_options());
    if (!resumed) {
      return Error{resumed.error().code,
                   socket.local + " with " + socket.peer + ": " + resumed.error().what};
    }
  }
  return {};
}

}  // namespace

int run_restore(const RestoreCommand& command) {
  catch_signals();
  Restore restore(command);
  auto make = [&restore]() -> Result<std::vector<HandedSocket>> {
    Result<void> made = restore.run();
    for (const std::string& loss : restore.losses().by_cause()) complain("lost: " + loss);
    if (!made) return made.error();
    return restore.take();
  };
  auto let_pass = [&restore](const std::vector<HandedSocket>& sockets) {
    return restore.let_pass(sockets);
  };
  if (command.hand_over == HandOver::kInto) {
    Result<void> put = put_into(command.pid, make, let_pass);
    return put ? kDone : fail(put.error(), restore.status());
  }
  Result<std::vector<HandedSocket>> made = make();
  if (!made) return fail(made.error(), restore.status());
  if (command.hand_over != HandOver::kSendTo)
    return execute(*std::move(made), command.hand_over, command.program, let_pass);
  Result<void> sent = send_to(*std::move(made), command.path, let_pass);
  return sent ? kDone : fail(sent.error());
}

}  // namespace sockrepair::tool

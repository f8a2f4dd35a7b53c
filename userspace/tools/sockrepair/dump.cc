// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// sockrepair dump: the sockets of a process into an image.

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "command.h"
#include "keeper.h"
#include "losses.h"
#include "other_netns.h"
#include "progress.h"
#include "selection.h"
#include "sock_diag.h"
#include "sockrepair/batch.h"
#include "sockrepair/image.h"
#include "sockrepair/process.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_detached.h"
#include "sockrepair/tcp_socket.h"
#include "sockrepair/tcp_time_wait.h"
#include "sockrepair/udp_socket.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair::tool {

namespace {

using Clock = std::chrono::steady_clock;

struct Report {
  ImageProcess process;
  std::size_t udp_sockets = 0;
  std::size_t waiting = 0;  // datagrams in receive queues
  std::size_t begun = 0;    // datagrams under construction
  std::size_t tcp_sockets = 0;
  std::size_t listeners = 0;
  std::size_t connections = 0;
  std::size_t received = 0;    // bytes in receive queues of connections
  std::size_t sent = 0;        // and in their send queues
  std::size_t time_waits = 0;  // connections that are over
  Losses losses;
  std::vector<std::string> notes;  // a line each, of what is not a socket of the process
  StopMethod method = StopMethod::kAlreadyStopped;
  std::chrono::microseconds stopped{0};
  pid_t keeper = 0;  // of the lock that stays; 0: none does
};

std::string count_text(std::size_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

// 0 on a kernel that does not tell: all sockets are then taken to be in one.
Result<std::uint64_t> netns_cookie(const Candidate& candidate) {
  Result<std::uint64_t> cookie =
      sys::getsockopt<std::uint64_t>(candidate.fd.get(), SOL_SOCKET, SO_NETNS_COOKIE);
  if (!cookie && cookie.error().code == ENOPROTOOPT) return std::uint64_t{0};
  return cookie;
}

// By inode and number of what is watched.
using Watches = std::multimap<std::pair<std::uint64_t, int>, EpollWatch>;

Result<Watches> watches_of(const Process& process) {
  SOCKREPAIR_TRY_ASSIGN(const std::vector<WatchedDescriptor> all, process.epoll_watches());
  Watches watches;
  for (const WatchedDescriptor& one : all)
    watches.emplace(std::pair(one.inode, one.number), one.watch);
  return watches;
}

// What kernel and image take a socket's number of the process to be.
Result<std::vector<ImageDescriptor>> descriptors_of(const Process& process, const HeldSocket& held,
                                                    const Watches& watches) {
  std::vector<ImageDescriptor> descriptors;
  for (int number : held.numbers) {
    SOCKREPAIR_TRY_ASSIGN(bool close_on_exec, process.close_on_exec(number));
    descriptors.push_back({number, close_on_exec, {}});
    auto [begin, end] = watches.equal_range({held.inode, number});
    for (auto at = begin; at != end; ++at) descriptors.back().watches.push_back(at->second);
  }
  return descriptors;
}

// What tells a connection of a network namespace from others there; sock_diag(7) does not know the
// scope of an address.
std::string names_of(const Endpoint& local, const Endpoint& peer) {
  return Endpoint{local.address, local.port, 0}.to_string() + " " +
         Endpoint{peer.address, peer.port, 0}.to_string();
}

class Dump {
 public:
  Dump(const DumpCommand& command, Report& report) : command_(command), report_(report) {}

  // All of it. On an error the process is as it was, and there is no image.
  Result<void> run();

  // kIncomplete when run() failed for what would be lost.
  int status() const { return status_; }

 private:
  bool goes_away() const { return command_.afterwards != Afterwards::kLeaveRunning; }
  // Whether connections are dumped as such.
  bool takes_connections() const { return command_.selection.which != Which::kListenOnly; }

  Result<void> begin_image();
  Result<void> note_other_holders(pid_t pid);
  // By the cookie of their network namespace, the TCP sockets that have a name.
  Result<std::map<std::uint64_t, std::vector<const Candidate*>>> by_netns() const;
  Result<void> note_detached();
  Result<void> find_time_waits();
  Result<void> add_time_waits();
  void end_time_waits();
  Result<void> keep_connections();
  Result<void> add_sockets(const Process& process);
  void count(const UdpSocket& socket);
  void count(const TcpSocket& socket);
  // Nothing where the kernel does not tell, which the dump of the socket then says.
  Result<const TcpSurvey*> survey_of(const Candidate& candidate);
  DumpBatchOptions batch_options() const;
  Result<void> add_socket(const Process& process, const Watches& watches,
                          const Candidate& candidate, AnySocket socket);
  // Of a TCP socket; also in SYN_SENT. Nothing where the kernel does not tell.
  Result<std::optional<Endpoint>> peer_of(const Candidate& candidate);
  Result<void> take_away(const Process& process, StoppedProcess& stopped);
  void lose(const Candidate& candidate, std::string what) {
    report_.losses.add(candidate.held.numbers, "", std::move(what));
  }
  template <typename Socket>
  void lose_all(const Candidate& candidate, const Socket& socket) {
    for (const Loss& loss : socket.losses) lose(candidate, loss.describe());
  }

  const DumpCommand& command_;
  Report& report_;
  std::optional<ImageWriter> writer_;
  std::vector<Candidate> sockets_;
  std::map<std::uint64_t, std::optional<TcpSurvey>> surveys_;  // by the cookie of the namespace

  // Connections that are over, of one namespace.
  struct TimeWaits {
    int socket = -1;  // of the namespace; of sockets_
    std::vector<TcpTimeWait> connections;
  };
  std::map<std::uint64_t, TimeWaits> time_waits_;  // by the cookie of the namespace
  // Gone before `sockets_`, and before the process runs again.
  std::optional<Keeper> keeper_;
  int status_ = kFailed;
};

void Dump::count(const UdpSocket& socket) {
  ++report_.udp_sockets;
  report_.waiting += socket.receive_queue.datagrams.size();
  report_.begun += socket.send_queue.has_value() ? 1 : 0;
}

void Dump::count(const TcpSocket& socket) {
  ++report_.tcp_sockets;
  report_.listeners += socket.state == TcpState::kListen ? 1 : 0;
  if (!socket.connection) return;
  ++report_.connections;
  report_.received += socket.connection->receive_queue.size();
  report_.sent += socket.connection->send_queue.size();
}

Result<const TcpSurvey*> Dump::survey_of(const Candidate& candidate) {
  SOCKREPAIR_TRY_ASSIGN(std::uint64_t cookie, netns_cookie(candidate));
  auto at = surveys_.find(cookie);
  if (at == surveys_.end()) {
    Result<TcpSurvey> survey = TcpSurvey::take(candidate.fd.get());
    at = surveys_.emplace(cookie, survey ? std::optional(*std::move(survey)) : std::nullopt).first;
  }
  return at->second ? &*at->second : nullptr;
}

DumpBatchOptions Dump::batch_options() const {
  DumpBatchOptions options;
  options.on_failure = OnFailure::kNone;
  options.tcp.leave_in_repair = goes_away() && takes_connections();
  options.tcp.take_errors = options.udp.take_errors = goes_away();
  options.tcp.accept_queue =
      goes_away() && !command_.drop_waiting ? Refusal::kFail : Refusal::kReport;
  return options;
}

Result<void> Dump::add_socket(const Process& process, const Watches& watches,
                              const Candidate& candidate, AnySocket socket) {
  if (auto* tcp = std::get_if<TcpSocket>(&socket); tcp != nullptr && !takes_connections())
    *tcp = without_connection(*tcp);
  std::visit(
      [&](const auto& one) {
        count(one);
        lose_all(candidate, one);
      },
      socket);
  ImageSocket entry;
  SOCKREPAIR_TRY_ASSIGN(entry.descriptors, descriptors_of(process, candidate.held, watches));
  entry.socket = std::move(socket);
  return writer_->add(entry);
}

Result<void> Dump::add_sockets(const Process& process) {
  SOCKREPAIR_TRY_ASSIGN(const Watches watches, watches_of(process));
  Progress progress("sockets", sockets_.size());
  std::vector<int> fds;
  for (const Candidate& candidate : sockets_) fds.push_back(candidate.fd.get());
  DumpBatchOptions options = batch_options();
  options.progress = [&](std::size_t) {
    progress.advance();
    return check_signals();
  };
  // The first one counts; what is dumped with it by the same call does not any more.
  std::optional<Error> failure;
  auto sink = [&](std::size_t index, Result<AnySocket> socket) -> Result<void> {
    if (failure) return {};
    const Candidate& candidate = sockets_[index];
    Result<void> added = socket ? add_socket(process, watches, candidate, *std::move(socket))
                                : Result<void>(socket.error());
    if (added) return {};
    failure = Error{added.error().code, candidate.subject() + ": " + added.error().what};
    // A listener's connections: it is for the user to decide what becomes of them.
    if (!socket && failure->code == EBUSY && candidate.protocol == Protocol::kTcp &&
        options.tcp.accept_queue == Refusal::kFail)
      failure->what += "; --drop-waiting gives these up";
    return *failure;
  };
  Result<BatchReport> done = dump_sockets(fds, options, sink);
  if (failure) return *failure;
  return done ? Result<void>() : done.error();
}

// A socket that others have, too, goes on existing, and keeps its address. A connection would then
// be in two places.
Result<void> Dump::note_other_holders(pid_t pid) {
  std::vector<std::uint64_t> inodes;
  for (const Candidate& candidate : sockets_) inodes.push_back(candidate.held.inode);
  SOCKREPAIR_TRY_ASSIGN(std::vector<SocketHolder> holders, socket_holders(inodes));
  for (const SocketHolder& holder : holders) {
    if (holder.pid == pid) continue;
    auto is_it = [&](const Candidate& c) { return c.held.inode == holder.inode; };
    const Candidate& candidate = *std::find_if(sockets_.begin(), sockets_.end(), is_it);
    const std::string who = "process " + std::to_string(holder.pid) + " has it, too";
    if (candidate.may_have_segments() && takes_connections()) {
      return Error{EBUSY, candidate.subject() + ": a connection, and " + who +
                              "; it cannot be moved from one of them only"};
    }
    lose(candidate, "not closed everywhere, " + who);
  }
  return {};
}

Result<std::map<std::uint64_t, std::vector<const Candidate*>>> Dump::by_netns() const {
  std::map<std::uint64_t, std::vector<const Candidate*>> all;
  for (const Candidate& candidate : sockets_) {
    if (candidate.protocol != Protocol::kTcp || !candidate.local) continue;
    SOCKREPAIR_TRY_ASSIGN(std::uint64_t cookie, netns_cookie(candidate));
    all[cookie].push_back(&candidate);
  }
  return all;
}

bool is_at_one_of(const std::vector<const Candidate*>& candidates, const Endpoint& local) {
  return std::any_of(candidates.begin(), candidates.end(),
                     [&](const Candidate* candidate) { return candidate->is_at(local); });
}

// Connections at the addresses of the sockets that go away, which nobody has and no image.
Result<void> Dump::note_detached() {
  SOCKREPAIR_TRY_ASSIGN(auto theirs, by_netns());
  std::map<std::string, std::size_t> counts;
  for (const auto& [cookie, candidates] : theirs) {
    std::set<std::string> taken;
    for (const TcpTimeWait& one : time_waits_[cookie].connections)
      taken.insert(names_of(one.local, one.peer));
    auto is_left = [&](const DetachedConnection& c) {
      return is_at_one_of(candidates, c.local) &&
             !(c.kind == DetachedKind::kTimeWait && taken.contains(names_of(c.local, c.peer)));
    };
    SOCKREPAIR_TRY(internal::run_in_netns_of(candidates.front()->fd.get(), [&]() -> Result<void> {
      Result<std::vector<DetachedConnection>> found = find_detached_connections();
      // A kernel without sock_diag for TCP: "check" says what that costs.
      if (!found) return {};
      for (const DetachedConnection& c : *found)
        if (is_left(c)) ++counts[std::string(detached_kind_name(c.kind)) + ": " + c.consequence()];
      return {};
    }));
  }
  for (const auto& [what, count] : counts)
    report_.notes.push_back(count_text(count, "connection", "connections") + " in " + what);
  return {};
}

// Which of the connections that are over belong to the sockets that are taken. Those that were
// known before stay, as they are now, and no others come in addition.
Result<void> Dump::find_time_waits() {
  const bool again = !time_waits_.empty();
  SOCKREPAIR_TRY_ASSIGN(auto theirs, by_netns());
  for (const auto& [cookie, candidates] : theirs) {
    const int socket = candidates.front()->fd.get();
    Result<std::vector<TcpTimeWait>> found = find_tcp_time_wait(socket);
    if (!found) return Error{found.error().code, "--time-wait: " + found.error().what};
    std::set<std::string> known;
    for (const TcpTimeWait& one : time_waits_[cookie].connections)
      known.insert(names_of(one.local, one.peer));
    TimeWaits& kept = time_waits_[cookie];
    kept = {socket, {}};
    for (TcpTimeWait& one : *found) {
      if (!is_at_one_of(candidates, one.local)) continue;
      if (!matches_filters(command_.selection, one.local, one.peer)) continue;
      if (again && !known.contains(names_of(one.local, one.peer))) continue;
      kept.connections.push_back(std::move(one));
    }
  }
  return {};
}

Result<void> Dump::add_time_waits() {
  if (!command_.time_wait) return {};
  // What came between the first look and the lock has changed them.
  if (keeper_ && command_.lock) SOCKREPAIR_TRY(find_time_waits());
  for (auto& [cookie, kept] : time_waits_) {
    auto is_carried = [&](const TcpTimeWait& one) {
      if (one.keys.empty()) return true;
      report_.losses.add(one.describe() + ": " + one.keys + " cannot be carried");
      return false;
    };
    std::erase_if(kept.connections, [&](const TcpTimeWait& one) { return !is_carried(one); });
    for (const TcpTimeWait& one : kept.connections) {
      SOCKREPAIR_TRY(check_signals());
      Result<void> added = writer_->add(one);
      if (!added) return Error{added.error().code, one.describe() + ": " + added.error().what};
      ++report_.time_waits;
    }
  }
  return {};
}

// Here they would answer for an address that is elsewhere, or be in the way of those that come
// back. The image is written by now: what stays is no error.
void Dump::end_time_waits() {
  for (const auto& [cookie, kept] : time_waits_) {
    Result<std::size_t> ended = end_tcp_time_wait(kept.connections, kept.socket);
    if (ended) continue;
    report_.notes.push_back(
        count_text(kept.connections.size(), "TIME_WAIT connection", "TIME_WAIT connections") +
        " here as well, until its time is over: " + ended.error().describe());
  }
}

Result<std::optional<Endpoint>> Dump::peer_of(const Candidate& candidate) {
  if (candidate.state != TcpState::kSynSent) return candidate.peer;
  SOCKREPAIR_TRY_ASSIGN(const TcpSurvey* survey, survey_of(candidate));
  if (survey == nullptr) return std::optional<Endpoint>();
  SOCKREPAIR_TRY_ASSIGN(auto cookie,
                        sys::getsockopt<std::uint64_t>(candidate.fd.get(), SOL_SOCKET, SO_COOKIE));
  const internal::TcpDiag::Socket* seen = survey->diag().find(cookie);
  return seen != nullptr ? std::optional(seen->peer) : std::nullopt;
}

// From here on nothing arrives on the connections, so that what is read of them stays true.
Result<void> Dump::keep_connections() {
  if (!takes_connections()) return {};
  std::vector<KeptConnection> connections;
  for (const auto& [cookie, kept] : time_waits_)
    for (const TcpTimeWait& one : kept.connections)
      connections.push_back({kept.socket, cookie, {one.local, one.peer}});
  for (const Candidate& candidate : sockets_) {
    if (!candidate.may_have_segments() || !candidate.local) continue;
    SOCKREPAIR_TRY_ASSIGN(std::optional<Endpoint> peer, peer_of(candidate));
    // The dump of a socket whose peer is not known is refused.
    if (!peer) continue;
    SOCKREPAIR_TRY_ASSIGN(std::uint64_t cookie, netns_cookie(candidate));
    connections.push_back({candidate.fd.get(), cookie, {*candidate.local, *peer}});
  }
  if (connections.empty()) return {};
  Result<Keeper> keeper = Keeper::start(connections, command_.lock, lock_name(report_.process));
  if (!keeper) {
    return Error{keeper.error().code,
                 keeper.error().what + "; with --no-lock it is for you to drop their segments"};
  }
  keeper_.emplace(*std::move(keeper));
  return {};
}

Result<void> Dump::begin_image() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  report_.process.dumped_at = static_cast<std::uint64_t>(now.tv_sec) * 1000000000U +
                              static_cast<std::uint64_t>(now.tv_nsec);
  return writer_->add(report_.process);
}

// Ends the sockets in the process, which does not run before.
Result<void> Dump::take_away(const Process& process, StoppedProcess& stopped) {
  const std::chrono::seconds hold(command_.hold_seconds());
  if (command_.afterwards == Afterwards::kClose) {
    std::vector<int> numbers;
    for (const Candidate& candidate : sockets_)
      numbers.insert(numbers.end(), candidate.held.numbers.begin(), candidate.held.numbers.end());
    SOCKREPAIR_TRY(stopped.close(numbers));
  } else {
    if (keeper_) SOCKREPAIR_TRY(keeper_->expect_end(process.pidfd().get(), hold));
    SOCKREPAIR_TRY(process.kill(
        std::chrono::milliseconds(static_cast<std::int64_t>(command_.patience * 1000))));
  }
  end_time_waits();
  sockets_.clear();
  if (keeper_) {
    SOCKREPAIR_TRY_ASSIGN(pid_t keeper, keeper_->keep_locked(hold));
    keeper_.reset();
    if (command_.lock && hold.count() > 0) report_.keeper = keeper;
  }
  return {};
}

Result<void> Dump::run() {
  bool to_stdout = command_.file == "-";
  SOCKREPAIR_TRY_ASSIGN(ImageWriter writer, to_stdout ? ImageWriter::to_descriptor(STDOUT_FILENO)
                                                      : ImageWriter::create(command_.file));
  writer_.emplace(std::move(writer));
  SOCKREPAIR_TRY_ASSIGN(Process process, Process::open(command_.pid));
  SOCKREPAIR_TRY_ASSIGN(report_.process.comm, process.name());
  report_.process.pid = command_.pid;
  SOCKREPAIR_TRY(begin_image());

  StopOptions stop;
  stop.patience = std::chrono::milliseconds(static_cast<std::int64_t>(command_.patience * 1000));
  stop.signal_only = command_.afterwards == Afterwards::kClose;
  Clock::time_point begin = Clock::now();
  SOCKREPAIR_TRY_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(process, stop));
  report_.method = stopped.method();
  // Whether it can be done has to be known before there is an image.
  if (command_.afterwards == Afterwards::kClose) SOCKREPAIR_TRY(stopped.close({}));
  SOCKREPAIR_TRY_ASSIGN(sockets_, select_sockets(process, command_.selection));
  if (sockets_.empty()) {
    return Error{ENODATA,
                 "process " + std::to_string(command_.pid) + " has no such UDP or TCP socket"};
  }
  if (command_.time_wait) SOCKREPAIR_TRY(find_time_waits());
  if (goes_away()) {
    SOCKREPAIR_TRY(note_other_holders(process.pid()));
    SOCKREPAIR_TRY(note_detached());
  }
  SOCKREPAIR_TRY(keep_connections());
  // Before the process runs again, whatever happens.
  struct PutBack {
    std::optional<Keeper>& keeper;
    ~PutBack() { keeper.reset(); }
  } put_back{keeper_};
  SOCKREPAIR_TRY(add_sockets(process));
  SOCKREPAIR_TRY(add_time_waits());
  if (command_.strict && !report_.losses.empty()) {
    status_ = kIncomplete;
    return report_.losses.strict_error();
  }
  SOCKREPAIR_TRY(check_signals());

  // Before the sockets go, the image has to be there; if they stay, it can wait for the process.
  if (!goes_away()) {
    if (keeper_) SOCKREPAIR_TRY(keeper_->release());
    keeper_.reset();
    SOCKREPAIR_TRY(stopped.resume());
    report_.stopped = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
    return writer_->finish();
  }
  SOCKREPAIR_TRY(writer_->finish());
  std::string written = "the image is written, but: ";
  Result<void> wanted = check_signals();
  if (wanted) wanted = take_away(process, stopped);
  if (!wanted) return Error{wanted.error().code, written + wanted.error().what};
  SOCKREPAIR_TRY(stopped.resume());
  report_.stopped = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
  return {};
}

const char* ending(Afterwards afterwards) {
  switch (afterwards) {
    case Afterwards::kLeaveRunning:
      return "left as it was";
    case Afterwards::kClose:
      return "sockets closed";
    case Afterwards::kKill:
      return "killed";
  }
  return "";
}

// "1 UDP socket (3 datagrams waiting, 0 under construction)"
std::string udp_text(const Report& report) {
  return count_text(report.udp_sockets, "UDP socket", "UDP sockets") + " (" +
         count_text(report.waiting, "datagram", "datagrams") + " waiting, " +
         std::to_string(report.begun) + " under construction)";
}

// "2 TCP sockets (1 listening, 1 connected, 0 bytes to be read, 17 to be acknowledged)"
std::string tcp_text(const Report& report) {
  return count_text(report.tcp_sockets, "TCP socket", "TCP sockets") + " (" +
         std::to_string(report.listeners) + " listening, " + std::to_string(report.connections) +
         " connected, " + count_text(report.received, "byte", "bytes") + " to be read, " +
         std::to_string(report.sent) + " to be acknowledged)";
}

void print_text(FILE* out, const DumpCommand& command, const Report& report) {
  std::string sockets = report.udp_sockets != 0 ? udp_text(report) : "";
  if (report.tcp_sockets != 0) sockets += (sockets.empty() ? "" : ", ") + tcp_text(report);
  if (command.time_wait) {
    sockets +=
        ", " + count_text(report.time_waits, "TIME_WAIT connection", "TIME_WAIT connections");
  }
  fprintf(out, "%s: %s of process %d (%s); %s (%s, %.1f ms)\n", printable(command.file).c_str(),
          sockets.c_str(), report.process.pid, printable(report.process.comm).c_str(),
          ending(command.afterwards), stop_method_name(report.method),
          static_cast<double>(report.stopped.count()) / 1000);
  if (report.keeper != 0) {
    fprintf(out, "segments are dropped until they are restored here, %u s at most (process %d)\n",
            command.hold_seconds(), report.keeper);
  }
}

void print_json(FILE* out, const DumpCommand& command, const Report& report) {
  auto list = [](const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += (text.empty() ? "" : ", ") + json_string(line);
    return text;
  };
  fprintf(out,
          "{\"file\": %s, \"pid\": %d, \"comm\": %s, \"sockets\": %zu, \"waiting\": %zu,"
          " \"under_construction\": %zu, \"tcp\": %zu, \"listeners\": %zu,"
          " \"connections\": %zu, \"to_be_read\": %zu, \"to_be_acknowledged\": %zu,"
          " \"time_wait\": %zu,"
          " \"lock_pid\": %d, \"afterwards\": %s, \"stopped_by\": %s,"
          " \"stopped_us\": %lld, \"losses\": [%s], \"notes\": [%s]}\n",
          json_string(command.file).c_str(), report.process.pid,
          json_string(report.process.comm).c_str(), report.udp_sockets + report.tcp_sockets,
          report.waiting, report.begun, report.tcp_sockets, report.listeners, report.connections,
          report.received, report.sent, report.time_waits, report.keeper,
          json_string(ending(command.afterwards)).c_str(),
          json_string(stop_method_name(report.method)).c_str(),
          static_cast<long long>(report.stopped.count()), list(report.losses.each()).c_str(),
          list(report.notes).c_str());
}

}  // namespace

int run_dump(const DumpCommand& command) {
  // Who reads stdout may be slow, and a signal must not have to wait for that: it ends the program,
  // and the library's guardian lets the process go on.
  if (command.file != "-") catch_signals();
  Report report;
  Dump dump(command, report);
  Result<void> done = dump.run();
  for (const std::string& loss : report.losses.by_cause()) complain("lost: " + loss);
  for (const std::string& note : report.notes) complain("left behind: " + note);
  if (!done) return fail(done.error(), dump.status());
  FILE* out = command.file == "-" ? stderr : stdout;
  if (command.json)
    print_json(out, command, report);
  else
    print_text(out, command, report);
  return kDone;
}

}  // namespace sockrepair::tool

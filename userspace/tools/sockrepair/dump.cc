// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// sockrepair dump: the UDP sockets of a process into an image.

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <utility>

#include "command.h"
#include "progress.h"
#include "sockrepair/image.h"
#include "sockrepair/process.h"
#include "sockrepair/syscall.h"
#include "sockrepair/udp_socket.h"
#include "try.h"

namespace sockrepair::tool {

namespace {

using Clock = std::chrono::steady_clock;

struct Report {
  ImageProcess process;
  std::size_t sockets = 0;
  std::size_t waiting = 0;          // datagrams in receive queues
  std::size_t begun = 0;            // datagrams under construction
  std::vector<std::string> losses;  // one line each
  StopMethod method = StopMethod::kAlreadyStopped;
  std::chrono::microseconds stopped{0};
};

bool is_udp(const Fd& fd) {
  Result<int> domain = sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_DOMAIN);
  Result<int> protocol = sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_PROTOCOL);
  return domain && protocol && (*domain == AF_INET || *domain == AF_INET6) &&
         *protocol == IPPROTO_UDP;
}

// "descriptor 5", "descriptors 5, 7"
std::string numbers_text(const std::vector<int>& numbers) {
  std::string text = numbers.size() == 1 ? "descriptor" : "descriptors";
  for (std::size_t i = 0; i < numbers.size(); ++i)
    text += (i == 0 ? " " : ", ") + std::to_string(numbers[i]);
  return text;
}

// The sockets that --fd asks for, or all.
Result<std::vector<HeldSocket>> select(std::vector<HeldSocket> all,
                                       const std::vector<int>& numbers) {
  if (numbers.empty()) return all;
  std::vector<HeldSocket> chosen;
  for (int number : numbers) {
    auto has = [number](const HeldSocket& s) {
      return std::find(s.numbers.begin(), s.numbers.end(), number) != s.numbers.end();
    };
    auto at = std::find_if(all.begin(), all.end(), has);
    if (at == all.end()) {
      if (std::any_of(chosen.begin(), chosen.end(), has)) continue;  // the same socket again
      return Error{EBADF, "--fd " + std::to_string(number) + ": the process has no such socket"};
    }
    chosen.push_back(std::move(*at));
    all.erase(at);
  }
  std::sort(chosen.begin(), chosen.end(), [](const HeldSocket& a, const HeldSocket& b) {
    return a.numbers.front() < b.numbers.front();
  });
  return chosen;
}

class Dump {
 public:
  Dump(const DumpCommand& command, Report& report) : command_(command), report_(report) {}

  // All of it. On an error the process is as it was, and there is no image.
  Result<void> run();

  // kIncomplete when run() failed for what would be lost.
  int status() const { return status_; }

 private:
  Result<void> add_sockets(const Process& process);
  Result<bool> add(const Process& process, const HeldSocket& held);
  Result<void> note_other_holders(pid_t pid);
  void lose(const std::string& what) { report_.losses.push_back(what); }

  const DumpCommand& command_;
  Report& report_;
  std::optional<ImageWriter> writer_;
  std::vector<HeldSocket> done_;
  int status_ = kFailed;
};

Result<bool> Dump::add(const Process& process, const HeldSocket& held) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, process.take(held.numbers.front()));
  if (!is_udp(fd)) {
    if (command_.numbers.empty()) return false;
    return Error{EPROTONOSUPPORT, numbers_text(held.numbers) + ": not a UDP socket"};
  }
  UdpDumpOptions options;
  options.take_errors = command_.afterwards != Afterwards::kLeaveRunning;
  Result<UdpSocket> socket = dump_udp_socket(fd, options);
  std::string subject = numbers_text(held.numbers);
  if (!socket) return Error{socket.error().code, subject + ": " + socket.error().what};

  for (const Loss& loss : socket->losses) lose(subject + ": " + loss.describe());
  report_.waiting += socket->receive_queue.datagrams.size();
  report_.begun += socket->send_queue.has_value() ? 1 : 0;
  ImageSocket entry;
  for (int number : held.numbers) {
    SOCKREPAIR_TRY_ASSIGN(bool close_on_exec, process.close_on_exec(number));
    entry.descriptors.push_back({number, close_on_exec});
  }
  entry.socket = *std::move(socket);
  Result<void> added = writer_->add(entry);
  if (!added) return Error{added.error().code, subject + ": " + added.error().what};
  return true;
}

Result<void> Dump::add_sockets(const Process& process) {
  SOCKREPAIR_TRY_ASSIGN(std::vector<HeldSocket> all, process.sockets());
  SOCKREPAIR_TRY_ASSIGN(std::vector<HeldSocket> chosen, select(std::move(all), command_.numbers));
  Progress progress("sockets", chosen.size());
  for (const HeldSocket& held : chosen) {
    SOCKREPAIR_TRY(check_signals());
    SOCKREPAIR_TRY_ASSIGN(bool added, add(process, held));
    if (added) done_.push_back(held);
    progress.advance();
  }
  report_.sockets = done_.size();
  if (done_.empty())
    return Error{ENODATA, "process " + std::to_string(command_.pid) + " has no UDP socket"};
  return {};
}

// A socket that others have, too, goes on existing, and keeps its address.
Result<void> Dump::note_other_holders(pid_t pid) {
  std::vector<std::uint64_t> inodes;
  for (const HeldSocket& held : done_) inodes.push_back(held.inode);
  SOCKREPAIR_TRY_ASSIGN(std::vector<SocketHolder> holders, socket_holders(inodes));
  for (const SocketHolder& holder : holders) {
    if (holder.pid == pid) continue;
    auto is_it = [&](const HeldSocket& s) { return s.inode == holder.inode; };
    lose(numbers_text(std::find_if(done_.begin(), done_.end(), is_it)->numbers) +
         ": not closed everywhere, process " + std::to_string(holder.pid) + " has it, too");
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
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  report_.process.dumped_at = static_cast<std::uint64_t>(now.tv_sec) * 1000000000U +
                              static_cast<std::uint64_t>(now.tv_nsec);
  SOCKREPAIR_TRY(writer_->add(report_.process));

  StopOptions stop;
  stop.patience = std::chrono::milliseconds(static_cast<std::int64_t>(command_.patience * 1000));
  stop.signal_only = command_.afterwards == Afterwards::kClose;
  Clock::time_point begin = Clock::now();
  SOCKREPAIR_TRY_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(process, stop));
  report_.method = stopped.method();
  // Whether it can be done has to be known before there is an image.
  if (command_.afterwards == Afterwards::kClose) SOCKREPAIR_TRY(stopped.close({}));
  SOCKREPAIR_TRY(add_sockets(process));
  if (command_.afterwards != Afterwards::kLeaveRunning)
    SOCKREPAIR_TRY(note_other_holders(process.pid()));
  if (command_.strict && !report_.losses.empty()) {
    status_ = kIncomplete;
    return Error{ENOTRECOVERABLE, "--strict, and " + std::to_string(report_.losses.size()) +
                                      " things would be lost"};
  }
  SOCKREPAIR_TRY(check_signals());

  // Before the sockets go, the image has to be there; if they stay, it can wait for the process.
  if (command_.afterwards == Afterwards::kLeaveRunning) {
    SOCKREPAIR_TRY(stopped.resume());
    report_.stopped = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
    return writer_->finish();
  }
  SOCKREPAIR_TRY(writer_->finish());
  std::string written = "the image is written, but: ";
  Result<void> wanted = check_signals();
  if (!wanted) return Error{wanted.error().code, written + wanted.error().what};
  if (command_.afterwards == Afterwards::kClose) {
    std::vector<int> numbers;
    for (const HeldSocket& held : done_)
      numbers.insert(numbers.end(), held.numbers.begin(), held.numbers.end());
    Result<void> closed = stopped.close(numbers);
    if (!closed) return Error{closed.error().code, written + closed.error().what};
  } else {
    Result<void> killed = process.kill(stop.patience);
    if (!killed) return Error{killed.error().code, written + killed.error().what};
  }
  SOCKREPAIR_TRY(stopped.resume());
  report_.stopped = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
  return {};
}

std::string count_text(std::size_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
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

void print_text(FILE* out, const DumpCommand& command, const Report& report) {
  fprintf(out, "%s: %s of process %d (%s); %s waiting, %d under construction; %s (%s, %.1f ms)\n",
          command.file.c_str(), count_text(report.sockets, "UDP socket", "UDP sockets").c_str(),
          report.process.pid, report.process.comm.c_str(),
          count_text(report.waiting, "datagram", "datagrams").c_str(),
          static_cast<int>(report.begun), ending(command.afterwards),
          stop_method_name(report.method), static_cast<double>(report.stopped.count()) / 1000);
}

void print_json(FILE* out, const DumpCommand& command, const Report& report) {
  std::string losses;
  for (const std::string& loss : report.losses)
    losses += (losses.empty() ? "" : ", ") + json_string(loss);
  fprintf(out,
          "{\"file\": %s, \"pid\": %d, \"comm\": %s, \"sockets\": %zu, \"waiting\": %zu,"
          " \"under_construction\": %zu, \"afterwards\": %s, \"stopped_by\": %s,"
          " \"stopped_us\": %lld, \"losses\": [%s]}\n",
          json_string(command.file).c_str(), report.process.pid,
          json_string(report.process.comm).c_str(), report.sockets, report.waiting, report.begun,
          json_string(ending(command.afterwards)).c_str(),
          json_string(stop_method_name(report.method)).c_str(),
          static_cast<long long>(report.stopped.count()), losses.c_str());
}

}  // namespace

int run_dump(const DumpCommand& command) {
  // Who reads stdout may be slow, and a signal must not have to wait for that: it ends the program,
  // and the library's guardian lets the process go on.
  if (command.file != "-") catch_signals();
  Report report;
  Dump dump(command, report);
  Result<void> done = dump.run();
  for (const std::string& loss : report.losses) complain("lost: " + loss);
  if (!done) return fail(done.error(), dump.status());
  FILE* out = command.file == "-" ? stderr : stdout;
  if (command.json)
    print_json(out, command, report);
  else
    print_text(out, command, report);
  return kDone;
}

}  // namespace sockrepair::tool

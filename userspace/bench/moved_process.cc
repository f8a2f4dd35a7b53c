// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "moved_process.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <utility>

#include "byte_pattern.h"
#include "proc_fs.h"
#include "sockrepair/process.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "util/command.h"

namespace sockrepair::bench {

namespace {

using test::Deadline;

constexpr std::uint16_t kPort = 7000;
constexpr int kFirstDescriptor = 3;
constexpr std::size_t kFresh = 1000;  // bytes each way after the move
// Fits into the send buffer, as nobody reads what comes back meanwhile; more than a window.
constexpr std::size_t kWarmUpStep = 256 << 10;
constexpr const char* kDropAtThePeers =
    "add table inet bench_criu\n"
    "add chain inet bench_criu input { type filter hook input priority 0; }\n"
    "add rule inet bench_criu input tcp dport 7000 drop\n";
constexpr const char* kDropNoMore = "delete table inet bench_criu\n";
// Lost segments are sent again after a time that has doubled each time while they were dropped.
constexpr std::chrono::seconds kPatience{60};

// Beside this program.
std::string process_program() {
  std::error_code failed;
  return (std::filesystem::read_symlink("/proc/self/exe", failed).parent_path() /
          "bench_criu_process")
      .string();
}

std::string bytes_of(std::size_t connection, Direction direction, std::size_t begin,
                     std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = pattern_byte(connection, direction, begin + i);
  return bytes;
}

Error about(std::size_t connection, const Error& error) {
  return {error.code, "connection " + std::to_string(connection) + ": " + error.what};
}

Result<void> send_all(const Fd& fd, const std::string& bytes) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    SOCKREPAIR_TRY(test::wait_for_events("room for what is sent to the process", fd.get(), POLLOUT,
                                         Deadline::after(kPatience)));
    const ssize_t more =
        ::send(fd.get(), bytes.data() + sent, bytes.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (more < 0) return Error{errno, "send()"};
    sent += static_cast<std::size_t>(more);
  }
  return {};
}

Result<void> receive_all(const Fd& fd, const std::string& expected) {
  std::string got(expected.size(), '\0');
  for (std::size_t size = 0; size < got.size();) {
    SOCKREPAIR_TRY(test::wait_for_events(
        "byte " + std::to_string(size) + " of " + std::to_string(got.size()) + " arrives", fd.get(),
        POLLIN, Deadline::after(kPatience)));
    const ssize_t more = ::recv(fd.get(), got.data() + size, got.size() - size, MSG_DONTWAIT);
    if (more < 0) return Error{errno, "recv()"};
    if (more == 0) return Error{ENODATA, "closed by the process"};
    size += static_cast<std::size_t>(more);
  }
  const auto wrong = std::mismatch(got.begin(), got.end(), expected.begin()).first - got.begin();
  if (got != expected)
    return Error{EBADMSG, "byte " + std::to_string(wrong) + " is not the one that was sent"};
  return {};
}

// SIOCINQ or SIOCOUTQ; -1: not known.
int queued(const Fd& fd, unsigned long request) {
  int bytes = 0;
  return sys::ioctl(fd.get(), request, &bytes) ? bytes : -1;
}

}  // namespace

Result<MovedProcess> MovedProcess::start(const Load& load) {
  SOCKREPAIR_TRY_ASSIGN(test::NetNs ns, test::NetNs::create());
  MovedProcess process(load, std::move(ns));
  SOCKREPAIR_TRY(process.ns_.run([&] { return process.prepare(); }));
  SOCKREPAIR_TRY(process.check_queues());
  return process;
}

Result<void> MovedProcess::prepare() {
  if (load_.delay_ms != 0) {
    SOCKREPAIR_TRY(test::run_command({"ip", "link", "set", "lo", "mtu", "1500"}));
    SOCKREPAIR_TRY(test::run_command({"tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay",
                                      std::to_string(load_.delay_ms) + "ms"}));
  }
  SOCKREPAIR_TRY(connect());
  SOCKREPAIR_TRY(warm_up());
  return fill();
}

Result<void> MovedProcess::connect() {
  SOCKREPAIR_TRY_ASSIGN(IpAddress loopback, IpAddress::parse("127.0.0.1"));
  SOCKREPAIR_TRY_ASSIGN(Fd listener, sys::socket(AF_INET, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(sys::bind(listener.get(), SocketAddress({loopback, kPort, 0}, AF_INET)));
  SOCKREPAIR_TRY(sys::listen(listener.get(), 64));
  SOCKREPAIR_TRY_ASSIGN(
      Child child, Child::start({process_program(), "connect", std::to_string(kPort),
                                 std::to_string(load_.connections), std::to_string(load_.warm_up),
                                 std::to_string(load_.bytes)},
                                {.pipes = true, .preload = {}}));
  pid_ = child.pid();
  child_.emplace(std::move(child));
  for (std::size_t i = 0; i < load_.connections; ++i) {
    Result<void> there =
        test::wait_for_events("it is there", listener.get(), POLLIN, Deadline::after(kPatience));
    if (!there) return about(i, {there.error().code, there.error().what + "; " + child_->err()});
    Fd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!peer) return Error{errno, "accept4()"};
    peers_.push_back(std::move(peer));
  }
  return {};
}

Result<void> MovedProcess::warm_up() const {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    for (std::size_t done = 0; done < load_.warm_up; done += kWarmUpStep) {
      const std::size_t size = std::min(kWarmUpStep, load_.warm_up - done);
      const std::string bytes = bytes_of(i, Direction::kToProcess, done, size);
      SOCKREPAIR_TRY(send_all(peers_[i], bytes));
      SOCKREPAIR_TRY(receive_all(peers_[i], bytes));
    }
  }
  return {};
}

// What the process sends is lost at the peers' door, so that it stays in its queues, sent and not
// acknowledged.
Result<void> MovedProcess::fill() {
  for (std::size_t i = 0; i < peers_.size() && load_.bytes != 0; ++i)
    SOCKREPAIR_TRY(send_all(peers_[i], bytes_of(i, Direction::kToProcess, 0, load_.bytes)));
  for (const Fd& peer : peers_) {
    SOCKREPAIR_TRY(test::wait_until("what was sent is acknowledged", Deadline::after(kPatience),
                                    [&] { return queued(peer, SIOCOUTQ) == 0; }));
  }
  if (load_.bytes != 0) {
    SOCKREPAIR_TRY(test::run_command({"nft", "-f", "-"}, kDropAtThePeers));
  }
  SOCKREPAIR_TRY(child_->tell('g'));
  SOCKREPAIR_TRY(child_->hear('r', Deadline::after(kPatience)));
  SOCKREPAIR_TRY(child_->hear('\0', Deadline::after(kPatience)));
  // It has nothing left to do but to wait.
  return test::wait_until("the process waits", Deadline::after(kPatience), [&] {
    Result<std::string> states = sockrepair::internal::thread_states(pid_);
    return states.ok() && *states == "S";
  });
}

Result<void> MovedProcess::check_queues() const {
  SOCKREPAIR_TRY_ASSIGN(Process process, Process::open(pid_));
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, process.take(kFirstDescriptor + static_cast<int>(i)));
    const int wanted = static_cast<int>(load_.bytes);
    const auto is_as_it_should_be = [&] {
      return queued(fd, SIOCINQ) == wanted && queued(fd, SIOCOUTQ) == wanted;
    };
    if (test::wait_until("", Deadline::after(kPatience), is_as_it_should_be)) continue;
    return about(i, {EPROTO, std::to_string(queued(fd, SIOCINQ)) + " bytes to be read and " +
                                 std::to_string(queued(fd, SIOCOUTQ)) +
                                 " to be acknowledged, not " + std::to_string(wanted)});
  }
  return {};
}

Result<tcp_info> MovedProcess::info(pid_t pid) const {
  SOCKREPAIR_TRY_ASSIGN(Process process, Process::open(pid));
  SOCKREPAIR_TRY_ASSIGN(Fd fd, process.take(kFirstDescriptor));
  return sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO);
}

Result<void> MovedProcess::gone() {
  SOCKREPAIR_TRY(child_->be_killed(Deadline::after(kPatience)));
  if (load_.bytes == 0) return {};
  return ns_.run([]() -> Result<void> {
    SOCKREPAIR_TRY(test::run_command({"nft", "-f", "-"}, kDropNoMore));
    return {};
  });
}

std::vector<std::string> MovedProcess::resume_command() const {
  return {process_program(), "resume", std::to_string(load_.connections)};
}

Result<Ended> MovedProcess::verify(Child& process) {
  if (::kill(process.pid(), SIGUSR1) != 0) return Error{errno, "kill(SIGUSR1)"};
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const std::string fresh = bytes_of(i, Direction::kToProcess, load_.bytes, kFresh);
    // What it had sent, what it had to read, which it sends back, and what it reads now.
    const std::string all = bytes_of(i, Direction::kFromProcess, 0, load_.bytes) +
                            bytes_of(i, Direction::kToProcess, 0, load_.bytes) + fresh;
    Result<void> sent = send_all(peers_[i], fresh);
    if (!sent) return about(i, sent.error());
    Result<void> received = receive_all(peers_[i], all);
    if (!received) return about(i, received.error());
  }
  peers_.clear();
  return process.succeed(Deadline::after(kPatience));
}

}  // namespace sockrepair::bench

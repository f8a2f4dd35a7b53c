// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The process that `make bench-criu` moves: TCP connections, and as little else as can be. It is
// static, has one thread, no terminal, and at the time of the move no descriptor but its
// connections and /dev/null.
//
//   bench_criu_process connect PORT N WARM-UP BYTES
//       N connections to 127.0.0.1, under the descriptors 3 to N + 2. On each of them it sends
//       back WARM-UP bytes, as they come. At the first byte on standard input it sends BYTES of
//       its own on each (byte_pattern.h) and says "r" on standard output, which it then closes.
//   bench_criu_process resume N
//       Has these descriptors already; says "r" in the same way.
//
// Then it waits. With SIGUSR1 it wakes, sends back all it receives until the peers have closed, and
// ends with status 0; with status 1 when anything fails.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <initializer_list>

#include "byte_pattern.h"

namespace {

constexpr int kFirst = 3;
constexpr int kMost = 4096;
constexpr std::size_t kChunk = 64 << 10;

char buffer[kChunk];
pollfd connections[kMost];

[[noreturn]] void give_up(const char* what) {
  const char* why = strerror(errno);
  static_cast<void>(!::write(STDERR_FILENO, what, strlen(what)));
  static_cast<void>(!::write(STDERR_FILENO, ": ", 2));
  static_cast<void>(!::write(STDERR_FILENO, why, strlen(why)));
  static_cast<void>(!::write(STDERR_FILENO, "\n", 1));
  ::_exit(1);
}

void send_all(int fd, const char* bytes, std::size_t size) {
  for (std::size_t sent = 0; sent < size;) {
    const ssize_t more = ::send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);
    if (more < 0) give_up("send");
    sent += static_cast<std::size_t>(more);
  }
}

// Under the descriptors that were said, whatever was open when this program was started.
void connect_all(std::uint16_t port, int count) {
  if (::close_range(kFirst, ~0U, 0) != 0) give_up("close_range");
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int fd = kFirst; fd < kFirst + count; ++fd) {
    if (::socket(AF_INET, SOCK_STREAM, 0) != fd) give_up("socket");
    if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) give_up("connect");
  }
}

void send_back(int fd, std::size_t size) {
  while (size != 0) {
    const ssize_t got = ::recv(fd, buffer, size < kChunk ? size : kChunk, 0);
    if (got <= 0) give_up("recv");
    send_all(fd, buffer, static_cast<std::size_t>(got));
    size -= static_cast<std::size_t>(got);
  }
}

void fill(int index, std::size_t size) {
  using namespace sockrepair::bench;
  for (std::size_t at = 0; at < size;) {
    const std::size_t part = size - at < kChunk ? size - at : kChunk;
    for (std::size_t i = 0; i < part; ++i)
      buffer[i] = pattern_byte(static_cast<std::size_t>(index), Direction::kFromProcess, at + i);
    send_all(kFirst + index, buffer, part);
    at += part;
  }
}

// Whoever moves this process need not know of pipes. Standard output is the last to go: its end of
// file says that all have.
void say_ready_and_let_go() {
  if (::write(STDOUT_FILENO, "r", 1) != 1) give_up("write");
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) give_up("open(/dev/null)");
  for (int fd : {STDERR_FILENO, STDIN_FILENO, STDOUT_FILENO})
    if (::dup2(null, fd) != fd) give_up("dup2");
  ::close(null);
}

void wait_for_signal(const sigset_t& wanted) {
  int number = 0;
  if (::sigwait(&wanted, &number) != 0) give_up("sigwait");
}

// True until the peer has closed.
bool serve(int fd) {
  for (;;) {
    const ssize_t got = ::recv(fd, buffer, kChunk, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return true;
    if (got < 0) give_up("recv");
    if (got == 0) return false;
    send_all(fd, buffer, static_cast<std::size_t>(got));
  }
}

void serve_all(int count) {
  for (int i = 0; i < count; ++i) connections[i] = {kFirst + i, POLLIN, 0};
  for (int open = count; open > 0;) {
    if (::poll(connections, static_cast<nfds_t>(count), -1) < 0) give_up("poll");
    for (int i = 0; i < count; ++i) {
      if (connections[i].revents == 0 || serve(connections[i].fd)) continue;
      connections[i].fd = -1;
      --open;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGUSR1);
  // Before anyone can know that we are here.
  ::sigprocmask(SIG_BLOCK, &wanted, nullptr);

  int count = 0;
  if (argc == 6 && strcmp(argv[1], "connect") == 0) {
    count = atoi(argv[3]);
    if (count < 1 || count > kMost) return 2;
    connect_all(static_cast<std::uint16_t>(atoi(argv[2])), count);
    for (int i = 0; i < count; ++i) send_back(kFirst + i, strtoul(argv[4], nullptr, 10));
    char word = 0;
    if (::read(STDIN_FILENO, &word, 1) != 1) give_up("read");
    for (int i = 0; i < count; ++i) fill(i, strtoul(argv[5], nullptr, 10));
  } else if (argc == 3 && strcmp(argv[1], "resume") == 0) {
    count = atoi(argv[2]);
    if (count < 1 || count > kMost) return 2;
  } else {
    return 2;
  }
  say_ready_and_let_go();
  wait_for_signal(wanted);
  serve_all(count);
  return 0;
}

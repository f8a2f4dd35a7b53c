// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_control_block/twins.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "sockrepair/syscall.h"
#include "tcp_control_block/mover.h"
#include "try.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

using Lines = std::vector<std::string>;

// States of a connection; <netinet/tcp.h> does not go with <linux/tcp.h>.
enum State : std::uint8_t {
  kFinWait1 = 4,
  kFinWait2 = 5,
  kClose = 7,
  kCloseWait = 8,
  kLastAck = 9,
  kClosing = 11,
};

constexpr std::size_t kAnnounced = 40'000;  // beyond the window by less than 16 bits can tell
constexpr std::size_t kInFlight = 5000;
constexpr std::uint16_t kNotYet = 0x200;  // <linux/tcp_repair.h>, @urg_data

// --- what a program sees ---

std::string outcome(ssize_t result) {
  return result < 0 ? errno_text(errno) : std::to_string(result);
}

std::string number(const Fd& fd, const char* name, unsigned long request) {
  int value = -1;
  const Result<void> asked = sys::ioctl(fd.get(), request, &value);
  return std::string(name) + " " + (asked ? std::to_string(value) : errno_text(asked.error().code));
}

std::string events(const Fd& fd) {
  constexpr std::pair<short, const char*> kNames[] = {{POLLIN, " IN"},   {POLLPRI, " PRI"},
                                                      {POLLOUT, " OUT"}, {POLLRDHUP, " RDHUP"},
                                                      {POLLERR, " ERR"}, {POLLHUP, " HUP"}};
  pollfd asked{fd.get(), POLLIN | POLLPRI | POLLOUT | POLLRDHUP, 0};
  ::poll(&asked, 1, 0);
  std::string text = "poll";
  for (const auto& [bit, name] : kNames)
    if (asked.revents & bit) text += name;
  return text;
}

std::string pending_error(const Fd& fd) {
  const Result<int> error = sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_ERROR);
  return "error " + (error ? std::to_string(*error) : error.error().describe());
}

std::string urgent(const Fd& fd, int flags) {
  char byte = 0;
  const ssize_t got = ::recv(fd.get(), &byte, 1, MSG_OOB | MSG_DONTWAIT | flags);
  return "urgent " + (got == 1 ? std::string(1, byte) : outcome(got));
}

// Content by its length and a sum, which is short enough to read.
std::string digest(std::string_view data) {
  std::uint64_t sum = 1469598103934665603U;  // FNV-1a
  for (const char byte : data) sum = (sum ^ static_cast<std::uint8_t>(byte)) * 1099511628211U;
  return std::to_string(data.size()) + " bytes " +
         (data.size() <= 32 ? "'" + std::string(data) + "'" : std::to_string(sum));
}

std::string receive(const Fd& fd, std::size_t most) {
  std::string data(most, '\0');
  const ssize_t got = ::recv(fd.get(), data.data(), data.size(), MSG_DONTWAIT);
  if (got < 0) return "recv " + outcome(got);
  data.resize(static_cast<std::size_t>(got));
  return "recv " + digest(data);
}

// All there is to ask without reading.
void ask(const Fd& fd, Lines& lines) {
  lines.push_back(events(fd));
  lines.push_back(number(fd, "inq", SIOCINQ));
  lines.push_back(number(fd, "at mark", SIOCATMARK));
  lines.push_back(urgent(fd, MSG_PEEK));
  lines.push_back(pending_error(fd));
}

// Reads to the end, and asks after each piece.
void read_and_ask(const Fd& fd, Lines& lines) {
  ask(fd, lines);
  for (int i = 0; i < 100; ++i) {
    lines.push_back(receive(fd, 100'000));
    if (lines.back().starts_with("recv 0 ") || lines.back().starts_with("recv E")) break;
    ask(fd, lines);
  }
}

// --- waiting ---

Result<void> wait_for_state(const Fd& fd, std::uint8_t state) {
  return wait_until("state " + std::to_string(state), Deadline::after(kPatience), [&] {
    const Result<tcp_info> info = sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO);
    return info.ok() && info->tcpi_state == state;
  });
}

// SIOCINQ tells what is in front of an urgent mark; this is all.
Result<std::uint64_t> bytes_received(const Fd& fd) {
  SOCKREPAIR_TRY_ASSIGN(const tcp_info info,
                        sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO));
  return std::uint64_t{info.tcpi_bytes_received};
}

Result<void> wait_for_bytes(const Fd& fd, std::uint64_t bytes) {
  return wait_until(std::to_string(bytes) + " bytes", Deadline::after(kPatience), [&] {
    const Result<std::uint64_t> received = bytes_received(fd);
    return received.ok() && *received >= bytes;
  });
}

Result<void> send_text(const Fd& fd, std::string_view text, int flags = 0) {
  const ssize_t sent =
      ::send(fd.get(), text.data(), text.size(), flags | MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != static_cast<ssize_t>(text.size())) return Error{errno, "send()"};
  return {};
}

// --- urgent data ---

// The client sends `before`, an urgent byte '!', and `after`; the server has read some of it.
struct UrgentRow {
  const char* name;
  const char* before;
  const char* after;
  std::size_t read;      // bytes
  bool in_line = false;  // SO_OOBINLINE
  bool fetched = false;  // by MSG_OOB
};
constexpr UrgentRow kUrgentRows[] = {
    {"urgent_ahead", "abc", "defgh", 0},
    {"urgent_ahead_in_line", "abc", "defgh", 0, true},
    {"urgent_first", "", "defgh", 0},
    {"urgent_at_the_read_point", "abc", "defgh", 3},
    {"urgent_at_the_read_point_in_line", "abc", "defgh", 3, true},
    {"urgent_last", "abc", "", 0},
    {"urgent_last_at_the_read_point", "abc", "", 3},
    {"urgent_alone", "", "", 0},
    {"urgent_fetched", "abc", "defgh", 0, false, true},
    {"urgent_fetched_at_the_read_point", "abc", "defgh", 3, false, true},
    {"urgent_passed", "abc", "defgh", 5},
    {"urgent_passed_in_line", "abc", "defgh", 5, true},
};

Result<void> prepare_urgent(World& world, const UrgentRow& row) {
  const std::string_view before = row.before;
  const std::string_view after = row.after;
  SOCKREPAIR_TRY(sys::setsockopt(world.server.get(), SOL_SOCKET, SO_OOBINLINE, int{row.in_line}));
  if (!before.empty()) SOCKREPAIR_TRY(send_text(world.client, before));
  SOCKREPAIR_TRY(send_text(world.client, "!", MSG_OOB));
  if (!after.empty()) SOCKREPAIR_TRY(send_text(world.client, after));
  SOCKREPAIR_TRY(wait_for_bytes(world.server, before.size() + 1 + after.size()));
  if (row.fetched && urgent(world.server, 0) != "urgent !")
    return Error{EIO, "fetch of urgent data"};
  for (std::size_t left = row.read; left > 0;) {
    char buffer[16];
    const ssize_t got = ::recv(world.server.get(), buffer, left, MSG_DONTWAIT);
    if (got <= 0) return Error{errno, "recv()"};
    left -= static_cast<std::size_t>(got);
  }
  return {};
}

// What there is, and then as much again.
Result<Lines> observe_urgent(World& world) {
  Lines lines;
  lines.push_back(urgent(world.server, MSG_PEEK));
  read_and_ask(world.server, lines);
  lines.push_back(urgent(world.server, 0));
  SOCKREPAIR_TRY_ASSIGN(const std::uint64_t received, bytes_received(world.server));
  SOCKREPAIR_TRY(send_text(world.client, "12345"));
  SOCKREPAIR_TRY(send_text(world.client, "?", MSG_OOB));
  SOCKREPAIR_TRY(wait_for_bytes(world.server, received + 6));
  read_and_ask(world.server, lines);
  return lines;
}

// The server's window is closed, and beyond it there is an urgent byte: announced, and not come.
Result<void> prepare_announced(World& world) {
  SOCKREPAIR_TRY(sys::setsockopt(world.server.get(), SOL_SOCKET, SO_OOBINLINE, 1));
  SOCKREPAIR_TRY(sys::setsockopt(world.server.get(), SOL_SOCKET, SO_RCVBUF, 8192));
  SOCKREPAIR_TRY(sys::setsockopt(world.client.get(), SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20));
  SOCKREPAIR_TRY(world.up.send(world.client, kAnnounced));
  SOCKREPAIR_TRY(send_text(world.client, "!", MSG_OOB));
  return wait_until("announcement of urgent data", Deadline::after(kPatience), [&] {
    if (!enter_repair(world.server).ok()) return false;
    const Result<tcp_repair_cb> block = control_block(world.server);
    return leave_repair(world.server).ok() && block.ok() && (block->urg_data & kNotYet) != 0;
  });
}

// The mark moves as long as it is further away than 16 bits can tell; what is read is the same.
Result<Lines> observe_announced(World& world) {
  Lines lines = {urgent(world.server, MSG_PEEK), pending_error(world.server)};
  std::string all;
  while (all.size() < kAnnounced + 1) {
    SOCKREPAIR_TRY(wait_for_events("data", world.server.get(), POLLIN, Deadline::after(kPatience)));
    std::string piece(1 << 16, '\0');
    const ssize_t got = ::recv(world.server.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (got <= 0) return Error{errno, "recv()"};
    all.append(piece, 0, static_cast<std::size_t>(got));
  }
  lines.push_back(digest(all));
  lines.push_back(receive(world.server, 100));
  return lines;
}

// The other direction: the server has sent it, and the client has heard nothing of it yet.
Result<void> prepare_urgent_sent(World& world) {
  SOCKREPAIR_TRY(world.deafen_client(true));
  SOCKREPAIR_TRY(send_text(world.server, "abc"));
  SOCKREPAIR_TRY(send_text(world.server, "!", MSG_OOB));
  return send_text(world.server, "defgh");
}

Result<Lines> observe_urgent_sent(World& world) {
  Lines lines;
  SOCKREPAIR_TRY(world.deafen_client(false));
  SOCKREPAIR_TRY(wait_for_bytes(world.client, 9));
  read_and_ask(world.client, lines);
  return lines;
}

// --- closing ---

struct ClosingRow {
  const char* name;
  State state;
  bool unread;     // the server has data that it has not read
  bool in_flight;  // it has sent data that the client has not heard of
  bool end_read;   // it has read that the client sends no more
};
constexpr ClosingRow kClosingRows[] = {
    {"fin_wait1", kFinWait1, false, false, false},
    {"fin_wait1_with_data", kFinWait1, true, true, false},
    {"fin_wait2", kFinWait2, false, false, false},
    {"fin_wait2_with_data", kFinWait2, true, false, false},
    {"close_wait", kCloseWait, false, false, false},
    {"close_wait_with_data", kCloseWait, true, true, false},
    {"close_wait_end_read", kCloseWait, false, false, true},
    {"last_ack", kLastAck, false, false, false},
    {"last_ack_with_data", kLastAck, true, true, false},
    {"last_ack_end_read", kLastAck, false, false, true},
    {"closing", kClosing, false, false, false},
    {"closing_with_data", kClosing, true, true, false},
};

Result<void> prepare_closing(World& world, const ClosingRow& row) {
  const bool client_first = row.state == kCloseWait || row.state == kLastAck;
  if (row.unread) {
    SOCKREPAIR_TRY(world.up.send(world.client, 3000));
    SOCKREPAIR_TRY(wait_for_bytes(world.server, 3000));
  }
  if (client_first) {
    SOCKREPAIR_TRY(sys::shutdown(world.client.get(), SHUT_WR));
    SOCKREPAIR_TRY(wait_for_state(world.server, kCloseWait));
    SOCKREPAIR_TRY(wait_for_state(world.client, kFinWait2));
  }
  if (row.end_read && receive(world.server, 1) != "recv 0 bytes ''") return Error{EIO, "the end"};
  // What the server sends from here on is not acknowledged.
  if (row.state != kFinWait2) SOCKREPAIR_TRY(world.deafen_client(true));
  if (row.in_flight) SOCKREPAIR_TRY(world.down.send(world.server, kInFlight));
  if (row.state != kCloseWait) SOCKREPAIR_TRY(sys::shutdown(world.server.get(), SHUT_WR));
  if (row.state == kClosing) SOCKREPAIR_TRY(sys::shutdown(world.client.get(), SHUT_WR));
  return wait_for_state(world.server, row.state);
}

Result<Lines> observe_closing(World& world, const ClosingRow& row) {
  Lines lines;
  read_and_ask(world.server, lines);
  lines.push_back("send " + outcome(::send(world.server.get(), "more", 4, MSG_NOSIGNAL)));
  lines.push_back("shutdown " + outcome(::shutdown(world.server.get(), SHUT_WR)));
  SOCKREPAIR_TRY(world.deafen_client(false));

  // The client gets what was sent, and the end of it.
  SOCKREPAIR_TRY(wait_until("the end of the stream", Deadline::after(kPatience), [&] {
    return events(world.client).find("RDHUP") != std::string::npos;
  }));
  SOCKREPAIR_TRY(wait_for_bytes(world.client, row.in_flight ? kInFlight : 0));
  if (row.state == kFinWait1 || row.state == kFinWait2) {
    // What it still sends, the server gets.
    read_and_ask(world.client, lines);
    SOCKREPAIR_TRY(send_text(world.client, "last words"));
    SOCKREPAIR_TRY(sys::shutdown(world.client.get(), SHUT_WR));
  }
  for (const Fd* fd : {&world.client, &world.server}) {
    SOCKREPAIR_TRY(wait_for_state(*fd, kClose));
    read_and_ask(*fd, lines);
  }
  return lines;
}

// --- data that is not in memory of the kernel's own ---

const std::string& fragments() {
  static const std::string data = [] {
    std::string bytes(60'000, '\0');  // more than the congestion window
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<char>(i * 2654435761U >> 24);
    return bytes;
  }();
  return data;
}

Result<Fd> file_of_fragments() {
  Fd file(::memfd_create("data", MFD_CLOEXEC));
  const std::string& data = fragments();
  if (!file ||
      ::pwrite(file.get(), data.data(), data.size(), 0) != static_cast<ssize_t>(data.size()))
    return Error{errno, "memfd_create()"};
  return file;
}

Result<void> send_file(World& world) {
  SOCKREPAIR_TRY_ASSIGN(const Fd file, file_of_fragments());
  const std::size_t size = fragments().size();
  off_t from = 0;
  if (::sendfile(world.server.get(), file.get(), &from, size) != static_cast<ssize_t>(size))
    return Error{errno, "sendfile()"};
  return {};
}

Result<void> splice_pipe(World& world) {
  SOCKREPAIR_TRY_ASSIGN(const Fd file, file_of_fragments());
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error{errno, "pipe2()"};
  const Fd out(ends[0]);
  const Fd in(ends[1]);
  loff_t from = 0;
  for (std::size_t left = fragments().size(); left > 0;) {
    const ssize_t got = ::splice(file.get(), &from, in.get(), nullptr, left, 0);
    if (got <= 0) return Error{errno, "splice() into a pipe"};
    for (ssize_t rest = got; rest > 0;) {
      const ssize_t put = ::splice(out.get(), nullptr, world.server.get(), nullptr,
                                   static_cast<std::size_t>(rest), SPLICE_F_MORE);
      if (put <= 0) return Error{errno, "splice() out of a pipe"};
      rest -= put;
    }
    left -= static_cast<std::size_t>(got);
  }
  return {};
}

// The pages are the program's, which leaves them as they are.
Result<void> send_zerocopy(World& world) {
  SOCKREPAIR_TRY(sys::setsockopt(world.server.get(), SOL_SOCKET, SO_ZEROCOPY, 1));
  return send_text(world.server, fragments(), MSG_ZEROCOPY);
}

struct FragmentRow {
  const char* name;
  Result<void> (*send)(World& world);
};
constexpr FragmentRow kFragmentRows[] = {
    {"sendfile", send_file}, {"splice", splice_pipe}, {"zerocopy", send_zerocopy}};

Result<void> prepare_fragments(World& world, const FragmentRow& row) {
  SOCKREPAIR_TRY(sys::setsockopt(world.server.get(), SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20));
  SOCKREPAIR_TRY(world.deafen_client(true));
  return row.send(world);
}

Result<Lines> observe_fragments(World& world) {
  SOCKREPAIR_TRY(world.deafen_client(false));
  SOCKREPAIR_TRY(wait_for_bytes(world.client, fragments().size()));
  Lines lines;
  read_and_ask(world.client, lines);
  if (lines.empty() || lines.front().empty()) return Error{EIO, "nothing seen"};
  return lines;
}

std::vector<Twins> make_twins() {
  std::vector<Twins> all;
  for (const UrgentRow& row : kUrgentRows)
    all.push_back(
        {row.name, [&row](World& world) { return prepare_urgent(world, row); }, observe_urgent});
  all.push_back({"urgent_announced", prepare_announced, observe_announced});
  all.push_back({"urgent_sent", prepare_urgent_sent, observe_urgent_sent});
  for (const ClosingRow& row : kClosingRows)
    all.push_back({row.name, [&row](World& world) { return prepare_closing(world, row); },
                   [&row](World& world) { return observe_closing(world, row); }});
  for (const FragmentRow& row : kFragmentRows)
    all.push_back({row.name, [&row](World& world) { return prepare_fragments(world, row); },
                   observe_fragments});
  return all;
}

}  // namespace

const std::vector<Twins>& twins() {
  static const std::vector<Twins> all = make_twins();
  return all;
}

}  // namespace sockrepair::test

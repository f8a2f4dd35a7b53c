// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_END_TO_END_FIXTURE_H_
#define SOCKREPAIR_TESTS_END_TO_END_FIXTURE_H_

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "proc_fs.h"
#include "sockrepair/process.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "util/handed_over.h"
#include "util/live_process.h"
#include "util/matchers.h"
#include "util/net_ns.h"
#include "util/tool.h"

// What the cases of `sockrepair` and programs that nobody here wrote share.
namespace sockrepair::test {

using Json = nlohmann::json;

inline Endpoint loopback(std::uint16_t port) {
  return {IpAddress::parse("127.0.0.1").value(), port, 0};
}

class EndToEndTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
    ns_.emplace(std::move(ns));
    ASSERT_OK_AND_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::create());
    directory_.emplace(std::move(directory));
    // Of one kernel, so it is asked once.
    static std::optional<bool> everything;
    if (!everything) {
      ASSERT_OK_AND_ASSIGN(Ran check, tool({"check"}));
      everything = check.status == 0;
    }
    has_everything_ = *everything;
  }

  Result<Running> start(const std::vector<std::string>& argv) {
    return ns_->run([&] { return Running::start(argv); });
  }
  Result<Ran> tool(const std::vector<std::string>& arguments) {
    return ns_->run([&] { return run_tool(arguments); });
  }
  Result<Fd> client() {
    return ns_->run([] { return sys::socket(AF_INET, SOCK_DGRAM, 0); });
  }

  // Stops all threads of a program, as a person would.
  Result<void> hold(const Running& program) { return hold(program.pid()); }
  Result<void> hold(pid_t pid) {
    if (::kill(pid, SIGSTOP) != 0) return Error{errno, "kill(" + std::to_string(pid) + ")"};
    return wait_until("process " + std::to_string(pid) + " stops", Deadline::after(kPatience), [&] {
      Result<std::string> states = sockrepair::internal::thread_states(pid);
      return states.ok() && states->find_first_not_of('T') == std::string::npos;
    });
  }

  // Whether the tool names a loss. On a kernel that lacks something it has to, and what the peer
  // sees is judged all the same. What no kernel tells of a socket, and no peer can see, does not
  // count: whether it would keep its address and port when it disconnects, and what program chooses
  // between listeners, which none of these has.
  bool lost_something(const std::string& err) const {
    std::istringstream lines(err);
    for (std::string line; std::getline(lines, line);) {
      const bool never_told =
          line.find("disconnects") != std::string::npos ||
          line.find("SO_ATTACH_REUSEPORT_EBPF: if the group has") != std::string::npos;
      if (has_everything_ && !never_told) return true;
    }
    return false;
  }

  // Dumps, and gives the report. A loss is an error.
  Result<Json> dump(const Running& program, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"dump", "--json", "--pid", std::to_string(program.pid()),
                                          "-o",   image()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    SOCKREPAIR_TRY_ASSIGN(Ran ran, tool(arguments));
    if (ran.status != 0 || lost_something(ran.err)) return Error{EIO, ran.out + ran.err};
    return Json::parse(ran.out);
  }

  // The descriptor numbers of the socket of the image that is bound to `port`.
  std::vector<int> numbers_of(std::uint16_t port) {
    Result<Ran> shown = tool({"show", "--json", image()});
    std::vector<int> numbers;
    if (!shown || shown->status != 0) return numbers;
    std::string suffix = ":" + std::to_string(port);
    Json all = Json::parse(shown->out);
    for (const Json& process : all["processes"]) {
      for (const Json& socket : process["sockets"]) {
        if (socket.value("local", Json()).dump().find(std::to_string(port)) == std::string::npos)
          continue;
        for (const Json& descriptor : socket["descriptors"])
          numbers.push_back(descriptor["number"]);
      }
    }
    return numbers;
  }

  // Restores the image and takes over its sockets here, by their local address.
  Result<std::map<std::string, Fd>> take_over() {
    std::string path = directory_->file("take-over");
    ::unlink(path.c_str());
    SOCKREPAIR_TRY_ASSIGN(Fd listener, listen_at(path));
    SOCKREPAIR_TRY_ASSIGN(Ran ran, tool({"restore", image(), "--send-to", path}));
    if (ran.status != 0 || lost_something(ran.err)) return Error{EIO, ran.err};
    Fd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) return Error{errno, "accept4()"};
    std::map<std::string, Fd> sockets;
    for (;;) {
      SOCKREPAIR_TRY_ASSIGN(Message message, receive_message(connection));
      const std::string& line = message.line;
      if (line == "end " + std::to_string(sockets.size()) + "\n") return sockets;
      if (!message.descriptor) return Error{EPROTO, "instead of a descriptor: " + line};
      std::size_t begin = line.find(' ', line.find(' ') + 1) + 1;
      sockets.emplace(line.substr(begin, line.find(' ', begin) - begin),
                      std::move(message.descriptor));
    }
  }

  std::string image() const { return directory_->file("all.img"); }

  std::optional<NetNs> ns_;
  std::optional<TemporaryDirectory> directory_;
  bool has_everything_ = false;
};

// --- TCP

// A named pipe that a program reads from, and what is written to it.
class Feed {
 public:
  static Result<Feed> create(const std::string& path) {
    if (::mkfifo(path.c_str(), 0600) != 0) return Error{errno, "mkfifo(" + path + ")"};
    // For reading as well, so that it can be opened before there is a reader.
    Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd) return Error{errno, "open(" + path + ")"};
    return Feed(std::move(fd));
  }

  [[nodiscard]] bool write(const std::string& text) {
    all_ += text;
    return ::write(fd_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }
  // Its reader finds the end of the file.
  void end() { fd_.reset(); }
  // All that was written.
  const std::string& all() const { return all_; }

 private:
  explicit Feed(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
  std::string all_;
};

// What a program writes to a named pipe, read as far as is asked for: it has to wait meanwhile.
class SlowReader {
 public:
  static Result<SlowReader> create(const std::string& path) {
    if (::mkfifo(path.c_str(), 0600) != 0) return Error{errno, "mkfifo(" + path + ")"};
    Fd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!fd) return Error{errno, "open(" + path + ")"};
    return SlowReader(std::move(fd));
  }

  Result<void> read(std::size_t bytes) {
    const std::size_t enough = all_.size() + bytes;
    return wait_until("it writes", Deadline::after(kPatience), [&] {
      while (all_.size() < enough && more()) continue;
      return all_.size() >= enough;
    });
  }
  Result<void> read_to_the_end() {
    return wait_until("it has written all", Deadline::after(kPatience), [&] {
      while (more()) continue;
      return ended_;
    });
  }
  const std::string& all() const { return all_; }

 private:
  explicit SlowReader(Fd fd) : fd_(std::move(fd)) {}
  bool more() {
    char bytes[16384];
    ssize_t size = ::read(fd_.get(), bytes, sizeof(bytes));
    if (size > 0) all_.append(bytes, static_cast<std::size_t>(size));
    // Before there is anything, the program may not have opened it.
    ended_ = size == 0 && !all_.empty();
    return size > 0;
  }

  Fd fd_;
  std::string all_;
  bool ended_ = false;
};

// Lines that differ from each other.
inline std::string lines(int first, int count) {
  std::string text;
  for (int i = first; i < first + count; ++i) text += "line " + std::to_string(i) + "\n";
  return text;
}

inline std::string fd_address(int number) {
  return "FD:" + std::to_string(number);
}

// Bytes that have arrived on the TCP sockets of a process, on all of them together.
inline std::uint64_t bytes_received(pid_t pid) {
  Result<Process> process = Process::open(pid);
  if (!process) return 0;
  Result<std::vector<HeldSocket>> sockets = process->sockets();
  if (!sockets) return 0;
  std::uint64_t bytes = 0;
  for (const HeldSocket& socket : *sockets) {
    Result<Fd> fd = process->take(socket.numbers.front());
    if (!fd) continue;
    tcp_info info{};
    Result<socklen_t> size =
        sys::getsockopt_bytes(fd->get(), IPPROTO_TCP, TCP_INFO, &info, sizeof(info));
    if (size && info.tcpi_state != 10 /* LISTEN */) bytes += info.tcpi_bytes_received;
  }
  return bytes;
}

inline std::vector<pid_t> children_of(pid_t pid) {
  const std::string number = std::to_string(pid);
  Result<std::string> text =
      sockrepair::internal::read_small_file("/proc/" + number + "/task/" + number + "/children");
  std::istringstream words(text ? *text : "");
  std::vector<pid_t> all;
  for (pid_t child; words >> child;) all.push_back(child);
  return all;
}

// Of the processes of a server the one that has a connection which bytes came by; 0: none has.
inline pid_t session_of(pid_t server) {
  for (pid_t child : children_of(server))
    if (bytes_received(child) > 0) return child;
  return 0;
}

// Until the last line that a program has written is "got TEXT".
inline Result<void> wait_got(const Running& program, const std::string& text) {
  return wait_until("the client has " + text, Deadline::after(kPatience),
                    [&] { return program.out().ends_with("got " + text + "\n"); });
}

class TcpEndToEndTest : public EndToEndTest {
 protected:
  // The numbers of the connections of the image, lowest first.
  std::vector<int> connections() {
    std::vector<int> numbers;
    Result<Ran> shown = tool({"show", "--json", image()});
    if (!shown || shown->status != 0) return numbers;
    Json all = Json::parse(shown->out);
    for (const Json& process : all["processes"])
      for (const Json& socket : process["sockets"])
        if (socket.contains("connection")) numbers.push_back(socket["descriptors"][0]["number"]);
    return numbers;
  }

  // `program` goes on with the connections, as PROGRAM of restore.
  Result<Running> restore(const std::vector<std::string>& program) {
    std::vector<std::string> arguments = {"restore", image(), "--"};
    arguments.insert(arguments.end(), program.begin(), program.end());
    return ns_->run([&] { return start_tool(arguments); });
  }

  // Takes the connections out of process `from`, and puts new sockets in their places in process
  // `to`, while both are stopped and the peers go on. `to` may be `from`, which is killed
  // otherwise. The report of the dump.
  Result<Json> move_connections(pid_t from, pid_t to) {
    const std::string source = std::to_string(from), target = std::to_string(to);
    SOCKREPAIR_TRY(hold(from));
    SOCKREPAIR_TRY(hold(to));
    SOCKREPAIR_TRY_ASSIGN(auto before, socket_inodes(from));
    SOCKREPAIR_TRY_ASSIGN(Ran dumped, tool({"dump", "--json", "--pid", source, "--connections-only",
                                            from == to ? "--close" : "--kill", "-o", image()}));
    if (dumped.status != 0 || lost_something(dumped.err)) return Error{EIO, dumped.err};
    SOCKREPAIR_TRY_ASSIGN(auto others, socket_inodes(to));
    SOCKREPAIR_TRY_ASSIGN(Ran restored, tool({"restore", "--into", target, image()}));
    if (restored.status != 0 || lost_something(restored.err)) return Error{EIO, restored.err};

    // That these are other sockets, as many as there were, and that the old ones are gone.
    const Json report = Json::parse(dumped.out);
    SOCKREPAIR_TRY_ASSIGN(auto after, socket_inodes(to));
    SOCKREPAIR_TRY_ASSIGN(std::set<std::uint64_t> living, tcp_inodes(to));
    std::set<std::uint64_t> moved;
    for (const auto& [number, inode] : after) {
      if (others.contains(number)) continue;
      const std::string which = "descriptor " + std::to_string(number);
      if (!before.contains(number)) return Error{EBADF, which + " is another than it was"};
      if (living.contains(before[number])) return Error{EEXIST, which + ": the old socket"};
      if (!living.contains(inode)) return Error{ENOTCONN, which + ": the new socket"};
      moved.insert(inode);
    }
    if (moved.empty() || report["connections"] != moved.size())
      return Error{ENOTCONN, std::to_string(moved.size()) + " connections have moved"};
    if (::kill(to, SIGCONT) != 0) return Error{errno, "kill(" + target + ")"};
    return report;
  }
  Result<Json> renew_connections(pid_t pid) { return move_connections(pid, pid); }

  // Renews the connections of a server, which finds what `ask` has made the client say, and then
  // those of the client, which finds the answer.
  void renew_both(pid_t server, pid_t client, const std::function<void()>& ask) {
    auto wait_heard = [](const char* what, pid_t pid, std::uint64_t before) {
      return wait_until(what, Deadline::after(kPatience),
                        [=] { return bytes_received(pid) > before; });
    };
    ASSERT_THAT(hold(server), IsOk());
    const std::uint64_t asked = bytes_received(server);
    ask();
    ASSERT_THAT(wait_heard("the question waits", server, asked), IsOk());
    ASSERT_THAT(hold(client), IsOk());
    const std::uint64_t answered = bytes_received(client);
    ASSERT_OK_AND_ASSIGN(Json of_server, renew_connections(server));
    EXPECT_EQ(of_server["connections"], 1);
    EXPECT_GT(of_server["to_be_read"], 0);
    ASSERT_THAT(wait_heard("the answer waits", client, answered), IsOk());
    ASSERT_OK_AND_ASSIGN(Json of_client, renew_connections(client));
    EXPECT_EQ(of_client["connections"], 1);
    EXPECT_GT(of_client["to_be_read"], 0);
  }

  // curl(1) gets the files `first` and `second` of a server, into a named pipe. It says what
  // kByOneConnection is if it has both, and has connected once: connections made, status.
  Result<Running> get_two_files(std::uint16_t port, const std::string& pipe) {
    return start({"sh", "-c",
                  "exec curl -sS --noproxy '*' -w '%{stderr}%{num_connects} %{http_code}\n' "
                  "\"$1/first\" \"$1/second\" >\"$0\"",
                  pipe, "http://127.0.0.1:" + std::to_string(port)});
  }
  static constexpr char kByOneConnection[] = "1 200\n0 200\n";

  // The inodes of the sockets of a process, by descriptor.
  static Result<std::map<int, std::uint64_t>> socket_inodes(pid_t pid) {
    SOCKREPAIR_TRY_ASSIGN(Process process, Process::open(pid));
    SOCKREPAIR_TRY_ASSIGN(std::vector<HeldSocket> sockets, process.sockets());
    std::map<int, std::uint64_t> inodes;
    for (const HeldSocket& socket : sockets)
      for (int number : socket.numbers) inodes[number] = socket.inode;
    return inodes;
  }

  // The inodes of the TCP sockets over IPv4 of its network namespace.
  static Result<std::set<std::uint64_t>> tcp_inodes(pid_t pid) {
    std::ifstream table("/proc/" + std::to_string(pid) + "/net/tcp");
    std::set<std::uint64_t> inodes;
    std::string line;
    for (std::getline(table, line); std::getline(table, line);) {
      std::istringstream row(line);
      std::string word;
      for (int column = 0; column < 9; ++column) row >> word;
      std::uint64_t inode = 0;
      if (!(row >> inode)) return Error{EBADMSG, "/proc/net/tcp: " + line};
      inodes.insert(inode);
    }
    return inodes;
  }

  // Until `program` listens at `port`, without connecting to it.
  Result<void> wait_bound(const Running& program, std::uint16_t port) {
    char row[48];  // local address, remote address, LISTEN
    snprintf(row, sizeof(row), " 0100007F:%04X 00000000:0000 0A ", port);
    return wait_until("port " + std::to_string(port) + " is listened at",
                      Deadline::after(kPatience), [&] {
                        Result<std::string> bound = sockrepair::internal::read_small_file(
                            "/proc/" + std::to_string(program.pid()) + "/net/tcp");
                        return bound.ok() && bound->find(row) != std::string::npos;
                      });
  }
  // The same, of a server that may be connected to.
  Result<void> wait_listening(std::uint16_t port) {
    return wait_until("port " + std::to_string(port) + " answers", Deadline::after(kPatience), [&] {
      Result<Fd> fd = ns_->run([] { return sys::socket(AF_INET, SOCK_STREAM, 0); });
      return fd.ok() && sys::connect(fd->get(), SocketAddress(loopback(port), AF_INET)).ok();
    });
  }
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_END_TO_END_FIXTURE_H_

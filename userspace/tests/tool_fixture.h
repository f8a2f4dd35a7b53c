// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TOOL_FIXTURE_H_
#define SOCKREPAIR_TESTS_TOOL_FIXTURE_H_

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proc_fs.h"
#include "sockrepair/address.h"
#include "sockrepair/process.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "util/live_process.h"
#include "util/matchers.h"
#include "util/net_ns.h"
#include "util/tool.h"

// What the suites of `sockrepair` on live processes share.
namespace sockrepair::test {

using Json = nlohmann::json;
using Line = LiveProcess::Line;

inline constexpr int kFirst = 200;  // descriptor numbers of the target that nothing else has
inline constexpr std::uint16_t kPort = 5000;

inline Endpoint local(std::uint16_t port) {
  return {IpAddress::parse("127.0.0.1").value(), port, 0};
}

// TCP over IPv4.
inline Result<Fd> listening(const Endpoint& at) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(at, AF_INET)));
  if (::listen(fd.get(), 8) != 0) return Error{errno, "listen()"};
  return fd;
}

inline Result<Fd> connected(const Endpoint& to) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
  SOCKREPAIR_TRY(sys::connect(fd.get(), SocketAddress(to, AF_INET)));
  return fd;
}

// `fd` under `number`, without CLOEXEC.
inline void hold_as(Fd fd, int number) {
  ::dup2(fd.get(), number);
}

MATCHER_P(Exited, status, "exit status " + std::to_string(status)) {
  return arg.ok() && arg->status == status;
}
MATCHER_P2(FailedWith, status, text, "exit status " + std::to_string(status) + " and a reason") {
  return arg.ok() && arg->status == status &&
         ::testing::ExplainMatchResult(text, arg->err, result_listener);
}

// A network namespace, a directory for images, and the tool on a process that start() makes.
class ToolFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(NetNs ns, NetNs::create());
    ns_.emplace(std::move(ns));
    ASSERT_OK_AND_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::create());
    directory_.emplace(std::move(directory));
  }

  void start(const std::function<void(const Line&)>& body) {
    target_.reset();
    ASSERT_OK_AND_ASSIGN(LiveProcess target, ns_->run([&] { return LiveProcess::start(body); }));
    target_.emplace(std::move(target));
    ASSERT_THAT(target_->heard(), IsOkAndHolds("ready"));
  }

  Result<Ran> run(const std::vector<std::string>& arguments) {
    return ns_->run([&] { return run_tool(arguments); });
  }
  Result<Running> begin(const std::vector<std::string>& arguments, const Fd& out = Fd()) {
    return ns_->run([&] { return start_tool(arguments, out); });
  }
  Result<Ran> dump(std::vector<std::string> more = {}) {
    std::vector<std::string> all = {"dump", "--pid", pid(), "-o", image()};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
  // The image, as `show --json` has it.
  Json show() {
    Result<Ran> shown = run({"show", "--json", image()});
    EXPECT_THAT(shown, Exited(0));
    return shown ? Json::parse(shown->out, nullptr, false) : Json();
  }
  std::vector<Json> sockets() {
    Json all = show();
    std::vector<Json> found;
    for (const Json& process : all["processes"])
      for (const Json& socket : process["sockets"]) found.push_back(socket);
    return found;
  }

  std::string pid() const { return std::to_string(target_->pid()); }
  std::string image() const { return directory_->file("all.img"); }

  std::optional<NetNs> ns_;
  std::optional<TemporaryDirectory> directory_;
  std::optional<LiveProcess> target_;
};

// Runs `sockrepair restore ... -- sleep`, and looks at what sleep has.
class Restored {
 public:
  explicit Restored(Running running) : running_(std::move(running)) {}
  Result<Fd> take(int number) const {
    SOCKREPAIR_TRY_ASSIGN(Process process, Process::open(running_.pid()));
    return process.take(number);
  }
  Result<std::vector<HeldSocket>> sockets() const {
    SOCKREPAIR_TRY_ASSIGN(Process process, Process::open(running_.pid()));
    return process.sockets();
  }
  // The value of a variable in its environment, "unset" if it is not there.
  std::string variable(const std::string& name) const {
    // A program has its name before it has an environment.
    Result<std::string> all = std::string();
    Result<void> filled = wait_until("it has an environment", Deadline::after(kPatience), [&] {
      all = sockrepair::internal::read_small_file("/proc/" + std::to_string(running_.pid()) +
                                                  "/environ");
      return !all || !all->empty();
    });
    if (!filled || !all) return "unknown";
    for (char& c : *all) c = c == '\0' ? '\n' : c;
    return sockrepair::internal::field_of(*all, name, '=').value_or("unset");
  }
  pid_t pid() const { return running_.pid(); }
  // What the tool has said so far.
  std::string err() const { return running_.err(); }

 private:
  Running running_;
};

#define ASSERT_RESTORED(restored, ...)                                  \
  ASSERT_OK_AND_ASSIGN(Running restored##_running, begin(__VA_ARGS__)); \
  ASSERT_THAT(restored##_running.wait_for_name("sleep"), IsOk());       \
  Restored restored(std::move(restored##_running))

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TOOL_FIXTURE_H_

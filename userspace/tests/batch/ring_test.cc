// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// A call means the same whoever makes it: io_uring or the thread itself.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include <cstring>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "call.h"
#include "lanes.h"
#include "sockrepair/address.h"
#include "sockrepair/batch.h"
#include "sockrepair/fd.h"
#include "uring.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using internal::Call;
using internal::CallKind;
using internal::Lanes;
using internal::make;
using internal::make_here;

// What a call is made with and leaves behind.
struct Memory {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  int value = 0;
  char data[16] = "payload";
  iovec part{data, sizeof(data)};
  msghdr message{};

  std::string text() const {
    std::string all(data, sizeof(data));
    all += " " + std::to_string(value) + " " + std::to_string(size) + " ";
    return all + std::to_string(address.sin_family) + ":" + std::to_string(address.sin_port) + ":" +
           std::to_string(address.sin_addr.s_addr);
  }
};

struct Case {
  const char* name;
  int type;     // of the socket
  long result;  // minus an errno number, or 0 or more
  Call (*call)(int fd, Memory& memory);

  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

Call with_address(CallKind kind, int fd, Memory& memory, std::uint32_t address) {
  memory.address.sin_family = AF_INET;
  memory.address.sin_addr.s_addr = htonl(address);
  return {kind, fd, 0, 0, &memory.address, sizeof(memory.address)};
}

Call with_message(CallKind kind, int fd, Memory& memory) {
  memory.message.msg_iov = &memory.part;
  memory.message.msg_iovlen = 1;
  return {kind, fd, MSG_DONTWAIT | MSG_NOSIGNAL, 0, &memory.message};
}

constexpr std::uint32_t kElsewhere = 0xc0000201;  // 192.0.2.1

const Case kCases[] = {
    {"bind", SOCK_STREAM, 0,
     [](int fd, Memory& m) { return with_address(CallKind::kBind, fd, m, INADDR_LOOPBACK); }},
    {"bind_elsewhere", SOCK_STREAM, -EADDRNOTAVAIL,
     [](int fd, Memory& m) { return with_address(CallKind::kBind, fd, m, kElsewhere); }},
    {"listen", SOCK_STREAM, 0,
     [](int fd, Memory&) {
       return Call{CallKind::kListen, fd, 5};
     }},
    {"listen_udp", SOCK_DGRAM, -EOPNOTSUPP,
     [](int fd, Memory&) {
       return Call{CallKind::kListen, fd, 5};
     }},
    {"connect", SOCK_DGRAM, 0,
     [](int fd, Memory& m) {
       m.address.sin_port = htons(9);
       return with_address(CallKind::kConnect, fd, m, INADDR_LOOPBACK);
     }},
    {"connect_wrong_family", SOCK_DGRAM, -EAFNOSUPPORT,
     [](int fd, Memory& m) {
       Call call = with_address(CallKind::kConnect, fd, m, INADDR_LOOPBACK);
       m.address.sin_family = AF_INET6 + 40;
       return call;
     }},
    {"shutdown", SOCK_STREAM, -ENOTCONN,
     [](int fd, Memory&) {
       return Call{CallKind::kShutdown, fd, SHUT_WR};
     }},
    {"getsockopt", SOCK_STREAM, sizeof(int),
     [](int fd, Memory& m) {
       return Call{CallKind::kGetsockopt, fd, SOL_SOCKET, SO_TYPE, &m.value, sizeof(m.value)};
     }},
    {"getsockopt_of_tcp", SOCK_STREAM, sizeof(int),
     [](int fd, Memory& m) {
       return Call{CallKind::kGetsockopt, fd, IPPROTO_TCP, TCP_MAXSEG, &m.value, sizeof(m.value)};
     }},
    {"getsockopt_unknown", SOCK_STREAM, -ENOPROTOOPT,
     [](int fd, Memory& m) {
       return Call{CallKind::kGetsockopt, fd, SOL_SOCKET, 4711, &m.value, sizeof(m.value)};
     }},
    {"setsockopt", SOCK_STREAM, 0,
     [](int fd, Memory& m) {
       m.value = 7;
       return Call{CallKind::kSetsockopt, fd, IPPROTO_TCP, TCP_KEEPCNT, &m.value, sizeof(m.value)};
     }},
    {"setsockopt_out_of_range", SOCK_STREAM, -EINVAL,
     [](int fd, Memory& m) {
       m.value = -7;
       return Call{CallKind::kSetsockopt, fd, IPPROTO_TCP, TCP_KEEPCNT, &m.value, sizeof(m.value)};
     }},
    {"getsockname", SOCK_STREAM, 0,
     [](int fd, Memory& m) {
       return Call{CallKind::kGetsockname, fd, 0, 0, &m.address, 0, &m.size};
     }},
    {"getpeername", SOCK_STREAM, -ENOTCONN,
     [](int fd, Memory& m) {
       return Call{CallKind::kGetpeername, fd, 0, 0, &m.address, 0, &m.size};
     }},
    {"sendmsg", SOCK_DGRAM, -EDESTADDRREQ,
     [](int fd, Memory& m) { return with_message(CallKind::kSendmsg, fd, m); }},
    {"recvmsg", SOCK_DGRAM, -EAGAIN,
     [](int fd, Memory& m) { return with_message(CallKind::kRecvmsg, fd, m); }},
    {"socket_of_no_family", SOCK_STREAM, -EAFNOSUPPORT,
     [](int, Memory&) {
       return Call{CallKind::kSocket, 4711, SOCK_STREAM, 0};
     }},
    {"closed_descriptor", SOCK_STREAM, -EBADF,
     [](int, Memory& m) {
       return Call{CallKind::kSetsockopt, 100000, SOL_SOCKET, SO_MARK, &m.value, sizeof(m.value)};
     }},
};

class RingTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<Lanes>> lanes = Lanes::create(4);
    if (!lanes) GTEST_SKIP() << lanes.error().describe();
    lanes_ = *std::move(lanes);
  }

  static Fd socket() { return Fd(::socket(AF_INET, GetParam().type | SOCK_CLOEXEC, 0)); }

  std::unique_ptr<Lanes> lanes_;
};

TEST_P(RingTest, MakesTheCallAsTheThreadDoes) {
  const Fd own = socket();
  Memory of_own;
  EXPECT_EQ(make_here(GetParam().call(own.get(), of_own)), GetParam().result);

  const Fd others = socket();
  Memory of_others;
  const Call call = GetParam().call(others.get(), of_others);
  long result = 0;
  lanes_->start([&] { result = make(call); });
  while (!lanes_->idle()) lanes_->turn();
  EXPECT_EQ(result, GetParam().result);
  EXPECT_EQ(of_others.text(), of_own.text());
}

INSTANTIATE_TEST_SUITE_P(All, RingTest, ::testing::ValuesIn(kCases), ParamName());

// Each job has its own place in the code, and its own answers.
TEST(LanesTest, JobsGoOnWhereTheyWere) {
  Result<std::unique_ptr<Lanes>> made = Lanes::create(3);
  if (!made) GTEST_SKIP() << made.error().describe();
  Lanes& lanes = **made;
  std::vector<int> sums(10, 0);
  std::size_t begun = 0;
  while (begun < sums.size() || !lanes.idle()) {
    if (begun < sums.size() && lanes.has_room()) {
      lanes.start([&sums, me = begun] {
        for (int i = 0; i < 5; ++i) {
          const long fd = make({CallKind::kSocket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0});
          Fd socket(static_cast<int>(fd));
          int value = static_cast<int>(me);
          (void)make({CallKind::kSetsockopt, socket.get(), SOL_SOCKET, SO_PRIORITY, &value,
                      sizeof(value)});
          value = -1;
          (void)make({CallKind::kGetsockopt, socket.get(), SOL_SOCKET, SO_PRIORITY, &value,
                      sizeof(value)});
          sums[me] += value + 1;
        }
      });
      ++begun;
    } else {
      lanes.turn();
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i)
    EXPECT_EQ(sums[i], 5 * (static_cast<int>(i) + 1)) << i;
}

// What a job throws and catches is its own, whatever the others throw meanwhile.
TEST(LanesTest, ExceptionsStayInTheirJob) {
  Result<std::unique_ptr<Lanes>> made = Lanes::create(3);
  if (!made) GTEST_SKIP() << made.error().describe();
  Lanes& lanes = **made;
  std::vector<std::string> caught(3);
  for (std::size_t me = 0; me < caught.size(); ++me) {
    lanes.start([&caught, me] {
      int value = 0;
      for (int i = 0; i < 5; ++i) {
        try {
          const Fd socket(
              static_cast<int>(make({CallKind::kSocket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0})));
          (void)make({CallKind::kSetsockopt, socket.get(), SOL_SOCKET, SO_PRIORITY, &value,
                      sizeof(value)});
          throw std::runtime_error(std::to_string(me));
        } catch (const std::runtime_error& error) {
          caught[me] += error.what();
        }
      }
    });
  }
  while (!lanes.idle()) lanes.turn();
  EXPECT_THAT(caught, ::testing::ElementsAre("00000", "11111", "22222"));
}

// As many as a batch can have, of which none is ever used.
TEST(LanesTest, UnusedOnesGoAway) {
  Result<std::unique_ptr<Lanes>> made = Lanes::create(BatchOptions::kInFlightMax);
  if (!made) GTEST_SKIP() << made.error().describe();
  EXPECT_TRUE((*made)->idle());
}

}  // namespace
}  // namespace sockrepair::test

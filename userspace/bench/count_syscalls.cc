// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Counts the instructions of socket calls, on loopback, one process, one CPU.
//
// It reads the time stamp counter around each call. Under QEMU's
// `-icount shift=0` that counter advances by one for each instruction, so the
// difference is what the kernel executed, exactly, with what the call runs in
// softirq context (delivery on loopback) included. Anywhere else the numbers
// are cycles and mean nothing here; the calls are checked all the same.
//
// Run as PID 1 it brings loopback up, prints its results on the console and
// reboots, which ends QEMU under -no-reboot. The first line says how many
// results follow, the last one that all is there:
//
//   count begin 25
//   count udp4 sendmsg: 4711 4711 5120 (median, least, most of 301)
//   count end
//
// or, if a call did not do what it must: `count failed CALL: reason`.

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace {

constexpr int kRepeats = 301;
constexpr int kTransferRepeats = 41;
constexpr int kWarmUp = 64;
constexpr int kBatch = 8;
constexpr size_t kPayload = 64;
constexpr size_t kChunk = 64 * 1024;
constexpr int kChunks = 16;

// Ends the run; as PID 1 by way of a reboot, so that QEMU ends too.
[[noreturn]] void Finish(int status) {
  std::fflush(stdout);
  if (getpid() == 1) {
    sync();
    reboot(RB_AUTOBOOT);
  }
  _exit(status);
}

[[noreturn]] void Fail(const std::string& call, const std::string& reason) {
  std::printf("count failed %s: %s\n", call.c_str(), reason.c_str());
  Finish(1);
}

void Check(bool good, const char* call) {
  if (!good) Fail(call, std::strerror(errno));
}

// Checks that a call moved exactly `want` bytes or messages.
void CheckCount(ssize_t got, ssize_t want, const char* call) {
  Check(got >= 0, call);
  if (got != want) Fail(call, std::to_string(got) + " instead of " + std::to_string(want));
}

// One thing to count. `prepare` and `finish` are not counted and may be empty.
struct Case {
  std::string name;
  int repeats;
  std::function<void()> prepare;
  std::function<void()> call;
  std::function<void()> finish;
};

uint64_t Now() {
  _mm_lfence();
  return __rdtsc();
}

std::vector<uint64_t> Measure(const Case& c) {
  std::vector<uint64_t> samples;
  for (int i = -kWarmUp; i < c.repeats; i++) {
    if (c.prepare) c.prepare();
    const uint64_t start = Now();
    c.call();
    const uint64_t end = Now();
    if (c.finish) c.finish();
    if (i >= 0) samples.push_back(end - start);
  }
  std::sort(samples.begin(), samples.end());
  return samples;
}

// A loopback address and port, or the one that a socket is bound to.
struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }

  static Address Loopback(int family, uint16_t port) {
    Address a;
    if (family == AF_INET) {
      auto* in = reinterpret_cast<sockaddr_in*>(&a.storage);
      in->sin_family = AF_INET;
      in->sin_port = htons(port);
      in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      a.length = sizeof(*in);
    } else {
      auto* in6 = reinterpret_cast<sockaddr_in6*>(&a.storage);
      in6->sin6_family = AF_INET6;
      in6->sin6_port = htons(port);
      in6->sin6_addr = in6addr_loopback;
      a.length = sizeof(*in6);
    }
    return a;
  }

  static Address Of(int fd) {
    Address a;
    a.length = sizeof(a.storage);
    Check(getsockname(fd, a.get(), &a.length) == 0, "getsockname");
    return a;
  }
};

// A socket bound to a port of its own, the same in each run: flow hashes take one way or the other
// by the order of the two ports.
int Bound(int family, int type) {
  static uint16_t port = 20000;
  const int fd = socket(family, type, 0);
  Check(fd >= 0, "socket");
  Address address = Address::Loopback(family, port++);
  Check(bind(fd, address.get(), address.length) == 0, "bind");
  return fd;
}

void SetInt(int fd, int level, int name, int value, const char* call) {
  Check(setsockopt(fd, level, name, &value, sizeof(value)) == 0, call);
}

// A message of one buffer with room for control data, ready for use again after Reset().
class Message {
 public:
  void Reset(size_t size, Address* to = nullptr) {
    iov_ = {data_.data(), size};
    header_ = {};
    header_.msg_iov = &iov_;
    header_.msg_iovlen = 1;
    if (to != nullptr) {
      header_.msg_name = to->get();
      header_.msg_namelen = to->length;
    }
  }
  void ResetForReceive() {
    Reset(data_.size());
    header_.msg_name = &from_;
    header_.msg_namelen = sizeof(from_);
    header_.msg_control = control_.data();
    header_.msg_controllen = control_.size();
  }
  msghdr* get() { return &header_; }

 private:
  std::array<char, 2048> data_{};
  std::array<char, 256> control_{};
  sockaddr_storage from_{};
  iovec iov_{};
  msghdr header_{};
};

void AddUdpCases(int family, std::vector<Case>* cases) {
  const std::string prefix = family == AF_INET ? "udp4 " : "udp6 ";
  const int receiver = Bound(family, SOCK_DGRAM);
  const int sender = Bound(family, SOCK_DGRAM);
  const int unconnected = Bound(family, SOCK_DGRAM);
  auto* to = new Address(Address::Of(receiver));
  Check(connect(sender, to->get(), to->length) == 0, "connect");
  if (family == AF_INET) {
    SetInt(receiver, IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
  } else {
    SetInt(receiver, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
  }

  auto* out = new Message;
  auto* in = new Message;
  auto* batch_out = new std::array<Message, kBatch>;
  auto* batch_in = new std::array<Message, kBatch>;
  auto* headers = new std::array<mmsghdr, kBatch>;

  const auto ready = [out] { out->Reset(kPayload); };
  const auto send_one = [=] { CheckCount(sendmsg(sender, out->get(), 0), kPayload, "sendmsg"); };
  const auto drain = [=](int messages, ssize_t size) {
    for (int i = 0; i < messages; i++) {
      std::array<char, 2048> data;
      CheckCount(recv(receiver, data.data(), data.size(), MSG_DONTWAIT), size, "recv");
    }
  };
  const auto prepare_batch = [=](std::array<Message, kBatch>* messages, bool receive) {
    for (int i = 0; i < kBatch; i++) {
      if (receive) {
        (*messages)[i].ResetForReceive();
      } else {
        (*messages)[i].Reset(kPayload);
      }
      (*headers)[i] = {*(*messages)[i].get(), 0};
    }
  };
  const auto send_more = [=](int pieces) {
    for (int i = 0; i < pieces; i++) {
      CheckCount(sendmsg(sender, out->get(), MSG_MORE), kPayload, "sendmsg MSG_MORE");
    }
  };

  cases->push_back({prefix + "sendmsg", kRepeats, ready, send_one, [=] { drain(1, kPayload); }});
  cases->push_back(
      {prefix + "sendmsg to an address", kRepeats, [=] { out->Reset(kPayload, to); },
       [=] { CheckCount(sendmsg(unconnected, out->get(), 0), kPayload, "sendmsg to"); },
       [=] { drain(1, kPayload); }});
  cases->push_back(
      {prefix + "sendmmsg of 8", kRepeats, [=] { prepare_batch(batch_out, false); },
       [=] { CheckCount(sendmmsg(sender, headers->data(), kBatch, 0), kBatch, "sendmmsg"); },
       [=] { drain(kBatch, kPayload); }});
  cases->push_back(
      {prefix + "recvmsg",
       kRepeats,
       [=] {
         ready();
         send_one();
         in->ResetForReceive();
       },
       [=] { CheckCount(recvmsg(receiver, in->get(), MSG_DONTWAIT), kPayload, "recvmsg"); },
       {}});
  cases->push_back({prefix + "recvmsg MSG_PEEK", kRepeats,
                    [=] {
                      ready();
                      send_one();
                      in->ResetForReceive();
                    },
                    [=] {
                      CheckCount(recvmsg(receiver, in->get(), MSG_DONTWAIT | MSG_PEEK), kPayload,
                                 "recvmsg MSG_PEEK");
                    },
                    [=] { drain(1, kPayload); }});
  cases->push_back({prefix + "recvmmsg of 8",
                    kRepeats,
                    [=] {
                      ready();
                      for (int i = 0; i < kBatch; i++) send_one();
                      prepare_batch(batch_in, true);
                    },
                    [=] {
                      CheckCount(recvmmsg(receiver, headers->data(), kBatch, MSG_DONTWAIT, nullptr),
                                 kBatch, "recvmmsg");
                    },
                    {}});
  cases->push_back({prefix + "sendmsg MSG_MORE, begins", kRepeats, ready, [=] { send_more(1); },
                    [=] {
                      send_one();
                      drain(1, 2 * kPayload);
                    }});
  cases->push_back({prefix + "sendmsg MSG_MORE, adds", kRepeats,
                    [=] {
                      ready();
                      send_more(1);
                    },
                    [=] { send_more(1); },
                    [=] {
                      send_one();
                      drain(1, 3 * kPayload);
                    }});
  cases->push_back({prefix + "sendmsg, ends MSG_MORE", kRepeats,
                    [=] {
                      ready();
                      send_more(2);
                    },
                    send_one, [=] { drain(1, 3 * kPayload); }});
  cases->push_back({prefix + "sendmsg, UDP_CORK set", kRepeats,
                    [=] {
                      ready();
                      SetInt(sender, SOL_UDP, UDP_CORK, 1, "UDP_CORK");
                    },
                    send_one,
                    [=] {
                      SetInt(sender, SOL_UDP, UDP_CORK, 0, "UDP_CORK");
                      drain(1, kPayload);
                    }});
}

void AddTcpCases(int family, std::vector<Case>* cases) {
  const std::string prefix = family == AF_INET ? "tcp4 " : "tcp6 ";
  const int listener = Bound(family, SOCK_STREAM);
  Check(listen(listener, 8) == 0, "listen");
  Address to = Address::Of(listener);
  const int client = Bound(family, SOCK_STREAM);
  Check(connect(client, to.get(), to.length) == 0, "connect");
  const int server = accept(listener, nullptr, nullptr);
  Check(server >= 0, "accept");
  SetInt(client, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");

  auto* chunk = new std::vector<char>(kChunk);
  auto* out = new Message;
  auto* in = new Message;
  const auto send_one = [=] {
    out->Reset(kPayload);
    CheckCount(sendmsg(client, out->get(), 0), kPayload, "tcp sendmsg");
  };
  const auto receive_one = [=] {
    in->Reset(kPayload);
    CheckCount(recvmsg(server, in->get(), MSG_DONTWAIT), kPayload, "tcp recvmsg");
  };
  cases->push_back({prefix + "sendmsg", kRepeats, {}, send_one, receive_one});
  cases->push_back({prefix + "recvmsg", kRepeats, send_one, receive_one, {}});
  cases->push_back({prefix + "transfer of 1 MiB",
                    kTransferRepeats,
                    {},
                    [=] {
                      for (int i = 0; i < kChunks; i++) {
                        CheckCount(send(client, chunk->data(), kChunk, MSG_DONTWAIT), kChunk,
                                   "tcp send");
                        CheckCount(recv(server, chunk->data(), kChunk, MSG_DONTWAIT | MSG_WAITALL),
                                   kChunk, "tcp recv");
                      }
                    },
                    {}});
}

void LoopbackUp() {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  Check(fd >= 0, "socket");
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  Check(ioctl(fd, SIOCGIFFLAGS, &request) == 0, "SIOCGIFFLAGS");
  request.ifr_flags |= IFF_UP;
  Check(ioctl(fd, SIOCSIFFLAGS, &request) == 0, "SIOCSIFFLAGS");
  close(fd);
}

}  // namespace

int main() {
  if (getpid() == 1) LoopbackUp();
  std::vector<Case> cases;
  for (const int family : {AF_INET, AF_INET6}) {
    AddUdpCases(family, &cases);
    AddTcpCases(family, &cases);
  }
  const Case nothing{"nothing", kRepeats, {}, [] {}, {}};
  const uint64_t overhead = Measure(nothing).front();
  // The firmware leaves the cursor in the middle of a line.
  std::printf("\ncount begin %zu\n", cases.size());
  for (const Case& c : cases) {
    const std::vector<uint64_t> samples = Measure(c);
    std::printf("count %s: %llu %llu %llu (median, least, most of %d)\n", c.name.c_str(),
                static_cast<unsigned long long>(samples[samples.size() / 2] - overhead),
                static_cast<unsigned long long>(samples.front() - overhead),
                static_cast<unsigned long long>(samples.back() - overhead), c.repeats);
  }
  std::printf("count end\n");
  Finish(0);
}

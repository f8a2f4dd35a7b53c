// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <string>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::test {

namespace {

// Room for the headers of IPv6 and TCP with all options.
constexpr std::size_t kSnapLength = 128;
constexpr int kBufferSize = 1 << 26;
// How often the thread looks whether it shall stop.
constexpr int kLookMs = 50;

// Frames of these interfaces, their first bytes.
std::vector<sock_filter> filter_of(const std::vector<unsigned>& interfaces) {
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<__u32>(SKF_AD_OFF + SKF_AD_IFINDEX))};
  for (std::size_t left = interfaces.size(); left > 0; --left) {
    program.push_back(
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, interfaces[left - 1], static_cast<__u8>(left), 0));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, 0));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, kSnapLength));
  return program;
}

}  // namespace

Result<std::unique_ptr<TcpCapture>> TcpCapture::start(const NetNs& ns,
                                                      const std::vector<std::string>& interfaces,
                                                      const Flow& flow) {
  std::vector<unsigned> numbers;
  for (const std::string& interface : interfaces) numbers.push_back(ns.ifindex(interface));
  // With protocol 0 nothing is captured before bind().
  SOCKREPAIR_TRY_ASSIGN(Fd fd, ns.run([] { return sys::socket(AF_PACKET, SOCK_RAW, 0); }));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, kBufferSize));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_TIMESTAMPNS, 1));
  std::vector<sock_filter> program = filter_of(numbers);
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  SOCKREPAIR_TRY(
      sys::setsockopt_bytes(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
    return Error{errno, "bind(AF_PACKET)"};

  std::unique_ptr<TcpCapture> capture(new TcpCapture(std::move(fd), flow));
  capture->worker_ = std::make_unique<Worker>(
      "capture",
      [self = capture.get()](const std::atomic<bool>& stop) { self->result_ = self->run(stop); });
  return capture;
}

Result<Judge> TcpCapture::stop() {
  worker_->stop_and_join(Deadline::after(kPatience));
  SOCKREPAIR_TRY(result_);
  return judge_;
}

Result<void> TcpCapture::run(const std::atomic<bool>& stop) {
  for (;;) {
    const bool last = stop;
    pollfd waiting{fd_.get(), POLLIN, 0};
    if (!last && ::poll(&waiting, 1, kLookMs) < 0) return Error{errno, "poll()"};
    for (bool more = true; more;) {
      SOCKREPAIR_TRY_ASSIGN(more, read_one());
    }
    SOCKREPAIR_TRY_ASSIGN(const auto stats,
                          sys::getsockopt<tpacket_stats>(fd_.get(), SOL_PACKET, PACKET_STATISTICS));
    if (stats.tp_drops != 0)
      return Error{ENOBUFS, "the capture lost " + std::to_string(stats.tp_drops) + " frames"};
    if (last) return {};
  }
}

// False if there is none.
Result<bool> TcpCapture::read_one() {
  std::array<std::uint8_t, kSnapLength> frame{};
  alignas(cmsghdr) std::array<char, 64> control{};
  iovec part{frame.data(), frame.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t length = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
  if (length < 0 && errno == EAGAIN) return false;
  if (length < 0) return Error{errno, "recvmsg(AF_PACKET)"};
  auto segment = parse_segment(std::span(frame).first(static_cast<std::size_t>(length)), flow_);
  if (!segment) return true;
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec time{};
    memcpy(&time, CMSG_DATA(one), sizeof(time));
    segment->time_ns = time.tv_sec * 1'000'000'000 + time.tv_nsec;
  }
  judge_.see(*segment);
  return true;
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/feature.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>

#include "no_throw.h"
#include "proc_fs.h"
#include "sockrepair/connection_lock.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_time_wait.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair {

namespace {

Result<Fd> udp_socket() {
  return sys::socket(AF_INET, SOCK_DGRAM, 0);
}

// A queue option that the kernel has is refused with EPERM outside of repair mode.
Result<void> probe_repair_option(int name) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, udp_socket());
  std::array<char, 256> nothing{};
  Result<socklen_t> got = sys::getsockopt_bytes(fd.get(), SOL_UDP, name, nothing.data(),
                                                static_cast<socklen_t>(nothing.size()));
  if (!got && got.error().code != EPERM) return got.error();
  return sys::setsockopt(fd.get(), SOL_UDP, UDP_REPAIR, 1);
}

Result<void> probe_send_queue() {
  return internal::no_throw([] { return probe_repair_option(UDP_REPAIR_SEND_QUEUE); });
}

Result<void> probe_receive_queue() {
  return internal::no_throw([] { return probe_repair_option(UDP_REPAIR_RECV_QUEUE); });
}

Result<void> probe_peek_offset() {
  return internal::no_throw([]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, udp_socket());
    return sys::setsockopt(fd.get(), SOL_SOCKET, SO_PEEK_OFF, 0);
  });
}

Result<void> probe_transparent() {
  return internal::no_throw([]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, udp_socket());
    return sys::setsockopt(fd.get(), IPPROTO_IP, IP_TRANSPARENT, 1);
  });
}

Result<void> probe_pidfd() {
  return internal::no_throw([]() -> Result<void> {
    Fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    if (!self) return Error{errno, "pidfd_open(" + std::to_string(::getpid()) + ")"};
    Fd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, self.get(), self.get(), 0)));
    if (!copy) return Error{errno, "pidfd_getfd(" + std::to_string(::getpid()) + ")"};
    return {};
  });
}

Result<void> probe_ptrace() {
  return internal::no_throw([]() -> Result<void> {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
    if (::syscall(SYS_capget, &header, data.data()) != 0) return Error{errno, "capget()"};
    static_assert(CAP_SYS_PTRACE < 32);
    if ((data[0].effective & (1U << CAP_SYS_PTRACE)) == 0)
      return Error{EPERM, "CAP_SYS_PTRACE is not among the effective capabilities"};
    return {};
  });
}

Result<void> probe_injected_call() {
#ifdef __x86_64__
  return {};
#else
  return internal::no_throw([]() -> Result<void> {
    return Error{ENOTSUP, "this program is not built for x86-64"};
  });
#endif
}

Result<void> probe_freezer() {
  return internal::no_throw([]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(std::optional<std::string> own, internal::cgroup_directory(::getpid()));
    if (!own) return Error{ENOENT, "a cgroup of this process in a version 2 hierarchy"};
    // The root of the hierarchy, which alone has no parent to be frozen with, has no such file:
    // what is asked is whether it can be written, here or in a group below.
    std::string path = *own + "/cgroup.freeze";
    if (::access(path.c_str(), W_OK) == 0) return {};
    int code = errno;
    if (code == ENOENT && ::access((*own + "/cgroup.procs").c_str(), W_OK) == 0) return {};
    return Error{code, "access(" + path + ", W_OK)"};
  });
}

// Whether sock_diag(7) lists sockets of a protocol over IPv4.
Result<void> probe_diag(std::uint8_t protocol, const std::string& name) {
  return internal::no_throw([&]() -> Result<void> {
    const std::string call = "sock_diag(AF_INET, " + name + ")";
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
    // A dump of the sockets in none of all states: done at once, with the kernel's errno.
    struct {
      nlmsghdr header;
      inet_diag_req_v2 request;
    } message{};
    message.header.nlmsg_len = sizeof(message);
    message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.request.sdiag_family = AF_INET;
    message.request.sdiag_protocol = protocol;
    iovec part{&message, sizeof(message)};
    msghdr sent{};
    sent.msg_iov = &part;
    sent.msg_iovlen = 1;
    SOCKREPAIR_TRY(sys::sendmsg(fd.get(), sent, 0));
    struct {
      nlmsghdr header;
      int code;  // of NLMSG_DONE as of NLMSG_ERROR, negative
      std::array<char, 1024> rest;
    } answer{};
    iovec room{&answer, sizeof(answer)};
    msghdr received{};
    received.msg_iov = &room;
    received.msg_iovlen = 1;
    SOCKREPAIR_TRY_ASSIGN(std::size_t size, sys::recvmsg(fd.get(), received, 0));
    if (size < sizeof(answer.header) + sizeof(answer.code) ||
        (answer.header.nlmsg_type != NLMSG_DONE && answer.header.nlmsg_type != NLMSG_ERROR))
      return Error{EPROTO, "the answer of " + call};
    if (answer.code != 0) return Error{-answer.code, call};
    return {};
  });
}

Result<void> probe_udp_diag() {
  return probe_diag(IPPROTO_UDP, "IPPROTO_UDP");
}

Result<void> probe_tcp_diag() {
  return probe_diag(IPPROTO_TCP, "IPPROTO_TCP");
}

Result<void> probe_tcp_repair() {
  return internal::no_throw([]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
    return sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR, 1);
  });
}

// A kernel that has it refuses it with EPERM outside of repair mode.
Result<void> probe_control_block() {
  return internal::no_throw([]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
    std::array<char, 512> nothing{};
    Result<socklen_t> got =
        sys::getsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_REPAIR_CB, nothing.data(),
                              static_cast<socklen_t>(nothing.size()));
    if (!got && got.error().code != EPERM) return got.error();
    return sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR, 1);
  });
}

// A socket without keys has ENOENT to say where the kernel knows them.
Result<void> probe_tcp_ao() {
  return internal::no_throw([]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_STREAM, 0));
    std::array<char, 48> nothing{};
    Result<socklen_t> got =
        sys::getsockopt_bytes(fd.get(), IPPROTO_TCP, TCP_AO_INFO, nothing.data(), nothing.size());
    if (!got && got.error().code != ENOENT) return got.error();
    return sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR, 1);
  });
}

Result<void> probe_connection_lock() {
  return internal::no_throw([]() -> Result<void> {
    SOCKREPAIR_TRY(ConnectionLock::create());
    return {};
  });
}

Result<void> probe_time_wait() {
  return internal::no_throw([]() -> Result<void> {
    SOCKREPAIR_TRY(find_tcp_time_wait());
    return {};
  });
}

Result<void> probe_netns_of_socket() {
  return internal::no_throw([]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, udp_socket());
    Fd netns(::ioctl(fd.get(), SIOCGSKNS));
    if (!netns) return Error{errno, "ioctl(" + std::to_string(fd.get()) + ", SIOCGSKNS)"};
    return {};
  });
}

Result<void> probe_netns_cookie() {
  return internal::no_throw([]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, udp_socket());
    SOCKREPAIR_TRY(sys::getsockopt<std::uint64_t>(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE));
    return {};
  });
}

constexpr Feature kFeatures[] = {
    {"udp-send-queue", "UDP_REPAIR_SEND_QUEUE, with CAP_NET_ADMIN",
     "a datagram under construction (UDP_CORK, MSG_MORE) is lost", probe_send_queue},
    {"udp-receive-queue", "UDP_REPAIR_RECV_QUEUE, with CAP_NET_ADMIN",
     "waiting datagrams are peeked at and sent again: slower, part of their headers is lost, and "
     "those from a port that is taken may be",
     probe_receive_queue},
    {"peek-offset", "SO_PEEK_OFF on UDP sockets, Linux 4.8",
     "without udp-receive-queue, only the first waiting datagram is dumped", probe_peek_offset},
    {"transparent", "IP_TRANSPARENT, with CAP_NET_ADMIN or CAP_NET_RAW",
     "without udp-receive-queue, no datagram from another host is restored", probe_transparent},
    {"tcp-repair", "TCP_REPAIR, Linux 3.5, with CAP_NET_ADMIN",
     "no TCP connection is dumped or restored", probe_tcp_repair},
    {"tcp-control-block", "TCP_REPAIR_CB, with CAP_NET_ADMIN",
     "connections begin anew with the path, timers and urgent data; those that are being closed "
     "are "
     "refused",
     probe_control_block},
    {"tcp-ao", "TCP_AO_REPAIR, Linux 6.7 with CONFIG_TCP_AO, with CAP_NET_ADMIN",
     "sockets with TCP-AO keys are not restored here", probe_tcp_ao},
    {"connection-lock", "nftables with owned tables, Linux 5.12, and libnftables.so.1",
     "segments of connections have to be dropped by other means (--no-lock), or peers get a reset",
     probe_connection_lock},
    {"time-wait", "BPF iterators, Linux 5.9, CAP_BPF and CAP_PERFMON, and libbpf.so.1",
     "dump --time-wait is refused; late segments of connections that are over get a reset",
     probe_time_wait},
    {"pidfd-getfd", "pidfd_getfd(2), Linux 5.6", "no dump of another process", probe_pidfd},
    {"ptrace", "CAP_SYS_PTRACE", "a dump only of one's own processes, if they permit it",
     probe_ptrace},
    {"close", "system calls made on behalf of another process, x86-64",
     "dump --close and restore --into are refused; the other ways work", probe_injected_call},
    {"freezer", "cgroup.freeze of a version 2 cgroup, Linux 5.2",
     "a process is stopped by SIGSTOP always, which its parent and handlers of SIGCONT notice",
     probe_freezer},
    {"udp-diag", "sock_diag(7) of UDP sockets, CONFIG_INET_UDP_DIAG",
     "whether an address was chosen, and the order in a SO_REUSEPORT group, stay unknown",
     probe_udp_diag},
    {"tcp-diag", "sock_diag(7) of TCP sockets, CONFIG_INET_TCP_DIAG",
     "what belongs to no process, and the order in a SO_REUSEPORT group, stay unknown",
     probe_tcp_diag},
    {"socket-netns", "ioctl SIOCGSKNS, Linux 4.10, with CAP_NET_ADMIN",
     "sockets of other network namespaces are not dumped in full", probe_netns_of_socket},
    {"netns-cookie", "SO_NETNS_COOKIE, Linux 5.14",
     "sockets of several network namespaces are restored into one", probe_netns_cookie},
};

}  // namespace

std::span<const Feature> features() {
  return kFeatures;
}

}  // namespace sockrepair

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Descriptors of a stopped process, closed and placed by calls that it is made to make.

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <set>
#include <utility>

#include "injected_call.h"
#include "no_throw.h"
#include "proc_fs.h"
#include "sockrepair/process.h"
#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair {

namespace {

using internal::InjectedCall;
using internal::InjectedCalls;

std::uint64_t argument(int value) {
  return static_cast<std::uint64_t>(value);
}

// A structure in the process's memory, as bytes of this one.
template <typename T>
std::span<const std::uint8_t> bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}
template <typename T>
std::span<std::uint8_t> bytes_of(T& value) {
  return {reinterpret_cast<std::uint8_t*>(&value), sizeof(value)};
}

// What x86-64 has, whatever this program is built for.
struct RemoteVector {
  std::uint64_t base = 0;
  std::uint64_t size = 0;
};
struct RemoteMessage {
  std::uint64_t name = 0;
  std::uint32_t name_size = 0;
  std::uint32_t pad = 0;
  std::uint64_t vectors = 0;
  std::uint64_t vector_count = 0;
  std::uint64_t control = 0;
  std::uint64_t control_size = 0;
  std::uint32_t flags = 0;
  std::uint32_t pad_end = 0;
};
struct RemoteControl {
  std::uint64_t size = 0;
  std::int32_t level = 0;
  std::int32_t type = 0;
  std::int32_t descriptor = -1;
  std::int32_t pad = 0;
};
struct [[gnu::packed]] RemoteEvent {
  std::uint32_t events = 0;
  std::uint64_t data = 0;
};

// What is at the beginning of the page that the process is made to map.
struct RemotePage {
  RemoteMessage message;
  RemoteVector vector;
  RemoteControl control;
  std::int32_t pair[2] = {-1, -1};
  RemoteEvent event;
  std::uint8_t byte = 0;
};
constexpr std::uint64_t kPage = 4096;
static_assert(sizeof(RemotePage) <= kPage && sizeof(RemoteMessage) == 56 &&
              sizeof(RemoteControl) == 24 && sizeof(RemoteEvent) == 12);

Result<void> send_descriptor(const Fd& to, int fd) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  SOCKREPAIR_TRY(sys::sendmsg(to.get(), message, MSG_NOSIGNAL | MSG_DONTWAIT));
  return {};
}

// Puts descriptors into the process: over a pair of sockets, of which it has one end and we the
// other for the time.
class Placing {
 public:
  Placing(InjectedCalls& calls, const Fd& pidfd, std::span<const PlacedDescriptor> descriptors)
      : calls_(calls), pidfd_(pidfd), descriptors_(descriptors) {
    for (const PlacedDescriptor& one : descriptors) wanted_.insert(one.number);
  }

  // All of them, or none.
  Result<void> run() {
    Result<void> placed = place_all();
    Result<void> tidied = tidy();
    if (placed && tidied) return {};
    undo();
    return placed ? tidied : placed;
  }

 private:
  Result<void> close(int number) {
    SOCKREPAIR_TRY(calls_.call(InjectedCall::kClose, {argument(number)}));
    return {};
  }

  // Where in the process a member of RemotePage is.
  std::uint64_t at(std::size_t offset) const { return page_ + offset; }

  Result<void> map_page() {
    SOCKREPAIR_TRY_ASSIGN(
        page_,
        calls_.call(InjectedCall::kMmap, {0, kPage, argument(PROT_READ | PROT_WRITE),
                                          argument(MAP_PRIVATE | MAP_ANONYMOUS), argument(-1), 0}));
    return {};
  }

  Result<void> connect() {
    SOCKREPAIR_TRY(calls_.call(InjectedCall::kSocketpair,
                               {argument(AF_UNIX), argument(SOCK_SEQPACKET | SOCK_CLOEXEC), 0,
                                at(offsetof(RemotePage, pair))}));
    std::int32_t pair[2];
    SOCKREPAIR_TRY(calls_.read_memory(at(offsetof(RemotePage, pair)), bytes_of(pair)));
    theirs_ = pair[1];
    Fd ours(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd_.get(), pair[0], 0)));
    const int code = errno;
    SOCKREPAIR_TRY(close(pair[0]));
    if (!ours) return Error{code, "pidfd_getfd(" + std::to_string(pair[0]) + ")"};
    ours_ = std::move(ours);
    return out_of_the_way();
  }

  // Our way into the process must not have a number that is wanted.
  Result<void> out_of_the_way() {
    while (wanted_.contains(theirs_)) {
      SOCKREPAIR_TRY_ASSIGN(
          std::uint64_t number,
          calls_.call(InjectedCall::kFcntl,
                      {argument(theirs_), argument(F_DUPFD_CLOEXEC), argument(theirs_ + 1)}));
      SOCKREPAIR_TRY(close(std::exchange(theirs_, static_cast<int>(number))));
    }
    return {};
  }

  // The number under which the process receives it.
  Result<int> receive(const PlacedDescriptor& one) {
    SOCKREPAIR_TRY(send_descriptor(ours_, one.fd));
    RemotePage page;
    page.message.vectors = at(offsetof(RemotePage, vector));
    page.message.vector_count = 1;
    page.message.control = at(offsetof(RemotePage, control));
    page.message.control_size = sizeof(page.control);
    page.vector = {at(offsetof(RemotePage, byte)), 1};
    SOCKREPAIR_TRY(calls_.write_memory(page_, bytes_of(page)));
    SOCKREPAIR_TRY(
        calls_.call(InjectedCall::kRecvmsg,
                    {argument(theirs_), page_, argument(MSG_CMSG_CLOEXEC | MSG_DONTWAIT)}));
    SOCKREPAIR_TRY(calls_.read_memory(page_, bytes_of(page)));
    const RemoteControl& got = page.control;
    if (got.size == CMSG_LEN(sizeof(int)) && got.level == SOL_SOCKET && got.type == SCM_RIGHTS &&
        got.descriptor >= 0)
      return int{got.descriptor};
    return Error{EMFILE, "recvmsg(" + std::to_string(theirs_) +
                             "): the process is not given the descriptor; RLIMIT_NOFILE, or a "
                             "security module"};
  }

  Result<void> place(const PlacedDescriptor& one) {
    SOCKREPAIR_TRY_ASSIGN(int received, receive(one));
    if (received == one.number) {
      placed_.push_back(&one);
      if (one.close_on_exec) return {};
      SOCKREPAIR_TRY(calls_.call(InjectedCall::kFcntl, {argument(received), argument(F_SETFD), 0}));
      return {};
    }
    Result<std::uint64_t> moved = calls_.call(
        InjectedCall::kDup3,
        {argument(received), argument(one.number), argument(one.close_on_exec ? O_CLOEXEC : 0)});
    if (moved) placed_.push_back(&one);
    SOCKREPAIR_TRY(close(received));
    // EBADF does not say of which of the two numbers.
    if (!moved && moved.error().code == EBADF)
      return Error{EBADF, "descriptor " + std::to_string(one.number) +
                              " is beyond RLIMIT_NOFILE of the process"};
    SOCKREPAIR_TRY(moved);
    return {};
  }

  Result<void> watch(const PlacedDescriptor& one, const EpollWatch& watch) {
    RemoteEvent event{watch.events, watch.data};
    SOCKREPAIR_TRY(calls_.write_memory(at(offsetof(RemotePage, event)), bytes_of(event)));
    Result<std::uint64_t> added = calls_.call(
        InjectedCall::kEpollCtl, {argument(watch.epoll), argument(EPOLL_CTL_ADD),
                                  argument(one.number), at(offsetof(RemotePage, event))});
    // The same instance under another number.
    if (!added && added.error().code == EEXIST) return {};
    SOCKREPAIR_TRY(added);
    return {};
  }

  Result<void> place_all() {
    SOCKREPAIR_TRY(map_page());
    SOCKREPAIR_TRY(connect());
    for (const PlacedDescriptor& one : descriptors_) SOCKREPAIR_TRY(place(one));
    for (const PlacedDescriptor& one : descriptors_)
      for (const EpollWatch& each : one.watches) SOCKREPAIR_TRY(watch(one, each));
    return {};
  }

  // What the process had for the time.
  Result<void> tidy() {
    Result<void> closed = theirs_ >= 0 ? close(std::exchange(theirs_, -1)) : Result<void>();
    if (page_ != 0) SOCKREPAIR_TRY(calls_.call(InjectedCall::kMunmap, {page_, kPage}));
    return closed;
  }

  // Nobody is left to be told of an error. To close what is open here, too, ends no watch.
  void undo() {
    for (const PlacedDescriptor* one : placed_) {
      for (const EpollWatch& each : one->watches) {
        static_cast<void>(
            calls_.call(InjectedCall::kEpollCtl,
                        {argument(each.epoll), argument(EPOLL_CTL_DEL), argument(one->number), 0}));
      }
      static_cast<void>(close(one->number));
    }
  }

  InjectedCalls& calls_;
  const Fd& pidfd_;
  std::span<const PlacedDescriptor> descriptors_;
  std::set<int> wanted_;
  std::vector<const PlacedDescriptor*> placed_;
  std::uint64_t page_ = 0;
  Fd ours_;
  int theirs_ = -1;  // in the process
};

// Whether the numbers are there to be taken.
Result<void> check_free(pid_t pid, std::span<const PlacedDescriptor> descriptors) {
  std::set<int> seen;
  for (const PlacedDescriptor& one : descriptors) {
    const std::string name = "descriptor " + std::to_string(one.number);
    if (one.number < 0) return Error{EINVAL, name};
    if (!seen.insert(one.number).second) return Error{EINVAL, name + " is given twice"};
    struct stat status {};
    const std::string link = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(one.number);
    if (::lstat(link.c_str(), &status) == 0)
      return Error{EEXIST, name + " of process " + std::to_string(pid) + " is in use"};
    if (errno != ENOENT) return Error{errno, "lstat(" + link + ")"};
  }
  return {};
}

}  // namespace

Result<void> StoppedProcess::can_call() const {
  SOCKREPAIR_TRY_ASSIGN(std::string states, internal::thread_states(pid_));
  // A frozen thread, which looks like one that sleeps, would never make the call.
  if (method_ == StopMethod::kFreezer || states.find_first_not_of("Tt") != std::string::npos) {
    return Error{ENOTSUP, "process " + std::to_string(pid_) +
                              " is frozen and cannot be made to close or take descriptors"};
  }
  return {};
}

Result<void> StoppedProcess::close(const std::vector<int>& numbers) {
  return internal::no_throw([&]() -> Result<void> {
    SOCKREPAIR_TRY(can_call());
    SOCKREPAIR_TRY_ASSIGN(InjectedCalls calls, InjectedCalls::begin(pid_, pidfd_));
    for (int number : numbers) SOCKREPAIR_TRY(calls.call(InjectedCall::kClose, {argument(number)}));
    return calls.end();
  });
}

Result<void> StoppedProcess::place(std::span<const PlacedDescriptor> descriptors) {
  return internal::no_throw([&]() -> Result<void> {
    SOCKREPAIR_TRY(can_call());
    SOCKREPAIR_TRY(check_free(pid_, descriptors));
    SOCKREPAIR_TRY_ASSIGN(InjectedCalls calls, InjectedCalls::begin(pid_, pidfd_));
    SOCKREPAIR_TRY(Placing(calls, pidfd_, descriptors).run());
    return calls.end();
  });
}

}  // namespace sockrepair

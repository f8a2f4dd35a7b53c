// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "uring.h"

#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <string.h>

#include <string>
#include <utility>

#include "shared_library.h"
#include "sockrepair/fd.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

constexpr char kLibrary[] = "liburing.so.2";

// <linux/io_uring.h> of kernels since 6.7, 6.11 and 6.19; the flag since 6.0.
constexpr std::uint8_t kOpBind = 56;           // IORING_OP_BIND
constexpr std::uint8_t kOpListen = 57;         // IORING_OP_LISTEN
constexpr std::uint32_t kSocketOpGet = 2;      // SOCKET_URING_OP_GETSOCKOPT
constexpr std::uint32_t kSocketOpSet = 3;      // SOCKET_URING_OP_SETSOCKOPT
constexpr std::uint32_t kSocketOpGetName = 5;  // SOCKET_URING_OP_GETSOCKNAME
constexpr unsigned kSingleIssuer = 1U << 12;   // IORING_SETUP_SINGLE_ISSUER

// How the kernel is asked for a call: an operation, or a command of a socket.
struct Request {
  CallKind kind;
  std::uint8_t operation;
  std::uint32_t command = 0;
};

constexpr Request kRequests[] = {
    {CallKind::kSocket, IORING_OP_SOCKET},
    {CallKind::kBind, kOpBind},
    {CallKind::kListen, kOpListen},
    {CallKind::kConnect, IORING_OP_CONNECT},
    {CallKind::kShutdown, IORING_OP_SHUTDOWN},
    {CallKind::kGetsockopt, IORING_OP_URING_CMD, kSocketOpGet},
    {CallKind::kSetsockopt, IORING_OP_URING_CMD, kSocketOpSet},
    {CallKind::kGetsockname, IORING_OP_URING_CMD, kSocketOpGetName},
    {CallKind::kGetpeername, IORING_OP_URING_CMD, kSocketOpGetName},
    {CallKind::kSendmsg, IORING_OP_SENDMSG},
    {CallKind::kRecvmsg, IORING_OP_RECVMSG},
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < std::size(kRequests); ++i)
    if (static_cast<std::size_t>(kRequests[i].kind) != i) return false;
  return std::size(kRequests) == kCallKinds;
}
static_assert(in_order());

const Request& request_of(const Call& call) {
  return kRequests[static_cast<std::size_t>(call.kind)];
}

// The functions of the library that are used and not in its header.
struct Library {
  decltype(&::io_uring_queue_init) queue_init = nullptr;
  decltype(&::io_uring_queue_exit) queue_exit = nullptr;
  decltype(&::io_uring_submit_and_wait) submit_and_wait = nullptr;
  decltype(&::io_uring_get_probe_ring) get_probe = nullptr;
  decltype(&::io_uring_free_probe) free_probe = nullptr;
};

Result<Library> load_library() {
  SOCKREPAIR_TRY_ASSIGN(SharedLibrary shared, SharedLibrary::open(kLibrary));
  Library library;
  SOCKREPAIR_TRY(shared.find("io_uring_queue_init", library.queue_init));
  SOCKREPAIR_TRY(shared.find("io_uring_queue_exit", library.queue_exit));
  SOCKREPAIR_TRY(shared.find("io_uring_submit_and_wait", library.submit_and_wait));
  SOCKREPAIR_TRY(shared.find("io_uring_get_probe_ring", library.get_probe));
  SOCKREPAIR_TRY(shared.find("io_uring_free_probe", library.free_probe));
  return library;
}

std::uint64_t number(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

void fill(io_uring_sqe& sqe, const Call& call) {
  memset(&sqe, 0, sizeof(sqe));
  const Request& request = request_of(call);
  sqe.opcode = request.operation;
  sqe.fd = call.fd;
  switch (call.kind) {
    case CallKind::kSocket:
      sqe.off = static_cast<std::uint64_t>(call.first);
      sqe.len = static_cast<std::uint32_t>(call.second);
      return;
    case CallKind::kBind:
    case CallKind::kConnect:
      sqe.addr = number(call.memory);
      sqe.off = call.length;
      return;
    case CallKind::kListen:
    case CallKind::kShutdown:
      sqe.len = static_cast<std::uint32_t>(call.first);
      return;
    case CallKind::kGetsockopt:
    case CallKind::kSetsockopt: {
      sqe.cmd_op = request.command;
      // struct { u32 level, optname; } in the place of `addr`.
      const std::uint32_t level_and_name[] = {static_cast<std::uint32_t>(call.first),
                                              static_cast<std::uint32_t>(call.second)};
      memcpy(&sqe.addr, level_and_name, sizeof(level_and_name));
      sqe.file_index = call.length;  // optlen
      sqe.addr3 = number(call.memory);
      return;
    }
    case CallKind::kGetsockname:
    case CallKind::kGetpeername:
      sqe.cmd_op = request.command;
      sqe.addr = number(call.memory);
      sqe.addr3 = number(call.size);
      sqe.file_index = call.kind == CallKind::kGetpeername ? 1 : 0;  // optlen
      return;
    case CallKind::kSendmsg:
    case CallKind::kRecvmsg:
      sqe.addr = number(call.memory);
      sqe.len = 1;
      sqe.msg_flags = static_cast<std::uint32_t>(call.first);
      return;
  }
}

}  // namespace

struct Uring::Ring {
  Library library;
  io_uring ring{};
  bool open = false;

  ~Ring() {
    if (open) library.queue_exit(&ring);
  }
};

Uring::Uring(std::unique_ptr<Ring> ring) : ring_(std::move(ring)) {}

Uring::~Uring() = default;

Result<std::unique_ptr<Uring>> Uring::create(unsigned entries) {
  auto ring = std::make_unique<Ring>();
  SOCKREPAIR_TRY_ASSIGN(ring->library, load_library());
  int error = ring->library.queue_init(entries, &ring->ring, kSingleIssuer);
  if (error == -EINVAL) error = ring->library.queue_init(entries, &ring->ring, 0);
  if (error != 0) return Error{-error, "io_uring_queue_init(" + std::to_string(entries) + ")"};
  ring->open = true;
  std::unique_ptr<Uring> uring(new Uring(std::move(ring)));
  SOCKREPAIR_TRY(uring->probe());
  uring->submissions_ = 0;
  return uring;
}

// Operations are told by the kernel, commands of sockets by a socket.
Result<void> Uring::probe() {
  std::unique_ptr<io_uring_probe, decltype(ring_->library.free_probe)> told(
      ring_->library.get_probe(&ring_->ring), ring_->library.free_probe);
  if (!told) return Error{ENOSYS, "io_uring_get_probe()"};
  for (const Request& request : kRequests) {
    takes_[static_cast<std::size_t>(request.kind)] =
        io_uring_opcode_supported(told.get(), request.operation) != 0;
  }
  if (!takes_[static_cast<std::size_t>(CallKind::kGetsockopt)]) return {};

  const long made = make_here({CallKind::kSocket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP});
  if (made < 0) return Error{static_cast<int>(-made), "socket(), to try io_uring out"};
  Fd socket(static_cast<int>(made));
  int value = 0;
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  const Call calls[] = {
      {CallKind::kGetsockopt, socket.get(), SOL_SOCKET, SO_TYPE, &value, sizeof(value)},
      {CallKind::kSetsockopt, socket.get(), SOL_SOCKET, SO_TYPE, &value, 0},
      {CallKind::kGetsockname, socket.get(), 0, 0, &address, 0, &size},
      {CallKind::kGetpeername, socket.get(), 0, 0, &address, 0, &size},
      {CallKind::kGetsockopt, socket.get(), IPPROTO_IP, IP_TTL, &value, sizeof(value)},
  };
  for (const Call& call : calls) {
    SOCKREPAIR_TRY_ASSIGN(long result, try_out(call));
    bool& answer = call.first == IPPROTO_IP && call.kind == CallKind::kGetsockopt
                       ? takes_every_level_
                       : takes_[static_cast<std::size_t>(call.kind)];
    // Whatever else it says comes from the call.
    answer = result != -EOPNOTSUPP;
  }
  return {};
}

Result<long> Uring::try_out(const Call& call) {
  put(call, 0);
  long result = 0;
  for (bool done = false; !done;) {
    SOCKREPAIR_TRY(submit());
    collect([&](std::uint64_t, long value) {
      result = value;
      done = true;
    });
  }
  return result;
}

bool Uring::takes(const Call& call) const {
  if (!takes_[static_cast<std::size_t>(call.kind)]) return false;
  switch (call.kind) {
    case CallKind::kGetsockopt:
      return call.first == SOL_SOCKET || takes_every_level_;
    case CallKind::kSendmsg:
    case CallKind::kRecvmsg:
      return (call.first & MSG_DONTWAIT) != 0;
    default:
      return true;
  }
}

void Uring::put(const Call& call, std::uint64_t token) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_->ring);
  fill(*sqe, call);
  sqe->user_data = token;
}

Result<unsigned> Uring::submit() {
  for (;;) {
    ++submissions_;
    const int taken = ring_->library.submit_and_wait(&ring_->ring, 1);
    if (taken >= 0) return static_cast<unsigned>(taken);
    if (taken != -EINTR) return Error{-taken, "io_uring_enter()"};
  }
}

void Uring::collect(const std::function<void(std::uint64_t, long)>& done) {
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_->ring, head, cqe) {
    done(cqe->user_data, cqe->res);
    ++count;
  }
  io_uring_cq_advance(&ring_->ring, count);
}

}  // namespace sockrepair::internal

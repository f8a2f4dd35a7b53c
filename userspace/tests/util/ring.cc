// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/ring.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include <algorithm>

#include "try.h"

namespace sockrepair::test {

namespace {

constexpr unsigned kEntries = 32;

// Completion queue entries have it since 6.0.
constexpr unsigned kCqeNotif = 1U << 3;  // IORING_CQE_F_NOTIF

}  // namespace

void PrintTo(const Completion& completion, std::ostream* out) {
  *out << (completion.notification ? "notification " : "completion ") << completion.result
       << (completion.more ? ", more to come" : "");
}

void Ring::Exit::operator()(io_uring* ring) const {
  io_uring_queue_exit(ring);
  delete ring;
}

Result<Ring> Ring::create() {
  auto ring = std::make_unique<io_uring>();
  if (int error = io_uring_queue_init(kEntries, ring.get(), 0); error != 0)
    return Error{-error, "io_uring_queue_init()"};
  return Ring(std::unique_ptr<io_uring, Exit>(ring.release()));
}

Result<Completion> Ring::run(const std::function<void(io_uring_sqe*)>& prepare) {
  io_uring_sqe* sqe = io_uring_get_sqe(ring_.get());
  if (sqe == nullptr) return Error{EBUSY, "io_uring_get_sqe()"};
  prepare(sqe);
  if (int submitted = io_uring_submit(ring_.get()); submitted != 1)
    return Error{submitted < 0 ? -submitted : EPROTO, "io_uring_submit()"};
  return wait();
}

Result<Completion> Ring::wait(Deadline deadline) {
  io_uring_cqe* cqe = nullptr;
  int left = deadline.poll_timeout_ms();
  __kernel_timespec timeout{left / 1000, left % 1000 * 1'000'000LL};
  int error = io_uring_wait_cqe_timeout(ring_.get(), &cqe, &timeout);
  if (error == -ETIME) return Error{ETIMEDOUT, "io_uring_wait_cqe()"};
  if (error != 0) return Error{-error, "io_uring_wait_cqe()"};
  Completion completion{cqe->res, (cqe->flags & IORING_CQE_F_MORE) != 0,
                        (cqe->flags & kCqeNotif) != 0};
  io_uring_cqe_seen(ring_.get(), cqe);
  return completion;
}

Result<std::optional<Completion>> Ring::poll() {
  // Waits for no time, but in the kernel, which carries out what it has put off first.
  Result<Completion> completion = wait(Deadline::after(std::chrono::milliseconds(0)));
  if (completion) return std::optional(*completion);
  if (completion.error().code == ETIMEDOUT) return std::optional<Completion>();
  return completion.error();
}

Result<void> Ring::register_buffer(std::span<std::uint8_t> memory) {
  iovec part{memory.data(), memory.size()};
  if (int error = io_uring_register_buffers(ring_.get(), &part, 1); error != 0)
    return Error{-error, "io_uring_register_buffers()"};
  return {};
}

Result<std::uint16_t> Ring::register_credentials() {
  int id = io_uring_register_personality(ring_.get());
  if (id < 0) return Error{-id, "io_uring_register_personality()"};
  return static_cast<std::uint16_t>(id);
}

void prepare_socket_option(io_uring_sqe* sqe, std::uint32_t operation, const Fd& fd, int level,
                           int name, void* value, std::uint32_t length) {
  memset(sqe, 0, sizeof(*sqe));
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = fd.get();
  sqe->cmd_op = operation;
  // struct { u32 level, optname; } in the place of `addr`; optlen and optval in those of others.
  const std::uint32_t level_and_name[] = {static_cast<std::uint32_t>(level),
                                          static_cast<std::uint32_t>(name)};
  memcpy(&sqe->addr, level_and_name, sizeof(level_and_name));
  sqe->file_index = length;
  sqe->addr3 = reinterpret_cast<std::uintptr_t>(value);
}

}  // namespace sockrepair::test

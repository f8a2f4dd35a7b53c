// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_RING_H_
#define SOCKREPAIR_TESTS_UTIL_RING_H_

#include <liburing.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <span>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/deadline.h"

// An io_uring, and what Debian's liburing does not know of it yet.
//
//   ASSERT_OK_AND_ASSIGN(Ring ring, Ring::create());
//   EXPECT_THAT(ring.run([&](io_uring_sqe* sqe) { io_uring_prep_send(sqe, fd, p, n, MSG_MORE); }),
//               IsOkAndHolds(Field(&Completion::result, n)));
namespace sockrepair::test {

// linux/io_uring.h of kernels since 6.2 and 6.7.
inline constexpr unsigned kSendZcReportUsage = 1U << 3;  // IORING_SEND_ZC_REPORT_USAGE
inline constexpr int kNotifUsageCopied = INT32_MIN;      // IORING_NOTIF_USAGE_ZC_COPIED
inline constexpr std::uint32_t kSocketOpGetsockopt = 2;  // SOCKET_URING_OP_GETSOCKOPT
inline constexpr std::uint32_t kSocketOpSetsockopt = 3;  // SOCKET_URING_OP_SETSOCKOPT

// One entry of the completion queue.
struct Completion {
  int result = 0;             // as the system call's, or minus an errno number
  bool more = false;          // another one will come for the same request
  bool notification = false;  // it is that other one: the kernel is done with the memory

  bool operator==(const Completion&) const = default;
};
void PrintTo(const Completion& completion, std::ostream* out);

class Ring {
 public:
  static Result<Ring> create();

  // Submits what `prepare` writes and waits for a completion, which is the request's unless there
  // are older ones.
  Result<Completion> run(const std::function<void(io_uring_sqe*)>& prepare);

  // The next completion, ETIMEDOUT when none comes before the deadline.
  Result<Completion> wait(Deadline deadline = Deadline::after(kPatience));

  // The next completion if there is one now, the kernel's unfinished work included.
  Result<std::optional<Completion>> poll();

  // Makes `memory` fixed buffer 0.
  Result<void> register_buffer(std::span<std::uint8_t> memory);

  // The number, for io_uring_sqe::personality, under which requests run with the credentials that
  // the calling thread has now.
  Result<std::uint16_t> register_credentials();

 private:
  struct Exit {
    void operator()(io_uring* ring) const;
  };
  explicit Ring(std::unique_ptr<io_uring, Exit> ring) : ring_(std::move(ring)) {}

  std::unique_ptr<io_uring, Exit> ring_;
};

// IORING_OP_URING_CMD of a socket: `operation` is kSocketOpGetsockopt or kSocketOpSetsockopt.
void prepare_socket_option(io_uring_sqe* sqe, std::uint32_t operation, const Fd& fd, int level,
                           int name, void* value, std::uint32_t length);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_RING_H_

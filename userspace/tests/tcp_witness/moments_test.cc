// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Each call that can be refused, in every situation that a socket can be in: refused with the error
// of the table, and no byte of the socket is another one afterwards.

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "tcp_witness/witness_test.h"
#include "util/param_name.h"
#include "util/privileges.h"

namespace sockrepair::test {
namespace {

using ::testing::ValuesIn;

struct Situation {
  const char* name;
  Result<Fd> (*make)(int domain);
};
const Situation kSituations[] = {{"unconnected", unconnected},
                                 {"lonely", lonely},
                                 {"with_data", lonely_with_data},
                                 {"live", live},
                                 {"left", left}};
constexpr std::size_t kSituationCount = std::size(kSituations);

Result<void> listen_on(const Fd& fd) {
  if (::listen(fd.get(), 1) != 0) return Error{errno, "listen()"};
  return {};
}

// The last option of a list whose end is not mapped.
Result<void> half_a_list(const Fd& fd) {
  const long page = ::sysconf(_SC_PAGESIZE);
  void* const memory =
      ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Error{errno, "mmap()"};
  char* const end = static_cast<char*>(memory) + page;
  ::munmap(end, page);
  auto* const options = reinterpret_cast<tcp_repair_opt*>(end) - 1;
  *options = {kOptionSackPerm, 0};
  const Result<void> set =
      set_tcp_bytes(fd, TCP_REPAIR_OPTIONS, options, 2 * sizeof(tcp_repair_opt));
  ::munmap(memory, page);
  return set;
}

template <tcp_repair_opt... kOptions>
Result<void> options(const Fd& fd) {
  const tcp_repair_opt list[] = {kOptions...};
  return set_options(fd, list);
}

template <std::size_t kLength>
Result<void> options_of_length(const Fd& fd) {
  const tcp_repair_opt list[] = {{kOptionSackPerm, 0}, {kOptionMss, 1460}, {kOptionTimestamp, 0}};
  return set_tcp_bytes(fd, TCP_REPAIR_OPTIONS, list, kLength);
}

template <std::size_t kLength>
Result<void> window_of_length(const Fd& fd) {
  const tcp_repair_window window[2] = {};
  return set_tcp_bytes(fd, TCP_REPAIR_WINDOW, window, kLength);
}

template <int kName, int kValue>
Result<void> value(const Fd& fd) {
  return set_tcp(fd, kName, kValue);
}

// A call, the queue that is selected before it, and its error in each situation; 0: not made, since
// it would be accepted.
struct Refusal {
  const char* name;
  Result<void> (*call)(const Fd& fd);
  std::array<int, kSituationCount> errors;  // unconnected, lonely, with_data, live, left
  int queue = TCP_NO_QUEUE;
};
const Refusal kRefusals[] = {
    {"mss", options<tcp_repair_opt{kOptionMss, 1000}>, {EPERM, 0, EPERM, 0, EPERM}},
    {"mss_87",
     options<tcp_repair_opt{kOptionSackPerm, 0}, tcp_repair_opt{kOptionMss, 87}>,
     {EPERM, EINVAL, EPERM, EINVAL, EPERM}},
    {"mss_70000",
     options<tcp_repair_opt{kOptionTimestamp, 0}, tcp_repair_opt{kOptionMss, 70000}>,
     {EPERM, EINVAL, EPERM, EINVAL, EPERM}},
    {"scale_15_last",
     options<tcp_repair_opt{kOptionMss, 1000}, tcp_repair_opt{kOptionSackPerm, 0},
             tcp_repair_opt{kOptionTimestamp, 0}, tcp_repair_opt{kOptionWindow, 15}>,
     {EPERM, EFBIG, EPERM, EFBIG, EPERM}},
    {"unknown_last",
     options<tcp_repair_opt{kOptionMss, 1000}, tcp_repair_opt{5, 0}>,
     {EPERM, EINVAL, EPERM, EINVAL, EPERM}},
    {"end_of_options", options<tcp_repair_opt{0, 0}>, {EPERM, EINVAL, EPERM, EINVAL, EPERM}},
    {"twice",
     options<tcp_repair_opt{kOptionMss, 1000}, tcp_repair_opt{kOptionMss, 1000}>,
     {EPERM, EINVAL, EPERM, EINVAL, EPERM}},
    // Lengths below an int and memory that is not there are found before the socket is locked.
    {"no_option", options_of_length<0>, {EINVAL, EINVAL, EINVAL, EINVAL, EINVAL}},
    {"half_an_option", options_of_length<4>, {EPERM, EINVAL, EPERM, EINVAL, EPERM}},
    {"trailing_bytes", options_of_length<17>, {EPERM, EINVAL, EPERM, EINVAL, EPERM}},
    {"options_unmapped", half_a_list, {EPERM, EFAULT, EPERM, EFAULT, EPERM}},
    {"window_short", window_of_length<19>, {EINVAL, EINVAL, EINVAL, EINVAL, EPERM}},
    {"window_long", window_of_length<24>, {EINVAL, EINVAL, EINVAL, EINVAL, EPERM}},
    {"window_unmapped",
     [](const Fd& fd) {
       return set_tcp_bytes(fd, TCP_REPAIR_WINDOW, reinterpret_cast<void*>(8),
                            sizeof(tcp_repair_window));
     },
     {EFAULT, EFAULT, EFAULT, EFAULT, EFAULT}},
    {"window_all_ones",
     [](const Fd& fd) {
       return set_window(fd, {~0U, ~0U, ~0U, ~0U, ~0U});
     },
     {EINVAL, EINVAL, EINVAL, EINVAL, EPERM}},
    {"window",
     [](const Fd& fd) {
       return set_window(fd, {kRcvSeq, 0, 65535, 0, kRcvSeq});
     },
     {0, 0, 0, 0, EPERM}},
    {"snd_seq", value<TCP_QUEUE_SEQ, 12345>, {0, EPERM, EPERM, EPERM, EPERM}, TCP_SEND_QUEUE},
    {"rcv_seq", value<TCP_QUEUE_SEQ, -1>, {0, EPERM, EPERM, EPERM, EPERM}, TCP_RECV_QUEUE},
    {"seq_of_no_queue", value<TCP_QUEUE_SEQ, 1>, {EINVAL, EPERM, EPERM, EPERM, EPERM}},
    {"timestamp", value<TCP_TIMESTAMP, 0>, {0, 0, EPERM, EPERM, EPERM}},
    {"timestamp_usec", value<TCP_TIMESTAMP, -1>, {0, 0, EPERM, EPERM, EPERM}},
    {"queue_3", value<TCP_REPAIR_QUEUE, 3>, {EINVAL, EINVAL, EINVAL, EINVAL, EPERM}},
    {"queue_minus_1", value<TCP_REPAIR_QUEUE, -1>, {EINVAL, EINVAL, EINVAL, EINVAL, EPERM}},
    {"queue", value<TCP_REPAIR_QUEUE, TCP_SEND_QUEUE>, {0, 0, 0, 0, EPERM}},
    {"mode_2", value<TCP_REPAIR, 2>, {EINVAL, EINVAL, EINVAL, EINVAL, EINVAL}},
    {"mode_without_capability",
     [](const Fd& fd) {
       return without_capabilities([&fd] { return set_tcp(fd, TCP_REPAIR, TCP_REPAIR_OFF); });
     },
     {EPERM, EPERM, EPERM, EPERM, EPERM}},
    {"listen", listen_on, {EPERM, EINVAL, EINVAL, EINVAL, EINVAL}},
};

struct RefusalCase {
  std::string name;
  int domain;
  const Situation* situation;
  const Refusal* refusal;
  int error;

  friend void PrintTo(const RefusalCase& param, std::ostream* out) { *out << param.name; }
};

std::vector<RefusalCase> refusal_cases() {
  std::vector<RefusalCase> cases;
  for (const auto& [family, domain] : {std::pair{"v4", AF_INET}, std::pair{"v6", AF_INET6}}) {
    for (std::size_t i = 0; i < kSituationCount; ++i) {
      for (const Refusal& refusal : kRefusals) {
        if (refusal.errors[i] == 0) continue;
        cases.push_back({std::string(family) + "_" + kSituations[i].name + "_" + refusal.name,
                         domain, &kSituations[i], &refusal, refusal.errors[i]});
      }
    }
  }
  return cases;
}

class TcpRefusalTest : public TcpWitnessTest, public ::testing::WithParamInterface<RefusalCase> {};

TEST_P(TcpRefusalTest, ChangesNothing) {
  const RefusalCase& param = GetParam();
  ASSERT_OK_AND_ASSIGN(Fd fd, param.situation->make(param.domain));
  if (param.situation->make != left) {
    ASSERT_THAT(set_tcp(fd, TCP_REPAIR_QUEUE, param.refusal->queue), IsOk());
  }
  const TcpState before = look(fd);
  const Result<void> refused = param.refusal->call(fd);
  const TcpState after = look_again(fd);
  EXPECT_THAT(refused, FailsWith(param.error));
  expect_unchanged(before, after);
}

INSTANTIATE_TEST_SUITE_P(All, TcpRefusalTest, ValuesIn(refusal_cases()), ParamName());

}  // namespace
}  // namespace sockrepair::test

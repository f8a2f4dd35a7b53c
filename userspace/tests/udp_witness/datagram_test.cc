// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The datagram that the library restores is the original in the kernel's own memory, and dumping
// leaves no trace there. Seen by a witness that knows neither the option nor the library.

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "sockrepair/syscall.h"
#include "sockrepair/udp_send_queue.h"
#include "uapi.h"
#include "udp_witness/witness_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::ValuesIn;

bool is_zero(const std::string& digits) {
  return digits.find_first_not_of('0') == std::string::npos;
}

// Two pages, of which the second one cannot be accessed.
class Cliff {
 public:
  Cliff() : page_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) {
    void* pages =
        ::mmap(nullptr, 2 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || ::mprotect(static_cast<char*>(pages) + page_, page_, PROT_NONE) != 0)
      abort();
    pages_ = static_cast<char*>(pages);
  }
  Cliff(const Cliff&) = delete;
  Cliff& operator=(const Cliff&) = delete;
  ~Cliff() { ::munmap(pages_, 2 * page_); }

  // Where to begin so that `size` bytes, at most a page, can be accessed.
  char* before_edge(std::size_t size) { return pages_ + page_ - size; }
  std::size_t page() const { return page_; }

 private:
  std::size_t page_;
  char* pages_;
};

// One getsockopt() with a buffer of `length` bytes at `buffer`.
Result<socklen_t> dump_into(const Fd& fd, void* buffer, std::size_t length) {
  udp_repair_send_queue header{};
  header.size = sizeof(header);
  memcpy(buffer, &header, sizeof(header));
  return sys::getsockopt_bytes(fd.get(), SOL_UDP, UDP_REPAIR_SEND_QUEUE, buffer,
                               static_cast<socklen_t>(length));
}

class WitnessDatagramTest : public WitnessTest,
                            public ::testing::WithParamInterface<WitnessCase> {};

TEST_P(WitnessDatagramTest, RestoredIsTheOriginal) {
  const Peer& peer = *GetParam().peer;
  const Recipe& recipe = *GetParam().recipe;
  ASSERT_OK_AND_ASSIGN(UnderConstruction original, begin(peer, recipe));
  Sighting before = look(*original.fd);
  for (const std::string& field : peer.family == Family::kIpv4 ? recipe.sets_v4 : recipe.sets_v6)
    EXPECT_FALSE(is_zero(field_text(before.snapshot, field))) << field << " is not set";

  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(*original.fd));
  ASSERT_TRUE(queue.has_value());
  ASSERT_OK_AND_ASSIGN(const Fd* fresh, make_socket(peer, recipe));
  if (recipe.cork_option) {
    ASSERT_THAT(sys::setsockopt<int>(fresh->get(), SOL_UDP, UDP_CORK, 1), IsOk());
  }
  ASSERT_THAT(restore_send_queue(*fresh, *queue), IsOk());

  Sighting after = look(*fresh);
  EXPECT_THAT(datagram_differences(before.snapshot, after.snapshot, recipe.is_one_copy()),
              IsEmpty());
}

// The option itself, with buffers of every kind and repair mode on from before.
TEST_P(WitnessDatagramTest, DumpLeavesMemoryAsItIs) {
  ASSERT_OK_AND_ASSIGN(UnderConstruction original, begin(*GetParam().peer, *GetParam().recipe));
  ASSERT_THAT(set_udp_repair(*original.fd, true), IsOk());
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(*original.fd));
  Sighting before = look(*original.fd);

  constexpr std::size_t kHeader = sizeof(udp_repair_send_queue);
  std::vector<std::uint8_t> buffer(1 << 17);
  std::size_t payload = original.payload.size();
  for (std::size_t length : {kHeader, kHeader + 1, kHeader + payload / 2, kHeader + payload - 1,
                             kHeader + payload, buffer.size()}) {
    length = std::max(length, kHeader);
    EXPECT_THAT(dump_into(*original.fd, buffer.data(), length), IsOk()) << length;
  }
  EXPECT_THAT(dump_send_queue(*original.fd), IsOkAndHolds(queue));

  // Fails on the way, after the header and, but for a long one, half of the payload.
  Cliff cliff;
  std::size_t accessible = std::min(kHeader + payload / 2, cliff.page());
  if (payload > 0) {
    EXPECT_THAT(dump_into(*original.fd, cliff.before_edge(accessible), buffer.size()),
                FailsWith(EFAULT));
  }

  EXPECT_THAT(memory_changes(before.raw, look(*original.fd).raw), IsEmpty());
}

// The bytes in the kernel's memory, linear or in pages, are those that were sent and those of the
// dump.
TEST_P(WitnessDatagramTest, DumpHasThePayloadInMemory) {
  ASSERT_OK_AND_ASSIGN(UnderConstruction original, begin(*GetParam().peer, *GetParam().recipe));
  Sighting seen = look(*original.fd);
  const witness_payload& payload = seen.snapshot.payload;
  EXPECT_EQ(std::vector<std::uint8_t>(payload.data, payload.data + payload.len), original.payload);
  ASSERT_OK_AND_ASSIGN(std::optional<SendQueue> queue, dump_send_queue(*original.fd));
  EXPECT_THAT(queue, Optional(::testing::Field(&SendQueue::payload, original.payload)));
}

INSTANTIATE_TEST_SUITE_P(All, WitnessDatagramTest, ValuesIn(witness_cases()), ParamName());

}  // namespace
}  // namespace sockrepair::test

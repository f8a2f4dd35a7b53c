// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_WITNESS_WITNESS_TEST_H_
#define SOCKREPAIR_TESTS_TCP_WITNESS_WITNESS_TEST_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tcp_witness/sockets.h"
#include "util/matchers.h"
#include "util/tcp_witness.h"

namespace sockrepair::test {

// All of a socket that a call could change: what options tell, and what the kernel holds.
struct TcpState {
  std::vector<std::string> visible;
  tcp_witness_snapshot memory;
};

// A test with a witness, loaded once for all suites of the program.
class TcpWitnessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    static Result<TcpWitness> loaded = TcpWitness::load();
    ASSERT_TRUE(loaded.ok()) << loaded.error().describe();
    witness_ = &*loaded;
  }

  // The memory last: nothing of ours is between the look before a call and the call.
  static TcpState look(const Fd& fd) {
    TcpState state{visible_state(fd), {}};
    Result<tcp_witness_snapshot> seen = witness_->look(fd.get());
    if (seen)
      state.memory = *seen;
    else
      ADD_FAILURE() << seen.error().describe();
    return state;
  }
  // The memory first.
  static TcpState look_again(const Fd& fd) {
    Result<tcp_witness_snapshot> seen = witness_->look(fd.get());
    if (!seen) ADD_FAILURE() << seen.error().describe();
    return {visible_state(fd), seen ? *seen : tcp_witness_snapshot{}};
  }

  static void expect_unchanged(const TcpState& before, const TcpState& after) {
    EXPECT_THAT(tcp_memory_changes(before.memory, after.memory), ::testing::IsEmpty());
    EXPECT_EQ(before.visible, after.visible);
  }

  static inline TcpWitness* witness_ = nullptr;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_WITNESS_WITNESS_TEST_H_

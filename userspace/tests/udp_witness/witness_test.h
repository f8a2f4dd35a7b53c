// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_WITNESS_WITNESS_TEST_H_
#define SOCKREPAIR_TESTS_UDP_WITNESS_WITNESS_TEST_H_

#include <gtest/gtest.h>

#include "udp_witness/recipes.h"
#include "util/matchers.h"
#include "util/witness.h"

namespace sockrepair::test {

// A test with a witness, loaded once for all suites of the program, and a network.
class WitnessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(witness_network(), IsOk());
    static Result<Witness> loaded = Witness::load();
    ASSERT_TRUE(loaded.ok()) << loaded.error().describe();
    witness_ = &*loaded;
  }

  // What of the socket can be seen; nothing at all, and a failed test, if it cannot.
  static Sighting look(const Fd& fd) {
    Result<Sighting> seen = witness_->look(fd.get());
    if (seen) return *seen;
    ADD_FAILURE() << seen.error().describe();
    return {};
  }

  static inline Witness* witness_ = nullptr;
};

class WitnessPeerTest : public WitnessTest, public ::testing::WithParamInterface<Peer> {};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_WITNESS_WITNESS_TEST_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_MIGRATION_CAPTURE_H_
#define SOCKREPAIR_TESTS_MIGRATION_CAPTURE_H_

#include <memory>
#include <vector>

#include "migration/rules.h"
#include "migration/segment.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/deadline.h"
#include "util/net_ns.h"

namespace sockrepair::test {

// Shows a judge all segments of one connection that pass some interfaces, in and out, while they
// do.
//
//   ASSERT_OK_AND_ASSIGN(auto capture, TcpCapture::start(ns, {"eth0", "eth1"}, flow));
//   ...
//   ASSERT_OK_AND_ASSIGN(Judge judge, capture->stop());
//   EXPECT_THAT(judge.end({.handovers = 50}), IsEmpty());
class TcpCapture {
 public:
  static Result<std::unique_ptr<TcpCapture>> start(const NetNs& ns,
                                                   const std::vector<std::string>& interfaces,
                                                   const Flow& flow);
  TcpCapture(const TcpCapture&) = delete;
  TcpCapture& operator=(const TcpCapture&) = delete;

  // The judge, who has seen everything that has passed until now. ENOBUFS: not everything, the
  // capture has lost frames.
  Result<Judge> stop();

 private:
  TcpCapture(Fd fd, const Flow& flow) : fd_(std::move(fd)), flow_(flow) {}
  Result<void> run(const std::atomic<bool>& stop);
  Result<bool> read_one();

  Fd fd_;
  Flow flow_;
  Judge judge_;
  Result<void> result_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_MIGRATION_CAPTURE_H_

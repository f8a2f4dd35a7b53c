// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Many sockets in one call: what comes out is what comes out one by one, by io_uring and without;
// and who fails, fails alone or with all others, as was asked for.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstddef>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "batch/scene.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class BatchTest : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (GetParam().io_uring && !has_io_uring())
      GTEST_SKIP() << "this kernel has no io_uring that sets options of sockets";
    Result<Scene> scene = Scene::create();
    ASSERT_THAT(scene, IsOk());
    scene_.emplace(*std::move(scene));
  }

  DumpBatchOptions dump_options() const {
    DumpBatchOptions options;
    options.io_uring = GetParam().io_uring;
    options.tcp.leave_in_repair = true;
    return options;
  }
  RestoreBatchOptions restore_options(OnFailure on_failure = OnFailure::kKeepRest) const {
    RestoreBatchOptions options;
    options.io_uring = GetParam().io_uring;
    options.on_failure = on_failure;
    return options;
  }

  // What the sink got.
  struct Got {
    std::vector<std::size_t> made;
    std::vector<std::pair<std::size_t, Error>> failed;
  };
  Result<BatchReport> restore(const std::vector<AnySocket>& values,
                              const RestoreBatchOptions& options, Got& got) {
    return scene_->ns().run([&] {
      return restore_sockets(values, options, [&](std::size_t index, auto made) -> Result<void> {
        if (made) {
          got.made.push_back(index);
          scene_->ours()[index] = std::move(made->fd);
        } else {
          got.failed.emplace_back(index, made.error());
        }
        return {};
      });
    });
  }

  std::optional<Scene> scene_;
};

// --- the same as one by one ---

TEST_P(BatchTest, DumpsTheSameValues) {
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> want, scene_->dump(kOneByOne, false));
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> got, scene_->dump(GetParam(), false));
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_EQ(difference(got[i], want[i]), "") << scene_->name(i);
  EXPECT_THAT(scene_->check_alive(), IsOk());
}

TEST_P(BatchTest, RestoresTheSameSockets) {
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> values, scene_->dump(kOneByOne));
  scene_->close();
  ASSERT_THAT(scene_->restore(kOneByOne, values), IsOk());
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> want, scene_->dump(kOneByOne));
  scene_->close();
  ASSERT_THAT(scene_->restore(GetParam(), values), IsOk());
  ASSERT_OK_AND_ASSIGN(const std::vector<AnySocket> got, scene_->dump(kOneByOne, false));
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_EQ(difference(got[i], want[i]), "") << scene_->name(i);
  EXPECT_THAT(scene_->check_alive(), IsOk());
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(All, BatchTest, ::testing::ValuesIn(kWays), ParamName());

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_PARAM_NAME_H_
#define SOCKREPAIR_TESTS_UTIL_PARAM_NAME_H_

#include <gtest/gtest.h>

#include <string>

namespace sockrepair::test {

// Names the cases of a matrix by the `name` of their value: Suite.Test/v4_connected, never /7.
//
//   struct Kind {
//     std::string name;  // [A-Za-z0-9_]
//     ...
//   };
//   INSTANTIATE_TEST_SUITE_P(All, SuiteTest, ::testing::ValuesIn(kinds), ParamName());
struct ParamName {
  template <typename T>
  std::string operator()(const ::testing::TestParamInfo<T>& param) const {
    return std::string(param.param.name);
  }
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_PARAM_NAME_H_

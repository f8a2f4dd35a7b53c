// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// The matrix: {kernel, stock} x {v4, v6, mapped} x {connected, unconnected} x shapes of the queue.

#include "udp_receive_queue/matrix_test.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

std::vector<Letter> many() {
  std::vector<Letter> letters;
  for (std::size_t i = 0; i < 100; ++i)
    letters.push_back({.bytes = 1 + i * 7,
                       .fill = static_cast<std::uint8_t>(i),
                       .hop_limit = static_cast<int>(1 + i),
                       .traffic_class = static_cast<int>(i * 2)});
  return letters;
}

std::vector<Shape> shapes() {
  std::vector<Letter> one{{.bytes = 100, .hop_limit = 3, .traffic_class = 0x2e}};
  std::vector<Letter> empties{{.bytes = 0},
                              {.bytes = 0},
                              {.bytes = 5},
                              {.bytes = 0},
                              {.bytes = 0, .hop_limit = 9},
                              {.bytes = 1},
                              {.bytes = 1, .fill = 'b'},
                              {.bytes = 0}};
  std::vector<Letter> only_empties{{.bytes = 0}, {.bytes = 0}, {.bytes = 0}};
  std::vector<Letter> duplicates(6, Letter{.bytes = 33});
  std::vector<Letter> sources{{.bytes = 10, .sender = 0}, {.bytes = 10, .sender = 1},
                              {.bytes = 10, .sender = 2}, {.bytes = 0, .sender = 1},
                              {.bytes = 10, .sender = 1}, {.bytes = 10, .sender = 0}};
  return {
      {"one", one, one},
      {"many", many(), many()},
      {"empties", empties, empties},
      {"only_empties", only_empties, only_empties},
      {"longest", {{.bytes = 65507}, {.bytes = 1}}, {{.bytes = 65527}, {.bytes = 1}}},
      {"duplicates", duplicates, duplicates},
      {"sources", sources, sources},
  };
}

std::vector<QueueKind> all_kinds() {
  std::vector<QueueKind> kinds;
  for (Method method : {Method::kKernel, Method::kStock})
    for (Speaks speaks : {Speaks::kIpv4, Speaks::kIpv6, Speaks::kMapped})
      for (bool connected : {true, false})
        for (const Shape& shape : shapes())
          kinds.push_back({std::string(method_name(method)) + "_" + speaks_name(speaks) +
                               (connected ? "_connected_" : "_unconnected_") + shape.name,
                           method, speaks, connected, shape});
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(All, ReceiveQueueMatrixTest, ::testing::ValuesIn(all_kinds()),
                         ParamName());

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// image_seeds DIRECTORY: writes the images that image_fuzz begins with, from the samples of
// image_test.

#include <stdio.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "image/raw_image.h"
#include "image/sample.h"

namespace {

using sockrepair::ImageEntry;

std::vector<std::pair<std::string, std::vector<ImageEntry>>> seeds() {
  std::vector<ImageEntry> full = sockrepair::test::full_sample();
  return {{"full", full},
          {"ipv4", {full[0], full[1]}},
          {"ipv6", {full[0], full[2]}},
          {"tcp", sockrepair::test::tcp_sample()},
          {"small", sockrepair::test::small_sample()},
          {"empty", {}}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: image_seeds DIRECTORY\n");
    return 2;
  }
  for (const auto& [name, entries] : seeds()) {
    std::ofstream out(std::string(argv[1]) + "/" + name, std::ios::binary);
    out << sockrepair::test::make_image(entries).value();
    if (!out.flush()) {
      fprintf(stderr, "image_seeds: cannot write %s/%s\n", argv[1], name.c_str());
      return 1;
    }
  }
  return 0;
}

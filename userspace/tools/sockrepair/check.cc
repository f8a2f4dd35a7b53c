// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// sockrepair check: what this kernel, and whoever runs this, can do.

#include <stdio.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstring>

#include "command.h"
#include "sockrepair/feature.h"

namespace sockrepair::tool {

namespace {

void print_text(const Feature& feature, const Result<void>& there, int width) {
  if (there) {
    printf("yes  %-*s  %s\n", width, feature.name, feature.what);
  } else {
    printf("no   %-*s  %s [%s]\n", width, feature.name, feature.cost,
           there.error().describe().c_str());
  }
}

std::string json_line(const Feature& feature, const Result<void>& there) {
  std::string line = "    {\"name\": " + json_string(feature.name) +
                     ", \"available\": " + (there ? "true" : "false") +
                     ", \"what\": " + json_string(feature.what) +
                     ", \"cost_of_absence\": " + json_string(feature.cost);
  if (!there) line += ", \"error\": " + json_string(there.error().describe());
  return line + "}";
}

}  // namespace

int run_check(const CheckCommand& command) {
  utsname system{};
  ::uname(&system);
  int width = 0;
  for (const Feature& feature : features())
    width = std::max(width, static_cast<int>(strlen(feature.name)));

  bool all = true;
  std::string lines;
  for (const Feature& feature : features()) {
    Result<void> there = feature.probe();
    all = all && there.ok();
    if (command.json)
      lines += (lines.empty() ? "" : ",\n") + json_line(feature, there);
    else
      print_text(feature, there, width);
  }
  if (command.json) {
    printf("{\n  \"kernel\": %s,\n  \"features\": [\n%s\n  ]\n}\n",
           json_string(system.release).c_str(), lines.c_str());
  }
  return printed(all ? kDone : kIncomplete);
}

}  // namespace sockrepair::tool

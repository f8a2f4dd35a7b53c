// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// sockrepair detached: TCP connections that no process has, and so no dump.

#include <stdio.h>

#include "command.h"
#include "sockrepair/tcp_detached.h"

namespace sockrepair::tool {

namespace {

std::string json_line(const DetachedConnection& connection) {
  std::string line = "    {\"kind\": " + json_string(detached_kind_name(connection.kind)) +
                     ", \"state\": " + std::to_string(connection.state) +
                     ", \"local\": " + json_string(connection.local.to_string()) +
                     ", \"peer\": " + json_string(connection.peer.to_string()) +
                     ", \"send_queue\": " + std::to_string(connection.send_queue) +
                     ", \"receive_queue\": " + std::to_string(connection.receive_queue);
  if (connection.timer) line += ", \"timer_ms\": " + std::to_string(connection.timer->count());
  return line + ", \"consequence\": " + json_string(connection.consequence()) + "}";
}

}  // namespace

int run_detached(const DetachedCommand& command) {
  Result<std::vector<DetachedConnection>> found = find_detached_connections();
  if (!found) return fail(found.error());
  std::string lines;
  for (const DetachedConnection& connection : *found) {
    if (command.json)
      lines += (lines.empty() ? "\n" : ",\n") + json_line(connection);
    else
      printf("%s\n", connection.describe().c_str());
  }
  if (command.json)
    printf("{\n  \"connections\": [%s%s]\n}\n", lines.c_str(), lines.empty() ? "" : "\n  ");
  return printed(kDone);
}

}  // namespace sockrepair::tool

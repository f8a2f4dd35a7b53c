// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_FEATURE_H_
#define SOCKREPAIR_FEATURE_H_

#include <span>
#include <string>

#include "sockrepair/export.h"
#include "sockrepair/result.h"

// What the running kernel, and the rights of the calling thread, allow; what `sockrepair check`
// prints.
//
//   for (const Feature& feature : features()) {
//     Result<void> there = feature.probe();
//     if (!there) printf("no %s: %s\n", feature.name, feature.cost);
//   }
namespace SOCKREPAIR_EXPORT sockrepair {

// One row of the table.
struct Feature {
  // As a person or a script refers to it: "udp-receive-queue". Does not change.
  const char* name;
  // What it is, and since when.
  const char* what;
  // What its absence costs.
  const char* cost;
  // Success: it is there and permitted. The error says what was tried; ENOPROTOOPT, ENOSYS and
  // ENOENT of something missing, EPERM of a right that is missing. Changes nothing that outlasts
  // the call. Looks at the network namespace of the calling thread.
  Result<void> (*probe)();
};

std::span<const Feature> features();

}  // namespace sockrepair

#endif  // SOCKREPAIR_FEATURE_H_

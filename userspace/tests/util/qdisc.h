// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_QDISC_H_
#define SOCKREPAIR_TESTS_UTIL_QDISC_H_

#include <string>

#include "sockrepair/result.h"
#include "util/net_ns.h"

namespace sockrepair::test {

// Makes `kind` ("fq", "pfifo", ...) with its default parameters the root queueing discipline of an
// interface, like `tc qdisc replace dev INTERFACE root KIND`. A veth has none, and with none nobody
// looks at the transmit time of a packet; fq does.
Result<void> set_root_qdisc(const NetNs& ns, const std::string& interface, const std::string& kind);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_QDISC_H_

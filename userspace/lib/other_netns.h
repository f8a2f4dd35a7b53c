// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_OTHER_NETNS_H_
#define SOCKREPAIR_LIB_OTHER_NETNS_H_

#include <functional>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

namespace sockrepair::internal {

// The network namespace of the socket `fd`; empty if it is the one that the calling thread is in.
// EPERM: takes CAP_NET_ADMIN in the namespace (SIOCGSKNS).
Result<Fd> other_netns_of(int fd);

// Runs `function` in the network namespace of the socket `fd`: right here when the calling thread
// is in it, else in a thread made for it, so that no thread of the caller ever changes its
// namespace. The function opens what it needs, through /proc/thread-self for files, and closes it.
//
// EPERM: entering takes CAP_NET_ADMIN in the namespace (SIOCGSKNS), and CAP_SYS_ADMIN.
Result<void> run_in_netns_of(int fd, const std::function<Result<void>()>& function);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_OTHER_NETNS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_LOCK_RULES_H_
#define SOCKREPAIR_LIB_LOCK_RULES_H_

#include <span>
#include <string>

#include "sockrepair/connection_lock.h"
#include "sockrepair/result.h"

// What nft(8) is told to keep segments of connections from their sockets:
//
//   peer -> [ input, the last of all chains ] -> socket -> [ output, the first of all ] -> peer
//
// There, and nowhere else, a segment has the addresses that its socket knows: address translation
// takes place before the one and after the other. What the host forwards for others, with the same
// addresses by chance, passes neither. Connection tracking is not asked: it need not be there, and
// does not see what a locked socket tries to send.
namespace sockrepair::internal {

// Makes the table, with nothing in its sets. It ends with the netlink socket that this is sent by.
std::string lock_table_commands(const std::string& table);

// Puts connections into the sets; each may be in there already. EINVAL as ConnectionLock::add().
Result<std::string> lock_element_commands(const std::string& table,
                                          std::span<const FourTuple> connections);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_LOCK_RULES_H_

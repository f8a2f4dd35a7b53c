// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_RECEIVE_QUEUE_TEXT_H_
#define SOCKREPAIR_LIB_RECEIVE_QUEUE_TEXT_H_

#include <span>

#include "describe.h"
#include "sockrepair/udp_receive_queue.h"

namespace sockrepair::internal {

// All members of ReceivedDatagram.
std::span<const DescribedMember<ReceivedDatagram>> datagram_members();

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_RECEIVE_QUEUE_TEXT_H_

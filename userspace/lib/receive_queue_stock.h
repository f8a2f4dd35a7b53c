// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_RECEIVE_QUEUE_STOCK_H_
#define SOCKREPAIR_LIB_RECEIVE_QUEUE_STOCK_H_

#include "sockrepair/udp_receive_queue.h"

// Method::kStock: the receive queue with what every kernel has.
namespace sockrepair::internal {

// By peeking. Precondition: a UDP socket.
Result<ReceiveQueueDump> dump_by_peeking(int fd);

// By packets over the loopback device. Precondition: check_receive_queue() found nothing.
Result<ReceiveQueueReport> restore_by_packets(int fd, int domain, const ReceiveQueue& queue);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_RECEIVE_QUEUE_STOCK_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_UDP_REPAIR_UAPI_H_
#define SOCKREPAIR_LIB_UDP_REPAIR_UAPI_H_

// The kernel's header of the repair options, and the option numbers that it has in linux/udp.h:
// the copy of that header which a build host has does not know them.

#include <linux/udp_repair.h>

#ifndef UDP_REPAIR
#define UDP_REPAIR 105
#endif
#ifndef UDP_REPAIR_SEND_QUEUE
#define UDP_REPAIR_SEND_QUEUE 106
#endif

#endif  // SOCKREPAIR_LIB_UDP_REPAIR_UAPI_H_

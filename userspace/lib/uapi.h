// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_UAPI_H_
#define SOCKREPAIR_LIB_UAPI_H_

// Kernel constants that the headers of a build host may lack, and the kernel's own header of the
// repair options (userspace/uapi).

#include <linux/tcp_repair.h>
#include <linux/udp_repair.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

// linux/udp.h
#ifndef UDP_REPAIR
#define UDP_REPAIR 105
#endif
#ifndef UDP_REPAIR_SEND_QUEUE
#define UDP_REPAIR_SEND_QUEUE 106
#endif
#ifndef UDP_REPAIR_RECV_QUEUE
#define UDP_REPAIR_RECV_QUEUE 107
#endif

// linux/tcp.h, which does not get along with netinet/tcp.h
#ifndef SOL_TCP
#define SOL_TCP 6
#endif
#ifndef TCP_AO_ADD_KEY
#define TCP_AO_ADD_KEY 38
#define TCP_AO_DEL_KEY 39
#define TCP_AO_INFO 40
#define TCP_AO_GET_KEYS 41
#define TCP_AO_REPAIR 42
#endif
#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP 43
#endif
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif
#ifndef TCP_RTO_MIN_US
#define TCP_RTO_MIN_US 45
#endif
#ifndef TCP_DELACK_MAX_US
#define TCP_DELACK_MAX_US 46
#endif
#ifndef TCP_REPAIR_CB
#define TCP_REPAIR_CB 47
#endif

// linux/udplite.h
#ifndef UDPLITE_SEND_CSCOV
#define UDPLITE_SEND_CSCOV 10
#endif
#ifndef UDPLITE_RECV_CSCOV
#define UDPLITE_RECV_CSCOV 11
#endif

// linux/in6.h, which does not get along with netinet/in.h
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif
#ifndef IPV6_ROUTER_ALERT_ISOLATE
#define IPV6_ROUTER_ALERT_ISOLATE 30
#endif
#ifndef IPV6_RECVERR_RFC4884
#define IPV6_RECVERR_RFC4884 31
#endif
#ifndef IPV6_FLOWINFO
#define IPV6_FLOWINFO 11
#endif
#ifndef IPV6_FLOWLABEL_MGR
#define IPV6_FLOWLABEL_MGR 32
#endif
#ifndef IPV6_FLOWINFO_SEND
#define IPV6_FLOWINFO_SEND 33
#endif
#ifndef IPV6_UNICAST_IF
#define IPV6_UNICAST_IF 76
#endif

// linux/in.h, likewise
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

// asm-generic/socket.h
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif
#ifndef SO_DEVMEM_DONTNEED
#define SO_DEVMEM_DONTNEED 80
#endif
#ifndef SO_TXREHASH
#define SO_TXREHASH 74
#endif
#ifndef SO_RCVPRIORITY
#define SO_RCVPRIORITY 82
#endif
#ifndef SCM_TS_OPT_ID
#define SCM_TS_OPT_ID 81
#endif

// The kernel's include/linux/socket.h: go through a send, but send nothing. glibc has another name.
#ifndef MSG_PROBE
#define MSG_PROBE 0x10
#endif

#endif  // SOCKREPAIR_LIB_UAPI_H_

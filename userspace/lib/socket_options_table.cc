// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT

// The table: values only, no logic.

#include <linux/tcp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "sockrepair/socket_options.h"
#include "uapi.h"

namespace sockrepair {

namespace {

using enum OptionType;
using enum OptionReading;
using enum OptionMoment;

constexpr const char* kAdmin = "CAP_NET_ADMIN";
constexpr const char* kAdminOrRaw = "CAP_NET_ADMIN or CAP_NET_RAW";
constexpr const char* kRaw = "CAP_NET_RAW";
constexpr const char* kDevice = "the interface";
constexpr const char* kNothing = "";
constexpr const char* kOld = "";

constexpr bool kBoth = false;
constexpr bool kIpv6Only = true;

// clang-format off
#define OPTION(level, name) level, name, #name

constexpr SocketOption kRows[] = {
    // Who else may use the address.
    {OPTION(IPPROTO_IPV6, IPV6_V6ONLY), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     "refused on a bound socket; binding to an IPv6 address that is not the wildcard switches it on"},
    {OPTION(SOL_SOCKET, SO_REUSEADDR), kNumber, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_SOCKET, SO_REUSEPORT), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld,
     "sockets of a group are numbered in the order in which they are bound"},
    {OPTION(SOL_SOCKET, SO_INCOMING_CPU), kNumber, kExact, kBeforeBind, kBoth, kNothing, kOld,
     "the kernel changes it with every datagram that arrives"},

    // Addresses that may be bound.
    {OPTION(IPPROTO_IP, IP_FREEBIND), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_FREEBIND), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, "4.15",
     "the same bit as IP_FREEBIND"},
    {OPTION(IPPROTO_IP, IP_TRANSPARENT), kFlag, kExact, kBeforeBind, kBoth, kAdminOrRaw, kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_TRANSPARENT), kFlag, kExact, kBeforeBind, kIpv6Only, kAdminOrRaw,
     kOld, "the same bit as IP_TRANSPARENT"},
    {OPTION(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IP, IP_LOCAL_PORT_RANGE), kHex, kExact, kBeforeBind, kBoth, kNothing, "6.3",
     "low port in the low half, high port in the high half"},

    // Interfaces. The one that the socket is bound to last: those before it are refused when they
    // differ from it, and some of them whatever they are.
    {OPTION(IPPROTO_IP, IP_UNICAST_IF), kInterfaceNet, kExact, kBeforeBind, kBoth, kDevice, kOld,
     "ahead of SO_BINDTOIFINDEX, under which it may be refused"},
    {OPTION(IPPROTO_IPV6, IPV6_UNICAST_IF), kInterfaceNet, kExact, kBeforeBind, kIpv6Only, kDevice,
     kOld, "ahead of SO_BINDTOIFINDEX, under which it is refused"},
    {OPTION(IPPROTO_IP, IP_MULTICAST_IF), kAddress, kPartial, kBeforeBind, kBoth,
     "the address on an interface of this host", kOld,
     "given as an interface index it cannot be read; a loss where the socket uses multicast",
     kNever},
    {OPTION(IPPROTO_IPV6, IPV6_MULTICAST_IF), kInterface, kExact, kBeforeBind, kIpv6Only, kDevice,
     kOld, "", kNever},
    {OPTION(SOL_SOCKET, SO_BINDTOIFINDEX), kInterface, kExact, kBeforeBind, kBoth, kDevice, "5.1",
     "also what SO_BINDTODEVICE and link-local addresses bind to"},

    // Buffers. Their sizes set the bits of SO_BUF_LOCK.
    {OPTION(SOL_SOCKET, SO_RCVBUF), kBuffer, kExact, kBeforeBind, kBoth,
     "CAP_NET_ADMIN above net.core.rmem_max; must be even", kOld, "the kernel doubles what is set"},
    {OPTION(SOL_SOCKET, SO_SNDBUF), kBuffer, kExact, kBeforeBind, kBoth,
     "CAP_NET_ADMIN above net.core.wmem_max; must be even", kOld, "the kernel doubles what is set"},
    {OPTION(SOL_SOCKET, SO_BUF_LOCK), kHex, kExact, kBeforeBind, kBoth, kNothing, "5.15",
     "after SO_RCVBUF and SO_SNDBUF"},
    {OPTION(SOL_SOCKET, SO_RESERVE_MEM), kNumber, kExact, kBeforeBind, kBoth,
     "a memory cgroup, and a kernel that reserves for UDP (before 7.0)", "5.17", ""},
    {OPTION(SOL_SOCKET, SO_RCVLOWAT), kNumber, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_SOCKET, SO_RXQ_OVFL), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},

    // How it sends.
    {OPTION(IPPROTO_IP, IP_TOS), kTrafficClass, kExact, kBeforeBind, kBoth, kNothing, kOld,
     "ahead of SO_PRIORITY, which it changes"},
    {OPTION(SOL_SOCKET, SO_PRIORITY), kNumber, kExact, kBeforeBind, kBoth,
     "0 to 6, or CAP_NET_ADMIN or CAP_NET_RAW", kOld, "after IP_TOS"},
    {OPTION(IPPROTO_IPV6, IPV6_TCLASS), kTrafficClass, kExact, kBeforeBind, kIpv6Only, kNothing,
     kOld, ""},
    {OPTION(SOL_SOCKET, SO_MARK), kHex, kExact, kBeforeBind, kBoth, kAdminOrRaw, kOld, ""},
    {OPTION(IPPROTO_IP, IP_TTL), kNumber, kEffective, kBeforeBind, kBoth, kNothing, kOld,
     "unset reads as net.ipv4.ip_default_ttl"},
    {OPTION(IPPROTO_IPV6, IPV6_UNICAST_HOPS), kNumber, kEffective, kBeforeBind, kIpv6Only, kNothing,
     kOld, "unset reads as the hop limit of the route or of net.ipv6.conf.all"},
    {OPTION(IPPROTO_IP, IP_MULTICAST_TTL), kNumber, kExact, kBeforeBind, kBoth, kNothing, kOld, "",
     kNever},
    {OPTION(IPPROTO_IPV6, IPV6_MULTICAST_HOPS), kNumber, kEffective, kBeforeBind, kIpv6Only,
     kNothing, kOld, "", kNever},
    {OPTION(IPPROTO_IP, IP_MULTICAST_LOOP), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_MULTICAST_LOOP), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing,
     kOld, ""},
    {OPTION(IPPROTO_IP, IP_MTU_DISCOVER), kNumber, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_MTU_DISCOVER), kNumber, kExact, kBeforeBind, kIpv6Only, kNothing,
     kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_DONTFRAG), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_AUTOFLOWLABEL), kFlag, kEffective, kBeforeBind, kIpv6Only, kNothing,
     kOld, "unset reads as what net.ipv6.auto_flowlabels makes of it"},
    {OPTION(IPPROTO_IPV6, IPV6_FLOWINFO_SEND), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing,
     kOld, "ahead of connect(2), which takes the flow label only with it"},
    {OPTION(IPPROTO_IPV6, IPV6_ADDR_PREFERENCES), kHex, kExact, kBeforeBind, kIpv6Only, kNothing,
     kOld, "ahead of connect(2), which chooses the source address"},
    {OPTION(IPPROTO_IP, IP_OPTIONS), kHeader, kExact, kBeforeBind, kBoth,
     "CAP_NET_RAW for some of them", kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_HOPOPTS), kHeader, kExact, kBeforeBind, kIpv6Only, kRaw, kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_RTHDRDSTOPTS), kHeader, kExact, kBeforeBind, kIpv6Only, kRaw, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_RTHDR), kHeader, kExact, kBeforeBind, kIpv6Only,
     "a routing header of type 2 or 4", kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_DSTOPTS), kHeader, kExact, kBeforeBind, kIpv6Only, kRaw, kOld, ""},
    {OPTION(SOL_SOCKET, SO_BROADCAST), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld,
     "ahead of connect(2) to a broadcast address"},
    {OPTION(SOL_SOCKET, SO_DONTROUTE), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_SOCKET, SO_NO_CHECK), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_UDP, UDP_NO_CHECK6_TX), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, "",
     kNever},
    {OPTION(SOL_UDP, UDP_NO_CHECK6_RX), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, "",
     kNever},
    {OPTION(SOL_UDP, UDP_SEGMENT), kNumber, kExact, kBeforeBind, kBoth, kNothing, "4.18", "",
     kNever},
    {OPTION(SOL_UDP, UDP_CORK), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld,
     "set to 0 it sends the datagram under construction", kNever},
    {OPTION(SOL_SOCKET, SO_MAX_PACING_RATE), kRate, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_SOCKET, SO_TXTIME), kTransmitTime, kExact, kBeforeBind, kBoth,
     "CAP_NET_ADMIN for clocks other than CLOCK_MONOTONIC", "4.19",
     "on with CLOCK_REALTIME and no flags reads as if off: asked by a send that is refused, unless "
     "the socket is unbound or has a datagram under construction", kNever},
    {OPTION(SOL_SOCKET, SO_ZEROCOPY), kFlag, kExact, kBeforeBind, kBoth, kNothing, "5.0", ""},
    {OPTION(SOL_SOCKET, SO_WIFI_STATUS), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_SOCKET, SO_NOFCS), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},

    // What it tells about what it receives.
    {OPTION(IPPROTO_IP, IP_PKTINFO), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_RECVTTL), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_RECVTOS), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_RECVOPTS), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_RETOPTS), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_PASSSEC), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_RECVORIGDSTADDR), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_CHECKSUM), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_RECVFRAGSIZE), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_RECVERR), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_RECVERR_RFC4884), kFlag, kExact, kBeforeBind, kBoth, kNothing, "5.9", ""},
    {OPTION(IPPROTO_IP, IP_MINTTL), kNumber, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IP, IP_MULTICAST_ALL), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVPKTINFO), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_2292PKTINFO), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVHOPLIMIT), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_2292HOPLIMIT), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVRTHDR), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_2292RTHDR), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVHOPOPTS), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_2292HOPOPTS), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVDSTOPTS), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_2292DSTOPTS), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVTCLASS), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_FLOWINFO), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVPATHMTU), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVORIGDSTADDR), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing,
     kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVFRAGSIZE), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld,
     ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVERR), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing, kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_RECVERR_RFC4884), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing,
     "5.9", ""},
    {OPTION(IPPROTO_IPV6, IPV6_MINHOPCOUNT), kNumber, kExact, kBeforeBind, kIpv6Only, kNothing,
     kOld, ""},
    {OPTION(IPPROTO_IPV6, IPV6_MULTICAST_ALL), kFlag, kExact, kBeforeBind, kIpv6Only, kNothing,
     "4.20", ""},
    {OPTION(IPPROTO_IPV6, IPV6_ROUTER_ALERT_ISOLATE), kFlag, kExact, kBeforeBind, kIpv6Only,
     kNothing, "5.1", ""},
    {OPTION(SOL_UDP, UDP_GRO), kFlag, kExact, kBeforeBind, kBoth, kNothing, "5.0", "", kNever},
    {OPTION(SOL_SOCKET, SO_RCVMARK), kFlag, kExact, kBeforeBind, kBoth, kNothing, "5.19", ""},
    {OPTION(SOL_SOCKET, SO_RCVPRIORITY), kFlag, kExact, kBeforeBind, kBoth, kNothing, "6.14", ""},
    {OPTION(SOL_SOCKET, SO_SELECT_ERR_QUEUE), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld,
     ""},

    // How it waits.
    {OPTION(SOL_SOCKET, SO_RCVTIMEO_NEW), kTimeout, kExact, kBeforeBind, kBoth, kNothing, "5.1",
     "the value of SO_RCVTIMEO as well; in ticks of the kernel, rounded up"},
    {OPTION(SOL_SOCKET, SO_SNDTIMEO_NEW), kTimeout, kExact, kBeforeBind, kBoth, kNothing, "5.1",
     "the value of SO_SNDTIMEO as well; in ticks of the kernel, rounded up"},
    {OPTION(SOL_SOCKET, SO_BUSY_POLL), kNumber, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_SOCKET, SO_PREFER_BUSY_POLL), kFlag, kExact, kBeforeBind, kBoth, kAdmin, "5.11",
     ""},
    {OPTION(SOL_SOCKET, SO_LINGER), kLinger, kExact, kBeforeBind, kBoth, kNothing, kOld,
     "a time stays when it is switched off"},
    {OPTION(SOL_SOCKET, SO_KEEPALIVE), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_SOCKET, SO_OOBINLINE), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_SOCKET, SO_DEBUG), kFlag, kExact, kBeforeBind, kBoth, kAdmin, kOld, ""},

    // TCP: how it connects and is connected to.
    {OPTION(SOL_TCP, TCP_MAXSEG), kSegmentSize, kPartial, kNever, kBoth, "88 to 32767", kOld,
     "not told of a connection, which has it in TcpConnection::mss_clamp and forgets it when it "
     "disconnects; nor if it is what the last connection of the socket sent with, at first 536"},
    {OPTION(SOL_TCP, TCP_SYNCNT), kNumber, kEffective, kNever, kBoth, kNothing, kOld,
     "unset reads as net.ipv4.tcp_syn_retries"},
    {OPTION(SOL_TCP, TCP_DEFER_ACCEPT), kNumber, kExact, kNever, kBoth, kNothing, kOld,
     "in seconds, rounded to retransmissions of a SYN-ACK"},
    {OPTION(SOL_TCP, TCP_SAVE_SYN), kNumber, kExact, kNever, kBoth, kNothing, kOld,
     "what it has saved of a connection is a loss"},
    {OPTION(SOL_TCP, TCP_FASTOPEN), kNumber, kExact, kNever, kBoth, kNothing, kOld,
     "the length of a listener's queue"},
    {OPTION(SOL_TCP, TCP_FASTOPEN_NO_COOKIE), kFlag, kExact, kNever, kBoth, kNothing, "4.15", ""},

    // TCP: how it sends.
    {OPTION(SOL_TCP, TCP_CONGESTION), kName, kExact, kNever, kBoth,
     "the algorithm in the kernel, in net.ipv4.tcp_allowed_congestion_control or CAP_NET_ADMIN",
     kOld, "what the algorithm remembers begins anew; its parameters are the host's"},
    {OPTION(SOL_TCP, TCP_NODELAY), kFlag, kExact, kNever, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_TCP, TCP_CORK), kFlag, kExact, kNever, kBoth, kNothing, kOld,
     "set to 0 it sends what was held back"},
    {OPTION(SOL_TCP, TCP_NOTSENT_LOWAT), kNumber, kExact, kNever, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_TCP, TCP_TX_DELAY), kNumber, kExact, kNever, kBoth, kNothing, "5.3", ""},
    {OPTION(SOL_TCP, TCP_THIN_LINEAR_TIMEOUTS), kFlag, kExact, kNever, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_TCP, TCP_USER_TIMEOUT), kNumber, kExact, kNever, kBoth, kNothing, kOld, ""},
    {OPTION(SOL_TCP, TCP_RTO_MAX_MS), kNumber, kEffective, kNever, kBoth, "1000 to 120000", "6.15",
     "unset reads as net.ipv4.tcp_rto_max_ms"},
    {OPTION(SOL_TCP, TCP_RTO_MIN_US), kNumber, kEffective, kNever, kBoth, "up to 200000", "6.15",
     "unset reads as net.ipv4.tcp_rto_min_us; in ticks of the kernel"},
    {OPTION(SOL_TCP, TCP_DELACK_MAX_US), kNumber, kExact, kNever, kBoth, "up to 200000", "6.15",
     "in ticks of the kernel"},
    {OPTION(SOL_TCP, TCP_KEEPIDLE), kNumber, kEffective, kNever, kBoth, kNothing, kOld,
     "unset reads as net.ipv4.tcp_keepalive_time; in seconds"},
    {OPTION(SOL_TCP, TCP_KEEPINTVL), kNumber, kEffective, kNever, kBoth, kNothing, kOld,
     "unset reads as net.ipv4.tcp_keepalive_intvl; in seconds"},
    {OPTION(SOL_TCP, TCP_KEEPCNT), kNumber, kEffective, kNever, kBoth, kNothing, kOld,
     "unset reads as net.ipv4.tcp_keepalive_probes"},
    {OPTION(SOL_TCP, TCP_LINGER2), kNumber, kEffective, kNever, kBoth, kNothing, kOld,
     "unset reads as net.ipv4.tcp_fin_timeout; in seconds, -1: none"},
    {OPTION(SOL_SOCKET, SO_TXREHASH), kNumber, kEffective, kNever, kBoth, kNothing, "5.18",
     "unset reads as 255, which cannot be set"},
    {OPTION(SOL_TCP, TCP_INQ), kFlag, kExact, kNever, kBoth, kNothing, "4.18", ""},

    // TCP: refused on a connection, and of no use to one.
    {OPTION(SOL_TCP, TCP_FASTOPEN_CONNECT), kFlag, kExact, kNever, kBoth,
     "bit 0 of net.ipv4.tcp_fastopen", "4.11", "", kUnconnected},

    // Time stamps. One bit of the socket says whether the newest of these calls was a _NEW one.
    {OPTION(SOL_SOCKET, SO_TIMESTAMPING_OLD), kTimestamping, kPartial, kBeforeBind, kBoth,
     "for SOF_TIMESTAMPING_BIND_PHC the clock, on the interface that the socket is bound to", kOld,
     "after SO_BINDTOIFINDEX; the counter of SOF_TIMESTAMPING_OPT_ID starts again at 0, a loss",
     kConnected},
    {OPTION(SOL_SOCKET, SO_TIMESTAMPING_NEW), kTimestamping, kPartial, kBeforeBind, kBoth,
     "for SOF_TIMESTAMPING_BIND_PHC the clock, on the interface that the socket is bound to", "5.1",
     "after SO_TIMESTAMPING_OLD, whose flags it shares", kConnected},
    {OPTION(SOL_SOCKET, SO_TIMESTAMP_OLD), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld,
     "after SO_TIMESTAMPING_*; at most one of the four SO_TIMESTAMP* is on", kConnected},
    {OPTION(SOL_SOCKET, SO_TIMESTAMPNS_OLD), kFlag, kExact, kBeforeBind, kBoth, kNothing, kOld, "",
     kConnected},
    {OPTION(SOL_SOCKET, SO_TIMESTAMP_NEW), kFlag, kExact, kBeforeBind, kBoth, kNothing, "5.1", "",
     kConnected},
    {OPTION(SOL_SOCKET, SO_TIMESTAMPNS_NEW), kFlag, kExact, kBeforeBind, kBoth, kNothing, "5.1",
     "", kConnected},

    // TCP: what connect(2) and the options of the SYNs change.
    {OPTION(SOL_TCP, TCP_WINDOW_CLAMP), kNumber, kEffective, kNever, kBoth, kNothing, kOld,
     "unset reads as what the connection began with", kConnected},
    {OPTION(SOL_TCP, TCP_QUICKACK), kFlag, kEffective, kNever, kBoth, kNothing, kOld,
     "changes by itself", kConnected},

    // What keeps datagrams from the queue, or hides them.
    {OPTION(SOL_UDP, UDP_ENCAP), kNumber, kExact, kAfterQueues, kBoth,
     "0, UDP_ENCAP_ESPINUDP or UDP_ENCAP_L2TPINUDP: others belong to the kernel", kOld, "", kNever},
    {OPTION(SOL_SOCKET, SO_ATTACH_FILTER), kFilter, kPartial, kAfterQueues, kBoth, kNothing, kOld,
     "an eBPF program (SO_ATTACH_BPF) cannot be read, a loss; read with SO_GET_FILTER",
     kAfterQueues},
    {OPTION(SOL_SOCKET, SO_LOCK_FILTER), kFlag, kExact, kAfterQueues, kBoth, kNothing, kOld,
     "after SO_ATTACH_FILTER, which it forbids", kAfterQueues},
    {OPTION(SOL_SOCKET, SO_PEEK_OFF), kNumber, kExact, kAfterQueues, kBoth, kNothing, kOld, "",
     kAfterQueues},

    // What no call reads.
    {OPTION(SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF), kProgram, kHidden, kBeforeBind, kBoth, kNothing,
     kOld, "belongs to the group, as SO_ATTACH_REUSEPORT_CBPF; a loss with SO_REUSEPORT"},
    {OPTION(SOL_SOCKET, SO_BUSY_POLL_BUDGET), kNumber, kHidden, kBeforeBind, kBoth, kAdmin, "5.11",
     "a loss with SO_PREFER_BUSY_POLL or SO_BUSY_POLL"},
    {OPTION(IPPROTO_IP, IP_XFRM_POLICY), kPolicy, kHidden, kBeforeBind, kBoth, kAdmin, kOld,
     "nothing shows that there is one"},
    {OPTION(IPPROTO_IPV6, IPV6_XFRM_POLICY), kPolicy, kHidden, kBeforeBind, kIpv6Only, kAdmin, kOld,
     "nothing shows that there is one"},
    {OPTION(IPPROTO_IPV6, IPV6_MTU), kNumber, kHidden, kBeforeBind, kIpv6Only, kNothing, kOld,
     "reads as the path MTU; nothing shows that it was set"},
    {OPTION(IPPROTO_IPV6, IPV6_PKTINFO), kPacketInfo, kHidden, kBeforeBind, kIpv6Only, kNothing,
     kOld, "nothing shows that it was set"},
    {OPTION(SOL_TCP, TCP_FASTOPEN_KEY), kHeader, kHidden, kNever, kBoth, kNothing, kOld,
     "reads as the key of the host where the listener has none; a loss with TCP_FASTOPEN: peers get "
     "new cookies"},
};

constexpr UncarriedOption kUncarried[] = {
    {OPTION(SOL_SOCKET, SO_BINDTODEVICE), "the same as SO_BINDTOIFINDEX"},
    {OPTION(SOL_SOCKET, SO_RCVBUFFORCE), "how SO_RCVBUF is set"},
    {OPTION(SOL_SOCKET, SO_SNDBUFFORCE), "how SO_SNDBUF is set"},
    {OPTION(SOL_SOCKET, SO_RCVTIMEO_OLD), "the same as SO_RCVTIMEO_NEW"},
    {OPTION(SOL_SOCKET, SO_SNDTIMEO_OLD), "the same as SO_SNDTIMEO_NEW"},
    {OPTION(SOL_SOCKET, SO_ATTACH_BPF), "the hidden half of SO_ATTACH_FILTER"},
    {OPTION(SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF), "the same as SO_ATTACH_REUSEPORT_EBPF"},
    {OPTION(SOL_SOCKET, SO_DETACH_FILTER), "an action"},
    {OPTION(SOL_SOCKET, SO_DETACH_REUSEPORT_BPF), "an action"},
    {OPTION(SOL_SOCKET, SO_CNX_ADVICE), "an action"},
    {OPTION(SOL_SOCKET, SO_DEVMEM_DONTNEED), "an action, TCP only"},
    {OPTION(SOL_SOCKET, SO_BSDCOMPAT), "does nothing"},
    {OPTION(SOL_SOCKET, SO_SNDLOWAT), "cannot be set"},
    {OPTION(SOL_SOCKET, SO_PASSCRED), "unix and netlink sockets only"},
    {OPTION(SOL_SOCKET, SO_PASSSEC), "unix and netlink sockets only"},
    {OPTION(SOL_SOCKET, SO_ERROR), "UdpSocket::pending_error"},
    {OPTION(IPPROTO_IP, IP_HDRINCL), "raw sockets only"},
    {OPTION(IPPROTO_IP, IP_NODEFRAG), "raw sockets only"},
    {OPTION(IPPROTO_IP, IP_ROUTER_ALERT), "raw sockets only"},
    {OPTION(IPPROTO_IP, IP_MTU), "of the route, cannot be set"},
    {OPTION(IPPROTO_IP, IP_PKTOPTIONS), "of TCP, cannot be set"},
    {OPTION(IPPROTO_IP, IP_IPSEC_POLICY), "the same as IP_XFRM_POLICY"},
    {OPTION(IPPROTO_IP, IP_ADD_MEMBERSHIP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, IP_DROP_MEMBERSHIP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, IP_BLOCK_SOURCE), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, IP_UNBLOCK_SOURCE), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, IP_MSFILTER), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, MCAST_JOIN_GROUP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, MCAST_BLOCK_SOURCE), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, MCAST_UNBLOCK_SOURCE), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, MCAST_LEAVE_GROUP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IP, MCAST_MSFILTER), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IPV6, IPV6_ADDRFORM), "makes an AF_INET socket, which it is dumped as"},
    {OPTION(IPPROTO_IPV6, IPV6_2292PKTOPTIONS), "the same as the single headers"},
    {OPTION(IPPROTO_IPV6, IPV6_CHECKSUM), "raw sockets only"},
    {OPTION(IPPROTO_IPV6, IPV6_HDRINCL), "raw sockets only"},
    {OPTION(IPPROTO_IPV6, IPV6_ROUTER_ALERT), "raw sockets only"},
    {OPTION(IPPROTO_IPV6, IPV6_PATHMTU), "of the route, cannot be set"},
    {OPTION(IPPROTO_IPV6, IPV6_IPSEC_POLICY), "the same as IPV6_XFRM_POLICY"},
    {OPTION(IPPROTO_IPV6, IPV6_JOIN_GROUP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IPV6, IPV6_LEAVE_GROUP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IPV6, IPV6_JOIN_ANYCAST), "cannot be read; a loss where the host has some"},
    {OPTION(IPPROTO_IPV6, IPV6_LEAVE_ANYCAST), "cannot be read; a loss where the host has some"},
    {OPTION(IPPROTO_IPV6, IPV6_FLOWLABEL_MGR),
     "a lease of a flow label; a loss if the socket is connected with one"},
    {OPTION(IPPROTO_IPV6, MCAST_JOIN_GROUP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IPV6, MCAST_BLOCK_SOURCE), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IPV6, MCAST_UNBLOCK_SOURCE), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IPV6, MCAST_LEAVE_GROUP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP), "UdpSocket::memberships"},
    {OPTION(IPPROTO_IPV6, MCAST_MSFILTER), "UdpSocket::memberships"},
    {OPTION(SOL_UDP, UDPLITE_SEND_CSCOV), "of UDP-Lite, on older kernels"},
    {OPTION(SOL_UDP, UDPLITE_RECV_CSCOV), "of UDP-Lite, on older kernels"},
    {OPTION(SOL_UDP, UDP_REPAIR_SEND_QUEUE), "UdpSocket::send_queue"},
    {OPTION(SOL_UDP, UDP_REPAIR_RECV_QUEUE), "UdpSocket::receive_queue"},
    {OPTION(SOL_UDP, UDP_REPAIR), "of who dumps and restores, not of the socket's program"},
    {OPTION(SOL_TCP, TCP_INFO), "cannot be set; what of it is state is in TcpSocket"},
    {OPTION(SOL_TCP, TCP_CC_INFO), "of the congestion control algorithm, cannot be set"},
    {OPTION(SOL_TCP, TCP_THIN_DUPACK), "does nothing"},
    {OPTION(SOL_TCP, TCP_SAVED_SYN), "reading takes it away; a loss where there may be one"},
    {OPTION(SOL_TCP, TCP_ZEROCOPY_RECEIVE), "an action"},
    {OPTION(SOL_TCP, TCP_IS_MPTCP), "cannot be set; MPTCP sockets are refused"},
    {OPTION(SOL_TCP, TCP_ULP), "of the upper layer; sockets that have one are refused"},
    {OPTION(SOL_TCP, TCP_MD5SIG), "keys cannot be read; sockets that have some are refused"},
    {OPTION(SOL_TCP, TCP_MD5SIG_EXT), "the same as TCP_MD5SIG"},
    {OPTION(SOL_TCP, TCP_AO_ADD_KEY), "TcpSocket::ao"},
    {OPTION(SOL_TCP, TCP_AO_DEL_KEY), "an action"},
    {OPTION(SOL_TCP, TCP_AO_INFO), "TcpSocket::ao"},
    {OPTION(SOL_TCP, TCP_AO_GET_KEYS), "TcpSocket::ao"},
    {OPTION(SOL_TCP, TCP_AO_REPAIR), "TcpSocket::ao"},
    {OPTION(SOL_TCP, TCP_QUEUE_SEQ), "TcpConnection"},
    {OPTION(SOL_TCP, TCP_REPAIR_OPTIONS), "TcpConnection"},
    {OPTION(SOL_TCP, TCP_TIMESTAMP), "TcpConnection"},
    {OPTION(SOL_TCP, TCP_REPAIR_WINDOW), "TcpConnection"},
    {OPTION(SOL_TCP, TCP_REPAIR_CB), "TcpConnection"},
    {OPTION(SOL_TCP, TCP_REPAIR), "of who dumps and restores, not of the socket's program"},
    {OPTION(SOL_TCP, TCP_REPAIR_QUEUE), "of who dumps and restores, not of the socket's program"},
};

#undef OPTION
// clang-format on

}  // namespace

std::span<const SocketOption> socket_options() {
  return kRows;
}

std::span<const UncarriedOption> uncarried_options() {
  return kUncarried;
}

}  // namespace sockrepair

// SPDX-License-Identifier: GPL-2.0
/*
 * UDP_REPAIR_RECV_QUEUE: what is read out of a receive queue, what is put into
 * one, what is refused, and that nobody notices.
 *
 * Most tests have two sockets. The first receives over loopback. What a dump
 * says of it is put into the second, and then both must show the same, to
 * recvmsg() with every control message there is, and to a dump:
 *
 *   raw or UDP sender -- lo --> first --dump--> entries --put--> second
 *                                 |                                |
 *                                 +--- recvmsg() ---- == ----------+
 *
 * A kernel without the options skips all tests. With SOCKREPAIR_REQUIRE in the
 * environment, from a runner that knows what the kernel must have, what cannot
 * be tested fails.
 */

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <linux/filter.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/net_tstamp.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <linux/udp_repair.h>

#include "kselftest_harness.h"

#ifndef SOL_UDP
#define SOL_UDP 17
#endif

#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif

#ifndef SO_RCVPRIORITY
#define SO_RCVPRIORITY 82
#endif

/* The layout is part of the ABI, the same for every architecture. */
#define MEMBER_AT(at, type, member) \
	static_assert(offsetof(struct type, member) == (at), #member)

MEMBER_AT(0, udp_repair_recv_queue, size);
MEMBER_AT(4, udp_repair_recv_queue, flags);
MEMBER_AT(8, udp_repair_recv_queue, entry_size);
MEMBER_AT(12, udp_repair_recv_queue, first);
MEMBER_AT(16, udp_repair_recv_queue, count);
MEMBER_AT(20, udp_repair_recv_queue, next);
MEMBER_AT(24, udp_repair_recv_queue, queued);
MEMBER_AT(28, udp_repair_recv_queue, next_len);
MEMBER_AT(32, udp_repair_recv_queue, reserved);
static_assert(sizeof(struct udp_repair_recv_queue) == 64, "size");
static_assert(UDP_REPAIR_RECV_QUEUE_SIZE_VER0 == 64, "first published size");

MEMBER_AT(0, udp_repair_datagram, size);
MEMBER_AT(4, udp_repair_datagram, total_len);
MEMBER_AT(8, udp_repair_datagram, flags);
MEMBER_AT(12, udp_repair_datagram, payload_len);
MEMBER_AT(16, udp_repair_datagram, family);
MEMBER_AT(18, udp_repair_datagram, gso_size);
MEMBER_AT(20, udp_repair_datagram, sport);
MEMBER_AT(22, udp_repair_datagram, dport);
MEMBER_AT(24, udp_repair_datagram, saddr);
MEMBER_AT(40, udp_repair_datagram, daddr);
MEMBER_AT(56, udp_repair_datagram, iif);
MEMBER_AT(60, udp_repair_datagram, ifindex);
MEMBER_AT(64, udp_repair_datagram, spec_dst);
MEMBER_AT(68, udp_repair_datagram, flowlabel);
MEMBER_AT(72, udp_repair_datagram, hop_limit);
MEMBER_AT(73, udp_repair_datagram, tclass);
MEMBER_AT(74, udp_repair_datagram, nexthdr);
MEMBER_AT(75, udp_repair_datagram, reserved8);
MEMBER_AT(76, udp_repair_datagram, opt_len);
MEMBER_AT(78, udp_repair_datagram, frag_max_size);
MEMBER_AT(80, udp_repair_datagram, priority);
MEMBER_AT(84, udp_repair_datagram, mark);
MEMBER_AT(88, udp_repair_datagram, tstamp);
MEMBER_AT(96, udp_repair_datagram, hwtstamp);
MEMBER_AT(104, udp_repair_datagram, csum);
MEMBER_AT(108, udp_repair_datagram, reserved);
static_assert(sizeof(struct udp_repair_datagram) == 128, "size");
static_assert(UDP_REPAIR_DATAGRAM_SIZE_VER0 == 128, "first published size");

#define HDR_SIZE	sizeof(struct udp_repair_recv_queue)
#define ENTRY_SIZE	sizeof(struct udp_repair_datagram)
#define MAX_OPTS	256
#define MAX_PAYLOAD	65536
#define MAX_V4		65507
#define MAX_V6		65527
#define POISON		0xa5

/* What one call returns at most. */
#define BATCH		1024

/* The same in both byte orders. */
#define SENDER_PORT	0x2222
#define RECEIVER_PORT	0x3333

#define LO		1
#define LO_MTU		65536
#define NO_SUCH_LINK	4242

/* Loopback delivers before sendmsg() returns or soon after: only a datagram
 * that was lost waits for so long, on the slowest emulated debug kernel too.
 */
#define DEADLINE_MS	10000

union addr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct dump {
	socklen_t len;
	union {
		struct udp_repair_recv_queue hdr;
		__u8 raw[1 << 18];
		__u64 align;
	};
};

/* An argument of setsockopt(). */
struct put {
	struct udp_repair_datagram d;
	__u8 rest[8192 + MAX_OPTS + MAX_PAYLOAD];
};

/* What recvmsg() shows. */
struct seen {
	ssize_t ret;
	int flags;
	socklen_t name_len;
	union addr name;
	size_t control_len;
	__u8 control[2048];
	__u8 data[MAX_PAYLOAD];
};

/* A test is a process of its own. */
static __u8 text[MAX_PAYLOAD];
static struct dump dump_a, dump_b;
static struct seen seen_a, seen_b;
static struct put put;

/* Skip what cannot be tested here, unless the environment says that it can. */
static void skip(struct __test_metadata *_metadata, const char *why)
{
	bool required = getenv("SOCKREPAIR_REQUIRE");

	ASSERT_FALSE(required) {
		TH_LOG("%s", why);
	}
	SKIP(return, "%s", why);
}

/* System calls that return -errno. */

static int sys_socket(int domain, int type, int protocol)
{
	int fd = socket(domain, type | SOCK_CLOEXEC, protocol);

	return fd < 0 ? -errno : fd;
}

static int set_opt(int fd, int level, int name, const void *val, socklen_t len)
{
	return setsockopt(fd, level, name, val, len) ? -errno : 0;
}

static int set_int(int fd, int level, int name, int val)
{
	return set_opt(fd, level, name, &val, sizeof(val));
}

static int get_opt(int fd, int level, int name, void *val, socklen_t *len)
{
	return getsockopt(fd, level, name, val, len) ? -errno : 0;
}

static int get_int(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int val = -1;
	int ret = get_opt(fd, level, name, &val, &len);

	return ret ?: val;
}

static socklen_t set_addr(union addr *addr, const char *name, int port)
{
	memset(addr, 0, sizeof(*addr));
	if (strchr(name, ':')) {
		addr->v6.sin6_family = AF_INET6;
		addr->v6.sin6_port = port;
		inet_pton(AF_INET6, name, &addr->v6.sin6_addr);
		return sizeof(addr->v6);
	}
	addr->v4.sin_family = AF_INET;
	addr->v4.sin_port = port;
	inet_pton(AF_INET, name, &addr->v4.sin_addr);
	return sizeof(addr->v4);
}

static int bind_to(int fd, const char *name, int port)
{
	union addr addr;
	socklen_t len = set_addr(&addr, name, port);

	return bind(fd, &addr.sa, len) ? -errno : 0;
}

static int connect_to(int fd, const char *name, int port)
{
	union addr addr;
	socklen_t len = set_addr(&addr, name, port);

	return connect(fd, &addr.sa, len) ? -errno : 0;
}

static int write_file(const char *path, const char *val)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, val, strlen(val)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static __u32 meminfo(int fd, int what)
{
	__u32 val[SK_MEMINFO_VARS] = {};
	socklen_t len = sizeof(val);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, val, &len))
		return UINT_MAX;
	return val[what];
}

static int in_queue(int fd)
{
	int val;

	return ioctl(fd, SIOCINQ, &val) ? -errno : val;
}

static int wait_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	switch (poll(&pfd, 1, DEADLINE_MS)) {
	case 0:
		return -ETIMEDOUT;
	case 1:
		return 0;
	default:
		return -errno;
	}
}

/* Network namespace */

static int lo_ioctl(int request, struct ifreq *ifr)
{
	int fd = sys_socket(AF_INET, SOCK_DGRAM, 0);
	int ret;

	memcpy(ifr->ifr_name, "lo", 3);
	ret = ioctl(fd, request, ifr) ? -errno : 0;
	close(fd);
	return ret;
}

static int lo_set_mtu(int mtu)
{
	struct ifreq ifr = { .ifr_mtu = mtu };

	return lo_ioctl(SIOCSIFMTU, &ifr);
}

static int enter_netns(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_UP };

	if (unshare(CLONE_NEWNET))
		return -errno;
	return lo_ioctl(SIOCSIFFLAGS, &ifr) ?:
	       write_file("/proc/sys/net/ipv4/conf/all/accept_source_route",
			  "1") ?:
	       write_file("/proc/sys/net/ipv4/conf/lo/accept_source_route",
			  "1");
}

/* Made once, by main(). */
static int netns;

static void fill_text(void)
{
	size_t i;

	for (i = 0; i < sizeof(text); i++)
		text[i] = i * 7 + (i >> 8) * 13;
}

/* The queue's options */

static int set_repair(int fd, int val)
{
	return set_int(fd, SOL_UDP, UDP_REPAIR, val);
}

/* From datagram @first into @room bytes. What is not written is poison. */
static int dump_part(int fd, struct dump *dump, __u32 first, socklen_t room)
{
	memset(dump->raw, POISON, room);
	memset(&dump->hdr, 0, HDR_SIZE);
	dump->hdr.size = HDR_SIZE;
	dump->hdr.entry_size = ENTRY_SIZE;
	dump->hdr.first = first;
	dump->len = room;
	return get_opt(fd, SOL_UDP, UDP_REPAIR_RECV_QUEUE, dump->raw,
		       &dump->len);
}

static int dump_queue(int fd, struct dump *dump)
{
	return dump_part(fd, dump, 0, sizeof(dump->raw));
}

static size_t align8(size_t len)
{
	return (len + 7) & ~7UL;
}

static struct udp_repair_datagram *entry_at(struct dump *dump, size_t at)
{
	return (struct udp_repair_datagram *)(dump->raw + at);
}

static __u8 *payload_of(struct udp_repair_datagram *d)
{
	return (__u8 *)d + d->size + d->opt_len;
}

static int put_raw(int fd, const void *entry, socklen_t len)
{
	return set_opt(fd, SOL_UDP, UDP_REPAIR_RECV_QUEUE, entry, len);
}

/* All entries of @dump into the queue of @fd. */
static int put_all(int fd, struct dump *dump)
{
	size_t at = dump->hdr.size;
	int i, ret = 0;

	for (i = 0; !ret && i < dump->hdr.count; i++) {
		struct udp_repair_datagram *d = entry_at(dump, at);

		ret = put_raw(fd, d, d->total_len);
		at += align8(d->total_len);
	}
	return ret;
}

/* A datagram that any socket of its family takes. */
static void make_put(int family, const void *opt, size_t opt_len,
		     size_t payload_len)
{
	union addr from, to;

	memset(&put, 0, sizeof(put.d));
	put.d.size = ENTRY_SIZE;
	put.d.total_len = ENTRY_SIZE + opt_len + payload_len;
	put.d.payload_len = payload_len;
	put.d.family = family;
	put.d.sport = SENDER_PORT;
	put.d.dport = RECEIVER_PORT;
	put.d.iif = LO;
	put.d.ifindex = LO;
	put.d.hop_limit = 33;
	put.d.tclass = 0x2e;
	put.d.opt_len = opt_len;
	put.d.priority = 5;
	put.d.mark = 0x12345678;
	put.d.tstamp = 1234567890123456789ULL;
	if (family == AF_INET6) {
		set_addr(&from, "fd00::9", 0);
		set_addr(&to, "fd00::2", 0);
		memcpy(put.d.saddr, &from.v6.sin6_addr, 16);
		memcpy(put.d.daddr, &to.v6.sin6_addr, 16);
		put.d.flowlabel = htonl(0xabcde);
		put.d.nexthdr = IPPROTO_UDP;
	} else {
		put.d.saddr[0] = htonl(0xc0000209);
		put.d.daddr[0] = htonl(0xc0000202);
		put.d.spec_dst = htonl(0xc0000202);
	}
	memcpy(put.rest, opt, opt_len);
	memcpy(put.rest + opt_len, text, payload_len);
}

static int put_put(int fd)
{
	return put_raw(fd, &put, put.d.total_len);
}

/* Everything that recvmsg() can show, on the socket of either family. */

static const struct {
	bool v6;
	int level, name;
} shown_by[] = {
	{ false, SOL_SOCKET, SO_RCVMARK },
	{ false, SOL_SOCKET, SO_RCVPRIORITY },
	{ false, SOL_SOCKET, SO_RXQ_OVFL },
	{ false, SOL_UDP, UDP_GRO },
	{ false, SOL_IP, IP_PKTINFO },
	{ false, SOL_IP, IP_RECVTTL },
	{ false, SOL_IP, IP_RECVTOS },
	{ false, SOL_IP, IP_RECVOPTS },
	{ false, SOL_IP, IP_RETOPTS },
	{ false, SOL_IP, IP_RECVORIGDSTADDR },
	{ false, SOL_IP, IP_CHECKSUM },
	{ false, SOL_IP, IP_RECVFRAGSIZE },
	{ true, SOL_IPV6, IPV6_RECVPKTINFO },
	{ true, SOL_IPV6, IPV6_2292PKTINFO },
	{ true, SOL_IPV6, IPV6_RECVHOPLIMIT },
	{ true, SOL_IPV6, IPV6_2292HOPLIMIT },
	{ true, SOL_IPV6, IPV6_RECVTCLASS },
	{ true, SOL_IPV6, IPV6_FLOWINFO },
	{ true, SOL_IPV6, IPV6_RECVHOPOPTS },
	{ true, SOL_IPV6, IPV6_2292HOPOPTS },
	{ true, SOL_IPV6, IPV6_RECVDSTOPTS },
	{ true, SOL_IPV6, IPV6_2292DSTOPTS },
	{ true, SOL_IPV6, IPV6_RECVRTHDR },
	{ true, SOL_IPV6, IPV6_2292RTHDR },
	{ true, SOL_IPV6, IPV6_RECVORIGDSTADDR },
	{ true, SOL_IPV6, IPV6_RECVFRAGSIZE },
};

static int show_everything(int fd, int domain, int stamp)
{
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(shown_by); i++) {
		if (shown_by[i].v6 && domain != AF_INET6)
			continue;
		ret = set_int(fd, shown_by[i].level, shown_by[i].name, 1);
		if (ret)
			return ret;
	}
	ret = set_int(fd, SOL_SOCKET, SO_TIMESTAMPING,
		      SOF_TIMESTAMPING_RX_SOFTWARE |
		      SOF_TIMESTAMPING_SOFTWARE |
		      SOF_TIMESTAMPING_RAW_HARDWARE);
	return ret ?: set_int(fd, SOL_SOCKET, stamp, 1);
}

static int see(int fd, struct seen *seen, int flags)
{
	struct iovec iov = {
		.iov_base = seen->data,
		.iov_len = sizeof(seen->data),
	};
	struct msghdr msg = {
		.msg_name = &seen->name,
		.msg_namelen = sizeof(seen->name),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = seen->control,
		.msg_controllen = sizeof(seen->control),
	};

	memset(seen, POISON, sizeof(*seen));
	seen->ret = recvmsg(fd, &msg, flags | MSG_DONTWAIT);
	if (seen->ret < 0)
		return -errno;
	seen->flags = msg.msg_flags;
	seen->name_len = msg.msg_namelen;
	seen->control_len = msg.msg_controllen;
	return seen->ret;
}

/* The control message, or NULL. */
static const void *control_of(struct seen *seen, int level, int type,
			      size_t *len)
{
	struct msghdr msg = {
		.msg_control = seen->control,
		.msg_controllen = seen->control_len,
	};
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == level && c->cmsg_type == type) {
			*len = c->cmsg_len - CMSG_LEN(0);
			return CMSG_DATA(c);
		}
	return NULL;
}

/* Which control message differs, for who has to find out why. */
static void log_controls(struct __test_metadata *_metadata, struct seen *seen)
{
	struct msghdr msg = {
		.msg_control = seen->control,
		.msg_controllen = seen->control_len,
	};
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		char hex[3 * 48 + 1] = "";
		int i, len = c->cmsg_len - CMSG_LEN(0);

		for (i = 0; i < len && i < 48; i++)
			sprintf(hex + 3 * i, " %02x", CMSG_DATA(c)[i]);
		TH_LOG("  level %d type %d len %d:%s", c->cmsg_level,
		       c->cmsg_type, len, hex);
	}
}

/* Both sockets show the same datagram. */
static void expect_same(struct __test_metadata *_metadata, int a, int b,
			int flags)
{
	ASSERT_LE(0, see(a, &seen_a, flags));
	ASSERT_LE(0, see(b, &seen_b, flags));
	EXPECT_EQ(0, memcmp(&seen_a, &seen_b, sizeof(seen_a))) {
		TH_LOG("%zd bytes flags %#x, and %zd bytes flags %#x",
		       seen_a.ret, seen_a.flags, seen_b.ret, seen_b.flags);
		log_controls(_metadata, &seen_a);
		TH_LOG("second:");
		log_controls(_metadata, &seen_b);
	}
}

static void expect_empty(struct __test_metadata *_metadata, int fd)
{
	ASSERT_EQ(0, dump_queue(fd, &dump_b));
	EXPECT_EQ(HDR_SIZE, dump_b.len);
	EXPECT_EQ(0, dump_b.hdr.count);
	EXPECT_EQ(0, dump_b.hdr.queued);
	EXPECT_EQ(0, dump_b.hdr.next);
	EXPECT_EQ(0, dump_b.hdr.next_len);
	EXPECT_EQ(POISON, dump_b.raw[HDR_SIZE]);
	EXPECT_EQ(-EAGAIN, see(fd, &seen_b, 0));
}

/* False: the test is skipped. */
static bool setup(struct __test_metadata *_metadata)
{
	int fd;

	if (netns == -EPERM) {
		skip(_metadata, "not allowed to make a network namespace");
		return false;
	}
	ASSERT_EQ(0, netns);
	ASSERT_EQ(0, lo_set_mtu(LO_MTU));
	fill_text();

	fd = sys_socket(AF_INET, SOCK_DGRAM, 0);
	ASSERT_LE(0, fd);
	if (get_int(fd, SOL_UDP, UDP_REPAIR) == -ENOPROTOOPT) {
		skip(_metadata, "kernel without CONFIG_INET_REPAIR");
		return false;
	}
	close(fd);
	return true;
}

static int repair_socket(int domain)
{
	int fd = sys_socket(domain, SOCK_DGRAM, 0);

	if (fd < 0)
		return fd;
	return set_repair(fd, UDP_REPAIR_ON) ?: fd;
}

/* A socket that receives at @to. */
static int receiver(int domain, const char *to)
{
	int fd = repair_socket(domain);

	if (fd < 0)
		return fd;
	return bind_to(fd, to, RECEIVER_PORT) ?: fd;
}

static int send_to(int fd, const char *to, const void *data, size_t len)
{
	union addr addr;
	socklen_t addr_len = set_addr(&addr, to, RECEIVER_PORT);
	ssize_t ret = sendto(fd, data, len, 0, &addr.sa, addr_len);

	return ret < 0 ? -errno : ret;
}

/* A new sender for each datagram that has no other. */
static int send_new(const char *to, const void *data, size_t len)
{
	int fd = sys_socket(strchr(to, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM,
			    0);
	int ret = send_to(fd, to, data, len);

	close(fd);
	return ret == len ? 0 : ret;
}

/* The first socket that asks for time stamps switches them on for the host, and
 * the switch is thrown by a worker of the kernel some time later. Until then a
 * datagram has none, and is given the time of recvmsg().
 */
static int wait_for_stamps(int fd, const char *to)
{
	int tries, ret;

	for (tries = DEADLINE_MS; tries; tries--) {
		ret = send_new(to, text, 1) ?: wait_readable(fd) ?:
		      dump_queue(fd, &dump_a);
		if (ret)
			return ret;
		recv(fd, text, 1, 0);
		if (entry_at(&dump_a, HDR_SIZE)->tstamp)
			return 0;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

/* Raw packets: everything that a header can have. */

struct packet {
	const char *from, *to;
	int hop_limit;	/* 77 if 0 */
	int tclass, flowlabel;
	int nexthdr;	/* of the options, if there are any */
	__u8 opt[48];
	size_t opt_len;
	size_t len;
	bool no_csum, bad_csum;
	int mark, priority;
};

static __u32 sum16(const void *data, size_t len, __u32 sum)
{
	const __u8 *byte = data;
	size_t i;

	for (i = 0; i < len; i++)
		sum += i % 2 ? byte[i] : byte[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void fill_udp(const struct packet *p, __u8 *at, const void *addrs,
		     size_t addrs_len)
{
	struct udphdr uh = {
		.source = SENDER_PORT,
		.dest = RECEIVER_PORT,
		.len = htons(sizeof(uh) + p->len),
	};
	__u32 sum;

	memcpy(at + sizeof(uh), text, p->len);
	memcpy(at, &uh, sizeof(uh));
	if (p->no_csum)
		return;
	sum = sum16(addrs, addrs_len, IPPROTO_UDP + sizeof(uh) + p->len);
	sum = sum16(at, sizeof(uh) + p->len, sum);
	uh.check = htons(~sum & 0xffff) ?: 0xffff;
	if (p->bad_csum)
		uh.check ^= 0x0101;
	memcpy(at, &uh, sizeof(uh));
}

static size_t fill_v4(const struct packet *p, __u8 *at)
{
	struct iphdr iph = {
		.version = 4,
		.ihl = (sizeof(iph) + p->opt_len) / 4,
		.tos = p->tclass,
		.ttl = p->hop_limit ?: 77,
		.protocol = IPPROTO_UDP,
	};
	size_t hlen = sizeof(iph) + p->opt_len;

	inet_pton(AF_INET, p->from, &iph.saddr);
	inet_pton(AF_INET, p->to, &iph.daddr);
	memcpy(at, &iph, sizeof(iph));
	memcpy(at + sizeof(iph), p->opt, p->opt_len);
	fill_udp(p, at + hlen, &iph.saddr, 8);
	return hlen + sizeof(struct udphdr) + p->len;
}

static size_t fill_v6(const struct packet *p, __u8 *at)
{
	struct ipv6hdr ip6h = {
		.payload_len = htons(p->opt_len + sizeof(struct udphdr) +
				     p->len),
		.nexthdr = p->opt_len ? p->nexthdr : IPPROTO_UDP,
		.hop_limit = p->hop_limit ?: 77,
	};
	__be32 flow = htonl(6U << 28 | p->tclass << 20 | p->flowlabel);
	size_t hlen = sizeof(ip6h) + p->opt_len;

	inet_pton(AF_INET6, p->from, &ip6h.saddr);
	inet_pton(AF_INET6, p->to, &ip6h.daddr);
	memcpy(&ip6h, &flow, sizeof(flow));
	memcpy(at, &ip6h, sizeof(ip6h));
	memcpy(at + sizeof(ip6h), p->opt, p->opt_len);
	fill_udp(p, at + hlen, &ip6h.saddr, 32);
	return hlen + sizeof(struct udphdr) + p->len;
}

static int send_raw(const struct packet *p)
{
	bool v6 = strchr(p->to, ':');
	int fd = sys_socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW, IPPROTO_RAW);
	static __u8 bytes[MAX_PAYLOAD + MAX_OPTS];
	socklen_t addr_len;
	union addr addr;
	size_t len;
	ssize_t ret;

	if (fd < 0)
		return fd;
	addr_len = set_addr(&addr, p->to, 0);
	len = v6 ? fill_v6(p, bytes) : fill_v4(p, bytes);
	ret = set_int(fd, SOL_SOCKET, SO_MARK, p->mark) ?:
	      set_int(fd, SOL_SOCKET, SO_PRIORITY, p->priority);
	if (!ret)
		ret = sendto(fd, bytes, len, 0, &addr.sa, addr_len);
	if (ret < 0)
		ret = -errno;
	close(fd);
	return ret == len ? 0 : ret ?: -EIO;
}

/* Shown: all that control messages show is the same after a restore. */

struct control {
	int level, type;
	size_t len;
	__u8 data[48];
};

/* A receiver, and the addresses of what it receives. */
struct place {
	int domain;
	const char *bound, *from, *to;
};

static const struct place v4 = {
	AF_INET, "127.0.0.1", "127.0.0.5", "127.0.0.1"
};

static const struct place mapped = {
	AF_INET6, "::ffff:127.0.0.1", "127.0.0.5", "127.0.0.1"
};

static const struct place v6 = { AF_INET6, "::1", "::1", "::1" };

FIXTURE(shown)
{
	int a;
	int b;
};

FIXTURE_VARIANT(shown)
{
	const struct place *at;
	int stamp;	/* SO_TIMESTAMPNS if 0 */
	struct packet packet;
	/* If not 0, sent by a UDP socket of the same address: */
	size_t segment;	/* in segments of this length */
	int mtu;	/* in fragments of this MTU */
	/* What must be among the control messages; with len 0 of any value. */
	struct control control[8];
};

#define CONTROL(level, type, ...)				\
	{ level, type, sizeof((const __u8[]){ __VA_ARGS__ }),	\
	  { __VA_ARGS__ } }
#define ANY_CONTROL(level, type) { level, type, 0, {} }

FIXTURE_VARIANT_ADD(shown, v4)
{
	.at = &v4,
	.packet = { .len = 100 },
	.control = {
		ANY_CONTROL(SOL_IP, IP_PKTINFO),
		ANY_CONTROL(SOL_IP, IP_ORIGDSTADDR),
		ANY_CONTROL(SOL_IP, IP_CHECKSUM),
		ANY_CONTROL(SOL_SOCKET, SO_TIMESTAMPNS),
		ANY_CONTROL(SOL_SOCKET, SO_TIMESTAMPING),
		ANY_CONTROL(SOL_SOCKET, SO_MARK),
		ANY_CONTROL(SOL_SOCKET, SO_PRIORITY),
	},
};

FIXTURE_VARIANT_ADD(shown, v4_timestamp)
{
	.at = &v4,
	.stamp = SO_TIMESTAMP,
	.packet = { .len = 100 },
	.control = { ANY_CONTROL(SOL_SOCKET, SO_TIMESTAMP) },
};

FIXTURE_VARIANT_ADD(shown, v4_tos)
{
	.at = &v4,
	.packet = { .len = 100, .tclass = 0xbb },
	.control = { CONTROL(SOL_IP, IP_TOS, 0xbb) },
};

FIXTURE_VARIANT_ADD(shown, v4_ttl)
{
	.at = &v4,
	.packet = { .len = 100, .hop_limit = 255 },
	.control = { ANY_CONTROL(SOL_IP, IP_TTL) },
};

FIXTURE_VARIANT_ADD(shown, v4_mark_and_priority)
{
	.at = &v4,
	.packet = { .len = 100, .mark = 0x01010101, .priority = 0x06060606 },
	.control = {
		CONTROL(SOL_SOCKET, SO_MARK, 1, 1, 1, 1),
		CONTROL(SOL_SOCKET, SO_PRIORITY, 6, 6, 6, 6),
	},
};

FIXTURE_VARIANT_ADD(shown, v4_no_checksum)
{
	.at = &v4,
	.packet = { .len = 100, .no_csum = true },
	.control = { ANY_CONTROL(SOL_IP, IP_TTL) },
};

FIXTURE_VARIANT_ADD(shown, v4_odd_length)
{
	.at = &v4,
	.packet = { .len = 4097 },
	.control = { ANY_CONTROL(SOL_IP, IP_CHECKSUM) },
};

FIXTURE_VARIANT_ADD(shown, v4_empty)
{
	.at = &v4,
	.packet = { .len = 0 },
	.control = { ANY_CONTROL(SOL_IP, IP_CHECKSUM) },
};

FIXTURE_VARIANT_ADD(shown, v4_maximal)
{
	.at = &v4,
	.packet = { .len = MAX_V4 },
	.control = { ANY_CONTROL(SOL_IP, IP_CHECKSUM) },
};

/* This host writes its address into the second place. */
FIXTURE_VARIANT_ADD(shown, v4_record_route)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 16,
		.opt = {
			IPOPT_RR, 15, 8, 10, 0, 0, 1, 0, 0, 0, 0, 9, 9, 9, 9,
			IPOPT_NOOP,
		},
	},
	.control = {
		CONTROL(SOL_IP, IP_RECVOPTS, IPOPT_RR, 15, 12, 10, 0, 0, 1,
			127, 0, 0, 1, 9, 9, 9, 9, IPOPT_NOOP),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
	},
};

FIXTURE_VARIANT_ADD(shown, v4_record_route_last)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 8,
		.opt = { IPOPT_RR, 7, 4, 0, 0, 0, 0, IPOPT_NOOP },
	},
	.control = {
		CONTROL(SOL_IP, IP_RECVOPTS, IPOPT_RR, 7, 8, 127, 0, 0, 1,
			IPOPT_NOOP),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
	},
};

FIXTURE_VARIANT_ADD(shown, v4_record_route_full)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 8,
		.opt = { IPOPT_NOOP, IPOPT_RR, 7, 8, 10, 0, 0, 1 },
	},
	.control = {
		CONTROL(SOL_IP, IP_RECVOPTS, IPOPT_NOOP, IPOPT_RR, 7, 8, 10, 0,
			0, 1),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
	},
};

/* Two bytes are left where an address would not fit: IP_RETOPTS fails. */
FIXTURE_VARIANT_ADD(shown, v4_record_route_odd)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 12,
		.opt = {
			IPOPT_RR, 9, 4, 0, 0, 0, 0, 0, 0, IPOPT_NOOP,
			IPOPT_NOOP, IPOPT_NOOP,
		},
	},
	.control = { ANY_CONTROL(SOL_IP, IP_RECVOPTS) },
};

FIXTURE_VARIANT_ADD(shown, v4_timestamp_option)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 16,
		.opt = {
			IPOPT_TIMESTAMP, 16, 5, IPOPT_TS_TSONLY, 0, 0, 0, 0, 1,
			1, 1, 1, 2, 2, 2, 2,
		},
	},
	.control = {
		ANY_CONTROL(SOL_IP, IP_RECVOPTS),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
	},
};

FIXTURE_VARIANT_ADD(shown, v4_timestamp_and_address)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 28,
		.opt = {
			IPOPT_TIMESTAMP, 28, 5, IPOPT_TS_TSANDADDR, 0, 0, 0, 0,
			0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4,
			4,
		},
	},
	.control = {
		ANY_CONTROL(SOL_IP, IP_RECVOPTS),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
	},
};

/* The next address is this host's too, and its place is cleared by an echo. */
FIXTURE_VARIANT_ADD(shown, v4_timestamp_prespecified)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 20,
		.opt = {
			IPOPT_TIMESTAMP, 20, 5, IPOPT_TS_PRESPEC, 127, 0, 0, 1,
			1, 1, 1, 1, 127, 0, 0, 2, 2, 2, 2, 2,
		},
	},
	.control = {
		ANY_CONTROL(SOL_IP, IP_RECVOPTS),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
	},
};

FIXTURE_VARIANT_ADD(shown, v4_timestamp_of_another)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 12,
		.opt = {
			IPOPT_TIMESTAMP, 12, 5, IPOPT_TS_PRESPEC, 10, 0, 0, 1,
			1, 1, 1, 1,
		},
	},
	.control = {
		ANY_CONTROL(SOL_IP, IP_RECVOPTS),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
	},
};

FIXTURE_VARIANT_ADD(shown, v4_timestamp_overflow)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 8,
		.opt = {
			IPOPT_TIMESTAMP, 8, 9, IPOPT_TS_TSONLY | 2 << 4, 1, 1,
			1, 1,
		},
	},
	.control = {
		CONTROL(SOL_IP, IP_RECVOPTS, IPOPT_TIMESTAMP, 8, 9,
			IPOPT_TS_TSONLY | 3 << 4, 1, 1, 1, 1),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
	},
};

FIXTURE_VARIANT_ADD(shown, v4_source_route)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 12,
		.opt = {
			IPOPT_LSRR, 11, 12, 10, 0, 0, 1, 10, 0, 0, 2,
			IPOPT_NOOP,
		},
	},
	.control = {
		ANY_CONTROL(SOL_IP, IP_RECVOPTS),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
	},
};

FIXTURE_VARIANT_ADD(shown, v4_strict_source_route)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 8,
		.opt = { IPOPT_SSRR, 7, 8, 127, 0, 0, 5, IPOPT_NOOP },
	},
	.control = { ANY_CONTROL(SOL_IP, IP_RECVOPTS) },
};

FIXTURE_VARIANT_ADD(shown, v4_many_options)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 40,
		.opt = {
			IPOPT_LSRR, 7, 8, 10, 0, 0, 1, IPOPT_RR, 11, 8, 10, 0,
			0, 2, 0, 0, 0, 0, IPOPT_TIMESTAMP, 12, 5,
			IPOPT_TS_TSONLY, 0, 0, 0, 0, 0, 0, 0, 0, IPOPT_RA, 4, 0,
			0, IPOPT_NOOP, IPOPT_NOOP, IPOPT_END, IPOPT_END,
			IPOPT_END, IPOPT_END,
		},
	},
	.control = {
		ANY_CONTROL(SOL_IP, IP_RECVOPTS),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
	},
};

/* What is behind the end of the list is cleared at arrival. */
FIXTURE_VARIANT_ADD(shown, v4_end_of_options)
{
	.at = &v4,
	.packet = {
		.len = 100,
		.opt_len = 8,
		.opt = { 0x9e, 4, 1, 2, IPOPT_END, 9, 9, 9 },
	},
	.control = {
		CONTROL(SOL_IP, IP_RECVOPTS, 0x9e, 4, 1, 2, 0, 0, 0, 0),
	},
};

FIXTURE_VARIANT_ADD(shown, v4_gro)
{
	.at = &v4,
	.packet = { .len = 5100 },
	.segment = 1000,
	.control = { ANY_CONTROL(SOL_UDP, UDP_GRO) },
};

FIXTURE_VARIANT_ADD(shown, v4_fragments)
{
	.at = &v4,
	.packet = { .len = 5000 },
	.mtu = 1500,
	.control = { ANY_CONTROL(SOL_IP, IP_RECVFRAGSIZE) },
};

FIXTURE_VARIANT_ADD(shown, mapped)
{
	.at = &mapped,
	.packet = {
		.len = 100,
		.tclass = 0xbb,
		.opt_len = 8,
		.opt = { IPOPT_RR, 7, 4, 0, 0, 0, 0, IPOPT_NOOP },
	},
	.control = {
		ANY_CONTROL(SOL_IP, IP_PKTINFO),
		ANY_CONTROL(SOL_IPV6, IPV6_PKTINFO),
		CONTROL(SOL_IP, IP_TOS, 0xbb),
		ANY_CONTROL(SOL_IP, IP_RECVOPTS),
		ANY_CONTROL(SOL_IP, IP_RETOPTS),
		ANY_CONTROL(SOL_IP, IP_ORIGDSTADDR),
	},
};

FIXTURE_VARIANT_ADD(shown, mapped_gro)
{
	.at = &mapped,
	.packet = { .len = 5100 },
	.segment = 1000,
	.control = { ANY_CONTROL(SOL_UDP, UDP_GRO) },
};

FIXTURE_VARIANT_ADD(shown, v6)
{
	.at = &v6,
	.packet = {
		.len = 100,
		.tclass = 0xbb,
		.flowlabel = 0xabcde,
		.mark = 0x01010101,
	},
	.control = {
		ANY_CONTROL(SOL_IPV6, IPV6_PKTINFO),
		ANY_CONTROL(SOL_IPV6, IPV6_HOPLIMIT),
		ANY_CONTROL(SOL_IPV6, IPV6_TCLASS),
		CONTROL(SOL_IPV6, IPV6_FLOWINFO, 0x0b, 0xba, 0xbc, 0xde),
		ANY_CONTROL(SOL_IPV6, IPV6_ORIGDSTADDR),
		ANY_CONTROL(SOL_SOCKET, SO_TIMESTAMPNS),
		CONTROL(SOL_SOCKET, SO_MARK, 1, 1, 1, 1),
	},
};

FIXTURE_VARIANT_ADD(shown, v6_maximal)
{
	.at = &v6,
	.packet = { .len = MAX_V6 },
	.control = { ANY_CONTROL(SOL_IPV6, IPV6_PKTINFO) },
	.segment = 0xffff,
};

FIXTURE_VARIANT_ADD(shown, v6_hop_by_hop)
{
	.at = &v6,
	.packet = {
		.len = 100,
		.nexthdr = IPPROTO_HOPOPTS,
		.opt_len = 8,
		.opt = { IPPROTO_UDP, 0, 0x05, 2, 0, 0, 1, 0 },
	},
	.control = {
		CONTROL(SOL_IPV6, IPV6_HOPOPTS, IPPROTO_UDP, 0, 0x05, 2, 0, 0,
			1, 0),
		ANY_CONTROL(SOL_IPV6, IPV6_2292HOPOPTS),
	},
};

FIXTURE_VARIANT_ADD(shown, v6_destination_options)
{
	.at = &v6,
	.packet = {
		.len = 100,
		.nexthdr = IPPROTO_DSTOPTS,
		.opt_len = 16,
		.opt = {
			IPPROTO_UDP, 1, 1, 4, 0, 0, 0, 0, 0x1e, 6, 1, 2, 3, 4,
			5, 6,
		},
	},
	.control = {
		ANY_CONTROL(SOL_IPV6, IPV6_DSTOPTS),
		ANY_CONTROL(SOL_IPV6, IPV6_2292DSTOPTS),
	},
};

FIXTURE_VARIANT_ADD(shown, v6_routing_header)
{
	.at = &v6,
	.packet = {
		.len = 100,
		.nexthdr = IPPROTO_ROUTING,
		.opt_len = 8,
		.opt = { IPPROTO_UDP, 0, 253, 0, 1, 2, 3, 4 },
	},
	.control = {
		ANY_CONTROL(SOL_IPV6, IPV6_RTHDR),
		ANY_CONTROL(SOL_IPV6, IPV6_2292RTHDR),
	},
};

FIXTURE_VARIANT_ADD(shown, v6_destination_options_of_routing_header)
{
	.at = &v6,
	.packet = {
		.len = 100,
		.nexthdr = IPPROTO_DSTOPTS,
		.opt_len = 16,
		.opt = { IPPROTO_ROUTING, 0, 0x1e, 4, 1, 1, 1, 1,
			 IPPROTO_UDP, 0, 253, 0, 1, 2, 3, 4 },
	},
	.control = {
		ANY_CONTROL(SOL_IPV6, IPV6_DSTOPTS),
		ANY_CONTROL(SOL_IPV6, IPV6_RTHDR),
		ANY_CONTROL(SOL_IPV6, IPV6_2292DSTOPTS),
	},
};

/* In the order of the standard: the first destination options are those of the
 * routing header.
 */
FIXTURE_VARIANT_ADD(shown, v6_all_headers)
{
	.at = &v6,
	.packet = {
		.len = 100,
		.nexthdr = IPPROTO_HOPOPTS,
		.opt_len = 32,
		.opt = {
			IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, IPPROTO_ROUTING,
			0, 0x1e, 4, 1, 1, 1, 1, IPPROTO_DSTOPTS, 0, 253, 0, 1,
			2, 3, 4, IPPROTO_UDP, 0, 0x1e, 4, 2, 2, 2, 2,
		},
	},
	.control = {
		ANY_CONTROL(SOL_IPV6, IPV6_HOPOPTS),
		ANY_CONTROL(SOL_IPV6, IPV6_DSTOPTS),
		ANY_CONTROL(SOL_IPV6, IPV6_RTHDR),
		ANY_CONTROL(SOL_IPV6, IPV6_2292HOPOPTS),
		ANY_CONTROL(SOL_IPV6, IPV6_2292RTHDR),
		ANY_CONTROL(SOL_IPV6, IPV6_2292DSTOPTS),
	},
};

FIXTURE_VARIANT_ADD(shown, v6_atomic_fragment)
{
	.at = &v6,
	.packet = {
		.len = 100,
		.nexthdr = IPPROTO_FRAGMENT,
		.opt_len = 16,
		.opt = {
			IPPROTO_DSTOPTS, 0, 0, 0, 1, 2, 3, 4, IPPROTO_UDP, 0, 1,
			4, 0, 0, 0, 0,
		},
	},
	.control = {
		ANY_CONTROL(SOL_IPV6, IPV6_DSTOPTS),
		ANY_CONTROL(SOL_IPV6, IPV6_RECVFRAGSIZE),
	},
};

FIXTURE_VARIANT_ADD(shown, v6_gro)
{
	.at = &v6,
	.packet = { .len = 5100 },
	.segment = 1000,
	.control = { ANY_CONTROL(SOL_UDP, UDP_GRO) },
};

FIXTURE_VARIANT_ADD(shown, v6_fragments)
{
	.at = &v6,
	.packet = { .len = 5000 },
	.mtu = 1500,
	.control = { ANY_CONTROL(SOL_IPV6, IPV6_RECVFRAGSIZE) },
};

FIXTURE_SETUP(shown)
{
	int stamp = variant->stamp ?: SO_TIMESTAMPNS;

	if (!setup(_metadata))
		return;

	self->a = receiver(variant->at->domain, variant->at->bound);
	ASSERT_LE(0, self->a);
	ASSERT_EQ(0, show_everything(self->a, variant->at->domain, stamp));
	ASSERT_EQ(0, wait_for_stamps(self->a, variant->at->to));
	fill_text();
	self->b = repair_socket(variant->at->domain);
	ASSERT_LE(0, self->b);
	ASSERT_EQ(0, show_everything(self->b, variant->at->domain, stamp));
}

FIXTURE_TEARDOWN(shown)
{
	close(self->a);
	close(self->b);
}

/* What a UDP socket sends and not a raw one: in segments or in fragments. */
static int send_udp(const struct packet *p, size_t segment)
{
	bool v6 = strchr(p->to, ':');
	int fd = sys_socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
	int ret;

	if (fd < 0)
		return fd;
	ret = bind_to(fd, p->from, SENDER_PORT);
	if (!ret && segment < p->len)
		ret = set_int(fd, SOL_UDP, UDP_SEGMENT, segment);
	if (!ret)
		ret = send_to(fd, p->to, text, p->len);
	close(fd);
	return ret == p->len ? 0 : ret ?: -EIO;
}

/* The datagram waits at the first socket. */
static int receive(FIXTURE_DATA(shown) const *self,
		   FIXTURE_VARIANT(shown) const *variant)
{
	int ret = lo_set_mtu(variant->mtu ?: LO_MTU);
	struct packet packet = variant->packet;

	packet.from = variant->at->from;
	packet.to = variant->at->to;
	if (!ret && (variant->segment || variant->mtu))
		ret = send_udp(&packet, variant->segment ?: MAX_PAYLOAD);
	else if (!ret)
		ret = send_raw(&packet);
	return ret ?: wait_readable(self->a);
}

static void expect_controls(struct __test_metadata *_metadata,
			    const struct control *want, int count)
{
	int i;

	for (i = 0; i < count && want[i].type; i++) {
		size_t len;
		const void *data = control_of(&seen_a, want[i].level,
					      want[i].type, &len);

		ASSERT_TRUE(!!data) {
			TH_LOG("no level %d type %d", want[i].level,
			       want[i].type);
			log_controls(_metadata, &seen_a);
		}
		if (!want[i].len)
			continue;
		ASSERT_EQ(want[i].len, len);
		EXPECT_EQ(0, memcmp(want[i].data, data, len)) {
			log_controls(_metadata, &seen_a);
		}
	}
}

TEST_F(shown, restored)
{
	ASSERT_EQ(0, receive(self, variant));
	ASSERT_EQ(0, dump_queue(self->a, &dump_a));
	ASSERT_EQ(1, dump_a.hdr.count);
	ASSERT_EQ(variant->packet.len,
		  entry_at(&dump_a, HDR_SIZE)->payload_len);
	ASSERT_EQ(0, put_all(self->b, &dump_a));

	ASSERT_EQ(0, dump_queue(self->b, &dump_b));
	EXPECT_EQ(0, memcmp(&dump_a, &dump_b, sizeof(dump_a)));

	expect_same(_metadata, self->a, self->b, MSG_PEEK);
	expect_same(_metadata, self->a, self->b, 0);
	EXPECT_EQ(variant->packet.len, seen_a.ret);
	EXPECT_EQ(0, memcmp(text, seen_a.data, variant->packet.len));
	expect_controls(_metadata, variant->control,
			ARRAY_SIZE(variant->control));
	expect_empty(_metadata, self->b);
}

/* Options that are switched on after arrival show the same as well. */
TEST_F(shown, asked_for_later)
{
	int a = self->a, b = self->b;

	close(a);
	a = receiver(variant->at->domain, variant->at->bound);
	ASSERT_LE(0, a);
	self->a = a;
	ASSERT_EQ(0, set_int(a, SOL_UDP, UDP_GRO, variant->segment != 0));
	ASSERT_EQ(0, set_int(a, SOL_SOCKET, SO_TIMESTAMPNS, 1));
	ASSERT_EQ(0, receive(self, variant));
	ASSERT_EQ(0, dump_queue(a, &dump_a));
	ASSERT_EQ(0, put_all(b, &dump_a));
	ASSERT_EQ(0, show_everything(a, variant->at->domain,
				     variant->stamp ?: SO_TIMESTAMPNS));
	expect_same(_metadata, a, b, 0);
}

/* Queue: which datagrams come out, in which order, and who can tell. */

FIXTURE(queue)
{
	int a;
	int b;
};

FIXTURE_VARIANT(queue)
{
	int domain;
	const char *bound;
	const char *to;
	size_t max;
};

FIXTURE_VARIANT_ADD(queue, v4)
{
	.domain = AF_INET,
	.bound = "127.0.0.1",
	.to = "127.0.0.1",
	.max = MAX_V4,
};

FIXTURE_VARIANT_ADD(queue, mapped)
{
	.domain = AF_INET6,
	.bound = "::",
	.to = "127.0.0.1",
	.max = MAX_V4,
};

FIXTURE_VARIANT_ADD(queue, v6)
{
	.domain = AF_INET6,
	.bound = "::1",
	.to = "::1",
	.max = MAX_V6,
};

FIXTURE_SETUP(queue)
{
	if (!setup(_metadata))
		return;

	self->a = receiver(variant->domain, variant->bound);
	ASSERT_LE(0, self->a);
	self->b = repair_socket(variant->domain);
	ASSERT_LE(0, self->b);
}

FIXTURE_TEARDOWN(queue)
{
	close(self->a);
	close(self->b);
}

/* Move what waits to the queue of the reader, where a further datagram does not
 * go before that one is empty.
 */
static void read_first(struct __test_metadata *_metadata, int fd)
{
	ASSERT_EQ(0, wait_readable(fd));
	ASSERT_EQ(1, see(fd, &seen_a, 0));
}

/* The entries of @dump_a begin with these bytes and have these lengths. */
static void expect_entries(struct __test_metadata *_metadata,
			   const size_t *len, int count)
{
	size_t at = HDR_SIZE;
	int i;

	ASSERT_EQ(count, dump_a.hdr.count);
	for (i = 0; i < count; i++) {
		struct udp_repair_datagram *d = entry_at(&dump_a, at);

		ASSERT_EQ(ENTRY_SIZE, d->size);
		ASSERT_EQ(len[i], d->payload_len);
		ASSERT_EQ(ENTRY_SIZE + len[i], d->total_len);
		EXPECT_EQ(0, memcmp(text + i, payload_of(d), len[i]));
		at += align8(d->total_len);
	}
}

TEST_F(queue, empty)
{
	expect_empty(_metadata, self->a);
}

TEST_F(queue, order)
{
	const size_t len[] = { 0, 1, 0, 0, 1400, 8, 7, variant->max, 0, 20000 };
	int i;

	ASSERT_EQ(0, set_int(self->a, SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20));
	ASSERT_EQ(0, set_int(self->b, SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20));
	for (i = 0; i < ARRAY_SIZE(len); i++)
		ASSERT_EQ(0, send_new(variant->to, text + i, len[i]));
	ASSERT_EQ(0, wait_readable(self->a));

	ASSERT_EQ(0, dump_queue(self->a, &dump_a));
	EXPECT_EQ(ARRAY_SIZE(len), dump_a.hdr.queued);
	EXPECT_EQ(ARRAY_SIZE(len), dump_a.hdr.next);
	EXPECT_EQ(0, dump_a.hdr.next_len);
	EXPECT_EQ(POISON, dump_a.raw[dump_a.len]);
	expect_entries(_metadata, len, ARRAY_SIZE(len));

	ASSERT_EQ(0, put_all(self->b, &dump_a));
	for (i = 0; i < ARRAY_SIZE(len); i++)
		expect_same(_metadata, self->a, self->b, 0);
	expect_empty(_metadata, self->a);
	expect_empty(_metadata, self->b);
}

/* Some wait in the queue of the reader, some in the one where they came in. */
TEST_F(queue, both_halves)
{
	const size_t len[] = { 10, 11, 12, 13, 14 };
	int i;

	ASSERT_EQ(0, send_new(variant->to, text, 1));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, send_new(variant->to, text + i, len[i]));
	read_first(_metadata, self->a);
	for (i = 3; i < ARRAY_SIZE(len); i++)
		ASSERT_EQ(0, send_new(variant->to, text + i, len[i]));

	ASSERT_EQ(0, dump_queue(self->a, &dump_a));
	EXPECT_EQ(ARRAY_SIZE(len), dump_a.hdr.queued);
	expect_entries(_metadata, len, ARRAY_SIZE(len));

	/* From each position on. */
	for (i = 0; i <= ARRAY_SIZE(len); i++) {
		ASSERT_EQ(0, dump_part(self->a, &dump_b, i,
				       sizeof(dump_b.raw)));
		EXPECT_EQ(ARRAY_SIZE(len) - i, dump_b.hdr.count);
		EXPECT_EQ(ARRAY_SIZE(len), dump_b.hdr.queued);
		EXPECT_EQ(ARRAY_SIZE(len), dump_b.hdr.next);
		if (dump_b.hdr.count)
			EXPECT_EQ(len[i], entry_at(&dump_b,
						   HDR_SIZE)->payload_len);
	}
	ASSERT_EQ(0, dump_part(self->a, &dump_b, UINT_MAX,
			       sizeof(dump_b.raw)));
	EXPECT_EQ(0, dump_b.hdr.count);
	EXPECT_EQ(UINT_MAX, dump_b.hdr.next);
	EXPECT_EQ(0, dump_b.hdr.next_len);
}

/* The same datagrams as one dump, by buffers that just hold the next one. */
TEST_F(queue, small_buffers)
{
	const size_t len[] = { 5, 0, 3000, 16, 1 };
	size_t at = HDR_SIZE;
	__u32 next = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(len); i++)
		ASSERT_EQ(0, send_new(variant->to, text + i, len[i]));
	ASSERT_EQ(0, dump_queue(self->a, &dump_a));

	for (i = 0; i < ARRAY_SIZE(len); i++) {
		size_t total_len = ENTRY_SIZE + len[i];

		ASSERT_EQ(0, dump_part(self->a, &dump_b, next,
				       HDR_SIZE + total_len - 1));
		EXPECT_EQ(0, dump_b.hdr.count);
		EXPECT_EQ(next, dump_b.hdr.next);
		EXPECT_EQ(total_len, dump_b.hdr.next_len);
		EXPECT_EQ(HDR_SIZE, dump_b.len);
		EXPECT_EQ(POISON, dump_b.raw[HDR_SIZE]);

		ASSERT_EQ(0, dump_part(self->a, &dump_b, next,
				       HDR_SIZE + total_len));
		ASSERT_EQ(1, dump_b.hdr.count);
		EXPECT_EQ(HDR_SIZE + total_len, dump_b.len);
		EXPECT_EQ(next + 1, dump_b.hdr.next);
		EXPECT_EQ(i + 1 < ARRAY_SIZE(len) ? ENTRY_SIZE + len[i + 1] : 0,
			  dump_b.hdr.next_len);
		EXPECT_EQ(0, memcmp(dump_a.raw + at, dump_b.raw + HDR_SIZE,
				    total_len));
		next = dump_b.hdr.next;
		at += align8(total_len);
	}
}

/* Between two entries there can be up to 7 bytes, after the last one none. */
TEST_F(queue, gaps)
{
	const size_t room = HDR_SIZE + align8(ENTRY_SIZE + 1) + ENTRY_SIZE + 1;

	ASSERT_EQ(0, send_new(variant->to, text, 1));
	ASSERT_EQ(0, send_new(variant->to, text + 1, 1));
	ASSERT_EQ(0, dump_part(self->a, &dump_a, 0, room));
	EXPECT_EQ(2, dump_a.hdr.count);
	EXPECT_EQ(room, dump_a.len);
	EXPECT_EQ(0, dump_a.raw[HDR_SIZE + ENTRY_SIZE + 1]);

	ASSERT_EQ(0, dump_part(self->a, &dump_a, 0, room - 1));
	EXPECT_EQ(1, dump_a.hdr.count);
	EXPECT_EQ(HDR_SIZE + ENTRY_SIZE + 1, dump_a.len);
	EXPECT_EQ(POISON, dump_a.raw[HDR_SIZE + ENTRY_SIZE + 1]);
}

TEST_F(queue, many)
{
	const int count = BATCH + BATCH / 2;
	__u32 i;

	ASSERT_EQ(0, set_int(self->b, SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20));
	make_put(strchr(variant->to, ':') ? AF_INET6 : AF_INET, NULL, 0,
		 sizeof(i));
	for (i = 0; i < count; i++) {
		memcpy(put.rest, &i, sizeof(i));
		ASSERT_EQ(0, put_put(self->b));
	}

	ASSERT_EQ(0, dump_queue(self->b, &dump_a));
	EXPECT_EQ(BATCH, dump_a.hdr.count);
	EXPECT_EQ(BATCH, dump_a.hdr.next);
	EXPECT_EQ(count, dump_a.hdr.queued);
	EXPECT_EQ(put.d.total_len, dump_a.hdr.next_len);

	ASSERT_EQ(0, dump_part(self->b, &dump_b, BATCH, sizeof(dump_b.raw)));
	EXPECT_EQ(count - BATCH, dump_b.hdr.count);
	EXPECT_EQ(count, dump_b.hdr.next);
	EXPECT_EQ(0, dump_b.hdr.next_len);

	for (i = 0; i < count; i++) {
		struct dump *dump = i < BATCH ? &dump_a : &dump_b;
		size_t at = HDR_SIZE + i % BATCH * align8(put.d.total_len);

		EXPECT_EQ(0, memcmp(&i, payload_of(entry_at(dump, at)),
				    sizeof(i)));
	}
}

/* Nothing that a process or an administrator can see is different after. */
TEST_F(queue, untouched)
{
	const size_t len[] = { 100, 0, 200, 0, 300 };
	__u32 rmem, forward;
	int i;

	for (i = 0; i < ARRAY_SIZE(len); i++)
		ASSERT_EQ(0, send_new(variant->to, text + i, len[i]));
	ASSERT_EQ(0, set_int(self->a, SOL_SOCKET, SO_PEEK_OFF, 30));
	rmem = meminfo(self->a, SK_MEMINFO_RMEM_ALLOC);
	forward = meminfo(self->a, SK_MEMINFO_FWD_ALLOC);
	ASSERT_LT(0, rmem);

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, dump_queue(self->a, &dump_a));
		expect_entries(_metadata, len, ARRAY_SIZE(len));
	}

	EXPECT_EQ(30, get_int(self->a, SOL_SOCKET, SO_PEEK_OFF));
	EXPECT_EQ(rmem, meminfo(self->a, SK_MEMINFO_RMEM_ALLOC));
	EXPECT_EQ(forward, meminfo(self->a, SK_MEMINFO_FWD_ALLOC));
	EXPECT_EQ(0, meminfo(self->a, SK_MEMINFO_DROPS));
	EXPECT_EQ(100, in_queue(self->a));
	/* The rest of the first, then each empty one once. */
	EXPECT_EQ(70, see(self->a, &seen_a, MSG_PEEK));
	EXPECT_EQ(0, see(self->a, &seen_a, MSG_PEEK));
	EXPECT_EQ(200, see(self->a, &seen_a, MSG_PEEK));
	EXPECT_EQ(0, see(self->a, &seen_a, MSG_PEEK));
	EXPECT_EQ(300, see(self->a, &seen_a, MSG_PEEK));
	EXPECT_EQ(-EAGAIN, see(self->a, &seen_a, MSG_PEEK));
	for (i = 0; i < ARRAY_SIZE(len); i++) {
		ASSERT_EQ(len[i], see(self->a, &seen_a, 0));
		EXPECT_EQ(0, memcmp(text + i, seen_a.data, len[i]));
	}
	EXPECT_EQ(0, meminfo(self->a, SK_MEMINFO_RMEM_ALLOC));
}

/* That an empty one was peeked at decides what the next peek shows. */
TEST_F(queue, peeked_at)
{
	int i;

	ASSERT_EQ(0, send_new(variant->to, text, 0));
	ASSERT_EQ(0, send_new(variant->to, text, 10));
	ASSERT_EQ(0, set_int(self->a, SOL_SOCKET, SO_PEEK_OFF, 0));
	ASSERT_EQ(0, dump_queue(self->a, &dump_a));
	EXPECT_EQ(0, entry_at(&dump_a, HDR_SIZE)->flags &
		     UDP_REPAIR_RQ_PEEKED);

	ASSERT_EQ(0, see(self->a, &seen_a, MSG_PEEK));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, dump_queue(self->a, &dump_a));
		EXPECT_EQ(UDP_REPAIR_RQ_PEEKED,
			  entry_at(&dump_a, HDR_SIZE)->flags &
			  UDP_REPAIR_RQ_PEEKED);
	}

	ASSERT_EQ(0, put_all(self->b, &dump_a));
	ASSERT_EQ(0, set_int(self->b, SOL_SOCKET, SO_PEEK_OFF, 0));
	expect_same(_metadata, self->a, self->b, MSG_PEEK);
	EXPECT_EQ(10, seen_b.ret);
	EXPECT_EQ(0, see(self->b, &seen_b, 0));
	EXPECT_EQ(10, see(self->b, &seen_b, 0));
}

/* recvmsg() drops it, so it is not shown before either. */
TEST_F(queue, wrong_checksum)
{
	const struct packet bad = {
		.from = variant->to,
		.to = variant->to,
		/* A short one is checked, and dropped, at arrival. */
		.len = 500,
		.bad_csum = true,
	};

	ASSERT_EQ(0, send_new(variant->to, text, 1));
	ASSERT_EQ(0, send_raw(&bad));
	ASSERT_EQ(0, send_new(variant->to, text, 2));
	ASSERT_EQ(0, send_raw(&bad));

	ASSERT_EQ(0, dump_queue(self->a, &dump_a));
	EXPECT_EQ(4, dump_a.hdr.queued);
	EXPECT_EQ(2, dump_a.hdr.count);
	EXPECT_EQ(4, dump_a.hdr.next);
	EXPECT_EQ(0, dump_a.hdr.next_len);
	EXPECT_EQ(1, entry_at(&dump_a, HDR_SIZE)->payload_len);
	EXPECT_EQ(2, entry_at(&dump_a, HDR_SIZE +
			      align8(ENTRY_SIZE + 1))->payload_len);
	/* It was not counted before recvmsg() met it. */
	EXPECT_EQ(0, meminfo(self->a, SK_MEMINFO_DROPS));
	EXPECT_EQ(1, see(self->a, &seen_a, 0));
	EXPECT_EQ(2, see(self->a, &seen_a, 0));
	EXPECT_EQ(-EAGAIN, see(self->a, &seen_a, 0));
	EXPECT_EQ(2, meminfo(self->a, SK_MEMINFO_DROPS));
}

/* An edge is reported when the socket wakes its waiters, and only then. */
TEST_F(queue, wakes_waiters)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int i, ep = epoll_create1(EPOLL_CLOEXEC);

	make_put(strchr(variant->to, ':') ? AF_INET6 : AF_INET, NULL, 0, 10);
	ASSERT_LE(0, ep);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->b, &event));
	ASSERT_EQ(0, epoll_wait(ep, &event, 1, 0));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, put_put(self->b));
		EXPECT_EQ(1, epoll_wait(ep, &event, 1, 0));
		EXPECT_EQ(0, epoll_wait(ep, &event, 1, 0));
	}

	put.d.hop_limit = 1;
	put.d.reserved8 = 1;
	ASSERT_EQ(-EINVAL, put_put(self->b));
	EXPECT_EQ(0, epoll_wait(ep, &event, 1, 0));
	close(ep);
}

/* As many as arrive at a socket with the same buffer, and no drop is counted
 * for those that are refused.
 */
TEST_F(queue, full)
{
	const int family = strchr(variant->to, ':') ? AF_INET6 : AF_INET;
	const int size = 32768;
	int i, arrived, taken;
	__u32 rmem;

	ASSERT_EQ(0, set_int(self->a, SOL_SOCKET, SO_RCVBUFFORCE, size));
	ASSERT_EQ(0, set_int(self->b, SOL_SOCKET, SO_RCVBUFFORCE, size));
	while (!meminfo(self->a, SK_MEMINFO_DROPS))
		ASSERT_EQ(0, send_new(variant->to, text, 1000));
	for (arrived = 0; see(self->a, &seen_a, 0) == 1000; arrived++)
		;
	ASSERT_LT(1, arrived);

	make_put(family, NULL, 0, 1000);
	for (taken = 0; !put_put(self->b); taken++)
		ASSERT_GT(100 * arrived, taken);
	EXPECT_LE(arrived, taken);
	rmem = meminfo(self->b, SK_MEMINFO_RMEM_ALLOC);
	EXPECT_GE(2 * size, rmem);

	EXPECT_EQ(-ENOBUFS, put_put(self->b));
	EXPECT_EQ(0, meminfo(self->b, SK_MEMINFO_DROPS));
	EXPECT_EQ(rmem, meminfo(self->b, SK_MEMINFO_RMEM_ALLOC));

	/* An arrival and a restore find room at the same time. */
	for (i = 0; i < taken; i++)
		ASSERT_EQ(1000, see(self->b, &seen_b, 0));
	EXPECT_EQ(-EAGAIN, see(self->b, &seen_b, 0));
	EXPECT_EQ(0, meminfo(self->b, SK_MEMINFO_RMEM_ALLOC));
	EXPECT_EQ(0, put_put(self->b));
}

/* One that is larger than the buffer is taken when the queue is empty. */
TEST_F(queue, larger_than_the_buffer)
{
	make_put(strchr(variant->to, ':') ? AF_INET6 : AF_INET, NULL, 0,
		 variant->max);
	ASSERT_EQ(0, set_int(self->b, SOL_SOCKET, SO_RCVBUFFORCE, 4096));
	EXPECT_EQ(0, put_put(self->b));
	EXPECT_EQ(-ENOBUFS, put_put(self->b));
	EXPECT_EQ(variant->max, see(self->b, &seen_b, 0));
	EXPECT_EQ(0, memcmp(text, seen_b.data, variant->max));
}

/* The limit of the protocol, of the whole host: opened by main() where it is
 * visible, and as it was a moment later. Each processor has a reserve that is
 * not counted, less than what is put here.
 */
static int udp_mem;

TEST_F(queue, out_of_protocol_memory)
{
	const int size = 16 << 20, max = size / 2 / MAX_PAYLOAD;
	char limit[64] = "";
	int i, taken = 0;
	__u32 rmem;

	if (udp_mem < 0) {
		skip(_metadata, "no udp_mem to write to");
		return;
	}
	make_put(strchr(variant->to, ':') ? AF_INET6 : AF_INET, NULL, 0, 60000);
	ASSERT_EQ(0, set_int(self->b, SOL_SOCKET, SO_RCVBUFFORCE, size));
	ASSERT_LT(0, pread(udp_mem, limit, sizeof(limit) - 1, 0));
	ASSERT_LT(0, pwrite(udp_mem, "0 0 0", 5, 0));
	while (taken < max && !put_put(self->b))
		taken++;
	rmem = meminfo(self->b, SK_MEMINFO_RMEM_ALLOC);
	EXPECT_EQ(-ENOMEM, put_put(self->b));
	ASSERT_LT(0, pwrite(udp_mem, limit, strlen(limit), 0));

	EXPECT_GT(max, taken);
	EXPECT_EQ(rmem, meminfo(self->b, SK_MEMINFO_RMEM_ALLOC));
	EXPECT_EQ(0, meminfo(self->b, SK_MEMINFO_DROPS));
	EXPECT_EQ(0, put_put(self->b));
	for (i = 0; i < taken + 1; i++)
		ASSERT_EQ(60000, see(self->b, &seen_b, 0));
	expect_empty(_metadata, self->b);
	EXPECT_EQ(0, meminfo(self->b, SK_MEMINFO_RMEM_ALLOC));
}

/* What was received has passed the filter of its time. */
TEST_F(queue, filter_is_passed_by)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { .len = 1, .filter = &drop };

	ASSERT_EQ(0, set_opt(self->a, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
			     sizeof(prog)));
	ASSERT_EQ(0, send_new(variant->to, text, 10));
	expect_empty(_metadata, self->a);
	make_put(strchr(variant->to, ':') ? AF_INET6 : AF_INET, NULL, 0, 10);
	EXPECT_EQ(0, put_put(self->a));
	EXPECT_EQ(10, see(self->a, &seen_a, 0));
}

/* A keepalive of IPsec that was received before the socket was one of IPsec. */
TEST_F(queue, encapsulation_is_passed_by)
{
	if (variant->domain == AF_INET6)
		return;
	ASSERT_EQ(0, set_int(self->a, SOL_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP));
	ASSERT_EQ(0, send_new(variant->to, "\xff", 1));
	expect_empty(_metadata, self->a);
	make_put(AF_INET, NULL, 0, 1);
	put.rest[0] = 0xff;
	EXPECT_EQ(0, put_put(self->a));
	EXPECT_EQ(1, see(self->a, &seen_a, 0));
}

/* Received before connect(), so that what came from others is still there. */
TEST_F(queue, connected_to_another)
{
	ASSERT_EQ(0, send_new(variant->to, text, 10));
	ASSERT_EQ(0, dump_queue(self->a, &dump_a));
	ASSERT_EQ(0, connect_to(self->a, variant->bound[0] == ':' &&
				variant->bound[2] ? "::1" : "127.0.0.1", 9));
	ASSERT_EQ(0, connect_to(self->b, variant->bound[0] == ':' &&
				variant->bound[2] ? "::1" : "127.0.0.1", 9));
	EXPECT_EQ(0, put_all(self->b, &dump_a));
	expect_same(_metadata, self->a, self->b, 0);
	EXPECT_EQ(10, seen_b.ret);
}

TEST_F(queue, shut_down_for_reading)
{
	make_put(strchr(variant->to, ':') ? AF_INET6 : AF_INET, NULL, 0, 10);
	ASSERT_EQ(0, connect_to(self->b, variant->to[0] == ':' ? "::1" :
				"127.0.0.1", 9));
	ASSERT_EQ(0, shutdown(self->b, SHUT_RD));
	EXPECT_EQ(0, put_put(self->b));
	EXPECT_EQ(10, see(self->b, &seen_b, 0));
}

/* A dump can be put into a queue as often as wanted, also into its own. */
TEST_F(queue, more_than_once)
{
	int i;

	ASSERT_EQ(0, send_new(variant->to, text, 10));
	ASSERT_EQ(0, dump_queue(self->a, &dump_a));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, put_all(self->a, &dump_a));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(10, see(self->a, &seen_a, 0));
	EXPECT_EQ(-EAGAIN, see(self->a, &seen_a, 0));
}

TEST_F(queue, leaving_the_mode)
{
	make_put(strchr(variant->to, ':') ? AF_INET6 : AF_INET, NULL, 0, 10);
	ASSERT_EQ(0, put_put(self->b));
	ASSERT_EQ(0, set_repair(self->b, UDP_REPAIR_OFF));
	EXPECT_EQ(-EPERM, put_put(self->b));
	EXPECT_EQ(-EPERM, dump_queue(self->b, &dump_b));
	EXPECT_EQ(10, see(self->b, &seen_b, 0));
}

/* Request: what a dump may ask for. */

FIXTURE(request)
{
	int fd;
};

FIXTURE_VARIANT(request)
{
	struct udp_repair_recv_queue hdr;
	/* Behind the header that we know, where size says that there is more */
	__u8 unknown;
	socklen_t len;
	int err;
};

#define ROOM 16384

FIXTURE_VARIANT_ADD(request, exact)
{
	.hdr = { .size = HDR_SIZE, .entry_size = ENTRY_SIZE },
	.len = ROOM,
};

FIXTURE_VARIANT_ADD(request, header_only)
{
	.hdr = { .size = HDR_SIZE, .entry_size = ENTRY_SIZE },
	.len = HDR_SIZE,
};

FIXTURE_VARIANT_ADD(request, longer_header)
{
	.hdr = { .entry_size = ENTRY_SIZE, .size = HDR_SIZE + 8 },
	.len = ROOM,
};

FIXTURE_VARIANT_ADD(request, longer_entry)
{
	.hdr = { .size = HDR_SIZE, .entry_size = ENTRY_SIZE + 8 },
	.len = ROOM,
};

FIXTURE_VARIANT_ADD(request, page_header)
{
	.hdr = { .entry_size = ENTRY_SIZE, .size = 4096 },
	.len = ROOM,
};

FIXTURE_VARIANT_ADD(request, page_entry)
{
	.hdr = { .size = HDR_SIZE, .entry_size = 4096 },
	.len = ROOM,
};

FIXTURE_VARIANT_ADD(request, out_members_are_ignored)
{
	.hdr = {
		.size = HDR_SIZE, .entry_size = ENTRY_SIZE, .count = 1,
		.next = 2, .queued = 3, .next_len = 4,
	},
	.len = ROOM,
};

FIXTURE_VARIANT_ADD(request, no_room)
{
	.hdr = { .size = HDR_SIZE, .entry_size = ENTRY_SIZE },
	.len = HDR_SIZE - 1,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, nothing)
{
	.hdr = { .size = HDR_SIZE, .entry_size = ENTRY_SIZE },
	.len = 0,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, size_short)
{
	.hdr = { .entry_size = ENTRY_SIZE, .size = HDR_SIZE - 8 },
	.len = ROOM,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, size_zero)
{
	.hdr = { .entry_size = ENTRY_SIZE, .size = 0 },
	.len = ROOM,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, size_over_room)
{
	.hdr = { .entry_size = ENTRY_SIZE, .size = ROOM + 8 },
	.len = ROOM,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, size_uneven)
{
	.hdr = { .entry_size = ENTRY_SIZE, .size = HDR_SIZE + 4 },
	.len = ROOM,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, size_over_page)
{
	.hdr = { .entry_size = ENTRY_SIZE, .size = 8192 },
	.len = ROOM,
	.err = -E2BIG,
};

FIXTURE_VARIANT_ADD(request, entry_short)
{
	.hdr = { .size = HDR_SIZE, .entry_size = ENTRY_SIZE - 8 },
	.len = ROOM,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, entry_zero)
{
	.hdr = { .size = HDR_SIZE, .entry_size = 0 },
	.len = ROOM,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, entry_uneven)
{
	.hdr = { .size = HDR_SIZE, .entry_size = ENTRY_SIZE + 4 },
	.len = ROOM,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, entry_over_page)
{
	.hdr = { .size = HDR_SIZE, .entry_size = 8192 },
	.len = ROOM,
	.err = -E2BIG,
};

FIXTURE_VARIANT_ADD(request, entry_huge)
{
	.hdr = { .size = HDR_SIZE, .entry_size = UINT_MAX },
	.len = ROOM,
	.err = -E2BIG,
};

FIXTURE_VARIANT_ADD(request, flags)
{
	.hdr = { .size = HDR_SIZE, .entry_size = ENTRY_SIZE, .flags = 1 },
	.len = ROOM,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, reserved_first)
{
	.hdr = {
		.size = HDR_SIZE, .entry_size = ENTRY_SIZE, .reserved = { 1 },
	},
	.len = ROOM,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, reserved_last)
{
	.hdr = {
		.size = HDR_SIZE, .entry_size = ENTRY_SIZE,
		.reserved = { [7] = 1 },
	},
	.len = ROOM,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(request, unknown)
{
	.hdr = { .size = HDR_SIZE + 8, .entry_size = ENTRY_SIZE },
	.unknown = 1,
	.len = ROOM,
	.err = -E2BIG,
};

FIXTURE_SETUP(request)
{
	if (!setup(_metadata))
		return;
	self->fd = repair_socket(AF_INET);
	ASSERT_LE(0, self->fd);
	make_put(AF_INET, NULL, 0, 10);
	ASSERT_EQ(0, put_put(self->fd));
}

FIXTURE_TEARDOWN(request)
{
	close(self->fd);
}

TEST_F(request, dump)
{
	const struct udp_repair_recv_queue *hdr = &variant->hdr;
	const __u32 entry_size = hdr->entry_size;
	struct udp_repair_datagram *d;
	socklen_t len = variant->len;
	int i;

	memset(dump_a.raw, 0, sizeof(dump_a.raw));
	dump_a.hdr = *hdr;
	dump_a.raw[HDR_SIZE] = variant->unknown;
	memset(dump_a.raw + ROOM, POISON, sizeof(dump_a.raw) - ROOM);
	ASSERT_EQ(variant->err, get_opt(self->fd, SOL_UDP,
					UDP_REPAIR_RECV_QUEUE, dump_a.raw,
					&len));
	EXPECT_EQ(POISON, dump_a.raw[ROOM]);
	if (variant->err)
		return;

	EXPECT_EQ(hdr->size, dump_a.hdr.size);
	EXPECT_EQ(entry_size, dump_a.hdr.entry_size);
	EXPECT_EQ(0, dump_a.hdr.flags);
	EXPECT_EQ(0, dump_a.hdr.first);
	EXPECT_EQ(1, dump_a.hdr.queued);
	for (i = HDR_SIZE; i < hdr->size; i++)
		ASSERT_EQ(0, dump_a.raw[i]);
	if (variant->len == HDR_SIZE) {
		EXPECT_EQ(0, dump_a.hdr.count);
		EXPECT_EQ(0, dump_a.hdr.next);
		EXPECT_EQ(entry_size + 10, dump_a.hdr.next_len);
		EXPECT_EQ(HDR_SIZE, len);
		return;
	}
	EXPECT_EQ(hdr->size + entry_size + 10, len);
	EXPECT_EQ(1, dump_a.hdr.count);
	EXPECT_EQ(1, dump_a.hdr.next);
	EXPECT_EQ(0, dump_a.hdr.next_len);
	d = entry_at(&dump_a, hdr->size);
	EXPECT_EQ(entry_size, d->size);
	EXPECT_EQ(entry_size + 10, d->total_len);
	for (i = ENTRY_SIZE; i < entry_size; i++)
		ASSERT_EQ(0, ((__u8 *)d)[i]);
	EXPECT_EQ(0, memcmp(text, payload_of(d), 10));
}

/* A page that is not there, at each place where it can begin. */
TEST(bad_memory)
{
	const long page = sysconf(_SC_PAGESIZE);
	const size_t total = HDR_SIZE + ENTRY_SIZE + 5000;
	size_t room;
	__u8 *map;
	int fd;

	if (!setup(_metadata))
		return;
	fd = repair_socket(AF_INET);
	ASSERT_LE(0, fd);
	make_put(AF_INET, NULL, 0, 5000);
	ASSERT_EQ(0, put_put(fd));

	map = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_FALSE(map == MAP_FAILED);
	ASSERT_EQ(0, mprotect(map + 3 * page, page, PROT_NONE));
	for (room = 0; room < total; room += 24) {
		__u8 *at = map + 3 * page - room;
		struct udp_repair_recv_queue hdr = {
			.size = HDR_SIZE,
			.entry_size = ENTRY_SIZE,
		};
		socklen_t len = total;

		memcpy(at, &hdr, room < HDR_SIZE ? room : HDR_SIZE);
		ASSERT_EQ(-EFAULT, get_opt(fd, SOL_UDP, UDP_REPAIR_RECV_QUEUE,
					   at, &len)) {
			TH_LOG("%zu bytes", room);
		}
		memcpy(at, &put, room);
		if (room < put.d.total_len)
			ASSERT_EQ(-EFAULT, put_raw(fd, at, put.d.total_len)) {
				TH_LOG("%zu bytes", room);
			}
	}
	ASSERT_EQ(0, dump_queue(fd, &dump_a));
	EXPECT_EQ(1, dump_a.hdr.queued);
	EXPECT_EQ(5000, see(fd, &seen_a, 0));
	close(fd);
}

/* Value: each one at and next to its limits, on a datagram that is right
 * otherwise. What is taken comes out of a dump as it was put in.
 */

/* A datagram, and the socket that is to take it. */
struct taker {
	int domain;
	bool v6_only, gro;
	int family;
	size_t len;
};

static const struct taker d4 = { AF_INET, .family = AF_INET, .len = 100 };
static const struct taker d6 = { AF_INET6, .family = AF_INET6, .len = 100 };
static const struct taker mapped4 = { AF_INET6, .family = AF_INET, .len = 100 };
static const struct taker empty4 = { AF_INET, .family = AF_INET };
static const struct taker empty6 = { AF_INET6, .family = AF_INET6 };
static const struct taker d6_on_v4 = { AF_INET, .family = AF_INET6 };
static const struct taker d4_on_v6_only = {
	AF_INET6, .v6_only = true, .family = AF_INET
};

static const struct taker d6_on_v6_only = {
	AF_INET6, .v6_only = true, .family = AF_INET6
};

static const struct taker gro4 = {
	AF_INET, .gro = true, .family = AF_INET, .len = 1000
};

static const struct taker gro6 = {
	AF_INET6, .gro = true, .family = AF_INET6, .len = 1000
};

FIXTURE(value)
{
	int fd;
};

FIXTURE_VARIANT(value)
{
	const struct taker *taker;
	__u8 opt[48];
	size_t opt_len;
	__u8 nexthdr;	/* of the options, if there are any */
	size_t len;	/* on top of the taker's */
	struct {
		bool set;
		size_t at;
		__u64 to;
	} change[4];
	long optlen_off;	/* of the optlen from total_len */
	int err;
};

#define CHANGE(member, value)						\
	{ true, offsetof(struct udp_repair_datagram, member), value }

/* Words of addresses, in network byte order on any host. */
#define WORD(a, b, c, d) \
	__constant_htonl((__u32)(a) << 24 | (b) << 16 | (c) << 8 | (d))

FIXTURE_VARIANT_ADD(value, v4)
{
	.taker = &d4,
};

FIXTURE_VARIANT_ADD(value, v6)
{
	.taker = &d6,
};

FIXTURE_VARIANT_ADD(value, mapped)
{
	.taker = &mapped4,
};

FIXTURE_VARIANT_ADD(value, size_short)
{
	.taker = &d4,
	.change = { CHANGE(size, ENTRY_SIZE - 8) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, size_zero)
{
	.taker = &d4,
	.change = { CHANGE(size, 0) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, size_over_page)
{
	.taker = &d4,
	.change = { CHANGE(size, 8192) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, size_huge)
{
	.taker = &d4,
	.change = { CHANGE(size, UINT_MAX) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, total_len_short)
{
	.taker = &d4,
	.change = { CHANGE(total_len, ENTRY_SIZE + 99) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, total_len_long)
{
	.taker = &d4,
	.change = { CHANGE(total_len, ENTRY_SIZE + 101) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, flags_unknown)
{
	.taker = &d4,
	.change = { CHANGE(flags, 1U << 3) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, flags_last)
{
	.taker = &d4,
	.change = { CHANGE(flags, 1U << 31) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, flags_l3slave_v4)
{
	.taker = &d4,
	.change = { CHANGE(flags, UDP_REPAIR_RQ_L3SLAVE) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, flags_l3slave_v6)
{
	.taker = &d6,
	.change = { CHANGE(flags, UDP_REPAIR_RQ_L3SLAVE) },
};

FIXTURE_VARIANT_ADD(value, flags_peeked)
{
	.taker = &d4,
	.change = { CHANGE(flags, UDP_REPAIR_RQ_PEEKED) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, reserved8)
{
	.taker = &d4,
	.change = { CHANGE(reserved8, 1) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, reserved_first)
{
	.taker = &d4,
	.change = { CHANGE(reserved[0], 1) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, reserved_last)
{
	.taker = &d4,
	.change = { CHANGE(reserved[4], 1) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, family_none)
{
	.taker = &d4,
	.change = { CHANGE(family, AF_UNSPEC) },
	.err = -EAFNOSUPPORT,
};

FIXTURE_VARIANT_ADD(value, family_unknown)
{
	.taker = &d4,
	.change = { CHANGE(family, AF_UNIX) },
	.err = -EAFNOSUPPORT,
};

FIXTURE_VARIANT_ADD(value, family_v6_on_v4)
{
	.taker = &d6_on_v4,
	.err = -EAFNOSUPPORT,
};

FIXTURE_VARIANT_ADD(value, family_v4_on_v6_only)
{
	.taker = &d4_on_v6_only,
	.err = -EAFNOSUPPORT,
};

FIXTURE_VARIANT_ADD(value, family_v6_on_v6_only)
{
	.taker = &d6_on_v6_only,
};

FIXTURE_VARIANT_ADD(value, gso_half)
{
	.taker = &gro4,
	.change = { CHANGE(gso_size, 500) },
};

FIXTURE_VARIANT_ADD(value, gso_v6)
{
	.taker = &gro6,
	.change = { CHANGE(gso_size, 500) },
};

FIXTURE_VARIANT_ADD(value, gso_two)
{
	.taker = &gro4,
	.change = { CHANGE(gso_size, 999) },
};

FIXTURE_VARIANT_ADD(value, gso_one)
{
	.taker = &gro4,
	.change = { CHANGE(gso_size, 1000) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, gso_long)
{
	.taker = &gro4,
	.change = { CHANGE(gso_size, 65535) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, gso_most)
{
	.taker = &gro4,
	.change = { CHANGE(gso_size, 8) },
};

FIXTURE_VARIANT_ADD(value, gso_too_many)
{
	.taker = &gro4,
	.change = { CHANGE(gso_size, 7) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, gso_not_asked_for)
{
	.taker = &d4,
	.change = { CHANGE(gso_size, 50) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, gso_not_asked_for_v6)
{
	.taker = &d6,
	.change = { CHANGE(gso_size, 50) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, sport_zero)
{
	.taker = &d4,
	.change = { CHANGE(sport, 0) },
};

FIXTURE_VARIANT_ADD(value, dport_any)
{
	.taker = &d4,
	.change = { CHANGE(dport, 1) },
};

FIXTURE_VARIANT_ADD(value, v4_source_multicast)
{
	.taker = &d4,
	.change = { CHANGE(saddr[0], WORD(224, 0, 0, 1)) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_source_multicast_last)
{
	.taker = &d4,
	.change = { CHANGE(saddr[0], WORD(239, 255, 255, 255)) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_source_broadcast)
{
	.taker = &d4,
	.change = { CHANGE(saddr[0], WORD(255, 255, 255, 255)) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_source_zero)
{
	.taker = &d4,
	.change = { CHANGE(saddr[0], 0) },
};

FIXTURE_VARIANT_ADD(value, v4_source_rest)
{
	.taker = &d4,
	.change = { CHANGE(saddr[1], 1) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_source_rest_last)
{
	.taker = &d4,
	.change = { CHANGE(saddr[3], 1) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_to_multicast)
{
	.taker = &d4,
	.change = { CHANGE(daddr[0], WORD(224, 0, 0, 1)) },
};

FIXTURE_VARIANT_ADD(value, v4_to_broadcast)
{
	.taker = &d4,
	.change = { CHANGE(daddr[0], WORD(255, 255, 255, 255)) },
};

FIXTURE_VARIANT_ADD(value, v4_to_rest)
{
	.taker = &d4,
	.change = { CHANGE(daddr[1], 1) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_to_rest_last)
{
	.taker = &d4,
	.change = { CHANGE(daddr[3], 1) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_spec_dst_none)
{
	.taker = &d4,
	.change = { CHANGE(spec_dst, 0) },
};

FIXTURE_VARIANT_ADD(value, v4_spec_dst_multicast)
{
	.taker = &d4,
	.change = { CHANGE(spec_dst, WORD(224, 0, 0, 1)) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_spec_dst_broadcast)
{
	.taker = &d4,
	.change = { CHANGE(spec_dst, WORD(255, 255, 255, 255)) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_flowlabel)
{
	.taker = &d4,
	.change = { CHANGE(flowlabel, WORD(0, 0, 0, 1)) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_nexthdr)
{
	.taker = &d4,
	.change = { CHANGE(nexthdr, IPPROTO_UDP) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_source_multicast)
{
	.taker = &d6,
	.change = { CHANGE(saddr[0], WORD(0xff, 2, 0, 0)) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_source_mapped)
{
	.taker = &d6,
	.change = {
		CHANGE(saddr[0], 0), CHANGE(saddr[1], 0),
		CHANGE(saddr[2], WORD(0, 0, 0xff, 0xff)),
	},
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_to_mapped)
{
	.taker = &d6,
	.change = {
		CHANGE(daddr[0], 0), CHANGE(daddr[1], 0),
		CHANGE(daddr[2], WORD(0, 0, 0xff, 0xff)),
	},
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_source_unspecified)
{
	.taker = &d6,
	.change = { CHANGE(saddr[0], 0), CHANGE(saddr[3], 0) },
};

FIXTURE_VARIANT_ADD(value, v6_to_multicast)
{
	.taker = &d6,
	.change = { CHANGE(daddr[0], WORD(0xff, 2, 0, 0)) },
};

FIXTURE_VARIANT_ADD(value, v6_link_local)
{
	.taker = &d6,
	.change = { CHANGE(saddr[0], WORD(0xfe, 0x80, 0, 0)) },
};

FIXTURE_VARIANT_ADD(value, v6_link_local_without)
{
	.taker = &d6,
	.change = {
		CHANGE(ifindex, 0), CHANGE(saddr[0], WORD(0xfe, 0x80, 0, 0)),
	},
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_to_link_local_without)
{
	.taker = &d6,
	.change = {
		CHANGE(ifindex, 0), CHANGE(daddr[0], WORD(0xfe, 0x80, 0, 0)),
	},
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_to_multicast_without)
{
	.taker = &d6,
	.change = { CHANGE(ifindex, 0), CHANGE(daddr[0], WORD(0xff, 2, 0, 0)) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_link_local_of_vrf)
{
	.taker = &d6,
	.change = {
		CHANGE(ifindex, 0), CHANGE(flags, UDP_REPAIR_RQ_L3SLAVE),
		CHANGE(saddr[0], WORD(0xfe, 0x80, 0, 0)),
	},
};

FIXTURE_VARIANT_ADD(value, v6_link_local_of_vrf_without)
{
	.taker = &d6,
	.change = {
		CHANGE(iif, 0), CHANGE(flags, UDP_REPAIR_RQ_L3SLAVE),
		CHANGE(saddr[0], WORD(0xfe, 0x80, 0, 0)),
	},
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_spec_dst)
{
	.taker = &d6,
	.change = { CHANGE(spec_dst, WORD(192, 0, 2, 1)) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_flowlabel_most)
{
	.taker = &d6,
	.change = { CHANGE(flowlabel, WORD(0, 0xf, 0xff, 0xff)) },
};

FIXTURE_VARIANT_ADD(value, v6_flowlabel_over)
{
	.taker = &d6,
	.change = { CHANGE(flowlabel, WORD(0, 0x10, 0, 0)) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, iif_none)
{
	.taker = &d4,
	.change = { CHANGE(iif, 0) },
};

FIXTURE_VARIANT_ADD(value, iif_unknown)
{
	.taker = &d4,
	.change = { CHANGE(iif, NO_SUCH_LINK) },
	.err = -ENODEV,
};

FIXTURE_VARIANT_ADD(value, iif_negative)
{
	.taker = &d4,
	.change = { CHANGE(iif, UINT_MAX) },
	.err = -ENODEV,
};

FIXTURE_VARIANT_ADD(value, ifindex_none)
{
	.taker = &d4,
	.change = { CHANGE(ifindex, 0) },
};

FIXTURE_VARIANT_ADD(value, ifindex_unknown)
{
	.taker = &d4,
	.change = { CHANGE(ifindex, NO_SUCH_LINK) },
	.err = -ENODEV,
};

FIXTURE_VARIANT_ADD(value, v6_iif_none)
{
	.taker = &d6,
	.change = { CHANGE(iif, 0) },
};

FIXTURE_VARIANT_ADD(value, v6_ifindex_none)
{
	.taker = &d6,
	.change = { CHANGE(ifindex, 0) },
};

FIXTURE_VARIANT_ADD(value, v6_ifindex_unknown)
{
	.taker = &d6,
	.change = { CHANGE(ifindex, NO_SUCH_LINK) },
	.err = -ENODEV,
};

FIXTURE_VARIANT_ADD(value, hop_limit_zero)
{
	.taker = &d4,
	.change = { CHANGE(hop_limit, 0) },
};

FIXTURE_VARIANT_ADD(value, hop_limit_most)
{
	.taker = &d6,
	.change = { CHANGE(hop_limit, 255) },
};

FIXTURE_VARIANT_ADD(value, tclass_most)
{
	.taker = &d4,
	.change = { CHANGE(tclass, 255) },
};

FIXTURE_VARIANT_ADD(value, v6_tclass_most)
{
	.taker = &d6,
	.change = { CHANGE(tclass, 255) },
};

FIXTURE_VARIANT_ADD(value, priority_most)
{
	.taker = &d4,
	.change = { CHANGE(priority, UINT_MAX) },
};

FIXTURE_VARIANT_ADD(value, mark_most)
{
	.taker = &d6,
	.change = { CHANGE(mark, UINT_MAX) },
};

FIXTURE_VARIANT_ADD(value, frag_max_size_most)
{
	.taker = &d4,
	.change = { CHANGE(frag_max_size, 65535) },
};

FIXTURE_VARIANT_ADD(value, v6_frag_max_size_most)
{
	.taker = &d6,
	.change = { CHANGE(frag_max_size, 65535) },
};

FIXTURE_VARIANT_ADD(value, tstamp_most)
{
	.taker = &d4,
	.change = { CHANGE(tstamp, LLONG_MAX) },
};

FIXTURE_VARIANT_ADD(value, tstamp_negative)
{
	.taker = &d4,
	.change = { CHANGE(tstamp, 1ULL << 63) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, hwtstamp_most)
{
	.taker = &d4,
	.change = { CHANGE(hwtstamp, LLONG_MAX) },
};

FIXTURE_VARIANT_ADD(value, hwtstamp_negative)
{
	.taker = &d4,
	.change = { CHANGE(hwtstamp, ULLONG_MAX) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, csum_without_flag)
{
	.taker = &d4,
	.change = { CHANGE(csum, 1) },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, payload_none)
{
	.taker = &empty4,
	.len = 0,
};

FIXTURE_VARIANT_ADD(value, payload_page)
{
	.taker = &empty4,
	.len = 4096,
};

FIXTURE_VARIANT_ADD(value, payload_most)
{
	.taker = &empty4,
	.len = MAX_V4,
};

FIXTURE_VARIANT_ADD(value, payload_over)
{
	.taker = &empty4,
	.len = MAX_V4 + 1,
	.err = -EMSGSIZE,
};

FIXTURE_VARIANT_ADD(value, v6_payload_none)
{
	.taker = &empty6,
	.len = 0,
};

FIXTURE_VARIANT_ADD(value, v6_payload_most)
{
	.taker = &empty6,
	.len = MAX_V6,
};

FIXTURE_VARIANT_ADD(value, v6_payload_over)
{
	.taker = &empty6,
	.len = MAX_V6 + 1,
	.err = -EMSGSIZE,
};

FIXTURE_VARIANT_ADD(value, payload_huge)
{
	.taker = &d4,
	.change = {
		CHANGE(payload_len, UINT_MAX),
		CHANGE(total_len, ENTRY_SIZE - 1),
	},
	.err = -EMSGSIZE,
};

FIXTURE_VARIANT_ADD(value, peeked_empty)
{
	.taker = &empty4,
	.change = { CHANGE(flags, UDP_REPAIR_RQ_PEEKED) },
};

FIXTURE_VARIANT_ADD(value, total_len_and_optlen_short)
{
	.taker = &d4,
	.change = { CHANGE(total_len, ENTRY_SIZE + 99) },
	.optlen_off = -1,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, total_len_and_optlen_long)
{
	.taker = &d4,
	.change = { CHANGE(total_len, ENTRY_SIZE + 101) },
	.optlen_off = 1,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, optlen_short)
{
	.taker = &d4,
	.optlen_off = -1,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, optlen_long)
{
	.taker = &d4,
	.optlen_off = 1,
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_options_noops)
{
	.taker = &d4,
	.opt_len = 40,
	.opt = {
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	},
};

FIXTURE_VARIANT_ADD(value, v4_options_over)
{
	.taker = &d4,
	.opt_len = 44,
	.opt = {
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1,
	},
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_options_uneven)
{
	.taker = &d4,
	.opt_len = 3,
	.opt = { 1, 1, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_options_end)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { 0, 0, 0, 0 },
};

FIXTURE_VARIANT_ADD(value, v4_options_behind_end)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { 0, 0, 0, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_options_no_length)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { 1, 1, 1, 0x9e },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_options_length_zero)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { 0x9e, 0, 1, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_options_length_one)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { 0x9e, 1, 1, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_options_length_over)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { 0x9e, 5, 1, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_options_unknown)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { 0x9e, 4, 1, 1 },
};

FIXTURE_VARIANT_ADD(value, v4_rr)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_RR, 7, 8, 9, 9, 9, 9, 1 },
};

FIXTURE_VARIANT_ADD(value, v4_rr_short)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { IPOPT_RR, 2, 1, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_rr_least)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { IPOPT_RR, 3, 4, 1 },
};

FIXTURE_VARIANT_ADD(value, v4_rr_pointer_low)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_RR, 7, 3, 9, 9, 9, 9, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_rr_pointer_most)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_RR, 7, 255, 9, 9, 9, 9, 1 },
};

FIXTURE_VARIANT_ADD(value, v4_rr_twice)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_RR, 3, 4, IPOPT_RR, 3, 4, 1, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_ts)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_TIMESTAMP, 8, 9, 0, 9, 9, 9, 9 },
};

FIXTURE_VARIANT_ADD(value, v4_ts_short)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { IPOPT_TIMESTAMP, 3, 5, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_ts_least)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { IPOPT_TIMESTAMP, 4, 5, 0 },
};

FIXTURE_VARIANT_ADD(value, v4_ts_pointer_low)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_TIMESTAMP, 8, 4, 0, 9, 9, 9, 9 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_ts_kind_unknown)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_TIMESTAMP, 8, 5, 7, 9, 9, 9, 9 },
};

FIXTURE_VARIANT_ADD(value, v4_ts_twice)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_TIMESTAMP, 4, 5, 0, IPOPT_TIMESTAMP, 4, 5, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_lsrr)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_LSRR, 7, 8, 9, 9, 9, 9, 1 },
};

FIXTURE_VARIANT_ADD(value, v4_lsrr_short)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { IPOPT_LSRR, 2, 1, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_lsrr_least)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { IPOPT_LSRR, 3, 4, 1 },
};

FIXTURE_VARIANT_ADD(value, v4_lsrr_pointer_low)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_LSRR, 7, 3, 9, 9, 9, 9, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_lsrr_pointer_most)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_LSRR, 7, 255, 9, 9, 9, 9, 1 },
};

FIXTURE_VARIANT_ADD(value, v4_lsrr_and_ssrr)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_LSRR, 3, 4, IPOPT_SSRR, 3, 4, 1, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_router_alert)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { IPOPT_RA, 4, 0, 0 },
};

FIXTURE_VARIANT_ADD(value, v4_router_alert_short)
{
	.taker = &d4,
	.opt_len = 4,
	.opt = { IPOPT_RA, 3, 0, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_cipso_short)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_CIPSO, 6, 0, 0, 0, 1, 1, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_cipso_tag_over)
{
	.taker = &d4,
	.opt_len = 8,
	.opt = { IPOPT_CIPSO, 8, 0, 0, 0, 1, 1, 3 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v4_cipso_no_domain)
{
	.taker = &d4,
	.opt_len = 12,
	.opt = { IPOPT_CIPSO, 10, 0, 0, 0, 0, 1, 4, 0, 0, 1, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_hop_by_hop)
{
	.taker = &d6,
	.nexthdr = IPPROTO_HOPOPTS,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0 },
};

FIXTURE_VARIANT_ADD(value, v6_hop_by_hop_long)
{
	.taker = &d6,
	.nexthdr = IPPROTO_HOPOPTS,
	.opt_len = 16,
	.opt = { IPPROTO_UDP, 1, 0x1e, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
};

FIXTURE_VARIANT_ADD(value, v6_hop_by_hop_option_over)
{
	.taker = &d6,
	.nexthdr = IPPROTO_HOPOPTS,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 0, 1, 5, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_hop_by_hop_option_no_length)
{
	.taker = &d6,
	.nexthdr = IPPROTO_HOPOPTS,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 0, 0, 0, 0, 0, 0, 1 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_hop_by_hop_pads)
{
	.taker = &d6,
	.nexthdr = IPPROTO_HOPOPTS,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 0, 0, 0, 0, 0, 0, 0 },
};

FIXTURE_VARIANT_ADD(value, v6_hop_by_hop_over)
{
	.taker = &d6,
	.nexthdr = IPPROTO_HOPOPTS,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 1, 1, 4, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_hop_by_hop_second)
{
	.taker = &d6,
	.nexthdr = IPPROTO_DSTOPTS,
	.opt_len = 16,
	.opt = {
		IPPROTO_HOPOPTS, 0, 1, 4, 0, 0, 0, 0, IPPROTO_UDP, 0, 1, 4, 0,
		0, 0, 0,
	},
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_destination_options)
{
	.taker = &d6,
	.nexthdr = IPPROTO_DSTOPTS,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0 },
};

FIXTURE_VARIANT_ADD(value, v6_destination_option_over)
{
	.taker = &d6,
	.nexthdr = IPPROTO_DSTOPTS,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 0, 1, 5, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_routing_header)
{
	.taker = &d6,
	.nexthdr = IPPROTO_ROUTING,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 0, 253, 0, 0, 0, 0, 0 },
};

FIXTURE_VARIANT_ADD(value, v6_routing_header_over)
{
	.taker = &d6,
	.nexthdr = IPPROTO_ROUTING,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 255, 253, 0, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_fragment)
{
	.taker = &d6,
	.nexthdr = IPPROTO_FRAGMENT,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 255, 0, 0, 0, 0, 0, 0 },
};

FIXTURE_VARIANT_ADD(value, v6_uneven)
{
	.taker = &d6,
	.nexthdr = IPPROTO_DSTOPTS,
	.opt_len = 9,
	.opt = { IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_short)
{
	.taker = &d6,
	.nexthdr = IPPROTO_DSTOPTS,
	.opt_len = 1,
	.opt = { IPPROTO_UDP },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_header_left_over)
{
	.taker = &d6,
	.nexthdr = IPPROTO_UDP,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_header_missing)
{
	.taker = &d6,
	.nexthdr = IPPROTO_DSTOPTS,
	.opt_len = 8,
	.opt = { IPPROTO_ROUTING, 0, 1, 4, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_no_next_header)
{
	.taker = &d6,
	.nexthdr = IPPROTO_DSTOPTS,
	.opt_len = 8,
	.opt = { IPPROTO_NONE, 0, 1, 4, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_tcp)
{
	.taker = &d6,
	.nexthdr = IPPROTO_DSTOPTS,
	.opt_len = 8,
	.opt = { IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_esp)
{
	.taker = &d6,
	.nexthdr = IPPROTO_ESP,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_ah)
{
	.taker = &d6,
	.nexthdr = IPPROTO_AH,
	.opt_len = 8,
	.opt = { IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0 },
	.err = -EINVAL,
};

FIXTURE_VARIANT_ADD(value, v6_nexthdr_tcp)
{
	.taker = &d6,
	.change = { CHANGE(nexthdr, IPPROTO_TCP) },
	.err = -EINVAL,
};

FIXTURE_SETUP(value)
{
	const struct taker *taker = variant->taker;

	if (!setup(_metadata))
		return;
	self->fd = repair_socket(taker->domain);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, set_int(self->fd, SOL_UDP, UDP_GRO, taker->gro));
	if (taker->v6_only)
		ASSERT_EQ(0, set_int(self->fd, SOL_IPV6, IPV6_V6ONLY, 1));
}

FIXTURE_TEARDOWN(value)
{
	close(self->fd);
}

/* Of the member at @at, see the layout at the top. */
static size_t size_of_member(size_t at)
{
	switch (at) {
	case 72 ... 75:
		return 1;
	case 16 ... 23:
	case 76 ... 79:
		return 2;
	case 88 ... 103:
		return 8;
	default:
		return 4;
	}
}

static void change(size_t at, __u64 to)
{
	size_t size = size_of_member(at);
	const __u16 to16 = to;
	const __u32 to32 = to;
	const __u8 to8 = to;

	memcpy((__u8 *)&put + at, size == 1 ? (const void *)&to8 :
				  size == 2 ? (const void *)&to16 :
				  size == 4 ? (const void *)&to32 : &to, size);
}

TEST_F(value, put)
{
	const struct taker *taker = variant->taker;
	const size_t payload_len = taker->len + variant->len;
	socklen_t len;
	int i;

	make_put(taker->family, variant->opt, variant->opt_len, payload_len);
	if (taker->family == AF_INET6 && variant->opt_len)
		put.d.nexthdr = variant->nexthdr;
	for (i = 0; i < ARRAY_SIZE(variant->change); i++)
		if (variant->change[i].set)
			change(variant->change[i].at, variant->change[i].to);
	len = ENTRY_SIZE + variant->opt_len + payload_len + variant->optlen_off;
	ASSERT_EQ(variant->err, put_raw(self->fd, &put, len));
	if (variant->err) {
		expect_empty(_metadata, self->fd);
		EXPECT_EQ(0, meminfo(self->fd, SK_MEMINFO_RMEM_ALLOC));
		EXPECT_EQ(0, meminfo(self->fd, SK_MEMINFO_DROPS));
		return;
	}

	ASSERT_EQ(0, dump_queue(self->fd, &dump_a));
	ASSERT_EQ(1, dump_a.hdr.count);
	EXPECT_EQ(HDR_SIZE + len, dump_a.len);
	EXPECT_EQ(0, memcmp(&put, dump_a.raw + HDR_SIZE, len));
	/* Every control message is made from it. */
	ASSERT_EQ(0, show_everything(self->fd, taker->domain, SO_TIMESTAMPNS));
	ASSERT_EQ(payload_len, see(self->fd, &seen_a, 0));
	EXPECT_EQ(0, memcmp(text, seen_a.data, payload_len));
	EXPECT_EQ(0, meminfo(self->fd, SK_MEMINFO_RMEM_ALLOC));
}

/* A newer program: what this kernel does not know has to be 0. */
TEST(newer_datagram)
{
	int fd;

	if (!setup(_metadata))
		return;
	fd = repair_socket(AF_INET);
	ASSERT_LE(0, fd);
	make_put(AF_INET, NULL, 0, 8);
	memset(put.rest, 0, 8);
	memcpy(put.rest + 8, text, 8);
	put.d.size += 8;
	put.d.total_len += 8;
	EXPECT_EQ(0, put_put(fd));
	EXPECT_EQ(8, see(fd, &seen_a, 0));
	EXPECT_EQ(0, memcmp(text, seen_a.data, 8));

	put.d.size -= 4;
	put.d.total_len -= 4;
	EXPECT_EQ(-EINVAL, put_put(fd));
	put.d.size += 4;
	put.d.total_len += 4;
	put.rest[7] = 1;
	EXPECT_EQ(-E2BIG, put_put(fd));
	memset(put.rest, 0, 8192);
	put.d.size = 8192;
	put.d.total_len = 8192 + 8;
	EXPECT_EQ(-E2BIG, put_put(fd));
	expect_empty(_metadata, fd);
	close(fd);
}

/* The sum is checked against the payload, and both zeros are one number. */
TEST(checksum)
{
	static const struct {
		__u8 payload[3];
		size_t len;
		__u8 sum[4];	/* in memory */
		int err;
	} row[] = {
		{ { 0x12, 0x34 }, 2, { 0x12, 0x34, 0, 0 }, 0 },
		{ { 0x12, 0x34 }, 2, { 0x12, 0x35, 0, 0 }, -EINVAL },
		{ { 0x12, 0x34 }, 2, { 0, 0, 0, 0 }, -EINVAL },
		{ { 0x12, 0x34, 0x56 }, 3, { 0x12, 0x34, 0x56, 0 }, 0 },
		{ { 0, 0 }, 2, { 0, 0, 0, 0 }, 0 },
		{ { 0, 0 }, 2, { 0xff, 0xff, 0, 0 }, 0 },
		{ { 0xff, 0xff }, 2, { 0, 0, 0, 0 }, 0 },
		{ { 0xff, 0xff }, 2, { 0xff, 0xff, 0xff, 0xff }, 0 },
		{ { 0 }, 0, { 0, 0, 0, 0 }, 0 },
		{ { 0 }, 0, { 1, 0, 0, 0 }, -EINVAL },
	};
	const void *sum;
	size_t len;
	int i, fd;

	if (!setup(_metadata))
		return;
	fd = repair_socket(AF_INET);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, set_int(fd, SOL_IP, IP_CHECKSUM, 1));
	for (i = 0; i < ARRAY_SIZE(row); i++) {
		make_put(AF_INET, NULL, 0, row[i].len);
		put.d.flags = UDP_REPAIR_RQ_CSUM;
		memcpy(put.rest, row[i].payload, row[i].len);
		memcpy(&put.d.csum, row[i].sum, sizeof(put.d.csum));
		EXPECT_EQ(row[i].err, put_put(fd)) {
			TH_LOG("row %d", i);
		}
		if (row[i].err)
			continue;
		ASSERT_EQ(0, dump_queue(fd, &dump_a));
		EXPECT_EQ(0, memcmp(&put, dump_a.raw + HDR_SIZE,
				    put.d.total_len));
		ASSERT_EQ(row[i].len, see(fd, &seen_a, 0));
		sum = control_of(&seen_a, SOL_IP, IP_CHECKSUM, &len);
		ASSERT_TRUE(!!sum);
		EXPECT_EQ(0, memcmp(sum, row[i].sum, 4));
	}
	expect_empty(_metadata, fd);
	close(fd);
}

/* What loopback never shows: time of a device, and the scope of a VRF. */
TEST(not_of_loopback)
{
	const struct {
		long long sec, nsec;
	} want = { 12, 345678901 };
	const __u8 *stamp;
	size_t len, half;
	int fd;

	if (!setup(_metadata))
		return;
	fd = repair_socket(AF_INET6);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, set_int(fd, SOL_SOCKET, SO_TIMESTAMPING_NEW,
			     SOF_TIMESTAMPING_SOFTWARE |
			     SOF_TIMESTAMPING_RAW_HARDWARE));
	make_put(AF_INET6, NULL, 0, 10);
	put.d.hwtstamp = 12345678901ULL + 0 * want.nsec;
	put.d.flags = UDP_REPAIR_RQ_L3SLAVE;
	put.d.saddr[0] = htonl(0xfe800000);
	put.d.ifindex = 0;
	ASSERT_EQ(0, put_put(fd));
	ASSERT_EQ(10, see(fd, &seen_a, 0));
	EXPECT_EQ(LO, seen_a.name.v6.sin6_scope_id);
	stamp = control_of(&seen_a, SOL_SOCKET, SO_TIMESTAMPING_NEW, &len);
	ASSERT_TRUE(!!stamp);
	half = 16;
	ASSERT_EQ(3 * half, len);
	EXPECT_EQ(12, *(const __s64 *)(stamp + 2 * half));
	EXPECT_EQ(345678901, *(const __s64 *)(stamp + 2 * half + 8));
	EXPECT_EQ(1234567890, *(const __s64 *)stamp);
	EXPECT_EQ(123456789, *(const __s64 *)(stamp + 8));
	close(fd);
}

/* Race: one socket, and at the same time arrivals, restores, readers, peekers,
 * dumps, and a peer that is set and taken back. Every datagram says in its
 * payload how long it is and what else is in it; at the end none was made twice
 * and none is missing but those that were counted as dropped.
 */

struct tally {
	unsigned int sent, put, received;
	bool stop;
};

static void fill_numbered(__u8 *to, __u32 number, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = number + i;
}

static bool is_numbered(const __u8 *data, size_t len)
{
	size_t i;

	for (i = 1; i < len; i++)
		if (data[i] != (__u8)(data[0] + i))
			return false;
	return true;
}

static int race_send(struct tally *tally, int fd)
{
	int tx = sys_socket(AF_INET, SOCK_DGRAM, 0);
	__u32 n = 0;
	int ret = 0;

	while (!ret && !__atomic_load_n(&tally->stop, __ATOMIC_RELAXED)) {
		size_t len = n * 37 % 3000;

		fill_numbered(text, n++, len);
		if (send_to(tx, "127.0.0.1", text, len) != len)
			ret = 1;
		else
			__atomic_add_fetch(&tally->sent, 1, __ATOMIC_RELAXED);
	}
	return ret;
}

static int race_put(struct tally *tally, int fd)
{
	__u32 n = 0;
	int ret;

	do {
		make_put(AF_INET, NULL, 0, n * 53 % 9000);
		fill_numbered(put.rest, n++, put.d.payload_len);
		ret = put_put(fd);
		if (!ret)
			__atomic_add_fetch(&tally->put, 1, __ATOMIC_RELAXED);
		if (ret && ret != -ENOBUFS)
			return 2;
	} while (!__atomic_load_n(&tally->stop, __ATOMIC_RELAXED));
	return 0;
}

static int race_read(struct tally *tally, int fd, int flags)
{
	int ret;

	while (!__atomic_load_n(&tally->stop, __ATOMIC_RELAXED)) {
		ret = see(fd, &seen_a, flags);
		if (ret == -EAGAIN || ret == -ECONNREFUSED)
			continue;
		if (ret < 0 || !is_numbered(seen_a.data, ret))
			return 3;
		if (!flags)
			__atomic_add_fetch(&tally->received, 1,
					   __ATOMIC_RELAXED);
	}
	return 0;
}

static int race_receive(struct tally *tally, int fd)
{
	return race_read(tally, fd, 0);
}

static int race_peek(struct tally *tally, int fd)
{
	return race_read(tally, fd, MSG_PEEK);
}

static int race_connect(struct tally *tally, int fd)
{
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	while (!__atomic_load_n(&tally->stop, __ATOMIC_RELAXED))
		if (connect_to(fd, "127.0.0.1", 9) ||
		    connect(fd, &nobody, sizeof(nobody)))
			return 4;
	return 0;
}

/* Also with another size and position each time. */
static int race_dump(struct tally *tally, int fd)
{
	int n;

	for (n = 0; n < 400; n++) {
		size_t at = HDR_SIZE;
		int i;

		if (dump_part(fd, &dump_a, n % 5, n % 7 * 40000 + HDR_SIZE))
			return 5;
		for (i = 0; i < dump_a.hdr.count; i++) {
			struct udp_repair_datagram *d = entry_at(&dump_a, at);

			if (at + d->total_len > dump_a.len ||
			    d->size != ENTRY_SIZE ||
			    d->total_len != ENTRY_SIZE + d->payload_len ||
			    !is_numbered(payload_of(d), d->payload_len))
				return 6;
			at += align8(d->total_len);
		}
	}
	__atomic_store_n(&tally->stop, true, __ATOMIC_RELAXED);
	return 0;
}

TEST(race)
{
	static int (*const part[])(struct tally *tally, int fd) = {
		race_send, race_put, race_receive, race_peek, race_connect,
		race_dump, race_dump,
	};
	pid_t pid[ARRAY_SIZE(part)];
	struct tally *tally;
	int i, fd, status;

	if (!setup(_metadata))
		return;
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_FALSE(tally == MAP_FAILED);
	fd = receiver(AF_INET, "127.0.0.1");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, 1 << 18));

	for (i = 0; i < ARRAY_SIZE(part); i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			_exit(part[i](tally, fd));
	}
	for (i = 0; i < ARRAY_SIZE(part); i++) {
		ASSERT_EQ(pid[i], waitpid(pid[i], &status, 0));
		EXPECT_EQ(0, status);
		if (status)
			tally->stop = true;
	}

	EXPECT_LT(0, tally->put);
	EXPECT_LT(0, tally->received);
	while (see(fd, &seen_a, 0) != -EAGAIN)
		tally->received++;
	/* Those sent while the socket had another peer reached nobody. */
	EXPECT_GE(tally->sent + tally->put,
		  tally->received + meminfo(fd, SK_MEMINFO_DROPS));
	EXPECT_LE(tally->put, tally->received);
	EXPECT_EQ(0, meminfo(fd, SK_MEMINFO_RMEM_ALLOC));
	close(fd);
}

int main(int argc, char **argv)
{
	/* Of the host: only the first network namespace has it. */
	udp_mem = open("/proc/sys/net/ipv4/udp_mem", O_RDWR | O_CLOEXEC);
	netns = enter_netns();
	return test_harness_run(argc, argv);
}

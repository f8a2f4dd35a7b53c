// SPDX-License-Identifier: GPL-2.0
/*
 * UDP_REPAIR and UDP_REPAIR_SEND_QUEUE: what is read out of a datagram under
 * construction, what is refused, and who may ask.
 *
 * The tests have a network namespace of their own:
 *
 *   sender -- lo ---- 127.0.0.0/8, ::1, fd00::2 -- receiver
 *          \
 *           wire ---- 192.0.2.1/24, fd00:1::1/64, fe80::1/64
 *             |       a TUN device that nobody reads: for what loopback does
 *             |       not have, an interface to ask for and a gateway
 *             +------ 198.51.100.0/24 via 192.0.2.2
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
#include <net/route.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/in6.h>
#include <linux/ipv6.h>
#include <linux/net_tstamp.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/udp_repair.h>

#include "kselftest_harness.h"

#ifndef SOL_UDP
#define SOL_UDP 17
#endif

#ifndef SCM_TS_OPT_ID
#define SCM_TS_OPT_ID 81
#endif

/* The layout is part of the ABI, the same for every architecture. */
#define MEMBER_AT(at, member) \
	static_assert(offsetof(struct udp_repair_send_queue, member) == (at), \
		      #member)

MEMBER_AT(0, size);
MEMBER_AT(4, flags);
MEMBER_AT(8, state);
MEMBER_AT(12, total_len);
MEMBER_AT(16, payload_len);
MEMBER_AT(20, family);
MEMBER_AT(22, gso_size);
MEMBER_AT(24, sport);
MEMBER_AT(26, dport);
MEMBER_AT(28, saddr);
MEMBER_AT(44, daddr);
MEMBER_AT(60, oif);
MEMBER_AT(64, ifindex);
MEMBER_AT(68, flowlabel);
MEMBER_AT(72, hop_limit);
MEMBER_AT(74, tclass);
MEMBER_AT(76, priority);
MEMBER_AT(80, mark);
MEMBER_AT(84, fragsize);
MEMBER_AT(88, tsflags);
MEMBER_AT(92, tskey);
MEMBER_AT(96, txtime);
MEMBER_AT(104, ipopt_len);
MEMBER_AT(106, hopopt_len);
MEMBER_AT(108, dst0opt_len);
MEMBER_AT(110, srcrt_len);
MEMBER_AT(112, dst1opt_len);
MEMBER_AT(114, reserved);
static_assert(sizeof(struct udp_repair_send_queue) == 128, "size");
static_assert(UDP_REPAIR_SEND_QUEUE_SIZE_VER0 == 128, "first published size");

#define HDR_SIZE	sizeof(struct udp_repair_send_queue)
#define MAX_PARTS	2048
#define MAX_PAYLOAD	65536
#define POISON		0xa5

/* The same in both byte orders. */
#define SENDER_PORT	0x2222
#define RECEIVER_PORT	0x3333

#define LO		1
#define LO_MTU		65536
#define WIRE		77

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
		struct udp_repair_send_queue hdr;
		__u8 raw[HDR_SIZE + MAX_PARTS + MAX_PAYLOAD];
	};
};

/* What is sent, and the two last dumps. A test is a process of its own. */
static __u8 text[MAX_PAYLOAD];
static struct dump first, second;

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

static int sys_socket(int domain, int type)
{
	int fd = socket(domain, type | SOCK_CLOEXEC, 0);

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
	int val = INT_MIN;
	socklen_t len = sizeof(val);
	int ret = get_opt(fd, level, name, &val, &len);

	return ret ?: val;
}

static int set_repair(int fd, int val)
{
	return set_int(fd, SOL_UDP, UDP_REPAIR, val);
}

static int get_repair(int fd)
{
	return get_int(fd, SOL_UDP, UDP_REPAIR);
}

static int get_send_queue(int fd, void *buf, socklen_t *len)
{
	return get_opt(fd, SOL_UDP, UDP_REPAIR_SEND_QUEUE, buf, len);
}

/* The complete dump. What the kernel does not write is poison. */
static int dump_queue(int fd, struct dump *dump)
{
	memset(dump, POISON, sizeof(*dump));
	dump->hdr.size = HDR_SIZE;
	dump->hdr.flags = 0;
	memset(dump->hdr.reserved, 0, sizeof(dump->hdr.reserved));
	dump->len = sizeof(dump->raw);
	return get_send_queue(fd, dump->raw, &dump->len);
}

/* Leave a pattern on the kernel's stack for the next call to find. */
static void stain_kernel_stack(int fd)
{
	struct sockaddr_storage name;

	memset(&name, POISON, sizeof(name));
	bind(fd, (struct sockaddr *)&name, sizeof(name));
}

static size_t parts_len(const struct udp_repair_send_queue *hdr)
{
	return hdr->ipopt_len + hdr->hopopt_len + hdr->dst0opt_len +
	       hdr->srcrt_len + hdr->dst1opt_len;
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

/* Network namespace */

static int lo_set_mtu(int mtu)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_mtu = mtu };
	int fd = sys_socket(AF_INET, SOCK_DGRAM);
	int ret;

	ret = ioctl(fd, SIOCSIFMTU, &ifr) ? -errno : 0;
	close(fd);
	return ret;
}

static int link_up(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_UP };
	int fd = sys_socket(AF_INET, SOCK_DGRAM);
	int ret;

	strcpy(ifr.ifr_name, name);
	ret = ioctl(fd, SIOCSIFFLAGS, &ifr) ? -errno : 0;
	close(fd);
	return ret;
}

static void set_sockaddr_v4(struct sockaddr *to, const char *name)
{
	union addr addr;

	set_addr(&addr, name, 0);
	memcpy(to, &addr.sa, sizeof(addr.sa));
}

static int link_add_v4(const char *name, const char *addr, const char *mask)
{
	int fd = sys_socket(AF_INET, SOCK_DGRAM);
	struct ifreq ifr = {};
	int ret;

	strcpy(ifr.ifr_name, name);
	set_sockaddr_v4(&ifr.ifr_addr, addr);
	ret = ioctl(fd, SIOCSIFADDR, &ifr) ? -errno : 0;
	if (!ret) {
		set_sockaddr_v4(&ifr.ifr_netmask, mask);
		ret = ioctl(fd, SIOCSIFNETMASK, &ifr) ? -errno : 0;
	}
	close(fd);
	return ret;
}

/* The address can be used when this returns. */
static int link_add_v6(int ifindex, const char *addr, int prefix)
{
	struct in6_ifreq ifr = {
		.ifr6_ifindex = ifindex,
		.ifr6_prefixlen = prefix,
	};
	int fd = sys_socket(AF_INET6, SOCK_DGRAM);
	int tries, ret;
	union addr sin;

	set_addr(&sin, addr, 0);
	sin.v6.sin6_scope_id = ifindex;
	ifr.ifr6_addr = sin.v6.sin6_addr;
	ret = ioctl(fd, SIOCSIFADDR, &ifr) ? -errno : 0;
	/* A new address is tentative until a worker of the kernel has seen it,
	 * also where no duplicates are looked for. Nothing tells when.
	 */
	for (tries = DEADLINE_MS; !ret && tries; tries--) {
		if (!bind(fd, &sin.sa, sizeof(sin.v6)))
			break;
		usleep(1000);
	}
	if (!tries)
		ret = -ETIMEDOUT;
	close(fd);
	return ret;
}

static int route_add_v4(const char *dst, const char *mask, const char *gateway)
{
	int fd = sys_socket(AF_INET, SOCK_DGRAM);
	struct rtentry rt = { .rt_flags = RTF_UP | RTF_GATEWAY };
	int ret;

	set_sockaddr_v4(&rt.rt_dst, dst);
	set_sockaddr_v4(&rt.rt_genmask, mask);
	set_sockaddr_v4(&rt.rt_gateway, gateway);
	ret = ioctl(fd, SIOCADDRT, &rt) ? -errno : 0;
	close(fd);
	return ret;
}

/* New devices get no link-local address of their own. */
static int no_autoconf(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/default/addr_gen_mode",
		      O_WRONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, "1", 1) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static int enter_netns(void)
{
	if (unshare(CLONE_NEWNET))
		return -errno;
	return link_up("lo") ?: link_add_v6(LO, "fd00::2", 128) ?:
	       no_autoconf();
}

/* The wire lives as long as the returned descriptor. */
static int make_wire(void)
{
	struct ifreq ifr = {
		.ifr_name = "wire",
		.ifr_flags = IFF_TUN | IFF_NO_PI,
	};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	int index = WIRE;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, TUNSETIFINDEX, &index) || ioctl(fd, TUNSETIFF, &ifr))
		return -errno;
	return link_up("wire") ?:
	       link_add_v4("wire", "192.0.2.1", "255.255.255.0") ?:
	       route_add_v4("198.51.100.0", "255.255.255.0", "192.0.2.2") ?:
	       link_add_v6(WIRE, "fd00:1::1", 64) ?:
	       link_add_v6(WIRE, "fe80::1", 64) ?: fd;
}

/* Made once, by main(): on a debug kernel a namespace costs more than the test
 * that runs in it. What a test changes in there, setup() sets.
 */
static int netns, wire;

static void fill_text(void)
{
	size_t i;

	/* Does not repeat at any length at which data is cut. */
	for (i = 0; i < sizeof(text); i++)
		text[i] = i * 7 + (i >> 8) * 13;
}

/* False: the test is skipped. */
static bool setup(struct __test_metadata *_metadata, int mtu)
{
	int fd;

	if (netns == -EPERM) {
		skip(_metadata, "not allowed to make a network namespace");
		return false;
	}
	ASSERT_EQ(0, netns);
	ASSERT_EQ(0, lo_set_mtu(mtu));
	fill_text();

	fd = sys_socket(AF_INET, SOCK_DGRAM);
	ASSERT_LE(0, fd);
	if (get_repair(fd) == -ENOPROTOOPT) {
		skip(_metadata, "kernel without CONFIG_INET_REPAIR");
		return false;
	}
	close(fd);
	return true;
}

/* Payload: how it was put together does not matter, it comes out in one piece,
 * as often as asked, and still leaves whole.
 */

FIXTURE(payload)
{
	int tx;
	int rx;
};

FIXTURE_VARIANT(payload)
{
	int domain;
	const char *to;
	bool cork;	/* UDP_CORK and connected, or else MSG_MORE to a peer */
	int family;
	size_t max;
};

FIXTURE_VARIANT_ADD(payload, v4_cork)
{
	.domain = AF_INET,
	.to = "127.0.0.1",
	.cork = true,
	.family = AF_INET,
	.max = 65507,
};

FIXTURE_VARIANT_ADD(payload, v4_more)
{
	.domain = AF_INET,
	.to = "127.0.0.1",
	.family = AF_INET,
	.max = 65507,
};

FIXTURE_VARIANT_ADD(payload, v6_cork)
{
	.domain = AF_INET6,
	.to = "::1",
	.cork = true,
	.family = AF_INET6,
	.max = 65527,
};

FIXTURE_VARIANT_ADD(payload, v6_more)
{
	.domain = AF_INET6,
	.to = "::1",
	.family = AF_INET6,
	.max = 65527,
};

FIXTURE_VARIANT_ADD(payload, mapped_cork)
{
	.domain = AF_INET6,
	.to = "::ffff:127.0.0.1",
	.cork = true,
	.family = AF_INET,
	.max = 65507,
};

FIXTURE_VARIANT_ADD(payload, mapped_more)
{
	.domain = AF_INET6,
	.to = "::ffff:127.0.0.1",
	.family = AF_INET,
	.max = 65507,
};

FIXTURE_SETUP(payload)
{
	if (!setup(_metadata, LO_MTU))
		return;

	self->rx = sys_socket(variant->domain, SOCK_DGRAM);
	ASSERT_LE(0, self->rx);
	ASSERT_EQ(0, bind_to(self->rx, variant->to, RECEIVER_PORT));

	self->tx = sys_socket(variant->domain, SOCK_DGRAM);
	ASSERT_LE(0, self->tx);
	ASSERT_EQ(0, set_repair(self->tx, UDP_REPAIR_ON));
	if (variant->cork) {
		ASSERT_EQ(0, set_int(self->tx, SOL_UDP, UDP_CORK, 1));
		ASSERT_EQ(0, connect_to(self->tx, variant->to, RECEIVER_PORT));
	}
}

FIXTURE_TEARDOWN(payload)
{
	close(self->tx);
	close(self->rx);
}

static int payload_send(FIXTURE_DATA(payload) const *self,
			FIXTURE_VARIANT(payload) const *variant,
			const void *data, size_t len, int flags)
{
	union addr addr;
	socklen_t alen = set_addr(&addr, variant->to, RECEIVER_PORT);
	ssize_t ret;

	if (variant->cork)
		ret = send(self->tx, data, len, flags);
	else
		ret = sendto(self->tx, data, len, flags | MSG_MORE, &addr.sa,
			     alen);
	return ret < 0 ? -errno : ret;
}

static int payload_splice(FIXTURE_DATA(payload) const *self,
			  FIXTURE_VARIANT(payload) const *variant,
			  void *data, size_t len)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };
	ssize_t ret;
	int fd[2];

	if (pipe(fd))
		return -errno;
	ret = vmsplice(fd[1], &iov, 1, 0);
	if (ret == len)
		ret = splice(fd[0], NULL, self->tx, NULL, len,
			     variant->cork ? 0 : SPLICE_F_MORE);
	if (ret < 0)
		ret = -errno;
	close(fd[0]);
	close(fd[1]);
	return ret;
}

static int payload_finish(FIXTURE_DATA(payload) const *self,
			  FIXTURE_VARIANT(payload) const *variant)
{
	if (variant->cork)
		return set_int(self->tx, SOL_UDP, UDP_CORK, 0);
	return send(self->tx, NULL, 0, 0) ? -errno : 0;
}

/* Datagrams until there are @len bytes: one, or as many as segments. */
static int recv_all(int fd, __u8 *buf, size_t len)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	size_t got = 0;
	ssize_t ret;

	do {
		ret = poll(&pfd, 1, DEADLINE_MS);
		if (ret <= 0)
			return ret ? -errno : -ETIMEDOUT;
		ret = recv(fd, buf + got, len - got, MSG_TRUNC);
		if (ret < 0)
			return -errno;
		got += ret;
	} while (got < len);
	return got;
}

static void expect_empty(struct __test_metadata *_metadata, int fd)
{
	const struct udp_repair_send_queue empty = {
		.size = HDR_SIZE,
		.total_len = HDR_SIZE,
	};

	stain_kernel_stack(fd);
	ASSERT_EQ(0, dump_queue(fd, &first));
	EXPECT_EQ(HDR_SIZE, first.len);
	EXPECT_EQ(0, memcmp(&empty, &first.hdr, HDR_SIZE));
	EXPECT_EQ(POISON, first.raw[HDR_SIZE]);
}

/* The @len bytes at @data wait, and two dumps do not differ. */
static void expect_waiting(struct __test_metadata *_metadata,
			   FIXTURE_DATA(payload) const *self,
			   FIXTURE_VARIANT(payload) const *variant,
			   const void *data, size_t len)
{
	ASSERT_EQ(0, dump_queue(self->tx, &first));
	EXPECT_EQ(HDR_SIZE, first.hdr.size);
	EXPECT_EQ(HDR_SIZE + len, first.len);
	EXPECT_EQ(HDR_SIZE + len, first.hdr.total_len);
	ASSERT_EQ(len, first.hdr.payload_len);
	EXPECT_EQ(variant->family, first.hdr.family);
	EXPECT_EQ(0, first.hdr.state & UDP_REPAIR_SQ_TRUNC);
	EXPECT_EQ(0, memcmp(data, first.raw + HDR_SIZE, len));
	EXPECT_EQ(POISON, first.raw[HDR_SIZE + len]);

	ASSERT_EQ(0, dump_queue(self->tx, &second));
	EXPECT_EQ(0, memcmp(&first, &second, sizeof(first)));
}

/* The datagram, when let go, is what the dump said. */
static void expect_leaves(struct __test_metadata *_metadata,
			  FIXTURE_DATA(payload) const *self,
			  FIXTURE_VARIANT(payload) const *variant,
			  const void *data, size_t len)
{
	ASSERT_EQ(0, payload_finish(self, variant));
	ASSERT_EQ(len, recv_all(self->rx, second.raw, len));
	EXPECT_EQ(0, memcmp(data, second.raw, len));
	EXPECT_EQ(-1, recv(self->rx, second.raw, 1, MSG_DONTWAIT));
	EXPECT_EQ(EAGAIN, errno);
	expect_empty(_metadata, self->tx);
}

static void expect_pieces(struct __test_metadata *_metadata,
			  FIXTURE_DATA(payload) const *self,
			  FIXTURE_VARIANT(payload) const *variant,
			  const size_t *piece, int pieces)
{
	size_t len = 0;
	int i;

	for (i = 0; i < pieces; i++) {
		ASSERT_EQ(piece[i],
			  payload_send(self, variant, text + len, piece[i], 0));
		len += piece[i];
		expect_waiting(_metadata, self, variant, text, len);
	}
	expect_leaves(_metadata, self, variant, text, len);
}

#define EXPECT_PIECES(...)						\
	do {								\
		const size_t piece[] = { __VA_ARGS__ };			\
									\
		expect_pieces(_metadata, self, variant, piece, \
			      ARRAY_SIZE(piece)); \
	} while (0)

TEST_F(payload, nothing)
{
	expect_empty(_metadata, self->tx);
}

TEST_F(payload, one_skb)
{
	EXPECT_PIECES(1000);
}

TEST_F(payload, appended)
{
	EXPECT_PIECES(1, 10, 100, 1000);
}

TEST_F(payload, zero_length)
{
	EXPECT_PIECES(0);
}

TEST_F(payload, zero_length_appends)
{
	EXPECT_PIECES(0, 0, 100, 0, 1, 0);
}

/* Only the first of them has room for the UDP header. */
TEST_F(payload, many_skbs)
{
	ASSERT_EQ(0, lo_set_mtu(1500));
	EXPECT_PIECES(5000, 1, 3000, 1472, 1480);
}

/* A fragment that is not the last is cut to a multiple of 8: what is over moves
 * from one skb to the next.
 */
TEST_F(payload, moved_between_skbs)
{
	ASSERT_EQ(0, lo_set_mtu(1499));
	EXPECT_PIECES(1450, 1, 2, 3, 4, 5, 6, 1400, 60, 7, 7, 7);
}

TEST_F(payload, maximal_in_one_skb)
{
	EXPECT_PIECES(30000, variant->max - 30000);
}

TEST_F(payload, maximal_in_many_skbs)
{
	ASSERT_EQ(0, lo_set_mtu(1500));
	EXPECT_PIECES(variant->max);
}

TEST_F(payload, gso)
{
	ASSERT_EQ(0, lo_set_mtu(1500));
	ASSERT_EQ(0, set_int(self->tx, SOL_UDP, UDP_SEGMENT, 500));
	EXPECT_PIECES(500, 1000, 1, 2000);
}

/* Without GSO what is given by MSG_ZEROCOPY is copied. A notification is due
 * all the same.
 */
TEST_F(payload, zerocopy_copied)
{
	ASSERT_EQ(0, set_int(self->tx, SOL_SOCKET, SO_ZEROCOPY, 1));
	ASSERT_EQ(3000, payload_send(self, variant, text, 3000, MSG_ZEROCOPY));
	expect_waiting(_metadata, self, variant, text, 3000);
	EXPECT_EQ(UDP_REPAIR_SQ_ZEROCOPY,
		  first.hdr.state & UDP_REPAIR_SQ_ZEROCOPY);
	expect_leaves(_metadata, self, variant, text, 3000);
}

TEST_F(payload, zerocopy_appended)
{
	ASSERT_EQ(0, lo_set_mtu(1500));
	ASSERT_EQ(0, set_int(self->tx, SOL_SOCKET, SO_ZEROCOPY, 1));
	ASSERT_EQ(3000, payload_send(self, variant, text, 3000, 0));
	expect_waiting(_metadata, self, variant, text, 3000);
	EXPECT_EQ(0, first.hdr.state & UDP_REPAIR_SQ_ZEROCOPY);
	ASSERT_EQ(100, payload_send(self, variant, text + 3000, 100,
				    MSG_ZEROCOPY));
	expect_waiting(_metadata, self, variant, text, 3100);
	EXPECT_EQ(UDP_REPAIR_SQ_ZEROCOPY,
		  first.hdr.state & UDP_REPAIR_SQ_ZEROCOPY);
	expect_leaves(_metadata, self, variant, text, 3100);
}

/* That a change shows in the dump proves that the queue holds our pages. */
TEST_F(payload, zerocopy_pages)
{
	ASSERT_EQ(0, set_int(self->tx, SOL_SOCKET, SO_ZEROCOPY, 1));
	ASSERT_EQ(0, set_int(self->tx, SOL_UDP, UDP_SEGMENT, 1000));
	ASSERT_EQ(9000, payload_send(self, variant, text, 9000, MSG_ZEROCOPY));
	expect_waiting(_metadata, self, variant, text, 9000);
	EXPECT_EQ(UDP_REPAIR_SQ_ZEROCOPY,
		  first.hdr.state & UDP_REPAIR_SQ_ZEROCOPY);
	text[8000]++;
	expect_waiting(_metadata, self, variant, text, 9000);
	ASSERT_EQ(500, payload_send(self, variant, text + 9000, 500, 0));
	expect_waiting(_metadata, self, variant, text, 9500);
	expect_leaves(_metadata, self, variant, text, 9500);
}

TEST_F(payload, spliced)
{
	ASSERT_EQ(0, connect_to(self->tx, variant->to, RECEIVER_PORT));
	ASSERT_EQ(9000, payload_splice(self, variant, text, 9000));
	expect_waiting(_metadata, self, variant, text, 9000);
	EXPECT_EQ(0, first.hdr.state & UDP_REPAIR_SQ_ZEROCOPY);
	/* As before, but the checksum was made already: change it back. */
	text[8000]++;
	expect_waiting(_metadata, self, variant, text, 9000);
	text[8000]--;
	expect_leaves(_metadata, self, variant, text, 9000);
}

TEST_F(payload, spliced_between_copies)
{
	ASSERT_EQ(0, lo_set_mtu(1500));
	ASSERT_EQ(100, payload_send(self, variant, text, 100, 0));
	ASSERT_EQ(4000, payload_splice(self, variant, text + 100, 4000));
	expect_waiting(_metadata, self, variant, text, 4100);
	text[3000]++;
	expect_waiting(_metadata, self, variant, text, 4100);
	text[3000]--;
	ASSERT_EQ(2000, payload_send(self, variant, text + 4100, 2000, 0));
	expect_waiting(_metadata, self, variant, text, 6100);
	expect_leaves(_metadata, self, variant, text, 6100);
}

/* A failed append drops what waits: there is nothing to read any more. */
TEST_F(payload, dropped)
{
	ASSERT_EQ(1000, payload_send(self, variant, text, 1000, 0));
	ASSERT_EQ(-EMSGSIZE, payload_send(self, variant, text, 65530, 0));
	expect_empty(_metadata, self->tx);
}

/* The mode permits to read and does nothing else. */
TEST_F(payload, leaving_the_mode)
{
	ASSERT_EQ(1000, payload_send(self, variant, text, 1000, 0));
	ASSERT_EQ(0, set_repair(self->tx, UDP_REPAIR_OFF));
	EXPECT_EQ(-EPERM, dump_queue(self->tx, &first));
	ASSERT_EQ(1000, payload_send(self, variant, text + 1000, 1000, 0));
	ASSERT_EQ(0, set_repair(self->tx, UDP_REPAIR_ON));
	expect_waiting(_metadata, self, variant, text, 2000);
	expect_leaves(_metadata, self, variant, text, 2000);
}

/* Members: one row, one thing given. All members of the header are compared,
 * so a row also says what the thing given does not change.
 */

/* A socket option or a control message. The value is @num, @len bytes wide
 * (0: an int), unless there is @data; with @addr it is a struct in_pktinfo or
 * in6_pktinfo, as @level says.
 */
struct opt {
	int level;
	int name;
	__s64 num;
	size_t len;
	bool big_endian;
	const char *addr;
	const void *data;
};

/* In a struct opt: a value that is given as it is in memory. */
#define OPT_DATA(object) .len = sizeof(object), .data = &(object)

static size_t opt_value(const struct opt *opt, __u8 *val)
{
	struct in6_pktinfo info6 = { .ipi6_ifindex = opt->num };
	struct in_pktinfo info4 = { .ipi_ifindex = opt->num };
	__u32 u32 = opt->big_endian ? htonl(opt->num) : opt->num;
	__u16 u16 = opt->num;

	if (opt->data) {
		memcpy(val, opt->data, opt->len);
		return opt->len;
	}
	if (opt->addr && opt->level == SOL_IP) {
		inet_pton(AF_INET, opt->addr, &info4.ipi_spec_dst);
		memcpy(val, &info4, sizeof(info4));
		return sizeof(info4);
	}
	if (opt->addr) {
		inet_pton(AF_INET6, opt->addr, &info6.ipi6_addr);
		memcpy(val, &info6, sizeof(info6));
		return sizeof(info6);
	}
	switch (opt->len) {
	case 2:
		memcpy(val, &u16, 2);
		return 2;
	case 8:
		memcpy(val, &opt->num, 8);
		return 8;
	default:
		memcpy(val, &u32, 4);
		return 4;
	}
}

static int opts_set(int fd, const struct opt *opt, int count)
{
	__u8 val[256];
	int ret = 0;

	for (; !ret && count && opt->name; opt++, count--)
		ret = set_opt(fd, opt->level, opt->name, val,
			      opt_value(opt, val));
	return ret;
}

static int opts_send(int fd, const union addr *addr, const void *data,
		     size_t len, int flags, const struct opt *opt, int count)
{
	union {
		struct cmsghdr first;
		__u8 raw[1024];
	} control = {};
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr msg = {
		.msg_name = (void *)addr,
		.msg_namelen = addr->sa.sa_family == AF_INET ?
			       sizeof(addr->v4) : sizeof(addr->v6),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
	};
	ssize_t ret;

	for (; count && opt->name; opt++, count--) {
		struct cmsghdr *cmsg =
			(void *)(control.raw + msg.msg_controllen);
		size_t size = opt->len == 0 && opt->data ?
			      0 : opt_value(opt, CMSG_DATA(cmsg));

		cmsg->cmsg_level = opt->level;
		cmsg->cmsg_type = opt->name;
		cmsg->cmsg_len = CMSG_LEN(size);
		msg.msg_controllen += CMSG_SPACE(size);
	}
	ret = sendmsg(fd, &msg, flags);
	return ret < 0 ? -errno : ret;
}

enum part { IPOPT, HOPOPT, DST0OPT, SRCRT, DST1OPT, PARTS };

struct bytes {
	int len;
	const __u8 *data;
};

#define BYTES(array) { sizeof(array), (array) }

enum member {
	END,
	STATE,
	FAMILY,
	GSO_SIZE,
	OIF,
	IFINDEX,
	FLOWLABEL,
	HOP_LIMIT,
	TCLASS,
	PRIORITY,
	MARK,
	FRAGSIZE,
	TSFLAGS,
	TSKEY,
	TXTIME,
	MEMBERS
};

/* A datagram for which nothing was given. What is not here is 0. */
struct plain {
	int domain;
	const char *saddr;
	const char *daddr;
	__s64 member[MEMBERS];
};

static const struct plain v4_lo = {
	.domain = AF_INET,
	.saddr = "127.0.0.1",
	.daddr = "127.0.0.1",
	.member = {
		[STATE] = UDP_REPAIR_SQ_ONLINK,
		[FAMILY] = AF_INET,
		[IFINDEX] = LO,
		[HOP_LIMIT] = -1,
		[FRAGSIZE] = 65535,
	},
};

static const struct plain v4_wire = {
	.domain = AF_INET,
	.saddr = "192.0.2.1",
	.daddr = "192.0.2.2",
	.member = {
		[STATE] = UDP_REPAIR_SQ_ONLINK,
		[FAMILY] = AF_INET,
		[OIF] = WIRE,
		[IFINDEX] = WIRE,
		[HOP_LIMIT] = -1,
		[FRAGSIZE] = 1500,
	},
};

static const struct plain mapped_lo = {
	.domain = AF_INET6,
	.saddr = "127.0.0.1",
	.daddr = "127.0.0.1",
	.member = {
		[STATE] = UDP_REPAIR_SQ_ONLINK,
		[FAMILY] = AF_INET,
		[IFINDEX] = LO,
		[HOP_LIMIT] = -1,
		[FRAGSIZE] = 65535,
	},
};

static const struct plain v6_lo = {
	.domain = AF_INET6,
	.saddr = "::1",
	.daddr = "::1",
	.member = {
		[FAMILY] = AF_INET6,
		[IFINDEX] = LO,
		[HOP_LIMIT] = 64,
		[FRAGSIZE] = 65536,
	},
};

static const struct plain v6_wire = {
	.domain = AF_INET6,
	.saddr = "fd00:1::1",
	.daddr = "fd00:1::2",
	.member = {
		[FAMILY] = AF_INET6,
		[IFINDEX] = WIRE,
		[HOP_LIMIT] = 64,
		[FRAGSIZE] = 1500,
	},
};

FIXTURE(member)
{
	int fd;
};

FIXTURE_VARIANT(member)
{
	const struct plain *plain;

	/* Given */
	int mtu;		/* of lo */
	int sent_before;	/* datagrams, after the options are set */
	struct opt sockopt[4];
	struct opt cmsg[4];
	int flags;
	__u32 flowinfo;		/* sin6_flowinfo and sin6_scope_id */
	__u32 scope;
	const char *to;

	/* Expected, where different from @plain */
	struct {
		enum member member;
		__s64 value;
	} change[4];
	const char *saddr;
	const char *daddr;
	struct bytes part[PARTS];

	const char *einval;	/* why the kernel may refuse the datagram */
};

static const __u8 ipopt_rr[12] = { 7, 11, 4 };
static const __u8 ipopt_lsrr[12] = {
	131, 11, 4, 127, 0, 0, 2, 127, 0, 0, 3, 0,
};

static const __u8 ipopt_ssrr[8] = { 137, 7, 4, 127, 0, 0, 2, 0 };
static const __u8 ipopt_ts[12] = { 68, 12, 5, 0 };
static const __u8 ipopt_ts_addr[20] = { 68, 20, 5, 1 };
static const __u8 ipopt_ts_ours[12] = { 68, 12, 5, 3, 127, 0, 0, 1 };
static const __u8 ipopt_ts_theirs[12] = {
	68, 12, 5, 3, 203, 0, 113, 1, 1, 2, 3, 4,
};

static const __u8 ipopt_odd[3] = { 1, 1, 1 };
static const __u8 ipopt_padded[4] = { 1, 1, 1, 0 };
static const __u8 ipopt_all[40] = {
	131, 7, 4, 127, 0, 0, 2,
	7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	68, 16, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	1, 0,
};

/* An option for experiments, to be skipped by who does not know it. */
static const __u8 hopopt[8] = { 0, 0, 0x1e, 4, 'h', 'o', 'p', 's' };
static const __u8 dst0opt[16] = { 0, 1, 0x1e, 12, 'd', 's', 't', '0' };
static const __u8 dst1opt[24] = { 0, 2, 0x1e, 20, 'd', 's', 't', '1' };
static const __u8 rthdr2[24] = { 0, 2, 2, 1, 0, 0, 0, 0, 0xfd, [23] = 2 };
static const __u8 rthdr4[40] = {
	0, 4, 4, 1, 1, 0, 0, 0,
	[8] = 0, [23] = 1,	/* ::1 */
	[24] = 0xfd, [39] = 2,	/* fd00::2, the first hop */
};

#define STAMP_AND_COUNT	(SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID)

static const struct sock_txtime txtime = { .clockid = CLOCK_MONOTONIC };

/* Nothing given */

FIXTURE_VARIANT_ADD(member, v4)
{
	.plain = &v4_lo,
};

FIXTURE_VARIANT_ADD(member, v4_wire)
{
	.plain = &v4_wire,
};

FIXTURE_VARIANT_ADD(member, mapped)
{
	.plain = &mapped_lo,
};

FIXTURE_VARIANT_ADD(member, v6)
{
	.plain = &v6_lo,
};

FIXTURE_VARIANT_ADD(member, v6_wire)
{
	.plain = &v6_wire,
};

/* Addresses, interface and route */

FIXTURE_VARIANT_ADD(member, v4_any)
{
	.plain = &v4_lo,
	.to = "0.0.0.0",
	.daddr = "127.0.0.1",
};

FIXTURE_VARIANT_ADD(member, v6_any)
{
	.plain = &v6_lo,
	.to = "::",
	.daddr = "::1",
};

FIXTURE_VARIANT_ADD(member, v4_source)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_PKTINFO, .addr = "127.0.0.2" }},
	.saddr = "127.0.0.2",
};

FIXTURE_VARIANT_ADD(member, mapped_source)
{
	.plain = &mapped_lo,
	.cmsg = {{ SOL_IP, IP_PKTINFO, .addr = "127.0.0.2" }},
	.saddr = "127.0.0.2",
};

FIXTURE_VARIANT_ADD(member, mapped_source_v6)
{
	.plain = &mapped_lo,
	.cmsg = {{ SOL_IPV6, IPV6_PKTINFO, .addr = "::ffff:127.0.0.2" }},
	.saddr = "127.0.0.2",
};

FIXTURE_VARIANT_ADD(member, v6_source)
{
	.plain = &v6_lo,
	.cmsg = {{ SOL_IPV6, IPV6_PKTINFO, .addr = "fd00::2" }},
	.saddr = "fd00::2",
};

FIXTURE_VARIANT_ADD(member, v4_gateway)
{
	.plain = &v4_wire,
	.to = "198.51.100.1",
	.change = {{ STATE, 0 }},
	.daddr = "198.51.100.1",
};

/* Stays on the host: to ask for lo would find no route. */
FIXTURE_VARIANT_ADD(member, v4_own_address)
{
	.plain = &v4_lo,
	.to = "192.0.2.1",
	.saddr = "192.0.2.1",
	.daddr = "192.0.2.1",
};

FIXTURE_VARIANT_ADD(member, v4_interface)
{
	.plain = &v4_wire,
	.cmsg = {{ SOL_IP, IP_PKTINFO, WIRE, .addr = "192.0.2.1" }},
	.to = "203.0.113.1",
	.daddr = "203.0.113.1",
};

FIXTURE_VARIANT_ADD(member, v4_interface_lo)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_PKTINFO, LO, .addr = "127.0.0.1" }},
	.to = "224.0.0.251",
	.change = {{ OIF, LO }},
	.daddr = "224.0.0.251",
};

FIXTURE_VARIANT_ADD(member, v6_interface)
{
	.plain = &v6_wire,
	.cmsg = {{ SOL_IPV6, IPV6_PKTINFO, WIRE, .addr = "fd00:1::1" }},
	.change = {{ OIF, WIRE }},
};

FIXTURE_VARIANT_ADD(member, v4_bound_interface)
{
	.plain = &v4_wire,
	.sockopt = {{ SOL_SOCKET, SO_BINDTOIFINDEX, WIRE }},
	.to = "203.0.113.1",
	.daddr = "203.0.113.1",
};

FIXTURE_VARIANT_ADD(member, v6_bound_interface)
{
	.plain = &v6_wire,
	.sockopt = {{ SOL_SOCKET, SO_BINDTOIFINDEX, WIRE }},
	.change = {{ OIF, WIRE }},
};

FIXTURE_VARIANT_ADD(member, v6_unicast_interface)
{
	.plain = &v6_wire,
	.sockopt = {{ SOL_IPV6, IPV6_UNICAST_IF, WIRE, .big_endian = true }},
	.change = {{ OIF, WIRE }},
};

FIXTURE_VARIANT_ADD(member, v6_scope)
{
	.plain = &v6_wire,
	.cmsg = {{ SOL_IPV6, IPV6_PKTINFO, .addr = "fe80::1" }},
	.scope = WIRE,
	.to = "fe80::2",
	.change = {{ OIF, WIRE }},
	.saddr = "fe80::1",
	.daddr = "fe80::2",
};

/* Such a source cannot be asked for without an interface. */
FIXTURE_VARIANT_ADD(member, v6_link_local)
{
	.plain = &v6_wire,
	.to = "fe80::2",
	.change = {{ OIF, WIRE }},
	.saddr = "fe80::1",
	.daddr = "fe80::2",
};

FIXTURE_VARIANT_ADD(member, v6_multicast)
{
	.plain = &v6_wire,
	.sockopt = {
		{ SOL_IPV6, IPV6_MULTICAST_IF, WIRE },
		{ SOL_IPV6, IPV6_MULTICAST_HOPS, 7 },
	},
	.cmsg = {{ SOL_IPV6, IPV6_PKTINFO, .addr = "fd00:1::1" }},
	.to = "ff02::1",
	.change = {
		{ OIF, WIRE },
		{ HOP_LIMIT, 7 },
	},
	.daddr = "ff02::1",
};

FIXTURE_VARIANT_ADD(member, v4_mtu)
{
	.plain = &v4_lo,
	.mtu = 1400,
	.change = {{ FRAGSIZE, 1400 }},
};

FIXTURE_VARIANT_ADD(member, v6_mtu)
{
	.plain = &v6_lo,
	.mtu = 1400,
	.change = {{ FRAGSIZE, 1400 }},
};

FIXTURE_VARIANT_ADD(member, v4_confirm)
{
	.plain = &v4_wire,
	.flags = MSG_CONFIRM,
	.change = {{ STATE, UDP_REPAIR_SQ_CONFIRM | UDP_REPAIR_SQ_ONLINK }},
};

FIXTURE_VARIANT_ADD(member, v6_confirm)
{
	.plain = &v6_wire,
	.flags = MSG_CONFIRM,
	.change = {{ STATE, UDP_REPAIR_SQ_CONFIRM }},
};

FIXTURE_VARIANT_ADD(member, mapped_confirm)
{
	.plain = &mapped_lo,
	.flags = MSG_CONFIRM,
	.change = {{ STATE, UDP_REPAIR_SQ_CONFIRM | UDP_REPAIR_SQ_ONLINK }},
};

/* TTL and hop limit: IPv4 takes the socket's own when the datagram leaves */

FIXTURE_VARIANT_ADD(member, v4_ttl)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_TTL, 255 }},
	.change = {{ HOP_LIMIT, 255 }},
};

FIXTURE_VARIANT_ADD(member, mapped_ttl)
{
	.plain = &mapped_lo,
	.cmsg = {{ SOL_IP, IP_TTL, 255 }},
	.change = {{ HOP_LIMIT, 255 }},
};

FIXTURE_VARIANT_ADD(member, v4_ttl_of_socket)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_IP, IP_TTL, 3 }},
};

FIXTURE_VARIANT_ADD(member, v6_hop_limit)
{
	.plain = &v6_lo,
	.cmsg = {{ SOL_IPV6, IPV6_HOPLIMIT, 255 }},
	.change = {{ HOP_LIMIT, 255 }},
};

FIXTURE_VARIANT_ADD(member, v6_hop_limit_zero)
{
	.plain = &v6_lo,
	.cmsg = {{ SOL_IPV6, IPV6_HOPLIMIT, 0 }},
	.change = {{ HOP_LIMIT, 0 }},
};

FIXTURE_VARIANT_ADD(member, v6_hop_limit_default)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_IPV6, IPV6_UNICAST_HOPS, 3 }},
	.cmsg = {{ SOL_IPV6, IPV6_HOPLIMIT, -1 }},
	.change = {{ HOP_LIMIT, 3 }},
};

FIXTURE_VARIANT_ADD(member, v6_hop_limit_of_socket)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_IPV6, IPV6_UNICAST_HOPS, 3 }},
	.change = {{ HOP_LIMIT, 3 }},
};

/* TOS and traffic class, and the priority that follows from a TOS */

FIXTURE_VARIANT_ADD(member, v4_tos)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_TOS, 0xb9 }},
	.change = {
		{ TCLASS, 0xb9 },
		{ PRIORITY, 4 },
	},
};

FIXTURE_VARIANT_ADD(member, mapped_tos)
{
	.plain = &mapped_lo,
	.cmsg = {{ SOL_IP, IP_TOS, 0xb9 }},
	.change = {
		{ TCLASS, 0xb9 },
		{ PRIORITY, 4 },
	},
};

FIXTURE_VARIANT_ADD(member, v4_tos_of_socket)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_IP, IP_TOS, 0xb9 }},
	.change = {
		{ TCLASS, 0xb9 },
		{ PRIORITY, 4 },
	},
};

FIXTURE_VARIANT_ADD(member, v4_tos_zero)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_IP, IP_TOS, 0xb9 }},
	.cmsg = {{ SOL_IP, IP_TOS, 0 }},
};

FIXTURE_VARIANT_ADD(member, v6_tclass)
{
	.plain = &v6_lo,
	.cmsg = {{ SOL_IPV6, IPV6_TCLASS, 0xb9 }},
	.change = {{ TCLASS, 0xb9 }},
};

FIXTURE_VARIANT_ADD(member, v6_tclass_of_socket)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_IPV6, IPV6_TCLASS, 0xff }},
	.change = {{ TCLASS, 0xff }},
};

FIXTURE_VARIANT_ADD(member, v6_tclass_zero)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_IPV6, IPV6_TCLASS, 0xff }},
	.cmsg = {{ SOL_IPV6, IPV6_TCLASS, 0 }},
};

/* Flow label, without the traffic class that shares its word */

FIXTURE_VARIANT_ADD(member, v6_flowlabel)
{
	.plain = &v6_lo,
	.cmsg = {{ SOL_IPV6, IPV6_FLOWINFO, 0x0bb12345, .big_endian = true }},
	.change = {{ FLOWLABEL, 0x12345 }},
};

FIXTURE_VARIANT_ADD(member, v6_flowlabel_of_address)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_IPV6, IPV6_FLOWINFO_SEND, 1 }},
	.flowinfo = 0x0bbfedcb,
	.change = {{ FLOWLABEL, 0xfedcb }},
};

FIXTURE_VARIANT_ADD(member, v6_flowlabel_and_tclass)
{
	.plain = &v6_lo,
	.cmsg = {
		{ SOL_IPV6, IPV6_FLOWINFO, 0x54321, .big_endian = true },
		{ SOL_IPV6, IPV6_TCLASS, 0xcc },
	},
	.change = {
		{ FLOWLABEL, 0x54321 },
		{ TCLASS, 0xcc },
	},
};

/* IPV6_DONTFRAG */

FIXTURE_VARIANT_ADD(member, v6_dontfrag)
{
	.plain = &v6_lo,
	.cmsg = {{ SOL_IPV6, IPV6_DONTFRAG, 1 }},
	.change = {{ STATE, UDP_REPAIR_SQ_DONTFRAG }},
};

FIXTURE_VARIANT_ADD(member, v6_dontfrag_of_socket)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_IPV6, IPV6_DONTFRAG, 1 }},
	.change = {{ STATE, UDP_REPAIR_SQ_DONTFRAG }},
};

FIXTURE_VARIANT_ADD(member, v6_dontfrag_zero)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_IPV6, IPV6_DONTFRAG, 1 }},
	.cmsg = {{ SOL_IPV6, IPV6_DONTFRAG, 0 }},
};

/* What every protocol has */

FIXTURE_VARIANT_ADD(member, v4_priority)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_SOCKET, SO_PRIORITY, 5 }},
	.cmsg = {{ SOL_SOCKET, SO_PRIORITY, 0x12345678 }},
	.change = {{ PRIORITY, 0x12345678 }},
};

FIXTURE_VARIANT_ADD(member, v4_priority_of_socket)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_SOCKET, SO_PRIORITY, 5 }},
	.change = {{ PRIORITY, 5 }},
};

FIXTURE_VARIANT_ADD(member, v4_mark)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_SOCKET, SO_MARK, 1 }},
	.cmsg = {{ SOL_SOCKET, SO_MARK, 0x89abcdef }},
	.change = {{ MARK, 0x89abcdef }},
};

FIXTURE_VARIANT_ADD(member, v4_mark_of_socket)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_SOCKET, SO_MARK, 0x89abcdef }},
	.change = {{ MARK, 0x89abcdef }},
};

FIXTURE_VARIANT_ADD(member, v4_gso_size)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_UDP, UDP_SEGMENT, 500 }},
	.cmsg = {{ SOL_UDP, UDP_SEGMENT, 1000, .len = 2 }},
	.change = {{ GSO_SIZE, 1000 }},
};

FIXTURE_VARIANT_ADD(member, v4_gso_size_zero)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_UDP, UDP_SEGMENT, 500 }},
	.cmsg = {{ SOL_UDP, UDP_SEGMENT, 0, .len = 2 }},
};

FIXTURE_VARIANT_ADD(member, v4_gso_size_of_socket)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_UDP, UDP_SEGMENT, 500 }},
	.change = {{ GSO_SIZE, 500 }},
};

FIXTURE_VARIANT_ADD(member, v4_txtime)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_SOCKET, SO_TXTIME, OPT_DATA(txtime) }},
	.cmsg = {{ SOL_SOCKET, SCM_TXTIME, 0x123456789abcdef0, .len = 8 }},
	.change = {{ TXTIME, 0x123456789abcdef0 }},
};

FIXTURE_VARIANT_ADD(member, v4_txtime_not_given)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_SOCKET, SO_TXTIME, OPT_DATA(txtime) }},
};

FIXTURE_VARIANT_ADD(member, mapped_priority)
{
	.plain = &mapped_lo,
	.sockopt = {{ SOL_SOCKET, SO_PRIORITY, 5 }},
	.cmsg = {{ SOL_SOCKET, SO_PRIORITY, 0x12345678 }},
	.change = {{ PRIORITY, 0x12345678 }},
};

FIXTURE_VARIANT_ADD(member, mapped_priority_of_socket)
{
	.plain = &mapped_lo,
	.sockopt = {{ SOL_SOCKET, SO_PRIORITY, 5 }},
	.change = {{ PRIORITY, 5 }},
};

FIXTURE_VARIANT_ADD(member, mapped_mark)
{
	.plain = &mapped_lo,
	.sockopt = {{ SOL_SOCKET, SO_MARK, 1 }},
	.cmsg = {{ SOL_SOCKET, SO_MARK, 0x89abcdef }},
	.change = {{ MARK, 0x89abcdef }},
};

FIXTURE_VARIANT_ADD(member, mapped_mark_of_socket)
{
	.plain = &mapped_lo,
	.sockopt = {{ SOL_SOCKET, SO_MARK, 0x89abcdef }},
	.change = {{ MARK, 0x89abcdef }},
};

FIXTURE_VARIANT_ADD(member, mapped_gso_size)
{
	.plain = &mapped_lo,
	.sockopt = {{ SOL_UDP, UDP_SEGMENT, 500 }},
	.cmsg = {{ SOL_UDP, UDP_SEGMENT, 1000, .len = 2 }},
	.change = {{ GSO_SIZE, 1000 }},
};

FIXTURE_VARIANT_ADD(member, mapped_gso_size_zero)
{
	.plain = &mapped_lo,
	.sockopt = {{ SOL_UDP, UDP_SEGMENT, 500 }},
	.cmsg = {{ SOL_UDP, UDP_SEGMENT, 0, .len = 2 }},
};

FIXTURE_VARIANT_ADD(member, mapped_gso_size_of_socket)
{
	.plain = &mapped_lo,
	.sockopt = {{ SOL_UDP, UDP_SEGMENT, 500 }},
	.change = {{ GSO_SIZE, 500 }},
};

FIXTURE_VARIANT_ADD(member, mapped_txtime)
{
	.plain = &mapped_lo,
	.sockopt = {{ SOL_SOCKET, SO_TXTIME, OPT_DATA(txtime) }},
	.cmsg = {{ SOL_SOCKET, SCM_TXTIME, 0x123456789abcdef0, .len = 8 }},
	.change = {{ TXTIME, 0x123456789abcdef0 }},
};

FIXTURE_VARIANT_ADD(member, mapped_txtime_not_given)
{
	.plain = &mapped_lo,
	.sockopt = {{ SOL_SOCKET, SO_TXTIME, OPT_DATA(txtime) }},
};

FIXTURE_VARIANT_ADD(member, v6_priority)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_SOCKET, SO_PRIORITY, 5 }},
	.cmsg = {{ SOL_SOCKET, SO_PRIORITY, 0x12345678 }},
	.change = {{ PRIORITY, 0x12345678 }},
};

FIXTURE_VARIANT_ADD(member, v6_priority_of_socket)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_SOCKET, SO_PRIORITY, 5 }},
	.change = {{ PRIORITY, 5 }},
};

FIXTURE_VARIANT_ADD(member, v6_mark)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_SOCKET, SO_MARK, 1 }},
	.cmsg = {{ SOL_SOCKET, SO_MARK, 0x89abcdef }},
	.change = {{ MARK, 0x89abcdef }},
};

FIXTURE_VARIANT_ADD(member, v6_mark_of_socket)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_SOCKET, SO_MARK, 0x89abcdef }},
	.change = {{ MARK, 0x89abcdef }},
};

FIXTURE_VARIANT_ADD(member, v6_gso_size)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_UDP, UDP_SEGMENT, 500 }},
	.cmsg = {{ SOL_UDP, UDP_SEGMENT, 1000, .len = 2 }},
	.change = {{ GSO_SIZE, 1000 }},
};

FIXTURE_VARIANT_ADD(member, v6_gso_size_zero)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_UDP, UDP_SEGMENT, 500 }},
	.cmsg = {{ SOL_UDP, UDP_SEGMENT, 0, .len = 2 }},
};

FIXTURE_VARIANT_ADD(member, v6_gso_size_of_socket)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_UDP, UDP_SEGMENT, 500 }},
	.change = {{ GSO_SIZE, 500 }},
};

FIXTURE_VARIANT_ADD(member, v6_txtime)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_SOCKET, SO_TXTIME, OPT_DATA(txtime) }},
	.cmsg = {{ SOL_SOCKET, SCM_TXTIME, 0x123456789abcdef0, .len = 8 }},
	.change = {{ TXTIME, 0x123456789abcdef0 }},
};

FIXTURE_VARIANT_ADD(member, v6_txtime_not_given)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_SOCKET, SO_TXTIME, OPT_DATA(txtime) }},
};

FIXTURE_VARIANT_ADD(member, v4_tos_and_priority)
{
	.plain = &v4_lo,
	.cmsg = {
		{ SOL_IP, IP_TOS, 0xb9 },
		{ SOL_SOCKET, SO_PRIORITY, 1 },
	},
	.change = {
		{ TCLASS, 0xb9 },
		{ PRIORITY, 1 },
	},
};

/* Timestamps, and the number that counts the datagrams that were to be stamped.
 * SOF_TIMESTAMPING_TX_ACK means nothing for UDP.
 */

FIXTURE_VARIANT_ADD(member, v4_ts_hardware)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_HARDWARE }},
	.change = {{ TSFLAGS, SOF_TIMESTAMPING_TX_HARDWARE }},
};

FIXTURE_VARIANT_ADD(member, v4_ts_software)
{
	.plain = &v4_lo,
	.cmsg = {{
		SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_SOFTWARE,
	}},
	.change = {{ TSFLAGS, SOF_TIMESTAMPING_TX_SOFTWARE }},
};

FIXTURE_VARIANT_ADD(member, v4_ts_sched)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_SCHED }},
	.change = {{ TSFLAGS, SOF_TIMESTAMPING_TX_SCHED }},
};

FIXTURE_VARIANT_ADD(member, v4_ts_completion)
{
	.plain = &v4_lo,
	.cmsg = {{
		SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_COMPLETION,
	}},
	.change = {{ TSFLAGS, SOF_TIMESTAMPING_TX_COMPLETION }},
};

FIXTURE_VARIANT_ADD(member, v4_ts_all)
{
	.plain = &v4_lo,
	.cmsg = {{
		SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_RECORD_MASK,
	}},
	.change = {{
		TSFLAGS,
		SOF_TIMESTAMPING_TX_RECORD_MASK & ~SOF_TIMESTAMPING_TX_ACK,
	}},
};

FIXTURE_VARIANT_ADD(member, v4_ts_key)
{
	.plain = &v4_lo,
	.sent_before = 3,
	.sockopt = {{ SOL_SOCKET, SO_TIMESTAMPING, STAMP_AND_COUNT }},
	.change = {
		{ TSFLAGS, SOF_TIMESTAMPING_TX_SOFTWARE },
		{ TSKEY, 3 },
	},
};

FIXTURE_VARIANT_ADD(member, v4_ts_key_given)
{
	.plain = &v4_lo,
	.sent_before = 3,
	.sockopt = {{ SOL_SOCKET, SO_TIMESTAMPING, STAMP_AND_COUNT }},
	.cmsg = {{ SOL_SOCKET, SCM_TS_OPT_ID, 0x89abcdef }},
	.change = {
		{ TSFLAGS, SOF_TIMESTAMPING_TX_SOFTWARE },
		{ TSKEY, 0x89abcdef },
	},
};

FIXTURE_VARIANT_ADD(member, mapped_ts_all)
{
	.plain = &mapped_lo,
	.cmsg = {{
		SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_RECORD_MASK,
	}},
	.change = {{
		TSFLAGS,
		SOF_TIMESTAMPING_TX_RECORD_MASK & ~SOF_TIMESTAMPING_TX_ACK,
	}},
};

FIXTURE_VARIANT_ADD(member, mapped_ts_key)
{
	.plain = &mapped_lo,
	.sent_before = 3,
	.sockopt = {{ SOL_SOCKET, SO_TIMESTAMPING, STAMP_AND_COUNT }},
	.change = {
		{ TSFLAGS, SOF_TIMESTAMPING_TX_SOFTWARE },
		{ TSKEY, 3 },
	},
};

FIXTURE_VARIANT_ADD(member, mapped_ts_key_given)
{
	.plain = &mapped_lo,
	.sent_before = 3,
	.sockopt = {{ SOL_SOCKET, SO_TIMESTAMPING, STAMP_AND_COUNT }},
	.cmsg = {{ SOL_SOCKET, SCM_TS_OPT_ID, 0x89abcdef }},
	.change = {
		{ TSFLAGS, SOF_TIMESTAMPING_TX_SOFTWARE },
		{ TSKEY, 0x89abcdef },
	},
};

FIXTURE_VARIANT_ADD(member, v6_ts_all)
{
	.plain = &v6_lo,
	.cmsg = {{
		SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_RECORD_MASK,
	}},
	.change = {{
		TSFLAGS,
		SOF_TIMESTAMPING_TX_RECORD_MASK & ~SOF_TIMESTAMPING_TX_ACK,
	}},
};

FIXTURE_VARIANT_ADD(member, v6_ts_key)
{
	.plain = &v6_lo,
	.sent_before = 3,
	.sockopt = {{ SOL_SOCKET, SO_TIMESTAMPING, STAMP_AND_COUNT }},
	.change = {
		{ TSFLAGS, SOF_TIMESTAMPING_TX_SOFTWARE },
		{ TSKEY, 3 },
	},
};

FIXTURE_VARIANT_ADD(member, v6_ts_key_given)
{
	.plain = &v6_lo,
	.sent_before = 3,
	.sockopt = {{ SOL_SOCKET, SO_TIMESTAMPING, STAMP_AND_COUNT }},
	.cmsg = {{ SOL_SOCKET, SCM_TS_OPT_ID, 0x89abcdef }},
	.change = {
		{ TSFLAGS, SOF_TIMESTAMPING_TX_SOFTWARE },
		{ TSKEY, 0x89abcdef },
	},
};

FIXTURE_VARIANT_ADD(member, v4_ts_zero)
{
	.plain = &v4_lo,
	.sent_before = 3,
	.sockopt = {{ SOL_SOCKET, SO_TIMESTAMPING, STAMP_AND_COUNT }},
	.cmsg = {{ SOL_SOCKET, SO_TIMESTAMPING, 0 }},
};

FIXTURE_VARIANT_ADD(member, v4_ts_no_key)
{
	.plain = &v4_lo,
	.sent_before = 3,
	.sockopt = {{
		SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_SOFTWARE,
	}},
	.change = {{ TSFLAGS, SOF_TIMESTAMPING_TX_SOFTWARE }},
};

/* IPv4 options, in the form in which they were given */

FIXTURE_VARIANT_ADD(member, v4_record_route)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_rr) }},
	.part = { [IPOPT] = BYTES(ipopt_rr) },
};

FIXTURE_VARIANT_ADD(member, v4_source_route)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_lsrr) }},
	.part = { [IPOPT] = BYTES(ipopt_lsrr) },
};

FIXTURE_VARIANT_ADD(member, v4_strict_source_route)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_ssrr) }},
	.part = { [IPOPT] = BYTES(ipopt_ssrr) },
};

FIXTURE_VARIANT_ADD(member, v4_timestamp)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_ts) }},
	.part = { [IPOPT] = BYTES(ipopt_ts) },
};

FIXTURE_VARIANT_ADD(member, v4_timestamp_address)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_ts_addr) }},
	.part = { [IPOPT] = BYTES(ipopt_ts_addr) },
};

FIXTURE_VARIANT_ADD(member, v4_timestamp_ours)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_ts_ours) }},
	.part = { [IPOPT] = BYTES(ipopt_ts_ours) },
};

FIXTURE_VARIANT_ADD(member, v4_timestamp_theirs)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_ts_theirs) }},
	.part = { [IPOPT] = BYTES(ipopt_ts_theirs) },
};

FIXTURE_VARIANT_ADD(member, v4_options_padded)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_odd) }},
	.part = { [IPOPT] = BYTES(ipopt_padded) },
};

FIXTURE_VARIANT_ADD(member, v4_options_40_bytes)
{
	.plain = &v4_lo,
	.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_all) }},
	.part = { [IPOPT] = BYTES(ipopt_all) },
};

FIXTURE_VARIANT_ADD(member, mapped_options_40_bytes)
{
	.plain = &mapped_lo,
	.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_all) }},
	.part = { [IPOPT] = BYTES(ipopt_all) },
};

FIXTURE_VARIANT_ADD(member, v4_options_of_socket)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_IP, IP_OPTIONS, OPT_DATA(ipopt_all) }},
	.part = { [IPOPT] = BYTES(ipopt_all) },
};

FIXTURE_VARIANT_ADD(member, v4_options_none)
{
	.plain = &v4_lo,
	.sockopt = {{ SOL_IP, IP_OPTIONS, OPT_DATA(ipopt_all) }},
	.cmsg = {{ SOL_IP, IP_RETOPTS, .len = 0, .data = ipopt_all }},
};

/* IPv6 extension headers */

FIXTURE_VARIANT_ADD(member, v6_hopopts)
{
	.plain = &v6_lo,
	.cmsg = {{ SOL_IPV6, IPV6_HOPOPTS, OPT_DATA(hopopt) }},
	.part = { [HOPOPT] = BYTES(hopopt) },
};

FIXTURE_VARIANT_ADD(member, v6_hopopts_of_socket)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_IPV6, IPV6_HOPOPTS, OPT_DATA(hopopt) }},
	.part = { [HOPOPT] = BYTES(hopopt) },
};

FIXTURE_VARIANT_ADD(member, v6_dstopts)
{
	.plain = &v6_lo,
	.cmsg = {{ SOL_IPV6, IPV6_DSTOPTS, OPT_DATA(dst1opt) }},
	.part = { [DST1OPT] = BYTES(dst1opt) },
};

FIXTURE_VARIANT_ADD(member, v6_dstopts_of_socket)
{
	.plain = &v6_lo,
	.sockopt = {{ SOL_IPV6, IPV6_DSTOPTS, OPT_DATA(dst1opt) }},
	.part = { [DST1OPT] = BYTES(dst1opt) },
};

FIXTURE_VARIANT_ADD(member, v6_rthdr)
{
	.plain = &v6_lo,
	.cmsg = {{ SOL_IPV6, IPV6_RTHDR, OPT_DATA(rthdr2) }},
	.saddr = "fd00::2",
	.part = { [SRCRT] = BYTES(rthdr2) },
	.einval = "kernel without CONFIG_IPV6_MIP6",
};

/* Without a routing header the kernel does not send these. */
FIXTURE_VARIANT_ADD(member, v6_rthdrdstopts_alone)
{
	.plain = &v6_lo,
	.cmsg = {{ SOL_IPV6, IPV6_RTHDRDSTOPTS, OPT_DATA(dst0opt) }},
};

FIXTURE_VARIANT_ADD(member, v6_all_headers)
{
	.plain = &v6_lo,
	.cmsg = {
		{ SOL_IPV6, IPV6_HOPOPTS, OPT_DATA(hopopt) },
		{ SOL_IPV6, IPV6_RTHDRDSTOPTS, OPT_DATA(dst0opt) },
		{ SOL_IPV6, IPV6_RTHDR, OPT_DATA(rthdr2) },
		{ SOL_IPV6, IPV6_DSTOPTS, OPT_DATA(dst1opt) },
	},
	.saddr = "fd00::2",
	.part = {
		[HOPOPT] = BYTES(hopopt),
		[DST0OPT] = BYTES(dst0opt),
		[SRCRT] = BYTES(rthdr2),
		[DST1OPT] = BYTES(dst1opt),
	},
	.einval = "kernel without CONFIG_IPV6_MIP6",
};

FIXTURE_VARIANT_ADD(member, v6_all_headers_of_socket)
{
	.plain = &v6_lo,
	.sockopt = {
		{ SOL_IPV6, IPV6_HOPOPTS, OPT_DATA(hopopt) },
		{ SOL_IPV6, IPV6_RTHDRDSTOPTS, OPT_DATA(dst0opt) },
		{ SOL_IPV6, IPV6_RTHDR, OPT_DATA(rthdr4) },
		{ SOL_IPV6, IPV6_DSTOPTS, OPT_DATA(dst1opt) },
	},
	.saddr = "fd00::2",
	.part = {
		[HOPOPT] = BYTES(hopopt),
		[DST0OPT] = BYTES(dst0opt),
		[SRCRT] = BYTES(rthdr4),
		[DST1OPT] = BYTES(dst1opt),
	},
};

FIXTURE_VARIANT_ADD(member, v6_all_headers_short_mtu)
{
	.plain = &v6_lo,
	.mtu = 1400,
	.sockopt = {
		{ SOL_IPV6, IPV6_HOPOPTS, OPT_DATA(hopopt) },
		{ SOL_IPV6, IPV6_RTHDRDSTOPTS, OPT_DATA(dst0opt) },
		{ SOL_IPV6, IPV6_RTHDR, OPT_DATA(rthdr4) },
		{ SOL_IPV6, IPV6_DSTOPTS, OPT_DATA(dst1opt) },
	},
	.change = {{ FRAGSIZE, 1400 }},
	.saddr = "fd00::2",
	.part = {
		[HOPOPT] = BYTES(hopopt),
		[DST0OPT] = BYTES(dst0opt),
		[SRCRT] = BYTES(rthdr4),
		[DST1OPT] = BYTES(dst1opt),
	},
};

FIXTURE_SETUP(member)
{
	if (!setup(_metadata, variant->mtu ?: LO_MTU))
		return;

	ASSERT_LE(0, wire) {
		TH_LOG("make_wire(): %s; is there CONFIG_TUN?",
		       strerror(-wire));
	}

	self->fd = sys_socket(variant->plain->domain, SOCK_DGRAM);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, bind_to(self->fd, variant->plain->domain == AF_INET ?
				       "0.0.0.0" : "::", SENDER_PORT));
	ASSERT_EQ(0, set_repair(self->fd, UDP_REPAIR_ON));
}

FIXTURE_TEARDOWN(member)
{
	close(self->fd);
}

static void expect_addr(struct __test_metadata *_metadata, const char *member,
			int family, const char *name, const __be32 *addr)
{
	char seen[INET6_ADDRSTRLEN] = "";

	inet_ntop(family, addr, seen, sizeof(seen));
	EXPECT_STREQ(name, seen) {
		TH_LOG("member %s", member);
	}
	if (family == AF_INET)
		EXPECT_EQ(0, addr[1] | addr[2] | addr[3]);
}

static void expect_members(struct __test_metadata *_metadata,
			   FIXTURE_VARIANT(member) const *variant,
			   const struct udp_repair_send_queue *hdr)
{
	const __s64 seen[MEMBERS] = {
		[STATE] = hdr->state,
		[FAMILY] = hdr->family,
		[GSO_SIZE] = hdr->gso_size,
		[OIF] = hdr->oif,
		[IFINDEX] = hdr->ifindex,
		[FLOWLABEL] = ntohl(hdr->flowlabel),
		[HOP_LIMIT] = hdr->hop_limit,
		[TCLASS] = hdr->tclass,
		[PRIORITY] = hdr->priority,
		[MARK] = hdr->mark,
		[FRAGSIZE] = hdr->fragsize,
		[TSFLAGS] = hdr->tsflags,
		[TSKEY] = hdr->tskey,
		[TXTIME] = hdr->txtime,
	};
	static const char * const name[MEMBERS] = {
		[STATE] = "state",
		[FAMILY] = "family",
		[GSO_SIZE] = "gso_size",
		[OIF] = "oif",
		[IFINDEX] = "ifindex",
		[FLOWLABEL] = "flowlabel",
		[HOP_LIMIT] = "hop_limit",
		[TCLASS] = "tclass",
		[PRIORITY] = "priority",
		[MARK] = "mark",
		[FRAGSIZE] = "fragsize",
		[TSFLAGS] = "tsflags",
		[TSKEY] = "tskey",
		[TXTIME] = "txtime",
	};
	__s64 want[MEMBERS];
	int i;

	memcpy(want, variant->plain->member, sizeof(want));
	for (i = 0; i < ARRAY_SIZE(variant->change); i++) {
		if (!variant->change[i].member)
			break;
		want[variant->change[i].member] = variant->change[i].value;
	}

	for (i = END + 1; i < MEMBERS; i++) {
		EXPECT_EQ(want[i], seen[i]) {
			TH_LOG("member %s", name[i]);
		}
	}

	EXPECT_EQ(SENDER_PORT, hdr->sport);
	EXPECT_EQ(RECEIVER_PORT, hdr->dport);
	expect_addr(_metadata, "saddr", hdr->family,
		    variant->saddr ?: variant->plain->saddr, hdr->saddr);
	expect_addr(_metadata, "daddr", hdr->family,
		    variant->daddr ?: variant->plain->daddr, hdr->daddr);

	EXPECT_EQ(HDR_SIZE, hdr->size);
	EXPECT_EQ(0, hdr->flags);
	for (i = 0; i < ARRAY_SIZE(hdr->reserved); i++)
		EXPECT_EQ(0, hdr->reserved[i]);
}

static void expect_parts(struct __test_metadata *_metadata,
			 const struct bytes part[PARTS],
			 const struct dump *dump)
{
	const struct udp_repair_send_queue *hdr = &dump->hdr;
	const __u8 *at = dump->raw + HDR_SIZE;
	const __u16 seen[PARTS] = {
		[IPOPT] = hdr->ipopt_len,
		[HOPOPT] = hdr->hopopt_len,
		[DST0OPT] = hdr->dst0opt_len,
		[SRCRT] = hdr->srcrt_len,
		[DST1OPT] = hdr->dst1opt_len,
	};
	int i, k;

	for (i = 0; i < PARTS; i++) {
		EXPECT_EQ(part[i].len, seen[i]) {
			TH_LOG("part %d", i);
		}
		for (k = 0; k < part[i].len; k++) {
			EXPECT_EQ(part[i].data[k], at[k]) {
				TH_LOG("part %d, byte %d", i, k);
			}
		}
		at += part[i].len;
	}
	EXPECT_EQ(0, memcmp(text, at, hdr->payload_len));
	EXPECT_EQ(dump->len, at + hdr->payload_len - dump->raw);
	EXPECT_EQ(dump->len, hdr->total_len);
}

TEST_F(member, dump)
{
	const char *to = variant->to ?: variant->plain->daddr;
	char mapped[INET6_ADDRSTRLEN];
	union addr addr;
	int i, ret;

	if (variant->plain->domain == AF_INET6 && !strchr(to, ':')) {
		snprintf(mapped, sizeof(mapped), "::ffff:%s", to);
		to = mapped;
	}
	set_addr(&addr, to, RECEIVER_PORT);
	if (addr.sa.sa_family == AF_INET6) {
		addr.v6.sin6_flowinfo = htonl(variant->flowinfo);
		addr.v6.sin6_scope_id = variant->scope;
	}

	ASSERT_EQ(0, opts_set(self->fd, variant->sockopt,
			      ARRAY_SIZE(variant->sockopt)));
	for (i = 0; i < variant->sent_before; i++)
		ASSERT_EQ(10, opts_send(self->fd, &addr, text, 10, 0, NULL, 0));

	ret = opts_send(self->fd, &addr, text, 2000, MSG_MORE | variant->flags,
			variant->cmsg, ARRAY_SIZE(variant->cmsg));
	if (ret == -EINVAL && variant->einval) {
		skip(_metadata, variant->einval);
		return;
	}
	ASSERT_EQ(2000, ret);

	stain_kernel_stack(self->fd);
	ASSERT_EQ(0, dump_queue(self->fd, &first));
	ASSERT_EQ(2000, first.hdr.payload_len);
	expect_members(_metadata, variant, &first.hdr);
	expect_parts(_metadata, variant->part, &first);

	/* The cork is what it was at the first send. */
	ASSERT_EQ(100, opts_send(self->fd, &addr, text + 2000, 100, MSG_MORE,
				 NULL, 0));
	ASSERT_EQ(0, dump_queue(self->fd, &second));
	ASSERT_EQ(2100, second.hdr.payload_len);
	expect_members(_metadata, variant, &second.hdr);
	expect_parts(_metadata, variant->part, &second);
}

/* Buffers: how much room the caller has, as what it knows the header, and
 * memory that is not there. The end of what can be accessed is the end of a
 * page, with an inaccessible one behind:
 *
 *   request     header | IP options | payload
 *   accessible  ----------------------->| @mapped, @optlen if not given
 *   @optlen     ------------------------------->
 */

/* A place in the complete dump of the socket at hand. */
struct place {
	enum { NOT_GIVEN, START, HEADER, PAYLOAD, COMPLETE, PAGE } base;
	int offset;
};

FIXTURE(buffer)
{
};

FIXTURE_VARIANT(buffer)
{
	struct place optlen;
	struct place mapped;	/* default: @optlen */
	bool read_only;
	struct place size;	/* default: HEADER */
	bool ignored_set;	/* members that are ignored are not 0 */
	int poke;		/* offset of a byte that is not 0 */

	int ret;
	int ret_outside;	/* of repair mode; default: -EPERM */
	struct place written;
	bool trunc;
};

FIXTURE_VARIANT_ADD(buffer, exact)
{
	.optlen = { COMPLETE },
	.written = { COMPLETE },
};

FIXTURE_VARIANT_ADD(buffer, larger)
{
	.optlen = { COMPLETE, 5000 },
	.written = { COMPLETE },
};

/* Only what is written has to be there. */
FIXTURE_VARIANT_ADD(buffer, larger_not_mapped)
{
	.optlen = { COMPLETE, 5000 },
	.mapped = { COMPLETE },
	.written = { COMPLETE },
};

FIXTURE_VARIANT_ADD(buffer, int_max)
{
	.optlen = { START, INT_MAX },
	.mapped = { COMPLETE },
	.written = { COMPLETE },
};

FIXTURE_VARIANT_ADD(buffer, one_byte_short)
{
	.optlen = { COMPLETE, -1 },
	.written = { COMPLETE, -1 },
	.trunc = true,
};

FIXTURE_VARIANT_ADD(buffer, half_of_payload)
{
	.optlen = { PAYLOAD, 1700 },
	.written = { PAYLOAD, 1700 },
	.trunc = true,
};

FIXTURE_VARIANT_ADD(buffer, one_byte_of_payload)
{
	.optlen = { PAYLOAD, 1 },
	.written = { PAYLOAD, 1 },
	.trunc = true,
};

FIXTURE_VARIANT_ADD(buffer, no_payload)
{
	.optlen = { PAYLOAD },
	.written = { PAYLOAD },
	.trunc = true,
};

FIXTURE_VARIANT_ADD(buffer, options_one_byte_short)
{
	.optlen = { PAYLOAD, -1 },
	.written = { PAYLOAD, -1 },
	.trunc = true,
};

FIXTURE_VARIANT_ADD(buffer, one_byte_of_options)
{
	.optlen = { HEADER, 1 },
	.written = { HEADER, 1 },
	.trunc = true,
};

FIXTURE_VARIANT_ADD(buffer, header_only)
{
	.optlen = { HEADER },
	.written = { HEADER },
	.trunc = true,
};

FIXTURE_VARIANT_ADD(buffer, header_one_byte_short)
{
	.optlen = { HEADER, -1 },
	.size = { HEADER, -1 },
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, size_only)
{
	.optlen = { START, 4 },
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, size_not_complete)
{
	.optlen = { START, 3 },
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, zero)
{
	.optlen = { START, 0 },
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, negative)
{
	.optlen = { START, -1 },
	.mapped = { COMPLETE },
	.ret = -EINVAL,
	.ret_outside = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, int_min)
{
	.optlen = { START, INT_MIN },
	.mapped = { COMPLETE },
	.ret = -EINVAL,
	.ret_outside = -EINVAL,
};

/* Size of the structure */

FIXTURE_VARIANT_ADD(buffer, size_zero)
{
	.optlen = { COMPLETE },
	.size = { START, 0 },
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, size_one_byte_short)
{
	.optlen = { COMPLETE },
	.size = { HEADER, -1 },
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, size_larger_than_buffer)
{
	.optlen = { HEADER, 8 },
	.size = { HEADER, 9 },
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, size_negative)
{
	.optlen = { COMPLETE },
	.size = { START, -1 },
	.ret = -EINVAL,
};

/* A caller with a newer header than the kernel's, and nothing new asked. */
FIXTURE_VARIANT_ADD(buffer, newer)
{
	.optlen = { COMPLETE, 72 },
	.size = { HEADER, 72 },
	.written = { COMPLETE, 72 },
};

FIXTURE_VARIANT_ADD(buffer, newer_by_one_byte)
{
	.optlen = { COMPLETE, 1 },
	.size = { HEADER, 1 },
	.written = { COMPLETE, 1 },
};

FIXTURE_VARIANT_ADD(buffer, newer_header_only)
{
	.optlen = { HEADER, 72 },
	.size = { HEADER, 72 },
	.written = { HEADER, 72 },
	.trunc = true,
};

FIXTURE_VARIANT_ADD(buffer, newer_one_byte_short)
{
	.optlen = { COMPLETE, 71 },
	.size = { HEADER, 72 },
	.written = { COMPLETE, 71 },
	.trunc = true,
};

FIXTURE_VARIANT_ADD(buffer, newer_and_asking)
{
	.optlen = { COMPLETE, 72 },
	.size = { HEADER, 72 },
	.poke = HDR_SIZE,
	.ret = -E2BIG,
};

FIXTURE_VARIANT_ADD(buffer, newer_and_asking_at_the_end)
{
	.optlen = { COMPLETE, 72 },
	.size = { HEADER, 72 },
	.poke = HDR_SIZE + 71,
	.ret = -E2BIG,
};

/* Behind the structure is no request. */
FIXTURE_VARIANT_ADD(buffer, newer_and_set_behind)
{
	.optlen = { COMPLETE, 72 },
	.size = { HEADER, 72 },
	.poke = HDR_SIZE + 72,
	.written = { COMPLETE, 72 },
};

FIXTURE_VARIANT_ADD(buffer, size_page)
{
	.optlen = { PAGE },
	.size = { PAGE },
	.written = { PAGE },
	.trunc = true,
};

FIXTURE_VARIANT_ADD(buffer, size_over_page)
{
	.optlen = { PAGE, 1 },
	.size = { PAGE, 1 },
	.ret = -E2BIG,
};

/* What must be 0, and what need not */

FIXTURE_VARIANT_ADD(buffer, ignored_set)
{
	.optlen = { COMPLETE },
	.ignored_set = true,
	.written = { COMPLETE },
};

#define FLAGS(byte)	(offsetof(struct udp_repair_send_queue, flags) + (byte))
#define RESERVED(word)	offsetof(struct udp_repair_send_queue, reserved[word])

FIXTURE_VARIANT_ADD(buffer, flags_first_byte)
{
	.optlen = { COMPLETE },
	.poke = FLAGS(0),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, flags_last_byte)
{
	.optlen = { COMPLETE },
	.poke = FLAGS(3),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, reserved_0)
{
	.optlen = { COMPLETE },
	.poke = RESERVED(0),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, reserved_1)
{
	.optlen = { COMPLETE },
	.poke = RESERVED(1),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, reserved_2)
{
	.optlen = { COMPLETE },
	.poke = RESERVED(2),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, reserved_3)
{
	.optlen = { COMPLETE },
	.poke = RESERVED(3),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, reserved_4)
{
	.optlen = { COMPLETE },
	.poke = RESERVED(4),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, reserved_5)
{
	.optlen = { COMPLETE },
	.poke = RESERVED(5),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, reserved_6)
{
	.optlen = { COMPLETE },
	.poke = RESERVED(6),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(buffer, reserved_last_byte)
{
	.optlen = { COMPLETE },
	.poke = RESERVED(6) + 1,
	.ret = -EINVAL,
};

/* Memory */

FIXTURE_VARIANT_ADD(buffer, unmapped)
{
	.optlen = { COMPLETE },
	.mapped = { START, 1 },
	.ret = -EFAULT,
};

FIXTURE_VARIANT_ADD(buffer, unmapped_behind_size)
{
	.optlen = { COMPLETE },
	.mapped = { START, 4 },
	.ret = -EFAULT,
};

FIXTURE_VARIANT_ADD(buffer, unmapped_in_header)
{
	.optlen = { COMPLETE },
	.mapped = { HEADER, -1 },
	.ret = -EFAULT,
};

FIXTURE_VARIANT_ADD(buffer, unmapped_in_newer_header)
{
	.optlen = { COMPLETE, 72 },
	.size = { HEADER, 72 },
	.mapped = { HEADER, 71 },
	.ret = -EFAULT,
};

FIXTURE_VARIANT_ADD(buffer, unmapped_options)
{
	.optlen = { COMPLETE },
	.mapped = { HEADER },
	.ret = -EFAULT,
};

FIXTURE_VARIANT_ADD(buffer, unmapped_in_options)
{
	.optlen = { COMPLETE },
	.mapped = { PAYLOAD, -1 },
	.ret = -EFAULT,
};

FIXTURE_VARIANT_ADD(buffer, unmapped_payload)
{
	.optlen = { COMPLETE },
	.mapped = { PAYLOAD },
	.ret = -EFAULT,
};

FIXTURE_VARIANT_ADD(buffer, unmapped_in_payload)
{
	.optlen = { COMPLETE },
	.mapped = { PAYLOAD, 2500 },
	.ret = -EFAULT,
};

FIXTURE_VARIANT_ADD(buffer, unmapped_last_byte)
{
	.optlen = { COMPLETE },
	.mapped = { COMPLETE, -1 },
	.ret = -EFAULT,
};

FIXTURE_VARIANT_ADD(buffer, read_only)
{
	.optlen = { COMPLETE },
	.read_only = true,
	.ret = -EFAULT,
};

FIXTURE_SETUP(buffer)
{
	if (!setup(_metadata, 1500))
		return;
}

FIXTURE_TEARDOWN(buffer)
{
}

/* Senders that together have each kind of part, and payload in many skbs. */
static const struct sender {
	const char *name;
	int domain;
	const char *to;
	struct opt cmsg[2];
} senders[] = {
	{
		.name = "v4",
		.domain = AF_INET,
		.to = "127.0.0.1",
		.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_rr) }},
	},
	{
		.name = "v6",
		.domain = AF_INET6,
		.to = "::1",
		.cmsg = {
			{ SOL_IPV6, IPV6_HOPOPTS, OPT_DATA(hopopt) },
			{ SOL_IPV6, IPV6_DSTOPTS, OPT_DATA(dst1opt) },
		},
	},
	{
		.name = "mapped",
		.domain = AF_INET6,
		.to = "::ffff:127.0.0.1",
		.cmsg = {{ SOL_IP, IP_RETOPTS, OPT_DATA(ipopt_rr) }},
	},
};

#define BUFFER_PAYLOAD	3100

static int sender_start(const struct sender *sender)
{
	int fd = sys_socket(sender->domain, SOCK_DGRAM);
	union addr addr;
	int ret;

	if (fd < 0)
		return fd;
	set_addr(&addr, sender->to, RECEIVER_PORT);
	ret = set_repair(fd, UDP_REPAIR_ON);
	if (!ret)
		ret = opts_send(fd, &addr, text, BUFFER_PAYLOAD, MSG_MORE,
				sender->cmsg, ARRAY_SIZE(sender->cmsg));
	return ret < 0 ? ret : fd;
}

static int place_resolve(const struct place *place, const struct dump *whole)
{
	switch (place->base) {
	case HEADER:
		return HDR_SIZE + place->offset;
	case PAYLOAD:
		return HDR_SIZE + parts_len(&whole->hdr) + place->offset;
	case COMPLETE:
		return whole->len + place->offset;
	case PAGE:
		return sysconf(_SC_PAGESIZE) + place->offset;
	default:
		return place->offset;
	}
}

/* What a caller gets that knows the header as @size bytes: @whole, with what it
 * does not know as 0.
 */
static void dump_resize(struct dump *to, const struct dump *whole, int size)
{
	memset(to, 0, sizeof(*to));
	to->hdr = whole->hdr;
	to->hdr.size = size;
	to->hdr.total_len = whole->hdr.total_len + size - HDR_SIZE;
	to->len = whole->len + size - HDR_SIZE;
	memcpy(to->raw + size, whole->raw + HDR_SIZE, whole->len - HDR_SIZE);
}

struct request {
	void *map;
	size_t map_len;
	__u8 *buf;		/* @mapped bytes, then nothing */
	int mapped;
	int size;
	socklen_t optlen;
	struct dump image;	/* what is in @buf before the call */
};

static int request_prepare(struct request *req,
			   FIXTURE_VARIANT(buffer) const *variant,
			   const struct dump *whole)
{
	const size_t ignored = offsetof(struct udp_repair_send_queue, state);
	const size_t ignored_end = offsetof(struct udp_repair_send_queue,
					    reserved);
	const size_t page = sysconf(_SC_PAGESIZE);
	size_t pages;

	req->optlen = place_resolve(&variant->optlen, whole);
	req->mapped = place_resolve(variant->mapped.base ? &variant->mapped :
				    &variant->optlen, whole);
	req->size = variant->size.base ?
		    place_resolve(&variant->size, whole) : HDR_SIZE;

	memset(&req->image, POISON, sizeof(req->image));
	memset(req->image.raw, 0,
	       req->size > (int)HDR_SIZE ? req->size : HDR_SIZE);
	if (variant->ignored_set)
		memset(req->image.raw + ignored, 0xff, ignored_end - ignored);
	req->image.hdr.size = req->size;
	if (variant->poke)
		req->image.raw[variant->poke] = 1;

	pages = (req->mapped + page - 1) / page;
	req->map_len = (pages + 1) * page;
	req->map = mmap(NULL, req->map_len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (req->map == MAP_FAILED)
		return -errno;
	req->buf = req->map + pages * page - req->mapped;
	memcpy(req->buf, req->image.raw, req->mapped);
	if (mprotect(req->map + pages * page, page, PROT_NONE))
		return -errno;
	if (variant->read_only && mprotect(req->map, pages * page, PROT_READ))
		return -errno;
	return 0;
}

static void request_free(struct request *req)
{
	munmap(req->map, req->map_len);
}

/* The call fails, and neither it nor what it asked for shows. */
static void expect_refused(struct __test_metadata *_metadata, int ret, int fd,
			   struct request *req)
{
	const socklen_t optlen = req->optlen;

	EXPECT_EQ(ret, get_send_queue(fd, req->buf, &req->optlen));
	EXPECT_EQ(optlen, req->optlen);
	/* Memory can turn out to be missing only when some is written to. */
	if (ret != -EFAULT)
		EXPECT_EQ(0, memcmp(req->image.raw, req->buf, req->mapped));
}

static void expect_written(struct __test_metadata *_metadata, bool trunc,
			   int written, const struct dump *whole, int fd,
			   struct request *req)
{
	static struct dump want;

	dump_resize(&want, whole, req->size);
	if (trunc)
		want.hdr.state |= UDP_REPAIR_SQ_TRUNC;

	ASSERT_EQ(0, get_send_queue(fd, req->buf, &req->optlen));
	ASSERT_EQ(written, req->optlen);
	EXPECT_EQ(0, memcmp(want.raw, req->buf, written));
	EXPECT_EQ(0, memcmp(req->image.raw + written, req->buf + written,
			    req->mapped - written));
}

TEST_F(buffer, dump)
{
	static struct request req;
	int i, fd;

	for (i = 0; i < ARRAY_SIZE(senders); i++) {
		fd = sender_start(&senders[i]);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, dump_queue(fd, &first));
		ASSERT_LT(0, parts_len(&first.hdr));
		ASSERT_EQ(BUFFER_PAYLOAD, first.hdr.payload_len);
		ASSERT_EQ(0, request_prepare(&req, variant, &first));

		if (variant->ret)
			expect_refused(_metadata, variant->ret, fd, &req);
		else
			expect_written(_metadata, variant->trunc,
				       place_resolve(&variant->written, &first),
				       &first, fd, &req);

		ASSERT_EQ(0, dump_queue(fd, &second));
		EXPECT_EQ(0, memcmp(&first, &second, sizeof(first)));
		request_free(&req);
		close(fd);
	}
}

/* Nothing about the buffer is looked at before the mode. */
TEST_F(buffer, outside_repair_mode)
{
	static struct request req;
	int i, fd;

	for (i = 0; i < ARRAY_SIZE(senders); i++) {
		fd = sender_start(&senders[i]);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, dump_queue(fd, &first));
		ASSERT_EQ(0, request_prepare(&req, variant, &first));

		ASSERT_EQ(0, set_repair(fd, UDP_REPAIR_OFF));
		expect_refused(_metadata, variant->ret_outside ?: -EPERM, fd,
			       &req);

		ASSERT_EQ(0, set_repair(fd, UDP_REPAIR_ON));
		ASSERT_EQ(0, dump_queue(fd, &second));
		EXPECT_EQ(0, memcmp(&first, &second, sizeof(first)));
		request_free(&req);
		close(fd);
	}
}

/* Mode: values and buffers, with and without the capability. */

static int caps_drop(__u32 mask)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct caps[2];

	if (syscall(SYS_capget, &hdr, caps))
		return -errno;
	caps[0].effective &= ~mask;
	caps[0].permitted &= ~mask;
	caps[0].inheritable &= ~mask;
	return syscall(SYS_capset, &hdr, caps) ? -errno : 0;
}

FIXTURE(mode)
{
};

FIXTURE_VARIANT(mode)
{
	bool incapable;
	int before;
	int val;
	int len;
	bool unmapped;

	int ret;
	int after;
};

FIXTURE_VARIANT_ADD(mode, on)
{
	.val = UDP_REPAIR_ON,
	.len = sizeof(int),
	.after = UDP_REPAIR_ON,
};

FIXTURE_VARIANT_ADD(mode, on_again)
{
	.before = UDP_REPAIR_ON,
	.val = UDP_REPAIR_ON,
	.len = sizeof(int),
	.after = UDP_REPAIR_ON,
};

FIXTURE_VARIANT_ADD(mode, off)
{
	.before = UDP_REPAIR_ON,
	.val = UDP_REPAIR_OFF,
	.len = sizeof(int),
};

FIXTURE_VARIANT_ADD(mode, off_again)
{
	.val = UDP_REPAIR_OFF,
	.len = sizeof(int),
};

FIXTURE_VARIANT_ADD(mode, longer)
{
	.val = UDP_REPAIR_ON,
	.len = 2 * sizeof(int),
	.after = UDP_REPAIR_ON,
};

FIXTURE_VARIANT_ADD(mode, shorter)
{
	.val = UDP_REPAIR_ON,
	.len = sizeof(int) - 1,
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(mode, empty)
{
	.before = UDP_REPAIR_ON,
	.val = UDP_REPAIR_OFF,
	.ret = -EINVAL,
	.after = UDP_REPAIR_ON,
};

FIXTURE_VARIANT_ADD(mode, negative_length)
{
	.val = UDP_REPAIR_ON,
	.len = -1,
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(mode, unmapped)
{
	.val = UDP_REPAIR_ON,
	.len = sizeof(int),
	.unmapped = true,
	.ret = -EFAULT,
};

FIXTURE_VARIANT_ADD(mode, two)
{
	.val = 2,
	.len = sizeof(int),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(mode, two_when_on)
{
	.before = UDP_REPAIR_ON,
	.val = 2,
	.len = sizeof(int),
	.ret = -EINVAL,
	.after = UDP_REPAIR_ON,
};

/* TCP_REPAIR_OFF_NO_WP has no meaning here. */
FIXTURE_VARIANT_ADD(mode, minus_one)
{
	.before = UDP_REPAIR_ON,
	.val = -1,
	.len = sizeof(int),
	.ret = -EINVAL,
	.after = UDP_REPAIR_ON,
};

FIXTURE_VARIANT_ADD(mode, high_bit)
{
	.val = INT_MIN + 1,
	.len = sizeof(int),
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(mode, incapable_on)
{
	.incapable = true,
	.val = UDP_REPAIR_ON,
	.len = sizeof(int),
	.ret = -EPERM,
};

FIXTURE_VARIANT_ADD(mode, incapable_off)
{
	.incapable = true,
	.before = UDP_REPAIR_ON,
	.val = UDP_REPAIR_OFF,
	.len = sizeof(int),
	.ret = -EPERM,
	.after = UDP_REPAIR_ON,
};

FIXTURE_VARIANT_ADD(mode, incapable_off_again)
{
	.incapable = true,
	.val = UDP_REPAIR_OFF,
	.len = sizeof(int),
	.ret = -EPERM,
};

FIXTURE_VARIANT_ADD(mode, incapable_two)
{
	.incapable = true,
	.val = 2,
	.len = sizeof(int),
	.ret = -EPERM,
};

FIXTURE_SETUP(mode)
{
	if (!setup(_metadata, LO_MTU))
		return;
}

FIXTURE_TEARDOWN(mode)
{
}

TEST_F(mode, set)
{
	static const int domains[] = { AF_INET, AF_INET6 };
	const int val[2] = { variant->val, -1 };
	int fd[ARRAY_SIZE(domains)];
	int i;

	for (i = 0; i < ARRAY_SIZE(domains); i++) {
		fd[i] = sys_socket(domains[i], SOCK_DGRAM);
		ASSERT_LE(0, fd[i]);
		EXPECT_EQ(UDP_REPAIR_OFF, get_repair(fd[i]));
		ASSERT_EQ(0, set_repair(fd[i], variant->before));
	}
	if (variant->incapable)
		ASSERT_EQ(0, caps_drop(CAP_TO_MASK(CAP_NET_ADMIN)));

	for (i = 0; i < ARRAY_SIZE(domains); i++) {
		EXPECT_EQ(variant->ret, set_opt(fd[i], SOL_UDP, UDP_REPAIR,
						variant->unmapped ? NULL : val,
						variant->len));
		EXPECT_EQ(variant->after, get_repair(fd[i]));
		close(fd[i]);
	}
}

/* As for any option that is an int: as much of it as there is room for. */
FIXTURE(mode_read)
{
	int fd;
};

FIXTURE_VARIANT(mode_read)
{
	int len;
	bool unmapped;
	int ret;
	int written;
};

FIXTURE_VARIANT_ADD(mode_read, exact)
{
	.len = sizeof(int),
	.written = sizeof(int),
};

FIXTURE_VARIANT_ADD(mode_read, longer)
{
	.len = sizeof(int) + 1,
	.written = sizeof(int),
};

FIXTURE_VARIANT_ADD(mode_read, shorter)
{
	.len = sizeof(int) - 1,
	.written = sizeof(int) - 1,
};

FIXTURE_VARIANT_ADD(mode_read, empty)
{
};

FIXTURE_VARIANT_ADD(mode_read, negative_length)
{
	.len = -1,
	.ret = -EINVAL,
};

FIXTURE_VARIANT_ADD(mode_read, unmapped)
{
	.len = sizeof(int),
	.unmapped = true,
	.ret = -EFAULT,
};

FIXTURE_SETUP(mode_read)
{
	if (!setup(_metadata, LO_MTU))
		return;
	self->fd = sys_socket(AF_INET, SOCK_DGRAM);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(mode_read)
{
	close(self->fd);
}

TEST_F(mode_read, get)
{
	static const int vals[] = { UDP_REPAIR_ON, UDP_REPAIR_OFF };
	__u8 buf[8], want[8];
	socklen_t len;
	int i;

	for (i = 0; i < ARRAY_SIZE(vals); i++) {
		ASSERT_EQ(0, set_repair(self->fd, vals[i]));
		memset(buf, POISON, sizeof(buf));
		memset(want, POISON, sizeof(want));
		memcpy(want, &vals[i], variant->written);
		len = variant->len;
		EXPECT_EQ(variant->ret, get_opt(self->fd, SOL_UDP, UDP_REPAIR,
						variant->unmapped ? NULL : buf,
						&len));
		EXPECT_EQ(variant->ret ? variant->len : variant->written, len);
		EXPECT_EQ(0, memcmp(want, buf, sizeof(buf)));
	}
}

/* Sockets that the mode is and is not for. */
FIXTURE(sockets)
{
};

FIXTURE_SETUP(sockets)
{
	if (!setup(_metadata, LO_MTU))
		return;
}

FIXTURE_TEARDOWN(sockets)
{
}

TEST_F(sockets, mode_is_of_the_socket)
{
	int fd = sys_socket(AF_INET, SOCK_DGRAM);
	int other = sys_socket(AF_INET, SOCK_DGRAM);
	int same = dup(fd);

	ASSERT_LE(0, fd);
	ASSERT_LE(0, other);
	ASSERT_LE(0, same);
	ASSERT_EQ(0, set_repair(fd, UDP_REPAIR_ON));
	EXPECT_EQ(UDP_REPAIR_ON, get_repair(same));
	EXPECT_EQ(UDP_REPAIR_OFF, get_repair(other));
	EXPECT_EQ(0, dump_queue(same, &first));
	EXPECT_EQ(-EPERM, dump_queue(other, &first));
}

TEST_F(sockets, not_for_tcp)
{
	int fd = sys_socket(AF_INET, SOCK_STREAM);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOPROTOOPT, set_repair(fd, UDP_REPAIR_ON));
	EXPECT_EQ(-EOPNOTSUPP, dump_queue(fd, &first));
}

/* A dump is not put back this way. */
TEST_F(sockets, queue_cannot_be_set)
{
	int fd = sys_socket(AF_INET, SOCK_DGRAM);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, set_repair(fd, UDP_REPAIR_ON));
	ASSERT_EQ(0, dump_queue(fd, &first));
	EXPECT_EQ(-ENOPROTOOPT, set_opt(fd, SOL_UDP, UDP_REPAIR_SEND_QUEUE,
					&first.hdr, HDR_SIZE));
}

TEST_F(sockets, unmapped_length)
{
	int fd = sender_start(&senders[0]);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, dump_queue(fd, &first));
	EXPECT_EQ(-EFAULT, get_send_queue(fd, first.raw, NULL));
	EXPECT_EQ(-EFAULT, get_opt(fd, SOL_UDP, UDP_REPAIR, first.raw, NULL));
	ASSERT_EQ(0, dump_queue(fd, &second));
	EXPECT_EQ(0, memcmp(&first, &second, sizeof(first)));
}

/* Access: who may switch the mode, and who may use it. Both columns of the
 * protocol table go through the same rows: TCP_REPAIR is the precedent.
 *
 *   capable process -- netns A -- socket
 *          |                        |
 *          | fork, lose something   | new, or by SCM_RIGHTS
 *          v                        v
 *   subject, netns A or B           steps
 */

struct protocol {
	const char *name;
	int type;
	int level;
	int repair;
	int (*use)(int fd);
};

static int use_udp(int fd)
{
	return dump_queue(fd, &first);
}

static int use_tcp(int fd)
{
	struct tcp_repair_window window;
	socklen_t len = sizeof(window);

	return get_opt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &len);
}

static const struct protocol protocols[] = {
	{ "UDP", SOCK_DGRAM, IPPROTO_UDP, UDP_REPAIR, use_udp },
	{ "TCP", SOCK_STREAM, IPPROTO_TCP, TCP_REPAIR, use_tcp },
};

struct step {
	enum { DONE, TURN_ON, TURN_OFF, MODE, USE } what;
	int ret;
};

FIXTURE(access)
{
};

FIXTURE_VARIANT(access)
{
	__u32 caps_dropped;
	int unshared;		/* by the subject, without capabilities */
	bool passed;		/* the socket comes from the capable process */
	int before;		/* and is in this mode */

	struct step steps[8];
};

#define ALL_CAPS	(~0U)
#define NET_ADMIN	CAP_TO_MASK(CAP_NET_ADMIN)

FIXTURE_VARIANT_ADD(access, capable)
{
	.steps = {
		{ USE, -EPERM },
		{ TURN_ON, 0 },
		{ MODE, 1 },
		{ USE, 0 },
		{ TURN_OFF, 0 },
		{ MODE, 0 },
		{ USE, -EPERM },
	},
};

FIXTURE_VARIANT_ADD(access, only_net_admin)
{
	.caps_dropped = ALL_CAPS & ~NET_ADMIN,
	.steps = {
		{ USE, -EPERM },
		{ TURN_ON, 0 },
		{ MODE, 1 },
		{ USE, 0 },
		{ TURN_OFF, 0 },
		{ MODE, 0 },
		{ USE, -EPERM },
	},
};

FIXTURE_VARIANT_ADD(access, all_but_net_admin)
{
	.caps_dropped = NET_ADMIN,
	.steps = {
		{ USE, -EPERM },
		{ TURN_ON, -EPERM },
		{ TURN_OFF, -EPERM },
		{ MODE, 0 },
		{ USE, -EPERM },
	},
};

/* All capabilities, but not where the network namespace belongs to. */
FIXTURE_VARIANT_ADD(access, own_userns)
{
	.unshared = CLONE_NEWUSER,
	.steps = {
		{ USE, -EPERM },
		{ TURN_ON, -EPERM },
		{ TURN_OFF, -EPERM },
		{ MODE, 0 },
		{ USE, -EPERM },
	},
};

/* What an unprivileged process can always have. */
FIXTURE_VARIANT_ADD(access, own_userns_and_netns)
{
	.caps_dropped = ALL_CAPS,
	.unshared = CLONE_NEWUSER | CLONE_NEWNET,
	.steps = {
		{ USE, -EPERM },
		{ TURN_ON, 0 },
		{ MODE, 1 },
		{ USE, 0 },
		{ TURN_OFF, 0 },
		{ MODE, 0 },
		{ USE, -EPERM },
	},
};

/* Who receives a socket in repair mode may use the mode, and not switch it. */
FIXTURE_VARIANT_ADD(access, passed_on)
{
	.caps_dropped = NET_ADMIN,
	.passed = true,
	.before = 1,
	.steps = {
		{ MODE, 1 },
		{ USE, 0 },
		{ TURN_ON, -EPERM },
		{ TURN_OFF, -EPERM },
		{ MODE, 1 },
		{ USE, 0 },
	},
};

FIXTURE_VARIANT_ADD(access, passed_on_without_any_capability)
{
	.caps_dropped = ALL_CAPS,
	.passed = true,
	.before = 1,
	.steps = {
		{ MODE, 1 },
		{ USE, 0 },
		{ TURN_ON, -EPERM },
		{ TURN_OFF, -EPERM },
		{ MODE, 1 },
		{ USE, 0 },
	},
};

FIXTURE_VARIANT_ADD(access, passed_off)
{
	.caps_dropped = NET_ADMIN,
	.passed = true,
	.steps = {
		{ MODE, 0 },
		{ USE, -EPERM },
		{ TURN_ON, -EPERM },
		{ TURN_OFF, -EPERM },
		{ MODE, 0 },
		{ USE, -EPERM },
	},
};

/* It is the socket's namespace that counts, not the receiver's. */
FIXTURE_VARIANT_ADD(access, passed_on_to_a_container)
{
	.unshared = CLONE_NEWUSER | CLONE_NEWNET,
	.passed = true,
	.before = 1,
	.steps = {
		{ MODE, 1 },
		{ USE, 0 },
		{ TURN_ON, -EPERM },
		{ TURN_OFF, -EPERM },
		{ MODE, 1 },
		{ USE, 0 },
	},
};

FIXTURE_VARIANT_ADD(access, passed_off_to_a_container)
{
	.unshared = CLONE_NEWUSER | CLONE_NEWNET,
	.passed = true,
	.steps = {
		{ MODE, 0 },
		{ USE, -EPERM },
		{ TURN_ON, -EPERM },
		{ TURN_OFF, -EPERM },
		{ MODE, 0 },
		{ USE, -EPERM },
	},
};

FIXTURE_SETUP(access)
{
	if (!setup(_metadata, LO_MTU))
		return;
}

FIXTURE_TEARDOWN(access)
{
}

static int pass_fd(int channel, int fd)
{
	union {
		struct cmsghdr first;
		__u8 raw[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec iov = { .iov_base = text, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(channel, &msg, 0) < 0 ? -errno : 0;
}

static int receive_fd(int channel)
{
	union {
		struct cmsghdr first;
		__u8 raw[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec iov = { .iov_base = text, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(channel, &msg, MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	if (!CMSG_FIRSTHDR(&msg))
		return -ENOMSG;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

static int take_step(const struct protocol *proto, const struct step *step,
		     int fd)
{
	switch (step->what) {
	case TURN_ON:
		return set_int(fd, proto->level, proto->repair, 1);
	case TURN_OFF:
		return set_int(fd, proto->level, proto->repair, 0);
	case MODE:
		return get_int(fd, proto->level, proto->repair);
	default:
		return proto->use(fd);
	}
}

static void take_steps(struct __test_metadata *_metadata,
		       FIXTURE_VARIANT(access) const *variant,
		       const struct protocol *proto, int channel)
{
	const struct step *step;
	int fd;

	ASSERT_EQ(0, caps_drop(variant->caps_dropped));
	ASSERT_EQ(0, unshare(variant->unshared));
	fd = variant->passed ? receive_fd(channel) :
			       sys_socket(AF_INET, proto->type);
	ASSERT_LE(0, fd);

	for (step = variant->steps; step->what; step++) {
		EXPECT_EQ(step->ret, take_step(proto, step, fd)) {
			TH_LOG("%s, step %td", proto->name,
			       step - variant->steps + 1);
		}
	}
}

TEST_F(access, steps)
{
	int i, fd, status, channel[2];
	pid_t pid;

	for (i = 0; i < ARRAY_SIZE(protocols); i++) {
		const struct protocol *proto = &protocols[i];

		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0,
					channel));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			take_steps(_metadata, variant, proto, channel[1]);
			_exit(0);
		}

		fd = sys_socket(AF_INET, proto->type);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, set_int(fd, proto->level, proto->repair,
				     variant->before));
		if (variant->passed)
			ASSERT_EQ(0, pass_fd(channel[0], fd));

		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_EQ(variant->before,
			  get_int(fd, proto->level, proto->repair));
		close(fd);
		close(channel[0]);
		close(channel[1]);
	}
}

int main(int argc, char **argv)
{
	netns = enter_netns();
	wire = make_wire();
	return test_harness_run(argc, argv);
}

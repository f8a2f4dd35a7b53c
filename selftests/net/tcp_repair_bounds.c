// SPDX-License-Identifier: GPL-2.0
/* TCP_REPAIR: every value that can be restored is bounded, a refused call
 * changes nothing, and the ways in which programs restore connections work.
 *
 * Three parts:
 *  - bounds: each value at and next to its bounds, on a socket that was
 *    connected in repair mode and has no peer;
 *  - moment: calls that are right or wrong only because of what happened
 *    before;
 *  - restore: a connection is moved to a new socket in the order of CRIU or
 *    passt, with data in both queues, and goes on.
 *
 * Every test has a network namespace of its own; all traffic stays in it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/sockios.h>
#include <linux/tcp.h>

#include "kselftest_harness.h"

enum {
	OPT_MSS = 2,
	OPT_WINDOW = 3,
	OPT_SACK_PERM = 4,
	OPT_TIMESTAMP = 8,
};

/* Bounds, written down here a second time so that the kernel's own constants
 * are not compared with themselves.
 */
#define MSS_MIN 88
#define MSS_MAX 65535
#define WSCALE_MAX 14
#define WINDOW_MAX(wscale) (65535U << (wscale))

/* Sequence numbers near the wrap, so that every comparison has to be right. */
#define RCV_SEQ 0xfffffff0U
#define SND_SEQ 0x7ffffff8U

#define LINK_MTU 1500

/* How long a connection over loopback may take for anything that is waited
 * for. Retransmission timers of up to a few seconds are part of it.
 */
#define DEADLINE_MS 20000

static int sys(int ret)
{
	return ret < 0 ? -errno : ret;
}

static int tcp_set(int fd, int opt, const void *val, socklen_t len)
{
	return sys(setsockopt(fd, IPPROTO_TCP, opt, val, len));
}

static int tcp_set_int(int fd, int opt, int val)
{
	return tcp_set(fd, opt, &val, sizeof(val));
}

static int tcp_get(int fd, int opt, void *val, socklen_t len)
{
	return sys(getsockopt(fd, IPPROTO_TCP, opt, val, &len));
}

static int sol_set_int(int fd, int opt, int val)
{
	return sys(setsockopt(fd, SOL_SOCKET, opt, &val, sizeof(val)));
}

static int sol_get_int(int fd, int opt)
{
	socklen_t len;
	int val;

	len = sizeof(val);
	if (getsockopt(fd, SOL_SOCKET, opt, &val, &len))
		return -errno;
	return val;
}

static int set_option(int fd, __u32 code, __u32 val)
{
	struct tcp_repair_opt opt = { code, val };

	return tcp_set(fd, TCP_REPAIR_OPTIONS, &opt, sizeof(opt));
}

static int set_window(int fd, const struct tcp_repair_window *win)
{
	return tcp_set(fd, TCP_REPAIR_WINDOW, win, sizeof(*win));
}

/* Select a queue and set its sequence number. */
static int set_seq(int fd, int queue, __u32 seq)
{
	int ret = tcp_set_int(fd, TCP_REPAIR_QUEUE, queue);

	return ret ? ret : tcp_set_int(fd, TCP_QUEUE_SEQ, seq);
}

/* Write a value to a file below /proc/sys/net/ipv4. */
static int set_sysctl(const char *name, const char *val)
{
	char path[128];
	int fd, ret;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	ret = sys(write(fd, val, strlen(val)));
	close(fd);
	return ret < 0 ? ret : 0;
}

/* A network namespace with loopback up, with an MTU that makes the MSS one of
 * a real path. Needs root, or the right to make a user namespace.
 */
static int enter_netns(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd, ret;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return -errno;

	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0)
		return -errno;
	ifr.ifr_mtu = LINK_MTU;
	ret = sys(ioctl(fd, SIOCSIFMTU, &ifr));
	ifr.ifr_flags = IFF_UP;
	if (!ret)
		ret = sys(ioctl(fd, SIOCSIFFLAGS, &ifr));
	close(fd);
	return ret;
}

static socklen_t loopback(struct sockaddr_storage *ss, int family, int port)
{
	struct sockaddr_in6 *sin6 = (void *)ss;
	struct sockaddr_in *sin = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (family == AF_INET6) {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port);
		sin6->sin6_addr = in6addr_loopback;
		return sizeof(*sin6);
	}
	sin->sin_family = AF_INET;
	sin->sin_port = htons(port);
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(*sin);
}

/* A socket in repair mode, bound, with sequence numbers, not connected. */
static int repair_bound(int family, int port, __u32 snd_seq,
			__u32 rcv_seq)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, ret;

	fd = socket(family, SOCK_STREAM, 0);
	if (fd < 0)
		return -errno;

	len = loopback(&ss, family, port);
	ret = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON);
	if (!ret)
		ret = sys(bind(fd, (void *)&ss, len));
	if (!ret)
		ret = set_seq(fd, TCP_SEND_QUEUE, snd_seq);
	if (!ret)
		ret = set_seq(fd, TCP_RECV_QUEUE, rcv_seq);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

static int connect_port(int fd, int family, int port)
{
	struct sockaddr_storage ss;
	socklen_t len = loopback(&ss, family, port);

	return sys(connect(fd, (void *)&ss, len));
}

#define LONELY_PORT 4000
#define LONELY_PEER 4001

/* An established socket in repair mode that has no peer. */
static int repair_lonely(void)
{
	int fd, ret;

	fd = repair_bound(AF_INET, LONELY_PORT, SND_SEQ, RCV_SEQ);
	if (fd < 0)
		return fd;
	ret = connect_port(fd, AF_INET, LONELY_PEER);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

static int set_wscale(int fd, int snd, int rcv)
{
	return set_option(fd, OPT_WINDOW, snd | rcv << 16);
}

/* Everything that getsockopt() tells about a socket in repair mode. */
struct state {
	struct tcp_repair_window win;
	__u32 snd_seq;
	__u32 rcv_seq;
	int timestamp;
	int mss;
	int repair;
	int queue;
	int reuse;
	struct tcp_info info;
};

/* The clock of TCP_TIMESTAMP runs: it is compared apart. */
static int get_state(int fd, struct state *st)
{
	int ret;

	memset(st, 0, sizeof(*st));
	ret = tcp_get(fd, TCP_REPAIR, &st->repair, sizeof(st->repair));
	if (!ret)
		ret = tcp_get(fd, TCP_REPAIR_QUEUE, &st->queue,
			      sizeof(st->queue));
	if (!ret)
		ret = tcp_get(fd, TCP_REPAIR_WINDOW, &st->win, sizeof(st->win));
	if (!ret)
		ret = tcp_get(fd, TCP_MAXSEG, &st->mss, sizeof(st->mss));
	if (!ret)
		ret = tcp_get(fd, TCP_TIMESTAMP, &st->timestamp,
			      sizeof(st->timestamp));
	if (!ret)
		ret = tcp_set_int(fd, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
	if (!ret)
		ret = tcp_get(fd, TCP_QUEUE_SEQ, &st->snd_seq,
			      sizeof(st->snd_seq));
	if (!ret)
		ret = tcp_set_int(fd, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	if (!ret)
		ret = tcp_get(fd, TCP_QUEUE_SEQ, &st->rcv_seq,
			      sizeof(st->rcv_seq));
	if (!ret)
		ret = tcp_set_int(fd, TCP_REPAIR_QUEUE, st->queue);
	if (!ret)
		ret = tcp_get(fd, TCP_INFO, &st->info, sizeof(st->info));
	st->reuse = sol_get_int(fd, SO_REUSEADDR);

	/* These advance by themselves. */
	st->info.tcpi_last_data_sent = 0;
	st->info.tcpi_last_data_recv = 0;
	st->info.tcpi_last_ack_recv = 0;
	st->info.tcpi_last_ack_sent = 0;
	st->info.tcpi_busy_time = 0;
	st->info.tcpi_rwnd_limited = 0;
	st->info.tcpi_sndbuf_limited = 0;
	return ret;
}

static bool same_state(const struct state *a, const struct state *b)
{
	struct state x = *a, y = *b;
	__u32 ticks = y.timestamp - x.timestamp;

	/* Same unit, and no more ticks than microseconds in a test. */
	if ((x.timestamp ^ y.timestamp) & 1 || ticks > DEADLINE_MS * 1000U)
		return false;
	x.timestamp = 0;
	y.timestamp = 0;
	return !memcmp(&x, &y, sizeof(x));
}

/* --- bounds ------------------------------------------------------------- */

FIXTURE(bounds)
{
};

/* set() makes one call with @val for the value under test and legitimate ones
 * for the rest, get() reads it back. Accepted are @min to @max; below min and
 * above max the call fails with @err. A @wscale of -1 stands for a connection
 * without window scaling.
 */
FIXTURE_VARIANT(bounds)
{
	int (*set)(int fd, __u32 val, int wscale);
	__u32 (*get)(const struct state *st);
	int wscale;
	__u32 min;
	__u32 max;
	int err;
};

FIXTURE_SETUP(bounds)
{
	int ret = enter_netns();

	if (ret == -EPERM)
		SKIP(return, "needs the right to make a network namespace");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(bounds)
{
}

static struct tcp_repair_window good_window(void)
{
	struct tcp_repair_window win = {
		.snd_wl1 = RCV_SEQ,
		.snd_wnd = 1000,
		.max_window = 2000,
		.rcv_wnd = 3000,
		.rcv_wup = RCV_SEQ,
	};

	return win;
}

static int put_mss(int fd, __u32 val, int wscale)
{
	return set_option(fd, OPT_MSS, val);
}

static int put_snd_wscale(int fd, __u32 val, int wscale)
{
	return set_option(fd, OPT_WINDOW, val & 0xffff);
}

static int put_rcv_wscale(int fd, __u32 val, int wscale)
{
	return set_option(fd, OPT_WINDOW, val << 16);
}

static int put_sack(int fd, __u32 val, int wscale)
{
	return set_option(fd, OPT_SACK_PERM, val);
}

static int put_tstamp(int fd, __u32 val, int wscale)
{
	return set_option(fd, OPT_TIMESTAMP, val);
}

static int put_max_window(int fd, __u32 val, int wscale)
{
	struct tcp_repair_window win = good_window();

	win.snd_wnd = 0;
	win.max_window = val;
	return set_window(fd, &win);
}

static int put_snd_wnd(int fd, __u32 val, int wscale)
{
	struct tcp_repair_window win = good_window();

	win.snd_wnd = val;
	win.max_window = WINDOW_MAX(wscale);
	return set_window(fd, &win);
}

static int put_snd_wnd_below_max(int fd, __u32 val, int wscale)
{
	struct tcp_repair_window win = good_window();

	win.snd_wnd = val;
	return set_window(fd, &win);
}

static int put_rcv_wnd(int fd, __u32 val, int wscale)
{
	struct tcp_repair_window win = good_window();

	win.rcv_wnd = val;
	return set_window(fd, &win);
}

/* How far rcv_wup lags behind rcv_nxt. */
static int put_rcv_wup_lag(int fd, __u32 val, int wscale)
{
	struct tcp_repair_window win = good_window();

	win.rcv_wup = RCV_SEQ - val;
	return set_window(fd, &win);
}

/* How far snd_wl1 lags behind the right edge of a window of 3000. */
static int put_snd_wl1_lag(int fd, __u32 val, int wscale)
{
	struct tcp_repair_window win = good_window();

	win.snd_wl1 = RCV_SEQ + 3000 - val;
	return set_window(fd, &win);
}

static __u32 get_mss(const struct state *st)
{
	return st->mss;
}

static __u32 get_snd_wscale(const struct state *st)
{
	return st->info.tcpi_snd_wscale;
}

static __u32 get_rcv_wscale(const struct state *st)
{
	return st->info.tcpi_rcv_wscale;
}

static __u32 get_max_window(const struct state *st)
{
	return st->win.max_window;
}

static __u32 get_snd_wnd(const struct state *st)
{
	return st->win.snd_wnd;
}

static __u32 get_rcv_wnd(const struct state *st)
{
	return st->win.rcv_wnd;
}

static __u32 get_rcv_wup_lag(const struct state *st)
{
	return RCV_SEQ - st->win.rcv_wup;
}

static __u32 get_snd_wl1_lag(const struct state *st)
{
	return RCV_SEQ + 3000 - st->win.snd_wl1;
}

/* An option that is in use has no value but that. */
static __u32 get_sack(const struct state *st)
{
	return !(st->info.tcpi_options & TCPI_OPT_SACK);
}

static __u32 get_tstamp(const struct state *st)
{
	return !(st->info.tcpi_options & TCPI_OPT_TIMESTAMPS);
}

FIXTURE_VARIANT_ADD(bounds, mss) {
	.set = put_mss, .get = get_mss,
	.min = MSS_MIN, .max = MSS_MAX, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, snd_wscale) {
	.set = put_snd_wscale, .get = get_snd_wscale,
	.max = WSCALE_MAX, .err = -EFBIG,
};

FIXTURE_VARIANT_ADD(bounds, rcv_wscale) {
	.set = put_rcv_wscale, .get = get_rcv_wscale,
	.max = WSCALE_MAX, .err = -EFBIG,
};

FIXTURE_VARIANT_ADD(bounds, sack) {
	.set = put_sack, .get = get_sack,
	.max = 0, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, timestamps) {
	.set = put_tstamp, .get = get_tstamp,
	.max = 0, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, max_window_noscale) {
	.set = put_max_window, .get = get_max_window,
	.wscale = -1, .max = 65535, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, max_window_0) {
	.set = put_max_window, .get = get_max_window,
	.wscale = 0, .max = 65535, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, max_window_7) {
	.set = put_max_window, .get = get_max_window,
	.wscale = 7, .max = 65535U << 7, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, max_window_14) {
	.set = put_max_window, .get = get_max_window,
	.wscale = 14, .max = 65535U << 14, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, snd_wnd_0) {
	.set = put_snd_wnd, .get = get_snd_wnd,
	.wscale = 0, .max = 65535, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, snd_wnd_14) {
	.set = put_snd_wnd, .get = get_snd_wnd,
	.wscale = 14, .max = 65535U << 14, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, snd_wnd_below_max_window) {
	.set = put_snd_wnd_below_max, .get = get_snd_wnd,
	.wscale = 7, .max = 2000, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, rcv_wnd_noscale) {
	.set = put_rcv_wnd, .get = get_rcv_wnd,
	.wscale = -1, .max = 65535, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, rcv_wnd_0) {
	.set = put_rcv_wnd, .get = get_rcv_wnd,
	.wscale = 0, .max = 65535, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, rcv_wnd_7) {
	.set = put_rcv_wnd, .get = get_rcv_wnd,
	.wscale = 7, .max = 65535U << 7, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, rcv_wnd_14) {
	.set = put_rcv_wnd, .get = get_rcv_wnd,
	.wscale = 14, .max = 65535U << 14, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, rcv_wup_0) {
	.set = put_rcv_wup_lag, .get = get_rcv_wup_lag,
	.wscale = 0, .max = 65535, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, rcv_wup_14) {
	.set = put_rcv_wup_lag, .get = get_rcv_wup_lag,
	.wscale = 14, .max = 65535U << 14, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(bounds, snd_wl1) {
	.set = put_snd_wl1_lag, .get = get_snd_wl1_lag,
	.wscale = 7, .max = (65535U << 14) + 3000, .err = -EINVAL,
};

TEST_F(bounds, verdict)
{
	const bool scaled = variant->set == put_snd_wscale ||
			    variant->set == put_rcv_wscale;
	__u32 values[16] = {
		0, variant->min - 1, variant->min, variant->max,
		variant->max + 1, (~0U),
	};
	unsigned int i, n = 6, seed = time(NULL);

	TH_LOG("seed %u", seed);
	for (; n < ARRAY_SIZE(values); n++)
		values[n] = (__u32)rand_r(&seed) << 1 ^ rand_r(&seed);

	for (i = 0; i < n; i++) {
		__u32 val = scaled ? values[i] & 0xffff : values[i];
		bool good = val >= variant->min && val <= variant->max;
		struct state before, after;
		int fd, ret;

		fd = repair_lonely();
		ASSERT_LE(0, fd);
		if (!scaled && variant->wscale >= 0)
			ASSERT_EQ(0, set_wscale(fd, variant->wscale,
						variant->wscale));

		ASSERT_EQ(0, get_state(fd, &before));
		ret = variant->set(fd, val, variant->wscale);
		ASSERT_EQ(0, get_state(fd, &after));

		EXPECT_EQ(good ? 0 : variant->err, ret)
			TH_LOG("value %u", val);
		if (ret)
			EXPECT_TRUE(same_state(&before, &after))
				TH_LOG("refused %u, state changed", val);
		close(fd);
	}
}

/* What was accepted is what is read back. */
TEST_F(bounds, readback)
{
	struct state st;
	int fd;

	fd = repair_lonely();
	ASSERT_LE(0, fd);
	if (variant->wscale >= 0)
		ASSERT_EQ(0, set_wscale(fd, variant->wscale, variant->wscale));
	ASSERT_EQ(0, variant->set(fd, variant->max, variant->wscale));
	ASSERT_EQ(0, get_state(fd, &st));
	EXPECT_EQ(variant->max, variant->get(&st));
	close(fd);
}

/* --- lists of options ---------------------------------------------------- */

FIXTURE(list)
{
};

FIXTURE_VARIANT(list)
{
	struct tcp_repair_opt opt[6];
	unsigned int len;
	int err;
};

FIXTURE_SETUP(list)
{
	int ret = enter_netns();

	if (ret == -EPERM)
		SKIP(return, "needs the right to make a network namespace");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(list)
{
}

FIXTURE_VARIANT_ADD(list, all_four) {
	.opt = { { OPT_MSS, 1000 }, { OPT_WINDOW, 7 | 7 << 16 },
		 { OPT_SACK_PERM, 0 }, { OPT_TIMESTAMP, 0 } },
	.len = 32, .err = 0,
};

FIXTURE_VARIANT_ADD(list, one) {
	.opt = { { OPT_MSS, 1000 } }, .len = 8, .err = 0,
};

FIXTURE_VARIANT_ADD(list, less_than_one) {
	.opt = { { OPT_MSS, 1000 } }, .len = 4, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(list, trailing_bytes) {
	.opt = { { OPT_MSS, 1000 }, { OPT_SACK_PERM, 0 } },
	.len = 12, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(list, end_of_options) {
	.opt = { { 0, 0 } }, .len = 8, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(list, no_operation) {
	.opt = { { 1, 0 }, { OPT_MSS, 1000 } }, .len = 16, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(list, unknown_last) {
	.opt = { { OPT_MSS, 1000 }, { OPT_SACK_PERM, 0 }, { 5, 0 } },
	.len = 24, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(list, unknown_all_ones) {
	.opt = { { (~0U), 0 } }, .len = 8, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(list, twice) {
	.opt = { { OPT_MSS, 1000 }, { OPT_MSS, 1001 } },
	.len = 16, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(list, bad_mss_last) {
	.opt = { { OPT_WINDOW, 7 | 7 << 16 }, { OPT_SACK_PERM, 0 },
		 { OPT_TIMESTAMP, 0 }, { OPT_MSS, 70000 } },
	.len = 32, .err = -EINVAL,
};

FIXTURE_VARIANT_ADD(list, bad_wscale_last) {
	.opt = { { OPT_MSS, 1000 }, { OPT_WINDOW, 15 } },
	.len = 16, .err = -EFBIG,
};

TEST_F(list, all_or_nothing)
{
	struct state before, after;
	int fd;

	fd = repair_lonely();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, get_state(fd, &before));
	EXPECT_EQ(variant->err, tcp_set(fd, TCP_REPAIR_OPTIONS, variant->opt,
					variant->len));
	ASSERT_EQ(0, get_state(fd, &after));
	EXPECT_EQ(!!variant->err, same_state(&before, &after));
	close(fd);
}

/* Drop everything that comes in, as a tool's firewall rule would do while the
 * connection is in two places.
 */
static int block(int fd)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { 1, &drop };

	return sys(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
			      sizeof(prog)));
}

static int unblock(int fd)
{
	return sol_set_int(fd, SO_DETACH_FILTER, 0);
}

/* --- moment -------------------------------------------------------------- */

FIXTURE(moment)
{
	int fd;
};

FIXTURE_SETUP(moment)
{
	int ret = enter_netns();

	if (ret == -EPERM)
		SKIP(return, "needs the right to make a network namespace");
	ASSERT_EQ(0, ret);
	self->fd = repair_lonely();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(moment)
{
	close(self->fd);
}

static int queue_data(int fd, int queue, const void *buf, size_t len)
{
	int ret = tcp_set_int(fd, TCP_REPAIR_QUEUE, queue);

	if (ret)
		return ret;
	while (len) {
		ret = sys(send(fd, buf, len, 0));
		if (ret <= 0)
			return ret ? ret : -EIO;
		buf = (const char *)buf + ret;
		len -= ret;
	}
	return 0;
}

/* CRIU: options, then data. Nothing may change after that. */
TEST_F(moment, options_change_after_data)
{
	struct state before, after;

	ASSERT_EQ(0, set_option(self->fd, OPT_TIMESTAMP, 0));
	ASSERT_EQ(0, queue_data(self->fd, TCP_SEND_QUEUE, "x", 1));
	ASSERT_EQ(0, get_state(self->fd, &before));
	EXPECT_EQ(-EPERM, set_option(self->fd, OPT_SACK_PERM, 0));
	EXPECT_EQ(-EPERM, set_option(self->fd, OPT_MSS, 1000));
	ASSERT_EQ(0, get_state(self->fd, &after));
	EXPECT_TRUE(same_state(&before, &after));
}

/* passt: data, then all options. */
TEST_F(moment, options_once_after_data)
{
	ASSERT_EQ(0, queue_data(self->fd, TCP_RECV_QUEUE, "x", 1));
	ASSERT_EQ(0, queue_data(self->fd, TCP_SEND_QUEUE, "x", 1));
	EXPECT_EQ(0, set_wscale(self->fd, 7, 7));
	EXPECT_EQ(-EPERM, set_option(self->fd, OPT_SACK_PERM, 0));
}

TEST_F(moment, timestamp_after_data)
{
	struct state before, after;

	ASSERT_EQ(0, set_option(self->fd, OPT_TIMESTAMP, 0));
	EXPECT_EQ(0, tcp_set_int(self->fd, TCP_TIMESTAMP, 1000));
	ASSERT_EQ(0, queue_data(self->fd, TCP_SEND_QUEUE, "x", 1));
	ASSERT_EQ(0, get_state(self->fd, &before));
	EXPECT_EQ(-EPERM, tcp_set_int(self->fd, TCP_TIMESTAMP, 500));
	EXPECT_EQ(-EPERM, tcp_set_int(self->fd, TCP_TIMESTAMP, 1001));
	ASSERT_EQ(0, get_state(self->fd, &after));
	EXPECT_TRUE(same_state(&before, &after));
}

/* The probe of TCP_REPAIR_OFF carries a timestamp. */
TEST_F(moment, timestamp_after_segment)
{
	ASSERT_EQ(0, set_option(self->fd, OPT_TIMESTAMP, 0));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_TIMESTAMP, 0x40000000));
	/* Nobody listens at the peer's end; keep its RST out. */
	ASSERT_EQ(0, block(self->fd));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_ON));
	EXPECT_EQ(-EPERM, tcp_set_int(self->fd, TCP_TIMESTAMP, 1000));
}

TEST_F(moment, nothing_outside_repair_mode)
{
	struct tcp_repair_window win = good_window();

	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	EXPECT_EQ(-EPERM, tcp_set_int(self->fd, TCP_REPAIR_QUEUE,
				      TCP_SEND_QUEUE));
	EXPECT_EQ(-EPERM, set_option(self->fd, OPT_MSS, 1000));
	EXPECT_EQ(-EPERM, tcp_set_int(self->fd, TCP_TIMESTAMP, 1));
	EXPECT_EQ(-EPERM, set_window(self->fd, &win));
}

TEST_F(moment, queue_seq_outside_repair_mode)
{
	__u32 seq = 0;
	int fd;

	fd = repair_bound(AF_INET, 4002, 1, 1);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE));
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	EXPECT_EQ(-EPERM, tcp_set_int(fd, TCP_QUEUE_SEQ, 12345));
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE));
	ASSERT_EQ(0, tcp_get(fd, TCP_QUEUE_SEQ, &seq, sizeof(seq)));
	EXPECT_EQ(1, seq);
	close(fd);
}

TEST_F(moment, queue_seq_of_connection)
{
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE));
	EXPECT_EQ(-EPERM, tcp_set_int(self->fd, TCP_QUEUE_SEQ, 12345));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE));
	EXPECT_EQ(-EPERM, tcp_set_int(self->fd, TCP_QUEUE_SEQ, 12345));
}

TEST_F(moment, wscale_after_window)
{
	struct tcp_repair_window win = good_window();
	struct state before, after;

	ASSERT_EQ(0, set_wscale(self->fd, 7, 7));
	win.rcv_wnd = WINDOW_MAX(7);
	win.max_window = WINDOW_MAX(7);
	ASSERT_EQ(0, set_window(self->fd, &win));
	ASSERT_EQ(0, get_state(self->fd, &before));
	EXPECT_EQ(-EINVAL, set_wscale(self->fd, 7, 6));
	EXPECT_EQ(-EINVAL, set_wscale(self->fd, 6, 7));
	ASSERT_EQ(0, get_state(self->fd, &after));
	EXPECT_TRUE(same_state(&before, &after));
	EXPECT_EQ(0, set_wscale(self->fd, 8, 8));
}

/* The window that connect() chose is nobody's promise: it follows. */
TEST_F(moment, wscale_before_window)
{
	struct tcp_repair_window win;
	int fd;

	ASSERT_EQ(0, set_sysctl("tcp_rmem", "4096 2097152 8388608"));
	fd = repair_bound(AF_INET, 4003, SND_SEQ, RCV_SEQ);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, connect_port(fd, AF_INET, 4004));
	ASSERT_EQ(0, set_wscale(fd, 2, 2));
	ASSERT_EQ(0, tcp_get(fd, TCP_REPAIR_WINDOW, &win, sizeof(win)));
	EXPECT_GE(WINDOW_MAX(2), win.rcv_wnd);
	EXPECT_EQ(0, set_window(fd, &win));
	close(fd);
}

TEST_F(moment, listen)
{
	int fd, on = -1;

	fd = repair_bound(AF_INET, 4005, 1, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EPERM, sys(listen(fd, 1)));
	ASSERT_EQ(0, tcp_get(fd, TCP_REPAIR, &on, sizeof(on)));
	EXPECT_EQ(1, on);
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF));
	EXPECT_EQ(0, sys(listen(fd, 1)));
	EXPECT_EQ(-EPERM, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON));
	close(fd);
}

TEST_F(moment, disconnect_ends_mode)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };
	int on = -1;

	ASSERT_EQ(0, sys(connect(self->fd, &sa, sizeof(sa))));
	ASSERT_EQ(0, tcp_get(self->fd, TCP_REPAIR, &on, sizeof(on)));
	EXPECT_EQ(0, on);
	EXPECT_EQ(0, sol_get_int(self->fd, SO_REUSEADDR));
	EXPECT_EQ(-EPERM, tcp_set_int(self->fd, TCP_QUEUE_SEQ, 1));
}

FIXTURE(reuse)
{
	int fd;
};

/* SO_REUSEADDR before TCP_REPAIR_ON, what is set in repair mode (-1: nothing),
 * and what is left after it.
 */
FIXTURE_VARIANT(reuse)
{
	int before;
	int meanwhile;
	int off;
	int after;
};

FIXTURE_VARIANT_ADD(reuse, off_0) { 0, -1, TCP_REPAIR_OFF, 0 };
FIXTURE_VARIANT_ADD(reuse, off_1) { 1, -1, TCP_REPAIR_OFF, 1 };
FIXTURE_VARIANT_ADD(reuse, off_no_wp_0) { 0, -1, TCP_REPAIR_OFF_NO_WP, 0 };
FIXTURE_VARIANT_ADD(reuse, off_no_wp_1) { 1, -1, TCP_REPAIR_OFF_NO_WP, 1 };
FIXTURE_VARIANT_ADD(reuse, set_meanwhile) { 0, 1, TCP_REPAIR_OFF, 1 };
FIXTURE_VARIANT_ADD(reuse, unset_meanwhile) { 1, 0, TCP_REPAIR_OFF, 0 };

FIXTURE_SETUP(reuse)
{
	int ret = enter_netns();

	if (ret == -EPERM)
		SKIP(return, "needs the right to make a network namespace");
	ASSERT_EQ(0, ret);
	self->fd = socket(AF_INET, SOCK_STREAM, 0);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(reuse)
{
	close(self->fd);
}

TEST_F(reuse, kept)
{
	ASSERT_EQ(0, sol_set_int(self->fd, SO_REUSEADDR, variant->before));
	/* Off without on changes nothing, on twice remembers the first. */
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, variant->off));
	EXPECT_EQ(variant->before, sol_get_int(self->fd, SO_REUSEADDR));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_ON));
	if (variant->meanwhile >= 0)
		ASSERT_EQ(0, sol_set_int(self->fd, SO_REUSEADDR,
					 variant->meanwhile));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, variant->off));
	EXPECT_EQ(variant->after, sol_get_int(self->fd, SO_REUSEADDR));
}

/* --- restore ------------------------------------------------------------- */

/* What a checkpoint tool saves of a connection. */
struct image {
	struct state st;
	char *rcv;
	char *snd;
	int rcv_len;
	int snd_len;	/* not acknowledged, unsent included */
	int unsent_len;
};

static int peek_queue(int fd, int queue, char **buf, int len)
{
	int ret = tcp_set_int(fd, TCP_REPAIR_QUEUE, queue);

	if (ret)
		return ret;
	*buf = malloc(len + 1);
	if (!*buf)
		return -ENOMEM;
	if (!len)
		return 0;
	ret = sys(recv(fd, *buf, len + 1, MSG_PEEK | MSG_DONTWAIT));
	return ret == len ? 0 : ret < 0 ? ret : -EIO;
}

/* Save a connection and make it vanish: closed in repair mode, it does not
 * tell its peer.
 */
static int save_and_close(int fd, struct image *img)
{
	int ret = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON);

	if (!ret)
		ret = get_state(fd, &img->st);
	if (!ret)
		ret = sys(ioctl(fd, SIOCINQ, &img->rcv_len));
	if (!ret)
		ret = sys(ioctl(fd, SIOCOUTQ, &img->snd_len));
	if (!ret)
		ret = sys(ioctl(fd, SIOCOUTQNSD, &img->unsent_len));
	if (!ret)
		ret = peek_queue(fd, TCP_RECV_QUEUE, &img->rcv, img->rcv_len);
	if (!ret)
		ret = peek_queue(fd, TCP_SEND_QUEUE, &img->snd, img->snd_len);
	close(fd);
	return ret;
}

static int restore_options(int fd, const struct image *img, bool always_scale)
{
	const struct tcp_info *info = &img->st.info;
	struct tcp_repair_opt opt[4];
	int n = 0;

	opt[n++] = (struct tcp_repair_opt) { OPT_MSS, img->st.mss };
	if (always_scale || info->tcpi_options & TCPI_OPT_WSCALE)
		opt[n++] = (struct tcp_repair_opt) {
			OPT_WINDOW,
			info->tcpi_snd_wscale | info->tcpi_rcv_wscale << 16
		};
	if (info->tcpi_options & TCPI_OPT_SACK)
		opt[n++] = (struct tcp_repair_opt) { OPT_SACK_PERM, 0 };
	if (info->tcpi_options & TCPI_OPT_TIMESTAMPS)
		opt[n++] = (struct tcp_repair_opt) { OPT_TIMESTAMP, 0 };
	return tcp_set(fd, TCP_REPAIR_OPTIONS, opt, n * sizeof(opt[0]));
}

static int restore_timestamp(int fd, const struct image *img)
{
	if (!(img->st.info.tcpi_options & TCPI_OPT_TIMESTAMPS))
		return 0;
	return tcp_set_int(fd, TCP_TIMESTAMP, img->st.timestamp);
}

static int sent_len(const struct image *img)
{
	return img->snd_len - img->unsent_len;
}

static int send_unsent(int fd, const struct image *img)
{
	int ret;

	if (!img->unsent_len)
		return 0;
	ret = sys(send(fd, img->snd + sent_len(img), img->unsent_len, 0));
	return ret == img->unsent_len ? 0 : ret < 0 ? ret : -EIO;
}

/* libsoccr: options, clock, queues, unsent data outside repair mode, window. */
static int restore_soccr(int fd, const struct image *img, int family, int peer)
{
	int ret;

	ret = connect_port(fd, family, peer);
	if (!ret)
		ret = restore_options(fd, img, false);
	if (!ret)
		ret = restore_timestamp(fd, img);
	if (!ret)
		ret = queue_data(fd, TCP_RECV_QUEUE, img->rcv, img->rcv_len);
	if (!ret)
		ret = queue_data(fd, TCP_SEND_QUEUE, img->snd, sent_len(img));
	if (!ret && img->unsent_len) {
		ret = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF);
		if (!ret)
			ret = send_unsent(fd, img);
		if (!ret)
			ret = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON);
	}
	if (!ret)
		ret = set_window(fd, &img->st.win);
	if (!ret)
		ret = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF);
	return ret;
}

/* passt: clock before connect(), queues, all options, window, no probe, and
 * the unsent data last.
 */
static int restore_passt(int fd, const struct image *img, int family, int peer)
{
	int ret;

	ret = restore_timestamp(fd, img);
	if (!ret)
		ret = connect_port(fd, family, peer);
	if (!ret)
		ret = queue_data(fd, TCP_RECV_QUEUE, img->rcv, img->rcv_len);
	if (!ret)
		ret = queue_data(fd, TCP_SEND_QUEUE, img->snd, sent_len(img));
	if (!ret)
		ret = restore_options(fd, img, true);
	if (!ret)
		ret = set_window(fd, &img->st.win);
	if (!ret)
		ret = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	if (!ret)
		ret = send_unsent(fd, img);
	return ret;
}

/* The window before the queues: rcv_nxt does not count the queue yet, so a
 * rcv_wup that counts it has to be moved back, and rcv_wnd is made larger so
 * that the right edge stays where it was, as far as the scale can express it.
 */
static int restore_window_first(int fd, const struct image *img, int family,
				int peer)
{
	struct tcp_repair_window win = img->st.win;
	__u32 max = WINDOW_MAX(img->st.info.tcpi_rcv_wscale);
	__u32 rcv_nxt = img->st.rcv_seq - img->rcv_len;
	int ret;

	if ((int32_t)(win.rcv_wup - rcv_nxt) > 0) {
		win.rcv_wnd += win.rcv_wup - rcv_nxt;
		win.rcv_wup = rcv_nxt;
	}
	if (win.rcv_wnd > max)
		win.rcv_wnd = max;

	ret = connect_port(fd, family, peer);
	if (!ret)
		ret = restore_options(fd, img, true);
	if (!ret)
		ret = restore_timestamp(fd, img);
	if (!ret)
		ret = set_window(fd, &win);
	if (!ret)
		ret = queue_data(fd, TCP_RECV_QUEUE, img->rcv, img->rcv_len);
	if (!ret)
		ret = queue_data(fd, TCP_SEND_QUEUE, img->snd, sent_len(img));
	if (!ret)
		ret = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	if (!ret)
		ret = send_unsent(fd, img);
	return ret;
}

/* A connection over loopback, the server end is the one that moves. */
static int make_pair(int family, int *server, int *client)
{
	struct sockaddr_storage ss;
	socklen_t len = loopback(&ss, family, 5000);
	int listener, on = 1, ret = -1;

	*server = -1;
	*client = -1;
	listener = socket(family, SOCK_STREAM, 0);
	if (listener < 0)
		return -errno;
	if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(listener, (void *)&ss, len) || listen(listener, 1))
		goto out;
	*client = socket(family, SOCK_STREAM, 0);
	if (*client < 0)
		goto out;
	if (connect(*client, (void *)&ss, len))
		goto out;
	*server = accept(listener, NULL, NULL);
	if (*server < 0)
		goto out;
	ret = 0;
out:
	ret = ret ? -errno : 0;
	close(listener);
	return ret;
}

static int local_port(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (void *)&ss, &len))
		return -errno;
	/* sin_port and sin6_port are at the same place. */
	return ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

static char pattern(__u32 pos)
{
	return pos * 2654435761U >> 24;
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Send @len bytes from one end, the first one being number @pos of the stream,
 * until the other end got @pending more than that, all of them checked.
 */
static int pump(int from, int to, __u32 pos, int len, int pending)
{
	static char out[1 << 18], in[1 << 18];
	__u32 rpos = pos - pending;
	long deadline = now_ms() + DEADLINE_MS;
	__u32 end = pos + len;

	while (rpos != end) {
		struct pollfd pfd[2] = {
			{ .fd = to, .events = POLLIN },
			{ .fd = from, .events = pos != end ? POLLOUT : 0 },
		};
		int i, n;

		if (poll(pfd, 2, 1000) < 0)
			return -errno;
		if (now_ms() > deadline)
			return -ETIMEDOUT;

		for (n = 0; n < ARRAY_SIZE(out) && pos + n != end; n++)
			out[n] = pattern(pos + n);
		n = n ? sys(send(from, out, n, MSG_DONTWAIT)) : 0;
		if (n < 0 && n != -EAGAIN)
			return n;
		if (n > 0)
			pos += n;

		n = sys(recv(to, in, sizeof(in), MSG_DONTWAIT));
		if (!n)
			return -EPIPE;
		if (n < 0 && n != -EAGAIN)
			return n;
		for (i = 0; i < n; i++)
			if (in[i] != pattern(rpos + i))
				return -EBADMSG;
		if (n > 0)
			rpos += n;
	}
	return 0;
}

static int send_pattern(int fd, __u32 pos, int len)
{
	char buf[8192];
	int i;

	for (i = 0; i < len; i++)
		buf[i] = pattern(pos + i);
	i = sys(send(fd, buf, len, MSG_DONTWAIT));
	return i == len ? 0 : i < 0 ? i : -EIO;
}

/* Wait for @len bytes in the receive queue. */
static int wait_inq(int fd, int len)
{
	long deadline = now_ms() + DEADLINE_MS;
	int n;

	do {
		if (ioctl(fd, SIOCINQ, &n))
			return -errno;
		if (n >= len)
			return 0;
		sched_yield();
	} while (now_ms() < deadline);
	return -ETIMEDOUT;
}

static __u32 segs_out(int fd)
{
	struct tcp_info info = {};

	return tcp_get(fd, TCP_INFO, &info, sizeof(info)) ?
		0 : info.tcpi_data_segs_out;
}

/* A window that could not be announced, because the peer does not scale, is not
 * reported; and there is room to take the peer's FIN off.
 */
TEST(unscaled_window)
{
	struct tcp_repair_window win;
	long deadline = now_ms() + DEADLINE_MS;
	int server, client, ret;
	struct tcp_info info;

	ret = enter_netns();
	if (ret == -EPERM)
		SKIP(return, "needs the right to make a network namespace");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, set_sysctl("tcp_rmem", "4096 2097152 8388608"));
	ASSERT_EQ(0, set_sysctl("tcp_window_scaling", "0"));
	ASSERT_EQ(0, make_pair(AF_INET, &server, &client));

	ASSERT_EQ(0, tcp_set_int(server, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, tcp_get(server, TCP_REPAIR_WINDOW, &win, sizeof(win)));
	EXPECT_EQ(65535, win.rcv_wnd);
	EXPECT_EQ(0, set_window(server, &win));

	ASSERT_EQ(0, sys(shutdown(client, SHUT_WR)));
	do {
		ASSERT_LT(now_ms(), deadline);
		ASSERT_EQ(0, tcp_get(server, TCP_INFO, &info, sizeof(info)));
	} while (info.tcpi_state != 8 /* TCP_CLOSE_WAIT */);

	ASSERT_EQ(0, tcp_get(server, TCP_REPAIR_WINDOW, &win, sizeof(win)));
	win.rcv_wup--;
	win.rcv_wnd++;
	EXPECT_EQ(0, set_window(server, &win));
	close(server);
	close(client);
}

FIXTURE(restore)
{
	int server;
	int client;
};

/* The sysctls are what both ends agree on; @queues: data in both queues. */
FIXTURE_VARIANT(restore)
{
	int family;
	int (*restore)(int fd, const struct image *img, int family, int peer);
	const char *wscale;
	const char *sack;
	const char *tstamp;
	bool queues;
};

FIXTURE_VARIANT_ADD(restore, soccr_v4) {
	AF_INET, restore_soccr, "1", "1", "1", true,
};

FIXTURE_VARIANT_ADD(restore, soccr_v4_empty) {
	AF_INET, restore_soccr, "1", "1", "1", false,
};

FIXTURE_VARIANT_ADD(restore, soccr_v4_nowscale) {
	AF_INET, restore_soccr, "0", "1", "1", true,
};

FIXTURE_VARIANT_ADD(restore, soccr_v4_nosack) {
	AF_INET, restore_soccr, "1", "0", "1", true,
};

FIXTURE_VARIANT_ADD(restore, soccr_v4_notstamp) {
	AF_INET, restore_soccr, "1", "1", "0", true,
};

FIXTURE_VARIANT_ADD(restore, soccr_v4_none) {
	AF_INET, restore_soccr, "0", "0", "0", true,
};

FIXTURE_VARIANT_ADD(restore, soccr_v6) {
	AF_INET6, restore_soccr, "1", "1", "1", true,
};

FIXTURE_VARIANT_ADD(restore, soccr_v6_none) {
	AF_INET6, restore_soccr, "0", "0", "0", true,
};

FIXTURE_VARIANT_ADD(restore, passt_v4) {
	AF_INET, restore_passt, "1", "1", "1", true,
};

FIXTURE_VARIANT_ADD(restore, passt_v4_empty) {
	AF_INET, restore_passt, "1", "1", "1", false,
};

FIXTURE_VARIANT_ADD(restore, passt_v4_nowscale) {
	AF_INET, restore_passt, "0", "1", "1", true,
};

FIXTURE_VARIANT_ADD(restore, passt_v4_none) {
	AF_INET, restore_passt, "0", "0", "0", true,
};

FIXTURE_VARIANT_ADD(restore, passt_v6) {
	AF_INET6, restore_passt, "1", "1", "1", true,
};

FIXTURE_VARIANT_ADD(restore, window_v4) {
	AF_INET, restore_window_first, "1", "1", "1", true,
};

FIXTURE_VARIANT_ADD(restore, window_v4_nowscale) {
	AF_INET, restore_window_first, "0", "1", "1", true,
};

FIXTURE_VARIANT_ADD(restore, window_v4_nosack) {
	AF_INET, restore_window_first, "1", "0", "1", true,
};

FIXTURE_VARIANT_ADD(restore, window_v4_notstamp) {
	AF_INET, restore_window_first, "1", "1", "0", true,
};

FIXTURE_VARIANT_ADD(restore, window_v6) {
	AF_INET6, restore_window_first, "1", "1", "1", true,
};

FIXTURE_VARIANT_ADD(restore, window_v6_none) {
	AF_INET6, restore_window_first, "0", "0", "0", true,
};

FIXTURE_SETUP(restore)
{
	int ret = enter_netns();

	if (ret == -EPERM)
		SKIP(return, "needs the right to make a network namespace");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, set_sysctl("tcp_window_scaling", variant->wscale));
	ASSERT_EQ(0, set_sysctl("tcp_sack", variant->sack));
	ASSERT_EQ(0, set_sysctl("tcp_timestamps", variant->tstamp));
	ASSERT_EQ(0, make_pair(variant->family, &self->server, &self->client));
}

FIXTURE_TEARDOWN(restore)
{
	if (self->server >= 0)
		close(self->server);
	if (self->client >= 0)
		close(self->client);
}

#define CHUNK 3000
#define BULK (4 << 20)

TEST_F(restore, goes_on)
{
	const struct tcp_info *was, *is;
	struct image img = {};
	struct state st;
	__u32 segs, undisturbed, up = 0, down = 0;
	int port, peer, fd;

	port = local_port(self->server);
	peer = local_port(self->client);

	/* What the connection does when nobody touches it. */
	segs = segs_out(self->server);
	ASSERT_EQ(0, pump(self->server, self->client, down, BULK, 0));
	down += BULK;
	undisturbed = segs_out(self->server) - segs;
	ASSERT_LE(BULK / LINK_MTU, undisturbed);
	ASSERT_EQ(0, pump(self->client, self->server, up, BULK, 0));
	up += BULK;

	/* Data in both queues: what the client sends is not read, what the
	 * server sends is not heard.
	 */
	if (variant->queues) {
		ASSERT_EQ(0, send_pattern(self->client, up, CHUNK));
		up += CHUNK;
		ASSERT_EQ(0, wait_inq(self->server, CHUNK));
	}
	ASSERT_EQ(0, block(self->client));
	if (variant->queues) {
		int cork = 1;

		ASSERT_EQ(0, send_pattern(self->server, down, CHUNK));
		down += CHUNK;
		/* Less than a segment, so that it stays unsent. */
		ASSERT_EQ(0, tcp_set(self->server, TCP_CORK, &cork,
				     sizeof(cork)));
		ASSERT_EQ(0, send_pattern(self->server, down, 100));
		down += 100;
	}

	ASSERT_EQ(0, save_and_close(self->server, &img));
	self->server = -1;
	if (variant->queues) {
		ASSERT_EQ(CHUNK, img.rcv_len);
		ASSERT_EQ(CHUNK + 100, img.snd_len);
		ASSERT_EQ(100, img.unsent_len);
	}

	/* The defaults of the new place are not those of the connection. */
	ASSERT_EQ(0, set_sysctl("tcp_window_scaling", "1"));
	ASSERT_EQ(0, set_sysctl("tcp_sack", "1"));
	ASSERT_EQ(0, set_sysctl("tcp_timestamps", "1"));

	fd = repair_bound(variant->family, port,
			  img.st.snd_seq - img.snd_len,
			  img.st.rcv_seq - img.rcv_len);
	ASSERT_LE(0, fd);
	self->server = fd;
	ASSERT_EQ(0, block(fd));
	ASSERT_EQ(0, variant->restore(fd, &img, variant->family, peer));

	/* MSS, scale and windows are what they were. */
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, get_state(fd, &st));
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	was = &img.st.info;
	is = &st.info;
	EXPECT_EQ(was->tcpi_snd_mss, is->tcpi_snd_mss);
	EXPECT_EQ(img.st.mss, st.mss);
	EXPECT_EQ(get_snd_wscale(&img.st), get_snd_wscale(&st));
	EXPECT_EQ(get_rcv_wscale(&img.st), get_rcv_wscale(&st));
	EXPECT_EQ(was->tcpi_options & TCPI_OPT_SACK,
		  is->tcpi_options & TCPI_OPT_SACK);
	EXPECT_EQ(was->tcpi_options & TCPI_OPT_TIMESTAMPS,
		  is->tcpi_options & TCPI_OPT_TIMESTAMPS);
	EXPECT_EQ(img.st.win.max_window, st.win.max_window);
	EXPECT_GE(WINDOW_MAX(is->tcpi_rcv_wscale), st.win.rcv_wnd);
	/* What was promised to the peer holds. */
	if (variant->restore != restore_window_first)
		EXPECT_LE(0, (int32_t)(st.win.rcv_wup + st.win.rcv_wnd -
				       img.st.win.rcv_wup -
				       img.st.win.rcv_wnd));

	ASSERT_EQ(0, unblock(fd));
	ASSERT_EQ(0, unblock(self->client));

	/* All that was in the queues arrives, once, and so does the rest. */
	ASSERT_EQ(0, pump(fd, self->client, down, 65536,
			  variant->queues ? CHUNK + 100 : 0));
	down += 65536;
	ASSERT_EQ(0, pump(self->client, fd, up, 65536,
			  variant->queues ? CHUNK : 0));
	up += 65536;

	/* As many segments as before for as many bytes, within 2 %. */
	segs = segs_out(fd);
	ASSERT_EQ(0, pump(fd, self->client, down, BULK, 0));
	segs = segs_out(fd) - segs;
	EXPECT_LE(undisturbed - undisturbed / 50, segs);
	EXPECT_GE(undisturbed + undisturbed / 50, segs);

	/* A window that is announced in the wrong scale shows here. */
	segs = segs_out(self->client);
	ASSERT_EQ(0, pump(self->client, fd, up, BULK, 0));
	segs = segs_out(self->client) - segs;
	EXPECT_GE(undisturbed + undisturbed / 50, segs);

	free(img.rcv);
	free(img.snd);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/* TCP_REPAIR_CB: the control block of a connection is read from one socket and
 * set on another, which goes on as the first would have.
 *
 * Seven parts:
 *  - access: who may make the call, when, and with which sizes;
 *  - bounds: each value at and next to its bounds, on a socket that has no
 *    peer; what is accepted reads back, what is refused changes nothing;
 *  - restore: a connection is moved to a new socket, which knows what the old
 *    one had learned, and goes on with its peer;
 *  - names: after the end of a moved connection its address and port are free
 *    again if the program had not chosen them, and not otherwise;
 *  - closing: the same for a connection that one side or both are closing;
 *  - time_wait: what waits after the end of a connection waits on for the rest
 *    of its time, and answers as it did;
 *  - clock: timestamps and ages over one move and over many, and across the
 *    wrap of timestamps.
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
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/tcp_repair.h>

#include "kselftest_harness.h"

enum {
	OPT_MSS = 2,
	OPT_WINDOW = 3,
	OPT_SACK_PERM = 4,
	OPT_TIMESTAMP = 8,
	OPT_NOP = 1,
};

/* States of a connection; the C library's are in a header that does not go
 * with <linux/tcp.h>.
 */
enum {
	ESTABLISHED = 1,
	SYN_SENT = 2,
	FIN_WAIT1 = 4,
	FIN_WAIT2 = 5,
	TIME_WAIT = 6,
	CLOSED = 7,
	CLOSE_WAIT = 8,
	LAST_ACK = 9,
	CLOSING = 11,
};

#define RCV_SEQ 0xfffffff0U
#define SND_SEQ 0x7ffffff8U
#define WINDOW_MAX(wscale) (65535U << (wscale))
#define SECOND 1000000ULL
#define DAY (86400 * SECOND)
#define NONE TCP_REPAIR_CB_NONE

#define LINK_MTU 1500
#define PORT 4000
#define LONELY_PEER 4001

/* How long a connection over loopback may take for anything that is waited
 * for. Retransmission timers of up to a few seconds are part of it.
 */
#define DEADLINE_MS 20000

/* By how much times can differ that were read one after the other, on a
 * machine that has a lot to do.
 */
#define SLACK (10 * SECOND)

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

static int tcp_get_int(int fd, int opt)
{
	socklen_t len;
	int val;

	len = sizeof(val);
	if (getsockopt(fd, IPPROTO_TCP, opt, &val, &len))
		return -errno;
	return val;
}

static int tcp_info(int fd, struct tcp_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return sys(getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len));
}

static int tcp_state(int fd)
{
	struct tcp_info info;
	int ret = tcp_info(fd, &info);

	return ret ? ret : info.tcpi_state;
}

static int get_cb(int fd, struct tcp_repair_cb *cb)
{
	socklen_t len = sizeof(*cb);

	memset(cb, 0, sizeof(*cb));
	if (getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_CB, cb, &len))
		return -errno;
	return len == sizeof(*cb) && cb->size == len ? 0 : -EMSGSIZE;
}

static int set_cb(int fd, const struct tcp_repair_cb *cb)
{
	return tcp_set(fd, TCP_REPAIR_CB, cb, sizeof(*cb));
}

static int set_seq(int fd, int queue, __u32 seq)
{
	int ret = tcp_set_int(fd, TCP_REPAIR_QUEUE, queue);

	return ret ? ret : tcp_set_int(fd, TCP_QUEUE_SEQ, seq);
}

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

/* A socket in repair mode with addresses and sequence numbers, established. */
static int repair_socket(const struct sockaddr_storage *local,
			 const struct sockaddr_storage *peer,
			 __u32 snd_seq, __u32 rcv_seq)
{
	int fd, ret;

	fd = socket(local->ss_family, SOCK_STREAM, 0);
	if (fd < 0)
		return -errno;

	ret = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON);
	if (!ret)
		ret = sys(bind(fd, (const void *)local, sizeof(*local)));
	if (!ret)
		ret = set_seq(fd, TCP_SEND_QUEUE, snd_seq);
	if (!ret)
		ret = set_seq(fd, TCP_RECV_QUEUE, rcv_seq);
	if (!ret)
		ret = sys(connect(fd, (const void *)peer, sizeof(*peer)));
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

/* The same without a peer. */
static int repair_lonely(void)
{
	struct sockaddr_storage local, peer;

	loopback(&local, AF_INET, PORT);
	loopback(&peer, AF_INET, LONELY_PEER);
	return repair_socket(&local, &peer, SND_SEQ, RCV_SEQ);
}

/* --- what the members are ------------------------------------------------ */

enum kind {
	SAME,		/* as it was */
	AGE,		/* as it was, or older */
	LEFT,		/* as it was, or less */
	COUNTER,	/* as it was; segments can have come meanwhile */
	REPORTED,	/* follows from something else */
};

static const struct member {
	const char *name;
	size_t offset;
	size_t size;
	enum kind kind;
} members[] = {
#define M(name, kind)							\
	{ #name, offsetof(struct tcp_repair_cb, name),			\
	  sizeof(((struct tcp_repair_cb *)0)->name), kind }
	M(size, SAME), M(flags, SAME), M(pause, SAME),
	M(age_data_rcvd, AGE), M(age_ack_rcvd, AGE), M(age_data_sent, AGE),
	M(age_ts_recent, AGE), M(age_min_rtt, AGE), M(age_retrans, AGE),
	M(age_probes, AGE), M(age_rto_recovery, AGE),
	M(rto_left, LEFT), M(delack_left, LEFT), M(keepalive_left, LEFT),
	M(keepalive_time, SAME), M(keepalive_intvl, SAME),
	M(bytes_acked, COUNTER), M(bytes_received, COUNTER),
	M(bytes_sent, COUNTER), M(bytes_retrans, COUNTER),
	M(busy_time, AGE), M(rwnd_limited, AGE), M(sndbuf_limited, AGE),
	M(rcv_nxt, SAME), M(copied_seq, SAME), M(rcv_wup, SAME),
	M(rcv_mwnd_seq, SAME), M(snd_una, SAME), M(snd_nxt, SAME),
	M(write_seq, REPORTED), M(snd_sml, SAME), M(pushed_seq, SAME),
	M(snd_up, SAME), M(snd_wl1, SAME), M(rtt_seq, SAME), M(urg_seq, SAME),
	M(high_seq, REPORTED), M(undo_marker, REPORTED),
	M(snd_wnd, SAME), M(max_window, SAME), M(rcv_wnd, SAME),
	M(rcv_ssthresh, SAME), M(window_clamp, SAME), M(rcvq_space, SAME),
	M(rcv_rtt, SAME), M(srtt, SAME), M(mdev, SAME), M(mdev_max, SAME),
	M(rttvar, SAME), M(min_rtt, SAME), M(rto, REPORTED),
	M(snd_cwnd, REPORTED), M(snd_ssthresh, REPORTED),
	M(cwnd_used, REPORTED), M(prior_ssthresh, REPORTED),
	M(undo_retrans, REPORTED), M(reordering, SAME),
	M(packets_out, REPORTED), M(sacked_out, REPORTED),
	M(lost_out, REPORTED), M(retrans_out, REPORTED),
	M(mss_cache, REPORTED), M(pmtu, REPORTED),
	M(tsval, REPORTED), M(delta_time, REPORTED), M(ts_recent, SAME),
	M(rcv_rtt_tsecr, SAME), M(total_retrans, COUNTER),
	M(delivered, COUNTER), M(delivered_ce, COUNTER), M(lost, COUNTER),
	M(segs_in, COUNTER), M(segs_out, COUNTER), M(data_segs_in, COUNTER),
	M(data_segs_out, COUNTER), M(dsack_dups, COUNTER),
	M(reord_seen, COUNTER), M(rcv_ooopack, COUNTER),
	M(total_rto_time, COUNTER), M(plb_rehash, COUNTER),
	M(received_ce, COUNTER), M(received_ecn_bytes, COUNTER),
	M(delivered_ecn_bytes, COUNTER), M(ato, SAME),
	M(total_rto, COUNTER), M(total_rto_recoveries, COUNTER),
	M(timeout_rehash, COUNTER), M(pkts_acked_ewma, SAME),
	M(urg_data, SAME), M(advmss, SAME), M(rcv_mss, SAME),
	M(last_seg_size, SAME), M(state, SAME), M(ca_state, REPORTED),
	M(timer, REPORTED), M(retransmits, SAME), M(backoff, SAME),
	M(probes_out, SAME), M(keepalive_probes, SAME), M(ack_pending, SAME),
	M(ack_quick, SAME), M(ack_pingpong, SAME), M(ack_retry, SAME),
	M(nonagle, SAME), M(scaling_ratio, SAME), M(reo_wnd_steps, SAME),
	M(reo_wnd_persist, SAME), M(ts_usec, SAME), M(ecn_flags, SAME),
	M(syn_ect_snt, SAME), M(syn_ect_rcv, SAME),
	M(accecn_fail_mode, SAME), M(saw_accecn_opt, SAME),
	M(accecn_opt_demand, SAME), M(accecn_minlen, SAME),
	M(est_ecnfield, SAME), M(prev_ecnfield, SAME),
	M(received_ce_pending, SAME), M(auto_bound, SAME), M(reserved, SAME),
	M(timewait_left, LEFT),
#undef M
};

static __u64 value(const struct tcp_repair_cb *cb, const struct member *m)
{
	const void *p = (const char *)cb + m->offset;

	switch (m->size) {
	case 1:
		return *(const __u8 *)p;
	case 2:
		return *(const __u16 *)p;
	case 4:
		return *(const __u32 *)p;
	default:
		return *(const __u64 *)p;
	}
}

static void put_value(struct tcp_repair_cb *cb, const struct member *m,
		      __u64 val)
{
	void *p = (char *)cb + m->offset;

	switch (m->size) {
	case 1:
		*(__u8 *)p = val;
		break;
	case 2:
		*(__u16 *)p = val;
		break;
	case 4:
		*(__u32 *)p = val;
		break;
	default:
		*(__u64 *)p = val;
	}
}

static const struct member *member(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(members); i++)
		if (!strcmp(members[i].name, name))
			return &members[i];
	return NULL;
}

/* Whether @now is what @was has become, as @m says. */
static bool kept(const struct tcp_repair_cb *was,
		 const struct tcp_repair_cb *now, const struct member *m)
{
	__u64 a, b;

	if (m->kind == REPORTED)
		return true;
	if (m->size > 8 || (m->kind != AGE && m->kind != LEFT))
		return !memcmp((const char *)was + m->offset,
			       (const char *)now + m->offset, m->size);

	a = value(was, m);
	b = value(now, m);
	if (a == NONE || b == NONE)
		return a == b;
	/* A stamp has the precision of its clock: a tick, or a second. */
	if (m->kind == AGE)
		return b + 2 * SECOND >= a && b <= a + SLACK;
	return b <= a + SECOND && b + SLACK >= a;
}

static bool all_kept(const struct tcp_repair_cb *was,
		     const struct tcp_repair_cb *now)
{
	bool ret = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(members); i++) {
		if (kept(was, now, &members[i]))
			continue;
		ksft_print_msg("%s: was %#llx, is %#llx\n", members[i].name,
			       value(was, &members[i]),
			       value(now, &members[i]));
		ret = false;
	}
	return ret;
}

/* Every byte of the structure is a member's. */
TEST(layout)
{
	size_t i, end = 0;

	for (i = 0; i < ARRAY_SIZE(members); i++) {
		const struct member *m;
		size_t j;

		for (j = 0, m = NULL; j < ARRAY_SIZE(members); j++)
			if (members[j].offset == end)
				m = &members[j];
		ASSERT_TRUE(!!m) TH_LOG("nothing at %zu", end);
		end += m->size;
	}
	EXPECT_EQ(sizeof(struct tcp_repair_cb), end);
	EXPECT_EQ(TCP_REPAIR_CB_SIZE_VER0, sizeof(struct tcp_repair_cb));
}

/* --- access -------------------------------------------------------------- */

static int get_sized(int fd, int len, struct tcp_repair_cb *cb)
{
	char buf[2048];
	socklen_t size = len;

	memset(buf, 0xaa, sizeof(buf));
	if (getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_CB, buf, &size))
		return -errno;
	memcpy(cb, buf, sizeof(*cb));
	/* Nothing is written beyond what is told. */
	if (size > len || (unsigned char)buf[size] != 0xaa)
		return -EOVERFLOW;
	return size;
}

static int set_sized(int fd, const struct tcp_repair_cb *cb, unsigned int size,
		     unsigned int len, int last)
{
	static char buf[8192];

	memset(buf, 0, sizeof(buf));
	memcpy(buf, cb, sizeof(*cb));
	((struct tcp_repair_cb *)buf)->size = size;
	if (last)
		buf[len - 1] = last;
	return tcp_set(fd, TCP_REPAIR_CB, buf, len);
}

TEST(access_sizes)
{
	const int size = sizeof(struct tcp_repair_cb);
	struct tcp_repair_cb cb, now;
	int fd, err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	fd = repair_lonely();
	ASSERT_LE(0, fd);

	EXPECT_EQ(-EINVAL, get_sized(fd, 0, &cb));
	EXPECT_EQ(-EINVAL, get_sized(fd, size - 1, &cb));
	EXPECT_EQ(-EINVAL, get_sized(fd, -1, &cb));
	EXPECT_EQ(size, get_sized(fd, size + 100, &cb));
	EXPECT_EQ(size, get_sized(fd, size, &cb));
	EXPECT_EQ(size, cb.size);

	EXPECT_EQ(-EINVAL, set_sized(fd, &cb, 0, 4, 0));
	EXPECT_EQ(-EINVAL, set_sized(fd, &cb, size - 1, size - 1, 0));
	EXPECT_EQ(-EINVAL, set_sized(fd, &cb, size - 1, size, 0));
	EXPECT_EQ(-EINVAL, set_sized(fd, &cb, size, size + 1, 0));
	EXPECT_EQ(-E2BIG, set_sized(fd, &cb, size + 8, size + 8, 1));
	EXPECT_EQ(-E2BIG, set_sized(fd, &cb, 8192, 8192, 0));
	EXPECT_EQ(-EFAULT, tcp_set(fd, TCP_REPAIR_CB, (void *)16, size));
	EXPECT_EQ(0, set_sized(fd, &cb, size + 8, size + 8, 0));
	EXPECT_EQ(0, set_sized(fd, &cb, size, size, 0));
	EXPECT_EQ(0, get_cb(fd, &now));
	EXPECT_TRUE(all_kept(&cb, &now));
	close(fd);
}

TEST(access_moments)
{
	struct tcp_repair_cb cb;
	int fd, err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	fd = repair_lonely();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, get_cb(fd, &cb));

	/* The mode first. */
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	EXPECT_EQ(-EPERM, get_cb(fd, &cb));
	EXPECT_EQ(-EPERM, set_cb(fd, &cb));
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, get_cb(fd, &cb));
	EXPECT_EQ(0, set_cb(fd, &cb));
	close(fd);

	/* A socket that is not connected has none. */
	fd = socket(AF_INET, SOCK_STREAM, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EPERM, set_cb(fd, &cb));
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON));
	EXPECT_EQ(-ENOTCONN, set_cb(fd, &cb));
	EXPECT_EQ(-ENOTCONN, get_cb(fd, &cb));
	close(fd);
}

/* --- bounds -------------------------------------------------------------- */

FIXTURE(bounds)
{
	int fd;
};

/* Accepted are @min to @max, and TCP_REPAIR_CB_NONE with @none; the rest fails
 * with EINVAL. @with is set to @with_val before, for a bound that is another
 * member. @adjusted: the socket does not tell the value as it was given: what
 * was written but not sent is not there yet, and no variance of the RTT is
 * below this host's minimum.
 */
FIXTURE_VARIANT(bounds)
{
	const char *name;
	__u64 min;
	__u64 max;
	bool none;
	bool adjusted;
	const char *with;
	__u64 with_val;
};

FIXTURE_SETUP(bounds)
{
	int err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	self->fd = repair_lonely();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(bounds)
{
	close(self->fd);
}

FIXTURE_VARIANT_ADD(bounds, delack_left)
{
	.name = "delack_left",
	.max = SECOND / 5,
	.none = true,
};

FIXTURE_VARIANT_ADD(bounds, keepalive_left)
{
	.name = "keepalive_left",
	.max = 32767 * SECOND,
	.none = true,
};

FIXTURE_VARIANT_ADD(bounds, keepalive_time)
{
	.name = "keepalive_time",
	.max = 32767 * SECOND,
};

FIXTURE_VARIANT_ADD(bounds, keepalive_intvl)
{
	.name = "keepalive_intvl",
	.max = 32767 * SECOND,
};

FIXTURE_VARIANT_ADD(bounds, keepalive_probes)
{
	.name = "keepalive_probes",
	.max = 127,
};

FIXTURE_VARIANT_ADD(bounds, pause)
{
	.name = "pause",
	.max = 0x7fffffffffffffffULL / 1000,
};

FIXTURE_VARIANT_ADD(bounds, backoff)
{
	.name = "backoff",
	.max = 32,
};

FIXTURE_VARIANT_ADD(bounds, rcv_nxt)
{
	.name = "rcv_nxt",
	.min = RCV_SEQ,
	.max = RCV_SEQ,
};

FIXTURE_VARIANT_ADD(bounds, copied_seq)
{
	.name = "copied_seq",
	.min = RCV_SEQ,
	.max = RCV_SEQ,
};

FIXTURE_VARIANT_ADD(bounds, snd_una)
{
	.name = "snd_una",
	.min = SND_SEQ,
	.max = SND_SEQ,
};

FIXTURE_VARIANT_ADD(bounds, snd_nxt)
{
	.name = "snd_nxt",
	.min = SND_SEQ,
	.max = SND_SEQ,
};

FIXTURE_VARIANT_ADD(bounds, write_seq)
{
	.name = "write_seq",
	.min = SND_SEQ,
	.max = SND_SEQ + 0x3fffffff,
};

FIXTURE_VARIANT_ADD(bounds, snd_sml)
{
	.name = "snd_sml",
	.min = SND_SEQ,
	.max = SND_SEQ,
};

FIXTURE_VARIANT_ADD(bounds, pushed_seq)
{
	.name = "pushed_seq",
	.min = SND_SEQ,
	.max = SND_SEQ + 1000,
	.adjusted = true,
	.with = "write_seq",
	.with_val = SND_SEQ + 1000,
};

FIXTURE_VARIANT_ADD(bounds, snd_up)
{
	.name = "snd_up",
	.min = SND_SEQ,
	.max = SND_SEQ + 1000,
	.adjusted = true,
	.with = "write_seq",
	.with_val = SND_SEQ + 1000,
};

FIXTURE_VARIANT_ADD(bounds, rtt_seq)
{
	.name = "rtt_seq",
	.min = SND_SEQ,
	.max = SND_SEQ,
};

FIXTURE_VARIANT_ADD(bounds, snd_wnd)
{
	.name = "snd_wnd",
	.max = 1000,
	.with = "max_window",
	.with_val = 1000,
};

FIXTURE_VARIANT_ADD(bounds, rcv_ssthresh)
{
	.name = "rcv_ssthresh",
	.min = 88,
	.max = 30000,
	.with = "window_clamp",
	.with_val = 30000,
};

FIXTURE_VARIANT_ADD(bounds, window_clamp)
{
	.name = "window_clamp",
	.min = 88,
	.max = WINDOW_MAX(14),
	.with = "rcv_ssthresh",
	.with_val = 88,
};

FIXTURE_VARIANT_ADD(bounds, rcvq_space)
{
	.name = "rcvq_space",
	.min = 1,
	.max = WINDOW_MAX(14),
};

FIXTURE_VARIANT_ADD(bounds, rcv_rtt)
{
	.name = "rcv_rtt",
	.max = 8 * 120 * SECOND,
};

FIXTURE_VARIANT_ADD(bounds, srtt)
{
	.name = "srtt",
	.min = 1,
	.max = 8 * 120 * SECOND,
	.with = "rttvar",
	.with_val = 200000,
};

FIXTURE_VARIANT_ADD(bounds, mdev)
{
	.name = "mdev",
	.max = 4 * 120 * SECOND,
	.with = "srtt",
	.with_val = 8000,
};

FIXTURE_VARIANT_ADD(bounds, mdev_max)
{
	.name = "mdev_max",
	.max = 120 * SECOND,
	.with = "srtt",
	.with_val = 8000,
};

FIXTURE_VARIANT_ADD(bounds, rttvar)
{
	.name = "rttvar",
	.min = 1,
	.max = 120 * SECOND,
	.adjusted = true,
	.with = "srtt",
	.with_val = 8000,
};

FIXTURE_VARIANT_ADD(bounds, min_rtt)
{
	.name = "min_rtt",
	.min = 1,
	.max = 0xffffffff,
};

FIXTURE_VARIANT_ADD(bounds, snd_cwnd)
{
	.name = "snd_cwnd",
	.min = 1,
	.max = WINDOW_MAX(14) / 88,
};

FIXTURE_VARIANT_ADD(bounds, snd_ssthresh)
{
	.name = "snd_ssthresh",
	.min = 2,
	.max = 0x7fffffff,
};

FIXTURE_VARIANT_ADD(bounds, cwnd_used)
{
	.name = "cwnd_used",
	.max = WINDOW_MAX(14) / 88,
};

FIXTURE_VARIANT_ADD(bounds, reordering)
{
	.name = "reordering",
	.min = 1,
	.max = 65535,
};

FIXTURE_VARIANT_ADD(bounds, ato)
{
	.name = "ato",
	.max = SECOND / 5,
};

FIXTURE_VARIANT_ADD(bounds, advmss)
{
	.name = "advmss",
	.min = 76,
	.max = 65535,
	.with = "rcv_mss",
	.with_val = 88,
};

FIXTURE_VARIANT_ADD(bounds, rcv_mss)
{
	.name = "rcv_mss",
	.min = 88,
	.max = 1000,
	.with = "advmss",
	.with_val = 1000,
};

FIXTURE_VARIANT_ADD(bounds, urg_seq)
{
	.name = "urg_seq",
	.min = RCV_SEQ,
	.max = (__u32)(RCV_SEQ + 65535 + 65535),
	.with = "urg_data",
	.with_val = 0x400,
};

FIXTURE_VARIANT_ADD(bounds, ack_quick)
{
	.name = "ack_quick",
	.max = 16,
};

FIXTURE_VARIANT_ADD(bounds, ack_pending)
{
	.name = "ack_pending",
	.max = 1,
};

/* The next two values have the bit of the timer, which has its own member. */
FIXTURE_VARIANT_ADD(bounds, ack_now)
{
	.name = "ack_pending",
	.min = 16,
	.max = 17,
};

FIXTURE_VARIANT_ADD(bounds, nonagle)
{
	.name = "nonagle",
	.max = 7,
};

FIXTURE_VARIANT_ADD(bounds, scaling_ratio)
{
	.name = "scaling_ratio",
	.min = 1,
	.max = 255,
};

FIXTURE_VARIANT_ADD(bounds, reo_wnd_steps)
{
	.name = "reo_wnd_steps",
	.min = 1,
	.max = 255,
};

FIXTURE_VARIANT_ADD(bounds, reo_wnd_persist)
{
	.name = "reo_wnd_persist",
	.max = 16,
};

FIXTURE_VARIANT_ADD(bounds, ts_usec)
{
	.name = "ts_usec",
	.max = 1,
};

FIXTURE_VARIANT_ADD(bounds, ecn_flags)
{
	.name = "ecn_flags",
	.max = 1,
};

FIXTURE_VARIANT_ADD(bounds, syn_ect_snt)
{
	.name = "syn_ect_snt",
	.max = 3,
};

FIXTURE_VARIANT_ADD(bounds, syn_ect_rcv)
{
	.name = "syn_ect_rcv",
	.max = 3,
};

FIXTURE_VARIANT_ADD(bounds, accecn_fail_mode)
{
	.name = "accecn_fail_mode",
	.max = 15,
};

FIXTURE_VARIANT_ADD(bounds, saw_accecn_opt)
{
	.name = "saw_accecn_opt",
	.max = 3,
};

FIXTURE_VARIANT_ADD(bounds, accecn_opt_demand)
{
	.name = "accecn_opt_demand",
	.max = 3,
};

FIXTURE_VARIANT_ADD(bounds, accecn_minlen)
{
	.name = "accecn_minlen",
	.max = 3,
};

FIXTURE_VARIANT_ADD(bounds, est_ecnfield)
{
	.name = "est_ecnfield",
	.max = 3,
};

FIXTURE_VARIANT_ADD(bounds, prev_ecnfield)
{
	.name = "prev_ecnfield",
	.max = 3,
};

FIXTURE_VARIANT_ADD(bounds, received_ce_pending)
{
	.name = "received_ce_pending",
	.max = 15,
};

FIXTURE_VARIANT_ADD(bounds, auto_bound)
{
	.name = "auto_bound",
	.max = TCP_REPAIR_CB_AUTO_ADDR | TCP_REPAIR_CB_AUTO_PORT,
};

/* Nothing is in flight. */
FIXTURE_VARIANT_ADD(bounds, rto_left)
{
	.name = "rto_left",
	.min = NONE,
	.max = NONE,
};

FIXTURE_VARIANT_ADD(bounds, age_retrans)
{
	.name = "age_retrans",
	.min = NONE,
	.max = NONE,
};

FIXTURE_VARIANT_ADD(bounds, retransmits)
{
	.name = "retransmits",
	.max = 0,
};

FIXTURE_VARIANT_ADD(bounds, state)
{
	.name = "state",
	.min = ESTABLISHED,
	.max = ESTABLISHED,
};

/* This is of another state. */
FIXTURE_VARIANT_ADD(bounds, timewait_left)
{
	.name = "timewait_left",
	.max = 0,
};

/* A value that the one under test depends on. An RTT has a variance. */
static void prepare(struct tcp_repair_cb *cb, const char *with, __u64 val)
{
	if (with)
		put_value(cb, member(with), val);
	if (cb->srtt && !cb->rttvar)
		cb->rttvar = 200000;
}

/* What is accepted reads back, if it is written as given. */
TEST_F(bounds, accepted)
{
	const struct member *m = member(variant->name);
	__u64 vals[] = { variant->min, variant->max };
	struct tcp_repair_cb cb, now;
	int i;

	ASSERT_TRUE(!!m);
	ASSERT_EQ(0, get_cb(self->fd, &cb));
	for (i = 0; i < ARRAY_SIZE(vals); i++) {
		prepare(&cb, variant->with, variant->with_val);
		put_value(&cb, m, vals[i]);
		ASSERT_EQ(0, set_cb(self->fd, &cb)) TH_LOG("%#llx", vals[i]);
		ASSERT_EQ(0, get_cb(self->fd, &now));
		cb.pause = 0;
		if (m->kind == LEFT || variant->adjusted)
			continue;
		EXPECT_TRUE(kept(&cb, &now, m))
			TH_LOG("set %#llx, is %#llx", value(&cb, m),
			       value(&now, m));
	}
	if (variant->none) {
		put_value(&cb, m, NONE);
		EXPECT_EQ(0, set_cb(self->fd, &cb));
	}
}

TEST_F(bounds, refused)
{
	const struct member *m = member(variant->name);
	__u64 most = ~0ULL >> (64 - 8 * m->size);
	__u64 vals[] = { variant->min - 1, variant->max + 1 };
	struct tcp_repair_cb cb, was, now;
	int i;

	ASSERT_EQ(0, get_cb(self->fd, &was));
	for (i = 0; i < ARRAY_SIZE(vals); i++) {
		/* The bound is the member's own. */
		if (i ? variant->max == most : !variant->min)
			continue;
		/* Everything else differs from what the socket has. */
		cb = was;
		cb.bytes_acked = 12345;
		cb.ts_recent ^= 1;
		cb.tsval ^= 1;
		cb.srtt = 800;
		cb.rttvar = 300000;
		cb.rcvq_space += 1000;
		cb.keepalive_time += SECOND;
		prepare(&cb, variant->with, variant->with_val);
		put_value(&cb, m, vals[i]);
		EXPECT_EQ(-EINVAL, set_cb(self->fd, &cb))
			TH_LOG("%#llx", vals[i]);
		ASSERT_EQ(0, get_cb(self->fd, &now));
		EXPECT_TRUE(all_kept(&was, &now));
		EXPECT_EQ(was.delta_time, now.delta_time);
		EXPECT_EQ(was.snd_cwnd, now.snd_cwnd);
		EXPECT_EQ(was.snd_ssthresh, now.snd_ssthresh);
	}
}

/* TCP_INFO counts all three as busy, the control block each of them once. */
TEST(busy_time)
{
	struct tcp_repair_cb cb, now;
	struct tcp_info info;
	int fd, err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	fd = repair_lonely();
	ASSERT_LE(0, fd);

	ASSERT_EQ(0, get_cb(fd, &cb));
	cb.busy_time = 100 * SECOND;
	cb.rwnd_limited = 30 * SECOND;
	cb.sndbuf_limited = 7 * SECOND;
	ASSERT_EQ(0, set_cb(fd, &cb));

	ASSERT_EQ(0, tcp_info(fd, &info));
	EXPECT_EQ(137 * SECOND, info.tcpi_busy_time);
	EXPECT_EQ(30 * SECOND, info.tcpi_rwnd_limited);
	EXPECT_EQ(7 * SECOND, info.tcpi_sndbuf_limited);

	ASSERT_EQ(0, get_cb(fd, &now));
	EXPECT_EQ(cb.busy_time, now.busy_time);
	EXPECT_EQ(cb.rwnd_limited, now.rwnd_limited);
	EXPECT_EQ(cb.sndbuf_limited, now.sndbuf_limited);
	close(fd);
}

/* --- moving a connection ------------------------------------------------- */

/* All that is needed to make the socket anew. */
struct image {
	struct sockaddr_storage local;
	struct sockaddr_storage peer;
	struct tcp_repair_cb cb;
	struct tcp_repair_opt opts[4];
	int nopts;
	char rcv[65536];
	char snd[65536];
	int rcv_len;
	int snd_len;
};

/* Sequence numbers that the FIN of either side takes. */
static int fin_rcvd(const struct tcp_repair_cb *cb)
{
	return cb->state == CLOSE_WAIT || cb->state == CLOSING ||
	       cb->state == LAST_ACK || cb->state == TIME_WAIT;
}

static int fin_sent(const struct tcp_repair_cb *cb)
{
	return cb->state == FIN_WAIT1 || cb->state == CLOSING ||
	       cb->state == LAST_ACK;
}

static int fin_acked(const struct tcp_repair_cb *cb)
{
	return cb->state == FIN_WAIT2 || cb->state == TIME_WAIT;
}

static int peek_queue(int fd, int queue, char *buf, int len)
{
	int ret = tcp_set_int(fd, TCP_REPAIR_QUEUE, queue);

	if (ret || !len)
		return ret;
	ret = sys(recv(fd, buf, len, MSG_PEEK | MSG_DONTWAIT));
	return ret == len ? 0 : ret < 0 ? ret : -ENODATA;
}

/* Read everything, and take the socket away so that nobody notices. */
static int take(int fd, struct image *image)
{
	socklen_t len = sizeof(image->local);
	struct tcp_repair_cb *cb = &image->cb;
	struct tcp_info info;
	int ret;

	memset(image, 0, sizeof(*image));
	ret = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON);
	if (!ret)
		ret = get_cb(fd, cb);
	if (!ret)
		ret = tcp_info(fd, &info);
	if (!ret)
		ret = sys(getsockname(fd, (void *)&image->local, &len));
	len = sizeof(image->peer);
	if (!ret)
		ret = sys(getpeername(fd, (void *)&image->peer, &len));
	if (ret)
		return ret;

	image->opts[image->nopts++] = (struct tcp_repair_opt) {
		OPT_MSS, tcp_get_int(fd, TCP_MAXSEG) };
	if (info.tcpi_options & TCPI_OPT_WSCALE)
		image->opts[image->nopts++] = (struct tcp_repair_opt) {
			OPT_WINDOW,
			info.tcpi_snd_wscale | info.tcpi_rcv_wscale << 16 };
	if (info.tcpi_options & TCPI_OPT_SACK)
		image->opts[image->nopts++] =
			(struct tcp_repair_opt) { OPT_SACK_PERM, 0 };
	if (info.tcpi_options & TCPI_OPT_TIMESTAMPS)
		image->opts[image->nopts++] =
			(struct tcp_repair_opt) { OPT_TIMESTAMP, 0 };

	image->rcv_len = cb->rcv_nxt - cb->copied_seq;
	if (image->rcv_len)
		image->rcv_len -= fin_rcvd(cb);
	image->snd_len = cb->snd_nxt - cb->snd_una - fin_sent(cb);
	if (image->rcv_len > (int)sizeof(image->rcv) ||
	    image->snd_len > (int)sizeof(image->snd))
		return -ENOBUFS;
	ret = peek_queue(fd, TCP_RECV_QUEUE, image->rcv, image->rcv_len);
	if (!ret)
		ret = peek_queue(fd, TCP_SEND_QUEUE, image->snd,
				 image->snd_len);
	if (!ret)
		ret = sys(close(fd));
	return ret;
}

static int fill_queue(int fd, int queue, const char *buf, int len)
{
	int ret = tcp_set_int(fd, TCP_REPAIR_QUEUE, queue);

	if (ret || !len)
		return ret;
	ret = sys(send(fd, buf, len, 0));
	return ret == len ? 0 : ret < 0 ? ret : -ENODATA;
}

/* The socket anew, still in repair mode and without the control block. */
static int put_queues(const struct image *image)
{
	const struct tcp_repair_cb *cb = &image->cb;
	__u32 rcv_seq, snd_seq;
	int fd, ret;

	rcv_seq = cb->rcv_nxt - fin_rcvd(cb) - image->rcv_len;
	snd_seq = cb->snd_una - fin_acked(cb);
	fd = repair_socket(&image->local, &image->peer, snd_seq, rcv_seq);
	if (fd < 0)
		return fd;
	ret = tcp_set(fd, TCP_REPAIR_OPTIONS, image->opts,
		      image->nopts * sizeof(image->opts[0]));
	if (!ret)
		ret = fill_queue(fd, TCP_RECV_QUEUE, image->rcv,
				 image->rcv_len);
	if (!ret)
		ret = fill_queue(fd, TCP_SEND_QUEUE, image->snd,
				 image->snd_len);
	if (!ret)
		ret = tcp_set_int(fd, TCP_REPAIR_QUEUE, TCP_NO_QUEUE);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

/* Still in repair mode, with the control block. */
static int put(struct image *image, __u32 flags, __u64 pause)
{
	int fd = put_queues(image);
	int ret;

	if (fd < 0)
		return fd;
	image->cb.flags = flags;
	image->cb.pause = pause;
	ret = set_cb(fd, &image->cb);
	image->cb.flags = 0;
	image->cb.pause = 0;
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

static int move(int fd, struct image *image, __u32 flags, __u64 pause)
{
	int ret = take(fd, image);

	if (ret)
		return ret;
	fd = put(image, flags, pause);
	if (fd < 0)
		return fd;
	ret = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF);
	return ret ? ret : fd;
}

/* --- a connection and its peer ------------------------------------------- */

static int listen_at(const struct sockaddr_storage *ss)
{
	int fd, ret, on = 1;

	fd = socket(ss->ss_family, SOCK_STREAM, 0);
	if (fd < 0)
		return -errno;
	ret = sys(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	if (!ret)
		ret = sys(bind(fd, (const void *)ss, sizeof(*ss)));
	if (!ret)
		ret = sys(listen(fd, 1));
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

static int connected_at(const struct sockaddr_storage *ss, int *client,
			int *server)
{
	int listener, ret;

	listener = listen_at(ss);
	if (listener < 0)
		return listener;
	*client = socket(ss->ss_family, SOCK_STREAM, 0);
	ret = sys(connect(*client, (const void *)ss, sizeof(*ss)));
	*server = ret ? -1 : accept(listener, NULL, NULL);
	close(listener);
	if (ret)
		return ret;
	return *server < 0 ? -errno : 0;
}

static int connected_pair(int family, int *client, int *server)
{
	struct sockaddr_storage ss;

	loopback(&ss, family, PORT);
	return connected_at(&ss, client, server);
}

static bool readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, DEADLINE_MS) == 1;
}

static void pattern(char *buf, int len, int from)
{
	int i;

	for (i = 0; i < len; i++)
		buf[i] = (from + i) * 7 + (from + i) / 251;
}

/* Bytes @from to @from + @len of the stream through @fd. */
static int write_stream(int fd, int from, int len)
{
	char buf[65536];
	int ret;

	pattern(buf, len, from);
	ret = sys(send(fd, buf, len, MSG_NOSIGNAL));
	return ret == len ? 0 : ret < 0 ? ret : -ENOBUFS;
}

static int read_stream(int fd, int from, int len)
{
	char buf[65536], expected[65536];
	int done, ret;

	pattern(expected, len, from);
	for (done = 0; done < len; done += ret) {
		if (!readable(fd))
			return -ETIMEDOUT;
		ret = sys(recv(fd, buf + done, len - done, 0));
		if (ret <= 0)
			return ret ? ret : -EPIPE;
	}
	return memcmp(buf, expected, len) ? -EILSEQ : 0;
}

static int exchange(int a, int b, int from, int len)
{
	int ret = write_stream(a, from, len);

	if (!ret)
		ret = read_stream(b, from, len);
	if (!ret)
		ret = write_stream(b, from, len);
	return ret ? ret : read_stream(a, from, len);
}

/* Have what comes to a socket lost, or no longer. */
static int lose(int fd, bool on)
{
	struct sock_filter drop = { .code = BPF_RET | BPF_K };
	struct sock_fprog prog = { .len = 1, .filter = &drop };
	int val = 0;

	if (on)
		return sys(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
				      sizeof(prog)));
	return sys(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &val,
			      sizeof(val)));
}

/* Wait until the connection is in a state; there is nothing to poll for. */
static int wait_state(int fd, int state)
{
	int i, now = -1;

	for (i = 0; i < DEADLINE_MS / 10; i++) {
		now = tcp_state(fd);
		if (now == state)
			return 0;
		poll(NULL, 0, 10);
	}
	return now < 0 ? now : -ETIMEDOUT;
}

/* Wait until all that was sent is acknowledged; the same. */
static int wait_acked(int fd)
{
	struct tcp_info info;
	int i, ret;

	for (i = 0; i < DEADLINE_MS / 10; i++) {
		ret = tcp_info(fd, &info);
		if (ret || !info.tcpi_unacked)
			return ret;
		poll(NULL, 0, 10);
	}
	return -ETIMEDOUT;
}

FIXTURE(restore)
{
	struct image image;
	int fd;
	int peer;
};

/* @timestamps, @sack, @ecn: sysctls that are not as usual. @unread, @unacked:
 * bytes in the receive and in the send queue.
 */
FIXTURE_VARIANT(restore)
{
	int family;
	const char *timestamps;
	const char *sack;
	const char *ecn;
	__u32 flags;
	int unread;
	int unacked;
};

#define WHOLE TCP_REPAIR_CB_CWND_WHOLE
#define SKIP_CWND TCP_REPAIR_CB_CWND_SKIP

FIXTURE_VARIANT_ADD(restore, ipv4)
{
	.family = AF_INET,
	.flags = WHOLE,
};

FIXTURE_VARIANT_ADD(restore, ipv6)
{
	.family = AF_INET6,
	.flags = WHOLE,
};

FIXTURE_VARIANT_ADD(restore, unread)
{
	.family = AF_INET,
	.flags = WHOLE,
	.unread = 10000,
};

FIXTURE_VARIANT_ADD(restore, unacked)
{
	.family = AF_INET,
	.flags = WHOLE,
	.unacked = 10000,
};

FIXTURE_VARIANT_ADD(restore, both)
{
	.family = AF_INET6,
	.flags = WHOLE,
	.unread = 5000,
	.unacked = 5000,
};

FIXTURE_VARIANT_ADD(restore, no_timestamps)
{
	.family = AF_INET,
	.flags = WHOLE,
	.timestamps = "0",
	.unacked = 3000,
};

FIXTURE_VARIANT_ADD(restore, no_sack)
{
	.family = AF_INET,
	.flags = WHOLE,
	.sack = "0",
	.unacked = 3000,
};

FIXTURE_VARIANT_ADD(restore, ecn)
{
	.family = AF_INET,
	.flags = WHOLE,
	.ecn = "1",
	.unread = 100,
};

FIXTURE_VARIANT_ADD(restore, accecn)
{
	.family = AF_INET,
	.flags = WHOLE,
	.ecn = "3",
	.unread = 100,
};

FIXTURE_VARIANT_ADD(restore, capped)
{
	.family = AF_INET,
};

FIXTURE_VARIANT_ADD(restore, skipped)
{
	.family = AF_INET,
	.flags = SKIP_CWND,
};

FIXTURE_SETUP(restore)
{
	int i, err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, set_sysctl("tcp_timestamps", variant->timestamps ? : "1"));
	ASSERT_EQ(0, set_sysctl("tcp_sack", variant->sack ? : "1"));
	ASSERT_EQ(0, set_sysctl("tcp_ecn", variant->ecn ? : "2"));
	ASSERT_EQ(0, connected_pair(variant->family, &self->fd, &self->peer));

	/* Something to have learned from. */
	for (i = 0; i < 20; i++)
		ASSERT_EQ(0, exchange(self->fd, self->peer, i * 20000, 20000));
	ASSERT_EQ(0, wait_acked(self->fd));
	ASSERT_EQ(0, wait_acked(self->peer));
	if (variant->unread) {
		ASSERT_EQ(0, write_stream(self->peer, 0, variant->unread));
		ASSERT_EQ(0, wait_acked(self->peer));
	}
	if (variant->unacked) {
		ASSERT_EQ(0, lose(self->peer, true));
		ASSERT_EQ(0, write_stream(self->fd, 0, variant->unacked));
	}
}

FIXTURE_TEARDOWN(restore)
{
	close(self->fd);
	close(self->peer);
}

/* The new socket has all that the old one had. */
TEST_F(restore, same)
{
	struct tcp_repair_cb *was = &self->image.cb, now;
	int fd;

	ASSERT_EQ(0, take(self->fd, &self->image));
	fd = put(&self->image, variant->flags, 0);
	ASSERT_LE(0, fd);
	self->fd = fd;
	ASSERT_EQ(0, get_cb(fd, &now));
	EXPECT_TRUE(all_kept(was, &now));

	/* It was a connection that had something to lose. */
	EXPECT_NE(0, was->srtt);
	EXPECT_LT(10, was->snd_cwnd);
	EXPECT_LE(400000, was->bytes_acked);
	EXPECT_LE(400000, was->bytes_received);
	EXPECT_EQ(variant->unacked != 0, was->rto_left != NONE);

	EXPECT_EQ(was->rto, now.rto);
	EXPECT_EQ(was->mss_cache, now.mss_cache);
	EXPECT_EQ(was->pmtu, now.pmtu);
	if (variant->unacked)
		EXPECT_NE(0, now.packets_out);

	switch (variant->flags) {
	case TCP_REPAIR_CB_CWND_WHOLE:
		EXPECT_EQ(was->snd_cwnd, now.snd_cwnd);
		EXPECT_EQ(was->snd_ssthresh, now.snd_ssthresh);
		break;
	case TCP_REPAIR_CB_CWND_SKIP:
		EXPECT_EQ(10, now.snd_cwnd);
		break;
	default:
		EXPECT_LE(10, now.snd_cwnd);
		EXPECT_GE(was->snd_cwnd, now.snd_cwnd);
		EXPECT_GE(was->snd_cwnd / 2 > 10 ? was->snd_cwnd / 2 : 10,
			  now.snd_cwnd);
		EXPECT_LE(was->snd_cwnd, now.snd_ssthresh);
	}

	/* The clock went on and not back. */
	EXPECT_GT(SLACK, now.tsval - was->tsval);
}

/* The peer does not notice. */
TEST_F(restore, goes_on)
{
	int i, fd;

	fd = move(self->fd, &self->image, variant->flags, 0);
	ASSERT_LE(0, fd);
	self->fd = fd;
	if (variant->unacked) {
		ASSERT_EQ(0, lose(self->peer, false));
		EXPECT_EQ(0, read_stream(self->peer, 0, variant->unacked));
	}
	if (variant->unread)
		EXPECT_EQ(0, read_stream(fd, 0, variant->unread));
	for (i = 0; i < 20; i++)
		ASSERT_EQ(0, exchange(fd, self->peer, i * 20000, 20000));

	/* To the end. */
	ASSERT_EQ(0, sys(shutdown(fd, SHUT_WR)));
	ASSERT_TRUE(readable(self->peer));
	EXPECT_EQ(0, recv(self->peer, &i, 1, 0));
	ASSERT_EQ(0, sys(shutdown(self->peer, SHUT_WR)));
	ASSERT_TRUE(readable(fd));
	EXPECT_EQ(0, recv(fd, &i, 1, 0));
}

/* Either side, in turn, and what was counted adds up. */
TEST_F(restore, again_and_again)
{
	struct tcp_repair_cb cb;
	__u64 acked;
	int i, fd;

	if (variant->unread)
		ASSERT_EQ(0, read_stream(self->fd, 0, variant->unread));
	if (variant->unacked) {
		ASSERT_EQ(0, lose(self->peer, false));
		ASSERT_EQ(0, read_stream(self->peer, 0, variant->unacked));
	}
	ASSERT_EQ(0, wait_acked(self->fd));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, get_cb(self->fd, &cb));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	acked = cb.bytes_acked;

	for (i = 0; i < 10; i++) {
		int *which = i & 1 ? &self->peer : &self->fd;

		fd = move(*which, &self->image, variant->flags, 0);
		ASSERT_LE(0, fd);
		*which = fd;
		ASSERT_EQ(0, exchange(self->fd, self->peer, i * 3000, 3000));
		ASSERT_EQ(0, wait_acked(self->fd));
		ASSERT_EQ(0, wait_acked(self->peer));
	}
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, get_cb(self->fd, &cb));
	EXPECT_EQ(acked + 10 * 3000, cb.bytes_acked);
}

/* What the socket has sent is not taken back. */
TEST_F(restore, refused_after_segment)
{
	struct tcp_repair_cb was, now;
	int fd;

	fd = move(self->fd, &self->image, variant->flags, 0);
	ASSERT_LE(0, fd);
	self->fd = fd;
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, get_cb(fd, &was));
	EXPECT_EQ(-EPERM, set_cb(fd, &was));
	ASSERT_EQ(0, get_cb(fd, &now));
	EXPECT_TRUE(all_kept(&was, &now));
}

/* A control block belongs to one connection, and to its queues. */
TEST_F(restore, refused_without_queues)
{
	struct tcp_repair_cb was, now;
	int fd;

	ASSERT_EQ(0, take(self->fd, &self->image));
	self->image.cb.rcv_nxt++;
	fd = put_queues(&self->image);
	ASSERT_LE(0, fd);
	self->fd = fd;
	self->image.cb.rcv_nxt--;
	ASSERT_EQ(0, get_cb(fd, &was));
	EXPECT_EQ(-EINVAL, set_cb(fd, &self->image.cb));
	ASSERT_EQ(0, get_cb(fd, &now));
	EXPECT_TRUE(all_kept(&was, &now));
}

/* --- names --------------------------------------------------------------- */

/* @told: the local address as bind() is to be told it. */
FIXTURE(names)
{
	struct sockaddr_storage told;
	struct image image;
	int fd;
	int peer;
};

/* A socket that was accepted, or has connected. @addr, @port: what bind() was
 * told, of the listener or of the socket. @auto_bound: what it was not told of
 * the socket, which is what a disconnect gives up.
 */
FIXTURE_VARIANT(names)
{
	int family;
	bool accepted;
	bool addr;
	bool port;
	__u8 auto_bound;
};

FIXTURE_VARIANT_ADD(names, connected)
{
	.family = AF_INET,
	.auto_bound = TCP_REPAIR_CB_AUTO_ADDR | TCP_REPAIR_CB_AUTO_PORT,
};

FIXTURE_VARIANT_ADD(names, connected_v6)
{
	.family = AF_INET6,
	.auto_bound = TCP_REPAIR_CB_AUTO_ADDR | TCP_REPAIR_CB_AUTO_PORT,
};

FIXTURE_VARIANT_ADD(names, connected_addr)
{
	.family = AF_INET,
	.addr = true,
	.auto_bound = TCP_REPAIR_CB_AUTO_PORT,
};

FIXTURE_VARIANT_ADD(names, connected_port)
{
	.family = AF_INET,
	.port = true,
	.auto_bound = TCP_REPAIR_CB_AUTO_ADDR,
};

FIXTURE_VARIANT_ADD(names, connected_port_v6)
{
	.family = AF_INET6,
	.port = true,
	.auto_bound = TCP_REPAIR_CB_AUTO_ADDR,
};

FIXTURE_VARIANT_ADD(names, connected_both)
{
	.family = AF_INET,
	.addr = true,
	.port = true,
};

FIXTURE_VARIANT_ADD(names, accepted)
{
	.family = AF_INET,
	.accepted = true,
	.port = true,
	.auto_bound = TCP_REPAIR_CB_AUTO_ADDR | TCP_REPAIR_CB_AUTO_PORT,
};

FIXTURE_VARIANT_ADD(names, accepted_addr)
{
	.family = AF_INET,
	.accepted = true,
	.addr = true,
	.port = true,
	.auto_bound = TCP_REPAIR_CB_AUTO_PORT,
};

FIXTURE_VARIANT_ADD(names, accepted_addr_v6)
{
	.family = AF_INET6,
	.accepted = true,
	.addr = true,
	.port = true,
	.auto_bound = TCP_REPAIR_CB_AUTO_PORT,
};

/* Address and port on loopback, or none of them. */
static void name(struct sockaddr_storage *ss, int family, bool addr, int port)
{
	loopback(ss, family, port);
	if (addr)
		return;
	if (family == AF_INET6)
		((struct sockaddr_in6 *)ss)->sin6_addr = in6addr_any;
	else
		((struct sockaddr_in *)ss)->sin_addr.s_addr = INADDR_ANY;
}

static bool has_address(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	memset(&ss, 0, sizeof(ss));
	if (getsockname(fd, (void *)&ss, &len))
		return false;
	if (ss.ss_family == AF_INET6)
		return memcmp(&((struct sockaddr_in6 *)&ss)->sin6_addr,
			      &in6addr_any, sizeof(in6addr_any));
	return ((struct sockaddr_in *)&ss)->sin_addr.s_addr != INADDR_ANY;
}

/* Whether nobody has the port of this name. */
static int port_free(const struct sockaddr_storage *told)
{
	int ret, fd = socket(told->ss_family, SOCK_STREAM, 0);

	if (fd < 0)
		return -errno;
	ret = sys(bind(fd, (const void *)told, sizeof(*told)));
	close(fd);
	return ret == -EADDRINUSE ? 0 : ret ? ret : 1;
}

/* What is given up at the end of the connection, as auto_bound has it. */
static int given_up(int fd, const struct sockaddr_storage *told)
{
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int ret, names = 0;

	ret = sys(connect(fd, &nobody, sizeof(nobody)));
	if (ret)
		return ret;
	if (!has_address(fd))
		names |= TCP_REPAIR_CB_AUTO_ADDR;
	ret = port_free(told);
	if (ret == 1)
		names |= TCP_REPAIR_CB_AUTO_PORT;
	return ret < 0 ? ret : names;
}

FIXTURE_SETUP(names)
{
	struct sockaddr_storage local, to;
	int err, listener, client;
	socklen_t len;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	if (variant->accepted)
		name(&local, variant->family, variant->addr, PORT);
	else
		loopback(&local, variant->family, LONELY_PEER);
	listener = listen_at(&local);
	ASSERT_LE(0, listener);

	client = socket(variant->family, SOCK_STREAM, 0);
	ASSERT_LE(0, client);
	if (!variant->accepted && (variant->addr || variant->port)) {
		name(&local, variant->family, variant->addr,
		     variant->port ? PORT : 0);
		ASSERT_EQ(0, sys(bind(client, (void *)&local, sizeof(local))));
	}
	loopback(&to, variant->family,
		 variant->accepted ? PORT : LONELY_PEER);
	ASSERT_EQ(0, sys(connect(client, (void *)&to, sizeof(to))));
	self->peer = accept(listener, NULL, NULL);
	ASSERT_LE(0, self->peer);
	close(listener);
	self->fd = client;
	if (variant->accepted) {
		self->fd = self->peer;
		self->peer = client;
	}
	len = sizeof(self->told);
	ASSERT_EQ(0, sys(getsockname(self->fd, (void *)&self->told, &len)));
}

FIXTURE_TEARDOWN(names)
{
	close(self->fd);
	close(self->peer);
}

TEST_F(names, told)
{
	struct tcp_repair_cb cb;

	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, get_cb(self->fd, &cb));
	EXPECT_EQ(variant->auto_bound, cb.auto_bound);
}

/* What the kernel does with a connection that was not moved. */
TEST_F(names, given_up_here)
{
	EXPECT_EQ(variant->auto_bound, given_up(self->fd, &self->told));
}

/* The new socket was bound to its name, and gives up the same. */
TEST_F(names, given_up_there)
{
	int fd;

	ASSERT_EQ(0, take(self->fd, &self->image));
	fd = put(&self->image, 0, 0);
	ASSERT_LE(0, fd);
	self->fd = fd;
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF));
	ASSERT_EQ(0, exchange(fd, self->peer, 0, 1000));
	EXPECT_EQ(variant->auto_bound, given_up(fd, &self->told));
}

/* Without being told the new socket keeps what it was bound to. */
TEST_F(names, kept)
{
	int fd;

	ASSERT_EQ(0, take(self->fd, &self->image));
	self->image.cb.auto_bound = 0;
	fd = put(&self->image, 0, 0);
	ASSERT_LE(0, fd);
	self->fd = fd;
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF));
	EXPECT_EQ(0, given_up(fd, &self->told));
}

/* --- closing ------------------------------------------------------------- */

FIXTURE(closing)
{
	struct image image;
	int fd;
	int peer;
};

/* The connection gets to @state with @unread bytes in the receive queue and,
 * where a FIN of ours is in flight, @unacked bytes before it. @eof_read: the
 * program has seen that the peer sends no more.
 */
FIXTURE_VARIANT(closing)
{
	int state;
	int unread;
	int unacked;
	bool eof_read;
};

FIXTURE_VARIANT_ADD(closing, fin_wait1)
{
	.state = FIN_WAIT1,
};

FIXTURE_VARIANT_ADD(closing, fin_wait1_data)
{
	.state = FIN_WAIT1,
	.unread = 3000,
	.unacked = 5000,
};

FIXTURE_VARIANT_ADD(closing, fin_wait2)
{
	.state = FIN_WAIT2,
};

FIXTURE_VARIANT_ADD(closing, fin_wait2_data)
{
	.state = FIN_WAIT2,
	.unread = 3000,
};

FIXTURE_VARIANT_ADD(closing, close_wait)
{
	.state = CLOSE_WAIT,
};

FIXTURE_VARIANT_ADD(closing, close_wait_data)
{
	.state = CLOSE_WAIT,
	.unread = 3000,
};

FIXTURE_VARIANT_ADD(closing, close_wait_eof)
{
	.state = CLOSE_WAIT,
	.eof_read = true,
};

FIXTURE_VARIANT_ADD(closing, closing)
{
	.state = CLOSING,
};

FIXTURE_VARIANT_ADD(closing, closing_data)
{
	.state = CLOSING,
	.unread = 3000,
	.unacked = 5000,
};

FIXTURE_VARIANT_ADD(closing, last_ack)
{
	.state = LAST_ACK,
};

FIXTURE_VARIANT_ADD(closing, last_ack_data)
{
	.state = LAST_ACK,
	.unread = 3000,
	.unacked = 5000,
};

FIXTURE_VARIANT_ADD(closing, last_ack_eof)
{
	.state = LAST_ACK,
	.eof_read = true,
};

FIXTURE_SETUP(closing)
{
	bool peer_closed = variant->state == CLOSE_WAIT ||
			   variant->state == LAST_ACK;
	char c;
	int err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, connected_pair(AF_INET, &self->fd, &self->peer));
	ASSERT_EQ(0, exchange(self->fd, self->peer, 0, 1000));
	ASSERT_EQ(0, write_stream(self->peer, 0, variant->unread));
	ASSERT_EQ(0, wait_acked(self->peer));
	if (peer_closed) {
		ASSERT_EQ(0, sys(shutdown(self->peer, SHUT_WR)));
		ASSERT_EQ(0, wait_state(self->fd, CLOSE_WAIT));
	}
	if (variant->eof_read)
		ASSERT_EQ(0, recv(self->fd, &c, 1, 0));

	/* What we send from here on gets lost, or it would be acknowledged. */
	if (variant->state != FIN_WAIT2 && variant->state != CLOSE_WAIT)
		ASSERT_EQ(0, lose(self->peer, true));
	if (variant->unacked)
		ASSERT_EQ(0, write_stream(self->fd, 0, variant->unacked));
	if (variant->state != CLOSE_WAIT)
		ASSERT_EQ(0, sys(shutdown(self->fd, SHUT_WR)));
	if (variant->state == CLOSING)
		ASSERT_EQ(0, sys(shutdown(self->peer, SHUT_WR)));
	ASSERT_EQ(0, wait_state(self->fd, variant->state));
}

FIXTURE_TEARDOWN(closing)
{
	close(self->fd);
	close(self->peer);
}

TEST_F(closing, same)
{
	struct tcp_repair_cb *was = &self->image.cb, now;

	ASSERT_EQ(0, take(self->fd, &self->image));
	EXPECT_EQ(variant->state, was->state);
	self->fd = put(&self->image, TCP_REPAIR_CB_CWND_WHOLE, 0);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(variant->state, tcp_state(self->fd));
	ASSERT_EQ(0, get_cb(self->fd, &now));
	EXPECT_TRUE(all_kept(was, &now));
	EXPECT_EQ(was->write_seq, now.write_seq);
	EXPECT_EQ(was->rto, now.rto);
}

/* Both sides get what was sent, and the end of it, and are done. */
TEST_F(closing, finishes)
{
	char c;

	self->fd = move(self->fd, &self->image, TCP_REPAIR_CB_CWND_WHOLE, 0);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(variant->state, tcp_state(self->fd));
	lose(self->peer, false);

	EXPECT_EQ(0, read_stream(self->fd, 0, variant->unread));
	EXPECT_EQ(0, read_stream(self->peer, 0, variant->unacked));
	if (variant->state == CLOSE_WAIT) {
		EXPECT_EQ(0, write_stream(self->fd, 0, 500));
		EXPECT_EQ(0, read_stream(self->peer, 0, 500));
		EXPECT_EQ(0, sys(shutdown(self->fd, SHUT_WR)));
	} else {
		EXPECT_EQ(-EPIPE, write_stream(self->fd, 0, 1));
	}
	ASSERT_TRUE(readable(self->peer));
	EXPECT_EQ(0, sys(recv(self->peer, &c, 1, 0)));

	if (variant->state == FIN_WAIT1 || variant->state == FIN_WAIT2) {
		EXPECT_EQ(0, wait_state(self->fd, FIN_WAIT2));
		EXPECT_EQ(0, write_stream(self->peer, 0, 500));
		EXPECT_EQ(0, read_stream(self->fd, 0, 500));
		EXPECT_EQ(0, sys(shutdown(self->peer, SHUT_WR)));
	}
	ASSERT_TRUE(readable(self->fd));
	EXPECT_EQ(0, sys(recv(self->fd, &c, 1, 0)));
	EXPECT_EQ(0, wait_state(self->fd, CLOSED));
	EXPECT_EQ(0, wait_state(self->peer, CLOSED));
}

/* What a state adds to the queues; -1 if it is not one that can be given. */
static int fins(int state)
{
	switch (state) {
	case ESTABLISHED:
		return 0;
	case FIN_WAIT1:
		return 1;
	case FIN_WAIT2:
		return 3;
	case CLOSE_WAIT:
		return 4;
	case CLOSING:
	case LAST_ACK:
		return 5;
	default:
		return -1;
	}
}

/* A FIN that the sequence numbers have no room for, or one too many. */
TEST_F(closing, refused)
{
	struct tcp_repair_cb cb, was, now;
	int state;

	ASSERT_EQ(0, take(self->fd, &self->image));
	self->fd = put_queues(&self->image);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, get_cb(self->fd, &was));
	for (state = 0; state < 256; state++) {
		cb = self->image.cb;
		cb.state = state;
		if (fins(state) == fins(variant->state))
			continue;
		EXPECT_EQ(-EINVAL, set_cb(self->fd, &cb))
			TH_LOG("state %d", state);
	}
	/* Something after our FIN. */
	cb = self->image.cb;
	cb.write_seq++;
	if (variant->state != CLOSE_WAIT)
		EXPECT_EQ(-EINVAL, set_cb(self->fd, &cb));
	/* The time of another state. */
	cb = self->image.cb;
	cb.timewait_left = 1;
	EXPECT_EQ(-EINVAL, set_cb(self->fd, &cb));
	ASSERT_EQ(0, get_cb(self->fd, &now));
	EXPECT_TRUE(all_kept(&was, &now));
	EXPECT_EQ(ESTABLISHED, tcp_state(self->fd));
}

/* --- what waits after the end -------------------------------------------- */

/* The one entry with these addresses, and the time until its timer runs.
 *
 * Return: its state, -ENOENT if there is none, or another error.
 */
static int find_entry(const struct image *image, __u32 *left_ms)
{
	const struct sockaddr_in6 *local6 = (const void *)&image->local;
	const struct sockaddr_in6 *peer6 = (const void *)&image->peer;
	const struct sockaddr_in *local = (const void *)&image->local;
	const struct sockaddr_in *peer = (const void *)&image->peer;
	struct {
		struct nlmsghdr nlh;
		struct inet_diag_req_v2 req;
	} msg = {
		.nlh = {
			.nlmsg_len = sizeof(msg),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST,
		},
		.req = {
			.sdiag_family = image->local.ss_family,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = -1,
			.id = {
				.idiag_sport = local->sin_port,
				.idiag_dport = peer->sin_port,
				.idiag_cookie = { INET_DIAG_NOCOOKIE,
						  INET_DIAG_NOCOOKIE },
			},
		},
	};
	struct inet_diag_sockid *id = &msg.req.id;
	union {
		struct nlmsghdr nlh;
		char buf[4096];
	} answer;
	const struct inet_diag_msg *diag = NLMSG_DATA(&answer.nlh);
	const struct nlmsgerr *error = NLMSG_DATA(&answer.nlh);
	int fd, ret;

	if (image->local.ss_family == AF_INET6) {
		memcpy(id->idiag_src, &local6->sin6_addr, 16);
		memcpy(id->idiag_dst, &peer6->sin6_addr, 16);
	} else {
		id->idiag_src[0] = local->sin_addr.s_addr;
		id->idiag_dst[0] = peer->sin_addr.s_addr;
	}

	fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return -errno;
	ret = sys(send(fd, &msg, sizeof(msg), 0));
	if (ret > 0)
		ret = sys(recv(fd, &answer, sizeof(answer), 0));
	close(fd);
	if (ret < 0)
		return ret;
	if (answer.nlh.nlmsg_type == NLMSG_ERROR)
		return error->error;
	/* A listener answers for addresses that are nobody's. */
	if (diag->id.idiag_dport != peer->sin_port)
		return -ENOENT;
	*left_ms = diag->idiag_expires;
	return diag->idiag_state;
}

/* A segment, as far as a peer looks at it. */
struct segment {
	struct tcphdr tcp;
	bool has_ts;
	__u32 tsval;
	__u32 tsecr;
};

static void read_timestamps(const unsigned char *opt, int len,
			    struct segment *segment)
{
	__u32 ts[2];
	int size;

	for (; len > 0; opt += size, len -= size) {
		size = *opt == OPT_NOP ? 1 : len > 1 ? opt[1] : 0;
		if (size < 1 || size > len)
			return;
		if (*opt != OPT_TIMESTAMP || size != 10)
			continue;
		memcpy(ts, opt + 2, sizeof(ts));
		segment->has_ts = true;
		segment->tsval = ntohl(ts[0]);
		segment->tsecr = ntohl(ts[1]);
	}
}

static int rcv_wscale(const struct image *image)
{
	int i;

	for (i = 0; i < image->nopts; i++)
		if (image->opts[i].opt_code == OPT_WINDOW)
			return image->opts[i].opt_val >> 16;
	return 0;
}

/* A copy of every segment that comes, for next_segment(). */
static int watch(const struct image *image)
{
	const struct sockaddr_in6 *sin6 = (const void *)&image->local;
	int family = image->local.ss_family;

	if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr))
		family = AF_INET;
	return sys(socket(family, SOCK_RAW, IPPROTO_TCP));
}

/* The next segment of those that @image's end sends; -ETIMEDOUT if @wait_ms
 * pass without one.
 */
static int next_segment(int fd, const struct image *image, int wait_ms,
			struct segment *segment)
{
	const struct sockaddr_in *local = (const void *)&image->local;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	socklen_t len = sizeof(int);
	unsigned char buf[2048];
	int family, ret, head;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len))
		return -errno;
	while (poll(&pfd, 1, wait_ms) == 1) {
		ret = sys(recv(fd, buf, sizeof(buf), 0));
		if (ret < 0)
			return ret;
		/* Only IPv4 has its header there. */
		head = family == AF_INET ? (buf[0] & 15) * 4 : 0;
		if (ret < head + (int)sizeof(segment->tcp))
			return -EBADMSG;
		memset(segment, 0, sizeof(*segment));
		memcpy(&segment->tcp, buf + head, sizeof(segment->tcp));
		if (segment->tcp.source != local->sin_port)
			continue;
		head += sizeof(segment->tcp);
		read_timestamps(buf + head, ret - head, segment);
		return 0;
	}
	return -ETIMEDOUT;
}

static __u64 now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec / 1000;
}

/* @fd is read until FIN_WAIT2 into @image, and what it is to become is written
 * there: the peer's FIN has come, and our acknowledgment got lost. So the FIN
 * that the peer sends in a test is for us one that it sends again.
 */
FIXTURE(time_wait)
{
	struct image image;
	int fd;
	int peer;
};

/* @mapped: IPv4 on sockets of IPv6. @unread: bytes in the receive queue. */
FIXTURE_VARIANT(time_wait)
{
	int family;
	bool mapped;
	const char *timestamps;
	int unread;
};

FIXTURE_VARIANT_ADD(time_wait, ipv4)
{
	.family = AF_INET,
};

FIXTURE_VARIANT_ADD(time_wait, ipv6)
{
	.family = AF_INET6,
};

FIXTURE_VARIANT_ADD(time_wait, mapped)
{
	.family = AF_INET6,
	.mapped = true,
};

FIXTURE_VARIANT_ADD(time_wait, no_timestamps)
{
	.family = AF_INET,
	.timestamps = "0",
};

FIXTURE_VARIANT_ADD(time_wait, unread)
{
	.family = AF_INET6,
	.unread = 3000,
};

#define LEFT_SECONDS 30

FIXTURE_SETUP(time_wait)
{
	struct tcp_repair_cb *cb = &self->image.cb;
	struct sockaddr_storage ss;
	int err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, set_sysctl("tcp_timestamps", variant->timestamps ? : "1"));
	loopback(&ss, variant->family, PORT);
	if (variant->mapped)
		inet_pton(AF_INET6, "::ffff:127.0.0.1",
			  &((struct sockaddr_in6 *)&ss)->sin6_addr);
	ASSERT_EQ(0, connected_at(&ss, &self->peer, &self->fd));
	ASSERT_EQ(0, exchange(self->fd, self->peer, 0, 1000));
	ASSERT_EQ(0, write_stream(self->peer, 0, variant->unread));
	ASSERT_EQ(0, wait_acked(self->peer));
	ASSERT_EQ(0, sys(shutdown(self->fd, SHUT_WR)));
	ASSERT_EQ(0, wait_state(self->fd, FIN_WAIT2));

	ASSERT_EQ(0, take(self->fd, &self->image));
	cb->state = TIME_WAIT;
	cb->rcv_nxt++;
	cb->timewait_left = LEFT_SECONDS * SECOND;
	self->fd = put_queues(&self->image);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(time_wait)
{
	close(self->fd);
	close(self->peer);
}

/* The entry is there when the mode ends, not before, with the time that is
 * left; the descriptor is at the end of the stream, and its close is silent.
 */
TEST_F(time_wait, entry)
{
	struct tcp_repair_cb *was = &self->image.cb, now;
	struct segment segment;
	__u32 left_ms;
	int raw;
	char c;

	ASSERT_EQ(0, set_cb(self->fd, was));
	ASSERT_EQ(0, get_cb(self->fd, &now));
	EXPECT_TRUE(all_kept(was, &now));
	EXPECT_EQ(CLOSING, find_entry(&self->image, &left_ms));
	EXPECT_EQ(CLOSING, tcp_state(self->fd));

	raw = watch(&self->image);
	ASSERT_LE(0, raw);
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF));
	EXPECT_EQ(TIME_WAIT, find_entry(&self->image, &left_ms));
	EXPECT_GE(LEFT_SECONDS * 1000 + 100, left_ms);
	EXPECT_LE(LEFT_SECONDS * 1000 - SLACK / 1000, left_ms);
	EXPECT_EQ(CLOSED, tcp_state(self->fd));
	EXPECT_EQ(0, tcp_get_int(self->fd, TCP_REPAIR));

	EXPECT_EQ(0, read_stream(self->fd, 0, variant->unread));
	EXPECT_EQ(0, sys(recv(self->fd, &c, 1, MSG_DONTWAIT)));
	EXPECT_EQ(-EPIPE, write_stream(self->fd, 0, 1));
	EXPECT_EQ(0, close(self->fd));
	self->fd = -1;
	EXPECT_EQ(TIME_WAIT, find_entry(&self->image, &left_ms));
	EXPECT_EQ(-ETIMEDOUT, next_segment(raw, &self->image, 0, &segment));
	close(raw);
	/* It has its port for itself, as the socket had not in repair mode. */
	EXPECT_EQ(-EADDRINUSE, listen_at(&self->image.local));
}

/* The peer's FIN comes again: it is acknowledged, with the timestamps of the
 * connection, and the time begins anew.
 */
TEST_F(time_wait, fin_again)
{
	struct tcp_repair_cb *was = &self->image.cb;
	bool has_ts = !variant->timestamps;
	struct segment segment;
	__u32 left_ms, window;
	int raw, err;
	socklen_t len = sizeof(err);

	ASSERT_EQ(0, set_cb(self->fd, was));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	raw = watch(&self->image);
	ASSERT_LE(0, raw);
	ASSERT_EQ(0, sys(shutdown(self->peer, SHUT_WR)));
	ASSERT_EQ(0, next_segment(raw, &self->image, DEADLINE_MS, &segment));
	close(raw);

	EXPECT_FALSE(!!segment.tcp.rst);
	EXPECT_TRUE(!!segment.tcp.ack);
	EXPECT_EQ(was->snd_nxt, ntohl(segment.tcp.seq));
	EXPECT_EQ(was->rcv_nxt, ntohl(segment.tcp.ack_seq));
	window = was->rcv_wup + was->rcv_wnd - was->rcv_nxt;
	EXPECT_EQ(window >> rcv_wscale(&self->image),
		  ntohs(segment.tcp.window));
	EXPECT_EQ(has_ts, segment.has_ts);
	if (has_ts) {
		EXPECT_EQ(was->ts_recent, segment.tsecr);
		EXPECT_GT(SLACK / 1000, segment.tsval - was->tsval);
	}

	EXPECT_EQ(0, wait_state(self->peer, CLOSED));
	EXPECT_EQ(0, getsockopt(self->peer, SOL_SOCKET, SO_ERROR, &err, &len));
	EXPECT_EQ(0, err);
	EXPECT_EQ(TIME_WAIT, find_entry(&self->image, &left_ms));
	EXPECT_LT(LEFT_SECONDS * 1000 + 100, left_ms);
}

/* The peer connects again from the same port: the entry makes room, and the
 * new connection begins behind the old one.
 */
TEST_F(time_wait, new_connection)
{
	struct tcp_repair_cb *was = &self->image.cb, now;
	__u32 left_ms;
	int listener, on = 1;

	ASSERT_EQ(0, set_cb(self->fd, was));
	/* For the listener. */
	ASSERT_EQ(0, sys(setsockopt(self->fd, SOL_SOCKET, SO_REUSEADDR, &on,
				    sizeof(on))));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF));
	ASSERT_EQ(0, sys(close(self->fd)));
	listener = listen_at(&self->image.local);
	ASSERT_LE(0, listener);
	ASSERT_EQ(0, sys(shutdown(self->peer, SHUT_WR)));
	ASSERT_EQ(0, wait_state(self->peer, CLOSED));
	ASSERT_EQ(0, sys(close(self->peer)));
	ASSERT_EQ(TIME_WAIT, find_entry(&self->image, &left_ms));

	self->peer = socket(variant->family, SOCK_STREAM, 0);
	ASSERT_LE(0, self->peer);
	ASSERT_EQ(0, sys(setsockopt(self->peer, SOL_SOCKET, SO_REUSEADDR, &on,
				    sizeof(on))));
	ASSERT_EQ(0, sys(bind(self->peer, (void *)&self->image.peer,
			      sizeof(self->image.peer))));
	ASSERT_EQ(0, sys(connect(self->peer, (void *)&self->image.local,
				 sizeof(self->image.local))));
	self->fd = accept(listener, NULL, NULL);
	ASSERT_LE(0, self->fd);
	close(listener);
	EXPECT_EQ(0, exchange(self->fd, self->peer, 0, 1000));
	EXPECT_EQ(ESTABLISHED, find_entry(&self->image, &left_ms));
	ASSERT_EQ(0, wait_acked(self->fd));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, get_cb(self->fd, &now));
	/* The entry chooses this; any other sequence number is random. */
	EXPECT_EQ(was->snd_nxt + 65535 + 2 + 1 + 1000, now.snd_nxt);
}

/* It goes when its time is over, not earlier. */
TEST_F(time_wait, ends)
{
	const __u64 left = SECOND / 5, tick = SECOND / 50;
	__u64 begin, end;
	__u32 left_ms;
	int state;

	self->image.cb.timewait_left = left;
	ASSERT_EQ(0, set_cb(self->fd, &self->image.cb));
	begin = now_us();
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF));
	ASSERT_EQ(0, sys(close(self->fd)));
	self->fd = -1;
	do {
		/* Nobody is told of the end. */
		poll(NULL, 0, 5);
		state = find_entry(&self->image, &left_ms);
		end = now_us();
	} while (state == TIME_WAIT && end - begin < DEADLINE_MS * 1000ULL);
	EXPECT_EQ(-ENOENT, state);
	EXPECT_LE(left - tick, end - begin);
	EXPECT_GT(left + SLACK, end - begin);
}

/* A segment that comes while the mode is on makes the entry by itself. */
TEST_F(time_wait, segment_before)
{
	__u32 left_ms;

	ASSERT_EQ(0, set_cb(self->fd, &self->image.cb));
	ASSERT_EQ(0, sys(shutdown(self->peer, SHUT_WR)));
	ASSERT_EQ(0, wait_state(self->fd, CLOSED));
	EXPECT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF));
	EXPECT_EQ(TIME_WAIT, find_entry(&self->image, &left_ms));
	EXPECT_EQ(0, wait_state(self->peer, CLOSED));
}

/* A socket that is closed in repair mode was never there. */
TEST_F(time_wait, taken_back)
{
	struct segment segment;
	__u32 left_ms;
	int raw;

	raw = watch(&self->image);
	ASSERT_LE(0, raw);
	ASSERT_EQ(0, set_cb(self->fd, &self->image.cb));
	ASSERT_EQ(0, sys(close(self->fd)));
	self->fd = -1;
	EXPECT_EQ(-ENOENT, find_entry(&self->image, &left_ms));
	EXPECT_EQ(-ETIMEDOUT, next_segment(raw, &self->image, 0, &segment));
	close(raw);
}

/* No room for an entry: the mode does not end, and can end later. */
TEST_F(time_wait, no_room)
{
	struct tcp_repair_cb was, now;
	__u32 left_ms;

	ASSERT_EQ(0, set_cb(self->fd, &self->image.cb));
	ASSERT_EQ(0, get_cb(self->fd, &was));
	ASSERT_EQ(0, set_sysctl("tcp_max_tw_buckets", "0"));
	EXPECT_EQ(-ENOBUFS, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF));
	EXPECT_EQ(-ENOBUFS, tcp_set_int(self->fd, TCP_REPAIR,
					TCP_REPAIR_OFF_NO_WP));
	EXPECT_EQ(CLOSING, tcp_state(self->fd));
	ASSERT_EQ(0, get_cb(self->fd, &now));
	EXPECT_TRUE(all_kept(&was, &now));
	ASSERT_EQ(0, set_sysctl("tcp_max_tw_buckets", "1"));
	EXPECT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF));
	EXPECT_EQ(TIME_WAIT, find_entry(&self->image, &left_ms));
}

/* Values that are not accepted, one at a time, on top of one that is. */
TEST_F(time_wait, refused)
{
	const struct {
		const char *name;
		__u64 val;
	} rows[] = {
		{ "timewait_left", 0 },
		{ "timewait_left", 60 * SECOND + 1 },
		{ "timewait_left", 0xffffffff },
		{ "rcv_nxt", self->image.cb.rcv_nxt - 1 },
		{ "rcv_nxt", self->image.cb.rcv_nxt + 1 },
		{ "snd_nxt", self->image.cb.snd_nxt - 1 },
		{ "snd_nxt", self->image.cb.snd_nxt + 1 },
		{ "snd_una", self->image.cb.snd_una - 1 },
		{ "write_seq", self->image.cb.write_seq + 1 },
		{ "rto_left", 1 },
		{ "state", FIN_WAIT2 },
		{ "state", CLOSING },
		{ "state", LAST_ACK },
	};
	struct tcp_repair_cb cb, was, now;
	__u32 left_ms;
	int i;

	ASSERT_EQ(0, get_cb(self->fd, &was));
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		cb = self->image.cb;
		put_value(&cb, member(rows[i].name), rows[i].val);
		EXPECT_EQ(-EINVAL, set_cb(self->fd, &cb))
			TH_LOG("%s %#llx", rows[i].name, rows[i].val);
	}
	/* There is nothing to echo. */
	cb = self->image.cb;
	cb.ts_recent = 1;
	if (variant->timestamps)
		EXPECT_EQ(-EINVAL, set_cb(self->fd, &cb));

	ASSERT_EQ(0, get_cb(self->fd, &now));
	EXPECT_TRUE(all_kept(&was, &now));
	EXPECT_EQ(ESTABLISHED, tcp_state(self->fd));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	EXPECT_EQ(-EPERM, set_cb(self->fd, &self->image.cb));
	EXPECT_EQ(ESTABLISHED, find_entry(&self->image, &left_ms));

	/* The row that the others differ from; only once. */
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, set_cb(self->fd, &self->image.cb));
	EXPECT_EQ(-ENOTCONN, set_cb(self->fd, &self->image.cb));
}

/* --- how much of the time is left ---------------------------------------- */

FIXTURE(time_left)
{
	struct image image;
	int fd;
};

/* What is left of @left after @pause; without COUNT_PAUSE no more of the pause
 * counts than a round trip, and there was none. TCP_LINGER2 is where it is kept
 * until the mode ends: @linger2 is set meanwhile, and does no harm.
 */
FIXTURE_VARIANT(time_left)
{
	__u32 left;
	__u32 flags;
	__u64 pause;
	int linger2;
	__u32 seconds;
};

FIXTURE_VARIANT_ADD(time_left, longest)
{
	.left = 60 * SECOND,
	.seconds = 60,
};

FIXTURE_VARIANT_ADD(time_left, not_counted)
{
	.left = 40 * SECOND,
	.pause = 20 * SECOND,
	.seconds = 40,
};

FIXTURE_VARIANT_ADD(time_left, counted)
{
	.left = 40 * SECOND,
	.flags = TCP_REPAIR_CB_COUNT_PAUSE,
	.pause = 20 * SECOND,
	.seconds = 20,
};

FIXTURE_VARIANT_ADD(time_left, shortest)
{
	.left = 1,
};

FIXTURE_VARIANT_ADD(time_left, over)
{
	.left = 40 * SECOND,
	.flags = TCP_REPAIR_CB_COUNT_PAUSE,
	.pause = DAY,
};

FIXTURE_VARIANT_ADD(time_left, linger2_longer)
{
	.left = 20 * SECOND,
	.linger2 = 100,
	.seconds = 60,
};

FIXTURE_VARIANT_ADD(time_left, linger2_none)
{
	.left = 20 * SECOND,
	.linger2 = -1,
};

FIXTURE_SETUP(time_left)
{
	struct tcp_repair_cb *cb = &self->image.cb;
	int err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	loopback(&self->image.local, AF_INET, PORT);
	loopback(&self->image.peer, AF_INET, LONELY_PEER);
	self->fd = repair_lonely();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, get_cb(self->fd, cb));
	cb->state = TIME_WAIT;
	cb->rcv_nxt++;
	cb->snd_nxt++;
	cb->snd_una++;
	cb->write_seq++;
	cb->snd_sml++;
	cb->pushed_seq++;
	cb->snd_up++;
	cb->rtt_seq++;
	cb->rcv_mwnd_seq++;
}

FIXTURE_TEARDOWN(time_left)
{
	close(self->fd);
}

TEST_F(time_left, told)
{
	struct tcp_repair_cb *cb = &self->image.cb;
	__u32 left_ms, most = variant->seconds * 1000 + 100;
	int state;

	cb->timewait_left = variant->left;
	cb->flags = variant->flags;
	cb->pause = variant->pause;
	ASSERT_EQ(0, set_cb(self->fd, cb));
	if (variant->linger2)
		ASSERT_EQ(0, tcp_set_int(self->fd, TCP_LINGER2,
					 variant->linger2));
	ASSERT_EQ(0, tcp_set_int(self->fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	state = find_entry(&self->image, &left_ms);
	/* What is over can be gone already. */
	if (state == -ENOENT && !variant->seconds)
		return;
	ASSERT_EQ(TIME_WAIT, state);
	EXPECT_GE(most, left_ms);
	EXPECT_LT(most, left_ms + SLACK / 1000);
}

/* --- clock --------------------------------------------------------------- */

FIXTURE(clock)
{
	struct image image;
	int fd;
	int peer;
};

/* By how much the timestamps go on in a pause, in milliseconds. */
FIXTURE_VARIANT(clock)
{
	__u32 flags;
	__u64 pause;
	__u32 srtt_ms;
	__u32 on_ms;
};

#define COUNT TCP_REPAIR_CB_COUNT_PAUSE
FIXTURE_VARIANT_ADD(clock, no_pause)
{
	.srtt_ms = 50,
};

FIXTURE_VARIANT_ADD(clock, short_pause)
{
	.pause = 20000,
	.srtt_ms = 50,
	.on_ms = 20,
};

FIXTURE_VARIANT_ADD(clock, long_pause)
{
	.pause = 600 * SECOND,
	.srtt_ms = 50,
	.on_ms = 50,
};

FIXTURE_VARIANT_ADD(clock, month)
{
	.pause = 30 * DAY,
	.srtt_ms = 50,
	.on_ms = 50,
};

FIXTURE_VARIANT_ADD(clock, counted)
{
	.flags = COUNT,
	.pause = 600 * SECOND,
	.srtt_ms = 50,
	.on_ms = 600000,
};

FIXTURE_VARIANT_ADD(clock, counted_month)
{
	.flags = COUNT,
	.pause = 30 * DAY,
	.srtt_ms = 50,
	.on_ms = (__u32)(30 * 86400000ULL),
};

FIXTURE_SETUP(clock)
{
	int i, err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, connected_pair(AF_INET, &self->fd, &self->peer));
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, exchange(self->fd, self->peer, i * 2000, 2000));
	ASSERT_EQ(0, wait_acked(self->fd));
	ASSERT_EQ(0, wait_acked(self->peer));
	ASSERT_EQ(0, take(self->fd, &self->image));
	self->image.cb.srtt = variant->srtt_ms * 1000 * 8;
}

FIXTURE_TEARDOWN(clock)
{
	close(self->fd);
	close(self->peer);
}

TEST_F(clock, timestamps)
{
	struct tcp_repair_cb *was = &self->image.cb, now;
	__u64 aged;
	int fd;

	fd = put(&self->image, variant->flags, variant->pause);
	ASSERT_LE(0, fd);
	self->fd = fd;
	ASSERT_EQ(0, get_cb(fd, &now));
	EXPECT_LE(variant->on_ms, now.tsval - was->tsval);
	EXPECT_GT(variant->on_ms + SLACK / 1000, now.tsval - was->tsval);

	/* What is told of the clock is what the clock is. */
	EXPECT_GT(SLACK / 1000, (__u32)tcp_get_int(fd, TCP_TIMESTAMP) -
				(now.tsval & ~1));

	/* The peer's clock went on in any case, the own ones as told. */
	aged = was->age_ts_recent + variant->pause;
	EXPECT_LE(aged, now.age_ts_recent + SECOND);
	EXPECT_GT(aged + SLACK, now.age_ts_recent);
	aged = was->age_data_sent + (variant->flags & COUNT ? variant->pause :
				     variant->on_ms * 1000ULL);
	/* Half of what 32 bits of the fastest clock can hold. */
	if (aged < DAY) {
		EXPECT_LE(aged, now.age_data_sent + SECOND);
		EXPECT_GT(aged + SLACK, now.age_data_sent);
	}
}

/* Whether the peer, whose clock went on by more than half of what a timestamp
 * can tell, is still heard: after a pause of 24 days it has to be.
 */
TEST_F(clock, peer_is_heard)
{
	bool old = variant->pause > 25 * DAY;
	int fd;

	/* As if the peer's next timestamp were 30 days later. */
	self->image.cb.ts_recent -= (__u32)(30 * 86400000ULL);
	fd = put(&self->image, variant->flags, variant->pause);
	ASSERT_LE(0, fd);
	self->fd = fd;
	/* Without a window probe the peer sends first. */
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	ASSERT_EQ(0, write_stream(self->peer, 0, 100));
	if (old) {
		EXPECT_EQ(0, read_stream(fd, 0, 100));
	} else {
		/* It is refused again and again; there is no end to wait for,
		 * and the first retransmissions come within this time.
		 */
		struct pollfd pfd = { .fd = fd, .events = POLLIN };

		EXPECT_EQ(0, poll(&pfd, 1, 700));
	}
}

/* The peer echoes a timestamp from before the pause: the pause is not taken
 * for a round trip, unless it is to be.
 */
TEST_F(clock, first_rtt)
{
	struct tcp_repair_cb now;
	__u64 rtt;
	int fd;

	/* A segment whose acknowledgment comes after the pause. */
	fd = put(&self->image, variant->flags, 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF));
	ASSERT_EQ(0, lose(fd, true));
	ASSERT_EQ(0, write_stream(fd, 0, 100));
	ASSERT_EQ(0, read_stream(self->peer, 0, 100));
	ASSERT_EQ(0, take(fd, &self->image));
	self->image.cb.srtt = variant->srtt_ms * 1000 * 8;
	self->image.cb.rto_left = 100 * SECOND;
	fd = put(&self->image, variant->flags, variant->pause);
	ASSERT_LE(0, fd);
	self->fd = fd;
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));

	/* The peer's next segment acknowledges it and echoes its timestamp. */
	ASSERT_EQ(0, write_stream(self->peer, 0, 100));
	ASSERT_EQ(0, read_stream(fd, 0, 100));
	ASSERT_EQ(0, wait_acked(fd));
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON));
	ASSERT_EQ(0, get_cb(fd, &now));
	/* srtt is the old one, and an eighth of what the new one differs by. */
	rtt = (__s64)now.srtt - self->image.cb.srtt / 8 * 7;
	if (variant->pause > DAY && variant->flags & COUNT)
		return;	/* beyond what a timestamp can measure */
	if (variant->flags & COUNT) {
		EXPECT_LE(variant->pause, rtt);
		EXPECT_GT(variant->pause + SLACK, rtt);
	} else {
		EXPECT_LE(variant->on_ms * 1000ULL, rtt + 1000);
		EXPECT_GT(variant->on_ms * 1000ULL + SLACK, rtt);
	}
}

/* A chain of moves adds up, and never goes back. */
TEST(clock_chain)
{
	static struct image image;
	__u32 first = 0, last = 0;
	int fd, peer, i, err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, connected_pair(AF_INET, &fd, &peer));
	ASSERT_EQ(0, exchange(fd, peer, 0, 1000));
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, wait_acked(fd));
		ASSERT_EQ(0, take(fd, &image));
		if (!i)
			first = image.cb.tsval;
		else
			ASSERT_LE(0, (__s32)(image.cb.tsval - last));
		last = image.cb.tsval;
		fd = put(&image, TCP_REPAIR_CB_COUNT_PAUSE, 60 * SECOND);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF));
		ASSERT_EQ(0, exchange(fd, peer, i * 100, 100));
	}
	EXPECT_LE(49 * 60000, last - first);
	EXPECT_GT(49 * 60000 + DEADLINE_MS, last - first);
	close(fd);
	close(peer);
}

/* --- the wrap of timestamps ---------------------------------------------- */

FIXTURE(wrap)
{
	struct image image;
	struct image peer_image;
};

/* @unit: of the timestamps, in microseconds. */
FIXTURE_VARIANT(wrap)
{
	__u8 ts_usec;
	__u32 unit;
};

FIXTURE_VARIANT_ADD(wrap, milliseconds)
{
	.unit = 1000,
};

FIXTURE_VARIANT_ADD(wrap, microseconds)
{
	.ts_usec = 1,
	.unit = 1,
};

FIXTURE_SETUP(wrap)
{
	int fd, peer, err;

	err = enter_netns();
	if (err == -EPERM)
		SKIP(return, "no right to make a network namespace");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, connected_pair(AF_INET, &fd, &peer));
	ASSERT_EQ(0, exchange(fd, peer, 0, 1000));
	ASSERT_EQ(0, wait_acked(fd));
	ASSERT_EQ(0, wait_acked(peer));
	ASSERT_EQ(0, take(fd, &self->image));
	ASSERT_EQ(0, take(peer, &self->peer_image));
}

FIXTURE_TEARDOWN(wrap)
{
}

/* Both clocks are a second before the wrap, and each end has seen the other's
 * a moment before that.
 */
static void put_before_wrap(struct tcp_repair_cb *cb, __u8 ts_usec, __u32 unit)
{
	cb->ts_usec = ts_usec;
	cb->tsval = -(SECOND / unit);
	cb->ts_recent = cb->tsval - 1;
	cb->rcv_rtt_tsecr = cb->tsval - 1;
}

/* One end is moved again and again while the timestamps wrap. None goes back,
 * no segment is refused by the other end, and no round trip is as long as the
 * wrap.
 */
TEST_F(wrap, moved_across)
{
	struct tcp_repair_cb *cb = &self->image.cb;
	bool wrapped = false;
	int fd, peer, i;
	__u32 last;

	put_before_wrap(cb, variant->ts_usec, variant->unit);
	put_before_wrap(&self->peer_image.cb, variant->ts_usec, variant->unit);
	fd = put(&self->image, 0, 0);
	ASSERT_LE(0, fd);
	peer = put(&self->peer_image, 0, 0);
	ASSERT_LE(0, peer);
	ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	ASSERT_EQ(0, tcp_set_int(peer, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));

	last = cb->tsval;
	for (i = 0; !wrapped || i < 10; i++) {
		ASSERT_GT(DEADLINE_MS, i);
		ASSERT_EQ(0, exchange(fd, peer, i * 100, 100));
		ASSERT_EQ(0, wait_acked(fd));
		ASSERT_EQ(0, wait_acked(peer));
		ASSERT_EQ(0, take(fd, &self->image));
		EXPECT_EQ(variant->ts_usec, cb->ts_usec);
		ASSERT_LE(0, (__s32)(cb->tsval - last));
		wrapped |= cb->tsval < last;
		last = cb->tsval;
		EXPECT_GT(SLACK, cb->srtt >> 3);
		fd = put(&self->image, 0, 0);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP));
	}
	EXPECT_EQ(0, cb->total_retrans);
	ASSERT_EQ(0, take(peer, &self->peer_image));
	EXPECT_EQ(0, self->peer_image.cb.total_retrans);
	close(fd);
}

TEST_HARNESS_MAIN

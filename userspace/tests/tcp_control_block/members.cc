// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_control_block/members.h"

#include <linux/tcp_repair.h>

#include <algorithm>
#include <array>

namespace sockrepair::test {

namespace {

constexpr std::uint64_t kTickUs = 4000;
constexpr std::uint32_t kMaxAge = 0x7fffffff;

// Of <linux/tcp_repair.h>, @timer
constexpr std::uint64_t kRetransmission = 1;

std::span<const std::uint8_t> bytes(const tcp_witness_snapshot& snapshot) {
  return {snapshot.sock, sizeof(snapshot.sock)};
}

std::uint64_t value_in(const KernelLayout& layout, const tcp_witness_snapshot& snapshot,
                       std::string_view path) {
  const KernelMember* const member = layout.find(path);
  return member ? member->value(bytes(snapshot)) : 0;
}

std::string expected(std::uint64_t value) {
  return "expected " + std::to_string(value);
}

std::string expected(std::uint64_t least, std::uint64_t most) {
  return "expected " + std::to_string(least) + " to " + std::to_string(most);
}

// --- times ---

// A clock that stamps are of: its value in a snapshot, modulo 2^32, and its unit.
struct Clock {
  std::uint32_t (*read)(const tcp_witness_snapshot& snapshot);
  std::uint64_t unit_us;
};

template <std::uint64_t kNanoseconds>
std::uint32_t host_clock(const tcp_witness_snapshot& snapshot) {
  return static_cast<std::uint32_t>(snapshot.monotonic_ns / kNanoseconds);
}
std::uint32_t jiffies(const tcp_witness_snapshot& snapshot) {
  return static_cast<std::uint32_t>(snapshot.jiffies);
}

constexpr Clock kJiffiesClock{jiffies, kTickUs};
constexpr Clock kSecondsClock{host_clock<1'000'000'000>, 1'000'000};
constexpr Clock kMillisecondsClock{host_clock<1'000'000>, 1000};
constexpr Clock kMicrosecondsClock{host_clock<1000>, 1};

Clock timestamp_clock(const Witnessed& seen) {
  return seen.old_value("tcp_usec_ts") ? kMicrosecondsClock : kMillisecondsClock;
}

// `stamp` is one of `clock` with the age it should have.
std::string judge_stamp(const Witnessed& seen, const Clock& clock, std::uint64_t elapsed_us,
                        std::uint32_t was, std::uint32_t is) {
  const std::uint64_t elapsed = elapsed_us / clock.unit_us;
  const auto aged = [elapsed](std::uint32_t age) {
    // A stamp of the future has no age; one older than its clock can tell is as old as that.
    const std::uint64_t known = age > kMaxAge ? 0 : age;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(known + elapsed, kMaxAge));
  };
  // The age at the moment that the control block was read.
  const std::uint32_t least = aged(clock.read(seen.was) - was);
  const std::uint32_t most = aged(clock.read(seen.was_still) - was + 1);
  // At the moment that it was written: as seen by the look after it, not more than the two looks
  // are apart.
  const std::uint32_t between = clock.read(seen.now) - clock.read(seen.fresh);
  const std::uint32_t age = clock.read(seen.now) - is;
  if (age + 1 >= least && age <= most + between + 1) return {};
  return "age " + std::to_string(static_cast<std::int32_t>(age)) + " units of " +
         std::to_string(clock.unit_us) + " us, " + expected(least, most + between);
}

std::string judge_stamp_or_none(const Witnessed& seen, const Clock& clock, std::uint64_t elapsed_us,
                                std::uint32_t was, std::uint32_t is) {
  if (was == 0 || is == 0) return was == is ? "" : expected(was);
  return judge_stamp(seen, clock, elapsed_us, was, is);
}

// What a timer has left, rounded up to a tick, once what counts of the pause is over.
std::string judge_timer(const Witnessed& seen, std::uint64_t was, std::uint64_t is) {
  const std::uint64_t elapsed = seen.elapsed_us() / kTickUs;
  const auto left = [elapsed](std::uint64_t expires, std::uint64_t at) {
    const std::uint64_t rest = expires > at ? expires - at : 0;
    return rest > elapsed ? rest - elapsed : 0;
  };
  const std::uint64_t least = left(was, seen.was_still.jiffies) + seen.fresh.jiffies;
  const std::uint64_t most = left(was, seen.was.jiffies) + seen.now.jiffies + 2;
  if (is + 1 >= least && is <= most) return {};
  return expected(least, most) + ", now " + std::to_string(seen.now.jiffies);
}

// --- what follows from others ---

std::string judge_clock(const Witnessed& seen, const KernelMember& member) {
  const Clock clock = timestamp_clock(seen);
  const auto tsval = [&](const tcp_witness_snapshot& snapshot, std::uint64_t offset) {
    return clock.read(snapshot) + static_cast<std::uint32_t>(offset);
  };
  const std::uint64_t was = member.value(bytes(seen.was));
  const std::uint64_t is = member.value(bytes(seen.now));
  const auto elapsed = static_cast<std::uint32_t>(seen.elapsed_us() / clock.unit_us);
  // The next timestamp goes on from where it was read, from where it was written on.
  const std::uint32_t least = tsval(seen.was, was) + elapsed;
  const std::uint32_t slack = clock.read(seen.was_still) - clock.read(seen.was) +
                              clock.read(seen.now) - clock.read(seen.fresh) + 2;
  const std::uint32_t on = tsval(seen.now, is) - least;
  if (on <= slack) return {};
  return "the timestamps went on by " + std::to_string(static_cast<std::int32_t>(on)) +
         " units, expected 0 to " + std::to_string(slack);
}

// All three estimates of the filter are the one that is carried.
std::string judge_min_rtt(const Witnessed& seen, const KernelMember& member) {
  const std::uint64_t want = seen.old_value("rtt_min.s[0].v");
  return member.value(bytes(seen.now)) == want ? "" : expected(want);
}

std::string judge_min_rtt_stamp(const Witnessed& seen, const KernelMember& member) {
  return judge_stamp(seen, kJiffiesClock, seen.elapsed_us(),
                     static_cast<std::uint32_t>(seen.old_value("rtt_min.s[0].t")),
                     static_cast<std::uint32_t>(member.value(bytes(seen.now))));
}

std::string judge_cwnd(const Witnessed& seen, const KernelMember& member) {
  constexpr std::uint64_t kInitial = 10;
  const std::uint64_t was = seen.old_value("snd_cwnd");
  std::uint64_t want = was;
  if (seen.flags & TCP_REPAIR_CB_CWND_SKIP) {
    want = kInitial;
  } else if (!(seen.flags & TCP_REPAIR_CB_CWND_WHOLE) && was > kInitial) {
    want = std::max(std::min(was / 2, seen.old_value("max_packets_out")), kInitial);
  }
  return member.value(bytes(seen.now)) == want ? "" : expected(want);
}

std::string judge_ssthresh(const Witnessed& seen, const KernelMember& member) {
  std::uint64_t want = seen.old_value("snd_ssthresh");
  if (seen.flags & TCP_REPAIR_CB_CWND_SKIP)
    want = 0x7fffffff;
  else if (!(seen.flags & TCP_REPAIR_CB_CWND_WHOLE))
    want = std::max(want, seen.old_value("snd_cwnd"));
  return member.value(bytes(seen.now)) == want ? "" : expected(want);
}

std::uint64_t in_flight(const Witnessed& seen) {
  return static_cast<std::uint32_t>(seen.old_value("snd_nxt") - seen.old_value("snd_una"));
}

// The segments are made anew: none is smaller than it has to be, but for the last, and for a FIN.
std::string judge_packets_out(const Witnessed& seen, const KernelMember& member) {
  const std::uint64_t mss = seen.old_value("mss_cache");
  const std::uint64_t least = (in_flight(seen) + mss - 1) / mss;
  const std::uint64_t is = member.value(bytes(seen.now));
  if (is >= least && is <= least + 1) return {};
  return expected(least, least + 1);
}

// What was written and not sent is written once repair mode is off.
std::string judge_write_seq(const Witnessed& seen, const KernelMember& member) {
  const std::uint64_t want = seen.old_value("snd_nxt");
  return member.value(bytes(seen.now)) == want ? "" : expected(want);
}

// It is still in the queue, so it was taken there; a call in repair mode has no other end.
std::string judge_retransmit_timer(const Witnessed& seen, const KernelMember& member) {
  const std::uint64_t is = member.value(bytes(seen.now));
  if (seen.new_value("packets_out") == 0) return {};
  if (seen.old_value("icsk_pending") == kRetransmission)
    return judge_timer(seen, member.value(bytes(seen.was)), is);
  // A loss probe or a reordering timer comes first: what is carried is when the retransmission
  // would have been due, which is no later than a whole timeout from now.
  const std::uint64_t most = seen.now.jiffies + seen.new_value("icsk_rto") + 1;
  return is + 1 >= seen.fresh.jiffies && is <= most ? "" : expected(seen.fresh.jiffies, most);
}

// An entry in the list of timers says nothing: one that is not needed any more is left there.
std::string judge_delack_timer(const Witnessed& seen, const KernelMember& member) {
  constexpr std::uint64_t kOwed = 1;
  constexpr std::uint64_t kTimer = 2;
  const std::uint64_t was = seen.old_value("icsk_ack.pending");
  const std::uint64_t is = seen.new_value("icsk_ack.pending");
  // What is owed is sent some day: without a timer in the original, it has one here.
  const bool runs = (was & (kOwed | kTimer)) != 0;
  if (runs != ((is & kTimer) != 0)) return runs ? "it has to run" : "it may not run";
  if (!(was & kTimer)) return {};
  return judge_timer(seen, member.value(bytes(seen.was)), member.value(bytes(seen.now)));
}

std::string judge_pending_timer(const Witnessed& seen, const KernelMember& member) {
  const std::uint64_t want = seen.new_value("packets_out") ? kRetransmission : 0;
  return member.value(bytes(seen.now)) == want ? "" : expected(want);
}

// Times of what the sender was limited by, in jiffies; what runs is counted until now.
std::string judge_chrono(const Witnessed& seen, const KernelMember& member) {
  constexpr std::string_view kPrefix = "chrono_stat[";
  const auto kind = static_cast<std::uint64_t>(member.path[kPrefix.size()] - '0' + 1);
  const std::uint64_t stat = member.value(bytes(seen.was));
  std::uint64_t least = stat;
  std::uint64_t most = stat;
  if (seen.old_value("chrono_type") == kind) {
    const auto start = static_cast<std::uint32_t>(seen.old_value("chrono_start"));
    least += jiffies(seen.was) - start;
    most += jiffies(seen.was_still) - start;
  }
  const std::uint64_t is = member.value(bytes(seen.now));
  return is + 1 >= least && is <= most + 1 ? "" : expected(least, most);
}

// The minimum of the variance is this host's.
std::string judge_rttvar(const Witnessed& seen, const KernelMember& member) {
  const std::uint64_t want = seen.old_value("rttvar_us");
  const std::uint64_t is = member.value(bytes(seen.now));
  return is == want || (is > want && is == seen.new_value("icsk_rto_min") * kTickUs)
             ? ""
             : expected(want);
}

std::string judge_even(const Witnessed& seen, const KernelMember& member) {
  const std::uint64_t want = member.value(bytes(seen.was)) & ~std::uint64_t{1};
  return member.value(bytes(seen.now)) == want ? "" : expected(want);
}

// The lower two bits change with each segment.
std::string judge_tos(const Witnessed& seen, const KernelMember& member) {
  constexpr std::uint64_t kDscp = 0xfc;
  const std::uint64_t want = member.value(bytes(seen.was)) & kDscp;
  const std::uint64_t is = member.value(bytes(seen.now)) & kDscp;
  return is == want ? "" : expected(want);
}

// One that is owed has a timer.
std::string judge_ack_pending(const Witnessed& seen, const KernelMember& member) {
  constexpr std::uint64_t kOwed = 1;
  constexpr std::uint64_t kTimer = 2;
  std::uint64_t want = member.value(bytes(seen.was));
  if (want & kOwed) want |= kTimer;
  return member.value(bytes(seen.now)) == want ? "" : expected(want);
}

std::string judge_sack_ok(const Witnessed& seen, const KernelMember& member) {
  constexpr std::uint64_t kDsackSeen = 1 << 2;
  const std::uint64_t want = member.value(bytes(seen.was)) & ~kDsackSeen;
  return member.value(bytes(seen.now)) == want ? "" : expected(want);
}

// Addresses of IPv4; an IPv6 socket has others, and its own stand-ins here.
std::string judge_addresses(const Witnessed& seen, const KernelMember& member) {
  constexpr std::uint64_t kIpv4 = 2;
  if (seen.old_value("skc_family") != kIpv4) return {};
  const std::uint64_t want = member.value(bytes(seen.was));
  return member.value(bytes(seen.now)) == want ? "" : expected(want);
}

// --- the table ---

constexpr MemberRule kRules[] = {
    // Sequence numbers.
    {"rcv_nxt", Rule::kSame, ""},
    {"copied_seq", Rule::kSame, ""},
    {"rcv_wup", Rule::kSame, ""},
    {"rcv_mwnd_seq", Rule::kSame, ""},
    {"snd_una", Rule::kSame, ""},
    {"snd_nxt", Rule::kSame, ""},
    {"snd_sml", Rule::kSeq, "TCP does not look at what was passed"},
    {"snd_wl1", Rule::kSame, ""},
    {"snd_up", Rule::kSeq, "TCP does not look at what was passed"},
    {"pushed_seq", Rule::kSeq, "TCP does not look at what was passed"},
    {"rtt_seq", Rule::kSeq, "TCP does not look at what was passed"},
    {"urg_seq", Rule::kSame, ""},
    {"urg_data", Rule::kSame, ""},
    {"write_seq", Rule::kDerived, "what was not sent is written later", judge_write_seq},

    // Windows and sizes.
    {"snd_wnd", Rule::kSame, ""},
    {"max_window", Rule::kSame, ""},
    {"rcv_wnd", Rule::kSame, ""},
    {"rcv_ssthresh", Rule::kSame, ""},
    {"window_clamp", Rule::kSame, ""},
    {"scaling_ratio", Rule::kSame, ""},
    {"rcvq_space.space", Rule::kSame, ""},
    {"rcv_rtt_est.rtt_us", Rule::kSame, ""},
    {"mss_cache", Rule::kSame, ""},
    {"advmss", Rule::kSame, ""},
    {"icsk_pmtu_cookie", Rule::kSame, ""},

    // Round trips and the timeout.
    {"srtt_us", Rule::kSame, ""},
    {"mdev_us", Rule::kSame, ""},
    {"mdev_max_us", Rule::kSame, ""},
    {"rttvar_us", Rule::kDerived, "not below this host's minimum", judge_rttvar},
    {"rtt_min.s[0].v", Rule::kSame, ""},
    {"rtt_min.s[0].t", Rule::kJiffies, ""},
    {"rtt_min.s[1].v", Rule::kDerived, "one of three estimates is carried", judge_min_rtt},
    {"rtt_min.s[1].t", Rule::kDerived, "the same", judge_min_rtt_stamp},
    {"rtt_min.s[2].v", Rule::kDerived, "the same", judge_min_rtt},
    {"rtt_min.s[2].t", Rule::kDerived, "the same", judge_min_rtt_stamp},
    {"icsk_rto", Rule::kSame, ""},
    {"icsk_backoff", Rule::kSame, ""},
    {"icsk_retransmits", Rule::kSame, ""},
    {"icsk_probes_out", Rule::kSame, ""},
    {"icsk_user_timeout", Rule::kSame, ""},
    {"retrans_stamp", Rule::kTimestampOrNone, ""},
    {"rto_stamp", Rule::kMillisecondsOrNone, ""},
    {"icsk_probes_tstamp", Rule::kJiffiesOrNone, ""},
    {"lsndtime", Rule::kJiffies, ""},
    {"rcv_tstamp", Rule::kJiffies, ""},

    // The connection's clock.
    {"tcp_usec_ts", Rule::kSame, ""},
    {"tsoffset", Rule::kDerived, "the clocks of the hosts differ", judge_clock},
    {"rx_opt.ts_recent", Rule::kSame, ""},
    {"rx_opt.ts_recent_stamp", Rule::kSecondsOrNone, ""},
    {"rcv_rtt_last_tsecr", Rule::kCopy, ""},

    // The path. cwnd_used of the control block is max_packets_out.
    {"snd_cwnd", Rule::kDerived, "as the flags say", judge_cwnd},
    {"snd_ssthresh", Rule::kDerived, "as the flags say", judge_ssthresh},
    {"reordering", Rule::kSame, ""},
    {"icsk_ca_ops", Rule::kSame, ""},  // its name, by TCP_CONGESTION
    {"icsk_ca_priv", Rule::kNew, "the algorithm begins anew"},
    {"icsk_ca_setsockopt", Rule::kNew, "the name is given by TCP_CONGESTION"},
    {"max_packets_out", Rule::kNew, "measured over a round trip"},
    {"cwnd_usage_seq", Rule::kNew, "the same"},
    {"is_cwnd_limited", Rule::kNew, "the same"},
    {"snd_cwnd_used", Rule::kZero, "the same"},
    {"snd_cwnd_cnt", Rule::kZero, "less than a segment"},
    {"snd_cwnd_stamp", Rule::kNew, "when the window was last in use"},
    {"prior_cwnd", Rule::kNew, "of a recovery"},
    {"prr_out", Rule::kNew, "of a recovery"},
    {"prr_delivered", Rule::kNew, "of a recovery"},

    // Loss recovery: reported, and Open again.
    {"icsk_ca_state", Rule::kZero, "Open"},
    {"sacked_out", Rule::kZero, "marks on segments, which are made anew"},
    {"lost_out", Rule::kZero, "the same"},
    {"retrans_out", Rule::kZero, "the same"},
    {"prior_ssthresh", Rule::kZero, "of a recovery"},
    {"undo_marker", Rule::kZero, "of a recovery"},
    {"undo_retrans", Rule::kNew, "of a recovery"},
    {"high_seq", Rule::kNew, "of a recovery"},
    {"frto", Rule::kZero, "of a recovery"},
    {"tlp_high_seq", Rule::kZero, "of a loss probe"},
    {"tlp_retrans", Rule::kZero, "the same"},
    {"packets_out", Rule::kDerived, "the segments are made anew", judge_packets_out},
    {"rack.mstamp", Rule::kNew, "of segments that are no more"},
    {"rack.rtt_us", Rule::kNew, "the same"},
    {"rack.end_seq", Rule::kNew, "the same"},
    {"rack.last_delivered", Rule::kNew, "the same"},
    {"rack.dsack_seen", Rule::kNew, "the same"},
    {"rack.advanced", Rule::kNew, "the same"},

    // Timers.
    {"icsk_pending", Rule::kDerived, "the retransmission comes first", judge_pending_timer},
    {"sk_timer.expires", Rule::kDerived, "has what it had left", judge_retransmit_timer},
    {"icsk_keepalive_timer.expires", Rule::kTimer, "has what it had left"},
    {"icsk_delack_timer.expires", Rule::kDerived, "has what it had left", judge_delack_timer},
    {"sk_timer.entry", Rule::kSocket, "list of timers"},
    {"sk_timer.flags", Rule::kSocket, "processor and slot"},
    {"icsk_keepalive_timer.entry", Rule::kSocket, "list of timers"},
    {"icsk_keepalive_timer.flags", Rule::kSocket, "processor and slot"},
    {"icsk_delack_timer.entry", Rule::kSocket, "list of timers"},
    {"icsk_delack_timer.flags", Rule::kSocket, "processor and slot"},
    {"pacing_timer", Rule::kSocket, "of this host"},
    {"compressed_ack_timer", Rule::kSocket, "of this host"},
    {"keepalive_time", Rule::kSame, ""},
    {"keepalive_intvl", Rule::kSame, ""},
    {"keepalive_probes", Rule::kSame, ""},

    // Acknowledgments.
    {"icsk_ack.pending", Rule::kDerived, "what is owed has a timer", judge_ack_pending},
    {"icsk_ack.quick", Rule::kSame, ""},
    {"icsk_ack.pingpong", Rule::kSame, ""},
    {"icsk_ack.retry", Rule::kSame, ""},
    {"icsk_ack.ato", Rule::kSame, ""},
    {"icsk_ack.lrcvtime", Rule::kJiffies, ""},
    {"icsk_ack.last_seg_size", Rule::kSame, ""},
    {"icsk_ack.rcv_mss", Rule::kSame, ""},
    {"nonagle", Rule::kSame, ""},

    // Congestion marks.
    {"ecn_flags", Rule::kSame, ""},
    {"received_ce", Rule::kSame, ""},
    {"received_ecn_bytes", Rule::kSame, ""},
    {"delivered_ecn_bytes", Rule::kSame, ""},
    {"accecn_opt_tstamp", Rule::kNew, "when the last option was sent"},

    // Counters.
    {"bytes_acked", Rule::kSame, ""},
    {"bytes_received", Rule::kSame, ""},
    {"bytes_sent", Rule::kSame, ""},
    {"bytes_retrans", Rule::kSame, ""},
    {"total_retrans", Rule::kSame, ""},
    {"total_rto_time", Rule::kSame, ""},
    {"delivered", Rule::kSame, ""},
    {"lost", Rule::kSame, ""},
    {"segs_in", Rule::kSame, ""},
    {"segs_out", Rule::kSame, ""},
    {"chrono_stat", Rule::kDerived, "what runs is counted until the dump", judge_chrono},
    {"chrono_start", Rule::kNew, "begins when the queue is filled"},
    {"chrono_type", Rule::kNew, "begins when the queue is filled"},

    // Measured or found out anew.
    {"rcv_rtt_est.seq", Rule::kNew, "of a measurement that is under way"},
    {"rcv_rtt_est.time", Rule::kZero, "the same"},
    {"rcvq_space.seq", Rule::kNew, "the same"},
    {"rcvq_space.time", Rule::kNew, "the same"},
    {"first_tx_mstamp", Rule::kNew, "of the delivery rate"},
    {"delivered_mstamp", Rule::kNew, "the same"},
    {"rate_delivered", Rule::kNew, "the same"},
    {"rate_interval_us", Rule::kNew, "the same"},
    {"rate_app_limited", Rule::kNew, "the same"},
    {"app_limited", Rule::kNew, "the same"},
    {"tcp_mstamp", Rule::kNew, "the last segment"},
    {"tcp_clock_cache", Rule::kNew, "the same"},
    {"tcp_wstamp_ns", Rule::kNew, "when the next segment is sent"},
    {"sk_pacing_rate", Rule::kNew, "follows from window and RTT with the next acknowledgment"},
    {"pred_flags", Rule::kNew, "header prediction"},
    {"last_oow_ack_time", Rule::kNew, "rate of answers to segments out of the window"},
    {"compressed_ack", Rule::kZero, "acknowledgments put off"},
    {"compressed_ack_rcv_nxt", Rule::kNew, "the same"},
    {"dup_ack_counter", Rule::kZero, "the same"},
    {"accecn_opt_sent_w_dsack", Rule::kNew, "of the last acknowledgment"},

    // Segments received out of order are not carried, and what is told of them neither.
    {"rx_opt.num_sacks", Rule::kZero, "not carried"},
    {"rx_opt.dsack", Rule::kZero, "not carried"},
    {"rx_opt.saw_tstamp", Rule::kNew, "options of the last segment"},
    {"rx_opt.rcv_tsval", Rule::kNew, "the same"},
    {"rx_opt.rcv_tsecr", Rule::kNew, "the same"},
    {"rx_opt.accecn", Rule::kNew, "the same"},
    {"rx_opt.mss_clamp", Rule::kSame, ""},
    {"rx_opt.sack_ok", Rule::kDerived, "that there were duplicates is not looked at",
     judge_sack_ok},
    {"duplicate_sack", Rule::kNew, "not carried"},
    {"selective_acks", Rule::kNew, "not carried"},
    {"recv_sack_cache", Rule::kNew, "not carried"},
    {"out_of_order_queue", Rule::kSocket, "segments"},
    {"ooo_last_skb", Rule::kSocket, "segments"},
    {"retransmit_skb_hint", Rule::kSocket, "segments"},
    {"highest_sack", Rule::kSocket, "segments"},
    {"tsorted_sent_queue", Rule::kSocket, "segments"},
    {"tsq_node", Rule::kSocket, "list"},

    // The socket under the connection.
    {"skc_addrpair", Rule::kDerived, "IPv6 sockets have others", judge_addresses},
    {"skc_hash", Rule::kSocket, "of this network namespace"},
    {"skc_node", Rule::kSocket, "list"},
    {"skc_bind_node", Rule::kSocket, "list"},
    {"skc_net", Rule::kSocket, "another network namespace"},
    {"skc_cookie", Rule::kSocket, "SO_COOKIE, never used twice"},
    {"skc_tx_queue_mapping", Rule::kSocket, "of the device"},
    {"skc_rx_queue_mapping", Rule::kSocket, "of the device"},
    {"skc_incoming_cpu", Rule::kSocket, "of this host"},
    {"skc_rxhash", Rule::kSocket, "of this host"},
    {"skc_refcnt", Rule::kSocket, "references"},
    {"sk_error_queue", Rule::kSocket, "list"},
    {"sk_receive_queue", Rule::kSocket, "segments, made anew"},
    {"sk_write_queue", Rule::kSocket, "segments, made anew"},
    {"sk_send_head", Rule::kSocket, "segments, made anew"},
    {"sk_backlog", Rule::kSocket, "memory of segments"},
    {"sk_lock", Rule::kSocket, "lock"},
    {"sk_rcvbuf", Rule::kDerived, "SO_RCVBUF counts in twos", judge_even},
    {"sk_sndbuf", Rule::kDerived, "SO_SNDBUF counts in twos", judge_even},
    {"pinet6", Rule::kSocket, "this socket"},
    {"sk_filter", Rule::kSocket, "SO_ATTACH_FILTER, by which segments are lost"},
    {"sk_drops", Rule::kSocket, "of this host"},
    {"sk_napi_id", Rule::kSocket, "of this host"},
    {"sk_max_ack_backlog", Rule::kSocket, "of the listener it came from"},
    {"mc_ttl", Rule::kSocket, "multicast; set when it was accepted"},
    {"mc_index", Rule::kSocket, "multicast; set when it was accepted"},
    {"inet6.dst_cookie", Rule::kSocket, "route of this host"},
    {"inet6.mcast_hops", Rule::kSocket, "multicast; set when it was accepted"},
    {"inet6.mcast_oif", Rule::kSocket, "multicast; set when it was accepted"},
    {"cork.fl.u.ip6.mp_hash", Rule::kSocket, "route of this host"},
    {"tos", Rule::kDerived, "the ECN field is set with each segment", judge_tos},
    {"rcv_tos", Rule::kNew, "of the last segment"},
    {"gso_segs", Rule::kNew, "found out when the next segments are sent"},
    {"sk_forward_alloc", Rule::kSocket, "memory of segments"},
    {"sk_wmem_queued", Rule::kSocket, "memory of segments"},
    {"sk_wmem_alloc", Rule::kSocket, "memory of segments"},
    {"sk_omem_alloc", Rule::kSocket, "memory"},
    {"sk_frag", Rule::kSocket, "memory"},
    {"sk_rx_dst", Rule::kSocket, "route of this host"},
    {"sk_rx_dst_ifindex", Rule::kSocket, "route of this host"},
    {"sk_rx_dst_cookie", Rule::kSocket, "route of this host"},
    {"sk_dst_cache", Rule::kSocket, "route of this host"},
    {"sk_dst_pending_confirm", Rule::kSocket, "neighbour of this host"},
    {"sk_txhash", Rule::kSocket, "drawn anew"},
    {"sk_socket", Rule::kSocket, "file"},
    {"sk_wq", Rule::kSocket, "file"},
    {"sk_ino", Rule::kSocket, "file"},
    {"sk_tsq_flags", Rule::kSocket, "work put off"},
    {"sk_tx_queue_mapping_jiffies", Rule::kSocket, "of the device"},
    {"icsk_bind_hash", Rule::kSocket, "port in this network namespace"},
    {"icsk_bind2_hash", Rule::kSocket, "port in this network namespace"},
    {"inet_id", Rule::kSocket, "IPv4 identification, drawn anew"},
};

struct StampRow {
  Rule rule;
  bool none;  // 0 stands for none
  bool whole_pause;
  Clock (*clock)(const Witnessed& seen);
};
constexpr StampRow kStamps[] = {
    {Rule::kJiffies, false, false, [](const Witnessed&) { return kJiffiesClock; }},
    {Rule::kJiffiesOrNone, true, false, [](const Witnessed&) { return kJiffiesClock; }},
    {Rule::kTimestampOrNone, true, false, timestamp_clock},
    {Rule::kMillisecondsOrNone, true, false, [](const Witnessed&) { return kMillisecondsClock; }},
    {Rule::kSecondsOrNone, true, true, [](const Witnessed&) { return kSecondsClock; }},
};

bool timer_runs(const Witnessed& seen, const tcp_witness_snapshot& snapshot,
                const std::string& expires) {
  const std::string timer = expires.substr(0, expires.rfind('.'));
  return value_in(seen.layout, snapshot, timer + ".entry.pprev") != 0;
}

std::string judge_by(const Witnessed& seen, const KernelMember& member, const MemberRule* row) {
  const std::uint64_t was = member.value(bytes(seen.was));
  const std::uint64_t is = member.value(bytes(seen.now));
  const Rule rule = row ? row->rule : Rule::kSame;
  for (const StampRow& stamp : kStamps) {
    if (stamp.rule != rule) continue;
    const auto judged = stamp.none ? judge_stamp_or_none : judge_stamp;
    return judged(seen, stamp.clock(seen), stamp.whole_pause ? seen.pause_us : seen.elapsed_us(),
                  static_cast<std::uint32_t>(was), static_cast<std::uint32_t>(is));
  }
  switch (rule) {
    case Rule::kTimer: {
      const bool ran = timer_runs(seen, seen.was, member.path);
      if (ran != timer_runs(seen, seen.now, member.path)) return ran ? "it ran" : "it did not run";
      return ran ? judge_timer(seen, was, is) : "";
    }
    case Rule::kCopy: {
      const auto want =
          static_cast<std::uint32_t>(was + seen.old_value("tsoffset") - seen.new_value("tsoffset"));
      return is == want ? "" : expected(want);
    }
    case Rule::kSeq: {
      const std::uint64_t oldest = seen.old_value("snd_una");
      const bool passed = static_cast<std::int32_t>(was - oldest) < 0;
      return is == (passed ? oldest : was) ? "" : expected(passed ? oldest : was);
    }
    case Rule::kZero:
      return is == 0 ? "" : expected(0);
    case Rule::kDerived:
      return row->check(seen, member);
    case Rule::kNew:
    case Rule::kSocket:
      return {};
    default:
      return is == was ? "" : "expected the same";
  }
}

}  // namespace

std::uint64_t Witnessed::old_value(std::string_view path) const {
  return value_in(layout, was, path);
}

std::uint64_t Witnessed::new_value(std::string_view path) const {
  return value_in(layout, now, path);
}

std::uint64_t Witnessed::elapsed_us() const {
  if (flags & TCP_REPAIR_CB_COUNT_PAUSE) return pause_us;
  return std::min(pause_us, old_value("srtt_us") >> 3);
}

std::span<const MemberRule> member_rules() {
  return kRules;
}

std::span<const char* const> socket_bases() {
  static constexpr std::array kBases = {"tcp", "inet_conn", "icsk_inet", "sk", "__sk_common"};
  return kBases;
}

const MemberRule* rule_of(std::string_view path) {
  const MemberRule* found = nullptr;
  for (const MemberRule& row : kRules) {
    const std::string_view name(row.path);
    if (path.substr(0, name.size()) != name) continue;
    if (path.size() > name.size() && path[name.size()] != '.' && path[name.size()] != '[') continue;
    if (!found || name.size() > std::string_view(found->path).size()) found = &row;
  }
  return found;
}

std::string judge(const Witnessed& seen, const KernelMember& member) {
  const MemberRule* const row = rule_of(member.path);
  const std::string wrong = judge_by(seen, member, row);
  if (wrong.empty()) return {};
  return member.path + ": " + std::to_string(member.value(bytes(seen.now))) + ", was " +
         std::to_string(member.value(bytes(seen.was))) + "; " + wrong;
}

std::vector<std::string> wrong_members(const Witnessed& seen) {
  std::vector<std::string> wrong;
  for (const KernelMember& member : seen.layout.members()) {
    std::string line = judge(seen, member);
    if (!line.empty()) wrong.push_back(std::move(line));
  }
  return wrong;
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/control_block.h"

#include <linux/tcp_repair.h>
#include <string.h>

#include <algorithm>
#include <type_traits>

namespace sockrepair::internal {

namespace {

// A row of the table of members.
struct Field {
  const char* name;
  std::size_t offset;
  std::size_t size;   // of one element, bytes
  std::size_t count;  // elements
};

template <typename Member>
constexpr Field field(const char* name, std::size_t offset) {
  using Element = std::remove_extent_t<Member>;
  return {name, offset, sizeof(Element), sizeof(Member) / sizeof(Element)};
}

#define SOCKREPAIR_FIELD(member) \
  field<decltype(tcp_repair_cb::member)>(#member, offsetof(tcp_repair_cb, member))

// All but what setsockopt(2) is told besides: size, flags, pause, and the reserved bytes.
constexpr Field kFields[] = {
    SOCKREPAIR_FIELD(age_data_rcvd),
    SOCKREPAIR_FIELD(age_ack_rcvd),
    SOCKREPAIR_FIELD(age_data_sent),
    SOCKREPAIR_FIELD(age_ts_recent),
    SOCKREPAIR_FIELD(age_min_rtt),
    SOCKREPAIR_FIELD(age_retrans),
    SOCKREPAIR_FIELD(age_probes),
    SOCKREPAIR_FIELD(age_rto_recovery),
    SOCKREPAIR_FIELD(rto_left),
    SOCKREPAIR_FIELD(delack_left),
    SOCKREPAIR_FIELD(keepalive_left),
    SOCKREPAIR_FIELD(keepalive_time),
    SOCKREPAIR_FIELD(keepalive_intvl),
    SOCKREPAIR_FIELD(bytes_acked),
    SOCKREPAIR_FIELD(bytes_received),
    SOCKREPAIR_FIELD(bytes_sent),
    SOCKREPAIR_FIELD(bytes_retrans),
    SOCKREPAIR_FIELD(busy_time),
    SOCKREPAIR_FIELD(rwnd_limited),
    SOCKREPAIR_FIELD(sndbuf_limited),
    SOCKREPAIR_FIELD(rcv_nxt),
    SOCKREPAIR_FIELD(copied_seq),
    SOCKREPAIR_FIELD(rcv_wup),
    SOCKREPAIR_FIELD(rcv_mwnd_seq),
    SOCKREPAIR_FIELD(snd_una),
    SOCKREPAIR_FIELD(snd_nxt),
    SOCKREPAIR_FIELD(write_seq),
    SOCKREPAIR_FIELD(snd_sml),
    SOCKREPAIR_FIELD(pushed_seq),
    SOCKREPAIR_FIELD(snd_up),
    SOCKREPAIR_FIELD(snd_wl1),
    SOCKREPAIR_FIELD(rtt_seq),
    SOCKREPAIR_FIELD(urg_seq),
    SOCKREPAIR_FIELD(high_seq),
    SOCKREPAIR_FIELD(undo_marker),
    SOCKREPAIR_FIELD(snd_wnd),
    SOCKREPAIR_FIELD(max_window),
    SOCKREPAIR_FIELD(rcv_wnd),
    SOCKREPAIR_FIELD(rcv_ssthresh),
    SOCKREPAIR_FIELD(window_clamp),
    SOCKREPAIR_FIELD(rcvq_space),
    SOCKREPAIR_FIELD(rcv_rtt),
    SOCKREPAIR_FIELD(srtt),
    SOCKREPAIR_FIELD(mdev),
    SOCKREPAIR_FIELD(mdev_max),
    SOCKREPAIR_FIELD(rttvar),
    SOCKREPAIR_FIELD(min_rtt),
    SOCKREPAIR_FIELD(rto),
    SOCKREPAIR_FIELD(snd_cwnd),
    SOCKREPAIR_FIELD(snd_ssthresh),
    SOCKREPAIR_FIELD(cwnd_used),
    SOCKREPAIR_FIELD(prior_ssthresh),
    SOCKREPAIR_FIELD(undo_retrans),
    SOCKREPAIR_FIELD(reordering),
    SOCKREPAIR_FIELD(packets_out),
    SOCKREPAIR_FIELD(sacked_out),
    SOCKREPAIR_FIELD(lost_out),
    SOCKREPAIR_FIELD(retrans_out),
    SOCKREPAIR_FIELD(mss_cache),
    SOCKREPAIR_FIELD(pmtu),
    SOCKREPAIR_FIELD(tsval),
    SOCKREPAIR_FIELD(delta_time),
    SOCKREPAIR_FIELD(ts_recent),
    SOCKREPAIR_FIELD(rcv_rtt_tsecr),
    SOCKREPAIR_FIELD(total_retrans),
    SOCKREPAIR_FIELD(delivered),
    SOCKREPAIR_FIELD(delivered_ce),
    SOCKREPAIR_FIELD(lost),
    SOCKREPAIR_FIELD(segs_in),
    SOCKREPAIR_FIELD(segs_out),
    SOCKREPAIR_FIELD(data_segs_in),
    SOCKREPAIR_FIELD(data_segs_out),
    SOCKREPAIR_FIELD(dsack_dups),
    SOCKREPAIR_FIELD(reord_seen),
    SOCKREPAIR_FIELD(rcv_ooopack),
    SOCKREPAIR_FIELD(total_rto_time),
    SOCKREPAIR_FIELD(plb_rehash),
    SOCKREPAIR_FIELD(received_ce),
    SOCKREPAIR_FIELD(received_ecn_bytes),
    SOCKREPAIR_FIELD(delivered_ecn_bytes),
    SOCKREPAIR_FIELD(ato),
    SOCKREPAIR_FIELD(total_rto),
    SOCKREPAIR_FIELD(total_rto_recoveries),
    SOCKREPAIR_FIELD(timeout_rehash),
    SOCKREPAIR_FIELD(pkts_acked_ewma),
    SOCKREPAIR_FIELD(urg_data),
    SOCKREPAIR_FIELD(advmss),
    SOCKREPAIR_FIELD(rcv_mss),
    SOCKREPAIR_FIELD(last_seg_size),
    SOCKREPAIR_FIELD(state),
    SOCKREPAIR_FIELD(ca_state),
    SOCKREPAIR_FIELD(timer),
    SOCKREPAIR_FIELD(retransmits),
    SOCKREPAIR_FIELD(backoff),
    SOCKREPAIR_FIELD(probes_out),
    SOCKREPAIR_FIELD(keepalive_probes),
    SOCKREPAIR_FIELD(ack_pending),
    SOCKREPAIR_FIELD(ack_quick),
    SOCKREPAIR_FIELD(ack_pingpong),
    SOCKREPAIR_FIELD(ack_retry),
    SOCKREPAIR_FIELD(nonagle),
    SOCKREPAIR_FIELD(scaling_ratio),
    SOCKREPAIR_FIELD(reo_wnd_steps),
    SOCKREPAIR_FIELD(reo_wnd_persist),
    SOCKREPAIR_FIELD(ts_usec),
    SOCKREPAIR_FIELD(ecn_flags),
    SOCKREPAIR_FIELD(syn_ect_snt),
    SOCKREPAIR_FIELD(syn_ect_rcv),
    SOCKREPAIR_FIELD(accecn_fail_mode),
    SOCKREPAIR_FIELD(saw_accecn_opt),
    SOCKREPAIR_FIELD(accecn_opt_demand),
    SOCKREPAIR_FIELD(accecn_minlen),
    SOCKREPAIR_FIELD(est_ecnfield),
    SOCKREPAIR_FIELD(prev_ecnfield),
    SOCKREPAIR_FIELD(received_ce_pending),
    SOCKREPAIR_FIELD(auto_bound),
};

#undef SOCKREPAIR_FIELD

// The reserved bytes, and timewait_left behind them: of TIME_WAIT, which no socket is in.
constexpr std::size_t kReserved = sizeof(tcp_repair_cb) - offsetof(tcp_repair_cb, reserved);
constexpr std::size_t kHead = offsetof(tcp_repair_cb, age_data_rcvd);

// A member that is added to the structure breaks this until it has a row.
constexpr bool has_all_members() {
  std::size_t end = kHead;
  for (const Field& field : kFields) {
    if (field.offset != end) return false;
    end += field.size * field.count;
  }
  return end + kReserved == sizeof(tcp_repair_cb);
}
static_assert(has_all_members());
static_assert(sizeof(tcp_repair_cb) == kControlBlockMin);

std::uint64_t number_at(std::span<const std::uint8_t> block, std::size_t offset, std::size_t size) {
  std::uint64_t number = 0;
  for (std::size_t i = size; i > 0; --i) number = number << 8 | block[offset + i - 1];
  return number;
}

bool is_zero(std::span<const std::uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

bool is_control_block(std::span<const std::uint8_t> block) {
  constexpr std::size_t kAfterSize = offsetof(tcp_repair_cb, flags);
  return number_at(block, offsetof(tcp_repair_cb, size), sizeof(tcp_repair_cb::size)) ==
             block.size() &&
         is_zero(block.subspan(kAfterSize, kHead - kAfterSize)) &&
         is_zero(block.subspan(offsetof(tcp_repair_cb, reserved), kReserved));
}

std::uint8_t control_block_state(std::span<const std::uint8_t> block) {
  return block[offsetof(tcp_repair_cb, state)];
}

std::vector<ControlBlockMember> control_block_members(std::span<const std::uint8_t> block) {
  std::vector<ControlBlockMember> members;
  for (const Field& field : kFields) {
    ControlBlockMember member{field.name, {}};
    for (std::size_t i = 0; i < field.count; ++i)
      member.values.push_back(number_at(block, field.offset + i * field.size, field.size));
    if (field.size < sizeof(std::uint64_t) || member.values.front() != TCP_REPAIR_CB_NONE)
      members.push_back(std::move(member));
  }
  return members;
}

std::span<const std::uint8_t> control_block_rest(std::span<const std::uint8_t> block) {
  return block.subspan(sizeof(tcp_repair_cb));
}

}  // namespace sockrepair::internal

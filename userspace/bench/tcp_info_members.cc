// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_info_members.h"

namespace sockrepair::bench {

namespace {

#define MEMBER(name)                                                            \
  TcpInfoMember {                                                               \
#name, [](const tcp_info& info) { return std::uint64_t{info.tcpi_##name}; } \
  }

// clang-format off
constexpr TcpInfoMember kMembers[] = {
    MEMBER(state), MEMBER(ca_state), MEMBER(retransmits), MEMBER(probes), MEMBER(backoff),
    MEMBER(options), MEMBER(snd_wscale), MEMBER(rcv_wscale), MEMBER(delivery_rate_app_limited),
    MEMBER(fastopen_client_fail),
    MEMBER(rto), MEMBER(ato), MEMBER(snd_mss), MEMBER(rcv_mss),
    MEMBER(unacked), MEMBER(sacked), MEMBER(lost), MEMBER(retrans), MEMBER(fackets),
    MEMBER(pmtu), MEMBER(rcv_ssthresh), MEMBER(rtt), MEMBER(rttvar), MEMBER(snd_ssthresh),
    MEMBER(snd_cwnd), MEMBER(advmss), MEMBER(reordering), MEMBER(rcv_rtt), MEMBER(rcv_space),
    MEMBER(total_retrans),
    MEMBER(pacing_rate), MEMBER(max_pacing_rate), MEMBER(bytes_acked), MEMBER(bytes_received),
    MEMBER(segs_out), MEMBER(segs_in), MEMBER(notsent_bytes), MEMBER(min_rtt),
    MEMBER(data_segs_in), MEMBER(data_segs_out), MEMBER(delivery_rate),
    MEMBER(busy_time), MEMBER(rwnd_limited), MEMBER(sndbuf_limited),
    MEMBER(delivered), MEMBER(delivered_ce), MEMBER(bytes_sent), MEMBER(bytes_retrans),
    MEMBER(dsack_dups), MEMBER(reord_seen), MEMBER(rcv_ooopack), MEMBER(snd_wnd),
};
// clang-format on

#undef MEMBER

}  // namespace

std::span<const TcpInfoMember> tcp_info_members() {
  return kMembers;
}

}  // namespace sockrepair::bench

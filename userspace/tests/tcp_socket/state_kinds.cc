// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_socket/state_kinds.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "sockrepair/syscall.h"
#include "tcp_restore/image.h"
#include "try.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

// More than a segment, and no multiple of one.
const std::string kPeerText(5000, 'p');
const std::string kOurText(4321, 'o');
const std::string kUnsentText(123, 'u');
// More than a receive buffer takes that nobody reads from.
const std::string kMuch(400000, 'm');

// The peer hears nothing until unblock().
Result<void> deaf(const Fd& fd) {
  return block(fd);
}

Result<void> wait_for_bytes(const Fd& fd, std::size_t count) {
  return wait_until(std::to_string(count) + " bytes to be read", Deadline::after(kPatience), [&] {
    Result<int> here = waiting(fd);
    return here && static_cast<std::size_t>(*here) == count;
  });
}

Result<void> cork(const Fd& fd, int on) {
  return sys::setsockopt(fd.get(), IPPROTO_TCP, TCP_CORK, on);
}

// A word in each direction, then our end and the peer's.
Result<void> talk_and_part(Pair& pair) {
  SOCKREPAIR_TRY(say(pair.ours, "how are you"));
  SOCKREPAIR_TRY(hear(pair.peer, "how are you"));
  SOCKREPAIR_TRY(say(pair.peer, "fine"));
  SOCKREPAIR_TRY(hear(pair.ours, "fine"));
  SOCKREPAIR_TRY(sys::shutdown(pair.ours.get(), SHUT_WR));
  SOCKREPAIR_TRY(hear_end(pair.peer));
  SOCKREPAIR_TRY(sys::shutdown(pair.peer.get(), SHUT_WR));
  SOCKREPAIR_TRY(hear_end(pair.ours));
  SOCKREPAIR_TRY(wait_for_state(pair.peer, TcpState::kClose));
  return wait_for_state(pair.ours, TcpState::kClose);
}

Result<void> nothing(Pair&) {
  return {};
}

Result<void> unread(Pair& pair) {
  SOCKREPAIR_TRY(say(pair.peer, kPeerText));
  return wait_for_bytes(pair.ours, kPeerText.size());
}

Result<void> half_read(Pair& pair) {
  SOCKREPAIR_TRY(unread(pair));
  return hear(pair.ours, std::string_view(kPeerText).substr(0, 777));
}

Result<void> finish_half_read(Pair& pair) {
  SOCKREPAIR_TRY(hear(pair.ours, std::string_view(kPeerText).substr(777)));
  return talk_and_part(pair);
}

Result<void> finish_unread(Pair& pair) {
  SOCKREPAIR_TRY(hear(pair.ours, kPeerText));
  return talk_and_part(pair);
}

Result<void> unacknowledged_text(Pair& pair) {
  SOCKREPAIR_TRY(deaf(pair.peer));
  return say(pair.ours, kOurText);
}

Result<void> finish_unacknowledged(Pair& pair) {
  SOCKREPAIR_TRY(unblock(pair.peer));
  SOCKREPAIR_TRY(hear(pair.peer, kOurText));
  return talk_and_part(pair);
}

// Everything: not read, not acknowledged, not sent.
Result<void> all_queues(Pair& pair) {
  SOCKREPAIR_TRY(unread(pair));
  SOCKREPAIR_TRY(unacknowledged_text(pair));
  SOCKREPAIR_TRY(cork(pair.ours, 1));
  return say(pair.ours, kUnsentText);
}

Result<void> finish_all_queues(Pair& pair) {
  SOCKREPAIR_TRY(unblock(pair.peer));
  SOCKREPAIR_TRY(hear(pair.ours, kPeerText));
  SOCKREPAIR_TRY(hear(pair.peer, kOurText));
  SOCKREPAIR_TRY(cork(pair.ours, 0));
  SOCKREPAIR_TRY(hear(pair.peer, kUnsentText));
  return talk_and_part(pair);
}

Result<void> unsent_only(Pair& pair) {
  SOCKREPAIR_TRY(cork(pair.ours, 1));
  return say(pair.ours, kUnsentText);
}

Result<void> finish_unsent_only(Pair& pair) {
  SOCKREPAIR_TRY(cork(pair.ours, 0));
  SOCKREPAIR_TRY(hear(pair.peer, kUnsentText));
  return talk_and_part(pair);
}

Result<void> no_reading(Pair& pair) {
  return sys::shutdown(pair.ours.get(), SHUT_RD);
}

Result<void> finish_no_reading(Pair& pair) {
  SOCKREPAIR_TRY(hear_end(pair.ours));
  SOCKREPAIR_TRY(say(pair.ours, "still here"));
  return hear(pair.peer, "still here");
}

// --- closed by the peer ---

Result<void> closed_by_peer(Pair& pair) {
  SOCKREPAIR_TRY(say(pair.peer, kPeerText));
  SOCKREPAIR_TRY(sys::shutdown(pair.peer.get(), SHUT_WR));
  return wait_for_state(pair.ours, TcpState::kCloseWait);
}

Result<void> answer_and_part(Pair& pair) {
  SOCKREPAIR_TRY(hear_end(pair.ours));
  SOCKREPAIR_TRY(say(pair.ours, "answer"));
  SOCKREPAIR_TRY(sys::shutdown(pair.ours.get(), SHUT_WR));
  SOCKREPAIR_TRY(hear(pair.peer, "answer"));
  SOCKREPAIR_TRY(hear_end(pair.peer));
  return wait_for_state(pair.ours, TcpState::kClose);
}

Result<void> finish_closed_by_peer(Pair& pair) {
  SOCKREPAIR_TRY(hear(pair.ours, kPeerText));
  return answer_and_part(pair);
}

Result<void> end_was_read(Pair& pair) {
  SOCKREPAIR_TRY(closed_by_peer(pair));
  SOCKREPAIR_TRY(hear(pair.ours, kPeerText));
  return hear_end(pair.ours);
}

Result<void> close_wait_unsent(Pair& pair) {
  SOCKREPAIR_TRY(closed_by_peer(pair));
  return unsent_only(pair);
}

Result<void> finish_close_wait_unsent(Pair& pair) {
  SOCKREPAIR_TRY(cork(pair.ours, 0));
  SOCKREPAIR_TRY(hear(pair.peer, kUnsentText));
  return finish_closed_by_peer(pair);
}

Result<void> last_ack(Pair& pair) {
  SOCKREPAIR_TRY(closed_by_peer(pair));
  SOCKREPAIR_TRY(deaf(pair.peer));
  SOCKREPAIR_TRY(say(pair.ours, kOurText));
  return sys::shutdown(pair.ours.get(), SHUT_WR);
}

Result<void> finish_last_ack(Pair& pair) {
  SOCKREPAIR_TRY(unblock(pair.peer));
  SOCKREPAIR_TRY(hear(pair.ours, kPeerText));
  SOCKREPAIR_TRY(hear_end(pair.ours));
  SOCKREPAIR_TRY(hear(pair.peer, kOurText));
  SOCKREPAIR_TRY(hear_end(pair.peer));
  return wait_for_state(pair.ours, TcpState::kClose);
}

// --- closed by us ---

Result<void> fin_wait1(Pair& pair) {
  SOCKREPAIR_TRY(unacknowledged_text(pair));
  return sys::shutdown(pair.ours.get(), SHUT_WR);
}

// The peer answers and parts when it has heard the end.
Result<void> be_answered(Pair& pair) {
  SOCKREPAIR_TRY(hear_end(pair.peer));
  SOCKREPAIR_TRY(wait_for_state(pair.ours, TcpState::kFinWait2));
  SOCKREPAIR_TRY(say(pair.peer, "answer"));
  SOCKREPAIR_TRY(hear(pair.ours, "answer"));
  SOCKREPAIR_TRY(sys::shutdown(pair.peer.get(), SHUT_WR));
  SOCKREPAIR_TRY(hear_end(pair.ours));
  SOCKREPAIR_TRY(wait_for_state(pair.peer, TcpState::kClose));
  return wait_for_state(pair.ours, TcpState::kClose);
}

Result<void> finish_fin_wait1(Pair& pair) {
  SOCKREPAIR_TRY(unblock(pair.peer));
  SOCKREPAIR_TRY(hear(pair.peer, kOurText));
  return be_answered(pair);
}

// The peer has no room for what is ahead of the FIN.
Result<void> fin_unsent(Pair& pair) {
  SOCKREPAIR_TRY(sys::setsockopt(pair.ours.get(), SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20));
  SOCKREPAIR_TRY(say(pair.ours, kMuch));
  SOCKREPAIR_TRY(sys::shutdown(pair.ours.get(), SHUT_WR));
  return wait_until("the window is full", Deadline::after(kPatience), [&] {
    tcp_info info{};
    return sys::getsockopt_bytes(pair.ours.get(), IPPROTO_TCP, TCP_INFO, &info, sizeof(info))
               .ok() &&
           info.tcpi_unacked == 0 && info.tcpi_notsent_bytes != 0;
  });
}

Result<void> finish_fin_unsent(Pair& pair) {
  SOCKREPAIR_TRY(hear(pair.peer, kMuch));
  return be_answered(pair);
}

Result<void> fin_wait2(Pair& pair) {
  SOCKREPAIR_TRY(unread(pair));
  SOCKREPAIR_TRY(sys::shutdown(pair.ours.get(), SHUT_WR));
  return wait_for_state(pair.ours, TcpState::kFinWait2);
}

Result<void> finish_fin_wait2(Pair& pair) {
  SOCKREPAIR_TRY(hear(pair.ours, kPeerText));
  return be_answered(pair);
}

Result<void> closing(Pair& pair) {
  SOCKREPAIR_TRY(fin_wait1(pair));
  SOCKREPAIR_TRY(say(pair.peer, kPeerText));
  SOCKREPAIR_TRY(sys::shutdown(pair.peer.get(), SHUT_WR));
  return wait_for_state(pair.ours, TcpState::kClosing);
}

Result<void> finish_closing(Pair& pair) {
  SOCKREPAIR_TRY(unblock(pair.peer));
  SOCKREPAIR_TRY(hear(pair.ours, kPeerText));
  SOCKREPAIR_TRY(hear_end(pair.ours));
  SOCKREPAIR_TRY(hear(pair.peer, kOurText));
  SOCKREPAIR_TRY(hear_end(pair.peer));
  SOCKREPAIR_TRY(wait_for_state(pair.peer, TcpState::kClose));
  return wait_for_state(pair.ours, TcpState::kClose);
}

}  // namespace

std::vector<StateKind> state_kinds() {
  using enum TcpState;
  return {
      {"idle", kEstablished, nothing, talk_and_part},
      {"unread", kEstablished, unread, finish_unread},
      {"half_read", kEstablished, half_read, finish_half_read},
      {"unacknowledged", kEstablished, unacknowledged_text, finish_unacknowledged},
      {"unsent", kEstablished, unsent_only, finish_unsent_only},
      {"all_queues", kEstablished, all_queues, finish_all_queues},
      {"no_reading", kEstablished, no_reading, finish_no_reading},
      {"close_wait", kCloseWait, closed_by_peer, finish_closed_by_peer},
      {"close_wait_end_read", kCloseWait, end_was_read, answer_and_part},
      {"close_wait_unsent", kCloseWait, close_wait_unsent, finish_close_wait_unsent},
      {"last_ack", kLastAck, last_ack, finish_last_ack},
      {"fin_wait1", kFinWait1, fin_wait1, finish_fin_wait1},
      {"fin_wait1_unsent", kFinWait1, fin_unsent, finish_fin_unsent},
      {"fin_wait2", kFinWait2, fin_wait2, finish_fin_wait2},
      {"closing", kClosing, closing, finish_closing},
  };
}

}  // namespace sockrepair::test

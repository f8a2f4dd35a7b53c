// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_check.h"

#include <errno.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include "inet_socket.h"
#include "option_codec.h"
#include "tcp_ao.h"
#include "tcp_repair_calls.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

// The smallest segment and the largest scale that a connection can have, as the kernel bounds them.
constexpr std::uint32_t kSmallestSegment = 88;
constexpr std::uint8_t kLargestScale = 14;
// No queue is larger: comparisons of sequence numbers have a sign.
constexpr std::size_t kLargestQueue = std::size_t{1} << 30;
// Microseconds that are not too many nanoseconds for the kernel.
constexpr std::uint64_t kLongestPause = std::numeric_limits<std::int64_t>::max() / 1000;

std::uint32_t largest_window(std::uint8_t scale) {
  return std::uint32_t{UINT16_MAX} << scale;
}

Result<void> at_most(const std::string& member, std::uint64_t value, std::uint64_t limit) {
  if (value <= limit) return {};
  return refuse(EINVAL, member,
                std::to_string(value) + ", must be " + std::to_string(limit) + " at most");
}

// A sequence number that is one in a value and another one in its control block.
struct Agreement {
  const char* member;
  std::uint32_t value;
  std::uint32_t control_block;
};

Result<void> check_agreement(const Agreement& row) {
  if (row.value == row.control_block) return {};
  return refuse(
      EINVAL, std::string("connection, ") + row.member,
      std::to_string(row.value) + ", the control block says " + std::to_string(row.control_block));
}

Result<void> check_control_block(const TcpSocket& socket) {
  const TcpConnection& connection = *socket.connection;
  const TcpConnection::Bytes& bytes = *connection.control_block;
  if (bytes.size() < TCP_REPAIR_CB_SIZE_VER0)
    return refuse(EINVAL, "connection, control_block",
                  std::to_string(bytes.size()) + " bytes, must be " +
                      std::to_string(TCP_REPAIR_CB_SIZE_VER0) + " at least");
  tcp_repair_cb block{};
  memcpy(&block, bytes.data(), sizeof(block));
  if (block.size != bytes.size())
    return refuse(
        EINVAL, "connection, control_block, size",
        std::to_string(block.size) + ", there are " + std::to_string(bytes.size()) + " bytes");
  if (block.state != static_cast<std::uint8_t>(socket.state))
    return refuse(EINVAL, "connection, control_block, state",
                  tcp_state_name(static_cast<TcpState>(block.state)) + ", the socket is " +
                      tcp_state_name(socket.state));
  const TcpExtent extent = extent_of(block);
  const Agreement rows[] = {
      {"rcv_seq", connection.rcv_seq, extent.receive_end()},
      {"snd_seq", connection.snd_seq, extent.send_end()},
      {"receive_queue, bytes", static_cast<std::uint32_t>(connection.receive_queue.size()),
       extent.received()},
      {"send_queue, bytes", static_cast<std::uint32_t>(connection.send_queue.size()),
       extent.queued()},
      {"unsent", connection.unsent, extent.unsent()},
  };
  for (const Agreement& row : rows) SOCKREPAIR_TRY(check_agreement(row));
  return {};
}

// As the kernel series bounds struct tcp_repair_window; without it nobody else does.
Result<void> check_window(const TcpConnection& connection) {
  const TcpWindow& window = connection.window;
  const TcpScales scales = connection.scales.value_or(TcpScales{});
  const std::uint32_t rcv_max = largest_window(scales.rcv);
  // What was received is the highest sequence number that an update can have been sent with; a FIN
  // comes after it.
  const std::uint32_t rcv_end = connection.rcv_seq + 1;
  SOCKREPAIR_TRY(
      at_most("connection, window, max_window", window.max_window, largest_window(scales.snd)));
  SOCKREPAIR_TRY(at_most("connection, window, snd_wnd", window.snd_wnd, window.max_window));
  SOCKREPAIR_TRY(at_most("connection, window, rcv_wnd", window.rcv_wnd, rcv_max));
  SOCKREPAIR_TRY(at_most("connection, window, rcv_wup, bytes before rcv_seq",
                         rcv_end - window.rcv_wup, std::uint64_t{rcv_max} + 1));
  const std::uint32_t lag = largest_window(kLargestScale);
  return at_most("connection, window, snd_wl1, bytes after the oldest one that can be",
                 window.snd_wl1 - (rcv_end - lag), std::uint64_t{lag} + window.rcv_wnd + 1);
}

Result<void> check_connection(const TcpSocket& socket) {
  const TcpConnection& connection = *socket.connection;
  if (connection.mss_clamp < kSmallestSegment)
    return refuse(EINVAL, "connection, mss_clamp",
                  std::to_string(connection.mss_clamp) + ", must be " +
                      std::to_string(kSmallestSegment) + " at least");
  if (connection.scales) {
    SOCKREPAIR_TRY(at_most("connection, scales, snd", connection.scales->snd, kLargestScale));
    SOCKREPAIR_TRY(at_most("connection, scales, rcv", connection.scales->rcv, kLargestScale));
  }
  SOCKREPAIR_TRY(
      at_most("connection, receive_queue, bytes", connection.receive_queue.size(), kLargestQueue));
  SOCKREPAIR_TRY(
      at_most("connection, send_queue, bytes", connection.send_queue.size(), kLargestQueue));
  SOCKREPAIR_TRY(at_most("connection, unsent", connection.unsent, connection.send_queue.size()));
  SOCKREPAIR_TRY(check_window(connection));
  if (connection.control_block) return check_control_block(socket);
  if (is_closing(socket.state))
    return refuse(EINVAL, "connection, control_block",
                  "missing, must be there in state " + tcp_state_name(socket.state));
  if (connection.urgent_mark)
    return refuse(EINVAL, "connection, urgent_mark",
                  std::to_string(*connection.urgent_mark) +
                      ", must be empty without a control "
                      "block");
  return {};
}

// What goes with which state.
Result<void> check_state(const TcpSocket& socket) {
  const std::string state = tcp_state_name(socket.state);
  const bool connected = is_connected(socket.state);
  const bool known = connected || socket.state == TcpState::kClose ||
                     socket.state == TcpState::kListen || socket.state == TcpState::kSynSent;
  if (!known) return refuse(EINVAL, "state", state + ", must be one that a descriptor can have");

  const bool to_somebody = connected || socket.state == TcpState::kSynSent;
  if (socket.peer.has_value() != to_somebody)
    return refuse(EINVAL, "peer",
                  (socket.peer ? "there" : "missing") + std::string(", the state is ") + state);
  if (socket.connection.has_value() != connected)
    return refuse(
        EINVAL, "connection",
        (socket.connection ? "there" : "missing") + std::string(", the state is ") + state);
  if (socket.syn_sequence && socket.state != TcpState::kSynSent)
    return refuse(EINVAL, "syn_sequence", "there, the state is " + state);
  if (socket.state == TcpState::kListen) {
    SOCKREPAIR_TRY(at_most("backlog", socket.backlog, INT32_MAX));
    if (!socket.local || socket.local->port == 0)
      return refuse(EINVAL, "local", "no port, a listener has one");
  } else if (socket.backlog != 0 || socket.accept_queue != 0) {
    return refuse(EINVAL, "backlog, accept_queue", "not 0, the state is " + state);
  }
  if (socket.send_shutdown && socket.state != TcpState::kClose)
    return refuse(EINVAL, "send_shutdown", "true, the state is " + state);
  if (socket.receive_shutdown && !connected && socket.state != TcpState::kClose)
    return refuse(EINVAL, "receive_shutdown", "true, the state is " + state);
  return {};
}

}  // namespace

Result<void> check_tcp_socket(const TcpSocket& socket) {
  if (socket.domain != AF_INET && socket.domain != AF_INET6)
    return refuse(EAFNOSUPPORT, "domain",
                  std::to_string(socket.domain) + ", must be AF_INET or AF_INET6");
  SOCKREPAIR_TRY(check_state(socket));
  SOCKREPAIR_TRY(check_names({.domain = socket.domain,
                              .local = socket.local,
                              .peer = socket.peer,
                              .peer_flowinfo = socket.peer_flowinfo,
                              .address_chosen = socket.address_chosen}));
  if (socket.peer && socket.peer->port == 0) return refuse(EINVAL, "peer", "no port");
  SOCKREPAIR_TRY(check_interfaces(socket.interfaces));
  SOCKREPAIR_TRY(check_option_values(socket.options));
  if (socket.connection) SOCKREPAIR_TRY(check_connection(socket));
  if (!socket.ao) return {};
  return check_tcp_ao(*socket.ao, socket.domain,
                      socket.connection ? &socket.peer->address : nullptr);
}

Result<void> check_tcp_restore_options(const TcpRestoreOptions& options) {
  if (options.pause)
    SOCKREPAIR_TRY(at_most("TcpRestoreOptions::pause", *options.pause, kLongestPause));
  for (const AddressRewrite& row : options.rewrites) {
    if (row.from.family() != row.to.family())
      return refuse(
          EINVAL, "TcpRestoreOptions::rewrites",
          row.from.to_string() + " to " + row.to.to_string() + ", must be of the same family");
    for (const AddressRewrite& other : options.rewrites)
      if (&other != &row && other.from == row.from)
        return refuse(EINVAL, "TcpRestoreOptions::rewrites", row.from.to_string() + " twice");
  }
  return {};
}

}  // namespace sockrepair::internal

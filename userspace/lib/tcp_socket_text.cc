// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <netinet/in.h>
#include <sys/socket.h>

#include "sockrepair/tcp_socket.h"

namespace sockrepair {

namespace {

struct StateRow {
  TcpState state;
  const char* name;
  bool connected;
  bool closing;
};
constexpr StateRow kStates[] = {
    {TcpState::kEstablished, "ESTABLISHED", true, false},
    {TcpState::kSynSent, "SYN_SENT", false, false},
    {TcpState::kFinWait1, "FIN_WAIT1", true, true},
    {TcpState::kFinWait2, "FIN_WAIT2", true, true},
    {TcpState::kClose, "CLOSE", false, false},
    {TcpState::kCloseWait, "CLOSE_WAIT", true, true},
    {TcpState::kLastAck, "LAST_ACK", true, true},
    {TcpState::kListen, "LISTEN", false, false},
    {TcpState::kClosing, "CLOSING", true, true},
};

const StateRow* find_state(TcpState state) {
  for (const StateRow& row : kStates)
    if (row.state == state) return &row;
  return nullptr;
}

std::string line(const std::string& name, const std::string& value) {
  return name + ": " + value + "\n";
}

std::string choice_text(const std::optional<bool>& chosen) {
  if (!chosen) return "not known";
  return *chosen ? "yes" : "no";
}

std::string identity_text(const TcpSocket& socket) {
  std::string text = line("domain", socket.domain == AF_INET ? "AF_INET" : "AF_INET6");
  if (socket.cookie != 0) text += line("cookie", std::to_string(socket.cookie));
  if (socket.inode != 0) text += line("inode", std::to_string(socket.inode));
  if (socket.netns_cookie != 0) text += line("netns_cookie", std::to_string(socket.netns_cookie));
  return text;
}

std::string names_text(const TcpSocket& socket) {
  std::string text = line("local", socket.local ? socket.local->to_string() : "unbound");
  if (socket.local) {
    text += line("address_chosen", choice_text(socket.address_chosen));
    text += line("port_chosen", choice_text(socket.port_chosen));
  }
  if (socket.peer) text += line("peer", socket.peer->to_string());
  if (socket.peer_flowinfo != 0)
    text += line("peer_flowinfo", std::to_string(socket.peer_flowinfo));
  if (socket.reuseport_rank) text += line("reuseport_rank", std::to_string(*socket.reuseport_rank));
  return text;
}

std::string state_text(const TcpSocket& socket) {
  std::string text = line("state", tcp_state_name(socket.state));
  if (socket.state == TcpState::kListen) {
    text += line("backlog", std::to_string(socket.backlog));
    if (socket.accept_queue != 0)
      text += line("accept_queue", std::to_string(socket.accept_queue) + " connections");
  }
  if (socket.syn_sequence) text += line("syn_sequence", std::to_string(*socket.syn_sequence));
  if (socket.nonblocking) text += line("nonblocking", "yes");
  if (socket.receive_shutdown)
    text += line("shutdown", socket.send_shutdown ? "both directions" : "receiving");
  if (socket.pending_error) text += line("pending_error", errno_text(*socket.pending_error));
  return text;
}

std::string agreement_text(const TcpConnection& connection) {
  std::string text = "mss " + std::to_string(connection.mss_clamp);
  if (connection.scales)
    text += ", window scales " + std::to_string(connection.scales->snd) + " and " +
            std::to_string(connection.scales->rcv);
  if (connection.sack) text += ", sack";
  if (connection.timestamps)
    text += std::string(", timestamps in ") + ((connection.timestamp & 1) != 0 ? "us" : "ms");
  return text;
}

std::string queue_text(const TcpConnection& connection) {
  std::string text = std::to_string(connection.send_queue.size()) + " bytes up to " +
                     std::to_string(connection.snd_seq);
  if (connection.unsent != 0)
    text += ", of which " + std::to_string(connection.unsent) + " were not sent";
  return text;
}

std::string connection_text(const TcpConnection& connection) {
  const TcpWindow& window = connection.window;
  std::string text = line("agreed on", agreement_text(connection));
  text += line("receive_queue", std::to_string(connection.receive_queue.size()) + " bytes up to " +
                                    std::to_string(connection.rcv_seq));
  text += line("send_queue", queue_text(connection));
  if (connection.urgent_mark)
    text += line("urgent_mark", "at byte " + std::to_string(*connection.urgent_mark));
  text += line("window to send", std::to_string(window.snd_wnd) + " bytes, at most " +
                                     std::to_string(window.max_window));
  text += line("window to receive",
               std::to_string(window.rcv_wnd) + " bytes from " + std::to_string(window.rcv_wup));
  text += line("control_block", connection.control_block
                                    ? std::to_string(connection.control_block->size()) + " bytes"
                                    : "none");
  return text;
}

// Never the bytes of a key.
std::string ao_text(const TcpAo& ao) {
  const TcpAoCounters& counters = ao.counters;
  std::string text = line("ao", std::to_string(ao.keys.size()) + " keys" +
                                    (ao.required ? ", signatures are required" : "") +
                                    (ao.accept_icmps ? ", ICMP errors are accepted" : ""));
  for (const TcpAoKey& key : ao.keys)
    text += line("ao key " + key.name(),
                 std::to_string(key.key.size()) + " bytes, signatures of " +
                     std::to_string(key.maclen) + " bytes" +
                     (key.exclude_options ? " without options" : "") +
                     (key.ifindex ? ", interface " + std::to_string(*key.ifindex) : "") +
                     (key.current ? ", current" : "") + (key.next ? ", next" : ""));
  if (ao.sequence)
    text += line("ao sequence", "sent from " + std::to_string(ao.sequence->snt_isn) + ", " +
                                    std::to_string(ao.sequence->snd_sne) +
                                    " times around; received from " +
                                    std::to_string(ao.sequence->rcv_isn) + ", " +
                                    std::to_string(ao.sequence->rcv_sne) + " times around");
  return text + line("ao segments", std::to_string(counters.good) + " good, " +
                                        std::to_string(counters.bad) + " bad, " +
                                        std::to_string(counters.key_not_found) + " of no key, " +
                                        std::to_string(counters.required) + " not signed");
}

}  // namespace

std::string tcp_state_name(TcpState state) {
  const StateRow* row = find_state(state);
  return row != nullptr ? row->name : "state " + std::to_string(static_cast<int>(state));
}

bool is_connected(TcpState state) {
  const StateRow* row = find_state(state);
  return row != nullptr && row->connected;
}

bool is_closing(TcpState state) {
  const StateRow* row = find_state(state);
  return row != nullptr && row->closing;
}

const char* tcp_method_name(TcpMethod method) {
  switch (method) {
    case TcpMethod::kNone:
      return "none";
    case TcpMethod::kControlBlock:
      return "control block";
    case TcpMethod::kPlain:
      return "plain";
  }
  return "?";
}

std::string TcpSocket::describe() const {
  std::string text = identity_text(*this) + names_text(*this) + state_text(*this);
  for (const OptionValue& option : options) text += line("option", option.describe());
  for (const InterfaceName& row : interfaces)
    text += line("interface " + std::to_string(row.index), row.name);
  if (connection) text += connection_text(*connection);
  if (ao) text += ao_text(*ao);
  for (const Loss& loss : losses) text += line("loss", loss.describe());
  for (const sockrepair::SocketOption& row : socket_options())
    if (row.reading == OptionReading::kHidden && row.tcp_moment != OptionMoment::kNever &&
        (!row.ipv6_only || domain == AF_INET6))
      text += line("not told by the kernel", row.full_name());
  return text;
}

TcpSocket without_connection(const TcpSocket& socket) {
  if (!is_connected(socket.state) && socket.state != TcpState::kSynSent) return socket;
  TcpSocket over = socket;
  over.state = TcpState::kClose;
  over.peer.reset();
  over.peer_flowinfo = 0;
  over.connection.reset();
  if (over.ao) over.ao->sequence.reset();
  over.syn_sequence.reset();
  over.receive_shutdown = over.send_shutdown = true;
  // What the end of the connection has taken away again.
  if (over.local && over.address_chosen == false)
    over.local->address = IpAddress::any(socket.domain == AF_INET ? Family::kIpv4 : Family::kIpv6);
  if (over.local && over.port_chosen == false) over.local->port = 0;
  if (over.local && over.local->port == 0 && over.address_chosen == false) over.local.reset();
  return over;
}

}  // namespace sockrepair

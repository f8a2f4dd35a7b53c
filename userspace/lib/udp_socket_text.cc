// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <sys/socket.h>

#include "sockrepair/udp_socket.h"

namespace sockrepair {

namespace {

std::string line(const std::string& name, const std::string& value) {
  return name + ": " + value + "\n";
}

std::string choice_text(const std::optional<bool>& chosen) {
  if (!chosen) return "not known";
  return *chosen ? "yes" : "no";
}

std::string shutdown_text(const UdpSocket& socket) {
  if (socket.receive_shutdown && socket.send_shutdown) return "both directions";
  return socket.receive_shutdown ? "receiving" : "sending";
}

std::size_t payload_bytes(const ReceiveQueue& queue) {
  std::size_t bytes = 0;
  for (const ReceivedDatagram& datagram : queue.datagrams) bytes += datagram.payload.size();
  return bytes;
}

std::string identity_text(const UdpSocket& socket) {
  std::string text = line("domain", socket.domain == AF_INET ? "AF_INET" : "AF_INET6");
  if (socket.cookie != 0) text += line("cookie", std::to_string(socket.cookie));
  if (socket.inode != 0) text += line("inode", std::to_string(socket.inode));
  if (socket.netns_cookie != 0) text += line("netns_cookie", std::to_string(socket.netns_cookie));
  return text;
}

std::string names_text(const UdpSocket& socket) {
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

std::string state_text(const UdpSocket& socket) {
  std::string text;
  if (socket.nonblocking) text += line("nonblocking", "yes");
  if (socket.receive_shutdown || socket.send_shutdown)
    text += line("shutdown", shutdown_text(socket));
  if (socket.pending_error) text += line("pending_error", errno_text(*socket.pending_error));
  return text;
}

std::string queues_text(const UdpSocket& socket) {
  std::string text;
  if (socket.send_queue) {
    text += line("send_queue",
                 std::to_string(socket.send_queue->payload.size()) + " bytes under construction");
  }
  const ReceiveQueue& received = socket.receive_queue;
  if (!received.datagrams.empty()) {
    text += line("receive_queue", std::to_string(received.datagrams.size()) + " datagrams, " +
                                      std::to_string(payload_bytes(received)) + " bytes");
  }
  return text;
}

}  // namespace

std::string Membership::describe() const {
  std::string text = group.to_string() + " on interface " + std::to_string(ifindex);
  if (exclude && sources.empty()) return text;
  text += exclude ? ", from all but" : ", from";
  for (const IpAddress& source : sources) text += " " + source.to_string();
  return text;
}

std::string UdpSocket::describe() const {
  std::string text = identity_text(*this) + names_text(*this) + state_text(*this);
  for (const OptionValue& option : options) text += line("option", option.describe());
  for (const Membership& membership : memberships)
    text += line("membership", membership.describe());
  for (const InterfaceName& row : interfaces)
    text += line("interface " + std::to_string(row.index), row.name);
  text += queues_text(*this);
  for (const Loss& loss : losses) text += line("loss", loss.describe());
  for (const sockrepair::SocketOption& row : socket_options())
    if (row.reading == OptionReading::kHidden && row.moment != OptionMoment::kNever &&
        (!row.ipv6_only || domain == AF_INET6))
      text += line("not told by the kernel", row.full_name());
  return text;
}

}  // namespace sockrepair

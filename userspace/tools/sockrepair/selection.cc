// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "selection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>

#include "hand_over.h"
#include "losses.h"
#include "sockrepair/syscall.h"
#include "try.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace sockrepair::tool {

namespace {

// A row of the table of sockets that are taken.
struct ProtocolRow {
  int type;
  int number;
  Protocol protocol;
};
constexpr ProtocolRow kProtocols[] = {
    {SOCK_DGRAM, IPPROTO_UDP, Protocol::kUdp},
    {SOCK_STREAM, IPPROTO_TCP, Protocol::kTcp},
    // For the library to refuse by its name.
    {SOCK_STREAM, IPPROTO_MPTCP, Protocol::kTcp},
};

std::optional<Protocol> protocol_of(const Fd& fd) {
  Result<int> domain = sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_DOMAIN);
  if (!domain || (*domain != AF_INET && *domain != AF_INET6)) return std::nullopt;
  Result<int> type = sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_TYPE);
  Result<int> number = sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_PROTOCOL);
  if (!type || !number) return std::nullopt;
  for (const ProtocolRow& row : kProtocols)
    if (row.type == *type && row.number == *number) return row.protocol;
  return std::nullopt;
}

TcpState state_of(const Fd& fd) {
  // MPTCP does not tell, and is not asked any further.
  Result<std::uint8_t> state = sys::getsockopt<std::uint8_t>(fd.get(), IPPROTO_TCP, TCP_INFO);
  return state ? static_cast<TcpState>(*state) : TcpState::kEstablished;
}

std::optional<Endpoint> local_of(const Fd& fd) {
  Result<SocketAddress> address = sys::getsockname(fd.get());
  if (!address) return std::nullopt;
  Result<Endpoint> endpoint = address->endpoint();
  return endpoint ? std::optional(*endpoint) : std::nullopt;
}

std::optional<Endpoint> peer_of(const Fd& fd) {
  SocketAddress address;
  if (::getpeername(fd.get(), address.mutable_get(), address.mutable_size()) != 0)
    return std::nullopt;
  Result<Endpoint> endpoint = address.endpoint();
  return endpoint ? std::optional(*endpoint) : std::nullopt;
}

bool matches_one(const std::vector<AddressFilter>& filters,
                 const std::optional<Endpoint>& endpoint) {
  return filters.empty() ||
         std::any_of(filters.begin(), filters.end(),
                     [&](const AddressFilter& filter) { return filter.matches(endpoint); });
}

bool is_wanted(const Selection& selection, const Candidate& candidate) {
  if (!(candidate.protocol == Protocol::kUdp ? selection.udp : selection.tcp)) return false;
  if (selection.which == Which::kConnectionsOnly && !candidate.is_connection()) return false;
  return matches_one(selection.local, candidate.local) &&
         matches_one(selection.peer, candidate.peer);
}

bool has_number(const HeldSocket& socket, int number) {
  return std::find(socket.numbers.begin(), socket.numbers.end(), number) != socket.numbers.end();
}

}  // namespace

Result<AddressFilter> AddressFilter::parse(const std::string& text) {
  const Error wrong{EINVAL, "'" + text + "' is no ADDRESS, ADDRESS:PORT or :PORT"};
  std::string address = text;
  std::optional<std::string> port;
  if (text.starts_with('[')) {
    std::size_t end = text.find(']');
    if (end == std::string::npos) return wrong;
    address = text.substr(1, end - 1);
    std::string rest = text.substr(end + 1);
    if (!rest.empty() && rest[0] != ':') return wrong;
    if (!rest.empty()) port = rest.substr(1);
  } else if (std::count(text.begin(), text.end(), ':') == 1) {
    std::size_t colon = text.find(':');
    address = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  AddressFilter filter;
  if (port) {
    std::uint16_t number = 0;
    auto [end, error] = std::from_chars(port->data(), port->data() + port->size(), number);
    if (error != std::errc() || end != port->data() + port->size() || port->empty()) return wrong;
    filter.port_ = number;
  }
  if (!address.empty() || !port) {
    Result<IpAddress> parsed = IpAddress::parse(address);
    if (!parsed) return wrong;
    filter.address_ = *parsed;
  }
  return filter;
}

bool AddressFilter::matches(const std::optional<Endpoint>& endpoint) const {
  if (!endpoint) return false;
  return (!address_ || *address_ == endpoint->address) && (!port_ || *port_ == endpoint->port);
}

Result<AddressRewrite> parse_rewrite(const std::string& text) {
  const Error wrong{EINVAL, "'" + text + "' is no OLD=NEW, two addresses of one family"};
  std::size_t at = text.find('=');
  if (at == std::string::npos) return wrong;
  Result<IpAddress> from = IpAddress::parse(text.substr(0, at));
  Result<IpAddress> to = IpAddress::parse(text.substr(at + 1));
  if (!from || !to || from->family() != to->family()) return wrong;
  return AddressRewrite{*from, *to};
}

bool matches_filters(const Selection& selection, const Endpoint& local, const Endpoint& peer) {
  return matches_one(selection.local, local) && matches_one(selection.peer, peer);
}

bool Candidate::is_at(const Endpoint& endpoint) const {
  if (protocol != Protocol::kTcp || !local || local->port != endpoint.port) return false;
  if (!local->address.is_any()) return local->address == endpoint.address;
  // One of IPv6 is for both.
  return local->address.family() == Family::kIpv6 || endpoint.address.family() == Family::kIpv4;
}

std::string Candidate::subject() const {
  return numbers_text(held.numbers);
}

Result<std::vector<Candidate>> select_sockets(const Process& process, const Selection& selection) {
  SOCKREPAIR_TRY_ASSIGN(std::vector<HeldSocket> all, process.sockets());
  for (int number : selection.numbers) {
    auto has_it = [number](const HeldSocket& s) { return has_number(s, number); };
    if (std::none_of(all.begin(), all.end(), has_it))
      return Error{EBADF, "--fd " + std::to_string(number) + ": the process has no such socket"};
  }
  SOCKREPAIR_TRY(make_room(STDERR_FILENO, all.size()));
  std::vector<Candidate> chosen;
  for (HeldSocket& held : all) {
    auto is_asked_for = [&](int number) { return has_number(held, number); };
    const bool by_number =
        std::any_of(selection.numbers.begin(), selection.numbers.end(), is_asked_for);
    if (!selection.numbers.empty() && !by_number) continue;
    Candidate candidate;
    SOCKREPAIR_TRY_ASSIGN(candidate.fd, process.take(held.numbers.front()));
    std::optional<Protocol> protocol = protocol_of(candidate.fd);
    if (!protocol) {
      if (!by_number) continue;
      return Error{EPROTONOSUPPORT,
                   numbers_text(held.numbers) + ": neither a UDP nor a TCP socket"};
    }
    candidate.held = std::move(held);
    candidate.protocol = *protocol;
    if (*protocol == Protocol::kTcp) candidate.state = state_of(candidate.fd);
    candidate.local = local_of(candidate.fd);
    candidate.peer = peer_of(candidate.fd);
    if (is_wanted(selection, candidate)) chosen.push_back(std::move(candidate));
  }
  return chosen;
}

}  // namespace sockrepair::tool

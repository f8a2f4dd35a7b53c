// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TOOLS_SELECTION_H_
#define SOCKREPAIR_TOOLS_SELECTION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/process.h"
#include "sockrepair/result.h"
#include "sockrepair/tcp_socket.h"

// Which sockets of a process are taken, and what they are.
namespace sockrepair::tool {

enum class Which : std::uint8_t {
  kAll,
  kListenOnly,       // connections are left behind, and appear closed
  kConnectionsOnly,  // TCP connections, and nothing else
};

// An address, a port, or both. A value.
class AddressFilter {
 public:
  // "192.0.2.1", "192.0.2.1:80", ":80", "2001:db8::1", "[2001:db8::1]:80". EINVAL: none of these.
  static Result<AddressFilter> parse(const std::string& text);

  // An IPv4-mapped address is the IPv4 one. Nothing does not match.
  bool matches(const std::optional<Endpoint>& endpoint) const;

 private:
  std::optional<IpAddress> address_;
  std::optional<std::uint16_t> port_;
};

// "OLD=NEW", two addresses of one family.
Result<AddressRewrite> parse_rewrite(const std::string& text);

struct Selection {
  std::vector<int> numbers;  // of --fd; empty: every one
  bool udp = true;
  bool tcp = true;
  Which which = Which::kAll;
  // A socket has to match one of each kind of which there are any.
  std::vector<AddressFilter> local;
  std::vector<AddressFilter> peer;
};

enum class Protocol : std::uint8_t { kUdp, kTcp };

// A socket that is taken.
struct Candidate {
  HeldSocket held;
  Fd fd;  // of our own
  Protocol protocol = Protocol::kUdp;
  TcpState state = TcpState::kClose;  // kTcp
  std::optional<Endpoint> local;
  std::optional<Endpoint> peer;  // not in SYN_SENT, which does not tell

  // Whether it is a TCP socket on this address and port, as a wildcard, too: whose connection one
  // from there is or was.
  bool is_at(const Endpoint& endpoint) const;
  bool is_connection() const { return protocol == Protocol::kTcp && is_connected(state); }
  // Whether segments for it may be on their way: the answer to its SYN, too.
  bool may_have_segments() const {
    return is_connection() || (protocol == Protocol::kTcp && state == TcpState::kSynSent);
  }
  // As numbers_text().
  std::string subject() const;
};

// Whether a connection with these names has one of each kind of filter that there is.
bool matches_filters(const Selection& selection, const Endpoint& local, const Endpoint& peer);

// The sockets of `process`, which is stopped, that `selection` is for, by their lowest number. Only
// UDP and TCP sockets over IPv4 and IPv6 are; another one that --fd names is EPROTONOSUPPORT, a
// number that is no socket's EBADF.
Result<std::vector<Candidate>> select_sockets(const Process& process, const Selection& selection);

}  // namespace sockrepair::tool

#endif  // SOCKREPAIR_TOOLS_SELECTION_H_

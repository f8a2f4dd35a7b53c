// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_INET_SOCKET_H_
#define SOCKREPAIR_LIB_INET_SOCKET_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/loss.h"
#include "sockrepair/result.h"
#include "sockrepair/socket_options.h"

// What UDP and TCP sockets have in common: who they are, what they are called, how they are bound.
namespace sockrepair::internal {

// --- dump ---

// What identifies a socket, and its descriptor's flags.
struct Identity {
  std::uint64_t cookie = 0;
  std::uint64_t inode = 0;
  std::uint64_t netns_cookie = 0;
  bool nonblocking = false;
  bool async = false;  // O_ASYNC
};
Result<Identity> read_identity(int fd);

// getsockname(2) and getpeername(2).
struct Names {
  std::optional<Endpoint> local;  // empty: unbound
  std::optional<Endpoint> peer;   // empty: not connected
  std::uint32_t peer_flowinfo = 0;
};
Result<Names> read_names(int fd, int domain);

// Whether binding to this address is no choice.
bool is_default_wildcard(const IpAddress& address, int domain);

// Whether the address of a socket was chosen by its program, as far as it can be concluded.
std::optional<bool> address_choice(int domain, const Endpoint& local, bool connected, bool v6only);

// The ports that the kernel gives to sockets whose program did not choose one, in the network
// namespace of the calling thread.
struct PortRange {
  std::uint32_t low = 0;
  std::uint32_t high = 0;

  bool contains(std::uint16_t port) const { return low <= port && port <= high; }
};
std::optional<PortRange> read_port_range();

// What poll(2) says now, of POLLIN and POLLRDHUP and what it always says.
short poll_now(int fd);

// Takes all entries off the error queue; how many there were.
Result<std::size_t> drain_error_queue(int fd);

// Adds interface `index` of the namespace of the socket `fd` to `names`, unless it is there, is 0
// or is gone.
void add_interface(int fd, std::uint32_t index, std::vector<InterfaceName>& names);
// The interfaces that values of options refer to.
void add_interfaces_of(int fd, std::span<const OptionValue> options,
                       std::vector<InterfaceName>& names);

// The int that an option has; 0 for one that is not there.
int number_of(std::span<const OptionValue> values, int level, int name);

Loss loss_of(const char* subject, std::string what);
void append(std::vector<Loss>& to, std::vector<Loss> more);

// --- checks ---

// An Error of a member of a value.
Error refuse(int code, const std::string& member, const std::string& why);

bool family_fits(const IpAddress& address, int domain);

// Everything about the names of a value that can be said without the kernel.
struct NamesCheck {
  int domain = 0;
  const std::optional<Endpoint>& local;
  const std::optional<Endpoint>& peer;
  std::uint32_t peer_flowinfo = 0;
  std::optional<bool> address_chosen;
};
Result<void> check_names(const NamesCheck& names);
Result<void> check_interfaces(std::span<const InterfaceName> interfaces);

// --- restore ---

// bind(2), with an error that says what `local` needs.
Result<void> bind_to(int fd, int domain, const Endpoint& local);
// An address and no port: what is left of bind(2) to port 0 after a disconnect.
Result<void> bind_without_port(int fd, int domain, const Endpoint& local);
// Has the kernel choose the port of `local` by itself, from a range of one, so that it is not the
// program's choice. Nothing, or why it does not.
Result<std::optional<std::string>> bind_given_port(int fd, int domain, const Endpoint& local);

// Where connect(2) of a socket of `domain` goes.
SocketAddress peer_address(const Endpoint& peer, int domain, std::uint32_t flowinfo);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_INET_SOCKET_H_

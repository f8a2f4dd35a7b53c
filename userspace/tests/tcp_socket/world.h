// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_SOCKET_WORLD_H_
#define SOCKREPAIR_TESTS_TCP_SOCKET_WORLD_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "sockrepair/tcp_socket.h"
#include "util/two_hosts.h"

// Connections between a host that stays and one whose sockets are moved to another host.
//
//      peer                        ours                        elsewhere
//    +----------+               +----------+                 +----------+
//    |  wire0   |---------------|  wire0   |  ==> moved to   |  wire0   |
//    | 10.0.0.1 |               | 10.0.0.2 |                 | 10.0.0.2 |
//    +----------+               +----------+                 +----------+
//
//   ASSERT_OK_AND_ASSIGN(World world, World::create());
//   ASSERT_OK_AND_ASSIGN(Pair pair, world.connect(kFamilies[0], Opener::kPeer));
//   ... dump pair.ours, close it ...
//   ASSERT_THAT(world.move(), IsOk());
//   pair.ours = ... restored in world.ours() ...
//   ASSERT_THAT(world.let_pass(), IsOk());
namespace sockrepair::test {

// How the socket that is moved sees its address.
struct FamilyKind {
  const char* name;
  int domain;     // of our socket
  Family family;  // of the segments
};
inline constexpr FamilyKind kFamilies[] = {{"v4", AF_INET, Family::kIpv4},
                                           {"v6", AF_INET6, Family::kIpv6},
                                           {"mapped", AF_INET6, Family::kIpv4}};

enum class Opener {
  kPeer,  // ours is accepted
  kOurs,  // ours has called connect(2), without bind(2)
};

struct Pair {
  Fd ours;
  Fd peer;
};

class World {
 public:
  static Result<World> create();

  const NetNs& peer() const { return hosts_.sender; }
  const NetNs& ours() const { return hosts_.receiver; }

  // What is done to the listener and to the socket that connects before they do; `ours` says whose
  // it is.
  using Prepare = std::function<Result<void>(const Fd& fd, bool ours)>;
  // A connection that nobody else's port is needed for. The listener is gone afterwards.
  Result<Pair> connect(const FamilyKind& family, Opener opener, const Prepare& prepare = {});
  // A socket of our host.
  Result<Fd> socket(int domain) const;

  // Our address, and one that nothing was bound to before.
  Endpoint our_endpoint(const FamilyKind& family);

  // From here on nothing that the peer sends arrives.
  Result<void> cut();
  // Cuts, and makes ours() another host with the same addresses.
  Result<void> move();
  // What the peer sends arrives again.
  Result<void> let_pass();

  // How many resets both hosts have sent since create() or move().
  Result<std::uint64_t> resets() const;
  // How many segments with TCP-AO signatures, or without that should have one, both hosts have
  // dropped since.
  Result<std::uint64_t> unverified() const;
  // How many segments our host has sent.
  Result<std::uint64_t> segments_sent() const;

 private:
  explicit World(TwoHosts hosts) : hosts_(std::move(hosts)) {}

  TwoHosts hosts_;
  std::uint16_t port_ = 5000;
};

// Sends all of it, receives all of it and no more, or end of file; within kPatience.
Result<void> say(const Fd& fd, std::string_view text);
Result<void> hear(const Fd& fd, std::string_view text);
Result<void> hear_end(const Fd& fd);

// Bytes that wait to be read (SIOCINQ), that are not acknowledged (SIOCOUTQ).
Result<int> waiting(const Fd& fd);
Result<int> unacknowledged(const Fd& fd);

Result<TcpState> state_of(const Fd& fd);
Result<void> wait_for_state(const Fd& fd, TcpState state);

// Whether the running kernel has TCP_REPAIR_CB.
bool has_control_block();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_SOCKET_WORLD_H_

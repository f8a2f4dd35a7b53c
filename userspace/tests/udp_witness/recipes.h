// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_WITNESS_RECIPES_H_
#define SOCKREPAIR_TESTS_UDP_WITNESS_RECIPES_H_

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/net_ns.h"
#include "util/send.h"

// The datagrams that the witness looks at: recipes to begin them, in a network of their own.
//
//   ASSERT_OK_AND_ASSIGN(UnderConstruction original, begin(peer, recipe));
//   witness.look(original.fd->get());
namespace sockrepair::test {

inline constexpr std::uint16_t kWitnessPort = 4000;  // that the sockets are bound to
inline constexpr std::uint32_t kSecondInterface = 11;

// The network of all sockets here, made once. Its interfaces lead nowhere, so that the datagrams
// stay under construction.
const Result<NetNs>& witness_network();

// A UDP socket in that network.
Result<Fd> new_socket(int domain);

// Whom a socket sends to, and with which protocol.
struct Peer {
  const char* name;
  int domain;
  Family family;
  const char* address;

  friend void PrintTo(const Peer& peer, std::ostream* out) { *out << peer.name; }
};

inline constexpr Peer kPeers[] = {
    {"v4", AF_INET, Family::kIpv4, "192.0.2.2"},
    {"v6", AF_INET6, Family::kIpv6, "2001:db8:1::2"},
    {"mapped", AF_INET6, Family::kIpv4, "192.0.2.2"},
};

// How a datagram is begun.
struct Recipe {
  const char* name;
  // The fields of the witness that this is about: they must not be 0, or a comparison would show
  // nothing.
  std::vector<std::string> sets_v4 = {};
  std::vector<std::string> sets_v6 = {};
  // Options of the socket, also of the one that the datagram is restored on.
  std::vector<SocketOption> (*options)(Family family) = nullptr;
  // The same, but only of the socket it is begun on.
  std::vector<SocketOption> (*own_options)(Family family) = nullptr;
  // Control messages of the send that begins it.
  std::vector<SocketOption> (*control)(Family family) = nullptr;
  int flags = 0;
  // Whole datagrams sent before, each of which takes a number for time stamps.
  int sent_before = 0;
  // Bytes of each send.
  std::vector<std::size_t> appends = {100};
  Transfer transfer = Transfer::kCopied;
  bool cork_option = false;  // UDP_CORK, else MSG_MORE
  bool connected = false;
  // Instead of the peer's address.
  const char* to_v4 = nullptr;
  const char* to_v6 = nullptr;
  std::uint32_t scope = 0;
  // The only family for which this makes sense.
  std::optional<Family> only = std::nullopt;

  // The original is in memory as a restored one will be: appended at once and copied.
  bool is_one_copy() const { return appends.size() == 1 && transfer == Transfer::kCopied; }
};

const std::vector<Recipe>& recipes();
// The simplest one, and one that has all that can be had at once.
const Recipe& plain_recipe();
const Recipe& rich_recipe();

// A peer and a recipe that fit together.
struct WitnessCase {
  std::string name;
  const Peer* peer;
  const Recipe* recipe;

  friend void PrintTo(const WitnessCase& param, std::ostream* out) { *out << param.name; }
};
std::vector<WitnessCase> witness_cases();

// A socket bound to `port` with the options that the recipe asks for, to be restored on. Owned by
// the program, and open until its end: a socket gives its references to a route back some time
// after it was closed, from RCU, and another test would see them change.
Result<const Fd*> make_socket(const Peer& peer, const Recipe& recipe,
                              std::uint16_t port = kWitnessPort);

struct UnderConstruction {
  const Fd* fd;  // as make_socket()
  // What was sent so far, in memory that zerocopy may refer to as long as this object is there.
  std::vector<std::uint8_t> payload;
};

// A datagram begun by the recipe.
Result<UnderConstruction> begin(const Peer& peer, const Recipe& recipe);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_WITNESS_RECIPES_H_

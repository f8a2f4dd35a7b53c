// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_SITUATIONS_H_
#define SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_SITUATIONS_H_

#include <cstdint>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "tcp_restore/stream.h"
#include "util/two_hosts.h"

// Connections that have something in their control block, each of another kind. They run over a
// cable with a round trip of 10 ms; the receiver's end is the one that is moved.
//
//      hosts.sender               hosts.receiver           a new hosts.receiver
//    +--------------+            +--------------+            +--------------+
//    |    client    |------------|    server    |   ====>    |    server    |
//    +--------------+            +--------------+            +--------------+
namespace sockrepair::test {

struct World {
  TwoHosts hosts;
  int domain;
  Fd client;
  Fd server;
  Stream up;    // client to server
  Stream down;  // server to client

  bool client_is_deaf = false;
  std::string netem = "loss 0%";  // what the cable does to what the client's host sends

  // Has everything that comes to the client's socket lost, or nothing any more.
  Result<void> deafen_client(bool on);
  // Has everything that one of the hosts sends lost, or no longer. While the server is moved the
  // client's host is silent, or the new one would answer for a socket that it has not got yet:
  // tools use a firewall for it.
  Result<void> silence_client(bool on) const;
  Result<void> silence_server(bool on) const;
};

// What of the kernel's memory of the original says that the situation is there, so that no case
// passes without having been one.
using Evidence = std::vector<std::pair<const char*, std::function<bool(std::uint64_t)>>>;

struct Situation {
  std::string name;
  int domain;
  // net.ipv4. of both hosts; the host that it moves to has the kernel's own.
  std::vector<std::pair<const char*, const char*>> sysctls;
  std::string netem;  // of the client's end of the cable, beside its delay
  // From the connection that has learned something to what is wanted.
  Result<void> (*prepare)(World& world);
  Evidence evidence;
  std::uint32_t flags = 0;
  std::uint64_t pause_us = 0;
  Result<void> (*before_data)(World& world) = nullptr;

  friend void PrintTo(const Situation& param, std::ostream* out) { *out << param.name; }
};
const std::vector<Situation>& situations();

// A new connection over a cable without delay.
Result<World> make_plain_world(int domain);

// The connection, in the situation.
Result<World> make_world(const Situation& situation);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_TCP_CONTROL_BLOCK_SITUATIONS_H_

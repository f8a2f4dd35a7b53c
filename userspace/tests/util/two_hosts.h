// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_TWO_HOSTS_H_
#define SOCKREPAIR_TESTS_UTIL_TWO_HOSTS_H_

#include <string>

#include "sockrepair/address.h"
#include "sockrepair/result.h"
#include "util/net_ns.h"

namespace sockrepair::test {

// Two hosts, each a network namespace, joined by a cable (a veth pair):
//
//      sender                                receiver
//    +---------------------+               +---------------------+
//    | wire0 10.0.0.1/24   |---------------| wire0 10.0.0.2/24   |
//    |       fd00::1/64    |               |       fd00::2/64    |
//    |       fe80::1/64    |               |       fe80::2/64    |
//    +---------------------+               +---------------------+
//
//   Result<TwoHosts> hosts = TwoHosts::create({.mtu = 1280});
//   hosts->sender.run(...); hosts->receiver.run(...);
//
// Any two objects made with the same options are alike to the last detail, MAC addresses and
// interface indices included: what leaves one host leaves its twin as the same bytes. Neighbours
// are static and duplicate address detection is off, so that everything works once create()
// returns and nothing else is on the cable. Each host also has a default route by the other. The
// cable does not segment UDP for the host: every frame seen is one that a wire would see.
struct TwoHosts {
  struct Options {
    int mtu = 1500;
    // The flow label that the kernel makes up has a per-socket secret in it when the socket is
    // connected: no two sockets have the same. Off unless a test is about it.
    bool auto_flow_labels = false;
  };

  static Result<TwoHosts> create(const Options& options);
  static Result<TwoHosts> create() { return create(Options{}); }

  // Takes the cable out of the receiver and plugs it into a new host with the same addresses, as a
  // migration does. Sockets of the old receiver stay where they are, without a network. The new
  // one has the kernel's own sysctls.
  Result<void> replace_receiver(const Options& options);
  Result<void> replace_receiver() { return replace_receiver(Options{}); }

  NetNs sender;
  NetNs receiver;
};

// The same in both hosts.
inline constexpr char kWire[] = "wire0";
inline constexpr unsigned kWireIndex = 2;

// Addresses as in the picture.
IpAddress sender_address(Family family);
IpAddress receiver_address(Family family);
IpAddress sender_link_local();
IpAddress receiver_link_local();

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_TWO_HOSTS_H_

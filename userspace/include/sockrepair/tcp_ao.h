// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TCP_AO_H_
#define SOCKREPAIR_TCP_AO_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/export.h"

// What a TCP socket has of the TCP Authentication Option (RFC 5925): the keys by which segments are
// signed, and the numbers that go into the signatures.
//
// These values hold SECRETS: the kernel gives the bytes of the keys to every program that has the
// socket, and who has them can forge segments. Nothing here prints them; an image has them as they
// are (Documentation/image.md). The memory that held them is not wiped.
//
// Values, filled by dump_tcp_socket() and set by restore_tcp_socket(), see tcp_socket.h. Linux 6.7
// with CONFIG_TCP_AO has it.
namespace SOCKREPAIR_EXPORT sockrepair {

// One key (master key tuple), as TCP_AO_GET_KEYS tells it and TCP_AO_ADD_KEY takes it.
struct TcpAoKey {
  using Bytes = std::vector<std::uint8_t>;

  // Of which peers it is: their first `prefix` bits are those of `address`, whose others are 0. 0
  // to 32 for an IPv4 address, to 128 for an IPv6 one; 0, with the wildcard, is every peer. An IPv4
  // address on an AF_INET6 socket stands for the IPv4-mapped one, and has at least 1 bit.
  IpAddress address;
  std::uint8_t prefix = 0;
  // Of peers in the VRF of this interface; 0: in the default one. Empty: wherever they are.
  std::optional<std::uint32_t> ifindex;

  std::uint8_t sndid = 0;   // KeyID of segments that are sent
  std::uint8_t rcvid = 0;   // KeyID of segments that arrive
  std::uint8_t maclen = 0;  // bytes of signature in a segment, 1 to 16
  // TCP options but this one are not signed (TCP_AO_KEYF_EXCLUDE_OPT).
  bool exclude_options = false;

  // As the kernel calls it: "hmac(sha1)", "hmac(sha256)", "cmac(aes)"; 1 to 63 bytes.
  std::string algorithm;
  Bytes key;  // at most 80 bytes. SECRET

  // Segments are sent with this key (Current_key), or the peer is asked to send with it
  // (RNext_key).
  bool current = false;
  bool next = false;

  // Segments that were verified with it, and that were not what it says. No call sets them.
  std::uint64_t good = 0;
  std::uint64_t bad = 0;

  bool operator==(const TcpAoKey&) const = default;

  // "100:101 of 192.0.2.0/24, hmac(sha1)": the identifiers, never the key.
  std::string name() const;
  // Whether it is a key for this peer. The VRF is not looked at.
  bool covers(const IpAddress& peer) const;
};

// Segments that were not to be taken for granted, of the whole socket. A value.
struct TcpAoCounters {
  std::uint64_t good = 0;           // verified
  std::uint64_t bad = 0;            // signed with something else, and dropped
  std::uint64_t key_not_found = 0;  // dropped, no key has that KeyID
  std::uint64_t required = 0;       // dropped, not signed at all
  std::uint64_t dropped_icmp = 0;   // ICMP errors that were ignored

  bool operator==(const TcpAoCounters&) const = default;
};

// What the signatures of a connection are made with besides the keys; struct tcp_ao_repair. A
// value.
struct TcpAoSequence {
  // Initial sequence numbers, of the two SYNs; host byte order.
  std::uint32_t snt_isn = 0;
  std::uint32_t rcv_isn = 0;
  // How often the sequence number has wrapped: of the oldest byte that is not acknowledged, of the
  // next one to be received.
  std::uint32_t snd_sne = 0;
  std::uint32_t rcv_sne = 0;

  bool operator==(const TcpAoSequence&) const = default;
};

// All of it.
struct TcpAo {
  // In the order in which they are to be added. At most one has `current`, and one `next`; of a
  // connection exactly one each, and every key covers the peer. May be empty without a connection.
  std::vector<TcpAoKey> keys;
  bool required = false;      // connections without signatures are refused
  bool accept_icmps = false;  // ICMP errors can end the connection
  TcpAoCounters counters;
  // There if and only if there is a connection.
  std::optional<TcpAoSequence> sequence;

  bool operator==(const TcpAo&) const = default;
};

}  // namespace sockrepair

#endif  // SOCKREPAIR_TCP_AO_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_ao.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "inet_socket.h"
#include "option_codec.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair {

namespace {

// The bits of byte `index` of an address that are among its first `prefix` ones.
std::uint8_t mask_of(std::size_t index, std::size_t prefix) {
  const std::size_t bits = prefix > 8 * index ? std::min<std::size_t>(prefix - 8 * index, 8) : 0;
  return static_cast<std::uint8_t>(0xff00U >> bits);
}

bool has_bits_after(const IpAddress& address, std::size_t prefix) {
  for (std::size_t i = 0; i < address.size(); ++i)
    if ((address.data()[i] & ~mask_of(i, prefix)) != 0) return true;
  return false;
}

unsigned bits_of(const IpAddress& address) {
  return static_cast<unsigned>(8 * address.size());
}

}  // namespace

std::string TcpAoKey::name() const {
  return std::to_string(sndid) + ":" + std::to_string(rcvid) + " of " + address.to_string() + "/" +
         std::to_string(prefix) + ", " + algorithm;
}

bool TcpAoKey::covers(const IpAddress& peer) const {
  if (peer.family() != address.family()) return false;
  for (std::size_t i = 0; i < address.size(); ++i)
    if (((peer.data()[i] ^ address.data()[i]) & mask_of(i, prefix)) != 0) return false;
  return true;
}

namespace internal {

namespace {

// <linux/tcp.h> of the build host may not have these.
constexpr std::size_t kAlgorithmSize = 64;
constexpr std::size_t kKeyMax = 80;
constexpr std::uint8_t kKeyInterface = 1;       // TCP_AO_KEYF_IFINDEX
constexpr std::uint8_t kKeyExcludeOptions = 2;  // TCP_AO_KEYF_EXCLUDE_OPT

// struct tcp_ao_add
struct AddedKey {
  sockaddr_storage addr;
  char alg_name[kAlgorithmSize];
  std::int32_t ifindex;
  std::uint32_t set_current : 1, set_rnext : 1, reserved : 30;
  std::uint16_t reserved2;
  std::uint8_t prefix, sndid, rcvid, maclen, keyflags, keylen;
  std::uint8_t key[kKeyMax];
} __attribute__((aligned(8)));
static_assert(sizeof(AddedKey) == 288);

// struct tcp_ao_getsockopt
struct ToldKey {
  sockaddr_storage addr;
  char alg_name[kAlgorithmSize];
  std::uint8_t key[kKeyMax];
  std::uint32_t nkeys;
  std::uint16_t is_current : 1, is_rnext : 1, get_all : 1, reserved : 13;
  std::uint8_t sndid, rcvid, prefix, maclen, keyflags, keylen;
  std::int32_t ifindex;
  std::uint64_t pkt_good, pkt_bad;
} __attribute__((aligned(8)));
static_assert(sizeof(ToldKey) == 304);

// struct tcp_ao_info_opt
struct Info {
  std::uint32_t set_current : 1, set_rnext : 1, ao_required : 1, set_counters : 1, accept_icmps : 1,
      reserved : 27;
  std::uint16_t reserved2;
  std::uint8_t current_key, rnext;
  std::uint64_t pkt_good, pkt_bad, pkt_key_not_found, pkt_ao_required, pkt_dropped_icmp;
} __attribute__((aligned(8)));
static_assert(sizeof(Info) == 48);

// struct tcp_ao_repair
struct Sequence {
  std::uint32_t snt_isn, rcv_isn;  // network byte order
  std::uint32_t snd_sne, rcv_sne;
} __attribute__((aligned(8)));
static_assert(sizeof(Sequence) == 16);

// How many are asked for at first.
constexpr std::uint32_t kKeysGuess = 16;
constexpr std::uint8_t kMacMin = 1;
constexpr std::uint8_t kMacMax = 16;

Result<TcpAoKey> key_of(const ToldKey& told) {
  TcpAoKey key;
  SocketAddress address;
  memcpy(address.mutable_get(), &told.addr, sizeof(told.addr));
  SOCKREPAIR_TRY_ASSIGN(Endpoint peer, address.endpoint());
  key.address = peer.address;
  key.prefix = told.prefix;
  if ((told.keyflags & kKeyInterface) != 0) key.ifindex = static_cast<std::uint32_t>(told.ifindex);
  key.sndid = told.sndid;
  key.rcvid = told.rcvid;
  key.maclen = told.maclen;
  key.exclude_options = (told.keyflags & kKeyExcludeOptions) != 0;
  key.algorithm.assign(told.alg_name, strnlen(told.alg_name, sizeof(told.alg_name)));
  key.key.assign(told.key, told.key + std::min<std::size_t>(told.keylen, sizeof(told.key)));
  key.current = told.is_current != 0;
  key.next = told.is_rnext != 0;
  key.good = told.pkt_good;
  key.bad = told.pkt_bad;
  if ((told.keyflags & ~(kKeyInterface | kKeyExcludeOptions)) != 0 || told.keylen > kKeyMax)
    return refuse(EOPNOTSUPP, "TCP_AO_GET_KEYS",
                  "key " + key.name() + ", flags " + std::to_string(told.keyflags) + ", " +
                      std::to_string(told.keylen) + " bytes, cannot be carried");
  return key;
}

// The kernel has the one that was added last in front.
Result<std::vector<TcpAoKey>> read_keys(int fd) {
  std::vector<ToldKey> told(kKeysGuess);
  for (;;) {
    told[0] = ToldKey{};
    told[0].nkeys = static_cast<std::uint32_t>(told.size());
    told[0].get_all = 1;
    // The length is that of one; how many there is room for is in the first.
    SOCKREPAIR_TRY(
        sys::getsockopt_bytes(fd, SOL_TCP, TCP_AO_GET_KEYS, told.data(), sizeof(told[0])));
    const std::uint32_t there = told[0].nkeys;
    if (there <= told.size()) {
      told.resize(there);
      break;
    }
    told.assign(there, ToldKey{});
  }
  std::vector<TcpAoKey> keys;
  for (auto one = told.rbegin(); one != told.rend(); ++one) {
    SOCKREPAIR_TRY_ASSIGN(TcpAoKey key, key_of(*one));
    keys.push_back(std::move(key));
  }
  return keys;
}

Result<AddedKey> added_key(int fd, int domain, const TcpAoKey& key,
                           std::span<const InterfaceName> interfaces) {
  AddedKey added{};
  // The wildcard is of the socket's own family.
  const SocketAddress address({key.address, 0, 0}, domain);
  memcpy(&added.addr, address.get(), address.size());
  memcpy(added.alg_name, key.algorithm.data(), key.algorithm.size());
  if (key.ifindex) {
    added.keyflags |= kKeyInterface;
    SOCKREPAIR_TRY_ASSIGN(std::uint32_t index, translated_interface(fd, *key.ifindex, interfaces));
    added.ifindex = static_cast<std::int32_t>(index);
  }
  if (key.exclude_options) added.keyflags |= kKeyExcludeOptions;
  added.set_current = key.current ? 1 : 0;
  added.set_rnext = key.next ? 1 : 0;
  added.prefix = key.prefix;
  added.sndid = key.sndid;
  added.rcvid = key.rcvid;
  added.maclen = key.maclen;
  added.keylen = static_cast<std::uint8_t>(key.key.size());
  memcpy(added.key, key.key.data(), key.key.size());
  return added;
}

Error no_tcp_ao() {
  return refuse(EOPNOTSUPP, "ao", "TCP-AO keys, this kernel has no CONFIG_TCP_AO");
}

// What errno of TCP_AO_ADD_KEY says about a key.
struct Need {
  int code;
  const char* text;
};
constexpr Need kNeeds[] = {
    {ENOENT, "the algorithm, which this kernel does not have"},
    {EEXIST, "identifiers that no other key for the same peers has"},
    {ENOMEM, "more of net.core.optmem_max"},
    {EMSGSIZE, "a shorter maclen"},
    {EKEYREJECTED, "a socket without TCP-MD5 keys for the same peers"},
};

Error refused_key(const TcpAoKey& key, const Error& error) {
  std::string needs;
  for (const Need& row : kNeeds)
    if (row.code == error.code) needs = std::string(", needs ") + row.text;
  return refuse(error.code, "ao, key " + key.name(), "refused by TCP_AO_ADD_KEY" + needs);
}

std::string member(std::size_t index, const char* name) {
  return "ao, keys " + std::to_string(index) + ", " + name;
}

Result<void> in_range(const std::string& name, std::uint64_t value, std::uint64_t min,
                      std::uint64_t max) {
  if (min <= value && value <= max) return {};
  return refuse(
      EINVAL, name,
      std::to_string(value) + ", must be " + std::to_string(min) + " to " + std::to_string(max));
}

Result<void> check_key(const TcpAoKey& key, std::size_t index, int domain, const IpAddress* peer) {
  if (!family_fits(key.address, domain))
    return refuse(EINVAL, member(index, "address"), "IPv6, must be IPv4 on an AF_INET socket");
  const bool mapped = domain == AF_INET6 && key.address.family() == Family::kIpv4;
  SOCKREPAIR_TRY(
      in_range(member(index, "prefix"), key.prefix, mapped ? 1 : 0, bits_of(key.address)));
  const std::string text = key.address.to_string() + "/" + std::to_string(key.prefix);
  if (has_bits_after(key.address, key.prefix))
    return refuse(EINVAL, member(index, "address"), text + ", must be 0 after the prefix");
  if (key.prefix != 0 && key.address.is_any())
    return refuse(EINVAL, member(index, "prefix"), text + ", must be 0 with the wildcard");
  if (peer != nullptr && !key.covers(*peer))
    return refuse(EINVAL, member(index, "address"), text + ", must cover " + peer->to_string());
  if (key.ifindex) SOCKREPAIR_TRY(in_range(member(index, "ifindex"), *key.ifindex, 0, INT32_MAX));
  SOCKREPAIR_TRY(in_range(member(index, "maclen"), key.maclen, kMacMin, kMacMax));
  SOCKREPAIR_TRY(
      in_range(member(index, "algorithm, bytes"), key.algorithm.size(), 1, kAlgorithmSize - 1));
  if (key.algorithm.find('\0') != std::string::npos)
    return refuse(EINVAL, member(index, "algorithm"), "must not contain a NUL");
  return in_range(member(index, "key, bytes"), key.key.size(), 0, kKeyMax);
}

// How many keys have the mark, of which there can be one.
struct Mark {
  bool TcpAoKey::*member;
  const char* name;
};
constexpr Mark kMarks[] = {{&TcpAoKey::current, "current"}, {&TcpAoKey::next, "next"}};

}  // namespace

Result<std::optional<TcpAo>> read_tcp_ao(int fd) {
  Result<Info> info = sys::getsockopt<Info>(fd, SOL_TCP, TCP_AO_INFO);
  // The socket has none; the kernel has none.
  if (!info && (info.error().code == ENOENT || info.error().code == ENOPROTOOPT))
    return std::optional<TcpAo>();
  if (!info) return info.error();
  TcpAo ao;
  ao.required = info->ao_required != 0;
  ao.accept_icmps = info->accept_icmps != 0;
  ao.counters = {.good = info->pkt_good,
                 .bad = info->pkt_bad,
                 .key_not_found = info->pkt_key_not_found,
                 .required = info->pkt_ao_required,
                 .dropped_icmp = info->pkt_dropped_icmp};
  SOCKREPAIR_TRY_ASSIGN(ao.keys, read_keys(fd));
  return std::optional<TcpAo>(std::move(ao));
}

Result<TcpAoSequence> read_tcp_ao_sequence(int fd) {
  SOCKREPAIR_TRY_ASSIGN(auto told, sys::getsockopt<Sequence>(fd, SOL_TCP, TCP_AO_REPAIR));
  return TcpAoSequence{.snt_isn = ntohl(told.snt_isn),
                       .rcv_isn = ntohl(told.rcv_isn),
                       .snd_sne = told.snd_sne,
                       .rcv_sne = told.rcv_sne};
}

Result<void> write_tcp_ao_sequence(int fd, const TcpAoSequence& sequence) {
  const Sequence told{.snt_isn = htonl(sequence.snt_isn),
                      .rcv_isn = htonl(sequence.rcv_isn),
                      .snd_sne = sequence.snd_sne,
                      .rcv_sne = sequence.rcv_sne};
  return sys::setsockopt(fd, SOL_TCP, TCP_AO_REPAIR, told);
}

Result<void> add_tcp_ao_keys(int fd, int domain, std::span<const TcpAoKey> keys,
                             std::span<const InterfaceName> interfaces) {
  for (const TcpAoKey& key : keys) {
    Result<AddedKey> added = added_key(fd, domain, key, interfaces);
    if (!added) return refuse(added.error().code, "ao, key " + key.name(), added.error().what);
    Result<void> set = sys::setsockopt(fd, SOL_TCP, TCP_AO_ADD_KEY, *added);
    if (set) continue;
    return set.error().code == ENOPROTOOPT ? no_tcp_ao() : refused_key(key, set.error());
  }
  return {};
}

Result<void> write_tcp_ao_info(int fd, const TcpAo& ao) {
  Info info{};
  info.ao_required = ao.required ? 1 : 0;
  info.accept_icmps = ao.accept_icmps ? 1 : 0;
  info.set_counters = 1;
  info.pkt_good = ao.counters.good;
  info.pkt_bad = ao.counters.bad;
  info.pkt_key_not_found = ao.counters.key_not_found;
  info.pkt_ao_required = ao.counters.required;
  info.pkt_dropped_icmp = ao.counters.dropped_icmp;
  Result<void> set = sys::setsockopt(fd, SOL_TCP, TCP_AO_INFO, info);
  return !set && set.error().code == ENOPROTOOPT ? no_tcp_ao() : set;
}

Result<void> check_tcp_ao(const TcpAo& ao, int domain, const IpAddress* peer) {
  for (std::size_t i = 0; i < ao.keys.size(); ++i)
    SOCKREPAIR_TRY(check_key(ao.keys[i], i, domain, peer));
  const bool connected = peer != nullptr;
  for (const Mark& mark : kMarks) {
    const auto marked = std::count_if(ao.keys.begin(), ao.keys.end(), std::mem_fn(mark.member));
    if (marked > 1 || (connected && marked == 0))
      return refuse(
          EINVAL, std::string("ao, keys, ") + mark.name,
          "true of " + std::to_string(marked) + ", must be of 1" + (connected ? "" : " at most"));
  }
  if (ao.sequence.has_value() == connected) return {};
  return refuse(EINVAL, "ao, sequence",
                connected ? "missing, a connection has one" : "there, without a connection");
}

}  // namespace internal

}  // namespace sockrepair

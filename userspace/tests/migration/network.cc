// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <iterator>
#include <utility>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/command.h"

namespace sockrepair::test {

namespace {

constexpr char kCable[] = "eth0";
constexpr std::uint16_t kControlPort = 7000;
constexpr std::size_t kMacSize = 6;

constexpr const char* kMovedAddresses[] = {"10.0.0.9", "fd00::9"};
constexpr const char* kPeerAddresses[] = {"10.0.0.1", "fd00::1"};
constexpr const char* kControlAddresses[] = {"10.1.0.1", "10.1.0.2", "10.1.0.3"};

IpAddress known(const char* text) {
  return IpAddress::parse(text).value();
}

int domain_of(Family family) {
  return family == Family::kIpv4 ? AF_INET : AF_INET6;
}

// No frame that nobody asked for.
Result<void> silence(const NetNs& ns, const std::string& interface) {
  SOCKREPAIR_TRY(ns.sysctl("ipv6.conf." + interface + ".addr_gen_mode", "1"));
  return ns.sysctl("ipv6.conf." + interface + ".router_solicitations", "0");
}

// Switches an offload off; `command` is one of ETHTOOL_S*.
Result<void> switch_off(const NetNs& ns, const char* interface, std::uint32_t command) {
  return ns.run([&]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_DGRAM, 0));
    ethtool_value value{command, 0};
    ifreq request{};
    strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&value);
    return sys::ioctl(fd.get(), SIOCETHTOOL, &request);
  });
}

// RTM_NEWADDR or RTM_DELADDR of a moved address.
Result<void> change_address(Family family, unsigned short type, unsigned short flags) {
  const IpAddress address = moved_address(family);
  struct {
    nlmsghdr header;
    ifaddrmsg message;
    rtattr local_header;
    std::array<std::uint8_t, 16> local;
  } request{};
  const std::size_t attribute = RTA_LENGTH(address.size());
  request.header.nlmsg_len =
      static_cast<__u32>(offsetof(decltype(request), local_header) + attribute);
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = static_cast<__u16>(NLM_F_REQUEST | NLM_F_ACK | flags);
  request.message.ifa_family = static_cast<__u8>(domain_of(family));
  request.message.ifa_prefixlen = static_cast<__u8>(8 * address.size());
  if (family == Family::kIpv6) request.message.ifa_flags = IFA_F_NODAD;
  request.message.ifa_index = ::if_nametoindex(kCable);
  request.local_header.rta_len = static_cast<unsigned short>(attribute);
  request.local_header.rta_type = IFA_LOCAL;
  memcpy(request.local.data(), address.data(), address.size());

  const std::string what =
      (type == RTM_NEWADDR ? "RTM_NEWADDR " : "RTM_DELADDR ") + address.to_string();
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  if (::send(fd.get(), &request, request.header.nlmsg_len, 0) < 0) return Error{errno, what};
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[512];
  } answer{};
  if (::recv(fd.get(), &answer, sizeof(answer), 0) < 0) return Error{errno, what};
  if (answer.header.nlmsg_type != NLMSG_ERROR) return Error{EPROTO, "answer to " + what};
  if (answer.error.error != 0) return Error{-answer.error.error, what};
  return {};
}

Result<std::array<std::uint8_t, kMacSize>> own_mac(const Fd& fd) {
  ifreq request{};
  strncpy(request.ifr_name, kCable, IFNAMSIZ - 1);
  SOCKREPAIR_TRY(sys::ioctl(fd.get(), SIOCGIFHWADDR, &request));
  std::array<std::uint8_t, kMacSize> mac{};
  memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
  return mac;
}

Result<void> send_to(const Fd& fd, const void* data, std::size_t size, const void* to,
                     socklen_t to_size) {
  if (::sendto(fd.get(), data, size, 0, static_cast<const sockaddr*>(to), to_size) < 0)
    return Error{errno, "sendto() of an announcement"};
  return {};
}

Result<void> announce_by_arp(const IpAddress& address) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_PACKET, SOCK_DGRAM, 0));
  SOCKREPAIR_TRY_ASSIGN(const auto mac, own_mac(fd));
  struct {
    arphdr header;
    std::array<std::uint8_t, kMacSize> sender_mac;
    std::array<std::uint8_t, 4> sender;
    std::array<std::uint8_t, kMacSize> target_mac;
    std::array<std::uint8_t, 4> target;
  } __attribute__((packed)) frame{};
  frame.header.ar_hrd = htons(ARPHRD_ETHER);
  frame.header.ar_pro = htons(ETH_P_IP);
  frame.header.ar_hln = kMacSize;
  frame.header.ar_pln = 4;
  frame.header.ar_op = htons(ARPOP_REQUEST);
  frame.sender_mac = mac;
  memcpy(&frame.sender, address.data(), address.size());
  memcpy(&frame.target, address.data(), address.size());
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_protocol = htons(ETH_P_ARP);
  to.sll_ifindex = static_cast<int>(::if_nametoindex(kCable));
  to.sll_halen = kMacSize;
  memset(to.sll_addr, 0xff, kMacSize);
  return send_to(fd, &frame, sizeof(frame), &to, sizeof(to));
}

Result<void> announce_by_advertisement(const IpAddress& address) {
  // The kernel computes the checksum.
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
  SOCKREPAIR_TRY_ASSIGN(const auto mac, own_mac(fd));
  SOCKREPAIR_TRY(sys::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255));
  SOCKREPAIR_TRY(sys::bind(fd.get(), SocketAddress(Endpoint{address, 0, 0}, AF_INET6)));
  struct {
    nd_neighbor_advert advertisement;
    nd_opt_hdr option;
    std::array<std::uint8_t, kMacSize> mac;
  } __attribute__((packed)) packet{};
  packet.advertisement.nd_na_type = ND_NEIGHBOR_ADVERT;
  packet.advertisement.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
  packet.advertisement.nd_na_target = address.v6();
  packet.option.nd_opt_type = ND_OPT_TARGET_LINKADDR;
  packet.option.nd_opt_len = 1;
  packet.mac = mac;
  const Endpoint all_nodes{known("ff02::1"), 0, ::if_nametoindex(kCable)};
  const SocketAddress to(all_nodes, AF_INET6);
  return send_to(fd, &packet, sizeof(packet), to.get(), to.size());
}

}  // namespace

IpAddress moved_address(Family family) {
  return known(kMovedAddresses[static_cast<std::size_t>(family)]);
}

IpAddress peer_address(Family family) {
  return known(kPeerAddresses[static_cast<std::size_t>(family)]);
}

Endpoint control_endpoint(Station station) {
  return {known(kControlAddresses[static_cast<std::size_t>(station)]), kControlPort, 0};
}

Result<void> set_up_host(Station station) {
  SOCKREPAIR_TRY_ASSIGN(const NetNs here, NetNs::current());
  SOCKREPAIR_TRY(silence(here, kCable));
  SOCKREPAIR_TRY(here.ip("link set eth0 address " + mac_address(station) +
                         " up\n"
                         "address add " +
                         control_endpoint(station).address.to_string() +
                         "/24 dev eth0\n"
                         "route add 10.0.0.0/24 dev eth0\n"
                         "route add fd00::/64 dev eth0\n"));
  for (const char* peer : kPeerAddresses) {
    SOCKREPAIR_TRY(here.ip("neighbour add " + std::string(peer) + " lladdr " +
                           mac_address(Station::kPeer) + " dev eth0 nud permanent\n"));
  }
  return {};
}

Result<PeerNetwork> PeerNetwork::create() {
  SOCKREPAIR_TRY_ASSIGN(NetNs cables, NetNs::current());
  SOCKREPAIR_TRY_ASSIGN(NetNs application, NetNs::create());
  SOCKREPAIR_TRY(
      cables.ip("link add br0 type bridge\n"
                "link add port0 type veth peer name wire0 netns " +
                application.path() + "\n"));
  for (const char* interface : {"eth0", "eth1", "br0", "port0"})
    SOCKREPAIR_TRY(silence(cables, interface));
  SOCKREPAIR_TRY(silence(application, "wire0"));
  for (const char* interface : {"eth0", "eth1"})
    SOCKREPAIR_TRY(switch_off(cables, interface, ETHTOOL_SGRO));
  for (std::uint32_t command : {ETHTOOL_STSO, ETHTOOL_SGSO})
    SOCKREPAIR_TRY(switch_off(application, "wire0", command));
  SOCKREPAIR_TRY(
      cables.ip("link set eth0 address 02:00:00:00:01:01 master br0 up\n"
                "link set eth1 address 02:00:00:00:01:02 master br0 up\n"
                "link set port0 master br0 up\n"
                "link set br0 address 02:00:00:00:01:03 up\n"
                "address add 10.1.0.1/24 dev br0\n"));
  SOCKREPAIR_TRY(application.ip("link set wire0 address " + mac_address(Station::kPeer) +
                                " up\n"
                                "address add 10.0.0.1/24 dev wire0\n"
                                "address add fd00::1/64 dev wire0 nodad\n"));
  return PeerNetwork(std::move(cables), std::move(application));
}

Result<void> PeerNetwork::set_netem(const std::string& parameters) const {
  struct Direction {
    const NetNs& ns;
    const char* interface;
  };
  for (const Direction& one : {Direction{cables_, "port0"}, Direction{application_, "wire0"}}) {
    const Result<std::string> output = one.ns.run([&] {
      return run_command({"tc", "-batch", "-"}, std::string("qdisc replace dev ") + one.interface +
                                                    " root netem limit 10000 " + parameters + "\n");
    });
    if (!output) return output.error();
  }
  return {};
}

Result<void> add_moved_address(Family family) {
  return change_address(family, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
}

Result<void> remove_moved_address(Family family) {
  return change_address(family, RTM_DELADDR, 0);
}

Result<void> announce_moved_address(Family family) {
  const IpAddress address = moved_address(family);
  return family == Family::kIpv4 ? announce_by_arp(address) : announce_by_advertisement(address);
}

}  // namespace sockrepair::test

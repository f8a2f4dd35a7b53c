// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/two_hosts.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include <utility>
#include <vector>

#include "sockrepair/syscall.h"
#include "try.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

// Switches one offload of an interface off, by its name in `ethtool -k` of the kernel's own table.
Result<void> switch_off(const NetNs& ns, const char* interface, const std::string& feature) {
  return ns.run([&]() -> Result<void> {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_INET, SOCK_DGRAM, 0));
    ifreq request{};
    strncpy(request.ifr_name, interface, IFNAMSIZ - 1);

    // The number of names, then the names, then the bit of ours.
    std::vector<char> info(sizeof(ethtool_sset_info) + sizeof(__u32));
    auto* set = reinterpret_cast<ethtool_sset_info*>(info.data());
    set->cmd = ETHTOOL_GSSET_INFO;
    set->sset_mask = 1ULL << ETH_SS_FEATURES;
    request.ifr_data = info.data();
    SOCKREPAIR_TRY(sys::ioctl(fd.get(), SIOCETHTOOL, &request));
    __u32 count = set->data[0];

    std::vector<char> names(sizeof(ethtool_gstrings) + count * ETH_GSTRING_LEN);
    auto* strings = reinterpret_cast<ethtool_gstrings*>(names.data());
    strings->cmd = ETHTOOL_GSTRINGS;
    strings->string_set = ETH_SS_FEATURES;
    strings->len = count;
    request.ifr_data = names.data();
    SOCKREPAIR_TRY(sys::ioctl(fd.get(), SIOCETHTOOL, &request));

    for (__u32 bit = 0; bit < count; ++bit) {
      const char* name = names.data() + sizeof(ethtool_gstrings) + bit * ETH_GSTRING_LEN;
      if (feature != std::string(name, strnlen(name, ETH_GSTRING_LEN))) continue;
      __u32 blocks = (count + 31) / 32;
      std::vector<char> features(sizeof(ethtool_sfeatures) +
                                 blocks * sizeof(ethtool_set_features_block));
      auto* change = reinterpret_cast<ethtool_sfeatures*>(features.data());
      change->cmd = ETHTOOL_SFEATURES;
      change->size = blocks;
      change->features[bit / 32].valid = 1U << (bit % 32);
      change->features[bit / 32].requested = 0;
      request.ifr_data = features.data();
      return sys::ioctl(fd.get(), SIOCETHTOOL, &request);
    }
    return Error{ENOENT, std::string(interface) + " has no offload '" + feature + "'"};
  });
}

Result<void> wait_until_running(const NetNs& ns, const char* interface) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, ns.run([] { return sys::socket(AF_INET, SOCK_DGRAM, 0); }));
  ifreq request{};
  SOCKREPAIR_TRY(
      wait_until(std::string(interface) + " is running", Deadline::after(kPatience), [&] {
        request = {};
        strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
        return sys::ioctl(fd.get(), SIOCGIFFLAGS, &request).ok() &&
               (request.ifr_flags & IFF_RUNNING) != 0;
      }));
  // The flag shows before the device has its queue, and what is sent in between is lost in silence.
  // Both happen under the lock that setting flags takes, here to what they are.
  return sys::ioctl(fd.get(), SIOCSIFFLAGS, &request);
}

// `self` and `peer` are the last numbers of the addresses.
Result<void> set_up(const NetNs& ns, const std::string& self, const std::string& peer,
                    const TwoHosts::Options& options) {
  SOCKREPAIR_TRY(ns.sysctl("ipv6.auto_flowlabels", options.auto_flow_labels ? "1" : "0"));
  // No address of the kernel's own making, and so no traffic about it.
  SOCKREPAIR_TRY(ns.sysctl("ipv6.conf.wire0.addr_gen_mode", "1"));
  SOCKREPAIR_TRY(ns.sysctl("ipv6.conf.wire0.router_solicitations", "0"));
  SOCKREPAIR_TRY(switch_off(ns, kWire, "tx-udp-segmentation"));
  SOCKREPAIR_TRY(ns.ip("link set wire0 address 02:00:00:00:00:0" + self + " mtu " +
                       std::to_string(options.mtu) +
                       " up\n"
                       "address add 10.0.0." +
                       self +
                       "/24 broadcast 10.0.0.255 dev wire0\n"
                       "address add fd00::" +
                       self +
                       "/64 dev wire0 nodad\n"
                       "address add fe80::" +
                       self +
                       "/64 dev wire0 nodad\n"
                       "neighbour add 10.0.0." +
                       peer + " lladdr 02:00:00:00:00:0" + peer +
                       " dev wire0\n"
                       "neighbour add fd00::" +
                       peer + " lladdr 02:00:00:00:00:0" + peer +
                       " dev wire0\n"
                       "neighbour add fe80::" +
                       peer + " lladdr 02:00:00:00:00:0" + peer +
                       " dev wire0\n"
                       "route add default via 10.0.0." +
                       peer +
                       " dev wire0\n"
                       "route add default via fd00::" +
                       peer + " dev wire0\n"));
  return {};
}

}  // namespace

Result<TwoHosts> TwoHosts::create(const Options& options) {
  SOCKREPAIR_TRY_ASSIGN(NetNs sender, NetNs::create());
  SOCKREPAIR_TRY_ASSIGN(NetNs receiver, NetNs::create());
  SOCKREPAIR_TRY(
      sender.ip("link add wire0 type veth peer name wire0 netns " + receiver.path() + "\n"));
  SOCKREPAIR_TRY(set_up(sender, "1", "2", options));
  SOCKREPAIR_TRY(set_up(receiver, "2", "1", options));
  for (const NetNs* ns : {&sender, &receiver}) {
    SOCKREPAIR_TRY(wait_until_running(*ns, kWire));
    if (ns->ifindex(kWire) != kWireIndex)
      return Error{ENODEV, "wire0 has index " + std::to_string(ns->ifindex(kWire))};
  }
  return TwoHosts{std::move(sender), std::move(receiver)};
}

Result<void> TwoHosts::replace_receiver(const Options& options) {
  SOCKREPAIR_TRY_ASSIGN(NetNs fresh, NetNs::create());
  SOCKREPAIR_TRY(receiver.ip("link set wire0 netns " + fresh.path() + "\n"));
  SOCKREPAIR_TRY(set_up(fresh, "2", "1", options));
  for (const NetNs* ns : {&sender, &fresh}) SOCKREPAIR_TRY(wait_until_running(*ns, kWire));
  receiver = std::move(fresh);
  return {};
}

IpAddress sender_address(Family family) {
  return IpAddress::parse(family == Family::kIpv4 ? "10.0.0.1" : "fd00::1").value();
}
IpAddress receiver_address(Family family) {
  return IpAddress::parse(family == Family::kIpv4 ? "10.0.0.2" : "fd00::2").value();
}
IpAddress sender_link_local() {
  return IpAddress::parse("fe80::1").value();
}
IpAddress receiver_link_local() {
  return IpAddress::parse("fe80::2").value();
}

}  // namespace sockrepair::test

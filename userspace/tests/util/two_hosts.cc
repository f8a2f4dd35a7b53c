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
#include "util/rtnetlink.h"

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

// `address` with `number` where it has @.
std::string numbered(std::string address, const std::string& number) {
  return address.replace(address.find('@'), 1, number);
}

// What devices of `ns` begin with.
Result<void> prepare(const NetNs& ns, const TwoHosts::Options& options) {
  SOCKREPAIR_TRY(ns.sysctl("ipv6.auto_flowlabels", options.auto_flow_labels ? "1" : "0"));
  // No address of the kernel's own making, and so no traffic about it.
  SOCKREPAIR_TRY(ns.sysctl("ipv6.conf.default.addr_gen_mode", "1"));
  return ns.sysctl("ipv6.conf.default.router_solicitations", "0");
}

Rtnetlink::Link end_of_cable(const std::string& self, const TwoHosts::Options& options) {
  return {.address = "02:00:00:00:00:0" + self, .mtu = options.mtu, .up = true};
}

// `self` and `peer` are the last numbers of the addresses.
Result<void> set_up(const NetNs& ns, Rtnetlink& net, const std::string& self,
                    const std::string& peer) {
  SOCKREPAIR_TRY(switch_off(ns, kWire, "tx-udp-segmentation"));
  SOCKREPAIR_TRY(net.add_address(kWire, numbered("10.0.0.@/24", self), "10.0.0.255"));
  for (const char* address : {"fd00::@/64", "fe80::@/64"})
    SOCKREPAIR_TRY(net.add_address(kWire, numbered(address, self)));
  for (const char* neighbour : {"10.0.0.@", "fd00::@", "fe80::@"})
    SOCKREPAIR_TRY(
        net.replace_neighbour(kWire, numbered(neighbour, peer), "02:00:00:00:00:0" + peer));
  for (const char* gateway : {"10.0.0.@", "fd00::@"})
    SOCKREPAIR_TRY(net.add_default_route(kWire, numbered(gateway, peer)));
  return {};
}

}  // namespace

Result<TwoHosts> TwoHosts::create(const Options& options) {
  SOCKREPAIR_TRY_ASSIGN(NetNs sender, NetNs::create());
  SOCKREPAIR_TRY_ASSIGN(NetNs receiver, NetNs::create());
  for (const NetNs* ns : {&sender, &receiver}) SOCKREPAIR_TRY(prepare(*ns, options));
  SOCKREPAIR_TRY_ASSIGN(Rtnetlink near, Rtnetlink::open(sender));
  SOCKREPAIR_TRY_ASSIGN(Rtnetlink far, Rtnetlink::open(receiver));
  SOCKREPAIR_TRY(near.add_cable(kWire, receiver, end_of_cable("1", options)));
  SOCKREPAIR_TRY(far.change_link(kWire, end_of_cable("2", options)));
  SOCKREPAIR_TRY(set_up(sender, near, "1", "2"));
  SOCKREPAIR_TRY(set_up(receiver, far, "2", "1"));
  for (const NetNs* ns : {&sender, &receiver}) {
    SOCKREPAIR_TRY(wait_until_running(*ns, kWire));
    if (ns->ifindex(kWire) != kWireIndex)
      return Error{ENODEV, "wire0 has index " + std::to_string(ns->ifindex(kWire))};
  }
  return TwoHosts{std::move(sender), std::move(receiver)};
}

Result<void> TwoHosts::replace_receiver(const Options& options) {
  SOCKREPAIR_TRY_ASSIGN(NetNs fresh, NetNs::create());
  SOCKREPAIR_TRY(prepare(fresh, options));
  SOCKREPAIR_TRY_ASSIGN(Rtnetlink old_place, Rtnetlink::open(receiver));
  SOCKREPAIR_TRY_ASSIGN(Rtnetlink new_place, Rtnetlink::open(fresh));
  SOCKREPAIR_TRY(old_place.change_link(kWire, {.ns = &fresh}));
  SOCKREPAIR_TRY(new_place.change_link(kWire, end_of_cable("2", options)));
  SOCKREPAIR_TRY(set_up(fresh, new_place, "2", "1"));
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

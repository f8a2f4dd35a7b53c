// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/rtnetlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <string.h>

#include <fstream>
#include <utility>

#include "try.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

// An object of libnl, and how it is given back.
template <auto kPut>
struct Put {
  template <typename Object>
  void operator()(Object* object) const {
    kPut(object);
  }
};
using Address = std::unique_ptr<nl_addr, Put<nl_addr_put>>;
using LinkObject = std::unique_ptr<rtnl_link, Put<rtnl_link_put>>;
using AddressObject = std::unique_ptr<rtnl_addr, Put<rtnl_addr_put>>;
using NeighbourObject = std::unique_ptr<rtnl_neigh, Put<rtnl_neigh_put>>;
using RouteObject = std::unique_ptr<rtnl_route, Put<rtnl_route_put>>;

// `status` as the functions of libnl give it.
Result<void> check(int status, const std::string& what) {
  if (status >= 0) return {};
  return Error{EPROTO, what + ": " + nl_geterror(status)};
}

Result<Address> parse(const std::string& text, int family = AF_UNSPEC) {
  nl_addr* address = nullptr;
  SOCKREPAIR_TRY(check(nl_addr_parse(text.c_str(), family, &address), text));
  return Address(address);
}

// Whether the thread's namespace delivers what is for this IPv6 address.
bool has_local_route(nl_addr* address) {
  char start[2 * sizeof(in6_addr) + sizeof(" 80")] = {};  // 80: /128, in hexadecimal
  const auto* bytes = static_cast<const unsigned char*>(nl_addr_get_binary_addr(address));
  for (std::size_t i = 0; i < sizeof(in6_addr); ++i) sprintf(start + 2 * i, "%02x", bytes[i]);
  strcat(start, " 80");
  std::ifstream routes("/proc/thread-self/net/ipv6_route");
  for (std::string line; std::getline(routes, line);)
    if (line.starts_with(start)) return true;
  return false;
}

Result<void> describe(rtnl_link* object, const Rtnetlink::Link& link) {
  if (!link.address.empty()) {
    SOCKREPAIR_TRY_ASSIGN(Address mac, parse(link.address, AF_LLC));
    rtnl_link_set_addr(object, mac.get());
  }
  if (link.mtu.has_value()) rtnl_link_set_mtu(object, static_cast<unsigned>(*link.mtu));
  if (link.up) rtnl_link_set_flags(object, IFF_UP);
  if (link.ns != nullptr) rtnl_link_set_ns_fd(object, link.ns->fd().get());
  return {};
}

}  // namespace

void Rtnetlink::Close::operator()(nl_sock* socket) const {
  nl_socket_free(socket);
}

Result<Rtnetlink> Rtnetlink::open(const NetNs& ns) {
  Socket socket(nl_socket_alloc());
  if (!socket) return Error{ENOMEM, "nl_socket_alloc()"};
  SOCKREPAIR_TRY(
      check(ns.run([&] { return nl_connect(socket.get(), NETLINK_ROUTE); }), "NETLINK_ROUTE"));
  return Rtnetlink(ns, std::move(socket));
}

Result<int> Rtnetlink::index(const std::string& link) const {
  unsigned number = ns_->ifindex(link);
  if (number == 0) return Error{ENODEV, link};
  return static_cast<int>(number);
}

Result<void> Rtnetlink::add_cable(const std::string& name, const NetNs& far, const Link& near) {
  LinkObject cable(rtnl_link_veth_alloc());
  if (!cable) return Error{ENOMEM, "rtnl_link_veth_alloc()"};
  LinkObject end(rtnl_link_veth_get_peer(cable.get()));
  rtnl_link_set_name(cable.get(), name.c_str());
  rtnl_link_set_name(end.get(), name.c_str());
  SOCKREPAIR_TRY(describe(cable.get(), near));
  rtnl_link_set_ns_fd(end.get(), far.fd().get());
  return check(rtnl_link_add(socket_.get(), cable.get(), NLM_F_CREATE | NLM_F_EXCL),
               "link add " + name + " type veth");
}

Result<void> Rtnetlink::change_link(const std::string& name, const Link& change) {
  SOCKREPAIR_TRY_ASSIGN(int number, index(name));
  LinkObject link(rtnl_link_alloc());
  LinkObject wanted(rtnl_link_alloc());
  if (!link || !wanted) return Error{ENOMEM, "rtnl_link_alloc()"};
  rtnl_link_set_ifindex(link.get(), number);
  SOCKREPAIR_TRY(describe(wanted.get(), change));
  return check(rtnl_link_change(socket_.get(), link.get(), wanted.get(), 0), "link set " + name);
}

Result<void> Rtnetlink::add_address(const std::string& link, const std::string& address,
                                    const std::string& broadcast) {
  SOCKREPAIR_TRY_ASSIGN(int number, index(link));
  SOCKREPAIR_TRY_ASSIGN(Address local, parse(address));
  AddressObject object(rtnl_addr_alloc());
  if (!object) return Error{ENOMEM, "rtnl_addr_alloc()"};
  rtnl_addr_set_ifindex(object.get(), number);
  rtnl_addr_set_flags(object.get(), IFA_F_NODAD);
  SOCKREPAIR_TRY(check(rtnl_addr_set_local(object.get(), local.get()), address));
  if (!broadcast.empty()) {
    SOCKREPAIR_TRY_ASSIGN(Address everybody, parse(broadcast));
    SOCKREPAIR_TRY(check(rtnl_addr_set_broadcast(object.get(), everybody.get()), broadcast));
  }
  SOCKREPAIR_TRY(check(rtnl_addr_add(socket_.get(), object.get(), 0), "address add " + address));
  if (nl_addr_get_family(local.get()) != AF_INET6) return {};
  // The kernel gives an IPv6 address its route, without which nothing is received, a little later.
  return wait_until(address + " has its route", Deadline::after(kPatience),
                    [&] { return ns_->run([&] { return has_local_route(local.get()); }); });
}

Result<void> Rtnetlink::replace_neighbour(const std::string& link, const std::string& neighbour,
                                          const std::string& mac) {
  SOCKREPAIR_TRY_ASSIGN(int number, index(link));
  SOCKREPAIR_TRY_ASSIGN(Address address, parse(neighbour));
  SOCKREPAIR_TRY_ASSIGN(Address station, parse(mac, AF_LLC));
  NeighbourObject object(rtnl_neigh_alloc());
  if (!object) return Error{ENOMEM, "rtnl_neigh_alloc()"};
  rtnl_neigh_set_ifindex(object.get(), number);
  rtnl_neigh_set_state(object.get(), NUD_PERMANENT);
  rtnl_neigh_set_lladdr(object.get(), station.get());
  SOCKREPAIR_TRY(check(rtnl_neigh_set_dst(object.get(), address.get()), neighbour));
  return check(rtnl_neigh_add(socket_.get(), object.get(), NLM_F_CREATE | NLM_F_REPLACE),
               "neighbour replace " + neighbour);
}

Result<void> Rtnetlink::add_default_route(const std::string& link, const std::string& gateway) {
  SOCKREPAIR_TRY_ASSIGN(int number, index(link));
  SOCKREPAIR_TRY_ASSIGN(Address via, parse(gateway));
  SOCKREPAIR_TRY_ASSIGN(Address all, parse("default", nl_addr_get_family(via.get())));
  RouteObject object(rtnl_route_alloc());
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  if (!object || hop == nullptr) return Error{ENOMEM, "rtnl_route_alloc()"};
  rtnl_route_nh_set_ifindex(hop, number);
  rtnl_route_nh_set_gateway(hop, via.get());
  rtnl_route_add_nexthop(object.get(), hop);  // which is the route's from here on
  SOCKREPAIR_TRY(check(rtnl_route_set_dst(object.get(), all.get()), "default"));
  return check(rtnl_route_add(socket_.get(), object.get(), 0), "route add default via " + gateway);
}

}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_RTNETLINK_H_
#define SOCKREPAIR_TESTS_UTIL_RTNETLINK_H_

#include <memory>
#include <optional>
#include <string>

#include "sockrepair/result.h"
#include "util/net_ns.h"

struct nl_sock;

namespace sockrepair::test {

// What `ip` does to links, addresses, neighbours and routes of a namespace, without starting it:
// that takes a guest 25 ms, and a test that makes hosts of its own needs it ten times.
//
//   SOCKREPAIR_TRY_ASSIGN(Rtnetlink net, Rtnetlink::open(ns));
//   SOCKREPAIR_TRY(net.change_link("wire0", {.mtu = 1280, .up = true}));
//   SOCKREPAIR_TRY(net.add_address("wire0", "10.0.0.1/24"));
//
// Names and addresses are written as for `ip`. Each call has taken effect when it returns, and
// fails as `ip` would, with what was asked for. May be used by one thread at a time.
class Rtnetlink {
 public:
  // What a link is to be like; what is left out stays as it is.
  struct Link {
    std::string address = {};  // MAC
    std::optional<int> mtu = {};
    bool up = false;            // false: as it is
    const NetNs* ns = nullptr;  // where it goes
  };

  static Result<Rtnetlink> open(const NetNs& ns);

  // A cable with an end here, which is like `near`, and an end of the same name in `far`, which is
  // down: it can come up only when this one is there.
  Result<void> add_cable(const std::string& name, const NetNs& far, const Link& near);
  Result<void> change_link(const std::string& name, const Link& change);
  // "10.0.0.1/24", "fd00::1/64": without duplicate address detection.
  Result<void> add_address(const std::string& link, const std::string& address,
                           const std::string& broadcast = {});
  // The neighbour has this MAC address for good; takes the place of what was known of it.
  Result<void> replace_neighbour(const std::string& link, const std::string& neighbour,
                                 const std::string& mac);
  Result<void> add_default_route(const std::string& link, const std::string& gateway);

 private:
  struct Close {
    void operator()(nl_sock* socket) const;
  };
  using Socket = std::unique_ptr<nl_sock, Close>;

  Rtnetlink(const NetNs& ns, Socket socket) : ns_(&ns), socket_(std::move(socket)) {}

  Result<int> index(const std::string& link) const;

  const NetNs* ns_;
  Socket socket_;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_RTNETLINK_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_NET_NS_H_
#define SOCKREPAIR_TESTS_UTIL_NET_NS_H_

#include <string>
#include <utility>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

namespace sockrepair::test {

// A network namespace without a name, which goes when this object and the sockets in it are gone.
//
//   Result<NetNs> ns = NetNs::create();
//   Result<void> made = ns->ip("link add dummy0 type dummy\n"
//                              "link set dummy0 up\n");
//   Result<Fd> fd = ns->run([] { return sys::socket(AF_INET, SOCK_DGRAM, 0); });
//
// A socket belongs to the namespace it was made in, whoever uses it: only making one needs run().
// run() changes the namespace of the calling thread alone and may be called from several threads
// at once. Needs root.
class NetNs {
 public:
  // A new one, with lo up.
  static Result<NetNs> create();
  // The one the calling thread is in.
  static Result<NetNs> current();

  // Calls `function` inside and gives what it returns. Aborts if the way back is barred.
  template <typename Function>
  auto run(Function&& function) const {
    Visit visit(*this);
    return std::forward<Function>(function)();
  }

  // Runs `ip -batch` with these lines inside.
  Result<void> ip(const std::string& lines) const;

  // Sets net.`name`, e.g. sysctl("ipv6.conf.all.forwarding", "1").
  Result<void> sysctl(const std::string& name, const std::string& value) const;

  // 0 when there is no such interface.
  unsigned ifindex(const std::string& interface) const;

  // For `ip link add ... netns PATH`; good as long as this object is.
  std::string path() const;

  const Fd& fd() const { return fd_; }

 private:
  class Visit {
   public:
    explicit Visit(const NetNs& ns);
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    ~Visit();

   private:
    Fd home_;
  };

  explicit NetNs(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_NET_NS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TOOLS_NETNS_H_
#define SOCKREPAIR_TOOLS_NETNS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

namespace sockrepair::tool {

// Which network namespace sockets are restored in, from the values of --netns.
class NetnsMap {
 public:
  // "[COOKIE=]NS" each, where NS is a name of ip-netns(8), a path, or a process's number. Opens all
  // of them. EINVAL: not one of these, twice for the same cookie, or something that is no network
  // namespace.
  static Result<NetnsMap> parse(const std::vector<std::string>& values);

  // EINVAL if `cookies`, those of all sockets of an image, leave it open where some belong, or a
  // value is for a cookie that none has.
  Result<void> check(const std::set<std::uint64_t>& cookies) const;

  // Gives its descriptors numbers above `highest`, for who puts others at the ones below.
  Result<void> move_above(int highest);
  std::size_t descriptors() const { return entries_.size() + 1; }

  // Moves the calling thread to where sockets with this cookie belong.
  Result<void> enter(std::uint64_t cookie);
  // Moves it to the namespace that is for all, or back to where it was.
  Result<void> enter_default();

 private:
  struct Entry {
    std::optional<std::uint64_t> cookie;  // empty: for all others
    std::string text;
    Fd fd;
  };
  Result<void> enter_entry(const Entry& entry);

  std::vector<Entry> entries_;
  Entry home_;
  const Entry* current_ = nullptr;
};

}  // namespace sockrepair::tool

#endif  // SOCKREPAIR_TOOLS_NETNS_H_

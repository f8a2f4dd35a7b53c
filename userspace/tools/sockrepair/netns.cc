// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <charconv>

#include "hand_over.h"
#include "try.h"

namespace sockrepair::tool {

namespace {

template <typename T>
std::optional<T> parse_number(const std::string& text) {
  T number{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Where the namespace is that a person calls `name`.
std::string path_of(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  if (parse_number<pid_t>(name)) return "/proc/" + name + "/ns/net";
  return "/run/netns/" + name;
}

Result<Fd> open_netns(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error{errno, "open(" + path + ")"};
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
    return Error{EINVAL, path + " is no network namespace"};
  return fd;
}

}  // namespace

Result<NetnsMap> NetnsMap::parse(const std::vector<std::string>& values) {
  NetnsMap map;
  for (const std::string& value : values) {
    Entry entry;
    std::string name = value;
    if (std::size_t at = value.find('='); at != std::string::npos) {
      entry.cookie = parse_number<std::uint64_t>(value.substr(0, at));
      if (!entry.cookie)
        return Error{EINVAL, "--netns " + value + ": a number is to be in front of the ="};
      name = value.substr(at + 1);
    }
    if (name.empty()) return Error{EINVAL, "--netns " + value + ": no namespace"};
    entry.text = "--netns " + value;
    for (const Entry& other : map.entries_)
      if (other.cookie == entry.cookie)
        return Error{EINVAL, entry.text + ": " + other.text + " is for the same sockets"};
    Result<Fd> fd = open_netns(path_of(name));
    if (!fd) return Error{fd.error().code, entry.text + ": " + fd.error().what};
    entry.fd = *std::move(fd);
    map.entries_.push_back(std::move(entry));
  }
  SOCKREPAIR_TRY_ASSIGN(map.home_.fd, open_netns("/proc/thread-self/ns/net"));
  map.home_.text = "the network namespace of this program";
  return map;
}

Result<void> NetnsMap::check(const std::set<std::uint64_t>& cookies) const {
  bool for_all = false;
  for (const Entry& entry : entries_) {
    if (!entry.cookie)
      for_all = true;
    else if (!cookies.contains(*entry.cookie))
      return Error{EINVAL, entry.text + ": no socket of the image is from that namespace"};
  }
  if (for_all || (entries_.empty() && cookies.size() <= 1)) return {};
  std::string open;
  for (std::uint64_t cookie : cookies) {
    auto is_it = [&](const Entry& entry) { return entry.cookie == cookie; };
    if (std::none_of(entries_.begin(), entries_.end(), is_it))
      open += " --netns " + std::to_string(cookie) + "=NS";
  }
  if (open.empty()) return {};
  return Error{EINVAL, "the sockets are from " + std::to_string(cookies.size()) +
                           " network namespaces; say where they belong:" + open +
                           ", or --netns NS for all"};
}

Result<void> NetnsMap::move_above(int highest) {
  for (Entry& entry : entries_) SOCKREPAIR_TRY(tool::move_above(highest, &entry.fd));
  return tool::move_above(highest, &home_.fd);
}

Result<void> NetnsMap::enter_entry(const Entry& entry) {
  if (current_ == &entry) return {};
  if (current_ == nullptr && &entry == &home_) return {};
  if (::setns(entry.fd.get(), CLONE_NEWNET) != 0) return Error{errno, "setns(" + entry.text + ")"};
  current_ = &entry;
  return {};
}

Result<void> NetnsMap::enter(std::uint64_t cookie) {
  for (const Entry& entry : entries_)
    if (entry.cookie == cookie) return enter_entry(entry);
  return enter_default();
}

Result<void> NetnsMap::enter_default() {
  for (const Entry& entry : entries_)
    if (!entry.cookie) return enter_entry(entry);
  return enter_entry(home_);
}

}  // namespace sockrepair::tool

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/wire_capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::test {

namespace {

constexpr std::size_t kFragmentHeader = 8;
constexpr std::size_t kIpv6Header = 40;

std::uint16_t word(const Frame& frame, std::size_t at) {
  return static_cast<std::uint16_t>(frame[at] << 8 | frame[at + 1]);
}

// A frame taken apart. Offsets are into the frame; no `id` when there is no such field.
struct Parsed {
  FrameView view;
  Family family;
  IpAddress source;
  IpAddress destination;
  std::optional<std::size_t> id;
  std::size_t id_size = 0;
};

// The id in host byte order.
std::uint32_t id_of(const Frame& frame, const Parsed& parsed) {
  std::uint32_t id = 0;
  for (std::size_t i = 0; i < parsed.id_size; ++i) id = id << 8 | frame[*parsed.id + i];
  return id;
}

// Nothing: not UDP over IP, or a frame that ends too early.
std::optional<Parsed> parse_ipv4(const Frame& frame) {
  std::size_t ip = ETH_HLEN;
  if (frame.size() < ip + 20) return std::nullopt;
  std::size_t header = (frame[ip] & 15U) * 4U;
  if (frame[ip] >> 4 != 4 || header < 20 || frame.size() < ip + header) return std::nullopt;
  if (frame[ip + 9] != IPPROTO_UDP) return std::nullopt;
  std::uint16_t offset = word(frame, ip + 6);
  Parsed parsed{};
  parsed.family = Family::kIpv4;
  parsed.view = {ip, ip + header, (offset & 0x3fff) != 0, (offset & 0x1fff) == 0};
  in_addr address{};
  memcpy(&address, &frame[ip + 12], sizeof(address));
  parsed.source = IpAddress(address);
  memcpy(&address, &frame[ip + 16], sizeof(address));
  parsed.destination = IpAddress(address);
  parsed.id = ip + 4;
  parsed.id_size = 2;
  return parsed;
}

std::optional<Parsed> parse_ipv6(const Frame& frame) {
  std::size_t ip = ETH_HLEN;
  if (frame.size() < ip + kIpv6Header || frame[ip] >> 4 != 6) return std::nullopt;
  Parsed parsed{};
  parsed.family = Family::kIpv6;
  in6_addr address{};
  memcpy(&address, &frame[ip + 8], sizeof(address));
  parsed.source = IpAddress(address);
  memcpy(&address, &frame[ip + 24], sizeof(address));
  parsed.destination = IpAddress(address);

  std::uint8_t next = frame[ip + 6];
  std::size_t at = ip + kIpv6Header;
  parsed.view = {ip, at, false, true};
  while (next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS || next == IPPROTO_ROUTING ||
         next == IPPROTO_FRAGMENT) {
    if (frame.size() < at + kFragmentHeader) return std::nullopt;
    std::size_t length = (frame[at + 1] + 1U) * 8U;
    if (next == IPPROTO_FRAGMENT) {
      length = kFragmentHeader;
      parsed.view.fragment = true;
      parsed.view.first_fragment = (word(frame, at + 2) & 0xfff8) == 0;
      parsed.id = at + 4;
      parsed.id_size = 4;
    }
    next = frame[at];
    at += length;
    if (!parsed.view.first_fragment) break;
  }
  parsed.view.payload = at;
  // A later fragment says what the first one begins with, which may be another extension header.
  bool udp = next == IPPROTO_UDP || (!parsed.view.first_fragment && next == IPPROTO_DSTOPTS);
  return udp && frame.size() >= at ? std::optional(parsed) : std::nullopt;
}

std::optional<Parsed> parse(const Frame& frame) {
  if (frame.size() < ETH_HLEN) return std::nullopt;
  std::optional<Parsed> parsed;
  if (word(frame, 12) == ETH_P_IP) parsed = parse_ipv4(frame);
  if (word(frame, 12) == ETH_P_IPV6) parsed = parse_ipv6(frame);
  if (parsed && parsed->view.first_fragment && frame.size() < parsed->view.payload + 8)
    return std::nullopt;
  return parsed;
}

std::uint16_t checksum(const Frame& frame, std::size_t begin, std::size_t end) {
  std::uint32_t sum = 0;
  for (std::size_t at = begin; at < end; at += 2) sum += word(frame, at);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

// Picks the frames of one flow and makes them comparable.
class FlowReader {
 public:
  explicit FlowReader(const WireCapture::Flow& flow) : flow_(flow) {}

  // True if the frame belongs to the flow; it is normalised then.
  Result<bool> accept(Frame& frame) {
    std::optional<Parsed> parsed = parse(frame);
    if (!parsed || parsed->source != flow_.source.address) return false;
    std::tuple key{parsed->destination.to_string(), parsed->id ? id_of(frame, *parsed) : 0};
    if (parsed->view.first_fragment) {
      if (word(frame, parsed->view.payload) != flow_.source.port ||
          word(frame, parsed->view.payload + 2) != flow_.destination_port)
        return false;
      if (parsed->view.fragment) fragmented_.insert(key);
    } else if (!fragmented_.contains(key)) {
      return false;
    }
    if (parsed->family == Family::kIpv4) {
      std::size_t ip = parsed->view.ip;
      if (checksum(frame, ip, parsed->view.payload) != 0)
        return Error{EBADMSG, "IPv4 header checksum is wrong: " + describe_frame(frame)};
      frame[ip + 10] = frame[ip + 11] = 0;
    }
    if (parsed->id) replace_id(frame, *parsed);
    return true;
  }

 private:
  void replace_id(Frame& frame, const Parsed& parsed) {
    std::uint32_t id = id_of(frame, parsed);
    std::uint32_t number =
        numbers_.insert({id, static_cast<std::uint32_t>(numbers_.size() + 1)}).first->second;
    for (std::size_t i = parsed.id_size; i > 0; --i, number >>= 8)
      frame[*parsed.id + i - 1] = static_cast<std::uint8_t>(number);
  }

  WireCapture::Flow flow_;
  std::set<std::tuple<std::string, std::uint32_t>> fragmented_;
  std::map<std::uint32_t, std::uint32_t> numbers_;
};

Result<std::vector<Frame>> pick(const std::vector<Frame>& raw, const WireCapture::Flow& flow) {
  FlowReader reader(flow);
  std::vector<Frame> frames;
  for (Frame frame : raw) {
    SOCKREPAIR_TRY_ASSIGN(bool ours, reader.accept(frame));
    if (ours) frames.push_back(std::move(frame));
  }
  return frames;
}

}  // namespace

Result<WireCapture> WireCapture::open(const NetNs& ns, const std::string& interface) {
  return ns.run([&]() -> Result<WireCapture> {
    // With protocol 0 nothing is captured before bind() says where.
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_PACKET, SOCK_RAW, 0));
    SOCKREPAIR_TRY(sys::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(ns.ifindex(interface));
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
      return Error{errno, "bind(AF_PACKET, " + interface + ")"};
    return WireCapture(std::move(fd));
  });
}

Result<void> WireCapture::read_all() {
  Frame frame(1 << 17);
  for (;;) {
    sockaddr_ll from{};
    socklen_t length = sizeof(from);
    ssize_t size = ::recvfrom(fd_.get(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_TRUNC,
                              reinterpret_cast<sockaddr*>(&from), &length);
    if (size < 0 && errno == EAGAIN) break;
    if (size < 0) return Error{errno, "recvfrom(AF_PACKET)"};
    if (static_cast<std::size_t>(size) > frame.size())
      return Error{EMSGSIZE, "a frame of " + std::to_string(size) + " bytes"};
    if (from.sll_pkttype == PACKET_OUTGOING) continue;
    raw_.emplace_back(frame.begin(), frame.begin() + size);
  }
  SOCKREPAIR_TRY_ASSIGN(tpacket_stats stats,
                        sys::getsockopt<tpacket_stats>(fd_.get(), SOL_PACKET, PACKET_STATISTICS));
  if (stats.tp_drops != 0)
    return Error{ENOBUFS, "the capture lost " + std::to_string(stats.tp_drops) + " frames"};
  return {};
}

Result<std::vector<Frame>> WireCapture::take(const Flow& flow) {
  SOCKREPAIR_TRY(read_all());
  return pick(std::exchange(raw_, {}), flow);
}

Result<std::vector<Frame>> WireCapture::take(const Flow& flow, std::size_t count,
                                             Deadline deadline) {
  Result<void> read;
  Result<std::vector<Frame>> frames = std::vector<Frame>();
  SOCKREPAIR_TRY(wait_until(std::to_string(count) + " frames are on the wire", deadline, [&] {
    read = read_all();
    if (!read) return true;
    frames = pick(raw_, flow);
    return !frames || frames->size() >= count;
  }));
  SOCKREPAIR_TRY(read);
  raw_.clear();
  return frames;
}

Result<FrameView> view_frame(const Frame& frame) {
  std::optional<Parsed> parsed = parse(frame);
  if (!parsed) return Error{EPROTO, "no UDP: " + describe_frame(frame)};
  return parsed->view;
}

std::string describe_frame(const Frame& frame) {
  constexpr std::size_t kShown = 128;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = std::to_string(frame.size()) + " bytes";
  for (std::size_t i = 0; i < std::min(frame.size(), kShown); ++i) {
    if (i % 4 == 2 || i == 0) text += ' ';
    text += {kDigits[frame[i] >> 4], kDigits[frame[i] & 15]};
  }
  return text + (frame.size() > kShown ? " ..." : "");
}

}  // namespace sockrepair::test

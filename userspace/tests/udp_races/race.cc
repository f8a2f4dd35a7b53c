// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "udp_races/race.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "send_queue_wire.h"
#include "sockrepair/syscall.h"
#include "sockrepair/udp_send_queue.h"
#include "try.h"
#include "uapi.h"
#include "util/deadline.h"
#include "util/error_queue.h"

namespace sockrepair::test {

namespace {

constexpr int kSndbuf = 1 << 20;
constexpr std::size_t kHeader = sizeof(udp_repair_send_queue);
constexpr std::size_t kLongestDump = 1 << 17;
constexpr std::size_t kMtu = 1500;
constexpr std::uint64_t kDumpsInARow = 16;

// The file is there if the kernel checks its locks, as the debug flavour does.
std::chrono::milliseconds race_time() {
  bool checked = ::access("/proc/lockdep", F_OK) == 0;
  return std::chrono::milliseconds(checked ? 3000 : 1500);
}

Error wrong(const std::string& what) {
  return Error{EPROTO, what};
}

// Lets the others go on, on a machine with fewer processors than threads: back when one of them has
// changed `state` since it was `*seen`, or when none of them could.
void let_others_go_on(const std::atomic<std::uint64_t>& state, std::uint64_t* seen) {
  constexpr int kPatienceInYields = 20;
  for (int i = 0; i < kPatienceInYields && state == *seen; ++i) std::this_thread::yield();
  *seen = state;
}

// ------------------------------------------------------------------------------------ the writers

// Appends numbered blocks. Its memory is not written again until much later than any datagram
// lives, for the kernel may read it there.
class Writer {
 public:
  // Counts what it does in `state`.
  Writer(const Race& race, const RacePeer& peer, std::uint16_t number, std::uint32_t seed,
         std::atomic<std::uint64_t>* state)
      : options_(race.writer),
        peer_(peer),
        number_(number),
        random_(seed),
        memory_(kMemory),
        state_(state) {}

  // One datagram, from beginning to end, unless somebody gets in the way.
  void write_datagram(const Fd& fd) {
    std::size_t configuration_number = random_() % kConfigurations;
    std::size_t appends = 1 + random_() % options_.max_appends;
    for (std::size_t i = 0; i < appends; ++i) {
      bool last = i + 1 == appends;
      Transfer transfer = options_.transfers[random_() % options_.transfers.size()];
      // A splice says nothing but what to append.
      if (i == 0 && transfer == Transfer::kSpliced) transfer = Transfer::kCopied;
      append(fd, configuration_number, transfer, !last);
      ++*state_;
      // Now and then somebody else may see the datagram as it is now.
      if (random_() % 4 == 0) std::this_thread::yield();
    }
    if (std::count(options_.transfers.begin(), options_.transfers.end(), Transfer::kZerocopy) > 0)
      (void)drain_errors(fd);
  }

  std::uint64_t appends() const { return appends_; }
  std::uint64_t failed() const { return failed_; }

 private:
  static constexpr std::size_t kMemory = 4 << 20;

  void append(const Fd& fd, std::size_t configuration_number, Transfer transfer, bool more) {
    std::size_t count = 1 + random_() % options_.max_blocks;
    std::size_t size = count * kBlockSize;
    if (used_ + size > memory_.size()) used_ = 0;
    std::uint8_t* at = memory_.data() + used_;
    used_ += size;
    write_blocks({number_, static_cast<std::uint16_t>(configuration_number), next_}, count, at);

    Configuration to = configuration(peer_.family, configuration_number);
    Send what{.payload = {at, size}, .more = more, .transfer = transfer, .flags = MSG_DONTWAIT};
    if (options_.to_address) what.to = to.to;
    if (options_.with_messages) what.control = messages(to);
    // A failed append ends the datagram or leaves it as it was; either way its numbers are free.
    if (send(fd, what)) {
      ++appends_;
      next_ += static_cast<std::uint32_t>(count);
    } else {
      ++failed_;
    }
  }

  sockrepair::internal::ControlMessages messages(const Configuration& to) const {
    sockrepair::internal::ControlMessages control;
    bool v4 = peer_.family == Family::kIpv4;
    int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    control.add<int>(level, v4 ? IP_TOS : IPV6_TCLASS, to.traffic_class);
    control.add<int>(level, v4 ? IP_TTL : IPV6_HOPLIMIT, to.hop_limit);
    control.add(SOL_SOCKET, SO_MARK, to.mark);
    control.add(SOL_SOCKET, SO_PRIORITY, to.priority);
    return control;
  }

  WriterOptions options_;
  RacePeer peer_;
  std::uint16_t number_;
  Random random_;
  std::vector<std::uint8_t> memory_;
  std::atomic<std::uint64_t>* state_;
  std::size_t used_ = 0;
  std::uint32_t next_ = 0;
  // Read when the writer has ended.
  std::uint64_t appends_ = 0;
  std::uint64_t failed_ = 0;
};

// -------------------------------------------------------------------------------------- the dumps

IpAddress address_of(Family family, const __be32 (&words)[4]) {
  if (family == Family::kIpv4) return IpAddress(in_addr{words[0]});
  in6_addr v6{};
  memcpy(&v6, words, sizeof(v6));
  return IpAddress(v6);
}

std::string unequal(const char* member, std::uint64_t is, std::uint64_t wanted) {
  if (is == wanted) return "";
  return std::string(member) + " " + std::to_string(is) + ", not " + std::to_string(wanted) + "; ";
}

std::string unequal(const char* member, const IpAddress& is, const IpAddress& wanted) {
  if (is == wanted) return "";
  return std::string(member) + " " + is.to_string() + ", not " + wanted.to_string() + "; ";
}

// The members of one configuration, all of them.
std::string check_configuration(const Dump& dump, const RacePeer& peer) {
  std::size_t number = ntohs(dump.header.dport) - configuration(peer.family, 0).to.port;
  if (number >= kConfigurations)
    return "dport " + std::to_string(ntohs(dump.header.dport)) + " of no configuration";
  if (!dump.blocks.empty() && dump.blocks.front().configuration != number) {
    return "the first block is for configuration " +
           std::to_string(dump.blocks.front().configuration) + ", the header has the port of " +
           std::to_string(number);
  }
  Configuration wanted = configuration(peer.family, number);
  const udp_repair_send_queue& header = dump.header;
  return unequal("daddr", address_of(peer.family, header.daddr), wanted.to.address) +
         unequal("tclass", static_cast<std::uint16_t>(header.tclass), wanted.traffic_class) +
         unequal("hop_limit", static_cast<std::uint16_t>(header.hop_limit), wanted.hop_limit) +
         unequal("mark", header.mark, wanted.mark) +
         unequal("priority", header.priority, wanted.priority);
}

// What holds in every race: the header agrees with itself, with the buffer and with the socket.
std::string check_header(const udp_repair_send_queue& header, std::size_t buffer,
                         std::size_t written, const Race& race, const RacePeer& peer) {
  // A route whose device has gone has one without a number in its place.
  std::uint32_t wanted_ifindex =
      race.disturber_has_interface && header.ifindex == 0 ? 0 : kRaceIfindex;
  std::size_t parts = header.ipopt_len + header.hopopt_len + header.dst0opt_len + header.srcrt_len +
                      header.dst1opt_len;
  bool cut = (header.state & UDP_REPAIR_SQ_TRUNC) != 0;
  return unequal("size", header.size, kHeader) +
         unequal("total_len", header.total_len, kHeader + parts + header.payload_len) +
         unequal("bytes written", written, std::min<std::size_t>(header.total_len, buffer)) +
         unequal("cut", cut, header.total_len > buffer) +
         unequal("family", header.family, peer.family == Family::kIpv4 ? AF_INET : AF_INET6) +
         unequal("sport", ntohs(header.sport), kRacePort) +
         unequal("saddr", address_of(peer.family, header.saddr), race_source(peer.family)) +
         unequal("fragsize", header.fragsize, kMtu) +
         unequal("ifindex", header.ifindex, wanted_ifindex) +
         unequal("blocks", header.payload_len % kBlockSize, 0) +
         unequal("no payload", header.payload_len == 0, false);
}

// Dumps, and checks what it gets.
class Dumper {
 public:
  Dumper(const RaceCase& race_case, std::uint32_t seed)
      : race_(race_case.race), peer_(race_case.peer), random_(seed), buffer_(kLongestDump) {}

  // One dump. EPROTO: it was wrong.
  Result<void> dump(const Fd& fd) {
    std::size_t length = buffer_length();
    udp_repair_send_queue header{};
    header.size = kHeader;
    memcpy(buffer_.data(), &header, kHeader);
    Result<socklen_t> written = sys::getsockopt_bytes(
        fd.get(), SOL_UDP, UDP_REPAIR_SEND_QUEUE, buffer_.data(), static_cast<socklen_t>(length));
    if (!written && written.error().code == race_.may_fail_with) {
      ++result_.refused;
      return {};
    }
    if (!written) return written.error();
    if (*written < kHeader || *written > length)
      return wrong(std::to_string(*written) + " bytes written");
    Result<void> checked = check(length, *written);
    if (!checked) {
      return wrong(checked.error().what + "\n" + std::to_string(*written) + " bytes: " +
                   hex(std::span(buffer_).first(std::min<std::size_t>(*written, 1024))));
    }
    return {};
  }

  const RaceResult& result() const { return result_; }

 private:
  std::size_t buffer_length() {
    switch (random_() % 4) {
      case 0:
        return kHeader;
      case 1:
        return kHeader + random_() % 8192;
      default:
        return kLongestDump;
    }
  }

  Result<void> check(std::size_t length, std::size_t written) {
    Dump dump{};
    memcpy(&dump.header, buffer_.data(), kHeader);
    if (dump.header.family == 0) return check_empty(dump.header, written);
    if (std::string problem = check_header(dump.header, length, written, race_, peer_);
        !problem.empty())
      return wrong(problem);

    std::size_t parts = dump.header.total_len - kHeader - dump.header.payload_len;
    std::span<const std::uint8_t> rest = std::span(buffer_).subspan(kHeader, written - kHeader);
    dump.options = rest.first(std::min(parts, rest.size()));
    bool cut = (dump.header.state & UDP_REPAIR_SQ_TRUNC) != 0;
    SOCKREPAIR_TRY_ASSIGN(
        dump.blocks, read_blocks(rest.subspan(dump.options.size()), cut ? Cut::kYes : Cut::kNo));
    auto members = race_.check != nullptr ? race_.check : check_configuration;
    if (std::string problem = members(dump, peer_); !problem.empty()) return wrong(problem);
    if (!cut) SOCKREPAIR_TRY(library_reads(written));
    count(dump, cut);
    return {};
  }

  Result<void> check_empty(const udp_repair_send_queue& header, std::size_t written) {
    udp_repair_send_queue wanted{};
    wanted.size = kHeader;
    wanted.total_len = kHeader;
    if (written != kHeader || memcmp(&header, &wanted, kHeader) != 0)
      return wrong("nothing under construction, and yet something in the dump");
    ++result_.empty;
    return {};
  }

  // The library finds nothing to say about it either.
  Result<void> library_reads(std::size_t written) const {
    Result<std::optional<SendQueue>> queue =
        sockrepair::internal::parse_send_queue(std::span(buffer_).first(written));
    if (!queue) return queue.error();
    return {};
  }

  void count(const Dump& dump, bool cut) {
    ++result_.dumps;
    if (cut) ++result_.cut;
    if (race_.special != nullptr && race_.special(dump)) ++result_.special;
    if (!dump.blocks.empty() && dump.blocks.front() != last_) {
      ++result_.datagrams;
      last_ = dump.blocks.front();
    }
  }

  static std::string hex(std::span<const std::uint8_t> bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (std::uint8_t byte : bytes) {
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    }
    return text;
  }

  const Race& race_;
  RacePeer peer_;
  Random random_;
  std::vector<std::uint8_t> buffer_;
  Block last_{0xffff, 0, 0};
  RaceResult result_;
};

// The members of RaceResult, by name: for comparison and for people.
constexpr struct {
  const char* name;
  std::uint64_t RaceResult::*member;
} kCounts[] = {
    {"dumps", &RaceResult::dumps},
    {"datagrams", &RaceResult::datagrams},
    {"cut", &RaceResult::cut},
    {"special", &RaceResult::special},
    {"empty", &RaceResult::empty},
    {"refused", &RaceResult::refused},
    {"appends", &RaceResult::appends},
    {"failed_appends", &RaceResult::failed_appends},
    {"disturbances", &RaceResult::disturbances},
};

// What is missing of the least that must have happened.
std::string missing(const RaceResult& result, const RaceResult& least) {
  std::string text;
  for (const auto& count : kCounts) {
    if (result.*count.member >= least.*count.member) continue;
    text += std::string(count.name) + " " + std::to_string(result.*count.member) +
            ", must be at least " + std::to_string(least.*count.member) + "; ";
  }
  return text;
}

}  // namespace

std::string describe(const RaceResult& result) {
  std::string text;
  for (const auto& count : kCounts)
    text += std::string(text.empty() ? "" : ", ") + count.name + " " +
            std::to_string(result.*count.member);
  return text;
}

Configuration configuration(Family family, std::size_t i) {
  IpAddress to = family == Family::kIpv4
                     ? *IpAddress::parse("198.51.100." + std::to_string(i + 1))
                     : *IpAddress::parse("2001:db8:5::" + std::to_string(i + 1));
  std::uint8_t n = static_cast<std::uint8_t>(i + 1);
  // No ECN bits.
  return {.to = {to, static_cast<std::uint16_t>(6000 + i), 0},
          .traffic_class = static_cast<std::uint8_t>(0x20 * n),
          .hop_limit = static_cast<std::uint8_t>(10 + n),
          .mark = 0x100U + n,
          .priority = n};
}

std::string interface_up_commands() {
  std::string name = kRaceInterface;
  return "link add " + name + " index " + std::to_string(kRaceIfindex) +
         " arp off type veth peer name race1\n"
         "link set race1 addrgenmode none arp off up\n"
         "link set " +
         name +
         " addrgenmode none up\n"
         "addr add " +
         race_source(Family::kIpv4).to_string() + "/24 dev " + name + "\naddr add " +
         race_source(Family::kIpv6).to_string() + "/64 dev " + name +
         " nodad\n"
         "route add default dev " +
         name +
         "\n"
         "route add ::/0 dev " +
         name + "\n";
}

std::string interface_down_commands() {
  return std::string("link del ") + kRaceInterface + "\n";
}

IpAddress race_source(Family family) {
  return *IpAddress::parse(family == Family::kIpv4 ? "192.0.2.1" : "2001:db8:1::1");
}

Result<Fd> race_socket(const Race& race, const RacePeer& peer, const NetNs& ns) {
  SOCKREPAIR_TRY_ASSIGN(Fd fd, ns.run([&] { return sys::socket(peer.domain, SOCK_DGRAM, 0); }));
  const SocketOption options[] = {
      {SOL_SOCKET, SO_REUSEPORT, 1},
      {SOL_SOCKET, SO_SNDBUF, kSndbuf},
      {SOL_SOCKET, SO_ZEROCOPY, 1},
      {SOL_UDP, UDP_REPAIR, UDP_REPAIR_ON},
      // The address comes and goes with the interface.
      {IPPROTO_IP, IP_FREEBIND, 1},
  };
  SOCKREPAIR_TRY(set_all(fd, options));
  if (race.options != nullptr) SOCKREPAIR_TRY(set_all(fd, race.options(peer.family)));
  SOCKREPAIR_TRY(
      sys::bind(fd.get(), SocketAddress({race_source(peer.family), kRacePort, 0}, peer.domain)));
  return fd;
}

Result<RaceResult> run_race(const RaceCase& race_case, std::uint32_t seed) {
  const Race& race = race_case.race;
  SOCKREPAIR_TRY_ASSIGN(NetNs ns, NetNs::create());
  if (!race.disturber_has_interface) SOCKREPAIR_TRY(ns.ip(interface_up_commands()));
  SOCKREPAIR_TRY_ASSIGN(Fd fd, race_socket(race, race_case.peer, ns));

  Dumper dumper(race_case, seed);
  std::atomic<std::uint64_t> state{0};  // changes with each append
  std::vector<std::unique_ptr<Writer>> writers;
  for (std::uint16_t i = 0; i < race.writers; ++i)
    writers.push_back(std::make_unique<Writer>(race, race_case.peer, i, seed + 1 + i, &state));
  std::atomic<std::uint64_t> disturbances{0};
  Result<void> disturbed;  // of the disturber until it has ended
  std::atomic<bool> gave_up{false};

  std::vector<std::unique_ptr<Worker>> workers;
  for (const std::unique_ptr<Writer>& writer : writers) {
    workers.push_back(std::make_unique<Worker>("writer", [&](const std::atomic<bool>& stop) {
      while (!stop) writer->write_datagram(fd);
    }));
  }
  if (race.disturb != nullptr) {
    workers.push_back(std::make_unique<Worker>("disturber", [&](const std::atomic<bool>& stop) {
      Random random(seed);
      for (std::uint64_t seen = 0; !stop; let_others_go_on(state, &seen)) {
        Result<void> result = race.disturb(fd, race_case.peer, ns, random);
        if (!result) {
          disturbed = result;
          gave_up = true;
          return;
        }
        ++disturbances;
      }
    }));
  }

  // Longer than planned only if something is still missing, on a slow machine.
  RaceResult so_far;
  auto enough = [&] {
    so_far = dumper.result();
    so_far.disturbances = disturbances;
    RaceResult least = race.least;
    least.appends = least.failed_appends = 0;  // not known before the writers have ended
    return missing(so_far, least).empty();
  };
  Deadline planned = Deadline::after(race_time());
  Deadline last = Deadline::after(10 * race_time());
  Result<void> dumped;
  std::uint64_t seen = 0;
  std::uint64_t dumps = 0;
  while (dumped && !gave_up && !last.passed() && !(planned.passed() && enough())) {
    // Several times in a row, or a dump would always come right after an append, never during one.
    if (++dumps % kDumpsInARow == 0) let_others_go_on(state, &seen);
    dumped = dumper.dump(fd);
  }

  for (const std::unique_ptr<Worker>& worker : workers)
    worker->stop_and_join(Deadline::after(kPatience));
  if (!dumped) return dumped.error();
  if (!disturbed) return disturbed.error();

  RaceResult result = dumper.result();
  result.disturbances = disturbances;
  for (const std::unique_ptr<Writer>& writer : writers) {
    result.appends += writer->appends();
    result.failed_appends += writer->failed();
  }
  std::string lacks = missing(result, race.least);
  if (!lacks.empty()) return Error{ENODATA, lacks + "in " + describe(result)};
  return result;
}

}  // namespace sockrepair::test

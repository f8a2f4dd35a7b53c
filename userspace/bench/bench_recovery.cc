// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// How fast a connection that sends all it can is again after it was moved to another host, round
// trip by round trip, by what is carried. For `make bench-recovery`.
//
//   bench_recovery begin
//   link: 100.0 Mbit/s, 50 ms round trip, ...
//   progress: 1 of 18, undisturbed
//   table: rtt undisturbed stock ...
//   table: -2 94.1 93.8 ...
//   ...
//   goal: capped: 90 % of the undisturbed goodput from round trip 2 on: met
//   bench_recovery end
//
//     old  10.0.1.1 --+
//                     +-- router ==== bottleneck ==== receiver 10.0.2.1
//     new  10.0.1.1 --+             delay of the acknowledgments
//
// Goodput is bytes that arrive for the first time, whether in order or not, by the sequence numbers
// on the wire. Round trip 1 begins when the new socket leaves repair mode; the delay is all on the
// way of the acknowledgments, so what is sent in a round trip is what is received in it. Moved
// while it sends, the connection has all its window in flight, and learns in round trip 1 what of
// it has arrived. Needs root.

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "sockrepair/syscall.h"
#include "tcp_control_block/mover.h"
#include "util/command.h"
#include "util/net_ns.h"

namespace sockrepair {
namespace {

// Kernels stamp packets with this one.
using Clock = std::chrono::system_clock;
using Time = std::chrono::time_point<Clock, std::chrono::nanoseconds>;
using std::chrono::milliseconds;
using test::NetNs;

constexpr double kMbit = 100;
constexpr milliseconds kRoundTrip{50};
constexpr int kWarmUp = 50;  // round trips until the window is what the link has room for
constexpr milliseconds kPause{200};
constexpr int kBefore = 3;  // round trips that are shown before the move, and after it
constexpr int kAfter = 16;
constexpr double kGoal = 0.9;
constexpr int kGoalFrom = 2;
constexpr std::uint16_t kPort = 5001;

[[noreturn]] void fail(const std::string& why) {
  printf("bench_recovery failed: %s\n", why.c_str());
  fflush(stdout);
  _exit(1);
}

template <typename T>
T must(Result<T> result) {
  if (!result) fail(result.error().describe());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

// How the connection comes to the new host.
enum class Way {
  kNone,    // it does not
  kQuiet,   // it does not, but its program writes nothing for as long as a move takes
  kStock,   // TCP_REPAIR and its options, without TCP_REPAIR_CB
  kCapped,  // with it, as it comes
  kWhole,   // TCP_REPAIR_CB_CWND_WHOLE
  kSkip,    // TCP_REPAIR_CB_CWND_SKIP
};
struct WayRow {
  Way way;
  const char* name;
  std::uint32_t flags;
};
constexpr int kMoved = 2;  // those from here on
constexpr WayRow kWays[] = {
    {Way::kNone, "undisturbed", 0},
    {Way::kQuiet, "quiet", 0},
    {Way::kStock, "stock", 0},
    {Way::kCapped, "capped", 0},
    {Way::kWhole, "whole", TCP_REPAIR_CB_CWND_WHOLE},
    {Way::kSkip, "skip", TCP_REPAIR_CB_CWND_SKIP},
};

// What the connection is at when it is moved.
enum class Moment {
  kBusy,     // it sends all it can
  kDrained,  // all that was written has been acknowledged: its program was stopped before
};

struct Link {
  double mbit;
  milliseconds round_trip;
  milliseconds pause;
  double bytes() const { return mbit * 1e3 / 8 * static_cast<double>(round_trip.count()); }
};

// --- the network ---

class Network {
 public:
  explicit Network(const Link& link)
      : old_host(must(NetNs::create())),
        new_host(must(NetNs::create())),
        router_(must(NetNs::create())),
        receiver(must(NetNs::create())) {
    must(router_.ip("link add old type veth peer name wire0 netns " + old_host.path() +
                    "\nlink add new type veth peer name wire0 netns " + new_host.path() +
                    "\nlink add far type veth peer name wire0 netns " + receiver.path() + "\n"));
    for (const NetNs* host : {&old_host, &new_host}) {
      // Ten segments at a time: less than a hundredth of the link's round trip.
      must(
          host->ip("link set wire0 address 02:00:00:00:01:01 gso_max_size 15000 up\n"
                   "address add 10.0.1.1/24 dev wire0\n"
                   "neighbour add 10.0.1.254 lladdr 02:00:00:00:00:fe dev wire0\n"
                   "route add default via 10.0.1.254\n"));
    }
    must(
        receiver.ip("link set wire0 address 02:00:00:00:02:01 up\n"
                    "address add 10.0.2.1/24 dev wire0\n"
                    "route add default via 10.0.2.254\n"));
    must(router_.sysctl("ipv4.ip_forward", "1"));
    must(router_.sysctl("ipv4.conf.all.rp_filter", "0"));
    must(
        router_.ip("link set old address 02:00:00:00:00:fe up\n"
                   "link set new address 02:00:00:00:00:fe up\n"
                   "link set far up\n"
                   "address add 10.0.1.254/32 dev old\n"
                   "address add 10.0.2.254/24 dev far\n"
                   "neighbour add 10.0.1.1 lladdr 02:00:00:00:01:01 dev old\n"
                   "neighbour add 10.0.1.1 lladdr 02:00:00:00:01:01 dev new\n"
                   "neighbour add 10.0.2.1 lladdr 02:00:00:00:02:01 dev far\n"));
    const std::string rate = std::to_string(static_cast<long>(link.mbit * 1000)) + "kbit";
    const std::string queue = std::to_string(static_cast<long>(link.bytes()));
    tc(router_, {"far", "root", "tbf", "rate", rate, "burst", "16000", "limit", queue});
    tc(receiver, {"wire0", "root", "netem", "delay", std::to_string(link.round_trip.count()) + "ms",
                  "limit", "100000"});
    route_to("old");
  }

  // Where what is sent to 10.0.1.1 goes; nowhere without a name.
  void route_to(const char* interface) const {
    must(router_.ip(interface ? std::string("route replace 10.0.1.1/32 dev ") + interface + "\n"
                              : "route del 10.0.1.1/32\nroute add blackhole 10.0.1.1/32\n"));
  }
  void route_back_to(const char* interface) const {
    must(router_.ip(std::string("route del blackhole 10.0.1.1/32\nroute add 10.0.1.1/32 dev ") +
                    interface + "\n"));
  }

  NetNs old_host;
  NetNs new_host;

 private:
  static void tc(const NetNs& host, std::vector<std::string> words) {
    words.insert(words.begin(), {"tc", "qdisc", "replace", "dev"});
    (void)must(host.run([&] { return test::run_command(words); }));
  }

  NetNs router_;

 public:
  NetNs receiver;
};

// --- both ends ---

// Bytes that arrived for the first time, and when.
struct Arrival {
  Time when;
  std::uint64_t bytes;
};

// The segments that an interface receives, retransmissions and all.
class Capture {
 public:
  explicit Capture(const NetNs& host)
      : fd_(must(host.run([] { return sys::socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP)); }))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_IP);
    address.sll_ifindex = static_cast<int>(host.ifindex("wire0"));
    if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
      fail("bind(AF_PACKET): " + errno_text(errno));
    must(sys::setsockopt(fd_.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, 1));
    must(sys::setsockopt(fd_.get(), SOL_SOCKET, SO_TIMESTAMPNS, 1));
    must(sys::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20));
    thread_ = std::thread([this] { run(); });
  }
  ~Capture() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  std::vector<Arrival> stop() {
    stop_ = true;
    thread_.join();
    const tpacket_stats missed =
        must(sys::getsockopt<tpacket_stats>(fd_.get(), SOL_PACKET, PACKET_STATISTICS));
    if (missed.tp_drops > 0) fail("the capture missed segments");
    return arrivals();
  }

 private:
  struct Segment {
    Time when;
    std::uint32_t seq;
    std::uint32_t length;
  };

  void run() {
    segments_.reserve(1 << 18);
    while (!stop_) {
      pollfd waiting{fd_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 10) <= 0) continue;
      while (read_one()) {
      }
    }
  }

  bool read_one() {
    struct {
      iphdr ip;
      tcphdr tcp;
    } headers{};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(timespec))];
    iovec part{&headers, sizeof(headers)};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    const ssize_t got = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
    if (got < 0) return false;
    const cmsghdr* const stamp = CMSG_FIRSTHDR(&message);
    if (got < static_cast<ssize_t>(sizeof(headers)) || headers.ip.protocol != IPPROTO_TCP ||
        headers.ip.ihl != 5 || stamp == nullptr)
      return true;
    timespec at{};
    memcpy(&at, CMSG_DATA(stamp), sizeof(at));
    const auto length = static_cast<std::uint32_t>(ntohs(headers.ip.tot_len) - sizeof(iphdr) -
                                                   headers.tcp.doff * 4U);
    if (length > 0 && !headers.tcp.syn)
      segments_.push_back(
          {Time(std::chrono::seconds(at.tv_sec) + std::chrono::nanoseconds(at.tv_nsec)),
           ntohl(headers.tcp.seq), length});
    return true;
  }

  // What has arrived is kept as ranges that do not touch: begin and end.
  std::vector<Arrival> arrivals() const {
    std::map<std::int64_t, std::int64_t> ranges;
    std::vector<Arrival> result;
    std::int64_t last = 0;  // less than 2^31 from the next
    for (const Segment& one : segments_) {
      const std::int64_t begin = last + static_cast<std::int32_t>(one.seq - segments_.front().seq -
                                                                  static_cast<std::uint32_t>(last));
      last = begin;
      const std::int64_t end = begin + one.length;
      std::int64_t fresh = one.length;
      std::int64_t from = begin;
      std::int64_t to = end;
      auto at = ranges.upper_bound(begin);
      if (at != ranges.begin() && std::prev(at)->second >= begin) --at;
      while (at != ranges.end() && at->first <= end) {
        fresh -= std::max<std::int64_t>(0, std::min(at->second, end) - std::max(at->first, begin));
        from = std::min(from, at->first);
        to = std::max(to, at->second);
        at = ranges.erase(at);
      }
      ranges.emplace(from, to);
      if (fresh > 0) result.push_back({one.when, static_cast<std::uint64_t>(fresh)});
    }
    return result;
  }

  Fd fd_;
  std::atomic<bool> stop_{false};
  std::vector<Segment> segments_;
  std::thread thread_;
};

// The receiving program: reads all that comes.
class Reader {
 public:
  explicit Reader(Fd fd) : fd_(std::move(fd)), thread_([this] { run(); }) {}
  ~Reader() {
    stop_ = true;
    thread_.join();
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

 private:
  void run() {
    static char buffer[1 << 18];
    while (!stop_) {
      pollfd waiting{fd_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 10) <= 0) continue;
      const ssize_t got = ::recv(fd_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
      if (got == 0) return;
      if (got < 0 && errno != EAGAIN) fail("recv(): " + errno_text(errno));
    }
  }

  Fd fd_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Writes as much as the socket takes, until then.
void write_until(const Fd& fd, Time end) {
  static const std::vector<char> data(1 << 17, 'x');
  while (Clock::now() < end) {
    pollfd waiting{fd.get(), POLLOUT, 0};
    if (::poll(&waiting, 1, 10) <= 0) continue;
    if (::send(fd.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
        errno != EAGAIN)
      fail("send(): " + errno_text(errno));
  }
}

struct Ends {
  Fd sender;
  Fd receiver;
};

Ends connect(const Network& network) {
  const SocketAddress address({IpAddress::parse("10.0.2.1").value(), kPort, 0}, AF_INET);
  const auto stream = [] { return sys::socket(AF_INET, SOCK_STREAM, 0); };
  Fd listener = must(network.receiver.run(stream));
  must(sys::bind(listener.get(), address));
  if (::listen(listener.get(), 1) != 0) fail("listen(): " + errno_text(errno));
  Fd sender = must(network.old_host.run(stream));
  must(sys::connect(sender.get(), address));
  Fd receiver(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!receiver) fail("accept4(): " + errno_text(errno));
  return {std::move(sender), std::move(receiver)};
}

// --- one run ---

struct Run {
  std::vector<double> mbit;  // of each round trip that is shown
  double pause_ms = 0;
  std::uint32_t cwnd_before = 0;
  std::uint32_t cwnd_after = 0;     // as the new socket begins
  std::uint32_t retransmitted = 0;  // segments, after the move
};

std::uint32_t tcp_number(const Fd& fd, __u32 tcp_info::*member) {
  return must(sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO)).*member;
}

void wait_acked(const Fd& fd, const Link& link) {
  int bytes = 1;
  const Time end = Clock::now() + link.round_trip * 100;
  while (bytes > 0) {
    must(sys::ioctl(fd.get(), SIOCOUTQ, &bytes));
    if (Clock::now() > end) fail("what was written is not acknowledged");
    std::this_thread::sleep_for(milliseconds(1));  // nothing notifies about it
  }
}

// Nothing comes through meanwhile, as with the firewall rule of a tool. The new socket, which still
// has to leave repair mode.
Fd move(const Network& network, const WayRow& way, const Link& link, Fd old,
        test::Connection& image, std::uint32_t& cwnd) {
  const Time begin = Clock::now();
  network.route_to(nullptr);
  must(test::enter_repair(old));
  image = must(test::read_connection(old));
  if (way.way == Way::kStock) image.stock = must(test::read_stock_state(old));
  old.reset();
  Fd fd = must(network.new_host.run([&] { return test::make_socket(image); }));
  std::this_thread::sleep_until(begin + link.pause);  // it is the pause that is measured
  if (image.stock) {
    must(test::set_stock_window(fd, *image.stock));
  } else {
    image.block.flags = way.flags;
    image.block.pause = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count());
    must(test::set_control_block(fd, image.block));
  }
  cwnd = tcp_number(fd, &tcp_info::tcpi_snd_cwnd);
  // Not before: an acknowledgment would be the new socket's, in repair mode or not.
  network.route_back_to("new");
  return fd;
}

Run run_once(const WayRow& way, const Link& link, Moment moment) {
  const Network network(link);
  Capture capture(network.receiver);
  Ends ends = connect(network);
  Reader reader(std::move(ends.receiver));
  Fd fd = std::move(ends.sender);
  Run run;
  write_until(fd, Clock::now() + link.round_trip * kWarmUp);
  run.cwnd_before = tcp_number(fd, &tcp_info::tcpi_snd_cwnd);

  if (way.way != Way::kNone && moment == Moment::kDrained) wait_acked(fd, link);
  const Time stopped = Clock::now();
  Time restored = stopped;
  if (way.way == Way::kQuiet) {
    std::this_thread::sleep_until(stopped + link.pause);  // nothing happens: that is what it is
    restored = Clock::now();
  } else if (way.way != Way::kNone) {
    test::Connection image;
    fd = move(network, way, link, std::move(fd), image, run.cwnd_after);
    run.retransmitted -= tcp_number(fd, &tcp_info::tcpi_total_retrans);
    restored = Clock::now();
    must(test::resume_with_probe(fd, image));
  }
  write_until(fd, restored + link.round_trip * (kAfter + 1));
  run.retransmitted += tcp_number(fd, &tcp_info::tcpi_total_retrans);
  run.pause_ms = std::chrono::duration<double, std::milli>(restored - stopped).count();
  const std::vector<Arrival> arrivals = capture.stop();

  // Round trips before the move end where it begins, those after it begin where it ends.
  const auto goodput = [&](Time from) {
    std::uint64_t bytes = 0;
    for (const Arrival& one : arrivals)
      if (one.when >= from && one.when < from + link.round_trip) bytes += one.bytes;
    return static_cast<double>(bytes) * 8 / 1e3 / static_cast<double>(link.round_trip.count());
  };
  for (int i = kBefore; i > 0; --i) run.mbit.push_back(goodput(stopped - link.round_trip * i));
  for (int i = 0; i < kAfter; ++i) run.mbit.push_back(goodput(restored + link.round_trip * i));
  return run;
}

// --- all of them ---

double median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

template <typename T>
double median_of(const std::vector<Run>& runs, T Run::*member) {
  std::vector<double> samples;
  for (const Run& one : runs) samples.push_back(static_cast<double>(one.*member));
  return median(samples);
}

double median_at(const std::vector<Run>& runs, std::size_t index) {
  std::vector<double> samples;
  for (const Run& one : runs) samples.push_back(one.mbit[index]);
  return median(samples);
}

int benchmark(const Link& link, int count, Moment moment) {
  printf("bench_recovery begin\n");
  printf(
      "link: %.1f Mbit/s, %ld ms round trip, queue of one round trip (%.0f bytes); "
      "%s, pause %ld ms; medians of %d runs\n",
      link.mbit, static_cast<long>(link.round_trip.count()), link.bytes(),
      moment == Moment::kBusy ? "moved while it sends" : "moved with nothing in flight",
      static_cast<long>(link.pause.count()), count);
  // In turn, so that what else the machine does hits all of them.
  std::array<std::vector<Run>, std::size(kWays)> runs;
  for (int i = 0; i < count; ++i) {
    for (std::size_t way = 0; way < std::size(kWays); ++way) {
      printf("progress: %zu of %zu, %s\n", i * std::size(kWays) + way + 1, count * std::size(kWays),
             kWays[way].name);
      runs[way].push_back(run_once(kWays[way], link, moment));
    }
  }

  std::vector<double> steady;
  for (int i = 0; i < kBefore + kAfter; ++i) steady.push_back(median_at(runs[0], i));
  const double undisturbed = median(steady);
  printf("undisturbed: %.1f Mbit/s, %.0f %% of the link\n", undisturbed,
         100 * undisturbed / link.mbit);
  for (std::size_t way = kMoved; way < std::size(kWays); ++way)
    printf("%s: pause %.0f ms, window %.0f segments, then %.0f; %.0f segments sent again\n",
           kWays[way].name, median_of(runs[way], &Run::pause_ms),
           median_of(runs[way], &Run::cwnd_before), median_of(runs[way], &Run::cwnd_after),
           median_of(runs[way], &Run::retransmitted));

  printf("table: rtt");
  for (const WayRow& way : kWays) printf(" %s", way.name);
  printf("\n");
  for (int i = 0; i < kBefore + kAfter; ++i) {
    printf("table: %d", i < kBefore ? i - kBefore : i - kBefore + 1);
    for (const std::vector<Run>& of : runs) printf(" %.1f", median_at(of, i));
    printf("\n");
  }

  bool met = undisturbed >= kGoal * link.mbit;
  if (!met) printf("goal: this machine does not fill the link: nothing is said\n");
  for (std::size_t way = kMoved; way < std::size(kWays); ++way) {
    double least = undisturbed;
    int from = kAfter + 1;  // the round trip from which on all reach the goal
    for (int i = kAfter; i >= 1; --i) {
      const double mbit = median_at(runs[way], kBefore + i - 1);
      if (mbit < kGoal * undisturbed) break;
      from = i;
    }
    for (int i = kGoalFrom; i <= kAfter; ++i)
      least = std::min(least, median_at(runs[way], kBefore + i - 1));
    const bool reached = least >= kGoal * undisturbed;
    if (kWays[way].way == Way::kCapped) met = met && reached;
    printf(
        "goal: %s: 90 %% of the undisturbed goodput from round trip %d on: %s; from %d on, "
        "least %.0f %%\n",
        kWays[way].name, kGoalFrom, reached ? "met" : "MISSED", from, 100 * least / undisturbed);
  }
  printf("bench_recovery end\n");
  return met ? 0 : 1;
}

}  // namespace
}  // namespace sockrepair

int main(int argc, char** argv) {
  using namespace sockrepair;
  int count = 3;
  int pause = static_cast<int>(kPause.count());
  int drained = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    int* const value = name == "--runs"      ? &count
                       : name == "--pause"   ? &pause
                       : name == "--drained" ? &drained
                                             : nullptr;
    if (value == nullptr || (*value = atoi(argv[i + 1])) < 0 || count < 1)
      fail("usage: bench_recovery [--runs N] [--pause MS] [--drained 0|1]");
  }
  setvbuf(stdout, nullptr, _IOLBF, 0);
  return benchmark({kMbit, kRoundTrip, milliseconds(pause)}, count,
                   drained ? Moment::kDrained : Moment::kBusy);
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_control_block/situations.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/tcp_repair.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>

#include "sockrepair/syscall.h"
#include "tcp_control_block/mover.h"
#include "tcp_restore/image.h"
#include "try.h"
#include "util/command.h"
#include "util/deadline.h"

namespace sockrepair::test {

namespace {

constexpr std::uint16_t kPort = 6000;
constexpr std::uint64_t kSecond = 1'000'000;
constexpr std::uint64_t kDay = 86400 * kSecond;
constexpr const char* kDelay = "delay 10ms limit 10000";

Result<void> set_netem(const NetNs& host, const std::string& how) {
  std::vector<std::string> command = {"tc", "qdisc", "replace", "dev", kWire, "root", "netem"};
  for (std::size_t at = 0; at < how.size();) {
    const std::size_t end = std::min(how.find(' ', at), how.size());
    command.push_back(how.substr(at, end - at));
    at = end + 1;
  }
  SOCKREPAIR_TRY(host.run([&] { return run_command(command); }));
  return {};
}

Result<tcp_info> info_of(const Fd& fd) {
  return sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO);
}

// Waits until TCP_INFO of the server says so; nothing notifies about it.
Result<void> wait_for(World& world, const char* what, bool (*condition)(const tcp_info& info)) {
  return wait_until(what, Deadline::after(kPatience), [&] {
    const Result<tcp_info> info = info_of(world.server);
    return info.ok() && condition(*info);
  });
}

Result<void> shut(const Fd& fd) {
  return sys::shutdown(fd.get(), SHUT_WR);
}

Result<void> wait_for_state(World& world, std::uint8_t state) {
  return wait_until("state " + std::to_string(state), Deadline::after(kPatience), [&] {
    const Result<tcp_info> info = info_of(world.server);
    return info.ok() && info->tcpi_state == state;
  });
}

Result<void> send_urgent(const Fd& fd) {
  if (::send(fd.get(), "!", 1, MSG_OOB | MSG_NOSIGNAL) != 1) return Error{errno, "send(MSG_OOB)"};
  return {};
}

// --- situations ---

Result<void> nothing(World&) {
  return {};
}

Result<void> unread(World& world) {
  SOCKREPAIR_TRY(world.up.send(world.client, 20000));
  return wait_until("data to be read", Deadline::after(kPatience), [&] {
    int bytes = 0;
    return sys::ioctl(world.server.get(), SIOCINQ, &bytes).ok() && bytes == 20000;
  });
}

Result<void> in_flight(World& world) {
  SOCKREPAIR_TRY(world.deafen_client(true));
  return world.down.send(world.server, 10000);
}

Result<void> both_queues(World& world) {
  SOCKREPAIR_TRY(unread(world));
  return in_flight(world);
}

Result<void> retransmitted(World& world) {
  SOCKREPAIR_TRY(in_flight(world));
  return wait_for(world, "two timeouts",
                  [](const tcp_info& info) { return info.tcpi_backoff >= 2; });
}

// Ten segments, each on its own.
Result<void> send_segments(Stream& stream, const Fd& from) {
  SOCKREPAIR_TRY(sys::setsockopt(from.get(), IPPROTO_TCP, TCP_NODELAY, 1));
  for (int i = 0; i < 10; ++i) SOCKREPAIR_TRY(stream.send(from, 1400));
  return {};
}

// The client lacks the first segment of some, and has told which others it has.
Result<void> sacked(World& world) {
  SOCKREPAIR_TRY_ASSIGN(const tcp_repair_cb before, look_at(world.server));
  SOCKREPAIR_TRY(lose_segment(world.client, before.snd_nxt));
  SOCKREPAIR_TRY(send_segments(world.down, world.server));
  SOCKREPAIR_TRY(wait_for(world, "selective acknowledgments",
                          [](const tcp_info& info) { return info.tcpi_sacked >= 5; }));
  return world.deafen_client(true);
}

// The server lacks the first segment of some. The filter stays: it is the socket's, and goes with
// it.
Result<void> out_of_order(World& world) {
  SOCKREPAIR_TRY_ASSIGN(const tcp_repair_cb before, look_at(world.server));
  SOCKREPAIR_TRY(lose_segment(world.server, before.rcv_nxt));
  SOCKREPAIR_TRY(send_segments(world.up, world.client));
  return wait_until("segments out of order", Deadline::after(kPatience), [&] {
    const Result<tcp_info> info = info_of(world.client);
    return info.ok() && info->tcpi_sacked >= 5;
  });
}

// Interactive, so that the acknowledgment of a small segment waits.
Result<void> delayed_ack(World& world) {
  for (int i = 0; i < 4; ++i) {
    SOCKREPAIR_TRY(world.up.transfer(world.client, world.server, 10));
    SOCKREPAIR_TRY(world.down.transfer(world.server, world.client, 10));
  }
  return world.up.transfer(world.client, world.server, 10).ok() ? Result<void>{}
                                                                : Error{EIO, "a small segment"};
}

Result<void> urgent_received(World& world) {
  SOCKREPAIR_TRY(world.up.send(world.client, 1000));
  SOCKREPAIR_TRY(send_urgent(world.client));
  return wait_until("urgent data", Deadline::after(kPatience), [&] {
    int bytes = 0;
    return sys::ioctl(world.server.get(), SIOCINQ, &bytes).ok() && bytes == 1000;
  });
}

Result<void> urgent_sent(World& world) {
  SOCKREPAIR_TRY(in_flight(world));
  return send_urgent(world.server);
}

// The client does not read: the window closes, and is asked about.
Result<void> zero_window(World& world) {
  while (world.down.send(world.server, 16384).ok()) {
  }
  SOCKREPAIR_TRY(wait_until("a closed window", Deadline::after(kPatience), [&] {
    while (world.down.send(world.server, 16384).ok()) {
    }
    const Result<tcp_info> info = info_of(world.server);
    return info.ok() && info->tcpi_unacked == 0 && info->tcpi_snd_wnd == 0;
  }));
  SOCKREPAIR_TRY(world.deafen_client(true));
  return wait_for(world, "a probe without an answer",
                  [](const tcp_info& info) { return info.tcpi_probes >= 1; });
}

Result<void> fin_wait1(World& world) {
  SOCKREPAIR_TRY(unread(world));
  SOCKREPAIR_TRY(in_flight(world));
  return shut(world.server);
}

Result<void> fin_wait2(World& world) {
  SOCKREPAIR_TRY(shut(world.server));
  return wait_for_state(world, 5);
}

Result<void> close_wait(World& world) {
  SOCKREPAIR_TRY(unread(world));
  SOCKREPAIR_TRY(shut(world.client));
  return wait_for_state(world, 8);
}

Result<void> last_ack(World& world) {
  SOCKREPAIR_TRY(close_wait(world));
  SOCKREPAIR_TRY(in_flight(world));
  SOCKREPAIR_TRY(shut(world.server));
  return wait_for_state(world, 9);
}

// Both FINs are on their way at the same time: neither acknowledges the other.
Result<void> closing(World& world) {
  SOCKREPAIR_TRY(world.deafen_client(true));
  SOCKREPAIR_TRY(shut(world.server));
  SOCKREPAIR_TRY(shut(world.client));
  return wait_for_state(world, 11);
}

Result<void> vegas(World& world) {
  constexpr char kName[] = "vegas";
  SOCKREPAIR_TRY(sys::setsockopt_bytes(world.server.get(), IPPROTO_TCP, TCP_CONGESTION, kName,
                                       sizeof(kName) - 1));
  SOCKREPAIR_TRY(world.down.transfer(world.server, world.client, 100'000));
  return wait_for(world, "all of it acknowledged",
                  [](const tcp_info& info) { return info.tcpi_unacked == 0; });
}

// The timestamps of both ends count microseconds from here on: a move can change the unit, and the
// next timestamp goes on from the last.
Result<void> microseconds(World& world) {
  struct End {
    const NetNs* host;
    Fd* fd;
  };
  for (const End& end :
       {End{&world.hosts.sender, &world.client}, End{&world.hosts.receiver, &world.server}}) {
    SOCKREPAIR_TRY(enter_repair(*end.fd));
    SOCKREPAIR_TRY_ASSIGN(Connection image, read_connection(*end.fd));
    end.fd->reset();
    SOCKREPAIR_TRY_ASSIGN(*end.fd, end.host->run([&] { return make_socket(image); }));
    image.block.ts_usec = 1;
    SOCKREPAIR_TRY(set_control_block(*end.fd, image.block));
    SOCKREPAIR_TRY(resume(*end.fd, image));
  }
  return {};
}

bool any(std::uint64_t value) {
  return value != 0;
}

std::function<bool(std::uint64_t)> at_least(std::uint64_t least) {
  return [least](std::uint64_t value) { return value >= least; };
}

std::function<bool(std::uint64_t)> exactly(std::uint64_t want) {
  return [want](std::uint64_t value) { return value == want; };
}

constexpr std::uint32_t kWhole = TCP_REPAIR_CB_CWND_WHOLE;
constexpr std::uint32_t kSkip = TCP_REPAIR_CB_CWND_SKIP;
constexpr std::uint32_t kCount = TCP_REPAIR_CB_COUNT_PAUSE;

std::vector<Situation> make_situations() {
  const Evidence learned = {{"srtt_us", at_least(8 * 9000)},
                            {"snd_cwnd", at_least(20)},
                            {"bytes_acked", at_least(300'000)},
                            {"bytes_received", at_least(300'000)},
                            {"keepalive_time", any},
                            {"icsk_keepalive_timer.entry.pprev", any}};
  const auto with = [&learned](Evidence more) {
    more.insert(more.end(), learned.begin(), learned.end());
    return more;
  };
  return {
      {"learned_v4", AF_INET, {}, "", nothing, learned, kWhole},
      {"learned_v6", AF_INET6, {}, "", nothing, learned, kWhole},
      {"capped", AF_INET, {}, "", nothing, learned},
      {"without_path", AF_INET, {}, "", nothing, learned, kSkip},
      {"pause", AF_INET, {}, "", nothing, learned, kWhole, 100 * kSecond},
      {"pause_of_a_month", AF_INET, {}, "", nothing, learned, kWhole, 30 * kDay},
      {"counted_pause", AF_INET, {}, "", nothing, learned, kWhole | kCount, 100 * kSecond},
      {"counted_month", AF_INET, {}, "", nothing, learned, kWhole | kCount, 30 * kDay},
      {"microseconds",
       AF_INET,
       {},
       "",
       retransmitted,
       {{"tcp_usec_ts", exactly(1)}, {"retrans_stamp", any}},
       kWhole,
       0,
       microseconds},
      {"microseconds_counted",
       AF_INET,
       {},
       "",
       nothing,
       with({{"tcp_usec_ts", exactly(1)}}),
       kWhole | kCount,
       100 * kSecond,
       microseconds},
      {"no_timestamps",
       AF_INET,
       {{"tcp_timestamps", "0"}},
       "",
       nothing,
       with({{"rx_opt.tstamp_ok", exactly(0)}}),
       kWhole},
      {"no_sack",
       AF_INET,
       {{"tcp_sack", "0"}},
       "",
       in_flight,
       with({{"rx_opt.sack_ok", exactly(0)}}),
       kWhole},
      {"reordering",
       AF_INET,
       {{"tcp_reordering", "17"}},
       "",
       nothing,
       with({{"reordering", at_least(17)}}),
       kWhole},
      {"vegas", AF_INET, {}, "", vegas, {{"icsk_ca_ops", any}}, kWhole},
      {"unread", AF_INET, {}, "", unread, with({{"sk_receive_queue.qlen", any}}), kWhole},
      {"in_flight", AF_INET6, {}, "", in_flight, with({{"packets_out", at_least(7)}}), kWhole},
      {"both_queues",
       AF_INET,
       {},
       "",
       both_queues,
       with({{"packets_out", at_least(7)}, {"sk_receive_queue.qlen", any}}),
       kWhole},
      {"retransmitted",
       AF_INET,
       {},
       "",
       retransmitted,
       {{"icsk_backoff", at_least(2)},
        {"icsk_retransmits", at_least(2)},
        {"retrans_stamp", any},
        {"total_retrans", any},
        {"bytes_retrans", any}},
       kWhole},
      {"sacked",
       AF_INET,
       {},
       "",
       sacked,
       {{"sacked_out", at_least(5)},
        {"icsk_ca_state", any},
        {"high_seq", any},
        {"undo_marker", any},
        {"prior_ssthresh", any}},
       kWhole},
      {"out_of_order",
       AF_INET,
       {},
       "",
       out_of_order,
       with({{"rx_opt.num_sacks", any}, {"rcv_ooopack", at_least(5)}, {"ooo_last_skb", any}}),
       kWhole},
      {"delayed_ack",
       AF_INET,
       {},
       "",
       delayed_ack,
       with({{"icsk_ack.pending", any},
             {"icsk_ack.pingpong", any},
             {"icsk_ack.ato", any},
             {"icsk_delack_timer.entry.pprev", any}}),
       kWhole},
      {"urgent_received",
       AF_INET,
       {},
       "",
       urgent_received,
       with({{"urg_data", exactly(0x100 | '!')}}),
       kWhole},
      {"urgent_sent", AF_INET, {}, "", urgent_sent, with({{"packets_out", any}}), kWhole},
      {"ecn",
       AF_INET,
       {{"tcp_ecn", "1"}},
       "loss 20% ecn",
       nothing,
       {{"ecn_flags", at_least(1 | 8)}},
       kWhole},
      {"accecn",
       AF_INET,
       {{"tcp_ecn", "3"}},
       "loss 20% ecn",
       nothing,
       {{"ecn_flags", at_least(16)}, {"received_ce", any}, {"received_ecn_bytes[2]", any}},
       kWhole},
      {"zero_window",
       AF_INET,
       {{"tcp_rmem", "4096 16384 16384"}, {"tcp_wmem", "4096 16384 65536"}},
       "",
       zero_window,
       {{"snd_wnd", exactly(0)}, {"icsk_probes_out", any}, {"icsk_probes_tstamp", any}},
       kWhole},
      {"fin_wait1", AF_INET, {}, "", fin_wait1, with({{"skc_state", exactly(4)}}), kWhole},
      {"fin_wait2", AF_INET, {}, "", fin_wait2, with({{"skc_state", exactly(5)}}), kWhole},
      {"close_wait", AF_INET, {}, "", close_wait, with({{"skc_state", exactly(8)}}), kWhole},
      {"last_ack", AF_INET6, {}, "", last_ack, {{"skc_state", exactly(9)}}, kWhole},
      {"closing", AF_INET, {}, "", closing, with({{"skc_state", exactly(11)}}), kWhole},
  };
}

Result<void> connect(World& world) {
  const int domain = world.domain;
  const Family family = domain == AF_INET ? Family::kIpv4 : Family::kIpv6;
  const SocketAddress address(Endpoint{receiver_address(family), kPort, 0}, domain);
  const auto stream = [domain] { return sys::socket(domain, SOCK_STREAM, 0); };
  SOCKREPAIR_TRY_ASSIGN(Fd listener, world.hosts.receiver.run(stream));
  SOCKREPAIR_TRY(sys::bind(listener.get(), address));
  if (::listen(listener.get(), 1) != 0) return Error{errno, "listen()"};
  SOCKREPAIR_TRY_ASSIGN(world.client, world.hosts.sender.run(stream));
  SOCKREPAIR_TRY(sys::connect(world.client.get(), address));
  world.server = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!world.server) return Error{errno, "accept4()"};
  return {};
}

// Timers that run, options that have a place in the control block, round trips.
Result<void> learn(World& world) {
  const int fd = world.server.get();
  SOCKREPAIR_TRY(sys::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
  SOCKREPAIR_TRY(sys::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1000));
  SOCKREPAIR_TRY(sys::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, 33));
  SOCKREPAIR_TRY(sys::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, 7));
  SOCKREPAIR_TRY(sys::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1));
  SOCKREPAIR_TRY(sys::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 90000));
  SOCKREPAIR_TRY(world.up.transfer(world.client, world.server, 300'000));
  SOCKREPAIR_TRY(world.down.transfer(world.server, world.client, 300'000));
  return wait_for(world, "nothing in flight",
                  [](const tcp_info& info) { return info.tcpi_unacked == 0; });
}

}  // namespace

Result<void> World::deafen_client(bool on) {
  if (on == client_is_deaf) return {};
  SOCKREPAIR_TRY(on ? block(client) : unblock(client));
  client_is_deaf = on;
  return {};
}

Result<void> World::silence_client(bool on) const {
  return set_netem(hosts.sender, on ? "loss 100%" : netem);
}

Result<void> World::silence_server(bool on) const {
  return set_netem(hosts.receiver, on ? "loss 100%" : "loss 0%");
}

const std::vector<Situation>& situations() {
  static const std::vector<Situation> all = make_situations();
  return all;
}

Result<World> make_plain_world(int domain) {
  SOCKREPAIR_TRY_ASSIGN(TwoHosts hosts, TwoHosts::create());
  World world{std::move(hosts), domain, Fd(), Fd(), {}, {}};
  SOCKREPAIR_TRY(connect(world));
  return world;
}

Result<World> make_world(const Situation& situation) {
  SOCKREPAIR_TRY_ASSIGN(TwoHosts hosts, TwoHosts::create());
  World world{std::move(hosts), situation.domain, Fd(), Fd(), {}, {}};
  for (const NetNs* host : {&world.hosts.sender, &world.hosts.receiver}) {
    for (const auto& [name, value] : situation.sysctls)
      SOCKREPAIR_TRY(host->sysctl(std::string("ipv4.") + name, value));
  }
  world.netem = kDelay;
  SOCKREPAIR_TRY(world.silence_client(false));
  SOCKREPAIR_TRY(connect(world));
  // Not before: a SYN that is lost once is sent again without what it asked for.
  if (!situation.netem.empty()) {
    world.netem += " " + situation.netem;
    SOCKREPAIR_TRY(world.silence_client(false));
  }
  if (situation.before_data) SOCKREPAIR_TRY(situation.before_data(world));
  SOCKREPAIR_TRY(learn(world));
  SOCKREPAIR_TRY(situation.prepare(world));
  return world;
}

}  // namespace sockrepair::test

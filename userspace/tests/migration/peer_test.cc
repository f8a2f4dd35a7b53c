// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// A connection goes from one host to another and back while both of its ends talk without a pause,
// in a network that delays, loses, doubles and reorders. This is its peer, which does not move, and
// knows nothing: see scripts/migrate and migration/network.h.
//
// SOCKREPAIR_MIGRATIONS=N says how often it goes.

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "migration/capture.h"
#include "migration/control.h"
#include "migration/conversation.h"
#include "migration/host.h"
#include "migration/kinds.h"
#include "migration/network.h"
#include "migration/situation.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using ::testing::ValuesIn;

constexpr std::uint16_t kFirstPort = 5000;
// What has to arrive in each direction before the connection moves again: more than a window of
// the smallest size, so that both ends have to have heard each other.
constexpr std::uint64_t kStay = 1 << 15;
constexpr int kSendBuffer = 1 << 16;
// How often a long run says where it is.
constexpr unsigned kShown = 100;

unsigned migrations() {
  const char* text = getenv("SOCKREPAIR_MIGRATIONS");
  return text == nullptr || *text == '\0' ? 10 : static_cast<unsigned>(atoi(text));
}

// What is the same for all cases: the network, and the hosts that do what they are asked to.
struct World {
  static Result<World> create() {
    SOCKREPAIR_TRY_ASSIGN(PeerNetwork network, PeerNetwork::create());
    World world{std::move(network), Fd(), Fd()};
    SOCKREPAIR_TRY_ASSIGN(world.source, connect_to(control_endpoint(Station::kSource),
                                                   Deadline::after(kStepPatience)));
    SOCKREPAIR_TRY_ASSIGN(world.destination, connect_to(control_endpoint(Station::kDestination),
                                                        Deadline::after(kStepPatience)));
    return world;
  }

  const Fd& host(Station station) const {
    return station == Station::kSource ? source : destination;
  }

  // The situation of all three, for the text of a failure. `peer`: its end of the connection.
  std::string situation(const Fd& peer) const {
    std::string text;
    for (Station station : {Station::kSource, Station::kDestination}) {
      const Result<Bytes> told = call(host(station), Verb::kTell, {});
      text += std::string("\n") + station_name(station) + "\n" +
              (told ? std::string(told->begin(), told->end()) : told.error().describe());
    }
    return text + "\npeer, application\n" + connection_situation(peer) +
           network.application().run(network_situation) + "peer, cables\n" +
           network.cables().run(network_situation);
  }

  PeerNetwork network;
  Fd source;
  Fd destination;
};

// The peer's end of a connection.
class Peer {
 public:
  static Result<std::unique_ptr<Peer>> accept(const Fd& listener) {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, accept_from(listener, Deadline::after(kStepPatience)));
    std::unique_ptr<Peer> peer(new Peer(std::move(fd)));
    peer->application_.start(peer->fd_);
    return peer;
  }

  // Waits until kStay bytes have arrived here, and as many there, that had not before.
  Result<void> wait_for_progress() {
    const std::uint64_t received = application_.received() + kStay;
    SOCKREPAIR_TRY_ASSIGN(std::uint64_t now, acknowledged());
    const std::uint64_t sent = now + kStay;
    Result<std::uint64_t> arrived = now;
    const Result<void> waited =
        wait_until("both ends get what the other says", Deadline::after(kStepPatience), [&] {
          arrived = acknowledged();
          return !arrived || application_.ended() ||
                 (application_.received() >= received && *arrived >= sent);
        });
    SOCKREPAIR_TRY(arrived);
    SOCKREPAIR_TRY(goes_on());
    if (!waited) {
      return Error{waited.error().code, waited.error().what + ": missing here " +
                                            missing(application_.received(), received) +
                                            ", there " + missing(*arrived, sent) + " bytes"};
    }
    return {};
  }

  // Why the application does not talk any more, if so.
  Result<void> goes_on() {
    if (!application_.ended()) return {};
    SOCKREPAIR_TRY(application_.pause());
    return Error{EPIPE, "the other end has ended the connection"};
  }

  const Fd& socket() const { return fd_; }

  Result<Progress> finish() {
    SOCKREPAIR_TRY(application_.finish(Deadline::after(kStepPatience)));
    return application_.progress();
  }

 private:
  explicit Peer(Fd fd) : fd_(std::move(fd)), application_(Side::kServer, {}) {}

  static std::string missing(std::uint64_t is, std::uint64_t wanted) {
    return std::to_string(wanted > is ? wanted - is : 0);
  }

  Result<std::uint64_t> acknowledged() const {
    SOCKREPAIR_TRY_ASSIGN(const tcp_info info,
                          sys::getsockopt<tcp_info>(fd_.get(), IPPROTO_TCP, TCP_INFO));
    return info.tcpi_bytes_acked;
  }

  Fd fd_;
  Conversation application_;
};

// Of all migrations of a case.
class Statistics {
 public:
  void add(const Moved& moved) {
    all_.push_back(moved);
    received_ += moved.received;
    sent_ += moved.sent;
  }
  std::uint64_t received() const { return received_; }
  std::uint64_t sent() const { return sent_; }

  // "dump 1.2 ms (at most 3.4)"
  template <typename Member>
  std::string times(const char* name, Member member) const {
    std::vector<std::uint64_t> values;
    for (const Moved& one : all_) values.push_back(member(one));
    std::sort(values.begin(), values.end());
    char text[100];
    snprintf(text, sizeof(text), "%s %.1f ms (at most %.1f)", name,
             static_cast<double>(values[values.size() / 2]) / 1000,
             static_cast<double>(values.back()) / 1000);
    return text;
  }

  void print(const std::string& name, const Progress& peer, double seconds,
             std::uint64_t segments) const {
    if (all_.empty()) return;
    printf("# | %s: %zu migrations in %.1f s; %.1f MB there, %.1f MB back, %llu segments judged\n",
           name.c_str(), all_.size(), seconds, static_cast<double>(peer.received) / 1e6,
           static_cast<double>(peer.sent) / 1e6, static_cast<unsigned long long>(segments));
    printf(
        "# |   medians: %s, %s, %s, %s, %s; %.1f KB received and %.1f KB sent carried each time\n",
        times("dump", [](const Moved& one) { return one.dump; }).c_str(),
        times("restore", [](const Moved& one) { return one.adopted.restore; }).c_str(),
        times("silence", [](const Moved& one) { return one.pause; }).c_str(),
        times("RTT before", [](const Moved& one) { return one.rtt; }).c_str(),
        times("after", [](const Moved& one) { return one.adopted.rtt; }).c_str(),
        static_cast<double>(received_) / 1e3 / static_cast<double>(all_.size()),
        static_cast<double>(sent_) / 1e3 / static_cast<double>(all_.size()));
    fflush(stdout);
  }

 private:
  std::vector<Moved> all_;
  std::uint64_t received_ = 0;
  std::uint64_t sent_ = 0;
};

class MigrationTest : public ::testing::TestWithParam<MigrationKind> {
 protected:
  static void SetUpTestSuite() {
    Result<World> world = World::create();
    ASSERT_TRUE(world.ok()) << world.error().describe();
    world_ = new World(std::move(*world));
  }
  static void TearDownTestSuite() {
    if (world_ == nullptr) return;
    for (Station station : {Station::kSource, Station::kDestination})
      EXPECT_THAT(call(world_->host(station), Verb::kQuit, {}), IsOk());
    delete world_;
  }

  static World* world_;
  static std::uint16_t port_;
};
World* MigrationTest::world_ = nullptr;
std::uint16_t MigrationTest::port_ = kFirstPort;

TEST_P(MigrationTest, GoesOn) {
  const Family family = GetParam().family;
  const unsigned count = (migrations() + GetParam().divisor - 1) / GetParam().divisor;
  const std::uint16_t port = port_++;
  // Of the case before, if that failed.
  for (Station station : {Station::kSource, Station::kDestination})
    ASSERT_THAT(call(world_->host(station), Verb::kForget, {}), IsOk());
  ASSERT_THAT(world_->network.set_netem(GetParam().netem), IsOk());
  const Flow flow{{moved_address(family), port, 0}, {peer_address(family), port, 0}};
  ASSERT_OK_AND_ASSIGN(const Fd listener,
                       world_->network.application().run([&] { return listen_at(flow.peer); }));
  ASSERT_THAT(sys::setsockopt(listener.get(), SOL_SOCKET, SO_SNDBUF, kSendBuffer), IsOk());
  ASSERT_OK_AND_ASSIGN(auto capture,
                       TcpCapture::start(world_->network.cables(), {"eth0", "eth1"}, flow));
  const auto start = std::chrono::steady_clock::now();
  ASSERT_THAT(call(world_->source, Verb::kConnect, pack(Connect{family, port})), IsOk())
      << world_->situation(Fd());
  ASSERT_OK_AND_ASSIGN(const auto peer, Peer::accept(listener));
  ASSERT_THAT(peer->wait_for_progress(), IsOk()) << world_->situation(peer->socket());

  Statistics statistics;
  Station here = Station::kSource;
  Station there = Station::kDestination;
  Result<void> went;
  for (unsigned i = 0; i < count && went; ++i) {
    const Result<Bytes> answer = call(world_->host(here), Verb::kMove,
                                      pack(Move{there, GetParam().hold, GetParam().count_pause}));
    if (answer) statistics.add(unpack<Moved>(*answer).value());
    went = answer ? peer->wait_for_progress() : Result<void>(answer.error());
    EXPECT_TRUE(went.ok()) << "migration " << i + 1 << " of " << count << ", from "
                           << station_name(here) << ": " << went.error().describe()
                           << world_->situation(peer->socket());
    // Of a peer that says nothing the hosts know only that.
    EXPECT_THAT(peer->goes_on(), IsOk());
    std::swap(here, there);
    if ((i + 1) % kShown == 0 && i + 1 < count) {
      printf("# | %s: %u of %u migrations\n", GetParam().name.c_str(), i + 1, count);
      fflush(stdout);
    }
  }

  Progress its;
  Progress own;
  if (went) {
    ASSERT_OK_AND_ASSIGN(const Bytes answer, call(world_->host(here), Verb::kFinish, {}));
    ASSERT_OK_AND_ASSIGN(its, unpack<Progress>(answer));
    ASSERT_OK_AND_ASSIGN(own, peer->finish());
    EXPECT_EQ(its.sent, own.received);
    EXPECT_EQ(own.sent, its.received);
    EXPECT_EQ(its.sent_hash, own.received_hash);
    EXPECT_EQ(own.sent_hash, its.received_hash);
    EXPECT_GE(own.received, kStay * (count + 1));
    // Or nothing was moved but numbers.
    EXPECT_GT(statistics.received(), 0);
    EXPECT_GT(statistics.sent(), 0);
  }

  ASSERT_OK_AND_ASSIGN(const Judge judge, capture->stop());
  if (!went) ADD_FAILURE() << "the last segments:\n" << judge.recent();
  for (const Violation& violation : judge.end({.handovers = count}))
    ADD_FAILURE() << violation.text;
  // The connection's own clock stands still while it is nowhere, but for a round trip, unless the
  // pause counts.
  const Judge::Clock clock = judge.clock();
  const std::int64_t away = count * GetParam().hold.count();
  if (away > 0 && GetParam().count_pause) {
    EXPECT_GT(clock.counted, clock.passed - away / 4);
  } else if (away > 0) {
    EXPECT_LT(clock.counted, clock.passed - away / 4);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  statistics.print(GetParam().name, own, took.count(), judge.segments());
}

INSTANTIATE_TEST_SUITE_P(All, MigrationTest, ValuesIn(migration_kinds()), ParamName());

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// `sockrepair` and programs that nobody here wrote, as Debian has them. Each case stops a program
// while datagrams or segments for it arrive, moves its sockets, ends it, and says exactly what its
// peer must see afterwards: nothing lost, nothing twice, nothing out of order, no error, the same
// address.
//
//   peer ── datagrams ──▶ program ╳          peer ── datagrams ──▶ its successor
//                            │ dump --kill                            ▲
//                            └──────────── image ────── restore ──────┘
//
// What comes after the dump must not meet a UDP port without a socket: nothing is sent in between.
// Of TCP connections the segments are dropped, and peers go on sending.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "end_to_end_fixture.h"
#include "proc_fs.h"
#include "sockrepair/process.h"
#include "sockrepair/syscall.h"
#include "try.h"
#include "tutorial.h"
#include "util/matchers.h"
#include "util/tool.h"

namespace sockrepair::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Bytes = std::vector<std::uint8_t>;

Result<void> send_to(const Fd& fd, const void* data, std::size_t size, const Endpoint& to) {
  SocketAddress address(to, AF_INET);
  if (::sendto(fd.get(), data, size, 0, address.get(), address.size()) < 0)
    return Error{errno, "sendto(" + to.to_string() + ")"};
  return {};
}

struct Received {
  Bytes payload;
  Endpoint source;
};

// The next datagram; ETIMEDOUT when none comes.
Result<Received> receive(const Fd& fd, Deadline deadline = Deadline::after(kPatience)) {
  SOCKREPAIR_TRY(wait_for_events("a datagram arrives", fd.get(), POLLIN, deadline));
  Received got;
  got.payload.resize(65536);
  SocketAddress from;
  ssize_t size = ::recvfrom(fd.get(), got.payload.data(), got.payload.size(), MSG_DONTWAIT,
                            from.mutable_get(), from.mutable_size());
  if (size < 0) return Error{errno, "recvfrom()"};
  got.payload.resize(static_cast<std::size_t>(size));
  SOCKREPAIR_TRY_ASSIGN(got.source, from.endpoint());
  return got;
}

int pending_error(const Fd& fd) {
  return sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_ERROR).value();
}

// socat(1) takes a socket that it inherits under the number that it had.
TEST_F(EndToEndTest, SocatGoesOnReading) {
  ASSERT_OK_AND_ASSIGN(Fd peer, client());
  ASSERT_THAT(sys::connect(peer.get(), SocketAddress(loopback(5000), AF_INET)), IsOk());
  auto say = [&](const std::string& text) {
    return ::send(peer.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
  };
  ASSERT_OK_AND_ASSIGN(Running first,
                       start({"socat", "-u", "UDP4-RECV:5000,bind=127.0.0.1", "STDOUT"}));
  // Until it is bound each datagram is answered with an error.
  ASSERT_THAT(wait_until("socat listens", Deadline::after(kPatience),
                         [&] {
                           pending_error(peer);
                           return say("hello\n") && first.out().find("hello\n") == 0;
                         }),
              IsOk());
  ASSERT_THAT(hold(first), IsOk());
  std::string before = first.out();
  for (const char* text : {"one\n", "two\n", "three\n"}) ASSERT_TRUE(say(text));
  ASSERT_OK_AND_ASSIGN(Json report, dump(first, {"--udp", "--kill"}));
  EXPECT_EQ(report["sockets"], 1);
  std::vector<int> numbers = numbers_of(5000);
  ASSERT_THAT(numbers, SizeIs(1));
  EXPECT_THAT(first.wait(), IsOk());

  ASSERT_OK_AND_ASSIGN(Running second, ns_->run([&] {
    return start_tool(
        {"restore", image(), "--", "socat", "-u", "FD:" + std::to_string(numbers[0]), "STDOUT"});
  }));
  ASSERT_THAT(second.wait_for_name("socat"), IsOk());
  ASSERT_TRUE(say("four\n"));
  ASSERT_THAT(wait_until("the last line is there", Deadline::after(kPatience),
                         [&] { return second.out().find("four\n") != std::string::npos; }),
              IsOk())
      << second.err();
  // Hellos may have been waiting as well, if socat was slow to begin.
  std::string out = second.out();
  while (out.starts_with("hello\n")) out.erase(0, strlen("hello\n"));
  EXPECT_EQ(out, "one\ntwo\nthree\nfour\n");
  EXPECT_EQ(pending_error(peer), 0);
}

// A query for the address of `name` with this number.
Bytes dns_query(std::uint16_t id, const std::vector<std::string>& name) {
  Bytes query = {static_cast<std::uint8_t>(id >> 8),
                 static_cast<std::uint8_t>(id),
                 1,
                 0,
                 0,
                 1,
                 0,
                 0,
                 0,
                 0,
                 0,
                 0};
  for (const std::string& label : name) {
    query.push_back(static_cast<std::uint8_t>(label.size()));
    query.insert(query.end(), label.begin(), label.end());
  }
  constexpr std::uint8_t kEnd[] = {0, 0, 1, 0, 1};  // of the name; type A, class IN
  query.insert(query.end(), std::begin(kEnd), std::end(kEnd));
  return query;
}

// "ID ADDRESS" of an answer with one address; what is wrong otherwise.
std::string dns_answer(const Bytes& answer) {
  if (answer.size() < 12 + 16 || (answer[2] & 0x80) == 0) return "not an answer";
  if ((answer[3] & 15) != 0) return "error " + std::to_string(answer[3] & 15);
  if (answer[7] != 1) return std::to_string(answer[7]) + " records";
  const std::uint8_t* end = answer.data() + answer.size();
  std::string address;
  for (int i = 4; i > 0; --i) address += (address.empty() ? "" : ".") + std::to_string(end[-i]);
  return std::to_string(answer[0] << 8 | answer[1]) + " " + address;
}

// dnsmasq(8) makes its own sockets. Queries that waited for the first one are answered by a second
// one, by way of a helper that holds the restored socket.
TEST_F(EndToEndTest, EachQueryToDnsmasqIsAnsweredOnce) {
  auto dnsmasq = [&](std::uint16_t port) {
    return start({"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root",
                  "--pid-file", "--no-resolv", "--no-hosts", "--bind-interfaces",
                  "--listen-address=127.0.0.1", "--port=" + std::to_string(port),
                  "--address=/a.example/192.0.2.1", "--address=/b.example/192.0.2.2",
                  "--address=/c.example/192.0.2.3"});
  };
  ASSERT_OK_AND_ASSIGN(Fd peer, client());
  ASSERT_THAT(sys::connect(peer.get(), SocketAddress(loopback(5300), AF_INET)), IsOk());
  auto ask = [&](std::uint16_t id, const char* host) {
    Bytes query = dns_query(id, {host, "example"});
    return ::send(peer.get(), query.data(), query.size(), 0) > 0;
  };
  // What a server on `port` says to a query; asked until it is up.
  auto wait_up = [&](std::uint16_t port) {
    return wait_until(
        "dnsmasq answers on port " + std::to_string(port), Deadline::after(kPatience), [&] {
          Result<Fd> fd = client();
          if (!fd || !sys::connect(fd->get(), SocketAddress(loopback(port), AF_INET))) return false;
          Bytes query = dns_query(1, {"a", "example"});
          ::send(fd->get(), query.data(), query.size(), 0);
          Result<Received> got = receive(*fd, Deadline::after(std::chrono::milliseconds(200)));
          return got.ok() && dns_answer(got->payload) == "1 192.0.2.1";
        });
  };

  ASSERT_OK_AND_ASSIGN(Running first, dnsmasq(5300));
  ASSERT_THAT(wait_up(5300), IsOk()) << first.err();
  ASSERT_TRUE(ask(100, "a"));
  ASSERT_OK_AND_ASSIGN(Received usual, receive(peer));
  EXPECT_EQ(dns_answer(usual.payload), "100 192.0.2.1");

  ASSERT_THAT(hold(first), IsOk());
  ASSERT_TRUE(ask(101, "a"));
  ASSERT_TRUE(ask(102, "b"));
  ASSERT_TRUE(ask(103, "c"));
  ASSERT_OK_AND_ASSIGN(Json report, dump(first, {"--udp", "--kill"}));
  EXPECT_EQ(report["waiting"], 3);
  EXPECT_THAT(first.wait(), IsOk());

  ASSERT_OK_AND_ASSIGN(Running second, dnsmasq(5301));
  ASSERT_OK_AND_ASSIGN(auto sockets, take_over());
  ASSERT_TRUE(sockets.contains("127.0.0.1:5300"));
  const Fd& held = sockets["127.0.0.1:5300"];
  ASSERT_THAT(wait_up(5301), IsOk()) << second.err();
  ASSERT_OK_AND_ASSIGN(Fd relay, client());
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(Received query, receive(held));
    ASSERT_THAT(send_to(relay, query.payload.data(), query.payload.size(), loopback(5301)), IsOk());
    ASSERT_OK_AND_ASSIGN(Received answer, receive(relay));
    ASSERT_THAT(send_to(held, answer.payload.data(), answer.payload.size(), query.source), IsOk());
  }
  std::vector<std::string> answers;
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(Received answer, receive(peer));
    EXPECT_EQ(answer.source, loopback(5300));
    answers.push_back(dns_answer(answer.payload));
  }
  EXPECT_THAT(answers, ElementsAre("101 192.0.2.1", "102 192.0.2.2", "103 192.0.2.3"));
  EXPECT_THAT(receive(peer, Deadline::after(std::chrono::milliseconds(0))), FailsWith(ETIMEDOUT));
  EXPECT_THAT(receive(held, Deadline::after(std::chrono::milliseconds(0))), FailsWith(ETIMEDOUT));
  EXPECT_EQ(pending_error(peer), 0);
}

// multicat(1) sends and receives RTP. Its packets that waited for a receiver which is gone reach
// the next one, by way of a helper: what the two wrote is the whole stream, and the numbers of RTP
// are those that the sender gave.
TEST_F(EndToEndTest, RtpOfMulticatIsWhole) {
  constexpr std::size_t kChunk = 1316;  // what multicat puts into a packet
  std::string pipe = directory_->file("stream");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  auto chunk = [](int number) { return std::string(kChunk, static_cast<char>('A' + number)); };
  auto receiver = [&](std::uint16_t port, const std::string& file) {
    return start({"multicat", "@127.0.0.1:" + std::to_string(port), directory_->file(file)});
  };
  // Until a socket of its namespace has the port.
  auto wait_bound = [&](const Running& program, std::uint16_t port) {
    char local[32];
    snprintf(local, sizeof(local), " 0100007F:%04X ", port);
    return wait_until("port " + std::to_string(port) + " is taken", Deadline::after(kPatience),
                      [&] {
                        Result<std::string> bound = sockrepair::internal::read_small_file(
                            "/proc/" + std::to_string(program.pid()) + "/net/udp");
                        return bound.ok() && bound->find(local) != std::string::npos;
                      });
  };
  auto content = [&](const std::string& file) {
    return sockrepair::internal::read_small_file(directory_->file(file)).value();
  };
  auto wait_size = [&](const std::string& file, std::size_t chunks) {
    return wait_until(
        file + " has " + std::to_string(chunks) + " chunks", Deadline::after(kPatience), [&] {
          Result<std::string> all = sockrepair::internal::read_small_file(directory_->file(file));
          return all.ok() && all->size() >= chunks * kChunk;
        });
  };

  ASSERT_OK_AND_ASSIGN(Running first, receiver(5004, "first"));
  ASSERT_THAT(wait_bound(first, 5004), IsOk()) << first.err();
  ASSERT_OK_AND_ASSIGN(Running sender, start({"multicat", pipe, "127.0.0.1:5004"}));
  Fd stream(::open(pipe.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(stream.valid());
  auto play = [&](int number) {
    std::string data = chunk(number);
    return ::write(stream.get(), data.data(), data.size()) == static_cast<ssize_t>(data.size());
  };
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(play(i));
  ASSERT_THAT(wait_size("first", 3), IsOk()) << first.err() << sender.err();
  EXPECT_EQ(content("first"), chunk(0) + chunk(1) + chunk(2));

  ASSERT_THAT(hold(first), IsOk());
  for (int i = 3; i < 8; ++i) ASSERT_TRUE(play(i));
  Result<Json> report = Json();
  ASSERT_THAT(wait_until("all of them wait", Deadline::after(kPatience),
                         [&] {
                           report = dump(first, {});
                           return !report || (*report)["waiting"] == 5;
                         }),
              IsOk());
  report = dump(first, {"--udp", "--kill"});
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ((*report)["waiting"], 5);
  EXPECT_THAT(first.wait(), IsOk());

  ASSERT_OK_AND_ASSIGN(auto sockets, take_over());
  ASSERT_TRUE(sockets.contains("127.0.0.1:5004"));
  const Fd& held = sockets["127.0.0.1:5004"];
  ASSERT_OK_AND_ASSIGN(Running second, receiver(5006, "second"));
  ASSERT_THAT(wait_bound(second, 5006), IsOk()) << second.err();
  for (int i = 8; i < 10; ++i) ASSERT_TRUE(play(i));
  ASSERT_OK_AND_ASSIGN(Fd relay, client());
  std::optional<int> number;
  for (int i = 3; i < 10; ++i) {
    ASSERT_OK_AND_ASSIGN(Received packet, receive(held));
    ASSERT_EQ(packet.payload.size(), 12 + kChunk);
    int now = packet.payload[2] << 8 | packet.payload[3];
    EXPECT_EQ(now, (number.value_or(now - 1) + 1) & 0xffff) << "packet " << i;
    number = now;
    ASSERT_THAT(send_to(relay, packet.payload.data(), packet.payload.size(), loopback(5006)),
                IsOk());
  }
  ASSERT_THAT(wait_size("second", 7), IsOk()) << second.err();
  std::string rest;
  for (int i = 3; i < 10; ++i) rest += chunk(i);
  EXPECT_EQ(content("second"), rest);
  EXPECT_THAT(receive(held, Deadline::after(std::chrono::milliseconds(0))), FailsWith(ETIMEDOUT));
  EXPECT_THAT(sockrepair::internal::thread_states(sender.pid()), IsOk()) << sender.err();
}

// The number that iperf3(1) gives each datagram, from 1 on.
std::uint32_t iperf_number(const Bytes& datagram) {
  if (datagram.size() < 12) return 0;
  std::uint32_t number;
  memcpy(&number, &datagram[8], sizeof(number));
  return ntohl(number);
}

// That of the first datagram which waits on the UDP socket of a server.
Result<std::uint32_t> iperf_next(pid_t pid) {
  SOCKREPAIR_TRY_ASSIGN(Process process, Process::open(pid));
  SOCKREPAIR_TRY_ASSIGN(std::vector<HeldSocket> sockets, process.sockets());
  for (const HeldSocket& socket : sockets) {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, process.take(socket.numbers.front()));
    Result<int> protocol = sys::getsockopt<int>(fd.get(), SOL_SOCKET, SO_PROTOCOL);
    Bytes datagram(2048);
    ssize_t size = protocol && *protocol == IPPROTO_UDP
                       ? ::recv(fd.get(), datagram.data(), datagram.size(), MSG_PEEK | MSG_DONTWAIT)
                       : -1;
    if (size > 0) return iperf_number(datagram);
  }
  return Error{ENODATA, "a datagram that waits for process " + std::to_string(pid)};
}

// The socket that an iperf3 server receives a stream on moves to another process, while the client
// goes on: no number is missing, none comes twice. The server itself stays, stopped, since its end
// would end the TCP connection that the client watches.
TEST_F(EndToEndTest, NoDatagramOfIperf3IsMissing) {
  constexpr std::uint32_t kEnough = 20;
  ASSERT_OK_AND_ASSIGN(Running server, start({"iperf3", "--server", "--one-off", "--forceflush",
                                              "--bind", "127.0.0.1", "--port", "5201"}));
  ASSERT_THAT(wait_until("iperf3 listens", Deadline::after(kPatience),
                         [&] { return server.out().find("listening") != std::string::npos; }),
              IsOk())
      << server.err();
  ASSERT_OK_AND_ASSIGN(Running sender, start({"iperf3", "--client", "127.0.0.1", "--port", "5201",
                                              "--udp", "--length", "100", "--bitrate", "100K",
                                              "--time", "600", "--forceflush"}));
  ASSERT_THAT(wait_until("the stream has begun", Deadline::after(kPatience),
                         [&] { return server.out().find("sec ") != std::string::npos; }),
              IsOk())
      << server.out() << sender.out() << sender.err();
  ASSERT_THAT(hold(server), IsOk());
  // Until enough of them wait.
  Result<Json> report = Json();
  ASSERT_THAT(wait_until("datagrams wait", Deadline::after(kPatience),
                         [&] {
                           report = dump(server, {"--udp"});
                           return !report || (*report)["waiting"] >= kEnough;
                         }),
              IsOk());
  ASSERT_THAT(report, IsOk());
  ASSERT_THAT(hold(sender), IsOk());
  ASSERT_OK_AND_ASSIGN(std::uint32_t next, iperf_next(server.pid()));
  EXPECT_GT(next, 1U);
  report = dump(server, {"--udp", "--close"});
  ASSERT_THAT(report, IsOk());
  std::size_t waiting = (*report)["waiting"];
  ASSERT_GE(waiting, kEnough);
  ASSERT_OK_AND_ASSIGN(auto sockets, take_over());
  ASSERT_THAT(sockets, SizeIs(1));
  const Fd& held = sockets.begin()->second;
  sender.signal(SIGCONT);

  for (std::size_t i = 0; i < waiting + kEnough; ++i) {
    ASSERT_OK_AND_ASSIGN(Received got, receive(held));
    ASSERT_EQ(iperf_number(got.payload), next++) << "datagram " << i << " of " << waiting;
  }
  EXPECT_EQ(sender.err(), "");
}

// --- TCP

// What one socat(1) sends to another goes to two files, when the receiver is moved in the middle;
// together they are the whole.
TEST_F(TcpEndToEndTest, TransferOfSocatIsWhole) {
  ASSERT_OK_AND_ASSIGN(Feed feed, Feed::create(directory_->file("feed")));
  ASSERT_OK_AND_ASSIGN(
      Running first, start({"socat", "-u", "TCP4-LISTEN:6000,bind=127.0.0.1,reuseaddr", "STDOUT"}));
  ASSERT_OK_AND_ASSIGN(Running sender,
                       start({"socat", "-u", "OPEN:" + directory_->file("feed") + ",rdonly",
                              "TCP4:127.0.0.1:6000,retry=100,interval=0.05"}));
  ASSERT_TRUE(feed.write(lines(0, 1000)));
  ASSERT_THAT(wait_until("the first part has arrived", Deadline::after(kPatience),
                         [&] { return first.out() == feed.all(); }),
              IsOk())
      << first.err() << sender.err();
  ASSERT_THAT(hold(first), IsOk());
  ASSERT_TRUE(feed.write(lines(1000, 1000)));  // waits to be read
  ASSERT_OK_AND_ASSIGN(Json report, dump(first, {"--kill"}));
  EXPECT_EQ(report["connections"], 1);
  EXPECT_THAT(first.wait(), IsOk());
  ASSERT_TRUE(feed.write(lines(2000, 1000)));  // nobody takes it
  ASSERT_THAT(connections(), SizeIs(1));
  ASSERT_OK_AND_ASSIGN(Running second,
                       restore({"socat", "-u", fd_address(connections()[0]), "STDOUT"}));
  ASSERT_TRUE(feed.write(lines(3000, 1000)));
  feed.end();
  ASSERT_OK_AND_ASSIGN(Ran sent, sender.wait());
  EXPECT_EQ(sent.status, 0) << sent.err;
  EXPECT_EQ(sent.err, "");
  ASSERT_OK_AND_ASSIGN(Ran received, second.wait());
  EXPECT_EQ(received.status, 0) << received.err;
  EXPECT_TRUE(first.out() + received.out == feed.all())
      << first.out().size() << " and " << received.out.size() << " bytes of " << feed.all().size();
}

// A client of Redis dies in a transaction, and another program goes on with its connection. To the
// server it is one client, which has queued commands and executes them.
TEST_F(TcpEndToEndTest, TransactionOfRedisGoesOn) {
  ASSERT_OK_AND_ASSIGN(Feed feed, Feed::create(directory_->file("feed")));
  ASSERT_OK_AND_ASSIGN(Running server,
                       start({"redis-server", "--port", "6379", "--bind", "127.0.0.1", "--save", "",
                              "--dir", directory_->file("")}));
  ASSERT_THAT(wait_listening(6379), IsOk()) << server.out() << server.err();
  ASSERT_OK_AND_ASSIGN(Running client, start({"sh", "-c", "exec redis-cli -p 6379 <\"$0\"",
                                              directory_->file("feed")}));
  auto ask_other = [&](const std::string& key) {
    Result<Running> other = start({"redis-cli", "-p", "6379", "GET", key});
    Result<Ran> ran = other ? other->wait() : Result<Ran>(other.error());
    return ran ? ran->out : ran.error().describe();
  };
  ASSERT_TRUE(feed.write("CLIENT ID\nMULTI\nSET answer 41\n"));
  ASSERT_THAT(wait_until("it is in a transaction", Deadline::after(kPatience),
                         [&] { return client.out().find("QUEUED") != std::string::npos; }),
              IsOk())
      << client.out() << client.err();
  std::string id = client.out().substr(0, client.out().find('\n'));
  EXPECT_EQ(ask_other("answer"), "\n") << "it has not been executed";

  ASSERT_OK_AND_ASSIGN(Json report, dump(client, {"--kill"}));
  EXPECT_EQ(report["connections"], 1);
  EXPECT_THAT(client.wait(), IsOk());
  ASSERT_THAT(connections(), SizeIs(1));
  ASSERT_OK_AND_ASSIGN(Running successor,
                       restore({"sh", "-c",
                                "printf 'INCR answer\\r\\nEXEC\\r\\nCLIENT ID\\r\\nQUIT\\r\\n' "
                                "| socat -t 10 STDIO \"$0\"",
                                fd_address(connections()[0])}));
  ASSERT_OK_AND_ASSIGN(Ran said, successor.wait());
  EXPECT_EQ(said.out, "+QUEUED\r\n*2\r\n+OK\r\n:42\r\n:" + id + "\r\n+OK\r\n") << said.err;
  EXPECT_EQ(ask_other("answer"), "42\n");
}

// iperf3(1) sends through a relay. The process of that which has the stream, with a connection on
// each side, is replaced by another one while the stream goes on. Client and server end well.
TEST_F(TcpEndToEndTest, StreamOfIperf3ChangesItsRelay) {
  ASSERT_OK_AND_ASSIGN(Running server, start({"iperf3", "--server", "--one-off", "--forceflush",
                                              "--bind", "127.0.0.1", "--port", "5201"}));
  ASSERT_THAT(wait_until("iperf3 listens", Deadline::after(kPatience),
                         [&] { return server.out().find("listening") != std::string::npos; }),
              IsOk())
      << server.err();
  // One process for each connection.
  ASSERT_OK_AND_ASSIGN(
      Running relay,
      start({"socat", "TCP4-LISTEN:5202,bind=127.0.0.1,fork,reuseaddr", "TCP4:127.0.0.1:5201"}));
  ASSERT_THAT(wait_bound(relay, 5202), IsOk()) << relay.err();
  ASSERT_OK_AND_ASSIGN(Running client, start({"iperf3", "--client", "127.0.0.1", "--port", "5202",
                                              "--bytes", "4M", "--bitrate", "20M", "--json"}));
  pid_t streaming = 0;
  std::uint64_t before = 0;
  ASSERT_THAT(wait_until("the stream flows", Deadline::after(kPatience),
                         [&] {
                           for (pid_t child : children_of(relay.pid())) {
                             std::uint64_t bytes = bytes_received(child);
                             if (bytes <= 500'000) continue;
                             streaming = child;
                             before = bytes;
                           }
                           return streaming != 0;
                         }),
              IsOk())
      << server.out() << client.err();
  ASSERT_OK_AND_ASSIGN(Ran dumped, tool({"dump", "--json", "--pid", std::to_string(streaming),
                                         "--connections-only", "--kill", "-o", image()}));
  ASSERT_EQ(dumped.status, 0) << dumped.err;
  EXPECT_FALSE(lost_something(dumped.err)) << dumped.err;
  EXPECT_EQ(Json::parse(dumped.out)["connections"], 2);
  ASSERT_THAT(connections(), SizeIs(2));
  ASSERT_OK_AND_ASSIGN(Running successor, restore({"socat", fd_address(connections()[0]),
                                                   fd_address(connections()[1])}));
  ASSERT_OK_AND_ASSIGN(Ran ended, client.wait());
  ASSERT_EQ(ended.status, 0) << ended.out;
  Json end = Json::parse(ended.out)["end"];
  EXPECT_GE(end["sum_sent"]["bytes"], 4U << 20);
  // Not all of it: the server counts what it has read when the other connection says that the
  // client is done, and the last blocks may still be on their way by then, also without a move.
  EXPECT_GT(end["sum_received"]["bytes"], before);
  EXPECT_THAT(server.wait(), IsOk());
}

// Two clients get two files each from Apache's server, by one connection each. In the middle of the
// first files the server gets new sockets, whose events its threads wait for with epoll. What
// arrives is byte for byte what the files have, and no client has connected again.
TEST_F(TcpEndToEndTest, TransfersOfHttpdGoOn) {
  const std::string root = directory_->file("");
  const std::string first = lines(0, 150'000), second = lines(150'000, 1000);
  std::ofstream(root + "/first") << first;
  std::ofstream(root + "/second") << second;
  std::ofstream(root + "/httpd.conf") << "ServerRoot " << root << "\n"
                                      << "DefaultRuntimeDir " << root << "\n"
                                      << "PidFile " << root << "/httpd.pid\n"
                                      << "ErrorLog " << root << "/httpd.log\n"
                                      << "DocumentRoot " << root << "\n"
                                      << R"(
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
ServerName localhost
Listen 127.0.0.1:8000
User nobody
Group nogroup
KeepAliveTimeout 60
ThreadsPerChild 8
MaxRequestWorkers 8
)";
  ASSERT_EQ(::chmod(root.c_str(), 0755), 0);  // for nobody
  // Threads enough: a server without an idle one ends connections that are kept alive.
  ASSERT_OK_AND_ASSIGN(Running server, start({"apache2", "-X", "-f", root + "/httpd.conf"}));
  ASSERT_THAT(wait_listening(8000), IsOk()) << server.err();

  std::vector<SlowReader> readers;
  std::vector<Running> clients;
  for (int i = 0; i < 2; ++i) {
    const std::string pipe = directory_->file("pipe" + std::to_string(i));
    ASSERT_OK_AND_ASSIGN(SlowReader reader, SlowReader::create(pipe));
    readers.push_back(std::move(reader));
    ASSERT_OK_AND_ASSIGN(Running client, get_two_files(8000, pipe));
    clients.push_back(std::move(client));
    ASSERT_THAT(readers[i].read(100'000), IsOk()) << clients[i].err() << server.err();
  }
  ASSERT_OK_AND_ASSIGN(Json report, renew_connections(server.pid()));
  EXPECT_EQ(report["connections"], 2);
  EXPECT_GT(report["to_be_acknowledged"], 0) << "not in the middle of a file";
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(readers[i].read_to_the_end(), IsOk()) << readers[i].all().size() << " bytes";
    EXPECT_TRUE(readers[i].all() == first + second) << readers[i].all().size() << " bytes";
    ASSERT_OK_AND_ASSIGN(Ran ended, clients[i].wait());
    EXPECT_EQ(ended.status, 0);
    EXPECT_EQ(ended.err, kByOneConnection);
  }
}

// A session of dropbear(8), an sshd: the keys and counters of its ciphers are in the memory of the
// process that has the connection. A byte that is missing or too many would end the session.
TEST_F(TcpEndToEndTest, SessionOfSshdGoesOn) {
  const std::string dir = directory_->file("");
  // Whom the server lets in is read from the home directory of root, which here is another one.
  ASSERT_OK_AND_ASSIGN(Running server,
                       start({"unshare", "-m", "sh", "-ec",
                              "cd \"$0\"; dropbearkey -t ed25519 -f host >/dev/null 2>&1; "
                              "dropbearkey -t ed25519 -f key 2>/dev/null | grep ^ssh- >public; "
                              "mount -t tmpfs -o mode=700 tmpfs ~root; mkdir -m 700 ~root/.ssh; "
                              "cp public ~root/.ssh/authorized_keys; "
                              "exec dropbear -F -E -s -r host -P pid -p 127.0.0.1:2200",
                              dir}));
  ASSERT_THAT(wait_listening(2200), IsOk()) << server.err();
  ASSERT_OK_AND_ASSIGN(Feed feed, Feed::create(directory_->file("feed")));
  // -y twice: the host's key is not looked at, and not remembered.
  ASSERT_OK_AND_ASSIGN(Running client,
                       start({"sh", "-c",
                              "exec dbclient -y -y -i \"$0/key\" -p 2200 root@127.0.0.1 "
                              "'while read -r text; do echo \"got $text\"; done' <\"$0/feed\"",
                              dir}));
  ASSERT_TRUE(feed.write("one\n"));
  ASSERT_THAT(wait_got(client, "one"), IsOk()) << client.err() << server.err();
  const pid_t session = session_of(server.pid());
  ASSERT_NE(session, 0) << server.err();

  ASSERT_THAT(hold(session), IsOk());
  ASSERT_TRUE(feed.write("two\nthree\n"));  // waits to be read
  ASSERT_OK_AND_ASSIGN(Json report, renew_connections(session));
  EXPECT_EQ(report["connections"], 1);
  ASSERT_THAT(wait_got(client, "three"), IsOk()) << client.err() << server.err();
  ASSERT_TRUE(feed.write("four\n"));
  feed.end();
  ASSERT_OK_AND_ASSIGN(Ran ended, client.wait());
  EXPECT_EQ(ended.status, 0) << ended.err;
  EXPECT_EQ(ended.out, "got one\ngot two\ngot three\ngot four\n");
}

// --- Documentation/tutorial.md

// Its commands, the lines that begin with a prompt, as a script; and what is printed below the last
// of them.
struct Tutorial {
  std::string script;
  std::string printed;
};

Tutorial read_tutorial() {
  Tutorial tutorial;
  std::istringstream lines(kTutorial);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("    # ")) {
      tutorial.script += line.substr(6) + "\n";
      tutorial.printed.clear();
    } else if (line.starts_with("    ")) {
      tutorial.printed += line.substr(4) + "\n";
    }
  }
  return tutorial;
}

class TutorialTest : public EndToEndTest {
 protected:
  void TearDown() override {
    for (const char* name : {"old", "new"}) {
      Result<Running> ip = Running::start({"ip", "netns", "delete", name});
      if (ip) static_cast<void>(ip->wait());
    }
    EndToEndTest::TearDown();
  }
};

// As it stands there.
TEST_F(TutorialTest, Works) {
  Tutorial tutorial = read_tutorial();
  ASSERT_THAT(tutorial.script, HasSubstr("sockrepair restore "));
  // Where the tool is installed it is found without.
  std::string path = tool_path();
  path.erase(path.find('/') == std::string::npos ? 0 : path.rfind('/'));
  ASSERT_OK_AND_ASSIGN(Running shell,
                       start({"bash", "-ec", "cd \"$0\"; PATH=$1${1:+:}$PATH; eval \"$2\"",
                              directory_->file(""), path, tutorial.script}));
  ASSERT_OK_AND_ASSIGN(Ran ran, shell.wait());
  EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
  EXPECT_TRUE(ran.out.ends_with("\n" + tutorial.printed)) << ran.out << ran.err;
  Result<std::string> first = sockrepair::internal::read_small_file(directory_->file("first"));
  Result<std::string> second = sockrepair::internal::read_small_file(directory_->file("second"));
  EXPECT_THAT(first, IsOkAndHolds(HasSubstr("line 1\n")));
  EXPECT_THAT(second, IsOkAndHolds(HasSubstr("line 6\n")));
}

}  // namespace
}  // namespace sockrepair::test

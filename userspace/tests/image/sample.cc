// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/sample.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <linux/tcp_repair.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#include "internet_sum.h"

namespace sockrepair::test {

namespace {

using Bytes = std::vector<std::uint8_t>;

IpAddress address(const char* text) {
  return IpAddress::parse(text).value();
}

// Gives the datagram a payload, with the sum that a device would have made of it.
void set_payload(ReceivedDatagram* datagram, const Bytes& payload) {
  datagram->payload = payload;
  datagram->checksum = internal::fold_sum(internal::internet_sum(payload));
}

// An IPv6 options header of `units` times 8 bytes, all padding, with `next` behind it.
Bytes padding_header(std::uint8_t next, std::uint8_t units) {
  Bytes header(units * 8U);
  header[0] = next;
  header[1] = static_cast<std::uint8_t>(units - 1);
  header[2] = 1;  // PadN
  header[3] = static_cast<std::uint8_t>(header.size() - 4);
  return header;
}

ReceivedDatagram received_ipv4() {
  ReceivedDatagram d;
  d.family = Family::kIpv4;
  d.source = {address("192.0.2.1"), 4001, 0};
  d.destination = {address("192.0.2.2"), 5001, 0};
  d.ifindex = 3;
  d.device = 4;
  d.local = address("192.0.2.3");
  d.hop_limit = 61;
  d.traffic_class = 0x2e;
  d.mark = 0xfedcba98;
  d.priority = 6;
  d.timestamp = 1'700'000'000'123'456'789;
  d.hardware_timestamp = 987'654'321;
  d.gro_size = 5;
  d.fragment_size = 1480;
  d.headers = {0x94, 4, 0, 0};
  set_payload(&d, {10, 11, 12, 13, 14, 15, 16, 17});
  return d;
}

ReceivedDatagram received_ipv6() {
  ReceivedDatagram d;
  d.family = Family::kIpv6;
  d.ifindex = 12;
  d.device = 7;
  d.source = {address("fe80::1"), 4002, 7};
  d.destination = {address("2001:db8::2"), 5002, 0};
  d.flow_label = 0xabcde;
  d.hop_limit = 0;
  d.headers = padding_header(IPPROTO_UDP, 2);
  d.next_header = IPPROTO_DSTOPTS;
  d.l3slave = true;
  d.payload = {};
  d.peeked = true;
  return d;
}

SendQueue sent_ipv4() {
  SendQueue queue;
  queue.family = Family::kIpv4;
  queue.source = address("192.0.2.2");
  queue.destination = address("192.0.2.9");
  queue.source_port = 5001;
  queue.destination_port = 4003;
  queue.oif = 8;
  queue.ifindex = 9;
  queue.hop_limit = 62;
  queue.traffic_class = 0x1c;
  queue.priority = 5;
  queue.mark = 0x89abcdef;
  queue.txtime = 123'456'789'012'345;
  queue.tsflags = SOF_TIMESTAMPING_TX_SOFTWARE;
  queue.tskey = 77;
  queue.gso_size = 1200;
  queue.fragsize = 1500;
  queue.confirm = true;
  queue.onlink = true;
  queue.zerocopy = true;
  queue.ip_options = {0x94, 4, 0, 0};
  queue.payload = {20, 21, 22};
  return queue;
}

SendQueue sent_ipv6() {
  SendQueue queue;
  queue.family = Family::kIpv6;
  queue.source = address("2001:db8::2");
  queue.destination = address("2001:db8::9");
  queue.source_port = 5002;
  queue.destination_port = 4004;
  queue.flow_label = 0x12345;
  queue.dontfrag = true;
  queue.hop_by_hop = padding_header(0, 1);
  queue.routing_dst = padding_header(0, 2);
  queue.routing = Bytes(24, 3);
  queue.routing[1] = 2;
  queue.dst = padding_header(0, 4);
  queue.payload = Bytes(100, 0x5a);
  return queue;
}

ImageSocket ipv4_socket() {
  ImageSocket entry;
  entry.descriptors = {{3, false, {{5, 0x80000019, 0x1122334455667788}}}, {1023, true, {}}};
  UdpSocket& socket = entry.socket.emplace<UdpSocket>();
  socket.domain = AF_INET;
  socket.cookie = 0x1122334455667788;
  socket.inode = 424242;
  socket.netns_cookie = 13;
  socket.nonblocking = true;
  socket.local = Endpoint{address("192.0.2.2"), 5001, 0};
  socket.peer = Endpoint{address("192.0.2.9"), 4003, 0};
  socket.address_chosen = true;
  socket.port_chosen = false;
  socket.send_shutdown = true;
  socket.pending_error = ECONNREFUSED;
  socket.reuseport_rank = 5;
  socket.options = {{SOL_SOCKET, SO_MARK, {7, 0, 0, 0}}, {IPPROTO_IP, IP_TOS, {0x1c, 0, 0, 0}}};
  socket.memberships = {
      {address("239.1.1.1"), 9, false, {address("192.0.2.7"), address("192.0.2.8")}}};
  socket.interfaces = {{9, "eth0"}, {8, "br-lan.10"}};
  socket.send_queue = sent_ipv4();
  socket.receive_queue.datagrams = {received_ipv4(), received_ipv4()};
  set_payload(&socket.receive_queue.datagrams[1], {99, 11, 12, 13, 14, 15, 16, 17});
  socket.losses = {{"receive queue", 1, "flow_label: not known"}, {"option", std::nullopt, "why"}};
  return entry;
}

ImageSocket ipv6_socket() {
  ImageSocket entry;
  entry.descriptors = {{4, true, {}}};
  UdpSocket& socket = entry.socket.emplace<UdpSocket>();
  socket.domain = AF_INET6;
  socket.local = Endpoint{address("fe80::2"), 5002, 7};
  socket.peer_flowinfo = 0xabcdef;
  socket.receive_shutdown = true;
  socket.send_queue = sent_ipv6();
  socket.receive_queue.datagrams = {received_ipv6()};
  return entry;
}

// What a kernel gives for a connection of this state, with different numbers in it, and `more`
// bytes that a newer one adds.
Bytes control_block(TcpState state, const TcpConnection& connection, std::size_t more) {
  tcp_repair_cb block{};
  auto* bytes = reinterpret_cast<std::uint8_t*>(&block);
  for (std::size_t i = offsetof(tcp_repair_cb, age_data_rcvd);
       i < offsetof(tcp_repair_cb, reserved); ++i)
    bytes[i] = static_cast<std::uint8_t>(i * 7);
  block.size = static_cast<std::uint32_t>(sizeof(block) + more);
  block.age_retrans = TCP_REPAIR_CB_NONE;
  block.srtt = 123456;
  block.received_ecn_bytes[1] = 4321;
  block.state = static_cast<std::uint8_t>(state);
  // The peer's FIN is counted.
  block.rcv_nxt = connection.rcv_seq + 1;
  block.copied_seq =
      connection.rcv_seq - static_cast<std::uint32_t>(connection.receive_queue.size());
  block.write_seq = connection.snd_seq;
  block.snd_nxt = connection.snd_seq - connection.unsent;
  block.snd_una = connection.snd_seq - static_cast<std::uint32_t>(connection.send_queue.size());
  Bytes all(bytes, bytes + sizeof(block));
  all.insert(all.end(), more, 0xb7);
  return all;
}

Bytes stream(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i / 251 + i);
  return bytes;
}

ImageSocket tcp_connection() {
  ImageSocket entry;
  entry.descriptors = {{7, false, {}}};
  TcpSocket& socket = entry.socket.emplace<TcpSocket>();
  socket.domain = AF_INET;
  socket.cookie = 0x99aabb;
  socket.inode = 515151;
  socket.netns_cookie = 14;
  socket.nonblocking = true;
  socket.state = TcpState::kCloseWait;
  socket.local = Endpoint{address("192.0.2.2"), 80, 0};
  socket.peer = Endpoint{address("192.0.2.77"), 40001, 0};
  socket.address_chosen = false;
  socket.port_chosen = false;
  socket.receive_shutdown = true;
  socket.pending_error = EHOSTUNREACH;
  socket.options = {{SOL_SOCKET, SO_MARK, {8, 0, 0, 0}}, {IPPROTO_TCP, TCP_NODELAY, {1, 0, 0, 0}}};
  TcpConnection& connection = socket.connection.emplace();
  connection.mss_clamp = 1460;
  connection.scales = TcpScales{7, 9};
  connection.sack = true;
  connection.timestamps = true;
  connection.snd_seq = 0xfffffff0;
  connection.rcv_seq = 0x10203040;
  connection.timestamp = 987654321;
  connection.window = {0x10203020, 65536, 131072, 29200, 0x10203030};
  connection.receive_queue = stream(3);
  connection.send_queue = stream(300);
  connection.unsent = 100;
  connection.urgent_mark = 2;
  connection.control_block = control_block(socket.state, connection, 8);
  connection.dumped_at = 1'700'000'000'000'000'002;
  TcpAo& ao = socket.ao.emplace();
  ao.required = true;
  ao.accept_icmps = true;
  ao.counters = {
      .good = 1'000'000'000'001, .bad = 2, .key_not_found = 3, .required = 4, .dropped_icmp = 5};
  ao.sequence =
      TcpAoSequence{.snt_isn = 0xf0000000, .rcv_isn = 0x10000000, .snd_sne = 1, .rcv_sne = 2};
  TcpAoKey& key = ao.keys.emplace_back();
  key.address = address("192.0.2.0");
  key.prefix = 24;
  key.ifindex = 0;
  key.sndid = 100;
  key.rcvid = 200;
  key.maclen = 12;
  key.exclude_options = true;
  key.algorithm = "hmac(sha1)";
  key.key = {0xde, 0xc0, 0xad, 0x0b};
  key.current = key.next = true;
  key.good = 6;
  key.bad = 7;
  socket.losses = {{"connection", std::nullopt, "something"}};
  return entry;
}

// With what a connection does not have: one listens, one is being connected, one is closed.
std::vector<ImageSocket> tcp_others() {
  ImageSocket listening;
  listening.descriptors = {{8, true, {}}};
  TcpSocket& listener = listening.socket.emplace<TcpSocket>();
  listener.domain = AF_INET6;
  listener.state = TcpState::kListen;
  listener.local = Endpoint{address("fe80::2"), 443, 7};
  listener.address_chosen = true;
  listener.port_chosen = true;
  listener.backlog = 4096;
  listener.accept_queue = 3;
  listener.reuseport_rank = 2;
  listener.interfaces = {{7, "eth7"}};

  ImageSocket connecting;
  TcpSocket& socket = connecting.socket.emplace<TcpSocket>();
  socket.domain = AF_INET6;
  socket.state = TcpState::kSynSent;
  socket.local = Endpoint{address("2001:db8::2"), 5003, 0};
  socket.peer = Endpoint{address("2001:db8::9"), 22, 0};
  socket.peer_flowinfo = 0xfedcba;
  socket.syn_sequence = 4711;

  ImageSocket closed;
  TcpSocket& over = closed.socket.emplace<TcpSocket>();
  over.domain = AF_INET;
  over.receive_shutdown = true;
  over.send_shutdown = true;
  return {listening, connecting, closed};
}

TcpTimeWait time_wait() {
  TcpTimeWait value;
  value.domain = AF_INET6;
  value.cookie = 0xabcdef0123;
  value.netns_cookie = 15;
  value.local = {address("fe80::2"), 80, 7};
  value.peer = {address("fe80::9"), 40002, 7};
  value.port_chosen = false;
  value.device = InterfaceName{7, "eth7"};
  value.mark = 0x87654321;
  value.priority = 6;
  value.traffic_class = 0x48;
  value.flow_label = 0xabcde;
  value.tx_delay = 25;
  value.v6_only = true;
  value.reuse_address = true;
  value.reuse_port = true;
  value.transparent = true;
  value.snd_nxt = 0xfffffffe;
  value.rcv_nxt = 3;
  value.rcv_wnd = 65535U << 9;
  value.rcv_scale = 9;
  value.timestamps = TimeWaitTimestamps{true, 4000000001, 123456789, 3000000};
  value.challenge_age = 0;
  value.remaining = 59'876'543;
  value.dumped_at = 1'700'000'000'000'000'004;
  value.keys = "TCP-AO";
  return value;
}

TcpTimeWait half_closed() {
  TcpTimeWait value;
  value.domain = AF_INET;
  value.state = TimeWaitState::kFinWait2;
  value.local = {address("192.0.2.2"), 80, 0};
  value.peer = {address("192.0.2.77"), 40003, 0};
  value.remaining = 1;
  return value;
}

}  // namespace

std::vector<ImageEntry> tcp_sample() {
  std::vector<ImageEntry> entries = {ImageProcess{4712, "server", 1'700'000'000'000'000'003},
                                     tcp_connection()};
  for (const ImageSocket& socket : tcp_others()) entries.emplace_back(socket);
  entries.emplace_back(time_wait());
  entries.emplace_back(half_closed());
  return entries;
}

std::vector<ImageEntry> full_sample() {
  return {ImageProcess{4711, "a \"name\\\x01\xff", 1'700'000'000'000'000'001}, ipv4_socket(),
          ipv6_socket()};
}

std::vector<ImageEntry> small_sample() {
  ImageSocket socket;
  socket.descriptors = {{3, false, {}}};
  socket.socket.emplace<UdpSocket>().domain = AF_INET;
  return {ImageProcess{1, "init", 0}, socket};
}

}  // namespace sockrepair::test

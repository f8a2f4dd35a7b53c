// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/sample.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
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
  entry.descriptors = {{3, false}, {1023, true}};
  UdpSocket& socket = entry.socket;
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
  entry.descriptors = {{4, true}};
  UdpSocket& socket = entry.socket;
  socket.domain = AF_INET6;
  socket.local = Endpoint{address("fe80::2"), 5002, 7};
  socket.peer_flowinfo = 0xabcdef;
  socket.receive_shutdown = true;
  socket.send_queue = sent_ipv6();
  socket.receive_queue.datagrams = {received_ipv6()};
  return entry;
}

}  // namespace

std::vector<ImageEntry> full_sample() {
  return {ImageProcess{4711, "a \"name\\\x01\xff", 1'700'000'000'000'000'001}, ipv4_socket(),
          ipv6_socket()};
}

std::vector<ImageEntry> small_sample() {
  ImageSocket socket;
  socket.descriptors = {{3, false}};
  socket.socket.domain = AF_INET;
  return {ImageProcess{1, "init", 0}, socket};
}

}  // namespace sockrepair::test

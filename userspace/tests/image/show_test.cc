// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What `sockrepair show` prints.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>

#include "image/raw_image.h"
#include "image/sample.h"
#include "image/tables.h"
#include "sockrepair/image_show.h"
#include "util/matchers.h"

namespace sockrepair::test {
namespace {

using internal::Table;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

ImageReader reader_of(const std::vector<ImageEntry>& entries) {
  std::string image = make_image(entries).value();
  Fd fd(::memfd_create("image", MFD_CLOEXEC));
  EXPECT_EQ(::write(fd.get(), image.data(), image.size()), static_cast<ssize_t>(image.size()));
  return ImageReader::from_descriptor(fd.get()).value();
}

json json_of(const std::vector<ImageEntry>& entries) {
  ImageReader reader = reader_of(entries);
  std::ostringstream out;
  EXPECT_THAT(show_json(reader, out), IsOk());
  json document = json::parse(out.str(), nullptr, false);
  EXPECT_FALSE(document.is_discarded()) << out.str();
  return document;
}

std::string text_of(const std::vector<ImageEntry>& entries) {
  ImageReader reader = reader_of(entries);
  std::ostringstream out;
  EXPECT_THAT(show_text(reader, out), IsOk());
  return out.str();
}

TEST(ImageJsonTest, Structure) {
  json document = json_of(full_sample());
  EXPECT_EQ(document["version"], "1.2");
  ASSERT_EQ(document["processes"].size(), 1U);
  const json& process = document["processes"][0];
  EXPECT_EQ(process["pid"], 4711);
  EXPECT_EQ(process["comm"], "a \"name\\x5c\\x01\\xff");
  ASSERT_EQ(process["sockets"].size(), 2U);
  const json& socket = process["sockets"][0];
  EXPECT_EQ(socket["protocol"], "udp");
  EXPECT_EQ(socket["descriptors"],
            json::parse(R"([{"number": 3, "close_on_exec": false, "watches": [
                  {"epoll": 5, "events": 2147483673, "data": 1234605616436508552}]},
                {"number": 1023, "close_on_exec": true, "watches": []}])"));
  EXPECT_EQ(socket["local"], json::parse(R"({"address": "192.0.2.2", "port": 5001, "scope": 0})"));
  EXPECT_EQ(socket["cookie"], 0x1122334455667788U);
  EXPECT_EQ(socket["options"][0]["level"], 1);
  EXPECT_EQ(socket["options"][0]["value"], "07000000");
  EXPECT_THAT(socket["options"][0]["text"], HasSubstr("SO_MARK"));
  EXPECT_EQ(socket["memberships"][0]["sources"][1], "192.0.2.8");
  ASSERT_EQ(socket["receive_queue"].size(), 2U);
  EXPECT_EQ(socket["receive_queue"][1]["payload"], "630b0c0d0e0f1011");
  EXPECT_EQ(socket["receive_queue"][1]["family"], "ipv4");
  EXPECT_EQ(socket["send_queue"]["mark"], 0x89abcdefU);
  EXPECT_EQ(socket["losses"][0]["index"], 1);
  EXPECT_FALSE(socket["losses"][1].contains("index"));
}

TEST(ImageJsonTest, NotGivenIsNotThere) {
  json document = json_of(small_sample());
  const json& socket = document["processes"][0]["sockets"][0];
  for (const char* key : {"local", "peer", "pending_error", "reuseport_rank", "send_queue"})
    EXPECT_FALSE(socket.contains(key)) << key;
  EXPECT_EQ(socket["receive_queue"], json::array());
  EXPECT_EQ(socket["losses"], json::array());
}

TEST(ImageJsonTest, NoProcess) {
  EXPECT_EQ(json_of({})["processes"], json::array());
  EXPECT_EQ(json_of({ImageProcess{1, "", 0}})["processes"][0]["sockets"], json::array());
}

template <typename Struct>
std::set<std::string> names() {
  std::set<std::string> result;
  auto add = [&](int number) {
    result.insert(Table<Struct>::Message::descriptor()->FindFieldByNumber(number)->name());
  };
  std::apply([&](const auto&... rows) { (add(rows.number), ...); }, Table<Struct>::rows);
  return result;
}

std::set<std::string> keys(const std::vector<const json*>& objects) {
  std::set<std::string> result;
  for (const json* object : objects)
    for (const auto& item : object->items()) result.insert(item.key());
  return result;
}

// Every member is shown under the name of its field.
TEST(ImageJsonTest, EveryMember) {
  json document = json_of(full_sample());
  const json& sockets = document["processes"][0]["sockets"];
  std::set<std::string> want = names<UdpSocket>();
  want.insert({"protocol", "descriptors", "receive_queue", "send_queue", "losses"});
  EXPECT_EQ(keys({&sockets[0], &sockets[1]}), want);
  want = names<ReceivedDatagram>();
  want.insert("payload");
  EXPECT_EQ(keys({&sockets[0]["receive_queue"][0], &sockets[1]["receive_queue"][0]}), want);
  want = names<SendQueue>();
  want.insert("payload");
  EXPECT_EQ(keys({&sockets[0]["send_queue"], &sockets[1]["send_queue"]}), want);
}

// The same for TCP, and every member of the control block under its name in the kernel's header.
TEST(ImageJsonTest, EveryMemberOfTcp) {
  json document = json_of(tcp_sample());
  const json& sockets = document["processes"][0]["sockets"];
  ASSERT_EQ(sockets.size(), 4U);
  std::set<std::string> want = names<TcpSocket>();
  want.insert({"protocol", "descriptors", "losses"});
  EXPECT_EQ(keys({&sockets[0], &sockets[1], &sockets[2]}), want);
  const json& connection = sockets[0]["connection"];
  want = names<TcpConnection>();
  want.insert({"receive_queue", "send_queue"});
  EXPECT_EQ(keys({&connection}), want);
  EXPECT_EQ(sockets[0]["protocol"], "tcp");
  EXPECT_EQ(sockets[0]["state"], "CLOSE_WAIT");
  EXPECT_EQ(connection["scales"], json::parse(R"({"snd": 7, "rcv": 9})"));
  EXPECT_EQ(connection["window"]["max_window"], 131072);
  EXPECT_EQ(connection["receive_queue"], "000102");
  EXPECT_EQ(connection["send_queue"].get<std::string>().size(), 2U * 300);

  const json& ao = sockets[0]["ao"];
  EXPECT_EQ(keys({&ao}), names<TcpAo>());
  EXPECT_EQ(keys({&ao["counters"]}), names<TcpAoCounters>());
  EXPECT_EQ(keys({&ao["sequence"]}), names<TcpAoSequence>());
  want = names<TcpAoKey>();
  want.erase("key");
  want.insert("key_bytes");
  EXPECT_EQ(keys({&ao["keys"][0]}), want) << "a key is not shown";

  const json& block = connection["control_block"];
  EXPECT_EQ(block["srtt"], 123456);
  EXPECT_EQ(block["received_ecn_bytes"][1], 4321);
  EXPECT_EQ(block["state"], 8);
  EXPECT_EQ(block["rest"], "b7b7b7b7b7b7b7b7");
  EXPECT_FALSE(block.contains("age_retrans")) << "which is none";
  for (const char* other : {"size", "flags", "pause", "reserved"})
    EXPECT_FALSE(block.contains(other)) << other;
  EXPECT_EQ(block.size(), 116U) << "116 members, one of them none, and the rest";
}

TEST(ImageJsonTest, EveryMemberOfTimeWait) {
  json document = json_of(tcp_sample());
  const json& over = document["processes"][0]["time_wait"];
  ASSERT_EQ(over.size(), 2U);
  EXPECT_EQ(keys({&over[0]}), names<TcpTimeWait>());
  EXPECT_EQ(keys({&over[0]["timestamps"]}), names<TimeWaitTimestamps>());
  EXPECT_EQ(over[0]["state"], "TIME_WAIT");
  EXPECT_EQ(over[0]["device"], json::parse(R"({"index": 7, "name": "eth7"})"));
  EXPECT_EQ(over[0]["remaining"], 59876543);
  EXPECT_EQ(over[1]["state"], "FIN_WAIT2");
  EXPECT_FALSE(over[1].contains("timestamps"));
  EXPECT_FALSE(json_of(full_sample())["processes"][0].contains("time_wait"));
}

TEST(ImageTextTest, ShowsTcp) {
  std::string text = text_of(tcp_sample());
  for (const std::string& part : std::vector<std::string>{
           "\n  socket 1 (TCP, IPv4)\n    descriptor: 7\n",
           "\n    state: CLOSE_WAIT\n",
           "\n    peer: 192.0.2.77:40001\n",
           "\n    receive queue: 3 bytes 000102\n",
           "\n    send queue: 300 bytes 0001",
           "\n    connection:\n      mss_clamp: 1460\n",
           "\n      scales: snd 7, rcv 9\n",
           "\n      window: snd_wl1 270544928, snd_wnd 65536, ",
           "\n    control block:\n      age_data_rcvd: ",
           "\n      srtt: 123456\n",
           "\n      rest: b7b7b7b7b7b7b7b7\n",
           "\n    not in this image: connection: something\n",
           "\n  socket 2 (TCP, IPv6)\n",
           "\n    state: LISTEN\n",
           "\n    backlog: 4096\n",
           "\n    state: SYN_SENT\n",
           "\n    TCP-AO, keys are not shown:\n      key: 100:200 of 192.0.2.0/24, hmac(sha1), 4 "
           "bytes, current, next\n",
           "\n      sequence: snt_isn 4026531840, ",
           ", 2 TIME_WAIT connections; ",
           "\n  connection that is over (TCP, IPv6)\n",
           "\n    state: TIME_WAIT\n",
           "\n    remaining: 59876543\n",
           "\n    keys: TCP-AO\n",
           "\n    device: 7 is eth7\n",
           "\n    timestamps: microseconds 1, value 4000000001, "})
    EXPECT_THAT(text, HasSubstr(part));
}

// Nor do the bytes of a key get out in any other way.
TEST(ImageShowTest, KeysAreNotShown) {
  for (const std::string& text : {text_of(tcp_sample()), json_of(tcp_sample()).dump()})
    EXPECT_THAT(text, Not(HasSubstr("dec0ad0b")));
}

TEST(ImageTextTest, OneBlockForEachSocket) {
  std::string text = text_of(full_sample());
  std::vector<ImageEntry> entries = full_sample();
  const Loss loss = udp_of(entries[1]).losses[0];
  for (const std::string& part : std::vector<std::string>{
           "image of version 1.2: 1 process, 2 sockets, 5 datagrams; ",
           "\nprocess 4711 (a \"name\\x5c\\x01\\xff), dumped at 2023-11-14 22:13:20 UTC\n",
           "\n  socket 1 (UDP, IPv4)\n    descriptor: 3, watched by epoll instance 5\n    "
           "descriptor: 1023 (close-on-exec)\n",
           "\n    local: 192.0.2.2:5001\n", "SO_MARK",
           "\n    receive queue: 2 datagrams, 16 bytes\n",
           "\n      192.0.2.1:4001 to 192.0.2.2:5001\n",
           "\n        payload: 8 bytes 0a0b0c0d0e0f1011\n",
           "\n    send queue: 1 datagram, 3 bytes\n",
           "\n    not in this image: " + loss.describe() + "\n", "\n  socket 2 (UDP, IPv6)\n",
           "5a5a...\n"})
    EXPECT_THAT(text, HasSubstr(part));
}

// A terminal must not be told what to do by an image.
TEST(ImageTextTest, IsPrintable) {
  std::vector<ImageEntry> entries = full_sample();
  std::get<ImageProcess>(entries[0]).comm = "\x1b[2J\n\x7f\x9b";
  UdpSocket& socket = udp_of(entries[1]);
  socket.losses[0].what = "\x1b]0;title\x07";
  socket.interfaces[0].name =
      "\x1b"
      "c";
  for (const std::string& text : {text_of(entries), json_of(entries).dump()})
    for (char c : text) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << int{c};
}

TEST(ImageShowTest, ReadsFromTheBeginning) {
  ImageReader reader = reader_of(full_sample());
  ASSERT_THAT(reader.next(), IsOk());
  std::ostringstream first, second;
  EXPECT_THAT(show_text(reader, first), IsOk());
  EXPECT_THAT(show_text(reader, second), IsOk());
  EXPECT_EQ(first.str(), text_of(full_sample()));
  EXPECT_EQ(first.str(), second.str());
}

TEST(ImageShowTest, OutputThatFails) {
  ImageReader reader = reader_of(full_sample());
  std::ostringstream out;
  out.setstate(std::ios::badbit);
  EXPECT_THAT(show_text(reader, out), FailsWith(EIO));
  EXPECT_THAT(show_json(reader, out), FailsWith(EIO));
}

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Images that are not what a writer wrote: each is refused, with the place.

#include <errno.h>
#include <gmock/gmock.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "image/raw_image.h"
#include "image/sample.h"
#include "image/tables.h"
#include "proto/image.pb.h"
#include "util/matchers.h"
#include "util/param_name.h"

namespace sockrepair::test {
namespace {

using internal::Limits;
using internal::RecordType;
using internal::Table;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

namespace pb = google::protobuf;
namespace proto = image;

// Where the errno number depends on what is wrong.
MATCHER_P(FailsSaying, what,
          "fails with an error that " + ::testing::DescribeMatcher<std::string>(what)) {
  return !arg.ok() && ::testing::ExplainMatchResult(what, arg.error().what, result_listener);
}

std::string sample_image() {
  return make_image(full_sample()).value();
}
std::string tcp_image() {
  return make_image(tcp_sample()).value();
}

TEST(ImageDamageTest, CutAnywhere) {
  for (const std::string& image : {sample_image(), tcp_image()}) {
    for (std::size_t length = 0; length < image.size(); ++length) {
      EXPECT_THAT(
          read_image(image.substr(0, length)),
          FailsWith(EBADMSG, HasSubstr("the image ends at offset " + std::to_string(length))))
          << "cut at " << length;
    }
  }
}

TEST(ImageDamageTest, EveryBit) {
  for (const std::string& image : {sample_image(), tcp_image()}) {
    for (std::size_t bit = 0; bit < image.size() * 8; ++bit) {
      std::string damaged = image;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      EXPECT_THAT(read_image(damaged), FailsSaying(HasSubstr("at offset "))) << "bit " << bit;
    }
  }
}

TEST(ImageDamageTest, BytesBehindTheEnd) {
  std::string image = sample_image();
  EXPECT_THAT(
      read_image(image + '\0'),
      FailsWith(EBADMSG, HasSubstr("more bytes at offset " + std::to_string(image.size()))));
}

TEST(ImageDamageTest, Empty) {
  EXPECT_THAT(read_image(""), FailsWith(EBADMSG, HasSubstr("image header at offset 0")));
}

TEST(ImageDamageTest, SomethingElse) {
  EXPECT_THAT(read_image(std::string(4096, '\0')),
              FailsWith(EBADMSG, HasSubstr("field magic at offset 0")));
}

TEST(ImageDamageTest, RecordsOfAnotherImage) {
  // Each part is right, and so is each checksum but the ones behind the seam.
  std::string a = sample_image();
  std::string b = make_image(small_sample()).value();
  std::string last = a.substr(a.size() - 60);
  EXPECT_THAT(read_image(b.substr(0, 16) + a.substr(16)), IsOk()) << "headers are all the same";
  EXPECT_THAT(read_image(b.substr(0, b.size() - 30) + last), FailsWith(EBADMSG));
}

TEST(ImageVersionTest, AnotherMajorIsNotRead) {
  std::string image = sample_image();
  image[8] = 2;
  EXPECT_THAT(read_image(with_right_checksums(image)),
              FailsWith(ENOTSUP, HasSubstr("field version at offset 8: 2.2, must be 1.x")));
}

TEST(ImageVersionTest, AnotherMinorIsReadIfNothingIsNew) {
  std::string image = sample_image();
  image[10] = 9;
  ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> entries, read_image(with_right_checksums(image)));
  EXPECT_TRUE(entries == full_sample());
}

// --- records in the wrong place, of the wrong kind, of the wrong length

struct BadRecords {
  const char* name;
  void (*spoil)(std::vector<RawRecord>& records);
  const char* says;  // a regular expression
};

void PrintTo(const BadRecords& bad, std::ostream* out) {
  *out << bad.name;
}

// Of full_sample(): 0 process, 1 IPv4 socket, 2 and 3 its losses, 4 its receive queue, 5 to 8 two
// packets, 9 its send queue, 10 and 11 a packet, 12 IPv6 socket.
constexpr std::size_t kProcess = 0, kSocket = 1, kLoss = 2, kReceiveQueue = 4, kPacket = 5,
                      kData = 6, kSendQueue = 9;
// Of tcp_sample().
constexpr std::size_t kTimeWait = 8;

template <typename Message>
void change(RawRecord& record, void (*function)(Message& message)) {
  Message message;
  ASSERT_TRUE(message.ParseFromString(record.body));
  function(message);
  record.body = message.SerializeAsString();
}

class ImageRecordsTest : public ::testing::TestWithParam<BadRecords> {};

TEST_P(ImageRecordsTest, AreRefused) {
  std::vector<RawRecord> records = take_apart(sample_image());
  ASSERT_EQ(records.size(), 20U);
  GetParam().spoil(records);
  EXPECT_THAT(read_image(put_together(records)),
              FailsWith(EBADMSG, ContainsRegex(GetParam().says)));
}

using Records = std::vector<RawRecord>;

INSTANTIATE_TEST_SUITE_P(
    All, ImageRecordsTest,
    ::testing::Values(
        BadRecords{"unknown_type", [](Records& r) { r[kSocket].type = 10; },
                   "^record 1 at offset [0-9]+: field type at offset [0-9]+: 10, must be 1 to 9"},
        BadRecords{"type_zero", [](Records& r) { r[kProcess].type = 0; },
                   "^record 0 at offset 16: field type at offset 16: 0, must be 1 to 9"},
        BadRecords{"process_too_long", [](Records& r) { r[kProcess].body.resize(4097); },
                   "^record 0 .ProcessEntry. at offset 16: field length at offset 20: 4097, must "
                   "be 0 to 4096"},
        BadRecords{
            "data_too_long", [](Records& r) { r[kData].body.resize(65536); },
            "^record 6 .data. at .*field length at offset [0-9]+: 65536, must be 0 to 65535"},
        BadRecords{"no_process", [](Records& r) { r.erase(r.begin()); },
                   "^record 0 .UdpSocketEntry. at offset 16: in the wrong place, must be "
                   "ProcessEntry or EndEntry"},
        BadRecords{"data_alone", [](Records& r) { std::swap(r[kProcess], r[kData]); },
                   "^record 0 .data. .*wrong place"},
        BadRecords{"loss_missing", [](Records& r) { r.erase(r.begin() + kLoss); },
                   "^record 3 .UdpQueueEntry. .*wrong place, must be LossEntry"},
        BadRecords{"receive_queue_missing", [](Records& r) { r.erase(r.begin() + kReceiveQueue); },
                   "^record 4 .UdpPacketEntry. .*wrong place, must be UdpQueueEntry"},
        BadRecords{"send_queue_first",
                   [](Records& r) { std::swap(r[kReceiveQueue], r[kSendQueue]); },
                   "^record 4 .UdpQueueEntry. .*field direction: must be 1"},
        BadRecords{"data_missing", [](Records& r) { r.erase(r.begin() + kData); },
                   "^record 6 .UdpPacketEntry. .*wrong place, must be data"},
        BadRecords{"end_missing", [](Records& r) { r.pop_back(); }, "the image ends at offset"},
        BadRecords{"end_twice", [](Records& r) { r.push_back(r.back()); }, "behind the end record"},
        BadRecords{"data_shorter", [](Records& r) { r[kData].body.pop_back(); },
                   "^record 6 .data. .*field length: 7, must be the 8"},
        BadRecords{"queue_bytes",
                   [](Records& r) {
                     change<proto::UdpQueueEntry>(r[kReceiveQueue],
                                                  [](auto& q) { q.set_bytes(15); });
                   },
                   "^record 4 .UdpQueueEntry. .*field bytes: 15, but the packets have 16"},
        BadRecords{"queue_too_few_packets",
                   [](Records& r) {
                     change<proto::UdpQueueEntry>(r[kReceiveQueue],
                                                  [](auto& q) { q.set_packets(1); });
                   },
                   "^record 4 .UdpQueueEntry. .*field bytes: 16, but the packets have 8"},
        BadRecords{"two_datagrams_under_construction",
                   [](Records& r) {
                     change<proto::UdpQueueEntry>(r[kSendQueue], [](auto& q) { q.set_packets(2); });
                   },
                   "^record 9 .UdpQueueEntry. .*field packets at offset [0-9]+: must be 0 or 1"},
        BadRecords{"sent_packet_in_receive_queue",
                   [](Records& r) { std::swap(r[kPacket], r[kSendQueue + 1]); },
                   "^record 5 .UdpPacketEntry. .*field received: not there"},
        BadRecords{"end_counts",
                   [](Records& r) {
                     change<proto::EndEntry>(r.back(), [](auto& e) { e.set_sockets(3); });
                   },
                   "^record 19 .EndEntry. .*must be 20, 1, 2, 5, 119"},
        BadRecords{"not_a_message", [](Records& r) { r[kSocket].body = "\xff"; },
                   "^record 1 .UdpSocketEntry. at offset [0-9]+: field . at offset [0-9]+: not a "
                   "tag"},
        BadRecords{"message_cut", [](Records& r) { r[kProcess].body.pop_back(); },
                   "^record 0 .ProcessEntry. at offset 16: field "},
        BadRecords{"unknown_field",
                   [](Records& r) { r[kProcess].body += std::string("\x78\x01", 2); },
                   "field 15 at offset [0-9]+: unknown to this version"},
        BadRecords{"unknown_field_inside",
                   [](Records& r) {
                     // descriptors = 1: { 15: 1 }
                     r[kSocket].body += std::string("\x0a\x02\x78\x01", 4);
                   },
                   "field descriptors.2..15 at offset [0-9]+: unknown to this version"},
        BadRecords{"field_twice",
                   [](Records& r) { r[kProcess].body += std::string("\x08\x01", 2); },
                   "field pid at offset [0-9]+: there twice"},
        BadRecords{"field_of_other_type",
                   [](Records& r) { r[kProcess].body = std::string("\x0d\1\0\0\0", 5); },
                   "field pid at offset 28: wire type 5, must be 0"},
        BadRecords{"group", [](Records& r) { r[kProcess].body = "\x0b\x0c"; },
                   "field pid at offset 28: a group"},
        BadRecords{"length_beyond_message", [](Records& r) { r[kProcess].body = "\x12\x7fname"; },
                   "field comm at offset 28: longer than the message"},
        BadRecords{
            "length_beyond_everything",
            [](Records& r) { r[kProcess].body = "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"; },
            "field comm at offset 28: longer than the message"},
        BadRecords{"number_beyond_type",
                   [](Records& r) {
                     // packets = 2^32 + 1
                     r[kReceiveQueue].body = std::string("\x08\x01\x10\x81\x80\x80\x80\x10", 8);
                   },
                   "field packets at offset [0-9]+: 4294967297, must be 0 to 4294967295"},
        BadRecords{"truth_beyond_one",
                   [](Records& r) { r[kSocket].body = std::string("\x10\x02\x30\x02", 4); },
                   "field nonblocking at offset [0-9]+: 2, must be 0 or 1"},
        BadRecords{"both_packets_in_one",
                   [](Records& r) { r[kPacket].body += std::string("\x1a\x00", 2); },
                   "field sent at offset [0-9]+: there beside received"}),
    ParamName());

// --- values out of their range

// Where a struct's message is in full_sample(), or in tcp_sample(): the record, and the fields that
// lead to it.
struct Spot {
  std::size_t record;
  std::vector<int> path;  // of message fields; the first element of repeated ones
  bool tcp = false;       // in tcp_sample()
};

template <typename Struct>
Spot spot_of();
template <>
Spot spot_of<ImageProcess>() {
  return {kProcess, {}};
}
template <>
Spot spot_of<ImageSocket>() {
  return {kSocket, {}};
}
template <>
Spot spot_of<UdpSocket>() {
  return {kSocket, {}};
}
template <>
Spot spot_of<internal::UdpCounts>() {
  return {kSocket, {}};
}
template <>
Spot spot_of<ImageDescriptor>() {
  return {kSocket, {proto::UdpSocketEntry::kDescriptorsFieldNumber}};
}
template <>
Spot spot_of<EpollWatch>() {
  return {kSocket,
          {proto::UdpSocketEntry::kDescriptorsFieldNumber, proto::Descriptor::kWatchesFieldNumber}};
}
template <>
Spot spot_of<OptionValue>() {
  return {kSocket, {proto::UdpSocketEntry::kOptionsFieldNumber}};
}
template <>
Spot spot_of<Membership>() {
  return {kSocket, {proto::UdpSocketEntry::kMembershipsFieldNumber}};
}
template <>
Spot spot_of<InterfaceName>() {
  return {kSocket, {proto::UdpSocketEntry::kInterfacesFieldNumber}};
}
template <>
Spot spot_of<Loss>() {
  return {kLoss, {}};
}
template <>
Spot spot_of<internal::QueueHead>() {
  return {kReceiveQueue, {}};
}
template <>
Spot spot_of<internal::PacketHead>() {
  return {kPacket, {}};
}
template <>
Spot spot_of<ReceivedDatagram>() {
  return {kPacket, {proto::UdpPacketEntry::kReceivedFieldNumber}};
}
template <>
Spot spot_of<Endpoint>() {
  return {kPacket,
          {proto::UdpPacketEntry::kReceivedFieldNumber, proto::ReceivedPacket::kSourceFieldNumber}};
}
template <>
Spot spot_of<SendQueue>() {
  return {kSendQueue + 1, {proto::UdpPacketEntry::kSentFieldNumber}};
}

template <>
Spot spot_of<TcpSocket>() {
  return {kSocket, {}, true};
}
template <>
Spot spot_of<internal::TcpCounts>() {
  return {kSocket, {}, true};
}
template <>
Spot spot_of<TcpConnection>() {
  return {kSocket, {proto::TcpSocketEntry::kConnectionFieldNumber}, true};
}
template <>
Spot spot_of<TcpScales>() {
  return {kSocket,
          {proto::TcpSocketEntry::kConnectionFieldNumber, proto::TcpConnection::kScalesFieldNumber},
          true};
}
template <>
Spot spot_of<TcpWindow>() {
  return {kSocket,
          {proto::TcpSocketEntry::kConnectionFieldNumber, proto::TcpConnection::kWindowFieldNumber},
          true};
}

template <>
Spot spot_of<TcpAo>() {
  return {kSocket, {proto::TcpSocketEntry::kAoFieldNumber}, true};
}
template <>
Spot spot_of<TcpAoKey>() {
  return {kSocket, {proto::TcpSocketEntry::kAoFieldNumber, proto::TcpAo::kKeysFieldNumber}, true};
}
template <>
Spot spot_of<TcpAoCounters>() {
  return {
      kSocket, {proto::TcpSocketEntry::kAoFieldNumber, proto::TcpAo::kCountersFieldNumber}, true};
}
template <>
Spot spot_of<TcpAoSequence>() {
  return {
      kSocket, {proto::TcpSocketEntry::kAoFieldNumber, proto::TcpAo::kSequenceFieldNumber}, true};
}

template <>
Spot spot_of<TcpTimeWait>() {
  return {kTimeWait, {}, true};
}
template <>
Spot spot_of<TimeWaitTimestamps>() {
  return {kTimeWait, {proto::TcpTimeWaitEntry::kTimestampsFieldNumber}, true};
}

std::unique_ptr<pb::Message> outer_message(const Spot& spot) {
  if (spot.tcp && spot.record == kTimeWait) return std::make_unique<proto::TcpTimeWaitEntry>();
  if (spot.tcp) return std::make_unique<proto::TcpSocketEntry>();
  switch (spot.record) {
    case kProcess:
      return std::make_unique<proto::ProcessEntry>();
    case kSocket:
      return std::make_unique<proto::UdpSocketEntry>();
    case kLoss:
      return std::make_unique<proto::LossEntry>();
    case kReceiveQueue:
      return std::make_unique<proto::UdpQueueEntry>();
    default:
      return std::make_unique<proto::UdpPacketEntry>();
  }
}

pb::Message* follow(pb::Message* message, const std::vector<int>& path) {
  for (int number : path) {
    const pb::FieldDescriptor* field = message->GetDescriptor()->FindFieldByNumber(number);
    const pb::Reflection* reflection = message->GetReflection();
    message = field->is_repeated() ? reflection->MutableRepeatedMessage(message, field, 0)
                                   : reflection->MutableMessage(message, field);
  }
  return message;
}

// The values just outside of a row's limits that its field can hold.
template <typename Member>
struct Inner {
  using type = Member;
};
template <typename T>
struct Inner<std::optional<T>> {
  using type = T;
};

std::vector<std::int64_t> outside(Limits limits, std::int64_t type_min, std::uint64_t type_max,
                                  std::int64_t field_min, std::uint64_t field_max) {
  std::int64_t min = std::max(limits.min, type_min);
  std::uint64_t max = std::min(limits.max, type_max);
  std::vector<std::int64_t> values;
  if (min > field_min) values.push_back(min - 1);
  if (max < field_max) values.push_back(static_cast<std::int64_t>(max + 1));
  return values;
}

// Changes the field so that it is out of its range, once for each way; calls `read` after each with
// the values "3 bytes" or "-1" that a message has to have.
template <typename Member, typename Read>
void spoil(pb::Message* message, const pb::FieldDescriptor* field, Limits limits,
           const Read& read) {
  using Type = typename Inner<Member>::type;
  const pb::Reflection* reflection = message->GetReflection();
  if constexpr (std::is_same_v<Type, bool>) {
    (void)limits;  // there is nothing else, see truth_beyond_one
  } else if constexpr (std::is_enum_v<Type>) {
    for (int value : {0, 3, -1}) {
      reflection->SetEnumValue(message, field, value);
      read(std::to_string(value) + ", must be ");
    }
  } else if constexpr (std::is_integral_v<Type>) {
    constexpr auto kMin = static_cast<std::int64_t>(std::numeric_limits<Type>::min());
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<Type>::max());
    switch (field->cpp_type()) {
      case pb::FieldDescriptor::CPPTYPE_INT32:
        for (std::int64_t value : outside(limits, kMin, kMax, INT32_MIN, INT32_MAX)) {
          reflection->SetInt32(message, field, static_cast<std::int32_t>(value));
          read(std::to_string(value) + ", must be ");
        }
        return;
      case pb::FieldDescriptor::CPPTYPE_UINT32:
        for (std::int64_t value : outside(limits, kMin, kMax, 0, UINT32_MAX)) {
          reflection->SetUInt32(message, field, static_cast<std::uint32_t>(value));
          read(std::to_string(value) + ", must be ");
        }
        return;
      default:
        for (std::int64_t value : outside(limits, kMin, kMax, 0, UINT64_MAX)) {
          reflection->SetUInt64(message, field, static_cast<std::uint64_t>(value));
          read(std::to_string(value) + ", must be ");
        }
    }
  } else if constexpr (std::is_same_v<Type, IpAddress>) {
    for (std::size_t size : {0U, 3U, 5U, 15U, 17U}) {
      reflection->SetString(message, field, std::string(size, '\1'));
      read(std::to_string(size) + " bytes, must be 4 or 16");
    }
  } else if constexpr (std::is_same_v<Type, std::string> ||
                       std::is_same_v<Type, std::vector<std::uint8_t>>) {
    reflection->SetString(message, field, std::string(limits.max + 1, 'x'));
    read(std::to_string(limits.max + 1) + " bytes, at most " + std::to_string(limits.max));
    if (limits.min <= 0) return;
    reflection->SetString(message, field, "");
    read("0 bytes, at least " + std::to_string(limits.min));
  } else if constexpr (requires { typename Table<Type>::Message; }) {
    reflection->ClearField(message, field);
    if constexpr (std::is_same_v<Member, Endpoint>) read("0 bytes, must be 4 or 16");
  } else {
    reflection->ClearField(message, field);
    for (std::uint64_t i = 0; i <= limits.max; ++i) {
      if (field->message_type() != nullptr)
        reflection->AddMessage(message, field);
      else
        reflection->AddString(message, field, "1234");
    }
    read(std::to_string(limits.max + 1) + " elements, at most " + std::to_string(limits.max));
  }
}

template <typename Struct>
class ImageLimitsTest : public ::testing::Test {};

using Limited = ::testing::Types<
    Endpoint, OptionValue, Membership, InterfaceName, EpollWatch, ImageDescriptor, ImageProcess,
    ImageSocket, UdpSocket, internal::UdpCounts, Loss, internal::QueueHead, internal::PacketHead,
    ReceivedDatagram, SendQueue, TcpScales, TcpWindow, TcpConnection, TcpAo, TcpAoKey,
    TcpAoCounters, TcpAoSequence, TcpSocket, internal::TcpCounts, TcpTimeWait, TimeWaitTimestamps>;

struct StructName {
  template <typename Struct>
  static std::string GetName(int) {
    std::string name = Table<Struct>::Message::descriptor()->name();
    if (std::is_same_v<Struct, ImageSocket>) name += "Descriptors";
    if (std::is_same_v<Struct, internal::UdpCounts>) name += "Counts";
    if (std::is_same_v<Struct, internal::TcpCounts>) name += "Counts";
    return name;
  }
};

TYPED_TEST_SUITE(ImageLimitsTest, Limited, StructName);

// Every row: a value just outside of its limits is refused, and the error has the record, the
// offset, the field, the value and the limit.
TYPED_TEST(ImageLimitsTest, EveryMember) {
  const Spot spot = spot_of<TypeParam>();
  const std::vector<RawRecord> records = take_apart(spot.tcp ? tcp_image() : sample_image());
  auto try_row = [&]<typename Member>(const internal::Row<TypeParam, Member>& row) {
    std::unique_ptr<pb::Message> outer = outer_message(spot);
    ASSERT_TRUE(outer->ParseFromString(records[spot.record].body));
    pb::Message* message = follow(outer.get(), spot.path);
    const pb::FieldDescriptor* field = message->GetDescriptor()->FindFieldByNumber(row.number);
    spoil<Member>(message, field, row.limits, [&](const std::string& says) {
      std::vector<RawRecord> spoilt = records;
      spoilt[spot.record].body = outer->SerializeAsString();
      EXPECT_THAT(
          read_image(put_together(spoilt)),
          FailsWith(EBADMSG, AllOf(HasSubstr("record " + std::to_string(spot.record) + " ("),
                                   ContainsRegex("at offset [0-9]+: field [^:]*" + field->name() +
                                                 "[^:]* at offset [0-9]+: "),
                                   HasSubstr(says))));
    });
  };
  std::apply([&](const auto&... rows) { (try_row(rows), ...); }, Table<TypeParam>::rows);
}

// --- values that do not go together

struct BadValue {
  const char* name;
  void (*spoil)(ImageProcess& process, ImageSocket& socket);
  const char* says;
};

void PrintTo(const BadValue& bad, std::ostream* out) {
  *out << bad.name;
}

class ImageValuesTest : public ::testing::TestWithParam<BadValue> {};

// The writer has the same checks, and is the one that can be given such values.
TEST_P(ImageValuesTest, AreNotWritten) {
  std::vector<ImageEntry> entries = full_sample();
  GetParam().spoil(std::get<ImageProcess>(entries[0]), std::get<ImageSocket>(entries[1]));
  EXPECT_THAT(make_image(entries), FailsSaying(ContainsRegex(GetParam().says)));
}

UdpSocket& udp(ImageSocket& entry) {
  return std::get<UdpSocket>(entry.socket);
}

IpAddress v6() {
  return IpAddress::parse("2001:db8::1").value();
}

INSTANTIATE_TEST_SUITE_P(
    All, ImageValuesTest,
    ::testing::Values(
        BadValue{"pid", [](ImageProcess& p, ImageSocket&) { p.pid = -1; },
                 "^ProcessEntry: pid: -1, must be 1 to 2147483647"},
        BadValue{"comm_with_nul", [](ImageProcess& p, ImageSocket&) { p.comm[1] = '\0'; },
                 "^ProcessEntry: comm: must not contain a NUL"},
        BadValue{"comm_too_long",
                 [](ImageProcess& p, ImageSocket&) { p.comm = "1234567890123456"; },
                 "^ProcessEntry: comm: 16 bytes, at most 15"},
        BadValue{
            "descriptors_not_sorted",
            [](ImageProcess&, ImageSocket& s) { std::swap(s.descriptors[0], s.descriptors[1]); },
            "^UdpSocketEntry: descriptors: must be by ascending number"},
        BadValue{"descriptor_twice",
                 [](ImageProcess&, ImageSocket& s) { s.descriptors[1] = s.descriptors[0]; },
                 "^UdpSocketEntry: descriptors: must be by ascending number, none twice"},
        BadValue{"descriptor_negative",
                 [](ImageProcess&, ImageSocket& s) { s.descriptors[0].number = -1; },
                 "^UdpSocketEntry: descriptors.0..number: .*, must be 0 to 1073741823"},
        BadValue{"domain", [](ImageProcess&, ImageSocket& s) { udp(s).domain = AF_UNIX; },
                 "^UdpSocketEntry: domain: must be 2"},
        BadValue{"local_of_other_family",
                 [](ImageProcess&, ImageSocket& s) { udp(s).local->address = v6(); },
                 "^UdpSocketEntry: local: must be an IPv4 address"},
        BadValue{"peer_of_other_family",
                 [](ImageProcess&, ImageSocket& s) { udp(s).peer->address = v6(); },
                 "^UdpSocketEntry: peer: must be an IPv4 address"},
        BadValue{"option_twice",
                 [](ImageProcess&, ImageSocket& s) { udp(s).options.push_back(udp(s).options[0]); },
                 "^UdpSocketEntry: options: must not have an option twice"},
        BadValue{"group_not_multicast",
                 [](ImageProcess&, ImageSocket& s) { udp(s).memberships[0].group = v6(); },
                 "^UdpSocketEntry: memberships.0..group: must be a multicast"},
        BadValue{"group_source_of_other_family",
                 [](ImageProcess&, ImageSocket& s) { udp(s).memberships[0].sources[1] = v6(); },
                 "^UdpSocketEntry: memberships.0..sources: must be of the family"},
        BadValue{"interface_name",
                 [](ImageProcess&, ImageSocket& s) { udp(s).interfaces[1].name = "../x"; },
                 "^UdpSocketEntry: interfaces.1..name: must be a name"},
        BadValue{"interface_name_with_nul",
                 [](ImageProcess&, ImageSocket& s) { udp(s).interfaces[0].name[2] = '\0'; },
                 "^UdpSocketEntry: interfaces.0..name: must be a name"},
        BadValue{"loss_too_long",
                 [](ImageProcess&, ImageSocket& s) { udp(s).losses[1].what.assign(16385, 'x'); },
                 "^LossEntry: what: 16385 bytes, at most 16384"},
        BadValue{"received_from_other_family",
                 [](ImageProcess&, ImageSocket& s) {
                   udp(s).receive_queue.datagrams[1].source.address = v6();
                 },
                 "^ReceivedPacket: datagram 1: source: must be"},
        BadValue{"received_payload_too_long",
                 [](ImageProcess&, ImageSocket& s) {
                   udp(s).receive_queue.datagrams[0].payload.resize(65536);
                 },
                 "^UdpPacketEntry: payload: 65536 bytes, at most 65535"},
        BadValue{"sent_to_other_family",
                 [](ImageProcess&, ImageSocket& s) { udp(s).send_queue->destination = v6(); },
                 "^SentPacket: destination: "},
        BadValue{"sent_header_of_other_family",
                 [](ImageProcess&, ImageSocket& s) { udp(s).send_queue->dst.resize(8); },
                 "^SentPacket: dst: "}),
    ParamName());

// The same of a TCP socket, here the first of tcp_sample(), in CLOSE_WAIT.
struct BadTcp {
  const char* name;
  void (*spoil)(TcpSocket& socket, TcpConnection& connection);
  const char* says;
};

void PrintTo(const BadTcp& bad, std::ostream* out) {
  *out << bad.name;
}

class ImageTcpTest : public ::testing::TestWithParam<BadTcp> {};

TEST_P(ImageTcpTest, IsNotWritten) {
  std::vector<ImageEntry> entries = tcp_sample();
  TcpSocket& socket = tcp_of(entries[1]);
  GetParam().spoil(socket, *socket.connection);
  EXPECT_THAT(make_image(entries), FailsSaying(ContainsRegex(GetParam().says)));
}

INSTANTIATE_TEST_SUITE_P(All, ImageTcpTest,
                         ::testing::
                             Values(
                                 BadTcp{"domain",
                                        [](TcpSocket& s, TcpConnection&) { s.domain = AF_UNIX; },
                                        "^TcpSocketEntry: domain: must be 2"},
                                 BadTcp{
                                     "local_of_other_family",
                                     [](TcpSocket& s, TcpConnection&) { s.local->address = v6(); },
                                     "^TcpSocketEntry: local: must be an IPv4 address"},
                                 BadTcp{"peer_of_other_family",
                                        [](TcpSocket& s, TcpConnection&) {
                                          s.domain = AF_INET6;
                                          s.peer->address = v6();
                                        },
                                        "^TcpSocketEntry: peer: must be of the family of local"},
                                 BadTcp{"option_twice",
                                        [](TcpSocket& s, TcpConnection&) {
                                          s.options.push_back(s.options[0]);
                                        },
                                        "^TcpSocketEntry: options: must not have an option twice"},
                                 BadTcp{"without_local",
                                        [](TcpSocket& s, TcpConnection&) { s.local.reset(); },
                                        "^TcpSocketEntry: local: must be there with a connection"},
                                 BadTcp{"without_peer",
                                        [](TcpSocket& s, TcpConnection&) { s.peer.reset(); },
                                        "^TcpSocketEntry: peer: must be there with a connection"},
                                 BadTcp{"listener_with_peer",
                                        [](TcpSocket& s, TcpConnection&) {
                                          s.state = TcpState::kListen;
                                          s.connection.reset();
                                        },
                                        "^TcpSocketEntry: peer: .* and only then"},
                                 BadTcp{"backlog_of_a_connection",
                                        [](TcpSocket& s, TcpConnection&) { s.backlog = 1; },
                                        "^TcpSocketEntry: backlog: must be 0"},
                                 BadTcp{"accept_queue_of_a_connection",
                                        [](TcpSocket& s, TcpConnection&) { s.accept_queue = 1; },
                                        "^TcpSocketEntry: backlog: must be 0, and accept_queue"},
                                 BadTcp{"syn_sequence",
                                        [](TcpSocket& s, TcpConnection&) { s.syn_sequence = 1; },
                                        "^TcpSocketEntry: syn_sequence: must be there in state 2"},
                                 BadTcp{"no_connection",
                                        [](TcpSocket& s, TcpConnection&) { s.connection.reset(); },
                                        "^TcpSocketEntry: connection: must be there in the states"},
                                 BadTcp{"connection_in_no_state_for_it",
                                        [](TcpSocket& s, TcpConnection&) {
                                          s.state = TcpState::kSynSent;
                                        },
                                        "^TcpSocketEntry: connection: must be there in the states"},
                                 BadTcp{"mss",
                                        [](TcpSocket&, TcpConnection& c) { c.mss_clamp = 87; },
                                        "^TcpSocketEntry: connection.mss_clamp: 87, must be 88 to "
                                        "65535"},
                                 BadTcp{
                                     "scale",
                                     [](TcpSocket&, TcpConnection& c) { c.scales->rcv = 15; },
                                     "^TcpSocketEntry: connection.scales.rcv: 15, must be 0 to 14"},
                                 BadTcp{"window",
                                        [](TcpSocket&, TcpConnection& c) {
                                          c.window.rcv_wnd = (65535U << 14) + 1;
                                        },
                                        "^TcpSocketEntry: connection.window.rcv_wnd: 1073725441, "
                                        "must be 0 to 1073725440"},
                                 BadTcp{"largest_window_is_less",
                                        [](TcpSocket&, TcpConnection& c) {
                                          c.window.max_window = c.window.snd_wnd - 1;
                                        },
                                        "^TcpSocketEntry: connection.window.max_window: must be at "
                                        "least snd_wnd"},
                                 BadTcp{"control_block_too_short",
                                        [](TcpSocket&, TcpConnection& c) {
                                          c.control_block->resize(487);
                                        },
                                        "^TcpSocketEntry: connection.control_block: 487 bytes, at "
                                        "least 488"},
                                 BadTcp{"control_block_too_long",
                                        [](TcpSocket&, TcpConnection& c) {
                                          c.control_block->resize(4097);
                                        },
                                        "^TcpSocketEntry: connection.control_block: 4097 bytes, at "
                                        "most 4096"},
                                 BadTcp{"control_block_of_another_size",
                                        [](TcpSocket&, TcpConnection& c) {
                                          c.control_block->pop_back();
                                        },
                                        "^TcpSocketEntry: connection.control_block: must have its "
                                        "length in size"},
                                 BadTcp{"control_block_with_flags",
                                        [](TcpSocket&, TcpConnection& c) {
                                          (*c.control_block)[4] = 1;
                                        },
                                        "^TcpSocketEntry: connection.control_block: .*0 in flags"},
                                 BadTcp{"control_block_with_pause",
                                        [](TcpSocket&, TcpConnection& c) {
                                          (*c.control_block)[15] = 1;
                                        },
                                        "^TcpSocketEntry: connection.control_block: .*0 in flags, "
                                        "pause"},
                                 BadTcp{
                                     "control_block_with_reserved",
                                     [](TcpSocket&, TcpConnection& c) {
                                       (*c.control_block)[487] = 1;
                                     },
                                     "^TcpSocketEntry: connection.control_block: .* and reserved"},
                                 BadTcp{"control_block_of_another_state",
                                        [](TcpSocket& s, TcpConnection&) {
                                          s.state = TcpState::kLastAck;
                                        },
                                        "^TcpSocketEntry: connection: must have a control block of "
                                        "the state"},
                                 BadTcp{"more_unsent_than_there_is",
                                        [](TcpSocket&, TcpConnection& c) { c.unsent = 301; },
                                        "^TcpSocketEntry: connection, unsent: 301, must be 300 at "
                                        "most"},
                                 BadTcp{"window_beyond_its_scale",
                                        [](TcpSocket&, TcpConnection& c) {
                                          c.scales->rcv = 0;
                                          c.window.rcv_wnd = 65536;
                                        },
                                        "^TcpSocketEntry: connection, window, rcv_wnd: 65536, must "
                                        "be 65535 at most"},
                                 BadTcp{"control_block_of_another_queue",
                                        [](TcpSocket&, TcpConnection& c) {
                                          c.receive_queue.push_back(0);
                                        },
                                        "^TcpSocketEntry: connection, receive_queue, bytes: 4, the "
                                        "control block says 3"},
                                 BadTcp{"urgent_mark_of_nobody",
                                        [](TcpSocket& s, TcpConnection& c) {
                                          s.state = TcpState::kEstablished;
                                          c.control_block.reset();
                                        },
                                        "^TcpSocketEntry: connection, urgent_mark: "},
                                 BadTcp{
                                     "closing_without_a_control_block",
                                     [](TcpSocket&, TcpConnection& c) { c.control_block.reset(); },
                                     "^TcpSocketEntry: connection, control_block: missing"}),
                         ParamName());

// Records of tcp_sample(): 1 the connection, 2 its loss, 3 and 4 the queues, 5 a listener, 8 and 9
// connections that are over.
class ImageTcpRecordsTest : public ::testing::TestWithParam<BadRecords> {};

TEST_P(ImageTcpRecordsTest, AreRefused) {
  std::vector<RawRecord> records = take_apart(tcp_image());
  ASSERT_EQ(records.size(), 11U);
  GetParam().spoil(records);
  EXPECT_THAT(read_image(put_together(records)),
              FailsWith(EBADMSG, ContainsRegex(GetParam().says)));
}

INSTANTIATE_TEST_SUITE_P(
    All, ImageTcpRecordsTest,
    ::testing::Values(
        BadRecords{"no_process", [](Records& r) { r.erase(r.begin()); },
                   "^record 0 .TcpSocketEntry. at offset 16: in the wrong place, must be"},
        BadRecords{
            "taken_for_udp", [](Records& r) { r[1].type = 2; },
            "^record 1 .UdpSocketEntry. .*field state at offset [0-9]+: unknown|field 2[0-9]"},
        BadRecords{"queue_missing", [](Records& r) { r.erase(r.begin() + 3); },
                   "^record 3 .data. .*field length: 300, must be the 3 that"},
        BadRecords{"queue_longer", [](Records& r) { r[4].body += 'x'; },
                   "^record 4 .data. .*field length: 301, must be the 300 that the TcpSocketEntry"},
        BadRecords{
            "queue_without_connection",
            [](Records& r) { change<proto::TcpSocketEntry>(r[5], [](auto& s) { s.set_sent(5); }); },
            "^record 5 .TcpSocketEntry. at .*field received or sent: must be 0 without"},
        BadRecords{"less_sent_than_unsent",
                   [](Records& r) {
                     change<proto::TcpSocketEntry>(r[1], [](auto& s) { s.set_sent(99); });
                     r[4].body.resize(99);
                   },
                   "^record 1 .TcpSocketEntry. at .*connection, unsent: 100, must be 99 at most"},
        BadRecords{"end_counts",
                   [](Records& r) {
                     change<proto::EndEntry>(r.back(), [](auto& e) { e.set_bytes(302); });
                   },
                   "^record 10 .EndEntry. .*must be 11, 1, 4, 0, 303, 2"},
        BadRecords{"time_wait_not_counted",
                   [](Records& r) {
                     change<proto::EndEntry>(r.back(), [](auto& e) { e.clear_time_waits(); });
                   },
                   "^record 10 .EndEntry. .*must be 11, 1, 4, 0, 303, 2"},
        BadRecords{"time_wait_without_process",
                   [](Records& r) { r.erase(r.begin(), r.begin() + kTimeWait); },
                   "^record 0 .TcpTimeWaitEntry. at offset 16: in the wrong place, must be"},
        BadRecords{"socket_after_time_wait", [](Records& r) { std::swap(r[7], r[8]); },
                   "^record 8 .TcpSocketEntry. .*in the wrong place, must be TcpTimeWaitEntry"},
        BadRecords{"time_wait_too_long",
                   [](Records& r) {
                     change<proto::TcpTimeWaitEntry>(r[8],
                                                     [](auto& e) { e.set_remaining(60000001); });
                   },
                   "^record 8 .TcpTimeWaitEntry. .*remaining: 60000001, must be 1 to 60000000"}),
    ParamName());

// What the writer refuses for several members together is refused by the reader as well.
TEST(ImageValueTest, IsNotRead) {
  std::vector<RawRecord> records = take_apart(sample_image());
  change<proto::UdpPacketEntry>(records[kPacket], [](proto::UdpPacketEntry& packet) {
    packet.mutable_received()->mutable_source()->set_address(std::string(16, '\x20'));
  });
  EXPECT_THAT(read_image(put_together(records)),
              FailsWith(EBADMSG, ContainsRegex("^record 5 .UdpPacketEntry. at offset [0-9]+: "
                                               "datagram 0: source: must")));
}

}  // namespace
}  // namespace sockrepair::test

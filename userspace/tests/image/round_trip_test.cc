// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// What goes into an image comes out again.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <variant>
#include <vector>

#include "image/raw_image.h"
#include "image/sample.h"
#include "image/tables.h"
#include "sockrepair/bridge.h"
#include "sockrepair/sockrepair_image.h"
#include "util/matchers.h"

namespace sockrepair::test {
namespace {

using internal::Table;
using ::testing::IsEmpty;

// The entries of both.
std::vector<ImageEntry> all_samples() {
  std::vector<ImageEntry> entries = full_sample();
  for (const ImageEntry& entry : tcp_sample()) entries.push_back(entry);
  return entries;
}

TEST(ImageRoundTripTest, EveryMember) {
  for (const std::vector<ImageEntry>& sample : {full_sample(), tcp_sample()}) {
    ASSERT_OK_AND_ASSIGN(std::string image, make_image(sample));
    ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> entries, read_image(image));
    ASSERT_EQ(entries.size(), sample.size());
    for (std::size_t i = 0; i < entries.size(); ++i)
      EXPECT_TRUE(entries[i] == sample[i]) << "entry " << i;
  }
}

TEST(ImageRoundTripTest, SameEntriesSameBytes) {
  ASSERT_OK_AND_ASSIGN(std::string first, make_image(all_samples()));
  ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> entries, read_image(first));
  ASSERT_OK_AND_ASSIGN(std::string second, make_image(entries));
  EXPECT_EQ(first, second);
}

// Queues of a connection are cut into records; the ends of these are where it can go wrong.
TEST(ImageRoundTripTest, StreamsOfAnyLength) {
  for (std::size_t length : {0U, 1U, 65534U, 65535U, 65536U, 2U * 65535U, 2U * 65535U + 1U}) {
    std::vector<ImageEntry> entries = tcp_sample();
    TcpConnection& connection = *tcp_of(entries[1]).connection;
    connection.receive_queue.resize(length);
    connection.send_queue.assign(length, 0x5c);
    connection.unsent = static_cast<std::uint32_t>(length);
    // Of these lengths neither one would know.
    tcp_of(entries[1]).state = TcpState::kEstablished;
    connection.control_block.reset();
    connection.urgent_mark.reset();
    ASSERT_OK_AND_ASSIGN(std::string image, make_image(entries));
    ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> again, read_image(image));
    EXPECT_TRUE(again == entries) << length;
  }
}

TEST(ImageRoundTripTest, NoEntries) {
  ASSERT_OK_AND_ASSIGN(std::string image, make_image({}));
  ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> entries, read_image(image));
  EXPECT_THAT(entries, IsEmpty());
}

TEST(ImageRoundTripTest, SeveralProcessesAndEmptyQueues) {
  std::vector<ImageEntry> entries = small_sample();
  for (const ImageEntry& entry : full_sample()) entries.push_back(entry);
  entries.emplace_back(ImageProcess{2, "", 0});
  ASSERT_OK_AND_ASSIGN(std::string image, make_image(entries));
  ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> again, read_image(image));
  EXPECT_TRUE(again == entries);
}

// What a process had comes first; the writer minds.
TEST(ImageRoundTripTest, SocketAfterTimeWaitIsNotWritten) {
  std::vector<ImageEntry> entries = tcp_sample();
  entries.push_back(small_sample()[1]);
  EXPECT_THAT(make_image(entries), FailsWith(EINVAL, ::testing::HasSubstr("TcpTimeWaitEntry")));
  entries.insert(entries.end() - 1, ImageProcess{2, "", 0});
  EXPECT_THAT(make_image(entries), IsOk());
}

TEST(ImageRoundTripTest, LongestPayload) {
  ReceivedDatagram datagram;
  datagram.source.address = datagram.destination.address = IpAddress::parse("::1").value();
  datagram.family = Family::kIpv6;
  datagram.destination.port = 1;
  datagram.payload.assign(65535 - 8, 0xa5);
  std::vector<ImageEntry> entries = small_sample();
  UdpSocket& socket = udp_of(entries[1]);
  socket.domain = AF_INET6;
  socket.receive_queue.datagrams.assign(20, datagram);
  ASSERT_OK_AND_ASSIGN(std::string image, make_image(entries));
  ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> again, read_image(image));
  EXPECT_TRUE(again == entries);
}

// --- the samples and the tables are complete

// All values of type Struct in an entry, through tables and what is beside them.
template <typename Struct>
class Collect {
 public:
  template <typename T>
  void operator()(const T& value) {
    if constexpr (std::is_same_v<T, Struct>) found.push_back(value);
    if constexpr (requires { typename Table<T>::Message; }) {
      std::apply([&](const auto&... rows) { ((*this)(value.*rows.member), ...); }, Table<T>::rows);
    }
    if constexpr (std::is_same_v<T, ImageSocket>)
      std::visit([&](const auto& socket) { (*this)(socket); }, value.socket);
    if constexpr (std::is_same_v<T, TcpSocket>) (*this)(value.losses);
    if constexpr (std::is_same_v<T, UdpSocket>) {
      (*this)(value.send_queue);
      (*this)(value.receive_queue.datagrams);
      (*this)(value.losses);
    }
  }
  template <typename T>
  void operator()(const std::optional<T>& value) {
    if (value) (*this)(*value);
  }
  template <typename T>
  void operator()(const std::vector<T>& values) {
    for (const T& value : values) (*this)(value);
  }

  std::vector<Struct> found;
};

template <typename T>
std::optional<std::uint64_t> number_of(const T& value) {
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
    return static_cast<std::uint64_t>(value);
  else
    return std::nullopt;
}
template <typename T>
std::optional<std::uint64_t> number_of(const std::optional<T>& value) {
  return value ? number_of(*value) : std::nullopt;
}

template <typename Struct>
class ImageTableTest : public ::testing::Test {};

using Carried = ::testing::Types<Endpoint, OptionValue, Membership, InterfaceName, EpollWatch,
                                 ImageDescriptor, ImageProcess, ImageSocket, UdpSocket, Loss,
                                 ReceivedDatagram, SendQueue, TcpScales, TcpWindow, TcpConnection,
                                 TcpSocket, TcpTimeWait, TimeWaitTimestamps>;

struct StructName {
  template <typename Struct>
  static std::string GetName(int) {
    return Table<Struct>::Message::descriptor()->name() +
           (std::is_same_v<Struct, ImageSocket> ? "Descriptors" : "");
  }
};

TYPED_TEST_SUITE(ImageTableTest, Carried, StructName);

// Otherwise a round trip would not show a member that is lost.
TYPED_TEST(ImageTableTest, SampleHasEveryMember) {
  Collect<TypeParam> collect;
  for (const ImageEntry& entry : all_samples()) std::visit(collect, entry);
  ASSERT_FALSE(collect.found.empty());
  auto check_row = [&](const auto& row) {
    bool set = false;
    for (const TypeParam& value : collect.found)
      set = set || !(value.*row.member == TypeParam().*row.member);
    EXPECT_TRUE(set) << "field " << row.number << " has its default in all samples";
  };
  std::apply([&](const auto&... rows) { (check_row(rows), ...); }, Table<TypeParam>::rows);
}

// Otherwise it would not show two members that have changed places.
TYPED_TEST(ImageTableTest, SampleHasDifferentNumbers) {
  Collect<TypeParam> collect;
  for (const ImageEntry& entry : all_samples()) std::visit(collect, entry);
  for (const TypeParam& value : collect.found) {
    std::set<std::uint64_t> seen;
    auto check_row = [&](const auto& row) {
      std::optional<std::uint64_t> number = number_of(value.*row.member);
      if (number && *number != 0) {
        EXPECT_TRUE(seen.insert(*number).second) << "field " << row.number << " is " << *number;
      }
    };
    std::apply([&](const auto&... rows) { (check_row(rows), ...); }, Table<TypeParam>::rows);
  }
}

template <typename... Structs>
std::set<int> fields_of() {
  std::set<int> numbers;
  auto add = [&](const auto& rows) {
    std::apply([&](const auto&... row) { (numbers.insert(row.number), ...); }, rows);
  };
  (add(Table<Structs>::rows), ...);
  return numbers;
}

std::set<int> fields_of(const google::protobuf::Descriptor* message) {
  std::set<int> numbers;
  for (int i = 0; i < message->field_count(); ++i) numbers.insert(message->field(i)->number());
  return numbers;
}

// A field of image.proto that no member goes to would be accepted and forgotten.
TEST(ImageTablesTest, EveryFieldIsCarried) {
  using namespace internal;  // NOLINT: the names of all tables
  EXPECT_EQ(fields_of<Endpoint>(), fields_of(image::Endpoint::descriptor()));
  EXPECT_EQ(fields_of<OptionValue>(), fields_of(image::SocketOption::descriptor()));
  EXPECT_EQ(fields_of<Membership>(), fields_of(image::Membership::descriptor()));
  EXPECT_EQ(fields_of<InterfaceName>(), fields_of(image::InterfaceName::descriptor()));
  EXPECT_EQ(fields_of<EpollWatch>(), fields_of(image::EpollWatch::descriptor()));
  EXPECT_EQ(fields_of<ImageDescriptor>(), fields_of(image::Descriptor::descriptor()));
  EXPECT_EQ(fields_of<ImageProcess>(), fields_of(image::ProcessEntry::descriptor()));
  EXPECT_EQ((fields_of<ImageSocket, UdpSocket, UdpCounts>()),
            fields_of(image::UdpSocketEntry::descriptor()));
  EXPECT_EQ((fields_of<ImageSocket, TcpSocket, TcpCounts>()),
            fields_of(image::TcpSocketEntry::descriptor()));
  EXPECT_EQ(fields_of<TcpScales>(), fields_of(image::TcpScales::descriptor()));
  EXPECT_EQ(fields_of<TcpWindow>(), fields_of(image::TcpWindow::descriptor()));
  EXPECT_EQ(fields_of<TcpConnection>(), fields_of(image::TcpConnection::descriptor()));
  EXPECT_EQ(fields_of<TcpTimeWait>(), fields_of(image::TcpTimeWaitEntry::descriptor()));
  EXPECT_EQ(fields_of<TimeWaitTimestamps>(), fields_of(image::TcpTimeWaitTimestamps::descriptor()));
  EXPECT_EQ(fields_of<Loss>(), fields_of(image::LossEntry::descriptor()));
  EXPECT_EQ(fields_of<QueueHead>(), fields_of(image::UdpQueueEntry::descriptor()));
  EXPECT_EQ(fields_of<ReceivedDatagram>(), fields_of(image::ReceivedPacket::descriptor()));
  EXPECT_EQ(fields_of<SendQueue>(), fields_of(image::SentPacket::descriptor()));
  EXPECT_EQ(fields_of<ImageTotals>(), fields_of(image::EndEntry::descriptor()));
  std::set<int> packet = fields_of<PacketHead>();
  packet.insert(
      {image::UdpPacketEntry::kReceivedFieldNumber, image::UdpPacketEntry::kSentFieldNumber});
  EXPECT_EQ(packet, fields_of(image::UdpPacketEntry::descriptor()));
}

// Descriptors and counts of losses have one table for both.
TEST(ImageTablesTest, CommonFieldsHaveTheSameNumber) {
  const google::protobuf::Descriptor& udp = *image::UdpSocketEntry::descriptor();
  const google::protobuf::Descriptor& tcp = *image::TcpSocketEntry::descriptor();
  int common = 0;
  for (int i = 0; i < udp.field_count(); ++i) {
    const google::protobuf::FieldDescriptor* field = tcp.FindFieldByName(udp.field(i)->name());
    const google::protobuf::FieldDescriptor* same = tcp.FindFieldByNumber(udp.field(i)->number());
    EXPECT_EQ(field, same) << udp.field(i)->name();
    common += field != nullptr ? 1 : 0;
  }
  EXPECT_EQ(common, udp.field_count() - 1) << "all but memberships";
}

// What C gets of an image, or the error of its reader.
struct InC {
  std::vector<TcpSocket> sockets;
  std::vector<TcpTimeWait> connections;
};

Result<InC> read_in_c(int fd, bool connections_too) {
  sockrepair_socket* sockets = nullptr;
  std::size_t count = 0;
  sockrepair_time_wait* connections = nullptr;
  sockrepair_error* error = nullptr;
  if (sockrepair_image_read(fd, &sockets, &count, connections_too ? &connections : nullptr,
                            &error) != 0) {
    const Error failure = from_c(*error);
    sockrepair_error_free(error);
    return failure;
  }
  InC found;
  for (std::size_t i = 0; i < count; ++i)
    if (sockets[i].tcp != nullptr) found.sockets.push_back(from_c(*sockets[i].tcp));
  if (connections_too) found.connections = from_c(*connections);
  sockrepair_image_free(sockets, count);
  sockrepair_time_wait_free(connections);
  return found;
}

Result<Fd> image_of(const std::vector<ImageEntry>& entries) {
  const std::string image = make_image(entries).value();
  Fd fd(::memfd_create("image", MFD_CLOEXEC));
  EXPECT_EQ(::write(fd.get(), image.data(), image.size()), static_cast<ssize_t>(image.size()));
  return fd;
}

TEST(ImageInCTest, AllOfTcpIsThere) {
  std::vector<ImageEntry> entries = tcp_sample();
  ASSERT_OK_AND_ASSIGN(const Fd fd, image_of(entries));
  ASSERT_OK_AND_ASSIGN(const InC found, read_in_c(fd.get(), true));
  InC wanted;
  for (ImageEntry& entry : entries) {
    if (std::holds_alternative<ImageSocket>(entry)) wanted.sockets.push_back(tcp_of(entry));
    if (const auto* one = std::get_if<TcpTimeWait>(&entry)) wanted.connections.push_back(*one);
  }
  ASSERT_FALSE(wanted.sockets.empty() || wanted.connections.empty());
  EXPECT_TRUE(found.sockets == wanted.sockets);
  EXPECT_TRUE(found.connections == wanted.connections);

  // And what C writes of it, C++ reads.
  sockrepair_time_wait* list = to_c(found.connections);
  const Fd again(::memfd_create("image", MFD_CLOEXEC));
  EXPECT_EQ(sockrepair_image_write(again.get(), nullptr, 0, list, nullptr), 0);
  sockrepair_time_wait_free(list);
  ASSERT_OK_AND_ASSIGN(ImageReader reader, ImageReader::from_descriptor(again.get()));
  EXPECT_EQ(reader.summary().sockets, 0u);
  EXPECT_EQ(reader.summary().time_waits, wanted.connections.size());
}

// What nobody takes is not passed over.
TEST(ImageInCTest, TimeWaitIsRefusedByWhoDoesNotTakeIt) {
  ASSERT_OK_AND_ASSIGN(const Fd fd, image_of(tcp_sample()));
  EXPECT_THAT(read_in_c(fd.get(), false),
              FailsWith(EPROTONOSUPPORT, ::testing::HasSubstr("connections is NULL")));
}

}  // namespace
}  // namespace sockrepair::test

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <time.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "image/control_block.h"
#include "image/tables.h"
#include "no_throw.h"
#include "sockrepair/image_show.h"
#include "try.h"

namespace sockrepair {

namespace {

using internal::Bytes;
using internal::Table;
using Json = nlohmann::ordered_json;

constexpr std::size_t kBytesShown = 32;

// The name of a row's member.
template <typename Struct>
const std::string& member_name(int number) {
  return Table<Struct>::Message::descriptor()->FindFieldByNumber(number)->name();
}

// Whether a row is for a member that is not shown as it is: the control block is bytes to everybody
// else, and is shown by its own members; a key is nobody's to see.
template <typename Struct>
constexpr bool shown_apart(int number) {
  if constexpr (std::is_same_v<Struct, TcpConnection>)
    return number == image::TcpConnection::kControlBlockFieldNumber;
  else if constexpr (std::is_same_v<Struct, TcpAoKey>)
    return number == image::TcpAoKey::kKeyFieldNumber;
  else
    return false;
}

// function(name, value) for every member that has a row.
template <typename Struct, typename Function>
void for_each_member(const Struct& value, const Function& function) {
  auto one = [&](const auto& row) {
    if (!shown_apart<Struct>(row.number))
      function(member_name<Struct>(row.number), value.*row.member);
  };
  std::apply([&](const auto&... rows) { (one(rows), ...); }, Table<Struct>::rows);
}

std::string hex(std::span<const std::uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xf];
  }
  return text;
}

// Printable ASCII, with \xNN for everything else and for the backslash.
std::string printable(std::string_view text) {
  std::string result;
  for (char c : text) {
    auto byte = static_cast<std::uint8_t>(c);
    if (byte >= 0x20 && byte < 0x7f && byte != '\\')
      result += c;
    else
      result += "\\x" + hex(std::span(&byte, 1));
  }
  return result;
}

// What a socket is of, as a key and for people.
const char* protocol_key(const UdpSocket&) {
  return "udp";
}
const char* protocol_key(const TcpSocket&) {
  return "tcp";
}
const char* protocol_name(const UdpSocket&) {
  return "UDP";
}
const char* protocol_name(const TcpSocket&) {
  return "TCP";
}

template <typename T>
concept Tabled = requires {
  typename Table<T>::Message;
};

Result<void> check(const std::ostream& out) {
  if (out.good()) return {};
  return Error{EIO, "writing the text of an image"};
}

// --- JSON

Json json(bool value) {
  return value;
}
template <typename T>
requires std::is_integral_v<T> Json json(T value) {
  return value;
}
Json json(const std::string& value) {
  return printable(value);
}
Json json(const Bytes& value) {
  return hex(value);
}
Json json(Family value) {
  return value == Family::kIpv4 ? "ipv4" : "ipv6";
}
Json json(const IpAddress& value) {
  return value.to_string();
}
Json json(TcpState value) {
  return tcp_state_name(value);
}

Json json(TimeWaitState value) {
  return time_wait_state_name(value);
}

template <Tabled T>
Json json(const T& value);

template <typename T>
Json json(const std::vector<T>& values) {
  Json result = Json::array();
  for (const T& value : values) result.push_back(json(value));
  return result;
}

template <typename Member>
void add(Json* object, const std::string& name, const Member& value) {
  (*object)[name] = json(value);
}
template <typename Member>
void add(Json* object, const std::string& name, const std::optional<Member>& value) {
  if (value) (*object)[name] = json(*value);
}

// What a program could not know from the members alone.
template <typename T>
void add_more(Json*, const T&) {}
void add_more(Json* object, const OptionValue& value) {
  (*object)["text"] = printable(value.describe());
}
void add_more(Json* object, const SendQueue& value) {
  (*object)["payload"] = hex(value.payload);
}
void add_more(Json* object, const ReceivedDatagram& value) {
  (*object)["payload"] = hex(value.payload);
}
void add_more(Json* object, const TcpAoKey& value) {
  (*object)["key_bytes"] = value.key.size();
}
void add_more(Json* object, const TcpConnection& value) {
  (*object)["receive_queue"] = hex(value.receive_queue);
  (*object)["send_queue"] = hex(value.send_queue);
  if (!value.control_block) return;
  Json block = Json::object();
  for (const internal::ControlBlockMember& member :
       internal::control_block_members(*value.control_block)) {
    block[member.name] = member.values.size() == 1 ? Json(member.values[0]) : Json(member.values);
  }
  std::span<const std::uint8_t> rest = internal::control_block_rest(*value.control_block);
  if (!rest.empty()) block["rest"] = hex(rest);
  (*object)["control_block"] = std::move(block);
}

template <Tabled T>
Json json(const T& value) {
  Json object = Json::object();
  for_each_member(value,
                  [&](const std::string& name, const auto& member) { add(&object, name, member); });
  add_more(&object, value);
  return object;
}

// Writes elements of a list with what has to be between them.
class JsonList {
 public:
  JsonList(std::ostream& out, int depth) : out_(&out), depth_(depth) { *out_ << "["; }

  // Begins an element; what is written next is it.
  std::ostream& next() {
    *out_ << (empty_ ? "\n" : ",\n") << std::string(static_cast<std::size_t>(depth_ + 2), ' ');
    empty_ = false;
    return *out_;
  }

  void end() {
    if (!empty_) *out_ << "\n" << std::string(static_cast<std::size_t>(depth_), ' ');
    *out_ << "]";
  }

 private:
  std::ostream* out_;
  int depth_;
  bool empty_ = true;
};

std::string dump(const Json& value) {
  // Throws for what is not UTF-8, unless it is told to replace that. Strings here are ASCII.
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The members of an object, one a line and the last with a comma, without the braces.
void print_members(std::ostream& out, const Json& object, int depth) {
  for (const auto& [name, value] : object.items())
    out << "\n"
        << std::string(static_cast<std::size_t>(depth), ' ') << dump(name) << ": " << dump(value)
        << ",";
}

constexpr int kSocketDepth = 10;

void print_queues_json(std::ostream& out, const UdpSocket& socket) {
  const std::string indent(kSocketDepth, ' ');
  if (socket.send_queue)
    out << "\n" << indent << "\"send_queue\": " << dump(json(*socket.send_queue)) << ",";
  out << "\n" << indent << "\"receive_queue\": ";
  JsonList datagrams(out, kSocketDepth);
  for (const ReceivedDatagram& datagram : socket.receive_queue.datagrams)
    datagrams.next() << dump(json(datagram));
  datagrams.end();
  out << ",";
}

// They are within the connection.
void print_queues_json(std::ostream&, const TcpSocket&) {}

template <typename Socket>
void print_json(std::ostream& out, const ImageSocket& entry, const Socket& socket) {
  out << "{";
  print_members(out, {{"protocol", protocol_key(socket)}}, kSocketDepth);
  print_members(out, json(entry), kSocketDepth);
  print_members(out, json(socket), kSocketDepth);
  print_queues_json(out, socket);

  out << "\n" << std::string(kSocketDepth, ' ') << "\"losses\": ";
  JsonList losses(out, kSocketDepth);
  for (const Loss& loss : socket.losses) losses.next() << dump(json(loss));
  losses.end();
  out << "\n        }";
}

// The lists of a process: its sockets, then, if there are any, connections that are over.
class ProcessLists {
 public:
  explicit ProcessLists(std::ostream& out) : out_(&out) { begin("sockets"); }

  void add(const ImageSocket& entry) {
    list_->next();
    std::visit([&](const auto& socket) { print_json(*out_, entry, socket); }, entry.socket);
  }

  void add(const TcpTimeWait& connection) {
    if (!std::exchange(over_, true)) {
      list_->end();
      *out_ << ",";
      begin("time_wait");
    }
    list_->next() << dump(json(connection));
  }

  void end() {
    list_->end();
    *out_ << "\n    }";
  }

 private:
  static constexpr int kDepth = 6;

  void begin(const char* name) {
    *out_ << "\n" << std::string(kDepth, ' ') << '"' << name << "\": ";
    list_.emplace(*out_, kDepth);
  }

  std::ostream* out_;
  std::optional<JsonList> list_;
  bool over_ = false;
};

Result<void> show_as_json(ImageReader& reader, std::ostream& out) {
  reader.rewind();
  const ImageSummary& summary = reader.summary();
  out << "{\n  \"version\": \"" << summary.major_version << "." << summary.minor_version
      << "\",\n  \"processes\": ";
  JsonList processes(out, 2);
  std::optional<ProcessLists> lists;
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageEntry> entry, reader.next());
    if (!entry) break;
    if (const auto* process = std::get_if<ImageProcess>(&*entry)) {
      if (lists) lists->end();
      processes.next() << "{";
      print_members(out, json(*process), 6);
      lists.emplace(out);
    } else if (const auto* socket = std::get_if<ImageSocket>(&*entry)) {
      lists->add(*socket);
    } else {
      lists->add(std::get<TcpTimeWait>(*entry));
    }
    SOCKREPAIR_TRY(check(out));
  }
  if (lists) lists->end();
  processes.end();
  out << "\n}\n";
  return check(out);
}

// --- text

std::string text(bool value) {
  return value ? "yes" : "no";
}
template <typename T>
requires std::is_integral_v<T> std::string text(T value) {
  return std::to_string(value);
}
std::string text(Family value) {
  return family_name(value);
}
std::string text(const IpAddress& value) {
  return value.to_string();
}
std::string text(TcpState value) {
  return tcp_state_name(value);
}
std::string text(TimeWaitState value) {
  return time_wait_state_name(value);
}
// "snd 7, rcv 9"
template <typename Struct>
std::string numbers_text(const Struct& value) {
  std::string result;
  for_each_member(value, [&](const std::string& name, auto number) {
    result += (result.empty() ? "" : ", ") + name + " " + std::to_string(number);
  });
  return result;
}
std::string text(const TcpScales& value) {
  return numbers_text(value);
}
std::string text(const TcpWindow& value) {
  return numbers_text(value);
}
std::string text(const TcpAoCounters& value) {
  return numbers_text(value);
}
std::string text(const TcpAoSequence& value) {
  return numbers_text(value);
}
std::string text(const TimeWaitTimestamps& value) {
  return numbers_text(value);
}
std::string text(const Endpoint& value) {
  return value.to_string();
}
std::string text(const Bytes& value) {
  bool all = value.size() <= kBytesShown;
  return hex(std::span(value).first(std::min(value.size(), kBytesShown))) + (all ? "" : "...");
}
std::string text(const ImageDescriptor& value) {
  std::string result =
      std::to_string(value.number) + (value.close_on_exec ? " (close-on-exec)" : "");
  for (const EpollWatch& watch : value.watches)
    result += ", watched by epoll instance " + std::to_string(watch.epoll);
  return result;
}
std::string text(const OptionValue& value) {
  return printable(value.describe());
}
std::string text(const Membership& value) {
  return printable(value.describe());
}
std::string text(const TcpAoKey& value) {
  return printable(value.name()) + ", " + std::to_string(value.key.size()) + " bytes" +
         (value.current ? ", current" : "") + (value.next ? ", next" : "");
}
std::string text(const std::string& value) {
  return printable(value);
}
std::string text(const InterfaceName& value) {
  return std::to_string(value.index) + " is " + printable(value.name);
}

// Whether a value is worth a line.
template <typename T>
bool worth_showing(const T& value) {
  if constexpr (std::is_integral_v<T>)
    return value != 0;
  else if constexpr (requires { value.empty(); })
    return !value.empty();
  else
    return true;
}

template <typename T>
void print_member(std::ostream& out, const std::string& indent, const std::string& name,
                  const T& value) {
  if (worth_showing(value)) out << indent << name << ": " << text(value) << "\n";
}
template <typename T>
void print_member(std::ostream& out, const std::string& indent, const std::string& name,
                  const std::optional<T>& value) {
  if (value) out << indent << name << ": " << text(*value) << "\n";
}
// A block of its own, see print_queues_text().
void print_member(std::ostream&, const std::string&, const std::string&,
                  const std::optional<TcpConnection>&) {}
void print_member(std::ostream&, const std::string&, const std::string&,
                  const std::optional<TcpAo>&) {}
template <typename T>
requires(!std::same_as<T, std::uint8_t>) void print_member(std::ostream& out,
                                                           const std::string& indent,
                                                           const std::string& name,
                                                           const std::vector<T>& values) {
  // "options", but "option" for one of them.
  std::string one = name.substr(0, name.size() - 1);
  for (const T& value : values) out << indent << one << ": " << text(value) << "\n";
}

template <typename Struct>
void print_lines(std::ostream& out, const std::string& indent, const Struct& value) {
  for_each_member(value, [&](const std::string& name, const auto& member) {
    print_member(out, indent, name, member);
  });
}

std::string count(std::uint64_t number, const std::string& noun) {
  std::string plural = noun.back() == 's' ? "es" : "s";
  return std::to_string(number) + " " + noun + (number == 1 ? "" : plural);
}

template <typename Packet>
std::string queue_size(std::span<const Packet> packets) {
  std::uint64_t bytes = 0;
  for (const Packet& packet : packets) bytes += packet.payload.size();
  return count(packets.size(), "datagram") + ", " + count(bytes, "byte");
}

// "2026-11-22 00:15:58 UTC"
std::string date(std::uint64_t nanoseconds) {
  auto seconds = static_cast<time_t>(nanoseconds / 1'000'000'000);
  struct tm parts {};
  char buffer[64];
  if (gmtime_r(&seconds, &parts) == nullptr ||
      strftime(buffer, sizeof(buffer), "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
    return std::to_string(nanoseconds) + " ns";
  return buffer;
}

void print_payload(std::ostream& out, const std::string& indent, const char* name,
                   const Bytes& payload) {
  out << indent << name << ": " << count(payload.size(), "byte");
  if (!payload.empty()) out << " " << text(payload);
  out << "\n";
}

constexpr char kSocketIndent[] = "    ";

void print_queues_text(std::ostream& out, const UdpSocket& socket) {
  const std::string indent = kSocketIndent;
  std::span<const ReceivedDatagram> datagrams = socket.receive_queue.datagrams;
  out << indent << "receive queue: " << queue_size(datagrams) << "\n";
  for (const ReceivedDatagram& datagram : datagrams) {
    out << indent << "  " << text(datagram.source) << " to " << text(datagram.destination) << "\n";
    print_lines(out, indent + "    ", datagram);
    print_payload(out, indent + "    ", "payload", datagram.payload);
  }
  std::span<const SendQueue> sent;
  if (socket.send_queue) sent = std::span(&*socket.send_queue, 1);
  out << indent << "send queue: " << queue_size(sent) << "\n";
  for (const SendQueue& queue : sent) {
    print_lines(out, indent + "    ", queue);
    print_payload(out, indent + "    ", "payload", queue.payload);
  }
}

void print_queues_text(std::ostream& out, const TcpSocket& socket) {
  const std::string indent = kSocketIndent;
  if (socket.ao) {
    out << indent << "TCP-AO, keys are not shown:\n";
    print_lines(out, indent + "  ", *socket.ao);
  }
  if (!socket.connection) return;
  const TcpConnection& connection = *socket.connection;
  print_payload(out, indent, "receive queue", connection.receive_queue);
  print_payload(out, indent, "send queue", connection.send_queue);
  out << indent << "connection:\n";
  print_lines(out, indent + "  ", connection);
  if (!connection.control_block) return;
  out << indent << "control block:\n";
  for (const internal::ControlBlockMember& member :
       internal::control_block_members(*connection.control_block)) {
    out << indent << "  " << member.name << ":";
    for (std::uint64_t value : member.values) out << " " << value;
    out << "\n";
  }
  std::span<const std::uint8_t> rest = internal::control_block_rest(*connection.control_block);
  if (!rest.empty()) out << indent << "  rest: " << hex(rest) << "\n";
}

template <typename Socket>
void print_text(std::ostream& out, const ImageSocket& entry, const Socket& socket,
                std::uint64_t number) {
  out << "\n  socket " << number << " (" << protocol_name(socket) << ", "
      << family_name(socket.domain == AF_INET6 ? Family::kIpv6 : Family::kIpv4) << ")\n";
  print_lines(out, kSocketIndent, entry);
  print_lines(out, kSocketIndent, socket);
  print_queues_text(out, socket);
  for (const Loss& loss : socket.losses)
    out << kSocketIndent << "not in this image: " << printable(loss.describe()) << "\n";
}

Result<void> show_as_text(ImageReader& reader, std::ostream& out) {
  reader.rewind();
  const ImageSummary& summary = reader.summary();
  out << "image of version " << summary.major_version << "." << summary.minor_version << ": "
      << count(summary.processes, "process") << ", " << count(summary.sockets, "socket") << ", "
      << count(summary.datagrams, "datagram");
  if (summary.time_waits != 0) out << ", " << count(summary.time_waits, "TIME_WAIT connection");
  out << "; " << count(summary.bytes, "byte") << "\n";
  std::uint64_t number = 0;
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageEntry> entry, reader.next());
    if (!entry) return check(out);
    if (const auto* process = std::get_if<ImageProcess>(&*entry)) {
      out << "\nprocess " << process->pid << " (" << printable(process->comm) << ")";
      if (process->dumped_at != 0) out << ", dumped at " << date(process->dumped_at);
      out << "\n";
    } else if (const auto* one = std::get_if<ImageSocket>(&*entry)) {
      ++number;
      std::visit([&](const auto& socket) { print_text(out, *one, socket, number); }, one->socket);
    } else {
      const auto& over = std::get<TcpTimeWait>(*entry);
      out << "\n  connection that is over (TCP, "
          << family_name(over.domain == AF_INET6 ? Family::kIpv6 : Family::kIpv4) << ")\n";
      print_lines(out, kSocketIndent, over);
    }
    SOCKREPAIR_TRY(check(out));
  }
}

}  // namespace

Result<void> show_text(ImageReader& reader, std::ostream& out) {
  return internal::no_throw([&] { return show_as_text(reader, out); });
}

Result<void> show_json(ImageReader& reader, std::ostream& out) {
  return internal::no_throw([&] { return show_as_json(reader, out); });
}

}  // namespace sockrepair

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UDP_SEND_QUEUE_HEADERS_H_
#define SOCKREPAIR_TESTS_UDP_SEND_QUEUE_HEADERS_H_

#include <cstdint>
#include <vector>

#include "sockrepair/address.h"
#include "util/send.h"

// IP options and extension headers, control messages, for the values of matrices.
namespace sockrepair::test {

using HeaderBytes = std::vector<std::uint8_t>;

// IPv4 options, as IP_OPTIONS takes them.
inline const HeaderBytes kRouterAlert = {148, 4, 0, 0};
inline const HeaderBytes kRecordRoute = {7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0};
inline const HeaderBytes kTimestampOption = {68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0};
// Loose source route: first to 10.0.0.2, then on to the destination.
inline const HeaderBytes kSourceRoute = {1, 131, 7, 4, 10, 0, 0, 2};

// An IPv6 options header of `units` times 8 bytes, with one option that receivers skip (type 0x1e
// is for experiments), all `filling`.
inline HeaderBytes options_header(std::uint8_t units, std::uint8_t filling) {
  HeaderBytes header(units * 8U, filling);
  header[0] = 0;
  header[1] = static_cast<std::uint8_t>(units - 1);
  header[2] = 0x1e;
  header[3] = static_cast<std::uint8_t>(header.size() - 4);
  return header;
}

inline const HeaderBytes kHopByHop = options_header(1, 0xa1);
inline const HeaderBytes kRoutingDst = options_header(2, 0xb2);
inline const HeaderBytes kDst = options_header(3, 0xc3);

// A type 2 routing header (for mobile hosts): the packet goes to `first` first.
inline HeaderBytes routing_type2(const char* first) {
  HeaderBytes header = {0, 2, 2, 1, 0, 0, 0, 0};
  in6_addr address = IpAddress::parse(first).value().v6();
  header.insert(header.end(), address.s6_addr, address.s6_addr + 16);
  return header;
}

// A segment routing header (type 4): the packet goes to `first` first, segments[1]; the kernel puts
// the destination into segments[0].
inline HeaderBytes routing_segment(const char* first) {
  HeaderBytes header = {0, 4, 4, 1, 1, 0, 0, 0};
  header.resize(header.size() + 16);
  in6_addr address = IpAddress::parse(first).value().v6();
  header.insert(header.end(), address.s6_addr, address.s6_addr + 16);
  return header;
}

// One control message.
template <typename T>
sockrepair::internal::ControlMessages message(int level, int type, const T& value) {
  sockrepair::internal::ControlMessages control;
  control.add(level, type, value);
  return control;
}
inline sockrepair::internal::ControlMessages bytes_message(int level, int type,
                                                           const HeaderBytes& value) {
  sockrepair::internal::ControlMessages control;
  control.add_bytes(level, type, value);
  return control;
}

// Two control messages.
template <typename T, typename U>
sockrepair::internal::ControlMessages messages(int level, int type, const T& value, int level2,
                                               int type2, const U& value2) {
  sockrepair::internal::ControlMessages control = message(level, type, value);
  control.add(level2, type2, value2);
  return control;
}

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UDP_SEND_QUEUE_HEADERS_H_

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/address.h"

#include <errno.h>
#include <gtest/gtest.h>

namespace sockrepair {
namespace {

IpAddress address(const char* text) {
  return IpAddress::parse(text).value();
}

TEST(IpAddressTest, ParsesAndPrints) {
  EXPECT_EQ(address("192.0.2.1").to_string(), "192.0.2.1");
  EXPECT_EQ(address("192.0.2.1").family(), Family::kIpv4);
  EXPECT_EQ(address("2001:db8::1").to_string(), "2001:db8::1");
  EXPECT_EQ(address("2001:db8::1").family(), Family::kIpv6);
  EXPECT_EQ(IpAddress::parse("192.0.2").error().describe(),
            "'192.0.2' is neither an IPv4 nor an IPv6 address: EINVAL (Invalid argument)");
}

TEST(IpAddressTest, KnowsItsKind) {
  EXPECT_TRUE(address("0.0.0.0").is_any());
  EXPECT_TRUE(address("::").is_any());
  EXPECT_FALSE(address("0.0.0.1").is_any());
  EXPECT_TRUE(address("224.0.0.1").is_multicast());
  EXPECT_TRUE(address("239.255.255.255").is_multicast());
  EXPECT_FALSE(address("240.0.0.1").is_multicast());
  EXPECT_TRUE(address("ff02::1").is_multicast());
  EXPECT_TRUE(address("fe80::1").is_link_local());
  EXPECT_TRUE(address("febf::1").is_link_local());
  EXPECT_FALSE(address("fec0::1").is_link_local());
  EXPECT_TRUE(address("ff02::1").is_link_local());
  EXPECT_FALSE(address("ff05::1").is_link_local());
}

TEST(IpAddressTest, FamiliesAreNotEqual) {
  EXPECT_NE(address("0.0.0.0"), address("::"));
  EXPECT_EQ(address("10.0.0.1"), address("10.0.0.1"));
}

TEST(SocketAddressTest, Ipv4RoundTrip) {
  Endpoint endpoint{address("10.0.0.1"), 53, 0};
  SocketAddress plain(endpoint, AF_INET);
  EXPECT_EQ(plain.get()->sa_family, AF_INET);
  EXPECT_EQ(plain.endpoint().value(), endpoint);
}

TEST(SocketAddressTest, Ipv4OnIpv6SocketIsMapped) {
  Endpoint endpoint{address("10.0.0.1"), 53, 0};
  SocketAddress mapped(endpoint, AF_INET6);
  EXPECT_EQ(mapped.get()->sa_family, AF_INET6);
  EXPECT_EQ(mapped.endpoint().value(), endpoint);
}

TEST(SocketAddressTest, Ipv6KeepsItsScope) {
  Endpoint endpoint{address("fe80::1"), 53, 7};
  EXPECT_EQ(SocketAddress(endpoint, AF_INET6).endpoint().value(), endpoint);
  EXPECT_EQ(endpoint.to_string(), "[fe80::1%7]:53");
}

TEST(SocketAddressTest, OtherFamiliesHaveNoEndpoint) {
  SocketAddress address;
  address.mutable_get()->sa_family = AF_UNIX;
  EXPECT_EQ(address.endpoint().error().code, EAFNOSUPPORT);
  EXPECT_EQ(address.to_string(), "family 1");
}

}  // namespace
}  // namespace sockrepair

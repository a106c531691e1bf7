#include "net_address.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>

#include <cstring>

namespace tutti {
namespace {

using testing::HasSubstr;

SocketAddress parsed(std::string_view text, uint16_t default_port = 0) {
  const auto result = SocketAddress::parse(text, default_port);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *result : SocketAddress();
}

TEST(SocketAddress, Default) {
  const SocketAddress address;
  EXPECT_EQ(address.to_string(), "0.0.0.0:0");
  EXPECT_TRUE(address.is_any());
  EXPECT_EQ(address, SocketAddress::any(false, 0));
  EXPECT_EQ(SocketAddress::any(true, 80).to_string(), "[::]:80");
  EXPECT_TRUE(SocketAddress::any(true, 80).is_any());
}

TEST(SocketAddress, ParseAndFormat) {
  for (const std::string_view text : {"127.0.0.1:29500", "10.1.2.3:0", "255.255.255.255:65535", "[::1]:29500", "[2001:db8::7]:1"})
    EXPECT_EQ(parsed(text).to_string(), text);
  EXPECT_EQ(parsed("10.0.0.1").to_string(), "10.0.0.1:0");
  EXPECT_EQ(parsed("10.0.0.1", 7).to_string(), "10.0.0.1:7");
  EXPECT_EQ(parsed("::1", 7).to_string(), "[::1]:7");
  EXPECT_EQ(parsed("[::1]", 7).to_string(), "[::1]:7");
  EXPECT_EQ(parsed("[::1]:8", 7).port(), 8);
  EXPECT_EQ(parsed("10.0.0.1:8").host(), "10.0.0.1");
  EXPECT_EQ(parsed("10.0.0.1:8").length(), sizeof(sockaddr_in));
  EXPECT_EQ(parsed("[::1]:8").length(), sizeof(sockaddr_in6));
}

TEST(SocketAddress, Scope) {
  const std::string name = "lo";
  if (if_nametoindex(name.c_str()) == 0) GTEST_SKIP() << "no interface named lo";
  EXPECT_EQ(parsed("[fe80::1%lo]:5").to_string(), "[fe80::1%lo]:5");
  EXPECT_EQ(parsed("fe80::1%" + std::to_string(if_nametoindex("lo"))).host(), "fe80::1%lo");
  EXPECT_FALSE(parsed("fe80::1%lo") == parsed("fe80::1"));
  EXPECT_FALSE(SocketAddress::parse("fe80::1%").ok());
  EXPECT_FALSE(SocketAddress::parse("fe80::1%nosuchinterface").ok());
}

TEST(SocketAddress, OfAnAbstractUnixSocket) {
  const SocketAddress address = parsed("unix:tutti-5F-c0", 7);
  EXPECT_EQ(address.to_string(), "unix:tutti-5F-c0");
  EXPECT_TRUE(address.is_unix() && address.is_loopback());
  EXPECT_FALSE(address.is_v6() || address.is_any() || address.is_link_local());
  EXPECT_EQ(address.port(), 0);
  EXPECT_EQ(address.host(), "");
  EXPECT_EQ(address.length(), sizeof(sa_family_t) + 1 + std::strlen("tutti-5F-c0"));
  EXPECT_EQ(address, SocketAddress::from(*reinterpret_cast<const sockaddr_storage*>(address.data()), address.length()));
  EXPECT_FALSE(address == parsed("unix:tutti-5F-c1"));
  EXPECT_FALSE(address == parsed("unix:tutti-5F-c"));
  EXPECT_FALSE(address == SocketAddress());
  const auto one = SocketAddress::random_unix(), other = SocketAddress::random_unix();
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_FALSE(*one == *other);
  EXPECT_EQ(parsed(one->to_string()), *one);
  EXPECT_EQ(parsed("unix:tutti-" + std::string(101, 'x')).to_string().size(), 112u);
  const std::string zero("unix:tutti-a\0b", 14), long_one = "unix:tutti-" + std::string(102, 'x');
  for (const std::string& text : {std::string("unix:"), std::string("unix:tutti-"), std::string("unix:dbus-7"),
                                  std::string("unix:tutti-/x"), std::string("unix:tutti-a b"), zero, long_one})
    EXPECT_FALSE(SocketAddress::parse(text).ok()) << text;
}

TEST(SocketAddress, Refused) {
  for (const std::string_view text :
       {"", ":1", "[]:1", "host:1", "10.0.0:1", "10.0.0.256:1", "10.0.0.1:", "10.0.0.1:x", "10.0.0.1:65536", "10.0.0.1:-1",
        "10.0.0.1:1:2", "[::1", "[::1]1", "[::1]:", "[::1]x:1", "::g", "10.0.0.1%lo", "0x7f.1"}) {
    const auto result = SocketAddress::parse(text);
    ASSERT_FALSE(result.ok()) << text << " → " << result->to_string();
    EXPECT_EQ(result.status().code(), Code::invalid_argument);
    EXPECT_THAT(result.status().message(), HasSubstr("\"" + std::string(text) + "\""));
  }
  EXPECT_FALSE(SocketAddress::parse(std::string_view("10.0.0.1\0:1", 11)).ok());
}

TEST(SocketAddress, Kinds) {
  EXPECT_TRUE(parsed("127.0.0.1").is_loopback());
  EXPECT_TRUE(parsed("127.0.1.1").is_loopback());
  EXPECT_TRUE(parsed("::1").is_loopback());
  EXPECT_TRUE(parsed("::ffff:127.0.0.1").is_loopback());
  EXPECT_FALSE(parsed("128.0.0.1").is_loopback());
  EXPECT_FALSE(parsed("::2").is_loopback());
  EXPECT_TRUE(parsed("169.254.1.1").is_link_local());
  EXPECT_TRUE(parsed("fe80::1").is_link_local());
  EXPECT_FALSE(parsed("10.0.0.1").is_link_local());
}

TEST(SocketAddress, MappedIsIPv4) {
  const SocketAddress address = parsed("[::ffff:10.0.0.1]:5");
  EXPECT_FALSE(address.is_v6());
  EXPECT_EQ(address, parsed("10.0.0.1:5"));
}

TEST(SocketAddress, FromForeignFamilyOrShortLength) {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  EXPECT_EQ(SocketAddress::from(storage, sizeof storage), SocketAddress());
  const SocketAddress one = parsed("10.0.0.1:5");
  std::memcpy(&storage, one.data(), one.length());
  EXPECT_EQ(SocketAddress::from(storage, one.length()), one);
  EXPECT_EQ(SocketAddress::from(storage, one.length() - 1), SocketAddress());
}

TEST(SocketAddress, Equality) {
  EXPECT_EQ(parsed("10.0.0.1:5"), parsed("10.0.0.1:5"));
  EXPECT_FALSE(parsed("10.0.0.1:5") == parsed("10.0.0.1:6"));
  EXPECT_FALSE(parsed("10.0.0.1:5") == parsed("10.0.0.2:5"));
  EXPECT_FALSE(parsed("::1") == parsed("::2"));
  EXPECT_FALSE(SocketAddress::any(true, 5) == SocketAddress::any(false, 5));
}

TEST(HostPort, Parse) {
  const auto check = [](std::string_view text, uint16_t default_port, const std::string& host, uint16_t port) {
    const auto result = parse_host_port(text, default_port);
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->host, host);
    EXPECT_EQ(result->port, port);
  };
  check("node7:29500", 0, "node7", 29500);
  check("node7", 29501, "node7", 29501);
  check("[::1]:29500", 0, "::1", 29500);
  check("::1", 7, "::1", 7);
}

TEST(HostPort, Refused) {
  for (const std::string_view text :
       {"", "node7", "node7:", "node7:0", "node7:x", "node7:99999", ":1", "[::1:1", "node 7:1", "node7\n:1"})
    EXPECT_FALSE(parse_host_port(text).ok()) << text;
}

TEST(Resolve, NumericAndLocalNames) {
  const auto numeric = resolve("127.0.0.1", 5);
  ASSERT_TRUE(numeric.ok());
  EXPECT_THAT(*numeric, testing::ElementsAre(parsed("127.0.0.1:5")));
  const auto v6 = resolve("::1", 5);
  ASSERT_TRUE(v6.ok());
  EXPECT_THAT(*v6, testing::ElementsAre(parsed("[::1]:5")));
  const auto local = resolve("localhost", 5);
  ASSERT_TRUE(local.ok()) << local.status().message();
  for (const SocketAddress& address : *local) {
    EXPECT_TRUE(address.is_loopback());
    EXPECT_EQ(address.port(), 5);
  }
}

TEST(Resolve, NonsenseIsNamed) {
  const auto result = resolve("no host has spaces", 5);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), Code::unreachable);
  EXPECT_THAT(result.status().message(), HasSubstr("\"no host has spaces\""));
}

}  // namespace
}  // namespace tutti

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net_address.h"

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;

SocketAddress address(std::string_view text) {
  const auto result = SocketAddress::parse(text);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *result : SocketAddress();
}

Interface up(std::string name, std::string_view where) {
  return {std::move(name), true, address(where).is_loopback(), address(where)};
}
Interface down(std::string name, std::string_view where) { return {std::move(name), false, false, address(where)}; }

const std::vector<Interface> kHost{up("lo", "127.0.0.1"),  up("docker0", "172.17.0.1"), down("eth0", "10.0.0.1"),
                                   up("eth1", "10.0.1.1"), up("ib0", "10.0.2.1"),       up("lo", "::1"),
                                   up("eth1", "fe80::1"),  up("eth1", "2001:db8::1"),   up("ib0", "2001:db8::2")};

LocalAddress chosen(std::string_view setting, std::optional<SocketAddress> local_end = {},
                    const std::vector<Interface>& host = kHost) {
  const auto result = choose_local_address(setting, local_end, host);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *result : LocalAddress{};
}

std::string refusal(std::string_view setting, const std::vector<Interface>& host = kHost) {
  const auto result = choose_local_address(setting, std::nullopt, host);
  EXPECT_FALSE(result.ok()) << setting << " → " << result->address.to_string();
  return result.status().message();
}

TEST(InterfaceSetting, Prefixes) {
  EXPECT_EQ(chosen("eth").address.host(), "10.0.1.1");  // eth0 is down
  EXPECT_EQ(chosen("ib,eth").interface, "eth1");        // the host's order, not the list's
  EXPECT_EQ(chosen("nothing, ib").interface, "ib0");
  EXPECT_EQ(chosen("lo").address.host(), "127.0.0.1");
  EXPECT_EQ(chosen("docker").interface, "docker0");
  EXPECT_EQ(chosen("eth").reason, "TUTTI_INTERFACE=eth");
}

TEST(InterfaceSetting, Exact) {
  EXPECT_EQ(chosen("=eth1").interface, "eth1");
  EXPECT_EQ(chosen("=eth,ib0").interface, "ib0");
  EXPECT_THAT(refusal("=eth"), HasSubstr("matches no interface"));
}

TEST(InterfaceSetting, Exclude) {
  EXPECT_EQ(chosen("^eth,docker,lo").interface, "ib0");
  EXPECT_EQ(chosen("^ib").interface, "eth1");  // not loopback and not the bridge, though both match
  EXPECT_EQ(chosen("^=eth1").interface, "ib0");
  EXPECT_EQ(chosen("^absent").interface, "eth1");
}

TEST(InterfaceSetting, TheSettingBeatsTheRoute) { EXPECT_EQ(chosen("ib", address("10.0.1.1:4711")).interface, "ib0"); }

TEST(InterfaceSetting, FamilyFollowsTheRendezvous) {
  EXPECT_EQ(chosen("eth", address("[2001:db8::9]:1")).address.host(), "2001:db8::1");
  EXPECT_EQ(chosen("eth", address("[::1]:1")).address.host(), "2001:db8::1");
}

TEST(InterfaceSetting, Refused) {
  EXPECT_THAT(refusal("wlan"), AllOf(HasSubstr("TUTTI_INTERFACE=\"wlan\" matches no interface"),
                                     HasSubstr("this host has: lo (127.0.0.1)"), HasSubstr("eth0 (down, 10.0.0.1)")));
  EXPECT_THAT(refusal("=ehh1"), HasSubstr("did you mean \"eth1\"?"));
  EXPECT_THAT(refusal("eth0"), HasSubstr("matches only interfaces that are down"));
  for (const std::string_view setting : {"^", "=", "^=", ",", "eth,", "eth,,ib", " "})
    EXPECT_THAT(refusal(setting), HasSubstr("an interface name is missing")) << setting;
  EXPECT_THAT(refusal("^lo", {up("lo", "127.0.0.1")}), HasSubstr("matches no interface"));
}

TEST(InterfaceChoice, TheRouteToTheRendezvous) {
  const LocalAddress local = chosen("", address("10.0.2.1:4711"));
  EXPECT_EQ(local.address, address("10.0.2.1"));
  EXPECT_EQ(local.interface, "ib0");
  EXPECT_EQ(local.reason, "it routes to the rendezvous");
  EXPECT_EQ(chosen("", address("172.17.0.1:1")).interface, "docker0");  // the route knows better than the name
  EXPECT_EQ(chosen("", address("192.0.2.1:1")).interface, "");          // not listed, still right
}

TEST(InterfaceChoice, ALoopbackRendezvousTellsNothing) {
  EXPECT_EQ(chosen("", address("127.0.0.1:1")).interface, "eth1");
  EXPECT_EQ(chosen("").address.host(), "10.0.1.1");
  EXPECT_EQ(chosen("", address("[::1]:1")).address.host(), "2001:db8::1");
  EXPECT_EQ(chosen("", SocketAddress()).interface, "eth1");
}

TEST(InterfaceChoice, LastResorts) {
  EXPECT_EQ(chosen("", {}, {up("lo", "127.0.0.1"), up("veth0", "10.9.0.1")}).interface, "veth0");
  EXPECT_EQ(chosen("", {}, {up("veth0", "10.9.0.1"), up("eth0", "fe80::1")}).interface, "eth0");
  const LocalAddress local = chosen("", {}, {up("lo", "127.0.0.1"), up("lo", "::1"), down("eth0", "10.0.0.1")});
  EXPECT_EQ(local.address.host(), "127.0.0.1");
  EXPECT_THAT(local.reason, HasSubstr("only loopback is up"));
  EXPECT_THAT(refusal("", {}), HasSubstr("no network interface is up; this host has: none"));
}

TEST(Interfaces, ThisHostHasSome) {
  const auto interfaces = list_interfaces();
  ASSERT_TRUE(interfaces.ok()) << interfaces.status().message();
  for (const Interface& interface : *interfaces) {
    EXPECT_FALSE(interface.name.empty());
    EXPECT_EQ(interface.address.port(), 0);
    EXPECT_FALSE(interface.address.is_any());
    if (interface.address.is_loopback()) {
      EXPECT_TRUE(interface.loopback) << interface.name;
    }
  }
}

}  // namespace
}  // namespace tutti

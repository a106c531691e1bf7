// Which ports and addresses of RDMA devices are used, and what tutti-info says of them.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "rdma_world.h"
#include "settings.h"
#include "transport_kind.h"

namespace tutti {
namespace rdma {
TransportKind kind();  // for the registry, which tests of links do without
}
namespace {

using test::fake_verbs;
using testing::ElementsAre;
using testing::StartsWith;

rdma::Gid gid(uint32_t index, rdma::GidType type, std::initializer_list<int> begin, std::initializer_list<int> end) {
  rdma::Gid gid{index, type, {}};
  std::copy(begin.begin(), begin.end(), gid.address.raw);
  std::copy(end.begin(), end.end(), gid.address.raw + 16 - end.size());
  return gid;
}
const auto v1 = rdma::GidType::roce_v1, v2 = rdma::GidType::roce_v2, ib = rdma::GidType::infiniband;
const rdma::Gid local1 = gid(0, v1, {0xfe, 0x80}, {1}), local2 = gid(1, v2, {0xfe, 0x80}, {1}),
                four1 = gid(2, v1, {}, {0xff, 0xff, 10, 0, 0, 1}), four2 = gid(3, v2, {}, {0xff, 0xff, 10, 0, 0, 1}),
                other2 = gid(5, v2, {}, {0xff, 0xff, 10, 0, 9, 1}), six2 = gid(7, v2, {0x20, 0x01}, {1});

uint32_t chosen(const std::vector<rdma::Gid>& gids, std::string_view address = "", int wanted = -1) {
  const auto gid = rdma::choose_gid(gids, wanted, address);
  EXPECT_TRUE(gid.ok()) << gid.status().message();
  return gid.ok() ? gid->index : UINT32_MAX;
}

TEST(RdmaGid, IsChosenByTypeAndRoute) {
  EXPECT_EQ(chosen({local1, local2, four1, four2}), 3u);
  EXPECT_EQ(chosen({local1, local2}), 1u);
  EXPECT_EQ(chosen({local1, four1}), 2u);
  EXPECT_EQ(chosen({local2, six2}), 7u);
  EXPECT_EQ(chosen({other2, four2}), 5u);  // the first of equals
  EXPECT_EQ(chosen({other2, four2}, "10.0.0.1"), 3u);
  EXPECT_EQ(chosen({four2, six2}, "2001::1"), 7u);
  EXPECT_EQ(chosen({four1, other2}, "10.0.0.1"), 5u);  // v1 is not routed
  EXPECT_EQ(chosen({gid(0, ib, {0xfe, 0x80}, {1}), gid(1, ib, {0xfe, 0xc0}, {1})}), 0u);
}

TEST(RdmaGid, MayBeAskedForByIndex) {
  EXPECT_EQ(chosen({local1, local2, four1, four2}, "", 0), 0u);
  const auto none = rdma::choose_gid(std::vector{local1, four2}, 1, "");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().message(),
            "TUTTI_RDMA_GID=1: the port has no such address; it has 0 (fe80::1, RoCE v1), 3 (::ffff:10.0.0.1, RoCE v2)");
  EXPECT_EQ(rdma::choose_gid({}, -1, "").status().message(), "the port has no address (GID)");
}

// ---- ports: the fake's, and files of the system about them ----

class RdmaPorts : public testing::Test {
 protected:
  void SetUp() override {
    if (!fake_verbs()) GTEST_SKIP() << "of the fake's ports";
    std::string name = testing::TempDir() + "rdma-ports-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    system_ = name;
    ::setenv("SYSFS_PATH", name.c_str(), 1);
  }
  void TearDown() override {
    if (!fake_verbs()) return;
    ::unsetenv("SYSFS_PATH");
    std::filesystem::remove_all(system_);
    fake_verbs()->set_devices(1, 1);
    for (const int port : {1, 2}) fake_verbs()->set_port(port, true);
  }
  void write(const std::string& path, const std::string& line) const {
    const std::filesystem::path file = system_ / "class/infiniband" / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << line << '\n';
  }
  static std::vector<std::string> serving(std::string_view filter = "") {
    std::vector<std::string> names;
    const auto ports = rdma::find_ports(**rdma::Verbs::load(), filter);
    EXPECT_TRUE(ports.ok()) << ports.status().message();
    for (const rdma::Port& port : *ports) names.push_back(port.name() + (port.serves() ? "" : ": " + port.objection));
    return names;
  }
  static std::vector<std::string> info() {
    std::vector<std::string> lines;
    for (const TransportDevice& device : rdma::kind().devices(Settings())) lines.push_back(device.name + ": " + device.state);
    return lines;
  }

 private:
  std::filesystem::path system_;
};

const std::string kDown = "it is down: no cable, or its network interface is down (ip link set … up)";

TEST_F(RdmaPorts, SayWhyTheyDoNotServe) {
  fake_verbs()->set_devices(2, 1);
  fake_verbs()->set_port(1, false);
  EXPECT_THAT(serving(), ElementsAre("fake1 port 1", "fake0 port 1: " + kDown));
  EXPECT_EQ(rdma::find_ports(**rdma::Verbs::load(), "")->front().fabric(), "RoCE");
}

TEST_F(RdmaPorts, OfOneDeviceServeEachForItself) {
  fake_verbs()->set_devices(1, 2);
  EXPECT_THAT(serving(), ElementsAre("fake0 port 1", "fake0 port 2"));
  const auto ports = rdma::find_ports(**rdma::Verbs::load(), "");
  EXPECT_EQ(rdma::choose_gid((*ports)[0].gids, -1, "")->to_text(), "::ffff:10.0.0.1");
  EXPECT_EQ(rdma::choose_gid((*ports)[1].gids, -1, "")->to_text(), "::ffff:10.0.1.1");
  fake_verbs()->set_port(1, false);
  EXPECT_THAT(serving(), ElementsAre("fake0 port 2", "fake0 port 1: " + kDown));
}

TEST_F(RdmaPorts, AreFilteredByDevicesAndNetworkInterfaces) {
  fake_verbs()->set_devices(2, 1);
  write("fake0/ports/1/gid_attrs/ndevs/0", "eth0");
  write("fake1/ports/1/gid_attrs/ndevs/0", "eth1");
  const std::string excluded = ": TUTTI_INTERFACE excludes it";
  EXPECT_THAT(serving(), ElementsAre("fake0 port 1", "fake1 port 1"));
  for (const char* second : {"fake1", "eth1", "=eth1", "^fake0", "^=eth0"})
    EXPECT_THAT(serving(second), ElementsAre("fake1 port 1", "fake0 port 1" + excluded)) << second;
  for (const char* none : {"=fake", "=eth", "^eth"})
    EXPECT_THAT(serving(none), ElementsAre("fake0 port 1" + excluded, "fake1 port 1" + excluded)) << none;
  EXPECT_FALSE(rdma::find_ports(**rdma::Verbs::load(), ",").ok());
}

TEST_F(RdmaPorts, NearToThisProcessComeFirst) {
  fake_verbs()->set_devices(3, 1);
  write("fake1/device/local_cpulist", "0-1023");
  EXPECT_THAT(serving(), ElementsAre("fake1 port 1", "fake0 port 1", "fake2 port 1"));
}

TEST_F(RdmaPorts, TellWhichRanksUseThem) {
  const std::string what = ": RoCE, packets of 1024 bytes", gid = ": serves by GID 3";
  EXPECT_THAT(info(),
              ElementsAre(StartsWith("fake0 port 1" + what + gid + "; GID 0 fe80::1 (RoCE v1); GID 1 fe80::1 (RoCE v2); ")));
  fake_verbs()->set_devices(1, 2);
  EXPECT_THAT(info(), ElementsAre(StartsWith("fake0 port 1" + what + gid + " for ranks 0, 2, 4 … of a host; GID 0"),
                                  StartsWith("fake0 port 2" + what + gid + " for ranks 1, 3, 5 … of a host; GID 0")));
  fake_verbs()->set_port(1, false);
  EXPECT_THAT(info(),
              ElementsAre(StartsWith("fake0 port 2" + what + gid + "; GID 0"), StartsWith("fake0 port 1" + what + ": " + kDown)));
  fake_verbs()->set_devices(3, 1);
  fake_verbs()->set_port(1, true);
  for (const char* near : {"fake1", "fake2"}) write(near + std::string("/device/local_cpulist"), "0-1023");
  write("fake2/ports/1/gid_attrs/ndevs/0", "eth2");
  EXPECT_THAT(info(), ElementsAre(StartsWith("fake1 port 1" + what + ", near" + gid + " for ranks 0, 2, 4 … of a host;"),
                                  StartsWith("fake2 port 1 (eth2)" + what + ", near" + gid + " for ranks 1, 3, 5 … of a host;"),
                                  StartsWith("fake0 port 1" + what + gid + " but is not used, since fake1 port 1 is nearer;")));
}

}  // namespace
}  // namespace tutti

#include "topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace tutti {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

// An invented machine's /proc and /sys.
class TopologyFiles : public testing::Test {
 protected:
  TopologyFiles() {
    std::string pattern = (fs::temp_directory_path() / "tutti-topology-XXXXXX").string();
    root_ = mkdtemp(pattern.data());
  }
  ~TopologyFiles() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& content) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << content;
  }
  void processor(int number, int package, int core, const std::string& cache) const {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(number);
    write(folder + "/topology/physical_package_id", std::to_string(package) + "\n");
    write(folder + "/topology/core_id", std::to_string(core) + "\n");
    write(folder + "/cache/index3/shared_cpu_list", cache + "\n");
    write(folder + "/cache/index3/size", "32768K\n");
  }

  std::string root_;
};

TEST_F(TopologyFiles, TwoPackagesWithTwoThreadsPerCore) {
  write("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Abacus 9000\n");
  write("/sys/devices/system/cpu/cpufreq/boost", "1");  // no processor, though its name begins so
  for (int i = 0; i < 8; ++i) processor(i, i % 2, i / 2 % 2, i % 2 == 0 ? "0,2,4,6" : "1,3,5,7");
  write("/sys/devices/system/node/node0/cpulist", "0-7");
  write("/sys/devices/system/node/node1/cpulist", "0-7");
  const Topology topology = topology_by_sysfs(root_);
  EXPECT_EQ(topology.source, "sysfs");
  EXPECT_EQ(topology.processor, "Abacus 9000");
  EXPECT_EQ(topology.packages, 2);
  EXPECT_EQ(topology.cores, 4);
  EXPECT_EQ(topology.hardware_threads, 8);
  EXPECT_EQ(topology.l3_groups, 2);
  EXPECT_EQ(topology.l3_bytes, 32u << 20);
  EXPECT_THAT(topology.l3_threads, ElementsAre("0,2,4,6", "1,3,5,7"));
  EXPECT_EQ(topology.numa_nodes, 2);
}

TEST_F(TopologyFiles, NothingKnownIsOneOfEach) {
  const Topology topology = topology_by_sysfs(root_);
  EXPECT_EQ(topology.packages, 1);
  EXPECT_EQ(topology.cores, 1);
  EXPECT_EQ(topology.l3_groups, 1);
  EXPECT_EQ(topology.l3_bytes, 0u);
  EXPECT_EQ(topology.numa_nodes, 1);
  EXPECT_EQ(topology.processor, "");
}

TEST_F(TopologyFiles, QuotaOfVersion2IsTheLeastOnTheWayUp) {
  EXPECT_EQ(cpu_quota(root_), 0);
  write("/proc/self/cgroup", "0::/pod/container\n");
  EXPECT_EQ(cpu_quota(root_), 0);
  write("/sys/fs/cgroup/pod/container/cpu.max", "max 100000\n");
  EXPECT_EQ(cpu_quota(root_), 0);
  write("/sys/fs/cgroup/pod/cpu.max", "150000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 1.5);
  write("/sys/fs/cgroup/pod/container/cpu.max", "50000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 0.5);
}

TEST_F(TopologyFiles, QuotaOfVersion1) {
  write("/proc/self/cgroup", "4:memory:/x\n2:cpu,cpuacct:/docker/1\n");
  write("/sys/fs/cgroup/memory/x/cpu.cfs_quota_us", "1\n");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpu_quota(root_), 0);
  write("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "200000\n");
  EXPECT_EQ(cpu_quota(root_), 2);
}

TEST_F(TopologyFiles, NonsenseInTheFilesIsIgnored) {
  write("/proc/self/cgroup", "\n::\n0\n0::pod\n");
  write("/sys/fs/cgroup/cpu.max", "many few\n");
  EXPECT_EQ(cpu_quota(root_), 0);
  processor(0, 0, 0, "0");
  write("/sys/devices/system/cpu/cpu0/cache/index3/size", "large\n");
  EXPECT_EQ(topology_by_sysfs(root_).l3_bytes, 0u);
}

TEST_F(TopologyFiles, Dump) {
  Topology topology;
  topology.source = "sysfs";
  topology.cores = 4;
  topology.l3_bytes = 1024;
  topology.l3_threads = {"0-3"};
  topology.cpu_quota = 1.5;
  const Status status = dump_topology(topology, root_ + "/dump");
  ASSERT_TRUE(status.ok()) << status.message();
  std::ostringstream text;
  text << std::ifstream(root_ + "/dump").rdbuf();
  for (const char* line :
       {"\ncores: 4\n", "\nCPU quota: 1.5\n", "\nL3 cache: 1 of 1024 bytes\n", "\nL3 cache 0: hardware threads 0-3\n"})
    EXPECT_THAT(text.str(), HasSubstr(line));
  EXPECT_EQ(dump_topology(topology, root_ + "/none/dump").code(), Code::system);
}

TEST(Topology, Summary) {
  Topology topology;
  EXPECT_EQ(topology.summary(), "1 package, 1 core, 1 L3 cache, 1 NUMA node; 1 of 1 hardware thread usable");
  topology.packages = 2;
  topology.cores = 4;
  topology.l3_groups = 2;
  topology.l3_bytes = 32u << 20;
  topology.hardware_threads = 8;
  topology.usable_threads = 6;
  topology.cpu_quota = 1.5;
  EXPECT_EQ(topology.summary(),
            "2 packages, 4 cores, 2 L3 caches of 32 MiB, 1 NUMA node; 6 of 8 hardware threads usable, CPU quota 1.5");
}

TEST(Topology, ThisMachine) {
  const Topology topology = discover_topology();
  EXPECT_FALSE(topology.source.empty());
  EXPECT_GE(topology.usable_threads, 1);
  EXPECT_GE(topology.hardware_threads, topology.cores);
  EXPECT_GE(topology.cores, topology.packages);
}

}  // namespace
}  // namespace tutti

// tutti-info as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "outcome.h"

namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// `before`: assignments to environment variables.  `after`: options and redirections.
Outcome info(const std::string& before, const std::string& after) {
  return outcome_of("env " + before + " " TUTTI_INFO " " + after);
}

nlohmann::json json_of(const Outcome& run) { return nlohmann::json::parse(run.output, nullptr, false); }

TEST(Info, Version) {
  const Outcome run = info("", "--version");
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.output, TUTTI_VERSION "\n");
}

TEST(Info, EnvironmentDocumentIsTheOneInDocs) {
  std::ostringstream document;
  document << std::ifstream(ENVIRONMENT_DOCUMENT).rdbuf();
  EXPECT_EQ(info("", "--environment-doc").output, document.str());
}

TEST(Info, Text) {
  const Outcome run = info("TUTTI_LANES=4", "");
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(run.output, AllOf(HasSubstr("Tutti " TUTTI_VERSION "\n"), HasSubstr("\nMachine\n"), HasSubstr("\nTransports\n"),
                                HasSubstr("\nInterfaces\n"), HasSubstr("\nMemory of one communicator"), HasSubstr("\nSettings"),
                                HasSubstr("\nCodecs"), HasSubstr("terngrad")));
  EXPECT_THAT(run.output, testing::ContainsRegex("TUTTI_LANES +4 +environment"));
}

TEST(Info, Json) {
  const auto json = json_of(info("TUTTI_TRANSPORT=^tcp TUTTI_HOSTID=left", "--json"));
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["version"], TUTTI_VERSION);
  EXPECT_EQ(json["host"]["id"], "set:left");
  EXPECT_GE(json["topology"]["cores"], 1);
  std::vector<std::string> names;
  for (const auto& transport : json["transports"]) names.push_back(transport["name"]);
  EXPECT_THAT(names, ElementsAre("memory", "shm", "rdma", "tcp", "ucx"));
  for (const auto& transport : json["transports"]) EXPECT_EQ(transport["allowed"], transport["name"] != "tcp") << transport;
  EXPECT_EQ(json["settings"]["TUTTI_TRANSPORT"]["value"], "^tcp");
  EXPECT_EQ(json["settings"]["TUTTI_TRANSPORT"]["source"], "environment");
  EXPECT_EQ(json["settings"]["TUTTI_TIMEOUT"]["value"], "10m");
  EXPECT_EQ(json["settings"]["TUTTI_TIMEOUT"]["source"], "default");
  ASSERT_THAT(json["memory"], SizeIs(2));
  for (const auto& memory : json["memory"]) EXPECT_GE(memory["after_all_reduce"], memory["at_creation"]);
  EXPECT_THAT(json["errors"], IsEmpty());
}

// Those that are declared last, too.
TEST(Info, TellsWhatTheBuildHas) {
  const auto json = json_of(info("", "--json"));
  ASSERT_TRUE(json.is_object());
  for (const char* name : {"transport shm", "hwloc", "tutti-plan", "kernel benchmarks", "compare openmpi"})
    EXPECT_TRUE(json["build"].contains(name)) << name;
}

TEST(Info, WrongSettingsAreToldAndTheRestIsShown) {
  const Outcome run = info("TUTTI_LANES=many TUTTI_INTREFACE=lo", "2>&1");
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, AllOf(HasSubstr("tutti-info: TUTTI_LANES=\"many\" (environment): \"many\" is no whole number."),
                                HasSubstr("\nMachine\n")));
  const Outcome misspelt = info("TUTTI_INTREFACE=lo", "2>&1");
  EXPECT_EQ(misspelt.status, 0);
  EXPECT_THAT(misspelt.output, HasSubstr("did you mean \"TUTTI_INTERFACE\"?"));
}

TEST(Info, AnInterfaceThatDoesNotExist) {
  const Outcome run = info("TUTTI_INTERFACE==absent0", "2>&1");
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, HasSubstr("TUTTI_INTERFACE=\"=absent0\" matches no interface"));
}

// The file that is no library is found first.
TEST(Info, ALibraryOfATransportThatCannotBeLoaded) {
  if (!json_of(info("", "--json"))["transports"].back()["built"]) GTEST_SKIP() << "this build has no ucx";
  const std::string folder = testing::TempDir() + "info-test-" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  std::ofstream(folder + "/libucp.so.0") << "no library\n";
  const auto said = [&](const std::string& transports) {
    const auto json = json_of(info("LD_LIBRARY_PATH=" + folder + " TUTTI_TRANSPORT=" + transports, "--json"));
    EXPECT_THAT(json["errors"], IsEmpty());
    return json["transports"].back()["devices"][0]["state"].get<std::string>();
  };
  EXPECT_EQ(said(""), "not loaded, since tcp connects all ranks and stands before ucx");
  EXPECT_THAT(said("^tcp"),
              AllOf(HasSubstr("libucp.so.0 cannot be loaded: "), HasSubstr("; install UCX 1.13 or later (Debian: libucx0)")));
  std::filesystem::remove_all(folder);
}

// Over a driver of our own, with two devices.
nlohmann::json cuda_of(const std::string& environment) {
  const auto json = json_of(info("TUTTI_CUDA_LIBRARY=" FAKE_CUDA_LIBRARY " " + environment, "--json"));
  EXPECT_THAT(json["errors"], IsEmpty());
  return json["cuda"];
}

TEST(InfoCuda, Devices) {
  const auto cuda = cuda_of("");
  EXPECT_EQ(cuda["library"], FAKE_CUDA_LIBRARY);
  EXPECT_EQ(cuda["state"], "");
  EXPECT_EQ(cuda["driver_version"], "13.0");
  ASSERT_THAT(cuda["devices"], SizeIs(2));
  const auto& device = cuda["devices"][1];
  EXPECT_EQ(device["device"], 1);
  EXPECT_EQ(device["name"], "Fake device");
  EXPECT_EQ(device["compute_capability"], "9.0");
  EXPECT_EQ(device["memory_bytes"], uint64_t{8} << 30);
  EXPECT_EQ(device["free_bytes"], uint64_t{8} << 30);
  EXPECT_EQ(device["pci_bus_id"], "0000:02:00.0");
  EXPECT_EQ(device["uuid"], "GPU-66616b65-0000-0000-0000-000000000001");
  EXPECT_EQ(device["reaches"], std::vector{0});
  EXPECT_EQ(device["mps"], false);
  EXPECT_EQ(device["has_kernels"], true);
  EXPECT_EQ(device["trouble"], "");
}

TEST(InfoCuda, Text) {
  const std::string library = "TUTTI_CUDA_LIBRARY=" FAKE_CUDA_LIBRARY " ";
  EXPECT_THAT(info(library, "").output, AllOf(HasSubstr("\nCUDA\n  driver  of CUDA 13.0 (" FAKE_CUDA_LIBRARY ")\n"),
                                              HasSubstr("\n  device 0  Fake device  9.0  8 GiB, 8 GiB free  0000:01:00.0  "
                                                        "GPU-66616b65-0000-0000-0000-000000000000  reaches 1  no MPS  ")));
  EXPECT_THAT(info(library + "FAKE_CUDA=no-p2p,mps,fail=cuModuleLoadData:209:0", "").output,
              HasSubstr("000001  reaches no other  MPS  no kernels: CUDA cannot load kernels on device 1: "
                        "CUDA_ERROR_NO_BINARY_FOR_GPU"));
  EXPECT_THAT(info(library + "FAKE_CUDA=fail=cuMemGetInfo:1:1", "").output,
              HasSubstr("\n  device 0  CUDA cannot tell how much memory there is: CUDA_ERROR_INVALID_VALUE"));
}

TEST(InfoCuda, WhatDevicesLack) {
  const auto cuda = cuda_of("FAKE_CUDA=no-p2p,mps,fail=cuModuleLoadData:209:0");
  for (const auto& device : cuda["devices"]) {
    EXPECT_THAT(device["reaches"], IsEmpty());
    EXPECT_EQ(device["mps"], true);
    EXPECT_EQ(device["has_kernels"], false);
    EXPECT_THAT(device["why_no_kernels"].get<std::string>(), HasSubstr("CUDA_ERROR_NO_BINARY_FOR_GPU"));
    EXPECT_EQ(device["trouble"], "");
  }
}

// One device's trouble leaves the others.
TEST(InfoCuda, ADeviceThatCannotBeAsked) {
  for (const char* function : {"cuDevicePrimaryCtxRetain", "cuDeviceGetName", "cuDeviceGetPCIBusId", "cuDeviceGetUuid",
                               "cuDeviceGetAttribute", "cuMemGetInfo", "cuDeviceCanAccessPeer"}) {
    const auto cuda = cuda_of("FAKE_CUDA=fail=" + std::string(function) + ":1:1");
    EXPECT_THAT(cuda["devices"][0]["trouble"].get<std::string>(), HasSubstr("CUDA cannot ")) << function;
    EXPECT_EQ(cuda["devices"][0]["has_kernels"], false) << function;
    EXPECT_EQ(cuda["devices"][1]["trouble"], "") << function;
    EXPECT_EQ(cuda["devices"][1]["name"], "Fake device") << function;
  }
}

TEST(InfoCuda, WhyThereIsNone) {
  auto cuda = cuda_of("FAKE_CUDA=devices=0");
  EXPECT_THAT(cuda["state"].get<std::string>(), HasSubstr("CUDA cannot start: CUDA_ERROR_NO_DEVICE"));
  EXPECT_THAT(cuda["devices"], IsEmpty());
  cuda = cuda_of("FAKE_CUDA=version=11020");
  EXPECT_THAT(cuda["state"].get<std::string>(), HasSubstr("is too old: it is of CUDA 11.2"));
  EXPECT_TRUE(cuda["driver_version"].is_null());
  cuda = cuda_of("TUTTI_CUDA=off");
  EXPECT_EQ(cuda["state"], "excluded by TUTTI_CUDA");
  const Outcome without = info("TUTTI_CUDA_LIBRARY=/nonexistent/libcuda.so", "");
  EXPECT_EQ(without.status, 0);
  EXPECT_THAT(without.output, HasSubstr("\nCUDA\n  driver  CUDA's driver is needed for device memory, but "
                                        "/nonexistent/libcuda.so cannot be loaded: "));
  EXPECT_EQ(json_of(info("TUTTI_LANES=many", "--json"))["cuda"]["library"], "libcuda.so.1");
}

}  // namespace

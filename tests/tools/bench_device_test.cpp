// tutti-bench --device, over a driver of our own (tests/cuda/fake).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "bench_run.h"
#include "sanitized.h"

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

class BenchOnDevice : public Bench {
 protected:
  int run(const std::string& arguments, const std::string& environment = "") {
    return Bench::run(arguments, environment + " TUTTI_CUDA_LIBRARY=" FAKE_CUDA_LIBRARY);
  }
  nlohmann::json json_of(const std::string& arguments, const std::string& environment = "") {
    const std::string path = directory_ + "/out.json";
    EXPECT_EQ(run(arguments + " -J " + path, environment), 0) << output_;
    return nlohmann::json::parse(std::ifstream(path), nullptr, false);
  }
};

constexpr const char* kAll[] = {"all_reduce", "reduce_scatter", "all_gather", "broadcast", "reduce",  "gather",
                                "scatter",    "all_to_all",     "scan",       "exscan",    "barrier", "send_recv"};

TEST_F(BenchOnDevice, EveryCollectiveTypeOperatorAndRootIsRight) {
  const struct {
    const char *ways, *environment;
  } cases[] = {{"--device --threads", ""},
               {"--device --launch stream", "TUTTI_CUDA=kernels"},
               {"--device --launch stream", "TUTTI_CUDA=staged"},
               {"--device=0 --launch graph --threads", ""}};
  for (const auto& [ways, environment] : cases)
    for (const char* collective : kAll) {
      const std::string_view kind = collective, way = ways;
      if (kind == "barrier" && way.find("stream") == way.npos) continue;
      if (kind == "send_recv" && way.find("launch") != way.npos) continue;
      const std::string which = tutti::test::fewer("-d all -o all -r all", "-d float,half -o sum,avg -r 1");
      const bool scans = kind.ends_with("scan");
      ASSERT_EQ(run(std::string(collective) + " --ranks 3 -b 4 -e 2000 -i 1997 -n 2 -w 0 " + (scans ? "-d all -o all" : which) +
                        " " + ways,
                    environment),
                0)
          << collective << " " << ways << " " << environment << "\n"
          << output_;
      EXPECT_THAT(output_, HasSubstr("# Out of bounds values : 0 OK\n"));
      ASSERT_FALSE(rows().empty());
      for (const auto& row : rows()) {
        EXPECT_THAT(row, SizeIs(13));
        EXPECT_EQ(row[8], kind == "barrier" ? "N/A" : "0");
      }
    }
}

TEST_F(BenchOnDevice, EachRankOfAHostHasTheNextDevice) {
  const auto devices = [&](const std::string& option) {
    const auto json = json_of("all_reduce --ranks 3 -b 4 -e 4 -n 1 -w 0 " + option);
    std::vector<int> numbers;
    for (const auto& rank : json["config"]["devices"]) {
      numbers.push_back(rank["device"]);
      EXPECT_EQ(rank["device_name"], "Fake device");
      EXPECT_EQ(rank["device_pci"], numbers.back() == 0 ? "0000:01:00.0" : "0000:02:00.0");
      EXPECT_THAT(output_, HasSubstr(", device " + std::to_string(numbers.back()) + " [" + rank["device_pci"].get<std::string>() +
                                     "] Fake device\n"));
    }
    return numbers;
  };
  EXPECT_EQ(devices("--device"), (std::vector{0, 1, 0}));
  EXPECT_EQ(devices("--device 1"), (std::vector{1, 1, 1}));
  EXPECT_EQ(devices("--device=1,1,0"), (std::vector{1, 1, 0}));
}

TEST_F(BenchOnDevice, SaysWhichWayCallsTook) {
  auto json = json_of("all_reduce --ranks 2 --device -b 4 -e 64 -f 16 -n 4 -w 1");
  EXPECT_THAT(output_, AllOf(HasSubstr("\n# Buffers: in devices' memory, rotated over 1 MiB per rank and rewritten.\n"),
                             HasSubstr("\n# Calls: each is waited for.\n"), HasSubstr("by kernels"),
                             HasSubstr("\n# 2 ranks, buffers on devices: 64 B all-reduce in ")));
  EXPECT_EQ(json["config"]["memory"], "cuda");
  EXPECT_EQ(json["config"]["launch"], "blocking");
  ASSERT_THAT(json["results"], SizeIs(2));
  EXPECT_EQ(json["results"][1]["transport"], "shm 1, cuda 1");
  EXPECT_EQ(json["results"][1]["algorithm"], "exchange");
  EXPECT_THAT(json["results"][1]["reason"].get<std::string>(), StartsWith("by kernels, "));
  EXPECT_EQ(json["results"][1]["in_place"]["nwrong"], 0);
  EXPECT_GT(json["memcpy"]["gb_per_s"], 0);  // of the device
  EXPECT_EQ(json["memcpy"]["non_temporal_gb_per_s"], 0);

  json = json_of("all_reduce --ranks 2 --device -b 4 -e 4 -n 4 -w 1", "TUTTI_CUDA=staged");
  EXPECT_EQ(json["results"][0]["transport"], "shm 1");
  EXPECT_THAT(json["results"][0]["reason"].get<std::string>(), StartsWith("staged, since TUTTI_CUDA=staged; "));

  // Two processes, which the driver of our own says do not run at once.
  json = json_of("all_reduce --ranks 2 --device 0 -b 4 -e 4 -n 4 -w 1");
  EXPECT_THAT(json["results"][0]["reason"].get<std::string>(),
              StartsWith("staged, since rank 0: processes share its device, without NVIDIA's Multi-Process Service; "));
  json = json_of("all_reduce --ranks 2 --device 0 -b 4 -e 4 -n 4 -w 1", "FAKE_CUDA=mps");
  EXPECT_THAT(json["results"][0]["reason"].get<std::string>(), StartsWith("by kernels, "));

  // Drivers that open another process's memory though nothing comes there.
  for (const auto& [mood, why] : {std::pair("no-ipc", "its device's memory cannot be opened by other processes"),
                                  {"deaf", "what its device writes into this one's memory gets lost"},
                                  {"blind", "this rank's device reads other data in its memory"}}) {
    json = json_of("all_reduce --ranks 2 --device -b 4 -e 4 -n 4 -w 1", "FAKE_CUDA=" + std::string(mood));
    EXPECT_THAT(json["results"][0]["reason"].get<std::string>(), AllOf(StartsWith("staged, since rank "), HasSubstr(why)));
    EXPECT_EQ(json["results"][0]["in_place"]["nwrong"], 0);
  }

  json = json_of("all_reduce --ranks 2 -b 4 -e 4 -n 4 -w 1");
  EXPECT_EQ(json["config"]["memory"], "host");
  EXPECT_EQ(json["config"]["launch"], "blocking");
  EXPECT_FALSE(json["config"]["devices"][0].contains("device"));
}

// Calls that are waited for together share the time.
TEST_F(BenchOnDevice, CallsOnStreamsAndInGraphsAreTimedTogether) {
  for (const char* launch : {"stream", "graph"}) {
    const auto json = json_of("all_reduce --ranks 2 --threads --device -b 4 -e 4 -n 7 -w 3 -c 7 --launch " + std::string(launch));
    EXPECT_EQ(json["config"]["launch"], launch);
    EXPECT_THAT(output_, HasSubstr(", and waited for together.\n"));
    for (const char* place : {"out_of_place", "in_place"}) {
      const auto& timing = json["results"][0][place];
      EXPECT_EQ(timing["iterations"], 7);
      EXPECT_EQ(timing["nwrong"], 0);
      EXPECT_GT(timing["min"], 0);
      EXPECT_EQ(timing["min"], timing["p99"]);
    }
  }
  // Of 64 KiB there is room for eight slots, so seven more follow.
  const auto json = json_of("all_reduce --ranks 2 --threads --device -b 64K -e 64K -n 15 -c 15 --launch graph");
  EXPECT_EQ(json["results"][0]["out_of_place"]["iterations"], 15);
  EXPECT_EQ(json["results"][0]["out_of_place"]["nwrong"], 0);
}

TEST_F(BenchOnDevice, AlgorithmsAreSwept) {
  ASSERT_EQ(run("all_reduce --ranks 2 --threads --device --algorithm all -b 64 -e 64 -n 1 -w 0"), 0) << output_;
  for (const char* algorithm : {"ring", "tree", "recursive", "doubling", "direct", "Tutti's choice"})
    EXPECT_THAT(output_, HasSubstr(std::string("\n# Algorithm: ") + algorithm + "\n"));
  EXPECT_THAT(output_, HasSubstr("\n# Fastest at 64 B by median: "));
}

TEST_F(BenchOnDevice, CodecsGoThroughTheHost) {
  const auto json = json_of("all_reduce --ranks 2 --device --codec int8 -b 64K -e 64K -n 2 -w 1");
  const auto& row = json["results"][0];
  EXPECT_THAT(row["reason"].get<std::string>(), StartsWith("staged; "));
  EXPECT_EQ(row["out_of_place"]["nwrong"], 0);
  EXPECT_NEAR(row["codec"]["ratio"].get<double>(), 3.97, 0.05);
  EXPECT_NEAR(row["codec"]["error_once"].get<double>(), 0.01, 0.003);
}

TEST_F(BenchOnDevice, MistakesAreSentences) {
  const struct {
    const char *arguments, *sentence;
  } mistakes[] = {
      {"--device all_reduce", "The collective comes first: what follows --device names devices."},
      {"all_reduce --device 0,x", "--device takes a number from 0 up, not \"x\"."},
      {"all_reduce --device --launch strem", "There is no launch \"strem\"; did you mean \"stream\"?"},
      {"all_reduce --launch graph", "--launch graph takes --device as well."},
      {"all_reduce --device --huge-pages", "--huge-pages are the host's: they do not go with --device."},
      {"all_reduce --device --codec int8 --launch stream", "A codec serves one call at a time: --codec takes --launch blocking."},
      {"barrier --device", "A barrier has no buffers, and goes through the host's memory: with --device it takes --launch stream."},
      {"send_recv --device --launch graph", "Messages are not put on streams: send_recv takes --launch blocking."},
  };
  for (const auto& [arguments, sentence] : mistakes) {
    EXPECT_EQ(run(arguments), 2) << arguments;
    EXPECT_THAT(output_, StartsWith(std::string("tutti-bench: ") + sentence));
  }
}

// Of ranks that all fail, some may hear of another's failure first.
TEST_F(BenchOnDevice, WhatCannotBeIsTold) {
  const struct {
    const char *arguments, *environment, *sentence;
    int status;
  } cases[] = {
      {"--device", "TUTTI_CUDA=off",
       "rank 1: With TUTTI_CUDA=off memory of devices is not recognized: --device needs another value.", 2},
      {"--device", "TUTTI_CUDA=of", "rank 1: TUTTI_CUDA=\"of\" (environment): \"of\" is none of them", 2},
      {"--device", "FAKE_CUDA=devices=0", "CUDA cannot start: CUDA_ERROR_NO_DEVICE", 1},
      {"--device", "FAKE_CUDA=fail=cuMemAlloc:2:1", "CUDA cannot allocate 1 MiB on device ", 1},
      {"--device", "FAKE_CUDA=fail=cuStreamCreate:2:1", "CUDA cannot create a stream", 1},
      {"--device", "FAKE_CUDA=fail=cuDeviceGetUuid:1:1", "CUDA cannot tell a device's UUID", 1},
      {"--device", "FAKE_CUDA=fail=cuDeviceGetName:1:1", "CUDA cannot tell a device's name", 1},
      {"--device", "FAKE_CUDA=fail=cuDeviceGetPCIBusId:1:1", "CUDA cannot tell a device's PCI bus id", 1},
      {"--device", "FAKE_CUDA=fail=cuMemGetInfo:1:1", "CUDA cannot tell how much memory is free", 1},
      {"--device", "FAKE_CUDA=fail=cuDeviceGetAttribute:1:1", "CUDA cannot tell attribute 38 of device ", 1},
      {"--device", "FAKE_CUDA=fail=cuMemsetD8Async:1:1", "CUDA cannot fill 1 MiB", 1},
      {"--device", "FAKE_CUDA=fail=cuMemcpyAsync:1:1", "CUDA cannot copy ", 1},
      {"--device", "FAKE_CUDA=fail=cuStreamSynchronize:700:1", "CUDA cannot wait for a stream: CUDA_ERROR_ILLEGAL_ADDRESS", 1},
      {"--device --launch graph", "FAKE_CUDA=fail=cuStreamBeginCapture:1:1", "CUDA cannot capture a stream into a graph", 1},
      {"--device --launch graph", "FAKE_CUDA=fail=cuStreamEndCapture:901:1", "CUDA cannot end a capture", 1},
      {"--device --launch graph", "FAKE_CUDA=fail=cuGraphInstantiateWithFlags:2:1",
       "CUDA cannot instantiate a graph: CUDA_ERROR_OUT_OF_MEMORY", 1},
      {"--device --launch graph", "FAKE_CUDA=fail=cuGraphLaunch:2:1", "CUDA cannot launch a graph", 1},
      {"--device --launch graph", "TUTTI_CUDA=staged",
       "tutti_all_reduce: the stream is being captured into a graph, and calls that go through the host's memory cannot be "
       "captured; make this call outside of the capture (outside of one: staged, since TUTTI_CUDA=staged; ",
       1},
      {"--device --launch graph --algorithm all", "TUTTI_CUDA=staged", "\n# Not possible here: tutti_all_reduce: ", 1},
  };
  for (const auto& [arguments, environment, sentence, status] : cases) {
    EXPECT_EQ(run("all_reduce --ranks 2 -b 4 -e 4 -n 2 -w 1 " + std::string(arguments), environment), status) << environment;
    EXPECT_THAT(output_, HasSubstr(sentence));
    EXPECT_TRUE(nothing_left());
  }
  EXPECT_EQ(run("all_reduce --ranks 1 --device 7"), 2);
  EXPECT_THAT(output_, HasSubstr("rank 0: Tutti cannot use CUDA device 7: the process sees 2 devices, numbered from 0"));
  EXPECT_EQ(run("all_reduce --ranks 2 --device -b 8M -e 8M", "FAKE_CUDA=memory=16"), 1);
  EXPECT_THAT(output_, HasSubstr("Buffers of 16 MiB for each rank of a device do not fit into its free memory (16 MiB): choose a "
                                 "smaller -e or fewer ranks."));
  // Ranks that are threads end with the first that fails.
  EXPECT_EQ(run("all_reduce --ranks 2 --threads --device 0 -b 4 -e 4 -n 2 -w 1", "FAKE_CUDA=fail=cuMemcpyAsync:1:20"), 1);
  EXPECT_THAT(output_, AllOf(HasSubstr(": CUDA cannot copy "), HasSubstr(" aborted the communicator: CUDA cannot copy ")));
}

TEST_F(Bench, NoDriverIsASentence) {
  EXPECT_EQ(run("all_reduce --ranks 2 --device", "TUTTI_CUDA_LIBRARY=/nonexistent/libcuda.so"), 1);
  EXPECT_THAT(output_, HasSubstr("tutti-bench: rank 0: CUDA's driver is needed for device memory, but /nonexistent/libcuda.so "
                                 "cannot be loaded: "));
}

}  // namespace

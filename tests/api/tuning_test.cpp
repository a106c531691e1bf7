// Ranks agree on what they choose algorithms by: measured, cached, or told by a file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>

#include "local_world.h"
#include "process_world.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

// Settings of the process, for one test.
class Tuning : public testing::Test {
 protected:
  void set(const std::string& name, const std::string& value) {
    setenv(name.c_str(), value.c_str(), 1);
    names_.push_back(name);
  }
  ~Tuning() override {
    for (const std::string& name : names_) unsetenv(name.c_str());
    std::filesystem::remove_all(folder_);
  }

  // Ranks as threads that meet as processes do and use the real transports.
  void live(int size, const std::function<void(int rank, tutti_comm* comm)>& body) {
    tutti_unique_id id;
    ASSERT_EQ(tutti_get_unique_id(&id), TUTTI_SUCCESS);
    on_all_ranks(size, [&](int rank) {
      tutti_config config;
      tutti_config_init(&config);
      config.rank = rank;
      config.size = size;
      config.id = &id;
      tutti_comm* comm = nullptr;
      const tutti_status status = tutti_comm_create(&comm, &config);
      const std::lock_guard lock(mutex_);
      if (status != TUTTI_SUCCESS) errors_.insert(tutti_last_error(nullptr));
      if (status == TUTTI_SUCCESS) comms_.push_back(comm);
    });
    on_all_ranks(static_cast<int>(comms_.size()), [&](int i) {
      tutti_comm* comm = comms_[static_cast<size_t>(i)];
      body(tutti_comm_rank(comm), comm);
      EXPECT_TRUE(succeeded(tutti_comm_destroy(comm), nullptr));
    });
    comms_.clear();
  }

  static tutti_stats reduce(tutti_comm* comm, size_t count, const char* algorithm = nullptr) {
    std::vector<float> data(count, 1);
    tutti_call_options options;
    tutti_call_options_init(&options);
    options.algorithm = algorithm;
    EXPECT_TRUE(succeeded(tutti_all_reduce(comm, data.data(), data.data(), count, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
    EXPECT_EQ(data[count - 1], static_cast<float>(tutti_comm_size(comm)));
    tutti_stats stats;
    stats.struct_size = sizeof stats;
    EXPECT_TRUE(succeeded(tutti_comm_stats(comm, &stats), comm));
    return stats;
  }

  std::filesystem::path folder_ = new_folder();
  std::vector<std::string> names_;
  std::mutex mutex_;
  std::set<std::string> errors_;
  std::vector<tutti_comm*> comms_;
};

TEST_F(Tuning, AllRanksChooseAlike) {
  for (const char* transport : {"shm", "tcp"}) {
    set("TUTTI_TRANSPORT", transport);
    std::set<std::string> lines;
    live(3, [&](int, tutti_comm* comm) {
      for (size_t count = 1; count < 1 << 20; count *= 16) {
        const tutti_stats stats = reduce(comm, count);
        const std::lock_guard lock(mutex_);
        lines.insert(std::to_string(count) + " " + stats.last_algorithm + " " + stats.last_reason);
        EXPECT_THAT(stats.last_reason, StartsWith(std::string(stats.last_algorithm) == "flat" ? "one host, " : "predicted "));
        EXPECT_GT(stats.last_predicted_us, 0);
      }
      EXPECT_EQ(reduce(comm, 100, "tree").last_reason, std::string("option of the call"));
    });
    EXPECT_EQ(lines.size(), 5u) << testing::PrintToString(lines);
  }
}

TEST_F(Tuning, MeasuringIsNotCounted) {
  live(2, [&](int, tutti_comm* comm) { EXPECT_EQ(reduce(comm, 100).operations, 1u); });
}

TEST_F(Tuning, SplitsInherit) {
  live(4, [&](int rank, tutti_comm* comm) {
    tutti_comm* child = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, rank % 2, 0, &child), comm));
    EXPECT_THAT(reduce(child, 100'000).last_reason, StartsWith("predicted "));
    EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
  });
}

TEST_F(Tuning, ATableServesSplitsOfTheSameShape) {
  set("TUTTI_DEBUG", "info");
  set("TUTTI_DEBUG_FILE", folder_ / "log.%r");
  live(4, [&](int rank, tutti_comm* comm) {
    for (const int color : {0, rank / 2}) {
      tutti_comm* child = nullptr;
      ASSERT_TRUE(succeeded(tutti_comm_split(comm, color, -rank, &child), comm));
      EXPECT_THAT(reduce(child, 100'000).last_reason, StartsWith("predicted "));
      EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
    }
  });
  const auto tables = [&](int rank) {
    std::ifstream file(folder_ / ("log." + std::to_string(rank)));
    const std::string log((std::istreambuf_iterator<char>(file)), {});
    const std::string_view line = "table of predictions: ";
    int count = 0;
    for (size_t at = 0; (at = log.find(line, at)) != std::string::npos; at += line.size()) ++count;
    return count;
  };
  EXPECT_EQ(tables(0), 1);              // of all four, and not of the split with all four
  EXPECT_EQ(tables(1) + tables(3), 2);  // of either half, whose first rank was the second
}

TEST_F(Tuning, ChoicesAndTheirTimesAreTold) {
  set("TUTTI_DEBUG", "info");
  set("TUTTI_DEBUG_FILE", folder_ / "log.%r");
  live(2, [&](int, tutti_comm* comm) {
    for (int i = 0; i < 25; ++i) reduce(comm, 100'000);
    reduce(comm, 10, "tree");
  });
  std::ifstream file(folder_ / "log.0");
  const std::string log((std::istreambuf_iterator<char>(file)), {});
  EXPECT_THAT(log, HasSubstr("the machine, measured at bootstrap: intra-host latency "));
  EXPECT_THAT(log, testing::Not(HasSubstr("inter-host")));
  EXPECT_THAT(log, HasSubstr("table of predictions: "));
  EXPECT_THAT(log, testing::ContainsRegex("all_reduce of about 391 KiB by [a-z]+: predicted "));
  EXPECT_THAT(log, testing::ContainsRegex("by [a-z]+ took [0-9.]+ .+s, the average of 20 calls; predicted "));
  EXPECT_THAT(log, HasSubstr("all_reduce of about 40 B by tree: option of the call"));
  EXPECT_THAT(log, testing::ContainsRegex("by tree took [0-9.]+ .+s, the average of 1 call; predicted "));
  EXPECT_THAT(log, testing::Not(HasSubstr("average of 25")));
}

TEST_F(Tuning, OffMeansFixedSizes) {
  set("TUTTI_TUNING", "off");
  live(2, [&](int, tutti_comm* comm) {
    const tutti_stats stats = reduce(comm, 1 << 20);
    EXPECT_STREQ(stats.last_algorithm, "ring");
    EXPECT_THAT(stats.last_reason, HasSubstr("large, one host"));
    EXPECT_EQ(stats.last_predicted_us, 0);
  });
  const LocalWorld world(2);  // threads of one process never measure
  world.run([&](int, tutti_comm* comm) { EXPECT_EQ(reduce(comm, 100).last_predicted_us, 0); });
}

TEST_F(Tuning, TheFileDecides) {
  const std::string path = folder_ / "rules";
  std::ofstream(path) << "tutti-tuning 1\nall_reduce ranks=2 bytes=4K- use=tree lanes=1 stripe=4K\n";
  set("TUTTI_TUNING_FILE", path);
  live(2, [&](int, tutti_comm* comm) {
    const tutti_stats stats = reduce(comm, 100'000);
    EXPECT_STREQ(stats.last_algorithm, "tree");
    EXPECT_THAT(stats.last_reason, HasSubstr("TUTTI_TUNING_FILE, line 2"));
    EXPECT_EQ(stats.last_lanes, 1u);
    EXPECT_EQ(stats.last_stripe_bytes, 4096u);
    EXPECT_STREQ(reduce(comm, 100'000, "ring").last_algorithm, "ring");
    EXPECT_STREQ(reduce(comm, 10).last_algorithm, "flat");
  });
}

TEST_F(Tuning, AWrongFileIsRefusedByAllWithItsLine) {
  const std::string path = folder_ / "rules";
  std::ofstream(path) << "tutti-tuning 1\n\nall_reduce use=rign\n";
  set("TUTTI_TUNING_FILE", path);
  live(3, [](int, tutti_comm*) { ADD_FAILURE(); });
  ASSERT_EQ(errors_.size(), 1u);
  EXPECT_THAT(*errors_.begin(), AllOf(HasSubstr("TUTTI_TUNING_FILE at rank 0: " + path + ":3: \"rign\" is no algorithm"),
                                      HasSubstr("did you mean \"ring\"?")));
  errors_.clear();
  std::filesystem::remove(path);
  live(2, [](int, tutti_comm*) { ADD_FAILURE(); });
  EXPECT_THAT(*errors_.begin(), HasSubstr("opening the tuning file " + path));
}

TEST_F(Tuning, TheCacheIsWrittenAndReadAndDistrusted) {
  set("TUTTI_TUNING_CACHE", folder_);
  const auto once = [&] {
    std::set<double> predicted;
    live(2, [&](int, tutti_comm* comm) {
      const double us = reduce(comm, 100'000).last_predicted_us;
      const std::lock_guard lock(mutex_);
      predicted.insert(us);
    });
    EXPECT_EQ(predicted.size(), 1u);
    return predicted.empty() ? 0 : *predicted.begin();
  };
  const double first = once();
  ASSERT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
  const auto path = std::filesystem::directory_iterator(folder_)->path();
  EXPECT_THAT(path.string(), EndsWith(".tuning"));
  EXPECT_EQ(once(), first);  // nothing was measured again
  std::ofstream(path) << "half of a fi";
  EXPECT_GT(once(), 0);  // measured, and the file is whole again
  EXPECT_GT(std::filesystem::file_size(path), 100u);
}

}  // namespace
}  // namespace tutti::test

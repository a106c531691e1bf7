// Settings of one communicator, given by the program: its longest wait, and what the environment says of all others.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barrier>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "local_world.h"
#include "process_world.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kShort = 300, kAnHour = 3'600'000;  // ms; by the environment it is ten minutes

// How rank `rank` of two calls tutti_comm_create.
struct OwnConfig {
  int timeout_ms = 0;
  std::vector<const char*> settings;

  tutti_status create(int rank, const tutti_unique_id& id, tutti_comm** comm) {
    settings.push_back(nullptr);
    tutti_config config;
    tutti_config_init(&config);
    config.rank = rank;
    config.size = 2;
    config.id = &id;
    config.timeout_ms = timeout_ms;
    config.settings = settings.data();
    return tutti_comm_create(comm, &config);
  }
};

using Body = std::function<void(int rank, tutti_comm* comm)>;

void with_pair(const std::function<OwnConfig(int rank)>& config, const Body& body) {
  tutti_unique_id id;
  ASSERT_TRUE(succeeded(tutti_get_unique_id(&id), nullptr));
  on_all_ranks(2, [&](int rank) {
    tutti_comm* comm = nullptr;
    ASSERT_TRUE(succeeded(config(rank).create(rank, id, &comm), nullptr));
    body(rank, comm);
    tutti_comm_destroy(comm);
  });
}

class OwnTimeout : public testing::TestWithParam<const char*> {
 protected:
  // timeout_ms 0: the environment's.
  void run(int timeout_ms, const Body& body) {
    const std::string transport = GetParam();
    if (transport != "memory") {
      const std::string over = "TUTTI_TRANSPORT=" + transport;
      return with_pair([&](int) { return OwnConfig{timeout_ms, {over.c_str()}}; }, body);
    }
    const LocalWorld world(2);
    ASSERT_EQ(world.size(), 2);
    world.run([&](int rank, tutti_comm* comm) {
      if (timeout_ms > 0) {
        ASSERT_TRUE(succeeded(tutti_comm_set_timeout(comm, timeout_ms), comm));
      }
      body(rank, comm);
    });
  }

  // Rank 0 waits in vain.
  void expect_timeout(int rank, tutti_comm* comm, int options_ms = 0) {
    tutti_call_options options;
    tutti_call_options_init(&options);
    options.timeout_ms = options_ms;
    if (rank == 0) {
      EXPECT_EQ(tutti_barrier(comm, &options), TUTTI_TIMEOUT);
      EXPECT_THAT(tutti_last_error(comm), HasSubstr("rank 1"));
    }
    together_.arrive_and_wait();
  }

 private:
  std::barrier<> together_{2};
};
INSTANTIATE_TEST_SUITE_P(Over, OwnTimeout, testing::Values("memory", "shm", "tcp"), parameter_name);

TEST_P(OwnTimeout, OfCreationBoundsEachWait) {
  run(kShort, [this](int rank, tutti_comm* comm) { expect_timeout(rank, comm); });
}

TEST_P(OwnTimeout, MayChangeBetweenCalls) {
  run(0, [this](int rank, tutti_comm* comm) {
    ASSERT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm));
    ASSERT_TRUE(succeeded(tutti_comm_set_timeout(comm, kShort), comm));
    expect_timeout(rank, comm);
  });
}

TEST_P(OwnTimeout, ThatOfACallGoesBefore) {
  run(kAnHour, [this](int rank, tutti_comm* comm) { expect_timeout(rank, comm, kShort); });
}

TEST_P(OwnTimeout, IsInheritedBySplits) {
  run(kAnHour, [this](int rank, tutti_comm* comm) {
    ASSERT_TRUE(succeeded(tutti_comm_set_timeout(comm, kShort), comm));
    tutti_comm* child = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, 0, 0, &child), comm));
    ASSERT_TRUE(succeeded(tutti_comm_set_timeout(comm, kAnHour), comm));  // which the child no longer minds
    expect_timeout(rank, child);
    tutti_comm_destroy(child);
  });
}

TEST(OwnTimeoutArguments, AreChecked) {
  const LocalWorld world(1);
  tutti_comm* const comm = world.comm(0);
  for (const int wrong : {0, -1}) {
    EXPECT_EQ(tutti_comm_set_timeout(comm, wrong), TUTTI_INVALID_ARGUMENT);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("timeout_ms is " + std::to_string(wrong) + ", must be 1 or more"));
  }
  EXPECT_EQ(tutti_comm_set_timeout(nullptr, 1), TUTTI_INVALID_ARGUMENT);
  EXPECT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm));
}

// ---- settings ----

tutti_stats stats_of(tutti_comm* comm) {
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  EXPECT_TRUE(succeeded(tutti_comm_stats(comm, &stats), comm));
  return stats;
}

void reduce_by(tutti_comm* comm, const char* algorithm) {
  std::vector<float> data(100'000, 1.0f);
  ASSERT_TRUE(succeeded(tutti_all_reduce(comm, data.data(), data.data(), data.size(), TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
  EXPECT_EQ(data.back(), 2.0f);
  EXPECT_STREQ(stats_of(comm).last_algorithm, algorithm);
}

// While it lives, the environment has this variable.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  Variable(const Variable&) = delete;
  ~Variable() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(OwnSettings, GoBeforeTheEnvironmentAndAreInheritedBySplits) {
  const Variable transport("TUTTI_TRANSPORT", "shm"), algorithm("TUTTI_ALGORITHM", "ring");
  const auto config = [](int) { return OwnConfig{0, {"TUTTI_TRANSPORT=tcp", " TUTTI_ALGORITHM = tree "}}; };
  with_pair(config, [](int, tutti_comm* comm) {
    reduce_by(comm, "tree");
    EXPECT_STREQ(stats_of(comm).transports, "tcp 1");
    tutti_comm* child = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, 0, 0, &child), comm));
    reduce_by(child, "tree");
    EXPECT_STREQ(stats_of(child).transports, "tcp 1");
    EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
  });
}

TEST(OwnSettings, EmptyOnesAreTheDefault) {
  const Variable algorithm("TUTTI_ALGORITHM", "ring");
  with_pair([](int) { return OwnConfig{0, {"TUTTI_ALGORITHM=", "TUTTI_TRANSPORT=shm"}}; },
            [](int, tutti_comm* comm) { EXPECT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm)); });
}

// As in the environment: what shapes the messages is rank 0's.
TEST(OwnSettings, OfRankZeroShapeWhatTravels) {
  const auto config = [](int rank) { return OwnConfig{0, {rank == 0 ? "TUTTI_ALGORITHM=tree" : "TUTTI_ALGORITHM=ring"}}; };
  with_pair(config, [](int, tutti_comm* comm) { reduce_by(comm, "tree"); });
}

TEST(OwnSettings, OthersAreRefused) {
  const auto refusal = [](OwnConfig config) {
    const tutti_unique_id nowhere{};
    tutti_comm* comm = nullptr;
    EXPECT_EQ(config.create(0, nowhere, &comm), TUTTI_INVALID_ARGUMENT);
    EXPECT_EQ(comm, nullptr);
    return std::string(tutti_last_error(nullptr));
  };
  EXPECT_THAT(refusal({0, {"TUTTI_LANE=2"}}),
              AllOf(HasSubstr("\"TUTTI_LANE\" (tutti_config.settings) is no setting"), HasSubstr("TUTTI_LANES")));
  EXPECT_THAT(refusal({0, {"PATH=/bin"}}), HasSubstr("\"PATH\" (tutti_config.settings) is no setting of Tutti"));
  EXPECT_THAT(refusal({0, {"TUTTI_LANES"}}),
              HasSubstr("tutti_config.settings: \"TUTTI_LANES\" is no setting; expected TUTTI_X=value"));
  EXPECT_THAT(refusal({0, {"TUTTI_LANES=many"}}), HasSubstr("TUTTI_LANES=\"many\" (tutti_config.settings): "));
  EXPECT_THAT(refusal({0, {"TUTTI_LANES=2", "TUTTI_LANES=2"}}), HasSubstr("already"));
  EXPECT_THAT(refusal({kShort, {"TUTTI_TIMEOUT=1s"}}), AllOf(HasSubstr("already"), HasSubstr("tutti_config.timeout_ms")));
  EXPECT_THAT(refusal({0, {"TUTTI_TRANSPORT=pigeon"}}), HasSubstr("TUTTI_TRANSPORT=\"pigeon\" (tutti_config.settings): "));
  EXPECT_THAT(refusal({0, {"TUTTI_RANK=1"}}),
              HasSubstr("TUTTI_RANK (tutti_config.settings) is no setting of single communicators; use tutti_config.rank"));
  for (const char* of_the_job : {"TUTTI_SIZE=2", "TUTTI_STORE=file:/tmp/x", "TUTTI_CONF_FILE=/tmp/x"})
    EXPECT_THAT(refusal({0, {of_the_job}}), HasSubstr("is no setting of single communicators; use "));
  EXPECT_THAT(refusal({-5, {}}), HasSubstr("tutti_config.timeout_ms is -5, must be 0 (TUTTI_TIMEOUT) or more"));
}

}  // namespace
}  // namespace tutti::test

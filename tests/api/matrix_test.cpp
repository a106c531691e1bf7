// Every collective in every way it can be called, between threads, against the plain reference.
// API_TEST_FULL=1 tries the whole product instead of a pairwise cover; API_TEST_SEED repeats a random sample.

#include <gtest/gtest.h>

#include <iostream>
#include <limits>
#include <map>
#include <memory>

#include "cases.h"
#include "local_world.h"
#include "sanitized.h"

namespace tutti::test {
namespace {

// Groups by size, made when first needed and again after a failure, so that one broken case does not fail all later
// ones.
class Worlds {
 public:
  LocalWorld& of(int size) {
    if (DeviceBytes::wanted() && !worlds_.contains(size)) worlds_.clear();  // a device has few queues for all streams
    std::unique_ptr<LocalWorld>& world = worlds_[size];
    if (!world) world = std::make_unique<LocalWorld>(size);
    return *world;
  }
  void forget(int size) { worlds_.erase(size); }

 private:
  std::map<int, std::unique_ptr<LocalWorld>> worlds_;
};

bool same_everywhere(Kind kind) {
  return kind == Kind::all_reduce || kind == Kind::all_gather || kind == Kind::all_gather_v || kind == Kind::broadcast;
}

// The mistake, "" if there is none.
std::string run_case(const LocalWorld& world, const Case& c) {
  const std::vector<Bytes> inputs = make_inputs(c.call);
  std::vector<Arena> arenas;
  for (int rank = 0; rank < c.call.size; ++rank) arenas.emplace_back(c.call, rank, inputs[static_cast<size_t>(rank)]);
  std::vector<std::string> wrong(arenas.size());
  world.run([&](int rank, tutti_comm* comm) {
    const auto r = static_cast<size_t>(rank);
    const tutti_status status = arenas[r].perform(comm, c.how);
    if (status != TUTTI_SUCCESS) wrong[r] = std::string(tutti_status_string(status)) + ": " + tutti_last_error(comm);
  });
  Bytes expected;
  for (size_t r = 0; r < arenas.size(); ++r) {
    if (!wrong[r].empty()) return wrong[r];
    if (r == 0 || !same_everywhere(c.call.kind)) expected = expected_output(c.call, static_cast<int>(r), inputs);
    const std::string difference = arenas[r].check(inputs, expected);
    if (!difference.empty()) return difference;
    if (c.call.kind == Kind::all_reduce && arenas[r].output() != arenas[0].output()) return "ranks differ in bits";
  }
  return "";
}

void run_cases(const std::vector<Case>& cases) {
  Worlds worlds;
  int failures = 0;
  size_t tried = 0;
  for (const Case& c : cases) {
    if (++tried % 10'000 == 0) std::cout << tried << " of " << cases.size() << std::endl;
    LocalWorld& world = worlds.of(c.call.size);
    ASSERT_EQ(world.size(), c.call.size);
    const std::string wrong = run_case(world, c);
    if (wrong.empty()) continue;
    ADD_FAILURE() << describe(c) << "\n  " << wrong;
    worlds.forget(c.call.size);
    if (++failures == 20) GTEST_FAIL() << "20 cases failed; the others were not tried";
  }
}

// Elements of large calls: several stripes on every lane.  Sanitizers slow the making and checking of data most of all.
constexpr size_t kLarge = fewer(300'001, 80'001);

TEST(Matrix, PairwiseCover) {
  const CaseSpace space({1, 2, 3, 4, 5, 6, 7, 8}, kLarge);
  run_cases(space.pairwise_cover(1));
}

TEST(Matrix, RandomSample) {
  const uint64_t seed = random_seed();
  std::cout << "API_TEST_SEED=" << seed << std::endl;
  const CaseSpace space({1, 2, 3, 4, 5, 6, 7, 8}, 50'001);
  run_cases(space.sample(fewer(300, 100), seed));
}

TEST(Matrix, FullProduct) {
  if (!full_product_wanted()) GTEST_SKIP() << "API_TEST_FULL=1 runs it";
  const CaseSpace space({1, 2, 3, 4, 5, 6, 7, 8}, kLarge);
  const std::vector<Case> cases = space.product();
  std::cout << cases.size() << " cases" << std::endl;
  run_cases(cases);
}

// Over all ranks but one the value is ordinary, so every reduction meets the not-a-number once.
TEST(Matrix, NotANumberSurvivesEveryReduction) {
  constexpr int kRanks = 5;
  constexpr size_t kCount = 33;
  const LocalWorld world(kRanks);
  ASSERT_EQ(world.size(), kRanks);
  for (const std::string& algorithm : algorithms_of(Kind::all_reduce)) {
    for (int op = TUTTI_SUM; op <= TUTTI_AVG; ++op) {
      world.run([&](int rank, tutti_comm* comm) {
        std::vector<float> data(kCount, static_cast<float>(rank + 1));
        data[static_cast<size_t>(rank) * 2] = std::numeric_limits<float>::quiet_NaN();
        tutti_call_options options;
        tutti_call_options_init(&options);
        options.algorithm = algorithm.c_str();
        ASSERT_TRUE(succeeded(
            tutti_all_reduce(comm, data.data(), data.data(), kCount, TUTTI_FLOAT32, static_cast<tutti_op>(op), &options), comm));
        for (size_t i = 0; i < kCount; ++i) {
          EXPECT_EQ(data[i] != data[i], i < 2 * kRanks && i % 2 == 0) << algorithm << ", op " << op << ", element " << i;
        }
      });
    }
  }
}

// Element counts and byte offsets that do not fit 31 bits.  Needs 4.5 GiB of memory.
TEST(Matrix, CountBeyond31Bits) {
  if (!full_product_wanted()) GTEST_SKIP() << "API_TEST_FULL=1 runs it";
  constexpr size_t kCount = (size_t{1} << 31) + 4711;
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    std::vector<uint8_t> data(kCount);
    for (size_t i = 0; i < kCount; ++i) data[i] = static_cast<uint8_t>(i % 113 + static_cast<size_t>(rank));
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, data.data(), data.data(), kCount, TUTTI_UINT8, TUTTI_SUM, nullptr), comm));
    size_t wrong = 0;
    for (size_t i = 0; i < kCount; ++i) wrong += data[i] != 2 * (i % 113) + 1;
    EXPECT_EQ(wrong, 0u);
  });
}

}  // namespace
}  // namespace tutti::test

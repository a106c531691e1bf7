// The same bits on all ranks, each time, and with TUTTI_DETERMINISTIC=1 in every way of asking.

#include <gtest/gtest.h>

#include <cstdlib>

#include "cases.h"
#include "local_world.h"

namespace tutti::test {
namespace {

constexpr tutti_dtype kRealTypes[] = {TUTTI_FLOAT16, TUTTI_BFLOAT16, TUTTI_FLOAT32, TUTTI_FLOAT64};

// An environment variable for the communicators made while it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { setenv(name, value.c_str(), 1); }
  Variable(const Variable&) = delete;
  ~Variable() { unsetenv(name_); }

 private:
  const char* name_;
};

Call real_call(int size, size_t count, tutti_dtype dtype, tutti_op op, std::string algorithm) {
  Call call;
  call.size = size;
  call.count = count;
  call.dtype = dtype;
  call.op = op;
  call.values = Values::real;
  call.seed = 17;
  call.algorithm = std::move(algorithm);
  return call;
}

// All ranks' outputs of one call.
std::vector<Bytes> outputs_of(const LocalWorld& world, const Call& call, const std::vector<Bytes>& inputs) {
  std::vector<Bytes> outputs(inputs.size());
  world.run([&](int rank, tutti_comm* comm) {
    const auto r = static_cast<size_t>(rank);
    Arena arena(call, rank, inputs[r]);
    EXPECT_TRUE(succeeded(arena.perform(comm), comm)) << describe(call);
    outputs[r] = arena.output();
  });
  return outputs;
}

TEST(Bits, RanksAgreeAndRepeatedCallsAgree) {
  std::vector<std::string> algorithms = algorithms_of(Kind::all_reduce);
  algorithms.emplace_back();
  for (const int size : {2, 3, 5, 8}) {
    const LocalWorld world(size);
    ASSERT_EQ(world.size(), size);
    for (const std::string& algorithm : algorithms) {
      for (const tutti_dtype dtype : kRealTypes) {
        for (const size_t count : {size_t{3}, size_t{1025}, size_t{70'001}}) {
          const Call call = real_call(size, count, dtype, TUTTI_SUM, algorithm);
          const std::vector<Bytes> inputs = make_inputs(call);
          const std::vector<Bytes> first = outputs_of(world, call, inputs);
          for (const Bytes& output : first) EXPECT_EQ(output, first[0]) << describe(call);
          EXPECT_EQ(outputs_of(world, call, inputs), first) << "repeated: " << describe(call);
        }
      }
    }
  }
}

TEST(Bits, InPlaceAndAsynchronousCallsGiveTheSameBits) {
  constexpr int kSize = 4;
  const LocalWorld world(kSize);
  ASSERT_EQ(world.size(), kSize);
  for (const std::string& algorithm : algorithms_of(Kind::all_reduce)) {
    Call call = real_call(kSize, 40'001, TUTTI_FLOAT32, TUTTI_AVG, algorithm);
    const std::vector<Bytes> inputs = make_inputs(call);
    const std::vector<Bytes> first = outputs_of(world, call, inputs);
    call.in_place = true;
    world.run([&](int rank, tutti_comm* comm) {
      Arena arena(call, rank, inputs[static_cast<size_t>(rank)]);
      EXPECT_TRUE(succeeded(arena.perform(comm, How::start_wait), comm));
      EXPECT_EQ(arena.output(), first[static_cast<size_t>(rank)]) << describe(call);
    });
  }
}

// Rank 0's result of a deterministic all-reduce made in one call, or in two calls that split the vector at `split`.
Bytes deterministic_result(const LocalWorld& world, const Call& call, const std::vector<Bytes>& inputs, size_t split) {
  Bytes result;
  world.run([&](int rank, tutti_comm* comm) {
    Bytes data = inputs[static_cast<size_t>(rank)];
    const size_t unit = data.size() / call.count;
    tutti_call_options options;
    tutti_call_options_init(&options);
    if (!call.algorithm.empty()) options.algorithm = call.algorithm.c_str();
    const auto reduce = [&](size_t first, size_t count) {
      std::byte* part = data.data() + first * unit;
      EXPECT_TRUE(succeeded(tutti_all_reduce(comm, part, part, count, call.dtype, call.op, &options), comm)) << describe(call);
    };
    reduce(0, split);
    if (split < call.count) reduce(split, call.count - split);
    if (rank == 0) result = data;
  });
  return result;
}

void expect_same_whatever_is_asked(const Call& call) {
  const std::vector<Bytes> inputs = make_inputs(call);
  Bytes first;
  for (const std::string& setting : algorithms_of(Kind::all_reduce)) {
    for (const char* lanes : {"1", "4"}) {
      const Variable deterministic("TUTTI_DETERMINISTIC", "1"), named("TUTTI_ALGORITHM", setting), striped("TUTTI_LANES", lanes);
      const LocalWorld world(call.size);
      ASSERT_EQ(world.size(), call.size);
      for (const size_t split : {call.count, size_t{1}, size_t{9}, size_t{4096}}) {
        const Bytes result = deterministic_result(world, call, inputs, split);
        if (first.empty()) first = result;
        EXPECT_EQ(result, first) << describe(call) << ", TUTTI_ALGORITHM=" << setting << ", split at " << split;
      }
    }
  }
  EXPECT_EQ(difference(call, 0, inputs, first.data(), expected_output(call, 0, inputs)), "");
}

TEST(Bits, DeterministicWhateverTheAlgorithmLanesAndSizes) {
  constexpr size_t kCount = 30'011;
  for (const int size : {3, 4, 7}) {
    expect_same_whatever_is_asked(real_call(size, kCount, TUTTI_FLOAT16, TUTTI_SUM, ""));
    expect_same_whatever_is_asked(real_call(size, kCount, TUTTI_BFLOAT16, TUTTI_AVG, ""));
    expect_same_whatever_is_asked(real_call(size, kCount, TUTTI_FLOAT32, TUTTI_SUM, ""));
    expect_same_whatever_is_asked(real_call(size, kCount, TUTTI_FLOAT32, TUTTI_PROD, ""));
    expect_same_whatever_is_asked(real_call(size, kCount, TUTTI_FLOAT64, TUTTI_AVG, ""));
  }
}

TEST(Bits, DeterministicBeatsTheAlgorithmOfACall) {
  const Variable deterministic("TUTTI_DETERMINISTIC", "1");
  constexpr int kSize = 5;
  const LocalWorld world(kSize);
  ASSERT_EQ(world.size(), kSize);
  const Call call = real_call(kSize, 5'003, TUTTI_FLOAT32, TUTTI_SUM, "");
  const std::vector<Bytes> inputs = make_inputs(call);
  const Bytes first = deterministic_result(world, call, inputs, call.count);
  for (const std::string& algorithm : algorithms_of(Kind::all_reduce)) {
    Call named = call;
    named.algorithm = algorithm;
    EXPECT_EQ(deterministic_result(world, named, inputs, call.count), first) << algorithm;
  }
}

// reduce and reduce_scatter are the same sums as all_reduce, so a deterministic one gives the same bits.
TEST(Bits, DeterministicReductionsAgreeWithAllReduce) {
  const Variable deterministic("TUTTI_DETERMINISTIC", "1");
  constexpr int kSize = 4;
  const LocalWorld world(kSize);
  ASSERT_EQ(world.size(), kSize);
  const Call whole = real_call(kSize, kSize * 2'003, TUTTI_FLOAT16, TUTTI_SUM, "");
  const std::vector<Bytes> inputs = make_inputs(whole);
  const Bytes reduced = outputs_of(world, whole, inputs)[0];
  Call rooted = whole;
  rooted.kind = Kind::reduce;
  rooted.root = 2;
  EXPECT_EQ(outputs_of(world, rooted, inputs)[2], reduced);
  Call scattered = whole;
  scattered.kind = Kind::reduce_scatter;
  scattered.count = whole.count / kSize;
  Bytes joined;
  for (const Bytes& part : outputs_of(world, scattered, inputs)) joined.insert(joined.end(), part.begin(), part.end());
  EXPECT_EQ(joined, reduced);
}

}  // namespace
}  // namespace tutti::test

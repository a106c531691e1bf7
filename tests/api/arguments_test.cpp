// Wrong arguments: refused with a sentence, at once, nothing started; the communicator is as good as before.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "local_world.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;

// Rank 0 of two makes wrong calls on its own; nothing of them may be felt when both ranks call something right.
class Arguments : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(world_.size(), 2);
    comm_ = world_.comm(0);
    tutti_call_options_init(&options_);
  }

  void TearDown() override {
    if (world_.size() != 2) return;
    world_.run([](int rank, tutti_comm* comm) {
      int32_t sum = rank + 1;
      EXPECT_TRUE(succeeded(tutti_all_reduce(comm, &sum, &sum, 1, TUTTI_INT32, TUTTI_SUM, nullptr), comm));
      EXPECT_EQ(sum, 3);
    });
  }

  void refused(tutti_status status, const char* expression) {
    EXPECT_EQ(status, TUTTI_INVALID_ARGUMENT) << expression << ": " << tutti_last_error(comm_);
    EXPECT_GT(std::strlen(tutti_last_error(comm_)), 10u) << expression;
  }

  const LocalWorld world_{2};
  tutti_comm* comm_ = nullptr;
  tutti_call_options options_;
  float a_[64] = {}, b_[64] = {};
  size_t counts_[2] = {3, 2}, offsets_[2] = {0, 3};
  tutti_request* request_ = nullptr;
};

#define REFUSED(call) refused((call), #call)

TEST_F(Arguments, LimitOfTheEnd) {
  EXPECT_EQ(tutti_comm_destroy_within(comm_, -1), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("tutti_comm_destroy_within: timeout_ms is -1, must be 0 or more"));
  EXPECT_EQ(tutti_comm_destroy_within(nullptr, 0), TUTTI_SUCCESS);
  ASSERT_EQ(tutti_recv_start(comm_, b_, 1, TUTTI_FLOAT32, 1, 0, nullptr, &request_), TUTTI_SUCCESS);
  EXPECT_EQ(tutti_comm_destroy_within(comm_, 0), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("1 request has not been waited for"));
  EXPECT_EQ(tutti_send(world_.comm(1), a_, 1, TUTTI_FLOAT32, 0, 0, nullptr), TUTTI_SUCCESS);
  EXPECT_EQ(tutti_wait(request_), TUTTI_SUCCESS);
}

TEST_F(Arguments, BuffersMissing) {
  REFUSED(tutti_all_reduce(comm_, nullptr, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_all_reduce(comm_, a_, nullptr, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_reduce_scatter(comm_, nullptr, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_reduce_scatter(comm_, a_, nullptr, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_reduce_scatter_v(comm_, a_, nullptr, counts_, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_reduce_scatter_v(comm_, a_, b_, nullptr, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_all_gather(comm_, nullptr, b_, 4, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_gather(comm_, a_, nullptr, 4, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_gather_v(comm_, a_, nullptr, counts_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_gather_v(comm_, a_, b_, nullptr, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_broadcast(comm_, nullptr, b_, 4, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_broadcast(comm_, a_, nullptr, 4, TUTTI_FLOAT32, 1, nullptr));
  REFUSED(tutti_reduce(comm_, nullptr, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, 1, nullptr));
  REFUSED(tutti_reduce(comm_, a_, nullptr, 4, TUTTI_FLOAT32, TUTTI_SUM, 0, nullptr));
  REFUSED(tutti_scan(comm_, nullptr, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_scan(comm_, a_, nullptr, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_exscan(comm_, nullptr, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_exscan(world_.comm(1), a_, nullptr, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_gather(comm_, nullptr, b_, 4, TUTTI_FLOAT32, 1, nullptr));
  REFUSED(tutti_gather(comm_, a_, nullptr, 4, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_scatter(comm_, nullptr, b_, 4, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_scatter(comm_, a_, nullptr, 4, TUTTI_FLOAT32, 1, nullptr));
  REFUSED(tutti_gather_v(comm_, a_, nullptr, counts_, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_gather_v(comm_, a_, b_, nullptr, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_scatter_v(comm_, nullptr, b_, counts_, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_scatter_v(comm_, a_, b_, nullptr, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_all_to_all(comm_, nullptr, b_, 4, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all(comm_, a_, nullptr, 4, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_v(comm_, nullptr, counts_, offsets_, b_, counts_, offsets_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_v(comm_, a_, nullptr, offsets_, b_, counts_, offsets_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_v(comm_, a_, counts_, nullptr, b_, counts_, offsets_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_v(comm_, a_, counts_, offsets_, nullptr, counts_, offsets_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_v(comm_, a_, counts_, offsets_, b_, nullptr, offsets_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_v(comm_, a_, counts_, offsets_, b_, counts_, nullptr, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_send(comm_, nullptr, 4, TUTTI_FLOAT32, 1, 0, nullptr));
  REFUSED(tutti_recv(comm_, nullptr, 4, TUTTI_FLOAT32, 1, 0, nullptr));
}

TEST_F(Arguments, TypesAndOperatorsOutOfRange) {
  for (const int bad : {-1, TUTTI_UINT16 + 1, 256, 1000}) {
    const auto dtype = static_cast<tutti_dtype>(bad);
    const auto op = static_cast<tutti_op>(bad == TUTTI_UINT16 + 1 ? TUTTI_CUSTOM + 1 : bad);
    REFUSED(tutti_all_reduce(comm_, a_, b_, 4, dtype, TUTTI_SUM, nullptr));
    REFUSED(tutti_all_reduce(comm_, a_, b_, 4, TUTTI_FLOAT32, op, nullptr));
    REFUSED(tutti_reduce_scatter(comm_, a_, b_, 4, dtype, TUTTI_SUM, nullptr));
    REFUSED(tutti_reduce_scatter(comm_, a_, b_, 4, TUTTI_FLOAT32, op, nullptr));
    REFUSED(tutti_reduce_scatter_v(comm_, a_, b_, counts_, TUTTI_FLOAT32, op, nullptr));
    REFUSED(tutti_reduce(comm_, a_, b_, 4, TUTTI_FLOAT32, op, 0, nullptr));
    REFUSED(tutti_all_gather(comm_, a_, b_, 4, dtype, nullptr));
    REFUSED(tutti_all_gather_v(comm_, a_, b_, counts_, dtype, nullptr));
    REFUSED(tutti_broadcast(comm_, a_, b_, 4, dtype, 0, nullptr));
    REFUSED(tutti_gather(comm_, a_, b_, 4, dtype, 0, nullptr));
    REFUSED(tutti_scatter(comm_, a_, b_, 4, dtype, 0, nullptr));
    REFUSED(tutti_all_to_all(comm_, a_, b_, 4, dtype, nullptr));
    REFUSED(tutti_all_to_all_v(comm_, a_, counts_, offsets_, b_, counts_, offsets_, dtype, nullptr));
    REFUSED(tutti_send(comm_, a_, 4, dtype, 1, 0, nullptr));
    REFUSED(tutti_recv(comm_, a_, 4, dtype, 1, 0, nullptr));
  }
}

TEST_F(Arguments, OperatorsOnTheBitsOfFloats) {
  for (const tutti_op op : {TUTTI_BAND, TUTTI_BOR, TUTTI_BXOR}) {
    for (const tutti_dtype dtype : {TUTTI_FLOAT16, TUTTI_BFLOAT16, TUTTI_FLOAT32, TUTTI_FLOAT64}) {
      EXPECT_EQ(tutti_all_reduce(comm_, a_, b_, 4, dtype, op, nullptr), TUTTI_UNSUPPORTED);
      EXPECT_THAT(tutti_last_error(comm_), HasSubstr("is an operator on the bits of integers"));
      EXPECT_EQ(tutti_reduce_scatter(comm_, a_, b_, 4, dtype, op, nullptr), TUTTI_UNSUPPORTED);
      EXPECT_EQ(tutti_reduce(comm_, a_, b_, 4, dtype, op, 0, nullptr), TUTTI_UNSUPPORTED);
    }
  }
}

TEST_F(Arguments, PartsThatAreWrong) {
  float c[8] = {};
  void* outs[2] = {b_, c};
  const void* ins[2] = {a_, c};
  void* gap[2] = {b_, nullptr};
  const void* const* const gaps = gap;
  REFUSED(tutti_all_gather_parts(comm_, a_, nullptr, counts_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_gather_parts(comm_, a_, outs, nullptr, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_gather_parts(comm_, nullptr, outs, counts_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_gather_parts(comm_, a_, gap, counts_, TUTTI_FLOAT32, nullptr));
  EXPECT_THAT(tutti_last_error(comm_), HasSubstr("output from rank 1 is NULL"));
  REFUSED(tutti_all_gather_parts(comm_, c, outs, counts_, TUTTI_FLOAT32, nullptr));  // in place at another rank's part
  EXPECT_THAT(tutti_last_error(comm_), HasSubstr("overlap, and it is not in place"));
  REFUSED(tutti_reduce_scatter_parts(comm_, nullptr, b_, counts_, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_reduce_scatter_parts(comm_, ins, nullptr, counts_, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_reduce_scatter_parts(comm_, gaps, a_, counts_, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_reduce_scatter_parts(comm_, ins, a_ + 1, counts_, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_gather_parts(comm_, a_, nullptr, counts_, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_gather_parts(comm_, a_, outs, counts_, TUTTI_FLOAT32, 2, nullptr));
  REFUSED(tutti_scatter_parts(comm_, nullptr, b_, counts_, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_scatter_parts(comm_, gaps, a_, counts_, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_all_to_all_parts(comm_, nullptr, counts_, outs, counts_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_parts(comm_, ins, nullptr, outs, counts_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_parts(comm_, ins, counts_, outs, counts_, TUTTI_FLOAT32, nullptr));  // both have c
  const size_t huge[2] = {1, std::numeric_limits<size_t>::max() / 8};
  REFUSED(tutti_all_to_all_parts(comm_, ins, huge, outs, counts_, TUTTI_FLOAT32, nullptr));
}

TEST_F(Arguments, ListsThatAreWrong) {
  float c[8] = {};
  void* outs[2] = {b_, c};
  const void *ins[2] = {a_, c}, *shifted[2] = {a_, b_ + 1}, *gap[2] = {a_, nullptr};
  const auto all_reduce_list = [&](const void* const* inputs, void* const* outputs, const size_t* counts) {
    return tutti_all_reduce_list(comm_, inputs, outputs, counts, 2, TUTTI_FLOAT32, TUTTI_SUM, &options_);
  };
  REFUSED(all_reduce_list(nullptr, outs, counts_));
  REFUSED(all_reduce_list(ins, nullptr, counts_));
  REFUSED(all_reduce_list(ins, outs, nullptr));
  REFUSED(all_reduce_list(gap, outs, counts_));
  EXPECT_THAT(tutti_last_error(comm_), HasSubstr("input 1 is NULL"));
  REFUSED(all_reduce_list(shifted, outs, counts_));
  EXPECT_THAT(tutti_last_error(comm_), HasSubstr("input 1 and output 0 overlap"));
  const size_t huge[2] = {std::numeric_limits<size_t>::max(), 2};
  REFUSED(all_reduce_list(ins, outs, huge));
  tutti_codec* codec = nullptr;
  ASSERT_EQ(tutti_codec_create(&codec, "int8", 5, TUTTI_FLOAT32), TUTTI_SUCCESS);
  options_.codec = codec;
  EXPECT_EQ(all_reduce_list(ins, outs, counts_), TUTTI_UNSUPPORTED);
  EXPECT_THAT(tutti_last_error(comm_), HasSubstr("a codec serves one tensor, not a list"));
  EXPECT_EQ(tutti_codec_destroy(codec), TUTTI_SUCCESS);
  world_.run([](int, tutti_comm* comm) {  // of nothing
    EXPECT_TRUE(succeeded(tutti_all_reduce_list(comm, nullptr, nullptr, nullptr, 0, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
  });
}

TEST_F(Arguments, NoAveragesOfScans) {
  EXPECT_EQ(tutti_scan(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_AVG, nullptr), TUTTI_UNSUPPORTED);
  EXPECT_THAT(tutti_last_error(comm_), HasSubstr("there is no avg of scans"));
  EXPECT_EQ(tutti_exscan(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_AVG, nullptr), TUTTI_UNSUPPORTED);
}

TEST_F(Arguments, FactorsThatDoNotGo) {
  const double factor = 2;
  options_.factor = &factor;
  const auto unsupported = [&](tutti_status status, const char* why) {
    EXPECT_EQ(status, TUTTI_UNSUPPORTED);
    EXPECT_THAT(tutti_last_error(comm_), HasSubstr(why));
  };
  unsupported(tutti_all_gather(comm_, a_, b_, 4, TUTTI_FLOAT32, &options_), "a factor goes with reductions only");
  unsupported(tutti_barrier(comm_, &options_), "a factor goes with");
  unsupported(tutti_all_reduce(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_MAX, &options_), "with sum and avg, not with max");
  unsupported(tutti_reduce(comm_, a_, b_, 4, TUTTI_INT32, TUTTI_SUM, 0, &options_), "floating point types, not with int32");
  tutti_codec* codec = nullptr;
  ASSERT_EQ(tutti_codec_create(&codec, "int8", 4, TUTTI_FLOAT32), TUTTI_SUCCESS);
  options_.codec = codec;
  unsupported(tutti_all_reduce(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, &options_), "a factor does not go with a codec");
  EXPECT_EQ(tutti_codec_destroy(codec), TUTTI_SUCCESS);
}

// Each rank's own, none after some and other ones in calls that are alike otherwise; small enough to be exchanged flat.
TEST_F(Arguments, FactorsAreOfEachCall) {
  world_.run([](int rank, tutti_comm* comm) {
    tutti_call_options options;
    tutti_call_options_init(&options);
    for (int turn = 0; turn < 20; ++turn) {
      const float input = 3;
      float output = -1;
      const double factor = rank + turn + 0.25;
      options.factor = turn % 3 == 1 ? nullptr : &factor;
      const tutti_call_options* given = turn % 3 == 2 && rank == 1 ? nullptr : &options;
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, &input, &output, 1, TUTTI_FLOAT32, TUTTI_SUM, given), comm));
      const auto t = static_cast<float>(turn);
      EXPECT_EQ(output, turn % 3 == 1 ? 6 : turn % 3 == 2 ? 3 * (t + 0.25f) + 3 : 3 * (2 * t + 1.5f)) << turn;
      EXPECT_EQ(input, 3);
    }
  });
}

TEST_F(Arguments, RootsAndPeersOutOfRange) {
  for (const int bad : {-1, 2, 1'000'000}) {
    REFUSED(tutti_broadcast(comm_, a_, b_, 4, TUTTI_FLOAT32, bad, nullptr));
    REFUSED(tutti_reduce(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, bad, nullptr));
    REFUSED(tutti_gather(comm_, a_, b_, 4, TUTTI_FLOAT32, bad, nullptr));
    REFUSED(tutti_scatter(comm_, a_, b_, 4, TUTTI_FLOAT32, bad, nullptr));
    REFUSED(tutti_send(comm_, a_, 4, TUTTI_FLOAT32, bad, 0, nullptr));
    REFUSED(tutti_recv(comm_, a_, 4, TUTTI_FLOAT32, bad == TUTTI_ANY_SOURCE ? -2 : bad, 0, nullptr));
  }
}

TEST_F(Arguments, BuffersThatOverlapOtherThanInPlace) {
  REFUSED(tutti_all_reduce(comm_, a_, a_ + 1, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_all_reduce(comm_, a_ + 3, a_, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_reduce_scatter(comm_, a_, a_ + 4, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));  // rank 1's place
  REFUSED(tutti_reduce_scatter_v(comm_, a_, a_ + 1, counts_, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_all_gather(comm_, a_ + 4, a_, 4, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_gather_v(comm_, a_ + 1, a_, counts_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_broadcast(comm_, a_ + 1, a_, 4, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_reduce(comm_, a_ + 1, a_, 4, TUTTI_FLOAT32, TUTTI_SUM, 0, nullptr));
  REFUSED(tutti_gather(comm_, a_ + 4, a_, 4, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_scatter(comm_, a_, a_ + 4, 4, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_all_to_all(comm_, a_, a_ + 1, 4, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all(comm_, a_, a_ + 7, 4, TUTTI_FLOAT32, nullptr));
  // In place only if what goes to a rank lies where what comes from it will.
  const size_t more[2] = {3, 3}, later[2] = {1, 4};
  REFUSED(tutti_all_to_all_v(comm_, a_, counts_, offsets_, a_, more, offsets_, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_v(comm_, a_, counts_, offsets_, a_, counts_, later, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_v(comm_, a_, counts_, offsets_, a_ + 1, counts_, offsets_, TUTTI_FLOAT32, nullptr));
  EXPECT_THAT(tutti_last_error(comm_), HasSubstr("overlap, and it is not in place"));
}

TEST_F(Arguments, CountsWhoseBytesOverflow) {
  constexpr size_t kHuge = std::numeric_limits<size_t>::max() / 4;
  size_t huge_counts[2] = {kHuge, kHuge};
  REFUSED(tutti_all_reduce(comm_, a_, b_, kHuge, TUTTI_FLOAT64, TUTTI_SUM, nullptr));
  REFUSED(tutti_reduce_scatter(comm_, a_, b_, kHuge, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_reduce_scatter_v(comm_, a_, b_, huge_counts, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_all_gather(comm_, a_, b_, kHuge, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_gather_v(comm_, a_, b_, huge_counts, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_broadcast(comm_, a_, b_, kHuge, TUTTI_FLOAT64, 0, nullptr));
  REFUSED(tutti_gather(comm_, a_, b_, kHuge, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_scatter(comm_, a_, b_, kHuge, TUTTI_FLOAT32, 0, nullptr));
  REFUSED(tutti_all_to_all(comm_, a_, b_, kHuge, TUTTI_FLOAT32, nullptr));
  REFUSED(tutti_all_to_all_v(comm_, a_, huge_counts, offsets_, b_, huge_counts, offsets_, TUTTI_FLOAT64, nullptr));
  REFUSED(tutti_send(comm_, a_, kHuge, TUTTI_FLOAT64, 1, 0, nullptr));
}

// Sizes that no version of the struct has: too small, too large, not a multiple of its alignment.
constexpr size_t kBadSizes[] = {0, 1, sizeof(size_t), sizeof(size_t) + 9, 4104, size_t{1} << 40, SIZE_MAX};

TEST_F(Arguments, OptionsOfNoVersion) {
  for (const size_t bad : kBadSizes) {
    options_.struct_size = bad;
    REFUSED(tutti_all_reduce(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, &options_));
    EXPECT_THAT(tutti_last_error(comm_), testing::HasSubstr("tutti_call_options.struct_size is " + std::to_string(bad)));
    REFUSED(tutti_barrier(comm_, &options_));
  }
}

TEST_F(Arguments, StatisticsOfNoVersion) {
  for (const size_t bad : kBadSizes) {
    tutti_stats stats;
    std::memset(static_cast<void*>(&stats), 0x5A, sizeof stats);
    stats.struct_size = bad;
    REFUSED(tutti_comm_stats(comm_, &stats));
    EXPECT_EQ(stats.struct_size, bad);
    EXPECT_EQ(stats.operations, 0x5A5A5A5A5A5A5A5Au) << "written all the same";
  }
}

// A binding without the header calls the functions that are macros in C; they fill the library's own struct.
TEST(Library, InitializersAreFunctionsToo) {
  tutti_config config;
  (tutti_config_init)(&config);
  EXPECT_EQ(config.struct_size, sizeof config);
  EXPECT_EQ(config.rank, -1);
  tutti_call_options options;
  (tutti_call_options_init)(&options);
  EXPECT_EQ(options.struct_size, sizeof options);
  EXPECT_EQ(options.codec, nullptr);
  tutti_codec_config codec;
  (tutti_codec_config_init)(&codec);
  EXPECT_EQ(codec.struct_size, sizeof codec);
  EXPECT_EQ(codec.masking, -1);
  tutti_config_init_sized(nullptr, sizeof config);
  config.rank = 5;
  tutti_config_init_sized(&config, 8);  // too small to be one: nothing is written
  EXPECT_EQ(config.rank, 5);
}

TEST_F(Arguments, NegativeTimeout) {
  options_.timeout_ms = -1;
  REFUSED(tutti_all_reduce(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, &options_));
}

TEST_F(Arguments, UnknownAlgorithmSuggestsTheNearest) {
  options_.algorithm = "rnig";
  REFUSED(tutti_all_reduce(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, &options_));
  EXPECT_THAT(tutti_last_error(comm_), HasSubstr("ring"));
  options_.algorithm = "recursiv";
  REFUSED(tutti_all_reduce(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, &options_));
  EXPECT_THAT(tutti_last_error(comm_), HasSubstr("recursive"));
}

TEST_F(Arguments, StartsAreCheckedAsTheBlockingCalls) {
  const auto none = [&] { EXPECT_EQ(request_, nullptr); };
  REFUSED(tutti_all_reduce_start(comm_, nullptr, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr, &request_)), none();
  REFUSED(tutti_all_reduce_start(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr, nullptr));
  REFUSED(tutti_reduce_scatter_start(comm_, a_, a_ + 1, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr, &request_)), none();
  REFUSED(tutti_reduce_scatter_v_start(comm_, a_, b_, nullptr, TUTTI_FLOAT32, TUTTI_SUM, nullptr, &request_)), none();
  REFUSED(tutti_all_gather_start(comm_, a_, nullptr, 4, TUTTI_FLOAT32, nullptr, &request_)), none();
  REFUSED(tutti_all_gather_v_start(comm_, a_, b_, nullptr, TUTTI_FLOAT32, nullptr, &request_)), none();
  REFUSED(tutti_broadcast_start(comm_, a_, b_, 4, TUTTI_FLOAT32, 2, nullptr, &request_)), none();
  REFUSED(tutti_reduce_start(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, -1, nullptr, &request_)), none();
  REFUSED(tutti_gather_start(comm_, a_, b_, 4, TUTTI_FLOAT32, 2, nullptr, &request_)), none();
  REFUSED(tutti_scatter_start(comm_, a_, b_, 4, TUTTI_FLOAT32, 2, nullptr, &request_)), none();
  REFUSED(tutti_all_to_all_start(comm_, a_, a_ + 1, 4, TUTTI_FLOAT32, nullptr, &request_)), none();
  REFUSED(tutti_all_to_all_v_start(comm_, a_, nullptr, offsets_, b_, counts_, offsets_, TUTTI_FLOAT32, nullptr, &request_)), none();
  REFUSED(tutti_barrier_start(comm_, nullptr, nullptr));
  REFUSED(tutti_send_start(comm_, a_, 4, TUTTI_FLOAT32, 2, 0, nullptr, &request_)), none();
  REFUSED(tutti_recv_start(comm_, a_, 4, TUTTI_FLOAT32, 2, 0, nullptr, &request_)), none();
  REFUSED(tutti_group_end_start(comm_, &request_)), none();
}

TEST_F(Arguments, GroupsBeginAndEndInPairs) {
  REFUSED(tutti_group_end(comm_));
  ASSERT_EQ(tutti_group_begin(comm_), TUTTI_SUCCESS);
  REFUSED(tutti_group_begin(comm_));
  REFUSED(tutti_all_reduce(comm_, a_, b_, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  REFUSED(tutti_barrier(comm_, nullptr));
  EXPECT_TRUE(succeeded(tutti_group_end(comm_), comm_));
}

TEST_F(Arguments, OtherCalls) {
  void* memory = nullptr;
  REFUSED(tutti_comm_split(comm_, 0, 0, nullptr));
  tutti_comm* child = nullptr;
  REFUSED(tutti_comm_split(comm_, -2, 0, &child));
  REFUSED(tutti_alloc(comm_, 100, nullptr));
  REFUSED(tutti_alloc_device(comm_, 100, nullptr));
  REFUSED(tutti_free(comm_, a_));
  REFUSED(tutti_comm_stats(comm_, nullptr));
  tutti_stats stats;
  stats.struct_size = 4;
  REFUSED(tutti_comm_stats(comm_, &stats));
  ASSERT_TRUE(succeeded(tutti_alloc(comm_, 100, &memory), comm_));
  EXPECT_TRUE(succeeded(tutti_free(comm_, memory), comm_));
}

TEST_F(Arguments, MoreMemoryThanThereIs) {
  void* memory = nullptr;
  EXPECT_EQ(tutti_alloc(comm_, size_t{1} << 62, &memory), TUTTI_OUT_OF_MEMORY);
  EXPECT_EQ(memory, nullptr);
  EXPECT_GT(std::strlen(tutti_last_error(comm_)), 10u);
}

TEST_F(Arguments, NothingToDoNeedsNoBuffers) {
  world_.run([](int, tutti_comm* comm) {
    EXPECT_TRUE(succeeded(tutti_all_reduce(comm, nullptr, nullptr, 0, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
    EXPECT_TRUE(succeeded(tutti_all_gather(comm, nullptr, nullptr, 0, TUTTI_FLOAT32, nullptr), comm));
    EXPECT_TRUE(succeeded(tutti_broadcast(comm, nullptr, nullptr, 0, TUTTI_FLOAT32, 1, nullptr), comm));
  });
}

TEST_F(Arguments, BuffersNotNeededAtThisRankMayBeMissing) {
  world_.run([](int rank, tutti_comm* comm) {
    float in[2] = {1, 2}, out[4] = {};
    const bool root = rank == 1;
    EXPECT_TRUE(succeeded(tutti_broadcast(comm, root ? in : nullptr, out, 2, TUTTI_FLOAT32, 1, nullptr), comm));
    EXPECT_EQ(out[1], 2);
    EXPECT_TRUE(succeeded(tutti_reduce(comm, in, root ? out : nullptr, 2, TUTTI_FLOAT32, TUTTI_SUM, 1, nullptr), comm));
    EXPECT_EQ(out[1], root ? 4 : 2);
    EXPECT_TRUE(succeeded(tutti_gather(comm, in, root ? out : nullptr, 2, TUTTI_FLOAT32, 1, nullptr), comm));
    EXPECT_EQ(out[3], root ? 2 : 0);
    EXPECT_TRUE(succeeded(tutti_scatter(comm, root ? out : nullptr, in, 2, TUTTI_FLOAT32, 1, nullptr), comm));
    EXPECT_EQ(in[1], 2);
  });
}

// ---- calls without a communicator ----

TEST(NoCommunicator, EveryCallRefuses) {
  float a[4] = {}, b[4] = {};
  size_t counts[1] = {1}, offsets[1] = {0};
  void* memory = nullptr;
  tutti_comm* child = nullptr;
  tutti_request* request = nullptr;
  tutti_stats stats;
  stats.struct_size = sizeof stats;
  EXPECT_EQ(tutti_all_reduce(nullptr, a, b, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_GT(std::strlen(tutti_last_error(nullptr)), 10u);
  EXPECT_EQ(tutti_all_reduce_start(nullptr, a, b, 4, TUTTI_FLOAT32, TUTTI_SUM, nullptr, &request), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_reduce_scatter(nullptr, a, b, 1, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_reduce_scatter_v(nullptr, a, b, counts, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_all_gather(nullptr, a, b, 1, TUTTI_FLOAT32, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_all_gather_v(nullptr, a, b, counts, TUTTI_FLOAT32, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_broadcast(nullptr, a, b, 1, TUTTI_FLOAT32, 0, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_reduce(nullptr, a, b, 1, TUTTI_FLOAT32, TUTTI_SUM, 0, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_gather(nullptr, a, b, 1, TUTTI_FLOAT32, 0, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_scatter(nullptr, a, b, 1, TUTTI_FLOAT32, 0, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_all_to_all(nullptr, a, b, 1, TUTTI_FLOAT32, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_all_to_all_v(nullptr, a, counts, offsets, b, counts, offsets, TUTTI_FLOAT32, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_barrier(nullptr, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_send(nullptr, a, 1, TUTTI_FLOAT32, 0, 0, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_recv(nullptr, a, 1, TUTTI_FLOAT32, 0, 0, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_group_begin(nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_group_end(nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_comm_split(nullptr, 0, 0, &child), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_comm_abort(nullptr, "reason"), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_comm_stats(nullptr, &stats), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_alloc(nullptr, 1, &memory), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_alloc_device(nullptr, 1, &memory), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_free(nullptr, a), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_comm_destroy(nullptr), TUTTI_SUCCESS);
}

TEST(NoCommunicator, WrongCreations) {
  tutti_comm* comm = reinterpret_cast<tutti_comm*>(8);
  tutti_comm* comms[2] = {comm, comm};
  EXPECT_EQ(tutti_comm_create(nullptr, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_comm_create_local(nullptr, 2), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_comm_create_local(comms, 0), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_comm_create_local(comms, -3), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_get_unique_id(nullptr), TUTTI_INVALID_ARGUMENT);
  tutti_config config;
  const auto refuse = [&](const char* what) {
    EXPECT_EQ(tutti_comm_create(&comm, &config), TUTTI_INVALID_ARGUMENT) << what;
    EXPECT_EQ(comm, nullptr) << what;
    EXPECT_GT(std::strlen(tutti_last_error(nullptr)), 10u) << what;
    tutti_config_init(&config);
    config.rank = 0, config.size = 2, config.store = "file:/tmp/never-made";
  };
  tutti_config_init(&config);
  config.struct_size = 3;
  refuse("struct_size");
  config.rank = 2;
  refuse("rank beyond size");
  config.size = 0;
  refuse("no ranks");
  config.store = "file:";
  refuse("no path");
  config.store = "localhost";
  refuse("no port");
  config.store = "localhost:99999";
  refuse("port out of range");
  config.store = nullptr;
  config.size = 2;
  refuse("nowhere to meet");
}

TEST(Library, VersionAndStatusStrings) {
  EXPECT_STREQ(tutti_version(), "0.1.0");
  EXPECT_STREQ(tutti_status_string(TUTTI_PEER_LOST), "peer lost");
  for (int status = TUTTI_SUCCESS; status <= TUTTI_INTERNAL + 1; ++status) {
    EXPECT_NE(tutti_status_string(static_cast<tutti_status>(status)), nullptr);
  }
}

}  // namespace
}  // namespace tutti::test

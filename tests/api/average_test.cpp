// Averages of 16-bit floats are computed in float32 and rounded once, by every algorithm of every collective: no
// partial sum is rounded or leaves the type's range on the way.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "element_types.h"
#include "local_world.h"

namespace tutti::test {
namespace {

enum class Reduction { all_reduce, reduce, reduce_scatter, reduce_scatter_v };

struct Way {
  Reduction kind;
  const char* algorithm;  // null: chosen
  bool in_place, asynchronous;
};

std::vector<Way> ways() {
  std::vector<Way> ways;
  const auto add = [&](Reduction kind, std::vector<const char*> names) {
    for (size_t i = 0; i < names.size(); ++i) ways.push_back({kind, names[i], i % 2 == 1, i % 3 == 1});
  };
  add(Reduction::all_reduce, {nullptr, "ring", "tree", "recursive", "doubling", "direct", "hierarchical", nullptr});
  add(Reduction::reduce, {nullptr, "ring", "tree", "recursive", "direct", "hierarchical", nullptr});
  add(Reduction::reduce_scatter, {nullptr, "ring", "recursive", "direct", "hierarchical", nullptr});
  add(Reduction::reduce_scatter_v, {nullptr, "ring", "recursive", "direct", "hierarchical", nullptr});
  return ways;
}

template <class T>
constexpr tutti_dtype kDtype = std::is_same_v<T, Half> ? TUTTI_FLOAT16 : TUTTI_BFLOAT16;

// The contribution of each rank to each element, and whether the average is one of the type's numbers.
template <class T>
struct SmallValues {
  const char* name;
  T (*contribution)(int rank, size_t i);
  bool exact;
};

template <class T>
std::vector<SmallValues<T>> all_values() {
  using V = SmallValues<T>;
  std::vector<V> values = {
      V{"the least", [](int, size_t) { return T{1}; }, true},
      V{"ones and a great number", [](int rank, size_t) { return T::narrow(rank == 0 ? 256 : 1); }, false},
      V{"mixed signs",
        [](int rank, size_t i) { return T::narrow((rank % 2 ? -1 : 1) * (50000.0 + static_cast<double>(i % 99))); }, false},
      V{"random",
        [](int rank, size_t i) {
          std::minstd_rand random(static_cast<uint32_t>(i * 64 + static_cast<size_t>(rank) + 1));
          random.discard(2);
          return T::narrow((static_cast<double>(random() % 20001) - 10000) / 4096);
        },
        false},
  };
  if constexpr (std::is_same_v<T, Half>) {
    values.push_back(V{"the greatest", [](int, size_t i) { return T::narrow(i % 2 ? 65504 : -65504); }, true});
    values.push_back(V{"60000", [](int, size_t) { return T::narrow(60000); }, true});
  } else {
    values.push_back(V{"great", [](int, size_t) { return T::narrow(0x1.Fp124); }, true});
  }
  return values;
}

tutti_status average(tutti_comm* comm, const Way& way, const void* in, void* out, size_t count, const size_t* counts,
                     tutti_dtype dtype) {
  tutti_call_options options;
  tutti_call_options_init(&options);
  options.algorithm = way.algorithm;
  const tutti_op op = TUTTI_AVG;
  tutti_request* request = nullptr;
  tutti_status status = TUTTI_SUCCESS;
  switch (way.kind) {
    case Reduction::all_reduce:
      if (!way.asynchronous) return tutti_all_reduce(comm, in, out, count, dtype, op, &options);
      status = tutti_all_reduce_start(comm, in, out, count, dtype, op, &options, &request);
      break;
    case Reduction::reduce:
      if (!way.asynchronous) return tutti_reduce(comm, in, out, count, dtype, op, 0, &options);
      status = tutti_reduce_start(comm, in, out, count, dtype, op, 0, &options, &request);
      break;
    case Reduction::reduce_scatter:
      if (!way.asynchronous) return tutti_reduce_scatter(comm, in, out, count, dtype, op, &options);
      status = tutti_reduce_scatter_start(comm, in, out, count, dtype, op, &options, &request);
      break;
    case Reduction::reduce_scatter_v:
      if (!way.asynchronous) return tutti_reduce_scatter_v(comm, in, out, counts, dtype, op, &options);
      status = tutti_reduce_scatter_v_start(comm, in, out, counts, dtype, op, &options, &request);
      break;
  }
  return status == TUTTI_SUCCESS ? tutti_wait(request) : status;
}

template <class T>
void expect_average(const LocalWorld& world, const Way& way, const SmallValues<T>& values, size_t count) {
  const int size = world.size();
  const auto p = static_cast<size_t>(size);
  std::vector<size_t> counts(p, count);  // of reduce_scatter_v: shorter and shorter
  for (size_t r = 0; r < p; ++r) counts[r] -= std::min(counts[r], way.kind == Reduction::reduce_scatter_v ? 3 * r : 0);
  const bool scatters = way.kind == Reduction::reduce_scatter || way.kind == Reduction::reduce_scatter_v;
  size_t total = 0;
  for (const size_t part : counts) total += part;
  if (!scatters) total = count;
  std::vector<std::vector<T>> outputs(p);
  world.run([&](int rank, tutti_comm* comm) {
    const auto me = static_cast<size_t>(rank);
    std::vector<T> input(total);
    for (size_t i = 0; i < total; ++i) input[i] = values.contribution(rank, i);
    size_t begin = 0;
    for (size_t r = 0; scatters && r < me; ++r) begin += counts[r];
    const size_t mine = scatters ? counts[me] : way.kind == Reduction::reduce && rank != 0 ? 0 : total;
    std::vector<T> apart(mine, T{0x1234});
    const bool in_place = way.in_place && mine > 0;
    T* const output = in_place ? input.data() + begin : apart.data();
    ASSERT_TRUE(succeeded(average(comm, way, input.data(), output, count, counts.data(), kDtype<T>), comm));
    outputs[me].assign(output, output + mine);
    for (size_t i = 0; i < mine; ++i) {
      double sum = 0;
      for (int r = 0; r < size; ++r) sum += values.contribution(r, begin + i).widen();
      const double wanted = sum / size, found = output[i].widen();
      const T rounded = T::narrow(wanted);
      const double next = std::fabs(T{static_cast<uint16_t>((rounded.bits & 0x7FFF) + 1)}.widen()) - std::fabs(rounded.widen());
      if (values.exact) {
        ASSERT_EQ(output[i].bits, rounded.bits) << "element " << i << " is " << found << ", not " << wanted;
      } else {
        ASSERT_NEAR(found, wanted, next) << "element " << i;
      }
    }
  });
  if (way.kind != Reduction::all_reduce) return;
  for (const auto& output : outputs) ASSERT_EQ(std::memcmp(output.data(), outputs[0].data(), total * sizeof(T)), 0);
}

class AverageTest : public testing::TestWithParam<int> {
 protected:
  template <class T>
  void expect_averages() {
    for (const Way& way : ways())
      for (const SmallValues<T>& values : all_values<T>())
        for (const size_t count : {size_t{1}, size_t{1000}, size_t{20'011}}) {
          SCOPED_TRACE(std::string(values.name) + ", kind " + std::to_string(static_cast<int>(way.kind)) + " by " +
                       (way.algorithm ? way.algorithm : "choice") + ", " + std::to_string(count) + " elements");
          expect_average(world_, way, values, count);
          if (HasFailure()) return;
        }
  }
  const LocalWorld world_{GetParam()};
};

TEST_P(AverageTest, Float16) { expect_averages<Half>(); }
TEST_P(AverageTest, BFloat16) { expect_averages<BFloat16>(); }

// Between ranks of one host no call is widened unless somebody asked for another algorithm.
TEST_P(AverageTest, OneHostReducesInOneGo) {
  world_.run([](int, tutti_comm* comm) {
    const std::vector<Half> input(50'000, Half::narrow(60000));
    std::vector<Half> output(input.size());
    ASSERT_TRUE(
        succeeded(tutti_all_reduce(comm, input.data(), output.data(), input.size(), TUTTI_FLOAT16, TUTTI_AVG, nullptr), comm));
    EXPECT_EQ(output.back().bits, input.back().bits);
    tutti_stats stats;
    stats.struct_size = sizeof stats;
    ASSERT_TRUE(succeeded(tutti_comm_stats(comm, &stats), comm));
    if (GetParam() > 2) {
      EXPECT_STREQ(stats.last_algorithm, "direct");
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, AverageTest, testing::Values(2, 3, 5));

}  // namespace
}  // namespace tutti::test

// The caller's own reduction: logical operators, the least and the greatest with their places, large items; by every
// algorithm.  (Items of three elements: the matrix, over every transport.)

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cases.h"
#include "local_world.h"
#include "test_call.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;

template <class Item, class Function>
void combine_each(const void* left, const void* right, void* result, size_t count, Function function) {
  for (size_t i = 0; i < count; ++i) {
    Item a, b;
    std::memcpy(&a, static_cast<const Item*>(left) + i, sizeof a);
    std::memcpy(&b, static_cast<const Item*>(right) + i, sizeof b);
    const Item combined = function(a, b);
    std::memcpy(static_cast<Item*>(result) + i, &combined, sizeof combined);
  }
}

void logical_and(const void* left, const void* right, void* result, size_t count, void*) {
  combine_each<int32_t>(left, right, result, count, [](int32_t a, int32_t b) { return a != 0 && b != 0 ? 1 : 0; });
}

void logical_or(const void* left, const void* right, void* result, size_t count, void*) {
  combine_each<int32_t>(left, right, result, count, [](int32_t a, int32_t b) { return a != 0 || b != 0 ? 1 : 0; });
}

struct Place {
  float value, rank;
  bool operator==(const Place&) const = default;
};

Place better(Place a, Place b, bool greatest) {
  if (a.value == b.value) return a.rank < b.rank ? a : b;
  return (a.value > b.value) == greatest ? a : b;
}

// context: bool, the greatest.
void find_place(const void* left, const void* right, void* result, size_t count, void* context) {
  const bool greatest = *static_cast<bool*>(context);
  combine_each<Place>(left, right, result, count, [greatest](Place a, Place b) { return better(a, b, greatest); });
}

// context: bytes of an item.
void add_bytes(const void* left, const void* right, void* result, size_t count, void* context) {
  const size_t bytes = count * *static_cast<size_t*>(context);
  for (size_t i = 0; i < bytes; ++i)
    static_cast<uint8_t*>(result)[i] =
        static_cast<uint8_t>(static_cast<const uint8_t*>(left)[i] + static_cast<const uint8_t*>(right)[i]);
}

int32_t truth(int rank, size_t i, int size) { return i % 3 == 0 ? 7 : i % 3 == 1 ? 0 : static_cast<int>(i) % size == rank ? 1 : 0; }
Place place_of(int rank, size_t i) {
  return {static_cast<float>(random_word(3, static_cast<uint64_t>(rank), i) % 5), static_cast<float>(rank)};
}

std::vector<std::string> with_default(std::vector<std::string> names) {
  names.insert(names.begin(), "");
  return names;
}

class Options {
 public:
  Options(const tutti_reduction& reduction, const std::string& algorithm) {
    tutti_call_options_init(&options_);
    options_.reduction = &reduction;
    if (!algorithm.empty()) options_.algorithm = algorithm.c_str();
  }
  const tutti_call_options* get() const { return &options_; }

 private:
  tutti_call_options options_;
};

TEST(Custom, LogicalOperators) {
  for (const int size : {1, 2, 3, 5, 8}) {
    const LocalWorld world(size);
    ASSERT_EQ(world.size(), size);
    for (const std::string& algorithm : with_default(algorithms_of(Kind::all_reduce))) {
      for (const size_t count : {size_t{1}, size_t{17}, size_t{30'001}}) {
        world.run([&](int rank, tutti_comm* comm) {
          std::vector<int32_t> input(count), all(count), any(count);
          for (size_t i = 0; i < count; ++i) input[i] = truth(rank, i, size);
          const tutti_reduction conjunction{logical_and, nullptr, 1}, disjunction{logical_or, nullptr, 1};
          ASSERT_TRUE(succeeded(tutti_all_reduce(comm, input.data(), all.data(), count, TUTTI_INT32, TUTTI_CUSTOM,
                                                 Options(conjunction, algorithm).get()),
                                comm));
          ASSERT_TRUE(succeeded(tutti_all_reduce(comm, input.data(), any.data(), count, TUTTI_INT32, TUTTI_CUSTOM,
                                                 Options(disjunction, algorithm).get()),
                                comm));
          for (size_t i = 0; i < count; ++i) {  // one rank alone keeps its input as it is
            ASSERT_EQ(all[i] != 0, i % 3 == 0 || (i % 3 == 2 && size == 1)) << algorithm << ", element " << i;
            ASSERT_EQ(any[i] != 0, i % 3 != 1) << algorithm << ", element " << i;
          }
        });
      }
    }
  }
}

// MPI_MAXLOC and MPI_MINLOC, in place, by all_reduce, reduce_scatter and scans.
TEST(Custom, TheGreatestAndTheLeastWithTheirPlaces) {
  constexpr size_t kItems = 4'099;
  for (const int size : {2, 3, 7}) {
    const LocalWorld world(size);
    ASSERT_EQ(world.size(), size);
    for (bool greatest : {false, true}) {
      const tutti_reduction reduction{find_place, &greatest, 2};
      const auto wanted = [&](int ranks, size_t i) {
        Place best = place_of(0, i);
        for (int rank = 1; rank < ranks; ++rank) best = better(best, place_of(rank, i), greatest);
        return best;
      };
      const auto items_of = [](int rank, size_t n) {
        std::vector<Place> items(n);
        for (size_t i = 0; i < n; ++i) items[i] = place_of(rank, i);
        return items;
      };
      for (const std::string& algorithm : with_default(algorithms_of(Kind::all_reduce))) {
        world.run([&](int rank, tutti_comm* comm) {
          auto items = items_of(rank, kItems);
          ASSERT_TRUE(succeeded(tutti_all_reduce(comm, items.data(), items.data(), 2 * kItems, TUTTI_FLOAT32, TUTTI_CUSTOM,
                                                 Options(reduction, algorithm).get()),
                                comm));
          for (size_t i = 0; i < kItems; ++i) ASSERT_EQ(items[i], wanted(size, i)) << algorithm << ", item " << i;
        });
      }
      for (const std::string& algorithm : with_default(algorithms_of(Kind::reduce_scatter))) {
        world.run([&](int rank, tutti_comm* comm) {
          const auto items = items_of(rank, kItems * static_cast<size_t>(size));
          std::vector<Place> mine(kItems);
          ASSERT_TRUE(succeeded(tutti_reduce_scatter(comm, items.data(), mine.data(), 2 * kItems, TUTTI_FLOAT32, TUTTI_CUSTOM,
                                                     Options(reduction, algorithm).get()),
                                comm));
          for (size_t i = 0; i < kItems; ++i)
            ASSERT_EQ(mine[i], wanted(size, static_cast<size_t>(rank) * kItems + i)) << algorithm << ", item " << i;
        });
      }
      for (const std::string& algorithm : with_default(algorithms_of(Kind::scan))) {
        world.run([&](int rank, tutti_comm* comm) {
          auto items = items_of(rank, kItems);
          ASSERT_TRUE(succeeded(tutti_scan(comm, items.data(), items.data(), 2 * kItems, TUTTI_FLOAT32, TUTTI_CUSTOM,
                                           Options(reduction, algorithm).get()),
                                comm));
          for (size_t i = 0; i < kItems; ++i) ASSERT_EQ(items[i], wanted(rank + 1, i)) << algorithm << ", item " << i;
        });
      }
    }
  }
}

TEST(Custom, ItemsOfManyBytes) {
  const LocalWorld world(5);
  ASSERT_EQ(world.size(), 5);
  for (size_t bytes : {size_t{65}, size_t{1000}, size_t{16'385}}) {
    for (const std::string& algorithm : with_default(algorithms_of(Kind::all_reduce))) {
      world.run([&](int rank, tutti_comm* comm) {
        const tutti_reduction reduction{add_bytes, &bytes, bytes};
        std::vector<uint8_t> data(bytes * 23);
        for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(i % 31 + static_cast<size_t>(rank));
        ASSERT_TRUE(succeeded(tutti_all_reduce(comm, data.data(), data.data(), data.size(), TUTTI_UINT8, TUTTI_CUSTOM,
                                               Options(reduction, algorithm).get()),
                              comm));
        for (size_t i = 0; i < data.size(); ++i) ASSERT_EQ(data[i], static_cast<uint8_t>(5 * (i % 31) + 10)) << algorithm << i;
      });
    }
  }
}

TEST(Custom, WhatDoesNotGoIsRefused) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  tutti_comm* const comm = world.comm(0);
  float a[64] = {}, b[64] = {};
  const auto refused = [&](tutti_status wanted, const tutti_call_options* options, tutti_op op, size_t count, const char* why) {
    EXPECT_EQ(tutti_all_reduce(comm, a, b, count, TUTTI_FLOAT32, op, options), wanted);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr(why));
  };
  const tutti_reduction pairs{find_place, nullptr, 2}, none{nullptr, nullptr, 1}, empty{find_place, nullptr, 0},
      huge{find_place, nullptr, SIZE_MAX / 2};
  refused(TUTTI_INVALID_ARGUMENT, nullptr, TUTTI_CUSTOM, 4, "takes a reduction in the call's options");
  refused(TUTTI_INVALID_ARGUMENT, Options(none, "").get(), TUTTI_CUSTOM, 4, "takes a reduction in the call's options");
  refused(TUTTI_INVALID_ARGUMENT, Options(empty, "").get(), TUTTI_CUSTOM, 4, "a width of 1 or more");
  refused(TUTTI_INVALID_ARGUMENT, Options(huge, "").get(), TUTTI_CUSTOM, 4, "is too large");
  refused(TUTTI_INVALID_ARGUMENT, Options(pairs, "").get(), TUTTI_SUM, 4, "goes with op TUTTI_CUSTOM only");
  refused(TUTTI_INVALID_ARGUMENT, Options(pairs, "").get(), TUTTI_CUSTOM, 5, "no multiple of the reduction's width, 2");
  refused(TUTTI_UNSUPPORTED, Options(pairs, "flat").get(), TUTTI_CUSTOM, 4, "the library's own operators only");
  const size_t counts[] = {2, 3};
  EXPECT_EQ(tutti_reduce_scatter_v(comm, a, b, counts, TUTTI_FLOAT32, TUTTI_CUSTOM, Options(pairs, "").get()),
            TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_all_gather(comm, a, b, 2, TUTTI_FLOAT32, Options(pairs, "").get()), TUTTI_INVALID_ARGUMENT);
  std::vector<float> large(1 << 20);
  const tutti_reduction too_large{find_place, nullptr, large.size()};
  EXPECT_EQ(
      tutti_all_reduce(comm, large.data(), large.data(), large.size(), TUTTI_FLOAT32, TUTTI_CUSTOM, Options(too_large, "").get()),
      TUTTI_UNSUPPORTED);
  EXPECT_THAT(tutti_last_error(comm), HasSubstr("TUTTI_SLOT_BYTES makes larger slots"));
  world.run([](int rank, tutti_comm* each) {  // nothing was started
    int32_t sum = rank + 1;
    ASSERT_TRUE(succeeded(tutti_all_reduce(each, &sum, &sum, 1, TUTTI_INT32, TUTTI_SUM, nullptr), each));
    EXPECT_EQ(sum, 3);
  });
}

TEST(Custom, RanksGiveTheSameWidth) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([](int rank, tutti_comm* comm) {
    bool greatest = true;
    float data[12] = {};
    const tutti_reduction reduction{find_place, &greatest, rank == 0 ? size_t{2} : size_t{4}};
    EXPECT_EQ(tutti_all_reduce(comm, data, data, 12, TUTTI_FLOAT32, TUTTI_CUSTOM, Options(reduction, "").get()), TUTTI_MISMATCH);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("float32, custom (items #"));
  });
}

}  // namespace
}  // namespace tutti::test

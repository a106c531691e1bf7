// A transport that only this program knows: it keeps the contract of links, is chosen by its name, and carries calls
// of the C API.
#include "loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <thread>

#include "arena_world.h"
#include "link_conformance.h"
#include "registry.h"
#include "tutti/tutti.h"

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class LoopWorld {
 public:
  static constexpr bool kSeesLoss = false;
  static bool available() { return true; }
  LoopWorld(int ranks, uint32_t slots, size_t slot_bytes) {
    const auto switchboard = std::make_shared<loop::Switchboard>(ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      arenas_.push_back(std::make_unique<HeapArena>(memory::ArenaShape{1, slots, slot_bytes}));
      pools_.push_back(std::make_unique<memory::ArenaPool>(arenas_.back()->arena(), 0));
      transports_.push_back(std::make_unique<loop::LoopTransport>(rank, ranks, switchboard, *pools_.back()));
    }
  }
  Transport& transport(int rank) { return *transports_[static_cast<size_t>(rank)]; }
  SlotPool& pool(int rank) { return *pools_[static_cast<size_t>(rank)]; }

 private:
  std::vector<std::unique_ptr<HeapArena>> arenas_;
  std::vector<std::unique_ptr<memory::ArenaPool>> pools_;
  std::vector<std::unique_ptr<loop::LoopTransport>> transports_;
};

// Communicators in a process where the registry has one row more.
class Loop : public testing::Test {
 protected:
  static void SetUpTestSuite() { add_transport_kind(loop::kind()); }
  void SetUp() override { ::setenv("TUTTI_TRANSPORT", "loop", 1); }
  void TearDown() override { ::unsetenv("TUTTI_TRANSPORT"); }

  // body(communicator, rank) on a thread for each rank; then all end.
  template <class Body>
  static void on_each(int size, Body body) {
    std::vector<tutti_comm*> comms(static_cast<size_t>(size));
    ASSERT_EQ(tutti_comm_create_local(comms.data(), size), TUTTI_SUCCESS) << tutti_last_error(nullptr);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank)
      threads.emplace_back([&, rank] {
        tutti_comm* const comm = comms[static_cast<size_t>(rank)];
        body(comm, rank);
        EXPECT_EQ(tutti_comm_destroy(comm), TUTTI_SUCCESS);
      });
    for (std::thread& thread : threads) thread.join();
  }

  static std::string transports(tutti_comm* comm) {
    tutti_stats stats{};
    stats.struct_size = sizeof stats;
    EXPECT_EQ(tutti_comm_stats(comm, &stats), TUTTI_SUCCESS);
    return stats.transports;
  }

  // The sum of what all ranks give, at every element.
  static void all_reduce(tutti_comm* comm, size_t count) {
    const int rank = tutti_comm_rank(comm), size = tutti_comm_size(comm);
    std::vector<int32_t> data(count);
    std::iota(data.begin(), data.end(), 1000 * rank);
    ASSERT_EQ(tutti_all_reduce(comm, data.data(), data.data(), count, TUTTI_INT32, TUTTI_SUM, nullptr), TUTTI_SUCCESS)
        << tutti_last_error(comm);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(data[i], size * static_cast<int>(i) + 1000 * size * (size - 1) / 2) << i;
  }
};

TEST_F(Loop, CarriesAllReducesOfThreads) {
  for (const int size : {1, 2, 3, 5})
    on_each(size, [size](tutti_comm* comm, int) {
      EXPECT_EQ(transports(comm), size == 1 ? "" : "loop " + std::to_string(size - 1));
      for (const size_t count : {1u, 100u, 30'000u, 300'001u}) all_reduce(comm, count);
    });
}

TEST_F(Loop, CarriesMessagesAndSplits) {
  on_each(4, [](tutti_comm* comm, int rank) {
    int32_t given = 100 + rank, got = 0;
    ASSERT_EQ(tutti_group_begin(comm), TUTTI_SUCCESS);
    ASSERT_EQ(tutti_send(comm, &given, 1, TUTTI_INT32, (rank + 1) % 4, 0, nullptr), TUTTI_SUCCESS);
    ASSERT_EQ(tutti_recv(comm, &got, 1, TUTTI_INT32, (rank + 3) % 4, 0, nullptr), TUTTI_SUCCESS);
    ASSERT_EQ(tutti_group_end(comm), TUTTI_SUCCESS) << tutti_last_error(comm);
    EXPECT_EQ(got, 100 + (rank + 3) % 4);
    tutti_comm* half = nullptr;
    ASSERT_EQ(tutti_comm_split(comm, rank % 2, 0, &half), TUTTI_SUCCESS) << tutti_last_error(comm);
    EXPECT_EQ(transports(half), "loop 1");
    all_reduce(half, 50'000);
    EXPECT_EQ(tutti_comm_destroy(half), TUTTI_SUCCESS);
  });
}

TEST_F(Loop, IsOneOfTheNamesThatTuttiTransportMayHave) {
  tutti_comm* comm = nullptr;
  ::setenv("TUTTI_TRANSPORT", "lopp", 1);
  EXPECT_EQ(tutti_comm_create_local(&comm, 1), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(nullptr),
              AllOf(HasSubstr("\"lopp\" is no transport; did you mean \"loop\"?"), HasSubstr("ucx, loop, ")));
  ::setenv("TUTTI_TRANSPORT", "^loop", 1);
  on_each(2, [](tutti_comm* pair, int) { EXPECT_EQ(transports(pair), "memory 1"); });
}

}  // namespace

INSTANTIATE_TYPED_TEST_SUITE_P(Loop, LinkConformance, testing::Types<LoopWorld>);

}  // namespace tutti

// A family of communicators has things in common: memory of any of them is lent by all, belongs to one, and outlives
// failures of others.
#include "domain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "assembly.h"
#include "clock.h"
#include "thread_bootstrap.h"

namespace tutti {
namespace {

using testing::HasSubstr;

constexpr size_t kBytes = 1 << 20;

struct FakeMember final : Domain::Member {
  bool failed() const override { return dead; }
  std::string user_of(const void* allocation) const override { return allocation == used ? "a call" : ""; }
  bool dead = false;
  const void* used = nullptr;
};

class Family : public testing::Test {
 protected:
  void SetUp() override {
    domain_.open_heap({});
    domain_.join(parent_);
    domain_.join(child_);
  }
  void end(const FakeMember& member) {
    domain_.leave(member);
    domain_.free_all_of(member);
  }
  bool is_there(void* memory) const { return domain_.heap().contains(static_cast<std::byte*>(memory), kBytes); }
  Domain domain_;
  FakeMember parent_, child_;
};

TEST_F(Family, MemoryBelongsToOneCommunicator) {
  void* const memory = domain_.allocate(parent_, kBytes);
  ASSERT_TRUE(memory);
  EXPECT_THAT(domain_.free(child_, memory).message(), HasSubstr("of tutti_alloc on another communicator"));
  EXPECT_THAT(domain_.free(parent_, static_cast<std::byte*>(memory) + 1).message(), HasSubstr("is not of tutti_alloc"));
  EXPECT_TRUE(domain_.free(parent_, memory).ok());
  EXPECT_THAT(domain_.free(parent_, memory).message(), HasSubstr("is not of tutti_alloc"));
}

TEST_F(Family, WhatAnotherCommunicatorUsesIsNotFreed) {
  void* const memory = domain_.allocate(parent_, kBytes);
  child_.used = memory;
  EXPECT_THAT(domain_.free(parent_, memory).message(), HasSubstr("in use by a call"));
  child_.dead = true;  // its calls have ended
  EXPECT_TRUE(domain_.free(parent_, memory).ok());
}

TEST_F(Family, MemoryEndsWithItsCommunicator) {
  void* const mine = domain_.allocate(parent_, kBytes);
  void* const used = domain_.allocate(parent_, kBytes);
  void* const others = domain_.allocate(child_, kBytes);
  child_.used = used;
  end(parent_);
  EXPECT_FALSE(is_there(mine));
  EXPECT_TRUE(is_there(used));  // as long as the family
  EXPECT_TRUE(is_there(others));
  EXPECT_THAT(domain_.free(child_, used).message(), HasSubstr("is not of tutti_alloc"));
  end(child_);
  EXPECT_FALSE(is_there(others));
}

// A rank that does not know of a failure yet may still write there: in the whole family the addresses are never used
// again.
TEST(DomainHeap, AddressesAreNotUsedAgainAfterAFailure) {
  constexpr size_t kPart = 64 << 20, kPage = 4096;
  const std::shared_ptr<std::byte> memory(static_cast<std::byte*>(std::aligned_alloc(2 << 20, kPart)), std::free);
  for (const bool leaves : {false, true}) {
    Domain domain;
    domain.open_heap({memory, 0, kPart});
    FakeMember parent, child;
    domain.join(parent);
    domain.join(child);
    void* const before = domain.allocate(parent, kPage);
    ASSERT_TRUE(domain.free(parent, before).ok());
    EXPECT_EQ(domain.allocate(parent, kPage), before);
    child.dead = true;
    if (leaves) domain.leave(child);
    void* const after = domain.allocate(parent, kPage);
    EXPECT_TRUE(domain.free(parent, before).ok());
    EXPECT_NE(domain.allocate(parent, kPage), before);
    EXPECT_TRUE(domain.free(parent, after).ok());
    // The dead communicator never used what was allocated after its end.
    EXPECT_EQ(domain.allocate(parent, kPage) == after, leaves);
  }
}

// Real ones, whose ranks are threads; over `shm` each of them maps the memory for itself, as processes do.
class Splits : public testing::TestWithParam<const char*> {
 protected:
  using Body = std::function<void(std::unique_ptr<Communicator>&, int)>;
  static void on_all_ranks(int size, const Body& body) {
    std::vector<std::string> warnings;
    const auto settings = load_settings({{"TUTTI_TRANSPORT", GetParam()}, {"TUTTI_TUNING", "off"}}, warnings);
    ASSERT_TRUE(settings.ok());
    auto rendezvous = ThreadRendezvous::open(size);
    ASSERT_TRUE(rendezvous.ok());
    const auto arena = make_local_arena();
    const auto run = [&](int rank) {
      AssemblyOptions options;
      options.rank = rank;
      options.size = size;
      options.name = "test";
      options.settings = *settings;
      options.bootstrap = std::make_shared<ThreadBootstrap>(*rendezvous, rank, now_ns() + 60'000'000'000);
      options.local_arena = arena;
      auto made = assemble(std::move(options));
      ASSERT_TRUE(made.ok()) << made.status().message();
      body(*made, rank);
      if (*made) {
        EXPECT_TRUE((*made)->goodbye().ok());
      }
    };
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank) threads.emplace_back(run, rank);
    for (std::thread& thread : threads) thread.join();
  }
  static bool lends(const Communicator& comm, void* memory) {
    return comm.parts().pool->reaches(static_cast<std::byte*>(memory), kBytes);
  }
};

TEST_P(Splits, LendMemoryOfTheWholeFamily) {
  on_all_ranks(5, [](std::unique_ptr<Communicator>& world, int rank) {
    void* const of_world = world->allocate(kBytes);
    auto part = split(*world, rank % 2, 0);  // of three and of two ranks
    ASSERT_TRUE(part.ok()) << part.status().message();
    EXPECT_TRUE(lends(**part, of_world));
    void* const of_part = (*part)->allocate(kBytes);
    EXPECT_TRUE(lends(*world, of_part));
    EXPECT_FALSE((*part)->free(of_world).ok());
    auto pair = split(**part, rank < 4 ? 0 : -1, 0);
    ASSERT_TRUE(pair.ok()) << pair.status().message();
    if (*pair) {
      EXPECT_TRUE(lends(**pair, of_world) && lends(**pair, of_part));
    }
    EXPECT_TRUE(world->goodbye().ok());
    world.reset();
    EXPECT_TRUE(lends(**part, of_part));
    EXPECT_FALSE(lends(**part, of_world));
    if (*pair) {
      EXPECT_TRUE((*pair)->goodbye().ok());
    }
    EXPECT_TRUE((*part)->goodbye().ok());
  });
}

INSTANTIATE_TEST_SUITE_P(Over, Splits, testing::Values("memory", "shm"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace tutti

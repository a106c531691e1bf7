// A family of communicators has things in common: memory of any of them is lent by all, belongs to one, and outlives
// failures of others.
#include "family_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <thread>

#include "assembly.h"
#include "clock.h"
#include "thread_bootstrap.h"

namespace tutti {
namespace {

using testing::HasSubstr;

constexpr size_t kBytes = 1 << 20;

struct FakeMember final : FamilyMemory::Member {
  bool failed() const override { return dead; }
  std::string user_of(const void* allocation) const override { return allocation == used ? "a call" : ""; }
  bool dead = false;
  const void* used = nullptr;
};

class Family : public testing::Test {
 protected:
  void SetUp() override {
    family_->join(parent_);
    family_->join(child_);
  }
  void end(const FakeMember& member) {
    family_->leave(member);
    family_->free_all_of(member);
  }
  bool is_there(void* memory) const { return family_->heap().contains(static_cast<std::byte*>(memory), kBytes); }
  std::shared_ptr<FamilyMemory> family_ = std::make_shared<FamilyMemory>(memory::Window());
  FakeMember parent_, child_;
};

TEST_F(Family, MemoryBelongsToOneCommunicator) {
  void* const memory = family_->allocate(parent_, {kBytes});
  ASSERT_TRUE(memory);
  EXPECT_THAT(family_->free(child_, memory).message(), HasSubstr("of tutti_alloc on another communicator"));
  EXPECT_THAT(family_->free(parent_, static_cast<std::byte*>(memory) + 1).message(), HasSubstr("is not of tutti_alloc"));
  EXPECT_TRUE(family_->free(parent_, memory).ok());
  EXPECT_THAT(family_->free(parent_, memory).message(), HasSubstr("is not of tutti_alloc"));
}

TEST_F(Family, WhatAnotherCommunicatorUsesIsNotFreed) {
  void* const memory = family_->allocate(parent_, {kBytes});
  child_.used = memory;
  EXPECT_THAT(family_->free(parent_, memory).message(), HasSubstr("in use by a call"));
  child_.dead = true;  // its calls have ended
  EXPECT_TRUE(family_->free(parent_, memory).ok());
}

TEST_F(Family, MemoryEndsWithItsCommunicator) {
  void* const mine = family_->allocate(parent_, {kBytes});
  void* const used = family_->allocate(parent_, {kBytes});
  void* const others = family_->allocate(child_, {kBytes});
  child_.used = used;
  end(parent_);
  EXPECT_FALSE(is_there(mine));
  EXPECT_TRUE(is_there(used));  // as long as the family
  EXPECT_TRUE(is_there(others));
  EXPECT_THAT(family_->free(child_, used).message(), HasSubstr("is not of tutti_alloc"));
  end(child_);
  EXPECT_FALSE(is_there(others));
}

TEST_F(Family, WhatIsKeptOutlivesIt) {
  void* const kept = family_->allocate(parent_, {.bytes = kBytes, .kept = true});
  void* const other = family_->allocate(parent_, {.bytes = kBytes, .kept = true});
  const std::weak_ptr<FamilyMemory> alive = family_;
  ASSERT_TRUE(kept && other);
  child_.used = kept;
  EXPECT_THAT(FamilyMemory::free_kept(kept).message(), HasSubstr("in use by a call"));
  EXPECT_TRUE(is_there(kept));
  child_.used = nullptr;
  EXPECT_TRUE(family_->free(child_, other).ok());  // any communicator may
  EXPECT_THAT(FamilyMemory::free_kept(other).message(), HasSubstr("or has been freed"));
  end(parent_);
  end(child_);
  EXPECT_TRUE(is_there(kept));
  family_.reset();
  EXPECT_FALSE(alive.expired());
  static_cast<char*>(kept)[kBytes - 1] = 1;
  EXPECT_THAT(FamilyMemory::free_kept(static_cast<char*>(kept) + 1).message(),
              HasSubstr("was not allocated with TUTTI_ALLOC_KEEP"));
  std::vector<std::thread> threads;
  std::atomic<int> freed{0};
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { freed += FamilyMemory::free_kept(kept).ok(); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(freed, 1);
  EXPECT_TRUE(alive.expired());
}

// Locks and maps are the parent's, and so is the shared memory.
TEST_F(Family, WhatIsKeptIsNotTheChildsToFree) {
  void* const kept = family_->allocate(parent_, {.bytes = kBytes, .kept = true});
  const pid_t child = ::fork();
  if (child == 0) ::_exit(FamilyMemory::free_kept(kept).code() == Code::invalid_argument ? 0 : 1);
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(FamilyMemory::free_kept(kept).ok());
}

// In private memory and in a window.
TEST(FamilyHeap, PagesAreUsedAgainOnlyForWhatNeedNotBeZeroed) {
  constexpr size_t kPart = 64 << 20;
  const auto mapped = static_cast<std::byte*>(::mmap(nullptr, kPart, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const std::shared_ptr<std::byte> memory(mapped, [](std::byte* base) { ::munmap(base, kPart); });
  for (const bool shared : {false, true}) {
    FamilyMemory family(shared ? memory::Window{memory, 0, kPart} : memory::Window());
    FakeMember member;
    family.join(member);
    const auto first_of = [&](bool zeroed) {
      auto* const bytes = static_cast<unsigned char*>(family.allocate(member, {.bytes = kBytes, .zeroed = zeroed}));
      const unsigned char found = bytes[0];
      std::memset(bytes, 7, kBytes);
      EXPECT_TRUE(family.free(member, bytes).ok());
      return found;
    };
    EXPECT_EQ(first_of(false), 0);
    EXPECT_EQ(first_of(true), 0);
    EXPECT_EQ(first_of(false), 7);
    // Where there is no more room, they are given back.
    if (shared) {
      void* const all = family.allocate(member, {.bytes = kPart - (2 << 20)});
      EXPECT_TRUE(all);
      EXPECT_TRUE(family.free(member, all).ok());
      EXPECT_EQ(first_of(false), 0);
    }
    // After a failure somebody may still write there.
    member.dead = true;
    EXPECT_EQ(first_of(false), 7);
    EXPECT_EQ(first_of(false), 0);
    family.leave(member);
    family.free_all_of(member);
  }
}

// A rank that does not know of a failure yet may still write there: in the whole family the addresses are never used
// again.
TEST(FamilyHeap, AddressesAreNotUsedAgainAfterAFailure) {
  constexpr size_t kPart = 64 << 20, kPage = 4096;
  const std::shared_ptr<std::byte> memory(static_cast<std::byte*>(std::aligned_alloc(2 << 20, kPart)), std::free);
  for (const bool leaves : {false, true}) {
    FamilyMemory family(memory::Window{memory, 0, kPart});
    FakeMember parent, child;
    family.join(parent);
    family.join(child);
    void* const before = family.allocate(parent, {kPage});
    ASSERT_TRUE(family.free(parent, before).ok());
    EXPECT_EQ(family.allocate(parent, {kPage}), before);
    child.dead = true;
    if (leaves) family.leave(child);
    void* const after = family.allocate(parent, {kPage});
    EXPECT_TRUE(family.free(parent, before).ok());
    EXPECT_NE(family.allocate(parent, {kPage}), before);
    EXPECT_TRUE(family.free(parent, after).ok());
    // The dead communicator never used what was allocated after its end.
    EXPECT_EQ(family.allocate(parent, {kPage}) == after, leaves);
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
    void* const of_world = world->allocate({kBytes});
    auto part = split(*world, rank % 2, 0);  // of three and of two ranks
    ASSERT_TRUE(part.ok()) << part.status().message();
    EXPECT_TRUE(lends(**part, of_world));
    void* const of_part = (*part)->allocate({kBytes});
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

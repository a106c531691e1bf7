// Loans: messages whose bytes stay in the sender's memory, within one process and between mappings of their own.

#include <gtest/gtest.h>

#include <cstring>

#include "arena_world.h"
#include "heap.h"
#include "shm_world.h"

namespace tutti {
namespace {

using memory::Heap;

Signature signature() {
  Signature s;
  s.sequence = 7;
  return s;
}

TEST(Heap, GivesOutDistinctZeroedMemoryAndTakesItBack) {
  Heap heap;
  std::byte* const a = heap.allocate(100);
  std::byte* const b = heap.allocate(5 << 20);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a[99], std::byte{0});
  b[(5 << 20) - 1] = std::byte{1};
  EXPECT_TRUE(heap.contains(a, 100) && heap.contains(b + 5, 1000));
  EXPECT_FALSE(heap.contains(b, (6 << 20) + 1));
  EXPECT_EQ(heap.begin_of(b + 4711), b);
  EXPECT_EQ(heap.begin_of(&heap), nullptr);
  heap.free(b);
  EXPECT_FALSE(heap.contains(b, 1));
  EXPECT_EQ(heap.begin_of(b), nullptr);
  EXPECT_TRUE(heap.contains(a, 1));
  EXPECT_EQ(heap.allocate(SIZE_MAX - 5), nullptr);
  EXPECT_EQ(heap.allocate(size_t{1} << 60), nullptr);
}

TEST(Heap, OfAWindowUsesAddressesAgainUnlessTheyAreSpoiled) {
  constexpr size_t kPart = 16 << 20;
  const auto window = std::make_unique<std::byte[]>(kPart);
  auto* const part = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(window.get()) + 4095) / 4096 * 4096);
  Heap heap(part, kPart - 4096);
  std::byte* const first = heap.allocate(1);
  std::byte* const second = heap.allocate(4096);
  EXPECT_NE(first, part);  // offset 0 stands for nowhere
  EXPECT_EQ(second, first + 4096);
  heap.free(first);
  EXPECT_EQ(heap.allocate(4096), first);
  heap.spoil();
  std::byte* const third = heap.allocate(4096);
  EXPECT_EQ(third, second + 4096);
  heap.free(first);
  heap.free(third);  // allocated afterwards
  EXPECT_EQ(heap.allocate(4096), third);
  EXPECT_EQ(heap.allocate(kPart), nullptr);
}

TEST(Heap, KnowsWhoOwnsWhat) {
  Heap heap;
  const int one = 1, other = 2;
  std::byte* const first = heap.allocate(1, &one);
  std::byte* const second = heap.allocate(1, &other);
  EXPECT_EQ(heap.owner_of(first), &one);
  EXPECT_EQ(heap.owner_of(second), &other);
  EXPECT_EQ(heap.owner_of(first + 1), nullptr);
  EXPECT_EQ(heap.first_of(&other), second);
  heap.disown(second);
  EXPECT_EQ(heap.first_of(&other), nullptr);
  EXPECT_TRUE(heap.contains(second, 1));
  heap.free(first);
  EXPECT_EQ(heap.first_of(&one), nullptr);
}

// The worlds of the conformance suite, with something to lend.
struct Threads {
  static constexpr const char* kName = "memory";
  explicit Threads(int ranks)
      : arena({static_cast<uint32_t>(ranks), 4, 4096}), pools(static_cast<size_t>(ranks)), heaps(static_cast<size_t>(ranks)) {
    for (uint32_t rank = 0; rank < pools.size(); ++rank) {
      heaps[rank] = std::make_unique<Heap>();
      pools[rank] = std::make_unique<memory::ArenaPool>(arena.arena(), rank, heaps[rank].get());
    }
  }
  memory::ArenaLink link(uint32_t me, uint32_t peer) { return {arena.arena(), me, peer}; }
  HeapArena arena;
  std::vector<std::unique_ptr<memory::ArenaPool>> pools;
  std::vector<std::unique_ptr<Heap>> heaps;
};

struct Mappings {
  static constexpr const char* kName = "shm";
  explicit Mappings(int ranks) : world(ranks, 4, 4096), pools(static_cast<size_t>(ranks)), heaps(static_cast<size_t>(ranks)) {
    for (uint32_t rank = 0; rank < pools.size(); ++rank) {
      heaps[rank] = std::make_unique<Heap>(world.shm(static_cast<int>(rank)).window());
      pools[rank] = std::make_unique<memory::ArenaPool>(world.shm(static_cast<int>(rank)).arena(), rank, heaps[rank].get());
    }
  }
  memory::ArenaLink link(uint32_t me, uint32_t peer) { return {world.shm(static_cast<int>(me)).arena(), me, peer}; }
  ShmWorld world;
  std::vector<std::unique_ptr<memory::ArenaPool>> pools;
  std::vector<std::unique_ptr<Heap>> heaps;
};

template <class World>
class Loans : public ::testing::Test {};
using Worlds = ::testing::Types<Threads, Mappings>;
struct WorldName {
  template <class World>
  static std::string GetName(int) {
    return World::kName;
  }
};
TYPED_TEST_SUITE(Loans, Worlds, WorldName);

TYPED_TEST(Loans, AreReadWhereTheyLieAndReturned) {
  TypeParam world(3);
  auto& pool = *world.pools[0];
  ASSERT_TRUE(pool.lends());
  std::byte* const mine = world.heaps[0]->allocate(100'000);  // larger than a slot
  std::memset(mine, 5, 100'000);
  Slot loan = pool.lend(mine + 64, 99'000);
  ASSERT_TRUE(loan);
  EXPECT_FALSE(pool.writable(loan));
  pool.add_holders(loan, 1);
  auto to_1 = world.link(0, 1), to_2 = world.link(0, 2), from_0 = world.link(1, 0), at_2 = world.link(2, 0);
  ASSERT_EQ(to_1.send(loan, 99'000, signature()), Progress::done);
  ASSERT_EQ(to_2.send(loan, 99'000, signature()), Progress::done);
  Slot first, second;
  ASSERT_EQ(from_0.receive(first, 99'000, signature()), Progress::done);
  ASSERT_EQ(at_2.receive(second, 99'000, signature()), Progress::done);
  EXPECT_EQ(first.data[98'999], std::byte{5});
  EXPECT_EQ(second.data[0], std::byte{5});
  EXPECT_FALSE(world.pools[1]->writable(first));
  world.pools[1]->release(first);
  EXPECT_FALSE(pool.returned(loan));
  world.pools[2]->release(second);
  EXPECT_TRUE(pool.returned(loan));
}

TYPED_TEST(Loans, TellWhereTheResultMayBeWritten) {
  TypeParam world(2);
  std::byte* const target = world.heaps[0]->allocate(4096);
  Slot slot = world.pools[0]->acquire();
  slot.target = target;
  auto there = world.link(0, 1), back = world.link(1, 0);
  ASSERT_EQ(there.send(slot, 64, signature()), Progress::done);
  Slot received;
  ASSERT_EQ(back.receive(received, 64, signature()), Progress::done);
  ASSERT_NE(received.target, nullptr);
  std::memset(received.target, 9, 64);
  world.pools[1]->release(received);
  ASSERT_EQ(back.send({nullptr, Slot::kDelivered}, 64, signature()), Progress::done);
  Slot word;
  ASSERT_EQ(there.receive(word, 64, signature()), Progress::done);
  EXPECT_EQ(word.id, Slot::kDelivered);
  EXPECT_EQ(word.target, nullptr);
  EXPECT_EQ(target[63], std::byte{9});
}

TYPED_TEST(Loans, AreOfOnesOwnMemoryOnlyAndNotEndless) {
  TypeParam world(2);
  auto& pool = *world.pools[0];
  std::byte plain[64];
  EXPECT_FALSE(pool.lend(plain, sizeof plain));
  std::byte* const mine = world.heaps[0]->allocate(4096);
  EXPECT_FALSE(pool.lend(mine, 4097));
  EXPECT_FALSE(pool.reaches(mine - 1, 2));
  EXPECT_TRUE(pool.reaches(mine, 4096));
  std::vector<Slot> out;
  for (Slot loan = pool.lend(mine, 1); loan; loan = pool.lend(mine, 1)) out.push_back(loan);
  EXPECT_EQ(out.size(), memory::kLoans);
  pool.release(out[3]);
  EXPECT_EQ(pool.lend(mine, 1).id, out[3].id);
}

}  // namespace
}  // namespace tutti

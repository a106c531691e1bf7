// What is known of an address.
#include "own_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <thread>

namespace tutti {
namespace {

// Before anybody asks: with a sanitizer's allocator there would be no such heap.
void* const grown = ::sbrk(4096);

TEST(OwnMemory, TheStackOfTheThread) {
  const void* const mine = __builtin_frame_address(0);  // variables a sanitizer may have elsewhere
  EXPECT_TRUE(is_on_stack_or_heap(mine));
  std::thread([&] {
    EXPECT_TRUE(is_on_stack_or_heap(__builtin_frame_address(0)));
    EXPECT_FALSE(is_on_stack_or_heap(mine));
  }).join();
}

TEST(OwnMemory, TheHeapThatGrowsByBrk) {
  ASSERT_NE(grown, reinterpret_cast<void*>(-1));
  EXPECT_TRUE(is_on_stack_or_heap(grown));
  void* const end = ::sbrk(4096);
  ASSERT_NE(end, reinterpret_cast<void*>(-1));
  EXPECT_TRUE(is_on_stack_or_heap(end));
  EXPECT_TRUE(is_on_stack_or_heap(static_cast<char*>(end) + 4095));
  EXPECT_FALSE(is_on_stack_or_heap(static_cast<char*>(end) + 4096));
}

TEST(OwnMemory, OthersAreNotKnown) {
  void* const mapped = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_FALSE(is_on_stack_or_heap(mapped));
  ::munmap(mapped, 4096);
  EXPECT_FALSE(is_on_stack_or_heap(nullptr));
  EXPECT_FALSE(is_on_stack_or_heap(reinterpret_cast<void*>(UINTPTR_MAX)));
}

}  // namespace
}  // namespace tutti

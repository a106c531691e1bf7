// The Machine of tests: threads of this process that play those of a device's block.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "machine.h"
#include "reference.h"

namespace tutti::cuda {

// Where the threads of a block meet.  All objects of std::barrier share what they count waiters in, and so hide from
// ThreadSanitizer that two blocks are not ordered.
class Barrier {
 public:
  explicit Barrier(uint32_t threads) : threads_(threads) {}
  // Returns whether `mine` was true at any of them.
  bool arrive_and_wait(bool mine) {
    std::unique_lock lock(mutex_);
    const uint32_t before = meetings_.load(std::memory_order_relaxed);
    any_here_ = any_here_ || mine;
    if (++arrived_ == threads_) {
      arrived_ = 0;
      any_ = std::exchange(any_here_, false);
      meetings_.store(before + 1, std::memory_order_release);
      all_here_.notify_all();
      return any_;
    }
    lock.unlock();
    // The others are mostly about to come.
    for (int looks = 0; looks < 20; ++looks) {
      if (meetings_.load(std::memory_order_acquire) != before) return any_;
      std::this_thread::yield();
    }
    lock.lock();
    all_here_.wait(lock, [&] { return meetings_.load(std::memory_order_relaxed) != before; });
    return any_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_here_;
  const uint32_t threads_;
  uint32_t arrived_ = 0;
  bool any_here_ = false;  // of those who have come
  bool any_ = false;       // of the last meeting; it stays until all who were there come to the next
  std::atomic<uint32_t> meetings_ = 0;
};

// One thread of one block.
class Cpu {
 public:
  struct Grid {
    uint32_t blocks = 1, threads = 1;  // threads of a block
  };

  // `barrier` is the block's, of as many threads; a block of one thread needs none.  `shared`: the block's memory,
  // aligned to 16 bytes.
  Cpu(Grid grid, uint32_t block, uint32_t thread, Barrier* barrier = nullptr, std::byte* shared = nullptr, uint32_t rank = 0)
      : grid_(grid), block_(block), thread_(thread), rank_(rank), barrier_(barrier), shared_(shared) {}

  uint32_t thread() const { return thread_; }
  uint32_t threads() const { return grid_.threads; }
  uint32_t block() const { return block_; }
  uint32_t blocks() const { return grid_.blocks; }
  uint32_t rank() const { return rank_; }
  std::byte* shared() const { return shared_; }
  void sync() const { any(false); }
  bool any(bool mine) const { return barrier_ == nullptr ? mine : barrier_->arrive_and_wait(mine); }

  template <class Unit>
  static Unit load(const std::byte* from) {
    Unit unit;
    std::memcpy(&unit, aligned<sizeof(Unit)>(from), sizeof unit);
    return unit;
  }
  template <class Unit>
  static void store(std::byte* to, Unit unit) {
    std::memcpy(aligned<sizeof(Unit)>(to), &unit, sizeof unit);
  }

  static uint64_t load_acquire(const uint64_t* from) { return of(from).load(std::memory_order_acquire); }
  static void store_release(uint64_t* to, uint64_t v) { of(to).store(v, std::memory_order_release); }
  static void store_relaxed(uint64_t* to, uint64_t v) { of(to).store(v, std::memory_order_relaxed); }
  static uint64_t load_relaxed(const uint64_t* from) { return of(from).load(std::memory_order_relaxed); }
  static uint32_t load_relaxed(const uint32_t* from) { return of(from).load(std::memory_order_relaxed); }
  static StampedPair load_words(const std::byte* from) {
    const auto* words = reinterpret_cast<const uint64_t*>(aligned<sizeof(StampedPair)>(from));
    return {{of(words).load(std::memory_order_relaxed), of(words + 1).load(std::memory_order_relaxed)}};
  }
  static void store_words(std::byte* to, const StampedPair& pair) {
    for (size_t w = 0; w < 2; ++w) of(reinterpret_cast<uint64_t*>(to) + w).store(pair.word[w], std::memory_order_relaxed);
  }

  static constexpr uint32_t kPolls = 4;  // there are more threads than cores
  // Whoever yields again and again takes as much of a core as those that compute, so now and then it rests.
  static void pause() {
    thread_local uint32_t pauses = 0;
    if (++pauses % 32 == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    else
      std::this_thread::yield();
  }
  static uint64_t nanoseconds() {
    return static_cast<uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
  }

  static float from_half(uint16_t half) { return reference::Half{half}.decode(); }
  static uint16_t to_half(float value) { return reference::Half::encode(value).bits; }

 private:
  // What is not aligned ends the kernel on a device, and with it the context; here the sanitizer says so.
  template <size_t kBytes, class Byte>
  static Byte* aligned(Byte* at) {
    return static_cast<Byte*>(__builtin_assume_aligned(at, kBytes));
  }

  Grid grid_;
  template <class Word>
  static std::atomic_ref<Word> of(const Word* word) {
    return std::atomic_ref<Word>(const_cast<Word&>(*word));
  }

  uint32_t block_, thread_, rank_;
  Barrier* barrier_;
  std::byte* shared_;
};

}  // namespace tutti::cuda

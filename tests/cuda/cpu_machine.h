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

#include "machine.h"
#include "reference.h"

namespace tutti::cuda {

// Where the threads of a block meet.  All objects of std::barrier share what they count waiters in, and so hide from
// ThreadSanitizer that two blocks are not ordered.
class Barrier {
 public:
  explicit Barrier(uint32_t threads) : threads_(threads) {}
  void arrive_and_wait() {
    std::unique_lock lock(mutex_);
    const uint32_t before = meetings_.load(std::memory_order_relaxed);
    if (++arrived_ == threads_) {
      arrived_ = 0;
      meetings_.store(before + 1, std::memory_order_release);
      all_here_.notify_all();
      return;
    }
    lock.unlock();
    // The others are mostly about to come.
    for (int looks = 0; looks < 20; ++looks) {
      if (meetings_.load(std::memory_order_acquire) != before) return;
      std::this_thread::yield();
    }
    lock.lock();
    all_here_.wait(lock, [&] { return meetings_.load(std::memory_order_relaxed) != before; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_here_;
  const uint32_t threads_;
  uint32_t arrived_ = 0;
  std::atomic<uint32_t> meetings_ = 0;
};

// One thread of one block.
class Cpu {
 public:
  struct Grid {
    uint32_t blocks = 1, threads = 1;  // threads of a block
  };

  // `barrier` is the block's, of as many threads; a block of one thread needs none.  `shared`: the block's memory,
  // aligned to 16 bytes; it begins with so many zeros, which are not the kernel's.
  static constexpr size_t kOwnBytes = 16;
  Cpu(Grid grid, uint32_t block, uint32_t thread, Barrier* barrier = nullptr, std::byte* shared = nullptr, uint32_t rank = 0)
      : grid_(grid),
        block_(block),
        thread_(thread),
        rank_(rank),
        barrier_(barrier),
        shared_(shared + (shared == nullptr ? 0 : kOwnBytes)) {}

  uint32_t thread() const { return thread_; }
  uint32_t threads() const { return grid_.threads; }
  uint32_t block() const { return block_; }
  uint32_t blocks() const { return grid_.blocks; }
  uint32_t rank() const { return rank_; }
  std::byte* shared() const { return shared_; }
  void sync() const {
    if (barrier_ != nullptr) barrier_->arrive_and_wait();
  }
  bool any(bool mine) const {
    if (barrier_ == nullptr) return mine;
    // Each thread's answer is in the block's memory between two meetings.
    const auto answer = std::atomic_ref(*reinterpret_cast<uint32_t*>(shared_ - kOwnBytes));
    if (mine) answer.fetch_add(1, std::memory_order_relaxed);
    sync();
    const bool result = answer.load(std::memory_order_relaxed) != 0;
    sync();
    if (mine) answer.fetch_sub(1, std::memory_order_relaxed);
    return result;
  }

  template <class Unit>
  static Unit load(const std::byte* from) {
    Unit unit;
    std::memcpy(&unit, from, sizeof unit);
    return unit;
  }
  template <class Unit>
  static void store(std::byte* to, Unit unit) {
    std::memcpy(to, &unit, sizeof unit);
  }

  static uint64_t load_acquire(const uint64_t* from) { return of(from).load(std::memory_order_acquire); }
  static void store_release(uint64_t* to, uint64_t v) { of(to).store(v, std::memory_order_release); }
  static void store_relaxed(uint64_t* to, uint64_t v) { of(to).store(v, std::memory_order_relaxed); }
  static uint64_t load_relaxed(const uint64_t* from) { return of(from).load(std::memory_order_relaxed); }
  static uint32_t load_relaxed(const uint32_t* from) { return of(from).load(std::memory_order_relaxed); }
  static StampedPair load_words(const std::byte* from) {
    const auto* words = reinterpret_cast<const uint64_t*>(from);
    return {{of(words).load(std::memory_order_relaxed), of(words + 1).load(std::memory_order_relaxed)}};
  }
  static void store_words(std::byte* to, const StampedPair& pair) {
    for (size_t w = 0; w < 2; ++w)
      of(reinterpret_cast<uint64_t*>(to) + w).store(pair.word[w], std::memory_order_relaxed);
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

// How to wait: pause, then yield the core, then sleep.  Ranks may outnumber cores, so a waiting rank must not keep the
// one it waits for off the processor.  A sleep that nothing ends early lasts at most a tenth of the time already
// waited, so that is the most it costs.
//
// Where another program wants the core, yielding gives it away for a whole slice of some milliseconds, whatever happens
// meanwhile; who sleeps gets it back at once on waking.  A yield that took long shows that.  For a few milliseconds the
// thread then pauses, as long as a peer that runs takes to answer, and sleeps instead of yielding.
#pragma once

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstdint>

#include "clock.h"

namespace tutti {

inline void cpu_pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Waiter {
 public:
  static constexpr uint32_t kPauses = 20;        // while each rank has a core of its own
  static constexpr uint32_t kCrowdedPauses = 1;  // while ranks share cores: the one waited for may need this one
  static constexpr uint64_t kYieldNs = 2'000'000;
  static constexpr uint64_t kLongestSleepNs = 1'000'000;

  explicit Waiter(uint32_t pauses = kPauses) : pauses_(pauses) {}
  void reset() { rounds_ = 0; }
  void set_pauses(uint32_t pauses) { pauses_ = pauses; }

  // One round of waiting.  Returns the nanoseconds waited so far, 0 while only pausing.
  uint64_t wait() {
    return wait([] { return false; });
  }

  // The same; when it is time to sleep, `watch` may: it sleeps until what is waited for may have happened,
  // kLongestSleepNs at most, or answers false if it cannot.
  template <class Watch>
  uint64_t wait(Watch watch) {
    if (rounds_++ < pauses_) {
      cpu_pause();
      return 0;
    }
    const uint64_t now = now_ns();
    if (rounds_ == pauses_ + 1) since_ = now;
    const uint64_t waited = now - since_ + 1;
    const bool wanted = pauses_ > kCrowdedPauses && now < core_wanted_until();  // in a crowd other ranks want it
    if (wanted && waited < kAnswerNs) {
      cpu_pause();
    } else if (!wanted && waited < kYieldNs) {
      yield(now);
    } else if (!watch()) {
      const timespec nap{0, static_cast<long>(std::min(waited / 10, kLongestSleepNs))};
      ::nanosleep(&nap, nullptr);
    }
    return waited;
  }

 private:
  // Measured with 64 KiB and 16 MiB between two ranks on two cores, beside one and two programs that compute.  Without
  // pausing first, or in such a state for longer than 10 ms, half the speed is lost beside one or the other.
  static constexpr uint64_t kAnswerNs = 40'000, kLongYieldNs = 100'000, kWantedNs = 5'000'000;

  static uint64_t& core_wanted_until() {
    static thread_local uint64_t until = 0;
    return until;
  }
  static void yield(uint64_t now) {
    ::sched_yield();
    if (const uint64_t after = now_ns(); after - now > kLongYieldNs) core_wanted_until() = after + kWantedNs;
  }

  uint32_t pauses_;
  uint32_t rounds_ = 0;
  uint64_t since_ = 0;
};

}  // namespace tutti

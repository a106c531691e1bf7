// The Machine that nvcc compiles for.  Memory is reached by instructions that name its state space and their width, so
// that neither is left to an optimizer.
#pragma once

#include <cstddef>
#include <cstdint>

#include "machine.h"

namespace tutti::cuda {

struct Gpu {
  TUTTI_DEVICE static uint32_t thread() { return threadIdx.x; }
  TUTTI_DEVICE static uint32_t threads() { return blockDim.x; }
  TUTTI_DEVICE static uint32_t block() { return blockIdx.x; }
  TUTTI_DEVICE static uint32_t blocks() { return gridDim.x; }
  TUTTI_DEVICE static uint32_t rank() { return blockIdx.y; }
  TUTTI_DEVICE static void sync() { __syncthreads(); }
  TUTTI_DEVICE static bool any(bool mine) { return __syncthreads_or(mine) != 0; }
  TUTTI_DEVICE static std::byte* shared() {
    extern __shared__ Vector memory[];
    return reinterpret_cast<std::byte*>(memory);
  }

  // Volatile, so that the loads of a batch stay before its stores, which may be to the same memory.
  template <class Unit>
  TUTTI_DEVICE static Unit load(const std::byte* from) {
    const auto at = __cvta_generic_to_global(from);
    Unit u;
    if constexpr (sizeof(Unit) == 16) {
      asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(u.word[0]), "=r"(u.word[1]), "=r"(u.word[2]), "=r"(u.word[3])
                   : "l"(at)
                   : "memory");
    } else if constexpr (sizeof(Unit) == 8) {
      asm volatile("ld.global.u64 %0, [%1];" : "=l"(u) : "l"(at) : "memory");
    } else if constexpr (sizeof(Unit) == 4) {
      asm volatile("ld.global.u32 %0, [%1];" : "=r"(u) : "l"(at) : "memory");
    } else if constexpr (sizeof(Unit) == 2) {
      asm volatile("ld.global.u16 %0, [%1];" : "=h"(u) : "l"(at) : "memory");
    } else {
      uint16_t wide;  // there are no registers of 8 bits
      asm volatile("ld.global.u8 %0, [%1];" : "=h"(wide) : "l"(at) : "memory");
      u = static_cast<Unit>(wide);
    }
    return u;
  }

  template <class Unit>
  TUTTI_DEVICE static void store(std::byte* to, Unit u) {
    const auto at = __cvta_generic_to_global(to);
    if constexpr (sizeof(Unit) == 16) {
      asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};"
                   :
                   : "l"(at), "r"(u.word[0]), "r"(u.word[1]), "r"(u.word[2]), "r"(u.word[3])
                   : "memory");
    } else if constexpr (sizeof(Unit) == 8) {
      asm volatile("st.global.u64 [%0], %1;" : : "l"(at), "l"(u) : "memory");
    } else if constexpr (sizeof(Unit) == 4) {
      asm volatile("st.global.u32 [%0], %1;" : : "l"(at), "r"(u) : "memory");
    } else if constexpr (sizeof(Unit) == 2) {
      asm volatile("st.global.u16 [%0], %1;" : : "l"(at), "h"(u) : "memory");
    } else {
      asm volatile("st.global.u8 [%0], %1;" : : "l"(at), "h"(static_cast<uint16_t>(u)) : "memory");
    }
  }

  // The scope is the system: peers are other devices, and the host.
  TUTTI_DEVICE static uint64_t load_acquire(const uint64_t* from) {
    uint64_t v;
    asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(v) : "l"(__cvta_generic_to_global(from)) : "memory");
    return v;
  }
  TUTTI_DEVICE static void store_release(uint64_t* to, uint64_t v) {
    asm volatile("st.release.sys.global.u64 [%0], %1;" : : "l"(__cvta_generic_to_global(to)), "l"(v) : "memory");
  }
  TUTTI_DEVICE static void store_relaxed(uint64_t* to, uint64_t v) {
    asm volatile("st.relaxed.sys.global.u64 [%0], %1;" : : "l"(__cvta_generic_to_global(to)), "l"(v) : "memory");
  }
  TUTTI_DEVICE static uint64_t load_relaxed(const uint64_t* from) {
    uint64_t v;
    asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(v) : "l"(__cvta_generic_to_global(from)) : "memory");
    return v;
  }
  TUTTI_DEVICE static uint32_t load_relaxed(const uint32_t* from) {
    uint32_t v;
    asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(v) : "l"(__cvta_generic_to_global(from)) : "memory");
    return v;
  }
  TUTTI_DEVICE static StampedPair load_words(const std::byte* from) {
    StampedPair pair;
    asm volatile("ld.relaxed.sys.global.v2.u64 {%0, %1}, [%2];"
                 : "=l"(pair.word[0]), "=l"(pair.word[1])
                 : "l"(__cvta_generic_to_global(from))
                 : "memory");
    return pair;
  }
  TUTTI_DEVICE static void store_words(std::byte* to, const StampedPair& pair) {
    asm volatile("st.relaxed.sys.global.v2.u64 [%0], {%1, %2};"
                 :
                 : "l"(__cvta_generic_to_global(to)), "l"(pair.word[0]), "l"(pair.word[1])
                 : "memory");
  }

  static constexpr uint32_t kPolls = 1024;
  TUTTI_DEVICE static void pause() { __nanosleep(20); }
  TUTTI_DEVICE static uint64_t nanoseconds() {
    uint64_t t;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
    return t;
  }

  TUTTI_DEVICE static float from_half(uint16_t half) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(half));
    return f;
  }
  TUTTI_DEVICE static uint16_t to_half(float f) {
    uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(f));
    return half;
  }
};

}  // namespace tutti::cuda

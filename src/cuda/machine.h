// Kernels are templates over a Machine, which says what a kernel may ask of what it runs on: Gpu (gpu.h), or in tests
// threads of the processor (tests/cuda/cpu_machine.h).  The same source is thus compiled by nvcc for devices, and by
// the host's compiler with whatever sanitizers there are.
//
//   thread(), threads()     this thread within its block, and how many the block has
//   block(), blocks()       this block within the grid
//   rank()                  where one grid runs several ranks: which one this block belongs to
//   sync()                  the block's threads wait for each other
//   any(mine)               sync(), and whether `mine` is true at any of them
//   shared()                memory of the block, as much as the launch asks for
//   load<Unit>(from)        a Unit of bytes at an address that is aligned to it, by one instruction
//   store(to, unit)         likewise
//   load_acquire, store_release, load_relaxed, store_relaxed    words that other devices and the host see
//   load_words, store_words   two such words side by side, in no order, each of them whole
//   kPolls, pause(), nanoseconds()    for whoever waits: looks at a word between two at the host's, and a clock
//   from_half, to_half      float16 to float32 and back, rounded to nearest even; not-a-numbers are the caller's care
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define TUTTI_DEVICE __device__ __forceinline__
#define TUTTI_UNROLL _Pragma("unroll")
#define TUTTI_LOOP _Pragma("unroll 1")
#else
#define TUTTI_DEVICE inline
#define TUTTI_UNROLL
#define TUTTI_LOOP
#endif

namespace tutti::cuda {

inline constexpr uint32_t kWarp = 32;  // threads that look at one word together cost one look

// The most that a thread reads or writes at once.
struct alignas(16) Vector {
  uint32_t word[4];
};

// What is stamped together, and how it travels.
struct alignas(8) Pair {
  uint32_t word[2];
};
struct alignas(16) StampedPair {
  uint64_t word[2];
};

// Bytes of an element, whatever its type.
template <unsigned kBytes>
struct RawOf;
template <>
struct RawOf<1> {
  using type = uint8_t;
};
template <>
struct RawOf<2> {
  using type = uint16_t;
};
template <>
struct RawOf<4> {
  using type = uint32_t;
};
template <>
struct RawOf<8> {
  using type = uint64_t;
};
template <class T>
using Raw = typename RawOf<sizeof(T)>::type;

}  // namespace tutti::cuda

// What the fake driver knows of memory.  A device's is a memfd of this process or, opened by a handle, of another one.
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>

#include "driver_abi.h"

namespace fake_cuda {

using namespace tutti::cuda;

enum class Kind : uint8_t { device, pool, imported, managed, pinned, registered };

struct Allocation {
  Kind kind = Kind::device;
  int device = 0;
  uintptr_t base = 0;
  size_t bytes = 0;
  std::byte* mapping = nullptr;  // in whole pages, and a page after it that nobody can touch
  size_t mapped = 0;
  int fd = -1;
  CUipcMemHandle handle{};  // of imported memory
  int opened = 1;           // how often
};

Error allocate(Kind kind, int device, size_t bytes, uintptr_t& base);
Error register_host(int device, void* memory, size_t bytes);
Error release(Kind kind, uintptr_t base);  // or the last opening of it; Kind::device frees memory of pools, too
void release_all(int device);              // when its context ends
std::optional<Allocation> allocation_at(uintptr_t address);
size_t used_memory(int device);

Error export_handle(uintptr_t address, CUipcMemHandle& handle);
Error open_handle(const CUipcMemHandle& handle, uintptr_t& base);

// A range that begins in known memory must end in it.
bool is_within(uintptr_t address, size_t bytes);
// Nobody has told CUDA of this memory.
bool is_pageable(uintptr_t address);

// Work of a device, which may touch its memory; in the mood "guarded" nothing else may.
class Touching {
 public:
  Touching();
  Touching(const Touching&) = delete;
  ~Touching();

 private:
  bool counted_;
};

}  // namespace fake_cuda

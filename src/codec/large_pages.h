// An allocator for vectors of many bytes that are walked through again and again: in huge pages where the system allows
// (fewer page faults and address translations), as any other where it does not.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>

namespace tutti {

template <class T>
struct LargePages {
  using value_type = T;
  LargePages() = default;
  template <class U>
  LargePages(const LargePages<U>&) {}  // NOLINT: allocators convert

  T* allocate(size_t n) {
    constexpr size_t kHuge = 2 << 20;
    const size_t bytes = n * sizeof(T), align = bytes >= kHuge ? kHuge : 64;
    void* memory = std::aligned_alloc(align, (bytes + align - 1) / align * align);
    if (!memory) throw std::bad_alloc();
    if (align == kHuge) ::madvise(memory, bytes, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t) { std::free(memory); }
  bool operator==(const LargePages&) const = default;
};

}  // namespace tutti

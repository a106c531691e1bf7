#include "own_memory.h"

#include <pthread.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>

namespace tutti {
namespace {

struct Range {
  uintptr_t begin = 0, end = 0;
  bool has(uintptr_t address) const { return address >= begin && address < end; }
};

Range stack_of_thread() {
  Range range;
  pthread_attr_t attributes;
  if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return range;
  void* lowest = nullptr;
  size_t bytes = 0;
  if (::pthread_attr_getstack(&attributes, &lowest, &bytes) == 0)
    range = {reinterpret_cast<uintptr_t>(lowest), reinterpret_cast<uintptr_t>(lowest) + bytes};
  ::pthread_attr_destroy(&attributes);
  return range;
}

// Where the heap begins; as good as nowhere if it cannot be found.
uintptr_t begin_of_heap() {
  uintptr_t begin = UINTPTR_MAX;
  if (FILE* const maps = std::fopen("/proc/self/maps", "re")) {
    char line[512];
    unsigned long from = 0;
    while (std::fgets(line, sizeof line, maps))
      if (std::strstr(line, "[heap]") && std::sscanf(line, "%lx-", &from) == 1) {
        begin = from;
        break;
      }
    std::fclose(maps);
  }
  return begin;
}

}  // namespace

// Of the stack, what is in use: below it there may be anything, where a thread runs on another one.
bool is_on_stack_or_heap(const void* address) {
  static const uintptr_t heap = begin_of_heap();
  thread_local const Range stack = stack_of_thread();
  const auto at = reinterpret_cast<uintptr_t>(address), here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  if (stack.has(here) && at >= here && stack.has(at)) return true;
  return at >= heap && at < reinterpret_cast<uintptr_t>(::sbrk(0));
}

}  // namespace tutti

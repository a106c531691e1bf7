// Memory for calls that are carried out in float32 (wide_operation.h).
#pragma once

#include <cstddef>
#include <mutex>

namespace tutti {

// Room for numbers as float32.  It keeps what the last call used, since new pages cost more than the casts.  Threads:
// any.
class WideMemory {
 public:
  static constexpr size_t kMostKept = 32 << 20;  // numbers

  struct Room {
    float* numbers = nullptr;  // not cleared
    size_t count = 0;
  };
  WideMemory() = default;
  WideMemory(const WideMemory&) = delete;
  ~WideMemory();

  Room take(size_t count);  // so many or more; throws std::bad_alloc
  void give_back(Room room) noexcept;

 private:
  std::mutex mutex_;
  Room kept_;
};

}  // namespace tutti

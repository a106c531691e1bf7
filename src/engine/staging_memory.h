// Memory for calls whose data are made ready before a plan runs over them (staged_operation.h).
#pragma once

#include <cstddef>
#include <mutex>

namespace tutti {

// It keeps what the last call used, since new pages cost more than what is done with them.  Threads: any.
class StagingMemory {
 public:
  static constexpr size_t kMostKept = 128 << 20;  // bytes

  struct Room {
    std::byte* begin = nullptr;  // not cleared
    size_t bytes = 0;
  };
  StagingMemory() = default;
  StagingMemory(const StagingMemory&) = delete;
  ~StagingMemory();

  Room take(size_t bytes);  // so many or more; throws std::bad_alloc
  void give_back(Room room) noexcept;

 private:
  std::mutex mutex_;
  Room kept_;
};

}  // namespace tutti

// What a DeviceSide and the carriers of its calls have in common: streams, the words by which device and host tell each
// other, buffers.
#pragma once

#include <array>
#include <deque>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "device_side.h"
#include "memory_pool.h"

namespace tutti {

inline Status first_failure(std::initializer_list<Status> all) {
  for (const Status& status : all)
    if (!status.ok()) return status;
  return {};
}

inline cuda::CUstream stream_of(void* given) { return given ? static_cast<cuda::CUstream>(given) : cuda::legacy_stream(); }

struct DeviceSide::Shared {
  enum Word : size_t { fetched, handled, delivered, words };
  static constexpr size_t kWordBytes = 64;  // on a cache line of its own

  Shared(cuda::SharedContext made_context, cuda::Event between, cuda::PinnedMemory memory, cuda::CUdeviceptr memory_there)
      : context(std::move(made_context)),
        pool(cuda::MemoryPool::of(context)),
        table(std::move(memory)),
        table_there(memory_there),
        event(std::move(between)) {}
  ~Shared() {
    pool->give_back(std::move(table));
    if (ring) pool->give_back(std::move(*ring));
    for (auto& buffer : buffers) pool->give_back(std::move(buffer));
  }

  const cuda::SharedContext context;
  const std::shared_ptr<cuda::MemoryPool> pool;
  cuda::PinnedMemory table;  // of the words
  const cuda::CUdeviceptr table_there;
  std::optional<cuda::Stream> fetching, delivering;  // made for the first call that goes through the host's memory
  const cuda::Event event;                           // of whoever starts a call, from one stream to another

  // Piece n of all calls uses the buffers n modulo kRing once piece n - kRing is delivered.
  size_t ring_bytes = 0;
  std::array<std::byte*, kRing> inputs{}, outputs{};
  std::optional<cuda::PinnedMemory> ring;
  struct FamilyRing {  // or of the family's memory, which other ranks read where it lies
    void* memory = nullptr;
    std::byte* begin = nullptr;
    std::optional<cuda::HostRegistration> registration;
    FamilyRing() = default;
    FamilyRing(const FamilyRing&) = delete;
    FamilyRing& operator=(const FamilyRing&) = delete;
    ~FamilyRing() {
      registration.reset();
      if (memory) (void)FamilyMemory::free_kept(memory);
    }
  };
  std::shared_ptr<FamilyRing> family_ring;
  uint32_t pieces = 0;  // that are on the streams

  std::mutex mutex;                         // of what follows
  std::deque<bool> done;                    // by piece, from the first that is not handled
  std::vector<cuda::PinnedMemory> buffers;  // not in use
  size_t kept = 0;                          // bytes of these
  std::vector<cuda::PinnedMemory> late;     // of calls that have failed, which copies may still use
  std::vector<cuda::Event> events;          // of messages, not in use
  std::optional<cuda::Stream> messages;     // made when first needed: a process has few queues for streams to wait in

  Result<cuda::CUstream> message_stream() {
    const std::lock_guard lock(mutex);
    if (!messages) {
      auto made = cuda::Stream::create(context);
      if (!made.ok()) return made.status();
      messages = std::move(*made);
    }
    return messages->get();
  }

  cuda::CUdeviceptr there(Word word) const { return table_there + word * kWordBytes; }
  uint32_t* here(Word word) const { return reinterpret_cast<uint32_t*>(table.data() + word * kWordBytes); }
  bool has_counted(Word word, uint32_t piece) const {  // numbers wrap around
    return static_cast<int32_t>(__atomic_load_n(here(word), __ATOMIC_ACQUIRE) - (piece + 1)) >= 0;
  }
  Status wait(const cuda::Stream& stream, Word word, uint32_t count) const {
    return cuda::wait_for_word(*context, there(word), count, stream.get());
  }
  Status write(const cuda::Stream& stream, Word word, uint32_t count) const {
    return cuda::write_word(*context, there(word), count, stream.get());
  }

  void add_pieces(size_t more) {
    const std::lock_guard lock(mutex);
    done.resize(done.size() + more);
    pieces += static_cast<uint32_t>(more);
  }
  void handle(uint32_t piece) noexcept {
    const std::lock_guard lock(mutex);
    done[piece - (pieces - static_cast<uint32_t>(done.size()))] = true;
    while (!done.empty() && done.front()) done.pop_front();
    __atomic_store_n(here(Word::handled), pieces - static_cast<uint32_t>(done.size()), __ATOMIC_RELEASE);
  }

  Result<cuda::PinnedMemory> buffer(size_t bytes);
  // `free`: no copy uses them any more.
  void give_back(std::vector<cuda::PinnedMemory>& used, bool free) noexcept;

  Result<cuda::Event> spare_event();
  void give_back(cuda::Event used) noexcept;

  // Where copies that nobody waits for may still use all of it.
  static void leave(std::shared_ptr<Shared> shared) noexcept;
  std::shared_ptr<Shared> itself;
  Shared* left_before = nullptr;
};

}  // namespace tutti

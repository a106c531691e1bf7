// The world of `shm` links: each rank maps the segment for itself, as processes do.
#pragma once

#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "arena_pool.h"
#include "shm_transport.h"

namespace tutti {

class ShmWorld {
 public:
  static constexpr bool kSeesLoss = false;
  static bool available() { return true; }

  ShmWorld(int ranks, uint32_t slots, size_t slot_bytes) : transports_(static_cast<size_t>(ranks)), pools_(transports_.size()) {
    std::vector<shm::Door> doors;
    for (int rank = 0; rank < ranks; ++rank) doors.push_back(std::move(*shm::Door::open()));
    std::vector<int> places(transports_.size());
    std::iota(places.begin(), places.end(), 0);
    const auto create = [&](uint32_t place) {
      shm::Options options{{static_cast<uint32_t>(ranks), slots, slot_bytes}, place, places, doors[0].name(), 10'000'000'000};
      transports_[place] = std::move(*shm::ShmTransport::create(doors[place], options));
      pools_[place] = std::make_unique<memory::ArenaPool>(transports_[place]->arena(), place);
    };
    std::vector<std::thread> threads;
    for (uint32_t place = 0; place < transports_.size(); ++place) threads.emplace_back(create, place);
    for (std::thread& thread : threads) thread.join();
  }
  Transport& transport(int rank) { return *transports_[static_cast<size_t>(rank)]; }
  const shm::ShmTransport& shm(int rank) const { return *transports_[static_cast<size_t>(rank)]; }
  SlotPool& pool(int rank) { return *pools_[static_cast<size_t>(rank)]; }

 private:
  std::vector<std::unique_ptr<shm::ShmTransport>> transports_;
  std::vector<std::unique_ptr<memory::ArenaPool>> pools_;
};

}  // namespace tutti

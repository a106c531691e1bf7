// The world of `shm` links: each rank maps the segment for itself, as processes do.
#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "arena_pool.h"
#include "clock.h"
#include "shm_transport.h"

namespace tutti {

// Waits for the deadline only.
inline shm::Patience patience(uint64_t bound_ns = 10'000'000'000) {
  const uint64_t deadline = now_ns() + bound_ns;
  const auto wait = [deadline](std::span<pollfd> set, uint64_t until) -> Result<bool> {
    const uint64_t now = now_ns(), end = std::min(until, deadline);
    return ::poll(set.data(), set.size(), now < end ? static_cast<int>((end - now) / kMillisecond + 1) : 0) > 0;
  };
  return {wait, deadline};
}

inline std::vector<std::string> names_of(int ranks) {
  std::vector<std::string> names;
  for (int rank = 0; rank < ranks; ++rank) names.push_back("rank " + std::to_string(rank));
  return names;
}

class ShmWorld {
 public:
  static constexpr bool kSeesLoss = false;
  static bool available() { return true; }

  ShmWorld(int ranks, uint32_t slots, size_t slot_bytes) : transports_(static_cast<size_t>(ranks)), pools_(transports_.size()) {
    std::vector<shm::HandoffSocket> sockets;
    for (int rank = 0; rank < ranks; ++rank) sockets.push_back(std::move(*shm::HandoffSocket::open()));
    std::vector<int> places(transports_.size());
    std::iota(places.begin(), places.end(), 0);
    const auto create = [&](uint32_t place) {
      shm::Options options{{static_cast<uint32_t>(ranks), slots, slot_bytes}, place, places, names_of(ranks), sockets[0].name(),
                           sockets[0].secret(), patience()};
      transports_[place] = std::move(*shm::ShmTransport::create(sockets[place], options));
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

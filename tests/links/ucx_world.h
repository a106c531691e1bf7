// Worlds of `ucx` links within this process, over TCP on the loopback interface and over shared memory.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "arena_world.h"
#include "owned_fd.h"
#include "sanitized.h"
#include "ucx_transport.h"

namespace tutti {

class UcxWorld {
 public:
  static constexpr bool kSeesLoss = true;

  // UCX is not instrumented: its hooks of mmap() and its like disturb sanitizers, so they stay away.
  static bool available() {
    if (test::kSanitized) ::setenv("UCX_MEM_EVENTS", "n", 1);
    return ucx::Ucx::load().ok();
  }

  UcxWorld(int ranks, uint32_t slots, size_t slot_bytes) : UcxWorld(ranks, slots, slot_bytes, "tcp,self") {}

  ucx::UcxTransport& transport(int rank) { return *transports_[static_cast<size_t>(rank)]; }
  SlotPool& pool(int rank) { return *pools_[static_cast<size_t>(rank)]; }
  const std::string& address(int rank) const { return addresses_[static_cast<size_t>(rank)]; }
  void kill(int rank) { transports_[static_cast<size_t>(rank)].reset(); }
  bool lives(int rank) const { return transports_[static_cast<size_t>(rank)] != nullptr; }
  int log() const { return log_.get(); }  // what all ranks say

 protected:
  UcxWorld(int ranks, uint32_t slots, size_t slot_bytes, const char* networks) : log_(::memfd_create("log", MFD_CLOEXEC)) {
    ::setenv("UCX_TLS", networks, 1);
    ::setenv("UCX_NET_DEVICES", "lo", 1);
    ucx::UcxOptions options;
    options.size = ranks;
    options.name = "test";
    options.log = Log(LogLevel::warn, "test", log_.get());
    std::vector<std::string> names;
    std::vector<Status> statuses;
    for (options.rank = 0; options.rank < ranks; ++options.rank) {
      names.push_back("rank " + std::to_string(options.rank) + " (host here, pid 1)");
      arenas_.push_back(std::make_unique<HeapArena>(memory::ArenaShape{1, slots, slot_bytes}));
      pools_.push_back(std::make_unique<memory::ArenaPool>(arenas_.back()->arena(), 0));
      options.pool = pools_.back().get();
      auto transport = ucx::UcxTransport::open(options);
      if (!transport.ok()) ADD_FAILURE() << transport.status().message();
      addresses_.push_back(transport.ok() ? (*transport)->address() : "");
      transports_.push_back(transport.ok() ? std::move(*transport) : nullptr);
    }
    for (const auto& transport : transports_)
      if (const Status status = transport ? transport->set_peers(addresses_, names) : Status(); !status.ok())
        ADD_FAILURE() << status.message();
  }

 private:
  OwnedFd log_;
  std::vector<std::unique_ptr<HeapArena>> arenas_;
  std::vector<std::unique_ptr<memory::ArenaPool>> pools_;
  std::vector<std::unique_ptr<ucx::UcxTransport>> transports_;
  std::vector<std::string> addresses_;
};

// Here nobody sees the end of a rank whose process lives.
struct UcxWorldOfSharedMemory : UcxWorld {
  static constexpr bool kSeesLoss = false;
  UcxWorldOfSharedMemory(int ranks, uint32_t slots, size_t slot_bytes) : UcxWorld(ranks, slots, slot_bytes, "sm,self") {}
};

}  // namespace tutti

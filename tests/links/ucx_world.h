// Worlds of `ucx` links within this process: over TCP on the loopback interface, shared memory, and a verbs device.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdlib>
#include <filesystem>
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
  UcxWorld(int ranks, uint32_t slots, size_t slot_bytes, const char* networks, const std::string& device = "lo")
      : log_(::memfd_create("log", MFD_CLOEXEC)) {
    ::setenv("UCX_TLS", networks, 1);
    ::setenv("UCX_NET_DEVICES", device.c_str(), 1);
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

// Over reliable connections of the first verbs device.  For Soft-RoCE, unless the environment says otherwise:
struct UcxWorldOfVerbs : UcxWorld {
  static std::string device() {
    std::error_code none;
    const std::filesystem::directory_iterator devices("/sys/class/infiniband", none);
    return devices == std::filesystem::directory_iterator() ? "" : devices->path().filename().string() + ":1";
  }
  static bool available() {
    if (device().empty() || !UcxWorld::available()) return false;
    ::setenv("UCX_UD_VERBS_ETH_DGID_CHECK", "n", 0);  // it would drop all datagrams, by which endpoints connect
    ::setenv("UCX_RC_VERBS_RETRY_COUNT", "6", 0);     // 7 have no end
    ::setenv("UCX_RC_VERBS_TIMEOUT", "50ms", 0);      // until the next
    ::setenv("UCX_KEEPALIVE_INTERVAL", "1s", 0);      // so that whoever only receives sees the end of a peer, too
    return true;
  }
  UcxWorldOfVerbs(int ranks, uint32_t slots, size_t slot_bytes) : UcxWorld(ranks, slots, slot_bytes, "rc_v,self", device()) {}
};

}  // namespace tutti

// Worlds of `rdma` links in one process, over real devices or fake ones, each rank with slots of its own.  Ranks take
// turns with all ports.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "arena_world.h"
#include "fake_verbs/fake_verbs.h"
#include "post.h"
#include "rdma_transport.h"

namespace tutti {

class RdmaWorld {
 public:
  static constexpr bool kSeesLoss = false;  // who sends does; whoever only receives hears it by the control tree
  static bool available() { return !ports().empty(); }

  RdmaWorld(int ranks, uint32_t slots, size_t slot_bytes, bool moody = false) {
    if (const auto* fake = test::fake_verbs()) fake->set_moody(moody, slots);
    const std::vector<rdma::Port> all_ports = ports();
    const rdma::Verbs& verbs = **rdma::Verbs::load();
    rdma::RdmaOptions options;
    options.size = ranks;
    options.listen_address = "127.0.0.1";
    options.context = 7;
    options.name = "test";
    options.log = Log(LogLevel::none, "", -1);
    std::vector<std::string> names, addresses;
    const uint32_t set_aside =
        (landing_slots(LinkUse::collectives) + landing_slots(LinkUse::messages)) * static_cast<uint32_t>(ranks - 1);
    for (options.rank = 0; options.rank < ranks; ++options.rank) {
      const rdma::Port& port = all_ports[static_cast<size_t>(options.rank) % all_ports.size()];
      names.push_back("rank " + std::to_string(options.rank) + " (host here, pid 1)");
      arenas_.push_back(std::make_unique<HeapArena>(memory::ArenaShape{1, slots + set_aside, slot_bytes}));
      pools_.push_back(std::make_unique<memory::ArenaPool>(arenas_.back()->arena(), 0));
      options.pool = pools_.back().get();
      options.message_pools.assign(static_cast<size_t>(ranks), options.pool);
      options.serves.assign(static_cast<size_t>(ranks), true);
      options.serves[static_cast<size_t>(options.rank)] = false;
      options.memory = arenas_.back()->arena().all_slots();
      auto transport =
          rdma::RdmaTransport::open(options, *rdma::Device::open(verbs, port.device), port, *rdma::choose_gid(port.gids, -1, ""));
      EXPECT_TRUE(transport.ok()) << transport.status().message();
      addresses.push_back((*transport)->address());
      transports_.push_back(std::move(*transport));
    }
    for (const auto& transport : transports_) EXPECT_TRUE(transport->set_peers(addresses, names).ok());
    connect();
  }
  // The fake's objects are counted; its transports go first, since they hold slots.
  ~RdmaWorld() {
    transports_.clear();
    const auto* fake = test::fake_verbs();
    EXPECT_EQ(fake ? fake->receivers_not_ready() : 0, 0u);
  }

  rdma::RdmaTransport& transport(int rank) { return *transports_[static_cast<size_t>(rank)]; }
  memory::ArenaPool& pool(int rank) { return *pools_[static_cast<size_t>(rank)]; }
  void kill(int rank) { transports_[static_cast<size_t>(rank)].reset(); }

  static std::vector<rdma::Port> ports() {
    const auto verbs = rdma::Verbs::load();
    if (!verbs.ok()) return {};
    auto ports = rdma::find_ports(**verbs, "");
    if (!ports.ok()) return {};
    std::erase_if(*ports, [](const rdma::Port& port) { return !port.serves(); });
    return *ports;
  }

 private:
  // A send may be busy before its link is connected.
  void connect() {
    const int ranks = static_cast<int>(transports_.size());
    const auto all_connected = [&] {
      bool all = true;
      for (int a = 0; a < ranks; ++a)
        for (int b = 0; b < ranks; ++b) {
          if (a == b) continue;
          Signature next;
          (void)transport(a).link_to(b).peek(next);
          all = all && transport(a).link_to(b).connected();
        }
      return all;
    };
    EXPECT_EQ(settle([&] { return all_connected() ? Progress::done : Progress::busy; },
                     [&] {
                       for (const auto& transport : transports_) EXPECT_TRUE(transport->progress().ok());
                     }),
              Progress::done);
  }

  std::vector<std::unique_ptr<HeapArena>> arenas_;
  std::vector<std::unique_ptr<memory::ArenaPool>> pools_;
  std::vector<std::unique_ptr<rdma::RdmaTransport>> transports_;
};

struct MoodyRdmaWorld : RdmaWorld {
  static bool available() { return RdmaWorld::available() && test::fake_verbs(); }
  MoodyRdmaWorld(int ranks, uint32_t slots, size_t slot_bytes) : RdmaWorld(ranks, slots, slot_bytes, true) {}
};

}  // namespace tutti

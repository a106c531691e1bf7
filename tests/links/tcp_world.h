// Worlds of `tcp` links over the loopback interface, each rank with slots of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "arena_world.h"
#include "tcp_transport.h"

namespace tutti {

class TcpWorld {
 public:
  static constexpr bool kSeesLoss = true;
  static bool available() { return true; }

  TcpWorld(int ranks, uint32_t slots, size_t slot_bytes, const std::string& address = "127.0.0.1", int connections = 1,
           int send_buffer = 0) {
    tcp::TcpOptions options;
    options.size = ranks;
    options.listen_address = address;
    options.connections = connections;
    options.send_buffer = send_buffer;
    options.context = 7;
    options.name = "test";
    options.log = Log(LogLevel::none, "", -1);
    std::vector<std::string> names;
    for (options.rank = 0; options.rank < ranks; ++options.rank) {
      names.push_back("rank " + std::to_string(options.rank) + " (host here, pid 1)");
      arenas_.push_back(std::make_unique<HeapArena>(memory::ArenaShape{1, slots, slot_bytes}));
      pools_.push_back(std::make_unique<memory::ArenaPool>(arenas_.back()->arena(), 0));
      options.pool = pools_.back().get();
      auto transport = tcp::TcpTransport::open(options);
      addresses_.push_back(transport.ok() ? (*transport)->address() : transport.status().message());
      transports_.push_back(transport.ok() ? std::move(*transport) : nullptr);
    }
    for (const auto& transport : transports_) statuses_.push_back(transport->set_peers(addresses_, names));
  }

  tcp::TcpTransport& transport(int rank) { return *transports_[static_cast<size_t>(rank)]; }
  SlotPool& pool(int rank) { return *pools_[static_cast<size_t>(rank)]; }
  const std::string& address(int rank) const { return addresses_[static_cast<size_t>(rank)]; }
  void kill(int rank) { transports_[static_cast<size_t>(rank)].reset(); }

 private:
  std::vector<std::unique_ptr<HeapArena>> arenas_;
  std::vector<std::unique_ptr<memory::ArenaPool>> pools_;
  std::vector<std::unique_ptr<tcp::TcpTransport>> transports_;
  std::vector<std::string> addresses_;
  std::vector<Status> statuses_;
};

struct TcpWorldOfThree : TcpWorld {  // connections per peer
  TcpWorldOfThree(int ranks, uint32_t slots, size_t slot_bytes) : TcpWorld(ranks, slots, slot_bytes, "127.0.0.1", 3) {}
};

struct TcpWorldV6 : TcpWorld {
  static bool available() { return listen_on(*SocketAddress::parse("::1"), 1).ok(); }
  TcpWorldV6(int ranks, uint32_t slots, size_t slot_bytes) : TcpWorld(ranks, slots, slot_bytes, "::1") {}
};

struct TcpWorldTight : TcpWorld {  // a small send buffer: messages are written in parts
  TcpWorldTight(int ranks, uint32_t slots, size_t slot_bytes) : TcpWorld(ranks, slots, slot_bytes, "127.0.0.1", 1, 65536) {}
};

}  // namespace tutti

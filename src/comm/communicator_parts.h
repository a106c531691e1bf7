// The parts of a communicator, once its ranks have met (assembly.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arena.h"
#include "control.h"
#include "domain.h"
#include "flat_operation.h"
#include "log.h"
#include "settings.h"
#include "team.h"
#include "transport.h"

namespace tutti {

class LocalArena;

// Members are destroyed in reverse order: the engine's users first, the memory last.
struct CommunicatorParts {
  std::shared_ptr<Domain> domain;  // shared with splits
  int rank = 0, size = 1;
  std::string name;
  Settings settings;
  std::atomic<uint64_t> timeout_ns{0};  // for each call that gives none; at first that of the settings
  Log log;
  std::string host_id;
  bool intra_host_streams = false;                       // ranks of one host exchange messages by byte streams, not in memory
  Team team;                                             // the ranks by host, and in what order neighbours stand together
  std::vector<std::string> rank_names;                   // "rank 3 (host b, pid 4711)"
  std::vector<std::string> rank_transports;              // "shm"; "self" for this rank
  std::string local_end;                                 // see AssemblyOptions
  std::shared_ptr<LocalArena> local_arena;               // likewise
  bool crowded = false;                                  // more ranks on this host than cores for them
  uint64_t near_bytes = 0;                               // of what was touched last, what a rank still has in its caches
  uint64_t context = 0;                                  // travels in signatures
  std::shared_ptr<void> memory;                          // what the transports' arena lies in, if they do not own it
  std::unique_ptr<SlotPool> pool;                        // for collectives
  std::vector<std::unique_ptr<SlotPool>> message_pools;  // by rank: for messages to it; null where they go over streams
  std::atomic<uint32_t>* given_up = nullptr;             // of the arena
  std::optional<memory::Arena> arena;                    // if all ranks share memory
  std::vector<std::unique_ptr<Transport>> transports;
  std::vector<Transport*> transport_of;  // by rank; null for this rank
  std::unique_ptr<FlatBoard> board;      // if all ranks share memory
  std::unique_ptr<Control> control;
};

}  // namespace tutti

// The facts that tutti-info tells: gathered first, printed afterwards as text or as JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cuda_facts.h"
#include "locality.h"
#include "net_address.h"
#include "settings.h"
#include "topology.h"
#include "transport_kind.h"

namespace tutti::info {

struct TransportFacts {
  std::string name;
  bool built = false;                    // in this build
  bool allowed = false;                  // by TUTTI_TRANSPORT
  std::string reach;                     // whom it connects
  std::vector<TransportDevice> devices;  // that it found
};

struct MemoryFacts {
  int ranks = 1;
  uint64_t at_creation = 0;       // bytes of one communicator on one rank
  uint64_t after_all_reduce = 0;  // of 1 MiB
};

struct Facts {
  std::string version;
  std::vector<std::pair<std::string, std::string>> build;  // "compiler" → "gcc 12.2.0" …
  std::string kernels;                                     // the vector instructions in use
  std::string host, host_id;
  Topology topology;
  Locality locality;  // of this process
  std::vector<Interface> interfaces;
  std::optional<LocalAddress> address;  // that other hosts would be told
  std::vector<TransportFacts> transports;
  CudaFacts cuda;
  std::vector<MemoryFacts> memory;
  Settings settings;
  std::vector<std::string> warnings;  // names that do not exist
  std::vector<std::string> errors;    // what could not be found out, and settings that are refused
};

Facts gather();

}  // namespace tutti::info

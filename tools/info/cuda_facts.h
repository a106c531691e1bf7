// What CUDA shows this process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "settings.h"

namespace tutti::info {

struct CudaDeviceFacts {
  int number = 0;
  std::string name, capability, uuid, pci_bus_id;  // "9.0"; "GPU-…", as nvidia-smi has it
  uint64_t memory_bytes = 0, free_bytes = 0;
  bool mps = false;          // its context is shared by NVIDIA's Multi-Process Service
  std::string kernels;       // "": the library has kernels that run on it; else why not
  std::vector<int> reaches;  // other devices whose memory it can use
  std::string trouble;       // "": what stands above is known; else why it is not
};

struct CudaFacts {
  std::string library;
  std::string state;                  // "": there are devices; else why none is used
  std::optional<int> driver_version;  // 12040 is 12.4
  std::vector<CudaDeviceFacts> devices;
};

// Makes a context on each device for a moment, unless TUTTI_CUDA=off.
CudaFacts gather_cuda(const Settings& settings);

std::string version_text(int driver_version);  // "12.4"

}  // namespace tutti::info

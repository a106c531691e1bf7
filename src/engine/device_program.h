// Programs and bindings as kernels read them (src/cuda/device_call.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "binding.h"
#include "device_call.h"
#include "program.h"
#include "status.h"

namespace tutti {

struct DeviceProgram {
  std::vector<cuda::DeviceInstruction> instructions;
  std::vector<cuda::DeviceSegment> segments;
  std::vector<uint16_t> ports;
  uint32_t blocks = 0, scratch_blocks = 0;
};

// UNSUPPORTED where a number of the program is too large for the form that kernels read.
Result<DeviceProgram> flatten(const Program& program);

// Fills in what the program and the binding say, which is not scattered, and the peers, which are those of the Program,
// in its order.  Where these bytes have no room in the call they are returned instead, to be put into the device's
// memory at header.program.
std::vector<std::byte> describe(cuda::DeviceCall& call, const DeviceProgram& program, const Binding& binding,
                                std::span<const cuda::DevicePeer> peers);

}  // namespace tutti

// Calls from and into memory of tutti_alloc_device, which kernels read where it lies.
#pragma once

#include <tutti/tutti.h>

#include <string>
#include <vector>

#include "device_memory.h"
#include "stream.h"

namespace tutti::test {

const cuda::SharedContext& device_of_tests();  // device 0

// Floats in memory of tutti_alloc_device.
class LentFloats {
 public:
  LentFloats(tutti_comm* comm, const std::vector<float>& values, cuda::SharedContext device = device_of_tests());
  void* data() const { return memory_; }
  void write(const std::vector<float>& values) const;
  std::vector<float> values() const;

 private:
  void move(cuda::CUdeviceptr to, cuda::CUdeviceptr from) const;
  const cuda::SharedContext device_;
  void* memory_ = nullptr;
  cuda::PinnedMemory host_;
  cuda::Stream stream_;
};

// What is wrong; "": nothing.  Collectives by kernels, of which the last ones lend.
std::string check_lent_memory(tutti_comm* comm);
// Likewise, between processes over the fake driver: what cannot be opened is copied; what is allocated later is lent.
std::string check_memory_that_cannot_be_opened(tutti_comm* comm);

}  // namespace tutti::test

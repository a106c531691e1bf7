// Calls from and into memory of tutti_alloc_device, which kernels read where it lies.
#pragma once

#include <tutti/tutti.h>

#include <string>
#include <vector>

#include "device_memory.h"
#include "stream.h"

namespace tutti::test {

// Floats in memory of tutti_alloc_device.
class LentFloats {
 public:
  LentFloats(tutti_comm* comm, const std::vector<float>& values);
  void* data() const { return memory_; }
  void write(const std::vector<float>& values) const;
  std::vector<float> values() const;

 private:
  void move(cuda::CUdeviceptr to, cuda::CUdeviceptr from) const;
  void* memory_ = nullptr;
  cuda::PinnedMemory host_;
  cuda::Stream stream_;
};

const cuda::SharedContext& device_of_tests();  // device 0

// What is wrong; "": nothing.  Collectives by kernels, of which the last ones lend.
std::string check_lent_memory(tutti_comm* comm);

}  // namespace tutti::test

// Memory that kernels and copy engines can reach: the device's, the host's, and that of other processes.
#pragma once

#include <cstddef>

#include "device.h"

namespace tutti::cuda {

inline void* pointer_to(CUdeviceptr address) { return reinterpret_cast<void*>(static_cast<uintptr_t>(address)); }
inline CUdeviceptr address_of(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

// Of the device.  The host cannot read it.
class DeviceMemory {
 public:
  static Result<DeviceMemory> allocate(SharedContext context, size_t bytes);
  CUdeviceptr address() const { return memory_.get(); }
  std::byte* data() const { return static_cast<std::byte*>(pointer_to(memory_.get())); }
  size_t size() const { return bytes_; }
  // What another process of this machine opens.
  Result<CUipcMemHandle> shared() const;

 private:
  DeviceMemory(Held<CUdeviceptr, "cuMemFree"> memory, size_t bytes) : memory_(std::move(memory)), bytes_(bytes) {}
  Held<CUdeviceptr, "cuMemFree"> memory_;
  size_t bytes_ = 0;
};

// Another process's device memory, mapped here.  The process that allocated it cannot open its own.
class OpenedMemory {
 public:
  static Result<OpenedMemory> open(SharedContext context, const CUipcMemHandle& handle);
  CUdeviceptr address() const { return memory_.get(); }
  std::byte* data() const { return static_cast<std::byte*>(pointer_to(memory_.get())); }
  Result<size_t> bytes() const;  // of the allocation, as the driver knows it

 private:
  explicit OpenedMemory(Held<CUdeviceptr, "cuIpcCloseMemHandle"> memory) : memory_(std::move(memory)) {}
  Held<CUdeviceptr, "cuIpcCloseMemHandle"> memory_;
};

// Host memory that stays where it is, so that copies of it run beside the host.  All contexts may use it.
class PinnedMemory {
 public:
  static Result<PinnedMemory> allocate(SharedContext context, size_t bytes);
  std::byte* data() const { return static_cast<std::byte*>(memory_.get()); }
  size_t size() const { return bytes_; }
  Result<CUdeviceptr> device_address() const;

 private:
  PinnedMemory(Held<void*, "cuMemFreeHost"> memory, size_t bytes) : memory_(std::move(memory)), bytes_(bytes) {}
  Held<void*, "cuMemFreeHost"> memory_;
  size_t bytes_ = 0;
};

// Makes memory that the process has got elsewhere what PinnedMemory is.  It must outlive this object.
class HostRegistration {
 public:
  static Result<HostRegistration> make(SharedContext context, void* memory, size_t bytes);
  std::byte* data() const { return static_cast<std::byte*>(memory_.get()); }
  Result<CUdeviceptr> device_address() const;

 private:
  explicit HostRegistration(Held<void*, "cuMemHostUnregister"> memory) : memory_(std::move(memory)) {}
  Held<void*, "cuMemHostUnregister"> memory_;
};

// Where memory lies, as far as CUDA knows; of what it does not know it says that it is the host's.
enum class MemoryPlace : uint8_t { host, registered_host, device, managed };
struct KnownMemory {
  MemoryPlace place = MemoryPlace::host;
  int device = -1;  // of device and managed memory
};
// Needs no current context.
Result<KnownMemory> recognize(const Driver& driver, const void* pointer);

// The allocation that an address of device memory is in, and whether other processes can open it: memory of a pool,
// cudaMallocAsync()'s for one, they cannot.
struct Allocation {
  CUdeviceptr base = 0;
  size_t bytes = 0;
  bool can_be_shared = false;
};
Result<Allocation> allocation_of(const Context& context, CUdeviceptr address);
Result<CUipcMemHandle> share(const Context& context, CUdeviceptr address);

}  // namespace tutti::cuda

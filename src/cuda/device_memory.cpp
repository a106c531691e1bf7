#include "device_memory.h"

#include "byte_units.h"

namespace tutti::cuda {
namespace {

std::string amount(const Context& context, size_t bytes) {
  return describe_bytes(bytes) + " on device " + std::to_string(context.device());
}

Result<CUdeviceptr> mapped_at(const Context& context, void* memory) {
  const CurrentContext current(context);
  if (!current.status().ok()) return current.status();
  CUdeviceptr address = 0;
  Status status = context.check(context.driver().call<"cuMemHostGetDevicePointer">(&address, memory, 0U), "map host memory");
  if (!status.ok()) return status;
  return address;
}

}  // namespace

Result<DeviceMemory> DeviceMemory::allocate(SharedContext context, size_t bytes) {
  const CurrentContext current(*context);
  if (!current.status().ok()) return current.status();
  CUdeviceptr address = 0;
  if (const Error error = context->driver().call<"cuMemAlloc">(&address, bytes); error != Error::success)
    return context->failure(error, "allocate " + amount(*context, bytes));
  return DeviceMemory({std::move(context), address}, bytes);
}

Result<CUipcMemHandle> DeviceMemory::shared() const { return share(*memory_.context(), memory_.get()); }

Result<OpenedMemory> OpenedMemory::open(SharedContext context, const CUipcMemHandle& handle) {
  const CurrentContext current(*context);
  if (!current.status().ok()) return current.status();
  CUdeviceptr address = 0;
  const Error error = context->driver().call<"cuIpcOpenMemHandle">(&address, handle, kIpcLazyEnablePeerAccess);
  if (error != Error::success)
    return context->failure(error, "map another process's memory on device " + std::to_string(context->device()));
  return OpenedMemory({std::move(context), address});
}

Result<size_t> OpenedMemory::bytes() const {
  const Context& context = *memory_.context();
  const CurrentContext current(context);
  if (!current.status().ok()) return current.status();
  CUdeviceptr base = 0;
  size_t bytes = 0;
  Status status = context.check(context.driver().call<"cuMemGetAddressRange">(&base, &bytes, address()),
                                "tell how long another process's memory is");
  if (!status.ok()) return status;
  return address() - base < bytes ? bytes - (address() - base) : 0;
}

Result<PinnedMemory> PinnedMemory::allocate(SharedContext context, size_t bytes) {
  const CurrentContext current(*context);
  if (!current.status().ok()) return current.status();
  void* memory = nullptr;
  const unsigned flags = kHostAllocPortable | kHostAllocDeviceMap;
  if (const Error error = context->driver().call<"cuMemHostAlloc">(&memory, bytes, flags); error != Error::success)
    return context->failure(error, "allocate " + describe_bytes(bytes) + " of pinned host memory");
  return PinnedMemory({std::move(context), memory}, bytes);
}

Result<CUdeviceptr> PinnedMemory::device_address() const { return mapped_at(*memory_.context(), memory_.get()); }

Result<HostRegistration> HostRegistration::make(SharedContext context, void* memory, size_t bytes) {
  const CurrentContext current(*context);
  if (!current.status().ok()) return current.status();
  const unsigned flags = kHostRegisterPortable | kHostRegisterDeviceMap;
  if (const Error error = context->driver().call<"cuMemHostRegister">(memory, bytes, flags); error != Error::success)
    return context->failure(error, "register " + describe_bytes(bytes) + " of host memory");
  return HostRegistration({std::move(context), memory});
}

Result<CUdeviceptr> HostRegistration::device_address() const { return mapped_at(*memory_.context(), memory_.get()); }

Result<KnownMemory> recognize(const Driver& driver, const void* pointer) {
  unsigned type = 0;
  int managed = 0, device = -1;  // the driver may write a bool: the low byte of a zero is enough
  PointerAttribute attributes[] = {PointerAttribute::memory_type, PointerAttribute::is_managed, PointerAttribute::device_ordinal};
  void* values[] = {&type, &managed, &device};
  const Error error = driver.call<"cuPointerGetAttributes">(3U, &attributes[0], &values[0], address_of(pointer));
  // Before the process has a context nothing can be memory of a device.
  if (error == Error::invalid_value || error == Error::invalid_context) return KnownMemory{};
  if (error != Error::success) return driver.failure(error, "tell where a buffer lies");
  if (managed) return KnownMemory{MemoryPlace::managed, device};
  if (type == kMemoryTypeDevice) return KnownMemory{MemoryPlace::device, device};
  return KnownMemory{type == kMemoryTypeHost ? MemoryPlace::registered_host : MemoryPlace::host, -1};
}

Result<Allocation> allocation_of(const Context& context, CUdeviceptr address) {
  Allocation found;
  const Driver& driver = context.driver();
  Status status =
      context.check(driver.call<"cuMemGetAddressRange">(&found.base, &found.bytes, address), "tell what a buffer is a part of");
  if (!status.ok()) return status;
  int can_be_shared = 0;
  PointerAttribute attribute = PointerAttribute::is_legacy_cuda_ipc_capable;
  void* value = &can_be_shared;
  status =
      context.check(driver.call<"cuPointerGetAttributes">(1U, &attribute, &value, address), "tell whether a buffer can be shared");
  if (!status.ok()) return status;
  found.can_be_shared = can_be_shared != 0;
  return found;
}

Result<CUipcMemHandle> share(const Context& context, CUdeviceptr address) {
  const CurrentContext current(context);
  if (!current.status().ok()) return current.status();
  CUipcMemHandle handle{};
  Status status =
      context.check(context.driver().call<"cuIpcGetMemHandle">(&handle, address), "share device memory with other processes");
  if (!status.ok()) return status;
  return handle;
}

}  // namespace tutti::cuda

// Memory, and copies of it.
#include <algorithm>
#include <cstring>

#include "entries.h"
#include "graphs.h"
#include "memory.h"

namespace fake_cuda {
namespace {

Error make(Kind kind, CUdeviceptr* address, size_t bytes) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  if (const Error error = unsafe_call(); error != Error::success) return error;
  uintptr_t base = 0;
  const Error error = allocate(kind, context->device, bytes, base);
  *address = base;
  return error;
}

Error mem_alloc(CUdeviceptr* address, size_t bytes) { return make(Kind::device, address, bytes); }

Error mem_alloc_managed(CUdeviceptr* address, size_t bytes, unsigned flags) {
  return flags == kMemAttachGlobal ? make(Kind::managed, address, bytes) : Error::invalid_value;
}

// As the driver's, it waits for the device: a kernel that waits for this thread would wait for ever.
Error end(Kind kind, uintptr_t base) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  if (const Error error = unsafe_call(); error != Error::success) return error;
  context->synchronize();
  return release(kind, base);
}

Error mem_free(CUdeviceptr address) { return end(Kind::device, address); }

Error mem_alloc_async(CUdeviceptr* address, size_t bytes, CUstream) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  uintptr_t base = 0;
  const Error error = allocate(Kind::pool, context->device, bytes, base);
  *address = base;
  return error;
}

Error mem_free_async(CUdeviceptr address, CUstream stream) {
  return put_on(stream, [address] { return release(Kind::device, address); });
}

Error mem_info(size_t* free, size_t* total) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  *total = moods().memory;
  *free = *total - std::min(used_memory(context->device), *total);
  return Error::success;
}

Error address_range(CUdeviceptr* base, size_t* bytes, CUdeviceptr address) {
  const auto a = allocation_at(address);
  if (!a) return Error::not_found;
  if (base) *base = a->base;
  if (bytes) *bytes = a->bytes;
  return Error::success;
}

Error host_alloc(void** memory, size_t bytes, unsigned) {
  CUdeviceptr address = 0;
  const Error error = make(Kind::pinned, &address, bytes);
  *memory = pointer(address);
  return error;
}

Error host_free(void* memory) { return end(Kind::pinned, reinterpret_cast<uintptr_t>(memory)); }

Error host_register(void* memory, size_t bytes, unsigned) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  if (const Error error = unsafe_call(); error != Error::success) return error;
  return register_host(context->device, memory, bytes);
}

Error host_unregister(void* memory) { return end(Kind::registered, reinterpret_cast<uintptr_t>(memory)); }

Error host_device_pointer(CUdeviceptr* address, void* memory, unsigned flags) {
  const auto a = allocation_at(reinterpret_cast<uintptr_t>(memory));
  if (!a || flags != 0 || (a->kind != Kind::pinned && a->kind != Kind::registered)) return Error::invalid_value;
  *address = reinterpret_cast<uintptr_t>(memory);
  return Error::success;
}

Error pointer_attributes(unsigned count, PointerAttribute* attributes, void** values, CUdeviceptr address) {
  const auto a = allocation_at(address);
  const auto put = [](void* to, auto value) { std::memcpy(to, &value, sizeof(value)); };
  for (unsigned i = 0; i < count; ++i) switch (attributes[i]) {
      case PointerAttribute::memory_type:
        put(values[i], !a ? 0U : a->kind == Kind::pinned || a->kind == Kind::registered ? kMemoryTypeHost : kMemoryTypeDevice);
        break;
      case PointerAttribute::is_managed: put(values[i], a && a->kind == Kind::managed); break;
      case PointerAttribute::device_ordinal: put(values[i], a ? a->device : -2); break;
      case PointerAttribute::is_legacy_cuda_ipc_capable: put(values[i], a && a->kind == Kind::device && moods().ipc); break;
    }
  return Error::success;
}

Error ipc_get(CUipcMemHandle* handle, CUdeviceptr address) { return export_handle(address, *handle); }

Error ipc_open(CUdeviceptr* address, CUipcMemHandle handle, unsigned) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  uintptr_t base = 0;
  const Error error = open_handle(handle, base);
  *address = base;
  return error;
}

Error ipc_close(CUdeviceptr address) { return end(Kind::imported, address); }

// A copy from or to memory that CUDA does not know of has been made when this returns.
Error copy_async(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream handle) {
  if (!is_within(to, bytes) || !is_within(from, bytes)) return Error::invalid_value;
  const Error error = put_on(handle, [to, from, bytes] {
    const Touching touching;
    std::memmove(pointer(to), pointer(from), bytes);
    return Error::success;
  });
  if (error != Error::success || (!is_pageable(to) && !is_pageable(from))) return error;
  const auto stream = stream_of(handle);
  if (capture_status(*stream) == CaptureStatus::none) stream->mark()->wait();
  return Error::success;
}

Error fill_async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream handle) {
  if (!is_within(to, bytes) || is_pageable(to)) return Error::invalid_value;
  return put_on(handle, [to, value, bytes] {
    const Touching touching;
    std::memset(pointer(to), value, bytes);
    return Error::success;
  });
}

}  // namespace

std::vector<Row> memory_rows() {
  return {
      row<"cuMemAlloc", &mem_alloc>(),
      row<"cuMemAllocManaged", &mem_alloc_managed>(),
      row<"cuMemFree", &mem_free>(),
      row<"cuMemAllocAsync", &mem_alloc_async>(),
      row<"cuMemFreeAsync", &mem_free_async>(),
      row<"cuMemGetInfo", &mem_info>(),
      row<"cuMemGetAddressRange", &address_range>(),
      row<"cuMemHostAlloc", &host_alloc>(),
      row<"cuMemFreeHost", &host_free>(),
      row<"cuMemHostRegister", &host_register>(),
      row<"cuMemHostUnregister", &host_unregister>(),
      row<"cuMemHostGetDevicePointer", &host_device_pointer>(),
      row<"cuPointerGetAttributes", &pointer_attributes>(),
      row<"cuIpcGetMemHandle", &ipc_get>(),
      row<"cuIpcOpenMemHandle", &ipc_open>(),
      row<"cuIpcCloseMemHandle", &ipc_close>(),
      row<"cuMemcpyAsync", &copy_async>(),
      row<"cuMemsetD8Async", &fill_async>(),
  };
}

}  // namespace fake_cuda

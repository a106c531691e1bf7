// The driver, its devices and their contexts.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "driver.h"
#include "entries.h"
#include "kernels.h"
#include "memory.h"

namespace fake_cuda {
namespace {

std::atomic<bool> initialized = false;
thread_local std::vector<Context*> context_stack;

bool is_device(CUdevice device) { return device >= 0 && device < moods().devices; }

Error init(unsigned flags) {
  if (flags != 0) return Error::invalid_value;
  if (moods().devices == 0) return Error::no_device;
  initialized = true;
  return Error::success;
}

Error driver_version(int* version) {
  *version = moods().version;
  return Error::success;
}

struct ErrorText {
  Error error;
  const char *name, *text;
};
constexpr std::array kErrors = std::to_array<ErrorText>({
    {Error::success, "CUDA_SUCCESS", "no error"},
    {Error::invalid_value, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {Error::out_of_memory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {Error::not_initialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {Error::deinitialized, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {Error::no_device, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {Error::invalid_device, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {Error::invalid_image, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {Error::invalid_context, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {Error::map_failed, "CUDA_ERROR_MAP_FAILED", "mapping of buffer object failed"},
    {Error::no_binary_for_gpu, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {Error::ecc_uncorrectable, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {Error::peer_access_unsupported, "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
     "peer access is not supported between these two devices"},
    {Error::invalid_handle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {Error::not_found, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {Error::not_ready, "CUDA_ERROR_NOT_READY", "device not ready"},
    {Error::illegal_address, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {Error::launch_out_of_resources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {Error::peer_access_already_enabled, "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", "peer access is already enabled"},
    {Error::context_is_destroyed, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {Error::host_memory_already_registered, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is "
     "already mapped"},
    {Error::host_memory_not_registered, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory "
     "region"},
    {Error::launch_failed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {Error::not_supported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {Error::stream_capture_unsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {Error::stream_capture_invalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during "
     "capture"},
    {Error::stream_capture_unjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {Error::stream_capture_isolation, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
     "dependency created on uncaptured work in another stream"},
    {Error::stream_capture_implicit, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a "
     "capturing blocking stream"},
    {Error::captured_event, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
});

Error error_text(Error error, const char** text, const char* ErrorText::*member) {
  const auto* found = std::find_if(kErrors.begin(), kErrors.end(), [&](const ErrorText& known) { return known.error == error; });
  *text = found == kErrors.end() ? nullptr : (*found).*member;
  return *text ? Error::success : Error::invalid_value;
}
Error error_name(Error error, const char** name) { return error_text(error, name, &ErrorText::name); }
Error error_string(Error error, const char** text) { return error_text(error, text, &ErrorText::text); }

Error device_count(int* count) {
  *count = moods().devices;
  return Error::success;
}

Error device_get(CUdevice* device, int ordinal) {
  if (!is_device(ordinal)) return Error::invalid_device;
  *device = ordinal;
  return Error::success;
}

Error device_attribute(int* value, DeviceAttribute attribute, CUdevice device) {
  if (!is_device(device)) return Error::invalid_device;
  switch (attribute) {
    case DeviceAttribute::max_threads_per_block: *value = kMostThreadsOfBlock; break;
    case DeviceAttribute::multiprocessor_count: *value = kMultiprocessors; break;
    case DeviceAttribute::max_threads_per_multiprocessor: *value = kThreadsOfMultiprocessor; break;
    case DeviceAttribute::max_shared_memory_per_block: *value = kSharedBytesOfBlock; break;
    case DeviceAttribute::max_shared_memory_per_block_optin: *value = kMostSharedBytesOfBlock; break;
    case DeviceAttribute::compute_capability_major: *value = 9; break;
    case DeviceAttribute::l2_cache_size: *value = 50 << 20; break;
    case DeviceAttribute::async_engine_count: *value = 3; break;
    case DeviceAttribute::host_register_supported: *value = moods().register_; break;
    case DeviceAttribute::mps_enabled: *value = moods().mps; break;
    case DeviceAttribute::unified_addressing:
    case DeviceAttribute::managed_memory:
    case DeviceAttribute::concurrent_managed_access:
    case DeviceAttribute::compute_preemption_supported:
    case DeviceAttribute::can_use_host_pointer_for_registered_mem:
    case DeviceAttribute::memory_pools_supported: *value = 1; break;
    default: *value = 0; break;
  }
  return Error::success;
}

Error device_uuid(CUuuid* uuid, CUdevice device) {
  if (!is_device(device)) return Error::invalid_device;
  *uuid = {};
  std::memcpy(&uuid->bytes[0], "fake", 4);
  uuid->bytes[15] = static_cast<unsigned char>(device);
  return Error::success;
}

Error put_text(char* to, int bytes, const std::string& text) {
  if (bytes <= static_cast<int>(text.size())) return Error::invalid_value;
  std::memcpy(to, text.c_str(), text.size() + 1);
  return Error::success;
}

Error device_name(char* name, int bytes, CUdevice device) {
  return is_device(device) ? put_text(name, bytes, "Fake device") : Error::invalid_device;
}

Error device_bus_id(char* id, int bytes, CUdevice device) {
  return is_device(device) ? put_text(id, bytes, "0000:0" + std::to_string(device + 1) + ":00.0") : Error::invalid_device;
}

Error can_access_peer(int* can, CUdevice from, CUdevice to) {
  if (!is_device(from) || !is_device(to)) return Error::invalid_device;
  *can = from != to && moods().p2p;
  return Error::success;
}

Error primary_retain(CUcontext* handle, CUdevice device) {
  if (!is_device(device)) return Error::invalid_device;
  Context& context = context_of(device);
  const std::lock_guard lock(context.mutex);
  if (context.retained++ == 0) {
    context.broken = Error::success;
    ++context.life;
    context.active = true;
  }
  *handle = reinterpret_cast<CUcontext>(&context);
  return Error::success;
}

// With the last one all ends that is in it.
Error primary_release(CUdevice device) {
  if (!is_device(device)) return Error::invalid_device;
  Context& context = context_of(device);
  {
    const std::lock_guard lock(context.mutex);
    if (context.retained == 0) return Error::invalid_context;
    if (--context.retained > 0) return Error::success;
  }
  context.active = false;
  context.synchronize();
  const std::lock_guard lock(context.mutex);
  for (const auto& known : context.streams)
    if (const auto stream = known.lock()) stream->stop();
  context.streams.clear();
  context.legacy = nullptr;
  release_all(device);
  return Error::success;
}

Error push(CUcontext handle) {
  auto* const context = reinterpret_cast<Context*>(handle);
  if (!context || !context->active) return context ? Error::context_is_destroyed : Error::invalid_context;
  context_stack.push_back(context);
  return Error::success;
}

Error pop(CUcontext* handle) {
  if (context_stack.empty()) return Error::invalid_context;
  *handle = reinterpret_cast<CUcontext>(context_stack.back());
  context_stack.pop_back();
  return Error::success;
}

Error get_current(CUcontext* handle) {
  *handle = reinterpret_cast<CUcontext>(current_context());
  return Error::success;
}

Error get_device(CUdevice* device) {
  const Context* context = current_context();
  if (!context) return Error::invalid_context;
  *device = context->device;
  return Error::success;
}

std::array<std::array<std::atomic<bool>, 16>, 16> peers;  // enabled

Error enable_peer(CUcontext handle, unsigned flags) {
  const Context* context = current_context();
  const auto* peer = reinterpret_cast<const Context*>(handle);
  if (!context || !peer || flags != 0 || peer == context) return Error::invalid_value;
  if (!moods().p2p) return Error::peer_access_unsupported;
  return peers[static_cast<size_t>(context->device)][static_cast<size_t>(peer->device)].exchange(true)
             ? Error::peer_access_already_enabled
             : Error::success;
}

Error synchronize_context() {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  if (const Error error = unsafe_call(); error != Error::success) return error;
  context->synchronize();
  return context->broken;
}

}  // namespace

Error before_call(std::string_view name) {
  if (moods().gone) return Error::deinitialized;
  const bool early = name == "cuInit" || name == "cuDriverGetVersion" || name.starts_with("cuGetError");
  if (!early && !initialized) return Error::not_initialized;
  const Error error = planned_failure(name);
  if (Context* const context = current_context(); is_sticky(error) && context) context->broken = error;
  return error;
}

Error in_context(Context*& context) {
  context = current_context();
  if (!context) return Error::invalid_context;
  if (!context->active) return Error::context_is_destroyed;
  return context->broken;
}

Context* current_context() { return context_stack.empty() ? nullptr : context_stack.back(); }

Context& context_of(int device) {
  static auto* const all = [] {  // never destroyed
    auto* const made = new std::array<Context, 16>;
    for (size_t i = 0; i < made->size(); ++i) (*made)[i].device = static_cast<int>(i);
    return made;
  }();
  return (*all)[static_cast<size_t>(device)];
}

std::vector<Row> device_rows() {
  return {
      row<"cuInit", &init>(),
      row<"cuDriverGetVersion", &driver_version>(),
      row<"cuGetErrorName", &error_name>(),
      row<"cuGetErrorString", &error_string>(),
      row<"cuDeviceGetCount", &device_count>(),
      row<"cuDeviceGet", &device_get>(),
      row<"cuDeviceGetAttribute", &device_attribute>(),
      row<"cuDeviceGetUuid", &device_uuid>(),
      row<"cuDeviceGetName", &device_name>(),
      row<"cuDeviceGetPCIBusId", &device_bus_id>(),
      row<"cuDeviceCanAccessPeer", &can_access_peer>(),
      row<"cuDevicePrimaryCtxRetain", &primary_retain>(),
      row<"cuDevicePrimaryCtxRelease", &primary_release>(),
      row<"cuCtxPushCurrent", &push>(),
      row<"cuCtxPopCurrent", &pop>(),
      row<"cuCtxGetCurrent", &get_current>(),
      row<"cuCtxGetDevice", &get_device>(),
      row<"cuCtxEnablePeerAccess", &enable_peer>(),
      row<"cuCtxSynchronize", &synchronize_context>(),
  };
}

}  // namespace fake_cuda

// The part of CUDA's driver interface that the library, its tests and tools use, declared here: it is a stable binary
// interface, and a build needs no header of CUDA.  Names and numbers are CUDA's own; tests/cuda/abi_test.cpp compares
// them with cuda.h where there is one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tutti::cuda {

using CUdevice = int;                    // an ordinal
using CUdeviceptr = unsigned long long;  // an address, in one space with those of the host
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;
using CUhostFn = void (*)(void*);

struct CUuuid {
  unsigned char bytes[16];
};
struct CUipcMemHandle {
  unsigned char reserved[64];
};

// Of the many results those that something here depends on; the driver knows the names of all.
enum class Error : int {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  deinitialized = 4,
  stub_library = 34,
  call_requires_newer_driver = 36,
  device_unavailable = 46,
  no_device = 100,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  map_failed = 205,
  no_binary_for_gpu = 209,
  ecc_uncorrectable = 214,
  peer_access_unsupported = 217,
  invalid_ptx = 218,
  nvlink_uncorrectable = 220,
  unsupported_ptx_version = 222,
  contained = 226,
  operating_system = 304,
  invalid_handle = 400,
  not_found = 500,
  not_ready = 600,
  illegal_address = 700,
  launch_out_of_resources = 701,
  launch_timeout = 702,
  peer_access_already_enabled = 704,
  context_is_destroyed = 709,
  assert_triggered = 710,
  too_many_peers = 711,
  host_memory_already_registered = 712,
  host_memory_not_registered = 713,
  hardware_stack_error = 714,
  illegal_instruction = 715,
  misaligned_address = 716,
  invalid_address_space = 717,
  invalid_pc = 718,
  launch_failed = 719,
  tensor_memory_leak = 721,
  not_permitted = 800,
  not_supported = 801,
  system_not_ready = 802,
  system_driver_mismatch = 803,
  compat_not_supported_on_device = 804,
  mps_connection_failed = 805,
  mps_rpc_failure = 806,
  mps_server_not_ready = 807,
  mps_max_clients_reached = 808,
  mps_max_connections_reached = 809,
  mps_client_terminated = 810,
  stream_capture_unsupported = 900,
  stream_capture_invalidated = 901,
  stream_capture_merge = 902,
  stream_capture_unmatched = 903,
  stream_capture_unjoined = 904,
  stream_capture_isolation = 905,
  stream_capture_implicit = 906,
  captured_event = 907,
  stream_capture_wrong_thread = 908,
  external_device = 911,
  unknown = 999,
};

enum class DeviceAttribute : int {
  max_threads_per_block = 1,
  max_shared_memory_per_block = 8,
  multiprocessor_count = 16,
  integrated = 18,
  compute_mode = 20,
  l2_cache_size = 38,
  max_threads_per_multiprocessor = 39,
  async_engine_count = 40,
  unified_addressing = 41,
  compute_capability_major = 75,
  compute_capability_minor = 76,
  managed_memory = 83,
  pageable_memory_access = 88,
  concurrent_managed_access = 89,
  compute_preemption_supported = 90,
  can_use_host_pointer_for_registered_mem = 91,
  max_shared_memory_per_block_optin = 97,
  host_register_supported = 99,
  memory_pools_supported = 115,
  ipc_event_supported = 125,
  mps_enabled = 133,
  host_numa_id = 134,
};

enum class PointerAttribute : int {
  memory_type = 2,
  is_managed = 8,
  device_ordinal = 9,
  is_legacy_cuda_ipc_capable = 10,
};

enum class FunctionAttribute : int {
  max_threads_per_block = 0,
  shared_size_bytes = 1,
  local_size_bytes = 3,
  num_regs = 4,
  binary_version = 6,
  max_dynamic_shared_size_bytes = 8,
};

enum class CaptureStatus : int { none = 0, active = 1, invalidated = 2 };
enum class CaptureMode : int { global = 0, thread_local_ = 1, relaxed = 2 };

inline constexpr unsigned kMemoryTypeHost = 1, kMemoryTypeDevice = 2;  // of PointerAttribute::memory_type
inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr unsigned kHostAllocPortable = 1, kHostAllocDeviceMap = 2;
inline constexpr unsigned kHostRegisterPortable = 1, kHostRegisterDeviceMap = 2;
inline constexpr unsigned kIpcLazyEnablePeerAccess = 1;
inline constexpr unsigned kMemAttachGlobal = 1;
inline constexpr unsigned kWaitValueGeq = 0, kWaitValueEq = 1;
inline constexpr uint64_t kLegacyStreamFunctions = 1;                // cuGetProcAddress: NULL means the legacy default stream
inline constexpr uintptr_t kLegacyStream = 1, kPerThreadStream = 2;  // of CUstream, never dereferenced

// A text as a template argument.
template <size_t kLength>
struct Text {
  char chars[kLength];
  constexpr Text(const char (&text)[kLength]) {  // NOLINT: implicit by design
    for (size_t i = 0; i < kLength; ++i) chars[i] = text[i];
  }
};

// A function of the driver: cuGetProcAddress finds that of this name whose signature is the one since version `kSince`,
// 1000 times the major version plus 10 times the minor one.
template <Text kName, int kSince, class Signature>
struct Entry;
template <Text kName, int kSince, class... Arguments>
struct Entry<kName, kSince, Error(Arguments...)> {
  using Function = Error (*)(Arguments...);
  static constexpr const char* name() { return kName.chars; }
  static constexpr int since() { return kSince; }
  Function function = nullptr;
};

template <class... Entries>
struct EntryTable : Entries... {
  static constexpr size_t kEntries = sizeof...(Entries);
  template <class Visitor>
  void for_each(Visitor&& visit) {
    (visit(static_cast<Entries&>(*this)), ...);
  }
};

// The entry of that name in a table: its base class, whose other arguments follow from the first.
template <Text kName, int kSince, class Signature>
constexpr const Entry<kName, kSince, Signature>& named(const Entry<kName, kSince, Signature>& entry) {
  return entry;
}

// clang-format off: a function a line
using Functions = EntryTable<
    // The driver and its devices.
    Entry<"cuInit", 2000, Error(unsigned flags)>, Entry<"cuDriverGetVersion", 2020, Error(int* version)>,
    Entry<"cuGetErrorName", 6000, Error(Error, const char** name)>,
    Entry<"cuGetErrorString", 6000, Error(Error, const char** text)>, Entry<"cuDeviceGetCount", 2000, Error(int* count)>,
    Entry<"cuDeviceGet", 2000, Error(CUdevice*, int ordinal)>,
    Entry<"cuDeviceGetAttribute", 2000, Error(int* value, DeviceAttribute, CUdevice)>,
    Entry<"cuDeviceGetUuid", 11040, Error(CUuuid*, CUdevice)>,
    Entry<"cuDeviceGetName", 2000, Error(char* name, int bytes, CUdevice)>,
    Entry<"cuDeviceGetPCIBusId", 4010, Error(char* id, int bytes, CUdevice)>,
    Entry<"cuDeviceCanAccessPeer", 4000, Error(int* can, CUdevice from, CUdevice to)>,
    // Contexts.
    Entry<"cuDevicePrimaryCtxRetain", 7000, Error(CUcontext*, CUdevice)>,
    Entry<"cuDevicePrimaryCtxRelease", 11000, Error(CUdevice)>, Entry<"cuCtxPushCurrent", 4000, Error(CUcontext)>,
    Entry<"cuCtxPopCurrent", 4000, Error(CUcontext*)>, Entry<"cuCtxGetCurrent", 4000, Error(CUcontext*)>,
    Entry<"cuCtxGetDevice", 2000, Error(CUdevice*)>, Entry<"cuCtxEnablePeerAccess", 4000, Error(CUcontext peer, unsigned flags)>,
    Entry<"cuCtxSynchronize", 2000, Error()>,
    // Memory.
    Entry<"cuMemAlloc", 3020, Error(CUdeviceptr*, size_t bytes)>,
    Entry<"cuMemAllocManaged", 6000, Error(CUdeviceptr*, size_t bytes, unsigned flags)>,
    Entry<"cuMemFree", 3020, Error(CUdeviceptr)>, Entry<"cuMemAllocAsync", 11020, Error(CUdeviceptr*, size_t bytes, CUstream)>,
    Entry<"cuMemFreeAsync", 11020, Error(CUdeviceptr, CUstream)>, Entry<"cuMemGetInfo", 3020, Error(size_t* free, size_t* total)>,
    Entry<"cuMemGetAddressRange", 3020, Error(CUdeviceptr* base, size_t* bytes, CUdeviceptr)>,
    Entry<"cuMemHostAlloc", 2020, Error(void**, size_t bytes, unsigned flags)>, Entry<"cuMemFreeHost", 2000, Error(void*)>,
    Entry<"cuMemHostRegister", 6050, Error(void*, size_t bytes, unsigned flags)>, Entry<"cuMemHostUnregister", 4000, Error(void*)>,
    Entry<"cuMemHostGetDevicePointer", 3020, Error(CUdeviceptr*, void*, unsigned flags)>,
    Entry<"cuPointerGetAttributes", 7000, Error(unsigned count, PointerAttribute*, void** data, CUdeviceptr)>,
    Entry<"cuIpcGetMemHandle", 4010, Error(CUipcMemHandle*, CUdeviceptr)>,
    Entry<"cuIpcOpenMemHandle", 11000, Error(CUdeviceptr*, CUipcMemHandle, unsigned flags)>,
    Entry<"cuIpcCloseMemHandle", 4010, Error(CUdeviceptr)>,
    Entry<"cuMemcpyAsync", 4000, Error(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream)>,
    Entry<"cuMemsetD8Async", 3020, Error(CUdeviceptr, unsigned char, size_t bytes, CUstream)>,
    // Streams and events.
    Entry<"cuStreamCreate", 2000, Error(CUstream*, unsigned flags)>, Entry<"cuStreamDestroy", 4000, Error(CUstream)>,
    Entry<"cuStreamQuery", 2000, Error(CUstream)>, Entry<"cuStreamSynchronize", 2000, Error(CUstream)>,
    Entry<"cuStreamWaitEvent", 3020, Error(CUstream, CUevent, unsigned flags)>,
    Entry<"cuStreamWaitValue32", 11070, Error(CUstream, CUdeviceptr, uint32_t value, unsigned flags)>,
    Entry<"cuStreamWriteValue32", 11070, Error(CUstream, CUdeviceptr, uint32_t value, unsigned flags)>,
    Entry<"cuLaunchHostFunc", 10000, Error(CUstream, CUhostFn, void*)>,
    Entry<"cuEventCreate", 2000, Error(CUevent*, unsigned flags)>, Entry<"cuEventDestroy", 4000, Error(CUevent)>,
    Entry<"cuEventRecord", 2000, Error(CUevent, CUstream)>, Entry<"cuEventQuery", 2000, Error(CUevent)>,
    Entry<"cuEventSynchronize", 2000, Error(CUevent)>,
    Entry<"cuEventElapsedTime", 2000, Error(float* milliseconds, CUevent begin, CUevent end)>,
    // Graphs.
    Entry<"cuStreamGetCtx", 9020, Error(CUstream, CUcontext*)>,
    Entry<"cuStreamGetCaptureInfo", 10010, Error(CUstream, CaptureStatus*, uint64_t* id)>,
    Entry<"cuStreamBeginCapture", 10010, Error(CUstream, CaptureMode)>,
    Entry<"cuStreamEndCapture", 10000, Error(CUstream, CUgraph*)>,
    Entry<"cuThreadExchangeStreamCaptureMode", 10010, Error(CaptureMode*)>,
    Entry<"cuGraphInstantiateWithFlags", 11040, Error(CUgraphExec*, CUgraph, unsigned long long flags)>,
    Entry<"cuGraphLaunch", 10000, Error(CUgraphExec, CUstream)>, Entry<"cuGraphExecDestroy", 10000, Error(CUgraphExec)>,
    Entry<"cuGraphDestroy", 10000, Error(CUgraph)>,
    // Kernels.
    Entry<"cuModuleLoadData", 2000, Error(CUmodule*, const void* image)>, Entry<"cuModuleUnload", 2000, Error(CUmodule)>,
    Entry<"cuModuleGetFunction", 2000, Error(CUfunction*, CUmodule, const char* name)>,
    Entry<"cuFuncLoad", 12040, Error(CUfunction)>,
    Entry<"cuFuncGetAttribute", 2020, Error(int* value, FunctionAttribute, CUfunction)>,
    Entry<"cuFuncSetAttribute", 9000, Error(CUfunction, FunctionAttribute, int value)>,
    Entry<"cuOccupancyMaxActiveBlocksPerMultiprocessor", 6050, Error(int* blocks, CUfunction, int threads, size_t shared_bytes)>,
    Entry<"cuLaunchKernel", 4000,
          Error(CUfunction, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                unsigned shared_bytes, CUstream, void** parameters, void** extra)>>;
// clang-format on

}  // namespace tutti::cuda

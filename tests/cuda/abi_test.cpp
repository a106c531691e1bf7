// The declarations of driver_abi.h against those of CUDA's own headers, nearly all by the compiler.
#include <cuda.h>
#include <cudaTypedefs.h>
#include <gtest/gtest.h>

#include "driver_abi.h"

namespace tutti::cuda {
namespace {

// Arguments are passed alike: both are pointers, or both are numbers or structures of one size.
template <class Ours, class Theirs>
constexpr bool kSamePassed = std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>&& std::is_class_v<Ours> ==
                                 std::is_class_v<Theirs> &&
                             sizeof(Ours) == sizeof(Theirs);
// What they point at has one size, too.
template <class Ours, class Theirs>
constexpr bool same_pointed() {
  if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) {
    using A = std::remove_pointer_t<Ours>;
    using B = std::remove_pointer_t<Theirs>;
    if constexpr (std::is_void_v<A> || std::is_void_v<B>)
      return std::is_void_v<A> && std::is_void_v<B>;
    else if constexpr (std::is_function_v<A>)
      return std::is_function_v<B>;
    else if constexpr (requires { sizeof(A), sizeof(B); })
      return sizeof(A) == sizeof(B);
  }
  return true;
}

template <class Ours, class Theirs>
struct Same;
template <class... Ours, class Result, class... Theirs>
struct Same<Error (*)(Ours...), Result (*)(Theirs...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(Ours) == sizeof...(Theirs))
      return sizeof(Error) == sizeof(Result) && ((kSamePassed<Ours, Theirs> && same_pointed<Ours, Theirs>()) && ...);
    else
      return false;
  }();
};

template <Text kName, class Theirs>
constexpr bool check(int version) {
  const Functions functions;
  const auto& entry = named<kName>(functions);
  return entry.since() == version && Same<std::remove_cvref_t<decltype(entry.function)>, Theirs>::value;
}

#define SAME(name, version) static_assert(check<#name, PFN_##name##_v##version>(version), "another signature, or another version")

SAME(cuInit, 2000);
SAME(cuDriverGetVersion, 2020);
SAME(cuGetErrorName, 6000);
SAME(cuGetErrorString, 6000);
SAME(cuDeviceGetCount, 2000);
SAME(cuDeviceGet, 2000);
SAME(cuDeviceGetAttribute, 2000);
SAME(cuDeviceGetUuid, 11040);
SAME(cuDeviceGetName, 2000);
SAME(cuDeviceGetPCIBusId, 4010);
SAME(cuDeviceCanAccessPeer, 4000);
SAME(cuDevicePrimaryCtxRetain, 7000);
SAME(cuDevicePrimaryCtxRelease, 11000);
SAME(cuCtxPushCurrent, 4000);
SAME(cuCtxPopCurrent, 4000);
SAME(cuCtxGetCurrent, 4000);
SAME(cuCtxGetDevice, 2000);
SAME(cuCtxEnablePeerAccess, 4000);
SAME(cuCtxSynchronize, 2000);
SAME(cuMemAlloc, 3020);
SAME(cuMemAllocManaged, 6000);
SAME(cuMemFree, 3020);
SAME(cuMemAllocAsync, 11020);
SAME(cuMemFreeAsync, 11020);
SAME(cuMemGetInfo, 3020);
SAME(cuMemGetAddressRange, 3020);
SAME(cuMemHostAlloc, 2020);
SAME(cuMemFreeHost, 2000);
SAME(cuMemHostRegister, 6050);
SAME(cuMemHostUnregister, 4000);
SAME(cuMemHostGetDevicePointer, 3020);
SAME(cuPointerGetAttributes, 7000);
SAME(cuIpcGetMemHandle, 4010);
SAME(cuIpcOpenMemHandle, 11000);
SAME(cuIpcCloseMemHandle, 4010);
SAME(cuMemcpyAsync, 4000);
SAME(cuMemsetD8Async, 3020);
SAME(cuStreamCreate, 2000);
SAME(cuStreamDestroy, 4000);
SAME(cuStreamQuery, 2000);
SAME(cuStreamSynchronize, 2000);
SAME(cuStreamWaitEvent, 3020);
SAME(cuStreamWaitValue32, 11070);
SAME(cuStreamWriteValue32, 11070);
SAME(cuLaunchHostFunc, 10000);
SAME(cuEventCreate, 2000);
SAME(cuEventDestroy, 4000);
SAME(cuEventRecord, 2000);
SAME(cuEventQuery, 2000);
SAME(cuEventSynchronize, 2000);
SAME(cuEventElapsedTime, 2000);
SAME(cuStreamGetCtx, 9020);
SAME(cuStreamGetCaptureInfo, 10010);
SAME(cuStreamBeginCapture, 10010);
SAME(cuStreamEndCapture, 10000);
SAME(cuThreadExchangeStreamCaptureMode, 10010);
SAME(cuGraphInstantiateWithFlags, 11040);
SAME(cuGraphLaunch, 10000);
SAME(cuGraphExecDestroy, 10000);
SAME(cuGraphDestroy, 10000);
SAME(cuModuleLoadData, 2000);
SAME(cuModuleUnload, 2000);
SAME(cuModuleGetFunction, 2000);
SAME(cuFuncLoad, 12040);
SAME(cuFuncGetAttribute, 2020);
SAME(cuFuncSetAttribute, 9000);
SAME(cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050);
SAME(cuLaunchKernel, 4000);
constexpr size_t kCompared = 68;
static_assert(Functions::kEntries == kCompared, "a function has no line above");

static_assert(static_cast<int>(Error::success) == static_cast<int>(CUDA_SUCCESS));
static_assert(static_cast<int>(Error::invalid_value) == static_cast<int>(CUDA_ERROR_INVALID_VALUE));
static_assert(static_cast<int>(Error::out_of_memory) == static_cast<int>(CUDA_ERROR_OUT_OF_MEMORY));
static_assert(static_cast<int>(Error::not_initialized) == static_cast<int>(CUDA_ERROR_NOT_INITIALIZED));
static_assert(static_cast<int>(Error::deinitialized) == static_cast<int>(CUDA_ERROR_DEINITIALIZED));
static_assert(static_cast<int>(Error::stub_library) == static_cast<int>(CUDA_ERROR_STUB_LIBRARY));
static_assert(static_cast<int>(Error::call_requires_newer_driver) == static_cast<int>(CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER));
static_assert(static_cast<int>(Error::device_unavailable) == static_cast<int>(CUDA_ERROR_DEVICE_UNAVAILABLE));
static_assert(static_cast<int>(Error::no_device) == static_cast<int>(CUDA_ERROR_NO_DEVICE));
static_assert(static_cast<int>(Error::invalid_device) == static_cast<int>(CUDA_ERROR_INVALID_DEVICE));
static_assert(static_cast<int>(Error::invalid_image) == static_cast<int>(CUDA_ERROR_INVALID_IMAGE));
static_assert(static_cast<int>(Error::invalid_context) == static_cast<int>(CUDA_ERROR_INVALID_CONTEXT));
static_assert(static_cast<int>(Error::map_failed) == static_cast<int>(CUDA_ERROR_MAP_FAILED));
static_assert(static_cast<int>(Error::no_binary_for_gpu) == static_cast<int>(CUDA_ERROR_NO_BINARY_FOR_GPU));
static_assert(static_cast<int>(Error::ecc_uncorrectable) == static_cast<int>(CUDA_ERROR_ECC_UNCORRECTABLE));
static_assert(static_cast<int>(Error::peer_access_unsupported) == static_cast<int>(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED));
static_assert(static_cast<int>(Error::invalid_ptx) == static_cast<int>(CUDA_ERROR_INVALID_PTX));
static_assert(static_cast<int>(Error::nvlink_uncorrectable) == static_cast<int>(CUDA_ERROR_NVLINK_UNCORRECTABLE));
static_assert(static_cast<int>(Error::unsupported_ptx_version) == static_cast<int>(CUDA_ERROR_UNSUPPORTED_PTX_VERSION));
static_assert(static_cast<int>(Error::contained) == static_cast<int>(CUDA_ERROR_CONTAINED));
static_assert(static_cast<int>(Error::operating_system) == static_cast<int>(CUDA_ERROR_OPERATING_SYSTEM));
static_assert(static_cast<int>(Error::invalid_handle) == static_cast<int>(CUDA_ERROR_INVALID_HANDLE));
static_assert(static_cast<int>(Error::not_found) == static_cast<int>(CUDA_ERROR_NOT_FOUND));
static_assert(static_cast<int>(Error::not_ready) == static_cast<int>(CUDA_ERROR_NOT_READY));
static_assert(static_cast<int>(Error::illegal_address) == static_cast<int>(CUDA_ERROR_ILLEGAL_ADDRESS));
static_assert(static_cast<int>(Error::launch_out_of_resources) == static_cast<int>(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES));
static_assert(static_cast<int>(Error::launch_timeout) == static_cast<int>(CUDA_ERROR_LAUNCH_TIMEOUT));
static_assert(static_cast<int>(Error::peer_access_already_enabled) == static_cast<int>(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED));
static_assert(static_cast<int>(Error::context_is_destroyed) == static_cast<int>(CUDA_ERROR_CONTEXT_IS_DESTROYED));
static_assert(static_cast<int>(Error::assert_triggered) == static_cast<int>(CUDA_ERROR_ASSERT));
static_assert(static_cast<int>(Error::too_many_peers) == static_cast<int>(CUDA_ERROR_TOO_MANY_PEERS));
static_assert(static_cast<int>(Error::host_memory_already_registered) ==
              static_cast<int>(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED));
static_assert(static_cast<int>(Error::host_memory_not_registered) == static_cast<int>(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED));
static_assert(static_cast<int>(Error::hardware_stack_error) == static_cast<int>(CUDA_ERROR_HARDWARE_STACK_ERROR));
static_assert(static_cast<int>(Error::illegal_instruction) == static_cast<int>(CUDA_ERROR_ILLEGAL_INSTRUCTION));
static_assert(static_cast<int>(Error::misaligned_address) == static_cast<int>(CUDA_ERROR_MISALIGNED_ADDRESS));
static_assert(static_cast<int>(Error::invalid_address_space) == static_cast<int>(CUDA_ERROR_INVALID_ADDRESS_SPACE));
static_assert(static_cast<int>(Error::invalid_pc) == static_cast<int>(CUDA_ERROR_INVALID_PC));
static_assert(static_cast<int>(Error::launch_failed) == static_cast<int>(CUDA_ERROR_LAUNCH_FAILED));
static_assert(static_cast<int>(Error::tensor_memory_leak) == static_cast<int>(CUDA_ERROR_TENSOR_MEMORY_LEAK));
static_assert(static_cast<int>(Error::not_permitted) == static_cast<int>(CUDA_ERROR_NOT_PERMITTED));
static_assert(static_cast<int>(Error::not_supported) == static_cast<int>(CUDA_ERROR_NOT_SUPPORTED));
static_assert(static_cast<int>(Error::system_not_ready) == static_cast<int>(CUDA_ERROR_SYSTEM_NOT_READY));
static_assert(static_cast<int>(Error::system_driver_mismatch) == static_cast<int>(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH));
static_assert(static_cast<int>(Error::compat_not_supported_on_device) ==
              static_cast<int>(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE));
static_assert(static_cast<int>(Error::mps_connection_failed) == static_cast<int>(CUDA_ERROR_MPS_CONNECTION_FAILED));
static_assert(static_cast<int>(Error::mps_rpc_failure) == static_cast<int>(CUDA_ERROR_MPS_RPC_FAILURE));
static_assert(static_cast<int>(Error::mps_server_not_ready) == static_cast<int>(CUDA_ERROR_MPS_SERVER_NOT_READY));
static_assert(static_cast<int>(Error::mps_max_clients_reached) == static_cast<int>(CUDA_ERROR_MPS_MAX_CLIENTS_REACHED));
static_assert(static_cast<int>(Error::mps_max_connections_reached) == static_cast<int>(CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED));
static_assert(static_cast<int>(Error::mps_client_terminated) == static_cast<int>(CUDA_ERROR_MPS_CLIENT_TERMINATED));
static_assert(static_cast<int>(Error::stream_capture_unsupported) == static_cast<int>(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
static_assert(static_cast<int>(Error::stream_capture_invalidated) == static_cast<int>(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED));
static_assert(static_cast<int>(Error::stream_capture_merge) == static_cast<int>(CUDA_ERROR_STREAM_CAPTURE_MERGE));
static_assert(static_cast<int>(Error::stream_capture_unmatched) == static_cast<int>(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED));
static_assert(static_cast<int>(Error::stream_capture_unjoined) == static_cast<int>(CUDA_ERROR_STREAM_CAPTURE_UNJOINED));
static_assert(static_cast<int>(Error::stream_capture_isolation) == static_cast<int>(CUDA_ERROR_STREAM_CAPTURE_ISOLATION));
static_assert(static_cast<int>(Error::stream_capture_implicit) == static_cast<int>(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT));
static_assert(static_cast<int>(Error::captured_event) == static_cast<int>(CUDA_ERROR_CAPTURED_EVENT));
static_assert(static_cast<int>(Error::stream_capture_wrong_thread) == static_cast<int>(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD));
static_assert(static_cast<int>(Error::external_device) == static_cast<int>(CUDA_ERROR_EXTERNAL_DEVICE));
static_assert(static_cast<int>(Error::unknown) == static_cast<int>(CUDA_ERROR_UNKNOWN));

static_assert(static_cast<int>(DeviceAttribute::max_threads_per_block) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK));
static_assert(static_cast<int>(DeviceAttribute::max_shared_memory_per_block) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK));
static_assert(static_cast<int>(DeviceAttribute::multiprocessor_count) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
static_assert(static_cast<int>(DeviceAttribute::integrated) == static_cast<int>(CU_DEVICE_ATTRIBUTE_INTEGRATED));
static_assert(static_cast<int>(DeviceAttribute::compute_mode) == static_cast<int>(CU_DEVICE_ATTRIBUTE_COMPUTE_MODE));
static_assert(static_cast<int>(DeviceAttribute::l2_cache_size) == static_cast<int>(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE));
static_assert(static_cast<int>(DeviceAttribute::max_threads_per_multiprocessor) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR));
static_assert(static_cast<int>(DeviceAttribute::async_engine_count) == static_cast<int>(CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT));
static_assert(static_cast<int>(DeviceAttribute::unified_addressing) == static_cast<int>(CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING));
static_assert(static_cast<int>(DeviceAttribute::compute_capability_major) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
static_assert(static_cast<int>(DeviceAttribute::compute_capability_minor) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
static_assert(static_cast<int>(DeviceAttribute::managed_memory) == static_cast<int>(CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY));
static_assert(static_cast<int>(DeviceAttribute::pageable_memory_access) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS));
static_assert(static_cast<int>(DeviceAttribute::concurrent_managed_access) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS));
static_assert(static_cast<int>(DeviceAttribute::compute_preemption_supported) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED));
static_assert(static_cast<int>(DeviceAttribute::can_use_host_pointer_for_registered_mem) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM));
static_assert(static_cast<int>(DeviceAttribute::max_shared_memory_per_block_optin) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
static_assert(static_cast<int>(DeviceAttribute::host_register_supported) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED));
static_assert(static_cast<int>(DeviceAttribute::memory_pools_supported) ==
              static_cast<int>(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED));
static_assert(static_cast<int>(DeviceAttribute::ipc_event_supported) == static_cast<int>(CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED));
static_assert(static_cast<int>(DeviceAttribute::mps_enabled) == static_cast<int>(CU_DEVICE_ATTRIBUTE_MPS_ENABLED));
static_assert(static_cast<int>(DeviceAttribute::host_numa_id) == static_cast<int>(CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID));
static_assert(static_cast<int>(PointerAttribute::memory_type) == static_cast<int>(CU_POINTER_ATTRIBUTE_MEMORY_TYPE));
static_assert(static_cast<int>(PointerAttribute::is_managed) == static_cast<int>(CU_POINTER_ATTRIBUTE_IS_MANAGED));
static_assert(static_cast<int>(PointerAttribute::device_ordinal) == static_cast<int>(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL));
static_assert(static_cast<int>(PointerAttribute::is_legacy_cuda_ipc_capable) ==
              static_cast<int>(CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE));
static_assert(static_cast<int>(FunctionAttribute::max_threads_per_block) ==
              static_cast<int>(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK));
static_assert(static_cast<int>(FunctionAttribute::shared_size_bytes) == static_cast<int>(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES));
static_assert(static_cast<int>(FunctionAttribute::local_size_bytes) == static_cast<int>(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES));
static_assert(static_cast<int>(FunctionAttribute::num_regs) == static_cast<int>(CU_FUNC_ATTRIBUTE_NUM_REGS));
static_assert(static_cast<int>(FunctionAttribute::binary_version) == static_cast<int>(CU_FUNC_ATTRIBUTE_BINARY_VERSION));
static_assert(static_cast<int>(FunctionAttribute::max_dynamic_shared_size_bytes) ==
              static_cast<int>(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES));
static_assert(static_cast<int>(CaptureStatus::none) == static_cast<int>(CU_STREAM_CAPTURE_STATUS_NONE));
static_assert(static_cast<int>(CaptureStatus::active) == static_cast<int>(CU_STREAM_CAPTURE_STATUS_ACTIVE));
static_assert(static_cast<int>(CaptureStatus::invalidated) == static_cast<int>(CU_STREAM_CAPTURE_STATUS_INVALIDATED));
static_assert(static_cast<int>(CaptureMode::global) == static_cast<int>(CU_STREAM_CAPTURE_MODE_GLOBAL));
static_assert(static_cast<int>(CaptureMode::thread_local_) == static_cast<int>(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
static_assert(static_cast<int>(CaptureMode::relaxed) == static_cast<int>(CU_STREAM_CAPTURE_MODE_RELAXED));
static_assert(static_cast<int>(kMemoryTypeHost) == static_cast<int>(CU_MEMORYTYPE_HOST));
static_assert(static_cast<int>(kMemoryTypeDevice) == static_cast<int>(CU_MEMORYTYPE_DEVICE));
static_assert(static_cast<int>(kStreamNonBlocking) == static_cast<int>(CU_STREAM_NON_BLOCKING));
static_assert(static_cast<int>(kEventDisableTiming) == static_cast<int>(CU_EVENT_DISABLE_TIMING));
static_assert(static_cast<int>(kHostAllocPortable) == static_cast<int>(CU_MEMHOSTALLOC_PORTABLE));
static_assert(static_cast<int>(kHostAllocDeviceMap) == static_cast<int>(CU_MEMHOSTALLOC_DEVICEMAP));
static_assert(static_cast<int>(kHostRegisterPortable) == static_cast<int>(CU_MEMHOSTREGISTER_PORTABLE));
static_assert(static_cast<int>(kHostRegisterDeviceMap) == static_cast<int>(CU_MEMHOSTREGISTER_DEVICEMAP));
static_assert(static_cast<int>(kIpcLazyEnablePeerAccess) == static_cast<int>(CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
static_assert(static_cast<int>(kMemAttachGlobal) == static_cast<int>(CU_MEM_ATTACH_GLOBAL));
static_assert(static_cast<int>(kWaitValueGeq) == static_cast<int>(CU_STREAM_WAIT_VALUE_GEQ));
static_assert(static_cast<int>(kWaitValueEq) == static_cast<int>(CU_STREAM_WAIT_VALUE_EQ));
static_assert(static_cast<int>(kLegacyStreamFunctions) == static_cast<int>(CU_GET_PROC_ADDRESS_LEGACY_STREAM));
static_assert(sizeof(CUuuid) == sizeof(::CUuuid) && sizeof(CUipcMemHandle) == sizeof(::CUipcMemHandle));

TEST(CudaAbi, StreamsWithoutAnObjectHaveNumbers) {  // which are casts and no constants
  EXPECT_EQ(reinterpret_cast<uintptr_t>(CU_STREAM_LEGACY), kLegacyStream);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(CU_STREAM_PER_THREAD), kPerThreadStream);
}

}  // namespace
}  // namespace tutti::cuda

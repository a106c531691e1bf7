#include "driver.h"

#include <map>
#include <memory>
#include <mutex>

#include "of_process.h"
#include "shared_library.h"

namespace tutti::cuda {
namespace {

constexpr int kOldest = 12000;  // cuGetProcAddress has had today's signature since then; functions of later versions may be missing

using FindFunction = Error (*)(const char* name, void** function, int version, uint64_t flags, int* found);
using GetVersion = Error (*)(int*);

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

// What users can do about an error that they meet.
const char* advice(Error error) {
  switch (error) {
    case Error::no_device: return "nvidia-smi lists the machine's devices, and CUDA_VISIBLE_DEVICES may hide them";
    case Error::stub_library: return "this libcuda.so.1 is the toolkit's stub for linking: take its folder out of LD_LIBRARY_PATH";
    case Error::system_driver_mismatch:
    case Error::compat_not_supported_on_device:
      return "libcuda.so.1 and the kernel's driver do not fit each other: restart the machine after an update, or remove the "
             "folder "
             "cuda/compat from LD_LIBRARY_PATH";
    case Error::call_requires_newer_driver: return "update the device's driver";
    case Error::system_not_ready: return "nvidia-fabricmanager may have to be started";
    case Error::device_unavailable: return "another process may use the device alone: nvidia-smi shows its compute mode";
    case Error::out_of_memory: return "nvidia-smi shows who holds the device's memory; a framework's cache may have to be emptied";
    case Error::invalid_context:
    case Error::context_is_destroyed:
    case Error::deinitialized:
      return "the device may have been reset, or the process may be ending, while Tutti still uses the device";
    case Error::not_initialized:
      return "CUDA does not work in the child of a fork() whose parent has used it: start a process instead";
    case Error::invalid_image:
    case Error::invalid_ptx:
    case Error::no_binary_for_gpu:
    case Error::unsupported_ptx_version:
      return "this build has no kernels that the device and its driver can run: update the driver, or build for the device with "
             "-Dnvcc_archs";
    case Error::map_failed:
    case Error::operating_system:
      return "containers may have to share namespaces of processes and memory (--ipc=host), and `ulimit -l` may limit locked "
             "memory";
    case Error::host_memory_already_registered: return "the program has registered this memory with CUDA, too";
    case Error::mps_connection_failed:
    case Error::mps_rpc_failure:
    case Error::mps_server_not_ready:
    case Error::mps_max_clients_reached:
    case Error::mps_max_connections_reached:
    case Error::mps_client_terminated: return "the log of nvidia-cuda-mps-control says more";
    case Error::stream_capture_unsupported:
    case Error::stream_capture_invalidated:
    case Error::stream_capture_isolation:
    case Error::stream_capture_implicit: return "a stream is being captured into a graph, of which this cannot become a part";
    case Error::ecc_uncorrectable:
    case Error::nvlink_uncorrectable:
      return "the device's hardware has failed and only a new process can use it again: `nvidia-smi -q` and dmesg say more";
    default: break;
  }
  if (is_sticky(error))
    return "a kernel of the process has failed and only a new process can use the device again: compute-sanitizer finds the place";
  return nullptr;
}

// One of each library that was asked for.
struct Drivers {
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<const Driver>> by_library;
};

}  // namespace

bool is_sticky(Error error) {
  switch (error) {
    case Error::ecc_uncorrectable:
    case Error::nvlink_uncorrectable:
    case Error::contained:
    case Error::illegal_address:
    case Error::launch_timeout:
    case Error::context_is_destroyed:
    case Error::assert_triggered:
    case Error::hardware_stack_error:
    case Error::illegal_instruction:
    case Error::misaligned_address:
    case Error::invalid_address_space:
    case Error::invalid_pc:
    case Error::launch_failed:
    case Error::tensor_memory_leak:
    case Error::mps_rpc_failure:
    case Error::mps_client_terminated:
    case Error::external_device: return true;
    default: return false;
  }
}

std::string Driver::name(Error error) const {
  const char* name = nullptr;
  if (call<"cuGetErrorName">(error, &name) != Error::success || !name) return "error " + std::to_string(static_cast<int>(error));
  return name;
}

Status Driver::failure(Error error, const std::string& doing) const {
  std::string sentence = "CUDA cannot " + doing + ": " + name(error);
  const char* text = nullptr;
  if (call<"cuGetErrorString">(error, &text) == Error::success && text) sentence += std::string(" (") + text + ")";
  if (const char* what_to_try = advice(error)) sentence += std::string("; ") + what_to_try;
  switch (error) {
    case Error::out_of_memory: return Status(Code::out_of_memory, std::move(sentence));
    case Error::no_device:
    case Error::stub_library:
    case Error::call_requires_newer_driver:
    case Error::no_binary_for_gpu:
    case Error::not_supported:
    case Error::peer_access_unsupported:
    case Error::stream_capture_unsupported: return Status(Code::unsupported, std::move(sentence));
    default: return Status(Code::system, std::move(sentence));
  }
}

Result<const Driver*> Driver::load(const std::string& library) { return opened(library, false); }
Result<const Driver*> Driver::if_loaded(const std::string& library) { return opened(library, true); }

Result<const Driver*> Driver::opened(const std::string& library, bool only_if_loaded) {
  Drivers& drivers = of_process<Drivers>();
  const std::lock_guard lock(drivers.mutex);
  if (const auto known = drivers.by_library.find(library); known != drivers.by_library.end()) return known->second.get();
  if (only_if_loaded && !SharedLibrary::is_loaded(library)) return static_cast<const Driver*>(nullptr);
  auto symbols = SharedLibrary::load(library);
  if (!symbols.ok())
    return Status(Code::unsupported, "CUDA's driver is needed for device memory, but " + symbols.status().message() +
                                         "; it comes with the driver of the machine's GPUs");
  std::unique_ptr<Driver> driver(new Driver);
  if (Status status = driver->fill(library, *symbols); !status.ok()) return status;
  // What has failed may work later, when a device is there, so only success is remembered.
  return drivers.by_library.emplace(library, std::move(driver)).first->second.get();
}

Status Driver::fill(const std::string& library, SharedLibrary& symbols) {
  GetVersion get_version = nullptr;
  symbols.find(get_version, "cuDriverGetVersion");
  if (Status status = symbols.complete(); !status.ok()) return status;
  if (get_version(&version_) != Error::success || version_ < kOldest)
    return Status(Code::unsupported, library + " is too old: it is of CUDA " + version_text(version_) + ", and Tutti needs " +
                                         version_text(kOldest) + " or later; update the device's driver");
  FindFunction find = nullptr;
  symbols.find(find, "cuGetProcAddress_v2");
  if (Status status = symbols.complete(); !status.ok()) return status;
  std::string missing;
  functions_.for_each([&](auto& entry) {
    void* function = nullptr;
    int found = 0;  // why it was not found, else 0
    if (find(entry.name(), &function, entry.since(), kLegacyStreamFunctions, &found) != Error::success || found != 0)
      function = nullptr;
    entry.function = reinterpret_cast<decltype(entry.function)>(function);
    if (!entry.function && entry.since() <= kOldest && missing.empty()) missing = entry.name();
  });
  if (!missing.empty())
    return Status(Code::unsupported, library + " lacks " + missing + ": it is not a driver of CUDA " + version_text(version_));
  if (Status status = check(call<"cuInit">(0U), "start"); !status.ok()) return status;
  return check(call<"cuDeviceGetCount">(&devices_), "count devices");
}

}  // namespace tutti::cuda

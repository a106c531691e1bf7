#include "cuda_facts.h"

#include "kernel_set.h"

namespace tutti::info {
namespace {

using cuda::DeviceAttribute;

// As nvidia-smi has it: "GPU-" and five groups of digits.
std::string text_of(const cuda::CUuuid& uuid) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "GPU";
  for (size_t i = 0; i < sizeof uuid.bytes; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += {kDigits[uuid.bytes[i] >> 4], kDigits[uuid.bytes[i] & 15]};
  }
  return text;
}

Status measure_memory(const cuda::Context& context, CudaDeviceFacts& facts) {
  const cuda::CurrentContext current(context);
  if (!current.status().ok()) return current.status();
  size_t free = 0, all = 0;
  Status status = context.check(context.driver().call<"cuMemGetInfo">(&free, &all), "tell how much memory there is");
  facts.memory_bytes = all, facts.free_bytes = free;
  return status;
}

Status look_at(const cuda::Driver& driver, CudaDeviceFacts& facts) {
  const auto context = cuda::Context::retain(driver, facts.number);
  if (!context.ok()) return context.status();
  const auto name = (*context)->name(), pci_bus_id = (*context)->pci_bus_id();
  for (const auto* text : {&name, &pci_bus_id})
    if (!text->ok()) return text->status();
  facts.name = *name, facts.pci_bus_id = *pci_bus_id;
  const auto uuid = (*context)->uuid();
  if (!uuid.ok()) return uuid.status();
  facts.uuid = text_of(*uuid);
  const auto major = (*context)->attribute(DeviceAttribute::compute_capability_major),
             minor = (*context)->attribute(DeviceAttribute::compute_capability_minor),
             mps = (*context)->attribute(DeviceAttribute::mps_enabled);
  for (const auto* number : {&major, &minor})
    if (!number->ok()) return number->status();
  facts.capability = std::to_string(*major) + "." + std::to_string(*minor);
  facts.mps = mps.ok() && *mps != 0;  // of which older drivers do not know
  if (Status s = measure_memory(**context, facts); !s.ok()) return s;
  for (int peer = 0; peer < driver.devices(); ++peer) {
    const auto reaches = (*context)->reaches(peer);
    if (!reaches.ok()) return reaches.status();
    if (peer != facts.number && *reaches) facts.reaches.push_back(peer);
  }
  const auto kernels = cuda::KernelSet::of(*context);
  if (!kernels.ok()) facts.kernels = kernels.status().message();
  return {};
}

}  // namespace

std::string version_text(int driver_version) {
  return std::to_string(driver_version / 1000) + "." + std::to_string(driver_version % 1000 / 10);
}

CudaFacts gather_cuda(const Settings& settings) {
  CudaFacts facts;
  facts.library = settings.cuda_library.empty() ? cuda::kDriverLibrary : settings.cuda_library;  // where settings are refused
  if (settings.cuda == DeviceUse::off) {
    facts.state = "excluded by TUTTI_CUDA";
    return facts;
  }
  const auto driver = cuda::Driver::load(facts.library);
  if (!driver.ok()) {
    facts.state = driver.status().message();
    return facts;
  }
  facts.driver_version = (*driver)->version();
  for (int number = 0; number < (*driver)->devices(); ++number) {
    CudaDeviceFacts& device = facts.devices.emplace_back();
    device.number = number;
    if (const Status status = look_at(**driver, device); !status.ok()) device.trouble = status.message();
  }
  if (facts.devices.empty()) facts.state = "there are no devices";
  return facts;
}

}  // namespace tutti::info

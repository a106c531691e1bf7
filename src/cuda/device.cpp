#include "device.h"

namespace tutti::cuda {

Result<SharedContext> Context::retain(const Driver& driver, int device) {
  if (device < 0 || device >= driver.devices())
    return Status(Code::invalid_argument, "Tutti cannot use CUDA device " + std::to_string(device) + ": the process sees " +
                                              std::to_string(driver.devices()) + " devices, numbered from 0");
  std::shared_ptr<Context> context(new Context(driver, device));
  if (const Error error = driver.call<"cuDevicePrimaryCtxRetain">(&context->handle_, device); error != Error::success) {
    context->handle_ = nullptr;
    return context->failure(error, "create the context of device " + std::to_string(device));
  }
  return SharedContext(std::move(context));
}

Context::~Context() {
  if (handle_ && is_ours()) (void)driver_.call<"cuDevicePrimaryCtxRelease">(device_);
}

Result<int> Context::attribute(DeviceAttribute attribute) const {
  int value = 0;
  if (const Error error = driver_.call<"cuDeviceGetAttribute">(&value, attribute, device_); error != Error::success)
    return failure(error,
                   "tell attribute " + std::to_string(static_cast<int>(attribute)) + " of device " + std::to_string(device_));
  return value;
}

Result<std::string> Context::name() const {
  char name[256] = {};
  Status status = check(driver_.call<"cuDeviceGetName">(name, static_cast<int>(sizeof(name)) - 1, device_), "tell a device's name");
  if (!status.ok()) return status;
  return std::string(name);
}

Result<CUuuid> Context::uuid() const {
  CUuuid uuid{};
  Status status = check(driver_.call<"cuDeviceGetUuid">(&uuid, device_), "tell a device's UUID");
  if (!status.ok()) return status;
  return uuid;
}

Result<std::string> Context::pci_bus_id() const {
  char id[32] = {};
  Status status =
      check(driver_.call<"cuDeviceGetPCIBusId">(id, static_cast<int>(sizeof(id)) - 1, device_), "tell a device's PCI bus id");
  if (!status.ok()) return status;
  return std::string(id);
}

Result<bool> Context::reaches(int peer) const {
  if (peer == device_) return true;
  int can = 0;
  Status status = check(driver_.call<"cuDeviceCanAccessPeer">(&can, device_, peer), "tell whether two devices reach each other");
  if (!status.ok()) return status;
  return can != 0;
}

Status Context::allow_access_to(const Context& peer) const {
  if (peer.device_ == device_) return {};
  const CurrentContext current(*this);
  if (!current.status().ok()) return current.status();
  const Error error = driver_.call<"cuCtxEnablePeerAccess">(peer.handle_, 0U);
  if (error == Error::success || error == Error::peer_access_already_enabled) return {};
  return failure(error, "let device " + std::to_string(device_) + " use the memory of device " + std::to_string(peer.device_));
}

Status Context::failure(Error error, const std::string& doing) const {
  Error none = Error::success;
  if (is_sticky(error)) lost_.compare_exchange_strong(none, error, std::memory_order_relaxed);
  return driver_.failure(error, doing);
}

CurrentContext::CurrentContext(const Context& context)
    : driver_(context.driver()),
      status_(context.check(driver_.call<"cuCtxPushCurrent">(context.handle()), "make its context the thread's")) {}

CurrentContext::~CurrentContext() {
  CUcontext popped = nullptr;
  if (status_.ok()) (void)driver_.call<"cuCtxPopCurrent">(&popped);
}

}  // namespace tutti::cuda

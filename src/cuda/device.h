// A device as this process uses it: its primary context, which the CUDA runtime and every framework use, too.
//
// Whatever is made in a context keeps it, so a context outlives all that is in it.  Ends are silent: objects may
// outlive CUDA itself, as static ones do at the end of a process, and in the child of a fork() they leave alone what is
// the parent's.
#pragma once

#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>

#include "driver.h"

namespace tutti::cuda {

class Context;
using SharedContext = std::shared_ptr<const Context>;

class Context {
 public:
  static Result<SharedContext> retain(const Driver& driver, int device);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  const Driver& driver() const { return driver_; }
  int device() const { return device_; }
  CUcontext handle() const { return handle_; }

  Result<int> attribute(DeviceAttribute attribute) const;
  Result<std::string> name() const;        // "NVIDIA H100 80GB HBM3"
  Result<CUuuid> uuid() const;             // of the device, the same in all processes of a machine
  Result<std::string> pci_bus_id() const;  // "0000:04:00.0"

  // Kernels and copies of this device can reach the memory of `peer` once they have been allowed to; to allow it twice
  // is no error.
  Result<bool> reaches(int peer) const;
  Status allow_access_to(const Context& peer) const;

  // As Driver::check(); an error after which the context is lost is remembered.
  Status check(Error error, const char* doing) const { return error == Error::success ? Status() : failure(error, doing); }
  Status failure(Error error, const std::string& doing) const;
  // The first sticky error that was met here, or success.
  Error lost() const { return lost_.load(std::memory_order_relaxed); }

  // This process made it.  CUDA does not work in a child.
  bool is_ours() const { return process_ == ::getpid(); }

 private:
  Context(const Driver& driver, CUdevice device) : driver_(driver), device_(device) {}
  const Driver& driver_;
  const CUdevice device_;
  const pid_t process_ = ::getpid();
  CUcontext handle_ = nullptr;
  mutable std::atomic<Error> lost_ = Error::success;
};

// Makes a context the calling thread's for the length of a scope.  What creates or asks for an object does so itself;
// what is put on streams wants the context to be current.
class CurrentContext {
 public:
  explicit CurrentContext(const Context& context);
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;
  ~CurrentContext();
  const Status& status() const { return status_; }

 private:
  const Driver& driver_;
  Status status_;
};

// An object of the driver that is destroyed in its context by the function of that name.
template <class Handle, Text kDestroy>
class Held {
 public:
  Held() = default;
  Held(SharedContext context, Handle handle) : context_(std::move(context)), handle_(handle) {}
  Held(Held&& other) noexcept : context_(std::move(other.context_)), handle_(std::exchange(other.handle_, Handle())) {}
  Held& operator=(Held&& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Held() {
    if (!handle_ || !context_->is_ours()) return;
    const CurrentContext current(*context_);
    if (current.status().ok()) (void)context_->driver().template call<kDestroy>(handle_);
  }
  Handle get() const { return handle_; }
  const SharedContext& context() const { return context_; }

 private:
  SharedContext context_;
  Handle handle_ = Handle();
};

}  // namespace tutti::cuda

#include "device.h"

#include <algorithm>
#include <cstdio>

#include "settings.h"

namespace tutti::bench {

Result<const cuda::Driver*> Device::load_driver() {
  std::vector<std::string> warnings;  // which the communicator will log
  const auto settings = load_settings(tutti_environment(), warnings);
  if (!settings.ok()) return settings.status();
  if (settings->cuda == DeviceUse::off)
    return Status(Code::invalid_argument, "With TUTTI_CUDA=off memory of devices is not recognized: --device needs another value.");
  return cuda::Driver::load(settings->cuda_library);
}

Result<std::shared_ptr<const Device>> Device::open(const cuda::Driver& driver, const std::vector<int>& listed, int place) {
  const int devices = std::max(driver.devices(), 1);
  const int number = listed.empty() ? place % devices : listed[static_cast<size_t>(place) % listed.size()];
  auto context = cuda::Context::retain(driver, number);
  if (!context.ok()) return context.status();
  auto stream = cuda::Stream::create(*context);
  if (!stream.ok()) return stream.status();
  return std::shared_ptr<const Device>(new Device(std::move(*context), std::move(*stream)));
}

Result<DeviceInfo> Device::info() const {
  DeviceInfo info;
  info.device = context_->device();
  const auto uuid = context_->uuid();
  if (!uuid.ok()) return uuid.status();
  info.uuid = *uuid;
  const auto name = context_->name(), id = context_->pci_bus_id();
  for (const auto* text : {&name, &id})
    if (!text->ok()) return text->status();
  std::snprintf(info.name, sizeof info.name, "%s", name->c_str());
  std::snprintf(info.pci_bus_id, sizeof info.pci_bus_id, "%s", id->c_str());
  return info;
}

Result<uint64_t> Device::free_bytes() const {
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  size_t free = 0, all = 0;
  if (Status s = context_->check(context_->driver().call<"cuMemGetInfo">(&free, &all), "tell how much memory is free"); !s.ok())
    return s;
  return uint64_t{free};
}

Result<uint64_t> Device::cache_bytes() const {
  const auto bytes = context_->attribute(cuda::DeviceAttribute::l2_cache_size);
  if (!bytes.ok()) return bytes.status();
  return static_cast<uint64_t>(*bytes);
}

Status Device::copy(void* to, const void* from, size_t bytes) const {
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  if (Status s = cuda::copy(*context_, cuda::address_of(to), cuda::address_of(from), bytes, stream_.get()); !s.ok()) return s;
  return wait();
}

Status Device::fill(void* memory, unsigned char value, size_t bytes) const {
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  if (Status s = cuda::fill(*context_, cuda::address_of(memory), value, bytes, stream_.get()); !s.ok()) return s;
  return wait();
}

Status Device::wait() const {
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  return context_->check(context_->driver().call<"cuStreamSynchronize">(stream_.get()), "wait for a stream");
}

Status Device::begin_capture() const {
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  return context_->check(context_->driver().call<"cuStreamBeginCapture">(stream_.get(), cuda::CaptureMode::thread_local_),
                         "capture a stream into a graph");
}

Result<Graph> Device::end_capture() const {
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  const cuda::Driver& driver = context_->driver();
  cuda::CUgraph graph = nullptr;
  if (Status s = context_->check(driver.call<"cuStreamEndCapture">(stream_.get(), &graph), "end a capture"); !s.ok()) return s;
  cuda::CUgraphExec ready = nullptr;
  const Status status = context_->check(driver.call<"cuGraphInstantiateWithFlags">(&ready, graph, 0ULL), "instantiate a graph");
  (void)driver.call<"cuGraphDestroy">(graph);
  if (!status.ok()) return status;
  return Graph(context_, ready);
}

Status Device::launch(const Graph& graph) const {
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  return context_->check(context_->driver().call<"cuGraphLaunch">(graph.get(), stream_.get()), "launch a graph");
}

}  // namespace tutti::bench

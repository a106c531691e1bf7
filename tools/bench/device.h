// The CUDA device that holds a rank's buffers, and the stream that its calls are put on.
#pragma once

#include <memory>
#include <vector>

#include "device_memory.h"
#include "stream.h"

namespace tutti::bench {

// What a rank tells the others of its device.  Plain bytes.
struct DeviceInfo {
  int device = 0;  // its number in the rank's process
  cuda::CUuuid uuid{};
  char name[96] = {};
  char pci_bus_id[16] = {};
};

// A graph that is ready to be launched.
using Graph = cuda::Held<cuda::CUgraphExec, "cuGraphExecDestroy">;

class Device {
 public:
  // Loads the driver that Tutti's settings name; to be called before the communicator is created, which then recognizes
  // memory of devices.
  static Result<const cuda::Driver*> load_driver();
  // That of the process's rank `place` on its host: `listed` says which device each place has, in turn; empty: any.
  static Result<std::shared_ptr<const Device>> open(const cuda::Driver& driver, const std::vector<int>& listed, int place);

  Result<DeviceInfo> info() const;
  Result<uint64_t> free_bytes() const;
  Result<uint64_t> cache_bytes() const;
  Result<cuda::DeviceMemory> allocate(size_t bytes) const { return cuda::DeviceMemory::allocate(context_, bytes); }

  // Each waits until it is done.  Copies are between memory of any places.
  Status copy(void* to, const void* from, size_t bytes) const;
  Status fill(void* memory, unsigned char value, size_t bytes) const;

  void* stream() const { return stream_.get(); }
  Status wait() const;  // for all that is on the stream

  // What `put` puts on the stream is done not now, but by each launch of the graph.
  template <class Put>
  Result<Graph> capture(Put put) const {
    if (Status s = begin_capture(); !s.ok()) return s;
    const Status status = put();
    auto graph = end_capture();
    if (!status.ok()) return status;
    return graph;
  }
  Status launch(const Graph& graph) const;

 private:
  Device(cuda::SharedContext context, cuda::Stream stream) : context_(std::move(context)), stream_(std::move(stream)) {}
  Status begin_capture() const;
  Result<Graph> end_capture() const;

  cuda::SharedContext context_;
  cuda::Stream stream_;
};

}  // namespace tutti::bench

// One rank's memory for one call: guards, input, guards, output, guards (in place: one region for both), and the call
// itself.  On every third rank and seed it is memory of tutti_alloc.  Or all of it is memory of a device
// (device_bytes.h), and every other blocking call is put on a stream.
#pragma once

#include <tutti/tutti.h>

#include <memory>
#include <string>
#include <vector>

#include "device_bytes.h"
#include "test_call.h"

namespace tutti::test {

enum class How : uint8_t {
  blocking,
  start_wait,
  start_test,  // asks until done, yielding in between
};

class Arena {
 public:
  // Regions begin at an address that is aligned to the element only.
  Arena(const Call& call, int rank, const Bytes& input);

  tutti_status start(tutti_comm* comm, tutti_request** request);
  tutti_status perform(tutti_comm* comm, How how = How::blocking);

  // "" if the output is right and nothing else has changed.
  std::string check(const std::vector<Bytes>& inputs) const;
  std::string check(const std::vector<Bytes>& inputs, const Bytes& expected) const;

  Bytes output() const;

 private:
  struct Free {
    tutti_comm* comm;
    void operator()(std::byte* memory) const { tutti_free(comm, memory); }
  };
  // One side's parts, each in memory of its own with guards around it; the places say where each is in memory_.
  struct Parts {
    std::vector<Bytes> memory;
    std::vector<std::unique_ptr<DeviceBytes>> devices;  // instead of memory
    std::vector<void*> pointers;
    std::vector<size_t> places;
  };
  void scatter(Parts& parts, size_t at, const std::vector<size_t>& counts, const std::vector<size_t>& offsets);
  void scatter_list();
  void gather(const Parts& parts, Bytes& content) const;
  Bytes content() const;  // memory_ as it would be if the parts lay in it
  tutti_status perform_parts(tutti_comm* comm, const tutti_call_options* options, tutti_request** request);
  tutti_status move_to_lent_memory(tutti_comm* comm);
  void move_to_device();
  std::byte* data() { return device_ ? device_->data() : lent_ ? lent_.get() : memory_.data(); }
  const std::byte* data() const { return const_cast<Arena*>(this)->data(); }
  const void* input_pointer() const;
  void* output_pointer();
  tutti_status perform_blocking(tutti_comm* comm);
  tutti_status perform_shift(tutti_comm* comm, tutti_request** request);

  Call call_;
  int rank_;
  bool shares_;  // input and output are one region here
  size_t unit_;
  size_t input_at_ = 0, output_at_ = 0;  // bytes
  size_t input_bytes_ = 0, output_bytes_ = 0;
  std::vector<size_t> counts_;  // of a v-variant by rank, or of all_to_all_v by receiver
  std::vector<size_t> recv_counts_, send_offsets_, recv_offsets_;
  Parts inputs_, outputs_;  // where parts are at places of their own
  Bytes memory_;
  std::unique_ptr<std::byte, Free> lent_{nullptr, Free{nullptr}};  // instead of memory_
  std::unique_ptr<DeviceBytes> device_;                            // likewise
  Bytes before_;
};

// Waits by tutti_test.
tutti_status test_until_done(tutti_request* request);

}  // namespace tutti::test

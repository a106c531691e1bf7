// One call of the C API, checked, in C++ terms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "binding.h"
#include "custom_reduction.h"
#include "matching.h"
#include "space.h"
#include "status.h"
#include "vocabulary.h"

namespace tutti {

class TensorCodec;

// A send or a receive.
struct Message {
  bool send = false;
  std::byte* data = nullptr;
  size_t count = 0;  // elements; of a receive: at most
  DataType type = DataType::uint8;
  int peer = kAny;                    // kAny: a receive from any rank
  int tag = 0;                        // kAny: a receive of any tag
  uint8_t mark = 0;                   // of the library's own messages: kGrouping (vocabulary.h)
  uint64_t timeout_ns = 0;            // 0: the communicator's
  std::shared_ptr<const void> keeps;  // lives as long as the operation: the buffer, for messages of the library's own
  TellReceived tell;                  // of a receive: when its call returns with success; may be empty
  bool on_device = false;             // `data` is memory of a device
  void* stream = nullptr;             // then: what it holds is waited for; null: the legacy default stream
  // Of a receive into such memory, which goes through the host's: the operation that carries it on.
  std::function<std::shared_ptr<Operation>(std::shared_ptr<ReceiveOperation>)> wrap;
};

// Calls of the library's own serve a call of the user's.  They bear its number and draw none of their own, so user's
// calls are numbered as the user counts them.  Within that number they count from 1.
struct Service {
  uint8_t mark = 0;     // kQuestion, kSplitting (vocabulary.h)
  uint32_t number = 0;  // of the call that is served
  uint16_t step = 0;    // of that call's services
};

// The caller's reduction, of items of `width` elements.
struct CustomOp {
  CustomReduction::Combine combine = nullptr;
  void* context = nullptr;
  size_t width = 0;
};

struct Call {
  Collective collective = Collective::barrier;
  const void* input = nullptr;
  void* output = nullptr;
  Space space = Space::host;  // that input and output lie in
  // The caller's buffers are memory of a device, at every rank.  Pieces that go through the host's memory say so, too.
  bool on_device = false;
  void* stream = nullptr;  // of the device, that the call is put on; null: the caller waits, or has a request
  size_t count = 0;        // elements, as in the API
  DataType type = DataType::uint8;
  ReduceOp op = ReduceOp::sum;
  int root = -1;  // where there is one: any number that the caller gave
  bool rooted = false;
  const size_t* counts = nullptr;  // reduce_scatter_v, all_gather_v, gather_v, scatter_v: of each rank
  const size_t *send_counts = nullptr, *send_offsets = nullptr;  // all_to_all_v
  const size_t *recv_counts = nullptr, *recv_offsets = nullptr;
  // Instead of `input` or `output`, where that is made of the ranks' parts, or of the tensors of a list, where each of
  // these is.
  const void* const* inputs = nullptr;
  void* const* outputs = nullptr;
  const size_t* list_counts = nullptr;  // all_reduce_list: of each tensor; `count` is of all
  size_t list_length = 0;
  std::string_view algorithm;          // "" chosen
  uint64_t timeout_ns = 0;             // 0: the communicator's
  const double* factor = nullptr;      // of this rank's input; other ranks' calls match whatever it is
  std::shared_ptr<TensorCodec> codec;  // null: none
  const CustomOp* custom = nullptr;    // of op custom
  const Call* about = nullptr;         // a question: the call that it is asked before, and in whose name
  Service service;                     // a call of the library's own
};

// Elements of the whole data, the `size` of benchmark tables: count, or the sum over ranks where each rank has a part
// of its own.
size_t total_count(const Call& call, int size);

// The reach of a rank's input and output, in elements, and the element of the whole at which they coincide when in
// place.
struct Extent {
  size_t input = 0, output = 0;
  size_t input_at = 0, output_at = 0;  // offsets of input and output in the common whole, elements
  bool reads = true, writes = true;
};
Extent extent_of(const Call& call, int rank, int size);  // all_to_all_v: nothing

// The signature that every message of a call bears.  `sequence`: its number; point to point calls have none.
Signature signature_of(const Call& call, int size, uint8_t algorithm, uint64_t context, uint32_t sequence);

// Where the blocks of a plan lie in the call's memory.
Binding binding_of(const Call& call, int rank, int size, uint32_t blocks, size_t stripe_bytes);

// The bytes at whose multiples its data may be cut.
size_t unit_of(const Call& call);

// Partial sums of such a call would leave float16's range before the average does.
bool averages_halves(const Call& call);

}  // namespace tutti

// The C API: collectives.  Each function fills a Call; one place checks it and one runs it.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "api_internal.h"
#include "spaces.h"

namespace tutti::api {
namespace {

constexpr tutti_call_options kDefaultOptions = {sizeof(tutti_call_options), nullptr, 0, nullptr, nullptr, nullptr, nullptr};
constexpr size_t kNoCounts = 0;      // its address stands for a NULL array, which check() refuses
constexpr void* kNoParts = nullptr;  // likewise

bool overlap(const void* a, size_t a_bytes, const void* b, size_t b_bytes) {
  const auto x = reinterpret_cast<uintptr_t>(a), y = reinterpret_cast<uintptr_t>(b);
  return a_bytes > 0 && b_bytes > 0 && x < y + b_bytes && y < x + a_bytes;
}

std::string title(const Call& call) { return "tutti_" + std::string(name(call.collective)) + ": "; }

struct Part {
  uintptr_t begin, end;
  bool is_input;
  int rank;  // or, in a list, which tensor
};

void add(std::vector<Part>& parts, const void* at, size_t bytes, bool is_input, int rank) {
  const auto begin = reinterpret_cast<uintptr_t>(at);
  if (bytes > 0) parts.push_back({begin, begin + bytes, is_input, rank});
}

// No part of the input may lie where a part of the output does.  Parts in order of their beginnings: one overlaps an
// earlier one of the other kind exactly if it begins before the farthest end among these.
Status check_parts_apart(const Call& call, std::vector<Part> parts) {
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.begin < b.begin; });
  Part farthest[2] = {};  // of outputs and of inputs
  for (const Part& part : parts) {
    const Part& other = farthest[part.is_input ? 0 : 1];
    if (part.begin < other.end) {
      const bool list = call.list_counts != nullptr;
      return wrong(title(call) + (list ? "input " : "input for rank ") + std::to_string((part.is_input ? part : other).rank) +
                   (list ? " and output " : " and output from rank ") + std::to_string((part.is_input ? other : part).rank) +
                   " overlap, and it is not in place (see tutti.h)");
    }
    Part& own = farthest[part.is_input ? 1 : 0];
    if (part.end > own.end) own = part;
  }
  return {};
}

Status check_all_to_all_v(const Call& call, int size, size_t element) {
  const auto any = [size](const size_t* counts) {
    return std::any_of(counts, counts + size, [](size_t count) { return count > 0; });
  };
  if (!call.input && any(call.send_counts)) return wrong(title(call) + "input is NULL");
  if (!call.output && any(call.recv_counts)) return wrong(title(call) + "output is NULL");
  for (int i = 0; i < size; ++i)
    for (const size_t* numbers : {call.send_counts, call.send_offsets, call.recv_counts, call.recv_offsets})
      if (numbers[i] > SIZE_MAX / element / 4)
        return wrong(title(call) + "count or offset " + std::to_string(numbers[i]) + " for rank " + std::to_string(i) +
                     " is too large");
  const auto equal = [size](const size_t* a, const size_t* b) { return std::equal(a, a + size, b); };
  const bool in_place =
      call.input == call.output && equal(call.send_counts, call.recv_counts) && equal(call.send_offsets, call.recv_offsets);
  if (in_place) return {};
  std::vector<Part> parts;
  for (int r = 0; r < size; ++r) {
    add(parts, static_cast<const std::byte*>(call.input) + call.send_offsets[r] * element, call.send_counts[r] * element, true, r);
    add(parts, static_cast<std::byte*>(call.output) + call.recv_offsets[r] * element, call.recv_counts[r] * element, false, r);
  }
  return check_parts_apart(call, std::move(parts));
}

// Input or output, or both, are given in parts.
Status check_parts(const Call& call, int rank, int size, size_t element) {
  const size_t* const in_counts = call.send_counts ? call.send_counts : call.counts;
  const size_t* const out_counts = call.recv_counts ? call.recv_counts : call.counts;
  const Extent extent = extent_of(call, rank, size);
  const bool exchanges = call.send_counts != nullptr;
  const auto own = static_cast<size_t>(rank);
  std::vector<Part> parts;
  for (int r = 0; r < size; ++r) {
    if (std::max(in_counts[r], out_counts[r]) > SIZE_MAX / 4 / element / static_cast<size_t>(size))
      return wrong(title(call) + "count " + std::to_string(std::max(in_counts[r], out_counts[r])) + " is too large");
    if (call.inputs && extent.reads) {
      if (!call.inputs[r] && in_counts[r] > 0) return wrong(title(call) + "input for rank " + std::to_string(r) + " is NULL");
      const bool in_place = !exchanges && r == rank && call.inputs[r] == call.output;
      if (!in_place) add(parts, call.inputs[r], in_counts[r] * element, true, r);
    }
    if (call.outputs && extent.writes) {
      if (!call.outputs[r] && out_counts[r] > 0) return wrong(title(call) + "output from rank " + std::to_string(r) + " is NULL");
      const bool in_place = !exchanges && r == rank && call.outputs[r] == call.input;
      if (!in_place) add(parts, call.outputs[r], out_counts[r] * element, false, r);
    }
  }
  if (exchanges) return check_parts_apart(call, std::move(parts));
  const void* const one = call.inputs ? call.output : call.input;
  if (!one && call.counts[own] > 0) return wrong(title(call) + (call.inputs ? "output is NULL" : "input is NULL"));
  add(parts, one, call.counts[own] * element, !call.inputs, rank);
  return check_parts_apart(call, std::move(parts));
}

Status check_list(const Call& call, int size, size_t element) {
  if (call.count > SIZE_MAX / 2 / element / static_cast<size_t>(size)) return wrong(title(call) + "the counts are too large");
  std::vector<Part> parts;
  for (size_t i = 0; i < call.list_length; ++i) {
    if (call.list_counts[i] == 0) continue;
    if (!call.inputs[i] || !call.outputs[i])
      return wrong(title(call) + (call.inputs[i] ? "output " : "input ") + std::to_string(i) + " is NULL");
    if (call.inputs[i] != call.outputs[i]) add(parts, call.inputs[i], call.list_counts[i] * element, true, static_cast<int>(i));
    add(parts, call.outputs[i], call.list_counts[i] * element, false, static_cast<int>(i));
  }
  return check_parts_apart(call, std::move(parts));
}

Status check_buffers(const Call& call, int rank, int size) {
  const size_t element = element_size(call.type);
  if (call.list_counts) return check_list(call, size, element);
  if (call.inputs || call.outputs) return check_parts(call, rank, size, element);
  if (call.send_counts) return check_all_to_all_v(call, size, element);
  const size_t limit = SIZE_MAX / 2 / element / static_cast<size_t>(size);
  const size_t largest = call.counts ? *std::max_element(call.counts, call.counts + size) : call.count;
  if (largest > limit) return wrong(title(call) + "count " + std::to_string(largest) + " is too large");
  const Extent extent = extent_of(call, rank, size);
  const size_t input_bytes = extent.reads ? extent.input * element : 0, output_bytes = extent.writes ? extent.output * element : 0;
  if (!call.input && input_bytes > 0) return wrong(title(call) + "input is NULL");
  if (!call.output && output_bytes > 0) return wrong(title(call) + "output is NULL");
  if (!overlap(call.input, input_bytes, call.output, output_bytes)) return {};
  const bool in_place = static_cast<const std::byte*>(call.input) - extent.input_at * element ==
                        static_cast<const std::byte*>(call.output) - extent.output_at * element;
  if (!in_place) return wrong(title(call) + "input and output overlap, but not exactly in place (see tutti.h)");
  return {};
}

Status check_custom(const Call& call, int size) {
  if (call.op != ReduceOp::custom)
    return call.custom ? wrong(title(call) + "tutti_call_options.reduction goes with op TUTTI_CUSTOM only") : Status();
  if (!call.custom || !call.custom->combine || call.custom->width == 0)
    return wrong(title(call) + "op TUTTI_CUSTOM takes a reduction in the call's options, with combine and a width of 1 or more");
  const size_t width = call.custom->width;
  if (width > SIZE_MAX / 4 / element_size(call.type))
    return wrong(title(call) + "width " + std::to_string(width) + " is too large");
  const bool has_counts = call.counts && call.counts != &kNoCounts;
  const auto whole = [width](size_t count) { return count % width == 0; };
  if (!whole(call.count) || (has_counts && !std::all_of(call.counts, call.counts + size, whole)) ||
      (call.list_counts && !std::all_of(call.list_counts, call.list_counts + call.list_length, whole)))
    return wrong(title(call) + "a count is no multiple of the reduction's width, " + std::to_string(width));
  return {};
}

Status check_factor(const Call& call) {
  if (!call.factor) return {};
  const auto unsupported = [&](std::string sentence) { return Status(Code::unsupported, title(call) + std::move(sentence)); };
  if (call.codec) return unsupported("a factor does not go with a codec: multiply the input before the call");
  if (!is_reduction(call.collective)) return unsupported("a factor goes with reductions only");
  if (call.op != ReduceOp::sum && call.op != ReduceOp::avg)
    return unsupported("a factor goes with sum and avg, not with " + std::string(name(call.op)));
  if (!is_float(call.type)) return unsupported("a factor goes with floating point types, not with " + std::string(name(call.type)));
  return {};
}

Status check(const tutti_comm* comm, const Call& call) {
  if (Status status = check_comm(comm); !status.ok()) return status;
  if (open_group(comm)) return wrong(title(call) + "not between tutti_group_begin and tutti_group_end");
  const int size = comm->communicator->size();
  if (static_cast<int>(call.type) >= kDataTypes) return wrong(title(call) + "unknown dtype");
  if (static_cast<int>(call.op) >= kReduceOps) return wrong(title(call) + "unknown op");
  if (Status status = check_custom(call, size); !status.ok()) return status;
  if (call.op != ReduceOp::custom && !is_defined(call.op, call.type))
    return Status(Code::unsupported, title(call) + std::string(name(call.op)) + " is an operator on the bits of integers, and " +
                                         std::string(name(call.type)) + " is a floating point type");
  for (const size_t* numbers :
       {call.counts, call.send_counts, call.send_offsets, call.recv_counts, call.recv_offsets, call.list_counts})
    if (numbers == &kNoCounts) return wrong(title(call) + "an array of counts or offsets is NULL");
  if (call.inputs == &kNoParts || call.outputs == &kNoParts) {
    // Only where the rank's parts are used.
    const Extent extent = extent_of(call, comm->communicator->rank(), size);
    if ((call.inputs && extent.reads) || (call.outputs && extent.writes))
      return wrong(title(call) + "an array of pointers is NULL");
  }
  if (call.rooted && (call.root < 0 || call.root >= size))
    return wrong(title(call) + "root " + std::to_string(call.root) + " is not a rank of this communicator (0 to " +
                 std::to_string(size - 1) + ")");
  if (is_scan(call.collective) && call.op == ReduceOp::avg)
    return Status(Code::unsupported, title(call) + "there is no avg of scans: each rank's sum is of another number of inputs");
  if (Status status = check_factor(call); !status.ok()) return status;
  return check_buffers(call, comm->communicator->rank(), size);
}

Status apply(const tutti_codec& codec, Call& call) {
  const TensorCodec& tensor = *codec.tensor;
  if (call.collective != Collective::all_reduce) return Status(Code::unsupported, title(call) + "codecs serve all_reduce only");
  if (call.op != ReduceOp::sum && call.op != ReduceOp::avg)
    return Status(Code::unsupported, title(call) + "codecs serve sum and avg, not " + std::string(name(call.op)));
  if (call.list_counts) return Status(Code::unsupported, title(call) + "a codec serves one tensor, not a list");
  if (call.type != tensor.type() || call.count != tensor.count())
    return wrong(title(call) + "codec " + tensor.text() + " was made for " + std::to_string(tensor.count()) + " " +
                 std::string(name(tensor.type())) + ", this is " + std::to_string(call.count) + " " +
                 (static_cast<int>(call.type) < kDataTypes ? std::string(name(call.type)) : "of unknown dtype"));
  call.codec = codec.tensor;
  return {};
}

// `op`: where the call finds the reduction that it is given.
Status apply(const tutti_call_options* given, Call& call, CustomOp& op) {
  if (!given) return {};
  tutti_call_options options = kDefaultOptions;
  if (Status status = from_caller(options, *given); !status.ok()) return status;
  if (options.timeout_ms < 0) return wrong("tutti_call_options.timeout_ms is negative");
  if (options.algorithm) call.algorithm = options.algorithm;
  call.timeout_ns = static_cast<uint64_t>(options.timeout_ms) * 1'000'000;
  call.factor = options.factor;
  call.stream = options.stream;
  if (const tutti_reduction* given_op = options.reduction) {
    op = {given_op->combine, given_op->context, given_op->width};
    call.custom = &op;
  }
  return options.codec ? apply(*options.codec, call) : Status();
}

// Arrays of parts that this rank does not use are not looked at.
void forget_unused_parts(const tutti_comm& comm, Call& call) {
  if (!call.inputs && !call.outputs) return;
  const Extent extent = extent_of(call, comm.communicator->rank(), comm.communicator->size());
  if (!extent.reads) call.inputs = nullptr;
  if (!extent.writes) call.outputs = nullptr;
}

// Where the call's buffers lie, and the device made ready.
Status find_device(const tutti_comm& comm, Call& call) {
  Communicator& communicator = *comm.communicator;
  if (!call.stream && !communicator.sees_devices()) return {};
  std::vector<const void*> pointers;
  pointers.reserve(2);
  Extent extent;
  if (call.collective != Collective::barrier) {
    extent = extent_of(call, communicator.rank(), communicator.size());
    const size_t parts = call.list_counts ? call.list_length : static_cast<size_t>(communicator.size());
    if (extent.reads && !call.inputs) pointers.push_back(call.input);
    if (extent.writes && !call.outputs) pointers.push_back(call.output);
    for (size_t i = 0; i < parts && call.inputs; ++i) pointers.push_back(call.inputs[i]);
    for (size_t i = 0; i < parts && call.outputs; ++i) pointers.push_back(call.outputs[i]);
  }
  const auto device = communicator.device_of(pointers, call.stream);
  Status status = device.status();
  if (device.ok() && *device >= 0) {
    call.on_device = true;
    if (!extent.reads) call.input = nullptr;  // whatever the caller has there, it is not looked at
    if (!extent.writes) call.output = nullptr;
    status = communicator.open_device(*device);
  }
  return status.ok() ? status : Status(status.code(), title(call) + status.message());
}

// If its like has just been checked, only its buffers are new.  (Small calls come in thousands, all alike.)
bool has_sound_buffers(const tutti_comm* comm, const Call& call) {
  if (!comm || comm->communicator->in_child() || open_group(comm)) return false;
  const size_t bytes = call.count * element_size(call.type);
  return call.input && call.output && (call.input == call.output || !overlap(call.input, bytes, call.output, bytes));
}

bool is_of_host(const tutti_comm& comm, const Call& call) {
  Communicator& communicator = *comm.communicator;
  if (!communicator.sees_devices()) return true;
  const void* const pointers[] = {call.input, call.output};
  const auto device = communicator.device_of(pointers, nullptr);
  return device.ok() && *device < 0;
}

// Checks and runs; with `request` it only starts.
tutti_status issue(tutti_comm* comm, Call call, const tutti_call_options* options, tutti_request** request, bool starts) {
  return guarded(comm, [&]() -> Status {
    if (!starts && !options && has_sound_buffers(comm, call) && is_of_host(*comm, call))
      if (auto status = comm->communicator->run_again(call)) return *status;
    CustomOp op;
    if (Status status = apply(options, call, op); !status.ok()) return status;
    if (Status status = check(comm, call); !status.ok()) return status;
    forget_unused_parts(*comm, call);
    if (Status status = find_device(*comm, call); !status.ok()) return status;
    if (!starts && call.on_device && call.stream) return comm->communicator->put_on_stream(call);
    if (!starts) return comm->communicator->run(call);
    if (!request) return wrong(title(call) + "request is NULL");
    *request = nullptr;
    RequestHolder holder(comm);
    holder->operations.reserve(1);
    auto operation = comm->communicator->start(call);
    if (!operation.ok()) return operation.status();
    holder->operations.push_back(std::move(*operation));
    *request = holder.release();
    return {};
  });
}

// A number of an enumeration as C passed it; one that does not exist becomes 255, which check() refuses.
uint8_t within(int number, int end) { return number >= 0 && number < end ? static_cast<uint8_t>(number) : uint8_t{255}; }

Call make(Collective collective, const void* input, void* output, size_t count, tutti_dtype dtype) {
  Call call;
  call.collective = collective;
  call.input = input;
  call.output = output;
  call.count = count;
  call.type = static_cast<DataType>(within(dtype, kDataTypes));
  return call;
}

Call reduction(Collective collective, const void* input, void* output, size_t count, tutti_dtype dtype, tutti_op op) {
  Call call = make(collective, input, output, count, dtype);
  call.op = static_cast<ReduceOp>(within(op, kReduceOps));
  return call;
}

Call rooted(Collective collective, const void* input, void* output, size_t count, tutti_dtype dtype, int root,
            tutti_op op = TUTTI_SUM) {
  Call call = reduction(collective, input, output, count, dtype, op);
  call.root = root;
  call.rooted = true;
  return call;
}

Call with_counts(Call call, const size_t* counts) {
  call.counts = counts ? counts : &kNoCounts;
  return call;
}

Call with_inputs(Call call, const void* const* inputs) {
  call.inputs = inputs ? inputs : &kNoParts;
  return call;
}

Call with_outputs(Call call, void* const* outputs) {
  call.outputs = outputs ? outputs : &kNoParts;
  return call;
}

struct Parts {
  const size_t *counts, *offsets;
};
Call exchange(const void* input, Parts sends, void* output, Parts receives, tutti_dtype dtype) {
  Call call = make(Collective::all_to_all, input, output, 0, dtype);
  const auto given = [](const size_t* numbers) { return numbers ? numbers : &kNoCounts; };
  call.send_counts = given(sends.counts);
  call.send_offsets = given(sends.offsets);
  call.recv_counts = given(receives.counts);
  call.recv_offsets = given(receives.offsets);
  return call;
}

// `count` of the whole; more than there can be where that does not fit.
Call list(const void* const* inputs, void* const* outputs, const size_t* counts, size_t n, tutti_dtype dtype, tutti_op op) {
  Call call = reduction(Collective::all_reduce, nullptr, nullptr, 0, dtype, op);
  if (n == 0) return call;
  call = with_outputs(with_inputs(std::move(call), inputs), outputs);
  call.list_counts = counts ? counts : &kNoCounts;
  call.list_length = counts ? n : 0;
  for (size_t i = 0; i < call.list_length; ++i)
    if (__builtin_add_overflow(call.count, counts[i], &call.count)) {
      call.count = SIZE_MAX;
      break;
    }
  return call;
}

Call exchange_parts(const void* const* inputs, const size_t* send_counts, void* const* outputs, const size_t* recv_counts,
                    tutti_dtype dtype) {
  Call call = with_outputs(with_inputs(make(Collective::all_to_all, nullptr, nullptr, 0, dtype), inputs), outputs);
  call.send_counts = send_counts ? send_counts : &kNoCounts;
  call.recv_counts = recv_counts ? recv_counts : &kNoCounts;
  return call;
}

Call barrier(tutti_comm* comm) {  // an all-reduce of one byte that nobody reads
  std::byte* nothing = comm ? &comm->barrier_byte : nullptr;
  return make(Collective::barrier, nothing, nothing, 1, TUTTI_UINT8);
}

}  // namespace
}  // namespace tutti::api

using namespace tutti;
using namespace tutti::api;

void tutti_call_options_init_sized(tutti_call_options* options, size_t struct_size) {
  init_caller(options, struct_size, kDefaultOptions);
}

void(tutti_call_options_init)(tutti_call_options* options) { tutti_call_options_init_sized(options, sizeof *options); }

tutti_status tutti_all_reduce(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, tutti_op op,
                              const tutti_call_options* options) {
  return issue(comm, reduction(Collective::all_reduce, input, output, count, dtype, op), options, nullptr, false);
}
tutti_status tutti_all_reduce_start(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, tutti_op op,
                                    const tutti_call_options* options, tutti_request** request) {
  return issue(comm, reduction(Collective::all_reduce, input, output, count, dtype, op), options, request, true);
}

tutti_status tutti_all_reduce_list(tutti_comm* comm, const void* const* inputs, void* const* outputs, const size_t* counts,
                                   size_t n, tutti_dtype dtype, tutti_op op, const tutti_call_options* options) {
  return issue(comm, list(inputs, outputs, counts, n, dtype, op), options, nullptr, false);
}
tutti_status tutti_all_reduce_list_start(tutti_comm* comm, const void* const* inputs, void* const* outputs, const size_t* counts,
                                         size_t n, tutti_dtype dtype, tutti_op op, const tutti_call_options* options,
                                         tutti_request** request) {
  return issue(comm, list(inputs, outputs, counts, n, dtype, op), options, request, true);
}

tutti_status tutti_reduce_scatter(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, tutti_op op,
                                  const tutti_call_options* options) {
  return issue(comm, reduction(Collective::reduce_scatter, input, output, count, dtype, op), options, nullptr, false);
}
tutti_status tutti_reduce_scatter_start(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype,
                                        tutti_op op, const tutti_call_options* options, tutti_request** request) {
  return issue(comm, reduction(Collective::reduce_scatter, input, output, count, dtype, op), options, request, true);
}

tutti_status tutti_reduce_scatter_v(tutti_comm* comm, const void* input, void* output, const size_t* counts, tutti_dtype dtype,
                                    tutti_op op, const tutti_call_options* options) {
  return issue(comm, with_counts(reduction(Collective::reduce_scatter, input, output, 0, dtype, op), counts), options, nullptr,
               false);
}
tutti_status tutti_reduce_scatter_v_start(tutti_comm* comm, const void* input, void* output, const size_t* counts,
                                          tutti_dtype dtype, tutti_op op, const tutti_call_options* options,
                                          tutti_request** request) {
  return issue(comm, with_counts(reduction(Collective::reduce_scatter, input, output, 0, dtype, op), counts), options, request,
               true);
}

tutti_status tutti_all_gather(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype,
                              const tutti_call_options* options) {
  return issue(comm, make(Collective::all_gather, input, output, count, dtype), options, nullptr, false);
}
tutti_status tutti_all_gather_start(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype,
                                    const tutti_call_options* options, tutti_request** request) {
  return issue(comm, make(Collective::all_gather, input, output, count, dtype), options, request, true);
}

tutti_status tutti_all_gather_v(tutti_comm* comm, const void* input, void* output, const size_t* counts, tutti_dtype dtype,
                                const tutti_call_options* options) {
  return issue(comm, with_counts(make(Collective::all_gather, input, output, 0, dtype), counts), options, nullptr, false);
}
tutti_status tutti_all_gather_v_start(tutti_comm* comm, const void* input, void* output, const size_t* counts, tutti_dtype dtype,
                                      const tutti_call_options* options, tutti_request** request) {
  return issue(comm, with_counts(make(Collective::all_gather, input, output, 0, dtype), counts), options, request, true);
}

tutti_status tutti_broadcast(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, int root,
                             const tutti_call_options* options) {
  return issue(comm, rooted(Collective::broadcast, input, output, count, dtype, root), options, nullptr, false);
}
tutti_status tutti_broadcast_start(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, int root,
                                   const tutti_call_options* options, tutti_request** request) {
  return issue(comm, rooted(Collective::broadcast, input, output, count, dtype, root), options, request, true);
}

tutti_status tutti_reduce(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, tutti_op op, int root,
                          const tutti_call_options* options) {
  return issue(comm, rooted(Collective::reduce, input, output, count, dtype, root, op), options, nullptr, false);
}
tutti_status tutti_reduce_start(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, tutti_op op,
                                int root, const tutti_call_options* options, tutti_request** request) {
  return issue(comm, rooted(Collective::reduce, input, output, count, dtype, root, op), options, request, true);
}

tutti_status tutti_scan(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, tutti_op op,
                        const tutti_call_options* options) {
  return issue(comm, reduction(Collective::scan, input, output, count, dtype, op), options, nullptr, false);
}
tutti_status tutti_scan_start(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, tutti_op op,
                              const tutti_call_options* options, tutti_request** request) {
  return issue(comm, reduction(Collective::scan, input, output, count, dtype, op), options, request, true);
}

tutti_status tutti_exscan(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, tutti_op op,
                          const tutti_call_options* options) {
  return issue(comm, reduction(Collective::exscan, input, output, count, dtype, op), options, nullptr, false);
}
tutti_status tutti_exscan_start(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, tutti_op op,
                                const tutti_call_options* options, tutti_request** request) {
  return issue(comm, reduction(Collective::exscan, input, output, count, dtype, op), options, request, true);
}

tutti_status tutti_gather(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, int root,
                          const tutti_call_options* options) {
  return issue(comm, rooted(Collective::gather, input, output, count, dtype, root), options, nullptr, false);
}
tutti_status tutti_gather_start(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, int root,
                                const tutti_call_options* options, tutti_request** request) {
  return issue(comm, rooted(Collective::gather, input, output, count, dtype, root), options, request, true);
}

tutti_status tutti_gather_v(tutti_comm* comm, const void* input, void* output, const size_t* counts, tutti_dtype dtype, int root,
                            const tutti_call_options* options) {
  return issue(comm, with_counts(rooted(Collective::gather, input, output, 0, dtype, root), counts), options, nullptr, false);
}
tutti_status tutti_gather_v_start(tutti_comm* comm, const void* input, void* output, const size_t* counts, tutti_dtype dtype,
                                  int root, const tutti_call_options* options, tutti_request** request) {
  return issue(comm, with_counts(rooted(Collective::gather, input, output, 0, dtype, root), counts), options, request, true);
}

tutti_status tutti_scatter(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, int root,
                           const tutti_call_options* options) {
  return issue(comm, rooted(Collective::scatter, input, output, count, dtype, root), options, nullptr, false);
}
tutti_status tutti_scatter_start(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype, int root,
                                 const tutti_call_options* options, tutti_request** request) {
  return issue(comm, rooted(Collective::scatter, input, output, count, dtype, root), options, request, true);
}

tutti_status tutti_scatter_v(tutti_comm* comm, const void* input, void* output, const size_t* counts, tutti_dtype dtype, int root,
                             const tutti_call_options* options) {
  return issue(comm, with_counts(rooted(Collective::scatter, input, output, 0, dtype, root), counts), options, nullptr, false);
}
tutti_status tutti_scatter_v_start(tutti_comm* comm, const void* input, void* output, const size_t* counts, tutti_dtype dtype,
                                   int root, const tutti_call_options* options, tutti_request** request) {
  return issue(comm, with_counts(rooted(Collective::scatter, input, output, 0, dtype, root), counts), options, request, true);
}

tutti_status tutti_all_to_all(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype,
                              const tutti_call_options* options) {
  return issue(comm, make(Collective::all_to_all, input, output, count, dtype), options, nullptr, false);
}
tutti_status tutti_all_to_all_start(tutti_comm* comm, const void* input, void* output, size_t count, tutti_dtype dtype,
                                    const tutti_call_options* options, tutti_request** request) {
  return issue(comm, make(Collective::all_to_all, input, output, count, dtype), options, request, true);
}

tutti_status tutti_all_to_all_v(tutti_comm* comm, const void* input, const size_t* send_counts, const size_t* send_offsets,
                                void* output, const size_t* recv_counts, const size_t* recv_offsets, tutti_dtype dtype,
                                const tutti_call_options* options) {
  return issue(comm, exchange(input, {send_counts, send_offsets}, output, {recv_counts, recv_offsets}, dtype), options, nullptr,
               false);
}
tutti_status tutti_all_to_all_v_start(tutti_comm* comm, const void* input, const size_t* send_counts, const size_t* send_offsets,
                                      void* output, const size_t* recv_counts, const size_t* recv_offsets, tutti_dtype dtype,
                                      const tutti_call_options* options, tutti_request** request) {
  return issue(comm, exchange(input, {send_counts, send_offsets}, output, {recv_counts, recv_offsets}, dtype), options, request,
               true);
}

tutti_status tutti_all_gather_parts(tutti_comm* comm, const void* input, void* const* outputs, const size_t* counts,
                                    tutti_dtype dtype, const tutti_call_options* options) {
  return issue(comm, with_outputs(with_counts(make(Collective::all_gather, input, nullptr, 0, dtype), counts), outputs), options,
               nullptr, false);
}
tutti_status tutti_all_gather_parts_start(tutti_comm* comm, const void* input, void* const* outputs, const size_t* counts,
                                          tutti_dtype dtype, const tutti_call_options* options, tutti_request** request) {
  return issue(comm, with_outputs(with_counts(make(Collective::all_gather, input, nullptr, 0, dtype), counts), outputs), options,
               request, true);
}

tutti_status tutti_reduce_scatter_parts(tutti_comm* comm, const void* const* inputs, void* output, const size_t* counts,
                                        tutti_dtype dtype, tutti_op op, const tutti_call_options* options) {
  return issue(comm, with_inputs(with_counts(reduction(Collective::reduce_scatter, nullptr, output, 0, dtype, op), counts), inputs),
               options, nullptr, false);
}
tutti_status tutti_reduce_scatter_parts_start(tutti_comm* comm, const void* const* inputs, void* output, const size_t* counts,
                                              tutti_dtype dtype, tutti_op op, const tutti_call_options* options,
                                              tutti_request** request) {
  return issue(comm, with_inputs(with_counts(reduction(Collective::reduce_scatter, nullptr, output, 0, dtype, op), counts), inputs),
               options, request, true);
}

tutti_status tutti_gather_parts(tutti_comm* comm, const void* input, void* const* outputs, const size_t* counts, tutti_dtype dtype,
                                int root, const tutti_call_options* options) {
  return issue(comm, with_outputs(with_counts(rooted(Collective::gather, input, nullptr, 0, dtype, root), counts), outputs),
               options, nullptr, false);
}
tutti_status tutti_gather_parts_start(tutti_comm* comm, const void* input, void* const* outputs, const size_t* counts,
                                      tutti_dtype dtype, int root, const tutti_call_options* options, tutti_request** request) {
  return issue(comm, with_outputs(with_counts(rooted(Collective::gather, input, nullptr, 0, dtype, root), counts), outputs),
               options, request, true);
}

tutti_status tutti_scatter_parts(tutti_comm* comm, const void* const* inputs, void* output, const size_t* counts, tutti_dtype dtype,
                                 int root, const tutti_call_options* options) {
  return issue(comm, with_inputs(with_counts(rooted(Collective::scatter, nullptr, output, 0, dtype, root), counts), inputs),
               options, nullptr, false);
}
tutti_status tutti_scatter_parts_start(tutti_comm* comm, const void* const* inputs, void* output, const size_t* counts,
                                       tutti_dtype dtype, int root, const tutti_call_options* options, tutti_request** request) {
  return issue(comm, with_inputs(with_counts(rooted(Collective::scatter, nullptr, output, 0, dtype, root), counts), inputs),
               options, request, true);
}

tutti_status tutti_all_to_all_parts(tutti_comm* comm, const void* const* inputs, const size_t* send_counts, void* const* outputs,
                                    const size_t* recv_counts, tutti_dtype dtype, const tutti_call_options* options) {
  return issue(comm, exchange_parts(inputs, send_counts, outputs, recv_counts, dtype), options, nullptr, false);
}
tutti_status tutti_all_to_all_parts_start(tutti_comm* comm, const void* const* inputs, const size_t* send_counts,
                                          void* const* outputs, const size_t* recv_counts, tutti_dtype dtype,
                                          const tutti_call_options* options, tutti_request** request) {
  return issue(comm, exchange_parts(inputs, send_counts, outputs, recv_counts, dtype), options, request, true);
}

tutti_status tutti_barrier(tutti_comm* comm, const tutti_call_options* options) {
  return issue(comm, barrier(comm), options, nullptr, false);
}
tutti_status tutti_barrier_start(tutti_comm* comm, const tutti_call_options* options, tutti_request** request) {
  return issue(comm, barrier(comm), options, request, true);
}

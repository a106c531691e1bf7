#include "arena.h"

#include <sched.h>

#include <algorithm>

#include "element_types.h"

namespace tutti::test {

namespace {
constexpr std::byte kGuard{0xA5};
constexpr size_t kGuardBytes = 256;
constexpr ptrdiff_t kPartGuard = 64;

// Does the header define "in place" for this rank of this call?  (Only the root of gather and scatter has both
// buffers.)
bool shares_region(const Call& call, int rank) {
  if (!call.in_place || !allows_in_place(call.kind)) return false;
  return rank == call.root || !has_root(call.kind) || call.kind == Kind::broadcast || call.kind == Kind::reduce;
}

// In place, a scatter's output is the rank's part of its input, and a gather's input the rank's part of its output.
bool is_scatter(Kind kind) {
  return kind == Kind::reduce_scatter || kind == Kind::reduce_scatter_v || kind == Kind::scatter || kind == Kind::scatter_v;
}
bool is_gather(Kind kind) {
  return kind == Kind::all_gather || kind == Kind::all_gather_v || kind == Kind::gather || kind == Kind::gather_v;
}
}  // namespace

Arena::Arena(const Call& call, int rank, const Bytes& input)
    : call_(call), rank_(rank), shares_(shares_region(call, rank)), unit_(element_bytes(call.dtype)) {
  input_bytes_ = input.size();
  output_bytes_ = output_elements(call, rank) * unit_;
  const size_t first = kGuardBytes + call.seed % 4 * unit_;
  const size_t part = offset_of(call, rank) * unit_;
  input_at_ = output_at_ = first;
  if (!shares_) {
    output_at_ += input_bytes_ + kGuardBytes;
  } else if (is_scatter(call.kind)) {
    output_at_ += part;
  } else if (is_gather(call.kind)) {
    input_at_ += part;
  }
  memory_.assign(std::max(input_at_ + input_bytes_, output_at_ + output_bytes_) + kGuardBytes, kGuard);
  std::fill_n(memory_.begin() + static_cast<ptrdiff_t>(output_at_), output_bytes_, kUntouched);
  std::copy(input.begin(), input.end(), memory_.begin() + static_cast<ptrdiff_t>(input_at_));
  before_ = memory_;
  if (call.kind == Kind::all_to_all_v) {
    counts_ = send_counts(call, rank);
    recv_counts_ = recv_counts(call, rank);
    send_offsets_ = gapped_offsets(counts_);
    recv_offsets_ = gapped_offsets(recv_counts_);
  } else {
    for (int r = 0; r < call.size; ++r) counts_.push_back(count_of(call, r));
  }
  if (!uses_parts(call, rank)) return;
  std::vector<size_t> offsets;
  for (int r = 0; r < call.size; ++r) offsets.push_back(offset_of(call, r));
  const bool exchanges = call.kind == Kind::all_to_all_v;
  if (call.kind == Kind::all_reduce) {
    scatter_list();
    return;
  }
  const bool has_whole = !has_root(call.kind) || rank == call.root;
  if ((is_scatter(call.kind) && has_whole) || exchanges) scatter(inputs_, input_at_, counts_, exchanges ? send_offsets_ : offsets);
  if ((is_gather(call.kind) && has_whole) || exchanges)
    scatter(outputs_, output_at_, exchanges ? recv_counts_ : counts_, exchanges ? recv_offsets_ : offsets);
}

// Up to ten tensors, cut at this rank's own places.
void Arena::scatter_list() {
  const size_t width = width_of(call_), tensors = 1 + random_word(call_.seed, 7, static_cast<uint64_t>(rank_)) % 10;
  std::vector<size_t> offsets{0};
  for (size_t i = 1; i < tensors; ++i)
    offsets.push_back(
        static_cast<size_t>(random_word(call_.seed, 8 + i, static_cast<uint64_t>(rank_)) % (call_.count / width + 1)) * width);
  std::sort(offsets.begin(), offsets.end());
  counts_.clear();
  for (size_t i = 0; i < tensors; ++i) counts_.push_back((i + 1 < tensors ? offsets[i + 1] : call_.count) - offsets[i]);
  scatter(inputs_, input_at_, counts_, offsets);
  if (!shares_) scatter(outputs_, output_at_, counts_, offsets);
}

void Arena::scatter(Parts& parts, size_t at, const std::vector<size_t>& counts, const std::vector<size_t>& offsets) {
  for (size_t r = 0; r < counts.size(); ++r) {
    Bytes& memory = parts.memory.emplace_back(counts[r] * unit_ + 2 * kPartGuard, kGuard);
    parts.places.push_back(at + offsets[r] * unit_);
    std::copy_n(memory_.begin() + static_cast<ptrdiff_t>(parts.places[r]), counts[r] * unit_, memory.begin() + kPartGuard);
    parts.pointers.push_back(memory.data() + kPartGuard);
  }
}

void Arena::gather(const Parts& parts, Bytes& content) const {
  for (size_t r = 0; r < parts.memory.size(); ++r) {
    const Bytes memory = parts.devices.empty() ? parts.memory[r] : parts.devices[r]->content();
    const auto whole = [](std::byte byte) { return byte == kGuard; };
    if (!std::all_of(memory.begin(), memory.begin() + kPartGuard, whole) ||
        !std::all_of(memory.end() - kPartGuard, memory.end(), whole))
      content.front() = ~content.front();  // which is found as a change outside the output
    std::copy(memory.begin() + kPartGuard, memory.end() - kPartGuard, content.begin() + static_cast<ptrdiff_t>(parts.places[r]));
  }
}

Bytes Arena::content() const {
  Bytes content = device_ ? device_->content() : Bytes(data(), data() + memory_.size());
  gather(inputs_, content);
  gather(outputs_, content);
  return content;
}

tutti_status Arena::perform_parts(tutti_comm* comm, const tutti_call_options* options, tutti_request** request) {
  const void* const in = input_pointer();
  void* const out = output_pointer();
  // Null where this rank has none, or an array that nobody reads.
  const auto* const ins = inputs_.pointers.empty() ? nullptr : const_cast<const void* const*>(inputs_.pointers.data());
  void* const* const outs = outputs_.pointers.empty() ? nullptr : outputs_.pointers.data();
  const size_t* const n = counts_.data();
  const size_t* const receives = recv_counts_.data();
  const tutti_dtype type = call_.dtype;
  const tutti_op op = call_.op;
  const int root = call_.root;
  switch (call_.kind) {
    case Kind::all_reduce: {
      void* const* const results = shares_ ? inputs_.pointers.data() : outs;
      return request ? tutti_all_reduce_list_start(comm, ins, results, n, counts_.size(), type, op, options, request)
                     : tutti_all_reduce_list(comm, ins, results, n, counts_.size(), type, op, options);
    }
    case Kind::all_gather_v:
      return request ? tutti_all_gather_parts_start(comm, in, outs, n, type, options, request)
                     : tutti_all_gather_parts(comm, in, outs, n, type, options);
    case Kind::reduce_scatter_v:
      return request ? tutti_reduce_scatter_parts_start(comm, ins, out, n, type, op, options, request)
                     : tutti_reduce_scatter_parts(comm, ins, out, n, type, op, options);
    case Kind::gather_v:
      return request ? tutti_gather_parts_start(comm, in, outs, n, type, root, options, request)
                     : tutti_gather_parts(comm, in, outs, n, type, root, options);
    case Kind::scatter_v:
      return request ? tutti_scatter_parts_start(comm, ins, out, n, type, root, options, request)
                     : tutti_scatter_parts(comm, ins, out, n, type, root, options);
    default:
      return request ? tutti_all_to_all_parts_start(comm, ins, n, outs, receives, type, options, request)
                     : tutti_all_to_all_parts(comm, ins, n, outs, receives, type, options);
  }
}

// A rank without an input or output passes, by the seed, null or a pointer whose surroundings the check watches.
const void* Arena::input_pointer() const {
  if (input_bytes_ == 0 && !shares_ && call_.seed % 2 == 0 && !device_) return nullptr;
  if (shares_ && !outputs_.pointers.empty() && call_.kind != Kind::all_reduce) return outputs_.pointers[static_cast<size_t>(rank_)];
  return data() + input_at_;
}

void* Arena::output_pointer() {
  if (output_bytes_ == 0 && !shares_ && call_.seed % 2 == 0 && !device_) return nullptr;
  if (shares_ && !inputs_.pointers.empty() && call_.kind != Kind::all_reduce) return inputs_.pointers[static_cast<size_t>(rank_)];
  return data() + output_at_;
}

tutti_status Arena::perform_shift(tutti_comm* comm, tutti_request** request) {
  const int to = (rank_ + call_.root) % call_.size;
  const int from = (rank_ - call_.root + call_.size) % call_.size;
  tutti_status status = tutti_group_begin(comm);
  if (status == TUTTI_SUCCESS) status = tutti_send(comm, input_pointer(), call_.count, call_.dtype, to, 0, nullptr);
  if (status == TUTTI_SUCCESS) status = tutti_recv(comm, output_pointer(), call_.count, call_.dtype, from, 0, nullptr);
  if (status != TUTTI_SUCCESS) return status;
  return request == nullptr ? tutti_group_end(comm) : tutti_group_end_start(comm, request);
}

void Arena::move_to_device() {
  if (device_) return;
  device_ = std::make_unique<DeviceBytes>(memory_, DeviceBytes::StreamOf::thread);
  for (Parts* parts : {&inputs_, &outputs_})
    for (size_t r = 0; r < parts->memory.size(); ++r) {
      parts->devices.push_back(std::make_unique<DeviceBytes>(parts->memory[r], DeviceBytes::StreamOf::thread));
      parts->pointers[r] = parts->devices[r]->data() + kPartGuard;
    }
}

tutti_status Arena::move_to_lent_memory(tutti_comm* comm) {
  if (DeviceBytes::wanted()) {
    move_to_device();
    return TUTTI_SUCCESS;
  }
  if (lent_ || (call_.seed + static_cast<uint64_t>(rank_)) % 3 != 0) return TUTTI_SUCCESS;
  void* memory = nullptr;
  const tutti_status status = tutti_alloc(comm, memory_.size(), &memory);
  if (status != TUTTI_SUCCESS) return status;
  lent_ = {static_cast<std::byte*>(memory), Free{comm}};
  std::copy(memory_.begin(), memory_.end(), lent_.get());
  return TUTTI_SUCCESS;
}

tutti_status Arena::perform_blocking(tutti_comm* comm) {
  if (const tutti_status status = move_to_lent_memory(comm); status != TUTTI_SUCCESS) return status;
  tutti_call_options options;
  tutti_call_options_init(&options);
  if (!call_.algorithm.empty()) options.algorithm = call_.algorithm.c_str();
  const double factor = factor_of(call_, rank_);
  if (factor != 1) options.factor = &factor;
  options.reduction = reduction_of(call_);
  // The content is read on the same stream.
  if (device_ && (call_.seed + static_cast<uint64_t>(rank_)) % 2 == 0) options.stream = device_->stream();
  if (uses_parts(call_, rank_)) return perform_parts(comm, &options, nullptr);
  const void* in = input_pointer();
  void* out = output_pointer();
  const size_t n = call_.count;
  const tutti_dtype type = call_.dtype;
  const tutti_op op = call_.op;
  const int root = call_.root;
  switch (call_.kind) {
    case Kind::all_reduce: return tutti_all_reduce(comm, in, out, n, type, op, &options);
    case Kind::reduce_scatter: return tutti_reduce_scatter(comm, in, out, n, type, op, &options);
    case Kind::reduce_scatter_v: return tutti_reduce_scatter_v(comm, in, out, counts_.data(), type, op, &options);
    case Kind::all_gather: return tutti_all_gather(comm, in, out, n, type, &options);
    case Kind::all_gather_v: return tutti_all_gather_v(comm, in, out, counts_.data(), type, &options);
    case Kind::broadcast: return tutti_broadcast(comm, in, out, n, type, root, &options);
    case Kind::reduce: return tutti_reduce(comm, in, out, n, type, op, root, &options);
    case Kind::gather: return tutti_gather(comm, in, out, n, type, root, &options);
    case Kind::gather_v: return tutti_gather_v(comm, in, out, counts_.data(), type, root, &options);
    case Kind::scatter_v: return tutti_scatter_v(comm, in, out, counts_.data(), type, root, &options);
    case Kind::scatter: return tutti_scatter(comm, in, out, n, type, root, &options);
    case Kind::all_to_all: return tutti_all_to_all(comm, in, out, n, type, &options);
    case Kind::all_to_all_v:
      return tutti_all_to_all_v(comm, in, counts_.data(), send_offsets_.data(), out, recv_counts_.data(), recv_offsets_.data(),
                                type, &options);
    case Kind::scan: return tutti_scan(comm, in, out, n, type, op, &options);
    case Kind::exscan: return tutti_exscan(comm, in, out, n, type, op, &options);
    case Kind::barrier: return tutti_barrier(comm, &options);
    case Kind::shift: break;
  }
  return perform_shift(comm, nullptr);
}

tutti_status Arena::start(tutti_comm* comm, tutti_request** request) {
  if (const tutti_status status = move_to_lent_memory(comm); status != TUTTI_SUCCESS) return status;
  tutti_call_options options;
  tutti_call_options_init(&options);
  if (!call_.algorithm.empty()) options.algorithm = call_.algorithm.c_str();
  const double factor = factor_of(call_, rank_);
  if (factor != 1) options.factor = &factor;
  options.reduction = reduction_of(call_);
  if (uses_parts(call_, rank_)) return perform_parts(comm, &options, request);
  const void* in = input_pointer();
  void* out = output_pointer();
  const size_t n = call_.count;
  const tutti_dtype type = call_.dtype;
  const tutti_op op = call_.op;
  const int root = call_.root;
  switch (call_.kind) {
    case Kind::all_reduce: return tutti_all_reduce_start(comm, in, out, n, type, op, &options, request);
    case Kind::reduce_scatter: return tutti_reduce_scatter_start(comm, in, out, n, type, op, &options, request);
    case Kind::reduce_scatter_v: return tutti_reduce_scatter_v_start(comm, in, out, counts_.data(), type, op, &options, request);
    case Kind::all_gather: return tutti_all_gather_start(comm, in, out, n, type, &options, request);
    case Kind::all_gather_v: return tutti_all_gather_v_start(comm, in, out, counts_.data(), type, &options, request);
    case Kind::broadcast: return tutti_broadcast_start(comm, in, out, n, type, root, &options, request);
    case Kind::reduce: return tutti_reduce_start(comm, in, out, n, type, op, root, &options, request);
    case Kind::gather: return tutti_gather_start(comm, in, out, n, type, root, &options, request);
    case Kind::gather_v: return tutti_gather_v_start(comm, in, out, counts_.data(), type, root, &options, request);
    case Kind::scatter_v: return tutti_scatter_v_start(comm, in, out, counts_.data(), type, root, &options, request);
    case Kind::scatter: return tutti_scatter_start(comm, in, out, n, type, root, &options, request);
    case Kind::all_to_all: return tutti_all_to_all_start(comm, in, out, n, type, &options, request);
    case Kind::all_to_all_v:
      return tutti_all_to_all_v_start(comm, in, counts_.data(), send_offsets_.data(), out, recv_counts_.data(),
                                      recv_offsets_.data(), type, &options, request);
    case Kind::scan: return tutti_scan_start(comm, in, out, n, type, op, &options, request);
    case Kind::exscan: return tutti_exscan_start(comm, in, out, n, type, op, &options, request);
    case Kind::barrier: return tutti_barrier_start(comm, &options, request);
    case Kind::shift: break;
  }
  return perform_shift(comm, request);
}

tutti_status test_until_done(tutti_request* request) {
  for (int done = 0;;) {
    const tutti_status status = tutti_test(request, &done);
    if (done != 0 || status != TUTTI_SUCCESS) return status;
    sched_yield();
  }
}

tutti_status Arena::perform(tutti_comm* comm, How how) {
  if (how == How::blocking) return perform_blocking(comm);
  tutti_request* request = nullptr;
  const tutti_status status = start(comm, &request);
  if (status != TUTTI_SUCCESS) return status;
  return how == How::start_wait ? tutti_wait(request) : test_until_done(request);
}

std::string Arena::check(const std::vector<Bytes>& inputs) const { return check(inputs, expected_output(call_, rank_, inputs)); }

std::string Arena::check(const std::vector<Bytes>& inputs, const Bytes& expected) const {
  const std::string where = describe(call_) + ": at rank " + std::to_string(rank_) + " ";
  if (expected.size() > output_bytes_ && !shares_) return where + "the test itself expects more output than there is room for";
  const Bytes now = content();
  const std::string wrong = difference(call_, rank_, inputs, now.data() + output_at_, expected);
  if (!wrong.empty()) return where + wrong;
  const auto same = [&](size_t from, size_t to) { return std::equal(now.data() + from, now.data() + to, before_.data() + from); };
  if (!same(0, output_at_) || !same(output_at_ + expected.size(), memory_.size()))
    return where + "memory outside the output has changed";
  return "";
}

Bytes Arena::output() const {
  const Bytes now = content();
  return Bytes(now.data() + output_at_, now.data() + output_at_ + output_bytes_);
}

}  // namespace tutti::test

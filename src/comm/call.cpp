#include "call.h"

#include <numeric>

#include "bytes.h"

namespace tutti {
namespace {

uint16_t hash16(const size_t* counts, int size) {
  Hash hash;
  for (int r = 0; r < size; ++r) hash.add(counts[r]);
  return hash.folded();
}

uint16_t hash_with(uint16_t detail, size_t width) {
  Hash hash;
  hash.add(detail);
  hash.add(width);
  return hash.folded();
}

Binding binding_of_all_to_all(const Call& call, int rank, int size, size_t stripe_bytes) {
  const auto p = static_cast<size_t>(size), me = static_cast<size_t>(rank);
  const size_t element = element_size(call.type);
  const auto* input = static_cast<const std::byte*>(call.input);
  auto* output = static_cast<std::byte*>(call.output);
  std::vector<Binding::Block> row(p), column(p);
  for (size_t r = 0; r < p; ++r) {
    const bool v = call.send_counts != nullptr;
    const size_t from = (!v ? r * call.count : call.inputs ? 0 : call.send_offsets[r]) * element;
    const size_t to = (!v ? r * call.count : call.outputs ? 0 : call.recv_offsets[r]) * element;
    row[r] = {input ? input + from : nullptr, nullptr, (v ? call.send_counts[r] : call.count) * element};
    column[r] = {nullptr, output ? output + to : nullptr, (v ? call.recv_counts[r] : call.count) * element};
    if (call.inputs) row[r].input = static_cast<const std::byte*>(call.inputs[r]);
    if (call.outputs) column[r].output = static_cast<std::byte*>(call.outputs[r]);
  }
  row[me].output = column[me].output;
  return Binding::exchange(std::move(row), std::move(column), static_cast<uint32_t>(me), stripe_bytes);
}

Binding binding_of_list(const Call& call, uint32_t blocks, size_t stripe_bytes) {
  const size_t element = element_size(call.type);
  std::vector<Binding::Block> pieces;
  size_t begin = 0;
  for (size_t i = 0; i < call.list_length; ++i) {
    const auto* input =
        call.inputs ? static_cast<const std::byte*>(call.inputs[i]) : static_cast<const std::byte*>(call.input) + begin;
    pieces.push_back({input, static_cast<std::byte*>(call.outputs[i]), call.list_counts[i] * element});
    begin += pieces.back().bytes;
  }
  return Binding::scattered(std::move(pieces), blocks, stripe_bytes, unit_of(call));
}

}  // namespace

size_t total_count(const Call& call, int size) {
  const auto p = static_cast<size_t>(size);
  if (call.counts) return std::accumulate(call.counts, call.counts + p, size_t{0});
  return each_rank_has_a_part(call.collective) ? call.count * p : call.count;
}

Extent extent_of(const Call& call, int rank, int size) {
  const auto p = static_cast<size_t>(size), me = static_cast<size_t>(rank);
  const size_t total = total_count(call, size);
  size_t before = me * call.count, own = call.count;
  if (call.counts) {
    before = std::accumulate(call.counts, call.counts + me, size_t{0});
    own = call.counts[me];
  }
  switch (call.collective) {
    case Collective::all_reduce: return {total, total};
    case Collective::broadcast: return {total, total, 0, 0, rank == call.root, true};
    case Collective::reduce: return {total, total, 0, 0, true, rank == call.root};
    case Collective::scan: return {total, total};
    case Collective::exscan: return {total, total, 0, 0, true, rank > 0};
    case Collective::reduce_scatter: return {total, own, 0, before};
    case Collective::all_gather: return {own, total, before, 0};
    case Collective::gather: return {own, total, before, 0, true, rank == call.root};
    case Collective::scatter: return {total, own, 0, before, rank == call.root, true};
    case Collective::all_to_all: return {p * call.count, p * call.count};
    default: return {0, 0};
  }
}

Signature signature_of(const Call& call, int size, uint8_t algorithm, uint64_t context, uint32_t sequence) {
  const Call& named = call.about ? *call.about : call;
  Signature signature;
  signature.collective = static_cast<uint8_t>(named.collective);
  const bool on_device = named.on_device && named.collective != Collective::barrier;  // which has no data
  signature.data_type = static_cast<uint8_t>(named.type) | (on_device ? kOnDevice : uint8_t{0});
  signature.op = static_cast<uint8_t>(named.op);
  signature.algorithm = call.service.mark != 0 ? call.service.mark : algorithm;
  signature.root = named.root;
  signature.count = named.counts ? total_count(named, size) : named.count;
  signature.detail = named.counts ? hash16(named.counts, size) : call.service.step;
  if (named.custom) signature.detail = hash_with(signature.detail, named.custom->width);
  signature.context = context;
  if (named.collective != Collective::point_to_point) signature.sequence = sequence;
  return signature;
}

Binding binding_of(const Call& call, int rank, int size, uint32_t blocks, size_t stripe_bytes) {
  const auto p = static_cast<size_t>(size), me = static_cast<size_t>(rank);
  if (call.collective == Collective::all_to_all) return binding_of_all_to_all(call, rank, size, stripe_bytes);
  if (call.list_counts) return binding_of_list(call, blocks, stripe_bytes);
  const size_t element = element_size(call.type);
  const auto* input = static_cast<const std::byte*>(call.input);
  auto* output = static_cast<std::byte*>(call.output);
  if (!each_rank_has_a_part(call.collective))
    return Binding::chunked(input, output, call.count * element, blocks, stripe_bytes, unit_of(call));
  const bool input_is_whole = call.collective == Collective::reduce_scatter || call.collective == Collective::scatter;
  const bool output_is_whole = call.collective == Collective::all_gather || call.collective == Collective::gather;
  std::vector<Binding::Block> parts(p);
  size_t offset = 0;
  for (size_t r = 0; r < p; ++r) {
    parts[r].bytes = (call.counts ? call.counts[r] : call.count) * element;
    if (input) parts[r].input = input_is_whole ? input + offset : r == me ? input : nullptr;
    if (output) parts[r].output = output_is_whole ? output + offset : r == me ? output : nullptr;
    if (call.inputs) parts[r].input = static_cast<const std::byte*>(call.inputs[r]);
    if (call.outputs) parts[r].output = static_cast<std::byte*>(call.outputs[r]);
    offset += parts[r].bytes;
  }
  return Binding::fixed(std::move(parts), stripe_bytes);
}

size_t unit_of(const Call& call) {
  return call.custom ? CustomReduction::unit(call.custom->width * element_size(call.type)) : VectorCut::kUnit;
}

bool averages_halves(const Call& call) {
  return call.op == ReduceOp::avg && (call.type == DataType::float16 || call.type == DataType::bfloat16);
}

}  // namespace tutti

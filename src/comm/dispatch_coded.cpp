// Calls with a codec: their route, and what carries them out.
#include <utility>

#include "algorithms.h"
#include "codec_rates.h"
#include "dispatch.h"
#include "tensor_codec.h"

namespace tutti {

TensorTaken::~TensorTaken() {
  if (tensor_) tensor_->give_back();
}

Packed packed_by(const TensorCodec& tensor) {
  const size_t chunk = tensor.codec().chunk();
  return {CodedPayload::packed_bytes(tensor), (tensor.count() + chunk - 1) / chunk, CodedPayload::packet_bytes(tensor),
          chunk * element_size(tensor.type()), tensor.text()};
}

Result<Dispatch::Coded> Dispatch::prepare_coded(const Call& call, uint32_t sequence) {
  TensorCodec& tensor = *call.codec;
  Packed packed = packed_by(tensor);
  packed.widest_run = [this](uint8_t algorithm) { return program_of(algorithm, Collective::all_reduce, -1).program->widest_run; };
  CallKind kind = kind_of(call, packed.bytes);
  kind.packed = &packed;
  auto route = tutti::route(terms_, kind);
  if (!route.ok()) return route.status();
  auto routed = std::make_shared<RoutedCall>();
  routed->collective = call.collective;
  routed->type = call.type;
  routed->op = call.op;
  routed->count = call.count;
  routed->bytes = tensor.count() * element_size(tensor.type());
  routed->route = std::move(*route);
  routed->predictable = false;

  PreparedCall prepared;
  prepared.algorithm = routed->route.name;
  prepared.compiled = program_of(routed->route.algorithm, Collective::all_reduce, -1);
  const Program& program = *prepared.compiled.program;
  uint32_t& slots = prepared.compiled.slots = PlanOperation::slots_per_stripe(program, engine_.link_table(), true);
  CodedCut cut = cut_coded(terms_, packed, program.blocks, program.widest_run);
  if (slots > 0) cut.lanes = std::min(cut.lanes, parts_.pool->slots() / slots);
  if (cut.lanes == 0)
    return Status(Code::unsupported, "algorithm " + std::string(prepared.algorithm) + " needs " + std::to_string(slots) +
                                         " slots for a stripe with a codec, and there are " +
                                         std::to_string(parts_.pool->slots()) + "; choose another one");
  prepared.signature = sign(call, routed->route.algorithm, sequence);
  prepared.signature.detail = tensor.identity();
  CodedPayload::Job job{call.input, call.output, static_cast<uint32_t>(parts_.rank), static_cast<uint32_t>(parts_.size), 1};
  if (call.op == ReduceOp::avg) job.divisor = job.ranks;
  job.output_store = output_store(call, routed->bytes);
  prepared.binding = CodedPayload::bind(tensor, call.input, call.output, program.blocks, cut.chunks_per_stripe);
  prepared.cut = {cut.lanes, prepared.binding.stripe_bytes()};
  if (Status status = tensor.begin(); !status.ok()) return status;
  TensorTaken taken(call.codec);
  prepared.coded = std::make_unique<CodedPayload>(call.codec, job, cut.lanes, program.blocks);
  return Coded{std::move(routed), std::move(packed), std::move(taken), std::move(prepared)};
}

}  // namespace tutti

// How a communicator runs a call with a codec.
#include <cstdio>
#include <utility>

#include "algorithms.h"
#include "byte_units.h"
#include "coded.h"
#include "communicator.h"
#include "standard_floats.h"
#include "tensor_codec.h"

namespace tutti {
namespace {

constexpr int kFewRanksForRing = 8;  // beyond, a ring of coarse codecs deserves a warning
constexpr const char* kAlone = "nothing travels, since there is one rank";

std::string rate(double bytes_per_second) {
  char text[32];
  std::snprintf(text, sizeof text, bytes_per_second < 1e10 ? "%.2f GB/s" : "%.0f GB/s", bytes_per_second * 1e-9);
  return text;
}

Packed packed_by(const TensorCodec& tensor) {
  const size_t chunk = tensor.codec().chunk();
  return {Coder::packed_bytes(tensor), (tensor.count() + chunk - 1) / chunk, Coder::packet_bytes(tensor),
          chunk * element_size(tensor.type()), tensor.text()};
}

// A codec's tensor that begin() has taken for a call; given back as it was, unless the call is started.
class TensorTaken {
 public:
  explicit TensorTaken(TensorCodec& tensor) : tensor_(&tensor) {}
  TensorTaken(const TensorTaken&) = delete;
  ~TensorTaken() {
    if (tensor_) tensor_->give_back();
  }
  void keep() { tensor_ = nullptr; }

 private:
  TensorCodec* tensor_;
};

}  // namespace

// Does the call travel compressed?  "auto:" codecs are decided once, by the slowest rank's rates; all ranks decide alike.
Result<const Communicator::Decision*> Communicator::decided(const Call& call) {
  static const Decision kAsked{true, "asked for"};
  const TensorCodec& tensor = *call.codec;
  if (!tensor.spec().automatic) return &kAsked;
  if (const auto known = decisions_.find(tensor.text()); known != decisions_.end()) return &known->second;
  Decision decision;
  if (Status status = decide(call, decision); !status.ok()) return status;
  if (parts_->rank == 0) parts_->log.info("codec " + tensor.text() + ": " + decision.why);
  return &decisions_.emplace(tensor.text(), std::move(decision)).first->second;
}

Status Communicator::run_with_codec(const Call& call) {
  last_was_lent_ = false;
  const auto decision = decided(call);
  if (!decision.ok()) return decision.status();
  if ((*decision)->compresses) return run_queued(call);
  Call plain = call;
  plain.codec = nullptr;
  Status status = run_untold(plain);
  remembered_.coded = true;
  last_codec_ = "none: " + (*decision)->why;
  return status;
}

Status Communicator::decide(const Call& call, Decision& decision) {
  const TensorCodec& tensor = *call.codec;
  const kernels::StandardFloats mode;
  const MachineProfile profile = tuning_ ? tuning_->profile : MachineProfile::standard(parts_->inside_streams);
  const double link = link_seconds_per_byte(terms_, profile);
  if (parts_->size == 1 || link <= 0) {
    decision = {false, parts_->size == 1 ? kAlone : "nothing is compressed, since messages go through memory"};
    return {};
  }
  const auto mine = static_cast<float>(break_even(measure_rates(tensor.codec())) * 1e9);
  float most = 0;  // nanoseconds per byte: of the slowest rank
  Call question;
  question.collective = Collective::all_reduce;
  question.input = &mine;
  question.output = &most;
  question.count = 1;
  question.type = DataType::float32;
  question.op = ReduceOp::max;
  question.timeout_ns = call.timeout_ns;
  if (Status status = consult(question, call); !status.ok()) return status;
  decision.compresses = link * 1e9 > static_cast<double>(most);
  decision.why = std::string(decision.compresses ? "compressed" : "not compressed") + ", since the links carry " + rate(1 / link) +
                 " and compressing pays below " + rate(1e9 / static_cast<double>(most));
  return {};
}

// A question of the library's own before `about`, in whose name and by whose number it is asked.
Status Communicator::consult(Call question, const Call& about) {
  question.about = &about;
  Remembered about_call = std::exchange(remembered_, {});
  Status status;
  try {
    status = run_untold(question);
  } catch (...) {
    remembered_ = std::move(about_call);
    throw;
  }
  remembered_ = std::move(about_call);
  return status;
}

Result<std::shared_ptr<Operation>> Communicator::start_coded(const Call& call, bool asynchronous) {
  TensorCodec& tensor = *call.codec;
  const Packed packed = packed_by(tensor);
  const auto widest_run = [this](uint8_t algorithm) {
    return program_of(algorithm, Collective::all_reduce, -1).program->widest_run;
  };
  auto choice = choose_coded(terms_, packed, call.algorithm, forecaster_.get(), widest_run);
  if (!choice.ok()) return choice.status();
  Compiled compiled = program_of(choice->algorithm, Collective::all_reduce, -1);
  const Program& program = *compiled.program;
  compiled.slots = PlanOperation::slots_per_stripe(program, engine_->link_table(), true);
  CodedCut cut = cut_coded(terms_, packed, program.blocks, program.widest_run);
  if (compiled.slots > 0) cut.lanes = std::min(cut.lanes, parts_->pool->slots() / compiled.slots);
  if (cut.lanes == 0)
    return Status(Code::unsupported, "algorithm " + std::string(choice->name) + " needs " + std::to_string(compiled.slots) +
                                         " slots for a stripe with a codec, and there are " +
                                         std::to_string(parts_->pool->slots()) + "; choose another one");
  Remembered remembered;
  remembered.choice = std::move(*choice);
  remembered.bytes = tensor.count() * element_size(tensor.type());
  remembered.coded = true;
  Signature signature = sign(call, remembered.choice.algorithm, next_sequence());
  signature.detail = tensor.identity();
  Coder::Job job{call.input, call.output, static_cast<uint32_t>(parts_->rank), static_cast<uint32_t>(parts_->size), 1};
  if (call.op == ReduceOp::avg) job.divisor = job.ranks;
  job.output_store = output_store(call, remembered.bytes);
  auto binding = Coder::bind(tensor, call.input, call.output, program.blocks, cut.chunks_per_stripe);
  const size_t stripe_bytes = binding.stripe_bytes();
  if (Status status = tensor.begin(); !status.ok()) return status;
  TensorTaken taken(tensor);
  auto coder = std::make_unique<Coder>(call.codec, job, cut.lanes, program.blocks);
  const auto make = [&](LinkTable& link_table) -> std::shared_ptr<Operation> {
    auto operation = std::make_shared<PlanOperation>(compiled.program, remembered.choice.name, std::move(binding), Arithmetic(),
                                                     signature, cut.lanes, compiled.slots, link_table);
    operation->set_coder(std::move(coder));
    return fill_in(operation, call, remembered.bytes);
  };
  auto operation = engine_->start(make, asynchronous);
  if (!operation.ok()) return operation;
  taken.keep();
  count_call(call);
  last_was_lent_ = false;
  last_cut_ = {cut.lanes, stripe_bytes};
  remembered_ = std::move(remembered);
  if_possible([&] { tell_coded(tensor, packed, remembered_.choice); });
  return operation;
}

// What statistics show, and at rank 0 a line for each kind of call.
void Communicator::tell_coded(const TensorCodec& tensor, const Packed& packed, const Choice& choice) {
  if (parts_->size == 1) {
    last_codec_ = std::string("none: ") + kAlone;
    return;
  }
  const uint64_t bytes = tensor.count() * element_size(tensor.type());
  last_codec_ = tensor.text() + ": " + describe_bytes(bytes) + " in packets of " + describe_bytes(packed.bytes);
  if (parts_->rank != 0) return;
  if (!told_.insert(tensor.text() + " " + std::string(choice.name) + std::to_string(size_class(bytes))).second) return;
  parts_->log.info("all_reduce with codec " + last_codec_ + ", by " + std::string(choice.name) + ": " + choice.reason);
  const bool coarse = packed.packet_bytes * 8 <= packed.chunk_bytes / element_size(tensor.type()) * 5;  // bits an element
  if (choice.name == "ring" && coarse && parts_->size > kFewRanksForRing)
    parts_->log.warn("codec " + tensor.text() + " on a ring of " + std::to_string(parts_->size) +
                     " ranks: each sum is encoded again at every rank, so errors add up; direct or recursive encode it less often");
}

}  // namespace tutti

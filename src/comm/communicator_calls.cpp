// How a communicator runs a call: the flat exchange at once, plans through the engine's queue.
#include <utility>

#include "byte_units.h"
#include "clock.h"
#include "communicator.h"
#include "tensor_codec.h"

namespace tutti {
namespace {

constexpr uint32_t kFlatPauses = 40;          // some microseconds
constexpr uint64_t kFlatPatienceNs = 50'000;  // for which a flat exchange that waits keeps the lock

}  // namespace

Status Communicator::run(const Call& call) {
  CallLock lock(call_lock_);
  if (!calls_.keeps_accounts() || !tuning_) return run_call(call, &lock);
  const uint64_t start = now_ns();
  Status status = run_call(call, &lock);
  if (!lock.owns_lock()) lock.lock();
  if (status.ok()) if_possible([&] { calls_.account(now_ns() - start); });
  return status;
}

Status Communicator::run_call(const Call& call, CallLock* lock) {
  if (failed()) return engine_->end();
  if (call.on_device) return drive(start_on_device(call, false), lock);
  if (call.codec) return run_coded(call, lock);
  auto routed = dispatch_->route(call);
  if (!routed.ok()) return routed.status();
  if ((*routed)->is_flat() && !Dispatch::is_staged(call) && !call.list_counts && may_exchange())
    return run_flat(call, *routed, lock);
  if (dispatch_->asks_whether_lent(call, **routed)) {
    const auto lent = all_lend(call, (*routed)->bytes);
    if (!lent.ok()) return lent.status();
    if (*lent) routed = dispatch_->route(call, true);
    if (!routed.ok()) return routed.status();
  }
  return drive(start_routed(call, *routed, false), lock);
}

Status Communicator::drive(const Started& operation, CallLock* lock) {
  if (!operation.ok()) return operation.status();
  if (lock) lock->unlock();
  return wait(**operation);
}

Communicator::Started Communicator::start(const Call& call, bool asynchronous) {
  const CallLock lock(call_lock_);
  if (Status status = failed_status(); !status.ok()) return status;
  return start_locked(call, asynchronous);
}

Communicator::Started Communicator::start_locked(const Call& call, bool asynchronous) {
  if (call.on_device) return start_on_device(call, asynchronous);
  if (call.codec) {
    const auto decision = decided(call);
    if (!decision.ok()) return decision.status();
    if ((*decision)->compresses) return start_coded(call, asynchronous);
    Call plain = call;
    plain.codec = nullptr;
    std::string why = "none: " + (*decision)->why;
    auto operation = start_locked(plain, asynchronous);
    if (operation.ok()) calls_.note_codec(std::move(why));
    return operation;
  }
  const auto routed = dispatch_->route(call);
  if (!routed.ok()) return routed.status();
  return start_routed(call, *routed, asynchronous);
}

Communicator::Started Communicator::start_routed(const Call& call, const Routed& routed, bool asynchronous) {
  if (routed->is_flat()) return start_flat(call, routed, asynchronous);
  auto prepared = dispatch_->prepare(call, *routed, sequence_of(call));
  if (!prepared.ok()) return prepared.status();
  const auto make = [&](LinkTable& table) { return dispatch_->equipped(prepared->make(table), call, routed->bytes); };
  auto operation = engine_->start(make, asynchronous);
  if (!operation.ok()) return operation;
  begun(call, routed, prepared->cut);
  return operation;
}

void Communicator::begun(const Call& call, const Routed& routed, const Cut& cut) noexcept {
  if (call.service.mark != 0) return;
  ++sequence_;
  calls_.note(routed, cut);
}

// ---- the flat exchange ----

// The short way of a blocking call while nothing is queued: no operation is made unless the others keep this rank
// waiting for long.  Without memory for one the exchange goes on under the lock.
template <class Sign>
Status Communicator::finish_flat(FlatExchange& exchange, const Call& call, Sign sign, CallLock* lock) {
  const auto ranks = static_cast<uint32_t>(parts_->size);
  const auto count = [&] {
    if (call.service.mark == 0) flat_totals_.count_flat(exchange.bytes(), ranks);
  };
  for (uint32_t pauses = parts_->crowded ? 1 : kFlatPauses; pauses > 0; --pauses) {
    exchange.advance();
    if (exchange.finished()) {
      count();
      return {};
    }
    cpu_pause();
  }
  for (Waiter waiter(parts_->crowded ? Waiter::kCrowdedPauses : Waiter::kPauses); waiter.wait() < kFlatPatienceNs && !given_up();) {
    exchange.advance();
    if (!exchange.finished()) continue;
    count();
    return {};
  }
  try {
    const auto make = [&](LinkTable&) -> std::shared_ptr<Operation> {
      return dispatch_->equipped(std::make_shared<FlatOperation>(exchange, ranks, sign()), call, exchange.bytes());
    };
    return drive(engine_->start(make, false), lock);
  } catch (const std::bad_alloc&) {
    FlatOperation operation(exchange, ranks, sign());
    operation.timeout_ns = call.timeout_ns > 0 ? call.timeout_ns : parts_->timeout_ns.load(std::memory_order_relaxed);
    Status status = engine_->drive_alone(operation);
    if (status.ok()) count();
    return status;
  }
}

Status Communicator::run_flat(const Call& call, const Routed& routed, CallLock* lock) {
  Arithmetic arithmetic = routed->arithmetic;
  arithmetic.output_store = dispatch_->output_store(call, routed->bytes);
  const uint32_t sequence = sequence_of(call);
  FlatExchange exchange(*parts_->board, call.input, call.output, routed->bytes, arithmetic, flat_hash(routed->flat_kind, sequence));
  exchange.enter();
  begun(call, routed, {1, routed->bytes});
  return finish_flat(
      exchange, call, [&] { return dispatch_->sign(call, kFlat, sequence); }, lock);
}

Communicator::Maker Communicator::flat_maker(const Call& call, const Routed& routed, const Call& whole) {
  Arithmetic arithmetic = routed->arithmetic;
  arithmetic.output_store = dispatch_->output_store(call, routed->bytes);
  const uint32_t sequence = sequence_of(call);
  const void* input = call.input;
  void* output = call.output;
  std::shared_ptr<std::unique_ptr<StagedData>> data;
  if (Dispatch::is_staged(call) || call.list_counts) {
    Call staged = call;
    data = std::make_shared<std::unique_ptr<StagedData>>(dispatch_->stage(staged, false, call.list_counts != nullptr));
    input = staged.input;
    output = staged.output;
  }
  const FlatExchange exchange(*parts_->board, input, output, routed->bytes, arithmetic, flat_hash(routed->flat_kind, sequence));
  return [exchange, data, ranks = static_cast<uint32_t>(parts_->size),
          signature = dispatch_->sign(whole, kFlat, sequence)](LinkTable& table) -> std::shared_ptr<Operation> {
    auto operation = std::make_shared<FlatOperation>(exchange, ranks, signature);
    if (!data) return operation;
    return std::make_shared<StagedOperation>(std::move(*data), std::move(operation), *table.executor);
  };
}

Communicator::Started Communicator::start_flat(const Call& call, const Routed& routed, bool asynchronous) {
  const Maker make = flat_maker(call, routed, call);
  auto operation =
      engine_->start([&](LinkTable& table) { return dispatch_->equipped(make(table), call, routed->bytes); }, asynchronous);
  if (!operation.ok()) return operation;
  begun(call, routed, {1, routed->bytes});
  return operation;
}

// ---- messages ----

Result<Engine::Operations> Communicator::start_messages(const std::vector<Message>& messages, bool asynchronous) {
  if (Status status = failed_status(); !status.ok()) return status;
  const Routed routed = Dispatch::route_of(messages);
  auto operations =
      engine_->start_all([&](LinkTable& table) { return dispatch_->messages(messages, !asynchronous, table); }, asynchronous);
  // Not kept waiting by a collective that is being started.
  if (CallLock lock(call_lock_, std::try_to_lock); lock && operations.ok()) calls_.note(routed, calls_.cut());
  return operations;
}

// ---- questions ----

// One number of each rank, reduced over all, before the call `about` and in its name.
template <class Number>
Result<Number> Communicator::ask_all(Number mine, DataType type, ReduceOp op, const Call& about) {
  Number answer{};
  Call question;
  question.collective = Collective::all_reduce;
  question.input = &mine;
  question.output = &answer;
  question.count = 1;
  question.type = type;
  question.op = op;
  question.about = &about;
  question.service = {kQuestion, sequence_of(about), 0};
  question.timeout_ns = about.timeout_ns;
  if (Status status = run_service(question); !status.ok()) return status;
  return answer;
}

Result<bool> Communicator::all_say(bool yes, const Call& about) {
  const auto least = ask_all(static_cast<uint8_t>(yes), DataType::uint8, ReduceOp::min, about);
  if (!least.ok()) return least.status();
  return *least == 1;
}

// ---- calls with a codec ----

Result<const CodecDecision*> Communicator::decided(const Call& call) {
  const auto ask_most = [this](float mine, const Call& about) { return ask_all(mine, DataType::float32, ReduceOp::max, about); };
  return codec_decisions_.of(call, dispatch_->terms(), tuning_.get(), ask_most);
}

Status Communicator::run_coded(const Call& call, CallLock* lock) {
  const auto decision = decided(call);
  if (!decision.ok()) return decision.status();
  if ((*decision)->compresses) return drive(start_coded(call, false), lock);
  Call plain = call;
  plain.codec = nullptr;
  std::string why = "none: " + (*decision)->why;
  Status status = run_call(plain, lock);
  if (!lock->owns_lock()) lock->lock();
  calls_.note_codec(std::move(why));
  return status;
}

Communicator::Started Communicator::start_coded(const Call& call, bool asynchronous) {
  auto coded = dispatch_->prepare_coded(call, sequence_of(call));
  if (!coded.ok()) return coded.status();
  const auto make = [&](LinkTable& table) { return dispatch_->equipped(coded->prepared.make(table), call, coded->routed->bytes); };
  auto operation = engine_->start(make, asynchronous);
  if (!operation.ok()) return operation;
  coded->tensor.keep();
  begun(call, coded->routed, coded->prepared.cut);
  if_possible([&] { note_coded(call, *coded->routed, coded->packed); });
  return operation;
}

void Communicator::note_coded(const Call& call, const RoutedCall& routed, const Packed& packed) {
  constexpr int kFewRanksForRing = 8;  // beyond, a ring of coarse codecs deserves a warning
  if (parts_->size == 1) return calls_.note_codec(std::string("none: ") + kAlone);
  const TensorCodec& tensor = *call.codec;
  const std::string route(routed.route.name);
  const std::string what = tensor.text() + ": " + describe_bytes(routed.bytes) + " in packets of " + describe_bytes(packed.bytes);
  const std::string kind = tensor.text() + " " + route + std::to_string(size_class(routed.bytes));
  calls_.note_codec(what);
  if (!calls_.say_once(kind, "all_reduce with codec " + what + ", by " + route + ": " + routed.route.reason)) return;
  // Bits an element.
  const bool coarse = packed.packet_bytes * 8 <= packed.chunk_bytes / element_size(tensor.type()) * 5;
  if (route == "ring" && coarse && parts_->size > kFewRanksForRing)
    parts_->log.warn("codec " + tensor.text() + " on a ring of " + std::to_string(parts_->size) +
                     " ranks: each sum is encoded again at every rank, so errors add up; direct or recursive encode it less often");
}

// ---- the library's own calls ----

// One flat exchange of a byte: do all ranks' buffers lie in memory of tutti_alloc?  The answer is kept until the call
// has begun: if it fails before, the same call comes again, and the others have been answered.
Result<bool> Communicator::all_lend(const Call& call, uint64_t bytes) {
  if (lent_answer_.number == sequence_of(call)) return lent_answer_.all;
  const auto all = all_say(dispatch_->can_lend(call, bytes), call);
  if (!all.ok()) return all.status();
  lent_answer_ = {sequence_of(call), *all};
  return lent_answer_.all;
}

Status Communicator::run_service(const Call& call) {
  if (failed()) return engine_->end();
  const auto routed = dispatch_->route_anew(call);
  if (!routed.ok()) return routed.status();
  if ((*routed)->is_flat() && may_exchange()) return run_flat(call, *routed, nullptr);
  return drive(start_routed(call, *routed, false), nullptr);
}

Status Communicator::run_pair(const Compiled& compiled, Collective collective, const void* input, void* output, uint64_t bytes) {
  PreparedCall prepared = dispatch_->prepare_pair(compiled, collective, input, output, bytes);
  const auto make = [&](LinkTable& table) {
    auto operation = prepared.make(table);
    operation->timeout_ns = parts_->settings.bootstrap_timeout_ns;
    return operation;
  };
  return drive(engine_->start(make, false), nullptr);
}

}  // namespace tutti

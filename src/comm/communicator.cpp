#include "communicator.h"

#include <algorithm>
#include <numeric>

#include "algorithms.h"
#include "byte_units.h"
#include "clock.h"
#include "spaces.h"

namespace tutti {
namespace {

uint16_t hash16(const size_t* counts, int size) {
  uint64_t hash = 1469598103934665603u;
  for (int r = 0; r < size; ++r) hash = (hash ^ counts[r]) * 1099511628211u;
  return static_cast<uint16_t>(hash ^ hash >> 16 ^ hash >> 32 ^ hash >> 48);
}

bool averages_halves(const Call& call) {
  return call.op == ReduceOp::avg && (call.type == DataType::float16 || call.type == DataType::bfloat16);
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
    before = 0;
    for (size_t r = 0; r < me; ++r) before += call.counts[r];
    own = call.counts[me];
  }
  switch (call.collective) {
    case Collective::all_reduce: return {total, total};
    case Collective::broadcast: return {total, total, 0, 0, rank == call.root, true};
    case Collective::reduce: return {total, total, 0, 0, true, rank == call.root};
    case Collective::reduce_scatter: return {total, own, 0, before};
    case Collective::all_gather: return {own, total, before, 0};
    case Collective::gather: return {own, total, before, 0, true, rank == call.root};
    case Collective::scatter: return {total, own, 0, before, rank == call.root, true};
    case Collective::all_to_all: return {p * call.count, p * call.count};
    default: return {0, 0};
  }
}

Status check_own_messages(const std::vector<Message>& messages, int own_rank) {
  std::vector<const Message*> sends, receives;
  for (const Message& message : messages)
    if (message.peer == own_rank) (message.send ? sends : receives).push_back(&message);
  if (sends.size() != receives.size())
    return Status(Code::invalid_argument,
                  "a rank's sends to itself and receives from itself must be equally many within one group");
  for (size_t i = 0; i < sends.size(); ++i)
    if (sends[i]->count != receives[i]->count || sends[i]->type != receives[i]->type)
      return Status(Code::invalid_argument, "a rank's send to itself and the matching receive differ in count or data type");
  return {};
}

Communicator::Communicator(std::unique_ptr<CommunicatorParts> parts) : parts_(std::move(parts)) {
  terms_.size = parts_->size;
  terms_.team = parts_->team;
  terms_.single_host = parts_->board != nullptr;
  terms_.loopback = !terms_.single_host && terms_.team.hosts() == 1;
  terms_.deterministic = parts_->settings.deterministic;
  terms_.rules = parts_->settings.algorithm;
  terms_.lanes = static_cast<uint32_t>(parts_->settings.lanes);
  terms_.slot_bytes = parts_->pool->slot_bytes();
  terms_.slots = parts_->pool->slots();
  auto link_table = std::make_unique<LinkTable>();
  link_table->resize(parts_->size);
  link_table->bank.pool = parts_->pool.get();
  for (size_t peer = 0; peer < parts_->message_pools.size(); ++peer) link_table->message_banks[peer].pool = parts_->message_pools[peer].get();
  link_table->workers = parts_->workers;
  link_table->streams = [this](int peer) { return parts_->transport_of[static_cast<size_t>(peer)]->streams(); };
  link_table->connect = [this](int peer, LinkUse use) -> Link& { return parts_->transport_of[static_cast<size_t>(peer)]->link(peer, use); };
  std::vector<Transport*> transports;
  for (const auto& transport : parts_->transports) transports.push_back(transport.get());
  engine_ = std::make_unique<Engine>(std::move(transports), std::move(link_table), static_cast<Supervisor&>(*this),
                                     parts_->crowded ? Waiter::kCrowdedPauses : Waiter::kPauses);
}

Communicator::~Communicator() {
  for (const auto& entry : accounts_)
    if (entry.second.calls < kCallsToTell) if_possible([&] { tell(entry.second); });
  engine_.reset();  // its thread asks the control
  Control::retire(std::move(parts_->control));
}

void Communicator::tune(std::shared_ptr<const Tuning> tuning) {
  tuning_ = std::move(tuning);
  terms_.file = tuning_->rules;
  before_ = engine_->totals();
  forecaster_ = tuning_->predicts ? std::make_unique<Forecaster>(terms_, tuning_->profile) : nullptr;
  remembered_ = {};
  if (forecaster_ && parts_->rank == 0) parts_->log.info("the machine, " + tuning_->source + ": " + describe(tuning_->profile));
}

Status Communicator::failed_status() const { return failed() ? engine_->end() : Status(); }

// ---- from call to operation ----

Communicator::Compiled Communicator::compile_for(const Plan& plan, Collective collective, int root) {
  auto program = std::make_shared<const Program>(compile(plan, collective, parts_->rank, parts_->size, std::max(root, 0)));
  const uint32_t slots = PlanOperation::slots_per_stripe(*program, engine_->link_table());
  return {std::move(program), slots};
}

const Communicator::Compiled& Communicator::program_of(uint8_t algorithm, Collective collective, int root) {
  auto& compiled = programs_[{algorithm, root}];
  if (!compiled.program)
    compiled = compile_for(algorithms()[algorithm].plan(parts_->rank, parts_->team, std::max(root, 0)), collective, root);
  return compiled;
}

Signature Communicator::sign(const Call& call, uint8_t algorithm, uint32_t sequence) const {
  const Call& named = call.about ? *call.about : call;
  Signature signature;
  signature.collective = static_cast<uint8_t>(named.collective);
  signature.data_type = static_cast<uint8_t>(named.type);
  signature.op = static_cast<uint8_t>(named.op);
  signature.algorithm = call.about ? kQuestion : call.own != 0 ? call.own : algorithm;
  signature.root = named.root;
  signature.count = named.counts ? total_count(named, parts_->size) : named.count;
  signature.detail = named.counts ? hash16(named.counts, parts_->size) : uint16_t{0};
  signature.context = parts_->context;
  if (named.collective != Collective::point_to_point) signature.sequence = sequence;
  return signature;
}

Arithmetic Communicator::arithmetic_of(const Call& call) const {
  Arithmetic arithmetic;
  arithmetic.reduce = kernels::reduce_kernel(call.type, call.op);
  arithmetic.fold = kernels::fold_kernel(call.type, call.op);
  arithmetic.element_bytes = element_size(call.type);
  arithmetic.divisor = call.op == ReduceOp::avg ? static_cast<uint32_t>(parts_->size) : 1;
  return arithmetic;
}

// See recent_memory.h.  In place an all-reduce has just read what it writes, unless it has a codec or another rank had the core meanwhile.
kernels::Store Communicator::output_store(const Call& call, uint64_t bytes) {
  if (bytes < kLeastStreamed) return kernels::Store::cached;
  const Extent extent = extent_of(call, parts_->rank, parts_->size);
  const uint64_t read = extent.reads ? extent.input * element_size(call.type) : 0;
  const uint64_t written = extent.writes ? extent.output * element_size(call.type) : 0;
  const bool in_place = call.input == call.output;
  if (read > 0 && !in_place) recent_.touch(call.input, read);
  if (written < kLeastStreamed) return kernels::Store::cached;
  const bool recent = recent_.holds(call.output, written, parts_->near_bytes);
  recent_.touch(call.output, written);
  const bool just_read = in_place && call.collective == Collective::all_reduce && call.codec == nullptr &&
                         (!parts_->crowded || written <= parts_->near_bytes);
  return recent || just_read ? kernels::Store::cached : kernels::Store::streaming;
}

Binding Communicator::bind(const Call& call, const Program& program, size_t stripe_bytes) const {
  const auto p = static_cast<size_t>(parts_->size), me = static_cast<size_t>(parts_->rank);
  const size_t element = element_size(call.type);
  const auto* input = static_cast<const std::byte*>(call.input);
  auto* output = static_cast<std::byte*>(call.output);
  if (call.collective == Collective::all_to_all) {
    std::vector<Binding::Block> row(p), column(p);
    for (size_t r = 0; r < p; ++r) {
      const bool v = call.send_counts != nullptr;
      const size_t from = (v ? call.send_offsets[r] : r * call.count) * element,
                   to = (v ? call.recv_offsets[r] : r * call.count) * element;
      row[r] = {input ? input + from : nullptr, nullptr, (v ? call.send_counts[r] : call.count) * element};
      column[r] = {nullptr, output ? output + to : nullptr, (v ? call.recv_counts[r] : call.count) * element};
    }
    row[me].output = column[me].output;
    return Binding::exchange(std::move(row), std::move(column), static_cast<uint32_t>(me), stripe_bytes);
  }
  if (!each_rank_has_a_part(call.collective))
    return Binding::chunked(input, output, call.count * element, program.blocks, stripe_bytes);
  const bool input_is_whole = call.collective == Collective::reduce_scatter || call.collective == Collective::scatter;
  const bool output_is_whole = call.collective == Collective::all_gather || call.collective == Collective::gather;
  std::vector<Binding::Block> blocks(p);
  size_t offset = 0;
  for (size_t r = 0; r < p; ++r) {
    const size_t bytes = (call.counts ? call.counts[r] : call.count) * element;
    blocks[r].bytes = bytes;
    if (input) blocks[r].input = input_is_whole ? input + offset : r == me ? input : nullptr;
    if (output) blocks[r].output = output_is_whole ? output + offset : r == me ? output : nullptr;
    offset += bytes;
  }
  return Binding::fixed(std::move(blocks), stripe_bytes);
}

// Settles what depends on the kind of call only, unless the last call was of the same kind.
Status Communicator::remember(const Call& call) {
  Remembered& r = remembered_;
  // For all_to_all_v no rank knows the whole, so it counts as middle-sized.
  const uint64_t bytes = call.send_counts ? terms_.slot_bytes : total_count(call, parts_->size) * element_size(call.type);
  if (!r.coded && !r.own && r.collective == call.collective && r.bytes == bytes && r.type == call.type && r.op == call.op &&
      r.wanted == call.algorithm && !call.about && call.own == 0)
    return {};
  auto choice = choose(terms_, call.collective, bytes, call.algorithm, forecaster_.get(), averages_halves(call));
  if (!choice.ok()) return choice.status();
  std::string wanted(call.algorithm);  // from here on nothing fails
  last_codec_.clear();
  r = {call.collective, call.type, call.op, call.count, bytes, std::move(wanted), std::move(*choice), arithmetic_of(call)};
  r.flat_kind = hash_of(sign(call, kFlat, 0));
  r.own = call.about != nullptr || call.own != 0;
  return {};
}

Communicator::Prepared Communicator::prepare(const Call& call) {
  Prepared prepared;
  const size_t element = element_size(call.type);
  prepared.compiled = program_of(remembered_.choice.algorithm, call.collective, call.root);
  const Program& program = *prepared.compiled.program;
  const uint64_t block = call.send_counts ? terms_.slot_bytes * 4
                         : call.counts    ? *std::max_element(call.counts, call.counts + parts_->size) * element
                         : each_rank_has_a_part(call.collective) ? call.count * element
                                                                 : total_count(call, parts_->size) * element / program.blocks;
  prepared.cut = cut(terms_, block, program.widest_run, remembered_.choice.wish);
  prepared.binding = bind(call, program, prepared.cut.stripe_bytes);
  if (call.send_counts) {
    prepared.tags.rank = static_cast<uint32_t>(parts_->rank);
    for (int r = 0; r < parts_->size; ++r) {
      prepared.tags.row.push_back({call.send_counts[r], call.type});
      prepared.tags.column.push_back({call.recv_counts[r], call.type});
    }
    prepared.binding = std::move(prepared.binding).at_least_one_stripe();
  }
  return prepared;
}

bool Communicator::must_be_wide(const Call& call) const {
  return averages_halves(call) && makes_partial_sums(call.collective, remembered_.choice.name, terms_.team);
}

// The same call of float32, between places in `wide`.
Communicator::Prepared Communicator::prepare_wide(const Call& call) {
  const Extent extent = extent_of(call, parts_->rank, parts_->size);
  auto wide = std::make_unique<WideNumbers>(call.type, call.input, WideNumbers::Place{extent.input, extent.input_at},
                                            extent.writes ? call.output : nullptr,
                                            WideNumbers::Place{extent.output, extent.output_at});
  Call call_of_wide = call;
  call_of_wide.type = DataType::float32;
  call_of_wide.input = wide->input();
  call_of_wide.output = wide->output();
  Prepared prepared = prepare(call_of_wide);
  prepared.wide = std::move(wide);
  prepared.wide_arithmetic = arithmetic_of(call_of_wide);  // stores are cached: the result is narrowed at once
  return prepared;
}

// A message is a plan of its own: one block that is sent, received, or, if it is to this rank itself, copied `to` where its receive wants it.
std::shared_ptr<Operation> Communicator::make_message(const Message& message, std::byte* to, LinkTable& link_table) {
  auto& compiled = message_programs_[{message.peer, message.send}];
  if (!compiled.program) {
    Plan plan(1);
    if (message.peer != parts_->rank && message.send) plan.send(message.peer, 0);
    if (message.peer != parts_->rank && !message.send) plan.recv(message.peer, 0);
    compiled = compile_for(plan, Collective::point_to_point, -1);
  }
  const size_t bytes = message.count * element_size(message.type);
  std::vector<Binding::Block> block{{message.send ? message.data : nullptr, message.send ? to : message.data, bytes}};
  const Cut pieces = cut(terms_, terms_.slot_bytes * 4, 1);
  Call call;
  call.collective = Collective::point_to_point;
  call.count = message.count;
  call.type = message.type;
  auto operation = std::make_shared<PlanOperation>(
      compiled.program, "direct", Binding::fixed(std::move(block), pieces.stripe_bytes).at_least_one_stripe(), Arithmetic(),
      sign(call, 0, 0), pieces.lanes, compiled.slots, link_table);
  operation->set_tags({{{message.count, message.type}}, {}, 0});
  call.messages = {message};
  return fill_in(operation, call, bytes);
}

Result<Engine::Operations> Communicator::start_messages(const std::vector<Message>& messages, uint64_t timeout_ns, bool asynchronous) {
  if (Status status = failed_status(); !status.ok()) return status;
  if (Status status = check_own_messages(messages, parts_->rank); !status.ok()) return status;
  Choice choice{0, "direct", "each message travels once"};
  uint64_t bytes = 0;
  const auto make = [&](LinkTable& link_table) {
    Engine::Operations operations;
    auto own = messages.begin();  // the receive that the next send to this rank itself is for
    for (const Message& message : messages) {
      bytes += message.count * element_size(message.type);
      const bool to_itself = message.peer == parts_->rank;
      if (to_itself && !message.send) continue;
      if (to_itself) own = std::find_if(own, messages.end(), [this](const Message& m) { return m.peer == parts_->rank && !m.send; });
      operations.push_back(make_message(message, to_itself ? (own++)->data : nullptr, link_table));
      if (timeout_ns > 0) operations.back()->timeout_ns = timeout_ns;
    }
    return operations;
  };
  auto operations = engine_->start_all(make, asynchronous);
  if (!operations.ok()) return operations;
  remembered_ = {};
  remembered_.choice = std::move(choice);
  remembered_.bytes = bytes;
  last_was_lent_ = false;
  return operations;
}

Result<std::shared_ptr<Operation>> Communicator::start(const Call& call, bool asynchronous) {
  if (Status status = failed_status(); !status.ok()) return status;
  if (call.codec) {
    const auto decision = decided(call);
    if (!decision.ok()) return decision.status();
    if ((*decision)->compresses) return start_coded(call, asynchronous);
    Call plain = call;
    plain.codec = nullptr;
    std::string why = "none: " + (*decision)->why;
    auto operation = start(plain, asynchronous);
    if (!operation.ok()) return operation;
    remembered_.coded = true;
    last_codec_ = std::move(why);
    return operation;
  }
  if (Status status = remember(call); !status.ok()) return status;
  if (remembered_.choice.algorithm == kFlat) return start_flat(call, asynchronous);
  Prepared prepared = must_be_wide(call) ? prepare_wide(call) : prepare(call);
  const Signature signature = sign(call, remembered_.choice.algorithm, next_sequence());
  Arithmetic arithmetic = prepared.wide ? prepared.wide_arithmetic : remembered_.arithmetic;
  if (const kernels::Store store = output_store(call, remembered_.bytes); !prepared.wide) arithmetic.output_store = store;
  const auto make = [&](LinkTable& link_table) -> std::shared_ptr<Operation> {
    auto operation =
        std::make_shared<PlanOperation>(prepared.compiled.program, remembered_.choice.name, std::move(prepared.binding), arithmetic,
                                        signature, prepared.cut.lanes, prepared.compiled.slots, link_table);
    operation->set_tags(std::move(prepared.tags));
    if (prepared.wide) return fill_in(std::make_shared<WideOperation>(std::move(prepared.wide), operation), call, remembered_.bytes);
    return fill_in(operation, call, remembered_.bytes);
  };
  auto operation = engine_->start(make, asynchronous);
  if (!operation.ok()) return operation;
  count_call(call);
  if (asynchronous) last_was_lent_ = false;
  note(call, prepared.cut);
  return operation;
}

Status Communicator::run_duet(const Compiled& compiled, Collective collective, const void* input, void* output, uint64_t bytes) {
  Call call;
  call.collective = collective;
  call.type = DataType::float32;
  call.count = bytes / sizeof(float);
  const Cut pieces = cut(terms_, bytes / compiled.program->blocks, compiled.program->widest_run);
  Arithmetic arithmetic = arithmetic_of(call);
  if (bytes >= kLeastStreamed) arithmetic.output_store = kernels::Store::streaming;  // so much is measured cold
  Signature signature;
  signature.collective = static_cast<uint8_t>(collective);
  signature.data_type = static_cast<uint8_t>(call.type);
  signature.algorithm = kMeasuring;
  signature.count = call.count;
  signature.context = parts_->context;
  const auto make = [&](LinkTable& link_table) -> std::shared_ptr<Operation> {
    auto binding = Binding::chunked(input, output, bytes, compiled.program->blocks, pieces.stripe_bytes);
    auto operation = std::make_shared<PlanOperation>(compiled.program, "a measurement", std::move(binding), arithmetic, signature,
                                                     pieces.lanes, compiled.slots, link_table);
    operation->timeout_ns = parts_->settings.bootstrap_timeout_ns;
    return operation;
  };
  auto operation = engine_->start(make, false);
  return operation.ok() ? engine_->drive(**operation) : operation.status();
}

// What every queued operation is told besides.
std::shared_ptr<Operation> Communicator::fill_in(std::shared_ptr<Operation> operation, const Call& call, uint64_t bytes) const {
  operation->timeout_ns = call.timeout_ns > 0 ? call.timeout_ns : parts_->settings.timeout_ns;
  operation->input_bytes = bytes;
  const auto hold = [&](const void* memory) {
    if (const std::byte* begin = parts_->heap->begin_of(memory)) operation->holds.push_back(begin);
  };
  hold(call.input);
  hold(call.output);
  for (const Message& message : call.messages) hold(message.data);
  return operation;
}

Status Communicator::free(void* memory) {
  if (parts_->heap->begin_of(memory) != memory)
    return Status(Code::invalid_argument, "tutti_free: this memory is not of tutti_alloc on this communicator");
  const bool dead = failed();  // then a rank that does not know it yet may still be reading or writing there
  if (const std::string holder = dead ? "" : engine_->holder_of(memory); !holder.empty())
    return Status(Code::invalid_argument, "tutti_free: the memory is in use by " + holder + "; wait for it first (tutti_wait)");
  parts_->heap->free(static_cast<std::byte*>(memory), !dead);
  return {};
}

Result<std::shared_ptr<Operation>> Communicator::start_flat(const Call& call, bool asynchronous) {
  Arithmetic arithmetic = remembered_.arithmetic;
  arithmetic.output_store = output_store(call, remembered_.bytes);
  const auto make = [&](LinkTable&) -> std::shared_ptr<Operation> {
    const FlatExchange exchange(*parts_->board, call.input, call.output, remembered_.bytes, arithmetic,
                                flat_hash(remembered_.flat_kind, next_sequence()));
    return fill_in(std::make_shared<FlatOperation>(exchange, static_cast<uint32_t>(parts_->size), sign(call, kFlat, next_sequence())),
                   call, remembered_.bytes);
  };
  auto operation = engine_->start(make, asynchronous);
  if (!operation.ok()) return operation;
  count_call(call);
  if (asynchronous) last_was_lent_ = false;
  note(call, {1, remembered_.bytes});
  return operation;
}

void Communicator::note(const Call& call, const Cut& cut) {
  last_cut_ = cut;
  if (!parts_->log.enabled(LogLevel::trace)) return;
  if_possible([&] {
    parts_->log.trace(std::string(name(call.collective)) + " of " + describe_bytes(remembered_.bytes) + ": " +
                      std::string(remembered_.choice.name) + " (" + remembered_.choice.reason + "), " + std::to_string(cut.lanes) +
                      " lanes of " + describe_bytes(cut.stripe_bytes));
  });
}

// ---- failures ----

namespace {

Stall stall_of(const Operation& operation, uint64_t waited_ns) {
  Stall stall;
  stall.signature = operation.signature();
  stall.waits_for = operation.waits_for();
  stall.step = operation.step();
  stall.steps = operation.steps();
  stall.waited_ns = waited_ns;
  return stall;
}

}  // namespace

void Communicator::stalled(const Operation& operation, uint64_t waited_ns) {
  parts_->control->stalled(stall_of(operation, waited_ns));
}

void Communicator::timed_out(const Operation& operation, uint64_t waited_ns) {
  parts_->control->timed_out(stall_of(operation, waited_ns));
}

std::string Communicator::peer_name(int rank) const {
  return parts_->rank_names[static_cast<size_t>(rank < 0 ? parts_->rank : rank)];
}

void Communicator::abort(const std::string& reason) {
  parts_->control->fail(parts_->rank,
                        Status(Code::aborted, peer_name(-1) + " aborted the communicator" + (reason.empty() ? "" : ": " + reason)));
}

// What this rank has sent must have reached its peers' systems, in case that its host goes with it.
Status Communicator::goodbye() {
  Waiter waiter;
  uint64_t waited = 0;
  while (!failed() && !engine_->drained() && waited < parts_->settings.timeout_ns) waited = waiter.wait();
  return failed() ? Status() : parts_->control->goodbye();
}

Communicator::Statistics Communicator::statistics() const {
  Statistics statistics;
  EngineTotals& totals = statistics.totals = engine_->totals();
  totals.operations -= before_.operations;
  totals.input_bytes -= before_.input_bytes;
  totals.sent_bytes -= before_.sent_bytes;
  totals.received_bytes -= before_.received_bytes;
  totals.nanoseconds -= before_.nanoseconds;
  statistics.memory_bytes = parts_->pool->memory_bytes() + engine_->transport_bytes();
  for (const auto& pool : parts_->message_pools) statistics.memory_bytes += pool ? pool->memory_bytes() : 0;
  std::map<std::string, int> kinds;
  for (const auto& kind : parts_->rank_transports) ++kinds[kind];
  for (const auto& [kind, count] : kinds)
    if (kind != "self") statistics.transports += (statistics.transports.empty() ? "" : ", ") + kind + " " + std::to_string(count);
  const Choice choice = last_was_lent_ ? lent_choice() : remembered_.choice;
  statistics.algorithm = choice.name;
  statistics.reason = choice.reason;
  statistics.cut = last_cut_;
  statistics.predicted_s = choice.seconds;
  statistics.codec = last_codec_;
  return statistics;
}

}  // namespace tutti

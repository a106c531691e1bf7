#include "dispatch.h"

#include <algorithm>

#include "algorithms.h"
#include "byte_units.h"

namespace tutti {
namespace {

size_t pieces_given(const Call& call, int size) { return call.list_counts ? call.list_length : static_cast<size_t>(size); }

// The parts of an input that is given in parts, one behind the other.
std::vector<StagedData::Input> input_parts(const Call& call, int size) {
  std::vector<StagedData::Input> parts;
  size_t first = 0;
  for (size_t r = 0; r < pieces_given(call, size); ++r) {
    const size_t count = call.list_counts ? call.list_counts[r] : call.send_counts ? call.send_counts[r] : call.counts[r];
    const size_t offset = call.inputs ? 0 : call.send_offsets[r] * element_size(call.type);
    const void* const base = call.inputs ? call.inputs[r] : call.input;
    parts.push_back({static_cast<const std::byte*>(base) + offset, first, count});
    first += count;
  }
  return parts;
}

std::vector<StagedData::Output> output_tensors(const Call& call) {
  std::vector<StagedData::Output> tensors;
  size_t first = 0;
  for (size_t i = 0; i < call.list_length; first += call.list_counts[i++])
    tensors.push_back({call.outputs[i], first, call.list_counts[i]});
  return tensors;
}

}  // namespace

std::shared_ptr<Operation> PreparedCall::make(LinkTable& link_table) {
  auto operation = std::make_shared<PlanOperation>(compiled.program, algorithm, std::move(binding), arithmetic, signature,
                                                   cut.lanes, compiled.slots, link_table);
  operation->set_tags(std::move(tags));
  if (coded) operation->set_coded(std::move(coded));
  if (custom) operation->set_custom(std::move(custom));
  if (staged) return std::make_shared<StagedOperation>(std::move(staged), std::move(operation), *link_table.executor);
  return operation;
}

Dispatch::Dispatch(const CommunicatorParts& parts, Engine& engine) : parts_(parts), engine_(engine) {
  LinkTable& links = engine.link_table();
  links.transfer_from = [this, &links](int source, std::byte* to, const Signature& message) {
    return make_transfer(false, source, to, message, links);
  };
  terms_.size = parts.size;
  terms_.team = parts.team;
  terms_.single_host = parts.board != nullptr;
  terms_.loopback = !terms_.single_host && terms_.team.hosts() == 1;
  terms_.deterministic = parts.settings.deterministic;
  terms_.rules = parts.settings.algorithm;
  terms_.lanes = static_cast<uint32_t>(parts.settings.lanes);
  terms_.slot_bytes = parts.pool->slot_bytes();
  terms_.slots = parts.pool->slots();
}

void Dispatch::tune(const std::shared_ptr<const Tuning>& tuning) {
  terms_.file = tuning->rules;
  terms_.table = tuning->table;
  last_.reset();
  last_lent_.reset();
}

// ---- routes ----

CallKind Dispatch::kind_of(const Call& call, uint64_t bytes) const {
  return {call.collective, bytes, call.algorithm, averages_halves(call), false, call.custom != nullptr};
}

Result<Dispatch::Routed> Dispatch::route_anew(const Call& call, bool lent) const {
  auto routed = std::make_shared<RoutedCall>();
  // For all_to_all_v no rank knows the whole, so it counts as middle-sized.
  routed->bytes = call.send_counts ? terms_.slot_bytes : total_count(call, parts_.size) * element_size(call.type);
  CallKind kind = kind_of(call, routed->bytes);
  kind.all_lent = lent;
  auto route = tutti::route(terms_, kind);
  if (!route.ok()) return route.status();
  routed->collective = call.collective;
  routed->type = call.type;
  routed->op = call.op;
  routed->on_device = call.on_device;
  routed->count = call.count;
  routed->wanted = call.algorithm;
  routed->route = std::move(*route);
  routed->predictable = !lent;
  routed->arithmetic = arithmetic_of(call);
  routed->flat_kind = hash_of(sign(call, kFlat, 0));
  return Routed(std::move(routed));
}

Result<Dispatch::Routed> Dispatch::route(const Call& call, bool lent) {
  const uint64_t bytes = call.send_counts ? terms_.slot_bytes : total_count(call, parts_.size) * element_size(call.type);
  const auto serves = [&](const Routed& known) {
    return known && known->collective == call.collective && known->bytes == bytes && known->count == call.count &&
           known->type == call.type && known->op == call.op && known->on_device == call.on_device &&
           known->wanted == call.algorithm;
  };
  Routed& known = lent ? last_lent_ : last_;
  if (serves(known)) return known;
  auto routed = route_anew(call, lent);
  if (routed.ok()) known = *routed;
  return routed;
}

bool Dispatch::asks_whether_lent(const Call& call, const RoutedCall& routed) const {
  return parts_.pool->lends() && tutti::asks_whether_lent(terms_, kind_of(call, routed.bytes));
}

bool Dispatch::can_lend(const Call& call, uint64_t bytes) const {
  if (call.factor) return false;  // what it multiplies lies elsewhere
  const auto reaches = [&](const void* memory) { return parts_.pool->reaches(static_cast<const std::byte*>(memory), bytes); };
  return reaches(call.input) && reaches(call.output);
}

// ---- programs ----

Compiled Dispatch::compile_for(const Plan& plan, Collective collective, int root) {
  auto program = std::make_shared<const Program>(compile(plan, collective, parts_.rank, parts_.size, std::max(root, 0)));
  const uint32_t slots = PlanOperation::slots_per_stripe(*program, engine_.link_table());
  return {std::move(program), slots};
}

const Compiled& Dispatch::program_of(uint8_t algorithm, Collective collective, int root) {
  auto& compiled = programs_[{algorithm, root}];
  if (!compiled.program)
    compiled = compile_for(algorithms()[algorithm].plan(parts_.rank, parts_.team, std::max(root, 0)), collective, root);
  return compiled;
}

// ---- calls ----

Arithmetic Dispatch::arithmetic_of(const Call& call) const {
  return Arithmetic::of(call.type, call.op, static_cast<uint32_t>(parts_.size));
}

// In place an all-reduce has just read what it writes, unless it has a codec or another rank had the core meanwhile.
kernels::Store Dispatch::output_store(const Call& call, uint64_t bytes) {
  if (bytes < kLeastStreamed) return kernels::Store::cached;
  const Extent extent = extent_of(call, parts_.rank, parts_.size);
  const uint64_t read = extent.reads ? extent.input * element_size(call.type) : 0;
  const uint64_t written = extent.writes ? extent.output * element_size(call.type) : 0;
  if (call.inputs || call.outputs) return bytes < parts_.near_bytes ? kernels::Store::cached : kernels::Store::streaming;
  const bool in_place = call.input == call.output;
  if (read > 0 && !in_place) recent_.touch(call.input, read);
  if (written < kLeastStreamed) return kernels::Store::cached;
  const bool recent = recent_.holds(call.output, written, parts_.near_bytes);
  recent_.touch(call.output, written);
  const bool just_read = in_place && call.collective == Collective::all_reduce && call.codec == nullptr &&
                         (!parts_.crowded || written <= parts_.near_bytes);
  return recent || just_read ? kernels::Store::cached : kernels::Store::streaming;
}

bool Dispatch::must_be_wide(const Call& call, const RoutedCall& routed) const {
  return averages_halves(call) && makes_partial_sums(call.collective, routed.route.name, terms_.team);
}

void Dispatch::bind(const Call& call, const RoutedCall& routed, PreparedCall& prepared) const {
  const size_t element = element_size(call.type);
  const Program& program = *prepared.compiled.program;
  const uint64_t block = call.send_counts ? terms_.slot_bytes * 4
                         : call.counts    ? *std::max_element(call.counts, call.counts + parts_.size) * element
                         : each_rank_has_a_part(call.collective) ? call.count * element
                                                                 : total_count(call, parts_.size) * element / program.blocks;
  prepared.cut = cut(terms_, block, program.widest_run, routed.route.wish, unit_of(call));
  prepared.binding = binding_of(call, parts_.rank, parts_.size, program.blocks, prepared.cut.stripe_bytes).in(call.space);
  if (call.list_counts) prepared.compiled.slots = PlanOperation::slots_per_stripe(program, engine_.link_table(), false, true);
  if (!call.send_counts) return;
  prepared.tags.rank = static_cast<uint32_t>(parts_.rank);
  for (int r = 0; r < parts_.size; ++r) {
    prepared.tags.row.push_back({call.send_counts[r], call.type});
    prepared.tags.column.push_back({call.recv_counts[r], call.type});
  }
  prepared.binding = std::move(prepared.binding).at_least_one_stripe();
}

std::vector<StagedData::Input> Dispatch::inputs_of(const Call& call) const {
  if (call.send_counts || call.inputs) return input_parts(call, parts_.size);
  const Extent extent = extent_of(call, parts_.rank, parts_.size);
  return {{call.input, extent.input_at, extent.input}};
}

std::unique_ptr<StagedData> Dispatch::stage(Call& call, bool wide, bool packs) const {
  const bool stages_output = wide || packs;
  const Extent extent = extent_of(call, parts_.rank, parts_.size);
  std::vector<StagedData::Input> inputs = inputs_of(call);
  std::vector<StagedData::Output> outputs;
  if (stages_output && extent.writes) outputs = {{call.output, extent.output_at, extent.output}};
  if (stages_output && call.list_counts) outputs = output_tensors(call);
  StagedData::Form form{call.type, wide};
  if (call.factor) form.factor = *call.factor;
  auto data = std::make_unique<StagedData>(engine_.link_table().staging_memory, form, std::move(inputs), std::move(outputs));
  call.input = data->at(extent.input_at);
  call.inputs = nullptr;
  if (call.send_counts) call.send_offsets = data->firsts().data();
  if (wide) call.type = DataType::float32;
  if (!stages_output) return data;
  call.output = extent.writes ? data->at(extent.output_at) : nullptr;
  call.outputs = nullptr;
  call.list_counts = nullptr;
  return data;
}

Status Dispatch::fits(const Call& call, const PreparedCall& prepared) const {
  const size_t message = unit_of(call) * prepared.compiled.program->widest_run;
  if (!call.custom || message <= terms_.slot_bytes) return {};
  return Status(Code::unsupported, "items of " + std::to_string(call.custom->width * element_size(call.type)) +
                                       " bytes need messages of " + format_bytes(message) + " with algorithm " +
                                       std::string(prepared.algorithm) + ", and a slot holds " + format_bytes(terms_.slot_bytes) +
                                       "; TUTTI_SLOT_BYTES makes larger slots");
}

Result<PreparedCall> Dispatch::prepare(const Call& call, const RoutedCall& routed, uint32_t sequence) {
  PreparedCall prepared;
  prepared.algorithm = routed.route.name;
  prepared.signature = sign(call, routed.route.algorithm, sequence);
  prepared.compiled = program_of(routed.route.algorithm, call.collective, call.root);
  if (Status status = fits(call, prepared); !status.ok()) return status;
  if (const CustomOp* op = call.custom)
    prepared.custom = std::make_unique<CustomReduction>(op->combine, op->context, op->width * element_size(call.type));
  prepared.arithmetic = routed.arithmetic;
  const bool wide = must_be_wide(call, routed);
  if (wide || is_staged(call)) {
    Call staged = call;
    prepared.staged = stage(staged, wide);
    if (wide) prepared.arithmetic = arithmetic_of(staged);
    bind(staged, routed, prepared);
  } else {
    bind(call, routed, prepared);
  }
  const kernels::Store store = output_store(call, routed.bytes);
  if (!wide) prepared.arithmetic.output_store = store;  // a wide result is narrowed at once
  return prepared;
}

PreparedCall Dispatch::prepare_pair(const Compiled& compiled, Collective collective, const void* input, void* output,
                                    uint64_t bytes) const {
  Call call;
  call.collective = collective;
  call.type = DataType::float32;
  call.count = bytes / sizeof(float);
  PreparedCall prepared;
  prepared.algorithm = "a measurement";
  prepared.compiled = compiled;
  prepared.cut = cut(terms_, bytes / compiled.program->blocks, compiled.program->widest_run);
  prepared.binding = Binding::chunked(input, output, bytes, compiled.program->blocks, prepared.cut.stripe_bytes);
  prepared.arithmetic = arithmetic_of(call);
  // So much is measured cold.
  if (bytes >= kLeastStreamed) prepared.arithmetic.output_store = kernels::Store::streaming;
  prepared.signature = signature_of(call, parts_.size, kMeasuring, parts_.context, 0);
  return prepared;
}

std::shared_ptr<Operation> Dispatch::equipped(std::shared_ptr<Operation> operation, const Call& call, uint64_t bytes) const {
  operation->timeout_ns = call.timeout_ns > 0 ? call.timeout_ns : parts_.timeout_ns.load(std::memory_order_relaxed);
  operation->input_bytes = bytes;
  operation->is_users = call.service.mark == 0;
  const auto hold = [&](const void* memory) {
    const FamilyMemory& family = *parts_.domain->memory;
    for (const std::byte* begin : {family.heap().begin_of(memory), family.regions().begin_of(memory)})
      if (begin) operation->holds.push_back(begin);
  };
  hold(call.input);
  hold(call.output);
  for (size_t r = 0; (call.inputs || call.outputs) && r < pieces_given(call, parts_.size); ++r) {
    if (call.inputs) hold(call.inputs[r]);
    if (call.outputs) hold(call.outputs[r]);
  }
  return operation;
}

// ---- calls that kernels carry out ----

// Of all_to_all_v no rank knows how long the others' blocks are.
Result<Dispatch::ForDevice> Dispatch::prepare_for_device(const Call& call, const Route& route, uint32_t sequence,
                                                         const DeviceSlots& slots) {
  ForDevice prepared;
  prepared.route = route;
  prepared.signature = sign(call, route.algorithm, sequence);
  prepared.program = program_of(route.algorithm, call.collective, call.root).program;
  const std::pair key(route.algorithm, call.root);
  auto known = device_programs_.find(key);
  if (known == device_programs_.end()) {
    auto flat = flatten(*prepared.program);
    if (!flat.ok()) return flat.status();
    known = device_programs_.emplace(key, std::move(*flat)).first;
  }
  prepared.flat = &known->second;
  const size_t element = element_size(call.type);
  const uint64_t block = call.send_counts ? UINT64_MAX
                         : call.counts    ? *std::max_element(call.counts, call.counts + parts_.size) * element
                         : each_rank_has_a_part(call.collective) ? call.count * element
                                                                 : bytes_of(call) / prepared.program->blocks;
  const auto blocks_moved = algorithms()[route.algorithm].cost.data.value(static_cast<uint64_t>(parts_.size), 1);
  const auto cutting =
      cut_on_device(slots, block, blocks_moved, prepared.program->widest_run,
                    route.protocol ? route.protocol : parts_.settings.cuda_protocol, call.send_counts ? Cut{0, 0} : route.wish);
  prepared.protocol = cutting.protocol;
  prepared.cut = cutting.cut;
  return prepared;
}

// ---- messages ----

Signature Dispatch::sign_message(const Message& message) const {
  Call call;
  call.collective = Collective::point_to_point;
  call.count = message.count;
  call.type = message.type;
  call.root = message.tag;
  return sign(call, message.mark, 0);
}

// A message is a plan of its own: one block that is sent or received.
std::shared_ptr<PlanOperation> Dispatch::make_transfer(bool send, int peer, std::byte* data, const Signature& message,
                                                       LinkTable& link_table) {
  auto& compiled = message_programs_[{peer, send}];
  if (!compiled.program) {
    Plan plan(1);
    if (send)
      plan.send(peer, 0);
    else
      plan.recv(peer, 0);
    compiled = compile_for(plan, Collective::point_to_point, -1);
  }
  const auto type = static_cast<DataType>(message.data_type);
  const size_t bytes = static_cast<size_t>(message.count) * element_size(type);
  std::vector<Binding::Block> block{{send ? data : nullptr, send ? nullptr : data, bytes}};
  const Cut one = cut(terms_, terms_.slot_bytes * 4, 1);
  auto binding = Binding::fixed(std::move(block), one.stripe_bytes).at_least_one_stripe();
  auto transfer = std::make_shared<PlanOperation>(compiled.program, "direct", std::move(binding), Arithmetic(), message, one.lanes,
                                                  compiled.slots, link_table);
  transfer->set_tags({{{message.count, type}}, {}, 0});
  return transfer;
}

std::shared_ptr<Operation> Dispatch::make_message(const Message& message, bool copies, LinkTable& link_table) {
  const Signature signature = sign_message(message);
  const size_t bytes = message.count * element_size(message.type);
  std::shared_ptr<Operation> operation;
  if (!message.send) {
    auto receive = std::make_shared<ReceiveOperation>(signature, message.peer, message.data, message.tell, link_table);
    operation = message.wrap ? message.wrap(std::move(receive)) : std::move(receive);
  } else if (message.peer == parts_.rank) {
    operation = std::make_shared<OwnMessage>(signature, message.data, bytes, copies, parts_.rank, link_table);
  } else {
    operation = make_transfer(true, message.peer, message.data, signature, link_table);
  }
  if (message.peer == kAny)
    for (int rank = 0; rank < parts_.size; ++rank)
      if (rank != parts_.rank) link_table.peer(rank, LinkUse::messages);  // made now, when that may fail
  operation->keeps = message.keeps;
  Call call;
  call.input = message.data;
  call.timeout_ns = message.timeout_ns;
  return equipped(std::move(operation), call, bytes);
}

Engine::Operations Dispatch::messages(const std::vector<Message>& messages, bool copies, LinkTable& link_table) {
  Engine::Operations operations;
  for (const bool sends : {false, true})  // so that a message to this rank itself finds its receive
    for (const Message& message : messages)
      if (message.send == sends) operations.push_back(make_message(message, copies, link_table));
  return operations;
}

Dispatch::Routed Dispatch::route_of(const std::vector<Message>& messages) {
  auto routed = std::make_shared<RoutedCall>();
  routed->route = {0, "direct", "each message travels once"};
  routed->predictable = false;
  for (const Message& message : messages) routed->bytes += message.count * element_size(message.type);
  return routed;
}

}  // namespace tutti

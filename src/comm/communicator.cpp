#include "communicator.h"

#include <algorithm>
#include <map>
#include <utility>

#include "device_kernels.h"

namespace tutti {
namespace {

std::unique_ptr<LinkTable> link_table_of(const CommunicatorParts& parts) {
  auto table = std::make_unique<LinkTable>();
  table->resize(parts.size);
  table->matching = std::make_shared<Matching>(parts.rank, parts.size, parts.context);
  table->bank.pool = parts.pool.get();
  for (size_t peer = 0; peer < parts.message_pools.size(); ++peer)
    table->message_banks[peer].pool = parts.message_pools[peer].get();
  table->executor = std::make_shared<HostExecutor>(parts.domain->workers);
  table->form = [&parts](int peer) { return parts.transport_of[static_cast<size_t>(peer)]->form(); };
  table->connect = [&parts](int peer, LinkUse use) -> Link& {
    return parts.transport_of[static_cast<size_t>(peer)]->link(peer, use);
  };
  return table;
}

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

Communicator::Communicator(std::unique_ptr<CommunicatorParts> parts)
    : parts_(std::move(parts)), calls_(parts_->log, parts_->rank == 0), codec_decisions_(*parts_) {
  std::vector<Transport*> transports;
  for (const auto& transport : parts_->transports) transports.push_back(transport.get());
  engine_ = std::make_unique<Engine>(std::move(transports), link_table_of(*parts_), static_cast<Supervisor&>(*this),
                                     parts_->crowded ? Waiter::kCrowdedPauses : Waiter::kPauses);
  dispatch_ = std::make_unique<Dispatch>(*parts_, *engine_);
  device_ = std::make_unique<DeviceSide>(*parts_, static_cast<const FamilyMemory::Member&>(*this));
  parts_->domain->memory->join(*this);
}

Communicator::~Communicator() {
  parts_->domain->memory->leave(*this);
  engine_.reset();  // its thread asks the control
  meeting_.reset();
  kernels_.reset();
  device_.reset();
  parts_->domain->memory->free_all_of(*this);
  Control::retire(std::move(parts_->control));
}

void Communicator::tune(std::shared_ptr<const Tuning> tuning) {
  tuning_ = std::move(tuning);
  before_ = engine_->totals();
  flat_totals_ = {};
  dispatch_->tune(tuning_);
  if (!tuning_->table.empty() && parts_->rank == 0)
    parts_->log.info("the machine, " + tuning_->source + ": " + describe(tuning_->profile, parts_->team.hosts() > 1));
}

uint32_t Communicator::count_group(int tag) {
  const std::lock_guard lock(groups_mutex_);
  return ++groups_[tag];
}

// ---- failures ----

bool Communicator::failed() const {
  if (!parts_->control->failed() && !broken_.load(std::memory_order_relaxed)) return false;
  parts_->given_up->store(1, std::memory_order_release);
  return true;
}

Status Communicator::failed_status() const { return failed() ? engine_->end() : Status(); }

// The control tree may be cut: the rank that passed messages on to this one has died unnoticed, or left.
void Communicator::stalled(const Operation& operation, uint64_t waited_ns) {
  if (given_up() && ++stalls_given_up_ > 1)
    fail(-1, Status(Code::peer_lost, "a rank that shares memory with " + peer_name(-1) +
                                         " has seen the end of the communicator, and word of the cause did not come"));
  parts_->control->stalled(stall_of(operation, waited_ns));
}

void Communicator::timed_out(const Operation& operation, uint64_t waited_ns) {
  parts_->control->timed_out(stall_of(operation, waited_ns));
}

std::string Communicator::peer_name(int rank) const {
  return parts_->rank_names[static_cast<size_t>(rank < 0 ? parts_->rank : rank)];
}

void Communicator::set_timeout(uint64_t ns) {
  parts_->timeout_ns = ns;
  parts_->control->set_timeout(ns);
}

void Communicator::abort(const std::string& reason) {
  parts_->control->fail(parts_->rank,
                        Status(Code::aborted, peer_name(-1) + " aborted the communicator" + (reason.empty() ? "" : ": " + reason)));
}

// This rank's messages must have reached its peers' systems, in case that its host goes with it.
Status Communicator::goodbye(std::optional<uint64_t> limit_ns) {
  const uint64_t limit = limit_ns.value_or(parts_->timeout_ns);
  Waiter waiter;
  uint64_t waited = 0;
  DeviceKernels* const kernels = ready_kernels_.load(std::memory_order_acquire);
  const auto has_unfinished = [&] { return engine_->has_unfinished() || (kernels && kernels->has_unfinished()); };
  while (!failed() && has_unfinished() && waited < limit) waited = waiter.wait();  // calls on streams
  while (!failed() && !engine_->drained() && waited < limit) waited = waiter.wait();
  if (failed()) return {};
  const bool unfinished = has_unfinished(), late = unfinished && !limit_ns;
  if (kernels && !unfinished) kernels->leave();
  Status status = parts_->control->goodbye(limit_ns);
  if (!late) return status;
  return Status(Code::timeout, "calls that " + peer_name(-1) + " put on streams have not ended within the communicator's timeout");
}

// ---- statistics ----

Communicator::Statistics Communicator::statistics() const {
  Statistics statistics;
  EngineTotals& totals = statistics.totals = engine_->totals();
  const std::lock_guard lock(call_lock_);
  totals.add(flat_totals_);
  totals.operations -= before_.operations;
  totals.input_bytes -= before_.input_bytes;
  totals.sent_bytes -= before_.sent_bytes;
  totals.received_bytes -= before_.received_bytes;
  totals.nanoseconds -= before_.nanoseconds;
  statistics.memory_bytes = parts_->pool->memory_bytes() + engine_->transport_bytes() + device_->memory_bytes() +
                            (kernels_ ? kernels_->memory_bytes() : 0);
  for (const auto& pool : parts_->message_pools) statistics.memory_bytes += pool ? pool->memory_bytes() : 0;
  std::map<std::string, int> kinds;
  for (const auto& kind : parts_->rank_transports) ++kinds[kind];
  for (const auto& [kind, count] : kinds)
    if (kind != "self") statistics.transports += (statistics.transports.empty() ? "" : ", ") + kind + " " + std::to_string(count);
  if (kernels_ && parts_->size > 1) statistics.transports += ", cuda " + std::to_string(parts_->size - 1);
  if (const RoutedCall* last = calls_.last()) {
    statistics.algorithm = last->route.name;
    statistics.reason = last->route.reason;
    statistics.predicted_s = last->route.seconds;
  }
  statistics.cut = calls_.cut();
  statistics.codec = calls_.codec();
  return statistics;
}

}  // namespace tutti

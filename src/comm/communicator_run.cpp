// How a communicator runs a call: the flat exchange at once, plans through the engine's queue; and what it tells of how long that took.
#include <utility>

#include "algorithms.h"
#include "byte_units.h"
#include "clock.h"
#include "communicator.h"
#include "forecast.h"

namespace tutti {
namespace {

constexpr uint32_t kFlatPauses = 40;    // some microseconds
constexpr uint64_t kAskFrom = 4 << 20;  // bytes from which asking whether buffers are lent costs next to nothing

}  // namespace

// The short way of a blocking call while nothing is queued: no operation is made unless the others keep this rank waiting.
template <class Sign>
Status Communicator::finish_flat(FlatExchange& exchange, uint64_t timeout_ns, Sign sign) {
  for (uint32_t pauses = parts_->crowded ? 1 : kFlatPauses; pauses > 0; --pauses) {
    exchange.advance();
    if (exchange.finished()) {
      engine_->count_flat(exchange.bytes(), static_cast<uint32_t>(parts_->size));
      return {};
    }
    cpu_pause();
  }
  FlatOperation operation(exchange, static_cast<uint32_t>(parts_->size), sign());
  operation.timeout_ns = timeout_ns > 0 ? timeout_ns : parts_->settings.timeout_ns;
  operation.input_bytes = exchange.bytes();
  return engine_->drive_alone(operation);
}

Status Communicator::run_flat(const Call& call) {
  last_cut_ = {1, remembered_.bytes};
  remembered_.arithmetic.output_store = output_store(call, remembered_.bytes);
  const uint32_t sequence = next_sequence();
  FlatExchange exchange(*parts_->board, call.input, call.output, remembered_.bytes, remembered_.arithmetic,
                        flat_hash(remembered_.flat_kind, sequence));
  exchange.enter();
  count_call(call);
  return finish_flat(exchange, call.timeout_ns, [&] { return sign(call, kFlat, sequence); });
}

Status Communicator::run(const Call& call) {
  if (parts_->rank != 0 || !parts_->log.enabled(LogLevel::info) || !tuning_ || call.collective == Collective::point_to_point)
    return run_untold(call);
  const uint64_t start = now_ns();
  Status status = run_untold(call);
  if (status.ok()) if_possible([&] { keep_account(now_ns() - start); });
  return status;
}

void Communicator::keep_account(uint64_t nanoseconds) {
  const Remembered& r = remembered_;
  if (last_was_lent_ || r.coded) return;  // not what was predicted
  Account& account = accounts_[{r.collective, {size_class(r.bytes), r.choice.algorithm}}];
  if (account.calls == 0) {
    account.choice = std::string(name(r.collective)) + " of about " + describe_bytes(r.bytes) + " by " + std::string(r.choice.name);
    account.predicted_s = r.choice.seconds;
    parts_->log.info(account.choice + ": " + r.choice.reason);
  }
  account.nanoseconds += nanoseconds;
  if (++account.calls == kCallsToTell) tell(account);
}

void Communicator::tell(const Account& account) const {
  parts_->log.info(account.choice + " took " +
                   in_words(static_cast<double>(account.nanoseconds) / static_cast<double>(account.calls) * 1e-9) +
                   ", the average of " + std::to_string(account.calls) + (account.calls == 1 ? " call" : " calls") +
                   (account.predicted_s > 0 ? "; predicted " + in_words(account.predicted_s) : ""));
}

Status Communicator::run_untold(const Call& call) {
  if (call.collective == Collective::point_to_point) return run_messages(call);
  if (failed()) return engine_->end();
  if (call.codec) return run_with_codec(call);
  if (Status status = remember(call); !status.ok()) return status;
  last_was_lent_ = false;
  if (remembered_.choice.algorithm == kFlat && engine_->idle() && !given_up()) return run_flat(call);
  if (!may_be_lent(call)) return run_queued(call);
  bool lent = false;
  if (Status status = all_lend(call, lent); !status.ok()) return status;
  if (!lent) return run_queued(call);
  Choice usual = std::exchange(remembered_.choice, lent_choice());
  Status status;
  try {
    status = run_queued(call);
  } catch (...) {
    remembered_.choice = std::move(usual);
    throw;
  }
  remembered_.choice = std::move(usual);
  last_was_lent_ = true;
  return status;
}

Choice Communicator::lent_choice() {
  return {*find_algorithm(Collective::all_reduce, "direct"), "direct", "large, and all ranks' buffers are of tutti_alloc"};
}

Status Communicator::run_queued(const Call& call) {
  auto operation = start(call, false);
  return operation.ok() ? engine_->drive(**operation) : operation.status();
}

// Should the ranks ask each other whether all their buffers can be lent?  Then `direct` copies nothing at all.  Two ranks need not: their
// ring does the same.  All ranks answer alike.
bool Communicator::may_be_lent(const Call& call) const {
  return call.collective == Collective::all_reduce && remembered_.bytes >= kAskFrom && parts_->size > 2 && terms_.single_host &&
         !terms_.deterministic && terms_.rules.empty() && terms_.file.empty() && remembered_.wanted.empty() &&
         parts_->pool->lends();
}

// One flat exchange of a byte, in the name of the call.
Status Communicator::all_lend(const Call& call, bool& all) {
  const auto reaches = [&](const void* memory) {
    return parts_->pool->reaches(static_cast<const std::byte*>(memory), remembered_.bytes);
  };
  const uint8_t mine = reaches(call.input) && reaches(call.output);
  uint8_t least = 0;
  Call vote;
  vote.type = DataType::uint8;
  vote.op = ReduceOp::min;
  vote.about = &call;
  vote.timeout_ns = call.timeout_ns;
  const Signature signature = sign(vote, kFlat, next_sequence());
  FlatExchange exchange(*parts_->board, &mine, &least, 1, arithmetic_of(vote), flat_hash(hash_of(sign(vote, kFlat, 0)), next_sequence()));
  Status status;
  if (engine_->idle() && !given_up()) {
    exchange.enter();
    status = finish_flat(exchange, call.timeout_ns, [&] { return signature; });
  } else {
    const auto make = [&](LinkTable&) -> std::shared_ptr<Operation> {
      return fill_in(std::make_shared<FlatOperation>(exchange, static_cast<uint32_t>(parts_->size), signature), vote, 1);
    };
    auto operation = engine_->start(make, false);
    status = operation.ok() ? engine_->drive(**operation) : operation.status();
  }
  all = least == 1;
  return status;
}

Status Communicator::run_messages(const Call& call) {
  auto operations = start_messages(call.messages, call.timeout_ns, false);
  if (!operations.ok()) return operations.status();
  for (const auto& operation : *operations)
    if (Status status = engine_->drive(*operation); !status.ok()) return status;
  return {};
}

}  // namespace tutti

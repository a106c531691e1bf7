#include "random_program.h"

#include <memory>
#include <thread>

#include "arena.h"
#include "test_call.h"

namespace tutti::test {
namespace {

struct Pending {
  Call call;
  tutti_comm* comm;
  std::vector<Bytes> inputs;
  std::unique_ptr<Arena> arena;
  tutti_request* request;
};

Call random_call(const Member& member, uint64_t seed, uint64_t step, size_t elements) {
  uint64_t index = 0;
  const auto draw = [&](uint64_t n) { return random_word(seed, step, ++index) % n; };
  Call call;
  call.size = tutti_comm_size(member.comm);
  call.kind = static_cast<Kind>(draw(kKinds));
  call.dtype = static_cast<tutti_dtype>(draw(12));
  call.op = op_for(call.kind, call.dtype, static_cast<int>(draw(9)));
  call.root = static_cast<int>(draw(static_cast<uint64_t>(call.size)));
  call.count = static_cast<size_t>(draw(draw(10) == 0 ? 10 * elements : draw(2) == 0 ? elements : 10));
  call.count -= call.count % width_of(call);
  call.in_place = draw(2) == 1 && allows_in_place(call.kind);
  call.values = static_cast<Values>(draw(2));
  call.seed = random_word(seed, step, member.group) % 1'000'000;
  call.parts = draw(2) == 0 && has_parts(call.kind);
  call.scaled = draw(4) == 0 && allows_factor(call);
  return call;
}

class Runner {
 public:
  Runner(uint64_t seed, int rank) : seed_(seed), rank_(static_cast<uint64_t>(rank)) {}

  void make(const Member& member, const Call& call, bool started) {
    const int rank = tutti_comm_rank(member.comm);
    Pending p{call, member.comm, make_inputs(call), nullptr, nullptr};
    p.arena = std::make_unique<Arena>(call, rank, p.inputs[static_cast<size_t>(rank)]);
    const tutti_status status = started ? p.arena->start(p.comm, &p.request) : p.arena->perform(p.comm);
    if (status == TUTTI_SUCCESS && started) {
      pending_.push_back(std::move(p));
    } else {
      note(p, status);
    }
  }

  void end_one() {
    const size_t i = static_cast<size_t>(random_word(seed_ + 1, rank_, ++ended_) % pending_.size());
    Pending p = std::move(pending_[i]);
    pending_.erase(pending_.begin() + static_cast<ptrdiff_t>(i));
    note(p, ended_ % 2 == 0 ? tutti_wait(p.request) : test_until_done(p.request));
  }

  size_t pending() const { return pending_.size(); }
  bool failed() const { return failed_; }  // a call; the others cannot be expected to go on
  const std::string& wrong() const { return wrong_; }

 private:
  void note(const Pending& p, tutti_status status) {
    failed_ = failed_ || status != TUTTI_SUCCESS;
    if (!wrong_.empty()) return;
    if (status != TUTTI_SUCCESS) {
      wrong_ = describe(p.call) + ": " + tutti_status_string(status) + ": " + tutti_last_error(p.comm);
    } else {
      wrong_ = p.arena->check(p.inputs);
    }
  }

  uint64_t seed_, rank_, ended_ = 0;
  std::vector<Pending> pending_;
  std::string wrong_;
  bool failed_ = false;
};

// Gives the core away now and then, and sometimes for many turns: no clock, so that a seed means the same everywhere.
void dawdle(const Member& member, uint64_t seed, uint64_t step) {
  const auto rank = static_cast<uint64_t>(tutti_comm_rank(member.comm));
  const bool last = rank + 1 == static_cast<uint64_t>(tutti_comm_size(member.comm));
  const uint64_t word = random_word(seed + 2, rank, step);
  const uint64_t turns = word % (last ? 2 : 5) == 0 ? word / 7 % 300 : 0;
  for (uint64_t turn = 0; turn < turns; ++turn) std::this_thread::yield();
}

}  // namespace

std::string run_random_program(const std::vector<Member>& members, uint64_t seed, const ProgramLimits& limits) {
  Runner runner(seed, tutti_comm_rank(members[0].comm));
  for (uint64_t step = 0; step < static_cast<uint64_t>(limits.steps) && !runner.failed(); ++step) {
    const Member& member = members[static_cast<size_t>(random_word(seed, step, 0) % members.size())];
    if (limits.uneven) dawdle(members[0], seed, step);
    const Call call = random_call(member, seed, step, limits.elements);
    runner.make(member, call, random_word(seed, step, 1'000) % 2 == 0);
    if (runner.pending() > limits.in_flight) runner.end_one();
  }
  while (runner.pending() > 0) runner.end_one();
  return runner.wrong();
}

}  // namespace tutti::test

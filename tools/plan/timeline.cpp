#include "timeline.h"

#include <algorithm>

#include "spaces.h"
#include "wiring.h"

namespace tutti {
namespace {

struct Sent {
  size_t message;  // index in the timeline
  std::vector<uint32_t> contributions;
};

struct Change {
  uint32_t time, rank, block, contributions;
};

class Clockwork {
 public:
  Clockwork(const ProgramSet& set, const Wiring& wiring, uint32_t links)
      : set_(set), wiring_(wiring), sent_(links), times_(set.programs.size()), next_(set.programs.size()) {
    timeline_.ranks = static_cast<uint32_t>(set.programs.size());
    timeline_.blocks = set.programs[0].blocks;
    for (uint32_t rank = 0; rank < timeline_.ranks; ++rank) {
      for (uint32_t block = 0; block < timeline_.blocks; ++block) {
        now_.push_back(has_input(set.collective, static_cast<int>(rank), static_cast<int>(timeline_.ranks), set.root, block));
      }
    }
    start_ = now_;
  }

  Result<Timeline> run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (uint32_t rank = 0; rank < timeline_.ranks; ++rank) {
        const auto& instructions = set_.programs[rank].instructions;
        for (; next_[rank] < instructions.size() && carry_out(rank, instructions[next_[rank]]); ++next_[rank]) moved = true;
      }
    }
    for (uint32_t rank = 0; rank < timeline_.ranks; ++rank) {
      const auto& instructions = set_.programs[rank].instructions;
      if (next_[rank] < instructions.size()) return program_error(set_, rank, instructions[next_[rank]], "waits for ever");
    }
    record();
    return std::move(timeline_);
  }

 private:
  uint32_t& now(uint32_t rank, uint32_t block) { return now_[size_t{rank} * timeline_.blocks + block % timeline_.blocks]; }

  bool carry_out(uint32_t rank, const Instruction& instruction) {
    for (const Port& port : instruction.ins) {
      const MessageEnd end = wiring_.in(rank, port);
      if (sent_[end.link].size() <= end.index) return false;
      times_[rank] = std::max(times_[rank], timeline_.messages[sent_[end.link][end.index].message].departs + 1);
    }
    for (const Port& port : instruction.ins) {
      const MessageEnd end = wiring_.in(rank, port);
      receive(rank, instruction, sent_[end.link][end.index]);
      timeline_.rounds = std::max(timeline_.rounds, times_[rank]);
    }
    for (const Port& port : instruction.outs) {
      Sent sent{timeline_.messages.size(), {}};
      for (uint32_t i = 0; i < instruction.count; ++i) sent.contributions.push_back(now(rank, instruction.block + i));
      const auto peer = static_cast<uint32_t>(set_.programs[rank].peers[port.link].rank);
      timeline_.messages.push_back({rank, peer, instruction.block, instruction.count, times_[rank], 0, false});
      sent_[wiring_.out(rank, port).link].push_back(std::move(sent));
    }
    return true;
  }

  void receive(uint32_t rank, const Instruction& instruction, const Sent& sent) {
    TimedMessage& message = timeline_.messages[sent.message];
    message.taken = times_[rank];
    message.reduced = instruction.take != Take::recv;
    for (uint32_t i = 0; i < instruction.count; ++i) {
      uint32_t& here = now(rank, instruction.block + i);
      here = sent.contributions[i] + (message.reduced ? here : 0);
      changes_.push_back({times_[rank], rank, (instruction.block + i) % timeline_.blocks, here});
    }
  }

  // Fills in the contributions that every rank holds at every time.
  void record() {
    std::ranges::stable_sort(changes_, {}, &Change::time);
    std::vector<uint32_t> state = start_;
    auto change = changes_.begin();
    for (uint32_t time = 0; time <= timeline_.rounds; ++time) {
      for (; change != changes_.end() && change->time == time; ++change) {
        state[size_t{change->rank} * timeline_.blocks + change->block] = change->contributions;
      }
      timeline_.held.insert(timeline_.held.end(), state.begin(), state.end());
    }
  }

  const ProgramSet& set_;
  const Wiring& wiring_;
  Timeline timeline_;
  std::vector<std::vector<Sent>> sent_;  // [link]
  std::vector<uint32_t> times_;          // of each rank
  std::vector<size_t> next_;             // instruction of each rank
  std::vector<uint32_t> start_, now_;  // contributions per rank and block
  std::vector<Change> changes_;
};

}  // namespace

Result<Timeline> timeline_of(Collective collective, int root, std::span<const Plan> plans) {
  const Result<ProgramSet> set = compile_all(collective, root, plans);
  if (!set.ok()) return set.status();
  LinkNumbers links(plans.size());
  const Result<Wiring> wiring = Wiring::make(*set, links);
  if (!wiring.ok()) return wiring.status();
  return Clockwork(*set, *wiring, links.used()).run();
}

}  // namespace tutti

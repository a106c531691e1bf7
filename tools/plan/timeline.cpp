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
  Clockwork(Collective collective, int root, std::span<const Plan> plans, const Wiring& wiring, uint32_t links)
      : plans_(plans), wiring_(wiring), sent_(links), times_(plans.size()), steps_(plans.size()) {
    timeline_.ranks = static_cast<uint32_t>(plans.size());
    timeline_.blocks = plans[0].blocks();
    for (uint32_t rank = 0; rank < timeline_.ranks; ++rank) {
      for (uint32_t block = 0; block < timeline_.blocks; ++block) {
        now_.push_back(has_input(collective, static_cast<int>(rank), static_cast<int>(plans.size()), root, block));
      }
    }
    start_ = now_;
  }

  Result<Timeline> run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (uint32_t rank = 0; rank < timeline_.ranks; ++rank) {
        while (steps_[rank] < plans_[rank].steps().size() && take_step(rank)) {
          ++steps_[rank];
          moved = true;
        }
      }
    }
    for (uint32_t rank = 0; rank < timeline_.ranks; ++rank) {
      if (steps_[rank] < plans_[rank].steps().size()) return plan_error(plans_, rank, steps_[rank], "waits for ever");
    }
    record();
    return std::move(timeline_);
  }

 private:
  uint32_t& now(uint32_t rank, uint32_t block) { return now_[size_t{rank} * timeline_.blocks + block % timeline_.blocks]; }

  bool take_step(uint32_t rank) {
    const Step& step = plans_[rank].steps()[steps_[rank]];
    const auto ends = wiring_.ends(rank, steps_[rank]);
    if (step.verb == Verb::send) {
      Sent sent{timeline_.messages.size(), {}};
      for (uint32_t i = 0; i < step.count; ++i) sent.contributions.push_back(now(rank, step.block + i));
      timeline_.messages.push_back({rank, step.peer, step.block, step.count, times_[rank], 0, false});
      sent_[ends[0].link].push_back(std::move(sent));
      return true;
    }
    for (const MessageEnd& end : ends) {
      if (sent_[end.link].size() <= end.index) return false;
      times_[rank] = std::max(times_[rank], timeline_.messages[sent_[end.link][end.index].message].departs + 1);
    }
    for (const MessageEnd& end : ends) receive(rank, step, sent_[end.link][end.index]);
    timeline_.rounds = std::max(timeline_.rounds, times_[rank]);
    return true;
  }

  void receive(uint32_t rank, const Step& step, const Sent& sent) {
    TimedMessage& message = timeline_.messages[sent.message];
    message.taken = times_[rank];
    message.reduced = step.verb != Verb::recv;
    for (uint32_t i = 0; i < step.count; ++i) {
      uint32_t& here = now(rank, step.block + i);
      here = sent.contributions[i] + (message.reduced ? here : 0);
      changes_.push_back({times_[rank], rank, (step.block + i) % timeline_.blocks, here});
    }
  }

  // Fills in what every rank holds at every time.
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

  std::span<const Plan> plans_;
  const Wiring& wiring_;
  Timeline timeline_;
  std::vector<std::vector<Sent>> sent_;  // [link]
  std::vector<uint32_t> times_;          // of each rank
  std::vector<size_t> steps_;
  std::vector<uint32_t> start_, now_;  // contributions per rank and block
  std::vector<Change> changes_;
};

}  // namespace

Result<Timeline> timeline_of(Collective collective, int root, std::span<const Plan> plans) {
  LinkNumbers links(plans.size());
  Result<Wiring> wiring = Wiring::make(plans, links);
  if (!wiring.ok()) return wiring.status();
  return Clockwork(collective, root, plans, *wiring, links.used()).run();
}

}  // namespace tutti

#include "wiring.h"

#include <algorithm>

#include "plan_text.h"

namespace tutti {
namespace {

// Everything about a step that needs no other plan.
std::string fault_of(std::span<const Plan> plans, size_t rank, const Step& step) {
  const Plan& plan = plans[rank];
  if (step.block >= plan.blocks()) return "there is no such block";
  if (step.count == 0 || step.count > plan.blocks()) return "moves " + std::to_string(step.count) + " blocks";
  if (step.count > plan.widest_run()) return "moves more blocks than widest_run";
  if (step.completes && (step.verb == Verb::send || step.verb == Verb::recv)) return "only reductions complete a block";
  const auto peers = plan.peers_of(step);
  if (peers.empty()) return "no peers";
  for (size_t i = 0; i < peers.size(); ++i) {
    if (peers[i] >= plans.size() || peers[i] == rank) return "rank " + std::to_string(peers[i]) + " is no peer";
    if (i > 0 && peers[i - 1] >= peers[i]) return "peers are not in ascending order";
  }
  return "";
}

Status well_formed(std::span<const Plan> plans) {
  uint32_t widest = 0;
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    const Plan& plan = plans[rank];
    if (plan.blocks() != plans[0].blocks() || plan.widest_run() != plans[0].widest_run()) {
      return Status(Code::internal, "rank " + std::to_string(rank) + " and rank 0 differ in blocks or widest_run");
    }
    for (size_t i = 0; i < plan.steps().size(); ++i) {
      const std::string fault = fault_of(plans, rank, plan.steps()[i]);
      if (!fault.empty()) return plan_error(plans, rank, i, fault);
      widest = std::max(widest, plan.steps()[i].count);
    }
  }
  if (widest > 0 && widest != plans[0].widest_run()) {
    return Status(Code::internal, "widest_run is " + std::to_string(plans[0].widest_run()) + ", but no step moves more than " +
                                      std::to_string(widest) + " blocks");
  }
  return {};
}

}  // namespace

Status plan_error(std::span<const Plan> plans, size_t rank, size_t step, const std::string& what) {
  const Plan& plan = plans[rank];
  return Status(Code::internal, "rank " + std::to_string(rank) + ", step " + std::to_string(step) + " (" +
                                    describe(plan, plan.steps()[step]) + "): " + what);
}

Result<Wiring> Wiring::make(std::span<const Plan> plans, LinkNumbers& links) {
  if (Status status = well_formed(plans); !status.ok()) return status;
  Wiring wiring;
  wiring.first_end_.resize(plans.size());
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    auto& first = wiring.first_end_[rank];
    for (const Step& step : plans[rank].steps()) {
      first.push_back(wiring.ends_.size());
      const bool sends = step.verb == Verb::send;
      auto& counts = sends ? wiring.messages_ : wiring.taken_;
      for (const uint32_t peer : plans[rank].peers_of(step)) {
        const uint32_t link = sends ? links.of(rank, peer) : links.of(peer, rank);
        if (link >= counts.size()) counts.resize(link + 1);
        wiring.ends_.push_back({link, counts[link]++});
      }
    }
    first.push_back(wiring.ends_.size());
  }
  const size_t used = std::max(wiring.messages_.size(), wiring.taken_.size());
  wiring.messages_.resize(used);
  wiring.taken_.resize(used);
  if (Status status = wiring.agree(plans); !status.ok()) return status;
  return wiring;
}

Status Wiring::agree(std::span<const Plan> plans) const {
  struct Run {
    uint32_t block, count;
  };
  std::vector<size_t> first(messages_.size() + 1);
  for (size_t link = 0; link < messages_.size(); ++link) first[link + 1] = first[link] + messages_[link];
  std::vector<Run> sent(first.back());
  const auto each = [&](bool sends, auto visit) -> Status {
    for (size_t rank = 0; rank < plans.size(); ++rank) {
      for (size_t i = 0; i < plans[rank].steps().size(); ++i) {
        if ((plans[rank].steps()[i].verb == Verb::send) != sends) continue;
        for (const MessageEnd& end : ends(rank, i)) {
          if (Status status = visit(rank, i, plans[rank].steps()[i], end); !status.ok()) return status;
        }
      }
    }
    return {};
  };
  Status status = each(true, [&](size_t rank, size_t i, const Step& step, const MessageEnd& end) {
    sent[first[end.link] + end.index] = {step.block, step.count};
    return end.index < taken_[end.link] ? Status() : plan_error(plans, rank, i, "the peer does not receive it");
  });
  if (!status.ok()) return status;
  return each(false, [&](size_t rank, size_t i, const Step& step, const MessageEnd& end) {
    if (end.index >= messages_[end.link]) return plan_error(plans, rank, i, "the peer does not send it");
    const Run& run = sent[first[end.link] + end.index];
    if (run.block == step.block && run.count == step.count) return Status();
    return plan_error(plans, rank, i, "the peer sends " + std::to_string(run.count) + " from block " + std::to_string(run.block));
  });
}

}  // namespace tutti

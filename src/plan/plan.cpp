#include "plan.h"

namespace tutti {

void Plan::fold(std::span<const int> peers, uint32_t block, uint32_t count, bool completes) {
  if (count == 0) return;
  const auto first = static_cast<uint32_t>(fold_peers_.size());
  for (const int peer : peers) fold_peers_.push_back(static_cast<uint32_t>(peer));
  steps_.push_back({Verb::fold, completes, first, static_cast<uint32_t>(peers.size()), block % blocks_, count});
}

std::span<const uint32_t> Plan::peers_of(const Step& step) const {
  if (step.verb == Verb::fold) return {fold_peers_.data() + step.peer, step.peers};
  return {&step.peer, 1};
}

}  // namespace tutti

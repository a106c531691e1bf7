#include "outline.h"

#include "spaces.h"

namespace tutti {
namespace {

uint32_t step_between(uint32_t from, uint32_t to, uint32_t around) { return to >= from ? to - from : to + around - from; }

}  // namespace

// As the engine's compiler fuses steps: a receive with the send of the same run behind it, and sends of one run with each other.
std::vector<Move> Outline::moves_of(const Plan& plan) {
  const auto rank = static_cast<int>(first_row_.size()) - 1;
  const auto& steps = plan.steps();
  std::vector<Move> moves;
  moves.reserve(steps.size());
  sends_.assign(size(), 0);
  receives_.assign(size(), 0);
  for (size_t i = 0; i < steps.size();) {
    const Step& first = steps[i];
    const bool received = first.verb != Verb::send;
    if (received) {
      for (const uint32_t peer : plan.peers_of(first)) {
        Move& move = moves.emplace_back();
        move.in = {peer, receives_[peer]++, 0};
        move.block = first.block;
        move.count = first.count;
      }
      Move& last = moves.back();
      last.reduced = first.verb == Verb::recv ? 0 : first.peers;
      const bool goes_on = i + 1 < steps.size() && steps[i + 1].verb == Verb::send && steps[i + 1].block == first.block &&
                           steps[i + 1].count == first.count;
      last.kept = first.verb == Verb::recv && (!goes_on || has_output(collective_, rank, size_, root_, first.block));
      ++i;
    }
    Move::Gives gives = received ? Move::Gives::received : Move::Gives::own;
    for (; i < steps.size() && steps[i].verb == Verb::send && steps[i].block == first.block && steps[i].count == first.count; ++i) {
      if (gives != Move::Gives::received) moves.emplace_back();
      Move& move = moves.back();
      move.out = {steps[i].peer, sends_[steps[i].peer]++, 0};
      move.gives = gives;
      move.block = first.block;
      move.count = first.count;
      gives = Move::Gives::same;
    }
  }
  for (Move& move : moves) {
    if (move.in.peer != Move::kNobody) move.in.total = receives_[move.in.peer];
    if (move.out.peer != Move::kNobody) move.out.total = sends_[move.out.peer];
  }
  return moves;
}

bool Outline::extend(MoveRow& row, const Move& last, const Move& next) const {
  const auto alike = [](const Move::End& a, const Move::End& b) {
    return (a.peer == Move::kNobody) == (b.peer == Move::kNobody) && a.total == b.total;
  };
  if (last.gives != next.gives || last.kept != next.kept || last.reduced != next.reduced || last.count != next.count ||
      !alike(last.in, next.in) || !alike(last.out, next.out))
    return false;
  const auto peer_step = [this](const Move::End& a, const Move::End& b) {
    return a.peer == Move::kNobody ? 0 : step_between(a.peer, b.peer, size());
  };
  MoveRow steps = row;
  steps.in_peer_step = peer_step(last.in, next.in);
  steps.out_peer_step = peer_step(last.out, next.out);
  steps.in_index_step = next.in.index - last.in.index;
  steps.out_index_step = next.out.index - last.out.index;
  steps.block_step = step_between(last.block, next.block, blocks_);
  const bool same_steps = steps.in_peer_step == row.in_peer_step && steps.out_peer_step == row.out_peer_step &&
                          steps.in_index_step == row.in_index_step && steps.out_index_step == row.out_index_step &&
                          steps.block_step == row.block_step;
  if (row.repeat > 1 && !same_steps) return false;
  row = steps;
  ++row.repeat;
  return true;
}

void Outline::add(const Plan& plan) {
  blocks_ = plan.blocks();
  widest_run_ = plan.widest_run();
  const std::vector<Move> moves = moves_of(plan);
  for (size_t i = 0; i < moves.size(); ++i) {
    messages_ += moves[i].gives != Move::Gives::nothing;
    if (i > 0 && extend(rows_.back(), moves[i - 1], moves[i])) continue;
    rows_.push_back({moves[i]});
  }
  first_row_.push_back(rows_.size());
}

Outline outline_of(const Algorithm& algorithm, const Team& team, int root) {
  Outline outline(algorithm.collective, team.size, root);
  for (int rank = 0; rank < team.size; ++rank) outline.add(algorithm.plan(rank, team, root));
  return outline;
}

}  // namespace tutti

#include "outline.h"

namespace tutti {
namespace {

uint32_t step_between(uint32_t from, uint32_t to, uint32_t around) { return to >= from ? to - from : to + around - from; }

}  // namespace

std::vector<Move> Outline::moves_of(const Program& program) {
  std::vector<Move> moves;
  moves.reserve(program.ports.size());
  for (const Instruction& instruction : program.instructions) {
    const auto add = [&]() -> Move& {
      Move& move = moves.emplace_back();
      move.block = instruction.block;
      move.count = instruction.count;
      return move;
    };
    for (const Port& port : instruction.ins) {
      const Program::Peer& peer = program.peers[port.link];
      add().in = {static_cast<uint32_t>(peer.rank), port.index, peer.receives};
    }
    const bool received = !instruction.ins.empty();
    if (received) {
      moves.back().reduced = instruction.take == Take::recv ? 0 : static_cast<uint32_t>(instruction.ins.size());
      moves.back().kept = instruction.take == Take::recv && instruction.keeps;
    }
    Move::Gives gives = received ? Move::Gives::received : Move::Gives::own;
    for (const Port& port : instruction.outs) {
      const Program::Peer& peer = program.peers[port.link];
      Move& move = gives == Move::Gives::received ? moves.back() : add();
      move.out = {static_cast<uint32_t>(peer.rank), port.index, peer.sends};
      move.gives = gives;
      gives = Move::Gives::same;
    }
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

void Outline::add(const Program& program) {
  blocks_ = program.blocks;
  widest_run_ = program.widest_run;
  const std::vector<Move> moves = moves_of(program);
  for (size_t i = 0; i < moves.size(); ++i) {
    messages_ += moves[i].gives != Move::Gives::nothing;
    if (i > 0 && extend(rows_.back(), moves[i - 1], moves[i])) continue;
    rows_.push_back({moves[i]});
  }
  first_row_.push_back(rows_.size());
}

Outline outline_of(const Algorithm& algorithm, const Team& team, int root) {
  Outline outline(algorithm.collective, team.size);
  for (int rank = 0; rank < team.size; ++rank)
    outline.add(compile(algorithm.plan(rank, team, root), algorithm.collective, rank, team.size, root));
  return outline;
}

}  // namespace tutti

#include "wiring.h"

#include <algorithm>

namespace tutti {
namespace {

struct Counts {
  uint32_t sends = 0, receives = 0;
};

// A port must be the next message of its link.
std::string fault_of(const Program& program, const Port& port, std::vector<Counts>& counts, bool in) {
  if (port.link >= program.peers.size()) return "there is no such link";
  uint32_t& next = in ? counts[port.link].receives : counts[port.link].sends;
  if (port.index != next++) return "is message " + std::to_string(port.index) + " of its link out of turn";
  return "";
}

// The segments must be the run, block after block.
bool is_run(const Program& program, const Instruction& instruction) {
  uint64_t blocks = 0;
  for (const Segment& segment : instruction.segments) {
    const bool follows = segment.block == (instruction.block + blocks) % program.blocks;
    if (!follows || segment.block + segment.count > program.blocks) return false;
    blocks += segment.count;
  }
  return blocks == instruction.count;
}

// Operands go in the order of ranks.
bool in_rank_order(const Program& program, size_t rank, const Instruction& instruction) {
  const auto lower = static_cast<uint32_t>(std::ranges::count_if(
      instruction.ins, [&](const Port& port) { return static_cast<size_t>(program.peers[port.link].rank) < rank; }));
  switch (instruction.take) {
    case Take::recv_reduce: return instruction.received_is_left == (lower == 1);
    case Take::fold:
      return instruction.own_position == lower &&
             std::ranges::is_sorted(instruction.ins, {}, [&](const Port& port) { return program.peers[port.link].rank; });
    default: return true;
  }
}

std::string fault_of(const Program& program, size_t rank, const Instruction& instruction, std::vector<Counts>& counts) {
  const size_t ins = instruction.ins.size();
  const bool right_ins = instruction.take == Take::nothing ? ins == 0 : instruction.take == Take::fold ? ins > 0 : ins == 1;
  if (!right_ins || ins + instruction.outs.size() == 0) return "takes or gives too few messages";
  for (const Port& port : instruction.ins)
    if (std::string fault = fault_of(program, port, counts, true); !fault.empty()) return fault;
  for (const Port& port : instruction.outs)
    if (std::string fault = fault_of(program, port, counts, false); !fault.empty()) return fault;
  if (instruction.count > program.widest_run) return "moves more blocks than widest_run";
  if (!is_run(program, instruction)) return "has segments that are not its run of blocks";
  if (!in_rank_order(program, rank, instruction)) return "reduces in another order than that of ranks";
  return "";
}

// Everything about a program that needs no other one.
Status well_formed(const ProgramSet& set, size_t rank) {
  const Program& program = set.programs[rank];
  std::vector<Counts> counts(program.peers.size());
  for (const Instruction& instruction : program.instructions)
    if (const std::string fault = fault_of(program, rank, instruction, counts); !fault.empty())
      return program_error(set, rank, instruction, fault);
  for (size_t link = 0; link < counts.size(); ++link)
    if (counts[link].sends != program.peers[link].sends || counts[link].receives != program.peers[link].receives)
      return Status(Code::internal, "rank " + std::to_string(rank) + ": counts other messages with rank " +
                                        std::to_string(program.peers[link].rank) + " than it sends and receives");
  return {};
}

}  // namespace

Result<Wiring> Wiring::make(const ProgramSet& set, LinkNumbers& links) {
  Wiring wiring;
  const auto count_on = [](std::vector<uint32_t>& counts, uint32_t link, uint32_t messages) {
    if (messages == 0) return;
    if (link >= counts.size()) counts.resize(link + size_t{1});
    counts[link] = messages;
  };
  for (size_t rank = 0; rank < set.programs.size(); ++rank) {
    if (Status status = well_formed(set, rank); !status.ok()) return status;
    auto& peers = wiring.peers_.emplace_back();
    for (const Program::Peer& peer : set.programs[rank].peers) {
      const auto other = static_cast<size_t>(peer.rank);
      peers.push_back({links.of(other, rank), links.of(rank, other)});
      count_on(wiring.messages_, peers.back().out, peer.sends);
      count_on(wiring.taken_, peers.back().in, peer.receives);
    }
  }
  wiring.messages_.resize(links.used());
  wiring.taken_.resize(links.used());
  if (Status status = wiring.agree(set); !status.ok()) return status;
  return wiring;
}

Status Wiring::agree(const ProgramSet& set) const {
  struct Run {
    uint32_t block, count;
  };
  std::vector<size_t> first(messages_.size() + 1);
  for (size_t link = 0; link < messages_.size(); ++link) first[link + 1] = first[link] + messages_[link];
  std::vector<Run> sent(first.back());
  for (size_t rank = 0; rank < set.programs.size(); ++rank) {
    for (const Instruction& instruction : set.programs[rank].instructions) {
      for (size_t i = 0; i < instruction.outs.size(); ++i) {
        const MessageEnd end = out(rank, instruction.outs[i]);
        if (end.index >= taken_[end.link])
          return plan_error(set.plans, rank, step_of_out(instruction, i), "the peer does not receive it");
        sent[first[end.link] + end.index] = {instruction.block, instruction.count};
      }
    }
  }
  for (size_t rank = 0; rank < set.programs.size(); ++rank) {
    for (const Instruction& instruction : set.programs[rank].instructions) {
      for (const Port& port : instruction.ins) {
        const MessageEnd end = in(rank, port);
        if (end.index >= messages_[end.link]) return program_error(set, rank, instruction, "the peer does not send it");
        const Run& run = sent[first[end.link] + end.index];
        if (run.block == instruction.block && run.count == instruction.count) continue;
        return program_error(set, rank, instruction,
                             "the peer sends " + std::to_string(run.count) + " from block " + std::to_string(run.block));
      }
    }
  }
  return {};
}

}  // namespace tutti

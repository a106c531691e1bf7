#include "rank_memory.h"

#include "spaces.h"

namespace tutti {
namespace {

constexpr uint32_t kOverwritten = RankMemory::kNothing - 1;

std::string of_block(uint32_t block) { return "block " + std::to_string(block); }

}  // namespace

RankMemory::RankMemory(const ProgramSet& set, uint32_t rank, uint32_t input)
    : program_(set.programs[rank]), blocks_(program_.blocks), scratch_(program_.scratch_blocks) {
  const int size = static_cast<int>(set.programs.size()), me = static_cast<int>(rank);
  for (uint32_t block = 0; block < program_.blocks; ++block) {
    blocks_[block].has_input = has_input(set.collective, me, size, set.root, block);
    blocks_[block].has_output = has_output(set.collective, me, size, set.root, block);
    if (blocks_[block].has_input) blocks_[block].input = input;
  }
}

bool RankMemory::returns(const Instruction& instruction, const Instruction& offer) const {
  return instruction.take == Take::recv && instruction.keeps && instruction.outs.empty() &&
         instruction.ins[0].link == offer.outs[0].link && instruction.block == offer.block && instruction.count == offer.count;
}

std::string RankMemory::touch(const Instruction& instruction, bool delivered) {
  for (uint32_t i = 0; i < instruction.count; ++i) {
    const uint32_t number = (instruction.block + i) % program_.blocks;
    Block& block = blocks_[number];
    if (block.done) return "touches " + of_block(number) + " after its last touch";
    if (block.offered_by == kNothing && delivered) return "did not offer the destination of " + of_block(number);
    if (block.offered_by != kNothing && !returns(instruction, program_.instructions[block.offered_by]))
      return "touches " + of_block(number) + ", whose destination is offered to a peer";
    block.offered_by = kNothing;
    block.done = instruction.last_touch;
  }
  return "";
}

// The rule that a segment breaks in a block's destination, "" if none.
std::string RankMemory::missing(const Segment& segment, uint32_t k) const {
  if (segment.in_output) return blocks_[segment.block + k].has_output ? "" : "has no output of " + of_block(segment.block + k);
  return segment.scratch + k < scratch_.size() ? "" : "has no scratch for " + of_block(segment.block + k);
}

std::string RankMemory::read(const Segment& segment, uint32_t k, uint32_t& value) const {
  const Block& block = blocks_[segment.block + k];
  if (!segment.from_input)
    if (std::string fault = missing(segment, k); !fault.empty()) return fault;
  value = segment.from_input ? block.input : segment.in_output ? block.output : scratch_[segment.scratch + k].value;
  if (value == kOverwritten)
    return "reads the input of " + of_block(segment.block + k) + ", which its output has overwritten in place";
  return value == kNothing ? "has no " + of_block(segment.block + k) : "";
}

// Of the memory where the input, or the destination, of a block is.
bool& RankMemory::sent(const Segment& segment, uint32_t k, bool from_input) {
  Block& block = blocks_[segment.block + k];
  if (from_input || (segment.in_output && block.has_input)) return block.input_sent;
  return segment.in_output ? block.output_sent : scratch_[segment.scratch + k].sent;
}

std::string RankMemory::keep(const Instruction& instruction, const Segment& segment, uint32_t k, uint32_t value) {
  if (std::string fault = missing(segment, k); !fault.empty()) return fault;
  bool& sending = sent(segment, k, false);
  if (sending && !instruction.after_flush) return "overwrites " + of_block(segment.block + k) + ", which a send may still read";
  sending = false;
  if (!segment.in_output) {
    scratch_[segment.scratch + k].value = value;
    return "";
  }
  Block& block = blocks_[segment.block + k];
  block.output = value;
  if (block.has_input) block.input = kOverwritten;
  return "";
}

std::string RankMemory::send(const Instruction& instruction) {
  if (instruction.offers && instruction.outs.size() != 1) return "offers a destination to several peers";
  for (const Segment& segment : instruction.segments) {
    for (uint32_t k = 0; k < segment.count; ++k) {
      if (instruction.offers) {
        if (!segment.in_output || !blocks_[segment.block + k].has_output) return "offers a destination that is no output";
        if (sent(segment, k, false)) return "offers a destination that a send may still read";
        blocks_[segment.block + k].offered_by = static_cast<uint32_t>(&instruction - program_.instructions.data());
      }
    }
    for (uint32_t k = 0; k < segment.count; ++k) sent(segment, k, segment.from_input && instruction.take == Take::nothing) = true;
  }
  return "";
}

std::string RankMemory::copy_identities() {
  for (uint32_t block = 0; block < blocks_.size(); ++block)
    if (blocks_[block].offered_by != kNothing) return "offers the destination of " + of_block(block) + ", which does not come back";
  for (const Segment& segment : program_.identities) {
    for (uint32_t k = 0; k < segment.count; ++k) {
      uint32_t value = kNothing;
      if (!segment.in_output) return "has an identity that is no output";
      if (std::string fault = missing(segment, k); !fault.empty()) return fault;
      if (std::string fault = read(segment, k, value); !fault.empty()) return fault;
      blocks_[segment.block + k].output = value;
    }
  }
  return "";
}

}  // namespace tutti

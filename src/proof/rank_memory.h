// The memory of one rank while the checker runs its program on symbols: the input and the output of each block, and
// scratch.
//
// In place, a block's input and output are the same memory, so whatever writes the output destroys the input.  A send
// may read memory for long after its instruction, and the peer to whom a destination is offered may write it at any
// time until the block comes back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "program.h"
#include "program_set.h"

namespace tutti {

class RankMemory {
 public:
  static constexpr uint32_t kNothing = ~uint32_t{0};

  // `input`: the value of this rank's input blocks.
  RankMemory(const ProgramSet& set, uint32_t rank, uint32_t input);

  // The following functions return the rule that the instruction breaks, "" if none.

  // Before anything else.  `delivered`: the message that it takes is word only, because its sender wrote the
  // destination that was offered.
  std::string touch(const Instruction& instruction, bool delivered);

  // This rank's value of a block: the k-th of the segment.
  std::string read(const Segment& segment, uint32_t k, uint32_t& value) const;
  std::string keep(const Instruction& instruction, const Segment& segment, uint32_t k, uint32_t value);

  // A send that reads memory, where the value is, or at its destination.
  std::string send(const Instruction& instruction);

  // The end of a stripe.
  std::string copy_identities();

  uint32_t output(uint32_t block) const { return blocks_[block].output; }

 private:
  struct Block {
    uint32_t input = kNothing, output = kNothing;
    uint32_t offered_by = kNothing;  // the instruction that offers the destination, until the block comes back
    bool has_input = false, has_output = false;
    bool done = false;                            // its last touch was
    bool input_sent = false, output_sent = false;  // a send may still read it
  };
  struct Scratch {
    uint32_t value = kNothing;
    bool sent = false;
  };
  std::string missing(const Segment& segment, uint32_t block) const;
  bool& sent(const Segment& segment, uint32_t k, bool from_input);
  bool returns(const Instruction& instruction, const Instruction& offer) const;

  const Program& program_;
  std::vector<Block> blocks_;
  std::vector<Scratch> scratch_;
};

}  // namespace tutti

// The programs of all ranks as far as time is concerned, in little memory: the messages that a rank takes and gives,
// in order, with repetitions folded up.  A ring over 4 096 ranks has 33 million messages and 16 thousand rows.  Made
// once, priced for every machine and size (simulator.h).  Programs are added rank by rank, so that only one of them
// is in memory at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algorithm.h"
#include "program.h"

namespace tutti {

// At most one message taken, then at most one given: the engine's instructions (src/plan/program.h), those with
// several messages taken apart.
struct Move {
  enum class Gives : uint8_t { nothing, own, received, same };  // `same`: the slot that the move before gave
  static constexpr uint32_t kNobody = ~uint32_t{0};

  struct End {
    uint32_t peer = kNobody;
    uint32_t index = 0;  // among this rank's messages of one stripe with this peer, in this direction
    uint32_t total = 0;  // how many these are
    bool operator==(const End&) const = default;
  };
  End in, out;
  Gives gives = Gives::nothing;
  bool kept = false;     // what was received is also written to this rank's memory
  uint32_t reduced = 0;  // how many contributions are reduced now (a fold: all with the last)
  uint32_t block = 0, count = 0;
};

// `repeat` moves, each like the one before but for the steps.
struct MoveRow {
  Move first;
  uint32_t repeat = 1;
  uint32_t in_peer_step = 0, out_peer_step = 0;  // modulo the ranks
  uint32_t in_index_step = 0, out_index_step = 0;
  uint32_t block_step = 0;  // modulo the blocks
};

class Outline {
 public:
  Outline(Collective collective, int size) : collective_(collective), size_(size) {}
  // Of the next rank, beginning with 0.
  void add(const Program& program);

  Collective collective() const { return collective_; }
  uint32_t size() const { return static_cast<uint32_t>(size_); }
  uint32_t blocks() const { return blocks_; }
  uint32_t widest_run() const { return widest_run_; }
  uint64_t messages() const { return messages_; }  // of one stripe, over all ranks
  std::span<const MoveRow> rows(uint32_t rank) const {
    return {rows_.data() + first_row_[rank], first_row_[rank + 1] - first_row_[rank]};
  }

 private:
  static std::vector<Move> moves_of(const Program& program);
  bool extend(MoveRow& row, const Move& last, const Move& next) const;

  Collective collective_;
  int size_;
  uint32_t blocks_ = 0, widest_run_ = 1;
  uint64_t messages_ = 0;
  std::vector<MoveRow> rows_;
  std::vector<size_t> first_row_{0};
};

Outline outline_of(const Algorithm& algorithm, const Team& team, int root);

}  // namespace tutti

// The flat exchange: all-reduce (and barrier) of little data between the ranks of one host, the one path that does not
// run a plan. Each rank writes its value and a stamp into its own cell and folds everybody's cells in rank order,
// exactly as the plan `direct` does, which is its oracle in the tests.
//
// Why a cell may be written again.  Exchange t uses the cells t mod kFlatTurns.  A rank publishes t only after it has
// itself finished t − kFlatTurns/2.  If j publishes t, then j has finished t − kFlatTurns/2, so every rank i has
// published t − kFlatTurns/2, so i has finished t − kFlatTurns: nobody reads the old content any more.
#pragma once

#include <cstdint>
#include <vector>

#include "arena.h"
#include "arithmetic.h"
#include "operation.h"

namespace tutti {

// Shared by the flat exchanges of one communicator on this rank.
struct FlatBoard {
  FlatBoard(const memory::Arena& memory, uint32_t my_place, uint32_t places)
      : arena(memory), me(my_place), ranks(places), sources(places) {}
  memory::Arena arena;
  uint32_t me, ranks;                               // places are ranks: the communicator lies within one host
  uint64_t entered = 0, published = 0, finished = 0;  // exchanges
  std::vector<const void*> sources;                   // of the fold under way
};

// 32 bits that differ when calls differ (all but surely: a collision shows as wrong data only if two ranks also make
// different calls at the same place, and then with probability 2⁻³²).  `kind`: hash_of(signature) with sequence 0.
uint32_t hash_of(const Signature& signature);
inline uint32_t flat_hash(uint32_t kind, uint32_t sequence) { return kind + sequence * 0x9e3779b1u; }

// One exchange, without what an Operation needs to be queued and reported on.
class FlatExchange {
 public:
  // `bytes` ≤ memory::flat_bytes(ranks); 0 is a barrier.
  FlatExchange(FlatBoard& board, const void* input, void* output, size_t bytes, const Arithmetic& arithmetic, uint32_t hash);
  void enter() noexcept;  // takes its number, the first time: exchanges are carried out in this order

  bool advance();  // true if anything was done
  bool published() const { return published_; }
  bool finished() const { return finished_; }
  uint32_t awaited() const { return seen_; }  // the rank whose cell is to come next
  size_t bytes() const { return bytes_; }

 private:
  void publish();
  void fold();
  void own_next_cell();

  FlatBoard& board_;
  const void* input_;
  void* output_;
  size_t bytes_;
  const Arithmetic arithmetic_;
  uint64_t number_ = 0;  // of this exchange
  uint64_t stamp_;
  uint32_t seen_ = 0;  // cells of ranks below this have arrived
  bool published_ = false, finished_ = false;
};

class FlatOperation final : public Operation {
 public:
  // The exchange may have been entered, and be under way.
  FlatOperation(const FlatExchange& exchange, uint32_t ranks, const Signature& signature)
      : Operation(signature, "flat"), exchange_(exchange), ranks_(ranks) {}

  void enter() noexcept override { exchange_.enter(); }
  bool advance(bool may_start) override;
  bool started() const override { return exchange_.published(); }
  bool finished() const override { return exchange_.finished(); }
  int waits_for() const override { return started() && !finished() ? static_cast<int>(exchange_.awaited()) : -1; }
  uint32_t step() const override { return started() ? 1 : 0; }
  uint32_t steps() const override { return 2; }

 private:
  FlatExchange exchange_;
  uint32_t ranks_;
};

}  // namespace tutti

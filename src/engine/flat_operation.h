// The flat exchange: all-reduce (and barrier) of at most kFlatBytes between the ranks of one host, the one path that does not run a
// plan.  Each rank writes its value and a stamp into its own cell and folds everybody's cells in rank order, exactly as the plan
// `direct` does, which is its oracle in the tests.
//
// Why a cell may be written again.  Exchange t uses the cells t mod kFlatTurns.  A rank publishes t only after it has itself finished
// t − kFlatTurns/2.  If j publishes t, then j has finished t − kFlatTurns/2, so every rank i has published t − kFlatTurns/2, so i has
// finished t − kFlatTurns: nobody reads the old content any more.
#pragma once

#include <cstdint>
#include <vector>

#include "arena.h"
#include "operation.h"
#include "plan_operation.h"

namespace tutti {

// What the flat exchanges of one communicator share on this rank.
struct FlatBoard {
  memory::Arena arena;
  uint32_t me = 0, ranks = 1;                       // places are ranks: the communicator lies within one host
  uint64_t drawn = 0, published = 0, finished = 0;  // exchanges
};

class FlatOperation final : public Operation {
 public:
  // `bytes` ≤ memory::kFlatBytes; 0 is a barrier.
  FlatOperation(FlatBoard& board, const void* input, void* output, size_t bytes, const Arithmetic& arithmetic,
                const Signature& signature);

  bool advance(bool may_start) override;
  bool started() const override { return published_; }
  bool finished() const override { return done_; }
  int waits_for() const override { return published_ && !done_ ? static_cast<int>(seen_) : -1; }
  uint32_t step() const override { return published_ ? 1 : 0; }
  uint32_t steps() const override { return 2; }

 private:
  void publish();
  void fold();

  FlatBoard& board_;
  const void* input_;
  void* output_;
  size_t bytes_;
  Arithmetic arithmetic_;
  uint64_t number_;  // of this exchange
  uint64_t stamp_;
  uint32_t seen_ = 0;  // cells of ranks below this have arrived
  bool published_ = false, done_ = false;
};

}  // namespace tutti

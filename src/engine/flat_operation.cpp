#include "flat_operation.h"

#include <cstring>

namespace tutti {
namespace {

// 32 bits that differ when signatures differ (all but surely: a collision shows as wrong data only if two ranks also make different
// calls at the same place, and then with probability 2⁻³²).
uint64_t hash32(const Signature& signature) {
  uint64_t words[sizeof signature / sizeof(uint64_t)];
  std::memcpy(words, &signature, sizeof signature);
  uint64_t hash = 0x9e3779b97f4a7c15u;
  for (const uint64_t word : words) {
    hash = (hash ^ word) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  return hash & 0xffffffffu;
}

constexpr size_t kMostSources = 64;

}  // namespace

FlatOperation::FlatOperation(FlatBoard& board, const void* input, void* output, size_t bytes, const Arithmetic& arithmetic,
                             const Signature& signature)
    : Operation(signature, "flat"),
      board_(board),
      input_(input),
      output_(output),
      bytes_(bytes),
      arithmetic_(arithmetic),
      number_(++board.drawn),
      stamp_(number_ << 32 | hash32(signature)) {}

bool FlatOperation::advance(bool) {
  if (done_) return false;
  if (!published_) {
    const bool my_turn = board_.published + 1 == number_ && number_ - board_.finished <= memory::kFlatTurns / 2;
    if (!my_turn) return false;
    publish();
  }
  for (; seen_ < board_.ranks; ++seen_)
    if (board_.arena.flat_cell(seen_, number_).stamp.load(std::memory_order_acquire) != stamp_) return false;
  if (board_.finished + 1 != number_) return false;  // exchanges finish in order, see the invariant above
  if (bytes_ > 0) fold();
  __builtin_prefetch(&board_.arena.flat_cell(board_.me, number_ + 1), 1);
  board_.finished = number_;
  done_ = true;
  return true;
}

void FlatOperation::publish() {
  memory::FlatCell& cell = board_.arena.flat_cell(board_.me, number_);
  if (bytes_ > 0) std::memcpy(cell.payload, input_, bytes_);
  cell.stamp.store(stamp_, std::memory_order_release);
  board_.published = number_;
  published_ = true;
  traffic_.sent_bytes = bytes_;
  traffic_.received_bytes = bytes_ * (board_.ranks - 1);
}

void FlatOperation::fold() {
  const void* few[kMostSources];
  std::vector<const void*> many(board_.ranks > kMostSources ? board_.ranks : 0);
  const void** sources = many.empty() ? few : many.data();
  for (uint32_t rank = 0; rank < board_.ranks; ++rank) sources[rank] = board_.arena.flat_cell(rank, number_).payload;
  arithmetic_.fold(output_, sources, board_.ranks, bytes_ / arithmetic_.element_bytes, arithmetic_.divisor, kernels::Store::cached);
}

}  // namespace tutti

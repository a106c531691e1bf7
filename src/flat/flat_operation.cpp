#include "flat_operation.h"

#include <cstring>

namespace tutti {
namespace {

// Up to this size the lines of a cell are moved ahead of need (measured over two cores that share an L3: 1 KiB 0.83 →
// 0.28 µs, 4 KiB 2.0 → 0.67 µs; no gain from 16 KiB on).
constexpr size_t kMovedAhead = 8 << 10;

// Writes a line back to the shared cache, where other ranks find it sooner.  A hint; older processors ignore it.
inline void demote(const void* line) {
#if defined(__x86_64__)
  asm volatile(".byte 0x0f, 0x1c, 0x00" : : "a"(line));  // cldemote [rax]
#else
  static_cast<void>(line);
#endif
}

// Fetches a line to be written.  __builtin_prefetch would fetch it for reading, unless compiled for a newer processor.
inline void prefetch_to_write(const void* line) {
#if defined(__x86_64__)
  asm volatile("prefetchw (%0)" : : "r"(line));  // no operation on processors without it
#else
  __builtin_prefetch(line, 1);
#endif
}

template <class Fn>
void each_line(const std::byte* cell, size_t bytes, Fn fn) {
  for (size_t offset = 0; offset < memory::kLine + bytes; offset += memory::kLine) fn(cell + offset);
}

}  // namespace

uint32_t hash_of(const Signature& signature) {
  uint64_t words[sizeof signature / sizeof(uint64_t)];
  std::memcpy(words, &signature, sizeof signature);
  uint64_t hash = 0x9e3779b97f4a7c15u;
  for (const uint64_t word : words) {
    hash = (hash ^ word) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  return static_cast<uint32_t>(hash);
}

FlatExchange::FlatExchange(FlatBoard& board, const void* input, void* output, size_t bytes, const Arithmetic& arithmetic,
                           uint32_t hash)
    : board_(board),
      input_(input),
      output_(output),
      bytes_(bytes),
      arithmetic_(arithmetic),
      stamp_(hash) {}

void FlatExchange::enter() noexcept {
  if (number_ != 0) return;
  number_ = ++board_.entered;
  stamp_ |= number_ << 32;
}

bool FlatExchange::advance() {
  if (finished_) return false;
  if (!published_) {
    const bool my_turn = board_.published + 1 == number_ && number_ - board_.finished <= memory::kFlatTurns / 2;
    if (!my_turn) return false;
    publish();
  }
  for (; seen_ < board_.ranks; ++seen_)
    if (seen_ != board_.me && board_.arena.flat_cell(seen_, number_).stamp.load(std::memory_order_acquire) != stamp_) return false;
  if (board_.finished + 1 != number_) return false;  // exchanges finish in order, see the invariant above
  if (bytes_ > 0) fold();
  own_next_cell();
  board_.finished = number_;
  finished_ = true;
  return true;
}

void FlatExchange::publish() {
  memory::FlatCell& cell = board_.arena.flat_cell(board_.me, number_);
  if (bytes_ <= sizeof cell.near) {
    if (bytes_ > 0) std::memcpy(cell.near, input_, bytes_);
    cell.stamp.store(stamp_, std::memory_order_release);
  } else {
    kernels::copy(cell.payload(bytes_), nullptr, input_, bytes_, kernels::Store::cached);
    cell.stamp.store(stamp_, std::memory_order_release);
    if (bytes_ <= kMovedAhead) each_line(reinterpret_cast<std::byte*>(&cell), bytes_, demote);
  }
  // While the others' cells are on their way the output can come, too.
  if (output_ != input_ && arithmetic_.output_store == kernels::Store::cached)
    for (size_t offset = 0; offset < bytes_; offset += memory::kLine) prefetch_to_write(static_cast<std::byte*>(output_) + offset);
  board_.published = number_;
  published_ = true;
}

void FlatExchange::fold() {
  const auto cell = [this](uint32_t rank) { return board_.arena.flat_cell(rank, number_).payload(bytes_); };
  const size_t count = bytes_ / arithmetic_.element_bytes;
  if (board_.ranks == 2) {
    const void* other = cell(1 - board_.me);
    return arithmetic_.reduce(output_, nullptr, board_.me == 0 ? input_ : other, board_.me == 0 ? other : input_, count,
                              arithmetic_.divisor, arithmetic_.output_store);
  }
  const void** sources = board_.sources.data();
  for (uint32_t rank = 0; rank < board_.ranks; ++rank) sources[rank] = rank == board_.me ? input_ : cell(rank);
  const kernels::Target target{output_, arithmetic_.output_store};
  arithmetic_.fold(&target, 1, sources, board_.ranks, count, arithmetic_.divisor);
}

// The next exchange writes this cell, which the others have read: take its lines back already now.
void FlatExchange::own_next_cell() {
  const auto* cell = reinterpret_cast<const std::byte*>(&board_.arena.flat_cell(board_.me, number_ + 1));
  if (bytes_ <= sizeof(memory::FlatCell::near)) return prefetch_to_write(cell);
  if (bytes_ <= kMovedAhead) each_line(cell, bytes_, prefetch_to_write);
}

bool FlatOperation::advance(bool) {
  const bool was_published = exchange_.published();
  const bool moved = exchange_.advance();
  if (exchange_.published()) traffic_ = {exchange_.bytes(), exchange_.bytes() * (ranks_ - 1)};
  return moved || was_published != exchange_.published();
}

}  // namespace tutti

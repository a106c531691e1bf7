#include "binding.h"

#include <algorithm>

namespace tutti {
namespace {

constexpr size_t kCut = 64;  // bytes: no element and no cache line is shared by two blocks

uint64_t pieces(size_t bytes, size_t piece) { return (bytes + piece - 1) / piece; }

uint64_t most_stripes(const std::vector<Binding::Block>& blocks, size_t stripe_bytes) {
  uint64_t most = 0;
  for (const auto& block : blocks) most = std::max(most, pieces(block.bytes, stripe_bytes));
  return most;
}

}  // namespace

Binding Binding::chunked(const void* input, void* output, size_t bytes, uint32_t blocks, size_t stripe_bytes) {
  Binding binding;
  binding.input_ = static_cast<const std::byte*>(input);
  binding.output_ = static_cast<std::byte*>(output);
  binding.bytes_ = bytes;
  binding.blocks_ = blocks;
  binding.stripe_bytes_ = stripe_bytes;
  binding.stripes_ = pieces(bytes, stripe_bytes * blocks);
  return binding;
}

Binding Binding::fixed(std::vector<Block> blocks, size_t stripe_bytes) {
  Binding binding;
  binding.cut_ = Cut::fixed;
  binding.stripe_bytes_ = stripe_bytes;
  binding.stripes_ = most_stripes(blocks, stripe_bytes);
  binding.fixed_ = std::move(blocks);
  return binding;
}

Binding Binding::exchange(std::vector<Block> row, std::vector<Block> column, uint32_t rank, size_t stripe_bytes) {
  Binding binding = fixed(std::move(row), stripe_bytes);
  binding.cut_ = Cut::exchange;
  binding.rank_ = rank;
  binding.stripes_ = std::max(binding.stripes_, most_stripes(column, stripe_bytes));
  binding.column_ = std::move(column);
  return binding;
}

const Binding::Block& Binding::block(uint32_t number) const {
  if (cut_ == Cut::fixed) return fixed_[number];
  const auto size = static_cast<uint32_t>(fixed_.size());
  const uint32_t source = number / size, destination = number % size;
  return source == rank_ ? fixed_[destination] : column_[source];
}

Span Binding::at(uint32_t number, uint64_t stripe) const {
  if (cut_ != Cut::chunked) {
    const Block& b = block(number);
    const size_t begin = std::min(b.bytes, stripe * stripe_bytes_), end = std::min(b.bytes, begin + stripe_bytes_);
    return {b.input ? b.input + begin : nullptr, b.output ? b.output + begin : nullptr, end - begin};
  }
  const size_t chunk = stripe_bytes_ * blocks_, start = stripe * chunk;
  if (bytes_ - start >= chunk) {  // a whole chunk: no division
    const size_t begin = start + number * stripe_bytes_;
    return {input_ ? input_ + begin : nullptr, output_ ? output_ + begin : nullptr, stripe_bytes_};
  }
  const size_t length = bytes_ - start, lines = pieces(length, kCut);
  const auto boundary = [&](size_t n) { return std::min(length, lines * n / blocks_ * kCut); };
  const size_t begin = boundary(number), end = boundary(number + size_t{1});
  return {input_ ? input_ + start + begin : nullptr, output_ ? output_ + start + begin : nullptr, end - begin};
}

}  // namespace tutti

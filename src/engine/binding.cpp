#include "binding.h"

#include <algorithm>

namespace tutti {
namespace {

uint64_t most_stripes(const std::vector<Binding::Block>& blocks, size_t stripe_bytes) {
  uint64_t most = 0;
  for (const auto& block : blocks) most = std::max(most, BlockCut{block.bytes, stripe_bytes}.stripes());
  return most;
}

Span span_of(const std::byte* input, std::byte* output, const ByteRange& range, Space space) {
  return {input ? input + range.begin : nullptr, output ? output + range.begin : nullptr, range.size(), space};
}

}  // namespace

Binding Binding::chunked(const void* input, void* output, size_t bytes, uint32_t blocks, size_t stripe_bytes, size_t unit) {
  Binding binding;
  binding.input_ = static_cast<const std::byte*>(input);
  binding.output_ = static_cast<std::byte*>(output);
  binding.vector_ = {bytes, blocks, stripe_bytes, unit};
  binding.stripe_bytes_ = stripe_bytes;
  binding.stripes_ = binding.vector_.stripes();
  return binding;
}

Binding Binding::scattered(std::vector<Block> pieces, uint32_t blocks, size_t stripe_bytes, size_t unit) {
  std::vector<uint64_t> begins;
  uint64_t bytes = 0;
  std::erase_if(pieces, [](const Block& piece) { return piece.bytes == 0; });
  for (const Block& piece : pieces) {
    begins.push_back(bytes);
    bytes += piece.bytes;
  }
  Binding binding = chunked(nullptr, nullptr, bytes, blocks, stripe_bytes, unit);
  binding.fixed_ = std::move(pieces);
  binding.begins_ = std::move(begins);
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

void Binding::shorten(size_t bytes) {
  fixed_[0].bytes = bytes;
  stripes_ = std::max<uint64_t>(most_stripes(fixed_, stripe_bytes_), 1);
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
    return span_of(b.input, b.output, BlockCut{b.bytes, stripe_bytes_}.at(stripe), space_);
  }
  return span_of(input_, output_, vector_.at(number, 1, stripe), space_);
}

}  // namespace tutti

#include "sparse_packet.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

namespace tutti::sparse {
namespace {

size_t width(ValueType type) {
  switch (type) {
    case ValueType::fp32: return 4;
    case ValueType::fp16:
    case ValueType::bf16: return 2;
    case ValueType::int8: return 1;
  }
  return 4;
}

size_t to_bytes(size_t bits) { return (bits + 7) / 8; }
size_t high_bits(size_t n, size_t k, uint32_t low_bits) { return ((n - 1) >> low_bits) + k; }

uint8_t byte_at(const std::byte* packet, size_t i) { return static_cast<uint8_t>(packet[i]); }

Status wrong(const Layout& layout, const std::string& what) {
  return Status(Code::mismatch, "a packet of " + std::to_string(layout.k) + " of " + std::to_string(layout.n) +
                                    " elements cannot be decoded: " + what);
}

// A byte's bits from `used` on up to the byte `to` must be zero: what fills bytes and words up.
bool filled_with_zeros(const std::byte* packet, size_t byte, size_t used, size_t to) {
  if (used > 0 && byte_at(packet, byte++) >> used != 0) return false;
  for (; byte < to; ++byte) {
    if (byte_at(packet, byte) != 0) return false;
  }
  return true;
}

Status read_bitmap(const Layout& layout, const std::byte* packet, uint64_t* marks) {
  const size_t n_words = words(layout.n);
  marks[n_words - 1] = 0;
  std::memcpy(marks, packet + layout.places_at, to_bytes(layout.n));
  if (!filled_with_zeros(packet, layout.places_at + layout.n / 8, layout.n % 8, layout.bytes()))
    return wrong(layout, "its bitmap goes on beyond the last element");
  size_t marked = 0;
  for (size_t w = 0; w < n_words; ++w) marked += static_cast<size_t>(std::popcount(marks[w]));
  if (marked != layout.k) return wrong(layout, "its bitmap marks " + std::to_string(marked) + " elements");
  return {};
}

// The low parts, one after the other.
class LowParts {
 public:
  LowParts(const Layout& layout, const std::byte* packet) : next_(packet + layout.low_at), bits_(layout.low_bits) {}
  uint32_t next() {
    for (; n_pending_ < bits_; n_pending_ += 8) pending_ |= static_cast<uint32_t>(*next_++) << n_pending_;
    const uint32_t low = pending_ & ((1u << bits_) - 1);
    pending_ >>= bits_;
    n_pending_ -= bits_;
    return low;
  }
  bool rest_is_zero() const { return pending_ == 0; }

 private:
  const std::byte* next_;
  uint32_t bits_, pending_ = 0, n_pending_ = 0;
};

Status read_split(const Layout& layout, const std::byte* packet, uint64_t* marks) {
  std::memset(marks, 0, words(layout.n) * sizeof *marks);
  LowParts low(layout, packet);
  size_t found = 0, least = 0;  // the least place that the next one may have
  for (size_t byte = layout.places_at; byte < layout.low_at; byte += 8) {
    uint64_t bits = 0;
    std::memcpy(&bits, packet + byte, std::min<size_t>(8, layout.low_at - byte));
    for (; bits != 0; bits &= bits - 1, ++found) {
      if (found == layout.k) return wrong(layout, "it has more than " + std::to_string(found) + " places");
      const size_t high = 8 * (byte - layout.places_at) + static_cast<size_t>(std::countr_zero(bits)) - found;
      const size_t place = high << layout.low_bits | low.next();
      if (place < least)
        return wrong(layout, "its places do not ascend: " + std::to_string(place) + " after " + std::to_string(least - 1));
      if (place >= layout.n) return wrong(layout, "it has a place " + std::to_string(place));
      marks[place / 64] |= uint64_t{1} << place % 64;
      least = place + 1;
    }
  }
  if (found < layout.k) return wrong(layout, "it has " + std::to_string(found) + " places");
  if (!low.rest_is_zero() || !filled_with_zeros(packet, layout.end, 0, layout.bytes()))
    return wrong(layout, "it is not filled up with zeros");
  return {};
}

Status read_places(const Layout& layout, const std::byte* packet, uint64_t* marks) {
  switch (layout.places) {
    case Places::bitmap: return read_bitmap(layout, packet, marks);
    case Places::split: return read_split(layout, packet, marks);
    case Places::all:
      std::memset(marks, 0xFF, words(layout.n) * sizeof *marks);
      if (layout.n % 64 != 0) marks[layout.n / 64] = (uint64_t{1} << layout.n % 64) - 1;
      break;
    case Places::known: break;
  }
  if (!filled_with_zeros(packet, layout.end, 0, layout.bytes())) return wrong(layout, "it is not filled up with zeros");
  return {};
}

Status decode_not_finite(const Layout& layout, const std::byte* packet, float* out) {
  if (!filled_with_zeros(packet, sizeof(PacketKind), 0, layout.bytes()))
    return wrong(layout, "it says that the numbers were not finite, but has values");
  std::fill_n(out, layout.n, std::numeric_limits<float>::quiet_NaN());
  return {};
}

}  // namespace

Layout::Layout(size_t n_, size_t k_, ValueType type_, bool places_known) : n(n_), k(k_), type(type_) {
  values_at = sizeof(PacketKind) + (type == ValueType::int8 ? sizeof(float) : 0);
  places_at = end = values_at + k * width(type);
  if (places_known) return;
  if (k == n) {
    places = Places::all;
    return;
  }
  places = Places::bitmap;
  size_t best = to_bytes(n);
  for (uint32_t bits = 1; bits < 16; ++bits) {
    const size_t high = to_bytes(high_bits(n, k, bits)), size = high + to_bytes(k * bits);
    if (size >= best) continue;
    best = size;
    places = Places::split;
    low_bits = bits;
    low_at = places_at + high;
  }
  end = places_at + best;
}

void write_not_finite(const Layout& layout, std::byte* packet) {
  const auto kind = PacketKind::not_finite;
  std::memset(packet, 0, layout.bytes());
  std::memcpy(packet, &kind, sizeof kind);
}

float int8_scale(float greatest) {
  const float scale = greatest / 127;
  return std::isfinite(scale * 127) ? scale : std::nextafter(scale, 0.0f);
}

Writer::Writer(const Layout& layout, const Chunk& chunk, bool masking, float greatest, std::byte* packet)
    : layout_(layout),
      chunk_(chunk),
      masking_(masking && chunk.momentum != nullptr),
      packet_(packet),
      low_(packet + layout.low_at) {
  const auto kind = PacketKind::finite;
  std::memcpy(packet, &kind, sizeof kind);
  std::memset(packet + layout.places_at, 0, layout.bytes() - layout.places_at);
  if (layout.type == ValueType::int8) {
    scale_ = int8_scale(greatest);
    std::memcpy(packet + sizeof kind, &scale_, sizeof scale_);
  }
}

void Writer::add(const uint32_t* index, float* value, size_t count) {
  round_values(layout_.type, value, count, scale_, packet_ + layout_.values_at + done_ * width(layout_.type));
  if (layout_.places == Places::bitmap) put_bits(index, count);
  if (layout_.places == Places::split) put_split(index, count);
  if (chunk_.residual != nullptr) {
    for (size_t j = 0; j < count; ++j) chunk_.residual[index[j]] = value[j];
  }
  if (masking_) {
    for (size_t j = 0; j < count; ++j) chunk_.momentum[index[j]] = 0;
  }
  done_ += count;
}

void Writer::put_bits(const uint32_t* index, size_t count) {
  std::byte* const bitmap = packet_ + layout_.places_at;
  for (size_t j = 0; j < count; ++j) bitmap[index[j] / 8] |= std::byte{1} << index[j] % 8;
}

void Writer::put_split(const uint32_t* index, size_t count) {
  const uint32_t low_bits = layout_.low_bits, low_mask = (1u << low_bits) - 1;
  std::byte* const high = packet_ + layout_.places_at;
  for (size_t j = 0; j < count; ++j) {
    const size_t bit = (index[j] >> low_bits) + done_ + j;
    high[bit / 8] |= std::byte{1} << bit % 8;
    pending_ |= static_cast<uint64_t>(index[j] & low_mask) << n_pending_;
    n_pending_ += low_bits;
    if (n_pending_ >= 32) {
      std::memcpy(low_, &pending_, 4);
      low_ += 4;
      pending_ >>= 32;
      n_pending_ -= 32;
    }
  }
}

void Writer::finish() { std::memcpy(low_, &pending_, to_bytes(n_pending_)); }

Status decode(const Layout& layout, const std::byte* packet, uint64_t* marks, const Output& output) {
  float* const out = output.out;
  PacketKind kind;
  std::memcpy(&kind, packet, sizeof kind);
  if (kind == PacketKind::not_finite) return decode_not_finite(layout, packet, out);
  if (kind != PacketKind::finite) return wrong(layout, "its kind is " + std::to_string(static_cast<uint32_t>(kind)));
  float scale = 1;
  if (layout.type == ValueType::int8) {
    std::memcpy(&scale, packet + sizeof kind, sizeof scale);
    if (!(std::isfinite(scale * 127) && !std::signbit(scale))) return wrong(layout, "its scale is " + std::to_string(scale));
  }
  if (Status status = read_places(layout, packet, marks); !status.ok()) return status;

  if (output.add == nullptr) {
    std::memset(out, 0, layout.n * sizeof *out);
  } else if (output.add != out) {
    std::memcpy(out, output.add, layout.n * sizeof *out);
  }
  const std::byte* from = packet + layout.values_at;
  bool valid = true;
  for_each_run(marks, layout.n, layout.k, [&](const uint32_t* index, size_t count) {
    float value[Writer::kMost];
    valid &= widen_values(layout.type, from, count, scale, value);
    if (!valid) return;
    for (size_t j = 0; j < count; ++j) out[index[j]] += value[j];
    from += count * width(layout.type);
  });
  if (!valid) return wrong(layout, layout.type == ValueType::int8 ? "it has a value of -128" : "it has a value that is not finite");
  if (output.divisor > 1) divide(out, layout.n, output.divisor);
  return {};
}

}  // namespace tutti::sparse

// The bytes of sparse packets, and what decode() says of bytes that no encode() has written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "sparse_packet.h"
#include "spec.h"

namespace tutti {
namespace {

using sparse::Layout;
using sparse::Places;
using testing::HasSubstr;
constexpr float kInf = std::numeric_limits<float>::infinity();

CodecSpec packed_topk(uint32_t k, ValueType values = ValueType::fp32) {
  CodecSpec spec;
  spec.kind = CodecKind::topk;
  spec.k = k;
  spec.values = values;
  return spec;
}

using Packet = std::vector<uint8_t>;

Packet encode(const CodecSpec& spec, const std::vector<float>& value) {
  const auto codec = make_topk(spec);
  Packet packet(codec->packet_bytes(value.size(), 0), 0xA5);
  codec->encode({value.data(), nullptr, nullptr, value.size()}, {}, reinterpret_cast<std::byte*>(packet.data()));
  return packet;
}

// The answer of decode().
std::string refusal(const Codec& codec, const Packet& packet, size_t n) {
  std::vector<float> out(n);
  EXPECT_EQ(packet.size(), codec.packet_bytes(n, 0));
  const Status status = codec.decode(reinterpret_cast<const std::byte*>(packet.data()), n, {}, {out.data()});
  EXPECT_EQ(status.code(), status.ok() ? Code::success : Code::mismatch);
  return status.message();
}

std::vector<float> spread(size_t n, std::initializer_list<std::pair<size_t, float>> numbers) {
  std::vector<float> values(n);
  for (const auto& [i, x] : numbers) values[i] = x;
  return values;
}

template <class T>
void put(Packet& packet, size_t at, T what) {
  std::memcpy(packet.data() + at, &what, sizeof what);
}

TEST(SparsePacketTest, Bitmap) {  // 3 and -2 at places 1 and 5
  EXPECT_EQ(encode(packed_topk(2), spread(8, {{1, 3.0f}, {5, -2.0f}})),
            (Packet{0, 0, 0, 0, 0, 0, 0x40, 0x40, 0, 0, 0, 0xC0, 0x22, 0, 0, 0}));
  EXPECT_EQ(encode(packed_topk(2, ValueType::bf16), spread(8, {{1, 3.0f}, {5, -2.0f}})),
            (Packet{0, 0, 0, 0, 0x40, 0x40, 0, 0xC0, 0x22, 0, 0, 0}));
}

// Places 5 = 0·64 + 5 and 200 = 3·64 + 8: high bits 0 and 3 + 1, low ones 5 and 8 of six bits each.
TEST(SparsePacketTest, Split) {
  EXPECT_EQ(encode(packed_topk(2, ValueType::fp16), spread(256, {{5, 1.0f}, {200, -2.0f}})),
            (Packet{0, 0, 0, 0, 0, 0x3C, 0, 0xC0, 0x11, 0x05, 0x02, 0}));
  // int8: the greatest is 127 times the scale
  EXPECT_EQ(encode(packed_topk(2, ValueType::int8), spread(256, {{5, 1.0f}, {200, -127.0f}})),
            (Packet{0, 0, 0, 0, 0, 0, 0x80, 0x3F, 1, 0x81, 0x11, 0x05, 0x02, 0, 0, 0}));
}

TEST(SparsePacketTest, AllNeedNoPlaces) {
  EXPECT_EQ(encode(packed_topk(3, ValueType::fp16), {1, 2, -1}), (Packet{0, 0, 0, 0, 0, 0x3C, 0, 0x40, 0, 0xBC, 0, 0}));
}

TEST(SparsePacketTest, NotFinite) { EXPECT_EQ(encode(packed_topk(1), {1, kInf}), (Packet{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})); }

TEST(SparsePacketTest, PlacesAreNearTheShortest) {
  for (const size_t n : {1u, 7u, 64u, 100u, 4096u, 32768u, 65536u})
    for (size_t k = 1; k <= n; k += 1 + k / 3) {
      const Layout layout(n, k, ValueType::fp32, false);
      const double bits = 8.0 * static_cast<double>(layout.end - layout.places_at);
      const double share = static_cast<double>(k) / static_cast<double>(n), rest = 1 - share;
      const double entropy = -static_cast<double>(n) * (share * std::log2(share) + (rest > 0 ? rest * std::log2(rest) : 0));
      EXPECT_LE(bits, static_cast<double>(n) + 7) << k << " of " << n;
      if (10 * k <= n) {
        EXPECT_LE(bits, entropy + 0.6 * static_cast<double>(k) + 16) << k << " of " << n;
      }
      EXPECT_EQ(layout.places == Places::all, k == n);
      EXPECT_EQ(Layout(n, k, ValueType::fp32, true).end, 4 + 4 * k);
    }
  EXPECT_EQ(Layout(4096, 41, ValueType::fp32, false).bytes(), 212u);
  EXPECT_EQ(Layout(32768, 33, ValueType::fp32, false).bytes(), 188u);
  EXPECT_EQ(Layout(4096, 41, ValueType::int8, false).bytes(), 96u);
}

TEST(HostileSparsePacketTest, KindValuesAndScale) {
  const std::vector<float> value = spread(256, {{5, 1.0f}, {200, -127.0f}});
  const auto floats = make_topk(packed_topk(2)), bytes = make_topk(packed_topk(2, ValueType::int8));
  const auto halves = make_topk(packed_topk(2, ValueType::fp16)), brains = make_topk(packed_topk(2, ValueType::bf16));

  Packet packet = encode(packed_topk(2), value);
  EXPECT_EQ(refusal(*floats, packet, 256), "");
  put<uint32_t>(packet, 0, 7);
  EXPECT_THAT(refusal(*floats, packet, 256), HasSubstr("2 of 256 elements cannot be decoded: its kind is 7"));
  put<uint32_t>(packet, 0, 1);
  EXPECT_THAT(refusal(*floats, packet, 256), HasSubstr("not finite, but has values"));
  for (const float bad : {kInf, -kInf, std::nanf("")}) {
    packet = encode(packed_topk(2), value);
    put(packet, 8, bad);
    EXPECT_THAT(refusal(*floats, packet, 256), HasSubstr("a value that is not finite"));
    packet = encode(packed_topk(2, ValueType::int8), value);
    put(packet, 4, bad);
    EXPECT_THAT(refusal(*bytes, packet, 256), HasSubstr("its scale is"));
  }
  for (const uint16_t bad : {uint16_t{0x7C00}, uint16_t{0xFC00}, uint16_t{0x7E01}}) {
    packet = encode(packed_topk(2, ValueType::fp16), value);
    put(packet, 4, bad);
    EXPECT_THAT(refusal(*halves, packet, 256), HasSubstr("a value that is not finite"));
  }
  packet = encode(packed_topk(2, ValueType::bf16), value);
  put<uint16_t>(packet, 6, 0xFF80);
  EXPECT_THAT(refusal(*brains, packet, 256), HasSubstr("a value that is not finite"));
  for (const float bad : {-1.0f, -0.0f, 0x1p122f}) {
    packet = encode(packed_topk(2, ValueType::int8), value);
    put(packet, 4, bad);
    EXPECT_THAT(refusal(*bytes, packet, 256), HasSubstr("its scale is"));
  }
  packet = encode(packed_topk(2, ValueType::int8), value);
  put<int8_t>(packet, 9, -128);
  EXPECT_THAT(refusal(*bytes, packet, 256), HasSubstr("a value of -128"));
}

TEST(HostileSparsePacketTest, PlacesOfABitmap) {
  const auto codec = make_topk(packed_topk(2));
  const std::vector<float> value = spread(12, {{1, 3.0f}, {5, -2.0f}});
  const size_t at = 12;
  Packet packet = encode(packed_topk(2), value);
  EXPECT_EQ(refusal(*codec, packet, 12), "");
  packet[at] = 0x23;
  EXPECT_THAT(refusal(*codec, packet, 12), HasSubstr("its bitmap marks 3 elements"));
  packet[at] = 0x20;
  EXPECT_THAT(refusal(*codec, packet, 12), HasSubstr("its bitmap marks 1 elements"));
  packet[at + 1] = 0x10;
  EXPECT_THAT(refusal(*codec, packet, 12), HasSubstr("beyond the last element"));
  packet = encode(packed_topk(2), value);
  packet[at + 2] = 1;
  EXPECT_THAT(refusal(*codec, packet, 12), HasSubstr("beyond the last element"));
}

TEST(HostileSparsePacketTest, PlacesThatAreSplit) {
  const auto codec = make_topk(packed_topk(2, ValueType::fp16));
  const auto with = [&](uint8_t high, uint16_t low, uint8_t padding) {
    Packet packet = encode(packed_topk(2, ValueType::fp16), spread(256, {{5, 1.0f}, {200, -2.0f}}));
    packet[8] = high;
    put(packet, 9, low);
    packet[11] = padding;
    return refusal(*codec, packet, 256);
  };
  EXPECT_EQ(with(0b10001, 5 | 8 << 6, 0), "");
  EXPECT_EQ(with(0b00011, 5 | 6 << 6, 0), "");
  EXPECT_THAT(with(0b00011, 5 | 5 << 6, 0), HasSubstr("its places do not ascend: 5 after 5"));
  EXPECT_THAT(with(0b00011, 5 | 4 << 6, 0), HasSubstr("its places do not ascend: 4 after 5"));
  EXPECT_THAT(with(0b10000, 5, 0), HasSubstr("it has a place 261"));
  EXPECT_THAT(with(0b100001, 5 | 8 << 6, 0), HasSubstr("it has a place 264"));
  EXPECT_THAT(with(0b10000001, 5 | 8 << 6, 0), HasSubstr("it has a place 392"));
  EXPECT_THAT(with(0b00001, 5 | 8 << 6, 0), HasSubstr("it has 1 places"));
  EXPECT_THAT(with(0, 5 | 8 << 6, 0), HasSubstr("it has 0 places"));
  EXPECT_THAT(with(0b10011, 5 | 8 << 6, 0), HasSubstr("it has more than 2 places"));
  EXPECT_THAT(with(0b10001, 5 | 8 << 6 | 1 << 12, 0), HasSubstr("not filled up with zeros"));
  EXPECT_THAT(with(0b10001, 5 | 8 << 6, 1), HasSubstr("not filled up with zeros"));
}

TEST(HostileSparsePacketTest, FillingOfKnownPlaces) {
  const CodecSpec spec = packed_topk(3, ValueType::fp16);
  Packet packet = encode(spec, {1, 2, -1});
  packet[11] = 1;
  EXPECT_THAT(refusal(*make_topk(spec), packet, 3), HasSubstr("not filled up with zeros"));
}

}  // namespace
}  // namespace tutti

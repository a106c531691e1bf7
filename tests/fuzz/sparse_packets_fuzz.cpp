// The first bytes choose a sparse codec and a chunk's length, the rest is its packet: it is refused, or what it decodes
// to can be encoded and comes back the same.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fuzz_check.h"
#include "spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  if (size < 4) return 0;
  constexpr double kRatios[] = {0.001, 0.01, 0.02, 0.1, 0.3, 0.9, 1};
  CodecSpec spec;
  spec.kind = data[0] % 2 == 0 ? CodecKind::topk : CodecKind::randomk;
  spec.values = static_cast<ValueType>(data[0] / 2 % 4);
  spec.ratio = kRatios[data[1] % std::size(kRatios)];
  spec.chunk = 4096;
  const size_t n = 1 + (size_t{data[2]} | size_t{data[3]} << 8) % 4096;
  const auto codec = spec.kind == CodecKind::topk ? make_topk(spec) : make_randomk(spec);
  std::vector<uint32_t> packet(codec->packet_bytes(n, 0) / 4);
  std::memcpy(packet.data(), data + 4, std::min(size - 4, 4 * packet.size()));

  const std::vector<float> add(n, 1);
  std::vector<float> out(n), sum(n), again(n), residual(n);
  auto* bytes = reinterpret_cast<std::byte*>(packet.data());
  const Status status = codec->decode(bytes, n, {}, {out.data()});
  FUZZ_CHECK(status.ok() == codec->decode(bytes, n, {}, {sum.data(), add.data(), 3}).ok());
  if (!status.ok()) {
    FUZZ_CHECK(!status.message().empty());
    return 0;
  }
  const bool finite = packet[0] == 0;
  for (size_t i = 0; i < n; ++i) FUZZ_CHECK(std::isfinite(out[i]) == finite && (!finite || sum[i] == (1 + out[i]) / 3));
  codec->encode({out.data(), residual.data(), nullptr, n}, {}, bytes);
  FUZZ_CHECK((packet[0] == 0) == finite && codec->decode(bytes, n, {}, {again.data()}).ok());
  for (size_t i = 0; i < n && finite; ++i) {
    FUZZ_CHECK(again[i] + residual[i] == out[i] || std::fabs(again[i] + residual[i] - out[i]) <= std::fabs(out[i]) * 0x1p-23f);
    FUZZ_CHECK(residual[i] == 0 || spec.values == ValueType::int8);
  }
  return 0;
}

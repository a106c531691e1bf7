#include "codec_rates.h"

#include <algorithm>
#include <vector>

#include "clock.h"

namespace tutti {
namespace {

// Of the tensor in one message: less costs more in messages than it overlaps.
constexpr size_t kLeastStripeBytes = 64 << 10;
constexpr size_t kLargestStripeBytes = 512 << 10;  // stays in a core's own cache with its residual

}  // namespace

CodedCut cut_coded(const RouteTerms& terms, const Packed& packed, uint32_t blocks, uint32_t widest_run) {
  const uint32_t lanes = terms.lanes > 0 ? terms.lanes : standard_lanes(terms.single_host);
  const uint64_t most = std::max<uint64_t>(1, terms.slot_bytes / widest_run / packed.packet_bytes);
  const uint64_t of_block = (packed.chunks + blocks - 1) / blocks;
  const uint64_t even = (of_block + lanes - 1) / lanes;  // one stripe a lane
  const uint64_t least = std::max<uint64_t>(1, kLeastStripeBytes / widest_run / packed.chunk_bytes);
  const uint64_t largest = std::max<uint64_t>(least, kLargestStripeBytes / widest_run / packed.chunk_bytes);
  return {lanes, static_cast<size_t>(std::min(most, std::clamp(even, least, largest)))};
}

CodecRates measure_rates(const Codec& codec) {
  constexpr size_t kElements = 16 << 10;
  constexpr int kTurns = 5;  // the fastest counts
  const size_t n = std::min(codec.chunk(), kElements), chunks = std::max<size_t>(1, kElements / n);
  const size_t packet = codec.packet_bytes(n, 0);
  std::vector<float> value(n * chunks), residual(n * chunks), sum(n * chunks);
  for (size_t i = 0; i < value.size(); ++i) value[i] = static_cast<float>((i * 2654435761u >> 7 & 0xFFFF)) / 65536.0f - 0.5f;
  std::vector<std::byte> packets(packet * chunks);
  const auto fastest = [&](auto each) {
    uint64_t least = UINT64_MAX;
    for (int turn = 0; turn < kTurns; ++turn) {
      const uint64_t start = now_ns();
      for (size_t c = 0; c < chunks; ++c) each(c);
      least = std::min(least, now_ns() - start);
    }
    return static_cast<double>(value.size() * sizeof(float)) * 1e9 / static_cast<double>(std::max<uint64_t>(least, 1));
  };
  CodecRates rates;
  rates.encode = fastest([&](size_t c) {
    codec.encode({value.data() + c * n, residual.data() + c * n, nullptr, n}, {0, 0, 0, c * n}, packets.data() + c * packet);
  });
  const auto decode = [&](size_t c, const float* add) {  // of packets just made: they are sound
    (void)codec.decode(packets.data() + c * packet, n, {0, 0, 0, c * n}, {sum.data() + c * n, add});
  };
  rates.decode_add = fastest([&](size_t c) { decode(c, value.data() + c * n); });
  rates.decode = fastest([&](size_t c) { decode(c, nullptr); });
  return rates;
}

double break_even(const CodecRates& rates) { return (1 / rates.encode + 1 / rates.decode_add + 1 / rates.decode) / 2; }

double link_seconds_per_byte(const RouteTerms& terms, const MachineProfile& profile) {
  if (terms.single_host) return 0;
  const LinkCost& link = terms.team.hosts() > 1 ? profile.inter_host : profile.intra_host;
  return std::max(link.byte_s, link.processor_byte_s);
}

}  // namespace tutti

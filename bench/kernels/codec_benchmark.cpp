// Bytes of float32 per second through each codec on one core, chunk by chunk over a tensor that stays in the
// second-level cache:
//   encode/SPEC       value and residual in, packet and residual out (residual only where the codec uses feedback)
//   encode_cold/SPEC       the same of 64 MiB, which no cache holds, in pages of 4 KiB (the residual in huge ones, as
//                          the library has it)
//   encode_cold_huge/SPEC  and in huge pages, if the system gives any
//   decode/SPEC       packet in, numbers out
//   decode_add/SPEC   packet and numbers in, their sums out in place
// `codec-benchmark [benchmark's options] [SPEC …]` takes any codecs by their text, "int4:group=128" say; by default the
// list below.  The label is how many times smaller than float32 the packets are, and the target.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "kernels.h"
#include "large_pages.h"
#include "spec.h"

namespace {

using namespace tutti;

constexpr const char* kSpecs[] = {
    "fp16",     "bf16", "fp8_e4m3", "fp8_e5m2",         "int8",   "int4", "int2", "int8:range=minmax", "qsgd", "qsgd:levels=127",
    "terngrad", "sign", "topk",     "topk:ratio=0.001", "randomk"};
constexpr size_t kNumbers = 64 << 10;  // 256 KiB of each array
constexpr size_t kCold = 16 << 20;     // 64 MiB

// A gradient like any: normal numbers of different scales in different places.
template <class Values>
Values gradient(size_t n) {
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  Values values(n);
  for (size_t i = 0; i < n; ++i) values[i] = normal(random) * std::exp(static_cast<float>(i / 4096 % 7) - 8);
  return values;
}

using Numbers = std::vector<float>;
using NumbersInLargePages = std::vector<float, LargePages<float>>;

template <class Values = Numbers>
struct Bench {
  explicit Bench(const CodecSpec& spec, size_t numbers = kNumbers)
      : codec(make_codec(spec)),
        feedback(uses_feedback(spec, *codec)),
        chunk(codec->chunk()),
        chunks(std::max<size_t>(1, numbers / chunk)),
        values(gradient<Values>(chunks * chunk)),
        residual(values.size()),
        out(values.size()),
        packet_words(codec->packet_bytes(chunk, 0) / 4),
        packets(chunks * packet_words) {}

  void encode(uint32_t step) {
    for (size_t c = 0; c < chunks; ++c) {
      float* kept = feedback ? residual.data() + c * chunk : nullptr;
      codec->encode({.value = values.data() + c * chunk, .residual = kept, .n = chunk}, {.step = step, .element = c * chunk},
                    packet(c));
    }
  }
  bool decode(bool add) {
    bool ok = true;
    for (size_t c = 0; c < chunks; ++c) {
      float* numbers = out.data() + c * chunk;
      ok &= codec->decode(packet(c), chunk, {.element = c * chunk}, {numbers, add ? numbers : nullptr}).ok();
    }
    return ok;
  }
  std::byte* packet(size_t c) { return reinterpret_cast<std::byte*>(packets.data() + c * packet_words); }

  void report(benchmark::State& state) const {
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(values.size() * sizeof(float)));
    char ratio[32];
    std::snprintf(ratio, sizeof ratio, "%.2fx ", static_cast<double>(chunk) / static_cast<double>(packet_words));
    state.SetLabel(ratio + std::string(kernels::target_name()));
  }

  std::unique_ptr<const Codec> codec;
  bool feedback;
  size_t chunk, chunks;
  Values values;
  NumbersInLargePages residual;
  Numbers out;
  size_t packet_words;
  std::vector<uint32_t> packets;
};

// Step 0 throughout: packets of the same size; residuals go on.
template <class Values = Numbers>
void encode(benchmark::State& state, const CodecSpec& spec, size_t numbers = kNumbers) {
  Bench<Values> bench(spec, numbers);
  for (auto _ : state) {
    bench.encode(0);
    benchmark::ClobberMemory();
  }
  bench.report(state);
}

void decode(benchmark::State& state, const CodecSpec& spec, bool add) {
  Bench<> bench(spec);
  bench.encode(0);
  for (auto _ : state) {
    if (!bench.decode(add)) return state.SkipWithError("a packet was refused");
    benchmark::ClobberMemory();
  }
  bench.report(state);
}

bool add_spec(const char* text) {
  const auto spec = parse_codec(text);
  if (!spec.ok()) return std::fprintf(stderr, "%s\n", spec.status().message().c_str()), false;
  const std::string name = std::string("/") + text;
  benchmark::RegisterBenchmark(("encode" + name).c_str(), [=](benchmark::State& state) { encode(state, *spec); });
  benchmark::RegisterBenchmark(("encode_cold" + name).c_str(), [=](benchmark::State& state) { encode(state, *spec, kCold); });
  benchmark::RegisterBenchmark(("encode_cold_huge" + name).c_str(),
                               [=](benchmark::State& state) { encode<NumbersInLargePages>(state, *spec, kCold); });
  benchmark::RegisterBenchmark(("decode" + name).c_str(), [=](benchmark::State& state) { decode(state, *spec, false); });
  benchmark::RegisterBenchmark(("decode_add" + name).c_str(), [=](benchmark::State& state) { decode(state, *spec, true); });
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);  // takes its options away
  bool fine = true;
  for (int i = 1; i < argc; ++i) fine &= add_spec(argv[i]);
  for (const char* text : kSpecs)
    if (argc == 1) fine &= add_spec(text);
  if (!fine) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}

// The limit of memory: every rank copies its input to its output, all at once; label "memcpy_nt": by non-temporal
// stores, which do not fetch what they overwrite.
#include "harness.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

#if defined(__x86_64__)
// Whole cache lines from the first aligned one on; the ends by memcpy.
__attribute__((target("avx"))) void copy_streaming(std::byte* to, const std::byte* from, size_t bytes) {
  constexpr size_t kLine = 64, kVector = sizeof(__m256i);
  const size_t head = std::min(bytes, -reinterpret_cast<uintptr_t>(to) % kLine), lines = (bytes - head) / kLine * kLine;
  std::memcpy(to, from, head);
  for (size_t i = head; i < head + lines; i += kLine) {
    const auto* source = reinterpret_cast<const __m256i*>(from + i);
    auto* target = reinterpret_cast<__m256i*>(to + i);
    const __m256i first = _mm256_loadu_si256(source), second = _mm256_loadu_si256(source + 1);
    _mm256_stream_si256(target, first);
    _mm256_stream_si256(target + 1, second);
    static_assert(2 * kVector == kLine);
  }
  _mm_sfence();
  std::memcpy(to + head + lines, from + head + lines, bytes - head - lines);
}
bool can_stream() { return __builtin_cpu_supports("avx"); }
#else
void copy_streaming(std::byte*, const std::byte*, size_t) {}
bool can_stream() { return false; }
#endif

struct Memcpy {
  static harness::Result result() { return harness::Result::own; }
  int rank = harness::environment_number("COMPARE_RANK");
  int size = harness::environment_number("COMPARE_SIZE");
  bool streaming = false;

  void all_reduce(const float* input, float* output, size_t count) {
    if (streaming)
      copy_streaming(reinterpret_cast<std::byte*>(output), reinterpret_cast<const std::byte*>(input), count * sizeof(float));
    else
      std::memcpy(output, input, count * sizeof(float));
  }
};

}  // namespace

int main(int argc, char** argv) {
  const auto settings = harness::Settings::of(argc, argv);
  Memcpy driver;
  driver.streaming = settings.label == "memcpy_nt";
  if (driver.streaming && !can_stream()) harness::fail("this processor has no 256-bit non-temporal stores");
  harness::run(driver, settings);
}

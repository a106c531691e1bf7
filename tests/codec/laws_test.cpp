// The checks themselves: an honest codec passes all, and one with any single flaw does not.
#include "laws.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

namespace tutti {
namespace {

enum class Flaw {
  none,
  forgets_residual,
  loses_a_number,
  reads_old_packet,
  hides_not_a_number,
  divides_late,
  accepts_anything,
  biased,
  foretells_undivided
};

// The numbers as they are, behind the kind; with a flaw, if asked for.
class Verbatim : public Codec {
 public:
  explicit Verbatim(Flaw flaw) : flaw_(flaw) {}
  size_t chunk() const override { return 64; }
  size_t do_packet_bytes(size_t n, uint32_t) const override { return 4 + 4 * n; }
  void do_encode(const Chunk& chunk, const EncodeContext& context, std::byte* packet) const override {
    write(chunk, packet);
    Output decoded = chunk.decoded;
    if (flaw_ == Flaw::foretells_undivided) decoded.divisor = 1;
    if (decoded.out) (void)do_decode(packet, chunk.n, context, decoded);
  }
  void write(const Chunk& chunk, std::byte* packet) const {
    auto* words = reinterpret_cast<uint32_t*>(packet);
    auto* numbers = reinterpret_cast<float*>(packet + 4);
    bool finite = true;
    for (size_t i = 0; i < chunk.n; ++i) finite &= std::isfinite(chunk.value[i] + (chunk.residual ? chunk.residual[i] : 0));
    words[0] = static_cast<uint32_t>(finite || flaw_ == Flaw::hides_not_a_number ? PacketKind::finite : PacketKind::not_finite);
    for (size_t i = 0; i < chunk.n; ++i) {
      if (flaw_ == Flaw::reads_old_packet && words[i + 1] == 0) continue;
      numbers[i] = finite ? chunk.value[i] + (chunk.residual ? chunk.residual[i] : 0) : 0;
      if (flaw_ == Flaw::loses_a_number && i == 1) numbers[i] = 0;
      if (flaw_ == Flaw::biased) numbers[i] *= 1.01f;
      if (finite && chunk.residual && flaw_ != Flaw::forgets_residual)
        chunk.residual[i] = chunk.value[i] + chunk.residual[i] - numbers[i];
    }
  }
  Status do_decode(const std::byte* packet, size_t n, const EncodeContext&, const Output& output) const override {
    const auto& [out, add, divisor, streaming, soon] = output;
    const auto kind = reinterpret_cast<const uint32_t*>(packet)[0];
    if (kind > 1 && flaw_ != Flaw::accepts_anything) return Status(Code::mismatch, "unknown kind");
    const auto* numbers = reinterpret_cast<const float*>(packet + 4);
    for (size_t i = 0; i < n; ++i) {
      const float number = kind == 1 ? laws::kNan : numbers[i];
      const float divided = ((add && flaw_ != Flaw::divides_late ? add[i] : 0) + number) / static_cast<float>(divisor);
      out[i] = add && flaw_ == Flaw::divides_late ? divided + add[i] : divided;
    }
    return {};
  }
  double contraction(size_t, uint32_t) const override { return 1; }
  bool unbiased() const override { return true; }
  double variance(size_t, uint32_t) const override { return 0; }

 private:
  Flaw flaw_;
};

int failures(Flaw flaw) {
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(&results);
    laws::expect_laws(Verbatim(flaw));
  }
  return results.size();
}

TEST(LawsTest, HonestCodecPasses) { laws::expect_laws(Verbatim(Flaw::none)); }

TEST(LawsTest, EveryFlawIsFound) {
  for (const Flaw flaw : {Flaw::forgets_residual, Flaw::loses_a_number, Flaw::reads_old_packet, Flaw::hides_not_a_number,
                          Flaw::divides_late, Flaw::accepts_anything, Flaw::biased, Flaw::foretells_undivided})
    EXPECT_GT(failures(flaw), 0) << static_cast<int>(flaw);
}

}  // namespace
}  // namespace tutti

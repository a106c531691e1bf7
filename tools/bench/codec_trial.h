// The effect of a codec on an all-reduce besides making it faster, and whether it keeps its promises.
//
// This must hold, with E = ‖Σ_t output(t) - t · exact sum‖ over the calls so far, all with the same input:
//   - all ranks have the same bits;
//   - with feedback, E ≤ Σ_ranks ‖residual‖ and the rounding of outputs: what is missing is what the residuals hold;
//   - without, for a codec that does not round at random: the first output is that of the same codec with feedback;
//   - without, for one that does: after t calls E/t has fallen below the first call's E by about √t, which no bias
//   would let it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "gradients.h"
#include "job.h"
#include "rotation.h"
#include "spec.h"
#include "workload.h"

namespace tutti::bench {

struct DestroyCodec {
  void operator()(tutti_codec* codec) const { tutti_codec_destroy(codec); }
};
using CodecHandle = std::unique_ptr<tutti_codec, DestroyCodec>;

Result<CodecHandle> open_codec(const std::string& spec, const Workload& work);

struct CodecFigures {
  std::string spec;          // canonical
  std::string how;           // tutti_stats.last_codec
  uint64_t wire_bytes = 0;   // payload that a rank sent in a call, the most of all ranks
  uint64_t plain_bytes = 0;  // the same without the codec, by the same algorithm
  double error_once = 0;     // ‖output - exact‖ / ‖exact‖ of the first call
  // The same of the mean of kCodecCalls outputs; none: with momentum, which multiplies gradients.
  std::optional<double> error_mean;
  bool kept_promises = true;

  double ratio() const { return wire_bytes > 0 ? static_cast<double>(plain_bytes) / static_cast<double>(wire_bytes) : 1; }
};

inline constexpr int kCodecCalls = 50;
inline constexpr size_t kMeanElements = 1 << 20;  // the mean is taken of tensors of no more elements

class CodecTrial {
 public:
  // In the first slot.
  CodecTrial(const Job& job, const Workload& work, const std::string& spec, const std::string& algorithm, const Rotation& rotation);

  // Each is collective; the figures are equal on all ranks.
  Result<CodecFigures> run(bool in_place);

 private:
  struct Carried {
    uint64_t sent;      // the most of all ranks
    tutti_stats stats;  // after the call
  };
  Result<Carried> carry(bool in_place, tutti_codec* codec);
  // Without a codec on the host's memory: kernels of devices do not count what they send.
  Status one_call(const Workload& work, bool in_place, tutti_codec* codec);
  Placed seen(const Workload& work, bool in_place) const { return place(work, rotation_.view(0, work.buffer_bytes()), in_place); }
  Status first_call(bool in_place, CodecFigures& figures);
  Status many_calls(CodecFigures& figures);
  Result<double> norms(tutti_codec* codec) const;  // Σ_ranks ‖residual‖
  Result<bool> equal_on_all_ranks(uint64_t mine) const;

  const Job& job_;
  Workload work_;
  std::string text_, algorithm_;
  const Rotation& rotation_;
  CodecSpec spec_;
  bool feedback_, random_;
  Gradients gradients_;
};

}  // namespace tutti::bench

// The specification of a codec: the text of the C API and what it means.
//
//   spec    = [ "auto:" ] name [ ":" setting { "," setting } ]  "int8"  "topk:ratio=0.01,feedback=1"
//           "auto:int4:group=128"
//   setting = key "=" value
//   name    = a kind ("cast", "quantize", "sign", "topk", "randomk") or a preset of one ("fp16", "int8", "qsgd" …),
//           which settings refine
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "codec.h"
#include "status.h"

namespace tutti {

enum class CodecKind : uint8_t { cast, quantize, sign, topk, randomk };
enum class CastType : uint8_t { fp16, bf16, fp8_e4m3, fp8_e5m2 };  // fp8: with a float32 scale for each group
enum class Rounding : uint8_t { nearest, stochastic };
// Of a group: symmetric about zero, or from its least to its greatest.
enum class Range : uint8_t { absmax, minmax };
enum class ValueType : uint8_t { fp32, fp16, bf16, int8 };  // of the values of a sparse packet

struct CodecSpec {
  CodecKind kind = CodecKind::quantize;
  bool automatic = false;  // "auto:": only where it pays

  CastType type = CastType::fp16;  // cast: type=

  uint32_t levels = 127;  // quantize: levels= (positive ones; bits=b gives 2^(b-1)-1)
  uint32_t bits = 8;      // quantize: bits= (2, 4, 8), the width of a number in the packet
  double clip_sigma = 0;  // quantize: clip= standard deviations of the group beyond which values are clipped; 0: none
  Rounding rounding = Rounding::nearest;  // quantize, fp8: round=
  Range range = Range::absmax;            // quantize: range=

  // Quantize, sign, fp8: group= (elements that share a scale; a power of two, 32 … 65536); 0: the kind's own.
  uint32_t group = 0;

  double ratio = 0.01;  // topk, randomk: ratio=
  uint32_t k = 0;       // topk, randomk: k= of each chunk; 0: by ratio
  uint32_t chunk = 0;   // topk, randomk: chunk= (a power of two, 256 … 65536); 0: 4096, or more if the ratio is small
  ValueType values = ValueType::fp32;  // topk, randomk: values=

  // Deep Gradient Compression, topk only.
  double momentum = 0;        // momentum= (0: none)
  double clip_norm = 0;       // clip_norm= of this rank's gradient, divided by √ranks; 0: none
  bool masking = true;        // masking=
  // Warmup= calls for each stage of the schedule 25 %, 6.25 %, 1.5625 %, 0.4 % before `ratio`; 0: none.
  uint32_t warmup_steps = 0;

  int feedback = -1;  // feedback= 0 or 1; -1: on if the codec is biased
  uint64_t seed = 0;  // seed=

  bool operator==(const CodecSpec&) const = default;
};

// Of the API's text.  An error names the word that is wrong and what there is instead.
Result<CodecSpec> parse_codec(std::string_view text);

// Checks ranges and combinations, as parse_codec does: for specs that were filled in field by field.
Status check(const CodecSpec& spec);

// The canonical text, which parse_codec reads back to an equal spec; only what differs from the kind's defaults is
// named.
std::string describe(const CodecSpec& spec);

bool uses_feedback(const CodecSpec& spec, const Codec& codec);  // what feedback = -1 means for it

// spec must have passed check().  Never null.
std::unique_ptr<const Codec> make_codec(const CodecSpec& spec);

// The parts of make_codec.
std::unique_ptr<const Codec> make_cast(const CodecSpec& spec);
std::unique_ptr<const Codec> make_quantize(const CodecSpec& spec);
std::unique_ptr<const Codec> make_sign(const CodecSpec& spec);
std::unique_ptr<const Codec> make_topk(const CodecSpec& spec);
std::unique_ptr<const Codec> make_randomk(const CodecSpec& spec);

// For --help: "int8", "topk" …, with a line on each.
struct CodecName {
  std::string_view name, summary;
};
const std::vector<CodecName>& codec_names();

}  // namespace tutti

#include "spec.h"

namespace tutti {

bool uses_feedback(const CodecSpec& spec, const Codec& codec) { return spec.feedback < 0 ? !codec.unbiased() : spec.feedback == 1; }

std::unique_ptr<const Codec> make_codec(const CodecSpec& spec) {
  switch (spec.kind) {
    case CodecKind::cast: return make_cast(spec);
    case CodecKind::quantize: return make_quantize(spec);
    case CodecKind::sign: return make_sign(spec);
    case CodecKind::topk: return make_topk(spec);
    case CodecKind::randomk: return make_randomk(spec);
  }
  return nullptr;  // no other kind passes check()
}

}  // namespace tutti

// Any bytes on a control connection: frames are read within their bounds, name only ranks that exist, and would be
// written the same.
#include "control_frames.h"

#include <cstdint>
#include <string_view>

#include "fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  constexpr int kRanks = 5;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (;;) {
    ControlFrame frame;
    size_t used = 0;
    const Decoding decoding = decode(bytes, kRanks, frame, used);
    if (decoding == Decoding::incomplete) FUZZ_CHECK(bytes.size() < kLongestFrame);
    if (decoding != Decoding::complete) return 0;
    FUZZ_CHECK(used >= kFrameHead && used <= bytes.size());
    FUZZ_CHECK(frame.rank >= -1 && frame.rank < kRanks && frame.cause.culprit < kRanks && frame.stall.waits_for < kRanks);
    const std::string again = encode(frame);  // texts may have been made printable, and a flag is any byte but zero
    ControlFrame same;
    size_t used_again = 0;
    FUZZ_CHECK(decode(again, kRanks, same, used_again) == Decoding::complete);
    FUZZ_CHECK(used_again == again.size() && encode(same) == again);
    bytes.remove_prefix(used);
  }
}

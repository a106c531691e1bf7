// Calls with a codec: which algorithm serves them, in what pieces, and whether compressing pays.  Pure functions of what all ranks know.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "choice.h"
#include "codec.h"
#include "machine_profile.h"

namespace tutti {

// What a codec makes of a call's data.
struct Packed {
  uint64_t bytes = 0;       // all packets of the tensor
  uint64_t chunks = 0;      // of the tensor
  size_t packet_bytes = 0;  // of a whole chunk
  size_t chunk_bytes = 0;   // of the tensor's elements
  std::string_view codec;   // its text, for messages
};

// `widest_run(i)`: of the plans of algorithms()[i] (Plan::widest_run).  Only plans whose mass proof holds and whose messages fit into slots.
// A ring encodes each sum again at every hop, so errors add up p-1 times; it is taken only where it is clearly faster.
Result<Choice> choose_coded(const ChoiceTerms& terms, const Packed& packed, std::string_view wanted, Forecaster* forecaster,
                            const std::function<uint32_t(uint8_t)>& widest_run);

struct CodedCut {
  uint32_t lanes;
  size_t chunks_per_stripe;  // of one block
};
CodedCut cut_coded(const ChoiceTerms& terms, const Packed& packed, uint32_t blocks, uint32_t widest_run);

// Bytes of float32 per second that one core encodes (residual update included), decodes and adds, and decodes; data in its caches.
struct CodecRates {
  double encode = 0, decode_add = 0, decode = 0;
};
CodecRates measure_rates(const Codec& codec);

// Seconds per byte of float32 that a link may take before compressing pays, if coding and sending fully overlap: of n bytes a rank encodes n,
// decodes and adds n/2, decodes n/2, and sends n/2 twice; so link bandwidth < 2/(1/Q + 1/A + 1/D).
double break_even(const CodecRates& rates);
// Of the links that a large call waits for; 0: messages go through memory.
double link_seconds_per_byte(const ChoiceTerms& terms, const MachineProfile& profile);

}  // namespace tutti

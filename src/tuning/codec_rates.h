// Calls with a codec: in what pieces they travel, how fast this machine's cores encode, and whether that pays.
#pragma once

#include "codec.h"
#include "machine_profile.h"
#include "route.h"

namespace tutti {

struct CodedCut {
  uint32_t lanes;
  size_t chunks_per_stripe;  // of one block
};
CodedCut cut_coded(const RouteTerms& terms, const Packed& packed, uint32_t blocks, uint32_t widest_run);

// Bytes of float32 per second that one core encodes (residual update included), decodes and adds, and decodes; data
// in its caches.
struct CodecRates {
  double encode = 0, decode_add = 0, decode = 0;
};
CodecRates measure_rates(const Codec& codec);

// Seconds per byte of float32 that a link may take before compressing pays, if coding and sending fully overlap: of n
// bytes a rank encodes n, decodes and adds n/2, decodes n/2, and sends n/2 twice; so link bandwidth < 2/(1/Q + 1/A +
// 1/D).
double break_even(const CodecRates& rates);
// Of the links that a large call waits for; 0: messages go through memory.
double link_seconds_per_byte(const RouteTerms& terms, const MachineProfile& profile);

}  // namespace tutti

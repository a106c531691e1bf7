// The algorithm that usually serves a call of such a size best.  It breaks ties of predictions, and is taken where
// nothing was predicted.
#pragma once

#include <string_view>

#include "route_terms.h"
#include "vocabulary.h"

namespace tutti {

struct Usual {
  std::string_view name, reason;
};
Usual usual_algorithm(const RouteTerms& terms, Collective collective, uint64_t bytes);

// The same for kernels of devices that reach each other's memory.
Usual usual_on_device(Collective collective, uint64_t bytes, int size);

// Of a call by kernels messages are stamped while no rank sends or receives more bytes of data.  A stamped message is
// twice as long, a flagged one takes some microseconds more: at some 100 GB/s between devices that is as much as this.
inline constexpr uint64_t kStampedUntil = 256 << 10;

}  // namespace tutti

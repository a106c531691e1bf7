// The order of messages, which both ends of a link count alike, so that no message carries a tag.
//
// Stripes.  Lane l of wave w carries stripe w·lanes + l; the last wave may have fewer lanes.  Turns.  In each
// direction of a link, messages go in the order (operation, wave, index of the message in the program, lane).
#pragma once

#include <algorithm>
#include <cstdint>

namespace tutti {

struct StripePlace {
  uint64_t wave = 0;   // the first stripe of its wave
  uint64_t width = 1;  // how many stripes are in the wave
  uint64_t lane = 0;
};

inline StripePlace place_of_stripe(uint64_t stripe, uint64_t lanes, uint64_t stripes) {
  const uint64_t lane = stripe % lanes, wave = stripe - lane;
  return {wave, std::min(lanes, stripes - wave), lane};
}

// The turn of a message among those that its operation sends over the link, counted from 0.  `index`: of the
// `messages` that the program sends over the link for one stripe.
inline uint64_t turn(const StripePlace& place, uint64_t index, uint64_t messages) {
  return place.wave * messages + index * place.width + place.lane;
}

}  // namespace tutti

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

}  // namespace tutti

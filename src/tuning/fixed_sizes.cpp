#include "fixed_sizes.h"

#include "algorithms.h"

namespace tutti {
namespace {

// Sizes at which one algorithm overtakes another, measured with `tutti-bench all_reduce --algorithm all`
// (bench/README.md).
constexpr uint64_t kHostDoublingUntil = 8 << 10;
// With more than two ranks; two ranks go from doubling to ring at once.
constexpr uint64_t kHostDirectUntilPerRank = 128 << 10;
constexpr uint64_t kNetDoublingUntil = 64 << 10;
constexpr uint64_t kNetRecursiveUntil = 1 << 20;

Usual usual_all_reduce(const RouteTerms& terms, uint64_t bytes) {
  if (terms.single_host) {
    if (bytes <= kHostDoublingUntil) return {"doubling", "small, one host: fewest messages"};
    if (terms.size > 2 && bytes <= kHostDirectUntilPerRank * static_cast<uint64_t>(terms.size))
      return {"direct", "middle, one host: two hops"};
    return {"ring", "large, one host: one pass over the data"};
  }
  if (bytes <= kNetDoublingUntil) return {"doubling", "small: fewest messages"};
  if (bytes <= kNetRecursiveUntil) return {"recursive", "middle: few messages, few bytes"};
  return {"ring", "large: fewest bytes, neighbours only"};
}

}  // namespace

Usual usual_algorithm(const RouteTerms& terms, Collective collective, uint64_t bytes) {
  const bool host = terms.single_host;
  const bool many_hosts = terms.team.hosts() > 1 && terms.team.hosts() < terms.size;  // and more than one rank on some
  if (many_hosts && bytes > kNetDoublingUntil && find_algorithm(collective, "hierarchical"))
    return {"hierarchical", "several hosts: each byte leaves a host once"};
  switch (collective) {
    case Collective::all_reduce: return usual_all_reduce(terms, bytes);
    case Collective::reduce_scatter:
    case Collective::all_gather:
      if (host) return {"direct", "one host: one hop"};
      if (bytes <= kNetRecursiveUntil) return {"recursive", "few messages"};
      return {"ring", "large: neighbours only"};
    case Collective::broadcast:
      return host ? Usual{"direct", "one host: one slot for all"} : Usual{"tree", "logarithmic depth"};
    case Collective::reduce: return host ? Usual{"direct", "one host: one hop"} : Usual{"tree", "logarithmic depth"};
    case Collective::scan:
    case Collective::exscan:
      if (bytes > kNetDoublingUntil) return {"ring", "large: one pass over the data"};
      return host ? Usual{"direct", "one host: one hop"} : Usual{"doubling", "logarithmic depth"};
    case Collective::barrier: return {"doubling", "fewest messages"};
    default: return {"direct", "each block travels once"};
  }
}

Usual usual_on_device(Collective collective, uint64_t bytes, int size) {
  switch (collective) {
    case Collective::all_reduce:
      if (bytes * static_cast<uint64_t>(size - 1) <= kStampedUntil) return {"exchange", "small, on devices: one hop"};
      return {"direct", "devices close together: two hops"};
    case Collective::barrier: return {"doubling", "fewest messages"};
    default: return {"direct", "devices close together: one hop"};
  }
}

}  // namespace tutti

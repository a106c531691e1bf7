// Which algorithm serves a call: a pure function of the call's kind and of what all ranks know, so all choose alike.
//
// One ladder.  The first rung that has something to say decides:
//
//   1. deterministic    TUTTI_DETERMINISTIC: rank order, if the collective has a plan or a flat exchange that keeps it
//   2. option           of the call
//   3. TUTTI_ALGORITHM  its first rule that fits and names an algorithm that serves the call
//   4. tuning file      its first line that fits and names an algorithm that serves the call
//   5. lent memory      direct, if all ranks' buffers are of tutti_alloc: then nothing is copied
//   6. codec            the best plan that can carry it
//   7. flat             the flat exchange, where it serves
//   8. table            the algorithm that is predicted to be fastest; fixed sizes where nothing is predicted
//
// No rung from 4 on takes an algorithm that TUTTI_ALGORITHM excludes.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "pool_shape.h"
#include "route_terms.h"
#include "status.h"
#include "vocabulary.h"

namespace tutti {

// A call's data as a codec packs them.
struct Packed {
  uint64_t bytes = 0;                             // all packets of the tensor
  uint64_t chunks = 0;                            // of the tensor
  size_t packet_bytes = 0;                        // of a whole chunk
  size_t chunk_bytes = 0;                         // of the tensor's elements
  std::string_view codec;                         // its text, for messages
  std::function<uint32_t(uint8_t)> widest_run{};  // of the plans of algorithms()[i] (Plan::widest_run)
};

struct CallKind {
  Collective collective = Collective::barrier;
  uint64_t bytes = 0;              // of the call's whole data; of all packets, if there is a codec
  std::string_view wanted = {};    // the call's option; "": none
  bool rounds_once = false;        // no partial sum may be rounded, which doubles the messages of plans that make some
  bool all_lent = false;           // all ranks' buffers are of tutti_alloc, see asks_whether_lent
  bool custom = false;             // the caller's own reduction
  const Packed* packed = nullptr;  // null: no codec
};

struct Route {
  uint8_t algorithm = kFlat;  // index into algorithms(), or kFlat
  std::string_view name = "flat";
  std::string reason;
  double seconds = 0;  // predicted; 0: it was not
  Cut wish{0, 0};      // of a tuning file; 0: none
  std::optional<DeviceProtocol> protocol;  // on a device, where somebody has said which
};

Result<Route> route(const RouteTerms& terms, const CallKind& call);

// The same for kernels of a device, which know plans only: kFlat where a user has asked for that.
Result<Route> route_on_device(const RouteTerms& terms, const CallKind& call);

// Should ranks that can lend memory at all ask each other whether all their buffers can be lent?  Only if the answer
// can change the route.
bool asks_whether_lent(const RouteTerms& terms, const CallKind& call);

// The flat exchange can carry such a call out.
bool flat_serves(const RouteTerms& terms, Collective collective, uint64_t bytes);

std::string in_words(double seconds);  // "12.3 µs"

}  // namespace tutti

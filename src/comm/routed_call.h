// A kind of call and where it leads: what calls that differ in nothing but their buffers have in common.
#pragma once

#include <cstdint>
#include <string>

#include "call.h"
#include "plan_operation.h"
#include "route.h"

namespace tutti {

struct RoutedCall {
  Collective collective = Collective::point_to_point;
  DataType type = DataType::uint8;
  ReduceOp op = ReduceOp::sum;
  bool on_device = false;
  size_t count = 0;
  uint64_t bytes = 0;  // of the whole data
  std::string wanted;  // the caller's option
  Route route;
  Arithmetic arithmetic;    // but for its output_store
  uint32_t flat_kind = 0;   // hash of its signature, for flat exchanges
  bool predictable = true;  // its time is what was predicted for its kind

  bool is_flat() const { return route.algorithm == kFlat; }
  // The same kind of call without options: all that a blocking call of little data asks.
  bool repeats(const Call& call) const {
    return count == call.count && collective == call.collective && type == call.type && op == call.op &&
           on_device == call.on_device && wanted.empty();
  }
};

}  // namespace tutti

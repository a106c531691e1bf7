// A short text for the bits of many all-reduces of real values; with TUTTI_DETERMINISTIC=1 it depends on the number of
// ranks alone.
#pragma once

#include <tutti/tutti.h>

#include <string>

#include "arena.h"
#include "test_call.h"

namespace tutti::test {

// Collective.  Every rank gets the same text; "failed: …" if a call failed.
inline std::string reduction_digest(tutti_comm* comm) {
  uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  Call call;
  call.size = tutti_comm_size(comm);
  call.values = Values::real;
  for (const tutti_dtype dtype : {TUTTI_FLOAT16, TUTTI_BFLOAT16, TUTTI_FLOAT32, TUTTI_FLOAT64}) {
    for (const tutti_op op : {TUTTI_SUM, TUTTI_PROD, TUTTI_AVG}) {
      for (const size_t count : {size_t{1}, size_t{1'001}, size_t{50'003}}) {
        call.dtype = dtype;
        call.op = op;
        call.count = count;
        ++call.seed;
        Arena arena(call, tutti_comm_rank(comm), make_input(call, tutti_comm_rank(comm)));
        if (arena.perform(comm) != TUTTI_SUCCESS) return std::string("failed: ") + tutti_last_error(comm);
        for (const std::byte byte : arena.output()) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001B3u;
      }
    }
  }
  return std::to_string(hash);
}

}  // namespace tutti::test

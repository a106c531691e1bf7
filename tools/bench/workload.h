// The needs and the work of each collective: how many elements go in and out, how it is called, and what must come out.
// The arithmetic of sizes and bandwidths is that of nccl-tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tutti/tutti.h"

namespace tutti::bench {

enum class Kind {
  all_reduce,
  reduce_scatter,
  all_gather,
  broadcast,
  reduce,
  gather,
  scatter,
  all_to_all,
  scan,
  exscan,
  barrier,
  send_recv
};

std::span<const std::string_view> kind_names();  // in the order of Kind
std::string_view name(Kind kind);
std::optional<Kind> kind_named(std::string_view text);  // also "allreduce", "all-reduce", "sendrecv"

bool reduces(Kind kind);  // has an operator
bool rooted(Kind kind);   // has a root
// Operator and type are defined for the collective, or it has none.
bool may_be_called(Kind kind, tutti_op op, tutti_dtype type);
bool has_in_place(Kind kind);
// busbw / algbw for this many ranks: what share of the data each rank's link must carry.
double bus_factor(Kind kind, int ranks);

// One call of one collective: everything that its buffers and its result depend on.
struct Workload {
  Kind kind;
  tutti_dtype type;
  tutti_op op;      // unused where nothing is reduced
  int root;         // -1 where there is none
  int rank, ranks;  // this rank
  size_t count;     // the call's argument, elements

  // `bytes` is what the user asked for; `count` becomes what fits, at least 1 (barrier: 0).
  static Workload of(Kind kind, uint64_t bytes, tutti_dtype type, tutti_op op, int root, int rank, int ranks);
  size_t bytes() const;            // the size that the table shows
  size_t input_elements() const;   // that a rank with an input reads; 0 for a barrier
  size_t output_elements() const;  // that a rank with an output writes
  size_t buffer_bytes() const;     // of a slot that holds input and output, whichever rank's and however placed
};

// Where one call's data is.  Out of place: input, then output in one slot of memory.  In place: they overlap as the
// collective defines.
struct Placed {
  std::byte* input;   // nullptr where this rank has none
  std::byte* output;  // nullptr where this rank has none
};
Placed place(const Workload& work, std::byte* slot, bool in_place);

// A run of the output and whose input it must equal: elements [start, start + elements) of rank `from`; -n: of the
// reduction over the first n ranks.
struct Expected {
  size_t output_offset;
  size_t elements;
  int from;
  size_t start;
};
std::vector<Expected> expected_output(const Workload& work);  // of this rank

tutti_status call(tutti_comm* comm, const Workload& work, const Placed& data, const tutti_call_options* options);

}  // namespace tutti::bench

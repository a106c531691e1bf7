// A collective call as data: what every rank of a group asks for, its inputs made from a seed, and its outputs by a
// plain reference.
#pragma once

#include <tutti/tutti.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tutti::test {

enum class Kind : uint8_t {
  all_reduce,
  reduce_scatter,
  reduce_scatter_v,
  all_gather,
  all_gather_v,
  broadcast,
  reduce,
  gather,
  gather_v,
  scatter,
  scatter_v,
  all_to_all,
  all_to_all_v,
  scan,
  exscan,
  barrier,
  shift,  // a group of one send to rank + root and one receive from rank - root
};
inline constexpr int kKinds = 17;
std::string_view name(Kind kind);

enum class Values : uint8_t {
  exact,  // small integers, so chosen that no order of reducing them rounds; moved data is random bits
  real,   // random reals; integers are random bits, so sums and products wrap
};

struct Call {
  Kind kind = Kind::all_reduce;
  tutti_dtype dtype = TUTTI_FLOAT32;
  tutti_op op = TUTTI_SUM;
  int size = 1;  // ranks
  int root = 0;
  size_t count = 0;
  std::string algorithm;  // "": the library chooses
  bool in_place = false;
  bool scaled = false;  // each rank gives a factor of its own, some none
  bool parts = false;   // some ranks call the form with parts at places of their own
  Values values = Values::exact;
  uint64_t seed = 0;  // of the inputs, and of the uneven counts of v-variants
};

using Bytes = std::vector<std::byte>;

// The tests' own reduction: items of three elements, of which the first is summed, of the second the least is taken and
// of the third the greatest.  Null for calls of other operators.
inline constexpr size_t kWidth = 3;
const tutti_reduction* reduction_of(const Call& call);
size_t width_of(const Call& call);  // every count is a multiple of this

bool is_v(Kind kind);  // each rank has another count, equal on all ranks
bool is_scan(Kind kind);
bool is_reduction(Kind kind);
// The operator of this number, another one where it is not defined for the type or the kind.
tutti_op op_for(Kind kind, tutti_dtype dtype, int number);
bool has_root(Kind kind);
// Sums and averages of floats by calls of the kind may have a factor.
bool allows_factor(const Call& call);
// Of this rank; 1: none.
double factor_of(const Call& call, int rank);
bool allows_in_place(Kind kind);
bool has_parts(Kind kind);  // there is such a form; of all_reduce the one of a list of tensors
bool uses_parts(const Call& call, int rank);
std::string describe(const Call& call);  // one line that is enough to run the case again

// Elements that rank r gives or gets in a v-variant (0 for about one in four ranks); call.count for the others.
size_t count_of(const Call& call, int rank);
// Elements before those of `rank` when the ranks' parts lie one after the other.
size_t offset_of(const Call& call, int rank);

// all_to_all_v: elements from src to dst, and where they lie in the buffer of `rank`: parts in descending order of the
// other rank, with one unused element between neighbours.
size_t pair_count(const Call& call, int src, int dst);
std::vector<size_t> send_counts(const Call& call, int rank);
std::vector<size_t> recv_counts(const Call& call, int rank);
std::vector<size_t> gapped_offsets(const std::vector<size_t>& counts);

// Elements of the input and output buffers of `rank`; 0 where the rank has none.
size_t input_elements(const Call& call, int rank);
size_t output_elements(const Call& call, int rank);

Bytes make_input(const Call& call, int rank);
std::vector<Bytes> make_inputs(const Call& call);

// The content of outputs before the call, and afterwards in the gaps of all_to_all_v.
inline constexpr std::byte kUntouched{0xC3};

// The output of `rank` given all inputs; reductions of real values are computed in double and rounded once.
Bytes expected_output(const Call& call, int rank, const std::vector<Bytes>& inputs);

// "" if `output` of `rank` is right, else where and how it differs.  Bits are compared, except after reductions of real
// values of floating point types, where a bound of the rounding error of any order of reducing is allowed.
std::string difference(const Call& call, int rank, const std::vector<Bytes>& inputs, const std::byte* output,
                       const Bytes& expected);

// A counter-based generator: the same words for the same arguments everywhere.
uint64_t random_word(uint64_t seed, uint64_t stream, uint64_t index);

}  // namespace tutti::test

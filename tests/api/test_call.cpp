#include "test_call.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <sstream>

#include "element_types.h"

namespace tutti::test {

std::string_view name(Kind kind) {
  static constexpr std::string_view kNames[] = {"all_reduce", "reduce_scatter", "reduce_scatter_v", "all_gather", "all_gather_v",
                                                "broadcast",  "reduce",         "gather",           "gather_v",   "scatter",
                                                "scatter_v",  "all_to_all",     "all_to_all_v",     "scan",       "exscan",
                                                "barrier",    "shift"};
  static_assert(std::size(kNames) == kKinds);
  return kNames[static_cast<size_t>(kind)];
}

bool is_v(Kind kind) {
  return kind == Kind::reduce_scatter_v || kind == Kind::all_gather_v || kind == Kind::gather_v || kind == Kind::scatter_v;
}

bool is_scan(Kind kind) { return kind == Kind::scan || kind == Kind::exscan; }

bool is_reduction(Kind kind) {
  return kind == Kind::all_reduce || kind == Kind::reduce_scatter || kind == Kind::reduce_scatter_v || kind == Kind::reduce ||
         is_scan(kind);
}

tutti_op op_for(Kind kind, tutti_dtype dtype, int number) {
  const auto op = static_cast<tutti_op>(is_real_dtype(dtype) && number < TUTTI_CUSTOM ? number % TUTTI_BAND : number);
  return is_scan(kind) && op == TUTTI_AVG ? TUTTI_SUM : op;
}

bool allows_factor(const Call& call) {
  return is_reduction(call.kind) && is_real_dtype(call.dtype) && (call.op == TUTTI_SUM || call.op == TUTTI_AVG);
}

// Sums of exact values stay exact.
double factor_of(const Call& call, int rank) {
  static constexpr double kFactors[] = {1, 2, 0.5, -1};
  return call.scaled ? kFactors[(call.seed + static_cast<uint64_t>(rank)) % std::size(kFactors)] : 1;
}

size_t width_of(const Call& call) { return call.op == TUTTI_CUSTOM && is_reduction(call.kind) ? kWidth : 1; }

bool has_root(Kind kind) {
  switch (kind) {
    case Kind::broadcast:
    case Kind::reduce:
    case Kind::gather:
    case Kind::gather_v:
    case Kind::scatter:
    case Kind::scatter_v:
    case Kind::shift: return true;
    default: return false;
  }
}

bool allows_in_place(Kind kind) { return kind < Kind::barrier; }

bool has_parts(Kind kind) { return is_v(kind) || kind == Kind::all_to_all_v || kind == Kind::all_reduce; }

bool uses_parts(const Call& call, int rank) {
  return call.parts && has_parts(call.kind) && (call.seed + static_cast<uint64_t>(rank)) % 4 != 0 &&
         !(call.in_place && call.kind == Kind::all_to_all_v);
}

std::string describe(const Call& call) {
  static constexpr const char* kTypes[] = {"int8",    "uint8",    "int32",   "uint32",  "int64", "uint64",
                                           "float16", "bfloat16", "float32", "float64", "int16", "uint16"};
  static constexpr const char* kOps[] = {"sum", "prod", "min", "max", "avg", "band", "bor", "bxor", "custom"};
  std::ostringstream out;
  out << name(call.kind) << " of " << call.count << " " << kTypes[call.dtype];
  if (is_reduction(call.kind)) out << " " << kOps[call.op];
  if (has_root(call.kind)) out << ", root " << call.root;
  out << ", " << call.size << " ranks, algorithm " << (call.algorithm.empty() ? "default" : call.algorithm)
      << (call.in_place ? ", in place" : ", out of place") << (call.scaled ? ", scaled" : "") << (call.parts ? ", in parts" : "")
      << (call.values == Values::exact ? ", exact" : ", real") << " values, seed " << call.seed;
  return out.str();
}

// Splitmix64 (Steele, Lea, Flood 2014) of a mixed counter.
uint64_t random_word(uint64_t seed, uint64_t stream, uint64_t index) {
  uint64_t z = (seed * 0x9E3779B97F4A7C15u) ^ (stream * 0xD1B54A32D192ED03u) ^ (index * 0x8CB92BA72F3D8DD7u);
  z += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

namespace {
constexpr uint64_t kCountStream = 1'000'000;  // apart from the streams of inputs, which are ranks

size_t uneven(const Call& call, uint64_t index) {
  const uint64_t word = random_word(call.seed, kCountStream, index);
  const auto count = static_cast<size_t>((word >> 8) % (2 * call.count + 1));
  return word % 4 == 0 ? 0 : count - count % width_of(call);
}

}  // namespace

size_t count_of(const Call& call, int rank) { return is_v(call.kind) ? uneven(call, static_cast<uint64_t>(rank)) : call.count; }

size_t offset_of(const Call& call, int rank) {
  size_t offset = 0;
  for (int r = 0; r < rank; ++r) offset += count_of(call, r);
  return offset;
}

size_t pair_count(const Call& call, int src, int dst) {
  if (call.in_place && src > dst) std::swap(src, dst);  // as many to a rank as from it
  return uneven(call, static_cast<uint64_t>(src) * static_cast<uint64_t>(call.size) + static_cast<uint64_t>(dst));
}

std::vector<size_t> send_counts(const Call& call, int rank) {
  std::vector<size_t> counts;
  for (int peer = 0; peer < call.size; ++peer) counts.push_back(pair_count(call, rank, peer));
  return counts;
}

std::vector<size_t> recv_counts(const Call& call, int rank) {
  std::vector<size_t> counts;
  for (int peer = 0; peer < call.size; ++peer) counts.push_back(pair_count(call, peer, rank));
  return counts;
}

std::vector<size_t> gapped_offsets(const std::vector<size_t>& counts) {
  std::vector<size_t> offsets(counts.size());
  size_t offset = 0;
  for (size_t i = counts.size(); i-- > 0;) {
    offsets[i] = offset;
    offset += counts[i] + 1;
  }
  return offsets;
}

namespace {
size_t gapped_total(const std::vector<size_t>& counts) { return std::accumulate(counts.begin(), counts.end(), counts.size()); }

int shifted(const Call& call, int rank, int by) { return (rank + by % call.size + call.size) % call.size; }
}  // namespace

size_t input_elements(const Call& call, int rank) {
  switch (call.kind) {
    case Kind::reduce_scatter:
    case Kind::reduce_scatter_v: return offset_of(call, call.size);
    case Kind::broadcast: return rank == call.root ? call.count : 0;
    case Kind::scatter:
    case Kind::scatter_v: return rank == call.root ? offset_of(call, call.size) : 0;
    case Kind::all_to_all: return offset_of(call, call.size);
    case Kind::all_to_all_v: return gapped_total(send_counts(call, rank));
    case Kind::barrier: return 0;
    default: return count_of(call, rank);
  }
}

size_t output_elements(const Call& call, int rank) {
  switch (call.kind) {
    case Kind::all_gather:
    case Kind::all_gather_v:
    case Kind::all_to_all: return offset_of(call, call.size);
    case Kind::reduce: return rank == call.root ? call.count : 0;
    case Kind::gather:
    case Kind::gather_v: return rank == call.root ? offset_of(call, call.size) : 0;
    case Kind::exscan: return rank > 0 ? call.count : 0;
    case Kind::all_to_all_v: return gapped_total(recv_counts(call, rank));
    case Kind::barrier: return 0;
    default: return count_of(call, rank);
  }
}

// ---- inputs ----

namespace {

// Small enough that sums and products of eight ranks are exact in every type (bfloat16 holds all integers up to 256).
int exact_value(uint64_t word, tutti_op op, bool has_sign) {
  if (op == TUTTI_PROD) return word % 4 == 0 ? 2 : (word % 4 == 1 && has_sign ? -1 : 1);
  const int range = op == TUTTI_MIN || op == TUTTI_MAX ? 100 : 7;
  return static_cast<int>(word % static_cast<uint64_t>(2 * range + 1)) - (has_sign ? range : 0);
}

double real_value(uint64_t word, tutti_op op) {
  const double unit = static_cast<double>(word >> 11) * 0x1p-53;
  return op == TUTTI_PROD ? 0.5 + unit : 2 * unit - 1;
}

template <class T>
T make_element(const Call& call, uint64_t word) {
  if (!is_reduction(call.kind)) return load<T>(reinterpret_cast<const std::byte*>(&word));
  if (call.values == Values::exact) {
    return narrow<T>(exact_value(word, call.op, is_real<T> || std::is_signed_v<T>));
  }
  if constexpr (is_real<T>) {
    return narrow<T>(real_value(word, call.op));
  } else {
    // The average of integers is defined by their wrapped sum; dividing here keeps the sum from wrapping at all.
    const auto bits = static_cast<T>(word);
    return call.op == TUTTI_AVG ? static_cast<T>(bits / 16) : bits;
  }
}

}  // namespace

Bytes make_input(const Call& call, int rank) {
  return visit_dtype(call.dtype, [&](auto tag) {
    using T = decltype(tag);
    const size_t n = input_elements(call, rank);
    Bytes bytes(n * sizeof(T));
    for (size_t i = 0; i < n; ++i) {
      store(bytes.data() + i * sizeof(T), make_element<T>(call, random_word(call.seed, static_cast<uint64_t>(rank), i)));
    }
    return bytes;
  });
}

std::vector<Bytes> make_inputs(const Call& call) {
  std::vector<Bytes> inputs;
  for (int rank = 0; rank < call.size; ++rank) inputs.push_back(make_input(call, rank));
  return inputs;
}

// ---- outputs ----

namespace {

// Of the i-th element.
tutti_op op_of(const Call& call, size_t i) {
  static constexpr tutti_op kOfItem[kWidth] = {TUTTI_SUM, TUTTI_MIN, TUTTI_MAX};
  return call.op == TUTTI_CUSTOM ? kOfItem[i % kWidth] : call.op;
}

template <class T>
T reduce_integers(tutti_op op, const std::vector<Bytes>& inputs, size_t i) {
  T result = load<T>(inputs[0].data() + i * sizeof(T));
  for (size_t rank = 1; rank < inputs.size(); ++rank) {
    const T value = load<T>(inputs[rank].data() + i * sizeof(T));
    switch (op) {
      case TUTTI_PROD: result = static_cast<T>(static_cast<uint64_t>(result) * static_cast<uint64_t>(value)); break;
      case TUTTI_MIN: result = std::min(result, value); break;
      case TUTTI_MAX: result = std::max(result, value); break;
      case TUTTI_BAND: result = static_cast<T>(result & value); break;
      case TUTTI_BOR: result = static_cast<T>(result | value); break;
      case TUTTI_BXOR: result = static_cast<T>(result ^ value); break;
      default: result = static_cast<T>(static_cast<uint64_t>(result) + static_cast<uint64_t>(value)); break;
    }
  }
  // Through 64 bits of the same sign: the number of ranks fits, and the quotient is no larger than the sum.
  using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
  return op == TUTTI_AVG ? static_cast<T>(static_cast<Wide>(result) / static_cast<Wide>(inputs.size())) : result;
}

template <class T>
T reduce_reals(tutti_op op, const std::vector<Bytes>& inputs, size_t i) {
  double result = widen(load<T>(inputs[0].data() + i * sizeof(T)));
  for (size_t rank = 1; rank < inputs.size(); ++rank) {
    const double value = widen(load<T>(inputs[rank].data() + i * sizeof(T)));
    switch (op) {
      case TUTTI_PROD: result *= value; break;
      case TUTTI_MIN: result = std::min(result, value); break;
      case TUTTI_MAX: result = std::max(result, value); break;
      default: result += value; break;
    }
  }
  if (op != TUTTI_AVG) return narrow<T>(result);
  const auto ranks = static_cast<double>(inputs.size());
  if constexpr (is_float16<T>) {  // the header: reduced in float32, then rounded
    return narrow<T>(static_cast<float>(result) / static_cast<float>(ranks));
  } else {
    return static_cast<T>(static_cast<T>(result) / static_cast<T>(ranks));
  }
}

Bytes reduced(const Call& call, const std::vector<Bytes>& inputs, size_t first, size_t count) {
  return visit_dtype(call.dtype, [&](auto tag) {
    using T = decltype(tag);
    Bytes output(count * sizeof(T));
    for (size_t i = 0; i < count; ++i) {
      std::byte* to = output.data() + i * sizeof(T);
      if constexpr (is_real<T>) {
        store(to, reduce_reals<T>(op_of(call, first + i), inputs, first + i));
      } else {
        store(to, reduce_integers<T>(op_of(call, first + i), inputs, first + i));
      }
    }
    return output;
  });
}

// What reaches the reduction.
std::vector<Bytes> scaled(const Call& call, std::vector<Bytes> inputs) {
  visit_dtype(call.dtype, [&](auto tag) {
    using T = decltype(tag);
    for (size_t rank = 0; rank < inputs.size(); ++rank)
      for (size_t i = 0; i < inputs[rank].size() / sizeof(T); ++i) {
        std::byte* at = inputs[rank].data() + i * sizeof(T);
        store(at, narrow<T>(widen(load<T>(at)) * factor_of(call, static_cast<int>(rank))));
      }
  });
  return inputs;
}

// Those that the result of `rank` is made of.
std::vector<Bytes> reduced_inputs(const Call& call, int rank, const std::vector<Bytes>& inputs) {
  const size_t ranks = call.kind == Kind::scan     ? static_cast<size_t>(rank) + 1
                       : call.kind == Kind::exscan ? static_cast<size_t>(rank)
                                                   : inputs.size();
  return {inputs.begin(), inputs.begin() + static_cast<ptrdiff_t>(ranks)};
}

void append(Bytes& to, const Bytes& from, size_t offset, size_t bytes) {
  const auto first = from.begin() + static_cast<ptrdiff_t>(offset);
  to.insert(to.end(), first, first + static_cast<ptrdiff_t>(bytes));
}

Bytes exchanged_unevenly(const Call& call, int rank, const std::vector<Bytes>& inputs) {
  const size_t unit = element_bytes(call.dtype);
  Bytes output(output_elements(call, rank) * unit, kUntouched);
  if (call.in_place) output = inputs[static_cast<size_t>(rank)];
  const std::vector<size_t> offsets = gapped_offsets(recv_counts(call, rank));
  for (int src = 0; src < call.size; ++src) {
    const size_t from = gapped_offsets(send_counts(call, src))[static_cast<size_t>(rank)];
    std::copy_n(inputs[static_cast<size_t>(src)].begin() + static_cast<ptrdiff_t>(from * unit), pair_count(call, src, rank) * unit,
                output.begin() + static_cast<ptrdiff_t>(offsets[static_cast<size_t>(src)] * unit));
  }
  return output;
}

}  // namespace

Bytes expected_output(const Call& call, int rank, const std::vector<Bytes>& inputs) {
  if (call.scaled) {
    Call plain = call;
    plain.scaled = false;
    return expected_output(plain, rank, scaled(call, inputs));
  }
  const size_t unit = element_bytes(call.dtype);
  const auto root = static_cast<size_t>(call.root);
  Bytes output;
  switch (call.kind) {
    case Kind::all_reduce: return reduced(call, inputs, 0, call.count);
    case Kind::reduce_scatter:
    case Kind::reduce_scatter_v: return reduced(call, inputs, offset_of(call, rank), count_of(call, rank));
    case Kind::reduce: return rank == call.root ? reduced(call, inputs, 0, call.count) : output;
    case Kind::scan:
    case Kind::exscan: {
      const std::vector<Bytes> first = reduced_inputs(call, rank, inputs);
      return first.empty() ? output : reduced(call, first, 0, call.count);
    }
    case Kind::broadcast: return inputs[root];
    case Kind::all_gather:
    case Kind::all_gather_v:
    case Kind::gather:
    case Kind::gather_v:
      if (!has_root(call.kind) || rank == call.root) {
        for (const Bytes& input : inputs) append(output, input, 0, input.size());
      }
      return output;
    case Kind::scatter:
    case Kind::scatter_v: append(output, inputs[root], offset_of(call, rank) * unit, count_of(call, rank) * unit); return output;
    case Kind::all_to_all:
      for (const Bytes& input : inputs) append(output, input, offset_of(call, rank) * unit, call.count * unit);
      return output;
    case Kind::all_to_all_v: return exchanged_unevenly(call, rank, inputs);
    case Kind::shift: return inputs[static_cast<size_t>(shifted(call, rank, -call.root))];
    case Kind::barrier: break;
  }
  return output;
}

// ---- comparison ----

namespace {

// How far a reduction of the i-th elements may be from the double result, whatever its order: every partial result is
// at most the sum of sizes (for products of values below 1.5: the product of sizes), and each of p roundings costs a
// unit of it.
template <class T>
double tolerance(const Call& call, const std::vector<Bytes>& inputs, size_t i) {
  if (op_of(call, i) == TUTTI_MIN || op_of(call, i) == TUTTI_MAX) return 0;
  const auto ranks = static_cast<double>(inputs.size());
  double sum = 0, product = 1;
  for (const Bytes& input : inputs) {
    const double size = std::fabs(widen(load<T>(input.data() + i * sizeof(T))));
    sum += size;
    product *= size;
  }
  const double scale = call.op == TUTTI_PROD ? product : (call.op == TUTTI_AVG ? sum / ranks : sum);
  constexpr double kSmallestHalf = 0x1p-24;  // roundings of subnormal halves are absolute
  return (ranks + 2) * (unit_roundoff<T>() * scale * 1.1 + (std::is_same_v<T, Half> ? kSmallestHalf : 0));
}

std::string report(size_t element, const std::string& got, const std::string& expected) {
  return "element " + std::to_string(element) + " is " + got + " instead of " + expected;
}

template <class T>
std::string text_of(const std::byte* at) {
  std::ostringstream out;
  out.precision(17);
  if constexpr (is_real<T>) {
    out << widen(load<T>(at));
  } else {
    out << +load<T>(at);
  }
  return out.str();
}

}  // namespace

std::string difference(const Call& call, int rank, const std::vector<Bytes>& inputs, const std::byte* output,
                       const Bytes& expected) {
  if (expected.empty() || std::memcmp(output, expected.data(), expected.size()) == 0) return "";
  const std::vector<Bytes> used = reduced_inputs(call, rank, inputs);
  return visit_dtype(call.dtype, [&](auto tag) -> std::string {
    using T = decltype(tag);
    const bool rounded = is_real<T> && is_reduction(call.kind) && call.values == Values::real;
    const bool scattered = call.kind == Kind::reduce_scatter || call.kind == Kind::reduce_scatter_v;
    const size_t first = scattered ? offset_of(call, rank) : 0;
    for (size_t i = 0; i < expected.size() / sizeof(T); ++i) {
      const std::byte* got = output + i * sizeof(T);
      const std::byte* wanted = expected.data() + i * sizeof(T);
      if (std::memcmp(got, wanted, sizeof(T)) == 0) continue;
      // Factors of at most 2.
      const double allowed = (call.scaled ? 2 : 1) * (rounded ? tolerance<T>(call, used, first + i) : 0);
      if (rounded && std::fabs(widen(load<T>(got)) - widen(load<T>(wanted))) <= allowed) continue;
      return report(i, text_of<T>(got), text_of<T>(wanted));
    }
    return "";
  });
}

// ---- the caller's own reduction ----

namespace {

void combine_items(const void* left, const void* right, void* result, size_t count, void* context) {
  visit_dtype(*static_cast<const tutti_dtype*>(context), [&](auto tag) {
    using T = decltype(tag);
    const auto at = [](const void* items, size_t i) { return load<T>(static_cast<const std::byte*>(items) + i * sizeof(T)); };
    for (size_t i = 0; i < count * kWidth; ++i) {
      const T a = at(left, i), b = at(right, i);
      const auto is_less = [](T x, T y) {
        if constexpr (is_float16<T>) {
          return x.widen() < y.widen();
        } else {
          return x < y;
        }
      };
      T combined = is_less(a, b) == (i % kWidth == 1) ? a : b;
      if (i % kWidth == 0) {
        if constexpr (is_real<T>) {
          combined = narrow<T>(widen(a) + widen(b));
        } else {
          combined = static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
        }
      }
      store(static_cast<std::byte*>(result) + i * sizeof(T), combined);
    }
  });
}

}  // namespace

const tutti_reduction* reduction_of(const Call& call) {
  static tutti_dtype types[] = {TUTTI_INT8,    TUTTI_UINT8,    TUTTI_INT32,   TUTTI_UINT32,  TUTTI_INT64, TUTTI_UINT64,
                                TUTTI_FLOAT16, TUTTI_BFLOAT16, TUTTI_FLOAT32, TUTTI_FLOAT64, TUTTI_INT16, TUTTI_UINT16};
  static const std::vector<tutti_reduction> reductions = [] {
    std::vector<tutti_reduction> all;
    for (tutti_dtype& type : types) all.push_back({combine_items, &type, kWidth});
    return all;
  }();
  return width_of(call) > 1 ? &reductions[call.dtype] : nullptr;
}

}  // namespace tutti::test

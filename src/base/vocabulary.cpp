#include "vocabulary.h"

#include <array>

namespace tutti {
namespace {

struct TypeRow {
  std::string_view name, short_name;
  size_t size;
};
constexpr std::array<TypeRow, kDataTypes> kTypes{{{"int8", "char", 1},
                                                  {"uint8", "uchar", 1},
                                                  {"int32", "int", 4},
                                                  {"uint32", "uint", 4},
                                                  {"int64", "long", 8},
                                                  {"uint64", "ulong", 8},
                                                  {"float16", "half", 2},
                                                  {"bfloat16", "bf16", 2},
                                                  {"float32", "float", 4},
                                                  {"float64", "double", 8},
                                                  {"int16", "short", 2},
                                                  {"uint16", "ushort", 2}}};
constexpr std::array<std::string_view, kReduceOps> kOps{"sum", "prod", "min", "max", "avg", "band", "bor", "bxor", "custom"};
constexpr std::array<std::string_view, kCollectives> kCollectiveNames{
    "all_reduce", "reduce_scatter", "all_gather", "broadcast", "reduce",  "gather",
    "scatter",    "all_to_all",     "scan",       "exscan",    "barrier", "point_to_point"};

template <class Names>
std::optional<size_t> index_of(const Names& names, std::string_view text) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == text) return i;
  return std::nullopt;
}

}  // namespace

size_t element_size(DataType type) { return kTypes[static_cast<size_t>(type)].size; }
std::string_view name(DataType type) { return kTypes[static_cast<size_t>(type)].name; }
std::string_view name(ReduceOp op) { return kOps[static_cast<size_t>(op)]; }

bool is_float(DataType type) {
  return type == DataType::float16 || type == DataType::bfloat16 || type == DataType::float32 || type == DataType::float64;
}

bool is_defined(ReduceOp op, DataType type) {
  const bool on_bits = op == ReduceOp::band || op == ReduceOp::bor || op == ReduceOp::bxor;
  return op != ReduceOp::custom && (!on_bits || !is_float(type));
}

std::string_view name(Collective collective) { return kCollectiveNames[static_cast<size_t>(collective)]; }

std::optional<DataType> data_type_named(std::string_view text) {
  for (size_t i = 0; i < kTypes.size(); ++i)
    if (kTypes[i].name == text || kTypes[i].short_name == text) return static_cast<DataType>(i);
  return std::nullopt;
}

std::optional<ReduceOp> reduce_op_named(std::string_view text) {
  const auto i = index_of(kOps, text);
  return i ? std::optional(static_cast<ReduceOp>(*i)) : std::nullopt;
}

std::optional<Collective> collective_named(std::string_view text) {
  const auto i = index_of(kCollectiveNames, text);
  return i ? std::optional(static_cast<Collective>(*i)) : std::nullopt;
}

bool same_call(Signature a, Signature b) {
  if (a.algorithm == kQuestion || b.algorithm == kQuestion) a.algorithm = b.algorithm;
  if (a.algorithm == kSplitting && b.algorithm == kSplitting) {
    a.detail = b.detail;
    a.count = b.count;
  }
  return a == b;
}

std::string describe(const Signature& signature) {
  const auto type = static_cast<uint8_t>(signature.data_type & ~kOnDevice);
  const std::string where = type != signature.data_type ? " on devices" : "";
  if (signature.collective >= kCollectives || type >= kDataTypes || signature.op >= kReduceOps)
    return "an unreadable call";
  if (signature.algorithm == kMeasuring) return "measuring the machine at the bootstrap of the communicator";
  const auto collective = static_cast<Collective>(signature.collective);
  if (signature.algorithm == kSplitting) return "comm_split (call #" + std::to_string(signature.sequence) + ")";
  if (signature.algorithm == kGrouping) return "comm_create_group";
  std::string text(name(collective));
  if (collective != Collective::point_to_point) text += " #" + std::to_string(signature.sequence);
  if (collective == Collective::barrier) return text;
  text += " of " + std::to_string(signature.count) + " " + std::string(name(static_cast<DataType>(type))) + where;
  if (has_op(collective)) text += ", " + std::string(name(static_cast<ReduceOp>(signature.op)));
  if (collective == Collective::point_to_point) return signature.root > 0 ? text + ", tag " + std::to_string(signature.root) : text;
  if (signature.root >= 0) text += ", root " + std::to_string(signature.root);
  if (has_op(collective) && static_cast<ReduceOp>(signature.op) == ReduceOp::custom)
    text += " (items #" + std::to_string(signature.detail) + ")";
  else if (collective == Collective::all_reduce && signature.detail != 0)
    text += ", codec #" + std::to_string(signature.detail) + " (its settings and steps)";
  return text;
}

bool has_op(Collective collective) {
  switch (collective) {
    case Collective::all_reduce:
    case Collective::reduce_scatter:
    case Collective::reduce:
    case Collective::scan:
    case Collective::exscan: return true;
    default: return false;
  }
}

bool each_rank_has_a_part(Collective collective) {
  switch (collective) {
    case Collective::reduce_scatter:
    case Collective::all_gather:
    case Collective::gather:
    case Collective::scatter:
    case Collective::all_to_all: return true;
    default: return false;
  }
}

}  // namespace tutti

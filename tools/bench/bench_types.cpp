#include "bench_types.h"

#include "vocabulary.h"

namespace tutti::bench {

size_t type_size(tutti_dtype type) { return element_size(static_cast<DataType>(type)); }

std::string_view type_name(tutti_dtype type) {
  switch (type) {
    case TUTTI_FLOAT16: return "half";
    case TUTTI_FLOAT32: return "float";
    case TUTTI_FLOAT64: return "double";
    default: return name(static_cast<DataType>(type));
  }
}

std::string_view op_name(tutti_op op) { return name(static_cast<ReduceOp>(op)); }

std::optional<tutti_dtype> type_named(std::string_view text) {
  const auto type = data_type_named(text);
  return type ? std::optional(static_cast<tutti_dtype>(*type)) : std::nullopt;
}

std::optional<tutti_op> op_named(std::string_view text) {
  const auto op = reduce_op_named(text);
  return op && *op != ReduceOp::custom ? std::optional(static_cast<tutti_op>(*op)) : std::nullopt;
}

bool is_defined(tutti_op op, tutti_dtype type) { return tutti::is_defined(static_cast<ReduceOp>(op), static_cast<DataType>(type)); }

}  // namespace tutti::bench

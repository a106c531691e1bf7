// Data types and operators by the names that nccl-tests prints.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "tutti/tutti.h"

namespace tutti::bench {

inline constexpr std::array kAllTypes{TUTTI_INT8,  TUTTI_UINT8,  TUTTI_INT16,   TUTTI_UINT16,  TUTTI_INT32,   TUTTI_UINT32,
                                      TUTTI_INT64, TUTTI_UINT64, TUTTI_FLOAT16, TUTTI_FLOAT32, TUTTI_FLOAT64, TUTTI_BFLOAT16};
inline constexpr std::array kAllOps{TUTTI_SUM, TUTTI_PROD, TUTTI_MAX, TUTTI_MIN, TUTTI_AVG, TUTTI_BAND, TUTTI_BOR, TUTTI_BXOR};

size_t type_size(tutti_dtype type);
std::string_view type_name(tutti_dtype type);  // "half", "float", "double" …
std::string_view op_name(tutti_op op);
std::optional<tutti_dtype> type_named(std::string_view text);  // also "float16", "float32", "float64" …
std::optional<tutti_op> op_named(std::string_view text);
bool is_defined(tutti_op op, tutti_dtype type);

}  // namespace tutti::bench

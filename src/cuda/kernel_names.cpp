#include "image.h"

namespace tutti::cuda {
namespace {

// Of an integer without sign and as wide.
DataType without_sign(DataType type) {
  switch (type) {
    case DataType::int8: return DataType::uint8;
    case DataType::int16: return DataType::uint16;
    case DataType::int32: return DataType::uint32;
    case DataType::int64: return DataType::uint64;
    default: return type;
  }
}

// Whether the bits of a result depend on which bit is a sign.
bool minds_signs(ReduceOp op) { return op == ReduceOp::min || op == ReduceOp::max || op == ReduceOp::avg; }

std::string kernel_name(const char* kind, DataType type, ReduceOp op) {
  if (!is_defined(op, type)) return {};
  return std::string(kind) + "_" + std::string(name(minds_signs(op) ? type : without_sign(type))) + "_" + std::string(name(op));
}

}  // namespace

std::string fold_kernel_name(DataType type, ReduceOp op) { return kernel_name("fold", type, op); }
std::string interpreter_name(DataType type, ReduceOp op) { return kernel_name("interpret", type, op); }
std::string scale_kernel_name(DataType type) { return "scale_" + std::string(name(type)); }

}  // namespace tutti::cuda

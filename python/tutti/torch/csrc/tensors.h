// Tensors as Tutti takes them: contiguous memory of elements of its own types.
#pragma once

#include <ATen/ATen.h>
#include <ATen/MemoryOverlap.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <tutti/tutti.h>
#include <torch/csrc/distributed/c10d/Types.hpp>

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tutti_torch {

// One element of torch's is `each` elements of Tutti's.
struct Elements {
  tutti_dtype dtype;
  size_t each;
};

inline std::optional<Elements> elements_of(at::ScalarType type) {
  switch (type) {
    case at::kChar: return Elements{TUTTI_INT8, 1};
    case at::kByte: return Elements{TUTTI_UINT8, 1};
    case at::kShort: return Elements{TUTTI_INT16, 1};
    case at::kUInt16: return Elements{TUTTI_UINT16, 1};
    case at::kInt: return Elements{TUTTI_INT32, 1};
    case at::kUInt32: return Elements{TUTTI_UINT32, 1};
    case at::kLong: return Elements{TUTTI_INT64, 1};
    case at::kUInt64: return Elements{TUTTI_UINT64, 1};
    case at::kHalf: return Elements{TUTTI_FLOAT16, 1};
    case at::kBFloat16: return Elements{TUTTI_BFLOAT16, 1};
    case at::kFloat: return Elements{TUTTI_FLOAT32, 1};
    case at::kDouble: return Elements{TUTTI_FLOAT64, 1};
    case at::kComplexHalf: return Elements{TUTTI_FLOAT16, 2};
    case at::kComplexFloat: return Elements{TUTTI_FLOAT32, 2};
    case at::kComplexDouble: return Elements{TUTTI_FLOAT64, 2};
    default: return std::nullopt;
  }
}

// Where nothing is computed, elements of any type travel: bool, float8 … as their bytes.
inline Elements moved_elements(const at::Tensor& tensor) {
  return elements_of(tensor.scalar_type()).value_or(Elements{TUTTI_UINT8, static_cast<size_t>(tensor.element_size())});
}

inline size_t count_of(const at::Tensor& tensor, Elements elements) { return static_cast<size_t>(tensor.numel()) * elements.each; }

struct Reduction {
  Elements elements;
  tutti_op op;
  std::optional<double> factor;  // of ReduceOp.PREMUL_SUM
};

inline const char* name_of(c10d::ReduceOp::RedOpType op) {
  static constexpr const char* names[] = {"SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR", "PREMUL_SUM"};
  return op < std::size(names) ? names[op] : "unknown";
}

// Truth values are reduced as such: their sum is or, their product is and.  Complex numbers are pairs of real ones, so
// only what treats both parts alike can be computed.
inline Reduction reduction_of(at::ScalarType type, const c10d::ReduceOp& reduce_op) {
  using Op = c10d::ReduceOp;
  const Op::RedOpType op = reduce_op.op_;
  const bool truth = type == at::kBool;
  const auto elements = truth ? Elements{TUTTI_UINT8, 1} : elements_of(type);
  const bool possible = elements && !(truth && (op == Op::AVG || op == Op::PREMUL_SUM)) &&
                        (elements->each == 1 || op == Op::SUM || op == Op::AVG || op == Op::PREMUL_SUM);
  TORCH_CHECK_NOT_IMPLEMENTED(possible, "tutti has no reduction ", name_of(op), " of tensors of type ", type, ".");
  switch (op) {
    case Op::SUM: return {*elements, truth ? TUTTI_MAX : TUTTI_SUM, {}};
    case Op::AVG: return {*elements, TUTTI_AVG, {}};
    case Op::PRODUCT: return {*elements, truth ? TUTTI_MIN : TUTTI_PROD, {}};
    case Op::MIN: return {*elements, TUTTI_MIN, {}};
    case Op::MAX: return {*elements, TUTTI_MAX, {}};
    case Op::BAND: return {*elements, TUTTI_BAND, {}};
    case Op::BOR: return {*elements, TUTTI_BOR, {}};
    case Op::BXOR: return {*elements, TUTTI_BXOR, {}};
    case Op::PREMUL_SUM: {
      const auto* supplement = static_cast<const c10d::PreMulSumSupplement*>(reduce_op.supplement_.get());
      TORCH_CHECK_VALUE(supplement, "PREMUL_SUM without a factor; torch.distributed._make_nccl_premul_sum makes one.");
      const at::Tensor& tensor = supplement->tensor_factor;
      return {*elements, TUTTI_SUM, tensor.defined() ? tensor.item<double>() : supplement->double_factor};
    }
    default: TORCH_CHECK_VALUE(false, "no reduce operator has the number ", static_cast<int>(op), ".");
  }
}

// What one operation reads and writes.  Keeps all tensors as long as it lives.
class Operands {
 public:
  // Memory with the values of `tensor`: its own if it is contiguous, else of a copy.
  const void* read(const at::Tensor& tensor) {
    check(tensor);
    kept_.push_back(plain(tensor) ? tensor : copy(tensor));
    return kept_.back().const_data_ptr();
  }

  // Memory for the values of `tensor`: its own if it is contiguous, else of one whose values go to it after success.
  void* write(const at::Tensor& tensor) {
    check_output(tensor);
    if (plain(tensor)) {
      kept_.push_back(tensor);
      return tensor.data_ptr();
    }
    staged_.emplace_back(tensor, at::empty(tensor.sizes(), tensor.options()));
    return staged_.back().second.data_ptr();
  }

  void* read_write(const at::Tensor& tensor) {
    check_output(tensor);
    if (plain(tensor)) return write(tensor);
    staged_.emplace_back(tensor, copy(tensor));
    return staged_.back().second.data_ptr();
  }

  // Memory for a message that has as many elements as `tensor`.
  void* receive(const at::Tensor& tensor, Elements elements) {
    expected_ = count_of(tensor, elements);
    return write(tensor);
  }
  tutti_received* received() { return &received_; }
  int source() const { return received_.source; }

  bool staged() const { return !staged_.empty(); }

  // After success.
  void copy_back() {
    TORCH_CHECK_VALUE(!expected_ || *expected_ == received_.count, "the message of rank ", received_.source, " with tag ",
                      received_.tag, " has ", received_.count, " elements, the tensor that receives it ", *expected_, ".");
    const c10::InferenceMode any_tensor;  // also those that were made in this mode
    for (const auto& [tensor, values] : staged_) tensor.copy_(values);
  }

 private:
  static bool plain(const at::Tensor& tensor) { return tensor.is_contiguous() && !tensor.is_conj() && !tensor.is_neg(); }

  static at::Tensor copy(const at::Tensor& tensor) {
    const c10::NoGradGuard no_grad;
    return at::empty(tensor.sizes(), tensor.options()).copy_(tensor);
  }

  static void check(const at::Tensor& tensor) {
    TORCH_CHECK_VALUE(tensor.defined(), "a tensor is undefined.");
    TORCH_CHECK_VALUE(tensor.device().is_cpu(), "a tensor is on ", tensor.device(),
                      "; the backend tutti takes tensors on the CPU: move it there, or use another backend for this device "
                      "(\"cpu:tutti,cuda:nccl\").");
    TORCH_CHECK_NOT_IMPLEMENTED(tensor.layout() == at::kStrided, "of sparse tensors tutti has all_reduce only.");
  }

  static void check_output(const at::Tensor& tensor) {
    check(tensor);
    TORCH_CHECK_VALUE(at::has_internal_overlap(tensor) != at::MemOverlap::Yes,
                      "a tensor that the call writes is an expanded one, "
                      "several of whose elements are one place of memory; give a clone() of it.");
  }

  std::vector<at::Tensor> kept_;
  std::vector<std::pair<at::Tensor, at::Tensor>> staged_;  // the caller's, and what the operation writes for it
  std::optional<size_t> expected_;
  tutti_received received_{};
};

}  // namespace tutti_torch

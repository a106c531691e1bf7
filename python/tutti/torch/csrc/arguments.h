// From torch's arguments to those of Tutti's C API; what does not fit is a ValueError before anything has started.
#pragma once

#include <ATen/ATen.h>
#include <tutti/tutti.h>

#include <optional>
#include <vector>

#include "communicator.h"
#include "tensors.h"

namespace tutti_torch {

using Tensor = at::Tensor;
using Tensors = std::vector<at::Tensor>;

// The one of Tutti's two functions that waits, or the one that starts.
template <class Blocking, class Starting, class... Arguments>
tutti_status call(tutti_request** request, Blocking blocking, Starting starting, Arguments... arguments) {
  return request ? starting(arguments..., request) : blocking(arguments...);
}

class CallOptions {
 public:
  explicit CallOptions(milliseconds timeout, std::optional<double> factor = {}) : factor_(factor.value_or(1)) {
    tutti_call_options_init(&options_);
    if (timeout > milliseconds(0)) options_.timeout_ms = to_milliseconds(timeout);
    if (factor) options_.factor = &factor_;
  }
  CallOptions(const CallOptions&) = delete;
  void use(tutti_codec* codec) { options_.codec = codec; }
  const tutti_call_options* get() const { return &options_; }

 private:
  tutti_call_options options_;
  double factor_;
};

template <class List>
const typename List::value_type& only_of(const List& list, const char* what) {
  TORCH_CHECK_VALUE(list.size() == 1, "tutti takes one ", what, " of a rank, not ", list.size(), ".");
  return list.front();
}

inline void check_types(const Tensors& tensors, const Tensor& like) {
  for (const Tensor& tensor : tensors) {
    TORCH_CHECK_VALUE(tensor.scalar_type() == like.scalar_type(), "tensors of one call have one type; these have ",
                      like.scalar_type(), " and ", tensor.scalar_type(), ".");
  }
}

inline void check_root(int64_t root, int size) {
  TORCH_CHECK_VALUE(root >= 0 && root < size, "the root is ", root, ", and the group has ", size, " ranks.");
}

// One tensor for each rank.
inline void check_list(const Tensors& list, int size, const Tensor& like, const char* what) {
  TORCH_CHECK_VALUE(list.size() == static_cast<size_t>(size), "the list of ", what, "s has ", list.size(),
                    " tensors, and the group ", size, " ranks.");
  check_types(list, like);
}

inline void check_elements(const Tensor& tensor, int64_t elements, const char* what) {
  TORCH_CHECK_VALUE(tensor.numel() == elements, "the ", what, " has ", tensor.numel(), " elements; ", elements, " are needed.");
}

inline std::vector<size_t> counts_of(const Tensors& tensors, Elements elements) {
  std::vector<size_t> counts;
  for (const Tensor& tensor : tensors) counts.push_back(count_of(tensor, elements));
  return counts;
}

inline std::vector<const void*> read_all(Operands& operands, const Tensors& tensors) {
  std::vector<const void*> memory;
  for (const Tensor& tensor : tensors) memory.push_back(operands.read(tensor));
  return memory;
}

inline std::vector<void*> write_all(Operands& operands, const Tensors& tensors) {
  std::vector<void*> memory;
  for (const Tensor& tensor : tensors) memory.push_back(operands.write(tensor));
  return memory;
}

inline Tensors flattened(const std::vector<Tensors>& lists) {
  Tensors all;
  for (const Tensors& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

// Parts of a tensor along its first dimension, one for each rank, in elements of Tutti's.
struct Parts {
  std::vector<size_t> counts, offsets;

  Parts(const Tensor& tensor, const std::vector<int64_t>& splits, int size, Elements elements, const char* what) {
    TORCH_CHECK_VALUE(tensor.dim() > 0, "the ", what, " of all_to_all_single has no dimension that could be split.");
    const int64_t rows = tensor.size(0);
    TORCH_CHECK_VALUE(splits.empty() || splits.size() == static_cast<size_t>(size), "the ", what, " has ", splits.size(),
                      " split sizes, and the group ", size, " ranks.");
    TORCH_CHECK_VALUE(!splits.empty() || rows % size == 0, "the ", what, " has ", rows, " rows, which ", size,
                      " ranks cannot share alike; give split sizes.");
    const size_t row = rows ? count_of(tensor, elements) / static_cast<size_t>(rows) : 0;
    int64_t sum = 0;
    for (int rank = 0; rank < size; ++rank) {
      const int64_t part = splits.empty() ? rows / size : splits[static_cast<size_t>(rank)];
      TORCH_CHECK_VALUE(part >= 0, "a split size of the ", what, " is ", part, ".");
      offsets.push_back(static_cast<size_t>(sum) * row);
      counts.push_back(static_cast<size_t>(part) * row);
      sum += part;
    }
    TORCH_CHECK_VALUE(sum == rows, "the split sizes of the ", what, " make ", sum, " rows; it has ", rows, ".");
  }
};

}  // namespace tutti_torch

// Operations of the backend, and the module through which Python makes it.
#include "backend.h"

#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <exception>

#include "arguments.h"
#include "bootstrap.h"

// What this file was compiled for; build_torch.py reads it before it loads the file.
extern "C" __attribute__((used, visibility("default"))) const char tutti_torch_built_for[] =
    "tutti-torch-backend:" TUTTI_TORCH_VERSIONS;

namespace tutti_torch {

using c10d::OpType;

// ---- carrying out ----

template <class Call>
void TuttiBackend::block(Call call) {
  const Communicator::Use use(*communicator_);
  Operands operands;
  communicator_->check(call(use.comm(), operands, nullptr));
  operands.copy_back();
}

template <class Call>
TuttiBackend::WorkPtr TuttiBackend::start(const Description& description, Call call) {
  auto work = c10::make_intrusive<RequestWork>(rank_, description, communicator_);
  work->start(call);
  return work;
}

template <class Carry>
TuttiBackend::WorkPtr TuttiBackend::carry_out(const Description& description, Carry carry) {
  auto work = c10::make_intrusive<FinishedWork>(rank_, description);  // the profiler's event begins here
  carry();
  work->finish_now();
  return work;
}

template <class Call>
TuttiBackend::WorkPtr TuttiBackend::run(const Description& description, Call call) {
  if (!c10d::isP2POp(description.type)) ++collectives_;
  std::vector<WorkPtr>* parts = coalescing();
  if (!parts && !description.asynchronous) return carry_out(description, [&] { block(call); });
  WorkPtr work = start(description, call);
  if (parts) parts->push_back(work);
  return work;
}

template <class Call>
TuttiBackend::WorkPtr TuttiBackend::run_several(const Description& description, size_t count, Call call) {
  const auto at = [&call](size_t index) {
    return [&call, index](tutti_comm* comm, Operands& operands, tutti_request** request) {
      return call(comm, operands, request, index);
    };
  };
  ++collectives_;
  std::vector<WorkPtr>* coalesced = coalescing();
  if (!coalesced && !description.asynchronous) {
    return carry_out(description, [&] {
      for (size_t index = 0; index < count; ++index) block(at(index));
    });
  }
  std::vector<WorkPtr> parts;
  const Description part{description.type, nullptr, {}, {}};
  for (size_t index = 0; index < count; ++index) parts.push_back(start(part, at(index)));
  WorkPtr work = c10::make_intrusive<CoalescedWork>(rank_, description, std::move(parts));
  if (coalesced) coalesced->push_back(work);
  return work;
}

std::vector<TuttiBackend::WorkPtr>* TuttiBackend::coalescing() {
  if (coalescing_threads_ == 0) return nullptr;
  const std::lock_guard lock(coalescing_mutex_);
  const auto mine = coalescing_.find(std::this_thread::get_id());
  return mine == coalescing_.end() ? nullptr : &mine->second;
}

void TuttiBackend::startCoalescing() {
  const std::lock_guard lock(coalescing_mutex_);
  const bool first = coalescing_.try_emplace(std::this_thread::get_id()).second;
  TORCH_CHECK(first, "startCoalescing was called twice without endCoalescing in between.");
  ++coalescing_threads_;
}

TuttiBackend::WorkPtr TuttiBackend::endCoalescing() {
  std::vector<WorkPtr> parts;
  {
    const std::lock_guard lock(coalescing_mutex_);
    const auto mine = coalescing_.find(std::this_thread::get_id());
    TORCH_CHECK(mine != coalescing_.end(), "endCoalescing was called without startCoalescing.");
    parts = std::move(mine->second);
    coalescing_.erase(mine);
    --coalescing_threads_;
  }
  return c10::make_intrusive<CoalescedWork>(rank_, Description{OpType::COALESCED, "tutti:coalesced", {}, {}}, std::move(parts));
}

// ---- collectives ----

TuttiBackend::WorkPtr TuttiBackend::broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) {
  const Tensor& tensor = only_of(tensors, "tensor");
  check_root(options.rootRank, size_);
  return run({OpType::BROADCAST, "tutti:broadcast", tensors, tensors, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               const Elements elements = moved_elements(tensor);
               const int root = static_cast<int>(options.rootRank);
               void* const memory = rank_ == root ? operands.read_write(tensor) : operands.write(tensor);
               const CallOptions with(options.timeout);
               return call(request, tutti_broadcast, tutti_broadcast_start, comm, memory, memory, count_of(tensor, elements),
                           elements.dtype, root, with.get());
             });
}

TuttiBackend::WorkPtr TuttiBackend::allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) {
  const Tensor& tensor = only_of(tensors, "tensor");
  if (tensor.is_sparse()) return allreduce_sparse(tensors, options);
  return run({OpType::ALLREDUCE, "tutti:all_reduce", tensors, tensors, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               const Reduction reduction = reduction_of(tensor.scalar_type(), options.reduceOp);
               void* const memory = operands.read_write(tensor);
               const CallOptions with(options.timeout, reduction.factor);
               return call(request, tutti_all_reduce, tutti_all_reduce_start, comm, memory, memory,
                           count_of(tensor, reduction.elements), reduction.elements.dtype, reduction.op, with.get());
             });
}

TuttiBackend::WorkPtr TuttiBackend::allreduce_coalesced(Tensors& tensors, const c10d::AllreduceCoalescedOptions& options) {
  TORCH_CHECK_VALUE(!tensors.empty(), "the list of tensors is empty.");
  check_types(tensors, tensors.front());
  return run({OpType::ALLREDUCE_COALESCED, "tutti:all_reduce", tensors, tensors, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               const Reduction reduction = reduction_of(tensors.front().scalar_type(), options.reduceOp);
               std::vector<void*> memory;
               for (const Tensor& tensor : tensors) memory.push_back(operands.read_write(tensor));
               const CallOptions with(options.timeout, reduction.factor);
               return call(request, tutti_all_reduce_list, tutti_all_reduce_list_start, comm, memory.data(), memory.data(),
                           counts_of(tensors, reduction.elements).data(), tensors.size(), reduction.elements.dtype, reduction.op,
                           with.get());
             });
}

TuttiBackend::WorkPtr TuttiBackend::reduce(Tensors& tensors, const c10d::ReduceOptions& options) {
  const Tensor& tensor = only_of(tensors, "tensor");
  check_root(options.rootRank, size_);
  return run({OpType::REDUCE, "tutti:reduce", tensors, tensors, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               const Reduction reduction = reduction_of(tensor.scalar_type(), options.reduceOp);
               const int root = static_cast<int>(options.rootRank);
               void* const output = rank_ == root ? operands.read_write(tensor) : nullptr;
               const void* const input = output ? output : operands.read(tensor);
               const CallOptions with(options.timeout, reduction.factor);
               return call(request, tutti_reduce, tutti_reduce_start, comm, input, output, count_of(tensor, reduction.elements),
                           reduction.elements.dtype, reduction.op, root, with.get());
             });
}

namespace {

tutti_status all_gather(tutti_comm* comm, Operands& operands, tutti_request** request, const Tensor& output, const Tensor& input,
                        milliseconds timeout) {
  check_types({output}, input);
  check_elements(output, input.numel() * tutti_comm_size(comm), "output");
  const Elements elements = moved_elements(input);
  const void* const from = operands.read(input);
  void* const to = operands.write(output);
  const CallOptions with(timeout);
  return call(request, tutti_all_gather, tutti_all_gather_start, comm, from, to, count_of(input, elements), elements.dtype,
              with.get());
}

tutti_status all_gather_list(tutti_comm* comm, Operands& operands, tutti_request** request, const Tensors& outputs,
                             const Tensor& input, milliseconds timeout) {
  check_list(outputs, tutti_comm_size(comm), input, "output");
  check_elements(outputs[static_cast<size_t>(tutti_comm_rank(comm))], input.numel(), "output of this rank's input");
  const Elements elements = moved_elements(input);
  const void* const from = operands.read(input);
  const CallOptions with(timeout);
  return call(request, tutti_all_gather_parts, tutti_all_gather_parts_start, comm, from, write_all(operands, outputs).data(),
              counts_of(outputs, elements).data(), elements.dtype, with.get());
}

tutti_status reduce_scatter(tutti_comm* comm, Operands& operands, tutti_request** request, const Tensor& output,
                            const Tensor& input, const c10d::ReduceScatterOptions& options) {
  check_types({output}, input);
  check_elements(input, output.numel() * tutti_comm_size(comm), "input");
  const Reduction reduction = reduction_of(input.scalar_type(), options.reduceOp);
  const void* const from = operands.read(input);
  void* const to = operands.write(output);
  const CallOptions with(options.timeout, reduction.factor);
  return call(request, tutti_reduce_scatter, tutti_reduce_scatter_start, comm, from, to, count_of(output, reduction.elements),
              reduction.elements.dtype, reduction.op, with.get());
}

void check_pairs(const Tensors& outputs, size_t inputs) {
  TORCH_CHECK_VALUE(outputs.size() == inputs, "there are ", outputs.size(), " outputs for ", inputs, " inputs.");
}

}  // namespace

TuttiBackend::WorkPtr TuttiBackend::allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                                              const c10d::AllgatherOptions& options) {
  const Tensor& input = only_of(inputs, "input");
  const Tensors& list = only_of(outputs, "list of outputs");
  return run({OpType::ALLGATHER, "tutti:all_gather", inputs, list, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               return all_gather_list(comm, operands, request, list, input, options.timeout);
             });
}

TuttiBackend::WorkPtr TuttiBackend::_allgather_base(Tensor& output, Tensor& input, const c10d::AllgatherOptions& options) {
  return run({OpType::_ALLGATHER_BASE, "tutti:all_gather", {input}, {output}, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               return all_gather(comm, operands, request, output, input, options.timeout);
             });
}

// outputs[r][i] is inputs[i] of rank r.
TuttiBackend::WorkPtr TuttiBackend::allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs,
                                                        const c10d::AllgatherOptions& options) {
  TORCH_CHECK_VALUE(outputs.size() == static_cast<size_t>(size_), "there are ", outputs.size(), " lists of outputs for ", size_,
                    " ranks.");
  for (const Tensors& list : outputs) check_pairs(list, inputs.size());
  return run_several({OpType::ALLGATHER_COALESCED, "tutti:all_gather", inputs, flattened(outputs), options.asyncOp}, inputs.size(),
                     [&](tutti_comm* comm, Operands& operands, tutti_request** request, size_t index) {
                       Tensors list;
                       for (const Tensors& of_rank : outputs) list.push_back(of_rank[index]);
                       return all_gather_list(comm, operands, request, list, inputs[index], options.timeout);
                     });
}

TuttiBackend::WorkPtr TuttiBackend::allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                                                    const c10d::AllgatherOptions& options) {
  check_pairs(outputs, inputs.size());
  return run_several({OpType::_ALLGATHER_BASE, "tutti:all_gather", inputs, outputs, options.asyncOp}, inputs.size(),
                     [&](tutti_comm* comm, Operands& operands, tutti_request** request, size_t index) {
                       return all_gather(comm, operands, request, outputs[index], inputs[index], options.timeout);
                     });
}

TuttiBackend::WorkPtr TuttiBackend::gather(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::GatherOptions& options) {
  const Tensor& input = only_of(inputs, "input");
  check_root(options.rootRank, size_);
  const int root = static_cast<int>(options.rootRank);
  TORCH_CHECK_VALUE(rank_ == root || outputs.empty(), "only the root of a gather has outputs.");
  const Tensors& list = rank_ == root ? only_of(outputs, "list of outputs") : Tensors();
  return run({OpType::GATHER, "tutti:gather", inputs, list, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               if (rank_ == root) check_list(list, size_, input, "output");
               for (const Tensor& output : list) check_elements(output, input.numel(), "output");
               const Elements elements = moved_elements(input);
               const std::vector<size_t> counts(static_cast<size_t>(size_), count_of(input, elements));
               const void* const from = operands.read(input);
               const CallOptions with(options.timeout);
               return call(request, tutti_gather_parts, tutti_gather_parts_start, comm, from, write_all(operands, list).data(),
                           counts.data(), elements.dtype, root, with.get());
             });
}

TuttiBackend::WorkPtr TuttiBackend::scatter(Tensors& outputs, std::vector<Tensors>& inputs, const c10d::ScatterOptions& options) {
  const Tensor& output = only_of(outputs, "output");
  check_root(options.rootRank, size_);
  const int root = static_cast<int>(options.rootRank);
  TORCH_CHECK_VALUE(rank_ == root || inputs.empty(), "only the root of a scatter has inputs.");
  const Tensors& list = rank_ == root ? only_of(inputs, "list of inputs") : Tensors();
  return run({OpType::SCATTER, "tutti:scatter", list, outputs, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               if (rank_ == root) check_list(list, size_, output, "input");
               for (const Tensor& input : list) check_elements(input, output.numel(), "input");
               const Elements elements = moved_elements(output);
               const std::vector<size_t> counts(static_cast<size_t>(size_), count_of(output, elements));
               void* const to = operands.write(output);
               const CallOptions with(options.timeout);
               return call(request, tutti_scatter_parts, tutti_scatter_parts_start, comm, read_all(operands, list).data(), to,
                           counts.data(), elements.dtype, root, with.get());
             });
}

TuttiBackend::WorkPtr TuttiBackend::reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                                   const c10d::ReduceScatterOptions& options) {
  const Tensor& output = only_of(outputs, "output");
  const Tensors& list = only_of(inputs, "list of inputs");
  return run({OpType::REDUCE_SCATTER, "tutti:reduce_scatter", list, outputs, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               check_list(list, size_, output, "input");
               check_elements(output, list[static_cast<size_t>(rank_)].numel(), "output");
               const Reduction reduction = reduction_of(output.scalar_type(), options.reduceOp);
               void* const to = operands.write(output);
               const CallOptions with(options.timeout, reduction.factor);
               return call(request, tutti_reduce_scatter_parts, tutti_reduce_scatter_parts_start, comm,
                           read_all(operands, list).data(), to, counts_of(list, reduction.elements).data(),
                           reduction.elements.dtype, reduction.op, with.get());
             });
}

TuttiBackend::WorkPtr TuttiBackend::_reduce_scatter_base(Tensor& output, Tensor& input, const c10d::ReduceScatterOptions& options) {
  return run({OpType::_REDUCE_SCATTER_BASE, "tutti:reduce_scatter", {input}, {output}, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               return tutti_torch::reduce_scatter(comm, operands, request, output, input, options);
             });
}

TuttiBackend::WorkPtr TuttiBackend::reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                                                    const c10d::ReduceScatterOptions& options) {
  check_pairs(outputs, inputs.size());
  return run_several({OpType::REDUCE_SCATTER_TENSOR_COALESCED, "tutti:reduce_scatter", inputs, outputs, options.asyncOp},
                     inputs.size(), [&](tutti_comm* comm, Operands& operands, tutti_request** request, size_t index) {
                       return tutti_torch::reduce_scatter(comm, operands, request, outputs[index], inputs[index], options);
                     });
}

TuttiBackend::WorkPtr TuttiBackend::alltoall_base(Tensor& output, Tensor& input, std::vector<int64_t>& output_splits,
                                                  std::vector<int64_t>& input_splits, const c10d::AllToAllOptions& options) {
  return run({OpType::ALLTOALL_BASE, "tutti:all_to_all", {input}, {output}, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               check_types({output}, input);
               const Elements elements = moved_elements(input);
               const Parts sent(input, input_splits, size_, elements, "input");
               const Parts got(output, output_splits, size_, elements, "output");
               const void* const from = operands.read(input);
               void* const to = operands.write(output);
               const CallOptions with(options.timeout);
               return call(request, tutti_all_to_all_v, tutti_all_to_all_v_start, comm, from, sent.counts.data(),
                           sent.offsets.data(), to, got.counts.data(), got.offsets.data(), elements.dtype, with.get());
             });
}

TuttiBackend::WorkPtr TuttiBackend::alltoall(Tensors& outputs, Tensors& inputs, const c10d::AllToAllOptions& options) {
  return run({OpType::ALLTOALL, "tutti:all_to_all", inputs, outputs, options.asyncOp},
             [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
               TORCH_CHECK_VALUE(!inputs.empty(), "the list of inputs is empty.");
               check_list(inputs, size_, inputs.front(), "input");
               check_list(outputs, size_, inputs.front(), "output");
               const Elements elements = moved_elements(inputs.front());
               const CallOptions with(options.timeout);
               return call(request, tutti_all_to_all_parts, tutti_all_to_all_parts_start, comm, read_all(operands, inputs).data(),
                           counts_of(inputs, elements).data(), write_all(operands, outputs).data(),
                           counts_of(outputs, elements).data(), elements.dtype, with.get());
             });
}

TuttiBackend::WorkPtr TuttiBackend::barrier(const c10d::BarrierOptions& options) {
  return run({OpType::BARRIER, "tutti:barrier", {}, {}, options.asyncOp},
             [&](tutti_comm* comm, Operands&, tutti_request** request) {
               const CallOptions with(options.timeout);
               return call(request, tutti_barrier, tutti_barrier_start, comm, with.get());
             });
}

// ---- sparse ----

// `counts[r]` rows of each rank r, one below the other.
Tensors TuttiBackend::all_gather_rows(const Tensor& rows, const std::vector<int64_t>& counts, milliseconds timeout) {
  Tensors all;
  for (const int64_t count : counts) {
    auto sizes = rows.sizes().vec();
    sizes[0] = count;
    all.push_back(at::empty(sizes, rows.options()));
  }
  block([&](tutti_comm* comm, Operands& operands, tutti_request** request) {
    return all_gather_list(comm, operands, request, all, rows, timeout);
  });
  return all;
}

// Gathers all ranks' indices and values, and adds up.  How much there is to gather is known only after an exchange, and
// the next must follow it in the order of calls, so this waits also where the caller would not.
TuttiBackend::WorkPtr TuttiBackend::allreduce_sparse(Tensors& tensors, const c10d::AllreduceOptions& options) {
  const Tensor& tensor = only_of(tensors, "tensor");
  const auto op = options.reduceOp.op_;
  TORCH_CHECK_NOT_IMPLEMENTED(op == c10d::ReduceOp::SUM || op == c10d::ReduceOp::AVG, "of sparse tensors tutti has the sum and ",
                              "the average, not ", name_of(op), ".");
  TORCH_CHECK_VALUE(tensor.device().is_cpu() && tensor.layout() == at::kSparse, "a sparse all_reduce takes a COO tensor on the ",
                    "CPU; this one is ", tensor.layout(), " on ", tensor.device(), ".");
  return carry_out({OpType::_ALLREDUCE_SPARSE, "tutti:sparse_all_reduce", tensors, tensors}, [&] {
    const c10::NoGradGuard no_grad;
    const Tensor mine = tensor.coalesce();
    std::vector<int64_t> shape{mine.sparse_dim()};
    shape.insert(shape.end(), mine.sizes().begin(), mine.sizes().end());
    constexpr size_t longest = 64;
    TORCH_CHECK_VALUE(shape.size() + 2 <= longest, "the sparse tensor has ", mine.dim(), " dimensions.");
    Tensor header = at::zeros({1, longest}, at::kLong);
    header[0][0] = mine._nnz();
    header[0][1] = mine.dim();
    for (size_t i = 0; i < shape.size(); ++i) header[0][static_cast<int64_t>(i + 2)] = shape[i];
    const Tensors headers = all_gather_rows(header, std::vector<int64_t>(static_cast<size_t>(size_), 1), options.timeout);
    std::vector<int64_t> counts;
    for (const Tensor& other : headers) {
      TORCH_CHECK_VALUE(other.slice(1, 1).equal(header.slice(1, 1)), "the sparse tensor has another shape at another rank.");
      counts.push_back(other[0][0].item<int64_t>());
    }
    const Tensors indices = all_gather_rows(mine.indices().t().contiguous(), counts, options.timeout);
    const Tensors values = all_gather_rows(mine.values().contiguous(), counts, options.timeout);
    const Tensor all_indices = at::cat(indices).t(), all_values = at::cat(values);
    at::_validate_sparse_coo_tensor_args(all_indices, all_values, mine.sizes());  // they come from other processes
    Tensor sum = at::_sparse_coo_tensor_unsafe(all_indices, all_values, mine.sizes(), mine.options()).coalesce();
    if (op == c10d::ReduceOp::AVG) sum = at::div(sum, size_);
    tensor.copy_(sum);
  });
}

// ---- messages ----

TuttiBackend::WorkPtr TuttiBackend::send(Tensors& tensors, int rank, int tag) {
  const Tensor& tensor = only_of(tensors, "tensor");
  return run({OpType::SEND, "tutti:send", tensors, tensors}, [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
    const Elements elements = moved_elements(tensor);
    return tutti_send_start(comm, operands.read(tensor), count_of(tensor, elements), elements.dtype, rank, tag, nullptr, request);
  });
}

TuttiBackend::WorkPtr TuttiBackend::receive(Tensors& tensors, int rank, int tag, OpType type, const char* title) {
  const Tensor& tensor = only_of(tensors, "tensor");
  return run({type, title, tensors, tensors}, [&](tutti_comm* comm, Operands& operands, tutti_request** request) {
    const Elements elements = moved_elements(tensor);
    void* const memory = operands.receive(tensor, elements);
    tutti_message_options with;
    tutti_message_options_init(&with);
    with.received = operands.received();
    return tutti_recv_start(comm, memory, count_of(tensor, elements), elements.dtype, rank, tag, &with, request);
  });
}

TuttiBackend::WorkPtr TuttiBackend::recv(Tensors& tensors, int rank, int tag) {
  TORCH_CHECK_VALUE(rank >= 0, "the source of a receive is ", rank, ".");
  return receive(tensors, rank, tag, OpType::RECV, "tutti:recv");
}

TuttiBackend::WorkPtr TuttiBackend::recvAnysource(Tensors& tensors, int tag) {
  return receive(tensors, TUTTI_ANY_SOURCE, tag, OpType::RECVANYSOURCE, "tutti:recvAnySource");
}

// ---- compression ----

TuttiBackend::WorkPtr TuttiBackend::compressed_all_reduce(const Tensors& tensors, const std::vector<uintptr_t>& codecs,
                                                          bool average) {
  TORCH_CHECK_VALUE(tensors.size() == codecs.size() && !tensors.empty(), "there are ", codecs.size(), " codecs for ",
                    tensors.size(), " tensors.");
  check_types(tensors, tensors.front());
  Tensors plain;
  std::vector<size_t> coded;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (codecs[i]) {
      coded.push_back(i);
    } else {
      plain.push_back(tensors[i]);
    }
  }
  const auto op = average ? TUTTI_AVG : TUTTI_SUM;
  const Elements elements =
      reduction_of(tensors.front().scalar_type(), average ? c10d::ReduceOp::AVG : c10d::ReduceOp::SUM).elements;
  return run_several(
      {OpType::ALLREDUCE_COALESCED, "tutti:compressed_all_reduce", tensors, tensors}, coded.size() + (plain.empty() ? 0 : 1),
      [&](tutti_comm* comm, Operands& operands, tutti_request** request, size_t index) {
        CallOptions with(c10d::kUnsetTimeout);
        if (index == coded.size()) {
          std::vector<void*> memory;
          for (const Tensor& tensor : plain) memory.push_back(operands.read_write(tensor));
          return call(request, tutti_all_reduce_list, tutti_all_reduce_list_start, comm, memory.data(), memory.data(),
                      counts_of(plain, elements).data(), plain.size(), elements.dtype, op, with.get());
        }
        const Tensor& tensor = tensors[coded[index]];
        with.use(reinterpret_cast<tutti_codec*>(codecs[coded[index]]));
        void* const memory = operands.read_write(tensor);
        return call(request, tutti_all_reduce, tutti_all_reduce_start, comm, memory, memory, count_of(tensor, elements),
                    elements.dtype, op, with.get());
      });
}

// ---- memory, end ----

Tensor TuttiBackend::allocateTensor(long size, at::TensorOptions options) {
  TORCH_CHECK_VALUE(size >= 0, "a tensor of ", size, " elements.");
  TORCH_CHECK_VALUE(options.device().is_cpu(), "tutti allocates on the CPU, not on ", options.device(), ".");
  const Communicator::Use use(*communicator_);
  const size_t bytes = static_cast<size_t>(size) * options.dtype().itemsize();
  if (bytes == 0) return at::empty({size}, options);
  void* memory = nullptr;
  communicator_->check(tutti_alloc_with(use.comm(), bytes, TUTTI_ALLOC_KEEP | TUTTI_ALLOC_UNINITIALIZED, &memory));
  return at::from_blob(
      memory, {size}, [](void* gone) { tutti_free(nullptr, gone); }, options);
}

void TuttiBackend::setTimeout(milliseconds timeout) {
  const Communicator::Use use(*communicator_);
  communicator_->check(tutti_comm_set_timeout(use.comm(), to_milliseconds(timeout)));
  options_->timeout = timeout;
}

c10d::ErrorType TuttiBackend::getError() {
  switch (communicator_->failure()) {
    case TUTTI_SUCCESS: return c10d::ErrorType::SUCCESS;
    case TUTTI_TIMEOUT: return c10d::ErrorType::TIMEOUT;
    case TUTTI_PEER_LOST:
    case TUTTI_ABORTED: return c10d::ErrorType::REMOTE_ERROR;
    default: return c10d::ErrorType::COMM_ERROR;
  }
}

void TuttiBackend::abort() { communicator_->abort("torch.distributed aborted the process group"); }

void TuttiBackend::shutdown() { communicator_->close(); }

tutti_stats TuttiBackend::statistics() {
  const Communicator::Use use(*communicator_);
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  communicator_->check(tutti_comm_stats(use.comm(), &stats));
  return stats;
}

// ---- creation ----

namespace {

[[noreturn]] void throw_creation(tutti_status status, const std::string& besides) {
  const std::string sentence = tutti_last_error(nullptr);
  std::rethrow_exception(exception_of(status, besides.empty() ? sentence : sentence + " The store said: " + besides));
}

std::string shown_name(const TuttiOptions& options) { return options.group_name.empty() ? "world" : options.group_name; }

}  // namespace

TuttiBackend::TuttiBackend(tutti_comm* comm, c10::intrusive_ptr<TuttiOptions> options)
    : c10d::Backend(tutti_comm_rank(comm), tutti_comm_size(comm)),
      communicator_(
          Communicator::share(std::make_unique<Communicator>(comm, shown_name(*options), options->global_ranks_in_group))),
      options_(std::move(options)) {
  init();
}

c10::intrusive_ptr<c10d::Backend::Options> TuttiBackend::getBackendOptions() {
  return c10::make_intrusive<TuttiOptions>(*options_);  // split() may change what it is given
}

c10::intrusive_ptr<TuttiBackend> TuttiBackend::create(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                                      c10::intrusive_ptr<TuttiOptions> options) {
  const StoreCallbacks callbacks(*store);
  const Settings settings(options->settings, options->timeout);
  const std::string name = shown_name(*options);
  tutti_config config;
  tutti_config_init(&config);
  config.rank = rank;
  config.size = size;
  config.callbacks = callbacks.get();
  config.name = name.c_str();
  config.timeout_ms = to_milliseconds(options->timeout);
  config.settings = settings.list();
  tutti_comm* comm = nullptr;
  const tutti_status status = tutti_comm_create(&comm, &config);
  if (status != TUTTI_SUCCESS) throw_creation(status, callbacks.failure());
  return c10::make_intrusive<TuttiBackend>(comm, std::move(options));
}

c10::intrusive_ptr<TuttiBackend> TuttiBackend::create_group(const std::vector<int>& ranks,
                                                            c10::intrusive_ptr<TuttiOptions> options) {
  const Communicator::Use use(*communicator_);
  tutti_comm* comm = nullptr;
  // The key is not the group's name: with use_local_synchronization torch 2.14 gives it another one on each rank.
  communicator_->check(tutti_comm_create_group(use.comm(), ranks.data(), static_cast<int>(ranks.size()), 0,
                                               to_milliseconds(options->timeout), &comm));
  return c10::make_intrusive<TuttiBackend>(comm, std::move(options));
}

c10::intrusive_ptr<c10d::Backend> TuttiBackend::split(const c10::intrusive_ptr<c10d::Store>&, const std::vector<int>& ranks,
                                                      const c10::intrusive_ptr<c10d::Backend::Options>& given) {
  if (std::find(ranks.begin(), ranks.end(), rank_) == ranks.end()) return nullptr;
  auto options = c10::make_intrusive<TuttiOptions>(given ? given->timeout : options_->timeout, options_->settings);
  if (given) options->group_name = given->group_name;
  for (const int rank : ranks) {
    const auto at = static_cast<size_t>(rank);
    const auto& global = options_->global_ranks_in_group;
    options->global_ranks_in_group.push_back(at < global.size() ? global[at] : at);
  }
  return create_group(ranks, std::move(options));
}

}  // namespace tutti_torch

PYBIND11_MODULE(_backend, module) {
  namespace py = pybind11;
  using namespace tutti_torch;  // NOLINT
  const auto c10d_module = py::module_::import("torch._C._distributed_c10d");

  py::class_<TuttiOptions, c10::intrusive_ptr<TuttiOptions>, c10d::Backend::Options>(
      module, "Options",
      "pg_options of a process group over tutti.  settings: \"TUTTI_ALGORITHM=ring\" ..., as environment variables.")
      .def(py::init([](const std::vector<std::string>& settings) {
             return c10::make_intrusive<TuttiOptions>(kBackendDefaultTimeout, settings);
           }),
           py::arg("settings") = std::vector<std::string>())
      .def_readwrite("settings", &TuttiOptions::settings);

  py::class_<TuttiBackend, c10::intrusive_ptr<TuttiBackend>, c10d::Backend>(module, "Backend")
      .def_static("create", &TuttiBackend::create, py::arg("store"), py::arg("rank"), py::arg("size"), py::arg("options"),
                  py::call_guard<py::gil_scoped_release>())
      .def("create_group", &TuttiBackend::create_group, py::arg("ranks"), py::arg("options"),
           py::call_guard<py::gil_scoped_release>())
      .def(
          "compressed_all_reduce",
          [](TuttiBackend& backend, const Tensors& tensors, const std::vector<py::object>& codecs, bool average) {
            std::vector<uintptr_t> handles;
            for (const py::object& codec : codecs) {
              handles.push_back(codec.is_none() ? 0 : codec.attr("handle").cast<uintptr_t>());
            }
            const py::gil_scoped_release unlocked;
            return backend.compressed_all_reduce(tensors, handles, average);
          },
          "The sum or average of each tensor over ranks, in place, with its tutti.Codec (None: as it is).  Returns a Work.",
          py::arg("tensors"), py::arg("codecs"), py::arg("average") = true)
      .def_property_readonly("usable", &TuttiBackend::usable)
      .def("statistics", [](TuttiBackend& backend) {
        const tutti_stats stats = backend.statistics();
        py::dict all;
        all["operations"] = stats.operations;
        all["input_bytes"] = stats.input_bytes;
        all["sent_bytes"] = stats.sent_bytes;
        all["received_bytes"] = stats.received_bytes;
        all["memory_bytes"] = stats.memory_bytes;
        all["last_algorithm"] = stats.last_algorithm;
        all["last_codec"] = stats.last_codec;
        all["transports"] = stats.transports;
        return all;
      });

  module.def("close_all", &Communicator::close_all, py::arg("failure"), py::call_guard<py::gil_scoped_release>());
}

// The backend "tutti" of torch.distributed: c10d's operations, each as one call of Tutti's C API.
//
// A plain call (asyncOp false) is carried out on the caller's thread; an asynchronous one is started.  In between
// startCoalescing and endCoalescing all of a thread's calls are started, and their works are waited for together.
#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "arguments.h"
#include "communicator.h"
#include "work.h"

namespace tutti_torch {

constexpr const char* backend_name = "tutti";

// pg_options of init_process_group and new_group.
struct TuttiOptions : c10d::Backend::Options {
  explicit TuttiOptions(milliseconds longest = kBackendDefaultTimeout, std::vector<std::string> given = {})
      : c10d::Backend::Options(backend_name, longest), settings(std::move(given)) {}
#ifdef C10D_BACKEND_HAS_HOOKS
  c10::intrusive_ptr<c10d::Backend::Options> clone() const override { return c10::make_intrusive<TuttiOptions>(*this); }
#endif

  std::vector<std::string> settings;  // "TUTTI_ALGORITHM=ring" …, as environment variables for this group
};

class TuttiBackend final : public c10d::Backend {
 public:
  using WorkPtr = c10::intrusive_ptr<c10d::Work>;

  // The ranks meet through `store`.  `options` has the timeout, the group's name and its ranks in the whole job.
  static c10::intrusive_ptr<TuttiBackend> create(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                                 c10::intrusive_ptr<TuttiOptions> options);
  // Some ranks of this group, in the given order; only they call it.
  c10::intrusive_ptr<TuttiBackend> create_group(const std::vector<int>& ranks, c10::intrusive_ptr<TuttiOptions> options);

  const std::string getBackendName() const override { return backend_name; }
  c10::intrusive_ptr<c10d::Backend::Options> getBackendOptions() override;
  bool supportsSplitting() const override { return true; }
  bool supportsCoalescing() const override { return true; }
  void setTimeout(milliseconds timeout) override;
  void setSequenceNumberForGroup() override {}  // all ranks begin with 0
  uint64_t getSequenceNumberForGroup() override { return collectives_; }
  c10d::ErrorType getError() override;
  void abort() override;
  void shutdown() override;
  c10::intrusive_ptr<c10d::Backend> split(const c10::intrusive_ptr<c10d::Store>& store, const std::vector<int>& ranks,
                                          const c10::intrusive_ptr<c10d::Backend::Options>& options) override;

  bool supportsTensorAlloc(c10::DeviceIndex) override { return true; }
  Tensor allocateTensor(long size, at::TensorOptions options) override;

  void startCoalescing() override;
  WorkPtr endCoalescing() override;

  WorkPtr broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override;
  WorkPtr allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  WorkPtr allreduce_sparse(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  WorkPtr allreduce_coalesced(Tensors& tensors, const c10d::AllreduceCoalescedOptions& options) override;
  WorkPtr reduce(Tensors& tensors, const c10d::ReduceOptions& options) override;
  WorkPtr allgather(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::AllgatherOptions& options) override;
  WorkPtr _allgather_base(Tensor& output, Tensor& input, const c10d::AllgatherOptions& options) override;
  WorkPtr allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::AllgatherOptions& options) override;
  WorkPtr allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs, const c10d::AllgatherOptions& options) override;
  WorkPtr gather(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::GatherOptions& options) override;
  WorkPtr scatter(Tensors& outputs, std::vector<Tensors>& inputs, const c10d::ScatterOptions& options) override;
  WorkPtr reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs, const c10d::ReduceScatterOptions& options) override;
  WorkPtr _reduce_scatter_base(Tensor& output, Tensor& input, const c10d::ReduceScatterOptions& options) override;
  WorkPtr reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs, const c10d::ReduceScatterOptions& options) override;
  WorkPtr alltoall_base(Tensor& output, Tensor& input, std::vector<int64_t>& output_splits, std::vector<int64_t>& input_splits,
                        const c10d::AllToAllOptions& options) override;
  WorkPtr alltoall(Tensors& outputs, Tensors& inputs, const c10d::AllToAllOptions& options) override;
  WorkPtr send(Tensors& tensors, int rank, int tag) override;
  WorkPtr recv(Tensors& tensors, int rank, int tag) override;
  WorkPtr recvAnysource(Tensors& tensors, int tag) override;
  WorkPtr barrier(const c10d::BarrierOptions& options) override;

  // Sum or average of each tensor over ranks, in place, with its own codec (tutti_codec *, 0: without).  A codec stays
  // until its work has ended.
  WorkPtr compressed_all_reduce(const Tensors& tensors, const std::vector<uintptr_t>& codecs, bool average);

  tutti_stats statistics();
  bool usable() const { return !communicator_->closed(); }

 private:
  friend class c10::intrusive_ptr<TuttiBackend>;
  TuttiBackend(tutti_comm* comm, c10::intrusive_ptr<TuttiOptions> options);

  // Carries out or starts one call, or `count` of them that torch takes for one.  `call` is tutti_status(tutti_comm *,
  // Operands &, tutti_request **request), and of several has the index besides; request is NULL where it shall block.
  template <class Call>
  WorkPtr run(const Description& description, Call call);
  template <class Call>
  WorkPtr run_several(const Description& description, size_t count, Call call);
  template <class Call>
  WorkPtr start(const Description& description, Call call);
  template <class Call>
  void block(Call call);
  template <class Carry>
  WorkPtr carry_out(const Description& description, Carry carry);

  WorkPtr receive(Tensors& tensors, int rank, int tag, c10d::OpType type, const char* title);
  Tensors all_gather_rows(const Tensor& rows, const std::vector<int64_t>& counts, milliseconds timeout);

  // The works of this thread since startCoalescing; NULL: it has not been called.
  std::vector<WorkPtr>* coalescing();

  const std::shared_ptr<Communicator> communicator_;
  const c10::intrusive_ptr<TuttiOptions> options_;
  std::atomic<uint64_t> collectives_{0};  // that have begun

  std::mutex coalescing_mutex_;
  std::atomic<size_t> coalescing_threads_{0};
  std::map<std::thread::id, std::vector<WorkPtr>> coalescing_;
};

}  // namespace tutti_torch

// The executor of the host: the kernels, shared out to workers where a call is large.  It answers at once.
#pragma once

#include <memory>

#include "executor.h"
#include "workers.h"

namespace tutti {

class HostExecutor final : public Executor {
 public:
  explicit HostExecutor(std::shared_ptr<Workers> workers) : workers_(std::move(workers)) {}

  Ticket copy(uint32_t queue, const CopyWork& work) override;
  Ticket reduce(uint32_t queue, const ReduceWork& work) override;
  Ticket fold(uint32_t queue, const FoldWork& work) override;
  Ticket coded(uint32_t queue, const CodedWork& work) override;
  Ticket widen(uint32_t queue, const CastWork& work) override;
  Ticket narrow(uint32_t queue, const CastWork& work) override;
  Ticket scale(uint32_t queue, const ScaleWork& work) override;
  bool done(Ticket) override { return true; }
  bool idle() const override { return true; }
  void abandon() noexcept override {}

 private:
  std::shared_ptr<Workers> workers_;
};

}  // namespace tutti

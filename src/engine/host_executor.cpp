#include "host_executor.h"

#include "coded_payload.h"
#include "custom_reduction.h"

namespace tutti {

Ticket HostExecutor::copy(uint32_t, const CopyWork& work) {
  workers_->copy(work.to, nullptr, work.from, work.bytes, work.store);
  return kDone;
}

Ticket HostExecutor::reduce(uint32_t, const ReduceWork& work) {
  const Arithmetic& arithmetic = *work.arithmetic;
  if (arithmetic.custom) {
    arithmetic.custom->reduce(work);
    return kDone;
  }
  workers_->reduce(arithmetic.reduce, arithmetic.element_bytes, work.to, work.pass, work.left, work.right,
                   work.bytes / arithmetic.element_bytes, work.divisor, work.store);
  return kDone;
}

Ticket HostExecutor::fold(uint32_t, const FoldWork& work) {
  const Arithmetic& arithmetic = *work.arithmetic;
  if (arithmetic.custom) {
    arithmetic.custom->fold(work);
    return kDone;
  }
  workers_->fold(arithmetic.fold, arithmetic.element_bytes, work.targets.data(), work.targets.size(), work.sources.data(),
                 work.sources.size(), work.bytes / arithmetic.element_bytes, work.divisor);
  return kDone;
}

Ticket HostExecutor::coded(uint32_t, const CodedWork& work) {
  work.payload->carry_out(work);
  return kDone;
}

Ticket HostExecutor::widen(uint32_t, const CastWork& work) {
  kernels::widen(work.type, work.from, static_cast<float*>(work.to), work.count);
  return kDone;
}

Ticket HostExecutor::narrow(uint32_t, const CastWork& work) {
  kernels::narrow(work.type, static_cast<const float*>(work.from), work.to, work.count);
  return kDone;
}

Ticket HostExecutor::scale(uint32_t, const ScaleWork& work) {
  kernels::scale(work.type, work.from, work.to, work.count, work.factor);
  return kDone;
}

}  // namespace tutti

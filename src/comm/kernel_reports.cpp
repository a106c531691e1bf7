#include "kernel_reports.h"

#include <utility>

#include "clock.h"
#include "device_call.h"

namespace tutti {
namespace {

constexpr size_t kMostKnown = 1024;                     // calls that are remembered, beside those of graphs
constexpr uint64_t kForgottenNs = 2500 * kMillisecond;  // after which a kernel that said it waits does so no longer
constexpr uint64_t kMismatchNs = 2 * kSecond;           // for other ranks to tell what they have called

}  // namespace

KernelReports::KernelReports(const CommunicatorParts& parts, std::string device) : parts_(parts) {
  hearsay_->device = std::move(device);
}

void KernelReports::note(uint32_t hash, const Work& work, bool in_graph) {
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kMostKnown) std::erase_if(known_, [](const auto& entry) { return !entry.second.in_graph; });
  Known& known = known_[hash];
  known.work = work;
  known.in_graph |= in_graph;
}

ControlWatch::Look KernelReports::look(uint64_t now) {
  if (parts_.given_up->load(std::memory_order_acquire) != 0) failed();  // another rank of this host has heard of it first
  const uint64_t waits = __atomic_exchange_n(&reports_[0], 0, __ATOMIC_ACQUIRE);
  const uint64_t worse = __atomic_exchange_n(&reports_[1], 0, __ATOMIC_ACQUIRE);
  const uint64_t word = worse != 0 ? worse : waits;
  if (word == 0) return {};
  hearsay_->waiting_ns.store(now, std::memory_order_relaxed);
  const auto report = cuda::DeviceReport::of(word);
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(report.hash);
  if (known == known_.end() || report.peer >= static_cast<uint32_t>(parts_.size)) return {};
  const bool same = waiting_.hash == report.hash && now < waiting_.heard + kForgottenNs;
  if (!same || report.seconds < cuda::DeviceReport::kMostSeconds) waiting_.since = now - report.seconds * kSecond;
  if (!same) waiting_.mismatch_since = 0;
  waiting_.hash = report.hash;
  waiting_.heard = now;
  Look look;
  const Work& work = known->second.work;
  const uint64_t waited = now - waiting_.since;
  const uint64_t timeout = work.timeout_ns > 0 ? work.timeout_ns : parts_.timeout_ns.load(std::memory_order_relaxed);
  const std::string& me = parts_.rank_names[static_cast<size_t>(parts_.rank)];
  const std::string& peer = parts_.rank_names[report.peer];
  look.over_time = waited >= timeout;
  look.stall = Stall{work.signature, static_cast<int32_t>(report.peer), report.step, work.steps, waited};
  if (report.kind == cuda::DeviceReport::Kind::stray)
    look.failure = Status(Code::internal, peer + " has lent " + me + " memory that it has not published, in " +
                                              describe(work.signature) + "; the two do not work alike");
  if (report.kind != cuda::DeviceReport::Kind::mismatch) return look;
  if (waiting_.mismatch_since == 0) waiting_.mismatch_since = now;
  if (now >= waiting_.mismatch_since + kMismatchNs)
    look.failure = Status(Code::mismatch, "ranks called different things: " + me + " is in " + describe(work.signature) +
                                              ", and a message of " + peer + " is of another call, or of another length");
  return look;
}

void KernelReports::failed() noexcept {
  parts_.given_up->store(1, std::memory_order_release);
  __atomic_store_n(given_up_, 1, __ATOMIC_RELEASE);
}

}  // namespace tutti

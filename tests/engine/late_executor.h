// An executor for tests that takes its time, as a device does.  Work begins only when somebody asks for a ticket, now
// and then, in any order between queues; so it reads its operands as late as it may, and memory that was changed or
// released too early shows.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "coded_payload.h"
#include "host_executor.h"

namespace tutti::test {

class LateExecutor final : public Executor {
 public:
  explicit LateExecutor(uint32_t seed) : host_(std::make_shared<Workers>(1)), mood_(seed) {}
  LateExecutor(const LateExecutor&) = delete;

  Ticket copy(uint32_t queue, const CopyWork& work) override {
    return add(queue, [this, work] { host_.copy(0, work); });
  }
  Ticket reduce(uint32_t queue, const ReduceWork& work) override {
    return add(queue, [this, work] { host_.reduce(0, work); });
  }
  Ticket fold(uint32_t queue, const FoldWork& work) override {
    const std::vector<kernels::Target> targets(work.targets.begin(), work.targets.end());
    const std::vector<const void*> sources(work.sources.begin(), work.sources.end());
    return add(queue, [this, later = work, targets, sources]() mutable {
      later.targets = targets;
      later.sources = sources;
      host_.fold(0, later);
    });
  }
  Ticket coded(uint32_t queue, const CodedWork& work) override {
    const std::vector<const std::byte*> messages(work.messages.begin(), work.messages.end());
    return add(queue, [this, later = work, messages]() mutable {
      later.messages = messages;
      host_.coded(0, later);
    });
  }
  Ticket widen(uint32_t queue, const CastWork& work) override {
    return add(queue, [this, work] { host_.widen(0, work); });
  }
  Ticket narrow(uint32_t queue, const CastWork& work) override {
    return add(queue, [this, work] { host_.narrow(0, work); });
  }
  Ticket scale(uint32_t queue, const ScaleWork& work) override {
    return add(queue, [this, work] { host_.scale(0, work); });
  }

  bool done(Ticket ticket) override {
    if (mood_() % 2 == 0) work();
    return !open_.contains(ticket);
  }
  bool idle() const override { return open_.empty(); }
  void abandon() noexcept override {
    abandoned_ += open_.size();
    queues_.clear();
    open_.clear();
  }

  uint64_t abandoned() const { return abandoned_; }  // pieces of work

 private:
  struct Task {
    Ticket ticket;
    std::function<void()> run;
  };
  Ticket add(uint32_t queue, std::function<void()> run) {
    queues_[queue].push_back({++last_, std::move(run)});
    open_.insert(last_);
    return last_;
  }
  void work() {
    if (queues_.empty()) return;
    auto queue = std::next(queues_.begin(), static_cast<long>(mood_() % queues_.size()));
    Task task = std::move(queue->second.front());
    queue->second.pop_front();
    if (queue->second.empty()) queues_.erase(queue);
    task.run();
    open_.erase(task.ticket);
  }

  HostExecutor host_;
  std::minstd_rand mood_;
  std::map<uint32_t, std::deque<Task>> queues_;
  std::set<Ticket> open_;
  Ticket last_ = kDone;
  uint64_t abandoned_ = 0;
};

}  // namespace tutti::test

#include "progress_thread.h"

#include <algorithm>
#include <chrono>

#include "clock.h"
#include "of_process.h"
#include "quiet_thread.h"
#include "waiter.h"

namespace tutti {
namespace {

constexpr uint64_t kWakefulNs = 2'000'000;  // after work, in which the thread only naps
constexpr std::chrono::microseconds kNap{250};

}  // namespace

struct ProgressThread::Shared {
  std::mutex mutex;  // of clients; held while the thread is in one of them
  std::vector<ProgressClient*> clients;

  enum class Rest : uint8_t { none, nap, sleep };
  std::atomic<Rest> resting{Rest::none};
  std::atomic<bool> hurried{false}, stop{false};
  std::mutex rest_mutex;
  std::condition_variable woken;

  void loop() noexcept;
  bool has_work();
  bool poll_awaited(std::vector<pollfd>& descriptors) noexcept;
  void rest(uint64_t idle_since);
  void wake() noexcept;
  void hurry() noexcept;
  void end_rest() noexcept;
};

Result<std::shared_ptr<ProgressThread>> ProgressThread::of_process() {
  struct Known {
    std::mutex mutex;
    std::weak_ptr<ProgressThread> thread;
  };
  Known& known = tutti::of_process<Known>();
  const std::lock_guard lock(known.mutex);
  if (auto thread = known.thread.lock()) return thread;
  auto shared = std::make_shared<Shared>();
  std::shared_ptr<ProgressThread> made(new ProgressThread(shared));
  auto thread = start_quiet_thread([shared] { shared->loop(); }, "tutti-progress");
  if (!thread.ok()) return thread.status();
  made->thread_ = std::move(*thread);
  known.thread = made;
  return made;
}

// A completion may end the last communicator, on this very thread.
ProgressThread::~ProgressThread() {
  if (!thread_.joinable()) return;
  shared_->stop.store(true);
  shared_->hurry();
  if (thread_.get_id() == std::this_thread::get_id())
    thread_.detach();
  else
    thread_.join();
}

void ProgressThread::add(ProgressClient& client) {
  const std::lock_guard lock(shared_->mutex);
  shared_->clients.push_back(&client);
}

void ProgressThread::remove(ProgressClient& client) noexcept {
  const std::lock_guard lock(shared_->mutex);
  std::erase(shared_->clients, &client);
}

void ProgressThread::wake() noexcept { shared_->wake(); }
void ProgressThread::hurry() noexcept { shared_->hurry(); }

// Both sides exchange the same variable: either this finds the thread asleep, or the thread's exchange comes later and
// then shows it what there was to do before this.
void ProgressThread::Shared::wake() noexcept {
  auto sleep = Rest::sleep;
  if (resting.compare_exchange_strong(sleep, Rest::none, std::memory_order_acq_rel)) end_rest();
}

void ProgressThread::Shared::hurry() noexcept {
  hurried.store(true, std::memory_order_relaxed);
  if (resting.exchange(Rest::none, std::memory_order_acq_rel) != Rest::none) end_rest();
}

void ProgressThread::Shared::end_rest() noexcept {
  { const std::lock_guard lock(rest_mutex); }  // the thread is not between its look at the variable and its rest
  woken.notify_all();
}

bool ProgressThread::Shared::has_work() {
  const std::lock_guard lock(mutex);
  return std::any_of(clients.begin(), clients.end(), [](const ProgressClient* client) { return client->has_work(); });
}

void ProgressThread::Shared::rest(uint64_t idle_since) {
  const Rest kind = now_ns() - idle_since < kWakefulNs ? Rest::nap : Rest::sleep;
  resting.exchange(kind, std::memory_order_acq_rel);
  const auto over = [this] { return resting.load(std::memory_order_acquire) == Rest::none; };
  if (!stop.load() && !hurried.load(std::memory_order_relaxed)) {
    if (kind == Rest::nap) {
      std::unique_lock lock(rest_mutex);
      woken.wait_for(lock, kNap, over);
    } else if (!has_work()) {
      std::unique_lock lock(rest_mutex);
      woken.wait(lock, over);
    }
  }
  hurried.store(false, std::memory_order_relaxed);
  resting.store(Rest::none, std::memory_order_relaxed);
}

// Not under the lock, which others need meanwhile; a descriptor that one of them closes costs at most a short sleep.
bool ProgressThread::Shared::poll_awaited(std::vector<pollfd>& descriptors) noexcept {
  descriptors.clear();
  try {
    const std::lock_guard lock(mutex);
    for (ProgressClient* client : clients)
      if (client->has_work() && !client->add_awaited(descriptors)) return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
  if (descriptors.empty()) return false;
  const timespec longest{0, static_cast<long>(Waiter::kLongestSleepNs)};
  ::ppoll(descriptors.data(), descriptors.size(), &longest, nullptr);
  return true;
}

void ProgressThread::Shared::loop() noexcept {
  Completions ended;
  std::vector<pollfd> descriptors;
  Waiter waiter;
  uint64_t idle_since = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    auto turn = ProgressClient::Turn::idle;
    uint32_t pauses = Waiter::kPauses;
    {
      const std::lock_guard lock(mutex);
      for (ProgressClient* client : clients) {
        if (!client->has_work()) continue;
        turn = std::max(turn, client->take_turn(ended));
        pauses = std::min(pauses, client->pauses());
      }
    }
    if (ended.give()) turn = ProgressClient::Turn::moved;
    if (turn == ProgressClient::Turn::waits) {
      waiter.set_pauses(pauses);
      waiter.wait([&] { return poll_awaited(descriptors); });
    } else {
      waiter.reset();
    }
    if (turn != ProgressClient::Turn::idle)
      idle_since = 0;
    else
      rest(idle_since = idle_since == 0 ? now_ns() : idle_since);
  }
}

}  // namespace tutti

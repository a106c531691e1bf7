#include "control_thread.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "clock.h"
#include "control.h"
#include "of_process.h"
#include "quiet_thread.h"

namespace tutti {
namespace {

constexpr int kEventsAtOnce = 64;
constexpr uint64_t kOutOfMemoryPause = 10 * kMillisecond;

epoll_event interest(uint32_t member, uint32_t which, bool output) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | (output ? uint32_t{EPOLLOUT} : 0);
  event.data.u64 = uint64_t{member} << 32 | which;
  return event;
}

struct ThreadsOfProcess {
  std::mutex mutex;
  std::weak_ptr<ControlThread> current;
  std::vector<std::shared_ptr<ControlThread>> lasting;  // beyond their communicators
  bool ended = false;
};

// The others learn of the end of this process when all that was said has been sent.
struct EndOfProcess {
  ~EndOfProcess() {
    ThreadsOfProcess& ours = of_process<ThreadsOfProcess>();
    std::vector<std::shared_ptr<ControlThread>> ending;
    const std::lock_guard lock(ours.mutex);
    ours.ended = true;
    ending.swap(ours.lasting);
  }
};

// A thread that was to last beyond its communicators, once it keeps nothing any more.
std::shared_ptr<ControlThread> taken_from_process(ControlThread& thread) {
  ThreadsOfProcess& ours = of_process<ThreadsOfProcess>();
  const std::lock_guard lock(ours.mutex);
  const auto found = std::find_if(ours.lasting.begin(), ours.lasting.end(), [&](const auto& t) { return t.get() == &thread; });
  if (found == ours.lasting.end() || thread.has_kept()) return nullptr;
  auto taken = std::move(*found);
  ours.lasting.erase(found);
  return taken;
}

}  // namespace

Result<std::shared_ptr<ControlThread>> ControlThread::start() {
  std::shared_ptr<ControlThread> control(new ControlThread);
  control->epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!control->epoll_) return system_error("making an epoll descriptor");
  control->wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!control->wake_) return system_error("making an event descriptor");
  epoll_event event = interest(0, 0, false);  // there is no member 0
  if (::epoll_ctl(control->epoll_.get(), EPOLL_CTL_ADD, control->wake_.get(), &event) != 0)
    return system_error("watching an event descriptor");
  auto thread = start_quiet_thread([loop = control.get()] { loop->run(); }, "tutti-control");
  if (!thread.ok()) return thread.status();
  control->thread_ = std::move(*thread);
  return control;
}

ControlThread::~ControlThread() {
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {  // the last one to need it
    thread_.detach();
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake();
  thread_.join();
  kept_.clear();
}

void ControlThread::run() {
  uint64_t next = UINT64_MAX;
  for (;;) {
    end_kept();
    if (auto self = taken_from_process(*this)) {
      const std::weak_ptr<ControlThread> rest = self;
      self.reset();
      if (rest.expired()) return;  // and this object is gone
    }
    epoll_event events[kEventsAtOnce];
    const int ready = ::epoll_wait(epoll_.get(), events, kEventsAtOnce, wait_ms(now_ns(), next));
    std::unique_lock lock(mutex_);
    if (stop_) return;
    try {
      next = serve(std::span(events, static_cast<size_t>(std::max(ready, 0))));
    } catch (const std::bad_alloc&) {  // epoll reports again what was not dealt with
      next = now_ns() + kOutOfMemoryPause;
      lock.unlock();
      pause_for(kOutOfMemoryPause);
    }
  }
}

bool ControlThread::has_staying() const {
  return std::any_of(members_.begin(), members_.end(), [](const auto& entry) { return !entry.second->is_leaving(); });
}

bool ControlThread::all_done() const {
  return std::all_of(members_.begin(), members_.end(), [](const auto& entry) { return entry.second->is_done(); });
}

std::string ControlThread::awaited_ones() const {
  std::string text;
  for (const auto& [id, member] : members_)
    if (!member->is_done()) text += (text.empty() ? "" : "; ") + member->awaited_ones();
  return text;
}

void ControlThread::keep(std::unique_ptr<ControlMember> member) {
  const std::lock_guard lock(mutex_);
  kept_.push_back(std::move(member));
  wake();
}

// Outside the lock, which their destructors take.
void ControlThread::end_kept() {
  std::vector<std::unique_ptr<ControlMember>> ended;
  const std::lock_guard lock(mutex_);
  const auto done = std::partition(kept_.begin(), kept_.end(), [](const auto& member) { return !member->is_done(); });
  ended.assign(std::make_move_iterator(done), std::make_move_iterator(kept_.end()));
  kept_.erase(done, kept_.end());
}

bool ControlThread::has_kept() {
  const std::lock_guard lock(mutex_);
  return !kept_.empty();
}

// When there is something to do next.
uint64_t ControlThread::serve(std::span<const epoll_event> events) {
  for (const epoll_event& event : events) {
    const auto found = members_.find(static_cast<uint32_t>(event.data.u64 >> 32));
    if (found != members_.end()) found->second->on_ready(static_cast<uint32_t>(event.data.u64), event.events);
  }
  eventfd_t count;
  ::eventfd_read(wake_.get(), &count);
  const uint64_t now = now_ns();
  uint64_t next = UINT64_MAX;
  for (const auto& [id, member] : members_) next = std::min(next, member->on_tick(now));
  return next;
}

uint32_t ControlThread::enroll(ControlMember& member) {
  members_[next_member_] = &member;
  return next_member_++;
}

Status ControlThread::watch(uint32_t member, uint32_t which, int fd) {
  epoll_event event = interest(member, which, false);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return system_error("watching a control connection");
  return {};
}

void ControlThread::want_output(uint32_t member, uint32_t which, int fd, bool wanted) {
  epoll_event event = interest(member, which, wanted);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void ControlThread::unwatch(int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void ControlThread::wake() { ::eventfd_write(wake_.get(), 1); }

std::shared_ptr<ControlThread> control_thread_of_process(Status& status) {
  ThreadsOfProcess& ours = of_process<ThreadsOfProcess>();
  const std::lock_guard lock(ours.mutex);
  auto thread = ours.current.lock();
  if (thread) return thread;
  thread = start_control_thread(status);
  ours.current = thread;
  return thread;
}

void outlive_communicators(const std::shared_ptr<ControlThread>& thread) {
  static const EndOfProcess end_of_process;
  ThreadsOfProcess& ours = of_process<ThreadsOfProcess>();
  const std::lock_guard lock(ours.mutex);
  if (ours.ended || std::count(ours.lasting.begin(), ours.lasting.end(), thread) > 0) return;
  ours.lasting.push_back(thread);
  thread->wake();
}

std::shared_ptr<ControlThread> start_control_thread(Status& status) {
  auto control = ControlThread::start();
  status = control.status();
  return control.ok() ? std::move(*control) : nullptr;
}

}  // namespace tutti

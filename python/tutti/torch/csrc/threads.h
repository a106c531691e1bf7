// Threads that complete futures and end communicators.
//
// A callback of a future may wait for further futures (PowerSGD's hook of DistributedDataParallel does), so no number
// of threads that is fixed in advance is enough: a job never waits for another one.  Threads stay for later jobs.
#pragma once

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>

namespace tutti_torch {

class Threads {
 public:
  using Job = std::function<void()>;

  // Those of this process: none of its parent's threads live in a child after fork().  Never destroyed, since a thread
  // may be in a callback of Python's while the process ends.
  static Threads& of_process() {
    static std::mutex mutex;
    static Threads* threads = nullptr;
    const std::lock_guard lock(mutex);
    if (!threads || threads->process_ != getpid()) threads = new Threads;
    return *threads;
  }

  // `job` begins at once, whatever the jobs before it wait for.  It throws nothing.
  void run(Job job) {
    std::unique_lock lock(mutex_);
    ++unfinished_;
    jobs_.push_back(std::move(job));
    if (jobs_.size() <= idle_) return ready_.notify_one();
    try {
      std::thread([this] { work(); }).detach();
    } catch (const std::system_error&) {  // no thread to be had: the caller's must do
      job = std::move(jobs_.back());
      jobs_.pop_back();
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
      finished();
    }
  }

  // Waits until all jobs are finished and what they kept is gone, but no longer than `longest`.
  void await_idle(std::chrono::milliseconds longest) {
    std::unique_lock lock(mutex_);
    finished_.wait_for(lock, longest, [this] { return unfinished_ == 0; });
  }

 private:
  static constexpr size_t kept_ = 8;  // threads that stay when there is nothing to do

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      while (!jobs_.empty()) {
        {
          const Job job = std::move(jobs_.front());
          jobs_.pop_front();
          lock.unlock();
          job();
        }  // what the job kept may be Python's, whose lock somebody may hold who waits for ours
        lock.lock();
        finished();
      }
      if (idle_ == kept_) return;
      ++idle_;
      ready_.wait(lock, [this] { return !jobs_.empty(); });
      --idle_;
    }
  }

  void finished() {
    if (--unfinished_ == 0) finished_.notify_all();
  }

  const pid_t process_ = getpid();
  std::mutex mutex_;
  std::condition_variable ready_, finished_;
  std::deque<Job> jobs_;
  size_t unfinished_ = 0;  // jobs that wait for a thread or have one
  size_t idle_ = 0;        // threads that wait for a job, those that were woken and have not taken it yet included
};

}  // namespace tutti_torch

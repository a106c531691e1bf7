#include "thread_bootstrap.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "resource_limits.h"

namespace tutti {

Result<std::shared_ptr<ThreadRendezvous>> ThreadRendezvous::open(int size) {
  OwnedFd alarm(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const std::string doing = "opening an eventfd for a communicator of threads";
  if (!alarm) return no_descriptor(doing, 8 * static_cast<uint64_t>(size));  // mostly sockets
  return std::shared_ptr<ThreadRendezvous>(new ThreadRendezvous(size, std::move(alarm)));
}

ThreadRendezvous::ThreadRendezvous(int size, OwnedFd alarm)
    : blobs_(static_cast<size_t>(size)), here_(static_cast<size_t>(size)), alarm_(std::move(alarm)) {}

Result<std::vector<std::string>> ThreadRendezvous::exchange(int rank, const std::string& mine, uint64_t deadline) {
  std::unique_lock lock(mutex_);
  if (!failure_.ok()) return failure_;
  blobs_[static_cast<size_t>(rank)] = mine;
  here_[static_cast<size_t>(rank)] = true;
  const uint64_t round = round_;
  if (++arrived_ == blobs_.size()) {
    given_ = blobs_;
    here_.assign(here_.size(), false);
    arrived_ = 0;
    ++round_;
    changed_.notify_all();
    return given_;
  }
  const std::chrono::steady_clock::time_point until{std::chrono::nanoseconds(deadline)};  // the clock of clock.h
  const bool changed = changed_.wait_until(lock, until, [&] { return round_ != round || !failure_.ok(); });
  if (!changed) (void)fail_locked(absence());
  // A complete round is returned even if a rank failed afterwards: all ranks then learn of that in the next one.
  if (round_ != round) return given_;
  return failure_;
}

Status ThreadRendezvous::absence() const {
  const auto missing = std::find(here_.begin(), here_.end(), false) - here_.begin();
  return Status(Code::unreachable,
                "rank " + std::to_string(missing) +
                    " of this process did not come in time; TUTTI_BOOTSTRAP_TIMEOUT bounds the wait");
}

Status ThreadRendezvous::fail(const Status& why) {
  const std::lock_guard lock(mutex_);
  return fail_locked(why);
}

Status ThreadRendezvous::fail_locked(const Status& why) {
  if (!failure_.ok()) return failure_;
  failure_ = why;
  (void)::eventfd_write(alarm_.get(), 1);
  changed_.notify_all();
  return failure_;
}

Status ThreadRendezvous::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace tutti

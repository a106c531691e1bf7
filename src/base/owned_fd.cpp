#include "owned_fd.h"

#include <fcntl.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <new>

namespace tutti {
namespace {

constexpr int kFirst = 3;

// Which descriptors are held, a bit for each.  Of those with higher numbers only an exec rids a child.
constexpr int kKnown = 1 << 16;
std::atomic<uint64_t> known_held[kKnown / 64];
std::atomic<unsigned> forks{0};

std::atomic<uint64_t>& word_of(int fd) { return known_held[fd / 64]; }
uint64_t bit_of(int fd) { return uint64_t{1} << fd % 64; }

// While it is held, no other thread forks, so a child never finds a descriptor that is open and not noted, or noted and
// closed.  A fork waits for it only so long: a signal handler may fork on the thread that holds it.
std::mutex change;
thread_local bool fork_has_it = false;  // while this thread forks
constexpr int kTriesOfForks = 1000;
constexpr timespec kBetweenTries{0, 100'000};

void before_fork() {
  for (int tries = 0; !(fork_has_it = change.try_lock()) && tries < kTriesOfForks; ++tries) ::nanosleep(&kBetweenTries, nullptr);
}
void after_fork() {
  if (std::exchange(fork_has_it, false)) change.unlock();
}

// In a child, where only what is safe in a signal handler may be called.
void close_all_held() {
  new (&change) std::mutex();  // the child has no other thread
  fork_has_it = false;
  forks.fetch_add(1, std::memory_order_relaxed);
  for (int word = 0; word < kKnown / 64; ++word) {
    const uint64_t bits = known_held[word].exchange(0, std::memory_order_relaxed);
    for (int bit = 0; bit < 64; ++bit)
      if (bits >> bit & 1) ::close(word * 64 + bit);
  }
}

}  // namespace

OwnedFd OwnedFd::made_by(int (*make)(void* context), void* context) {
  const std::lock_guard lock(change);
  return OwnedFd(make(context));
}

void OwnedFd::hold(int fd) {
  static const int watches_forks = ::pthread_atfork(before_fork, after_fork, close_all_held);
  (void)watches_forks;
  fd_ = fd;
  process_ = forks.load(std::memory_order_relaxed);
  if (fd >= 0 && fd < kKnown) word_of(fd).fetch_or(bit_of(fd), std::memory_order_relaxed);
}

void OwnedFd::let_go() {
  const int fd = std::exchange(fd_, -1);
  if (fd < 0 || process_ != forks.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(change);
  if (fd < kKnown) word_of(fd).fetch_and(~bit_of(fd), std::memory_order_relaxed);
  ::close(fd);
}

int beyond_standard_streams(int fd) {
  if (fd < 0 || fd >= kFirst) return fd;
  const int saved = errno;
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, kFirst);
  const int failure = errno == EINVAL ? EMFILE : errno;  // the limit is 3 or less
  ::close(fd);
  errno = moved < 0 ? failure : saved;
  return moved;
}

}  // namespace tutti

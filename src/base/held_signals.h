// While it lives, a write of this thread to a closed pipe, or beyond the limit on file sizes (ulimit -f), fails with an error and raises no
// signal: a program must not die because the library had something to write.
#pragma once

#include <cerrno>
#include <csignal>
#include <ctime>

namespace tutti {

class WriteSignalsHeld {
 public:
  WriteSignalsHeld() {
    sigset_t pending;
    sigemptyset(&ours_);
    sigemptyset(&pending);
    sigpending(&pending);
    for (const int signal : {SIGPIPE, SIGXFSZ})  // one that is pending is blocked by the program, and ours cannot be told from it
      if (sigismember(&pending, signal) == 0) sigaddset(&ours_, signal);
    pthread_sigmask(SIG_BLOCK, &ours_, &before_);
  }
  WriteSignalsHeld(const WriteSignalsHeld&) = delete;
  ~WriteSignalsHeld() {
    const timespec no_wait{};
    const int saved = errno;
    while (sigtimedwait(&ours_, nullptr, &no_wait) > 0 || errno == EINTR) {
    }
    errno = saved;
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t ours_, before_;
};

}  // namespace tutti

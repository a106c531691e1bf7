#include "held_signals.h"

#include <cerrno>
#include <ctime>
#include <initializer_list>

namespace tutti {

SignalsHeld::SignalsHeld() {
  sigset_t held;
  sigfillset(&held);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&held, fault);
  pthread_sigmask(SIG_SETMASK, &held, &before_);
}

SignalsHeld::~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

WriteSignalsHeld::WriteSignalsHeld() {
  sigset_t pending;
  sigemptyset(&ours_);
  sigemptyset(&pending);
  sigpending(&pending);
  // One that is pending is blocked by the program, and ours cannot be told from it.
  for (const int signal : {SIGPIPE, SIGXFSZ})
    if (sigismember(&pending, signal) == 0) sigaddset(&ours_, signal);
  pthread_sigmask(SIG_BLOCK, &ours_, &before_);
}

WriteSignalsHeld::~WriteSignalsHeld() {
  const timespec no_wait{};
  const int saved = errno;
  while (sigtimedwait(&ours_, nullptr, &no_wait) > 0 || errno == EINTR) {
  }
  errno = saved;
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace tutti

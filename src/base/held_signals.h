// Signals that must not reach the library's threads, or must not be raised by its writes.
#pragma once

#include <csignal>

namespace tutti {

// While it lives, this thread and the threads that it starts take no signals.  Those that tell a thread of its own
// fault (SIGSEGV and the like) stay: blocked, they would end the program past its handlers.
class SignalsHeld {
 public:
  SignalsHeld();
  SignalsHeld(const SignalsHeld&) = delete;
  ~SignalsHeld();

 private:
  sigset_t before_;
};

// While it lives, a write of this thread to a closed pipe, or beyond the limit on file sizes (ulimit -f), fails with an
// error and raises no signal: a program must not die because the library had something to write.
class WriteSignalsHeld {
 public:
  WriteSignalsHeld();
  WriteSignalsHeld(const WriteSignalsHeld&) = delete;
  ~WriteSignalsHeld();

 private:
  sigset_t ours_, before_;
};

}  // namespace tutti

// Threads of the library's own.  The program's signals are handled on the program's threads, and no exception ends the program.
#pragma once

#include <signal.h>

#include <functional>
#include <string>
#include <thread>

#include "status.h"

namespace tutti {

// While it lives, this thread and the threads that it starts take no signals, except for those by which a thread is told of its own fault
// (SIGSEGV and the like): blocked, they would end the program past its handlers.
class SignalsHeld {
 public:
  SignalsHeld();
  SignalsHeld(const SignalsHeld&) = delete;
  ~SignalsHeld();

 private:
  sigset_t before_;
};

// What is told of an exception that left a thread's body: one sentence.  Called by that thread, as its last deed.
using OnEscape = std::function<void(const std::string& what)>;

// A thread that runs `body` and shows in debuggers and in top under `name` (at most 15 characters).  A body should let no exception out; one
// that does ends its thread, and `on_escape` is called, or the log warns where there is none.
Result<std::thread> start_quiet_thread(std::function<void()> body, const char* name = "tutti", OnEscape on_escape = nullptr);

}  // namespace tutti

// Threads of the library's own.  The program's signals are handled on the program's threads, and no exception ends the
// program.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "held_signals.h"
#include "status.h"

namespace tutti {

// Receives one sentence about an exception that left a thread's body.  Called by that thread, last of all.
using OnEscape = std::function<void(const std::string& sentence)>;

// A thread that runs `body` and shows in debuggers and in top under `name` (at most 15 characters).  A body should let
// no exception out.  An exception that escapes ends the thread and is passed to `on_escape`, or logged where there is
// none.
Result<std::thread> start_quiet_thread(std::function<void()> body, const char* name = "tutti", OnEscape on_escape = nullptr);

}  // namespace tutti

// Threads of the library's own: they block every signal, so that the program's handlers run on the program's threads only.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <functional>
#include <system_error>
#include <thread>

#include "status.h"

namespace tutti {

inline Result<std::thread> start_quiet_thread(std::function<void()> body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Result<std::thread> thread = [&]() -> Result<std::thread> {
    try {
      return std::thread(std::move(body));
    } catch (const std::system_error& error) {
      return Status(Code::system, std::string("starting a thread: ") + error.what());
    }
  }();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace tutti

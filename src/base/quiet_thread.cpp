#include "quiet_thread.h"

#include <cxxabi.h>
#include <pthread.h>
#include <sys/resource.h>

#include <cerrno>
#include <exception>
#include <new>
#include <system_error>

#include "log.h"

namespace tutti {
namespace {

void report(const char* name, const OnEscape& on_escape, const char* what) {
  try {
    const std::string sentence = std::string("the thread ") + name + " ended: " + what;
    on_escape ? on_escape(sentence) : Log().warn(sentence);
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (...) {  // memory is short: nothing more can be said
  }
}

void run(const char* name, const std::function<void()>& body, const OnEscape& on_escape) {
  ::pthread_setname_np(::pthread_self(), name);
  try {
    body();
  } catch (const abi::__forced_unwind&) {  // the thread is being cancelled
    throw;
  } catch (const std::exception& error) {
    report(name, on_escape, error.what());
  } catch (...) {
    report(name, on_escape, "an exception of an unknown kind");
  }
}

// The system says no more than "Resource temporarily unavailable".
Status cannot_start(const std::system_error& error) {
  const std::string text = std::string("starting a thread: ") + error.what();
  if (error.code().value() != EAGAIN) return Status(Code::system, text);
  rlimit limit{};
  const bool known = ::getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  return Status(Code::system, text + "; threads of this user are limited (ulimit -u, now " +
                                  (known ? std::to_string(limit.rlim_cur) : "unlimited") +
                                  "), as are those of its control group (pids.max), and a stack takes memory (ulimit -v, "
                                  "ulimit -l): raise the limit");
}

}  // namespace

Result<std::thread> start_quiet_thread(std::function<void()> body, const char* name, OnEscape on_escape) {
  const SignalsHeld held;
  try {
    return std::thread([name, body = std::move(body), on_escape = std::move(on_escape)] { run(name, body, on_escape); });
  } catch (const std::system_error& error) {
    return cannot_start(error);
  } catch (const std::bad_alloc&) {
    return Status(Code::out_of_memory, "no memory for a thread");
  }
}

}  // namespace tutti

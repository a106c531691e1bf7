#include "log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>

#include "host_identity.h"

namespace tutti {
namespace {

// While it lives, a write of this thread to a closed pipe gives EPIPE and no signal: a program whose stderr went away must not die
// because the library had something to say.
class PipeSignalHeld {
 public:
  PipeSignalHeld() {
    sigemptyset(&pipe_signal_);
    sigaddset(&pipe_signal_, SIGPIPE);
    sigset_t pending;
    already_pending_ = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
    if (!already_pending_) pthread_sigmask(SIG_BLOCK, &pipe_signal_, &before_);
  }
  PipeSignalHeld(const PipeSignalHeld&) = delete;
  ~PipeSignalHeld() {
    if (already_pending_) return;  // then it is blocked by the program, and ours cannot be told from its own
    const timespec no_wait{};
    while (sigtimedwait(&pipe_signal_, nullptr, &no_wait) < 0 && errno == EINTR) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_signal_, before_;
  bool already_pending_;
};

}  // namespace

std::string_view name(LogLevel level) {
  switch (level) {
    case LogLevel::none: return "none";
    case LogLevel::warn: return "warn";
    case LogLevel::info: return "info";
    case LogLevel::trace: return "trace";
  }
  return "unknown";
}

void Log::write(LogLevel level, std::string_view text) const {
  if (level == LogLevel::none || !enabled(level)) return;
  std::string line = prefix_;
  line.append(" ").append(name(level)).append(": ").append(text);
  for (char& c : line)  // a message may quote what a peer sent: one call stays one line
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  line += '\n';
  const int saved = errno;
  {
    const PipeSignalHeld held;
    while (::write(fd_, line.data(), line.size()) < 0 && errno == EINTR) {
    }
  }
  errno = saved;
}

Result<OwnedFd> open_log_file(std::string_view pattern, int rank) {
  std::string path;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      path += pattern[i];
      continue;
    }
    const char what = ++i < pattern.size() ? pattern[i] : '\0';
    if (what == 'h') {
      path += host_name();
    } else if (what == 'p') {
      path += std::to_string(getpid());
    } else if (what == 'r') {
      path += rank < 0 ? "unknown" : std::to_string(rank);
    } else if (what == '%') {
      path += '%';
    } else {
      return Status(Code::invalid_argument, "log file name \"" + std::string(pattern) +
                                                "\": after % comes h (host), p (process id), r (rank) or % (itself)");
    }
  }
  OwnedFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd) return system_error("opening the log file \"" + path + "\"");
  return fd;
}

}  // namespace tutti

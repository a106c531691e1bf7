#include "log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "held_signals.h"
#include "host_identity.h"

namespace tutti {
namespace {

constexpr size_t kLongestNote = 256;                      // on lost lines, with its prefix
constexpr size_t kLongestLine = PIPE_BUF - kLongestNote;  // both together stay one piece in a pipe
constexpr std::string_view kCut = " …";

// Descriptor 2 belongs to the process, and so do the lines lost there.
std::shared_ptr<LogLosses> losses_at(int fd) {
  static LogLosses at_stderr;
  if (fd != STDERR_FILENO) return std::make_shared<LogLosses>();
  return {std::shared_ptr<void>(), &at_stderr};
}

// A program's stderr is handed down through exec.  A descriptor that exec closes is somebody's own file or socket: it
// was given the number 2 because stderr was closed.  Other threads of the library may just be opening it.
bool is_standard_error(int fd) {
  const int flags = ::fcntl(fd, F_GETFD);
  return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

// A pipe or a terminal whose description, and with it the question whether writes wait, is shared with the program and
// perhaps with others.
ssize_t write_shared(int fd, std::string_view text) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const OwnedFd own(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));  // a description of ours
  if (own) return ::write(own.get(), text.data(), text.size());
  if (errno == ENXIO) return -1;  // nobody reads the pipe
  // It is another user's, or there is no /proc.
  const iovec part{const_cast<char*>(text.data()), text.size()};
  const ssize_t n = ::pwritev2(fd, &part, 1, -1, RWF_NOWAIT);
  if (n >= 0 || errno == EAGAIN) return n;
  // Linux before 6.4.  A pipe that is ready takes PIPE_BUF bytes, unless another process is quicker.
  pollfd ready{fd, POLLOUT, 0};
  if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return -1;
  return ::write(fd, text.data(), text.size());
}

// Less than all, or -1, where more would have to wait.
ssize_t write_at_once(int fd, std::string_view text) {
  struct stat kind{};
  if (::fstat(fd, &kind) != 0) return -1;
  if (S_ISSOCK(kind.st_mode)) return ::send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  // A file is never waited for, and it has a position that the program's own writes have to find moved.
  const bool waits = !S_ISREG(kind.st_mode) && (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
  return waits ? write_shared(fd, text) : ::write(fd, text.data(), text.size());
}

// A message may quote what a peer sent: one call stays one line.
std::string as_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  if (text.size() >= kLongestLine) {
    size_t end = kLongestLine - kCut.size() - 1;
    // In the middle of a character of UTF-8.
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    text.replace(end, std::string::npos, kCut);
  }
  return text + '\n';
}

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

Log::Log(LogLevel level, std::string prefix, int fd) : level_(level), prefix_(std::move(prefix)), fd_(fd), losses_(losses_at(fd)) {}

void Log::write(LogLevel level, std::string_view text) const {
  if (level == LogLevel::none || !enabled(level)) return;
  const auto begin_of = [this](LogLevel of) { return prefix_.substr(0, kLongestNote / 2) + ' ' + std::string(name(of)) + ": "; };
  const int saved = errno;
  const uint64_t lost = losses_->lines.exchange(0);
  const bool torn = losses_->torn.exchange(false);
  std::string line = torn ? "\n" : "";
  if (lost > 0)
    line += begin_of(LogLevel::warn) + std::to_string(lost) + (lost == 1 ? " line was lost here\n" : " lines were lost here\n");
  line += as_line(begin_of(level).append(text));
  ssize_t written = -1;
  if (fd_ != STDERR_FILENO || is_standard_error(fd_)) {
    const WriteSignalsHeld held;
    do {
      written = write_at_once(fd_, line);
    } while (written < 0 && errno == EINTR);
  }
  if (written < static_cast<ssize_t>(line.size())) {
    losses_->lines.fetch_add(lost + 1);
    if (written > 0 || torn) losses_->torn = true;
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
  // O_NONBLOCK: where it is a pipe or a terminal, neither opening it nor writing to it waits.
  OwnedFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644));
  if (!fd) return system_error("opening the log file \"" + path + "\"");
  return fd;
}

}  // namespace tutti

// The library's only voice: lines "tutti[rank/size host] level: text" to stderr or TUTTI_DEBUG_FILE.
// Default level is warn.  Thread-safe; each line is one write.
#pragma once

#include <string>
#include <string_view>

#include "owned_fd.h"
#include "status.h"

namespace tutti {

enum class LogLevel : int { none, warn, info, trace };
std::string_view name(LogLevel level);

class Log {
 public:
  Log() = default;  // to stderr, level warn
  Log(LogLevel level, std::string prefix, int fd) : level_(level), prefix_(std::move(prefix)), fd_(fd) {}
  bool enabled(LogLevel level) const { return level <= level_; }
  void write(LogLevel level, std::string_view text) const;
  void warn(std::string_view text) const { write(LogLevel::warn, text); }
  void info(std::string_view text) const { write(LogLevel::info, text); }
  void trace(std::string_view text) const { write(LogLevel::trace, text); }

 private:
  LogLevel level_ = LogLevel::warn;
  std::string prefix_ = "tutti";
  int fd_ = 2;  // not owned
};

// Opens the file that TUTTI_DEBUG_FILE names, for appending.  In `pattern` %h stands for the host name, %p for the process id, %r for
// the rank ("unknown" if negative), %% for a percent sign.
Result<OwnedFd> open_log_file(std::string_view pattern, int rank);

}  // namespace tutti

// The library's only voice: lines "tutti[rank/size host] level: text" to stderr or TUTTI_DEBUG_FILE.
// Default level is warn.  Thread-safe; each line is one write.
//
// Writing never waits, ends no program and changes nothing of the program's.  A line is lost where nobody reads the
// pipe, the terminal is stopped, the disk is full or stderr was closed; the next line that gets through is preceded by
// the number of lost ones.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "owned_fd.h"
#include "status.h"

namespace tutti {

enum class LogLevel : int { none, warn, info, trace };
std::string_view name(LogLevel level);

// The lines that have not reached a descriptor.
struct LogLosses {
  std::atomic<uint64_t> lines = 0;
  std::atomic<bool> torn = false;  // the last line got through in part, so the next one begins with a line end
};

class Log {
 public:
  Log() : Log(LogLevel::warn, "tutti", 2) {}
  Log(LogLevel level, std::string prefix, int fd);
  bool enabled(LogLevel level) const { return level <= level_; }
  void write(LogLevel level, std::string_view text) const;
  void warn(std::string_view text) const { write(LogLevel::warn, text); }
  void info(std::string_view text) const { write(LogLevel::info, text); }
  void trace(std::string_view text) const { write(LogLevel::trace, text); }

 private:
  LogLevel level_;
  std::string prefix_;
  int fd_;  // not owned
  std::shared_ptr<LogLosses> losses_;
};

// Opens the file that TUTTI_DEBUG_FILE names, for appending.  In `pattern` %h stands for the host name, %p for the
// process id, %r for the rank ("unknown" if negative), %% for a percent sign.
Result<OwnedFd> open_log_file(std::string_view pattern, int rank);

}  // namespace tutti

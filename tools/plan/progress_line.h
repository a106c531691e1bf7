// Says on stderr how far a long simulation has come: not in the first second, and twice a second at most.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "byte_units.h"
#include "algorithm.h"

namespace tutti {

class ProgressLine {
 public:
  void tell(const std::string& where, const Algorithm& algorithm, uint64_t bytes, double done) {
    const auto now = Clock::now();
    if (now - last_ < (shown_ ? std::chrono::milliseconds(500) : std::chrono::milliseconds(1000))) return;
    last_ = now;
    shown_ = true;
    const std::string text = where + std::string(algorithm.name) + ", " + describe_bytes(bytes);
    std::fprintf(stderr, terminal_ ? "\r\x1b[K%s: %.0f %%" : "tutti-plan: %s: %.0f %%\n", text.c_str(), 100 * done);
    std::fflush(stderr);
  }
  ProgressLine() = default;
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine() {
    if (shown_ && terminal_) std::fputs("\r\x1b[K", stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
  bool shown_ = false;
  const bool terminal_ = ::isatty(2) == 1;
};

}  // namespace tutti

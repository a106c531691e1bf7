// The outcome of a communicator's calls: for tutti_comm_stats, and for the log.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "log.h"
#include "routed_call.h"

namespace tutti {

// For what only informs, after a call was started: no failure of it may become the call's.
template <class Fn>
void if_possible(Fn fn) noexcept {
  try {
    fn();
  } catch (...) {
  }
}

// Calls of about the same size: two classes to an octave.
uint32_t size_class(uint64_t bytes);

class CallLog {
 public:
  // `log` outlives this.  `speaks`: this rank speaks for all.
  CallLog(const Log& log, bool speaks) : log_(log), speaks_(speaks) {}
  ~CallLog();
  CallLog(const CallLog&) = delete;

  // A call was started.
  void note(const std::shared_ptr<const RoutedCall>& call, const Cut& cut) noexcept;
  // The outcome of its codec; "" if it has none.  After note().
  void note_codec(std::string what) noexcept { codec_ = std::move(what); }
  // A line, once for each kind of call; says whether it was the first time, at the rank that speaks.
  bool say_once(const std::string& kind, const std::string& line);

  // How long the last call took.  With TUTTI_DEBUG=info each choice is logged once, and later how long its calls took.
  bool keeps_accounts() const { return speaks_ && log_.enabled(LogLevel::info); }
  void account(uint64_t nanoseconds);

  const RoutedCall* last() const { return last_.get(); }
  const Cut& cut() const { return cut_; }
  const std::string& codec() const { return codec_; }

 private:
  // Of one kind, before their average is logged; fewer are logged at the end.
  static constexpr uint64_t kCallsToLog = 20;
  struct Account {
    std::string choice;  // "all_reduce of about 64 KiB by ring"
    double predicted_s = 0;
    uint64_t calls = 0, nanoseconds = 0;
  };
  void log(const Account& account) const;

  const Log& log_;
  bool speaks_;
  std::shared_ptr<const RoutedCall> last_;
  Cut cut_{1, 0};
  std::string codec_;
  std::map<std::pair<Collective, std::pair<uint32_t, uint8_t>>, Account> accounts_;  // by size class and algorithm
  std::set<std::string> said_;
};

}  // namespace tutti
